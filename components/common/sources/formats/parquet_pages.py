"""Pages of Parquet files, as far as it takes to tell those that pyarrow before 15 reads wrongly.

A page that is compressed as several gzip members is decoded from the first member alone, and the rest of its values are
zeros (apache/arrow issue 38271). A gzip member ends with the size of its content: where that is not the page's, there are
several. Page headers are structs of Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow.parquet as pq

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError

_UNCOMPRESSED, _COMPRESSED, _DATA_PAGE_V2 = 2, 3, 8
# Within a header of a data page of version 2: the levels, which are not compressed, and whether the values are.
_LEVELS, _IS_COMPRESSED = (5, 6), 7


def has_gzip_members(uri: str, metadata: pq.FileMetaData, groups: Iterable[int], columns: Collection[str]) -> bool:
    """Whether a page of some columns is compressed as several gzip members.

    Args:
      uri: the file.
      metadata: its footer.
      groups: the row groups to look at.
      columns: the columns to look at, by name.

    Raises:
      HeadwaterError: a page's header is damaged.
    """
    wanted = set(columns)
    for group in groups:
        row_group = metadata.row_group(group)
        for place in range(metadata.num_columns):
            chunk = row_group.column(place)
            if chunk.compression == "GZIP" and _is_of(chunk.path_in_schema, wanted):
                start = chunk.data_page_offset
                if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                    start = min(start, chunk.dictionary_page_offset)
                content = storage.read_range(uri, start, start + chunk.total_compressed_size)
                try:
                    if _has_members(content):
                        return True
                except (IndexError, KeyError, ValueError):
                    raise HeadwaterError(
                        f"{uri}: column {chunk.path_in_schema!r} has a damaged page header in row group {group}; write "
                        "the file again"
                    ) from None
    return False


def _is_of(path: str, columns: Collection[str]) -> bool:
    """Whether a path with dots is one of some columns or within one; names may have dots themselves."""
    steps = path.split(".")
    return any(".".join(steps[:count]) in columns for count in range(1, len(steps) + 1))


def _has_members(content: bytes) -> bool:
    place = 0
    while place < len(content):
        header, place = _read_struct(content, place)
        packed, size = header[_COMPRESSED], header[_UNCOMPRESSED]
        version_two = header.get(_DATA_PAGE_V2, {})
        levels = sum(version_two.get(field, 0) for field in _LEVELS)
        size -= levels
        compressed = size and packed > levels and version_two.get(_IS_COMPRESSED, True)
        if compressed and int.from_bytes(content[place + packed - 4 : place + packed], "little") != size % 2**32:
            return True
        if packed < 0:
            raise ValueError
        place += packed
    return False


def _read_struct(content: bytes, place: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    while kind := content[place]:
        place += 1
        if kind >> 4:
            number += kind >> 4
        else:
            number, place = _read_integer(content, place)
        fields[number], place = _read_value(content, place, kind & 15)
    return fields, place + 1


def _read_value(content: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, place
    if kind == 3:
        return content[place], place + 1
    if kind in (4, 5, 6):
        return _read_integer(content, place)
    if kind == 7:
        return None, place + 8
    if kind == 8:
        size, place = _read_varint(content, place)
        return None, place + size
    if kind == 12:
        return _read_struct(content, place)
    raise ValueError(f"a page header has no field of the kind {kind}")


def _read_integer(content: bytes, place: int) -> tuple[int, int]:
    value, place = _read_varint(content, place)
    return value >> 1 ^ -(value & 1), place


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
