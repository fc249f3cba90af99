"""What a worker does in the first pass over an element: what is labelled, what may be asked about, and what the columns
hold; all small, and mergeable.

It knows nothing of Beam, so that worker processes need not import it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.expressions import evaluate
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys
from headwater.components.label import features
from headwater.components.label.classes import ABSTAIN, numbers
from headwater.components.label.features import Feature
from headwater.components.label.reuse import read
from headwater.components.label.table import METHOD

HASH, CODE, RANK, ROUND = "_hash", "_code", "_rank", "_round"
"""Columns beside those of a row: the hash of its key, its class or -1, by what is kept, and the round it was asked in."""

GUESS = 1
_OWN = (
    pa.field(HASH, pa.uint64()),
    pa.field(CODE, pa.int8()),
    pa.field(RANK, pa.uint64()),
    pa.field(ROUND, pa.int32()),
)


class Known(NamedTuple):
    """What is known of rows by their keys, sorted by key.

    Attributes:
      keys: a record `KEY` of each.
      codes: a number of each: a class, or a round.
    """

    keys: np.ndarray
    codes: np.ndarray

    def of(self, keys: np.ndarray) -> np.ndarray:
        """The number of each key; -1 where there is none."""
        found = np.full(len(keys), ABSTAIN, self.codes.dtype)
        if len(self.keys):
            places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            hit = self.keys[places] == keys
            found[hit] = self.codes[places[hit]]
        return found


class Lens(NamedTuple):
    """How an element is read.

    Attributes:
      schema: the dataset's columns that are read, the key first.
      key: the key's columns.
      types: what its values are compared as; None for as they are.
      features: the columns that are learnt from.
      classes: their names.
      column: the column that tells the class; empty for none.
      from_labels: whether that is the label of a label table, which tells its method.
      answered_by, learn_from: names of methods.
      answers: what other data tells of rows.
      asked: the round in which rows were asked about.
      where: an expression that is true of rows that may be asked about; empty for all.
      splits: of which rows may be asked about.
      sample, most_labelled: how many rows are kept.
      seed: of what is kept.
    """

    schema: pa.Schema
    key: tuple[str, ...]
    types: tuple[pa.DataType | None, ...]
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    column: str
    from_labels: bool
    answered_by: tuple[str, ...]
    learn_from: tuple[str, ...]
    answers: Known
    asked: Known
    where: str
    splits: tuple[str, ...]
    sample: int
    most_labelled: int
    seed: int


class Seen(NamedTuple):
    """What a batch's rows are.

    Attributes:
      batch: the columns.
      hashes: uint64, of the keys.
      codes: the class to learn, or -1; `guessed` where a method that is no answer tells it.
      guessed: bool.
      answered: bool, whether there is an answer.
      rounds: int32, in which round it was asked about; -1 for none.
      free: bool, whether it may be asked about.
      outside: how many rows have a value that is no class.
      matched: how many rows other data has an answer for.
    """

    batch: pa.RecordBatch
    hashes: np.ndarray
    codes: np.ndarray
    guessed: np.ndarray
    answered: np.ndarray
    rounds: np.ndarray
    free: np.ndarray
    outside: int
    matched: int


def look(lens: Lens, split: str, element: Any) -> Iterator[Seen]:
    """The rows of an element, batch by batch, with what is known of them."""
    for batch in read(element, lens.schema):
        columns = [batch.column(batch.schema.get_field_index(name)) for name in lens.key]
        places, found = hash_keys(
            [
                as_key(decoded(c) if kind is None else decoded(c).cast(kind, safe=False))
                for c, kind in zip(columns, lens.types)
            ]
        )
        keyed = np.zeros(batch.num_rows, bool)
        keyed[places] = True
        keys = np.zeros(batch.num_rows, KEY)
        keys[places] = found
        codes = np.where(keyed, lens.answers.of(keys), ABSTAIN).astype(np.int8)
        answered, guessed, outside = codes >= 0, np.zeros(batch.num_rows, bool), 0
        matched = int(answered.sum())
        if lens.column:
            own = numbers(_column(batch, lens.column), lens.classes)
            outside = int((own < ABSTAIN).sum())
            by_person = np.maximum(own, ABSTAIN) >= 0
            teaches = by_person
            if lens.from_labels:
                methods = _column(batch, METHOD)
                by_person, teaches = (
                    by_person & _among(methods, names) for names in (lens.answered_by, lens.learn_from)
                )
            learnt = (codes < 0) & teaches
            codes[learnt] = own[learnt]
            guessed = learnt & ~by_person
            answered |= by_person
        rounds = np.where(keyed, lens.asked.of(keys), ABSTAIN).astype(np.int32)
        free = keyed & ~answered & (rounds < 0) & (not lens.splits or split in lens.splits)
        if lens.where and free.any():
            true, _ = evaluate("label.ask.where", lens.where, batch)
            free &= pc.fill_null(true.cast(pa.bool_()), False).to_numpy(zero_copy_only=False)
        yield Seen(batch, keys["first"].copy(), codes, guessed, answered, rounds, free, outside, matched)


def survey(lens: Lens, item: tuple[str, Any]) -> bytes:
    """The first pass over an element of a split."""
    names = [feature.name for feature in lens.features]
    total: dict[str, Any] = {
        "rows": 0, "free": 0, "answered": 0, "asked": 0, "replied": 0, "outside": 0, "matched": 0, "classes": [0] * len(lens.classes),
        "counts": None,
    }  # fmt: skip
    samples, learnt = [], []
    for seen in look(lens, *item):
        counts = features.count(lens.features, seen.batch)
        total["counts"] = counts if total["counts"] is None else features.merge(total["counts"], counts)
        asked = seen.rounds >= 0
        total["rows"] += len(seen.codes)
        for name, rows in (
            ("free", seen.free), ("answered", seen.answered), ("asked", asked), ("replied", asked & seen.answered),
        ):  # fmt: skip
            total[name] += int(rows.sum())
        total["outside"] += seen.outside
        total["matched"] += seen.matched
        known = seen.codes[(seen.codes >= 0) & seen.answered]
        total["classes"] = (np.array(total["classes"]) + np.bincount(known, minlength=len(lens.classes))).tolist()
        rows = pa.RecordBatch.from_arrays([_column(seen.batch, name) for name in names], names=names)
        rank = hashing.mix(seen.hashes ^ hashing.mix(np.array([lens.seed], np.uint64)))
        samples.append(_kept(rows, seen, np.flatnonzero(seen.free), rank, lens.sample))
        # Answers come before guesses, and rows that were asked about and wait before neither.
        order = (rank >> np.uint64(2)) | (seen.guessed.astype(np.uint64) << np.uint64(63))
        chosen = np.flatnonzero((seen.codes >= 0) | asked)
        learnt.append(_kept(rows, seen, chosen, order, lens.most_labelled))
    return encode(total, [_least(samples, lens.sample), _least(learnt, lens.most_labelled)])


def merge(lens: Lens, parts: list[bytes]) -> bytes:
    """What several elements tell together."""
    decoded_parts = [decode(part) for part in parts]
    total = decoded_parts[0][0]
    for other, _ in decoded_parts[1:]:
        for name in ("rows", "free", "answered", "asked", "replied", "outside", "matched"):
            total[name] += other[name]
        total["classes"] = [one + more for one, more in zip(total["classes"], other["classes"])]
        if other["counts"] is not None:
            own = total["counts"]
            total["counts"] = other["counts"] if own is None else features.merge(own, other["counts"])
    tables = list(zip(*(tables for _, tables in decoded_parts)))
    return encode(total, [_least(list(tables[0]), lens.sample), _least(list(tables[1]), lens.most_labelled)])


def _kept(rows: pa.RecordBatch, seen: Seen, places: np.ndarray, rank: np.ndarray, most: int) -> pa.Table:
    if len(places) > most:
        places = places[np.argpartition(rank[places], most - 1)[:most]]
    table = pa.Table.from_batches([rows]).take(pa.array(places))
    for field, values in zip(_OWN, (seen.hashes, seen.codes, rank, seen.rounds)):
        table = table.append_column(field, pa.array(values[places], field.type))
    return table


def _least(tables: Sequence[pa.Table], most: int) -> pa.Table | None:
    tables = [table for table in tables if table is not None]
    if not tables:
        return None
    whole = pa.concat_tables(tables)
    order = np.lexsort((whole[HASH].to_numpy(), whole[RANK].to_numpy()))[:most]
    return whole.take(pa.array(order)).combine_chunks()


def encode(head: Any, tables: Sequence[pa.Table | None]) -> bytes:
    """JSON and tables as bytes."""
    bodies = [_ipc(table) if table is not None else b"" for table in tables]
    text = json.dumps([head, [len(body) for body in bodies]]).encode()
    return len(text).to_bytes(8, "big") + text + b"".join(bodies)


def decode(content: bytes) -> tuple[Any, list[pa.Table | None]]:
    """What `encode` was given."""
    start = 8 + int.from_bytes(content[:8], "big")
    head, sizes = json.loads(content[8:start])
    tables = []
    for size in sizes:
        tables.append(pa.ipc.open_stream(content[start : start + size]).read_all() if size else None)
        start += size
    return head, tables


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _among(methods: pa.Array, names: tuple[str, ...]) -> np.ndarray:
    return pc.fill_null(pc.is_in(methods, value_set=pa.array(names, pa.string())), False).to_numpy(zero_copy_only=False)
