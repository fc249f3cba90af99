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

from headwater.components.label.weak.tally import Tally, chunks, one_hot, with_abstentions

KINDS = ("em", "naive_bayes", "majority")

MOST_CELLS = 10_000_000
"""A model is fitted from so many rows that functions × (classes + 1) × rows is no more than this."""

LEAST_ROWS = 1_000
"""But from so many rows in any case."""

LEAST_GOLD = 30
"""Fewer gold rows than this are fixed in the fit, and choose nothing."""

_EARLY_ITERATIONS = 4
_MOST_ITERATIONS = 300
_STILL = 1e-5
# The longest leap, in iterations.
_FURTHEST = 64.0
# Nats that one function tells about the other beyond the class, for each row that either votes on. Independent functions
# stay below a third of it while the posterior is not yet sure, copies in four cases of five are at four times as much.
_COPIES = 0.03
# Two functions that should meet on so many rows by chance, and meet on none, look at one thing from two sides.
_NEVER_MET = 30
_MOST_ENTRIES = 4_000
# A table of so many joint outcomes stays in a core's nearest cache.
_MOST_OUTCOMES = 1_024
# Many, so that what learns from gold alone is judged by nearly as much of it as it will get.
_FOLDS = 10
_ROWS_TO_CHOOSE_BY = 20_000
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(20), 140))
_FLOOR = 1e-9


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

    def predict(self, votes: np.ndarray) -> np.ndarray:
        """P(class | votes), float32, [rows, classes].

        Args:
          votes: int8, [rows, functions]; -1 to abstain.
        """
        found = np.empty((len(votes), self.classes), np.float32)
        for part in chunks(len(votes), max(votes.shape[1], self.classes)):
            found[part] = _softmax(self.logits(votes[part]) / np.float32(self.temperature))
        return found

    def logits(self, votes: np.ndarray) -> np.ndarray:
        """log P(class, votes) up to a constant of the row, before the temperature; float32, [rows, classes]."""
        if self.kind == "majority":
            return np.log(majority(votes, self.prior))
        turned = np.ascontiguousarray(votes.T)
        total = np.log(self.prior).astype(np.float32)[:, None].repeat(len(votes), 1)
        for functions, table in _blocks(self.groups, self.tables, self.classes):
            total += np.take(table, _outcomes(turned, functions, self.classes), axis=1)
        return np.ascontiguousarray(total.T)

    def accuracies(self, tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How often each function is right where it votes, with a 95 % interval.

        The estimate is the mean posterior of the classes that it votes. The interval is Wilson's ("Probable inference,
        the law of succession, and statistical inference", JASA 22, 1927) for as many votes as the sample is sure of: a
        row counts by how far its posterior is from the prior's entropy.

        Returns:
          Estimate, lower and upper bound, one a function; NaN for one that votes on no row of the tally's patterns or
          sample.
        """
        votes, _, weights = _rows_of(tally)
        posterior = self.predict(votes)
        entropy = -(posterior * np.log(np.maximum(posterior, _FLOOR))).sum(1)
        sure = np.clip(1 - entropy / max(_FLOOR, -(self.prior * np.log(self.prior)).sum()), 0, 1) * weights
        estimates = np.full((3, tally.functions), np.nan)
        for number in range(tally.functions):
            voted = votes[:, number] >= 0
            if not voted.any():
                continue
            right = posterior[voted, votes[voted, number]]
            share = float((right * weights[voted]).sum() / weights[voted].sum())
            estimates[:, number] = share, *wilson(share, float(sure[voted].sum()))
        return estimates[0], estimates[1], estimates[2]


def fit(tally: Tally, *, kind: str = "auto", balance: np.ndarray | None = None, pairs: bool = True) -> LabelModel:
    """Fits a label model, from as many rows as `MOST_CELLS` allows; on one core, so that any number gives the same bits.

    Args:
      tally: the votes.
      kind: one of `KINDS`, or "auto": "em", or with `LEAST_GOLD` gold rows the kind with the least held-out loss.
      balance: the share of each class, if it is known; estimated otherwise.
      pairs: whether copied functions are looked for.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        return _fit(tally, kind, balance, pairs)


def _fit(tally: Tally, kind: str, balance: np.ndarray | None, pairs: bool) -> LabelModel:
    votes, gold, weights, sampled = _rows_to_fit(tally)
    known = gold >= 0
    losses: dict[str, float] = {}
    temperature = 1.0
    chosen, groups = kind, None
    enough = int(weights[known].sum()) >= LEAST_GOLD
    if enough:
        losses, temperatures, copied = _choose(votes, gold, weights, tally.classes, balance, pairs)
        names = [name for name in losses if kind == "auto" or name.split(",")[0] == kind]
        best = min(names, key=losses.__getitem__)
        chosen, temperature = best.split(",")[0], temperatures[best]
        groups = copied if best.endswith("pairs") else _alone(tally.functions)
    elif kind == "auto":
        chosen = "em"
    if chosen == "majority":
        model = _majority(votes, weights, gold, tally.classes, balance)
    elif chosen == "naive_bayes":
        model = _naive_bayes(votes, weights, gold, tally.classes, balance)
    else:
        model = _em(votes, weights, gold, tally.classes, balance, groups if groups is not None else pairs)
    told = tuple(sorted(losses.items()))
    return dataclasses.replace(model, temperature=temperature, losses=told, sampled=sampled)


def majority(votes: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Shares of the votes, the prior counting as one vote more; float32, [rows, classes]."""
    counts = np.stack([(votes == number).sum(1) for number in range(len(prior))], 1).astype(np.float32)
    counts += prior.astype(np.float32)
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
    own = -np.log(np.maximum(posterior[np.arange(len(truth)), truth], _FLOOR))
    return float(np.average(own, weights=weights))


def _rows_of(tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, gold classes and weights of all rows that the tally holds."""
    if tally.is_exact:
        return tally.patterns[:, :-1], tally.patterns[:, -1], tally.counts.astype(np.float64)
    return _sample_of(tally)


def _sample_of(tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, gold classes and weights of both samples, in the order of the rows' hashes."""
    gold = np.full(len(tally.hashes), -1, np.int8)
    places = np.searchsorted(tally.hashes, tally.gold_hashes)
    inside = places < len(tally.hashes)
    inside[inside] = tally.hashes[places[inside]] == tally.gold_hashes[inside]
    gold[places[inside]] = tally.gold[inside]
    return (
        np.concatenate([tally.votes, tally.gold_votes[~inside]]),
        np.concatenate([gold, tally.gold[~inside]]),
        np.ones(len(gold) + int((~inside).sum())),
    )


def _rows_to_fit(tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Votes, gold classes and weights of the rows to fit from; and how many they are, 0 for all distinct votes.

    Of too many rows those of the lowest hashes stay, which are a sample of all. Gold gives way only as far as it would
    take more than half of the room.
    """
    most = _most_rows(tally.functions, tally.classes)
    votes, gold, weights = _rows_of(tally)
    if len(votes) <= most:
        return votes, gold, weights, 0 if tally.is_exact else len(votes)
    if tally.is_exact:
        # Patterns are not in an order of chance.
        votes, gold, weights = _sample_of(tally)
    golden, others = np.flatnonzero(gold >= 0), np.flatnonzero(gold < 0)
    golden = golden[: max(most // 2, most - len(others))]
    chosen = np.sort(np.concatenate([golden, others[: most - len(golden)]]))
    return votes[chosen], gold[chosen], weights[chosen], len(chosen)


def _most_rows(functions: int, classes: int) -> int:
    return max(LEAST_ROWS, MOST_CELLS // (functions * (classes + 1)))


def _choose(
    votes: np.ndarray,
    gold: np.ndarray,
    weights: np.ndarray,
    classes: int,
    balance: np.ndarray | None,
    pairs: bool,
) -> tuple[dict[str, float], dict[str, float], tuple[tuple[int, ...], ...]]:
    """Held-out loss and temperature of each kind, and the groups of copied functions."""
    # A pattern of several rows is one row of gold for each, so that folds part rows.
    known = np.flatnonzero(gold >= 0)
    golden = np.repeat(known, weights[known].astype(np.int64))
    chance = np.random.default_rng(0)
    most = min(_ROWS_TO_CHOOSE_BY, _most_rows(votes.shape[1], classes) // 2)
    golden = chance.permutation(golden)[:most]
    unknown = np.flatnonzero(gold < 0)
    if len(unknown) > most:
        unknown = chance.choice(unknown, most, replace=False, shuffle=False)
    cast = votes[np.concatenate([unknown, golden])]
    heavy = np.concatenate([weights[unknown], np.ones(len(golden))])
    copied = _alone(votes.shape[1])
    if pairs:
        early = _early(cast, heavy, np.full(len(cast), -1, np.int8), classes, balance)
        copied = find_copies(cast, early, heavy)
    found: dict[str, np.ndarray] = {}
    for fold in range(_FOLDS):
        held = np.arange(len(golden)) % _FOLDS == fold
        seen = np.concatenate([np.full(len(unknown), -1, np.int8), np.where(held, -1, gold[golden])]).astype(np.int8)
        data = cast, heavy, seen, classes, balance
        models = {
            "majority": _majority(*data),
            "naive_bayes": _naive_bayes(*data),
            "em": _em(*data, _alone(votes.shape[1])),
        }
        if any(len(group) > 1 for group in copied):
            models["em, pairs"] = _em(*data, copied)
        for name, model in models.items():
            logits = found.setdefault(name, np.empty((len(golden), classes), np.float32))
            logits[held] = model.logits(votes[golden[held]])
    losses, temperatures = {}, {}
    for name, logits in found.items():
        tried = [log_loss(_softmax(logits / np.float32(each)), gold[golden]) for each in _TEMPERATURES]
        temperatures[name] = float(_TEMPERATURES[int(np.argmin(tried))])
        losses[name] = min(tried)
    return losses, temperatures, copied


def _majority(
    votes: np.ndarray, weights: np.ndarray, gold: np.ndarray, classes: int, balance: np.ndarray | None
) -> LabelModel:
    prior = _shares(_clamped(majority(votes, np.full(classes, 1 / classes)), gold), weights, balance)
    return LabelModel("majority", classes, prior, _alone(votes.shape[1]), ())


def _naive_bayes(
    votes: np.ndarray, weights: np.ndarray, gold: np.ndarray, classes: int, balance: np.ndarray | None
) -> LabelModel:
    known = gold >= 0
    groups = _alone(votes.shape[1])
    certain = np.eye(classes, dtype=np.float32)[gold[known]]
    tables = _Outcomes(votes[known], groups, classes).tables(certain.T * weights[known].astype(np.float32))
    return LabelModel("naive_bayes", classes, _shares(certain, weights[known], balance), groups, tables)


def _em(
    votes: np.ndarray,
    weights: np.ndarray,
    gold: np.ndarray,
    classes: int,
    balance: np.ndarray | None,
    groups: tuple[tuple[int, ...], ...] | bool,
) -> LabelModel:
    """EM to its end; `groups` are as given, or looked for."""
    posterior = _early(votes, weights, gold, classes, balance)
    if isinstance(groups, bool):
        groups = find_copies(votes, posterior, weights) if groups else _alone(votes.shape[1])
    parameters, iterations = _Steps(votes, weights, gold, classes, balance, groups).converge(posterior)
    prior = np.exp(parameters[0][:, 0])
    return LabelModel("em", classes, prior, groups, tuple(parameters[1:]), iterations=iterations + _EARLY_ITERATIONS)


def _early(
    votes: np.ndarray, weights: np.ndarray, gold: np.ndarray, classes: int, balance: np.ndarray | None
) -> np.ndarray:
    """The posterior after a few iterations from the majority vote, float32, [classes, rows]."""
    start = _clamped(majority(votes, np.full(classes, 1 / classes) if balance is None else balance), gold)
    steps, posterior = _Steps(votes, weights, gold, classes, balance, _alone(votes.shape[1])), start.T
    for _ in range(_EARLY_ITERATIONS):
        posterior, _ = steps.expect(steps.maximise(posterior))
    return posterior


class _Steps:
    """EM's two steps. Parameters are log P(class), [classes, 1], and log P(outcome | class) of each group.

    Posteriors are [classes, rows] here: few and long rows are what numpy is quick with.
    """

    def __init__(
        self,
        votes: np.ndarray,
        weights: np.ndarray,
        gold: np.ndarray,
        classes: int,
        balance: np.ndarray | None,
        groups: tuple[tuple[int, ...], ...],
    ):
        self._outcomes = _Outcomes(votes, groups, classes)
        self._weights, self._balance = weights.astype(np.float32), balance
        self._known = np.flatnonzero(gold >= 0)
        self._gold = gold[self._known]
        self._certain = np.eye(classes, dtype=np.float32)[:, self._gold]

    def maximise(self, posterior: np.ndarray) -> list[np.ndarray]:
        """The likeliest parameters, one pseudo-row a class counted in."""
        weighted = posterior * self._weights
        prior = self._balance if self._balance is not None else _normalised(weighted.sum(1, dtype=np.float64) + 1)
        return [np.log(prior)[:, None], *self._outcomes.tables(weighted)]

    def expect(self, parameters: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
        """The posterior, and the log likelihood of votes and gold."""
        found = self._outcomes.logits(parameters[1:])
        found += parameters[0].astype(np.float32)
        most = found.max(0)
        found -= most
        golden = found[self._gold, self._known]
        np.exp(found, out=found)
        total = found.sum(0)
        found /= total
        found[:, self._known] = self._certain
        evidence = np.log(total, out=total)
        evidence[self._known] = golden
        evidence += most
        return found, float(evidence.astype(np.float64) @ self._weights)

    def converge(self, posterior: np.ndarray) -> tuple[list[np.ndarray], int]:
        """Parameters that a further iteration hardly changes, and how many it took.

        After every two iterations a leap as far as they point (scheme S3 of Varadhan and Roland, "Simple and globally
        convergent methods for accelerating the convergence of any EM algorithm", Scandinavian Journal of Statistics 35,
        2008), which is taken back where the likelihood falls.
        """
        start = plain = self.maximise(posterior)
        share = self._weights / (self._weights.sum() * len(posterior))
        least = -np.inf
        iterations = 0
        while iterations < _MOST_ITERATIONS:
            iterations += 2
            before, likelihood = self.expect(start)
            if likelihood < least:
                start = plain
                before, _ = self.expect(start)
            one = self.maximise(before)
            after, least = self.expect(one)
            plain = self.maximise(after)
            if float(np.abs(after - before).sum(0) @ share) < _STILL:
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


class _Outcomes:
    """The outcomes of groups on rows: one-hot for functions alone, numbers for joint ones, whose outcomes are many."""

    def __init__(self, votes: np.ndarray, groups: Sequence[tuple[int, ...]], classes: int):
        self._groups, self._classes = groups, classes
        turned = np.ascontiguousarray(votes.T)
        alone = turned[[group[0] for group in groups if len(group) == 1]]
        self._ones, self._quiet = one_hot(alone, classes), (alone < 0).astype(np.float32)
        self._codes = {group: _outcomes(turned, group, classes) for group in groups if len(group) > 1}

    def tables(self, weighted: np.ndarray) -> tuple[np.ndarray, ...]:
        """log P(outcome | class) of each group, one pseudo-row a class spread as the group's outcomes are.

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
            found.append(_smoothed(part))
        return tuple(found)

    def logits(self, tables: Sequence[np.ndarray]) -> np.ndarray:
        """Σ log P(outcome | class) over the groups, float32, [classes, rows]."""
        alone = [table for group, table in zip(self._groups, tables) if len(group) == 1]
        if alone:
            # All functions abstain, but for those that vote.
            changes = np.concatenate([table[1:] - table[0] for table in alone])
            total = changes.astype(np.float32).T @ self._ones
            total += sum(table[0] for table in alone).astype(np.float32)[:, None]
        else:
            total = np.zeros((self._classes, self._ones.shape[1]), np.float32)
        for group, table in zip(self._groups, tables):
            if len(group) > 1:
                total += np.take(np.ascontiguousarray(table.T, np.float32), self._codes[group], axis=1)
        return total


def find_copies(votes: np.ndarray, posterior: np.ndarray, weights: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Groups of functions that tell more about each other than their class does.

    The measure is the conditional mutual information of two functions' outcomes given the class, less what chance gives
    (degrees of freedom over twice the rows), for each row that either votes on. Two functions that never vote on the
    same row, as above and below a threshold of one column, would pass for the class itself; they are joined whatever
    the measure says.

    Args:
      votes: int8, [rows, functions].
      posterior: of the classes after a few iterations, float32, [classes, rows].
      weights: rows that each row stands for.
    """
    classes, functions = len(posterior), votes.shape[1]
    width = classes + 1
    if width**2 * classes > _MOST_ENTRIES:
        # With so many classes not even two have a joint distribution.
        return _alone(functions)
    rows = weights.sum()
    turned = np.ascontiguousarray(votes.T)
    ones, voted = one_hot(turned, classes), (turned >= 0).astype(np.float32)
    told, both = np.zeros((functions, functions)), (voted * weights.astype(np.float32)) @ voted.T / rows
    for own in posterior:
        share = (own * weights).astype(np.float32)
        met = np.zeros((functions * classes,) * 2)
        for part in chunks(len(votes), functions * classes):
            met += (ones[:, part] * share[part]) @ ones[:, part].T
        total = share.sum(dtype=np.float64)
        each = np.maximum(0, with_abstentions(met, total, classes))
        alone = np.diag(each)
        expected = np.outer(alone, alone) / max(total, _FLOOR)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(each > 0, each * np.log(each / np.maximum(expected, _FLOOR)), 0.0)
        told += terms.reshape(functions, width, functions, width).sum((1, 3))
    alone = np.diag(both)
    either = alone[:, None] + alone[None, :] - both
    apart = (both == 0) & (np.outer(alone, alone) * rows >= _NEVER_MET)
    excess = told / rows - classes * classes**2 / (2 * rows)
    strength = np.where(either > 0, excess / np.maximum(either, _FLOOR), 0.0)
    strength[apart] = np.inf
    first, second = np.triu_indices(functions, 1)
    order = np.argsort(-strength[first, second], kind="stable")
    groups: dict[int, tuple[int, ...]] = {number: (number,) for number in range(functions)}
    for place in order:
        one, other = int(first[place]), int(second[place])
        if strength[one, other] < _COPIES:
            break
        if groups[one] == groups[other]:
            continue
        joined = tuple(sorted({*groups[one], *groups[other]}))
        if width ** len(joined) * classes <= _MOST_ENTRIES:
            for number in joined:
                groups[number] = joined
    return tuple(sorted(set(groups.values())))


def _outcomes(turned: np.ndarray, group: tuple[int, ...], classes: int) -> np.ndarray:
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
    found: list[tuple[tuple[int, ...], np.ndarray]] = []
    for group, table in zip(groups, tables):
        table = table.T.astype(np.float32)
        if found and found[-1][1].shape[1] * table.shape[1] <= _MOST_OUTCOMES:
            functions, before = found.pop()
            group, table = (*functions, *group), (before[:, :, None] + table[:, None, :]).reshape(classes, -1)
        found.append((group, table))
    return found


def _smoothed(part: np.ndarray) -> np.ndarray:
    """log P(outcome | class) of counts, [outcomes, classes]."""
    spread = (part.sum(1, keepdims=True) + 0.1) / (part.sum() + 0.1 * len(part))
    return np.log((part + spread) / (part.sum(0, keepdims=True) + 1))


def _shares(posterior: np.ndarray, weights: np.ndarray, balance: np.ndarray | None) -> np.ndarray:
    if balance is not None:
        return balance
    return _normalised((posterior * weights[:, None]).sum(0, dtype=np.float64) + 1)


def _normalised(sums: np.ndarray) -> np.ndarray:
    return sums / sums.sum()


def _clamped(posterior: np.ndarray, gold: np.ndarray) -> np.ndarray:
    known = gold >= 0
    if known.any():
        posterior = posterior.copy()
        posterior[known] = np.eye(posterior.shape[1], dtype=posterior.dtype)[gold[known]]
    return posterior


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Of [rows, classes]."""
    turned = np.ascontiguousarray(logits.T)
    turned -= turned.max(0)
    np.exp(turned, out=turned)
    turned /= turned.sum(0)
    return np.ascontiguousarray(turned.T)


def _alone(functions: int) -> tuple[tuple[int, ...], ...]:
    return tuple((number,) for number in range(functions))
