"""Propagation in memory: against an independent dense solution, on odd graphs, calibrated, and the same on any number of cores."""

from __future__ import annotations

import numpy as np
import pytest
from points import mixture, moons
from sklearn.datasets import load_digits

from headwater.components.common import machine
from headwater.components.label.propagate import calibration, coreset, fitting, graph, neighbours, solving
from headwater.components.label.propagate.fitting import Nodes, Propagated, Rules, propagate


def spread(points: np.ndarray, truth: np.ndarray, seeds: np.ndarray, classes: int, **rules) -> Propagated:
    """Propagates the true classes of the seeds."""
    hashes = np.random.default_rng(1).integers(0, 1 << 63, len(points)).astype(np.uint64)
    known = np.eye(classes, dtype=np.float32)[truth[seeds]]
    given = {"neighbours": 10, "spread": None, "prior": None, **rules}
    return propagate(Nodes(points.astype(np.float32), hashes, seeds, known, np.zeros(len(seeds), bool)), Rules(**given))


def dense(points: np.ndarray, seeds: np.ndarray, known: np.ndarray, count: int, share: float) -> np.ndarray:
    """(I − a S)⁻¹ Y by other means: all distances, and a full matrix inverted."""
    rows = len(points)
    squares = ((points[:, None].astype(float) - points[None].astype(float)) ** 2).sum(2)
    np.fill_diagonal(squares, np.inf)
    near = np.argsort(squares, 1)[:, :count]
    units = np.sqrt(np.sort(squares, 1)[:, min(7, count) - 1])
    weights = np.zeros((rows, rows))
    for one in range(rows):
        for other in near[one]:
            weights[one, other] = weights[other, one] = np.exp(-squares[one, other] / (units[one] * units[other]))
    sums = weights.sum(1)
    right = np.zeros((rows, known.shape[1]))
    right[seeds] = known
    return np.linalg.solve(np.eye(rows) - share * weights / np.sqrt(sums[:, None] * sums[None]), right)


@pytest.mark.parametrize("rows, count, share", [(40, 3, 0.5), (120, 10, 0.95), (200, 5, 0.99), (9, 30, 0.9)])
def test_equals_a_dense_solution(rows, count, share):
    points, truth = mixture(rows, 4, 3, seed=rows, apart=0.8)
    seeds = np.array([int(np.flatnonzero(truth == number)[0]) for number in np.unique(truth)])
    seeds = np.sort(seeds)
    known = np.eye(3, dtype=np.float32)[truth[seeds]]
    joined = graph.build(points, count)
    found, _ = solving.solve(joined.joins, share, seeds, known, tolerance=1e-6)
    expected = dense(points, seeds, known, min(count, rows - 1), share)
    np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())


def test_held_out_is_what_a_solution_without_the_fold_gives():
    points, truth = mixture(500, 6, 3, apart=0.5)
    seeds = np.arange(0, 500, 5)
    known = np.eye(3, dtype=np.float32)[truth[seeds]]
    folds = calibration.folds_of(truth[seeds])
    joins = graph.build(points, 8).joins
    spreads = (0.5, 0.9, 0.99)
    found, _ = solving.held_out(joins, spreads, seeds, known, folds, calibration.FOLDS, tolerance=1e-6)
    for fold in range(calibration.FOLDS):
        kept = folds != fold
        for share, held in zip(spreads, found):
            alone, _ = solving.solve(joins, share, seeds[kept], known[kept], tolerance=1e-6)
            # The widest is solved less far.
            apart = 1e-4 if share == max(spreads) else 1e-7
            np.testing.assert_allclose(held[~kept], alone[seeds[~kept]], rtol=apart, atol=1e-5)


def test_folds_that_are_not_held_out_get_nothing():
    points, truth = mixture(500, 6, 3, apart=0.5)
    seeds = np.arange(0, 500, 5)
    folds = calibration.folds_of(truth[seeds])
    joins = graph.build(points, 8).joins
    known = np.eye(3, dtype=np.float32)[truth[seeds]]
    found, _ = solving.held_out(joins, (0.9,), seeds, known, folds, 1)
    assert found[:, folds == 0].any(2).all() and not found[:, folds > 0].any()


def test_one_seed_of_a_class_is_never_held_out():
    folds = calibration.folds_of(np.array([0, 1, 0, 0, 2, 2]))
    assert folds[1] == calibration.FOLDS
    assert (folds[[0, 2, 3, 4, 5]] < calibration.FOLDS).all() and folds[4] != folds[5]


@pytest.mark.parametrize("flat", [neighbours.FLAT_POINTS, 1_000])
def test_two_moons_by_a_seed_of_each(flat):
    points, truth = moons(3_000, 8, noise=0.06)
    seeds = np.array([int(np.flatnonzero(truth == number)[3]) for number in (0, 1)])
    done = spread(points, truth, np.sort(seeds), 2, flat=flat)
    assert (done.probabilities[done.of].argmax(1) == truth).mean() > 0.85
    assert done.report["held_out"] is None


def test_spread_is_chosen_by_held_out_seeds():
    points, truth = load_digits(return_X_y=True)
    many = np.sort(np.random.default_rng(0).choice(len(points), 300, replace=False))
    assert spread(points, truth, many, 10).report["spread"] == 0.9
    # Two rings of many points far apart, and few seeds.
    turn = np.random.default_rng(0).random(6_000) * 2 * np.pi
    truth = np.arange(6_000) % 2
    points = np.stack([np.cos(turn), np.sin(turn)], 1) * (1 + truth[:, None]) + 0.08 * np.random.default_rng(1).normal(
        size=(6_000, 2)
    )
    few = np.sort(np.random.default_rng(0).choice(len(points), 40, replace=False))
    assert spread(points, truth, few, 2).report["spread"] > 0.9
    assert spread(points, truth, few[:20], 2).report["spread"] == fitting.FEW_SPREAD


def test_digits():
    points, truth = load_digits(return_X_y=True)
    seeds = np.sort(np.random.default_rng(0).choice(len(points), 100, replace=False))
    done = spread(points, truth, seeds, 10)
    assert (done.probabilities[done.of].argmax(1) == truth).mean() > 0.9


def test_probabilities_hold():
    points, truth = mixture(8_000, 16, 5, seed=4, apart=0.3)
    seeds = np.sort(np.random.default_rng(0).choice(len(points), 600, replace=False))
    done, raw = spread(points, truth, seeds, 5), spread(points, truth, seeds, 5, calibrate=False)
    others = np.setdiff1d(np.arange(len(points)), seeds)
    probabilities = done.probabilities[done.of][others]
    right = probabilities.argmax(1) == truth[others]
    assert abs(right.mean() - probabilities.max(1).mean()) < 0.03
    known = np.eye(5)[truth[others]]
    assert calibration.log_loss(probabilities, known) < 0.8 * calibration.log_loss(
        raw.probabilities[raw.of][others], known
    )
    told = done.report["held_out"]
    assert told["seeds"] > 550 and abs(told["accuracy"] - right.mean()) < 0.05
    assert told["log_loss"] < told["log_loss_before"]


def test_seeds_that_are_all_right_do_not_make_sure():
    points, truth = mixture(3_000, 4, 2, seed=3, apart=6.0)
    done = spread(points, truth, np.arange(0, 3_000, 75), 2)
    assert done.report["held_out"]["accuracy"] == 1 and done.report["held_out"]["seeds"] == 40
    assert 0.98 < done.probabilities.max() < 0.999


def test_equal_rows_are_one_node():
    points, truth = mixture(300, 4, 2, apart=1.5)
    many = np.repeat(points, 40, axis=0)
    seeds = np.arange(0, len(many), 400)
    done = spread(many, np.repeat(truth, 40), seeds, 2)
    assert done.report["nodes"] == 300
    assert (np.diff(done.of.reshape(300, 40)) == 0).all()
    assert (done.probabilities[done.of].argmax(1) == np.repeat(truth, 40)).mean() > 0.8


def test_rows_that_are_all_equal_have_the_seeds_shares():
    points = np.ones((500, 3))
    truth = np.array([0, 0, 0, 1] * 125)
    done = spread(points, truth, np.arange(8), 2, class_mass=False)
    assert done.report["nodes"] == 1
    np.testing.assert_allclose(done.probabilities, [[0.75, 0.25]], atol=1e-6)


def test_seeds_that_disagree_on_equal_rows_share_them():
    points = np.array([[0.0], [0.0], [5.0], [5.1], [0.2]])
    done = spread(points, np.array([0, 1, 0, 1, 0]), np.array([0, 1]), 2, class_mass=False, neighbours=1)
    np.testing.assert_allclose(done.probabilities[done.of[0]], [0.5, 0.5], atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3, 11])
def test_tiny(rows):
    points = np.arange(rows, dtype=float)[:, None]
    done = spread(points, np.arange(rows) % 2, np.arange(min(2, rows)), 2)
    assert done.probabilities.shape == (rows, 2) and done.reached.all()
    assert np.isfinite(done.probabilities).all()
    np.testing.assert_allclose(done.probabilities.sum(1), 1, atol=1e-5)


def test_what_no_seed_reaches():
    points = np.concatenate([mixture(200, 3, 2)[0], mixture(100, 3, 2)[0] + 1_000])
    done = spread(points, np.arange(300) % 2, np.arange(20), 2)
    assert done.reached[done.of][:200].all() and not done.reached[done.of][200:].any()
    assert done.report["components_without_seeds"] == done.report["components"] - 1 == 1


def test_far_points_keep_their_joins():
    # A product of floats that far from one is nothing; a node on its own would be unreached for no reason.
    points = np.array([[0.0], [1.0], [2.0], [3.0], [1e4], [1.2e4]])
    done = spread(points, np.array([0, 0, 1, 1, 1, 1]), np.array([0, 3]), 2, neighbours=2)
    assert done.reached.all()


def test_class_mass_follows_the_prior():
    points, truth = mixture(4_000, 8, 2, seed=2, apart=0.2)
    seeds = np.concatenate([np.flatnonzero(truth == 0)[:60], np.flatnonzero(truth == 1)[:20]])
    seeds.sort()
    shares = {}
    for share in (0.3, 0.7):
        done = spread(points, truth, seeds, 2, prior=np.array([share, 1 - share]))
        shares[share] = (done.probabilities[done.of].argmax(1) == 0).mean()
    plain = spread(points, truth, seeds, 2, class_mass=False)
    assert shares[0.3] < shares[0.7]
    assert not np.array_equal(plain.probabilities, done.probabilities)


def test_cells_find_what_all_pairs_do(monkeypatch):
    points, _ = mixture(20_000, 16, 5)
    plain = neighbours.nearest(neighbours.build(points)[0], points[:500], 10)[1]
    index, _, order = neighbours.build(points, flat=1_000)
    cells = order[neighbours.nearest(index, points[:500], 10)[1]]
    assert np.mean([len({*one} & {*other}) for one, other in zip(plain, cells)]) > 9


@pytest.mark.parametrize("flat", [neighbours.FLAT_POINTS, 1_000])
def test_the_same_bits_on_any_number_of_cores(monkeypatch, flat):
    points, truth = mixture(12_000, 8, 3, apart=0.3)
    seeds = np.arange(0, 12_000, 100)
    found = []
    for cores in (1, 3):
        monkeypatch.setattr(machine, "cores", lambda: cores)
        done = spread(points, truth, seeds, 3, flat=flat)
        found.append(done.probabilities[done.of].tobytes())
    assert found[0] == found[1]


def test_a_coreset_has_the_size_and_keeps_rare_classes():
    chosen = coreset.choose(10_000, [50, 40_000, 100_000], 5_000_000)
    assert chosen.by_class[0] == 1 and not chosen.all_rows
    chance = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2, -1], [50, 40_000, 100_000, 5_000_000])
    nodes = chosen.nodes(chance.integers(0, 1 << 63, len(codes)).astype(np.uint64), codes)
    assert abs(nodes.sum() - 10_000) < 500 and nodes[:50].all()
    assert abs((codes[nodes] >= 0).sum() - 5_000) < 300
    assert coreset.choose(100, [30, 30], 40).all_rows and not coreset.choose(99, [30, 30], 40).all_rows
    # Without others all room is the seeds'.
    assert coreset.choose(1_000, [5_000, 5_000], 0).by_class == (0.1, 0.1)


def test_memory_limits_the_nodes(monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda: 1 << 30)
    most, by_memory = coreset.most_nodes(10_000_000, 32, 10, 10)
    assert by_memory and 100_000 < most < 500_000
    assert coreset.most_nodes(10_000_000, 768, 10, 10)[0] < most
    assert coreset.most_nodes(20_000, 32, 10, 10) == (20_000, False)
    monkeypatch.setattr(machine, "memory", lambda: None)
    assert coreset.most_nodes(10_000_000, 32, 10, 10) == (10_000_000, False)


def picked(points, truth, seed):
    """Seeds that are picked by where they lie: nine of ten where one class is, which has a fifth of the rows."""
    chance = np.random.default_rng(seed)
    right = points[:, 0] > np.quantile(points[:, 0], 0.8)
    return np.sort(
        np.concatenate(
            [chance.choice(np.flatnonzero(right), 180, False), chance.choice(np.flatnonzero(~right), 20, False)]
        )
    )


@pytest.mark.parametrize("seed", range(4))
def test_seeds_that_were_picked_do_not_decide_how_many_rows_a_class_has(seed):
    points = np.random.default_rng(seed).normal(size=(5_000, 2))
    truth = (points[:, 0] > np.quantile(points[:, 0], 0.8)).astype(int)
    seeds = picked(points, truth, seed)
    done = spread(points, truth, seeds, 2)
    assert truth[seeds].mean() == 0.9 and abs(done.report["prior"][1] - 0.2) < 0.15
    assert (done.probabilities[done.of].argmax(1) == truth).mean() > 0.8


def test_rows_that_are_far_from_all_seeds_are_counted():
    points = np.random.default_rng(3).normal(size=(5_000, 2))
    truth = (points[:, 1] > 0).astype(int)
    sample = np.sort(np.random.default_rng(1).choice(5_000, 200, False))
    corner = np.sort(np.argsort(-points[:, 0])[:200])
    shares = [spread(points, truth, seeds, 2).report["far"] for seeds in (sample, corner)]
    assert shares[0] < 0.12 and shares[1] > 0.5
