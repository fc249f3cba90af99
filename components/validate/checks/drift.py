"""Drift: each split's distributions against those of the baseline."""

from __future__ import annotations

import functools
from typing import Annotated

import pydantic

from headwater.components.validate import history
from headwater.components.validate.checks.base import Check, Outcome
from headwater.components.validate.context import Context
from headwater.components.validate.findings import DRIFT
from headwater.components.validate.judging import STRICT

_Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


class Drift(pydantic.BaseModel):
    """Which changes are too large, for drift and for skew.

    Attributes:
      max_p: the share of alarms that may be false, over all features that are compared; in (0, 1).
      min_effect: the effect that is worth a look where history has taught no other: PSI less chance, see `distances`.
      categorical: a fixed threshold for the L-infinity distance of text, in [0, 1], in place of the test.
      numeric: one for the Jensen-Shannon divergence of numbers.
      season: spans in a season, such as 7 for days of a week; learnt thresholds then know the phase.
    """

    model_config = STRICT
    max_p: _Share = 0.01
    min_effect: Annotated[float, pydantic.Field(ge=0)] = 0.1
    categorical: Annotated[float, pydantic.Field(ge=0, le=1)] | None = None
    numeric: Annotated[float, pydantic.Field(ge=0, le=1)] | None = None
    season: Annotated[int, pydantic.Field(ge=0)] = 0


def run(context: Context) -> Outcome:
    baseline = context.baseline
    if baseline is None:
        return Outcome(skipped="no baseline: there is no earlier span to compare with")
    from headwater.components.validate import comparison, reversals
    from headwater.components.validate.foreign import without_state

    sides = [
        comparison.Side(
            split,
            baseline.title,
            baseline.rows(split),
            functools.partial(baseline.features, split),
            context.silent,
        )
        for split in context.splits
    ]
    skipped = without_state(context.statistics, *baseline.results)
    learnt = functools.partial(_learnt, context)
    outcome = comparison.run(context, DRIFT, sides, learnt, skipped)
    return reversals.fold(context, outcome, baseline, sides, learnt) if baseline.before else outcome


def _learnt(context: Context, split: str, feature: str) -> float | None:
    return history.learn(context.past, (split, feature), context.span, context.settings.drift.season)


CHECK = Check("drift", "distributions against the baseline", run, settings={"drift": (Drift, Drift())})
