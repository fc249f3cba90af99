"""CSV files in byte ranges: where records begin, what types columns have, and the rows of one range.

Quotes follow the reading of pyarrow's parser: a quote opens only at the start of a field, a doubled quote inside
is one quote, and after the closing quote the rest of the field is plain. A range is found without reading the file
from its start: each block reports both cases, beginning outside a quoted field and inside one, and the cases are
chained afterwards (the speculative split of Ge et al., "Speculative Distributed CSV Data Parsing", SIGMOD 2019).
"""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Iterator, NamedTuple, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.types import cast_rows, concat, widen

BLOCK_BYTES = 16 << 20
"""Bytes of a block; a range begins at the first record that begins in it."""

FIRST_ROW = 2
"""The number of a file's first data row: the header is row 1, as a spreadsheet counts."""

VALUE_BYTES = 256
"""The most of a rejected value that is kept, in bytes."""

_QUOTED_FIELD = rb'(?<=[%s\r\n])"(?:[^"]|"")*("|\Z)'
_LEADING_ZERO = re.compile(rb"(?:^|[^0-9A-Za-z.:+ -])0[0-9]")
_LONG_NUMBER = r"^\s*[+-]?\d{16,}\s*$"
_EXACT_INTEGERS = 2.0**53
# What each kind of type can possibly look like: a quick way to tell most bad values from good ones.
_SHAPES = (
    (pa.types.is_integer, r"^\s*([+-]?[0-9]+|0[xX][0-9a-fA-F]+)\s*$"),
    (pa.types.is_floating, r"^\s*[-+0-9.eEinfatyINFATYxX]+\s*$"),
    (pa.types.is_decimal, r"^\s*[-+0-9.eE]+\s*$"),
    (pa.types.is_temporal, r"^\s*[-+0-9:.TtZz ]+\s*$"),
)


class Rejection(NamedTuple):
    """A record that is not passed on, and why.

    Attributes:
      row: its number in the source, as the source's kind counts.
      column: the column at fault; None when it is the whole record.
      reason: a short name of the rule.
      value: at most `VALUE_BYTES` bytes of what was found.
    """

    row: int
    column: str | None
    reason: str
    value: str | None


def read_header(uri: str, delimiter: str) -> list[str]:
    """The column names of a CSV file's first record.

    Raises:
      HeadwaterError: the file is empty, not UTF-8, or a name is missing, twice there or reserved.
    """
    data = storage.read_range(uri, 0, BLOCK_BYTES)
    if not data:
        raise HeadwaterError(f"{uri}: the file is empty; a CSV file begins with a header that names the columns")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise HeadwaterError(f"{uri}: the file is UTF-16; convert it to UTF-8")
    if b"\n" not in data and b"\r" in data:
        raise HeadwaterError(f"{uri}: lines end in CR alone; convert the line ends to LF")
    end = scan_block(data, delimiter).starts[0] or len(data)
    try:
        text = data[:end].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HeadwaterError(
            f"{uri}: the header is not UTF-8 (byte {error.start + 1}); convert the file to UTF-8"
        ) from None
    if "\0" in text:
        raise HeadwaterError(f"{uri}: the header holds a NUL byte; this is not a CSV file in UTF-8")
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    if not any(name.strip() for name in names):
        raise HeadwaterError(f"{uri}: the first line names no column; a CSV file begins with a header")
    for position, name in enumerate(names):
        if not name.strip():
            raise HeadwaterError(f"{uri}: column {position + 1} of {len(names)} has no name in the header")
    return names


class Block(NamedTuple):
    """What one block of a file says about records, for both cases of how it begins.

    Attributes:
      quotes: how many quote characters it holds.
      starts: offset of the first record that begins after a line end in it, when the block begins outside a quoted
        field and when it begins inside one; None when none does.
      regular: for both cases, whether every quote that would open a field stands at the start of one. Where that
        fails, counting quotes does not tell inside from outside.
    """

    quotes: int
    starts: tuple[int | None, int | None]
    regular: tuple[bool, bool]


def scan_block(data: bytes, delimiter: str, before: bytes = b"\n") -> Block:
    """Looks at one block.

    Args:
      data: its bytes.
      delimiter: one character.
      before: the byte before it; a line end at the start of a file.
    """
    quotes = data.count(b'"')
    if not quotes:
        newline = data.find(b"\n")
        return Block(0, (newline + 1 if newline >= 0 else None, None), (True, True))
    content = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(content == ord('"'))
    previous = np.where(places > 0, content[places - 1], before[0])
    if before == b"\n" and data[:3] == b"\xef\xbb\xbf":
        previous[places == 3] = ord("\n")
    at_start = np.isin(previous, np.frombuffer(delimiter.encode() + b'\r\n"', np.uint8))
    newlines = np.flatnonzero(content == ord("\n"))
    outside = np.searchsorted(places, newlines) % 2 == 0
    starts = []
    for inside_first in (False, True):
        found = newlines[outside != inside_first]
        starts.append(int(found[0]) + 1 if len(found) else None)
    return Block(quotes, tuple(starts), (bool(at_start[0::2].all()), bool(at_start[1::2].all())))


def chain_blocks(uri: str, blocks: Sequence[Block], size: int, delimiter: str) -> list[tuple[int, int]]:
    """The byte ranges of whole records, header left out, from the blocks of a file in order.

    Raises:
      HeadwaterError: a quote opens and never closes.
    """
    starts: list[int] = []
    inside = False
    for number, block in enumerate(blocks):
        if not block.regular[inside]:
            return _ranges(_scan_sequentially(uri, size, delimiter), size)
        if block.starts[inside] is not None:
            starts.append(number * BLOCK_BYTES + block.starts[inside])
        inside ^= block.quotes % 2 == 1
    if inside:
        raise _unclosed(uri, size, delimiter)
    return _ranges(starts, size)


def infer_types(data: bytes, names: Sequence[str], delimiter: str) -> tuple[int, dict[str, pa.DataType]]:
    """Infers the columns' types from one range.

    Numbers that would lose digits (a leading zero, integers beyond float64's exact ones) stay text, and rows that
    will be rejected for their bytes have no say.

    Returns:
      The number of records, rejected ones included; and the type of each column.
    """
    data, kept, rejections = _drop_dirty(data, names, delimiter, 0)
    ragged: list[pacsv.InvalidRow] = []
    table = _parse(data, names, delimiter, {}, ragged)
    kinds = {name: _settle(table.schema.field(name).type) for name in names}
    suspects = [name for name in names if pa.types.is_floating(kinds[name]) and _beyond_exact(table[name])]
    if _LEADING_ZERO.search(data):
        suspects += [name for name in names if pa.types.is_integer(kinds[name])]
    if suspects:
        texts = _parse(data, names, delimiter, dict.fromkeys(suspects, pa.string()), [], suspects)
        for name in suspects:
            pattern = r"^\s*[+-]?0\d" if pa.types.is_integer(kinds[name]) else _LONG_NUMBER
            if pc.any(pc.match_substring_regex(texts[name], pattern)).as_py():
                kinds[name] = pa.string()
    return table.num_rows + len(ragged) + len(rejections), kinds


def widen_text(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type for values read as either: wider where there is one, text where there is none."""
    return widen(first, second) or pa.string()


def read_rows(
    data: bytes, names: Sequence[str], kinds: dict[str, pa.DataType], delimiter: str, first_row: int
) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    """The typed rows of one range.

    Args:
      data: whole records.
      names: the header's names.
      kinds: each column's type.
      delimiter: one character.
      first_row: the number of the first record in the source.

    Returns:
      The rows that could be read; the number of each in the source, int64; and the others. An empty field is a
      missing value in every column; NA, NULL, NaN and their like are missing in columns that are not text.
    """
    data, kept, rejections = _drop_dirty(data, names, delimiter, first_row)
    ragged: list[pacsv.InvalidRow] = []
    as_text: list[str] = []
    while True:
        ragged.clear()
        types = {name: pa.string() if name in as_text else kinds[name] for name in names}
        try:
            table = _parse(data, names, delimiter, types, ragged)
            break
        except pa.ArrowInvalid as error:
            as_text.append(names[_column_of(error)])
    positions = np.arange(table.num_rows + len(ragged), dtype=np.int64)
    rows = first_row + (positions if kept is None else kept)
    dropped = np.array([row.number - 1 for row in ragged], np.int64)
    rejections += [_ragged(row, int(rows[row.number - 1]), row.text) for row in ragged]
    rows = np.delete(rows, dropped)
    columns = dict(zip(names, concat([table[name] for name in names])))
    bad = np.zeros(len(rows), bool)
    for name in as_text:
        texts = columns[name]
        columns[name], places = _cast_text(texts, kinds[name])
        # A row is rejected once, for the first column that fails.
        for place in places[~bad[places]]:
            value = clip(texts[int(place)].as_py())
            rejections.append(Rejection(int(rows[place]), name, f"type: not {_article(kinds[name])}", value))
        bad[places] = True
    arrays = [_missing_where_empty(columns[name]) for name in names]
    batch = pa.RecordBatch.from_arrays(arrays, list(names))
    if bad.any():
        batch = batch.filter(pa.array(~bad))
        rows = rows[~bad]
    return batch, rows, sorted(rejections, key=lambda rejection: rejection.row)


def clip(text: str | bytes) -> str:
    """At most `VALUE_BYTES` bytes of a value, as text."""
    raw = text.encode() if isinstance(text, str) else text
    return raw[:VALUE_BYTES].decode("utf-8", "replace").replace("\0", "\N{SYMBOL FOR NULL}")


def encode_types(rows: int, kinds: dict[str, pa.DataType]) -> bytes:
    """The result of `infer_types` as bytes."""
    return json.dumps([rows, {name: str(kind) for name, kind in kinds.items()}]).encode()


def _parse(
    data: bytes,
    names: Sequence[str],
    delimiter: str,
    kinds: dict[str, pa.DataType],
    ragged: list[pacsv.InvalidRow],
    only: Sequence[str] | None = None,
) -> pa.Table:
    def skip(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    if not data.strip(b"\r\n"):
        return pa.table({name: pa.array([], kinds.get(name, pa.null())) for name in names})
    return pacsv.read_csv(
        pa.BufferReader(data),
        # One thread and one block: rows keep their numbers, and the pool's processes already use every core.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(names)),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            # A blank line is no record, but in a file of one column it is a missing value.
            ignore_empty_lines=len(names) > 1,
            invalid_row_handler=skip,
        ),
        convert_options=pacsv.ConvertOptions(column_types=kinds, include_columns=list(only) if only else None),
    )


def _drop_dirty(
    data: bytes, names: Sequence[str], delimiter: str, first_row: int
) -> tuple[bytes, np.ndarray | None, list[Rejection]]:
    """Takes out the records whose bytes are no text: NUL, or not UTF-8.

    Returns:
      The remaining records as CSV; their positions, or None for all; and the rejections.
    """
    if b"\0" not in data and _is_utf8(data):
        return data, None, []
    # Every byte read as one character: a text that pyarrow can hand over whole, with the same commas and quotes.
    ragged: list[pacsv.InvalidRow] = []
    table = _parse(data.decode("latin-1").encode(), names, delimiter, dict.fromkeys(names, pa.string()), ragged)
    rejections = [_ragged(row, first_row + row.number - 1, row.text.encode("latin-1")) for row in ragged]
    positions = np.delete(np.arange(table.num_rows + len(ragged)), [row.number - 1 for row in ragged])
    bad = np.zeros(table.num_rows, bool)
    columns = []
    for name, column in zip(names, concat(table.columns)):
        encoded = column.dictionary_encode()
        texts, reasons = _restore(encoded.dictionary.to_pylist())
        index = encoded.indices.to_numpy(zero_copy_only=False)
        columns.append(pa.array(texts, pa.string()).take(encoded.indices))
        wrong = np.array([reason is not None for reason in reasons], bool)[index]
        for place in np.flatnonzero(wrong & ~bad):
            value = clip(column[int(place)].as_py().encode("latin-1"))
            rejections.append(Rejection(first_row + int(positions[place]), name, reasons[index[place]], value))
        bad |= wrong
    sink = io.BytesIO()
    options = pacsv.WriteOptions(include_header=False, delimiter=delimiter)
    pacsv.write_csv(pa.table(columns, list(names)).filter(pa.array(~bad)), sink, options)
    return sink.getvalue(), positions[~bad], rejections


def _restore(texts: Sequence[str]) -> tuple[list[str], list[str | None]]:
    """Distinct values read byte by byte as the UTF-8 they are, and the reason where they are none."""
    restored: list[str] = []
    reasons: list[str | None] = []
    for text in texts:
        reason = "nul_byte: the value holds a NUL byte" if "\0" in text else None
        if reason is None and not text.isascii():
            try:
                text = text.encode("latin-1").decode()
            except UnicodeDecodeError:
                reason = "encoding: not UTF-8"
        restored.append("" if reason else text)
        reasons.append(reason)
    return restored, reasons


def _ragged(row: pacsv.InvalidRow, number: int, text: str | bytes) -> Rejection:
    found = f"ragged_row: {row.actual_columns} values where the header has {row.expected_columns}"
    return Rejection(number, None, found, clip(text))


def _cast_text(texts: pa.Array, kind: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Converts text as the CSV parser does, value by value where some cannot be."""
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary
    possible = np.ones(len(distinct), bool)
    for applies, shape in _SHAPES:
        if applies(kind):
            possible = pc.match_substring_regex(distinct, shape).to_numpy(zero_copy_only=False)
            # The texts that stand for a missing value are no numbers, and yet no mistakes.
            possible |= np.isin(distinct.to_numpy(zero_copy_only=False), pacsv.ConvertOptions().null_values)
            break
    candidates = np.flatnonzero(possible)
    converted, wrong = cast_rows(distinct.take(pa.array(candidates)), kind, lambda part: _convert(part, kind))
    place = np.full(len(distinct), -1, np.int64)
    place[candidates] = np.arange(len(candidates))
    failed = ~possible
    failed[candidates[wrong]] = True
    index = encoded.indices.to_numpy(zero_copy_only=False)
    taken = place[index]
    values = converted.take(pa.array(taken, mask=taken < 0))
    return values, np.flatnonzero(failed[index])


def _convert(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    sink = io.BytesIO()
    pacsv.write_csv(pa.table([texts], ["value"]), sink, pacsv.WriteOptions(include_header=False))
    table = _parse(sink.getvalue(), ["value"], ",", {"value": kind}, [])
    return concat(table.columns)[0]


def _missing_where_empty(column: pa.Array) -> pa.Array:
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        return column
    empty = pc.equal(pc.binary_length(column), 0)
    if not pc.any(empty).as_py():
        return column
    return pc.if_else(empty, pa.scalar(None, column.type), column)


def _settle(kind: pa.DataType) -> pa.DataType:
    """An inferred type as the type that Parquet keeps unchanged."""
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time32(kind):
        return pa.time32("ms")
    return pa.string() if pa.types.is_binary(kind) else kind


def _beyond_exact(column: pa.ChunkedArray) -> bool:
    largest = pc.max(pc.abs(column)).as_py()
    return largest is not None and largest >= _EXACT_INTEGERS


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def _column_of(error: pa.ArrowInvalid) -> int:
    match = re.search(r"CSV column #(\d+)", str(error))
    if not match:
        raise error
    return int(match[1])


def _article(kind: pa.DataType) -> str:
    name = str(kind)
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _ranges(starts: list[int], size: int) -> list[tuple[int, int]]:
    return [(start, stop) for start, stop in zip(starts, [*starts[1:], size]) if start < stop]


def _scan_sequentially(uri: str, size: int, delimiter: str) -> list[int]:
    """Record starts by reading the file from its start, for files with stray quotes: exact, on one core."""
    starts: list[int] = []
    due = 0
    for newline in _outside_newlines(uri, size, delimiter):
        if newline >= due:
            starts.append(newline + 1)
            due = (newline // BLOCK_BYTES + 1) * BLOCK_BYTES
    return starts


def _outside_newlines(uri: str, size: int, delimiter: str) -> Iterator[int]:
    quoted = re.compile(_QUOTED_FIELD % re.escape(delimiter.encode()))
    carried, offset = b"\n", -1
    for start in range(0, size, BLOCK_BYTES):
        data = carried + storage.read_range(uri, start, start + BLOCK_BYTES)
        last = start + BLOCK_BYTES >= size
        keep = len(data) - 1
        content = np.frombuffer(data, np.uint8)
        newlines = np.flatnonzero(content == ord("\n"))
        newlines = newlines[newlines > 0]
        spans = []
        for match in quoted.finditer(data, 1):
            if match.end() == len(data) and not (last and match[1]):
                if last:
                    raise _never_closes(uri, offset + match.start())
                # It may go on in the next block; it is looked at again with what follows.
                keep = match.start() - 1
                break
            spans.append(match.span())
        if spans:
            begins, ends = np.array(spans).T
            at = np.searchsorted(begins, newlines, "right") - 1
            newlines = newlines[(at < 0) | (newlines >= ends[at])]
        newlines = newlines[newlines <= keep]
        yield from (int(newline) + offset for newline in newlines)
        carried, offset = data[keep:], offset + keep


def _unclosed(uri: str, size: int, delimiter: str) -> HeadwaterError:
    try:
        for _ in _outside_newlines(uri, size, delimiter):
            pass
    except HeadwaterError as error:
        return error
    return _never_closes(uri, size)


def _never_closes(uri: str, offset: int) -> HeadwaterError:
    lines = 1
    for start in range(0, offset, BLOCK_BYTES):
        lines += storage.read_range(uri, start, min(start + BLOCK_BYTES, offset)).count(b"\n")
    return HeadwaterError(
        f"{uri}: a quote opens on line {lines:,} and never closes; close it, or double it if it is part of the text"
    )
