"""JSON Lines keep what they say: numbers to the last digit, instants with their zone; what cannot be kept is rejected."""

from __future__ import annotations

import datetime
import decimal
import json

import pyarrow as pa
import pytest
from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.dataset import rejected
from headwater.components.common.sources import csv, jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

UTC = datetime.timezone.utc


def collect(folder, lines, name="t.jsonl", **options):
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"splits": {"all": 1.0}, "max_rejected_share": 1.0, "analyse": False, **options}
    return collect_dataset(str(folder / name), str(folder / "out"), workers=1, **options)


def column(result, name):
    table = open_dataset(result.folder, "all").to_table()
    return str(table.schema.field(name).type), table[name].to_pylist()


def notices(result, rule):
    return [each["column"] for each in result.body["findings"] if each["rule"] == rule]


BIG = 9007199254740993


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        (["12345678901234567891", "12345678901234567892"], "uint64", [12345678901234567891, 12345678901234567892]),
        (["12345678901234567891", "1"], "uint64", [12345678901234567891, 1]),
        ([str(BIG), "1.5"], "string", [str(BIG), "1.5"]),
        (["1.50", str(BIG)], "string", ["1.50", str(BIG)]),
        ([str(BIG), "-1"], "int64", [BIG, -1]),
        (["12345678901234567891", "-1"], "string", ["12345678901234567891", "-1"]),
        (["123456789012345678901234567890", "1"], "string", ["123456789012345678901234567890", "1"]),
        (["1e300", "1"], "double", [1e300, 1.0]),
        (["1.0", "1"], "double", [1.0, 1.0]),
        (['"1"', "1"], "string", ["1", "1"]),
        (["true", '"true"'], "string", ["true", "true"]),
        (["1.10", '"x"'], "string", ["1.10", "x"]),
        (["1e3", '"x"', "null"], "string", ["1e3", "x", None]),
    ],
)
@pytest.mark.parametrize("rows", [1, 300])
def test_numbers_are_exact_or_text(tmp_path, values, kind, kept, rows):
    # Beside a line that pyarrow refuses, so that both parsers read the same values.
    for folder, more in (("fast", []), ("slow", ["{broken"])):
        (tmp_path / folder).mkdir()
        lines = [f'{{"id": {place}, "x": {value}}}' for place, value in enumerate(values * rows)]
        result = collect(tmp_path / folder, lines + more)
        assert column(result, "x") == (kind, kept * rows)
        assert result.body["accounts"]["rejected"] == len(more)


def test_numbers_are_exact_or_text_wherever_the_blocks_fall(tmp_path, monkeypatch):
    monkeypatch.setattr(csv, "BLOCK_BYTES", 64)
    for name, form in (("t.jsonl", '{{"id": {}, "x": {}}}'), ("t.csv", "{},{}")):
        (tmp_path / name).mkdir()
        values = [str(BIG)] * 20 + ["1.5"] * 20
        lines = [form.format(place, value) for place, value in enumerate(values)]
        result = collect(tmp_path / name, (["id,x"] if name == "t.csv" else []) + lines, name)
        assert column(result, "x") == ("string", values)


def test_numbers_in_objects_and_lists_are_exact_or_text(tmp_path):
    result = collect(tmp_path, [f'{{"s": {{"n": {BIG}}}, "l": [1.5, {BIG}]}}', '{"s": {"n": 1.5}, "l": []}'])
    assert column(result, "s") == ("string", [f'{{"n": {BIG}}}', '{"n": 1.5}'])
    assert column(result, "l") == ("string", [f"[1.5, {BIG}]", "[]"])


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("int64", "1.0", None),
        ("int64", "1e3", None),
        ("int64", "12345678901234567891", None),
        ("int64", str(BIG), BIG),
        ("float64", str(BIG), None),
        ("float64", "1e400", None),
        ("float64", "5", 5.0),
        ("string", "1.10", "1.10"),
        ("string", str(BIG), str(BIG)),
        ("decimal128[20, 2]", "12345678901234567.10", decimal.Decimal("12345678901234567.10")),
        ("decimal128[20, 2]", "1.005", None),
        ("uint64", "12345678901234567891", 12345678901234567891),
        ("bool", "1", None),
    ],
)
@pytest.mark.parametrize("beside", [[], ['{"x": "no number at all", "id": 2}']])
def test_a_declared_type_keeps_a_value_exactly_or_rejects_it(tmp_path, kind, value, kept, beside):
    result = collect(tmp_path, [f'{{"id": 1, "x": {value}}}', '{"id": 3, "x": null}', *beside], types={"x": kind})
    values = [each for each in column(result, "x")[1] if each not in (None, "no number at all")]
    assert values == ([] if kept is None else [kept])
    first = [each for each in rejected(result).to_pylist() if each["row"] == 1]
    assert [each["reason"].partition(":")[0] for each in first] == ([] if kept is not None else ["type"])


ZONED, LOCAL = ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00+02:00", "2024-01-05 10:00:00.5-0130"], ["2024-01-05T10:00:00"]


def at(*clock, tz=UTC):
    return datetime.datetime(2024, 1, 5, *clock, tzinfo=tz)


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
@pytest.mark.parametrize(
    ("texts", "kind", "kept", "told"),
    [
        (ZONED, "timestamp[us, tz=UTC]", [at(10), at(8), at(11, 30, 0, 500000)], []),
        (LOCAL, "timestamp[us]", [at(10, tz=None)], []),
        (ZONED + LOCAL, "string", ZONED + LOCAL, ["t"]),
        (LOCAL * 90 + ZONED, "string", LOCAL * 90 + ZONED, ["t"]),
        (["2024-01-05T10:00:00.123456789Z"], "timestamp[ns, tz=UTC]", None, []),
        (["2024-01-05T10:00:00.1234567"], "timestamp[ns]", None, []),
        (["2024-01-05T24:00:00"], "string", ["2024-01-05T24:00:00"], []),
        (["2024-01-05T10:00:60"], "string", ["2024-01-05T10:00:60"], []),
        (["10:00 on Monday", *ZONED], "string", ["10:00 on Monday", *ZONED], []),
    ],
)
def test_one_rule_for_zones(tmp_path, name, texts, kind, kept, told):
    lines = [json.dumps({"id": n, "t": text}) for n, text in enumerate(texts)]
    if name == "t.csv":
        lines = ["id,t"] + [f"{n},{text}" for n, text in enumerate(texts)]
    result = collect(tmp_path, lines, name)
    assert result.body["accounts"]["rejected"] == 0
    found = column(result, "t")
    assert found[0] == kind and (kept is None or found[1] == kept)
    assert notices(result, "mixed_zones") == told


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_zones_that_differ_between_blocks_and_files(tmp_path, monkeypatch, name):
    for number, texts in enumerate((LOCAL * 3, ZONED)):
        lines = [json.dumps({"id": n, "t": text}) for n, text in enumerate(texts)]
        if name == "t.csv":
            lines = ["id,t"] + [f"{n},{text}" for n, text in enumerate(texts)]
        (tmp_path / f"{number}-{name}").write_text("\n".join(lines) + "\n")
    result = collect_dataset(str(tmp_path), str(tmp_path / "out"), workers=1, splits={"all": 1.0}, analyse=False)
    assert column(result, "t") == ("string", LOCAL * 3 + ZONED) and notices(result, "mixed_zones") == ["t"]


@pytest.mark.parametrize(("kind", "good"), [("timestamp[us]", LOCAL), ("timestamp[us, UTC]", ZONED)])
@pytest.mark.parametrize("name", ["t.jsonl", "t.csv"])
def test_a_declared_zone_is_never_made_up(tmp_path, name, kind, good):
    texts = ZONED + LOCAL
    lines = [json.dumps({"id": n, "t": text}) for n, text in enumerate(texts)]
    if name == "t.csv":
        lines = ["id,t"] + [f"{n},{text}" for n, text in enumerate(texts)]
    result = collect(tmp_path, lines, name, types={"t": kind})
    assert result.body["accounts"] == {"read": 4, "written": len(good), "rejected": 4 - len(good), "filtered": {}}
    assert {each["value"].strip('"') for each in rejected(result).to_pylist()} == set(texts) - set(good)
    assert notices(result, "mixed_zones") == []


def test_times_within_objects_keep_their_zone(tmp_path):
    lines = ['{"e": {"at": "2024-01-05T10:00:00+02:00"}, "l": ["2024-01-05T10:00:00Z"]}'] * 3
    result = collect(tmp_path, lines)
    assert column(result, "e") == ("struct<at: timestamp[us, tz=UTC]>", [{"at": at(8)}] * 3)
    assert column(result, "l")[1] == [[at(10)]] * 3


def test_a_key_that_is_there_twice_is_rejected_by_name(tmp_path):
    result = collect(tmp_path, ['{"a": 1, "b": 2}', '{"a": 1, "a": 2, "b": 3}', '{"a": 1, "b": {"c": 1, "c": 1}}'], types={"b": "string"})
    assert [(each["row"], each["reason"]) for each in rejected(result).to_pylist()] == [
        (2, "json: the key 'a' is there twice"),
        (3, "json: the key 'c' is there twice"),
    ]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(['"x": 12', ',"x": 12,', "{\\"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=8))
def test_text_columns_hold_what_json_says(values):
    """Against Python's parser: a column that is read as text has each value as its JSON, strings as themselves."""
    lines = [json.dumps({"id": n, "x": value}) for n, value in enumerate(values)]
    data = "\n".join(lines).encode()
    batch, rows, rejections = jsonl.read_rows(data, {"id": pa.int64(), "x": pa.string()}, 1)
    bad = {each.row for each in rejections}
    kept = [value for row, value in enumerate(values, 1) if row not in bad]
    expected = [value if value is None or isinstance(value, str) else json.dumps(value) for value in kept]
    assert batch.column(1).to_pylist() == expected
    assert all("\0" in json.dumps(values[row - 1]) or "\\u" in json.dumps(values[row - 1]) for row in bad)
