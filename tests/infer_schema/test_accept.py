"""From a guess to a contract: the first days of a dataset, each judged by the schema as it then is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from spans import orders, save_statistics
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.infer_schema import accept_span, derive_schema
from headwater.components.validate import check_statistics, enforce
from headwater.pipelines.accepting import in_words

NEW = "ENUM_TYPE_UNEXPECTED_STRING_VALUES"


class Days:
    """Judges days one after the other under one data root, and again when asked, as the pipeline does."""

    def __init__(self, folder):
        self.folder, self.runs = folder, 0
        self.root = str(folder / "root")

    def run(self, span, frames, schema=None, **settings):
        self.runs += 1
        frames = frames if isinstance(frames, dict) else {"train": frames}
        statistics = save_statistics(self.folder, frames, span=span)
        self.schema = derive_schema(statistics.folder, str(self.folder / f"s{self.runs}"), **(schema or {}))
        return check_statistics(
            statistics.folder, self.schema.folder, str(self.folder / f"a{self.runs}"), baseline="none", **settings
        )

    def accept(self, span=None, **more):
        return accept_span(self.root, "orders", span, **{"reason": "new shop", "who": "Ada", **more})


@pytest.fixture
def days(tmp_path):
    return Days(tmp_path)


def with_gifts(seed, share=10, value="gift"):
    frame = orders(seed)
    frame.loc[::share, "kind"] = value
    return frame


def errors(verdict):
    return {(f["feature"], f["kind"]) for f in verdict.body["findings"] if f["severity"] == "error"}


def parse(result):
    return text_format.Parse(result.read("schema.pbtxt").decode(), schema_pb2.Schema())


def domain(result, name="kind"):
    schema = parse(result)
    [feature] = [each for each in schema.feature if each.name == name]
    [found] = [each for each in schema.string_domain if each.name == feature.domain]
    return set(found.value)


def test_a_rule_that_the_schema_gives_is_settled_by_the_schema(days):
    days.run(1, orders(1))
    assert in_words(days.accept(1))[-1] == ("next", "run the next span's data")
    gaps = orders(2)
    gaps.loc[::4, "amount"] = np.nan
    rules = [{"name": "small", "row": "amount < 0"}]
    broken = days.run(2, gaps, dataset=gaps, config={"rows": {"rules": rules}}).body["findings"]
    [of_schema], [own] = ([f for f in broken if f.get("rule_kind") == kind] for kind in ("schema", "row"))
    assert (
        of_schema["rule"] == "schema:amount:missing"
        and "headwater accept --name orders --span 2" in of_schema["action"]
    )
    assert own["rule"] == "small" and own["action"].endswith("set the rule's tolerance")
    done = days.accept(2)
    assert own in done.findings and of_schema in done.settled and of_schema not in done.findings
    assert in_words(done)[-1] == ("next", "run the same command again")


def test_the_first_week(days):
    first = days.run(1, orders(1))
    assert first.body["blessed"] and days.schema.body["inferred"]
    assert first.body["verdict"].endswith("the schema was inferred from this data, not accepted yet")
    # A guess is no contract on the second day either.
    second = days.run(2, with_gifts(2))
    assert second.body["blessed"] and [f["severity"] for f in second.body["findings"]] == ["warning"]
    assert second.body["schema"]["inferred_on"] == 1 and "on span 1, not accepted yet" in second.body["verdict"]
    # Accepted, it is one: what it allows passes, a breach does not.
    done = days.accept(1, reason="looked at it")
    assert done.changes == [] and done.result.body["accepted"]["who"] == "Ada"
    again = days.run(1, orders(1))
    assert again.body["verdict"].endswith(f"accepted by Ada on {done.result.body['accepted']['when'][:10]}")
    third = days.run(3, with_gifts(3))
    assert errors(third) == {("kind", NEW)}
    with pytest.raises(HeadwaterError, match="headwater accept --name orders --span 3 --data-root .*/root --reason"):
        enforce(third.folder)
    # Accepted again, the same run passes, and so do those that follow.
    done = days.accept(3)
    assert [(c["feature"], c["change"], c["after"][-1]) for c in done.changes] == [("kind", "widened", "gift")]
    assert done.findings == [] and done.result.home.version == 2
    repeated = days.run(3, with_gifts(3))
    assert repeated.body["blessed"] and repeated.body["findings"] == [] and repeated.home.version == 2
    assert days.schema.uri == done.result.uri
    fourth = days.run(4, with_gifts(4))
    assert fourth.body["blessed"] and fourth.body["findings"] == []
    assert domain(days.schema) == {"book", "film", "game", "gift"}
    assert [entry["why"] for entry in days.schema.body["history"]] == ["looked at it", "new shop"]
    assert errors(days.run(5, with_gifts(5, value="boat"))) == {("kind", NEW)}


def test_accepting_again_changes_nothing(days):
    days.run(1, orders(1))
    days.run(2, with_gifts(2))
    done = days.accept()
    before = sorted(storage.list_folders(f"{days.root}/orders/span=2"))
    again = days.accept(reason="once more", who="Bob")
    assert again.result == again.before == results.load(done.result.uri, "schema")
    assert sorted(storage.list_folders(f"{days.root}/orders/span=2")) == before
    # Also after the run was repeated, which has a verdict of its own.
    days.run(2, with_gifts(2))
    assert days.accept(reason="again").result == again.result


def test_all_that_can_break_is_accepted_and_passes(days):
    """Types, columns that come and go, values of one split alone, missing values, booleans, and limits of the whole."""
    frame = orders(1).assign(flag=np.arange(1000) % 2, whole=np.arange(1000.0))
    days.run(1, {"train": frame, "eval": frame}, schema={"curation": {"min_examples": 900, "growth": {"max": 2}}})
    chance = np.random.default_rng(7)
    other = with_gifts(2, 3).drop(columns=["country"])
    other["quantity"] = other["quantity"].astype(str) + " pcs"
    other = other.assign(flag=chance.integers(4, 9, 1000), whole=np.arange(1000), new=chance.choice(["u", "v"], 1000))
    other.loc[::4, "amount"] = np.nan
    evaluation = other.assign(new="w", kind="boat")[:800]
    settings = {"config": {"drift": {"categorical": 0.0}}}
    broken = days.run(2, {"train": other, "eval": evaluation}, **settings)
    found = {feature for feature, _ in errors(broken)}
    assert found == {"", "kind", "country", "quantity", "flag", "whole", "new", "amount"}
    done = days.accept(2)
    assert {each["check"] for each in done.findings} == {"dataset_constraints"}
    repeated = days.run(2, {"train": other, "eval": evaluation}, **settings)
    assert repeated.body["blessed"] and not [f for f in repeated.body["findings"] if f["severity"] == "warning"]
    features = {each.name: each for each in parse(done.result).feature}
    assert features["quantity"].type == schema_pb2.BYTES and features["whole"].type == schema_pb2.INT
    assert features["country"].lifecycle_stage == schema_pb2.DEPRECATED
    # Other numbers come tomorrow, so those of today are no limits.
    assert features["flag"].WhichOneof("domain_info") is None
    later = other.assign(flag=chance.integers(0, 20, 1000), whole=np.arange(1000) + 5_000)
    assert days.run(3, {"train": later, "eval": later}, **settings).body["blessed"]


def test_what_no_schema_speaks_of_is_accepted_for_its_span_alone(days):
    curation = {"features": {"amount": {"drift_threshold": 0.1}}}
    shifted = orders(2).assign(amount=lambda frame: frame["amount"] + 3)
    days.run(1, orders(1), schema={"curation": curation})

    def judge(span, frame):
        days.runs += 1
        statistics = save_statistics(days.folder, {"train": frame}, span=span)
        schema = derive_schema(statistics.folder, str(days.folder / f"s{days.runs}"), curation=curation)
        return check_statistics(statistics.folder, schema.folder, str(days.folder / f"a{days.runs}"))

    assert errors(judge(2, shifted)) == {("amount", "DRIFT")}
    done = days.accept(2, reason="prices rose")
    assert done.changes == [] and [each["feature"] for each in done.findings] == ["amount"]
    repeated = judge(2, shifted)
    [known] = [f for f in repeated.body["findings"] if f["feature"] == "amount"]
    assert repeated.body["blessed"] and known["severity"] == "info"
    accepted = done.result.body["accepted"]
    assert known["acknowledged"] == {
        "severity": "error",
        "reason": "prices rose",
        "who": "Ada",
        "when": accepted["when"],
    }
    page = repeated.read("page.html").decode()
    assert "Acknowledged error for this span by Ada on" in page and "prices rose" in page
    # Not for another day, and not for other rows that are collected for this one.
    assert errors(judge(3, orders(3))) == {("amount", "DRIFT")}
    assert errors(judge(2, shifted.assign(amount=shifted["amount"] + 1))) == {("amount", "DRIFT")}


def test_a_curation_that_every_run_has_does_not_undo_what_is_accepted(days):
    curation = {"features": {"kind": {"domain": ["book", "film", "game"]}}, "remove": ["quantity"]}
    settings = {"schema": {"curation": curation}}
    first = days.run(1, orders(1), **settings)
    assert not days.schema.body["inferred"] and days.schema.body["accepted"] == {"how": "curation"}
    assert first.body["verdict"].endswith("the schema was curated")
    without = with_gifts(2).drop(columns=["quantity"])
    assert errors(days.run(2, without, **settings)) == {("kind", NEW)}
    days.accept(2)
    assert days.run(2, without, **settings).body["blessed"]
    assert days.run(3, without.sample(frac=1, random_state=1), **settings).body["blessed"]
    # A curation that says something new is the later word.
    curation["features"]["kind"]["domain"] = ["book", "film"]
    assert errors(days.run(3, without.sample(frac=1, random_state=1), **settings)) == {("kind", NEW)}
    assert days.schema.body["accepted"]["how"] == "accept"


def test_an_earlier_span_is_accepted_for_those_to_come_as_well(days):
    days.run(1, orders(1))
    days.accept(1)
    assert errors(days.run(2, with_gifts(2))) == {("kind", NEW)}
    assert errors(days.run(3, with_gifts(3, value="boat"))) == {("kind", NEW)}
    days.accept(3, reason="boats")
    days.accept(2, reason="gifts")
    assert days.run(2, with_gifts(2)).body["blessed"] and days.run(3, with_gifts(3, value="boat")).body["blessed"]
    assert domain(days.schema) == {"book", "film", "game", "gift", "boat"}
    assert days.run(4, with_gifts(4)).body["blessed"]


def test_some_findings_alone_can_be_accepted(days):
    days.run(1, orders(1))
    days.accept(1)
    frame = with_gifts(2).drop(columns=["country"])
    verdict = days.run(2, frame)
    assert errors(verdict) == {("kind", NEW), ("country", "SCHEMA_MISSING_COLUMN")}
    [place] = [n for n, each in enumerate(verdict.body["findings"]) if each["feature"] == "kind"]
    done = days.accept(2, only=[place])
    assert {change["feature"] for change in done.changes} == {"kind"}
    assert errors(days.run(2, frame)) == {("country", "SCHEMA_MISSING_COLUMN")}
    days.accept(2)
    assert days.run(2, frame).body["blessed"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reason": " "}, "reason: must not be empty; say why"),
        ({"span": 7}, "--span: dataset 'orders' has no span 7 with a schema; it has 1, 2"),
        ({"name": "rides"}, "has no dataset 'rides' with a schema; it has orders"),
        ({"name": "../x"}, "name: '../x' cannot name a dataset"),
    ],
)
def test_what_cannot_be_accepted_is_said(days, settings, message):
    days.run(1, orders(1))
    days.run(2, orders(2))
    with pytest.raises(HeadwaterError, match=message):
        accept_span(days.root, **{"name": "orders", "reason": "x", **settings})


@pytest.mark.parametrize(
    ("base", "given"),
    [("auto", False), ("previous", False), ("latest", False), ("span:1", True), ("{uri}", True)],
)
def test_a_base_that_is_named_is_agreed_and_one_that_is_found_stays_what_it_was(days, base, given):
    days.run(1, orders(1))
    inferred = days.schema
    days.run(2, orders(2), schema={"base_schema": base.format(uri=inferred.uri)})
    assert days.schema.body["accepted"] == ({"how": "base_schema"} if given else None)
    assert days.schema.body["inferred"] != given
    assert days.schema.read("schema.pbtxt") == inferred.read("schema.pbtxt")


def test_values_of_private_features_are_counted_and_not_named(days):
    frame = pd.DataFrame({"who": ["ann", "bob"] * 500, "n": range(1000)})
    days.run(1, frame, schema={"curation": {"features": {"who": {"private": True, "domain": ["ann", "bob"]}}}})
    days.run(2, frame.assign(who=["carl"] * 500 + ["ann"] * 500))
    done = days.accept(2)
    assert "carl" not in str(done.changes) and done.changes[0]["after"] == "3 private values"


def test_a_column_that_nearly_no_row_has_does_not_stop_its_own_span_once_it_is_accepted(days):
    """Empty at first, so that nothing tells its type; then with one value, in the split that trains alone."""

    def day(seed, values):
        frames = {"train": orders(seed), "eval": orders(seed + 50)}
        for name, frame in frames.items():
            frame["tract"] = np.nan
            if name == "train":
                frame.loc[: values - 1, "tract"] = 7.0
        return frames

    first = days.run(1, day(1, 0))
    days.accept(1)
    assert (
        not errors(first)
        and {f.name: f for f in parse(days.schema).feature}["tract"].lifecycle_stage == schema_pb2.PLANNED
    )
    # What is planned is not judged yet.
    assert not errors(days.run(2, day(2, 1)))
    days.accept(2)
    assert not errors(days.run(2, day(2, 1)))
    tract = {f.name: f for f in parse(days.schema).feature}["tract"]
    assert tract.type == schema_pb2.FLOAT and tract.lifecycle_stage == schema_pb2.UNKNOWN_STAGE
    assert not errors(days.run(3, day(3, 0)))


def test_a_guess_offers_to_be_accepted_where_nothing_was_found(days):
    from headwater.components.validate.enforcement import ways_on

    assert list(ways_on(days.run(1, orders(1)))) == ["accept"]
    days.accept(1)
    assert not ways_on(days.run(1, orders(1)))


def test_what_was_agreed_about_a_column_that_is_not_there_stays(days):
    curation = {"features": {"country": {"min_count": 500}, "kind": {"min_count": 900}}}
    days.run(1, orders(1), schema={"curation": curation})
    days.accept()
    smaller = orders(2).drop(columns=["country"]).iloc[:700]
    days.run(2, smaller, schema={"curation": curation})
    done = days.accept(2)
    counts = {feature.name: feature.presence.min_count for feature in parse(done.result).feature}
    assert (counts["country"], counts["kind"]) == (500, 700)
    assert {each["feature"] for each in done.settled} >= {"country", "kind"} and done.settled[0]["severity"] == "error"
