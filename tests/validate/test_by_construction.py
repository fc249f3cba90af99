"""What is true by construction is silent, and what only looks like it is compared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from headwater.components.common import distributions
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.state.state_file import encode
from headwater.components.validate.by_construction import EMPTY, reason

TIMES = "it holds times, which advance from span to span"
NUMBERS = "it numbers the rows, which goes on from span to span"
COORDINATE = "it has one value in each span, and tells the span"
KEY = "it is part of the key, whose values are new in every span"


def feature(values):
    batch = pa.RecordBatch.from_arrays([values if isinstance(values, pa.Array) else pa.array(values)], ["x"])
    return distributions.read(encode(measure(batch, Plan(schema=batch.schema))))[("x",)]


def why(name, baseline, current, **options):
    return reason(name, feature(baseline), feature(current), **options)


def test_columns_that_the_settings_name():
    sides = [["a", "b"] * 50, ["c"] * 100]
    assert why("fold", *sides, about={"split_by": ["fold"]}) == "it says which split a row belongs to"
    assert why("at", *sides, about={"event_time": "at"}) == TIMES
    assert why("fold", *sides, about={"split_by": ["other"], "event_time": ""}) == ""


def test_a_column_that_is_empty_on_both_sides():
    nothing = pa.nulls(50, pa.string())
    assert why("x", nothing, nothing) == EMPTY
    assert why("x", nothing, ["a"] * 50) == "" and why("x", ["a"] * 50, nothing) == ""


@pytest.mark.parametrize(
    ("name", "values", "spans"),
    [
        ("month", (1, 7), None),
        ("month", (12, 1), (12, 13)),
        ("year", (2013, 2014), (4, 5)),
        ("eventYear", (2013, 2014), None),
        ("period", (201312, 201401), None),
        ("day", ("2024-01-31", "2024-02-01"), None),
        ("week", ("2024-W05", "2024W06"), None),
        ("batch", (3, 4), (3, 4)),
        ("span_number", (3, 10), (3, 10)),
        ("day_of_week", (1, 2), None),
        ("month_number", (1, 2), None),
    ],
)
def test_where_the_span_lies_in_time(name, values, spans):
    assert why(name, *([value] * 200 for value in values), spans=spans) == COORDINATE


@pytest.mark.parametrize(
    ("name", "values", "spans"),
    [
        ("currency", (978, 840), (1, 2)),
        ("month", (1, 70), None),
        ("country", ("DE", "US"), (1, 2)),
        ("version", ("1.4", "1.5"), (1, 2)),
        # They move as spans do, but do not say that they tell the span.
        ("version", (1, 2), (1, 2)),
        ("schema_version", (2024, 2025), (1, 2)),
        ("release", ("2024.1", "2024.2"), (1, 2)),
        ("batch", (41, 42), (3, 4)),
        ("level", (1, 2), (1, 2)),
        ("capacity", (2000, 2100), (1, 2)),
        ("hours_per_week", (40, 38), (1, 2)),
        ("day_rate", (30, 31), (1, 2)),
        ("period", (201314, 201315), (1, 2)),
        ("rate", (0.5, 1.5), (1, 2)),
        ("flag", (True, False), (1, 2)),
    ],
)
def test_a_constant_that_changed_is_compared(name, values, spans):
    assert why(name, *([value] * 200 for value in values), spans=spans) == ""


def test_a_coordinate_of_rows_that_were_carried_counts_for_their_span():
    now = [1] * 30 + [7] * 970
    assert why("month", [1] * 1000, now, carried=(0, 31)) == COORDINATE
    assert why("month", [1] * 1000, now, carried=(0, 29)) == ""
    assert why("month", [12] * 5 + [1] * 95, now, carried=(5, 30)) == COORDINATE
    assert why("place", ["2013-01"] * 50, ["2013-01"] * 2 + ["2013-07"] * 48, carried=(0, 2)) == COORDINATE


@pytest.mark.parametrize("rows", [100, 5_000, 200_000])
def test_a_column_that_numbers_the_rows(rows):
    chance = np.random.default_rng(1)
    first, second = np.arange(1, rows + 1), np.arange(rows + 1, 2 * rows + 1)
    assert why("order", first, second) == NUMBERS
    # Of one split, and with gaps.
    kept = [chance.choice(each, rows * 4 // 5, replace=False) for each in (first, second)]
    assert why("order", *kept) == NUMBERS
    assert why("order", first * 10 + 3, second * 10 + 3) == NUMBERS
    # Those that begin again are compared, and are the same.
    assert why("row", first, first) == ""


def test_whole_numbers_that_moved_away_number_nothing():
    chance = np.random.default_rng(2)
    prices = chance.integers(1, 100, 5_000)
    assert why("price", prices, prices * 100) == ""
    readings = chance.normal(1000, 20, 300).astype(int)
    assert why("reading", readings, readings + 5000) == ""
    assert why("order_id", chance.integers(0, 50, 3_000), chance.integers(50, 100, 3_000)) == ""


def test_whole_numbers_that_count_seconds_or_name_days():
    chance = np.random.default_rng(3)
    seconds = np.sort(chance.integers(1_700_000_000, 1_700_086_400, 2_000))
    for unit in (1, 1_000, 1_000_000, 1_000_000_000):
        assert why("ts", seconds * unit, (seconds + 86_400) * unit) == TIMES
    assert why("ts", seconds, seconds) == ""
    days = np.repeat(np.arange(20240101, 20240132), 10)
    assert why("day", days, days + 100) == TIMES
    assert why("amount", days + 60, days + 260) == ""


def test_only_a_key_that_is_unique_by_itself_is_not_compared():
    chance = np.random.default_rng(4)
    ids = [f"id-{number}" for number in range(4_000)]
    assert why("id", ids[:2000], ids[2000:], key=["id"]) == KEY
    assert why("id", np.arange(2000), chance.permutation(2000), key=["id"]) == KEY
    carriers = chance.choice(["AA", "UA"], 2000).tolist()
    assert why("carrier", carriers, carriers, key=["carrier", "flight"]) == ""
    assert why("flight", chance.integers(1, 900, 100_000), chance.integers(1, 900, 100_000), key=["flight"]) == ""
    assert why("id", ids[:2000], ids[2000:]) == ""
