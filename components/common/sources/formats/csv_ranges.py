"""Where the records of a CSV file begin: its header, and ranges of whole records.

A range is found without reading the file from its start: each block reports both cases, beginning outside a quoted
field and inside one, and the cases are chained afterwards (the speculative split of Ge et al., "Speculative Distributed
CSV Data Parsing", SIGMOD 2019). Escapes and comments have no such two cases; files with them are looked through from
their start, and read in ranges.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import files
from headwater.components.common.sources.formats.dialect import Dialect
from headwater.components.common.sources.formats.headers import name_columns


def first_row_number(dialect: Dialect) -> int:
    """The number of a file's first data row: its lines before the header, and the header, are counted as well."""
    return 1 + dialect.skip_rows + dialect.header


MOST_COLUMNS = 20_000
"""A header with more columns than that is refused."""


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
            raise HeadwaterError(
                f"{uri}: skip_rows is {dialect.skip_rows:,}, but the file has only {number + 1:,} lines"
            )
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
    if end - start >= files.BLOCK_BYTES:
        raise HeadwaterError(
            f"{uri}: the first line is longer than {files.BLOCK_BYTES:,} bytes; it should be a header that names the columns"
        )
    try:
        text = data[start:end].decode()
    except UnicodeDecodeError as error:
        raise HeadwaterError(
            f"{uri}: the header is not UTF-8 (byte {error.start + 1}); name the file's encoding, or convert it"
        ) from None
    if "\0" in text:
        raise HeadwaterError(f"{uri}: the header holds a NUL byte; this is not a CSV file in UTF-8")
    if text.count(dialect.delimiter) >= MOST_COLUMNS:
        raise HeadwaterError(
            f"{uri}: the header has more than {MOST_COLUMNS:,} columns; this does not look like a table of records"
        )
    try:
        names = next(dialect.read_lines(io.StringIO(text, newline="")), [])
    except csv.Error as error:
        raise HeadwaterError(f"{uri}: the header cannot be read: {error}") from None
    if not dialect.header and names:
        return name_columns([""] * len(names))[0], [], start
    if not any(name.strip() for name in names):
        raise HeadwaterError(f"{uri}: the first line is empty; a CSV file begins with a header")
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
        line_ends = newlines[outside != inside_first]
        starts.append(int(line_ends[0]) + 1 if len(line_ends) else None)
        lines.append(len(line_ends))
    regular = (bool(at_start[0::2].all()), bool(at_start[1::2].all()))
    return Block(quotes, (starts[0], starts[1]), (lines[0], lines[1]), blank, regular)


def count_records(data: bytes, dialect: Dialect) -> int:
    """How many records these are, as `sure_records` tells it."""
    return sure_records(data, scan_block(data, dialect), dialect)


def sure_records(data: bytes, block: Block, dialect: Dialect) -> int:
    """How many whole records there are, wherever others stand before and after them; -1 where that is not sure.

    Args:
      data: the records.
      block: what `scan_block` says of them.
      dialect: how they are written; with escapes or comments nothing is sure.
    """
    sure = not (dialect.escape or dialect.comment or block.blank) and block.regular[0] and block.quotes % 2 == 0
    if not sure or data.count(b"\r") != data.count(b"\r\n"):
        return -1
    return block.lines[0] + (data[-1:] not in (b"", b"\n"))


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
            starts.append((number * files.BLOCK_BYTES + begins, lines + 1))
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


def unsplittable_parts(dialect: Dialect) -> re.Pattern[bytes]:
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
    line = data[start : newline if newline >= 0 else len(data)]
    if not any(each and each.encode() in line for each in (dialect.quote, dialect.escape)):
        return start, newline + 1 or len(data)
    # One byte on, as the pattern looks for what stands before a quote.
    for match in unsplittable_parts(dialect).finditer(b"\n" + data, start + 1):
        if newline < match.start() - 1:
            break
        if newline < match.end() - 1:
            newline = data.find(b"\n", match.end() - 1)
    return start, newline + 1 or len(data)


def _scan_sequentially(place: str, uri: str, size: int, dialect: Dialect, first: int) -> list[int]:
    """Record starts by reading the file from its first record, for files with stray quotes: exact, on one core."""
    starts, due = [first], (first // files.BLOCK_BYTES + 1) * files.BLOCK_BYTES
    for newline in _outside_newlines(place, uri, size, dialect, first):
        if newline >= due:
            starts.append(newline + 1)
            due = (newline // files.BLOCK_BYTES + 1) * files.BLOCK_BYTES
    return starts


def _outside_newlines(place: str, uri: str, size: int, dialect: Dialect, first: int) -> Iterator[int]:
    unsplittable = unsplittable_parts(dialect)
    carried, offset = b"\n", first - 1
    for start in range(first, size, files.BLOCK_BYTES):
        data = carried + storage.read_range(place, start, min(start + files.BLOCK_BYTES, size))
        last = start + files.BLOCK_BYTES >= size
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
    for start in range(0, offset, files.BLOCK_BYTES):
        lines += storage.read_range(place, start, min(start + files.BLOCK_BYTES, offset)).count(b"\n")
    return HeadwaterError(
        f"{uri}: a quote opens on line {lines:,} and never closes; close it, or double it if it is part of the text"
    )
