"""Ordered rows, for columns that must not fall: where their ranges begin, and which of them fall."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing, storage
from headwater.components.common.arrow_types import is_text
from headwater.components.common.dataset import read_element
from headwater.components.common.keys import as_key, decoded
from headwater.components.validate.rows.rules import Monotone
from headwater.components.validate.rows.spills import PLACE, Spill, as_places, column_of, counted, only, spilled_uri

_SAMPLE_ROWS = 65_536
_IMAGE_BYTES = 24


def borders_of(
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
        functools.partial(_sample, only(schema, columns), asked, stride),
        b"".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    sample = np.sort(np.frombuffer(content, kind))
    places = np.arange(1, partitions) * len(sample) // partitions
    return np.unique(sample[places]) if len(sample) else np.empty(0, kind)


def _sample(schema: pa.Schema, asked: Monotone, stride: int, item: tuple[int, Any]) -> bytes:
    number, element = item
    images = []
    for first, batch in counted(read_element(element, schema)):
        rows = np.arange((-first) % stride, batch.num_rows, stride)
        table = ordered_rows(batch.take(pa.array(rows)) if stride > 1 else batch, asked, first + rows)
        images.append(_images(table, number).tobytes())
    return b"".join(images)


def pack(spill: Spill, held: list[pa.Table], number: int) -> tuple[bytes, list[int]]:
    """Ordered rows by partition, as bytes, and where each partition begins."""
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


def fallen(strict: bool, table: pa.Table | None) -> tuple[np.ndarray, str]:
    """The rows that fall, and the first and the last of all rows, as text."""
    if table is None or not table.num_rows:
        return np.empty(0, PLACE), ""
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
    return as_places(arrays["element"].to_numpy()[1:][fell], arrays["row"].to_numpy()[1:][fell])


def over_borders(strict: bool, ends: Sequence[str]) -> dict[int, list[int]]:
    """The rows that fall below the last of the partition before, by element."""
    tables = [pa.ipc.open_stream(base64.b64decode(text)).read_all() for text in ends if text]
    rows_of: dict[int, list[int]] = {}
    for before, after in zip(tables, tables[1:]):
        for element, row in _falls(strict, pa.concat_tables([before.slice(1), after.slice(0, 1)])).tolist():
            rows_of.setdefault(element, []).append(row)
    return rows_of


def read(folder: str, rule: int, pieces: Sequence[tuple[int, int]]) -> pa.Table | None:
    """One partition's ordered rows of all elements, with their elements."""
    tables = []
    for number, (start, stop) in enumerate(pieces):
        if start < stop:
            content = storage.read_range(spilled_uri(folder, rule, "rows", number), start, stop)
            table = pa.ipc.open_stream(content).read_all()
            tables.append(table.append_column("element", pa.array(np.full(len(table), number, np.uint32))))
    return pa.concat_tables(tables).combine_chunks() if tables else None


def ordered_rows(batch: pa.RecordBatch, asked: Monotone, rows: np.ndarray) -> pa.Table:
    """What a monotone rule needs of rows, without those that have a missing value or NaN in what is ordered."""
    groups = [as_key(column_of(batch, name)) for name in asked.group]
    first = hashing.hash_rows(groups) if groups else np.zeros(batch.num_rows, np.uint64)
    second = hashing.second_hash(groups) if groups else np.zeros(batch.num_rows, np.uint64)
    values = [_sortable(column_of(batch, name)) for name in [asked.column, *asked.order]]
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
    if is_text(kind):
        return array.cast(pa.large_string()).cast(pa.large_binary())
    return array.cast(pa.large_binary()) if pa.types.is_binary(kind) else array


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _missing(array: pa.Array) -> np.ndarray:
    return pc.is_null(array).to_numpy(zero_copy_only=False)


def _to_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
