"""State → statistics: TFMD's proto, filled in as TFDV fills it in."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common.findings import percent
from headwater.components.generate_statistics.measure import semantics as meaning
from headwater.components.generate_statistics.measure.conversion import RULE
from headwater.components.generate_statistics.measure.cross_features import TOGETHER
from headwater.components.generate_statistics.measure.features import BYTES, FLOAT, INT, STRING, STRUCT, UNKNOWN
from headwater.components.generate_statistics.plan.privacy import Private
from headwater.components.generate_statistics.report import histograms
from headwater.components.generate_statistics.report.batches import Batches
from headwater.components.generate_statistics.report.lift import add_crosses, add_lift
from headwater.components.generate_statistics.report.ranks import Ranked, rank
from headwater.components.generate_statistics.report.tables import Tables
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state.state import (
    OF_INNER,
    OF_LENGTHS,
    OF_VALUES,
    OF_WEIGHTS,
    ROLES,
    L,
    N,
    State,
)

COUNTED = "headwater.values"
"""Custom statistic: whether top values and the number of distinct ones are exact, and if not, how far off."""

RANKED = "headwater.quantiles"
"""Custom statistic: whether quantiles are exact, and if not, how far off."""

HIDDEN = "headwater.private"
"""Custom statistic: how raw values were hidden."""

EVERYTHING = "All Examples"
"""TFDV's name for the statistics of all rows, where there are those of slices too."""

_LENGTHS = "level_{}_value_list_length_{}"

_ENDS = ("min", "max"), ("finite_min", "finite_max")
_QUANTILES = statistics_pb2.Histogram(type=statistics_pb2.Histogram.QUANTILES).SerializeToString()

_Feature: TypeAlias = statistics_pb2.FeatureNameStatistics
_Histogram: TypeAlias = statistics_pb2.Histogram


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much the statistics tell, by TFDV's names and with its defaults."""

    num_top_values: int = 20
    frequency_threshold: int = 1
    weighted_frequency_threshold: float = 1.0
    num_rank_histogram_buckets: int = 1000
    num_values_histogram_buckets: int = 10
    num_histogram_buckets: int = 10
    num_quantiles_histogram_buckets: int = 10


_NOTHING_PRIVATE = Private()


def to_statistics(
    state: State,
    name: str,
    sizes: Sizes = Sizes(),
    *,
    weighted: bool = False,
    private: Private = _NOTHING_PRIVATE,
    label: str = "",
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """The statistics of a state: of all rows first, then of each slice that has rows.

    Args:
      state: of some rows.
      name: of the data set of all rows, where there are no slices.
      sizes: how much is reported.
      weighted: whether rows had weights.
      private: how values were hidden.
      label: the column whose slices are labels, for lift.
    """
    tables = Tables(state)
    filler = _Filler(tables, sizes, weighted, private)
    result = statistics_pb2.DatasetFeatureStatisticsList()
    for code, slice_name in enumerate(state.slices):
        if code and not state.examples[code, 0]:
            continue
        dataset = result.datasets.add()
        dataset.name = slice_name if code else (EVERYTHING if len(state.slices) > 1 else name)
        filler.fill(dataset, code)
    add_crosses(result.datasets[0], tables, sizes.num_top_values)
    if label:
        add_lift(result.datasets[0], tables, sizes.num_top_values, label, weighted)
    return result


class _Drawn(NamedTuple):
    """What is drawn of one distribution: what the message of each kind of histogram reads, and the median."""

    widths: bytes
    quantiles: bytes
    median: float


class _Filler:
    """Fills in protos from a state."""

    def __init__(self, tables: Tables, sizes: Sizes, weighted: bool, private: Private):
        self._tables, self._state = tables, tables.state
        self._sizes, self._weighted, self._private = sizes, weighted, private
        self._examples = self._state.examples.tolist()
        self._drawn = {role: self._draw_in_batches(role) for role in (OF_VALUES, OF_WEIGHTS)}
        table = self._state.counts
        self._ranked = self._rank_in_batches(table.counts, sizes.frequency_threshold, statistics_pb2.StringStatistics)
        self._ranked_by_weight = self._rank_in_batches(
            table.weights, sizes.weighted_frequency_threshold, statistics_pb2.WeightedStringStatistics
        )

    def _draw_in_batches(self, role: int) -> Batches[_Drawn]:
        keys, begin, size = self._tables.points_runs
        own = keys % ROLES == role

        def make(keys: np.ndarray, rows: np.ndarray, size: np.ndarray) -> list[_Drawn]:
            known, numbers = self._state.numbers
            numbers = numbers[np.searchsorted(known, keys)]
            points = self._state.points.values[rows], self._state.points.weights[rows], size
            ends, finite = ((numbers[:, N[low]], numbers[:, N[high]]) for low, high in _ENDS)
            parts = self._sizes.num_quantiles_histogram_buckets
            widths = histograms.widths(*points, finite, self._sizes.num_histogram_buckets)
            quantiles = histograms.quantiles(*points, parts, ends)
            return list(map(_Drawn, widths, quantiles, histograms.medians(*points, parts).tolist()))

        return Batches(keys[own] // ROLES, begin[own], size[own], make)

    def _rank_in_batches(self, held: np.ndarray, threshold: float, message: Any) -> Batches[Ranked]:
        keys, begin, size = self._tables.counts_runs
        together = np.array([path[0] == TOGETHER for path in self._state.paths], bool)
        own = ~together[keys % self._tables.width] if len(keys) else slice(None)
        most = self._sizes.num_top_values, self._sizes.num_rank_histogram_buckets

        def make(keys: np.ndarray, rows: np.ndarray, size: np.ndarray) -> list[Ranked]:
            values = self._state.counts.values.take(pa.array(rows))
            return rank(values, held[rows], size, threshold, message, *most)

        return Batches(keys[own], begin[own], size[own], make)

    def fill(self, dataset: statistics_pb2.DatasetFeatureStatistics, code: int) -> None:
        """Fills in the statistics of one slice, features in order of their paths."""
        rows, weight = self._examples[code]
        dataset.num_examples = int(rows)
        if self._weighted:
            dataset.weighted_num_examples = weight
        for place, path in enumerate(self._state.paths):
            if path[0] != TOGETHER:
                self._fill_feature(dataset.features.add(), code, place, path)

    def _fill_feature(self, feature: _Feature, code: int, place: int, path: tuple[str, ...]) -> None:
        feature.path.step.extend(path)
        numbers = self._tables.number(code, place)
        # What a slice does not hold has the type that it has elsewhere.
        kind = int(self._tables.number(0, place)[N["kind"]])
        text = kind in (STRING, UNKNOWN) or (kind == INT and list(path) in self._state.settings.get("categorical", []))
        feature.type = STRING if kind == UNKNOWN else kind
        if kind == STRUCT:
            common = feature.struct_stats.common_stats
        elif kind == BYTES:
            common = feature.bytes_stats.common_stats
        else:
            common = feature.string_stats.common_stats if text else feature.num_stats.common_stats
        depth = self._tables.depths[place]
        levels = [self._tables.level(code, place, level) for level in range(depth)]
        self._fill_common(common, code, place, path, levels)
        total = levels[-1][L["total"]]
        if kind == BYTES and total:
            feature.bytes_stats.avg_num_bytes = numbers[N["bytes"]] / total
            feature.bytes_stats.min_num_bytes = int(numbers[N["min_bytes"]])
            feature.bytes_stats.max_num_bytes = int(numbers[N["max_bytes"]])
            feature.bytes_stats.max_num_bytes_int = int(numbers[N["max_bytes"]])
        if text:
            self._fill_text(feature, code, place, numbers, total)
        elif kind in (INT, FLOAT):
            self._fill_numbers(feature, code, place, numbers)
        for level in range(1, depth):
            self._fill_lengths(feature, code, place, level, levels[level])
        if rule := self._state.rules.get(path):
            feature.custom_stats.add(name=RULE, str=rule)
        if self._private.of(path) and kind in (INT, FLOAT, STRING):
            feature.custom_stats.add(name=HIDDEN, str=self._private.rule("text" if text else "number"))
        if code == 0:
            if path in self._state.semantics:
                feature.custom_stats.extend(meaning.finish(self._state.semantics[path]))
            for (column, name), (_, value) in self._state.custom.items():
                if path == (column,):
                    feature.custom_stats.add(name=name, num=value)

    def _fill_common(
        self,
        common: statistics_pb2.CommonStatistics,
        code: int,
        place: int,
        path: tuple[str, ...],
        levels: Sequence[Sequence[float]],
    ) -> None:
        # What lies in a struct is missing of the structs, a column's values of the rows.
        parent = self._tables.places.get(path[:-1])
        above, weight_above = self._examples[code]
        if parent is not None:
            outermost = self._tables.level(code, parent, self._tables.depths[parent] - 1)
            above, weight_above = outermost[L["total"]], outermost[L["weighted_total"]]
        first, last = levels[0], levels[-1]
        common.num_non_missing = int(first[L["present"]])
        common.num_missing = int(above - first[L["present"]])
        common.tot_num_values = int(last[L["total"]])
        if first[L["present"]]:
            least, most = ("inner_min", "inner_max") if len(levels) > 1 else ("min", "max")
            common.min_num_values, common.max_num_values = int(first[L[least]]), int(first[L[most]])
            common.avg_num_values = last[L["total"]] / first[L["present"]]
            role = OF_INNER if len(levels) > 1 else OF_LENGTHS
            lengths = self._lengths(code, place, role, first, L[least])
            common.num_values_histogram.MergeFromString(_of_lengths(lengths, self._sizes.num_values_histogram_buckets))
        for level in levels:
            if len(levels) > 1:
                proto = common.presence_and_valency_stats.add()
                proto.num_missing = int(above - level[L["present"]])
                proto.num_non_missing = int(level[L["present"]])
                if level[L["present"]]:
                    proto.min_num_values, proto.max_num_values = int(level[L["min"]]), int(level[L["max"]])
                    proto.tot_num_values = int(level[L["total"]])
            above = level[L["total"]]
        if self._weighted:
            self._fill_weighted(common, weight_above, levels)

    def _fill_weighted(
        self, common: statistics_pb2.CommonStatistics, above: float, levels: Sequence[Sequence[float]]
    ) -> None:
        present, total = L["weighted_present"], L["weighted_total"]
        whole = common.weighted_common_stats
        whole.num_non_missing, whole.num_missing = levels[0][present], above - levels[0][present]
        whole.tot_num_values = levels[-1][total]
        whole.avg_num_values = levels[-1][total] / levels[0][present] if levels[0][present] else 0.0
        if len(levels) > 1:
            for level in levels:
                proto = common.weighted_presence_and_valency_stats.add()
                proto.num_missing, proto.num_non_missing = above - level[present], level[present]
                proto.tot_num_values = level[total]
                if level[present]:
                    proto.avg_num_values = level[total] / level[present]
                above = level[total]

    def _lengths(
        self, code: int, place: int, role: int, level: Sequence[float], shortest: int
    ) -> tuple[np.ndarray, np.ndarray] | tuple[float, float]:
        """The distribution of lengths, or the only length and how many lists have it."""
        values, weights = self._tables.distribution((code * self._tables.width + place) * ROLES + role)
        # Lists of one value each have no distribution of their lengths.
        return (values, weights) if len(values) else (level[shortest], level[L["present"]])

    def _fill_lengths(self, feature: _Feature, code: int, place: int, level: int, numbers: Sequence[float]) -> None:
        if not numbers[L["present"]]:
            return
        lengths = self._lengths(code, place, OF_LENGTHS + level, numbers, L["min"])
        buckets = self._sizes.num_values_histogram_buckets
        histogram = feature.custom_stats.add(name=_LENGTHS.format(level + 1, "quantiles")).histogram
        histogram.MergeFromString(_of_lengths(lengths, buckets))
        values, weights = map(np.atleast_1d, lengths)
        histogram = feature.custom_stats.add(name=_LENGTHS.format(level + 1, "standard")).histogram
        ends = values[:1], values[-1:]
        histogram.MergeFromString(histograms.widths(values, weights, np.array([len(values)]), ends, buckets)[0])

    def _fill_numbers(self, feature: _Feature, code: int, place: int, numbers: Sequence[float]) -> None:
        stats = feature.num_stats
        nan, count = int(numbers[N["nan"]]), numbers[N["values"]]
        if not count:
            if nan:
                for kind in (_Histogram.STANDARD, _Histogram.QUANTILES):
                    stats.histograms.add(type=kind, num_nan=nan)
            return
        stats.mean, stats.std_dev = _moments(numbers, "mean", "m2", count - _infinite(numbers))
        stats.num_zeros = int(numbers[N["zeros"]])
        stats.min, stats.max = numbers[N["min"]], numbers[N["max"]]
        key = code * self._tables.width + place
        stats.median = _add_histograms(stats.histograms, self._drawn[OF_VALUES].get(key), nan)
        error = numbers[N["rank_error"]] / count
        feature.custom_stats.add(name=RANKED, str=f"rank error at most {percent(error)}" if error else "exact")
        if self._weighted:
            weighted = stats.weighted_numeric_stats
            weighted.mean, weighted.std_dev = _moments(numbers, "weighted_mean", "weighted_m2", numbers[N["weight"]])
            if drawn := self._drawn[OF_WEIGHTS].get(key):
                weighted.median = _add_histograms(weighted.histograms, drawn, nan)

    def _fill_text(self, feature: _Feature, code: int, place: int, numbers: Sequence[float], total: float) -> None:
        stats = feature.string_stats
        if total:
            stats.avg_length = numbers[N["bytes"]] / total
        stats.invalid_utf8_count = int(numbers[N["not_text"]])
        key = code * self._tables.width + place
        start, stop = self._tables.counts.get(key, (0, 0))
        _add_ranks(stats, self._ranked.get(key))
        if self._weighted and stop > start:
            _add_ranks(stats.weighted_string_stats, self._ranked_by_weight.get(key))
        if not numbers[N["sketched"]]:
            stats.unique = stop - start
            if numbers[N["values"]]:
                feature.custom_stats.add(name=COUNTED, str="exact")
            return
        begin, end = self._tables.hashes[key]
        least = int(self._state.limits.hashes(np.array([code]), len(self._state.paths))[0])
        stats.unique, error = counting.distinct(self._state.hashes.hashes[begin:end], least)
        unique = (
            f"the number of distinct values has a standard error of {percent(error)}" if error else "distinct is exact"
        )
        feature.custom_stats.add(
            name=COUNTED, str=f"sketched: counts are at most {int(numbers[N['removed']]):,} too low; {unique}"
        )


def _add_histograms(added: Any, drawn: _Drawn | None, nan: int) -> float:
    """Adds both histograms, and gives the median."""
    assert drawn, "numbers with values have points"
    added.add(num_nan=nan).MergeFromString(drawn.widths)
    added.add(num_nan=nan, type=_Histogram.QUANTILES).MergeFromString(drawn.quantiles)
    return drawn.median


def _add_ranks(stats: Any, ranked: Ranked | None) -> None:
    """Adds the values that occur most; nothing where there are none."""
    if ranked and ranked.tops:
        stats.MergeFromString(ranked.tops)
    if ranked and ranked.ranks:
        stats.rank_histogram.MergeFromString(ranked.ranks)


def _of_lengths(lengths: tuple[np.ndarray, np.ndarray] | tuple[float, float], buckets: int) -> bytes:
    if isinstance(lengths[0], np.ndarray):
        values, weights = lengths
        return _QUANTILES + histograms.quantiles(values, weights, np.array([len(values)]), buckets)[0]
    return _of_one_length(*lengths, buckets)


@functools.lru_cache(maxsize=1024)
def _of_one_length(length: float, lists: float, buckets: int) -> bytes:
    """All buckets at one value: they are the same of many features."""
    return _of_lengths((np.array([length]), np.array([lists])), buckets)


def _infinite(numbers: Sequence[float]) -> float:
    return numbers[N["pos_inf"]] + numbers[N["neg_inf"]]


def _moments(numbers: Sequence[float], mean: str, m2: str, count: float) -> tuple[float, float]:
    """Mean and standard deviation; of infinite values as arithmetic has them, and no deviation."""
    if _infinite(numbers):
        both = numbers[N["pos_inf"]] and numbers[N["neg_inf"]]
        return (math.nan if both else math.inf if numbers[N["pos_inf"]] else -math.inf), 0.0
    spread = numbers[N[m2]] / count if count else 0.0
    return numbers[N[mean]], math.sqrt(spread) if spread > 0 else 0.0
