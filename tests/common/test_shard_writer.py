"""A shard's file as any reader sees it, whether its text came as dictionaries or not."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from headwater.components.common import hashing
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.shard_writer import ShardWriter

ROWS = 6_000
SCHEMA = pa.schema(
    [
        pa.field("word", pa.string()),
        pa.field("rare", pa.string(), metadata={"unit": "none"}),
        pa.field("declared", pa.dictionary(pa.int32(), pa.string())),
        pa.field("number", pa.float64()),
        pa.field("when", pa.timestamp("us", "UTC")),
    ],
    {"of": "a test"},
)


def batch_of(seed: int = 0, distinct: int = 50) -> pa.RecordBatch:
    chance = np.random.default_rng(seed)
    numbers = chance.integers(0, distinct, ROWS)
    words = pa.array([f"w{number}" for number in numbers], mask=chance.random(ROWS) < 0.1)
    columns = [
        words,
        pa.array([f"{seed}-{number}" for number in range(ROWS)]),
        pa.array([f"d{number % 5}" for number in numbers]).dictionary_encode(),
        pa.array(chance.normal(size=ROWS)),
        pa.array(numbers).cast(pa.timestamp("us", "UTC")),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def encoded(batch: pa.RecordBatch, *names: str) -> pa.RecordBatch:
    columns = [
        column.dictionary_encode() if name in names else column
        for name, column in zip(batch.schema.names, batch.columns)
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def written(*batches: pa.RecordBatch, schema: pa.Schema = SCHEMA) -> tuple[pa.Buffer, dict]:
    writer = ShardWriter(schema)
    for batch in batches:
        writer.write(batch, hashing.hash_rows(batch.columns))
    return writer.close()


@pytest.mark.parametrize("names", [["word"], ["word", "rare"], []])
def test_a_file_is_of_its_schema_whatever_was_a_dictionary(tmp_path, names):
    batches = [batch_of(), batch_of(1)]
    content, told = written(*(encoded(batch, *names) for batch in batches))
    (tmp_path / "shard.parquet").write_bytes(content)
    expected = pa.Table.from_batches(batches)
    found = pq.read_table(tmp_path / "shard.parquet")
    assert found.schema.equals(SCHEMA, check_metadata=True) and found.equals(expected)
    assert ds.dataset(tmp_path / "shard.parquet").to_table().equals(expected)
    plain, other = written(*batches)
    assert told["digest"] == other["digest"] and pq.read_metadata(pa.BufferReader(plain)).num_rows == 2 * ROWS
    assert (
        duckdb.sql(f"SELECT word, rare, number FROM '{tmp_path}/shard.parquet'")
        .fetch_arrow_table()
        .equals(expected.select(["word", "rare", "number"]))
    )


def test_batches_differ_in_what_is_a_dictionary():
    batches = [batch_of(), batch_of(1), batch_of(2, distinct=4_000)]
    content, _ = written(encoded(batches[0], "word"), batches[1], encoded(batches[2], "word", "rare"))
    assert pq.read_table(pa.BufferReader(content)).equals(pa.Table.from_batches(batches))


@pytest.mark.parametrize("missing", [False, True])
def test_a_dictionary_holds_no_value_of_rows_that_went_elsewhere(missing):
    words = pa.array(["secret", "kept", "kept", None if missing else "kept", "hidden"] * ROWS).dictionary_encode()
    batch = pa.RecordBatch.from_arrays([words], ["word"])
    kept = batch.filter(pa.array([False, True, True, True, False] * ROWS))
    content, _ = written(kept.slice(3), schema=pa.schema([("word", pa.string())]))
    assert b"kept" in content.to_pybytes()
    assert b"secret" not in content.to_pybytes() and b"hidden" not in content.to_pybytes()
    assert pq.read_table(pa.BufferReader(content))["word"].null_count == (ROWS - 1 if missing else 0)


def test_the_smallest_and_largest_value_are_those_of_the_rows():
    words = pa.array(["a", "m", "m", "n", None, "z"] * ROWS).dictionary_encode()
    batch = pa.RecordBatch.from_arrays([words], ["word"]).filter(
        pa.array([False, True, True, True, True, False] * ROWS)
    )
    content, _ = written(batch, schema=pa.schema([("word", pa.string())]))
    column = pq.read_metadata(pa.BufferReader(content)).row_group(0).column(0)
    assert (column.statistics.min, column.statistics.max, column.statistics.null_count) == ("m", "n", ROWS)
    assert column.has_dictionary_page


def test_what_is_no_small_dictionary_is_written_plainly():
    many = pa.array([f"{number:0400}" for number in range(ROWS)])
    content, _ = written(
        pa.RecordBatch.from_arrays([many.dictionary_encode()], ["word"]), schema=pa.schema([("word", pa.string())])
    )
    column = pq.read_metadata(pa.BufferReader(content)).row_group(0).column(0)
    assert "PLAIN" in column.encodings and pq.read_table(pa.BufferReader(content))["word"].combine_chunks().equals(many)


def test_a_schema_among_the_values_is_left_alone():
    entry = b"\x18\x0cARROW:schema\x18".decode()
    words = pa.array([entry, "zz", ""] * ROWS)
    batch = pa.RecordBatch.from_arrays([words.dictionary_encode()], ["word"])
    content, _ = written(batch, schema=pa.schema([("word", pa.string())]))
    assert pq.read_table(pa.BufferReader(content))["word"].combine_chunks().equals(words)


def test_what_is_read_back_otherwise_is_refused(monkeypatch):
    writer = ShardWriter(SCHEMA)
    writer.write(encoded(batch_of(), "word"), np.zeros(ROWS, np.uint64))
    monkeypatch.setattr(writer, "_first", encoded(batch_of(7), "word"))
    with pytest.raises(HeadwaterError, match="column 'word' is string, which pyarrow .* does not read back"):
        writer.close()
