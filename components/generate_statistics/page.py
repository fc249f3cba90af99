"""The statistics' page: one row a feature, its splits over each other."""

from __future__ import annotations

import dataclasses
import datetime
import math
from typing import Any, Mapping

from headwater.components.common.charts import HEIGHT, WIDTH, outlines
from headwater.components.common.pages import number, render
from headwater.components.generate_statistics.conversion import RULE
from tensorflow_metadata.proto.v0 import statistics_pb2

_TOP_VALUES = 5
_TYPES = {0: "INT", 1: "FLOAT", 2: "STRING", 3: "BYTES", 4: "STRUCT"}
_SPREADS = [
    ("microseconds since 1970-01-01", 86_400e6, "days"),
    ("days since 1970-01-01", 1, "days"),
    ("microseconds since midnight", 3_600e6, "hours"),
]


@dataclasses.dataclass(frozen=True)
class _Measure:
    """What one split says of one feature."""

    split: str
    missing: float
    facts: list[tuple[str, str]]
    top: list[tuple[str, float]]
    outline: str


def render_page(body: Mapping[str, Any], statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList]) -> str:
    """Renders the page.

    Args:
      body: of the statistics' manifest.
      statistics: by split, in the dataset's order.
    """
    datasets = {split: proto.datasets[0] for split, proto in statistics.items()}
    found: dict[tuple[str, ...], dict[str, statistics_pb2.FeatureNameStatistics]] = {}
    for split, dataset in datasets.items():
        for feature in dataset.features:
            found.setdefault(tuple(feature.path.step), {})[split] = feature
    features = []
    for path, mine in found.items():
        drawn = outlines(list(mine.values()))
        first = next(iter(mine.values()))
        rule = next((custom.str for custom in first.custom_stats if custom.name == RULE), "")
        measures = [_measure(split, feature, rule, outline) for (split, feature), outline in zip(mine.items(), drawn)]
        features.append(
            {
                "name": ".".join(path),
                "type": _TYPES.get(first.type, ""),
                "rule": rule,
                "measures": measures,
                # A split without rows has none.
                "top": next((measure.top for measure in measures if measure.top), []),
            }
        )
    return render(
        "headwater.components.generate_statistics",
        "page.html",
        title=body["dataset"]["name"] or body["dataset"]["uri"],
        span=body["dataset"]["span"],
        splits=body["splits"],
        features=features,
        width=WIDTH,
        height=HEIGHT,
    )


def _measure(
    split: str,
    feature: statistics_pb2.FeatureNameStatistics,
    rule: str,
    outline: str,
) -> _Measure:
    common = getattr(feature, feature.WhichOneof("stats")).common_stats if feature.WhichOneof("stats") else None
    # Of the rows, and for what lies in a struct, of the structs.
    places = common.num_missing + common.num_non_missing if common else 0
    missing = common.num_missing / places if places else 0.0
    facts: list[tuple[str, str]] = []
    top: list[tuple[str, float]] = []
    if feature.HasField("num_stats") and feature.num_stats.histograms:
        numbers = feature.num_stats
        values = [("min", numbers.min), ("median", numbers.median), ("mean", numbers.mean), ("max", numbers.max)]
        facts = [(label, _moment(value, rule)) for label, value in values]
        spread = _spread(numbers.std_dev, rule)
        facts.append(("std", spread or number(numbers.std_dev)))
        if not spread:
            facts.append(("zeros", f"{numbers.num_zeros:,}"))
    elif feature.HasField("string_stats"):
        texts = feature.string_stats
        facts = [("distinct", f"{texts.unique:,}"), ("mean bytes", number(texts.avg_length))]
        total = common.tot_num_values or 1
        top = [(value.value, value.frequency / total) for value in texts.top_values[:_TOP_VALUES]]
    if common and common.max_num_values > 1:
        facts.append(("values a row", f"{common.min_num_values:,} to {common.max_num_values:,}"))
    return _Measure(split, missing, facts, top, outline)


def _spread(deviation: float, rule: str) -> str:
    """The standard deviation of moments; empty when the column has none."""
    for phrase, size, unit in _SPREADS:
        if phrase in rule:
            return f"{number(deviation / size)} {unit}"
    return ""


def _moment(value: float, rule: str) -> str:
    """A number as a person reads it: a date where the column was one."""
    if not math.isfinite(value):
        return str(value)
    epoch = datetime.datetime(1970, 1, 1)
    try:
        if "days since 1970-01-01" in rule:
            return str((epoch + datetime.timedelta(days=value)).date())
        if "microseconds since 1970-01-01" in rule:
            return f"{epoch + datetime.timedelta(microseconds=value):%Y-%m-%d %H:%M:%S}"
        if "microseconds since midnight" in rule:
            return f"{epoch + datetime.timedelta(microseconds=value):%H:%M:%S}"
    except OverflowError:
        pass
    return number(value)
