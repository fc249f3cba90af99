"""Concept drift: whether the same inputs have other labels than in the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.validate import history
from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.concept.settings import Concept
from headwater.components.validate.context import Context


def prepare(context: Context) -> None:
    if not context.settings.concept:
        return
    context.need_rows()
    if not context.baseline:
        from headwater.components.validate.concept import check_columns

        check_columns(context.dataset, context.settings.concept)
    elif not context.baseline.results[-1].body["dataset"]["uri"]:
        raise HeadwaterError(
            "config.concept: the baseline's statistics do not name their dataset, so its rows cannot be compared"
        )


def run(context: Context) -> Outcome:
    if not context.settings.concept:
        return Outcome(skipped="no label: set validate.concept")
    if not context.baseline:
        return Outcome(skipped="no baseline: there is no earlier span to compare with")
    from headwater.components.validate.concept import measure_concept

    earlier = context.baseline.results[-1]
    config = context.settings.concept.model_dump()
    measured = measure_concept(
        context.dataset,
        earlier.body["dataset"]["uri"],
        config={**config, "statistics": config["statistics"] or earlier.uri},
        **context.beam,
    )
    summary = {name: part for name, part in measured.items() if name != "findings"}
    spans = [each.home.span for each in (context.statistics, earlier) if each.home]
    summary["spans_apart"] = abs(spans[0] - spans[1]) if len(spans) == 2 else None
    compared = [history.concept_of(summary), *(run.concept for run in context.past)]
    summary["labelling"] = _advise(context.settings.concept, compared)
    return Outcome(findings=measured["findings"], summary=summary)


def _advise(settings: Concept, compared: Sequence[tuple[int, float] | None]) -> dict[str, Any] | None:
    """How often to label, where the settings say how far spans lie apart."""
    from headwater.components.validate.concept import advise

    days = settings.span_days
    known = [{"days": days * spans, "effect": effect} for spans, effect in filter(None, compared)] if days else []
    return advise(known, settings.tolerated) if known else None


CHECK = Check(
    "concept",
    "labels of the same inputs against the baseline (concept drift)",
    run,
    settings={"concept": (Concept | None, None)},
    prepare=prepare,
)
