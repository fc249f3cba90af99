"""Random rows: what the other strategies are held against, and what measures a model fairly."""

from __future__ import annotations

import numpy as np

from headwater.components.common import hashing
from headwater.components.label.asking.strategies import Pool, Rows, Space, Told

TITLE = "drawn at random"
LEARNS = "nothing"


def worth(rows: Rows, space: Space) -> np.ndarray:
    """A number of the row's key that is as good as drawn, in [0, 1)."""
    return hashing.shares(rows.hashes)


def choose(pool: Pool, told: Told) -> np.ndarray:
    """Any."""
    drawn = hashing.mix(pool.rows.hashes + np.uint64(told.seed * 2 + 1))
    return np.argsort(drawn, kind="stable")[: told.wanted]
