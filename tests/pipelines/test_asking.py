"""Active learning by the commands: `ask`, and what `label` asks when the project says so."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from headwater.pipelines.cli import DONE, FAILED, main

PROJECT = """
name: spots
collect: {key: [id]}
label:
  steps:
  - method: weak_supervision
    classes: [low, high]
    model: majority
    functions:
    - {name: left, sql: "CASE WHEN x < -1 THEN 'low' WHEN x > 1 THEN 'high' END"}
  ask: {rows: 10, budget: 25, strategy: margin, learn_from: [weak_supervision], tasks: {format: csv}}
platform: {workers: 1, data_root: root}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ask")
    chance = np.random.default_rng(0)
    rows = [f"{n},{x:.3f},{y:.3f}" for n, (x, y) in enumerate(chance.normal(size=(200, 2)) * 2)]
    (folder / "spots.csv").write_text("\n".join(["id,x,y", *rows]) + "\n")
    (folder / "headwater.yaml").write_text(PROJECT)
    return folder


@pytest.fixture(autouse=True)
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def data(folder):
    import os

    before = os.getcwd()
    os.chdir(folder)
    try:
        assert main(["collect", "spots.csv", "--output", "data", "--quiet"]) == DONE
    finally:
        os.chdir(before)
    return "data"


def test_ask_says_what_it_asks_and_as_json(capsys, data):
    command = ["ask", data, "--strategy", "clusters", "--rows", "6", "--state", "loop", "--where", "x > 0"]
    assert main([*command, "--output", "tasks"]) == DONE
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "asked       round 1: 6 rows (clusters 6)"
    assert any(line.startswith("budget      6 of 25 answers") for line in out)
    assert out[-1] == "tasks       tasks/tasks.csv" or "tasks/" in out[-1]
    assert main([*command, "--output", "again", "--json"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == "ask" and found["exit_code"] == DONE
    assert found["asked"]["rows"] == 6 and found["asked"]["round"] == 1
    assert json.loads(pathlib.Path("again/ask.json").read_text()) == found["asked"]


def test_label_asks_when_the_project_says_so(capsys, data):
    """The rows of which the functions' model is unsure, in a round for each run with other labels, until the budget ends."""
    found = []
    for number, limit in enumerate((-1, -1, -1.2, -1.4, -1.6)):
        own = pathlib.Path(f"p{number}.yaml")
        own.write_text(PROJECT.replace("x < -1", f"x < {limit}"))
        assert main(["label", data, "--output", f"labels{number}", "--project", str(own)]) == DONE
        found.append(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("asked")))
    place = "root/spots/_asking/label/round-00000"
    assert found[0].startswith("asked       10 rows: ") and found[0].endswith(f"{place}1") and found[1] == found[0]
    assert found[2].endswith(f"{place}2") and found[3].startswith("asked       5 rows: ")
    assert "0 rows: the budget is used up: 25 of 25 answers" in found[4]
    batches = [pq.read_table(f"{place}{number}/batch.parquet") for number in (1, 2, 3)]
    ids = [each for batch in batches for each in batch["id"].to_pylist()]
    assert len(ids) == 25 == len({*ids})
    xs = {int(line.split(",")[0]): float(line.split(",")[1]) for line in open("spots.csv").readlines()[1:]}
    # Functions vote beyond 1 on either side, so that doubt is in between.
    asked = [abs(xs[each]) for each in batches[0]["id"].to_pylist()]
    assert np.mean(asked) < 0.8 * np.mean([abs(x) for x in xs.values()])


def test_flags_stand_for_settings(capsys, data):
    for flags, message in (
        (["--budget", "0"], "label.ask.budget: nobody can be asked anything for a budget of 0"),
        (["--estimator", "sklearn.linear_model:RidgeClassifier"], "RidgeClassifier without probabilities"),
        (["--classes", "one"], "label.ask.classes: there must be at least two classes"),
        (["--answers", "said"], "label.ask.answers: there is no column 'said'"),
        (["--answers", "said", "--answers-input", "people"], "label.ask.answers_input: there is no input 'people'"),
    ):
        assert main(["ask", data, "--output", "none", *flags]) == FAILED
        assert message in capsys.readouterr().err, flags
    assert main(["ask", data, "--output", "none", "--project", "none"]) == FAILED
    assert "label.ask: the project has no such section" in capsys.readouterr().err
