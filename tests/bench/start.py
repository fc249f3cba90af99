"""What starting costs: each task of the compiled pipeline as a pod runs it, and whole commands, where the data is small.

Each is a process of its own with all that it starts. Other work on the machine changes seconds more than CPU seconds, and
both of other trees alike: `--beside` measures another tree's environment by turns.

    python tests/bench/start.py [--runs 5] [--rows 3000] [--process-rows 10000] [--only tasks,processes]
        [--beside /path/to/other/tree/.venv/bin/python]
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

_HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]

from benches import Row, cpu_below, main, ratio
from generator import write_csv
from pods import Done, Pipeline

BARS = {
    "collect": 1.2,
    "label": 1.2,
    "generate-statistics": 1.2,
    "infer-schema": 4.0,
    "validate": 4.0,
    "gate": 0.4,
    "process generate-statistics": 2.0,
    "headwater run": 8.0,
}

Cost = tuple[float, float]


def cost(command: Sequence[str], python: str, cwd: pathlib.Path) -> tuple[Cost, Done]:
    """Seconds and CPU seconds of a command and of all that it starts, and what it printed."""
    folder = os.path.dirname(python)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    before, begun = cpu_below(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
    seconds = time.perf_counter() - begun
    return (seconds, cpu_below() - before), Done(done.returncode, done.stdout + done.stderr, "")


def tasks(data: pathlib.Path, python: str) -> Iterator[tuple[str, Cost]]:
    """The costs of each task of the compiled pipeline."""
    spent: list[Cost] = []

    def run(image: str, command: Sequence[str], shared: pathlib.Path) -> Done:
        one, done = cost(command, python, shared)
        spent.append(one)
        return done

    with tempfile.TemporaryDirectory() as folder:
        project = {"name": "start", "sources": [str(data)], "platform": {"data_root": f"{folder}/home"}}
        find = "import headwater.pipelines; print(headwater.pipelines.__path__[0])"
        place = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
        pipeline = Pipeline(pathlib.Path(folder, "root"), project, run, compiled=pathlib.Path(place, "headwater.yaml"))
        for name in pipeline.tasks():
            done = pipeline.run(name)
            assert not done.code, done.log
            yield name, spent[-1]


def processes(data: pathlib.Path, python: str) -> Iterator[tuple[str, Cost]]:
    """The costs of what somebody waits for at a keyboard."""
    call = f"from headwater.components.generate_statistics import compute_statistics; compute_statistics({str(data)!r}, 's')"
    commands = {
        "process generate-statistics": [python, "-c", call],
        "headwater run": [python, "-m", "headwater.pipelines.cli", "run", str(data), "--quiet"],
    }
    for name, command in commands.items():
        with tempfile.TemporaryDirectory() as folder:
            one, done = cost(command, python, pathlib.Path(folder))
            assert not done.code, done.log
            yield name, one


def bench_tasks(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Each task."""
    yield from _medians(tasks, folder, options.rows, options)


def bench_processes(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Whole commands."""
    yield from _medians(processes, folder, options.process_rows, options)


def _medians(
    measure: Callable[..., Iterator[tuple[str, Cost]]], folder: pathlib.Path, rows: int, options: argparse.Namespace
) -> Iterator[Row]:
    data = write_csv(folder / f"{rows}.csv", rows)
    pythons = [sys.executable, *filter(None, [options.beside])]
    costs: dict[str, dict[str, list[Cost]]] = {}
    # The first time warms what the system caches.
    for number in range(options.runs + 1):
        for python in pythons:
            for name, one in measure(data, python):
                if number:
                    costs.setdefault(name, {}).setdefault(python, []).append(one)
    for name, found in costs.items():
        seconds, cpu = zip(*(zip(*each) for each in found.values()))
        for what, sides, bar in ((f"{name}, {rows:,} rows", seconds, BARS[name]), ("  CPU", cpu, None)):
            if options.beside:
                yield ratio(f"{what}; the other tree", *sides, bar)
            else:
                yield Row(what, f"{statistics.median(sides[0]):.2f} s", "", "", f"≤ {bar} s" if bar else "")


BENCHES = {"tasks": bench_tasks, "processes": bench_processes}

if __name__ == "__main__":
    sys.exit(main([], BENCHES, rows=3_000, process_rows=10_000, runs=5, beside=""))
