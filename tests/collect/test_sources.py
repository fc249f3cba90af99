"""Every format that collect reads, compressed and encoded in every way, against independent readers."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import pathlib
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.dataset import rejected
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import files, staging
from headwater.components.common.sources.formats import csv as csv_format

TEXT = 'id,name,"note"\n1,Zoë,"two\nlines"\n2,,x\n3,Łódź,"say ""hi"""\n'
ROWS = [
    {"id": 1, "name": "Zoë", "note": "two\nlines"},
    {"id": 2, "name": None, "note": "x"},
    {"id": 3, "name": "Łódź", "note": 'say "hi"'},
]


def collect(source, output, **settings):
    sources = [str(each) for each in source] if isinstance(source, list) else str(source)
    return collect_dataset(sources, str(output), workers=1, **{"analyse": False, **settings})


def rows_of(result, *columns):
    names = columns or [name for name in result.body["columns"] if not name.startswith("_")]
    rows = open_dataset(result.folder).to_table(columns=list(names)).to_pylist()
    return sorted(rows, key=lambda row: json.dumps(row, default=str))


def write(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def packed(content: bytes, kind: str) -> bytes:
    if kind == "gz":
        # Two members in one file, as `cat a.gz b.gz` makes them.
        return gzip.compress(content[:20]) + gzip.compress(content[20:])
    if kind == "bz2":
        return bz2.compress(content)
    if kind == "zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        return sink.getvalue().to_pybytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/t.csv", content)
        archive.writestr("__MACOSX/t.csv", b"junk")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["gz", "bz2", "zst", "zip"])
def test_compressed_csv_is_read_like_plain(tmp_path, kind):
    name = "t.zip" if kind == "zip" else f"t.csv.{kind}"
    result = collect(write(tmp_path / name, packed(TEXT.encode(), kind)), tmp_path / "out")
    assert rows_of(result) == ROWS
    assert result.body["accounts"]["read"] == 3


def test_compression_changes_no_digest(tmp_path):
    plain = collect(write(tmp_path / "t.csv", TEXT.encode()), tmp_path / "a", key=["id"])
    zipped = collect(write(tmp_path / "t.csv.gz", packed(TEXT.encode(), "gz")), tmp_path / "b", key=["id"])
    for split in plain.body["splits"]:
        assert plain.body["splits"][split]["digest"] == zipped.body["splits"][split]["digest"]


@pytest.mark.parametrize("kind", ["gz", "bz2", "zst", "zip"])
def test_a_compressed_file_cut_short_is_told(tmp_path, kind):
    name = "t.zip" if kind == "zip" else f"t.csv.{kind}"
    content = packed(TEXT.encode() * 200, kind)
    with pytest.raises(HeadwaterError, match=f"{name}: cannot be unpacked"):
        collect(write(tmp_path / name, content[: len(content) * 2 // 3]), tmp_path / "out")


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "iso8859-2", "cp1250"]
)
def test_encodings_are_read(tmp_path, encoding):
    text = (
        TEXT
        if encoding.startswith("utf")
        else TEXT.replace("Łódź", "Ulm")
        if "1252" in encoding or "latin" in encoding
        else TEXT.replace("Zoë", "Zoë")
    )
    path = write(tmp_path / "t.csv", text.encode(encoding))
    named = {} if encoding in ("utf-8-sig", "utf-16", "utf-32") else {"encoding": encoding}
    found = rows_of(collect(path, tmp_path / "out", **named), "id", "name")
    expected = [
        {"id": int(row["id"]), "name": row["name"] or None} for row in csv.DictReader(io.StringIO(text, newline=""))
    ]
    assert found == sorted(expected, key=lambda row: json.dumps(row, default=str))


def test_text_that_is_not_in_its_encoding_is_told(tmp_path):
    path = write(tmp_path / "t.csv", "a\nx\n".encode("utf-16") + b"\x00\xd8")
    with pytest.raises(HeadwaterError, match="t.csv: not utf-16 near byte"):
        collect(path, tmp_path / "out")


def test_an_unknown_encoding_is_refused_before_any_work(tmp_path):
    with pytest.raises(HeadwaterError, match="encoding: there is no such encoding"):
        collect(tmp_path / "absent.csv", tmp_path / "out", encoding="utf-9")


def test_tabs_and_names_given(tmp_path):
    result = collect(write(tmp_path / "t.tsv", b"1\tx,y\n2\tz\n"), tmp_path / "out", column_names=["id", "text"])
    assert rows_of(result) == [{"id": 1, "text": "x,y"}, {"id": 2, "text": "z"}]
    assert result.body["accounts"]["read"] == 2


@pytest.mark.parametrize("block", [7, 64, 1 << 20])
def test_names_given_lose_no_row_at_any_block_size(tmp_path, monkeypatch, block):
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    lines = [f"{i},v{i}" for i in range(50)]
    result = collect(
        write(tmp_path / "t.csv", ("\ufeff" + "\n".join(lines)).encode()), tmp_path / "out", column_names=["a", "b"]
    )
    assert [row["a"] for row in sorted(rows_of(result), key=lambda row: row["a"])] == list(range(50))


def test_json_lines_keep_structs_and_lists(tmp_path):
    records = [
        {"id": 1, "tags": ["a", "b"], "user": {"name": "Zoë", "age": 30}, "at": "2013-07-01T12:00:00"},
        {"id": 2, "tags": [], "user": {"name": "Bo", "age": None}, "at": None},
        {"id": 3, "user": None, "extra": 1.5},
    ]
    content = "\n".join(json.dumps(record) for record in records).encode()
    result = collect(write(tmp_path / "t.jsonl", content), tmp_path / "out")
    found = {row["id"]: row for row in rows_of(result)}
    assert found[1]["tags"] == ["a", "b"] and found[1]["user"] == {"name": "Zoë", "age": 30}
    assert found[1]["at"].hour == 12
    assert found[2]["tags"] == [] and found[2]["user"] == {"name": "Bo", "age": None}
    assert found[3]["user"] is None and found[3]["extra"] == 1.5


def test_bad_json_lines_are_rejected_and_the_others_written(tmp_path):
    lines = [b'{"a": 1}', b"{broken", b'{"a": 2}', b"[1, 2]", b'{"a": 3, "b": "\xff"}', b"", b'{"a": 4}', b"null"]
    result = collect(write(tmp_path / "t.jsonl", b"\n".join(lines)), tmp_path / "out", max_rejected_share=1.0)
    assert [row["a"] for row in rows_of(result)] == [1, 2, 3, 4][:2] + [4]
    table = rejected(result).to_pylist()
    assert [(row["row"], row["reason"].partition(":")[0]) for row in table] == [
        (2, "json"),
        (4, "json"),
        (5, "encoding"),
        (7, "json"),
    ]
    assert result.body["accounts"] == {"read": 7, "written": 3, "rejected": 4, "filtered": {}}


def test_json_values_of_two_types_become_text(tmp_path):
    content = b'{"a": 1, "b": {"x": 1}}\n{"a": "one", "b": [1]}\n{"a": 2.5, "b": null}\n'
    result = collect(write(tmp_path / "t.jsonl", content), tmp_path / "out")
    assert result.body["columns"]["a"] == "string"
    assert sorted(row["a"] for row in rows_of(result)) == ["1", "2.5", "one"]
    assert sorted(str(row["b"]) for row in rows_of(result)) == ["None", "[1]", '{"x": 1}']


def test_sources_of_different_formats_are_united_by_name(tmp_path):
    write(tmp_path / "in/a.csv", b"id,x\n1,1.5\n")
    write(tmp_path / "in/b.jsonl", b'{"id": 2, "y": ["q"]}\n')
    pq.write_table(pa.table({"id": pa.array([3], pa.int32()), "x": [7.0]}), tmp_path / "in/c.parquet")
    result = collect(tmp_path / "in", tmp_path / "out", union=True)
    assert rows_of(result) == [
        {"id": 1, "x": 1.5, "y": None},
        {"id": 2, "x": None, "y": ["q"]},
        {"id": 3, "x": 7.0, "y": None},
    ]


def test_a_file_that_declares_its_type_goes_before_a_guess(tmp_path):
    write(tmp_path / "in/a.csv", b"id\n1\nseven\n")
    pq.write_table(pa.table({"id": [3]}), tmp_path / "in/c.parquet")
    result = collect(tmp_path / "in", tmp_path / "out", max_rejected_share=1.0)
    assert [row["id"] for row in rows_of(result)] == [1, 3]
    assert rejected(result)["value"].to_pylist() == ["seven"]


def test_structs_of_parquet_files_widen_by_field(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"s": [{"a": 1}, None]}), tmp_path / "in/a.parquet")
    pq.write_table(pa.table({"s": [{"a": 2.5, "b": "x"}]}), tmp_path / "in/b.parquet")
    result = collect(tmp_path / "in", tmp_path / "out")
    found = [row["s"] for row in rows_of(result)]
    assert sorted(map(str, found)) == sorted(map(str, [{"a": 1.0, "b": None}, None, {"a": 2.5, "b": "x"}]))


def test_a_type_that_appears_late_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_format, "SAMPLE_BYTES", 64)
    monkeypatch.setattr(files, "BLOCK_BYTES", 200)
    numbers = "".join(f"{i},{i},\n" for i in range(100))
    late = "a,b,c\n" + numbers + "100,later,\n101,007,5\n"
    result = collect(write(tmp_path / "t.csv", late.encode()), tmp_path / "out")
    assert {name: kind for name, kind in result.body["columns"].items() if not name.startswith("_")} == {
        "a": "int64",
        "b": "string",
        "c": "int64",
    }
    assert {"a": 101, "b": "007", "c": 5} in rows_of(result)
    assert result.body["accounts"]["written"] == 102


@pytest.mark.sweep(2)
@pytest.mark.parametrize("tail", ["007", "12345678901234567890", "1e400", "2013-01-01", "true"])
def test_a_guess_gives_what_reading_everything_gives(tmp_path, monkeypatch, tail):
    text = ("a\n" + "".join(f"{i}\n" for i in range(1, 60)) + tail + "\n").encode()
    whole = collect(write(tmp_path / "t.csv", text), tmp_path / "whole")
    monkeypatch.setattr(csv_format, "SAMPLE_BYTES", 32)
    guessed = collect(tmp_path / "t.csv", tmp_path / "guessed")
    assert guessed.body["columns"] == whole.body["columns"]
    assert {s: e["digest"] for s, e in guessed.body["splits"].items()} == {
        s: e["digest"] for s, e in whole.body["splits"].items()
    }


def test_no_shard_of_a_wrong_guess_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_format, "SAMPLE_BYTES", 32)
    monkeypatch.setattr(files, "BLOCK_BYTES", 100)
    text = ("a\n" + "".join(f"{i}\n" for i in range(100)) + "x\n").encode()
    result = collect(write(tmp_path / "t.csv", text), tmp_path / "out")
    listed = sum(entry["shards"] for entry in result.body["splits"].values())
    assert len(list((tmp_path / "out").rglob("part-*.parquet"))) == listed


@pytest.mark.parametrize("name", ["../../t.csv", "/etc/t.csv", "a/../../t.csv", "C:\\t.csv", "..\\t.csv"])
def test_an_archive_whose_members_lead_out_is_refused(tmp_path, name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "a\n1\n")
    with pytest.raises(HeadwaterError, match="leads outside the archive"):
        collect(write(tmp_path / "t.zip", buffer.getvalue()), tmp_path / "out")
    assert not list(tmp_path.parent.glob("t.csv"))


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "BOMB_BYTES", 1 << 20)
    bomb = gzip.compress(b"a\n" + b"0\n" * (8 << 20))
    with pytest.raises(HeadwaterError, match="zip bomb"):
        collect(write(tmp_path / "t.csv.gz", bomb), tmp_path / "out")


def test_members_of_an_archive_are_sources_of_their_own(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "x\n1\n")
        archive.writestr("b.jsonl", '{"x": 2}\n')
    result = collect(write(tmp_path / "t.zip", buffer.getvalue()), tmp_path / "out")
    assert [source["uri"].partition("#")[2] for source in result.body["lineage"]["sources"]] == ["a.csv", "b.jsonl"]
    assert [row["x"] for row in rows_of(result)] == [1, 2]


def test_a_header_of_too_many_columns_is_refused(tmp_path):
    with pytest.raises(HeadwaterError, match="more than 20,000 columns"):
        collect(write(tmp_path / "t.csv", b"," * 100_000 + b"\n1\n"), tmp_path / "out")


def test_a_record_that_never_ends_is_refused(tmp_path, monkeypatch):
    from headwater.components.common.sources import scanning

    monkeypatch.setattr(scanning, "RECORD_BYTES", 1 << 16)
    monkeypatch.setattr(files, "BLOCK_BYTES", 1 << 14)
    path = write(tmp_path / "t.csv", b"a,b\n1,x\n2," + b"y" * (1 << 18) + b"\n")
    with pytest.raises(HeadwaterError, match="the record near byte .* is longer than"):
        collect(path, tmp_path / "out")


def test_formula_text_stays_text(tmp_path):
    text = b"a\n=cmd|' /C calc'!A0\n@SUM(1+1)\n"
    assert [row["a"] for row in rows_of(collect(write(tmp_path / "t.csv", text), tmp_path / "out"))] == [
        "=cmd|' /C calc'!A0",
        "@SUM(1+1)",
    ]
