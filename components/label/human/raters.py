"""Raters: their kinds, and how each does: right how often, how fast, by guessing or by a script, better or worse over time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pydantic

from headwater.components.common import hashing
from headwater.components.common.dataset import Dataset, read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.label.classes import AsText
from headwater.components.label.human.aggregation import UNKNOWN, Fitted
from headwater.components.label.human.joining import Sample

LEAST_VOTES = 20
"""Of a rater with fewer votes nothing is found to be wrong."""

_CONSTANT, _FAR = 0.95, 0.15
_LAGS = range(2, 7)
_TOO_FAST = 1 / 4
_NO_BETTER = 0.1
_Z = 1.959964
_FINDINGS_Z = 4.0


class Kind(pydantic.BaseModel):
    """A kind of raters.

    Attributes:
      trust: how often one of them is taken to be right before any vote is looked at, above chance and below 1.
      cost: of one vote, in any currency.
    """

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    trust: Annotated[float | int, pydantic.Field(gt=0, lt=1)]
    cost: Annotated[float | int, pydantic.Field(ge=0)] = 0


KINDS = {"expert": Kind(trust=0.95), "generalist": Kind(trust=0.8), "user": Kind(trust=0.65)}
"""The kinds that there are unless others are named."""

RaterName = Annotated[AsText, pydantic.Field(min_length=1)]
"""A rater where settings name one; an integer, as Label Studio numbers them, is its digits."""


def read_kinds(where: str, given: Dataset, kinds: Sequence[str]) -> dict[str, str]:
    """The kind of each rater that a file names.

    Args:
      where: the key of the setting.
      given: the input: columns `rater` and `kind`.
      kinds: those that there are.

    Raises:
      HeadwaterError: a column is missing, a kind is none, or a rater is of two.
    """
    names, uri = given.schema.names, given.result.uri
    for needed in ("rater", "kind"):
        if needed not in names:
            raise HeadwaterError(
                f"{where}: {uri} has no column {needed!r}; a file of raters has `rater` and `kind`, and its columns are "
                f"{', '.join(names)}"
            )
    schema = pa.schema([given.schema.field(name) for name in ("rater", "kind")])
    found: dict[str, str] = {}
    for split in given.splits:
        for element in given.elements(split):
            for batch in read_element(element, schema):
                raters, own = (batch.column(place).cast(pa.string()).to_pylist() for place in range(2))
                for rater, kind in zip(raters, own):
                    if rater is None:
                        continue
                    if kind not in kinds:
                        raise HeadwaterError(
                            f"{where}: {uri}: the rater {shown(rater)} is of the kind {kind!r}; the kinds are "
                            f"{', '.join(kinds)}"
                        )
                    if found.setdefault(rater, kind) != kind:
                        raise HeadwaterError(
                            f"{where}: {uri}: the rater {shown(rater)} is of two kinds, {found[rater]} and {kind}"
                        )
    return found


def shown(name: str) -> str:
    """A rater's name as pages and manifests have it: an address of electronic mail is personal, and its hash is not."""
    if re.search(r"[^@\s]+@[^@\s]+", name):
        return f"#{int(hashing.hash_values(pa.array([name]))[0]):016x}"[:9]
    return name if len(name) <= 60 else f"{name[:59]}…"


def describe(
    sample: Sample, fitted: Fitted, names: Sequence[str], kinds: Sequence[str], of: np.ndarray
) -> list[dict[str, Any]]:
    """What is known of each rater.

    Args:
      sample: the votes.
      fitted: how they are put together.
      names: of the raters, as they are shown.
      kinds: names of the kinds.
      of: the kind of each rater.

    Returns:
      For each rater `name`, `kind`, `votes`; `accuracy` beside the others' votes and on `gold`, each with its 95 %
      interval and how many votes it rests on, or None; `ability`, the share of votes that are no guesses; `seconds`, the
      median; `problems`, sentences; `drift`, or None.
    """
    votes = sample.votes
    alone = _without_own(sample, fitted)
    order = np.lexsort((sample.records["order"], sample.records["time"], votes.rater))
    starts = np.searchsorted(votes.rater[order], np.arange(votes.raters + 1))
    told: list[dict[str, Any]] = []
    usual = _usual_seconds(sample, order, starts)
    for rater in range(votes.raters):
        own = order[starts[rater] : starts[rater + 1]]
        right, golden = alone[own], sample.gold[votes.item[own]]
        judged = ~np.isnan(right)
        known = golden != UNKNOWN
        seconds = sample.records["seconds"][own]
        timed = seconds[~np.isnan(seconds)]
        ability = float(fitted.ability[rater])
        answers = votes.answer[own]
        entry: dict[str, Any] = {
            "name": names[rater],
            "kind": kinds[of[rater]],
            "votes": len(own),
            "accuracy": _share(float(right[judged].sum()), int(judged.sum())),
            "gold": _share(float((answers == golden)[known].sum()), int(known.sum())),
            "ability": None if np.isnan(ability) else ability,
            "seconds": float(np.median(timed)) if len(timed) else None,
            "drift": _drift(right[judged]) if sample.records["time"][own].any() else None,
        }
        expected = float(fitted.prior[answers].mean()) if len(own) else 0.0
        entry["problems"] = _problems(entry, answers, expected, votes.classes, usual)
        told.append(entry)
    return told


def _without_own(sample: Sample, fitted: Fitted) -> np.ndarray:
    """The probability of each vote's answer by the others' votes on the item and by gold; NaN where there are none."""
    votes = sample.votes
    several = np.bincount(votes.item, minlength=votes.items) > 1
    flat = fitted.weights.reshape(-1, votes.classes)
    own = flat[votes.rater.astype(np.int64) * votes.classes + votes.answer]
    sums = np.stack([np.bincount(votes.item, weights=each, minlength=votes.items) for each in own.T], 1)
    others = sums[votes.item] - own
    if np.isnan(fitted.ability).all():
        others = np.maximum(others, 0) + fitted.prior
    else:
        others += np.log(fitted.prior)
        others = np.exp(others - others.max(1, keepdims=True))
    found = others[np.arange(len(own)), votes.answer] / others.sum(1)
    found[~several[votes.item]] = np.nan
    golden = sample.gold[votes.item]
    return np.where(golden != UNKNOWN, golden == votes.answer, found)


def _usual_seconds(sample: Sample, order: np.ndarray, starts: np.ndarray) -> float | None:
    """The median of raters' medians."""
    seconds = sample.records["seconds"][order]
    medians = [
        float(np.median(timed))
        for start, stop in zip(starts[:-1], starts[1:])
        for timed in [seconds[start:stop][~np.isnan(seconds[start:stop])]]
        if len(timed) >= LEAST_VOTES
    ]
    return float(np.median(medians)) if len(medians) > 2 else None


def _share(right: float, votes: int) -> list[Any] | None:
    """A share with its 95 % interval (Wilson) and how many votes it rests on; None for no vote."""
    if not votes:
        return None
    share = right / votes
    wide = _Z**2 / votes
    middle = (share + wide / 2) / (1 + wide)
    half = _Z * np.sqrt(share * (1 - share) / votes + wide / (4 * votes)) / (1 + wide)
    return [share, float(max(0, middle - half)), float(min(1, middle + half)), votes]


def _drift(right: np.ndarray) -> dict[str, Any] | None:
    """How often a rater was right in the first and in the second half of the votes, where that changed beyond chance."""
    half = len(right) // 2
    if half < LEAST_VOTES:
        return None
    first, second = right[:half], right[-half:]
    spread = np.sqrt(max(first.var() + second.var(), 1 / half) / half)
    score = float((second.mean() - first.mean()) / spread)
    if abs(score) < _FINDINGS_Z:
        return None
    return {"before": float(first.mean()), "after": float(second.mean()), "score": score}


def _problems(
    entry: Mapping[str, Any], answers: np.ndarray, expected: float, classes: int, usual: float | None
) -> list[str]:
    """What is wrong with a rater, if anything is: `constant`, `alternating`, `guessing`, `too_fast`, `worse`."""
    if entry["votes"] < LEAST_VOTES:
        return []
    found = []
    most = np.bincount(answers, minlength=classes).max() / len(answers)
    # Gold is rarer, and surer.
    known = [each for each in (entry["gold"], entry["accuracy"]) if each and each[3] >= LEAST_VOTES]
    accuracy = min(known, key=lambda each: each[2] - each[1], default=None)
    if most >= _CONSTANT and accuracy and accuracy[2] < most - _FAR:
        found.append("constant")
    elif _alternates(answers, most) and not (accuracy and accuracy[1] > 0.5 + _FAR):
        found.append("alternating")
    elif accuracy and accuracy[2] < expected + _NO_BETTER:
        found.append("guessing")
    if usual and entry["seconds"] is not None and entry["seconds"] < usual * _TOO_FAST:
        found.append("too_fast")
    if entry["drift"] and entry["drift"]["score"] < 0:
        found.append("worse")
    return found


def _alternates(answers: np.ndarray, most: float) -> bool:
    """Whether answers go round, A B A B or A B C A B C, in the order in which they were given."""
    if most >= _CONSTANT:
        return False
    return any((answers[lag:] == answers[:-lag]).mean() >= _CONSTANT for lag in _LAGS)
