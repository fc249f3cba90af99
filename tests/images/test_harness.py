"""The images as Beam's SDK harness: graphs run on Prism, and their workers are a container of the image."""

from __future__ import annotations

import pathlib
import shutil
import uuid

import pytest
from pods import POD, docker, image
from prism import prism_binary

from headwater.components.common import results
from headwater.components.common.dataset import load_dataset
from headwater.components.common.dataset_index import shard_index

_GRAPHS = """
set -e
headwater collect {folder}/few.csv --output {output}/data --key carrier,flight,time_hour --workers 2 {beam}
headwater generate-statistics {output}/data --output {output}/statistics --workers 2 {beam}
"""
_ON_PRISM = (
    "--runner=PortableRunner",
    "--job_endpoint=localhost:8073",
    "--environment_type=EXTERNAL",
    "--environment_config=localhost:50000",
)
# Until both ports answer.
_WAIT = """
import socket, time
for port in (8073, 50000):
    for _ in range(600):
        try:
            socket.create_connection(("localhost", port)).close()
            break
        except OSError:
            time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def folders(few_flights, tmp_path_factory):
    """What the graphs leave in a container by themselves, and on Prism with workers in another; and those workers' log."""
    harness, prism = image("headwater-core"), prism_binary()
    folder = tmp_path_factory.mktemp("harness")
    shutil.copy(few_flights, folder / "few.csv")
    folder.chmod(0o777)
    shared = ("-v", f"{folder}:{folder}")
    # All are in the network of the first, which has no other: Prism and the pool listen on every interface.
    pool, engine = (f"headwater-{name}-{uuid.uuid4().hex[:8]}" for name in ("pool", "prism"))
    beside = tuple(f"container:{pool}" if option == "none" else option for option in POD)
    try:
        docker("run", "-d", "--init", "--name", pool, *POD, *shared, harness, "--worker_pool")
        mounted = ("-v", f"{prism}:/prism:ro")
        docker(
            "run", "-d", "--name", engine, *beside, *mounted, harness, "/prism", "-job_port=8073", "-serve_http=false"
        )
        docker("run", "--rm", *beside, harness, "python3", "-c", _WAIT)
        for name, beam, options in (("alone", (), POD), ("prism", _ON_PRISM, beside)):
            arguments = " ".join(f"--beam={argument}" for argument in (*beam, f"--temp_location={folder}"))
            program = _GRAPHS.format(folder=folder, output=folder / name, beam=arguments)
            done = docker("run", "--rm", *options, *shared, harness, "sh", "-c", program, check=False)
            told = [docker("logs", container, check=False).stderr[-3000:] for container in (pool, engine)]
            assert done.returncode == 0, "\n".join([done.stderr[-3000:], *told])
        yield folder / "alone", folder / "prism", docker("logs", pool).stderr
    finally:
        docker("rm", "-f", "-v", engine, pool, check=False)


def test_prism_starts_workers_as_it_starts_those_of_any_image(folders):
    log = folders[2]
    assert "/opt/apache/beam/boot" in log and "--provision_endpoint=" in log, log[-2000:]


def test_shards_have_the_same_digests(folders):
    def index(output: pathlib.Path):
        dataset = load_dataset(str(output / "data"))
        return {
            split: [(shard["rows"], shard["sha256"], shard["digest"]) for shard in shard_index(dataset.result, split)]
            for split in dataset.splits
        }

    alone, on_prism = map(index, folders[:2])
    assert alone == on_prism and sum(rows for shards in alone.values() for rows, *_ in shards) == 2000


def test_statistics_are_equal_byte_by_byte(folders):
    alone, on_prism = (results.load(str(output / "statistics"), "statistics") for output in folders[:2])
    names = [name for name in alone.manifest["files"] if name.endswith(("FeatureStats.pb", "State.arrow"))]
    assert len(names) == 4
    for name in names:
        assert pathlib.Path(alone.folder, name).read_bytes() == pathlib.Path(on_prism.folder, name).read_bytes(), name


@pytest.mark.parametrize("name", ["headwater-core", "headwater-tfdv"])
def test_a_worker_without_a_runner_says_what_is_missing(name):
    done = docker("run", "--rm", *POD, image(name), "--id=1", check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: a worker needs --id and --provision_endpoint, which a runner of Beam's gives\n",
    )
