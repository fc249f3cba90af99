"""What a dataset's own manifests say of its columns, for those who only see its statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.components.common.acknowledging import placed
from headwater.components.common.dataset import base_of
from headwater.components.common.results import Result

_MISSING_SHARE = "missing_share"


def describe(result: Result) -> dict[str, Any]:
    """What is known of a dataset's columns.

    Args:
      result: a dataset, labels, or plain files.

    Returns:
      JSON values: `split_by`, the columns whose values say which split a row belongs to; `event_time`, that of the time of
      a row, or ""; `missing_codes`, by column, values that most likely stand for a missing one; `labels`, the columns that
      are to be learnt; `carried`, how many rows waited for their labels since an earlier span; `together`, pairs of columns
      that go together, as collect's analysis of a sample has them; `until`, the end of the time that the rows or their feedback
      are of, where it is known, or ""; `findings`, the errors and warnings of collect and label, each with its
      `component`, what it is about in validate's words, and of missing values the `shares` before and now. Those that were acknowledged then are among them.
    """
    labels: list[str] = []
    until = str((result.manifest.get("settings") or {}).get("as_of") or "") if result.kind == "labels" else ""
    carried, findings = 0, _findings(result)
    if result.kind == "labels":
        labels.append(result.body["label"])
        carried = result.body["carried"]["taken_over"]
        result = base_of(result, result.body["bases"][0]).result
        findings += _findings(result)
    settings: Mapping[str, Any] = result.manifest.get("settings") or {}
    split = settings.get("split") or {}
    if settings.get("label"):
        labels.append(settings["label"])
    analysis = result.body.get("analysis") or {}
    return {
        "until": until or str((result.body.get("lineage") or {}).get("end") or ""),
        "split_by": [split["column"]] if split.get("column") else [],
        "event_time": settings.get("event_time") or "",
        "missing_codes": dict(analysis.get("missing_codes", {})),
        "labels": list(dict.fromkeys(labels)),
        "carried": carried,
        "findings": findings,
        "together": [each["columns"] for each in [*analysis.get("duplicates", ()), *analysis.get("associations", ())]],
    }


def _findings(result: Result) -> list[dict[str, Any]]:
    placed_findings = []
    for each in result.body.get("findings") or ():
        # Whether an acknowledgement still holds is for those to say who read this.
        severity = (each.get("acknowledged") or each)["severity"]
        if severity != "info":
            told = {"severity": severity, "message": each["message"], "action": each.get("action") or ""}
            shares = [each["limit"], each["value"]] if each["rule"] == _MISSING_SHARE else None
            for column in each.get("columns") or [each.get("column")]:
                place = placed({**each, "column": column})
                placed_findings.append({"component": result.kind, **place, **told, "shares": shares})
    return placed_findings
