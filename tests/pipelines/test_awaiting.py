"""`headwater spans`: which spans the paths tell, and how far each is."""

from __future__ import annotations

import json
import shutil

import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import results, storage
from headwater.pipelines.cli import FAILED, main

ROWS = "id,amount\n" + "".join(f"{number},{number % 5}\n" for number in range(40))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day in ("01", "02", "03"):
        folder = tmp_path / f"in/2026-02-{day}/v1"
        folder.mkdir(parents=True)
        (folder / "orders.csv").write_text(ROWS)
    pattern = "in/{YYYY}-{MM}-{DD}/v{VERSION}/*.csv"
    (tmp_path / "headwater.yaml").write_text(
        f"name: orders\nsources: ['{pattern}']\ncollect: {{key: [id]}}\nplatform: {{workers: 1}}\n"
    )
    return tmp_path


def told(capsys, *arguments):
    capsys.readouterr()
    assert main(["spans", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)["spans"]


def test_how_far_each_span_is(here, capsys):
    first = told(capsys)
    assert [each["state"] for each in first] == ["new"] * 3 and first[0]["end"] == "2026-02-02T00:00:00+00:00"
    number = first[0]["span"]
    assert [each["span"] for each in first] == [number, number + 1, number + 2]
    assert first[0]["files"] == [str(here / "in/2026-02-01/v1/orders.csv")]
    for span in (number, number + 1):
        collect_dataset(
            str(here / "in/{YYYY}-{MM}-{DD}/v{VERSION}/*.csv"), str(here / f"d{span}"), name="orders", span=span, key=["id"],
            data_root=str(here / ".headwater"), workers=1,
        )  # fmt: skip
    assert [each["state"] for each in told(capsys)] == ["started", "started", "new"]
    shutil.copytree(here / "in/2026-02-01/v1", here / "in/2026-02-01/v2")
    again = told(capsys, "--waiting")
    assert [(each["state"], each["version"]) for each in again] == [("newer", 2), ("started", 1), ("new", 1)]


@pytest.mark.slow
def test_verdicts_end_the_waiting(here, capsys):
    numbers = [each["span"] for each in told(capsys)]
    (here / "in/2026-02-02/v1/orders.csv").write_text("id,amount\n" + "x\n" * 30)
    (here / "in/2026-02-03/v1/orders.csv").write_text(ROWS.replace(",4\n", ",many\n"))
    codes = [main(["run", "--quiet", "--set", f"collect.span={number}"]) for number in numbers]
    states = [each["state"] for each in told(capsys)]
    assert codes[:2] == [0, 1] and states[:2] == ["passed", "refused"]
    assert states[2] == ("passed" if codes[2] == 0 else "rejected")
    assert [each["span"] for each in told(capsys, "--waiting")] == []
    home = results.committed(storage.normalise(".headwater"), "orders", "anomalies")
    assert [each.span for each in home] == [numbers[2], numbers[0]]


def test_no_span_is_there_yet(here, capsys):
    shutil.rmtree(here / "in")
    assert told(capsys) == []


def test_sources_without_spans_are_an_error(here, capsys):
    assert main(["spans", "in/2026-02-01/v1/orders.csv"]) == FAILED
    assert "no path tells spans; write them with {SPAN} or {YYYY}-{MM}-{DD}" in capsys.readouterr().err
