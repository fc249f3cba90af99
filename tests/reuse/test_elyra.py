"""Elyra itself: our definitions in its catalogue, a pipeline of them, exported; and what was exported run, task by task."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
import yaml
from pods import Pipeline, here
from servers import ROOT, environment_of

LINE = (
    ("collect", {}),
    ("label", {"dataset": ("collect", "dataset")}),
    ("generate-statistics", {"dataset": ("label", "labels"), "dataset_uri": ("label", "uri")}),
    ("infer-schema", {"statistics": ("generate-statistics", "statistics")}),
    ("validate", {"statistics": ("generate-statistics", "statistics"), "schema": ("infer-schema", "schema")}),
    ("gate", {"anomalies": ("validate", "anomalies")}),
)
"""The main pipeline: each component, and what of an earlier one its inputs are."""


@pytest.fixture(scope="module")
def elyra(tmp_path_factory):
    """Elyra with our catalogue and the configuration of a cluster, and a way to call its commands."""
    programs = environment_of("elyra") / "bin"
    home = tmp_path_factory.mktemp("elyra")
    environment = {**os.environ, "HOME": str(home), "JUPYTER_PREFER_ENV_PATH": "0"}
    for name in ("data", "config", "runtime"):
        (home / name).mkdir()
        environment[f"JUPYTER_{name.upper()}_DIR"] = str(home / name)

    def call(program, *words, code=0, cwd=home):
        done = subprocess.run([programs / program, *words], env=environment, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == code, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout + done.stderr

    def catalogue():
        told = call("python", str(ROOT / "tests/support/elyra_catalogue.py"), "local-directory-catalog")
        found = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
        return {each["name"]: each for each in found}, told

    # The README's commands; and what Elyra makes of the newer format.
    (home / "newer").mkdir()
    shutil.copy(ROOT / "components/collect/component.yaml", home / "newer")
    for name, folder in (("headwater", ROOT / "pipelines/elyra"), ("newer", home / "newer")):
        call(
            "elyra-metadata", "create", "component-catalogs", "--schema_name=local-directory-catalog", f"--name={name}",
            "--display_name=Headwater", "--runtime_type=KUBEFLOW_PIPELINES", "--categories=['Headwater']",
            f"--paths=['{folder}']",
        )  # fmt: skip
    call(
        "elyra-metadata", "create", "runtimes", "--schema_name=kfp", "--name=cluster", "--display_name=Cluster",
        "--api_endpoint=https://kubeflow.example.com/pipeline", "--auth_type=NO_AUTHENTICATION",
        "--cos_endpoint=http://minio:9000", "--cos_auth_type=USER_CREDENTIALS", "--cos_username=nobody",
        "--cos_password=no-secret", "--cos_bucket=elyra",
    )  # fmt: skip
    call.home, call.catalogue = home, catalogue
    return call


def drawn(components, values):
    """A pipeline as Elyra's editor saves it: nodes, their properties, links between them."""
    port = {"app_data": {"ui_data": {"cardinality": {"min": 0, "max": -1}}}}
    nodes = []
    for name, given in LINE:
        component = components[name]
        properties = {
            key: {"widget": "string", "value": ""} for key in component["properties"] if not key.startswith("output_")
        }
        properties.update({key: value for key, value in values.items() if key in properties})
        for key, (task, output) in given.items():
            properties[key] = {"widget": "inputpath", "value": {"value": task, "option": f"output_{output}"}}
        links = [
            {"id": f"{task}-{name}", "node_id_ref": task, "port_id_ref": "outPort"}
            for task in {task for task, _ in given.values()}
        ]
        nodes.append(
            {
                "id": name,
                "type": "execution_node",
                "op": component["id"],
                "app_data": {
                    "component_parameters": properties,
                    "label": "",
                    "ui_data": {"label": name, "x_pos": 0, "y_pos": 0},
                },
                "inputs": [{"id": "inPort", "links": links, **port}],
                "outputs": [{"id": "outPort", **port}],
            }
        )
    return {
        "doc_type": "pipeline",
        "version": "3.0",
        "id": "elyra-auto-generated-pipeline",
        "primary_pipeline": "primary",
        "pipelines": [
            {
                "id": "primary",
                "nodes": nodes,
                "app_data": {
                    "ui_data": {"comments": []},
                    "version": 8,
                    "runtime_type": "KUBEFLOW_PIPELINES",
                    "properties": {"name": "orders", "runtime": "Kubeflow Pipelines"},
                },
                "runtime_ref": "",
            }
        ],
        "schemas": [],
    }


def exported(elyra, folder, values):
    components, _ = elyra.catalogue()
    (folder / "orders.pipeline").write_text(json.dumps(drawn(components, values)))
    target = folder / "orders.yaml"
    elyra(
        "elyra-pipeline", "export", "orders.pipeline", "--runtime-config", "cluster", "--format", "yaml",
        "--output", str(target), cwd=folder,
    )  # fmt: skip
    return target


def test_all_components_are_in_the_catalogue_and_their_artifacts_can_be_joined(elyra):
    components, told = elyra.catalogue()
    # Nothing comes of `component.yaml`, KFP's newer format.
    assert sorted(components) == sorted(name for name, _ in LINE), told
    for name, given in LINE:
        ways = components[name]["properties"]
        assert {key for key, way in ways.items() if way == ["inputpath"]} == {
            key for key in given if key != "dataset_uri"
        }
        assert "file" in ways["project"], "a project file can be chosen"


def test_a_pipeline_of_our_definitions_is_exported_compiled_and_runs(elyra, orders):
    project = orders / "headwater.yaml"
    project.write_text(project.read_text().replace("platform: {", f"platform: {{data_root: '{orders / 'store'}', "))
    compiled = exported(elyra, orders, {"project": {"widget": "file", "value": project.name}})
    spec = next(yaml.safe_load_all(compiled.read_text()))
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {name for name, _ in LINE}
    assert tasks["generate-statistics"]["inputs"]["parameters"]["dataset_uri"]["taskOutputParameter"] == {
        "producerTask": "label",
        "outputParameterKey": "uri",
    }
    run = Pipeline(orders / "run", {}, here, compiled=compiled).to_its_end()
    assert [each.code for each in run.done.values()] == [0] * len(LINE), list(run.done.values())[-1].log[-3_000:]
    assert run.parameters["validate", "blessed"] is True
    # The latest day of the project's pattern.
    assert run.artifacts["collect", "dataset"]["metadata"]["kind"] == "headwater.dataset"
    assert f"{orders}/store/orders/span=20487/" in run.parameters["collect", "uri"]


def test_a_path_in_place_of_settings_is_refused_with_what_would_be_right(elyra, orders):
    values = {"project": {"widget": "string", "value": "headwater.yaml"}}
    compiled = exported(elyra, orders, values)
    run = Pipeline(orders / "run", {}, here, compiled=compiled).to_its_end()
    assert list(run.done) == ["collect"] and run.done["collect"].code
    assert run.done["collect"].last_line.startswith("error: project: must be settings in YAML")
    assert "choose 'File' for the property in Elyra" in run.done["collect"].last_line
