"""How much raters agree beyond chance: Krippendorff's alpha, Fleiss' and Cohen's kappa.

All are made of each item's counts of answers, of which there are few distinct ones, however many items there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from headwater.components.label.human.aggregation import Votes

NOMINAL, ORDINAL, INTERVAL = "nominal", "ordinal", "interval"

_DRAWS = 1_000
_MOST_PAIRS = 20
_LEAST_SHARED = 5
_MOST_PATTERNS, _MOST_CELLS = 10_000, 4_000_000


class Patterns(NamedTuple):
    """Items by how often they got each answer.

    Attributes:
      counts: distinct ones of at least two answers, [patterns, classes].
      items: of how many items each is.
    """

    counts: np.ndarray
    items: np.ndarray


def patterns_of(votes: Votes) -> Patterns:
    """The patterns of votes; items with one vote say nothing of agreement."""
    cells = votes.item.astype(np.int64) * votes.classes + votes.answer
    counts = np.bincount(cells, minlength=votes.items * votes.classes).reshape(votes.items, votes.classes)
    counts = counts[counts.sum(1) > 1]
    if not len(counts):
        return Patterns(np.empty((0, votes.classes), np.int64), np.empty(0, np.int64))
    # As bytes rows are told apart in one sort.
    rows = np.ascontiguousarray(counts).view([("", counts.dtype)] * counts.shape[1]).ravel()
    _, first, items = np.unique(rows, return_index=True, return_counts=True)
    most = min(_MOST_PATTERNS, _MOST_CELLS // votes.classes**2)
    if len(first) > most:
        # Many answers of many classes: a sample of items, each its own pattern.
        some = np.random.default_rng(0).choice(len(counts), most, replace=False)
        return Patterns(counts[some], np.ones(most, np.int64))
    return Patterns(counts[first], items)


def alpha(patterns: Patterns, scale: str = NOMINAL, values: Sequence[float] | None = None) -> float | None:
    """Krippendorff's alpha, for any number of raters and of missing answers.

    Args:
      patterns: the items.
      scale: nominal, ordinal (classes in their order), or interval.
      values: of each class, for an interval scale; its place by default.

    Returns:
      1 for perfect agreement, 0 for that of chance; None where nobody disagrees because there is but one answer, or no
      item has two.
    """
    return _alpha(*_coincidences(patterns, patterns.items[None, :].astype(float)), scale, values)[0]


def interval(
    patterns: Patterns, scale: str = NOMINAL, values: Sequence[float] | None = None, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % interval of alpha, by the bootstrap over items; None where alpha is None."""
    total = int(patterns.items.sum())
    if total < 2:
        return None
    chance = np.random.default_rng(seed)
    drawn = chance.multinomial(total, patterns.items / total, size=_DRAWS).astype(float)
    found = [each for each in _alpha(*_coincidences(patterns, drawn), scale, values) if each is not None]
    return (float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))) if found else None


def fleiss(patterns: Patterns) -> float | None:
    """Fleiss' kappa; of items with different numbers of answers each counts by its pairs' share, as in Fleiss and Cuzick.
    None where there is but one answer."""
    number = patterns.counts.sum(1)
    if not len(number):
        return None
    agreed = (patterns.counts * (patterns.counts - 1)).sum(1) / (number * (number - 1))
    observed = (agreed * patterns.items).sum() / patterns.items.sum()
    shares = (patterns.counts * patterns.items[:, None]).sum(0)
    expected = ((shares / shares.sum()) ** 2).sum()
    return None if expected == 1 else float((observed - expected) / (1 - expected))


def cohen(votes: Votes, one: int, other: int) -> tuple[float | None, int]:
    """Cohen's kappa of two raters, and on how many items it rests."""
    answers = []
    for rater in (one, other):
        own = votes.rater == rater
        found = np.full(votes.items, -1, np.int64)
        found[votes.item[own]] = votes.answer[own]
        answers.append(found)
    both = (answers[0] >= 0) & (answers[1] >= 0)
    shared = int(both.sum())
    if not shared:
        return None, 0
    cells = answers[0][both] * votes.classes + answers[1][both]
    table = np.bincount(cells, minlength=votes.classes**2).reshape(votes.classes, votes.classes) / shared
    expected = (table.sum(0) * table.sum(1)).sum()
    return (None if expected == 1 else float((np.trace(table) - expected) / (1 - expected))), shared


def describe(votes: Votes, names: Sequence[str], scale: str, values: Sequence[float] | None) -> dict[str, Any]:
    """Agreement for the manifest and the page.

    Args:
      votes: the votes.
      names: of the raters, as they are shown.
      scale, values: as of `alpha`.
    """
    patterns = patterns_of(votes)
    bounds = interval(patterns, scale, values)
    return {
        "scale": scale,
        "items": int(patterns.items.sum()),
        "alpha": alpha(patterns, scale, values),
        "interval": list(bounds) if bounds else None,
        "fleiss": fleiss(patterns),
        "pairs": _pairs(votes, names),
    }


def _pairs(votes: Votes, names: Sequence[str]) -> list[dict[str, Any]]:
    """Cohen's kappa of pairs among the raters with most votes, those who agree least first."""
    counts = np.bincount(votes.rater, minlength=votes.raters)
    busiest = [int(each) for each in np.argsort(-counts, kind="stable")[:8] if counts[each]]
    found: list[dict[str, Any]] = []
    for place, one in enumerate(busiest):
        for other in busiest[place + 1 :]:
            kappa, shared = cohen(votes, one, other)
            if shared >= _LEAST_SHARED and kappa is not None:
                found.append({"raters": [names[one], names[other]], "kappa": kappa, "items": shared})
    return sorted(found, key=lambda each: each["kappa"])[:_MOST_PAIRS]


def _coincidences(patterns: Patterns, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coincidences of answers, [draws, classes, classes], and how often each answer was paired, [draws, classes]."""
    counts = patterns.counts.astype(float)
    own = counts[:, :, None] * counts[:, None, :]
    places = np.arange(counts.shape[1])
    own[:, places, places] -= counts
    own /= np.maximum(counts.sum(1) - 1, 1)[:, None, None]
    found = (weights @ own.reshape(len(own), counts.shape[1] ** 2)).reshape(-1, *own.shape[1:])
    return found, found.sum(2)


def _alpha(
    coincidences: np.ndarray, margins: np.ndarray, scale: str, values: Sequence[float] | None
) -> list[float | None]:
    classes = margins.shape[1]
    total = margins.sum(1)
    if scale == NOMINAL:
        apart = np.broadcast_to(1 - np.eye(classes), coincidences.shape)
    elif scale == ORDINAL:
        # The squared number of answers between two, half of their own counted.
        ranks = np.cumsum(margins, 1) - margins / 2
        apart = (ranks[:, :, None] - ranks[:, None, :]) ** 2
    else:
        points = np.arange(classes, dtype=float) if values is None else np.array(values, float)
        apart = np.broadcast_to((points[:, None] - points[None, :]) ** 2, coincidences.shape)
    observed = (coincidences * apart).sum((1, 2))
    expected = (margins[:, :, None] * margins[:, None, :] * apart).sum((1, 2))
    return [
        None if together <= 0 else float(1 - (number - 1) * seen / together)
        for seen, together, number in zip(observed, expected, total)
    ]
