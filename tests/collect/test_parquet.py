"""Parquet files that were read wrongly, or called damaged: the right value, a rejected row, or one error that names them."""

from __future__ import annotations

import datetime
import pathlib
import zlib

import aborting
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.components.collect import collect_dataset
from headwater.components.common import hashing, open_dataset
from headwater.components.common.arrow_types import canonical_type, is_same, with_type
from headwater.components.common.dataset import load_dataset, read_element, rejected
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.shard_writer import ShardWriter
from headwater.components.common.sources.cells import find_rows, leaves
from headwater.components.generate_statistics import compute_statistics
from headwater.components.label import label_dataset

SPLITS = {"splits": {"all": 1.0}, "analyse": False, "workers": 1, "max_rejected_share": 1.0}


def collect(source, output, **more):
    return collect_dataset(str(source), str(output), **{**SPLITS, **more})


def rows_of(result):
    table = open_dataset(result.folder, "all").to_table()
    return table.select([name for name in table.column_names if name not in ("_row_id", "split")]).to_pylist()


def write(folder, table, name="t.parquet", **options):
    pq.write_table(table, folder / name, **options)
    return folder / name


# Nested types, with parts that must be there and parts that need not, under the names that writers give them.
LEAVES = st.sampled_from([pa.int64(), pa.string(), pa.float64(), pa.bool_(), pa.timestamp("us"), pa.binary()])
NAMES = st.sampled_from(["item", "element", "array", "m"])
KINDS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda kind, name, null: pa.list_(pa.field(name, kind, null)), inner, NAMES, st.booleans()),
        st.builds(lambda kind, null: pa.map_(pa.string(), pa.field("value", kind, null)), inner, st.booleans()),
        st.builds(
            lambda kinds, null: pa.struct([pa.field(f"f{n}", kind, null) for n, kind in enumerate(kinds)]),
            st.lists(inner, min_size=1, max_size=2),
            st.booleans(),
        ),
    ),
    max_leaves=4,
)


def values_of(kind, chance):
    """A random value of a type; nothing is missing where its parts must be there."""
    if pa.types.is_struct(kind):
        return {field.name: maybe(field, chance) for field in kind}
    if pa.types.is_map(kind):
        return [(f"k{n}", maybe(kind.item_field, chance)) for n in range(chance.integers(0, 3))]
    if pa.types.is_list(kind):
        return [maybe(kind.value_field, chance) for _ in range(chance.integers(0, 3))]
    number = int(chance.integers(0, 9))
    if pa.types.is_timestamp(kind):
        return datetime.datetime(2024, 1, 1 + number)
    return {pa.int64(): number, pa.string(): f"t{number}", pa.float64(): number / 2, pa.bool_(): number > 4}.get(
        kind, bytes([number])
    )


def maybe(field, chance):
    return None if field.nullable and chance.random() < 0.3 else values_of(field.type, chance)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(kind=KINDS, seed=st.integers(0, 1000))
def test_every_nested_type_is_kept(tmp_path_factory, kind, seed):
    folder = tmp_path_factory.mktemp("nested")
    chance = np.random.default_rng(seed)
    given = [maybe(pa.field("x", kind), chance) for _ in range(12)]
    table = pa.table({"id": pa.array(range(12)), "x": pa.array(given, kind)})
    result = collect(write(folder, table), folder / "out", key=["id"])
    own = pa.table({"id": range(12), "x": pa.array(given, canonical_type(kind))})
    assert rows_of(result) == own.to_pylist()
    assert load_dataset(result.folder).schema.field("x").type.equals(canonical_type(kind))


@settings(max_examples=100, deadline=None)
@given(kind=KINDS, seed=st.integers(0, 1000), start=st.integers(0, 3))
def test_a_type_under_other_names_holds_the_same(kind, seed, start):
    chance = np.random.default_rng(seed)
    given = [maybe(pa.field("x", kind), chance) for _ in range(9)]
    array = pa.array(given, kind).slice(start)
    other = with_type(array, canonical_type(kind))
    other.validate(full=True)
    assert is_same(other.type, canonical_type(kind))
    assert other.equals(pa.array(given, canonical_type(kind)).slice(start))
    assert (hashing.hash_values(other) == hashing.hash_values(array)).all()


def required_map(rows=10):
    kind = pa.map_(pa.string(), pa.field("value", pa.int64(), nullable=False))
    return pa.table({"id": range(rows), "m": pa.array([[("k", n)] for n in range(rows)], kind)})


def test_maps_of_required_values_go_through_every_component(tmp_path):
    source = write(tmp_path, required_map())
    expected = [[("k", n)] for n in range(10)]
    functions = [{"name": f"f{n}", "sql": f"CASE WHEN id > {n} THEN 'a' ELSE 'b' END"} for n in range(3)]
    steps = [{"method": "weak_supervision", "classes": ["a", "b"], "functions": functions}]
    labels = label_dataset(str(source), str(tmp_path / "labels"), steps=steps, workers=1)
    assert sorted(open_dataset(labels.folder).to_table(columns=["m"])["m"].to_pylist()) == expected
    plain = load_dataset(str(source))
    batches = [batch for element in plain.elements("all") for batch in read_element(element, plain.schema)]
    assert pa.Table.from_batches(batches)["m"].to_pylist() == expected
    compute_statistics(str(source), str(tmp_path / "statistics"), workers=1)


def test_a_shard_that_does_not_read_back_is_told(monkeypatch):
    # A writer at fault: it writes other values than it was given.
    table = pa.table({"id": [1, 2], "m": pa.array([[("k", 1)], [("k", 2)]], pa.map_(pa.string(), pa.int64()))})
    batch = table.to_batches()[0]
    writer = ShardWriter()
    writer.write(batch, np.zeros(2, np.uint64))
    other = pa.array([[("k", None)], [("k", 2)]], pa.map_(pa.string(), pa.int64()))
    writer._first = pa.RecordBatch.from_arrays([batch.column(0), other], batch.schema.names)
    with pytest.raises(HeadwaterError, match=r"column 'm' is map<string, int64.*does not read back as it was"):
        writer.close()


def int96(folder, values, name="t.parquet"):
    table = pa.table({"id": range(len(values)), "t": values})
    return write(folder, table, name, use_deprecated_int96_timestamps=True)


def test_years_beyond_nanoseconds_are_kept(tmp_path):
    # What Spark writes of 9999-12-31; DuckDB and a newer pyarrow read it so as well.
    days = [datetime.datetime(2024, 5, 1), datetime.datetime(9999, 12, 31), datetime.datetime(1, 1, 1), None]
    path = tmp_path / "t.parquet"
    duckdb.execute(f"COPY (SELECT unnest(?) AS t) TO '{path}'", [days])
    ours = int96(tmp_path, pa.array(days, pa.timestamp("us")), "int96.parquet")
    for source in (path, ours):
        result = collect(source, tmp_path / f"out-{source.stem}")
        assert [row["t"] for row in rows_of(result)] == days
    assert pq.ParquetFile(ours).schema.column(1).physical_type == "INT96"


@pytest.mark.parametrize("nested", [False, True])
def test_nanoseconds_of_int96_are_rejected_or_declared(tmp_path, nested):
    times = pa.array([1_700_000_000_000_000_000, 1_700_000_000_000_000_001, None], pa.timestamp("ns"))
    values = pa.StructArray.from_arrays([times], ["at"]) if nested else times
    result = collect(int96(tmp_path, values), tmp_path / "out")
    [refused] = rejected(result).to_pylist()
    assert (refused["row"], refused["column"]) == (2, "t") and refused["reason"].startswith(
        "timestamp: has nanoseconds"
    )
    assert result.body["accounts"] == {"read": 3, "written": 2, "rejected": 1, "filtered": {}}
    if not nested:
        far = pa.array([1_700_000_000_000_000_001, 253402214400_000_000], pa.timestamp("ns"))
        source = int96(tmp_path, far, "ns.parquet")
        exact = collect(source, tmp_path / "exact", types={"t": "timestamp[ns]"})
        found = open_dataset(exact.folder).to_table()["t"].cast(pa.int64()).to_pylist()
        assert found == [1_700_000_000_000_000_001, 253402214400_000_000]


def bad_text(kind):
    good, bad = b"fine", b"\xff\xfe"
    raw = pa.array([good, bad, None, good, bad, good], pa.binary())
    offsets = pa.py_buffer(np.arange(7, dtype=np.int32))
    text = pa.Array.from_buffers(pa.string(), 6, raw.buffers(), 1)
    if kind == "text":
        return text
    if kind == "large":
        return pa.Array.from_buffers(pa.large_string(), 6, raw.cast(pa.large_binary()).buffers(), 1)
    if kind == "struct":
        return pa.StructArray.from_arrays([text], ["s"])
    if kind == "dictionary":
        return pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0, 1, 0]), text.slice(0, 2))
    if kind == "list":
        return pa.Array.from_buffers(pa.list_(pa.string()), 6, [None, offsets], 0, children=[text])
    keys = pa.array(list("abcdef"))
    return pa.MapArray.from_arrays(pa.array(range(7), pa.int32()), keys, text)


@pytest.mark.sweep(5)
@pytest.mark.parametrize("analyse", [False, True])
@pytest.mark.parametrize("kind", ["text", "large", "struct", "dictionary", "list", "map"])
def test_rows_with_invalid_text_are_rejected(tmp_path, kind, analyse):
    source = write(tmp_path, pa.table({"id": range(6), "s": bad_text(kind)}))
    result = collect(source, tmp_path / "out", analyse=analyse)
    assert [(each["row"], each["column"], each["reason"]) for each in rejected(result).to_pylist()] == [
        (2, "s", "encoding: not UTF-8"),
        (5, "s", "encoding: not UTF-8"),
    ]
    assert [row["id"] for row in rows_of(result)] == [0, 2, 3, 5]
    with pytest.raises(HeadwaterError, match=r"row 2, column 's': encoding: not UTF-8"):
        compute_statistics(str(source), str(tmp_path / "statistics"), workers=1)


def test_invalid_text_after_many_batches_is_rejected_by_row(tmp_path):
    count = 150_000
    good = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int64)), pa.array(["fine", "good"]))
    bad = bad_text("dictionary")
    path = tmp_path / "t.parquet"
    with pq.ParquetWriter(path, pa.schema([("id", pa.int64()), ("s", bad.type)])) as writer:
        writer.write_table(pa.table({"id": np.arange(count), "s": good}))
        writer.write_table(pa.table({"id": range(count, count + 6), "s": bad}))
    result = collect(path, tmp_path / "out")
    assert [each["row"] for each in rejected(result).to_pylist()] == [count + 2, count + 5]
    assert sorted(row["id"] for row in rows_of(result)) == sorted({*range(count + 6)} - {count + 1, count + 4})


def test_rows_are_found_by_halving():
    chance = np.random.default_rng(5)
    for size in (0, 1, 2, 7, 100, 1000):
        bad = chance.random(size) < 0.05
        array = pa.array(bad)
        assert (
            find_rows([array], lambda parts: pa.compute.any(parts[0]).as_py() or False).tolist()
            == np.flatnonzero(bad).tolist()
        )
    nested = pa.array([[1, 2], None, [], [3]]).slice(1)
    assert [leaf.to_pylist() for leaf in leaves(nested)] == [[3]]


def gzip_members(folder: pathlib.Path) -> pathlib.Path:
    """A file whose one page is compressed as two gzip members, as some writers make them."""
    options = {"compression": "GZIP", "compression_level": 1, "use_dictionary": False, "write_statistics": False}
    path = write(folder, pa.table({"x": pa.array(np.arange(5000))}), **options)
    content = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(0)
    start = content.index(b"\x1f\x8b", column.data_page_offset)
    stop = column.data_page_offset + column.total_compressed_size
    plain = zlib.decompress(content[start:stop], 31)
    # The members together are to be as long as the page was, for the header says so: empty blocks fill what is left.
    filler = b"\0\0\0\xff\xff"
    for cut in range(8, len(plain) - 8, 8):
        first, second = (zlib.compressobj(9, zlib.DEFLATED, 31) for _ in range(2))
        head = first.compress(plain[:cut]) + first.flush()
        body, end = second.compress(plain[cut:]) + second.flush(zlib.Z_FULL_FLUSH), second.flush()
        spare = stop - start - len(head) - len(body) - len(end)
        if spare >= 0 and spare % len(filler) == 0:
            filled = head + body + filler * (spare // len(filler)) + end
            path.write_bytes(content[:start] + filled + content[stop:])
            return path
    assert int(pa.__version__.split(".")[0]) >= 15, "no cut leaves two members as short as one"
    pytest.skip("no cut leaves two members as short as one; this pyarrow reads all members by itself")


def test_all_members_of_a_gzip_page_are_read(tmp_path):
    result = collect(gzip_members(tmp_path), tmp_path / "out")
    assert sorted(row["x"] for row in rows_of(result)) == list(range(5000))
    one = collect(write(tmp_path, pa.table({"x": range(513)}), "one.parquet", compression="GZIP"), tmp_path / "one")
    assert sorted(row["x"] for row in rows_of(one)) == list(range(513))


def test_what_pyarrow_cannot_read_duckdb_reads(tmp_path):
    path = tmp_path / "v2.parquet"
    duckdb.execute(
        f"COPY (SELECT range AS id, 'text ' || range AS s FROM range(5000)) TO '{path}' "
        "(PARQUET_VERSION v2, ROW_GROUP_SIZE 2048)"
    )
    encodings = {each for n in range(2) for each in pq.read_metadata(path).row_group(0).column(n).encodings}
    assert encodings & {"DELTA_LENGTH_BYTE_ARRAY", "DELTA_BINARY_PACKED", "RLE_DICTIONARY"}
    expected = [{"id": n, "s": f"text {n}"} for n in range(5000)]
    assert rows_of(collect(path, tmp_path / "out")) == expected
    plain = load_dataset(str(path))
    batches = [batch for element in plain.elements("all") for batch in read_element(element, plain.schema)]
    assert pa.Table.from_batches(batches).to_pylist() == expected


@pytest.mark.parametrize("name", ["v[2].parquet", "*?[!2'].parquet"])
def test_what_duckdb_reads_is_one_file_though_others_match_its_name(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    for first, called in ((0, name), (100, "v2.parquet"), (200, "a-b3.parquet")):
        written = tmp_path / "written.parquet"
        query = f"SELECT {first} + range AS id, 'text ' || range AS s FROM range(100)"
        duckdb.execute(f"COPY ({query}) TO '{written}' (PARQUET_VERSION v2)")
        written.rename(folder / called)
    assert sorted(row["id"] for row in rows_of(collect(folder, tmp_path / "out"))) == list(range(300))


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -9])
def test_files_that_are_cut_short_are_told_as_that(tmp_path, cut):
    path = write(tmp_path, pa.table({"id": range(1000)}))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(HeadwaterError, match=rf"^{path}: (the file is empty|not a complete Parquet file)"):
        collect(path, tmp_path / "out")


def test_a_footer_that_promises_more_rows_is_told(tmp_path, monkeypatch):
    path = write(tmp_path, pa.table({"id": range(1000)}))
    from headwater.components.common.sources.formats import parquet

    honest = parquet.read_footer(str(path))
    monkeypatch.setattr(parquet, "read_footer", lambda uri: honest._replace(ranges=[(0, 1, 1001)]))
    with pytest.raises(HeadwaterError, match=rf"{path}: the footer says .* have 1,001 rows, but 1,000 could be read"):
        collect(path, tmp_path / "out")


def test_a_file_that_ends_its_reader_is_named(tmp_path):
    path = write(tmp_path, pa.table({"id": range(1000)}))
    told = aborting.said(path, tmp_path / "out", path)
    assert f"HeadwaterError: {path}: the worker process that handled it died twice (signal SIGABRT)" in told


def test_a_files_metadata_is_parsed_once_and_follows_the_file(tmp_path):
    from headwater.components.common.sources.formats import parquet

    def total(values):
        path = write(tmp_path, pa.table({"x": pa.array(values, pa.int64())}), row_group_size=100, compression="NONE")
        opened = load_dataset(str(path), workers=1)
        return sum(
            sum(batch["x"].to_pylist())
            for part in opened.elements("all")
            for batch in read_element(part, opened.schema)
        )

    parquet._parsed.cache_clear()
    assert total([1] * 1_000) == 1_000
    assert parquet._parsed.cache_info().misses == 1 and parquet._parsed.cache_info().hits >= 1
    # As many bytes, and a footer as long.
    size = (tmp_path / "t.parquet").stat().st_size
    assert total([7] * 1_000) == 7_000 and (tmp_path / "t.parquet").stat().st_size == size
    # A footer longer than what is read of a file at first.
    many = {f"column {number} with a long name": [number] for number in range(900)}
    path = write(tmp_path, pa.table(many), "many.parquet")
    assert int.from_bytes(path.read_bytes()[-8:-4], "little") > parquet._TAIL_BYTES
    assert load_dataset(str(path), workers=1).schema.names == list(many)
