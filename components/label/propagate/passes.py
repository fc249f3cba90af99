"""The passes over the rows: what there is to learn from, which rows are nodes and where they lie, and the labels of rows that
are none, by their nearest nodes.

What an element needs later it leaves in a scratch folder, as numpy's archives without objects.
"""

from __future__ import annotations

import functools
import io
import json
import os
import tempfile
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import read_element
from headwater.components.common.partitions import PartitionResults
from headwater.components.label.attribution import codes_of
from headwater.components.label.classes import ABSTAIN, OUTSIDE, numbers
from headwater.components.label.encoding import Encoder
from headwater.components.label.methods import Item, certain
from headwater.components.label.propagate import features, graph, neighbours
from headwater.components.label.propagate.coreset import Chosen
from headwater.components.label.propagate.features import Feature
from headwater.components.label.table import Earlier

_SAMPLED = 10_000
_INDEX, _NODES = "index.faiss", "nodes.npz"


class Look(NamedTuple):
    """What the first pass needs to know.

    Attributes:
      features: the columns.
      key: the dataset's.
      schema: the dataset's.
      classes: their names.
      gold: the dataset's column of gold; empty for none.
      known: the gold of other data; None for none.
      earlier: what labelled before.
      least: the least probability of an earlier label that is a seed.
      scratch: URI of the step's scratch folder.
    """

    features: tuple[Feature, ...]
    key: tuple[str, ...]
    schema: pa.Schema
    classes: tuple[str, ...]
    gold: str
    known: PartitionResults | None
    earlier: Earlier
    least: float
    scratch: str


def look(plan: Look, item: Item) -> bytes:
    """Writes an element's seeds; gives counts and a sample of its rows."""
    wanted = dict.fromkeys([*plan.key, *(each.name for each in plan.features), *filter(None, [plan.gold])])
    rows = _read(item, pa.schema([plan.schema.field(name) for name in [*wanted, *plan.earlier.more(wanted)]]))
    before = plan.earlier.labels(item, rows)
    codes, chances = before.codes.copy(), before.probabilities
    # Of a row whose label is not sure enough nothing is known.
    codes[chances[np.arange(len(codes)), np.maximum(codes, 0)] < plan.least] = ABSTAIN
    golden = _gold(plan, item, rows)
    outside = int((golden == OUTSIDE).sum())
    gold = golden >= 0
    codes[gold] = golden[gold]
    chances = np.where(gold[:, None], certain(golden, len(plan.classes)), chances)
    seeds = np.flatnonzero(codes >= 0)
    # Without this step these rows would have no label.
    free = (before.codes < 0) & ~gold & ~(False if before.carried is None else before.carried)
    _write(plan.scratch, f"seeds-{item.number:06d}", codes=codes, gold=gold, free=free, classes=chances[seeds])
    batch = _batch(rows.select(list(wanted)))
    hashes = hashing.hash_rows([batch.column(batch.schema.get_field_index(name)) for name in plan.key])
    counts = {
        "rows": len(codes),
        "outside": outside,
        "gold": int(gold.sum()),
        "labelled": int((before.codes >= 0).sum()),
        "seeds": np.bincount(codes[seeds], minlength=len(plan.classes)).tolist(),
        "columns": features.seen(plan.features, batch),
    }
    shown = [each.name for each in plan.features if each.form != "embedding"]
    sampled = np.argsort(hashes, kind="stable")[:_SAMPLED]
    sample = _batch(rows.select(shown).take(pa.array(sampled)))
    return _encode(counts, hashes[sampled], sample)


def merge_looks(parts: list[bytes]) -> bytes:
    """What several elements tell."""
    counts, hashes, sample = decode_look(parts[0])
    for part in parts[1:]:
        more, other, rows = decode_look(part)
        counts = {
            **{name: counts[name] + more[name] for name in ("rows", "outside", "gold", "labelled")},
            "seeds": [one + another for one, another in zip(counts["seeds"], more["seeds"])],
            "columns": features.add_seen(counts["columns"], more["columns"]),
        }
        hashes = np.concatenate([hashes, other])
        kept = np.argsort(hashes, kind="stable")[:_SAMPLED]
        both = pa.Table.from_batches([sample, rows])
        hashes, sample = hashes[kept], _batch(both.take(pa.array(kept)))
    return _encode(counts, hashes, sample)


def decode_look(content: bytes) -> tuple[dict[str, Any], np.ndarray, pa.RecordBatch]:
    """The counts, and the sample with its hashes."""
    stop = 8 + int.from_bytes(content[:8], "big")
    head = json.loads(content[8:stop])
    middle = stop + 8 * head["sampled"]
    hashes = np.frombuffer(content[stop:middle], np.uint64)
    with pa.ipc.open_stream(content[middle:]) as stream:
        return head["counts"], hashes, _batch(stream.read_all())


def encode(look: Look, encoder: Encoder, chosen: Chosen, item: Item) -> bytes:
    """Writes the points of an element's nodes; gives how many there are, and how many rows have no place."""
    hashes, points, lacking = _points(look, encoder, item)
    known = read(look.scratch, f"seeds-{item.number:06d}")
    nodes = np.flatnonzero(chosen.nodes(hashes, known["codes"]) & ~lacking)
    codes = known["codes"][nodes]
    own = np.zeros(len(hashes), bool)
    own[nodes] = True
    _write(
        look.scratch, f"points-{item.number:06d}", rows=nodes, hashes=hashes[nodes], points=points[nodes],
        seeds=np.flatnonzero(codes >= 0), gold=known["gold"][nodes[codes >= 0]],
        classes=known["classes"][own[known["codes"] >= 0]],
    )  # fmt: skip
    return json.dumps([[len(nodes), int(lacking.sum())]]).encode()


def merge_lists(parts: list[bytes]) -> bytes:
    """The elements' counts, one after the other."""
    return json.dumps([each for part in parts for each in json.loads(part)]).encode()


def share(scratch: str, index: Any, scales: np.ndarray, probabilities: np.ndarray, reached: np.ndarray) -> None:
    """Leaves the nodes for `assign`."""
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, _INDEX)
        faiss.write_index(index, path)
        with storage.open_output(storage.join(scratch, _INDEX)) as target, open(path, "rb") as source:
            while content := source.read(1 << 24):
                target.write(content)
    _write(scratch, _NODES[:-4], scales=scales, probabilities=probabilities, reached=reached)


def assign(look: Look, encoder: Encoder, count: int, item: Item) -> bytes:
    """Writes the probabilities of an element's rows, by their nearest nodes; gives how many are unlabelled."""
    _, points, lacking = _points(look, encoder, item)
    index, nodes = _shared(look.scratch)
    order = neighbours.together(index, points)
    found = neighbours.nearest(index, points[order], min(count, index.ntotal), threads=1)
    squares, near = np.empty_like(found[0]), np.empty_like(found[1])
    squares[order], near[order] = found
    squares = np.where(near < 0, np.inf, np.maximum(squares.astype(np.float64), 0))
    own = graph.scale(squares)
    apart = np.where(near < 0, np.inf, squares / (own[:, None] * nodes["scales"][near]))
    with np.errstate(invalid="ignore"):
        weights = np.nan_to_num(np.exp(apart.min(1, keepdims=True) - apart))
    there = weights * nodes["reached"][near]
    probabilities = np.zeros((len(points), nodes["probabilities"].shape[1]))
    for place in range(near.shape[1]):
        probabilities += there[:, place, None] * nodes["probabilities"][near[:, place]]
    mass = there.sum(1)
    # A row belongs where most of what is near it does.
    reached = (mass > weights.sum(1) / 2) & ~lacking
    probabilities[reached] /= mass[reached, None]
    return leave(look.scratch, item.number, reached, probabilities.astype(np.float32), lacking)


def leave(scratch: str, number: int, reached: np.ndarray, probabilities: np.ndarray, lacking: np.ndarray) -> bytes:
    """Writes what an element's rows get; gives how many rows have no label, since no seed reaches
    them."""
    _write(scratch, f"found-{number:06d}", reached=reached, probabilities=probabilities)
    free = read(scratch, f"seeds-{number:06d}")["free"]
    return json.dumps([int((free & ~reached & ~lacking).sum())]).encode()


def read(scratch: str, name: str) -> dict[str, np.ndarray]:
    """What a pass left under a name."""
    with np.load(io.BytesIO(storage.read_bytes(storage.join(scratch, f"{name}.npz"))), allow_pickle=False) as archive:
        return dict(archive)


def _write(scratch: str, name: str, **arrays: np.ndarray) -> None:
    sink = io.BytesIO()
    np.savez(sink, **arrays)  # type: ignore[arg-type]
    storage.write_bytes(storage.join(scratch, f"{name}.npz"), sink.getvalue())


@functools.lru_cache(maxsize=1)
def _shared(scratch: str) -> tuple[Any, dict[str, np.ndarray]]:
    """The nodes, once a process. The index is not copied into memory but mapped, so that processes share it."""
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, _INDEX)
        with storage.open_input(storage.join(scratch, _INDEX)) as source, open(path, "wb") as target:
            while content := source.read(1 << 24):
                target.write(content)
        # The file may go: what is mapped stays until it is let go of.
        index = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
    return index, read(scratch, _NODES[:-4])


def _points(look: Look, encoder: Encoder, item: Item) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hashes of the rows' keys, their points, and which lack one."""
    names = dict.fromkeys([*look.key, *encoder.columns])
    schema = pa.schema([look.schema.field(name) for name in names])
    hashes, points, lacking = (
        [np.zeros(0, np.uint64)],
        [np.zeros((0, encoder.dimensions), np.float32)],
        [np.zeros(0, bool)],
    )
    for batch in read_element(item.element, schema):
        hashes.append(hashing.hash_rows([batch.column(schema.get_field_index(name)) for name in look.key]))
        points.append(encoder.vectors(batch))
        lacking.append(encoder.lacking(batch))
    return np.concatenate(hashes), np.concatenate(points), np.concatenate(lacking)


def _gold(plan: Look, item: Item, rows: pa.Table) -> np.ndarray:
    if plan.known is not None:
        return codes_of(plan.known, item.number, rows.num_rows)
    if plan.gold:
        return numbers(rows[plan.gold].combine_chunks(), plan.classes)
    return np.full(rows.num_rows, ABSTAIN, np.int8)


def _read(item: Item, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_batches(list(read_element(item.element, schema)), schema=schema)


def _batch(table: pa.Table) -> pa.RecordBatch:
    """A table as one batch."""
    columns = [
        each.chunk(0) if each.num_chunks == 1 else pa.concat_arrays(each.chunks)
        for each in table.columns
        if each.num_chunks
    ]
    if len(columns) < table.num_columns or not table.num_columns:
        columns = [pa.array([], field.type) for field in table.schema]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def _encode(counts: dict[str, Any], hashes: np.ndarray, sample: pa.RecordBatch) -> bytes:
    head = json.dumps({"counts": counts, "sampled": len(hashes)}).encode()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, sample.schema) as writer:
        writer.write_batch(sample)
    return len(head).to_bytes(8, "big") + head + hashes.astype(np.uint64).tobytes() + sink.getvalue()
