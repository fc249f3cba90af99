"""Shards read whole and by columns: the same rows, fewer bytes, and every altered byte told."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.shard_file import Shard, describe, read_shard

ROWS = 3_000


def table_of() -> pa.Table:
    chance = np.random.default_rng(0)
    whole = chance.integers(0, 1 << 60, ROWS)
    return pa.table(
        {
            "a": whole,
            "word": pa.array([f"w{n % 7}" for n in whole.tolist()]).dictionary_encode(),
            "a.b": chance.normal(size=ROWS),
            "nested": pa.array([{"x": int(n), "y": [float(n), 1.0]} for n in range(ROWS)]),
            "none": pa.nulls(ROWS),
            "last": pa.array([None if n % 3 else n for n in range(ROWS)], pa.int32()),
        }
    )


def write(folder: pathlib.Path, **options) -> Shard:
    table = table_of()
    pq.write_table(table, folder / "shard.parquet", **options)
    content = (folder / "shard.parquet").read_bytes()
    told = describe(content)
    return Shard(
        str(folder / "shard.parquet"),
        ROWS,
        told["bytes"],
        told["sha256"],
        len(table.schema),
        np.array(told["parts"], np.uint32).tobytes(),
    )


@pytest.mark.parametrize("options", [{}, {"row_group_size": 700}, {"use_dictionary": False, "compression": "none"}])
@pytest.mark.parametrize(
    "names",
    [["a"], ["a.b"], ["last", "a"], ["nested"], ["word", "none"], ["a", "word", "a.b", "nested", "none", "last"]],
)
def test_columns_are_those_of_the_whole(tmp_path, options, names):
    shard = write(tmp_path, **options)
    assert read_shard(shard, names).select(names).equals(pq.read_table(shard.uri).select(names))
    without = Shard(shard.uri, shard.rows, shard.bytes, shard.sha256, shard.columns)
    assert read_shard(without, names).select(names).equals(pq.read_table(shard.uri).select(names))


def test_few_columns_are_read_by_few_bytes(tmp_path, monkeypatch):
    shard = write(tmp_path, use_dictionary=False, compression="none")
    # What the file is opened through counts; the file is a real one.
    opened, counted = storage.open_input, []

    class Counting:
        def __init__(self, stream):
            self._stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._stream.close()

        def __getattr__(self, name):
            return getattr(self._stream, name)

        def read(self, size):
            counted.append(size)
            return self._stream.read(size)

    monkeypatch.setattr(storage, "open_input", lambda uri: Counting(opened(uri)))
    monkeypatch.setattr("headwater.components.common.shard_file._TAIL_BYTES", 4_096)
    monkeypatch.setattr("headwater.components.common.shard_file._GAP_BYTES", 0)
    read_shard(shard, ["last"])
    assert sum(counted) < 0.15 * shard.bytes


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_altered_byte_is_told_wherever_it_matters(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("shard")
    shard = write(folder, row_group_size=1_000)
    place = data.draw(st.integers(0, shard.bytes - 1))
    content = bytearray((folder / "shard.parquet").read_bytes())
    content[place] ^= data.draw(st.integers(1, 255))
    (folder / "shard.parquet").write_bytes(content)
    with pytest.raises(HeadwaterError, match="shard.parquet: the file was altered"):
        read_shard(shard, table_of().column_names)
    for name in ("a", "nested"):
        try:
            found = read_shard(shard, [name])
        except HeadwaterError as error:
            assert "was altered" in str(error)
        else:
            assert found[name].equals(table_of()[name])


@pytest.mark.parametrize("columns", [["a"], ["a", "word", "a.b", "nested", "none", "last"]])
def test_a_truncated_a_longer_and_a_missing_file_are_told(tmp_path, columns):
    shard = write(tmp_path)
    path = pathlib.Path(shard.uri)
    content = path.read_bytes()
    for other in (content[:-1], content[:100], b"", content + b"x"):
        path.write_bytes(other)
        with pytest.raises(HeadwaterError, match="was altered after it was written"):
            read_shard(shard, columns)
    path.unlink()
    with pytest.raises(HeadwaterError, match="no such file; this dataset was removed or moved: run again"):
        read_shard(shard, columns)
