"""What each channel is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headwater.components.common.openlineage import facet, run_event

_MOST = 20
_LONGEST = 300
# Slack takes 3,000 characters a block.
_BLOCK = 2900
_MOST_DISTANCES = 2000

Findings = Sequence[Mapping[str, Any]]


def sentence(finding: Mapping[str, Any]) -> str:
    """A finding on one line, without control characters and not endless."""
    where = "/".join(part for part in (finding["split"], finding["feature"]) if part)
    text = (
        f"{finding['severity']}: {where}: {finding['message']}"
        if where
        else f"{finding['severity']}: {finding['message']}"
    )
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def title(verdict: Mapping[str, Any]) -> str:
    """The verdict on one line."""
    span = f", span {verdict['span']}" if verdict.get("span") is not None else ""
    text = f"{verdict.get('dataset') or 'data'}{span}: {verdict['verdict']}"
    return "".join(character if character.isprintable() else " " for character in text)[:_LONGEST]


def lines(findings: Findings) -> list[str]:
    """Findings line by line, and how many more there are."""
    text_lines = [sentence(finding) for finding in findings[:_MOST]]
    return [*text_lines, f"… and {len(findings) - _MOST} more"] if len(findings) > _MOST else text_lines


def webhook(verdict: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """A plain event."""
    return {
        "event": "headwater.validation",
        "dataset": verdict.get("dataset", ""),
        "span": verdict.get("span"),
        "blessed": verdict["blessed"],
        "verdict": verdict["verdict"],
        "uri": verdict["uri"],
        "findings": [
            {**{key: finding[key] for key in ("split", "feature", "kind", "severity")}, "message": sentence(finding)}
            for finding in findings[:_MOST]
        ],
        "findings_in_all": len(findings),
    }


def slack(verdict: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Slack's incoming webhook; its three special characters are escaped, so that nobody is called by a value."""

    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    head = escaped(title(verdict))
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": f"*{head}*"}}]
    part = ""
    for line in [f"• {escaped(line)}\n" for line in lines(findings)]:
        if len(part) + len(line) > _BLOCK:
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": part}})
            part = ""
        part += line
    if part:
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": part}})
    return {"text": head, "blocks": blocks}


def email(verdict: Mapping[str, Any], findings: Findings) -> tuple[str, str]:
    """Subject and text."""
    return title(verdict), "\n".join([title(verdict), "", *lines(findings), "", str(verdict["uri"]), ""])


def prometheus(verdict: Mapping[str, Any]) -> str:
    """The state as text for Prometheus."""

    def labels(**values: Any) -> str:
        def escaped(value: Any) -> str:
            return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

        return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in values.items()) + "}"

    name = verdict.get("dataset") or ""
    severities = [finding["severity"] for finding in verdict["findings"]]
    text_lines = [
        "# HELP headwater_validation_blessed Whether the latest validation found no error.",
        "# TYPE headwater_validation_blessed gauge",
        f"headwater_validation_blessed{labels(dataset=name)} {int(verdict['blessed'])}",
        "# HELP headwater_validation_span Number of the latest span that was validated.",
        "# TYPE headwater_validation_span gauge",
        f"headwater_validation_span{labels(dataset=name)} {-1 if verdict.get('span') is None else verdict['span']}",
        "# HELP headwater_validation_findings Findings of the latest validation.",
        "# TYPE headwater_validation_findings gauge",
    ]
    text_lines += [
        f"headwater_validation_findings{labels(dataset=name, severity=severity)} {severities.count(severity)}"
        for severity in ("error", "warning")
    ]
    text_lines += [
        "# HELP headwater_check_findings Errors and warnings of the latest validation, by check.",
        "# TYPE headwater_check_findings gauge",
    ]
    text_lines += [
        f"headwater_check_findings{labels(dataset=name, check=check['name'])} {check['errors'] + check['warnings']}"
        for check in verdict["checks"]
        if not check["skipped"]
    ]
    text_lines += [
        "# HELP headwater_distance Distance from the earlier span or from serving data.",
        "# TYPE headwater_distance gauge",
    ]
    for each in verdict["measures"][:_MOST_DISTANCES]:
        own = labels(
            dataset=name, split=each["split"], feature=each["feature"], measure=each["measure"], against=each["against"],
            set_by=each["set_by"],
        )  # fmt: skip
        text_lines.append(f"headwater_distance{own} {each['value']!r}")
    return "\n".join(text_lines) + "\n"


def openlineage(verdict: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """A run event with data-quality facets of the dataset; the same for every attempt but for its time."""
    assertions = []
    for finding in verdict["findings"]:
        own = {"column": finding["feature"]} if finding["feature"] else {}
        assertions.append({"assertion": finding["kind"], "success": False, **own})
    if not assertions:
        assertions.append({"assertion": "SCHEMA", "success": True})
    facets = {
        "dataQualityAssertions": facet(
            "1-0-1/DataQualityAssertionsDatasetFacet", assertions=assertions[:_MOST_DISTANCES]
        ),
        "dataQualityMetrics": facet(
            "1-0-2/DataQualityMetricsInputDatasetFacet", rowCount=verdict.get("rows", 0), columnMetrics={}
        ),
    }
    looked_at = {
        "namespace": namespace,
        "name": verdict.get("dataset") or verdict["uri"],
        "inputFacets": facets,
    }
    return run_event(
        event="COMPLETE" if verdict["blessed"] else "FAIL",
        run=verdict["uri"],
        namespace=namespace,
        job="headwater.validate",
        inputs=[looked_at],
        outputs=[],
    )
