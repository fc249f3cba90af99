"""The rules that give collect's findings. A new rule is a function of `Evidence` here, and its line in `RULES`."""

from __future__ import annotations

from collections.abc import Callable

from headwater.components.collect.rules import (
    associations,
    dataset,
    feature_quality,
    health,
    missing_codes,
    outliers,
)
from headwater.components.collect.rules.base import Evidence, Outcome, Sample

RULES: tuple[Callable[[Evidence], Outcome], ...] = (
    dataset.split_column,
    dataset.source_notices,
    dataset.repeated_keys,
    dataset.late_versions,
    dataset.unmatched_lookups,
    dataset.k_anonymity,
    health.freshness,
    health.empty_sources,
    health.stuck_values,
    health.volume,
    health.column_changes,
    health.model_versions,
    health.refresh_interval,
    missing_codes.missing_codes,
    feature_quality.constants,
    feature_quality.duplicates,
    associations.associations,
    feature_quality.label,
    feature_quality.coverage,
    feature_quality.representation,
    outliers.outlying_values,
)
"""In the order in which they run."""

__all__ = ["RULES", "Evidence", "Outcome", "Sample"]
