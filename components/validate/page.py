"""The verdict's page: the verdict in one strip, findings as cards with what was tested, then every change over the spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.components.common import cards
from headwater.components.common.pages import relative_page, render
from headwater.components.common.results import Result
from headwater.components.validate import plots
from headwater.components.validate.explanations import kind_words, why
from headwater.components.validate.findings import DRIFT, SKEW
from headwater.components.validate.history import Past
from headwater.components.validate.plots import Plot

MEASURES = ("L-infinity", "Jensen-Shannon", "PSI", "Kolmogorov-Smirnov", "Wasserstein")
"""Distances that the page lists, in order."""

_MOST_CHANGES = 1000
_MOST_MEMBERS = 50
_TREND_WIDTH, _TREND_HEIGHT = 160, 36

Drawn = Mapping[tuple[str, str, str], Callable[[], Plot]]


def render_page(
    body: Mapping[str, Any], measured: Result, drawn: Drawn, past: Sequence[Past], schema: Result | None = None
) -> str:
    """Renders the page.

    Args:
      body: of the anomalies' manifest.
      measured: the statistics.
      drawn: gives of each feature that was compared, by split, name and kind of finding, the bins that were tested.
      past: earlier runs, for trends.
      schema: what the data was validated against, to be linked to.
    """
    span = measured.body["dataset"]["span"]
    ranked = sorted(body["changes"], key=lambda each: (not each["alarm"], -(each["effect"] or 0.0), each["feature"]))
    changes = {(each["split"], each["feature"], each["against"]): each for each in ranked}
    measures: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in body["measures"]:
        measures.setdefault((each["split"], each["feature"], each["against"]), {})[each["measure"]] = each
    shown = [_card(each, body, drawn, changes, measures) for each in body["findings"]]
    cards.number(shown, [each["feature"] or each["split"] for each in body["findings"]], features=True)
    return render(
        "headwater.components.validate",
        "page.html",
        title=measured.body["dataset"]["name"] or measured.body["dataset"]["uri"],
        span=span,
        body=body,
        links=_links(measured, schema),
        facts=[*summary_strip(body, measured), *_notes(body)],
        shown=shown,
        choices=cards.choices(shown),
        changes=[
            {
                **each,
                "trend": _trend(past, each, span) if each["against"] == DRIFT else "",
                "distances": measures.get((each["split"], each["feature"], each["against"]), {}),
            }
            for each in ranked[:_MOST_CHANGES]
            if each["effect"] is not None
        ],
        broken=[each for each in body["rows"]["results"] if each["broken"]] if "rows" in body else [],
        left_out=[each for each in ranked if each["effect"] is None and each["note"]],
        more=max(0, len(ranked) - _MOST_CHANGES),
        spans=len(past),
        measures=MEASURES,
        trend_width=_TREND_WIDTH,
        trend_height=_TREND_HEIGHT,
    )


def summary_strip(body: Mapping[str, Any], measured: Result) -> list[tuple[str, str]]:
    """What the run was about, as pairs of a name and a value.

    Args:
      body: of the anomalies' manifest.
      measured: the statistics.
    """
    dataset = measured.body["dataset"]
    return cards.facts(
        findings=body["findings"],
        rows={name: entry["rows"] for name, entry in measured.body["splits"].items()},
        span=dataset["span"],
        until=(dataset.get("about") or {}).get("until"),
        home=measured.home,
        more=[("Compared with", cards.place(body["baseline"]) or "nothing: no baseline"), ("Schema", _schema(body))],
    )


def _notes(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the page's strip says beside that of the overview."""
    serving = [("Serving data", body["serving"]["uri"])] if body["serving"] else []
    return serving + [
        (f"Acknowledgement of {each['kind']} {each['feature']}".rstrip(), each["note"])
        for each in body["acknowledged"]
        if each.get("note")
    ]


def _schema(body: Mapping[str, Any]) -> str:
    state = body["schema"].get("state", "")
    return " · ".join(part for part in (state, cards.place(body["schema"]) or body["schema"]["uri"]) if part)


def _links(measured: Result, schema: Result | None) -> list[tuple[str, str]]:
    if not measured.home:
        return []
    links = [("Overview", "../reports/index.html"), ("Statistics", relative_page(measured, measured.home))]
    if schema and schema.home:
        links.append(("Schema", relative_page(schema, measured.home)))
    return links


def _card(
    finding: Mapping[str, Any],
    body: Mapping[str, Any],
    drawn: Drawn,
    changes: Mapping[tuple[str, str, str], Mapping[str, Any]],
    measures: Mapping[tuple[str, str, str], Mapping[str, Any]],
) -> dict[str, Any]:
    """A finding as the page shows it: with plots of each split, why it matters, what to do, and details."""
    splits = list(finding.get("splits") or [part for part in [finding["split"]] if part])
    feature = finding["feature"]
    against = finding["kind"] if finding["kind"] in (DRIFT, SKEW) else DRIFT
    sides = _sides(body, against)
    charts = [
        (split, chart)
        for split in splits
        # The tested bins are those of the baseline, which has none of the new values.
        if finding["kind"] != "ENUM_TYPE_UNEXPECTED_STRING_VALUES"
        and (plot := drawn.get((split, feature, against)))
        and (chart := plots.chart(feature, plot(), sides))
    ]
    # What moved most is seen first.
    charts.sort(key=lambda each: -((changes.get((each[0], feature, against)) or {}).get("effect") or 0.0))
    return cards.card(
        finding,
        subject=feature or ("whole split" if splits else "whole dataset"),
        kind=finding["kind"],
        kind_words=kind_words(finding["kind"]),
        why=why(finding),
        splits=splits,
        charts=charts,
        sides=sides,
        caption="share of rows in each tested bin",
        check=finding.get("check", ""),
        by_split=dict(finding.get("by_split") or {}),
        members=list(finding.get("members") or [])[:_MOST_MEMBERS],
        facts=[
            (split, change, measures.get((split, feature, against), {}))
            for split in splits
            if (change := changes.get((split, feature, against))) and change["effect"] is not None
        ],
    )


def _sides(body: Mapping[str, Any], against: str) -> list[str]:
    if against == SKEW:
        return ["serving", "training"]
    place = cards.place(body["baseline"])
    return [place.split(",")[0] if place.startswith("span ") else "earlier", "now"]


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
