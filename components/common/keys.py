"""Keys of rows: of which types they are compared, and their 128 bits of hash, by which rows find each other.

Two different keys are taken for one with a chance of n²/2¹²⁹.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.arrow_types import is_text

KEY = np.dtype([("first", "<u8"), ("second", "<u8")])
"""A key as a record."""


def value_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, whatever encodes them."""
    if isinstance(kind, pa.BaseExtensionType):
        return value_type(kind.storage_type)
    return value_type(kind.value_type) if pa.types.is_dictionary(kind) else kind


def decoded(array: pa.Array) -> pa.Array:
    """Values without what encodes them."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.cast(value_type(array.type)) if pa.types.is_dictionary(array.type) else array


def as_key(array: pa.Array) -> pa.Array:
    """Values as a type of which both hashes look at every byte."""
    array = decoded(array)
    kind = array.type
    if pa.types.is_large_string(kind):
        return array.cast(pa.string())
    if pa.types.is_decimal(kind):
        array = pa.Array.from_buffers(pa.binary(kind.byte_width), len(array), array.buffers(), offset=array.offset)
    if pa.types.is_fixed_size_binary(array.type) or pa.types.is_large_binary(kind):
        return array.cast(pa.binary())
    return array


def hash_keys(columns: Sequence[pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose key has no missing part, and their keys."""
    rows = np.arange(len(columns[0]))
    missing = np.zeros(len(rows), bool)
    for column in columns:
        if column.null_count:
            missing |= pc.is_null(column).to_numpy(zero_copy_only=False)
    keys = np.empty(len(rows), KEY)
    keys["first"], keys["second"] = hashing.hash_rows(columns), hashing.second_hash(columns)
    return (rows[~missing], keys[~missing]) if missing.any() else (rows, keys)


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that values of both types are compared as; None where they cannot be."""
    one, other = value_type(one), value_type(other)
    if one == other:
        return pa.string() if pa.types.is_large_string(one) else one
    if all(pa.types.is_integer(each) for each in (one, other)) and pa.uint64() not in (one, other):
        return pa.int64()
    if all(pa.types.is_integer(each) for each in (one, other)):
        # Neither a float64 nor the other type holds all of both.
        return pa.decimal128(20, 0)
    if all(is_number(each) for each in (one, other)):
        return pa.float64()
    for fits, kind in (
        (is_text, pa.string()),
        (lambda each: pa.types.is_timestamp(each) and not each.tz, pa.timestamp("us")),
        (lambda each: pa.types.is_timestamp(each) and each.tz, pa.timestamp("us", "UTC")),
        (pa.types.is_date, pa.date32()),
    ):
        if fits(one) and fits(other):
            return kind
    return None


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are compared as numbers."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
