"""What the votes say of the functions: coverage, overlap, conflict, polarity, accuracy, and who copies whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from headwater.components.common.findings import percent
from headwater.components.label.weak import model
from headwater.components.label.weak.em import PRIOR_VOTES
from headwater.components.label.weak.fitting import LEAST_GOLD
from headwater.components.label.weak.functions import Function
from headwater.components.label.weak.model import LabelModel
from headwater.components.label.weak.tally import Tally
from headwater.components.label.weak.trust import LEAST_SOURCES

_DIGITS = 6
_LEAST_AGREEMENT = 0.8
_LEAST_SHARED = 10
_MOST_NAMED = 5


def describe(
    functions: Sequence[Function], classes: Sequence[str], counted: Tally, fitted: LabelModel, failed: np.ndarray
) -> dict[str, Any]:
    """The report of a fit, JSON values only.

    Shares are of the rows. `accuracy` is estimated by the label model, None where it cannot be known: without gold, of a
    function that has no two others, independent of it, on whose rows it votes, or of any by the majority vote; or where the
    function votes on none of the rows that tell. `prior` is how much of it is not from votes or gold: the majority's part of the
    posterior, and the votes that a function is given beforehand. `gold` is counted where gold and the function both say
    something; each with its 95 % interval. `gold` of a
    pair is counted where both vote: `rows`, on how many of them each of the two is `right`, and on how many `both` are.
    """
    width = len(classes) + 1
    rows = max(1, counted.rows)
    own = np.diag(counted.pairs).reshape(len(functions), width)
    golden, truth, weights = _gold_of(counted)
    # What a pool says is less sure than any function is right.
    estimates = fitted.accuracies(counted, alone=fitted.trust is not None and not fitted.losses)
    knowable = _knowable(fitted, counted, len(functions), golden, weights)
    followed = fitted.trust.share if fitted.trust is not None and not fitted.losses else 1.0
    chance = _by_chance(own, fitted)
    entries = []
    for number, function in enumerate(functions):
        cast = int(own[number, 1:].sum())
        entry: dict[str, Any] = {
            "name": function.name,
            "way": function.way,
            "votes": {name: int(count) for name, count in zip(classes, own[number, 1:]) if count},
            "coverage": _rounded(cast / rows),
            "overlap": _rounded(counted.overlaps[number] / rows),
            "conflict": _rounded(counted.conflicts[number] / rows),
            "failed": int(failed[number]),
            "accuracy": None,
            "prior": None,
            "gold": None,
        }
        # Rare votes may all lie outside of a sample.
        if knowable[number] and np.isfinite([each[number] for each in estimates]).all():
            entry["accuracy"] = [_rounded(each[number]) for each in estimates]
            entry["prior"] = _rounded(1 - followed * cast / (cast + PRIOR_VOTES))
        voted = golden[:, number] >= 0
        if voted.any():
            count = int(weights[voted].sum())
            right = int(weights[voted & (golden[:, number] == truth)].sum())
            entry["gold"] = {
                "rows": count,
                "right": right,
                "accuracy": [_rounded(right / count), *map(_rounded, model.wilson(right / count, count))],
            }
        entries.append(entry)
    beside = _beside(fitted, counted, classes)
    return {
        "warnings": [
            *_on_trust(fitted, classes),
            *_worse_than_chance(entries, chance),
            *_warnings(entries, beside, len(truth)),
        ],
        "rows": counted.rows,
        "covered": counted.covered,
        "contested": counted.contested,
        "fitted_from": f"a sample of {fitted.sampled:,} rows" if fitted.sampled else "all distinct votes",
        "functions": entries,
        "pairs": _pairs(functions, counted, width, _right_on_gold(golden, truth, weights)),
        "copies": [[functions[number].name for number in group] for group in fitted.groups if len(group) > 1],
        "model": {
            "kind": fitted.kind,
            "prior": {name: _rounded(share) for name, share in zip(classes, fitted.prior)},
            "temperature": _rounded(fitted.temperature),
            "iterations": fitted.iterations,
            **_trusted(fitted, classes),
        },
        "gold": _on_gold(fitted, golden, truth, weights),
        "held_out_losses": {name: _rounded(loss) for name, loss in fitted.losses},
        "majority": beside,
    }


def _knowable(
    fitted: LabelModel, counted: Tally, functions: int, golden: np.ndarray, weights: np.ndarray
) -> list[bool]:
    """Of which functions the accuracy can be known, bool, one a function.

    From gold, where the function votes on `LEAST_GOLD` rows of it. Without, from three sources that are independent given
    the class and meet each other: their agreements are three equations for three accuracies, and two leave one open
    (Dawid and Skene, 1979; Fu et al., "Fast and three-rious", ICML 2020). Functions that copy each other are one source.
    """
    on_gold = [int(weights[golden[:, number] >= 0].sum()) >= LEAST_GOLD for number in range(functions)]
    if fitted.kind != "em":
        return on_gold
    width = fitted.classes + 1
    together = counted.pairs.reshape(functions, width, functions, width)[:, 1:, :, 1:]
    met, same = together.sum((1, 3)), np.einsum("iaja->ij", together)
    source = np.empty(functions, np.int64)
    for place, group in enumerate(fitted.groups):
        source[list(group)] = place
    # Two of three that vote the same look sure of themselves to the fit, and not like copies.
    identical = (same == np.diag(met)) & (same == np.diag(met)[:, None])
    apart = (met >= _LEAST_SHARED) & (source != source[:, None]) & ~identical

    def has_two(number: int) -> bool:
        others = np.flatnonzero(apart[number])
        return bool(apart[np.ix_(others, others)].any())

    return [known or has_two(number) for number, known in enumerate(on_gold)]


def _trusted(fitted: LabelModel, classes: Sequence[str]) -> dict[str, Any]:
    """How far the label model is followed, by votes alone or by gold."""
    found = fitted.trust
    return {
        "followed": None if found is None or fitted.losses else _rounded(found.share),
        "consistency": None if found is None or found.consistency is None else _rounded(found.consistency),
        "unidentified": [] if found is None else [classes[number] for number in found.unidentified],
        "weights": {name: _rounded(weight) for name, weight in fitted.weights},
    }


def _on_trust(fitted: LabelModel, classes: Sequence[str]) -> list[str]:
    """That the majority votes in place of the label model, and why."""
    found = fitted.trust
    if found is None or found.share or fitted.losses:
        return []
    if found.consistency is None:
        named = ", ".join(map(repr, (classes[number] for number in found.unidentified)))
        why = f"fewer than {LEAST_SOURCES} independent functions that vote on the same rows vote for {named}"
    else:
        why = (
            "two halves of the functions agree too little on the classes (consistency "
            f"{max(0.0, found.consistency):.2f}, where 1 is what the label model expects)"
        )
    return [
        f"labels are the majority vote's, since the votes do not identify the label model: {why}; give gold labels of at "
        f"least {LEAST_GOLD} rows, or add functions that overlap with these"
    ]


def _by_chance(own: np.ndarray, fitted: LabelModel) -> np.ndarray:
    """How often each function would be right if its votes were dealt to rows by chance."""
    cast = own[:, 1:]
    return (cast @ fitted.prior) / np.maximum(cast.sum(1), 1)


def _worse_than_chance(functions: Sequence[dict[str, Any]], chance: np.ndarray) -> list[str]:
    """Functions that gold, or else the label model, finds to be right less often than votes at random."""
    found = []
    for each, least in zip(functions, chance):
        counted = each["gold"] is not None and each["gold"]["rows"] >= LEAST_GOLD
        estimate = each["gold"]["accuracy"] if counted else each["accuracy"]
        if estimate is not None and estimate[0] < least and (not counted or estimate[2] < least):
            found.append(
                f"the function {each['name']!r} is right on {percent(estimate[0])} of its rows{' with gold' if counted else ''}, "
                f"which is below chance ({percent(least)}): check whether it votes for the wrong class"
            )
    return found


def _warnings(functions: Sequence[dict[str, Any]], beside: dict[str, Any], gold: int) -> list[str]:
    """What a person should look at."""
    warnings = [f"the function {each['name']!r} votes on no row" for each in functions if not each["votes"]]
    warnings += [
        f"the function {each['name']!r} failed on {each['failed']:,} rows, where it abstains"
        for each in functions
        if each["failed"]
    ]
    unknown = [each["name"] for each in functions if each["votes"] and each["accuracy"] is None]
    if unknown:
        warnings.append(
            f"the accuracy of {', '.join(map(repr, unknown[:_MOST_NAMED]))}"
            f"{f' and {len(unknown) - _MOST_NAMED} more' if len(unknown) > _MOST_NAMED else ''} cannot be known: give gold "
            f"labels of at least {LEAST_GOLD} rows that the function votes on, or at least three functions that vote on "
            "the same rows"
        )
    agreement = beside["agreement"]
    if not gold and agreement is not None and agreement < _LEAST_AGREEMENT:
        warnings.append(
            f"the label model and the majority vote agree on {percent(agreement)} of the rows with a vote; without gold "
            "labels it is unknown which is right"
        )
    return warnings


class _Right(NamedTuple):
    """Gold rows of pairs of functions, float64, [functions, functions].

    Attributes:
      rows: that both vote on.
      first: that both vote on, and the first of them rightly.
      both: that both are right on.
    """

    rows: np.ndarray
    first: np.ndarray
    both: np.ndarray


def _right_on_gold(votes: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> _Right:
    voted = (votes >= 0).astype(np.float64)
    right = (votes == truth[:, None]).astype(np.float64)
    heavy = weights[:, None]
    return _Right((voted * heavy).T @ voted, (right * heavy).T @ voted, (right * heavy).T @ right)


def _pairs(functions: Sequence[Function], counted: Tally, width: int, right: _Right) -> list[dict[str, Any]]:
    """Of each pair of functions the shares of rows that both vote on, that they disagree on, and how they do on
    gold."""
    shape = (len(functions), width, len(functions), width)
    met = counted.pairs.reshape(shape)[:, 1:, :, 1:]
    both = met.sum((1, 3))
    same = np.einsum("iaja->ij", met)
    rows = max(1, counted.rows)
    return [
        {
            "functions": [functions[one].name, functions[other].name],
            "overlap": _rounded(both[one, other] / rows),
            "conflict": _rounded((both[one, other] - same[one, other]) / rows),
            "gold": _pair_on_gold(right, one, other),
        }
        for one in range(len(functions))
        for other in range(one + 1, len(functions))
        if both[one, other]
    ]


def _pair_on_gold(right: _Right, one: int, other: int) -> dict[str, Any] | None:
    if not right.rows[one, other]:
        return None
    return {
        "rows": int(right.rows[one, other]),
        "right": [int(right.first[one, other]), int(right.first[other, one])],
        "both": int(right.both[one, other]),
    }


def _gold_of(counted: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, classes and weights of the rows with gold."""
    if counted.is_exact:
        known = counted.patterns[:, -1] >= 0
        return counted.patterns[known, :-1], counted.patterns[known, -1], counted.counts[known]
    return counted.gold_votes, counted.gold, np.ones(len(counted.gold), np.int64)


def _on_gold(fitted: LabelModel, votes: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> dict[str, Any] | None:
    """Accuracy and log loss on gold of the model, which saw it, and of the majority."""
    if not len(truth):
        return None
    posterior, plain = fitted.predict(votes), model.majority(votes, fitted.prior)
    return {
        "rows": int(weights.sum()),
        **{
            name: {
                "accuracy": _rounded(np.average(probabilities.argmax(1) == truth, weights=weights)),
                "log_loss": _rounded(model.log_loss(probabilities, truth, weights)),
            }
            for name, probabilities in (("model", posterior), ("majority", plain))
        },
    }


def _beside(fitted: LabelModel, counted: Tally, classes: Sequence[str]) -> dict[str, Any]:
    """The majority vote beside the model, on the covered rows that the tally holds."""
    votes = counted.patterns[:, :-1] if counted.is_exact else counted.votes
    weights = counted.counts if counted.is_exact else np.ones(len(votes), np.int64)
    covered = (votes >= 0).any(1)
    if not covered.any():
        return {"agreement": None, "balance": {}}
    votes, weights = votes[covered], weights[covered]
    plain = model.majority(votes, fitted.prior).argmax(1)
    same = np.average(fitted.predict(votes).argmax(1) == plain, weights=weights)
    balance = np.bincount(plain, weights, minlength=len(classes)) / weights.sum()
    return {"agreement": _rounded(same), "balance": {name: _rounded(each) for name, each in zip(classes, balance)}}


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)
