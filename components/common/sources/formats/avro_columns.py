"""Columns of values that were decoded from Avro: Arrow checks and converts them whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.sources.types import conform


class Node(NamedTuple):
    """How one type of a schema is read.

    Attributes:
      kind: the column's type.
      plain: for fastavro: encoded alike, without text, names or logical types.
      build: makes values that fastavro read, or None, a column; raises ArrowInvalid when it cannot hold one.
      smallest: the fewest bytes that a value takes.
    """

    kind: pa.DataType
    plain: Any
    build: Callable[[Sequence], pa.Array]
    smallest: int


def build_leaf(kind: pa.DataType, values: Sequence) -> pa.Array:
    return pa.array(values, kind)


def build_null(values: Sequence) -> pa.Array:
    return pa.nulls(len(values))


def build_text(values: Sequence) -> pa.Array:
    return pa.array(values, pa.binary()).cast(pa.string())


def build_view(storage_kind: pa.DataType, kind: pa.DataType, values: Sequence) -> pa.Array:
    return pa.array(values, storage_kind).view(kind)


def build_time(storage_kind: pa.DataType, kind: pa.DataType, a_day: int, values: Sequence) -> pa.Array:
    numbers = pa.array(values, storage_kind)
    span = pc.min_max(numbers).as_py()
    if span["min"] is not None and not 0 <= span["min"] <= span["max"] < a_day:
        raise ValueError
    return numbers.view(kind)


def build_decimal(kind: pa.DataType, values: Sequence) -> pa.Array:
    bound = 10**kind.precision
    parts = []
    for value in values:
        number = 0 if value is None else int.from_bytes(value, "big", signed=True)
        if not -bound < number < bound:
            raise ValueError
        parts.append(number.to_bytes(16, "little", signed=True))
    validity, missing = _validity(values)
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(b"".join(parts))], missing)


def build_enum(symbols: pa.Array, values: Sequence) -> pa.Array:
    places = pa.array(values, pa.int64())
    span = pc.min_max(places).as_py()
    if span["min"] is not None and not 0 <= span["min"] <= span["max"] < len(symbols):
        raise ValueError
    return symbols.take(places)


def build_struct(kind: pa.DataType, nodes: Sequence[Node], values: Sequence) -> pa.Array:
    empty = (None,) * len(nodes)
    columns = zip(*[empty if value is None else value.values() for value in values]) if values else ((),) * len(nodes)
    children = [node.build(column) for node, column in zip(nodes, columns)]
    validity, missing = _validity(values)
    return pa.Array.from_buffers(kind, len(values), [validity], missing, children=children)


def build_list(kind: pa.DataType, item: Node, values: Sequence) -> pa.Array:
    items = list(itertools.chain.from_iterable(value for value in values if value))
    validity, missing = _validity(values)
    buffers = [validity, _offsets(values)]
    return pa.Array.from_buffers(kind, len(values), buffers, missing, children=[item.build(items)])


def build_map(kind: pa.DataType, item: Node, values: Sequence) -> pa.Array:
    # A key that comes again replaces the earlier value.
    maps = [None if value is None else dict(tuple(pair.values()) for pair in value) for value in values]
    keys = build_text(list(itertools.chain.from_iterable(value.keys() for value in maps if value)))
    items = item.build(list(itertools.chain.from_iterable(value.values() for value in maps if value)))
    pairs = pa.struct([kind.key_field.with_nullable(False), kind.item_field])
    entries = pa.Array.from_buffers(pairs, len(keys), [None], 0, children=[keys, items])
    validity, missing = _validity(maps)
    return pa.Array.from_buffers(kind, len(maps), [validity, _offsets(maps)], missing, children=[entries])


def build_union(kind: pa.DataType, branches: dict[str, Node], values: Sequence) -> pa.Array:
    taken: dict[str, list] = {name: [] for name in branches}
    names = list(branches)
    places: list[tuple[str, int] | None] = []
    for value in values:
        if value is None:
            places.append(None)
        else:
            [(name, inner)] = value.items()
            places.append((name, len(taken[name])))
            taken[name].append(inner)
    starts = dict(zip(names, np.cumsum([0, *(len(taken[name]) for name in names)]).tolist()))
    parts = [conform(branches[name].build(taken[name]), kind) for name in names]
    index = [None if place is None else starts[place[0]] + place[1] for place in places]
    return pa.concat_arrays(parts).take(pa.array(index, pa.int64()))


def _validity(values: Sequence) -> tuple[pa.Buffer | None, int]:
    valid = np.fromiter((value is not None for value in values), bool, len(values))
    missing = len(values) - int(valid.sum())
    return (pa.py_buffer(np.packbits(valid, bitorder="little").tobytes()) if missing else None), missing


def _offsets(values: Sequence) -> pa.Buffer:
    lengths = np.fromiter((len(value) if value else 0 for value in values), np.int64, len(values))
    return pa.py_buffer(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32).tobytes())
