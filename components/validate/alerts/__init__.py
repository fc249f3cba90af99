"""Alerts after the verdict: once per finding, and never able to fail the run."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {"Alert": "settings", "send_alerts": "sending"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
