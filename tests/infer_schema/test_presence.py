"""The share of missing values that an inferred schema bears: how often later data of the same distribution has more."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from scipy import stats
from spans import save_statistics
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.infer_schema import derive_schema
from headwater.components.infer_schema.presence import LEAST_ROWS, MOST_FALSE, least_fraction
from headwater.components.validate import check_statistics

SIZES = (5, 17, 60, 200, 1_000)
LARGE = [pytest.param(size, marks=pytest.mark.slow) for size in (5_000, 100_000)]


@pytest.mark.parametrize("first", [*SIZES, *LARGE])
def test_a_second_day_of_the_same_distribution_is_seldom_missing_in_too_many_rows(first):
    """At all pairs of sizes and hard shares, exactly: at most `MOST_FALSE` of second days."""
    later = (*SIZES, 6, 8, 13, 30, 100_000)
    shares = {
        0.003,
        0.05,
        0.3,
        0.8,
        *(min(0.5, many / size) for many, size in itertools.product((0.05, 1, 4), (first, *later))),
    }
    for share in sorted(shares):
        spread = np.arange(*map(int, stats.binom.ppf([1e-9, 1 - 1e-9], first, share) + [0, 1]))[:3_000]
        least = np.array([least_fraction(int(missing), first) or 0.0 for missing in spread])
        # None missing is required, and no guess of a share.
        weights = np.where(spread > 0, stats.binom.pmf(spread, first, share), 0.0)
        for second in later:
            most = np.floor((1 - least) * second + 1e-9)
            false = float((weights * stats.binom.sf(most, second, share)).sum())
            assert false <= MOST_FALSE, (share, first, second, false)


def test_the_share_is_as_high_as_the_data_bears_out():
    assert least_fraction(1, 5_000) == 0.98 and least_fraction(1, 1_000_000) > 0.9999
    assert least_fraction(50, 1_000) == 0.6 and least_fraction(3_000, 10_000) == 0.2
    assert least_fraction(0, 100) is None and least_fraction(100, 100) is None
    assert least_fraction(1, 5) is None and least_fraction(900_000, 1_000_000) is None
    for missing, rows in [(1, 60), (3, 500), (40, 900), (200, 1_000)]:
        # By scipy's own distribution: the greatest share of all numbers of rows that chance may bring.
        size, count = np.meshgrid([*range(LEAST_ROWS, 120), *range(120, 3_000, 50)], range(1, 30))
        by_chance = stats.hypergeom.sf(count - 1, rows + size, missing + count, size) > MOST_FALSE
        worst = (count / size)[by_chance & (count <= size)].max()
        assert -1e-9 <= 1 - least_fraction(missing, rows) - worst < 0.1 * worst + 0.01


def parse(result):
    return text_format.Parse(result.read("schema.pbtxt").decode(), schema_pb2.Schema())


def of(schema, name):
    return next(feature for feature in schema.feature if feature.name == name)


def test_a_column_with_a_rare_gap_is_not_optional(tmp_path):
    rare = pd.DataFrame({"x": [None, *range(4_999)], "y": range(5_000)}).astype({"x": "Int64"})
    many = rare.assign(x=rare.x.where(rare.y % 10 > 2))
    first, second = (save_statistics(tmp_path, {"train": frame}, span=n) for n, frame in enumerate((rare, many), 1))
    schema = derive_schema(first.folder, str(tmp_path / "schema"))
    assert of(parse(schema), "x").presence.min_fraction == 0.98 and of(parse(schema), "y").presence.min_fraction == 1
    verdict = check_statistics(second.folder, schema.folder, str(tmp_path / "anomalies"), baseline=first.folder)
    [found] = verdict.body["findings"]
    # The schema tells it, and drift is the same cause; guessed, so a warning.
    assert found["kind"] == "FEATURE_TYPE_LOW_FRACTION_PRESENT" and found["severity"] == "warning"
    assert [each["kind"] for each in found["members"]] == ["DRIFT"]
    theirs = derive_schema(first.folder, str(tmp_path / "tfdv"), infer="tfdv")
    assert not of(parse(theirs), "x").presence.min_fraction
    # What is accepted bears what there is now, in the split that has most missing.
    proposal = derive_schema(second.folder, str(tmp_path / "p"), mode="propose", base_schema=schema.folder)
    candidate = text_format.Parse(proposal.read("candidate.pbtxt").decode(), schema_pb2.Schema())
    assert of(candidate, "x").presence.min_fraction == 0.2
