"""The same graphs on Prism, Beam's portable engine, through a worker pool: the same bytes.

Run by `make test-engines`. Prism is built once, which takes a minute, and is kept outside the repository.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from prism import prism_binary

from headwater.components.common.dataset import load_dataset
from headwater.components.common.dataset_index import shard_index

HERE = pathlib.Path(__file__).parent

_APART = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
_SECONDS = 900


@pytest.fixture(scope="module")
def prism() -> pathlib.Path:
    return prism_binary()


@pytest.fixture(scope="module")
def apart() -> list[str]:
    """The start of a command that gives it a network and processes of its own."""
    for tool in ("unshare", "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} to give Prism a network of its own with (util-linux, iproute2)")
    done = subprocess.run([*_APART, "ip", "link", "set", "lo", "up"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine gives no network namespace: {done.stderr.strip()}")
    return _APART


@pytest.fixture(scope="module")
def run_on_prism(apart, prism, source, tmp_path_factory) -> Callable[[str], pathlib.Path]:
    """Runs a script of this folder on Prism; gives the folder that it filled."""

    def run(script: str) -> pathlib.Path:
        shared = tmp_path_factory.mktemp("prism")
        graphs = [sys.executable, str(HERE / script), source, str(shared / "out")]
        command = [*apart, sys.executable, str(HERE / "on_prism.py"), str(prism), str(shared), *graphs]
        with open(shared / "run.log", "wb") as log:
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=_SECONDS).returncode
        logs = {path.name: path.read_text(errors="replace")[-3000:] for path in shared.glob("*.log")}
        assert code == 0, "\n".join(f"{name}:\n{text}" for name, text in logs.items())
        return shared / "out"

    return run


@pytest.fixture(scope="module")
def on_prism(run_on_prism) -> pathlib.Path:
    return run_on_prism("run_graphs.py")


def test_statistics_are_equal_byte_by_byte(in_process, on_prism):
    names = [path.relative_to(in_process) for path in sorted((in_process / "statistics").glob("Split-*/*"))]
    assert {name.name for name in names} == {"FeatureStats.pb", "State.arrow"} and len(names) == 4
    for name in names:
        assert (on_prism / name).read_bytes() == (in_process / name).read_bytes(), name


def test_shards_are_equal_byte_by_byte(in_process, on_prism):
    ours, theirs = _index(in_process), _index(on_prism)
    assert [len(shards) for shards in ours.values()] == [37, 37]
    assert theirs == ours


def _index(output):
    dataset = load_dataset(str(output / "data"))
    shards = {split: shard_index(dataset.result, split) for split in dataset.splits}
    # The URI is of the output's own folder.
    return {split: [{**shard, "uri": ""} for shard in found] for split, found in shards.items()}


def test_a_lost_worker_ends_the_run_and_the_next_one_is_whole(in_process, run_on_prism):
    output = run_on_prism("run_killed.py")
    failed = (output / "failed").read_text()
    assert (
        failed.startswith("HeadwaterError: collect: scan: Beam's runner ended the job: ") and "Run it again" in failed
    )
    assert "disconnected" in failed and (output / "left").read_text() == ""
    assert _index(output) == _index(in_process)


def test_labels_are_equal_byte_by_byte(in_process, on_prism):
    ours, theirs = (sorted((output / "labels").glob("split=*/*.parquet")) for output in (in_process, on_prism))
    assert [path.name for path in ours] == [path.name for path in theirs] and len(ours) == 74
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_labels_by_feedback_and_what_waits_are_equal_byte_by_byte(in_process, on_prism):
    ours, theirs = (sorted((output / "feedback").glob("[s_]*/*.parquet")) for output in (in_process, on_prism))
    assert [path.name for path in ours] == [path.name for path in theirs]
    assert {path.name.partition("-")[0] for path in ours} >= {"labels", "carried", "events"}
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_prism_works_on_each_element_once_and_outside_the_driver(on_prism, check_calls):
    merged_by = check_calls(on_prism)
    assert any(graph.startswith("generate-statistics") for graph in merged_by)
    driver = int((on_prism / "driver").read_text())
    assert not any(driver in processes for processes in merged_by.values())
