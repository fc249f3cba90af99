"""Many tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def benjamini_hochberg(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values: those up to q are found with a false discovery rate of q (Benjamini and Hochberg, 1995).

    Args:
      p_values: of all tests that were made, each in [0, 1].

    Returns:
      float64, in the same order.
    """
    p = np.asarray(p_values, float)
    if not len(p):
        return p
    order = np.argsort(p, kind="stable")[::-1]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / np.arange(len(p), 0, -1)), 1.0)
    return adjusted
