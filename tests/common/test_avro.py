"""Avro object container files, against fastavro's own reader of whole files."""

from __future__ import annotations

import bz2
import datetime
import decimal
import io
import itertools
import json
import random
import zlib

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.formats import avro, avro_blocks

QUICK = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
UTC = datetime.UTC


def record(*fields, name="R"):
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields]}


SIMPLE = record(("n", "long"), ("x", ["null", "double"]), ("s", "string"), ("many", {"type": "array", "items": "int"}))


def simple_rows(count):
    return [{"n": n, "x": n / 2 if n % 3 else None, "s": f"row {n}", "many": [n] * (n % 4)} for n in range(count)]


def write(path, schema, rows, codec="null", sync_interval=16000, marker=b"0123456789abcdef"):
    with open(path, "wb") as stream:
        fastavro.writer(stream, schema, rows, codec=codec, sync_interval=sync_interval, sync_marker=marker)
    return str(path)


def integer(number):
    number = (number << 1) ^ (number >> 63)
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def container(schema, *blocks, codec="null", marker=b"m" * 16):
    """A file by hand; a block is (records, data) or (records, data, size)."""
    metadata = {b"avro.schema": json.dumps(schema).encode(), b"avro.codec": codec.encode()}
    head = b"Obj\x01" + integer(len(metadata))
    for key, value in metadata.items():
        head += integer(len(key)) + key + integer(len(value)) + value
    out = head + b"\0" + marker
    for count, data, *size in blocks:
        out += integer(count) + integer(size[0] if size else len(data)) + data + marker
    return out


def read_all(uri):
    """Schema, rows by number, rejections in order, with all promises checked."""
    schema, ranges = avro.read_schema(uri), avro.find_ranges(uri)
    for (_, stop, _), (start, _, _) in zip(ranges, ranges[1:]):
        assert stop == start
    rows, rejected, first = {}, {}, 1
    for start, stop, records in ranges:
        seen = 0
        for batch, numbers, rejections in avro.read_rows(uri, start, stop, schema, first):
            batch.validate(full=True)
            assert batch.schema.equals(schema) and batch.num_rows == len(numbers)
            assert numbers.dtype == np.int64 and (np.diff(numbers) > 0).all()
            rows.update(zip(numbers.tolist(), batch.to_pylist()))
            rejected.update((rejection.row, rejection) for rejection in rejections)
            seen += len(numbers) + len(rejections)
        assert seen == records
        first += records
    assert sorted([*rows, *rejected]) == list(range(1, first))
    return schema, rows, rejected


def read_bytes(tmp_path, data):
    path = tmp_path / "t.avro"
    path.write_bytes(data)
    return read_all(str(path))


def plainly(value):
    """A value in one form for both readers."""
    if isinstance(value, dict):
        return {key: plainly(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        # Arrow hands over a map as pairs.
        pairs = bool(value) and all(isinstance(one, tuple) and len(one) == 2 for one in value)
        return {key: plainly(one) for key, one in value} if pairs else [plainly(one) for one in value]
    return repr(value) if isinstance(value, float) else value


KINDS = {
    "null": (pa.null(), st.none()),
    "boolean": (pa.bool_(), st.booleans()),
    "int": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "long": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float32(), st.floats(width=32)),
    "double": (pa.float64(), st.floats()),
    "string": (pa.string(), st.text(max_size=8)),
    "bytes": (pa.binary(), st.binary(max_size=8)),
}


@st.composite
def typed(draw, depth=2):
    """An Avro type, its Arrow type, and its values; types have no names yet."""
    choice = draw(
        st.sampled_from([*KINDS, "enum", "fixed", *(["nullable", "array", "map", "record"] if depth else [])])
    )
    if choice in KINDS:
        return (draw(st.sampled_from([choice, {"type": choice}])), *KINDS[choice])
    if choice == "enum":
        return {"type": "enum", "name": "", "symbols": ["A", "B"]}, pa.string(), st.sampled_from("AB")
    if choice == "fixed":
        return {"type": "fixed", "name": "", "size": 3}, pa.binary(3), st.binary(min_size=3, max_size=3)
    if choice == "record":
        parts = draw(st.lists(typed(depth - 1), min_size=1, max_size=3))
        fields = [(f"f{place}", part[0]) for place, part in enumerate(parts)]
        kind = pa.struct([(f"f{place}", part[1]) for place, part in enumerate(parts)])
        values = st.fixed_dictionaries({f"f{place}": part[2] for place, part in enumerate(parts)})
        return record(*fields, name=""), kind, values
    inner, kind, values = draw(typed(depth - 1))
    if choice == "nullable":
        if isinstance(inner, list) or inner in ("null", {"type": "null"}):
            return inner, kind, values
        return draw(st.permutations(["null", inner])), kind, st.none() | values
    if choice == "array":
        inner = ["null", "int"] if pa.types.is_null(kind) or not _takes_room(inner) else inner
        kind, values = (pa.int32(), st.none() | st.integers(0, 9)) if inner == ["null", "int"] else (kind, values)
        return {"type": "array", "items": inner}, pa.list_(kind), st.lists(values, max_size=3)
    return (
        {"type": "map", "values": inner},
        pa.map_(pa.string(), kind),
        st.dictionaries(st.text(max_size=3), values, max_size=3),
    )


def named(schema, numbers):
    """The schema with a name of its own for each type."""
    if isinstance(schema, list):
        return [named(one, numbers) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: named(value, numbers) for key, value in schema.items()}
    return {**schema, "name": f"n{next(numbers)}"} if schema.get("type") in ("record", "enum", "fixed") else schema


def _takes_room(kind):
    if isinstance(kind, dict) and kind["type"] == "record":
        return any(_takes_room(field["type"]) for field in kind["fields"])
    return kind not in ("null", {"type": "null"})


@QUICK
@given(parts=st.lists(typed(), min_size=1, max_size=4), data=st.data(), interval=st.integers(0, 200))
def test_generated_schemas_and_values_are_read_as_fastavro_reads_them(parts, data, interval, tmp_path):
    schema = named(record(*[(f"c{place}", part[0]) for place, part in enumerate(parts)]), itertools.count())
    one = st.fixed_dictionaries({f"c{place}": part[2] for place, part in enumerate(parts)})
    uri = write(tmp_path / "t.avro", schema, data.draw(st.lists(one, max_size=8)), sync_interval=interval)
    found, rows, rejected = read_all(uri)
    assert dict(zip(found.names, found.types)) == {f"c{place}": part[1] for place, part in enumerate(parts)}
    with open(uri, "rb") as stream:
        expected = list(fastavro.reader(stream))
    assert not rejected
    # An empty map of Arrow cannot be distinguished from an empty list.
    assert [str(plainly(row)).replace("{}", "[]") for row in rows.values()] == [
        str(plainly(row)).replace("{}", "[]") for row in expected
    ]


def logical(annotation, kind="long", **more):
    return {"type": kind, "logicalType": annotation, **more}


LOGICAL = [
    (logical("date", "int"), pa.date32(), datetime.date(1582, 10, 15)),
    (logical("time-millis", "int"), pa.time32("ms"), datetime.time(23, 59, 59, 999000)),
    (logical("time-micros"), pa.time64("us"), datetime.time(0, 0, 0, 1)),
    (logical("timestamp-millis"), pa.timestamp("ms", "UTC"), datetime.datetime(1900, 1, 1, tzinfo=UTC)),
    (logical("timestamp-micros"), pa.timestamp("us", "UTC"), datetime.datetime(2200, 1, 1, 1, tzinfo=UTC)),
    (logical("local-timestamp-millis"), pa.timestamp("ms"), datetime.datetime(2000, 2, 29, 12)),
    (logical("local-timestamp-micros"), pa.timestamp("us"), datetime.datetime(2000, 2, 29, 12, 0, 0, 7)),
    (logical("decimal", "bytes", precision=9, scale=2), pa.decimal128(9, 2), decimal.Decimal("-1234567.89")),
    (
        logical("decimal", "fixed", name="D", size=16, precision=38, scale=0),
        pa.decimal128(38, 0),
        decimal.Decimal(10**38 - 1),
    ),
    (logical("uuid", "string"), pa.string(), "12345678-1234-5678-1234-567812345678"),
    (logical("of my own", "int"), pa.int32(), 5),
]


@pytest.mark.parametrize("kind, expected, value", LOGICAL)
def test_logical_types_become_arrows_own(kind, expected, value, tmp_path):
    uri = write(tmp_path / "t.avro", record(("x", ["null", kind])), [{"x": value}, {"x": None}, {"x": value}])
    schema, rows, rejected = read_all(uri)
    assert schema.field("x").type == expected and not rejected
    assert [row["x"] for row in rows.values()] == [value, None, value]


def test_a_decimal_beyond_its_precision_and_a_time_beyond_a_day_are_rejected(tmp_path):
    fields = [("d", {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 1})]
    fields.append(("t", {"type": "int", "logicalType": "time-millis"}))
    rows = [(b"\x03\xe7", 0), (b"\x03\xe8", 0), (b"\xff", 86_400_000), (b"\0" * 40 + b"\x01", 5), (b"", -1)]
    data = b"".join(integer(len(one)) + one + integer(two) for one, two in rows)
    _, found, rejected = read_bytes(tmp_path, container(record(*fields), (5, data)))
    assert [row["d"] for row in found.values()] == [decimal.Decimal("99.9"), decimal.Decimal("0.1")]
    assert {number: (one.column, one.reason) for number, one in rejected.items()} == {
        2: ("d", "type: not decimal128(3, 1)"),
        3: ("t", "type: not time32[ms]"),
        5: ("t", "type: not time32[ms]"),
    }


def test_a_text_that_is_no_utf8_costs_its_record_wherever_it_stands(tmp_path):
    fields = [("s", "string"), ("deep", {"type": "array", "items": {"type": "map", "values": ["null", "string"]}})]
    good = integer(1) + b"a" + b"\0"
    bad = integer(1) + b"\xff" + b"\0"
    bad_key = integer(1) + b"b" + integer(1) + integer(1) + integer(1) + b"\xff" + b"\0" + b"\0" + b"\0"
    bad_value = (
        integer(1) + b"b" + integer(1) + integer(1) + integer(1) + b"k" + b"\x02" + integer(1) + b"\xff" + b"\0" + b"\0"
    )
    data = container(record(*fields), (5, good + bad + bad_key + bad_value + good))
    _, rows, rejected = read_bytes(tmp_path, data)
    assert list(rows) == [1, 5] and [rejected[number].column for number in (2, 3, 4)] == ["s", "deep", "deep"]
    assert rejected[2].reason == "encoding: not UTF-8"


def test_an_enum_beyond_its_symbols_is_rejected(tmp_path):
    schema = record(("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]}))
    _, rows, rejected = read_bytes(tmp_path, container(schema, (4, b"".join(map(integer, (0, 2, -1, 1))))))
    assert {number: row["e"] for number, row in rows.items()} == {1: "A", 4: "B"} and set(rejected) == {2, 3}


UNIONS = [
    (["int", "long"], pa.int64(), [1, 2**40], [1, 2**40]),
    (["null", "long", "double"], pa.float64(), [1, 2.5, None], [1.0, 2.5, None]),
    (["float", "double"], pa.float64(), [0.1], [0.1]),
    (["null", "string", {"type": "enum", "name": "E", "symbols": ["A"]}], pa.string(), ["x", None], ["x", None]),
    (["null"], pa.null(), [None], [None]),
    (["string"], pa.string(), ["x"], ["x"]),
    (
        [record(("a", "int"), name="A"), record(("a", "long"), ("b", "string"), name="B"), "null"],
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        [("A", {"a": 1}), ("B", {"a": 2, "b": "x"}), None],
        [{"a": 1, "b": None}, {"a": 2, "b": "x"}, None],
    ),
]


@pytest.mark.parametrize("kind, expected, values, found", UNIONS)
def test_a_union_has_the_type_that_holds_all(kind, expected, values, found, tmp_path):
    uri = write(tmp_path / "t.avro", record(("u", kind)), [{"u": value} for value in values] * 2)
    schema, rows, rejected = read_all(uri)
    assert schema.field("u").type == expected and not rejected
    assert [row["u"] for row in rows.values()] == found * 2


def test_an_integer_that_a_union_with_double_would_round_is_rejected(tmp_path):
    uri = write(tmp_path / "t.avro", record(("u", ["long", "double"])), [{"u": 1}, {"u": 2**53 + 1}, {"u": 0.5}])
    _, rows, rejected = read_all(uri)
    assert list(rows) == [1, 3] and rejected[2].column == "u" and rejected[2].reason == "type: not double"


def test_named_types_are_found_again_in_their_namespaces(tmp_path):
    point = {**record(("x", "int"), name="Point"), "namespace": "geo"}
    schema = {
        **record(("a", point), ("b", ["null", "geo.Point"]), ("c", {"type": "array", "items": "geo.Point"})),
        "namespace": "top",
    }
    uri = write(tmp_path / "t.avro", schema, [{"a": {"x": 1}, "b": None, "c": [{"x": 2}, {"x": 3}]}])
    found, rows, _ = read_all(uri)
    assert found.field("b").type == pa.struct([("x", pa.int32())])
    assert rows == {1: {"a": {"x": 1}, "b": None, "c": [{"x": 2}, {"x": 3}]}}


REFUSED = [
    (record(("a", {**record(("next", ["null", "Node"]), name="Node")})), "'a.next' .* recursive"),
    (
        record(("a", record(("u", ["string", "int"]), name="S"))),
        "'a.u' .* no single column type can hold: string, int32",
    ),
    (record(("a", "int"), ("a", "int")), "'a' .* appears twice"),
    (record(("a", "nothing")), "'a' .* 'nothing', which is not defined"),
    (record(("a", {"type": "array", "items": "null"})), "'a' .* hold nothing"),
    (record(("a", [])), "'a' .* union without types"),
    (record(("a", {"type": "fixed", "name": "F", "size": -1})), "'a' .* fixed and needs a size"),
    (record(), "no fields"),
    ({"type": "array", "items": "int"}, "must be a record"),
    ("string", "must be a record"),
    ([record(("a", "int"))], "must be a record"),
    (record(("a", 5)), "'a' .* has a type that Avro does not have"),
    (record(("a", {"type": {"type": {"type": []}}})), "'a'"),
    ({"type": "record", "name": "R", "fields": [{"type": "int"}]}, "name and a type"),
]


@pytest.mark.parametrize("schema, message", REFUSED)
def test_a_schema_that_is_no_table_is_refused_by_field(schema, message, tmp_path):
    path = tmp_path / "t.avro"
    path.write_bytes(container(schema))
    with pytest.raises(HeadwaterError, match=message):
        avro.read_schema(str(path))


def test_a_schema_that_multiplies_itself_is_refused(tmp_path):
    kind = record(("x", "int"), name="T0")
    for number in range(1, 40):
        kind = record(("l", kind), ("r", f"T{number - 1}"), name=f"T{number}")
    path = tmp_path / "t.avro"
    path.write_bytes(container(kind))
    with pytest.raises(HeadwaterError, match="more than 20,000 fields|nested"):
        avro.read_schema(str(path))


@pytest.mark.parametrize(
    "data, message",
    [(b"", "empty"), (b"PAR1", "not an Avro"), (b"Obj\x01", "cut short"), (b"Obj\x01\x02\x7f", "cut short")],
)
def test_a_file_that_is_no_container_is_refused(data, message, tmp_path):
    path = tmp_path / "t.avro"
    path.write_bytes(data)
    for read in (avro.read_schema, avro.find_ranges):
        with pytest.raises(HeadwaterError, match=message):
            read(str(path))


def test_an_unknown_codec_is_named(tmp_path):
    path = tmp_path / "t.avro"
    path.write_bytes(container(SIMPLE, codec="lzo"))
    with pytest.raises(
        HeadwaterError, match="'lzo' is not supported; use one of null, deflate, bzip2, snappy, zstandard"
    ):
        avro.read_schema(str(path))


def packed(data, codec):
    if codec == "snappy":
        return pa.compress(data, "snappy", asbytes=True) + zlib.crc32(data).to_bytes(4, "big")
    return pa.compress(data, "zstd", asbytes=True)


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "snappy", "zstandard"])
def test_every_codec_is_read(codec, tmp_path):
    rows = simple_rows(3000)
    if codec in ("snappy", "zstandard"):
        with open(write(tmp_path / "p.avro", SIMPLE, rows), "rb") as stream:
            blocks = [
                (block.num_records, packed(block.bytes_.getvalue(), codec)) for block in fastavro.block_reader(stream)
            ]
        (tmp_path / "t.avro").write_bytes(container(SIMPLE, *blocks, codec=codec))
    else:
        write(tmp_path / "t.avro", SIMPLE, rows, codec)
    _, found, rejected = read_all(str(tmp_path / "t.avro"))
    assert list(found.values()) == rows and not rejected


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "snappy", "zstandard"])
def test_a_block_that_cannot_be_unpacked_costs_itself(codec, tmp_path):
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, SIMPLE, simple_rows(5)[4])
    one = stream.getvalue()
    pack = {"null": bytes, "deflate": lambda data: zlib.compress(data)[2:-4], "bzip2": bz2.compress}
    good = pack.get(codec, lambda data: packed(data, codec))(one * 10)
    data = container(SIMPLE, (10, good), (10, b"\xff" * len(good)), (10, b""), (10, good), codec=codec)
    _, rows, rejected = read_bytes(tmp_path, data)
    damaged = {one.reason.partition(":")[0] for one in rejected.values()}
    assert {*range(1, 11)} | {*range(len(rows) + len(rejected) - 9, len(rows) + len(rejected) + 1)} <= set(rows)
    assert len(rows) == 20 and len(rejected) >= 11 and damaged == {"corrupt_block"}


def test_a_block_that_unpacks_to_too_much_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(avro_blocks, "BLOCK_BYTES", 1 << 16)
    bomb = zlib.compress(b"\0" * (1 << 20))[2:-4]
    _, rows, rejected = read_bytes(
        tmp_path, container(record(("n", "long")), (10, bomb), (1, bomb[:0]), codec="deflate")
    )
    assert not rows and "unpacks to more" in rejected[1].reason


@pytest.mark.parametrize("count, size", [(-1, 1), (2**62, 1), (1, 2**62), (1, -(2**40)), (2**40, 2**40), (100, 3)])
def test_a_hostile_header_is_one_rejection_and_reading_goes_on(count, size, tmp_path):
    schema = record(("n", "long"))
    data = container(schema, (1, b"\x02"), (count, b"\x04", size), (1, b"\x06"))
    _, rows, rejected = read_bytes(tmp_path, data)
    assert [row["n"] for row in rows.values()][-1] == 3 and len(rejected) <= 2 and len(rows) >= 2


def test_a_hostile_number_of_empty_records_is_not_believed(tmp_path):
    schema = record(("n", "null"))
    _, rows, rejected = read_bytes(tmp_path, container(schema, (2**50, b""), (7, b"")))
    assert list(rows.values()) == [{"n": None}] * 7 and len(rejected) == 1


def test_a_damaged_marker_costs_no_record(tmp_path):
    rows = simple_rows(400)
    data = bytearray(open(write(tmp_path / "p.avro", SIMPLE, rows, sync_interval=500), "rb").read())
    places = [place for place in range(len(data)) if data[place : place + 16] == b"0123456789abcdef"]
    for place in (places[3], places[-1]):
        data[place] ^= 1
    _, found, rejected = read_bytes(tmp_path, data)
    assert list(found.values()) == rows and not rejected


def test_records_before_the_damage_in_a_block_are_written_and_the_next_block_is_read(tmp_path):
    schema = record(("n", "long"), ("s", "string"))
    good = b"".join(integer(n) + integer(1) + b"x" for n in range(4))
    damaged = good[:6] + integer(9) + integer(1000) + b"x"
    _, rows, rejected = read_bytes(tmp_path, container(schema, (4, damaged), (4, good)))
    assert [row["n"] for row in rows.values()] == [0, 1, 0, 1, 2, 3] and list(rejected) == [3, 4]
    assert all(one.reason.startswith("corrupt_block: ") for one in rejected.values())


def test_what_is_cut_off_is_one_rejection(tmp_path):
    rows = simple_rows(400)
    data = open(write(tmp_path / "p.avro", SIMPLE, rows, sync_interval=500), "rb").read()
    last = data.rindex(b"0123456789abcdef")
    for end in (last - 3, last - 300):
        _, found, rejected = read_bytes(tmp_path, data[:end])
        assert list(found.values()) == rows[: len(found)] and len(found) > 300
        assert [one.reason.partition(":")[0] for one in rejected.values()] == ["truncated"]
    # The last block is whole but for its marker: its records are there.
    _, found, rejected = read_bytes(tmp_path, data[: last + 5])
    assert list(found.values()) == rows and [*rejected] == [401]


def test_small_ranges_hold_every_record_once(tmp_path, monkeypatch):
    monkeypatch.setattr(avro, "RANGE_BYTES", 2000)
    monkeypatch.setattr(avro_blocks, "_BUFFER_BYTES", 700)
    rows = simple_rows(2000)
    uri = write(tmp_path / "t.avro", SIMPLE, rows, sync_interval=600)
    assert len(avro.find_ranges(uri)) > 10
    assert list(read_all(uri)[1].values()) == rows


def test_a_file_without_records_has_no_ranges_but_columns(tmp_path):
    uri = write(tmp_path / "t.avro", SIMPLE, [])
    assert avro.find_ranges(uri) == [] and avro.read_schema(uri).names == ["n", "x", "s", "many"]


def test_many_batches_of_one_block_are_numbered_on(tmp_path):
    rows = [{"n": n} for n in range(40_000)]
    uri = write(tmp_path / "t.avro", record(("n", "long")), rows, sync_interval=1 << 30)
    _, found, rejected = read_all(uri)
    assert list(found.values()) == rows and not rejected


def test_mutated_files_lose_no_record_that_fastavro_reads(tmp_path):
    rng = random.Random(4)
    schema = record(("n", "long"), ("x", ["null", "double"]), ("s", ["null", "string"]), ("b", "bytes"))
    rows = [{"n": n, "x": n / 2, "s": f"r{n}" if n % 2 else None, "b": b"xy"} for n in range(120)]
    wholes = [open(write(tmp_path / "p.avro", schema, rows, codec, 300), "rb").read() for codec in ("null", "deflate")]
    refused = 0
    for turn in range(400):
        whole = wholes[turn % 2]
        data = bytearray(whole)
        first = 0 if turn % 8 == 0 else whole.index(b"0123456789abcdef") + 16
        for _ in range(rng.choice([1, 1, 3])):
            place = rng.randrange(first, max(len(data), first + 1))
            match rng.randrange(4):
                case 0:
                    data[place : place + 1] = bytes([data[place] ^ 1 << rng.randrange(8)] if place < len(data) else [])
                case 1:
                    del data[place:]
                case 2:
                    del data[place : place + rng.randrange(1, 30)]
                case 3:
                    data[place:place] = rng.randbytes(rng.randrange(1, 30))
        try:
            _, found, _ = read_bytes(tmp_path, data)
        except HeadwaterError:
            refused += 1
            continue
        expected = []
        try:
            # Each block is compared when its marker is in place: beyond that fastavro reads on into other blocks.
            for block in fastavro.block_reader(io.BytesIO(data)):
                for row in block:
                    expected.append(plainly(row))
        except Exception:
            pass
        assert [plainly(row) for row in found.values()][: len(expected)] == expected
    assert refused < 60
