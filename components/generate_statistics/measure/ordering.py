"""Sorting by key and value at once, and finding distinct pairs of them, faster than by sorts of 64 bits."""

from __future__ import annotations

import numpy as np

_DENSE = 1 << 24


def by_key_and_value(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The order of keys, then values, as `numpy.lexsort((values, keys))` gives it; equal pairs in any fixed order.

    Args:
      keys: int64, at least 0.
      values: numbers without NaN.

    Returns:
      int64 positions.
    """
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
