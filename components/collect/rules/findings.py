"""The form of a finding, as the manifest and the page hold it."""

from __future__ import annotations

from typing import Any


def finding(
    rule: str, severity: str, column: str | None, message: str, value: float | None = None, limit: float | None = None
) -> dict[str, Any]:
    """A finding.

    Args:
      rule: the short name of what was looked at.
      severity: one of `common.findings.SEVERITIES`.
      column: the column that it is about, if it is about one.
      message: one sentence; it holds no value of the rows.
      value: what was measured.
      limit: what it was compared with.
    """
    return {"rule": rule, "severity": severity, "column": column, "message": message, "value": value, "limit": limit}
