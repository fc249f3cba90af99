"""Row rules: single rows against the rules of the settings and the schema's demands on values."""

from __future__ import annotations

from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.rows.rules import RowRules


def prepare(context: Context) -> None:
    if context.settings.rows:
        context.need_rows()


def run(context: Context) -> Outcome:
    if not context.settings.rows:
        return Outcome(skipped="no rules: set validate.rows")
    from headwater.components.validate.rows import check_rows

    rules = context.settings.rows
    if context.inferred and "schema_severity" not in rules.model_fields_set:
        # A guess puts no row aside.
        rules = rules.model_copy(update={"schema_severity": "warning"})
    report = check_rows(
        context.dataset,
        schema=context.contract,
        environment=context.environment,
        config=rules.model_dump(),
        passed=context.passed,
        quarantine=context.quarantine,
        home=context.statistics.home,
        **context.beam,
    )
    summary = {name: part for name, part in report.body.items() if name != "findings"}
    return Outcome(findings=report.findings, summary=summary)


CHECK = Check("rows", "each row against rules", run, settings={"rows": (RowRules | None, None)}, prepare=prepare)
