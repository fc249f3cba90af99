"""How long feedback takes, from counts that merge.

Only feedback that has come can be counted, so that long delays are seen of old predictions alone and a plain quantile is
too short. Delays are truncated from the right at the time that each prediction was watched for; the product-limit
estimate for such data (Lynden-Bell, "A method of allowing for known observational selection in small samples applied to
3CR quasars", MNRAS 155, 1971) weighs each delay against the predictions that were watched long enough to show it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

SHARES = (0.5, 0.9, 0.95, 0.99)
"""The shares of all feedback whose delays are reported."""

ADVISED = 0.95
"""The share of all feedback that an advised window holds."""

_PER_OCTAVE = 8
_MICROSECONDS = 1e6
_LEAST = 30
# Up to 2**30 s, 34 years; shorter than a second is the first bin.
BINS = 30 * _PER_OCTAVE + 1


def count(delays: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Counts delays, and for how long their predictions were watched; counts add up.

    Args:
      delays, seen: microseconds; a delay is at most what was seen.

    Returns:
      int64, [BINS, BINS]: by delay and by time watched, in bins that are each 9 % wider than the one before.
    """
    places = _bin(delays) * BINS + _bin(seen)
    return np.bincount(places, minlength=BINS * BINS).reshape(BINS, BINS)


def edge(number: int) -> float:
    """The end of a bin, in seconds."""
    return 2.0 ** (number / _PER_OCTAVE)


def describe(counts: np.ndarray, window: float) -> dict[str, Any]:
    """What counts tell, JSON values only.

    Args:
      counts: from `count`.
      window: seconds: the one that is set.

    Returns:
      `events`; `watched`, the longest time in seconds that enough predictions were watched for; `histogram` as [end of
      the bin in seconds, share of all feedback that comes within it]; `quantiles` as [share, seconds]; `held`, the share of all feedback
      that the window holds; and `advised`, the shortest window in seconds that holds `ADVISED` of it. All shares are
      of the feedback that comes while predictions are watched; what takes longer nobody has seen. Where fewer than 30
      events could have shown a delay nothing is estimated.
    """
    summary: dict[str, Any] = {"events": int(counts.sum()), "watched": None, "histogram": [], "quantiles": []}
    if not summary["events"]:
        return {**summary, "held": None, "advised": None}
    # Beyond this too few were watched for so long as to tell how many would take it: one old event says nothing.
    enough = np.flatnonzero(_at_risk(counts) >= _LEAST)
    if not len(enough):
        return {**summary, "held": None, "advised": None}
    summary["watched"] = edge(int(enough[-1]))
    counts = counts.copy()
    counts[enough[-1] + 1 :] = 0
    within = distribution(counts)
    used = np.flatnonzero(counts.any(1))
    summary["histogram"] = [[edge(place), float(within[place])] for place in range(used[0], used[-1] + 1)]
    summary["quantiles"] = [[share, _quantile(within, share)] for share in SHARES]
    # The last bin that the window holds whole.
    whole = math.floor(math.log2(max(window, 1.0)) * _PER_OCTAVE + 1e-9)
    return {**summary, "held": float(within[min(whole, BINS - 1)]), "advised": _quantile(within, ADVISED)}


def distribution(counts: np.ndarray) -> np.ndarray:
    """The share of all feedback that comes within each bin or before it, float64."""
    events = counts.sum(1)
    stay = 1 - events / np.maximum(_at_risk(counts), 1)
    # F(x) is the chance that the delay is in no later bin.
    later = np.append(stay[1:], 1.0)
    return np.cumprod(later[::-1])[::-1]


def _at_risk(counts: np.ndarray) -> np.ndarray:
    """Of each bin the events of no longer delay whose predictions were watched for at least so long."""
    below = np.cumsum(counts, 0)
    return np.array([below[place, place:].sum() for place in range(BINS)])


def _quantile(within: np.ndarray, share: float) -> float:
    return edge(int(np.argmax(within >= share - 1e-12)))


def _bin(microseconds: np.ndarray) -> np.ndarray:
    seconds = np.maximum(microseconds / _MICROSECONDS, 1.0)
    return np.minimum(np.ceil(np.log2(seconds) * _PER_OCTAVE - 1e-9), BINS - 1).astype(np.int64)
