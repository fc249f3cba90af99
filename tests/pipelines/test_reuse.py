"""Other teams' pipelines load our YAML, on data that we did not make."""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kfp import components, dsl, local

from headwater.components.common import results

ROOT = pathlib.Path(__file__).resolve().parents[2] / "components"


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def prepare(parquet: dsl.Output[dsl.Dataset]):
    """Somebody else's component: plain Parquet files in a folder, nothing of ours."""
    import os

    import pyarrow as pa
    import pyarrow.parquet as pq

    os.makedirs(parquet.path)
    for part in range(2):
        table = pa.table({"amount": [float(part), 2.5, None], "kind": ["a", "b", "a"]})
        pq.write_table(table, f"{parquet.path}/part-{part}.parquet")


def load(name: str):
    return components.load_component_from_file(str(ROOT / name))


@pytest.fixture
def pipeline_root(tmp_path):
    root = tmp_path / "root"
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    return root


@pytest.mark.slow
def test_each_yaml_runs_in_a_pipeline_that_someone_else_wrote(pipeline_root, capfd):
    generate_statistics = load("generate_statistics/component.yaml")
    infer_schema = load("infer_schema/component.yaml")
    validate = load("validate/component.yaml")
    gate = load("validate/gate.yaml")

    @dsl.pipeline(name="theirs")
    def theirs() -> bool:
        data = prepare()
        measured = generate_statistics(dataset=data.outputs["parquet"], project={"platform": {"workers": 1}})
        described = infer_schema(statistics=measured.outputs["statistics"])
        validated = validate(statistics=measured.outputs["statistics"], schema=described.outputs["schema"])
        gate(anomalies=validated.outputs["anomalies"])
        return validated.outputs["blessed"]

    assert theirs().output is True
    [folder] = pipeline_root.glob("*/generate-statistics/statistics")
    statistics = results.load(str(folder), "statistics")
    assert statistics.body["splits"]["all"]["rows"] == 6
    assert statistics.home is None
    for page in ("generate-statistics/page", "validate/page"):
        [path] = pipeline_root.glob(f"*/{page}")
        assert path.read_text().startswith("<!doctype html>")


def test_collect_alone_by_yaml(pipeline_root, tmp_path):
    pq.write_table(pa.table({"x": list(range(100))}), tmp_path / "x.parquet")
    collect = load("collect/component.yaml")

    settings = {"collect": {"splits": "fit=1"}, "platform": {"workers": 1}}

    @dsl.pipeline(name="theirs-too")
    def theirs_too(path: str) -> bool:
        return collect(sources=[path], project=settings).outputs["accepted"]

    assert theirs_too(path=str(tmp_path / "x.parquet")).output is True
    [folder] = pipeline_root.glob("*/collect/dataset")
    assert results.load(str(folder), "dataset").body["splits"]["fit"]["rows"] == 100
