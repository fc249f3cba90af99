"""Changes that are true by construction, and so no news: of columns that tell the split, the span or the row itself.

Each is derived from both sides' distributions. The name is further evidence for the coordinates of a span alone: a column
that is only called an id is compared, and so is a constant that moves as spans do but is not called after one, as a version.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from headwater.components.common.distributions import Feature

EMPTY = "it has no values on either side"
"""Why a feature without values is not compared."""

TIMES = "it holds times, which advance from span to span"
"""Why a column of times is not compared."""

_MOMENT = "since 1970-01-01"
_UNIQUE = 0.95
_EVEN = 0.05
"""How far the values of an id may lie from an even spread, as the greatest difference of distribution functions."""

# Whole numbers that count seconds, and their thousandths and so on, from 2000 to 2100.
_SECONDS = (946_684_800.0, 4_102_444_800.0)
_UNITS = (1.0, 1e3, 1e6, 1e9)
_YEARS = (1900, 2100)
_UNITS_OF_TIME = {
    "year": _YEARS,
    "quarter": (1, 4),
    "month": (1, 12),
    "week": (0, 53),
    "day": (0, 366),
    "weekday": (0, 7),
    "hour": (0, 24),
}
_BESIDE_UNITS = {"of", "number", "num", "no", "id"}
# Names of what holds months as YYYYMM, and of what numbers the spans.
_MONTHS = {"month", "yearmonth", "yyyymm", "ym", "period", "span", "partition"}
_SPANS = {"span", "batch", "run", "delivery", "load", "partition", "snapshot", "period"}
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_DATE = re.compile(rb"(\d{4})(?:[-/]?(?:Q[1-4]|W?\d{1,2})(?:[-/]?\d{1,2})?)?(?:[T ].*)?")


def reason(
    name: str,
    baseline: Feature,
    current: Feature,
    *,
    key: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
    carried: tuple[float, float] = (0.0, 0.0),
    spans: tuple[int, int] | None = None,
) -> str:
    """Why a feature is not compared on purpose.

    Args:
      name: the feature.
      baseline, current: its distributions.
      key: columns that tell rows apart.
      about: what this side's dataset says of its columns, see `origins.describe`.
      carried: how many rows of each side waited since an earlier span, whose coordinates theirs are.
      spans: both sides' numbers, where both have one.

    Returns:
      One clause; empty when there is none.
    """
    about = about or {}
    if name in about.get("split_by", ()):
        return "it says which split a row belongs to"
    if name == about.get("event_time") or (_MOMENT in current.rule and _MOMENT in baseline.rule):
        return TIMES
    if all(not side.rows or side.missing >= side.rows for side in (baseline, current)):
        return EMPTY
    if name in key and all(map(_is_unique, (baseline, current))):
        return "it is part of the key, whose values are new in every span"
    if all(map(_has_times, (baseline, current))) and _advances(baseline, current, carried[1]):
        return TIMES
    if all(map(_counts_rows, (baseline, current))) and _advances(baseline, current, carried[1]):
        return "it numbers the rows, which goes on from span to span"
    if _is_coordinate(name, baseline, current, carried, spans):
        return "it has one value in each span, and tells the span"
    return ""


def seconds_of(side: Feature) -> np.ndarray | None:
    """The values of a column of times as seconds since 1970, int64; None where they are no times."""
    points, unit = side.points, 1.0
    if _MOMENT in side.rule:
        unit = 1 / 86_400 if "days" in side.rule else 1e6
    elif not _has_times(side):
        return None
    elif side.high < _SECONDS[0]:
        days = points.astype(np.int64)
        months = ((days // 10_000 - 1970) * 12 + days // 100 % 100 - 1).astype("datetime64[M]")
        return (months.astype("datetime64[D]").astype(np.int64) + days % 100 - 1) * 86_400
    else:
        unit = next(each for each in _UNITS if _SECONDS[0] * each <= side.low and side.high <= _SECONDS[1] * each)
    return np.floor(points / unit).astype(np.int64) if len(points) else None


def unit_of(name: str) -> str:
    """The unit of time that a name says, as `month` for `trip_start_month`; empty for none."""
    return _unit([part.lower() for part in _PARTS.findall(name)])


def _is_unique(side: Feature) -> bool:
    present = side.rows - side.missing
    if not side.numeric:
        # Values beyond those that are counted one by one are rare ones.
        return len(side.texts) + float(side.rest.sum()) >= _UNIQUE * present
    return _spreads(side) if side.slack else len(side.points) >= _UNIQUE * present


def _spreads(side: Feature) -> bool:
    """Whether there is room for a value of its own for each row, and no value of the sketch stands out."""
    if side.high - side.low + 1 < _UNIQUE * float(side.weights.sum()):
        return False
    return float(side.weights.max()) <= 4 * float(np.median(side.weights))


def _is_whole(side: Feature) -> bool:
    return side.numeric and not side.nan and bool(np.all(side.points == np.floor(side.points)))


def _counts_rows(side: Feature) -> bool:
    """Whether the values are whole numbers without repetition, spread evenly from the least to the greatest."""
    if not _is_whole(side) or side.missing or not _is_unique(side) or not _spreads(side):
        return False
    shares = np.cumsum(side.weights) / side.weights.sum()
    even = (side.points - side.low + 1) / (side.high - side.low + 1)
    return bool(np.abs(shares - even).max() <= max(_EVEN, 2 / math.sqrt(len(side.points))))


def _has_times(side: Feature) -> bool:
    """Whether all values are whole numbers that count seconds or smaller parts since 1970, or are dates as YYYYMMDD."""
    if not _is_whole(side):
        return False
    if any(_SECONDS[0] * unit <= side.low and side.high <= _SECONDS[1] * unit for unit in _UNITS):
        return True
    if not (_YEARS[0] * 10_000 <= side.low and side.high < (_YEARS[1] + 1) * 10_000):
        return False
    months, days = side.points // 100 % 100, side.points % 100
    return bool(((months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)).all())


def _advances(baseline: Feature, current: Feature, carried: float) -> bool:
    """Whether all values lie above the earlier ones, but for rows that were carried here."""
    below = float(current.weights[current.points <= baseline.high].sum())
    return below <= carried


def _is_coordinate(
    name: str, baseline: Feature, current: Feature, carried: tuple[float, float], spans: tuple[int, int] | None
) -> bool:
    """Whether each side has one value, but for rows carried there, and that value is where the span lies in time, or its
    number."""
    parts = [part.lower() for part in _PARTS.findall(name)]
    if "version" in parts:
        return False
    earlier, now = (_one_value(side, more) for side, more in zip((baseline, current), carried))
    if earlier is None or now is None or earlier == now:
        return False
    if isinstance(earlier, bytes) or isinstance(now, bytes):
        return isinstance(earlier, bytes) and isinstance(now, bytes) and _is_date(earlier) and _is_date(now)
    if earlier != int(earlier) or now != int(now):
        return False
    if (earlier, now) == spans and _SPANS & {*parts}:
        return True
    if _MONTHS & {*parts} and all(1 <= each % 100 <= 12 and _is_year(each // 100) for each in (earlier, now)):
        return True
    low, high = _UNITS_OF_TIME.get(_unit(parts), (0, -1))
    return all(low <= each <= high for each in (earlier, now))


def _unit(parts: Sequence[str]) -> str:
    """The unit of time that a name says: `month`, `eventYear` and `day_of_week`, but not `hours_per_week`."""
    if not parts or "per" in parts:
        return ""
    if parts[-1] in _UNITS_OF_TIME:
        return parts[-1]
    known = all(part in _UNITS_OF_TIME or part in _BESIDE_UNITS for part in parts)
    return next((part for part in parts if part in _UNITS_OF_TIME), "") if known else ""


def _is_year(number: float) -> bool:
    return _YEARS[0] <= number <= _YEARS[1]


def _one_value(side: Feature, carried: float) -> float | bytes | None:
    if side.missing or side.nan or not side.rows:
        return None
    if side.numeric:
        most = int(np.argmax(side.weights))
        alone = float(side.weights.sum() - side.weights[most]) <= carried and not side.slack
        return float(side.points[most]) if alone else None
    if not len(side.texts) or not side.exact:
        return None
    most = int(np.argmax(side.counts))
    return side.texts[most].as_py() if float(side.counts.sum() - side.counts[most]) <= carried else None


def _is_date(text: bytes) -> bool:
    match = _DATE.fullmatch(text)
    return match is not None and _is_year(int(match[1]))
