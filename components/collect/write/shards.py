"""From ranges of sources to shards: keyed, split, checksummed Parquet files."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.components.collect.privacy import detect, scrubbing
from headwater.components.collect.settings import Settings
from headwater.components.collect.shape.shaping import ROW_BITS, Account, Shape, read_shaped
from headwater.components.collect.shape.splitting import assign
from headwater.components.collect.write import profile, repeated_keys
from headwater.components.common import hashing, storage, timings
from headwater.components.common.arrow_types import used_dictionary
from headwater.components.common.dataset import REJECTED_SCHEMA, ROW_ID, split_folder
from headwater.components.common.items import Numbered, Run
from headwater.components.common.shard_writer import ShardWriter
from headwater.components.common.sources import (
    Element,
    Misfit,
    Rejection,
    SourceFile,
    Sources,
    joined_ranges,
)

SPLIT, PLACE = "_split", "_place"
"""Columns of the sample beside the dataset's own: the split's position; the range and the row in its source."""


_ROW = (1 << ROW_BITS) - 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is the same for all ranges.

    Attributes:
      base: URI of the dataset's folder.
      attempt: ends the names of this attempt's files; empty where no other attempt can be.
      shape: how rows are shaped.
      schema: the columns of shaped rows with their types.
      sample_rate: the share of the rows that is brought back as a sample.
      key_rate: the share of the keys that is looked at for repetition.
    """

    base: str
    attempt: str
    shape: Shape
    schema: pa.Schema
    sample_rate: float
    key_rate: float

    @property
    def splits(self) -> tuple[tuple[str, float], ...]:
        """Names and weights of the splits."""
        return tuple(self.shape.settings.splits.items())

    @property
    def suffix(self) -> str:
        """What ends the names of this attempt's files, before the dot."""
        return f"-{self.attempt}" if self.attempt else ""

    def path(self, folder: str, number: int) -> str:
        """The path of a part below `base`."""
        return f"{folder}/part-{number:05d}{self.suffix}.parquet"


class Range(NamedTuple):
    """A range of the input.

    Attributes:
      number: of it among all.
      element: what it is.
      identity: what its `_row_id`s are made of.
    """

    number: int
    element: Element
    identity: str


def together(opened: Sources, columns: int) -> list[Numbered]:
    """All ranges in order, small ones in runs that are written together: one shard a split.

    Args:
      opened: the input.
      columns: how many columns a shaped row has.
    """
    identities = _identities(opened.files)
    numbers = itertools.count()
    return [
        Numbered(number, Run(Range(next(numbers), each, identities[each.file.uri]) for each in elements))
        for number, elements in enumerate(joined_ranges(opened.elements, columns))
    ]


def _identities(files: Sequence[SourceFile]) -> dict[str, str]:
    """What the `_row_id`s of each file are made of, by URI: no two alike."""
    # Two copies of one file hold different rows all the same: the copy's number tells their `_row_id`s apart.
    seen: dict[str, int] = {}
    identified = {}
    for file in files:
        number = seen[file.sha256] = seen.get(file.sha256, -1) + 1
        identified[file.uri] = hashlib.sha256(f"{file.sha256}:{number}".encode()).hexdigest()
    return identified


def write_range(plan: Plan, item: Numbered) -> bytes:
    """Writes the shards of a run of ranges, one a split, and their rejected records.

    Returns:
      An outcome (`Outcome.encode`): the account of the ranges, their shards by split, what was counted, their sample. When
      a guess did not hold, nothing is written, and the record is `{"misfit": true}`.
    """
    number, ranges = item
    first = ranges[0].number
    elements, identities = [each.element for each in ranges], [each.identity for each in ranges]
    settings = plan.shape.settings
    account = Account()
    sinks: dict[str, ShardWriter] = {}
    states, personal, samples, keys = [], [], [], []
    try:
        for batch, rows in timings.drawn("reading", read_shaped(plan.shape, first, elements, account)):
            if not batch.num_rows:
                continue
            with timings.spent("hashing"):
                batch = _encoded(batch, plan.schema)
                content = hashing.hash_rows([_named(batch, name) for name in sorted(plan.schema.names)])
                choice = hashing.hash_rows([_named(batch, name) for name in settings.key]) if settings.key else content
            assigned, filtered = assign(settings.split, plan.splits, batch, choice)
            for rule, out in filtered.items():
                account.filtered[rule] = account.filtered.get(rule, 0) + int(out.sum())
            if (assigned < 0).any():
                kept = assigned >= 0
                batch, rows, content, assigned = batch.filter(pa.array(kept)), rows[kept], content[kept], assigned[kept]
                choice = choice[kept]
                if not batch.num_rows:
                    continue
            with timings.spent("profile and personal data"):
                states.append(profile.measure(batch))
                personal.append({name: detect.scan(column) for name, column in zip(batch.schema.names, batch.columns)})
            if plan.key_rate:
                keys.append(repeated_keys.keep(choice, rows & _ROW, first + (rows >> ROW_BITS), plan.key_rate))
            chosen = profile.in_sample(content, plan.sample_rate)
            if plan.sample_rate and chosen.any():
                samples.append(_sampled(batch, rows, assigned, chosen, first, plan.schema))
            with timings.spent("writing"):
                ordered, ends = _by_split(batch, rows, content, assigned, len(plan.splits))
                for position, (split, _) in enumerate(plan.splits):
                    start, stop = ends[position], ends[position + 1]
                    if start < stop:
                        part = ordered[0].slice(start, stop - start)
                        if not settings.key:
                            part = _with_row_ids(part, identities, ordered[1][start:stop])
                        if split not in sinks:
                            sinks[split] = ShardWriter(_file_schema(plan.schema, part))
                        sinks[split].write(part, ordered[2][start:stop])
    except Misfit:
        return Outcome([{"misfit": True}], {}, None, None).encode()
    shards = {}
    for split, sink in sinks.items():
        path = plan.path(split_folder(plan.schema.names, split), number)
        with timings.spent("checksums and storing"):
            content, described = sink.close()
            storage.write_bytes(storage.join(plan.base, path), content)
        shards[split] = {
            "path": path,
            **described,
            "source": elements[0].file.uri,
            "start": elements[0].start,
            "last": elements[-1].file.uri,
            "stop": elements[-1].stop,
        }
    rejections = account.rejections
    record: dict[str, Any] = {"read": [element.rows for element in elements], "shards": shards}
    counts: dict[str, Any] = {
        "rejected": len(rejections),
        "filtered": account.filtered,
        "sentinels": account.sentinels,
        "unmatched": account.unmatched,
        "reasons": {},
        "profile": profile.merge(states),
        "personal": {
            name: detect.merge([counts[name] for counts in personal]) for name in (personal[0] if personal else ())
        },
    }
    if rejections:
        for rejection in rejections:
            reason = rejection.reason.partition(":")[0]
            counts["reasons"][reason] = counts["reasons"].get(reason, 0) + 1
        path, encoded = plan.path("_rejected", number), _encode(elements, rejections, settings)
        storage.write_bytes(storage.join(plan.base, path), encoded)
        record["file"] = {"path": path, "bytes": len(encoded), "sha256": storage.sha256(encoded)}
    return Outcome([record], counts, *(pa.concat_tables(each) if each else None for each in (samples, keys))).encode()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of ranges, in order.

    Attributes:
      records: of each what was read, its shards and its file of rejected rows.
      counts: of all together: `rejected`, `filtered`, `sentinels`, `unmatched`, `reasons`, `profile`, `personal`; so that
        they do not grow with the rows.
      sample: rows of them, with `SPLIT` (a position) and `PLACE`; None when there are none.
      keys: what `repeated_keys` keeps; None when there is none.
    """

    records: list[dict[str, Any]]
    counts: dict[str, Any]
    sample: pa.Table | None
    keys: pa.Table | None

    def encode(self) -> bytes:
        """As bytes: the records as lines of JSON, the counts, the sample and the keys as Arrow streams, each after its
        length."""
        lines = b"\n".join(json.dumps(record).encode() for record in self.records)
        return _joined([lines, json.dumps(self.counts).encode(), _to_stream(self.sample), _to_stream(self.keys)])

    @staticmethod
    def decode(content: bytes) -> Outcome:
        """The outcome that `encode` wrote."""
        lines, counts, *streams = _parts(content)
        return Outcome(
            [json.loads(line) for line in lines.splitlines()], json.loads(counts), *map(_from_stream, streams)
        )

    @staticmethod
    def merge(outcomes: list[bytes]) -> bytes:
        """Outcomes of neighbouring ranges as one."""
        lines, counts, *streams = zip(*map(_parts, outcomes or [Outcome([], {}, None, None).encode()]))
        counted = json.dumps(_add_counts([json.loads(each) for each in counts])).encode()
        return _joined([b"\n".join(lines), counted, *map(_concatenated, streams)])


def _add_counts(counts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The counts of neighbouring ranges as one."""
    # Those of a misfit are none.
    some = [each for each in counts if each]
    if not some:
        return {}
    names = {name: None for each in some for name in each["personal"]}
    return {
        "rejected": sum(each["rejected"] for each in some),
        **{key: _sum(each[key] for each in some) for key in ("filtered", "sentinels", "unmatched", "reasons")},
        "profile": profile.merge([each["profile"] for each in some]),
        "personal": {name: detect.merge(each["personal"].get(name, {}) for each in some) for name in names},
    }


def _sum(counted: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counted:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _file_schema(schema: pa.Schema, first: pa.RecordBatch) -> pa.Schema:
    """The schema of shaped rows, and of what was added to them."""
    return pa.schema(
        [schema.field(name) if name in schema.names else first.schema.field(name) for name in first.schema.names]
    )


def _encoded(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Text whose values repeat as dictionaries: hashed, searched and filtered by distinct value."""
    return pa.RecordBatch.from_arrays(
        [_encode_text(column, schema.field(name).type) for name, column in zip(batch.schema.names, batch.columns)],
        batch.schema.names,
    )


def _encode_text(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_string(kind):
        return column
    if pa.types.is_string(column.type):
        return column.dictionary_encode() if hashing.repeats(column) else column
    # As read. A file may list a value twice, and rows may be left out by now.
    column = used_dictionary(column)
    if len(column.dictionary.unique()) < len(column.dictionary):
        column = column.cast(kind).dictionary_encode()
    return column if hashing.repeats(column) else column.cast(kind)


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        column.cast(field.type)
        if pa.types.is_dictionary(column.type) and not column.type.equals(field.type)
        else column
        for column, field in zip(batch.columns, schema)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _by_split(
    batch: pa.RecordBatch, rows: np.ndarray, content: np.ndarray, assigned: np.ndarray, splits: int
) -> tuple[tuple[pa.RecordBatch, np.ndarray, np.ndarray], np.ndarray]:
    """Rows ordered by split, within a split as before; and where each split begins and ends."""
    ends = np.concatenate([[0], np.cumsum(np.bincount(assigned, minlength=splits))])
    if (np.diff(ends) == len(assigned)).any():
        return (batch, rows, content), ends
    # Small numbers are sorted by their digits.
    order = np.argsort(assigned.astype(np.int16) if splits < 2**15 else assigned, kind="stable")
    places = pa.array(order)
    columns = [pc.take(column, places, boundscheck=False) for column in batch.columns]
    return (pa.RecordBatch.from_arrays(columns, schema=batch.schema), rows[order], content[order]), ends


def _sampled(
    batch: pa.RecordBatch, rows: np.ndarray, assigned: np.ndarray, chosen: np.ndarray, first: int, schema: pa.Schema
) -> pa.Table:
    table = pa.Table.from_batches([_plain(batch.filter(pa.array(chosen)), schema)])
    kept = rows[chosen]
    place = pa.StructArray.from_arrays([pa.array(first + (kept >> ROW_BITS)), pa.array(kept & _ROW)], ["range", "row"])
    return table.append_column(SPLIT, pa.array(assigned[chosen])).append_column(PLACE, place)


def _named(batch: pa.RecordBatch, name: str) -> pa.Array:
    return batch.column(batch.schema.get_field_index(name))


def _to_stream(table: pa.Table | None) -> bytes:
    if table is None:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _from_stream(stream: bytes) -> pa.Table | None:
    return pa.ipc.open_stream(stream).read_all() if stream else None


def _concatenated(streams: Sequence[bytes]) -> bytes:
    tables = [table for table in map(_from_stream, streams) if table is not None]
    return _to_stream(pa.concat_tables(tables).combine_chunks() if tables else None)


def _joined(parts: Sequence[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def _parts(content: bytes) -> list[bytes]:
    parts, start = [], 0
    while start < len(content):
        begin = start + 8
        start = begin + int.from_bytes(content[start:begin], "big")
        parts.append(content[begin:start])
    return parts


def _with_row_ids(batch: pa.RecordBatch, identities: Sequence[str], rows: np.ndarray) -> pa.RecordBatch:
    of = rows >> ROW_BITS if len(identities) > 1 else None
    ids = hashing.row_ids(identities, rows & _ROW, of)
    schema = pa.schema([*batch.schema, pa.field(ROW_ID, ids.type)])
    return pa.RecordBatch.from_arrays([*batch.columns, ids], schema=schema)


def _encode(elements: Sequence[Element], rejections: list[Rejection], settings: Settings) -> bytes:
    rows, columns, reasons, values = zip(*sorted(rejections, key=lambda rejection: rejection.row))
    texts = scrubbing.scrub_all(pa.array(values, pa.string())).to_pylist()
    if settings.private:
        # A record that could not be read in columns may hold any of them.
        private = {*settings.private, *(old for old, new in settings.rename.items() if new in settings.private)}
        texts = [None if column is None or column in private else text for column, text in zip(columns, texts)]
    sources = [elements[row >> ROW_BITS].file.uri for row in rows]
    arrays = [sources, [row & _ROW for row in rows], columns, reasons, texts]
    table = pa.table(
        [pa.array(values, field.type) for values, field in zip(arrays, REJECTED_SCHEMA)], schema=REJECTED_SCHEMA
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, version="2.6")
    return sink.getvalue().to_pybytes()
