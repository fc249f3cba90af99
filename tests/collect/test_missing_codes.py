"""Missing codes: found where the column bears them out, and not among values that only look like one."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.collect.rules.missing_codes import find_missing_codes


def found(values, kind=None):
    column = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return [code.value for code in find_missing_codes(column)]


CHANCE = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("others", "code"),
    [
        (["Private", "State-gov", "Never-worked"], "?"),
        (["N730MQ", "N101UA", "N999DN"], "NA"),
        (["red", "green"], "N/A"),
        (["red", "green"], "null"),
        (["12", "a7", "b9"], "#N/A"),
        (["oak", "ash", "elm"], " n/a "),
        (["2013-04-01", "2014-05-01"], "1970-01-01"),
        (["AB", "CD", "long name"], "-"),
    ],
)
def test_words(others, code):
    assert found(others * 50 + [code] * 3) == [code]
    # Once may be an accident.
    assert found(others * 50 + [code]) == []


@pytest.mark.parametrize(
    ("others", "word"),
    [
        (["DE", "US", "FR", "GB", "ES"], "NA"),
        (["EMEA", "APAC", "NA", "LATAM"], "OTHER"),
        (["peanuts", "milk", "eggs"], "none"),
        (["+", "++"], "-"),
        (["1970-01-02", "1969-12-31", "1985-01-01"], "1970-01-01"),
        (["red", "green"], "nano"),
    ],
)
def test_words_that_are_values(others, word):
    assert found(others * 50 + [word] * 20) == []


def test_a_column_of_one_value_has_no_code():
    assert found(["?"] * 100) == [] and found(["?"] * 100 + ["a"] * 100) == []
    assert found(pa.nulls(100, pa.string())) == [] and found(["a", "b", "?"]) == []


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (CHANCE.integers(17, 90, 2_000), -1),
        (CHANCE.lognormal(10, 1, 2_000), -999),
        (CHANCE.normal(15, 8, 2_000).clip(0, None), -9999),
        (CHANCE.normal(15, 8, 2_000), 9999),
        (CHANCE.integers(0, 60, 2_000), 999),
        (CHANCE.integers(1, 13, 2_000), 99),
    ],
)
def test_numbers(values, code):
    given = np.concatenate([values, np.full(30, code)])
    assert found(given) == [code]
    assert found(np.concatenate([values, [code]])) == []


@pytest.mark.parametrize(
    ("values", "code", "cap"),
    [
        (CHANCE.lognormal(8, 1, 2_000).clip(0, 41_310), 99_999, True),
        (CHANCE.integers(0, 28, 2_000), 999, False),
        (CHANCE.normal(15, 8, 2_000), 9_999, False),
        (CHANCE.lognormal(8, 1, 2_000).clip(0, 41_310), -1, False),
    ],
    ids=["gains", "far from all others", "negative as well", "no nines"],
)
def test_nines_above_large_numbers_may_be_a_cap(values, code, cap):
    [found_code] = find_missing_codes(pa.array(np.concatenate([values, np.full(30, code)])))
    assert (found_code.value, found_code.cap) == (code, cap)


def test_what_may_be_a_cap_is_said_and_not_put_forward_as_missing(tmp_path):
    gains = [0 if n % 10 else 1_000 + 97 * n for n in range(400)] + [99_999] * 5
    pq.write_table(pa.table({"gain": gains}), tmp_path / "gains.parquet")
    data = collect_dataset(str(tmp_path / "gains.parquet"), str(tmp_path / "a"), workers=1)
    [told] = [each for each in data.body["findings"] if each["rule"] == "missing_code"]
    assert told["severity"] == "info" and "looks like a code or a cap: it is the largest value" in told["message"]
    assert "missing: {gain: [99999]}" in told["action"] and "if values are cut off there, leave it" in told["action"]
    assert "missing_codes" not in data.body["analysis"]


def test_minus_one_beside_zero_must_be_frequent():
    days = CHANCE.integers(0, 400, 2_000)
    assert found(np.concatenate([days, np.full(900, -1)])) == [-1]
    assert found(np.concatenate([days, np.full(4, -1)])) == []


@pytest.mark.parametrize(
    "values",
    [
        CHANCE.normal(0, 3, 3_000).round().astype(int),
        CHANCE.choice([-1, 0, 1], 3_000),
        CHANCE.integers(0, 20_000, 30_000) // 2,
        np.concatenate([CHANCE.lognormal(8, 1.5, 5_000).round(), np.full(3, 9_999)]),
        np.concatenate([CHANCE.integers(0, 100, 3_000), np.full(30, 99)]),
        np.full(500, -1),
        CHANCE.poisson(3, 3_000) - 1,
    ],
    ids=["negatives", "three signs", "9999 in range", "heavy tail", "99 in range", "constant", "starts at -1"],
)
def test_numbers_that_are_values(values):
    assert found(values) == []


def test_days():
    days = [datetime.date(2013, 1, 1) + datetime.timedelta(days=number % 300) for number in range(600)]
    assert found(days + [datetime.date(1970, 1, 1)] * 5) == ["1970-01-01"]
    assert found(days + [datetime.date(9999, 12, 31)] * 5) == ["9999-12-31"]
    births = [datetime.date(1960, 1, 1) + datetime.timedelta(days=number * 9) for number in range(900)]
    assert found(births + [datetime.date(1970, 1, 1)] * 3) == []
    assert found(births + [datetime.date(1970, 1, 1)] * 60) == ["1970-01-01"]
    times = pa.array([*days, datetime.date(1970, 1, 1), datetime.date(1970, 1, 1)]).cast(pa.timestamp("us", "UTC"))
    assert found(times) == ["1970-01-01"]


def test_the_finding_says_what_to_set_and_setting_it_silences(tmp_path):
    path = tmp_path / "adult.csv"
    rows = [f"{20 + n % 50},{'?' if n % 20 == 0 else ('Private', 'State-gov')[n % 2]}" for n in range(400)]
    path.write_text("age,work-class\n" + "\n".join(rows) + "\n")
    settings = {"rename": {"work-class": "workclass"}}
    data = collect_dataset(str(path), str(tmp_path / "a"), workers=1, **settings)
    [told] = [each for each in data.body["findings"] if each["rule"] == "missing_code"]
    assert told["column"] == "workclass" and "'?' looks like a missing value" in told["message"]
    assert "missing: {work-class: ['?']}" in told["action"]
    assert data.body["analysis"]["missing_codes"] == {"workclass": ["?"]}
    settings["missing"] = {"work-class": ["?"]}
    data = collect_dataset(str(path), str(tmp_path / "b"), workers=1, **settings)
    assert "missing_code" not in [each["rule"] for each in data.body["findings"]]
    assert data.body["sentinels"] == {"work-class": 20}
