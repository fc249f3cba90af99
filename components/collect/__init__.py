"""collect: CSV and Parquet files → a keyed, split, checksummed dataset with every record accounted for."""

from __future__ import annotations

from typing import Any

__all__ = ["collect", "collect_dataset"]


def __getattr__(name: str) -> Any:
    if name == "collect":
        from headwater.components.collect.component import collect

        return collect
    if name == "collect_dataset":
        from headwater.components.collect.ingest import collect_dataset

        return collect_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
