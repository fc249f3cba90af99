"""Environments of other people's tools, and servers on loopback that end with the test."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENTS = pathlib.Path(os.environ.get("HEADWATER_REUSE", pathlib.Path.home() / ".cache/headwater-reuse"))
HEADWATER = str(pathlib.Path(sys.executable).parent / "headwater")


def environment_of(tool: str) -> pathlib.Path:
    """The environment of a tool, which `make test-reuse` makes."""
    folder = ENVIRONMENTS / tool
    if not (folder / "bin/python").exists():
        pytest.skip(f"{tool} is not installed; `make test-reuse` installs it")
    return folder


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


@contextlib.contextmanager
def server(words, log: pathlib.Path, port: int, *, seconds: float = 120, **more):
    """A process that listens on loopback; it and all that it started end with the block."""
    with started(words, log, **more) as process:
        until(lambda: _listens(port, process, log), seconds)
        yield process


@contextlib.contextmanager
def started(words, log: pathlib.Path, **more):
    with open(log, "ab") as out:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **more
        )
    try:
        yield process
    finally:
        kill(process, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            kill(process)
            process.wait()


def kill(process, how=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)


def until(condition, seconds: float = 300):
    """Waits until the condition gives something that is true, which it gives back."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"it did not come about in {seconds:g} s: {condition}")


def _listens(port: int, process, log: pathlib.Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-2_000:]
    with socket.socket() as own:
        own.settimeout(1)
        return own.connect_ex(("127.0.0.1", port)) == 0
