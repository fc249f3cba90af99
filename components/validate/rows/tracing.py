"""Rules that need more than one row to be judged, at any size: keys are spilled, one partition is judged at a time.

What is spilled of a row is small: 128 bits of hash for a key, so that two different keys are taken for one with a
chance of n²/2¹²⁹ (numbers of 64 bits, alone, never are); for a monotone column the group's hash, the order and the
value. Keys fall into partitions by their hash. Ordered rows fall into ranges of (group, order), whose borders a sample
of the rows tells (as in TeraSort, O'Malley, 2008), so that one long group does not fill one partition; what crosses a
border is judged from the partitions' first and last rows.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import Dataset, read_element
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys
from headwater.components.validate.rows.rules import Monotone

PARTITION_ROWS = 1_000_000
"""How many rows a partition holds, on average."""

SMALL_KEYS = 1_000_000
"""A referenced dataset of no more rows is held as a set in each worker."""

_SAMPLE_ROWS = 65_536
_IMAGE_BYTES = 24
_RECORD = np.dtype([("first", "<u8"), ("second", "<u8"), ("row", "<u4")])
_PLACE = np.dtype([("element", "<u4"), ("row", "<u4")])


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


class KeySet(NamedTuple):
    """A referenced dataset's keys, held whole.

    Attributes:
      number: the rule's.
      columns: the columns whose keys must be in it.
      uri: URI of the sorted keys.
    """

    number: int
    columns: tuple[str, ...]
    uri: str


@dataclasses.dataclass(frozen=True)
class _Spill:
    """What of a rule's rows is written where.

    Attributes:
      number, kind, columns, monotone: as of the `Crossing`.
      borders: of a monotone column, where a partition begins, sorted; without the first.
      partitions: how many there are.
      side: "rows", or "keys" for what the rows refer to.
    """

    number: int
    kind: str
    columns: tuple[str, ...]
    monotone: Monotone | None
    borders: np.ndarray | None
    partitions: int
    side: str = "rows"


def trace(
    crossings: Sequence[Crossing], opened: Dataset, folder: str, **beam: object
) -> tuple[dict[int, list[Trace]], list[KeySet]]:
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
            uri = _hold(rule.number, rule.targets, rule.other.schema, others, folder, beam)
            sets.append(KeySet(rule.number, rule.columns, uri))
            continue
        partitions = max(1, -(-max(total, referenced) // PARTITION_ROWS))
        borders = None
        if rule.monotone is not None:
            borders = _borders(rule.columns, rule.monotone, opened.schema, elements, total, partitions, beam)
            partitions = len(borders) + 1
        spill = _Spill(rule.number, rule.kind, rule.columns, rule.monotone, borders, partitions)
        if rule.other:
            keys = dataclasses.replace(spill, columns=rule.targets, side="keys")
            referred[rule.number] = _spill_all("referenced keys", [keys], rule.other.schema, others, folder, beam)[0]
        spills.append(spill)
    if not spills:
        return {}, sets
    ends = _spill_all("keys", spills, opened.schema, elements, folder, beam)
    traces = _resolve_all(spills, ends, referred, len(elements), folder, beam)
    return traces, sets


def rows_of(found: Trace, folder: str) -> np.ndarray:
    """The rows that a trace lists, counted from the element's first, int64, rising."""
    parts = [np.array(found.rows, np.int64)]
    for partition, start, stop in found.parts:
        uri = _list(folder, found.number, partition)
        content = storage.read_range(uri, start * _PLACE.itemsize, stop * _PLACE.itemsize)
        parts.append(np.frombuffer(content, _PLACE)["row"].astype(np.int64))
    return np.sort(np.concatenate(parts))


def not_in_set(keys: KeySet, batch: pa.RecordBatch) -> np.ndarray:
    """The rows of a batch whose key is not in a set, int64, rising."""
    held = _load_set(keys.uri)
    columns = [as_key(_column(batch, name)) for name in keys.columns]
    rows, records = hash_keys(columns)
    first = held["first"]
    place = np.searchsorted(first, records["first"])
    found = np.zeros(len(records), bool)
    alike = place < len(first)
    while alike.any():
        candidates = np.minimum(place, max(len(first) - 1, 0))
        alike &= first[candidates] == records["first"]
        found |= alike & (held["second"][candidates] == records["second"])
        place += 1
        alike &= ~found & (place < len(first))
    return rows[~found]


def release_sets() -> None:
    """Lets go of the key sets that this process holds."""
    _load_set.cache_clear()


def _elements_of(opened: Dataset) -> list[Any]:
    return [element for split in opened.splits for element in opened.elements(split)]


def _hold(
    number: int,
    columns: Sequence[str],
    schema: pa.Schema,
    elements: Sequence[Any],
    folder: str,
    beam: Mapping[str, Any],
) -> str:
    """Writes the distinct keys that a rule refers to, sorted; gives their URI."""
    from headwater.components.common.beam import map_merge

    content = map_merge(
        "validate: referenced keys",
        elements,
        functools.partial(_distinct, _only(schema, columns), columns),
        _merge_distinct,
        sizes=[element.rows for element in elements],
        **beam,
    )
    uri = storage.join(folder, f"set-{number:04d}")
    storage.write_bytes(uri, content)
    return uri


def _distinct(schema: pa.Schema, columns: Sequence[str], element: Any) -> bytes:
    return _merge_distinct(
        [
            hash_keys([as_key(_column(batch, name)) for name in columns])[1].tobytes()
            for batch in read_element(element, schema)
        ]
    )


def _merge_distinct(contents: list[bytes]) -> bytes:
    keys = np.frombuffer(b"".join(contents), KEY)
    keys = keys[np.lexsort((keys["second"], keys["first"]))]
    if not len(keys):
        return b""
    new = (keys["first"][1:] != keys["first"][:-1]) | (keys["second"][1:] != keys["second"][:-1])
    return keys[np.concatenate([[True], new])].tobytes()


@functools.lru_cache(maxsize=64)
def _load_set(uri: str) -> dict[str, np.ndarray]:
    content = np.frombuffer(storage.read_bytes(uri), KEY)
    # Apart they lie close together in memory, and are searched faster.
    return {name: np.ascontiguousarray(content[name]) for name in ("first", "second")}


def _borders(
    columns: Sequence[str],
    asked: Monotone,
    schema: pa.Schema,
    elements: Sequence[Any],
    total: int,
    partitions: int,
    beam: Mapping[str, Any],
) -> np.ndarray:
    """Where the partitions of ordered rows begin, the first apart."""
    from headwater.components.common.beam import map_merge

    kind = f"S{8 + _IMAGE_BYTES}"
    if partitions == 1:
        return np.empty(0, kind)
    stride = max(1, total // _SAMPLE_ROWS)
    content = map_merge(
        "validate: order",
        list(enumerate(elements)),
        functools.partial(_sample, _only(schema, columns), asked, stride),
        b"".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    sample = np.sort(np.frombuffer(content, kind))
    places = np.arange(1, partitions) * len(sample) // partitions
    return np.unique(sample[places]) if len(sample) else np.empty(0, kind)


def _sample(schema: pa.Schema, asked: Monotone, stride: int, item: tuple[int, Any]) -> bytes:
    number, element = item
    found = []
    for first, batch in counted(read_element(element, schema)):
        rows = np.arange((-first) % stride, batch.num_rows, stride)
        table = _ordered_rows(batch.take(pa.array(rows)) if stride > 1 else batch, asked, first + rows)
        found.append(_images(table, number).tobytes())
    return b"".join(found)


def _spill_all(
    what: str, spills: list[_Spill], schema: pa.Schema, elements: Sequence[Any], folder: str, beam: Mapping[str, Any]
) -> list[list[list[int]]]:
    """Writes what rules need of all elements in one pass; gives by rule and element at what byte partitions begin."""
    from headwater.components.common.beam import map_merge

    columns = list(dict.fromkeys(name for spill in spills for name in spill.columns))
    lines = map_merge(
        f"validate: {what}",
        list(enumerate(elements)),
        functools.partial(_spill_element, spills, _only(schema, columns), folder),
        b"\n".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    by_element = [json.loads(line) for line in lines.splitlines()]
    return [[ends[place] for ends in by_element] for place in range(len(spills))]


def _spill_element(spills: Sequence[_Spill], schema: pa.Schema, folder: str, item: tuple[int, Any]) -> bytes:
    number, element = item
    parts: list[list[Any]] = [[] for _ in spills]
    for first, batch in counted(read_element(element, schema)):
        for spill, held in zip(spills, parts):
            if spill.monotone is not None:
                held.append(_ordered_rows(batch, spill.monotone, first + np.arange(batch.num_rows)))
                continue
            rows, keys = hash_keys([as_key(_column(batch, name)) for name in spill.columns])
            records = np.empty(len(keys), _RECORD)
            records["first"], records["second"], records["row"] = keys["first"], keys["second"], rows + first
            held.append(records)
    ends = []
    for spill, held in zip(spills, parts):
        content, offsets = (_pack_ordered if spill.monotone else _pack_keys)(spill, held, number)
        storage.write_bytes(_spilled(folder, spill.number, spill.side, number), content)
        ends.append(offsets)
    return json.dumps(ends).encode()


def _pack_keys(spill: _Spill, held: list[np.ndarray], _: int) -> tuple[bytes, list[int]]:
    records = np.concatenate([np.empty(0, _RECORD), *held])
    partition = (hashing.shares(records["first"]) * spill.partitions).astype(np.int64)
    order = np.argsort(partition, kind="stable")
    offsets = np.searchsorted(partition[order], np.arange(spill.partitions + 1))
    return records[order].tobytes(), (offsets * _RECORD.itemsize).tolist()


def _pack_ordered(spill: _Spill, held: list[pa.Table], number: int) -> tuple[bytes, list[int]]:
    if not held:
        return b"", [0] * (spill.partitions + 1)
    table = pa.concat_tables(held).combine_chunks()
    if spill.partitions == 1:
        content = _to_stream(table)
        return content, [0, len(content)]
    assert spill.borders is not None, "ordered rows have borders"
    partition = np.searchsorted(spill.borders, _images(table, number), side="right")
    order = np.argsort(partition, kind="stable")
    bounds = np.searchsorted(partition[order], np.arange(spill.partitions + 1))
    table = table.take(pa.array(order))
    pieces = [
        _to_stream(table.slice(start, stop - start)) if start < stop else b""
        for start, stop in zip(bounds[:-1], bounds[1:])
    ]
    return b"".join(pieces), np.cumsum([0, *map(len, pieces)]).tolist()


def _resolve_all(
    spills: Sequence[_Spill],
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
    found = [json.loads(line) for line in lines.splitlines()]
    traces: dict[int, list[Trace]] = {}
    place = 0
    for spill in spills:
        outcomes, place = found[place : place + spill.partitions], place + spill.partitions
        crossing: dict[int, list[int]] = {}
        if spill.monotone is not None:
            crossing = _over_borders(spill.monotone.strict, [outcome["ends"] for outcome in outcomes])
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


def _resolve(folder: str, item: tuple[_Spill, int, list[tuple[int, int]], list[tuple[int, int]]]) -> bytes:
    """Writes the list of one partition's rows that break the rule; gives how many each element has there."""
    spill, partition, pieces, others = item
    ends = ""
    if spill.monotone is not None:
        broken, ends = _fallen(spill.monotone.strict, _read_ordered(folder, spill.number, pieces))
    else:
        elements, records = _read_keys(folder, spill.number, "rows", pieces)
        if spill.kind == "unique":
            broken = _repeated(elements, records)
        else:
            broken = _unreferenced(elements, records, _read_keys(folder, spill.number, "keys", others)[1])
    broken = broken[np.lexsort((broken["row"], broken["element"]))]
    storage.write_bytes(_list(folder, spill.number, partition), broken.tobytes())
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
    return _places(elements[order][1:][again], known["row"][1:][again])


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
    return _places(elements[broken], records["row"][broken])


def _fallen(strict: bool, table: pa.Table | None) -> tuple[np.ndarray, str]:
    """The rows that fall, and the first and the last of all rows, as text."""
    if table is None or not table.num_rows:
        return np.empty(0, _PLACE), ""
    orders = [name for name in table.column_names if name.startswith("o")]
    keys = [(name, "ascending") for name in ("g1", "g2", *orders, "element", "row")]
    table = table.take(pc.sort_indices(table, sort_keys=keys)).combine_chunks()
    table = table.select(["g1", "g2", "v", "element", "row"])
    ends = table.take(pa.array([0, table.num_rows - 1]))
    return _falls(strict, table), base64.b64encode(_to_stream(ends)).decode()


def _falls(strict: bool, table: pa.Table) -> np.ndarray:
    """The rows of an ordered table whose value falls below that of the row before."""
    arrays = {name: _one(table[name]) for name in table.column_names}
    fall = pc.less_equal if strict else pc.less
    before, after = arrays["v"].slice(0, max(len(table) - 1, 0)), arrays["v"].slice(1)
    fell = fall(after, before).to_numpy(zero_copy_only=False)
    for name in ("g1", "g2"):
        group = arrays[name].to_numpy()
        fell &= group[1:] == group[:-1]
    return _places(arrays["element"].to_numpy()[1:][fell], arrays["row"].to_numpy()[1:][fell])


def _over_borders(strict: bool, ends: Sequence[str]) -> dict[int, list[int]]:
    """The rows that fall below the last of the partition before, by element."""
    tables = [pa.ipc.open_stream(base64.b64decode(text)).read_all() for text in ends if text]
    found: dict[int, list[int]] = {}
    for before, after in zip(tables, tables[1:]):
        for element, row in _falls(strict, pa.concat_tables([before.slice(1), after.slice(0, 1)])).tolist():
            found.setdefault(element, []).append(row)
    return found


def _read_keys(folder: str, rule: int, side: str, pieces: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """One partition's records of all elements, with their elements."""
    elements, records = [np.empty(0, np.uint32)], [np.empty(0, _RECORD)]
    for number, (start, stop) in enumerate(pieces):
        if start < stop:
            part = np.frombuffer(storage.read_range(_spilled(folder, rule, side, number), start, stop), _RECORD)
            elements.append(np.full(len(part), number, np.uint32))
            records.append(part)
    return np.concatenate(elements), np.concatenate(records)


def _read_ordered(folder: str, rule: int, pieces: Sequence[tuple[int, int]]) -> pa.Table | None:
    tables = []
    for number, (start, stop) in enumerate(pieces):
        if start < stop:
            content = storage.read_range(_spilled(folder, rule, "rows", number), start, stop)
            table = pa.ipc.open_stream(content).read_all()
            tables.append(table.append_column("element", pa.array(np.full(len(table), number, np.uint32))))
    return pa.concat_tables(tables).combine_chunks() if tables else None


def _ordered_rows(batch: pa.RecordBatch, asked: Monotone, rows: np.ndarray) -> pa.Table:
    """What a monotone rule needs of rows, without those that have a missing value or NaN in what is ordered."""
    groups = [as_key(_column(batch, name)) for name in asked.group]
    first = hashing.hash_rows(groups) if groups else np.zeros(batch.num_rows, np.uint64)
    second = hashing.second_hash(groups) if groups else np.zeros(batch.num_rows, np.uint64)
    values = [_sortable(_column(batch, name)) for name in [asked.column, *asked.order]]
    columns = {"g1": pa.array(first), "g2": pa.array(second), "v": values[0]}
    columns.update({f"o{place}": value for place, value in enumerate(values[1:])})
    columns["row"] = pa.array(rows.astype(np.uint32))
    table = pa.table(columns)
    kept = np.ones(batch.num_rows, bool)
    for value in values:
        kept &= pc.is_valid(value).to_numpy(zero_copy_only=False)
        if pa.types.is_floating(value.type):
            kept &= ~pc.fill_null(pc.is_nan(value), False).to_numpy(zero_copy_only=False)
    return table if kept.all() else table.filter(pa.array(kept))


def _images(table: pa.Table, number: int) -> np.ndarray:
    """Group and first order column (or place) as bytes that sort alike, but for text that differs late."""
    image = np.zeros((table.num_rows, 8 + _IMAGE_BYTES), np.uint8)
    image[:, :8] = _big_endian(_one(table["g1"]).to_numpy())
    if "o0" not in table.column_names:
        rows = _one(table["row"]).to_numpy().astype(np.uint64)
        image[:, 8:16] = _big_endian(rows + (np.uint64(number) << np.uint64(32)))
        return image.view(f"S{8 + _IMAGE_BYTES}").ravel()
    order = _one(table["o0"])
    kind = order.type
    if pa.types.is_large_binary(kind):
        offsets = np.frombuffer(order.buffers()[1], np.int64)[order.offset : order.offset + len(order) + 1]
        content = np.frombuffer(order.buffers()[2] or b"", np.uint8)
        lengths = np.diff(offsets)
        for place in range(_IMAGE_BYTES):
            long = np.flatnonzero(lengths > place)
            image[long, 8 + place] = content[offsets[long] + place]
    elif pa.types.is_unsigned_integer(kind):
        image[:, 8:16] = _big_endian(order.to_numpy().astype(np.uint64))
    elif pa.types.is_integer(kind):
        image[:, 8:16] = _big_endian(order.to_numpy().astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63))
    else:
        bits = (order.cast(pa.float64()).to_numpy() + 0.0).view(np.uint64)
        negative = bits >> np.uint64(63) == 1
        image[:, 8:16] = _big_endian(np.where(negative, ~bits, bits | np.uint64(1 << 63)))
    return image.view(f"S{8 + _IMAGE_BYTES}").ravel()


def _big_endian(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.astype(">u8")).view(np.uint8).reshape(-1, 8)


def _sortable(array: pa.Array) -> pa.Array:
    """Values as a type that pyarrow sorts and compares: numbers, decimals, bytes."""
    array = decoded(array)
    kind = array.type
    if pa.types.is_boolean(kind):
        return array.cast(pa.int8())
    if pa.types.is_float16(kind):
        return pa.array(array.to_numpy(zero_copy_only=False).astype(np.float64), mask=_missing(array))
    if pa.types.is_temporal(kind):
        return array.view(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return array.cast(pa.large_string()).cast(pa.large_binary())
    return array.cast(pa.large_binary()) if pa.types.is_binary(kind) else array


def counted(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches, each with the number of rows before it."""
    rows = 0
    for batch in batches:
        yield rows, batch
        rows += batch.num_rows


def _places(elements: np.ndarray, rows: np.ndarray) -> np.ndarray:
    found = np.empty(len(rows), _PLACE)
    found["element"], found["row"] = elements, rows
    return found


def _only(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in dict.fromkeys(names)])


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _missing(array: pa.Array) -> np.ndarray:
    return pc.is_null(array).to_numpy(zero_copy_only=False)


def _to_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _spilled(folder: str, rule: int, side: str, element: int) -> str:
    return storage.join(folder, f"{side}-{rule:04d}-{element:06d}")


def _list(folder: str, rule: int, partition: int) -> str:
    return storage.join(folder, f"broken-{rule:04d}-{partition:06d}")
