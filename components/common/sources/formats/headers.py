"""CSV headers: whether a file's first record names the columns, and what the columns are called."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

_MISSING = frozenset(("", "NA", "N/A", "n/a", "null", "NULL", "None", "-", "?"))
_KINDS = (
    ("number", re.compile(r"[+-]?(\d[\d.,' ]*|\.\d+)([eE][+-]?\d+)?\s*%?|[+-]?(inf|nan)", re.IGNORECASE)),
    ("time", re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d.*)?|\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?")),
    ("boolean", re.compile(r"true|false", re.IGNORECASE)),
)
_PLAIN_NUMBERS = re.compile(r"(?>-?(?:\d+(?:\.\d*)?|\.\d+)?\n)*+")
"""Lines of numbers as most are, and empty ones."""

_YEARS = re.compile(r"(19|20)\d\d$")


class Header(NamedTuple):
    """Whether the first record names the columns.

    Attributes:
      there: whether it does.
      sure: whether the values leave no doubt.
    """

    there: bool
    sure: bool


def detect_header(records: Sequence[Sequence[str]]) -> Header:
    """Detects from a file's first records whether the first one is a header.

    The first record is one where it has text above columns of numbers, times or booleans; it is data where it has such
    values itself. Above columns of text alone it is taken for a header.

    Args:
      records: the first records as text, those with another number of values than the first left out.
    """
    first, *body = records
    if not body:
        return Header(not any(_kind(cell) in ("number", "time") for cell in first), True)
    kinds = set(map(_kind_of_name, first))
    if kinds <= {"text", ""} and list(first) in map(list, body):
        # Files with headers were put together.
        return Header(True, True)
    if kinds == {"text"} and any(_kind_of_all(column) for _, *column in zip(first, *body)):
        # No name is alike a column's values, and one stands above values that are no text.
        return Header(True, True)
    typed = [(cell, kind) for cell, *column in zip(first, *body) if (kind := _kind_of_all(column))]
    named = [cell for cell, kind in typed if _kind(cell) == "text"]
    alike = [cell for cell, kind in typed if _kind(cell) == kind]
    if not typed or not alike:
        recurs = any(cell in column for cell, *column in zip(first, *body) if cell not in _MISSING)
        return Header(True, bool(named) or not recurs)
    if _is_sequence(alike) and (named or len(alike) > 2 or _YEARS.match(alike[0])):
        return Header(True, bool(named))
    return Header(len(named) >= len(alike), not named)


def name_columns(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """Names for all columns: `column_<position>`, from 0, where the header has none.

    Returns:
      The names, and the positions of those that were made.
    """
    unnamed = [position for position, name in enumerate(names) if not name.strip()]
    made, taken = list(names), set(names)
    for position in unnamed:
        name = f"column_{position}"
        while name in taken:
            name += "_"
        made[position] = name
    return made, unnamed


def _kind_of_all(column: Sequence[str]) -> str:
    """The kind that all present values have, where they are no text; empty where they have none, or several."""
    lines = "\n".join([*column, ""])
    if _PLAIN_NUMBERS.fullmatch(lines) and lines.count("\n") == len(column):
        return "number" if any(column) else ""
    found = ""
    for cell in column:
        kind = _kind(cell)
        if kind == "text" or (found and kind and kind != found):
            return ""
        found = found or kind
    return found


def _kind(cell: str) -> str:
    """The kind of a value: "number", "time", "boolean", "text", or empty for one that is missing."""
    text = cell.strip()
    if text in _MISSING:
        return ""
    # Most numbers are plain, and there are thousands of them in a file's beginning.
    if text.removeprefix("-").replace(".", "", 1).isdecimal():
        return "number"
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), "text")


# Many files have the same columns.
_kind_of_name = functools.lru_cache(1024)(_kind)


def _is_sequence(cells: Sequence[str]) -> bool:
    """Whether names are whole numbers one apart, as years and positions are."""
    if len(cells) < 2 or not all(cell.strip().isdigit() for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return all(later - earlier == 1 for earlier, later in zip(numbers, numbers[1:]))
