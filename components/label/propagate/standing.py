"""How many rows each seed stands for: those that no other seed is nearer to.

Seeds are seldom a sample of the rows. People are asked about rows that are hard, functions vote on rows that are easy, and the
share of a class among such seeds tells nothing of its share among all rows. What is near a seed does, as long as seeds were
picked by what is known of rows and not by their class (covariate shift; Shimodaira, 2000).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from headwater.components.label.propagate import neighbours

_ROWS = 20_000


_FAR = 0.95
_CHANCE = 2.5
_FEW = 0.3


class Standing(NamedTuple):
    """What seeds stand for.

    Attributes:
      weights: how many rows each seed stands for, in proportion: float64, of mean 1. All 1 where the classes' shares by them are
        within chance of those of the plain seeds, since then they add only noise.
      far: the share of rows that are farther from the nearest seed than 19 of 20 seeds are from theirs. Of seeds that are a sample
        of the rows it is about 0.05.
    """

    weights: np.ndarray
    far: float


def standing(points: np.ndarray, hashes: np.ndarray, seeds: np.ndarray, classes: np.ndarray, flat: int) -> Standing:
    """How many rows each seed stands for, and how many rows lie far from all seeds.

    Args:
      points: of all rows, float32, [rows, dimensions].
      hashes: uint64, an order of chance; rows that come first in it stand for all where there are many.
      seeds: which rows are seeds.
      classes: float32, [seeds, classes]: how much each is of each class.
      flat: the most seeds that each row is compared with.
    """
    chosen = np.argsort(hashes, kind="stable")[:_ROWS]
    # Seeds at one point share what is near it.
    places, group, sizes = np.unique(points[seeds], axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    index, _, order = neighbours.build(np.ascontiguousarray(places), flat)
    distances, nearest = neighbours.nearest(index, np.ascontiguousarray(points[chosen]), 1)
    counts = np.bincount(order[nearest[nearest >= 0]], minlength=len(places)).astype(np.float64)
    far, is_seed = 0.0, np.isin(chosen, seeds)
    if len(places) > 1 and not is_seed.all():
        others = neighbours.nearest(index, np.ascontiguousarray(places[:_ROWS]), 2)[0][:, 1]
        far = float((distances[~is_seed, 0] > np.quantile(others, _FAR)).mean())
    weights = (counts / sizes)[group] * (len(seeds) / max(counts.sum(), 1))
    return Standing(weights if _picked(classes.astype(np.float64), weights) else np.ones(len(seeds)), far)


def _picked(classes: np.ndarray, weights: np.ndarray) -> bool:
    """Whether few seeds stand for most rows, or the classes' shares by weights differ from the plain ones by more than chance
    makes them."""
    plain, weighed = classes.mean(0), np.average(classes, axis=0, weights=weights)
    # So many seeds of equal weight would tell as much (Kish, 1965).
    seeds = weights.sum() ** 2 / (weights**2).sum()
    if seeds < _FEW * len(weights):
        return True
    return bool((np.abs(weighed - plain) > _CHANCE * np.sqrt(plain * (1 - plain) / seeds)).any())


def shares(classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The share of each class among all rows, each class a row more, so that none is 0.

    Args:
      classes: float32, [seeds, classes]: how much each seed is of each class.
      weights: how many rows each stands for, of mean 1.
    """
    known = weights @ classes.astype(np.float64) + 1
    return known / known.sum()
