"""label: methods in turn over a dataset → one label table, and the dataset with its labels."""

from __future__ import annotations

from headwater.components.common.lazy import lazy

_NAMES = {
    "Tasks": "human.settings",
    "analyse": "analysis",
    "ask_after": "asking.loop",
    "ask_rows": "asking.loop",
    "label": "component",
    "label_dataset": "labelling",
    "pass_on": "labelling",
    "write_tasks": "human.tasks",
}
__all__ = list(_NAMES)
__getattr__ = lazy(__name__, _NAMES)
