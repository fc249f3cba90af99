"""From points and seeds to the probabilities of every node: what a process does once it has the nodes in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from headwater.components.label.propagate import calibration, graph, solving, standing
from headwater.components.label.propagate.calibration import Calibration
from headwater.components.label.propagate.neighbours import FLAT_POINTS

SPREADS = (0.9, 0.97, 0.995)
"""Of these one is chosen by held-out seeds. The fewer seeds there are, the farther they have to reach."""

FEW_SPREAD = 0.97
"""The one that is taken where there are too few seeds to choose by."""

_TOLD = 4
"""So many digits of a loss count."""


class Nodes(NamedTuple):
    """Rows that are in the graph.

    Attributes:
      points: float32, [rows, dimensions].
      hashes: uint64: of their keys, an order of chance.
      seeds: which of them have a class, int64, rising.
      classes: float32, [seeds, classes]: how much each is of each class.
      gold: bool, one a seed: whether a person gave its class.
    """

    points: np.ndarray
    hashes: np.ndarray
    seeds: np.ndarray
    classes: np.ndarray
    gold: np.ndarray


class Rules(NamedTuple):
    """How labels spread.

    Attributes:
      neighbours: to how many of its nearest a node is joined.
      spread: how much a node takes over from its neighbours, in (0, 1); None to choose of `SPREADS` by held-out seeds.
      prior: float64, the share of each class; None to tell it from the seeds and how many rows each stands for.
      class_mass: whether classes get as many rows as the prior says.
      calibrate: whether held-out seeds choose a temperature.
      flat: the most points that are compared each with each.
    """

    neighbours: int
    spread: float | None
    prior: np.ndarray | None
    class_mass: bool = True
    calibrate: bool = True
    flat: int = FLAT_POINTS


class Propagated(NamedTuple):
    """What came of it.

    Attributes:
      of: for each row the number of its node, as equal points are one.
      probabilities: float32, [nodes, classes].
      reached: bool, one a node: whether a seed is in its component.
      graph: what joins them.
      calibration: how probabilities were made.
      report: JSON values only.
    """

    of: np.ndarray
    probabilities: np.ndarray
    reached: np.ndarray
    graph: graph.Graph
    calibration: Calibration
    report: dict[str, Any]


def propagate(nodes: Nodes, rules: Rules) -> Propagated:
    """Spreads the seeds' classes over all nodes; on one core where bits depend on how many there are."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        return _propagate(nodes, rules)


def _propagate(nodes: Nodes, rules: Rules) -> Propagated:
    stands, far = standing.standing(nodes.points, nodes.hashes, nodes.seeds, nodes.classes, rules.flat)
    prior = standing.shares(nodes.classes, stands) if rules.prior is None else rules.prior
    first, of = graph.distinct(nodes.points)
    points = nodes.points if len(first) == len(nodes.points) else nodes.points[first]
    joined = graph.build(points, rules.neighbours, rules.flat)
    del points
    place = np.empty(len(first), np.int64)
    place[joined.order] = np.arange(len(first))
    first, of = first[joined.order], place[of]
    seeds, classes, gold, stands = _by_node(nodes, of, stands)
    # In an order of chance, so that folds are samples.
    order = np.lexsort([seeds, nodes.hashes[first[seeds]]])
    seeds, classes, gold, stands = seeds[order], classes[order], gold[order], stands[order]
    folds = calibration.folds_of(classes.argmax(1))
    enough = (folds < calibration.FOLDS).sum() >= calibration.LEAST_SEEDS
    share, held_mass, steps = rules.spread or FEW_SPREAD, None, 0
    if enough and (rules.spread is None or rules.calibrate):
        judged = (folds == 0) & (gold if gold.any() else True)
        if judged.sum() >= calibration.ENOUGH_SEEDS:
            folds[folds > 0] = calibration.FOLDS
        spreads = (rules.spread,) if rules.spread else SPREADS
        found, steps = solving.held_out(joined.joins, spreads, seeds, classes, folds, calibration.FOLDS)
        best = _best(found, classes, folds < calibration.FOLDS, prior, stands)
        share, held_mass = spreads[best], found[best]
    mass, more = solving.solve(joined.joins, share, seeds, classes)
    has_seed = np.zeros(int(joined.components.max(initial=0)) + 1, bool)
    has_seed[joined.components[seeds]] = True
    reached = has_seed[joined.components]
    copies = np.bincount(of, minlength=len(first))
    factors = np.ones(len(prior))
    if rules.class_mass:
        factors = calibration.class_mass(mass[reached], copies[reached], prior)
    plain = Calibration(factors, prior)
    fitted, told = plain, None
    held_out = np.zeros(len(seeds), bool)
    if rules.calibrate and held_mass is not None:
        held_out = (folds < calibration.FOLDS) & (held_mass.sum(1) > 0)
    if (held_out & gold).sum() >= calibration.LEAST_SEEDS:
        held_out &= gold
    if held_mass is not None and held_out.sum() >= calibration.LEAST_SEEDS:
        held, known, weights = held_mass[held_out], classes[held_out], _softened(stands[held_out])
        fitted = calibration.fit(plain, held, known, weights)
        told = _described(plain, fitted, held, known, weights, bool(gold[held_out].all()))
    probabilities = fitted.probabilities(mass)
    report = {
        "nodes": len(first),
        "edges": int(joined.joins.nnz // 2),
        "components": len(has_seed),
        "components_without_seeds": int((~has_seed).sum()),
        "spread": share,
        "far": round(far, 6),
        "prior": [round(float(each), 6) for each in prior],
        "steps": steps + more,
        "held_out": told,
    }
    return Propagated(of, probabilities, reached, joined, fitted, report)


def _softened(stands: np.ndarray) -> np.ndarray:
    """Weights of seeds when they judge probabilities: half way to all alike, or a few would decide."""
    weights = 1 + stands
    return weights / weights.mean()


def _best(found: np.ndarray, classes: np.ndarray, held: np.ndarray, prior: np.ndarray, stands: np.ndarray) -> int:
    """Which of several solutions, by rising spread, tells held-out seeds best."""
    if len(found) == 1:
        return 0
    known, weights = classes[held], _softened(stands[held])
    plain = Calibration(np.ones(len(prior)), prior)

    def loss(masses: np.ndarray) -> float:
        fitted = calibration.fit(plain, masses, known, weights)
        return calibration.log_loss(fitted.probabilities(masses), known, weights)

    # Of those that tell as much the one that reaches farthest.
    return min(range(len(found)), key=lambda place: (round(loss(found[place][held]), _TOLD), -place))


def _by_node(nodes: Nodes, of: np.ndarray, stands: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The nodes that have a seed, the mean of their seeds' classes, whether one of those is gold, and how many rows they stand
    for."""
    seeds, place, times = np.unique(of[nodes.seeds], return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    classes = np.zeros((len(seeds), nodes.classes.shape[1]))
    for number in range(classes.shape[1]):
        classes[:, number] = np.bincount(place, nodes.classes[:, number], minlength=len(seeds))
    gold = np.bincount(place, nodes.gold, minlength=len(seeds)) > 0
    stands = np.bincount(place, stands, minlength=len(seeds))
    return seeds, (classes / times[:, None]).astype(np.float32), gold, stands


def _described(
    plain: Calibration, fitted: Calibration, held: np.ndarray, known: np.ndarray, weights: np.ndarray, gold: bool
) -> dict[str, Any]:
    before, after = plain.probabilities(held), fitted.probabilities(held)
    return {
        "seeds": len(held),
        "gold": gold,
        "accuracy": round(float(np.average(after.argmax(1) == known.argmax(1), weights=weights)), 6),
        "log_loss": round(calibration.log_loss(after, known, weights), 6),
        "log_loss_before": round(calibration.log_loss(before, known, weights), 6),
        "temperature": round(fitted.temperature, 4),
        "doubt": round(fitted.doubt, 6),
    }
