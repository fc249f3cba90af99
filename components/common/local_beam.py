"""Beam as a process of our own on one machine needs it: without the clients that it imports where it finds them.

Beam's extras (Google Cloud, S3, Azure, data frames) and its clients for HDFS and MongoDB are optional to it: each is imported
where it is installed, and Beam goes without where it is not. Together they are two thirds of what `import apache_beam` costs,
nearly a second of each task, and a graph that runs in this process uses none: files are read by pyarrow's and our own clients.
So in a process that is ours alone (a task, a command), and without options of Beam's that could ask for one, they are not found
while Beam is imported. In nobody else's process: in a notebook, and where there are options, Beam has all that it finds.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from typing import Any

from headwater.components.common.importing import uncollected

EXTRAS = (
    # Beam guards it itself, against environments without Google's libraries, and it brings more than those.
    "apache_beam.io.gcp.bigquery",
    "apitools",
    "azure",
    "boto3",
    "google.api_core",
    "google.auth",
    "google.cloud",
    "hdfs",
    "IPython",
    "pandas",
    "pymongo",
)
"""What Beam can do without. A test imports Beam so, and runs a graph."""

_GRAPH = "headwater.components.common.beam_graph"
_ours = False
_OBJECTS = 20_000


def claim_process() -> None:
    """Says that this process is ours alone: nobody's own code will want Beam with its extras in it."""
    global _ours
    if not _ours:
        # What it has imported is no garbage, neither while it works nor when it ends.
        gc.set_threshold(_OBJECTS, 20, 20)
        atexit.register(gc.freeze)
    _ours = True


def graph(beam_pipeline_args: Sequence[str]) -> Any:
    """The module `beam_graph`, and with it Beam, imported once."""
    if _GRAPH not in sys.modules and not _ours:
        atexit.register(_end_without_search)
    with uncollected():
        return _graph(beam_pipeline_args)


def begin_import(beam_pipeline_args: Sequence[str]) -> None:
    """Begins with what `graph` imports, in a thread: for who has to wait for another process before there is work."""

    def import_it() -> None:
        # What is wrong is told to who asks for it.
        with contextlib.suppress(Exception):
            graph(beam_pipeline_args)

    if _GRAPH not in sys.modules:
        threading.Thread(target=import_it).start()


def _end_without_search() -> None:
    """Looks for garbage once more. Python would do so several times while it takes the process down, and through all that Beam
    has imported: half a second."""
    gc.collect()
    gc.freeze()


def _graph(beam_pipeline_args: Sequence[str]) -> Any:
    if _GRAPH not in sys.modules and _ours and not beam_pipeline_args:
        try:
            with _without(EXTRAS):
                from headwater.components.common import beam_graph
        except ImportError:
            # Another version of Beam may need one of them: then it has all, and starts as slowly as elsewhere.
            for name in [name for name in sys.modules if name == _GRAPH or f"{name}.".startswith("apache_beam.")]:
                del sys.modules[name]
    from headwater.components.common import beam_graph

    return beam_graph


class _Hidden(MetaPathFinder):
    """Finds no module of some names, nor below them, for one thread; others may need them meanwhile."""

    def __init__(self, names: Sequence[str]):
        self._names, self._thread = tuple(f"{name}." for name in names), threading.get_ident()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if f"{fullname}.".startswith(self._names) and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {fullname!r}: Beam does without it here", name=fullname)


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    finder = _Hidden(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
