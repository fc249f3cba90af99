"""Classes that other data holds in a column, by key: gold, and the truth that labels are compared with."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.partitions import PartitionResults
from headwater.components.label import attribution
from headwater.components.label.attribution import Coded, Other
from headwater.components.label.attribution.columns import On, match_columns
from headwater.components.label.classes import check_kind, numbers
from headwater.components.label.methods import Context, Item


class ByKey(NamedTuple):
    """A column of other data.

    Attributes:
      where: the setting's name, for errors.
      column: its name.
      other: the data.
      on: the dataset's key on both sides.
    """

    where: str
    column: str
    other: Other
    on: On

    def find(self, items: Sequence[Item], schema: pa.Schema, scratch: str, beam: Mapping[str, Any]) -> PartitionResults:
        """The classes of all items' rows; `attribution.codes_of` reads them.

        Raises:
          HeadwaterError: a value is no class, or a key has two classes.
        """
        what = self.where.rpartition(".")[2]
        joined = attribution.join(what, items, schema, self.other, self.on, attribution.UNTIMED, scratch, beam)
        if joined.other["outside"]:
            raise outside(self.where, self.column, joined.other["outside"], self.other.classes)
        if joined.rows["disputed"]:
            raise HeadwaterError(
                f"{self.where}: {joined.rows['disputed']:,} keys have two classes; {what} must have one class for each "
                "key"
            )
        return joined.matches

    def among(self, batch: pa.RecordBatch) -> np.ndarray:
        """The classes of a sample's rows, int8; -1 where there is none."""
        return np.maximum(attribution.among(batch, self.other, self.on), attribution.NOTHING)


def by_key(where: str, context: Context, name: str, column: str, classes: Sequence[str]) -> ByKey:
    """A column of an input.

    Args:
      where: the setting that names it, for errors.
      context: has the inputs.
      name: of the input.
      column: holds the class; rows without one are passed over.
      classes: their names.

    Raises:
      HeadwaterError: there is no such input or column, or it lacks the dataset's key.
    """
    data = context.input(f"{where}_input", name)
    if column not in data.schema.names:
        raise HeadwaterError(f"{where}: there is no column {column!r}; the columns are {', '.join(data.schema.names)}")
    on = match_columns(where, context.dataset, data, {})
    schema = pa.schema([data.schema.field(each) for each in dict.fromkeys([*on.other, column])])
    elements = [element for split in data.splits for element in data.elements(split) if element.rows]
    if elements:
        check_kind(where, column, data.schema.field(column).type)
    return ByKey(
        where, column, Other(elements, schema, functools.partial(_column, column, tuple(classes)), tuple(classes)), on
    )


def outside(where: str, column: str, rows: int, classes: Sequence[str]) -> HeadwaterError:
    """The error of a column that holds other than classes."""
    return HeadwaterError(
        f"{where}: column {column!r} has a value that is not one of the classes on {rows:,} rows; the classes are "
        f"{', '.join(classes)}"
    )


def _column(column: str, classes: Sequence[str], batch: pa.RecordBatch) -> Coded:
    return Coded(numbers(batch.column(batch.schema.get_field_index(column)), classes), 0)
