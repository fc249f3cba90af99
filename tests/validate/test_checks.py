"""A check that somebody adds: one module, one line in the registry, and it is everywhere that checks are."""

from __future__ import annotations

import html

import pydantic
import pytest
from spans import orders, save_statistics

from headwater.components.common.errors import HeadwaterError
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics, checks
from headwater.components.validate.alerts.channels import prometheus
from headwater.components.validate.checks import Check, Outcome
from headwater.components.validate.findings import finding
from headwater.components.validate.judging import STRICT
from headwater.pipelines.cli import main


class Size(pydantic.BaseModel):
    model_config = STRICT
    most_rows: int = 10


def run(context):
    limits = context.settings.size
    if limits is None:
        return Outcome(skipped="no limit: set validate.size")
    found = [
        finding(split, "", "TOO_LARGE", "error", f"{context.rows_of(split):,} rows, more than {limits.most_rows}")
        for split in context.splits
        if context.rows_of(split) > limits.most_rows
    ]
    return Outcome(findings=found, summary={"limit": limits.most_rows})


SIZE = Check("size", "the number of rows against a limit", run, settings={"size": (Size | None, None)})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    statistics = save_statistics(folder, {"train": orders(1)}, span=1)
    return statistics.folder, derive_schema(statistics.folder, str(folder / "schema")).folder


def check(inputs, output, **config):
    return check_statistics(*inputs, str(output), config=config)


def test_a_check_is_a_module_and_a_line(inputs, tmp_path, monkeypatch):
    before = check(inputs, tmp_path / "before")
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, SIZE))
    unset = check(inputs, tmp_path / "unset")
    result = check(inputs, tmp_path / "set", size={"most_rows": 5})
    assert before.body["blessed"] and unset.body["blessed"] and not result.body["blessed"]
    assert unset.body["checks"][-1]["skipped"] == "no limit: set validate.size" and "size" not in unset.body
    [found] = [each for each in result.body["findings"] if each["check"] == "size"]
    assert (found["kind"], found["severity"]) == ("TOO_LARGE", "error")
    assert result.body["size"] == {"limit": 5} and result.body["checks"][-1]["errors"] == 1
    page = result.read("page.html").decode()
    assert "the number of rows against a limit" in page and "TOO_LARGE" in page
    assert 'check="size"} 1' in prometheus.as_text({**result.body, "dataset": "d", "span": 1})
    assert check(inputs, tmp_path / "wide", size={"most_rows": 10**6}).body["blessed"]


def test_help_lists_every_check(capsys, monkeypatch):
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, SIZE))
    with pytest.raises(SystemExit) as ended:
        main(["validate", "--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(each.name in text and each.title in text for each in checks.CHECKS)
    assert "the number of rows against a limit (settings: size)" in text


def test_settings_of_a_check_are_known_only_with_it(inputs, tmp_path, monkeypatch):
    with pytest.raises(HeadwaterError, match="config.size: there is no such setting"):
        check(inputs, tmp_path / "a", size={"most_rows": 5})
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, SIZE))
    with pytest.raises(HeadwaterError, match="config.size.most_rows"):
        check(inputs, tmp_path / "b", size={"most_rows": "many"})


def test_every_check_is_accounted_for(inputs, tmp_path):
    result = check(inputs, tmp_path / "out")
    names = [each["name"] for each in result.body["checks"]]
    assert names == [each.name for each in checks.CHECKS] and len(set(names)) == len(names)
    assert {each["check"] for each in result.body["findings"]} <= set(names)
    for severity in ("error", "warning", "info"):
        total = sum(each[f"{severity}s"] for each in result.body["checks"])
        assert total == sum(each["severity"] == severity for each in result.body["findings"])
    page = result.read("page.html").decode()
    assert all(html.escape(each["title"]) in page for each in result.body["checks"])
