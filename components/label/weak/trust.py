"""Trust: how far votes alone bear out a label model, and so how far its posterior is followed instead of the majority's.

Without gold a model can only be held against votes that it has not seen. Three things are asked. Can votes identify it at
all: do three independent functions that meet each other vote for each class? Is it consistent: the functions are parted
in two halves, each half is fitted on its own, and were both right and as sure as they say, how the two posteriors vary
together would follow from how each varies ("split-half calibration": with functions independent given the class, the
ratio is the product of both halves' calibration slopes). Is it too sure: at which temperature does the posterior from
the other functions predict best what one function votes on rows that were not fitted? Few votes answer the last two badly,
and `following` says what is usual of such votes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from headwater.components.label.patterns import distinct
from headwater.components.label.weak import following
from headwater.components.label.weak.em import Steps, first_posterior
from headwater.components.label.weak.model import LabelModel, Trust, outcomes_of, softmax

LEAST_SOURCES = 3
"""Fewer independent sources than this on a class do not identify the model."""

LEAST_MET = 10
"""Two sources that vote on fewer rows together have not met."""

_MOST_ROWS = 6_000
_ROWS_TO_FIT = 18_000
_SPLITS = 8
_FOLDS = 4
_STILL = 1e-4
_MOST_ITERATIONS = 60
_TEMPERATURES = np.array([1.0, 1.2, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 9.0, 15.0, 30.0])
# Real votes are never quite independent: before votes tell, temperatures lie around this one, by so much of its log.
_USUAL, _SPREAD = 2.0, 0.6
# So few votes tell nothing of their own dependence, and so many tell it.
_FEW_VOTES, _MANY_VOTES = 15_000.0, 45_000.0
# Consistency below the first is that of chance or of shared causes, above the second that of the model: of functions
# that vote for several classes, and of those that vote for one.
_INCONSISTENT, _CONSISTENT = (0.5, 0.86), (0.86, 0.94)
_MOST_UNIDENTIFIED = 0.4


def assess(
    votes: np.ndarray,
    weights: np.ndarray,
    classes: int,
    balance: np.ndarray | None,
    groups: Sequence[tuple[int, ...]],
    silent: np.ndarray,
    fitted: Callable[[], LabelModel],
) -> Trust:
    """Holds a model against votes that it has not seen.

    Args:
      votes: int8, [rows, functions].
      weights: rows that each row stands for.
      classes: how many there are.
      balance: the share of each class, if it is known.
      groups: functions with one joint distribution.
      silent: bool, one a function: whether its abstaining tells nothing.
      fitted: gives the model, and is asked only where two halves of the functions are consistent.
    """
    unidentified = _unidentified(votes, weights, classes, groups)
    rows = _drawn(votes, weights)
    cast = max(1, (rows >= 0).sum())
    lost = float((np.isin(rows, unidentified) & (rows >= 0)).sum() / cast)
    if lost > _MOST_UNIDENTIFIED:
        return Trust(0.0, unidentified=unidentified)
    few = float((rows[:, ~silent] >= 0).sum() / cast)
    ratios = _consistency(rows[:_MOST_ROWS], classes, balance, groups, silent)
    # Abstentions of functions that vote for one class are evidence, and what turns a model over where votes are sparse.
    narrow = min(1.0, 3 * few)
    consistency = float(np.mean(ratios) - narrow * np.std(ratios))
    if consistency < _INCONSISTENT[0]:
        return Trust(0.0, 1.0, consistency, unidentified)
    model = fitted()
    parameters = [np.log(model.prior)[:, None], *model.tables]
    temperature = dependent = _best(_scores(rows, classes, groups, silent, parameters))
    total = float(weights[(votes >= 0).any(1)].sum())
    known = float(np.clip(np.log(total * cast / len(rows) / _FEW_VOTES) / np.log(_MANY_VOTES / _FEW_VOTES), 0, 1))
    pool = following.strengths(
        following.seen(rows, total, classes, few, lost, ratios, dependent, softmax(model.logits(rows)))
    )
    majority, firm, em = ((1 - known) * pool[name] for name in following.MODELS)
    if known:
        least, enough = (wide + narrow * (one - wide) for wide, one in zip(_INCONSISTENT, _CONSISTENT))
        share = (1 - lost) * float(np.clip((consistency - least) / (enough - least), 0, 1))
        if share and len(rows) < _ROWS_TO_FIT:
            temperature = max(dependent, _best(_held_out(rows, classes, balance, groups, silent)))
        majority, em = majority + known * (1 - share), em + known * share / (dependent * temperature)
    followed = (firm + em) / (majority + firm + em)
    return Trust(followed, temperature, consistency, unidentified, (majority, firm, em))


def _unidentified(
    votes: np.ndarray, weights: np.ndarray, classes: int, groups: Sequence[tuple[int, ...]]
) -> tuple[int, ...]:
    """Classes that no three groups vote for which meet each other."""
    cast = np.stack([(votes[:, list(group)] >= 0).any(1) for group in groups], 1).astype(np.float32)
    met = (cast * weights[:, None].astype(np.float32)).T @ cast >= LEAST_MET
    np.fill_diagonal(met, False)
    found = []
    for number in range(classes):
        own = np.array([bool((votes[:, list(group)] == number).any()) for group in groups])
        inside = met & own & own[:, None]
        if not (inside @ inside & inside).any():
            found.append(number)
    return tuple(found)


def _drawn(votes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows with a vote in an order of chance, each as often as it stands for, but no more than `_ROWS_TO_FIT`."""
    chance = np.random.default_rng(0)
    covered = np.flatnonzero((votes >= 0).any(1))
    counts = weights[covered].astype(np.int64)
    if counts.sum() > 1_000_000:
        return votes[chance.choice(covered, _ROWS_TO_FIT, p=counts / counts.sum())]
    return votes[chance.permutation(np.repeat(covered, counts))[:_ROWS_TO_FIT]]


def _fit(
    votes: np.ndarray,
    classes: int,
    balance: np.ndarray | None,
    groups: Sequence[tuple[int, ...]],
    silent: np.ndarray,
    weights: np.ndarray | None = None,
) -> tuple[list[np.ndarray], Steps]:
    gold = np.full(len(votes), -1, np.int8)
    first = first_posterior(votes, gold, classes, balance)
    each = np.ones(len(votes)) if weights is None else weights
    steps = Steps(votes, each, gold, classes, balance, tuple(groups), silent, first)
    return steps.converge(first, _STILL, _MOST_ITERATIONS)[0], steps


def _consistency(
    votes: np.ndarray, classes: int, balance: np.ndarray | None, groups: Sequence[tuple[int, ...]], silent: np.ndarray
) -> np.ndarray:
    chance = np.random.default_rng(0)
    # Groups that vote mostly for the same class are dealt to both halves.
    most = [max(range(classes), key=lambda number: (votes[:, list(group)] == number).sum()) for group in groups]
    found = []
    for number in range(_SPLITS):
        order = np.lexsort((chance.random(len(groups)), np.array(most)))
        halves = [_posterior(votes, classes, balance, [groups[place] for place in order[part::2]], silent)
                  for part in ((0, 1) if number % 2 else (1, 0))]  # fmt: skip
        one, other = (half.astype(np.float64) for half in halves)
        means = one.mean(1), other.mean(1)
        shares = np.maximum((means[0] + means[1]) / 2, 1e-9)
        rows = len(votes)
        together = np.trace(one @ other.T) / rows - means[0] @ means[1]
        expected = np.trace((one @ one.T) / shares @ (other @ other.T)) / rows**2 - means[0] @ means[1]
        ratio = together / expected if min(together, expected) > _LEAST_EXPECTED else 0.0
        found.append(min(ratio, 1 / ratio) if ratio else 0.0)
    return np.array(found)


# Halves that say nothing together are not consistent.
_LEAST_EXPECTED = 1e-4


def _posterior(
    votes: np.ndarray,
    classes: int,
    balance: np.ndarray | None,
    groups: Sequence[tuple[int, ...]],
    silent: np.ndarray,
) -> np.ndarray:
    """That of some of the groups alone, [classes, rows]."""
    columns = [number for group in groups for number in group]
    places = iter(range(len(columns)))
    own = [tuple(next(places) for _ in group) for group in groups]
    few, of = distinct(votes[:, columns])
    parameters, steps = _fit(few, classes, balance, own, silent[columns], np.bincount(of, minlength=len(few)))
    return steps.expect(parameters)[0].take(of, axis=1)


def _held_out(
    votes: np.ndarray, classes: int, balance: np.ndarray | None, groups: Sequence[tuple[int, ...]], silent: np.ndarray
) -> np.ndarray:
    """`_scores` on rows that the parameters were not fitted from."""
    fold = np.arange(len(votes)) % _FOLDS
    return np.concatenate(
        [
            _scores(votes[fold == number], classes, groups, silent,
                    _fit(votes[fold != number], classes, balance, groups, silent)[0])
            for number in range(_FOLDS)
        ]
    )  # fmt: skip


def _scores(
    votes: np.ndarray,
    classes: int,
    groups: Sequence[tuple[int, ...]],
    silent: np.ndarray,
    parameters: Sequence[np.ndarray],
) -> np.ndarray:
    """By temperature, how well the posterior from the other groups predicts what a group votes: the mean log likelihood
    over the groups, float64, [rows, temperatures]."""
    prior, *tables = parameters
    turned = np.ascontiguousarray(votes.T)
    own = [table[outcomes_of(turned, group, classes)] for group, table in zip(groups, tables)]
    total = prior[:, 0] + sum(own)
    voted = np.stack([(turned[list(group)] >= 0).any(0) for group in groups], 1)
    scores, judged = np.zeros((len(votes), len(_TEMPERATURES))), np.zeros(len(votes))
    for place, group in enumerate(groups):
        seen = voted.sum(1) > voted[:, place]
        if silent[list(group)].all():
            seen &= voted[:, place]
        rest, outcome = total[seen] - own[place][seen], np.exp(own[place][seen])
        for step, each in enumerate(_TEMPERATURES):
            scores[seen, step] += np.log(np.maximum((softmax(rest / each) * outcome).sum(1), 1e-12))
        judged += seen
    return scores / np.maximum(judged, 1)[:, None]


def _best(scores: np.ndarray) -> float:
    """The temperature that votes and what is usual bear out."""
    usual = -((np.log(_TEMPERATURES / _USUAL) / _SPREAD) ** 2) / 2
    return float(_TEMPERATURES[int(np.argmax(scores.sum(0) + usual))])
