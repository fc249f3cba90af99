"""The recipes of CONTRIBUTING.md, followed: the code that stands there is added as it says, and does what it says."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from spans import orders, save_statistics

from headwater.components.collect import collect_dataset, rules
from headwater.components.collect.rules import Evidence, Outcome
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
    [action] = [each["action"] for each in result.body["findings"] if each["severity"] == "error"]
    assert action == "look whether rows come twice, or raise validate.size.most_rows"


def test_a_rule(tmp_path, monkeypatch):
    [code] = [block for block in blocks() if "def few_columns" in block]
    names = {"Evidence": Evidence, "Outcome": Outcome, "finding": finding}
    exec(code, names)
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, names["few_columns"]))
    source = tmp_path / "t.csv"
    source.write_text("a\n" + "\n".join(map(str, range(100))) + "\n")
    found = collect_dataset(str(source), str(tmp_path / "out"), workers=1).body["findings"]
    [action] = [each["action"] for each in found if each["rule"] == "few_columns"]
    assert action == "look whether the delimiter is right"


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


def recipes():
    """By heading: the new files with their content, and the lines of registries before and after."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## Recipes\n")[2].partition("\n## ")[0]
    found = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        new = re.findall(r"`(components/\S+\.py)`:\n\n```python\n(.*?)```", section, re.DOTALL)
        changes = []
        for path, hunk in re.findall(r"```diff\n--- (\S+)\n(.*?)```", section, re.DOTALL):
            lines = hunk.splitlines(keepends=True)
            assert all(line[0] in " -+" for line in lines)
            changes.append((path, lines))
        found[section.partition("\n")[0]] = (new, changes)
    return found


def follow(tree, changes):
    """Changes a registry: lines that stay or go must stand there, one after the other or further down."""
    for path, lines in changes:
        text, place = (tree / path).read_text(), 0
        for line in lines:
            own = line[1:]
            if line[0] == "+":
                text = text[:place] + own + text[place:]
                place += len(own)
                continue
            start = text.index(own, place)
            assert text[:start].endswith("\n")
            if line[0] == "-":
                text, place = text[:start] + text[start + len(own) :], start
            else:
                place = start + len(own)
        (tree / path).write_text(text)


SCRIPT = """
import json, pathlib, sys
import pyarrow as pa
import headwater.components.common
from headwater.components.collect import collect_dataset
from headwater.components.collect.rules import RULES
from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.label import label_dataset
from headwater.components.validate.alerts.channels import CHANNELS
from headwater.components.validate.checks import CHECKS

folder = pathlib.Path(sys.argv[1])
where = folder / "mounted/orders/country=NL"
where.mkdir(parents=True)
text = pa.array([None if n % 7 == 0 else f"v{n % 5}" for n in range(1000)])
table = pa.table({"n": range(1000), "real": pa.array(n / 4 for n in range(1000)), "text": text.dictionary_encode()})
with pa.ipc.new_file(where / "a.arrow", table.schema) as file:
    file.write_table(table, max_chunksize=300)
with pa.ipc.new_file(where / "b.feather", table.schema) as file:
    file.write_table(table.slice(0, 10))
given = dict(source="share://orders", data_root="share://root", name="orders", key=["n"], duplicates="drop", workers=2)
result = collect_dataset(output=str(folder / "out"), **given)
again = collect_dataset(output=str(folder / "again"), **given)
step = {"method": "threshold", "column": "n", "at_least": 900, "classes": ["small", "large"]}
labels = label_dataset(str(folder / "out"), str(folder / "labels"), steps=[step])
(where / "b.feather").write_bytes((where / "a.arrow").read_bytes()[:900])
try:
    collect_dataset("share://orders", str(folder / "damaged"))
except HeadwaterError as error:
    said = str(error)
narrow = folder / "narrow.csv"
narrow.write_text("a\\n" + "1\\n" * 50)
print(json.dumps({
    "from": headwater.components.common.__file__,
    "checks": [check.name for check in CHECKS],
    "channels": list(CHANNELS),
    "rules": sorted(f["rule"] for f in collect_dataset(str(narrow), str(folder / "narrow"), workers=1).body["findings"]),
    "uri": result.uri,
    "again": again.uri,
    "accounts": result.body["accounts"],
    "columns": result.body["columns"],
    "sources": [{key: each[key] for key in ("uri", "format", "rows")} for each in result.body["lineage"]["sources"]],
    "rows": sorted(open_dataset(result.uri).to_table(columns=["n"])["n"].to_pylist()),
    "labels": labels.uri,
    "labelled": labels.body["labelled"],
    "page": (folder / "labels" / labels.body["page"]).read_text() if (folder / "labels" / labels.body["page"]).exists()
        else (folder / "mounted" / labels.uri[8:] / labels.body["page"]).read_text(),
    "damaged": said,
}))
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """What a copy of the tree, changed as all the recipes say, does with their features."""
    folder = tmp_path_factory.mktemp("followed")
    tree = folder / "headwater"
    for name in ("components", "pipelines"):
        shutil.copytree(ROOT / name, tree / name)
    shutil.copy(ROOT / "headwater/__init__.py", tree)
    for new, changes in recipes().values():
        for path, content in new:
            assert not (tree / path).exists()
            (tree / path).write_text(content)
        follow(tree, changes)
    (folder / "mounted").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(folder), "HEADWATER_SHARE": str(folder / "mounted")}
    (folder / "run.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(folder / "run.py"), str(folder)],
        env=environment,
        # Workers look into the working folder first, and this repository has a package of that name.
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert pathlib.Path(found["from"]).is_relative_to(tree)
    return found


def test_each_recipe_is_three_files_at_most():
    found = recipes()
    assert len(found) == 6
    for new, changes in found.values():
        assert len(new) == 1 and 1 <= len(changes) <= 2
        # Whoever follows one adds lines as well, and the text stays true.
        assert all(line[0] in " +" for _, lines in changes for line in lines)


def test_registries_have_what_recipes_add(followed):
    assert "size" in followed["checks"] and "pager" in followed["channels"] and "few_columns" in followed["rules"]


def test_a_format(followed):
    assert followed["columns"].pop("text").startswith("dictionary<values=string")
    assert followed["columns"] == {"n": "int64", "real": "double", "country": "string"}
    assert followed["sources"] == [
        {"uri": "share://orders/country=NL/a.arrow", "format": "arrow", "rows": 1000},
        {"uri": "share://orders/country=NL/b.feather", "format": "arrow", "rows": 10},
    ]
    assert followed["accounts"] == {"read": 1010, "written": 1000, "rejected": 0, "filtered": {"duplicate_key": 10}}
    assert followed["rows"] == list(range(1000))
    assert re.search(r"share://orders/\S+b\.feather: cannot be read as arrow; it may be damaged", followed["damaged"])


def test_a_store(followed):
    assert followed["uri"] == followed["again"] == "share://root/orders/span=1/version=1/data"


def test_a_labelling_method(followed):
    assert followed["labels"].startswith("share://root/orders/span=1/version=1/labels")
    assert followed["labelled"] == {
        "classes": {"small": 900, "large": 100}, "abstained": 0, "methods": {"threshold": 1000}
    }  # fmt: skip
    assert "<h2>Threshold</h2>" in followed["page"] and "At least" in followed["page"]


@pytest.mark.parametrize("name", ["components", "pipelines", "images/locks", "tests/support"])
def test_folders_of_the_map_are_there(name):
    assert (ROOT / name).is_dir()


def test_files_that_are_named_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:components|tests|pipelines)/[\w/]+(?:\.py|/))`", text))
    made = {path for new, _ in recipes().values() for path, _ in new}
    assert len(named) > 8
    assert {name for name in named - made if not (ROOT / name).exists()} == set()
