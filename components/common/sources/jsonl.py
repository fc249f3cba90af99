"""JSON Lines: one object a line, nested objects as structs and arrays as lists.

pyarrow parses whole ranges; the lines that it cannot take are found by halving and read one by one with Python's
parser, so that one bad line costs itself and not its range. pyarrow rounds long integers and shifts times to UTC without
a word, so columns of these are looked at as text.
"""

from __future__ import annotations

import decimal
import json
import math
import re
from typing import Any, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as pajson

from headwater.components.common.sources.cells import leaves
from headwater.components.common.sources.csv import Rejection, clip
from headwater.components.common.sources.types import (
    EXACT_INTEGERS,
    LONG_INTEGERS,
    concat,
    conform,
    infer_times,
    is_beyond_exact,
    widen_inferred,
)

FIRST_ROW = 1
"""The number of a file's first record; blank lines are not counted."""

_FEW_LINES = 64
_DEEPEST = 64
_MARK = b"\xef\xbb\xbf"
_LONG_INTEGER = re.compile(rb"[:\[,\s]-?[0-9]{16,}\s*[,\]}]")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}[T ]")


def infer_types(data: bytes) -> tuple[int, dict[str, pa.DataType], set[str]]:
    """Infers the columns' types from whole lines.

    Values that no type holds together exactly become text: as JSON writes them.

    Returns:
      The number of records; the type of each column in order of appearance, `types.LONG_INTEGERS` among them; and the
      columns that mix timestamps with and without a zone.
    """
    lines = _lines(data)
    kinds: dict[str, pa.DataType] = {}
    mixed: set[str] = set()
    for found in _infer(lines, mixed):
        for name, kind in found.items():
            kinds[name] = widen_inferred(kinds.get(name, pa.null()), kind)
    return len(lines), kinds, mixed


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


def _infer(lines: Sequence[bytes], mixed: set[str]) -> Iterator[dict[str, pa.DataType]]:
    """The types of the columns of some lines, part by part."""
    if not lines:
        return
    table = _parse(lines, None)
    if table is None and len(lines) <= _FEW_LINES:
        # Lines that will be rejected have no say.
        records = [(line, record) for line, (record, _) in zip(lines, map(_load, lines)) if record is not None]
        lines = [line for line, _ in records]
        table = _parse(lines, None) if lines else None
        if table is None:
            yield from ({name: _kind_of(value) for name, value in record.items()} for _, record in records)
            return
    if table is not None:
        yield _kinds_of(table, lines, mixed)
    else:
        half = len(lines) // 2
        yield from _infer(lines[:half], mixed)
        yield from _infer(lines[half:], mixed)


def _kinds_of(table: pa.Table, lines: Sequence[bytes], mixed: set[str]) -> dict[str, pa.DataType]:
    """The types that keep what a table was parsed from: numbers by their digits, times by their zones."""
    kinds = {field.name: _settle(field.type) for field in table.schema}
    for name in [name for name in kinds if _is_rounded(table[name], lines)]:
        unsigned = pa.schema([(name, pa.uint64())])
        whole = pa.types.is_float64(kinds[name]) and _parse(lines, unsigned) is not None
        kinds[name] = pa.uint64() if whole else pa.string()
    for name, kind in kinds.items():
        if pa.types.is_int64(kind) and is_beyond_exact(table[name]):
            kinds[name] = LONG_INTEGERS
    times = {name: _as_text(kind) for name, kind in kinds.items() if _may_be_time(table[name], kind)}
    texts = _parse(lines, pa.schema(times)) if times else None
    for name in times:
        text = texts is not None
        kinds[name] = _with_zones(concat([texts[name]])[0], kinds[name], name, mixed) if text else pa.string()
    return kinds


def _is_rounded(column: pa.ChunkedArray, lines: Sequence[bytes]) -> bool:
    """Whether a number of a column may have lost digits: a long integer that was read as float64."""
    floats = [leaf for chunk in column.chunks for leaf in leaves(chunk) if pa.types.is_floating(leaf.type)]
    if not any(is_beyond_exact(leaf) for leaf in floats):
        return False
    return any(_LONG_INTEGER.search(line) for line in lines)


def _may_be_time(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    if pa.types.is_string(kind) and pa.types.is_string(column.type):
        first = next((chunk.drop_null()[0].as_py() for chunk in column.chunks if chunk.null_count < len(chunk)), "")
        return bool(_DATE.match(first))
    return not _as_text(kind).equals(kind)


def _with_zones(texts: pa.Array, kind: pa.DataType, name: str, mixed: set[str]) -> pa.DataType:
    """A type with its timestamps as their texts tell them."""
    if pa.types.is_string(texts.type):
        found, mixture = infer_times(texts)
        if mixture:
            mixed.add(name)
        if found is None and not mixture and pa.types.is_timestamp(kind):
            # Dates alone, or beside times of the day.
            found = kind if _is_castable(texts, kind) else None
        return found or pa.string()
    if pa.types.is_struct(kind):
        parts = zip(kind, texts.flatten())
        return pa.struct([pa.field(field.name, _with_zones(part, field.type, name, mixed)) for field, part in parts])
    if pa.types.is_list(kind):
        return pa.list_(_with_zones(texts.flatten(), kind.value_type, name, mixed))
    return kind


def _is_castable(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        pc.cast(texts, kind)
        return True
    except pa.ArrowInvalid:
        return False


def _as_text(kind: pa.DataType) -> pa.DataType:
    """A type with text in the place of its timestamps: text knows its zone."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _as_text(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_as_text(kind.value_type))
    return kind


def _tables(
    lines: Sequence[bytes], schema: pa.Schema, rejections: list[Rejection], start: int = 0
) -> Iterator[pa.Table]:
    """The lines as tables of exactly `schema`, in order."""
    if not lines:
        return
    table = _read(lines, schema)
    if table is not None:
        yield table
    elif len(lines) <= _FEW_LINES:
        yield from _one_by_one(lines, schema, rejections, start)
    else:
        half = len(lines) // 2
        yield from _tables(lines[:half], schema, rejections, start)
        yield from _tables(lines[half:], schema, rejections, start + half)


def _read(lines: Sequence[bytes], schema: pa.Schema) -> pa.Table | None:
    """All of the lines at once; None where one of them needs to be looked at."""
    plain = pa.schema([(field.name, _as_text(field.type)) for field in schema])
    table = _parse(lines, plain)
    if table is None:
        quoted = _quote(lines, schema)
        table = _parse(quoted, plain) if quoted is not None else None
    if table is None or any(_is_rounded(column, lines) for column in table.columns):
        return None
    try:
        columns = [conform(column, field.type) for column, field in zip(concat(table.columns), schema)]
    except pa.ArrowInvalid:
        return None
    return pa.Table.from_arrays(columns, schema=schema)


def _quote(lines: Sequence[bytes], schema: pa.Schema) -> Sequence[bytes] | None:
    """The lines with numbers and booleans of text columns as strings, digit for digit; None where there are no such.

    A key's opening quote follows a brace, a comma or a space. Within a string, where quotes are escaped, none does.
    """
    nested = {name for field in schema for name in _names_within(field.type)}
    names = [field.name for field in schema if pa.types.is_string(field.type) and field.name not in nested]
    names = [name for name in names if json.dumps(name, ensure_ascii=False) == f'"{name}"']
    if not names:
        return None
    keys = "|".join(re.escape(name) for name in names)
    pattern = re.compile(rf'([{{,\s]"(?:{keys})"\s*:\s*)(-?[0-9][-+.0-9eE]*|true|false)(?=\s*[,}}])'.encode())
    quoted, count = pattern.subn(rb'\1"\2"', b"\n".join(lines))
    return quoted.split(b"\n") if count else None


def _names_within(kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_struct(kind):
        for field in kind:
            yield field.name
            yield from _names_within(field.type)
    elif pa.types.is_list(kind):
        yield from _names_within(kind.value_type)


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
    lines: Sequence[bytes], schema: pa.Schema, rejections: list[Rejection], start: int
) -> Iterator[pa.Table]:
    for place, line in enumerate(lines, start):
        record, reason = _load(line)
        if record is None:
            rejections.append(Rejection(place, None, reason, clip(line)))
            continue
        columns = []
        for field in schema:
            value = record.get(field.name)
            try:
                columns.append(_convert(value, field.type))
            except (
                pa.ArrowInvalid,
                pa.ArrowTypeError,
                pa.ArrowNotImplementedError,
                decimal.InvalidOperation,
                ValueError,
                TypeError,
                OverflowError,
            ):
                rejections.append(Rejection(place, field.name, f"type: not {field.type}", clip(_write(value))))
                break
        else:
            yield pa.Table.from_arrays(columns, schema=schema)


class _Float(float):
    """A number with a fraction or an exponent, and how it was written."""

    text: str

    def __new__(cls, text: str) -> _Float:
        number = super().__new__(cls, text)
        number.text = text
        return number


class _Twice(Exception):
    """A key that an object has twice: it cannot be told which value was meant."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _Twice(next(key for key in keys if keys.count(key) > 1))
    return found


def _write(value: Any) -> str:
    """A value as JSON, its numbers as they were written."""
    if isinstance(value, _Float):
        return value.text
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_write(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_write, value)) + "]"
    return json.dumps(value)


def _load(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None, "encoding: not UTF-8"
    try:
        record = json.loads(text, parse_float=_Float, object_pairs_hook=_once)
    except _Twice as error:
        return None, f"json: the key {clip(str(error))!r} is there twice"
    except (ValueError, RecursionError):
        return None, "json: the line is no JSON object"
    if not isinstance(record, dict) or not record:
        return None, "json: the line is no JSON object with columns"
    if any("\ud800" <= character <= "\udfff" for character in json.dumps(record, ensure_ascii=False)):
        return None, "encoding: half of a surrogate pair is no character"
    return record, ""


def _kind_of(value: Any) -> pa.DataType:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= EXACT_INTEGERS:
        return LONG_INTEGERS if -(2**63) <= value < 2**63 else pa.uint64() if 0 < value < 2**64 else pa.string()
    try:
        return _settle(pa.infer_type([value]))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError):
        return pa.string()


def _convert(value: Any, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(1, kind)
    if pa.types.is_string(kind) and not isinstance(value, str):
        return pa.array([_write(value)], kind)
    if isinstance(value, str) and not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        if not pa.types.is_temporal(kind):
            raise ValueError
        return pc.cast(pa.array([value]), kind)
    if pa.types.is_boolean(kind) != isinstance(value, bool):
        raise ValueError
    if isinstance(value, (dict, list)):
        return conform(pa.array([value]), kind)
    if isinstance(value, _Float) and math.isinf(value):
        raise OverflowError
    if pa.types.is_decimal(kind):
        return pa.array([decimal.Decimal(_write(value))], kind)
    if pa.types.is_integer(kind) and isinstance(value, float):
        raise ValueError
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
