"""From one range of a source to its shards: keyed, split, checksummed Parquet files."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import REJECTED_SCHEMA, ROW_ID
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import Element, Rejection, read_element


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is the same for all ranges.

    Attributes:
      base: URI of the dataset's folder.
      attempt: ends the names of this attempt's files; empty where no other attempt can be.
      schema: the source's columns with their types.
      key: the user's key columns; none to have `_row_id` made.
      splits: names and weights.
      identities: what the `_row_id`s of each file are made of, by URI: no two alike.
    """

    base: str
    attempt: str
    schema: pa.Schema
    key: tuple[str, ...]
    splits: tuple[tuple[str, float], ...]
    identities: tuple[tuple[str, str], ...]

    def path(self, folder: str, number: int) -> str:
        """The path of a part below `base`."""
        return f"{folder}/part-{number:05d}{self.attempt and '-'}{self.attempt}.parquet"


def write_range(plan: Plan, item: tuple[int, Element]) -> bytes:
    """Writes the shards of one range, one a split, and its rejected records.

    Returns:
      A line of JSON: the account of the range, its shards by split, its rejections by reason.
    """
    number, element = item
    identity = dict(plan.identities)[element.file.uri]
    sinks: dict[str, _Sink] = {}
    rejections: list[Rejection] = []
    for batch, rows, refused in read_element(element, plan.schema):
        batch, rows, keyless = _without_missing_keys(batch, rows, plan.key)
        rejections += refused + keyless
        if not batch.num_rows:
            continue
        names = sorted(plan.schema.names)
        content = hashing.hash_rows([batch.column(plan.schema.get_field_index(name)) for name in names])
        choice = content
        if plan.key:
            choice = hashing.hash_rows([batch.column(plan.schema.get_field_index(name)) for name in plan.key])
        else:
            batch = _with_row_ids(batch, identity, rows)
        assigned = assign_splits(choice, [weight for _, weight in plan.splits])
        for position, (split, _) in enumerate(plan.splits):
            mask = assigned == position
            if mask.any():
                sinks.setdefault(split, _Sink(batch.schema)).write(batch.filter(pa.array(mask)), content[mask])
    shards = {}
    for split, sink in sinks.items():
        path = plan.path(f"split={split}", number)
        shards[split] = {
            **_put(plan.base, path, sink.close()),
            "rows": sink.rows,
            "digest": f"{hashing.add_digests(sink.digests):032x}",
            "source": element.file.uri,
            "start": element.start,
            "stop": element.stop,
        }
    record: dict[str, Any] = {"read": element.rows, "rejected": len(rejections), "shards": shards, "reasons": {}}
    if rejections:
        for rejection in rejections:
            reason = rejection.reason.partition(":")[0]
            record["reasons"][reason] = record["reasons"].get(reason, 0) + 1
        record["file"] = _put(plan.base, plan.path("_rejected", number), _encode(element.file.uri, rejections))
    return json.dumps(record).encode()


def assign_splits(hashes: np.ndarray, weights: list[float]) -> np.ndarray:
    """The split of each row: a function of its hash alone, so that other rows' coming and going moves none.

    Args:
      hashes: uint64, one a row.
      weights: of the splits, in order.

    Returns:
      The split's position, int64, one a row.
    """
    edges = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(edges, hashing.shares(hashes), side="right"), len(weights) - 1)


class _Sink:
    """One shard in the making, and what its index will say."""

    def __init__(self, schema: pa.Schema):
        self._buffer = pa.BufferOutputStream()
        self._writer = pq.ParquetWriter(self._buffer, schema, version="2.6")
        self.rows = 0
        self.digests: list[int] = []

    def write(self, batch: pa.RecordBatch, hashes: np.ndarray) -> None:
        try:
            self._writer.write_table(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise HeadwaterError(f"this version of pyarrow cannot write such a column to Parquet: {error}") from None
        self.rows += batch.num_rows
        self.digests.append(hashing.digest(hashes))

    def close(self) -> bytes:
        self._writer.close()
        return self._buffer.getvalue().to_pybytes()


def _without_missing_keys(
    batch: pa.RecordBatch, rows: np.ndarray, key: tuple[str, ...]
) -> tuple[pa.RecordBatch, np.ndarray, list[Rejection]]:
    rejections: list[Rejection] = []
    for name in key:
        missing = pc.is_null(batch.column(batch.schema.get_field_index(name))).to_numpy(zero_copy_only=False)
        if missing.any():
            rejections += [Rejection(int(row), name, "missing_key", None) for row in rows[missing]]
            batch, rows = batch.filter(pa.array(~missing)), rows[~missing]
    return batch, rows, rejections


def _with_row_ids(batch: pa.RecordBatch, identity: str, rows: np.ndarray) -> pa.RecordBatch:
    ids = hashing.row_ids(identity, rows)
    schema = pa.schema([*batch.schema, pa.field(ROW_ID, ids.type)])
    return pa.RecordBatch.from_arrays([*batch.columns, ids], schema=schema)


def _encode(source: str, rejections: list[Rejection]) -> bytes:
    rows, columns, reasons, values = zip(*sorted(rejections, key=lambda rejection: rejection.row))
    arrays = [[source] * len(rows), rows, columns, reasons, values]
    table = pa.table(
        [pa.array(values, field.type) for values, field in zip(arrays, REJECTED_SCHEMA)], schema=REJECTED_SCHEMA
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, version="2.6")
    return sink.getvalue().to_pybytes()


def _put(base: str, path: str, content: bytes) -> dict[str, Any]:
    uri = storage.join(base, path)
    storage.write_bytes(uri, content)
    return {"path": path, "bytes": len(content), "sha256": storage.sha256(content)}
