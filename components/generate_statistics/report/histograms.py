"""Distributions as TFMD's histograms."""

from __future__ import annotations

import functools
import math
from typing import TypeAlias

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.generate_statistics.state import points as pointing
from headwater.components.generate_statistics.state.state import N

_Histogram: TypeAlias = statistics_pb2.Histogram


def add_quantiles(
    histogram: _Histogram,
    values: np.ndarray,
    weights: np.ndarray,
    buckets: int,
    numbers: np.ndarray | None = None,
) -> None:
    """Buckets of nearly equal weight; those with the same bounds share what falls there."""
    if len(values) == 1 and numbers is None:
        histogram.MergeFrom(_of_one(float(values[0]), float(weights[0]), buckets))
        return
    histogram.type = _Histogram.QUANTILES
    bounds, upto = pointing.quantiles(values, weights, buckets)
    if numbers is not None:
        # The middle of the last part may stand for the greatest value; the extremes are known.
        bounds[0], bounds[-1] = numbers[N["min"]], numbers[N["max"]]
    low, high = bounds[:-1], bounds[1:]
    held = np.diff(upto)
    # What is up to the least value belongs to the first bucket.
    held[0] += upto[0]
    group = np.cumsum(np.concatenate([[0], (low[1:] != low[:-1]) | (high[1:] != high[:-1])]))
    held = (np.bincount(group, held) / np.bincount(group))[group]
    for left, right, count in zip(low.tolist(), high.tolist(), held.tolist()):
        histogram.buckets.add(low_value=left, high_value=right, sample_count=count)


@functools.lru_cache(maxsize=1024)
def _of_one(value: float, weight: float, buckets: int) -> _Histogram:
    """All buckets at one value, as for lists that have one length: they are the same of many features."""
    histogram = _Histogram(type=_Histogram.QUANTILES)
    for _ in range(buckets):
        histogram.buckets.add(low_value=value, high_value=value, sample_count=weight / buckets)
    return histogram


def add_widths(
    histogram: _Histogram,
    values: np.ndarray,
    weights: np.ndarray,
    low: float,
    high: float,
    buckets: int,
    below: float,
    above: float,
) -> None:
    """Buckets of equal width over the finite values, and one for each infinity."""
    histogram.type = _Histogram.STANDARD
    if not (np.isfinite(low) and np.isfinite(high)):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=weights.sum())
        return
    with np.errstate(over="ignore"):
        bounds = np.array([low, high]) if low == high else np.linspace(low, high, buckets + 1)
    if not np.isfinite(bounds).all():
        return
    if below:
        histogram.buckets.add(low_value=-math.inf, high_value=-math.inf, sample_count=below)
    inside = np.isfinite(values)
    place = np.clip(np.searchsorted(bounds, values[inside], side="right") - 1, 0, len(bounds) - 2)
    held = np.bincount(place, weights[inside], minlength=len(bounds) - 1)
    for left, right, count in zip(bounds[:-1].tolist(), bounds[1:].tolist(), held.tolist()):
        histogram.buckets.add(low_value=left, high_value=right, sample_count=count)
    if above:
        histogram.buckets.add(low_value=math.inf, high_value=math.inf, sample_count=above)
