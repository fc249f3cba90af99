"""Weak supervision on data that is not as the examples are: other types, rare votes, many classes, no gold."""

from __future__ import annotations

import decimal
import json
import sys
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.label import analyse, label_dataset
from headwater.components.label.classes import check_kind, numbers
from headwater.components.label.methods.weak_supervision import show
from headwater.components.label.weak import analysis, fitting, tally
from headwater.components.label.weak.functions import Function, check_columns, vote
from headwater.components.label.weak.literals import in_numbers

ROWS = 600


def trips(**more) -> pa.Table:
    """Trips, late or not, of which three columns tell something."""
    chance = np.random.default_rng(3)
    late = chance.random(ROWS) < 0.4
    columns = {f"c{number}": chance.normal(size=ROWS) + 2 * late for number in range(3)}
    return pa.table({"id": np.arange(ROWS), "late": late, **columns, **more})


def functions() -> list[dict]:
    return [
        {"name": f"f{number}", "sql": f"CASE WHEN c{number} > 1.2 THEN 'late' WHEN c{number} < 0.8 THEN 'fine' END"}
        for number in range(3)
    ]


def step(**more) -> list[dict]:
    return [{"method": "weak_supervision", "classes": ["fine", "late"], "functions": functions(), **more}]


def label(tmp_path, table: pa.Table, given: list[dict], **more):
    path = tmp_path / "trips.parquet"
    tmp_path.mkdir(exist_ok=True)
    pq.write_table(table, path)
    return label_dataset(str(path), str(tmp_path / "labels"), steps=given, workers=1, **more)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.struct([("a", pa.string())]),
        pa.map_(pa.string(), pa.string()),
        pa.binary(),
        pa.binary(4),
        pa.dictionary(pa.int8(), pa.binary()),
    ],
)
def test_a_gold_column_that_names_no_class_is_told_before_the_work(tmp_path, kind):
    table = trips(gold=pa.nulls(ROWS, kind))
    with pytest.raises(
        HeadwaterError, match=r"steps\.0.*gold: column 'gold' is .*; give text, integers, booleans or a"
    ):
        label(tmp_path, table, step(gold="gold"))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (pa.array(["b", None, "x", "a"], pa.large_string()), ("a", "b")),
        (pa.array(["b", None, "x", "a"]).dictionary_encode(), ("a", "b")),
        (pa.array(["b", None, "x", "a"], pa.large_string()).dictionary_encode(), ("a", "b")),
        (pa.array([1, None, 7, 0], pa.int8()), ("0", "1")),
        (pa.array([1, None, 7, 0], pa.uint64()), ("0", "1")),
        (pa.array([1, None, 7, 0], pa.float64()), ("0", "1")),
    ],
)
def test_classes_come_in_several_types(values, classes):
    check_kind("gold", "gold", values.type)
    assert numbers(values, classes).tolist() == [1, -1, -2, 0]


def test_booleans_and_nothing_are_classes_too():
    for values, expected in ((pa.array([True, None, False]), [1, -1, 0]), (pa.nulls(2), [-1, -1])):
        check_kind("gold", "gold", values.type)
        assert numbers(values, ("false", "true")).tolist() == expected


def votes(column: pa.Array, /, **form) -> list[int]:
    batch = pa.RecordBatch.from_arrays([column], names=["x"])
    given = [Function(name="f", **form)]
    check_columns("steps.0", given, batch.schema)
    return vote("steps.0", given, ["late", "fine"], batch)[0][:, 0].tolist()


def test_words_are_whole_in_any_script():
    texts = pa.array(["für", "r", "a r.", "fu\u0308r", "r_1", "r٣", "fǁr", "é-r"])
    assert votes(texts, keywords={"column": "x", "words": ["r"], "vote": "late"}) == [-1, 0, 0, -1, -1, -1, -1, 0]
    words = {"column": "x", "words": ["FÜR", "поезд"], "vote": "late"}
    assert votes(pa.array(["für uns", "дизельпоезд", "Поезд!", "fürs"]), keywords=words) == [0, -1, 0, -1]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_forms_take_text_however_it_is_stored(kind):
    texts = pa.array(["late", "fine", None, "late"])
    column = texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts.cast(kind)
    assert votes(column, keywords={"column": "x", "words": ["late"], "vote": "late"}) == [0, -1, -1, 0]
    assert votes(column, regex={"column": "x", "pattern": "^f", "vote": "fine"}) == [-1, 1, -1, -1]
    assert votes(column, lookup={"column": "x", "values": {"late": "fine"}}) == [1, -1, -1, 1]
    assert votes(column, column={"column": "x"}) == [0, 1, -1, 0]


LITERALS = {
    "CASE WHEN x > 1 THEN 'b' WHEN x < 0 THEN 'it''s' END": True,
    "(case x when 2 then 'b' when 3 then null else 'it''s' end)": True,
    "CASE WHEN t = 'é' THEN 'b' ELSE 'é' END": True,
    "if(x > 1, 'b', NULL)": True,
    "CASE WHEN CASE WHEN x > 1 THEN 'b' END = 'b' THEN 'é' END": True,
    "CASE WHEN x > 1 THEN 'b' END -- the end": False,
    "CASE WHEN x > 1 THEN 'b' /* END */ END": False,
    "CASE WHEN x > 1 THEN E'b' ELSE lower('É') END": False,
    "CASE WHEN x > 1 THEN CASE WHEN x > 2 THEN 'b' END END": False,
    "t": False,
}


@pytest.mark.parametrize("sql", LITERALS)
def test_classes_that_stand_as_literals_vote_as_any_other(sql):
    batch = pa.RecordBatch.from_pydict({"x": [-1.0, 0.5, 1.5, 2.0, 3.0, None], "t": ["é", "b", None, "é", "b", "it's"]})
    classes = ["b", "é", "it's"]
    # What is made of a value is no literal.
    given = [
        Function(name="literals", sql=sql),
        Function(name="text", sql=f"nullif(concat('', ({sql}\n)), '')"),
    ]
    votes, failed = vote("steps.0", given, classes, batch)
    assert votes[:, 0].tolist() == votes[:, 1].tolist() and failed == [0, 0] and (votes[:, 0] >= 0).any()
    assert (in_numbers(sql, tuple(classes)) is not None) == LITERALS[sql]


def test_a_function_of_literals_that_fails_on_a_row_abstains_there():
    batch = pa.RecordBatch.from_pydict({"x": ["1", "one", "3"]})
    given = [Function(name="f", sql="CASE WHEN CAST(x AS INTEGER) > 2 THEN 'b' ELSE 'a' END")]
    votes, failed = vote("steps.0", given, ["a", "b"], batch)
    assert votes[:, 0].tolist() == [0, -1, 1] and failed == [1]
    wrong = [Function(name="f", sql="CASE WHEN x = '1' THEN 'b' ELSE 'c' END")]
    with pytest.raises(HeadwaterError, match="'f'.*not one of the classes, first on row 2"):
        vote("steps.0", wrong, ["a", "b"], batch)


def test_decimals_are_numbers():
    values = pa.array([decimal.Decimal("1.50"), decimal.Decimal("0.10"), None])
    for column in (values, values.dictionary_encode(), values.cast(pa.float64()).dictionary_encode()):
        assert votes(column, threshold={"column": "x", "above": 0.1, "vote": "late"}) == [0, -1, -1]
    both = pa.RecordBatch.from_arrays([pa.array(["late"] * 3), values], names=["x", "sure"])
    given = [Function(name="f", column={"column": "x", "confidence": "sure", "at_least": 1})]
    check_columns("steps.0", given, both.schema)
    assert vote("steps.0", given, ["late", "fine"], both)[0][:, 0].tolist() == [0, -1, -1]
    with pytest.raises(HeadwaterError, match="column 'x' must hold numbers, but it is decimal256"):
        votes(pa.nulls(2, pa.decimal256(50, 2)), threshold={"column": "x", "above": 1, "vote": "late"})


def rare(rows: int = 110_000) -> tally.Tally:
    """Votes of which most are distinct, but for one function that votes on one row."""
    chance = np.random.default_rng(5)
    found = chance.integers(-1, 2, (rows, 20)).astype(np.int8)
    found[:, 0] = -1
    hashes = chance.integers(0, 2**63, rows).astype(np.uint64)
    found[int(hashes.argmax()), 0] = 1
    return tally.tally(found, np.full(rows, -1, np.int8), hashes, 2, 1_000)


def test_a_function_that_no_sampled_row_has_a_vote_of_has_no_accuracy():
    counted = rare()
    named = [Function(name=f"f{number}", sql="1") for number in range(20)]
    told = analysis.describe(named, ["a", "b"], counted, fitting.fit(counted, kind="em"), np.zeros(20, np.int64))
    assert told["functions"][0]["votes"] == {"b": 1} and told["functions"][0]["accuracy"] is None
    assert told["functions"][1]["accuracy"] is not None
    assert told["fitted_from"] == "a sample of 1,000 rows"
    json.dumps(told, allow_nan=False)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("kind", [pa.string(), pa.null()])
def test_gold_that_is_empty_everywhere(tmp_path, kind):
    table = trips(gold=pa.nulls(ROWS, kind))
    for name in ("auto", "em", "majority"):
        found = label(tmp_path, table, step(gold="gold", model=name)).body["steps"][0]
        assert found["gold"] is None and "the column 'gold' of gold is empty on every row" in found["warnings"]
    message = r"steps\.0.*model: naive_bayes learns only from gold labels, but 'gold' gives no row a class"
    with pytest.raises(HeadwaterError, match=message):
        label(tmp_path, table, step(gold="gold", model="naive_bayes"))
    with pytest.raises(HeadwaterError, match=message):
        analyse(str(tmp_path / "trips.parquet"), steps=step(gold="gold", model="naive_bayes"))


def crowded(rows: int, classes: int, gold: int, functions: int = 10) -> tuple[tally.Tally, np.ndarray, np.ndarray]:
    """A tally of functions that are right on 6 of 10 rows, the votes, and the truth, which is known of the first rows."""
    chance = np.random.default_rng(2)
    truth = chance.integers(0, classes, rows).astype(np.int8)
    other = chance.integers(0, classes, (rows, functions))
    found = np.where(chance.random((rows, functions)) < 0.6, truth[:, None], other).astype(np.int8)
    found[chance.random(found.shape) < 0.3] = -1
    known = np.where(np.arange(rows) < gold, truth, -1).astype(np.int8)
    hashes = chance.integers(0, 2**63, rows).astype(np.uint64)
    return tally.tally(found, known, hashes, classes, 100_000), found, truth


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("gold", "kept"), [(0, 0), (900, 900), (4_000, 2_450), (6_000, 2_450)])
def test_many_classes_are_fitted_from_fewer_rows(monkeypatch, gold, kept):
    monkeypatch.setattr(fitting, "MOST_CELLS", 1_030_000)
    counted, found, truth = crowded(12_000, 20, gold)
    votes, known, weights, sampled = fitting._rows_to_fit(counted)
    assert len(votes) == len(known) == len(weights) == sampled == 1_030_000 // (10 * 21)
    assert abs((known >= 0).sum() - kept) <= 2
    fitted = fitting.fit(counted, kind="em")
    assert fitted.sampled == sampled
    assert (fitted.predict(found).argmax(1) == truth).mean() > 0.93


def test_gold_fills_the_room_that_others_leave(monkeypatch):
    monkeypatch.setattr(fitting, "MOST_CELLS", 1_030_000)
    counted, *_ = crowded(12_000, 20, 11_000)
    _, known, _, sampled = fitting._rows_to_fit(counted)
    assert (known < 0).sum() == 1_000 and (known >= 0).sum() == sampled - 1_000


def test_few_distinct_votes_are_all_fitted_from():
    counted, *_ = crowded(50_000, 2, 100, functions=4)
    assert fitting.fit(counted, kind="em").sampled == 0


def test_a_tally_of_many_classes_is_the_same_in_smaller_chunks(monkeypatch):
    whole, found, _ = crowded(3_000, 30, 0)
    monkeypatch.setattr(tally, "_CHUNK_CELLS", 10_000)
    parts, *_ = crowded(3_000, 30, 0)
    assert (whole.pairs == parts.pairs).all() and (whole.conflicts == parts.conflicts).all()
    assert whole.contested == parts.contested and whole.covered == parts.covered


def test_pairs_are_counted_on_gold(tmp_path):
    table = trips()
    gold = ["late" if late else "fine" for late in table["late"].to_pylist()]
    table = table.append_column("gold", pa.array([name if row < 100 else None for row, name in enumerate(gold)]))
    result = label(tmp_path, table, step(gold="gold"))
    own = {}
    for number in range(3):
        values = table[f"c{number}"].to_numpy()[:100]
        own[f"f{number}"] = np.where(values > 1.2, "late", np.where(values < 0.8, "fine", ""))
    for pair in result.body["steps"][0]["pairs"]:
        one, other = (own[name] for name in pair["functions"])
        both = (one != "") & (other != "")
        right = [both & (each == np.array(gold[:100])) for each in (one, other)]
        assert pair["gold"] == {
            "rows": int(both.sum()),
            "right": [int(each.sum()) for each in right],
            "both": int((right[0] & right[1]).sum()),
        }
    shown = show(result.body["steps"][0], ["fine", "late"])
    page = (tmp_path / "labels" / result.body["page"]).read_text(encoding="utf-8")
    assert shown["pairs_have_gold"] and "First right" in page
    page_without = label(tmp_path, trips(), step())
    assert all(pair["gold"] is None for pair in page_without.body["steps"][0]["pairs"])
    assert "First right" not in (tmp_path / "labels" / page_without.body["page"]).read_text(encoding="utf-8")


def test_analyse_fits_with_the_balance_that_is_given(tmp_path):
    path = str(tmp_path / "trips.parquet")
    pq.write_table(trips(), path)
    lines = [
        analyse(path, steps=step(balance=balance))
        for balance in ({"fine": 0.6, "late": 0.4}, {"fine": 0.02, "late": 0.98})
    ]
    assert lines[0] != lines[1]


def test_analyse_tells_gold_that_is_no_class(tmp_path):
    path, gold = str(tmp_path / "trips.parquet"), str(tmp_path / "gold.parquet")
    message = "gold: column 'gold' has a value that is not one of the classes on 2 rows; the classes are fine, late"
    pq.write_table(trips(gold=["odd", "odd", *[None] * (ROWS - 2)]), path)
    with pytest.raises(HeadwaterError, match=message):
        analyse(path, steps=step(gold="gold"))
    table = pa.table({"id": [0, 1, 2, None], "gold": ["odd", "late", "odd", "odd"]})
    pq.write_table(table, gold)
    pq.write_table(trips(), path)
    collect_dataset(path, str(tmp_path / "data"), key=["id"], workers=1)
    given = step(gold="gold", gold_input="known")
    with pytest.raises(HeadwaterError, match=message):
        analyse(str(tmp_path / "data"), steps=given, inputs={"known": gold})
    with pytest.raises(HeadwaterError, match=message):
        label_dataset(str(tmp_path / "data"), str(tmp_path / "out"), steps=given, inputs={"known": gold}, workers=1)
    with pytest.raises(HeadwaterError, match=r"inputs\.known: .*nowhere"):
        analyse(str(tmp_path / "data"), steps=given, inputs={"known": str(tmp_path / "nowhere")})
    pq.write_table(table.slice(0, 0), gold)
    assert analyse(str(tmp_path / "data"), steps=given, inputs={"known": gold}).startswith(f"{ROWS} rows")


def test_classes_may_be_written_as_integers(tmp_path):
    codes = pa.array(np.random.default_rng(5).integers(0, 3, ROWS))
    forms = [
        {"name": "looked", "lookup": {"column": "code", "values": {0: 0, 2: 1}}},
        {"name": "low", "threshold": {"column": "c0", "below": 0.5, "vote": 0}},
        {"name": "high", "sql": "CASE WHEN c1 > 1 THEN 1 END"},
    ]
    options = {"balance": {0: 0.6, 1: 0.4}, "costs": {1: {0: 3}}}
    votes = {}
    for kind in (int, str):
        given = step(classes=[kind(0), kind(1)], functions=forms, **options)
        if kind is str:
            given = json.loads(
                json.dumps(given)
                .replace('"vote": 0', '"vote": "0"')
                .replace(': {"0": 0, "2": 1}', ': {"0": "0", "2": "1"}')
            )
        found = label(tmp_path / kind.__name__, trips(code=codes), given)
        votes[kind] = [{key: each[key] for key in ("name", "votes")} for each in found.body["steps"][0]["functions"]]
        assert set(found.body["labelled"]["classes"]) == {"0", "1"}
    assert votes[int] == votes[str] and all(each["votes"] for each in votes[int])


@pytest.mark.parametrize(
    "give",
    [
        lambda wind: [1 if each > 1 else None for each in wind],
        lambda wind: np.where(wind > 1, 1.0, np.nan),
        lambda wind: pd.Series(np.where(wind > 1, "1", None)),
        lambda wind: pa.array([1 if each > 1 else None for each in wind], pa.int8()),
        lambda wind: ("1" if each > 1 else None for each in wind),
        lambda wind: pd.Series([True if each > 1 else None for each in wind]),
        lambda wind: pd.Series(np.where(wind > 1, "1", None), dtype="string[pyarrow]"),
    ],
)
def test_a_python_function_gives_its_classes_as_it_has_them(monkeypatch, give):
    name = "true" if "True" in str(give(np.array([2.0]))) else "1"
    module = types.ModuleType("own_votes")
    module.windy = lambda batch: give(batch.column("c0").to_numpy())
    monkeypatch.setitem(sys.modules, "own_votes", module)
    [batch] = trips().combine_chunks().to_batches()
    votes, _ = vote("steps.0", [Function(name="windy", python="own_votes:windy")], ["0", name], batch)
    assert np.array_equal(votes[:, 0], np.where(batch.column("c0").to_numpy() > 1, 1, -1))


def test_integer_keys_stand_beside_text(tmp_path):
    given = step(
        classes=[1, "other"],
        functions=[{"name": "looked", "lookup": {"column": "code", "values": {1: 1, "two": "other"}}}],
        model="majority", balance={1: 0.4, "other": 0.6}, costs={1: {"other": 3}, "other": {1: 2}},
    )  # fmt: skip
    code = pa.array(np.where(np.arange(ROWS) % 2, "1", "two"))
    assert label(tmp_path, trips(code=code), given).body["labelled"]["classes"] == {"1": ROWS // 2, "other": ROWS // 2}
    given[0]["balance"] = {1: 0.4, "1": 0.2, "other": 0.4}
    with pytest.raises(HeadwaterError, match="steps.0.balance: the key 1 is given twice, as an integer and as text"):
        label(tmp_path, trips(code=code), given)


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int8(), pa.string()])
def test_a_lookup_knows_whole_numbers_in_any_type(kind):
    given = pa.array([0, 1, None, 2]).cast(kind)
    batch = pa.RecordBatch.from_arrays([given, pa.array(["0.0", "x", "1", "y"])], ["code", "text"])
    forms = [{"lookup": {"column": name, "values": {0: "a", 1: "b"}}} for name in batch.schema.names]
    votes, _ = vote("steps.0", [Function(name=f"f{n}", **form) for n, form in enumerate(forms)], ["a", "b"], batch)
    assert votes.T.tolist() == [[0, 1, -1, -1], [-1, -1, 1, -1]]


def described(votes, gold=None, kind="auto", **options):
    """The report of a fit of these votes, two classes."""
    rows, functions = votes.shape
    known = np.full(rows, -1, np.int8) if gold is None else gold
    counted = tally.tally(votes, known, np.arange(rows, dtype=np.uint64), 2, 10_000)
    named = [Function(name=f"f{number}", sql="1") for number in range(functions)]
    fitted = fitting.fit(counted, kind=kind, **options)
    return analysis.describe(named, ["a", "b"], counted, fitted, np.zeros(functions, np.int64))


def drawn(functions, rows=3_000, right=0.8):
    """The truth, and votes of independent functions that are right so often."""
    chance = np.random.default_rng(8)
    truth = chance.integers(0, 2, rows)
    wrong = chance.random((rows, functions)) > right
    return truth.astype(np.int8), np.where(wrong, 1 - truth[:, None], truth[:, None]).astype(np.int8)


def accuracies(told):
    return [each["accuracy"] and round(each["accuracy"][0], 1) for each in told["functions"]]


def test_an_accuracy_is_told_only_where_it_can_be_known():
    truth, votes = drawn(3)
    assert accuracies(described(votes)) == [0.8, 0.8, 0.8]
    for functions in (1, 2):
        told = described(votes[:, :functions])
        assert accuracies(told) == [None] * functions
        assert any("'f0'" in each and "cannot be known" in each for each in told["warnings"])
    # The majority vote counts how often functions agree, and not how often they are right.
    assert accuracies(described(votes, kind="majority")) == [None, None, None]
    few, enough = (np.where(np.arange(len(truth)) < count, truth, -1).astype(np.int8) for count in (29, 300))
    assert accuracies(described(votes[:, :1], few)) == [None]
    [known] = accuracies(described(votes[:, :1], enough))
    assert known == pytest.approx(0.8, abs=0.1)


def test_three_functions_must_meet_each_other():
    _, votes = drawn(4)
    rare = votes.copy()
    # The last meets the others on five rows.
    rare[5:, 3] = -1
    assert accuracies(described(rare)) == [0.8, 0.8, 0.8, None]
    copied = votes[:, [0, 1, 1]]
    assert accuracies(described(copied)) == [None, None, None]
