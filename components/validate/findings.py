"""Findings: what a check reports of a split or a feature."""

from __future__ import annotations

from typing import Any

DRIFT, SKEW = "DRIFT", "SKEW"
"""Kinds of findings on distributions: against the baseline, and against serving data."""

LABEL_DRIFT, CONCEPT_DRIFT, COVARIATE_DRIFT = "LABEL_DRIFT", "CONCEPT_DRIFT", "COVARIATE_DRIFT"
"""Kinds of findings on labels: their shares, what the same inputs are labelled, and the inputs."""

RULE_BROKEN = "RULE_BROKEN"
"""The kind of a finding that rows break a rule."""

DRIFT_UNDONE = "DRIFT_UNDONE"
"""The kind of a finding that features are again as they were before a span that was accepted as it is."""

COMPARISON_IMPOSSIBLE = "COMPARISON_IMPOSSIBLE"
"""The kind of a finding that two sides cannot be compared."""

NO_VALUES = "it has no values in"
"""How the message of such a finding begins where one side is all missing; the side follows."""

THIS_SPAN = "this span"
"""What messages call the side that is validated."""


def finding(split: str, feature: str, kind: str, severity: str, message: str, **more: Any) -> dict[str, Any]:
    """Makes one finding.

    Args:
      split: the split's name; empty for the dataset as a whole.
      feature: the feature's name; empty for the split as a whole.
      kind: TFDV's name of an anomaly, or one of Headwater's, in capitals.
      severity: one of `common.findings.SEVERITIES`.
      message: what was expected and what was seen, in one sentence.
      **more: further keys for the manifest, such as `effect`, or `action`: what to do, in one clause; by default that of
        the kind in `actions`.
    """
    return {"split": split, "feature": feature, "kind": kind, "severity": severity, "message": message.strip(), **more}
