"""k-anonymity over declared quasi-identifiers (Samarati and Sweeney, 1998), at any size.

Rows that agree in all quasi-identifiers form a group; a table is k-anonymous when no group has fewer than k rows. A
missing value is a value of its own. Batches give states, states merge in any order to the same bytes.

A state holds a 64-bit hash and a row count a group. Two of n groups share a hash, and are counted as one larger group,
with a chance below n² / 2**65: 3 in 100 million for a million groups. Beyond `MAX_GROUPS` groups a state keeps those
with the smallest hashes, which is a uniform sample of the groups (k minimum values, Beyer et al., 2007), each with its
true size. What is then measured is an estimate, and says so.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.hashing import hash_rows

MAX_GROUPS = 1_000_000
"""Groups that a state holds at most: 16 MB."""

_HEADER = struct.Struct("<4sQQQ")
_MAGIC = b"HWk1"
_ALL = 2**64 - 1
"""The threshold of a state that lacks no group but, for one in 2**64 hashes, this one."""


def group_state(columns: Sequence[pa.Array]) -> bytes:
    """The groups of one batch.

    Args:
      columns: the quasi-identifiers, in their declared order, of one length and any type.

    Returns:
      A state for `merge_states`: a header, the groups' hashes in ascending order, their row counts.
    """
    hashes, sizes = np.unique(hash_rows(columns), return_counts=True)
    return _pack(int(sizes.sum()), _ALL, hashes, sizes.astype(np.uint64), MAX_GROUPS)


def merge_states(states: Iterable[bytes], max_groups: int = MAX_GROUPS) -> bytes:
    """The state of all batches together; the order of the states does not matter.

    Args:
      states: what `group_state` or this function gave.
      max_groups: above this number of groups the state becomes a sample.
    """
    rows, threshold = 0, _ALL
    kept_hashes, kept_sizes = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    for state in states:
        more, limit, hashes, sizes = _unpack(state)
        rows, threshold = rows + more, min(threshold, limit)
        merged, places = np.unique(np.concatenate([kept_hashes, hashes]), return_inverse=True)
        total = np.zeros(len(merged), np.uint64)
        np.add.at(total, places.ravel(), np.concatenate([kept_sizes, sizes]))
        kept = merged <= np.uint64(threshold) if threshold == _ALL else merged < np.uint64(threshold)
        kept_hashes, kept_sizes = merged[kept], total[kept]
        if len(kept_hashes) > max_groups:
            threshold = int(kept_hashes[max_groups])
            kept_hashes, kept_sizes = kept_hashes[:max_groups], kept_sizes[:max_groups]
    return _pack(rows, threshold, kept_hashes, kept_sizes, max_groups)


def measure(state: bytes, k: int) -> dict[str, Any]:
    """How anonymous the rows of a state are.

    Args:
      state: of all rows.
      k: the smallest group that is wanted, 1 or more.

    Returns:
      `k`, the smallest group's rows (0 without rows); `wanted`; `rows`; `groups`; `groups_below` and `rows_below`,
      those of fewer than the wanted rows; `sizes`, the groups and their rows by size, in bins that double: `from`,
      `to`, `groups`, `rows`; `exact`. Where that is False, `k` is an upper bound (a smaller group may lie outside the
      sample), `rows` is exact, the other numbers are estimates, and `standard_errors` holds those of `groups`,
      `groups_below` and `rows_below`.
    """
    if k < 1:
        raise HeadwaterError(f"k: must be 1 or more; given: {k}")
    rows, threshold, _, sizes = _unpack(state)
    # A threshold is itself the next larger hash, which makes kept / share an unbiased estimate of the groups.
    share = 1.0 if threshold == _ALL else threshold / 2**64
    small = sizes[sizes < k].astype(np.float64)
    result: dict[str, Any] = {
        "k": int(sizes.min()) if len(sizes) else 0,
        "wanted": k,
        "rows": rows,
        "groups": round(len(sizes) / share),
        "groups_below": round(len(small) / share),
        "rows_below": min(round(float(small.sum()) / share), rows),
        "sizes": _histogram(sizes, share),
        "exact": threshold == _ALL,
    }
    if threshold != _ALL:
        result["standard_errors"] = {
            "groups": math.sqrt(len(sizes) * (1 - share)) / share,
            "groups_below": math.sqrt(len(small) * (1 - share)) / share,
            "rows_below": math.sqrt(float((small**2).sum()) * (1 - share)) / share,
        }
    return result


def small_groups(state: bytes, k: int) -> np.ndarray:
    """The hashes of the groups of fewer than k rows, for `in_small_groups`.

    Returns:
      uint64, ascending.

    Raises:
      HeadwaterError: the state is a sample, so that not every group is known.
    """
    _, threshold, hashes, sizes = _unpack(state)
    if threshold != _ALL:
        raise HeadwaterError(
            f"the quasi-identifiers form more than {MAX_GROUPS:,} groups, too many to find those of fewer than {k} "
            "rows; generalise the columns or declare fewer"
        )
    return hashes[sizes < k]


def in_small_groups(columns: Sequence[pa.Array], small: np.ndarray) -> np.ndarray:
    """Which rows belong to one of the groups in `small`, by the same columns in the same order.

    Returns:
      bool, one a row.
    """
    hashes = hash_rows(columns)
    if not len(small):
        return np.zeros(len(hashes), bool)
    places = np.minimum(np.searchsorted(small, hashes), len(small) - 1)
    return small[places] == hashes


def _histogram(sizes: np.ndarray, share: float) -> list[dict[str, int]]:
    if not len(sizes):
        return []
    # Bins 1, 2, 3 to 4, 5 to 8, …
    bins = np.ceil(np.log2(sizes.astype(np.float64))).astype(np.int64)
    entries = []
    for number in np.unique(bins).tolist():
        inside = sizes[bins == number]
        entries.append(
            {
                "from": 2 ** (number - 1) + 1 if number else 1,
                "to": 2**number,
                "groups": round(len(inside) / share),
                "rows": round(int(inside.sum()) / share),
            }
        )
    return entries


def _pack(rows: int, threshold: int, hashes: np.ndarray, sizes: np.ndarray, max_groups: int) -> bytes:
    if len(hashes) > max_groups:
        threshold, hashes, sizes = int(hashes[max_groups]), hashes[:max_groups], sizes[:max_groups]
    header = _HEADER.pack(_MAGIC, rows, threshold, len(hashes))
    return header + hashes.astype("<u8").tobytes() + sizes.astype("<u8").tobytes()


def _unpack(state: bytes) -> tuple[int, int, np.ndarray, np.ndarray]:
    if len(state) < _HEADER.size or state[:4] != _MAGIC:
        raise HeadwaterError("this is not a state of groups, or it has another version; measure it again")
    _, rows, threshold, count = _HEADER.unpack_from(state)
    if len(state) != _HEADER.size + 16 * count:
        raise HeadwaterError("this state of groups was cut short; measure it again")
    arrays = np.frombuffer(state, "<u8", 2 * count, _HEADER.size).astype(np.uint64)
    return rows, threshold, arrays[:count], arrays[count:]
