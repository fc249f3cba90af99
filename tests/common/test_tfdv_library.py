"""TFDV's library, called directly, beside TFDV."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common import tfdv_library
from headwater.components.common.tfdv import tfdv


def frame(seed: int, rows: int = 300) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "number": chance.normal(seed, 1, rows),
            "count": chance.integers(0, 9, rows),
            "kind": chance.choice(["a", "b", f"c{seed}"], rows),
            "free": [f"t{seed}-{n}" for n in range(rows)],
            "flag": chance.integers(0, 2, rows),
            "gappy": np.where(chance.random(rows) < 0.3, np.nan, 1.5),
        }
    )


@pytest.fixture(scope="module")
def both():
    return [tfdv.generate_statistics_from_dataframe(frame(seed)) for seed in (1, 4)]


def test_schemas_are_tfdvs_own(both):
    first, second = both
    for size in (0, 2, 100):
        assert tfdv_library.infer_schema(first, size) == tfdv.infer_schema(first, max_string_domain_size=size)
    schema = tfdv.infer_schema(first)
    assert tfdv_library.update_schema(schema, second) == tfdv.update_schema(schema, second)
    assert tfdv_library.update_schema(schema, second, 1) == tfdv.update_schema(schema, second, max_string_domain_size=1)


def test_verdicts_are_tfdvs_own(both):
    first, second = both
    schema = tfdv.infer_schema(first)
    schema.default_environment.extend(["TRAINING", "SERVING"])
    tfdv.get_feature(schema, "flag").not_in_environment.append("SERVING")
    tfdv.get_feature(schema, "number").drift_comparator.jensen_shannon_divergence.threshold = 0.1
    tfdv.get_feature(schema, "kind").skew_comparator.infinity_norm.threshold = 0.01
    for given in (
        {},
        {"environment": "SERVING"},
        {"previous_statistics": first},
        {"serving_statistics": first},
        {"environment": "TRAINING", "previous_statistics": first, "serving_statistics": first},
    ):
        ours = tfdv_library.validate_statistics(second, schema, **given)
        assert ours == tfdv.validate_statistics(second, schema, **given)
        assert ours.anomaly_info
    with pytest.raises(ValueError, match="nowhere"):
        tfdv_library.validate_statistics(second, schema, environment="nowhere")


def test_what_has_no_values_is_left_out_and_the_argument_stays(both):
    statistics = type(both[0]).FromString(both[0].SerializeToString())
    statistics.datasets[0].features.add().path.step.append("sparse")
    before = statistics.SerializeToString()
    schema = tfdv_library.infer_schema(statistics)
    assert statistics.SerializeToString() == before
    assert schema == tfdv.infer_schema(statistics)


def test_of_several_slices_that_of_all_examples_counts(both):
    statistics = type(both[0]).FromString(both[0].SerializeToString())
    statistics.datasets[0].name = "kind_a"
    with pytest.raises(ValueError, match="none of the 2 slices"):
        tfdv_library.infer_schema(type(statistics)(datasets=[*statistics.datasets, *statistics.datasets]))
    several = type(statistics)(datasets=[statistics.datasets[0], both[1].datasets[0]])
    several.datasets[1].name = "All Examples"
    assert tfdv_library.infer_schema(several) == tfdv.infer_schema(several)


ALONE = """
import sys
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from headwater.components.common import tfdv_library

statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(open(sys.argv[1], "rb").read())
schema = tfdv_library.infer_schema(statistics)
assert not {"tensorflow", "tensorflow_data_validation", "apache_beam"} & set(sys.modules)
sys.stdout.buffer.write(schema.SerializeToString())
if sys.argv[2] == "also":
    from headwater.components.common.tfdv import tfdv

    assert tfdv.infer_schema(statistics) == schema == tfdv_library.infer_schema(statistics)
"""


def test_it_needs_no_tensorflow(both, tmp_path):
    path = tmp_path / "FeatureStats.pb"
    path.write_bytes(both[0].SerializeToString())
    expected = tfdv.infer_schema(both[0])
    done = subprocess.run([sys.executable, "-c", ALONE, path, "only"], capture_output=True)
    assert not done.stderr and schema_pb2.Schema.FromString(done.stdout) == expected


@pytest.mark.slow
def test_tfdv_can_come_later(both, tmp_path):
    path = tmp_path / "FeatureStats.pb"
    path.write_bytes(both[0].SerializeToString())
    done = subprocess.run([sys.executable, "-c", ALONE, path, "also"], capture_output=True)
    assert done.returncode == 0, done.stderr


def test_another_tfdv_is_imported_as_a_whole(both, monkeypatch):
    monkeypatch.setattr(tfdv_library, "_function", lambda name: None)
    schema = tfdv_library.infer_schema(both[0])
    assert schema == tfdv.infer_schema(both[0])
    assert tfdv_library.update_schema(schema, both[1]) == tfdv.update_schema(schema, both[1])
    assert tfdv_library.validate_statistics(both[1], schema) == tfdv.validate_statistics(both[1], schema)
