"""The component folders as others take them: kubeflow/pipelines-components' rules and Elyra's catalogue, without either tool."""

from __future__ import annotations

import ast
import datetime
import json
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

from headwater.components.common.errors import HeadwaterError
from headwater.pipelines import elyra
from headwater.pipelines.project import ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("components/*/component.py"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_components_metadata_have_the_fields_and_the_version_of_setup(folder):
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())
    assert list(metadata) == ["name", "stability", "dependencies", "tags", "lastVerified"]
    assert metadata["name"] == folder.name and metadata["stability"] in ("experimental", "alpha", "beta", "stable")
    assert isinstance(metadata["lastVerified"], datetime.datetime), "a date with its time, in UTC"
    [needed] = metadata["dependencies"]["kubeflow"]
    [oldest] = re.findall(r'"kfp>=([\d.]+)', (ROOT / "setup.py").read_text())
    assert needed == {"name": "Pipelines", "version": f">={oldest}.0"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_components_face_imports_kfp_and_its_image_alone(folder):
    for name in ("__init__.py", "component.py"):
        tree = ast.parse((folder / name).read_text())
        imported = {
            module
            for node in tree.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for module in ([node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
        }
        ours = {"headwater.components.common.version", "headwater.components.common.lazy", "kfp"}
        assert {each for each in imported if each.partition(".")[0] not in sys.stdlib_module_names} <= ours


def test_every_input_and_output_is_described_and_stands_in_the_readme():
    every = ports.components()
    assert len(every) == len(list(ROOT.glob("components/*/*.yaml"))) - len(FOLDERS)
    told = "".join((folder / "README.md").read_text() for folder in FOLDERS)
    for name, component in every.items():
        spec = component.component_spec
        assert set(ports.descriptions(component)) == {*(spec.inputs or {}), *(spec.outputs or {})}, name
        assert f"<!-- component: {name} -->\n{ports.table(component)}<!-- /component -->" in told, "run make compile"


def test_a_changed_docstring_changes_the_table():
    def described(component):
        """Does it.

        Args:
            dataset: Rows, a|b,
                and more.
        """

    class Spec:
        inputs = {"dataset": type("Port", (), {"type": "system.Dataset@0.0.1"})}
        outputs = None

    component = type("Component", (), {"component_spec": Spec, "python_func": described})
    assert ports.table(component).splitlines()[2:] == ["| in | `dataset` | dsl.Dataset | Rows, a\\|b, and more. |"]


def test_the_catalogues_definitions_are_not_stale():
    there = {path.name: path.read_text() for path in (ROOT / "pipelines/elyra").glob("*.yaml")}
    assert there == elyra.definitions(), "stale: run make compile"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"project": "name: orders\ncollect: {key: [id]}\n"}, {"project": {"name": "orders", "collect": {"key": ["id"]}}}),
        ({"project": ""}, {"project": {}}),
        ({"sources": "a.csv\n\n  b c.csv  \n"}, {"sources": ["a.csv", "b c.csv"]}),
        ({"sources": ""}, {"sources": []}),
    ],
)  # fmt: skip
def test_text_becomes_what_a_component_takes(given, taken):
    assert elyra.from_text(elyra.components()["collect"], given) == taken


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("headwater.yaml", "must be settings in YAML, as `name: orders`; given: 'headwater.yaml'"),
        ("- a.csv", "must be settings in YAML"),
        ("name: [orders", "project, line 1: is not valid YAML"),
        ("name: a\nname: b", "the key 'name' is given twice"),
    ],
)
def test_text_that_is_no_project_is_refused(given, said):
    with pytest.raises(HeadwaterError, match=re.escape(said)):
        elyra.from_text(elyra.components()["gate"], {"project": given})


@pytest.mark.slow
def test_a_task_of_the_catalogue_runs_the_component(tmp_path):
    (tmp_path / "a.csv").write_text("id,n\n1,2\n2,3\n")
    made = {"name": "dataset", "type": {"schemaTitle": "system.Dataset"}, "uri": str(tmp_path / "out"), "metadata": {}}
    page = {"name": "page", "type": {"schemaTitle": "system.HTML"}, "uri": str(tmp_path / "page"), "metadata": {}}
    task = {
        "inputs": {
            "parameterValues": {"sources": "", "project": f"sources: [{tmp_path}/a.csv]\ncollect: {{key: [id]}}"}
        },
        "outputs": {
            "artifacts": {"dataset": {"artifacts": [made]}, "page": {"artifacts": [page]}},
            "parameters": {name: {"outputFile": str(tmp_path / name)} for name in ("uri", "accepted")},
            "outputFile": str(tmp_path / "output.json"),
        },
    }
    container = yaml.safe_load((ROOT / "pipelines/elyra/collect.yaml").read_text())["implementation"]["container"]
    words = [sys.executable, *container["command"][1:], "--executor_input", json.dumps(task)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "output.json").read_text())["parameterValues"]["accepted"] is True
