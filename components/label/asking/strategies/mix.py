"""A mix: several strategies share the batch, each by its share, and none takes what another has taken, or a row beside it.

What needs no model chooses first: it sees the whole pool, and what learns from the labels then looks elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headwater.components.label.asking.strategies import STRATEGIES, Pool, Told
from headwater.components.label.asking.strategies.regions import shared

TITLE = "a mix"
LEARNS = "committee"

SHARES = {"margin": 0.7, "committee": 0.3}
"""The shares where none are given, of what exploring leaves."""

EXPLORED = 6
"""With so many labels for each class a model knows better than clusters where to look; until then, where no shares are given,
clusters have a part of each batch, all of it where nothing is labelled."""


def parts(shares: Mapping[str, float]) -> tuple[str, ...]:
    """The strategies of the mix."""
    return tuple(shares or (*SHARES, "clusters"))


def choose_from(pools: Mapping[str, Pool], told: Told) -> list[tuple[str, int]]:
    """The strategy and the place in its pool of each row, turn by turn."""
    names = parts(told.shares)
    own_shares = told.shares or _shares(len(told.labelled), told.classes)
    weights = np.array([own_shares[name] for name in names], np.float64)
    given = shared(weights, np.full(len(names), told.wanted), told.wanted)
    taken: set[int] = set()
    labelled = told.labelled
    chosen: dict[str, list[int]] = {}
    for name, own in sorted(zip(names, given.tolist()), key=lambda each: STRATEGIES[each[0]].LEARNS != "nothing"):
        pool = pools[name]
        free = np.array([hash not in taken for hash in pool.rows.hashes.tolist()], bool)
        places = np.flatnonzero(free)
        left = Pool(pool.rows.take(places), pool.worth[places], *_of_regions(pool, places))
        beside = labelled[len(told.labelled) :]
        part = Told(own, labelled, told.classes, inner=told.inner, seed=told.seed, beside=beside)
        picked = places[STRATEGIES[name].choose(left, part)] if own and len(places) else places[:0]
        chosen[name] = picked.tolist()
        taken.update(pool.rows.hashes[picked].tolist())
        # The next one sees these as if they were labelled.
        labelled = np.concatenate([labelled, pool.rows.vectors[picked]])
    turns = [(place, name) for name in names for place in range(len(chosen[name]))]
    return [(name, chosen[name][place]) for place, name in sorted(turns, key=lambda turn: turn[0])]


def _shares(labelled: int, classes: int) -> dict[str, float]:
    """The shares where none are given."""
    exploring = max(0.0, 1 - labelled / (EXPLORED * classes))
    return {**{name: share * (1 - exploring) for name, share in SHARES.items()}, "clusters": exploring}


def _of_regions(pool: Pool, places: np.ndarray) -> tuple[np.ndarray | None, ...]:
    return (None if pool.regions is None else pool.regions[places], pool.counts, pool.sums)
