"""The mergeable state of statistics: what a finished proto has lost, kept so that parts and spans can be added up.

A state knows slices (the first, without a name, is all rows) and paths of features. All it says of a feature in a
slice stands under one key, `slice * number of paths + path`; where a feature has several levels or distributions, the
key is multiplied by `ROLES` and a number below it is added.

States merge only where the settings are equal. `state_file` stores them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from headwater.components.common.distributions import HASH_BINS
from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics.measure import semantics as meaning
from headwater.components.generate_statistics.measure.features import BYTES, FLOAT, INT, STRING, STRUCT, UNKNOWN
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state import points as pointing
from headwater.components.generate_statistics.state.counts import NO_RESTS, Counts, Hashes, Rests
from headwater.components.generate_statistics.state.limits import Limits
from headwater.components.generate_statistics.state.points import Points

ROLES = 64
OF_VALUES, OF_WEIGHTS, OF_INNER, OF_LENGTHS = 0, 1, 2, 3
"""What a distribution is of: values, values by weight, innermost lengths, and from here on the lengths by level."""

NUMBERS = (
    "kind",
    "values",
    "nan",
    "zeros",
    "pos_inf",
    "neg_inf",
    "min",
    "max",
    "finite_min",
    "finite_max",
    "mean",
    "m2",
    "weight",
    "weighted_mean",
    "weighted_m2",
    "weighted_pos_inf",
    "bytes",
    "not_text",
    "min_bytes",
    "max_bytes",
    "removed",
    "sketched",
    "rank_error",
    "weighted_rank_error",
)
"""Of each feature, float64. `values` are all but NaN; mean and m2, the sum of squared distances from it, are of the
finite ones, and so is `weight`; `removed` and `sketched` are of counts, the rank errors of points, in rows or weight."""

LEVELS = ("present", "total", "min", "max", "inner_min", "inner_max", "weighted_present", "weighted_total")
"""Of each level, float64: lists that are there, their elements, the shortest and the longest."""

PAIRS = ("count", "mean_first", "mean_second", "m2_first", "m2_second", "co")
"""Of two numbers in rows that have both, float64; `co` is the sum of products of distances from the means."""

N = {name: place for place, name in enumerate(NUMBERS)}
L = {name: place for place, name in enumerate(LEVELS)}

_MINS = [N[name] for name in ("min", "finite_min", "min_bytes")]
_MAXS = [N[name] for name in ("kind", "max", "finite_max", "max_bytes", "sketched")]
_MOMENTS = [N[name] for name in ("mean", "m2", "weight", "weighted_mean", "weighted_m2")]
_SUMS = [place for place in range(len(NUMBERS)) if place not in {*_MINS, *_MAXS, *_MOMENTS}]
_LEVEL_MINS = [L["min"], L["inner_min"]]
_LEVEL_MAXS = [L["max"], L["inner_max"]]
_LEVEL_SUMS = [place for place in range(len(LEVELS)) if place not in {*_LEVEL_MINS, *_LEVEL_MAXS}]
_KINDS = {INT: "INT", FLOAT: "FLOAT", STRING: "STRING", BYTES: "BYTES", STRUCT: "STRUCT"}

NOTHING = np.zeros(len(NUMBERS))
"""The numbers of no values."""
NOTHING[_MINS], NOTHING[_MAXS], NOTHING[N["kind"]], NOTHING[N["sketched"]] = np.inf, -np.inf, UNKNOWN, 0

NO_LISTS = np.zeros(len(LEVELS))
"""The numbers of no lists."""
NO_LISTS[_LEVEL_MINS] = np.inf


@dataclasses.dataclass
class State:
    """What is known of some rows.

    Attributes:
      limits: how much is kept.
      settings: what else must be equal for states to merge; JSON values.
      slices: names, all rows first, under an empty one.
      examples: rows and weight of each slice, float64[slices, 2].
      paths: of features, in order.
      rules: how values were converted, by path.
      numbers: keys, int64, in order, and `NUMBERS`, float64[keys, numbers].
      levels: keys with the level, int64, in order, and `LEVELS`.
      points: keys with the role.
      counts, hashes, rests: by key.
      pairs: `PAIRS` by the two columns' names.
      custom: users' statistics by feature and name: how they merge, and the value.
      semantics: what was seen of meaning, by path; of all rows.
      labels: the slices that are labels.
    """

    limits: Limits
    settings: dict[str, Any]
    slices: list[str]
    examples: np.ndarray
    paths: list[tuple[str, ...]]
    rules: dict[tuple[str, ...], str]
    numbers: tuple[np.ndarray, np.ndarray]
    levels: tuple[np.ndarray, np.ndarray]
    points: Points
    counts: Counts
    hashes: Hashes
    rests: Rests = NO_RESTS
    pairs: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)
    custom: dict[tuple[str, str], tuple[str, float]] = dataclasses.field(default_factory=dict)
    semantics: dict[tuple[str, ...], meaning.Semantics] = dataclasses.field(default_factory=dict)
    labels: list[str] = dataclasses.field(default_factory=list)

    def slices_of(self, keys: np.ndarray) -> np.ndarray:
        """The slice that each key, without level or role, is of."""
        return keys // max(1, len(self.paths))


def bounded(state: State) -> State:
    """The state cut down to its limits, in place."""
    keys, numbers = state.numbers
    features = len(state.paths)
    everything = len(state.slices) * features
    slices = state.slices_of(np.arange(everything))
    state.points, moved = pointing.compress(state.points, np.repeat(state.limits.points(slices), ROLES))
    moved = moved.reshape(-1, ROLES)
    numbers[:, N["rank_error"]] += moved[keys, OF_VALUES]
    numbers[:, N["weighted_rank_error"]] += moved[keys, OF_WEIGHTS]
    sketched = np.zeros(everything, bool)
    sketched[keys] = numbers[:, N["sketched"]] > 0
    exact, least = state.limits.exact(slices, features), state.limits.hashes(slices, features)
    many = np.bincount(state.counts.keys, minlength=everything) > exact
    sketched |= many
    if sketched.any():
        hashes = counting.hash_some(state.counts, sketched)
        found = counting.hashes_of(state.counts, sketched, least, hashes)
        state.hashes = counting.join_hashes([state.hashes, found], least)
        # Whatever has too many values is sketched, so that its hashes are known.
        capacity = np.where(sketched, state.limits.sketched(slices, features), exact)
        state.counts, removed, lost = counting.cut(state.counts, capacity, hashes)
        state.rests = counting.join_rests([state.rests, lost])
        numbers[:, N["removed"]] += removed[keys]
        numbers[:, N["sketched"]] = sketched[keys]
    return state


def merge(states: Sequence[State]) -> State:
    """The state of all the rows that `states` stand for, merged in their order.

    Raises:
      HeadwaterError: there is no state, or settings or types differ between states.
    """
    if not states:
        raise HeadwaterError("there are no states to merge")
    first = states[0]
    if len(states) == 1:
        return first
    for other in states[1:]:
        if (other.limits.values, other.settings) != (first.limits.values, first.settings):
            raise HeadwaterError(f"states cannot be merged: {_difference(first, other)}")
    slices = list(dict.fromkeys(name for state in states for name in state.slices))
    paths = sorted({path for state in states for path in state.paths})
    slice_codes = {name: code for code, name in enumerate(slices)}
    path_codes = {path: code for code, path in enumerate(paths)}
    examples = np.zeros((len(slices), 2))
    moved = []
    for state in states:
        to_slice = np.array([slice_codes[name] for name in state.slices], np.int64)
        to_path = np.array([path_codes[path] for path in state.paths], np.int64)
        examples[to_slice] += state.examples
        moved.append(_Move(to_slice, to_path, len(state.paths), len(paths)))
    merged = State(
        limits=Limits(first.limits.values, max(state.limits.slices for state in states)),
        settings=first.settings,
        slices=slices,
        examples=examples,
        paths=paths,
        rules={path: text for state in states for path, text in state.rules.items()},
        numbers=_add_numbers([(move(s.numbers[0]), s.numbers[1]) for move, s in zip(moved, states)], paths),
        levels=_add_levels([(move(s.levels[0], ROLES), s.levels[1]) for move, s in zip(moved, states)]),
        points=pointing.join([Points(move(s.points.keys, ROLES), *s.points[1:]) for move, s in zip(moved, states)]),
        counts=counting.join([Counts(move(s.counts.keys), *s.counts[1:]) for move, s in zip(moved, states)]),
        hashes=Hashes(
            np.concatenate([move(s.hashes.keys) for move, s in zip(moved, states)]),
            np.concatenate([s.hashes.hashes for s in states]),
        ),
        rests=counting.join_rests(
            [Rests(move(s.rests.bins, HASH_BINS), s.rests.counts) for move, s in zip(moved, states)]
        ),
        pairs=_add_pairs(states),
        custom=_add_custom(states),
        semantics=_add_semantics(states),
        labels=list(dict.fromkeys(name for state in states for name in state.labels)),
    )
    return bounded(merged)


class _Move:
    """Keys of one state as keys of another that has its slices and paths at other places."""

    def __init__(self, to_slice: np.ndarray, to_path: np.ndarray, width: int, new_width: int):
        self._to_slice, self._to_path, self._width, self._new_width = to_slice, to_path, max(1, width), new_width

    def __call__(self, keys: np.ndarray, factor: int = 1) -> np.ndarray:
        if not len(keys):
            return keys
        own, rest = keys // factor, keys % factor
        return (self._to_slice[own // self._width] * self._new_width + self._to_path[own % self._width]) * factor + rest


def _difference(one: State, other: State) -> str:
    mine = {"max_exact_values": one.limits.values, **one.settings}
    theirs = {"max_exact_values": other.limits.values, **other.settings}
    name = next(name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name))
    return f"{name} is {mine.get(name)!r} in one and {theirs.get(name)!r} in another"


def _add_numbers(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], paths: Sequence[tuple[str, ...]]
) -> tuple[np.ndarray, np.ndarray]:
    keys = np.unique(np.concatenate([part[0] for part in parts]))
    sums = np.tile(NOTHING, (len(keys), 1))
    for own, more in parts:
        places = np.searchsorted(keys, own)
        known = sums[places]
        kinds, others = known[:, N["kind"]], more[:, N["kind"]]
        clash = np.flatnonzero((kinds != others) & (kinds != UNKNOWN) & (others != UNKNOWN))
        if len(clash):
            path = ".".join(paths[int(own[clash[0]]) % len(paths)])
            names = sorted((_KINDS[int(kinds[clash[0]])], _KINDS[int(others[clash[0]])]))
            raise HeadwaterError(
                f"states cannot be merged: feature {path} is {names[0]} in one and {names[1]} in another"
            )
        total = known.copy()
        total[:, _SUMS] += more[:, _SUMS]
        total[:, _MINS] = np.minimum(known[:, _MINS], more[:, _MINS])
        total[:, _MAXS] = np.maximum(known[:, _MAXS], more[:, _MAXS])
        _add_moments(total, known, more, _finite(known), _finite(more), N["mean"], N["m2"])
        weights = known[:, N["weight"]], more[:, N["weight"]]
        total[:, N["weight"]] = weights[0] + weights[1]
        _add_moments(total, known, more, *weights, N["weighted_mean"], N["weighted_m2"])
        sums[places] = total
    return keys, sums


def _finite(numbers: np.ndarray) -> np.ndarray:
    return numbers[:, N["values"]] - numbers[:, N["pos_inf"]] - numbers[:, N["neg_inf"]]


def _add_moments(
    total: np.ndarray, known: np.ndarray, more: np.ndarray, a: np.ndarray, b: np.ndarray, mean: int, m2: int
) -> None:
    """Means and sums of squares of both (Chan, Golub and LeVeque, "Updating formulae …", 1979)."""
    both = np.where(a + b > 0, a + b, 1.0)
    with np.errstate(all="ignore"):
        delta = more[:, mean] - known[:, mean]
        total[:, mean] = known[:, mean] + delta * (b / both)
        total[:, m2] = known[:, m2] + more[:, m2] + delta * delta * (a * b / both)


def _add_levels(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    keys = np.unique(np.concatenate([part[0] for part in parts]))
    sums = np.tile(NO_LISTS, (len(keys), 1))
    for own, more in parts:
        places = np.searchsorted(keys, own)
        known = sums[places]
        known[:, _LEVEL_SUMS] += more[:, _LEVEL_SUMS]
        known[:, _LEVEL_MINS] = np.minimum(known[:, _LEVEL_MINS], more[:, _LEVEL_MINS])
        known[:, _LEVEL_MAXS] = np.maximum(known[:, _LEVEL_MAXS], more[:, _LEVEL_MAXS])
        sums[places] = known
    return keys, sums


def _add_pairs(states: Sequence[State]) -> dict[tuple[str, str], np.ndarray]:
    sums: dict[tuple[str, str], np.ndarray] = {}
    for state in states:
        for pair, more in state.pairs.items():
            sums[pair] = add_pair(sums[pair], more) if pair in sums else more
    return sums


def add_pair(known: np.ndarray, more: np.ndarray) -> np.ndarray:
    """The moments of two numbers over both parts' rows."""
    a, b = known[0], more[0]
    if not a or not b:
        return more if not a else known
    delta = more[1:3] - known[1:3]
    spread = np.array([delta[0] ** 2, delta[1] ** 2, delta[0] * delta[1]]) * (a * b / (a + b))
    return np.concatenate([[a + b], known[1:3] + delta * (b / (a + b)), known[3:] + more[3:] + spread])


def _add_custom(states: Sequence[State]) -> dict[tuple[str, str], tuple[str, float]]:
    sums: dict[tuple[str, str], tuple[str, float]] = {}
    for state in states:
        for key, (how, value) in state.custom.items():
            sums[key] = (how, combine(how, sums[key][1], value)) if key in sums else (how, value)
    return dict(sorted(sums.items()))


def combine(how: str, known: float, more: float) -> float:
    """Two values of a user's statistic as one: their sum, the less or the greater."""
    return known + more if how == "sum" else min(known, more) if how == "min" else max(known, more)


def _add_semantics(states: Sequence[State]) -> dict[tuple[str, ...], meaning.Semantics]:
    sums: dict[tuple[str, ...], meaning.Semantics] = {}
    for state in states:
        for path, seen in state.semantics.items():
            sums[path] = meaning.merge(sums[path], seen) if path in sums else seen
    return sums
