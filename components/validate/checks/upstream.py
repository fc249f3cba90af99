"""Upstream: what collect and label found of the same rows, so that one verdict counts all, and one cause is told once."""

from __future__ import annotations

from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.findings import finding


def run(context: Context) -> Outcome:
    before = context.about.get("findings")
    if before is None:
        return Outcome(skipped="the statistics do not say what was found before")
    findings = [
        finding(
            each["split"],
            each["feature"],
            each["kind"],
            each["severity"],
            each["message"],
            component=each["component"],
            shares=each["shares"],
            action=each["action"] or f"look at the page of the {each['component']}",
        )
        for each in before
    ]
    return Outcome(findings=findings)


CHECK = Check("upstream", "what collect and label found", run)
