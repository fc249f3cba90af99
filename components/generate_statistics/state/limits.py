"""How much a state keeps of each feature: exact up to a limit, then bounded."""

from __future__ import annotations

import dataclasses

import numpy as np

POINTS = 1024
"""Points of a distribution; the rank error of one summary is at most 1 in 2,048."""

SKETCHED_VALUES = 8192
"""Most counts that are kept once a feature has more distinct values than are counted exactly."""

HASHES = 16384
"""Least hashes that are kept to tell how many values are distinct, with a standard error of 0.8 %."""

MANY_FEATURES = 256
"""More features than these share the values and hashes that so many may have."""

_LEAST_HASHES = 4096
_SLICE_POINTS, _SLICE_VALUES, _SLICE_HASHES = 64, 128, 256


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is kept of one feature in all rows, and less of it in each of many slices.

    Attributes:
      values: distinct values up to which each is counted exactly.
      slices: how many slices share as much as all rows have to themselves.
    """

    values: int
    slices: int = 0

    def points(self, slices: np.ndarray) -> np.ndarray:
        """Capacity for points, by slice."""
        return np.where(slices == 0, POINTS, self._share(POINTS * 64, _SLICE_POINTS, POINTS))

    def exact(self, slices: np.ndarray, features: int = 0) -> np.ndarray:
        """Distinct values that are counted exactly, by slice, where a state has so many features."""
        own = _apart(self.values, features, SKETCHED_VALUES)
        return np.where(slices == 0, own, min(own, self._share(self.values, _SLICE_VALUES, self.values)))

    def sketched(self, slices: np.ndarray, features: int = 0) -> np.ndarray:
        """Counts that are kept beyond that, by slice."""
        return np.minimum(self.exact(slices, features), SKETCHED_VALUES)

    def hashes(self, slices: np.ndarray, features: int = 0) -> np.ndarray:
        """Hashes that are kept of what is not counted exactly, by slice."""
        own = _apart(HASHES, features, _LEAST_HASHES)
        return np.where(slices == 0, own, min(own, self._share(HASHES * 4, _SLICE_HASHES, HASHES)))

    def _share(self, together: int, least: int, most: int) -> int:
        return min(most, max(least, together // max(1, self.slices)))


def _apart(most: int, features: int, least: int) -> int:
    """What each of many features has of what `MANY_FEATURES` may have together."""
    return max(min(most, least), most * MANY_FEATURES // max(MANY_FEATURES, features))
