"""Dates and times read by declared formats, as Python's `strptime` reads them, and local times made instants."""

from __future__ import annotations

import re
from typing import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.expressions import evaluate

NO_FORM = "format: of no declared form"
"""Why a row is rejected whose text none of the formats reads."""

NONEXISTENT = "nonexistent: clocks in the zone skipped this time"
"""Why a row is rejected whose local time a change of the clocks left out."""

# What each code of Python's strptime reads. DuckDB, which does the work, is less strict about the number of digits.
_CODES = {
    "a": r"[A-Za-z]+",
    "A": r"[A-Za-z]+",
    "b": r"[A-Za-z]+",
    "B": r"[A-Za-z]+",
    "d": r"[0-9]{1,2}",
    "f": r"[0-9]{1,6}",
    "G": r"[0-9]{4}",
    "H": r"[0-9]{1,2}",
    "I": r"[0-9]{1,2}",
    "j": r"[0-9]{1,3}",
    "m": r"[0-9]{1,2}",
    "M": r"[0-9]{1,2}",
    "p": r"[AaPp][Mm]",
    "S": r"[0-9]{1,2}",
    "u": r"[1-7]",
    "U": r"[0-9]{1,2}",
    "V": r"[0-9]{1,2}",
    "w": r"[0-6]",
    "W": r"[0-9]{1,2}",
    "y": r"[0-9]{2}",
    "Y": r"[0-9]{4}",
    "z": r"(?:[-+][0-9]{2}:?[0-9]{2}|Z)",
    "%": "%",
}
_WHOLE = {"c": "%a %b %d %H:%M:%S %Y", "x": "%m/%d/%y", "X": "%H:%M:%S"}
_CODE = re.compile(r"%(.?)", re.DOTALL)


def check_times(patterns: Sequence[str]) -> None:
    """Refuses formats that cannot be read as Python's `strptime` would.

    Raises:
      ValueError: names the format, the code and what to use instead.
    """
    for pattern in patterns:
        codes = _CODE.findall(pattern)
        if not codes:
            raise ValueError(f"times: {pattern!r} has no code, as in %Y-%m-%d")
        for code in codes:
            if code == "Z":
                raise ValueError(
                    f"times: {pattern!r}: %Z reads names of zones, which are ambiguous; use %z for offsets, or zone"
                )
            if code not in _CODES and code not in _WHOLE:
                known = " ".join(f"%{each}" for each in sorted({*_CODES, *_WHOLE}, key=str.lower))
                raise ValueError(f"times: {pattern!r}: there is no code %{code}; the codes are {known}")
        if {"U", "W"} & set(codes) and "w" not in codes:
            raise ValueError(f"times: {pattern!r}: the week of a year, %U or %W, goes with the day of the week, %w")
        if "G" in codes and not {"V", "u"} <= set(codes):
            raise ValueError(f"times: {pattern!r}: %G, the year of an ISO week, goes with %V and %u")


def read_times(texts: pa.Array, patterns: Sequence[str], zone: str, tz: str | None) -> tuple[pa.Array, dict[int, str]]:
    """Reads texts by the first of several formats that fits each.

    A local time that occurs twice, when clocks are put back, is the earlier instant. One that clocks skip is none.

    Args:
      texts: strings, some perhaps missing.
      patterns: formats that `check_times` let pass.
      zone: the time zone of times without an offset; none for local times that stay so.
      tz: the time zone of the result; None for times without one.

    Returns:
      The times, timestamp[us] or timestamp[us, tz], missing where they could not be read; and the reason by place.
    """
    result = pa.nulls(len(texts), pa.timestamp("us", tz))
    skipped = np.zeros(len(texts), bool)
    for pattern in patterns:
        found = _parse(texts, pattern)
        if found.type.tz is None and zone:
            found, gaps = _in_zone(found, zone)
            skipped |= gaps
        result = pc.if_else(pc.is_valid(result), result, _as(found, tz))
    missing = pc.and_(pc.is_null(result), pc.is_valid(texts)).to_numpy(zero_copy_only=False)
    return result, {place: NONEXISTENT if skipped[place] else NO_FORM for place in np.flatnonzero(missing).tolist()}


def _parse(texts: pa.Array, pattern: str) -> pa.Array:
    for code, meaning in _WHOLE.items():
        pattern = re.sub(rf"(?<!%)((?:%%)*)%{code}", rf"\g<1>{meaning}", pattern)
    fits = pc.match_substring_regex(texts, _shape(pattern), ignore_case=True)
    given = pc.if_else(fits, texts, pa.scalar(None, pa.string()))
    if "%z" in pattern:
        given = pc.replace_substring_regex(given, r"Z$", "+00:00")
    quoted = pattern.replace("'", "''")
    batch = pa.RecordBatch.from_arrays([given], ["value"])
    return evaluate("formats", f"try_strptime(value, '{quoted}')", batch)[0]


def _shape(pattern: str) -> str:
    """What a format's texts look like, as a regular expression; blanks stand for any number of blanks."""
    parts = []
    for place, part in enumerate(_CODE.split(pattern)):
        if place % 2:
            parts.append(_CODES[part])
        else:
            parts.append(r"\s+".join(re.escape(each) for each in re.split(r"\s+", part)))
    return f"^{''.join(parts)}$"


def _in_zone(times: pa.Array, zone: str) -> tuple[pa.Array, np.ndarray]:
    """Local times as instants, missing where clocks skipped them; and where that is, bool."""
    first = pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent="earliest")
    second = pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent="latest")
    gaps = pc.not_equal(first, second)
    present = pc.if_else(gaps, pa.scalar(None, first.type), first)
    return present, pc.fill_null(gaps, False).to_numpy(zero_copy_only=False)


def _as(times: pa.Array, tz: str | None) -> pa.Array:
    if times.type.tz and tz is None:
        return times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).cast(pa.timestamp("us"))
    if times.type.tz:
        return times.cast(pa.timestamp("us", tz))
    return pc.assume_timezone(times, "UTC").cast(pa.timestamp("us", tz)) if tz else times
