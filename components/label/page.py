"""The page of labels: how they fall, what they rest on, and where sources disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.components.common import charts
from headwater.components.common.pages import render
from headwater.components.common.results import Home, Result, relative_page
from headwater.components.label.methods import METHODS


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
        titles={name: _title(name) for name in labelled["methods"]},
        steps=[_section(step, body["classes"]) for step in body["steps"]],
        majority=next((step["majority"]["balance"] for step in body["steps"] if "majority" in step), None),
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _section(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    """What the page shows of a step: by the method's own template, or else what its report has as plain values."""
    method = METHODS[step["method"]]
    if hasattr(method, "show"):
        return {**method.show(step, classes), "template": f"{step['method']}.html"}
    facts = {name.replace("_", " "): value for name, value in step.items() if isinstance(value, (str, int, float))}
    return {"title": _title(step["method"]), "facts": [(k, v) for k, v in facts.items() if k != "method"]}


def _title(name: str) -> str:
    return getattr(METHODS[name], "TITLE", name.replace("_", " "))
