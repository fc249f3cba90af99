"""Avro object container files in ranges of whole blocks.

The container (header, blocks, sync markers) is read here, so that a damaged block costs itself and not the file;
fastavro decodes the records. It is given a schema of the same encoding without text and logical types: bytes and
numbers become columns first, and Arrow checks and converts whole columns. The format is that of the Apache Avro
specification 1.11, section "Object Container Files".
"""

from __future__ import annotations

import bz2
import contextlib
import functools
import gc
import io
import itertools
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.rejections import Rejection, clip
from headwater.components.common.sources.types import conform, widen

RANGE_BYTES = 16 << 20
"""Stored bytes of the blocks that make one range; a larger block is a range by itself."""

BLOCK_BYTES = 64 << 20
"""A block that is larger, stored or unpacked, is not decoded."""

FIRST_ROW = 1
"""The number of a file's first record."""

MOST_FIELDS = 20_000
"""A schema with more fields than that, nested ones and repeated types counted, is refused."""

_MAGIC = b"Obj\x01"
_MARKER_BYTES = 16
_HEADER_BYTES = 16 << 20
_BUFFER_BYTES = 4 << 20
_BATCH_ROWS = 1 << 14
_BATCH_BYTES = 8 << 20
_DEEPEST = 64
_LONGEST_INTEGER = 10
_EMPTY_RECORDS = 1 << 16
_LIKELY_EXPANSION = 20
_CODECS = ("null", "deflate", "bzip2", "snappy", "zstandard")
_DECIMAL_DIGITS = 38
_CANNOT_UNPACK = (ValueError, OSError, pa.ArrowException)

Batches = Iterator[tuple[pa.RecordBatch, np.ndarray, list[Rejection]]]


def read_schema(uri: str) -> pa.Schema:
    """The columns of a file, from the schema in its header.

    A union with null is its other type: every column may have missing values. Other unions have the type that
    `types.widen` finds, an int or long in a union with double becoming double. Enums are strings; timestamps are UTC,
    local ones have no zone; decimals of up to 38 digits are decimal128, others bytes. A logical type that is not
    known, or does not fit its type, is passed over, as the specification asks.

    Raises:
      HeadwaterError: this is no Avro file, its codec is unknown, its schema is no record, or a field has a type that
        no column can have: recursive, or a union that no type holds.
    """
    with _open(uri) as container:
        return container.schema


def find_ranges(uri: str) -> list[tuple[int, int, int]]:
    """The ranges as (first byte, one past the last, records), in order; all records of the file are in one.

    Records are counted by the blocks' headers, within what can be there: never more than the smallest possible
    records that fit into the block's content, and never fewer than one where a header claims any. (A packed block is
    unpacked for that only where its header claims more than its stored bytes would hold; where it cannot be, 20 times
    those bound it.) A header counts as one record, which is always rejected, when it holds a negative number, a block
    of more than `BLOCK_BYTES`, or more than 65,536 records that take no byte; reading goes on behind the next sync
    marker. A marker found later than the header says counts one record more, as blocks may be lost. What follows
    after the last marker that can be found counts as one record too.

    Raises:
      HeadwaterError: as `read_schema`.
    """
    ranges: list[tuple[int, int, int]] = []
    with _open(uri) as container:
        start, records = container.first_block, 0
        for block in _blocks(container, start, container.window.size):
            records += block.records + bool(block.lost)
            if block.following - start >= RANGE_BYTES:
                ranges.append((start, block.following, records))
                start, records = block.following, 0
        if records:
            ranges.append((start, container.window.size, records))
        elif ranges and start < container.window.size:
            ranges[-1] = (ranges[-1][0], container.window.size, ranges[-1][2])
    return [found for found in ranges if found[2]]


def read_rows(uri: str, start: int, stop: int, schema: pa.Schema, first_row: int) -> Batches:
    """The rows of one range.

    Args:
      uri: the file.
      start: first byte, from `find_ranges`.
      stop: one past the last.
      schema: of the file, from `read_schema`.
      first_row: the number of the range's first record in the file.

    Yields:
      A batch of `schema`; the number of each of its rows in the file, int64; and the records that could not be read.
      Records of a damaged block that stand before the damage are rows.
    """
    with _open(uri) as container:
        rows = _Rows(container, schema)
        for block in _blocks(container, start, stop):
            yield from rows.add(block, first_row)
            first_row += block.records + bool(block.lost)
        yield from rows.flush()


class _Node(NamedTuple):
    """How one type of a schema is read.

    Attributes:
      kind: the column's type.
      plain: for fastavro: encoded alike, without text, names or logical types.
      build: makes values that fastavro read, or None, a column; raises ArrowInvalid when it cannot hold one.
      smallest: the fewest bytes that a value takes.
    """

    kind: pa.DataType
    plain: Any
    build: Callable[[Sequence], pa.Array]
    smallest: int


class _Block(NamedTuple):
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


class _Container(NamedTuple):
    window: _Window
    schema: pa.Schema
    node: _Node
    columns: tuple[_Node, ...]
    codec: str
    marker: bytes
    first_block: int


@contextlib.contextmanager
def _open(uri: str) -> Iterator[_Container]:
    with storage.open_input(uri) as stream:
        try:
            yield _read_header(uri, _Window(stream))
        except OSError as error:
            raise HeadwaterError(f"{uri}: cannot be read: {str(error).splitlines()[0]}") from None


def _read_header(uri: str, window: _Window) -> _Container:
    if window.size == 0:
        raise HeadwaterError(f"{uri}: the file is empty (zero bytes); an Avro file is never that short")
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
        raise HeadwaterError(f"{uri}: the Avro codec {codec[:40]!r} is not read; use one of {', '.join(_CODECS)}")
    schema, node, columns = _compile(uri, metadata.get(b"avro.schema", b""))
    return _Container(window, schema, node, columns, codec, marker, place + _MARKER_BYTES)


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


def _blocks(container: _Container, place: int, stop: int) -> Iterator[_Block]:
    while place < stop:
        block = _find_block(container, place)
        yield block
        place = block.following


def _find_block(container: _Container, place: int) -> _Block:
    window, marker = container.window, container.marker
    header = _block_header(container, place)
    if header is None:
        found = window.find(marker, place)
        if found < 0:
            return _Block(place, place, place, 0, _truncated(place), window.size)
        lost = f"corrupt_block: the header at byte {place:,} is damaged"
        return _Block(place, place, place, 0, lost, found + _MARKER_BYTES)
    records, start, end = header
    after = end + _MARKER_BYTES
    # Where nothing but the marker is damaged, no record is lost.
    if window.read(end, after) == marker or after == window.size or _is_whole(container, after):
        return _Block(place, start, end, _possible(container, records, start, end), None, after)
    found = window.find(marker, start)
    if found >= 0:
        stray = f"corrupt_block: there are bytes that belong to no block after byte {end:,}" if found > end else None
        return _Block(place, start, found, _possible(container, records, start, found), stray, found + _MARKER_BYTES)
    if end <= window.size:
        return _Block(place, start, end, _possible(container, records, start, end), _truncated(end), window.size)
    return _Block(place, start, start, 0, _truncated(place), window.size)


def _block_header(container: _Container, place: int) -> tuple[int, int, int] | None:
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


def _possible(container: _Container, records: int, start: int, stop: int) -> int:
    """How many of the records that a header claims can be in a block's data."""
    smallest = container.node.smallest
    if not smallest or records * smallest <= stop - start:
        return records
    size = stop - start
    if container.codec != "null":
        size *= _LIKELY_EXPANSION
        with contextlib.suppress(*_CANNOT_UNPACK):
            content, whole = _unpack(container.window.read(start, stop), container.codec)
            size = len(content) if whole else size
    # A claim is a record at least, so that none is lost without a rejection.
    return max(1, min(records, size // smallest))


def _is_whole(container: _Container, place: int) -> bool:
    header = _block_header(container, place)
    return header is not None and container.window.read(header[2], header[2] + _MARKER_BYTES) == container.marker


def _truncated(place: int) -> str:
    return f"truncated: no whole block follows after byte {place:,}"


class _Rows:
    """Gathers the records of small blocks to batches."""

    def __init__(self, container: _Container, schema: pa.Schema) -> None:
        import fastavro

        self._container = container
        self._schema = schema
        self._plain = fastavro.parse_schema(container.node.plain)
        self._read = fastavro.schemaless_reader
        self._records: list[Any] = []
        self._rows: list[np.ndarray] = []
        self._rejections: list[Rejection] = []
        self._bytes = 0

    def add(self, block: _Block, row: int) -> Batches:
        end = row + block.records
        try:
            data, _ = _unpack(self._container.window.read(block.start, block.stop), self._container.codec)
        except _CANNOT_UNPACK as error:
            yield from self._reject(row, end, f"corrupt_block: the block at byte {block.offset:,} {_why(error)}")
        else:
            stream = io.BytesIO(data)
            while row < end:
                some = min(_BATCH_ROWS, end - row)
                read = self._decode(stream, some)
                self._rows.append(np.arange(row, row + read, dtype=np.int64))
                row += read
                if read < some:
                    reason = (
                        f"corrupt_block: the block at byte {block.offset:,} is damaged near its byte {stream.tell():,}"
                    )
                    yield from self._reject(row, end, reason)
                    break
                if len(self._records) >= _BATCH_ROWS:
                    yield from self.flush()
            self._bytes += len(data)
        if block.lost:
            self._rejections.append(Rejection(end, None, block.lost, None))
        if self._bytes >= _BATCH_BYTES:
            yield from self.flush()

    def flush(self) -> Batches:
        if not self._records and not self._rejections:
            return
        rows = np.concatenate(self._rows) if self._rows else np.array([], np.int64)
        batch, kept = _build_batch(self._records, self._container.columns, self._schema, rows, self._rejections)
        yield batch, rows[kept], sorted(self._rejections, key=lambda rejection: rejection.row)
        self._records, self._rows, self._rejections, self._bytes = [], [], [], 0

    def _decode(self, stream: io.BytesIO, count: int) -> int:
        """Reads up to `count` records; fewer where one is damaged."""
        read, plain, records = self._read, self._plain, self._records
        before = len(records)
        with _collector_at_rest():
            try:
                for _ in range(count):
                    records.append(read(stream, plain, None))
            except (
                EOFError,
                ValueError,
                IndexError,
                OverflowError,
                TypeError,
                struct.error,
                MemoryError,
                StopIteration,
            ):
                pass
        return len(records) - before

    def _reject(self, row: int, end: int, reason: str) -> Batches:
        # In parts: a hostile header may claim many records.
        for first in range(row, end, _BATCH_ROWS):
            numbers = range(first, min(end, first + _BATCH_ROWS))
            self._rejections += [Rejection(number, None, reason, None) for number in numbers]
            if len(self._rejections) >= _BATCH_ROWS:
                yield from self.flush()


@contextlib.contextmanager
def _collector_at_rest() -> Iterator[None]:
    # Records hold no cycles, and looking for some costs a fifth of the time.
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _why(error: Exception) -> str:
    return str(error) if type(error) is ValueError else "cannot be unpacked"


def _unpack(data: bytes, codec: str) -> tuple[bytes, bool]:
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


def _build_batch(
    records: Sequence[dict],
    columns: Sequence[_Node],
    schema: pa.Schema,
    rows: np.ndarray,
    rejections: list[Rejection],
) -> tuple[pa.RecordBatch, np.ndarray]:
    """The records as a batch without those that a column cannot hold; and the places of those kept."""
    bad = np.zeros(len(records), bool)
    arrays = []
    values = zip(*map(dict.values, records)) if records else itertools.repeat(())
    for field, node, column in zip(schema, columns, values):
        try:
            arrays.append(node.build(column))
        except _UNFIT:
            parts: list[pa.Array] = []
            places: list[tuple[int, str, str | None]] = []
            _build_part(node, column, 0, parts, places)
            arrays.append(pa.concat_arrays(parts))
            for place, reason, value in places:
                # A row is rejected once, for the first column that fails.
                if not bad[place]:
                    rejections.append(Rejection(int(rows[place]), field.name, reason, value))
                bad[place] = True
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
    if bad.any():
        batch = batch.filter(pa.array(~bad))
    return batch, np.flatnonzero(~bad)


_UNFIT = (pa.ArrowInvalid, OverflowError, ValueError)


def _build_part(
    node: _Node, column: Sequence, start: int, parts: list[pa.Array], places: list[tuple[int, str, str | None]]
) -> None:
    # Halving finds few bad values among many in few steps.
    try:
        parts.append(node.build(column))
        return
    except _UNFIT:
        pass
    if len(column) == 1:
        parts.append(pa.nulls(1, node.kind))
        text = pa.types.is_string(node.kind) and isinstance(column[0], bytes)
        value = clip(str(column[0])) if isinstance(column[0], (int, float)) else None
        places.append((start, "encoding: not UTF-8" if text else f"type: not {node.kind}", value))
        return
    half = len(column) // 2
    _build_part(node, column[:half], start, parts, places)
    _build_part(node, column[half:], start + half, parts, places)


def _compile(uri: str, text: bytes) -> tuple[pa.Schema, _Node, tuple[_Node, ...]]:
    try:
        definition = json.loads(text.decode())
        # Half of a surrogate pair is no character, and no name of a column.
        json.dumps(definition, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise HeadwaterError(f"{uri}: the schema in the Avro header is not JSON in UTF-8") from None
    compiler = _Compiler(uri)
    if not isinstance(definition, dict) or definition.get("type") not in ("record", "error"):
        raise HeadwaterError(f"{uri}: the Avro schema is no record; a table's rows are records with named fields")
    node = compiler.compile(definition, "", "", 0)
    if not node.kind.num_fields:
        raise HeadwaterError(f"{uri}: the Avro schema's record has no fields; name at least one")
    return pa.schema(list(node.kind)), node, compiler.columns


class _Compiler:
    """Turns a parsed schema into nodes."""

    def __init__(self, uri: str) -> None:
        self.columns: tuple[_Node, ...] = ()
        self._uri = uri
        self._named: dict[str, tuple[dict, str]] = {}
        self._open: set[str] = set()
        self._count = 0

    def compile(self, definition: Any, path: str, namespace: str, depth: int) -> _Node:
        self._count += 1
        if self._count > MOST_FIELDS:
            raise HeadwaterError(f"{self._uri}: the Avro schema has more than {MOST_FIELDS:,} fields")
        if depth > _DEEPEST:
            raise self._refuse(path, f"is nested more than {_DEEPEST} deep")
        if isinstance(definition, list):
            return self._union(definition, path, namespace, depth)
        if isinstance(definition, str):
            return self._by_name(definition, {}, path, namespace, depth)
        if not isinstance(definition, dict):
            raise self._refuse(path, "has no type that Avro knows")
        kind = definition.get("type")
        if kind in ("record", "error"):
            return self._record(definition, path, namespace, depth)
        if kind in ("enum", "fixed"):
            self._name(definition, path, namespace)
            return self._enum(definition, path) if kind == "enum" else self._fixed(definition, path)
        if kind == "array":
            return self._array(definition, path, namespace, depth)
        if kind == "map":
            return self._map(definition, path, namespace, depth)
        if isinstance(kind, str):
            return self._by_name(kind, definition, path, namespace, depth)
        return self.compile(kind, path, namespace, depth + 1)

    def _refuse(self, path: str, problem: str) -> HeadwaterError:
        place = f"the field {path!r}" if path else "the record"
        return HeadwaterError(f"{self._uri}: {place} of the Avro schema {problem}")

    def _by_name(self, name: str, definition: dict, path: str, namespace: str, depth: int) -> _Node:
        if name in _PRIMITIVES:
            return _primitive(name, definition)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        full = full if full in self._named else name
        if full in self._open:
            raise self._refuse(path, f"is of the type {name!r} that it is part of; no column can hold a recursive type")
        if full not in self._named:
            raise self._refuse(path, f"is of the type {name!r}, which is not defined")
        known, around = self._named[full]
        return self.compile(known, path, around, depth + 1)

    def _name(self, definition: dict, path: str, namespace: str) -> tuple[str, str]:
        """Records a named type; its full name and the namespace of what it holds."""
        name, own = definition.get("name"), definition.get("namespace", namespace)
        if not isinstance(name, str) or not name or not isinstance(own, str):
            raise self._refuse(path, "is of a type without a name")
        full = name if "." in name or not own else f"{own}.{name}"
        if full in self._open or (full in self._named and self._named[full][0] is not definition):
            raise self._refuse(path, f"defines the type {full!r} a second time")
        self._named[full] = (definition, namespace)
        return full, full.rpartition(".")[0]

    def _record(self, definition: dict, path: str, namespace: str, depth: int) -> _Node:
        full, inner = self._name(definition, path, namespace)
        fields = definition.get("fields")
        if not isinstance(fields, list) or not all(
            isinstance(field, dict) and isinstance(field.get("name"), str) and field["name"] and "type" in field
            for field in fields
        ):
            raise self._refuse(path, "is a record whose fields do not each have a name and a type")
        names = [field["name"] for field in fields]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise self._refuse(f"{path}.{twice[0]}".lstrip("."), "is there twice")
        self._open.add(full)
        nodes = tuple(
            self.compile(field["type"], f"{path}.{field['name']}".lstrip("."), inner, depth + 1) for field in fields
        )
        self._open.discard(full)
        if not depth:
            self.columns = nodes
        kind = pa.struct([pa.field(name, node.kind) for name, node in zip(names, nodes)])
        plain = self._plain_record([node.plain for node in nodes])
        return _Node(kind, plain, functools.partial(_build_struct, kind, nodes), sum(node.smallest for node in nodes))

    def _plain_record(self, kinds: Sequence[Any]) -> dict:
        self._count += 1
        fields = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]
        return {"type": "record", "name": f"r{self._count}", "fields": fields}

    def _enum(self, definition: dict, path: str) -> _Node:
        symbols = definition.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise self._refuse(path, "is an enum without symbols")
        return _Node(pa.string(), "int", functools.partial(_build_enum, pa.array(symbols, pa.string())), 1)

    def _fixed(self, definition: dict, path: str) -> _Node:
        size = definition.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= BLOCK_BYTES:
            raise self._refuse(path, f"is fixed without a size from 1 to {BLOCK_BYTES:,}")
        self._count += 1
        plain = {"type": "fixed", "name": f"r{self._count}", "size": size}
        kind = _decimal(definition)
        if kind is None:
            return _Node(pa.binary(size), plain, functools.partial(_build_leaf, pa.binary(size)), size)
        return _Node(kind, plain, functools.partial(_build_decimal, kind), size)

    def _array(self, definition: dict, path: str, namespace: str, depth: int) -> _Node:
        item = self.compile(definition.get("items"), f"{path}[]", namespace, depth + 1)
        if not item.smallest:
            # A few bytes could ask for any number of them.
            raise self._refuse(path, "is an array of items that hold nothing")
        kind = pa.list_(item.kind)
        return _Node(kind, {"type": "array", "items": item.plain}, functools.partial(_build_list, kind, item), 1)

    def _map(self, definition: dict, path: str, namespace: str, depth: int) -> _Node:
        value = self.compile(definition.get("values"), f"{path}[]", namespace, depth + 1)
        kind = pa.map_(pa.string(), value.kind)
        # A map is encoded as an array of pairs; read so, a key that is no text costs its record alone.
        plain = {"type": "array", "items": self._plain_record(["bytes", value.plain])}
        return _Node(kind, plain, functools.partial(_build_map, kind, value), 1)

    def _union(self, definition: list, path: str, namespace: str, depth: int) -> _Node:
        nodes = [self.compile(branch, path, namespace, depth + 1) for branch in definition]
        if not nodes:
            raise self._refuse(path, "is a union of no types")
        smallest = 1 + min(node.smallest for node in nodes)
        full = [node for node in nodes if not pa.types.is_null(node.kind)]
        if len(full) < 2:
            only = full[0] if full else nodes[0]
            return _Node(only.kind, [node.plain for node in nodes], only.build, smallest)
        kind = functools.reduce(lambda one, two: one and widen(one, two), [node.kind for node in full])
        if kind is None:
            kinds = ", ".join(str(node.kind) for node in full)
            raise self._refuse(path, f"is a union that no one type holds: {kinds}")
        # A record of one field is encoded as the field, and tells which branch it is.
        plain = [node.plain if pa.types.is_null(node.kind) else self._plain_record([node.plain]) for node in nodes]
        branches = {}
        for node, wrapped in zip(nodes, plain):
            if not pa.types.is_null(node.kind):
                wrapped["fields"][0]["name"] = wrapped["name"]
                branches[wrapped["name"]] = node
        return _Node(kind, plain, functools.partial(_build_union, kind, branches), smallest)


def _build_leaf(kind: pa.DataType, values: Sequence) -> pa.Array:
    return pa.array(values, kind)


def _build_null(values: Sequence) -> pa.Array:
    return pa.nulls(len(values))


def _build_text(values: Sequence) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string())


def _build_view(storage_kind: pa.DataType, kind: pa.DataType, values: Sequence) -> pa.Array:
    return pa.array(values, storage_kind).view(kind)


def _build_time(storage_kind: pa.DataType, kind: pa.DataType, a_day: int, values: Sequence) -> pa.Array:
    numbers = pa.array(values, storage_kind)
    span = pc.min_max(numbers).as_py()
    if span["min"] is not None and not 0 <= span["min"] <= span["max"] < a_day:
        raise ValueError
    return numbers.view(kind)


def _build_decimal(kind: pa.DataType, values: Sequence) -> pa.Array:
    bound = 10**kind.precision
    parts = []
    for value in values:
        number = 0 if value is None else int.from_bytes(value, "big", signed=True)
        if not -bound < number < bound:
            raise ValueError
        parts.append(number.to_bytes(16, "little", signed=True))
    validity, missing = _validity(values)
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(b"".join(parts))], missing)


def _build_enum(symbols: pa.Array, values: Sequence) -> pa.Array:
    places = pa.array(values, pa.int64())
    span = pc.min_max(places).as_py()
    if span["min"] is not None and not 0 <= span["min"] <= span["max"] < len(symbols):
        raise ValueError
    return symbols.take(places)


def _build_struct(kind: pa.DataType, nodes: Sequence[_Node], values: Sequence) -> pa.Array:
    empty = (None,) * len(nodes)
    columns = zip(*[empty if value is None else value.values() for value in values]) if values else ((),) * len(nodes)
    children = [node.build(column) for node, column in zip(nodes, columns)]
    validity, missing = _validity(values)
    return pa.Array.from_buffers(kind, len(values), [validity], missing, children=children)


def _build_list(kind: pa.DataType, item: _Node, values: Sequence) -> pa.Array:
    items = list(itertools.chain.from_iterable(value for value in values if value))
    validity, missing = _validity(values)
    buffers = [validity, _offsets(values)]
    return pa.Array.from_buffers(kind, len(values), buffers, missing, children=[item.build(items)])


def _build_map(kind: pa.DataType, item: _Node, values: Sequence) -> pa.Array:
    # A key that comes again replaces the earlier value.
    maps = [None if value is None else dict(tuple(pair.values()) for pair in value) for value in values]
    keys = _build_text(list(itertools.chain.from_iterable(value.keys() for value in maps if value)))
    items = item.build(list(itertools.chain.from_iterable(value.values() for value in maps if value)))
    pairs = pa.struct([kind.key_field.with_nullable(False), kind.item_field])
    entries = pa.Array.from_buffers(pairs, len(keys), [None], 0, children=[keys, items])
    validity, missing = _validity(maps)
    return pa.Array.from_buffers(kind, len(maps), [validity, _offsets(maps)], missing, children=[entries])


def _build_union(kind: pa.DataType, branches: dict[str, _Node], values: Sequence) -> pa.Array:
    taken: dict[str, list] = {name: [] for name in branches}
    names = list(branches)
    places: list[tuple[str, int] | None] = []
    for value in values:
        if value is None:
            places.append(None)
        else:
            [(name, inner)] = value.items()
            places.append((name, len(taken[name])))
            taken[name].append(inner)
    starts = dict(zip(names, np.cumsum([0, *(len(taken[name]) for name in names)]).tolist()))
    parts = [conform(branches[name].build(taken[name]), kind) for name in names]
    index = [None if place is None else starts[place[0]] + place[1] for place in places]
    return pa.concat_arrays(parts).take(pa.array(index, pa.int64()))


def _validity(values: Sequence) -> tuple[pa.Buffer | None, int]:
    valid = np.fromiter((value is not None for value in values), bool, len(values))
    missing = len(values) - int(valid.sum())
    return (pa.py_buffer(np.packbits(valid, bitorder="little").tobytes()) if missing else None), missing


def _offsets(values: Sequence) -> pa.Buffer:
    lengths = np.fromiter((len(value) if value else 0 for value in values), np.int64, len(values))
    return pa.py_buffer(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32).tobytes())


def _decimal(definition: dict) -> pa.DataType | None:
    if definition.get("logicalType") != "decimal":
        return None
    precision, scale = definition.get("precision"), definition.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int):
        return None
    # More digits than decimal128 has stay bytes.
    return pa.decimal128(precision, scale) if 0 < precision <= _DECIMAL_DIGITS and 0 <= scale <= precision else None


def _primitive(name: str, definition: dict) -> _Node:
    kind, plain, build, smallest = _PRIMITIVES[name]
    logical = definition.get("logicalType")
    if name == "bytes" and (decimal := _decimal(definition)):
        return _Node(decimal, plain, functools.partial(_build_decimal, decimal), smallest)
    if not isinstance(logical, str) or (name, logical) not in _LOGICAL:
        return _Node(kind, plain, build, smallest)
    found = _LOGICAL[name, logical]
    if logical.startswith("time-"):
        a_day = 86_400 * (1_000 if name == "int" else 1_000_000)
        return _Node(found, plain, functools.partial(_build_time, kind, found, a_day), smallest)
    return _Node(found, plain, functools.partial(_build_view, kind, found), smallest)


def _leaf(kind: pa.DataType, plain: str, smallest: int) -> _Node:
    return _Node(kind, plain, functools.partial(_build_leaf, kind), smallest)


_PRIMITIVES = {
    "null": _Node(pa.null(), "null", _build_null, 0),
    "boolean": _leaf(pa.bool_(), "boolean", 1),
    "int": _leaf(pa.int32(), "int", 1),
    "long": _leaf(pa.int64(), "long", 1),
    "float": _leaf(pa.float32(), "float", 4),
    "double": _leaf(pa.float64(), "double", 8),
    "bytes": _leaf(pa.binary(), "bytes", 1),
    "string": _Node(pa.string(), "bytes", _build_text, 1),
}
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    **{
        ("long", f"{local}timestamp-{name}"): pa.timestamp(unit, None if local else "UTC")
        for name, unit in (("millis", "ms"), ("micros", "us"), ("nanos", "ns"))
        for local in ("", "local-")
    },
}
