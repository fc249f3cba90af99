"""The values of text that occur most, by falling count, of many features at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.arrow_types import is_utf8
from headwater.components.generate_statistics.report import wire
from headwater.components.generate_statistics.state import counts as counting


class Ranked(NamedTuple):
    """What messages read of one feature: the one of its statistics the top values, and a `RankHistogram` all ranks."""

    tops: bytes
    ranks: bytes


def rank(
    values: pa.Array, held: np.ndarray, size: np.ndarray, threshold: float, message: Any, tops: int, ranks: int
) -> list[Ranked]:
    """Ranks the values of several features, by falling count, then falling value, as TFDV settles ties.

    Args:
      values: large_binary; the values of one feature stand after those of another.
      held: the count of each, or its weight.
      size: how many values each feature has, at least one.
      threshold: values that have less are left out.
      message: that the top values are for.
      tops, ranks: how many are told at most.
    """
    if not is_utf8(values):
        values, held, size = _shown(values, held, size)
    most = max(tops, ranks)
    own = np.repeat(np.arange(len(size)), size)
    rows = np.flatnonzero(held >= threshold)
    if (size > most).any():
        many = np.flatnonzero(size > most)
        bounds = np.searchsorted(rows, [np.cumsum(size)[many] - size[many], np.cumsum(size)[many]]).T.tolist()
        kept = np.ones(len(rows), bool)
        for start, stop in bounds:
            kept[start:stop] = _are_most(values, held, rows[start:stop], most)
        rows = rows[kept]
    own, held, values = own[rows], held[rows].astype(np.float64), values.take(pa.array(rows))
    table = pa.table({"own": own, "held": held, "value": values})
    order = pc.sort_indices(table, [("own", "ascending"), ("held", "descending"), ("value", "descending")]).to_numpy()
    size = np.bincount(own, minlength=len(size))
    place = np.arange(len(own)) - np.repeat(np.cumsum(size) - size, size)
    top, ranked = order[place < tops], order[place < ranks]
    return [
        Ranked(*each)
        for each in zip(
            wire.tops(message, values.take(pa.array(top)), held[top], np.minimum(size, tops)),
            wire.ranks(values.take(pa.array(ranked)), held[ranked], np.minimum(size, ranks)),
        )
    ]


def _are_most(values: pa.Array, held: np.ndarray, rows: np.ndarray, most: int) -> np.ndarray:
    """Which of the rows of one feature have the greatest counts, and of equal ones the greatest values."""
    if len(rows) <= most:
        return np.ones(len(rows), bool)
    if not most:
        return np.zeros(len(rows), bool)
    own = held[rows]
    last = -np.partition(-own, most - 1)[most - 1]
    kept, tied = own > last, np.flatnonzero(own == last)
    wanted = most - np.count_nonzero(kept)
    if wanted < len(tied):
        table = pa.table({"value": values.take(pa.array(rows[tied]))})
        tied = tied[pc.select_k_unstable(table, wanted, [("value", "descending")]).to_numpy()]
    kept[tied] = True
    return kept


def _shown(values: pa.Array, held: np.ndarray, size: np.ndarray) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Values of features that are not all UTF-8 under the names that they are shown by, and what each name has together."""
    parts, sums = [], []
    for stop, length in zip(np.cumsum(size).tolist(), size.tolist()):
        own, its = values.slice(stop - length, length), held[stop - length : stop]
        if not is_utf8(own):
            encoded = pa.array(
                [counting.shown(value).encode() for value in own.to_pylist()], pa.large_binary()
            ).dictionary_encode()
            own, its = encoded.dictionary, np.bincount(encoded.indices.to_numpy(), its)
        parts.append(own)
        sums.append(its)
    return pa.concat_arrays(parts), np.concatenate(sums), np.array([len(part) for part in parts])
