"""Label Studio: a project's tasks with their labelling configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from headwater.components.label.human.forms.base import BATCH, PROJECT, ROW, Batch, Task, as_json

ANSWER = "answer"
"""The name of the control that takes the answer."""

_QUESTION, _TABLE = "question", "table"


class _LabelStudio:
    name = "label_studio"

    def write(self, batch: Batch) -> Mapping[str, bytes]:
        config = _config(batch)
        project = {
            "title": batch.project[:50],
            "description": batch.settings.question,
            "label_config": config.decode(),
            "maximum_annotations": batch.settings.overlap,
        }
        return {
            "tasks.json": as_json([{"data": _data(batch, task)} for task in batch.tasks]),
            "label_config.xml": config,
            "project.json": as_json(project),
        }


def _fields(batch: Batch) -> dict[str, str]:
    """The name in a task's data of each column that is not in the table: no column's name can break the configuration."""
    apart = [name for name, view in batch.views.items() if view != _TABLE]
    return {name: f"{batch.views[name]}_{number}" for number, name in enumerate(apart, 1)}


def _data(batch: Batch, task: Task) -> dict[str, Any]:
    fields = _fields(batch)
    data: dict[str, Any] = {ROW: task.row, PROJECT: batch.project, BATCH: batch.batch}
    if task.key:
        data["_key"] = dict(task.key)
    data[_QUESTION] = batch.settings.question
    for name, field in fields.items():
        data[field], data[f"{field}_title"] = task.shown[name] or "", name
    table = {name: task.shown[name] or "" for name, view in batch.views.items() if view == _TABLE}
    return {**data, _TABLE: table} if table else data


def _config(batch: Batch) -> bytes:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", value=f"${_QUESTION}")
    first = ""
    for name, field in _fields(batch).items():
        ElementTree.SubElement(view, "Header", value=f"${field}_title", size="5")
        kind = "Image" if batch.views[name] == "image" else "Text"
        ElementTree.SubElement(view, kind, name=field, value=f"${field}")
        first = first or field
    if _TABLE in batch.views.values():
        ElementTree.SubElement(view, "Table", name=_TABLE, value=f"${_TABLE}")
        first = first or _TABLE
    choices = ElementTree.SubElement(
        view, "Choices", name=ANSWER, toName=first, choice="single", required="true", showInline="true"
    )
    for each in batch.settings.classes:
        ElementTree.SubElement(choices, "Choice", value=each)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode").encode()


FORM = _LabelStudio()
