"""Differences, compatibility against TFDV's own verdicts, suggestions, and agreeing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from spans import orders, save_statistics
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tfdv import tfdv
from headwater.components.infer_schema import accept_schema, compatibility, derive_schema, diff_schemas
from headwater.components.infer_schema.diff import sentence
from headwater.pipelines.cli import main


def parse(result, name="schema.pbtxt"):
    return text_format.Parse(result.read(name).decode(), schema_pb2.Schema())


def schema(text):
    return text_format.Parse(text, schema_pb2.Schema())


@pytest.mark.parametrize(
    ("before", "after", "words", "name"),
    [
        ("", "feature { name: 'x' type: INT }", "x: added", "backward"),
        ("", "feature { name: 'x' type: INT presence { min_count: 1 } }", "x: added (required)", "none"),
        ("feature { name: 'x' type: INT }", "", "x: removed", "forward"),
        (
            "feature { name: 'x' type: BYTES string_domain { value: 'a' } }",
            "feature { name: 'x' type: BYTES string_domain { value: 'a' value: 'b' } }",
            "x: values widened, with 'b'",
            "backward",
        ),
        (
            "feature { name: 'x' type: BYTES string_domain { value: 'a' value: 'b' } }",
            "feature { name: 'x' type: BYTES string_domain { value: 'a' value: 'c' } }",
            "x: values changed, with 'c' and without 'b'",
            "none",
        ),
        (
            "feature { name: 'x' type: INT int_domain { max: 5 } }",
            "feature { name: 'x' type: INT int_domain { max: 3 } }",
            "x: maximum value narrowed from 5 to 3",
            "forward",
        ),
        (
            "feature { name: 'x' type: INT }",
            "feature { name: 'x' type: FLOAT }",
            "x: type changed from INT to FLOAT",
            "none",
        ),
        (
            "feature { name: 'x' type: INT shape { dim { size: 1 } } presence { min_fraction: 1 } }",
            "feature { name: 'x' type: INT value_count { min: 1 max: 1 } presence { min_fraction: 1 } }",
            None,
            "full",
        ),
        (
            "feature { name: 'x' type: INT }",
            "feature { name: 'x' type: INT drift_comparator { jensen_shannon_divergence { threshold: 0.1 } } }",
            "x: drift_comparator.jensen_shannon_divergence.threshold changed from none to 0.1",
            "full",
        ),
        ("", "dataset_constraints { min_examples_count: 5 }", "narrowed from none to 5", "forward"),
    ],
)
def test_changes_in_words_and_who_can_live_with_them(before, after, words, name):
    changes = diff_schemas(schema(before), schema(after))
    assert compatibility(changes).name == name
    assert (words is None and not changes) or words in sentence(changes[0])
    back = compatibility(diff_schemas(schema(after), schema(before)))
    assert (back.forward, back.backward) == (compatibility(changes).backward, compatibility(changes).forward)


def _features(draw):
    text = {"domain": draw(st.sampled_from([None, ["a"], ["a", "b"], ["b", "c"], ["a", "b", "c"]]))}
    number = {"min": draw(st.sampled_from([None, 0, 3])), "max": draw(st.sampled_from([None, 5, 9]))}
    return {
        "t": {**text, "fraction": draw(st.sampled_from([None, 0.5, 1.0]))},
        "n": {**number, "fraction": draw(st.sampled_from([None, 0.5, 1.0]))},
        **({"extra": {"fraction": draw(st.sampled_from([None, 1.0]))}} if draw(st.booleans()) else {}),
    }


def _schema(features):
    made = schema_pb2.Schema()
    for name, asked in features.items():
        feature = made.feature.add(name=name, type=schema_pb2.BYTES if name == "t" else schema_pb2.INT)
        feature.value_count.min = feature.value_count.max = 1
        if asked.get("domain"):
            feature.string_domain.value.extend(asked["domain"])
        for end in ("min", "max"):
            if asked.get(end) is not None:
                setattr(feature.int_domain, end, asked[end])
        if asked["fraction"] is not None:
            feature.presence.min_fraction = asked["fraction"]
            feature.presence.min_count = 1
    return made


@st.composite
def cases(draw):
    frame = pd.DataFrame(
        {
            "t": draw(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=4, max_size=4)),
            "n": draw(st.lists(st.sampled_from([0, 3, 4, 5, 9]), min_size=4, max_size=4)),
        }
    )
    if draw(st.booleans()):
        frame["extra"] = 1
    return _schema(_features(draw)), _schema(_features(draw)), frame


@settings(deadline=None, max_examples=150)
@given(case=cases())
def test_what_is_compatible_is_accepted_by_tfdv(case):
    old, new, frame = case
    statistics = tfdv.generate_statistics_from_dataframe(frame)
    accepted = [not tfdv.validate_statistics(statistics, side).anomaly_info for side in (old, new)]
    told = compatibility(diff_schemas(old, new))
    assert not (told.backward and accepted[0] and not accepted[1])
    assert not (told.forward and accepted[1] and not accepted[0])


def test_several_statistics_give_the_schema_of_the_union(tmp_path):
    one, other = orders(1), orders(2)
    other["kind"] = other["kind"].replace("game", "toy")
    other["new"] = 1.5
    parts = [save_statistics(tmp_path, {"train": frame}) for frame in (one, other)]
    found = parse(derive_schema([part.folder for part in parts], str(tmp_path / "both")))
    whole = save_statistics(tmp_path, {"train": pd.concat([one, other], ignore_index=True)})
    union = parse(derive_schema(whole.folder, str(tmp_path / "union")))
    assert sorted(tfdv.get_domain(found, "kind").value) == sorted(tfdv.get_domain(union, "kind").value)
    assert {feature.name for feature in found.feature} == {feature.name for feature in union.feature}
    for part in parts:
        proto = tfdv.load_stats_binary(f"{part.folder}/Split-train/FeatureStats.pb")
        assert set(tfdv.validate_statistics(proto, found).anomaly_info) <= {"new"}


def survey(rows=2000):
    chance = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "key": [f"k{n}" for n in range(rows)],
            "size": chance.choice(["s", "m", "l"], rows),
            "town": [f"t{n}" for n in chance.zipf(1.6, rows) % 400],
            "score": chance.random(rows),
            "code": chance.integers(1, 6, rows),
            "weight": np.where(chance.random(rows) < 0.1, 0.0, chance.normal(70, 8, rows)),
            "day": [f"2024-01-{n % 28 + 1:02d}" for n in range(rows)],
            "seconds": 1_700_000_000 + chance.integers(0, 10**6, rows),
            "zip": [f"{n:05d}" for n in chance.integers(0, 99999, rows)],
            "normal": chance.normal(size=rows),
        }
    )


def test_suggestions_have_evidence_and_are_never_applied(tmp_path):
    measured = save_statistics(tmp_path, {"train": survey()}, span=1)
    base = derive_schema(measured.folder, str(tmp_path / "base"), max_string_domain_size=0)
    result = derive_schema(measured.folder, str(tmp_path / "out"), mode="propose", base_schema=base.folder)
    assert result.read("schema.pbtxt") == base.read("schema.pbtxt")
    found = {each["feature"]: each for each in json.loads(result.read("suggestions.json"))}
    assert found["key"]["what"].startswith("a key") and found["size"]["curation"] == {"domain": ["l", "m", "s"]}
    assert found["score"]["curation"] == {"min": 0, "max": 1} and found["code"]["curation"] == {"categorical": True}
    assert found["weight"]["curation"] == {"zero_means_missing": True} and "10." in found["weight"]["evidence"]
    assert "date" in found["day"]["what"] and "seconds since 1970" in found["seconds"]["what"]
    assert "normal" not in found and "zip" not in found and "town" not in found
    page = result.read("page.html").decode()
    assert "a new one in at most" in page and "none is between 0 and" in page
    # Each curation can be applied, and then nothing of it is suggested again.
    curation = {"features": {name: each["curation"] for name, each in found.items() if each["curation"]}}
    again = derive_schema(
        measured.folder, str(tmp_path / "again"), mode="propose", base_schema=base.folder, curation=curation
    )
    left = {(each["feature"], each["what"]) for each in json.loads(again.read("suggestions.json"))}
    assert not left & {(name, found[name]["what"]) for name in ("size", "score", "code", "weight")}


@pytest.fixture
def proposal(tmp_path):
    first = save_statistics(tmp_path, {"train": orders(1)}, span=1)
    derive_schema(first.folder, str(tmp_path / "s1"))
    wider = orders(2)
    wider.loc[:200, "kind"] = "<toy>"
    second = save_statistics(tmp_path, {"train": wider}, span=2)
    return tmp_path, second, derive_schema(second.folder, str(tmp_path / "s2"), mode="propose")


def test_an_accepted_schema_is_the_next_runs(proposal):
    folder, second, made = proposal
    page = made.read("page.html").decode()
    assert "values widened, with &#39;&lt;toy&gt;&#39;" in page and "backward" in page
    assert made.body["compatibility"] == "backward"
    accepted = accept_schema(made.folder, reason="toys are sold now", who="Ada", output=str(folder / "ok"))
    assert accepted.read("schema.pbtxt") == made.read("candidate.pbtxt") and accepted.home.version == 2
    [entry] = accepted.body["history"]
    assert (entry["who"], entry["why"], entry["compatibility"], entry["changes"]) == (
        "Ada",
        "toys are sold now",
        "backward",
        1,
    )
    # The next run takes it up, history and all.
    third = save_statistics(folder, {"train": orders(3)}, span=3)
    kept = derive_schema(third.folder, str(folder / "s3"))
    assert kept.read("schema.pbtxt") == made.read("candidate.pbtxt") and kept.body["history"] == [entry]
    assert "toys are sold now" in kept.read("page.html").decode()
    # Again is no second agreement; after another one, the proposal is out of date.
    assert accept_schema(made.folder, reason="again", output=str(folder / "no")).body["history"] == [entry]
    changed = orders(4)
    changed.loc[:200, "kind"] = "boat"
    base = {"mode": "propose", "base_schema": accepted.uri}
    boats = derive_schema(save_statistics(folder, {"train": changed}, span=2).folder, str(folder / "s4"), **base)
    later = accept_schema(boats.folder, reason="boats", output=str(folder / "ok2"))
    assert (later.home.span, later.home.version) == (3, 2)
    assert [each["why"] for each in later.body["history"]] == ["toys are sold now", "boats"]
    with pytest.raises(HeadwaterError, match="another schema, .*, was accepted after"):
        accept_schema(made.folder, reason="late", output=str(folder / "late"))


def test_what_cannot_be_agreed_to(proposal, tmp_path):
    folder, second, made = proposal
    with pytest.raises(HeadwaterError, match="reason: must not be empty; say why"):
        accept_schema(made.folder, reason=" ")
    frozen = derive_schema(second.folder, str(folder / "frozen"))
    with pytest.raises(HeadwaterError, match="this is not a proposal"):
        accept_schema(frozen.folder, reason="x")


def test_the_command_line_reviews_and_agrees(proposal, capsys):
    folder, _, made = proposal
    (folder / "candidate.pbtxt").write_bytes(made.read("candidate.pbtxt"))
    assert main(["schema", "diff", made.folder, str(folder / "candidate.pbtxt")]) == 0
    assert capsys.readouterr().out == "kind: values widened, with '<toy>'\ncompatibility: backward\n"
    assert main(["schema", "diff", made.folder, str(folder / "candidate.pbtxt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["change"] == "widened"
    assert main(["accept", made.folder, "--reason", "r", "--who", "Ada", "--output", str(folder / "ok")]) == 0
    assert "accepted by Ada, 1 changes, compatibility backward" in capsys.readouterr().out
    assert main(["schema", "diff", made.folder, str(folder / "ok")]) == 0
    assert capsys.readouterr().out.startswith("kind: values widened, with '<toy>'\n")
    for form, words in (("arrow", "kind: string"), ("json", '"additionalProperties"'), ("duckdb", 'CREATE TABLE "t"')):
        assert main(["schema", "show", str(folder / "ok"), "--as", form, "--table", "t"]) == 0
        assert words in capsys.readouterr().out


def test_a_schema_that_does_not_parse_is_told_with_its_place(proposal, capsys):
    folder, _, made = proposal
    (folder / "bad.pbtxt").write_text("feature {\n  name: 'x'\n  tipe: INT\n}\n")
    assert main(["schema", "diff", made.folder, str(folder / "bad.pbtxt")]) == 2
    assert "bad.pbtxt: not a schema: line 3, column 3" in capsys.readouterr().err
