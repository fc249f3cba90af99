"""One finding a cause: over splits, checks and features; in the order in which a person should read them."""

from __future__ import annotations

from headwater.components.validate.actions import accept_command, action, propose_command
from headwater.components.validate.grouping import group


def drift(feature, effect, split="train", **more):
    return {
        "split": split,
        "feature": feature,
        "kind": "DRIFT",
        "severity": "warning",
        "message": f"{feature} moved",
        "check": "drift",
        "effect": effect,
        **more,
    }


def other(kind, feature, severity="warning", split="train", check="concept", **more):
    return {
        "split": split,
        "feature": feature,
        "kind": kind,
        "severity": severity,
        "message": f"{kind} of {feature} in {split}",
        "check": check,
        **more,
    }


def together(*pairs):
    known = {frozenset(pair) for pair in pairs}
    return {"DRIFT": lambda one, two: frozenset((one, two)) in known}


def places(found):
    return [(each["kind"], each["feature"], each["splits"]) for each in found]


def test_the_same_in_two_splits_is_one_finding_with_the_message_of_the_greater():
    [found] = group([drift("x", 0.2), drift("x", 0.5, "eval", message="more")], {})
    assert found["splits"] == ["train", "eval"] and found["split"] == "train, eval"
    assert found["message"] == "more" and found["effect"] == 0.5
    assert found["by_split"] == {"train": "x moved", "eval": "more"}
    [alone] = group([drift("x", 0.2)], {})
    assert alone["splits"] == ["train"] and "by_split" not in alone and alone["members"] == []
    [whole] = group([other("TOO_MANY", "", split="")], {})
    assert whole["splits"] == [] and whole["split"] == ""


def test_two_things_of_one_split_stay_two():
    found = group([other("RULE", "x", check="rows", rule=name) for name in ("one", "two")], {})
    assert len(found) == 2
    found = group([other("SAME", "x"), other("SAME", "x", message="something else")], {})
    assert len(found) == 2


def test_an_error_does_not_hide_among_warnings():
    found = group([drift("x", 0.9), drift("x", 0.1, "eval", severity="error")], {})
    assert [(each["severity"], each["splits"]) for each in found] == [("error", ["eval"]), ("warning", ["train"])]


def test_errors_come_first_then_the_label_then_the_concept_then_what_moved_most():
    given = [
        drift("a", 0.2),
        drift("b", 0.9),
        other("COVARIATE_DRIFT", "c"),
        other("CONCEPT_DRIFT", "a", effect=0.01),
        other("LABEL_DRIFT", "y", effect=0.1),
        other("SCHEMA_NEW_COLUMN", "n", check="schema"),
        other("SCHEMA_MISSING_COLUMN", "m", "error", check="schema"),
    ]
    assert [each["feature"] for each in group(given, {})] == ["m", "y", "a", "n", "b", "a", "c"]


def test_features_that_go_together_stand_under_the_one_that_moved_most():
    given = [drift("hour", 0.2), drift("sched", 0.4), drift("sched", 0.3, "eval"), drift("price", 0.1)]
    lead, alone = group(given, together(("hour", "sched")))
    assert lead["feature"] == "sched" and lead["splits"] == ["train", "eval"]
    assert lead["message"] == "sched moved; hour moved along"
    assert lead["members"] == [
        {"split": "train", "splits": ["train"], "feature": "hour", "kind": "DRIFT", "severity": "warning", "message": "hour moved",
         "effect": 0.2}
    ]  # fmt: skip
    assert alone["feature"] == "price" and not alone["members"]
    assert len(group(given, {})) == 3


def test_a_group_is_no_chain():
    # a goes with b and b with c, but c not with a, which moved most.
    found = group([drift("a", 0.5), drift("b", 0.4), drift("c", 0.3)], together(("a", "b"), ("b", "c")))
    assert [(each["feature"], [one["feature"] for one in each["members"]]) for each in found] == [
        ("a", ["b"]),
        ("c", []),
    ]


def test_features_that_went_missing_together_are_one():
    lost = {"most_changed": {"bin": "(missing)", "baseline": 0.001, "current": 0.3}}
    more = {"most_changed": {"bin": "(missing)", "baseline": 0.001, "current": 0.5}}
    found = group([drift("temp", 0.5, **lost), drift("wind", 0.4, **lost), drift("visib", 0.6, **more)], {})
    assert [(each["feature"], len(each["members"])) for each in found] == [("visib", 0), ("temp", 1)]


def test_one_feature_with_one_cause_is_one_finding():
    found = group([drift("y", 0.3), drift("y", 0.3, "eval"), other("LABEL_DRIFT", "y", effect=0.1)], {})
    assert places(found) == [("LABEL_DRIFT", "y", ["train", "eval"])]
    found = group([drift("x", 0.3), other("COVARIATE_DRIFT", "x")], {})
    assert places(found) == [("DRIFT", "x", ["train"])]
    found = group([other("CONCEPT_DRIFT", "x", effect=0.2), other("CONCEPT_DRIFT", "z", effect=0.1, split="eval")], {})
    assert places(found) == [("CONCEPT_DRIFT", "x", ["train", "eval"])]
    # In one split they are two places where the concept changed.
    assert len(group([other("CONCEPT_DRIFT", "x", effect=0.2), other("CONCEPT_DRIFT", "z", effect=0.1)], {})) == 2


def test_what_the_schema_refuses_is_not_told_again():
    gone = other("SCHEMA_MISSING_COLUMN", "x", "error", check="schema")
    impossible = other("COMPARISON_IMPOSSIBLE", "x", check="drift")
    assert places(group([gone, impossible], {})) == [("SCHEMA_MISSING_COLUMN", "x", ["train"])]
    # Of another split it may have another cause.
    assert len(group([gone, {**impossible, "split": "eval"}], {})) == 2
    new = other("ENUM_TYPE_UNEXPECTED_STRING_VALUES", "x", "error", check="schema")
    unseen = {"most_changed": {"bin": "new", "baseline": 0.0, "current": 0.4}}
    known = {"most_changed": {"bin": "old", "baseline": 0.2, "current": 0.4}}
    assert len(group([new, drift("x", 0.5, **unseen)], {})) == 1
    assert len(group([new, drift("x", 0.5, **known)], {})) == 2


def test_a_feature_that_is_often_missing_is_one_finding():
    shape = other("INVALID_FEATURE_SHAPE", "x", "error", check="schema")
    few = other("FEATURE_TYPE_LOW_FRACTION_PRESENT", "x", "error", check="schema")
    missing = {"most_changed": {"bin": "(missing)", "baseline": 0.0, "current": 0.4}}
    [found] = group([shape, few, drift("x", 0.5, **missing)], {})
    assert found["kind"] == few["kind"] and [each["kind"] for each in found["members"]] == [shape["kind"], "DRIFT"]
    # A change among the values that are there is another matter.
    known = {"most_changed": {"bin": "old", "baseline": 0.2, "current": 0.4}}
    assert len(group([shape, few, drift("x", 0.5, **known)], {})) == 2


def collected(kind, feature, severity="warning", **more):
    return other(kind, feature, severity, split="", check="upstream", **more)


LOST = {"most_changed": {"bin": "(missing)", "baseline": 0.0, "current": 0.4}}


def test_what_collect_found_stands_under_what_explains_it():
    found = group([drift("x", 0.5, **LOST), collected("missing_share", "x", shares=[0.0, 0.4])], {})
    assert places(found) == [("DRIFT", "x", ["train"])]
    assert [each["kind"] for each in found[0]["members"]] == ["missing_share"] and found[0]["message"] == "x moved"
    # Of features that went missing together, each has a finding of collect.
    also = [collected("missing_share", name, shares=[0.0, 0.4]) for name in ("x", "y")]
    [found] = group([drift("x", 0.5, **LOST), drift("y", 0.4, **LOST), *also], {})
    assert len(found["members"]) == 3 and found["message"] == "x moved; y moved along"
    [found] = group(also, {})
    assert found["message"].endswith("; so is y")
    gone = other("SCHEMA_MISSING_COLUMN", "x", "error", check="schema")
    assert places(group([collected("column_gone", "x"), gone], {})) == [("SCHEMA_MISSING_COLUMN", "x", ["train"])]
    few = other("DATASET_LOW_NUM_EXAMPLES", "", "error", check="dataset_constraints")
    assert places(group([collected("volume", ""), few], {})) == [("DATASET_LOW_NUM_EXAMPLES", "", ["train"])]
    # Another cause, of the same feature or the same kind, stays; and what is agreed comes first.
    kept = group(
        [drift("x", 0.5), collected("missing_share", "x"), collected("stuck", "x"), collected("stale", "", "error")], {}
    )
    assert [each["kind"] for each in kept] == ["stale", "DRIFT", "missing_share", "stuck"]
    assert (
        len(
            group(
                [collected("missing_share", "x", shares=[0.0, 0.4]), collected("missing_share", "y", shares=[0, 0.1])],
                {},
            )
        )
        == 2
    )


def test_a_broken_rule_a_breach_of_the_schema_and_what_moved_are_one():
    rule = other("RULE_BROKEN", "x", "error", check="rows", rule="schema:x:domain", rule_kind="schema")
    new = other("ENUM_TYPE_UNEXPECTED_STRING_VALUES", "x", "error", check="schema")
    unseen = drift("x", 0.5, most_changed={"bin": "new", "baseline": 0.0, "current": 0.4})
    [found] = group([new, unseen, rule], {})
    assert found["kind"] == "RULE_BROKEN" and [each["kind"] for each in found["members"]] == [new["kind"], "DRIFT"]
    # What is an error leads, though the rule counted the rows.
    [found] = group([new, unseen, {**rule, "severity": "warning"}], {})
    assert found["kind"] == new["kind"]
    own = {**rule, "rule": "cheap", "rule_kind": "row", "message": "rule 'cheap': x < 9 is broken by 4 of 10 rows"}
    assert len(group([own, unseen], {})) == 1 and len(group([own, drift("x", 0.5, **LOST)], {})) == 2
    own["message"] = "rule 'there': x IS NOT NULL is broken by 4 of 10 rows"
    assert len(group([own, drift("x", 0.5, **LOST)], {})) == 1
    # Two rules are two; a rule over many rows says nothing of values; nor does one of another split or feature.
    assert len(group([own, rule], {})) == 2
    assert len(group([{**own, "rule_kind": "unique"}, unseen], {})) == 2
    assert len(group([rule, {**unseen, "split": "eval"}], {})) == 2
    assert len(group([rule, {**unseen, "feature": "y"}], {})) == 2
    missing = other("RULE_BROKEN", "x", "error", check="rows", rule="schema:x:missing", rule_kind="schema")
    assert len(group([missing, unseen], {})) == 2 and len(group([missing, drift("x", 0.5, **LOST)], {})) == 1


def test_an_empty_column_is_one_finding_of_all_splits():
    empty = other("constant", "x", check="upstream", split="") | {"message": "'x' has no values"}
    impossible = other("COMPARISON_IMPOSSIBLE", "x", check="drift", split="eval")
    now = {**impossible, "message": "it has no values in this span"}
    for findings in ([empty, now], [now, empty]):
        [found] = group(findings, {})
        assert (found["kind"], found["splits"]) == ("constant", [])
        assert [each["kind"] for each in found["members"]] == ["COMPARISON_IMPOSSIBLE"]
    # What was empty before, or is of another type, is another thing.
    for message in ("it has no values in the earlier span", "it holds text here and numbers in the earlier span"):
        assert len(group([empty, {**impossible, "message": message}], {})) == 2
    assert "why it is empty" in action(now, "") and "other values" in action(impossible, "")


def test_one_finding_of_several_columns_stays_one():
    named = [
        other("personal_data", name, check="upstream", split="") | {"message": "'x', 'y' look like personal data"}
        for name in "xy"
    ]
    [found] = group(named, {})
    assert [each["feature"] for each in (found, *found["members"])] == ["x", "y"]
    assert len(group([named[0], {**named[1], "message": "another"}], {})) == 2


def test_every_finding_says_what_to_do():
    from headwater.components.common.results import Home

    home = accept_command(Home("root", "adult", 2, 1))
    kinds = ["DRIFT", "SKEW", "LABEL_DRIFT", "CONCEPT_DRIFT", "COVARIATE_DRIFT", "COMPARISON_IMPOSSIBLE", "EMPTY_SPLIT"]
    told = [action(other(kind, "x", check="drift"), home) for kind in [*kinds, "TOO_FEW_ROWS", "RULE_NOT_JUDGED"]]
    told += [action(other("KIND", "x", check=check), home) for check in ("schema", "rows", "feature_skew", "mine")]
    assert all(told) and not any(each.endswith(".") for each in told)
    assert "--name adult --span 2" in action(other("SCHEMA_NEW_COLUMN", "x", check="schema"), home)
    without = propose_command("statistics", "schema")
    assert "--name" not in action(other("SCHEMA_NEW_COLUMN", "x", check="schema"), without)
