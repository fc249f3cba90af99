"""Stacking: with gold, several models are followed at once, each as far as gold that it has not seen bears it out.

Log-linear: the posterior is that of Σ weight × log posterior of each model. Weights are at least zero, fitted on held-out
gold, and shrunk to what votes alone bear out, which little gold does not better (Wolpert, "Stacked
generalization", Neural Networks 5, 1992; Breiman, "Stacked regressions", Machine Learning 24, 1996). To what they are shrunk
and how strongly, held-out gold says as well; little gold cannot pick one of many, so that all are averaged, each by how well
it does (exponential weights: Leung and Barron, "Information theory and mixing least-squares regressions", IEEE Transactions
on Information Theory 52, 2006).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from headwater.components.label.weak.model import LabelModel, log_loss, softmax

# From hardly at all to hardly anything else.
_SHRINKAGES = (2.0, 8.0, 32.0, 128.0, 512.0, 2048.0)
# So many nats of held-out gold make one of them count e times as much as another.
_NATS = 2.0
_PARTS = 5
_STEPS = 60
_STILL = 1e-7
_LEAST_STEP = 1e-6
_LEAST_COUNT = 1e-3


def weights_of(logits: Sequence[np.ndarray], truth: np.ndarray, starts: Sequence[np.ndarray]) -> np.ndarray:
    """The weight of each model, at least 0.

    Args:
      logits: of each model on rows that it has not seen, [rows, classes].
      truth: their classes.
      starts: weights to shrink to, of which the rows choose.
    """
    stacked = np.stack([each - each.mean(1, keepdims=True) for each in logits]).astype(np.float64)
    # So that a weight of one is as much of one model as of another.
    scale = np.maximum(np.sqrt((stacked**2).mean((1, 2))), 1e-9)
    stacked /= scale[:, None, None]
    part = np.arange(len(truth)) % _PARTS
    losses, tried = [], []
    for start, shrinkage in itertools.product(starts, _SHRINKAGES):
        begin, loss = start * scale, 0.0
        for number in range(_PARTS):
            held = part == number
            found = _fitted(stacked[:, ~held], truth[~held], begin, shrinkage)
            loss += log_loss(softmax(np.tensordot(found, stacked[:, held], 1)), truth[held]) * held.sum()
        losses.append(loss)
        tried.append((begin, shrinkage))
    counts = np.exp((min(losses) - np.array(losses)) / _NATS)
    counts[counts < _LEAST_COUNT] = 0
    every = [
        count * _fitted(stacked, truth, begin, shrinkage) for count, (begin, shrinkage) in zip(counts, tried) if count
    ]
    return np.sum(every, 0) / counts.sum() / scale


def _fitted(stacked: np.ndarray, truth: np.ndarray, begin: np.ndarray, shrinkage: float) -> np.ndarray:
    """By Newton's steps, projected to weights of at least 0."""
    found, step = begin.copy(), 1.0
    value, slope, bend = _objective(stacked, truth, found, begin, shrinkage)
    for _ in range(_STEPS):
        free = (found > 0) | (slope < 0)
        move = np.zeros(len(found))
        if free.any():
            move[free] = np.linalg.solve(bend[np.ix_(free, free)], slope[free])
        while True:
            tried = np.maximum(found - step * move, 0)
            other = _objective(stacked, truth, tried, begin, shrinkage)
            if other[0] <= value or step < _LEAST_STEP:
                break
            step /= 2
        if other[0] > value:
            break
        gain, found, (value, slope, bend), step = value - other[0], tried, other, min(1.0, 2 * step)
        if gain < _STILL:
            break
    return found


def _objective(
    stacked: np.ndarray, truth: np.ndarray, weights: np.ndarray, begin: np.ndarray, shrinkage: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """The loss over all rows with what shrinks, its gradient and its Hessian."""
    rows = np.arange(len(truth))
    posterior = softmax(np.tensordot(weights, stacked, 1))
    loss = -np.log(np.maximum(posterior[rows, truth], 1e-12)).sum()
    mean = (stacked * posterior).sum(2)
    slope = (mean - stacked[:, rows, truth]).sum(1)
    apart = stacked - mean[:, :, None]
    bend = np.einsum("inc,jnc->ij", apart * posterior, apart)
    change = weights - begin
    return (
        float(loss + shrinkage / 2 * change @ change),
        slope + shrinkage * change,
        bend + shrinkage * np.eye(len(weights)),
    )


def combined(
    models: Sequence[LabelModel], weights: Sequence[float], groups: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The prior and the tables of Σ weight × logits.

    Args:
      models: each of groups that are functions alone or are in `groups`.
      weights: one a model.
      groups: those of the result.
    """
    classes = models[0].classes
    logs = np.sum([weight * np.log(model.prior) for model, weight in zip(models, weights)], 0)
    prior = np.exp(logs - logs.max())
    tables = [np.zeros(((classes + 1) ** len(group), classes)) for group in groups]
    for model, weight in zip(models, weights):
        own = dict(zip(model.groups, model.tables))
        for place, group in enumerate(groups):
            tables[place] += weight * (own[group] if group in own else _joint([own[(number,)] for number in group]))
    return prior / prior.sum(), tuple(tables)


def _joint(tables: Sequence[np.ndarray]) -> np.ndarray:
    """log P of joint outcomes of functions that are independent given the class."""
    joint = tables[0]
    for table in tables[1:]:
        joint = (joint[:, None, :] + table[None, :, :]).reshape(-1, joint.shape[1])
    return joint
