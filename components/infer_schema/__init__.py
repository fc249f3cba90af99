"""infer-schema: statistics → a schema, or the agreed one kept as it is."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {"derive_schema": "derive", "infer_schema": "component"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
