"""Which rows are nodes: all, while one machine holds them; else seeds and a sample of the others, chosen by their hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headwater.components.common import hashing, machine

_MEMORY_SHARE = 0.4
_SEEDS_SHARE = 0.5
_LEAST_NODES = 10_000


class Chosen(NamedTuple):
    """Shares of the rows that are nodes.

    Attributes:
      by_class: of the seeds of each class.
      others: of rows without a class.
    """

    by_class: tuple[float, ...]
    others: float

    @property
    def all_rows(self) -> bool:
        """Whether every row is a node."""
        return min(*self.by_class, self.others) >= 1

    def nodes(self, hashes: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Which rows are nodes, bool.

        Args:
          hashes: of the rows' keys.
          seeds: the class of each, or -1.
        """
        shares = np.array([*self.by_class, self.others])
        return hashing.shares(hashes) < shares[seeds]


def most_nodes(wanted: int, dimensions: int, neighbours: int, classes: int) -> tuple[int, bool]:
    """How many nodes a graph may have, and whether memory is what limits them.

    Args:
      wanted: how many there may be at most.
      dimensions: of a point.
      neighbours: of a node.
      classes: how many there are.
    """
    memory = machine.memory()
    if memory is None:
        return wanted, False
    # Points twice; of each neighbour, number and distance, and as joins in both directions, built once more; what is solved.
    each = 8 * dimensions + neighbours * (16 + 24 + 2 * 24) + 4 * 8 * classes + 200
    affordable = max(_LEAST_NODES, int(memory * _MEMORY_SHARE / each))
    return min(wanted, affordable), affordable < wanted


def choose(most: int, seeds: Sequence[int], others: int) -> Chosen:
    """Which rows are nodes.

    Args:
      most: how many nodes there may be, give or take what a choice by hashes varies.
      seeds: how many rows each class has.
      others: how many rows have none.
    """
    if sum(seeds) + others <= most:
        return Chosen((1.0,) * len(seeds), 1.0)
    room = max(most - others, int(most * _SEEDS_SHARE))
    # The rarest classes first, each with as much as is left for it.
    by_class = [1.0] * len(seeds)
    order = sorted(range(len(seeds)), key=lambda number: seeds[number])
    left = room
    for place, number in enumerate(order):
        own = min(seeds[number], left // (len(order) - place))
        by_class[number] = own / seeds[number] if seeds[number] else 1.0
        left -= own
    taken = sum(int(share * count) for share, count in zip(by_class, seeds))
    return Chosen(tuple(by_class), min(1.0, (most - taken) / others) if others else 1.0)
