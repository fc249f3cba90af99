"""Declared rules for sentinels, formats and units, against plain Python and known values."""

from __future__ import annotations

import datetime
import zoneinfo

import numpy as np
import pyarrow as pa
import pydantic
import pytest
from headwater.components.collect.consistency import (
    Format,
    Unit,
    convert_units,
    drop_sentinels,
    read_formats,
    rename_columns,
)
from headwater.components.common.errors import HeadwaterError


def batch(**columns):
    return pa.RecordBatch.from_arrays([pa.array(values) for values in columns.values()], list(columns))


def read(texts, **form):
    rows = np.arange(2, 2 + len(texts))
    result, kept, rejections = read_formats(batch(x=texts), rows, {"x": Format(**form)})
    return result.column(0).to_pylist(), kept.tolist(), rejections


def test_sentinels_become_missing_and_are_counted_by_column():
    counts = {}
    rows = batch(age=[0, 30, 999, None, 0], city=["?", "Wien", "-", "?", None])
    result = drop_sentinels(rows, {"age": [0, 999], "city": ["?"]}, counts)
    assert result.to_pydict() == {"age": [None, 30, None, None, None], "city": [None, "Wien", "-", None, None]}
    assert counts == {"age": 3, "city": 2}


def test_zero_stays_a_zero_where_it_is_not_declared():
    assert drop_sentinels(batch(age=[0]), {}, {}).to_pydict() == {"age": [0]}


@pytest.mark.parametrize("values", [["none"], [1.5]])
def test_a_sentinel_of_another_type_is_told(values):
    with pytest.raises(HeadwaterError, match="missing.age: .* are no values of int64"):
        drop_sentinels(batch(age=[1]), {"age": values}, {})


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("1,234.5", {"thousands": ","}, 1234.5),
        ("1,234,567", {"thousands": ","}, 1234567.0),
        ("-12", {"thousands": ","}, -12.0),
        ("1.234,5", {"thousands": ".", "decimal": ","}, 1234.5),
        ("3,5", {"decimal": ","}, 3.5),
        ("$ 9.99", {"strip": "$ "}, 9.99),
        ("1 234", {"thousands": " ", "type": "int64"}, 1234),
        ("12.50", {"type": "decimal128[6, 2]"}, pytest.importorskip("decimal").Decimal("12.50")),
    ],
)
def test_numbers_are_read_by_their_format(text, form, expected):
    assert read([text, None, ""], **form)[0] == [expected, None, None]


@pytest.mark.parametrize("text", ["1,23", "1,2345", ",5", "12,34,567", "five", "1.2.3"])
def test_a_number_of_another_form_is_rejected(text):
    values, kept, rejections = read(["1,234", text], thousands=",")
    assert (values, kept) == ([1234.0], [2])
    assert [(r.row, r.column, r.reason.partition(":")[0], r.value) for r in rejections] == [(3, "x", "format", text)]


def test_times_in_several_formats_and_a_zone_become_utc():
    texts = ["01.07.2013 12:00", "2013-12-01 12:00", "01.13.2013 12:00", None]
    values, kept, rejections = read(texts, times=["%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M"], zone="Europe/Vienna")
    zone = zoneinfo.ZoneInfo("Europe/Vienna")
    expected = [datetime.datetime(2013, 7, 1, 12, tzinfo=zone), datetime.datetime(2013, 12, 1, 12, tzinfo=zone), None]
    assert values == expected
    assert [r.row for r in rejections] == [4]


def test_an_offset_in_the_text_goes_before_the_zone():
    values, _, _ = read(
        ["2013-07-01 12:00 +0200", "2013-07-01 12:00"],
        times=["%Y-%m-%d %H:%M %z", "%Y-%m-%d %H:%M"],
        zone="America/New_York",
    )
    assert [value.astimezone(datetime.timezone.utc).hour for value in values] == [10, 16]


def test_dates_alone_can_be_asked():
    assert read(["31/12/1999"], times=["%d/%m/%Y"], type="date32")[0] == [datetime.date(1999, 12, 31)]


@pytest.mark.parametrize(
    "form",
    [
        {"zone": "Europe/Vienna"},
        {"times": ["%Y"], "thousands": ","},
        {"thousands": "."},
        {"times": ["%Y"], "zone": "Mars"},
        {"type": "int63"},
    ],
)
def test_a_format_that_makes_no_sense_is_refused(form):
    with pytest.raises(pydantic.ValidationError):
        Format(**form)


def test_a_format_on_a_number_column_is_told():
    with pytest.raises(HeadwaterError, match="formats.x: formats read text"):
        read_formats(batch(x=[1]), np.array([2]), {"x": Format(thousands=",")})


@pytest.mark.parametrize(
    ("given", "wanted", "value", "expected"),
    [
        ("mph", "km/h", 60, 96.56064),
        ("F", "C", 212, 100),
        ("C", "F", -40, -40),
        ("K", "C", 0, -273.15),
        ("mi", "km", 26.21875, 42.194988),
        ("inHg", "hPa", 29.92, 1013.20751),
        ("lb", "kg", 10, 4.5359237),
        ("h", "s", 1.5, 5400),
    ],
)
def test_units_are_converted(given, wanted, value, expected):
    unit = Unit.model_validate({"from": given, "to": wanted})
    assert convert_units(batch(x=[value, None]), {"x": unit}).to_pydict()["x"] == [pytest.approx(expected), None]


def test_units_of_two_measures_are_refused():
    with pytest.raises(pydantic.ValidationError, match="'mph' cannot be made 'kg'"):
        Unit.model_validate({"from": "mph", "to": "kg"})


def test_text_has_no_unit():
    with pytest.raises(HeadwaterError, match="units.x: only numbers have units"):
        convert_units(batch(x=["1"]), {"x": Unit.model_validate({"from": "m", "to": "km"})})


def test_two_columns_cannot_get_one_name():
    with pytest.raises(HeadwaterError, match="two columns would be named 'b'"):
        rename_columns(batch(a=[1], b=[2]), {"a": "b"})
    assert rename_columns(batch(a=[1], b=[2]), {"a": "b", "b": "a"}).schema.names == ["b", "a"]
