from __future__ import annotations

import importlib
import pathlib
import subprocess
import sys

import kfp
import pytest
import yaml
from kfp import compiler

from headwater.pipelines.compile import COMMITTED_WITH, targets

ROOT = pathlib.Path(__file__).resolve().parents[2]


def specification(path: pathlib.Path) -> list[dict]:
    documents = list(yaml.safe_load_all(path.read_text()))
    for document in documents:
        document.pop("sdkVersion", None)
    return documents


@pytest.mark.skipif(
    not kfp.__version__.startswith(COMMITTED_WITH), reason=f"committed YAML must be compiled with kfp {COMMITTED_WITH}"
)
@pytest.mark.parametrize("path", sorted(targets(ROOT)), ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_yaml_is_not_stale_and_compiles_to_the_same_bytes_twice(path, tmp_path):
    for name in ("one.yaml", "two.yaml"):
        compiler.Compiler().compile(targets(ROOT)[path], str(tmp_path / name))
    assert (tmp_path / "one.yaml").read_bytes() == (tmp_path / "two.yaml").read_bytes()
    assert specification(tmp_path / "one.yaml") == specification(path), "stale: run make compile"


def test_tasks_that_read_mutable_references_are_not_cached():
    tasks = specification(ROOT / "pipelines/headwater.yaml")[0]["root"]["dag"]["tasks"]
    cached = {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")}
    # Of artifacts Kubeflow's cache compares names alone: a gate that was passed once would pass whatever comes.
    assert cached == {"generate-statistics"}
    parameters = tasks["generate-statistics"]["inputs"]["parameters"]
    assert parameters["dataset_uri"]["taskOutputParameter"] == {
        "producerTask": "label", "outputParameterKey": "uri",
    }  # fmt: skip


def test_components_install_nothing_at_run_time_and_name_an_immutable_image():
    executors = specification(ROOT / "pipelines/headwater.yaml")[0]["deploymentSpec"]["executors"]
    assert len(executors) == 6
    version = importlib.metadata.version("headwater")
    for name, executor in executors.items():
        container = executor["container"]
        assert "pip install" not in " ".join(container["command"])
        smaller = name not in ("exec-infer-schema", "exec-validate")
        assert container["image"] == f"{'headwater-core' if smaller else 'headwater-tfdv'}:{version}"


def test_importing_the_packages_pulls_in_no_kfp_and_no_tensorflow():
    script = (
        "import sys\n"
        "import headwater.components.collect, headwater.components.generate_statistics\n"
        "import headwater.components.infer_schema, headwater.components.validate, headwater.components.common\n"
        "import headwater.pipelines.cli\n"
        "print([name for name in ('kfp', 'tensorflow', 'apache_beam', 'pandas') if name in sys.modules])\n"
        "from headwater.components.validate import validate, gate\n"
        "from headwater.components.collect import collect\n"
        "from headwater.components.infer_schema import infer_schema\n"
        "from headwater.components.generate_statistics import generate_statistics\n"
        "print({type(c).__name__ for c in (validate, gate, collect, infer_schema, generate_statistics)})\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.splitlines() == ["[]", "{'PythonComponent'}"], output.stderr


def test_nothing_imports_the_folders_as_packages_of_their_own():
    wrong = [
        f"{path}:{number}"
        for folder in ("components", "pipelines", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.strip().startswith(("import components", "from components", "import pipelines", "from pipelines"))
    ]
    assert wrong == []


def test_a_component_imports_no_other_component():
    names = ("collect", "generate_statistics", "infer_schema", "validate")
    wrong = [
        f"{path}:{number}: {line.strip()}"
        for name in (*names, "common")
        for path in (ROOT / "components" / name).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for other in (*names, "pipelines")
        if other != name and f"headwater.components.{other}" in line or "headwater.pipelines" in line
    ]
    assert wrong == []
