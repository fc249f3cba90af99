"""generate-statistics: a dataset → TFDV's statistics of each split, a mergeable state beside them, and a page."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {"compute_statistics": "compute", "generate_statistics": "component", "merge_statistics": "state.merging"}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
