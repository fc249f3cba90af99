"""Detects the dialect of a CSV file from its beginning: delimiter, quote, escape, preamble and header.

Every dialect that may be is tried on the first records, and the one under which most of them have as many values as the
first is taken. DuckDB's `sniff_csv` chooses alike, and tests compare with it; it does not say how sure it is, which
decides here whether the user is asked.
"""

from __future__ import annotations

import bisect
import collections
import contextlib
import csv
import dataclasses
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from headwater.components.common.findings import percent
from headwater.components.common.sources.files import Reading
from headwater.components.common.sources.formats.dialect import DELIMITERS, Dialect, name_character
from headwater.components.common.sources.formats.headers import detect_header, name_columns

SAMPLE_BYTES = 64 << 10
"""The beginning of a file that its dialect is detected from."""

MOST_RECORDS = 500
MOST_SKIPPED = 100
"""Of lines before the header."""

_LEAST_SHARE = 0.5
"""A delimiter is taken when at least this share of the records has as many values as the first."""

_READERS_OWN = ("\r", "\0")
"""Characters that Python's reader of CSV treats in ways of its own."""

_SEP_LINE = re.compile(r"\ufeff?[\"']?sep=(.)[\"']?\r?\n", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}([.' ]\d{3})+|\d+),\d+")
_THOUSANDS_COMMA = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


class Sniffed(NamedTuple):
    """The dialect of a file.

    Attributes:
      dialect: the likeliest.
      sure: whether another file of the same input may be asked when this one leaves doubts.
      notices: what the user should know: rule, severity, column if it is about one, and a sentence.
    """

    dialect: Dialect
    sure: bool
    notices: list[tuple[str, str, str | None, str]]


class _Candidate(NamedTuple):
    dialect: Dialect
    records: list[list[str]]
    share: float

    @property
    def width(self) -> int:
        return len(self.records[0]) if self.records else 0

    @property
    def fits(self) -> bool:
        return self.width > 1 and self.share >= _LEAST_SHARE


def sniff(data: bytes, whole: bool, reading: Reading, expected: str) -> Sniffed:
    """Detects a file's dialect.

    Args:
      data: the beginning of the file; `SAMPLE_BYTES` of it are looked at.
      whole: whether `data` is all there is.
      reading: what the user said; only the rest is detected.
      expected: the delimiter that the file's name lets expect; the only one if `reading` names one.
    """
    whole = whole and len(data) <= SAMPLE_BYTES
    text = data[:SAMPLE_BYTES].decode("utf-8-sig", "replace")
    if not whole and "\n" in text:
        text = text[: text.rindex("\n") + 1]
    first = Dialect(delimiter=expected, comment=reading.comment, decimal=reading.decimal, thousands=reading.thousands)
    # What stands nowhere separates nothing.
    others = [] if reading.delimiter else [mark for mark in DELIMITERS if mark != expected and mark in text]
    delimiters = [expected, *others]
    marked = _SEP_LINE.match(text)
    if marked and not reading.delimiter and reading.skip_rows is None:
        delimiters = [marked[1]]
        first = dataclasses.replace(first, skip_rows=1)
    candidates = [
        _try(text, whole, dataclasses.replace(first, delimiter=delimiter, quote=quote), reading)
        for delimiter in delimiters
        for quote in _quotes(text, delimiter, reading)
    ]
    fitting = sorted((header for header in candidates if header.fits), key=_worth, reverse=True)
    best = fitting[0] if fitting else candidates[0]
    best = _with_escape(text, whole, best, reading)
    dialect = best.dialect
    doubts: list[str] = []
    if not reading.delimiter and not marked:
        doubts += _doubt_delimiter(best, fitting, candidates)
    sure = not doubts
    if reading.header is None and not reading.column_names and best.records:
        width = best.width
        header = detect_header([record for record in best.records if len(record) == width])
        dialect = dataclasses.replace(dialect, header=header.there)
        sure = sure and header.sure
        doubts += _notice_header(header.there, header.sure, best.width)
    elif reading.header is False or reading.column_names:
        dialect = dataclasses.replace(dialect, header=False)
    notices: list[tuple[str, str, str | None, str]] = [
        ("csv_dialect", "info", None, sentence) for sentence in _notice_dialect(dialect, expected, reading)
    ]
    if "#" in text:
        doubts += _notice_comments(best)
    notices += [("csv_dialect", "warning", None, sentence) for sentence in doubts]
    # Within values commas stand where something else separates them, or where they are quoted or escaped.
    if "," in text and (
        dialect.delimiter != "," or any(mark and mark in text for mark in (dialect.quote, dialect.escape))
    ):
        notices += _notice_numbers(best, dialect)
    return Sniffed(dialect, sure, notices)


def _worth(candidate: _Candidate) -> tuple[float, int, bool, int]:
    # Decimal commas make a column of two; what has fewer lines before it, and then more columns, is likelier.
    return (round(candidate.share, 2), -candidate.dialect.skip_rows, candidate.dialect.quote == '"', candidate.width)


def _try(text: str, whole: bool, dialect: Dialect, reading: Reading) -> _Candidate:
    if reading.escape is not None:
        dialect = dataclasses.replace(dialect, escape=reading.escape)
    rows, lines = _records(text, dialect)
    if not whole and len(rows) > 1 and lines[-1] == text.count("\n"):
        # A quote may have been left open where the sample was cut.
        rows = rows[:-1]
    if reading.skip_rows is not None:
        kept = rows[bisect.bisect_right(lines, reading.skip_rows) :]
        dialect = dataclasses.replace(dialect, skip_rows=reading.skip_rows)
    else:
        skipped = _preamble(rows, dialect.delimiter)
        kept = rows[skipped:]
        if skipped:
            dialect = dataclasses.replace(dialect, skip_rows=lines[skipped - 1])
    records = [cells for cells in kept if cells]
    widths = [len(cells) for cells in records]
    return _Candidate(dialect, records, widths.count(widths[0]) / len(widths) if widths else 0.0)


def _records(text: str, dialect: Dialect) -> tuple[list[list[str]], Sequence[int]]:
    """The first records, blank ones as no cells; and the number of the line that each ends on."""
    skipped = dialect.skip_rows
    if not any(mark and mark in text for mark in (dialect.quote, dialect.escape, dialect.comment, *_READERS_OWN)):
        # Python's reader would cut there as well, in twice the time.
        plain = text.removesuffix("\n").split("\n", skipped + MOST_RECORDS) if text else []
        mark = dialect.delimiter
        rows = [line.split(mark) if line else [] for line in plain[skipped : skipped + MOST_RECORDS]]
        return rows, range(skipped + 1, skipped + 1 + len(rows))
    lines = io.StringIO(text, newline="")
    for _ in range(skipped):
        next(lines, None)
    reader = dialect.read_lines(lines)
    rows, ends = [], []
    with contextlib.suppress(csv.Error):
        for _, cells in zip(range(MOST_RECORDS), reader):
            if not (dialect.comment and cells and cells[0].startswith(dialect.comment)):
                rows.append(cells)
                ends.append(skipped + reader.line_num)
    return rows, ends


def _preamble(rows: Sequence[Sequence[str]], delimiter: str) -> int:
    """How many records stand before the table: a title, notes, blank lines, also as a spreadsheet pads them."""
    widths = collections.Counter(map(len, rows))
    del widths[0], widths[1]
    if not widths:
        return next((number for number, cells in enumerate(rows[:MOST_SKIPPED]) if cells), 0)
    width = max(widths, key=lambda size: (widths[size], size))
    start = next((number for number, cells in enumerate(rows) if len(cells) == width and _filled(cells) == width), 0)
    before = rows[:start]
    if start > MOST_SKIPPED:
        return 0
    if not before and not next(cells for cells in rows if len(cells) == width)[0].startswith("#"):
        return 0
    table = [cells for cells in rows[start:] if len(cells) == width]
    if not before:
        # A note may hold as many delimiters as the table has.
        noted = len(table) > 2 and _surely_headed(table[1:])
        return 1 if noted and not _surely_headed(table) else 0
    if _surely_headed(table):
        return start
    if any(_filled(cells) > max(1, width // 2) for cells in before):
        return 0
    if any(not any(cells) or cells[0].startswith("#") for cells in before):
        return start
    # One that holds delimiters may be a header with a stray quote, and one above data a header in another dialect.
    title = width > 2 and not any(delimiter in cell for cells in before for cell in cells)
    return start if title and detect_header(table).there else 0


def _filled(cells: Sequence[str]) -> int:
    """How many values a record has; of a title in a table of several columns, those that are not empty."""
    filled = sum(1 for cell in cells if cell.strip())
    return filled if len(cells) > 2 and filled < 2 else len(cells)


def _surely_headed(table: Sequence[Sequence[str]]) -> bool:
    if len(table) < 2:
        return False
    first, others = detect_header(table), detect_header(table[1:])
    return first.there and first.sure and not (others.there and others.sure)


def _quotes(text: str, delimiter: str, reading: Reading) -> list[str]:
    if reading.quote is not None:
        return [reading.quote]
    # Each pattern begins with the quote, which is found much sooner than what may stand before it.
    edge = re.escape(delimiter)
    if re.search(rf'"(?<![^\n{edge}]")', text):
        return ['"']
    begun = re.findall(rf"'(?<![^\n{edge}]')", text)
    wrapped = re.findall(rf"'(?<![^\n{edge}]')(?:[^']|'')*'(?={edge}|\r?$)", text, re.MULTILINE) if begun else []
    # A value that begins with an apostrophe and ends without one shows that they are text.
    return ["'"] if wrapped and len(wrapped) == len(begun) else ['"']


def _with_escape(text: str, whole: bool, candidate: _Candidate, reading: Reading) -> _Candidate:
    dialect = candidate.dialect
    if reading.escape is not None or "\\" not in text:
        return candidate
    escaped = _try(text, whole, dataclasses.replace(dialect, escape="\\"), reading)
    if escaped.share > candidate.share:
        return escaped
    inside = dialect.quote and re.search(
        rf"\\{re.escape(dialect.quote)}[^{re.escape(dialect.delimiter + dialect.quote)}\r\n]", text
    )
    return escaped if inside and escaped.share == candidate.share and escaped.width == candidate.width else candidate


def _notice_comments(candidate: _Candidate) -> Iterator[str]:
    # Not left out by itself: later in the file a value may begin so.
    lines = [cells for cells in candidate.records[1:] if cells[0].startswith("#")]
    if (
        candidate.width > 1
        and not candidate.dialect.comment
        and lines
        and all(len(cells) != candidate.width for cells in lines)
    ):
        yield "lines that begin with '#' look like comments but are rejected as records; set comment: '#' to skip them"


def _doubt_delimiter(
    best: _Candidate, fitting: Sequence[_Candidate], candidates: Sequence[_Candidate]
) -> Iterator[str]:
    chosen = best.dialect.delimiter
    # The header decides: a delimiter that only later records hold is part of their text.
    others = [
        candidate
        for candidate in fitting
        if candidate.dialect.delimiter != chosen
        and candidate.share >= best.share
        and candidate.dialect.skip_rows <= best.dialect.skip_rows
    ]
    if others:
        choices = " or ".join(
            f"{candidate.width:,} columns by {name_character(candidate.dialect.delimiter)}" for candidate in others
        )
        yield (
            f"the values are separated by {name_character(chosen)}, which gives {best.width:,} columns; it could also "
            "be "
            f"{choices}: set delimiter"
        )
    elif not fitting and any(candidate.width > 1 for candidate in candidates):
        choices = ", ".join(
            f"{name_character(candidate.dialect.delimiter)} {percent(candidate.share)}"
            for candidate in candidates
            if candidate.width > 1
        )
        yield (
            f"no delimiter gives most records as many values as the first (shares of those tried: {choices}); "
            f"{name_character(chosen)} is used: set delimiter"
        )


def _notice_header(there: bool, sure: bool, width: int) -> Iterator[str]:
    if not there:
        last = f" to column_{width - 1}" if width > 1 else ""
        yield (
            f"the first record looks like data, so the columns are called column_0{last}; name them with "
            "column_names, or set header: true if the first record holds their names"
        )
    elif not sure:
        yield (
            "the first record is taken as the header, though it looks much like the records after it; set header: "
            "false if it is data, or header: true to confirm"
        )


def _notice_dialect(dialect: Dialect, expected: str, reading: Reading) -> Iterator[str]:
    parts = []
    if dialect.delimiter != expected and not reading.delimiter:
        parts.append(f"values are separated by {name_character(dialect.delimiter)}")
    if dialect.quote != '"' and reading.quote is None:
        parts.append(f"values are quoted by {name_character(dialect.quote)}")
    if dialect.escape and reading.escape is None:
        parts.append(f"{name_character(dialect.escape)} escapes the next character")
    if dialect.skip_rows and reading.skip_rows is None:
        many = dialect.skip_rows > 1
        parts.append(
            f"{dialect.skip_rows:,} {'lines' if many else 'line'} before the table {'are' if many else 'is'} skipped"
        )
    if parts:
        yield f"detected from the beginning of the file: {'; '.join(parts)}"


def _notice_numbers(candidate: _Candidate, dialect: Dialect) -> Iterator[tuple[str, str, str | None, str]]:
    """Columns whose numbers would be read as text."""
    if not candidate.records or "," in (dialect.thousands, dialect.decimal):
        return
    first, *records = candidate.records
    names, _ = name_columns(first if dialect.header else [""] * len(first))
    width = len(first)
    for name, column in zip(names, zip(*(cells for cells in records if len(cells) == width))):
        telling = (text for text in map(str.strip, column) if text and not text.isdigit())
        value = next(telling, "")
        if "," not in value:
            continue
        values = [value, *telling]
        if all(map(_THOUSANDS_COMMA.fullmatch, values)):
            sentence = "numbers with commas, which are read as text; set thousands: ',' or decimal: ','"
        elif all(map(_DECIMAL_COMMA.fullmatch, values)):
            sentence = "numbers with decimal commas, which are read as text; set decimal: ','"
        else:
            continue
        yield "csv_numbers", "warning", name, f"{name!r} holds {sentence}"
