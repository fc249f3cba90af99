"""Many small files: read and written together, and the dataset is what it is when each is taken alone."""

import pathlib

import aborting
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset, stores
from headwater.components.common.dataset import rejected
from headwater.components.common.dataset_index import shard_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import (
    Misfit,
    Reading,
    discover,
    joining,
    open_sources,
    read_element,
    read_elements,
    scan_files,
)
from headwater.components.common.sources.files import Element, SourceFile
from headwater.components.common.sources.formats import csv, headers

_ROWS = 5


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """160 files of CSV, Parquet and JSON Lines, some of them twice; a ragged record, a key that comes again in another file."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(160):
        first = number % 150 * _ROWS
        ids = list(range(first, first + _ROWS))
        if number == 120:
            ids[2] = 3
        rows = [(each, f"name {each}", each / 8, each % 3) for each in ids]
        name = folder / f"{number:03d}"
        if number % 3 == 1:
            columns = [list(column) for column in zip(*rows)]
            pq.write_table(pa.table(columns, ["id", "name", "share", "kind"]), f"{name}.parquet")
        elif number % 3 == 2:
            lines = [f'{{"id": {a}, "name": "{b}", "share": {c}, "kind": {d}}}' for a, b, c, d in rows]
            pathlib.Path(f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        else:
            lines = ["id,name,share,kind", *(",".join(map(str, row)) for row in rows)]
            if number == 9:
                lines.insert(3, "1,2")
            pathlib.Path(f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


def _apart(patch):
    patch.setattr(joining, "LEAST", 10**9)


def _collect(source, output, **settings):
    return collect_dataset(str(source), str(output), workers=1, **settings)


def _told(result):
    """What a dataset says, less how its rows lie in shards."""
    body = dict(result.body)
    splits = {
        name: {key: value for key, value in entry.items() if key in ("rows", "digest")}
        for name, entry in body.pop("splits").items()
    }
    refused = rejected(result).to_pylist()
    body.pop("rejected")
    rows = sorted(open_dataset(result.folder).to_table().to_pylist(), key=repr)
    return {**body, "splits": splits, "rows": rows, "refused": refused}


@pytest.mark.parametrize("settings", [{}, {"key": ["id"]}, {"key": ["id"], "duplicates": "drop"}], ids=str)
def test_together_as_apart(many, tmp_path, monkeypatch, settings):
    settings = {**settings, "types": {"kind": "string"}}
    together = _collect(many, tmp_path / "together", **settings)
    _apart(monkeypatch)
    apart = _collect(many, tmp_path / "apart", **settings)
    one, other = _told(together), _told(apart)
    for key in other:
        assert one[key] == other[key], key
    assert [row["row"] for row in one["refused"]] == [4] and one["refused"][0]["source"].endswith("009.csv")
    assert apart.body["splits"]["train"]["shards"] > 140 > 120 > together.body["splits"]["train"]["shards"] >= 60


def test_an_index_says_which_files_a_shard_is_of(many, tmp_path):
    result = _collect(many, tmp_path / "out", splits={"all": 1})
    files = [source["uri"] for source in result.body["lineage"]["sources"]]
    shards = shard_index(result, "all")
    covered = [
        file for shard in shards for file in files[files.index(shard["source"]) : files.index(shard["last"]) + 1]
    ]
    assert covered == files and any(shard["source"] != shard["last"] for shard in shards)


def test_writes_do_not_grow_with_files(many, tmp_path, monkeypatch):
    local = stores.store_of("/")
    written = []
    put = type(local).put
    monkeypatch.setattr(type(local), "put", lambda self, uri, content: (written.append(uri), put(self, uri, content)))
    _collect(many, tmp_path / "out")
    shards = [uri for uri in written if "/split=" in uri]
    assert 64 <= len(shards) <= 4 * joining.LEAST


def test_large_ones_stay_alone():
    sizes = [10, 10, 10, 1000, 10, 2000, 10, 10]
    assert joining.joined("abcdefgh", (sizes, 35)) == [
        ("a", "b", "c"),
        ("d",),
        ("e",),
        ("f",),
        ("g", "h"),
    ]
    # Of few the sizes say that each is worth a core.
    assert joining.joined("abcd", ([5, 5, 5, 5], 1_000)) == [("a",), ("b",), ("c",), ("d",)]
    assert joining.joined("", ([], 1)) == []


def test_wide_or_heavy_rows_are_not_piled_up():
    def runs(rows, size, columns):
        files = [SourceFile(f"/{number}.csv", "csv", size) for number in range(640)]
        elements = [Element(file, 0, size, 1, rows) for file in files]
        return joining.joined_ranges(elements, columns)

    assert len(runs(200, 50_000, 18)) == 64
    assert len(runs(200, 8 << 20, 18)) == 320
    assert len(runs(200, 50_000, 5_000)) == 320


def test_one_of_many_that_ends_its_reader_is_named(many, tmp_path):
    bad = many / "094.parquet"
    told = aborting.said(many, tmp_path / "out", bad)
    assert f"HeadwaterError: {bad}: the worker process that handled it died twice" in told


_LINES = st.sampled_from(
    [
        b"1,a,2.5",
        b"2,b,",
        b"03,c,1",
        b"4,,-1e3",
        b'5,"d, e",7',
        b'6,"two\nlines",8',
        b"7,g",
        b"8,\xff,1",
        b'9,5" x,2',
        b"",
    ]
)


@st.composite
def _small(draw):
    end = draw(st.sampled_from([b"\n", b"\n", b"\r\n"]))
    lines = draw(st.lists(_LINES, min_size=1, max_size=6))
    header = draw(st.sampled_from([b"id,name,share", b"id,name,share", b"id,name,share", b"id,other,share"]))
    return end.join([header, *lines]) + draw(st.sampled_from([end, end, b""]))


def _opened(folder):
    return open_sources(scan_files(discover([str(folder)]), "", Reading(), workers=1), workers=1)


def _outcome(read):
    """What reading gives: rows with the place of their range and their number, and what was refused."""
    try:
        read = list(read)
    except Misfit:
        return "misfit"
    rows = [
        row for batch, of, numbers, _ in read for row in zip(of.tolist(), numbers.tolist(), map(str, batch.to_pylist()))
    ]
    return rows, [refused for *_, told in read for refused in told]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(_small(), min_size=2, max_size=6))
def test_read_at_once_as_one_by_one(tmp_path, contents):
    for old in tmp_path.iterdir():
        old.unlink()
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.csv").write_bytes(content)
    opened = _opened(tmp_path)
    arguments = opened.schema, opened.guessed
    alone = (
        (batch, np.full(len(rows), place), rows, [(place, each) for each in refused])
        for place, element in enumerate(opened.elements)
        for batch, rows, refused in read_element(element, *arguments)
    )
    expected = _outcome(alone)
    assert _outcome(read_elements(opened.elements, *arguments)) == expected


def test_files_alike_are_parsed_once(tmp_path, monkeypatch):
    for number in range(5):
        (tmp_path / f"{number}.csv").write_text(f'id,name\n{number},"a"\n{number},"b\nc"\n')
    opened = _opened(tmp_path)
    parsed = []
    parse = csv.parse
    monkeypatch.setattr(csv, "parse", lambda data, *others: (parsed.append(data), parse(data, *others))[1])
    assert len(_outcome(read_elements(opened.elements, opened.schema, opened.guessed))[0]) == 10
    assert len(parsed) == 1


def test_rows_that_moved_to_another_file_are_no_fit(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("id,name\n1,a\n2,b\n3,c\n")
    opened = _opened(tmp_path)
    (tmp_path / "0.csv").write_text("id,name\n1,a\n2,bbbbb\n")
    (tmp_path / "1.csv").write_text("id,name\n1,\n2,\n3,\n4,\n")
    assert _outcome(read_elements(opened.elements, opened.schema, opened.guessed)) == "misfit"


def test_of_files_alike_the_one_that_is_gone_is_named(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("id,name\n1,a\n2,b\n")
    opened = _opened(tmp_path)
    (tmp_path / "1.csv").unlink()
    with pytest.raises(HeadwaterError, match="1.csv"):
        list(read_elements(opened.elements, opened.schema, opened.guessed))


_CELLS = st.sampled_from(
    ["", "1", "-1", "1.", ".5", "-.5", "1.5.", "1e3", "12 %", " 3 ", "NA", "true", "2024-01-02", "x", "5\n6", "٣", "1-"]
)


@given(st.lists(_CELLS, max_size=6))
def test_the_kind_of_a_column_is_that_of_its_values(column):
    kinds = {kind for cell in column if (kind := headers._kind(cell))}
    expected = kinds.pop() if len(kinds) == 1 else ""
    assert headers._kind_of_all(column) == ("" if expected == "text" else expected)
