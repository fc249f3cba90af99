"""The one exception that users are meant to read."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator


class HeadwaterError(Exception):
    """Input, a setting or a stored result is wrong, and the message says what would be right.

    The message names the file, row, column or key. It never holds a secret, nor a whole row.

    Attributes:
      place: of a wrong setting, the path of keys that leads to it.
    """

    place: tuple[str | int, ...] = ()


TERMINATED = 128 + signal.SIGTERM
"""The exit code of a process that was asked to end, as shells have it."""


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Ends the process with one line instead of a traceback when a `HeadwaterError` or SIGTERM comes through.

    The components' faces run in it, so that a task's log on Kubeflow ends with the sentence that helps.
    """
    try:
        with ended_by_sigterm():
            yield
    except HeadwaterError as error:
        sys.exit(f"error: {error}")


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the process at once, as it does everywhere, but for a line that says so."""

    def end(*_: object) -> None:
        print(
            "error: stopped by SIGTERM; nothing was left half-written, so it can be run again",
            file=sys.stderr,
            flush=True,
        )
        # An exception would be one of the user's code or of Beam's steps, to be handled there.
        os._exit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
