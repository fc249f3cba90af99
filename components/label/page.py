"""The page of labels: how they fall, what they rest on, and where sources disagree."""

from __future__ import annotations

from typing import Any, Mapping

from headwater.components.common.pages import render
from headwater.components.common.results import Result

_MOST_PAIRS = 20


def render_page(body: Mapping[str, Any], dataset: Result) -> str:
    """Renders the page.

    Args:
      body: of the labels' manifest.
      dataset: what was labelled.
    """
    labelled = body["labelled"]
    rows = max(1, body["accounts"]["read"])
    return render(
        "headwater.components.label",
        "page.html",
        title=body["name"] or dataset.uri,
        body=body,
        rows=body["accounts"]["read"],
        balance=[(name, count, count / rows) for name, count in labelled["classes"].items()],
        coverage=1 - labelled["abstained"] / rows,
        weak=[_weak(step, body["classes"]) for step in body["steps"] if step["method"] == "weak_supervision"],
    )


def _weak(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    pairs = sorted(step["pairs"], key=lambda pair: (-pair["conflict"], pair["functions"]))
    return {
        **step,
        "pairs": [pair for pair in pairs if pair["conflict"]][:_MOST_PAIRS],
        "functions": [
            {**each, "polarity": ", ".join(name for name in classes if name in each["votes"]) or "–"}
            for each in step["functions"]
        ],
    }
