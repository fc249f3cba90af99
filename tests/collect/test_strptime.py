"""Dates and times by strptime's codes, beside Python's own strptime over a grid of forms and values."""

from __future__ import annotations

import datetime
import random
import re

import numpy as np
import pyarrow as pa
import pytest

from headwater.components.collect.shape.strptime import check_form, read_times
from headwater.components.common.errors import HeadwaterError

EPOCH = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)
FORMS = [
    "%Y-%m-%d", "%d/%m/%y", "%m/%d/%y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%dT%H:%M:%S%z", "%d %b %Y", "%B %d, %Y", "%A, %d %B %Y", "%a %d %b %y %I:%M %p", "%I:%M:%S %p %Y/%j",
    "%Y%m%d", "%Y%m%d%H%M%S%f", "%f%Y", "%Y %U %w", "%Y-%W-%a", "%G-W%V-%u", "%c", "%x %X", "%y%j", "%H%M", "%S.%f",
    "100%% %Y", "%Y-%m-%d %a", "%Y.%m.%d(%H)", "%b%d%Y", "%z %Y", "%Y\t%m", "%d  %m %Y",
]  # fmt: skip
OFFSETS = [0, 3_600, -19_800, 20_700, 45_015, -86_399]
YEARS = [1, 4, 1899, 1900, 1904, 1968, 1969, 2000, 2023, 2024, 2068, 2069, 9999]


def texts_of(form, seed, number=400):
    """Texts of a form, the half of them spoilt in one of the ways that files spoil them."""
    draw = random.Random(f"{form} {seed}")
    texts = []
    for _ in range(number):
        day = draw.choice([(2, 28), (2, 29), (1, 1), (12, 31), (draw.randint(1, 12), draw.randint(1, 28))])
        year = draw.choice([*YEARS, draw.randint(1, 9999)])
        time = datetime.datetime(
            year if day != (2, 29) else draw.choice([4, 2000, 2024]), *day, draw.randint(0, 23),
            draw.randint(0, 59), draw.choice([0, 59, 30]), draw.choice([0, 1, 999_999, draw.randint(0, 999_999)]),
            datetime.timezone(datetime.timedelta(seconds=draw.choice(OFFSETS))),
        )  # fmt: skip
        text = time.strftime(form.replace("%Y", f"{time.year:04d}").replace("%G", f"{time.isocalendar()[0]:04d}"))
        at = draw.randrange(len(text))
        spoilt = [
            text.upper(), text.lower(), text + "x", text + "0", text + "\n", text + " ", text.replace(" ", "  "),
            text.replace(" ", "\u00a0"), text.replace("0", "", 1), text.replace(":", ""), text[:at] + text[at + 1 :],
            text[:at] + draw.choice("0123456789 -:/.") + text[at + 1 :], text.replace("29", "30", 1),
            text.replace("59", "60", 1), text.replace("23", "24", 1),
        ]  # fmt: skip
        texts.append(text if draw.random() < 0.5 else draw.choice(spoilt))
    return texts


def python(text, form):
    """Microseconds since 1970, in UTC where the text tells an offset; None where Python reads no time."""
    try:
        time = datetime.datetime.strptime(text, form)
    except ValueError:
        return None
    micros = (time.replace(tzinfo=None) - EPOCH - (time.utcoffset() or datetime.timedelta())) // MICROSECOND
    return micros if -62_135_596_800_000_000 <= micros <= 253_402_300_799_999_999 else None


def ours(texts, form):
    times = read_times(pa.array(texts, pa.string()), check_form(form))
    assert not times.micros[~times.real].any()
    return [int(micros) if real else None for micros, real in zip(times.micros, times.real)], times


def is_written_so(micros, text, form):
    """Whether a time is one that strftime writes with this text's week or day of the year."""
    time = EPOCH + micros * MICROSECOND
    codes = [code for code in ("%U", "%W", "%V", "%j", "%G", "%Y") if code in form]
    read = dict(zip(codes, (time.strftime(code) for code in codes)))
    return all(value.lstrip("0") in text for value in read.values() if value.lstrip("0"))


@pytest.mark.parametrize("form", FORMS)
def test_texts_mean_what_they_mean_to_python(form):
    texts = texts_of(form, 0)
    found, times = ours(texts, form)
    right = 0
    for text, value, nanos in zip(texts, found, times.nanos):
        wanted = python(text, form)
        finer = re.fullmatch(r"(.*\.\d{6})(\d{1,3})(?!\d)(.*)", text, re.S)
        if value != wanted and wanted is None and finer:
            # Seven to nine digits of a second are more than Python reads.
            assert (value, nanos) == (python(finer[1] + finer[3], form), int(finer[2].ljust(3, "0"))), text
        elif (
            value != wanted and value is None and {"%U", "%W", "%V", "%j"} & {form[i : i + 2] for i in range(len(form))}
        ):
            # A week or day that the year does not have: Python moves on into another year.
            assert not is_written_so(wanted, text, form), text
        else:
            assert value == wanted, text
        right += wanted is not None
    assert right >= len(texts) // 3


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("31/12/69", "%d/%m/%y", "1969-12-31"),
        ("01/01/68", "%d/%m/%y", "2068-01-01"),
        ("1/2/24", "%d/%m/%y", "2024-02-01"),
        ("02/30/24", "%m/%d/%y", None),
        ("2024-03-31 02:30:00.250", "%Y-%m-%d %H:%M:%S.%f", "2024-03-31T02:30:00.250"),
        ("2024-03-31T02:30:00.123456Z", "%Y-%m-%dT%H:%M:%S.%f%z", "2024-03-31T02:30:00.123456"),
        ("2024-03-31 24:00", "%Y-%m-%d %H:%M", None),
        ("2016-12-31 23:59:60", "%Y-%m-%d %H:%M:%S", None),
        ("12:05 AM 2024", "%I:%M %p %Y", "2024-01-01T00:05"),
        ("12:05 pm 2024", "%I:%M %p %Y", "2024-01-01T12:05"),
        ("2023 366", "%Y %j", None),
        ("2024 366", "%Y %j", "2024-12-31"),
        ("2020-W53-7", "%G-W%V-%u", "2021-01-03"),
        ("2021-W53-1", "%G-W%V-%u", None),
        ("２０２４", "%Y", None),
        ("2024-01-01T00:00+0130:15", "%Y-%m-%dT%H:%M%z", None),
        ("2024-01-01T00:00+24:00", "%Y-%m-%dT%H:%M%z", None),
        ("0001-01-01T00:00+01:00", "%Y-%m-%dT%H:%M%z", None),
        ("2024-05-06", "%F", "2024-05-06"),
        ("MAI 2024", "%b %Y", None),
        ("auguſt 2024", "%B %Y", None),
    ],
)
def test_single_texts(text, form, expected):
    wanted = None if expected is None else int(np.datetime64(expected, "us").astype(np.int64))
    assert ours([text, None], form)[0] == [wanted, None]


def test_nine_digits_of_a_second_are_told_apart_from_what_is_kept():
    times = read_times(pa.array(["1.123456789", "1.123456000", "1.5"]), check_form("%S.%f"))
    assert times.nanos.tolist() == [789, 0, 0]
    assert (times.micros % 1_000_000).tolist() == [123_456, 123_456, 500_000]


@pytest.mark.parametrize("code", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ%+")
def test_every_code_is_read_or_refused_by_name(code):
    beside = {"p": "%I ", "I": "%p ", "U": "%Y %a ", "W": "%Y %a ", "G": "%V %a ", "V": "%G %a "}.get(code, "")
    form = f"{beside}%{code}"
    time = datetime.datetime(2001, 2, 3, 16, 5, 6, 789)
    try:
        check_form(form)
    except HeadwaterError as error:
        assert f"%{code}" in str(error)
        # Python reads none of these, and %Z without telling the zone to anybody.
        assert code == "Z" or python(time.strftime(form), form) is None
        return
    text = time.strftime(form) if code != "z" else "+0100"
    assert ours([text], form)[0] != [None]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("%Y-%m-%d %Z", "%Z .*zone names.*set `zone`"),
        ("%s", "seconds since 1970 are a number"),
        ("%H:%M %p", "%p needs %I"),
        ("%I:%M", "%I, the 12-hour clock, needs %p"),
        ("%Y %U", "%U and %W need %Y and a weekday"),
        ("%Y %V %a", "%G, %V and a weekday"),
        ("%G %V %u %j", "%G is the year of %V"),
        ("%Y %y", "both the year"),
        ("%d %d", "%d appears twice"),
        ("%Y %", "ends with a single %"),
        ("%Q", "the codes are %A, "),
    ],
)
def test_a_code_that_says_nothing_there_is_refused(form, reason):
    with pytest.raises(HeadwaterError, match=reason):
        check_form(form)
