"""JSON Lines: one object a line, nested objects as structs and arrays as lists.

pyarrow parses whole ranges; the lines that it cannot take are found by halving and read one by one with Python's
parser, so that one bad line costs itself and not its range.
"""

from __future__ import annotations

import json
from typing import Any, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as pajson

from headwater.components.common.sources.csv import Rejection, clip
from headwater.components.common.sources.types import conform, widen

FIRST_ROW = 1
"""The number of a file's first record; blank lines are not counted."""

_FEW_LINES = 64
_DEEPEST = 64
_MARK = b"\xef\xbb\xbf"


def infer_types(data: bytes) -> tuple[int, dict[str, pa.DataType]]:
    """Infers the columns' types from whole lines.

    Values that no type holds together become text: their JSON.

    Returns:
      The number of records, and the type of each column in order of appearance.
    """
    lines = _lines(data)
    kinds: dict[str, pa.DataType] = {}
    for table in _tables(lines, None, []):
        for field in table.schema:
            kinds[field.name] = widen_json(kinds.get(field.name, pa.null()), _settle(field.type))
    return len(lines), kinds


def widen_json(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type for values read as either; text, as JSON writes it, where nothing else holds both."""
    return widen(first, second) or pa.string()


def read_rows(
    data: bytes, kinds: dict[str, pa.DataType], first_row: int
) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    """The typed rows of whole lines.

    Args:
      data: whole lines.
      kinds: the columns' types; a key that is none of them is not read.
      first_row: the number of the first record in the source.

    Returns:
      The rows that could be read; the number of each in the source, int64; and the others.
    """
    lines = _lines(data)
    schema = pa.schema(kinds)
    rejections: list[Rejection] = []
    tables = list(_tables(lines, schema, rejections))
    bad = {rejection.row for rejection in rejections}
    rows = np.array([row for row in range(len(lines)) if row not in bad], np.int64)
    rejections = [rejection._replace(row=rejection.row + first_row) for rejection in rejections]
    table = pa.concat_tables(tables) if tables else schema.empty_table()
    batches = table.combine_chunks().to_batches()
    batch = (
        batches[0]
        if batches
        else pa.RecordBatch.from_arrays([pa.array([], kind) for kind in kinds.values()], list(kinds))
    )
    return batch, rows + first_row, rejections


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.removeprefix(_MARK).split(b"\n") if line.strip()]


def _tables(
    lines: Sequence[bytes], schema: pa.Schema | None, rejections: list[Rejection], start: int = 0
) -> Iterator[pa.Table]:
    """The lines as tables in order; each of exactly `schema`, or of what is in it when that is to be found out."""
    if not lines:
        return
    table = _parse(lines, schema)
    if table is not None:
        yield table
    elif len(lines) <= _FEW_LINES:
        yield from _one_by_one(lines, schema, rejections, start)
    else:
        half = len(lines) // 2
        yield from _tables(lines[:half], schema, rejections, start)
        yield from _tables(lines[half:], schema, rejections, start + half)


def _parse(lines: Sequence[bytes], schema: pa.Schema | None) -> pa.Table | None:
    data = b"\n".join(lines)
    # Deep nesting would overrun the parser's stack, and a NUL its idea of where a text ends.
    if b"\0" in data or b"[" * _DEEPEST in data or data.count(b"{") > _DEEPEST * len(lines):
        return None
    options = pajson.ParseOptions(
        explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
    )
    read = pajson.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        data.decode()
        table = pajson.read_json(pa.BufferReader(data), read, options)
        if table.num_rows != len(lines):
            return None
        return table if schema is None else table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, UnicodeDecodeError, KeyError, ValueError):
        return None


def _one_by_one(
    lines: Sequence[bytes], schema: pa.Schema | None, rejections: list[Rejection], start: int
) -> Iterator[pa.Table]:
    for place, line in enumerate(lines, start):
        record, reason = _load(line)
        if record is None:
            rejections.append(Rejection(place, None, reason, clip(line)))
        elif schema is None:
            yield pa.table({name: pa.array([None], _kind_of(value)) for name, value in record.items()})
        else:
            columns = []
            for field in schema:
                value = record.get(field.name)
                try:
                    columns.append(_convert(value, field.type))
                except (
                    pa.ArrowInvalid,
                    pa.ArrowTypeError,
                    pa.ArrowNotImplementedError,
                    ValueError,
                    TypeError,
                    OverflowError,
                ):
                    text = clip(json.dumps(value))
                    rejections.append(Rejection(place, field.name, f"type: not {field.type}", text))
                    break
            else:
                yield pa.Table.from_arrays(columns, schema=schema)


def _load(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None, "encoding: not UTF-8"
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None, "json: the line is no JSON object"
    if not isinstance(record, dict) or not record:
        return None, "json: the line is no JSON object with columns"
    if any("\ud800" <= character <= "\udfff" for character in json.dumps(record, ensure_ascii=False)):
        return None, "encoding: half of a surrogate pair is no character"
    return record, ""


def _kind_of(value: Any) -> pa.DataType:
    try:
        return _settle(pa.infer_type([value]))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError):
        return pa.string()


def _convert(value: Any, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(1, kind)
    if pa.types.is_string(kind) and not isinstance(value, str):
        return pa.array([json.dumps(value)], kind)
    if isinstance(value, str) and not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        if not pa.types.is_temporal(kind):
            raise ValueError
        return pc.cast(pa.array([value]), kind)
    if pa.types.is_boolean(kind) != isinstance(value, bool):
        raise ValueError
    if isinstance(value, (dict, list)):
        found = pa.array([value])
        return conform(found, kind)
    return pa.array([value], kind)


def _settle(kind: pa.DataType) -> pa.DataType:
    """An inferred type as the type that Parquet keeps unchanged."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_struct(kind):
        if not kind.num_fields:
            return pa.string()
        return pa.struct([pa.field(field.name, _settle(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_settle(kind.value_type))
    return kind
