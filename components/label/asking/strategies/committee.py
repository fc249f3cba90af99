"""Query by committee (Seung et al., 1992): the rows on which models of the same labels disagree, spread over the space."""

from __future__ import annotations

import numpy as np

from headwater.components.label.asking.diversity import spread
from headwater.components.label.asking.strategies import Pool, Rows, Space, Told
from headwater.components.label.asking.strategies.entropy import entropy

TITLE = "models of the same answers disagree"
LEARNS = "committee"


def worth(rows: Rows, space: Space) -> np.ndarray:
    """Half the entropy of the members' votes, half that of their consensus and how far each is from it (its mean
    Kullback-Leibler divergence), in [0, 1].

    Votes alone tie wherever a small committee is split alike, and divergence alone likes rows that one member is sure of.
    """
    assert rows.members is not None, "it learns a committee"
    members, count, classes = rows.members.shape
    winners = rows.members.argmax(2)
    votes = np.stack([(winners == each).sum(0) for each in range(classes)], 1) / members
    consensus = rows.members.mean(0)
    divergence = entropy(consensus) - entropy(rows.members).mean(0)
    most = np.log(min(members, classes))
    return 0.5 * entropy(votes) / most + 0.25 * divergence / most + 0.25 * entropy(consensus) / np.log(classes)


def choose(pool: Pool, told: Told) -> np.ndarray:
    """Those that are disputed most, one from each neighbourhood."""
    return spread(pool.rows.vectors, pool.worth, told.wanted, told.seed, told.beside)
