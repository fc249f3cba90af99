"""Joins one partition of training and serving rows by key and compares their values, column by column."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing, storage
from headwater.components.common.keys import is_number

SIDES = ("training", "serving")


def spill_uri(folder: str, side: str, number: int) -> str:
    return storage.join(folder, f"{side}-{number:06d}")


def join(plan: tuple, ends: Sequence[Sequence[Sequence[int]]], most: int, partition: int) -> bytes:
    folder, key, types, tolerances = plan
    sides = [_load(folder, side, own, partition) for side, own in zip(SIDES, ends)]
    counts = nothing([name for name in types if name not in key])
    there = [table for table in sides if table is not None]
    if len(there) < len(sides):
        for title, side in zip(SIDES, sides):
            if side is not None:
                lone = _single(side)
                counts["only"][title], counts["twice"][title] = int(lone.sum()), int((~lone).sum())
        return json.dumps(counts).encode()
    keys, once = [_keys(side) for side in there], [_single(side) for side in there]
    # A key that stands twice on one side has no sure partner on the other.
    twice = [own[~alone] for own, alone in zip(keys, once)]
    once = [alone & ~np.isin(own, other) for own, alone, other in zip(keys, once, reversed(twice))]
    for title, own in zip(SIDES, once):
        counts["twice"][title] = int((~own).sum())
    unique_keys = [own[alone] for own, alone in zip(keys, once)]
    rows = [np.flatnonzero(alone) for alone in once]
    _, first, second = np.intersect1d(unique_keys[0], unique_keys[1], assume_unique=True, return_indices=True)
    pairs = np.sort(first), second[np.argsort(first, kind="stable")]
    chosen = [rows[0][pairs[0]], rows[1][pairs[1]]]
    counts["joined"] = len(pairs[0])
    for title, own in zip(SIDES, rows):
        counts["only"][title] = len(own) - len(pairs[0])
    training, serving = (table.take(pa.array(own)) for table, own in zip(there, chosen))
    for name in counts["columns"]:
        counts["columns"][name] = _compare(training, serving, name, key, tolerances.get(name, (0.0, 0.0)), most)
    return json.dumps(counts).encode()


def _load(folder: str, side: str, ends: Sequence[Sequence[int]], partition: int) -> pa.Table | None:
    parts = []
    for number, own in enumerate(ends):
        start, stop = own[partition], own[partition + 1]
        if stop > start:
            parts.append(
                pa.ipc.open_stream(storage.read_range(spill_uri(folder, side, number), start, stop)).read_all()
            )
    return pa.concat_tables(parts).combine_chunks() if parts else None


def _keys(table: pa.Table) -> np.ndarray:
    """Keys as pairs of numbers that sort as one."""
    keys = np.empty(table.num_rows, np.dtype([("first", "<u8"), ("second", "<u8")]))
    keys["first"], keys["second"] = table["_first"].to_numpy(), table["_second"].to_numpy()
    return keys


def _single(table: pa.Table) -> np.ndarray:
    """Which rows have a key of their own."""
    first, second = table["_first"].to_numpy(), table["_second"].to_numpy()
    order = np.lexsort((second, first))
    equal = (first[order][1:] == first[order][:-1]) & (second[order][1:] == second[order][:-1])
    twice = np.zeros(len(order), bool)
    twice[order[1:][equal]] = True
    twice[order[:-1][equal]] = True
    return ~twice


def _compare(
    training: pa.Table, serving: pa.Table, name: str, key: Sequence[str], tolerance: tuple[float, float], most: int
) -> dict[str, Any]:
    one, other = (_one(table[name]) for table in (training, serving))
    there = [pc.is_valid(side).to_numpy(zero_copy_only=False) for side in (one, other)]
    both, alone = there[0] & there[1], there[0] != there[1]
    compared: dict[str, Any] = {"missing": int(alone.sum()), "sum": 0.0, "max": 0.0, "measured": 0}
    if is_number(one.type):
        different = both & ~_equal(one, other)
        gaps = np.zeros(len(one))
        if different.any():
            places = np.flatnonzero(different)
            a, b = (_doubles(side.take(pa.array(places))) for side in (one, other))
            with np.errstate(invalid="ignore"):
                gap = np.abs(a - b)
                # NaN beside a number, and infinities, are beyond any tolerance.
                beyond = ~(gap <= tolerance[0] + tolerance[1] * np.abs(a))
            gaps[places] = gap
            different[places] = beyond
            finite = gaps[places][np.isfinite(gap)]
            compared["sum"], compared["max"] = float(finite.sum()), float(finite.max(initial=0.0))
        compared["measured"] = int(both.sum())
    else:
        different = both & ~_equal(one, other)
    different |= alone
    places = np.flatnonzero(different)
    compared["differing"] = len(places)
    shown = pa.array(places[:most])
    compared["examples"] = [
        {"key": {part: _said(_one(training[part]).take(shown)[n]) for part in key}, "training": _said(one.take(shown)[n]),
         "serving": _said(other.take(shown)[n])}
        for n in range(len(shown))
    ]  # fmt: skip
    return compared


def _equal(one: pa.Array, other: pa.Array) -> np.ndarray:
    kind = one.type
    if pa.types.is_floating(kind):
        a, b = (pc.fill_null(side, 0.0).to_numpy(zero_copy_only=False) for side in (one, other))
        return (a == b) | (np.isnan(a) & np.isnan(b))
    if (
        pa.types.is_nested(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_null(kind)
        or pa.types.is_duration(kind)
    ):
        return hashing.hash_values(one) == hashing.hash_values(other)
    return pc.fill_null(pc.equal(one, other), False).to_numpy(zero_copy_only=False)


def _doubles(column: pa.Array) -> np.ndarray:
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)


def _said(value: pa.Scalar) -> Any:
    """A value as JSON has it, at most 80 characters long."""
    plain = value.as_py()
    if plain is None or isinstance(plain, (bool, int)):
        return plain
    if isinstance(plain, float):
        return plain if np.isfinite(plain) else str(plain)
    return str(plain)[:80]


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def nothing(columns: Sequence[str]) -> dict[str, Any]:
    none = {"missing": 0, "sum": 0.0, "max": 0.0, "measured": 0, "differing": 0}
    return {
        "joined": 0,
        "only": dict.fromkeys(SIDES, 0),
        "twice": dict.fromkeys(SIDES, 0),
        "columns": {name: {**none, "examples": []} for name in columns},
    }


def add(most: int, contents: list[bytes]) -> bytes:
    """What several partitions tell together; of examples the first stay."""
    total: dict[str, Any] = {}
    for part_counts in map(json.loads, contents):
        if not total:
            total = part_counts
            continue
        total["joined"] += part_counts["joined"]
        for part in ("only", "twice"):
            for side in SIDES:
                total[part][side] += part_counts[part][side]
        for name, theirs in part_counts["columns"].items():
            mine = total["columns"][name]
            for field in ("missing", "sum", "measured", "differing"):
                mine[field] += theirs[field]
            mine["max"] = max(mine["max"], theirs["max"])
            mine["examples"] = (mine["examples"] + theirs["examples"])[:most]
    return json.dumps(total).encode()


# Telling.
