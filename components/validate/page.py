"""The verdict's page: verdict and reasons first, both distributions of what moved, then every change over the spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwater.components.common.charts import HEIGHT, WIDTH, bars, outlines
from headwater.components.common.pages import render, visible
from headwater.components.common.results import Result
from headwater.components.validate.history import Past

_MOST_VALUES = 8
_LONGEST = 80
_MOST_CHANGES = 1000
_TREND_WIDTH, _TREND_HEIGHT = 160, 36


def render_page(
    body: Mapping[str, Any],
    measured: Result,
    drawn: Mapping[tuple[str, str, str], tuple[Any, Any]],
    past: Sequence[Past],
) -> str:
    """Renders the page.

    Args:
      body: of the anomalies' manifest.
      measured: the statistics.
      drawn: of each feature that moved, by split, name and kind of finding: the other side's statistics, and ours.
      past: earlier runs, for trends.
    """
    span = measured.body["dataset"]["span"]
    ranked = sorted(body["changes"], key=lambda each: (not each["alarm"], -(each["effect"] or 0.0), each["feature"]))
    measures: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in body["measures"]:
        if each["set_by"] != "schema":
            measures.setdefault((each["split"], each["feature"], each["against"]), {})[each["measure"]] = each
    return render(
        "headwater.components.validate",
        "page.html",
        title=measured.body["dataset"]["name"] or measured.body["dataset"]["uri"],
        span=span,
        body=body,
        drawn={
            key: shapes for key, sides in drawn.items() if (shapes := _compare(sides, key[1].split("."))) is not None
        },
        changes=[
            {
                **each,
                "trend": _trend(past, each, span) if each["against"] == "DRIFT" else "",
                "distances": measures.get((each["split"], each["feature"], each["against"]), {}),
            }
            for each in ranked[:_MOST_CHANGES]
            if each["effect"] is not None
        ],
        broken=[each for each in body["rows"]["results"] if each["broken"]] if "rows" in body else [],
        left_out=[each for each in ranked if each["effect"] is None and each["note"]],
        more=max(0, len(ranked) - _MOST_CHANGES),
        spans=len(past),
        width=WIDTH,
        height=HEIGHT,
        trend_width=_TREND_WIDTH,
        trend_height=_TREND_HEIGHT,
    )


def _compare(sides: tuple[Any, Any], path: list[str]) -> dict[str, Any] | None:
    """Both distributions of a feature: outlines, and shares of text values."""
    features = [
        next((feature for feature in side.datasets[0].features if ".".join(feature.path.step) == ".".join(path)), None)
        for side in sides
    ]
    if any(feature is None for feature in features):
        return None
    shares = [_shares(feature) for feature in features]
    # Those that moved most; by name among equals, so that pages are the same.
    moved = {value: abs(shares[0].get(value, 0.0) - shares[1].get(value, 0.0)) for value in {*shares[0], *shares[1]}}
    values = sorted(moved, key=lambda value: (-moved[value], value))[:_MOST_VALUES]
    table = [(visible(value, _LONGEST), *[side.get(value, 0.0) for side in shares]) for value in values]
    paths = outlines(features)
    if not any(paths) and values:
        paths = bars([[side.get(value, 0.0) for value in values] for side in shares])
    return {"outlines": paths, "table": table}


def _shares(feature: Any) -> dict[str, float]:
    buckets = feature.string_stats.rank_histogram.buckets
    total = feature.string_stats.common_stats.tot_num_values or 1
    return {bucket.label: bucket.sample_count / total for bucket in buckets}


def _trend(past: Sequence[Past], change: Mapping[str, Any], span: int | None) -> dict[str, Any] | str:
    """A feature's effects over the spans as a line, its threshold, and where there were alarms."""
    key = (change["split"], change["feature"])
    known = [(run.span, run.effects[key], key in run.alarms) for run in past if key in run.effects]
    if not known or span is None:
        return ""
    known.append((span, change["effect"], change["alarm"]))
    highest = max([effect for _, effect, _ in known] + [change["threshold"]]) or 1.0
    first, last = known[0][0], known[-1][0]

    def x(at: float) -> float:
        return round(4 + (at - first) / ((last - first) or 1) * (_TREND_WIDTH - 8), 1)

    def y(effect: float) -> float:
        return round(_TREND_HEIGHT - 3 - effect / highest * (_TREND_HEIGHT - 6), 1)

    return {
        "line": "M" + "L".join(f"{x(at)} {y(effect)}" for at, effect, _ in known),
        "threshold": y(change["threshold"]),
        "alarms": [(x(at), y(effect)) for at, effect, alarm in known if alarm],
        "words": f"effect from {known[0][1]:.3g} in span {first} to {known[-1][1]:.3g} in span {last}, "
        f"{sum(alarm for *_, alarm in known)} alarms",
    }
