"""Columns of a sample as small whole numbers: quantile bins of numbers, values of categories, missing as a bin of its own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

BINS = 20
"""Quantile bins of a column of numbers."""

CATEGORIES = 64
"""The most frequent values of a category that have a bin of their own; the others share one."""


def is_number(kind: pa.DataType) -> bool:
    """Whether a column's values lie on a line: numbers, dates and times."""
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_temporal(kind)
    )


def numbers(column: pa.Array) -> np.ndarray:
    """A column of numbers, dates or times as float64, NaN where missing."""
    kind = column.type
    if pa.types.is_temporal(kind):
        column = column.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)


def codes(column: pa.Array) -> np.ndarray:
    """Each distinct value as a number from 0, int64; missing is -1."""
    # Older pyarrow does not count lists of one size as nested.
    if pa.types.is_nested(column.type) or pa.types.is_fixed_size_list(column.type):
        from headwater.components.common import hashing

        coded = np.unique(hashing.hash_values(column), return_inverse=True)[1].astype(np.int64)
        coded[pc.is_null(column).to_numpy(zero_copy_only=False)] = -1
        return coded
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)


def bins(column: pa.Array, by: np.ndarray | None = None) -> np.ndarray:
    """The bin of each value.

    Args:
      column: the values.
      by: which rows the quantiles and the frequent values are estimated from, bool; all by default.

    Returns:
      int64 from 0: of numbers the quantile bin; of others the place among the `CATEGORIES` most frequent values, and
      then one for the rest. Missing is -1, NaN -2, and a value beyond those of `by` on either side -3 or -4, or -3 for a
      category that `by` does not have.
    """
    by = np.ones(len(column), bool) if by is None else by
    if is_number(column.type):
        values = numbers(column)
        missing = pc.is_null(column).to_numpy(zero_copy_only=False)
        known = values[by & ~np.isnan(values)]
        if not len(known):
            return np.where(missing, -1, np.where(np.isnan(values), -2, -3))
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
        places = np.searchsorted(edges, values, side="right").astype(np.int64)
        places[values < known.min()], places[values > known.max()] = -3, -4
        places[np.isnan(values)] = -2
        places[missing] = -1
        return places
    places = codes(column)
    known = places[by & (places >= 0)]
    counts = np.bincount(known, minlength=int(places.max(initial=-1)) + 1)
    order = np.argsort(-counts, kind="stable")
    place = np.full(len(counts) + 1, CATEGORIES, np.int64)
    place[order[:CATEGORIES]] = np.arange(min(CATEGORIES, len(order)))
    place[:-1][counts == 0] = -3
    place[-1] = -1
    return place[places]


def one_array(column: pa.ChunkedArray) -> pa.Array:
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    # Arrow does not tell durations apart; their numbers say the same.
    return whole.view(pa.int64()) if pa.types.is_duration(whole.type) else whole
