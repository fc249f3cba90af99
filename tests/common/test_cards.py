"""What pages share: the strip of facts, ids of cards, and commands that are told apart from words."""

from __future__ import annotations

import pytest

from headwater.components.common import cards
from headwater.components.common.results import Home
from headwater.components.common.version import VERSION


@pytest.mark.parametrize(
    ("action", "parts"),
    [
        ("", []),
        ("look at the page", [("Look at the page", False)]),
        (
            'if the data is right: headwater accept --name a --reason "it; is"; if not, correct it',
            [
                ("If the data is right: ", False),
                ('headwater accept --name a --reason "it; is"', True),
                ("; if not, correct it", False),
            ],
        ),
        (
            "add missing: {zip: ['?']} to collect's settings",
            [("Add ", False), ("missing: {zip: ['?']}", True), (" to collect's settings", False)],
        ),
        ("headwater review --name a", [("headwater review --name a", True)]),
        ("restart headwater now", [("Restart headwater now", False)]),
    ],
)
def test_commands_and_settings_are_told_apart_from_words(action, parts):
    assert cards.parts(action) == parts


def test_the_strip_says_what_is_known():
    findings = [
        {"severity": "error"},
        {"severity": "info"},
        {"severity": "info"},
        {"severity": "warning", "acknowledged": {"reason": "x"}},
    ]
    home = Home("root", "a", 3, 2)
    facts = cards.facts(
        findings=findings, rows={"train": 1500, "eval": 5}, span=3, until="2026-01-02T00:00:00+00:00", home=home
    )
    assert facts == [
        ("Findings", "1 error, 2 info, 1 acknowledged"),
        ("Rows", "1,505 (train 1,500, eval 5)"),
        ("Span", "3"),
        ("Data until", "2026-01-02 00:00:00"),
        ("Version", "2"),
        ("Headwater", VERSION),
    ]
    assert cards.facts(findings=None, rows={"all": 7}, span=None, until=None, home=None) == [
        ("Rows", "7"),
        ("Headwater", VERSION),
    ]


def test_each_card_has_an_id_of_its_own():
    made = [
        cards.card({"severity": "info", "message": "m"}, subject=about, kind=kind, kind_words="", why="")
        for about, kind in (("a", "X"), ("a", "X"), ("a", "Y"), ("b c", "X"))
    ]
    cards.number(made, ["a", "a", "a", "b c"], features=True)
    assert [each["id"] for each in made] == ["finding-a-x", "finding-a-x-2", "finding-a-y", "finding-b.20c-x"]
    assert [each["feature_id"] for each in made] == ["feature-a", "", "", "feature-b.20c"]
