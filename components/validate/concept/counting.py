"""Counting rows by bins, class and period: what runs on workers, and can be added.

A state is an Arrow IPC file with the columns `cell` (int64, rising) and `rows` (int64): the cells that have rows. Cells
stand in this order, the last index running fastest: for each period, the rows that have a label, then those without;
then each table, indexed by its columns' bins, class and period.

It stands apart from the driver's work, so that workers need not import Beam.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common.dataset import read_element
from headwater.components.validate.concept.bins import Column

PERIODS = 2
"""The baseline, then the current data."""

_HEAD = 2 * PERIODS
_PIECE = 65_536


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is counted.

    Attributes:
      label: the classes; rows without a label, NaN among them, are counted and left out.
      tables: the columns whose bins each table is indexed by.
      without: rows that are left out: the columns of some bins, and these bins' numbers.
    """

    label: Column
    tables: tuple[tuple[Column, ...], ...]
    without: tuple[tuple[tuple[Column, ...], tuple[int, ...]], ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        used = [*self.tables, *(columns for columns, _ in self.without)]
        return list(dict.fromkeys([self.label.name, *(column.name for columns in used for column in columns)]))

    @property
    def classes(self) -> int:
        """How many classes there are: bins of the label but NaN and missing."""
        return self.label.present - (self.label.kind == "numbers")

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of each table."""
        return [(*(column.size for column in columns), self.classes, PERIODS) for columns in self.tables]

    @property
    def size(self) -> int:
        """Cells of a state."""
        return _HEAD + sum(int(np.prod(shape)) for shape in self.shapes)


@dataclasses.dataclass(frozen=True)
class Counts:
    """What was counted.

    Attributes:
      labelled, unlabelled: rows of each period, int64[2].
      tables: as the plan names them, int64.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    tables: list[np.ndarray]


def count_element(plan: Plan, item: tuple[int, pa.Schema, tuple[Any, ...]]) -> bytes:
    """The state of the rows of some elements of one period."""
    period, schema, elements = item
    return count(plan, period, (batch for element in elements for batch in read_element(element, schema)))


def count(plan: Plan, period: int, batches: Iterable[pa.RecordBatch]) -> bytes:
    """The state of one period's rows.

    Args:
      plan: what is counted.
      period: 0 for the baseline, 1 for the current data.
      batches: record batches with at least the plan's columns.
    """
    cells = np.zeros(plan.size, np.int64)
    for piece in _pieces(batches):
        _add(cells, plan, period, piece)
    return _encode(cells)


def merge(plan: Plan, states: list[bytes]) -> bytes:
    """The state of all rows that `states` stand for."""
    cells = np.zeros(plan.size, np.int64)
    for state in states:
        _add_state(cells, state)
    return _encode(cells)


def decode(plan: Plan, state: bytes) -> Counts:
    """What a state counts."""
    cells = np.zeros(plan.size, np.int64)
    _add_state(cells, state)
    labelled, unlabelled = cells[:_HEAD].reshape(PERIODS, 2).T
    tables, start = [], _HEAD
    for shape in plan.shapes:
        size = int(np.prod(shape))
        tables.append(cells[start : start + size].reshape(shape))
        start += size
    return Counts(labelled, unlabelled, tables)


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, _PIECE):
            yield batch.slice(start, _PIECE)


def _add(cells: np.ndarray, plan: Plan, period: int, batch: pa.RecordBatch) -> None:
    codes_of: dict[Column, np.ndarray] = {}

    def codes(columns: tuple[Column, ...]) -> np.ndarray:
        total = np.zeros(batch.num_rows, np.int64)
        for column in columns:
            if column not in codes_of:
                codes_of[column] = column.codes(batch.column(batch.schema.get_field_index(column.name)))
            total = total * column.size + codes_of[column]
        return total

    kept = np.ones(batch.num_rows, bool)
    for columns, bins in plan.without:
        kept &= ~np.isin(codes(columns), bins)
    label = codes((plan.label,))
    kept_labelled = kept & (label < plan.classes)
    labelled = int(kept_labelled.sum())
    cells[2 * period] += labelled
    cells[2 * period + 1] += int(kept.sum()) - labelled
    label = label[kept_labelled] * PERIODS + period
    start = _HEAD
    for columns, shape in zip(plan.tables, plan.shapes):
        size = int(np.prod(shape))
        # Most cells of a large table stay empty.
        index = codes(columns)[kept_labelled] * (plan.classes * PERIODS) + label
        if size > 4 * len(index):
            own, rows = np.unique(index, return_counts=True)
            cells[start + own] += rows
        else:
            cells[start : start + size] += np.bincount(index, minlength=size)
        start += size


def _add_state(cells: np.ndarray, state: bytes) -> None:
    table = pa.ipc.open_file(pa.BufferReader(state)).read_all()
    cells[table["cell"].to_numpy()] += table["rows"].to_numpy()


def _encode(cells: np.ndarray) -> bytes:
    filled = np.flatnonzero(cells)
    sink = pa.BufferOutputStream()
    table = pa.table({"cell": filled, "rows": cells[filled]})
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
