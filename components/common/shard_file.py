"""A shard's file: what its index says of it, and reading it whole or by columns, always checked.

Beside the SHA-256 of the whole file, the index holds a CRC-32 of each part: every column chunk, row group by row group,
and then the footer. So a few columns can be read by ranges, and an altered byte among them is still detected.
"""

from __future__ import annotations

import builtins
import dataclasses
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError

_TAIL_BYTES = 1 << 16
# Ranges that lie no farther apart are read as one: a request costs more than so many bytes.
_GAP_BYTES = 1 << 16
LENGTH_AND_MAGIC = 8


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a dataset: an element that can be read by itself.

    Attributes:
      uri: where it lies.
      rows: how many rows it has.
      bytes: its size.
      sha256: of the whole file.
      columns: how many columns it has.
      parts: CRC-32 of its parts, four bytes each as they lie in memory; empty where it is not known, and then the
        file is read whole.
    """

    uri: str
    rows: int
    bytes: int
    sha256: str
    columns: int
    parts: builtins.bytes = b""


def describe(content: bytes | pa.Buffer) -> dict[str, Any]:
    """What an index says of a file by its content: `bytes`, `sha256` and `parts`."""
    view = memoryview(content)
    ranges = _parts(pq.read_metadata(pa.BufferReader(content)), len(view))
    return {
        "bytes": len(view),
        "sha256": storage.sha256(content),
        "parts": [zlib.crc32(view[start:stop]) for start, stop in ranges],
    }


def read_shard(shard: Shard, columns: Sequence[str]) -> pa.Table:
    """The rows of a shard, of the columns that are named.

    Raises:
      HeadwaterError: the file is missing, or is not the one that was written.
    """
    try:
        if shard.parts and len(set(columns)) < shard.columns:
            content = _few(shard, columns)
        else:
            content = storage.read_bytes(shard.uri)
            if storage.sha256(content) != shard.sha256:
                raise _altered(shard)
    except HeadwaterError as error:
        if "no such file" in str(error):
            raise HeadwaterError(f"{error}; this dataset was removed or moved: run again with caching off") from None
        raise
    return pq.ParquetFile(pa.BufferReader(content)).read(columns=list(columns))


def _few(shard: Shard, columns: Sequence[str]) -> pa.Buffer:
    """The file with nothing but the columns' bytes and the footer in it."""
    sums = np.frombuffer(shard.parts, np.uint32)
    with storage.open_input(shard.uri) as stream:
        if stream.size() != shard.bytes:
            raise _altered(shard)
        start = max(0, shard.bytes - _TAIL_BYTES)
        stream.seek(start)
        tail = stream.read(shard.bytes - start)
        footer = int.from_bytes(tail[-LENGTH_AND_MAGIC:-4], "little") + LENGTH_AND_MAGIC
        if footer > shard.bytes:
            raise _altered(shard)
        if footer > len(tail):
            start = shard.bytes - footer
            stream.seek(start)
            tail = stream.read(footer)
        if zlib.crc32(tail[-footer:]) != sums[-1]:
            raise _altered(shard)
        # Pages that nobody writes to take no memory.
        content = np.zeros(shard.bytes, np.uint8)
        content[start:] = np.frombuffer(tail, np.uint8)
        metadata = pq.read_metadata(pa.BufferReader(tail[-footer:]))
        ranges = _parts(metadata, shard.bytes)
        chosen = np.flatnonzero(_wanted(metadata, set(columns))).tolist()
        for first, stop in _together([ranges[place] for place in chosen]):
            stream.seek(first)
            content[first:stop] = np.frombuffer(stream.read(stop - first), np.uint8)
    view = content.data
    for place in chosen:
        if zlib.crc32(view[slice(*ranges[place])]) != sums[place]:
            raise _altered(shard)
    return pa.py_buffer(content)


def _parts(metadata: pq.FileMetaData, size: int) -> list[tuple[int, int]]:
    """The ranges of bytes of all column chunks, and of the footer."""
    ranges = []
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for column in range(metadata.num_columns):
            chunk = row_group.column(column)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
                start = min(start, chunk.dictionary_page_offset)
            ranges.append((start, start + chunk.total_compressed_size))
    return [*ranges, (size - metadata.serialized_size - LENGTH_AND_MAGIC, size)]


def _wanted(metadata: pq.FileMetaData, columns: set[str]) -> np.ndarray:
    """Which column chunks belong to the columns; a nested column has several."""
    names = [metadata.schema.column(place).path.partition(".")[0] for place in range(metadata.num_columns)]
    # A name may hold a dot.
    full = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
    one = [
        name in columns or any(path == column or path.startswith(f"{column}.") for column in columns if "." in column)
        for name, path in zip(names, full)
    ]
    return np.tile(np.array(one, bool), metadata.num_row_groups)


def _together(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start - joined[-1][1] <= _GAP_BYTES:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _altered(shard: Shard) -> HeadwaterError:
    return HeadwaterError(
        f"{shard.uri}: the file was altered after it was written: its SHA-256 is not the recorded {shard.sha256}"
    )
