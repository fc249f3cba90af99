"""Counts of a text feature's values: exact up to a limit, then bounded, the same for any order of the rows in a part.

TFDV's own sketch of top values keeps its items in hash tables whose order differs from run to run, and with it what a
full sketch forgets. This one is a table, cut by the rule for merging Misra-Gries summaries (Agarwal et al., "Mergeable
Summaries", PODS 2012) with ties in the order of values.
"""

from __future__ import annotations

import dataclasses
from typing import Sequence

import pyarrow as pa
import pyarrow.compute as pc

CAPACITY = 16384
"""Distinct values of a feature up to which each is counted exactly."""

LONGEST = 1024
"""Values of more bytes are counted together as `LARGE`, as TFDV counts them."""

LARGE = b"__LARGE_BYTES__"
NOT_TEXT = b"__BYTES_VALUE__"


@dataclasses.dataclass(frozen=True)
class ValueCounts:
    """How often values occur.

    Attributes:
      table: `value` (binary) and `count` (int64), by falling count, then value; `CAPACITY` rows at most.
      removed: how much too low a count can be; 0 when all are exact.
    """

    table: pa.Table
    removed: int = 0


def count_values(values: pa.Array) -> ValueCounts:
    """Counts the values of a string or binary array without missing ones."""
    counted = values.cast(pa.large_binary()).value_counts()
    distinct, counts = counted.field(0), counted.field(1)
    distinct = pc.if_else(
        pc.greater(pc.binary_length(distinct), LONGEST), pa.scalar(LARGE, pa.large_binary()), distinct
    )
    return _cut(pa.table({"value": _text_only(distinct), "count": counts}), 0)


def add_counts(parts: Sequence[ValueCounts]) -> ValueCounts:
    """The counts of all the rows that `parts` stand for."""
    if len(parts) == 1:
        return parts[0]
    return _cut(pa.concat_tables([part.table for part in parts]), sum(part.removed for part in parts))


def encode(counts: ValueCounts) -> bytes:
    """The counts as an Arrow IPC stream, `removed` in its metadata."""
    sink = pa.BufferOutputStream()
    table = counts.table.replace_schema_metadata({"removed": str(counts.removed)})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def decode(content: bytes) -> ValueCounts:
    """The reverse of `encode`."""
    table = pa.ipc.open_stream(pa.BufferReader(content)).read_all()
    return ValueCounts(table.replace_schema_metadata(None), int(table.schema.metadata[b"removed"]))


def _cut(table: pa.Table, removed: int) -> ValueCounts:
    summed = table.group_by("value").aggregate([("count", "sum")])
    summed = pa.table({"value": summed["value"], "count": summed["count_sum"].cast(pa.int64())})
    summed = summed.take(pc.sort_indices(summed, [("count", "descending"), ("value", "ascending")])).combine_chunks()
    if summed.num_rows > CAPACITY:
        least = summed["count"][CAPACITY].as_py()
        left = pc.subtract(summed["count"], least)
        summed = summed.set_column(1, "count", left).filter(pc.greater(left, 0))
        removed += least
    return ValueCounts(summed, removed)


def _text_only(distinct: pa.Array) -> pa.Array:
    try:
        distinct.cast(pa.large_string())
        return distinct
    except pa.ArrowInvalid:
        pass
    # Only distinct values of a column that is not text throughout come here.
    return pa.array([value if _is_text(value) else NOT_TEXT for value in distinct.to_pylist()], pa.large_binary())


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
        return True
    except UnicodeDecodeError:
        return False
