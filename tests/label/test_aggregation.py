"""From votes to classes: beside published figures, an oracle, brute force and the majority."""

from __future__ import annotations

import numpy as np
import pytest
from raters import ANAESTHETISTS, generate, oracle

from headwater.components.common.errors import HeadwaterError
from headwater.components.label.human import aggregation
from headwater.components.label.human.aggregation import Kinds, Votes, dawid_skene, majority


def one_kind(votes: Votes, trust: float = 0.8) -> Kinds:
    return Kinds(np.zeros(votes.raters, np.int64), [trust])


def right(posterior: np.ndarray, truth: np.ndarray) -> float:
    return float((posterior.argmax(1) == truth).mean())


def loss(posterior: np.ndarray, truth: np.ndarray) -> float:
    return float(-np.log(np.maximum(posterior[np.arange(len(truth)), truth], 1e-12)).mean())


def test_the_table_of_1979_gives_the_published_marginals_and_error_rates():
    """Dawid and Skene, Applied Statistics 28 (1979): 45 patients, five anaesthetists, the first of whom saw each three
    times."""
    fitted = dawid_skene(ANAESTHETISTS, one_kind(ANAESTHETISTS), shrunk=False)
    assert fitted.prior.round(2).tolist() == [0.40, 0.42, 0.11, 0.07]
    assert fitted.confusion[0].round(2).tolist() == [
        [0.89, 0.11, 0.00, 0.00],
        [0.07, 0.88, 0.05, 0.00],
        [0.00, 0.34, 0.66, 0.00],
        [0.00, 0.00, 0.56, 0.44],
    ]


def test_the_model_is_that_of_a_plain_loop():
    """The published model, written out vote by vote."""
    votes = ANAESTHETISTS
    classes = votes.classes
    posterior = majority(votes, one_kind(votes)).predict(votes).astype(float)
    for _ in range(60):
        prior = posterior.mean(0)
        counts = np.zeros((votes.raters, classes, classes))
        for item, rater, answer in zip(votes.item, votes.rater, votes.answer):
            counts[rater, :, answer] += posterior[item]
        confusion = counts / counts.sum(2, keepdims=True)
        posterior = np.tile(prior, (votes.items, 1))
        for item, rater, answer in zip(votes.item, votes.rater, votes.answer):
            posterior[item] *= confusion[rater, :, answer]
        posterior /= posterior.sum(1, keepdims=True)
    found = dawid_skene(votes, one_kind(votes), shrunk=False)
    assert np.abs(found.confusion - confusion).max() < 0.005
    assert np.abs(found.predict(votes) - posterior).max() < 0.005


def test_two_hundred_thousand_items_are_as_the_oracle_has_them():
    truth, votes, confusion, shares = generate(200_000, 500, 5, 4, 1)
    known = oracle(votes, confusion, shares)
    posterior = dawid_skene(votes, one_kind(votes)).predict(votes)
    assert right(posterior, truth) >= max(0.961, right(known, truth) - 0.002)
    assert loss(posterior, truth) <= min(0.110, loss(known, truth) + 0.005)
    assert right(majority(votes, one_kind(votes)).predict(votes), truth) < 0.94


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("overlap", "spammers"), [(3, 0.1), (5, 0.3), (20, 0.1)])
def test_few_items_are_no_worse_than_by_the_majority(overlap, spammers, classes):
    apart = []
    for seed in range(6):
        truth, votes, *_ = generate(500, 20, overlap, classes, seed, spammers=spammers)
        base = right(majority(votes, one_kind(votes)).predict(votes), truth)
        error = max(np.sqrt(base * (1 - base) / 500), 1 / 500)
        apart.append((right(dawid_skene(votes, one_kind(votes)).predict(votes), truth) - base) / error)
    assert min(apart) >= -1 and np.mean(apart) >= 0


def test_one_vote_an_item_is_taken_at_its_trust():
    """Nothing tells how good the raters are, so nothing is learnt."""
    truth, votes, *_ = generate(400, 20, 1, 3, 2)
    fitted = dawid_skene(votes, one_kind(votes))
    posterior = fitted.predict(votes)
    assert np.array_equal(posterior.argmax(1), votes.answer)
    assert posterior.max(1).mean() < 0.85


def test_spammers_count_for_nothing_and_have_no_ability():
    truth, votes, *_ = generate(2_000, 20, 6, 3, 3, spammers=0.2)
    fitted = dawid_skene(votes, one_kind(votes))
    assert fitted.ability[:4].max() < 0.15 < 0.3 < fitted.ability[4:].min()
    # What the first answers to nearly everything says next to nothing of the class.
    usual = np.bincount(votes.answer[votes.rater == 0]).argmax()
    assert np.ptp(fitted.weights[0, usual]) < 0.1 < 1 < np.ptp(fitted.weights[10], axis=1).min()


def test_gold_stays_as_it_is_and_turns_raters_who_agree_on_what_is_wrong():
    """Three of four raters swap two classes: without gold they carry the day."""
    chance = np.random.default_rng(0)
    truth = chance.integers(2, size=300)
    answers = np.stack([truth, 1 - truth, 1 - truth, 1 - truth], 1).astype(np.int8)
    votes = Votes(np.repeat(np.arange(300), 4), np.tile(np.arange(4), 300), answers.ravel(), 300, 4, 2)
    gold = np.where(np.arange(300) < 60, truth, aggregation.UNKNOWN)
    without = dawid_skene(votes, one_kind(votes)).predict(votes)
    assert right(without, truth) < 0.5
    fitted = dawid_skene(votes, one_kind(votes), gold)
    posterior = fitted.predict(votes, gold)
    assert (posterior[np.arange(60), truth[:60]] == 1).all()
    assert fitted.confusion[0, 0, 0] > 0.5


def test_kinds_of_raters_are_trusted_as_they_are_said_to_be():
    votes = Votes(np.zeros(3, int), np.arange(3), np.array([0, 1, 1], np.int8), 1, 3, 2)
    for fit in aggregation.AGGREGATIONS.values():
        kinds = Kinds(np.array([0, 1, 1]), [0.99, 0.6])
        assert fit(votes, kinds).predict(votes).argmax() == 0
        assert fit(votes, one_kind(votes)).predict(votes).argmax() == 1


def test_a_tie_goes_to_the_class_that_is_more_common():
    votes = Votes(np.array([0, 0, 1, 2]), np.array([0, 1, 0, 0]), np.array([0, 1, 1, 1], np.int8), 3, 2, 2)
    posterior = majority(votes, one_kind(votes)).predict(votes)
    assert posterior.argmax(1).tolist() == [1, 1, 1] and posterior[0, 1] < 0.6


def test_the_size_of_the_table_is_bounded():
    votes = Votes(np.zeros(1, int), np.zeros(1, int), np.zeros(1, np.int8), 1, 100_000, 100)
    with pytest.raises(HeadwaterError, match="100,000 raters and 100 classes make more than"):
        dawid_skene(votes, one_kind(votes))
