"""The main pipeline from the command line, as its users run it: two spans, the second one spoilt."""

from __future__ import annotations

import json
import pathlib
import random
import re
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from headwater.components.common import results
from headwater.components.common.dataset import rejected
from headwater.components.common.errors import HeadwaterError
from headwater.pipelines.local import run_locally


def headwater(*arguments: object, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "headwater.pipelines.cli", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


def orders(path: pathlib.Path, *, seed: int, spoilt: bool = False) -> pathlib.Path:
    """2,000 orders; spoilt ones have a type changed, a new category, a missing column, a shifted number, a bad row."""
    chance = random.Random(seed)
    shift = 3.0 if spoilt else 0.0
    lines = ["id,amount,kind,quantity" + ("" if spoilt else ",country")]
    for number in range(2000):
        kind = "gift" if spoilt and number % 10 == 0 else chance.choice(["book", "film", "game"])
        quantity = f"{chance.randint(1, 5)}" if not spoilt else f"{chance.randint(1, 5)} pcs"
        country = "" if spoilt else f",{chance.choice(['at', 'de', 'ch'])}"
        lines.append(f"{seed * 10_000 + number},{chance.gauss(10 + shift, 1):.3f},{kind},{quantity}{country}")
    if spoilt:
        lines.append("1,2")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """Both runs, in one folder; what the first one inferred is accepted before the second."""
    cwd = tmp_path_factory.mktemp("user")
    first = headwater("run", orders(cwd / "monday.csv", seed=1), cwd=cwd)
    accepted = headwater("accept", "--reason", "looked at it", "--who", "Ada", cwd=cwd)
    assert accepted.returncode == 0, accepted.stderr
    second = headwater("run", orders(cwd / "tuesday.csv", seed=2, spoilt=True), cwd=cwd)
    return cwd, first, second


def test_the_first_run_has_no_baseline_and_passes(two_runs):
    _, first, _ = two_runs
    assert first.returncode == 0, first.stdout + first.stderr
    assert "collected   2,000 rows from monday.csv as data, span 1: train" in first.stdout
    assert "nothing to compare with yet" in first.stdout
    assert "rejected    none" in first.stdout
    assert "gate        passed" in first.stdout
    assert ".headwater/data/span=1/version=1/reports/statistics.html" in first.stdout


def test_the_second_run_finds_all_that_was_planted_and_exits_1(two_runs):
    cwd, _, second = two_runs
    assert second.returncode == 1, second.stdout + second.stderr
    assert "rejected    1 rows: 1 × ragged_row" in second.stdout
    anomalies = results.load(str(cwd / ".headwater/data/span=2/version=1/anomalies"), "anomalies")
    assert not anomalies.body["blessed"]
    assert anomalies.body["baseline"]["uri"] == str(cwd / ".headwater/data/span=1/version=1/statistics")
    found = {(finding["feature"], finding["kind"]) for finding in anomalies.body["findings"]}
    features = {feature for feature, _ in found}
    assert {"quantity", "kind", "country", "amount"} <= features
    for feature in ("quantity", "kind", "country", "amount"):
        assert feature in second.stdout


@pytest.mark.slow
def test_evidence_outlives_the_outputs_of_the_failed_task(two_runs, tmp_path):
    """On Kubeflow a failed task publishes nothing: everything that gate would have had is deleted here."""
    cwd, _, _ = two_runs
    root = tmp_path / "root"
    from kfp import local

    from headwater.pipelines.main import headwater_pipeline

    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
    platform = {"data_root": str(tmp_path / "home"), "workers": 1}
    headwater_pipeline(project={"sources": [str(cwd / "monday.csv")], "platform": platform})
    accepted = headwater("accept", "--name", "data", "--data-root", platform["data_root"], "--reason", "known", cwd=cwd)
    assert accepted.returncode == 0, accepted.stderr
    with pytest.raises(RuntimeError, match="gate"):
        headwater_pipeline(project={"sources": [str(cwd / "tuesday.csv")], "platform": platform})
    for folder in root.glob("*/gate"):
        shutil.rmtree(folder)
    [anomalies] = [
        path for path in root.glob("*/validate/anomalies") if not results.load(str(path), "anomalies").body["blessed"]
    ]
    assert results.load(str(anomalies), "anomalies").read("Split-train/SchemaDiff.pb")
    assert "quantity" in (anomalies.parent / "page").read_text()
    [dataset] = [
        path for path in root.glob("*/collect/dataset") if results.load(str(path), "dataset").body["span"] == 2
    ]
    assert rejected(results.load(str(dataset), "dataset")).num_rows == 1


@pytest.mark.slow
def test_what_is_accepted_passes_when_the_run_is_repeated_and_on_the_days_after(two_runs, tmp_path):
    cwd, first, second = two_runs
    assert "inferred from this data, not accepted yet" in first.stdout
    [told] = [line for line in second.stdout.splitlines() if line.startswith("to accept")]
    assert told.split(maxsplit=2)[2] == 'headwater accept --name data --span 2 --reason "…"'
    shutil.copytree(cwd, tmp_path / "copy")
    cwd = tmp_path / "copy"
    root = cwd / ".headwater"
    # The results name where they lie, so that the copy is worked on as a data root of its own.
    for path in root.rglob("*.json"):
        path.write_text(path.read_text().replace(str(two_runs[0]), str(cwd)))
    accepted = headwater("accept", "--name", "data", "--span", "2", "--reason", "the new shop", "--who", "Ada", cwd=cwd)
    assert accepted.returncode == 0 and " kind: values widened, with 'gift'" in accepted.stdout
    again = headwater("run", "tuesday.csv", cwd=cwd)
    assert again.returncode == 0, again.stdout
    assert "The schema was accepted by Ada on" in again.stdout and "to accept" not in again.stdout
    third = headwater("run", orders(cwd / "wednesday.csv", seed=3, spoilt=True), cwd=cwd)
    assert third.returncode == 0, third.stdout
    assert "error" not in third.stdout.partition("validation")[2].partition("gate")[0]


def test_fail_on_sets_from_where(two_runs):
    cwd, _, _ = two_runs
    anomalies = cwd / ".headwater/data/span=2/version=1/anomalies"
    exits = {level: headwater("gate", anomalies, "--fail-on", level, cwd=cwd) for level in ("error", "warning", "none")}
    assert {level: run.returncode for level, run in exits.items()} == {"error": 1, "warning": 1, "none": 0}
    assert "quantity" in exits["error"].stderr


@pytest.mark.slow
def test_the_same_data_again_adopts_everything(two_runs):
    cwd, _, _ = two_runs
    before = sorted(path for path in (cwd / ".headwater").rglob("*") if path.is_file())
    again = headwater("run", "tuesday.csv", cwd=cwd)
    assert again.returncode == 1, again.stderr
    assert "this content was collected before" in again.stderr
    assert sorted(path for path in (cwd / ".headwater").rglob("*") if path.is_file()) == before


@pytest.mark.slow
def test_too_many_rejected_rows_stop_the_run_and_say_why(tmp_path):
    (tmp_path / "bad.csv").write_text("a,b\n" + "1,2\n" * 50 + "1\n" * 10)
    run = headwater("run", "bad.csv", cwd=tmp_path)
    assert run.returncode == 1
    assert "refused     10 of 60 records (16.7 %) were rejected" in run.stdout
    assert "10 × ragged_row" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: there is no such file or folder"),
        (["ok.csv", "--splits", "train"], "splits: 'train' should be NAME=WEIGHT"),
        (["ok.csv", "--baseline", "latest", "--name", "new"], "'latest' does not exist: there is no such statistics"),
        (["ok.csv", "--base-schema", "span:3"], "'span:3' does not exist: there is no such schema"),
        pytest.param(
            ["ok.csv", "--base-schema", "nowhere.pbtxt"],
            "there is neither a schema file nor a folder with schema.pbtxt here",
            marks=pytest.mark.slow,
        ),
        (["ok.csv", "--project", "bad.json"], "bad.json, line 1: schema.features.a.colour: there is no such setting"),
        pytest.param(
            ["ok.csv", "--beam=--runner=DaskRunner"], "DaskRunner loses data silently", marks=pytest.mark.slow
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exits_2(tmp_path, arguments, message):
    (tmp_path / "ok.csv").write_text("a,b\n" + "1,2\n" * 20)
    (tmp_path / "bad.json").write_text('{"schema": {"features": {"a": {"colour": 1}}}}')
    run = headwater("run", *arguments, cwd=tmp_path)
    assert run.returncode == 2
    [line] = run.stderr.strip().splitlines()
    assert line.startswith("error: ") and message in line
    assert "Traceback" not in run.stdout + run.stderr


@pytest.mark.slow
def test_a_file_of_one_row_names_the_empty_split_and_the_way_out(tmp_path):
    (tmp_path / "one.csv").write_text("id,amount\n1,2.5\n")
    done = headwater("run", "one.csv", "--splits", "train=0.001,eval=0.999", cwd=tmp_path)
    assert done.returncode == 2
    assert "--splits all=1" in done.stderr
    assert not re.search(r"/tmp|headwater-|Traceback", done.stderr)
    whole = headwater("run", "one.csv", "--splits", "all=1", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr


@pytest.mark.slow
def test_each_component_alone_on_the_command_line(tmp_path):
    orders(tmp_path / "monday.csv", seed=1)
    steps = [
        ("collect", "monday.csv", "--output", "data"),
        ("generate-statistics", "data", "--output", "statistics"),
        ("infer-schema", "statistics", "--output", "schema"),
        ("validate", "statistics", "schema", "--output", "anomalies"),
        ("gate", "anomalies"),
    ]
    for step in steps:
        run = headwater(*step, cwd=tmp_path)
        assert run.returncode == 0, (step, run.stderr)
    assert (tmp_path / "schema/schema.pbtxt").exists()
    assert "nothing to compare with yet" in run.stdout


def test_containers_without_docker_are_one_error(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/away.sock")
    project = {"sources": [str(tmp_path / "orders.csv")], "platform": {"data_root": str(tmp_path)}}
    with pytest.raises(
        HeadwaterError, match="no Docker daemon answers|kfp needs the package docker: pip install docker"
    ):
        run_locally(project, docker=True)


@pytest.mark.parametrize("command", ["run", "collect", "generate-statistics", "infer-schema", "validate", "gate"])
def test_help_reads_well(command, tmp_path):
    run = headwater(command, "--help", cwd=tmp_path)
    assert run.returncode == 0 and run.stdout.startswith(f"usage: headwater {command}")


@pytest.mark.slow
def test_a_path_that_kfp_would_rewrite_is_kept(tmp_path):
    """kfp's local runner replaces the text "python3" wherever it stands in a task's arguments."""
    source = tmp_path / "python3.11" / "monday.csv"
    source.parent.mkdir()
    orders(source, seed=1)
    outcome = run_locally(
        {"sources": [str(source)], "platform": {"data_root": str(tmp_path / "python3" / "root"), "workers": 1}}
    )
    assert outcome.passed
    assert outcome.results["dataset"].body["lineage"]["sources"][0]["uri"] == str(source)


@pytest.mark.slow
def test_rows_are_labelled_on_the_way(tmp_path):
    functions = [
        {"name": "dear", "threshold": {"column": "amount", "above": 10.5, "vote": "high"}},
        {"name": "cheap", "threshold": {"column": "amount", "below": 9.5, "vote": "low"}},
        {"name": "many", "sql": "CASE WHEN quantity >= 4 THEN 'high' WHEN quantity <= 2 THEN 'low' END"},
        {"name": "kind", "lookup": {"column": "kind", "values": {"book": "low", "game": "high"}}},
    ]
    steps = [{"method": "weak_supervision", "classes": ["low", "high"], "label": "value", "functions": functions}]
    file = tmp_path / "headwater.yaml"
    source = orders(tmp_path / "monday.csv", seed=1)
    (tmp_path / "checked.csv").write_text("id,value\n10001,low\n10002,high\n")
    given = [{**steps[0], "gold": "value", "gold_input": "checked"}]
    inputs = {"checked": "checked.csv"}
    file.write_text(json.dumps({"collect": {"key": ["id"]}, "label": {"steps": given, "inputs": inputs}}))
    run = ("run", source)
    done = headwater(*run, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "settings of headwater.yaml" in done.stderr
    assert re.search(r"^labelled    [\d,]+ of 2,000 rows: low [\d,]+, high [\d,]+$", done.stdout, re.MULTILINE)
    version = tmp_path / ".headwater/data/span=1/version=1"
    assert f"{version.relative_to(tmp_path)}/reports/labels.html" in done.stdout
    schema = (version / "schema/schema.pbtxt").read_text()
    assert 'name: "value"' in schema and 'name: "value_probability"' in schema
    verdict = results.load(str(version / "anomalies"), "anomalies")
    assert verdict.manifest["settings"]["dataset"] == str(version / "labels")
    labels = results.load(str(version / "labels"), "labels")
    assert labels.body["steps"][0]["gold"]["rows"] == 2
    wrong = headwater(*run, "--type", "amount=string", cwd=tmp_path)
    assert wrong.returncode == 2 and "column 'amount' must hold numbers, but it is string" in wrong.stderr
    file.write_text(json.dumps({"label": {"steps": [{**steps[0], "classes": ["low"]}]}}))
    early = headwater(*run, cwd=tmp_path)
    assert early.returncode == 2 and "collect" not in early.stdout
    assert early.stderr.startswith("error: headwater.yaml, line 1: label.steps.0.classes: ")


@pytest.mark.slow
def test_rows_that_break_rules_are_put_aside_under_the_data_root(tmp_path):
    orders(tmp_path / "monday.csv", seed=1)
    rules = [{"name": "few", "row": "quantity < 5", "tolerance": 1}]
    (tmp_path / "headwater.yaml").write_text(json.dumps({"validate": {"rows": {"rules": rules}}}))
    done = headwater("run", "monday.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    version = tmp_path / ".headwater/data/span=1/version=1"
    rows = {role: pq.read_table(version / role) for role in ("passed", "quarantine")}
    assert sum(table.num_rows for table in rows.values()) == 2000
    assert set(rows["quarantine"]["quantity"].to_pylist()) == {5}
    for role, table in rows.items():
        assert re.search(
            rf"^{role:11} {table.num_rows:,} rows: .headwater/data/span=1/version=1/{role}$", done.stdout, re.MULTILINE
        )
    assert f"open_dataset(&#34;{version}/passed" in (version / "reports/index.html").read_text()
    again = json.loads(headwater("run", "monday.csv", "--json", "--quiet", cwd=tmp_path).stdout)
    assert list(again["results"]) == ["dataset", "statistics", "schema", "passed", "quarantine", "anomalies"]
    assert again["results"]["passed"] == {"uri": str(version / "passed"), "page": None}
