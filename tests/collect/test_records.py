"""Avro and TFRecord files through the whole of collect, against their own readers."""

from __future__ import annotations

import gzip
import struct

import fastavro
import google_crc32c
import pyarrow as pa
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.dataset import rejected

SCHEMA = {
    "type": "record",
    "name": "row",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "score", "type": ["null", "double"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
    ],
}
RECORDS = [
    {"id": i, "name": None if i % 5 == 0 else f"n{i}", "score": i / 3 if i % 2 else None, "tags": ["a"] * (i % 3)}
    for i in range(500)
]


def collect(source, output, **settings):
    return collect_dataset(str(source), str(output), workers=1, **{"analyse": False, **settings})


def rows_of(result):
    names = [name for name in result.body["columns"] if not name.startswith("_")]
    return sorted(open_dataset(result.folder).to_table(columns=names).to_pylist(), key=lambda row: row["id"])


def write_avro(path, codec="deflate", records=RECORDS):
    with open(path, "wb") as stream:
        fastavro.writer(stream, SCHEMA, records, codec=codec, sync_interval=1000)
    return path


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(record):
    """A tf.Example as its protocol says, by hand."""
    entries = b""
    for name, value in record.items():
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], str):
            inner = field(1, b"".join(field(1, each.encode()) for each in values))
        elif isinstance(values[0], float):
            inner = field(2, field(1, b"".join(struct.pack("<f", each) for each in values)))
        else:
            inner = field(3, field(1, b"".join(varint(each % 2**64) for each in values)))
        entries += field(1, field(1, name.encode()) + field(2, inner))
    return field(1, entries)


def masked(data):
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def framed(record):
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record))


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "zstandard"])
def test_avro_is_collected_record_for_record(tmp_path, codec):
    try:
        path = write_avro(tmp_path / "t.avro", codec)
    except (ValueError, ImportError) as error:
        pytest.skip(f"fastavro cannot write {codec} here: {error}")
    result = collect(path, tmp_path / "out")
    assert rows_of(result) == RECORDS
    assert result.body["accounts"] == {"read": 500, "written": 500, "rejected": 0, "filtered": {}}


def test_a_damaged_avro_block_costs_its_records_alone(tmp_path):
    content = bytearray(write_avro(tmp_path / "t.avro").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "t.avro").write_bytes(bytes(content))
    result = collect(tmp_path / "t.avro", tmp_path / "out", max_rejected_share=1.0)
    accounts = result.body["accounts"]
    assert accounts["read"] == accounts["written"] + accounts["rejected"] == 500
    assert 0 < accounts["rejected"] < 200
    found = rows_of(result)
    assert all(row == RECORDS[row["id"]] for row in found)


@pytest.mark.parametrize("packed", [False, True])
def test_tfrecord_is_collected_record_for_record(tmp_path, packed):
    records = [
        {"id": i, "name": f"n{i}", "score": float(i) / 4, "tags": ["a", "b"][: i % 3] or None} for i in range(300)
    ]
    content = b"".join(framed(example(record)) for record in records)
    path = tmp_path / ("data_tfrecord-00000-of-00001.gz" if packed else "t.tfrecord")
    path.write_bytes(gzip.compress(content) if packed else content)
    result = collect(path, tmp_path / "out")
    assert [{**row, "tags": row["tags"] or None} for row in rows_of(result)] == records
    assert result.body["columns"]["score"] == "float" and result.body["columns"]["tags"] == "list<item: string>"


def test_a_tfrecord_with_a_wrong_checksum_is_rejected_alone(tmp_path):
    parts = [framed(example({"id": i})) for i in range(10)]
    parts[4] = parts[4][:-1] + bytes([parts[4][-1] ^ 1])
    (tmp_path / "t.tfrecord").write_bytes(b"".join(parts))
    result = collect(tmp_path / "t.tfrecord", tmp_path / "out", max_rejected_share=1.0)
    assert [row["id"] for row in rows_of(result)] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [(row["row"], row["reason"].partition(":")[0]) for row in rejected(result).to_pylist()] == [(5, "checksum")]


def test_avro_and_tfrecord_are_united_with_csv(tmp_path):
    (tmp_path / "in").mkdir()
    write_avro(tmp_path / "in/a.avro", records=RECORDS[:2])
    (tmp_path / "in/b.tfrecord").write_bytes(framed(example({"id": 7, "name": "x"})))
    (tmp_path / "in/c.csv").write_text("id,score\n9,1\n")
    result = collect(tmp_path / "in", tmp_path / "out")
    assert [(row["id"], row["name"], row["score"]) for row in rows_of(result)] == [
        (0, None, None),
        (1, "n1", pytest.approx(1 / 3)),
        (7, "x", None),
        (9, None, 1.0),
    ]
    assert pa.types.is_int64(pa.type_for_alias(result.body["columns"]["id"]))
