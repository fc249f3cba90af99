"""TFRecord files of tf.Example in ranges of whole records, without TensorFlow.

A record is its length (uint64), a checksum of that, the data, and a checksum of the data, all little-endian; the
checksums are masked CRC-32C (tensorflow/core/lib/io/record_writer.h). A key of the examples is a column:

- int64 lists are int64, float lists float32, bytes lists string where all values are UTF-8 and binary otherwise;
- integers and floats in one column make float64; numbers and text make text, the numbers as Python writes them;
  numbers and bytes that are not UTF-8 make binary, the numbers as that text;
- a key that never has more than one value in a record is a scalar, and missing where it has none; any other is a
  list, and empty where it has none. A key without a list of any kind is missing.
"""

from __future__ import annotations

import contextlib
import functools
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.files import Element
from headwater.components.common.sources.formats import example
from headwater.components.common.sources.formats.base import Format, Outline, Rows
from headwater.components.common.sources.formats.tfrecord_columns import Chunk, build_batch, kinds_of, widen_types

RANGE_BYTES = 16 << 20
"""Bytes of the records that make one range; a longer record is a range by itself."""

RECORD_BYTES = 64 << 20
"""A longer record is rejected."""

_PIECE_BYTES = 4 << 20
_HEAD_BYTES = 12
_FRAME_BYTES = 16
_MASK_DELTA = 0xA282EAD8
_CRC32C_POLYNOMIAL = 0x82F63B78


def find_ranges(uri: str) -> list[tuple[int, int, int]]:
    """The ranges as (first byte, one past the last, records), in order; all records of the file are in one.

    What follows a damaged length, or is cut short at the end, counts as one record.
    """
    ranges: list[tuple[int, int, int]] = []
    with _open(uri) as stream:
        start = records = place = 0
        for piece in _pieces(stream, 0, stream.size(), content=False):
            records += len(piece.starts) + bool(piece.lost)
            place = piece.stop
            if place - start >= RANGE_BYTES - _PIECE_BYTES // 2:
                ranges.append((start, place, records))
                start, records = place, 0
        if records:
            ranges.append((start, place, records))
    return ranges


def infer_types(uri: str, start: int, stop: int) -> dict[str, pa.DataType]:
    """Infers the columns' types from one range, by the rules above; null where a key has no value.

    Records that will be rejected have no say.
    """
    kinds: dict[str, pa.DataType] = {}
    with _open(uri) as stream:
        for piece in _pieces(stream, start, stop):
            chunk = _read_chunk(piece)
            for name, kind in kinds_of(chunk):
                kinds[name] = widen_types(kinds[name], kind) if name in kinds else kind
    return kinds


def read_rows(uri: str, start: int, stop: int, schema: pa.Schema, first_row: int) -> Iterator[Rows]:
    """The rows of one range.

    Args:
      uri: the file.
      start: first byte, from `find_ranges`.
      stop: one past the last.
      schema: the columns, of types that `infer_types` and `widen_types` give; other keys are not read.
      first_row: the number of the range's first record in the file.

    Yields:
      A batch of `schema`; the number of each of its rows in the file, int64; and the records that could not be read,
      or hold a value that the column's type cannot: several values in a scalar, an integer that float64 rounds.
    """
    with _open(uri) as stream:
        for piece in _pieces(stream, start, stop):
            chunk = _read_chunk(piece)
            yield build_batch(chunk, schema, first_row)
            first_row += chunk.records


class _Piece(NamedTuple):
    """Some consecutive records of a file.

    Attributes:
      offset: of the piece in the file.
      data: its bytes; empty where only the framing is asked for.
      starts: where each record's length stands in it, int64.
      lengths: of the records' data, int64.
      lost: why what follows is one more, rejected record; None when nothing is lost.
      stop: where reading goes on in the file.
    """

    offset: int
    data: bytes
    starts: np.ndarray
    lengths: np.ndarray
    lost: str | None
    stop: int


@contextlib.contextmanager
def _open(uri: str) -> Iterator[pa.NativeFile]:
    with storage.open_input(uri) as stream:
        try:
            yield stream
        except OSError as error:
            raise HeadwaterError(f"{uri}: cannot be read: {str(error).splitlines()[0]}") from None


def _pieces(stream: pa.NativeFile, place: int, stop: int, content: bool = True) -> Iterator[_Piece]:
    nothing = np.zeros(0, np.int64)
    while place < stop:
        stream.seek(place)
        data = stream.read(min(_PIECE_BYTES, stop - place))
        starts, lengths, used = _frame(data)
        if len(starts):
            yield _Piece(place, data if content else b"", starts, lengths, None, place + used)
            place += used
            continue
        head = data[:_HEAD_BYTES]
        if len(head) == _HEAD_BYTES and not _heads_hold(np.frombuffer(head, np.uint8)[None, :])[0]:
            lost = (
                f"damaged_length: the length at byte {place:,} has a wrong checksum, so the records after it cannot "
                "be found"
            )
            yield _Piece(place, b"", nothing, nothing, lost, stop)
            return
        length = int.from_bytes(head[:8], "little")
        if len(head) < _HEAD_BYTES or length + _FRAME_BYTES > stop - place:
            lost = f"truncated: the file ends inside the record at byte {place:,}"
            yield _Piece(place, b"", nothing, nothing, lost, stop)
            return
        record = b""
        if content and length <= RECORD_BYTES:
            stream.seek(place)
            record = stream.read(length + _FRAME_BYTES)
        yield _Piece(place, record, np.zeros(1, np.int64), np.array([length]), None, place + length + _FRAME_BYTES)
        place += length + _FRAME_BYTES


def _frame(data: bytes) -> tuple[np.ndarray, np.ndarray, int]:
    """Where the whole records begin before any damaged length, how long their data is, and where the last ends."""
    place, end = 0, len(data)
    places = []
    unpack = struct.Struct("<Q").unpack_from
    try:
        while place < end:
            length = unpack(data, place)[0]
            places.append(place)
            place += length + _FRAME_BYTES
    except struct.error:
        pass
    if place > end and places:
        place = places.pop()
    starts = np.array(places, np.int64)
    if not len(starts):
        return starts, starts, 0
    edges = np.append(starts, place)
    content = np.frombuffer(data, np.uint8)
    held = _heads_hold(content[starts[:, None] + np.arange(_HEAD_BYTES)])
    if not held.all():
        edges = edges[: int(np.argmin(held)) + 1]
    return edges[:-1], np.diff(edges) - _FRAME_BYTES, int(edges[-1])


def _heads_hold(heads: np.ndarray) -> np.ndarray:
    """Whether the checksum of each length is right; heads are rows of 12 bytes, uint8."""
    table = _crc_table()
    crc = np.full(len(heads), 0xFFFFFFFF, np.uint32)
    for position in range(8):
        crc = table[(crc ^ heads[:, position]) & 0xFF] ^ (crc >> np.uint32(8))
    stored = np.ascontiguousarray(heads[:, 8:12]).view("<u4")[:, 0]
    return _masked(crc ^ np.uint32(0xFFFFFFFF)) == stored


@functools.cache
def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(_CRC32C_POLYNOMIAL), table >> np.uint32(1))
    return table


def _masked(crc: np.ndarray) -> np.ndarray:
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK_DELTA)


def _read_chunk(piece: _Piece) -> Chunk:
    import google_crc32c

    starts = piece.starts + _HEAD_BYTES
    stops = starts + piece.lengths
    rejected: dict[int, str] = {}
    good = np.zeros(0, np.int64)
    if len(starts) and not piece.data:
        rejected[0] = f"too_long: the record at byte {piece.offset:,} is longer than {RECORD_BYTES >> 20} MiB"
    elif len(starts):
        data, checksum = piece.data, google_crc32c.value
        checksums = [checksum(data[start:stop]) for start, stop in zip(starts.tolist(), stops.tolist())]
        content = np.frombuffer(data, np.uint8)
        stored = content[stops[:, None] + np.arange(4)].view("<u4")[:, 0]
        held = _masked(np.array(checksums, np.uint32)) == stored
        good = np.flatnonzero(held)
        for position in np.flatnonzero(~held).tolist():
            place = piece.offset + int(piece.starts[position])
            rejected[position] = f"checksum: the data of the record at byte {place:,} does not match its checksum"
    padded = np.zeros(len(piece.data) + example.PADDING, np.uint8)
    padded[: len(piece.data)] = np.frombuffer(piece.data, np.uint8)
    features, plain = example.decode(padded, starts[good], stops[good])
    others, parsed = [], []
    for position in np.delete(good, plain).tolist():
        record = example.parse(piece.data[starts[position] : stops[position]])
        if record is None:
            place = piece.offset + int(piece.starts[position])
            rejected[position] = f"not_an_example: the record at byte {place:,} is not a tf.Example"
        else:
            others.append(position)
            parsed.append(record)
    if piece.lost:
        rejected[len(starts)] = piece.lost
    records = len(starts) + bool(piece.lost)
    return Chunk(records, padded, good[plain], features, np.array(others, np.int64), parsed, rejected)


class _TFRecord(Format):
    name = "tfrecord"
    endings = (".tfrecord", ".tfrecords")

    def is_named(self, name: str) -> bool:
        # As TFX names them: data_tfrecord-00000-of-00001.gz
        return "tfrecord" in name

    def open(self, uri: str) -> Outline:
        return Outline(find_ranges(uri))

    def infer(self, element: Element) -> tuple[int, dict[str, pa.DataType]]:
        return element.rows, infer_types(element.file.content, element.start, element.stop)

    def widen(self, first: pa.DataType, second: pa.DataType) -> pa.DataType:
        return widen_types(first, second)

    def read(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        # Lists of bytes hold whatever a key has.
        schema = pa.schema([(name, kind or pa.list_(pa.binary())) for name, kind in kinds.items()])
        return read_rows(element.file.content, element.start, element.stop, schema, element.first_row)


FORMAT = _TFRecord()
