"""The costs of rows by the bins that they lie in: measured part by part, and merged.

The batches that are measured hold what the statistics saw: where private values were hidden before, they are hidden
here.

A state is an Arrow IPC file with one row a cell and the columns `rows` (int64), `cost` and `squares` (float64): the
number of rows that have a cost, and the sums of their costs and of the costs' squares, costs taken less
`Bins.reference`. Cells stand in this order: all rows; each column's bins; each pair's bins, row by row. Its schema's
metadata holds `headwater.worst_slices` (version of the format, "1"), `bins` (what they were measured with, a SHA-256),
`without_cost` (rows left out) and `classes` (JSON: how many rows hold each class that the costs name).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.distributions import read_table
from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics.measure.conversion import to_lists
from headwater.components.generate_statistics.worst_slices.bins import MOST_PAIRED, Bins, Column
from headwater.components.generate_statistics.worst_slices.options import Options, check, class_value, kind_of, listed

VERSION = "1"
_CHUNK = 65_536
_LARGEST = 1e150


def measure(batches: Sequence[pa.RecordBatch], bins: Bins, options: Options) -> bytes:
    """The state of some rows. Rows without a cost (missing, NaN, 1e150 or more) are counted and left out.

    Args:
      batches: whole rows; none for the state of no rows.
      bins: of the split.
      options: those that the bins were made with.

    Raises:
      HeadwaterError: as `check`; a column of the slices, a label, a prediction or a cost with more than one value in a
        row; classes that are numbers with fractions.
    """
    state = State.empty(bins, options)
    for batch in batches:
        check(options, batch.schema)
        for start in range(0, batch.num_rows, _CHUNK):
            _add(state, batch.slice(start, _CHUNK), bins, options)
    return encode(state)


def merge(states: Sequence[bytes]) -> bytes:
    """The state of all the rows that `states` stand for, added in their order.

    Raises:
      HeadwaterError: there is no state, or they were measured with different bins or costs.
    """
    if not states:
        raise HeadwaterError("there are no states of slices to merge")
    merged, *others = [decode(state) for state in states]
    for other in others:
        if other.bins != merged.bins:
            raise HeadwaterError("states of slices with different bins or costs cannot be merged")
        merged.rows += other.rows
        merged.cost += other.cost
        merged.squares += other.squares
        merged.classes += other.classes
        merged.without_cost += other.without_cost
    return encode(merged)


def unseen_classes(states: Sequence[bytes], options: Options) -> list[str]:
    """The classes that `costs` names and that no row of these states holds, sorted: likely misspelt.

    A span may well lack a rare class, so that this is worth a warning; a matrix that names no class of the data at all
    is an error.

    Raises:
      HeadwaterError: there are rows, and none holds a class that the costs name.
    """
    decoded = [decode(state) for state in states]
    if not options.classes or not decoded:
        return []
    seen = sum((state.classes for state in decoded), np.zeros(len(options.classes), np.int64))
    if any(state.rows[0] for state in decoded) and not seen.any():
        raise HeadwaterError(
            f"worst_slices.costs: none of the classes {listed(options.classes)} occurs in column {options.label!r} or "
            f"{options.prediction!r}; write the classes as they are in the columns"
        )
    return [name for name, count in zip(options.classes, seen) if not count]


def totals(state: bytes, bins: Bins) -> dict[str, Any]:
    """What was looked at: `rows` that have a cost, rows `without_cost`, their `mean_cost` (None of no rows)."""
    decoded = decode(state)
    rows = int(decoded.rows[0])
    mean = float(decoded.cost[0] / rows + bins.reference) if rows else None
    return {"rows": rows, "without_cost": decoded.without_cost, "mean_cost": mean}


@dataclasses.dataclass
class State:
    """Rows, costs and squared costs of each cell."""

    bins: str
    rows: np.ndarray
    cost: np.ndarray
    squares: np.ndarray
    classes: np.ndarray
    without_cost: int = 0

    @classmethod
    def empty(cls, bins: Bins, options: Options) -> State:
        """The state of no rows."""
        size = 1 + sum(column.size for column in bins.columns)
        size += sum(bins.columns[a].paired_size * bins.columns[b].paired_size for a, b in bins.pairs)
        return cls(
            bins.fingerprint(options),
            np.zeros(size, np.int64),
            np.zeros(size),
            np.zeros(size),
            np.zeros(len(options.classes), np.int64),
        )


def encode(state: State) -> bytes:
    """The state as bytes."""
    metadata = {
        "headwater.worst_slices": VERSION,
        "bins": state.bins,
        "without_cost": str(state.without_cost),
        "classes": json.dumps(state.classes.tolist()),
    }
    table = pa.table({"rows": state.rows, "cost": state.cost, "squares": state.squares})
    table = table.replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    # Most cells of pairs are empty.
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def decode(content: bytes) -> State:
    """The state that `encode` wrote.

    Raises:
      HeadwaterError: it is no state, or one of another format.
    """
    table = read_table(content, "slices")
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    version = metadata.get("headwater.worst_slices", "unknown")
    if version != VERSION:
        raise HeadwaterError(f"this state of slices has format {version!r}; this Headwater reads {VERSION!r}")
    rows, cost, squares = (table[name].to_numpy().copy() for name in ("rows", "cost", "squares"))
    return State(
        metadata["bins"],
        rows,
        cost,
        squares,
        np.array(json.loads(metadata["classes"]), np.int64),
        int(metadata["without_cost"]),
    )


def _add(state: State, batch: pa.RecordBatch, bins: Bins, options: Options) -> None:
    wanted = dict.fromkeys([options.errors, options.prediction, options.label, *(each.name for each in bins.columns)])
    wanted.pop("", None)
    places = {name: batch.schema.get_field_index(name) for name in wanted}
    for name, place in places.items():
        if place < 0:
            raise HeadwaterError(f"worst_slices: the data has no column {name!r}, but its statistics do")
    lists = to_lists(pa.RecordBatch.from_arrays([batch.column(place) for place in places.values()], list(places)))
    values = {name: _values(lists.column(place), name) for place, name in enumerate(lists.schema.names)}
    costs = _costs(values, state, batch.schema, options)
    known = np.abs(costs) < _LARGEST
    state.without_cost += int(len(known) - known.sum())
    costs = costs[known] - bins.reference
    squares = costs * costs
    codes = [_codes(column, *values[column.name])[known] for column in bins.columns]
    _count(state, 0, 1, np.zeros(len(costs), np.int64), costs, squares)
    start = 1
    for column, code in zip(bins.columns, codes):
        _count(state, start, column.size, code, costs, squares)
        start += column.size
    paired = [
        np.where(code < column.rest, np.minimum(code, column.paired_rest), code - column.rest + column.paired_rest)
        for column, code in zip(bins.columns[:MOST_PAIRED], codes if bins.pairs else ())
    ]
    for a, b in bins.pairs:
        width = bins.columns[b].paired_size
        size = bins.columns[a].paired_size * width
        _count(state, start, size, paired[a] * width + paired[b], costs, squares)
        start += size


def _count(state: State, start: int, size: int, codes: np.ndarray, costs: np.ndarray, squares: np.ndarray) -> None:
    cells = slice(start, start + size)
    state.rows[cells] += np.bincount(codes, minlength=size)
    state.cost[cells] += np.bincount(codes, costs, minlength=size)
    state.squares[cells] += np.bincount(codes, squares, minlength=size)


def _values(lists: pa.Array, name: str) -> tuple[np.ndarray, pa.Array]:
    """Which rows have a value, and those values.

    Raises:
      HeadwaterError: a row has more than one.
    """
    if pa.types.is_null(lists.type):
        return np.zeros(len(lists), bool), pa.nulls(0)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    if lengths.max(initial=0) > 1:
        raise HeadwaterError(
            f"worst_slices: column {name!r} has a row with more than one value; each row must have one"
        )
    return lengths == 1, lists.flatten()


def _codes(column: Column, present: np.ndarray, values: pa.Array) -> np.ndarray:
    codes = np.full(len(present), column.size - 1, np.int64)
    if pa.types.is_null(values.type):
        return codes
    if column.kind == "ranges":
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64)
        places = np.searchsorted(np.array(column.edges), numbers, side="right")
        codes[present] = np.where(np.isnan(numbers), column.rest, places)
        return codes
    kind = pa.large_binary() if column.kind == "text" else pa.int64()
    places = pc.index_in(values.cast(kind), value_set=pa.array(column.values, kind))
    codes[present] = pc.fill_null(places, column.rest).to_numpy(zero_copy_only=False)
    return codes


def _costs(
    values: dict[str, tuple[np.ndarray, pa.Array]], state: State, schema: pa.Schema, options: Options
) -> np.ndarray:
    """The cost of each row, NaN where it has none; counts the rows that hold each class that costs name."""
    if options.errors:
        present, given = values[options.errors]
        costs = np.full(len(present), np.nan)
        if not pa.types.is_null(given.type):
            costs[present] = given.to_numpy(zero_copy_only=False)
        return costs
    kinds = {kind_of(schema, name) for name in (options.label, options.prediction)} - {"nothing"}
    kind = pa.large_binary() if kinds <= {"text"} else pa.int64()
    sides = [_classes(*values[getattr(options, key)], kind, key) for key in ("label", "prediction")]
    costs = np.where(_filled(pc.equal(*sides), True), 0.0, 1.0)
    costs[_filled(pc.or_(*(pc.is_null(side) for side in sides)), True)] = np.nan
    if not options.costs:
        return costs
    named = pa.array([class_value(name, kinds, options) for name in options.classes], kind)
    # Each side's place among the named classes, and one place more for all others.
    size = len(named) + 1
    places = [_filled(pc.index_in(side, value_set=named), len(named)) for side in sides]
    for place in places:
        state.classes += np.bincount(place, minlength=size)[:-1]
    table = np.full((size, size), np.nan)
    position = {name: place for place, name in enumerate(options.classes)}
    for label, row in options.costs.items():
        for prediction, cost in row.items():
            table[position[label], position[prediction]] = cost
    given = table[places[0], places[1]]
    return np.where(np.isnan(given), costs, given)


def _classes(present: np.ndarray, values: pa.Array, kind: pa.DataType, key: str) -> pa.Array:
    """The class of each row, missing where it has none.

    Raises:
      HeadwaterError: classes are numbers with fractions.
    """
    if pa.types.is_null(values.type):
        return pa.nulls(len(present), kind)
    if pa.types.is_floating(values.type):
        numbers = values.to_numpy(zero_copy_only=False)
        finite = np.isfinite(numbers)
        numbers = np.where(finite, numbers, 0).astype(np.float64)
        if (numbers != np.floor(numbers)).any() or (np.abs(numbers) >= 2**53).any():
            raise HeadwaterError(
                f"worst_slices.{key}: the column holds numbers that cannot be classes, such as scores; compare "
                "classes, or give the cost of each row as errors"
            )
        values = pa.array(numbers.astype(np.int64), mask=~finite)
    places = pa.array(np.cumsum(present) - 1, mask=~present)
    return values.cast(kind, safe=False).take(places)


def _filled(array: pa.Array, missing: Any) -> np.ndarray:
    return pc.fill_null(array, missing).to_numpy(zero_copy_only=False)
