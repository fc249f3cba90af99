"""The images as pods have them: not root, no home, nothing to write but /tmp; and what ends a pod."""

from __future__ import annotations

import json
import pathlib
import shutil
import time

import pytest
from pods import POD, ROOT, Pipeline, docker, image, in_a_pod

from headwater.components.common import results

IMAGES = ("headwater-core", "headwater-tfdv")


@pytest.fixture(scope="module", params=IMAGES)
def built(request) -> str:
    return image(request.param)


@pytest.fixture(scope="module")
def core() -> str:
    return image("headwater-core")


def run(image: str, *command: str, options: tuple[str, ...] = (), **more) -> str:
    return docker("run", "--rm", *POD, *options, image, *command, **more).stdout


@pytest.fixture(scope="module")
def two_runs(few_flights, tmp_path_factory):
    """Two spans of 2,000 flights, the second with whole numbers written as decimals; the second is held to a rule."""
    image("headwater-tfdv")
    folder = tmp_path_factory.mktemp("pods")
    shutil.copy(few_flights, folder / "few.csv")
    project = {
        "name": "flights",
        "sources": [str(folder / "few.csv")],
        "collect": {"span": 1, "key": ["carrier", "flight", "time_hour"]},
        "statistics": {"num_top_values": 10, "seed": 3},
        "platform": {"data_root": str(folder / "home"), "workers": 2},
    }
    first = Pipeline(folder / "first", project, in_a_pod).to_its_end()
    project["collect"]["span"] = 2
    project["validate"] = {"rows": {"rules": [{"name": "early", "row": "dep_delay < -5", "severity": "error"}]}}
    return first, Pipeline(folder / "second", project, in_a_pod, float).to_its_end()


def test_all_tasks_pass_with_numbers_of_either_form(two_runs):
    first, second = two_runs
    assert list(first.done) == list(second.done) == list(first.tasks()), first.done
    assert {name: done.code for name, done in first.done.items()} == dict.fromkeys(first.done, 0), first.done
    assert {name for name, done in second.done.items() if done.code} == {"gate"}, second.done
    counts = [each.artifacts["collect", "dataset"]["metadata"]["written"] for each in two_runs]
    assert counts == [2000, 2000]


def test_the_second_run_finds_the_first(two_runs):
    verdict = results.load(two_runs[1].parameters["validate", "uri"], "anomalies").body
    assert "span=1" in verdict["baseline"]["uri"]


def test_a_failed_gate_ends_with_its_findings_for_the_log_and_for_the_kubelet(two_runs):
    done = two_runs[1].done["gate"]
    assert done.code == 1 and "early" in done.last_words and done.last_words.startswith("Rejected")
    assert done.log.rstrip().endswith(f"error: {done.last_words}")


@pytest.mark.parametrize("name", ["collect", "label", "generate-statistics", "infer-schema", "validate"])
def test_a_task_whose_pod_was_lost_after_its_work_is_run_again(two_runs, name):
    first = two_runs[0]
    before = first.parameters[name, "uri"]
    assert first.run(name).code == 0, first.done[name].log[-1500:]
    assert first.parameters[name, "uri"] == before


def test_a_user_without_a_name_runs_it(built):
    told = run(
        built, "sh", "-c", 'id -u; cd "$(mktemp -d)" && touch x && headwater --version', options=("--user", "1234")
    )
    assert told.splitlines()[0] == "1234" and told.splitlines()[1].startswith("headwater ")


def test_there_is_what_a_task_of_kfp_needs_and_nothing_that_installs(built):
    program = (
        "import importlib.util, shutil, kfp, sys\n"
        "print(sorted(name for name in ('sh', 'mktemp', 'python3', 'python', 'headwater') if shutil.which(name)))\n"
        "print([name for name in ('gcc', 'g++', 'cc', 'c++', 'pip', 'pip3', 'uv') if shutil.which(name)])\n"
        "print([name for name in ('pip', 'uv', 'ensurepip.__main__') if importlib.util.find_spec(name.split('.')[0])][:1] in "
        "([], ['ensurepip.__main__']))\n"
    )
    there, without, _ = run(built, "python3", "-c", program).splitlines()
    assert (there, without) == ("['headwater', 'mktemp', 'python', 'python3', 'sh']", "[]")


def test_no_requirement_is_missing_but_tensorflow_by_its_name(built):
    program = pathlib.Path(ROOT / "tests/images/requirements.py").read_text()
    missing = set(run(built, "python3", "-c", program).splitlines())
    assert missing == (set() if "core" in built else {"tensorflow"})


def test_core_has_no_tensorflow(core):
    program = (
        "import importlib.util as u; print([n for n in ('tensorflow', 'tensorflow_data_validation') if u.find_spec(n)])"
    )
    assert run(core, "python3", "-c", program) == "[]\n"


@pytest.mark.parametrize(("name", "most"), [("headwater-core", 600), ("headwater-tfdv", 1800)])
def test_an_image_is_not_larger_than_it_may_be(name, most):
    assert int(docker("image", "inspect", "-f", "{{.Size}}", image(name)).stdout) < most * 1_000_000


def test_labels_and_the_list_of_what_is_inside(built):
    [found] = json.loads(docker("image", "inspect", built).stdout)
    name, version = built.split(":")
    labels = {key.rpartition(".")[2]: value for key, value in found["Config"]["Labels"].items()}
    assert (labels["version"], labels["licenses"]) == (version, "Apache-2.0") and {"revision", "source"} <= set(labels)
    assert found["Config"]["User"] == "65532:65532"
    bill = ROOT / f"build/images/{name}.cdx.json"
    if not bill.exists():
        pytest.skip("the images were not built from this checkout")
    body = json.loads(bill.read_text())
    assert (body["bomFormat"], body["metadata"]["component"]["version"]) == ("CycloneDX", version)
    purls = [each["purl"] for each in body["components"]]
    assert len(set(purls)) == len(purls) and any(each.startswith("pkg:deb/debian/libc6@") for each in purls)
    assert f"pkg:pypi/headwater@{version}" in purls


def test_cores_and_memory_are_the_pods(core):
    program = (
        "import headwater.components.common as c; from headwater.components.common import machine; import pyarrow, os\n"
        "print(machine.cores(), machine.memory() >> 20, machine.processes(), pyarrow.cpu_count(), os.environ.get("
        "'OPENBLAS_NUM_THREADS'))"
    )
    told = run(core, "python3", "-c", program, options=("--cpus", "1", "--memory", "900m"))
    assert told == "1 900 1 1 1\n"


def test_a_worker_that_memory_does_not_suffice_for_is_one_error(core, tmp_path):
    (tmp_path / "hungry.py").write_text(
        "def eat(item):\n    held = bytearray(10 << 30)\n    held[::4096] = b'x' * len(held[::4096])\n    return b''\n"
    )
    program = (
        "import sys; sys.path.insert(0, '/code')\n"
        "import hungry\n"
        "from headwater.components.common import beam, errors\n"
        "with errors.clear_errors():\n"
        "    beam.map_merge('label: write', [0, 1], hungry.eat, b''.join, sizes=[1, 1], workers=2)\n"
    )
    options = ("--memory", "700m", "-v", f"{tmp_path}:/code:ro", "-e", "PYTHONPATH=/code")
    tmp_path.chmod(0o755)
    done = docker("run", "--rm", *POD, *options, core, "python3", "-c", program, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == (
        "error: a part of the work: the worker process that handled it was killed twice (signal SIGKILL), as the system does "
        "when the memory of 700Mi that label may use does not suffice; raise resources.memory of label, or set workers to 1"
    )


def test_sigterm_ends_a_pod_with_a_sentence(core):
    program = (
        "import time\nfrom headwater.components.common.errors import clear_errors\n"
        "with clear_errors():\n    print('ready', flush=True)\n    time.sleep(600)\n"
    )
    container = docker("run", "-d", *POD, core, "python3", "-c", program).stdout.strip()
    try:
        while "ready" not in docker("logs", container).stdout:
            time.sleep(0.1)
        docker("kill", "-s", "TERM", container)
        assert docker("wait", container).stdout.strip() == "143"
        assert "stopped by SIGTERM" in docker("logs", container).stderr
    finally:
        docker("rm", "-f", "-v", container, check=False)
