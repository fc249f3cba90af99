"""collect: CSV and Parquet files → a keyed, split, checksummed dataset with every record accounted for."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {"collect": "component", "collect_dataset": "ingest"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
