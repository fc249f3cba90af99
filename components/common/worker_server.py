"""Imported by the server that worker processes are forked from: what it sets up holds for all of them.

With its last client its socket's folder goes: multiprocessing leaves that to the client, which cannot do it when it was
killed. And memory that is freed is kept for the next batch, which needs as much: the system would clear every page anew.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import shutil
from multiprocessing import forkserver, util

# Of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 256 << 20
_LARGEST_BYTES = 32 << 20


def _keep_freed_memory() -> None:
    # Another C library has no such function.
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def _remove_folder() -> None:
    # The server's own address; it is set after the imports.
    address = getattr(forkserver._forkserver, "_forkserver_address", None)  # type: ignore[attr-defined]
    if isinstance(address, str) and os.path.basename(os.path.dirname(address)).startswith("pymp-"):
        shutil.rmtree(os.path.dirname(address), ignore_errors=True)


# What it imports from here on is no garbage. Its processes look for theirs, see `pool`.
gc.disable()
_keep_freed_memory()
# Workers, which are forked, start without the server's finalizers.
util.Finalize(None, _remove_folder, exitpriority=0)
