"""The verdict's page: verdict and reasons first, then every distance, and what drifted drawn over what it was."""

from __future__ import annotations

from typing import Any, Mapping

from headwater.components.common.charts import HEIGHT, WIDTH, outlines
from headwater.components.common.pages import render
from headwater.components.common.results import Result

_MOST_VALUES = 8


def render_page(body: Mapping[str, Any], measured: Result, pairs: Mapping[str, tuple[Any, Any]]) -> str:
    """Renders the page.

    Args:
      body: of the anomalies' manifest.
      measured: the statistics.
      pairs: the statistics of each split, now and earlier (None where there are none).
    """
    drawn = {}
    for measure in body["measures"]:
        over = measure["value"] is not None and measure["value"] > measure["threshold"]
        if over:
            drawn[measure["split"], measure["feature"]] = _compare(pairs[measure["split"]], measure["feature"])
    return render(
        "headwater.components.validate",
        "page.html",
        title=measured.body["dataset"]["name"] or measured.body["dataset"]["uri"],
        span=measured.body["dataset"]["span"],
        body=body,
        drawn=drawn,
        width=WIDTH,
        height=HEIGHT,
    )


def _compare(pair: tuple[Any, Any], name: str) -> dict[str, Any]:
    """Both distributions of a feature: outlines of numbers, shares of text values."""
    features = [
        next(feature for feature in side.datasets[0].features if list(feature.path.step) == [name])
        for side in reversed(pair)
    ]
    shares = [_shares(feature) for feature in features]
    values = sorted({*shares[0], *shares[1]}, key=lambda value: -max(side.get(value, 0.0) for side in shares))
    table = [(value, *[side.get(value, 0.0) for side in shares]) for value in values[:_MOST_VALUES]]
    return {"outlines": outlines(features), "table": table}


def _shares(feature: Any) -> dict[str, float]:
    buckets = feature.string_stats.rank_histogram.buckets
    total = feature.string_stats.common_stats.tot_num_values or 1
    return {bucket.label: bucket.sample_count / total for bucket in buckets}
