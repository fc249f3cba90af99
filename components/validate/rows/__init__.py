"""Rows held against rules and the schema: bad ones by key into quarantine, the others passed on."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {"RowReport": "report", "RowRules": "rules", "check_rows": "quarantine"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
