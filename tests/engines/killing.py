"""A function that a graph runs, whose worker is killed in the middle of the work, once."""

from __future__ import annotations

import functools
import os
import pathlib
import signal
from collections.abc import Callable
from typing import Any

_BEFORE = 7
"""So many elements are begun before the worker is killed."""


def killing(map_merge: Callable[..., bytes], log: str) -> Callable[..., bytes]:
    """`map_merge` whose worker is killed at an element; the file `log` gets a line for each element that is begun."""

    def mapping(label: str, items: Any, work: Callable[[Any], bytes], merge: Any, **options: Any) -> bytes:
        return map_merge(label, items, functools.partial(_work, log, work), merge, **options)

    return mapping


def _work(log: str, work: Callable[[Any], bytes], element: Any) -> bytes:
    with open(log, "ab", buffering=0) as stream:
        stream.write(b"%d\n" % os.getpid())
    killed = pathlib.Path(f"{log}.killed")
    if pathlib.Path(log).read_bytes().count(b"\n") > _BEFORE and not killed.exists():
        worker = _worker(os.getpid())
        killed.write_text(str(worker))
        os.kill(worker, signal.SIGKILL)
    return work(element)


def _worker(process: int) -> int:
    """Beam's worker that a process works for: itself, or above it."""
    while b"sdk_worker" not in pathlib.Path(f"/proc/{process}/cmdline").read_bytes():
        status = pathlib.Path(f"/proc/{process}/status").read_text()
        process = int(status.partition("PPid:")[2].split()[0])
    return process
