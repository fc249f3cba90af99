"""Agreement beyond chance, beside published tables and plain definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from raters import ANAESTHETISTS, generate

from headwater.components.label.human import agreement
from headwater.components.label.human.aggregation import Votes


def votes_of(table: list[list[int | None]], classes: int) -> Votes:
    """Votes of a table with a line a rater."""
    cells = [
        (item, rater, each) for rater, line in enumerate(table) for item, each in enumerate(line) if each is not None
    ]
    item, rater, answer = (np.array(each) for each in zip(*cells))
    return Votes(item, rater, answer.astype(np.int8), len(table[0]), len(table), classes)


def digits(*lines: str) -> list[list[int | None]]:
    return [[None if each == "." else int(each) for each in line] for line in lines]


# Krippendorff, "Computing Krippendorff's alpha-reliability" (2011): two observers of ten articles, and four of twelve units
# with missing data.
TWO = votes_of(digits("0100000000", "1110010100"), 2)
FOUR = votes_of(digits("012210301...", "0122113014.2", ".2221231140.", "01221330140."), 5)


@pytest.mark.parametrize(
    ("votes", "scale", "expected"),
    [
        (TWO, "nominal", 0.095),
        (FOUR, "nominal", 0.743),
        (FOUR, "ordinal", 0.815),
        (FOUR, "interval", 0.849),
    ],
)
def test_alpha_is_as_published(votes, scale, expected):
    found = agreement.alpha(agreement.patterns_of(votes), scale)
    assert found == pytest.approx(expected, abs=5e-4)


def plain_alpha(votes: Votes, apart) -> float:
    """By its definition: all pairs of answers to one item, beside all pairs of answers."""
    units = [votes.answer[votes.item == item].tolist() for item in range(votes.items)]
    units = [unit for unit in units if len(unit) > 1]
    values = [each for unit in units for each in unit]
    observed = sum(sum(apart(a, b) for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units)
    expected = sum(apart(a, b) for a, b in itertools.permutations(values, 2)) / (len(values) - 1)
    return 1 - observed / expected


def test_alpha_is_that_of_its_definition():
    chance = np.random.default_rng(3)
    _, votes, *_ = generate(40, 8, 4, 4, 3)
    kept = chance.random(len(votes.item)) < 0.7
    votes = votes._replace(item=votes.item[kept], rater=votes.rater[kept], answer=votes.answer[kept])
    patterns = agreement.patterns_of(votes)
    assert agreement.alpha(patterns) == pytest.approx(plain_alpha(votes, lambda a, b: a != b))
    assert agreement.alpha(patterns, "interval") == pytest.approx(plain_alpha(votes, lambda a, b: (a - b) ** 2))
    values = [1.0, 2.0, 4.0, 80.0]
    found = agreement.alpha(patterns, "interval", values)
    assert found == pytest.approx(plain_alpha(votes, lambda a, b: (values[a] - values[b]) ** 2))


def test_the_interval_holds_the_estimate_and_narrows_with_more_items():
    widths = []
    for items in (60, 3_000):
        _, votes, *_ = generate(items, 10, 3, 3, 1)
        patterns = agreement.patterns_of(votes)
        low, high = agreement.interval(patterns)
        assert low < agreement.alpha(patterns) < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 4


def test_fleiss_kappa_is_as_published():
    """Fleiss (1971) as Wikipedia has it: ten subjects, fourteen raters, five categories."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    patterns = agreement.Patterns(np.array(table), np.ones(10, np.int64))
    assert agreement.fleiss(patterns) == pytest.approx(0.210, abs=5e-4)


def test_cohens_kappa_is_as_published():
    """Two readers of fifty proposals: both yes 20, first alone 5, second alone 10, both no 15."""
    one = [1] * 25 + [0] * 25
    other = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    kappa, shared = agreement.cohen(votes_of([one, other], 2), 0, 1)
    assert (round(kappa, 2), shared) == (0.40, 50)


def test_what_cannot_be_known_is_none():
    alone = votes_of([[0, 1, None], [None, None, 1]], 2)
    same = votes_of([[1, 1, 1], [1, 1, 1]], 2)
    for votes in (alone, same):
        told = agreement.describe(votes, ["a", "b"], "nominal", None)
        assert told["alpha"] is None and told["interval"] is None and told["fleiss"] is None and told["pairs"] == []


def test_many_distinct_patterns_are_sampled():
    chance = np.random.default_rng(0)
    items = 30_000
    answers = chance.integers(60, size=(items, 6)).astype(np.int8)
    votes = Votes(np.repeat(np.arange(items), 6), np.tile(np.arange(6), items), answers.ravel(), items, 6, 60)
    patterns = agreement.patterns_of(votes)
    assert len(patterns.items) < 2_000
    assert abs(agreement.alpha(patterns)) < 0.01


def test_pairs_that_agree_least_come_first():
    told = agreement.describe(ANAESTHETISTS, list("abcde"), "ordinal", None)
    kappas = [each["kappa"] for each in told["pairs"]]
    assert kappas == sorted(kappas) and len(kappas) == 10 and told["scale"] == "ordinal"
