"""Values that are shown because they were rejected: dates stay readable, personal data does not."""

from __future__ import annotations

import pytest
from headwater.components.collect.privacy.detect import scrub


@pytest.mark.parametrize(
    "text",
    [
        "31/12/69",
        "01/01/68",
        "1/2/24",
        "0000-00-00",
        "0001-01-01",
        "1899-12-30",
        "9999-12-31",
        "3.4.2021",
        "00/00/0000",
        "2020-13-45",
        "2020-1-5",
        "2020-366",
        "2021-06",
        "05/2021",
        "1816-03-29T05:56:08.066277376",
        "02/30/2021 01:02:03",
        "2021/2/3 4:5:6",
        "2021-02-30T10:00:00+02:00",
    ],
)
def test_rejected_dates_stay_readable(text):
    assert scrub(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0612345678", "[phone]"),
        ("+49 30 123456", "[phone]"),
        ("030/1234567", "[phone]"),
        ("01.23.45.67.89", "[ip].89"),
        ("01-23-45-67-89", "[phone]"),
        ("2021-02-30,0612345678", "2021-02-30,[phone]"),
        ("4111 1111 1111 1111", "[card]"),
        ("1612137600000", "[number]"),
        ("12-34-56", "[number]"),
    ],
)
def test_numbers_of_people_do_not(text, shown):
    assert scrub(text) == shown
