"""Distributions as TFMD's histograms, of many features at once.

All functions take the points of several distributions one after another; `size` says how many each has, at least one.
"""

from __future__ import annotations

import numpy as np

from headwater.components.generate_statistics.report import wire
from headwater.components.generate_statistics.state import points as pointing

# Finer quantiles that the median is read from, as in TFDV.
_FINER = 10


def medians(values: np.ndarray, weights: np.ndarray, size: np.ndarray, buckets: int) -> np.ndarray:
    """The median of each distribution, as TFDV reads it from finer quantiles than it tells."""
    half = np.array([_FINER * buckets // 2])
    return pointing.quantiles(values, weights, size, _FINER * buckets, half)[0][:, 0]


def quantiles(
    values: np.ndarray,
    weights: np.ndarray,
    size: np.ndarray,
    buckets: int,
    ends: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[bytes]:
    """Buckets of nearly equal weight; those with the same bounds share what falls there.

    Args:
      values, weights, size: the distributions.
      buckets: how many there are.
      ends: the least and the greatest value of each, where points may be rounded.

    Returns:
      What a histogram's message reads.
    """
    begin = np.cumsum(size) - size
    bounds, upto = pointing.quantiles(values, weights, size, buckets, np.arange(1, buckets + 1))
    bounds, upto = (np.column_stack([first[begin], more]) for first, more in ((values, bounds), (weights, upto)))
    if ends is not None:
        # The middle of the last part may stand for the greatest value; the extremes are known.
        bounds[:, 0], bounds[:, -1] = ends
    low, high = bounds[:, :-1].ravel(), bounds[:, 1:].ravel()
    held = np.diff(upto, axis=1)
    # What is up to the least value belongs to the first bucket.
    held[:, 0] += upto[:, 0]
    first = np.concatenate([[True], (low[1:] != low[:-1]) | (high[1:] != high[:-1])])
    first[::buckets] = True
    group = np.cumsum(first) - 1
    shared = (np.bincount(group, held.ravel()) / np.bincount(group))[group]
    return wire.buckets(low, high, shared, np.full(len(size), buckets))


def widths(
    values: np.ndarray, weights: np.ndarray, size: np.ndarray, ends: tuple[np.ndarray, np.ndarray], buckets: int
) -> list[bytes]:
    """Buckets of equal width, and one for each infinity.

    One bucket has all where no value is finite, or where all finite ones are equal; there is none where a width is beyond
    what a double holds.

    Args:
      values, weights, size: the distributions.
      ends: the least and the greatest finite value of each.
      buckets: how many there are of equal width.

    Returns:
      What a histogram's message reads.
    """
    many, (low, high) = len(size), ends
    own = np.repeat(np.arange(many), size)
    finite = np.isfinite(low) & np.isfinite(high)
    bounds = _bounds(low, high, buckets)
    drawn = finite & np.isfinite(bounds).all(axis=1)
    inner = np.where(drawn, np.where(low == high, 1, buckets), 0)
    # Of each distribution: one bucket below, those of equal width, one above, and the one that has all.
    rows, there = np.zeros((many, buckets + 3, 3)), np.zeros((many, buckets + 3), bool)
    for column, end in ((0, -np.inf), (-2, np.inf)):
        at = values == end
        rows[:, column, :2] = end
        rows[:, column, 2] = np.bincount(own[at], weights[at], minlength=many)
        there[:, column] = drawn & (rows[:, column, 2] > 0)
    rows[:, 1:-2, 0], rows[:, 1:-2, 1] = bounds[:, :-1], bounds[:, 1:]
    chosen = drawn[own] & np.isfinite(values)
    own_finite = own[chosen]
    cells = own_finite * buckets + _places(values[chosen], own_finite, bounds, inner)
    rows[:, 1:-2, 2] = np.bincount(cells, weights[chosen], minlength=many * buckets).reshape(many, buckets)
    there[:, 1:-2] = np.arange(buckets) < inner[:, None]
    rows[:, -1] = np.column_stack([low, high, np.bincount(own, weights, minlength=many)])
    there[:, -1] = ~finite
    lows, highs, held = rows[there].T
    return wire.buckets(lows, highs, held, there.sum(axis=1))


def _bounds(low: np.ndarray, high: np.ndarray, buckets: int) -> np.ndarray:
    """As `numpy.linspace` has them, one row a distribution."""
    place = np.arange(buckets + 1)
    with np.errstate(all="ignore"):
        whole = (high - low)[:, None]
        step = whole / buckets
        # Less than the least double is no step.
        bounds = np.where(step == 0, place / buckets * whole, place * step) + low[:, None]
    bounds[:, -1] = high
    # To the sign of a zero.
    for column, end in ((0, low), (1, high)):
        bounds[:, column] = np.where(bounds[:, column] == end, end, bounds[:, column])
    return bounds


def _places(values: np.ndarray, own: np.ndarray, bounds: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The bucket that each value falls into: it is at least its lower bound, and less than the upper one but in the last.

    Args:
      values: finite.
      own: the distribution of each.
      bounds: of each distribution's buckets.
      inner: how many buckets each distribution has.
    """
    last = inner[own] - 1
    with np.errstate(all="ignore"):
        guess = (values - bounds[own, 0]) / (bounds[own, -1] - bounds[own, 0]) * (last + 1)
    places = np.clip(np.nan_to_num(guess), 0, last).astype(np.int64)
    while True:
        # Rounding may have put it beside its bucket.
        up = (places < last) & (values >= bounds[own, np.minimum(places + 1, last)])
        down = (places > 0) & (values < bounds[own, places])
        if not (up.any() or down.any()):
            return places
        places += up.astype(np.int64) - down
