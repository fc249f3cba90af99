"""Findings that are acknowledged until a date."""

from __future__ import annotations

import pytest
from spans import orders, save_statistics

from headwater.components.common.errors import HeadwaterError
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics, enforce
from headwater.components.validate.settings import check_settings

NEW = "ENUM_TYPE_UNEXPECTED_STRING_VALUES"
KNOWN = {"kind": NEW, "feature": "kind", "reason": "the shop sells gifts until Christmas", "until": "2026-12-24"}


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acknowledged")
    gifts = orders(2)
    gifts.loc[::10, "kind"] = "gift"
    first = save_statistics(folder, {"train": orders(1), "eval": orders(3)}, span=1)
    base = derive_schema(first.folder, str(folder / "base"))
    second = save_statistics(folder, {"train": gifts, "eval": gifts}, span=2)
    schema = derive_schema(second.folder, str(folder / "schema"), base_schema=base.folder)

    def run(*entries, day="2026-12-01"):
        output = str(folder / f"anomalies-{len(list(folder.iterdir()))}")
        config = {"acknowledged": list(entries), **({"as_of": day} if day else {})}
        return check_statistics(second.folder, schema.folder, output, baseline="none", config=config)

    return run


def severities(verdict):
    return {(split, f["severity"]) for f in verdict.body["findings"] for split in f["splits"]}


def test_what_is_acknowledged_does_not_count_until_its_day_has_passed(judge):
    assert severities(judge()) == {("train", "error"), ("eval", "error")}
    known = judge(KNOWN)
    assert known.body["blessed"] and severities(known) == {("train", "info"), ("eval", "info")}
    assert known.body["verdict"].startswith("Passed: 1 acknowledged.")
    assert enforce(known.folder, fail_on="warning") == known.body["verdict"]
    for found in known.body["findings"]:
        assert found["acknowledged"] == {"severity": "error", "reason": KNOWN["reason"], "until": "2026-12-24"}
        assert "gift" in found["message"]
    assert known.body["acknowledged"] == [{**KNOWN, "expired": False, "findings": 1}]
    assert [check["errors"] for check in known.body["checks"] if check["name"] == "schema"] == [0]
    page = known.read("page.html").decode()
    assert "Acknowledged error until 2026-12-24: the shop sells gifts until Christmas" in page
    # The last day still counts, and the next one does not.
    assert judge(KNOWN, day="2026-12-24").body["blessed"]
    over = judge(KNOWN, day="2026-12-25")
    assert not over.body["blessed"] and over.body["acknowledged"][0]["expired"]
    assert "ended on 2026-12-24: what it is about counts again" in over.read("page.html").decode()
    [again] = [each for each in over.body["findings"] if each["action"].startswith("its acknowledgement ended")]
    assert "ended on 2026-12-24: extend it under validate.acknowledged, or remove it; " in again["action"]


def test_the_same_run_adopts_until_the_day_and_is_judged_anew_after_it(judge):
    one, other, over = (judge(KNOWN, day=day) for day in ("2026-12-02", "2026-12-03", "2027-01-01"))
    assert one.uri == other.uri and one.sha256 == other.sha256
    assert over.uri != one.uri and not over.body["blessed"]
    # Without `as_of` it is the day of the run.
    assert judge({**KNOWN, "until": "2020-01-01"}, day="").body["acknowledged"][0]["expired"]
    assert judge({**KNOWN, "until": "9999-12-31"}, day="").body["blessed"]


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"split": "train"}, {("train", "info"), ("eval", "error")}),
        ({"split": "test"}, {("train", "error"), ("eval", "error")}),
        ({"check": "schema"}, {("train", "info"), ("eval", "info")}),
        ({"check": "drift"}, {("train", "error"), ("eval", "error")}),
        ({"kind": "DRIFT"}, {("train", "error"), ("eval", "error")}),
        ({"feature": "country"}, {("train", "error"), ("eval", "error")}),
    ],
)
def test_each_key_says_which_finding(judge, changes, left):
    verdict = judge({**KNOWN, **changes})
    assert severities(verdict) == left
    assert ("no such finding in this run" in verdict.read("page.html").decode()) == (("train", "info") not in left)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**KNOWN, "until": "soon"}, "config.acknowledged.0.until: must be a date; example: 2026-12-31; given: 'soon'"),
        ({**KNOWN, "until": 20261231}, "config.acknowledged.0.until"),
        ({**KNOWN, "reason": " "}, "config.acknowledged.0.reason"),
        ({key: KNOWN[key] for key in KNOWN if key != "until"}, "config.acknowledged.0.until: field required"),
        ({**KNOWN, "untill": "2026-12-31"}, "config.acknowledged.0.untill: there is no such setting; did you mean"),
    ],
)
def test_a_wrong_entry_is_named(entry, message):
    with pytest.raises(HeadwaterError) as error:
        check_settings({"acknowledged": [entry]})
    assert message in str(error.value)
