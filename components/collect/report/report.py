"""What collect found out about a dataset: findings for the manifest, and the page."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.collect import rules
from headwater.components.collect.report import page, personal
from headwater.components.collect.rules import Evidence, Sample
from headwater.components.collect.settings import Settings
from headwater.components.collect.write import profile
from headwater.components.collect.write.shards import PLACE, SPLIT, Outcome
from headwater.components.common import results
from headwater.components.common.acknowledging import Acknowledged, mark_upstream
from headwater.components.common.findings import SEVERITIES
from headwater.components.common.results import Home
from headwater.components.common.sources import Notice

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
    known: Sequence[Acknowledged] = (),
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
      known: findings that do not count.

    Returns:
      The page.
    """
    state = outcome.counts["profile"]
    measured = profile.finish(state, schema, settings.event_time or None)
    private, findings = personal.find_personal(outcome, schema, state, settings)
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
    earlier = _read_history(home)
    names = list(settings.splits)
    sample = None
    if outcome.sample is not None and settings.analyse:
        splits = np.array([names[place] for place in outcome.sample[SPLIT].to_pylist()], object)
        sample = Sample(outcome.sample.drop([SPLIT, PLACE]), splits)
    evidence = Evidence(
        body,
        schema,
        settings,
        _summary(body, fingerprint),
        as_of,
        notices=notices,
        history=[_summary(result.body, result.fingerprint) for result in earlier],
        earlier=earlier,
        anonymity=anonymity,
        available=available,
        sample=sample,
    )
    analysis: dict[str, Any] = {"rows": sample.table.num_rows} if sample else {}
    for rule in rules.RULES:
        ruled = rule(evidence)
        findings += ruled.findings
        analysis.update(ruled.analysis)
    body["analysis"] = analysis
    body["findings"] = sorted(
        personal.put_together(mark_upstream(findings, known)),
        key=lambda each: (SEVERITIES.index(each["severity"]), each["rule"], each["column"] or ""),
    )
    spans = [result.body["span"] for result in earlier]
    return page.render_page(body, sample.table if sample else None, settings, home, spans)


def _read_history(home: Home | None) -> list[results.Result]:
    """Earlier spans of this dataset, each in its highest version, rising."""
    if home is None:
        return []
    chosen = results.before(home, "dataset", MOST_HISTORY)
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
