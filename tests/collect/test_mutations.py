"""Damaged input: never a traceback, the accounts add up, and every row that an independent reader can read is written.

`make test` tries a sample; `make fuzz` sets HEADWATER_MUTATIONS and tries all.
"""

from __future__ import annotations

import collections
import csv
import io
import json
import os
import struct

import fastavro
import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError

EACH = int(os.environ.get("HEADWATER_MUTATIONS", "50")) // 5
ROWS = [{"id": i, "name": ["Zoë", 'a "b"', "x,y", "two\nlines", ""][i % 5] + str(i), "score": i / 4} for i in range(60)]
SCHEMA = {
    "type": "record",
    "name": "row",
    "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}, {"name": "score", "type": "double"}],
}


def masked(data):
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def example(row):
    name = field(1, field(1, row["name"].encode()))
    number = field(3, field(1, bytes([row["id"]])))
    real = field(2, field(1, struct.pack("<f", row["score"])))
    entries = {"name": name, "id": number, "score": real}
    return field(1, b"".join(field(1, field(1, key.encode()) + field(2, value)) for key, value in entries.items()))


def make_csv():
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(ROWS[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(ROWS)
    return sink.getvalue().encode()


def make_jsonl():
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def make_parquet():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, row_group_size=10)
    return sink.getvalue().to_pybytes()


def make_avro():
    sink = io.BytesIO()
    fastavro.writer(sink, SCHEMA, ROWS, codec="deflate", sync_interval=200)
    return sink.getvalue()


def make_tfrecord():
    content = b""
    for row in ROWS:
        record = example(row)
        length = struct.pack("<Q", len(record))
        content += length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record))
    return content


def read_csv(content):
    """Rows by Python's own reader, every byte as one character so that bad bytes cost their record alone."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("latin-1"), newline=""), strict=True))
    except csv.Error:
        return []
    found = []
    for row in rows[1:]:
        try:
            texts = [text.encode("latin-1").decode() for text in row]
        except UnicodeDecodeError:
            continue
        if len(texts) == 3 and not any("\0" in text or "\r" in text for text in texts):
            found.append(tuple(text or None for text in texts))
    return found


def once(pairs):
    """An object; one that has a key twice is rejected, as it cannot be told which value was meant."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def read_jsonl(content):
    found = []
    for line in content.split(b"\n"):
        try:
            row = json.loads(line.decode(), object_pairs_hook=once)
        except ValueError:
            continue
        if (
            isinstance(row, dict)
            and list(row) == ["id", "name", "score"]
            and type(row["id"]) is int
            and type(row["score"]) is float
            and isinstance(row["name"], str)
            and abs(row["id"]) < 2**53
            and abs(row["score"]) < 1e300
        ):
            found.append((row["id"], row["name"], row["score"]))
    return found


def read_parquet(content):
    try:
        return [tuple(row.values()) for row in pq.read_table(pa.BufferReader(content)).to_pylist()]
    except Exception:
        return []


def read_avro(content):
    found = []
    try:
        for row in fastavro.reader(io.BytesIO(content)):
            found.append((row["id"], row["name"], row["score"]))
    except Exception:
        pass
    return found


def read_tfrecord(content):
    found, place = [], 0
    expected = {example(row): row for row in ROWS}
    while place + 16 <= len(content):
        [length] = struct.unpack_from("<Q", content, place)
        if struct.unpack_from("<I", content, place + 8) != (masked(content[place : place + 8]),):
            break
        record = content[place + 12 : place + 12 + length]
        end = place + 12 + length
        if len(content) < end + 4:
            break
        if struct.unpack_from("<I", content, end) == (masked(record),) and record in expected:
            found.append(tuple(expected[record].values()))
        place = end + 4
    return found


FORMATS = {
    "csv": (make_csv, read_csv),
    "jsonl": (make_jsonl, read_jsonl),
    "parquet": (make_parquet, read_parquet),
    "avro": (make_avro, read_avro),
    "tfrecord": (make_tfrecord, read_tfrecord),
}


def mutate(content: bytes, seed: int) -> bytes:
    chance = np.random.default_rng(seed)
    data = bytearray(content)
    for _ in range(int(chance.integers(1, 4))):
        kind = chance.choice(["flip", "cut", "insert", "swap", "unquote", "end"])
        place = int(chance.integers(0, max(1, len(data))))
        if kind == "flip" and data:
            data[place] ^= 1 << int(chance.integers(0, 8))
        elif kind == "cut":
            del data[place : place + int(chance.integers(1, 20))]
        elif kind == "insert":
            data[place:place] = chance.bytes(int(chance.integers(1, 8)))
        elif kind == "swap":
            lines = bytes(data).split(b"\n")
            one, two = (int(each) for each in chance.integers(0, len(lines), 2))
            lines[one], lines[two] = lines[two], lines[one]
            data = bytearray(b"\n".join(lines))
        elif kind == "unquote":
            quotes = [at for at, byte in enumerate(data) if byte == ord('"')]
            if quotes:
                del data[quotes[place % len(quotes)]]
        elif kind == "end":
            del data[place:]
    return bytes(data)


@pytest.mark.parametrize("form", list(FORMATS))
def test_what_was_not_damaged_is_read_whole(form, tmp_path):
    make, read = FORMATS[form]
    content = make()
    assert len(read(content)) == len(ROWS)
    check(form, content, tmp_path)


@pytest.mark.sweep(7)
@pytest.mark.parametrize("seed", range(EACH))
@pytest.mark.parametrize("form", list(FORMATS))
def test_damage_costs_what_is_damaged_and_no_more(form, seed, tmp_path):
    make, _ = FORMATS[form]
    check(form, mutate(make(), seed), tmp_path)


def check(form, content, folder):
    path = folder / f"t.{form}"
    path.write_bytes(content)
    options = {"analyse": False, "max_rejected_share": 1.0, "workers": 1}
    if form == "csv":
        names = content.partition(b"\n")[0].decode("utf-8", "replace").split(",")
        if names == ["id", "name", "score"]:
            options["types"] = dict.fromkeys(names, "string")
    try:
        result = collect_dataset(str(path), str(folder / "out"), **options)
    except HeadwaterError as error:
        # Refused as a whole, in one sentence that names the file.
        assert str(path) in str(error) and "Traceback" not in str(error)
        return
    accounts = result.body["accounts"]
    assert accounts["read"] == accounts["written"] + accounts["rejected"]
    if form == "csv" and "types" not in options or not accounts["written"]:
        return
    expected = collections.Counter(FORMATS[form][1](content))
    columns = [name for name in ("id", "name", "score") if name in result.body["columns"]]
    if (
        len(columns) < 3
        or form == "jsonl"
        and list(result.body["columns"].values())[:3] != ["int64", "string", "double"]
    ):
        return
    table = open_dataset(result.folder).to_table(columns=columns).to_pylist()
    missing = expected - collections.Counter(tuple(row.values()) for row in table)
    assert not missing, f"{len(missing)} rows that can be read were not written, the first: {next(iter(missing))}"
