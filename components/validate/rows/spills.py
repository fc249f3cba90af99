"""What is written of rows for rules over many of them: what it is, and where it lies."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from headwater.components.common import storage
from headwater.components.validate.rows.rules import Monotone

PLACE = np.dtype([("element", "<u4"), ("row", "<u4")])
"""A row, by its element and its number there from 0."""


@dataclasses.dataclass(frozen=True)
class Spill:
    """What of a rule's rows is written where.

    Attributes:
      number, kind, columns, monotone: as of the `Crossing`.
      borders: of a monotone column, where a partition begins, sorted; without the first.
      partitions: how many there are.
      side: "rows", or "keys" for what the rows refer to.
    """

    number: int
    kind: str
    columns: tuple[str, ...]
    monotone: Monotone | None
    borders: np.ndarray | None
    partitions: int
    side: str = "rows"


def counted(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches, each with the number of rows before it."""
    rows = 0
    for batch in batches:
        yield rows, batch
        rows += batch.num_rows


def as_places(elements: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows as records of `PLACE`."""
    places = np.empty(len(rows), PLACE)
    places["element"], places["row"] = elements, rows
    return places


def only(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """Some columns of a schema, in their order, each once."""
    return pa.schema([schema.field(name) for name in dict.fromkeys(names)])


def column_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A batch's column."""
    return batch.column(batch.schema.get_field_index(name))


def spilled_uri(folder: str, rule: int, side: str, element: int) -> str:
    """Where what a rule needs of one element is written."""
    return storage.join(folder, f"{side}-{rule:04d}-{element:06d}")


def list_uri(folder: str, rule: int, partition: int) -> str:
    """Where the rows of one partition that break a rule are listed."""
    return storage.join(folder, f"broken-{rule:04d}-{partition:06d}")
