"""The branches of the pipelines for a cluster, taken and not taken, by the local runner of kfp 2.14 and later."""

import pathlib
import uuid

import kfp
import pytest
import yaml
from kfp import compiler, dsl
from stubs import stubbed

from headwater.components.common import results

NEWER = tuple(map(int, kfp.__version__.split(".")[:2])) >= (2, 14)
PROJECT = {"name": "orders", "sources": ["s3://raw/orders.csv"], "platform": {"data_root": "s3://lake/headwater"}}
LINE = ["collect", "label", "generate_statistics", "infer_schema", "validate"]


@dsl.component(base_image="reg.example.com/ml/trainer:3", install_kfp_package=False)
def train(dataset: dsl.Input[dsl.Dataset], schema_uri: str = ""):
    """Somebody's trainer."""


@pytest.mark.skipif(not NEWER, reason="the local runner of kfp 2.13 knows neither dsl.If nor exit handlers")
@pytest.mark.parametrize(
    ("trainer", "outputs", "failing", "ran"),
    [
        (False, {}, (), [*LINE, "gate", "report"]),
        (False, {}, ("gate",), [*LINE, "gate", "report"]),
        (False, {}, ("generate_statistics",), [*LINE[:3], "report"]),
        (True, {"blessed": True, "quarantined": 0}, (), [*LINE, "train", "report"]),
        (True, {"blessed": False, "quarantined": 0}, ("gate",), [*LINE, "gate", "report"]),
        (True, {"blessed": False, "quarantined": 7}, (), [*LINE, "gate", "generate_statistics", "label", "report"]),
    ],
)
def test_tasks_run_where_their_branch_is_taken_and_the_report_always(tmp_path, trainer, outputs, failing, ran):
    run_stubbed(tmp_path, trainer, outputs, failing)
    told = (tmp_path / "journal").read_text().split()
    assert sorted(told) == sorted(ran) and told[-1] == "report"


@dsl.component(base_image="reg.example.com/ml/trainer:3", install_kfp_package=False)
def count(dataset: dsl.Input[dsl.Dataset], dataset_uri: str = ""):
    """Somebody's trainer: it reads what it is given, and says how many rows."""
    import os

    from headwater.components.common import open_dataset

    rows = [open_dataset(each).count_rows() for each in (dataset.path, dataset_uri)]
    with open(os.environ["JOURNAL"], "w", encoding="utf-8") as file:
        file.write(f"{rows[0]} {rows[1]}")


@pytest.mark.skipif(not NEWER, reason="the local runner of kfp 2.13 knows neither dsl.If nor exit handlers")
@pytest.mark.parametrize("rule", ["", "dep_delay < 60"], ids=["blessed", "not-blessed"])
def test_the_components_themselves_take_the_branch_of_their_verdict(few_flights, tmp_path, monkeypatch, rule):
    from kfp import components, local

    from headwater.pipelines.cluster.building import compile_project

    trainer = tmp_path / "trainer.yaml"
    compiler.Compiler().compile(count, str(trainer))
    # On a cluster it is the run's id.
    monkeypatch.setenv("HEADWATER_RUN", str(uuid.uuid4()))
    monkeypatch.setenv("JOURNAL", str(tmp_path / "journal"))
    project = {
        "name": "flights",
        "sources": [str(few_flights)],
        "collect": {"span": 1, "key": ["carrier", "flight", "time_hour"]},
        "platform": {"data_root": str(tmp_path / "home"), "workers": 2, "trainer": str(trainer)},
    }
    if rule:
        project["validate"] = {"rows": {"rules": [{"name": "prompt", "row": rule, "severity": "error"}]}}
    pipeline = yaml.safe_dump(next(iter(yaml.safe_load_all(compile_project(project)))), sort_keys=False)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=False)
    components.load_component_from_text(pipeline)()

    # A task that fails leaves none.
    done = {each.parent.name for each in (tmp_path / "root").rglob("executor_output.json")}
    verdict = results.load(f"{tmp_path}/home/flights/span=1/version=1/anomalies", "anomalies").body
    assert verdict["blessed"] is not bool(rule)
    line = {"collect", "label", "generate-statistics", "infer-schema", "validate", "report"}
    if rule:
        # What is wrong was measured, and labelled again; then the gate failed.
        assert done == line | {"generate-statistics-2", "label-2"} and not (tmp_path / "journal").exists()
    else:
        assert done == line | {"count"} and (tmp_path / "journal").read_text() == "2000 2000"


def run_stubbed(folder: pathlib.Path, trainer: bool, outputs: dict, failing: tuple[str, ...]) -> None:
    from kfp import components, local

    from headwater.pipelines.cluster.building import compile_project

    project = PROJECT
    if trainer:
        compiler.Compiler().compile(train, str(folder / "trainer.yaml"))
        project = {**PROJECT, "platform": {**PROJECT["platform"], "trainer": str(folder / "trainer.yaml")}}
    text = stubbed(compile_project(project), str(folder / "journal"), outputs, failing)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "root"), raise_on_error=False)
    components.load_component_from_text(text)()
