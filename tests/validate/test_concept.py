"""Concept drift: counts against pandas, tests against scipy, changes that were planted, and what is no change."""

from __future__ import annotations

import decimal
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import scipy.stats

from headwater.components.collect import collect_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import check_expression, evaluate_each
from headwater.components.common.significance import benjamini_hochberg
from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics.compute import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics
from headwater.components.validate.actions import action
from headwater.components.validate.concept import (
    advise,
    counting,
    inference,
    measure_concept,
)
from headwater.components.validate.concept import bins as binning
from headwater.components.validate.concept.bins import Column
from headwater.components.validate.concept.counting import Plan
from headwater.components.validate.concept.deciding import decide
from headwater.components.validate.concept.features import Feature
from headwater.components.validate.concept.settings import Concept

COUNTRIES, SHARES = ["US", "DE", "FR", "IN", "BR", "JP"], [0.3, 0.25, 0.2, 0.1, 0.1, 0.05]


# Data with a known truth. The bench calls `told`.


def people(rng, rows, *, shift=0.0, along=0.0, mix=SHARES, flip=None, score=False):
    """Rows whose label depends on numbers that go along with each other, and on a country.

    Args:
      rng: of numpy.
      rows: how many.
      shift: what is added to the first number, and to nothing else.
      along: what is added to what all numbers share.
      mix: shares of the countries.
      flip: from columns to the rows whose label is the other one.
      score: whether there is a column with the true probability.
    """
    common = rng.normal(along, 1, (rows, 1))
    x = 0.6 * common + 0.8 * rng.normal(size=(rows, 6))
    x[:, 0] += shift
    country = rng.choice(COUNTRIES, rows, p=mix)
    device = rng.choice(["phone", "desk", "tv"], rows, p=[0.6, 0.3, 0.1])
    hour = rng.integers(0, 12, rows)
    z = -1 + x[:, 0] - 0.8 * x[:, 1] + 0.5 * x[:, 2] * (country == "US") + 0.8 * (country == "IN") + 0.4 * np.sin(hour)
    chance = 1 / (1 + np.exp(-z))
    label = rng.random(rows) < chance
    if flip is not None:
        label = label ^ flip({"country": country, "device": device, "x": x})
    columns = {f"x{place}": x[:, place] for place in range(6)}
    columns |= {"noise": rng.gamma(2, size=rows), "country": country, "device": device, "hour": hour}
    return pa.table({**columns, "label": label, **({"score": chance} if score else {})})


CASES = {
    "nothing changed": ({}, "unchanged"),
    "concept flipped in one country": ({"flip": lambda c: c["country"] == "JP"}, "concept"),
    "concept flipped in one pair of values": (
        {"flip": lambda c: (c["country"] == "US") & (c["device"] == "tv")},
        "concept",
    ),
    "concept flipped above a number": ({"flip": lambda c: c["x"][:, 5] > 1.6}, "concept"),
    "one input shifted by 0.3 sd": ({"shift": 0.3}, "covariate"),
    "one input shifted by 1 sd": ({"shift": 1.0}, "covariate"),
    "all inputs shifted": ({"along": 0.5}, "covariate"),
    "countries shifted": ({"mix": [0.15, 0.25, 0.2, 0.2, 0.1, 0.1]}, "covariate"),
    "one input shifted and concept flipped in one country": (
        {"shift": 0.3, "flip": lambda c: c["country"] == "JP"},
        "concept and covariate",
    ),
}
"""What is done to the current data, and what must be told of it."""


def told(case, seeds=100, rows=100_000, score=False):
    """The verdicts on a case's pairs of samples, one a seed; the share that is right is what the bench reports."""
    changed, _ = CASES[case]
    verdicts = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, len(case)])
        then, now = people(rng, rows, score=score), people(rng, rows, score=score, **changed)
        verdicts.append(compare(then, now, "score" if score else "")["verdict"])
    return verdicts


def compare(then, now, score="", **settings):
    """What is told of two tables, without files and Beam."""
    features = {feature.path.step[0]: feature for feature in statistics(then).features}
    columns = {name: binning.column(features[name], then.schema.field(name).type) for name in then.column_names}
    label = binning.classes(features["label"], then.schema.field("label").type, 5)
    found = [Feature((column,)) for name, column in columns.items() if column and name not in ("label", score)]
    options = Concept(label="label", score=score, **settings)
    return decide(counter(then, now), label, found, Feature((columns[score],)) if score else None, options)


def counter(then, now):
    def count(plan):
        states = [
            counting.count(plan, period, table.select(plan.names).to_batches())
            for period, table in enumerate((then, now))
        ]
        return counting.decode(plan, counting.merge(plan, states))

    return count


def statistics(table):
    """Statistics as generate-statistics makes them."""
    from headwater.components.generate_statistics.measure.measuring import measure
    from headwater.components.generate_statistics.plan.plan import Plan as Measured
    from headwater.components.generate_statistics.report.protos import to_statistics

    (batch,) = table.combine_chunks().to_batches()
    return to_statistics(measure(batch, Measured(schema=table.schema)), "all").datasets[0]


def kinds(result):
    return {finding["kind"] for finding in result["findings"]}


def verdicts(result):
    return {each["feature"]: each["verdict"] for each in result["features"]}


# The statistics core.


def tables(rng, bins, held, classes, rows):
    shares = rng.dirichlet(np.ones(classes), (bins, held))
    weights = rng.dirichlet(np.ones(bins * held), 2)
    sizes = np.stack([rng.multinomial(rows, each) for each in weights], axis=-1).reshape(bins, held, 2)
    counts = np.zeros((bins, held, classes, 2), np.int64)
    for place in np.ndindex(sizes.shape):
        counts[place[0], place[1], :, place[2]] = rng.multinomial(sizes[place], shares[place[:2]])
    return counts


@pytest.mark.parametrize("seed", range(5))
def test_g2_is_the_sum_of_scipys_over_bins(seed):
    rng = np.random.default_rng(seed)
    counts = tables(rng, 8, 3, 2 + seed, 400_000) + 400
    result = inference.concept(counts)
    for place in range(8):
        own = [
            scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood") for table in counts[place]
        ]
        assert result.g2[1 + place] == pytest.approx(sum(each[0] for each in own))
        assert result.freedom[1 + place] == sum(each[2] for each in own)
        # Williams' correction is small where counts are large.
        p_value = scipy.stats.chi2.sf(sum(each[0] for each in own), sum(each[2] for each in own))
        assert result.p_value[1 + place] == pytest.approx(p_value, abs=0.01)
    assert result.g2[0] == pytest.approx(result.g2[1:].sum()) and result.compared[0] == pytest.approx(1)
    assert result.effect[0] == pytest.approx(result.effect[1:].sum())


def test_g2_of_bins_is_scipys():
    counts = np.random.default_rng(3).integers(20, 900, (12, 2))
    g2, freedom, p_value, _ = inference.covariate(counts)
    expected = scipy.stats.chi2_contingency(counts, correction=False, lambda_="log-likelihood")
    assert (g2, freedom) == (pytest.approx(expected[0]), expected[2])
    assert p_value == pytest.approx(expected[1], rel=0.2, abs=1e-12)


def test_small_classes_are_put_together_and_small_bins_left_out():
    counts = np.zeros((3, 1, 4, 2), np.int64)
    counts[0, 0] = [[500, 480], [300, 310], [2, 3], [1, 4]]
    counts[1, 0] = [[500, 4], [300, 3], [0, 0], [0, 0]]
    counts[2, 0] = [[0, 0], [400, 380], [0, 0], [0, 0]]
    result = inference.concept(counts)
    joined = scipy.stats.chi2_contingency([[500, 480], [303, 317]], correction=False, lambda_="log-likelihood")
    assert result.g2[1:] == pytest.approx([joined[0], 0, 0]) and result.freedom.tolist() == [1, 1, 0, 0]
    assert result.p_value[2] == 1 and result.p_value[3] == 1
    # The second bin has too few current rows; the third has one class in both periods, and so no change.
    assert result.compared[0] == pytest.approx(1 - 7 / counts[..., 1].sum())


def test_nothing_to_test_is_no_change():
    for shape in ((4, 1, 2, 2), (1, 1, 1, 2)):
        result = inference.concept(np.zeros(shape, np.int64))
        assert result.p_value[0] == 1 and result.effect[0] == 0 and result.compared[0] == 0
    assert inference.covariate(np.zeros((5, 2), np.int64)) == (0, 0, 1, 0)
    assert inference.leverage(np.zeros((2, 3, 2, 2), np.int64)) == 0
    assert not len(benjamini_hochberg([]))


@pytest.mark.parametrize("bins, held, rows, rate", [(12, 1, 3000, 0.3), (20, 1, 20_000, 0.04), (12, 40, 12_000, 0.3)])
def test_p_values_are_uniform_when_periods_are_shuffled(bins, held, rows, rate):
    rng = np.random.default_rng(bins * held)
    cell = rng.choice(bins * held, rows, p=rng.dirichlet(np.ones(bins * held)))
    label = rng.random(rows) < rng.beta(5 * rate, 5 * (1 - rate), bins * held)[cell]
    concept, covariate, effects = [], [], []
    for _ in range(600):
        period = rng.permutation(rows) < rows // 2
        index = (cell * 2 + label) * 2 + period
        counts = np.bincount(index, minlength=bins * held * 4).reshape(bins, held, 2, 2)
        result = inference.concept(counts)
        concept.append(result.p_value[0])
        effects.append(result.effect[0])
        covariate.append(inference.covariate(counts.sum(axis=(1, 2)))[2])
    # Binomial bounds of a share of 0.05 that hold in all but 1 of 10,000 runs.
    low, high = scipy.stats.binom.ppf([5e-5, 1 - 5e-5], 600, 0.05) / 600
    for p_values in (concept, covariate):
        assert low <= np.mean(np.array(p_values) <= 0.05) <= high
    # Chance adds nothing to the effect.
    assert abs(np.mean(effects)) < 4 * np.std(effects) / math.sqrt(600) + 0.001


def test_the_effect_is_the_share_of_labels_that_changed():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(200):
        cell = rng.integers(0, 20, (2, 20_000))
        chance = np.array([np.full(20, 0.3), np.where(np.arange(20) == 7, 0.8, 0.3)])
        counts = np.zeros((20, 1, 2, 2), np.int64)
        for period in (0, 1):
            label = (rng.random(20_000) < chance[period][cell[period]]).astype(int)
            np.add.at(counts, (cell[period], 0, label, period), 1)
        found.append(inference.concept(counts).effect[0])
    assert np.mean(found) == pytest.approx(0.5 / 20, abs=0.001)


def test_adjusted_p_values_are_scipys():
    p_values = np.random.default_rng(1).random(50) ** 3
    expected = [min(min(p * 50 / (p_values <= p).sum() for p in p_values[p_values >= own]), 1) for own in p_values]
    assert benjamini_hochberg(p_values) == pytest.approx(expected)


def test_expected_labels_are_the_baselines_under_the_new_inputs():
    then = np.array([[90, 10], [20, 80]])
    counts = np.stack([then, [[10, 10], [60, 20]]], axis=-1)
    assert inference.expected_labels(counts) == pytest.approx([0.2 * 0.9 + 0.8 * 0.2, 0.2 * 0.1 + 0.8 * 0.8])


# Counting.


def hostile():
    texts = ["a", "ä", "", "<b>", 'q"', "a b", None, "z" * 400]
    return pa.table(
        {
            "number": pa.array([1.5, math.nan, None, math.inf, -math.inf, 0.0, 2.0, 1e300] * 50),
            "whole": pa.array([0, 1, 2, 3, None, -(2**62), 2**62, 7] * 50, pa.int64()),
            "text": pa.array(texts * 50),
            "flag": pa.array([True, False, None, True, False, True, True, False] * 50),
            "price": pa.array([decimal.Decimal("1.10"), None] * 200, pa.decimal128(10, 2)),
            "word": pa.array(texts * 50).dictionary_encode(),
            "label": pa.array(["yes", "no", "no", None, "yes", "no", "new", "no"] * 50),
        }
    )


HOSTILE = {
    "number": Column("number", "numbers", edges=(0.0, 1.5)),
    "whole": Column("whole", "numbers", edges=(0.0, 1.0, 2.0), whole=True),
    "text": Column("text", "text", values=(b"a", "ä".encode(), b""), others=2),
    "flag": Column("flag", "numbers", edges=(0.0, 1.0, 2.0), whole=True, boolean=True),
    "price": Column("price", "numbers", edges=(1.0,)),
    "word": Column("word", "text", values=(b"<b>",), others=1),
}
CLASSES = Column("label", "text", values=(b"yes", b"no"), others=1, known=True)


def in_pandas(table, name):
    """The bin of each row, made again in pandas."""
    column = HOSTILE[name]
    if column.kind == "numbers":
        missing = np.array([value is None for value in table[name].to_pylist()])
        values = np.array([np.nan if value is None else float(value) for value in table[name].to_pylist()])
        inner = [-np.inf, *column.edges, np.inf]
        codes = pd.cut(values, inner, right=False, labels=False)
        codes = np.where(values == np.inf, len(column.edges), codes)
        codes = np.where(np.isnan(values), len(column.edges) + 1, codes)
        return np.where(missing, len(column.edges) + 2, codes).astype(int)
    known = {value.decode(): place for place, value in enumerate(column.values)}
    return np.array([-2 if value is None else known.get(value, -1) for value in table[name].to_pylist()])


@pytest.mark.parametrize("rows", [1, 7, 65_536])
@pytest.mark.parametrize("name", HOSTILE)
def test_counts_are_those_of_pandas_however_rows_are_cut(name, rows):
    table = hostile()
    plan = Plan(CLASSES, ((HOSTILE[name],),))
    batches = table.combine_chunks().to_batches(max_chunksize=rows)
    half = len(batches) // 2
    parts = [counting.count(plan, 1, batches[:half]), counting.count(plan, 1, batches[half:])]
    counts = counting.decode(plan, counting.merge(plan, parts))
    assert counts.labelled.tolist() == [0, 350] and counts.unlabelled.tolist() == [0, 50]
    (cells,) = counts.tables
    assert not cells[..., 0].any()
    own, label = in_pandas(table, name), np.array(table["label"].to_pylist(), object)
    column = HOSTILE[name]
    for place, value in enumerate(("yes", "no", "new")):
        rows_of = own[label == value]
        if column.kind == "numbers":
            assert cells[:, place, 1].tolist() == np.bincount(rows_of, minlength=column.size).tolist()
        else:
            named = len(column.values)
            assert cells[:named, place, 1].tolist() == [(rows_of == code).sum() for code in range(named)]
            assert cells[named:-1, place, 1].sum() == (rows_of == -1).sum()
            assert cells[-1, place, 1] == (rows_of == -2).sum()


def test_rows_of_some_bins_can_be_left_out():
    table = hostile()
    flag, text = HOSTILE["flag"], HOSTILE["text"]
    plan = Plan(CLASSES, ((flag, text),), without=(((flag,), (2, flag.size - 1)),))
    counts = counting.decode(plan, counting.count(plan, 0, table.to_batches()))
    kept = table.to_pandas()
    kept = kept[kept["flag"].eq(False) & kept["label"].notna()]
    assert counts.labelled.tolist() == [len(kept), 0] and counts.tables[0].sum() == len(kept)
    assert counts.tables[0].shape == (flag.size, text.size, 3, 2)


def test_bins_are_said_in_words():
    assert [HOSTILE["whole"].word(code) for code in range(6)] == ["< 0", "= 0", "= 1", "≥ 2", "= (NaN)", "= (missing)"]
    assert [HOSTILE["flag"].word(code) for code in (1, 2)] == ["= false", "= true"]
    assert [HOSTILE["text"].word(code) for code in (0, 2, 3, 5)] == ["= a", '= ""', "= (other 1)", "= (missing)"]
    assert HOSTILE["word"].word(0) == '= "<b>"' and CLASSES.word(2) == "= (unseen)"
    assert HOSTILE["number"].word(1) == "from 0 to below 1.5"
    pair = Feature((HOSTILE["flag"], HOSTILE["text"]))
    assert pair.word(2 * HOSTILE["text"].size) == "flag = true and text = a"


@pytest.mark.parametrize("name", HOSTILE)
def test_the_rows_of_a_bin_as_sql_are_those_of_the_bin(name):
    table, column = hostile(), HOSTILE[name]
    codes = np.concatenate([column.codes(chunk) for chunk in table[name].chunks])
    seen = 0
    for code in range(column.size):
        sql = column.sql(code)
        if sql:
            found = evaluate(table, sql)
            assert found == (codes == code).tolist(), (code, sql)
            seen += 1
    assert seen == {"whole": 5, "flag": 5, "text": 4}.get(name, column.size)


def evaluate(table, sql):
    """Where an expression is true, as `headwater ask --where` computes it."""
    [batch] = table.combine_chunks().to_batches()
    check_expression("where", sql, batch.schema.names)
    [(values, _)] = evaluate_each([("where", sql, "{0}")], batch)
    return pc.fill_null(values, False).to_pylist()


def test_bins_lie_on_the_baselines_tenths():
    rng = np.random.default_rng(0)
    values = rng.normal(size=50_000)
    heavy = np.where(rng.random(50_000) < 0.4, 0.0, values)
    table = pa.table({"x": values, "heavy": heavy, "few": rng.integers(3, 9, 50_000), "one": np.ones(50_000)})
    found = {
        feature.path.step[0]: binning.column(feature, table.schema.field(feature.path.step[0]).type)
        for feature in statistics(table).features
    }
    tenths = [edge for edge in found["x"].edges if -1.3 < edge < 1.3]
    assert np.mean(values[:, None] < np.array(tenths), axis=0) == pytest.approx(np.arange(1, 10) / 10, abs=0.01)
    # Beyond them are bins too, and a number that many rows have is one.
    assert found["x"].edges[0] < -2 and found["x"].edges[-1] > 2
    codes = found["heavy"].codes(table["heavy"].combine_chunks())
    assert len(set(codes[heavy == 0])) == 1 and not set(codes[heavy == 0]) & set(codes[heavy != 0])
    assert found["heavy"].word(int(codes[heavy == 0][0])) == "= 0"
    assert found["few"].edges == (3, 4, 5, 6, 7, 8, 9) and found["one"].word(1) == "= 1"


def test_bins_are_the_same_from_tfdvs_own_statistics():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"x": rng.normal(size=5000), "k": rng.choice(["a", "b", "c"], 5000), "n": rng.integers(0, 5, 5000)}
    )
    theirs = tfdv.generate_statistics_from_dataframe(frame).datasets[0].features
    table = pa.Table.from_pandas(frame)
    for feature in theirs:
        name = feature.path.step[0]
        ours = next(each for each in statistics(table).features if each.path.step[0] == name)
        one, other = (binning.column(each, table.schema.field(name).type) for each in (feature, ours))
        assert one.values == other.values and one.edges == pytest.approx(other.edges, abs=0.03)


# What is told.


@pytest.mark.sweep(4)
@pytest.mark.parametrize("case", CASES)
def test_concept_and_covariate_are_told_apart(case):
    assert told(case, seeds=2) == [CASES[case][1]] * 2


@pytest.mark.sweep(2)
@pytest.mark.parametrize("case", ["concept flipped in one country", "one input shifted by 1 sd", "all inputs shifted"])
def test_with_a_score_as_well(case):
    assert told(case, seeds=2, score=True) == [CASES[case][1]] * 2


def test_the_slice_that_changed_is_named_with_its_shares():
    rng = np.random.default_rng(1)
    then, now = people(rng, 100_000), people(rng, 100_000, flip=lambda c: c["country"] == "JP")
    result = compare(then, now)
    assert verdicts(result)["country"] == "concept" and verdicts(result)["device"] == "echo"
    first = result["slices"][0]
    frames = [table.to_pandas().query("country == 'JP'") for table in (then, now)]
    assert first["where"] == "CAST(\"country\" AS VARCHAR) = 'JP'"
    assert result["findings"][0]["where"].startswith(f"({first['where']})")
    # Slices within it, by other columns as well, say no more.
    assert result["findings"][0]["where"].count("'JP'") == 1
    advice = action({**result["findings"][0], "check": "concept"}, "")
    assert advice.endswith("headwater ask … --where 'CAST(\"country\" AS VARCHAR) = '\"'\"'JP'\"'\"''")
    assert first["slice"] == "country = JP" and first["rows"] == [len(frame) for frame in frames]
    shares = {each["class"]: (each["baseline"], each["current"]) for each in first["labels"]}
    assert shares["true"] == pytest.approx([frame["label"].mean() for frame in frames])
    (finding,) = [each for each in result["findings"] if each["kind"] == "CONCEPT_DRIFT"]
    assert finding["feature"] == "country" and "country = JP" in finding["message"]
    assert finding["severity"] == "warning" and "x0" in finding["echoes"]
    # A twentieth of the rows, of which about two fifths changed on balance.
    assert result["effect"] == pytest.approx(0.05 * abs(np.subtract(*shares["true"])), abs=0.006)
    json.dumps(result, allow_nan=False)


def test_a_pair_of_values_is_named():
    rng = np.random.default_rng(2)
    flip = CASES["concept flipped in one pair of values"][0]
    result = compare(people(rng, 100_000), people(rng, 100_000, **flip))
    assert "country = US and device = tv" in [each["slice"] for each in result["slices"]]
    # Of those that are told, one in twenty may be by chance; the first are not.
    assert all("device = tv" in each["slice"] for each in result["slices"] if each["p_value"] < 1e-3)


def test_two_sources_are_both_told():
    rng = np.random.default_rng(3)
    flip = lambda c: (c["country"] == "JP") ^ (c["x"][:, 5] > 1.6)
    result = compare(people(rng, 100_000), people(rng, 100_000, flip=flip))
    assert {each["feature"] for each in result["findings"] if each["kind"] == "CONCEPT_DRIFT"} == {"country", "x5"}


def test_the_inputs_change_explains_the_labels():
    rng = np.random.default_rng(4)
    result = compare(people(rng, 100_000), people(rng, 100_000, shift=0.5))
    assert {"COVARIATE_DRIFT", "LABEL_DRIFT"} == kinds(result) and result["label"]["explained"] > 0.85
    assert verdicts(result)["country"] == "explained"
    flipped = compare(people(rng, 100_000), people(rng, 100_000, flip=lambda c: c["country"] == "JP"))
    assert flipped["label"]["drifted"] and flipped["label"]["explained"] < 0.1


def independent(rng, rows, shift, along=0.0, score=False):
    x = along**0.5 * rng.normal(size=(rows, 1)) + (1 - along) ** 0.5 * rng.normal(size=(rows, 4)) + shift
    chance = 1 / (1 + np.exp(1 - x @ np.array([1.5, 1.2, 0.9, 0.6])))
    table = pa.table({f"x{place}": x[:, place] for place in range(4)})
    table = table.append_column("group", pa.array(rng.choice(list("abc"), rows)))
    table = table.append_column("label", pa.array((rng.random(rows) < chance).astype(np.int64)))
    return table.append_column("score", pa.array(chance)) if score else table


def test_more_changed_inputs_than_can_be_held_fixed_are_not_called_concept():
    rng = np.random.default_rng(5)
    result = compare(independent(rng, 60_000, 0), independent(rng, 60_000, 0.7))
    assert result["verdict"] == "unsettled"
    assert kinds(result) == {"COMPARISON_IMPOSSIBLE", "COVARIATE_DRIFT", "LABEL_DRIFT"}
    message = next(each["message"] for each in result["findings"] if each["kind"] == "COMPARISON_IMPOSSIBLE")
    assert "score" in message
    # The score holds all of them.
    scored = compare(independent(rng, 60_000, 0, score=True), independent(rng, 60_000, 0.7, score=True), "score")
    assert scored["verdict"] == "covariate"


def test_inputs_that_change_together_alone_are_not_called_concept():
    rng = np.random.default_rng(6)
    result = compare(independent(rng, 60_000, 0, 0.1), independent(rng, 60_000, 0, 0.6))
    assert result["verdict"] in ("covariate", "unsettled") and "CONCEPT_DRIFT" not in kinds(result)


def test_many_unchanged_columns_raise_no_alarm():
    rng = np.random.default_rng(7)
    parts = [rng.normal(size=(20_000, 150)) for _ in range(2)]
    frames = [
        pa.table({**{f"x{place}": part[:, place] for place in range(150)}, "label": rng.random(20_000) < 0.3})
        for part in parts
    ]
    assert compare(*frames)["findings"] == []


def test_thousands_of_categories_against_themselves_raise_no_alarm():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        frames = [
            pa.table({"id": [f"i{v}" for v in rng.integers(0, 5000, 40_000)], "label": rng.random(40_000) < 0.3})
            for _ in range(2)
        ]
        assert compare(*frames)["findings"] == []


def test_many_classes_and_a_new_one():
    rng = np.random.default_rng(8)
    names = np.array([f"c{place}" for place in range(30)])

    def rows(new):
        k = rng.choice(["a", "b", "c", "d"], 60_000)
        label = names[rng.integers(0, 30, 60_000)]
        return pa.table({"k": k, "label": np.where((k == "c") & (rng.random(60_000) < new), "fresh", label)})

    result = compare(rows(0), rows(0.3))
    assert result["verdict"] == "concept" and result["slices"][0]["slice"] == "k = c"
    unseen = [each for each in result["label"]["classes"] if each["class"] == "(unseen)"]
    assert unseen[0]["baseline"] == 0 and unseen[0]["current"] == pytest.approx(0.075, abs=0.01)


def test_a_label_that_is_a_number_is_cut_at_its_quantiles():
    rng = np.random.default_rng(9)

    def rows(extra):
        k = rng.choice(["a", "b"], 40_000, p=[0.8, 0.2])
        return pa.table({"k": k, "label": rng.gamma(2, size=40_000) + extra * (k == "b")})

    assert compare(rows(0), rows(0))["verdict"] == "unchanged"
    result = compare(rows(0), rows(0.5))
    assert result["verdict"] == "concept" and len(result["label"]["classes"]) == 5
    assert [each["slice"] for each in result["slices"]] == ["k = b"]


def test_unchanged_data_seldom_raise_an_alarm():
    found = [compare(people(rng, 4000), people(rng, 4000)) for rng in map(np.random.default_rng, range(60))]
    # Binomial bound of a share of 0.05 that holds in all but 1 of 10,000 runs.
    assert sum("CONCEPT_DRIFT" in kinds(each) for each in found) <= scipy.stats.binom.ppf(1 - 1e-4, 60, 0.05)
    assert sum("COVARIATE_DRIFT" in kinds(each) for each in found) <= scipy.stats.binom.ppf(1 - 1e-4, 60, 0.05)


@pytest.mark.parametrize("rows", [5, 30, 200])
def test_few_rows_raise_no_alarm(rows):
    found = [compare(people(rng, 2000), people(rng, rows)) for rng in map(np.random.default_rng, range(10))]
    assert sum("CONCEPT_DRIFT" in kinds(each) for each in found) <= 1
    for each in found:
        json.dumps(each, allow_nan=False)
    if rows == 5:
        assert all(kinds(each) == {"COMPARISON_IMPOSSIBLE"} for each in found)


# Datasets.


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    """Two periods as Parquet with splits, the second flipped in one country, and the first one's statistics."""
    folder = tmp_path_factory.mktemp("concept")
    rng = np.random.default_rng(11)
    for name, flip in (("then", None), ("now", lambda c: c["country"] == "JP")):
        for split, rows in (("train", 40_000), ("eval", 15_000)):
            path = folder / name / f"split={split}"
            path.mkdir(parents=True)
            table = people(rng, rows, flip=flip)
            label = pa.array(table["label"].to_pylist(), mask=rng.random(rows) < 0.1)
            table = table.set_column(table.schema.get_field_index("label"), "label", label)
            pq.write_table(table.slice(0, rows // 2), path / "a.parquet", row_group_size=7000)
            pq.write_table(table.slice(rows // 2), path / "b.parquet")
    compute_statistics(str(folder / "then"), str(folder / "statistics"))
    return folder


def measure(spans, current="now", baseline="then", workers=1, **config):
    config = {"label": "label", "statistics": str(spans / "statistics"), **config}
    return measure_concept(str(spans / current), str(spans / baseline), config=config, workers=workers)


def test_two_datasets_give_what_their_rows_give(spans):
    result = measure(spans)
    json.dumps(result, allow_nan=False)
    assert list(result["splits"]) == ["train", "eval"]
    found = [(each["split"], each["feature"]) for each in result["findings"] if each["kind"] == "CONCEPT_DRIFT"]
    assert found == [("train", "country"), ("eval", "country")]
    frames = [
        pd.concat(map(pd.read_parquet, sorted((spans / name / "split=train").iterdir()))) for name in ("then", "now")
    ]
    told = result["splits"]["train"]
    assert told["rows"] == [int(frame["label"].notna().sum()) for frame in frames]
    assert told["unlabelled"] == [int(frame["label"].isna().sum()) for frame in frames]
    device = next(each for each in told["features"] if each["feature"] == "device")["concept"]
    expected = [0.0, 0]
    for value in ("phone", "desk", "tv"):
        cells = [frame[frame["device"] == value]["label"].dropna().astype(bool).value_counts() for frame in frames]
        table = np.array([[cell[truth] for cell in cells] for truth in (False, True)])
        own = scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        expected = [expected[0] + own[0], expected[1] + own[2]]
    assert [device["g2"], device["degrees_of_freedom"]] == [pytest.approx(expected[0]), expected[1]]


@pytest.mark.slow
def test_workers_do_not_change_the_result(spans):
    assert measure(spans, workers=2) == measure(spans, workers=1)


def test_a_dataset_against_itself_is_unchanged(spans):
    result = measure(spans, current="then", slices=[["country", "device"]])
    assert result["findings"] == [] and {told["verdict"] for told in result["splits"].values()} == {"unchanged"}
    assert "country and device" in verdicts(result["splits"]["train"])


def test_named_columns_alone_are_looked_at(spans):
    told = measure(spans, columns=["device", "hour"])["splits"]["train"]
    assert list(verdicts(told)) == ["device", "hour"] and told["verdict"] == "concept"


def collected(folder, span, table, **settings):
    pq.write_table(table, folder / f"{span}.parquet")
    return collect_dataset(
        str(folder / f"{span}.parquet"), str(folder / f"d{span}"), data_root=str(folder / "root"), span=span, **settings
    )


def test_statistics_are_found_under_data_root(tmp_path):
    rng = np.random.default_rng(12)
    for span in (1, 2):
        dataset = collected(tmp_path, span, people(rng, 5000), name="people", workers=1)
        compute_statistics(dataset.folder, str(tmp_path / f"s{span}"), workers=1)
    result = measure_concept(str(tmp_path / "d2"), str(tmp_path / "d1"), config={"label": "label"}, workers=1)
    assert {told["verdict"] for told in result["splits"].values()} == {"unchanged"}
    assert "span=1" in result["baseline"]["uri"]
    assert not any("_row_id" in verdicts(told) for told in result["splits"].values())


# Bad input.


def write(folder, name, table):
    pq.write_table(table, folder / f"{name}.parquet")
    return str(folder / f"{name}.parquet")


def run(folder, then, now, private=(), **config):
    then, now = write(folder, "then", then), write(folder, "now", now)
    compute_statistics(then, str(folder / "statistics"), config={"private": list(private)}, workers=1)
    config = {"label": "label", "statistics": str(folder / "statistics"), **config}
    return measure_concept(now, then, config=config, workers=1)


def small(**changed):
    rng = np.random.default_rng(13)
    columns = {"k": rng.choice(["a", "b"], 400), "x": rng.normal(size=400), "label": rng.random(400) < 0.4, **changed}
    return pa.table({name: values for name, values in columns.items() if values is not None})


def impossible(result):
    return {each["feature"]: each["message"] for each in result["findings"] if each["kind"] == "COMPARISON_IMPOSSIBLE"}


def test_a_label_that_one_side_lacks_is_a_finding(tmp_path):
    assert "current data has no column 'label'" in impossible(run(tmp_path, small(), small(label=None)))["label"]
    assert "baseline has no column 'label'" in impossible(run(tmp_path, small(label=None), small()))["label"]


def test_a_label_of_one_class_is_a_finding(tmp_path):
    one = np.ones(400, bool)
    assert "the same label: label = true" in impossible(run(tmp_path, small(label=one), small(label=one)))["label"]
    # A class that is new is a change and no obstacle.
    assert "LABEL_DRIFT" in kinds(run(tmp_path, small(label=one), small()))


def test_a_label_without_values_is_a_finding(tmp_path):
    missing = pa.nulls(400, pa.bool_())
    assert (
        "baseline has a value in the label column" in impossible(run(tmp_path, small(label=missing), small()))["label"]
    )
    assert "0 of 400 rows of the current data" in impossible(run(tmp_path, small(), small(label=missing)))["label"]


def test_different_types_are_findings(tmp_path):
    result = run(tmp_path, small(), small(x=np.full(400, "1.5")))
    assert "numbers in the baseline and text in the current" in impossible(result)["x"]
    assert list(verdicts(result["splits"]["all"])) == ["k"]
    text = run(tmp_path, small(), small(label=np.full(400, "yes")))
    assert "numbers in the baseline and text" in impossible(text)["label"] and text["splits"]["all"] is None


def test_an_empty_split_is_a_finding_on_either_side(tmp_path):
    for span, rows in ((1, 400), (2, 1)):
        dataset = collected(tmp_path, span, small().slice(0, rows), name="few", workers=1)
        compute_statistics(dataset.folder, str(tmp_path / f"s{span}"), workers=1)
    for current, baseline, empty in ((2, 1, "current data"), (1, 2, "baseline")):
        folders = str(tmp_path / f"d{current}"), str(tmp_path / f"d{baseline}")
        result = measure_concept(*folders, config={"label": "label"}, workers=1)
        said = {each["split"]: each["message"] for each in result["findings"]}
        # The one row is in one split, and in the other there is none.
        assert f"the {empty} has no rows" in " ".join(said.values()) and set(said) == {"train", "eval"}
        assert kinds(result) == {"COMPARISON_IMPOSSIBLE"}


def test_a_split_that_the_baseline_lacks_is_a_finding(tmp_path):
    for name, splits in (("then", ["train"]), ("now", ["train", "test"])):
        for split in splits:
            (tmp_path / name / f"split={split}").mkdir(parents=True)
            pq.write_table(small(), tmp_path / name / f"split={split}" / "a.parquet")
    compute_statistics(str(tmp_path / "then"), str(tmp_path / "statistics"), workers=1)
    config = {"label": "label", "statistics": str(tmp_path / "statistics")}
    result = measure_concept(str(tmp_path / "now"), str(tmp_path / "then"), config=config, workers=1)
    assert [(each["split"], each["kind"]) for each in result["findings"]] == [("test", "COMPARISON_IMPOSSIBLE")]
    assert "no split 'test'" in result["findings"][0]["message"] and result["splits"]["test"] is None
    assert result["splits"]["train"]["verdict"] == "unchanged"


def test_labels_too_rare_to_compare_are_not_called_unchanged(tmp_path):
    result = run(tmp_path, small(label=np.arange(400) < 4), small(label=np.arange(400) < 3))
    assert set(verdicts(result["splits"]["all"]).values()) == {"undecided"}


def test_private_columns_are_not_looked_at(tmp_path):
    names = np.array([f"person{place % 7}" for place in range(400)])
    result = run(tmp_path, small(name=names), small(name=names[::-1]), private=["name"])
    assert "name" not in verdicts(result["splits"]["all"]) and "person" not in json.dumps(result)
    for config in ({"columns": ["name"]}, {"label": "name"}, {"slices": [["k", "name"]]}):
        with pytest.raises(HeadwaterError, match="column 'name' is private"):
            run(tmp_path, small(name=names), small(name=names), private=["name"], **config)


def test_values_that_are_no_numbers_and_odd_types(tmp_path):
    x = np.where(np.arange(400) % 3 == 0, np.nan, np.where(np.arange(400) % 7 == 0, np.inf, 1.0))
    odd = {
        "when": pa.array(np.arange(400), pa.timestamp("us")),
        "list": pa.array([[1]] * 400),
        "nothing": pa.nulls(400),
        "price": pa.array([decimal.Decimal(place) for place in range(400)], pa.decimal128(9, 2)),
        "word": pa.array(["<script>", "b"] * 200).dictionary_encode(),
    }
    result = run(tmp_path, small(x=x, **odd), small(x=-x, **odd))
    assert {"k", "x", "price", "word"} == set(verdicts(result["splits"]["all"]))
    json.dumps(result, allow_nan=False)
    for name in ("when", "list"):
        with pytest.raises(HeadwaterError, match=f"column '{name}' holds lists, structs or times"):
            run(tmp_path, small(**odd), small(**odd), columns=[name])


@pytest.mark.parametrize(
    "config, said",
    [
        ({"label": "labl"}, "concept.label: there is no column 'labl'; the columns are k, label, x"),
        ({"score": "s"}, "concept.score: there is no column 's'"),
        ({"columns": ["k", "k"]}, "columns names 'k' twice"),
        ({"columns": ["label"]}, "which is the label or the score"),
        ({"score": "label"}, "both are 'label'"),
        ({"slices": [["k"]]}, "concept.slices.0"),
        ({"min_effect": 1.5}, "concept.min_effect"),
        ({"max_p": 0}, "concept.max_p"),
        ({"label_bins": 1}, "concept.label_bins"),
        ({"thresholds": 1}, "there is no such setting"),
        ({"label": ""}, "concept.label"),
        ({"statistics": "nowhere"}, "no statistics is here"),
        ({"statistics": ""}, "bins come from the baseline's statistics"),
    ],
)
def test_wrong_settings_are_named(tmp_path, config, said):
    with pytest.raises(HeadwaterError) as error:
        run(tmp_path, small(), small(), **config)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "config", [{"label": "labl"}, {"label": "label", "score": "s"}, {"label": "label", "columns": ["kk"]}]
)
def test_wrong_names_are_refused_before_there_is_a_baseline(tmp_path, config):
    pq.write_table(small(), tmp_path / "rows.parquet")
    data = collect_dataset(str(tmp_path / "rows.parquet"), str(tmp_path / "data"), splits={"all": 1}, workers=1)
    statistics = compute_statistics(data.folder, str(tmp_path / "statistics"), workers=1)
    schema = derive_schema(statistics.folder, str(tmp_path / "schema"))
    with pytest.raises(HeadwaterError, match="concept.*: there is no column"):
        check_statistics(statistics.folder, schema.folder, str(tmp_path / "out"), config={"concept": config}, workers=1)


def test_too_many_classes_are_refused(tmp_path):
    many = np.array([f"id{place}" for place in range(400)])
    with pytest.raises(HeadwaterError, match="'label' has 400 classes; at most 50"):
        run(tmp_path, small(label=many), small(label=many))
    with pytest.raises(HeadwaterError, match="must be a mapping"):
        measure_concept("a", "b", config=["label"])


# How often to label.


@pytest.mark.parametrize(
    "effect, days, speed, source",
    [
        (0.01, 30, "months", "curated sets"),
        (0.05, 15, "weeks", "people"),
        (0.05, 4, "days", "weak supervision"),
        (0.10, 1, "hours", "weak supervision"),
        (0.0, 30, "months", "curated sets"),
        (-0.002, 30, "months", "curated sets"),
    ],
)
def test_labels_are_wanted_as_often_as_the_truth_changes(effect, days, speed, source):
    found = advise([{"days": days, "effect": effect}] * 4)
    assert found["speed"] == speed and source in found["labels_from"]
    assert found["days"] == (pytest.approx(0.05 * days / effect) if effect > 0 else None)
    json.dumps(found, allow_nan=False)


def test_one_sudden_change_does_not_move_the_advice():
    calm = [{"days": 30, "effect": 0.01}] * 8
    assert advise([*calm, {"days": 1, "effect": 0.5}])["days"] == advise(calm)["days"] == pytest.approx(150)
    assert advise(calm, tolerated=0.1)["days"] == pytest.approx(300)
    assert "few comparisons" in advise(calm[:1])["reason"]


@pytest.mark.parametrize(
    "history, said",
    [
        ([], "no comparisons yet"),
        ([{"days": 0, "effect": 0.1}], "history[0].days"),
        ([{"days": 1, "effect": 0.1}, {"days": 1, "effect": math.nan}], "history[1].effect"),
        ([{"days": 1}], "history[0].effect"),
        ([{"days": "7", "effect": 0.1}], "history[0].days"),
        ([{"days": 1, "effect": 7}], "history[0].effect"),
    ],
)
def test_a_history_that_is_none_is_named(history, said):
    with pytest.raises(HeadwaterError) as error:
        advise(history)
    assert said in str(error.value)


# The verdict over spans.


def verdict_of_span(folder, span, wrong, days):
    """Collects a span in which `wrong` of the labels are turned over, and validates it."""
    rng = np.random.default_rng(span)
    x = rng.normal(size=20_000)
    label = (x > 0) ^ (rng.random(20_000) < wrong)
    table = pa.table({"x": x, "label": label})
    dataset = collected(folder, span, table, name="clicks", splits={"train": 1.0}, workers=1)
    statistics = compute_statistics(dataset.folder, str(folder / f"s{span}"), workers=1)
    schema = derive_schema(statistics.folder, str(folder / f"c{span}"))
    config = {"concept": {"label": "label", **({"span_days": days} if days else {})}}
    return check_statistics(statistics.folder, schema.folder, str(folder / f"v{span}"), config=config, workers=1)


@pytest.mark.slow
def test_the_verdict_says_how_often_to_label_from_all_spans(tmp_path):
    first = verdict_of_span(tmp_path, 1, 0.0, 10)
    assert "concept" not in first.body
    found = [verdict_of_span(tmp_path, span, 0.1 * (span - 1), 10) for span in (2, 3, 5)]
    told = [each.body["concept"] for each in found]
    assert [each["spans_apart"] for each in told] == [1, 1, 2]
    # A tenth of the labels in 10 days, a tenth, and two tenths in 20.
    assert [each["labelling"]["comparisons"] for each in told] == [1, 2, 3]
    assert told[2]["labelling"]["rate_per_day"] == pytest.approx(0.01, abs=0.002)
    assert told[2]["labelling"]["days"] == pytest.approx(5, abs=1) and told[2]["labelling"]["speed"] == "days"
    page = found[2].read("page.html").decode()
    assert "label every 5 days, from direct feedback and weak supervision" in page.replace("Label every", "label every")
    assert "Where the same inputs have different labels now" in page and "train: concept" in page


def test_without_days_between_spans_the_verdict_gives_no_advice(tmp_path):
    verdict_of_span(tmp_path, 1, 0.0, None)
    assert verdict_of_span(tmp_path, 2, 0.1, None).body["concept"]["labelling"] is None


def test_tables_in_memory_do_as_well(tmp_path):
    then, now = small(), small(label=np.arange(400) < 200)
    compute_statistics(then, str(tmp_path / "statistics"), workers=1)
    config = {"label": "label", "statistics": str(tmp_path / "statistics")}
    result = measure_concept(now.to_pandas(), then, config=config, workers=1)
    assert result["baseline"]["uri"].startswith("a table in memory") and set(result["splits"]) == {"all"}
