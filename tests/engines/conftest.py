"""One dataset's source, and what its graphs leave on Beam's in-process runner."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from headwater.components.common.merge_tree import GROUP

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="session")
def source(months, tmp_path_factory) -> str:
    """January's flights in 37 Parquet files, each one element: more than a graph merges at once, two times over."""
    folder = tmp_path_factory.mktemp("source")
    table = pyarrow.csv.read_csv(months[1])
    rows = -(-len(table) // 37)
    for number in range(37):
        pq.write_table(table.slice(number * rows, rows), folder / f"part-{number:02}.parquet")
    return str(folder)


@pytest.fixture(scope="session")
def in_process(source, tmp_path_factory) -> pathlib.Path:
    """The folder that `run_graphs` fills on the in-process runner."""
    output = tmp_path_factory.mktemp("in_process") / "out"
    done = subprocess.run([sys.executable, str(HERE / "run_graphs.py"), source, str(output)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return output


@pytest.fixture(scope="session")
def check_calls():
    """Checks what graphs have called."""
    return _check_calls


def _check_calls(output: pathlib.Path) -> dict[str, set[int]]:
    """Each element was worked on once, and merges were those of the tree; the processes that merged, by graph."""
    graphs: dict[str, dict[str, list[int]]] = {}
    for line in (output / "calls").read_text().splitlines():
        graph, kind, process = line.split("\t")
        graphs.setdefault(graph, {}).setdefault(kind, []).append(int(process))
    for graph, calls in graphs.items():
        count = len(calls.get("element", ()))
        assert len(calls.get("work", ())) == count, graph
        assert len(calls["merge"]) == _merges(count), graph
    return {graph: set(calls["merge"]) for graph, calls in graphs.items() if "element" in calls}


def _merges(elements: int) -> int:
    """Four results make one, until there is one; a lone result, and none, are merged once."""
    total = width = max(1, -(-elements // GROUP))
    while width > 1:
        width = -(-width // GROUP)
        total += width
    return total
