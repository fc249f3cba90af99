"""Attempts of one step at the same time: one dataset, whole, and nobody overwrites what another run owns.

`HEADWATER_RACES` in the environment sets the number of seeds, 3 by default.
"""

from __future__ import annotations

import json
import os
import random
import time

import pytest
from steps import KINDS, LINES, Steps

from headwater.components.common import results
from headwater.components.common.dataset import open_dataset
from headwater.components.common.maintenance import verify

SEEDS = [
    pytest.param(seed, marks=pytest.mark.slow if seed else [])
    for seed in range(int(os.environ.get("HEADWATER_RACES", "3")))
]
# Long enough for eight processes to be forked before the first one starts.
HEAD_START = 0.25


@pytest.fixture(params=["local", "s3", "gs"])
def place(request, tmp_path_factory):
    if request.param == "local":
        return str(tmp_path_factory.mktemp("races") / "root")
    return f"{request.getfixturevalue(request.param)}/races"


def race(zygote, commands: list[tuple[list[str], str]], chance: random.Random) -> None:
    """Runs command lines, each with its log, that start within a few milliseconds or within a whole run of each other."""
    begin, spread = time.time() + HEAD_START, chance.choice([0.0, 0.02, 0.5])
    zygote.start([{"argv": argv, "log": log, "at": begin + chance.uniform(0, spread)} for argv, log in commands])
    codes = zygote.wait()
    assert codes == [0] * len(commands), "\n".join(open(log).read() for _, log in commands)


@pytest.mark.parametrize("writers", [2, 8])
@pytest.mark.parametrize("seed", SEEDS)
def test_attempts_of_one_step_make_one_result(place, zygote, tmp_path, writers, seed):
    steps = Steps(f"{place}/{writers}-{seed}", tmp_path)
    chance = random.Random(seed)
    # Every third race is of the whole chain, the others are of collect, which writes most.
    for step in KINDS if seed % 3 == 0 else ["collect"]:
        outputs = [tmp_path / f"{step}-{number}" for number in range(writers)]
        race(zygote, [(steps.argv(step, str(output)), f"{output}.log") for output in outputs], chance)
        steps.check_whole(step)
        durable = results.load(steps.place(step), KINDS[step])
        for output in outputs:
            own = results.load(str(output), KINDS[step])
            assert own.sha256 == durable.sha256 and own.uri == durable.folder
        outputs[0].rename(tmp_path / step)
    assert open_dataset(steps.place("collect")).count_rows() == len(LINES) - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_runs_on_other_data_take_other_versions(place, zygote, tmp_path, seed):
    """Four runs on two sources of one span: two versions, each with the rows of one source alone."""
    root = f"{place}/other-{seed}"
    chance = random.Random(seed)
    runs = []
    for number in range(4):
        steps = Steps(root, tmp_path / f"run-{number}")
        steps.folder.mkdir()
        kept = LINES if number % 2 else LINES[:101]
        (steps.folder / "rides.csv").write_text("\n".join(kept) + "\n")
        runs.append(steps)
    # A source's path is part of what a dataset is made from, so equal sources must lie at one place.
    commands = [(runs[number % 2].argv("collect", str(runs[number].folder / "collect")), number) for number in range(4)]
    race(zygote, [(argv, str(tmp_path / f"log-{number}")) for argv, number in commands], chance)
    homes = list(results.committed(root, "rides", "dataset"))[::-1]
    assert [home.version for home in homes] == [1, 2]
    rows = {}
    for home in homes:
        folder = home.folder("dataset")
        assert verify(folder).problems == []
        rows[folder] = open_dataset(folder).count_rows()
    assert sorted(rows.values()) == [100, len(LINES) - 1]
    for number, steps in enumerate(runs):
        own = json.loads((steps.folder / "collect" / results.MANIFEST).read_text())
        expected = len(LINES) - 1 if number % 2 else 100
        assert own["body"]["accounts"]["written"] == expected
        assert rows[results.Home(**own["home"]).folder("dataset")] == expected
