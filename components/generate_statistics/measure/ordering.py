"""Sorting by key and value at once, and finding distinct pairs of them, faster than by sorts of 64 bits."""

from __future__ import annotations

import numpy as np

_DENSE = 1 << 24
_FEW_RUNS = 64


def by_key_and_value(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The order of keys, then values, as `numpy.lexsort((values, keys))` gives it; equal pairs in any fixed order.

    Args:
      keys: int64, at least 0.
      values: numbers without NaN.

    Returns:
      int64 positions.
    """
    order = _of_runs(keys, values)
    if order is not None:
        return order
    order = np.argsort(values)
    keys = keys[order]
    most = int(keys.max(initial=0))
    if most >= 2**15 and most < _DENSE:
        # Few of all possible keys are there: their ranks fit into 16 bits, which numpy sorts by radix.
        there = np.zeros(most + 1, bool)
        there[keys] = True
        if np.count_nonzero(there) <= 2**15:
            keys, most = (np.cumsum(there) - 1)[keys], 0
    return order[np.argsort(keys.astype(np.int16) if most < 2**15 else keys, kind="stable")]


def _of_runs(keys: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """The order of what consists of few parts that are each in order, as tables that are merged do; None of other input.

    NumPy's stable sort merges such parts, and sorts complex numbers by their real part, then the imaginary one.
    """
    ends = np.count_nonzero((keys[1:] < keys[:-1]) | ((keys[1:] == keys[:-1]) & (values[1:] < values[:-1])))
    if ends > _FEW_RUNS:
        return None
    # Keys and counts are exact as doubles; of hashes, so many bits.
    shown = values >> np.uint64(11) if values.dtype == np.uint64 else values
    pairs = np.empty(len(keys), np.complex128)
    pairs.real, pairs.imag = keys, shown
    order = np.argsort(pairs, kind="stable")
    if shown is not values:
        keys, shown, values = keys[order], shown[order], values[order]
        if ((keys[1:] == keys[:-1]) & (shown[1:] == shown[:-1]) & (values[1:] != values[:-1])).any():
            return None
    return order


def runs(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys of sorted ones, and how often each stands there."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.int64)
    return keys[first], np.diff(np.append(first, len(keys)))


def distinct_cells(cells: np.ndarray, places: bool) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Distinct cells in order, where each row's is among them if that is asked for, and how many rows each has.

    Args:
      cells: int64, at least 0.
      places: whether the second is asked for.
    """
    if not len(cells):
        return cells, cells, cells
    size = int(cells.max()) + 1
    if size <= 8 * len(cells) + 1024:
        count = np.bincount(cells)
        distinct = np.flatnonzero(count)
        return distinct, np.searchsorted(distinct, cells) if places else None, count[distinct]
    if places:
        return np.unique(cells, return_inverse=True, return_counts=True)
    distinct, count = np.unique(cells, return_counts=True)
    return distinct, None, count
