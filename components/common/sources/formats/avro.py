"""Avro object container files in ranges of whole blocks.

Blocks are found here and not by fastavro's reader, which ends at the first damaged one: a damaged block costs itself and
not the file. fastavro decodes the records. It is given a schema of the same encoding without text and logical types: bytes
and numbers become columns first, and Arrow checks and converts whole columns. The format is that of the Apache Avro
specification 1.11, section "Object Container Files".
"""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common.sources.files import Element
from headwater.components.common.sources.formats.avro_blocks import (
    CANNOT_UNPACK,
    Block,
    Container,
    iterate_blocks,
    open_container,
    unpack,
)
from headwater.components.common.sources.formats.avro_columns import Node
from headwater.components.common.sources.formats.base import Format, Outline, Rows
from headwater.components.common.sources.rejections import Rejection, clip

RANGE_BYTES = 16 << 20
"""Stored bytes of the blocks that make one range; a larger block is a range by itself."""
_BATCH_ROWS = 1 << 14
_BATCH_BYTES = 8 << 20


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
    with open_container(uri) as container:
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
    with open_container(uri) as container:
        start, records = container.first_block, 0
        for block in iterate_blocks(container, start, container.window.size):
            records += block.records + bool(block.lost)
            if block.following - start >= RANGE_BYTES:
                ranges.append((start, block.following, records))
                start, records = block.following, 0
        if records:
            ranges.append((start, container.window.size, records))
        elif ranges and start < container.window.size:
            ranges[-1] = (ranges[-1][0], container.window.size, ranges[-1][2])
    return [span for span in ranges if span[2]]


def read_rows(uri: str, start: int, stop: int, schema: pa.Schema, first_row: int) -> Iterator[Rows]:
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
    with open_container(uri) as container:
        rows = _Rows(container, schema)
        for block in iterate_blocks(container, start, stop):
            yield from rows.add(block, first_row)
            first_row += block.records + bool(block.lost)
        yield from rows.flush()


class _Rows:
    """Gathers the records of small blocks to batches."""

    def __init__(self, container: Container, schema: pa.Schema) -> None:
        import fastavro

        self._container = container
        self._schema = schema
        self._plain = fastavro.parse_schema(container.node.plain)
        self._read = fastavro.schemaless_reader
        self._records: list[Any] = []
        self._rows: list[np.ndarray] = []
        self._rejections: list[Rejection] = []
        self._bytes = 0

    def add(self, block: Block, row: int) -> Iterator[Rows]:
        end = row + block.records
        try:
            data, _ = unpack(self._container.window.read(block.start, block.stop), self._container.codec)
        except CANNOT_UNPACK as error:
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

    def flush(self) -> Iterator[Rows]:
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

    def _reject(self, row: int, end: int, reason: str) -> Iterator[Rows]:
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


def _build_batch(
    records: Sequence[dict],
    columns: Sequence[Node],
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
    node: Node, column: Sequence, start: int, parts: list[pa.Array], places: list[tuple[int, str, str | None]]
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


class _Avro(Format):
    name = "avro"
    endings = (".avro",)
    declares = True

    def open(self, uri: str) -> Outline:
        schema = read_schema(uri)
        return Outline(find_ranges(uri), schema.names, dict(zip(schema.names, schema.types)))

    def read(
        self, element: Element, kinds: Mapping[str, pa.DataType | None], guessed: Collection[str]
    ) -> Iterator[Rows]:
        # Records are decoded whole, whichever columns are wanted.
        uri = element.file.content
        return read_rows(uri, element.start, element.stop, read_schema(uri), element.first_row)


FORMAT = _Avro()
