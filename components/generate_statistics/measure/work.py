"""What runs on workers: an element's rows come in, and the state of them goes out, as bytes by split.

It stands apart from `compute`, so that workers need not import Beam.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import timings
from headwater.components.common.dataset import read_element
from headwater.components.common.distributions import buffers
from headwater.components.common.items import Run
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan import slicing as slices
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.state import counts as counting
from headwater.components.generate_statistics.state import state as states
from headwater.components.generate_statistics.state import state_file

if TYPE_CHECKING:
    from headwater.components.generate_statistics.worst_slices.bins import Bins
    from headwater.components.generate_statistics.worst_slices.options import Options

_MERGED_AT_ONCE = 8
# Rows that are measured at once have at most so many bytes.
_PIECE_BYTES = 1 << 28
_COMBINATIONS = 65_536


DIGESTS = ""
"""Where a split's name stands: of the blocks that elements were given to look at, in order, one a line."""


class Element(NamedTuple):
    """What is worked on at once.

    Attributes:
      split: its split.
      place: its number.
      parts: neighbouring elements of the dataset.
      blocks: of plain files, to take the checksums of; any element may have any.
    """

    split: str
    place: int
    parts: Run
    blocks: tuple[Any, ...] = ()


def on_element(work: Any, schema: pa.Schema, cells: int, item: Element) -> bytes:
    """Hands the rows of an element to `work(split, number of the element, batches)`, about `cells` values a batch."""
    given = {}
    if item.blocks:
        from headwater.components.common import sources

        with timings.spent("checksums"):
            given[DIGESTS] = "\n".join(map(sources.digest_of, item.blocks)).encode()
    pieces = _pieces(_read(item.parts, schema), cells)
    return _pack({**given, item.split: work(item.split, item.place, pieces)})


def _read(parts: Sequence[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in parts:
        yield from timings.drawn("reading", read_element(part, schema))


def _pieces(batches: Iterator[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    """Record batches put together, so that what a call costs is spread over many rows."""
    held: list[pa.RecordBatch] = []
    cells = size = 0
    for batch in batches:
        own_cells, own_size = batch.num_rows * max(1, batch.num_columns), batch.nbytes
        if held and (cells + own_cells > most or size + own_size > _PIECE_BYTES):
            # Nothing but the piece itself is held while it is measured, and the batch that comes after it.
            piece, held, cells, size = _joined(held), [], 0, 0
            yield piece
            del piece
        held.append(batch)
        cells, size = cells + own_cells, size + own_size
        del batch
    if held:
        yield _joined(held)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    columns = [pa.concat_arrays([batch.column(place) for batch in batches]) for place in range(batches[0].num_columns)]
    return pa.RecordBatch.from_arrays(columns, schema=batches[0].schema)


def measure_rows(plan: Plan, rate: float, seed: int, _: str, place: int, batches: Iterator[pa.RecordBatch]) -> bytes:
    """The state of an element's rows, or of a share of them, drawn row by row."""
    measured = []
    for number, batch in enumerate(batches):
        if rate < 1:
            drawn = np.random.default_rng([seed, place, number]).random(batch.num_rows) < rate
            batch = batch.filter(pa.array(drawn))
        measured.append(measure(batch, plan))
        if len(measured) == _MERGED_AT_ONCE:
            measured = [states.merge(measured)]
        del batch
    return state_file.encode(states.merge(measured or [of_no_rows(plan)]))


def merge_states(contents: Sequence[bytes | pa.Buffer]) -> bytes:
    """The state of all parts."""
    return state_file.encode(states.merge([state_file.decode(content) for content in contents]))


def of_no_rows(plan: Plan) -> states.State:
    """The state of no rows."""
    columns = [pa.array([], field.type) for field in plan.schema]
    return measure(pa.RecordBatch.from_arrays(columns, schema=plan.schema), plan)


def count_rows(families: Sequence[Sequence[str]], _: str, __: int, batches: Iterator[pa.RecordBatch]) -> bytes:
    """How many rows of an element each slice by columns has, see `slicing.count_slices`."""
    return _encode_counts(counting.join([slices.count_slices(batch, families) for batch in batches]))


def merge_counts(contents: Sequence[bytes | pa.Buffer]) -> bytes:
    """The counts of all parts; no more than 65,536 combinations a family are counted exactly."""
    table = counting.join([decode_counts(content) for content in contents])
    families = int(table.keys.max(initial=-1)) + 1
    table, _, _ = counting.cut(table, np.full(families, _COMBINATIONS))
    return _encode_counts(table)


def _encode_counts(table: counting.Counts) -> bytes:
    sink = pa.BufferOutputStream()
    columns = pa.table({"key": table.keys, "value": table.values, "count": table.counts})
    with pa.ipc.new_stream(sink, columns.schema) as writer:
        writer.write_table(columns)
    return sink.getvalue().to_pybytes()


def decode_counts(content: bytes | pa.Buffer) -> counting.Counts:
    """The counts that `count_rows` gave."""
    table = pa.ipc.open_stream(pa.BufferReader(content)).read_all().combine_chunks()
    keys, count = table["key"].to_numpy(), table["count"].to_numpy()
    values = pa.concat_arrays(table["value"].chunks or [pa.array([], pa.large_binary())])
    return counting.Counts(keys, values, count, np.zeros(len(keys)))


def measure_worst(
    options: Options,
    chosen: Mapping[str, Bins],
    split: str,
    _: int,
    batches: Iterator[pa.RecordBatch],
) -> bytes:
    """What the rows of an element cost, by bins of their split."""
    from headwater.components.generate_statistics.worst_slices import costs as worst_state

    return worst_state.measure(list(batches), chosen[split], options)


def merge_splits(merge: Any, parts: list[bytes]) -> bytes:
    """Merges what neighbouring elements gave, split by split."""
    by_split: dict[str, list[pa.Buffer]] = {}
    for part in parts:
        for split, content in _unpacked(part).items():
            by_split.setdefault(split, []).append(content)
    return _pack(
        {
            split: contents[0] if len(contents) == 1 else b"\n".join(contents) if split == DIGESTS else merge(contents)
            for split, contents in by_split.items()
        }
    )


def _pack(parts: Mapping[str, bytes | pa.Buffer]) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(
        {"split": pa.array(list(parts), pa.string()), "content": state_file.as_binary(list(parts.values()))}
    )
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def unpack(content: bytes) -> dict[str, bytes]:
    """What was given for each split."""
    return {split: part.to_pybytes() for split, part in _unpacked(content).items()}


def _unpacked(content: bytes) -> dict[str, pa.Buffer]:
    table = pa.ipc.open_stream(pa.BufferReader(content)).read_all()
    return dict(zip(table["split"].to_pylist(), buffers(table["content"])))
