"""How far values and rows lie from the others: robust z of a column, and isolation across columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from headwater.components.common.isolation import grow

FAR = 3.5
"""A robust z beyond this is an outlier (Iglewicz & Hoaglin, 1993)."""

ISOLATED = 0.65
"""A row with a higher score of isolation, of at most 1, stands alone; an even cloud's rows have about 0.5."""

_TREES, _TREE_ROWS = 100, 256
_FARTHEST = 1e6


@dataclasses.dataclass(frozen=True)
class Scale:
    """What distances in a column are measured by.

    Attributes:
      middle: the median.
      spread: a robust standard deviation; 0 where all values are one.
      logarithmic: whether both are of the values' logarithms.
    """

    middle: float
    spread: float
    logarithmic: bool

    def distances(self, values: np.ndarray) -> np.ndarray:
        """Robust z of values, float64: NaN for NaN, infinite for what a logarithmic scale has no place for."""
        if self.logarithmic:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.where(values <= 0, -np.inf, np.log(values))
        if not self.spread:
            return np.where(np.isnan(values), np.nan, 0.0)
        return (values - self.middle) / self.spread


def scale_of(values: np.ndarray) -> Scale:
    """The scale of a column: its median and 1.4826 × the median absolute deviation.

    Where half of the values are one, the mean absolute deviation × 1.2533 stands in. Positive values whose upper half is
    more than three times as wide as the lower one are looked at by their logarithms.

    Args:
      values: float64, at least one of them finite; the others are left out.
    """
    values = values[np.isfinite(values)]
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    logarithmic = bool(values.min() > 0 and high - middle > 3 * (middle - low))
    if logarithmic:
        values = np.log(values)
    middle = np.median(values)
    left = np.abs(values - middle)
    spread = 1.4826 * np.median(left) or 1.2533 * np.mean(left)
    return Scale(float(middle), float(spread), logarithmic)


def isolation(distances: np.ndarray, seed: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """A forest that tells how alone rows stand (Liu, Ting & Zhou, 2008).

    Args:
      distances: robust z of the rows to learn from, float64[rows, columns].
      seed: of the forest.

    Returns:
      A function of such an array that gives each row's score in (0, 1), float64[rows]; missing is taken as the middle.
    """
    forest = grow(_without_holes(distances), _TREES, _TREE_ROWS, seed)
    return lambda others: forest.scores(_without_holes(others))


def _without_holes(distances: np.ndarray) -> np.ndarray:
    return np.clip(np.nan_to_num(distances, posinf=_FARTHEST, neginf=-_FARTHEST), -_FARTHEST, _FARTHEST)
