"""validate: statistics against schema and earlier span → verdict, anomalies and page; gate: stops what is not blessed."""

from __future__ import annotations

from typing import Any

__all__ = ["check_statistics", "enforce", "gate", "validate"]


def __getattr__(name: str) -> Any:
    if name in ("validate", "gate"):
        from headwater.components.validate import component

        return getattr(component, name)
    if name == "check_statistics":
        from headwater.components.validate.check import check_statistics

        return check_statistics
    if name == "enforce":
        from headwater.components.validate.enforcement import enforce

        return enforce
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
