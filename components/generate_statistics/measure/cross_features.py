"""Two columns looked at together: covariance and correlation of numbers, counts of pairs of categories.

Only rows where each column has exactly one value count, as in TFDV.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.distributions import HASH_BINS
from headwater.components.generate_statistics.measure.features import FLOAT, INT, STRING, Feature
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state.counts import Counts
from headwater.components.generate_statistics.state.state import NOTHING, ROLES, N, State

TOGETHER = "\0pair"
"""First step of the path under which counts of pairs stand; no column has such a name."""


def moments(
    measured: Sequence[Feature], pairs: Sequence[tuple[str, str]], rows: int
) -> dict[tuple[str, str], np.ndarray]:
    """The moments of pairs of numbers, as `state.PAIRS` names them."""
    known = {feature.path[0]: feature for feature in measured if len(feature.path) == 1}
    result = {}
    for pair in pairs:
        first, second = (known[name] for name in pair)
        if not {first.kind, second.kind} <= {INT, FLOAT}:
            continue
        one, other = _numbers(first, rows), _numbers(second, rows)
        both = np.isfinite(one) & np.isfinite(other)
        one, other = one[both], other[both]
        if not len(one):
            result[pair] = np.zeros(6)
            continue
        a, b = one.mean(), other.mean()
        da, db = one - a, other - b
        result[pair] = np.array([len(one), a, b, np.square(da).sum(), np.square(db).sum(), (da * db).sum()])
    return result


def add_counts(state: State, measured: Sequence[Feature], pairs: Sequence[tuple[str, str]], rows: int) -> None:
    """Adds the counts of pairs of categories to a state that is not bounded yet, each pair as a path of its own."""
    known = {feature.path[0]: feature for feature in measured if len(feature.path) == 1}
    texts = [pair for pair in pairs if all(known[name].kind == STRING for name in pair)]
    if not texts:
        return
    old = len(state.paths)
    # These paths sort before all others, so every key of the state moves.
    paths = sorted([(TOGETHER, *pair) for pair in texts])
    width = old + len(paths)

    def moved(keys: np.ndarray, factor: int = 1) -> np.ndarray:
        own = keys // factor
        return (own // max(1, old) * width + own % max(1, old) + len(paths)) * factor + keys % factor

    tables, numbers = [], []
    for place, (_, first, second) in enumerate(paths):
        values = _pairs(known[first], known[second], rows)
        counted = values.value_counts()
        size = len(counted)
        tables.append(
            Counts(
                np.full(size, place),
                counted.field(0).cast(pa.large_binary()),
                counted.field(1).to_numpy().astype(np.int64),
                np.zeros(size),
            )
        )
        row = NOTHING.copy()
        row[N["kind"]], row[N["values"]] = STRING, len(values)
        numbers.append(row)
    state.numbers = (
        np.concatenate([np.arange(len(paths)), moved(state.numbers[0])]),
        np.concatenate([np.array(numbers), state.numbers[1]]),
    )
    state.levels = (moved(state.levels[0], ROLES), state.levels[1])
    state.points = state.points._replace(keys=moved(state.points.keys, ROLES))
    state.counts = counting.join([*tables, state.counts._replace(keys=moved(state.counts.keys))])
    state.hashes = state.hashes._replace(keys=moved(state.hashes.keys))
    state.rests = state.rests._replace(bins=moved(state.rests.bins, HASH_BINS))
    state.paths = [*paths, *state.paths]


def split_pair(value: bytes) -> tuple[bytes, bytes]:
    """The two values of a counted pair."""
    size, _, rest = value.partition(b":")
    return rest[: int(size)], rest[int(size) :]


def _numbers(feature: Feature, rows: int) -> np.ndarray:
    """A number a row; NaN where there is none, or several."""
    result = np.full(rows, np.nan)
    if feature.values is None:
        return result
    values = feature.values.to_numpy(zero_copy_only=False).astype(np.float64)
    if feature.rows is None:
        return values
    single = np.bincount(feature.rows, minlength=rows)[feature.rows] == 1
    result[feature.rows[single]] = values[single]
    return result


def _pairs(first: Feature, second: Feature, rows: int) -> pa.Array:
    """Each row's two values in one, the first with its length before it."""
    places, values = [], []
    for feature in (first, second):
        assert feature.values is not None
        place = np.full(rows, -1)
        own = np.arange(rows) if feature.rows is None else feature.rows
        single = np.bincount(own, minlength=rows)[own] == 1
        place[own[single]] = np.flatnonzero(single)
        places.append(place)
        values.append(feature.values)
    both = (places[0] >= 0) & (places[1] >= 0)
    one, other = (counting.as_counted(own.take(pa.array(place[both])))[0] for own, place in zip(values, places))
    size = pc.binary_length(one).cast(pa.string()).cast(pa.large_binary())
    mark, empty = pa.scalar(b":", pa.large_binary()), pa.scalar(b"", pa.large_binary())
    return pc.binary_join_element_wise(size, mark, one, other, empty)
