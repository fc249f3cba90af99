"""infer-schema: statistics → a schema, or the agreed one kept as it is."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {
    "accept_schema": "accept",
    "accept_span": "accept",
    "compatibility": "diff",
    "derive_schema": "derive",
    "diff_schemas": "diff",
    "infer_schema": "component",
    "read_schema": "derive",
    "to_arrow": "exports",
    "to_json_schema": "exports",
    "to_sql": "exports",
}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
