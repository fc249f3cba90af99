"""From what a graph's solution gives to probabilities that hold: class masses, and a temperature from held-out seeds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

LEAST_SEEDS = 30
"""Fewer held-out seeds than this calibrate nothing."""

FOLDS = 4

ENOUGH_SEEDS = 200
"""A fold of so many seeds calibrates as well as all."""

_TEMPERATURES = np.exp(np.linspace(np.log(0.1), np.log(10), 93))
_DOUBTS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4)
_LEAST = 1e-12


class Calibration(NamedTuple):
    """What makes probabilities of shares.

    Attributes:
      factors: float64, what each class's share is multiplied by.
      prior: the share of each class among all rows, where it is known or as the seeds have it.
      temperature: above 1 for shares that are too sure, below 1 for too unsure ones.
      doubt: how often a row is none of what its neighbours are, but as any other.
    """

    factors: np.ndarray
    prior: np.ndarray
    temperature: float = 1.0
    doubt: float = 0.0

    def probabilities(self, mass: np.ndarray) -> np.ndarray:
        """The probabilities of rows, float32; of a row that nothing reached, the prior."""
        weighed: Any = mass * self.factors.astype(np.float32)
        total = weighed.sum(1, keepdims=True)
        none = total[:, 0] <= 0
        weighed /= np.where(total > 0, total, 1)
        if self.temperature != 1:
            weighed = np.maximum(weighed, np.float32(_LEAST))
            weighed /= weighed.max(1, keepdims=True)
            weighed **= np.float32(1 / self.temperature)
            weighed /= weighed.sum(1, keepdims=True)
        prior = self.prior.astype(np.float32)
        if self.doubt:
            weighed = (1 - np.float32(self.doubt)) * weighed + np.float32(self.doubt) * prior
        weighed[none] = prior
        return weighed


def class_mass(mass: np.ndarray, copies: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """What classes are multiplied by so that they get the part of all rows that they have (Zhu et al., 2003).

    Args:
      mass: of the nodes that a seed reaches.
      copies: how many rows each node is.
      prior: the share of each class.
    """
    total = mass.sum(1, dtype=np.float64)
    shares = (copies / np.where(total > 0, total, 1)) @ mass.astype(np.float64)
    return prior / np.maximum(shares / max(copies.sum(), 1), _LEAST)


def fit(plain: Calibration, held: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> Calibration:
    """Chooses temperature and doubt by the log loss of held-out seeds.

    Args:
      plain: without them.
      held: what other seeds give at each seed.
      classes: how much each seed is of each class.
      weights: of the seeds, of mean 1.
    """
    # So few seeds do not tell of an error that is rarer, even if all are right.
    least = 1 / (len(held) + 2)
    tried = [
        plain._replace(temperature=float(temperature), doubt=doubt)
        for temperature in _TEMPERATURES
        for doubt in sorted({max(doubt, least) for doubt in _DOUBTS})
    ]
    return min(tried, key=lambda each: log_loss(each.probabilities(held), classes, weights))


def log_loss(probabilities: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean of −log of the probability of a seed's class; of its classes, by how much it is of each."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), _LEAST))
    return float(-np.average((classes * logs).sum(1), weights=weights))


def folds_of(numbers: np.ndarray) -> np.ndarray:
    """The fold of each seed, int64: each class is dealt out in turn, and a class of one seed is in a fold that is never held
    out, which is the last.

    Args:
      numbers: of each seed its class, in an order of chance.
    """
    folds = np.full(len(numbers), FOLDS)
    for number in np.unique(numbers):
        own = np.flatnonzero(numbers == number)
        if len(own) > 1:
            folds[own] = (np.arange(len(own)) + int(number)) % FOLDS
    return folds
