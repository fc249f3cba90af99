"""Entropy sampling: the rows over whose class the model's probabilities are spread most evenly, spread over the space."""

from __future__ import annotations

import numpy as np

from headwater.components.label.asking.diversity import spread
from headwater.components.label.asking.strategies import Pool, Rows, Space, Told

TITLE = "many classes are likely"
LEARNS = "model"


def worth(rows: Rows, space: Space) -> np.ndarray:
    """The entropy of the probabilities as a share of the greatest that there can be, in [0, 1]."""
    assert rows.probabilities is not None, "it learns from a model"
    return entropy(rows.probabilities) / np.log(rows.probabilities.shape[1])


def choose(pool: Pool, told: Told) -> np.ndarray:
    """The least certain, one from each neighbourhood."""
    return spread(pool.rows.vectors, pool.worth, told.wanted, told.seed, told.beside)


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Of distributions along the last axis, in nats."""
    given = probabilities.astype(np.float64)
    return -(given * np.log(np.maximum(given, 1e-300))).sum(-1)
