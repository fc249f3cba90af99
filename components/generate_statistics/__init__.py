"""generate-statistics: a dataset → TFDV's statistics of each split, a mergeable state beside them, and a page."""

from __future__ import annotations

from typing import Any

__all__ = ["compute_statistics", "generate_statistics"]


def __getattr__(name: str) -> Any:
    if name == "generate_statistics":
        from headwater.components.generate_statistics.component import generate_statistics

        return generate_statistics
    if name == "compute_statistics":
        from headwater.components.generate_statistics.compute import compute_statistics

        return compute_statistics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
