"""Parquet files that this version of pyarrow cannot read, read by DuckDB, in a connection that reaches that file alone.

Among them are DELTA_LENGTH_BYTE_ARRAY (all that DuckDB writes as version 2), half floats and string views.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.common import expressions, storage, stores
from headwater.components.common.arrow_types import canonical_schema, with_type
from headwater.components.common.errors import HeadwaterError

_BATCH_ROWS = 1 << 16
_CHUNK_BYTES = 1 << 22
_SETTINGS = ("SET arrow_large_buffer_size = false",)


def read_footer(uri: str, reason: str) -> tuple[pa.Schema, list[tuple[int, int]]]:
    """The columns, and the rows and bytes of each row group.

    Args:
      uri: the file.
      reason: why pyarrow cannot read it.

    Raises:
      HeadwaterError: DuckDB cannot read it either.
    """
    with _connect(uri, reason) as (connection, path):
        schema = connection.execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [path])
        schema = schema.fetch_record_batch(1).schema
        return schema, _groups(connection, path)


def _groups(connection: Any, path: str) -> list[tuple[int, int]]:
    """The rows and bytes of each row group."""
    return connection.execute(
        "SELECT any_value(row_group_num_rows), any_value(row_group_bytes) FROM parquet_metadata(?) "
        "GROUP BY row_group_id ORDER BY row_group_id",
        [path],
    ).fetchall()


def read_columns(uri: str) -> tuple[list[tuple[Any, ...]], list[tuple[int, int]], dict[bytes, bytes]] | None:
    """What a file says of itself.

    Args:
      uri: the file.

    Returns:
      Of each node of its schema name, physical, converted and logical type, repetition and number of parts; the rows and bytes of
      each row group; and its notes by key. None where DuckDB cannot read it.
    """
    try:
        with _connect(uri, "") as (connection, path):
            columns = connection.execute(
                "SELECT name, type, converted_type, logical_type, repetition_type, num_children FROM parquet_schema(?)",
                [path],
            ).fetchall()
            notes = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [path]).fetchall()
            return columns, _groups(connection, path), dict(notes)
    except HeadwaterError:
        return None


def read_rows(uri: str, start: int, rows: int, columns: Sequence[str], reason: str) -> Iterator[pa.RecordBatch]:
    """Rows [start, start + rows) of a file, counted from 0, in order.

    Args:
      uri: the file.
      start: the first row.
      rows: how many.
      columns: those wanted, in order.
      reason: why pyarrow cannot read it.

    Raises:
      HeadwaterError: DuckDB cannot read it either.
    """
    names = ", ".join('"{}"'.format(name.replace('"', '""')) for name in columns)
    query = (
        f"SELECT {names} FROM read_parquet(?, hive_partitioning = false, file_row_number = true) "
        "WHERE file_row_number >= ? AND file_row_number < ?"
    )
    with _connect(uri, reason) as (connection, path):
        reader = connection.execute(query, [path, start, start + rows]).fetch_record_batch(_BATCH_ROWS)
        for batch in reader:
            if batch.num_rows:
                schema = canonical_schema(batch.schema)
                arrays = [with_type(column, field.type) for column, field in zip(batch.columns, schema)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)


@contextlib.contextmanager
def _connect(uri: str, reason: str) -> Iterator[tuple[Any, str]]:
    import duckdb

    with _local(uri) as path, expressions.connect(1, (*_SETTINGS, allowing([path]))) as connection:
        try:
            yield connection, literal(path)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            other = str(error).replace(path, uri).splitlines()[0]
            raise HeadwaterError(
                f"{uri}: pyarrow {pa.__version__} cannot read this Parquet file ({reason}), nor can DuckDB "
                f"{duckdb.__version__} ({other}); if it is whole, write it with the types and encodings of Parquet 2.6"
            ) from None


def literal(path: str) -> str:
    """A path as DuckDB takes it for that of one file, and not for a pattern that others may match."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)


def allowing(paths: Iterable[str]) -> str:
    """The setting by which a connection without external access reads these files, by `literal`, and no others."""
    named = {each for path in paths for each in (path, literal(path))}
    return "SET allowed_paths = [{}]".format(
        ", ".join("'{}'".format(each.replace("'", "''")) for each in sorted(named))
    )


@contextlib.contextmanager
def _local(uri: str) -> Iterator[str]:
    """A path to the file; of one at a store, to a copy that is removed at the end."""
    if not stores.scheme(uri):
        yield uri
        return
    with tempfile.NamedTemporaryFile(suffix=".parquet", prefix="headwater-") as copy:
        with storage.open_input(uri) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                copy.write(chunk)
        copy.flush()
        yield copy.name
