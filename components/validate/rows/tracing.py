"""Rules that need more than one row to be judged, at any size: keys are spilled, one partition is judged at a time.

What is spilled of a row is small: 128 bits of hash for a key, so that two different keys are taken for one with a
chance of n²/2¹²⁹ (numbers of 64 bits, alone, never are); for a monotone column the group's hash, the order and the
value. Keys fall into partitions by their hash. Ordered rows fall into ranges of (group, order), whose borders a sample
of the rows tells (as in TeraSort, O'Malley, 2008), so that one long group does not fill one partition; what crosses a
border is judged from the partitions' first and last rows.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import Dataset, read_element
from headwater.components.common.keys import as_key, hash_keys
from headwater.components.validate.rows import key_sets, ordering
from headwater.components.validate.rows.rules import Monotone
from headwater.components.validate.rows.spills import (
    PLACE,
    Spill,
    as_places,
    column_of,
    counted,
    list_uri,
    only,
    spilled_uri,
)

PARTITION_ROWS = 1_000_000
"""How many rows a partition holds, on average."""

SMALL_KEYS = 1_000_000
"""A referenced dataset of no more rows is held as a set in each worker."""

_RECORD = np.dtype([("first", "<u8"), ("second", "<u8"), ("row", "<u4")])


@dataclasses.dataclass(frozen=True)
class Crossing:
    """A rule over many rows.

    Attributes:
      number: its number among all rules.
      kind: "unique", "references" or "monotone".
      columns: the columns that it reads; of a key, in order.
      monotone: what is asked of a monotone column.
      targets: the columns that a key refers to.
      other: the dataset that it refers to.
    """

    number: int
    kind: str
    columns: tuple[str, ...]
    monotone: Monotone | None = None
    targets: tuple[str, ...] = ()
    other: Dataset | None = None


class Trace(NamedTuple):
    """Where one element's rows that break one rule are listed.

    Attributes:
      number: the rule's.
      parts: (partition, start, stop): the part of each partition's list that is the element's.
      rows: rows that are listed nowhere else.
    """

    number: int
    parts: tuple[tuple[int, int, int], ...]
    rows: tuple[int, ...]


def trace(
    crossings: Sequence[Crossing], opened: Dataset, folder: str, **beam: object
) -> tuple[dict[int, list[Trace]], list[key_sets.KeySet]]:
    """Finds the rows that break rules over many rows.

    Args:
      crossings: the rules.
      opened: the dataset.
      folder: URI of a scratch folder that every worker reaches; the lists lie there.
      **beam: options of `beam.map_merge`.

    Returns:
      The traces by the element's number, in the order of splits; and the key sets that rows can be held against one by
      one, which have no traces.
    """
    elements = _elements_of(opened)
    if not crossings or not elements:
        return {}, []
    total = sum(element.rows for element in elements)
    sets, spills, referred = [], [], {}
    for rule in crossings:
        others = _elements_of(rule.other) if rule.other else []
        referenced = sum(element.rows for element in others)
        if rule.other and referenced <= SMALL_KEYS:
            uri = key_sets.hold(rule.number, rule.targets, rule.other.schema, others, folder, beam)
            sets.append(key_sets.KeySet(rule.number, rule.columns, uri))
            continue
        partitions = max(1, -(-max(total, referenced) // PARTITION_ROWS))
        borders = None
        if rule.monotone is not None:
            borders = ordering.borders_of(rule.columns, rule.monotone, opened.schema, elements, total, partitions, beam)
            partitions = len(borders) + 1
        spill = Spill(rule.number, rule.kind, rule.columns, rule.monotone, borders, partitions)
        if rule.other:
            keys = dataclasses.replace(spill, columns=rule.targets, side="keys")
            referred[rule.number] = _spill_all("referenced keys", [keys], rule.other.schema, others, folder, beam)[0]
        spills.append(spill)
    if not spills:
        return {}, sets
    ends = _spill_all("keys", spills, opened.schema, elements, folder, beam)
    traces = _resolve_all(spills, ends, referred, len(elements), folder, beam)
    return traces, sets


def rows_of(trace: Trace, folder: str) -> np.ndarray:
    """The rows that a trace lists, counted from the element's first, int64, rising."""
    parts = [np.array(trace.rows, np.int64)]
    for partition, start, stop in trace.parts:
        uri = list_uri(folder, trace.number, partition)
        content = storage.read_range(uri, start * PLACE.itemsize, stop * PLACE.itemsize)
        parts.append(np.frombuffer(content, PLACE)["row"].astype(np.int64))
    return np.sort(np.concatenate(parts))


def _elements_of(opened: Dataset) -> list[Any]:
    return [element for split in opened.splits for element in opened.elements(split)]


def _spill_all(
    what: str, spills: list[Spill], schema: pa.Schema, elements: Sequence[Any], folder: str, beam: Mapping[str, Any]
) -> list[list[list[int]]]:
    """Writes what rules need of all elements in one pass; gives by rule and element at what byte partitions begin."""
    from headwater.components.common.beam import map_merge

    columns = list(dict.fromkeys(name for spill in spills for name in spill.columns))
    lines = map_merge(
        f"validate: {what}",
        list(enumerate(elements)),
        functools.partial(_spill_element, spills, only(schema, columns), folder),
        b"\n".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    by_element = [json.loads(line) for line in lines.splitlines()]
    return [[ends[place] for ends in by_element] for place in range(len(spills))]


def _spill_element(spills: Sequence[Spill], schema: pa.Schema, folder: str, item: tuple[int, Any]) -> bytes:
    number, element = item
    parts: list[list[Any]] = [[] for _ in spills]
    for first, batch in counted(read_element(element, schema)):
        for spill, held in zip(spills, parts):
            if spill.monotone is not None:
                held.append(ordering.ordered_rows(batch, spill.monotone, first + np.arange(batch.num_rows)))
                continue
            rows, keys = hash_keys([as_key(column_of(batch, name)) for name in spill.columns])
            records = np.empty(len(keys), _RECORD)
            records["first"], records["second"], records["row"] = keys["first"], keys["second"], rows + first
            held.append(records)
    ends = []
    for spill, held in zip(spills, parts):
        content, offsets = (ordering.pack if spill.monotone else _pack_keys)(spill, held, number)
        storage.write_bytes(spilled_uri(folder, spill.number, spill.side, number), content)
        ends.append(offsets)
    return json.dumps(ends).encode()


def _pack_keys(spill: Spill, held: list[np.ndarray], _: int) -> tuple[bytes, list[int]]:
    records = np.concatenate([np.empty(0, _RECORD), *held])
    partition = (hashing.shares(records["first"]) * spill.partitions).astype(np.int64)
    order = np.argsort(partition, kind="stable")
    offsets = np.searchsorted(partition[order], np.arange(spill.partitions + 1))
    return records[order].tobytes(), (offsets * _RECORD.itemsize).tolist()


def _resolve_all(
    spills: Sequence[Spill],
    ends: Sequence[list[list[int]]],
    referred: Mapping[int, list[list[int]]],
    elements: int,
    folder: str,
    beam: Mapping[str, Any],
) -> dict[int, list[Trace]]:
    """Judges every partition of every rule in one pass."""
    from headwater.components.common.beam import map_merge

    items, sizes = [], []
    for spill, own in zip(spills, ends):
        for partition in range(spill.partitions):
            pieces = [(offsets[partition], offsets[partition + 1]) for offsets in own]
            others = [(offsets[partition], offsets[partition + 1]) for offsets in referred.get(spill.number, ())]
            items.append((dataclasses.replace(spill, borders=None), partition, pieces, others))
            sizes.append(sum(stop - start for start, stop in pieces))
    lines = map_merge(
        "validate: across rows",
        items,
        functools.partial(_resolve, folder),
        b"\n".join,
        sizes=sizes,
        unit="bytes",
        **beam,
    )
    decoded = [json.loads(line) for line in lines.splitlines()]
    traces: dict[int, list[Trace]] = {}
    place = 0
    for spill in spills:
        outcomes, place = decoded[place : place + spill.partitions], place + spill.partitions
        crossing: dict[int, list[int]] = {}
        if spill.monotone is not None:
            crossing = ordering.over_borders(spill.monotone.strict, [outcome["ends"] for outcome in outcomes])
        counts = np.array([outcome["counts"] for outcome in outcomes], np.int64)
        stops = np.cumsum(counts, axis=1)
        for element in range(elements):
            parts = tuple(
                (partition, int(stops[partition, element] - counts[partition, element]), int(stops[partition, element]))
                for partition in np.flatnonzero(counts[:, element]).tolist()
            )
            rows = tuple(crossing.get(element, ()))
            if parts or rows:
                traces.setdefault(element, []).append(Trace(spill.number, parts, rows))
    return traces


def _resolve(folder: str, item: tuple[Spill, int, list[tuple[int, int]], list[tuple[int, int]]]) -> bytes:
    """Writes the list of one partition's rows that break the rule; gives how many each element has there."""
    spill, partition, pieces, others = item
    ends = ""
    if spill.monotone is not None:
        broken, ends = ordering.fallen(spill.monotone.strict, ordering.read(folder, spill.number, pieces))
    else:
        elements, records = _read_keys(folder, spill.number, "rows", pieces)
        if spill.kind == "unique":
            broken = _repeated(elements, records)
        else:
            broken = _unreferenced(elements, records, _read_keys(folder, spill.number, "keys", others)[1])
    broken = broken[np.lexsort((broken["row"], broken["element"]))]
    storage.write_bytes(list_uri(folder, spill.number, partition), broken.tobytes())
    counts = np.bincount(broken["element"], minlength=len(pieces))
    return json.dumps({"counts": counts.tolist(), "ends": ends}).encode()


def _repeated(elements: np.ndarray, records: np.ndarray) -> np.ndarray:
    """The rows whose key stands before."""
    # Few keys are twice there: all else falls out after one sort.
    order = np.argsort(records["first"], kind="stable")
    first = records["first"][order]
    same = first[1:] == first[:-1]
    order = order[np.concatenate([same, [False]])[: len(first)] | np.concatenate([[False], same])[: len(first)]]
    order = order[
        np.lexsort((records["row"][order], elements[order], records["second"][order], records["first"][order]))
    ]
    known = records[order]
    again = (known["first"][1:] == known["first"][:-1]) & (known["second"][1:] == known["second"][:-1])
    return as_places(elements[order][1:][again], known["row"][1:][again])


def _unreferenced(elements: np.ndarray, records: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The rows whose key is not among the keys."""
    first = np.concatenate([keys["first"], records["first"]])
    second = np.concatenate([keys["second"], records["second"]])
    is_row = np.concatenate([np.zeros(len(keys), bool), np.ones(len(records), bool)])
    order = np.lexsort((is_row, second, first))
    first, second, is_row = first[order], second[order], is_row[order]
    new = np.concatenate([[True], (first[1:] != first[:-1]) | (second[1:] != second[:-1])])[: len(first)]
    starts = np.flatnonzero(new)
    # Keys go before rows in a run of equals, so that a run which begins with a row has no key.
    without = np.repeat(is_row[starts], np.diff(np.append(starts, len(first))))
    broken = order[is_row & without] - len(keys)
    return as_places(elements[broken], records["row"][broken])


def _read_keys(folder: str, rule: int, side: str, pieces: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """One partition's records of all elements, with their elements."""
    elements, records = [np.empty(0, np.uint32)], [np.empty(0, _RECORD)]
    for number, (start, stop) in enumerate(pieces):
        if start < stop:
            part = np.frombuffer(storage.read_range(spilled_uri(folder, rule, side, number), start, stop), _RECORD)
            elements.append(np.full(len(part), number, np.uint32))
            records.append(part)
    return np.concatenate(elements), np.concatenate(records)
