"""Our isolation forest beside scikit-learn's, and where there is little to cut."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from headwater.components.common.isolation import grow


def cloud(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((rows, columns))
    values[: rows // 50] *= 5
    return values


@pytest.mark.parametrize(("rows", "columns"), [(60, 1), (60, 4), (1000, 4), (1000, 20)])
def test_scores_are_those_of_scikit_learn_but_for_chance(rows, columns):
    values = cloud(rows, columns)
    ours = [grow(values, 100, 256, seed).scores(values) for seed in range(4)]
    theirs = [
        -IsolationForest(max_samples=min(256, rows), random_state=seed).fit(values).score_samples(values)
        for seed in range(4)
    ]
    apart = np.abs(np.mean(ours, axis=0) - np.mean(theirs, axis=0))
    chance = np.abs(np.mean(theirs[:2], axis=0) - np.mean(theirs[2:], axis=0))
    assert apart.mean() < 1.5 * chance.mean() and apart.max() < 0.08
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.01


def test_the_seed_decides_and_scores_do_not_depend_on_the_rows_beside():
    values = cloud(5000, 3)
    forest = grow(values, 100, 256, 7)
    scores = forest.scores(values)
    assert (grow(values, 100, 256, 7).scores(values) == scores).all()
    assert (grow(values, 100, 256, 8).scores(values) != scores).any()
    assert (np.concatenate([forest.scores(values[:3]), forest.scores(values[3:])]) == scores).all()


def test_every_tree_parts_its_rows_down_to_single_ones_where_it_may():
    forest = grow(np.arange(8.0)[:, None], 1, 8, 0)
    assert forest.levels == 3 and forest.trees == 1
    inner = np.isfinite(forest.cuts)
    assert (forest.left[~inner] == np.flatnonzero(~inner)).all() and (forest.depths[inner] == 0).all()
    assert sorted({*forest.left[inner], *(forest.left[inner] + 1)}) == list(range(1, len(forest.cuts)))


@pytest.mark.parametrize("values", [np.zeros((1, 2)), np.zeros((2, 1)), np.full((300, 3), 7.0)])
def test_where_there_is_nothing_to_cut_all_rows_are_alike(values):
    forest = grow(values, 10, 256, 0)
    scores = forest.scores(values)
    assert np.isfinite(scores).all() and len(set(scores)) == 1
    assert forest.scores(values[:0]).shape == (0,)


def test_values_that_lie_close_are_parted_without_end():
    values = np.array([[1.0], [np.nextafter(1.0, 2.0)], [1.0]])
    scores = grow(values, 50, 256, 0).scores(values)
    assert scores[1] > scores[0] == scores[2]
