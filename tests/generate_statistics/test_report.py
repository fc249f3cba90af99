"""Histograms and ranks, made of many features at once, against plain Python of each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.generate_statistics import compute_statistics
from headwater.components.generate_statistics.report import batches, histograms
from headwater.components.generate_statistics.report.ranks import rank
from headwater.components.generate_statistics.state import counts

INF = float("inf")
NUMBERS = [-1.7e308, -3.0, -0.0, 0.1, 0.30000000000000004, 1.0, 1 / 3, 2**53, 1.7e308, 5e-324, 1e-323]
POINTS = st.lists(
    st.tuples(st.sampled_from([-INF, *NUMBERS, INF]), st.sampled_from([1.0, 3.0, 0.7])),
    min_size=1,
    max_size=9,
    unique_by=lambda point: point[0],
).map(sorted)


def together(parts):
    values, weights = (np.array(column, float) for column in zip(*(point for part in parts for point in part)))
    return values, weights, np.array([len(part) for part in parts])


def read(content):
    message = statistics_pb2.Histogram.FromString(content)
    return [(each.low_value, each.high_value, each.sample_count) for each in message.buckets]


@settings(deadline=None, max_examples=200)
@given(st.lists(POINTS, min_size=1, max_size=4), st.integers(1, 6))
def test_buckets_of_equal_width_are_numpys(parts, buckets):
    finite = [[value for value, _ in part if abs(value) < INF] for part in parts]
    ends = np.array([[min(own, default=INF), max(own, default=-INF)] for own in finite])
    drawn = histograms.widths(*together(parts), tuple(ends.T), buckets)
    for part, own, (low, high), content in zip(parts, finite, ends.tolist(), drawn):
        if not own:
            assert read(content) == [(low, high, pytest.approx(sum(weight for _, weight in part)))]
            continue
        with np.errstate(all="ignore"):
            bounds = np.linspace(low, high, buckets + 1) if low < high else np.array([low, high])
        if not np.isfinite(bounds).all():
            assert content == b""
            continue
        known = dict(part)
        place = [min(np.searchsorted(bounds, value, "right") - 1, len(bounds) - 2) for value in own]
        held = np.bincount(place, [known[value] for value in own], minlength=len(bounds) - 1)
        expected = [*zip(bounds[:-1], bounds[1:], held)]
        below, above = ([(end, end, known[end])] if end in known else [] for end in (-INF, INF))
        assert read(content) == [*below, *expected, *above]


@settings(deadline=None, max_examples=100)
@given(st.lists(POINTS, min_size=1, max_size=4), st.integers(1, 6))
def test_buckets_of_equal_weight_share_what_falls_on_one_bound(parts, buckets):
    drawn = histograms.quantiles(*together(parts), buckets)
    alone = [histograms.quantiles(*together([part]), buckets)[0] for part in parts]
    assert drawn == alone
    for part, content in zip(parts, map(read, drawn)):
        assert len(content) == buckets and content[0][0] == part[0][0] and content[-1][1] == part[-1][0]
        assert all(one[1] == other[0] for one, other in zip(content, content[1:]))
        assert sum(held for *_, held in content) == pytest.approx(sum(weight for _, weight in part))
        shared = {}
        for low, high, held in content:
            assert shared.setdefault((low, high), held) == held
    medians = histograms.medians(*together(parts), buckets)
    for part, median in zip(parts, medians):
        upto = np.cumsum([weight for _, weight in part])
        assert median == part[int(np.argmax(upto >= upto[-1] / 2 * (1 - 1e-12)))][0]


TEXTS = st.dictionaries(
    st.sampled_from([b"", b"a", b"ab", "\u00e9".encode(), b"\xff", b"\xfe", counts.LARGE + b"\xff1", b"x" * 200]),
    st.sampled_from([1, 2, 300]),
    min_size=1,
)


@settings(deadline=None, max_examples=200)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.integers(0, 4), st.integers(0, 4), st.sampled_from([1, 2, 1000]))
@pytest.mark.parametrize("message", [statistics_pb2.StringStatistics, statistics_pb2.WeightedStringStatistics])
def test_values_are_ranked_by_falling_count_then_falling_value(message, parts, tops, ranks, threshold):
    values = pa.array([value for part in parts for value in part], pa.large_binary())
    held = np.array([count for part in parts for count in part.values()])
    size = np.array([len(part) for part in parts])
    for part, found in zip(parts, rank(values, held, size, threshold, message, tops, ranks)):
        shown = {}
        for value, count in part.items():
            shown[counts.shown(value)] = shown.get(counts.shown(value), 0) + count
        expected = [(value.encode(), count) for value, count in shown.items() if count >= threshold]
        expected = [
            (value.decode(), count) for value, count in sorted(expected, key=lambda each: each[::-1], reverse=True)
        ]
        stats = message.FromString(found.tops)
        assert [(each.value, each.frequency) for each in stats.top_values] == expected[:tops]
        buckets = statistics_pb2.RankHistogram.FromString(found.ranks).buckets
        assert [(each.label, each.sample_count) for each in buckets] == expected[:ranks]
        assert [(each.low_rank, each.high_rank) for each in buckets] == [
            (place, place) for place in range(len(buckets))
        ]


def test_what_is_made_in_batches_is_what_is_made_of_each_alone():
    keys, size = np.array([2, 3, 7, 9, 12]), np.array([3, 1, 6, 2, 2])
    made = []

    def make(own, rows, sizes):
        made.append(len(own))
        return [each.tolist() for each in np.split(rows, np.cumsum(sizes)[:-1])]

    # Every second row is somebody else's.
    found = batches.Batches(keys, 2 * (np.cumsum(size) - size), size, make)
    wanted = {2: [0, 1, 2], 3: [6], 7: [8, 9, 10, 11, 12, 13], 9: [20, 21], 12: [24, 25]}
    assert {key: found.get(key) for key in range(14)} == {key: wanted.get(key) for key in range(14)}
    assert made == [5] and found.get(14) is None


@pytest.mark.parametrize(("rows", "keys"), [(1, 100), (100, 1), (7, 3)])
def test_the_size_of_batches_changes_nothing(tmp_path, monkeypatch, rows, keys):
    chance = np.random.default_rng(3)
    table = pa.table(
        {
            "slice": chance.choice(["a", "b", "c"], 300),
            "text": chance.choice([f"word {number}" for number in range(40)], 300),
            "number": chance.normal(size=300),
            "whole": chance.integers(0, 9, 300),
            "weight": chance.random(300),
            "lists": [list(range(length)) for length in chance.integers(0, 4, 300)],
        }
    )
    config = {"slices": [["slice"]], "weight_feature": "weight"}
    usual = compute_statistics(table, str(tmp_path / "usual"), config=config, workers=1)
    monkeypatch.setattr(batches, "_ROWS", rows)
    monkeypatch.setattr(batches, "_KEYS", keys)
    other = compute_statistics(table, str(tmp_path / "other"), config=config, workers=1)
    assert usual.read("Split-all/FeatureStats.pb") == other.read("Split-all/FeatureStats.pb")


def test_numbers_of_which_none_is_known_have_slices(tmp_path):
    table = pa.table({"slice": ["a", "a", "b"], "nothing": [float("nan")] * 3, "weight": [1.0, 2.0, 0.0]})
    for config in ({}, {"weight_feature": "weight"}):
        result = compute_statistics(
            table, str(tmp_path / f"out{len(config)}"), config={"slices": [["slice"]], **config}, workers=1
        )
        statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(result.read("Split-all/FeatureStats.pb"))
        of_slices = {
            each.name: {feature.path.step[0]: feature.num_stats for feature in each.features}["nothing"]
            for each in statistics.datasets
        }
        assert {name: stats.histograms[0].num_nan for name, stats in of_slices.items()} == {
            "All Examples": 3, "slice_a": 2, "slice_b": 1
        }  # fmt: skip


def test_a_page_can_do_without_values(tmp_path):
    table = pa.table({"text": ["a word", "a word", "another"]})
    result = compute_statistics(table, str(tmp_path / "out"), config={"num_top_values": 0}, workers=1)
    assert "2 distinct" in result.read("page.html").decode() and "a word" not in result.read("page.html").decode()
