"""Domains of an inferred schema: how often later data of the same distribution breaks them, and TFDV's own on demand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from google.protobuf import text_format
from spans import orders, save_statistics
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from headwater.components.common.distributions import Feature
from headwater.components.common.tfdv import tfdv
from headwater.components.common.unseen import MOST_FALSE
from headwater.components.infer_schema import derive_schema
from headwater.components.infer_schema.domains import fit_domains, least_mass

SIZES = (5, 17, 60, 100, 200, 500, 2_000, 10_000, 100_000)
ROUNDS = 1_000


def text(counts, **more):
    values = pa.array([f"v{n}".encode() for n in range(len(counts))], pa.large_binary())
    counts = np.array(counts, np.int64)
    return feature(texts=values, counts=counts, rows=float(counts.sum()), values=float(counts.sum()), **more)


def numbers(points, weights, **more):
    total = float(sum(weights))
    own = {"points": np.array(points, float), "weights": np.array(weights, float)}
    return feature(numeric=True, rows=total, values=total, low=min(points), high=max(points), **own, **more)


def feature(**given):
    empty = {
        "numeric": False,
        "rule": "",
        "missing": 0.0,
        "nan": 0.0,
        "points": np.empty(0),
        "weights": np.empty(0),
        "low": 0.0,
        "high": 0.0,
        "slack": 0.0,
        "texts": pa.array([], pa.large_binary()),
        "counts": np.empty(0, np.int64),
        "rest": np.zeros(256, np.int64),
    }
    return Feature(**{**empty, **given})


def distributions(rows):
    """Shares of values that are easy, and those that are hardest: with one or two values seen about once in a day."""
    yield "even", np.full(3, 1 / 3)
    yield "even, many", np.full(40, 1 / 40)
    for power in (1.2, 1.6, 2.0, 3.0):
        shares = 1 / np.arange(1, 400.0) ** power
        yield f"power {power}", shares / shares.sum()
    shares = 0.5 ** np.arange(1, 40)
    yield "halves", shares / shares.sum()
    for expected in (0.3, 1.0, 2.0, 4.0):
        for rare in (1, 2, 5):
            share = min(expected / rows, 0.1)
            yield f"{rare} values {expected} times", np.array([0.5, 0.5 - rare * share, *[share] * rare])


@pytest.mark.sweep(4)
@pytest.mark.parametrize("first", SIZES)
def test_a_second_day_of_the_same_distribution_seldom_breaks_a_domain(first):
    """At all pairs of sizes, by simulation: at most `MOST_FALSE` of second days have too many values outside."""
    chance = np.random.default_rng(first)
    allowed = MOST_FALSE + 4 * np.sqrt(MOST_FALSE / ROUNDS)
    for name, shares in distributions(first):
        days = chance.multinomial(first, shares, ROUNDS)
        # The rule looks at three numbers alone, so it is asked once for each of their combinations.
        known = {}
        masses = np.empty(ROUNDS)
        for place, counts in enumerate(days):
            seen = counts[counts > 0]
            key = (len(seen), int((seen == 1).sum()))
            if key not in known:
                known[key] = least_mass(text(seen), len(seen))
            masses[place] = 0.0 if known[key] is None else known[key]
        for second in SIZES:
            later = chance.multinomial(second, shares, ROUNDS)
            inside = 1 - (later * (days == 0)).sum(1) / second
            assert (inside < masses - 1e-12).mean() <= allowed, (name, first, second)


@pytest.mark.parametrize("rows", [100, 1_000, 10_000])
@pytest.mark.parametrize("rare", [0.01, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("kind", ["poisson", "sum", "geometric"])
def test_counts_are_seldom_taken_for_booleans(rows, rare, kind):
    """A count that happened to have zeros and ones only has a 2 on the next day, and that must not be an anomaly."""
    chance = np.random.default_rng(rows)
    draw = {
        "poisson": lambda: chance.poisson(rare, rows),
        "sum": lambda: chance.binomial(2, rare, rows),
        "geometric": lambda: chance.geometric(1 - rare, rows) - 1,
    }[kind]
    broken = 0
    for _ in range(400):
        zeros, ones, *more = np.bincount(draw(), minlength=2)
        taken = not any(more) and ones and zeros and is_boolean(numbers([0, 1], [zeros, ones]))
        broken += bool(taken) and draw().max() > 1
    assert broken / 400 <= MOST_FALSE


def is_boolean(measured):
    schema = schema_pb2.Schema()
    schema.feature.add(name="x", type=schema_pb2.INT).bool_domain.SetInParent()
    fit_domains(schema, {("x",): measured})
    return schema.feature[0].HasField("bool_domain")


def test_flags_are_booleans_and_what_has_one_value_is_not():
    assert is_boolean(numbers([0, 1], [500, 500])) and is_boolean(numbers([0, 1], [9_000, 1_000]))
    assert not is_boolean(numbers([1], [10_000])) and not is_boolean(numbers([0, 1], [8, 8]))
    assert not is_boolean(numbers([0, 1], [999, 1]))
    # Arrow says that it is a boolean, however few there are.
    assert is_boolean(numbers([1], [5], rule="bool → INT, 0 or 1"))
    assert not is_boolean(numbers([0, 1], [500, 500], slack=0.01)) and not is_boolean(None)


def test_a_domain_is_closed_only_as_far_as_the_data_closes_it():
    assert least_mass(text([500, 500]), 2) == 0.95
    assert least_mass(text([500_000, 500_000]), 2) == 0.99995
    # With values that occur once, more are to come.
    assert least_mass(text([500, 498, 1, 1]), 4) == 0.85
    assert least_mass(text([500, 490, *[1] * 10]), 12) is None
    assert least_mass(text([8, 8]), 2) is None and least_mass(text([1_000]), 1) is None
    # Not every value is counted, so nobody knows which of them occur once.
    rest = np.zeros(256, np.int64)
    rest[3] = 5
    assert least_mass(text([500, 500], rest=rest), 2) is None and least_mass(text([500, 500]), 3) is None


def parse(result):
    return text_format.Parse(result.read("schema.pbtxt").decode(), schema_pb2.Schema())


def frame(rows=2_000):
    chance = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "month": np.ones(rows, int),
            "shop": ["Vienna"] * rows,
            "flag": chance.integers(0, 2, rows),
            "answer": chance.choice(["true", "false"], rows),
            "kind": chance.choice(["book", "film", "game"], rows),
            "gaps": np.where(chance.random(rows) < 0.5, None, chance.choice(["x", "y"], rows)),
            "rare": [f"r{n}" if n < 60 else "usual" for n in range(rows)],
            "amount": chance.normal(size=rows),
        }
    )


def test_infer_tfdv_is_tfdvs_own_schema_and_the_default_differs_in_domains_alone(tmp_path):
    measured = save_statistics(tmp_path, {"train": frame()})
    proto = statistics_pb2.DatasetFeatureStatisticsList.FromString(measured.read("Split-train/FeatureStats.pb"))
    theirs = tfdv.infer_schema(proto)
    assert parse(derive_schema(measured.folder, str(tmp_path / "theirs"), infer="tfdv")) == theirs
    ours = parse(derive_schema(measured.folder, str(tmp_path / "ours")))
    found = {each.name: (each.WhichOneof("domain_info"), round(mass(each), 4)) for each in ours.feature}
    assert found == {
        "amount": (None, 0),
        "answer": ("string_domain", 0.975),
        "flag": ("bool_domain", 0),
        "gaps": ("domain", 0.948),
        "kind": ("domain", 0.975),
        "month": (None, 0),
        "rare": (None, 0),
        "shop": (None, 0),
    }
    assert {domain.name for domain in ours.string_domain} == {"gaps", "kind"}
    for side in (ours, theirs):
        del side.string_domain[:]
        for each in side.feature:
            each.ClearField("distribution_constraints")
            if each.WhichOneof("domain_info"):
                each.ClearField(each.WhichOneof("domain_info"))
    assert ours == theirs


def mass(each):
    return each.distribution_constraints.min_domain_mass if each.HasField("distribution_constraints") else 0


def test_values_of_lists_say_less_than_rows_and_stay_open(tmp_path):
    rows = 2_000
    table = pd.DataFrame({"tags": [["a", "b"], ["a"]] * (rows // 2), "one": [{"in": "p"}, {"in": "q"}] * (rows // 2)})
    import pyarrow.parquet as pq

    from headwater.components.generate_statistics import compute_statistics

    pq.write_table(pa.Table.from_pandas(table), tmp_path / "x.parquet")
    measured = compute_statistics(str(tmp_path / "x.parquet"), str(tmp_path / "statistics"), workers=1)
    schema = parse(derive_schema(measured.folder, str(tmp_path / "schema")))
    one, tags = sorted(schema.feature, key=lambda each: each.name)
    assert tags.WhichOneof("domain_info") is None
    [inner] = one.struct_domain.feature
    assert inner.domain == "one.in" and mass(inner) == 0.975
    assert [domain.name for domain in schema.string_domain] == ["one.in"]


@pytest.mark.parametrize("rows", [16, 40, 200, 1_000])
def test_a_small_first_day_is_no_contract_for_the_second(tmp_path, rows):
    """TFDV's own schema of 16 rows calls a second day wrong; ours has nothing to say against it."""
    from headwater.components.validate import check_statistics

    chance = np.random.default_rng(rows)
    shares = 1 / np.arange(1, 31.0) ** 1.3
    shares /= shares.sum()

    def day(seed):
        made = orders(seed, rows)
        return made.assign(town=[f"t{n}" for n in chance.choice(30, rows, p=shares)], month=seed)

    first = save_statistics(tmp_path, {"train": day(1)})
    second = save_statistics(tmp_path, {"train": day(2)})
    found = {}
    for way in ("headwater", "tfdv"):
        base = derive_schema(first.folder, str(tmp_path / way), infer=way)
        given = derive_schema(second.folder, str(tmp_path / f"{way}-2"), base_schema=base.folder)
        verdict = check_statistics(second.folder, given.folder, str(tmp_path / f"{way}-3"), baseline="none")
        found[way] = {each["feature"] for each in verdict.body["findings"] if each["severity"] == "error"}
    assert found["headwater"] == set()
    assert "month" in found["tfdv"]
