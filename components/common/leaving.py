"""How a process of ours leaves: no thread of a C++ library is in the middle of something that needs Python.

Arrow's threads give back what they read from Python's memory when the reader already has its table. A thread that asks for
the interpreter while it is being taken down is ended by it, and C++ takes that for an error: "terminate called without an
active exception", and the process aborts whatever it has done.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pathlib
import threading
import time

_THREADS = pathlib.Path("/proc/self/task")
_SECONDS = 2.0
_PAUSE = 0.001


def wait_for_threads_at_exit() -> None:
    """Makes this process wait at its end until its threads are idle."""
    atexit.register(_wait_for_threads)


def _wait_for_threads() -> None:
    deadline = time.monotonic() + _SECONDS
    # Who waits for the interpreter gets it while this thread sleeps.
    time.sleep(_PAUSE)
    while _busy() and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _busy() -> bool:
    """Whether a thread other than this one runs, could, or waits for a disk."""
    own = str(threading.get_native_id())
    with contextlib.suppress(OSError):
        for thread in os.listdir(_THREADS):
            with contextlib.suppress(OSError):
                # The state follows the name, which is in parentheses and may hold anything.
                if thread != own and (_THREADS / thread / "stat").read_text().rpartition(")")[2].split()[0] in "RD":
                    return True
    return False
