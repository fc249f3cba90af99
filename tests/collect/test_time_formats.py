"""Times read by formats are those of Python's strptime and zoneinfo, or rejected with a reason; never others."""

from __future__ import annotations

import datetime
import zoneinfo

import pyarrow as pa
import pytest
from headwater.components.collect import collect_dataset
from headwater.components.collect.consistency import Format
from headwater.components.collect.time_formats import NO_FORM, NONEXISTENT, read_times
from headwater.components.common import open_dataset
from headwater.components.common.dataset import rejected
from hypothesis import example, given, settings
from hypothesis import strategies as st

FORMS = [
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%d/%m/%y",
    "%m/%d/%Y %I:%M %p",
    "%a %d %b %Y",
    "%A, %B %d, %Y",
    "%j %Y",
    "%Y %U %w",
    "%Y %W %w",
    "%G-W%V-%u",
    "%c",
    "%x %X",
    "%%%d.%m.%Y",
    "%H:%M:%S",
    "%Y",
]
TEXTS = [
    "2024-03-31 02:30:00.250", "2024-03-31 02:30:00", "2024-03-31 02:30:00.1234567", "0001-01-01 00:00:00.5",
    "9999-12-31 23:59:59.999999", "2024-03-31T02:30:00Z", "2024-03-31T02:30:00+0230", "2024-03-31T02:30:00.1-02:30",
    "2024-03-31T02:30:00", "31/12/69", "01/01/68", "1/2/24", "02/30/24", "30/02/24", "29/02/23", "29/02/24", "1/1/1",
    "31/12/1969", "1/2/24x", "00/01/24", "1/13/24", "12/31/2024 12:00 AM", "12/31/2024 12:00 pm", "1/5/2024 13:05 PM",
    "1/5/2024 0:05 PM", "Mon 01 Jan 2024", "mon 1 JAN 2024", "Mon 01 January 2024", "Monday, January 01, 2024",
    "Mon, January 1, 2024", "366 2024", "001 2024", "000 2024", "2024 00 1", "2024 10 3", "2024-W01-1", "2020-W53-7",
    "2024-W00-1", "Mon Jan  1 10:00:00 2024", "01/31/24 10:00:00", "2024-01-31 10:00:00", "%01.02.2024", "24:00:00",
    "23:59:60", "1:2:3", "24", "2024", "10000", "Sept 1 2024", "\u0661/2/24",
]  # fmt: skip
UTC = datetime.timezone.utc


def python(text, form):
    try:
        found = datetime.datetime.strptime(text, form)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found


@pytest.mark.parametrize("form", FORMS)
def test_texts_are_read_as_python_reads_them(form):
    times, reasons = read_times(pa.array(TEXTS), [form], "", "UTC" if "%z" in form else None)
    expected = [python(text, form) for text in TEXTS]
    if form == "%Y %W %w":
        # Python gives Monday of week 1 for Monday of week 0, which lies in the year before.
        expected[TEXTS.index("2024 00 1")] = datetime.datetime(2023, 12, 25)
    assert times.to_pylist() == expected
    assert reasons == {place: NO_FORM for place, each in enumerate(expected) if each is None}


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime.datetime(1000, 1, 1)), st.sampled_from(FORMS))
def test_what_python_writes_is_read(moment, form):
    text = moment.replace(tzinfo=UTC if "%z" in form else None).strftime(form)
    times, _ = read_times(pa.array([text]), [form], "", "UTC" if "%z" in form else None)
    assert times.to_pylist() == [python(text, form)]


ZONES = ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "America/Sao_Paulo", "UTC"]


@settings(max_examples=300, deadline=None)
@example(datetime.datetime(2024, 3, 31, 2, 30), "Europe/Vienna")
@example(datetime.datetime(2024, 10, 27, 2, 30), "Europe/Vienna")
@example(datetime.datetime(2011, 12, 30, 12), "Pacific/Apia")
@example(datetime.datetime(2024, 10, 6, 2, 15), "Australia/Lord_Howe")
@example(datetime.datetime(2024, 4, 7, 1, 45), "Australia/Lord_Howe")
@given(st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2037, 12, 31)), st.sampled_from(ZONES))
def test_local_times_are_the_instants_of_zoneinfo(moment, zone):
    local = moment.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=0)
    instant = local.astimezone(UTC)
    exists = instant.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None) == moment
    text = moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    times, reasons = read_times(pa.array([text]), ["%Y-%m-%d %H:%M:%S.%f"], zone, "UTC")
    assert times.to_pylist() == [instant if exists else None]
    assert reasons == ({} if exists else {0: NONEXISTENT})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"times": ["%Y-%m-%d %Z"]}, "%Z reads names of zones"),
        ({"times": ["%Y-%Q"]}, "there is no code %Q"),
        ({"times": ["%Y-%-d"]}, "there is no code %-"),
        ({"times": ["%Y-%m-%"]}, "there is no code %"),
        ({"times": ["%Y %U"]}, "goes with the day of the week"),
        ({"times": ["%G %V"]}, "goes with %V and %u"),
        ({"times": ["yyyy-mm-dd"]}, "has no code"),
        ({"times": ["%Y-%m-%d", "%Y-%m-%dT%H:%M%z"]}, "name the zone"),
        ({"times": ["%Y"], "zone": "Mars/Base"}, "is no time zone"),
    ],
)
def test_formats_that_cannot_be_read_are_refused_by_name(given, reason):
    with pytest.raises(ValueError, match=reason):
        Format(**given)


def test_rows_are_rejected_with_their_reason(tmp_path):
    lines = ["2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-07-01 12:00:00", "30/02/24", ""]
    (tmp_path / "t.csv").write_text("id,t\n" + "".join(f"{n},{text}\n" for n, text in enumerate(lines, 1)))
    formats = {"t": {"times": ["%Y-%m-%d %H:%M:%S", "%d/%m/%y"], "zone": "Europe/Vienna"}}
    result = collect_dataset(
        str(tmp_path / "t.csv"), str(tmp_path / "out"), formats=formats, max_rejected_share=1.0, workers=1, analyse=False
    )
    rows = {row["id"]: row["t"] for row in open_dataset(result.folder).to_table().to_pylist()}
    assert {key: value and value.hour for key, value in rows.items()} == {2: 0, 3: 10, 5: None}
    assert [(each["row"], each["reason"]) for each in rejected(result).to_pylist()] == [(2, NONEXISTENT), (5, NO_FORM)]
    assert result.body["accounts"] == {"read": 5, "written": 3, "rejected": 2, "filtered": {}}
