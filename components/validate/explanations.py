"""Why a finding matters: one sentence for each kind, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = {
    "COMPARISON_IMPOSSIBLE": "not comparable",
    "CONCEPT_DRIFT": "concept drift",
    "COVARIATE_DRIFT": "input drift",
    "LABEL_DRIFT": "label drift",
    "RULE_BROKEN": "rule broken",
    "RULE_NOT_JUDGED": "rule not judged",
    "SCHEMA_MISSING_COLUMN": "missing column",
    "SCHEMA_NEW_COLUMN": "new column",
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": "unexpected values",
    "ZEROS_MISSING": "zeros as missing values",
}
_WHY = {
    "DRIFT": "A model meets values here that it hardly saw while it was trained, so its errors there are unknown.",
    "SKEW": "The model is trained on other values than it is served, so what was measured offline need not hold online.",
    "CONCEPT_DRIFT": "The same inputs have other labels now: a model trained on earlier rows is wrong on them.",
    "COVARIATE_DRIFT": "The inputs moved while their labels did not: a model may still be right, but on fewer examples.",
    "LABEL_DRIFT": "Class shares moved, so thresholds, class weights and calibrated probabilities no longer fit.",
    "FEATURE_SKEW": "The same rows have other values in serving than in training, which points to two ways of computing them.",
    "COMPARISON_IMPOSSIBLE": "What cannot be compared could have changed in any way without being noticed.",
    "TOO_FEW_ROWS": "Among so few rows a change cannot be told from chance.",
    "EMPTY_SPLIT": "Whatever is trained or measured on this split has no rows.",
    "RULE_BROKEN": "These rows contradict what the data is agreed to be.",
    "RULE_NOT_JUDGED": "A rule that cannot be judged protects nothing.",
    "ZEROS_MISSING": "Zeros stand for missing values here, so a model would learn a number that nobody measured.",
    "SCHEMA_MISSING_COLUMN": "Whatever reads this column fails, or falls back to a default without a word.",
    "SCHEMA_NEW_COLUMN": "A column that nobody agreed on is either lost or learnt from unchecked.",
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": "Encoders and models know only the agreed values; new ones become unknown or an error.",
}
_BY_CHECK = {
    "schema": "The data breaks what was agreed, so code that relies on the schema may fail or err in silence.",
    "dataset_constraints": "The data as a whole is not what was agreed, often because an export is incomplete or doubled.",
    "serving_schema": "Serving data breaks the schema, so the model gets inputs that it was not made for.",
}


def kind_words(kind: str) -> str:
    """A kind of finding as people read it."""
    return _NAMES.get(kind) or kind.replace("_", " ").lower()


def why(finding: Mapping[str, Any]) -> str:
    """Why a finding matters, in one sentence; empty for kinds that others add."""
    return _WHY.get(finding["kind"]) or _BY_CHECK.get(finding.get("check", ""), "")
