"""The container of an Avro file: its header, its blocks also where some are damaged, and their content unpacked."""

from __future__ import annotations

import bz2
import contextlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.formats.avro_columns import Node
from headwater.components.common.sources.formats.avro_schema import BLOCK_BYTES, compile_schema

_MAGIC = b"Obj\x01"
_MARKER_BYTES = 16
_HEADER_BYTES = 16 << 20
_BUFFER_BYTES = 4 << 20
_LONGEST_INTEGER = 10
_EMPTY_RECORDS = 1 << 16
_LIKELY_EXPANSION = 20
_CODECS = ("null", "deflate", "bzip2", "snappy", "zstandard")
CANNOT_UNPACK = (ValueError, OSError, pa.ArrowException)


class Block(NamedTuple):
    """A block as it lies in the file.

    Attributes:
      offset: of its header.
      start: of its data.
      stop: one past its data.
      records: how many its header says it has.
      lost: why one record more is rejected; None when nothing is.
      following: where reading goes on.
    """

    offset: int
    start: int
    stop: int
    records: int
    lost: str | None
    following: int


class _Window:
    """A file seen through one buffer."""

    def __init__(self, stream) -> None:
        self.size = stream.size()
        self._stream = stream
        self._start = 0
        self._data = b""

    def read(self, start: int, stop: int) -> bytes:
        """The bytes [start, stop); fewer at the end of the file."""
        stop = min(stop, self.size)
        if start >= stop:
            return b""
        if start < self._start or stop > self._start + len(self._data):
            self._stream.seek(start)
            self._start, self._data = start, self._stream.read(max(stop - start, _BUFFER_BYTES))
        return self._data[start - self._start : stop - self._start]

    def find(self, marker: bytes, start: int) -> int:
        """Where `marker` stands next, or -1."""
        while start + len(marker) <= self.size:
            data = self.read(start, start + _BUFFER_BYTES)
            place = data.find(marker)
            if place >= 0:
                return start + place
            start += max(len(data) - len(marker) + 1, 1)
        return -1


class Container(NamedTuple):
    window: _Window
    schema: pa.Schema
    node: Node
    columns: tuple[Node, ...]
    codec: str
    marker: bytes
    first_block: int


@contextlib.contextmanager
def open_container(uri: str) -> Iterator[Container]:
    with storage.open_input(uri) as stream:
        try:
            yield _read_header(uri, _Window(stream))
        except OSError as error:
            raise HeadwaterError(f"{uri}: cannot be read: {str(error).splitlines()[0]}") from None


def _read_header(uri: str, window: _Window) -> Container:
    if window.size == 0:
        raise HeadwaterError(f"{uri}: the file is empty (zero bytes); an Avro file never is")
    if window.read(0, len(_MAGIC)) != _MAGIC:
        raise HeadwaterError(f"{uri}: not an Avro object container file: it does not begin with the bytes Obj 1")
    try:
        metadata, place = _read_metadata(window)
    except (ValueError, IndexError):
        raise HeadwaterError(f"{uri}: the Avro header is damaged or cut short") from None
    marker = window.read(place, place + _MARKER_BYTES)
    if len(marker) < _MARKER_BYTES:
        raise HeadwaterError(f"{uri}: the Avro header is cut short")
    codec = metadata.get(b"avro.codec", b"null").decode("ascii", "replace")
    if codec not in _CODECS:
        raise HeadwaterError(f"{uri}: the Avro codec {codec[:40]!r} is not supported; use one of {', '.join(_CODECS)}")
    schema, node, columns = compile_schema(uri, metadata.get(b"avro.schema", b""))
    return Container(window, schema, node, columns, codec, marker, place + _MARKER_BYTES)


def _read_metadata(window: _Window) -> tuple[dict[bytes, bytes], int]:
    data = window.read(0, _HEADER_BYTES)
    metadata: dict[bytes, bytes] = {}
    place = len(_MAGIC)
    while True:
        count, place = _integer(data, place)
        if not count:
            return metadata, place
        if count < 0:
            _, place = _integer(data, place)
        for _ in range(abs(count)):
            key, place = _read_bytes(data, place)
            metadata[key], place = _read_bytes(data, place)


def _read_bytes(data: bytes, place: int) -> tuple[bytes, int]:
    size, place = _integer(data, place)
    if not 0 <= size <= len(data) - place:
        raise ValueError
    return data[place : place + size], place + size


def _integer(data: bytes, place: int) -> tuple[int, int]:
    """The zigzag integer at `place`, and where it ends; raises IndexError or ValueError where there is none."""
    value = 0
    for shift in range(0, 7 * _LONGEST_INTEGER, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value &= (1 << 64) - 1
            return (value >> 1) ^ -(value & 1), place
    raise ValueError


def iterate_blocks(container: Container, place: int, stop: int) -> Iterator[Block]:
    while place < stop:
        block = _find_block(container, place)
        yield block
        place = block.following


def _find_block(container: Container, place: int) -> Block:
    window, marker = container.window, container.marker
    header = _block_header(container, place)
    if header is None:
        position = window.find(marker, place)
        if position < 0:
            return Block(place, place, place, 0, _truncated(place), window.size)
        lost = f"corrupt_block: the header at byte {place:,} is damaged"
        return Block(place, place, place, 0, lost, position + _MARKER_BYTES)
    records, start, end = header
    after = end + _MARKER_BYTES
    # Where nothing but the marker is damaged, no record is lost.
    if window.read(end, after) == marker or after == window.size or _is_whole(container, after):
        return Block(place, start, end, _possible(container, records, start, end), None, after)
    position = window.find(marker, start)
    if position >= 0:
        stray = f"corrupt_block: there are bytes that belong to no block after byte {end:,}" if position > end else None
        return Block(
            place, start, position, _possible(container, records, start, position), stray, position + _MARKER_BYTES
        )
    if end <= window.size:
        return Block(place, start, end, _possible(container, records, start, end), _truncated(end), window.size)
    return Block(place, start, start, 0, _truncated(place), window.size)


def _block_header(container: Container, place: int) -> tuple[int, int, int] | None:
    """Number of records, first byte and end of the data; None where that cannot be."""
    data = container.window.read(place, place + 2 * _LONGEST_INTEGER)
    try:
        records, used = _integer(data, 0)
        size, used = _integer(data, used)
    except (IndexError, ValueError):
        return None
    if records < 0 or not 0 <= size <= BLOCK_BYTES:
        return None
    if records > _EMPTY_RECORDS and not container.node.smallest:
        return None
    return records, place + used, place + used + size


def _possible(container: Container, records: int, start: int, stop: int) -> int:
    """How many of the records that a header claims can be in a block's data."""
    smallest = container.node.smallest
    if not smallest or records * smallest <= stop - start:
        return records
    size = stop - start
    if container.codec != "null":
        size *= _LIKELY_EXPANSION
        with contextlib.suppress(*CANNOT_UNPACK):
            content, whole = unpack(container.window.read(start, stop), container.codec)
            size = len(content) if whole else size
    # A claim is a record at least, so that none is lost without a rejection.
    return max(1, min(records, size // smallest))


def _is_whole(container: Container, place: int) -> bool:
    header = _block_header(container, place)
    return header is not None and container.window.read(header[2], header[2] + _MARKER_BYTES) == container.marker


def _truncated(place: int) -> str:
    return f"truncated: no whole block follows after byte {place:,}"


def unpack(data: bytes, codec: str) -> tuple[bytes, bool]:
    """The content of a block, or what stands before any damage, and which it is; raises ValueError when too large."""
    whole = True
    if codec == "null":
        content = data
    elif codec == "deflate":
        content, whole = _unpack_stream(data, lambda: zlib.decompressobj(-15))
    elif codec == "bzip2":
        content, whole = _unpack_stream(data, bz2.BZ2Decompressor)
    elif codec == "zstandard":
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            content = stream.read(BLOCK_BYTES + 1)
    else:
        content = _unpack_snappy(data)
    if len(content) > BLOCK_BYTES:
        raise ValueError(f"unpacks to more than {BLOCK_BYTES >> 20} MiB")
    return content, whole


def _unpack_stream(data: bytes, make: Callable[[], Any]) -> tuple[bytes, bool]:
    unpacker = make()
    try:
        return unpacker.decompress(data, BLOCK_BYTES + 1), unpacker.eof
    except (zlib.error, OSError):
        pass
    unpacker, parts, size = make(), [], 0
    # An error takes the output of its call along, so the calls are small.
    step = max(1, len(data) >> 20)
    with contextlib.suppress(zlib.error, OSError, EOFError):
        for place in range(0, len(data), step):
            parts.append(unpacker.decompress(data[place : place + step], BLOCK_BYTES + 1 - size))
            size += len(parts[-1])
            if size > BLOCK_BYTES:
                break
    return b"".join(parts), False


def _unpack_snappy(data: bytes) -> bytes:
    # A snappy block begins with its unpacked size; Avro adds the CRC-32 of the content.
    packed, checksum = data[:-4], data[-4:]
    size = shift = place = 0
    while place < len(packed) and place < 5:
        size |= (packed[place] & 0x7F) << shift
        shift += 7
        place += 1
        if packed[place - 1] < 0x80:
            break
    if size > BLOCK_BYTES:
        raise ValueError(f"unpacks to more than {BLOCK_BYTES >> 20} MiB")
    if not place:
        raise ValueError("ends too early")
    content = pa.decompress(packed, size, "snappy", asbytes=True) if size else b""
    if zlib.crc32(content) != int.from_bytes(checksum, "big"):
        raise ValueError("has a wrong checksum")
    return content
