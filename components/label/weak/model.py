"""The label model: what a row's class is, given what functions of unknown accuracy vote on it.

Each function has, for each class, a distribution over its outcomes, to abstain among them; given the class functions are
independent of each other (Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM
algorithm", Applied Statistics 28, 1979), but for functions that copy each other: those are found early, while the
posterior still leans on the majority, and each group of them gets one joint distribution. Found late they would not be
found at all, since a copied pair that agrees with itself becomes the latent class. Gold classes stay fixed in the fit;
with enough of them the model is chosen and its temperature fitted on gold that it has not seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from headwater.components.label.weak.tally import Tally, chunks, rows_of

KINDS = ("em", "naive_bayes", "majority")

# A table of so many joint outcomes stays in a core's nearest cache.
_MOST_OUTCOMES = 1_024
FLOOR = 1e-9
"""The least probability that a logarithm is taken of."""


@dataclasses.dataclass(frozen=True)
class Trust:
    """How far votes alone bear out a model.

    Attributes:
      share: in [0, 1]: 0 is the majority alone, 1 the model alone.
      temperature: at which the posterior from the other functions predicts best what a function votes.
      consistency: how the posteriors of two halves of the functions vary together, as a share of what the model says;
        None where it was not estimated.
      unidentified: classes for which too few functions vote that meet each other.
      weights: of the logs of the majority's, a firm model's and EM's posterior, whose sum is followed.
    """

    share: float
    temperature: float = 1.0
    consistency: float | None = None
    unidentified: tuple[int, ...] = ()
    weights: tuple[float, float, float] = (1.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class LabelModel:
    """A fitted model.

    Attributes:
      kind: one of `KINDS`.
      classes: how many classes there are.
      prior: float, one a class.
      groups: functions whose outcomes have one joint distribution; most groups are of one function.
      tables: one a group, log P(outcome | class), [(classes + 1) ** functions, classes]. Empty for "majority".
      temperature: what the log posterior is divided by.
      keeps: whether the majority's class stays the likeliest.
      leaning: how much the log of the majority's posterior, each class counted one vote more, adds to it.
      smoothing: votes that the prior counts as, of the kind "majority".
      balance: the share of each class, if it was known.
      trust: how far votes alone bear the model out; None where gold chose, or it is as it was asked for.
      weights: of each kind, where gold chose several.
      losses: log loss on gold that the fit had not seen, by the kind's name ("em, pairs" with joint distributions);
        empty without enough gold.
      iterations: of EM.
      sampled: how many rows it was fitted from, where those are a sample; 0 for all distinct votes.
    """

    kind: str
    classes: int
    prior: np.ndarray
    groups: tuple[tuple[int, ...], ...]
    tables: tuple[np.ndarray, ...]
    temperature: float = 1.0
    losses: tuple[tuple[str, float], ...] = ()
    iterations: int = 0
    sampled: int = 0
    leaning: float = 0.0
    keeps: bool = False
    smoothing: float = 1.0
    balance: np.ndarray | None = None
    trust: Trust | None = None
    weights: tuple[tuple[str, float], ...] = ()

    def predict(self, votes: np.ndarray) -> np.ndarray:
        """P(class | votes), float32, [rows, classes].

        Args:
          votes: int8, [rows, functions]; -1 to abstain.
        """
        probabilities = np.empty((len(votes), self.classes), np.float32)
        even = np.full(self.classes, 1 / self.classes) if self.balance is None else self.balance
        for part in chunks(len(votes), max(votes.shape[1], self.classes)):
            logits = self.logits(votes[part]) / np.float32(self.temperature)
            if self.leaning:
                logits += np.float32(self.leaning) * np.log(majority(votes[part], even, self.classes))
            probabilities[part] = softmax(logits)
            if self.keeps:
                _keep(probabilities[part], votes[part], even)
        return probabilities

    def logits(self, votes: np.ndarray) -> np.ndarray:
        """log P(class, votes) up to a constant of the row, before the temperature; float32, [rows, classes]."""
        if self.kind == "majority":
            return np.log(majority(votes, self.prior, self.smoothing))
        turned = np.ascontiguousarray(votes.T)
        total = np.log(self.prior).astype(np.float32)[:, None].repeat(len(votes), 1)
        for functions, table in _blocks(self.groups, self.tables, self.classes):
            total += np.take(table, outcomes_of(turned, functions, self.classes), axis=1)
        return np.ascontiguousarray(total.T)

    def accuracies(self, tally: Tally, alone: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How often each function is right where it votes, with a 95 % interval.

        The estimate is the mean posterior of the classes that it votes. The interval is Wilson's ("Probable inference,
        the law of succession, and statistical inference", JASA 22, 1927) for as many votes as the sample is sure of: a
        row counts by how far its posterior is from the prior's entropy.

        Args:
          tally: the votes.
          alone: whether the posterior is the label model's, without the majority's part and as sure as it is.

        Returns:
          Estimate, lower and upper bound, one a function; NaN for one that votes on no row of the tally's patterns or
          sample.
        """
        votes, _, weights = rows_of(tally)
        posterior = softmax(self.logits(votes)) if alone else self.predict(votes)
        entropy = -(posterior * np.log(np.maximum(posterior, FLOOR))).sum(1)
        sure = np.clip(1 - entropy / max(FLOOR, -(self.prior * np.log(self.prior)).sum()), 0, 1) * weights
        estimates = np.full((3, tally.functions), np.nan)
        for number, own in enumerate(np.ascontiguousarray(votes.T)):
            voted = np.flatnonzero(own >= 0)
            if not len(voted):
                continue
            right = posterior[voted, own[voted]]
            share = float((right * weights[voted]).sum() / weights[voted].sum())
            estimates[:, number] = share, *wilson(share, float(sure[voted].sum()))
        return estimates[0], estimates[1], estimates[2]


def _keep(probabilities: np.ndarray, votes: np.ndarray, balance: np.ndarray) -> None:
    """Raises the majority's class, the first of equals, above the likeliest where that is another; in place."""
    first = majority(votes, balance, len(balance)).argmax(1)
    changed = np.flatnonzero((probabilities.argmax(1) != first) & (votes >= 0).any(1))
    probabilities[changed, first[changed]] = probabilities[changed].max(1) * np.float32(1.001)
    probabilities[changed] /= probabilities[changed].sum(1, keepdims=True)


def majority(votes: np.ndarray, prior: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Shares of the votes, the prior counting as `strength` votes more; float32, [rows, classes]."""
    turned = np.ascontiguousarray(votes.T)
    counts = np.stack([(turned == number).sum(0, np.int32) for number in range(len(prior))], 1).astype(np.float32)
    counts += (strength * prior).astype(np.float32)
    return counts / counts.sum(1, keepdims=True)


def wilson(share: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `count` trials."""
    if count <= 0:
        return 0.0, 1.0
    z = 1.959963984540054
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def log_loss(posterior: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean −log of the posterior of the true class."""
    own = -np.log(np.maximum(posterior[np.arange(len(truth)), truth], FLOOR))
    return float(np.average(own, weights=weights))


def outcomes_of(turned: np.ndarray, group: tuple[int, ...], classes: int) -> np.ndarray:
    """The number of a group's joint outcome, one a row; of votes as [functions, rows]."""
    code = turned[group[0]].astype(np.intp) + 1
    for number in group[1:]:
        code *= classes + 1
        code += turned[number]
        code += 1
    return code


def _blocks(
    groups: Sequence[tuple[int, ...]], tables: Sequence[np.ndarray], classes: int
) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Groups put together, as many as one small table can hold, float32, [classes, outcomes]: to look up less often."""
    blocks: list[tuple[tuple[int, ...], np.ndarray]] = []
    for group, table in zip(groups, tables):
        table = table.T.astype(np.float32)
        if blocks and blocks[-1][1].shape[1] * table.shape[1] <= _MOST_OUTCOMES:
            functions, before = blocks.pop()
            group, table = (*functions, *group), (before[:, :, None] + table[:, None, :]).reshape(classes, -1)
        blocks.append((group, table))
    return blocks


def softmax(logits: np.ndarray) -> np.ndarray:
    """Of [rows, classes]."""
    turned = np.ascontiguousarray(logits.T)
    turned -= turned.max(0)
    np.exp(turned, out=turned)
    turned /= turned.sum(0)
    return np.ascontiguousarray(turned.T)


def separate(functions: int) -> tuple[tuple[int, ...], ...]:
    """Groups of one function each."""
    return tuple((number,) for number in range(functions))
