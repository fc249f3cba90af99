"""A record batch as features: each path's values in one flat array, and the row that each value stands in.

A column is a feature, and so is what a struct or a map holds. The levels of a feature say which lists are present and
how long they are; a plain column has one level, whose lists hold one value each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.generate_statistics.measure.conversion import as_lists, is_list, is_plain, measured, to_values

INT, FLOAT, STRING, BYTES, STRUCT, UNKNOWN = 0, 1, 2, 3, 4, -1
"""Types of features, by TFMD's numbers; unknown while no value's type was seen."""


@dataclasses.dataclass(frozen=True)
class Level:
    """The lists of one nest level that are present.

    Attributes:
      rows: the row of each, int64; None when they are the batch's rows, one each.
      lengths: how many elements each has, int64; None when each has one.
      count: how many there are.
    """

    rows: np.ndarray | None
    lengths: np.ndarray | None
    count: int

    @property
    def total(self) -> int:
        """How many elements the lists have together."""
        return self.count if self.lengths is None else int(self.lengths.sum())


@dataclasses.dataclass(frozen=True)
class Feature:
    """What one path holds in some rows.

    Attributes:
      path: the column's name, then the names of fields within.
      kind: `INT`, `FLOAT`, `STRING`, `STRUCT` or `UNKNOWN`.
      levels: from the outermost list to the innermost.
      inner: of nested lists: how many innermost elements each list of the first level has, int64.
      values: the innermost values without missing ones; None for structs and where the type is unknown.
      rows: the row of each value, int64; None when each row has one value.
    """

    path: tuple[str, ...]
    kind: int
    levels: list[Level]
    inner: np.ndarray | None
    values: pa.Array | None
    rows: np.ndarray | None


def features(batch: pa.RecordBatch, skipped: Collection[str] = ()) -> Iterator[Feature]:
    """The features of a record batch: its measured columns, and what they hold.

    Args:
      batch: the rows.
      skipped: columns that are left out.
    """
    for name in measured(batch.schema):
        if name in skipped:
            continue
        column = batch.column(batch.schema.get_field_index(name))
        if is_plain(column.type):
            yield _plain((name,), column)
        else:
            yield from _nested((name,), as_lists(column), np.arange(batch.num_rows))


def _plain(path: tuple[str, ...], column: pa.Array) -> Feature:
    while isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if not column.null_count:
        values = to_values(column)
        return Feature(path, _kind(values.type), [Level(None, None, len(column))], None, values, None)
    valid = pc.is_valid(column)
    rows = np.flatnonzero(valid.to_numpy(zero_copy_only=False))
    values = to_values(column.filter(valid))
    return Feature(path, _kind(values.type), [Level(rows, None, len(rows))], None, values, rows)


def _nested(path: tuple[str, ...], array: pa.Array, rows: np.ndarray) -> Iterator[Feature]:
    levels = []
    owner: np.ndarray | None = None
    while is_list(array.type):
        valid = pc.is_valid(array).to_numpy(zero_copy_only=False)
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)[valid]
        levels.append(Level(rows[valid], lengths, len(lengths)))
        rows = np.repeat(rows[valid], lengths)
        # The list of the first level that each element belongs to.
        owner = np.repeat(np.arange(len(lengths)) if owner is None else owner[valid], lengths)
        array = array.flatten()
    inner = np.bincount(owner, minlength=levels[0].count) if owner is not None and len(levels) > 1 else None
    if not levels:
        levels = [Level(np.empty(0, np.int64), None, 0)]
    if pa.types.is_struct(array.type):
        yield Feature(path, STRUCT, levels, inner, None, None)
        for place, field in enumerate(array.type):
            # `field` would ignore the array's own offset.
            yield from _nested((*path, field.name), array.flatten()[place], rows)
        return
    kind = _kind(array.type)
    yield Feature(path, kind, levels, inner, None if kind == UNKNOWN else array, rows)


def _kind(kind: pa.DataType) -> int:
    if pa.types.is_integer(kind):
        return INT
    if pa.types.is_floating(kind):
        return FLOAT
    return UNKNOWN if pa.types.is_null(kind) else STRING
