"""What a form of tasks and votes is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from headwater.components.label.human.settings import Tasks

ROW, PROJECT, BATCH = "_row", "_project", "_batch"
"""What every task carries: the hash of its row's key in hexadecimal, the project, and the batch."""


VOTES = pa.schema(
    [
        (ROW, pa.string()),
        (PROJECT, pa.string()),
        (BATCH, pa.string()),
        ("rater", pa.string()),
        ("answer", pa.string()),
        ("seconds", pa.float64()),
        ("time", pa.int64()),
        ("cancelled", pa.bool_()),
        ("ground_truth", pa.bool_()),
    ]
)
"""Votes, whatever form they came in: `seconds` is how long the answer took, `time` microseconds since 1970, `cancelled`
whether the rater passed over the task, `ground_truth` whether it was marked as what is right. Beside them stand the columns
of the dataset's key where there is no `_row`."""


class Task(NamedTuple):
    """One row as it is put to people.

    Attributes:
      row: the hash of its key, in hexadecimal.
      key: values of the key by column, where they may be shown.
      shown: the values of shown columns as text, by column; missing ones are None.
    """

    row: str
    key: Mapping[str, Any]
    shown: Mapping[str, str | None]


class Batch(NamedTuple):
    """Rows that are put to people together.

    Attributes:
      project, batch: as tasks carry them.
      tasks: in their order.
      views: how each shown column is shown.
      settings: what is asked.
    """

    project: str
    batch: str
    tasks: Sequence[Task]
    views: Mapping[str, str]
    settings: Tasks


class Form(Protocol):
    """A form of tasks and votes.

    Attributes:
      name: as the settings name it.
    """

    name: str

    def write(self, batch: Batch) -> Mapping[str, bytes]:
        """The files of a batch, by name."""


def flat(batch: Batch) -> list[dict[str, Any]]:
    """Tasks as records with the fields that raters fill in, all of them `overlap` times, one after the other."""
    empty = {"rater": None, "answer": None, "seconds": None, "time": None}
    records = [
        {
            ROW: task.row,
            PROJECT: batch.project,
            BATCH: batch.batch,
            **{_apart(name): value for name, value in {**task.key, **task.shown}.items()},
            **empty,
        }
        for task in batch.tasks
    ]
    return records * batch.settings.overlap


def _apart(name: str) -> str:
    """A column's name, where it is none of those that raters fill in."""
    return f"{name} (data)" if name in ("rater", "answer", "seconds", "time") else name


def as_json(value: Any) -> bytes:
    """JSON as tasks are written."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
