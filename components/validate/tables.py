"""Two distributions of one feature as counts over the same bins.

Bins must not be chosen so that chance alone makes them differ. Numbers have the baseline's quantiles as edges, as many as
the sizes of both sides allow and whatever the current values are, for which a two-sample test holds as for edges that
were there before: how many current values fall between two order statistics of the baseline follows from the sizes alone.
Values of text have bins of their own by how often they
occur in both together, which says nothing of how they are divided; the others fall into bins of their hash, so that
thousands of categories against themselves give what chance gives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.distributions import HASH_BINS, Feature
from headwater.components.common.hashing import hash_values

NUMBER_BINS = 20
FEW_NUMBERS = 50
"""Up to so many distinct numbers, each has a bin of its own."""

OWN_BINS = 1000
"""So many values of text have bins of their own at most."""

OTHER_BINS = 64
LEAST_EXPECTED = 5.0
"""Bins in which either side can expect fewer rows than this become one."""

MISSING, NAN, RARE, PRESENT = "(missing)", "(NaN)", "(rare)", "(present)"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of two periods by bin.

    Attributes:
      baseline, current: rows in each bin, float64[bins]. Where a row can hold several values they are as many as rows.
      names: what each bin holds, in words.
      slack: by how much the share of any bin may be off because ranks are not exact, in [0, 1].
      quantiles: whether a bin lies between two quantiles of the baseline, bool[bins]; none by default.
      bounds: the ends of bins of numbers, float64[bins, 2]; NaN for bins that are not on the number line.
      thin: whether the smaller side can expect so few rows of the last bin that χ² does not hold for it.
    """

    baseline: np.ndarray
    current: np.ndarray
    names: Sequence[str]
    slack: float = 0.0
    quantiles: np.ndarray | None = None
    bounds: np.ndarray | None = None
    thin: bool = False

    @property
    def sizes(self) -> tuple[float, float]:
        """Rows of each side."""
        return float(self.baseline.sum()), float(self.current.sum())

    @property
    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """The share of each side's rows in each bin."""
        n, m = self.sizes
        return self.baseline / (n or 1.0), self.current / (m or 1.0)


def tabulate(baseline: Feature, current: Feature) -> Table:
    """The table of a feature that is of one kind on both sides, rare bins put together."""
    quantiles, bounds = np.zeros(0, bool), np.zeros((0, 2))
    if baseline.numeric or current.numeric:
        values, names, slack, quantiles, bounds = _numbers(baseline, current)
    elif not any(side.numeric or len(side.texts) or side.rest.any() for side in (baseline, current)):
        # Of bytes and structs only whether they are there.
        values, names, slack = [np.array([side.values - side.nan]) for side in (baseline, current)], [PRESENT], 0.0
    else:
        values, names, slack = _texts(baseline, current)
    # As many as rows: values of one row are not independent.
    scales = [_present(side) / (side.values or 1.0) for side in (baseline, current)]
    columns = [
        np.concatenate([column * scale, [side.nan * scale, side.missing]])
        for side, column, scale in zip((baseline, current), values, scales)
    ]
    between = np.zeros(len(columns[0]), bool)
    between[: len(quantiles)] = quantiles
    ends = np.full((len(columns[0]), 2), np.nan)
    ends[: len(bounds)] = bounds
    return _without_rare(Table(columns[0], columns[1], [*names, NAN, MISSING], slack, between, ends))


def _present(side: Feature) -> float:
    return side.rows - side.missing


def _numbers(baseline: Feature, current: Feature) -> tuple[list[np.ndarray], list[str], float, np.ndarray, np.ndarray]:
    slack = baseline.slack + current.slack
    # A baseline of NaN alone has no edges to give.
    base = baseline if baseline.numeric else current
    held = float(base.weights.sum())
    if len(base.points) <= FEW_NUMBERS and held >= LEAST_EXPECTED * len(base.points) and not base.slack:
        # Odd bins hold one value of the baseline each, even ones what lies between: values that it never had.
        edges = base.points
        columns = []
        for side in (baseline, current):
            at = np.searchsorted(edges, side.points, side="left")
            hit = edges[np.minimum(at, len(edges) - 1)] == side.points
            columns.append(np.bincount(2 * at + hit, side.weights, minlength=2 * len(edges) + 1))
        words = [_name(edge) for edge in edges.tolist()]
        names = [f"below {words[0]}"]
        for word, above in zip(words, words[1:]):
            names += [word, f"between {word} and {above}"]
        names += [words[-1], f"above {words[-1]}"]
        ends = np.concatenate([[-np.inf], np.repeat(edges, 2), [np.inf]])
        return columns, names, slack, np.zeros(len(names), bool), np.stack([ends[:-1], ends[1:]], axis=1)
    upto = np.cumsum(base.weights)
    bins = int(np.clip(min(_present(baseline), _present(current)) // (2 * LEAST_EXPECTED), 1, NUMBER_BINS))
    wanted = np.searchsorted(upto, upto[-1] * np.arange(1, bins) / bins * (1 - 1e-12))
    inner = np.unique(base.points[wanted])
    low, high = base.low, base.high
    # What lies outside of the baseline is unseen.
    edges = np.concatenate([[np.nextafter(low, -np.inf)], inner, [high] if not len(inner) or high > inner[-1] else []])
    columns = [
        np.bincount(np.searchsorted(edges, side.points, side="left"), side.weights, minlength=len(edges) + 1)
        for side in (baseline, current)
    ]
    bounds = [low, *edges[1:].tolist()]
    words = [_name(bound) for bound in bounds]
    names = [f"below {words[0]}", *map(_between, words, words[1:])]
    quantiles = np.ones(len(columns[0]), bool)
    quantiles[[0, -1]] = False
    ends = np.concatenate([[-np.inf], bounds, [np.inf]])
    ends = np.stack([ends[:-1], ends[1:]], axis=1)
    return columns, [*names, f"above {_name(high)}"], slack, quantiles, ends


def _between(low: str, high: str) -> str:
    """The name of a bin of numbers; one that many rows have may fill a bin of its own."""
    return low if low == high else f"{low} to {high}"


def _name(number: float) -> str:
    return f"{number:.6g}"


def _texts(baseline: Feature, current: Feature) -> tuple[list[np.ndarray], list[str], float]:
    if not (baseline.exact and current.exact):
        # Single counts are too low by then; those of hashes are exact.
        columns = [
            _binned(_bins_of(side.texts, HASH_BINS), side.counts, HASH_BINS) + side.rest for side in (baseline, current)
        ]
        return columns, [f"values of hash {place}" for place in range(HASH_BINS)], 0.0
    parts, columns = matched(baseline, current)
    totals = columns[0] + columns[1]
    size = len(totals)
    sides = [float(column.sum()) for column in columns]
    expected = totals * (min(sides) / (sum(sides) or 1.0))
    own = expected >= LEAST_EXPECTED
    if np.count_nonzero(own) > OWN_BINS:
        # The cut lies between different totals, so that no value is in or out by its place.
        own &= totals > np.partition(totals, size - OWN_BINS - 1)[size - OWN_BINS - 1]
    names = _words(parts, own)
    if not own.all():
        others = ~own
        bins = int(np.clip(expected[others].sum() / (2 * LEAST_EXPECTED), 1, OTHER_BINS))
        # There are few that are no others: to hash all costs less than to leave those out.
        by_hash = np.concatenate([_bins_of(part, bins) for part in parts])[others]
        columns = [np.concatenate([column[own], _binned(by_hash, column[others], bins)]) for column in columns]
        # A bin of one value has its name.
        alone = np.count_nonzero(others) == bins == 1
        names += _words(parts, others) if alone else [f"other values, {place}" for place in range(bins)]
    return columns, names, 0.0


def matched(baseline: Feature, current: Feature) -> tuple[list[pa.Array], list[np.ndarray]]:
    """Values of text that either side has.

    Returns:
      Those of the baseline and those that it lacks; and of each side how often it has each of all these, float64.
    """
    places = pc.index_in(current.texts, value_set=baseline.texts)
    new = pc.is_null(places).to_numpy(zero_copy_only=False)
    first, size = len(baseline.texts), len(baseline.texts) + int(np.count_nonzero(new))
    at = pc.fill_null(places, 0).to_numpy().astype(np.int64)
    at[new] = np.arange(first, size)
    columns = [np.zeros(size), np.zeros(size)]
    columns[0][:first] = baseline.counts
    columns[1][at] = current.counts
    return [baseline.texts, current.texts.filter(pa.array(new))], columns


def _bins_of(texts: pa.Array, bins: int) -> np.ndarray:
    """The bin of each text's hash."""
    return (hash_values(texts) % np.uint64(bins)).astype(np.int64) if len(texts) else np.zeros(0, np.int64)


def _binned(places: np.ndarray, counts: np.ndarray, bins: int) -> np.ndarray:
    return np.bincount(places, counts, minlength=bins)


def _words(parts: Sequence[pa.Array], chosen: np.ndarray) -> list[str]:
    ends = np.cumsum([0, *map(len, parts)])
    picked = [part.filter(pa.array(chosen[start:stop])) for part, start, stop in zip(parts, ends, ends[1:])]
    return [text.decode(errors="replace") for part in picked for text in part.to_pylist()]


def _without_rare(table: Table) -> Table:
    """Puts rare bins together, but for those between quantiles: the current counts alone make these rare or not.

    A bin is rare when the smaller side can expect few of its rows. What they are together is tested where the baseline could
    have expected more: a value that a much larger baseline never had is new, however few rows there are now. Both follow from
    the rows of both sides together, which say nothing of how they are divided. A larger current side does not count like
    that, since a small baseline has none of what lies beyond its own extremes.
    """
    n, m = table.sizes
    between = np.zeros(len(table.names), bool) if table.quantiles is None else table.quantiles
    totals = table.baseline + table.current
    less, of_baseline = (size / ((n + m) or 1.0) for size in (min(n, m), n))
    rare = (totals * less < LEAST_EXPECTED) & ~between
    if not rare.any():
        return table
    kept = ~rare
    baseline, current = (np.append(column[kept], column[rare].sum()) for column in (table.baseline, table.current))
    names = [name for name, stays in zip(table.names, kept.tolist()) if stays]
    quantiles = np.append(between[kept], False)
    bounds = None if table.bounds is None else np.append(table.bounds[kept], [[np.nan, np.nan]], axis=0)
    together = totals[rare].sum()
    if together * of_baseline < LEAST_EXPECTED:
        # Too few to judge even together.
        ends = None if bounds is None else bounds[:-1]
        return Table(baseline[:-1], current[:-1], names, table.slack, quantiles[:-1], ends)
    alone = np.flatnonzero(rare & (totals > 0))
    if len(alone) == 1:
        # It is one bin after all, which a person knows by its name.
        names.append(table.names[alone[0]])
        if bounds is not None and table.bounds is not None:
            bounds[-1] = table.bounds[alone[0]]
    else:
        names.append(RARE)
    return Table(baseline, current, names, table.slack, quantiles, bounds, bool(together * less < LEAST_EXPECTED))
