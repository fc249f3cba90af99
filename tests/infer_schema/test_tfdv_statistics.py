"""infer-schema on statistics that TFDV wrote, and TFX lays out: the schema is TFDV's own."""

from __future__ import annotations

import pathlib

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from headwater.components.common import tfdv_library as tfdv
from headwater.components.common.errors import HeadwaterError
from headwater.components.infer_schema import accept_schema, derive_schema
from headwater.components.validate import check_statistics

PIPELINE = pathlib.Path(__file__).resolve().parents[2] / "pipelines/examples/pipeline"
DAYS = [str(PIPELINE / "StatisticsGen/statistics" / run) for run in ("41", "42")]


def parse(result, name="schema.pbtxt"):
    return text_format.Parse(result.read(name).decode(), schema_pb2.Schema())


@pytest.mark.parametrize("inner", ["", "Split-train/FeatureStats.pb"])
def test_it_is_tfdvs_schema_of_the_first_split(tmp_path, inner):
    content = pathlib.Path(DAYS[0], "Split-train/FeatureStats.pb").read_bytes()
    try:
        proto = statistics_pb2.DatasetFeatureStatisticsList.FromString(content)
    except Exception:
        proto = text_format.Parse(content.decode(), statistics_pb2.DatasetFeatureStatisticsList())
    result = derive_schema(f"{DAYS[0]}/{inner}".rstrip("/"), str(tmp_path / "schema"))
    assert parse(result) == tfdv.infer_schema(proto, max_string_domain_size=100)
    assert result.body["inferred"] and result.body["limits"]["infer"] == "tfdv"
    [source, *_] = result.manifest["inputs"]["statistics"]["sources"]
    assert source["format"] == "tfdv" and source["uri"].endswith("FeatureStats.pb")
    assert check_statistics(DAYS[0], result.folder, str(tmp_path / "verdict")).body["blessed"]


def test_a_second_run_is_proposed_and_accepted(tmp_path):
    base = derive_schema(DAYS[0], str(tmp_path / "base"))
    made = derive_schema(DAYS[1], str(tmp_path / "made"), mode="propose", base_schema=base.folder)
    assert made.read("suggestions.json") == b"[]\n" and parse(made, "candidate.pbtxt") != parse(made)
    agreed = accept_schema(made.folder, reason="the second run is right")
    assert check_statistics(f"{DAYS[1]}/Split-train", agreed.folder, str(tmp_path / "verdict")).body["blessed"]


def test_what_is_no_statistics_is_said(tmp_path):
    (tmp_path / "FeatureStats.pb").write_bytes(b"no statistics")
    with pytest.raises(HeadwaterError, match="not a DatasetFeatureStatisticsList"):
        derive_schema(str(tmp_path), str(tmp_path / "schema"))
    with pytest.raises(HeadwaterError, match="no statistics are here"):
        derive_schema(str(tmp_path / "gone"), str(tmp_path / "schema"))
