"""Feature skew: training rows against the rows that serving saw under the same key."""

from __future__ import annotations

from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.feature_skew.settings import FeatureSkew


def prepare(context: Context) -> None:
    if context.settings.feature_skew:
        context.need_rows()


def run(context: Context) -> Outcome:
    if not context.settings.feature_skew:
        return Outcome(skipped="no serving rows: set validate.feature_skew")
    from headwater.components.validate.feature_skew import measure_feature_skew

    measured = measure_feature_skew(context.dataset, config=context.settings.feature_skew.model_dump(), **context.beam)
    summary = {name: part for name, part in measured.items() if name != "findings"}
    return Outcome(findings=measured["findings"], summary=summary)


CHECK = Check(
    "feature_skew",
    "training rows against serving rows by key",
    run,
    settings={"feature_skew": (FeatureSkew | None, None)},
    prepare=prepare,
)
