"""Findings that are acknowledged until a date, whichever component found them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from spans import orders, save_statistics

from headwater.components.collect import collect_dataset
from headwater.components.common.acknowledging import in_force
from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics, enforce
from headwater.components.validate.settings import check_settings
from headwater.pipelines.closing import acknowledgement_lines, findings_of_run

NEW = "ENUM_TYPE_UNEXPECTED_STRING_VALUES"
KNOWN = {"kind": NEW, "feature": "kind", "reason": "the shop sells gifts until Christmas", "until": "2026-12-24"}
KEY = {"kind": "repeated_key", "feature": "", "reason": "two systems share the numbers"}


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
    assert "ended on 2026-12-24" in over.read("page.html").decode()


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


@pytest.mark.parametrize(
    ("changes", "day", "note"),
    [
        (
            {"kind": "DRIFT", "feature": "kinds"},
            "2026-12-01",
            "(feature 'kinds', DRIFT) matched nothing: no such finding in this run; remove it, or correct it: there is "
            f"(feature 'kind', {NEW})",
        ),
        ({"feature": "zzz"}, "2026-12-01", "remove it, or correct its kind and feature"),
        (
            {},
            "2026-12-25",
            f"(feature 'kind', {NEW}) ended on 2026-12-24, so the finding counts again; correct the cause, or",
        ),
        ({"feature": "zzz"}, "2026-12-25", "ended on 2026-12-24 and matches nothing; remove it"),
    ],
)
def test_an_entry_without_effect_says_what_to_do(judge, changes, day, note):
    known = judge(KNOWN | {"until": "2027-12-31"}, {**KNOWN, **changes}, day=day)
    first, second = known.body["acknowledged"]
    assert "note" not in first and second["note"].startswith("acknowledged entry 2 (") and note in second["note"]
    assert acknowledgement_lines(known) == [second["note"]]
    assert "acknowledged entry 2" in known.read("page.html").decode()


def test_what_collect_found_is_acknowledged_like_what_validate_found(tmp_path):
    """Of a repeated key, which collect warns of; counted by the verdict, and marked on both pages."""
    rows = pa.table({"id": ["a", "b", "a", *map(str, range(47))], "x": list(range(50))})
    project = {"validate": {"acknowledged": [{**KEY, "until": "2026-12-31"}], "as_of": "2026-12-31"}}
    over = {"validate": {**project["validate"], "as_of": "2027-01-01"}}
    assert in_force(project)["acknowledged"] and not in_force(over)
    with pytest.raises(HeadwaterError, match=r"validate.acknowledged.0.until: must be a date"):
        in_force({"validate": {"acknowledged": [{**KEY, "until": "soon"}]}})
    dataset = collect_dataset(
        rows, str(tmp_path / "data"), key=["id"], splits={"all": 1}, workers=1, **in_force(project)
    )
    [found] = dataset.body["findings"]
    told = {"severity": "warning", "reason": KEY["reason"], "until": "2026-12-31"}
    assert found["severity"] == "info" and found["acknowledged"] == told
    page = (tmp_path / "data/_page.html").read_text()
    assert "Acknowledged warning until 2026-12-31: two systems share the numbers" in page and "1 acknowledged" in page
    statistics = compute_statistics(dataset.folder, str(tmp_path / "statistics"), workers=1)
    schema = derive_schema(statistics.folder, str(tmp_path / "schema"))

    def judge(name, **config):
        return check_statistics(statistics.folder, schema.folder, str(tmp_path / name), config=config)

    known = judge("known", **project["validate"])
    assert "1 acknowledged" in known.body["verdict"] and "warning" not in known.body["verdict"]
    [found] = known.body["findings"]
    assert found["check"] == "upstream" and found["component"] == "dataset" and found["acknowledged"] == told
    # What collect took for acknowledged counts again when the date has passed.
    [found] = judge("over", **over["validate"]).body["findings"]
    assert found["severity"] == "warning" and "acknowledged" not in found and found["action"]
    assert [each["severity"] for each in findings_of_run({"dataset": dataset, "anomalies": known})] == []
