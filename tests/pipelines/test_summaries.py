"""--summary: what a run or a check found, as Markdown that shows every value and means nothing else."""

from __future__ import annotations

import html
import re

import pytest

from headwater.components.common.results import Result
from headwater.pipelines import summaries
from headwater.pipelines.cli import FAILED, NOT_BLESSED, main

HOSTILE = "a|b `c` <img src=x> [d](e) *f* _g_ @ana #1\n## h"


def result(kind, findings, **body):
    return Result("folder", {"kind": kind, "home": None, "body": {"findings": findings, **body}}, "")


def run_of(findings, verdict="Rejected: 1 error"):
    accounts = {"read": 1_300, "written": 1_290, "rejected": 10, "filtered": {"old": 0}}
    dataset = result(
        "dataset", [], accounts=accounts, name="orders", span=2, splits={"all": {"rows": 1_290}}, refusal=""
    )
    return {"dataset": dataset, "anomalies": result("anomalies", findings, verdict=verdict, blessed=False, checks=[])}


def finding(number, **more):
    base = {
        "severity": "warning",
        "kind": "DRIFT",
        "split": "train",
        "feature": f"c{number}",
        "message": "m",
        "action": "a",
    }
    return {**base, **more}


def cells(markdown):
    """The rows of the table, as GitHub's renderer reads them: a cell's text without its marks."""
    lines = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [
        [html.unescape(re.sub(r"<[^>]*>", "", cell)).strip() for cell in line.strip("| ").split(" | ")]
        for line in lines
    ]


def test_findings_are_a_table_with_the_worst_first():
    markdown = summaries.of_run(run_of([finding(1), finding(2, severity="error"), finding(3, severity="info")]), False)
    assert markdown.startswith(
        "## ❌ orders, span 2\n\n**Rejected: 1 error**\n\n1,300 rows read, 1,290 written, 10 rejected"
    )
    assert [row[:2] for row in cells(markdown)[2:]] == [["❌ error", "c2 (train)"], ["⚠️ warning", "c1 (train)"]]


def test_values_mean_nothing_in_markdown():
    markdown = summaries.of_run(run_of([finding(HOSTILE, message=HOSTILE, action=HOSTILE)], HOSTILE), False)
    # Control characters are shown as pictures.
    told = HOSTILE.replace("\n", "␊")
    assert cells(markdown)[2][2:] == [told, told] and cells(markdown)[2][1] == f"c{told} (train)"
    assert not re.search(r"<(?!/?code>)", markdown)
    assert [line for line in markdown.splitlines() if line.startswith("#")] == ["## ❌ orders, span 2"]


def test_many_findings_are_cut_and_counted():
    most = summaries.MOST_FINDINGS
    markdown = summaries.of_run(run_of([finding(number) for number in range(most + 7)]), True)
    assert len(cells(markdown)) == most + 2 and "\n7 more on the page." in markdown
    assert markdown.startswith("## ✅")
    assert "No findings." in summaries.of_run(run_of([]), True)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{number},{number % 7}\n" for number in range(50))
    (tmp_path / "orders.csv").write_text(f"id,amount\n{rows}")
    return tmp_path


def test_a_check_s_summary_is_appended(here):
    (here / "summary.md").write_text("before\n")
    (here / "headwater.yaml").write_text("sources: [orders.csv]\ncollect: {key: [id]}\n")
    assert main(["check", "--summary", "summary.md"]) == 0
    (here / "headwater.yaml").write_text("sources: [orders.csv]\ncollect: {key: [order]}\n")
    assert main(["check", "--summary", "summary.md"]) == FAILED
    told = (here / "summary.md").read_text()
    assert told.startswith("before\n## ✅ headwater check: all well\n")
    assert "## ❌ headwater check: 1 problem\n" in told and "order" in told.partition("1 problem")[2]


def test_an_error_is_in_the_summary_as_well(here, capsys):
    assert main(["run", "gone.csv", "--summary", "summary.md"]) == FAILED
    told = (here / "summary.md").read_text()
    assert told.startswith("## ❌ headwater run: error\n\n") and "gone.csv" in html.unescape(told)
    assert main(["check", "orders.csv", "--summary", "no/such/folder/summary.md"]) == FAILED
    assert "--summary: no/such/folder/summary.md cannot be written: No such file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_s_summary(here):
    assert main(["run", "orders.csv", "--summary", "summary.md", "--quiet"]) == 0
    (here / "orders.csv").write_text("id,amount\n" + "1,x\n" * 50)
    assert main(["run", "orders.csv", "--summary", "summary.md", "--quiet", "--fail-on", "warning"]) == NOT_BLESSED
    told = (here / "summary.md").read_text()
    assert "## ✅ data, span 1\n" in told and "## ❌ data, span 2\n" in told
    assert "50 rows read, 50 written, 0 rejected" in told and "To accept: <code>headwater accept" in told
