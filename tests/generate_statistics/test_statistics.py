"""generate_statistics against TFDV's own calls on the same rows."""

from __future__ import annotations

import collections
import datetime
import decimal
import hashlib
import math
import re
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.collect import collect_dataset
from headwater.components.common import distributions, open_dataset, timings
from headwater.components.common.dataset import load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.hashing import hash_values
from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics import compute, compute_statistics
from headwater.components.generate_statistics.measure.conversion import rules, rules_by_path, to_lists
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.report.protos import to_statistics
from headwater.components.generate_statistics.state import counts, state, state_file
from headwater.components.generate_statistics.state.limits import Limits

STATS = statistics_pb2.DatasetFeatureStatisticsList
LOST_BY_PANDAS = ("time_hour", "scheduled")


def measured(batch, **plan):
    return measure(batch, Plan(schema=batch.schema, **plan))


def nothing(schema):
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def read(result, split):
    return STATS.FromString(result.read(f"Split-{split}/FeatureStats.pb")).datasets[0]


def by_name(dataset):
    return {".".join(feature.path.step): feature for feature in dataset.features}


def common(feature):
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def assert_equal(ours, theirs):
    """Equal by the rules of DESIGN: counts, extremes and strings exactly, mean and std to 1e-12."""
    assert ours.num_examples == theirs.num_examples
    ours, theirs = by_name(ours), by_name(theirs)
    assert set(ours) == set(theirs)
    for name, theirs_feature in theirs.items():
        feature = ours[name]
        # A data frame holds integers with gaps as floats.
        if feature.type != feature.INT or theirs_feature.type != feature.FLOAT or not common(feature).num_missing:
            assert feature.type == theirs_feature.type, name
        for field in ("num_missing", "num_non_missing", "min_num_values", "max_num_values", "tot_num_values"):
            assert getattr(common(feature), field) == getattr(common(theirs_feature), field), (name, field)
        mine, other = feature.num_stats, theirs_feature.num_stats
        assert (mine.min, mine.max, mine.num_zeros) == (other.min, other.max, other.num_zeros), name
        assert [h.num_nan for h in mine.histograms] == [h.num_nan for h in other.histograms], name
        for field in ("mean", "std_dev"):
            a, b = getattr(mine, field), getattr(other, field)
            assert a == b or math.isclose(a, b, rel_tol=1e-12) or math.isnan(a) and math.isnan(b), (name, field)
        texts, others = feature.string_stats, theirs_feature.string_stats
        assert texts.unique == others.unique, name
        assert math.isclose(texts.avg_length, others.avg_length, rel_tol=1e-6), name
        assert list(texts.top_values) == list(others.top_values), name


def from_frame(frame):
    return tfdv.generate_statistics_from_dataframe(frame).datasets[0]


def frame_of(result, split, drop=()):
    table = open_dataset(result.folder, split).to_table().drop(["split", "_row_id", *drop])
    frame = table.to_pandas()
    for name in frame.columns[[kind.kind == "O" for kind in frame.dtypes]]:
        frame[name] = frame[name].where(frame[name].notna(), None)
    return frame


@pytest.fixture(scope="module")
def flights(months, tmp_path_factory):
    folder = tmp_path_factory.mktemp("flights")
    dataset = collect_dataset(str(months[1]), str(folder / "data"))
    return dataset, compute_statistics(dataset.folder, str(folder / "statistics"))


def test_flights_are_measured_as_tfdv_measures_them(flights):
    dataset, result = flights
    for split in ("train", "eval"):
        ours = read(result, split)
        kept = [feature for feature in ours.features if feature.path.step[0] not in (*LOST_BY_PANDAS, "tailnum")]
        ours = statistics_pb2.DatasetFeatureStatistics(num_examples=ours.num_examples, features=kept)
        assert_equal(ours, from_frame(frame_of(dataset, split, drop=[*LOST_BY_PANDAS, "tailnum"])))


def test_more_values_than_tfdvs_sketch_holds_are_still_exact(flights):
    dataset, result = flights
    expected = frame_of(dataset, "train")["tailnum"].value_counts()
    texts = by_name(read(result, "train"))["tailnum"].string_stats
    assert texts.unique == len(expected) > 1024
    assert {value.value: value.frequency for value in texts.top_values} == {
        value.value: expected[value.value] for value in texts.top_values
    }
    assert [value.frequency for value in texts.top_values] == sorted(expected, reverse=True)[: len(texts.top_values)]


def test_the_result_says_what_it_covers(flights):
    dataset, result = flights
    assert result.body["splits"] == {
        split: {"rows": dataset.body["splits"][split]["rows"], "features": 17} for split in ("train", "eval")
    }
    assert result.body["conversions"] == dict.fromkeys(
        LOST_BY_PANDAS, "timestamp[us, tz=UTC] → INT, microseconds since 1970-01-01 UTC"
    )
    feature = by_name(read(result, "train"))[LOST_BY_PANDAS[0]]
    assert [(custom.name, custom.str) for custom in feature.custom_stats] == [
        ("headwater.quantiles", "exact"),
        ("headwater.conversion", "timestamp[us, tz=UTC] → INT, microseconds since 1970-01-01 UTC"),
    ]
    assert not any(name.startswith("_") for name in by_name(read(result, "train")))
    assert [d.name for d in STATS.FromString(result.read("Split-train/FeatureStats.pb")).datasets] == ["train"]


def test_tfdv_reads_and_uses_our_file(flights, tmp_path):
    _, result = flights
    path = tmp_path / "FeatureStats.pb"
    path.write_bytes(result.read("Split-train/FeatureStats.pb"))
    loaded = tfdv.load_stats_binary(str(path))
    schema = tfdv.infer_schema(loaded)
    assert {feature.name for feature in schema.feature} == set(by_name(loaded.datasets[0]))
    assert not tfdv.validate_statistics(loaded, schema).anomaly_info


def hard_frame(seed, rows=700):
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "number": chance.normal(size=rows),
            "gaps": np.where(chance.random(rows) < 0.3, np.nan, chance.lognormal(size=rows)),
            "heavy": chance.standard_cauchy(size=rows),
            "whole": chance.integers(-5, 5, rows),
            "large": chance.integers(-(2**62), 2**62, rows),
            "flag": chance.random(rows) < 0.5,
            "category": chance.choice(["a", "b", "", "<script>alert(1)</script>", "{{ 7 * 7 }}", "é"], rows),
            "many": [f"v{value}" for value in chance.zipf(1.5, rows) % 600],
        }
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_hard_columns_are_measured_as_tfdv_measures_them(tmp_path, seed):
    frame = hard_frame(seed)
    frame.loc[::7, "category"] = None
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), tmp_path / "t.parquet", row_group_size=100)
    result = compute_statistics(str(tmp_path / "t.parquet"), str(tmp_path / "out"))
    assert_equal(read(result, "all"), from_frame(frame))


def test_infinities_and_not_a_number_are_values(tmp_path):
    values = [1.0, math.inf, -math.inf, math.nan, None, 0.0]
    pq.write_table(pa.table({"x": pa.array(values)}), tmp_path / "t.parquet")
    feature = by_name(read(compute_statistics(str(tmp_path / "t.parquet"), str(tmp_path / "out")), "all"))["x"]
    assert common(feature).num_missing == 1
    assert (feature.num_stats.min, feature.num_stats.max, feature.num_stats.num_zeros) == (-math.inf, math.inf, 1)
    assert feature.num_stats.histograms[0].num_nan == 1


@pytest.mark.parametrize("distinct", [990, 1000, 1001, 5000])
def test_values_are_exact_up_to_the_limit_and_bounded_above_it(tmp_path, distinct):
    texts = [f"v{number % distinct}" for number in range(distinct * 3)] + ["v7"] * 50 + ["v3"] * 40
    exact = collections.Counter(texts)
    pq.write_table(pa.table({"x": texts}), tmp_path / "t.parquet", row_group_size=500)
    config = {"max_exact_values": 1000}
    runs = [compute_statistics(str(tmp_path / "t.parquet"), str(tmp_path / name), config=config) for name in "ab"]
    contents = [run.read("Split-all/FeatureStats.pb") for run in runs]
    assert contents[0] == contents[1]
    feature = by_name(read(runs[0], "all"))["x"]
    (said,) = [custom.str for custom in feature.custom_stats if custom.name == "headwater.values"]
    texts = feature.string_stats
    assert texts.unique == distinct  # far below what the least hashes tell exactly
    found = {value.value: value.frequency for value in texts.top_values}
    if distinct <= 1000:
        assert said == "exact"
        assert found == {value: exact[value] for value in found} and list(found)[:2] == ["v7", "v3"]
    else:
        low = int(re.search("at most ([0-9,]+) too low", said)[1].replace(",", ""))
        assert said.startswith("sketched") and 0 < low <= sum(exact.values()) / 1000
        assert all(exact[value] - low <= count <= exact[value] for value, count in found.items())


def test_any_number_of_workers_gives_the_same_bytes(months, tmp_path, monkeypatch):
    from headwater.components.common.sources import files

    monkeypatch.setattr(files, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(compute, "LEAST_CELLS", 4_000)
    dataset = collect_dataset(str(months[1]), str(tmp_path / "data"), workers=1)
    assert dataset.body["splits"]["train"]["shards"] > 20
    runs, records = [], []
    for workers in (1, 2, 8, 32):
        with timings.recorded() as record:
            runs.append(compute_statistics(dataset.folder, str(tmp_path / f"{workers}"), workers=workers).manifest)
        records.append(record.passes[-1])
    assert runs[1:] == runs[:1] * 3
    # The elements, and so what is merged with what, follow from the data alone.
    assert len({(own.elements, sum(note.merges for note in own.notes)) for own in records}) == 1
    assert records[0].elements > 32 and [own.processes for own in records] == [0, 2, 8, 32]


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [
        ([100] * 25, 722, [6, 6, 7, 6]),
        ([100] * 25, 116, [1] * 25),
        ([50, 300, 50, 50], 100, [1, 1, 2]),
        ([7, 7, 7], 1000, [3]),
        ([0, 0], 10, [2]),
        ([], 10, []),
    ],
)
def test_elements_are_about_as_large_and_no_more_than_need_be(sizes, most, expected):
    class Opened:
        splits = ("a", "b")

        def elements(self, split):
            return [types.SimpleNamespace(rows=rows, place=place) for place, rows in enumerate(sizes)]

    items = list(compute._gather(Opened(), most))
    assert [len(item.parts) for item in items] == expected * 2
    assert [part.place for item in items for part in item.parts] == [*range(len(sizes))] * 2
    assert [item.place for item in items] == [*range(len(items))]
    assert [item.split for item in items] == ["a"] * len(expected) + ["b"] * len(expected)


@pytest.mark.parametrize("config", [{}, {"slices": [["c"]]}])
def test_checksums_of_plain_files_are_taken_by_those_who_read_them(tmp_path, monkeypatch, config):
    monkeypatch.setattr(compute, "LEAST_CELLS", 1_000)
    rows = pa.table({"x": np.arange(4_000) % 97, "c": ["ab"[place % 2] for place in range(4_000)]})
    for number, own in enumerate((rows, rows.slice(0, 10), rows.slice(7, 900))):
        (tmp_path / "d" / "split=train").mkdir(parents=True, exist_ok=True)
        pq.write_table(own, tmp_path / "d" / "split=train" / f"{number}.parquet", row_group_size=600)
    seen = []
    for workers in (1, 2):
        with timings.recorded() as record:
            done = compute_statistics(str(tmp_path / "d"), str(tmp_path / f"{workers}"), config=config, workers=workers)
        # Opened, and read once for each pass: no other reads them.
        labels = ["read: open", *["generate-statistics: slices"] * bool(config), "generate-statistics"]
        assert [own.label for own in record.passes] == labels
        took = ["checksums" in {name for note in own.notes for name, _ in note.parts} for own in record.passes]
        assert took == [label == labels[1] for label in labels]
        seen.append(done.manifest)
    # As those who read them through have them.
    known = load_dataset(str(tmp_path / "d")).result.reference()
    assert seen[0] == seen[1] and seen[1]["inputs"]["dataset"] == known
    assert len(known["sources"]) == 3 and all(len(each["sha256"]) == 64 for each in known["sources"])


def test_checksums_are_of_blocks_that_elements_share(tmp_path, monkeypatch):
    from headwater.components.common.sources import files

    monkeypatch.setattr(files, "BLOCK_BYTES", 1_000)
    monkeypatch.setattr(compute, "LEAST_CELLS", 1_000)
    rows = pa.table({"x": np.random.default_rng(1).random(3_000)})
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=500)
    pq.write_table(rows.slice(9), tmp_path / "b.parquet", row_group_size=3_000)
    done = compute_statistics(str(tmp_path / "*.parquet"), str(tmp_path / "out"), workers=1)
    assert done.manifest["inputs"]["dataset"] == load_dataset(str(tmp_path / "*.parquet"), workers=1).result.reference()
    content = (tmp_path / "a.parquet").read_bytes()
    blocks = [hashlib.sha256(content[at : at + 1_000]).hexdigest() for at in range(0, len(content), 1_000)]
    told = done.manifest["inputs"]["dataset"]["sources"][0]["sha256"]
    assert len(blocks) > 20 and told == hashlib.sha256("".join(blocks).encode()).hexdigest()


NESTED = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
MOMENT = datetime.datetime(2013, 1, 1, 5, tzinfo=datetime.UTC)
TYPES = [
    (pa.null(), [None, None]),
    (pa.bool_(), [True, False]),
    *[(kind, [1, 0]) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32())],
    (pa.uint64(), [2**64 - 1, 0]),
    (pa.float16(), [np.float16(1.5), np.float16(0)]),
    (pa.float32(), [1.5, 0.0]),
    (pa.float64(), [1.5, 0.0]),
    (pa.decimal128(9, 2), [decimal.Decimal("1.25"), decimal.Decimal(0)]),
    (pa.decimal256(40, 2), [decimal.Decimal("1.25"), decimal.Decimal(0)]),
    (pa.string(), ["a", ""]),
    (pa.large_string(), ["a", ""]),
    (pa.binary(), [b"\xff", b""]),
    (pa.large_binary(), [b"\xff", b""]),
    (pa.binary(3), [b"abc", b"\0\0\0"]),
    (pa.date32(), [MOMENT.date(), MOMENT.date()]),
    (pa.date64(), [MOMENT.date(), MOMENT.date()]),
    *[(pa.timestamp(unit), [MOMENT.replace(tzinfo=None)] * 2) for unit in ("s", "ms", "us", "ns")],
    (pa.timestamp("us", "America/New_York"), [MOMENT, MOMENT]),
    (pa.time32("s"), [datetime.time(5), datetime.time(6)]),
    (pa.time64("ns"), [datetime.time(5), datetime.time(6)]),
    (pa.duration("ms"), [datetime.timedelta(seconds=1)] * 2),
    (pa.list_(pa.int64()), [[1, None, 2], []]),
    (pa.large_list(pa.string()), [["a"], []]),
    (pa.list_(pa.float32(), 2), [[1.0, None], [2.0, 3.0]]),
    (pa.list_(pa.list_(pa.int64())), [[[1], [], None], []]),
    (NESTED, [{"a": 1, "b": ["x", None]}, {"a": None, "b": None}]),
    (pa.list_(NESTED), [[{"a": 1, "b": ["x"]}, None], []]),
    (pa.map_(pa.string(), pa.int64()), [[("k", 1), ("l", None)], []]),
]


@pytest.mark.parametrize(("kind", "pair"), TYPES, ids=[str(kind) for kind, _ in TYPES])
def test_every_type_is_measured_and_none_is_dropped(kind, pair):
    array = pa.array([*pair, None, *pair], kind)
    if pa.types.is_null(kind):
        array = pa.nulls(5)
    schema = pa.schema([("x", kind), ("_own", pa.int64())])
    batch = pa.RecordBatch.from_arrays([array, pa.array(range(5))], schema=schema)
    whole = to_statistics(measured(batch), "s").datasets[0]
    assert whole.num_examples == 5
    features = by_name(whole)
    assert {name.split(".")[0] for name in features} == {"x"}
    assert common(features["x"]).num_missing == array.null_count
    parts = [measured(batch.slice(start, length)) for start, length in ((0, 1), (1, 3), (4, 1))]
    assert_equal(to_statistics(state.merge(parts), "s").datasets[0], whole)
    empty = to_statistics(measured(nothing(schema)), "s").datasets[0]
    assert empty.num_examples == 0 and set(by_name(empty)) == set(features)


@pytest.mark.parametrize(("kind", "pair"), TYPES, ids=[str(kind) for kind, _ in TYPES])
@settings(deadline=None, max_examples=20)
@given(picks=st.lists(st.sampled_from([0, 1, None]), max_size=12), start=st.integers(0, 12), length=st.integers(0, 12))
def test_a_part_of_a_batch_is_converted_as_it_is_in_the_whole(kind, pair, picks, start, length):
    values = [None if pick is None else pair[pick] for pick in picks]
    batch = pa.RecordBatch.from_arrays([pa.array(values, kind)], ["x"])
    whole = to_lists(batch).column(0).to_pylist()
    assert to_lists(batch.slice(start, length)).column(0).to_pylist() == whole[start : start + length]
    missing = [value is None for value in values]
    assert [value is None for value in whole] == missing


def test_moments_beyond_64_bits_stay_extremes():
    """Multiplied as they are, they would wrap around to ordinary moments."""
    for unit, kind in (("s", pa.timestamp), ("ms", pa.timestamp), ("s", pa.duration)):
        array = pa.array([2**62, -(2**62), 1], kind(unit))
        (highest,), (lowest,), (one,) = to_lists(pa.RecordBatch.from_arrays([array], ["x"])).column(0).to_pylist()
        assert highest > 9.22e18 and lowest < -9.22e18 and one == {"s": 1_000_000, "ms": 1_000}[unit]
        assert rules(pa.schema([("x", array.type)]))["x"].endswith(", clipped to 64 bits")


def test_whole_numbers_beyond_int64_keep_their_sign():
    array = pa.array([2**64 - 1, 2**63, 5], pa.uint64())
    batch = pa.RecordBatch.from_arrays([array], ["x"])
    numbers = by_name(to_statistics(measured(batch), "s").datasets[0])["x"].num_stats
    assert (numbers.min, numbers.max) == (5, 2**64)  # the nearest double to 2**64 - 1
    assert math.isclose(numbers.mean, (2**64 - 1 + 2**63 + 5) / 3, rel_tol=1e-12)


def test_a_type_without_a_rule_is_refused_by_column():
    schema = pa.schema([("fine", pa.int64()), ("odd", pa.list_(pa.month_day_nano_interval()))])
    with pytest.raises(HeadwaterError, match="column 'odd': values of type month_day_nano_interval cannot be measured"):
        measured(nothing(schema))


def test_a_struct_without_children_is_measured():
    batch = pa.RecordBatch.from_arrays([pa.array([{}, None], pa.struct([]))], ["x"])
    feature = by_name(to_statistics(measured(batch), "s").datasets[0])["x"]
    assert common(feature).num_missing == 1


def test_dictionaries_are_their_values():
    batch = pa.RecordBatch.from_arrays([pa.array(["a", None, "b", "a"]).dictionary_encode()], ["x"])
    assert to_lists(batch).column(0).to_pylist() == [["a"], None, ["b"], ["a"]]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([True, None]), [[1], None]),
        (pa.array([MOMENT], pa.timestamp("s", "UTC")), [[1357016400000000]]),
        (pa.array([-1, 1999], pa.timestamp("ns")), [[-1], [1]]),
        (pa.array([15706], pa.date32()), [[15706]]),
        (pa.array([15706 * 86_400_000], pa.date64()), [[15706]]),
        (pa.array([1], pa.time32("s")), [[1_000_000]]),
        (pa.array([decimal.Decimal("1.25")]), [[1.25]]),
        (pa.array([b"abc", None, b"def"], pa.binary(3)).slice(1), [None, [b"def"]]),
        (pa.array([[1, None], None, []], pa.list_(pa.int64())), [[1], None, []]),
        (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)).slice(1), [None, [3, 4]]),
        (
            pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            [[{"key": ["k"], "value": [1]}], None, []],
        ),
        (pa.array([{"a": 1}, None], pa.struct([("a", pa.int64())])), [[{"a": [1]}], None]),
    ],
)
def test_values_are_converted_by_the_stated_rule(array, expected):
    assert to_lists(pa.RecordBatch.from_arrays([array], ["x"])).column(0).to_pylist() == expected


def test_what_is_converted_is_said():
    schema = pa.schema(
        [("plain", pa.int64()), ("d", pa.date32()), ("n", pa.timestamp("ns")), ("l", pa.list_(pa.bool_()))]
    )
    assert rules(schema) == {
        "d": "date32[day] → INT, days since 1970-01-01",
        "n": "timestamp[ns] → INT, microseconds since 1970-01-01, rounded down",
        "l": "bool → INT, 0 or 1",
    }


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(0, 700), max_size=5), seed=st.integers(0, 3))
def test_states_of_parts_merge_to_the_state_of_the_whole(cuts, seed):
    batch = pa.RecordBatch.from_pandas(hard_frame(seed), preserve_index=False)
    edges = [0, *sorted(cuts), batch.num_rows]
    parts = [measured(batch.slice(a, b - a)) for a, b in zip(edges, edges[1:])]
    whole = to_statistics(measured(batch), "s").datasets[0]
    merged = to_statistics(state.merge(parts), "s").datasets[0]
    assert_equal(merged, whole)
    half = len(parts) // 2
    if half:
        nested = state.merge([state.merge(parts[:half]), state.merge(parts[half:])])
        assert_equal(to_statistics(nested, "s").datasets[0], whole)


def test_what_a_column_holds_has_its_own_rule():
    entry = pa.struct([("n", pa.int64()), ("day", pa.list_(pa.date32()))])
    schema = pa.schema([("s", pa.list_(entry)), ("m", pa.map_(pa.string(), pa.timestamp("us")))])
    day, moment = "date32[day] → INT, days since 1970-01-01", "timestamp[us] → INT, microseconds since 1970-01-01"
    expected = {
        ("s",): f"struct → list of struct with list children; day: {day}",
        ("s", "day"): day,
        ("m",): f"map → list of struct with key and value; value: {moment}",
        ("m", "value"): moment,
    }
    assert rules_by_path(schema) == expected
    merged = to_statistics(state.merge([measured(nothing(schema))] * 2), "s").datasets[0]
    assert {
        tuple(feature.path.step): custom.str
        for feature in merged.features
        for custom in feature.custom_stats
        if custom.name == "headwater.conversion"
    } == expected


def test_the_stored_states_of_splits_merge_to_the_whole(flights):
    dataset, result = flights
    merged = state.merge([state_file.decode(result.read(f"Split-{split}/State.arrow")) for split in ("train", "eval")])
    frame = pd.concat(
        [frame_of(dataset, split, drop=[*LOST_BY_PANDAS, "tailnum"]) for split in ("train", "eval")], ignore_index=True
    )
    ours = to_statistics(merged, "both").datasets[0]
    # 3,148 tail numbers are more than TFDV's own sketch counts exactly.
    kept = [feature for feature in ours.features if feature.path.step[0] not in (*LOST_BY_PANDAS, "tailnum")]
    ours = statistics_pb2.DatasetFeatureStatistics(num_examples=ours.num_examples, features=kept)
    assert_equal(ours, from_frame(frame))


def test_a_state_that_is_none_is_refused():
    with pytest.raises(HeadwaterError, match="there are no states to merge"):
        state.merge([])
    with pytest.raises(HeadwaterError, match="not a state of statistics"):
        state_file.decode(b"nonsense")
    table = pa.table({"x": [1]}).replace_schema_metadata({"headwater.state": "9"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(HeadwaterError, match="format '9'; this Headwater reads '3'"):
        state_file.decode(sink.getvalue().to_pybytes())


def test_states_of_columns_whose_type_changed_do_not_merge():
    states = [
        measured(pa.RecordBatch.from_arrays([pa.array(values, kind)], ["x"]))
        for values, kind in (([1], pa.int64()), (["a"], pa.string()))
    ]
    with pytest.raises(HeadwaterError, match="states cannot be merged: feature x is INT in one and STRING in another"):
        state.merge(states)


def test_a_split_without_rows_is_measured(tmp_path):
    (tmp_path / "t.csv").write_text("id,x\n1,a\n")
    dataset = collect_dataset(str(tmp_path / "t.csv"), str(tmp_path / "data"), splits={"fit": 1, "never": 1e-9})
    result = compute_statistics(dataset.folder, str(tmp_path / "out"))
    assert result.body["splits"]["never"] == {"rows": 0, "features": 2}
    assert read(result, "never").num_examples == 0


def test_an_altered_shard_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("id,x\n1,a\n")
    dataset = collect_dataset(str(tmp_path / "t.csv"), str(tmp_path / "data"), splits={"fit": 1})
    path = tmp_path / "data/split=fit/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(HeadwaterError, match="part-00000.parquet: the file was altered"):
        compute_statistics(dataset.folder, str(tmp_path / "out"))


def counted(texts, limit=65_536):
    return measured(pa.RecordBatch.from_arrays([pa.array(texts, pa.binary())], ["x"]), limits=Limits(limit))


def table_of(found):
    return dict(zip(found.counts.values.to_pylist(), found.counts.counts.tolist()))


@settings(deadline=None, max_examples=50)
@given(
    texts=st.lists(
        st.sampled_from([b"a", b"b", b"", b"\xff", b"c" * 2000, b"d" * 2000, "é".encode()]), min_size=1, max_size=60
    ),
    cut=st.integers(0, 60),
)
def test_counts_of_values_add_up(texts, cut):
    expected = collections.Counter(
        counts.LARGE if len(text) > 1024 else counts.NOT_TEXT if text == b"\xff" else text for text in texts
    )
    whole = state_file.decode(state_file.encode(state.merge([counted(texts[:cut]), counted(texts[cut:])])))
    texts_stats = to_statistics(whole, "s").datasets[0].features[0].string_stats
    assert {value.value.encode(): value.frequency for value in texts_stats.top_values} == expected
    assert texts_stats.invalid_utf8_count == texts.count(b"\xff") and texts_stats.unique == len(set(texts))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 3000), max_size=4))
def test_counts_beyond_the_limit_keep_their_bound(seed, cuts):
    texts = [f"v{number % 400}".encode() for number in np.random.default_rng(seed).zipf(1.3, 3000)]
    exact = collections.Counter(texts)
    edges = [0, *sorted(cuts), len(texts)]
    found = state.merge([counted(texts[a:b], 50) for a, b in zip(edges, edges[1:])])
    kept = table_of(found)
    removed = found.numbers[1][0, state.N["removed"]]
    assert len(kept) <= 50
    # Misra-Gries: no count is too high, none too low by more than what was removed, at most n / (capacity + 1).
    assert removed <= len(texts) / 51
    for text, count in exact.items():
        assert count - removed <= kept.get(text, 0) <= count
    # What is cut off is counted by the bins of its hash, to the last row, and read so from the state's bytes.
    feature = distributions.read(state_file.encode(found))[("x",)]
    assert not feature.exact and feature.rows == feature.values == len(texts)
    bins = hash_values(pa.array(list(exact), pa.large_binary())) % np.uint64(distributions.HASH_BINS)
    held = hash_values(feature.texts) % np.uint64(distributions.HASH_BINS)
    assert (
        np.bincount(bins.astype(int), list(exact.values()), minlength=distributions.HASH_BINS).tolist()
        == (feature.rest + np.bincount(held.astype(int), feature.counts, minlength=distributions.HASH_BINS)).tolist()
    )
    assert to_statistics(found, "s").datasets[0].features[0].string_stats.unique == len(exact)
