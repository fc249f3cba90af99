"""Histograms of TFDV's statistics as SVG paths, drawn over each other on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 200, 48
"""Size of a chart, in pixels."""

_STANDARD = 0
_TOP = 2


def equal_widths(feature: Any) -> list[Any]:
    """The buckets of a feature's equal-width histogram that have finite bounds; none when it has no such histogram.

    Args:
      feature: `FeatureNameStatistics`.
    """
    if not feature.HasField("num_stats"):
        return []
    standard = [histogram for histogram in feature.num_stats.histograms if histogram.type == _STANDARD]
    buckets = standard[0].buckets if standard else []
    return [bucket for bucket in buckets if math.isfinite(bucket.low_value) and math.isfinite(bucket.high_value)]


def outlines(features: Sequence[Any]) -> list[str]:
    """The outline of each feature's equal-width histogram; empty for one that has none.

    The horizontal scale is shared; each outline is as high as the chart, so that data sets of any size compare.

    Args:
      features: `FeatureNameStatistics` of the same feature in several data sets.
    """
    histograms = [equal_widths(feature) for feature in features]
    ends = [end for buckets in histograms for bucket in buckets for end in (bucket.low_value, bucket.high_value)]
    if not ends:
        return ["" for _ in features]
    low, high = min(ends), max(ends)
    # Halves, because the difference of two doubles can be infinite.
    half = high / 2 - low / 2
    return [_outline(buckets, low, half) for buckets in histograms]


def bars(shares: Sequence[Sequence[float]]) -> list[str]:
    """The outline of bars for each data set's shares of the same values, over each other on one scale.

    Args:
      shares: of each data set, between 0 and 1, in one order.
    """
    most = max((share for own in shares for share in own), default=0.0)
    if not most:
        return ["" for _ in shares]
    slot = WIDTH / len(shares[0])
    gap = min(6.0, slot / 4)
    drawn = []
    for own in shares:
        points = []
        for place, share in enumerate(own):
            left, right = round(place * slot + gap / 2), round((place + 1) * slot - gap / 2)
            points.append(f"M{left} {HEIGHT}V{_y(share / most)}H{right}V{HEIGHT}" if share else "")
        drawn.append("".join(points))
    return drawn


def _outline(buckets: Sequence[Any], low: float, half: float) -> str:
    if not sum(bucket.sample_count for bucket in buckets):
        return ""
    if not half:
        # A constant is drawn as one bar over the whole width.
        return f"M0 {HEIGHT}V{_TOP}H{WIDTH}V{HEIGHT}"

    def x(value: float) -> int:
        return round((value / 2 - low / 2) / half * WIDTH)

    if buckets[0].low_value == buckets[-1].high_value:
        return f"M{x(buckets[0].low_value)} {HEIGHT}V{_TOP}V{HEIGHT}"
    heights = [bucket.sample_count / ((bucket.high_value - bucket.low_value) or math.inf) for bucket in buckets]
    highest = max(heights)
    points = [f"M{x(buckets[0].low_value)} {HEIGHT}"]
    for bucket, height in zip(buckets, heights):
        points.append(f"V{_y(height / highest if highest else 0.0)}H{x(bucket.high_value)}")
    return "".join([*points, f"V{HEIGHT}"])


def _y(share: float) -> int:
    # What is there at all is at least a pixel high.
    return HEIGHT - max(1, round((HEIGHT - _TOP) * share)) if share else HEIGHT
