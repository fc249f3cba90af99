"""label over datasets: what comes out, by which method, and that it adds up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import types

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from browser import CHROMIUM, Browser

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset, results, storage
from headwater.components.common.dataset import load_dataset, read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.maintenance import find_garbage, verify
from headwater.components.common.maintenance.garbage import Retention
from headwater.components.generate_statistics import compute_statistics
from headwater.components.label import analyse, label_dataset, pass_on
from headwater.pipelines.cli import FAILED, main

ROWS = 3_000


@pytest.fixture(scope="module")
def trips(tmp_path_factory):
    """Trips, late or not: late ones are windier, further, and say so more often."""
    chance = np.random.default_rng(7)
    late = chance.random(ROWS) < 0.3
    frame = pa.table(
        {
            "id": np.arange(ROWS),
            "wind": chance.normal(size=ROWS) + 2 * late,
            "far": np.where(chance.random(ROWS) < 0.1, np.nan, chance.normal(size=ROWS) + 1.5 * late),
            "said": [
                None if quiet else "held up by wind" if windy else "on time"
                for quiet, windy in zip(chance.random(ROWS) < 0.4, chance.random(ROWS) < np.where(late, 0.6, 0.15))
            ],
            "carrier": chance.choice(["AA", "UA", "9E"], ROWS),
            "truth": ["late" if each else "fine" for each in late],
            "gold": [
                "late" if each else "fine" if n < 300 else None for n, each in enumerate(late & (np.arange(ROWS) < 300))
            ],
        }
    )
    path = tmp_path_factory.mktemp("trips") / "trips.parquet"
    pq.write_table(frame, path, row_group_size=1_000)
    return path


def steps(*functions, **more):
    given = functions or (
        {"name": "windy", "sql": "CASE WHEN wind > 1 THEN 'late' WHEN wind < 0.5 THEN 'fine' END"},
        {"name": "far", "threshold": {"column": "far", "above": 0.8, "vote": "late"}},
        {"name": "near", "threshold": {"column": "far", "below": 0.2, "vote": "fine"}},
        {"name": "said", "keywords": {"column": "said", "words": ["Wind"], "vote": "late"}},
        {"name": "calm", "regex": {"column": "said", "pattern": "^on", "vote": "fine"}},
    )
    return [{"method": "weak_supervision", "classes": ["fine", "late"], "functions": list(given), **more}]


@pytest.fixture(scope="module")
def collected(trips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected")
    collect_dataset(str(trips), str(folder / "data"), key=["id"], data_root=str(folder / "root"), name="trips", span=1)
    return folder / "data"


def label(dataset, output, given=None, **more):
    return label_dataset(str(dataset), str(output), steps=given or steps(), workers=1, **more)


def columns(folder, *names):
    table = open_dataset(str(folder)).to_table(columns=["id", *names]).sort_by("id")
    return [table[name].to_pylist() for name in names]


def test_rows_gain_their_label_and_no_shard_is_copied(collected, tmp_path):
    before = storage.list_files(load_dataset(str(collected)).result.uri)
    result = label(collected, tmp_path / "labels")
    assert result.uri == load_dataset(str(collected)).result.uri.replace("/data", "/labels")
    assert [path.name for path in (tmp_path / "labels").rglob("*")] == [results.MANIFEST]
    assert storage.list_files(load_dataset(str(collected)).result.uri) == before
    named, chance, abstains, truth = columns(
        tmp_path / "labels", "label", "label_probability", "label_abstain", "truth"
    )
    assert len(named) == ROWS and set(named) == {"fine", "late", None}
    assert [each is None for each in named] == abstains and [each is None for each in chance] == abstains
    given = [(own, true) for own, true in zip(named, truth) if own]
    assert np.mean([own == true for own, true in given]) > 0.85
    told = result.body["labelled"]
    assert told["classes"] == {name: named.count(name) for name in ("fine", "late")}
    assert told["abstained"] == named.count(None)
    assert verify(result.uri).problems == []


def test_the_label_table_tells_the_evidence(collected, tmp_path):
    result = label(collected, tmp_path / "labels", as_of="2026-02-01")
    table = pads.dataset(result.uri, format="parquet").to_table().sort_by("id")
    rows = open_dataset(str(collected)).to_table().sort_by("id")
    assert result.body["sources"] == ["windy", "far", "near", "said", "calm"]
    wind, far = (rows[name].to_numpy() for name in ("wind", "far"))
    evidence = np.array(table["_evidence"].to_pylist())
    assert (evidence[:, 0] == np.where(wind > 1, 1, np.where(wind < 0.5, 0, -1))).all()
    # NaN is greater than everything in SQL, and no number here.
    with np.errstate(invalid="ignore"):
        assert (evidence[:, 1] == np.where(far > 0.8, 1, -1)).all()
    assert (evidence[:, 3] == [1 if each == "held up by wind" else -1 for each in rows["said"].to_pylist()]).all()
    probabilities = np.array(table["_probabilities"].to_pylist())
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    labels = np.array([{"fine": 0, "late": 1}.get(each, -1) for each in table["label"].to_pylist()])
    assert ((labels < 0) == (evidence < 0).all(1)).all()
    assert (labels[labels >= 0] == probabilities.argmax(1)[labels >= 0]).all()
    assert {each.isoformat() for each in table["_as_of"].to_pylist()} == {"2026-02-01T00:00:00+00:00"}
    assert set(table["_method"].to_pylist()) == {"weak_supervision", None}


def test_what_comes_out_is_a_dataset_for_the_next_component(collected, tmp_path):
    label(collected, tmp_path / "labels")
    statistics = compute_statistics(str(tmp_path / "labels"), str(tmp_path / "statistics"), workers=1)
    from tensorflow_metadata.proto.v0 import statistics_pb2

    content = statistics.read("Split-train/FeatureStats.pb")
    [found] = statistics_pb2.DatasetFeatureStatisticsList.FromString(content).datasets
    features = {each.path.step[0]: each for each in found.features}
    assert {"label", "label_probability", "wind"} <= set(features)
    assert {each.value for each in features["label"].string_stats.top_values} == {"fine", "late"}
    assert statistics.body["dataset"]["uri"].endswith("/labels")


def test_what_label_tells_of_a_label_is_no_input_of_it(trips, tmp_path):
    from headwater.components.validate import measure_concept

    places = []
    for span in (1, 2):
        folder = tmp_path / str(span)
        collect_dataset(str(trips), str(folder / "data"), key=["id"], data_root=str(tmp_path / "root"), span=span)
        labels = label(folder / "data", folder / "labels")
        statistics = compute_statistics(str(folder / "labels"), str(folder / "statistics"), workers=1)
        places.append((labels.uri, statistics.uri))
    config = {"label": "label", "statistics": places[0][1]}
    told = measure_concept(places[0][0], places[1][0], config=config)
    assert "wind" in json.dumps(told) and "label_probability" not in json.dumps(told["splits"])


def test_without_a_data_root_the_rows_come_along(trips, tmp_path):
    collect_dataset(str(trips), str(tmp_path / "data"), key=["id"], workers=1)
    label(tmp_path / "data", tmp_path / "labels")
    import shutil

    shutil.rmtree(tmp_path / "data")
    (tmp_path / "labels").rename(tmp_path / "moved")
    assert open_dataset(str(tmp_path / "moved"), "train").count_rows() > 2_000
    assert None not in columns(tmp_path / "moved", "truth")[0]
    # Parquet readers see the label table alone.
    assert pads.dataset(str(tmp_path / "moved"), format="parquet").count_rows() == ROWS


def test_labels_read_as_datasets_do(collected, tmp_path):
    label(collected, tmp_path / "labels")
    opened = open_dataset(str(tmp_path / "labels"))
    assert opened.count_rows() == ROWS and opened.head(5).num_rows == 5
    late = opened.to_table(columns=["id", "label"], filter=pads.field("label") == "late")
    assert late.num_rows == opened.count_rows(pads.field("label") == "late") > 100
    assert late.schema.names == ["id", "label"]
    assert sum(batch.num_rows for batch in opened.to_batches(columns=["wind"])) == ROWS
    assert set(opened.to_table(columns=["split"])["split"].to_pylist()) == {"train", "eval"}
    dataset = load_dataset(str(tmp_path / "labels"))
    [first, *_] = dataset.elements("train")
    [batch] = read_element(first, pa.schema([dataset.schema.field(name) for name in ("label", "wind")]))
    assert batch.schema.names == ["label", "wind"] and batch.num_rows == first.rows


def test_the_same_again_is_adopted_and_other_steps_take_the_next_version(collected, tmp_path):
    first = label(collected, tmp_path / "a")
    files = storage.list_files(first.home.data_root)
    again = label(collected, tmp_path / "b")
    assert again.sha256 == first.sha256 and storage.list_files(first.home.data_root) == files
    # As KFP brings them.
    turned = [{name: each[name] for name in reversed(each)} for each in steps(sample_rows=100_000)]
    plain = label(collected, tmp_path / "d", steps(sample_rows=100_000))
    floats = label(collected, tmp_path / "e", [{**turned[0], "sample_rows": 100_000.0}])
    assert floats.sha256 == plain.sha256
    other = label(collected, tmp_path / "c", steps(min_probability=0.9))
    assert other.home.version > first.home.version
    assert columns(tmp_path / "c", "label")[0].count(None) > columns(tmp_path / "a", "label")[0].count(None)


def test_one_worker_and_two_write_the_same(collected, tmp_path):
    one = label_dataset(str(collected), str(tmp_path / "a"), steps=steps(), workers=1, data_root=str(tmp_path / "r1"))
    two = label_dataset(str(collected), str(tmp_path / "b"), steps=steps(), workers=2, data_root=str(tmp_path / "r2"))
    for split in ("train", "eval"):
        assert one.body["splits"][split]["digest"] == two.body["splits"][split]["digest"]


def late_by_carrier(batch):
    return ["late" if each == "9E" else None for each in batch["carrier"].to_pylist()]


def too_few(batch):
    return ["late"]


def careless(batch):
    carrier = batch["carrier"][batch.num_rows // 2].as_py()
    raise ValueError(f"no tariff for {carrier}, that is for {carrier[:1] + '?'!r}")


def no_class(batch):
    return ["never"] * batch.num_rows


class Snorkel:
    """As Snorkel's LabelingFunction is called: with a row whose columns are attributes."""

    def __call__(self, row):
        return 1 if row.wind > 1 else -1


@pytest.fixture
def user_code(monkeypatch):
    module = types.ModuleType("my_functions")
    for each in (late_by_carrier, too_few, careless, no_class):
        setattr(module, each.__name__, each)
    module.snorkel_wind = Snorkel()
    monkeypatch.setitem(sys.modules, "my_functions", module)


def test_python_and_snorkel_functions_vote(collected, tmp_path, user_code, capsys):
    given = steps(
        {"name": "carrier", "python": "my_functions:late_by_carrier"},
        {"name": "wind", "snorkel": "my_functions:snorkel_wind"},
        {"name": "form", "lookup": {"column": "carrier", "values": {"AA": "fine"}}},
        {"name": "regex", "regex": {"column": "said", "pattern": "^on", "vote": "fine"}},
    )
    result = label(collected, tmp_path / "labels", given)
    assert "row by row" in capsys.readouterr().out
    table = pads.dataset(result.uri, format="parquet").to_table().sort_by("id")
    rows = open_dataset(str(collected)).to_table().sort_by("id").to_pylist()
    evidence = table["_evidence"].to_pylist()
    for row, own in zip(rows, evidence):
        assert own == [
            1 if row["carrier"] == "9E" else -1,
            1 if row["wind"] > 1 else -1,
            0 if row["carrier"] == "AA" else -1,
            0 if row["said"] == "on time" else -1,
        ]


def test_an_earlier_models_column_votes_where_it_is_sure(collected, tmp_path):
    given = steps(
        {"name": "model", "column": {"column": "truth", "confidence": "wind", "at_least": 1.0}},
        {"name": "a", "sql": "CASE WHEN far > 0 THEN 'late' END"},
        {"name": "b", "sql": "CASE WHEN wind < 2 THEN 'fine' END"},
        {"name": "c", "sql": "CASE WHEN said LIKE 'on%' THEN 'fine' END"},
    )
    result = label(collected, tmp_path / "labels", given)
    own = np.array(pads.dataset(result.uri, format="parquet").to_table().sort_by("id")["_evidence"].to_pylist())[:, 0]
    rows = open_dataset(str(collected)).to_table().sort_by("id").to_pylist()
    assert own.tolist() == [{"fine": 0, "late": 1}[row["truth"]] if row["wind"] >= 1 else -1 for row in rows]


def test_gold_is_fixed_and_told(collected, tmp_path):
    result = label(collected, tmp_path / "labels", steps(gold="gold"))
    told = result.body["steps"][0]
    assert told["gold"]["rows"] == 300 and set(told["held_out_losses"]) >= {"em", "majority", "naive_bayes"}
    rows = [row for row in open_dataset(str(collected)).to_table().to_pylist() if row["gold"]]
    voted = [row for row in rows if row["wind"] > 1 or row["wind"] < 0.5]
    right = sum(("late" if row["wind"] > 1 else "fine") == row["gold"] for row in voted)
    windy = told["functions"][0]
    assert (windy["gold"]["rows"], windy["gold"]["right"]) == (len(voted), right)
    assert windy["gold"]["accuracy"][1] < right / len(voted) < windy["gold"]["accuracy"][2]


def test_gold_may_lie_in_other_data(collected, trips, tmp_path):
    rows = pq.read_table(trips, columns=["id", "gold"])
    checked = tmp_path / "checked.csv"
    lines = [f"{number},{known or ''}" for number, known in zip(rows["id"].to_pylist(), rows["gold"].to_pylist())]
    checked.write_text("\n".join(["id,known", *lines, "1000000,late"]) + "\n")
    given = steps(gold="known", gold_input="checked")
    apart = label(collected, tmp_path / "a", given, inputs={"checked": str(checked)})
    within = label(collected, tmp_path / "b", steps(gold="gold"))
    assert apart.body["steps"][0]["gold"] == within.body["steps"][0]["gold"]
    assert columns(apart.folder, "label") == columns(within.folder, "label")
    assert set(apart.manifest["inputs"]) == {"dataset", "inputs.checked"}
    told = analyse(str(collected), steps=given, inputs={"checked": str(checked)})
    assert re.search(r"^windy .* % of 2\d\d ", told, re.MULTILINE)
    checked.write_text("id,known\n1,late\n1,fine\n")
    for message, settings, inputs in (
        ("steps.0.gold: 1 keys have two classes", given, {"checked": str(checked)}),
        ("there is no input 'checked'; the inputs are none", given, {}),
        ("steps.0.gold: must name the column of the input", steps(gold_input="checked"), {"checked": str(checked)}),
        (
            "steps.0.gold: there is no column 'truth'",
            steps(gold="truth", gold_input="checked"),
            {"checked": str(checked)},
        ),
        ("inputs.checked: .*there is no such file", given, {"checked": str(tmp_path / "nowhere.csv")}),
    ):
        with pytest.raises(HeadwaterError, match=message):
            label(collected, tmp_path / "c", settings, inputs=inputs)
    checked.write_text("id,known\n-5,late\n")
    far = label(collected, tmp_path / "d", given, inputs={"checked": str(checked)})
    assert "no key of the input 'checked' occurs in the dataset" in [each["message"] for each in far.body["findings"]]
    checked.write_text("id,known\n5,soon\n")
    with pytest.raises(HeadwaterError, match="column 'known' has a value that is not one of the classes on 1 rows"):
        label(collected, tmp_path / "e", given, inputs={"checked": str(checked)})


def test_a_gold_column_may_be_named_as_anything_that_stands_in_an_expression(trips, tmp_path):
    rows = pq.read_table(trips)
    pq.write_table(
        rows.rename_columns([name if name != "gold" else "late" for name in rows.column_names]), tmp_path / "t.parquet"
    )
    collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / "data"), key=["id"], workers=1)
    assert label(tmp_path / "data", tmp_path / "labels", steps(gold="late")).body["steps"][0]["gold"]["rows"] == 300


def test_costs_models_and_balance_change_what_comes_out(collected, tmp_path):
    plain = columns(label(collected, tmp_path / "a").folder, "label")[0]
    costly = columns(label(collected, tmp_path / "b", steps(costs={"late": {"fine": 20}})).folder, "label")[0]
    assert costly.count("late") > plain.count("late")
    majority = label(collected, tmp_path / "c", steps(model="majority"))
    assert majority.body["steps"][0]["model"]["kind"] == "majority"
    balance = label(collected, tmp_path / "d", steps(balance={"fine": 0.2, "late": 0.8}))
    assert balance.body["steps"][0]["model"]["prior"] == {"fine": 0.2, "late": 0.8}
    assert columns(balance.folder, "label")[0].count("late") > plain.count("late")
    small = label(collected, tmp_path / "e", steps(sample_rows=1_000, copies=False))
    assert small.body["steps"][0]["copies"] == []


def test_several_steps_fill_what_earlier_ones_leave(collected, tmp_path):
    first = steps(model="majority", min_probability=0.8)[0]
    again = [{**each, "name": f"{each['name']} again"} for each in steps()[0]["functions"]]
    result = label(collected, tmp_path / "labels", [first, steps(*again)[0]])
    told = result.body["labelled"]
    assert told["methods"]["weak_supervision"] == sum(told["classes"].values())
    alone = label(collected, tmp_path / "alone", [first])
    assert told["abstained"] < alone.body["labelled"]["abstained"]
    kept = zip(*(columns(result.folder, "label"), columns(alone.folder, "label")))
    assert all(one == other for ones, others in kept for one, other in zip(ones, others) if other is not None)


def test_an_expression_that_fails_on_a_row_abstains_there_and_is_counted(trips, tmp_path):
    collect_dataset(str(trips), str(tmp_path / "data"), key=["id"], workers=1)
    given = steps(
        *steps()[0]["functions"], {"name": "cast", "sql": "CASE WHEN CAST(said AS INTEGER) > 1 THEN 'late' END"}
    )
    result = label(tmp_path / "data", tmp_path / "labels", given)
    told = result.body["steps"][0]["functions"][-1]
    said = open_dataset(str(tmp_path / "data")).to_table()["said"]
    assert told["failed"] == ROWS - said.null_count and told["coverage"] == 0 and told["accuracy"] is None


def test_no_steps_pass_the_dataset_on(collected, trips, tmp_path):
    assert pass_on(str(collected), str(tmp_path / "a")).sha256 == load_dataset(str(collected)).result.sha256
    collect_dataset(str(trips), str(tmp_path / "data"), key=["id"], workers=1)
    pass_on(str(tmp_path / "data"), str(tmp_path / "b"))
    (tmp_path / "data").rename(tmp_path / "gone")
    assert open_dataset(str(tmp_path / "b")).count_rows() == ROWS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "steps: must be a list with at least one step"),
        ([{"classes": ["a", "b"]}], r"steps.0.method: field required"),
        ([{"method": "magic", "classes": ["a", "b"]}], "steps.0.method: there is no method 'magic'; the methods are"),
        (steps(classes=["late"]), "steps.0.classes: list should have at least 2"),
        (steps(classes=["late", "late"]), "steps.0.classes: the class 'late' is given twice"),
        (steps(label="_mine"), "names that begin with '_'"),
        (steps(label="split"), "'split' is the name of the column that holds a row's split"),
        (steps(classes=["", "late"]), "steps.0.classes"),
        (steps() * 2, "steps.1: 'windy' already votes in steps.0; give it another name"),
        (steps(label="carrier"), "the dataset already has a column 'carrier'"),
        (
            steps() + steps(classes=["x", "late"]),
            "steps.1.classes: must be the same as in steps.0, because all steps write one label column",
        ),
        (steps(sharpness=1), "steps.0.sharpness: there is no such setting; the settings are functions, gold"),
        (steps({"name": "a", "sql": "CASE WHEN"}), "cannot be estimated from their votes; give at least 3 functions"),
        (steps({"name": "a"}, {"name": "b"}), "has none"),
        (steps(*[{"name": "a", "sql": "NULL"}] * 3), "another function already has this name"),
        (steps({"name": "x", "sql": "wind >"}, *steps()[0]["functions"]), "'x'.*is not a single scalar SQL expression"),
        (steps({"name": "x", "sql": "winds"}, *steps()[0]["functions"]), "there is no column 'winds'; the columns are"),
        (steps({"name": "x", "sql": "random()"}, *steps()[0]["functions"]), r"random\(\) is not allowed"),
        (steps({"name": "x", "sql": "wind + said"}, *steps()[0]["functions"]), "cannot be computed"),
        (
            steps({"name": "x", "threshold": {"column": "said", "above": 1, "vote": "late"}}, *steps()[0]["functions"]),
            "column 'said' must hold numbers, but it is string",
        ),
        (
            steps(
                {"name": "x", "keywords": {"column": "wind", "words": ["a"], "vote": "late"}}, *steps()[0]["functions"]
            ),
            "column 'wind' must hold text, but it is double",
        ),
        (
            steps({"name": "x", "regex": {"column": "said", "pattern": "(", "vote": "late"}}, *steps()[0]["functions"]),
            "regex.pattern",
        ),
        (
            steps({"name": "x", "lookup": {"column": "said", "values": {"a": "soon"}}}, *steps()[0]["functions"]),
            "'soon' is not one of the classes; they are fine, late",
        ),
        (
            steps({"name": "x", "threshold": {"column": "wind", "vote": "late"}}, *steps()[0]["functions"]),
            "must give `above` or `below`",
        ),
        (steps({"name": "x", "python": "nowhere:f"}, *steps()[0]["functions"]), "the module cannot be imported"),
        (steps({"name": "x", "python": "json:nothing"}, *steps()[0]["functions"]), "has no 'nothing'"),
        (steps(gold="golden"), "there is no column 'golden'"),
        (steps(gold="wind"), "the function 'windy' also reads 'wind'"),
        (steps(gold="carrier"), "gold: column 'carrier' has a value that is not one of the classes on 3,000 rows"),
        (steps(model="naive_bayes"), "learns only from gold labels"),
        (steps(balance={"fine": 1.0}), "balance: must give the share of each class"),
        (steps(balance={"fine": 0.9, "late": 0.2}), "balance: shares must be above 0 and sum to 1"),
        (steps(costs={"late": {"never": 1}}), "costs: 'never' is not one of the classes"),
        (steps(costs={"late": {"late": 1}}), "exactly 0 for the right label"),
        (steps({"name": "x", "sql": "'never'"}, *steps()[0]["functions"]), "'x'.*its vote is not one of the classes"),
        (
            steps(*[{"name": str(n), "sql": f"CASE WHEN id % 3 = {n} THEN 'late' END"} for n in range(3)]),
            "no function votes for the class 'fine'",
        ),
        (
            steps(
                *[
                    {
                        "name": str(n),
                        "sql": f"CASE WHEN id % 3 = {n} THEN CASE WHEN wind > 1 THEN 'late' ELSE 'fine' END END",
                    }
                    for n in range(3)
                ]
            ),
            "no two functions vote on the same row",
        ),
        (
            steps(*steps()[0]["functions"][:2], {"name": "silent", "sql": "CAST(NULL AS VARCHAR)"}),
            r"only 2 of 3 vote on any row \(silent: 'silent'\)",
        ),
    ],
)
def test_what_is_wrong_is_told(collected, tmp_path, given, message):
    with pytest.raises(HeadwaterError, match=message):
        label(collected, tmp_path / "labels", given) if given else label_dataset(
            str(collected), str(tmp_path), steps=[]
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_few", "returned 1 votes for"),
        (
            "careless",
            r"'x'\): failed with ValueError: no tariff for <carrier>, that is for '…' \(test_label.py, line \d+\) on row 1 of a shard$",
        ),
        ("no_class", "its vote is not one of the classes"),
    ],
)
def test_user_code_that_is_wrong_is_told_without_values(collected, tmp_path, user_code, name, message):
    with pytest.raises(HeadwaterError, match=message) as caught:
        label(
            collected,
            tmp_path / "labels",
            steps({"name": "x", "python": f"my_functions:{name}"}, *steps()[0]["functions"]),
        )
    assert not re.search(r"9E|B6|UA|'[A-Z0-9]\?'", str(caught.value).partition("failed")[2])


def test_labelled_ones_are_refused(collected, tmp_path):
    label(collected, tmp_path / "labels")
    with pytest.raises(HeadwaterError, match="is already labelled"):
        label(tmp_path / "labels", tmp_path / "again")
    with pytest.raises(HeadwaterError, match="as_of: 'soon' is not an ISO 8601 time"):
        label(collected, tmp_path / "x", as_of="soon")


def test_a_dataset_that_was_altered_after_labelling_is_told(trips, tmp_path):
    collect_dataset(str(trips), str(tmp_path / "data"), key=["id"], workers=1, data_root=str(tmp_path / "root"))
    result = label(tmp_path / "data", tmp_path / "labels")
    manifest = result.home.folder("dataset") + "/_manifest.json"
    content = json.loads(storage.read_bytes(manifest))
    content["body"]["findings"] = ["other"]
    storage.write_bytes(manifest, json.dumps(content).encode())
    with pytest.raises(HeadwaterError, match="altered after it was labelled"):
        load_dataset(str(tmp_path / "labels"))


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_the_page_opens_without_a_network(trips, tmp_path):
    collect_dataset(str(trips), str(tmp_path / "data"), key=["id"], workers=1, name="trips")
    hostile = "<script>alert(1)</script>{{ 7 * 7 }}"
    result = label(
        tmp_path / "data", tmp_path / "labels", steps(*steps()[0]["functions"], {"name": hostile, "sql": "NULL"})
    )
    with Browser() as browser:
        browser.open(result.locate(result.body["page"]))
        text = browser.run("document.body.innerText")
        order = [
            text.index(each) for each in ("Findings", "Class balance", "Weak supervision", "Where sources disagree")
        ]
        assert order == sorted(order)
        assert hostile in text and f"the function '{hostile}' votes on no row" in text
        assert browser.requests == [f"file://{result.locate(result.body['page'])}"] and not browser.complaints


def test_the_command_line_labels_and_analyses(trips, tmp_path, capsys):
    import yaml

    (tmp_path / "steps.yaml").write_text(yaml.safe_dump({"label": {"steps": steps()}}))
    (tmp_path / "none.yaml").write_text("{}")
    data, out = str(tmp_path / "data"), str(tmp_path / "out")
    assert main(["collect", str(trips), "--output", data, "--key", "id"]) == 0
    command = ["label", data, "--project", str(tmp_path / "steps.yaml")]
    assert main([*command, "--analyse", "--rows", "500"]) == 0
    assert "500 rows" in capsys.readouterr().out and not (tmp_path / "out").exists()
    assert main([*command, "--output", out, "--as-of", "2026-01-01", "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "labelled    3,000 rows, fine" in told and f"result      {out}\n" in told and "_page.html" in told
    assert results.load(out, "labels").manifest["settings"]["as_of"] == "2026-01-01T00:00:00+00:00"
    root = str(tmp_path / "root")
    assert main(["label", data, "--project", str(tmp_path / "steps.yaml"), "--output", out, "--data-root", root]) == 0
    assert results.load(out, "labels").home.data_root == root
    assert main(command) == FAILED and "--output" in capsys.readouterr().err
    assert main(["label", data, "--project", str(tmp_path / "none.yaml"), "--output", out]) == FAILED
    assert "label.steps: the project has no steps" in capsys.readouterr().err


def test_label_never_imports_tensorflow(collected, tmp_path):
    script = (
        "import sys\nfrom headwater.components.label import label_dataset\n"
        f"label_dataset({str(collected)!r}, {str(tmp_path / 'out')!r}, steps={steps()!r}, workers=1)\n"
        "print([name for name in ('tensorflow', 'tensorflow_data_validation', 'kfp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_analyse_says_what_to_write_next(collected):
    told = analyse(
        str(collected),
        steps=steps({"name": "q", "sql": "CASE WHEN carrier = 'AA' THEN 'fine' END"}, *steps()[0]["functions"][1:]),
    )
    lines = told.splitlines()
    assert any(line.startswith("q ") and "fine" in line for line in lines)
    assert "no function votes on these rows; write functions for them next:" in lines
    assert not any("carrier = AA" in line for line in lines) and any("carrier = 9E" in line for line in lines)
    assert "the pairs that disagree most:" in lines
    few = analyse(str(collected), steps=steps(), rows=100)
    assert few.startswith("100 rows")
    with pytest.raises(HeadwaterError, match="rows: must be at least 1"):
        analyse(str(collected), steps=steps(), rows=0)


@pytest.fixture
def labelled_twice(trips, tmp_path):
    """Labels by two lists of steps: the second ones are of version 2, and read the shards of version 1."""
    root = tmp_path / "root"
    collect_dataset(
        str(trips), str(tmp_path / "data"), key=["id"], workers=1, data_root=str(root), name="trips", span=1
    )
    label(tmp_path / "data", tmp_path / "a")
    label(tmp_path / "data", tmp_path / "b", steps(min_probability=0.9))
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 1_000_000,) * 2)
    return root


def test_retention_keeps_the_shards_that_labels_read(labelled_twice):
    kept = Retention(keep_versions=1)
    assert list(find_garbage(str(labelled_twice), retention=kept)) == []
    assert verify(str(labelled_twice)).problems == []
    (labelled_twice / "trips/span=1/version=2/labels/_manifest.json").unlink()
    gone = [each.uri for each in find_garbage(str(labelled_twice), retention=kept) if each.reason == "retention"]
    assert gone and all("/version=1/" in uri for uri in gone)


def test_what_a_dead_attempt_left_goes_and_labels_stay(labelled_twice):
    labels = labelled_twice / "trips/span=1/version=1/labels"
    left = labels / "split=train/labels-000000-dead.parquet"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - 1_000_000,) * 2)
    assert [each.uri for each in find_garbage(str(labelled_twice))] == [str(left)]


@pytest.mark.parametrize("glob", ["split=train/labels-*.parquet", "_labels-train-*.parquet"])
def test_altered_labels_are_told_by_their_file(labelled_twice, glob):
    [path, *_] = sorted((labelled_twice / "trips/span=1/version=1/labels").glob(glob))
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    content[100::64] ^= 1
    path.write_bytes(content.tobytes())
    assert any(str(path) in problem for problem in verify(str(labelled_twice)).problems)
    with pytest.raises(HeadwaterError, match="altered after it was written"):
        open_dataset(str(labelled_twice / "trips/span=1/version=1/labels")).to_table()


def test_lineage_leads_through_the_labels(labelled_twice, tmp_path, capsys):
    compute_statistics(str(tmp_path / "b"), str(tmp_path / "statistics"), workers=1)
    assert main(["lineage", str(tmp_path / "statistics")]) == 0
    told = capsys.readouterr().out
    order = [
        told.index(each)
        for each in ("made by generate-statistics", "made by label", "made by collect", "trips.parquet")
    ]
    assert order == sorted(order)
    assert main(["ls", str(labelled_twice)]) == 0
    assert "dataset, labels" in capsys.readouterr().out


def test_changed_code_is_not_taken_for_what_was_labelled_before(collected, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    given = steps({"name": "own", "python": "labels_of_mine:vote"}, *steps()[0]["functions"])
    found = []
    for word, end in (("late", ""), ("fine", "\n")):  # of another length: Python takes bytecode by second and size
        code = f"def vote(batch):\n    return ['{word}'] * batch.num_rows\n{end}"
        (tmp_path / "labels_of_mine.py").write_text(code)
        sys.modules.pop("labels_of_mine", None)
        found.append(label(collected, tmp_path / word, given))
    votes = [each.body["steps"][0]["functions"][0]["votes"] for each in found]
    assert votes == [{"late": ROWS}, {"fine": ROWS}] and found[0].uri != found[1].uri
    assert label(collected, tmp_path / "again", given).sha256 == found[1].sha256


def test_a_time_beyond_the_calendar_is_one_clear_message(collected, tmp_path):
    with pytest.raises(HeadwaterError, match="as_of: .* is outside the years 1 to 9999"):
        label(collected, tmp_path / "labels", as_of="0001-01-01T00:00:00+14:00")


def test_truth_of_another_type_is_told_before_the_work(collected, tmp_path):
    pq.write_table(pa.table({"id": [1], "told": [["late"]]}), tmp_path / "t.parquet")
    given = steps(truth="told", truth_input="t")
    with pytest.raises(HeadwaterError, match="steps.0.truth: column 'told' is list"):
        label(collected, tmp_path / "labels", given, inputs={"t": str(tmp_path / "t.parquet")})
