"""Beside Snorkel, which runs in an environment of its own: the same functions, the same analysis, a model no worse."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from votes import generate

from headwater.components.label import label_dataset
from headwater.components.label.weak import fitting, model, tally
from headwater.components.label.weak.functions import Function, vote

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path.home() / ".cache"
LIGHT = CACHE / "headwater-peers/snorkel/bin/python"
FULL = pathlib.Path(os.environ.get("HEADWATER_SNORKEL") or CACHE / "headwater-bench/snorkel/bin/python")
ROWS = 2_000
FORMS = [
    {"name": "windy", "sql": "CASE WHEN wind > 1 THEN 'late' WHEN wind < 0.5 THEN 'fine' END"},
    {"name": "far", "threshold": {"column": "far", "above": 0.8, "vote": "late"}},
    {"name": "near", "threshold": {"column": "far", "below": 0.2, "vote": "fine"}},
    {"name": "said", "keywords": {"column": "said", "words": ["wind"], "vote": "late"}},
]


@pytest.fixture(scope="module")
def trips(tmp_path_factory):
    chance = np.random.default_rng(7)
    late = chance.random(ROWS) < 0.3
    table = pa.table(
        {
            "wind": chance.normal(size=ROWS) + 2 * late,
            "far": np.where(chance.random(ROWS) < 0.1, np.nan, chance.normal(size=ROWS) + 1.5 * late),
            "said": [
                None if quiet else "held up by wind" if windy else "on time"
                for quiet, windy in zip(chance.random(ROWS) < 0.4, chance.random(ROWS) < np.where(late, 0.6, 0.15))
            ],
            "truth": ["late" if each else "fine" for each in late],
        }
    )
    path = tmp_path_factory.mktemp("trips") / "trips.parquet"
    pq.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def snorkel(trips, tmp_path_factory):
    """What Snorkel made of the trips: votes, ours of its functions, and its summary."""
    folder = tmp_path_factory.mktemp("snorkel")
    # Our code without our environment.
    (folder / "path/headwater").mkdir(parents=True)
    (folder / "path/headwater/components").symlink_to(ROOT / "components")
    run(LIGHT, "-W", "ignore", HERE / "snorkel_side.py", trips, folder, path=f"{folder / 'path'}:{HERE}")
    summary = json.loads((folder / "summary.json").read_text())
    return np.load(folder / "votes.npy"), np.load(folder / "ours.npy"), summary


def run(python, *command, path=""):
    done = subprocess.run(
        [str(python), *map(str, command)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_its_functions_vote_here_as_there(trips, snorkel):
    theirs, ours, _ = snorkel
    assert np.array_equal(theirs, ours) and {-1, 0, 1} == set(ours.ravel().tolist())
    batch = pq.read_table(trips).combine_chunks().to_batches()[0]
    forms, _ = vote("steps.0", [Function(**each) for each in FORMS], ["fine", "late"], batch)
    assert np.array_equal(theirs, forms)


def test_the_report_counts_as_its_analysis_does(trips, snorkel, tmp_path):
    theirs, _, summary = snorkel
    given = [{"method": "weak_supervision", "classes": ["fine", "late"], "functions": FORMS, "gold": "truth"}]
    found = label_dataset(str(trips), str(tmp_path / "labels"), steps=given, workers=1).body["steps"][0]["functions"]
    for each in found:
        own = summary[each["name"]]
        assert [["fine", "late"][number] for number in own["Polarity"]] == sorted(each["votes"])
        for name, theirs_name in (("coverage", "Coverage"), ("overlap", "Overlaps"), ("conflict", "Conflicts")):
            assert each[name] == pytest.approx(own[theirs_name], abs=1e-6), (each["name"], name)
        assert each["gold"]["right"] == own["Correct"]
        assert each["gold"]["rows"] == own["Correct"] + own["Incorrect"]
        assert each["gold"]["accuracy"][0] == pytest.approx(own["Emp. Acc."], abs=1e-6)


def two_classes(rows, seed=3):
    """Votes as Snorkel's model has them: independent, of two classes, each function of one accuracy."""
    chance = np.random.default_rng(seed)
    truth = (chance.random(rows) < 0.5).astype(np.int8)
    right = chance.random((rows, 8)) < np.linspace(0.6, 0.9, 8)
    votes = np.where(right, truth[:, None], 1 - truth[:, None])
    return truth, np.where(chance.random((rows, 8)) < 0.7, votes, -1).astype(np.int8)


@pytest.mark.skipif(not FULL.exists(), reason=f"Snorkel's label model needs torch, 6 GB: `make bench` makes {FULL}")
@pytest.mark.parametrize("kind", ["its own", "A", "B", "C"])
def test_the_model_is_no_worse_than_its(tmp_path, kind):
    classes = 2 if kind == "its own" else 3
    truth, votes = two_classes(20_000) if kind == "its own" else generate(kind, 20_000, 0)[:2]
    np.save(tmp_path / "votes.npy", votes)
    run(
        FULL,
        "-W",
        "ignore",
        HERE.parent / "support/snorkel_model.py",
        tmp_path / "votes.npy",
        tmp_path / "theirs.npy",
        classes,
    )
    theirs = np.load(tmp_path / "theirs.npy")
    hashes = np.random.default_rng(1).integers(0, 2**63, len(votes)).astype(np.uint64)
    counted = tally.tally(votes, np.full(len(votes), -1, np.int8), hashes, classes, 100_000)
    ours = fitting.fit(counted).predict(votes)
    right = [(each.argmax(1) == truth).mean() for each in (ours, theirs)]
    assert right[0] >= right[1] - 0.002
    assert model.log_loss(ours, truth) <= model.log_loss(theirs, truth) + 0.002
    if kind == "its own":
        assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.97
