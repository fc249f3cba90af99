"""How a process of ours ends: nothing of it stays in the temporary folder, however it ends.

Of one that is killed the next one removes what is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import multiprocessing.util
import os
import pathlib
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

from headwater.components.common import last_words
from headwater.components.common.errors import HeadwaterError

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a process that was asked to end, as shells have it."""

_HOME = "HEADWATER_TEMPORARY"
"""Environment variable that names the temporary folder of the process that started this one."""

_PREFIX = "headwater-"
_PROCESS = "process"
_STOPPED = "stopped by SIGTERM; nothing is left half-written, so run it again"
# Kubernetes may give ten seconds: for what is asked to end, what is made to, and for files.
_SECONDS_TO_END = 3.0
# For what the killed process had started, to notice that it is gone.
_SECONDS_AFTER_A_KILL = 60.0


@contextlib.contextmanager
def ended_cleanly() -> Iterator[None]:
    """Temporary files go to one folder, which is removed at the end; SIGTERM ends the process at once, with a line.

    What Beam, TensorFlow, kfp, its tasks and worker processes write is in it as well. It changes the process's
    environment, so it is for commands and tasks, which have a process of their own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _temporary_home() as home:

        def end(*_: object) -> None:
            # A second SIGTERM does not wait.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            print(f"error: {_STOPPED}", file=sys.stderr, flush=True)
            last_words.leave(_STOPPED)
            # Stopped workers change nothing more, and nobody takes them for dead ones whose work is to be done again.
            _signal_workers(signal.SIGSTOP)
            _remove(home)
            shutil.rmtree(multiprocessing.util.get_temp_dir(), ignore_errors=True)
            _signal_workers(signal.SIGKILL)
            # An exception would be one of the user's code or of Beam's steps, to be handled there.
            os._exit(TERMINATED)

        earlier = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, earlier)


@contextlib.contextmanager
def _temporary_home() -> Iterator[pathlib.Path]:
    above = os.environ.get(_HOME)
    if above and not os.path.isdir(above):
        # Who started this process has ended in the meantime.
        os._exit(TERMINATED)
    try:
        # The server of worker processes outlives this folder, and the path of its socket must be short.
        sockets = os.path.basename(multiprocessing.util.get_temp_dir())
        _remove_what_was_killed(pathlib.Path(tempfile.gettempdir()))
        home = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise HeadwaterError(f"TMPDIR: no folder for temporary files can be made: {error}") from None
    names = ("TMPDIR", _HOME)
    earlier = {name: os.environ[name] for name in names if name in os.environ}
    earlier_default = tempfile.tempdir
    try:
        # By its name it is locked from the first moment to the end of this process.
        with open(home / f"{_PROCESS}-", "w") as process:
            fcntl.flock(process, fcntl.LOCK_EX)
            process.write(f"{os.getpid()}\n{socket.gethostname()}\n{sockets}\n")
            process.flush()
            os.rename(process.name, home / _PROCESS)
            os.environ.update(dict.fromkeys(names, str(home)))
            tempfile.tempdir = str(home)
            yield home
    finally:
        tempfile.tempdir = earlier_default
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(earlier)
        _remove(home)


def _signal_workers(number: int) -> None:
    for worker in multiprocessing.active_children():
        _signal(worker.pid, number)


def _remove(home: pathlib.Path) -> None:
    """Removes the folder once the processes that have one of their own within it, kfp's tasks, have ended."""
    tasks = list(home.glob(f"{_PREFIX}*/{_PROCESS}"))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for task in filter(_is_alive, tasks):
            _signal(int(task.read_text().split()[0]), number)
        _wait_until(lambda: not any(map(_is_alive, tasks)))

    def is_removed() -> bool:
        # Threads may still add files.
        shutil.rmtree(home, ignore_errors=True)
        return not home.exists()

    _wait_until(is_removed)


def _remove_what_was_killed(folder: pathlib.Path) -> None:
    """Removes the folders of processes of this user and machine that ended without removing theirs."""
    for home in folder.glob(f"{_PREFIX}*"):
        process = home / _PROCESS
        # What lives, cannot be looked into, or goes meanwhile raises an error, and is left alone.
        with contextlib.suppress(OSError, ValueError):
            # Locks may not be seen from one machine to the next.
            _, machine, sockets = process.read_text().splitlines()
            own = home.lstat().st_uid == os.geteuid() and machine == socket.gethostname()
            if own and time.time() - process.stat().st_mtime > _SECONDS_AFTER_A_KILL:
                # Its tasks may live on.
                for each in home.rglob(_PROCESS):
                    _check_is_dead(each)
                shutil.rmtree(home)
                if re.fullmatch(r"pymp-\w+", sockets):
                    shutil.rmtree(folder / sockets)


def _wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_END
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_alive(task: pathlib.Path) -> bool:
    """Whether `_check_is_dead` finds it alive; one that cannot be looked at is not."""
    try:
        _check_is_dead(task)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def _check_is_dead(task: pathlib.Path) -> None:
    """Raises BlockingIOError if the process whose id is in the file has not ended, and so has the file locked."""
    with open(task) as stream:
        fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _signal(process: int | None, number: int) -> None:
    if process:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
