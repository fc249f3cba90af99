from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from google.protobuf import text_format
from spans import orders, save_statistics
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from headwater.components.common import distributions
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.state.state_file import encode
from headwater.components.infer_schema import accept_span, derive_schema
from headwater.components.validate import check_statistics, enforce
from headwater.components.validate.drift import compare


class Spans:
    """Runs spans one after the other, as the pipeline does."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0

    def run(self, frames, schema=None, **settings):
        self.number += 1
        frames = frames if isinstance(frames, dict) else {"train": frames}
        self.statistics = save_statistics(self.folder, frames, span=self.number)
        self.schema = derive_schema(
            self.statistics.folder, str(self.folder / f"schema-{self.number}"), **(schema or {})
        )
        output = self.folder / f"anomalies-{self.number}"
        return check_statistics(self.statistics.folder, self.schema.folder, str(output), **settings)

    def accept(self):
        accept_span(str(self.folder / "root"), "orders", reason="as agreed")


@pytest.fixture
def spans(tmp_path):
    return Spans(tmp_path)


def found(result):
    return {(f["split"], f["feature"], f["kind"], f["severity"]) for f in result.body["findings"]}


def spoilt():
    frame = orders(2)
    frame["quantity"] = frame["quantity"].astype(str) + " pcs"
    frame.loc[::10, "kind"] = "gift"
    frame["amount"] += 3
    return frame.drop(columns=["country"])


def test_the_first_span_has_no_baseline_and_is_blessed(spans):
    result = spans.run(orders(1))
    assert result.body["blessed"] and result.body["baseline"] is None and result.body["measures"] == []
    assert "First run: nothing to compare with yet" in result.body["verdict"]


def test_unchanged_data_is_blessed(spans):
    spans.run(orders(1))
    result = spans.run(orders(2))
    assert result.body["blessed"] and result.body["findings"] == []
    assert {m["feature"] for m in result.body["measures"]} == {"amount", "quantity", "kind", "country"}
    # Every distance is told, with what chance gives.
    of_numbers = {"L-infinity", "Jensen-Shannon", "PSI", "Kolmogorov-Smirnov", "Wasserstein"}
    assert {m["measure"] for m in result.body["measures"] if m["feature"] == "amount"} == of_numbers
    assert len([m for m in result.body["measures"] if m["feature"] == "kind"]) == 3
    assert not any(change["alarm"] for change in result.body["changes"])


def test_a_type_change_a_new_category_a_missing_column_and_a_shifted_number_are_found(spans):
    spans.run(orders(1))
    spans.accept()
    result = spans.run(spoilt())
    assert not result.body["blessed"]
    kinds = found(result)
    assert ("train", "kind", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "error") in kinds
    assert ("train", "country", "SCHEMA_MISSING_COLUMN", "error") in kinds
    assert ("train", "amount", "DRIFT", "warning") in kinds
    assert any(feature == "quantity" and severity == "error" for _, feature, _, severity in kinds)
    [quantity] = [f for f in result.body["findings"] if f["feature"] == "quantity"]
    # What has one cause is one finding.
    assert [each["kind"] for each in quantity["members"]] == ["COMPARISON_IMPOSSIBLE"]
    [message] = [f["message"] for f in result.body["findings"] if f["feature"] == "kind" and f["severity"] == "error"]
    assert "gift" in message


def test_each_split_is_compared_with_its_own(spans):
    shifted = orders(3)
    shifted["amount"] += 3
    spans.run({"train": orders(1), "eval": orders(2)})
    result = spans.run({"train": orders(4), "eval": shifted})
    assert found(result) == {("eval", "amount", "DRIFT", "warning")}


def test_the_anomalies_are_those_of_tfdvs_own_call(spans):
    spans.run(orders(1))
    result = spans.run(spoilt())
    schema = text_format.Parse(spans.schema.read("schema.pbtxt").decode(), schema_pb2.Schema())
    statistics = statistics_pb2.DatasetFeatureStatisticsList.FromString(
        spans.statistics.read("Split-train/FeatureStats.pb")
    )
    expected = tfdv.validate_statistics(statistics, schema)
    ours = anomalies_pb2.Anomalies.FromString(result.read("Split-train/SchemaDiff.pb"))

    def reasons(anomalies):
        drift = {
            anomalies_pb2.AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
            anomalies_pb2.AnomalyInfo.COMPARATOR_L_INFTY_HIGH,
        }
        return {
            (name, r.type, r.description)
            for name, info in anomalies.anomaly_info.items()
            for r in info.reason
            if r.type not in drift
        }

    assert reasons(ours) == reasons(expected)
    assert result.files() == ["Split-train/SchemaDiff.pb", "page.html"]


def test_many_features_have_the_anomalies_of_one_call(spans):
    """TFDV is called for a hundred features at a time."""
    chance = np.random.default_rng(1)
    frame = pd.DataFrame({f"f{n:03}": chance.choice(["a", "b", "c"], 60) for n in range(250)})
    curation = {"features": {f"f{n:03}": {"drift_threshold": 0.1} for n in range(0, 250, 20)}}
    spans.run(frame, schema={"curation": curation})
    first = spans.statistics
    other = frame.sample(frac=1, random_state=3, ignore_index=True).drop(columns=["f017", "f181"])
    other["new"] = 1.0
    for n in range(0, 250, 40):
        other[f"f{n:03}"] = "d"
    result = spans.run(other)
    schema = text_format.Parse(spans.schema.read("schema.pbtxt").decode(), schema_pb2.Schema())

    def read(result):
        return statistics_pb2.DatasetFeatureStatisticsList.FromString(result.read("Split-train/FeatureStats.pb"))

    expected = tfdv.validate_statistics(read(spans.statistics), schema, previous_statistics=read(first))
    ours = anomalies_pb2.Anomalies.FromString(result.read("Split-train/SchemaDiff.pb"))
    assert {name: ours.anomaly_info[name] for name in ours.anomaly_info} == {
        name: expected.anomaly_info[name] for name in expected.anomaly_info
    }
    assert len(ours.anomaly_info) >= 10 and "new" in ours.anomaly_info and "f181" in ours.anomaly_info
    key = lambda info: list(info.path.step)  # noqa: E731
    assert sorted(ours.drift_skew_info, key=key) == sorted(expected.drift_skew_info, key=key)
    assert ours.baseline == expected.baseline


def test_agreed_distances_are_those_of_tfdv(spans):
    curation = {"features": {"kind": {"drift_threshold": 0.05}, "amount": {"drift_threshold": 0.1}}}
    first = spans.run(orders(1), schema={"curation": curation}) and spans.statistics
    result = spans.run(spoilt())
    schema = text_format.Parse(spans.schema.read("schema.pbtxt").decode(), schema_pb2.Schema())

    def read(result):
        return statistics_pb2.DatasetFeatureStatisticsList.FromString(result.read("Split-train/FeatureStats.pb"))

    expected = tfdv.validate_statistics(read(spans.statistics), schema, previous_statistics=read(first))
    theirs = {info.path.step[0]: info.drift_measurements[0].value for info in expected.drift_skew_info}
    ours = {m["feature"]: m["value"] for m in result.body["measures"] if m["set_by"] == "schema"}
    assert ours == theirs and set(ours) == {"kind", "amount"}
    # Of text, our own L-infinity is TFDV's, which knows of no missing values.
    [own] = [
        m["value"] for m in result.body["measures"]
        if (m["feature"], m["measure"], m["set_by"]) == ("kind", "L-infinity", "")
    ]  # fmt: skip
    assert own == pytest.approx(theirs["kind"])


def test_what_was_agreed_is_an_error_and_what_was_guessed_a_warning(spans):
    other = orders(2)
    other.loc[::10, "kind"] = "gift"
    first = spans.run({"train": orders(1), "eval": other})
    assert ("eval", "kind", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "warning") in found(first) and first.body["blessed"]
    inferred = spans.schema
    # Nobody has accepted it, so it is still a guess on the next day.
    second = spans.run({"train": orders(3), "eval": other})
    assert ("eval", "kind", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "warning") in found(second) and second.body["blessed"]
    assert second.body["verdict"].endswith("The schema was inferred on span 1, not accepted yet")
    assert second.body["schema"]["inferred"] and second.body["schema"]["inferred_on"] == 1
    third = spans.run({"train": orders(4), "eval": other}, schema={"base_schema": inferred.folder})
    assert ("eval", "kind", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "error") in found(third)
    assert third.body["schema"]["accepted"] == {"how": "base_schema"} and not third.body["schema"]["inferred"]


def test_drift_beyond_an_agreed_threshold_is_an_error(spans):
    shifted = orders(2)
    shifted["amount"] += 3
    curation = {"features": {"amount": {"drift_threshold": 0.2}}}
    spans.run(orders(1), schema={"curation": curation})
    result = spans.run(shifted)
    assert ("train", "amount", "DRIFT", "error") in found(result) and not result.body["blessed"]
    [measure] = [m for m in result.body["measures"] if m["feature"] == "amount" and m["set_by"]]
    assert (measure["threshold"], measure["set_by"]) == (0.2, "schema")
    assert len([f for f in result.body["findings"] if f["feature"] == "amount" and f["kind"] == "DRIFT"]) == 1


@pytest.mark.sweep(5)
@pytest.mark.parametrize(
    ("changes", "feature", "kind"),
    [
        ({"kind": {"domain": ["book", "film"]}}, "kind", "ENUM_TYPE_UNEXPECTED_STRING_VALUES"),
        ({"quantity": {"max": 4}}, "quantity", "INT_TYPE_BIG_INT"),
        ({"quantity": {"min": 2}}, "quantity", "INT_TYPE_SMALL_INT"),
        ({"amount": {"max": 10.5}}, "amount", "FLOAT_TYPE_BIG_FLOAT"),
        ({"country": {"min_fraction": 0.9}}, "country", "FEATURE_TYPE_LOW_FRACTION_PRESENT"),
        ({"kind": {"drift_threshold": 1e-6}}, "kind", "DRIFT"),
    ],
)
def test_every_key_of_a_curation_changes_the_verdict(spans, changes, feature, kind):
    spans.run(orders(1))
    assert spans.run(orders(2)).body["blessed"]
    result = spans.run(orders(3), schema={"curation": {"features": changes}})
    assert (feature, kind) in {(f["feature"], f["kind"]) for f in result.body["findings"]}
    assert not result.body["blessed"]


def test_a_lower_share_of_values_can_be_agreed(spans):
    gaps = orders(2)
    gaps.loc[::4, "kind"] = None
    spans.run(orders(1))
    spans.accept()
    assert "kind" in {f["feature"] for f in spans.run(gaps).body["findings"] if f["severity"] == "error"}
    gaps = gaps.sample(frac=1, random_state=1, ignore_index=True)
    result = spans.run(gaps, schema={"curation": {"features": {"kind": {"min_fraction": 0.5}}}}, baseline="none")
    assert "kind" not in {f["feature"] for f in result.body["findings"]}


@pytest.mark.parametrize(("setting", "feature"), [("numeric", "amount"), ("categorical", "kind")])
def test_fixed_thresholds_are_settings(spans, setting, feature):
    spans.run(orders(1))
    assert spans.run(orders(2)).body["findings"] == []
    result = spans.run(orders(3), config={"drift": {setting: 0.0}})
    assert ("train", feature, "DRIFT", "warning") in found(result) and result.body["blessed"]
    [message] = [f["message"] for f in result.body["findings"] if f["feature"] == feature]
    assert message.endswith(", threshold 0, set in drift")


def test_an_environment_leaves_out_what_it_does_not_expect(spans, tmp_path):
    spans.run(orders(1))
    schema = text_format.Parse(spans.schema.read("schema.pbtxt").decode(), schema_pb2.Schema())
    schema.default_environment.extend(["TRAINING", "SERVING"])
    tfdv.get_feature(schema, "kind").not_in_environment.append("SERVING")
    (tmp_path / "agreed.pbtxt").write_text(text_format.MessageToString(schema))
    base = {"base_schema": str(tmp_path / "agreed.pbtxt")}
    frame = orders(2).drop(columns=["kind"])
    assert not spans.run(frame, schema=base, environment="TRAINING").body["blessed"]
    assert spans.run(frame.sample(frac=1, random_state=1, ignore_index=True), schema=base, environment="SERVING").body[
        "blessed"
    ]
    with pytest.raises(HeadwaterError, match="no environment 'TEST'; it has TRAINING, SERVING"):
        spans.run(frame.sample(frac=1, random_state=2, ignore_index=True), schema=base, environment="TEST")


def test_a_baseline_is_found_named_or_left_out(spans):
    spans.run(orders(1))
    first = spans.statistics
    spans.run(orders(2))
    assert spans.run(orders(3), baseline="span:1").body["baseline"]["uri"] == first.uri
    assert spans.run(orders(4), baseline=first.uri).body["baseline"] == first.reference()
    assert spans.run(orders(5), baseline="none").body["baseline"] is None
    with pytest.raises(HeadwaterError, match="'span:9' does not exist"):
        spans.run(orders(6), baseline="span:9")


def test_what_cannot_be_compared_is_said(spans):
    many = orders(1).assign(code=[f"c{n}" for n in range(1000)])
    spans.run({"train": many})
    wide = orders(2, rows=3000).assign(code=[f"c{n}" for n in range(3000)])
    wide["country"] = None
    wide["country"] = wide["country"].astype(object)
    result = spans.run({"train": wide, "eval": orders(3)})
    told = [one for f in result.body["findings"] for one in (f, *f["members"])]
    reasons = {f["feature"]: f["message"] for f in told if f["kind"] == "COMPARISON_IMPOSSIBLE"}
    assert reasons["country"] == "it has no values in this span"
    assert ("eval", "", "COMPARISON_IMPOSSIBLE", "warning") in found(result)


def test_times_have_no_default_threshold(tmp_path):
    from headwater.components.collect import collect_dataset
    from headwater.components.generate_statistics import compute_statistics

    for span, day in ((1, "2013-01-01"), (2, "2014-06-01")):
        path = tmp_path / f"{span}.csv"
        path.write_text("x,at\n" + "".join(f"{n % 9},{day}T{n % 24:02d}:00:00Z\n" for n in range(500)))
        data = collect_dataset(str(path), str(tmp_path / f"d{span}"), data_root=str(tmp_path / "root"), workers=1)
        measured = compute_statistics(data.folder, str(tmp_path / f"s{span}"), workers=1)
        schema = derive_schema(measured.folder, str(tmp_path / f"c{span}"))
        result = check_statistics(measured.folder, schema.folder, str(tmp_path / f"a{span}"))
    assert {c["feature"]: c["note"] for c in result.body["changes"] if c["split"] == "train"} == {
        "at": "it holds times, which advance from span to span",
        "x": "",
    }
    assert result.body["blessed"] and "at" not in {f["feature"] for f in result.body["findings"]}


def test_a_time_is_known_as_one_inside_a_dictionary_too():
    def measured(first):
        moments = pa.array([first + n for n in range(50)], pa.timestamp("s")).dictionary_encode()
        batch = pa.RecordBatch.from_arrays([moments, pa.array(range(50))], ["at", "x"])
        return distributions.read(encode(measure(batch, Plan(schema=batch.schema))))

    at, x = compare("train", measured(1_000), measured(2_000_000), "the earlier span")
    assert (at.feature, at.change, at.note) == ("at", None, "it holds times, which advance from span to span")
    assert x.change.effect == 0 and not x.note


@pytest.mark.parametrize("side", [1, 2])
def test_a_split_without_rows_on_either_side_is_a_finding(spans, side):
    frames = [{"train": orders(1), "eval": orders(2, rows=0 if side == number else 100)} for number in (1, 2)]
    spans.run(frames[0])
    frames[1]["train"] = orders(5)
    result = spans.run(frames[1])
    assert ("eval", "", "COMPARISON_IMPOSSIBLE", "warning") in found(result)
    assert (("eval", "", "EMPTY_SPLIT", "warning") in found(result)) == (side == 2)


def test_no_features_in_common_is_an_error(spans):
    spans.run(orders(1))
    spans.accept()
    result = spans.run(orders(2).rename(columns=lambda name: f"new_{name}"))
    assert not result.body["blessed"]
    assert {"kind", "new_kind"} <= {f["feature"] for f in result.body["findings"]}


def test_infinities_and_not_a_number_do_not_break_it(spans):
    frame = orders(1)
    spans.run(frame)
    frame = orders(2)
    frame.loc[:10, "amount"] = np.inf
    frame.loc[10:20, "amount"] = -np.inf
    spans.run(frame)


@pytest.mark.parametrize(("fail_on", "stops"), [("error", False), ("warning", True), ("none", False)])
def test_a_gate_stops_from_where_it_is_told(spans, fail_on, stops):
    spans.run(orders(1))
    shifted = orders(2)
    shifted["amount"] += 3
    result = spans.run(shifted)
    if stops:
        with pytest.raises(HeadwaterError, match="warning: train/amount: .* 5 % → .* of rows since span 1"):
            enforce(result.folder, fail_on=fail_on)
    else:
        assert enforce(result.folder, fail_on=fail_on) == result.body["verdict"]


def test_a_gates_error_holds_the_findings_and_counts_the_rest(spans):
    wide = orders(1).assign(**{f"c{n}": n for n in range(30)})
    spans.run(wide)
    spans.accept()
    result = spans.run(orders(2))
    with pytest.raises(HeadwaterError) as error:
        enforce(result.folder)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("Rejected: 30 errors") and lines[21] == "  … and 10 more" and len(lines) == 24
    root = spans.folder / "root"
    assert lines[22] == f'  to accept: headwater accept --name orders --span 2 --data-root {root} --reason "…"'
    assert lines[23] == f"  to review: headwater review --name orders --span 2 --data-root {root}"


def test_a_gate_refuses_an_unknown_level_and_an_unknown_format(spans):
    result = spans.run(orders(1))
    with pytest.raises(HeadwaterError, match="fail_on: 'fatal' is not one of error, warning, none"):
        enforce(result.folder, fail_on="fatal")
    path = spans.folder / "anomalies-1/_manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": "7.0"}))
    with pytest.raises(HeadwaterError, match="format_version 7.0 is not readable"):
        enforce(result.folder)


def test_a_gate_imports_no_tensorflow(spans):
    result = spans.run(orders(1))
    script = (
        "import sys\nfrom headwater.components.validate import enforce\n"
        f"print(enforce({result.folder!r}))\nprint([n for n in ('tensorflow', 'apache_beam', 'kfp') if n in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.splitlines()[-1] == "[]", output.stderr


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", ["numeric", "categorical"])
def test_a_threshold_out_of_range_is_told(spans, name, value):
    with pytest.raises(HeadwaterError, match=rf"config\.drift\.{name}: "):
        spans.run(orders(1), config={"drift": {name: value}})


def test_the_page_shows_verdict_and_drift_and_keeps_hostile_values_as_text(spans):
    spans.run(orders(1))
    spans.accept()
    frame = spoilt().rename(columns={"quantity": "<img src=x onerror=alert(2)>"})
    frame.loc[::9, "kind"] = "<script>alert(1)</script>{{ 7 * 7 }}"
    page = spans.run(frame).read("page.html").decode()
    assert "Rejected" in page and "All changes" in page and "<svg" in page
    # One of ours: base.html's.
    assert page.count("<script") == 1 and "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}" in page
