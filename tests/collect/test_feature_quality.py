"""Feature sense and outliers: planted cases are found, null data gives nothing, formulas agree with plain ones."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.collect.rules import RULES, Evidence, Sample, feature_quality
from headwater.components.collect.rules.binning import bins
from headwater.components.collect.rules.feature_quality import find_duplicates, mutual_information
from headwater.components.collect.rules.outliers import find_outliers
from headwater.components.collect.settings import check_settings
from headwater.components.collect.write import profile


def table(rows=4000, seed=1, **more):
    chance = np.random.default_rng(seed)
    columns = {
        "a": chance.normal(0, 1, rows),
        "b": chance.lognormal(0, 1, rows),
        "n": chance.integers(0, 50, rows),
        "kind": chance.choice(["x", "y", "z"], rows),
        "city": [f"c{i}" for i in chance.zipf(1.5, rows) % 500],
        "id": [f"id{i}" for i in range(rows)],
    }
    return pa.table({**columns, **more})


def sense(sample, splits=None, label=None, groups=(), private=(), seed=7):
    if splits is None:
        splits = np.random.default_rng(seed).choice(["train", "eval"], sample.num_rows, p=[0.7, 0.3]).tolist()
    batch = sample.combine_chunks().to_batches()[0]
    counted = profile.finish(profile.measure(batch), batch.schema, None)
    evidence = Evidence(
        {"private": dict.fromkeys(private)},
        batch.schema,
        check_settings(splits={"train": 0.7, "eval": 0.3}, label=label or "", groups=list(groups)),
        {"profile": counted},
        datetime.datetime.now(datetime.UTC),
        sample=Sample(sample, np.array(splits, object)),
    )
    found = {"findings": []}
    for rule in RULES:
        if rule.__module__ == feature_quality.__name__:
            findings, analysis = rule(evidence)
            found["findings"] += findings
            found |= analysis
    return found


def rules(found):
    return {(each["rule"], each["column"]) for each in found["findings"]}


def test_two_random_halves_give_no_finding():
    for seed in range(12):
        chance = np.random.default_rng(seed)
        found = sense(
            table(seed=seed, label=chance.choice(["no", "yes"], 4000)), label="label", groups=["kind"], seed=seed
        )
        assert found["findings"] == []


def test_constant_empty_and_duplicate_columns_are_told():
    chance = np.random.default_rng(5)
    a = chance.normal(0, 1, 4000)
    sample = table(
        one=pa.array([7] * 4000),
        none=pa.nulls(4000, pa.float64()),
        same=a,
        same_again=a,
        scaled=-3 * a + 1,
        code=pa.array(np.array([10, 20, 30])[np.random.default_rng(1).integers(0, 3, 4000)]),
        letters=chance.choice(["u", "v"], 4000),
    )
    sample = sample.append_column(
        "words", pa.array([{"u": "yes", "v": "no"}[value] for value in sample["letters"].to_pylist()])
    )
    found = sense(sample)
    assert rules(found) == {
        ("constant", "one"),
        ("constant", "none"),
        ("duplicate_column", "same_again"),
        ("duplicate_column", "scaled"),
        ("duplicate_column", "words"),
    }
    assert {tuple(each["columns"]): each["kind"] for each in found["duplicates"]} == {
        ("same", "same_again"): "equal",
        ("same", "scaled"): "near",
        ("letters", "words"): "near",
    }


def test_columns_that_differ_in_a_few_rows_are_no_equals():
    a = np.arange(1000.0)
    b = a.copy()
    b[::50] += 1000
    pairs, _ = find_duplicates({"a": pa.array(a), "b": pa.array(b)})
    assert pairs == []


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_a_leak_of_the_label_is_told_and_a_good_column_is_not(kind):
    chance = np.random.default_rng(3)
    label = chance.choice(["no", "yes"], 4000) if kind == "classes" else chance.normal(0, 1, 4000)
    leak = np.where(label == "yes", 1.0, 0.0) + chance.normal(0, 0.001, 4000) if kind == "classes" else label * 2 + 5
    good = (
        np.where(chance.random(4000) < 0.2, chance.random(4000), (label == "yes") * 1.0)
        if kind == "classes"
        else label + chance.normal(0, 1, 4000)
    )
    found = sense(table(label=label, leak=leak, good=good), label="label")
    assert (
        ("leak", "leak") in rules(found) and ("leak", "good") not in rules(found) and ("leak", "id") not in rules(found)
    )
    order = [each["column"] for each in found["label"]["columns"][:2]]
    assert order == ["leak", "good"]


def test_missingness_alone_can_leak():
    label = np.random.default_rng(3).choice([0, 1], 4000)
    leak = pa.array(np.random.default_rng(4).normal(0, 1, 4000), mask=label == 1)
    assert ("leak", "leak") in rules(sense(table(label=label, leak=leak), label="label"))


def test_mutual_information_is_that_of_the_formula():
    one, two = np.array([0, 0, 1, 1] * 250), np.array([0, 1, 1, 1] * 250)
    plain = 0.0
    for a in (0, 1):
        for b in (0, 1):
            joint = ((one == a) & (two == b)).mean()
            if joint:
                plain += joint * math.log2(joint / ((one == a).mean() * (two == b).mean()))
    assert mutual_information(one, two) == pytest.approx(plain - 1 / (2 * 1000 * math.log(2)))
    independent = [mutual_information(*np.random.default_rng(s).integers(0, 20, (2, 5000))) for s in range(40)]
    assert abs(np.mean(independent)) < 2e-3


def test_a_hole_in_the_training_split_is_found_by_column_and_by_pair():
    chance = np.random.default_rng(2)
    rows = 6000
    split = chance.choice(["train", "eval"], rows, p=[0.6, 0.4])
    a, kind = chance.uniform(0, 1, rows), chance.choice(["x", "y"], rows)
    far = np.where((split == "eval") & (chance.random(rows) < 0.1), 5.0, chance.uniform(0, 1, rows))
    # Training never has kind y above 0.5; each alone it has.
    keep = ~((split == "train") & (kind == "y") & (a > 0.5))
    sample = pa.table({"a": a[keep], "kind": kind[keep], "far": far[keep]})
    found = sense(sample, splits=split[keep].tolist())
    told = [each for each in found["findings"] if each["rule"] == "coverage"]
    assert {each["column"] for each in told} >= {"far", "a"}
    coverage = found["coverage"]["eval"]
    assert coverage["columns"][0]["column"] == "far" and coverage["columns"][0]["rows_outside"] == pytest.approx(
        0.1, abs=0.02
    )
    assert coverage["pairs"][0]["rows_outside"] > 0.1
    assert any(set(pair["columns"]) == {"a", "kind"} and pair["rows_outside"] > 0.15 for pair in coverage["pairs"])


def test_small_groups_and_groups_that_a_split_lacks_are_named():
    groups = ["big"] * 3900 + ["tiny"] * 10 + ["apart"] * 90
    splits = ["train"] * 2000 + ["eval"] * 1900 + ["train"] * 5 + ["eval"] * 5 + ["train"] * 90
    found = sense(table(group=groups), splits=splits, groups=["group"])
    told = {
        each["message"].split("'")[1]: each["severity"] for each in found["findings"] if each["rule"] == "small_group"
    }
    assert told == {"tiny": "info", "apart": "info"} or told == {"tiny": "info", "apart": "warning"}
    hidden = sense(table(group=groups), splits=splits, groups=["group"], private={"group"})
    assert "tiny" not in str(hidden["findings"]) + str(hidden["representation"])


def test_bins_tell_missing_nan_and_what_lies_beyond_apart():
    column = pa.array([0.0, 1.0, 2.0, 3.0, None, math.nan, -5.0, 9.0])
    by = np.array([True] * 4 + [False] * 4)
    assert bins(column, by)[4:].tolist() == [-1, -2, -3, -4]
    words = pa.array(["a", "b", "a", None, "new"])
    assert bins(words, np.array([True, True, True, True, False])).tolist() == [0, 1, 0, -1, -3]


def test_a_planted_outlier_is_found_and_tails_of_their_own_kind_are_not():
    chance = np.random.default_rng(9)
    normal = chance.normal(0, 1, 5000)
    planted = normal.copy()
    planted[:3] = [900, -700, 800]
    found = find_outliers(
        pa.table(
            {
                "normal": normal,
                "planted": planted,
                "log": chance.lognormal(0, 1.5, 5000),
                "heavy": chance.standard_t(2, 5000),
            }
        )
    )
    assert [each["column"] for each in found["findings"] if each["rule"] == "outlier"] == ["planted"]
    assert found["columns"]["log"]["logarithmic"] and found["columns"]["log"]["share"] < 0.01


def test_rows_that_stand_alone_across_columns_are_found():
    chance = np.random.default_rng(4)
    values = {name: chance.normal(0, 1, 3000) for name in "abcdef"}
    for name in values:
        values[name][7] = 6.0
    found = find_outliers(pa.table(values))
    assert found["worst"][0]["place"] == 7
    assert find_outliers(pa.table(values)) == found


def test_analysis_can_be_left_out_and_changes_no_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i},{i}\n" for i in range(500)))
    with_it, without = (
        collect_dataset(str(path), str(tmp_path / name), workers=1, analyse=analyse)
        for name, analyse in (("a", True), ("b", False))
    )
    assert [each["rule"] for each in with_it.body["findings"]] == ["duplicate_column"]
    assert without.body["findings"] == [] and without.body["analysis"] == {}
    assert {s: e["digest"] for s, e in with_it.body["splits"].items()} == {
        s: e["digest"] for s, e in without.body["splits"].items()
    }


@pytest.mark.parametrize("kind", [pa.duration("us"), pa.list_(pa.int64(), 2)], ids=str)
def test_every_type_can_be_looked_at(tmp_path, kind):
    """Types for which Arrow has no kernels that tell values apart."""
    values = pa.array([[n, 1] if pa.types.is_fixed_size_list(kind) else n for n in range(300)], kind)
    table = pa.table({"k": range(300), "x": values, "y": values, "z": [n % 3 for n in range(300)]})
    pq.write_table(table, tmp_path / "t.parquet")
    result = collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / "out"), key=["k"], label="z", workers=1)
    assert "y" in {each["column"] for each in result.body["findings"] if each["rule"] == "duplicate_column"}


def test_a_redacted_column_is_not_called_constant(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,lat,town\n" + "".join(f"{n},{48 + n / 100},Linz\n" for n in range(60)))
    constant = {}
    for place, private in enumerate(({}, {"lat": "redact", "town": "redact"})):
        body = collect_dataset([str(path)], str(tmp_path / str(place)), key=["id"], private=private).body
        constant[place] = [each["column"] for each in body["findings"] if each["rule"] == "constant"]
    assert constant == {0: ["town"], 1: []}
