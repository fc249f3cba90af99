"""The form of a finding, as the manifest holds it."""

from __future__ import annotations

import math
from typing import Any


def finding(
    rule: str, severity: str, column: str | None, message: str, value: float | None = None, limit: float | None = None
) -> dict[str, Any]:
    """A finding: a plain sentence and the numbers behind it, ready for JSON.

    Args:
      rule: the rule's name.
      severity: `error`, `warning` or `info`.
      column: the column that it is about, if it is about one.
      message: one sentence without values from the data.
      value: the number that was found; rounded to six digits.
      limit: the number that it is held against.
    """
    return {
        "rule": rule,
        "severity": severity,
        "column": column,
        "message": message,
        "value": rounded(value),
        "limit": rounded(limit),
    }


def rounded(number: float | None, digits: int = 6) -> float | None:
    """A number to so many significant digits; None when it is none or not finite."""
    if number is None or not math.isfinite(number):
        return None
    return float(f"{number:.{digits}g}")
