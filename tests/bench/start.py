"""What starting costs: each task of the compiled pipeline as a pod runs it, and whole commands, where the data is small.

Each is a process of its own with all that it starts. Other work on the machine changes seconds more than CPU seconds, and
both of other trees alike: `--beside` measures another tree's environment by turns.

.venv/bin/python tests/bench/start.py --beside /path/to/other/tree/.venv/bin/python
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))

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

# prctl's: what orphans leave, as worker processes do, is this process's to wait for, and their time is its children's.
_SUBREAPER = 36

Cost = tuple[float, float]


def cost(command: Sequence[str], python: str, cwd: pathlib.Path) -> tuple[Cost, Done]:
    """Seconds and CPU seconds of a command and of all that it starts, and what it printed."""
    folder = os.path.dirname(python)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONWARNINGS": "ignore"}
    before, begun = _used(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
    seconds = time.perf_counter() - begun
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    return (seconds, _used() - before), Done(done.returncode, done.stdout + done.stderr, "")


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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


def main() -> None:
    """Prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=3_000, help="of the tasks")
    parser.add_argument("--process-rows", type=int, default=10_000, help="of whole commands")
    parser.add_argument("--only", default="", help=f"names, comma between them, of {', '.join(BARS)}")
    parser.add_argument("--beside", default="", help="the interpreter of another tree's environment")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(BARS)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    pythons = [sys.executable, *filter(None, [options.beside])]
    costs: dict[tuple[str, str], list[Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        small = write_csv(pathlib.Path(folder, "small.csv"), options.rows)
        data = write_csv(pathlib.Path(folder, "data.csv"), options.process_rows)
        measures: list[tuple[Callable[..., Iterator[tuple[str, Cost]]], pathlib.Path]] = []
        if set(chosen) - {"process generate-statistics", "headwater run"}:
            measures.append((tasks, small))
        if set(chosen) & {"process generate-statistics", "headwater run"}:
            measures.append((processes, data))
        # The first time warms what the system caches.
        for number in range(options.runs + 1):
            for measure, file in measures:
                for python in pythons:
                    for name, one in measure(file, python):
                        if number:
                            costs.setdefault((name, python), []).append(one)
    print(f"{'what':28}" + "".join(f"{heading:>8}" for heading in ("s", "CPU s") * len(pythons)) + f"{'bar s':>8}")
    for name in chosen:
        medians = [statistics.median(part) for python in pythons for part in zip(*costs[name, python])]
        print(f"{name:28}" + "".join(f"{median:8.2f}" for median in medians) + f"{BARS[name]:8.1f}")
    load = os.getloadavg()[1]
    print(
        f"medians of {options.runs}, {options.rows:,} rows × 18 ({options.process_rows:,} for whole commands), {os.cpu_count()} cores, load {load:.1f}"
    )


if __name__ == "__main__":
    main()
