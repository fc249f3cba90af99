"""Duplicates by key, at any size: hashes of keys are spilled in partitions, and one partition is looked at at a time.

Of the rows with one key the first stays, in the order of sources and of rows in them. A key is 128 bits of hash, so two
different keys are taken for one with a chance of n²/2¹²⁹.

Ranges are spilled in runs of neighbours, so that files and requests grow with rows divided by the rows of a partition, squared. Of
the rows of a run with one key only the first is spilled: one key that most rows have is no large partition.
"""

from __future__ import annotations

import bisect
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import hashing, partitions, storage
from headwater.components.common.items import Numbered
from headwater.components.common.partitions import PartitionResults, Spilled
from headwater.components.common.sources import Element, Misfit
from headwater.components.common.sources.joining import joined

PARTITION_ROWS = 2_000_000
"""How many rows a partition holds, on average, and a run at most."""

_NAME = "keys"
_RECORD = np.dtype([("first", "<u8"), ("second", "<u8"), ("element", "<u4"), ("row", "<u4")])
# `element` is the run here, as what is given back is to be found by it.
_DROP = np.dtype([("element", "<u4"), ("range", "<u4"), ("row", "<u4")])


class Drops(NamedTuple):
    """The rows to be dropped.

    Attributes:
      dropped: those whose key stands in an earlier run, by run.
      own: of each run, how many rows repeat a key of the same run.
      starts: the first range of each run.
    """

    dropped: PartitionResults
    own: Sequence[int]
    starts: Sequence[int]

    def of(self, element: int) -> np.ndarray:
        """The rows to be dropped from an element, counted from its first, int64, rising."""
        drops = self._of_run(bisect.bisect_right(self.starts, element) - 1)
        return np.sort(drops["row"][drops["range"] == element]).astype(np.int64)

    def _of_run(self, run: int) -> np.ndarray:
        global _last
        folder = self.dropped.folder
        # Neighbours follow each other.
        if _last is None or _last[0] != (folder, run):
            own = np.empty(0, _DROP)
            if self.own[run]:
                own = np.frombuffer(storage.read_bytes(_own(folder, run)), _DROP)
            _last = (folder, run), np.concatenate([own, self.dropped.of(run)])
        return _last[1]


_last: tuple[tuple[str, int], np.ndarray] | None = None


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
      folder: URI of a scratch folder that every worker reaches, of this search alone.
      **beam: options of `beam.map_merge`.

    Raises:
      Misfit: what was guessed of the types does not hold.
    """
    from headwater.components.common.beam import map_merge

    sizes = [element.rows for element in elements]
    count = max(1, -(-sum(sizes) // PARTITION_ROWS))
    runs = joined(list(enumerate(elements)), (sizes, PARTITION_ROWS))
    lines = map_merge(
        "collect: keys",
        [Numbered(number, run) for number, run in enumerate(runs)],
        functools.partial(_spill, keys_of, folder, count),
        b"\n".join,
        sizes=[sum(element.rows for _, element in run) for run in runs],
        **beam,
    )
    told = [json.loads(line) for line in lines.splitlines()]
    if not all(told):
        raise Misfit
    spilled = Spilled(folder, _NAME, _RECORD, [bounds for bounds, _ in told])
    starts = [run[0][0] for run in runs]
    lines = map_merge(
        "collect: duplicates",
        list(range(count)),
        functools.partial(_resolve, spilled, starts),
        b"\n".join,
        sizes=[spilled.rows(number) for number in range(count)],
        **beam,
    )
    found = PartitionResults(folder, _NAME, _DROP, [json.loads(line) for line in lines.splitlines()])
    return Drops(found, [own for _, own in told], starts)


def _spill(keys_of, folder: str, count: int, item: Numbered) -> bytes:
    """Writes the hashes of a run of numbered ranges, of each key the first; gives where each partition begins and how many rows repeat a key, or
    nothing for a misfit."""
    run, elements = item
    parts = [np.empty(0, _RECORD)]
    try:
        for number, element in elements:
            for keys, rows in keys_of(element):
                records = np.empty(keys.num_rows, _RECORD)
                records["first"] = hashing.hash_rows(keys.columns)
                records["second"] = hashing.second_hash(keys.columns)
                records["element"] = number
                records["row"] = rows - element.first_row
                parts.append(records)
    except Misfit:
        return json.dumps([]).encode()
    every = np.concatenate(parts)
    again = _repeated(every)
    if len(again):
        drops = _drops(every[again], np.full(len(again), run))
        storage.write_bytes(_own(folder, run), pa.py_buffer(drops))
        every = np.delete(every, again)
    return json.dumps([partitions.spill(folder, _NAME, run, [every], count), len(again)]).encode()


def _resolve(spilled: Spilled, starts: Sequence[int], partition: int) -> bytes:
    """Writes the list of one partition's rows to be dropped; gives where each run's begin."""
    records = spilled.read(partition)
    again = records[_repeated(records)]
    runs = np.searchsorted(np.array(starts), again["element"], "right") - 1
    given = partitions.give_back(spilled.folder, _NAME, partition, _drops(again, runs), len(starts))
    return json.dumps(given).encode()


def _repeated(records: np.ndarray) -> np.ndarray:
    """The places of the records whose key another has that stands before, in the order of sources."""
    order = np.argsort(records["first"], kind="stable")
    first = records["first"][order]
    same = first[1:] == first[:-1]
    alike = order[np.concatenate([same, [False]]) | np.concatenate([[False], same])] if len(order) else order
    candidates = records[alike]
    by = np.lexsort((candidates["row"], candidates["element"], candidates["second"], candidates["first"]))
    alike, candidates = alike[by], candidates[by]
    again = (candidates["first"][1:] == candidates["first"][:-1]) & (
        candidates["second"][1:] == candidates["second"][:-1]
    )
    return alike[1:][again]


def _drops(records: np.ndarray, runs: np.ndarray) -> np.ndarray:
    drops = np.empty(len(records), _DROP)
    drops["element"], drops["range"], drops["row"] = runs, records["element"], records["row"]
    return drops


def _own(folder: str, run: int) -> str:
    return storage.join(folder, f"{_NAME}-own-{run:06d}")
