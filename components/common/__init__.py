"""The ground floor that every component stands on: datasets, storage, Beam, errors and pages."""

from __future__ import annotations

from typing import Any

__all__ = ["HeadwaterError", "open_dataset"]


def __getattr__(name: str) -> Any:
    if name == "open_dataset":
        from headwater.components.common.dataset import open_dataset

        return open_dataset
    if name == "HeadwaterError":
        from headwater.components.common.errors import HeadwaterError

        return HeadwaterError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
