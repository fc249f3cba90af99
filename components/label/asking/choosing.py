"""A batch of one strategy from what came back of the pool, all in memory: what the loop does after rows are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from headwater.components.label.asking.diversity import nearest_of
from headwater.components.label.asking.strategies import STRATEGIES, Pool, Rows, Space, Told, parts_of


class Picked(NamedTuple):
    """One row of a batch.

    Attributes:
      hash: of its key.
      score: how much it is worth asking about, as its strategy sees it.
      strategy: by which it was chosen.
    """

    hash: int
    score: float
    strategy: str


def choose(strategy: str, pools: Mapping[str, Pool], told: Told) -> list[Picked]:
    """The rows to ask about, the first first.

    Args:
      strategy: its name.
      pools: of each of its parts.
      told: how many, and what is known.
    """
    module = STRATEGIES[strategy]
    if hasattr(module, "choose_from"):
        turns = module.choose_from(pools, told)
    else:
        turns = [(strategy, int(place)) for place in module.choose(pools[strategy], told)]
    picked = []
    for place, (name, at) in enumerate(turns):
        # What learns nothing has no measure of a row but the turn in which it chose it.
        learns = STRATEGIES[name].LEARNS != "nothing"
        score = float(pools[name].worth[at]) if learns else round(1 - place / len(turns), 9)
        picked.append(Picked(int(pools[name].rows.hashes[at]), score, name))
    return picked


def pools_of(strategy: str, rows: Rows, space: Space, shares: Mapping[str, float], most: int) -> dict[str, Pool]:
    """The pool of each part of a strategy, from rows that are all in memory.

    Args:
      strategy: its name.
      rows: all that may be asked about.
      space: as workers get it.
      shares: of a mix.
      most: how many rows a pool may have; of each region, where a strategy has regions.
    """
    pools = {}
    for name in parts_of(strategy, shares):
        worth = worth_of(name, rows, space)
        regions = region_of(name, rows, space)
        kept = best(worth, rows.hashes, regions, most)
        counts = sums = None
        if regions is not None and space.centres is not None:
            counts = np.bincount(regions, minlength=len(space.centres))
            sums = np.bincount(regions, worth, minlength=len(space.centres))
        pools[name] = Pool(rows.take(kept), worth[kept], None if regions is None else regions[kept], counts, sums)
    return pools


def worth_of(name: str, rows: Rows, space: Space) -> np.ndarray:
    """What each row is worth to a strategy, the same whatever the batch."""
    return np.round(STRATEGIES[name].worth(rows, space), 9)


def region_of(name: str, rows: Rows, space: Space) -> np.ndarray | None:
    """The region of each row; None for a strategy without regions."""
    if not getattr(STRATEGIES[name], "BY_REGION", False) or space.centres is None:
        return None
    return nearest_of(rows.vectors, space.centres)


def best(worth: np.ndarray, hashes: np.ndarray, regions: np.ndarray | None, most: int) -> np.ndarray:
    """The places of the rows of greatest worth, at most so many of each region; ties by hash, so that any order and any
    batches give the same.

    It is mergeable: of the best of parts the best are those of the whole.
    """
    if regions is None:
        order = np.lexsort((hashes, -worth))
        return order[:most]
    order = np.lexsort((hashes, -worth, regions))
    own = regions[order]
    starts = np.flatnonzero(np.diff(own, prepend=-1))
    turn = np.arange(len(own)) - np.repeat(starts, np.diff(np.append(starts, len(own))))
    kept = order[turn < most]
    return kept[np.lexsort((hashes[kept], -worth[kept]))]
