"""Collects files with a reader that aborts at one of them, as damaged files made pyarrow 10 do."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any


def write_range(bad: str, plan: Any, item: Any) -> bytes:
    from headwater.components.collect.write import shards

    if any(each.element.file.uri == bad for each in item.item):
        os.abort()
    return shards.write_range(plan, item)


def said(source: object, output: object, bad: object) -> str:
    """What collecting says, in a process of its own as the command line has."""
    # By its own name, so that workers find it.
    script = f"import aborting; aborting.collect({str(source)!r}, {str(output)!r}, {str(bad)!r})"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    command = [sys.executable, "-W", "ignore", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env=environment).stderr


def collect(source: str, output: str, bad: str) -> None:
    """Collects with two processes."""
    from headwater.components.collect import collect_dataset, ingest

    ingest.write_range = functools.partial(write_range, bad)
    collect_dataset(source, output, workers=2)
