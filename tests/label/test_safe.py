"""Weak supervision without gold does no harm: beside the majority, on sparse, one-sided and dependent votes, at all sizes."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from vote_kinds import draw as draw_votes
from votes import generate, naive_bayes, plain_em, smoothed_majority, sparse

from headwater.components.label.weak import analysis, fitting, following, model, tally, trust
from headwater.components.label.weak.functions import Function

REAL = pathlib.Path(__file__).parents[3] / "shared/data/votes"


def fit(votes, classes, gold=None, **options):
    gold = np.full(len(votes), -1, np.int8) if gold is None else gold.astype(np.int8)
    hashes = np.random.default_rng(99).integers(0, 2**63, len(votes)).astype(np.uint64)
    counted = tally.tally(votes, gold, hashes, classes, 100_000)
    return fitting.fit(counted, **options), counted


def score(posterior, truth):
    return float((posterior.argmax(1) == truth).mean()), model.log_loss(posterior, truth)


def told(votes, classes, gold=None, **options):
    fitted, counted = fit(votes, classes, gold, **options)
    functions = [Function(name=f"f{number}", sql="1") for number in range(votes.shape[1])]
    names = [f"class {number}" for number in range(classes)]
    return analysis.describe(functions, names, counted, fitted, np.zeros(len(functions), np.int64))


def real(name):
    path = REAL / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"the votes of {name} lie beside the project, in {REAL}, and are not here")
    rows = np.genfromtxt(path, delimiter=",", skip_header=1, filling_values=-1)
    truth, votes = rows[:, 1].astype(int), rows[:, 2:].astype(np.int8)
    covered = (votes >= 0).any(1)
    return truth[covered], votes[covered], int(max(truth.max(), votes.max())) + 1


@pytest.mark.sweep(6)
@pytest.mark.parametrize("rows", [300, 1_000, 3_000])
@pytest.mark.parametrize("sides", ["one", "mixed"])
@pytest.mark.parametrize("seed", range(4))
def test_sparse_dependent_votes_of_any_number_are_labelled_no_worse_than_by_the_majority(rows, sides, seed):
    truth, votes, classes = sparse(seed, rows, sides)
    fitted, _ = fit(votes, classes)
    posterior, plain = fitted.predict(votes), smoothed_majority(votes, classes)
    # Of few rows a handful are decided otherwise by chance.
    apart = (posterior.argmax(1) == truth).astype(int) - (plain.argmax(1) == truth)
    assert apart.mean() >= -0.005 - np.sqrt((apart != 0).sum()) / len(apart)
    assert model.log_loss(posterior, truth) <= model.log_loss(plain, truth) + 0.0005


@pytest.mark.sweep(4)
@pytest.mark.parametrize("seed", range(10_000, 10_020))
def test_votes_of_many_kinds_are_labelled_as_rightly_as_by_the_majority(seed):
    """Of seeds that the pool's weights were not fitted to."""
    _, truth, votes, classes = draw_votes(seed)
    fitted, _ = fit(votes, classes)
    own, plain = score(fitted.predict(votes), truth), score(smoothed_majority(votes, classes), truth)
    assert own[0] >= plain[0] - 0.005 and own[1] <= 1.1 * plain[1]
    if fitted.trust.share < 0.5:
        assert own[0] == plain[0]


def test_what_votes_show_weighs_the_models(monkeypatch):
    _, votes, classes = sparse(3, 3_000, "mixed")
    before, _ = fit(votes, classes)
    assert 0 < before.trust.share < 1 and before.leaning == before.trust.weights[0] > 0
    weights = {"majority": 0.25, "firm": 0.0, "em": 0.75}
    monkeypatch.setattr(following, "strengths", lambda found: weights)
    alone, _ = fit(votes, classes)
    assert alone.trust.share == 0.75 and alone.temperature == pytest.approx(1 / 0.75) and not alone.keeps
    weights.update(firm=0.75, em=0.0)
    firm, _ = fit(votes, classes)
    assert np.abs(firm.predict(votes) - alone.predict(votes)).max() > 0.05
    weights.update(majority=0.9, firm=0.1)
    kept, _ = fit(votes, classes)
    assert kept.keeps and (kept.predict(votes).argmax(1) == smoothed_majority(votes, classes).argmax(1)).all()


@pytest.mark.parametrize("name", ["hausa", "face"])
def test_real_votes_are_labelled_no_worse_than_by_the_majority(name):
    truth, votes, classes = real(name)
    own = score(fit(votes, classes)[0].predict(votes), truth)
    plain, other = (score(each(votes, classes), truth) for each in (smoothed_majority, plain_em))
    assert own[0] >= plain[0] - 0.005 and own[1] <= plain[1] + 1e-5
    # What the label model alone does to them.
    assert score(fit(votes, classes, kind="em")[0].predict(votes), truth)[1] > 1.5 * plain[1] and other[1] > plain[1]


def test_a_few_classes_without_three_functions_fall_back_to_the_majority_and_say_so():
    truth, votes, _ = generate("C", 3_000, 0)
    few = votes[:, [0, 1, 2, 3, 4, 5]]
    fitted, _ = fit(few, 3)
    assert fitted.kind == "majority" and fitted.trust.unidentified == (0, 1, 2)
    assert fitted.predict(few) == pytest.approx(smoothed_majority(few, 3), abs=1e-5)
    (said,) = [each for each in told(few, 3)["warnings"] if "majority vote's" in each]
    assert "'class 0', 'class 1', 'class 2'" in said
    # Nine functions are three for each class.
    assert fit(votes[:, :9], 3)[0].trust.unidentified == ()


def test_halves_that_contradict_each_other_fall_back_to_the_majority_and_say_so():
    """Two crowds of functions, each with a mind of its own."""
    chance = np.random.default_rng(3)
    minds = chance.integers(0, 2, (2_000, 6))
    votes = np.stack([np.where(chance.random(2_000) < 0.9, minds[:, n], 1 - minds[:, n]) for n in range(6)], 1)
    fitted, _ = fit(votes.astype(np.int8), 2)
    assert fitted.kind == "majority" and fitted.trust.consistency < 0.5
    assert any("consistency" in each for each in told(votes.astype(np.int8), 2)["warnings"])


def test_a_function_below_chance_is_named():
    chance = np.random.default_rng(1)
    truth = chance.integers(0, 2, 4_000)
    right = chance.random((4_000, 7)) < np.array([0.8, 0.75, 0.7, 0.8, 0.75, 0.7, 0.15])
    votes = np.where(right, truth[:, None], 1 - truth[:, None]).astype(np.int8)
    found = told(votes, 2)
    (said,) = [each for each in found["warnings"] if "below chance" in each]
    assert "'f6'" in said and found["functions"][6]["accuracy"][0] == pytest.approx(0.15, abs=0.03)
    golden = np.where(np.arange(4_000) < 200, truth, -1)
    assert any("'f6'" in each and "with gold" in each for each in told(votes, 2, golden)["warnings"])
    assert not any("below chance" in each for each in told(votes[:, :6], 2)["warnings"])


def test_how_much_of_an_estimate_is_prior_falls_with_votes():
    _, votes, _ = generate("A", 4_000, 0)
    many = told(votes, 3)["functions"][0]["prior"]
    few = told(votes[:400], 3)
    assert many < 0.01 and few["model"]["followed"] < 1
    assert few["functions"][0]["prior"] > 1 - few["model"]["followed"]


def test_votes_that_hang_together_are_tempered():
    """One answer seen by nine raters who mostly agree, rightly or not."""
    chance = np.random.default_rng(2)
    truth = chance.integers(0, 3, 2_000)
    easy = chance.random(2_000)
    accuracy = np.where(easy < 0.3, 0.36, 0.85)[:, None]
    other = (truth[:, None] + chance.integers(1, 3, (2_000, 9))) % 3
    votes = np.where(chance.random((2_000, 9)) < accuracy, truth[:, None], other).astype(np.int8)
    fitted, _ = fit(votes, 3)
    assert fitted.trust.temperature > 1 and 0 < fitted.leaning < 1
    alone = fit(votes, 3, kind="em")[0]
    assert score(fitted.predict(votes), truth)[1] < score(alone.predict(votes), truth)[1]


@pytest.mark.parametrize("golden", [100, 500])
def test_gold_weighs_models_so_that_none_of_them_is_better(golden):
    losses = {"ours": [], "naive Bayes": [], "EM": [], "Dawid-Skene": [], "majority": []}
    truth, votes, classes = sparse(1, 3_000, "mixed")
    for draw in range(3):
        gold = np.full(len(truth), -1, np.int8)
        places = np.random.default_rng(draw).permutation(len(truth))[:golden]
        gold[places] = truth[places]
        fitted, _ = fit(votes, classes, gold)
        for name, posterior in (
            ("ours", fitted.predict(votes)),
            ("naive Bayes", naive_bayes(votes, classes, gold)),
            ("EM", plain_em(votes, classes, gold)),
            ("Dawid-Skene", plain_em(votes, classes, gold, abstaining=False)),
            ("majority", smoothed_majority(votes, classes)),
        ):
            losses[name].append(model.log_loss(posterior[gold < 0], truth[gold < 0]))
    best = min((name for name in losses if name != "ours"), key=lambda name: np.mean(losses[name]))
    apart = np.array(losses["ours"]) - losses[best]
    assert apart.mean() <= apart.std(ddof=1) / np.sqrt(len(apart))
    assert dict(fitted.weights) and fitted.temperature > 0


def test_a_known_balance_is_the_fallback_s_prior():
    _, votes, _ = generate("C", 2_000, 0)
    few, balance = votes[:, [0, 1, 2]], np.array([0.2, 0.3, 0.5])
    empty = np.full((1, 3), -1, np.int8)
    assert fit(few, 3, balance=balance)[0].predict(empty)[0] == pytest.approx(balance, abs=1e-5)
    assert fit(few, 3)[0].predict(empty)[0] == pytest.approx([1 / 3] * 3, abs=1e-5)


def test_trust_does_not_depend_on_how_rows_are_held():
    """Patterns with counts, and each row by itself."""
    votes = np.repeat(sparse(2, 400, "all")[1], 3, axis=0)
    quiet = fitting.silent(votes, 2)
    patterns, counts = np.unique(votes, axis=0, return_counts=True)
    groups = model.separate(votes.shape[1])
    classes = int(votes.max()) + 1
    for rows, weights in ((votes, np.ones(len(votes))), (patterns, counts.astype(float))):
        assert len(trust._drawn(rows, weights)) == len(votes)
    assert trust._unidentified(votes, np.ones(len(votes)), classes, groups) == trust._unidentified(
        patterns, counts.astype(float), classes, groups
    )
    assert quiet.all()
