"""Expectation maximisation: the likeliest parameters of a label model, from votes on rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater.components.label.weak.model import majority, outcomes_of, separate
from headwater.components.label.weak.tally import one_hot

EARLY_ITERATIONS = 4
_MOST_ITERATIONS = 300
_STILL = 1e-5
# The longest leap, in iterations.
_FURTHEST = 64.0


PRIOR_VOTES = 10.0
"""So many votes of each function have, before the fit, the classes that the majority gives them."""


def first_posterior(votes: np.ndarray, gold: np.ndarray, classes: int, balance: np.ndarray | None) -> np.ndarray:
    """The majority's, and certain where the class is known; float32, [classes, rows]."""
    return clamped(majority(votes, np.full(classes, 1 / classes) if balance is None else balance), gold).T


def early_posterior(
    votes: np.ndarray, weights: np.ndarray, gold: np.ndarray, classes: int, balance: np.ndarray | None
) -> np.ndarray:
    """The posterior after a few iterations from the majority vote, float32, [classes, rows]."""
    posterior = first_posterior(votes, gold, classes, balance)
    steps = Steps(votes, weights, gold, classes, balance, separate(votes.shape[1]))
    for _ in range(EARLY_ITERATIONS):
        posterior, _ = steps.expect(steps.maximise(posterior))
    return posterior


class Steps:
    """EM's two steps. Parameters are log P(class), [classes, 1], and log P(outcome | class) of each group.

    Posteriors are [classes, rows] here: few and long rows are what numpy is quick with.

    Args:
      votes: int8, [rows, functions].
      weights: rows that each row stands for.
      gold: int8, the class where it is known, and -1.
      classes: how many there are.
      balance: the share of each class, if it is known.
      groups: functions with one joint distribution.
      silent: one a function, whether its abstaining tells nothing of the class; of none by default.
      prior: a posterior, float32, [classes, rows], by which each group counts some of its votes beforehand:
        functions are as good as it says until votes tell otherwise. None without.
      strength: how many votes those are, in place of `PRIOR_VOTES`.
    """

    def __init__(
        self,
        votes: np.ndarray,
        weights: np.ndarray,
        gold: np.ndarray,
        classes: int,
        balance: np.ndarray | None,
        groups: tuple[tuple[int, ...], ...],
        silent: np.ndarray | None = None,
        prior: np.ndarray | None = None,
        strength: float = PRIOR_VOTES,
    ):
        self._outcomes = Outcomes(votes, groups, classes, silent)
        self._weights, self._balance = weights.astype(np.float32), balance
        self._beforehand: list[np.ndarray] | None = None
        if prior is not None:
            self._beforehand = [
                part * (strength / max(float(part[1:].sum()), strength, 1.0))
                for part in self._outcomes.counts(prior * self._weights)
            ]
        self._known = np.flatnonzero(gold >= 0)
        self._gold = gold[self._known]
        self._certain = np.eye(classes, dtype=np.float32)[:, self._gold]

    def maximise(self, posterior: np.ndarray) -> list[np.ndarray]:
        """The likeliest parameters, one pseudo-row a class counted in."""
        weighted = posterior * self._weights
        prior = self._balance if self._balance is not None else normalised(weighted.sum(1, dtype=np.float64) + 1)
        return [np.log(prior)[:, None], *self._outcomes.tables(weighted, self._beforehand)]

    def expect(self, parameters: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
        """The posterior, and the log likelihood of votes and gold."""
        logits = self._outcomes.logits(parameters[1:])
        logits += parameters[0].astype(np.float32)
        most = logits.max(0)
        logits -= most
        golden = logits[self._gold, self._known]
        np.exp(logits, out=logits)
        total = logits.sum(0)
        logits /= total
        logits[:, self._known] = self._certain
        evidence = np.log(total, out=total)
        evidence[self._known] = golden
        evidence += most
        return logits, float(evidence.astype(np.float64) @ self._weights)

    def converge(
        self, posterior: np.ndarray, still: float = _STILL, most: int = _MOST_ITERATIONS
    ) -> tuple[list[np.ndarray], int]:
        """Parameters that a further iteration hardly changes, and how many it took.

        After every two iterations a leap as far as they point (scheme S3 of Varadhan and Roland, "Simple and globally
        convergent methods for accelerating the convergence of any EM algorithm", Scandinavian Journal of Statistics 35,
        2008), which is taken back where the likelihood falls.
        """
        start = plain = self.maximise(posterior)
        share = self._weights / (self._weights.sum() * len(posterior))
        least = -np.inf
        iterations = 0
        while iterations < most:
            iterations += 2
            before, likelihood = self.expect(start)
            if likelihood < least:
                start = plain
                before, _ = self.expect(start)
            one = self.maximise(before)
            after, least = self.expect(one)
            plain = self.maximise(after)
            if float(np.abs(after - before).sum(0) @ share) < still:
                break
            start = _leap(start, one, plain)
        return plain, iterations


def _leap(start: Sequence[np.ndarray], one: Sequence[np.ndarray], two: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Where the iterations from `start` over `one` to `two` lead."""
    first = [b - a for a, b in zip(start, one)]
    turn = [c - b - each for b, c, each in zip(one, two, first)]
    bend = sum(float((each**2).sum()) for each in turn)
    length = min(_FURTHEST, np.sqrt(sum(float((each**2).sum()) for each in first) / bend)) if bend else 1.0
    if length <= 1:
        return list(two)
    moved = [a + 2 * length * way + length**2 * each for a, way, each in zip(start, first, turn)]
    return [each - np.log(np.exp(each - each.max(0)).sum(0)) - each.max(0) for each in moved]


class Outcomes:
    """The outcomes of groups on rows: one-hot for functions alone, numbers for joint ones, whose outcomes are many."""

    def __init__(
        self,
        votes: np.ndarray,
        groups: Sequence[tuple[int, ...]],
        classes: int,
        silent: np.ndarray | None = None,
    ):
        self._groups, self._classes = groups, classes
        turned = np.ascontiguousarray(votes.T)
        alone = turned[[group[0] for group in groups if len(group) == 1]]
        self._ones, self._quiet = one_hot(alone, classes), (alone < 0).astype(np.float32)
        self._codes = {group: outcomes_of(turned, group, classes) for group in groups if len(group) > 1}
        self._voters = [_voters(group, classes, silent) if silent is not None else None for group in groups]

    def counts(self, weighted: np.ndarray) -> list[np.ndarray]:
        """How many rows of each class have each outcome, [outcomes, classes], of each group.

        Args:
          weighted: posterior times weights, float32, [classes, rows].
        """
        classes = self._classes
        voted = (self._ones @ weighted.T).reshape(-1, classes, classes)
        # Counted, since what votes leave of all rows would be rounded to nothing where abstentions are few.
        alone = iter(np.concatenate([(self._quiet @ weighted.T)[:, None], voted], 1).astype(np.float64))
        found = []
        for group in self._groups:
            if len(group) == 1:
                part = next(alone)
            else:
                outcomes = (classes + 1) ** len(group)
                part = np.stack([np.bincount(self._codes[group], row, minlength=outcomes) for row in weighted], 1)
            found.append(part)
        return found

    def tables(self, weighted: np.ndarray, beforehand: Sequence[np.ndarray] | None = None) -> tuple[np.ndarray, ...]:
        """log P(outcome | class) of each group, one pseudo-row a class spread as the group's outcomes are.

        Args:
          weighted: posterior times weights, float32, [classes, rows].
          beforehand: counts to start from.
        """
        counts = self.counts(weighted)
        if beforehand is not None:
            counts = [part + before for part, before in zip(counts, beforehand)]
        return tuple(_smoothed(part, voters) for part, voters in zip(counts, self._voters))

    def logits(self, tables: Sequence[np.ndarray]) -> np.ndarray:
        """Σ log P(outcome | class) over the groups, float32, [classes, rows]."""
        total = self._alone(tables)
        for group, table in zip(self._groups, tables):
            if len(group) > 1:
                total += np.take(np.ascontiguousarray(table.T, np.float32), self._codes[group], axis=1)
        return total

    def _alone(self, tables: Sequence[np.ndarray]) -> np.ndarray:
        alone = [table for group, table in zip(self._groups, tables) if len(group) == 1]
        if not alone:
            return np.zeros((self._classes, self._ones.shape[1]), np.float32)
        # All functions abstain, but for those that vote.
        changes = np.concatenate([table[1:] - table[0] for table in alone])
        total = changes.astype(np.float32).T @ self._ones
        return total + sum(table[0] for table in alone).astype(np.float32)[:, None]


def _voters(group: tuple[int, ...], classes: int, silent: np.ndarray) -> np.ndarray | None:
    """Of each outcome, which of the functions vote whose abstaining tells nothing, as a number; None if there are none."""
    if not any(silent[number] for number in group):
        return None
    codes = np.arange((classes + 1) ** len(group))
    found = np.zeros(len(codes), np.int64)
    for place, number in enumerate(group):
        votes = codes // (classes + 1) ** (len(group) - 1 - place) % (classes + 1) > 0
        found = 2 * found + (votes & silent[number])
    return found


def _smoothed(part: np.ndarray, voters: np.ndarray | None) -> np.ndarray:
    """log P(outcome | class) of counts, [outcomes, classes]; who votes, as far as it tells nothing, is alike in all."""
    spread = (part.sum(1, keepdims=True) + 0.1) / (part.sum() + 0.1 * len(part))
    shares = (part + spread) / (part.sum(0, keepdims=True) + 1)
    if voters is not None:
        total = np.zeros((voters.max() + 1, part.shape[1]))
        np.add.at(total, voters, shares)
        known = np.zeros(len(total))
        np.add.at(known, voters, spread[:, 0])
        shares = shares / total[voters] * known[voters][:, None]
    return np.log(shares)


def normalised(sums: np.ndarray) -> np.ndarray:
    """Shares that add up to one."""
    return sums / sums.sum()


def clamped(posterior: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """A posterior that is certain where the class is known."""
    known = gold >= 0
    if known.any():
        posterior = posterior.copy()
        posterior[known] = np.eye(posterior.shape[1], dtype=posterior.dtype)[gold[known]]
    return posterior
