"""Each feature's distribution, read from the state that generate-statistics writes beside its statistics.

Only all rows are read, no slices. The statistics of several spans are their sum.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common.errors import HeadwaterError

FORMATS = ("3", "4")
"""Formats of states that are understood."""

HASH_BINS = 256
"""Values that a state no longer counts one by one are counted by as many bins of their hash."""

_ROLES = 64
_OF_VALUES = 0


@dataclasses.dataclass(frozen=True)
class Feature:
    """The distribution of one feature.

    Attributes:
      numeric: whether its values are numbers; else text. Neither has values when both tables are empty.
      rule: how its values were converted; empty when they were not.
      rows: places where a value could stand, of which `missing` have none and `nan` hold NaN.
      values: how many values there are, NaN included; more than places where there are lists.
      points, weights: of numbers without NaN: values in order, float64, and how many rows each stands for.
      low, high: of numbers, the least and the greatest value.
      slack: the share of values by which a rank may be off; 0 when exact.
      texts, counts: of text: distinct values, large_binary, and how often each occurs, int64.
      rest: of text, int64[HASH_BINS]: what is not among `counts`, by the values' hash; all 0 when counts are exact.
    """

    numeric: bool
    rule: str
    rows: float
    missing: float
    nan: float
    values: float
    points: np.ndarray
    weights: np.ndarray
    low: float
    high: float
    slack: float
    texts: pa.Array
    counts: np.ndarray
    rest: np.ndarray

    @property
    def exact(self) -> bool:
        """Whether every value of text is counted by itself."""
        return not self.rest.any()


def read(content: bytes) -> dict[tuple[str, ...], Feature]:
    """The distribution of each feature, by path, of a state's bytes.

    Raises:
      HeadwaterError: it is no state, or one of a format that is not understood.
    """
    table, about = open_state(content)
    parts = streams_of(table)
    tables = {name: _all_rows(pa.ipc.open_stream(parts[name]).read_all()) for name in _WANTED}
    paths = [tuple(path) for path in about["paths"]]
    rules = {tuple(path): text for path, text in about["rules"]}
    return _features(paths, rules, about["examples"][0][0], tables)


def open_state(content: bytes | pa.Buffer) -> tuple[pa.Table, dict[str, Any]]:
    """The table of a state's parts, and what the state says about itself.

    Raises:
      HeadwaterError: it is no state, or one of a format that is not understood.
    """
    table = read_table(content, "statistics")
    metadata = table.schema.metadata or {}
    version = metadata.get(b"headwater.state", b"").decode()
    if version not in FORMATS:
        known = " and ".join(map(repr, FORMATS))
        raise HeadwaterError(
            f"this state of statistics has format {version or 'unknown'!r}; this Headwater reads {known}; compute the "
            "statistics again"
        )
    return table, json.loads(metadata[b"headwater.about"])


def streams_of(table: pa.Table) -> dict[str, pa.Buffer]:
    """What each of a state's parts holds, where it lies: as a scalar it would be a copy."""
    return dict(zip(table["name"].to_pylist(), buffers(table["content"])))


def buffers(column: pa.ChunkedArray) -> Iterator[pa.Buffer]:
    """Each value of large_binary, where it lies."""
    for chunk in column.chunks:
        _, offsets, content = chunk.buffers()
        ends = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        yield from (content.slice(start, stop - start) for start, stop in zip(ends, ends[1:]))


def read_table(content: bytes | pa.Buffer, what: str) -> pa.Table:
    """The Arrow file that a state of `what` is.

    Raises:
      HeadwaterError: it is no such file.
    """
    try:
        return pa.ipc.open_file(pa.BufferReader(content)).read_all()
    except (pa.ArrowInvalid, OSError):
        raise HeadwaterError(f"this is not a state of {what}: it is not an Arrow file") from None


_WANTED = ("numbers", "levels", "points", "counts", "rests")
_NUMBER_KINDS = (0, 1)


def _all_rows(table: pa.Table) -> dict[str, Any]:
    """The columns of a table where its slice is all rows, which come first."""
    slices = _values(one_array(table["slice"]))
    kept = table.slice(0, int(np.searchsorted(slices, 0, side="right"))) if len(slices) else table
    return {name: _values(one_array(kept[name])) for name in kept.column_names if name != "slice"}


def _values(column: pa.Array) -> Any:
    """Numbers as NumPy's, whole ones as int64; the rest as it is."""
    whole = pa.types.is_integer(column.type)
    if not whole and not pa.types.is_floating(column.type):
        return column
    # None is missing. To convert them pyarrow would import pandas, which takes longer than the rest.
    _, content = column.buffers()
    values: np.ndarray = np.frombuffer(content or b"", column.type.to_pandas_dtype())
    values = values[column.offset : column.offset + len(column)]
    return values.astype(np.int64) if whole else values


def _features(
    paths: Sequence[tuple[str, ...]], rules: dict[tuple[str, ...], str], rows: float, tables: dict[str, Any]
) -> dict[tuple[str, ...], Feature]:
    numbers, levels, points, counts, rests = (tables[name] for name in _WANTED)
    places = {path: place for place, path in enumerate(paths)}
    first: dict[int, int] = {}
    last: dict[int, tuple[int, int]] = {}
    for path, level, present, total in zip(*(levels[name].tolist() for name in ("path", "level", "present", "total"))):
        if level == 0:
            first[path] = present
        if level >= last.get(path, (0, 0))[0]:
            last[path] = (level, total)
    of_values: Any = points["role"] == _OF_VALUES
    if of_values.all():
        # Without a copy.
        of_values = slice(None)
    point_spans = _spans(points["path"][of_values])
    values, weights = points["value"][of_values], points["weight"][of_values]
    count_spans = _spans(counts["path"])
    rest_spans = _spans(rests["path"])
    features = {}
    wanted = ("path", "kind", "values", "nan", "rank_error", "min", "max")
    measured = {name: numbers[name].tolist() for name in wanted}
    by_path = {path: row for row, path in enumerate(measured["path"])}
    for path, place in places.items():
        row = by_path.get(place)
        kind, held, nan, error, low, high = (measured[name][row] if row is not None else 0 for name in wanted[1:])
        parent = places.get(path[:-1])
        above = rows if parent is None else last.get(parent, (0, 0))[1]
        begin, end = point_spans.get(place, (0, 0))
        start, stop = count_spans.get(place, (0, 0))
        rest = np.zeros(HASH_BINS, np.int64)
        if place in rest_spans:
            cut = slice(*rest_spans[place])
            rest[rests["bin"][cut]] = rests["count"][cut]
        features[path] = Feature(
            numeric=kind in _NUMBER_KINDS and end > begin,
            rule=rules.get(path, ""),
            rows=float(above),
            missing=float(above - first.get(place, 0)),
            nan=float(nan),
            values=float(last.get(place, (0, 0))[1]),
            points=values[begin:end],
            weights=weights[begin:end],
            low=float(low),
            high=float(high),
            slack=error / held if held else 0.0,
            texts=counts["value"][start:stop],
            counts=counts["count"][start:stop],
            rest=rest,
        )
    return features


def add(parts: Sequence[Feature]) -> Feature:
    """The distribution of one feature over several spans."""
    if len(parts) == 1:
        return parts[0]
    points = np.concatenate([part.points for part in parts])
    weights = np.concatenate([part.weights for part in parts])
    values, places = np.unique(points, return_inverse=True)
    encoded = pa.concat_arrays([part.texts for part in parts]).dictionary_encode()
    counts = np.bincount(
        encoded.indices.to_numpy(), np.concatenate([part.counts for part in parts]), minlength=len(encoded.dictionary)
    )
    held = weights.sum()
    return Feature(
        numeric=any(part.numeric for part in parts),
        rule=parts[-1].rule,
        rows=sum(part.rows for part in parts),
        missing=sum(part.missing for part in parts),
        nan=sum(part.nan for part in parts),
        values=sum(part.values for part in parts),
        points=values,
        weights=np.bincount(places, weights, minlength=len(values)),
        low=min((part.low for part in parts if part.numeric), default=0.0),
        high=max((part.high for part in parts if part.numeric), default=0.0),
        slack=sum(part.slack * part.weights.sum() for part in parts) / held if held else 0.0,
        texts=encoded.dictionary,
        counts=counts.astype(np.int64),
        rest=np.sum([part.rest for part in parts], axis=0),
    )


def _spans(keys: np.ndarray) -> dict[int, tuple[int, int]]:
    if not len(keys):
        return {}
    begin = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return dict(zip(keys[begin].tolist(), zip(begin.tolist(), [*begin[1:].tolist(), len(keys)])))


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, without a copy where it is one already."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
