"""validate's alarms on unchanged data, over all pairs of sizes; and how often planted changes are found.

    python tests/bench/false_alarms.py [--simulations 200] [--processes 2] [--only alarms,power]

Both sides of a pair are drawn from one distribution a column: normal, log-normal, t with 2 degrees of freedom, integers,
categories of 3 to 5,000, constant, half missing, zero-inflated.
"""

from __future__ import annotations

import argparse
import multiprocessing.pool
import pathlib
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from benches import Row, main

_COLUMNS = (10, 100)
_POWER = (20, 60, 100, 400, 1_000, 10_000)
SIZES = (5, 10, 20, 40, 60, 80, 100, 128, 200, 400, 1_000, 10_000)
_CATEGORIES = (3, 10, 100, 1_000, 5_000)


def draw(chance: np.random.Generator, rows: int, columns: int) -> pa.RecordBatch:
    """A sample of unchanged data."""
    made = []
    for place in range(columns):
        kind, turn = place % 10, place // 10
        if kind == 0:
            values = pa.array(chance.normal(size=rows))
        elif kind == 1:
            values = pa.array(chance.lognormal(size=rows))
        elif kind == 2:
            values = pa.array(chance.standard_t(2, rows))
        elif kind == 3:
            values = pa.array(chance.poisson(4, rows))
        elif kind == 4:
            values = pa.array(chance.integers(0, 1000, rows))
        elif kind in (5, 6):
            size = _CATEGORIES[(turn * 2 + kind - 5) % len(_CATEGORIES)] if columns > 10 else (3, 5_000)[kind - 5]
            weights = 1.0 / np.arange(1, size + 1) if turn % 2 else np.ones(size)
            values = pa.array(chance.choice(size, rows, p=weights / weights.sum()).astype(str))
        elif kind == 7:
            values = pa.array(np.full(rows, 7))
        elif kind == 8:
            values = pa.array(chance.normal(size=rows), mask=chance.random(rows) < 0.5)
        else:
            values = pa.array(np.where(chance.random(rows) < 0.7, 0.0, chance.exponential(size=rows)))
        made.append(values)
    return pa.RecordBatch.from_arrays(made, [f"x{place}" for place in range(columns)])


def features(batch: pa.RecordBatch) -> dict:
    """Each column's distribution, as generate-statistics leaves it in its state."""
    from headwater.components.common import distributions
    from headwater.components.generate_statistics.measure.measuring import measure
    from headwater.components.generate_statistics.plan.plan import Plan
    from headwater.components.generate_statistics.state.state_file import encode

    return distributions.read(encode(measure(batch, Plan(schema=batch.schema))))


def has_alarm(baseline: dict, current: dict) -> list[str]:
    """The features with an alarm, at the settings' defaults."""
    from headwater.components.validate import drift
    from headwater.components.validate.checks.drift import Drift

    settings = Drift()
    found = drift.compare("all", baseline, current, "the earlier span")
    judged = drift.judge(found, max_p=settings.max_p, min_effect=settings.min_effect)
    return [each.feature for each in judged if each.alarm]


def simulate(task: tuple[int, int, tuple[int, ...]]) -> np.ndarray:
    """Whether each pair of sizes has an alarm, in one simulation: int64[sizes, sizes]."""
    warnings.filterwarnings("ignore")
    seed, columns, sizes = task
    chance = np.random.default_rng([seed, columns])
    sides = [[features(draw(chance, rows, columns)) for rows in sizes] for _ in range(2)]
    return np.array([[bool(has_alarm(one, other)) for other in sides[1]] for one in sides[0]], np.int64)


_PLANTED = (
    "mean by 0.5 sd",
    "mean by 1 sd",
    "mean by 0.1 sd",
    "share 20 % to 40 %",
    "one of 300 doubled",
    "5 % missing",
    "10 % a value that 10,000 rows never had",
)


def planted(task: tuple[int, int]) -> np.ndarray:
    """Which of the planted changes are found in one simulation, each alone among ten columns: int64[changes]."""
    warnings.filterwarnings("ignore")
    seed, rows = task
    chance = np.random.default_rng([seed, rows, 1])
    others = [features(draw(chance, rows, 10)) for _ in range(2)]
    found = []
    for change in _PLANTED:
        if change.startswith("mean"):
            by = float(change.split()[2])
            pair = [chance.normal(size=rows), chance.normal(by, size=rows)]
        elif change.startswith("share"):
            pair = [np.where(chance.random(rows) < share, "a", "b") for share in (0.2, 0.4)]
        elif change.startswith("10 %"):
            pair = [chance.choice(3, 10_000).astype(str), np.where(chance.random(rows) < 0.1, "new", "0")]
            pair[1] = np.where(pair[1] == "0", chance.choice(3, rows).astype(str), pair[1])
        elif change.startswith("one"):
            weights = np.ones(300)
            doubled = np.where(np.arange(300) == 7, 2.0, 1.0)
            pair = [chance.choice(300, rows, p=each / each.sum()).astype(str) for each in (weights, doubled)]
        else:
            pair = [pa.array(chance.normal(size=rows), mask=chance.random(rows) < share) for share in (0.0, 0.05)]
        arrays = [each if isinstance(each, pa.Array) else pa.array(each) for each in pair]
        sides = [features(pa.RecordBatch.from_arrays([each], ["planted"])) for each in arrays]
        found.append("planted" in has_alarm(*({**other, **side} for other, side in zip(others, sides))))
    return np.array(found, np.int64)


def bench_alarms(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Pairs of unchanged data with an alarm, in per cent: a line a number of rows of the baseline."""
    with _pool(options) as pool:
        for columns in _COLUMNS:
            tasks = [(seed, columns, SIZES) for seed in range(options.simulations)]
            shares = 100 * sum(pool.imap_unordered(simulate, tasks)) / options.simulations
            for size, row in zip(SIZES, shares):
                later = "; ".join(f"{share:g} at {rows:,}" for rows, share in zip(SIZES, row))
                yield Row(f"{columns} columns, baseline {size:,} rows: % with an alarm", later)
            mean, most = f"{shares.mean():.2f}", f"{shares.max():.1f}"
            yield Row(f"{columns} columns: % with an alarm, mean; highest", mean, most)


def bench_power(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Planted changes that are found, in per cent."""
    with _pool(options) as pool:
        for size in _POWER:
            tasks = [(seed, size) for seed in range(options.simulations)]
            shares = 100 * sum(pool.imap_unordered(planted, tasks)) / options.simulations
            for change, share in zip(_PLANTED, shares):
                yield Row(f"{size:,} rows, {change}: % found", f"{share:g}")


def _pool(options: argparse.Namespace) -> multiprocessing.pool.Pool:
    return multiprocessing.get_context("forkserver").Pool(options.processes)


BENCHES = {"alarms": bench_alarms, "power": bench_power}

if __name__ == "__main__":
    sys.exit(main([], BENCHES, simulations=200, processes=2))
