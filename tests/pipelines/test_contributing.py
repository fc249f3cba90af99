"""The recipes of CONTRIBUTING.md, followed: the code that stands there is added as it says, and does what it says."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest
from spans import orders, save_statistics

from headwater.components.collect import collect_dataset, rules
from headwater.components.collect.rules import Evidence, Found
from headwater.components.collect.rules.findings import finding
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics, checks
from headwater.components.validate.alerts import send_alerts
from headwater.components.validate.alerts.channels import CHANNELS
from headwater.components.validate.settings import check_settings

ROOT = pathlib.Path(__file__).resolve().parents[2]


def blocks():
    return re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


def load(tmp_path, marker):
    [code] = [block for block in blocks() if marker in block]
    path = tmp_path / f"{marker.strip('_').split('.')[0].lower()}_recipe.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_check(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "CHECKS", (*checks.CHECKS, load(tmp_path, "class Size").CHECK))
    statistics = save_statistics(tmp_path, {"train": orders(1)}, span=1)
    schema = derive_schema(statistics.folder, str(tmp_path / "schema"))
    result = check_statistics(
        statistics.folder, schema.folder, str(tmp_path / "out"), config={"size": {"most_rows": 10}}
    )
    assert [each["kind"] for each in result.body["findings"] if each["severity"] == "error"] == ["TOO_LARGE"]


def test_a_rule(tmp_path, monkeypatch):
    [code] = [block for block in blocks() if "def few_columns" in block]
    names = {"Evidence": Evidence, "Found": Found, "finding": finding}
    exec(code, names)
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, names["few_columns"]))
    source = tmp_path / "t.csv"
    source.write_text("a\n" + "\n".join(map(str, range(100))) + "\n")
    found = collect_dataset(str(source), str(tmp_path / "out"), workers=1).body["findings"]
    assert "few_columns" in {each["rule"] for each in found}


def test_a_channel(tmp_path, monkeypatch):
    channel = load(tmp_path, "A pager").CHANNEL
    monkeypatch.setitem(CHANNELS, channel.name, channel)
    alerts = check_settings({"alerts": [{"to": "pager", "url_env": "PAGER"}]}).alerts
    monkeypatch.setenv("PAGER", "http://127.0.0.1:9/")
    verdict = {"blessed": False, "verdict": "NOT blessed", "uri": "x", "findings": [finding_of_drift()], "measures": []}
    [outcome] = send_alerts(verdict, alerts, str(tmp_path / "claims"))
    assert outcome["failed"] and "cannot be reached" in outcome["reason"]


def finding_of_drift():
    return {"split": "train", "feature": "fare", "kind": "DRIFT", "severity": "error", "message": "3 % of rows"}


@pytest.mark.parametrize("name", ["components", "pipelines", "images/locks", "tests/support"])
def test_folders_of_the_map_are_there(name):
    assert (ROOT / name).is_dir()


def test_files_that_are_named_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:components|tests|pipelines)/[\w/]+(?:\.py|/))`", text))
    made = {"components/validate/checks/size.py", "components/validate/alerts/channels/pager.py"}
    assert len(named) > 8
    assert {name for name in named - made if not (ROOT / name).exists()} == set()
