"""Changes that only undo what an accepted span brought: one finding for all of them, and not one for each feature."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.components.validate import comparison
from headwater.components.validate.baselines import Baseline
from headwater.components.validate.checks.base import Outcome
from headwater.components.validate.comparison import Side
from headwater.components.validate.context import Context
from headwater.components.validate.findings import COMPARISON_IMPOSSIBLE, DRIFT, DRIFT_UNDONE, finding

_NAMED = 5


def fold(
    context: Context,
    outcome: Outcome,
    baseline: Baseline,
    sides: Sequence[Side],
    learnt: Callable[[str, str], float | None],
) -> Outcome:
    """Puts a finding a split in place of the warnings about features that have not changed since before the baseline.

    Args:
      context: of the run.
      outcome: of the comparison with the baseline.
      baseline: a span that was accepted with what was found on it.
      sides, learnt: as that comparison had them.
    """
    assert baseline.before is not None, "only an accepted span has one before it"
    warned = {each["split"] for each in outcome.findings if _is_warning(each)}
    home = baseline.before.home
    before = Baseline((baseline.before,), f"span {home.span}" if home else "the span before")
    earlier = [
        Side(
            each.split,
            before.title,
            before.rows(each.split),
            functools.partial(before.features, each.split),
            each.silent,
        )
        for each in sides
        if each.split in warned
    ]
    if not earlier:
        return outcome
    compared = comparison.run(context, DRIFT, earlier, learnt)
    changed = {(each["split"], each["feature"]) for each in compared.findings}
    measured = {(each["split"], each["feature"]) for each in compared.changes if each["effect"] is not None}
    kept = []
    undone: dict[str, list[str]] = {}
    for each in outcome.findings:
        place = (each["split"], each["feature"])
        if _is_warning(each) and place in measured and place not in changed:
            undone.setdefault(each["split"], []).append(each["feature"])
        else:
            kept.append(each)
    for split, features in undone.items():
        more = f" and {len(features) - _NAMED} more" if len(features) > _NAMED else ""
        named = ", ".join(features[:_NAMED]) + more
        message = (
            f"{named} {'are' if len(features) > 1 else 'is'} as in {before.title} again; the baseline, "
            f"{baseline.title}, had changed there and was accepted"
        )
        action = (
            f"nothing to do if {baseline.title} was an exception; --baseline {f'span:{home.span}' if home else baseline.before.uri} "
            "compares with the span before it"
        )
        kept.append(finding(split, "", DRIFT_UNDONE, "warning", message, action=action, features=features))
    outcome.findings = kept
    return outcome


def _is_warning(each: Mapping[str, Any]) -> bool:
    return each["kind"] in (DRIFT, COMPARISON_IMPOSSIBLE) and each["severity"] == "warning" and bool(each["feature"])
