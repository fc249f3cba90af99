"""Imported by the server that worker processes are forked from: with its last client its socket's folder goes.

Multiprocessing leaves that to the client, which cannot do it when it was killed.
"""

from __future__ import annotations

import gc
import os
import shutil
from multiprocessing import forkserver, util


def _remove_folder() -> None:
    # The server's own address; it is set after the imports.
    address = getattr(forkserver._forkserver, "_forkserver_address", None)  # type: ignore[attr-defined]
    if isinstance(address, str) and os.path.basename(os.path.dirname(address)).startswith("pymp-"):
        shutil.rmtree(os.path.dirname(address), ignore_errors=True)


# What it imports from here on is no garbage. Its processes look for theirs, see `pool`.
gc.disable()
# Workers, which are forked, start without the server's finalizers.
util.Finalize(None, _remove_folder, exitpriority=0)
