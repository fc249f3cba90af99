"""State → statistics: TFMD's proto, filled in as TFDV fills it in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common.arrow_types import is_utf8
from headwater.components.common.findings import percent
from headwater.components.generate_statistics.measure import semantics as meaning
from headwater.components.generate_statistics.measure.conversion import RULE
from headwater.components.generate_statistics.measure.cross_features import TOGETHER
from headwater.components.generate_statistics.measure.features import BYTES, FLOAT, INT, STRING, STRUCT, UNKNOWN
from headwater.components.generate_statistics.plan.privacy import Private
from headwater.components.generate_statistics.report.histograms import add_quantiles, add_widths
from headwater.components.generate_statistics.report.lift import add_crosses, add_lift
from headwater.components.generate_statistics.report.tables import Tables
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state import points as pointing
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
# Finer quantiles that the histogram with equal widths and the median are read from, as in TFDV.
_FINER = 10

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


class _Filler:
    """Fills in protos from a state."""

    def __init__(self, tables: Tables, sizes: Sizes, weighted: bool, private: Private):
        self._tables, self._state = tables, tables.state
        self._sizes, self._weighted, self._private = sizes, weighted, private

    def fill(self, dataset: statistics_pb2.DatasetFeatureStatistics, code: int) -> None:
        """Fills in the statistics of one slice, features in order of their paths."""
        rows, weight = self._state.examples[code]
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
        levels: Sequence[np.ndarray],
    ) -> None:
        # What lies in a struct is missing of the structs, a column's values of the rows.
        parent = self._tables.places.get(path[:-1])
        above, weight_above = self._state.examples[code]
        if parent is not None:
            above, weight_above = self._tables.level(code, parent, self._tables.depths[parent] - 1)[
                [L["total"], L["weighted_total"]]
            ]
        outer = (above, weight_above)
        first, last = levels[0], levels[-1]
        common.num_non_missing = int(first[L["present"]])
        common.num_missing = int(above - first[L["present"]])
        common.tot_num_values = int(last[L["total"]])
        if first[L["present"]]:
            least, most = ("inner_min", "inner_max") if len(levels) > 1 else ("min", "max")
            common.min_num_values, common.max_num_values = int(first[L[least]]), int(first[L[most]])
            common.avg_num_values = last[L["total"]] / first[L["present"]]
            role = OF_INNER if len(levels) > 1 else OF_LENGTHS
            values, weights = self._lengths(code, place, role, first, L[least])
            add_quantiles(common.num_values_histogram, values, weights, self._sizes.num_values_histogram_buckets)
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
            self._fill_weighted(common, outer[1], levels)

    def _fill_weighted(
        self, common: statistics_pb2.CommonStatistics, above: float, levels: Sequence[np.ndarray]
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
        self, code: int, place: int, role: int, level: np.ndarray, shortest: int
    ) -> tuple[np.ndarray, np.ndarray]:
        values, weights = self._tables.distribution((code * self._tables.width + place) * ROLES + role)
        if len(values):
            return values, weights
        # Lists of one value each have no distribution of their lengths.
        return np.array([level[shortest]]), np.array([level[L["present"]]])

    def _fill_lengths(self, feature: _Feature, code: int, place: int, level: int, numbers: np.ndarray) -> None:
        if not numbers[L["present"]]:
            return
        values, weights = self._lengths(code, place, OF_LENGTHS + level, numbers, L["min"])
        buckets = self._sizes.num_values_histogram_buckets
        histogram = feature.custom_stats.add(name=_LENGTHS.format(level + 1, "quantiles")).histogram
        add_quantiles(histogram, values, weights, buckets)
        histogram = feature.custom_stats.add(name=_LENGTHS.format(level + 1, "standard")).histogram
        add_widths(histogram, values, weights, values[0], values[-1], buckets, 0.0, 0.0)

    def _fill_numbers(self, feature: _Feature, code: int, place: int, numbers: np.ndarray) -> None:
        stats = feature.num_stats
        nan, count = numbers[N["nan"]], numbers[N["values"]]
        if not count:
            if nan:
                for kind in (_Histogram.STANDARD, _Histogram.QUANTILES):
                    stats.histograms.add(type=kind).num_nan = int(nan)
            return
        stats.mean, stats.std_dev = _moments(numbers, "mean", "m2", count - _infinite(numbers))
        stats.num_zeros = int(numbers[N["zeros"]])
        stats.min, stats.max = numbers[N["min"]], numbers[N["max"]]
        key = (code * self._tables.width + place) * ROLES
        values, weights = self._tables.distribution(key + OF_VALUES)
        stats.median = self._add_histograms(stats.histograms, values, weights, numbers, "pos_inf", "neg_inf")
        error = numbers[N["rank_error"]] / count
        feature.custom_stats.add(name=RANKED, str=f"rank error at most {percent(error)}" if error else "exact")
        if self._weighted:
            weighted = stats.weighted_numeric_stats
            weighted.mean, weighted.std_dev = _moments(numbers, "weighted_mean", "weighted_m2", numbers[N["weight"]])
            values, weights = self._tables.distribution(key + OF_WEIGHTS)
            if len(values):
                weighted.median = self._add_histograms(
                    weighted.histograms, values, weights, numbers, "weighted_pos_inf", ""
                )

    def _add_histograms(
        self,
        histograms: Any,
        values: np.ndarray,
        weights: np.ndarray,
        numbers: np.ndarray,
        pos_inf: str,
        neg_inf: str,
    ) -> float:
        """Adds both histograms, and gives the median."""
        nan = int(numbers[N["nan"]])
        below = float(weights[values == -np.inf].sum())
        above = float(weights[values == np.inf].sum())
        standard = histograms.add(num_nan=nan)
        add_widths(
            standard,
            values,
            weights,
            numbers[N["finite_min"]],
            numbers[N["finite_max"]],
            self._sizes.num_histogram_buckets,
            below,
            above,
        )
        add_quantiles(
            histograms.add(num_nan=nan), values, weights, self._sizes.num_quantiles_histogram_buckets, numbers
        )
        bounds, _ = pointing.quantiles(values, weights, _FINER * self._sizes.num_quantiles_histogram_buckets)
        half = len(bounds) // 2
        return float(bounds[half] if len(bounds) % 2 else (bounds[half - 1] + bounds[half]) / 2)

    def _fill_text(self, feature: _Feature, code: int, place: int, numbers: np.ndarray, total: float) -> None:
        stats = feature.string_stats
        if total:
            stats.avg_length = numbers[N["bytes"]] / total
        stats.invalid_utf8_count = int(numbers[N["not_text"]])
        key = code * self._tables.width + place
        start, stop = self._tables.counts.get(key, (0, 0))
        table = self._state.counts
        self._add_ranks(stats, start, stop, table.counts[start:stop], self._sizes.frequency_threshold)
        if self._weighted and stop > start:
            self._add_ranks(
                stats.weighted_string_stats,
                start,
                stop,
                table.weights[start:stop],
                self._sizes.weighted_frequency_threshold,
            )
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

    def _add_ranks(
        self,
        stats: statistics_pb2.StringStatistics | statistics_pb2.WeightedStringStatistics,
        start: int,
        stop: int,
        held: np.ndarray,
        threshold: float,
    ) -> None:
        """Adds the values that occur most, by falling count, then value."""
        most = max(self._sizes.num_top_values, self._sizes.num_rank_histogram_buckets)
        values = self._state.counts.values[start:stop]
        if not is_utf8(values):
            values, held = _as_shown(values, held)
        places = _most_frequent(values, held, np.flatnonzero(held >= threshold), most)
        texts = values.take(pa.array(places)).to_pylist()
        ranked = zip(held[places].tolist(), texts)
        for rank, (count, value) in enumerate(ranked):
            text = value.decode()
            if rank < self._sizes.num_top_values:
                stats.top_values.add(value=text, frequency=count)
            if rank < self._sizes.num_rank_histogram_buckets:
                stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=text, sample_count=count)


def _most_frequent(values: pa.Array, held: np.ndarray, places: np.ndarray, most: int) -> np.ndarray:
    """So many of the places with the greatest counts, by falling count, then falling value, as TFDV settles ties."""
    if not most or not len(places):
        return places[:0]
    if len(places) > most:
        last = -np.partition(-held[places], most - 1)[most - 1]
        above, tied = places[held[places] > last], places[held[places] == last]
        wanted = most - len(above)
        if wanted < len(tied):
            table = pa.table({"value": values.take(pa.array(tied))})
            tied = tied[pc.select_k_unstable(table, wanted, [("value", "descending")]).to_numpy()]
        places = np.concatenate([above, tied])
    table = pa.table({"count": held[places], "value": values.take(pa.array(places))})
    return places[pc.sort_indices(table, [("count", "descending"), ("value", "descending")]).to_numpy()]


def _infinite(numbers: np.ndarray) -> float:
    return numbers[N["pos_inf"]] + numbers[N["neg_inf"]]


def _moments(numbers: np.ndarray, mean: str, m2: str, count: float) -> tuple[float, float]:
    """Mean and standard deviation; of infinite values as arithmetic has them, and no deviation."""
    if _infinite(numbers):
        both = numbers[N["pos_inf"]] and numbers[N["neg_inf"]]
        return (math.nan if both else math.inf if numbers[N["pos_inf"]] else -math.inf), 0.0
    spread = numbers[N[m2]] / count if count else 0.0
    return float(numbers[N[mean]]), math.sqrt(spread) if spread > 0 else 0.0


def _as_shown(values: pa.Array, held: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """Values under the names that they are shown by, and what each name has together."""
    encoded = pa.array([counting.shown(value).encode() for value in values.to_pylist()]).dictionary_encode()
    return encoded.dictionary, np.bincount(encoded.indices.to_numpy(), held)
