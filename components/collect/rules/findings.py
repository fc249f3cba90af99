"""The form of a finding, as the manifest and the page hold it."""

from __future__ import annotations

from typing import Any

ACTIONS = {
    "stale": "look why the source brings nothing newer, or raise max_age",
    "empty_source": "look at the source; if it is meant to be empty, leave it out",
    "stuck": "look at the device or the export; if the value is right, nothing is to be done",
    "volume": "look whether rows are missing or come twice; if it is right, raise volume_tolerance",
    "missing_share": "look for what stopped filling it at the source",
    "column_gone": "restore it at the source, or accept the schema without it",
    "model_version": "collect with one version of the model, or retrain on what the new one gives",
    "repeated_key": "set collect.duplicates: drop to keep the first row of each key, or name more columns in collect.key",
    "late_version": "collect that span again",
    "k_anonymity": "set anonymity.suppress, or generalise the columns further under private",
    "leak": "leave it out of training, or by the setting columns, unless it is known before the label",
    "coverage": "split by something else, or collect more rows like these to train on",
    "duplicate_column": "leave one of them out by the setting columns",
    "constant": "leave it out by the setting columns, or look why it is empty",
    "small_group": "collect more rows of the group, or put it together with another by derived",
}
"""What to do about a rule's findings, where their message does not say it."""


def finding(
    rule: str,
    severity: str,
    column: str | None,
    message: str,
    value: float | None = None,
    limit: float | None = None,
    action: str = "",
) -> dict[str, Any]:
    """A finding.

    Args:
      rule: the short name of what was looked at.
      severity: one of `common.findings.SEVERITIES`.
      column: the column that it is about, if it is about one.
      message: one sentence; it holds no value of the rows.
      value: what was measured.
      limit: what it was compared with.
      action: what to do about it, in one clause; by default that of the rule in `ACTIONS`.
    """
    return {
        "action": action or ACTIONS.get(rule, ""),
        "rule": rule,
        "severity": severity,
        "column": column,
        "message": message,
        "value": value,
        "limit": limit,
    }
