"""The page of labels: how they fall, what they rest on, and where sources disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from headwater.components.common import charts
from headwater.components.common.pages import duration, render
from headwater.components.common.results import Home, Result, relative_page

_MOST_PAIRS = 20

_FATES = {
    "used": "labelled a row",
    "repeated": "repeated another event of the same row",
    "conflicting": "contradicted the event that counts",
    "late": "arrived after the window",
    "early": "arrived before any prediction of their key",
    "orphan": "matched no row",
    "carried": "wait for the next span",
    "no_class": "have no class",
    "no_key": "have no key",
    "no_time": "have no time",
}


def render_page(body: Mapping[str, Any], dataset: Result, here: Home | None = None) -> str:
    """Renders the page.

    Args:
      body: of the labels' manifest.
      dataset: what was labelled.
      here: where the labels lie, to link to the other pages of the run; None outside a `data_root`.
    """
    links = [("Overview", "../reports/index.html")] if here else []
    if here and dataset.home:
        links.append(("Data", relative_page(dataset, here)))
    labelled = body["labelled"]
    rows = max(1, body["accounts"]["written"])
    return render(
        "headwater.components.label",
        "page.html",
        title=body["name"] or dataset.uri,
        body=body,
        links=links,
        rows=body["accounts"]["written"],
        balance=[(name, count, count / rows) for name, count in labelled["classes"].items()],
        coverage=1 - labelled["abstained"] / rows,
        steps=[_SHOWN[step["method"]](step, body["classes"]) for step in body["steps"]],
        weak=[step for step in body["steps"] if step["method"] == "weak_supervision"],
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _direct(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    summary = step["delays"]
    events = step["events"]
    by_octave: dict[float, float] = {}
    for end, within in summary["histogram"]:
        by_octave[2.0 ** math.ceil(math.log2(end) - 1e-9)] = within
    shares = np.diff([0.0, *by_octave.values()]).tolist()
    outline = charts.bars(shares)
    return {
        **step,
        "outline": outline,
        "ends": [min(by_octave), max(by_octave)] if by_octave else [],
        "fates": [(_FATES[name], events[name]) for name in _FATES if events[name]],
        "states": [
            *((f"{name} (event)", step["by_event"][name]) for name in classes if step["by_event"][name]),
            (f"{step['silence'] or 'no label'} (no event within {duration(step['window'])})", step["silent"]),
            ("no label (events contradict each other)", step["disputed"]),
            ("no label (the row has no key)", step["no_key"]),
            ("no label (the row has no time)", step["no_time"]),
        ],
    }


def _weak(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    pairs = sorted(step["pairs"], key=lambda pair: (-pair["conflict"], pair["functions"]))
    return {
        **step,
        "pairs": [pair for pair in pairs if pair["conflict"]][:_MOST_PAIRS],
        "pairs_have_gold": any(pair.get("gold") for pair in pairs),
        "functions": [
            {**each, "polarity": ", ".join(name for name in classes if name in each["votes"]) or "–"}
            for each in step["functions"]
        ],
    }


_SHOWN = {"direct": _direct, "weak_supervision": _weak}
