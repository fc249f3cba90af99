"""Local times as instants, beside zoneinfo and pytz, which read other copies of the tz database."""

from __future__ import annotations

import datetime
import random
import zoneinfo

import numpy as np
import pytest
import pytz

from headwater.components.collect.shape.zones import find_zone, instants
from headwater.components.common.errors import HeadwaterError

EPOCH = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)
ZONES = [
    "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca",
    "Africa/Monrovia", "Asia/Kathmandu", "Europe/Amsterdam", "Europe/Dublin", "America/St_Johns", "Asia/Tehran",
    "Antarctica/Troll", "America/Havana", "Asia/Manila", "Pacific/Kwajalein", "UTC", "Etc/GMT+3",
]  # fmt: skip


def micros(time):
    return (time - EPOCH) // MICROSECOND


def around_changes(zone, draw, number):
    """Local times, many of them near a change of clocks."""
    moments = [
        datetime.datetime(draw.randint(1, 9999), draw.randint(1, 12), draw.randint(1, 28)) for _ in range(number)
    ]
    for _ in range(number):
        year = draw.randint(1880, 2100)
        months = [datetime.datetime(year, month, day) for month in range(1, 13) for day in (1, 10, 20)]
        for before, after in zip(months, months[1:]):
            while after - before > datetime.timedelta(hours=1) and zone.utcoffset(before) != zone.utcoffset(after):
                middle = before + (after - before) / 2
                before, after = (
                    (middle, after) if zone.utcoffset(middle) == zone.utcoffset(before) else (before, middle)
                )
            if zone.utcoffset(before) != zone.utcoffset(after):
                moments += [after + datetime.timedelta(minutes=draw.randint(-180, 180)) for _ in range(2)]
    return [time.replace(second=draw.randint(0, 59), microsecond=draw.randint(0, 999_999)) for time in moments]


@pytest.mark.parametrize("name", ZONES)
def test_instants_are_those_of_zoneinfo_and_pytz(name):
    own, peer, other = find_zone(name), zoneinfo.ZoneInfo(name), pytz.timezone(name)
    times = around_changes(peer, random.Random(name), 60)
    found, skipped = instants(np.array([micros(time) for time in times]), own)
    for time, value, gone in zip(times, found.tolist(), skipped.tolist()):
        instant = time.replace(tzinfo=peer).astimezone(datetime.UTC) if 1 < time.year < 9999 else None
        if instant is not None:
            assert gone == (instant.astimezone(peer).replace(tzinfo=None) != time)
            assert gone or value == micros(instant.replace(tzinfo=None))
        # pytz ends at 2037 and rounds old offsets, and editions of the database differ on years long gone and to come.
        if 1995 < time.year < 2025:
            try:
                exact = other.localize(time, is_dst=None)
            except pytz.NonExistentTimeError:
                assert gone
                continue
            except pytz.AmbiguousTimeError:
                exact = min(other.localize(time, is_dst=dst) for dst in (True, False))
            assert value == micros(exact.astimezone(pytz.utc).replace(tzinfo=None))


@pytest.mark.parametrize(
    ("zone", "local", "expected"),
    [
        ("Europe/Vienna", "2024-03-31T02:30", None),
        ("Europe/Vienna", "2024-03-31T03:00", "2024-03-31T01:00"),
        ("Europe/Vienna", "2024-03-31T01:59:59.999999", "2024-03-31T00:59:59.999999"),
        ("Europe/Vienna", "2024-10-27T02:30", "2024-10-27T00:30"),
        ("Europe/Vienna", "2024-10-27T03:00", "2024-10-27T02:00"),
        ("Europe/Vienna", "2050-07-01T12:00", "2050-07-01T10:00"),
        ("America/New_York", "1850-01-01T00:00", "1850-01-01T04:56:02"),
        ("Australia/Lord_Howe", "2024-10-06T02:15", None),
        ("Australia/Lord_Howe", "2024-04-07T01:45", "2024-04-06T14:45"),
        ("Pacific/Apia", "2011-12-30T12:00", None),
        ("Pacific/Apia", "2011-12-31T00:00", "2011-12-30T10:00"),
        ("+05:30", "2024-01-01T00:00", "2023-12-31T18:30"),
        ("-0330", "2024-01-01T00:00", "2024-01-01T03:30"),
    ],
)
def test_known_changes(zone, local, expected):
    found, skipped = instants(np.array([np.datetime64(local, "us").astype(np.int64)]), find_zone(zone))
    assert skipped.tolist() == [expected is None]
    assert expected is None or found[0] == np.datetime64(expected, "us").astype(np.int64)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Mars", "'Mars' is not a time zone"),
        ("europe/viena", "did you mean Europe/Vienna"),
        ("../../etc/passwd", "is not a time zone"),
        ("Europe", "is not a time zone"),
        ("", "is not a time zone"),
        ("+25:00", "is not a time zone"),
        ("localtime", "depends on the machine"),
    ],
)
def test_an_unknown_zone_is_told(name, reason):
    with pytest.raises(HeadwaterError, match=reason):
        find_zone(name)
