"""The columns by which rows and other data find each other: whether they are there, and of types that compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

from headwater.components.common.dataset import ROW_ID, Dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import common_type, value_type


class On(NamedTuple):
    """By what rows and other data find each other.

    Attributes:
      rows, other: the columns of the key on both sides, in one order.
      types: what their values are compared as; None for numbers, which are by value, whatever their types.
      row_time, other_time: the columns that tell when; empty for none.
    """

    rows: tuple[str, ...]
    other: tuple[str, ...]
    types: tuple[pa.DataType | None, ...]
    row_time: str = ""
    other_time: str = ""


def match_columns(
    where: str, dataset: Dataset, other: Dataset, on: Mapping[str, str], row_time: str = "", other_time: str = ""
) -> On:
    """Holds the columns of both sides against each other.

    Args:
      where: the key of the settings, for errors.
      dataset: the rows to label.
      other: the other data.
      on: its columns by the dataset's; by default the dataset's key by its own names.
      row_time, other_time: columns of dates or timestamps.

    Raises:
      HeadwaterError: a column is not there or of a type that cannot be compared; names it.
    """
    if not on and list(dataset.key) == [ROW_ID]:
        raise HeadwaterError(
            f"{where}: the dataset's key is {ROW_ID}, which other data does not have; name the columns to match by, "
            "or collect the dataset with a key"
        )
    pairs = dict(on) or {name: name for name in dataset.key}
    types = []
    for own, theirs in pairs.items():
        one, another = (_type_of(where, side, name) for side, name in ((dataset, own), (other, theirs)))
        # A table without rows, as an empty CSV, says nothing of types.
        if not _is_compared(one, another) and not pa.types.is_null(another):
            raise HeadwaterError(
                f"{where}: {own!r} of the dataset is {one}, but {theirs!r} there is {another}; give both columns the "
                "same type"
            )
        types.append(None if is_plain_number(one) else common_type(one, another))
    for side, name in ((dataset, row_time), (other, other_time)):
        if name and not pa.types.is_null(_type_of(where, side, name)):
            kind = _type_of(where, side, name)
            if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
                raise HeadwaterError(
                    f"{where}: column {name!r} is {kind}; it must be a date or a timestamp, so collect it with "
                    "`formats` that say how its text is parsed"
                )
    return On(tuple(pairs), tuple(pairs.values()), tuple(types), row_time, other_time)


def _is_compared(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether values of two types can be compared without losing any of their digits."""
    numbers = [is_plain_number(each) for each in (one, other)]
    if all(numbers):
        # Beyond 63 bits one of them has no counterpart in the other.
        return one == other or pa.uint64() not in (one, other)
    return not any(numbers) and common_type(one, other) is not None and (one == other or not pa.types.is_decimal(one))


def is_plain_number(kind: pa.DataType) -> bool:
    """Whether values of a type are compared as numbers, whatever the type."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _type_of(where: str, side: Dataset, name: str) -> pa.DataType:
    if name not in side.schema.names:
        raise HeadwaterError(
            f"{where}: {side.result.uri} has no column {name!r}; its columns are {', '.join(side.schema.names)}"
        )
    return value_type(side.schema.field(name).type)
