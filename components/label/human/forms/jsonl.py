"""JSON Lines: an object a task, with fields for rater and answer."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.components.label.human.forms.base import Batch, as_json, flat


class _JsonLines:
    name = "jsonl"

    def write(self, batch: Batch) -> Mapping[str, bytes]:
        return {"tasks.jsonl": b"".join(as_json(record) + b"\n" for record in flat(batch))}


FORM = _JsonLines()
