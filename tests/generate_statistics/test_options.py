"""Each option of generate-statistics changes the outcome, and what it gives equals TFDV's own where TFDV has it."""

from __future__ import annotations

import hmac
import itertools
import json
import math
import re

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_data_validation.statistics.generators import cross_feature_stats_generator, lift_stats_generator
from tensorflow_data_validation.utils import slicing_util
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from headwater.components.collect import collect_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics import compute_statistics, merge_statistics

STATS = statistics_pb2.DatasetFeatureStatisticsList
ROWS = 3000


def frame(seed=0, rows=ROWS):
    chance = np.random.default_rng(seed)
    country = chance.choice(["US", "DE", "FR", "<b>"], rows, p=[0.6, 0.3, 0.08, 0.02])
    device = chance.choice(["phone", "desk"], rows)
    amount = chance.lognormal(size=rows) + (country == "DE")
    return pd.DataFrame(
        {
            "country": country,
            "device": np.where(chance.random(rows) < 0.1, None, device),
            "amount": np.where(chance.random(rows) < 0.05, np.nan, amount),
            "age": chance.integers(18, 80, rows),
            "weight": chance.random(rows) + 0.5,
            "label": np.where(amount + chance.normal(size=rows) > 1.5, "yes", "no"),
            "email": [f"user{number % 1200}@example.org" for number in range(rows)],
        }
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("options") / "t.parquet"
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    # A data frame says NaN where a value is missing.
    table = table.set_column(2, "amount", pa.array(frame()["amount"], from_pandas=True))
    pq.write_table(table, path, row_group_size=700)
    return str(path)


def compute(source, folder, **config):
    result = compute_statistics(source, str(folder), config=config, workers=1)
    return result, STATS.FromString(result.read("Split-all/FeatureStats.pb"))


def lists(source):
    """The rows as TFDV takes them."""
    table = pq.read_table(source)
    columns = [pa.array([None if v is None else [v] for v in table[name].to_pylist()]) for name in table.column_names]
    return pa.RecordBatch.from_arrays(columns, table.column_names)


def by_tfdv(source, **options):
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = []
        # The in-process runner's closures are pickled, so the result goes through a file.
        import pathlib
        import tempfile

        path = pathlib.Path(tempfile.mkdtemp()) / "stats"
        _ = (
            pipeline
            | beam.Create([lists(source)], reshuffle=False)
            | tfdv.GenerateStatistics(tfdv.StatsOptions(**options))
            | tfdv.WriteStatisticsToBinaryFile(str(path))
        )
    del found
    return tfdv.load_stats_binary(str(path))


def features(dataset):
    return {".".join(feature.path.step): feature for feature in dataset.features}


def custom(feature, name):
    return next((each.str or each.num for each in feature.custom_stats if each.name == name), None)


def common(feature):
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def assert_same(ours, theirs, drop=()):
    """Equal to TFDV's statistics, weighted ones too; quantiles within 1 % of the rank."""
    assert ours.num_examples == theirs.num_examples
    assert math.isclose(ours.weighted_num_examples, theirs.weighted_num_examples, rel_tol=1e-12)
    mine, other = features(ours), features(theirs)
    assert set(mine) | set(drop) == set(other) | set(drop)
    for name in set(other) - set(drop):
        a, b = mine[name], other[name]
        assert a.type == b.type, name
        for field in ("num_missing", "num_non_missing", "min_num_values", "max_num_values", "tot_num_values"):
            assert getattr(common(a), field) == getattr(common(b), field), (name, field)
        for field in ("num_missing", "num_non_missing", "tot_num_values", "avg_num_values"):
            x, y = (getattr(common(each).weighted_common_stats, field) for each in (a, b))
            assert math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-4), (name, field)
        assert (a.num_stats.min, a.num_stats.max, a.num_stats.num_zeros) == (
            b.num_stats.min,
            b.num_stats.max,
            b.num_stats.num_zeros,
        )
        for x, y in (
            (a.num_stats.mean, b.num_stats.mean),
            (a.num_stats.std_dev, b.num_stats.std_dev),
            (a.num_stats.weighted_numeric_stats.mean, b.num_stats.weighted_numeric_stats.mean),
            (a.num_stats.weighted_numeric_stats.std_dev, b.num_stats.weighted_numeric_stats.std_dev),
        ):
            assert math.isclose(x, y, rel_tol=1e-12, abs_tol=1e-12), name
        assert a.string_stats.unique == b.string_stats.unique, name
        assert list(a.string_stats.top_values) == list(b.string_stats.top_values), name
        x, y = (each.string_stats.weighted_string_stats.top_values for each in (a, b))
        assert [v.value for v in x] == [v.value for v in y], name
        assert np.allclose([v.frequency for v in x], [v.frequency for v in y], rtol=1e-9)


def test_weights_give_what_tfdv_gives(source, tmp_path):
    _, ours = compute(source, tmp_path, weight_feature="weight", num_top_values=5)
    theirs = by_tfdv(source, weight_feature="weight", num_top_values=5)
    assert_same(ours.datasets[0], theirs.datasets[0], drop=["email"])
    mine = features(ours.datasets[0])["amount"].num_stats.weighted_numeric_stats
    rows = frame().dropna(subset=["amount"]).sort_values("amount")
    middle = np.searchsorted(np.cumsum(rows["weight"]), rows["weight"].sum() / 2)
    assert abs(np.searchsorted(rows["amount"], mine.median) - middle) < 0.01 * len(rows)
    assert sum(b.sample_count for b in mine.histograms[0].buckets) == pytest.approx(rows["weight"].sum())


@pytest.mark.parametrize("value", [None, -1.0, math.nan, math.inf])
def test_a_row_without_a_weight_is_refused(tmp_path, value):
    pq.write_table(pa.table({"x": [1, 2], "w": pa.array([1.0, value])}), tmp_path / "t.parquet")
    with pytest.raises(HeadwaterError, match="weight_feature: column 'w' must hold a finite number of at least 0"):
        compute(str(tmp_path / "t.parquet"), tmp_path / "out", weight_feature="w")


def test_slices_by_values_are_tfdvs(source, tmp_path):
    result, ours = compute(source, tmp_path, slices=[["country"], ["device", "country"]])
    slicers = [
        slicing_util.get_feature_value_slicer({"country": None}),
        slicing_util.get_feature_value_slicer({"device": None, "country": None}),
    ]
    theirs = by_tfdv(source, experimental_slice_functions=slicers)
    mine, other = ({d.name: d for d in each.datasets} for each in (ours, theirs))
    assert set(mine) == set(other) and "All Examples" in mine and "country_DE_device_phone" in mine
    assert ours.datasets[0].name == "All Examples"
    for name in other:
        assert_same(mine[name], other[name], drop=["email"])
    assert result.body["slices"] == {"kept": 12, "rest_slices": 0, "rest_rows": 0}


def test_slices_have_quantiles_within_their_stated_error(source, tmp_path):
    _, ours = compute(source, tmp_path, slices=[["country"]])
    rows = frame()
    for dataset in ours.datasets[1:]:
        values = np.sort(rows["amount"][rows["country"] == dataset.name.removeprefix("country_")].dropna())
        feature = features(dataset)["amount"]
        said = custom(feature, "headwater.quantiles")
        error = 0.0 if said == "exact" else float(re.search(r"[\d.]+(?= %)", said)[0]) / 100 + 1e-4
        for place, bucket in enumerate(feature.num_stats.histograms[1].buckets):
            rank = np.searchsorted(values, bucket.high_value, "right") / len(values)
            assert abs(rank - (place + 1) / 10) <= error + 1 / len(values), dataset.name


def test_the_largest_slices_are_kept_and_the_rest_is_counted(source, tmp_path):
    result, ours = compute(source, tmp_path, slices=[["country"]], max_slices=2)
    assert [dataset.name for dataset in ours.datasets[1:]] == ["country_DE", "country_US"]
    counts = frame()["country"].value_counts()
    assert result.body["slices"] == {"kept": 2, "rest_slices": 2, "rest_rows": int(counts["FR"] + counts["<b>"])}


def test_a_predicate_makes_a_slice(source, tmp_path):
    config = {"slices": [{"name": "adults of DE", "where": "age > 40 AND country = 'DE'"}]}
    _, ours = compute(source, tmp_path, **config)
    rows = frame()
    rows = rows[(rows["age"] > 40) & (rows["country"] == "DE")]
    assert [dataset.name for dataset in ours.datasets] == ["All Examples", "adults of DE"]
    assert ours.datasets[1].num_examples == len(rows)
    assert features(ours.datasets[1])["age"].num_stats.mean == pytest.approx(rows["age"].mean(), rel=1e-12)


def test_a_row_with_several_values_is_in_each_of_their_slices_once(tmp_path):
    tags = [["a", "b"], ["a", "a"], None, [], ["b", "c", "a"], [None, "c"]]
    pq.write_table(pa.table({"tags": pa.array(tags), "x": range(6)}), tmp_path / "t.parquet", row_group_size=2)
    _, ours = compute(str(tmp_path / "t.parquet"), tmp_path / "out", slices=[["tags"]])
    for dataset in ours.datasets[1:]:
        own = [number for number, row in enumerate(tags) if dataset.name.removeprefix("tags_") in (row or [])]
        assert dataset.num_examples == len(own)
        assert features(dataset)["x"].num_stats.mean == pytest.approx(np.mean(own))
        assert features(dataset)["tags"].string_stats.common_stats.tot_num_values == sum(
            value is not None for number in own for value in tags[number]
        )
    assert [dataset.name for dataset in ours.datasets] == ["All Examples", "tags_a", "tags_b", "tags_c"]


def test_slices_of_every_sliceable_type(tmp_path):
    import datetime

    day = datetime.date(2024, 2, 29)
    table = pa.table(
        {
            "flag": pa.array([True, False, None, True]),
            "day": pa.array([day, day, None, day]),
            "code": pa.array([-1, 2, 2, None], pa.int16()),
            "word": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    columns = [["flag"], ["day"], ["code"], ["word"]]
    _, ours = compute(str(tmp_path / "t.parquet"), tmp_path / "out", slices=columns)
    assert {dataset.name: dataset.num_examples for dataset in ours.datasets[1:]} == {
        "flag_true": 2, "flag_false": 1, "day_2024-02-29": 3, "code_-1": 1, "code_2": 2, "word_a": 2, "word_b": 1,
    }  # fmt: skip


def test_the_label_has_its_statistics_and_tfdvs_lift(source, tmp_path):
    _, ours = compute(source, tmp_path, label_feature="label", num_top_values=50)
    assert [dataset.name for dataset in ours.datasets] == ["All Examples", "label_no", "label_yes"]
    schema = tfdv.infer_schema(ours)
    generator = lift_stats_generator.LiftStatsGenerator(
        tfdv.FeaturePath(["label"]), schema=schema, x_paths=[tfdv.FeaturePath(["country"])]
    )
    found = []
    with beam.Pipeline(
        runner="FnApiRunner", options=beam.options.pipeline_options.PipelineOptions(["--no_pipeline_type_check"])
    ) as pipeline:
        import tempfile

        path = tempfile.mkdtemp() + "/lift"
        _ = (
            pipeline
            | beam.Create([("", lists(source))], reshuffle=False)
            | generator.ptransform
            | beam.Map(lambda pair: pair[1].SerializeToString())
            | beam.io.WriteToTFRecord(path)
        )
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromTFRecord(path + "*")
            | beam.Map(lambda x: x.hex())
            | beam.io.WriteToText(path + ".hex")
        )
    import glob

    for part in glob.glob(path + ".hex*"):
        for line in open(part):
            found.append(statistics_pb2.DatasetFeatureStatistics.FromString(bytes.fromhex(line.strip())))

    def table(crosses):
        return {
            (series.y_string, value.x_string): (
                round(value.lift, 9), value.x_count, value.x_and_y_count, series.y_count,
            )
            for cross in crosses
            if list(cross.path_x.step) == ["country"]
            for series in cross.categorical_cross_stats.lift.lift_series
            for value in series.lift_values
        }  # fmt: skip

    expected = table(cross for each in found for cross in each.cross_features)
    assert len(expected) == 8
    assert table(ours.datasets[0].cross_features) == expected


def test_pairs_of_numbers_are_tfdvs(source, tmp_path):
    _, ours = compute(source, tmp_path, feature_pairs=[["amount", "age"], ["weight", "age"]])
    generator = cross_feature_stats_generator.CrossFeatureStatsGenerator(
        feature_crosses=[("age", "amount"), ("age", "weight")], sample_rate=1.0
    )
    accumulator = generator.add_input(generator.create_accumulator(), lists(source))
    theirs = {c.path_y.step[0]: c for c in generator.extract_output(accumulator).cross_features}
    crosses = {cross.path_y.step[0]: cross for cross in ours.datasets[0].cross_features}
    assert set(crosses) == {"amount", "weight"}
    for name, cross in crosses.items():
        assert cross.count == theirs[name].count
        for field in ("correlation", "covariance"):
            a, b = (getattr(each.num_cross_stats, field) for each in (cross, theirs[name]))
            assert math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9), (name, field)


def test_pairs_of_texts_have_lift(source, tmp_path):
    _, ours = compute(source, tmp_path, feature_pairs=[["device", "country"]])
    (cross,) = ours.datasets[0].cross_features
    rows = frame().dropna(subset=["device"])
    assert cross.count == len(rows)
    for series in cross.categorical_cross_stats.lift.lift_series:
        of_y = rows[rows["device"] == series.y_string]
        assert series.y_count == len(of_y)
        for value in series.lift_values:
            of_x = rows[rows["country"] == value.x_string]
            both = (of_x["device"] == series.y_string).sum()
            assert value.x_and_y_count == both
            assert value.lift == pytest.approx((both / len(of_x)) / (len(of_y) / len(rows)))
    assert "\0pair" not in features(ours.datasets[0])


def test_only_listed_features_are_measured(source, tmp_path):
    result, ours = compute(source, tmp_path, feature_allowlist=["age", "country"], weight_feature="weight")
    assert set(features(ours.datasets[0])) == {"age", "country"}
    assert result.body["splits"]["all"]["features"] == 2 and ours.datasets[0].weighted_num_examples > 0


def test_a_sample_is_drawn_row_by_row_and_recorded(source, tmp_path):
    results = [compute(source, tmp_path / f"{n}", sample_rate=0.25, seed=seed) for n, seed in enumerate([1, 1, 2])]
    (one, first), (_, again), (_, other) = results
    kept = first.datasets[0].num_examples
    assert abs(kept - ROWS / 4) < 5 * math.sqrt(ROWS * 0.25 * 0.75)
    assert one.body["sample"] == {"rate": 0.25, "seed": 1, "seen": ROWS, "kept": kept}
    assert first == again and first != other
    whole = compute(source, tmp_path / "whole")[1].datasets[0]
    mean, std = (getattr(features(whole)["age"].num_stats, field) for field in ("mean", "std_dev"))
    assert abs(features(first.datasets[0])["age"].num_stats.mean - mean) < 5 * std / math.sqrt(kept)


def test_a_schema_steers_what_is_measured(source, tmp_path):
    schema = schema_pb2.Schema()
    schema.feature.add(name="age", type=schema_pb2.INT).int_domain.is_categorical = True
    schema.feature.add(name="email", type=schema_pb2.BYTES).image_domain.SetInParent()
    path = tmp_path / "schema.pbtxt"
    path.write_text(str(schema))
    _, ours = compute(source, tmp_path / "out", schema=str(path))
    theirs = by_tfdv(source, schema=schema)
    assert_same(ours.datasets[0], theirs.datasets[0])
    mine, other = (features(each.datasets[0]) for each in (ours, theirs))
    assert mine["age"].type == mine["age"].INT and len(mine["age"].string_stats.top_values) == 20
    assert mine["email"].bytes_stats.max_num_bytes == other["email"].bytes_stats.max_num_bytes == 20
    assert mine["email"].bytes_stats.avg_num_bytes == pytest.approx(other["email"].bytes_stats.avg_num_bytes)


def test_the_sizes_of_what_is_told(source, tmp_path):
    _, usual = compute(source, tmp_path / "usual")
    _, ours = compute(
        source, tmp_path / "ours", num_top_values=3, frequency_threshold=300, num_rank_histogram_buckets=2,
        num_histogram_buckets=7, num_quantiles_histogram_buckets=4, num_values_histogram_buckets=3,
    )  # fmt: skip
    mine, other = features(ours.datasets[0]), features(usual.datasets[0])
    assert [len(mine[name].string_stats.top_values) for name in ("country", "email")] == [2, 0]
    assert [len(other[name].string_stats.top_values) for name in ("country", "email")] == [4, 20]
    assert len(mine["country"].string_stats.rank_histogram.buckets) == 2
    for feature, sizes in ((mine["amount"], (7, 4)), (other["amount"], (10, 10))):
        assert tuple(len(each.buckets) for each in feature.num_stats.histograms) == sizes
    assert len(common(mine["age"]).num_values_histogram.buckets) == 3
    _, weighted = compute(source, tmp_path / "w", weight_feature="weight", weighted_frequency_threshold=1000.0)
    top = features(weighted.datasets[0])["country"].string_stats.weighted_string_stats.top_values
    assert [value.value for value in top] == ["US"]


def test_meaning_is_looked_at_when_asked_for(tmp_path):
    urls = [f"https://example.org/page/{number}" for number in range(500)]
    pq.write_table(pa.table({"link": urls}), tmp_path / "t.parquet")
    _, plain = compute(str(tmp_path / "t.parquet"), tmp_path / "plain")
    _, ours = compute(str(tmp_path / "t.parquet"), tmp_path / "ours", enable_semantic_domain_stats=True)
    assert custom(features(plain.datasets[0])["link"], "domain_info") is None
    assert custom(features(ours.datasets[0])["link"], "domain_info") == "url_domain {}"
    assert tfdv.infer_schema(ours).feature[0].HasField("url_domain")


def test_a_users_own_statistics(source, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_statistics.py").write_text(
        "import pyarrow.compute as pc\n"
        "def adults(batch):\n    return {'age': {'adults': pc.sum(pc.greater(batch['age'], 40)).as_py()}}\n"
        "def oldest(batch):\n    return {'age': {'oldest': pc.max(batch['age']).as_py()}}\n"
        "def odd(batch):\n    return 7\n"
        "def failing(batch):\n    raise ValueError('user1@example.org')\n"
    )
    own = [{"function": "own_statistics:adults"}, {"function": "own_statistics:oldest", "merge": "max"}]
    result, ours = compute(source, tmp_path / "out", custom_statistics=own)
    feature = features(ours.datasets[0])["age"]
    assert custom(feature, "adults") == (frame()["age"] > 40).sum()
    assert custom(feature, "oldest") == frame()["age"].max()
    for name, message in (
        ("own_statistics:odd", "must give {feature: {statistic: number}}, not int"),
        ("own_statistics:failing", "failed with ValueError$"),
        ("own_statistics:nothing", "the module own_statistics has no 'nothing'"),
        ("nowhere_at_all:f", "the module cannot be imported"),
        ("json", "write package.module:function"),
    ):
        with pytest.raises(HeadwaterError, match=message.replace("{", r"\{").replace("}", r"\}")):
            compute(source, tmp_path / "no", custom_statistics=[{"function": name}])
    with open(tmp_path / "own_statistics.py", "a") as stream:
        stream.write("# changed\n")
    changed, _ = compute(source, tmp_path / "changed", custom_statistics=own)
    assert changed.fingerprint != result.fingerprint


def words(result):
    """Everything that a result's files hold, as one text."""
    return b"\n".join(result.read(path) for path in result.files()) + json.dumps(result.manifest).encode()


@pytest.mark.parametrize("key", ["", "a key of many bytes"])
def test_private_values_appear_nowhere(source, tmp_path, monkeypatch, key):
    monkeypatch.setenv("HEADWATER_PRIVACY_KEY", key)
    result, ours = compute(source, tmp_path, private=["email", "age", "country"])
    said = words(result)
    assert b"@example.org" not in said and b"<b>" not in said and b"&lt;b&gt;" not in said
    mine = features(ours.datasets[0])
    ages = frame()["age"]
    assert mine["age"].num_stats.mean == pytest.approx(ages.mean())
    top = [value.value for value in mine["country"].string_stats.top_values]
    if key:
        expected = [
            hmac.digest(key.encode(), value.encode(), "sha256").hex()[:32] for value in ("US", "DE", "FR", "<b>")
        ]
        assert top == expected and mine["email"].string_stats.unique == 1200
    else:
        assert all(value.startswith("bucket-") for value in top) and mine["email"].string_stats.unique <= 256
    assert custom(mine["country"], "headwater.private") and not custom(mine["label"], "headwater.private")
    assert result.body["private"]["age"] == "numbers rounded to two significant digits"
    monkeypatch.setenv("HEADWATER_PRIVACY_KEY", "short")
    with pytest.raises(HeadwaterError, match="at least 16 bytes"):
        compute(source, tmp_path / "no", private=["email"])


def test_private_numbers_are_coarse(tmp_path):
    values = [31_415_926, 27_182_818, 0, -161_803, 1]
    pq.write_table(pa.table({"x": values}), tmp_path / "t.parquet")
    result, ours = compute(str(tmp_path / "t.parquet"), tmp_path / "out", private=["x"])
    stats = features(ours.datasets[0])["x"].num_stats
    assert (stats.min, stats.max, stats.num_zeros) == (-160_000, 31_000_000, 1)
    assert stats.mean == np.mean(values)
    state = result.read("Split-all/State.arrow")
    assert not any(np.float64(value).tobytes() in state for value in values[:2])


def test_columns_that_collect_found_private_are_private(tmp_path):
    table = frame()[["email", "age"]]
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset = collect_dataset(str(tmp_path / "t.csv"), str(tmp_path / "data"))
    assert "email" in dataset.body["private"]
    result = compute_statistics(dataset.folder, str(tmp_path / "out"))
    assert b"@example.org" not in words(result) and set(result.body["private"]) == {"email"}
    shown = compute_statistics(dataset.folder, str(tmp_path / "shown"), config={"public": ["email"]})
    assert b"@example.org" in words(shown) and not shown.body["private"]
    hashed = collect_dataset(str(tmp_path / "t.csv"), str(tmp_path / "redacted"), private={"email": "redact"})
    assert not compute_statistics(hashed.folder, str(tmp_path / "r")).body["private"]


def test_the_worst_slices_come_first(tmp_path):
    chance = np.random.default_rng(5)
    country, age = chance.choice(["US", "DE", "FR"], 6000), chance.integers(18, 80, 6000)
    wrong = chance.random(6000) < np.where(country == "FR", 0.6, 0.1)
    table = pa.table({"country": country, "age": age, "error": wrong})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1000)
    source = str(tmp_path / "t.parquet")
    result, _ = compute(source, tmp_path / "out", worst_slices={"errors": "error"})
    first = result.body["worst_slices"]["all"][0]
    assert first["slice"] == "country = FR" and first["rows"] == (country == "FR").sum()
    assert first["mean_cost"] == pytest.approx(wrong[country == "FR"].mean()) and first["p_value"] < 1e-6
    assert "country = FR" in result.read("page.html").decode()
    none, _ = compute(source, tmp_path / "none", worst_slices={"errors": "error", "columns": ["age"]})
    assert not none.body["worst_slices"]["all"]
    with pytest.raises(HeadwaterError, match="'country' is private"):
        compute(source, tmp_path / "no", private=["country"], worst_slices={"errors": "error", "columns": ["country"]})


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spans")
    tables = [
        pa.Table.from_pandas(frame(seed, rows), preserve_index=False) for seed, rows in ((1, 900), (2, 40), (3, 1500))
    ]
    config = {"weight_feature": "weight", "label_feature": "label", "slices": [["country"]], "max_exact_values": 1000,
              "feature_pairs": [["age", "amount"], ["country", "device"]]}  # fmt: skip
    results = []
    for place, table in enumerate([*tables, pa.concat_tables(tables)]):
        pq.write_table(table, folder / f"{place}.parquet")
        results.append(
            compute_statistics(str(folder / f"{place}.parquet"), str(folder / f"s{place}"), config=config, workers=1)
        )
    return results[:-1], results[-1]


def read(result):
    return STATS.FromString(result.read("Split-all/FeatureStats.pb"))


def test_merged_statistics_are_those_of_all_rows(spans, tmp_path):
    parts, whole = spans
    merged = merge_statistics([part.folder for part in parts], str(tmp_path / "merged"))
    ours, theirs = ({dataset.name: dataset for dataset in read(each).datasets} for each in (merged, whole))
    assert (
        set(ours)
        == set(theirs)
        == {"All Examples", *(f"country_{c}" for c in ("US", "DE", "FR", "<b>")), "label_no", "label_yes"}
    )
    for name in theirs:
        assert_same(ours[name], theirs[name], drop=["email"])
    assert [c.num_cross_stats.covariance for c in ours["All Examples"].cross_features][:1] == pytest.approx(
        [c.num_cross_stats.covariance for c in theirs["All Examples"].cross_features][:1]
    )
    lifts = [
        {(tuple(c.path_x.step), s.y_string, v.x_string): v.lift
         for c in each["All Examples"].cross_features for s in c.categorical_cross_stats.lift.lift_series
         for v in s.lift_values if c.path_x.step[0] != "email"}
        for each in (ours, theirs)
    ]  # fmt: skip
    assert lifts[0] == pytest.approx(lifts[1]) and len(lifts[0]) > 10
    # 1,200 addresses are more than are counted exactly.
    email = features(ours["All Examples"])["email"]
    assert custom(email, "headwater.values").startswith("sketched") and email.string_stats.unique == 1200
    again = merge_statistics(
        [merge_statistics([p.folder for p in parts[:2]], str(tmp_path / "a")).folder, parts[2].folder],
        str(tmp_path / "b"),
    )
    for name, dataset in {dataset.name: dataset for dataset in read(again).datasets}.items():
        assert_same(dataset, theirs[name], drop=["email"])
    assert again.body["splits"] == merged.body["splits"] == whole.body["splits"]


@pytest.mark.slow
def test_a_window_of_thirty_spans_reads_states_alone(tmp_path):
    results = []
    for span in range(30):
        source = tmp_path / f"{span}.csv"
        pd.DataFrame({"id": range(span * 50, span * 50 + 50), "x": np.arange(50) + span}).to_csv(source, index=False)
        dataset = collect_dataset(
            str(source), str(tmp_path / f"d{span}"), name="n", span=span + 1, data_root=str(tmp_path / "root")
        )
        results.append(compute_statistics(dataset.folder, str(tmp_path / f"s{span}"), workers=1))
        source.unlink()
    import shutil

    for shards in (tmp_path / "root").glob("n/*/*/data"):
        shutil.rmtree(shards)
    merged = merge_statistics([result.uri for result in results], str(tmp_path / "window"))
    found = [STATS.FromString(merged.read(f"Split-{split}/FeatureStats.pb")).datasets[0] for split in ("train", "eval")]
    assert sum(dataset.num_examples for dataset in found) == 1500
    assert merged.body["spans"] == list(range(1, 31))
    assert max(features(dataset)["id"].num_stats.max for dataset in found) == 1499


def test_what_cannot_be_merged_says_why(spans, source, tmp_path):
    parts, _ = spans
    other, _ = compute(source, tmp_path / "other")
    with pytest.raises(
        HeadwaterError, match="split 'all': states cannot be merged: max_exact_values is 1000 in one and 65536"
    ):
        merge_statistics([parts[0].folder, other.folder], str(tmp_path / "no"))
    with pytest.raises(HeadwaterError, match="given twice"):
        merge_statistics([parts[0].folder] * 2, str(tmp_path / "no"))
    with pytest.raises(HeadwaterError, match="at least one result"):
        merge_statistics([], str(tmp_path / "no"))
    with pytest.raises(HeadwaterError, match="give the URIs of at least one result"):
        merge_statistics(parts[0].folder, str(tmp_path / "no"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"top": 3}, "config.top: there is no such setting; the settings are feature_allowlist"),
        ({"sample_rate": 0}, "config.sample_rate: input should be greater than 0"),
        ({"sample_rate": "0.1"}, "config.sample_rate: input should be a valid number"),
        ({"max_exact_values": 3}, "config.max_exact_values: input should be greater than or equal to 16"),
        ({"feature_allowlist": ["aeg"]}, "feature_allowlist: there is no column 'aeg'; the columns are country, device"),
        ({"weight_feature": "country"}, "weight_feature: column 'country' is string; weights must be numbers"),
        ({"slices": [["amount"]]}, "slices: column 'amount' is double; only text"),
        ({"slices": [[]]}, "config.slices: a slice must name at least one column"),
        ({"slices": [{"name": "x", "where": "age > (SELECT 1)"}]}, "slices.x: a subquery is not allowed"),
        ({"slices": [{"name": "x", "where": "age"}]}, "slices.x: the predicate must be true or false, not int64"),
        ({"slices": [{"name": "x", "where": "nope > 1"}]}, "slices.x: there is no column 'nope'"),
        ({"label_feature": "amount"}, "slices: column 'amount' is double"),
        ({"private": ["country"], "slices": [["country"]]}, "slices: column 'country' is private"),
        ({"feature_pairs": [["age", "country"]]}, "feature_pairs: 'age' and 'country' must be two columns, both of"),
        ({"feature_pairs": [["age"]]}, "config.feature_pairs.0: list should have at least 2 items"),
        ({"worst_slices": {}}, "config.worst_slices: give errors"),
        ({"worst_slices": {"errors": "nope"}}, "worst_slices.errors: there is no column 'nope'"),
        ({"schema": "/nowhere/schema.pbtxt"}, "/nowhere/schema.pbtxt"),
    ],
)  # fmt: skip
def test_wrong_settings_are_said_before_any_work(source, tmp_path, config, message):
    with pytest.raises(HeadwaterError) as caught:
        compute(source, tmp_path, **config)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_facets_opens_our_statistics(source, tmp_path):
    from tensorflow_data_validation.utils.display_util import get_statistics_html

    for name, config in (("plain", {}), ("sliced", {"slices": [["country"]], "weight_feature": "weight"})):
        _, ours = compute(source, tmp_path / name, **config)
        plain = STATS(datasets=ours.datasets[:1])
        plain.datasets[0].name = "ours"
        html = get_statistics_html(plain)
        encoded = html.split('proto-input="')[1].split('"')[0]
        import base64

        shown = STATS.FromString(base64.b64decode(encoded)).datasets[0]
        assert shown.num_examples == ROWS
        names = {"/".join(feature.path.step) or feature.name for feature in shown.features}
        assert names == set(features(ours.datasets[0]))


def test_results_do_not_depend_on_how_rows_are_cut(tmp_path):
    """Counts, extremes and exact values; means to rounding; whatever row groups and workers there are."""
    table = pa.Table.from_pandas(frame(7, 5000), preserve_index=False)
    found = []
    for size, workers in itertools.product((5000, 333), (1, 2)):
        path = tmp_path / f"{size}.parquet"
        pq.write_table(table, path, row_group_size=size)
        config = {"slices": [["country"]], "weight_feature": "weight"}
        result = compute_statistics(str(path), str(tmp_path / f"o{size}-{workers}"), config=config, workers=workers)
        found.append(read(result))
    assert found[0] == found[1] and found[2] == found[3]
    for one, other in zip(found[0].datasets, found[2].datasets):
        assert one.name == other.name
        assert_same(one, other)
