"""The checks that validate runs. A new check is a module here, and its line in `CHECKS`."""

from __future__ import annotations

from headwater.components.validate.checks import (
    concept,
    custom,
    dataset_constraints,
    drift,
    feature_skew,
    rows,
    schema,
    serving_schema,
    skew,
    upstream,
)
from headwater.components.validate.checks.base import Check, Outcome

CHECKS: tuple[Check, ...] = (
    schema.CHECK,
    dataset_constraints.CHECK,
    serving_schema.CHECK,
    drift.CHECK,
    skew.CHECK,
    rows.CHECK,
    concept.CHECK,
    upstream.CHECK,
    feature_skew.CHECK,
    custom.CHECK,
)
"""In the order in which they run and are reported."""

__all__ = ["CHECKS", "Check", "Outcome"]
