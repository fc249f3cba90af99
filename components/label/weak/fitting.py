"""Fitting: from which rows a label model is learnt, of which kind it is, and its temperature."""

from __future__ import annotations

import dataclasses

import numpy as np

from headwater.components.label.weak.copies import find_copies
from headwater.components.label.weak.em import EARLY_ITERATIONS, Outcomes, Steps, clamped, early_posterior, normalised
from headwater.components.label.weak.model import LabelModel, log_loss, majority, separate, softmax
from headwater.components.label.weak.tally import Tally, rows_of, sample_of

MOST_CELLS = 10_000_000
"""A model is fitted from so many rows that functions × (classes + 1) × rows is no more than this."""

LEAST_ROWS = 1_000
"""But from so many rows in any case."""

LEAST_GOLD = 30
"""Fewer gold rows than this are fixed in the fit, and choose nothing."""

# Many, so that what learns from gold alone is judged by nearly as much of it as it will get.
_FOLDS = 10
_ROWS_TO_CHOOSE_BY = 20_000
_TEMPERATURES = np.exp(np.linspace(np.log(0.2), np.log(20), 140))


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
        groups = copied if best.endswith("pairs") else separate(tally.functions)
    elif kind == "auto":
        chosen = "em"
    if chosen == "majority":
        model = _majority(votes, weights, gold, tally.classes, balance)
    elif chosen == "naive_bayes":
        model = _naive_bayes(votes, weights, gold, tally.classes, balance)
    else:
        model = _em(votes, weights, gold, tally.classes, balance, groups if groups is not None else pairs)
    by_function = tuple(sorted(losses.items()))
    return dataclasses.replace(model, temperature=temperature, losses=by_function, sampled=sampled)


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
    copied = separate(votes.shape[1])
    if pairs:
        early = early_posterior(cast, heavy, np.full(len(cast), -1, np.int8), classes, balance)
        copied = find_copies(cast, early, heavy)
    logits_of: dict[str, np.ndarray] = {}
    for fold in range(_FOLDS):
        held = np.arange(len(golden)) % _FOLDS == fold
        seen = np.concatenate([np.full(len(unknown), -1, np.int8), np.where(held, -1, gold[golden])]).astype(np.int8)
        data = cast, heavy, seen, classes, balance
        models = {
            "majority": _majority(*data),
            "naive_bayes": _naive_bayes(*data),
            "em": _em(*data, separate(votes.shape[1])),
        }
        if any(len(group) > 1 for group in copied):
            models["em, pairs"] = _em(*data, copied)
        for name, model in models.items():
            logits = logits_of.setdefault(name, np.empty((len(golden), classes), np.float32))
            logits[held] = model.logits(votes[golden[held]])
    losses, temperatures = {}, {}
    for name, logits in logits_of.items():
        tried = [log_loss(softmax(logits / np.float32(each)), gold[golden]) for each in _TEMPERATURES]
        temperatures[name] = float(_TEMPERATURES[int(np.argmin(tried))])
        losses[name] = min(tried)
    return losses, temperatures, copied


def _majority(
    votes: np.ndarray, weights: np.ndarray, gold: np.ndarray, classes: int, balance: np.ndarray | None
) -> LabelModel:
    prior = _shares(clamped(majority(votes, np.full(classes, 1 / classes)), gold), weights, balance)
    return LabelModel("majority", classes, prior, separate(votes.shape[1]), ())


def _naive_bayes(
    votes: np.ndarray, weights: np.ndarray, gold: np.ndarray, classes: int, balance: np.ndarray | None
) -> LabelModel:
    known = gold >= 0
    groups = separate(votes.shape[1])
    certain = np.eye(classes, dtype=np.float32)[gold[known]]
    tables = Outcomes(votes[known], groups, classes).tables(certain.T * weights[known].astype(np.float32))
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
    posterior = early_posterior(votes, weights, gold, classes, balance)
    if isinstance(groups, bool):
        groups = find_copies(votes, posterior, weights) if groups else separate(votes.shape[1])
    parameters, iterations = Steps(votes, weights, gold, classes, balance, groups).converge(posterior)
    prior = np.exp(parameters[0][:, 0])
    return LabelModel("em", classes, prior, groups, tuple(parameters[1:]), iterations=iterations + EARLY_ITERATIONS)


def _shares(posterior: np.ndarray, weights: np.ndarray, balance: np.ndarray | None) -> np.ndarray:
    if balance is not None:
        return balance
    return normalised((posterior * weights[:, None]).sum(0, dtype=np.float64) + 1)
