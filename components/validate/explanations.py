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
    "DRIFT": "The model meets values that were rarer or more common in training, so its accuracy on them is unknown.",
    "SKEW": "Training and serving data differ, so what was measured offline may not hold online.",
    "CONCEPT_DRIFT": "The same inputs now have different labels: a model trained on earlier rows is wrong on them.",
    "COVARIATE_DRIFT": "The inputs moved but their labels did not: a model may still be right, with fewer examples to rely on.",
    "LABEL_DRIFT": "Class shares changed, so thresholds, class weights and calibrated probabilities may no longer fit.",
    "FEATURE_SKEW": "The same rows have different values in serving and in training: the feature is computed in two ways.",
    "COMPARISON_IMPOSSIBLE": "A change here would go unnoticed.",
    "TOO_FEW_ROWS": "With so few rows, a change cannot be distinguished from chance.",
    "EMPTY_SPLIT": "Training or evaluation on this split would have no data.",
    "RULE_BROKEN": "These rows contradict a rule that was agreed for this data.",
    "RULE_NOT_JUDGED": "A rule that cannot be evaluated protects nothing.",
    "ZEROS_MISSING": "Zeros mean missing values here, but a model would learn them as real numbers.",
    "SCHEMA_MISSING_COLUMN": "Code that reads this column fails, or silently falls back to a default.",
    "SCHEMA_NEW_COLUMN": "Nobody has agreed to this column, so it is either ignored or learned from unchecked.",
    "ENUM_TYPE_UNEXPECTED_STRING_VALUES": "Encoders and models only know the agreed values; new ones become unknown or raise an error.",
}
_BY_CHECK = {
    "schema": "Code that relies on the schema may fail, or give wrong results silently.",
    "upstream": "It holds for the rows that were validated, before any of them is compared with a schema or a baseline.",
    "dataset_constraints": "The dataset as a whole is not as agreed, often because an export is incomplete or duplicated.",
    "serving_schema": "The model is served inputs that it was not built for.",
}


def kind_words(kind: str) -> str:
    """A kind of finding as people read it."""
    return _NAMES.get(kind) or kind.replace("_", " ").lower()


def why(finding: Mapping[str, Any]) -> str:
    """Why a finding matters, in one sentence; empty for kinds that others add."""
    return _WHY.get(finding["kind"]) or _BY_CHECK.get(finding.get("check", ""), "")
