"""Region-based: the space is partitioned, a strategy runs in each region, and regions share the batch by how many rows
they have and how uncertain those are."""

from __future__ import annotations

import dataclasses

import numpy as np

from headwater.components.label.asking.strategies import STRATEGIES, Pool, Rows, Space, Told

TITLE = "uncertain within its region"
LEARNS = "model"
BY_REGION = True


def worth(rows: Rows, space: Space) -> np.ndarray:
    """That of the strategy which runs in the regions."""
    return STRATEGIES[space.inner].worth(rows, space)


def choose(pool: Pool, told: Told) -> np.ndarray:
    """The rows of each region, by its strategy."""
    assert pool.regions is not None and pool.counts is not None and pool.sums is not None, "it has regions"
    available = np.bincount(pool.regions, minlength=len(pool.counts))
    given = shared(pool.sums, available, told.wanted)
    chosen = []
    for region in np.flatnonzero(given):
        places = np.flatnonzero(pool.regions == region)
        own = Pool(pool.rows.take(places), pool.worth[places])
        part = dataclasses.replace(told, wanted=int(given[region]))
        chosen.append(places[STRATEGIES[told.inner].choose(own, part)])
    together = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
    return together[np.argsort(-pool.worth[together], kind="stable")]


def shared(weights: np.ndarray, available: np.ndarray, wanted: int) -> np.ndarray:
    """Shares a number of rows by weight, by largest remainder, none more than it has.

    Args:
      weights: of each, not negative.
      available: how many each has.
      wanted: how many in all.
    """
    given = np.zeros(len(weights), np.int64)
    while (left := min(wanted, int(available.sum())) - int(given.sum())) > 0:
        open_to = given < available
        own = np.where(open_to, np.maximum(weights, 1e-12), 0)
        exact = own / own.sum() * left
        more = np.minimum(np.floor(exact).astype(np.int64), available - given)
        if not more.any():
            order = np.argsort(-np.where(open_to, exact, -1), kind="stable")
            more[order[: min(left, int(open_to.sum()))]] = 1
        given += more
    return given
