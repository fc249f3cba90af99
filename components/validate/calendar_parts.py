"""Columns that hold a part of the calendar, as `trip_start_month`: where two periods cover the calendar differently, so do they.

A name makes a column a candidate; it is one where the times of the rows give its very shares on both sides. Its change is
true by construction only as far as the periods alone, with rows spread evenly over them, would change it: months from one
half of a year to the next, but not hours from day to day, nor weekdays from week to week.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from headwater.components.common.distributions import Feature
from headwater.components.validate.by_construction import seconds_of, unit_of

REASON = "it is a part of the calendar, which the two periods cover differently"
"""Why such a column is not compared."""

_ALIKE = 0.05
"""The greatest distance in total variation of a column from what the times give."""

_MOVED = 0.05
"""The least effect (see `distances`) that the periods alone must have; half of what is worth a look by default."""

_ENDS = (0.005, 0.995)
_INSTANTS = 20_000

_Part = Callable[[np.ndarray], np.ndarray]


def _days(at: np.ndarray) -> np.ndarray:
    return at.astype("datetime64[D]")


def _year(at: np.ndarray) -> np.ndarray:
    return at.astype("datetime64[Y]").astype(np.int64) + 1970


def _month(at: np.ndarray) -> np.ndarray:
    return at.astype("datetime64[M]").astype(np.int64) % 12 + 1


def _quarter(at: np.ndarray) -> np.ndarray:
    return (_month(at) + 2) // 3


def _day_of_month(at: np.ndarray) -> np.ndarray:
    return (_days(at) - at.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64) + 1


def _day_of_year(at: np.ndarray) -> np.ndarray:
    return (_days(at) - at.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1


def _week(at: np.ndarray) -> np.ndarray:
    """The week of ISO 8601: that of the Thursday of the same week."""
    days = _days(at).astype(np.int64)
    return (_day_of_year((days - (days + 3) % 7 + 3).astype("datetime64[D]")) + 6) // 7


def _weekday(first: int, number: int) -> _Part:
    """Days of a week that begins at `first`, 0 for Monday, whose first day is `number`."""
    return lambda at: (_days(at).astype(np.int64) + 3 - first) % 7 + number


def _hour(at: np.ndarray) -> np.ndarray:
    return at.astype("datetime64[h]").astype(np.int64) % 24


_WEEKDAYS = tuple(_weekday(first, number) for first in (0, 6) for number in (0, 1))
_PARTS: dict[str, tuple[_Part, ...]] = {
    "year": (_year,),
    "quarter": (_quarter,),
    "month": (_month,),
    # `day_of_week` ends in it as well.
    "week": (_week, *_WEEKDAYS),
    "day": (_day_of_month, *_WEEKDAYS, _day_of_year),
    "weekday": _WEEKDAYS,
    "hour": (_hour,),
}


def reason(name: str, baseline: Feature, current: Feature, times: Sequence[tuple[Feature, Feature]]) -> str:
    """Why a feature is not compared.

    Args:
      name: the feature.
      baseline, current: its distributions.
      times: those of the columns that hold times.

    Returns:
      One clause; empty where it is compared.
    """
    parts = _PARTS.get(unit_of(name), ())
    if not parts or not (baseline.numeric and current.numeric):
        return ""
    for sides in times:
        seconds = [seconds_of(side) for side in sides]
        if any(each is None for each in seconds):
            continue
        at = [each.astype("datetime64[s]") for each in seconds if each is not None]
        for part in parts:
            is_part = all(
                _distance(part(own).astype(float), time.weights, side.points, side.weights) <= _ALIKE
                for own, time, side in zip(at, sides, (baseline, current))
            )
            if is_part and _moved(part, *(_evenly(own, time.weights) for own, time in zip(at, sides))) >= _MOVED:
                return REASON
    return ""


def _evenly(at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Instants spread evenly over a period, but for a few of its first and last rows."""
    upto = np.cumsum(weights)
    low, high = at.astype(np.int64)[np.searchsorted(upto, upto[-1] * np.array(_ENDS)).clip(0, len(at) - 1)]
    return np.linspace(low, high, _INSTANTS).astype(np.int64).astype("datetime64[s]")


def _moved(part: _Part, earlier: np.ndarray, now: np.ndarray) -> float:
    p, q = _shares(part(earlier).astype(float), np.ones(len(earlier)), part(now).astype(float), np.ones(len(now)))
    return float(((p - q) ** 2 / ((p + q) / 2)).sum())


def _distance(values: np.ndarray, weights: np.ndarray, others: np.ndarray, others_weights: np.ndarray) -> float:
    """In total variation."""
    p, q = _shares(values, weights, others, others_weights)
    return float(np.abs(p - q).sum()) / 2


def _shares(
    values: np.ndarray, weights: np.ndarray, others: np.ndarray, others_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The shares of all values of either."""
    known, places = np.unique(np.concatenate([values, others]), return_inverse=True)
    size, first = len(known), len(values)
    p = np.bincount(places[:first], weights, minlength=size)
    q = np.bincount(places[first:], others_weights, minlength=size)
    return p / p.sum(), q / q.sum()
