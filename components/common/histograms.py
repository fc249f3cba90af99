"""The bins that a page draws numbers in: the same for every side, and not widened by a few far values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headwater.components.common.charts import Bin, Ticks
from headwater.components.common.pages import Unit

BINS = 20
"""Bins of equal width that most values fall into."""

FEW = 24
"""Up to so many distinct numbers, each has a bin of its own."""

CODES = 8
"""Up to so many distinct integers are shown by name, as months and store numbers are."""

_OUTER = 0.01
_FAR = 0.3


class Side(NamedTuple):
    """Numbers of one split.

    Attributes:
      points: in order, finite, float64.
      weights: how many rows each stands for.
      low, high: the least and the greatest, where points may be rounded.
      nan: rows with NaN.
    """

    points: np.ndarray
    weights: np.ndarray
    low: float = math.nan
    high: float = math.nan
    nan: float = 0.0


def side_of(values: np.ndarray) -> Side:
    """The side of plain values, NaN and infinities left out."""
    points, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return Side(points, counts.astype(np.float64))


def bins_of(sides: Sequence[Side], unit: Unit, bins: int = BINS) -> tuple[list[Bin], list[Ticks]]:
    """Bins with the shares of each side, and its ticks; none where there are no numbers.

    The outermost bins take what lies far beyond all but one in a hundred values on a side.

    Args:
      sides: of each split.
      unit: how numbers are read.
      bins: of equal width, at most.
    """
    ticks = [_ticks(side) for side in sides]
    points = np.concatenate([side.points for side in sides])
    if not len(points):
        return [], ticks
    distinct = np.unique(points)
    if len(distinct) <= FEW:
        columns = [np.bincount(np.searchsorted(distinct, s.points), s.weights, len(distinct)) for s in sides]
        ends = np.stack([distinct, distinct], axis=1)
        names = [unit.read(value) for value in distinct.tolist()]
    else:
        known = [each for each in ticks if not math.isnan(each.low)]
        whole = bool((distinct == np.floor(distinct)).all())
        ends_of_all = (min(each.low for each in known), max(each.high for each in known))
        edges = _edges(ends_of_all, _middle(sides), bins, whole)
        last = len(edges) - 2
        places = [np.clip(np.searchsorted(edges, side.points, side="right") - 1, 0, last) for side in sides]
        columns = [np.bincount(place, side.weights, last + 1) for place, side in zip(places, sides)]
        ends = np.stack([edges[:-1], edges[1:]], axis=1)
        names = [f"{unit.read(low)} to {unit.read(high)}" for low, high in ends.tolist()]
    totals = [side.weights.sum() + side.nan for side in sides]
    shares = np.stack([column / (total or 1.0) for column, total in zip(columns, totals)], axis=1)
    drawn = [Bin(name, tuple(own), low, high) for name, own, (low, high) in zip(names, shares.tolist(), ends.tolist())]
    if any(side.nan for side in sides):
        drawn.append(Bin("NaN", tuple(side.nan / (total or 1.0) for side, total in zip(sides, totals))))
    return drawn, ticks


def codes_of(sides: Sequence[Side]) -> list[Bin]:
    """A bin for each integer, named without separators of thousands; none where there are too many, or other numbers.

    Args:
      sides: of each split.
    """
    distinct = np.unique(np.concatenate([side.points for side in sides]))
    if not 0 < len(distinct) <= CODES or (distinct != np.floor(distinct)).any() or any(side.nan for side in sides):
        return []
    columns = [np.bincount(np.searchsorted(distinct, s.points), s.weights, len(distinct)) for s in sides]
    shares = np.stack([column / (column.sum() or 1.0) for column in columns], axis=1)
    return [Bin(f"{value:.0f}", tuple(own)) for value, own in zip(distinct.tolist(), shares.tolist())]


def _ticks(side: Side) -> Ticks:
    if not len(side.points):
        return Ticks(math.nan, math.nan, math.nan)
    low = side.low if math.isfinite(side.low) else float(side.points[0])
    high = side.high if math.isfinite(side.high) else float(side.points[-1])
    return Ticks(low, _quantile(side, 0.5), high)


def _quantile(side: Side, share: float) -> float:
    upto = np.cumsum(side.weights)
    return float(side.points[min(int(np.searchsorted(upto, upto[-1] * share)), len(side.points) - 1)])


def _middle(sides: Sequence[Side]) -> tuple[float, float]:
    """The ends of what all but few values of every side lie between."""
    held = [side for side in sides if len(side.points)]
    return min(_quantile(side, _OUTER) for side in held), max(_quantile(side, 1 - _OUTER) for side in held)


def _edges(ends: tuple[float, float], middle: tuple[float, float], bins: int, whole: bool) -> np.ndarray:
    """Edges of bins.

    Args:
      ends: the least and the greatest value.
      middle: what nearly all values lie between.
      bins: how many may lie there.
      whole: whether all numbers are integers.
    """
    (least, greatest), (low, high) = ends, middle
    # Halves, because the difference of two doubles can be infinite.
    room = _FAR * (high / 2 - low / 2)
    below, above = low / 2 - least / 2 > room, greatest / 2 - high / 2 > room
    low, high = low if below else least, high if above else greatest
    if not high > low:
        low, high, below, above = least, greatest, False, False
    if whole and high - low < 2**53:
        # So many whole numbers in each bin, or some would look fuller than others.
        width = math.ceil((high - low + 1) / bins)
        inner = low + width * np.arange(math.ceil((high - low + 1) / width) + 1)
    else:
        inner = np.linspace(low / 2, high / 2, bins + 1) * 2
    outer = [[least] if below else [], inner, [greatest] if above and greatest > inner[-1] else []]
    return np.unique(np.concatenate([np.asarray(part, float) for part in outer]))
