"""What the schema demands of a dataset as a whole, such as its number of rows."""

from __future__ import annotations

from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context


def run(context: Context) -> Outcome:
    if not context.contract.HasField("dataset_constraints"):
        return Outcome(skipped="the schema has no dataset_constraints")
    findings = [each for split in context.splits for each in context.conformance(split).constraints]
    return Outcome(findings=findings)


CHECK = Check("dataset_constraints", "the number of rows against dataset_constraints of the schema", run)
