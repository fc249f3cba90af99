"""Quantiles from a few weighted points: a number's distribution, exact while its distinct values are few, then bounded.

Points are sorted values with weights. Where they are more than the capacity, they are put into as many parts of nearly
equal weight, and each part is kept as its middle value with all its weight, the way of merging equal-depth summaries
(Greenwald and Khanna, "Power-conserving computation of order-statistics over sensor networks", PODS 2004). How much a
rank can be off is counted on the way and added up when summaries merge. No step depends on chance.

All functions take the points of many features at once: `keys` says whose each point is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headwater.components.generate_statistics.measure.features import INT
from headwater.components.generate_statistics.measure.ordering import by_key_and_value


class Points(NamedTuple):
    """Weighted points, sorted by key, then value; no value twice under one key.

    Attributes:
      keys: int64.
      values: float64, no NaN.
      weights: float64, above 0.
    """

    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray


EMPTY = Points(np.empty(0, np.int64), np.empty(0), np.empty(0))


def of_sorted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values and how often each occurs, of values in order."""
    if not len(values):
        return values, values
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    return values[first], np.diff(np.append(first, len(values))).astype(np.float64)


def join(parts: list[Points]) -> Points:
    """The points of several summaries; equal values of one key become one point."""
    parts = [part for part in parts if len(part.keys)]
    if not parts:
        return EMPTY
    if len(parts) == 1:
        return parts[0]
    keys, values, weights = (np.concatenate(columns) for columns in zip(*parts))
    order = by_key_and_value(keys, values)
    keys, values, weights = keys[order], values[order], weights[order]
    first = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]) | (values[1:] != values[:-1])]))
    if len(first) == len(keys):
        return Points(keys, values, weights)
    return Points(keys[first], values[first], np.add.reduceat(weights, first))


def compress(points: Points, capacity: np.ndarray) -> tuple[Points, np.ndarray]:
    """At most `capacity` points a key.

    Args:
      points: joined.
      capacity: of each key, int64, by key.

    Returns:
      The points, and by key how much weight the rank of any value has moved by, float64.
    """
    errors = np.zeros(len(capacity))
    if not len(points.keys):
        return points, errors
    count = np.bincount(points.keys, minlength=len(capacity))
    over = count > capacity
    if not over.any():
        return points, errors
    chosen = over[points.keys]
    if not chosen.all():
        kept = Points(*(column[~chosen] for column in points))
        few, errors = compress(Points(*(column[chosen] for column in points)), capacity)
        return in_order([kept, few]), errors
    keys, values, weights = points
    begin = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    size = np.diff(np.append(begin, len(keys)))
    # Weight before and up to each point, within its key.
    upto = np.cumsum(weights)
    offset = np.repeat((upto - weights)[begin], size)
    total = np.repeat(np.add.reduceat(weights, begin), size)
    middle = (upto - offset - weights / 2) / total
    part = np.minimum((middle * capacity[keys]).astype(np.int64), capacity[keys] - 1)
    first = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]) | (part[1:] != part[:-1])]))
    held = np.add.reduceat(weights, first)
    before = (upto - weights)[first]
    last = np.append(first[1:], len(keys)) - 1
    centre = np.clip(np.searchsorted(upto, before + held / 2), first, last)
    moved = np.maximum(upto[centre] - weights[centre] - before, before + held - upto[centre])
    np.maximum.at(errors, keys[first], np.maximum(moved, 0.0))
    return Points(keys[first], values[centre], held), errors


def shrink(values: np.ndarray, weights: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, float]:
    """As `compress`, of one key: its points, at most `capacity`, and how much weight ranks have moved by."""
    if len(values) <= capacity:
        return values, weights, 0.0
    upto = np.cumsum(weights)
    bounds = np.searchsorted(upto - weights / 2, upto[-1] * np.arange(1, capacity) / capacity)
    first = np.unique(np.concatenate([[0], bounds[bounds < len(values)]]))
    last = np.append(first[1:], len(values)) - 1
    before = upto[first] - weights[first]
    held = upto[last] - before
    centre = np.clip(np.searchsorted(upto, before + held / 2), first, last)
    moved = np.maximum(upto[centre] - weights[centre] - before, upto[last] - upto[centre])
    return values[centre], held, float(max(moved.max(), 0.0))


def quantiles(
    values: np.ndarray, weights: np.ndarray, size: np.ndarray, count: int, chosen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Upper bounds of parts of nearly equal weight, and the weight up to and with each, of several distributions.

    Args:
      values, weights: their points, in order, one distribution after another.
      size: how many points each has, at least one.
      count: number of parts.
      chosen: which parts' bounds are wanted, from 1 to `count`.

    Returns:
      Both float64, one row a distribution and one column a part.
    """
    end = np.cumsum(size)
    upto = np.cumsum(weights)
    before = np.concatenate([[0.0], upto[end[:-1] - 1]])
    if upto[-1] < 2**53 and (weights == np.floor(weights)).all():
        # Sums of whole numbers are exact, and so are their differences.
        wanted = (upto[end - 1] - before)[:, None] * chosen / count
        # A hair less, so that a sum of rounded weights does not skip to the next value.
        places = np.searchsorted(upto, before[:, None] + np.ceil(wanted * (1 - 1e-12)))
        places = np.minimum(places, end[:, None] - 1)
        return values[places], upto[places] - before[:, None]
    places, sums = np.empty((len(size), len(chosen)), np.int64), np.empty((len(size), len(chosen)))
    for row, (start, stop) in enumerate(zip((end - size).tolist(), end.tolist())):
        upto = np.cumsum(weights[start:stop])
        found = np.searchsorted(upto, upto[-1] * chosen / count * (1 - 1e-12))
        found = np.minimum(found, stop - start - 1)
        places[row], sums[row] = start + found, upto[found]
    return values[places], sums


def spread(values: np.ndarray, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values in order, and how often each occurs."""
    if kind == INT:
        low, high = values.min(), values.max()
        # Numbers in a narrow range are counted, not sorted.
        if high - low < min(65_536, 4 * len(values)):
            count = np.bincount((values - low).astype(np.int64))
            there = np.flatnonzero(count)
            return there + low, count[there].astype(np.float64)
    return of_sorted(np.sort(values))


def tally(keys: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> Points:
    """Points of values that stand in order of key and value."""
    if not len(keys):
        return EMPTY
    first = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]) | (values[1:] != values[:-1])]))
    if weights is None:
        return Points(keys[first], values[first], np.diff(np.append(first, len(keys))).astype(np.float64))
    held = np.add.reduceat(weights, first)
    kept = held > 0
    return Points(keys[first][kept], values[first][kept], held[kept])


def in_order(parts: Sequence[Points]) -> Points:
    """Parts that share no key, each in order, as one."""
    if not parts:
        return EMPTY
    keys, values, weights = (np.concatenate(columns) for columns in zip(*parts))
    order = np.argsort(keys, kind="stable")
    return Points(keys[order], values[order], weights[order])
