"""What pairs of columns say of each other, as TFMD's cross statistics: covariance, correlation and lift."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.generate_statistics.measure.cross_features import TOGETHER, split_pair
from headwater.components.generate_statistics.measure.features import STRING
from headwater.components.generate_statistics.report.tables import Tables
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state.state import L, N


def add_crosses(dataset: statistics_pb2.DatasetFeatureStatistics, tables: Tables, most: int) -> None:
    """Adds what was measured of pairs of columns."""
    for (first, second), moments in tables.state.pairs.items():
        cross = dataset.cross_features.add()
        cross.path_x.step.append(first)
        cross.path_y.step.append(second)
        count, _, _, spread, other, together = moments
        cross.count = int(count)
        if count:
            cross.num_cross_stats.covariance = together / count
            if spread > 0 and other > 0:
                cross.num_cross_stats.correlation = together / math.sqrt(spread * other)
    for place, path in enumerate(tables.state.paths):
        if path[0] == TOGETHER:
            _add_pair(dataset, tables, most, place, path[1], path[2])


def add_lift(
    dataset: statistics_pb2.DatasetFeatureStatistics, tables: Tables, most: int, label: str, weighted: bool
) -> None:
    """Adds the lift of each feature's values for each label, from the labels' slices."""
    state = tables.state
    prefix = f"{label}_"
    labels = [
        (code, name[len(prefix) :])
        for code, name in enumerate(state.slices)
        if name in set(state.labels) and state.examples[code, 0]
    ]
    total = state.examples[0, 1 if weighted else 0]
    for place, path in enumerate(state.paths):
        kind = tables.number(0, place)[N["kind"]]
        if kind != STRING or path[0] in (label, TOGETHER):
            continue
        known = dict(tables.counted(0, place, weighted))
        cross = dataset.cross_features.add()
        cross.path_x.step.extend(path)
        cross.path_y.step.append(label)
        cross.count = int(tables.level(0, place, 0)[L["present"]])
        for code, value in labels:
            rows = state.examples[code, 1 if weighted else 0]
            series = cross.categorical_cross_stats.lift.lift_series.add(y_string=value)
            _set_count(series, "y", rows, weighted)
            pairs = [(known[x], x, both) for x, both in tables.counted(code, place, weighted) if x in known]
            _add_lifts(series, pairs, rows, total, most, weighted)


def _add_pair(
    dataset: statistics_pb2.DatasetFeatureStatistics, tables: Tables, most: int, place: int, first: str, second: str
) -> None:
    """The lift of one column's values for the other's, over rows that have both."""
    pairs = [(*split_pair(value), count) for value, count in tables.counted(0, place, False)]
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
    ranked = sorted(others.items(), key=lambda item: (-item[1], item[0]))[:most]
    for other, rows in ranked:
        series = cross.categorical_cross_stats.lift.lift_series.add(y_string=counting.shown(other))
        _set_count(series, "y", rows, False)
        both = [(ones[one], one, count) for one, its, count in pairs if its == other]
        _add_lifts(series, both, rows, total, most, False)


def _add_lifts(
    series: statistics_pb2.LiftSeries,
    pairs: Sequence[tuple[float, bytes, float]],
    rows: float,
    total: float,
    most: int,
    weighted: bool,
) -> None:
    """The values with the greatest lift, P(y | x) / P(y), greatest first."""
    lifts = [(both * total / (count * rows), x, count, both) for count, x, both in pairs if count and rows]
    for lift, x, count, both in sorted(lifts, key=lambda item: (-item[0], item[1]))[:most]:
        value = series.lift_values.add(x_string=counting.shown(x), lift=lift)
        _set_count(value, "x", count, weighted)
        _set_count(value, "x_and_y", both, weighted)


def _set_count(proto: object, what: str, count: float, weighted: bool) -> None:
    if weighted:
        setattr(proto, f"weighted_{what}_count", count)
    else:
        setattr(proto, f"{what}_count", int(count))
