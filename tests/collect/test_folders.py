"""Columns that folders hold, and folders of splits beside a column of their name: against pyarrow and DuckDB."""

from __future__ import annotations

import datetime
import json
import pathlib
import zipfile

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.dataset import load_dataset, read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics import compute_statistics


def collect(source, output, **settings):
    options = {"splits": {"all": 1.0}, "analyse": False, **settings}
    return collect_dataset(str(source), str(output), workers=1, **options)


def rows_of(result, *names):
    return open_dataset(result.folder, "all").to_table(columns=list(names)).sort_by(names[0]).to_pylist()


def layout(folder, values, form="csv"):
    """A file of three rows in a folder for each `key=value/…`."""
    for place, value in enumerate(values):
        path = folder / value / f"a.{form}"
        path.parent.mkdir(parents=True)
        ids = range(3 * place, 3 * place + 3)
        if form == "csv":
            path.write_text("id\n" + "".join(f"{number}\n" for number in ids))
        elif form == "jsonl":
            path.write_text("".join(f'{{"id": {number}}}\n' for number in ids))
        else:
            pq.write_table(pa.table({"id": list(ids)}), path)
    return folder


@pytest.mark.sweep(4)
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        (["k=2023", "k=2024"], pa.int64(), [2023, 2024]),
        (["k=01", "k=12"], pa.string(), ["01", "12"]),
        (["k=-5", "k=0"], pa.int64(), [-5, 0]),
        (["k=2024-01-05", "k=2024-02-30"], pa.string(), ["2024-01-05", "2024-02-30"]),
        (["k=2024-01-05", "k=2024-02-03"], pa.date32(), [datetime.date(2024, 1, 5), datetime.date(2024, 2, 3)]),
        (["k=at", "k=1"], pa.string(), ["at", "1"]),
        (["k=a%20b%2Fc", "k=__HIVE_DEFAULT_PARTITION__"], pa.string(), ["a b/c", None]),
    ],
)
def test_folders_are_columns_as_other_readers_have_them(tmp_path, form, values, kind, kept):
    layout(tmp_path / "in", values, form)
    result = collect(tmp_path / "in", tmp_path / "out")
    table = open_dataset(result.folder, "all").to_table()
    assert table.schema.field("k").type == kind
    expected = [{"id": 3 * place + row, "k": value} for place, value in enumerate(kept) for row in range(3)]
    assert rows_of(result, "id", "k") == expected
    if form == "csv" and None not in kept:
        theirs = duckdb.execute(
            "SELECT id, k FROM read_csv(?, hive_partitioning = true) ORDER BY id", [str(tmp_path / "in/*/*.csv")]
        ).fetchall()
        assert [tuple(row.values()) for row in expected] == theirs
    plain = load_dataset(str(tmp_path / "in"))
    batches = [batch for element in plain.elements("all") for batch in read_element(element, plain.schema)]
    assert pa.Table.from_batches(batches).select(["id", "k"]).sort_by("id").to_pylist() == expected
    # A few columns, the folder's alone among them.
    only = [b for element in plain.elements("all") for b in read_element(element, pa.schema([plain.schema.field("k")]))]
    assert sorted(map(str, pa.Table.from_batches(only)["k"].to_pylist())) == sorted(str(row["k"]) for row in expected)


def test_types_may_be_declared_and_files_may_lack_a_key(tmp_path):
    layout(tmp_path / "in", ["year=2024/month=01", "year=2025"])
    result = collect(tmp_path / "in", tmp_path / "out", types={"year": "string", "month": "int8"})
    assert rows_of(result, "id", "year", "month")[2:4] == [
        {"id": 2, "year": "2024", "month": 1},
        {"id": 3, "year": "2025", "month": None},
    ]
    with pytest.raises(HeadwaterError, match=r"the folder year=2024 cannot be read as date32"):
        collect(tmp_path / "in", tmp_path / "other", types={"year": "date32"})


def test_what_the_user_named_gives_no_column(tmp_path):
    layout(tmp_path / "in", ["year=2024/month=01"])
    for source in (tmp_path / "in/year=2024/month=01/a.csv", tmp_path / "in/year=2024/month=01"):
        assert collect(source, tmp_path / f"out-{source.name}").body["columns"].keys() == {"id", "_row_id"}
    result = collect(tmp_path / "in/year=2024/*/a.csv", tmp_path / "glob")
    assert list(result.body["columns"]) == ["id", "month", "_row_id"]


def test_a_key_and_a_column_of_one_name_are_refused(tmp_path):
    layout(tmp_path / "in", ["id=1"])
    with pytest.raises(HeadwaterError, match=r"'id' is a column of the file and a key of its folder"):
        collect(tmp_path / "in", tmp_path / "out")
    layout(tmp_path / "twice", ["k=1/k=2"])
    with pytest.raises(HeadwaterError, match=r"the folder's key 'k' appears twice"):
        collect(tmp_path / "twice", tmp_path / "out")


def test_equal_files_in_other_folders_are_other_content(tmp_path):
    found = set()
    for value in ("year=2023", "year=2024"):
        layout(tmp_path / value / "in", [value])
        result = collect(tmp_path / value / "in", tmp_path / value / "out")
        found |= {result.fingerprint, load_dataset(str(tmp_path / value / "in")).result.fingerprint}
    assert len(found) == 4


def test_packed_files_keep_their_folders_columns(tmp_path):
    (tmp_path / "in/year=2024").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "in/year=2024/a.zip", "w") as archive:
        archive.writestr("a.csv", "id\n1\n")
    assert rows_of(collect(tmp_path / "in", tmp_path / "out"), "id", "year") == [{"id": 1, "year": 2024}]


def test_what_tells_the_span_is_no_column(tmp_path):
    layout(tmp_path / "in", ["day=2024-01-05/country=at", "day=2024-01-06/country=de"])
    result = collect(tmp_path / "in/day={YYYY}-{MM}-{DD}/*/a.csv", tmp_path / "out", window=2)
    assert [row["country"] for row in rows_of(result, "id", "country")] == ["at"] * 3 + ["de"] * 3
    assert list(result.body["columns"]) == ["id", "country", "_row_id"]


def test_folders_named_split_are_splits_of_plain_input_and_a_column_for_collect(tmp_path):
    layout(tmp_path / "in", ["split=train", "split=eval"])
    plain = load_dataset(str(tmp_path / "in"))
    assert plain.splits == ["train", "eval"] and plain.schema.names == ["id"]
    result = collect(
        tmp_path / "in", tmp_path / "out", splits={"train": 1, "eval": 1}, split={"by": "column", "column": "split"}
    )
    assert {name: entry["rows"] for name, entry in result.body["splits"].items()} == {"train": 3, "eval": 3}


@pytest.mark.parametrize("name", ["split", "Split", "SPLIT"])
def test_other_readers_open_a_dataset_with_a_column_named_split(tmp_path, name):
    rows = pa.table({"id": range(40), name: ["x", "y"] * 20})
    pq.write_table(rows, tmp_path / "t.parquet")
    result = collect(tmp_path / "t.parquet", tmp_path / "out", splits={"train": 1, "eval": 1}, key=["id"])
    assert any(each["rule"] == "split_column" for each in result.body["findings"])
    folder = pathlib.Path(result.folder)
    own = open_dataset(result.folder).to_table().sort_by("id")
    assert own.column_names == ["id", name, "headwater_split"]
    theirs = pads.dataset(folder, format="parquet", partitioning="hive").to_table().sort_by("id")
    assert theirs.select(["id", name]).equals(rows)
    assert [str(each) for each in theirs["headwater_split"]] == [str(each) for each in own["headwater_split"]]
    query = f'SELECT id, "{name}", headwater_split FROM read_parquet(?, hive_partitioning = true) ORDER BY id'
    assert duckdb.execute(query, [f"{folder}/*/*.parquet"]).fetchall() == list(
        zip(*(own[each].to_pylist() for each in own.column_names))
    )
    compute_statistics(result.folder, str(tmp_path / "statistics"), workers=1)


@pytest.mark.parametrize("name", ["filename", "file_row_number", "__index_level_0__x", "headwater_split", "Row"])
def test_columns_with_names_of_readers_are_read_back(tmp_path, name):
    rows = pa.table({"id": range(4), name: ["a", "b", "c", "d"]})
    pq.write_table(rows, tmp_path / "t.parquet")
    if name.startswith("_"):
        with pytest.raises(HeadwaterError, match="rename"):
            collect(tmp_path / "t.parquet", tmp_path / "out")
        return
    result = collect(tmp_path / "t.parquet", tmp_path / "out", key=["id"])
    assert rows_of(result, "id", name) == rows.to_pylist()
    assert json.loads((tmp_path / "out/_manifest.json").read_text())["body"]["columns"].keys() == {"id", name}
