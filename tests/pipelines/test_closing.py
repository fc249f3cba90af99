"""Findings at the end of a command: ten lines at most, the gravest first, each with what to do."""

from __future__ import annotations

import argparse
import json

from headwater.components.common.results import Result
from headwater.pipelines.closing import MOST_FINDINGS, Closing, close, finding_lines, findings_of
from headwater.pipelines.local import summarise


def result(kind, findings, **body):
    return Result("folder", {"kind": kind, "home": None, "body": {"findings": findings, **body}}, "")


def finding(severity, name, **more):
    return {"severity": severity, "message": f"{name} is wrong; and more of it", "action": f"mend {name}", **more}


def test_each_finding_is_a_line_with_what_to_do():
    found = findings_of(
        result(
            "anomalies",
            [
                finding("warning", "x", kind="DRIFT", split="train, eval", feature="x"),
                finding("error", "y", kind="GONE", split="", feature=""),
                finding("error", "z", kind="GONE", split="", feature="", acknowledged={"reason": "known"}),
            ],
        )
    )
    assert finding_lines(found) == [
        "error    GONE: y is wrong — mend y",
        "warning  x (train, eval): x is wrong — mend x",
    ]


def test_ten_lines_at_most_and_notes_are_counted():
    many = [finding("warning", f"w{n}", rule="r") for n in range(13)] + [finding("error", "e", rule="r")]
    lines = finding_lines(findings_of(result("dataset", [*many, finding("info", "i", rule="r")])))
    assert len(lines) == MOST_FINDINGS + 1 == 11 and lines[0].startswith("error ")
    assert lines[-1] == "… and 4 more and 1 info on the page"
    assert finding_lines(findings_of(result("dataset", [finding("info", "i", rule="r")] * 2))) == ["2 info on the page"]
    assert finding_lines([]) == []


def test_json_has_the_worst_first_over_all_components(capsys):
    found = findings_of(result("dataset", [finding("warning", "a", rule="r")]))
    found += findings_of(result("anomalies", [finding("error", "b", kind="GONE")]))
    options = argparse.Namespace(json=True, parser=argparse.ArgumentParser(prog="headwater run"))
    close(options, Closing([], findings=found))
    assert [each["severity"] for each in json.loads(capsys.readouterr().out)["findings"]] == ["error", "warning"]


def test_the_summary_of_a_run_has_every_components_findings():
    accounts = {"read": 3, "written": 3, "rejected": 0, "filtered": {}, "carried": 0}
    dataset = result(
        "dataset",
        [finding("warning", "collected", rule="stuck", column="a")],
        accounts=accounts,
        name="d",
        span=1,
        splits={"train": {"rows": 3}},
        lineage={"sources": [{"uri": "a.csv"}]},
        accepted=True,
    )
    labels = result(
        "labels",
        [{"severity": "warning", "rule": "weak_supervision", "message": "the function 'f' votes on no row"}],
        accounts=accounts,
        labelled={"classes": {"a": 3}, "abstained": 0},
        carried={"taken_over": 0},
        truth=None,
        accepted=True,
    )
    anomalies = result(
        "anomalies",
        [finding("warning", "drifted", kind="DRIFT", split="train", feature="x")],
        verdict="Passed: 1 warning",
        baseline=None,
    )
    lines = summarise({"dataset": dataset, "labels": labels, "anomalies": anomalies}, True, "error").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("findings"))
    assert [line[12:] for line in lines[start : start + 3]] == [
        "warning  x (train): drifted is wrong — mend drifted",
        "warning  weak_supervision: the function 'f' votes on no row",
        "warning  a: collected is wrong — mend collected",
    ]
    assert lines[start + 3].startswith("gate ")
