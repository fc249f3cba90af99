"""Classes that other data tells of the dataset's rows, found by key, and by time where both sides have one.

Either side may exceed memory: both are spilled in partitions by key in one pass, then one partition is matched at a time.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing, partitions
from headwater.components.common.dataset import read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys
from headwater.components.common.partitions import PartitionResults, Spilled
from headwater.components.common.times import microseconds
from headwater.components.label import delays
from headwater.components.label.attribution.columns import On, is_plain_number
from headwater.components.label.attribution.matching import (
    CARRIED,
    DISPUTED,
    EVENT,
    FATES,
    NOTHING,
    PREDICTION,
    Rules,
    match,
)
from headwater.components.label.attribution.waiting import read_waiting, waiting_uri, write_waiting
from headwater.components.label.methods import Item

PARTITION_ROWS = 500_000
"""How many rows of both sides together a partition holds, on average."""

UNTIMED = Rules(window=0, as_of=1, conflict="abstain", attribution="last", earliest=0)
"""For sides without a time: a row has the class that its key has, if that is one class."""
_RESULT = np.dtype([("element", "<u4"), ("row", "<u4"), ("code", "i1")])
_ROWS, _OTHER = "rows", "other"
_ROW_COUNTS = ("rows", "no_key", "no_time", "matured")
_OTHER_COUNTS = ("read", "no_key", "no_time", "failed", "no_class", "outside")


class Coded(NamedTuple):
    """What a batch of other data tells.

    Attributes:
      codes: int8, one a row: the class's number, or `ABSTAIN` or `OUTSIDE` of `classes`.
      failed: how many rows it could not be computed for, `ABSTAIN` there.
    """

    codes: np.ndarray
    failed: int


class Other(NamedTuple):
    """Other data.

    Attributes:
      elements: what `read_element` reads.
      schema: the columns that are read.
      code: tells the classes of a batch; picklable.
      classes: their names.
      carried: files of events that waited, as `Joined.carried` gave them.
    """

    elements: Sequence[Any]
    schema: pa.Schema
    code: Callable[[pa.RecordBatch], Coded]
    classes: tuple[str, ...]
    carried: Sequence[str] = ()


class Joined(NamedTuple):
    """What was found.

    Attributes:
      matches: of each item the rows for which something was found; `of` reads them.
      rows: counts of the dataset's rows: `rows`, `no_key`, `no_time`, `matured`; `disputed`, and by class `classes`, of
        the matured ones.
      other: counts of the other data's: `read`, `no_key`, `no_time`, `failed`, `no_class`, `outside`, and by `FATES`.
      delays: as `delays.count` gives them.
      carried: URIs of Parquet files of events that wait, in `CARRIED_SCHEMA`.
    """

    matches: PartitionResults
    rows: Mapping[str, Any]
    other: Mapping[str, int]
    delays: np.ndarray
    carried: list[str]

    def of(self, number: int, rows: int) -> np.ndarray:
        """The class of each row of an item, int8: its number, `NOTHING` or `DISPUTED`."""
        return codes_of(self.matches, number, rows)


def codes_of(matches: PartitionResults, number: int, rows: int) -> np.ndarray:
    """As `Joined.of`."""
    codes = np.full(rows, NOTHING, np.int8)
    records = matches.of(number)
    codes[records["row"]] = records["code"]
    return codes


def join(
    what: str,
    items: Sequence[Item],
    schema: pa.Schema,
    other: Other,
    on: On,
    rules: Rules,
    folder: str,
    beam: Mapping[str, Any],
) -> Joined:
    """Finds the class of each row.

    Args:
      what: for progress.
      items: all elements of the dataset.
      schema: the dataset's.
      other: the other data.
      on: by what they belong together.
      rules: how events are matched; `earliest` is found here.
      folder: URI of a scratch folder for this join alone.
      beam: options of `map_merge`.
    """
    from headwater.components.common.beam import map_merge

    own = pa.schema([schema.field(name) for name in dict.fromkeys([*on.rows, *([on.row_time] if on.row_time else [])])])
    work = [
        *((_ROWS, number, item) for number, item in enumerate(items)),
        *((_OTHER, number, element) for number, element in enumerate([*other.elements, *other.carried])),
    ]
    sizes = [item.element.rows for item in items] + [element.rows for element in other.elements]
    sizes += [0] * len(other.carried)
    count = max(1, -(-sum(sizes) // PARTITION_ROWS))
    lines = map_merge(
        f"label: read {what}",
        work,
        functools.partial(_spill, own, other._replace(elements=(), carried=()), on, rules, folder, count),
        b"\n".join,
        sizes=sizes,
        **beam,
    )
    summary = [json.loads(line) for line in lines.splitlines()]
    sides = {_ROWS: summary[: len(items)], _OTHER: summary[len(items) :]}
    spilled = [
        Spilled(folder, name, kind, [each["bounds"] for each in sides[name]])
        for name, kind in ((_ROWS, PREDICTION), (_OTHER, EVENT))
    ]
    earliest = min((each["earliest"] for each in sides[_ROWS] if each["earliest"] is not None), default=0)
    lines = map_merge(
        f"label: match {what}",
        list(range(count)),
        functools.partial(_resolve, spilled, rules._replace(earliest=earliest), other.classes, on.rows),
        b"\n".join,
        sizes=[sum(side.rows(number) for side in spilled) for number in range(count)],
        **beam,
    )
    resolved = [json.loads(line) for line in lines.splitlines()]
    counts = np.zeros(delays.BINS**2, np.int64)
    for each in resolved:
        counts[each["delays"][0]] += np.array(each["delays"][1], np.int64)
    rows: dict[str, Any] = {name: sum(each["counts"][name] for each in sides[_ROWS]) for name in _ROW_COUNTS}
    events = {name: sum(each["counts"][name] for each in sides[_OTHER]) for name in _OTHER_COUNTS}
    events.update(zip(FATES, np.sum([each["fates"] for each in resolved], 0).tolist()))
    rows["classes"] = np.sum([each["classes"] for each in resolved], 0).tolist()
    rows["disputed"] = sum(each["disputed"] for each in resolved)
    _check_sums(events)
    return Joined(
        PartitionResults(folder, _ROWS, _RESULT, [each["bounds"] for each in resolved]),
        rows,
        events,
        counts.reshape(delays.BINS, delays.BINS),
        [waiting_uri(folder, number) for number, each in enumerate(resolved) if each["fates"][CARRIED]],
    )


def among(batch: pa.RecordBatch, other: Other, on: On) -> np.ndarray:
    """The class of each row of one batch by key, as `Joined.of` gives it: for a sample, whose keys fit in memory."""
    rows, keys = _hash(_keys_of(batch, on.rows, on.types))
    own = np.zeros(len(keys), PREDICTION)
    own["first"], own["second"] = keys["first"], keys["second"]
    wanted = np.unique(keys["first"])
    held = [np.empty(0, EVENT)]
    for element in other.elements:
        for part in read_element(element, other.schema):
            records, _ = _events_of(part, other, on)
            held.append(records[np.isin(records["first"], wanted)])
    codes = np.full(batch.num_rows, NOTHING, np.int8)
    codes[rows] = match(own, np.concatenate(held), UNTIMED).codes
    return codes


def _spill(
    schema: pa.Schema, other: Other, on: On, rules: Rules, folder: str, count: int, work: tuple[str, int, Any]
) -> bytes:
    """Writes one element's records; gives where its partitions begin, and counts, as JSON."""
    side, number, element = work
    earliest = None
    if side == _ROWS:
        counts = dict.fromkeys(_ROW_COUNTS, 0)
        parts, start = [], 0
        for batch in read_element(element.element, schema):
            records = _predictions_of(batch, on, number, start, counts)
            counts["matured"] += int((records["time"] <= rules.as_of - rules.window).sum())
            start += batch.num_rows
            parts.append(records)
        times = [part["time"].min() for part in parts if len(part)]
        earliest = int(min(times)) if times else None
    else:
        counts = dict.fromkeys(_OTHER_COUNTS, 0)
        parts = []
        if isinstance(element, str):
            parts.append(read_waiting(element, other.classes, on.rows))
            counts["read"] += len(parts[-1])
        else:
            for batch in read_element(element, other.schema):
                records, own = _events_of(batch, other, on)
                counts = {name: counts[name] + own[name] for name in counts}
                parts.append(records)
    parts = parts or [np.empty(0, PREDICTION if side == _ROWS else EVENT)]
    bounds = partitions.spill(folder, side, number, parts, count)
    return json.dumps({"bounds": bounds, "counts": counts, "earliest": earliest}).encode()


def _hash(columns: Sequence[pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """As `hash_keys`; numbers are hashed one to one, so that a key that is one of them has no second hash."""
    if len(columns) > 1 or not is_plain_number(columns[0].type):
        return hash_keys(columns)
    keys = np.zeros(len(columns[0]), KEY)
    keys["first"] = hashing.hash_rows(columns)
    if not columns[0].null_count:
        return np.arange(len(keys)), keys
    rows = np.flatnonzero(pc.is_valid(columns[0]).to_numpy(zero_copy_only=False))
    return rows, keys[rows]


def _predictions_of(batch: pa.RecordBatch, on: On, number: int, start: int, counts: dict[str, int]) -> np.ndarray:
    rows, keys = _hash(_keys_of(batch, on.rows, on.types))
    counts["rows"] += batch.num_rows
    timed = _timed(batch, on.row_time)
    # Without a time a row is of no span, whatever its key.
    usable = _of(timed, rows)
    counts["no_time"] += int((~timed).sum())
    counts["no_key"] += int(timed.sum()) - int(usable.sum())
    records = np.empty(len(rows), PREDICTION)
    records["first"], records["second"] = keys["first"], keys["second"]
    records["time"] = _of(_times(batch, on.row_time), rows)
    records["element"], records["row"] = number, rows + start
    return records if usable.all() else records[usable]


def _events_of(batch: pa.RecordBatch, other: Other, on: On) -> tuple[np.ndarray, dict[str, int]]:
    rows, keys = _hash(_keys_of(batch, on.other, on.types))
    timed = _of(_timed(batch, on.other_time), rows)
    every, failed = other.code(batch)
    codes = _of(every, rows)
    records = np.empty(len(rows), EVENT)
    records["first"], records["second"], records["code"] = keys["first"], keys["second"], codes
    records["time"] = _of(_times(batch, on.other_time), rows)
    usable = timed & (codes >= 0)
    return records if usable.all() else records[usable], {
        "read": batch.num_rows,
        "no_key": batch.num_rows - len(rows),
        "no_time": int((~timed).sum()),
        "failed": failed,
        "no_class": int((timed & (codes == NOTHING)).sum()),
        "outside": int((timed & (codes < NOTHING)).sum()),
    }


def _of(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values of some rows, rising; mostly they are all."""
    return values if len(rows) == len(values) else values[rows]


def _times(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """Microseconds; 0 without a column."""
    return microseconds(decoded(_column(batch, name))) if name else np.zeros(batch.num_rows, np.int64)


def _keys_of(batch: pa.RecordBatch, names: Sequence[str], types: Sequence[pa.DataType | None]) -> list[pa.Array]:
    columns = [decoded(_column(batch, name)) for name in names]
    return [
        as_key(column if kind is None or column.type == kind else column.cast(kind, safe=False))
        for column, kind in zip(columns, types)
    ]


def _timed(batch: pa.RecordBatch, name: str) -> np.ndarray:
    if not name:
        return np.ones(batch.num_rows, bool)
    return pc.is_valid(_column(batch, name)).to_numpy(zero_copy_only=False)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _resolve(
    spilled: Sequence[Spilled], rules: Rules, classes: tuple[str, ...], columns: Sequence[str], partition: int
) -> bytes:
    """Matches one partition; gives where each element's rows begin, and counts, as JSON."""
    rows, other = (side.read(partition) for side in spilled)
    matched = match(rows, other, rules)
    some = np.flatnonzero(matched.codes != NOTHING)
    records = np.empty(len(some), _RESULT)
    records["element"], records["row"], records["code"] = rows["element"][some], rows["row"][some], matched.codes[some]
    bounds = partitions.give_back(spilled[0].folder, _ROWS, partition, records, len(spilled[0].bounds))
    fates = np.bincount(matched.fates, minlength=len(FATES))
    if fates[CARRIED]:
        write_waiting(waiting_uri(spilled[0].folder, partition), other[matched.fates == CARRIED], classes, columns)
    counts = delays.count(matched.delays, matched.seen).ravel()
    places = np.flatnonzero(counts)
    return json.dumps(
        {
            "bounds": bounds,
            "fates": fates.tolist(),
            "classes": np.bincount(matched.codes[matched.codes >= 0], minlength=len(classes)).tolist(),
            "disputed": int((matched.codes == DISPUTED).sum()),
            "delays": [places.tolist(), counts[places].tolist()],
        }
    ).encode()


def _check_sums(events: Mapping[str, int]) -> None:
    ends = sum(count for name, count in events.items() if name not in ("read", "failed"))
    if events["read"] != ends:
        raise HeadwaterError(f"the counts of events do not add up: {events['read']:,} read, {ends:,} accounted for")
