"""The tasks as Kubeflow's executor runs them: inputs as JSON, numbers as floats, results as artifacts with metadata."""

import json
import pathlib
import shutil
from typing import Any

import pytest
from kfp.dsl.executor import Executor
from receivers import web

from headwater.components.collect.component import collect
from headwater.components.common import results, runs, storage
from headwater.components.generate_statistics.component import generate_statistics
from headwater.components.infer_schema.component import infer_schema
from headwater.components.label.component import label
from headwater.components.validate.component import gate, report, validate

RUN = "0b5c9f1e-run"


class Tasks:
    """The tasks of one run, each with a folder for its outputs."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.outputs: dict[str, Any] = {}
        self.parameters: dict[str, Any] = {}
        self.number = 0

    def run(self, component: Any, project: dict[str, Any], artifacts: dict[str, str] | None = None, **parameters: Any):
        """Runs a task as KFP's launcher starts it; gives its output parameters, and keeps its output artifacts.

        Args:
          component: a component.
          project: the settings.
          artifacts: by input, the name of an output of an earlier task.
          **parameters: the others.
        """
        self.number += 1
        folder = self.folder / f"{self.number}-{component.name}"
        spec = component.component_spec
        given = {**parameters, "project": project}
        made = {
            name: {"artifacts": [{"name": name, "type": _type(each.type), "uri": str(folder / name), "metadata": {}}]}
            for name, each in (spec.outputs or {}).items()
            if "@" in str(each.type)
        }
        output_file = folder / "executor_output.json"
        task = {
            "inputs": {
                # Kubeflow keeps numbers as floats.
                "parameterValues": _as_floats({name: value for name, value in given.items() if name in spec.inputs}),
                "artifacts": {
                    name: {"artifacts": [self.outputs[source]]} for name, source in (artifacts or {}).items()
                },
            },
            "outputs": {
                "artifacts": made,
                "parameters": {
                    name: {"outputFile": str(folder / f"{name}.txt")}
                    for name, each in (spec.outputs or {}).items()
                    if "@" not in str(each.type)
                },
                "outputFile": str(output_file),
            },
        }
        Executor(json.loads(json.dumps(task)), component).execute()
        done = json.loads(output_file.read_text()) if output_file.exists() else {}
        for name, value in done.get("artifacts", {}).items():
            self.outputs[name] = value["artifacts"][0]
        self.parameters.update(done.get("parameterValues", {}))
        return done.get("parameterValues", {})

    def report(self, project: dict[str, Any], state: str = "FAILED") -> None:
        """Runs the last task, which Kubeflow tells how the others ended."""
        self.run(report, project, status={"state": state, "error": {"code": 9, "message": "<main>: Error"}})

    def pages(self) -> str:
        return pathlib.Path(self.outputs["page"]["uri"]).read_text()


def _type(text: str) -> dict[str, str]:
    title, _, version = text.partition("@")
    return {"schemaTitle": title, "schemaVersion": version}


def _as_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_floats(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_as_floats(part) for part in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.fixture
def project(tmp_path, monkeypatch) -> dict[str, Any]:
    monkeypatch.setenv(runs.RUN, RUN)
    lines = ["id,amount,kind", *(f"{n},{n % 17},{'ab'[n % 2]}" for n in range(300))]
    (tmp_path / "orders.csv").write_text("\n".join(lines) + "\n")
    return {
        "name": "orders",
        "sources": [str(tmp_path / "orders.csv")],
        "collect": {"span": 3, "splits": "train=1"},
        "validate": {"rows": {"rules": [{"name": "small", "row": "amount < 16", "severity": "error"}]}},
        "alerts": [{"to": "webhook", "url_env": "HOOK"}],
        "platform": {"data_root": str(tmp_path / "home"), "workers": 1},
    }


def to_statistics(tasks: Tasks, project: dict[str, Any]) -> None:
    tasks.run(collect, project)
    tasks.run(label, project, {"dataset": "dataset"})
    tasks.run(generate_statistics, project, {"dataset": "labels"}, dataset_uri=tasks.parameters["uri"])


def to_verdict(tasks: Tasks, project: dict[str, Any]) -> None:
    to_statistics(tasks, project)
    tasks.run(infer_schema, project, {"statistics": "statistics"})
    tasks.run(validate, project, {"statistics": "statistics", "schema": "schema"})


def test_a_run_ends_with_its_verdict_in_every_artifact_and_in_the_report(tmp_path, project, monkeypatch, capsys):
    with web() as posts:
        monkeypatch.setenv("HOOK", posts.url)
        tasks = Tasks(tmp_path / "root")
        to_verdict(tasks, project)
        assert tasks.parameters["blessed"] is False and tasks.parameters["quarantined"] > 10
        with pytest.raises(SystemExit) as stopped:
            tasks.run(gate, project, {"anomalies": "anomalies"})
        assert "error: Rejected: 1 error" in str(stopped.value) and "small" in str(stopped.value)
        sent = len(posts)
        capsys.readouterr()
        tasks.report(project)
    assert sent == len(posts) == 1, "the verdict called the alerts already"
    told = {name: artifact["metadata"] for name, artifact in tasks.outputs.items() if name != "metrics"}
    for name, metadata in told.items():
        assert metadata["kind"].startswith("headwater.") and metadata["uri"] and metadata["verdict"], name
    assert told["dataset"]["verdict"] == told["labels"]["verdict"] == "Accepted" and told["dataset"]["read"] == 300
    assert told["statistics"]["verdict"] == "Measured: 300 rows in 1 splits"
    assert told["schema"]["verdict"] == "Inferred, not accepted yet"
    assert told["quarantine"]["rows"] == tasks.parameters["quarantined"]
    assert told["anomalies"]["verdict"] == told["page"]["verdict"] == capsys.readouterr().out.strip()
    assert told["page"]["uri"].endswith("/orders/span=3/version=1/reports/index.html")
    assert "orders, span 3" in tasks.pages()
    # What is made of quarantined rows is for those who look into them: it is no result of the span.
    tasks.run(generate_statistics, project, {"dataset": "quarantine"})
    tasks.run(label, project, {"dataset": "quarantine"})
    assert "/root/" in tasks.outputs["statistics"]["metadata"]["uri"]
    left = runs.recorded(project["platform"]["data_root"], "orders", RUN)
    assert list(left) == ["dataset", "statistics", "schema", "quarantine", "anomalies"]
    verdict = left["anomalies"]
    assert not runs.lets_pass(verdict, "error") and runs.lets_pass(verdict, "none")


def test_a_run_that_died_has_a_report_and_calls_the_alerts_once(tmp_path, project, monkeypatch):
    with web() as posts:
        monkeypatch.setenv("HOOK", posts.url)
        tasks = Tasks(tmp_path / "root")
        tasks.run(collect, project)
        for _ in range(2):
            tasks.report(project)
    [(_, _, body)] = posts
    event = json.loads(body)
    assert event["dataset"] == "orders" and event["span"] == 3 and event["blessed"] is False
    assert event["verdict"] == "Failed: generate-statistics ended without a result, so there is no verdict"
    assert event["findings"][0]["kind"] == "RUN_FAILED"
    page = tasks.pages()
    assert "generate-statistics ended without a result" in page and "<strong>collect</strong>" in page
    folder = runs.folder(project["platform"]["data_root"], "orders", RUN)
    assert storage.read_bytes(f"{folder}/index.html").decode() == page


def test_a_task_that_failed_after_the_verdict_is_no_pass(tmp_path, project, monkeypatch):
    settings = {**project, "validate": {}}
    with web() as posts:
        monkeypatch.setenv("HOOK", posts.url)
        tasks = Tasks(tmp_path / "root")
        to_verdict(tasks, settings)
        tasks.report(settings, "SUCCEEDED")
        assert tasks.outputs["page"]["metadata"]["verdict"].startswith("Passed") and not posts
        tasks.report(settings)
    assert "Failed: a task after validate failed; the verdict was: Passed" in tasks.pages()
    assert "Kubeflow says: &lt;main&gt;: Error" in tasks.pages() and len(posts) == 1


def test_data_that_was_refused_is_told_as_such(tmp_path, project):
    settings = {**project, "collect": {**project["collect"], "types": {"kind": "int64"}}, "alerts": []}
    tasks = Tasks(tmp_path / "root")
    tasks.run(collect, settings)
    assert tasks.outputs["dataset"]["metadata"]["verdict"].startswith("Refused: ")
    tasks.report(settings)
    assert "✗ Refused: " in tasks.pages()


def test_a_report_before_anything_names_the_first_task(tmp_path, project, monkeypatch):
    tasks = Tasks(tmp_path / "root")
    tasks.report({**project, "alerts": []})
    assert "Failed: collect ended without a result" in tasks.pages()
    monkeypatch.delenv(runs.RUN)
    with pytest.raises(SystemExit, match="HEADWATER_RUN is not set"):
        tasks.report(project)


def test_a_cached_result_whose_files_are_gone_says_so(tmp_path, project):
    settings = {**project, "alerts": []}
    tasks = Tasks(tmp_path / "root")
    to_statistics(tasks, settings)
    shutil.rmtree(tmp_path / "home/orders/span=3/version=1/statistics/Split-train")
    with pytest.raises(SystemExit, match="this statistics was removed or moved: run again with caching off"):
        tasks.run(infer_schema, settings, {"statistics": "statistics"})
    shutil.rmtree(tmp_path / "home/orders/span=3/version=1/data/split=train")
    with pytest.raises(SystemExit, match="this dataset was removed or moved: run again with caching off"):
        tasks.run(generate_statistics, {**settings, "statistics": {"slices": [["kind"]]}}, {"dataset": "labels"})


def test_statistics_of_another_dataset_than_their_cache_key_says_are_refused(tmp_path, project):
    tasks = Tasks(tmp_path / "root")
    tasks.run(collect, project)
    uri = tasks.parameters["uri"].replace("span=3", "span=2")
    with pytest.raises(
        SystemExit, match="dataset_uri: .*span=2.* is not the dataset that was given, which is .*span=3"
    ):
        tasks.run(generate_statistics, project, {"dataset": "dataset"}, dataset_uri=uri)


def test_label_without_steps_takes_over_what_its_own_earlier_attempt_left(tmp_path, project):
    from headwater.components.label import pass_on

    for home in ("", str(tmp_path / "home")):
        settings = {**project, "platform": {"workers": 1, "data_root": home}}
        tasks = Tasks(tmp_path / f"root{len(home)}")
        tasks.run(collect, settings)
        source, target = tasks.outputs["dataset"]["uri"], str(tmp_path / f"target{len(home)}")
        first, second = pass_on(source, target), pass_on(source, target)
        assert first.sha256 == second.sha256 == results.load(source, "dataset").sha256
