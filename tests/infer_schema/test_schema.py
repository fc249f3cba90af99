from __future__ import annotations

import json

import pytest
from google.protobuf import text_format
from spans import orders, save_statistics
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tfdv import tfdv
from headwater.components.infer_schema import derive_schema
from headwater.components.infer_schema.diff import diff_schemas


def parse(result, name="schema.pbtxt"):
    return text_format.Parse(result.read(name).decode(), schema_pb2.Schema())


def feature(schema, name):
    return next(feature for feature in schema.feature if feature.name == name)


def test_without_a_base_the_schema_is_inferred_from_the_first_split_only(tmp_path):
    other = orders(2)
    other["kind"] = "toy"
    measured = save_statistics(tmp_path, {"train": orders(1), "eval": other})
    result = derive_schema(measured.folder, str(tmp_path / "schema"), infer="tfdv")
    proto = statistics_pb2.DatasetFeatureStatisticsList.FromString(measured.read("Split-train/FeatureStats.pb"))
    assert parse(result) == tfdv.infer_schema(proto)
    assert {key: result.body[key] for key in ("mode", "inferred", "base", "split")} == {
        "mode": "infer",
        "inferred": True,
        "base": None,
        "split": "train",
    }
    assert "toy" not in result.read("schema.pbtxt").decode()


def test_a_base_is_kept_byte_for_byte_and_never_widened(tmp_path):
    first = save_statistics(tmp_path, {"train": orders(1)}, span=1)
    base = derive_schema(first.folder, str(tmp_path / "s1"))
    wider = orders(2)
    wider.loc[:200, "kind"] = "toy"
    wider["new"] = 1
    second = save_statistics(tmp_path, {"train": wider}, span=2)
    result = derive_schema(second.folder, str(tmp_path / "s2"))
    assert result.read("schema.pbtxt") == base.read("schema.pbtxt")
    assert result.body["mode"] == "frozen"
    # Inferred it stays, whatever span comes, until somebody accepts it.
    assert result.body["inferred"] and result.body["inferred_on"] == 1 and result.body["accepted"] is None
    assert result.body["base"] == {
        "uri": f"{base.uri}/schema.pbtxt",
        "sha256": base.manifest["files"]["schema.pbtxt"]["sha256"],
    }


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_plain_schema_file_keeps_its_very_bytes(tmp_path, as_folder):
    measured = save_statistics(tmp_path, {"train": orders(1)})
    text = b"# agreed in March\nfeature { name: 'kind' type: BYTES }\n"
    (tmp_path / "agreed").mkdir()
    path = tmp_path / "agreed/schema.pbtxt"
    path.write_bytes(text)
    result = derive_schema(measured.folder, str(tmp_path / "s"), base_schema=str(path.parent if as_folder else path))
    assert result.read("schema.pbtxt") == text
    assert result.body["base"]["uri"] == str(path)


def test_a_proposal_stands_beside_the_agreed_schema_and_leaves_it_alone(tmp_path):
    first = save_statistics(tmp_path, {"train": orders(1)}, span=1)
    base = derive_schema(first.folder, str(tmp_path / "s1"))
    wider = orders(2)
    wider.loc[:200, "kind"] = "toy"
    wider = wider.assign(new=1).drop(columns=["quantity"])
    second = save_statistics(tmp_path, {"train": wider}, span=2)
    result = derive_schema(second.folder, str(tmp_path / "s2"), mode="propose")
    assert result.read("schema.pbtxt") == base.read("schema.pbtxt")
    candidate = parse(result, "candidate.pbtxt")
    proto = statistics_pb2.DatasetFeatureStatisticsList.FromString(second.read("Split-train/FeatureStats.pb"))
    assert "new" in {f.name for f in candidate.feature}
    assert not [
        info for info in tfdv.validate_statistics(proto, candidate).anomaly_info.values() if info.severity == info.ERROR
    ]
    changes = {(c["feature"], c["change"], c["field"]) for c in json.loads(result.read("diff.json"))}
    assert ("new", "added", "") in changes and ("kind", "widened", "string_domain.value") in changes


def test_a_diff_names_each_direction():
    before = text_format.Parse(
        'feature { name: "a" int_domain { min: 0 max: 9 } } feature { name: "b" presence { min_fraction: 0.5 } } '
        'feature { name: "gone" } feature { name: "d" domain: "d" } string_domain { name: "d" value: "x" value: "y" }',
        schema_pb2.Schema(),
    )
    after = text_format.Parse(
        'feature { name: "a" int_domain { min: -1 max: 5 } } feature { name: "b" presence { min_fraction: 1 } } '
        'feature { name: "new" } feature { name: "d" string_domain { name: "d" value: "x" } }',
        schema_pb2.Schema(),
    )
    assert [(c["feature"], c["change"], c["field"]) for c in diff_schemas(before, after)] == [
        ("a", "narrowed", "int_domain.max"),
        ("a", "widened", "int_domain.min"),
        ("b", "narrowed", "presence.min_fraction"),
        ("d", "narrowed", "string_domain.value"),
        ("gone", "removed", ""),
        ("new", "added", ""),
    ]
    assert diff_schemas(before, before) == []


def test_the_largest_domain_is_a_setting(tmp_path):
    measured = save_statistics(tmp_path, {"train": orders(1)})
    open_ended = derive_schema(measured.folder, str(tmp_path / "a"), max_string_domain_size=2)
    closed = derive_schema(measured.folder, str(tmp_path / "b"), max_string_domain_size=3)
    assert not parse(open_ended).string_domain or "kind" not in {d.name for d in parse(open_ended).string_domain}
    assert "kind" in {d.name for d in parse(closed).string_domain}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "merge"}, "mode: 'merge' is not one of auto, infer, frozen, propose"),
        ({"mode": "frozen"}, "mode frozen needs a base_schema"),
        ({"mode": "infer", "base_schema": "latest"}, "mode infer takes no base"),
        ({"base_schema": "latest"}, "'latest' does not exist"),
        ({"base_schema": "span:9"}, "'span:9' does not exist"),
        ({"base_schema": "/nowhere/schema.pbtxt"}, "neither a schema file nor a folder"),
        ({"max_string_domain_size": -1}, "max_string_domain_size: must be 0 or more"),
        ({"infer": "tfx"}, "infer: 'tfx' is not one of headwater, tfdv"),
        ({"curation": {"feature": {}}}, "curation.feature: there is no such setting; did you mean 'features'"),
        (
            {"curation": {"features": {"kind": {"colour": 1}}}},
            "curation.features.kind.colour: there is no such setting; the settings are type, domain",
        ),
        (
            {"curation": {"features": {"kind": {"drift_threshold": "a"}}}},
            r"curation.features.kind.drift_threshold: .*'a'",
        ),
        ({"curation": {"features": {"kind": {"drift_threshold": 0}}}}, "greater than 0"),
        (
            {"curation": {"features": {"nothing": {}}}},
            "curation.features.nothing: the schema has no feature 'nothing'; it has",
        ),
        ({"curation": {"features": {"kind": {"min": 1}}}}, "the feature is not numeric; text takes domain"),
        (
            {"curation": {"features": {"amount": {"domain": ["a"]}}}},
            "the feature is not text; numbers take min and max",
        ),
        ({"curation": {"features": {"amount": {"min": 2, "max": 1}}}}, "min 2.0 is above max 1.0"),
        ({"curation": {"features": {"quantity": {"min": 0.5}}}}, "0.5 is not an integer"),
        ({"curation": []}, "curation: input should be a valid dictionary"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, settings, message):
    measured = save_statistics(tmp_path, {"train": orders(1)}, span=1)
    with pytest.raises(HeadwaterError, match=message):
        derive_schema(measured.folder, str(tmp_path / "s"), **settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"feature {\n  name: 5\n}", "schema.pbtxt: not a schema: line 2, column"), (b"\xff\xfe", "not UTF-8 text")],
)
def test_a_schema_that_does_not_parse_is_told_with_its_place(tmp_path, content, message):
    measured = save_statistics(tmp_path, {"train": orders(1)})
    (tmp_path / "schema.pbtxt").write_bytes(content)
    with pytest.raises(HeadwaterError, match=message):
        derive_schema(measured.folder, str(tmp_path / "s"), base_schema=str(tmp_path / "schema.pbtxt"))


def test_a_first_split_without_rows_gives_no_schema(tmp_path):
    measured = save_statistics(tmp_path, {"train": orders(1, rows=0)})
    with pytest.raises(HeadwaterError, match="the first split, 'train', has no rows"):
        derive_schema(measured.folder, str(tmp_path / "s"))
