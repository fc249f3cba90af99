"""Votes with known truth, and what an oracle that knows how they were made says of them."""

from __future__ import annotations

import numpy as np

CLASSES, FUNCTIONS = 3, 20
PRIOR = np.array([0.5, 0.3, 0.2])
COVERAGE, NARROW_COVERAGE = 0.6, 0.21
COPIED = 0.8
COPIES = ((16, 17), (18, 19))


def generate(kind: str, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes of a kind.

    "A": accuracies from .40 to .75, errors uniform; functions 18 and 20 copy 17 and 19. "B": each function and class its
    own accuracy and errors; the same copies. "C": each function votes for one class, at precisions from .40 to .75.

    Returns:
      The truth, int8; the votes, int8, [rows, functions], -1 to abstain; and log P(outcome of each group | class) by
      group, for `oracle`.
    """
    chance = np.random.default_rng(seed)
    truth = chance.choice(CLASSES, rows, p=PRIOR).astype(np.int8)
    accuracies = np.linspace(0.40, 0.75, FUNCTIONS)
    if kind == "C":
        return truth, *_narrow(truth, accuracies, chance)
    confusion = np.empty((FUNCTIONS, CLASSES, CLASSES))
    for number in range(FUNCTIONS):
        for true in range(CLASSES):
            accuracy = accuracies[number] if kind == "A" else chance.uniform(0.35, 0.75)
            errors = np.full(CLASSES - 1, 1 / (CLASSES - 1)) if kind == "A" else chance.dirichlet([1] * (CLASSES - 1))
            confusion[number, true] = np.insert(errors * (1 - accuracy), true, accuracy)
    voted = chance.random((rows, FUNCTIONS)) < COVERAGE
    votes = np.full((rows, FUNCTIONS), -1, np.int8)
    for number in range(FUNCTIONS):
        drawn = (chance.random(rows)[:, None] > confusion[number].cumsum(1)[truth]).sum(1).clip(0, CLASSES - 1)
        votes[:, number] = np.where(voted[:, number], drawn, -1)
    for one, other in COPIES:
        copied = (chance.random(rows) < COPIED) & voted[:, one] & voted[:, other]
        votes[copied, other] = votes[copied, one]
    return truth, votes, _tables(confusion)


def oracle(votes: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """P(class | votes) by the way that the votes were made; float64, [rows, classes]."""
    total = np.tile(np.log(PRIOR), (len(votes), 1))
    codes = votes.astype(np.int64) + 1
    for group, table in tables:
        code = codes[:, group[0]]
        for number in group[1:]:
            code = code * (CLASSES + 1) + codes[:, number]
        total += table[code]
    total = np.exp(total - total.max(1, keepdims=True))
    return total / total.sum(1, keepdims=True)


def _tables(confusion: np.ndarray) -> list[tuple[tuple[int, ...], np.ndarray]]:
    paired = {number for pair in COPIES for number in pair}
    width = CLASSES + 1
    found = []
    for number in sorted(set(range(FUNCTIONS)) - paired):
        table = np.vstack([np.full(CLASSES, 1 - COVERAGE), COVERAGE * confusion[number].T])
        found.append(((number,), np.log(table)))
    for one, other in COPIES:
        joint = np.zeros((width, width, CLASSES))
        joint[0, 0] = (1 - COVERAGE) ** 2
        joint[1:, 0] = COVERAGE * (1 - COVERAGE) * confusion[one].T
        joint[0, 1:] = COVERAGE * (1 - COVERAGE) * confusion[other].T
        for true in range(CLASSES):
            first, second = confusion[one, true], confusion[other, true]
            joint[1:, 1:, true] = COVERAGE**2 * (COPIED * np.diag(first) + (1 - COPIED) * np.outer(first, second))
        found.append(((one, other), np.log(joint.reshape(-1, CLASSES))))
    return found


def _narrow(truth: np.ndarray, precisions: np.ndarray, chance: np.random.Generator):
    votes = np.full((len(truth), FUNCTIONS), -1, np.int8)
    tables = []
    for number, precision in enumerate(precisions):
        own = number % CLASSES
        right = NARROW_COVERAGE * precision / PRIOR[own]
        wrong = NARROW_COVERAGE * (1 - precision) / (1 - PRIOR[own])
        votes[:, number] = np.where(chance.random(len(truth)) < np.where(truth == own, right, wrong), own, -1)
        table = np.full((CLASSES + 1, CLASSES), 1e-300)
        table[own + 1] = np.where(np.arange(CLASSES) == own, right, wrong)
        table[0] = 1 - table[own + 1]
        tables.append(((number,), np.log(table)))
    return votes, tables
