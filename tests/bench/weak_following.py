"""Fits the table of components/label/weak/following.py to simulated votes, and prints it.

    python tests/bench/weak_following.py [--sets 700] [--check 0]

A set counts by what the pool loses to the majority, in log loss and in accuracy, and then by what it loses to the best of the
majority and of two plain models.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / "support")]

from vote_kinds import draw
from votes import plain_em, smoothed_majority

_ROWS = 300
_LEAST_ROWS = 100
# What is lost to the majority weighs so much more than what is lost to the best, and accuracy so much.
_SAFE, _RIGHT, _SHRINKAGE = 30.0, 4.0, 0.01
_SHARP = 15.0


class _Set(NamedTuple):
    kind: str
    found: dict[str, float]
    logs: np.ndarray
    truth: np.ndarray
    fixed: np.ndarray
    free: float
    majority: float
    best: float
    right: float


def _look(seed: int) -> _Set | None:
    """What there is to pool on a set; None where votes do not identify a model."""
    from headwater.components.label.weak import fitting, following, tally, trust

    kind, truth, votes, classes = draw(seed)
    if len(truth) < _LEAST_ROWS:
        return None
    found: dict[str, float] = {}

    def record(seen: dict[str, float]) -> dict[str, float]:
        found.update(seen)
        return {"majority": 0.0, "firm": 1.0, "em": 0.0}

    trust.following.strengths = record
    hashes = np.random.default_rng(seed).integers(0, 2**63, len(votes)).astype(np.uint64)
    counted = tally.tally(votes, np.full(len(votes), -1, np.int8), hashes, classes, 100_000)
    rows, gold, weights, _ = fitting._rows_to_fit(counted)
    data = fitting._Data(rows, gold, weights, classes, None)
    groups = fitting._groups(data, True)
    em = fitting._em(data, groups)
    weighed = fitting._tempered(data, groups).trust
    if not found:
        return None
    models = {
        "majority": smoothed_majority(votes, classes),
        "firm": fitting._em(data, groups, following.FIRM_VOTES).predict(votes),
        "em": em.predict(votes),
    }
    some = np.random.default_rng(seed).permutation(len(truth))[:_ROWS]
    logs = np.stack([np.log(np.maximum(models[name][some], 1e-9)) for name in following.MODELS])
    own = truth[some]
    others = [
        np.log(np.maximum(plain_em(votes, classes, abstaining=each)[some], 1e-9))[range(len(own)), own]
        for each in (True, False)
    ]
    majority = -logs[0][range(len(own)), own].mean()
    best = min(majority, *(-each.mean() for each in others))
    right = float((logs[0].argmax(1) == own).mean())
    # A set on which the majority is hardly better than chance teaches nothing that is met with.
    if right < 1 / classes + 0.08:
        return None
    leaning, free, own_weight = weighed.weights
    return _Set(kind, found, logs, own, np.array([leaning, 0.0, own_weight]), free, majority, best, right)


def _objective(flat: np.ndarray, sets: Sequence[_Set], seen: np.ndarray) -> tuple[float, np.ndarray]:
    table = flat.reshape(seen.shape[1], 3)
    sums = seen @ table
    weights, slopes = np.logaddexp(0, sums), expit(sums)
    total, slope = 0.0, np.zeros_like(table)
    for number, each in enumerate(sets):
        loss, gradient, right, toward = _pooled(each, each.fixed + each.free * weights[number])
        ratio, beside = loss / each.majority, loss / each.best
        total += _SAFE * max(0, ratio - 0.985) + min(1.5, max(0, beside - 1.02)) + 0.05 * ratio
        factor = (_SAFE * (ratio > 0.985) + 0.05) / each.majority + (1.02 < beside < 2.52) / each.best
        lost = each.right - right - 0.005
        total += _RIGHT * max(0, lost)
        change = factor * gradient - _RIGHT * (lost > 0) * toward
        slope += np.outer(seen[number], each.free * change * slopes[number])
    shrunk = table[1:]
    penalty = np.concatenate([np.zeros((1, 3)), _SHRINKAGE * shrunk])
    return total / len(sets) + _SHRINKAGE / 2 * (shrunk**2).sum(), (slope / len(sets) + penalty).ravel()


def _pooled(each: _Set, weights: np.ndarray) -> tuple[float, np.ndarray, float, np.ndarray]:
    """The loss and its gradient, and how many rows are right (as far as that can be differentiated) and its gradient."""
    rows = np.arange(len(each.truth))
    logits = np.tensordot(weights, each.logs, 1)
    chances, sharp = _softmax(logits), _softmax(_SHARP * logits)
    own = each.logs[:, rows, each.truth]
    loss = -np.log(np.maximum(chances[rows, each.truth], 1e-12)).mean()
    gradient = ((each.logs * chances).sum(2) - own).mean(1)
    right = sharp[rows, each.truth]
    return loss, gradient, right.mean(), (_SHARP * right * (own - (each.logs * sharp).sum(2))).mean(1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=700)
    parser.add_argument("--check", type=int, default=0, help="of the sets, so many are held out and judged")
    options = parser.parse_args()
    with multiprocessing.get_context("forkserver").Pool(os.cpu_count()) as pool:
        sets = [each for each in pool.imap(_look, range(options.sets), 5) if each is not None]
    held, sets = sets[: options.check], sets[options.check :]
    names = list(sets[0].found)
    seen = np.array([[each.found[name] for name in names] for each in sets])
    means, scales = seen.mean(0), seen.std(0)
    means[0], scales[0] = 0, 1
    start = np.zeros((len(names), 3))
    start[0] = 0.2, -2.5, -2.5
    found = minimize(_objective, start.ravel(), (sets, (seen - means) / scales), jac=True, options={"maxiter": 300})
    table = found.x.reshape(-1, 3) / scales[:, None]
    table[0] -= means[1:] @ table[1:]
    print("_TABLE = {")
    for name, row in zip(names, table):
        print(f'    "{name}": ({", ".join(f"{each:.3f}" for each in row)}),')
    print("}")
    for title, some in (("fitted", sets), ("held out", held)):
        for kind in sorted({each.kind for each in some}):
            own = [each for each in some if each.kind == kind]
            losses = []
            for each in own:
                sums = np.array([each.found[name] for name in names]) @ table
                weights = each.fixed + each.free * np.logaddexp(0, sums)
                logits = np.tensordot(weights, each.logs, 1)
                right = (logits.argmax(1) == each.truth).mean()
                losses.append((_pooled(each, weights)[0], each.majority, each.best, right - each.right))
            loss, majority, best, apart = np.array(losses).T
            print(
                f"{title:9}{kind:12} {len(own):4} sets: above majority {(loss > majority).sum()}, by 2 % "
                f"{(loss > 1.02 * majority).sum()}; above 1.05 × best {(loss > 1.05 * best).sum()}; less right "
                f"{(apart < -0.005).sum()}; mean ratios {(loss / majority).mean():.3f} {(loss / best).mean():.3f}, accuracy {apart.mean():+.3f}"
            )


if __name__ == "__main__":
    main()
