"""What collect reads, beside readers of other houses in an environment of their own: the same values.

A case is a file, how it is collected, and the readers that read it as it should be read.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from readers_side import plain

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset

HERE = pathlib.Path(__file__).parent
PYTHON = pathlib.Path.home() / ".cache/headwater-peers/readers/bin/python"


class Case(NamedTuple):
    """One file.

    Attributes:
      name: for the test's id.
      content: writes the file into a folder and gives its path.
      readers: the names of `readers_side.read_…` that read it right.
      settings: of collect.
    """

    name: str
    content: Any
    readers: tuple[str, ...]
    settings: dict[str, Any] = {}


def text(name: str, content: str):
    """A file of that name and text."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        (folder / name).write_text(content, encoding="utf-8")
        return folder / name

    return write


def parquet(**columns: pa.Array):
    """A Parquet file of the columns."""

    def write(folder: pathlib.Path) -> pathlib.Path:
        pq.write_table(pa.table(columns), folder / "rows.parquet")
        return folder / "rows.parquet"

    return write


def stored(name: str):
    """A file of the folder `files`."""
    return lambda folder: HERE / "files" / name


CASES = [
    Case("plain csv", text("rows.csv", "id,name\n1,a\n2,b\n"), ("duckdb", "pyarrow", "polars")),
    Case("csv of semicolons", text("rows.csv", "name;price;qty\nBolt;1.5;3\nNut;2.25;4\n"), ("duckdb",)),
    Case("csv of bars", text("rows.csv", "name|note\nBolt|a, b\nNut|c, d\n"), ("duckdb",)),
    Case("csv in apostrophes", text("rows.csv", "'name','note'\n'Bolt','a, b'\n'Nut','it''s'\n"), ("duckdb",)),
    Case("csv with escapes", text("rows.csv", 'name,note\n"Bolt","a \\"b\\" c"\n"Nut","d"\n'), ("duckdb",)),
    Case("csv under a title", text("rows.csv", "A title\n\nid,name\n1,a\n2,b\n"), ("duckdb",)),
    Case(
        "csv with an unnamed index",
        text("rows.csv", ",a,b\n0,1,x\n1,2,y\n"),
        ("duckdb",),
        {"rename": {"column_0": "column0"}},
    ),
    Case(
        "csv without a header",
        text("rows.csv", "5.1,3.5,setosa\n4.9,3.0,setosa\n"),
        ("duckdb",),
        {"rename": {f"column_{place}": f"column{place}" for place in range(3)}},
    ),
    Case("csv of hexadecimal text", text("rows.csv", "code,n\n0x1F,1\n0x2A,2\n"), ("polars",)),
    Case("json integers of 20 digits", text("rows.jsonl", '{"id":12345678901234567891}\n{"id":1}\n'), ("duckdb",)),
    Case(
        "json integers beyond 2**53",
        text("rows.jsonl", '{"id":9007199254740993}\n{"id":1}\n'),
        ("duckdb", "pyarrow", "polars"),
    ),
    Case("json structs", text("rows.jsonl", '{"id":{"$oid":"a"},"n":[1,2]}\n'), ("duckdb", "pyarrow", "polars")),
    Case("json text of two types", text("rows.jsonl", '{"a":"x"}\n{"a":"1"}\n'), ("duckdb", "pyarrow", "polars")),
    Case(
        "json zones",
        text("rows.jsonl", '{"t":"2024-01-05T10:00:00Z"}\n{"t":"2024-01-05T10:00:00+02:00"}\n'),
        ("duckdb",),
    ),
    Case(
        "csv zones",
        text("rows.csv", "id,t\n1,2024-01-05T10:00:00Z\n2,2024-01-05T10:00:00+02:00\n"),
        ("duckdb", "pyarrow"),
    ),
    Case("csv mixed zones", text("rows.csv", "id,t\n1,2024-01-05T10:00:00Z\n2,2024-01-05T10:00:00\n"), ("pyarrow",)),
    Case("csv far years", text("rows.csv", "id,t\n1,2024-01-05T10:00:00.25\n2,9999-12-31T00:00:00\n"), ("duckdb",)),
    Case(
        "json times",
        text("rows.jsonl", '{"t":"2024-01-05T10:00:00"}\n{"t":"9999-12-31T00:00:00"}\n'),
        ("duckdb", "pyarrow"),
    ),
    Case("json array", text("rows.json", '[{"id":1,"v":"a"},{"id":2,"v":"b"}]'), ("duckdb",)),
    Case(
        "pretty json",
        text("rows.json", '{\n  "id": 1,\n  "v": "a"\n}\n{\n  "id": 2, "v": "b"\n}\n'),
        ("duckdb", "pyarrow"),
    ),
    Case("map of required values", stored("map_required_value.parquet"), ("duckdb", "pyarrow")),
    Case("int96 of the year 9999", stored("int96_9999.parquet"), ("duckdb",)),
    Case("delta length", stored("p_delta_len.parquet"), ("duckdb", "pyarrow", "polars")),
    Case("half floats", stored("p_half.parquet"), ("duckdb", "pyarrow")),
    Case("string views", stored("p_strview.parquet"), ("duckdb", "pyarrow", "polars")),
    Case("an empty page of version 2", stored("empty_page_v2.parquet"), ("duckdb", "pyarrow")),
    Case("gzip members", stored("concatenated_gzip_members.parquet"), ("duckdb", "pyarrow")),
    Case("plain parquet", parquet(id=pa.array([1, 2]), name=pa.array(["a", None])), ("duckdb", "pyarrow", "polars")),
]


def read_with(reader: str, path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows as another house's reader has them."""
    done = subprocess.run(
        [str(PYTHON), str(HERE / "readers_side.py"), reader, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    return [dict(zip(found["columns"], row)) for row in found["rows"]]


def collected(path: pathlib.Path, output: pathlib.Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows as collect wrote them, in the source's order: one split, no columns of ours."""
    options = {"splits": {"all": 1.0}, "max_rejected_share": 1.0, "analyse": False, **settings}
    result = collect_dataset(str(path), str(output), workers=1, **options)
    rows = open_dataset(result.folder, "all").to_table().to_pylist()
    return [
        {name: plain(value) for name, value in row.items() if name != "split" and not name.startswith("_")}
        for row in rows
    ]


@pytest.mark.skipif(not PYTHON.exists(), reason="`make test-peers` makes the readers' environment")
@pytest.mark.parametrize(
    "case,reader",
    [(case, reader) for case in CASES for reader in case.readers],
    ids=lambda each: getattr(each, "name", each),
)
def test_values_are_those_of_other_readers(tmp_path, case, reader):
    path = case.content(tmp_path)
    assert collected(path, tmp_path / "out", case.settings) == read_with(reader, path)
