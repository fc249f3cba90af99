"""What a pod needs: CPU, memory and time of each task, by rows of 18 columns, as the sizing table of images/OPERATING.md has them.

.venv/bin/python tests/bench/sizing.py 100000 1000000
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from common import _memory, _tree
from generator import write_csv

WORKERS = "2"


def measured(command: list[str], cwd: pathlib.Path) -> tuple[float, float, float]:
    """CPU seconds, seconds, and the largest memory of all processes together in MiB."""
    begun = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "headwater.pipelines.cli", *command, "--quiet"], cwd=cwd)
    peak = 0
    # Workers are nobody's children when they end, so their time is read while they live.
    used: dict[int, float] = {}

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            pids = _tree(process.pid)
            peak = max(peak, sum(map(_memory, pids)))
            used.update({pid: max(used.get(pid, 0.0), _seconds(pid)) for pid in pids})
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    watcher.join()
    assert code in (0, 1), f"{command} ended with {code}"
    return sum(used.values()), time.monotonic() - begun, peak / (1 << 20)


def _seconds(pid: int) -> float:
    """CPU seconds that a process has used so far."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(sizes: list[int]) -> None:
    print(f"{'rows':>10} {'task':20} {'CPU s':>7} {'s':>7} {'MiB':>6}   (workers {WORKERS}, {os.cpu_count()} cores)")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            place = pathlib.Path(folder)
            data = write_csv(place / "data.csv", rows)
            base = ["--set", f"platform.workers={WORKERS}"]
            for name, command in {
                "collect": ["collect", str(data), "--output", "data", *base],
                "generate-statistics": ["generate-statistics", "data", "--output", "statistics", *base],
                "infer-schema": ["infer-schema", "statistics", "--output", "schema", "--set", "platform.workers=2"],
                "validate": ["validate", "statistics", "schema", "--output", "anomalies", *base],
                "gate": ["gate", "anomalies"],
            }.items():
                cpu, seconds, peak = measured(command, place)
                print(f"{rows:>10,} {name:20} {cpu:7.1f} {seconds:7.1f} {peak:6.0f}", flush=True)


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [100_000, 1_000_000])
