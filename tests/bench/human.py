"""label's method human: votes to classes beside crowd-kit's Dawid and Skene, the majority and an oracle, in one run; and end
to end.

    python tests/bench/human.py [--only aggregation,skill,small,label] [--rows N]

crowd-kit runs in the environment that `make test-peers` makes.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

_HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]

from benches import Peak, Row, faster, main, run

_PEER = pathlib.Path.home() / ".cache/headwater-peers/crowd-kit/bin/python"
_SIDE = str(_HERE.parent / "peers/crowdkit_side.py")
_SHRUNK = 8


def _kinds(votes):
    from headwater.components.label.human.aggregation import Kinds

    return Kinds(np.zeros(votes.raters, np.int64), [0.8])


def _right(posterior: np.ndarray, truth: np.ndarray) -> str:
    return f"{(posterior.argmax(1) == truth).mean():.4f}"


def _loss(posterior: np.ndarray, truth: np.ndarray) -> str:
    return f"{-np.log(np.maximum(posterior[np.arange(len(truth)), truth], 1e-12)).mean():.4f}"


def bench_aggregation(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """200,000 items by 5 of 500 raters, 4 classes, a tenth of them spammers; accuracy and log loss, and time."""
    from raters import generate, oracle

    from headwater.components.label.human.aggregation import dawid_skene, majority

    truth, votes, confusion, shares = generate(200_000, 500, 5, 4, 1)
    with tempfile.TemporaryDirectory() as work:
        path = f"{work}/votes.npz"
        np.savez(path, task=votes.item, worker=votes.rater, label=votes.answer)
        done = subprocess.run(
            [str(_PEER), "-W", "ignore", _SIDE, path], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": ""},
        )  # fmt: skip
        peer = json.loads(done.stdout)
        theirs = {name: np.load(f"{path}.{name}.npy") for name in ("dawid_skene", "majority")}
    dawid_skene(votes, _kinds(votes))
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = dawid_skene(votes, _kinds(votes))
    posterior = fitted.predict(votes)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    counted = majority(votes, _kinds(votes)).predict(votes)
    known = oracle(votes, confusion, shares)
    for name, told, bar in (("accuracy", _right, "≥ .961"), ("log loss", _loss, "≤ .110")):
        yield f"majority: {name}", told(counted, truth), told(theirs["majority"], truth), "", ""
        yield f"Dawid and Skene: {name}", told(posterior, truth), told(theirs["dawid_skene"], truth), "", bar
        yield f"oracle: {name}", told(known, truth), "", "", ""
    yield faster("Dawid and Skene, fit and prediction: CPU", [cpu], [peer["cpu"]], 8)
    yield faster("the same: wall", [wall], [peer["seconds"]], 8)


def bench_skill(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Raters of narrower skill: log loss without truth beside that of confusions that were counted on as many other items whose
    truth was known, which is as good as they can be known from so many votes; and beside the oracle's."""
    from raters import generate, oracle

    from headwater.components.label.human.aggregation import dawid_skene

    half, found = 200_000, []
    for seed in range(1, 6):
        truth, votes, confusion, shares = generate(2 * half, 500, 5, 4, seed, accuracy=(0.65, 0.90))
        own = votes.item >= half
        judged = votes._replace(
            item=votes.item[own] - half, rater=votes.rater[own], answer=votes.answer[own], items=half
        )
        counts = np.zeros(confusion.shape)
        np.add.at(counts, (votes.rater[~own], truth[votes.item[~own]], votes.answer[~own]), 1)
        counted = counts + _SHRUNK * confusion.mean(0)
        posteriors = (
            dawid_skene(judged, _kinds(judged)).predict(judged),
            oracle(judged, counted / counted.sum(2, keepdims=True), shares),
            oracle(judged, confusion, shares),
        )
        found.append([float(_loss(each, truth[half:])) for each in posteriors])
    ours, known, best = np.mean(found, 0)
    yield "skill .65 to .90, log loss, mean of 5 draws", f"{ours:.4f}", "", "", "≤ .110"
    yield "  beside confusions counted with truth", f"{ours:.4f}", f"{known:.4f}", f"{ours - known:+.4f}", ""
    yield "  beside the oracle", f"{ours:.4f}", f"{best:.4f}", f"{ours - best:+.4f}", ""


def bench_small(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """500 items by 20 raters: how far above the majority, in its standard errors; the mean and the worst of 20 draws."""
    from raters import generate

    from headwater.components.label.human.aggregation import dawid_skene, majority

    for overlap in (3, 5, 20):
        for spammers in (0.0, 0.1, 0.3):
            apart = []
            for seed in range(20):
                truth, votes, *_ = generate(500, 20, overlap, 4, seed, spammers=spammers)
                base, ours = (
                    float((fit(votes, _kinds(votes)).predict(votes).argmax(1) == truth).mean())
                    for fit in (majority, dawid_skene)
                )
                apart.append((ours - base) / max(np.sqrt(base * (1 - base) / 500), 1 / 500))
            label = f"500 × 20, {overlap} votes an item, {spammers:.0%} spammers"
            yield label, f"{np.mean(apart):+.2f}", "", f"{min(apart):+.2f}", "≥ -1"


def bench_label(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Votes to labels end to end: five votes a row."""
    path = folder / f"human-{options.rows}"
    if not path.exists():
        run("make_votes", path, options.rows)
    with Peak() as peak:
        found = run("measure_label", path)
    votes = 5 * options.rows
    yield f"label, {votes:,} votes: votes a second", f"{votes / found['seconds']:,.0f}", "", "", ""
    yield "the same: peak memory of all processes, MiB", f"{peak.bytes >> 20:,}", "", "", ""


def make_votes(path: str, rows: str) -> dict:
    """Rows and votes as files."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from raters import generate

    truth, votes, *_ = generate(int(rows), 500, 5, 4, 1)
    target = pathlib.Path(path)
    target.mkdir(parents=True)
    classes = pa.array(["a", "b", "c", "d"])
    pq.write_table(
        pa.table({"id": np.arange(int(rows)), "truth": classes.take(pa.array(truth))}), target / "rows.parquet"
    )
    names = pa.array([f"rater-{number}" for number in range(500)])
    pq.write_table(
        pa.table(
            {
                "id": votes.item.astype(np.int64),
                "rater": names.take(pa.array(votes.rater)),
                "answer": classes.take(pa.array(votes.answer)),
            }
        ),
        target / "votes.parquet",
    )
    from headwater.components.collect import collect_dataset

    collect_dataset(str(target / "rows.parquet"), str(target / "data"), key=["id"])
    return {}


def measure_label(path: str) -> dict:
    """What labelling takes, its processes included."""
    from headwater.components.label import label_dataset

    step = {"method": "human", "classes": ["a", "b", "c", "d"], "votes": "votes", "truth": "truth"}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as output:
        label_dataset(f"{path}/data", output, steps=[step], inputs={"votes": f"{path}/votes.parquet"})
    return {"seconds": time.perf_counter() - start}


BENCHES = {"aggregation": bench_aggregation, "skill": bench_skill, "small": bench_small, "label": bench_label}

if __name__ == "__main__":
    sys.exit(main([make_votes, measure_label], BENCHES))
