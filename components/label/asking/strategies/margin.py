"""Margin sampling: the rows whose two likeliest classes are closest (Scheffer et al., 2001), spread over the space."""

from __future__ import annotations

import numpy as np

from headwater.components.label.asking.diversity import spread
from headwater.components.label.asking.strategies import Pool, Rows, Space, Told

TITLE = "two classes are about equally likely"
LEARNS = "model"


def worth(rows: Rows, space: Space) -> np.ndarray:
    """One less the distance between the two greatest probabilities, in [0, 1]."""
    assert rows.probabilities is not None, "it learns from a model"
    ordered = np.partition(rows.probabilities, -2, 1)
    return 1 - (ordered[:, -1] - ordered[:, -2]).astype(np.float64)


def choose(pool: Pool, told: Told) -> np.ndarray:
    """The least certain, one from each neighbourhood."""
    return spread(pool.rows.vectors, pool.worth, told.wanted, told.seed, told.beside)
