"""Beside scikit-activeml, which runs in an environment of its own: the same rows, the same rounds, no worse."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import numpy as np
import pytest
import rounds

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "bench"))
_SPEC = importlib.util.spec_from_file_location("bench_asking", HERE.parent / "bench/asking.py")
bench = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(bench)


@pytest.mark.parametrize("name", ["digits", "clusters"])
@pytest.mark.parametrize("strategy", ["margin", "committee", "clusters"])
def test_a_strategy_is_no_worse_than_its_peer(name, strategy):
    # Strategies differ most in the first rounds: more tell less for each second.
    seeds, last = range(3), 100
    ours = np.array([np.mean(rounds.curve(name, seed, strategy, last=last)) for seed in seeds])
    apart = ours - bench.peer(name, bench.PAIRS[strategy], seeds, last)
    assert apart.mean() >= -apart.std(ddof=1) / np.sqrt(len(apart))
