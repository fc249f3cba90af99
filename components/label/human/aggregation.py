"""From votes to classes: how each item's votes are put together. `AGGREGATIONS` is the registry.

Votes are coordinates: who answered what of which item. Nothing here looks at one vote at a time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from headwater.components.common import hashing
from headwater.components.common.errors import HeadwaterError

UNKNOWN = -1
"""The class of an item that gold does not tell."""

MOST_CELLS = 50_000_000
"""The most raters × classes² that a model may have."""

_MOST_ROUNDS = 200
_FEW_ITEMS, _FEW_ROUNDS = 1_000, 10
_CLOSE = 1e-5
_PART = 20_000
_FLOOR = 1e-300
# How many votes the trust in a kind counts as, and the kind's abilities and guesses for each of its raters.
_TRUST_VOTES, _OWN_VOTES = 20.0, 4.0
_KNOWN = 0.98
# The strongest first, which is taken where nothing is known.
_STRENGTHS = np.array([4096.0, 1024, 512, 256, 128, 64, 32, 16, 8, 4])


class Votes(NamedTuple):
    """Votes as coordinates.

    Attributes:
      item, rater: int32, the number of each vote's item and rater.
      answer: int8, the class that it says.
      items, raters, classes: how many there are.
    """

    item: np.ndarray
    rater: np.ndarray
    answer: np.ndarray
    items: int
    raters: int
    classes: int


class Kinds(NamedTuple):
    """Kinds of raters.

    Attributes:
      of: int, the kind of each rater.
      trust: of each kind: how often one of it is taken to be right before any vote is looked at.
    """

    of: np.ndarray
    trust: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How votes are put together: a small table, whatever the number of votes.

    Attributes:
      kind: a key of `AGGREGATIONS`.
      prior: the share of each class.
      weights: [raters, answers, classes]: what a rater's answer adds to the logarithm of each class's probability; of
        the majority to its count.
      confusion: [raters, classes, answers]: how often a rater gives an answer to an item of a class, as estimated.
      counts: [raters, classes, answers]: how many votes that rests on; expected ones.
      ability: of each rater: the share of votes that are no guesses; NaN where the model has no such thing.
      rounds: how many it took; 0 for the majority.
    """

    kind: str
    prior: np.ndarray
    weights: np.ndarray
    confusion: np.ndarray
    counts: np.ndarray
    ability: np.ndarray
    rounds: int = 0

    def predict(self, votes: Votes, gold: np.ndarray | None = None) -> np.ndarray:
        """The probability of each class, [items, classes].

        Args:
          votes: any, of the raters that it was fitted for.
          gold: the class of each item, or `UNKNOWN`.
        """
        scores = _Sparse(votes).scores(self.weights)
        return _fixed((_shares if self.kind == MAJORITY else _normalised)(scores, self.prior), gold)


def majority(votes: Votes, kinds: Kinds, gold: np.ndarray | None = None) -> Fitted:
    """The majority, each vote by the trust in its kind; the share of each class decides ties, and counts as one vote."""
    _check_size(votes)
    prior, weights = _majority(votes, kinds)
    sparse = _Sparse(votes)
    counts = sparse.counts(_fixed(_shares(sparse.scores(weights), prior), gold))
    alpha = counts + np.stack([_TRUST_VOTES * trusted(each, votes.classes) for each in kinds.trust])[kinds.of]
    ability = np.full(votes.raters, np.nan)
    return Fitted(MAJORITY, prior, weights, alpha / alpha.sum(2, keepdims=True), counts, ability)


def dawid_skene(votes: Votes, kinds: Kinds, gold: np.ndarray | None = None, *, shrunk: bool = True) -> Fitted:
    """Dawid and Skene's model (1979): each rater has a confusion matrix; by variational EM from the majority.

    A rater's matrix is shrunk to what it would be if the rater either knew, and answered as those of its kind who know, or
    guessed, each answer as often as this rater does; as strongly as such matrices predict the raters' votes. So a rater
    of few votes is judged by two or three numbers, and one who answers the same to everything by how often that happens.
    Items with one vote say nothing of who gave it, and are only predicted. Where there are many items, most rounds are on
    a part of them; where there are few, rounds end early, since further ones would fit chance.

    Args:
      votes: all votes to learn from.
      kinds: of the raters.
      gold: the class of each item, or `UNKNOWN`; those stay as they are.
      shrunk: False for the model as it was published.
    """
    _check_size(votes)
    telling = np.bincount(votes.item, minlength=votes.items) > 1
    if gold is not None:
        telling |= gold != UNKNOWN
    some, own = _only(votes, gold, telling)
    prior, weights = _majority(votes, kinds)
    base = _Base(kinds, votes.raters, votes.classes) if shrunk else None
    rounds, found = 0, None
    for each, close in _parts(some, own):
        part, known = each
        sparse = _Sparse(part)
        if found is None:
            posterior = _fixed(_shares(sparse.scores(weights), prior), known)
        else:
            posterior = _fixed(_normalised(sparse.scores(found.weights), found.prior), known)
        found = _fit(sparse, posterior, known, prior, base, kinds, close)
        rounds += found.rounds
    assert found is not None, "there is at least one part"
    return dataclasses.replace(found, rounds=rounds)


def _fit(
    sparse: _Sparse,
    posterior: np.ndarray,
    gold: np.ndarray | None,
    usual: np.ndarray,
    base: _Base | None,
    kinds: Kinds,
    close: float,
) -> Fitted:
    """EM until posteriors stay as they are, but for `close` on average."""
    strength = np.zeros(len(kinds.trust))
    # On few items with votes enough further rounds fit chance.
    few = base is not None and len(posterior) <= _FEW_ITEMS and sparse.size >= 3 * len(posterior)
    for number in range(1, (_FEW_ROUNDS if few else _MOST_ROUNDS) + 1):
        counts = alpha = sparse.counts(posterior)
        if base is not None:
            base.fit(counts)
            if number <= 10 or number % 10 == 0:
                strength = base.strengths(counts)
            alpha = counts + strength[kinds.of][:, None, None] * base.confusion()
        shares = posterior.sum(0, dtype=np.float64) + (usual if base is not None else _FLOOR)
        prior = shares / shares.sum()
        weights = _weights(alpha, base is not None)
        new = _fixed(_normalised(sparse.scores(weights), prior), gold)
        moved = float(np.abs(new - posterior).mean()) if len(new) else 0.0
        posterior = new
        if moved < close:
            break
    confusion = alpha / np.maximum(alpha.sum(2, keepdims=True), _FLOOR)
    ability = base.ability if base is not None else np.full(len(alpha), np.nan)
    return Fitted(DAWID_SKENE, prior, weights, confusion, counts, ability, number)


def _parts(votes: Votes, gold: np.ndarray | None) -> Iterator[tuple[tuple[Votes, np.ndarray | None], float]]:
    """What to fit, one after the other, each from where the last one ended; with how close it is to come."""
    if votes.items > 2 * _PART:
        kept = hashing.mix(np.arange(votes.items)) % np.uint64(votes.items // _PART) == 0
        yield _only(votes, gold, kept), 10 * _CLOSE
    yield (votes, gold), _CLOSE


MAJORITY, DAWID_SKENE = "majority", "dawid_skene"

AGGREGATIONS: dict[str, Callable[..., Fitted]] = {
    MAJORITY: majority,
    DAWID_SKENE: dawid_skene,
}
"""Every aggregation by its name: votes, kinds of raters and gold → how votes are put together."""


class _Base:
    """What raters' confusions are shrunk to: `ability` of a rater's votes are as those of its kind who know, the others
    are its guesses."""

    def __init__(self, kinds: Kinds, raters: int, classes: int):
        self._kinds, self._one = kinds, np.eye(classes) * _KNOWN + (1 - _KNOWN) / classes
        # A trust as the share of votes that are no guesses.
        self._trust = np.clip((np.array(kinds.trust) - 1 / classes) / (1 - 1 / classes), 0.01, 0.99)
        self.ability = self._trust[kinds.of]
        self._guesses = np.full((raters, classes), 1 / classes)
        self._knowing = np.stack([self._one] * len(kinds.trust))
        self._fitted = False

    def confusion(self) -> np.ndarray:
        """[raters, classes, answers]."""
        return self._known() + (1 - self.ability)[:, None, None] * self._guesses[:, None, :]

    def fit(self, counts: np.ndarray) -> None:
        """A few rounds of EM on the raters' votes by class."""
        total = counts.sum((1, 2))
        for _ in range(3 if self._fitted else 20):
            known = self._known()
            known = (
                counts
                * known
                / np.maximum(known + (1 - self.ability)[:, None, None] * self._guesses[:, None, :], 1e-12)
            )
            knew, guessed = known.sum((1, 2)), (counts - known).sum(1)
            for kind, trust in enumerate(self._trust):
                own = self._kinds.of == kind
                mean = (knew[own].sum() + _TRUST_VOTES * trust) / (total[own].sum() + _TRUST_VOTES)
                self.ability[own] = (knew[own] + _OWN_VOTES * mean) / (total[own] + _OWN_VOTES)
                usual = guessed[own].sum(0) + 1
                guesses = guessed[own] + _OWN_VOTES * usual / usual.sum()
                self._guesses[own] = guesses / guesses.sum(1, keepdims=True)
                knowing = known[own].sum(0) + _TRUST_VOTES * self._one
                self._knowing[kind] = knowing / knowing.sum(1, keepdims=True)
        self._fitted = True

    def strengths(self, counts: np.ndarray) -> np.ndarray:
        """How many votes the base counts as for the raters of each kind: of `_STRENGTHS` the likeliest."""
        from scipy.special import gammaln

        base, found = self.confusion(), np.empty(len(self._trust))
        for kind in range(len(found)):
            own = self._kinds.of == kind
            votes, expected = counts[own], base[own]
            scores = [
                (gammaln(each) - gammaln(each + votes.sum(2))).sum()
                + (gammaln(each * expected + votes) - gammaln(each * expected)).sum()
                for each in _STRENGTHS
            ]
            found[kind] = _STRENGTHS[int(np.argmax(scores))]
        return found

    def _known(self) -> np.ndarray:
        return self.ability[:, None, None] * self._knowing[self._kinds.of]


class _Sparse:
    """Votes as a sparse matrix of items by (rater, answer), both ways."""

    def __init__(self, votes: Votes):
        from scipy import sparse

        columns = votes.rater.astype(np.int64) * votes.classes + votes.answer
        shape = (votes.items, votes.raters * votes.classes)
        ones = np.ones(len(columns), np.float32)
        self._items = sparse.csr_matrix((ones, (votes.item, columns)), shape=shape)
        self._raters = self._items.T.tocsr()
        self._shape = (votes.raters, votes.classes, votes.classes)
        self.size = len(columns)

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """The sums of the weights of each item's votes, [items, classes]."""
        return self._items @ weights.reshape(-1, self._shape[2]).astype(np.float32)

    def counts(self, posterior: np.ndarray) -> np.ndarray:
        """How often each rater gave each answer to items of each class, [raters, classes, answers]."""
        counts = self._raters @ posterior
        return counts.astype(np.float64).reshape(self._shape).transpose(0, 2, 1)


def trusted(trust: float, classes: int) -> np.ndarray:
    """The confusion of a rater of whom only the trust is known, [classes, answers]."""
    wrong = (1 - trust) / (classes - 1)
    return np.full((classes, classes), wrong) + np.eye(classes) * (trust - wrong)


def _majority(votes: Votes, kinds: Kinds) -> tuple[np.ndarray, np.ndarray]:
    """The share of each class among all votes, and the weight of each answer."""
    trust = np.clip(np.array(kinds.trust), 1 / votes.classes + 1e-3, 1 - 1e-3)
    odds = np.log(trust * (votes.classes - 1) / (1 - trust))
    odds /= odds[np.bincount(kinds.of, minlength=len(odds)).argmax()]
    shares = np.bincount(votes.answer, minlength=votes.classes) + 1.0
    return shares / shares.sum(), odds[kinds.of][:, None, None] * np.eye(votes.classes)


def _weights(alpha: np.ndarray, shrunk: bool) -> np.ndarray:
    """What each answer adds to the logarithm of each class, [raters, answers, classes]."""
    from scipy.special import digamma

    total = alpha.sum(2, keepdims=True)
    if shrunk:
        # The expected logarithm: a rater of whom little is known counts for less than by the mean.
        logarithms = digamma(alpha) - digamma(total)
    else:
        logarithms = np.log(np.maximum(alpha / np.maximum(total, _FLOOR), _FLOOR))
    return np.ascontiguousarray(logarithms.transpose(0, 2, 1))


def _only(votes: Votes, gold: np.ndarray | None, kept: np.ndarray) -> tuple[Votes, np.ndarray | None]:
    """The votes on some items, which get new numbers, and their gold."""
    if kept.all():
        return votes, gold
    number = np.cumsum(kept) - 1
    some = kept[votes.item]
    own = votes._replace(
        item=number[votes.item[some]], rater=votes.rater[some], answer=votes.answer[some], items=int(kept.sum())
    )
    return own, None if gold is None else gold[kept]


def _fixed(posterior: np.ndarray, gold: np.ndarray | None) -> np.ndarray:
    if gold is not None:
        known = np.flatnonzero(gold != UNKNOWN)
        posterior[known] = np.eye(posterior.shape[1], dtype=posterior.dtype)[gold[known]]
    return posterior


def _shares(scores: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Counts with the prior as one vote, as shares."""
    scores += prior.astype(scores.dtype)
    scores /= scores.sum(1, keepdims=True)
    return scores


def _normalised(scores: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The posterior of logarithms of likelihoods. Long rows of few classes are what numpy is quick with."""
    turned = np.ascontiguousarray(scores.T)
    turned += np.log(prior).astype(turned.dtype)[:, None]
    turned -= turned.max(0)
    np.exp(turned, out=turned)
    turned /= turned.sum(0)
    return np.ascontiguousarray(turned.T)


def _check_size(votes: Votes) -> None:
    if votes.raters * votes.classes**2 > MOST_CELLS:
        raise HeadwaterError(
            f"votes: {votes.raters:,} raters and {votes.classes} classes make more than {MOST_CELLS:,} shares to "
            "estimate; aggregate the votes of fewer raters at a time"
        )
