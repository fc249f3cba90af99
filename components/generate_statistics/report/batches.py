"""What is made of the rows of many keys at once, and asked for key by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
# So many rows and keys at once are worth the calls that they cost, and take little memory.
_ROWS, _KEYS = 1 << 18, 1 << 12


class Batches(Generic[T]):
    """Results by key, made in batches of neighbours; whoever asks in order has each made once.

    Args:
      keys: in order.
      begin, size: where the rows of each begin, and how many they are, at least one.
      make: gives a result for each of several keys, of the keys, their rows and how many each has.
    """

    def __init__(
        self,
        keys: np.ndarray,
        begin: np.ndarray,
        size: np.ndarray,
        make: Callable[[np.ndarray, np.ndarray, np.ndarray], Sequence[T]],
    ):
        self._keys, self._begin, self._size, self._make = keys, begin, size, make
        self._upto = np.cumsum(size)
        self._known: dict[int, T] = {}

    def get(self, key: int) -> T | None:
        """The result of a key; None where it has no rows."""
        if key not in self._known:
            first = int(np.searchsorted(self._keys, key))
            if first == len(self._keys) or self._keys[first] != key:
                return None
            limit = self._upto[first] - self._size[first] + _ROWS
            stop = min(first + _KEYS, max(first + 1, int(np.searchsorted(self._upto, limit, side="right"))))
            self._known = self._made(slice(first, stop))
        return self._known[key]

    def _made(self, chosen: slice) -> dict[int, T]:
        keys, begin, size = self._keys[chosen], self._begin[chosen], self._size[chosen]
        rows = np.repeat(begin - np.cumsum(size) + size, size) + np.arange(size.sum())
        return dict(zip(keys.tolist(), self._make(keys, rows, size)))
