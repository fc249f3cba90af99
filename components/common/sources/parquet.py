"""Parquet files in ranges of row groups."""

from __future__ import annotations

import contextlib
from typing import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.extension_types import storage_batch

RANGE_BYTES = 16 << 20
"""Decoded bytes of the row groups that make one range; a larger row group is a range by itself."""

FIRST_ROW = 1
"""The number of a file's first row."""

_BATCH_ROWS = 1 << 17


@contextlib.contextmanager
def open_parquet(uri: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file, open for reading.

    Raises:
      HeadwaterError: it is empty, cut short, or no Parquet file; also when reading inside finds it damaged.
    """
    with storage.open_input(uri) as stream:
        if stream.size() == 0:
            raise HeadwaterError(f"{uri}: the file is empty (zero bytes); a Parquet file is never that short")
        try:
            yield _open(uri, stream)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0]
            raise HeadwaterError(f"{uri}: not a whole Parquet file; it may have been cut short: {reason}") from None


def read_footer(uri: str) -> tuple[pa.Schema, list[tuple[int, int, int]]]:
    """The schema, and the ranges as (first row group, one past the last, rows)."""
    with open_parquet(uri) as file:
        metadata = file.metadata
        ranges: list[tuple[int, int, int]] = []
        start = rows = size = 0
        for group in range(metadata.num_row_groups):
            info = metadata.row_group(group)
            if group > start and size + info.total_byte_size > RANGE_BYTES:
                ranges.append((start, group, rows))
                start, rows, size = group, 0, 0
            rows += info.num_rows
            size += info.total_byte_size
        if rows:
            ranges.append((start, metadata.num_row_groups, rows))
        return file.schema_arrow.remove_metadata(), ranges


def read_rows(
    uri: str, start: int, stop: int, first_row: int, columns: Sequence[str]
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """The rows of row groups [start, stop), batch by batch, with the number of each in the file, int64."""
    with open_parquet(uri) as file:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=range(start, stop), columns=list(columns)):
            yield storage_batch(batch), np.arange(first_row, first_row + batch.num_rows, dtype=np.int64)
            first_row += batch.num_rows


def _open(uri: str, stream: pa.NativeFile) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(stream)
    except (pa.ArrowException, OSError):
        raise
    except Exception as error:
        # Of the Python of an extension type that somebody registered, as pandas registers some.
        raise HeadwaterError(
            f"{uri}: the metadata of an extension type cannot be read: {type(error).__name__}: {error}"
        ) from None
