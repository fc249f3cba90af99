"""Why a finding of collect matters: one sentence for each rule, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "k_anonymity": "k-anonymity",
    "small_group": "small group",
    "leak": "leakage",
    "coverage": "split coverage",
    "isolated_rows": "multivariate outliers",
    "outlier": "outliers",
    "unmatched": "lookup without match",
}
_WHY = {
    "split_column": "Two meanings of one name: readers take the folder's split for the column, or the other way round.",
    "repeated_key": "Rows that share a key are ambiguous: joins multiply them, and feedback is attributed to the wrong one.",
    "late_version": "What was joined from that span is older than what later readers see of it.",
    "unmatched": "The columns of the lookup are missing in these rows.",
    "k_anonymity": "People in small groups can be recognised by their combination of values.",
    "constant": "A column with one value carries no information for a model.",
    "duplicate_column": "The two carry the same information: importances are split between them, and costs double.",
    "leak": "A model that learns from it looks excellent offline and fails where the label is not known yet.",
    "coverage": "What is measured on these rows says little about a model that never saw their like.",
    "small_group": "Estimates for the group are unreliable, and a model learns little about it.",
    "stale": "Models trained or served on this data do not know what happened since.",
    "empty_source": "A part of the data is absent although nothing failed.",
    "stuck": "Values that no longer change are not measured: a model learns noise from them.",
    "volume": "A part of the rows may be lost or delivered twice.",
    "column_added": "Nobody reads the new column yet; it may also replace another one.",
    "column_gone": "Code that reads the column fails, or silently falls back to a default.",
    "missing_share": "Statistics and models now rest on other rows than before.",
    "model_version": "Outputs of two versions of a model are not comparable.",
    "refresh": "A schedule that does not fit delivers spans late, or without new rows.",
    "missing_code": "A model would learn the placeholder as if it were a real value.",
    "outlier": "A few extreme values can dominate means, scales and losses.",
    "isolated_rows": "Rows unlike all others are often errors, or cases that deserve a look.",
    "personal_data": "Personal data spreads to every later result that copies the column.",
}
# What the values of a column say nothing about.
_NOT_SEEN_IN_VALUES = {
    "constant",
    "column_gone",
    "personal_data",
    "duplicate_column",
    "leak",
    "coverage",
    "k_anonymity",
}


def kind_words(rule: str) -> str:
    """A rule as people read it."""
    return _NAMES.get(rule) or rule.replace("_", " ")


def why(finding: Mapping[str, Any]) -> str:
    """Why a finding matters, in one sentence; empty for rules that others add."""
    return _WHY.get(finding["rule"], "")


def is_seen_in_values(rule: str) -> bool:
    """Whether the distribution of the column shows what a rule found."""
    return rule not in _NOT_SEEN_IN_VALUES
