"""The statistics' page: one row a feature, its splits over each other."""

from __future__ import annotations

import dataclasses
import datetime
import math
from typing import Any, Mapping

from headwater.components.common.pages import number, render
from tensorflow_metadata.proto.v0 import statistics_pb2

_TOP_VALUES = 5
_TYPES = {0: "INT", 1: "FLOAT", 2: "STRING", 3: "BYTES", 4: "STRUCT"}
_WIDTH, _HEIGHT = 200, 48


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
    names: dict[str, None] = {}
    found: dict[tuple[str, str], statistics_pb2.FeatureNameStatistics] = {}
    for split, dataset in datasets.items():
        for feature in dataset.features:
            name = ".".join(feature.path.step)
            names[name] = None
            found[name, split] = feature
    features = []
    for name in names:
        mine = {split: found[name, split] for split in datasets if (name, split) in found}
        edges = _edges(list(mine.values()))
        rule = body["conversions"].get(name.split(".")[0], "")
        measures = [_measure(split, feature, datasets[split].num_examples, rule, edges) for split, feature in mine.items()]
        first = next(iter(mine.values()))
        features.append({"name": name, "type": _TYPES.get(first.type, ""), "rule": rule, "measures": measures})
    return render(
        "headwater.components.generate_statistics",
        "page.html",
        title=body["dataset"]["name"] or body["dataset"]["uri"],
        span=body["dataset"]["span"],
        splits=body["splits"],
        features=features,
        width=_WIDTH,
        height=_HEIGHT,
    )


def _measure(
    split: str,
    feature: statistics_pb2.FeatureNameStatistics,
    examples: int,
    rule: str,
    edges: tuple[float, float] | None,
) -> _Measure:
    common = getattr(feature, feature.WhichOneof("stats")).common_stats if feature.WhichOneof("stats") else None
    missing = common.num_missing / examples if common and examples else 0.0
    facts: list[tuple[str, str]] = []
    top: list[tuple[str, float]] = []
    if feature.HasField("num_stats") and feature.num_stats.histograms:
        numbers = feature.num_stats
        values = [("min", numbers.min), ("median", numbers.median), ("mean", numbers.mean), ("max", numbers.max)]
        facts = [(label, _moment(value, rule)) for label, value in values]
        if not rule:
            facts += [("std", number(numbers.std_dev)), ("zeros", f"{numbers.num_zeros:,}")]
    elif feature.HasField("string_stats"):
        texts = feature.string_stats
        facts = [("distinct", f"{texts.unique:,}"), ("mean bytes", number(texts.avg_length))]
        total = common.tot_num_values or 1
        top = [(value.value, value.frequency / total) for value in texts.top_values[:_TOP_VALUES]]
    if common and common.max_num_values > 1:
        facts.append(("values a row", f"{common.min_num_values:,} to {common.max_num_values:,}"))
    return _Measure(split, missing, facts, top, _outline(feature, edges))


def _edges(features: list[statistics_pb2.FeatureNameStatistics]) -> tuple[float, float] | None:
    buckets = [bucket for feature in features for bucket in _buckets(feature)]
    if not buckets:
        return None
    return min(bucket.low_value for bucket in buckets), max(bucket.high_value for bucket in buckets)


def _buckets(feature: statistics_pb2.FeatureNameStatistics) -> list[Any]:
    standard = [h for h in feature.num_stats.histograms if h.type == statistics_pb2.Histogram.STANDARD]
    buckets = standard[0].buckets if standard else []
    return [bucket for bucket in buckets if math.isfinite(bucket.low_value) and math.isfinite(bucket.high_value)]


def _outline(feature: statistics_pb2.FeatureNameStatistics, edges: tuple[float, float] | None) -> str:
    """The histogram's outline as an SVG path: shares per unit of width, so that splits of any size compare."""
    buckets = _buckets(feature)
    total = sum(bucket.sample_count for bucket in buckets)
    if not buckets or not total:
        return ""
    low, high = edges
    spread = (high - low) or 1.0
    heights = [bucket.sample_count / total / ((bucket.high_value - bucket.low_value) / spread or 1.0) for bucket in buckets]
    highest = max(heights) or 1.0
    points = [f"M{_x(buckets[0].low_value, low, spread)} {_HEIGHT}"]
    for bucket, height in zip(buckets, heights):
        y = f"{_HEIGHT - 2 - (_HEIGHT - 4) * height / highest:.1f}"
        right = bucket.high_value if spread > 0 and high > low else low + 1
        points.append(f"L{_x(bucket.low_value, low, spread)} {y}L{_x(right, low, spread)} {y}")
    points.append(f"L{_x(buckets[-1].high_value if high > low else low + 1, low, spread)} {_HEIGHT}")
    return "".join(points)


def _x(value: float, low: float, spread: float) -> str:
    return f"{(value - low) / spread * _WIDTH:.1f}"


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
