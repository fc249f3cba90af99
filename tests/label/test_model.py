from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st
from votes import COPIES, PRIOR, generate, oracle

from headwater.components.label.weak import costs, em, fitting, model, stacking, tally


def hashes(rows, seed=12345):
    return np.random.default_rng(seed).integers(0, 2**63, rows).astype(np.uint64)


def counted(votes, gold=None, classes=3, size=100_000):
    gold = np.full(len(votes), -1, np.int8) if gold is None else gold.astype(np.int8)
    return tally.tally(votes, gold, hashes(len(votes)), classes, size)


def score(posterior, truth):
    return float((posterior.argmax(1) == truth).mean()), model.log_loss(posterior, truth)


@pytest.mark.sweep(4)
@pytest.mark.parametrize(("kind", "accuracy", "loss"), [("A", 0.002, 0.005), ("B", 0.004, 0.012), ("C", 0.002, 0.005)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_model_comes_close_to_an_oracle_without_gold(kind, accuracy, loss, seed):
    truth, votes, tables = generate(kind, 100_000, seed)
    fitted = fitting.fit(counted(votes))
    assert {group for group in fitted.groups if len(group) > 1} == (set() if kind == "C" else set(COPIES))
    own, best = score(fitted.predict(votes), truth), score(oracle(votes, tables), truth)
    assert best[0] - own[0] <= accuracy and own[1] - best[1] <= loss
    assert own[0] > score(model.majority(votes, PRIOR), truth)[0]


def test_two_sides_of_one_column_do_not_pass_for_the_class():
    chance = np.random.default_rng(7)
    late = chance.random(3_000) < 0.3
    one, other = chance.normal(size=3_000) + 2 * late, chance.normal(size=3_000) + 1.5 * late
    said = np.where(chance.random(3_000) < np.where(late, 0.4, 0.1), 1, -1)
    sides = [np.where(other > 0.8, 1, -1), np.where(other < 0.2, 0, -1)]
    votes = np.stack([np.where(one > 1, 1, np.where(one < 0.5, 0, -1)), *sides, said], 1).astype(np.int8)
    covered = (votes >= 0).any(1)
    found = {
        name: score(
            fitting.fit(counted(votes, classes=2), **options).predict(votes)[covered], late[covered].astype(int)
        )
        for name, options in {
            "own": {"kind": "em"}, "apart": {"kind": "em", "pairs": False}, "majority": {"kind": "majority"}
        }.items()
    }  # fmt: skip
    assert fitting.fit(counted(votes, classes=2), kind="em").groups == ((0,), (1, 2), (3,))
    assert found["own"][0] > found["majority"][0] > found["apart"][0]


@pytest.mark.sweep(2)
@pytest.mark.parametrize("kind", ["A", "C"])
def test_leaps_end_where_plain_iterations_end(kind):
    _, votes, _ = generate(kind, 20_000, 1)
    gold = np.full(len(votes), -1, np.int8)
    fitted = fitting.fit(counted(votes))
    first = em.first_posterior(votes, gold, 3, None)
    steps = em.Steps(votes, np.ones(len(votes)), gold, 3, None, fitted.groups, fitting.silent(votes, 3), first)
    posterior = model.majority(votes, PRIOR).T
    for _ in range(400):
        posterior, likelihood = steps.expect(steps.maximise(posterior))
    assert np.abs(fitted.predict(votes) - posterior.T).mean() < 0.002
    own = steps.expect([np.log(fitted.prior)[:, None], *fitted.tables])[1]
    assert own == pytest.approx(likelihood, rel=1e-5) and fitted.iterations < 60


def test_the_likelihood_is_that_of_brute_force():
    """A sum over the classes, written out, with gold and weights."""
    _, votes, _ = generate("A", 200, 3)
    gold = np.where(np.arange(200) < 20, votes[:, 0], -1).astype(np.int8)
    weights = np.arange(200) % 3 + 1.0
    steps = em.Steps(votes[:, :4], weights, gold, 3, None, ((0,), (1, 3), (2,)))
    found = steps.maximise(model.majority(votes, PRIOR).T)
    shares = [np.exp(each) for each in found]
    expected = 0.0
    for row, known, weight in zip(votes[:, :4] + 1, gold, weights):
        each = [
            shares[0][c, 0] * shares[1][row[0], c] * shares[2][row[1] * 4 + row[3], c] * shares[3][row[2], c]
            for c in range(3)
        ]
        expected += weight * np.log(each[known] if known >= 0 else sum(each))
    assert steps.expect(found)[1] == pytest.approx(expected, rel=1e-5)


def test_any_number_of_cores_fits_the_same_bits():
    _, votes, _ = generate("A", 20_000, 2)
    found = []
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads, "blas"):
            found.append(fitting.fit(counted(votes)).predict(votes).tobytes())
            assert {each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"} == {
                threads
            }
    assert found[0] == found[1]


def test_rare_abstentions_are_counted_among_many_rows():
    """Patterns of a billion rows, of which a function abstains on fifty, nearly all of one class."""
    rows = np.array([[v, v, v, w, -1] for v in (0, 1) for w in (-1, v)], np.int8)
    weights = np.array([48.0, 5e8, 2.0, 5e8])
    steps = em.Steps(rows[:, :4], weights, rows[:, 4], 2, None, ((0,), (1,), (2,), (3,)))
    posterior = np.eye(2, dtype=np.float32)[:, rows[:, 0]]
    table = steps.maximise(posterior)[4]
    assert table[0, 0] - table[0, 1] == pytest.approx(np.log(48 / 2), rel=0.01)


def test_copies_that_are_not_looked_for_take_over():
    truth, votes, _ = generate("A", 50_000, 0)
    with_pairs, without = (fitting.fit(counted(votes), pairs=pairs) for pairs in (True, False))
    assert score(without.predict(votes), truth)[1] > score(with_pairs.predict(votes), truth)[1] + 0.05


def test_the_posterior_is_that_of_brute_force():
    """Bayes by hand over all votes of three functions, for a model that was fitted."""
    truth, votes, _ = generate("A", 5_000, 3)
    fitted = fitting.fit(counted(votes[:, :3]), kind="em", pairs=False)
    every = np.array(list(itertools.product([-1, 0, 1, 2], repeat=3)), np.int8)
    for row, own in zip(every, fitted.predict(every)):
        weights = [
            fitted.prior[true]
            * np.prod([np.exp(fitted.tables[number][vote + 1, true]) for number, vote in enumerate(row)])
            for true in range(3)
        ]
        assert own == pytest.approx(np.array(weights) / sum(weights), abs=1e-5)
    for table in fitted.tables:
        assert np.exp(table).sum(0) == pytest.approx(np.ones(3))


def test_gold_is_fixed_in_the_fit_and_chooses_the_model():
    truth, votes, _ = generate("A", 8_000, 1)
    gold = np.where(np.arange(len(truth)) < 400, truth, -1)
    fitted = fitting.fit(counted(votes, gold))
    losses = dict(fitted.losses)
    assert set(losses) == {"em", "em, pairs", "majority", "naive_bayes"}
    assert min(losses, key=losses.get) == "em, pairs" and fitted.kind == "em"
    named = fitting.fit(counted(votes, gold), kind="naive_bayes")
    assert named.kind == "naive_bayes" and named.losses == fitted.losses


def test_a_model_that_gold_refutes_is_not_taken():
    """Three functions that err together against one that is right: only gold can tell."""
    chance = np.random.default_rng(5)
    truth = chance.integers(0, 2, 4_000).astype(np.int8)
    noise = np.where(chance.random(4_000) < 0.55, truth, 1 - truth)
    votes = np.stack([noise, noise, noise, np.where(chance.random(4_000) < 0.95, truth, 1 - truth)], 1).astype(np.int8)
    gold = np.where(np.arange(4_000) < 500, truth, -1)
    blind = fitting.fit(counted(votes, classes=2), pairs=False)
    seen = fitting.fit(counted(votes, gold, classes=2), pairs=False)
    assert score(blind.predict(votes), truth)[0] < 0.6 < 0.9 < score(seen.predict(votes), truth)[0]
    assert seen.kind == "naive_bayes"


def test_gold_that_cannot_choose_between_two_starts_follows_both():
    chance = np.random.default_rng(0)
    one, other = chance.normal(size=(2, 20, 2)).astype(np.float32)
    truth = chance.integers(0, 2, 20)
    # Each row once more with the models' parts changed, in the same fold: both are as good.
    logits = [np.concatenate([one, other]), np.concatenate([other, one])]
    even = stacking.weights_of(logits, np.tile(truth, 2), [np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    assert even[0] == pytest.approx(even[1]) and even[0] > 0.1
    truth = chance.integers(0, 2, 400)
    right, noise = 3 * np.eye(2, dtype=np.float32)[truth], chance.normal(size=(400, 2)).astype(np.float32)
    sure = stacking.weights_of([right, noise], truth, [np.array([1.0, 0.0]), np.array([0.0, 1.0])])
    assert sure[0] > 1 and sure[1] < 0.1


def test_a_balance_that_is_known_is_kept():
    _, votes, _ = generate("C", 20_000, 0)
    fitted = fitting.fit(counted(votes), balance=PRIOR)
    assert fitted.prior == pytest.approx(PRIOR)
    assert fitting.fit(counted(votes)).prior != pytest.approx(PRIOR, abs=1e-6)


def test_the_temperature_calms_a_model_that_is_too_sure():
    """The same function ten times, with the copies not looked for: naive posteriors are far too sure."""
    chance = np.random.default_rng(2)
    truth = chance.integers(0, 2, 3_000).astype(np.int8)
    one = np.where(chance.random(3_000) < 0.7, truth, 1 - truth).astype(np.int8)
    votes = np.repeat(one[:, None], 10, axis=1)
    gold = np.where(np.arange(3_000) < 600, truth, -1)
    fitted = fitting.fit(counted(votes, gold, classes=2), kind="naive_bayes", pairs=False)
    assert fitted.temperature > 3
    assert fitted.predict(votes).max(1).mean() == pytest.approx((one == truth)[:600].mean(), abs=0.02)


def test_the_sample_fits_as_all_rows_do():
    truth, votes, tables = generate("B", 60_000, 4)
    best = score(oracle(votes, tables), truth)
    own = score(fitting.fit(counted(votes, size=20_000)).predict(votes), truth)
    assert best[0] - own[0] <= 0.004 and own[1] - best[1] <= 0.012


def test_intervals_hold_the_accuracy():
    truth, votes, _ = generate("A", 50_000, 2)
    found = counted(votes)
    fitted = fitting.fit(found)
    estimate, low, high = fitted.accuracies(found)
    for number in range(votes.shape[1]):
        voted = votes[:, number] >= 0
        own = (votes[voted, number] == truth[voted]).mean()
        assert estimate[number] == pytest.approx(own, abs=0.02)
        assert low[number] < estimate[number] < high[number]
    assert model.wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)


def test_accuracies_are_means_of_posteriors_as_sure_as_those_are():
    _, votes, _ = generate("A", 3_000, 4)
    found = counted(np.insert(votes[:, :4], 1, -1, axis=1))
    fitted = fitting.fit(found, pairs=False)
    estimate, low, high = fitted.accuracies(found)
    rows, _, weights = tally.rows_of(found)
    posterior = fitted.predict(rows).astype(float)
    unsure = [-sum(p * np.log(p) for p in row) for row in posterior]
    sure = 1 - np.array(unsure) / -sum(p * np.log(p) for p in fitted.prior)
    for number in (0, 2, 3, 4):
        own = [place for place, row in enumerate(rows) if row[number] >= 0]
        share = sum(posterior[place, rows[place, number]] * weights[place] for place in own) / weights[own].sum()
        trials = sum(min(max(sure[place], 0), 1) * weights[place] for place in own)
        expected = (share, *model.wilson(share, trials))
        assert (estimate[number], low[number], high[number]) == pytest.approx(expected, rel=1e-4)
    # One that never votes has none.
    assert np.isnan([estimate[1], low[1], high[1]]).all() and fitted.sampled == 0


def test_wilsons_interval():
    assert model.wilson(0.9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert model.wilson(0.25, 40) == pytest.approx((0.1419, 0.4019), abs=1e-4)
    assert model.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert model.wilson(1, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    assert model.wilson(0.5, 0) == model.wilson(0.5, -1) == (0, 1) and model.wilson(0.5, 0.5) > (0, 1)


def test_loss_is_weighted_and_finite():
    posterior, truth = np.array([[0.5, 0.5], [0.1, 0.9], [1.0, 0.0]]), np.array([0, 1, 0])
    assert model.log_loss(posterior, truth) == pytest.approx((np.log(2) - np.log(0.9)) / 3)
    assert model.log_loss(posterior, truth, np.array([3, 1, 0])) == pytest.approx((3 * np.log(2) - np.log(0.9)) / 4)
    assert model.log_loss(posterior[2:], np.array([1])) == pytest.approx(9 * np.log(10))


def test_majority_counts_the_prior_as_one_vote_more():
    found = model.majority(np.array([[0, 0, 1], [-1, -1, -1], [1, -1, -1]], np.int8), np.array([0.7, 0.3]))
    assert found == pytest.approx(np.array([[2.7 / 4, 1.3 / 4], [0.7, 0.3], [0.35, 0.65]]))


def test_logits_of_many_functions_are_sums_of_their_tables():
    """More functions than one table holds, copies among them."""
    _, votes, _ = generate("A", 4_000, 0)
    fitted = fitting.fit(counted(votes))
    assert any(len(group) > 1 for group in fitted.groups) and len(fitted.groups) > 10
    expected = np.tile(np.log(fitted.prior), (len(votes), 1))
    for group, table in zip(fitted.groups, fitted.tables):
        code = functools.reduce(lambda code, number: 4 * code + votes[:, number] + 1, group, np.zeros(len(votes), int))
        expected += table[code]
    assert fitted.logits(votes) == pytest.approx(expected, abs=1e-3)
    shares = np.exp(expected - expected.max(1, keepdims=True))
    assert fitted.predict(votes) == pytest.approx(shares / shares.sum(1, keepdims=True), abs=1e-4)
    assert model.softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]])).tolist() == [[0.5, 0.5], [0, 1]]


def test_expected_cost_decides():
    posterior = np.array([[0.8, 0.2], [0.95, 0.05]], np.float32)
    assert costs.decide(posterior, None).tolist() == [0, 0]
    given_costs = costs.matrix({"fraud": {"fine": 10}}, ["fine", "fraud"])
    assert costs.decide(posterior, given_costs).tolist() == [1, 0]


VOTES = st.lists(st.lists(st.integers(-1, 2), min_size=4, max_size=4), min_size=0, max_size=40)


@settings(max_examples=60, deadline=None)
@given(VOTES, VOTES, st.integers(1, 30))
def test_tallies_merge_to_that_of_all_rows(first, second, size):
    one, other = (np.array(rows, np.int8).reshape(-1, 4) for rows in (first, second))
    every = np.concatenate([one, other])
    spread = hashes(len(every))
    gold = (every[:, 0] if len(every) else np.zeros(0)).astype(np.int8)
    parts = [
        tally.tally(rows, gold[start : start + len(rows)], spread[start : start + len(rows)], 3, size)
        for rows, start in ((one, 0), (other, len(one)))
    ]
    merged = tally.merge(*(tally.decode(tally.encode(part)) for part in parts))
    whole = tally.tally(every, gold, spread, 3, size)
    for name, value in vars(whole).items():
        assert np.array_equal(value, getattr(merged, name)), name


def test_parts_keep_their_share_of_the_sample():
    _, votes, _ = generate("A", 60_000, 5)
    gold, spread = np.full(len(votes), -1, np.int8), hashes(len(votes))
    parts = [
        tally.tally(votes[start : start + rows], gold[:rows], spread[start : start + rows], 3, 10_000, len(votes))
        for start, rows in ((0, 40_000), (40_000, 15_000), (55_000, 4_990), (59_990, 10))
    ]
    assert [len(part.hashes) < part.rows for part in parts] == [True, True, True, False]
    # A share of 6,667, and six times its standard deviation more.
    assert 6_667 + 400 < len(parts[0].hashes) < 6_667 + 600
    merged = functools.reduce(tally.merge, parts)
    whole = tally.tally(votes, gold, spread, 3, 10_000)
    assert np.array_equal(merged.hashes, whole.hashes) and np.array_equal(merged.votes, whole.votes)


def test_a_tally_of_several_chunks_counts_all_rows():
    _, votes, _ = generate("A", 20_000, 6)
    votes = np.where(np.arange(20_000)[:, None] % 7, votes, -1).astype(np.int8)
    found = counted(votes)
    cast = votes >= 0
    split = np.where(cast, votes, -1).max(1) > np.where(cast, votes, 3).min(1)
    assert (found.covered, found.contested) == (cast.any(1).sum(), split.sum())
    assert found.overlaps.tolist() == (cast & (cast.sum(1) > 1)[:, None]).sum(0).tolist()
    assert found.conflicts.tolist() == (cast & split[:, None]).sum(0).tolist()
    ones = (votes[:, :, None] + 1 == np.arange(4)).reshape(len(votes), -1).astype(float)
    assert (found.pairs == ones.T @ ones).all()


def test_patterns_give_way_to_the_sample_where_they_are_too_many():
    votes = generate("A", 60_000, 7)[1][:, :19].copy()
    assert len(np.unique(votes[:30_000], axis=0)) > tally.MOST_PATTERNS // 2
    gold, spread = votes[:, 0].copy(), hashes(60_000)
    one, other = (tally.tally(votes[part], gold[part], spread[part], 3, 500) for part in (slice(30_000), slice(30_000, None)))  # fmt: skip
    assert one.is_exact and other.is_exact and one.counts.sum() == 30_000
    merged, whole = tally.merge(one, other), tally.tally(votes, gold, spread, 3, 500)
    for found in (merged, whole, tally.merge(merged, counted(votes[:3], size=500))):
        assert not found.is_exact and found.patterns.shape == (0, 20) and len(found.counts) == 0
    for name, value in vars(whole).items():
        assert np.array_equal(value, getattr(merged, name)), name
    few = np.tile(votes[:200], (300, 1))
    assert counted(few).is_exact and counted(few).counts.sum() == 60_000
    assert tally.rows_of(merged)[0].shape == tally.sample_of(merged)[0].shape


def test_a_sample_holds_the_rows_of_the_lowest_hashes_and_their_gold():
    chance = np.random.default_rng(8)
    votes, spread = chance.integers(-1, 3, (1_000, 3)).astype(np.int8), hashes(1_000)
    gold = np.where(chance.random(1_000) < 0.1, chance.integers(0, 3, 1_000), -1).astype(np.int8)
    rows, classes, weights = tally.sample_of(tally.tally(votes, gold, spread, 3, 40))
    order = np.argsort(spread)
    lowest, golden = order[:40], order[gold[order] >= 0][:40]
    expected = [*lowest, *(place for place in golden if place not in lowest)]
    assert 40 < len(expected) < 80 and (gold[lowest] >= 0).any()
    assert (rows == votes[expected]).all() and (classes == gold[expected]).all() and (weights == 1).all()


@pytest.mark.parametrize(("rows", "cells"), [(0, 5), (1, 1), (10_000, 60), (200_000, 3), (5_000, 1_000_000)])
def test_chunks_hold_every_row_once(rows, cells):
    places = [list(range(rows))[part] for part in tally.chunks(rows, cells)]
    assert [place for part in places for place in part] == list(range(rows))
    assert all(len(part) * cells <= 500_000 or len(part) <= 2_000 for part in places)


@settings(max_examples=60, deadline=None)
@given(VOTES)
def test_a_tally_counts_as_a_loop_does(rows):
    votes = np.array(rows, np.int8).reshape(-1, 4)
    found = counted(votes)
    cast = [[vote for vote in row if vote >= 0] for row in votes.tolist()]
    assert found.covered == sum(bool(own) for own in cast)
    assert found.contested == sum(len(set(own)) > 1 for own in cast)
    for number in range(4):
        others = [[vote for place, vote in enumerate(row) if place != number and vote >= 0] for row in votes.tolist()]
        voting = [(row[number], own) for row, own in zip(votes.tolist(), others) if row[number] >= 0]
        assert found.overlaps[number] == sum(bool(own) for _, own in voting)
        assert found.conflicts[number] == sum(any(each != vote for each in own) for vote, own in voting)
    for one, other in itertools.product(range(4), repeat=2):
        for this, that in itertools.product(range(-1, 3), repeat=2):
            expected = sum(row[one] == this and row[other] == that for row in votes.tolist())
            assert found.pairs[one * 4 + this + 1, other * 4 + that + 1] == expected
