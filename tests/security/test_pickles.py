"""A file that names code to run (CVE-2023-47248) runs none, whichever way it comes in, and is read or refused clearly.

Each way in is a fresh process, since what one import leaves behind would protect the next.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap

import hostile
import pyarrow as pa
import pytest

ROWS = 200
FILES = 4
DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def rows(number: int) -> pa.Table:
    ids = range(number * ROWS, (number + 1) * ROWS)
    columns = {
        "id": pa.array(ids),
        "kind": pa.array([("red", "green", "blue")[i % 3] for i in ids]),
        "amount": pa.array([float(i * 37 % 101) for i in ids]),
        "shown": pa.array([DAY + datetime.timedelta(seconds=i) for i in ids], pa.timestamp("us", "UTC")),
        "parts": pa.array([[i, i + 1] for i in ids]),
        "about": pa.array([{"x": i, "y": str(i)} for i in ids]),
    }
    return pa.table(columns)


@pytest.fixture(scope="module")
def marker(tmp_path_factory) -> pathlib.Path:
    """What none of these files may bring into being."""
    return tmp_path_factory.mktemp("marker") / "code-was-run"


@pytest.fixture(scope="module")
def plain(tmp_path_factory, marker) -> pathlib.Path:
    """Hostile files: a folder `many`, feedback, gold and a lookup."""
    folder = tmp_path_factory.mktemp("plain")
    for number in range(FILES):
        hostile.write(rows(number), folder / "many" / f"{number}.parquet", marker)
    ids = range(0, FILES * ROWS, 3)
    clicked = pa.array([DAY + datetime.timedelta(hours=1, seconds=i) for i in ids], pa.timestamp("us", "UTC"))
    hostile.write(pa.table({"id": pa.array(ids), "clicked": clicked}), folder / "clicks.parquet", marker)
    truth = pa.table({"id": pa.array(ids), "truth": pa.array(["high" if i * 37 % 101 > 50 else "low" for i in ids])})
    hostile.write(truth, folder / "truth.parquet", marker)
    prices = pa.table({"kind": ["red", "green", "blue"], "price": [1.0, 2.0, 3.0]})
    hostile.write(prices, folder / "prices.parquet", marker)
    (folder / "feedback.yaml").write_text(
        "collect: {lookups: {prices: {source: prices.parquet, on: {kind: kind}}}}\n"
        "label:\n  steps:\n"
        "  - {method: direct, classes: [no, yes], label: clicked, feedback: clicks, served: shown, occurred: clicked,\n"
        "     window: 24h, outcome: \"'yes'\", no_event: 'no'}\n".replace("[no, yes]", "['no', 'yes']")
    )
    votes = {
        "size": "CASE WHEN amount > 55 THEN 'high' WHEN amount < 45 THEN 'low' END",
        "ends": "CASE WHEN amount > 40 THEN 'high' ELSE 'low' END",
        "half": "CASE WHEN amount > 52 THEN 'high' ELSE 'low' END",
    }
    step = {"method": "weak_supervision", "classes": ["low", "high"], "gold": "truth", "gold_input": "checked"}
    step["functions"] = [{"name": name, "sql": sql} for name, sql in votes.items()]
    (folder / "weak.yaml").write_text(json.dumps({"label": {"steps": [step]}}))
    return folder


@pytest.fixture(scope="module")
def ran(plain, marker) -> pathlib.Path:
    """The data_root of the whole pipeline over the hostile files, with lookup and feedback."""
    assert "extension_type" in run(plain, marker, *PIPELINE)
    return plain / ".headwater"


@pytest.fixture(scope="module")
def poisoned(ran, marker, tmp_path_factory) -> pathlib.Path:
    """A data_root in which every file of Arrow and every schema of a manifest is hostile, with right checksums."""
    root = tmp_path_factory.mktemp("poisoned") / ".headwater"
    shutil.copytree(ran, root)
    hostile.poison(root, ran, marker)
    return root


PIPELINE = [
    "run",
    "many",
    "--workers",
    "2",
    "--key",
    "id",
    "--project",
    "feedback.yaml",
    "--input",
    "clicks=clicks.parquet",
    "--as-of",
    "2026-02-01",
    "--fail-on",
    "none",
]


def run(folder: pathlib.Path, marker: pathlib.Path, *arguments: str, code: int | None = 0) -> str:
    """The output of a command line in a new process, which neither ran the file's code nor fell over."""
    return fresh(folder, marker, "-m", "headwater.pipelines.cli", *arguments, code=code)


def fresh(folder: pathlib.Path, marker: pathlib.Path, *arguments: str, code: int | None = 0) -> str:
    # Of an earlier process, so that each test tells of its own way in.
    shutil.rmtree(marker, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    assert not marker.exists(), f"the file's code was run: {arguments}"
    assert "Traceback" not in output and "Exception ignored" not in output, output
    assert done.returncode in ((0, 1, 2) if code is None else (code,)), output
    return output


@pytest.mark.slow
def test_the_pipeline_with_lookup_and_feedback(ran):
    assert (ran / "data/span=1/version=1/labels/_manifest.json").exists()


def test_collect_in_workers(plain, marker, tmp_path):
    output = run(plain, marker, "collect", "many", "--workers", "2", "--output", str(tmp_path / "out"))
    assert f"{FILES * ROWS:,} written, 0 rejected" in output
    findings = json.loads((tmp_path / "out/_manifest.json").read_text())["body"]["findings"]
    told = [each["message"] for each in findings if each["rule"] == "extension_type"]
    assert any("'about' has the extension type 'arrow.py_extension_type'" in each for each in told)


@pytest.mark.slow
def test_statistics_of_a_plain_folder_in_workers(plain, marker, tmp_path):
    output = run(plain, marker, "generate-statistics", "many", "--workers", "2", "--output", str(tmp_path / "out"))
    assert "read: info: 'about' has the extension type" in output


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--workers 2 --output {}", "--analyse"])
def test_label_with_gold(way, ran, plain, marker, tmp_path):
    given = ("--project", "weak.yaml", "--input", "checked=truth.parquet", *way.format(tmp_path / "labels").split())
    run(plain, marker, "label", str(ran / "data/span=1/version=1/data"), *given)


@pytest.mark.slow
def test_label_of_a_plain_folder_in_workers(plain, marker, tmp_path):
    given = (
        "--project",
        "feedback.yaml",
        "--input",
        "clicks=clicks.parquet",
        "--as-of",
        "2026-02-01",
        "--workers",
        "2",
    )
    run(plain, marker, "label", "many", *given, "--output", str(tmp_path / "labels"), code=None)


COMMANDS = {
    "generate-statistics": "generate-statistics {version}/labels --workers 2 --output out",
    "merge-statistics": "merge-statistics {version}/statistics --output out",
    "infer-schema": "infer-schema {version}/statistics --output out",
    "validate": "validate {version}/statistics {version}/schema --baseline {version}/statistics --dataset {version}/labels "
    "--passed passed --quarantine quarantine --project rules.yaml --workers 2 --output out",
    "gate": "gate {version}/anomalies --fail-on none",
    "run": "{pipeline} --data-root {root} --span 2",
    "collect": "collect {version}/data/split=train --workers 2 --output out",
    "label": "label {version}/data --project weak.yaml --input checked=truth.parquet --workers 2 --output out",
    "verify": "verify {root}",
    "lineage": "lineage {version}/anomalies",
    "ls": "ls {root}",
    "gc": "gc {root}",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_results_at_a_store_that_somebody_else_writes_to(command, plain, poisoned, marker, tmp_path):
    for path in plain.iterdir():
        if path.name != ".headwater":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "rules.yaml").write_text("validate: {rows: {rules: [{name: amounts, row: amount >= 0}]}}\n")
    version = poisoned / "data/span=1/version=1"
    words = COMMANDS[command].format(version=version, root=poisoned, pipeline=" ".join(PIPELINE)).split()
    # The poisoned files have other sizes than their manifests say; verify tells that, and nothing else.
    output = run(tmp_path, marker, *words, code=1 if command == "verify" else 0)
    assert "altered" not in output, output


def test_open_dataset(poisoned, marker, tmp_path):
    for kind in ("data", "labels"):
        script = textwrap.dedent(
            f"""
            from headwater.components.common import open_dataset
            table = open_dataset({str(poisoned / "data/span=1/version=1" / kind)!r}).to_table()
            print(table.num_rows, table.schema.field("id").type)
            """
        )
        assert fresh(tmp_path, marker, "-c", script).split() == [str(FILES * ROWS), "int64"]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("first", ["headwater.components.common.hashing", "apache_beam.io", "pyarrow_hotfix"])
def test_whatever_is_imported_first(first, plain, marker, tmp_path):
    script = (
        f"import {first}, headwater.components.common.times, pyarrow_hotfix, apache_beam.io, pyarrow.parquet as pq\n"
        f"print(pq.read_table({str(plain / 'many/0.parquet')!r}).schema.field('id').type)\n"
    )
    assert fresh(tmp_path, marker, "-W", "ignore", "-c", script).split()[0] == "int64"


# Children of a process that has imported nothing import a module each. Most are done when pyarrow is imported: by the
# module that protects it, before anything else. The others have to have protected it by their end.
_WALK = """
import importlib, os, sys

class First:
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe() if name == "pyarrow" else None
        while frame and not frame.f_globals.get("__name__", "").startswith("headwater."):
            frame = frame.f_back
        if frame and frame.f_globals["__name__"] == "headwater.components.common.extension_types":
            os._exit(0)

def unprotected():
    if "pyarrow" not in sys.modules or not hasattr(sys.modules["pyarrow"], "PyExtensionType"):
        return False
    try:
        sys.modules["pyarrow"].unregister_extension_type("arrow.py_extension_type")
        return True
    except KeyError:
        return False

for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        sys.meta_path.insert(0, First())
        importlib.import_module(name)
        os._exit(3 * unprotected())
    if os.waitpid(child, 0)[1]:
        print(name)
"""


def test_every_module_protects_pyarrow(marker, tmp_path):
    root = pathlib.Path(__file__).resolve().parents[2]
    modules = [
        ".".join(("headwater", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for folder in ("components", "pipelines")
        for path in sorted((root / folder).rglob("*.py"))
    ]
    assert len(modules) > 150
    assert fresh(tmp_path, marker, "-c", _WALK, *modules) == ""
