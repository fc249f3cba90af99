"""How often each value of a text feature occurs: exact up to a limit, then bounded, the same for any order of merging.

Beyond the limit a table is cut by the rule for merging Misra-Gries summaries (Agarwal et al., "Mergeable Summaries",
PODS 2012): no count is too high, and none is too low by more than what `cut` says it removed. How many values are
distinct is then estimated from the least of their hashes (Bar-Yossef et al., "Counting distinct elements in a data stream",
RANDOM 2002), and what was cut off is counted by bins of its values' hashes, so that the sums of these bins stay exact.

All functions take the values of many features at once: `keys` says whose each value is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.arrow_types import is_utf8
from headwater.components.common.distributions import HASH_BINS
from headwater.components.common.hashing import hash_values
from headwater.components.generate_statistics.measure.ordering import by_key_and_value, distinct_cells

LONGEST = 1024
"""Values of more bytes are distinguished by a hash, and shown together as `LARGE`, as TFDV shows them."""

LARGE = b"__LARGE_BYTES__"
NOT_TEXT = b"__BYTES_VALUE__"

_FEW = 64
# Values of so many rows are told apart at once that the table of them stays in a core's cache.
_AT_ONCE = 1 << 16


class Counts(NamedTuple):
    """Values with their counts, by key; no value twice under one key.

    Attributes:
      keys: int64.
      values: large_binary.
      counts: int64.
      weights: float64, the sum of the weights of the rows where the value stands.
    """

    keys: np.ndarray
    values: pa.Array
    counts: np.ndarray
    weights: np.ndarray


class Hashes(NamedTuple):
    """The least hashes by key, in order: keys int64, hashes uint64."""

    keys: np.ndarray
    hashes: np.ndarray


class Rests(NamedTuple):
    """What was cut off counts, by `key * HASH_BINS + hash % HASH_BINS`, in order: bins int64, counts int64."""

    bins: np.ndarray
    counts: np.ndarray


# To make it of a list pyarrow would import pandas, where this module is imported for a setting.
_NO_VALUES = pa.Array.from_buffers(pa.large_binary(), 0, [None, pa.py_buffer(bytes(8)), pa.py_buffer(b"")])
EMPTY = Counts(np.empty(0, np.int64), _NO_VALUES, np.empty(0, np.int64), np.empty(0))
NO_HASHES = Hashes(np.empty(0, np.int64), np.empty(0, np.uint64))
NO_RESTS = Rests(np.empty(0, np.int64), np.empty(0, np.int64))


def as_counted(distinct: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Distinct values as they are counted: what is too long is cut to a mark and a hash.

    Args:
      distinct: string or binary without missing ones.

    Returns:
      large_binary, and whether each is no UTF-8, bool.
    """
    content = distinct.cast(pa.large_binary())
    lost = np.zeros(len(content), bool)
    if not is_utf8(content):
        # Only distinct values of a column that is not text throughout come here.
        lost = np.array([not _is_text(value) for value in content.to_pylist()], bool)
    long = np.flatnonzero(pc.greater(pc.binary_length(content), LONGEST).to_numpy(zero_copy_only=False))
    if not len(long):
        return content, lost
    hashes = hash_values(content.take(pa.array(long))).astype(">u8").tobytes()
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(long), [None, pa.py_buffer(hashes)])
    # A byte that no UTF-8 has keeps the mark apart from what a user may have written.
    mark, empty = (pa.scalar(text, pa.large_binary()) for text in (LARGE + b"\xff", b""))
    marked = pc.binary_join_element_wise(mark, fixed.cast(pa.binary()).cast(pa.large_binary()), empty)
    places = np.arange(len(content))
    places[long] = len(content) + np.arange(len(long))
    return pa.concat_arrays([content, marked]).take(pa.array(places)), lost


def shown(value: bytes) -> str:
    """A counted value as text, as TFDV shows it: long ones, and those that are not UTF-8, under one name each."""
    if value.startswith(LARGE + b"\xff"):
        return LARGE.decode()
    return value.decode() if _is_text(value) else NOT_TEXT.decode()


def join(parts: list[Counts]) -> Counts:
    """The counts of all the rows that `parts` stand for."""
    parts = [part for part in parts if len(part.keys)]
    if not parts:
        return EMPTY
    if len(parts) == 1:
        return parts[0]
    size = sum(np.bincount(part.keys, minlength=max(int(part.keys.max()) for part in parts) + 1) for part in parts)
    upto = np.cumsum(size)
    if upto[-1] <= _AT_ONCE or any((part.keys[1:] < part.keys[:-1]).any() for part in parts):
        return add_equal(_concatenated(parts))
    # Some keys at a time, and all that the parts say of them.
    bounds = np.append(np.flatnonzero(np.diff(upto // _AT_ONCE, prepend=-1)), len(upto))
    edges = [np.searchsorted(part.keys, bounds).tolist() for part in parts]
    joined = []
    for place in range(len(bounds) - 1):
        own = [
            _rows(part, edge[place], edge[place + 1])
            for part, edge in zip(parts, edges)
            if edge[place] < edge[place + 1]
        ]
        joined.append(own[0] if len(own) == 1 else add_equal(_concatenated(own)))
    return _concatenated(joined)


def in_order(parts: list[Counts]) -> Counts:
    """Counts of parts that share no key, by key."""
    parts = sorted((part for part in parts if len(part.keys)), key=lambda part: int(part.keys[0]))
    if not parts:
        return EMPTY
    table = _concatenated(parts)
    if (table.keys[1:] >= table.keys[:-1]).all():
        return table
    order = np.argsort(table.keys, kind="stable")
    return Counts(table.keys[order], table.values.take(pa.array(order)), table.counts[order], table.weights[order])


def add_equal(table: Counts) -> Counts:
    """Adds up what stands several times for one value of one key."""
    encoded = table.values.dictionary_encode()
    width, least = max(1, len(encoded.dictionary)), int(table.keys.min(initial=0))
    cells = (table.keys - least) * width + encoded.indices.to_numpy()
    cells, places, _ = distinct_cells(cells, places=True)
    assert places is not None, "asked for"
    return Counts(
        cells // width + least,
        encoded.dictionary.take(pa.array(cells % width)),
        # Whole numbers below 2^53 are exact as doubles.
        np.bincount(places, table.counts, minlength=len(cells)).astype(np.int64),
        np.bincount(places, table.weights, minlength=len(cells)),
    )


def hash_some(table: Counts, chosen: np.ndarray) -> np.ndarray:
    """The hashes of the values of some keys, uint64, one a row; 0 for the others' values.

    Args:
      table: the counts.
      chosen: which keys, bool, by key.
    """
    rows = chosen[table.keys]
    if rows.all():
        return hash_values(table.values)
    hashes = np.zeros(len(rows), np.uint64)
    hashes[rows] = hash_values(table.values.filter(pa.array(rows)))
    return hashes


def cut(table: Counts, capacity: np.ndarray, hashes: np.ndarray | None = None) -> tuple[Counts, np.ndarray, Rests]:
    """At most `capacity` counts a key.

    Args:
      table: joined.
      capacity: of each key, int64, by key.
      hashes: what `hash_some` gives at least for the keys that have too many counts, where it is known already.

    Returns:
      The counts; by key how much was taken off each of them, int64; and what was taken off in all.
    """
    over = np.bincount(table.keys, minlength=len(capacity)) > capacity
    if not over.any():
        return table, np.zeros(len(capacity), np.int64), NO_RESTS
    hashes = hash_some(table, over) if hashes is None else hashes
    kept, counts, removed, rests = cut_rows(table.keys, table.counts, capacity, hashes)
    values = table.values.filter(pa.array(kept))
    return Counts(table.keys[kept], values, counts[kept], table.weights[kept]), removed, rests


def cut_rows(
    keys: np.ndarray, counts: np.ndarray, capacity: np.ndarray, hashes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Rests]:
    """As `cut`, without the values.

    Args:
      keys, counts: of a table.
      capacity: of each key, int64, by key.
      hashes: of the values, at least of keys that have too many.

    Returns:
      Which rows stay, bool, and the counts of all of them; then as `cut`.
    """
    removed = np.zeros(len(capacity), np.int64)
    size = np.bincount(keys, minlength=len(capacity))
    over = size > capacity
    places = _where(over[keys])
    own_keys, own_counts = keys[places], counts[places]
    many = np.flatnonzero(over)
    begin = np.cumsum(size[many]) - size[many]
    if len(many) <= _FEW:
        # Of each key the greatest of the counts that are too many; finding it takes no sorting.
        parts = np.split(own_counts[np.argsort(own_keys, kind="stable")], begin[1:])
        removed[many] = [-np.partition(-own, most)[most] for own, most in zip(parts, capacity[many])]
    else:
        removed[many] = own_counts[by_key_and_value(own_keys, -own_counts)[begin + capacity[many]]]
    lost = np.minimum(own_counts, removed[own_keys])
    bins = own_keys * HASH_BINS + (hashes[places] % np.uint64(HASH_BINS)).astype(np.int64)
    counts = counts - removed[keys]
    return counts > 0, counts, removed, join_rests([Rests(bins, lost)])


def join_rests(parts: list[Rests]) -> Rests:
    """The sums of several tables, by bin."""
    parts = [part for part in parts if len(part.bins)]
    if not parts:
        return NO_RESTS
    bins = np.concatenate([part.bins for part in parts])
    # Whole numbers below 2^53 are exact as doubles.
    lost = np.concatenate([part.counts for part in parts])
    most = int(bins.max()) + 1
    if most <= 4 * len(bins):
        counts = np.bincount(bins, lost)
        there = np.flatnonzero(np.bincount(bins))
        return Rests(there, counts[there].astype(np.int64))
    bins, places = np.unique(bins, return_inverse=True)
    return Rests(bins, np.bincount(places, lost).astype(np.int64))


def hashes_of(table: Counts, chosen: np.ndarray, least: np.ndarray, hashes: np.ndarray | None = None) -> Hashes:
    """The least hashes of the values of some keys.

    Args:
      table: the counts.
      chosen: which keys, bool, by key.
      least: how many hashes to keep of each key, int64, by key.
      hashes: what `hash_some` gives, where it is known already.
    """
    if not chosen[table.keys].any():
        return NO_HASHES
    return least_hashes(table.keys, hash_some(table, chosen) if hashes is None else hashes, chosen, least)


def least_hashes(keys: np.ndarray, hashes: np.ndarray, chosen: np.ndarray, least: np.ndarray) -> Hashes:
    """As `hashes_of`, of rows whose keys stand in order."""
    places = _where(chosen[keys])
    keys, hashes = keys[places], hashes[places]
    begin = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    parts = [Hashes(keys, hashes)]
    if len(begin) <= _FEW:
        # Finding the least ones first spares sorting them all.
        parts = []
        for start, stop in zip(begin, np.append(begin[1:], len(keys))):
            own, most = hashes[start:stop], int(least[keys[start]])
            own = np.partition(own, most - 1)[:most] if len(own) > most else own
            parts.append(Hashes(np.full(len(own), keys[start]), own))
    return join_hashes(parts, least)


def join_hashes(parts: list[Hashes], least: np.ndarray) -> Hashes:
    """The least hashes of several tables, each once, at most `least` a key."""
    keys = np.concatenate([part.keys for part in parts])
    if not len(keys):
        return NO_HASHES
    hashes = np.concatenate([part.hashes for part in parts])
    order = by_key_and_value(keys, hashes)
    keys, hashes = keys[order], hashes[order]
    first = np.concatenate([[True], (keys[1:] != keys[:-1]) | (hashes[1:] != hashes[:-1])])
    keys, hashes = keys[first], hashes[first]
    begin = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    place = np.arange(len(keys)) - np.repeat(begin, np.diff(np.append(begin, len(keys))))
    kept = place < least[keys]
    return Hashes(keys[kept], hashes[kept])


def hashes_in_order(parts: list[Hashes]) -> Hashes:
    """Hashes of parts that share no key, each in order, by key."""
    if not parts:
        return NO_HASHES
    keys, hashes = (np.concatenate(columns) for columns in zip(*parts))
    order = np.argsort(keys, kind="stable")
    return Hashes(keys[order], hashes[order])


def distinct(hashes: np.ndarray, least: int) -> tuple[int, float]:
    """How many values are distinct, and the standard error of that as a share of it.

    Args:
      hashes: the least hashes of one key, in order.
      least: how many are kept at most.
    """
    if len(hashes) < least:
        return len(hashes), 0.0
    return round((least - 1) / ((float(hashes[-1]) + 1.0) / 2.0**64)), 1.0 / np.sqrt(least - 2)


def _where(mask: np.ndarray) -> np.ndarray | slice:
    """What selects the places of a mask; all of them without a copy."""
    return slice(None) if mask.all() else np.flatnonzero(mask)


def _rows(table: Counts, start: int, stop: int) -> Counts:
    return Counts(
        table.keys[start:stop],
        table.values.slice(start, stop - start),
        table.counts[start:stop],
        table.weights[start:stop],
    )


def _concatenated(parts: list[Counts]) -> Counts:
    return Counts(
        np.concatenate([part.keys for part in parts]),
        pa.concat_arrays([part.values for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
        return True
    except UnicodeDecodeError:
        return False
