"""Every key of a curation, by what TFDV or validate then say of the same data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from spans import save_statistics
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.infer_schema.curation import (
    check_curation,
    from_project,
)
from headwater.components.infer_schema.schema_changes import apply_curation
from headwater.components.validate import check_statistics


def frame(seed=1, rows=1000):
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": chance.integers(18, 80, rows),
            "code": chance.integers(0, 5, rows),
            "fare": np.where(chance.random(rows) < 0.1, 0.0, chance.gamma(3, 4, rows)),
            "kind": chance.choice(["book", "film", "game"], rows),
            "country": np.where(chance.random(rows) < 0.2, None, chance.choice(["at", "de"], rows)),
            "email": [f"p{n}@example.org" for n in range(rows)],
        }
    )


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    """Two spans of unchanged data, and the schema of the first."""
    folder = tmp_path_factory.mktemp("curation")
    first, second = (save_statistics(folder, {"train": frame(seed)}, span=seed) for seed in (1, 2))
    return folder, first, second, derive_schema(first.folder, str(folder / "schema"))


def judge(spans, curation, **settings):
    folder, _, second, agreed = spans
    number = len(list(folder.iterdir()))
    schema = derive_schema(second.folder, str(folder / f"c{number}"), curation=curation, base_schema=agreed.folder)
    verdict = check_statistics(second.folder, schema.folder, str(folder / f"v{number}"), **settings)
    agreed = text_format.Parse(schema.read("schema.pbtxt").decode(), schema_pb2.Schema())
    return {(f["feature"], f["kind"]) for f in verdict.body["findings"] if f["severity"] == "error"}, agreed, verdict


def test_without_a_curation_nothing_is_found(spans):
    assert judge(spans, {})[0] == set()


@pytest.mark.sweep(5)
@pytest.mark.parametrize(
    ("feature", "changes", "kind"),
    [
        ("kind", {"type": "int"}, "UNEXPECTED_DATA_TYPE"),
        ("kind", {"domain": ["book", "film"]}, "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
        ("age", {"min": 30}, "INT_TYPE_SMALL_INT"),
        ("age", {"max": 60}, "INT_TYPE_BIG_INT"),
        ("fare", {"min": 1.5}, "FLOAT_TYPE_SMALL_FLOAT"),
        ("fare", {"max": 10}, "FLOAT_TYPE_BIG_FLOAT"),
        ("country", {"required": True}, "FEATURE_TYPE_LOW_FRACTION_PRESENT"),
        ("country", {"min_fraction": 0.9}, "FEATURE_TYPE_LOW_FRACTION_PRESENT"),
        ("country", {"min_count": 990}, "FEATURE_TYPE_LOW_NUMBER_PRESENT"),
        ("age", {"min_values": 2}, "FEATURE_TYPE_LOW_NUMBER_VALUES"),
        ("age", {"min_values": 0, "max_values": 0}, "FEATURE_TYPE_HIGH_NUMBER_VALUES"),
        ("kind", {"unique_min": 4}, "FEATURE_TYPE_LOW_UNIQUE"),
        ("kind", {"unique_max": 2}, "FEATURE_TYPE_HIGH_UNIQUE"),
        ("kind", {"drift_threshold": 1e-6}, "DRIFT"),
        ("age", {"drift_threshold": 1e-6}, "DRIFT"),
        ("kind", {"drift_threshold": {"jensen_shannon": 1e-9}}, "DRIFT"),
        ("kind", {"drift_threshold": {"normalized_abs_difference": 1e-9}}, "DRIFT"),
        ("fare", {"zero_means_missing": True}, "ZEROS_MISSING"),
    ],
)
def test_a_key_of_a_feature_changes_the_verdict(spans, feature, changes, kind):
    found, _, _ = judge(spans, {"features": {feature: changes}})
    assert (feature, kind) in found


def test_keys_that_let_more_through(spans):
    narrow = {"kind": {"domain": ["book", "film"]}}
    assert judge(spans, {"features": narrow})[0]
    for more in ({"min_domain_mass": 0.5}, {"deprecated": True}):
        assert judge(spans, {"features": {"kind": {**narrow["kind"], **more}}})[0] == set()
    assert judge(spans, {"features": {"fare": {"zero_means_missing": True, "min_fraction": 0.5}}})[0] == set()
    assert judge(spans, {"features": {"fare": {"zero_means_missing": False}}})[0] == set()


def test_environments(spans):
    curation = {
        "environments": ["TRAINING", "SERVING"],
        "features": {"kind": {"domain": ["book"], "not_in_environment": ["SERVING"]}},
    }
    assert ("kind", "ENUM_TYPE_UNEXPECTED_STRING_VALUES") in judge(spans, curation, environment="TRAINING")[0]
    assert judge(spans, curation, environment="SERVING")[1].default_environment == ["TRAINING", "SERVING"]
    folder, first, _, _ = spans
    missing = save_statistics(folder, {"train": frame(5).drop(columns=["kind"])})
    schema = derive_schema(first.folder, str(folder / "env"), curation=curation)
    for environment, found in (("SERVING", set()), ("TRAINING", {("kind", "SCHEMA_MISSING_COLUMN")})):
        verdict = check_statistics(
            missing.folder, schema.folder, str(folder / f"env-{environment}"), environment=environment, baseline="none"
        )
        assert {(f["feature"], f["kind"]) for f in verdict.body["findings"]} == found
    only = {
        "environments": ["TRAINING"],
        "other_environments": ["EXTRA"],
        "features": {"kind": {"in_environment": ["EXTRA"]}},
    }
    assert tfdv.get_feature(judge(spans, only)[1], "kind").in_environment == ["EXTRA"]


@pytest.mark.parametrize(
    ("curation", "kind"),
    [
        ({"min_examples": 2000}, "DATASET_LOW_NUM_EXAMPLES"),
        ({"max_examples": 500}, "DATASET_HIGH_NUM_EXAMPLES"),
        ({"growth": {"min": 1.5}}, "COMPARATOR_LOW_NUM_EXAMPLES"),
        ({"growth": {"max": 0.5}}, "COMPARATOR_HIGH_NUM_EXAMPLES"),
        ({"remove": ["kind"]}, "SCHEMA_NEW_COLUMN"),
    ],
)
def test_a_key_of_the_dataset_changes_the_verdict(spans, curation, kind):
    assert kind in {found for _, found in judge(spans, curation)[0]}


def test_weights_and_kinds_of_values_are_in_the_schema(spans):
    curation = {
        "weights": {"paid": {"feature": "kind", "weight": "fare"}},
        "features": {"kind": {"natural_language": True}, "code": {"categorical": True}},
    }
    _, agreed, _ = judge(spans, curation)
    assert agreed.weighted_feature[0].weight_feature.step == ["fare"]
    assert tfdv.get_feature(agreed, "kind").WhichOneof("domain_info") == "natural_language_domain"
    assert tfdv.get_feature(agreed, "code").int_domain.is_categorical
    with pytest.raises(
        HeadwaterError, match=r"curation.weights.paid.weight: .* no feature 'fair'; did you mean 'fare'"
    ):
        judge(spans, {"weights": {"paid": {"feature": "kind", "weight": "fair"}}})


def test_skew_thresholds(spans):
    folder, first, second, _ = spans
    for number, (threshold, found) in enumerate(((1e-6, True), (0.9, False))):
        schema = derive_schema(
            first.folder, str(folder / f"skew{number}"), curation={"features": {"kind": {"skew_threshold": threshold}}}
        )
        verdict = check_statistics(
            first.folder,
            schema.folder,
            str(folder / f"skewed{number}"),
            config={"serving": {"statistics": second.folder}},
        )
        assert (
            ("kind", "SKEW", "error") in {(f["feature"], f["kind"], f["severity"]) for f in verdict.body["findings"]}
        ) == found
        [measure] = [m for m in verdict.body["measures"] if m["set_by"] == "schema"]
        assert (measure["against"], measure["threshold"]) == ("SKEW", threshold)


def test_private_features_show_no_value(spans, tmp_path):
    other = frame(7)
    other["email"] = [f"q{n % 3}@example.net" for n in range(1000)]
    folder, first, _, _ = spans
    changed = save_statistics(folder, {"train": other}, span=7)
    curation = {"features": {"email": {"domain": ["x@example.org"]}}}
    for number, private in enumerate((False, True)):
        curation["features"]["email"]["private"] = private
        schema = derive_schema(first.folder, str(tmp_path / f"s{number}"), curation=curation)
        verdict = check_statistics(changed.folder, schema.folder, str(tmp_path / f"v{number}"), baseline=first.folder)
        assert ("email", "ENUM_TYPE_UNEXPECTED_STRING_VALUES") in {
            (f["feature"], f["kind"]) for f in verdict.body["findings"]
        }
        text = json.dumps(verdict.body) + verdict.read("page.html").decode()
        assert ("@example.net" in text) == (not private)
    # Statistics that are steered by the schema hide them too.
    pq.write_table(pa.Table.from_pandas(other), tmp_path / "t.parquet")
    steered = compute_statistics(str(tmp_path / "t.parquet"), str(tmp_path / "out"), config={"schema": schema.folder})
    assert "email" in steered.body["private"] and b"@example" not in steered.read("Split-all/FeatureStats.pb")


@pytest.mark.parametrize(
    ("curation", "message"),
    [
        ({"features": {"kidn": {"domain": ["a"]}}}, "no feature 'kidn'; did you mean 'kind'"),
        ({"features": {"age": {"domain": ["a"]}}}, r"curation.features.age.domain: the feature is not text"),
        ({"features": {"kind": {"min": 1}}}, "the feature is not numeric; text takes domain"),
        ({"features": {"age": {"min": 1.5}}}, "the feature is INT, but 1.5 is not an integer"),
        ({"features": {"age": {"min": 5, "max": 3}}}, "min 5.0 is above max 3.0"),
        ({"features": {"age": {"min_values": 5, "max_values": 3}}}, "min_values 5 is above max_values 3"),
        ({"features": {"age": {"required": True, "min_fraction": 0.5}}}, "a required feature must be in every row"),
        ({"features": {"age": {"natural_language": True}}}, "the feature must be text"),
        ({"features": {"kind": {"categorical": True}}}, "the feature must be an integer"),
        ({"features": {"kind": {"zero_means_missing": True}}}, "the feature must be numeric"),
        ({"features": {"fare": {"drift_threshold": {"l_infinity": 0.1}}}}, "the feature is FLOAT"),
        ({"features": {"age": {"drift_threshold": 2}}}, "drift_threshold"),
        ({"features": {"age": {"drift_threshold": {}}}}, "name a measure"),
        ({"features": {"kind": {"not_in_environment": ["X"]}}}, "the schema has no environment 'X'; it has none"),
        (
            {"environments": ["TRAINING"], "features": {"kind": {"in_environment": ["TRAINNG"]}}},
            "in_environment: the schema has no environment 'TRAINNG'; it has TRAINING",
        ),
        ({"features": {"age": {"drift_threshold": {"l_infinity": 0.1}}}}, "the feature is INT"),
        ({"remove": ["nothing"]}, "curation.remove: the schema has no feature"),
        ({"growth": {"min": -1}}, "curation.growth.min"),
        ({"featurs": {}}, "curation.featurs: there is no such setting; did you mean 'features'"),
    ],
)
def test_what_is_wrong_is_told(spans, curation, message):
    with pytest.raises(HeadwaterError, match=message):
        judge(spans, curation)


def test_a_file_is_read_with_its_lines(tmp_path):
    from headwater.pipelines.project.loading import load

    path = tmp_path / "headwater.yaml"

    def read(text: str) -> dict:
        path.write_text(text)
        project = load(str(path))
        project.check()
        return from_project(project.settings)["curation"]

    text = "schema:\n  features:\n    age:\n      min: 0\n    kind:\n      domain: [a, b]\n      coulour: red\n"
    with pytest.raises(HeadwaterError, match=r"headwater.yaml, line 7: schema.features.kind.coulour: there is no such"):
        read(text)
    with pytest.raises(HeadwaterError, match="headwater.yaml, line 4: .*drift_threshold"):
        read("schema:\n  features:\n    age:\n      drift_threshold: 7\n")
    with pytest.raises(HeadwaterError, match="is not valid YAML"):
        read("schema: [unclosed\n")
    with pytest.raises(HeadwaterError, match="schema: must be a mapping"):
        read("schema: [a]\n")
    assert read("schema:\n  features:\n    age: {min: 0}\n") == {"features": {"age": {"min": 0}}}
    assert read('{"schema": {"features": {"age": {"min": 1}}}}') == {"features": {"age": {"min": 1}}}


def test_a_curation_through_kfp_is_the_same():
    """KFP knows no whole numbers."""
    schema = schema_pb2.Schema()
    schema.feature.add(name="age", type=schema_pb2.INT)
    apply_curation(schema, check_curation({"features": {"age": {"min": 3.0, "min_count": 2.0}}, "min_examples": 5.0}))
    assert schema.feature[0].int_domain.min == 3 and schema.dataset_constraints.min_examples_count == 5
