"""Lookups: a keyed left join to a smaller source. It adds columns, and never changes the number of rows."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common import hashing, storage, stores
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import PLACE


class Lookup(pydantic.BaseModel):
    """A smaller source that is joined.

    Attributes:
      source: path, folder, glob or URI of a dataset or of plain files; it is held in memory.
      on: the columns of the rows by the lookup's columns that they must equal.
      columns: the lookup's columns to add; all but those joined on by default.
      prefix: goes before the added columns' names.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)

    source: Annotated[str, PLACE]
    on: Annotated[dict[str, str], pydantic.Field(min_length=1)]
    columns: list[str] = []
    prefix: str = ""


def stage_lookup(name: str, lookup: Lookup, folder: str, **beam: Any) -> tuple[str, str]:
    """Reads a lookup's source once, checks its key, and puts it where every worker reaches it.

    Args:
      name: the lookup's name, for errors.
      lookup: what is asked.
      folder: URI of a scratch folder.
      **beam: options of `beam.map_merge`.

    Returns:
      URI of the table as an Arrow file; and the fingerprint of its content.

    Raises:
      HeadwaterError: a column is not there, or a key is there twice.
    """
    from headwater.components.common.dataset import load_dataset, read_element
    from headwater.components.common.sources import digest_of

    # What has to be read whole here anyway takes no pass over its files before.
    dataset = load_dataset(lookup.source, unread=True, **beam)
    dataset = dataset.read([digest_of(block) for block in dataset.blocks()])
    own = [column for column in dataset.schema.names if not column.startswith("_")]
    keys = list(lookup.on.values())
    wanted = lookup.columns or [column for column in own if column not in keys]
    for column in [*keys, *wanted]:
        if column not in dataset.schema.names:
            raise HeadwaterError(
                f"lookups.{name}: {lookup.source} has no column {column!r}; its columns are "
                f"{', '.join(dataset.schema.names)}"
            )
    for column in wanted:
        if (lookup.prefix + column).startswith("_"):
            raise HeadwaterError(
                f"lookups.{name}: the column {column!r} begins with '_', which is reserved for Headwater's columns; "
                "set `prefix`"
            )
    batches = [
        batch
        for split in dataset.splits
        for element in dataset.elements(split)
        for batch in read_element(element, dataset.schema)
    ]
    table = pa.Table.from_batches(batches, dataset.schema).combine_chunks()
    added = [lookup.prefix + column for column in wanted]
    keyed = _without_missing(table.select(keys))
    table = table.filter(keyed)
    hashes = hashing.hash_rows([_one(table[column]) for column in keys])
    order = np.argsort(hashes, kind="stable")
    twice = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if len(twice):
        raise HeadwaterError(
            f"lookups.{name}: {lookup.source} has {len(twice):,} rows whose key ({', '.join(keys)}) appeared before; "
            "a lookup's key must be unique, or rows would multiply"
        )
    result = pa.table(
        [_one(table[column]) for column in keys] + [_one(table[column]) for column in wanted],
        [f"_key_{place}" for place in range(len(keys))] + added,
    )
    result = result.append_column("_hash", pa.array(hashes)).take(pa.array(order))
    place = storage.join(folder, f"lookup-{name}.arrow")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, result.schema) as writer:
        writer.write_table(result.combine_chunks())
    storage.write_bytes(place, sink.getvalue().to_pybytes())
    return place, dataset.result.fingerprint


def join(batch: pa.RecordBatch, name: str, lookup: Lookup, place: str, unmatched: dict[str, int]) -> pa.RecordBatch:
    """Adds a lookup's columns to the rows; missing where no key is equal.

    Args:
      batch: the rows.
      name: the lookup's name.
      lookup: what is asked.
      place: from `stage_lookup`.
      unmatched: by lookup, how many rows found nothing; added to.

    Raises:
      HeadwaterError: a column is not there, is there already, or its type cannot equal the lookup's.
    """
    table = _load(place)
    keys = []
    for position, column in enumerate(lookup.on):
        index = batch.schema.get_field_index(column)
        if index < 0:
            raise HeadwaterError(
                f"lookups.{name}: there is no column {column!r}; the columns are {', '.join(batch.schema.names)}"
            )
        keys.append(_as_key(batch.column(index), table.schema.field(f"_key_{position}").type, name, column))
    hashes = hashing.hash_rows(keys) if batch.num_rows else np.array([], np.uint64)
    matches, missed = _find(place, hashes)
    index = pa.array(matches, pa.int64(), mask=missed)
    for position, key in enumerate(keys):
        # Equal hashes are not yet equal keys, and a missing key equals nothing.
        own = _one(table[f"_key_{position}"]).take(index)
        if own.type == key.type:
            missed |= ~pc.fill_null(pc.equal(own, key), False).to_numpy(zero_copy_only=False)
        else:
            # Numbers of two types: Arrow would compare integers as reals, and fail beyond what those hold.
            missed |= hashing.second_hash([own]) != hashing.second_hash([key])
            missed |= pc.is_null(key).to_numpy(zero_copy_only=False)
    index = pa.array(matches, pa.int64(), mask=missed)
    unmatched[name] = unmatched.get(name, 0) + int(missed.sum())
    columns, names = list(batch.columns), list(batch.schema.names)
    for field in table.schema:
        if not field.name.startswith("_"):
            if field.name in names:
                raise HeadwaterError(f"lookups.{name}: there is already a column {field.name!r}; set `prefix`")
            columns.append(_one(table[field.name]).take(index))
            names.append(field.name)
    return pa.RecordBatch.from_arrays(columns, names)


def added_columns(place: str) -> list[str]:
    """The names of the columns that a staged lookup adds."""
    return [name for name in _load(place).schema.names if not name.startswith("_")]


@functools.lru_cache(maxsize=8)
def _load(place: str) -> pa.Table:
    if stores.scheme(place):
        return pa.ipc.open_file(pa.BufferReader(storage.read_bytes(place))).read_all()
    # Mapped, so that all processes of a machine share one copy.
    return pa.ipc.open_file(pa.memory_map(place)).read_all()


@functools.lru_cache(maxsize=8)
def _hashes(place: str) -> tuple[np.ndarray, np.ndarray]:
    """The sorted hashes of a lookup's keys, and by a hash's first bits where those that begin so begin."""
    column = _load(place)["_hash"]
    known = column.chunk(0).to_numpy() if len(column) else np.array([], np.uint64)
    bits = max(1, len(known).bit_length())
    counts = np.bincount((known >> np.uint64(64 - bits)).astype(np.int64), minlength=1 << bits)
    return known, np.concatenate([[0], np.cumsum(counts)[:-1]])


def _find(place: str, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The row of a lookup that has each hash, any where none has it; and where none has.

    Hashes are spread evenly, so that about one begins with the same bits: to step on from there is quicker than to halve.
    """
    known, starts = _hashes(place)
    if not len(known):
        return np.zeros(len(hashes), np.int64), np.ones(len(hashes), bool)
    last = len(known) - 1
    rows = np.minimum(starts[(hashes >> np.uint64(65 - len(starts).bit_length())).astype(np.int64)], last)
    before = np.flatnonzero((known[rows] < hashes) & (rows < last))
    while len(before):
        rows[before] += 1
        before = before[(known[rows[before]] < hashes[before]) & (rows[before] < last)]
    return rows, known[rows] != hashes


def _as_key(column: pa.Array, kind: pa.DataType, name: str, label: str) -> pa.Array:
    column = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    numbers = (pa.types.is_integer, pa.types.is_floating)
    alike = column.type.equals(kind) or (
        all(any(test(each) for test in numbers) for each in (column.type, kind))
        # Beyond 63 bits one of them has no counterpart in the other.
        and pa.uint64() not in (column.type, kind)
    )
    if alike:
        return column
    if pa.types.is_timestamp(column.type) and pa.types.is_timestamp(kind) and bool(column.type.tz) == bool(kind.tz):
        return pc.cast(column, kind, safe=False)
    raise HeadwaterError(
        f"lookups.{name}: column {label!r} is {column.type}, but the lookup's column is {kind}; give both the same type"
    )


def _one(column: pa.ChunkedArray) -> pa.Array:
    array = (
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.num_chunks
        else pa.array([], column.type)
    )
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array


def _without_missing(keys: pa.Table) -> pa.ChunkedArray:
    return functools.reduce(pc.and_, [pc.is_valid(column) for column in keys.columns])
