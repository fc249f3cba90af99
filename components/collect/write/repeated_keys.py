"""Whether the declared key tells rows apart, at the price of hashes that splitting has anyway.

The rows whose key has a small hash are kept, as their hash and place. All rows of one key are in or out together, so what
repeats among them does repeat: the count is exact while all rows are kept, and a least count of larger data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.collect.settings import Settings
from headwater.components.common import hashing
from headwater.components.common.sources import Element

KEPT_ROWS = 131_072
"""About how many rows are kept; of 20 bytes each."""

_SCHEMA = pa.schema([("key", pa.uint64()), ("range", pa.uint32()), ("row", pa.int64())])
_SEED = np.uint64(0x2545F4914F6CDD1D)


def rate(settings: Settings, rows: int) -> float:
    """The share of the keys that is kept; none without a key, or where duplicates are dropped by it."""
    return min(1.0, KEPT_ROWS / max(rows, 1)) if settings.key and settings.duplicates == "keep" else 0.0


def keep(keys: np.ndarray, rows: np.ndarray, ranges: np.ndarray, rate: float) -> pa.Table:
    """The rows of a batch that are kept.

    Args:
      keys: the hash of each row's key.
      rows: the rows' numbers in their source.
      ranges: the number of the range that each is of.
      rate: the share of the keys.
    """
    if rate < 1:
        # By other bits than those that choose the split.
        chosen = hashing.shares(hashing.mix(keys ^ _SEED)) < rate
        keys, rows, ranges = keys[chosen], rows[chosen], ranges[chosen]
    return pa.table([keys, ranges.astype(np.uint32), rows.astype(np.int64)], schema=_SCHEMA)


def describe(kept: pa.Table | None, ranges: Sequence[Element], rate: float) -> dict[str, Any] | None:
    """What the manifest says of repeated keys; None where no key repeats.

    Args:
      kept: of all ranges, in order.
      ranges: by number.
      rate: the share of the keys that was kept.

    Returns:
      `rows`: how many rows have the key of an earlier one, or where not `exact` at least so many; `first` and `again`:
      the `source` and the `row` of the first pair.
    """
    if kept is None:
        return None
    kept = kept.combine_chunks()
    keys = kept["key"].to_numpy()
    # Stable, so that of equal keys the first in the order of sources is the first here.
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    if not len(again):
        return None
    place = int(again[np.argmin(order[again + 1])])
    pair = [
        {"source": ranges[kept["range"][each].as_py()].file.uri, "row": kept["row"][each].as_py()}
        for each in order[place : place + 2].tolist()
    ]
    return {"rows": len(again), "exact": rate >= 1, "first": pair[0], "again": pair[1]}
