"""Statistics against the schema, split by split."""

from __future__ import annotations

from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.findings import finding


def run(context: Context) -> Outcome:
    outcome = Outcome()
    for split in context.splits:
        if context.rows_of(split):
            outcome.findings += context.conformance(split).breaches
        else:
            message = "the split has no rows; nothing was validated"
            outcome.findings.append(finding(split, "", "EMPTY_SPLIT", "warning", message))
    return outcome


CHECK = Check("schema", "values, types and presence against the schema", run)
