"""The constants of `model.py`, measured: small runs of whole processes, and a least-squares fit to their CPU seconds."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import benches
import model
import numpy as np
from model import KINDS, Shape, as_csv, least, prepared

OVER_KINDS = ("collect csv", "collect parquet", "generate-statistics")
SMALL, LARGE, WIDE = 100_000, 2_500_000, (20_000, 500)
FILES, FILE_ROWS = (100, 1_000), 200
_MANY_CELLS = 64 << 10


def constants(folder: pathlib.Path, runs: int) -> dict[str, Any]:
    """All constants, as `model.json` has them."""
    seconds: dict[str, Any] = {}
    taken: dict[str, list[tuple[dict[str, float], int, float]]] = {way: [] for way in model.COMMANDS}
    walls: dict[str, list[tuple[Shape, float]]] = {way: [] for way in model.COMMANDS}
    # Of two kinds a few rows tell what a column costs without any; of all whole tables do.
    few = [(SMALL, "float"), (SMALL, "text"), (SMALL, "")]
    tables = [*few, *((LARGE, kind) for kind in KINDS), (LARGE, ""), (WIDE[0], "wide")]
    for rows, kind in tables:
        columns = WIDE[1] if kind == "wide" else 0
        path = prepared(folder, rows, kind if not columns else "", columns)
        as_csv(path)
        cells = _cells(rows, kind, columns)
        for way in model.COMMANDS:
            if way in OVER_KINDS or not kind or (kind == "wide" and way in model.OF_COLUMNS):
                used, wall = least(runs, way, path, folder / "model" / path.stem)
                taken[way].append((cells, columns or KINDS.get(kind, 18), used))
                walls[way] += [] if kind else [(Shape(rows), wall)]
                print(f"{way:20} {path.stem:16} {used:.2f} s, {wall:.2f} s by the clock", file=sys.stderr, flush=True)
    for way, found in taken.items():
        seconds[way] = _fitted(way, found)
    many, few = prepared(folder, LARGE), taken["generate-statistics"][-2][2]
    used, _ = least(runs, "generate-statistics", many, folder / "model" / many.stem, _MANY_CELLS)
    count = Shape(LARGE).all_cells / _MANY_CELLS - model.elements(
        "generate-statistics", Shape(LARGE), {"graph": _graph()}
    )
    seconds["generate-statistics"]["element"] = max(0.0, (used - few) / count)
    for way in ("collect csv", "collect parquet"):
        seconds[way]["file"] = _of_a_file(way, folder, runs)
    known = {
        "seconds": seconds,
        "graph": _graph(),
        "bytes": {name: _sizes(folder, name) for name in ("csv", "parquet")},
    }
    for way, found in walls.items():
        seconds[way]["clock"] = _clock(way, found, known)
    return {
        "seconds": _rounded(seconds),
        "bytes": known["bytes"],
        "bytes of a state": (folder / "model" / many.stem / "statistics/Split-train/State.arrow").stat().st_size,
        "graph": _graph(),
        **_rounded(_of_indexes()),
        "requests": _requests(),
    }


def _graph() -> dict[str, float]:
    """How the code cuts work into elements, and merges them."""
    from headwater.components.collect.shape.duplicates import PARTITION_ROWS
    from headwater.components.common.merge_tree import GROUP
    from headwater.components.common.sources.files import BLOCK_BYTES
    from headwater.components.generate_statistics import compute

    return {
        "elements": compute.ELEMENTS,
        "least cells": compute.LEAST_CELLS,
        "most cells": compute.MOST_CELLS,
        "merged at once": GROUP,
        "bytes of a range": BLOCK_BYTES,
        "rows of a range": 100_000,
        "rows of a partition of keys": PARTITION_ROWS,
    }


def _cells(rows: int, kind: str, columns: int) -> dict[str, float]:
    if kind in KINDS:
        return {each: rows * KINDS[kind] * (each == kind) for each in KINDS}
    return {each: Shape(rows, columns or 18).cells(each) for each in KINDS}


def _fitted(way: str, found: list[tuple[dict[str, float], int, float]]) -> dict[str, Any]:
    """The constants that give the least squares of relative errors, none of them negative."""
    from scipy.optimize import nnls

    if way in model.OF_COLUMNS:
        rows = [[1.0, columns, 0.0] for _, columns, _ in found]
    elif way in OVER_KINDS:
        rows = [[1.0, columns, *cells.values()] for cells, columns, _ in found]
    else:
        rows = [[1.0, 0.0, sum(cells.values())] for cells, _, _ in found]
    used = np.array([seconds for _, _, seconds in found])
    # What is predicted is a table of all kinds, which costs less than the same columns in tables of their own.
    weight = np.array(
        [3.0 if all(cells.values()) and columns == sum(KINDS.values()) else 1.0 for cells, columns, _ in found]
    )
    answer, _ = nnls(np.array(rows) * (weight / used)[:, None], weight)
    start, column, *cell = answer.tolist()
    cell = cell * len(KINDS) if len(cell) == 1 else cell
    return {"start": start, "column": column, "cell": dict(zip(KINDS, cell)), "element": 0.0, "file": 0.0}


def _clock(way: str, found: list[tuple[Shape, float]], known: dict[str, Any]) -> float:
    """Seconds of whole runs that are neither of columns nor of what cores share: on average of a small and a large one."""
    left = []
    for shape, wall in found:
        parts = model.cpu(way, shape, known)
        spread = parts.get("cells", 0.0) + parts.get("elements", 0.0)
        left.append(wall - parts.get("columns", 0.0) - spread / benches.THREADS)
    return sum(left) / len(left)


def _of_a_file(way: str, folder: pathlib.Path, runs: int) -> float:
    """Seconds that each of many small files costs, with its few rows."""
    import pyarrow.parquet as pq

    used = []
    table = pq.read_table(prepared(folder, LARGE))
    for count in FILES:
        place = folder / f"small-{count}"
        suffix = ".csv" if way == "collect csv" else ".parquet"
        below = place.with_name(f"{place.name}{suffix}")
        if not below.exists():
            below.mkdir()
            for number in range(count):
                path = below / f"{number:05d}.parquet"
                pq.write_table(table.slice(number * FILE_ROWS, FILE_ROWS), path)
                if suffix == ".csv":
                    as_csv(path)
                    path.unlink()
        used.append(least(runs, way, below, folder / "model" / f"small-{count}")[0])
        print(f"{way:20} {below.name:16} {used[-1]:.2f} s", file=sys.stderr, flush=True)
    return max(0.0, (used[1] - used[0]) / (FILES[1] - FILES[0]))


def _sizes(folder: pathlib.Path, name: str) -> dict[str, float]:
    """Bytes of a value of each kind: of CSV as it is, of Parquet as collect writes it."""
    sizes = {}
    for kind, columns in KINDS.items():
        path = prepared(folder, LARGE, kind)
        shards = (folder / "model" / path.stem / "data").rglob("part-*.parquet")
        size = path.with_suffix(".csv").stat().st_size if name == "csv" else sum(each.stat().st_size for each in shards)
        sizes[kind] = round(size / LARGE / columns, 3)
    return sizes


def _of_indexes() -> dict[str, float]:
    """What a shard costs in an index: seconds to read it, bytes of it at rest and in memory."""
    import limits

    found = limits.index(100_000)
    return {
        "seconds of a shard in an index": found["seconds"] / 100_000,
        "bytes of a shard in an index": found["bytes"] / 100_000,
        "bytes of a shard in memory": found["memory"] / 100_000,
        "bytes of a range's account": limits.account(18),
        "bytes of a source in a manifest": limits.manifest(1_000) / 1_000,
    }


def _requests() -> dict[str, dict[str, float]]:
    """Requests to a store for each range that collect writes."""
    import limits

    return limits.requests()


def _rounded(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _rounded(each) for name, each in found.items()}
    return float(f"{found:.4g}") if isinstance(found, float) else found
