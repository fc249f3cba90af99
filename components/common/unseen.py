"""How much of later data values may be that were never seen before.

By Good and Turing (Good, 1953), after `n` values of which `once` occur once, the next one is new with probability (once + 1) / (n + 1)
at most on average: among n + 1 values each is as likely to be the last. So the share of new values in later data of the
same distribution is above (once + 1) / ((n + 1) × `MOST_FALSE`) with probability at most `MOST_FALSE`, by Markov's
inequality, whatever the distribution and however many values come: for the mass M that is unseen and the bound U,
E[M / U] = MOST_FALSE × P(one of n + 1 values occurs once). McAllester and Schapire's bound (2000) is about one mass, not about
a share that is observed later, and is looser at these sizes.
"""

from __future__ import annotations

from headwater.components.common.distributions import Feature

MOST_FALSE = 0.02
"""The greatest probability that later data of the same distribution has a greater share of new values."""

LEAST_MASS = 0.5
"""Where more than the rest of it may be new, what was seen says nothing of what may come."""


def most_unseen(feature: Feature) -> float:
    """The bound on the share of new values; above 1 where all may be new.

    Args:
      feature: text whose values are counted one by one.
    """
    rows, once = int(feature.counts.sum()), int((feature.counts == 1).sum())
    return (once + 1) / ((rows + 1) * MOST_FALSE)
