"""Duplicates by key, at any size: hashes of keys are spilled in partitions, and one partition is looked at at a time.

Of the rows with one key the first stays, in the order of sources and of rows in them. A key is 128 bits of hash, so two
different keys are taken for one with a chance of n²/2¹²⁹.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from headwater.components.common import hashing, partitions
from headwater.components.common.partitions import PartitionResults, Spilled
from headwater.components.common.sources import Element, Misfit

PARTITION_ROWS = 2_000_000
"""How many rows a partition holds, on average."""

_NAME = "keys"
_RECORD = np.dtype([("first", "<u8"), ("second", "<u8"), ("element", "<u4"), ("row", "<u4")])
_DROP = np.dtype([("element", "<u4"), ("row", "<u4")])


class Drops(NamedTuple):
    """The rows to be dropped."""

    dropped: PartitionResults

    def of(self, element: int) -> np.ndarray:
        """The rows to be dropped from an element, counted from its first, int64, rising."""
        return np.sort(self.dropped.of(element)["row"]).astype(np.int64)


def find_duplicates(
    elements: Sequence[Element],
    keys_of: Callable[[Element], Any],
    folder: str,
    **beam: Any,
) -> Drops:
    """Finds the rows whose key stands before.

    Args:
      elements: the ranges, in order.
      keys_of: gives an element's keys as batches of the key columns alone, each with the numbers of its rows in the
        source; picklable.
      folder: URI of a scratch folder that every worker reaches.
      **beam: options of `beam.map_merge`.

    Raises:
      Misfit: what was guessed of the types does not hold.
    """
    from headwater.components.common.beam import map_merge

    rows = sum(element.rows for element in elements)
    count = max(1, -(-rows // PARTITION_ROWS))
    lines = map_merge(
        "collect: keys",
        list(enumerate(elements)),
        functools.partial(_spill, keys_of, folder, count),
        b"\n".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    bounds = [json.loads(line) for line in lines.splitlines()]
    if not all(bounds):
        raise Misfit
    spilled = Spilled(folder, _NAME, _RECORD, bounds)
    lines = map_merge(
        "collect: duplicates",
        list(range(count)),
        functools.partial(_resolve, spilled),
        b"\n".join,
        sizes=[spilled.rows(number) for number in range(count)],
        **beam,
    )
    return Drops(PartitionResults(folder, _NAME, _DROP, [json.loads(line) for line in lines.splitlines()]))


def _spill(keys_of, folder: str, count: int, item: tuple[int, Element]) -> bytes:
    """Writes one element's hashes; gives where each partition begins, or nothing for a misfit."""
    number, element = item
    parts = [np.empty(0, _RECORD)]
    try:
        for keys, rows in keys_of(element):
            records = np.empty(keys.num_rows, _RECORD)
            records["first"] = hashing.hash_rows(keys.columns)
            records["second"] = hashing.second_hash(keys.columns)
            records["element"] = number
            records["row"] = rows - element.first_row
            parts.append(records)
    except Misfit:
        return json.dumps([]).encode()
    return json.dumps(partitions.spill(folder, _NAME, number, parts, count)).encode()


def _resolve(spilled: Spilled, partition: int) -> bytes:
    """Writes the list of one partition's rows to be dropped; gives where each element's begin."""
    records = spilled.read(partition)
    # Stable, so that of equal keys the first in source order stays.
    order = np.argsort(records["first"], kind="stable")
    sorted_records = records[order]
    same = sorted_records["first"][1:] == sorted_records["first"][:-1]
    alike = np.flatnonzero(np.concatenate([same, [False]]) | np.concatenate([[False], same]))
    candidates = sorted_records[alike]
    order = np.lexsort((candidates["row"], candidates["element"], candidates["second"], candidates["first"]))
    candidates = candidates[order]
    again = (candidates["first"][1:] == candidates["first"][:-1]) & (
        candidates["second"][1:] == candidates["second"][:-1]
    )
    dropped = candidates[1:][again]
    drops = np.empty(len(dropped), _DROP)
    drops["element"], drops["row"] = dropped["element"], dropped["row"]
    given = partitions.give_back(spilled.folder, _NAME, partition, drops, len(spilled.bounds))
    return json.dumps(given).encode()
