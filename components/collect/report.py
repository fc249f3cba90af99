"""What collect found out about a dataset: findings for the manifest, and the page."""

from __future__ import annotations

import datetime
import types
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from headwater.components.collect import feature_quality, health, outliers, page, profile
from headwater.components.collect.findings import SEVERITIES, finding
from headwater.components.collect.privacy import detect
from headwater.components.collect.settings import Settings
from headwater.components.collect.shards import PLACE, SPLIT, Outcome
from headwater.components.common import results
from headwater.components.common.dataset import SPLIT as SPLIT_KEY
from headwater.components.common.dataset import split_key
from headwater.components.common.results import Home
from headwater.components.common.sources import Notice
from headwater.components.common.times import seconds

MOST_HISTORY = 60
"""How many earlier spans volume and intervals are derived from."""


def add_report(
    body: dict[str, Any],
    outcome: Outcome,
    schema: pa.Schema,
    settings: Settings,
    *,
    notices: Sequence[Notice],
    home: Home | None,
    as_of: datetime.datetime,
    anonymity: Mapping[str, Any] | None,
    fingerprint: str,
    available: Mapping[int, int],
) -> str:
    """Adds what was found to a manifest's body: `findings`, `profile`, `private`, `health`, `anonymity`, `analysis`.

    Args:
      body: with accounts and lineage.
      outcome: of all ranges.
      schema: of shaped rows.
      settings: the user's.
      notices: of how the files were read.
      home: the dataset's place, if it has one: earlier spans lie beside it.
      as_of: the time that ages are measured from.
      anonymity: what was measured of groups, if it was asked.
      fingerprint: the dataset's.
      available: the version of every span that the sources' paths tell.

    Returns:
      The page.
    """
    state = profile.merge([record["profile"] for record in outcome.records])
    measured = profile.finish(state, schema, settings.event_time or None)
    private, findings = _personal(outcome, schema, state, settings)
    if split_key(schema.names) != SPLIT_KEY:
        message = (
            f"the data has a column {SPLIT_KEY!r}, so the folders of splits are named {split_key(schema.names)}=…; "
            "rename the "
            f"column (rename: {{{SPLIT_KEY}: …}}) to have them named {SPLIT_KEY}=…"
        )
        findings.append(finding("split_column", "info", SPLIT_KEY, message))
    findings += [finding(notice.rule, notice.severity, notice.column, notice.message) for notice in notices]
    for name in private:
        if name in measured["columns"]:
            measured["columns"][name].update(min=None, max=None)
    body["profile"], body["private"], body["anonymity"] = measured, private, dict(anonymity) if anonymity else None
    times = measured["columns"].get(settings.event_time, {})
    body["health"] = {
        # Without event times nothing depends on the clock, and the same input gives the same manifest.
        "as_of": as_of.isoformat() if settings.event_time else None,
        "newest": times.get("newest"),
        "oldest": times.get("oldest"),
        "models": {name: output.model_dump() for name, output in sorted(settings.model_outputs.items())},
    }
    history = _read_history(home)
    findings += health.check_health(
        _summary(body, fingerprint),
        [_summary(result.body, result.fingerprint) for result in history],
        as_of=as_of,
        settings=types.SimpleNamespace(
            event_time=settings.event_time or None,
            max_age=datetime.timedelta(seconds=seconds(settings.max_age)) if settings.max_age else None,
            season=settings.season,
            volume_tolerance=settings.volume_tolerance,
        ),
    )
    findings += _late(available, history, body["span"])
    findings += _lookups(body)
    wanted = settings.anonymity
    if (
        anonymity
        and wanted is not None
        and anonymity["k"] is not None
        and anonymity["k"] < wanted.k
        and not wanted.suppress
    ):
        message = (
            f"the columns {', '.join(wanted.columns)} form groups of as few as {anonymity['k']:,} rows; "
            f"{anonymity['rows_below']:,} rows are in groups smaller than {wanted.k}"
        )
        findings.append(finding("k_anonymity", "warning", None, message, anonymity["k"], wanted.k))
    analysis: dict[str, Any] = {}
    table = None
    if outcome.sample is not None and settings.analyse:
        analysis, table, more = _analyse(outcome.sample, settings, private, measured)
        findings += more
    body["analysis"] = analysis
    body["findings"] = sorted(
        findings, key=lambda found: (SEVERITIES.index(found["severity"]), found["rule"], found["column"] or "")
    )
    return page.render_page(body, table, settings)


def _analyse(
    sample: pa.Table, settings: Settings, private: Mapping[str, Any], measured: Mapping[str, Any]
) -> tuple[dict[str, Any], pa.Table, list[dict[str, Any]]]:
    names = list(settings.splits)
    splits = [names[place] for place in sample[SPLIT].to_pylist()]
    table = sample.drop([SPLIT, PLACE])
    made = feature_quality.make_sense(
        table,
        splits,
        train=names[0],
        label=settings.label or None,
        groups=settings.groups,
        private=set(private),
        profile=measured,
    )
    # A key's numbers are names: far from others says nothing.
    far = outliers.find_outliers(table.drop([name for name in settings.key if name in table.column_names]))
    found = [*made.pop("findings"), *far.pop("findings")]
    return {"rows": table.num_rows, **made, "outliers": far}, table, found


def _personal(
    outcome: Outcome, schema: pa.Schema, state: Mapping[str, Mapping[str, Any]], settings: Settings
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The columns that hold personal data, found or declared; and a finding for each that nothing is done with."""
    private: dict[str, Any] = {}
    findings = []
    for field in schema:
        counts = detect.merge([record["personal"].get(field.name, {}) for record in outcome.records])
        present = state[field.name]["rows"] - state[field.name]["missing"] if field.name in state else 0
        others = [name for name in schema.names if name != field.name]
        found = detect.judge(field.name, field.type, counts, present, others)
        action = settings.private.get(field.name)
        action = action["action"] if isinstance(action, Mapping) else action
        if action == "keep" or not (found or action):
            continue
        private[field.name] = {"kinds": [each["kind"] for each in found], "action": action}
        if found and not action:
            kinds = ", ".join(each["kind"] for each in found)
            message = (
                f"{field.name!r} looks like personal data ({kinds}) but has no action; give it one under private, or "
                "keep if it may stay as it is"
            )
            findings.append(finding("personal_data", "warning", field.name, message, found[0]["share"]))
    return private, findings


def _late(available: Mapping[int, int], history: Sequence[results.Result], span: int) -> list[dict[str, Any]]:
    """Spans of which a newer version lies there than was collected."""
    taken: dict[int, int] = {}
    for result in history:
        for number, version in result.body["lineage"].get("spans", ()):
            if number == result.body["span"]:
                taken[number] = max(version, taken.get(number, 0))
    return [
        finding(
            "late_version",
            "warning",
            None,
            f"span {number} was collected as version {version} and has version {available[number]} now; collect it "
            f"again with span {number}",
            float(available[number]),
            float(version),
        )
        for number, version in sorted(taken.items())
        if number != span and available.get(number, 0) > version
    ]


def _lookups(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    read = body["accounts"]["read"]
    return [
        finding(
            "unmatched",
            "info",
            None,
            f"lookup {name!r}: {found['unmatched']:,} of {read:,} rows have no match",
            found["unmatched"] / read,
        )
        for name, found in body["lookups"].items()
        if found["unmatched"]
    ]


def _read_history(home: Home | None) -> list[results.Result]:
    """Earlier spans of this dataset, each in its highest version, rising."""
    if home is None:
        return []
    latest = {other.span: other for other in results.committed(home.data_root, home.name, "dataset")}
    chosen = [latest[span] for span in sorted(latest) if span < home.span][-MOST_HISTORY:]
    loaded = [results.load(other.folder("dataset"), "dataset") for other in chosen]
    return [result for result in loaded if result.body["accepted"] and "profile" in result.body]


def _summary(body: Mapping[str, Any], fingerprint: str) -> dict[str, Any]:
    return {
        "span": body["span"],
        "rows": body["accounts"]["written"],
        **body["health"],
        "profile": body["profile"],
        "sources": [
            {"uri": each["uri"], "rows": each["rows"], "bytes": each["bytes"]} for each in body["lineage"]["sources"]
        ],
        "fingerprint": fingerprint,
    }
