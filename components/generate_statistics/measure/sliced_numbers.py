"""Numbers in slices: each slice's values are put in order, and all that is measured of them is read off there."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headwater.components.generate_statistics.measure.features import INT
from headwater.components.generate_statistics.measure.ordering import runs
from headwater.components.generate_statistics.state import points as pointing
from headwater.components.generate_statistics.state.limits import Limits
from headwater.components.generate_statistics.state.points import Points


class Sliced(NamedTuple):
    """What is measured of one number.

    Attributes:
      slices: those that have values, in order, int64.
      fields: one value a slice, or one for all of them, by the names of `state.NUMBERS`.
      values, weighted: points within their limit, of values and of values by weight; the keys are places in `slices`.
    """

    slices: np.ndarray
    fields: dict[str, Any]
    values: Points
    weighted: Points


def measure_slices(
    kind: int, values: np.ndarray, own: np.ndarray, weights: np.ndarray | None, limits: Limits
) -> Sliced:
    """Measures a number in each slice.

    Args:
      kind: `INT` or `FLOAT`.
      values: float64; NaN is none.
      own: the slice of each value; -1 for none.
      weights: the weight of each value, float64; None where there are no weights.
      limits: how much is kept.
    """
    # Numbers of 16 bits are sorted by radix.
    order = np.argsort(own.astype(np.int16) if own.max(initial=0) < 2**15 else own, kind="stable")
    sorted_slices = own[order]
    first = int(np.searchsorted(sorted_slices, 0))
    order, sorted_slices = order[first:], sorted_slices[first:].astype(np.int64)
    slices, size = runs(sorted_slices)
    values, weights = values[order], None if weights is None else weights[order]
    _sort_within(size, values, weights)
    local = np.repeat(np.arange(len(slices)), size)
    fields: dict[str, Any] = {"kind": kind, "nan": 0}
    if kind != INT and (unknown := np.isnan(values)).any():
        fields["nan"] = np.bincount(local[unknown], minlength=len(slices))
        size = size - fields["nan"]
        values, local = values[~unknown], local[~unknown]
        weights = None if weights is None else weights[~unknown]

    def count(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(local[chosen], minlength=len(slices))

    end = np.cumsum(size)
    fields["values"], fields["zeros"] = size, count(values == 0)
    fields["min"], fields["max"] = _ends(values, end - size, end)
    infinite = np.isinf(fields["min"]).any() or np.isinf(fields["max"]).any()
    below, above = (count(values == bound) if infinite else np.zeros_like(size) for bound in (-np.inf, np.inf))
    fields["neg_inf"], fields["pos_inf"] = below, above
    fields["finite_min"], fields["finite_max"] = _ends(values, end - size + below, end - above)
    inside = np.isfinite(values) if infinite else slice(None)
    finite, of_finite = values[inside], local[inside]
    amount = np.maximum(size - below - above, 1)
    with np.errstate(all="ignore"):
        mean = np.bincount(of_finite, finite, minlength=len(slices)) / amount
        # Once more about the first guess, which takes the sum's rounding off.
        mean += np.bincount(of_finite, finite - mean[of_finite], minlength=len(slices)) / amount
        fields["mean"] = mean
        fields["m2"] = np.bincount(of_finite, np.square(finite - mean[of_finite]), minlength=len(slices))
    capacity = limits.points(slices)
    points, fields["rank_error"] = pointing.compress(pointing.tally(local, values, None), capacity)
    if weights is None:
        return Sliced(slices, fields, points, pointing.EMPTY)
    largest = values == np.inf
    fields["weighted_pos_inf"] = np.bincount(local[largest], weights[largest], minlength=len(slices))
    weighted, fields["weighted_rank_error"] = pointing.compress(pointing.tally(local, values, weights), capacity)
    weights = weights[inside]
    fields["weight"] = weight = np.bincount(of_finite, weights, minlength=len(slices))
    with np.errstate(all="ignore"):
        held = np.bincount(of_finite, finite * weights, minlength=len(slices))
        fields["weighted_mean"] = mean = np.where(weight > 0, held / weight, 0.0)
        squares = np.square(finite - mean[of_finite]) * weights
        fields["weighted_m2"] = np.bincount(of_finite, squares, minlength=len(slices))
    return Sliced(slices, fields, points, weighted)


def _sort_within(size: np.ndarray, values: np.ndarray, weights: np.ndarray | None) -> None:
    """Sorts values in place within neighbouring parts of the given sizes, NaN last, and their weights with them.

    A part fits into a core's cache, and without weights nobody asks which value stood where: both make this several
    times as fast as sorting places by slice and value.
    """
    start = 0
    for stop in np.cumsum(size).tolist():
        part = values[start:stop]
        if weights is None:
            part.sort()
        else:
            order = np.argsort(part, kind="stable")
            values[start:stop], weights[start:stop] = part[order], weights[start:stop][order]
        start = stop


def _ends(values: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest of values that stand in order from `begin` to `end`; infinite where there is none."""
    low, high = np.full(len(begin), np.inf), np.full(len(begin), -np.inf)
    having = end > begin
    low[having], high[having] = values[begin[having]], values[end[having] - 1]
    return low, high
