"""Skew: the first split's distributions against those of serving data."""

from __future__ import annotations

from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.findings import SKEW


def run(context: Context) -> Outcome:
    from headwater.components.validate import comparison
    from headwater.components.validate.foreign import without_state

    serving = context.serving
    if serving is None:
        return Outcome(skipped="no serving data: set validate.serving")
    side = comparison.Side(context.splits[0], "serving data", serving.rows, serving.distributions, context.silent)
    return comparison.run(context, SKEW, [side], skipped=without_state(context.statistics, serving.result))


CHECK = Check("skew", "distributions against serving data", run)
