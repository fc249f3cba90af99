"""infer-schema: statistics → a schema, or the agreed one kept as it is."""

from __future__ import annotations

from typing import Any

__all__ = ["derive_schema", "infer_schema"]


def __getattr__(name: str) -> Any:
    if name == "infer_schema":
        from headwater.components.infer_schema.component import infer_schema

        return infer_schema
    if name == "derive_schema":
        from headwater.components.infer_schema.derive import derive_schema

        return derive_schema
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
