"""Compares this span's distributions with another side's, split by split: what drift and skew have in common."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, NamedTuple

from headwater.components.common.distributions import Feature
from headwater.components.common.importing import uncollected
from headwater.components.validate import drift
from headwater.components.validate.checks.base import Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.distances import JENSEN_SHANNON, L_INFINITY, Distance
from headwater.components.validate.findings import COMPARISON_IMPOSSIBLE, SKEW, finding


class Side(NamedTuple):
    """What one split is compared with.

    Attributes:
      split: of this span.
      title: what the other side is, as in "the earlier span".
      rows: of the other side; None where it has no such split.
      read: gives its distributions; None where it has no such split.
      silent: why a feature is not compared on purpose, see `drift.compare`.
    """

    split: str
    title: str
    rows: float | None
    read: Callable[[], drift.Features | None]
    silent: Callable[[str, Feature, Feature], str]


def run(
    context: Context,
    kind: str,
    sides: list[Side],
    learnt: Callable[[str, str], float | None] = lambda split, feature: None,
    skipped: str = "",
) -> Outcome:
    """Compares every split with its other side, and judges all features of all splits together.

    Args:
      context: of the run.
      kind: of the findings: `DRIFT` or `SKEW`.
      sides: what each split is compared with.
      learnt: the threshold that earlier spans taught, by split and feature, if they did.
      skipped: why nothing is compared but what the schema has thresholds for; "" when all is.
    """
    outcome = Outcome(skipped=skipped)
    settings = context.settings.drift
    by_schema = {}
    compared: list[drift.Compared] = []
    for side in sides:
        conformance = context.conformance(side.split)
        by_schema[side.split] = conformance.compared[kind]
        outcome.findings += conformance.comparisons[kind]
        outcome.measures += [each for each in conformance.measures if each["against"] == kind]
        if skipped and side.rows is not None:
            continue
        findings, own = _compare(context, side)
        outcome.findings += findings
        compared += own
    judged = drift.judge(compared, max_p=settings.max_p, min_effect=settings.min_effect, learnt=learnt)
    title = sides[0].title
    for each in (_with_fixed_threshold(one, settings) for one in judged):
        hidden = each.feature in context.hidden
        outcome.changes.append({**drift.as_dict(each, hidden), "against": kind})
        if each.change and not hidden:
            outcome.drawn[each.split, each.feature, kind] = each.plot
        if each.change:
            outcome.measures += [_measure(kind, each, distance) for distance in each.change.distances]
        # A threshold of the schema stands in place of the test.
        if each.feature in by_schema[each.split]:
            continue
        if each.impossible:
            outcome.findings.append(_impossible(each.split, each.feature, each.impossible))
        if (each.alarm or each.come_and_go) and each.change:
            message = drift.sentence(each, title, hidden, skew=kind == SKEW)
            changed = drift.as_dict(each, hidden)
            more = {name: changed[name] for name in ("effect", "threshold", "set_by", "most_changed")}
            if not each.alarm:
                more["action"] = "nothing to do if these are identifiers: a model learns little from them as they are"
            severity = "warning" if each.alarm else "info"
            outcome.findings.append(finding(each.split, each.feature, kind, severity, message, **more))
    return outcome


@uncollected()
def _compare(context: Context, side: Side) -> tuple[list[dict[str, Any]], list[drift.Compared]]:
    split, title = side.split, side.title
    if side.rows is None:
        return [_impossible(split, "", f"{title} has no such split")], []
    rows = context.rows_of(split)
    if not side.rows or not rows:
        return [_impossible(split, "", f"there are no rows to compare, either in this span or in {title}")], []
    if min(rows, side.rows) < drift.LEAST_ROWS:
        message = (
            f"too few rows to compare: {rows:,} in this span and {side.rows:,} in {title}; changes are looked for "
            f"only with at least {drift.LEAST_ROWS} rows on each side"
        )
        return [finding(split, "", "TOO_FEW_ROWS", "info", message)], []
    # Reading and checksums of large states leave the other core to each other.
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        current = other.submit(context.distributions, split)
        baseline = side.read() or {}
    compared = drift.compare(split, baseline, current.result(), title, side.silent)
    if not any(each.change for each in compared):
        return [_impossible(split, "", f"no feature can be compared with {title}")], compared
    return [], compared


def _impossible(split: str, feature: str, message: str) -> dict[str, Any]:
    return finding(split, feature, COMPARISON_IMPOSSIBLE, "warning", message)


def _with_fixed_threshold(each: drift.Compared, settings: Any) -> drift.Compared:
    """The change with a fixed threshold in place of the test, where the settings have one."""
    threshold = settings.numeric if each.numeric else settings.categorical
    if not each.change or threshold is None:
        return each
    return drift.with_threshold(each, JENSEN_SHANNON if each.numeric else L_INFINITY, threshold)


def _measure(kind: str, each: drift.Compared, distance: Distance) -> dict[str, Any]:
    fixed = each.fixed is not None and each.fixed.measure == distance.measure
    return {
        "split": each.split,
        "feature": each.feature,
        "against": kind,
        "measure": distance.measure,
        "value": distance.value,
        "chance": distance.chance,
        "p_value": distance.p_value,
        "threshold": each.threshold if fixed else None,
        "set_by": each.set_by if fixed else "",
    }
