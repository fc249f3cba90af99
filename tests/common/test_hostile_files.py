"""Files that carry a pickle (CVE-2023-47248), by every way in, each in a fresh process: none of them is run.

The pickle creates a folder. A process that ran it would leave that folder behind.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.generate_statistics import compute_statistics
from headwater.components.label import label_dataset

COMPONENTS = pathlib.Path(__file__).resolve().parents[2] / "components"
HEADWATER = [sys.executable, "-W", "ignore", "-m", "headwater.pipelines.cli"]
VOTES = [{"name": f"above_{limit}", "sql": f"CASE WHEN x > {limit} THEN 'a' ELSE 'b' END"} for limit in (1, 2, 3)]
WEAK = {"method": "weak_supervision", "classes": ["a", "b"], "functions": VOTES}
GOLD = {**WEAK, "gold": "kind", "gold_input": "gold"}
DIRECT = {
    "method": "direct",
    "classes": ["no", "yes"],
    "feedback": "events",
    "served": "served",
    "occurred": "served",
    "window": "1h",
    "outcome": "'yes'",
    "silence": "no",
}


class _Pickle:
    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self._mark),)


def hostile(table: pa.Table, mark: pathlib.Path, columns=None) -> pa.Table:
    """A table whose schema names a pickle as the extension type of some columns; by default of all."""
    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(_Pickle(mark)),
    }
    fields = [f.with_metadata(metadata) if columns is None or f.name in columns else f for f in table.schema]
    return table.cast(pa.schema(fields))


def plain_rows(rows: int = 200) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(rows)),
            "x": pa.array([number % 7 for number in range(rows)]),
            "kind": pa.array(["ab"[number % 2] for number in range(rows)]),
            "served": pa.array([1_700_000_000_000_000 + number for number in range(rows)], pa.timestamp("us", "UTC")),
        }
    )


def swap(folder: pathlib.Path, path: str, content: bytes) -> None:
    """Puts a file in the place of another, with its checksum in the manifest: as one who can write to the store would."""
    manifest = folder / "_manifest.json"
    old = hashlib.sha256((folder / path).read_bytes()).hexdigest()
    text = manifest.read_text()
    assert old in text, path
    manifest.write_text(text.replace(old, hashlib.sha256(content).hexdigest()))
    (folder / path).write_bytes(content)


def as_parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A dataset, its statistics, schema and labels, made of plain rows."""
    from headwater.components.infer_schema import derive_schema

    folder = tmp_path_factory.mktemp("clean")
    pq.write_table(plain_rows(), folder / "rows.parquet")
    collect_dataset(str(folder / "rows.parquet"), str(folder / "data"), key=["id"], workers=1)
    compute_statistics(str(folder / "data"), str(folder / "statistics"), workers=1)
    derive_schema(str(folder / "statistics"), str(folder / "schema"))
    label_dataset(str(folder / "data"), str(folder / "labels"), steps=[WEAK], workers=1)
    return folder


@pytest.fixture
def place(clean, tmp_path):
    """A copy of them, four hostile files under `many`, and where a pickle would leave its mark."""
    shutil.copytree(clean, tmp_path / "clean")
    (tmp_path / "many").mkdir()
    for number in range(4):
        pq.write_table(hostile(plain_rows(), tmp_path / "mark"), tmp_path / f"many/{number}.parquet")
    return tmp_path


def yaml(place, name, content):
    (place / name).write_text(json.dumps(content))
    return str(place / name)


def swapped(place, part, path, table):
    swap(place / "clean" / part, path, as_parquet(hostile(table, place / "mark")))


def statistics_of(place, folder):
    return ["generate-statistics", str(folder), "--output", str(place / "out")]


def with_shard(place):
    # Nobody looks at a shard's checksum before its footer is read.
    file = next((place / "clean/data").glob("split=train/*.parquet"))
    file.write_bytes(as_parquet(hostile(pq.ParquetFile(file).read(), place / "mark")))
    return statistics_of(place, place / "clean/data")


def with_index(place):
    table = pq.read_table(place / "clean/data/_shards-train.parquet")
    swapped(place, "data", "_shards-train.parquet", table)
    return statistics_of(place, place / "clean/data")


def with_label_table(place):
    body = json.loads((place / "clean/labels/_manifest.json").read_text())["body"]
    index = pq.ParquetFile(place / "clean/labels" / body["splits"]["train"]["index"]).read().to_pylist()
    path = place / "clean/labels" / index[0]["path"]
    path.write_bytes(as_parquet(hostile(pq.ParquetFile(path).read(), place / "mark")))
    return statistics_of(place, place / "clean/labels")


def with_state(place):
    path = place / "clean/statistics/Split-train/State.arrow"
    table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    sink = pa.BufferOutputStream()
    bad = hostile(table, place / "mark").replace_schema_metadata(table.schema.metadata)
    with pa.ipc.new_file(sink, bad.schema) as writer:
        writer.write_table(bad)
    swap(place / "clean/statistics", "Split-train/State.arrow", sink.getvalue().to_pybytes())
    return ["merge-statistics", str(place / "clean/statistics"), "--output", str(place / "out")]


def with_lookup(place):
    config = yaml(place, "c.yaml", {"lookups": {"more": {"source": str(place / "many/0.parquet"), "on": {"id": "id"}, "prefix": "m_"}}})
    return ["collect", str(place / "clean/rows.parquet"), "--config", config, "--output", str(place / "out")]


def with_label_input(place, step, name):
    steps = yaml(place, "s.yaml", [step])
    source = ["--input", f"{name}={place / 'many/0.parquet'}"]
    return ["label", str(place / "clean/data"), "--steps", steps, *source, "--output", str(place / "out"), "--as-of", "2026-01-01"]


def with_rules(place):
    config = yaml(place, "v.yaml", {"rules": [{"name": "positive", "expression": "x >= 0"}]})
    given = [str(place / "clean" / name) for name in ("statistics", "schema")]
    return ["validate", *given, "--dataset", str(place / "many"), "--config", config, "--output", str(place / "out")]


def labelled(place):
    return ["label", str(place / "many"), "--steps", yaml(place, "s.yaml", [WEAK]), "--output", str(place / "out")]


def collected(place, source, *more):
    return ["collect", str(place / source), "--output", str(place / "out"), *more]


def ran(place):
    return ["run", str(place / "many"), "--data-root", str(place / "root")]


WAYS = {
    "collect, in workers": functools.partial(collected, source="many"),
    "collect, one file": functools.partial(collected, source="many/0.parquet"),
    "collect, its driver alone": lambda place: collected(place, "many", "--workers", "1"),
    "a lookup": with_lookup,
    "plain files": lambda place: statistics_of(place, place / "many"),
    "a shard": with_shard,
    "a shard index": with_index,
    "a label table": with_label_table,
    "a state of statistics": with_state,
    "labelled plain files": labelled,
    "gold": lambda place: with_label_input(place, GOLD, "gold"),
    "feedback": lambda place: with_label_input(place, DIRECT, "events"),
    "row rules": with_rules,
    "run": ran,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_command_runs_what_a_file_carries(place, way):
    command = WAYS[way](place)
    if "--workers" not in command and command[0] in ("collect", "generate-statistics", "label", "validate", "run"):
        command += ["--workers", "2"]
    done = subprocess.run([*HEADWATER, *command], capture_output=True, text=True, cwd=place)
    assert not (place / "mark").exists()
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.returncode in (0, 1, 2), done.stderr
    if way in ("collect, in workers", "plain files", "labelled plain files", "a lookup", "gold", "feedback", "run"):
        assert done.returncode < 2, done.stderr + done.stdout


def one_module_a_package():
    """A module that imports pyarrow of each package of ours: the package's `__init__` is what makes it safe."""
    found = {}
    for file in sorted(COMPONENTS.rglob("*.py")):
        if file.stem != "__init__" and "import pyarrow" in file.read_text():
            found.setdefault(file.parent, ".".join(file.relative_to(COMPONENTS).with_suffix("").parts))
    return list(found.values())


@pytest.mark.parametrize("module", one_module_a_package())
def test_no_process_that_imports_one_module_does(place, module):
    script = (
        f"import headwater.components.{module}\nimport pyarrow.parquet as pq\n"
        f"print(pq.read_table({str(place / 'many/0.parquet')!r}).num_rows)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "200", done.stderr
    assert not done.stderr and not (place / "mark").exists()


def test_open_dataset_reads_what_stores_the_values(place):
    with_shard(place)
    script = (
        "from headwater.components.common import open_dataset\n"
        f"print(open_dataset({str(place / 'clean/data')!r}).to_table().num_rows)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "200", done.stderr
    assert not (place / "mark").exists()


def test_an_extension_type_is_named_and_its_storage_read(tmp_path):
    struct = pa.field("s", pa.struct([pa.field("u", pa.binary(16), metadata={b"ARROW:extension:name": b"arrow.uuid"})]))
    table = pa.table(
        {"id": range(60), "point": [b"x"] * 60, "s": pa.array([{"u": bytes(16)}] * 60, struct.type)},
        pa.schema([("id", pa.int64()), pa.field("point", pa.binary(), metadata={b"ARROW:extension:name": b"geo.<wkb>"}), struct]),
    )
    pq.write_table(table, tmp_path / "t.parquet")
    result = collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / "out"), workers=1)
    told = {each["column"]: each["message"] for each in result.body["findings"] if each["rule"] == "extension_type"}
    assert set(told) == {"point", "s"} and "'geo.<wkb>'" in told["point"] and "'arrow.uuid'" in told["s"]
    rows = open_dataset(result.folder).to_table(columns=["id", "point", "s"]).sort_by("id").to_pylist()
    assert rows == table.to_pylist()
    assert "geo.<wkb>" not in (tmp_path / "out" / result.body["page"]).read_text()
