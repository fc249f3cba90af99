"""JSON Lines: one object a line, nested objects as structs and arrays as lists.

pyarrow parses whole ranges; the lines that it cannot take are found by halving and read one by one with Python's
parser, so that one bad line costs itself and not its range. Both ways give the same values: no number loses digits,
and texts that look like times are read by the rule of `inferring`, not by pyarrow's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as pajson

from headwater.components.common.sources import inferring
from headwater.components.common.sources.files import SourceFile
from headwater.components.common.sources.formats import jsonarrays, jsonvalues
from headwater.components.common.sources.formats.base import Block, Lines, NoticeOf, Outline, Rows
from headwater.components.common.sources.inferring import has_leaf, map_leaves, widen_inferred
from headwater.components.common.sources.rejections import Rejection, clip
from headwater.components.common.sources.types import cast_rows, cast_values, concat, conform

_FEW_LINES = 64
# pyarrow's parser takes no more at once, and says so only after it has read them.
_MOST_LINES = 100_000
_DEEPEST = 64
_MARK = b"\xef\xbb\xbf"
_TWO_OBJECTS = re.compile(rb"\}[ \t\r]*\{")
_LONG_INTEGER = re.compile(rb"[:,\[\s]-?\d{16,}\s*[,\]}]")
_EXACT_INTEGERS = 2.0**53


def infer_types(data: bytes) -> tuple[int, dict[str, pa.DataType]]:
    """Infers the columns' types from whole lines.

    Values that no type holds together become text: their JSON.

    Returns:
      The number of records, and the type of each column in order of appearance, as `inferring` tells types.
    """
    lines = _lines(data)
    kinds: dict[str, pa.DataType] = {}
    for start, stop, table in _parts(lines, None):
        own = _kinds_of_lines(lines[start:stop]) if table is None else _kinds_of(table, lines[start:stop])
        for name, kind in own.items():
            kinds[name] = widen_inferred(kinds.get(name, pa.null()), kind)
    return len(lines), kinds


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
    # Times are read as the texts they are: pyarrow's parser would take any zone off without a word.
    schema = pa.schema({name: _times_as_text(kind) for name, kind in kinds.items()})
    rejections: list[Rejection] = []
    tables = [schema.empty_table()]
    for start, stop, table in _parts(lines, schema):
        tables.append(_read_lines(lines[start:stop], schema, start, rejections) if table is None else table)
    bad = {rejection.row for rejection in rejections}
    rows = np.array([row for row in range(len(lines)) if row not in bad], np.int64)
    columns = dict(zip(kinds, concat(pa.concat_tables(tables).columns)))
    refused = np.zeros(len(rows), bool)
    for name, kind in kinds.items():
        texts = columns[name]
        if texts.type.equals(kind):
            continue
        columns[name], places = cast_rows(texts, kind, functools.partial(conform, target=kind, cast=_cast))
        for place in places[~refused[places]]:
            text = texts[int(place)].as_py()
            value = clip(text if isinstance(text, str) else str(text))
            rejections.append(Rejection(int(rows[place]), name, f"type: not {kind}", value))
        refused[places] = True
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    if refused.any():
        batch, rows = batch.filter(pa.array(~refused)), rows[~refused]
    rejections = [rejection._replace(row=rejection.row + first_row) for rejection in rejections]
    return batch, rows + first_row, sorted(rejections, key=lambda rejection: rejection.row)


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.removeprefix(_MARK).split(b"\n") if line.strip()]


def _parts(
    lines: Sequence[bytes], schema: pa.Schema | None, start: int = 0
) -> Iterator[tuple[int, int, pa.Table | None]]:
    """The lines in order as tables of exactly `schema`, or of what is in them; None for a few that do not parse."""
    if not lines:
        return
    table = _parse(lines, schema) if len(lines) <= _MOST_LINES else None
    if table is not None or len(lines) <= _FEW_LINES:
        yield start, start + len(lines), table
    else:
        half = len(lines) // 2
        yield from _parts(lines[:half], schema, start)
        yield from _parts(lines[half:], schema, start + half)


def _parse(lines: Sequence[bytes], schema: pa.Schema | None) -> pa.Table | None:
    data = b"\n".join(lines)
    # Deep nesting would overrun the parser's stack, and a NUL its idea of where a text ends; two objects in one line
    # could make up for lines that it gives up on.
    if b"\0" in data or b"[" * _DEEPEST in data or data.count(b"{") > _DEEPEST * len(lines):
        return None
    if _TWO_OBJECTS.search(data):
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


def _kinds_of(table: pa.Table, lines: Sequence[bytes]) -> dict[str, pa.DataType]:
    columns = dict(zip(table.schema.names, concat(table.columns)))
    timed = {
        name: _times_as_text(column.type)
        for name, column in columns.items()
        if has_leaf(column.type, pa.types.is_temporal)
    }
    if timed:
        # Times were texts of JSON before.
        texts = _parse(lines, pa.schema(timed))
        assert texts is not None
        columns.update(zip(timed, concat(texts.columns)))
    rounded = [name for name, column in columns.items() if _beyond_exact(column)]
    kinds = {name: _kind_of(column) for name, column in columns.items()}
    for name in rounded:
        whole = _parse(lines, pa.schema({name: _floats_as_uint64(columns[name].type)}))
        if whole is not None:
            kinds[name] = _kind_of(concat(whole.columns)[0])
            continue
        # Only these lines can hold what a float64 does not.
        for own in _kinds_of_each([line for line in lines if _LONG_INTEGER.search(line)]):
            kinds[name] = widen_inferred(kinds[name], own.get(name, pa.null()))
    return kinds


def _kind_of(column: pa.Array) -> pa.DataType:
    kind = column.type
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _kind_of(part)) for field, part in zip(kind, column.flatten())])
    if pa.types.is_list(kind):
        return pa.list_(_kind_of(column.flatten()))
    if pa.types.is_string(kind):
        return inferring.times(column)
    if pa.types.is_integer(kind):
        ends = pc.min_max(column).as_py()
        return inferring.integers(ends["min"] or 0, ends["max"] or 0)
    return kind


def _beyond_exact(column: pa.Array) -> bool:
    """Whether there are reals that may have been integers which a float64 does not hold."""
    if pa.types.is_struct(column.type):
        return any(_beyond_exact(part) for part in column.flatten())
    if pa.types.is_list(column.type):
        return _beyond_exact(column.flatten())
    if not pa.types.is_floating(column.type):
        return False
    largest = pc.max(pc.abs(column)).as_py()
    return largest is not None and largest >= _EXACT_INTEGERS


def _floats_as_uint64(kind: pa.DataType) -> pa.DataType:
    return pa.uint64() if pa.types.is_floating(kind) else map_leaves(kind, _floats_as_uint64)


def _times_as_text(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_temporal(kind) else map_leaves(kind, _times_as_text)


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    return inferring.parse_times(values, kind) if pa.types.is_temporal(kind) else cast_values(values, kind)


def _kinds_of_lines(lines: Sequence[bytes]) -> dict[str, pa.DataType]:
    kinds: dict[str, pa.DataType] = {}
    for own in _kinds_of_each(lines):
        for name, kind in own.items():
            kinds[name] = widen_inferred(kinds.get(name, pa.null()), kind)
    return kinds


def _kinds_of_each(lines: Sequence[bytes]) -> Iterator[dict[str, pa.DataType]]:
    for line in lines:
        record, _ = jsonvalues.load(line)
        if record is not None:
            yield {name: jsonvalues.kind_of(value) for name, value in record.items()}


def _read_lines(lines: Sequence[bytes], schema: pa.Schema, start: int, rejections: list[Rejection]) -> pa.Table:
    """A few lines one by one; those that cannot be read are added to the rejections by their position."""
    rows: list[list[Any]] = []
    for place, line in enumerate(lines, start):
        record, reason = jsonvalues.load(line)
        if record is None:
            rejections.append(Rejection(place, None, reason, clip(line)))
            continue
        row = []
        for field in schema:
            value = record.get(field.name)
            try:
                row.append(jsonvalues.fit(value, field.type))
            except ValueError:
                text = clip(jsonvalues.dump(value))
                rejections.append(Rejection(place, field.name, f"type: not {field.type}", text))
                break
        else:
            rows.append(row)
    columns = zip(*rows) if rows else [[] for _ in schema]
    return pa.Table.from_arrays([pa.array(column, field.type) for column, field in zip(columns, schema)], schema=schema)


class _JsonLines(Lines):
    name = "jsonl"
    endings = (".jsonl", ".ndjson", ".json")
    converts = True
    hint = "JSON Lines files have one object per line, and arrays or objects over several lines must be in a .json file"

    def plain(self, uri: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        return jsonarrays.as_lines(uri, chunks) if jsonarrays.may_be_document(uri) else chunks

    def look(self, block: Block) -> dict[str, Any]:
        looked = super().look(block)
        if not block.start and jsonarrays.may_be_document(block.file.uri):
            looked["unpack"] = not block.file.place and jsonarrays.is_document(block.data)
            one = block.data.strip()
            looked["wrapped"] = jsonarrays.wrapped_in(one) if block.is_whole and b"\n" not in one else None
        return looked

    def outline(self, file: SourceFile, looks: Sequence[Mapping[str, Any]]) -> Outline:
        key = looks[0].get("wrapped")
        return super().outline(file, looks)._replace(notices=[_wrapped(key)] if key else [])

    def infer_lines(self, data: bytes) -> tuple[int, dict[str, pa.DataType]]:
        return infer_types(data)

    def read_lines(self, data: bytes, kinds: dict[str, pa.DataType], first_row: int) -> Rows:
        return read_rows(data, kinds, first_row)


FORMAT = _JsonLines()


def _wrapped(key: str) -> NoticeOf:
    sentence = (
        f"the file is one object, read as one row, whose {key!r} holds a list of objects; if those are the records, "
        f"write them one per line first, as with jq -c '.[\"{key}\"][]'"
    )
    return "wrapped_records", "warning", key, sentence
