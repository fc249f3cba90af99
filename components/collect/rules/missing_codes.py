"""Missing codes: values such as "?", "N/A", -1, 9999 or 1970-01-01 that most likely stand for a missing one.

A code is one that people are known to use, and the column must bear it out: words must differ from what the other values
look like; numbers and dates must repeat, and lie apart from the others or be far more frequent than those next to them.
"""

from __future__ import annotations

import datetime
import re
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.rules.base import Evidence, Outcome
from headwater.components.collect.rules.binning import numbers
from headwater.components.collect.rules.findings import finding
from headwater.components.common.arrow_types import is_text

WORDS = frozenset(
    ["?", "??", "na", "n/a", "n.a.", "#n/a", "#na", "nan", "null", "(null)", "<null>", "<na>", "nil", "none", "(none)"]
    + ["-", "--", "---", ".", "..", "\\n", "missing", "(missing)", "undefined", "not available", "no data", "#value!"]
    + ["0000-00-00", "0000-00-00 00:00:00", "1970-01-01", "1900-01-01", "9999-12-31"]
)
"""In lower case, without spaces around."""

NUMBERS = (-1, -9, -99, -999, -9999, -99999, -999999, 99, 999, 9999, 99999, 999999, 9999999, 2**31 - 1, -(2**31))
"""Numbers that people write for a missing one."""

DAYS = (datetime.date(1970, 1, 1), datetime.date(1900, 1, 1), datetime.date(1, 1, 1), datetime.date(9999, 12, 31))
"""Days that programs write for a missing one: the beginnings and ends of their calendars."""

LEAST_ROWS = 2
"""A code that occurs less often is an accident, or a value."""

_FEWEST = 20
_MOST_WORDS = 10_000
_SPIKE = 5
_SPIKE_SHARE = 0.005
_APART = 0.25
# A cap lies where large values go on, so within an order of magnitude of the next one.
_WITHIN_CAP = 10
_LETTERS = re.compile(r"[A-Za-z]+")
_SAME_FORM, _ABBREVIATION = 0.8, 5
# Words that are answers as well: "none" of several allergies.
_ANSWERS = frozenset(["none", "nil", "(none)"])
_FEW_VALUES = 20


class Code(NamedTuple):
    """A value that stands for a missing one.

    Attributes:
      value: as the setting `missing` takes it.
      rows: how many rows have it.
      why: what the column shows beside, in one clause.
      cap: whether it may as well be a cap, at which greater values were cut off (top-coding).
    """

    value: str | int
    rows: int
    why: str
    cap: bool = False


def missing_codes(evidence: Evidence) -> Outcome:
    """`missing_code`: a value that looks like a missing one, or like a cap."""
    if not evidence.sample:
        return Outcome([])
    sources = {new: old for old, new in evidence.settings.rename.items()}
    made = {each.name for each in evidence.settings.derived}
    findings, values_of = [], {}
    for name, column in evidence.sample.columns.items():
        if name in made or name in evidence.settings.key or name.startswith("_"):
            continue
        every = find_missing_codes(column)
        findings += [_cap(code, name, sources.get(name, name), len(column)) for code in every if code.cap]
        codes = [code for code in every if not code.cap]
        if not codes:
            continue
        values_of[name] = [code.value for code in codes]
        told = ", ".join(repr(code.value) for code in codes)
        rows, setting = sum(code.rows for code in codes), f"missing: {{{sources.get(name, name)}: [{told}]}}"
        findings.append(
            finding(
                "missing_code",
                "warning",
                name,
                f"{told} {'looks like a missing value' if len(codes) == 1 else 'look like missing values'}: "
                f"{rows:,} of {len(column):,} sampled rows; {codes[0].why}",
                round(rows / len(column), 6),
                action=f"add {setting} to collect's settings, or leave it if it is a value",
            )
        )
    return Outcome(findings, {"missing_codes": values_of} if values_of else {})


def _cap(code: Code, name: str, source: str, rows: int) -> dict[str, Any]:
    return finding(
        "missing_code",
        "info",
        name,
        f"{code.value!r} looks like a code or a cap: it is the largest value, in {code.rows:,} of {rows:,} sampled rows; "
        f"{code.why}",
        round(code.rows / rows, 6),
        action=f"look at what the source means by it: if it is a missing value, add missing: {{{source}: [{code.value!r}]}} "
        "to collect's settings; if values are cut off there, leave it",
    )


def find_missing_codes(column: pa.Array) -> list[Code]:
    """The values of a column that most likely stand for a missing one, the most frequent first.

    Args:
      column: text, numbers, dates or timestamps; others have none.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    known = column.drop_null()
    if len(known) < _FEWEST:
        return []
    if is_text(kind):
        candidates = _words(known)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        candidates = _numbers(known)
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        candidates = _days(known)
    else:
        candidates = []
    return sorted(candidates, key=lambda code: (-code.rows, str(code.value)))


def _words(known: pa.Array) -> list[Code]:
    counted = pc.value_counts(known)
    values, counts = counted.field(0), counted.field(1).to_numpy()
    # Of free text the commonest values are enough: a code repeats.
    order = np.argsort(-counts, kind="stable")[:_MOST_WORDS]
    texts = [str(text) for text in values.take(pa.array(order)).to_pylist()]
    shares = dict(zip(texts, counts[order].tolist()))
    codes = [text for text in texts if shares[text] >= LEAST_ROWS and text.strip().lower() in WORDS]
    if not codes:
        return []
    others = [text for text in texts if text not in codes]
    if len(others) < 2:
        return []
    return [Code(text, shares[text], "the other values are different") for text in codes if not _fits(text, others)]


def _fits(code: str, others: list[str]) -> bool:
    """Whether a code may be a value like the others: NA among countries, none among answers, - among signs."""
    text = code.strip()
    if text.lower() in _ANSWERS:
        return len(others) < _FEW_VALUES and all(_LETTERS.match(other) for other in others)
    if _LETTERS.fullmatch(text) and text.isupper():
        same = sum(len(other) <= _ABBREVIATION and other.isalpha() and other.isupper() for other in others)
        return same >= _SAME_FORM * len(others)
    if not any(character.isalnum() for character in text):
        return sum(not any(each.isalnum() for each in other) for other in others) * 2 >= len(others)
    if text[:1].isdigit():
        # A date among dates must lie outside of their years.
        years = sorted(other[:4] for other in others if other[:4].isdigit())
        return bool(years) and years[0] <= text[:4] <= years[-1]
    return False


def _numbers(known: pa.Array) -> list[Code]:
    values, counts = np.unique(numbers(known), return_counts=True)
    finite = np.isfinite(values)
    values, counts = values[finite], counts[finite]
    candidates = []
    for code in NUMBERS:
        place = int(np.searchsorted(values, code))
        if place >= len(values) or values[place] != code or counts[place] < LEAST_ROWS:
            continue
        why = _stands_out(values, counts, place)
        if why:
            candidates.append(Code(code, int(counts[place]), why, _may_be_cap(values, place)))
    return candidates


def _may_be_cap(values: np.ndarray, place: int) -> bool:
    """Whether a code is nines above numbers that are not negative and come near it, as incomes cut off at 99999."""
    nines = set(str(int(values[place]))) == {"9"}
    return nines and place == len(values) - 1 and values[0] >= 0 and values[place] <= _WITHIN_CAP * values[place - 1]


def _stands_out(values: np.ndarray, counts: np.ndarray, place: int) -> str:
    """Why a number is most likely a code; empty when it may as well be a value."""
    low = place == 0
    if not low and place != len(values) - 1:
        return ""
    others, weights = np.delete(values, place), np.delete(counts, place)
    code, count, total = values[place], int(counts[place]), int(counts.sum())
    # A scale of -1, 0 and 1 has a -1.
    if len(others) < 3 or (low and others[0] < 0):
        return ""
    edges = np.searchsorted(np.cumsum(weights), weights.sum() * np.array([0.05, 0.95]))
    spread = float(others[min(edges[1], len(others) - 1)] - others[edges[0]]) or 1.0
    nearest = float(others[0] if low else others[-1])
    gap = abs(nearest - code)
    if gap > 1 and gap >= (_APART if low else 1.0) * spread:
        return f"the others are {'at least' if low else 'at most'} {nearest:g}"
    beside = int((weights[:3] if low else weights[-3:]).max())
    if low and count >= _SPIKE * beside and count >= _SPIKE_SHARE * total:
        return f"no other is below 0, and {nearest:g} is less frequent"
    return ""


def _days(known: pa.Array) -> list[Code]:
    days = pc.cast(known, pa.date32(), safe=False) if pa.types.is_timestamp(known.type) else known.cast(pa.date32())
    counted = pc.value_counts(days)
    values, counts = counted.field(0).cast(pa.int32()).to_numpy(), counted.field(1).to_numpy()
    candidates: list[Code] = []
    for day in DAYS:
        number = (day - datetime.date(1970, 1, 1)).days
        own = values == number
        if not own.any() or len(values) < 3:
            continue
        count, others = int(counts[own][0]), values[~own]
        if count < LEAST_ROWS:
            continue
        gap = min(abs(int(others.min()) - number), abs(int(others.max()) - number))
        outside = number < others.min() or number > others.max()
        if outside and gap > 365:
            candidates.append(Code(day.isoformat(), count, f"the others are {gap / 365.25:,.0f} years away or more"))
        elif count >= _SPIKE * int(counts[~own].max()) and count >= _SPIKE_SHARE * int(counts.sum()):
            candidates.append(Code(day.isoformat(), count, "it is far more frequent than any other day"))
    return candidates
