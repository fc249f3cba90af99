"""What keeps a `data_root` in order: what is there, whether it is whole, where it came from, and what can go."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {
    "list_datasets": "listing",
    "find_garbage": "garbage",
    "remove_garbage": "garbage",
    "verify": "verifying",
    "trace": "lineage",
}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
