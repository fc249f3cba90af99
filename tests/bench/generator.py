"""A seeded table for measurements: n rows of 18 columns, the same bytes each time.

Eight floats with 0 to 14 % missing (normal, log-normal, heavy-tailed), four whole numbers, categories of 2, 20, 300
and 20,000 values by Zipf's law with exponent 1.1, one unique id, and one text of 3 to 12 words.
"""

from __future__ import annotations

import pathlib
import struct
from collections.abc import Iterator

import duckdb
import fastavro
import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

BATCH_ROWS = 100_000
WIDE_BATCH_ROWS = 10_000

_SEED = 20_130
_CATEGORIES = (2, 20, 300, 20_000)
_WORDS = 2_000


def batches(rows: int, seed: int = _SEED) -> Iterator[pa.RecordBatch]:
    """The table's record batches, at most `BATCH_ROWS` rows each."""
    for start in range(0, rows, BATCH_ROWS):
        yield _batch(start, min(BATCH_ROWS, rows - start), seed)


def write_csv(path: pathlib.Path, rows: int) -> pathlib.Path:
    """Writes the table as CSV with a header, quoted only where it must be, unless it is there."""
    if not path.exists():
        table = write_parquet(path.with_suffix(".parquet"), rows)
        duckdb.sql(f"COPY (FROM '{table}') TO '{path}' (HEADER)")
    return path


def write_parquet(path: pathlib.Path, rows: int) -> pathlib.Path:
    """Writes the table as Parquet in row groups of `BATCH_ROWS` rows, unless it is there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with pq.ParquetWriter(str(temporary), _batch(0, 1, _SEED).schema) as writer:
        for batch in batches(rows):
            writer.write_table(pa.Table.from_batches([batch]))
    temporary.rename(path)
    return path


def write_wide(path: pathlib.Path, rows: int, columns: int) -> pathlib.Path:
    """Writes `columns` columns of the table's kinds, row groups of `WIDE_BATCH_ROWS` rows, as Parquet unless it is there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with pq.ParquetWriter(str(temporary), _wide_batch(0, 1, columns).schema) as writer:
        for start in range(0, rows, WIDE_BATCH_ROWS):
            batch = _wide_batch(start, min(WIDE_BATCH_ROWS, rows - start), columns)
            writer.write_table(pa.Table.from_batches([batch]))
    temporary.rename(path)
    return path


def _wide_batch(start: int, rows: int, columns: int) -> pa.RecordBatch:
    """The table beside itself with other seeds, as often as it takes."""
    arrays: dict[str, pa.Array] = {}
    while len(arrays) < columns:
        part = len(arrays)
        batch = _batch(start, rows, _SEED + part)
        arrays.update({f"{name}_{part}": column for name, column in zip(batch.schema.names, batch.columns)})
    return pa.RecordBatch.from_arrays(list(arrays.values())[:columns], list(arrays)[:columns])


def _batch(start: int, rows: int, seed: int) -> pa.RecordBatch:
    chance = np.random.default_rng([seed, start])
    columns: dict[str, pa.Array] = {"id": _ids(start, rows)}
    for number in range(8):
        columns[f"float_{number}"] = _float(chance, number, rows)
    columns["int_small"] = pa.array(chance.integers(0, 10, rows))
    columns["int_count"] = pa.array(chance.poisson(40, rows))
    columns["int_wide"] = pa.array(chance.integers(-(10**9), 10**9, rows))
    columns["int_year"] = pa.array(chance.integers(1950, 2030, rows))
    for size in _CATEGORIES:
        columns[f"category_{size}"] = _category(chance, size, rows)
    columns["text"] = _text(chance, rows)
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _ids(start: int, rows: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(np.arange(start, start + rows)).cast(pa.string()), 12, "0")
    return pc.binary_join_element_wise("id-", digits, "")


def _float(chance: np.random.Generator, number: int, rows: int) -> pa.Array:
    draw = (chance.normal, chance.lognormal, lambda _, scale, size: chance.standard_t(2, size) * scale)[number % 3]
    values = np.round(draw(0.0, 1.0 + number / 4, rows), 13)
    return pa.array(values, mask=chance.random(rows) < number * 0.02)


def _category(chance: np.random.Generator, size: int, rows: int) -> pa.Array:
    index = np.searchsorted(_shares(size), chance.random(rows))
    names = pc.binary_join_element_wise("value-", pa.array(np.arange(size)).cast(pa.string()), "")
    return names.take(pa.array(np.minimum(index, size - 1)))


def _text(chance: np.random.Generator, rows: int) -> pa.Array:
    letters = np.random.default_rng(_SEED).integers(ord("a"), ord("z") + 1, (_WORDS, 9), np.uint8)
    lengths = np.random.default_rng(_SEED + 1).integers(2, 10, _WORDS)
    words = pa.array([bytes(word[:length]).decode() for word, length in zip(letters, lengths)])
    counts = chance.integers(3, 13, rows)
    chosen = np.minimum(np.searchsorted(_shares(_WORDS), chance.random(int(counts.sum()))), _WORDS - 1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), words.take(pa.array(chosen))), " ")


def _shares(size: int) -> np.ndarray:
    weights = np.arange(1, size + 1) ** -1.1
    return np.cumsum(weights) / weights.sum()


def write_avro(path: pathlib.Path, rows: int) -> pathlib.Path:
    """Writes the table as Avro, deflated, unless it is there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"string": "string", "double": "double", "int64": "long"}
    fields = [{"name": field.name, "type": ["null", kinds[str(field.type)]]} for field in _batch(0, 1, _SEED).schema]
    records = (record for batch in batches(rows) for record in batch.to_pylist())
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as stream:
        fastavro.writer(stream, {"type": "record", "name": "row", "fields": fields}, records, codec="deflate")
    temporary.rename(path)
    return path


def write_tfrecord(path: pathlib.Path, rows: int) -> pathlib.Path:
    """Writes the table as TFRecord of tf.Example, unless it is there."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with open(temporary, "wb") as stream:
        for batch in batches(rows):
            for record in batch.to_pylist():
                stream.write(_framed(_example(record)))
    temporary.rename(path)
    return path


def _example(record: dict) -> bytes:
    entries = b""
    for name, value in record.items():
        if isinstance(value, str):
            inner = _part(1, _part(1, value.encode()))
        elif isinstance(value, float):
            inner = _part(2, _part(1, struct.pack("<f", value)))
        elif value is not None:
            inner = _part(3, _part(1, _varint(value % 2**64)))
        else:
            continue
        entries += _part(1, _part(1, name.encode()) + _part(2, inner))
    return _part(1, entries)


def _part(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", _masked(length)) + record + struct.pack("<I", _masked(record))


def _masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
