"""CSV files in byte ranges: where records begin, what types columns have, and the rows of one range.

Quotes follow the reading of pyarrow's parser: a quote opens only at the start of a field, a doubled quote inside
is one quote, and after the closing quote the rest of the field is plain. `dialect` says which characters these are. A range is found without reading the file
from its start: each block reports both cases, beginning outside a quoted field and inside one, and the cases are
chained afterwards (the speculative split of Ge et al., "Speculative Distributed CSV Data Parsing", SIGMOD 2019).
Escapes and comments have no such two cases; files with them are looked through from their start, and read in ranges.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import inferring
from headwater.components.common.sources.dialect import Dialect
from headwater.components.common.sources.files import Misfit
from headwater.components.common.sources.headers import name_columns
from headwater.components.common.sources.types import cast_rows, concat

BLOCK_BYTES = 16 << 20
"""Bytes of a block; a range begins at the first record that begins in it."""


def first_row_number(dialect: Dialect) -> int:
    """The number of a file's first data row: its lines before the header, and the header, are counted as well."""
    return 1 + dialect.skip_rows + dialect.header


MOST_COLUMNS = 20_000
"""A header with more columns than that is refused."""

VALUE_BYTES = 256
"""The most of a rejected value that is kept, in bytes."""

_PLAIN = Dialect()
_ZERO_FIRST = r"^\s*[+-]?0[\dxX]"
_LONG_OR_SIGNED = r"^\s*([+-]?\d{16,}\s*$|\+)"
_EXACT_INTEGERS = 2.0**53


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


def find_content(uri: str, data: bytes, dialect: Dialect) -> int:
    """Where a file's header begins, or its first record where it has none: the byte after its mark and what is skipped.

    Raises:
      HeadwaterError: the file is empty, or has fewer lines than are to be skipped.
    """
    if not data:
        raise HeadwaterError(f"{uri}: the file is empty; a CSV file begins with a header that names the columns")
    place = 3 if data[:3] == b"\xef\xbb\xbf" else 0
    for number in range(dialect.skip_rows):
        end = data.find(b"\n", place)
        if end < 0:
            raise HeadwaterError(f"{uri}: skip_rows is {dialect.skip_rows:,}, and the file has {number + 1:,} lines")
        place = end + 1
    return place


def read_header(
    uri: str, data: bytes, dialect: Dialect, column_names: Sequence[str] = ()
) -> tuple[list[str], list[str], int]:
    """The column names of a CSV file.

    Args:
      uri: the file's name, for errors.
      data: its beginning, from `find_content` on.
      dialect: how it is written.
      column_names: the names where the file has no header.

    Returns:
      The names; those among them that the file does not name; and where its records begin in `data`.

    Raises:
      HeadwaterError: the header is not UTF-8, names no column, or is none.
    """
    if b"\n" not in data and b"\r" in data:
        raise HeadwaterError(f"{uri}: lines end in CR alone; convert the line ends to LF")
    if column_names:
        return list(column_names), [], 0
    start, end = _find_record(data, dialect)
    if end - start >= BLOCK_BYTES:
        raise HeadwaterError(f"{uri}: the first line is longer than {BLOCK_BYTES:,} bytes; a header names the columns")
    try:
        text = data[start:end].decode()
    except UnicodeDecodeError as error:
        raise HeadwaterError(
            f"{uri}: the header is not UTF-8 (byte {error.start + 1}); name the file's encoding, or convert it"
        ) from None
    if "\0" in text:
        raise HeadwaterError(f"{uri}: the header holds a NUL byte; this is not a CSV file in UTF-8")
    if text.count(dialect.delimiter) >= MOST_COLUMNS:
        raise HeadwaterError(f"{uri}: the header has more than {MOST_COLUMNS:,} columns; this is no table of records")
    try:
        names = next(dialect.read_lines(io.StringIO(text, newline="")), [])
    except csv.Error as error:
        raise HeadwaterError(f"{uri}: the header cannot be read: {error}") from None
    if not dialect.header and names:
        return name_columns([""] * len(names))[0], [], start
    if not any(name.strip() for name in names):
        raise HeadwaterError(f"{uri}: the first line names no column; a CSV file begins with a header")
    names, unnamed = name_columns(names)
    return names, [names[position] for position in unnamed], end


class Block(NamedTuple):
    """What one block of a file says about records, for both cases of how it begins.

    Attributes:
      quotes: how many quote characters it holds.
      starts: offset of the first record that begins after a line end in it, when the block begins outside a quoted
        field and when it begins inside one; None when none does.
      lines: how many line ends stand outside quoted fields, in both cases.
      blank: whether there may be blank lines, so that line ends do not tell the number of records.
      regular: for both cases, whether every quote that would open a field stands at the start of one. Where that
        fails, counting quotes does not tell inside from outside.
    """

    quotes: int
    starts: tuple[int | None, int | None]
    lines: tuple[int, int]
    blank: bool
    regular: tuple[bool, bool]


def scan_block(data: bytes, dialect: Dialect, before: bytes = b"\n") -> Block:
    """Looks at one block.

    Args:
      data: its bytes.
      dialect: how the file is written; its escapes and comments are not seen.
      before: the byte before it; a line end at the start of a file.
    """
    content = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(content == ord("\n"))
    blank = bool((np.diff(newlines) == 1).any()) or (before == b"\n" and data[:1] in (b"\n", b"\r"))
    blank = blank or (b"\r" in data and b"\n\r" in data)
    quote = dialect.quote.encode()
    quotes = data.count(quote) if quote and quote in data else 0
    if not quotes:
        start = int(newlines[0]) + 1 if len(newlines) else None
        return Block(0, (start, None), (len(newlines), 0), blank, (True, True))
    places = np.flatnonzero(content == quote[0])
    previous = np.where(places > 0, content[places - 1], before[0])
    opens = np.zeros(256, bool)
    opens[list(dialect.delimiter.encode() + b"\r\n" + quote)] = True
    at_start = opens[previous]
    outside = np.searchsorted(places, newlines) % 2 == 0
    starts: list[int | None] = []
    lines: list[int] = []
    for inside_first in (False, True):
        found = newlines[outside != inside_first]
        starts.append(int(found[0]) + 1 if len(found) else None)
        lines.append(len(found))
    regular = (bool(at_start[0::2].all()), bool(at_start[1::2].all()))
    return Block(quotes, (starts[0], starts[1]), (lines[0], lines[1]), blank, regular)


def chain_blocks(
    uri: str, place: str, blocks: Sequence[Block], size: int, dialect: Dialect, first: int, *, ended: bool
) -> list[tuple[int, int, int]]:
    """The byte ranges of whole records from the blocks of a file in order.

    Args:
      uri: the file's name, for errors.
      place: where it is read.
      blocks: what `scan_block` says of each; of the first block, from `first` on.
      size: of the file, in bytes.
      dialect: how it is written.
      first: where its records begin, after the header.
      ended: whether the file ends in a line end.

    Returns:
      Start, stop, and the number of records, -1 where line ends do not tell it.

    Raises:
      HeadwaterError: a quote opens and never closes.
    """

    def sequentially() -> list[tuple[int, int, int]]:
        starts = _scan_sequentially(place, uri, size, dialect, first)
        return [(start, stop, -1) for start, stop in zip(starts, [*starts[1:], size]) if start < stop]

    if dialect.escape or dialect.comment:
        return sequentially()
    # Where records begin, and how many line ends outside quotes stand before that.
    starts: list[tuple[int, int]] = [(first, 0)]
    inside, lines = False, 0
    for number, block in enumerate(blocks):
        if not block.regular[inside]:
            return sequentially()
        begins = block.starts[inside]
        if begins is not None and number:
            starts.append((number * BLOCK_BYTES + begins, lines + 1))
        lines += block.lines[inside]
        inside ^= block.quotes % 2 == 1
    if inside:
        raise _unclosed(uri, place, size, dialect, first)
    known = not any(block.blank for block in blocks)
    edges = [*starts, (size, lines + (not ended))]
    return [
        (start, stop, after - before if known else -1)
        for (start, before), (stop, after) in zip(edges, edges[1:])
        if start < stop
    ]


def infer_types(data: bytes, names: Sequence[str], dialect: Dialect) -> tuple[int, dict[str, pa.DataType]]:
    """Infers the columns' types from one range.

    Numbers that would lose digits (a leading zero, hexadecimal ones, integers beyond float64's exact ones) stay text,
    and rows that will be rejected for their bytes have no say.

    Returns:
      The number of records, rejected ones included; and the type of each column, as `inferring` tells types.
    """
    data, dialect, kept, rejections = _clean(data, names, dialect, 0)
    ragged: list[pacsv.InvalidRow] = []
    table = _parse(data, names, dialect, {}, ragged)
    kinds = {name: _settle(table.schema.field(name).type) for name in names}
    for name in _suspects(data, table, dialect, names, kinds):
        kinds[name] = pa.string()
    fine = [name for name, kind in kinds.items() if _is_nanoseconds(kind)]
    texts = _parse(data, names, dialect, dict.fromkeys(fine, pa.string()), [], fine) if fine else table
    kinds = {name: _inferred(kind, texts[name] if name in fine else table[name]) for name, kind in kinds.items()}
    if dialect.thousands:
        for name, kind in kinds.items():
            if pa.types.is_string(kind) and pa.types.is_string(table[name].type):
                kinds[name] = _infer_grouped(concat([table[name]])[0], dialect) or kind
    return table.num_rows + len(ragged) + len(rejections), kinds


def sample_types(data: bytes, names: Sequence[str], dialect: Dialect, whole: bool) -> dict[str, pa.DataType]:
    """Guesses the columns' types from the beginning of a file's records; nothing where it cannot.

    Args:
      data: the beginning, at a record.
      names: the header's names.
      dialect: how it is written.
      whole: whether `data` is all there is.
    """
    if not whole:
        end = data.rfind(b"\n") + 1
        quote = dialect.quote.encode()
        while end and quote and data.count(quote, 0, end) % 2:
            end = data.rfind(b"\n", 0, end - 1) + 1
        data = data[:end]
    try:
        kinds = infer_types(data, names, dialect)[1] if data else {}
        return {name: kind if kind == inferring.MIXED_ZONES else inferring.settle(kind) for name, kind in kinds.items()}
    except pa.ArrowInvalid:
        return {}


def read_rows(
    data: bytes,
    names: Sequence[str],
    kinds: dict[str, pa.DataType],
    dialect: Dialect,
    first_row: int,
    *,
    guessed: Collection[str] = (),
    records: int = -1,
    only: Sequence[str] | None = None,
) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    """The typed rows of one range.

    Args:
      data: whole records.
      names: the header's names.
      kinds: each column's type.
      dialect: how it is written.
      first_row: the number of the first record in the source.
      guessed: columns whose types were guessed from a sample.
      records: how many there should be; -1 to take what is there.
      only: the columns wanted; all by default.

    Returns:
      The rows that could be read; the number of each in the source, int64; and the others. An empty field is a
      missing value in every column; NA, NULL, NaN and their like are missing in columns that are not text.

    Raises:
      Misfit: `guessed` or `records` do not hold.
    """
    only = list(only or names)
    data, dialect, kept, rejections = _clean(data, names, dialect, first_row)
    ragged: list[pacsv.InvalidRow] = []
    # Guessed integers are parsed as text first: only their text shows a leading zero.
    whole = [name for name in only if name in guessed and pa.types.is_integer(kinds[name])]
    as_text = [name for name in only if name not in whole and _needs_text(kinds[name], data, dialect)]
    while True:
        ragged.clear()
        types = {name: pa.string() if name in as_text or name in whole else kinds[name] for name in only}
        try:
            table = _parse(data, names, dialect, types, ragged, only)
            break
        except pa.ArrowInvalid as error:
            as_text.append(names[_column_of(error)])
            if as_text[-1] in guessed:
                raise Misfit from None
    found = table.num_rows + len(ragged) + len(rejections)
    real = [name for name in only if name in guessed and name not in as_text and pa.types.is_floating(kinds[name])]
    if records not in (-1, found) or any(_beyond_exact(table[name]) for name in real):
        raise Misfit
    positions = np.arange(table.num_rows + len(ragged), dtype=np.int64)
    rows = first_row + (positions if kept is None else kept)
    dropped = np.array([row.number - 1 for row in ragged], np.int64)
    rejections += [_ragged(row, int(rows[row.number - 1]), row.text) for row in ragged]
    rows = np.delete(rows, dropped)
    columns = dict(zip(only, concat([table[name] for name in only])))
    for name in whole:
        columns[name] = _whole_numbers(columns[name], kinds[name], dialect)
    bad = np.zeros(len(rows), bool)
    for name in as_text:
        texts = columns[name]
        columns[name], places = cast_text(texts, kinds[name], dialect)
        if name in guessed and (len(places) or pa.types.is_floating(kinds[name]) and _beyond_exact(columns[name])):
            raise Misfit
        # A row is rejected once, for the first column that fails.
        for place in places[~bad[places]]:
            value = clip(texts[int(place)].as_py())
            rejections.append(Rejection(int(rows[place]), name, f"type: not {_article(kinds[name])}", value))
        bad[places] = True
    arrays = [_missing_where_empty(columns[name]) for name in only]
    batch = pa.RecordBatch.from_arrays(arrays, only)
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
    dialect: Dialect,
    kinds: dict[str, pa.DataType],
    ragged: list[pacsv.InvalidRow],
    only: Sequence[str] | None = None,
) -> pa.Table:
    def skip(row: pacsv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    if data[:1] in (b"", b"\r", b"\n") and not data.strip(b"\r\n"):
        return pa.table({name: pa.array([], kinds.get(name, pa.null())) for name in names})
    return pacsv.read_csv(
        pa.BufferReader(data),
        # One thread and one block: rows keep their numbers, and the pool's processes already use every core.
        read_options=pacsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=list(names)),
        parse_options=dialect.parse_options(
            # A blank line is no record, but in a file of one column it is a missing value.
            ignore_empty_lines=len(names) > 1,
            invalid_row_handler=skip,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=kinds, include_columns=list(only) if only else None, decimal_point=dialect.decimal
        ),
    )


def _uncommented(data: bytes, dialect: Dialect) -> bytes:
    """Records without the comments among them."""
    mark = dialect.comment.encode()
    if not mark or not (data.startswith(mark) or b"\n" + mark in data):
        return data
    pieces, kept = [], 0
    for match in _unsplittable(dialect).finditer(b"\n" + data):
        if match["comment"] is not None:
            start, stop = match.span()
            pieces.append(data[kept : start - 1])
            # With the line end after it; `start` counts the one put before the data.
            kept = stop
    return b"".join([*pieces, data[kept:]])


def _unsplittable(dialect: Dialect) -> re.Pattern[bytes]:
    """What may hold a line end that ends no record: quoted fields, escaped characters, comments (up to their end)."""
    edge, quote = re.escape(dialect.delimiter.encode()), re.escape(dialect.quote.encode())
    escape, mark = re.escape(dialect.escape.encode()), re.escape(dialect.comment.encode())
    parts = []
    if mark:
        parts.append(rb"(?<=\n)(?P<comment>%s[^\n]*)" % mark)
    else:
        parts.append(rb"(?P<comment>(?!))")
    if escape:
        parts.append(rb"%s(?s:.)" % escape)
    if quote:
        body = rb"(?:[^%s%s]|%s%s%s)*" % (quote, escape, quote, quote, rb"|%s(?s:.)" % escape if escape else b"")
        end = rb"(?:(?P<closed>%s)|%s\Z)" % (quote, rb"%s?" % escape if escape else b"")
        parts.append(rb"(?<=[%s\r\n])(?P<quoted>%s%s%s)" % (edge, quote, body, end))
    else:
        parts.append(rb"(?P<quoted>(?P<closed>(?!)))")
    return re.compile(b"|".join(parts))


def _find_record(data: bytes, dialect: Dialect) -> tuple[int, int]:
    """Where the first record of `data` begins, after comments, and where it ends, with its line end."""
    start, mark = 0, dialect.comment.encode()
    while mark and data.startswith(mark, start):
        start = (data.find(b"\n", start) + 1) or len(data)
    newline = data.find(b"\n", start)
    # One byte on, as the pattern looks for what stands before a quote.
    for match in _unsplittable(dialect).finditer(b"\n" + data, start + 1):
        if newline < match.start() - 1:
            break
        if newline < match.end() - 1:
            newline = data.find(b"\n", match.end() - 1)
    return start, newline + 1 or len(data)


def _clean(
    data: bytes, names: Sequence[str], dialect: Dialect, first_row: int
) -> tuple[bytes, Dialect, np.ndarray | None, list[Rejection]]:
    """Takes out comments, and the records whose bytes are no text: NUL, or not UTF-8.

    Returns:
      The remaining records as CSV; its dialect; their positions, or None for all; and the rejections.
    """
    data = _uncommented(data, dialect)
    if dialect.escape and b"\\N" in data:
        # How MySQL, Hive and Postgres write a missing value into escaped files.
        edge = re.escape(dialect.delimiter.encode())
        data = re.sub(rb"(?:^|(?<=[%s\r\n]))\\N(?=[%s\r\n]|\Z)" % (edge, edge), b"", data)
    if b"\0" not in data and _is_utf8(data):
        return data, dialect, None, []
    # Every byte read as one character: a text that pyarrow can hand over whole, with the same commas and quotes.
    ragged: list[pacsv.InvalidRow] = []
    table = _parse(data.decode("latin-1").encode(), names, dialect, dict.fromkeys(names, pa.string()), ragged)
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
    options = pacsv.WriteOptions(include_header=False, delimiter=dialect.delimiter)
    pacsv.write_csv(pa.table(columns, list(names)).filter(pa.array(~bad)), sink, options)
    return sink.getvalue(), dialect.plain(), positions[~bad], rejections


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


def cast_text(texts: pa.Array, kind: pa.DataType, dialect: Dialect = _PLAIN) -> tuple[pa.Array, np.ndarray]:
    """Converts text as the CSV parser does, value by value where some cannot be.

    Returns:
      The values, missing where they could not be converted; and the positions that could not, int64.
    """
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary
    possible = np.ones(len(distinct), bool)
    shape = _shape(kind, dialect)
    if shape:
        possible = pc.match_substring_regex(distinct, shape).to_numpy(zero_copy_only=False)
        # The texts that stand for a missing value are no numbers, and yet no mistakes.
        possible |= np.isin(distinct.to_numpy(zero_copy_only=False), pacsv.ConvertOptions().null_values)
    candidates = np.flatnonzero(possible)
    converted, wrong = cast_rows(distinct.take(pa.array(candidates)), kind, lambda part: _convert(part, kind, dialect))
    place = np.full(len(distinct), -1, np.int64)
    place[candidates] = np.arange(len(candidates))
    failed = ~possible
    failed[candidates[wrong]] = True
    index = encoded.indices.to_numpy(zero_copy_only=False)
    taken = place[index]
    values = converted.take(pa.array(taken, mask=taken < 0))
    return values, np.flatnonzero(failed[index])


def _shape(kind: pa.DataType, dialect: Dialect) -> str:
    """What values of a type can possibly look like: a quick way to tell most bad ones from good; empty for any."""
    group = rf"|[0-9]{{1,3}}(?:{re.escape(dialect.thousands)}[0-9]{{3}})+" if dialect.thousands else ""
    marks = re.escape(dialect.decimal + dialect.thousands)
    if pa.types.is_integer(kind):
        return rf"^\s*[+-]?(?:[0-9]+{group})\s*$"
    if pa.types.is_floating(kind):
        return rf"^\s*[-+0-9{marks}eEinfatyINFATYxX]+\s*$"
    if pa.types.is_decimal(kind):
        return rf"^\s*[-+0-9{marks}eE]+\s*$"
    return r"^\s*[-+0-9:.TtZz ]+\s*$" if pa.types.is_temporal(kind) else ""


def _needs_text(kind: pa.DataType, data: bytes, dialect: Dialect) -> bool:
    """Whether a column has to be parsed as text first, as pyarrow's parser would read some of its values wrongly."""
    if _is_nanoseconds(kind):
        return True
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    # It reads 0x1F as 31, and knows no thousands.
    return number and bool(dialect.thousands) or pa.types.is_integer(kind) and (b"0x" in data or b"0X" in data)


def _convert(texts: pa.Array, kind: pa.DataType, dialect: Dialect) -> pa.Array:
    if _is_nanoseconds(kind):
        return inferring.parse_times(_without_missing_names(texts), kind)
    plain = Dialect(decimal=dialect.decimal)
    table = _parse(_as_csv(_ungrouped(texts, dialect)), ["value"], plain, {"value": kind}, [])
    return concat(table.columns)[0]


def _ungrouped(texts: pa.Array, dialect: Dialect) -> pa.Array:
    """Numbers in groups of three digits without what separates these; other text as it is."""
    if not dialect.thousands:
        return texts
    mark, point = re.escape(dialect.thousands), re.escape(dialect.decimal)
    grouped = pc.match_substring_regex(texts, rf"^\s*[+-]?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{point}[0-9]*)?\s*$")
    return pc.if_else(grouped, pc.replace_substring(texts, dialect.thousands, ""), texts)


def _infer_grouped(texts: pa.Array, dialect: Dialect) -> pa.DataType | None:
    """The type of text that is numbers in groups of three digits; None where it is not that."""
    plain = _ungrouped(texts, dialect)
    if plain.equals(texts):
        return None
    _, kinds = infer_types(_as_csv(plain), ["value"], Dialect(decimal=dialect.decimal))
    return kinds["value"] if inferring.settle(kinds["value"]) in (pa.int64(), pa.float64()) else None


def _as_csv(texts: pa.Array) -> bytes:
    sink = io.BytesIO()
    pacsv.write_csv(pa.table([texts], ["value"]), sink, pacsv.WriteOptions(include_header=False))
    return sink.getvalue()


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


def _inferred(kind: pa.DataType, column: pa.ChunkedArray) -> pa.DataType:
    """A settled type as `inferring` tells it."""
    if pa.types.is_integer(kind):
        ends = pc.min_max(column).as_py()
        return inferring.integers(ends["min"] or 0, ends["max"] or 0)
    if _is_nanoseconds(kind):
        return inferring.times(_without_missing_names(concat([column])[0]))
    if pa.types.is_string(kind) and pa.types.is_string(column.type):
        found = inferring.times(concat([column])[0])
        return found if found == inferring.MIXED_ZONES else kind
    return kind


def _is_nanoseconds(kind: pa.DataType) -> bool:
    """Whether pyarrow's parser would let times of far years wrap: it has to be kept from them."""
    return pa.types.is_timestamp(kind) and kind.unit == "ns"


def _without_missing_names(texts: pa.Array) -> pa.Array:
    known = pc.is_in(texts, pa.array(pacsv.ConvertOptions().null_values))
    return pc.if_else(known, pa.scalar(None, pa.string()), texts)


def _whole_numbers(texts: pa.Array, kind: pa.DataType, dialect: Dialect) -> pa.Array:
    """Texts that were guessed to be integers, as integers.

    Raises:
      Misfit: one is none, or would lose a leading zero.
    """
    texts = _ungrouped(texts, dialect)
    present = _missing_where_empty(texts)
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
    content = np.frombuffer(texts.buffers()[2] or b"\0", np.uint8)
    first = content[np.minimum(offsets[:-1], len(content) - 1)]
    if ((first == ord("0")) & (np.diff(offsets) > 1)).any():
        raise Misfit
    signed = (first == ord("-")) & (np.diff(offsets) > 2)
    if signed.any() and (content[offsets[:-1][signed] + 1] == ord("0")).any():
        raise Misfit
    try:
        return pc.cast(present, kind)
    except pa.ArrowInvalid:
        pass
    try:
        return pc.cast(_without_missing_names(present), kind)
    except pa.ArrowInvalid:
        raise Misfit from None


def _suspects(
    data: bytes, table: pa.Table, dialect: Dialect, names: Sequence[str], kinds: dict[str, pa.DataType]
) -> list[str]:
    """The columns of numbers that would lose digits, or the plus sign of a telephone number, as numbers."""
    # A plus sign is a number's to newer versions of pyarrow alone.
    plus = b"+" in data
    suspects = [name for name in kinds if pa.types.is_floating(kinds[name]) and (plus or _beyond_exact(table[name]))]
    whole = [name for name in kinds if pa.types.is_integer(kinds[name])]
    if whole and _has_leading_zero(data, dialect):
        suspects += whole
    if not suspects:
        return []
    texts = _parse(data, names, dialect, dict.fromkeys(suspects, pa.string()), [], suspects)
    return [
        name
        for name in suspects
        if pc.any(
            pc.match_substring_regex(texts[name], _ZERO_FIRST if pa.types.is_integer(kinds[name]) else _LONG_OR_SIGNED)
        ).as_py()
    ]


def _has_leading_zero(data: bytes, dialect: Dialect) -> bool:
    """Whether some field may begin with 0 and another digit, or be hexadecimal; too often, never too rarely."""
    pattern = rf"(?:^|[{re.escape(dialect.delimiter + dialect.quote)}\r\n])\s*[+-]?0[0-9xX]"
    ends = pa.py_buffer(np.array([0, len(data)], np.int32))
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(data)])
    return pc.match_substring_regex(whole, pattern)[0].as_py()


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


def _scan_sequentially(place: str, uri: str, size: int, dialect: Dialect, first: int) -> list[int]:
    """Record starts by reading the file from its first record, for files with stray quotes: exact, on one core."""
    starts, due = [first], (first // BLOCK_BYTES + 1) * BLOCK_BYTES
    for newline in _outside_newlines(place, uri, size, dialect, first):
        if newline >= due:
            starts.append(newline + 1)
            due = (newline // BLOCK_BYTES + 1) * BLOCK_BYTES
    return starts


def _outside_newlines(place: str, uri: str, size: int, dialect: Dialect, first: int) -> Iterator[int]:
    unsplittable = _unsplittable(dialect)
    carried, offset = b"\n", first - 1
    for start in range(first, size, BLOCK_BYTES):
        data = carried + storage.read_range(place, start, min(start + BLOCK_BYTES, size))
        last = start + BLOCK_BYTES >= size
        keep = len(data) - 1
        content = np.frombuffer(data, np.uint8)
        newlines = np.flatnonzero(content == ord("\n"))
        newlines = newlines[newlines > 0]
        spans = []
        for match in unsplittable.finditer(data, 1):
            if match.end() == len(data) and not last:
                # It may go on in the next block; it is looked at again with what follows.
                keep = match.start() - 1
                break
            if match["quoted"] is not None and match["closed"] is None:
                raise _never_closes(uri, place, offset + match.start())
            spans.append(match.span())
        if dialect.escape and not last and data.endswith(dialect.escape.encode()) and keep == len(data) - 1:
            keep -= 1
        if spans:
            begins, ends = np.array(spans).T
            at = np.searchsorted(begins, newlines, "right") - 1
            newlines = newlines[(at < 0) | (newlines >= ends[at])]
        newlines = newlines[newlines <= keep]
        yield from (int(newline) + offset for newline in newlines)
        carried, offset = data[keep:], offset + keep


def _unclosed(uri: str, place: str, size: int, dialect: Dialect, first: int) -> HeadwaterError:
    try:
        for _ in _outside_newlines(place, uri, size, dialect, first):
            pass
    except HeadwaterError as error:
        return error
    return _never_closes(uri, place, size)


def _never_closes(uri: str, place: str, offset: int) -> HeadwaterError:
    lines = 1
    for start in range(0, offset, BLOCK_BYTES):
        lines += storage.read_range(place, start, min(start + BLOCK_BYTES, offset)).count(b"\n")
    return HeadwaterError(
        f"{uri}: a quote opens on line {lines:,} and never closes; close it, or double it if it is part of the text"
    )
