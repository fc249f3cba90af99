"""Identifiers come and go: how many are new is told, and is no alarm unless it is more than rare values let expect."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from headwater.components.common import distributions
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.state.state_file import encode
from headwater.components.validate import drift
from headwater.components.validate.identifiers import measure_turnover

CHANCE = np.random.default_rng(8)
FLEET = np.array([f"N{number}" for number in range(4_000)])


def feature(values):
    batch = pa.RecordBatch.from_arrays([pa.array(values)], ["x"])
    return distributions.read(encode(measure(batch, Plan(schema=batch.schema))))[("x",)]


def flights(planes, rows=20_000):
    """Flights of a fleet whose planes fly often or seldom."""
    weights = CHANCE.gamma(0.7, size=len(planes))
    return CHANCE.choice(planes, rows, p=weights / weights.sum())


def judged(one, other):
    compared = drift.compare("train", {("x",): feature(one)}, {("x",): feature(other)}, "span 1")
    [found] = drift.judge(compared, max_p=0.01, min_effect=0.1)
    return found


def test_members_that_come_and_go_are_no_alarm_and_one_sentence_says_how_many():
    found = judged(flights(FLEET[:3_200]), flights(FLEET[300:]))
    assert found.change.effect >= 0.1 and found.come_and_go and not found.alarm
    share = found.turnover.unseen
    assert 0.1 < share < 0.6
    assert drift.sentence(found, "span 1").startswith(
        f"{100 * share:.3g} % of rows have values that span 1 never had; "
    )


@pytest.mark.parametrize("spoilt", ["unknown", None])
def test_a_value_that_becomes_frequent_is_an_alarm(spoilt):
    now = flights(FLEET[300:]).astype(object)
    now[::4] = spoilt
    found = judged(flights(FLEET[:3_200]), now)
    assert found.alarm and not found.come_and_go
    assert drift.sentence(found, "span 1").startswith(f"{'missing' if spoilt is None else repr(spoilt)}: ")


def test_more_new_ones_than_rare_values_let_expect_are_an_alarm():
    often, once = np.repeat(FLEET[:1_000], 20), FLEET[1_000:1_280]
    found = judged(np.concatenate([often, once]), np.repeat(FLEET[1_280:2_280], 20))
    assert 0.5 < found.turnover.most < found.turnover.unseen == 1
    assert found.alarm and "100 % of rows have values that span 1 never had, and not more than" in drift.sentence(
        found, "span 1"
    )


def test_what_is_no_column_of_identifiers_has_no_turnover():
    few, number = feature(flights(FLEET[:900])), feature(CHANCE.integers(0, 5_000, 9_000))
    ids = feature(flights(FLEET[:3_200]))
    assert measure_turnover(few, ids) is None and measure_turnover(number, number) is None
    # Every value is frequent enough that a domain may be closed over them.
    assert measure_turnover(feature(np.repeat(FLEET, 5)), ids) is None
    assert measure_turnover(dataclasses.replace(ids, rest=ids.rest + 1), ids) is None
    assert measure_turnover(ids, ids).unseen == 0
