"""Functions that a graph runs, with a note of each call, whatever process it is in."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable
from typing import Any


def noted(map_merge: Callable[..., bytes], log: str) -> Callable[..., bytes]:
    """`map_merge`, noting in a file each graph's number of elements and each call of what it was given.

    Args:
      log: path of the file; a line holds the graph, what was called, and the process.
    """

    def noting(label: str, items: Any, work: Callable[[Any], bytes], merge: Callable[[Any], bytes], **options: Any):
        graph = f"{label}-{uuid.uuid4().hex}"
        for _ in items:
            _note(log, graph, "element")
        called = functools.partial(_call, log, graph)
        return map_merge(
            label, items, functools.partial(called, "work", work), functools.partial(called, "merge", merge), **options
        )

    return noting


def _call(log: str, graph: str, kind: str, function: Callable[[Any], bytes], argument: Any) -> bytes:
    _note(log, graph, kind)
    return function(argument)


def _note(log: str, graph: str, kind: str) -> None:
    # One short write at the end of the file is whole, however many processes write.
    with open(log, "ab", buffering=0) as stream:
        stream.write(f"{graph}\t{kind}\t{os.getpid()}\n".encode())
