"""Parquet files opened by DuckDB in the user's own process, which pyarrow could end on a damaged one.

DuckDB says less of a file than pyarrow reads from it. What both say alike are columns of numbers, truth, text, days and
moments that the file stores as what they are.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.common.arrow_types import canonical_schema
from headwater.components.common.expressions import fold
from headwater.components.common.sources.formats import parquet_duckdb

ROW_NUMBER = "file_row_number"
"""What DuckDB calls the number of a row in its file; it is read of no file that has such a column."""

# By physical and converted type.
_PLAIN: dict[tuple[str, str | None], pa.DataType] = {
    ("BOOLEAN", None): pa.bool_(),
    ("INT32", None): pa.int32(),
    ("INT64", None): pa.int64(),
    ("FLOAT", None): pa.float32(),
    ("DOUBLE", None): pa.float64(),
    ("INT32", "DATE"): pa.date32(),
    ("BYTE_ARRAY", "UTF8"): pa.string(),
    ("INT32", "INT_8"): pa.int8(),
    ("INT32", "INT_16"): pa.int16(),
    ("INT32", "INT_32"): pa.int32(),
    ("INT64", "INT_64"): pa.int64(),
    ("INT32", "UINT_8"): pa.uint8(),
    ("INT32", "UINT_16"): pa.uint16(),
    ("INT32", "UINT_32"): pa.uint32(),
    ("INT64", "UINT_64"): pa.uint64(),
}
_LOCAL = "TimestampType(isAdjustedToUTC=0,"
_SAME = ("IntType(", "DateType(", "StringType(")
_SCHEMA, _EXTENSION = b"ARROW:schema", b"ARROW:extension"


def read_footer(uri: str) -> tuple[pa.Schema, list[tuple[int, int]], tuple[tuple[str, pa.DataType], ...]] | None:
    """What the end of a file says of it.

    Args:
      uri: a local file.

    Returns:
      All columns, of the types that the file notes; the rows and bytes of each row group; and the columns that DuckDB reads as
      pyarrow does, which follows no other notes to the letter. None where pyarrow has to be asked.
    """
    found = parquet_duckdb.read_columns(uri)
    if found is None:
        return None
    columns, groups, about = found
    named = [(column[0], _kind(*column)) for column in _topmost(columns)]
    names = [name for name, _ in named]
    if len({fold(name) for name in names}) < len(names) or ROW_NUMBER in map(fold, names):
        return None
    declared = _declared(about.get(_SCHEMA))
    if declared is None:
        if _SCHEMA in about or None in (kind for _, kind in named):
            return None
        declared = pa.schema(named)
    if declared.names != names:
        return None
    return declared, groups, tuple((name, kind) for name, kind in named if kind == declared.field(name).type)


def _topmost(columns: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The file's own columns, of those that a Parquet schema lists: each is followed by its parts, the first is the file."""
    inside = 0
    for column in columns[1:]:
        if not inside:
            yield column
        inside += (column[5] or 0) - bool(inside)


def _kind(
    name: str, physical: str | None, converted: str | None, logical: str | None, repetition: str, children: int | None
) -> pa.DataType | None:
    """The type of a plain column; None for any other."""
    if converted == "TIMESTAMP_MICROS" and logical and logical.startswith(_LOCAL) and repetition != "REPEATED":
        return pa.timestamp("us")
    if children or repetition == "REPEATED" or (logical and not (converted and logical.startswith(_SAME))):
        return None
    return _PLAIN.get((physical or "", converted))


def _declared(content: bytes | None) -> pa.Schema | None:
    """The columns as Arrow's own note in a file has them; None where there is none, or it has extension types."""
    if content is None:
        return None
    try:
        plain = base64.b64decode(content)
        return None if _EXTENSION in plain else canonical_schema(pa.ipc.read_schema(pa.BufferReader(plain)))
    except (pa.ArrowException, OSError, ValueError):
        return None
