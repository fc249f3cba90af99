"""The run's overview, `reports/index.html`: the verdict, all pages, each feature over the spans, and the next step."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pages import anchor, number, relative_report, render
from headwater.components.common.results import Home, Result
from headwater.components.validate import history
from headwater.components.validate.actions import accept_command, review_command
from headwater.components.validate.history import Past
from headwater.components.validate.page import summary_strip

_SHOWN = 24
_MOST_FEATURES = 300
_MOST_FINDINGS = 10
_WIDTH, _HEIGHT = 220, 56
_ABOUT = {
    "dataset": ("Data", "where every record went, what needs attention in each column, private data"),
    "labels": ("Labels", "how rows were labelled, and how well"),
    "ask": ("Rows to ask about", "which rows people label next and why, the budget, the rounds so far"),
    "statistics": ("Statistics", "every feature: distribution, missing values, quantiles, slices"),
    "schema": ("Schema", "what is agreed or inferred, and what would change"),
    "anomalies": ("Validation", "each finding with what was tested, why it matters and what to do"),
}
_PLACE = re.compile(r"/span=(\d+)/version=(\d+)/([a-z]+)/?")


class _Point(NamedTuple):
    span: int
    effect: float
    threshold: float
    alarm: bool


def write_overview(verdict: Result, statistics: Result, schema: Result, past: Sequence[Past]) -> None:
    """Writes the overview beside the verdict's other pages; nothing outside of a `data_root`.

    It is no part of any result, since it says when it was written.

    Args:
      verdict: the anomalies.
      statistics, schema: what was validated, and against what.
      past: earlier runs, in order.
    """
    if verdict.home:
        page = render_overview(verdict, statistics, schema, past, datetime.datetime.now(datetime.UTC))
        storage.write_bytes(verdict.home.report("index"), page.encode())


def refresh_overview(home: Home) -> None:
    """Writes the overview anew where one has been written, for what has come after the verdict, as questions to people.

    Args:
      home: of any result of the run.
    """
    for place in results.committed(home.data_root, home.name, "anomalies", lambda span: span == home.span):
        verdict = results.load(place.folder("anomalies"), "anomalies")
        inputs = verdict.manifest["inputs"]
        try:
            statistics = results.load(inputs["statistics"]["uri"], "statistics")
            schema = results.load(inputs["schema"]["uri"], "schema")
        except (HeadwaterError, KeyError):
            # They are gone by now; the overview stays as it is.
            return
        if any(own == home for _, own in _origins(statistics)):
            write_overview(verdict, statistics, schema, history.read(verdict.home))
            return


def render_overview(
    verdict: Result, statistics: Result, schema: Result, past: Sequence[Past], now: datetime.datetime
) -> str:
    """Renders the overview.

    Args:
      verdict, statistics, schema, past: as in `write_overview`.
      now: when it is written.
    """
    home, body = verdict.home, verdict.body
    assert home is not None, "an overview lies under a data_root"
    features = _features(body, past, home.span)
    return render(
        "headwater.components.validate",
        "index.html",
        name=home.name,
        span=home.span,
        body=body,
        facts=[*summary_strip(body, statistics), ("Validated", f"{now:%Y-%m-%d %H:%M} UTC")],
        pages=_pages(verdict, statistics, schema),
        findings=[_finding(each) for each in body["findings"][:_MOST_FINDINGS]],
        left=max(0, len(body["findings"]) - _MOST_FINDINGS),
        steps=_next_steps(body, schema, statistics, home),
        runs=[
            (run.span, run.blessed, run.verdict, f"../../../span={run.span}/version={run.version}/reports/index.html")
            for run in past
        ],
        features=features[:_SHOWN],
        more=features[_SHOWN:_MOST_FEATURES],
        width=_WIDTH,
        height=_HEIGHT,
    )


def _pages(verdict: Result, statistics: Result, schema: Result) -> list[tuple[str, str, str]]:
    """Name, address and subject of each page of the run, in the pipeline's order."""
    here = verdict.home
    addresses: dict[str, str] = {}
    assert here is not None
    origins = _origins(statistics)
    for kind, home in [*origins, *((each.kind, each.home) for each in (statistics, schema, verdict))]:
        if home and home.data_root == here.data_root and home.name == here.name:
            addresses[kind] = relative_report(home, kind, here)
            if (kind, home) in origins and storage.exists(home.report("ask")):
                addresses["ask"] = relative_report(home, "ask", here)
    pages = [(*_ABOUT[kind][:1], addresses[kind], _ABOUT[kind][1]) for kind in _ABOUT if kind in addresses]
    return [*pages, *_parts(verdict.body.get("rows") or {}, here)]


def _parts(rows: Mapping[str, Any], here: Home) -> Iterator[tuple[str, str, str]]:
    """The datasets of rows that passed and that are quarantined: name, address and subject."""
    for role, counted, title, about in (
        ("passed", "passed", "Passed rows", "break no rule: a dataset to use"),
        ("quarantine", "quarantined", "Quarantined rows", "each with the rules that it breaks in _rules"),
    ):
        match = _PLACE.search(rows[role]["uri"]) if rows.get(role) else None
        if match:
            address = f"../../version={match[2]}/{results.FOLDERS[role]}/"
            yield title, address, f"{rows['accounts'][counted]:,} rows, {about}"


def _origins(statistics: Result) -> list[tuple[str, Home | None]]:
    """Where the measured dataset lies, and the one that it labels."""
    uri = statistics.body["dataset"]["uri"]
    try:
        measured = results.load(uri, "dataset", "labels")
    except HeadwaterError:
        # Plain files, or what is gone by now: there is no page to link to.
        return []
    if measured.kind == "dataset":
        return [("dataset", measured.home)]
    origin = measured.manifest.get("inputs", {}).get("dataset", {}).get("uri", "")
    match = _PLACE.search(origin)
    if not (match and measured.home):
        return [("labels", measured.home)]
    home = Home(measured.home.data_root, measured.home.name, int(match[1]), int(match[2]))
    return [("dataset", home), ("labels", measured.home)]


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "severity": "acknowledged" if "acknowledged" in finding else finding["severity"],
        "feature": finding["feature"],
        "split": finding["split"],
        "message": finding["message"],
        "address": f"anomalies.html#{anchor('feature', finding['feature'])}"
        if finding["feature"]
        else "anomalies.html",
    }


def _next_steps(body: Mapping[str, Any], schema: Result, statistics: Result, home: Home) -> list[tuple[str, str]]:
    """What a person does next, each with a command or none."""
    accept = accept_command(home)
    dataset = statistics.body["dataset"]["uri"]
    split = next(iter(statistics.body["splits"]))
    passed = (body.get("rows") or {}).get("passed")
    what = "rows that passed" if passed else "data"
    use = (
        f"Use the {what}, for example to train",
        f'open_dataset("{passed["uri"] if passed else dataset}", "{split}")',
    )
    if not body["blessed"]:
        return [
            ("Read the errors on the validation page; correct the source where the data is wrong, and run again", ""),
            ("If the data is right, accept it as it is", accept),
            ("Or settle the findings one by one", review_command(home)),
        ]
    steps = [use]
    if any(each["severity"] == "warning" for each in body["findings"]):
        steps.insert(
            0,
            (
                "Read the warnings on the validation page, and settle them one by one: accept, curate, ignore until a date",
                review_command(home),
            ),
        )
    if schema.body["inferred"]:
        return [*steps, ("Read the schema, and accept it: until then findings against it only warn", accept)]
    return steps


def _features(body: Mapping[str, Any], past: Sequence[Past], span: int) -> list[dict[str, Any]]:
    """Each feature's effects over the spans, those with an alarm first, then by effect."""
    known: dict[str, dict[int, _Point]] = {}
    for run in past:
        for key, effect in run.effects.items():
            _add(known, key[1], _Point(run.span, effect, run.thresholds.get(key, math.nan), key in run.alarms))
    current = set()
    for change in body["changes"]:
        if change["against"] == "DRIFT" and change["effect"] is not None:
            current.add(change["feature"])
            point = _Point(span, change["effect"], change["threshold"], change["alarm"])
            _add(known, change["feature"], point)
    histories = [(feature, sorted(points.values())) for feature, points in known.items() if feature in current]
    histories.sort(key=lambda each: (not each[1][-1].alarm, -each[1][-1].effect, each[0]))
    carded = {each["feature"] for each in body["findings"]}
    return [_multiple(feature, points, feature in carded) for feature, points in histories]


def _add(known: dict[str, dict[int, _Point]], feature: str, point: _Point) -> None:
    """Keeps of several splits the one with the greatest effect; an alarm of any is an alarm."""
    own = known.setdefault(feature, {})
    other = own.get(point.span)
    if other is not None:
        most = max(point, other, key=lambda each: each.effect)
        point = most._replace(alarm=point.alarm or other.alarm)
    own[point.span] = point


def _multiple(feature: str, points: Sequence[_Point], carded: bool) -> dict[str, Any]:
    """One feature's chart: the effect as a line, the threshold as a dashed one, alarms as triangles."""
    first, last = points[0].span, points[-1].span
    highest = max(value for each in points for value in (each.effect, each.threshold) if not math.isnan(value)) or 1.0

    def x(at: int) -> float:
        return round(6 + (at - first) / (last - first) * (_WIDTH - 12), 1) if last > first else _WIDTH / 2

    def y(value: float) -> float:
        return round(_HEIGHT - 3 - value / highest * (_HEIGHT - 8), 1)

    limits = [each for each in points if not math.isnan(each.threshold)]
    flat = len(limits) == 1
    return {
        "name": feature,
        "address": f"anomalies.html#{anchor('feature', feature)}" if carded else "anomalies.html",
        "alarm": points[-1].alarm,
        "line": "M" + "L".join(f"{x(each.span)} {y(each.effect)}" for each in points),
        "limit": f"M0 {y(limits[0].threshold)}H{_WIDTH}"
        if flat
        else "M" + "L".join(f"{x(each.span)} {y(each.threshold)}" for each in limits)
        if limits
        else "",
        "points": [
            {
                "x": x(each.span),
                "y": y(each.effect),
                "alarm": each.alarm,
                "text": f"span {each.span}: effect {number(each.effect)}, threshold {number(each.threshold)}"
                + (", alarm" if each.alarm else ""),
            }
            for each in points
        ],
        "first": first,
        "last": last,
        "highest": number(highest),
        "effect": number(points[-1].effect),
        "threshold": number(points[-1].threshold),
        "words": f"{feature}: effect {number(points[0].effect)} in span {first}, {number(points[-1].effect)} in span "
        f"{last}; {sum(each.alarm for each in points)} alarms",
    }
