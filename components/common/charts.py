"""Histograms of TFDV's statistics as SVG paths, drawn over each other on one scale."""

from __future__ import annotations

import math
from typing import Any, Sequence

WIDTH, HEIGHT = 200, 48
"""Size of a chart, in pixels."""

_STANDARD = 0


def outlines(features: Sequence[Any]) -> list[str]:
    """The outline of each feature's equal-width histogram; empty for one that has none.

    The horizontal scale is shared; each outline is as high as the chart, so that data sets of any size compare.

    Args:
      features: `FeatureNameStatistics` of the same feature in several data sets.
    """
    histograms = [_buckets(feature) for feature in features]
    ends = [end for buckets in histograms for bucket in buckets for end in (bucket.low_value, bucket.high_value)]
    if not ends:
        return ["" for _ in features]
    low, high = min(ends), max(ends)
    # A constant is drawn as one bar over the whole width.
    return [_outline(buckets, low, high if high > low else low + 1.0) for buckets in histograms]


def _buckets(feature: Any) -> list[Any]:
    if not feature.HasField("num_stats"):
        return []
    standard = [histogram for histogram in feature.num_stats.histograms if histogram.type == _STANDARD]
    buckets = standard[0].buckets if standard else []
    return [bucket for bucket in buckets if math.isfinite(bucket.low_value) and math.isfinite(bucket.high_value)]


def _outline(buckets: Sequence[Any], low: float, high: float) -> str:
    if not sum(bucket.sample_count for bucket in buckets):
        return ""
    if buckets[0].low_value == buckets[-1].high_value:
        spans, heights = [(buckets[0].low_value, high if high == low + 1.0 else buckets[0].low_value)], [1.0]
    else:
        spans = [(bucket.low_value, bucket.high_value) for bucket in buckets]
        heights = [bucket.sample_count / ((bucket.high_value - bucket.low_value) or math.inf) for bucket in buckets]
    highest = max(heights) or 1.0

    def x(value: float) -> str:
        return f"{(value - low) / (high - low) * WIDTH:.1f}"

    points = [f"M{x(spans[0][0])} {HEIGHT}"]
    for (left, right), height in zip(spans, heights):
        y = f"{HEIGHT - 2 - (HEIGHT - 4) * height / highest:.1f}"
        points.append(f"L{x(left)} {y}L{x(right)} {y}")
    return "".join([*points, f"L{x(spans[-1][1])} {HEIGHT}"])
