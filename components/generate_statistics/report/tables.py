"""The tables of a state, opened by slice and feature."""

from __future__ import annotations

import numpy as np

from headwater.components.generate_statistics.measure.ordering import runs
from headwater.components.generate_statistics.state.state import NO_LISTS, NOTHING, ROLES, State

_NOTHING, _NO_LISTS = NOTHING.tolist(), NO_LISTS.tolist()


class Tables:
    """A state with its tables opened by key.

    Attributes:
      state: the state.
      width: how many features it has.
      points_runs, counts_runs: of the keys of points and of counts: the keys, where their rows begin, and how many they are.
      counts, hashes: where each key's rows begin and end.
      depths: how many levels each feature has.
      places: of the features' paths.
    """

    def __init__(self, state: State):
        self.state = state
        self.width = len(state.paths)
        # Python takes a number from a list several times as fast as from an array.
        self._numbers = dict(zip(state.numbers[0].tolist(), state.numbers[1].tolist()))
        self._levels = dict(zip(state.levels[0].tolist(), state.levels[1].tolist()))
        self.points_runs = _runs(state.points.keys)
        self.counts_runs = _runs(state.counts.keys)
        self._points, self.counts = _spans(self.points_runs), _spans(self.counts_runs)
        self.hashes = _spans(_runs(state.hashes.keys))
        self.depths = [1] * self.width
        for key in state.levels[0].tolist():
            place = key // ROLES % self.width
            self.depths[place] = max(self.depths[place], key % ROLES + 1)
        self.places = {path: place for place, path in enumerate(state.paths)}

    def number(self, code: int, place: int) -> list[float]:
        """The `NUMBERS` of a feature in a slice."""
        return self._numbers.get(code * self.width + place, _NOTHING)

    def level(self, code: int, place: int, level: int) -> list[float]:
        """The `LEVELS` of one of its levels."""
        return self._levels.get((code * self.width + place) * ROLES + level, _NO_LISTS)

    def distribution(self, key: int) -> tuple[np.ndarray, np.ndarray]:
        """Values and their weights, by key and role."""
        start, stop = self._points.get(key, (0, 0))
        return self.state.points.values[start:stop], self.state.points.weights[start:stop]

    def counted(self, code: int, place: int, weighted: bool) -> list[tuple[bytes, float]]:
        """Values with their counts, or their weights."""
        start, stop = self.counts.get(code * self.width + place, (0, 0))
        table = self.state.counts
        held = table.weights if weighted else table.counts
        return list(zip(table.values[start:stop].to_pylist(), held[start:stop].tolist()))


Runs = tuple[np.ndarray, np.ndarray, np.ndarray]


def _runs(keys: np.ndarray) -> Runs:
    """Distinct keys, where the rows of each begin, and how many they are."""
    distinct, size = runs(keys)
    return distinct, np.cumsum(size) - size, size


def _spans(found: Runs) -> dict[int, tuple[int, int]]:
    """Where each key's rows begin and end."""
    keys, begin, size = found
    return dict(zip(keys.tolist(), zip(begin.tolist(), (begin + size).tolist())))
