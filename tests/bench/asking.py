"""label, active learning: accuracy over rounds of 20 answers beside random rows and scikit-activeml; and the speed of scoring.

    python tests/bench/asking.py [--rows N] [--only curves,peers,speed]

scikit-activeml runs in an environment of its own, which `make test-peers` makes.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

_HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]

from benches import Row, finish, main, run

_BARS = {"digits": 0.848, "clusters": 0.735}
_NAMED = ("margin", "entropy", "clusters", "committee", "regions", "mix")
_SEEDS = range(5)
_PEERS = pathlib.Path.home() / ".cache/headwater-peers/activeml/bin/python"
_SIDE = _HERE.parent / "peers/activeml_side.py"


def bench_curves(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """The mean accuracy over the curve of each strategy from the same first rows, and of the mix with its own start."""
    for name, bar in _BARS.items():
        random = _found(name, "random")
        yield f"{name}, random", _told(random), "", "", ""
        for strategy in _NAMED:
            own = _found(name, strategy)
            yield f"{name}, {strategy}", _told(own), _told(random), f"{own.mean() - random.mean():+.3f}", "≥ 0"
        own = _found(name, "mix", cold=True)
        yield f"{name}, mix from its own first rows", _told(own), "", "", f"≥ {bar}"


def bench_peers(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Ours beside scikit-activeml's, on the same rounds with the same forest."""
    if not _PEERS.exists():
        sys.exit(f"{_PEERS}: is not there; `make test-peers` makes it")
    for name in _BARS:
        for ours, theirs in PAIRS.items():
            own, other = _found(name, ours), peer(name, theirs, _SEEDS)
            apart = own - other
            error = float(apart.std(ddof=1) / np.sqrt(len(apart)))
            label = f"{name}, {ours} beside {theirs}; difference, -1 s.e."
            yield label, _told(own), _told(other), f"{apart.mean():+.3f}", f"≥ {-error:.3f}"


PAIRS = {
    "margin": "margin",
    "entropy": "entropy",
    "committee": "committee",
    "clusters": "typiclust",
    "random": "random",
}
"""Our strategies, and scikit-activeml's of the same kind."""


def peer(name: str, strategy: str, seeds, last: int = 0) -> np.ndarray:
    """The mean over the curve of one of scikit-activeml's strategies, one a seed; `last` is that of `rounds.curve`."""
    from rounds import FIRST, LAST, split

    found = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as work:
            pool, codes, held, truth = split(name, seed)
            first = np.random.default_rng(100 + seed).permutation(len(pool))[:FIRST]
            np.savez(f"{work}/rows.npz", pool=pool, codes=codes, held=held, truth=truth, first=first)
            told = finish(
                [str(_PEERS), "-W", "ignore", str(_SIDE), f"{work}/rows.npz", strategy, str(seed), str(last or LAST)]
            )
            found.append(np.mean(json.loads(told.splitlines()[-1])))
    return np.array(found)


def measure_curve(name: str, strategy: str, cold: str) -> dict:
    """The mean accuracy over the curve, one a seed."""
    from rounds import curve

    return {"means": [float(np.mean(curve(name, seed, strategy, cold=cold == "True"))) for seed in _SEEDS]}


def bench_speed(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """One round over many rows, and how memory grows with them."""
    peaks = []
    for rows in (options.rows // 10, options.rows):
        found = run("measure_round", rows)
        peaks.append(found["peak"])
        speed = f"{rows / found['seconds'] / 1000:.0f} k/s"
        yield f"a round of margin over {rows:,} rows × 32: rows/s", speed, "", "", ""
        # Where others use the machine as well, this is what can be compared.
        yield "  processor time", f"{found['cpu']:.1f} s", "", "", ""
    yield (
        "ten times the rows: MiB at the peak",
        f"{peaks[1]:.0f}",
        f"{peaks[0]:.0f}",
        f"{peaks[1] / peaks[0]:.2f}",
        "≤ 1.3",
    )


def measure_round(rows: str) -> dict:
    """Seconds and the peak of memory of one round in this process."""
    import resource
    import time

    import pyarrow as pa
    import pyarrow.parquet as pq

    from headwater.components.label import ask_rows

    with tempfile.TemporaryDirectory() as work:
        chance = np.random.default_rng(0)
        names = ["id", *(f"c{number}" for number in range(32)), "class"]
        writer = None
        for start in range(0, int(rows), 50_000):
            count = min(50_000, int(rows) - start)
            columns = chance.normal(size=(32, count)).astype(np.float32)
            known = ["a" if x > 0 else "b" for x in columns[0, :200]] if not start else []
            classes = pa.array([*known, *([None] * (count - len(known)))], pa.string())
            table = pa.table([pa.array(np.arange(start, start + count)), *map(pa.array, columns), classes], names)
            writer = writer or pq.ParquetWriter(f"{work}/rows.parquet", table.schema)
            writer.write_table(table)
        writer.close()
        before, begin = time.process_time(), time.perf_counter()
        given = {"strategy": "margin", "rows": 100, "classes": ["a", "b"], "answers": "class"}
        ask_rows(f"{work}/rows.parquet", f"{work}/tasks", ask=given, workers=1)
        seconds = time.perf_counter() - begin
    return {"seconds": seconds, "before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _found(name: str, strategy: str, cold: bool = False) -> np.ndarray:
    return np.array(run("measure_curve", name, strategy, cold)["means"])


def _told(means: np.ndarray) -> str:
    return f"{means.mean():.4f}"


if __name__ == "__main__":
    sys.exit(main([measure_curve, measure_round], {"curves": bench_curves, "peers": bench_peers, "speed": bench_speed}))
