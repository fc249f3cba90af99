"""The branches of the pipelines for a cluster, taken and not taken, by the local runner of kfp 2.14 and later."""

import pathlib

import kfp
import pytest
from kfp import compiler, dsl
from stubs import stubbed

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
