"""Distances from the others, by the formulas of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headwater.components.common.outliers import isolation, scale_of


def test_robust_z_is_that_of_iglewicz_and_hoaglin():
    values = np.random.default_rng(1).normal(5, 2, 999)
    scale = scale_of(values)
    assert not scale.logarithmic
    assert scale.distances(values) == pytest.approx(
        0.6745 * (values - np.median(values)) / np.median(np.abs(values - np.median(values))), rel=1e-4
    )
    repeated = np.array([1.0] * 90 + [2.0] * 10)
    assert scale_of(repeated).distances(repeated)[-1] == pytest.approx((2 - 1) / (1.2533 * 0.1))


def test_what_is_no_number_lies_nowhere_and_infinity_lies_far():
    scale = scale_of(np.array([1.0, 2, 3, 4, 5, math.nan, math.inf]))
    assert (scale.middle, scale.spread) == (3, 1.4826)
    far = scale.distances(np.array([math.nan, math.inf, -math.inf]))
    assert math.isnan(far[0]) and far[1] == math.inf and far[2] == -math.inf


def test_a_skewed_column_is_measured_by_its_logarithms():
    values = np.exp(np.random.default_rng(2).normal(0, 1, 5001))
    scale = scale_of(values)
    assert scale.logarithmic
    logs = np.log(values)
    assert scale.distances(values)[:5] == pytest.approx(
        ((logs - np.median(logs)) / (1.4826 * np.median(np.abs(logs - np.median(logs)))))[:5]
    )
    assert scale.distances(np.array([0.0, -1.0])).tolist() == [-math.inf, -math.inf]


def test_a_column_of_one_value_has_no_distances():
    scale = scale_of(np.full(10, 7.0))
    assert scale.spread == 0
    assert scale.distances(np.array([7.0, 8.0])).tolist() == [0, 0]


def test_the_score_of_a_row_between_two_groups_is_highest_and_the_seed_decides_the_forest():
    chance = np.random.default_rng(3)
    cloud = np.concatenate([chance.normal(-3, 0.3, (500, 2)), chance.normal(3, 0.3, (500, 2))])
    tried = np.array([[3.0, -3.0], [3.0, 3.0], [math.nan, math.inf]])
    scores = isolation(cloud)(tried)
    assert scores[0] > 0.6 > 0.5 > scores[1] and np.isfinite(scores).all()
    assert (isolation(cloud)(tried) == scores).all() and (isolation(cloud, 1)(tried) != scores).any()
