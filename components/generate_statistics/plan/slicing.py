"""Slices: rows with the same values of chosen columns, or rows for which a SQL predicate holds.

Slices by columns are found first, by counting; the largest are measured, up to a limit, and the rest is counted. They
are named as TFDV names them: `country_US`, and for several columns, in order of their names, `country_US_device_phone`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import evaluate
from headwater.components.generate_statistics.measure.conversion import is_list
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state.counts import Counts

MOST_VALUES = 16
"""A row may have so many different values of a column that slices; more are refused."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """Slices by the values of some columns.

    Attributes:
      columns: in order of their names.
      values: of each slice, the columns' values as text.
    """

    columns: tuple[str, ...]
    values: tuple[tuple[str, ...], ...] = ()

    @property
    def names(self) -> list[str]:
        """The slices' names."""
        return ["_".join(f"{c}_{v}" for c, v in zip(self.columns, values)) for values in self.values]


@dataclasses.dataclass(frozen=True)
class Slicing:
    """All slices.

    Attributes:
      specs: by columns.
      predicates: names and SQL.
      label: the column whose slices are labels.
    """

    specs: tuple[Spec, ...] = ()
    predicates: tuple[tuple[str, str], ...] = ()
    label: str = ""

    @property
    def names(self) -> list[str]:
        """The slices' names, in order."""
        return [name for spec in self.specs for name in spec.names] + [name for name, _ in self.predicates]

    @property
    def labels(self) -> list[str]:
        """The names of the labels' slices."""
        return [name for spec in self.specs if spec.columns == (self.label,) for name in spec.names]


def group(batch: pa.RecordBatch, slicing: Slicing) -> list[list[np.ndarray]]:
    """The slice of each row, counted from 1; -1 for none.

    Returns:
      Layers of arrays, int32, one a row. Arrays of one layer tell of different slices; a row that is in several slices
      of one spec is in one of them in each layer.

    Raises:
      HeadwaterError: a predicate is no boolean, or cannot be computed.
    """
    layers: list[list[np.ndarray]] = [[]]
    first = 1
    for spec in slicing.specs:
        for place, codes in enumerate(_codes(batch, spec)):
            if place == len(layers):
                layers.append([])
            layers[place].append(np.where(codes >= 0, codes + first, -1).astype(np.int32))
        first += len(spec.values)
    for name, expression in slicing.predicates:
        values, failed = evaluate(f"slices.{name}", expression, batch)
        if not pa.types.is_boolean(values.type):
            raise HeadwaterError(f"slices.{name}: the predicate must be true or false, not {values.type}")
        inside = pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool) & ~failed
        layers[0].append(np.where(inside, first, -1).astype(np.int32))
        first += 1
    return layers


def count_slices(batch: pa.RecordBatch, columns: Sequence[Sequence[str]]) -> Counts:
    """How many rows there are with each combination of values; the place in `columns` is the key.

    Every combination is one binary value, see `split_values`; the rows that have one at all stand under the empty one.
    """
    tables = []
    colon, empty = (pa.scalar(text, pa.large_binary()) for text in (b":", b""))
    for key, names in enumerate(columns):
        total = 0
        for layer in _layers(batch, names):
            valid = layer[0].is_valid()
            for column in layer[1:]:
                valid = pc.and_(valid, column.is_valid())
            parts: list[Any] = []
            for column in layer:
                value = column.filter(valid).cast(pa.large_binary())
                parts += [pc.binary_length(value).cast(pa.string()).cast(pa.large_binary()), colon, value]
            joined = pc.binary_join_element_wise(*parts, empty)
            total += len(joined)
            counted = joined.value_counts()
            tables.append(_table(key, counted.field(0), counted.field(1).to_numpy()))
        tables.append(_table(key, pa.array([b""], pa.large_binary()), np.array([total])))
    return counting.join(tables)


def split_values(value: bytes) -> tuple[str, ...]:
    """The texts of a combination."""
    result = []
    while value:
        size, _, rest = value.partition(b":")
        result.append(rest[: int(size)].decode(errors="replace"))
        value = rest[int(size) :]
    return tuple(result)


def check_sliceable(column: str, kind: pa.DataType) -> None:
    """Refuses a column whose values make no slices.

    Raises:
      HeadwaterError: names the column, its type and what to do.
    """
    inner = kind
    while is_list(inner) or pa.types.is_dictionary(inner):
        inner = inner.value_type
    text = is_text(inner)
    if not (text or pa.types.is_integer(inner) or pa.types.is_boolean(inner) or pa.types.is_date(inner)):
        raise HeadwaterError(
            f"slices: column {column!r} is {kind}; only text, integers, booleans and dates can be sliced by; use a "
            'predicate, as in {name: "heavy", where: "weight > 100"}'
        )


def _table(key: int, values: pa.Array, counts: np.ndarray) -> Counts:
    return Counts(np.full(len(values), key), values, counts.astype(np.int64), np.zeros(len(values)))


def _codes(batch: pa.RecordBatch, spec: Spec) -> list[np.ndarray]:
    """The slice of each row, counted from 0, by layer."""
    known = [pa.array(sorted({values[place] for values in spec.values})) for place in range(len(spec.columns))]
    cells: dict[tuple[int, ...], int] = {}
    where = [{value: code for code, value in enumerate(values.to_pylist())} for values in known]
    for number, values in enumerate(spec.values):
        cells[tuple(where[place][value] for place, value in enumerate(values))] = number
    strides = np.cumprod([1, *(max(1, len(values)) for values in known[:-1])]).astype(np.int64)
    wanted = np.array([int(np.dot(cell, strides)) for cell in cells], np.int64)
    order = np.argsort(wanted)
    numbers = np.array(list(cells.values()), np.int64)[order]
    wanted = wanted[order]
    result = []
    for layer in _layers(batch, spec.columns):
        cell, inside = np.zeros(batch.num_rows, np.int64), np.ones(batch.num_rows, bool)
        for column, values, stride in zip(layer, known, strides):
            places = pc.index_in(column, value_set=values)
            inside &= places.is_valid().to_numpy(zero_copy_only=False)
            cell += pc.fill_null(places, 0).to_numpy(zero_copy_only=False).astype(np.int64) * stride
        if not len(wanted):
            result.append(np.full(batch.num_rows, -1))
            continue
        place = np.minimum(np.searchsorted(wanted, cell), len(wanted) - 1)
        result.append(np.where(inside & (wanted[place] == cell), numbers[place], -1))
    return result


def _layers(batch: pa.RecordBatch, names: Sequence[str]) -> list[list[pa.Array]]:
    """The columns as text, at most one value a row; more values lead to more layers."""
    columns = [_texts(name, batch.column(batch.schema.get_field_index(name))) for name in names]
    layers: list[list[pa.Array]] = [[]]
    for layered in columns:
        layers = [[*layer, column] for layer in layers for column in layered]
    return layers


def _texts(name: str, column: pa.Array) -> list[pa.Array]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not is_list(column.type):
        return [_text(column)]
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    flat = column.flatten()
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    encoded = _text(flat).dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(column)), lengths)
    size = max(1, len(encoded.dictionary))
    # Each value of a row once.
    pairs = np.unique(rows[codes >= 0] * size + codes[codes >= 0])
    rows, codes = pairs // size, pairs % size
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    most = int(place.max(initial=0)) + 1
    if most > MOST_VALUES:
        raise HeadwaterError(
            f"slices: column {name!r} has a row with {most} different values; at most {MOST_VALUES} are allowed"
        )
    result = []
    for layer in range(most):
        chosen = np.full(len(column), -1)
        chosen[rows[place == layer]] = codes[place == layer]
        result.append(encoded.dictionary.take(pa.array(chosen, mask=chosen < 0)))
    return result


def _text(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())
