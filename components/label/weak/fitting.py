"""Fitting: from which rows a label model is learnt, of which kind it is, and its temperature."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from headwater.components.label.weak.copies import find_copies
from headwater.components.label.weak.em import (
    PRIOR_VOTES,
    Outcomes,
    Steps,
    clamped,
    early_posterior,
    first_posterior,
    normalised,
)
from headwater.components.label.weak.following import FIRM_VOTES
from headwater.components.label.weak.model import LabelModel, Trust, log_loss, majority, separate, softmax
from headwater.components.label.weak.stacking import combined, weights_of
from headwater.components.label.weak.tally import Tally, rows_of, sample_of, together
from headwater.components.label.weak.trust import assess

MOST_CELLS = 10_000_000
"""A model is fitted from so many rows that functions × (classes + 1) × rows is no more than this."""

LEAST_ROWS = 1_000
"""But from so many rows in any case."""

LEAST_GOLD = 30
"""Fewer gold rows than this are fixed in the fit, and choose nothing."""

# A model that is followed by less than this overrules no majority: on simulated votes one set in five lost more than half a
# percent of accuracy by it, most of them where votes are tied, and none above.
_LEAST_TO_OVERRULE = 0.5
# Many, so that what learns from gold alone is judged by nearly as much of it as it will get.
_FOLDS = 10
_ROWS_TO_CHOOSE_BY = 20_000
# Nats of held-out gold that a temperature must be better by for each unit of its logarithm.
_SLOW = 3.0
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(20), 141))


def fit(tally: Tally, *, kind: str = "auto", balance: np.ndarray | None = None, pairs: bool = True) -> LabelModel:
    """Fits a label model, from as many rows as `MOST_CELLS` allows; on one core, so that any number gives the same bits.

    Args:
      tally: the votes.
      kind: one of `KINDS`, or "auto": "em" as far as votes bear it out and the majority for the rest, or with
        `LEAST_GOLD` gold rows all kinds, each as far as held-out gold bears it out.
      balance: the share of each class, if it is known; estimated otherwise.
      pairs: whether copied functions are looked for.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        return _fit(tally, kind, balance, pairs)


def _fit(tally: Tally, kind: str, balance: np.ndarray | None, pairs: bool) -> LabelModel:
    votes, gold, weights, sampled = _rows_to_fit(tally)
    data = _Data(votes, gold, weights, tally.classes, balance)
    if int(weights[gold >= 0].sum()) >= LEAST_GOLD:
        model = _chosen_by_gold(data, kind, pairs)
    elif kind == "auto":
        model = _tempered(data, _groups(data, pairs))
    elif kind == "em":
        model = _em(data, _groups(data, pairs))
    else:
        model = _KINDS[kind](data)
    return dataclasses.replace(model, balance=balance, sampled=sampled)


class _Data(NamedTuple):
    """What a model is fitted from: votes, gold classes and weights of rows, the number of classes and their known
    shares."""

    votes: np.ndarray
    gold: np.ndarray
    weights: np.ndarray
    classes: int
    balance: np.ndarray | None


def _tempered(data: _Data, groups: tuple[tuple[int, ...], ...]) -> LabelModel:
    """The label model followed as far as votes bear it out, and the majority for the rest."""

    @functools.cache
    def fitted() -> LabelModel:
        return _em(data, groups)

    quiet = silent(data.votes, data.classes)
    found = assess(data.votes, data.weights, data.classes, data.balance, groups, quiet, fitted)
    if not found.share:
        even = np.full(data.classes, 1 / data.classes) if data.balance is None else data.balance
        return LabelModel("majority", data.classes, even, groups, (), smoothing=data.classes, trust=found)
    model = fitted()
    leaning, firm, own = found.weights
    total = firm + own
    if firm:
        prior, tables = combined([_em(data, groups, FIRM_VOTES), model], [firm / total, own / total], groups)
        model = dataclasses.replace(model, prior=prior, tables=tables)
    keeps = found.share < _LEAST_TO_OVERRULE
    return dataclasses.replace(model, temperature=1 / total, leaning=leaning, keeps=keeps, trust=found)


def _chosen_by_gold(data: _Data, kind: str, pairs: bool) -> LabelModel:
    """The kind that was asked for, at its temperature; or several, each as far as gold bears it out."""
    held = _held_out(data, pairs)
    losses = {name: loss for name, (loss, _) in held.best.items()}
    allowed = [name for name in losses if kind == "auto" or name.split(",")[0] == kind]
    best = min(allowed, key=losses.__getitem__)
    by_name = tuple(sorted(losses.items()))
    if kind != "auto":
        model = _member(data, best, held.copied)
        return dataclasses.replace(model, temperature=held.best[best][1], losses=by_name)
    # Gold begins with what votes alone bear out, or with the label model as it is.
    alone = _tempered(data, held.copied)
    start = dict.fromkeys(held.logits, 0.0)
    leaning, firm, own = (alone.trust or Trust(0.0)).weights
    whole = "em, pairs" if "em, pairs" in start else "em"
    begun = {**start, "majority": leaning, "firm": firm, whole: own}
    alternatives = [begun, *({**start, name: 1.0} for name in dict.fromkeys(("em", whole)))]
    starts = [np.array(list(each.values())) for each in alternatives]
    found = dict(zip(start, weights_of(list(held.logits.values()), held.truth, starts)))
    leaning = float(found.pop("majority"))
    total = sum(found.values())
    shares = tuple((name, float(weight)) for name, weight in {**found, "majority": leaning}.items() if weight)
    if not total:
        model = _majority(data)
        return dataclasses.replace(model, temperature=1 / leaning, losses=by_name, weights=shares)
    models = [(_member(data, name, held.copied), weight / total) for name, weight in found.items() if weight]
    joint = any(len(group) > 1 for each, _ in models for group in each.groups)
    groups = held.copied if joint else separate(data.votes.shape[1])
    prior, tables = combined([each for each, _ in models], [share for _, share in models], groups)
    return LabelModel(
        best.split(",")[0] if best != "majority" else "em", data.classes, prior, groups, tables,
        temperature=1 / total, leaning=leaning, losses=by_name, weights=shares,
        trust=alone.trust, iterations=max(each.iterations for each, _ in models),
    )  # fmt: skip


def _rows_to_fit(tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Votes, gold classes and weights of the rows to fit from; and how many they are, 0 for all distinct votes.

    Of too many rows those of the lowest hashes stay, which are a sample of all. Gold gives way only as far as it would
    take more than half of the room.
    """
    most = _most_rows(tally.functions, tally.classes)
    votes, gold, weights = rows_of(tally)
    if len(votes) <= most:
        return votes, gold, weights, 0 if tally.is_exact else len(votes)
    if tally.is_exact:
        # Patterns are not in an order of chance.
        votes, gold, weights = sample_of(tally)
    golden, others = np.flatnonzero(gold >= 0), np.flatnonzero(gold < 0)
    golden = golden[: max(most // 2, most - len(others))]
    chosen = np.sort(np.concatenate([golden, others[: most - len(golden)]]))
    return votes[chosen], gold[chosen], weights[chosen], len(chosen)


def _most_rows(functions: int, classes: int) -> int:
    return max(LEAST_ROWS, MOST_CELLS // (functions * (classes + 1)))


class _Held(NamedTuple):
    """What models say of gold that they have not seen.

    Attributes:
      best: the loss of each kind at its best temperature, and that temperature.
      logits: of each kind, [rows, classes].
      truth: the gold.
      copied: the groups of copied functions.
    """

    best: dict[str, tuple[float, float]]
    logits: dict[str, np.ndarray]
    truth: np.ndarray
    copied: tuple[tuple[int, ...], ...]


def _held_out(data: _Data, pairs: bool) -> _Held:
    votes, gold, weights, classes, balance = data
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
    copied = separate(votes.shape[1])
    if pairs:
        early = early_posterior(cast, heavy, np.full(len(cast), -1, np.int8), classes, balance)
        copied = find_copies(cast, early, heavy)
    names = [*_KINDS, "em"]
    if any(len(group) > 1 for group in copied):
        names.append("em, pairs")
    names.append("firm")
    logits_of = {name: np.empty((len(golden), classes), np.float32) for name in names}
    for fold in range(_FOLDS):
        held = np.arange(len(golden)) % _FOLDS == fold
        seen = np.concatenate([np.full(len(unknown), -1, np.int8), np.where(held, -1, gold[golden])]).astype(np.int8)
        for name in names:
            model = _member(_Data(cast, seen, heavy, classes, balance), name, copied)
            logits_of[name][held] = model.logits(votes[golden[held]])
    truth = gold[golden]
    best = {}
    for name in (each for each in names if each != "firm"):
        logits = logits_of[name]
        tried = np.array([log_loss(softmax(logits / np.float32(each)), truth) for each in _TEMPERATURES])
        # Little gold says little of the temperature.
        place = int(np.argmin(len(truth) * tried + _SLOW * np.abs(np.log(_TEMPERATURES))))
        best[name] = float(tried[place]), float(_TEMPERATURES[place])
    even = np.full(classes, 1 / classes) if balance is None else balance
    logits_of["majority"] = np.log(majority(votes[golden], even, classes))
    return _Held(best, logits_of, truth, copied)


def _member(data: _Data, name: str, copied: tuple[tuple[int, ...], ...]) -> LabelModel:
    if name in _KINDS:
        return _KINDS[name](data)
    if name == "firm":
        return _em(data, copied, FIRM_VOTES)
    return _em(data, copied if name == "em, pairs" else separate(data.votes.shape[1]))


def _majority(data: _Data) -> LabelModel:
    votes, gold, weights, classes, balance = data
    prior = _shares(clamped(majority(votes, np.full(classes, 1 / classes)), gold), weights, balance)
    return LabelModel("majority", classes, prior, separate(votes.shape[1]), ())


def _naive_bayes(data: _Data) -> LabelModel:
    votes, gold, weights, classes, balance = data
    known = gold >= 0
    groups = separate(votes.shape[1])
    certain = np.eye(classes, dtype=np.float32)[gold[known]]
    tables = Outcomes(votes[known], groups, classes).tables(certain.T * weights[known].astype(np.float32))
    return LabelModel("naive_bayes", classes, _shares(certain, weights[known], balance), groups, tables)


def _groups(data: _Data, pairs: bool) -> tuple[tuple[int, ...], ...]:
    votes, gold, weights, classes, balance = data
    if not pairs:
        return separate(votes.shape[1])
    votes, gold, weights = together(votes, gold, weights)
    return find_copies(votes, early_posterior(votes, weights, gold, classes, balance), weights)


def _em(data: _Data, groups: tuple[tuple[int, ...], ...], strength: float = PRIOR_VOTES) -> LabelModel:
    """EM to its end, from the majority and with it as the prior, of so many votes of each function."""
    votes, gold, weights, classes, balance = data
    votes, gold, weights = together(votes, gold, weights)
    first = first_posterior(votes, gold, classes, balance)
    steps = Steps(votes, weights, gold, classes, balance, groups, silent(votes, classes), first, strength)
    parameters, iterations = steps.converge(first)
    prior = np.exp(parameters[0][:, 0])
    return LabelModel("em", classes, prior, groups, tuple(parameters[1:]), iterations=iterations)


def silent(votes: np.ndarray, classes: int) -> np.ndarray:
    """Of which functions abstaining tells nothing of the class: those that vote for several classes; bool."""
    return np.sum([(votes == number).any(0) for number in range(classes)], 0) > 1


def _shares(posterior: np.ndarray, weights: np.ndarray, balance: np.ndarray | None) -> np.ndarray:
    if balance is not None:
        return balance
    return normalised((posterior * weights[:, None]).sum(0, dtype=np.float64) + 1)


_KINDS: dict[str, Callable[[_Data], LabelModel]] = {"majority": _majority, "naive_bayes": _naive_bayes}
