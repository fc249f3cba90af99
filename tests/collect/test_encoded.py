"""Text that Parquet holds as dictionaries, which is kept so on its way: the same dataset as when it is not."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.collect.shape import shaping
from headwater.components.common import open_dataset, sources
from headwater.components.common.arrow_types import ENCODED
from headwater.components.common.dataset import rejected

ROWS = 20_000


def table_of(rows: int = ROWS) -> pa.Table:
    chance = np.random.default_rng(3)

    def words(distinct: int, missing: float) -> pa.Array:
        numbers = chance.integers(0, distinct, rows)
        return pa.array([f"word-{number}" for number in numbers], mask=chance.random(rows) < missing)

    return pa.table(
        {
            "id": pa.array([f"id-{number:06}" for number in range(rows)]),
            "few": words(3, 0.0),
            "some": words(700, 0.2),
            "many": words(5_000, 0.1),
            "constant": pa.array(["always"] * rows),
            "nothing": pa.nulls(rows, pa.string()),
            "mail": pa.array([f"someone{number % 40}@example.com" for number in range(rows)]),
            "declared": pa.array([f"d{number % 4}" for number in range(rows)]).dictionary_encode(),
            "large": words(5, 0.1).cast(pa.large_string()),
            "nested": pa.array([{"few": f"n{number % 3}"} for number in range(rows)]),
            "number": chance.normal(size=rows),
        }
    )


def read(path: pathlib.Path, encoded: bool) -> list[pa.RecordBatch]:
    opened = sources.open_sources(sources.scan_files(sources.discover([str(path)]), "", sources.Reading(), workers=1))
    return [
        batch
        for element in opened.elements
        for batch, _, _ in sources.read_element(element, opened.schema, encoded=encoded)
    ]


def test_text_that_repeats_is_read_as_a_dictionary(tmp_path):
    pq.write_table(table_of(), tmp_path / "t.parquet")
    [plain], [encoded] = read(tmp_path / "t.parquet", False), read(tmp_path / "t.parquet", True)
    names = [field.name for field in encoded.schema if field.type.equals(ENCODED)]
    assert names == ["few", "some", "constant", "nothing", "mail", "declared"]
    for name, one, two in zip(plain.schema.names, plain.columns, encoded.columns):
        assert two.cast(one.type).equals(one), name


@pytest.mark.parametrize("options", [{"row_group_size": 7_000}, {"use_dictionary": False}])
def test_batches_are_those_that_plain_reading_gives(tmp_path, options):
    pq.write_table(table_of(), tmp_path / "t.parquet", **options)
    plain, encoded = read(tmp_path / "t.parquet", False), read(tmp_path / "t.parquet", True)
    assert [batch.num_rows for batch in plain] == [batch.num_rows for batch in encoded]
    assert pa.Table.from_batches(plain).schema == pa.Table.from_batches(encoded).schema


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"key": ["id"], "duplicates": "drop"},
        {"split": {"by": "column", "column": "few"}, "splits": {"word-0": 1, "word-1": 1}},
    ],
)
def test_a_dataset_is_the_same_whether_text_was_a_dictionary_or_not(tmp_path, monkeypatch, more):
    table = table_of()
    # A row that goes leaves no value of its own.
    table = table.set_column(5, "nothing", pa.array(["only here", *[None] * (ROWS - 1)], pa.string()))
    table = pa.concat_tables([table, table.slice(0, 1)]).unify_dictionaries().combine_chunks()
    pq.write_table(table, tmp_path / "t.parquet")
    settings = {"rename": {"many": "others"}, "columns": [], "workers": 1, **more}
    found = []
    for encoded in (True, False):
        monkeypatch.setattr(shaping.Shape, "as_read", encoded)
        result = collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / f"{encoded}"), **settings)
        rows = {split: open_dataset(result.folder, split).to_table() for split in result.body["splits"]}
        found.append((result.body, rows))
    (one, rows), (two, others) = found
    assert all(rows[split].equals(others[split]) and rows[split].schema == others[split].schema for split in rows)
    for body in (one, two):
        for split in body["splits"].values():
            # Of files' bytes, in which dictionaries may have another order.
            del split["bytes"], split["index_sha256"]
    assert one == two and one["profile"]["columns"]["constant"]["constant"] and "mail" in one["private"]


def test_rules_that_look_at_values_see_text(tmp_path):
    pq.write_table(table_of(), tmp_path / "t.parquet")
    settings = {
        "workers": 1,
        "analyse": False,
        "splits": {"all": 1.0},
        "missing": {"few": ["word-2"]},
        "filters": [{"name": "short", "keep": "many IS NULL OR length(many) < 7"}],
        "derived": [{"name": "upper", "expression": "upper(few)"}],
    }
    result = collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / "out"), **settings)
    rows = open_dataset(result.folder, "all").to_table()
    assert set(rows["upper"].unique().to_pylist()) == {"WORD-0", "WORD-1", None}
    assert result.body["accounts"]["filtered"]["short"] > 0 and result.body["sentinels"]["few"] > 0


def test_a_dictionary_with_text_that_is_none_rejects_its_rows(tmp_path):
    words = pa.array([b"fine", b"bad\xff"] * 3_000, pa.binary())
    pq.write_table(pa.table({"s": words, "n": range(6_000)}), tmp_path / "binary.parquet")
    # The same file, but for what it says of the column's type.
    table = pa.table({"s": pa.Array.from_buffers(pa.string(), 6_000, words.buffers()), "n": range(6_000)})
    pq.write_table(table, tmp_path / "t.parquet")
    settings = {"workers": 1, "analyse": False, "splits": {"all": 1.0}, "max_rejected_share": 1.0}
    result = collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / "out"), **settings)
    assert result.body["accounts"]["written"] == 3_000
    assert set(rejected(result)["reason"].to_pylist()) == {"encoding: not UTF-8"}
    for path in (tmp_path / "out").glob("split=all/*.parquet"):
        assert b"bad" not in path.read_bytes()
