"""The bins that worst slices are made of, taken from the finished statistics of a split.

A column can be sliced by when no row has more than one value of it, and not all rows lie in one of its bins.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics.measure.conversion import RULE
from headwater.components.generate_statistics.worst_slices.options import MOST_COLUMNS, Options

MOST_PAIRED = 32
"""Columns that conjunctions are made of: 496 pairs at most."""

MOST_VALUES = 50
"""Values of a column of text that have a bin of their own; the others share one."""

MOST_PAIRED_VALUES = 15
"""The same within conjunctions."""

_FEW_INTEGERS = 20
_DECILES = 10
_LONGEST = 256
_PRIVATE = "headwater.private"
# Labels that TFDV gives to values that it does not show.
_NOT_SHOWN = ("__BYTES_VALUE__", "__LARGE_BYTES__")

Feature: TypeAlias = statistics_pb2.FeatureNameStatistics


@dataclasses.dataclass(frozen=True)
class Column:
    """A column's bins. Codes count the values or ranges, then the rest (other values, or NaN), then missing.

    Attributes:
      name: the column's.
      kind: "text" or "integers" with `values`; "ranges" with `edges`.
      values: bytes or int, each a bin.
      edges: rising; range i is from edges[i - 1] up to, and without, edges[i], the outer ones without an end.
      rule: how values were converted, in words; empty when they were taken as they are.
      whole: whether numbers are integers.
    """

    name: str
    kind: Literal["text", "integers", "ranges"]
    values: tuple[Any, ...] = ()
    edges: tuple[float, ...] = ()
    rule: str = ""
    whole: bool = False

    @property
    def rest(self) -> int:
        """Code of other values, or of NaN."""
        return len(self.edges) + 1 if self.kind == "ranges" else len(self.values)

    @property
    def size(self) -> int:
        """How many codes there are."""
        return self.rest + 2

    @property
    def paired_rest(self) -> int:
        """As `rest`, within pairs."""
        return self.rest if self.kind == "ranges" else min(self.rest, MOST_PAIRED_VALUES)

    @property
    def paired_size(self) -> int:
        """As `size`, within pairs."""
        return self.paired_rest + 2

    def unpaired(self, codes: np.ndarray) -> np.ndarray:
        """Codes within pairs as codes of the column; the rest is another rest, and no slice of a pair."""
        return np.where(codes < self.paired_rest, codes, codes - self.paired_rest + self.rest)


@dataclasses.dataclass(frozen=True)
class Bins:
    """What a split is sliced by; small, and can be pickled.

    Attributes:
      columns: in order of their use.
      pairs: places in `columns` of each conjunction's two.
      reference: subtracted from each cost, so that sums of squares keep their digits.
      left_out: columns that could be sliced by and were too many.
    """

    columns: tuple[Column, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()
    reference: float = 0.0
    left_out: tuple[str, ...] = ()

    def fingerprint(self, options: Options) -> str:
        """A SHA-256 that two states share when their cells mean the same."""
        said = [options.errors, options.prediction, options.label, options.costs]
        return hashlib.sha256(repr((self.columns, self.pairs, self.reference, said)).encode()).hexdigest()


def bins(dataset: statistics_pb2.DatasetFeatureStatistics, options: Options) -> Bins:
    """Bins from the finished statistics of all rows of a split.

    Text has its most frequent values, those that at least `min_rows` rows hold; numbers have ranges with about a tenth
    of the rows each, a number that fills a tenth being a bin of its own; integers of few values have one each. Other
    values, NaN and missing are bins too.

    Raises:
      HeadwaterError: a column that the options name cannot be sliced by.
    """
    features = {feature.path.step[0]: feature for feature in dataset.features if len(feature.path.step) == 1}
    ranked = []
    unwanted = {options.errors, options.prediction, options.label}
    for name in options.columns or sorted(set(features) - unwanted):
        feature = features.get(name, Feature())
        if not options.columns and _custom(feature, _PRIVATE):
            continue
        if _common(feature).max_num_values <= 1:
            ranked += _binned(feature, options.min_rows)
        elif options.columns:
            raise HeadwaterError(
                f"worst_slices.columns: {name!r} has rows with more than one value, so they would belong to several "
                "slices"
            )
    columns = [column for _, column in ranked] if options.columns else _in_turn(ranked)
    kept = columns if options.columns else columns[:MOST_COLUMNS]
    pairs = itertools.combinations(range(min(len(kept), MOST_PAIRED)), 2) if options.depth == 2 else ()
    mean = features[options.errors].num_stats.mean if options.errors in features else 0.0
    return Bins(
        tuple(kept),
        tuple(pairs),
        mean if math.isfinite(mean) else 0.0,
        tuple(column.name for column in columns[len(kept) :]),
    )


def _common(feature: Feature) -> statistics_pb2.CommonStatistics:
    kind = feature.WhichOneof("stats")
    return getattr(feature, kind).common_stats if kind else statistics_pb2.CommonStatistics()


def _custom(feature: Feature, name: str) -> str:
    return next((each.str for each in feature.custom_stats if each.name == name), "")


def _binned(feature: Feature, min_rows: int) -> list[tuple[float, Column]]:
    """A column and how evenly its bins spread its rows (the shares' entropy); nothing when one bin holds them all."""
    common, kind = _common(feature), feature.WhichOneof("stats")
    name, said = feature.path.step[0], _custom(feature, RULE)
    whole = feature.type == Feature.INT
    missing = common.num_missing
    if kind == "string_stats":
        ranks = [(bucket.label, bucket.sample_count) for bucket in feature.string_stats.rank_histogram.buckets]
        tops = [(value.value, value.frequency) for value in feature.string_stats.top_values]
        shown = [
            pair
            for pair in (ranks if len(ranks) > len(tops) else tops)
            if pair[0] not in _NOT_SHOWN and pair[1] >= min_rows and len(pair[0].encode()) <= _LONGEST
        ][:MOST_VALUES]
        values = tuple(int(value) if whole else value.encode() for value, _ in shown)
        column = Column(name, "integers" if whole else "text", values=values, rule=said, whole=whole)
        counts = [count for _, count in shown]
        counts.append(max(common.num_non_missing - sum(counts), 0))
    elif kind == "num_stats":
        edges, counts = _edges(feature.num_stats, whole)
        column = Column(name, "ranges", edges=edges, rule=said, whole=whole)
        counts.append(sum(histogram.num_nan for histogram in feature.num_stats.histograms[:1]))
    else:
        return []
    shares = np.array([*counts, missing], float)
    shares = shares[shares > 0] / max(shares.sum(), 1)
    return [(float(-(shares * np.log(shares)).sum()), column)] if len(shares) > 1 else []


def _edges(stats: statistics_pb2.NumericStatistics, whole: bool) -> tuple[tuple[float, ...], list[float]]:
    """Edges of ranges, and about how many rows each holds."""
    lowest, highest = stats.min, stats.max
    if lowest == highest:
        return (), [float(stats.common_stats.num_non_missing)]
    if whole and highest - lowest < _FEW_INTEGERS:
        edges = tuple(float(edge) for edge in np.arange(int(lowest), int(highest) + 2))
        return edges, [stats.common_stats.num_non_missing / (len(edges) - 1)] * (len(edges) - 1)
    quantiles = next((each for each in stats.histograms if each.type == statistics_pb2.Histogram.QUANTILES), None)
    buckets = list(quantiles.buckets) if quantiles else []
    if not buckets:
        return (), [float(stats.common_stats.num_non_missing)]
    bounds = np.array([buckets[0].low_value, *(bucket.high_value for bucket in buckets)])
    reached = np.cumsum([0.0, *(bucket.sample_count for bucket in buckets)])
    # The bound nearest to each tenth of the rows; all of them when there are fewer.
    places = np.abs(reached[None, :] - np.linspace(0, reached[-1], _DECILES + 1)[:, None]).argmin(axis=1)
    bounds = bounds[np.unique(places)]
    bounds = bounds[np.isfinite(bounds)]
    full = np.unique(bounds[1:][bounds[1:] == bounds[:-1]])
    bounds = np.unique(bounds)
    inner = bounds if whole else _rounded(bounds, full)
    edges = np.unique(np.concatenate([inner[1:-1], full, full + 1 if whole else np.nextafter(full, np.inf)]))
    return tuple(edges.tolist()), [reached[-1] / (len(edges) + 1)] * (len(edges) + 1)


def _rounded(bounds: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Rising bounds with as few digits as move none by more than a twentieth of the way to the next one."""
    gaps = np.diff(bounds)
    near = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps)) / 20
    shorter = [
        next(short for digits in range(1, 18) if abs((short := float(f"{bound:.{digits}g}")) - bound) <= most)
        for bound, most in zip(bounds.tolist(), near.tolist())
    ]
    return np.where(np.isin(bounds, exact), bounds, shorter)


def _in_turn(ranked: Sequence[tuple[float, Column]]) -> list[Column]:
    """Columns of values and of ranges in turn, each kind by falling entropy, then name."""
    ordered = [column for _, column in sorted(ranked, key=lambda each: (-each[0], each[1].name))]
    kinds = [[column for column in ordered if (column.kind == "ranges") == ranges] for ranges in (False, True)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    return [column for column in turns if column is not None]
