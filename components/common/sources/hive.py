"""Columns that folders hold: `year=2024/month=01/a.csv`, as Hive lays out tables.

Only folders below what the user named count. A file that is named itself, and the fixed part of a glob, give no columns.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.types import cast_values

Partitions = tuple[tuple[str, str | None], ...]
"""The columns of one file with their values as text, in the path's order; None is a missing value."""

_MISSING = ("", "__HIVE_DEFAULT_PARTITION__")
# A number with a leading zero is a code, here as in a CSV.
_INTEGER = re.compile(r"0|-?[1-9]\d{0,17}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def partitions_of(path: str, left_out: Iterable[str] = ()) -> Partitions:
    """The columns that the folders of a path hold.

    Args:
      path: of a file, relative to what the user named.
      left_out: keys that are no columns.

    Raises:
      HeadwaterError: a key is there twice.
    """
    values: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        key, equals, value = folder.partition("=")
        key = urllib.parse.unquote(key)
        if not equals or not key or key in left_out:
            continue
        if key in values:
            raise HeadwaterError(f"{path}: the folder's key {key!r} appears twice; a column has one value per row")
        values[key] = None if value in _MISSING else urllib.parse.unquote(value)
    return tuple(values.items())


def types_of(partitions: Sequence[Partitions]) -> dict[str, pa.DataType]:
    """The type of each column over all files: int64, date32 or text, as DuckDB has it; `01` is text."""
    values: dict[str, list[str]] = {}
    for each in partitions:
        for name, value in each:
            values.setdefault(name, [])
            if value is not None:
                values[name].append(value)
    return {name: _type_of(texts) for name, texts in values.items()}


def constants(partitions: Partitions, kinds: Mapping[str, pa.DataType], uri: str) -> dict[str, pa.Scalar]:
    """A file's values of its columns, typed.

    Args:
      partitions: of the file.
      kinds: the columns' types.
      uri: the file's name, for errors.

    Raises:
      HeadwaterError: a value is not of its column's type.
    """
    scalars = {}
    for name, text in partitions:
        try:
            value = pa.array([text], pa.string())
            scalars[name] = value[0] if kinds[name] == pa.string() else _cast(value, kinds[name])[0]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise HeadwaterError(
                f"{uri}: the folder {name}={text} cannot be read as {kinds[name]}, the type of {name!r}"
            ) from None
    return scalars


def _type_of(values: Sequence[str]) -> pa.DataType:
    if values and all(_INTEGER.fullmatch(value) for value in values):
        return pa.int64()
    if values and all(_DATE.fullmatch(value) for value in values):
        try:
            _cast(pa.array(list(values)), pa.date32())
            return pa.date32()
        except pa.ArrowInvalid:
            pass
    return pa.string()


def _cast(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_date(kind):
        return pc.cast(pc.cast(texts, pa.timestamp("s")), kind)
    return cast_values(texts, kind)
