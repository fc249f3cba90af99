"""What a pod needs: CPU, memory and time of each task, by rows of 18 columns, as the sizing table of images/OPERATING.md has them.

Each task runs in a cgroup of its own with a pod's limits, version 1 or 2, which takes root; without one it runs without limits.
Of 25 million rows the folder takes 10 GB at a time.

.venv/bin/python tests/bench/sizing.py --memory 2Gi 1000000 25000000
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import duckdb
from benches import _memory, _tree
from generator import write_parquet

from headwater.components.common.kubernetes_values import memory_bytes

_GROUPS = pathlib.Path("/sys/fs/cgroup")
_MIB = 1 << 20
_DAY = "TIMESTAMP '2026-01-01'"

PROJECT = f"""
name: sizes
platform: {{data_root: home}}
collect:
  key: [id]
  derived: [{{name: served, expression: "{_DAY} + to_minutes(int_count)"}}]
"""
RULES = """
validate:
  rows:
    rules:
    - {name: small, row: "int_small < 10"}
    - {name: wide, row: "int_wide BETWEEN -999900000 AND 999900000"}
    - {name: year, row: "int_year >= 1950 AND float_0 < 10"}
    - {name: words, row: "length(text) > 5", severity: warning}
    - {name: one, unique: [id]}
    - {name: usual, outliers: {columns: [float_0, float_1, int_count], method: isolation}, severity: warning, tolerance: 0.01}
"""
WEAK = """
label:
  steps:
  - method: weak_supervision
    classes: [no, yes]
    functions:
    - {name: float, sql: "CASE WHEN float_0 > 0.5 THEN 'yes' WHEN float_0 < -0.5 THEN 'no' END"}
    - {name: count, threshold: {column: int_count, below: 35, vote: 'no'}}
    - {name: category, lookup: {column: category_20, values: {value-0: 'yes', value-1: 'no', value-2: 'no'}}}
    - {name: year, sql: "CASE WHEN int_year > 2000 THEN 'yes' ELSE 'no' END"}
    - {name: both, sql: "CASE WHEN float_1 > 1 AND int_small > 5 THEN 'yes' WHEN float_2 IS NOT NULL THEN 'no' END"}
"""
DIRECT = """
label:
  steps:
  - {method: direct, classes: ['no', 'yes'], feedback: clicks, served: served, occurred: at, window: 2h, outcome: "'yes'", no_event: 'no'}
  inputs: {clicks: clicks.parquet}
"""
_HOME = "home/sizes/span=1/version=1"
# What each task is called with, the settings that it has beside `PROJECT`, and what is removed after it.
TASKS: dict[str, tuple[list[str], str, list[str]]] = {
    "collect, from Parquet": (["collect", "data.parquet", "--output", "data"], "", []),
    "generate-statistics": (["generate-statistics", "data", "--output", "statistics"], "", []),
    "infer-schema": (["infer-schema", "statistics", "--output", "schema"], "", []),
    "validate, without rules for rows": (["validate", "statistics", "schema", "--output", "anomalies"], "", []),
    "gate": (["gate", "anomalies"], "", []),
    "validate, with six rules for rows": (
        ["validate", "statistics", "schema", "--output", "ruled", "--passed", "passed", "--quarantine", "quarantine"],
        RULES,
        ["ruled", "passed", "quarantine", f"{_HOME}/anomalies", f"{_HOME}/passed", f"{_HOME}/quarantine"],
    ),
    "label, five functions": (["label", "data", "--output", "weak"], WEAK, ["weak", f"{_HOME}/labels"]),
    "label, by events": (
        ["label", "data", "--output", "direct", "--as-of", "2026-02-01"],
        DIRECT,
        ["direct", f"{_HOME}/labels", "home", "data"],
    ),
    "collect, from CSV": (["collect", "data.csv", "--output", "data"], "", ["home", "data"]),
}


class Group:
    """A cgroup with the limits of a pod.

    Args:
      memory: in bytes.
      cpus: how many cores.

    Raises:
      OSError: none can be made here.
    """

    def __init__(self, memory: int, cpus: float):
        name = f"headwater-sizing-{os.getpid()}"
        period = {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": str(int(cpus * 100_000))}
        v1 = {"memory": {"memory.limit_in_bytes": str(memory)}, "cpu": period, "cpuacct": {}}
        v2 = {"": {"memory.max": str(memory), "cpu.max": f"{int(cpus * 100_000)} 100000"}}
        self._old = (_GROUPS / "memory").is_dir()
        self._folders: dict[str, pathlib.Path] = {}
        try:
            for controller, limits in (v1 if self._old else v2).items():
                folder = _GROUPS / controller / name
                folder.mkdir()
                self._folders[controller] = folder
                for file, text in limits.items():
                    (folder / file).write_text(text)
        except OSError:
            self.remove()
            raise

    def enter(self) -> None:
        """Moves this process into it; for between fork and exec."""
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def seconds(self) -> float:
        """CPU seconds that all processes used."""
        if self._old:
            return int((self._folders["cpuacct"] / "cpuacct.usage").read_text()) / 1e9
        return self._number("", "cpu.stat", "usage_usec") / 1e6

    def memory(self) -> int:
        """Bytes that cannot be given back, as the page cache can: what counts when the limit is reached."""
        if self._old:
            return self._number("memory", "memory.stat", "total_rss") + self._number(
                "memory", "memory.stat", "total_shmem"
            )
        return self._number("", "memory.stat", "anon") + self._number("", "memory.stat", "shmem")

    def killed(self) -> int:
        """How many processes were killed for memory."""
        if self._old:
            return self._number("memory", "memory.oom_control", "oom_kill")
        return self._number("", "memory.events", "oom_kill")

    def remove(self) -> None:
        """Removes it, when what ran in it has ended."""
        for folder in self._folders.values():
            for _ in range(50):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                time.sleep(0.1)

    def _number(self, controller: str, file: str, name: str) -> int:
        for line in (self._folders[controller] / file).read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
        return 0


def measured(command: list[str], cwd: pathlib.Path, memory: int, cpus: float) -> tuple[float, float, float, str]:
    """CPU seconds, seconds, the largest memory of all processes together in MiB, and what went wrong."""
    try:
        group: Group | None = Group(memory, cpus)
    except OSError:
        group = None
    log = cwd / "log.txt"
    with open(log, "w", encoding="utf-8") as file:
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "headwater.pipelines.cli", *command, "--quiet"],
            cwd=cwd,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(cwd)},
            preexec_fn=group.enter if group else None,
        )
        peak = 0
        # Without a group: workers are nobody's children when they end, so their time is read while they live.
        used: dict[int, float] = {}

        def watch() -> None:
            nonlocal peak
            while process.poll() is None:
                if group:
                    peak = max(peak, group.memory())
                else:
                    pids = _tree(process.pid)
                    peak = max(peak, sum(map(_memory, pids)))
                    used.update({pid: max(used.get(pid, 0.0), _seconds(pid)) for pid in pids})
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        watcher.join()
    seconds = time.monotonic() - begun
    problem = "" if code in (0, 1) else f"ended with {code}: {log.read_text()[-1000:]}"
    if group is None:
        return sum(used.values()), seconds, peak / _MIB, problem or "no limits"
    cpu, killed = group.seconds(), group.killed()
    group.remove()
    return cpu, seconds, peak / _MIB, problem or (f"{killed} processes killed" if killed else "")


def _seconds(pid: int) -> float:
    """CPU seconds that a process has used so far."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench(rows: int, place: pathlib.Path, chosen: list[str], memory: int, cpus: float) -> Iterator[tuple]:
    """What `measured` gives of each task, with its name."""
    data, clicks, text = (place / name for name in ("data.parquet", "clicks.parquet", "data.csv"))
    for name, (command, settings, removed) in TASKS.items():
        if chosen and name not in chosen:
            continue
        if text.name not in command:
            write_parquet(data, rows)
        elif not text.exists():
            duckdb.sql(f"COPY (FROM '{write_parquet(data, rows)}') TO '{text}' (HEADER)")
            data.unlink()
        if clicks.name in settings and not clicks.exists():
            at = f"{_DAY} + to_minutes(int_count + int_small * 15) AS at"
            duckdb.sql(f"COPY (SELECT id, {at} FROM '{data}' WHERE int_year % 5 = 0) TO '{clicks}'")
        (place / "headwater.yaml").write_text(PROJECT + settings)
        yield name, *measured(command, place, memory, cpus)
        if not chosen:
            for each in removed:
                shutil.rmtree(place / each, ignore_errors=True)
                (place / each).unlink(missing_ok=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--memory", default="2Gi", help="the limit of a task")
    parser.add_argument("--cpus", type=float, default=2, help="the limit of a task")
    parser.add_argument("--folder", default="", help="where the data lies; with it nothing is removed but by the tasks")
    parser.add_argument("--only", nargs="*", default=[], help=f"names of {', '.join(TASKS)}; then nothing is removed")
    options = parser.parse_args()
    limits = memory_bytes(options.memory), options.cpus
    print(
        f"{'rows':>10} {'task':35} {'CPU s':>7} {'s':>7} {'MiB':>6}   (limits {options.memory}, {options.cpus:g} CPUs)"
    )
    with tempfile.TemporaryDirectory() as temporary:
        for rows in options.rows:
            place = pathlib.Path(options.folder or temporary) / str(rows)
            place.mkdir(parents=True, exist_ok=True)
            for name, cpu, seconds, peak, problem in bench(rows, place, options.only, *limits):
                busy = f"load {os.getloadavg()[0]:.0f}"
                print(f"{rows:>10,} {name:35} {cpu:7.1f} {seconds:7.1f} {peak:6.0f}   {busy}   {problem}", flush=True)


if __name__ == "__main__":
    main()
