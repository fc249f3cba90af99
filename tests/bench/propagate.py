"""label by propagation: accuracy and time beside scikit-learn's LabelSpreading, and large data end to end.

    python tests/bench/propagate.py [--rows 5000000] [--only spreading,shapes,big] [--folder F]

Times are of all cores together (user and system), since machines are shared; what elapsed stands beside them.
"""

from __future__ import annotations

import argparse
import pathlib
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np

_HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]

from benches import Peak, Row, main, run

_ROWS = 200_000
_SEEDS = 1_000
_CLASSES = 10
_MIB = 1 << 20


def bench_spreading(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Ours and the peer on overlapping clusters."""
    ours, peer = run("measure_ours", "mixture", _ROWS, _SEEDS), run("measure_peer", "mixture", _ROWS, _SEEDS)
    yield "200,000 × 32, 10 classes: accuracy", *_both(ours, peer, "accuracy"), "", "≥ .935"
    yield "  log loss", *_both(ours, peer, "loss"), "", ""
    share = f"{peer['seconds'] / ours['seconds']:.1f}×"
    yield "  seconds of processor", f"{ours['seconds']:.1f}", f"{peer['seconds']:.1f}", share, "≥ 10×"
    share = f"{peer['elapsed'] / ours['elapsed']:.1f}×"
    yield "  seconds elapsed", f"{ours['elapsed']:.1f}", f"{peer['elapsed']:.1f}", share, ""


def bench_shapes(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Ours and the peer on other shapes, and on handwritten digits."""
    for kind, rows, seeds in (
        ("moons", 20_000, 40),
        ("mixture", 20_000, 500),
        ("digits", 1_797, 50),
        ("digits", 1_797, 200),
    ):
        ours, peer = run("measure_ours", kind, rows, seeds), run("measure_peer", kind, rows, seeds)
        yield f"{kind}, {rows:,} rows, {seeds} labels: accuracy", *_both(ours, peer, "accuracy"), "", ""
        yield "  log loss", *_both(ours, peer, "loss"), "", ""


def bench_big(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """label end to end on one machine, and its memory."""
    rows = max(options.rows, 100_000)
    files = folder / f"propagate-{rows}"
    if not files.exists():
        _write(files, rows)
    for share in (5, 1):
        done = run("measure_label", files, share)
        yield f"label, {rows // share:,} × 32: rows/s", f"{done['rows'] / done['elapsed']:,.0f}", "", "", ""
        yield "  accuracy", f"{done['accuracy']:.4f}", "", "", ""
        yield "  memory of all processes, MiB", f"{done['peak'] / _MIB:,.0f}", "", "", "flat"


def measure_ours(kind: str, rows: str, seeds: str) -> dict:
    """Accuracy, log loss and time of ours."""
    from headwater.components.label.propagate.fitting import Nodes, Rules, propagate

    points, truth, own = _given(kind, int(rows), int(seeds))
    classes = int(truth.max()) + 1
    hashes = np.random.default_rng(2).integers(0, 1 << 63, len(points)).astype(np.uint64)
    nodes = Nodes(points, hashes, own, np.eye(classes, dtype=np.float32)[truth[own]], np.zeros(len(own), bool))
    started, before = time.perf_counter(), _processor()
    done = propagate(nodes, Rules(7, None, None))
    probabilities = done.probabilities[done.of]
    return _told(probabilities, truth, own, started, before)


def measure_peer(kind: str, rows: str, seeds: str) -> dict:
    """The same of scikit-learn's LabelSpreading, by as many neighbours as it takes itself."""
    from sklearn.semi_supervised import LabelSpreading

    points, truth, own = _given(kind, int(rows), int(seeds))
    known = np.full(len(points), -1)
    known[own] = truth[own]
    started, before = time.perf_counter(), _processor()
    model = LabelSpreading(kernel="knn", n_jobs=-1).fit(points, known)
    return _told(np.nan_to_num(model.label_distributions_), truth, own, started, before)


def measure_label(files: str, share: str) -> dict:
    """label on the files, or a part of them."""
    import tempfile

    import pyarrow.dataset as pads

    from headwater.components.label import label_dataset

    every = sorted(str(path) for path in pathlib.Path(files).glob("*.parquet"))
    with tempfile.TemporaryDirectory() as folder:
        for path in every[: len(every) // int(share)]:
            (pathlib.Path(folder) / "given").mkdir(exist_ok=True)
            (pathlib.Path(folder) / "given" / pathlib.Path(path).name).symlink_to(path)
        step = {
            "method": "propagate", "classes": [str(number) for number in range(_CLASSES)], "gold": "known", "truth": "truth",
            "columns": [f"x{number}" for number in range(32)],
        }  # fmt: skip
        started = time.perf_counter()
        with Peak() as peak:
            labels = label_dataset(f"{folder}/given", f"{folder}/labels", steps=[step])
        elapsed = time.perf_counter() - started
        rows = pads.dataset(f"{folder}/given").count_rows()
        return {"rows": rows, "elapsed": elapsed, "accuracy": labels.body["truth"]["accuracy"], "peak": peak.bytes}


def _write(files: pathlib.Path, rows: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from points import mixture

    files.mkdir(parents=True)
    chance = np.random.default_rng(9)
    parts = 50
    points, truth = mixture(rows, apart=0.1)
    for number in range(parts):
        own = slice(number * rows // parts, (number + 1) * rows // parts)
        known = chance.random(len(truth[own])) < 0.001
        columns = {f"x{place}": points[own, place] for place in range(points.shape[1])}
        gold = pa.array(truth[own].astype(str), pa.string(), mask=~known)
        table = pa.table({**columns, "known": gold, "truth": truth[own].astype(str)})
        pq.write_table(table, files / f"part-{number:02d}.parquet")


def _given(kind: str, rows: int, seeds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from points import mixture, moons
    from sklearn.datasets import load_digits

    if kind == "digits":
        points, truth = load_digits(return_X_y=True)
        points = points.astype(np.float32)
    else:
        points, truth = moons(rows) if kind == "moons" else mixture(rows, apart=0.1)
        points /= points.std(0)
    own = np.sort(np.random.default_rng(7).choice(len(points), seeds, replace=False))
    return points, truth, own


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + children.ru_utime + children.ru_stime


def _told(probabilities: np.ndarray, truth: np.ndarray, own: np.ndarray, started: float, before: float) -> dict:
    seconds, elapsed = _processor() - before, time.perf_counter() - started
    others = np.setdiff1d(np.arange(len(truth)), own)
    chances = np.maximum(probabilities[others, truth[others]], 1e-9)
    return {
        "accuracy": float((probabilities[others].argmax(1) == truth[others]).mean()),
        "loss": float(-np.log(chances).mean()), "seconds": seconds, "elapsed": elapsed,
    }  # fmt: skip


def _both(ours: dict, peer: dict, name: str) -> tuple[str, str]:
    return f"{ours[name]:.4f}", f"{peer[name]:.4f}"


if __name__ == "__main__":
    raise SystemExit(
        main(
            [measure_ours, measure_peer, measure_label],
            {"spreading": bench_spreading, "shapes": bench_shapes, "big": bench_big},
        )
    )
