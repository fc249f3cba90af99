"""Columns of decoded tf.Examples: their types, and their values converted to these."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common.arrow_types import is_utf8
from headwater.components.common.sources.formats import example
from headwater.components.common.sources.rejections import Rejection, clip

_EXACT_INTEGERS = 1 << 53


def widen_types(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type of a column that is `first` in one range and `second` in another.

    The rules are those that `tfrecord` gives. The order of ranges does not matter.
    """
    several = pa.types.is_list(first) or pa.types.is_list(second)
    one, other = (kind.value_type if pa.types.is_list(kind) else kind for kind in (first, second))
    kind = _widen_values(one, other)
    return pa.list_(kind) if several else kind


class Chunk(NamedTuple):
    """The decoded records of a piece.

    Attributes:
      records: how many there are, rejected ones included.
      data: the piece, padded, uint8.
      plain: the records in `features`, as ascending positions, int64.
      features: of the plain records.
      others: the records that are not plain, as ascending positions, int64.
      parsed: the features of each of the others.
      rejected: the reason by position.
    """

    records: int
    data: np.ndarray
    plain: np.ndarray
    features: example.Features
    others: np.ndarray
    parsed: list[dict[str, example.Feature]]
    rejected: dict[int, str]


def kinds_of(chunk: Chunk) -> Iterator[tuple[str, pa.DataType]]:
    features = chunk.features
    all_text = is_utf8(example.gather_bytes(chunk.data, features.places, features.lengths))
    for number, name in enumerate(features.names):
        own = slice(features.edges[number], features.edges[number + 1])
        count, kind = features.counts[own], features.kind[own]
        kinds = []
        for present in np.flatnonzero(np.bincount(kind[count > 0], minlength=4)).tolist():
            texts = None
            if present == example.BYTES and not all_text:
                chosen = kind == present
                places = example.spread(features.first[own][chosen], count[chosen])
                texts = example.gather_bytes(chunk.data, features.places[places], features.lengths[places])
            kinds.append(_kind_of(present, texts is None or is_utf8(texts)))
        yield name, _column_type(kinds, int(count.max(initial=0)))
    for record in chunk.parsed:
        for name, (form, values) in record.items():
            text = form != example.BYTES or is_utf8(pa.array(values, pa.binary()))
            yield name, _column_type([_kind_of(form, text)] if values else [], len(values))


def _kind_of(kind: int, text: bool) -> pa.DataType:
    if kind == example.BYTES:
        return pa.string() if text else pa.binary()
    return pa.float32() if kind == example.FLOATS else pa.int64()


def _column_type(kinds: Sequence[pa.DataType], most: int) -> pa.DataType:
    kind = functools.reduce(_widen_values, kinds, pa.null())
    return pa.list_(kind) if most > 1 else kind


def _widen_values(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    for one, other in ((first, second), (second, first)):
        if one.equals(other) or pa.types.is_null(one):
            return other
        if pa.types.is_binary(one) or (pa.types.is_string(one) and not pa.types.is_binary(other)):
            return one
    return pa.float64()


def build_batch(chunk: Chunk, schema: pa.Schema, first_row: int) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    positions = np.concatenate([chunk.plain, chunk.others])
    order = np.argsort(positions, kind="stable") if len(chunk.others) else None
    rejections = [Rejection(first_row + position, None, reason, None) for position, reason in chunk.rejected.items()]
    bad = np.zeros(len(positions), bool)
    numbers = {name: number for number, name in enumerate(chunk.features.names)}
    columns = []
    for field in schema:
        column, failed = _plain_column(chunk, numbers.get(field.name), field.type)
        if len(chunk.others):
            more, too = _parsed_column([record.get(field.name) for record in chunk.parsed], field.type)
            column = pa.concat_arrays([column, more]).take(pa.array(order))
            failed = np.concatenate([failed, too])
        columns.append(column)
        # A row is rejected once, for the first column that fails.
        for place in np.flatnonzero(failed & ~bad).tolist():
            value = _value_at(chunk, place, field.name, numbers)
            rejections.append(
                Rejection(first_row + int(positions[place]), field.name, f"type: not {field.type}", value)
            )
        bad |= failed
    rows = first_row + (positions if order is None else positions[order])
    whole = pa.Array.from_buffers(pa.struct(list(schema)), len(rows), [None], 0, children=columns)
    # By way of a struct, as rows without columns are rows too.
    batch = pa.RecordBatch.from_struct_array(whole)
    if bad.any():
        kept = ~bad if order is None else ~bad[order]
        batch, rows = batch.filter(pa.array(kept)), rows[kept]
    return batch, rows, sorted(rejections, key=lambda rejection: rejection.row)


def _value_at(chunk: Chunk, place: int, name: str, numbers: Mapping[str, int]) -> str | None:
    """What a rejected record holds; its first values are enough."""
    if place >= len(chunk.plain):
        kind, values = chunk.parsed[place - len(chunk.plain)][name]
    else:
        features, number = chunk.features, numbers[name]
        edges = slice(features.edges[number], features.edges[number + 1])
        entry = int(edges.start + np.searchsorted(features.record[edges], place))
        kind, values = _values_of(chunk, entry, 16)
    if kind == example.BYTES:
        return clip(values[0]) if is_utf8(pa.array(values[:1], pa.binary())) else None
    return clip(str(values if len(values) > 1 else values[0]))


def _values_of(chunk: Chunk, entry: int, most: int) -> example.Feature:
    features = chunk.features
    kind, first = int(features.kind[entry]), int(features.first[entry])
    stop = first + min(int(features.counts[entry]), most)
    if kind == example.BYTES:
        own = slice(first, stop)
        return kind, example.gather_bytes(chunk.data, features.places[own], features.lengths[own]).to_pylist()
    values = features.floats if kind == example.FLOATS else features.ints
    return kind, values[first:stop].tolist()


def _plain_column(chunk: Chunk, number: int | None, target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """A column of the plain records, missing where the target cannot hold a record's values; and where that is."""
    features, records = chunk.features, len(chunk.plain)
    failed = np.zeros(records, bool)
    if number is None:
        return pa.nulls(records, target), failed
    own = np.arange(features.edges[number], features.edges[number + 1])
    own = own[features.kind[own] != example.NONE]
    if not len(own):
        return pa.nulls(records, target), failed
    record, count, kind, first = features.record[own], features.counts[own], features.kind[own], features.first[own]
    several = pa.types.is_list(target)
    if not several:
        failed[record[count > 1]] = True
        single = count == 1
        record, count, kind, first = record[single], count[single], kind[single], first[single]
    values, held = _gather(chunk, kind, first, count, target.value_type if several else target)
    failed[np.repeat(record, count)[~held]] = True
    if several:
        return _lists_of(target, values, record, count, records), failed
    if len(record) == records:
        return values, failed
    index = np.full(records, -1, np.int64)
    index[record] = np.arange(len(record))
    return values.take(pa.array(index, mask=index < 0)), failed


def _lists_of(target: pa.DataType, values: pa.Array, record: np.ndarray, count: np.ndarray, records: int) -> pa.Array:
    lengths, valid = np.zeros(records, np.int64), np.zeros(records, bool)
    lengths[record], valid[record] = count, True
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    buffers = [pa.py_buffer(np.packbits(valid, bitorder="little").tobytes()), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(target, records, buffers, records - len(record), children=[values])


def _gather(
    chunk: Chunk, kind: np.ndarray, first: np.ndarray, count: np.ndarray, target: pa.DataType
) -> tuple[pa.Array, np.ndarray]:
    """The values of some features one after the other as the target; and which it holds, the others being missing."""
    parts, held, begin, total = [], [], np.zeros(len(kind), np.int64), 0
    for number in np.flatnonzero(np.bincount(kind, minlength=4)).tolist():
        own = np.flatnonzero(kind == number)
        converted, good = _convert(chunk, number, example.spread(first[own], count[own]), target)
        begin[own] = total + np.cumsum(count[own]) - count[own]
        total += len(converted)
        parts.append(converted)
        held.append(good)
    if not parts:
        return pa.nulls(0, target), np.zeros(0, bool)
    if len(parts) == 1:
        return parts[0], held[0]
    order = example.spread(begin, count)
    return pa.concat_arrays(parts).take(pa.array(order)), np.concatenate(held)[order]


def _convert(chunk: Chunk, kind: int, places: np.ndarray, target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    features = chunk.features
    if kind == example.BYTES:
        values = example.gather_bytes(chunk.data, features.places[places], features.lengths[places])
    else:
        values = (features.floats if kind == example.FLOATS else features.ints)[places]
    return _convert_values(kind, values, target)


def _convert_values(kind: int, values: pa.Array | np.ndarray, target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Values of one kind as the target, missing where it cannot hold them; and which it holds."""
    held = np.ones(len(values), bool)
    texts = pa.types.is_string(target) or pa.types.is_binary(target)
    if kind == example.BYTES:
        if pa.types.is_binary(target):
            return values, held
        if pa.types.is_string(target):
            return _decode_texts(values)
    elif kind == example.FLOATS:
        if pa.types.is_floating(target):
            return pa.array(values.astype(np.float64 if pa.types.is_float64(target) else np.float32, copy=False)), held
    elif pa.types.is_int64(target):
        return pa.array(values), held
    elif pa.types.is_float64(target):
        held = _exact(values)
        return pa.array(values.astype(np.float64), mask=~held), held
    if texts and kind != example.BYTES:
        return pa.array([str(value) for value in values], pa.string()).cast(target), held
    return pa.nulls(len(values), target), ~held


def _exact(values: np.ndarray) -> np.ndarray:
    held = (values >= -_EXACT_INTEGERS) & (values <= _EXACT_INTEGERS)
    for place in np.flatnonzero(~held).tolist():
        held[place] = int(float(int(values[place]))) == int(values[place])
    return held


def _decode_texts(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    try:
        return values.cast(pa.string()), np.ones(len(values), bool)
    except pa.ArrowInvalid:
        pass
    texts: list[str | None] = []
    for value in values.to_pylist():
        try:
            texts.append(value.decode())
        except UnicodeDecodeError:
            texts.append(None)
    return pa.array(texts, pa.string()), np.array([text is not None for text in texts], bool)


def _parsed_column(features: Sequence[example.Feature | None], target: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """As `_plain_column`, from features record by record."""
    several = pa.types.is_list(target)
    value_type = target.value_type if several else target
    results: list = []
    failed = np.zeros(len(features), bool)
    for place, feature in enumerate(features):
        kind, values = feature or (example.NONE, [])
        results.append(None)
        if kind == example.NONE or not (values or several):
            continue
        if not several and len(values) > 1:
            failed[place] = True
            continue
        converted, held = _convert_values(kind, _ARRAYS[kind](values), value_type)
        if not held.all():
            failed[place] = True
        else:
            results[-1] = converted.to_pylist() if several else converted[0].as_py()
    return pa.array(results, target), failed


_ARRAYS: dict[int, Callable[[list], pa.Array | np.ndarray]] = {
    example.BYTES: lambda values: pa.array(values, pa.binary()),
    example.FLOATS: lambda values: np.array(values, np.float32),
    example.INTS: lambda values: np.array(values, np.int64),
}
