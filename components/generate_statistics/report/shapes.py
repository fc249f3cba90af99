"""The bins that the page draws a feature's numbers in: the same for every split, and not widened by a few far values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from headwater.components.common.charts import Bin, Ticks
from headwater.components.common.distributions import Feature
from headwater.components.common.pages import Unit

BINS = 20
"""Bins of equal width that most values fall into."""

FEW = 24
"""Up to so many distinct numbers, each has a bin of its own."""

_OUTER = 0.01
_FAR = 0.3


def bins_of(features: Mapping[str, Feature], unit: Unit, bins: int = BINS) -> tuple[list[Bin], list[Ticks]]:
    """Bins with the shares of each split, and its ticks; none where there are no numbers.

    The outermost bins take what lies far beyond all but one in a hundred values on a side.

    Args:
      features: by split.
      unit: how numbers are read.
      bins: of equal width, at most.
    """
    sides = [_finite(feature) for feature in features.values()]
    ticks = [_ticks(feature, points, weights) for feature, (points, weights) in zip(features.values(), sides)]
    points = np.concatenate([own for own, _ in sides])
    if not len(points):
        return [], ticks
    distinct = np.unique(points)
    if len(distinct) <= FEW:
        columns = [np.bincount(np.searchsorted(distinct, own), weights, len(distinct)) for own, weights in sides]
        ends = np.stack([distinct, distinct], axis=1)
        names = [unit.read(value) for value in distinct.tolist()]
    else:
        known = [each for each in ticks if not math.isnan(each.low)]
        whole = bool((distinct == np.floor(distinct)).all())
        ends_of_all = (min(each.low for each in known), max(each.high for each in known))
        edges = _edges(ends_of_all, _middle(sides), bins, whole)
        columns = [
            np.bincount(
                np.clip(np.searchsorted(edges, own, side="right") - 1, 0, len(edges) - 2), weights, len(edges) - 1
            )
            for own, weights in sides
        ]
        ends = np.stack([edges[:-1], edges[1:]], axis=1)
        names = [f"{unit.read(low)} to {unit.read(high)}" for low, high in ends.tolist()]
    totals = [weights.sum() + feature.nan for (_, weights), feature in zip(sides, features.values())]
    shares = np.stack([column / (total or 1.0) for column, total in zip(columns, totals)], axis=1)
    found = [Bin(name, tuple(own), low, high) for name, own, (low, high) in zip(names, shares.tolist(), ends.tolist())]
    if any(feature.nan for feature in features.values()):
        found.append(Bin("NaN", tuple(f.nan / (total or 1.0) for f, total in zip(features.values(), totals))))
    return found, ticks


def _finite(feature: Feature) -> tuple[np.ndarray, np.ndarray]:
    if not feature.numeric:
        return np.zeros(0), np.zeros(0)
    kept = np.isfinite(feature.points)
    return feature.points[kept], feature.weights[kept]


def _ticks(feature: Feature, points: np.ndarray, weights: np.ndarray) -> Ticks:
    if not len(points):
        return Ticks(math.nan, math.nan, math.nan)
    # Points may be rounded, the extremes are known.
    low = feature.low if math.isfinite(feature.low) else float(points[0])
    high = feature.high if math.isfinite(feature.high) else float(points[-1])
    return Ticks(low, _quantile(points, weights, 0.5), high)


def _quantile(points: np.ndarray, weights: np.ndarray, share: float) -> float:
    upto = np.cumsum(weights)
    return float(points[min(int(np.searchsorted(upto, upto[-1] * share)), len(points) - 1)])


def _middle(sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """The ends of what all but few values of every split lie between."""
    held = [(points, weights) for points, weights in sides if len(points)]
    return (
        min(_quantile(points, weights, _OUTER) for points, weights in held),
        max(_quantile(points, weights, 1 - _OUTER) for points, weights in held),
    )


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
