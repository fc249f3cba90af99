"""Which rows to ask about: strategies, rounds and their state, what is learnt from, and what never leaves."""

from __future__ import annotations

import functools
import html
import json
import pathlib
import sys
import threading

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import rounds

from headwater.components.collect import collect_dataset
from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pages import number as number_of
from headwater.components.label import ask_rows, label_dataset
from headwater.components.label.asking import estimators, state, stopping
from headwater.components.label.asking.choosing import best, choose, pools_of
from headwater.components.label.asking.diversity import centres_of, farthest, spread
from headwater.components.label.asking.page import render_page
from headwater.components.label.asking.strategies import STRATEGIES, Rows, Space, Told
from headwater.components.label.asking.strategies.regions import shared

CLASSES = ["red", "green", "blue"]
ROWS = 240


def points(rows=ROWS, seed=0):
    """Three classes of two columns, one of them small, and a column that is private."""
    chance = np.random.default_rng(seed)
    of = chance.choice(3, rows, p=[0.6, 0.3, 0.1])
    centre = np.array([[0, 0], [4, 0], [0, 5]])[of]
    spot = centre + chance.normal(size=(rows, 2))
    table = pa.table(
        {
            "id": np.arange(rows),
            "x": spot[:, 0],
            "y": spot[:, 1],
            "kind": np.where(chance.random(rows) < 0.8, of, 0).astype(str),
            "mail": [f"person{number}@example.com" for number in range(rows)],
        }
    )
    return table, of


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A dataset under a data root, with the class of each of its rows."""
    folder = tmp_path_factory.mktemp("asking")
    table, of = points()
    made = collect_dataset(
        table,
        str(folder / "data"),
        key=["id"],
        name="points",
        data_root=str(folder / "root"),
        private={"mail": {"action": "truncate", "characters": 40}},
    )
    return made.uri, of, folder


def answers(folder, of, ids):
    path = folder / "answers.csv"
    ids = sorted(ids)
    found = [CLASSES[of[number]] for number in ids]
    pa.csv.write_csv(pa.table({"id": pa.array(ids, pa.int64()), "class": pa.array(found, pa.string())}), path)
    return str(path)


def asking(home, tmp_path, ids=(), *, output="tasks", inputs=True, **ask):
    uri, of, _ = home
    given = {"strategy": "margin", "rows": 12, "classes": CLASSES, "state": str(tmp_path / "state"), "estimator": QUICK}
    given |= {"answers": "class", "answers_input": "people"} if inputs else {}
    given |= ask
    more = {"people": answers(tmp_path, of, ids)} if inputs else {}
    return ask_rows(uri, str(tmp_path / output), ask=given, inputs=more, workers=1)


def ids_of(asked):
    return asked.batch["id"].to_pylist()


FEW = range(0, 60, 3)
DEFAULT = {"estimator": ""}
QUICK = "sklearn.naive_bayes:GaussianNB"
"""The estimator where it does not matter what learns: the default is a forest of a hundred trees."""


# --- strategies ---


def some(rows=300, classes=3, seed=0, **more):
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(rows, 4)).astype(np.float32)
    hashes = chance.integers(0, 2**63, rows).astype(np.uint64)
    return Rows(
        vectors, hashes, chance.dirichlet(np.ones(classes), rows), chance.dirichlet(np.ones(classes), (4, rows))
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_gives_as_many_different_rows_as_are_wanted(name):
    rows = some()
    space = Space(centres_of(rows.vectors, 5, 0))
    for wanted in (1, 7, 40, 300):
        told = Told(wanted, rows.vectors[:3], 3)
        picked = choose(name, pools_of(name, rows, space, {}, 300), told)
        assert len({each.hash for each in picked}) == wanted
        assert picked == choose(name, pools_of(name, rows, space, {}, 300), told)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("kind", ["alike", "one"])
def test_rows_that_are_all_alike_and_a_pool_of_one(name, kind):
    rows = some(1 if kind == "one" else 30)
    rows = Rows(
        np.zeros_like(rows.vectors),
        rows.hashes,
        np.full_like(rows.probabilities, 1 / 3),
        np.full_like(rows.members, 1 / 3),
    )
    picked = choose(
        name, pools_of(name, rows, Space(centres_of(rows.vectors, 5, 0)), {}, 30), Told(10, rows.vectors[:0], 3)
    )
    assert len({each.hash for each in picked}) == min(10, len(rows.hashes))


@pytest.mark.parametrize("name", ["margin", "entropy", "committee", "random"])
def test_the_best_of_parts_are_the_best_of_the_whole(name):
    rows = some(500)
    worth = np.round(STRATEGIES[name].worth(rows, Space()), 1)
    whole = best(worth, rows.hashes, None, 40)
    parts = [np.arange(start, min(start + 7, 500)) for start in range(0, 500, 7)]
    kept = np.concatenate([part[best(worth[part], rows.hashes[part], None, 40)] for part in parts])
    assert whole.tolist() == kept[best(worth[kept], rows.hashes[kept], None, 40)].tolist()


def test_worth_is_greatest_where_it_should_be():
    told = np.array([[0.98, 0.01, 0.01], [0.5, 0.49, 0.01], [0.34, 0.33, 0.33]])
    rows = Rows(np.zeros((3, 1), np.float32), np.arange(3, dtype=np.uint64), told, np.stack([told, told[:, ::-1]]))
    assert STRATEGIES["margin"].worth(rows, Space()).argsort().tolist()[0] == 0
    assert STRATEGIES["margin"].worth(rows, Space())[1] == pytest.approx(0.99)
    assert STRATEGIES["entropy"].worth(rows, Space()).argmax() == 2
    assert STRATEGIES["entropy"].worth(rows, Space())[2] == pytest.approx(1, abs=1e-3)
    # Members that contradict each other are worth more than members that are unsure alike.
    both = STRATEGIES["committee"].worth(rows, Space())
    assert both.argmax() == 0 or both[1] > both[2]


def test_a_batch_is_spread():
    chance = np.random.default_rng(0)
    # The surest doubt is about a heap of rows that are nearly one.
    heap = chance.normal(size=(50, 2)) * 0.01
    rest = chance.normal(size=(150, 2)) * 3 + 5
    vectors = np.concatenate([heap, rest]).astype(np.float32)
    worth = np.concatenate([np.full(50, 0.9), np.full(150, 0.8)])
    picked = spread(vectors, worth, 10, 0)
    assert len(picked) == 10 and (picked < 50).sum() <= 3
    assert farthest(vectors, np.array([0]), 2)[1] >= 50


def test_a_batch_is_spread_beside_rows_that_are_in_it_already():
    chance = np.random.default_rng(0)
    centres = np.arange(8)[:, None] * np.float32([10, -10])
    of = np.arange(160) % 8
    vectors = (centres[of] + chance.normal(size=(160, 2)) * 0.1).astype(np.float32)
    worth = np.full(160, 0.8)
    for taken in ([0, 3], [1, 2, 5], []):
        picked = spread(vectors, worth, 8 - len(taken), 0, centres[taken].astype(np.float32))
        assert sorted([*of[picked].tolist(), *taken]) == list(range(8))
    # Two strategies of a mix that would ask about the same groups share them.
    rows = Rows(vectors, np.arange(160, dtype=np.uint64), np.full((160, 2), 0.5), np.full((2, 160, 2), 0.5))
    told = Told(8, vectors[:0], 2, shares={"margin": 1, "committee": 1})
    picked = choose("mix", pools_of("mix", rows, Space(), told.shares, 160), told)
    assert sorted(of[each.hash] for each in picked) == list(range(8))
    assert {each.strategy for each in picked} == {"margin", "committee"}


@pytest.mark.parametrize(
    ("weights", "available", "wanted", "given"),
    [
        ([1, 1], [10, 10], 4, [2, 2]),
        ([3, 1], [10, 10], 4, [3, 1]),
        ([3, 1], [1, 10], 4, [1, 3]),
        ([0, 0], [5, 5], 3, [2, 1]),
        ([1, 1, 1], [0, 1, 1], 9, [0, 1, 1]),
    ],
)
def test_regions_share_a_batch(weights, available, wanted, given):
    assert shared(np.array(weights, float), np.array(available), wanted).tolist() == given


def test_clusters_take_the_largest_group_without_a_label_first():
    chance = np.random.default_rng(0)
    vectors = np.concatenate([chance.normal(size=(n, 2)) + c for n, c in ((60, 0), (30, 20), (10, 40))]).astype(
        np.float32
    )
    rows = Rows(vectors, np.arange(100, dtype=np.uint64))
    told = Told(2, vectors[:1], 3)
    picked = choose("clusters", pools_of("clusters", rows, Space(), {}, 100), told)
    places = {each.hash // 60 if each.hash < 60 else 1 if each.hash < 90 else 2 for each in picked}
    assert 1 in places and 2 in places


# --- one round ---


def test_a_cold_start_asks_by_clusters_and_says_so(home, tmp_path):
    asked = asking(home, tmp_path)
    assert asked.report["strategies"] == {"clusters": 12} and "nothing is labelled yet" in asked.report["notes"][0]
    assert len({home[1][number] for number in ids_of(asked)}) == 3
    assert asked.batch.column_names == ["id", "_score", "_reason"]
    assert all(reason.startswith("clusters: ") for reason in asked.batch["_reason"].to_pylist())
    one = asking(
        home, tmp_path, [number for number in FEW if home[1][number] == 0], state=str(tmp_path / "one"), output="other"
    )
    assert "only the class 'red' is labelled yet" in one.report["notes"][0]


def test_no_row_is_asked_about_twice_until_all_are(home, tmp_path):
    seen: set[int] = set()
    for number in range(1, 8):
        asked = asking(home, tmp_path, seen, rows=40, output=f"tasks{number}")
        assert not seen & {*ids_of(asked)}
        seen |= {*ids_of(asked)}
        if number < 7:
            assert asked.report["round"] == number and len(ids_of(asked)) == 40
    # All 240 are asked about.
    assert seen == set(range(ROWS)) and asked.uri == "" and asked.batch.num_rows == 0
    assert "no row is left to ask about" in asked.report["notes"][0]


def test_rows_that_wait_for_an_answer_are_not_asked_about_again(home, tmp_path):
    first = asking(home, tmp_path)
    second = asking(home, tmp_path, ids_of(first)[:6])
    assert not {*ids_of(first)} & {*ids_of(second)}
    assert second.report["asked"] == 12 and second.report["replied"] == 6 and second.report["answered"] == 6


def test_a_pool_that_is_smaller_than_the_batch(home, tmp_path):
    asked = asking(home, tmp_path, FEW, rows=50, where="id < 30")
    assert sorted(ids_of(asked)) == [number for number in range(30) if number not in FEW]
    assert "only 20 rows are left" in asked.report["notes"][0]


def test_the_same_round_again_is_the_same_batch(home, tmp_path):
    first = asking(home, tmp_path, FEW)
    again = asking(home, tmp_path, FEW, output="again")
    assert first.batch.equals(again.batch) and again.report["round"] == 1
    tasks = [(tmp_path / name / "tasks.json").read_bytes() for name in ("tasks", "again")]
    assert tasks[0] == tasks[1]
    assert len(state.load(str(tmp_path / "state")).rounds) == 1
    # What only tells when to stop is no other round.
    assert asking(home, tmp_path, FEW, budget=100, cost=3, least_gain=1).batch.equals(first.batch)


def test_two_runs_at_once_do_not_ask_twice(home, tmp_path):
    found: dict[int, list[int]] = {}

    def run(seed):
        found[seed] = ids_of(asking(home, tmp_path, FEW, output=f"tasks{seed}", seed=seed))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [number for ids in found.values() for number in ids]
    assert len(every) == 36 == len({*every})
    assert [each.number for each in state.load(str(tmp_path / "state")).rounds] == [1, 2, 3]


def test_two_runs_of_one_round_at_once_ask_the_same(home, tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(ids_of(asking(home, tmp_path, FEW, output=f"tasks{n}"))))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] and len(state.load(str(tmp_path / "state")).rounds) == 1


def test_the_state_lies_under_the_data_root(home, tmp_path):
    uri, of, folder = home
    given = {"rows": 5, "classes": CLASSES, "strategy": "random"}
    first = ask_rows(uri, str(tmp_path / "tasks"), ask=given, workers=1)
    root = folder / "root/points/_asking/label"
    assert (root / "round-000001.json").exists()
    second = ask_rows(uri, "", ask={**given, "seed": 1}, workers=1)
    assert pathlib.Path(second.uri) == root / "round-000002" and (root / "round-000002/tasks.json").exists()
    assert not {*ids_of(first)} & {*ids_of(second)}
    record = json.loads((root / "round-000001.json").read_text())
    assert record["rows"] == 5 and record["votes"] == 5 and record["format_version"] == 1


def test_a_damaged_state_is_one_error(home, tmp_path):
    asking(home, tmp_path, FEW)
    (batch,) = (tmp_path / "state").glob("batch-*.parquet")
    content = batch.read_bytes()
    batch.write_bytes(content[:-1] + b"X")
    with pytest.raises(HeadwaterError, match="batch-.*: the file was altered"):
        asking(home, tmp_path, FEW, seed=1)
    batch.write_bytes(content)
    (tmp_path / "state/round-000001.json").write_text("{}")
    with pytest.raises(HeadwaterError, match="round-000001.json: is not the record of a round"):
        asking(home, tmp_path, FEW)


def test_without_a_state_only_answers_are_remembered(tmp_path):
    table, of = points(60)
    given = {"rows": 5, "classes": CLASSES, "columns": ["x", "y"]}
    first = ask_rows(table, str(tmp_path / "one"), ask=given, workers=1)
    assert first.batch.column_names == ["_row_id", "_score", "_reason"]
    assert any("remembers only rows that are answered" in note for note in first.report["notes"])
    again = ask_rows(table, str(tmp_path / "two"), ask=given, workers=1)
    assert again.batch.equals(first.batch) and again.report["round"] == 1


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """The same rows with some answers as one file, and in another order as five."""
    tmp_path = tmp_path_factory.mktemp("twice")
    table, of = points()
    known = pa.array([CLASSES[of[number]] if number in FEW else None for number in range(ROWS)])
    table = table.append_column("class", known)
    order = np.random.default_rng(1).permutation(ROWS)
    (tmp_path / "parts").mkdir()
    for number, part in enumerate(np.array_split(order, 5)):
        pq.write_table(table.take(pa.array(part)), tmp_path / f"parts/{number}.parquet")
    pq.write_table(table, tmp_path / "whole.parquet")
    return [
        collect_dataset(str(tmp_path / source), str(tmp_path / f"data-{number}"), key=["id"], workers=1).uri
        for number, source in enumerate(("whole.parquet", "parts"))
    ]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_results_do_not_hang_on_files_or_workers(twice, tmp_path, strategy):
    given = {
        "strategy": strategy, "rows": 20, "classes": CLASSES, "columns": ["x", "y", "kind"], "answers": "class",
        "regions": 3, "estimator": "" if strategy in ("margin", "mix") else QUICK,
    }  # fmt: skip
    # A single run with processes of its own is enough.
    runs = [(twice[0], 1), (twice[1], 1), *([(twice[1], 2)] if strategy == "mix" else [])]
    batches = [
        ask_rows(uri, str(tmp_path / f"tasks{number}"), ask=given, workers=workers).batch
        for number, (uri, workers) in enumerate(runs)
    ]
    assert all(batch.to_pylist() == batches[0].to_pylist() for batch in batches)
    assert batches[0].num_rows == 20


# --- budget and gain ---


def test_a_budget_of_nothing_is_refused(home, tmp_path):
    with pytest.raises(HeadwaterError, match="label.ask.budget: nobody can be asked anything for a budget of 0"):
        asking(home, tmp_path, budget=0)


def test_a_budget_ends_the_loop_and_says_so(home, tmp_path):
    first = asking(home, tmp_path, budget=30, tasks={"overlap": 2})
    assert first.report["budget_left"] == 6 and first.report["batch_votes"] == 24
    second = asking(home, tmp_path, ids_of(first), budget=30, tasks={"overlap": 2})
    assert second.report["rows"] == 3 and second.report["budget_left"] == 0
    assert "the budget leaves 6 answers, enough for 3 rows" in second.report["notes"]
    third = asking(home, tmp_path, [*ids_of(first), *ids_of(second)], budget=30, tasks={"overlap": 2})
    assert third.report["rows"] == 0 and third.uri == ""
    assert "the budget is used up: 30 of 30 answers" in third.report["notes"][0]
    more = asking(home, tmp_path, [*ids_of(first), *ids_of(second)], budget=40, tasks={"overlap": 2})
    assert more.report["rows"] == 5


def test_the_expected_gain_falls_and_is_held_against_the_cost(home, tmp_path):
    seen: set[int] = set()
    gains = []
    for number in range(6):
        asked = asking(home, tmp_path, seen, rows=20, output=f"tasks{number}", estimator="")
        seen |= {*ids_of(asked)}
        gains.append((asked.report["gain"] or {}).get("expected"))
    assert gains[:2] == [None, None] and all(gain is not None for gain in gains[2:])
    assert gains[-1] < max(gains[2:]) or max(gains[2:]) == 0
    dear = asking(home, tmp_path, seen, rows=20, cost=1_000, least_gain=0.5, output="dear")
    assert dear.report["gain"]["cost"] == 20_000 and not dear.report["gain"]["worth_it"]
    assert "consider stopping here" in stopping.sentence(dear.report["gain"], 20)


def test_a_gain_that_is_not_known_is_not_a_number():
    vectors = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    model = estimators.fit("", "", vectors, (vectors[:, 0] > 0).astype(np.int8), 2, 0)
    unknown = stopping.hint(model, None, vectors, (0, 50), 10, 1, 0.1)
    assert unknown["expected"] is None and "is not known" in stopping.sentence(unknown, 10)
    same = stopping.hint(model, model, vectors, (40, 50), 10, 1, 0.1)
    assert same["expected"] == 0 and not same["worth_it"]


# --- settings, each of which changes an outcome ---


SETTINGS = [
    {"strategy": "entropy"}, {"strategy": "committee"}, {"strategy": "clusters"}, {"strategy": "regions"},
    {"strategy": "random"}, {"strategy": "mix"}, {"rows": 20}, {"columns": ["x"]}, {"columns": {"x": "category"}},
    {"where": "id > 100"}, {"splits": ["eval"]}, {"candidates": 10, "rows": 1}, {"estimator": "asking_code:linear"},
]  # fmt: skip


@pytest.fixture
def own_code(tmp_path, monkeypatch):
    (tmp_path / "asking_code.py").write_text(
        "from sklearn.linear_model import LogisticRegression, RidgeClassifier\n"
        "from sklearn.naive_bayes import GaussianNB\n"
        "def linear():\n    return LogisticRegression(C=0.01)\n"
        "def bayes():\n    return GaussianNB()\n"
        "def no_probabilities():\n    return RidgeClassifier()\n"
        "def wants_more(one):\n    return one\n"
        "def a_number():\n    return 3\n"
        "class Failing:\n"
        "    def fit(self, rows, codes):\n        raise ValueError('the first row is %s' % rows[0])\n"
        "    def predict_proba(self, rows):\n        return rows\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("asking_code", None)


@pytest.mark.parametrize("change", SETTINGS, ids=lambda change: "-".join(map(str, next(iter(change.items())))))
def test_a_setting_changes_the_batch(home, tmp_path, own_code, plain_batch, change):
    assert ids_of(asking(home, tmp_path, FEW, **{**DEFAULT, **change})) != plain_batch


@pytest.fixture(scope="module")
def plain_batch(home, tmp_path_factory):
    return ids_of(asking(home, tmp_path_factory.mktemp("plain"), FEW, **DEFAULT))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"strategy": "regions", "regions": 2}, {"strategy": "regions", "regions": 12}),
        ({"strategy": "regions"}, {"strategy": "regions", "inner": "entropy"}),
        ({"strategy": "mix"}, {"strategy": "mix", "shares": {"random": 1}}),
        (
            {"strategy": "committee"},
            {"strategy": "committee", "committee": ["asking_code:linear", "asking_code:bayes"]},
        ),
        ({"strategy": "committee"}, {"strategy": "committee", "committee": ["asking_code:bayes"]}),
        ({"strategy": "clusters", "seed": 0}, {"strategy": "clusters", "seed": 5}),
        ({"strategy": "clusters", "candidates": 100, "rows": 10}, {"strategy": "clusters", "rows": 10}),
    ],
    ids=str,
)
def test_a_setting_of_one_strategy_changes_the_batch(home, tmp_path, own_code, one, other):
    first = asking(home, tmp_path, FEW, **DEFAULT, **one)
    second = asking(home, tmp_path, FEW, state=str(tmp_path / "other"), **DEFAULT, **other)
    assert ids_of(first) != ids_of(second)


def test_a_mix_takes_its_shares(home, tmp_path):
    asked = asking(home, tmp_path, FEW, strategy="mix", shares={"margin": 2, "random": 1})
    assert asked.report["strategies"] == {"margin": 8, "random": 4}


def test_what_is_learnt_from_is_bounded(home, tmp_path):
    table, of = points(400)
    table = table.append_column("class", pa.array([CLASSES[each] for each in of[:300]] + [None] * 100))
    given = {"strategy": "margin", "rows": 5, "classes": CLASSES, "answers": "class", "columns": ["x", "y"]}
    few = ask_rows(table, str(tmp_path / "few"), ask={**given, "most_labelled": 100}, workers=1)
    whole = ask_rows(table, str(tmp_path / "whole"), ask=given, workers=1)
    assert few.report["answered"] == whole.report["answered"] == 300 and not few.batch.equals(whole.batch)
    # The sample tells the gain alone, which needs a round; a small one is another estimate.
    assert few.report["askable"] == 100


def test_the_sample_estimates_the_gain(home, tmp_path):
    first = asking(home, tmp_path, rows=40)
    second = [number for number in range(ROWS) if number not in ids_of(first)][:40]
    ids = [*ids_of(first), *second]
    gains = [
        asking(home, tmp_path, ids, sample=sample, seed=1, output=f"tasks{sample}").report["gain"]
        for sample in (100, 4_000)
    ]
    assert gains[0] != gains[1]


# --- labels of earlier steps ---


def test_rows_of_labels_that_are_answers_are_learnt_from_and_not_asked(home, tmp_path):
    uri, of, _ = home
    vote = {
        "name": "given",
        "sql": "CASE WHEN id < 120 THEN CASE kind WHEN '1' THEN 'green' WHEN '2' THEN 'blue' ELSE 'red' END END",
    }
    steps = [{"method": "weak_supervision", "classes": CLASSES, "functions": [vote], "model": "majority"}]
    labels = label_dataset(uri, str(tmp_path / "labels"), steps=steps, workers=1)
    given = {"strategy": "margin", "rows": 30, "state": str(tmp_path / "state")}
    cold = ask_rows(labels.uri, str(tmp_path / "cold"), ask=given, workers=1)
    assert cold.report["answered"] == 0 and cold.report["strategies"] == {"clusters": 30}
    learnt = ask_rows(labels.uri, str(tmp_path / "warm"), ask={**given, "learn_from": ["weak_supervision"]}, workers=1)
    assert learnt.report["strategies"] == {"margin": 30} and learnt.report["answered"] == 0
    assert min(ids_of(learnt)) < 120
    answered = ask_rows(
        labels.uri, str(tmp_path / "answered"), ask={**given, "answered_by": ["weak_supervision"]}, workers=1
    )
    assert answered.report["answered"] == 120 and min(ids_of(answered)) >= 120
    # Nobody is shown what the label is taken to be.
    shown = json.loads((tmp_path / "answered/batch.json").read_text())["columns"]
    assert not {"label", "label_probability", "label_abstain"} & {*shown}


# --- the page ---


def test_the_page_tells_rows_budget_and_rounds_and_escapes_all(tmp_path):
    table, of = points(150)
    names = [f"<b>{number}&" for number in range(150)]
    data = collect_dataset(
        table.set_column(0, "id", pa.array(names)).drop(["mail"]), str(tmp_path / "data"), key=["id"], name="points",
        data_root=str(tmp_path / "root"), workers=1,
    )  # fmt: skip
    classes, people, asked = ["<red>", "green", "blue"], {"id": [], "class": []}, None
    given = {"rows": 30, "classes": classes, "budget": 200, "cost": 2, "answers": "class", "answers_input": "people"}
    for number in range(1, 4):
        kinds = pa.schema([("id", pa.string()), ("class", pa.string())])
        pq.write_table(pa.table(people, kinds), tmp_path / "people.parquet")
        asked = ask_rows(
            data.uri, str(tmp_path / f"tasks{number}"), ask={**given, "tasks": {"overlap": 2}}, workers=1,
            inputs={"people": str(tmp_path / "people.parquet")},
        )  # fmt: skip
        people["id"] += asked.batch["id"].to_pylist()
        people["class"] = [classes[of[names.index(each)]] for each in people["id"]]
    page = (tmp_path / "tasks3/page.html").read_text()
    assert "Rows to ask about: points, span 1, round 3" in page
    # The first and the last row, why, and with what score.
    rows = list(zip(*(asked.batch[name].to_pylist() for name in ("id", "_score", "_reason"))))
    body = page.partition("<h2>Rows</h2>")[2]
    assert body.count('<th scope="row">') == 30 and "<b>" not in body
    for key, score, reason in (rows[0], rows[-1]):
        line = next(each for each in body.split("<tr>") if f"<code>{html.escape(key)}<" in each)
        assert f"<td>{reason.partition(': ')[0]}</td>" in line and f"<td>{number_of(score)}</td>" in line
    for name, count in asked.report["strategies"].items():
        assert not count or f'<tr><th scope="row">{name}</th><td>{count}</td>' in page
    # How the budget went, what rounds were and cost, and what comes next.
    assert "200 answers: 120 earlier rounds (60.0 %), 60 this round (30.0 %), 20 left (10.0 %)." in page
    told = [each for each in page.partition("<h2>Rounds so far</h2>")[2].partition("<h2>")[0].split("<tr>")[2:]]
    assert [each.partition("</td>")[0] for each in told] == [
        f'<th scope="row">{number}{" (this one)" if number == 3 else ""}</th><td>{30 * (number - 1)}'
        for number in (1, 2, 3)
    ]
    assert "<td>not known</td><td>30</td><td>60</td><td>120</td><td>not known</td><td>clusters 30</td>" in told[0]
    gain = asked.report["gain"]
    assert (
        f"<td>{100 * gain['accuracy']:.1f} %</td>" in told[2] and f"{100 * gain['expected']:.2f} points</td>" in told[2]
    )
    assert "<svg" in page and f"60 answered rows: {100 * gain['accuracy']:.1f} %" in page
    assert stopping.sentence(gain, 30)[1:] in page and "&lt;red&gt; " in page
    assert 'src="' not in page and "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    # The same among the reports of the dataset, with links; the page of an earlier round is as it was.
    report = storage.read_bytes(data.home.report("ask")).decode()
    assert 'href="../../version=1/reports/dataset.html"' in report and "round 3" in report
    assert "round 1" in (tmp_path / "tasks1/page.html").read_text()


def test_the_page_says_when_to_stop_and_hides_a_private_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_PRIVACY_KEY", "0123456789abcdef" * 2)
    table, of = points(100)
    known = pa.array([CLASSES[each] if number < 60 else None for number, each in enumerate(of)])
    table = table.append_column("class", known)
    hidden = {"mail": {"action": "hash"}, "id": {"action": "hash"}}
    data = collect_dataset(table, str(tmp_path / "data"), key=["id"], name="p", private=hidden, data_root=str(tmp_path / "root"), workers=1)  # fmt: skip
    given = {"rows": 10, "classes": CLASSES, "answers": "class", "strategy": "margin"}
    first = ask_rows(data.uri, str(tmp_path / "one"), ask=given, workers=1)
    page = (tmp_path / "one/page.html").read_text()
    key = first.batch["id"].to_pylist()[0]
    assert (key.hex() if isinstance(key, bytes) else str(key)) not in page and "the key is private" in page
    # All at once is too dear for what it adds.
    least = stopping.hint(*_gain_of_nothing(), least=1e9)
    body = render_page("p", {**first.report, "gain": least}, first.batch, True, state.load(str(tmp_path / "root/p/_asking/label")).rounds)  # fmt: skip
    assert "⚠ Consider stopping" in body and "⚠ Consider stopping" not in page


def _gain_of_nothing():
    vectors = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    model = estimators.fit("", "", vectors, (vectors[:, 0] > 0).astype(np.int8), 2, 0)
    return model, model, vectors, (40, 50), 10, 1.0


def test_a_model_is_made_as_sure_as_it_is_right():
    # Right on all of 400 rows of which it says 0.6; on none; and where nothing was held out.
    said = np.tile([0.6, 0.4], (400, 1))
    assert stopping.sharpness(said, np.zeros(400, int)) > 3
    assert stopping.sharpness(said, np.ones(400, int)) < 0.5
    assert stopping.sharpness(said[:0], np.zeros(0, int)) == 1
    assert stopping.sharpened(said, 2.0)[0].round(4).tolist() == [0.6923, 0.3077]
    rows, classes = rounds.split("digits", 0)[:2]
    vectors = rows[:200].astype(np.float32)
    model = estimators.fit("", "", vectors, classes[:200], 10, 0)
    power = stopping.sharpness(*estimators.held_out("", "", vectors, classes[:200], 10, 0))
    others = model.predict(rows[200:].astype(np.float32))
    right = (others.argmax(1) == classes[200:]).mean()
    assert abs(stopping.sharpened(others, power).max(1).mean() - right) < 0.5 * abs(others.max(1).mean() - right)


# --- what never leaves, and errors ---


def test_private_columns_never_leave(home, tmp_path):
    asked = asking(home, tmp_path, FEW)
    assert "mail" not in asked.report["features"]
    for path in [*(tmp_path / "tasks").rglob("*"), *(tmp_path / "state").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            whole = pq.read_table(path).to_pydict() if path.suffix == ".parquet" else {}
            assert b"@example.com" not in content and "@example.com" not in str(whole), path
    with pytest.raises(HeadwaterError, match="label.ask.columns.mail: the column must not be looked at: it is private"):
        asking(home, tmp_path, FEW, columns=["mail"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "margins"}, "label.ask.strategy: there is no strategy 'margins' here; those are margin, entropy"),
        ({"inner": "random"}, "label.ask.inner: there is no strategy 'random' here"),
        ({"shares": {"mix": 1}, "strategy": "mix"}, "label.ask.shares: there is no strategy 'mix' here"),
        ({"shares": {"margin": 1}}, "label.ask.shares: only a mix has shares, but the strategy is margin"),
        ({"rows": 0}, "label.ask.rows: .*greater than or equal to 1"),
        ({"stratgy": "mix"}, "label.ask.stratgy: there is no such setting; did you mean 'strategy'"),
        ({"classes": ["a"]}, "label.ask.classes: there must be at least two classes"),
        ({"classes": ["a", "a"]}, "label.ask.classes: the class 'a' is given twice"),
        ({"classes": ["a", "b"]}, "label.ask.answers: column 'class' has a value that is not one of the classes"),
        ({"columns": ["nowhere"]}, "label.ask.columns: there is no column 'nowhere'; the columns are id, x"),
        ({"where": "nowhere > 1"}, "label.ask.where: there is no column 'nowhere'"),
        ({"where": "random() > 1"}, "label.ask.where: .*random"),
        ({"splits": ["test"]}, "label.ask.splits: there is no split 'test'; the splits are train, eval"),
        ({"answers": "said"}, "label.ask.answers: there is no column 'said'; the columns are id, class"),
        ({"answers_input": "votes"}, "label.ask.answers_input: there is no input 'votes'; the inputs are people"),
        ({"tasks": {"format": "cvat"}}, "label.ask.tasks.format: must be one of"),
        ({"tasks": {"columns": {"mail": "text"}}}, "columns: 'mail' is private"),
        ({"estimator": "nowhere:make"}, "label.ask.estimator: nowhere:make: the module cannot be imported"),
        (
            {"estimator": "asking_code:no_probabilities"},
            "label.ask.estimator: asking_code:no_probabilities gives a RidgeClassifier without probabilities",
        ),
        ({"estimator": "asking_code:a_number"}, "label.ask.estimator: asking_code:a_number gives a int, which has no `fit`"),
        ({"estimator": "asking_code:wants_more"}, "label.ask.estimator: .* must give an estimator when it is called without"),
        ({"committee": ["asking_code:no_probabilities"]}, "label.ask.committee.0: .* without probabilities"),
        ({"estimator": "asking_code:Failing"}, "label.ask.estimator: asking_code:Failing: fit failed on 20 labelled rows: ValueError"),
    ],
    ids=lambda each: str(next(iter(each.items()))) if isinstance(each, dict) else "",
)  # fmt: skip
def test_an_error_names_the_setting(home, tmp_path, own_code, change, message):
    with pytest.raises(HeadwaterError, match=message) as raised:
        asking(home, tmp_path, FEW, **change)
    assert "-0." not in str(raised.value) and "@" not in str(raised.value)


def test_answers_that_contradict_each_other(home, tmp_path):
    (tmp_path / "twice.csv").write_text("id,class\n1,red\n1,blue\n2,red\n2,red\n")
    given = {"classes": CLASSES, "answers": "class", "answers_input": "people"}
    with pytest.raises(HeadwaterError, match="label.ask.answers: 1 answers differ from another one of the same row"):
        ask_rows(home[0], str(tmp_path / "tasks"), ask=given, inputs={"people": str(tmp_path / "twice.csv")}, workers=1)


def test_answers_for_rows_that_are_not_there_are_told(home, tmp_path):
    (tmp_path / "some.csv").write_text("id,class\n1,red\n2,blue\n999,red\n1000,green\n1001,green\n")
    given = {"classes": CLASSES, "answers": "class", "answers_input": "people", "state": str(tmp_path / "state")}
    asked = ask_rows(
        home[0], str(tmp_path / "tasks"), ask=given, inputs={"people": str(tmp_path / "some.csv")}, workers=1
    )
    assert asked.report["answered"] == 2
    note = "3 of 5 answers are for rows that the dataset does not have, and teach nothing"
    assert note in asked.report["notes"] and note in (tmp_path / "tasks/page.html").read_text()


def test_nothing_names_the_classes(home, tmp_path):
    with pytest.raises(HeadwaterError, match="label.ask.classes: name the classes"):
        ask_rows(home[0], str(tmp_path / "tasks"), workers=1)


def test_missing_values_and_constant_columns(tmp_path):
    table = pa.table(
        {
            "id": range(40),
            "x": pa.array([None if n % 3 else float(n) for n in range(40)]),
            "nan": [float("nan")] * 40,
            "same": ["a"] * 40,
            "class": ["yes" if n < 5 else "no" if n < 10 else None for n in range(40)],
        }
    )
    given = {"rows": 8, "classes": ["yes", "no"], "answers": "class", "strategy": "mix"}
    asked = ask_rows(table, str(tmp_path / "tasks"), ask=given, workers=1)
    assert asked.batch.num_rows == 8 and asked.report["left_out"] == {"nan": "empty", "same": "constant"}


# --- measured ---


@pytest.mark.parametrize("strategy", ["margin", "mix"])
def test_rounds_beat_random_ones(strategy):
    few = functools.partial(rounds.curve, "digits", 0, last=80)
    assert np.mean(few(strategy)) > np.mean(few("random")) + 0.01
