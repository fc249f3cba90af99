"""The tables of a state, opened by slice and feature."""

from __future__ import annotations

import numpy as np

from headwater.components.generate_statistics.state.state import NO_LISTS, NOTHING, ROLES, State


class Tables:
    """A state with its tables opened by key.

    Attributes:
      state: the state.
      width: how many features it has.
      counts, hashes: where each key's rows begin and end.
      depths: how many levels each feature has.
      places: of the features' paths.
    """

    def __init__(self, state: State):
        self.state = state
        self.width = len(state.paths)
        self._numbers = dict(zip(state.numbers[0].tolist(), state.numbers[1]))
        self._levels = dict(zip(state.levels[0].tolist(), state.levels[1]))
        self._points = _spans(state.points.keys)
        self.counts = _spans(state.counts.keys)
        self.hashes = _spans(state.hashes.keys)
        self.depths = [1] * self.width
        for key in state.levels[0].tolist():
            place = key // ROLES % self.width
            self.depths[place] = max(self.depths[place], key % ROLES + 1)
        self.places = {path: place for place, path in enumerate(state.paths)}

    def number(self, code: int, place: int) -> np.ndarray:
        """The `NUMBERS` of a feature in a slice."""
        return self._numbers.get(code * self.width + place, NOTHING)

    def level(self, code: int, place: int, level: int) -> np.ndarray:
        """The `LEVELS` of one of its levels."""
        return self._levels.get((code * self.width + place) * ROLES + level, NO_LISTS)

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


def _spans(keys: np.ndarray) -> dict[int, tuple[int, int]]:
    """Where each key's rows begin and end."""
    if not len(keys):
        return {}
    begin = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return dict(zip(keys[begin].tolist(), zip(begin.tolist(), [*begin[1:].tolist(), len(keys)])))
