"""Tables of pandas, polars or Arrow where a dataset is asked for: written to a Parquet file, the same bytes for the same
table, which lasts as long as this process."""

from __future__ import annotations

import atexit
import functools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError

Tabular: TypeAlias = Any
"""A path, a URI or a result; or a table of pandas, polars or Arrow."""

DESCRIPTION = "a table in memory"
"""What lineage calls them; their SHA-256 stands beside it."""

_PREFIX = "headwater-tables-"


def as_uri(given: Tabular, name: str = "dataset") -> str:
    """The path or URI that was given, or that of a file with the table that was.

    Args:
      given: a path, a URI, or a table of pandas, polars or Arrow.
      name: the argument's, for errors.

    Raises:
      HeadwaterError: it is neither, or the table has a column that Parquet cannot hold.
    """
    if isinstance(given, (str, os.PathLike)):
        return os.fspath(given)
    table = as_arrow(given, name)
    target = pathlib.Path(_folder(), "new.parquet")
    try:
        pq.write_table(table.replace_schema_metadata(None), target, version="2.6")
    except (pa.ArrowException, ValueError) as error:
        raise HeadwaterError(f"{name}: the table cannot be written as Parquet: {error}") from None
    final = target.with_name(f"{storage.sha256(target.read_bytes())}.parquet")
    os.replace(target, final)
    return str(final)


def as_uris(given: Tabular, name: str = "source") -> list[str]:
    """As `as_uri`, of one or of several."""
    several = isinstance(given, (list, tuple, set)) or (isinstance(given, Iterable) and not _is_one(given))
    return [as_uri(each, name) for each in given] if several else [as_uri(given, name)]


def named(uri: str) -> str:
    """`uri`, or what lineage calls the table that lies there."""
    folder, _, file = uri.rpartition("/")
    if not os.path.basename(folder).startswith(_PREFIX):
        return uri
    return f"{DESCRIPTION} (SHA-256 {file.removesuffix('.parquet')})"


def _is_one(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike, pa.Table, pa.RecordBatch)) or any(
        hasattr(given, name) for name in ("to_arrow", "iloc", "__arrow_c_stream__")
    )


def as_arrow(given: Any, name: str) -> pa.Table:
    """A table of pandas, polars or Arrow as Arrow's.

    Args:
      given: the table.
      name: the argument's, for errors.

    Raises:
      HeadwaterError: it is none, or cannot be read.
    """
    if isinstance(given, pa.Table):
        return given
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    package = type(given).__module__.partition(".")[0]
    try:
        if package == "polars":
            return (given.collect() if hasattr(given, "collect") else given).to_arrow()
        if package == "pandas":
            # An index that somebody named holds data.
            kept = given.reset_index() if any(label is not None for label in given.index.names) else given
            return pa.Table.from_pandas(kept, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise HeadwaterError(f"{name}: the table cannot be read: {error}") from None
    raise HeadwaterError(
        f"{name}: must be a path or URI, or a table of pandas, polars or Arrow; given: {type(given).__name__}"
    )


@functools.cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix=_PREFIX)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
