"""Votes of raters whose confusions are known: to hold aggregation against an oracle."""

from __future__ import annotations

import numpy as np

from headwater.components.label.human.aggregation import Votes


def generate(
    items: int,
    raters: int,
    overlap: int,
    classes: int,
    seed: int,
    *,
    spammers: float = 0.1,
    accuracy: tuple[float, float] = (0.6, 0.95),
) -> tuple[np.ndarray, Votes, np.ndarray, np.ndarray]:
    """Votes of different raters on each item.

    Args:
      items, raters, classes: how many.
      overlap: votes an item.
      seed: of chance.
      spammers: the share of raters who answer one class whatever they see, or any.
      accuracy: the least and the most accuracy of the others.

    Returns:
      The truth; the votes; the raters' confusions, [raters, classes, answers]; and the shares of classes.
    """
    chance = np.random.default_rng(seed)
    shares = chance.dirichlet(np.full(classes, 8.0))
    truth = chance.choice(classes, items, p=shares)
    right = chance.uniform(*accuracy, (raters, 1))
    confusion = np.empty((raters, classes, classes))
    for each in range(classes):
        others = chance.dirichlet(np.full(classes - 1, 2.0), raters) * (1 - right)
        confusion[:, each] = np.insert(others, each, right[:, 0], 1)
    for number in range(int(round(spammers * raters))):
        row = chance.dirichlet(np.full(classes, 1.0))
        confusion[number] = row if number % 2 else np.eye(classes)[row.argmax()] * 0.97 + 0.03 / classes
    # Distinct raters: a stride through a permutation of them, another one for each item.
    start = chance.integers(raters, size=items)
    steps = np.array([each for each in range(1, raters) if np.gcd(each, raters) == 1])
    step = chance.choice(steps, items)
    rater = (start[:, None] + step[:, None] * np.arange(overlap)) % raters
    item = np.repeat(np.arange(items), overlap)
    rater = rater.ravel()
    cumulative = confusion[rater, truth[item]].cumsum(1)
    answer = (chance.random(len(item))[:, None] > cumulative).sum(1).clip(0, classes - 1)
    votes = Votes(item.astype(np.int32), rater.astype(np.int32), answer.astype(np.int8), items, raters, classes)
    return truth, votes, confusion, shares


def oracle(votes: Votes, confusion: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """The posterior by the confusions that made the votes."""
    scores = np.tile(np.log(shares), (votes.items, 1))
    logs = np.log(np.maximum(confusion, 1e-12))
    for each in range(votes.classes):
        scores[:, each] += np.bincount(votes.item, weights=logs[votes.rater, each, votes.answer], minlength=votes.items)
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)


_TABLE = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212 1211111
1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111 1111111 1121121
1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222
"""
_ANSWERS = np.array([[int(digit) - 1 for digit in patient] for patient in _TABLE.split()], np.int8)

ANAESTHETISTS = Votes(
    np.repeat(np.arange(45, dtype=np.int32), 7),
    np.tile(np.array([0, 0, 0, 1, 2, 3, 4], np.int32), 45),
    _ANSWERS.ravel(),
    45,
    5,
    4,
)
"""Table 1 of Dawid and Skene (1979): of each patient three assessments by the first anaesthetist, one by each other."""
