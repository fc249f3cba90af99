"""A sample's columns as arrays of numbers: values, codes of distinct values, and bins."""

from __future__ import annotations

import dataclasses
import functools
from typing import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing

BINS = 20
"""Quantile bins of a number."""

MOST_VALUES = 64
"""Values that have a bin of their own; the others share one."""

_EDGE_ROWS = 8_192
_LOOK = 1_024


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of the sample.

    Attributes:
      name: its name.
      values: float64 for numbers and times, NaN where missing or not a number; None for categories.
      null: bool, where it is missing.
      hashes: uint64, of its values.
      codes: a whole number for each distinct value, counted from 0, missing being the last; None for numbers that
        hardly repeat.
      distinct: how many codes there are, missing excluded.
      is_time: whether it is a date or time.
    """

    name: str
    values: np.ndarray | None
    null: np.ndarray
    hashes: np.ndarray
    codes: np.ndarray | None
    distinct: int
    is_time: bool = False

    @functools.cached_property
    def varies(self) -> bool:
        """Whether it holds at least two different values, missing being one."""
        return bool(len(self.hashes)) and bool((self.hashes != self.hashes[0]).any())

    @functools.cached_property
    def chance(self) -> float:
        """The chance that two rows drawn at random hold the same value."""
        _, counts = self.counts
        return float(np.square(counts / counts.sum()).sum())

    @functools.cached_property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """The hashes of its distinct values, rising, and how many rows hold each."""
        return np.unique(self.hashes, return_counts=True)


def read_column(name: str, column: pa.ChunkedArray) -> Column:
    """A column of the sample, of any Arrow type."""
    array = plain(column)
    kind = array.type
    null = pc.is_null(array).to_numpy(zero_copy_only=False)
    hashes = hashing.hash_values(array)
    values = _values(array, null)
    is_time = pa.types.is_temporal(kind)
    if values is not None:
        some = strided(len(hashes), _LOOK)
        if len(np.unique(hashes[some])) > len(some) // 2:
            return Column(name, values, null, hashes, None, len(array), is_time)
    codes, distinct = _codes(array, hashes, null)
    return Column(name, values, null, hashes, codes, distinct, is_time)


def plain(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array, without dictionary and extension type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    if isinstance(column.type, pa.ExtensionType):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def strided(rows: int, most: int) -> np.ndarray:
    """The positions of at most `most` rows, evenly spread."""
    return np.arange(rows) if rows <= most else np.arange(most) * rows // most


def quantile_edges(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Where to cut numbers so that about equally many fall between two cuts.

    A value that fills more than a bin gets a bin of its own.

    Args:
      values: float64; what is not a number is passed over.
      bins: how many.

    Returns:
      float64, rising; value v belongs to bin `np.searchsorted(edges, v, "right")`.
    """
    values = values[strided(len(values), max(_EDGE_ROWS, 50 * bins))]
    ordered = np.sort(values[~np.isnan(values)])
    if not len(ordered):
        return np.zeros(0)
    picks = ordered[np.arange(1, bins) * len(ordered) // bins]
    heavy = picks[1:][picks[1:] == picks[:-1]]
    return np.unique(np.concatenate([picks, np.nextafter(heavy, np.inf)]))


def cut(column: Column, edges: np.ndarray) -> np.ndarray:
    """The bin of each row's number by `edges`; then come one bin of NaN and one of missing."""
    found = np.searchsorted(edges, column.values, "right").astype(np.int32)
    unknown = np.isnan(column.values)
    if unknown.any():
        found[unknown] = len(edges) + 1
        found[column.null] = len(edges) + 2
    return found


def cells_and_bins(
    column: Column, parts: Sequence[np.ndarray]
) -> tuple[tuple[np.ndarray, int], tuple[np.ndarray, int]]:
    """A column cut finely and coarsely.

    Args:
      column: any.
      parts: row numbers of the training part, then of others.

    Returns:
      Two pairs of codes (int32, one a row) and their number. Cells: for categories and numbers of few values each value,
      else what lies between the quantiles of all parts and the ends of the first part's range. Bins: the first part's
      quantiles, or its most frequent values and one for the others. Missing and NaN have cells and bins of their own.
    """
    if column.values is None or column.distinct <= MOST_VALUES and column.codes is not None:
        return (column.codes, column.distinct + 1), _frequent(column, parts[0])
    coarse = quantile_edges(column.values[parts[0]])
    known = column.values[parts[0]]
    known = known[~np.isnan(known)]
    ends = np.array([known.min(), np.nextafter(known.max(), np.inf)]) if len(known) else np.zeros(0)
    edges = np.unique(np.concatenate([coarse, ends, *(quantile_edges(column.values[rows]) for rows in parts[1:])]))
    cells = cut(column, edges)
    bins = np.concatenate([[0], np.searchsorted(coarse, edges, "right"), [len(coarse) + 1, len(coarse) + 2]])
    return (cells, len(edges) + 3), (bins.astype(np.int32)[cells], len(coarse) + 3)


def _frequent(column: Column, rows: np.ndarray) -> tuple[np.ndarray, int]:
    if column.distinct <= MOST_VALUES:
        return column.codes, column.distinct + 1
    counts = np.bincount(column.codes[rows], minlength=column.distinct + 1)[:-1]
    chosen = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    table = np.full(column.distinct + 1, MOST_VALUES, np.int32)
    table[chosen] = np.arange(len(chosen))
    table[-1] = MOST_VALUES + 1
    return table[column.codes], MOST_VALUES + 2


def _values(array: pa.Array, null: np.ndarray) -> np.ndarray | None:
    kind = array.type
    if pa.types.is_temporal(kind):
        array = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
    elif pa.types.is_decimal(kind):
        array = pc.cast(array, pa.float64(), safe=False)
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    values = array.to_numpy(zero_copy_only=False).astype(np.float64)
    if array.null_count:
        values[null] = np.nan
    return values


def _codes(array: pa.Array, hashes: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, int]:
    kind = array.type
    if pa.types.is_nested(kind) or pa.types.is_null(kind) or pa.types.is_float16(kind):
        known, codes = np.unique(hashes[~null], return_inverse=True)
        all_codes = np.full(len(array), len(known), np.int32)
        all_codes[~null] = codes
        return all_codes, len(known)
    encoded = array.dictionary_encode()
    distinct = len(encoded.dictionary)
    return pc.fill_null(encoded.indices, distinct).to_numpy(zero_copy_only=False).astype(np.int32), distinct
