"""Simulated votes of several kinds, of which some suit a label model and some mislead it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from votes import generate, sparse

Votes = tuple[np.ndarray, np.ndarray, int]
_ROWS = (300, 500, 1_000, 2_000, 3_000)


def draw(seed: int) -> tuple[str, np.ndarray, np.ndarray, int]:
    """A set of votes: the name of its kind, the truth, the votes and the number of classes; of rows with a vote."""
    kind = KINDS[seed % len(KINDS)]
    rows = int(np.random.default_rng(seed + 10**6).choice(_ROWS))
    truth, votes, classes = kind(seed, rows)
    covered = (votes >= 0).any(1)
    votes = votes[covered]
    return kind.__name__.strip("_"), truth[covered].astype(int), votes[:, (votes >= 0).any(0)].astype(np.int8), classes


def _causes(seed: int, rows: int) -> Votes:
    return sparse(seed, rows, ("one", "mixed", "all")[seed % 3])


def _independent(seed: int, rows: int) -> Votes:
    return *generate("ABC"[seed % 3], rows, seed)[:2], 3


def _words(seed: int, rows: int) -> Votes:
    """Functions look for words of topics; a class has some topics, and each topic may turn up in any class."""
    chance = np.random.default_rng(seed)
    classes = int(chance.choice([2, 2, 2, 3, 4, 5, 7]))
    truth = chance.choice(classes, rows, p=_shares(chance, classes))
    topics = classes * int(chance.integers(2, 5))
    own = np.arange(topics) % classes
    pure = chance.uniform(0.6, 0.97)
    mixed = np.where(own == np.arange(classes)[:, None], pure, (1 - pure) / (classes - 1))
    mixed *= chance.gamma(1.5, 1, (1, topics))
    topic = _drawn(chance, mixed / mixed.sum(1, keepdims=True), truth)
    length = chance.gamma(2, 0.5, rows)
    functions = int(chance.integers(max(6, 2 * classes), 30))
    frequent = np.exp(chance.normal(0, 0.8, functions))
    frequent *= chance.uniform(1.2, 4.5) / frequent.sum()
    votes = np.full((rows, functions), -1, np.int8)
    for number in range(functions):
        said = number % classes if number < 2 * classes else int(chance.choice(classes))
        mine = np.flatnonzero(own == said)
        mine = chance.choice(mine, min(len(mine), int(chance.integers(1, 4))), replace=False)
        rate = np.where(np.isin(topic, mine), chance.uniform(3, 20), 1.0) * length
        rate *= np.where(truth == said, chance.uniform(1, 2.5), 1.0)
        votes[chance.random(rows) < 1 - np.exp(-rate * frequent[number] / rate.mean()), number] = said
    return truth, votes, classes


def _raters(seed: int, rows: int) -> Votes:
    """Raters of unlike ability, rows of unlike difficulty that lure them to the same mistake."""
    chance = np.random.default_rng(seed)
    classes = int(chance.choice([2, 2, 3, 4, 5, 7]))
    truth = chance.choice(classes, rows, p=_shares(chance, classes))
    functions = int(chance.integers(4, 30))
    coverage = _coverage(chance, functions)
    hard = chance.beta(*[(1, 3), (2, 2), (0.5, 1)][chance.integers(3)], rows)
    lure, lured = (truth + chance.integers(1, classes, rows)) % classes, chance.uniform(0, 0.9)
    low, high = sorted(chance.uniform(0.5, 0.98, 2))
    votes = np.full((rows, functions), -1, np.int8)
    for number in range(functions):
        accuracy = chance.uniform(low, high) if chance.random() > 0.05 else 1 / classes
        accuracy = np.clip(accuracy + (0.5 - hard) * chance.uniform(0.2, 0.8), 0.02, 0.99)
        other = np.where(chance.random(rows) < lured, lure, (truth + chance.integers(1, classes, rows)) % classes)
        said = np.where(chance.random(rows) < accuracy, truth, other)
        voted = chance.random(rows) < coverage[number]
        votes[voted, number] = said[voted]
    return truth, votes, classes


def _thresholds(seed: int, rows: int) -> Votes:
    """Thresholds on few columns that hang together."""
    chance = np.random.default_rng(seed)
    classes = int(chance.choice([2, 2, 2, 3, 4]))
    truth = chance.choice(classes, rows, p=_shares(chance, classes))
    columns = int(chance.integers(3, 12))
    means = chance.normal(0, chance.uniform(0.7, 1.5), (classes, columns))
    mixing = np.eye(columns) + chance.normal(0, chance.uniform(0.1, 0.5), (columns, columns))
    values = means[truth] + chance.normal(size=(rows, columns)) @ mixing
    functions = int(chance.integers(max(5, classes), 22))
    target, two_sided = chance.uniform(1.3, 6), classes == 2 and chance.random() < 0.3
    votes = np.full((rows, functions), -1, np.int8)
    for number in range(functions):
        said = number if number < classes else int(chance.integers(classes))
        gaps = means[said] - np.delete(means, said, 0).mean(0)
        # Nobody writes a rule on a column that tells nothing.
        column = int(chance.choice(np.argsort(-np.abs(gaps))[: max(2, columns // 2)]))
        seen = np.sign(gaps[column]) * (values[:, column] + chance.normal(0, 0.5, rows) * (chance.random() < 0.5))
        share = min(0.6, target / functions * chance.uniform(0.5, 1.8))
        votes[seen > np.quantile(seen, 1 - share), number] = said
        if two_sided:
            votes[seen < np.quantile(seen, share), number] = 1 - said
    return truth, votes, classes


def _ambiguous(seed: int, rows: int) -> Votes:
    """Rows that look like another class to all functions alike."""
    chance = np.random.default_rng(seed)
    classes = int(chance.choice([2, 2, 3, 4, 5]))
    truth = chance.choice(classes, rows, p=_shares(chance, classes))
    functions = int(chance.integers(4, 28))
    coverage = _coverage(chance, functions)
    alike = np.clip(chance.uniform(0.5, 0.97, classes), 1 / classes + 0.1, 1)
    mistaken = chance.dirichlet(np.full(classes, 0.6), classes) * (1 - np.eye(classes))
    other = _drawn(chance, mistaken / mistaken.sum(1, keepdims=True), truth)
    seen = np.where(chance.random(rows) < alike[truth], truth, other)
    low, high = sorted(chance.uniform(0.5, 0.95, 2))
    one_sided = chance.random() < 0.3
    votes = np.full((rows, functions), -1, np.int8)
    for number in range(functions):
        wrong = np.where(chance.random(rows) < 0.6, other, chance.integers(0, classes, rows))
        said = np.where(chance.random(rows) < chance.uniform(low, high), seen, wrong)
        voted = chance.random(rows) < coverage[number]
        if one_sided:
            voted = (chance.random(rows) < min(0.95, coverage[number] * classes)) & (said == number % classes)
        votes[voted, number] = said[voted]
    return truth, votes, classes


def _shares(chance: np.random.Generator, classes: int) -> np.ndarray:
    shares = np.maximum(chance.dirichlet(np.full(classes, chance.choice([1.5, 4, 20]))), 0.05)
    return shares / shares.sum()


def _coverage(chance: np.random.Generator, functions: int) -> np.ndarray:
    coverage = np.exp(chance.normal(0, 0.8, functions))
    return np.minimum(coverage * chance.uniform(1.5, min(9, functions * 0.8)) / coverage.sum(), 0.97)


def _drawn(chance: np.random.Generator, shares: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A number for each row by the shares of its class."""
    return (chance.random(len(truth))[:, None] > shares.cumsum(1)[truth]).sum(1).clip(0, shares.shape[1] - 1)


KINDS: tuple[Callable[[int, int], Votes], ...] = (
    _causes, _words, _raters, _thresholds, _causes, _independent, _ambiguous, _words, _ambiguous, _raters,
)  # fmt: skip
