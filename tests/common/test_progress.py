from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from headwater.components.common.progress import QUIET, TERMINAL

SCRIPT = """
import time
from headwater.components.common import progress
progress._SECONDS_BETWEEN_LINES = 0.0
with progress.Progress("collect: write", 400) as shown:
    for _ in range(4):
        time.sleep(0.12)
        shown.advance(100)
"""


def on_a_terminal(**options) -> str:
    master, slave = pty.openpty()
    if options.pop("named", False):
        options["env"] = {**os.environ, TERMINAL: os.ttyname(slave)}
    else:
        options["stderr"] = slave
    process = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, **options)
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert process.returncode == 0
    assert process.stdout.startswith("collect: write: 400 rows in 0.")
    return shown


@pytest.mark.parametrize("named", [False, True])
def test_a_terminal_shows_a_bar_with_rows_and_rate(named):
    shown = on_a_terminal(named=named)
    assert "collect: write ████████████░░░░░░░░░░░░  50%  200 rows of 400 rows" in shown
    assert "rows/s" in shown


def test_elsewhere_there_are_plain_lines():
    process = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    lines = process.stdout.splitlines()
    assert lines[1].startswith("collect: write: 50%, 200 rows of 400 rows (") and lines[1].endswith("rows/s)")
    assert lines[-1].startswith("collect: write: 400 rows in 0.") and process.stderr == ""


def test_quiet_is_quiet():
    environment = {**os.environ, QUIET: "1"}
    process = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
