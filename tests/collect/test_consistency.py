"""Declared rules for sentinels, formats and units, against plain Python and known values."""

from __future__ import annotations

import datetime
import zoneinfo

import numpy as np
import pyarrow as pa
import pydantic
import pytest

from headwater.components.collect.shape.consistency import (
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
    with pytest.raises(HeadwaterError, match="missing.age: the column is int64, which cannot hold all of"):
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
    assert [value.astimezone(datetime.UTC).hour for value in values] == [10, 16]


def test_dates_alone_can_be_asked():
    assert read(["31/12/1999"], times=["%d/%m/%Y"], type="date32")[0] == [datetime.date(1999, 12, 31)]


def test_a_time_that_clocks_skip_is_rejected_by_name_and_one_that_stands_twice_is_the_earlier():
    texts = ["2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-07-01 12:00:00", "2050-07-01 12:00:00"]
    values, kept, rejections = read(texts, times=["%Y-%m-%d %H:%M:%S"], zone="Europe/Vienna")
    assert [f"{value:%m-%d %H:%M}" for value in values] == ["10-27 00:30", "07-01 10:00", "07-01 10:00"]
    assert [(r.row, r.reason.partition(":")[0], r.value) for r in rejections] == [(2, "nonexistent", texts[0])]


def test_fractions_of_a_second_are_kept_whole_or_rejected():
    texts = [
        "2024-03-31 02:30:00.250",
        "2024-03-31T02:30:00.123456Z",
        "2024-03-31 02:30:00.1234567",
        "2024-03-31 02:30:00",
    ]
    forms = ["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f%z"]
    values, kept, rejections = read(texts, times=forms, zone="UTC")
    assert [value.isoformat() for value in values] == [
        "2024-03-31T02:30:00.250000+00:00", "2024-03-31T02:30:00.123456+00:00", "2024-03-31T02:30:00+00:00",
    ]  # fmt: skip
    assert [(r.row, r.reason) for r in rejections] == [(4, "format: more precise than the type holds")]


def test_nanoseconds_are_kept_where_the_type_has_them():
    texts = ["2024-03-31 02:30:00.123456789", "2263-01-01 00:00:00.0"]
    result, _, rejections = read_formats(
        batch(x=texts), np.array([2, 3]), {"x": Format(times=["%Y-%m-%d %H:%M:%S.%f"], type="timestamp[ns]")}
    )
    assert result.column(0).cast(pa.int64()).to_pylist() == [1_711_852_200_123_456_789]
    assert [(r.row, r.reason) for r in rejections] == [(3, "format: outside the range of the type")]


def test_a_date_that_there_is_not_is_told_from_text_of_another_form():
    _, _, rejections = read(["02/30/24", "31.12.1999", "02/28/24"], times=["%m/%d/%y"])
    assert [r.reason for r in rejections] == [
        "format: there is no such date or time",
        "format: matches no declared format",
    ]


def test_times_of_day_can_be_asked():
    assert read(["23:59"], times=["%H:%M"], type="time64[us]")[0] == [datetime.time(23, 59)]


@pytest.mark.parametrize("rows", [1, 7, 65_536])
def test_batches_of_any_size_give_the_same(rows):
    start = datetime.datetime(2024, 3, 30)
    texts = [str(start + datetime.timedelta(minutes=7 * step)) for step in range(2_000)] + ["24:00", None]
    form = {"times": ["%Y-%m-%d %H:%M:%S"], "zone": "Europe/Vienna"}
    step = min(rows, len(texts))
    chosen = texts if rows > 1 else texts[180:240]
    parts = [read(chosen[at : at + step], **form) for at in range(0, len(chosen), step)]
    whole = read(chosen, **form)
    assert [value for part in parts for value in part[0]] == whole[0]
    assert [(r.reason, r.value) for part in parts for r in part[2]] == [(r.reason, r.value) for r in whole[2]]


@pytest.mark.parametrize(
    "form",
    [
        {"times": ["%H:%M"]},
        {"times": ["%Y %Z"]},
        {"times": ["%Y-%m-%d", "%Y-%m-%d %z"]},
        {"times": ["%Y-%m-%d"], "zone": "Europe/Vienna", "type": "date32"},
        {"times": ["%Y-%m-%d"], "type": "int64"},
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
    with pytest.raises(HeadwaterError, match="formats.x: formats parse text"):
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
    with pytest.raises(pydantic.ValidationError, match="'mph' cannot be converted to 'kg'"):
        Unit.model_validate({"from": "mph", "to": "kg"})


def test_text_has_no_unit():
    with pytest.raises(HeadwaterError, match="units.x: only numbers have units"):
        convert_units(batch(x=["1"]), {"x": Unit.model_validate({"from": "m", "to": "km"})})


def test_two_columns_cannot_get_one_name():
    with pytest.raises(HeadwaterError, match="two columns would be named 'b'"):
        rename_columns(batch(a=[1], b=[2]), {"a": "b"})
    assert rename_columns(batch(a=[1], b=[2]), {"a": "b", "b": "a"}).schema.names == ["b", "a"]
