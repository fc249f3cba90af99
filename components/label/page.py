"""The page of labels: how they fall, what they rest on, and where sources disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.components.common import cards, charts
from headwater.components.common.pages import relative_page, render
from headwater.components.common.results import Home, Result
from headwater.components.label import rounds
from headwater.components.label.methods import METHODS

_WHY = "A model learns what the labels say: where they are wrong or absent, so is the model."


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
    shown = [_card(each) for each in body["findings"]]
    cards.number(shown, ["" for _ in shown], features=False)
    rows = max(1, body["accounts"]["written"])
    return render(
        "headwater.components.label",
        "page.html",
        title=body["name"] or dataset.uri,
        body=body,
        links=links,
        facts=_facts(body, dataset, here),
        shown=shown,
        choices=cards.choices(shown),
        rows=body["accounts"]["written"],
        rounds=[*body["earlier"], {**rounds.summary(body), "version": here.version}]
        if here and body["earlier"]
        else [],
        balance=[(name, count, count / rows) for name, count in labelled["classes"].items()],
        coverage=1 - labelled["abstained"] / rows,
        titles={name: _title(name) for name in METHODS},
        steps=[_section(step, body["classes"]) for step in body["steps"]],
        majority=next((step["majority"]["balance"] for step in body["steps"] if "majority" in step), None),
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def _facts(body: Mapping[str, Any], dataset: Result, here: Home | None) -> list[tuple[str, str]]:
    """What was labelled, as pairs of a name and a value."""
    labelled = body["labelled"]
    more = [("Classes", ", ".join(f"{name} {count:,}" for name, count in labelled["classes"].items()))]
    if labelled["abstained"]:
        more.append(("Without a label", f"{labelled['abstained']:,}"))
    if body["accounts"].get("carried"):
        more.append(("Wait for the next span", f"{body['accounts']['carried']:,}"))
    if body["carried"]["taken_over"]:
        more.append(("Waited from the earlier span", f"{body['carried']['taken_over']:,}"))
    return cards.facts(
        findings=body["findings"],
        rows={name: entry["rows"] for name, entry in body["splits"].items()},
        span=body["span"],
        until=(dataset.manifest["body"].get("lineage") or {}).get("end"),
        home=here,
        more=more,
    )


def _card(finding: Mapping[str, Any]) -> dict[str, Any]:
    kind = finding["rule"]
    return cards.card(
        finding,
        subject=_title(kind) if kind in METHODS else kind.replace("_", " "),
        kind=kind,
        kind_words="labelling",
        why=_WHY,
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
