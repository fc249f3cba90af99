from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st
from votes import COPIES, PRIOR, generate, oracle

from headwater.components.label.weak import costs, em, fitting, model, tally


def hashes(rows, seed=12345):
    return np.random.default_rng(seed).integers(0, 2**63, rows).astype(np.uint64)


def counted(votes, gold=None, classes=3, size=100_000):
    gold = np.full(len(votes), -1, np.int8) if gold is None else gold.astype(np.int8)
    return tally.tally(votes, gold, hashes(len(votes)), classes, size)


def score(posterior, truth):
    return float((posterior.argmax(1) == truth).mean()), model.log_loss(posterior, truth)


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
        for name, options in {"own": {}, "apart": {"pairs": False}, "majority": {"kind": "majority"}}.items()
    }
    assert fitting.fit(counted(votes, classes=2)).groups == ((0,), (1, 2), (3,))
    assert found["own"][0] > found["majority"][0] > found["apart"][0]


@pytest.mark.parametrize("kind", ["A", "C"])
def test_leaps_end_where_plain_iterations_end(kind):
    _, votes, _ = generate(kind, 20_000, 1)
    gold = np.full(len(votes), -1, np.int8)
    fitted = fitting.fit(counted(votes))
    steps = em.Steps(votes, np.ones(len(votes)), gold, 3, None, fitted.groups)
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
    fitted = fitting.fit(counted(votes[:, :3]), pairs=False)
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
    truth, votes, _ = generate("A", 20_000, 1)
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
    merged = functools.reduce(tally.merge, parts)
    whole = tally.tally(votes, gold, spread, 3, 10_000)
    assert np.array_equal(merged.hashes, whole.hashes) and np.array_equal(merged.votes, whole.votes)


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
