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

from headwater.components.generate_statistics import counts as counting
from headwater.components.generate_statistics import points as pointing
from headwater.components.generate_statistics import semantics as meaning
from headwater.components.generate_statistics.conversion import RULE
from headwater.components.generate_statistics.crossing import TOGETHER, split_pair
from headwater.components.generate_statistics.features import BYTES, FLOAT, INT, STRING, STRUCT, UNKNOWN
from headwater.components.generate_statistics.privacy import Private
from headwater.components.generate_statistics.state import (
    NO_LISTS,
    NOTHING,
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
      sizes: how much is told.
      weighted: whether rows had weights.
      private: how values were hidden.
      label: the column whose slices are labels, for lift.
    """
    reader = _Reader(state, sizes, weighted, private)
    result = statistics_pb2.DatasetFeatureStatisticsList()
    for code, slice_name in enumerate(state.slices):
        if code and not state.examples[code, 0]:
            continue
        dataset = result.datasets.add()
        dataset.name = slice_name if code else (EVERYTHING if len(state.slices) > 1 else name)
        reader.fill(dataset, code)
    reader.add_crosses(result.datasets[0])
    if label:
        reader.add_lift(result.datasets[0], label)
    return result


class _Reader:
    """A state with its tables opened by key."""

    def __init__(self, state: State, sizes: Sizes, weighted: bool, private: Private):
        self._state, self._sizes, self._weighted, self._private = state, sizes, weighted, private
        self._width = len(state.paths)
        self._numbers = dict(zip(state.numbers[0].tolist(), state.numbers[1]))
        self._levels = dict(zip(state.levels[0].tolist(), state.levels[1]))
        self._points = _spans(state.points.keys)
        self._counts = _spans(state.counts.keys)
        self._hashes = _spans(state.hashes.keys)
        self._depths = [1] * self._width
        for key in state.levels[0].tolist():
            place = key // ROLES % self._width
            self._depths[place] = max(self._depths[place], key % ROLES + 1)
        self._places = {path: place for place, path in enumerate(state.paths)}

    def fill(self, dataset: statistics_pb2.DatasetFeatureStatistics, code: int) -> None:
        """Fills in the statistics of one slice, features in order of their paths."""
        rows, weight = self._state.examples[code]
        dataset.num_examples = int(rows)
        if self._weighted:
            dataset.weighted_num_examples = weight
        for place, path in enumerate(self._state.paths):
            if path[0] != TOGETHER:
                self._fill_feature(dataset.features.add(), code, place, path)

    def add_crosses(self, dataset: statistics_pb2.DatasetFeatureStatistics) -> None:
        """Adds what was measured of pairs of columns."""
        for (first, second), moments in self._state.pairs.items():
            cross = dataset.cross_features.add()
            cross.path_x.step.append(first)
            cross.path_y.step.append(second)
            count, _, _, spread, other, together = moments
            cross.count = int(count)
            if count:
                cross.num_cross_stats.covariance = together / count
                if spread > 0 and other > 0:
                    cross.num_cross_stats.correlation = together / math.sqrt(spread * other)
        for place, path in enumerate(self._state.paths):
            if path[0] == TOGETHER:
                self._add_pair(dataset, place, path[1], path[2])

    def add_lift(self, dataset: statistics_pb2.DatasetFeatureStatistics, label: str) -> None:
        """Adds the lift of each feature's values for each label, from the labels' slices."""
        state = self._state
        prefix = f"{label}_"
        labels = [
            (code, name[len(prefix) :])
            for code, name in enumerate(state.slices)
            if name in set(state.labels) and state.examples[code, 0]
        ]
        total = state.examples[0, 1 if self._weighted else 0]
        for place, path in enumerate(state.paths):
            kind = self._number(0, place)[N["kind"]]
            if kind != STRING or path[0] in (label, TOGETHER):
                continue
            known = dict(self._counted(0, place, self._weighted))
            cross = dataset.cross_features.add()
            cross.path_x.step.extend(path)
            cross.path_y.step.append(label)
            cross.count = int(self._level(0, place, 0)[L["present"]])
            for code, value in labels:
                rows = state.examples[code, 1 if self._weighted else 0]
                series = cross.categorical_cross_stats.lift.lift_series.add(y_string=value)
                _set_count(series, "y", rows, self._weighted)
                pairs = [(known[x], x, both) for x, both in self._counted(code, place, self._weighted) if x in known]
                _add_lifts(series, pairs, rows, total, self._sizes.num_top_values, self._weighted)

    def _add_pair(self, dataset: statistics_pb2.DatasetFeatureStatistics, place: int, first: str, second: str) -> None:
        """The lift of one column's values for the other's, over rows that have both."""
        pairs = [(*split_pair(value), count) for value, count in self._counted(0, place, False)]
        ones: dict[bytes, float] = {}
        others: dict[bytes, float] = {}
        for one, other, count in pairs:
            ones[one] = ones.get(one, 0) + count
            others[other] = others.get(other, 0) + count
        total = sum(ones.values())
        cross = dataset.cross_features.add()
        cross.path_x.step.append(first)
        cross.path_y.step.append(second)
        cross.count = total
        ranked = sorted(others.items(), key=lambda item: (-item[1], item[0]))[: self._sizes.num_top_values]
        for other, rows in ranked:
            series = cross.categorical_cross_stats.lift.lift_series.add(y_string=counting.shown(other))
            _set_count(series, "y", rows, False)
            both = [(ones[one], one, count) for one, its, count in pairs if its == other]
            _add_lifts(series, both, rows, total, self._sizes.num_top_values, False)

    def _number(self, code: int, place: int) -> np.ndarray:
        return self._numbers.get(code * self._width + place, NOTHING)

    def _level(self, code: int, place: int, level: int) -> np.ndarray:
        return self._levels.get((code * self._width + place) * ROLES + level, NO_LISTS)

    def _distribution(self, key: int) -> tuple[np.ndarray, np.ndarray]:
        start, stop = self._points.get(key, (0, 0))
        return self._state.points.values[start:stop], self._state.points.weights[start:stop]

    def _counted(self, code: int, place: int, weighted: bool) -> list[tuple[bytes, float]]:
        """Values with their counts, or their weights."""
        start, stop = self._counts.get(code * self._width + place, (0, 0))
        table = self._state.counts
        held = table.weights if weighted else table.counts
        return list(zip(table.values[start:stop].to_pylist(), held[start:stop].tolist()))

    def _fill_feature(self, feature: _Feature, code: int, place: int, path: tuple[str, ...]) -> None:
        feature.path.step.extend(path)
        numbers = self._number(code, place)
        # What a slice does not hold has the type that it has elsewhere.
        kind = int(self._number(0, place)[N["kind"]])
        text = kind in (STRING, UNKNOWN) or (kind == INT and list(path) in self._state.settings.get("categorical", []))
        feature.type = STRING if kind == UNKNOWN else kind
        if kind == STRUCT:
            common = feature.struct_stats.common_stats
        elif kind == BYTES:
            common = feature.bytes_stats.common_stats
        else:
            common = feature.string_stats.common_stats if text else feature.num_stats.common_stats
        depth = self._depths[place]
        levels = [self._level(code, place, level) for level in range(depth)]
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
        parent = self._places.get(path[:-1])
        above, weight_above = self._state.examples[code]
        if parent is not None:
            above, weight_above = self._level(code, parent, self._depths[parent] - 1)[[L["total"], L["weighted_total"]]]
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
            _add_quantiles(common.num_values_histogram, values, weights, self._sizes.num_values_histogram_buckets)
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
        values, weights = self._distribution((code * self._width + place) * ROLES + role)
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
        _add_quantiles(histogram, values, weights, buckets)
        histogram = feature.custom_stats.add(name=_LENGTHS.format(level + 1, "standard")).histogram
        _add_widths(histogram, values, weights, values[0], values[-1], buckets, 0.0, 0.0)

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
        key = (code * self._width + place) * ROLES
        values, weights = self._distribution(key + OF_VALUES)
        stats.median = self._add_histograms(stats.histograms, values, weights, numbers, "pos_inf", "neg_inf")
        error = numbers[N["rank_error"]] / count
        feature.custom_stats.add(name=RANKED, str=f"rank error at most {error:.2%}" if error else "exact")
        if self._weighted:
            weighted = stats.weighted_numeric_stats
            weighted.mean, weighted.std_dev = _moments(numbers, "weighted_mean", "weighted_m2", numbers[N["weight"]])
            values, weights = self._distribution(key + OF_WEIGHTS)
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
        _add_widths(
            standard,
            values,
            weights,
            numbers[N["finite_min"]],
            numbers[N["finite_max"]],
            self._sizes.num_histogram_buckets,
            below,
            above,
        )
        _add_quantiles(
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
        key = code * self._width + place
        start, stop = self._counts.get(key, (0, 0))
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
        begin, end = self._hashes[key]
        least = int(self._state.limits.hashes(np.array([code]))[0])
        stats.unique, error = counting.distinct(self._state.hashes.hashes[begin:end], least)
        unique = f"the number of distinct values has a standard error of {error:.1%}" if error else "distinct is exact"
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
        if not counting.is_text(values):
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


def _spans(keys: np.ndarray) -> dict[int, tuple[int, int]]:
    """Where each key's rows begin and end."""
    if not len(keys):
        return {}
    begin = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return dict(zip(keys[begin].tolist(), zip(begin.tolist(), [*begin[1:].tolist(), len(keys)])))


def _infinite(numbers: np.ndarray) -> float:
    return numbers[N["pos_inf"]] + numbers[N["neg_inf"]]


def _moments(numbers: np.ndarray, mean: str, m2: str, count: float) -> tuple[float, float]:
    """Mean and standard deviation; of infinite values as arithmetic has them, and no deviation."""
    if _infinite(numbers):
        both = numbers[N["pos_inf"]] and numbers[N["neg_inf"]]
        return (math.nan if both else math.inf if numbers[N["pos_inf"]] else -math.inf), 0.0
    spread = numbers[N[m2]] / count if count else 0.0
    return float(numbers[N[mean]]), math.sqrt(spread) if spread > 0 else 0.0


def _add_quantiles(
    histogram: _Histogram,
    values: np.ndarray,
    weights: np.ndarray,
    buckets: int,
    numbers: np.ndarray | None = None,
) -> None:
    """Buckets of nearly equal weight; those with the same bounds share what falls there."""
    histogram.type = _Histogram.QUANTILES
    bounds, upto = pointing.quantiles(values, weights, buckets)
    if numbers is not None:
        # The middle of the last part may stand for the greatest value; the extremes are known.
        bounds[0], bounds[-1] = numbers[N["min"]], numbers[N["max"]]
    low, high = bounds[:-1], bounds[1:]
    held = np.diff(upto)
    # What is up to the least value belongs to the first bucket.
    held[0] += upto[0]
    group = np.cumsum(np.concatenate([[0], (low[1:] != low[:-1]) | (high[1:] != high[:-1])]))
    held = (np.bincount(group, held) / np.bincount(group))[group]
    for left, right, count in zip(low.tolist(), high.tolist(), held.tolist()):
        histogram.buckets.add(low_value=left, high_value=right, sample_count=count)


def _add_widths(
    histogram: _Histogram,
    values: np.ndarray,
    weights: np.ndarray,
    low: float,
    high: float,
    buckets: int,
    below: float,
    above: float,
) -> None:
    """Buckets of equal width over the finite values, and one for each infinity."""
    histogram.type = _Histogram.STANDARD
    if not (np.isfinite(low) and np.isfinite(high)):
        histogram.buckets.add(low_value=low, high_value=high, sample_count=weights.sum())
        return
    with np.errstate(over="ignore"):
        bounds = np.array([low, high]) if low == high else np.linspace(low, high, buckets + 1)
    if not np.isfinite(bounds).all():
        return
    if below:
        histogram.buckets.add(low_value=-math.inf, high_value=-math.inf, sample_count=below)
    inside = np.isfinite(values)
    place = np.clip(np.searchsorted(bounds, values[inside], side="right") - 1, 0, len(bounds) - 2)
    held = np.bincount(place, weights[inside], minlength=len(bounds) - 1)
    for left, right, count in zip(bounds[:-1].tolist(), bounds[1:].tolist(), held.tolist()):
        histogram.buckets.add(low_value=left, high_value=right, sample_count=count)
    if above:
        histogram.buckets.add(low_value=math.inf, high_value=math.inf, sample_count=above)


def _add_lifts(
    series: statistics_pb2.LiftSeries,
    pairs: Sequence[tuple[float, bytes, float]],
    rows: float,
    total: float,
    most: int,
    weighted: bool,
) -> None:
    """The values with the greatest lift, P(y | x) / P(y), greatest first."""
    found = [(both * total / (count * rows), x, count, both) for count, x, both in pairs if count and rows]
    for lift, x, count, both in sorted(found, key=lambda item: (-item[0], item[1]))[:most]:
        value = series.lift_values.add(x_string=counting.shown(x), lift=lift)
        _set_count(value, "x", count, weighted)
        _set_count(value, "x_and_y", both, weighted)


def _set_count(proto: object, what: str, count: float, weighted: bool) -> None:
    if weighted:
        setattr(proto, f"weighted_{what}_count", count)
    else:
        setattr(proto, f"{what}_count", int(count))


def _as_shown(values: pa.Array, held: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """Values under the names that they are shown by, and what each name has together."""
    encoded = pa.array([counting.shown(value).encode() for value in values.to_pylist()]).dictionary_encode()
    return encoded.dictionary, np.bincount(encoded.indices.to_numpy(), held)
