"""A format of lines and a store of objects that somebody adds: each a class and its line, and all of collect has it.

Those that CONTRIBUTING.md adds, a format that is opened and a store on disk, are followed in tests/pipelines.
"""

from __future__ import annotations

import datetime
import gzip
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import fs

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset, storage, stores
from headwater.components.common.dataset import rejected
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import discovery, files, formats
from headwater.components.common.sources.formats.base import Lines
from headwater.components.common.stores.base import Dated, Page, Store


class Ltsv(Lines):
    """Labelled tab-separated values: `host:a.example<TAB>size:12`."""

    name = "ltsv"
    endings = (".ltsv",)
    hint = "LTSV has fields of label:value, with tabs between"

    def infer_lines(self, data):
        labels = re.findall(rb"(?:^|\t)([^:\t\n]+):", data, re.MULTILINE)
        return len(data.splitlines()), {label.decode(): pa.string() for label in dict.fromkeys(labels)}

    def read_lines(self, data, kinds, first_row):
        lines = pa.array(data.splitlines(), pa.binary()).cast(pa.string())
        found = [pc.extract_regex(lines, rf"(?:^|\t){re.escape(name)}:(?P<value>[^\t]*)") for name in kinds]
        columns = [column.field("value") for column in found]
        # Where the pattern is not found pyarrow has the text empty within a missing struct.
        columns = [pc.if_else(pc.is_valid(whole), part, None) for whole, part in zip(found, columns)]
        return pa.RecordBatch.from_arrays(columns, list(kinds)), np.arange(first_row, first_row + len(lines)), []


@pytest.fixture
def ltsv(monkeypatch):
    form = Ltsv()
    monkeypatch.setitem(formats.FORMATS, form.name, form)
    monkeypatch.setitem(formats.ENDINGS, ".ltsv", form)


@pytest.mark.parametrize("block", [64, 1 << 20])
def test_a_format_of_lines(tmp_path, ltsv, monkeypatch, block):
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    lines = [f"id:{n}\tsize:{n * 2}" + ("\tnote:Łódź" if n % 3 else "") for n in range(100)]
    lines[7] = "id:7\tsize:seven"
    (tmp_path / "in/day=1").mkdir(parents=True)
    (tmp_path / "in/day=1/a.ltsv").write_text("\n".join(lines[:60]) + "\n")
    (tmp_path / "in/day=1/b.ltsv.gz").write_bytes(gzip.compress("\n".join(lines[60:]).encode("utf-16")))
    result = collect_dataset(
        str(tmp_path / "in"), str(tmp_path / "out"), types={"id": "int64", "size": "int32"}, max_rejected_share=0.1,
        workers=1,
    )  # fmt: skip
    assert result.body["accounts"] == {"read": 100, "written": 99, "rejected": 1, "filtered": {}}
    assert [(each["format"], each["rows"]) for each in result.body["lineage"]["sources"]] == [
        ("ltsv", 60),
        ("ltsv", 40),
    ]
    [one] = rejected(result).to_pylist()
    assert (one["row"], one["column"], one["reason"], one["value"]) == (8, "size", "type: not int32", "seven")
    rows = sorted(open_dataset(result.folder).to_table().to_pylist(), key=lambda row: row["id"])
    assert [row["note"] for row in rows[:3]] == [None, "Łódź", "Łódź"] and rows[-1]["size"] == 198
    assert {row["day"] for row in rows} == {1}


def test_a_format_that_reads_nothing_says_what_it_expects(tmp_path, ltsv):
    (tmp_path / "a.ltsv").write_text("no label\n")
    with pytest.raises(HeadwaterError, match=r"no readable record to take the columns from; LTSV has fields of label"):
        collect_dataset(str(tmp_path / "a.ltsv"), str(tmp_path / "out"), workers=1)
    with pytest.raises(HeadwaterError, match=r"is not one of .*\.tfrecords, \.ltsv, optionally"):
        (tmp_path / "a.xyz").write_text("")
        discovery.discover([str(tmp_path / "a.xyz")])


class Memory(Store):
    """Objects in this process."""

    schemes = ("mem",)

    def __init__(self):
        self.files = fs._MockFileSystem(datetime.datetime.now(datetime.UTC))
        self.created = []

    def filesystem(self, scheme):
        return self.files

    def size(self, uri):
        [found] = self.files.get_file_info([self.path(uri)])
        if found.type != fs.FileType.File:
            raise FileNotFoundError(uri)
        return found.size

    def get(self, uri, start=0, stop=None):
        self.size(uri)
        return self.files.open_input_stream(self.path(uri)).read()[start:stop]

    def put(self, uri, content):
        self.files.create_dir(self.path(uri).rpartition("/")[0])
        with self.files.open_output_stream(self.path(uri)) as stream:
            stream.write(content)

    def create(self, uri, content):
        try:
            self.size(uri)
            return False
        except FileNotFoundError:
            self.created.append(uri.rpartition("/")[2])
            self.put(uri, content)
            return True

    def remove(self, uri):
        self.files.delete_file(self.path(uri))

    def page(self, folder, more=None):
        selector = fs.FileSelector(self.path(folder), allow_not_found=True, recursive=True)
        found = [each for each in self.files.get_file_info(selector) if each.type == fs.FileType.File]
        place = more or 0
        part = [Dated(f"mem://{each.path}", each.size, 0.0) for each in found[place : place + 2]]
        return Page(part, place + 2 if place + 2 < len(found) else None)

    def folders(self, folder):
        selector = fs.FileSelector(self.path(folder), allow_not_found=True)
        return sorted(each.base_name for each in self.files.get_file_info(selector) if each.type != fs.FileType.File)


def test_a_store_of_objects(tmp_path, monkeypatch):
    store = Memory()
    monkeypatch.setitem(stores.STORES, "mem", store)
    text = "id,size\n" + "".join(f"{n},{n / 2}\n" for n in range(500))
    for name in ("a", "b", "c"):
        storage.write_bytes(f"mem://bucket/in/{name}.csv", text.encode())
    given = {"data_root": "mem://bucket/root", "name": "orders", "key": ["id"], "duplicates": "drop", "workers": 1}
    result = collect_dataset("mem://bucket/in/*.csv", str(tmp_path / "out"), **given)
    again = collect_dataset("mem://bucket/in", str(tmp_path / "again"), **given)
    assert result.uri == again.uri == "mem://bucket/root/orders/span=1/version=1/data"
    assert result.body["accounts"] == {"read": 1500, "written": 500, "rejected": 0, "filtered": {"duplicate_key": 1000}}
    assert store.created == ["_claim.json", "_manifest.json"]
    assert sorted(open_dataset(result.uri).to_table()["id"].to_pylist()) == list(range(500))
    assert storage.list_folders("mem://bucket/root/orders/span=1/version=1") == ["data", "reports"]
    with pytest.raises(HeadwaterError, match="use a local path, gs://, s3://, minio:// or mem://"):
        storage.read_bytes("ftp://host/x")
    with pytest.raises(HeadwaterError, match="mem://bucket/nowhere: there is no such file"):
        storage.read_bytes("mem://bucket/nowhere")
