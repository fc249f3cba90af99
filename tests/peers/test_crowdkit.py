"""Beside crowd-kit, which runs in an environment of its own: aggregation and agreement on the same votes."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
from raters import generate

from headwater.components.label.human import agreement
from headwater.components.label.human.aggregation import Kinds, dawid_skene, majority

HERE = pathlib.Path(__file__).parent
PYTHON = pathlib.Path.home() / ".cache/headwater-peers/crowd-kit/bin/python"


@pytest.fixture(scope="module", params=[(4_000, 40, 5, 4), (500, 20, 3, 3)], ids=str)
def both(request, tmp_path_factory):
    """Truth, votes, and what crowd-kit makes of them."""
    if not PYTHON.exists():
        pytest.skip("crowd-kit is not installed in its environment; `make test-peers` does that")
    truth, votes, *_ = generate(*request.param, 3)
    path = tmp_path_factory.mktemp("votes") / "votes.npz"
    np.savez(path, task=votes.item, worker=votes.rater, label=votes.answer)
    command = [str(PYTHON), "-W", "ignore", str(HERE / "crowdkit_side.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = {name: np.load(f"{path}.{name}.npy") for name in ("dawid_skene", "majority")}
    return truth, votes, theirs, json.loads(done.stdout)


def kinds(votes) -> Kinds:
    return Kinds(np.zeros(votes.raters, np.int64), [0.8])


def loss(posterior, truth) -> float:
    return float(-np.log(np.maximum(posterior[np.arange(len(truth)), truth], 1e-12)).mean())


def test_alpha_is_theirs(both):
    _, votes, _, told = both
    assert agreement.alpha(agreement.patterns_of(votes)) == pytest.approx(told["alpha"], abs=1e-9)


def test_the_published_model_is_theirs(both):
    _, votes, theirs, _ = both
    ours = dawid_skene(votes, kinds(votes), shrunk=False).predict(votes)
    assert (ours.argmax(1) == theirs["dawid_skene"].argmax(1)).mean() > 0.99


def test_the_shrunk_model_is_no_worse(both):
    truth, votes, theirs, _ = both
    ours = dawid_skene(votes, kinds(votes)).predict(votes)
    right = (theirs["dawid_skene"].argmax(1) == truth).mean()
    error = np.sqrt(right * (1 - right) / len(truth))
    assert (ours.argmax(1) == truth).mean() >= right - 2 * error
    assert loss(ours, truth) <= loss(theirs["dawid_skene"], truth)


def test_the_majority_is_theirs_but_for_ties(both):
    _, votes, theirs, _ = both
    ours = majority(votes, kinds(votes)).predict(votes)
    most = np.sort(theirs["majority"], axis=1)
    clear = most[:, -1] > most[:, -2]
    assert np.array_equal(ours.argmax(1)[clear], theirs["majority"].argmax(1)[clear])
