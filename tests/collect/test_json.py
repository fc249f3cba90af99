"""JSON, against Python's own parser: no digit, zone or key is lost, whatever block or file a value stands in."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import json
import random
import zipfile

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.dataset import rejected
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import files, inferring
from headwater.components.common.sources.formats import jsonarrays, jsonl

UTC = datetime.UTC


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def collect(source, output, **settings):
    options = {"splits": {"all": 1.0}, "analyse": False, "max_rejected_share": 1.0, **settings}
    return collect_dataset(str(source), str(output), workers=1, **options)


def column_of(result, name):
    return open_dataset(result.folder, "all").to_table()[name].combine_chunks()


def refused(result):
    return [(row["row"], row["column"], row["reason"], row["value"]) for row in rejected(result).to_pylist()]


def read(lines):
    """Infers and reads lines as collect does, without its files."""
    data = "\n".join(lines).encode()
    _, kinds = jsonl.infer_types(data)
    batch, _, rejections = jsonl.read_rows(data, {name: inferring.settle(kind) for name, kind in kinds.items()}, 1)
    return batch, rejections


NUMBERS = [
    (["12345678901234567891", "1"], pa.uint64(), [12345678901234567891, 1]),
    (["9007199254740993", "1"], pa.int64(), [9007199254740993, 1]),
    (["9007199254740993", "1.5"], pa.string(), ["9007199254740993", "1.5"]),
    (["9007199254740992", "1.5"], pa.float64(), [9007199254740992.0, 1.5]),
    (["12345678901234567891", "-1"], pa.string(), ["12345678901234567891", "-1"]),
    (["123456789012345678901", "1"], pa.string(), ["123456789012345678901", "1"]),
    (["1e300", "1.5"], pa.float64(), [1e300, 1.5]),
    (["1e400", "1.50"], pa.string(), ["1e400", "1.50"]),
    (["1", "1.0"], pa.float64(), [1.0, 1.0]),
    (["-0", "1"], pa.int64(), [0, 1]),
    (["NaN", "1.5"], pa.float64(), [None, 1.5]),
    (["1", '"1"'], pa.string(), ["1", "1"]),
    (["1.50", '"x"'], pa.string(), ["1.50", "x"]),
    (["true", '"true"'], pa.string(), ["true", "true"]),
    (['{"a": 1.50}', "1e2"], pa.string(), ['{"a": 1.50}', "1e2"]),
    (['{"a": 1}', '{"a": "x"}'], pa.struct([("a", pa.string())]), [{"a": "1"}, {"a": "x"}]),
    (["{}", '{"a": 1}'], pa.struct([("a", pa.int64())]), [{"a": None}, {"a": 1}]),
    (["[12345678901234567891]", "[1]"], pa.list_(pa.uint64()), [[12345678901234567891], [1]]),
    (["[9007199254740993]", "[1.5]"], pa.list_(pa.string()), [["9007199254740993"], ["1.5"]]),
    (
        ['{"a":9007199254740993}', '{"a":0.5}'],
        pa.struct([("a", pa.string())]),
        [{"a": "9007199254740993"}, {"a": "0.5"}],
    ),
]


@pytest.mark.sweep(7)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("apart", ["block", "blocks", "files", "one by one"])
@pytest.mark.parametrize("values,kind,expected", NUMBERS, ids=lambda each: str(each)[:40])
def test_numbers_keep_their_digits_wherever_they_stand(tmp_path, values, kind, expected, apart, turned):
    if turned:
        values, expected = values[::-1], expected[::-1]
    lines = [f'{{"x": {value}}}' for value in values]
    if apart == "blocks":
        found = [jsonl.infer_types(line.encode())[1]["x"] for line in lines]
        inferred = inferring.settle(inferring.widen_inferred(*found))
        parts = [jsonl.read_rows(line.encode(), {"x": inferred}, 1)[0].column(0) for line in lines]
        column = pa.concat_arrays(parts)
    elif apart == "files":
        for place, line in enumerate(lines):
            write(tmp_path / f"in/{place}.jsonl", line)
        column = column_of(collect(tmp_path / "in", tmp_path / "out"), "x")
    else:
        # A line that does not parse sends its neighbours the slow way.
        batch, rejections = read(lines + ["{"] * (apart == "one by one"))
        column = batch.column(0)
        assert len(rejections) == (apart == "one by one")
    assert column.type == kind
    found = [None if isinstance(each, float) and each != each else each for each in column.to_pylist()]
    assert found == expected


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_long_integers_beside_reals_stay_text_across_blocks_and_files(tmp_path, monkeypatch, format):
    monkeypatch.setattr(files, "BLOCK_BYTES", 32)
    values = ["9007199254740993", "1", "2", "3", "4", "5", "0.25"]
    if format == "csv":
        write(tmp_path / "t.csv", "id,x\n" + "".join(f"{place},{value}\n" for place, value in enumerate(values)))
    else:
        write(tmp_path / "t.jsonl", "".join(f'{{"x":{value}}}\n' for value in values))
    column = column_of(collect(tmp_path / f"t.{format}", tmp_path / "out"), "x")
    assert sorted(column.to_pylist()) == sorted(values)


def test_integers_of_a_parquet_file_are_not_rounded_to_another_files_reals(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"x": pa.array([2**53 + 3, 5])}), tmp_path / "in/a.parquet")
    pq.write_table(pa.table({"x": pa.array([0.5])}), tmp_path / "in/b.parquet")
    result = collect(tmp_path / "in", tmp_path / "out")
    assert sorted(column_of(result, "x").to_pylist()) == [0.5, 5.0]
    assert [each[:3] for each in refused(result)] == [(1, "x", "type: not double")]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(
    "kind,values,expected",
    [
        ("int64", ["1.0", "1e3", "9007199254740993.0", "1.5", "1e30", "true", '"1"'], [1, 1000, 2**53 + 1]),
        ("float64", ["1", "9007199254740993", "1e400", '"1"'], [1.0, float(2**53)]),
        (
            "decimal128[30, 20]",
            ["0.12345678901234567890", "1", "1e40"],
            [decimal.Decimal("0.12345678901234567890"), decimal.Decimal(1)],
        ),
        ("string", ["0.12345678901234567890", "1e3", "null", '"x"'], ["0.12345678901234567890", "1e3", None, "x"]),
        ("uint8", ["255", "256", "-1"], [255]),
    ],
    ids=lambda each: str(each)[:30],
)
def test_declared_types_take_what_they_hold_exactly(tmp_path, kind, values, expected, broken):
    content = "".join(f'{{"x":{value}}}\n' for value in values) + "{\n" * broken
    result = collect(write(tmp_path / "t.jsonl", content), tmp_path / "out", types={"x": kind})
    assert column_of(result, "x").to_pylist() == expected
    found = [value for _, column, _, value in refused(result) if column]
    assert found == values[len(expected) :]


TIMES = [
    (["2024-01-05T10:00:00", "2024-01-05T11:00:00.5"], "timestamp[us]", ["10:00:00", "11:00:00.500000"]),
    (
        ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00+02:00", "2024-01-05 10:00:00.25+0200"],
        "timestamp[us, tz=UTC]",
        ["10:00:00+00:00", "08:00:00+00:00", "08:00:00.250000+00:00"],
    ),
    (["2024-01-05T10:00:00", "2024-01-05T10:00:00Z"], "string", None),
    (["2024-01-05", "2024-01-05"], "date32[day]", ["", ""]),
    (["2024-01-05", "2024-01-05T10:00:00"], "timestamp[us]", ["00:00:00", "10:00:00"]),
    (["2024-01-05", "2024-01-05T10:00:00Z"], "string", None),
    (["2024-01-05T10:00:00.123456789", "9999-12-31T00:00:00"], "string", None),
    (["2024-01-05T24:00:00", "2024-01-05T10:00:00"], "string", None),
    (["2024-01-05T10:00:60", "2024-01-05T10:00:00"], "string", None),
    (["2024-01-05t10:00:00z", "2024-01-05T10:00:00Z"], "string", None),
    (["2024-02-30", "2024-02-28"], "string", None),
    (["2024-01-05T10:00:00", "soon"], "string", None),
]


@pytest.mark.sweep(5)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("way", ["flat", "nested", "blocks", "files", "one by one", "csv"])
@pytest.mark.parametrize("values,kind,times", TIMES, ids=lambda each: str(each)[:60])
def test_times_have_one_rule(tmp_path, values, kind, times, way, turned):
    expected = [f"2024-01-05T{time}".removesuffix("T") for time in times] if times else values
    if turned:
        values, expected = values[::-1], expected[::-1]
    lines = [json.dumps({"x": value}) for value in values]
    if way == "csv":
        content = "id,x\n" + "".join(f"{place},{value}\n" for place, value in enumerate(values))
        column = column_of(collect(write(tmp_path / "t.csv", content), tmp_path / "out"), "x")
    elif way == "files":
        for place, line in enumerate(lines):
            write(tmp_path / f"in/{place}.jsonl", line)
        column = column_of(collect(tmp_path / "in", tmp_path / "out"), "x")
    elif way == "blocks":
        inferred = pa.null()
        for line in lines:
            inferred = inferring.widen_inferred(inferred, jsonl.infer_types(line.encode())[1]["x"])
        data = "\n".join(lines).encode()
        column = jsonl.read_rows(data, {"x": inferring.settle(inferred)}, 1)[0].column(0)
    elif way == "nested":
        batch, _ = read([json.dumps({"x": {"a": [value]}}) for value in values])
        column = pc.list_flatten(pc.struct_field(batch.column(0), [0]))
    else:
        column = read(lines + ["{"] * (way == "one by one"))[0].column(0)
    assert str(column.type) == kind
    found = [value if kind == "string" else value.isoformat() for value in column.to_pylist()]
    assert found == expected


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_nanoseconds_are_kept(tmp_path, format):
    values = ["2024-01-05T10:00:00.123456789", "2024-01-05T10:00:00"]
    lines = ["x,id", *(f"{value},1" for value in values)]
    if format == "jsonl":
        lines = [f'{{"x":"{value}","id":1}}' for value in values]
    column = column_of(collect(write(tmp_path / f"t.{format}", "\n".join(lines)), tmp_path / "out"), "x")
    assert column.type == pa.timestamp("ns")
    assert column.cast(pa.int64()).to_pylist() == [1704448800123456789, 1704448800000000000]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("format", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "kind,taken,refused_values",
    [
        ("timestamp[us]", ["2024-01-05T10:00:00", "2024-01-05"], ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00+02:00"]),
        ("timestamp[us, UTC]", ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00+02:00"], ["2024-01-05T10:00:00"]),
        ("timestamp[us]", ["2024-01-05T10:00:00.123456"], ["2024-01-05T10:00:00.1234567"]),
        ("date32", ["2024-01-05"], ["2024-01-05T10:00:00"]),
    ],
)
def test_declared_times_reject_what_they_cannot_hold(tmp_path, format, kind, taken, refused_values):
    values = taken + refused_values
    lines = [f'{{"x":"{value}","id":1}}' for value in values]
    if format == "csv":
        lines = ["x,id", *(f"{value},1" for value in values)]
    result = collect(write(tmp_path / f"t.{format}", "\n".join(lines)), tmp_path / "out", types={"x": kind})
    assert len(column_of(result, "x")) == len(taken)
    assert [value for _, _, _, value in refused(result)] == refused_values
    assert result.body["accounts"]["read"] == len(values)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_mixed_zones_are_told(tmp_path, format):
    values = ["2024-01-05T10:00:00", "2024-01-05T10:00:00Z"]
    lines = ["x,id", *(f"{value},1" for value in values)]
    if format == "jsonl":
        lines = [f'{{"x":"{value}"}}' for value in values]
    result = collect(write(tmp_path / f"t.{format}", "\n".join(lines)), tmp_path / "out")
    [finding] = [each for each in result.body["findings"] if each["rule"] == "mixed_zones"]
    assert finding["column"] == "x" and "timestamp[us, UTC]" in finding["message"]


def test_lines_that_are_not_one_object_are_rejected_each(tmp_path):
    lines = [
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":2}}',
        '{"a":1} x',
        '{"a":1},',
        '{"a":1}{"a":2}',
        '{"a":1},{"a":2}',
        "// a comment",
        '\ufeff{"a":1}',
        '{"a":01}',
        "null",
        "[]",
        '{"a":"\\ud800"}',
        '{"a":7}',
    ]
    result = collect(write(tmp_path / "t.jsonl", '{"a":6}\n' + "\n".join(lines)), tmp_path / "out")
    assert column_of(result, "a").to_pylist() == [6, 7]
    assert [row for row, *_ in refused(result)] == list(range(2, 14))
    assert "'a' appears twice" in refused(result)[0][2] and "'b' appears twice" in refused(result)[1][2]


def test_keys_of_every_kind_are_columns(tmp_path):
    record = {"": 1, "a.b": 2, "a": 3, "A": 4, "x y": 5, "é": 6}
    result = collect(write(tmp_path / "t.jsonl", json.dumps(record)), tmp_path / "out")
    [row] = open_dataset(result.folder, "all").to_table().to_pylist()
    assert {name: row[name] for name in record} == record


MONGO = '{"_id":{"$oid":"65a1"},"n":{"$numberLong":"9007199254740993"},"v":1}\n{"_id":{"$oid":"65a2"},"n":null,"v":2}\n'


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_column_that_begins_with_an_underscore_is_renamed_or_left_out(tmp_path, format):
    path = tmp_path / f"t.{format}"
    if format == "parquet":
        pq.write_table(pa.table({"_id": ["a", "b"], "v": [1, 2]}), path)
    else:
        csv_lines, json_lines = "_id,v\na,1\nb,2\n", '{"_id":"a","v":1}\n{"_id":"b","v":2}\n'
        write(path, csv_lines if format == "csv" else json_lines)
    with pytest.raises(HeadwaterError, match=r"rename: \{_id: id\}"):
        collect(path, tmp_path / "a")
    renamed = collect(path, tmp_path / "b", rename={"_id": "id"}, key=["id"])
    assert sorted(column_of(renamed, "id").to_pylist()) == ["a", "b"]
    assert "_id" not in collect(path, tmp_path / "c", columns=["v"]).body["columns"]
    dropped = collect(path, tmp_path / "d", private={"_id": "drop"})
    assert "_id" not in dropped.body["columns"]


def test_rejected_values_of_a_renamed_private_column_are_left_out(tmp_path):
    path = write(tmp_path / "t.jsonl", '{"_id":"secret","v":1}\n{"_id":7,"v":1}\n')
    result = collect(path, tmp_path / "out", types={"_id": "int64"}, rename={"_id": "id"}, private={"id": "keep"})
    assert refused(result) == [(1, "_id", "type: not int64", None)]


def test_a_lookup_is_joined_on_a_column_that_begins_with_an_underscore(tmp_path):
    write(tmp_path / "users.csv", "_id,age\na,30\n")
    path = write(tmp_path / "t.csv", "user,v\na,1\nb,2\n")
    lookups = {"users": {"source": str(tmp_path / "users.csv"), "on": {"user": "_id"}}}
    assert column_of(collect(path, tmp_path / "out", lookups=lookups), "age").to_pylist() == [30, None]


@pytest.mark.parametrize("turned", [False, True])
def test_a_lookup_tells_long_integers_from_reals_next_to_them(tmp_path, turned):
    long, real = pa.array([2**53 + 1, 5]), pa.array([2.0**53, 5.0])
    rows, known = (real, long) if turned else (long, real)
    pq.write_table(pa.table({"id": known, "name": ["a", "b"]}), tmp_path / "lookup.parquet")
    pq.write_table(pa.table({"id": rows}), tmp_path / "t.parquet")
    lookups = {"names": {"source": str(tmp_path / "lookup.parquet"), "on": {"id": "id"}}}
    result = collect(tmp_path / "t.parquet", tmp_path / "out", lookups=lookups)
    assert column_of(result, "name").to_pylist() == [None, "b"]


def test_extended_json_goes_through_statistics_schema_and_validation(tmp_path):
    pytest.importorskip("tensorflow_data_validation", reason="needs TFDV, whose newest wheels need glibc 2.39")
    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.infer_schema import derive_schema
    from headwater.components.validate import check_statistics

    result = collect(write(tmp_path / "t.jsonl", MONGO), tmp_path / "data", rename={"_id": "id"})
    assert column_of(result, "id").to_pylist() == [{"$oid": "65a1"}, {"$oid": "65a2"}]
    statistics = compute_statistics(result.folder, str(tmp_path / "statistics"))
    schema = derive_schema(statistics.folder, str(tmp_path / "schema"))
    verdict = check_statistics(statistics.folder, schema.folder, str(tmp_path / "verdict"))
    assert verdict.body["verdict"] != "fail", verdict.body


RECORDS = [{"id": 12345678901234567891, "t": 'a"b\\ {[,', "l": [{"x": 1.5}]}, {"id": 2, "t": "é", "l": []}]


def documents():
    pretty = "\n".join(json.dumps(record, indent=2) for record in RECORDS)
    lines = "\n".join(json.dumps(record) for record in RECORDS)
    array, indented = json.dumps(RECORDS), json.dumps(RECORDS, indent=1)
    return {"array": array, "pretty array": indented, "pretty": pretty, "lines": lines}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("packing", ["plain", "mark", "utf-16", "gz", "zip"])
@pytest.mark.parametrize("document", documents())
def test_json_documents_are_read_in_every_packing(tmp_path, document, packing):
    text = documents()[document]
    name, content = "t.json", text.encode()
    if packing == "mark":
        content = b"\xef\xbb\xbf" + content
    elif packing == "utf-16":
        content = text.encode("utf-16")
    elif packing == "gz":
        name, content = "t.json.gz", gzip.compress(content)
    elif packing == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("t.json", content)
        name, content = "t.zip", buffer.getvalue()
    result = collect(write(tmp_path / name, content), tmp_path / "out")
    table = open_dataset(result.folder, "all").to_table()
    assert table.select(["id", "t", "l"]).to_pylist() == RECORDS
    assert result.body["lineage"]["sources"][0]["rows"] == 2


def test_rows_of_an_array_are_numbered_by_record(tmp_path):
    path = write(tmp_path / "t.json", '[\n{"a": 1},\n\n{"a": 1, "a": 2}, 5,\n{"a": 3}\n]\n')
    result = collect(path, tmp_path / "out")
    assert column_of(result, "a").to_pylist() == [1, 3]
    assert [row for row, *_ in refused(result)] == [2, 3]


@pytest.mark.parametrize(
    "content,message",
    [
        ('[{"a":1},,{"a":2}]', "t.json: byte 10: there is nothing between two commas"),
        ('[{"a":1},]', "t.json: byte 10: there is nothing"),
        ('[{"a":1}', "t.json: the JSON ends inside the value that begins near byte 1"),
        ('{\n"a":1}\n{\n"a":', "t.json: the JSON ends inside the value that begins near byte 9"),
        ('[{"a":1}] x', "t.json: byte 9: there is more text after the end"),
        ('[{"a":"x\ny"}]', "t.json: byte 9: a line ends inside a string"),
        ("[1, 2]", "t.json: this is a JSON array of single values"),
        ("[[1], [2]]", "t.json: this is a JSON array of lists"),
        ('["a"]', "t.json: this is a JSON array of texts"),
        ("[]", "no readable record"),
    ],
)
def test_documents_that_hold_no_records_are_refused(tmp_path, content, message):
    with pytest.raises(HeadwaterError, match=message):
        collect(write(tmp_path / "t.json", content), tmp_path / "out")


def test_one_object_around_the_records_is_told(tmp_path):
    result = collect(write(tmp_path / "t.json", '{"data": [{"a": 1}, {"a": 2}]}'), tmp_path / "out")
    assert [each["column"] for each in result.body["findings"] if each["rule"] == "wrapped_records"] == ["data"]


def test_an_array_named_json_lines_is_told(tmp_path):
    with pytest.raises(HeadwaterError, match="must be in a .json file"):
        collect(write(tmp_path / "t.jsonl", '[{"a":1}]'), tmp_path / "out")


@pytest.mark.parametrize("seed", range(40))
def test_documents_are_split_where_python_splits_them_whatever_the_chunks(seed, monkeypatch):
    monkeypatch.setattr(jsonarrays, "_HEAD_BYTES", 40)
    chance = random.Random(seed)

    def value(depth=0):
        if depth < 3 and chance.random() < 0.5:
            names = chance.sample(["a", 'b"', "c\\", 'd\\"', "{", "é,"], chance.randint(0, 3))
            if chance.random() < 0.5:
                return [value(depth + 1) for _ in names]
            return {name: value(depth + 1) for name in names}
        return chance.choice([1, 1.5, "x", "\\", '\\\\"', "[{,", "\n", None, True, "]"])

    records = [{"k": value()} for _ in range(chance.randint(1, 6))]
    indent = chance.choice([1, 2, "\t"])
    text = json.dumps(records, indent=chance.choice([None, indent]))
    if seed % 2:
        text = chance.choice(["\n", " ", ""]).join(json.dumps(record, indent=indent) for record in records)
    raw, size = text.encode(), chance.randint(1, 30)
    chunks = iter([raw[start : start + size] for start in range(0, len(raw), size)])
    lines = b"".join(jsonarrays.as_lines("t.json", chunks)).split(b"\n")
    assert [json.loads(line) for line in lines if line.strip()] == records
