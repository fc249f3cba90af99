"""Commands leave nothing in the temporary folder, and no process, however they end."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import pytest

from headwater.components.common.ending import TERMINATED

_SECONDS = 120.0


@pytest.fixture
def temporary():
    """An empty folder for TMPDIR. Its path is short, for a socket's path has about 100 characters."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="t-"))
    yield folder
    shutil.rmtree(folder)


def start(*command: object, temporary: pathlib.Path, cwd: pathlib.Path) -> subprocess.Popen:
    # Worker processes that were left behind would hold the pipe open, and `communicate` would not return.
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def headwater(*arguments: object, temporary: pathlib.Path, cwd: pathlib.Path) -> tuple[int, str]:
    process = start("-m", "headwater.pipelines.cli", *arguments, temporary=temporary, cwd=cwd)
    output, _ = process.communicate(timeout=_SECONDS)
    return process.returncode, output


def terminated(
    *arguments: object, when: Callable[[], bool], temporary: pathlib.Path, cwd: pathlib.Path
) -> tuple[int, str]:
    process = start("-m", "headwater.pipelines.cli", *arguments, temporary=temporary, cwd=cwd)
    wait_for(lambda: when() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=_SECONDS)
    return process.returncode, output


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def left(folder: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def orders(path: pathlib.Path, rows: int) -> pathlib.Path:
    chance = random.Random(1)
    lines = (f"{row},{chance.gauss(10, 1):.3f},{chance.choice(['book', 'film'])}" for row in range(rows))
    path.write_text("\n".join(["id,amount,kind", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def big(tmp_path_factory) -> pathlib.Path:
    """Orders in two files, as workers are started for several, which take them some seconds."""
    folder = tmp_path_factory.mktemp("big")
    first = orders(folder / "a.csv", 600_000)
    shutil.copy(first, folder / "b.csv")
    return folder


@pytest.mark.slow
def test_commands_that_succeed_leave_nothing(temporary, tmp_path):
    for day in ("monday", "tuesday"):
        orders(tmp_path / f"{day}.csv", 2000)
    functions = [
        {"name": "dear", "threshold": {"column": "amount", "above": 10.5, "vote": "high"}},
        {"name": "cheap", "threshold": {"column": "amount", "below": 9.5, "vote": "low"}},
    ]
    step = {"method": "weak_supervision", "classes": ["low", "high"], "label": "value", "model": "majority"}
    (tmp_path / "steps.json").write_text(json.dumps({"label": {"steps": [{**step, "functions": functions}]}}))
    for command in (
        ("collect", "monday.csv", "tuesday.csv", "--output", "data", "--workers", "2"),
        ("label", "data", "--project", "steps.json", "--output", "labels", "--workers", "2"),
        ("generate-statistics", "data", "--output", "statistics", "--workers", "2"),
        ("infer-schema", "statistics", "--output", "schema"),
        ("validate", "statistics", "schema", "--output", "anomalies"),
    ):
        code, output = headwater(*command, temporary=temporary, cwd=tmp_path)
        assert code == 0, output
        assert left(temporary) == [], command


def test_commands_that_fail_leave_nothing(temporary, tmp_path):
    orders(tmp_path / "ok.csv", 2000)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + bytes(1000) + b"PAR1")
    (tmp_path / "ragged.csv").write_text("a,b\n" + "1,2\n" * 50 + "1\n" * 10)
    for sources, expected in ((["ok.csv", "bad.parquet"], 2), (["bad.parquet"], 2), (["ragged.csv"], 1)):
        command = ("collect", *sources, "--output", "data", "--workers", "2")
        code, output = headwater(*command, temporary=temporary, cwd=tmp_path)
        assert code == expected, output
        assert left(temporary) == []


def test_a_command_that_is_terminated_leaves_nothing(temporary, tmp_path, big):
    code, output = terminated(
        *("collect", big, "--output", "data", "--workers", "2"),
        when=lambda: any(temporary.glob("*/beam-pipeline-temp*")) and any(temporary.glob("pymp-*/listener-*")),
        temporary=temporary,
        cwd=tmp_path,
    )
    assert code == TERMINATED, output
    assert output.splitlines()[-1].startswith("error: stopped by SIGTERM")
    assert left(temporary) == []


def test_workers_and_their_server_end_with_a_driver_that_is_killed(temporary, tmp_path):
    """Neither the driver nor anything above it can clean up here."""
    script = (
        "import os, signal, sys, time\n"
        "from headwater.components.common.pool import Pool\n"
        "pool = Pool(2, ())\n"
        "pool.submit(os.getpid).result()\n"
        "pool.submit(time.sleep, 600)\n"
        "os._exit(3) if sys.argv[1] == 'exit' else os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for how, code in (("exit", 3), ("kill", -signal.SIGKILL)):
        process = start("-c", script, how, temporary=temporary, cwd=tmp_path)
        output, _ = process.communicate(timeout=_SECONDS)
        assert (process.returncode, output) == (code, "")
        wait_for(lambda: not left(temporary))


def test_what_a_killed_command_left_goes_with_the_next(temporary, tmp_path, big):
    command = ("collect", big, "--output", "data", "--workers", "2")
    process = start("-m", "headwater.pipelines.cli", *command, temporary=temporary, cwd=tmp_path)
    wait_for(lambda: any(temporary.glob("headwater-*/beam-pipeline-temp*")) or process.poll() is not None)
    process.kill()
    output, _ = process.communicate(timeout=_SECONDS)
    assert process.returncode == -signal.SIGKILL, output
    (home,) = temporary.glob("headwater-*")
    # What it had started may not have ended yet.
    assert home in next_command(temporary, tmp_path)
    age(home)
    assert next_command(temporary, tmp_path) == []


def test_what_lives_or_may_live_stays(temporary, tmp_path):
    held = tmp_path / "held.py"
    held.write_text(
        "import subprocess, sys, time\n"
        "from headwater.components.common.ending import ended_cleanly\n"
        "with ended_cleanly():\n"
        "    # As kfp starts a task.\n"
        "    task = subprocess.Popen([sys.executable, __file__]) if sys.argv[1:] else None\n"
        "    time.sleep(600)\n"
    )

    def tasks():
        return list(temporary.glob("headwater-*/headwater-*/process"))

    process = start(held, "with a task", temporary=temporary, cwd=tmp_path)
    wait_for(tasks)
    (home,), (task,) = temporary.glob("headwater-*"), tasks()
    sockets = next(temporary.glob("pymp-*"))
    stays = sorted([home, sockets])
    age(home)
    # One that is stopped for long is not dead, nor is one whose task lives.
    process.send_signal(signal.SIGSTOP)
    assert next_command(temporary, tmp_path) == stays
    process.kill()
    process.wait()
    assert next_command(temporary, tmp_path) == stays and tasks() == [task]
    os.kill(int(task.read_text().split()[0]), signal.SIGKILL)
    process.communicate(timeout=_SECONDS)
    # Of another machine, of another user, and nobody's.
    text = (home / "process").read_text()
    (home / "process").write_text(text.replace("\n", "\nelse-", 1))
    age(home)
    assert next_command(temporary, tmp_path) == stays
    (home / "process").rename(home / "else")
    assert next_command(temporary, tmp_path) == stays
    (home / "process").write_text(text)
    age(home)
    if os.geteuid() == 0:
        os.chown(home, 1, 1)
        assert next_command(temporary, tmp_path) == stays
        os.chown(home, 0, 0)
    assert next_command(temporary, tmp_path) == []


def age(home: pathlib.Path) -> None:
    """Lets two minutes pass since a process began."""
    then = time.time() - 120
    os.utime(home / "process", (then, then))


def next_command(temporary: pathlib.Path, cwd: pathlib.Path) -> list[pathlib.Path]:
    """What there is in the temporary folder after one more command."""
    code, output = headwater("project-schema", temporary=temporary, cwd=cwd)
    assert code == 0, output
    return sorted(temporary.iterdir())


@pytest.mark.slow
def test_the_whole_pipeline_leaves_nothing(temporary, tmp_path):
    orders(tmp_path / "monday.csv", 2000)
    code, output = headwater("run", "monday.csv", "--workers", "2", temporary=temporary, cwd=tmp_path)
    assert code == 0, output
    assert left(temporary) == []
    (tmp_path / "monday.csv").write_bytes(b"PAR1" + bytes(1000) + b"PAR1")
    code, output = headwater("run", "monday.csv", "--workers", "2", temporary=temporary, cwd=tmp_path)
    assert code == 2, output
    assert left(temporary) == []


@pytest.mark.slow
def test_a_pipeline_that_is_terminated_ends_its_task_as_well(temporary, tmp_path, big):
    code, output = terminated(
        *("run", big, "--workers", "2"),
        when=lambda: any(temporary.glob("headwater-*/headwater-*/beam-pipeline-temp*")),
        temporary=temporary,
        cwd=tmp_path,
    )
    assert code == TERMINATED, output
    assert left(temporary) == []
