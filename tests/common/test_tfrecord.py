"""TFRecord files of tf.Example, against a plain reader of one record at a time and protobuf."""

from __future__ import annotations

import base64
import random
import struct

import google_crc32c
import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.components.common.dataset import load_dataset, read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.formats import example, tfrecord, tfrecord_columns

QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
MAX, MIN = 2**63 - 1, -(2**63)


def masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def encode(features, *, packed=True, nothing=()) -> bytes:
    """A tf.Example, written by hand, keys in the order given; a list is told by the type of its first value."""
    entries = b""
    for name, values in features:
        if values is None:
            feature = b""
        elif isinstance(values[0] if values else 0, bytes):
            feature = field(1, b"".join(field(1, value) for value in values))
        elif isinstance(values[0] if values else 0, float):
            numbers = [struct.pack("<f", value) for value in values]
            feature = field(2, field(1, b"".join(numbers)) if packed else b"".join(b"\x0d" + part for part in numbers))
        else:
            numbers = [varint(value) for value in values]
            feature = field(3, field(1, b"".join(numbers)) if packed else b"".join(b"\x08" + part for part in numbers))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def write(path, records) -> str:
    path.write_bytes(b"".join(frame(record) for record in records))
    return str(path)


def bits(values):
    """Values that are equal when they are the same, NaN too."""
    return [struct.pack("<f", value) if isinstance(value, float) else value for value in values]


def plain_reader(data: bytes):
    """The data of each record, None where its checksum is wrong; ends at the first that cannot be framed."""
    place = 0
    while place + 12 <= len(data):
        length = struct.unpack_from("<Q", data, place)[0]
        if masked(data[place : place + 8]) != data[place + 8 : place + 12] or place + length + 16 > len(data):
            return
        record = data[place + 12 : place + 12 + length]
        yield record if masked(record) == data[place + 12 + length : place + 16 + length] else None
        place += length + 16


@pytest.fixture(scope="module")
def protobuf():
    """Reads one record with a message class of the test's own: {name: (kind, values)}, or None."""
    messages = {"BytesList": 12, "FloatList": 2, "Int64List": 3}
    file = descriptor_pb2.FileDescriptorProto(name="plain.proto", package="plain", syntax="proto3")
    for name, kind in messages.items():
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=3)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(zip(("bytes", "float", "int64"), messages), 1):
        feature.field.add(name=name, number=number, type=11, type_name=f".plain.{kind}", label=1, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".plain.Feature", label=1)
    features.field.add(name="feature", number=1, type=11, type_name=".plain.Features.FeatureEntry", label=3)
    whole = file.message_type.add(name="Example")
    whole.field.add(name="features", number=1, type=11, type_name=".plain.Features", label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("plain.Example"))

    def read(record):
        message = kind()
        try:
            message.ParseFromString(record)
        except DecodeError:
            return None
        found = {}
        for name, one in message.features.feature.items():
            which = one.WhichOneof("kind")
            found[name] = (which, list(getattr(one, which).value) if which else [])
        return found

    return read


def read_all(uri, kinds=None):
    """Schema, rows by number, rejections by number and the count of records, with all promises checked."""
    ranges = tfrecord.find_ranges(uri)
    for (_, stop, _), (start, _, _) in zip(ranges, ranges[1:]):
        assert stop == start
    if kinds is None:
        kinds = {}
        for start, stop, _ in ranges:
            for name, kind in tfrecord.infer_types(uri, start, stop).items():
                kinds[name] = tfrecord_columns.widen_types(kinds.get(name, pa.null()), kind)
    schema = pa.schema(kinds)
    rows, rejected, first = {}, {}, 1
    for start, stop, records in ranges:
        seen = 0
        for batch, numbers, rejections in tfrecord.read_rows(uri, start, stop, schema, first):
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


names = st.sampled_from(
    ["a", "b", "label", "a_long_key_of_more_than_16_bytes", "a_long_key_of_more_than_17_bytes", "é", ""]
)
lists = st.one_of(
    st.none(),
    st.lists(st.integers(MIN, MAX) | st.integers(-3, 300), max_size=4),
    st.lists(st.floats(width=32, allow_nan=False), max_size=4),
    st.lists(st.binary(max_size=4) | st.text(max_size=4).map(str.encode), max_size=3),
)
plain_records = st.lists(st.tuples(names, lists), max_size=6).map(encode)
odd_records = st.one_of(
    st.lists(st.tuples(names, lists), max_size=6).map(lambda features: encode(features, packed=False)),
    st.binary(max_size=30),
    st.binary(max_size=12).map(lambda content: field(1, field(1, content))),
    st.tuples(plain_records, plain_records).map(b"".join),
    st.tuples(st.sampled_from([b"\x10\x05", b"\x1a\x01x", b"\x0a\x00"]), plain_records).map(b"".join),
)


def decoded(records):
    """The features of the records that are plain, by position."""
    data = np.zeros(sum(map(len, records)) + example.PADDING, np.uint8)
    data[: -example.PADDING] = np.frombuffer(b"".join(records), np.uint8)
    stops = np.cumsum([len(record) for record in records])
    features, plain = example.decode(data, stops - [len(record) for record in records], stops)
    found = {position: {} for position in plain.tolist()}
    kinds = (None, "bytes", "float", "int64")
    for number, name in enumerate(features.names):
        for entry in range(features.edges[number], features.edges[number + 1]):
            own = slice(features.first[entry], features.first[entry] + features.counts[entry])
            kind = features.kind[entry]
            texts = example.gather_bytes(data, features.places[own], features.lengths[own]) if kind == 1 else None
            values = [[], texts, features.floats[own], features.ints[own]][kind]
            found[int(plain[features.record[entry]])][name] = (kinds[kind], values if not kind else values.tolist())
    return found


@QUICK
@given(some=st.lists(st.one_of(plain_records, plain_records, odd_records), min_size=1, max_size=5), data=st.data())
def test_what_is_decoded_many_records_at_a_time_is_what_protobuf_reads(some, data, protobuf):
    records = some * 17
    found = decoded(records)
    for position, features in found.items():
        expected = protobuf(records[position])
        assert {name: (kind, bits(values)) for name, (kind, values) in features.items()} == {
            name: (kind, bits(values)) for name, (kind, values) in expected.items()
        }
    position = data.draw(st.integers(0, len(some) - 1))
    parsed, expected = example.parse(records[position]), protobuf(records[position])
    assert (parsed is None) == (expected is None)


def test_plain_records_do_not_need_protobuf():
    records = [encode([("a", [1, 2]), ("b", [0.5]), ("c", [b"x"]), ("d", None)]) for _ in range(100)]
    assert len(decoded(records)) == 100


@QUICK
@given(data=st.binary(min_size=1, max_size=40), position=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_changed_byte_is_read_as_protobuf_reads_it_or_left_to_it(data, position, byte, protobuf):
    whole = encode([("ab", [1, 300, -1]), ("c", [0.5, 1.5]), ("def", [data, b""]), ("g", None)])
    changed = bytearray(whole)
    changed[position % len(whole)] = byte
    records = [whole] * 20 + [bytes(changed)] * 20
    for position, features in decoded(records).items():
        expected = protobuf(records[position])
        assert {name: bits(values) for name, (_, values) in features.items()} == {
            name: bits(values) for name, (_, values) in expected.items()
        }


TYPES = [
    ([[1], [2]], pa.int64(), [1, 2]),
    ([[1.5], [2]], pa.float64(), [1.5, 2.0]),
    ([[1.5], []], pa.float32(), [1.5, None]),
    ([[b"x"], ["é".encode()]], pa.string(), ["x", "é"]),
    ([[b"x"], [b"\xff"]], pa.binary(), [b"x", b"\xff"]),
    ([[b"x"], [7], [0.5]], pa.string(), ["x", "7", "0.5"]),
    ([[7], [b"\xff"]], pa.binary(), [b"7", b"\xff"]),
    ([[1], [1, 2]], pa.list_(pa.int64()), [[1], [1, 2]]),
    ([[1, 2], [], None], pa.list_(pa.int64()), [[1, 2], [], None]),
    ([[1], [0.5, 2.5]], pa.list_(pa.float64()), [[1.0], [0.5, 2.5]]),
    ([[b"x", b"y"], [7]], pa.list_(pa.string()), [["x", "y"], ["7"]]),
    ([[MAX], [MIN]], pa.int64(), [MAX, MIN]),
    ([[], None], pa.null(), [None, None]),
]


@pytest.mark.parametrize("copies", [1, 20])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("values, kind, expected", TYPES)
def test_a_column_has_the_type_and_values_that_its_rule_says(values, kind, expected, packed, copies, tmp_path):
    records = [encode([("x", value), ("y", [0])], packed=packed) for value in values]
    schema, rows, rejected = read_all(write(tmp_path / "t.tfrecord", records * copies))
    assert schema.field("x").type == kind and not rejected
    assert [row["x"] for row in rows.values()] == expected * copies


def test_types_of_ranges_unite_in_any_order():
    values = [pa.null(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary()]
    kinds = [*values, *map(pa.list_, values)]
    widen = tfrecord_columns.widen_types
    for one in kinds:
        assert widen(one, one) == one == widen(pa.null(), one)
        for two in kinds:
            assert widen(one, two) == widen(two, one)
            for three in kinds:
                assert widen(widen(one, two), three) == widen(one, widen(two, three))


@QUICK
@given(some=st.lists(st.one_of(plain_records, odd_records), max_size=6), copies=st.sampled_from([1, 20]))
def test_every_record_that_protobuf_reads_is_a_row_with_all_its_values(some, copies, tmp_path, protobuf):
    records = some * copies
    schema, rows, rejected = read_all(write(tmp_path / "t.tfrecord", records))
    for number, record in enumerate(records, 1):
        expected = protobuf(record)
        if expected is None:
            assert rejected[number].reason.startswith("not_an_example: ")
            continue
        if number in rejected:
            # An integer that float64 would round.
            kind = schema.field(rejected[number].column).type
            assert kind in (pa.float64(), pa.list_(pa.float64())) and rejected[number].reason == f"type: not {kind}"
            assert any(int(float(value)) != value for value in expected[rejected[number].column][1])
            continue
        for name, value in rows[number].items():
            kind, values = expected.get(name, (None, []))
            target = schema.field(name).type
            several = pa.types.is_list(target)
            found = (value or []) if several else [] if value is None else [value]
            assert (value is None) == (kind is None or not (values or several))
            target = target.value_type if several else target
            if kind == "float" and target in (pa.string(), pa.binary()):
                values = [str(np.float32(one)) for one in values]
            texts = {pa.string(): lambda v: v.decode() if isinstance(v, bytes) else str(v)}
            texts[pa.binary()] = lambda v: v if isinstance(v, bytes) else str(v).encode()
            convert = texts.get(target, lambda v: v)
            assert str(found) == str([convert(one) for one in values]) or found == [convert(one) for one in values]


def test_an_example_without_features_is_a_row_of_missing_values(tmp_path):
    _, rows, rejected = read_all(write(tmp_path / "t.tfrecord", [b"", encode([("x", [1])])]))
    assert rows == {1: {"x": None}, 2: {"x": 1}} and not rejected


@pytest.mark.parametrize("copies", [1, 20])
def test_a_record_that_the_column_cannot_hold_is_rejected_and_named(copies, tmp_path):
    values = [[1], [0.5], [b"x"], [1, 2], []]
    uri = write(tmp_path / "t.tfrecord", [encode([("x", value)]) for value in values] * copies)
    _, rows, rejected = read_all(uri, {"x": pa.int64(), "gone": pa.string()})
    assert {number % 5 for number in rows} == {1, 0} and rows[5] == {"x": None, "gone": None}
    assert {(one.column, one.reason, one.value) for one in rejected.values()} == {
        ("x", "type: not int64", value) for value in ("0.5", "x", "[1, 2]")
    }


def test_a_float_column_rounds_no_integer(tmp_path):
    uri = write(tmp_path / "t.tfrecord", [encode([("x", [value])]) for value in (2**53, 2**53 + 1, MAX, MIN)] * 9)
    _, rows, rejected = read_all(uri, {"x": pa.float64()})
    assert [rows[number]["x"] for number in (1, 4)] == [2.0**53, float(MIN)] and set(rejected) >= {2, 3}


def test_a_wrong_checksum_costs_one_record(tmp_path):
    records = [encode([("x", [number])]) for number in range(50)]
    data = bytearray(b"".join(map(frame, records)))
    place = len(b"".join(map(frame, records[:7]))) + 12 + 3
    data[place] ^= 0x40
    path = tmp_path / "t.tfrecord"
    path.write_bytes(data)
    _, rows, rejected = read_all(str(path))
    assert len(rows) == 49 and list(rejected) == [8]
    assert rejected[8].reason.startswith(f"checksum: the data of the record at byte {place - 15:,}")


@pytest.mark.parametrize("damage, reason", [("flip", "damaged_length: "), ("cut", "truncated: ")])
def test_what_follows_a_damaged_length_or_a_cut_is_one_rejection(damage, reason, tmp_path):
    records = [frame(encode([("x", [number])])) for number in range(50)]
    data = bytearray(b"".join(records))
    place = len(b"".join(records[:30]))
    if damage == "flip":
        data[place + 1] ^= 1
    path = tmp_path / "t.tfrecord"
    path.write_bytes(data if damage == "flip" else data[: place + 20])
    _, rows, rejected = read_all(str(path))
    assert len(rows) == 30 and list(rejected) == [31] and rejected[31].reason.startswith(reason)
    assert f"byte {place:,}" in rejected[31].reason


def test_records_longer_than_the_buffer_are_read_and_longer_than_the_limit_are_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecord, "_PIECE_BYTES", 100)
    monkeypatch.setattr(tfrecord, "RANGE_BYTES", 300)
    monkeypatch.setattr(tfrecord, "RECORD_BYTES", 1000)
    sizes = [1, 50, 200, 2000, 90, 3, 999 - 30, 0] * 5
    uri = write(tmp_path / "t.tfrecord", [encode([("x", [b"y" * size])]) for size in sizes])
    _, rows, rejected = read_all(uri)
    assert {number: len(row["x"]) for number, row in rows.items()} == {
        number: size for number, size in enumerate(sizes, 1) if size != 2000
    }
    assert {one.reason.partition(":")[0] for one in rejected.values()} == {"too_long"} and len(rejected) == 5
    assert len(tfrecord.find_ranges(uri)) > 5


def test_a_file_without_records_has_no_ranges(tmp_path):
    assert tfrecord.find_ranges(write(tmp_path / "t.tfrecord", [])) == []
    with pytest.raises(HeadwaterError, match="no such file"):
        tfrecord.find_ranges(str(tmp_path / "none.tfrecord"))


def test_a_length_beyond_the_file_with_a_right_checksum_is_a_cut_file(tmp_path):
    head = struct.pack("<Q", 2**63 + 5)
    path = tmp_path / "t.tfrecord"
    path.write_bytes(frame(encode([("x", [1])])) + head + masked(head) + b"rest")
    _, rows, rejected = read_all(str(path))
    assert len(rows) == 1 and rejected[2].reason.startswith("truncated: ")


def test_many_entries_and_long_keys_in_one_record_are_read(tmp_path, protobuf):
    wide = encode([(f"k{number}", [number]) for number in range(3000)])
    long = encode([("k" * 5000, [1]), ("many", list(range(3000)))])
    records = [encode([("x", [1])])] * 40 + [wide, long]
    _, rows, rejected = read_all(write(tmp_path / "t.tfrecord", records))
    assert not rejected and rows[41]["k2999"] == 2999 and rows[42]["many"] == list(range(3000))


def test_mutated_files_lose_no_record_that_a_plain_reader_reads(tmp_path, protobuf):
    rng = random.Random(4)
    features = [("a", [1]), ("b", [0.5, 2.0]), ("c", [b"text"]), ("d", [])]
    whole = b"".join(frame(encode([*features[: number % 5], ("n", [number])])) for number in range(40))
    path = tmp_path / "t.tfrecord"
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3])):
            place = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[place] ^= 1 << rng.randrange(8)
                case 1:
                    del data[place:]
                case 2:
                    del data[place : place + rng.randrange(1, 30)]
                case 3:
                    data[place:place] = rng.randbytes(rng.randrange(1, 30))
            if not data:
                break
        path.write_bytes(data)
        _, rows, rejected = read_all(str(path))
        for number, record in enumerate(plain_reader(bytes(data)), 1):
            expected = protobuf(record) if record is not None else None
            if expected is None:
                assert number in rejected
            else:
                assert rows[number]["n"] == expected["n"][1][0]


WRITTEN_BY_TENSORFLOW = (
    "KgAAAAAAAACujZH1CigKCgoBcxIFCgMKATAKDQoBZhIIEgYKBAAAAAAKCwoBaRIGGgQKAgAAUp4fjjMAAAAAAAAADKcgVgoxCgoK"
    "AXMSBQoDCgExCg0KAWYSCBIGCgQAAIA+ChQKAWkSDxoNCgsB////////////ASIH2aY="
)


def test_files_that_tensorflow_writes_are_read(tmp_path):
    # tf.io.TFRecordWriter of TensorFlow 2.16, two records.
    path = tmp_path / "t.tfrecord"
    path.write_bytes(base64.b64decode(WRITTEN_BY_TENSORFLOW))
    _, rows, rejected = read_all(str(path))
    assert rows == {n + 1: {"i": [n, -n], "f": n / 4, "s": str(n)} for n in range(2)} and not rejected


def test_the_messages_are_in_no_pool_that_tensorflow_uses():
    assert example.parse(b"") == {}
    for name in ("headwater.Example", "headwater.Features"):
        with pytest.raises(KeyError):
            descriptor_pool.Default().FindMessageTypeByName(name)


def test_a_few_columns_of_a_plain_file_are_read(tmp_path):
    """Also one alone, or none that the file has, where the number of rows is all that is wanted."""
    uri = write(
        tmp_path / "t.tfrecord", [encode([("a", [1, 2]), ("b", [b"x"])]), encode([("a", [3]), ("b", [b"\xff"])])]
    )
    opened = load_dataset(uri, workers=1)
    [element] = opened.elements("all")
    for names in (["a"], ["b"], ["b", "a"], []):
        schema = pa.schema([opened.schema.field(name) for name in names])
        [batch] = read_element(element, schema)
        assert batch.schema.names == names
    assert opened.schema.field("a").type == pa.list_(pa.int64())
