"""Associations: which columns go together, measured in a sample."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.components.collect.rules.associations import find_associations

CHANCE = np.random.default_rng(5)
ROWS = 5_000


def pairs(**columns):
    return {tuple(each["columns"]) for each in find_associations({k: pa.array(v) for k, v in columns.items()})}


def test_columns_that_go_together():
    sched = CHANCE.integers(5, 23, ROWS) * 100 + CHANCE.integers(0, 60, ROWS)
    temperature = CHANCE.normal(10, 8, ROWS)
    city = CHANCE.choice(["Oslo", "Rome", "Bern"], ROWS)
    found = pairs(
        sched=sched,
        hour=sched // 100,
        minute=sched % 100,
        celsius=temperature,
        fahrenheit=temperature * -1.8 + 32,
        city=city,
        country=np.where(city == "Rome", "IT", np.where(city == "Oslo", "NO", "CH")),
        warm=temperature > 12,
    )
    assert found == {("sched", "hour"), ("celsius", "fahrenheit"), ("city", "country"), ("celsius", "warm"),
                     ("fahrenheit", "warm")}  # fmt: skip


def test_independent_columns_do_not():
    columns = {f"n{place}": CHANCE.normal(size=ROWS) for place in range(6)}
    columns |= {f"c{place}": CHANCE.integers(0, 60, ROWS).astype(str) for place in range(6)}
    # One that is the same nearly everywhere tells nothing of others.
    columns["rare"] = CHANCE.random(ROWS) < 0.001
    assert pairs(**columns, ids=np.arange(ROWS).astype(str), constant=np.full(ROWS, 7)) == set()


def test_missing_and_odd_values():
    values = np.where(CHANCE.random(ROWS) < 0.3, np.nan, CHANCE.normal(size=ROWS))
    assert pairs(x=values, y=values * 2, nothing=np.full(ROWS, np.nan)) == {("x", "y")}
    assert pairs() == set() and pairs(x=values) == set()
