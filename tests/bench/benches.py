"""What the benches share: options, a table of medians and ratios, processes of their own for each run, and memory."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
THREADS = len(os.sched_getaffinity(0))


class Timed(NamedTuple):
    """Seconds of runs of ours and of a peer, by turns, of the same work."""

    ours: Sequence[float]
    peer: Sequence[float]


class Row(NamedTuple):
    """A line of a bench's table, as texts; where ours and a peer were timed, their seconds beside."""

    what: str
    ours: str = ""
    peer: str = ""
    ratio: str = ""
    bar: str = ""
    timed: Timed | None = None


Bench = Callable[[pathlib.Path, argparse.Namespace], Iterator["Row | tuple[str, ...]"]]


def main(measures: Sequence[Callable[..., dict]], benches: Mapping[str, Bench], **own: int | str) -> int:
    """The command line of a bench: prints its table, or with `--measure` runs one measure in this process.

    Args:
      measures: what is run in a process of its own, by `run`; takes texts, returns what JSON holds.
      benches: the table's rows by the names that `--only` takes.
      own: further options and their defaults, or other defaults of those that all benches have.
    """
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser()
    for name, default in {"rows": 2_500_000, "big": 25_000_000, "runs": 3, **own}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--only", default="", help=f"names, comma between them, of {', '.join(benches)}")
    parser.add_argument("--folder", default=str(pathlib.Path.home() / ".cache/headwater-bench"))
    parser.add_argument("--json", default="", help="a file for the rows with their medians and quartiles")
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, *arguments = options.measure
        print(json.dumps({function.__name__: function for function in measures}[name](*arguments)))
        return 0
    folder = pathlib.Path(options.folder)
    chosen = options.only.split(",") if options.only else list(benches)
    if unknown := sorted(set(chosen) - set(benches)):
        parser.error(f"--only: there is no {', '.join(unknown)}; the names are {', '.join(benches)}")
    print(f"{'what':54}{'ours':>10}{'peer':>10}{'ratio':>8}{'bar':>8}")
    rows = []
    for name in chosen:
        for each in benches[name](folder, options):
            row = Row(*each)
            rows.append(told(name, row))
            print(f"{row.what:54}{row.ours:>10}{row.peer:>10}{row.ratio:>8}{row.bar:>8}", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows))
    return 0


def told(bench: str, row: Row) -> dict:
    """A row as JSON has it: its texts, and of what was timed the medians, quartiles and runs."""
    texts = {name: text for name, text in row._asdict().items() if name != "timed" and text}
    return {"bench": bench, **texts, **({"seconds": _spread(row.timed)} if row.timed else {})}


def _spread(timed: Timed) -> dict:
    return {
        side: {
            "median": round(statistics.median(seconds), 4),
            "quartiles": [round(each, 4) for each in _quartiles(seconds)],
            "runs": len(seconds),
        }
        for side, seconds in timed._asdict().items()
    }


def _quartiles(seconds: Sequence[float]) -> list[float]:
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 3
    return [low, high]


def run(name: str, *arguments: Any) -> dict:
    """What a measure of this bench returns from a process of its own, and as `cpu` the processor time in seconds of that
    process and all below it, less what the measure says that it took `before`."""
    earlier = cpu_below()
    done = finish([sys.executable, sys.modules["__main__"].__file__, "--measure", name, *map(str, arguments)])
    found = json.loads(done.splitlines()[-1])
    return {**found, "cpu": cpu_below() - earlier - found.get("before", 0.0)}


def cpu_below() -> float:
    """Processor time of all processes that this one started and that ended, and of those that they left to it."""
    # What a worker pool leaves behind is this process's to wait for.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def finish(command: Sequence[str], **environment: str) -> str:
    """What a command prints; ends the bench with its last words when it fails."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", **environment}
    done = subprocess.run(list(command), capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)[:500]}: {done.stderr[-2000:]}")
    return done.stdout


def environment(place: pathlib.Path, requirements: Sequence[str]) -> str:
    """Makes an environment for what ours cannot hold, unless it is there; why it could not be made, or nothing."""
    done = place / ".ready"
    if done.exists() and done.read_text() == str(tuple(requirements)):
        return ""
    beside = pathlib.Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if not uv:
        return "there is no uv"
    install = ["pip", "install", "-q", "--compile-bytecode", "--python", str(place / "bin/python"), *requirements]
    for arguments in (["venv", "-q", "--clear", "--python", sys.executable, str(place)], install):
        found = subprocess.run([uv, *arguments], capture_output=True, text=True)
        if found.returncode:
            print(f"{place}: {found.stderr.strip()[-1000:]}", file=sys.stderr)
            return "its environment could not be made"
    done.write_text(str(tuple(requirements)))
    return ""


def ratio(label: str, ours: Sequence[float], peer: Sequence[float], bar: float | None) -> Row:
    """A row: our seconds, the peer's, how often the peer's fit into ours, and how often they may."""
    one, other = statistics.median(ours), statistics.median(peer)
    told_bar = f"≤ {bar:.1f}" if bar else ""
    return Row(label, f"{one:.2f} s", f"{other:.2f} s", f"{one / other:.2f}", told_bar, Timed(ours, peer))


def faster(label: str, ours: Sequence[float], peer: Sequence[float], bar: float | None) -> Row:
    """A row: our seconds, the peer's, how many times faster we are, and how many we should be."""
    one, other = statistics.median(ours), statistics.median(peer)
    told_bar = f"≥ {bar:.0f}" if bar else ""
    return Row(label, f"{one:.2f} s", f"{other:.2f} s", f"{other / one:.1f}", told_bar, Timed(ours, peer))


def duckdb_query(query: str) -> dict:
    """Seconds of a query by DuckDB on as many threads as there are cores."""
    import duckdb

    connection = duckdb.connect(config={"threads": THREADS})
    before, started = time.process_time(), time.perf_counter()
    connection.execute(query).fetchall()
    return {"seconds": time.perf_counter() - started, "before": before}


def where(record: Any) -> dict:
    """What `timings.recorded` recorded, as JSON holds it: the summary, and of each pass its sums."""
    from headwater.components.common import timings

    summed = timings.summary(record)
    passes = []
    for own in record.passes:
        begin = min((note.began for note in own.notes), default=own.ended)
        end = max((note.ended for note in own.notes), default=own.ended)
        parts: dict[str, float] = {}
        for note in own.notes:
            for name, seconds in note.parts:
                parts[name] = parts.get(name, 0.0) + seconds
        passes.append(
            {
                "label": own.label,
                "elements": own.elements,
                "processes": own.processes,
                "before": begin - own.began,
                "during": end - begin,
                "after": own.ended - end,
                "busy": sum(note.ended - note.began for note in own.notes),
                "cpu": sum(note.cpu for note in own.notes),
                "merges": sum(note.merges for note in own.notes),
                "merging": sum(note.merging for note in own.notes),
                "returned": sum(note.returned for note in own.notes),
                "held": own.held,
                "parts": parts,
            }
        )
    spans = [[name, ended - began] for name, began, ended in record.spans]
    return {"summary": {**summed._asdict(), "serial": summed.serial}, "passes": passes, "spans": spans}


def profiled(label: str, found: Mapping[str, Any], bar: float | None) -> Iterator[Row]:
    """Rows that say where the time went, and the serial share of all work beside its bar."""
    one = found["summary"]

    def seconds(value: float) -> str:
        return f"{value:.2f} s"

    yield f"{label}, profile: wall", seconds(one["wall"]), "", "", ""
    yield "  processor time of workers; of the driver", seconds(one["cpu"]), seconds(one["own"]), "", ""
    yield "  driver alone", seconds(one["alone"]), "", "", ""
    for name, value in found["spans"]:
        yield f"    {name}", seconds(value), "", "", ""
    for own in found["passes"]:
        head = f"    pass {own['label'].rpartition(': ')[2]}: {own['elements']:,} elements"
        yield f"{head}, before, after its work", seconds(own["before"]), seconds(own["after"]), "", ""
        yield f"      during; {own['processes']} processes busy", seconds(own["during"]), seconds(own["busy"]), "", ""
        yield f"      {own['merges']:,} merges by workers", seconds(own["merging"]), "", "", ""
        for name, value in own["parts"].items():
            yield f"      {name} by workers", seconds(value), "", "", ""
        yield "      returned; results held at most", f"{own['returned'] / 2**20:.1f} MiB", str(own["held"]), "", ""
    yield "  one worker merges; one has elements", seconds(one["last"]), seconds(one["uneven"]), "", ""
    yield "  workers idle within passes", seconds(one["idle"]), "", "", ""
    yield f"{label}, serial share", "", "", f"{one['serial']:.1%}", f"≤ {bar:.0%}" if bar else ""


class Peak:
    """The highest proportional memory in bytes of this process and all below it, looked at ten times a second; and `cpu`,
    the seconds of processor time that looking took."""

    def __enter__(self) -> Peak:
        self.bytes, self.cpu = 0, 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.bytes = max(self.bytes, sum(_memory(pid) for pid in _tree(os.getpid())))
            self.cpu = time.thread_time()


def _tree(pid: int) -> list[int]:
    try:
        children = [
            int(child)
            for task in os.listdir(f"/proc/{pid}/task")
            for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        ]
    except OSError:
        return []
    return [pid, *[each for child in children for each in _tree(child)]]


def _memory(pid: int) -> int:
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
