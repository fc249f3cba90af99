"""The sentence that a failed task ends with, where Kubernetes looks for it: `kubectl describe pod` shows it."""

from __future__ import annotations

import contextlib
import os

TERMINATION_LOG = "/dev/termination-log"
"""The file that the kubelet reads when a container has ended, there in every pod unless it names another."""

_MOST_BYTES = 4096


def leave(sentence: str, path: str = TERMINATION_LOG) -> None:
    """Writes a sentence for the kubelet, cut to what it takes; nothing where there is no such file."""
    content = sentence.encode()
    if len(content) > _MOST_BYTES:
        content = content[: _MOST_BYTES - 4].decode(errors="ignore").encode() + "…".encode()
    # Outside of a pod there is none, and a pod's may be another user's.
    with contextlib.suppress(OSError), open(os.open(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(content)
