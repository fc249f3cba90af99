"""Skew: the first split's distributions against those of serving data."""

from __future__ import annotations

from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.findings import COMPARISON_IMPOSSIBLE, SKEW


def run(context: Context) -> Outcome:
    serving = context.serving
    if serving is None:
        return Outcome(skipped="no serving data: set validate.serving")
    from headwater.components.validate import comparison
    from headwater.components.validate.foreign import without_state
    from headwater.components.validate.rows.schema_rules import in_environment

    side = comparison.Side(context.splits[0], "serving data", serving.rows, serving.distributions, context.silent)
    outcome = comparison.run(context, SKEW, [side], skipped=without_state(context.statistics, serving.result))
    # What serving data need not have, such as the label, is compared where it has it, and is not missing elsewhere.
    contract, environment = context.contract, serving.environment
    free = {each.name for each in contract.feature if not in_environment(contract, each, environment)}
    outcome.findings = [
        each for each in outcome.findings if each["kind"] != COMPARISON_IMPOSSIBLE or each["feature"] not in free
    ]
    return outcome


CHECK = Check("skew", "distributions against serving data", run)
