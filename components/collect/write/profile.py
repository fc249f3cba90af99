"""What is counted of every row while it is written, exactly, and a sample of the rows for what need not be exact.

The counts of a range are a small state that merges with the next range's, in source order. The sample holds the rows
whose hash is small, so that it is uniform over the rows, and the same whatever the ranges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.extremes import extremes, extremes_of

SAMPLE_ROWS = 20_000
"""About how many rows the sample holds."""

_SAMPLE_SEED = np.uint64(0x5851F42D4C957F2D)


def measure(batch: pa.RecordBatch) -> dict[str, dict[str, Any]]:
    """The state of one batch, by column.

    Returns:
      For each column: `rows`, `missing`; for numbers, dates and times also `min` and `max` (as numbers; of times
      microseconds), and the runs of one unchanging value: `first` and `last` value with the length of the run at that
      end, and the `longest`.
    """
    return {name: _measure(column) for name, column in zip(batch.schema.names, batch.columns)}


def merge(states: Sequence[Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The state of all rows, from states in source order."""
    merged: dict[str, dict[str, Any]] = {}
    for state in states:
        for name, right in state.items():
            left = merged.get(name)
            merged[name] = dict(right) if left is None else _merge(left, right)
    return merged


def finish(state: Mapping[str, dict[str, Any]], schema: pa.Schema, event_time: str | None) -> dict[str, Any]:
    """The profile that a manifest holds and later spans compare with.

    Args:
      state: of all rows.
      schema: the columns' types.
      event_time: the column of event times, if there is one.
    """
    columns = {}
    for field in schema:
        counted = state.get(field.name)
        if counted is None:
            continue
        columns[field.name] = {
            "type": str(field.type),
            "missing": counted["missing"],
            "min": counted.get("min"),
            "max": counted.get("max"),
            "constant": counted.get("longest", 0) == counted["rows"] > 0 and not counted["missing"],
            "longest_run": counted.get("longest", 0),
            "newest": None,
        }
    if event_time and columns.get(event_time, {}).get("max") is not None:
        columns[event_time]["newest"] = _iso(columns[event_time]["max"])
        columns[event_time]["oldest"] = _iso(columns[event_time]["min"])
    rows = max((counted["rows"] for counted in state.values()), default=0)
    return {"rows": rows, "columns": columns}


def in_sample(hashes: np.ndarray, rate: float) -> np.ndarray:
    """Which rows belong to a sample of a share `rate` of all rows, bool, by their hashes."""
    if rate >= 1:
        return np.ones(len(hashes), bool)
    return hashing.shares(hashes ^ _SAMPLE_SEED) < rate


def _measure(column: pa.Array) -> dict[str, Any]:
    kind = column.type
    state: dict[str, Any] = {"rows": len(column), "missing": column.null_count}
    if not len(column):
        return state
    if pa.types.is_dictionary(kind):
        if len(column.dictionary) == 1 and not column.null_count:
            value = str(column.dictionary[0].as_py())
            state.update(_ends(value, value, len(column), len(column), len(column)))
        return state
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            column = pc.cast(column, pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
        column = _integers(column)
    elif pa.types.is_decimal(kind):
        column = pc.cast(column, pa.float64(), safe=False)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) and not pa.types.is_float16(column.type):
        values = _values(column)
        ends = extremes_of(values) if pa.types.is_floating(column.type) else extremes(column)
        state["min"], state["max"] = map(_finite, ends)
        state.update(_runs(column, values))
    # Whether it is one value throughout; runs of words are no sensor's.
    elif (
        (pa.types.is_string(kind) or pa.types.is_boolean(kind))
        and column[0].equals(column[len(column) - 1])
        and pc.all(pc.equal(column, column[0])).as_py()
        and not column.null_count
    ):
        state.update(_ends(str(column[0].as_py()), str(column[0].as_py()), len(column), len(column), len(column)))
    return state


def _values(column: pa.Array) -> np.ndarray:
    """Numbers with 0 for missing ones, of reals NaN."""
    real = pa.types.is_floating(column.type)
    return (column if real or not column.null_count else pc.fill_null(column, 0)).to_numpy(zero_copy_only=False)


def _runs(column: pa.Array, values: np.ndarray) -> dict[str, Any]:
    # A missing value ends a run: of reals it became NaN, which equals nothing.
    changes = values[1:] != values[:-1]
    if column.null_count and not pa.types.is_floating(column.type):
        valid = pc.is_valid(column).to_numpy(zero_copy_only=False)
        changes |= ~(valid[1:] & valid[:-1])
    if len(changes) > 64 and 2 * np.count_nonzero(changes) > len(changes):
        # Most numbers change from row to row: then runs are short, and the exact length of a short one says nothing.
        places = np.flatnonzero(~changes)
        longest = _longest_stretch(places) + 1
        first = int(np.argmax(changes)) + 1
        last = int(np.argmax(changes[::-1])) + 1
    else:
        edges = np.flatnonzero(changes)
        lengths = np.diff(np.concatenate([[-1], edges, [len(values) - 1]]))
        longest, first, last = int(lengths.max()), int(lengths[0]), int(lengths[-1])
    if column.null_count == len(column):
        longest = 0
    return _ends(_number(column, 0), _number(column, len(column) - 1), first, last, longest)


def _longest_stretch(places: np.ndarray) -> int:
    if not len(places):
        return 0
    edges = np.flatnonzero(np.diff(places) > 1)
    return int(np.diff(np.concatenate([[-1], edges, [len(places) - 1]])).max())


def _ends(first: Any, last: Any, at_start: int, at_end: int, longest: int) -> dict[str, Any]:
    return {"first": first, "last": last, "at_start": at_start, "at_end": at_end, "longest": longest}


def _merge(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    if not left["rows"] or not right["rows"]:
        return dict(right if not left["rows"] else left)
    merged: dict[str, Any] = {"rows": left["rows"] + right["rows"], "missing": left["missing"] + right["missing"]}
    for name, choose in (("min", min), ("max", max)):
        values = [side[name] for side in (left, right) if side.get(name) is not None]
        if values:
            merged[name] = choose(values)
    if "longest" in left and "longest" in right:
        joined = (
            left["at_end"] + right["at_start"] if left["last"] is not None and left["last"] == right["first"] else 0
        )
        merged.update(
            _ends(
                left["first"],
                right["last"],
                joined if joined and left["at_start"] == left["rows"] else left["at_start"],
                joined if joined and right["at_end"] == right["rows"] else right["at_end"],
                max(left["longest"], right["longest"], joined),
            )
        )
    return merged


def _integers(column: pa.Array) -> pa.Array:
    width = pa.int32() if column.type.bit_width == 32 else pa.int64()
    return column.view(width).cast(pa.int64())


def _number(column: pa.Array, place: int) -> float | int | None:
    value = column[place].as_py()
    return None if value is None else _finite(value)


def _finite(value: float | int | None) -> float | int | None:
    return value if value is not None and math.isfinite(value) else None


def _iso(microseconds: int) -> str:
    return str(np.datetime64(int(microseconds), "us")).removesuffix(".000000") + "Z"
