"""collect on real flights: what is read is written or rejected, the same way each time, wherever it lies."""

from __future__ import annotations

import collections
import csv
import json
import pathlib
import subprocess
import sys

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.collect.shape.splitting import parse_splits
from headwater.components.common import open_dataset, results, storage
from headwater.components.common.dataset import load_dataset, read_element, rejected
from headwater.components.common.dataset_index import decode_schema, shard_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import files
from headwater.components.label import label_dataset


def collect(source, output, **settings):
    return collect_dataset(str(source), str(output), workers=1, **settings)


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def rows_by_key(result, key):
    table = open_dataset(result.folder).to_table()
    return {row[key]: row for row in table.to_pylist()}


def splits_by(result, key):
    return {name: row["split"] for name, row in rows_by_key(result, key).items()}


def test_every_flight_is_there_with_its_values(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "out")
    assert result.body["accounts"] == {"read": 2000, "written": 2000, "rejected": 0, "filtered": {}}
    with open(few_flights, encoding="utf-8", newline="") as stream:
        expected = list(csv.DictReader(stream))
    found = open_dataset(result.folder).to_table().to_pylist()

    def identity(row):
        return (str(row["carrier"]), int(row["flight"]), int(row["day"]), int(row["sched_dep_time"]), row["dest"])

    found = {identity(row): row for row in found}
    assert len(found) == 2000
    for row in expected:
        match = found[identity(row)]
        for name, text in row.items():
            if name in ("time_hour", "scheduled"):
                continue
            value = match[name]
            assert ("" if value is None else str(value)) == text, name


def test_the_folder_opens_with_any_parquet_reader(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "out")
    plain = pads.dataset(result.folder, partitioning="hive")
    assert plain.count_rows() == 2000
    assert set(plain.to_table(columns=["split"])["split"].to_pylist()) == {"train", "eval"}


def test_ours_opens_by_split(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "out")
    train = open_dataset(result.folder, "train").to_table()
    assert train.num_rows == result.body["splits"]["train"]["rows"]
    assert set(train["split"].to_pylist()) == {"train"}
    with pytest.raises(HeadwaterError, match="no split 'test'; the splits are train, eval"):
        open_dataset(result.folder, "test")


def test_a_column_that_is_named_split_stays_the_datas_own(tmp_path):
    rows = "".join(f"left,1,{number}\nright,2,{number}\n" for number in range(50))
    result = collect(write(tmp_path / "a.csv", "split,b,c\n" + rows), tmp_path / "out")
    table = open_dataset(result.folder).to_table()
    assert collections.Counter(table["split"].to_pylist()) == {"left": 50, "right": 50}
    assert set(table["headwater_split"].to_pylist()) == {"train", "eval"}
    given = [
        {"method": "weak_supervision", "classes": [1, 2], "model": "majority", "functions": [{"name": "b", "sql": "b"}]}
    ]
    labels = label_dataset(result.folder, str(tmp_path / "labels"), steps=given, workers=1)
    train = open_dataset(labels.folder).to_table(filter=pads.field("headwater_split") == "train")
    assert set(train["headwater_split"].to_pylist()) == {"train"} and set(train["split"].to_pylist()) == {
        "left",
        "right",
    }


def test_the_same_input_gives_the_same_bytes_from_any_path_and_workers(few_flights, tmp_path):
    copy = tmp_path / "elsewhere.csv"
    copy.write_bytes(few_flights.read_bytes())
    first = collect(few_flights, tmp_path / "a")
    second = collect_dataset(str(copy), str(tmp_path / "b"), workers=2)

    def parts(result):
        files = storage.list_files(result.folder)
        return {
            storage.relative(file.uri, result.folder): storage.sha256(storage.read_bytes(file.uri))
            for file in files
            if "split=" in file.uri
        }

    assert parts(first) == parts(second)
    assert first.fingerprint == second.fingerprint


def test_blocks_change_shards_and_not_rows(few_flights, tmp_path, monkeypatch):
    whole = collect(few_flights, tmp_path / "a")
    monkeypatch.setattr(files, "BLOCK_BYTES", 30_000)
    cut = collect(few_flights, tmp_path / "b")
    assert cut.body["splits"]["train"]["shards"] > 3
    for split in ("train", "eval"):
        assert cut.body["splits"][split]["digest"] == whole.body["splits"][split]["digest"]
        assert cut.body["splits"][split]["rows"] == whole.body["splits"][split]["rows"]


def test_csv_and_parquet_of_the_same_rows_have_the_same_digests(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "a")
    table = open_dataset(result.folder).to_table().drop(["split", "_row_id"])
    pq.write_table(table, tmp_path / "few.parquet", row_group_size=300)
    again = collect(tmp_path / "few.parquet", tmp_path / "b")
    assert [again.body["splits"][s]["digest"] for s in ("train", "eval")] == [
        result.body["splits"][s]["digest"] for s in ("train", "eval")
    ]


def test_splits_stay_when_rows_are_added_and_reordered(tmp_path):
    lines = [f"{number},{number % 7}" for number in range(500)]
    first = collect(write(tmp_path / "a.csv", "\n".join(["id,x", *lines])), tmp_path / "a")
    more = [*reversed(lines), *[f"{number},{number % 7}" for number in range(500, 900)]]
    second = collect(write(tmp_path / "b.csv", "\n".join(["id,x", *more])), tmp_path / "b")
    before, after = splits_by(first, "id"), splits_by(second, "id")
    assert {number: after[number] for number in before} == before


def test_with_a_key_only_the_key_decides(tmp_path):
    first = collect(
        write(tmp_path / "a.csv", "id,x\n" + "".join(f"{n},1\n" for n in range(300))), tmp_path / "a", key=["id"]
    )
    second = collect(
        write(tmp_path / "b.csv", "id,x\n" + "".join(f"{n},2\n" for n in range(300))), tmp_path / "b", key=["id"]
    )
    assert splits_by(first, "id") == splits_by(second, "id")
    assert first.body["key"] == ["id"] and "_row_id" not in first.body["columns"]


def test_weights_and_names_of_splits_are_kept(tmp_path):
    path = write(tmp_path / "a.csv", "id\n" + "".join(f"{n}\n" for n in range(20_000)))
    result = collect(path, tmp_path / "out", splits={"fit": 6, "tune": 3, "judge": 1})
    counts = {name: entry["rows"] for name, entry in result.body["splits"].items()}
    assert list(counts) == ["fit", "tune", "judge"]
    # Five standard deviations of a binomial share.
    for name, share in {"fit": 0.6, "tune": 0.3, "judge": 0.1}.items():
        assert abs(counts[name] - 20_000 * share) < 5 * (20_000 * share * (1 - share)) ** 0.5


def test_row_ids_are_unique_over_copies_of_a_file(few_flights, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_bytes(few_flights.read_bytes())
    result = collect(tmp_path, tmp_path / "out")
    ids = open_dataset(result.folder).to_table()["_row_id"].to_pylist()
    assert len(set(ids)) == len(ids) == 4000


def test_bad_rows_are_rejected_with_their_reason_and_the_accounts_add_up(tmp_path):
    good = "".join(f"{n},{n}.5,text {n}\n" for n in range(100))
    body = f"id,x,t\n{good}100,not a number,t\n101,1\n102,2,t,more\n,3.5,t\n"
    path = tmp_path / "bad.csv"
    path.write_bytes(body.encode() + b"103,4.5,\xff\n104,5.5,a\0b\n")
    result = collect(path, tmp_path / "out", types={"x": "float64"}, key=["id"], max_rejected_share=0.1)
    assert result.body["accounts"] == {"read": 106, "written": 100, "rejected": 6, "filtered": {}}
    assert result.body["rejected"]["reasons"] == {
        "encoding": 1,
        "missing_key": 1,
        "nul_byte": 1,
        "ragged_row": 2,
        "type": 1,
    }
    table = rejected(result).to_pylist()
    assert [(row["row"], row["column"], row["reason"].partition(":")[0]) for row in table] == [
        (102, "x", "type"),
        (103, None, "ragged_row"),
        (104, None, "ragged_row"),
        (105, "id", "missing_key"),
        (106, "t", "encoding"),
        (107, "t", "nul_byte"),
    ]
    assert {row["source"] for row in table} == {str(path)}
    assert table[0]["value"] == "not a number"
    assert "_rejected" not in {row["split"] for row in open_dataset(result.folder).to_table().to_pylist()}


def test_beyond_the_limit_a_dataset_is_not_accepted_and_keeps_its_evidence(tmp_path):
    path = write(tmp_path / "bad.csv", "a,b\n" + "1,2\n" * 8 + "1\n" * 2)
    result = collect(path, tmp_path / "out", max_rejected_share=0.1)
    assert not result.body["accepted"]
    assert (
        "2 of 10 records (20 %) were rejected" in result.body["refusal"] and "2 × ragged_row" in result.body["refusal"]
    )
    assert rejected(result).num_rows == 2
    for opener in (load_dataset, open_dataset):
        with pytest.raises(HeadwaterError, match="not accepted when it was collected: 2 of 10"):
            opener(result.folder)
    assert collect(path, tmp_path / "more", max_rejected_share=0.2).body["accepted"]


def test_a_declared_type_is_kept(tmp_path):
    path = write(tmp_path / "t.csv", "zip,n,when\n02139,1,2013-01-01T00:00Z\n10001,2,2013-01-02T00:00Z\n")
    kinds = {"zip": "string", "n": "float32", "when": "timestamp[us, UTC]"}
    result = collect(path, tmp_path / "out", types=kinds)
    schema = decode_schema(result.body["schema"])
    assert [schema.field(name).type for name in ("zip", "n", "when")] == [
        pa.string(),
        pa.float32(),
        pa.timestamp("us", "UTC"),
    ]
    assert {row["zip"] for row in open_dataset(result.folder).to_table().to_pylist()} == {"02139", "10001"}


def test_a_declared_type_rejects_what_a_parquet_file_has_otherwise(tmp_path):
    pq.write_table(pa.table({"x": ["1", "2", "no", None]}), tmp_path / "t.parquet")
    result = collect(tmp_path / "t.parquet", tmp_path / "out", types={"x": "int64"}, max_rejected_share=0.5)
    assert result.body["accounts"]["rejected"] == 1
    [row] = rejected(result).to_pylist()
    assert (row["row"], row["column"], row["value"]) == (3, "x", "no")


def test_the_type_is_inferred_over_the_whole_input(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 64)
    path = write(tmp_path / "t.csv", "a,b,c\n" + "1,2,3\n" * 50 + "1,2.5,x\n")
    result = collect(path, tmp_path / "out")
    assert {name: result.body["columns"][name] for name in "abc"} == {"a": "int64", "b": "double", "c": "string"}
    assert result.body["accounts"]["rejected"] == 0


def test_files_are_united_by_column_name(tmp_path):
    write(tmp_path / "in/a.csv", "x,y\n1,2\n")
    write(tmp_path / "in/b.csv", "y,z\n2.5,t\n")
    result = collect(tmp_path / "in", tmp_path / "out", union=True)
    rows = open_dataset(result.folder).to_table(columns=["x", "y", "z"]).to_pylist()
    assert sorted(rows, key=str) == [{"x": 1, "y": 2.0, "z": None}, {"x": None, "y": 2.5, "z": "t"}]


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("content", "setting", "columns"),
    [
        ("a,b;c\n1,2;3\n", {"delimiter": ";"}, {"a,b": ["1,2"], "c": [3]}),
        ("a,b\n'x','y'\n", {"quote": '"'}, {"a": ["'x'"], "b": ["'y'"]}),
        ('a,b\n"p^"q",y\n', {"escape": "^"}, {"a": ['p"q'], "b": ["y"]}),
        ("x,y\na,b\n1,2\n", {"skip_rows": 1}, {"a": [1], "b": [2]}),
        ("a,b\nx,y\n", {"header": False}, {"column_0": ["a", "x"], "column_1": ["b", "y"]}),
        ("a,b\n%n,n\n1,2\n", {"comment": "%"}, {"a": [1], "b": [2]}),
        ("a;b\n1,5;2\n", {"decimal": ","}, {"a": [1.5], "b": [2]}),
        ('a,b\n"1,500",2\n', {"thousands": ","}, {"a": [1500], "b": [2]}),
    ],
)
def test_each_setting_of_a_dialect_changes_what_is_read(tmp_path, content, setting, columns):
    path = write(tmp_path / "t.csv", content)
    rows = {}
    for name, given in (("without", {}), ("with", setting)):
        result = collect(path, tmp_path / name, splits={"all": 1}, **given)
        table = open_dataset(result.folder).to_table()
        rows[name] = {
            column: table[column].to_pylist() for column in table.column_names if column not in ("split", "_row_id")
        }
    assert rows["with"] == columns != rows["without"]


def test_what_was_detected_is_a_finding_and_stands_in_the_manifest(tmp_path):
    result = collect(write(tmp_path / "t.csv", "a;b\n1;x\n2;y\n"), tmp_path / "out", splits={"all": 1})
    [source] = result.body["lineage"]["sources"]
    assert source["dialect"] == {"delimiter": ";"}
    [finding] = [finding for finding in result.body["findings"] if finding["rule"] == "csv_dialect"]
    assert finding["severity"] == "info" and "a semicolon" in finding["message"]
    assert "a semicolon" in (tmp_path / "out/_page.html").read_text()


def test_another_delimiter(tmp_path):
    result = collect(write(tmp_path / "t.csv", "a;b\n1,5;x\n"), tmp_path / "out", delimiter=";")
    assert open_dataset(result.folder).to_table(columns=["a", "b"]).to_pylist() == [{"a": "1,5", "b": "x"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n", "t.csv: there are columns but no rows"),
        ("t.csv", b"", "t.csv: the file is empty"),
        ("t.csv", b"a,a\n1,2\n", "column name 'a' appears twice"),
        ("t.csv", b"_a,b\n1,2\n", "'_a' begins with '_'"),
        ("t.csv", b'a,b\n1,"x\n2,y\n', "a quote opens on line 2 and never closes"),
        ("t.parquet", b"", "t.parquet: the file is empty"),
        ("t.parquet", b"PAR1 and nothing more", "t.parquet: not a complete Parquet file"),
        ("t.dat", b"a,b\n1,2\n", "the file's extension is not one of .csv"),
    ],
)
def test_input_that_cannot_be_read_is_one_clear_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HeadwaterError, match=message):
        collect(tmp_path / name, tmp_path / "out")


def test_a_truncated_parquet_file_is_told(tmp_path, few_flights):
    pq.write_table(pa.table({"x": list(range(10_000))}), tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(HeadwaterError, match="cut.parquet: not a complete Parquet file; it may have been cut short"):
        collect(tmp_path / "cut.parquet", tmp_path / "out")


def test_a_parquet_file_damaged_inside_is_told(tmp_path):
    pq.write_table(
        pa.table({"x": [str(number) for number in range(10_000)]}), tmp_path / "t.parquet", compression="none"
    )
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[4:2000] = b"\xff" * 1996
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(HeadwaterError, match="t.parquet: not a complete Parquet file"):
        collect(tmp_path / "t.parquet", tmp_path / "out")


def test_an_empty_folder_and_one_without_data_are_told(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(HeadwaterError, match="there is no file of a known format here; nothing is"):
        collect(tmp_path / "in", tmp_path / "out")
    write(tmp_path / "in/README.md", "x")
    with pytest.raises(HeadwaterError, match="1 other files are"):
        collect(tmp_path / "in", tmp_path / "out")


def test_types_of_parquet_files_that_nothing_holds_together_are_told(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "in/b.parquet")
    pq.write_table(pa.table({"x": ["t"]}), tmp_path / "in/c.parquet")
    with pytest.raises(HeadwaterError, match="column 'x' is string here and int64 in .*b.parquet"):
        collect(tmp_path / "in", tmp_path / "out")


def test_a_header_alone_among_others_is_a_finding(tmp_path):
    write(tmp_path / "in/a.csv", "x\n1\n")
    write(tmp_path / "in/b.csv", "x\n")
    result = collect(tmp_path / "in", tmp_path / "out")
    assert [found["rule"] for found in result.body["findings"]] == ["empty_source"]
    assert "b.csv" in result.body["findings"][0]["message"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": 1}, "colour: there is no such setting; the settings are span, window"),
        ({"span": "3"}, "span: .*integer.*'3'"),
        ({"span": -2}, "span: .*greater than or equal to -1"),
        ({"splits": {}}, "splits: needs at least one split"),
        ({"splits": {"train": 0}}, r"splits\.train: .*greater than 0"),
        ({"splits": {"a/b": 1}}, "splits: name: 'a/b' cannot name"),
        ({"splits": {"train": float("nan")}}, r"splits\.train"),
        ({"key": ["a", "a"]}, "key: names a column twice"),
        ({"key": ["q"]}, "key: there is no column 'q'; the columns are a, b"),
        ({"types": {"a": "integer"}}, "types: 'integer' is not a type; use one of: bool"),
        ({"types": {"q": "int64"}}, "types: there is no column 'q'"),
        ({"delimiter": ";;"}, "delimiter: must be one ASCII character"),
        ({"delimiter": '"'}, "delimiter: .*must not be a quote"),
        ({"quote": "''"}, "quote: .*must be one ASCII character"),
        ({"escape": "\n"}, "escape: .*other than a line end"),
        ({"decimal": ""}, "decimal: .*must be one ASCII character"),
        ({"thousands": "0"}, "thousands: .*must not be a letter or a digit"),
        ({"thousands": "."}, "thousands and decimal are both '.'"),
        ({"delimiter": "#", "comment": "#"}, "comment and delimiter are both '#'"),
        ({"header": True, "column_names": ["a", "b"]}, "column_names is for files without a header"),
        ({"skip_rows": -1}, "skip_rows: .*greater than or equal to 0"),
        ({"max_rejected_share": 2.0}, "max_rejected_share: .*less than or equal to 1"),
        ({"name": "a/b"}, "name: .*cannot name a dataset"),
        ({"beam_pipeline_args": ["--runner=DaskRunner"]}, "DaskRunner"),
    ],
)
def test_a_wrong_setting_is_named_before_any_work(tmp_path, settings, message, capsys):
    path = write(tmp_path / "t.csv", "a,b\n1,2\n")
    with pytest.raises(HeadwaterError, match=message):
        collect(path, tmp_path / "out", **settings)
    assert not (tmp_path / "out/_manifest.json").exists()


def test_a_missing_and_an_altered_shard_are_told(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "out")
    dataset = load_dataset(result.folder)
    [shard] = dataset.elements("train")
    path = pathlib.Path(shard.uri)
    content = path.read_bytes()
    path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
    with pytest.raises(HeadwaterError, match="part-00000.parquet: the file was altered"):
        list(read_element(shard, dataset.schema))
    path.unlink()
    with pytest.raises(HeadwaterError, match="this dataset was removed or moved: run again with caching off"):
        list(read_element(shard, dataset.schema))


def test_an_altered_shard_index_and_an_unknown_format_are_told(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "out")
    index = tmp_path / "out" / result.body["splits"]["train"]["index"]
    index.write_bytes(index.read_bytes() + b" ")
    with pytest.raises(HeadwaterError, match="_shards-train.parquet: the file was altered"):
        load_dataset(result.folder)
    manifest = tmp_path / "out/_manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format_version": "9.0"}))
    with pytest.raises(HeadwaterError, match="format_version 9.0 is not readable; this Headwater reads 2.x"):
        load_dataset(result.folder)


def test_a_shard_index_says_what_each_shard_holds(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "out")
    for split in ("train", "eval"):
        for shard in shard_index(result, split):
            content = pathlib.Path(shard["uri"]).read_bytes()
            assert shard["bytes"] == len(content) and shard["sha256"] == storage.sha256(content)
            assert shard["rows"] == pq.read_table(shard["uri"]).num_rows
            assert shard["source"] == str(few_flights)


def test_all_lies_under_data_root_and_only_the_manifest_in_the_artifact(few_flights, tmp_path):
    result = collect(few_flights, tmp_path / "out", data_root=str(tmp_path / "root"), name="flights")
    assert result.uri == str(tmp_path / "root/flights/span=1/version=1/data")
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["_manifest.json"]
    assert open_dataset(result.folder).count_rows() == open_dataset(result.uri).count_rows() == 2000


def test_the_same_content_is_adopted_and_newer_content_is_the_next_span(few_flights, tmp_path):
    root = str(tmp_path / "root")
    first = collect(few_flights, tmp_path / "a", data_root=root)
    files = storage.list_files(root)
    again = collect(few_flights, tmp_path / "b", data_root=root)
    assert again.uri == first.uri and storage.list_files(root) == files
    newer = tmp_path / "newer.csv"
    newer.write_text("\n".join(few_flights.read_text().splitlines()[:500]))
    second = collect(newer, tmp_path / "c", data_root=root)
    assert (second.home.span, second.home.version) == (2, 1)


def test_other_content_for_a_span_is_its_next_version(few_flights, tmp_path):
    root = str(tmp_path / "root")
    collect(few_flights, tmp_path / "a", data_root=root, span=7)
    other = write(tmp_path / "other.csv", "x\n1\n2\n3\n4\n5\n6\n")
    second = collect(other, tmp_path / "b", data_root=root, span=7)
    assert (second.home.span, second.home.version) == (7, 2)
    assert collect(few_flights, tmp_path / "c", data_root=root, span=7).home.version == 1


@pytest.mark.slow
def test_two_attempts_at_once_end_with_one_dataset(few_flights, tmp_path):
    command = [
        sys.executable,
        "-m",
        "headwater.pipelines.cli",
        "collect",
        str(few_flights),
        "--data-root",
        str(tmp_path / "root"),
        "--workers",
        "1",
        "--output",
    ]
    attempts = [subprocess.Popen([*command, str(tmp_path / name)], stdout=subprocess.PIPE) for name in "abc"]
    assert [attempt.wait() for attempt in attempts] == [0, 0, 0]
    homes = list(results.committed(str(tmp_path / "root"), "data", "dataset"))
    assert len(homes) == 1
    folder = homes[0].folder("dataset")
    assert pads.dataset(folder, partitioning="hive").count_rows() == open_dataset(folder).count_rows() == 2000
    suffixes = collections.Counter(
        file.uri.rsplit("-", 1)[-1] for file in storage.list_files(folder) if file.uri.endswith(".parquet")
    )
    assert len(suffixes) == 1


def test_an_attempt_that_fails_leaves_nothing_that_can_be_read(tmp_path, few_flights, monkeypatch):
    root = str(tmp_path / "root")
    path = write(tmp_path / "t.csv", "a,b\n" + "1,2\n" * 50)
    from headwater.components.collect import ingest

    def broken(*_):
        raise OSError("no space left")

    monkeypatch.setattr(ingest, "_finish", broken)
    with pytest.raises(OSError, match="no space"):
        collect(path, tmp_path / "a", data_root=root)
    assert not list(results.committed(root, "data", "dataset"))
    assert not [file for file in storage.list_files(root) if file.uri.endswith(".parquet")]
    monkeypatch.undo()
    assert collect(path, tmp_path / "a", data_root=root).home.span == 1


def test_collecting_imports_no_tensorflow(few_flights, tmp_path):
    script = (
        "import sys\n"
        "from headwater.components.collect import collect_dataset\n"
        f"collect_dataset({str(few_flights)!r}, {str(tmp_path / 'out')!r}, workers=1)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'tensorflow_data_validation', 'kfp')])\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert output.stdout.splitlines()[-1] == "[]", output.stderr


def test_plain_input_is_a_dataset_too(tmp_path, few_flights):
    table = pa.table({"x": list(range(10)), "_own": list(range(10))})
    for split, part in (("eval", table.slice(0, 3)), ("train", table.slice(3))):
        (tmp_path / f"in/split={split}").mkdir(parents=True)
        pq.write_table(part, tmp_path / f"in/split={split}/part.parquet")
    dataset = load_dataset(str(tmp_path / "in"), workers=1)
    assert dataset.splits == ["train", "eval"] and (dataset.rows("train"), dataset.rows("eval")) == (7, 3)
    assert load_dataset(str(few_flights), workers=1).splits == ["all"]
    bad = load_dataset(str(write(tmp_path / "bad.csv", "a,b\n1,2\n3\n")), workers=1)
    with pytest.raises(HeadwaterError, match="bad.csv: row 3: ragged_row"):
        list(read_element(bad.elements("all")[0], bad.schema))


def test_progress_is_told_in_plain_lines(few_flights, tmp_path, capfd):
    collect(few_flights, tmp_path / "out")
    assert "collect: write: 2,000 rows in" in capfd.readouterr().out


def test_no_source_at_all_is_told(tmp_path):
    with pytest.raises(HeadwaterError, match="sources: must name at least one"):
        collect_dataset([], str(tmp_path / "out"))


@pytest.mark.parametrize(("given", "span"), [(-1, 1), (0, 0), (7, 7)])
def test_the_span_is_recorded_without_a_data_root_too(tmp_path, given, span):
    result = collect(write(tmp_path / "t.csv", "a\n1\n2\n3\n"), tmp_path / "out", span=given)
    assert result.body["span"] == span


def test_the_first_split_stays_the_first_through_manifest_and_text(tmp_path):
    path = write(tmp_path / "t.csv", "id\n" + "".join(f"{n}\n" for n in range(100)))
    first = collect(path, tmp_path / "a", splits=parse_splits("zeta=0.5, alpha=0.5"))
    assert load_dataset(first.folder).splits == ["zeta", "alpha"]
    second = collect(path, tmp_path / "b", splits=parse_splits("alpha=0.5,zeta=0.5"))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("text", ["", "train", "train=x", "train=1,train=2", "train=1,,eval=2"])
def test_splits_as_text_of_another_form_are_refused(text):
    with pytest.raises(HeadwaterError, match="splits: "):
        parse_splits(text)


def test_a_failed_attempt_uses_up_no_span(tmp_path):
    source, root = (
        write(tmp_path / "monday.csv", "id,x\n" + "".join(f"{n},{n}\n" for n in range(50))),
        tmp_path / "root",
    )
    home = {"data_root": str(root), "name": "orders"}
    with pytest.raises(HeadwaterError, match="nope"):
        collect(source, tmp_path / "failed", key=["nope"], **home)
    assert [path for path in root.rglob("*") if path.is_file()] == []
    first = collect(source, tmp_path / "first", key=["id"], **home)
    assert (first.body["span"], first.home.version) == (1, 1)
    # Nor a version of a span that is named, and what is committed stays when another attempt fails.
    before = sorted(root.rglob("*"))
    with pytest.raises(HeadwaterError, match="nope"):
        collect(source, tmp_path / "failed", key=["nope"], span=1, **home)
    assert sorted(path for path in root.rglob("*") if path.is_file()) == [path for path in before if path.is_file()]
    assert collect(source, tmp_path / "again", key=["x"], span=1, **home).home.version == 2
