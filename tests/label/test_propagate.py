"""Propagation as a step of label: seeds of earlier steps and gold, settings that change the outcome, errors, coresets, workers."""

from __future__ import annotations

import functools
import json

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from points import mixture

from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.label import label_dataset
from headwater.pipelines.project.model import json_schema

ROWS = 3_000
FILES = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> tuple[str, pa.Table]:
    """Rows of four numbers, a category, a text and an embedding that all tell something of two classes; some gold."""
    folder = tmp_path_factory.mktemp("data")
    points, cluster = mixture(ROWS, 4, 2, seed=3, apart=3.0)
    truth = np.array(["bad", "good"])[cluster]
    chance = np.random.default_rng(0)
    flip = chance.random(ROWS) < 0.2
    words = np.where(cluster ^ flip, "a friendly and helpful answer", "slow rude reply")
    table = pa.table(
        {
            "id": np.arange(ROWS),
            **{f"x{number}": points[:, number] for number in range(4)},
            "kind": np.where(cluster ^ flip, "b", "a"),
            "text": [f"{word} {number % 7}" for number, word in enumerate(words.tolist())],
            "vector": pa.array(points.tolist(), pa.list_(pa.float32())),
            "gold": pa.array(truth, pa.string(), mask=chance.random(ROWS) >= 0.04),
            "truth": truth,
        }
    )
    size = ROWS // FILES
    for number in range(FILES):
        pq.write_table(table.slice(number * size, size), folder / f"part-{number}.parquet")
    return str(folder), table


COLUMNS = ["x0", "x1", "x2", "x3"]


def step(**more) -> dict:
    return {
        "method": "propagate",
        "classes": ["bad", "good"],
        "columns": COLUMNS,
        "gold": "gold",
        "truth": "truth",
        **more,
    }


def label(data, tmp_path, *steps: dict, **more):
    return label_dataset(data[0], str(tmp_path / "labels"), steps=list(steps or [step()]), **{"workers": 1, **more})


def rows_of(result) -> pa.Table:
    return open_dataset(result.uri).to_table().sort_by("id")


def report_of(result) -> dict:
    return result.body["steps"][-1]


def test_gold_spreads(data, tmp_path):
    result = label(data, tmp_path)
    rows, told = rows_of(result), report_of(result)
    assert result.body["truth"]["accuracy"] > 0.9
    gold = np.array([value is not None for value in data[1]["gold"].to_pylist()])
    assert told["seeds"] == {name: data[1]["gold"].to_pylist().count(name) for name in ("bad", "good")}
    labelled = np.array(rows["label"].to_pylist())
    assert (labelled[gold] == np.array(data[1]["gold"].to_pylist())[gold]).all()
    assert (rows["label_probability"].to_numpy()[gold] == 1).all()
    assert told["held_out"]["gold"] and told["held_out"]["accuracy"] > 0.9 and not told["unreached"]
    assert result.body["findings"] == []
    page = (tmp_path / "labels" / result.body["page"]).read_text()
    assert "Propagation" in page and "that were held out" in page


def test_earlier_steps_are_seeds_and_keep_their_rows(data, tmp_path):
    functions = [{"name": "low", "threshold": {"column": "id", "below": 300, "vote": "bad"}}]
    first = {
        "method": "weak_supervision", "classes": ["bad", "good"], "truth": "truth", "model": "majority",
        "functions": [
            {"name": "good", "sql": "CASE WHEN id % 20 = 0 THEN truth2 END"},
        ],
    }  # fmt: skip
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(FILES):
        part = pq.read_table(f"{data[0]}/part-{number}.parquet")
        pq.write_table(part.append_column("truth2", part["truth"]), folder / f"part-{number}.parquet")
    result = label_dataset(str(folder), str(tmp_path / "labels"), steps=[first, step(gold="")], workers=1)
    told = report_of(result)
    assert functions and told["labelled_before"] == ROWS // 20 == sum(told["seeds"].values()) and not told["gold"]
    assert result.body["labelled"]["methods"] == {"weak_supervision": ROWS // 20, "propagate": ROWS - ROWS // 20}
    assert result.body["truth"]["accuracy"] > 0.9
    alone = label_dataset(str(folder), str(tmp_path / "alone"), steps=[first], workers=1)
    before, after = rows_of(alone), rows_of(result)
    own = np.array(before["label_abstain"].to_pylist())
    assert after["label"].filter(pa.array(~own)) == before["label"].filter(pa.array(~own))


def test_gold_of_an_input(data, tmp_path):
    known = (
        data[1].select(["id", "gold"]).filter(pa.array([value is not None for value in data[1]["gold"].to_pylist()]))
    )
    pq.write_table(known, tmp_path / "known.parquet")
    from headwater.components.collect import collect_dataset

    dataset = collect_dataset(data[1].drop(["gold"]), str(tmp_path / "data"), key=["id"], splits={"all": 1})
    result = label_dataset(
        str(tmp_path / "data"), str(tmp_path / "labels"), steps=[step(gold_input="known")], workers=1,
        inputs={"known": str(tmp_path / "known.parquet")},
    )  # fmt: skip
    assert dataset.body["accounts"]["written"] == ROWS
    assert report_of(result)["gold"] == known.num_rows and result.body["truth"]["accuracy"] > 0.9


@pytest.mark.parametrize("nodes", [pytest.param(1_000_000, marks=pytest.mark.slow), 1_000])
def test_the_same_for_any_number_of_workers(data, tmp_path, nodes):
    digests = []
    for workers in (1, 2):
        result = label(data, tmp_path / str(workers), step(nodes=nodes), workers=workers)
        digests.append(rows_of(result).select(["id", "label", "label_probability"]).to_pydict())
    assert digests[0] == digests[1]


def test_a_coreset_says_so_and_does_as_well(data, tmp_path):
    result = label(data, tmp_path, step(nodes=1_000))
    told = report_of(result)
    assert told["coreset"] and 900 < told["rows_in_graph"] < 1_100
    assert any(
        "the graph holds" in each["message"] and "nodes is 1,000" in each["message"] for each in result.body["findings"]
    )
    assert result.body["truth"]["accuracy"] > 0.9 and result.body["labelled"]["abstained"] == 0
    assert "seeds and a sample" in (tmp_path / "labels" / result.body["page"]).read_text()


@pytest.fixture(scope="module")
def usual(data, tmp_path_factory):
    """The probabilities that a step gives by its columns alone, each worked out once."""
    folder = tmp_path_factory.mktemp("usual")

    @functools.cache
    def probabilities(*columns: str | tuple[str, str]):
        given = list(columns) if isinstance(columns[0], str) else dict(columns)
        name = str(len(list(folder.iterdir())))
        return rows_of(label(data, folder / name, step(columns=given)))["label_probability"]

    return probabilities


@pytest.mark.parametrize(
    "settings",
    [
        {"columns": {"x0": {}, "x1": {"weight": 9}, "x2": {}, "x3": {}}},
        {"columns": {"text": "text"}},
        {"columns": {"text": {"form": "text", "dimensions": 16}}},
        {"columns": {"text": "category"}},
        {"columns": ["kind"]},
        {"columns": ["vector"]},
        {"neighbours": 3},
        {"spread": 0.5},
        {"balance": {"bad": 0.1, "good": 0.9}},
        {"class_mass": False},
        {"calibrate": False},
        {"nodes": 1_000},
    ],
    ids=str,
)
def test_each_setting_changes_an_outcome(data, tmp_path, usual, settings):
    if settings.get("columns") == ["kind"]:
        settings = {"columns": {"kind": "category"}}
    fewer = settings.get("columns") == {"text": {"form": "text", "dimensions": 16}}
    before = usual(("text", "text")) if fewer else usual(*COLUMNS)
    changed = label(data, tmp_path, step(**settings))
    assert before != rows_of(changed)["label_probability"]
    assert result_accuracy(changed) > 0.55


def result_accuracy(result) -> float:
    return result.body["truth"]["accuracy"]


def test_min_probability_abstains(data, tmp_path):
    result = label(data, tmp_path, step(min_probability=0.9))
    rows = rows_of(result)
    assert result.body["labelled"]["abstained"] > 10
    assert np.nanmin(rows["label_probability"].to_numpy()) >= 0.9


def test_min_seed_probability_leaves_doubtful_labels_out(data, tmp_path):
    functions = [
        {"name": f"f{number}", "threshold": {"column": f"x{number}", "above": 0.5, "vote": "good"}}
        for number in range(2)
    ] + [
        {"name": f"g{number}", "threshold": {"column": f"x{number}", "below": -0.5, "vote": "bad"}}
        for number in range(2)
    ]
    first = {
        "method": "weak_supervision",
        "classes": ["bad", "good"],
        "truth": "truth",
        "model": "majority",
        "functions": functions,
    }
    every = report_of(label(data, tmp_path / "every", first, step(gold="")))
    sure = report_of(label(data, tmp_path / "sure", first, step(gold="", min_seed_probability=0.7)))
    assert 0 < sum(sure["seeds"].values()) < sum(every["seeds"].values())


def test_two_steps_take_names(data, tmp_path):
    with pytest.raises(HeadwaterError, match="already votes in steps.0; give it another name"):
        label(data, tmp_path, step(min_probability=0.99), step(gold=""))
    result = label(data, tmp_path, step(min_probability=0.99), step(gold="", columns=["vector"], name="vectors"))
    assert result.body["sources"] == ["neighbours", "vectors"] and result.body["labelled"]["abstained"] == 0


@pytest.mark.parametrize("nodes", [1_000_000, 1_000])
def test_rows_that_nothing_reaches_abstain_and_are_counted(data, tmp_path, nodes):
    table = data[1].slice(0, 1_500)
    places = np.stack([table[name].to_numpy() for name in COLUMNS], 1)
    places[1_450:] += 1_000
    vectors = places.tolist()
    vectors[7] = None
    gold = [*table["gold"].to_pylist()[:1_450], *[None] * 50]
    gold[7] = None
    far = table.drop(["gold", "vector"])
    far = far.append_column("gold", pa.array(gold)).append_column("vector", pa.array(vectors, pa.list_(pa.float32())))
    pq.write_table(far, tmp_path / "far.parquet")
    given = step(columns=["vector"], nodes=nodes)
    result = label_dataset(str(tmp_path / "far.parquet"), str(tmp_path / "labels"), steps=[given], workers=1)
    told = report_of(result)
    assert told["coreset"] == (nodes == 1_000)
    assert (told["unreached"], told["lacking"]) == (50, 1)
    assert result.body["labelled"]["abstained"] == 51
    messages = [each["message"] for each in result.body["findings"]]
    assert any("50 rows abstain, as no seed reaches them" in message for message in messages), messages
    assert any("1 row lacks a usable embedding" in message for message in messages)


def test_few_seeds_are_not_calibrated_and_say_so(data, tmp_path):
    table = data[1].slice(0, 200)
    gold = [None] * 200
    for name in ("bad", "good"):
        place = table["truth"].to_pylist().index(name)
        gold[place] = name
    path = tmp_path / "few.parquet"
    pq.write_table(table.set_column(table.column_names.index("gold"), "gold", pa.array(gold)), path)
    result = label_dataset(str(path), str(tmp_path / "labels"), steps=[step()], workers=1)
    assert report_of(result)["held_out"] is None and result.body["labelled"]["abstained"] == 0
    assert any("probabilities are not calibrated" in each["message"] for each in result.body["findings"])


@pytest.mark.parametrize(
    "steps, message",
    [
        (
            [step(gold="")],
            r"steps\.0: there are no seeds: labels spread from those of earlier steps, and this is the first",
        ),
        ([step(classes=["bad", "good", "ugly"])], "there is no seed of 'ugly' among the gold column"),
        (
            [step(columns=["text"])],
            r"steps\.0\.columns\.text: the column is text, which has no distance by itself; say form: text",
        ),
        ([step(columns=["x9"])], r"steps\.0\.columns: there is no column 'x9'; the columns are"),
        ([step(columns=["gold"])], r"steps\.0\.columns\.gold: the column must not be looked at"),
        ([step(columns=["truth"])], r"steps\.0\.columns\.truth: the column must not be looked at"),
        ([step(columns={"x0": "text"})], "cannot be used as text; it can be number or category"),
        ([step(columns=[])], r"steps\.0\.columns"),
        ([step(columns={"x0": {"weight": 0}})], r"steps\.0\.columns\.x0\.weight"),
        ([step(columns={"x0": "words"})], r"steps\.0\.columns\.x0: input should be"),
        ([step(gold="golden")], r"steps\.0\.gold: there is no column 'golden'"),
        ([step(gold="truth")], "is also the truth that labels are evaluated against"),
        ([step(gold="text")], r"steps\.0\.gold: column 'text' has a value that is not one of the classes on"),
        ([step(gold="", gold_input="known")], r"steps\.0\.gold: must name the column of the input 'known'"),
        ([step(balance={"bad": 1})], "must give the share of each class; the classes are bad, good"),
        ([step(balance={"bad": 0.5, "good": 0.6})], r"steps\.0\.balance: shares must be above 0 and sum to 1"),
        ([step(spread=1.0)], r"steps\.0\.spread"),
        ([step(neighbours=0)], r"steps\.0\.neighbours"),
        ([step(nodes=10)], r"steps\.0\.nodes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_errors(data, tmp_path, steps, message):
    with pytest.raises(HeadwaterError, match=message):
        label(data, tmp_path, *steps)


@pytest.mark.parametrize(
    "columns", [["x0"], {"x0": {}}, {"x0": "number", "kind": {"form": "category", "weight": 2}}], ids=str
)
def test_editors_know_each_way_to_name_columns(columns):
    steps = [{"method": "propagate", "classes": ["bad", "good"], "gold": "gold", "columns": columns}]
    given = {"name": "a", "sources": ["a.csv"], "label": {"steps": steps}}
    jsonschema.validate(given, json_schema())
    with pytest.raises(jsonschema.ValidationError):
        steps[0]["columns"] = {"x0": "words"}
        jsonschema.validate(given, json_schema())


def test_no_seeds_among_earlier_labels(data, tmp_path):
    first = {
        "method": "weak_supervision", "classes": ["bad", "good"], "model": "majority", "truth": "truth",
        "functions": [
            {"name": "one", "threshold": {"column": "id", "above": -1, "vote": "good"}},
            {"name": "two", "threshold": {"column": "id", "above": -2, "vote": "good"}},
            {"name": "three", "threshold": {"column": "id", "below": 5, "vote": "bad"}},
        ],
    }  # fmt: skip
    with pytest.raises(
        HeadwaterError, match=r"steps\.1: there is no seed of 'bad' among [\d,]+ rows that earlier steps labelled"
    ):
        label(data, tmp_path, first, step(gold=""))


def test_the_report_holds_json_alone_and_no_values(data, tmp_path):
    result = label(data, tmp_path, step(columns={"text": "text", "kind": "category"}))
    told = json.dumps(report_of(result))
    assert "friendly" not in told and "columns" in told
