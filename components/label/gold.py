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
from headwater.components.label.methods import Context, Item, Step


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


def of_step(step: Step, context: Context) -> tuple[str, ByKey | None]:
    """What a step's settings `gold` and `gold_input` name.

    Returns:
      The dataset's column, empty for none; and the column of other data, None for none.

    Raises:
      HeadwaterError: there is no such input or column, it holds no classes, or it is the truth.
    """
    settings, schema, where = step.settings, context.dataset.schema, f"{step.where}.gold"
    if settings.gold_input:
        return "", by_key(where, context, settings.gold_input, settings.gold, step.classes)
    gold = settings.gold
    if not gold:
        return "", None
    if gold not in schema.names:
        raise HeadwaterError(f"{where}: there is no column {gold!r}; the columns are {', '.join(schema.names)}")
    if gold == context.truth:
        raise HeadwaterError(
            f"{where}: {gold!r} is also the truth that labels are evaluated against; data used for fitting cannot be used for "
            "evaluation"
        )
    check_kind(where, gold, schema.field(gold).type)
    return gold, None


def check_named(where: str, gold: str, gold_input: str) -> None:
    """Refuses a `gold_input` without the column that has the class.

    Raises:
      HeadwaterError: there is none.
    """
    if gold_input and not gold:
        raise HeadwaterError(f"{where}.gold: must name the column of the input {gold_input!r} that holds the class")


def outside(where: str, column: str, rows: int, classes: Sequence[str]) -> HeadwaterError:
    """The error of a column that holds other than classes."""
    return HeadwaterError(
        f"{where}: column {column!r} has a value that is not one of the classes on {rows:,} rows; the classes are "
        f"{', '.join(classes)}"
    )


def _column(column: str, classes: Sequence[str], batch: pa.RecordBatch) -> Coded:
    return Coded(numbers(batch.column(batch.schema.get_field_index(column)), classes), 0)
