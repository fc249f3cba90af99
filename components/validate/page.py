"""The verdict's page: the verdict in one strip, findings as cards with what was tested, then every change over the spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwater.components.common.findings import SEVERITIES
from headwater.components.common.pages import anchor, render
from headwater.components.common.results import Result, relative_page
from headwater.components.common.version import VERSION
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

Drawn = Mapping[tuple[str, str, str], Plot]


def render_page(
    body: Mapping[str, Any], measured: Result, drawn: Drawn, past: Sequence[Past], schema: Result | None = None
) -> str:
    """Renders the page.

    Args:
      body: of the anomalies' manifest.
      measured: the statistics.
      drawn: of each feature that was compared, by split, name and kind of finding: the bins that were tested.
      past: earlier runs, for trends.
      schema: what the data was validated against, to be linked to.
    """
    span = measured.body["dataset"]["span"]
    ranked = sorted(body["changes"], key=lambda each: (not each["alarm"], -(each["effect"] or 0.0), each["feature"]))
    changes = {(each["split"], each["feature"], each["against"]): each for each in ranked}
    measures: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in body["measures"]:
        measures.setdefault((each["split"], each["feature"], each["against"]), {})[each["measure"]] = each
    cards = [_card(each, body, drawn, changes, measures) for each in body["findings"]]
    _number(cards)
    return render(
        "headwater.components.validate",
        "page.html",
        title=measured.body["dataset"]["name"] or measured.body["dataset"]["uri"],
        span=span,
        body=body,
        links=_links(measured, schema),
        strip=summary_strip(body, measured),
        cards=cards,
        severities=[level for level in SEVERITIES if any(card["severity"] == level for card in cards)],
        kinds=sorted({card["kind_words"] for card in cards}),
        splits=list(dict.fromkeys(split for card in cards for split in card["splits"])),
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
    dataset, home = measured.body["dataset"], measured.home
    splits = [(name, entry["rows"]) for name, entry in measured.body["splits"].items()]
    rows = f"{sum(count for _, count in splits):,}"
    if len(splits) > 1:
        rows += f" ({', '.join(f'{name} {count:,}' for name, count in splits)})"
    counted = [each["severity"] for each in body["findings"] if "acknowledged" not in each]
    counts = [(counted.count(level), name) for level, name in zip(SEVERITIES, ("error", "warning", "note"))]
    words = [f"{count:,} {name}{'s' * (count > 1)}" for count, name in counts if count]
    if len(counted) < len(body["findings"]):
        words.append(f"{len(body['findings']) - len(counted):,} acknowledged")
    found = ", ".join(words)
    facts = [("Findings", found or "none"), ("Rows", rows)]
    if dataset["span"] is not None:
        facts.append(("Span", str(dataset["span"])))
    if until := (dataset.get("about") or {}).get("until"):
        facts.append(("Data until", until.split("+")[0].replace("T", " ")))
    if home:
        facts.append(("Version", str(home.version)))
    facts.append(("Headwater", VERSION))
    return [*facts, ("Compared with", _place(body["baseline"]) or "nothing: no baseline"), ("Schema", _schema(body))]


def _schema(body: Mapping[str, Any]) -> str:
    state = body["schema"].get("state", "")
    return " · ".join(part for part in (state, _place(body["schema"]) or body["schema"]["uri"]) if part)


def _place(reference: Mapping[str, Any] | None) -> str:
    """The span and version of a result by its URI, where it has them; else the URI."""
    if not reference:
        return ""
    parts = dict(part.split("=", 1) for part in reference["uri"].split("/") if part.count("=") == 1)
    if not {"span", "version"} <= set(parts):
        return str(reference["uri"])
    others = f" and {len(reference['others'])} spans before it" if reference.get("others") else ""
    return f"span {parts['span']}, version {parts['version']}{others}"


def _links(measured: Result, schema: Result | None) -> list[tuple[str, str]]:
    if not measured.home:
        return []
    found = [("Overview", "../reports/index.html"), ("Statistics", relative_page(measured, measured.home))]
    if schema and schema.home:
        found.append(("Schema", relative_page(schema, measured.home)))
    return found


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
        (split, found)
        for split in splits
        if (plot := drawn.get((split, feature, against))) and (found := plots.chart(feature, plot, sides))
    ]
    # What moved most is seen first.
    charts.sort(key=lambda each: -((changes.get((each[0], feature, against)) or {}).get("effect") or 0.0))
    return {
        **finding,
        "splits": splits,
        "kind_words": kind_words(finding["kind"]),
        "why": why(finding),
        "action": finding.get("action", ""),
        "by_split": dict(finding.get("by_split") or {}),
        "members": list(finding.get("members") or [])[:_MOST_MEMBERS],
        "charts": charts,
        "sides": sides,
        "acknowledged": finding.get("acknowledged"),
        "facts": [
            (split, change, measures.get((split, feature, against), {}))
            for split in splits
            if (change := changes.get((split, feature, against))) and change["effect"] is not None
        ],
    }


def _number(cards: list[dict[str, Any]]) -> None:
    """Gives each card an id: of its feature for the first of a feature, and of what it is for all."""
    seen: set[str] = set()
    for card in cards:
        own = anchor("feature", card["feature"]) if card["feature"] else ""
        card["feature_id"] = own if own and own not in seen else ""
        seen.add(own)
        wanted, number = anchor("finding", card["feature"] or card["split"], card["kind"].lower()), 1
        card["id"] = wanted
        while card["id"] in seen:
            number += 1
            card["id"] = f"{wanted}-{number}"
        seen.add(card["id"])


def _sides(body: Mapping[str, Any], against: str) -> list[str]:
    if against == SKEW:
        return ["serving", "training"]
    place = _place(body["baseline"])
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
