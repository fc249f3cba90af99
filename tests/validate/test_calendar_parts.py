"""A part of the calendar is silent where the two periods alone change it, and compared where they do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from headwater.components.common import distributions
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.state.state_file import encode
from headwater.components.validate import calendar_parts, drift

PARTS = {
    "trip_start_month": lambda at: at.month,
    "trip_start_quarter": lambda at: at.quarter,
    "trip_start_week": lambda at: at.isocalendar().week,
    "trip_start_year": lambda at: at.year,
    "trip_start_day": lambda at: at.day,
    "day_of_week": lambda at: (at.dayofweek + 1) % 7 + 1,
    "trip_start_hour": lambda at: at.hour,
}


def side(begin, days, rows=6_000, kind=None, seed=1):
    """Trips spread over some days: their time, and each part of it."""
    chance = np.random.default_rng(seed)
    at = pd.to_datetime(begin) + pd.to_timedelta(np.sort(chance.integers(0, int(days * 86_400), rows)), unit="s")
    columns = {name: np.asarray(part(at), np.int64) for name, part in PARTS.items()}
    # Born in any month, and a level from 1 to 12.
    columns["birth_month"] = chance.integers(1, 13, rows)
    columns["level"] = columns["trip_start_month"]
    seconds = at.astype("datetime64[s]").astype(np.int64)
    times = {
        None: pa.array(seconds),
        "timestamp": pa.array(seconds * 1_000_000).cast(pa.timestamp("us")),
        "yyyymmdd": pa.array(np.asarray(at.year * 10_000 + at.month * 100 + at.day, np.int64)),
    }
    batch = pa.RecordBatch.from_pydict({**columns, "started": times[kind]})
    return distributions.read(encode(measure(batch, Plan(schema=batch.schema))))


def silent(one, other):
    found = drift.compare("train", one, other, "the earlier span")
    return {each.feature for each in found if each.note == calendar_parts.REASON}


@pytest.mark.parametrize("kind", [None, "timestamp", "yyyymmdd"])
def test_from_one_half_of_a_year_to_the_next(kind):
    one, other = side("2014-01-01", 181, kind=kind), side("2014-07-01", 184, kind=kind, seed=2)
    assert silent(one, other) == {"trip_start_month", "trip_start_quarter", "trip_start_week"}


def test_from_one_part_of_several_years_to_the_next():
    found = silent(side("2013-01-01", 600), side("2014-08-24", 700, seed=2))
    assert found == {"trip_start_month", "trip_start_quarter", "trip_start_week", "trip_start_year"}


def test_from_day_to_day_hours_are_compared_and_weekdays_are_not():
    found = silent(side("2014-03-03", 2), side("2014-03-05", 2, seed=2))
    assert found == {"trip_start_day", "day_of_week"}
    assert "trip_start_hour" in silent(side("2014-03-03", 0.5), side("2014-03-03T12:00", 0.5, seed=2))


def test_periods_that_cover_the_calendar_alike_are_compared():
    assert silent(side("2013-01-01", 365), side("2014-01-01", 365, seed=2)) == set()
    assert not silent(side("2014-03-03", 1), side("2014-03-04", 1, seed=2)) & {"trip_start_hour", "trip_start_month"}


def test_without_times_or_where_the_times_give_other_shares_it_is_compared():
    one, other = side("2014-01-01", 181), side("2014-07-01", 184, seed=2)
    moved = {path: other[("trip_start_hour",) if path == ("trip_start_month",) else path] for path in other}
    assert "trip_start_month" not in silent(one, moved)
    for features in (one, other):
        del features[("started",)]
    assert silent(one, other) == set()
