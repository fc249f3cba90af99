"""Duplicates by key, at any size: hashes of keys are spilled in partitions, and one partition is looked at at a time.

Of the rows with one key the first stays, in the order of sources and of rows in them. A key is 128 bits of hash, so
two different keys are taken for one with a chance of n²/2¹²⁹.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Callable, NamedTuple, Sequence

import numpy as np

from headwater.components.common import hashing, storage
from headwater.components.common.sources import Element, Misfit

PARTITION_ROWS = 2_000_000
"""How many rows a partition holds, on average."""

_RECORD = np.dtype([("first", "<u8"), ("second", "<u8"), ("element", "<u4"), ("row", "<u4")])
_DROP = np.dtype([("element", "<u4"), ("row", "<u4")])


class Drops(NamedTuple):
    """Where the rows to be dropped are listed.

    Attributes:
      folder: URI of the scratch folder.
      offsets: for each element, the part of each partition's list that is its own: (start, stop), in rows.
    """

    folder: str
    offsets: list[list[tuple[int, int]]]

    def of(self, element: int) -> np.ndarray:
        """The rows to be dropped from an element, counted from its first, int64, rising."""
        parts = [
            np.frombuffer(
                storage.read_range(_list(self.folder, number), start * _DROP.itemsize, stop * _DROP.itemsize), _DROP
            )["row"]
            for number, (start, stop) in enumerate(self.offsets[element])
            if start < stop
        ]
        return np.sort(np.concatenate(parts)).astype(np.int64) if parts else np.array([], np.int64)


def find_duplicates(
    elements: Sequence[Element],
    keys_of: Callable[[Element], Any],
    folder: str,
    **beam: object,
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
    partitions = max(1, -(-rows // PARTITION_ROWS))
    lines = map_merge(
        "collect: keys",
        list(enumerate(elements)),
        functools.partial(_spill, keys_of, folder, partitions),
        b"\n".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    spilled = [json.loads(line) for line in lines.splitlines()]
    if not all(spilled):
        raise Misfit
    lines = map_merge(
        "collect: duplicates",
        list(range(partitions)),
        functools.partial(_resolve, folder, spilled),
        b"\n".join,
        sizes=[sum(offsets[number + 1] - offsets[number] for offsets in spilled) for number in range(partitions)],
        **beam,
    )
    counts = np.array([json.loads(line) for line in lines.splitlines()], np.int64)
    ends = np.cumsum(counts, axis=1)
    offsets = [
        [(int(ends[part, element] - counts[part, element]), int(ends[part, element])) for part in range(partitions)]
        for element in range(len(elements))
    ]
    return Drops(folder, offsets)


def _spill(keys_of, folder: str, partitions: int, item: tuple[int, Element]) -> bytes:
    """Writes one element's hashes, partition by partition; gives where each begins."""
    number, element = item
    parts = []
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
    records = np.concatenate(parts) if parts else np.empty(0, _RECORD)
    partition = (hashing.shares(records["first"]) * partitions).astype(np.int64)
    order = np.argsort(partition, kind="stable")
    offsets = np.searchsorted(partition[order], np.arange(partitions + 1))
    storage.write_bytes(_spilled(folder, number), records[order].tobytes())
    return json.dumps(offsets.tolist()).encode()


def _resolve(folder: str, spilled: Sequence[Sequence[int]], partition: int) -> bytes:
    """Writes the list of one partition's rows to be dropped; gives how many each element has there."""
    parts = [
        np.frombuffer(
            storage.read_range(
                _spilled(folder, number),
                offsets[partition] * _RECORD.itemsize,
                offsets[partition + 1] * _RECORD.itemsize,
            ),
            _RECORD,
        )
        for number, offsets in enumerate(spilled)
        if offsets[partition] < offsets[partition + 1]
    ]
    records = np.concatenate(parts) if parts else np.empty(0, _RECORD)
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
    drops = drops[np.lexsort((drops["row"], drops["element"]))]
    storage.write_bytes(_list(folder, partition), drops.tobytes())
    return json.dumps(np.bincount(drops["element"], minlength=len(spilled)).tolist()).encode()


def _spilled(folder: str, element: int) -> str:
    return storage.join(folder, f"keys-{element:06d}")


def _list(folder: str, partition: int) -> str:
    return storage.join(folder, f"drops-{partition:06d}")
