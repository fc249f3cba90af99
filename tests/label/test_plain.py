"""label over plain files, which collect did not make: their rows come along, with the identifiers that collect gives."""

from __future__ import annotations

import datetime
import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import yaml
from pyarrow import csv as pacsv

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset, results
from headwater.components.common.dataset import ROW_ID, load_dataset
from headwater.components.common.dataset_index import shard_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.maintenance import trace, verify
from headwater.components.generate_statistics import compute_statistics
from headwater.components.label import analyse, label_dataset
from headwater.pipelines.cli import FAILED, main

FLIGHTS = 2_000
GONE = "2013-02-01T00:00:00Z"


def weak(**more):
    functions = [
        {"name": "hour", "sql": "CASE WHEN hour > 16 THEN 'late' WHEN hour < 9 THEN 'on_time' END"},
        {"name": "origin", "lookup": {"column": "origin", "values": {"EWR": "late", "LGA": "on_time"}}},
        {"name": "far", "sql": "CASE WHEN distance > 1500 THEN 'on_time' WHEN distance < 300 THEN 'late' END"},
        {"name": "carrier", "lookup": {"column": "carrier", "values": {"EV": "late", "UA": "on_time"}}},
    ]
    # Carriers have their airports, which would pass for copying.
    step = {"method": "weak_supervision", "classes": ["late", "on_time"], "functions": functions, "copies": False}
    return [{**step, **more}]


def direct(**more):
    return [
        {
            "method": "direct",
            "classes": ["late", "on_time"],
            "feedback": "departures",
            "served": "scheduled",
            "occurred": "at",
            "window": "24h",
            "outcome": "CASE WHEN minutes > 15 THEN 'late' ELSE 'on_time' END",
            "on": {"carrier": "line", "flight": "number", "scheduled": "due"},
            **more,
        }
    ]


@pytest.fixture(scope="module")
def flights(few_flights):
    return pacsv.read_csv(few_flights)


@pytest.fixture(scope="module")
def departures(flights, tmp_path_factory):
    """When flights left, one row each, with columns of other names."""
    left = flights.filter(pc.is_valid(flights["dep_delay"]))
    minutes = pc.max_element_wise(left["dep_delay"], 0)
    due = left["scheduled"].cast(pa.timestamp("us", "UTC"))
    at = pc.add(due, pc.multiply(minutes, 60_000_000).cast("duration[us]"))
    path = tmp_path_factory.mktemp("departures") / "departures.parquet"
    columns = {"line": left["carrier"], "number": left["flight"], "due": due, "at": at, "minutes": minutes}
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def folder(flights, tmp_path_factory):
    """Two splits, of three files each; two of the files are alike."""
    base = tmp_path_factory.mktemp("plain")
    for split in ("eval", "train"):
        (base / f"split={split}").mkdir()
    for number in range(4):
        split = "train" if number < 3 else "eval"
        pq.write_table(flights.slice(number * 500, 500), base / f"split={split}" / f"part-{number}.parquet")
    for name in ("again-0", "again-1"):
        pq.write_table(flights.slice(0, 100), base / "split=eval" / f"{name}.parquet")
    return base


def label(dataset, output, steps=None, **more):
    return label_dataset(str(dataset), str(output), steps=steps or weak(), **{"workers": 1, **more})


def rows_of(uri, columns=None):
    """All rows by identifier."""
    return open_dataset(str(uri)).to_table(columns=columns).sort_by(ROW_ID).to_pylist()


def whole(result):
    """Nothing is amiss with the labels, nor with the rows that they brought along."""
    assert verify(result.folder).problems == []
    for base in result.body["bases"]:
        found = verify(f"{result.folder}/{base['uri']}")
        assert found.problems == [] and found.files > 0


def without_split(rows):
    return [{name: value for name, value in row.items() if name != "split"} for row in rows]


def as_jsonl(table, path):
    rows = table.select(["carrier", "flight", "hour", "distance", "origin"]).to_pylist()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.sweep(3)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_of_each_kind_is_labelled_with_the_ids_that_collect_gives(few_flights, flights, tmp_path, kind):
    source = tmp_path / f"flights.{kind}"
    {
        "csv": lambda: shutil.copy(few_flights, source),
        "jsonl": lambda: as_jsonl(flights, source),
        "parquet": lambda: pq.write_table(flights, source, row_group_size=300),
    }[kind]()
    collected = collect_dataset(str(source), str(tmp_path / "collected"), splits={"all": 1.0}, workers=1)
    result = label(source, tmp_path / "labels")
    source.unlink()
    assert result.body["accounts"] == {"read": FLIGHTS, "written": FLIGHTS, "rejected": 0, "filtered": {}, "carried": 0}
    assert result.body["key"] == [ROW_ID] and list(result.body["splits"]) == ["all"]
    whole(result)
    found = rows_of(result.folder)
    assert len({row[ROW_ID] for row in found}) == FLIGHTS
    names = [*load_dataset(str(tmp_path / "collected")).schema.names, "split"]
    assert [{name: row[name] for name in names} for row in found] == rows_of(tmp_path / "collected")
    # The same rows, by their digests too.
    base = results.load(f"{result.folder}/_base", "dataset")
    assert base.body["splits"]["all"]["digest"] == collected.body["splits"]["all"]["digest"]
    assert base.body["lineage"]["sources"] == collected.body["lineage"]["sources"]
    one, other = (
        [[row[name] for name in ("source", "start", "stop", "rows")] for row in shard_index(each, "all")]
        for each in (base, collected)
    )
    assert one == other


def test_labels_are_those_of_the_collected_dataset(few_flights, tmp_path):
    collect_dataset(str(few_flights), str(tmp_path / "data"), splits={"all": 1.0}, workers=1)
    plain, known = label(few_flights, tmp_path / "a"), label(tmp_path / "data", tmp_path / "b")
    assert rows_of(plain.folder) == rows_of(known.folder)
    assert plain.body["labelled"] == known.body["labelled"] and min(plain.body["labelled"]["classes"].values()) > 100
    # Another Parquet reader sees the label table alone.
    table = pads.dataset(plain.folder, format="parquet").to_table()
    assert table.num_rows == FLIGHTS and {ROW_ID, "label", "_evidence"} <= set(table.column_names)


def test_lineage_tells_the_files_of_labels(folder, tmp_path):
    label(folder, tmp_path / "labels", weak())
    labels, dataset = trace(str(tmp_path / "labels"))
    assert labels.step == "label" and (dataset.step, dataset.trouble) == ("", "")
    assert len(dataset.sources) == len(list(folder.rglob("*.parquet")))
    assert sum(each["rows"] for each in dataset.sources) == FLIGHTS + 200


def test_columns_may_have_the_names_of_splits(tmp_path):
    rows = {
        "hour": [18, 6] * 50,
        "split": ["own"] * 100,
        "headwater_split": ["too"] * 100,
        "origin": ["EWR", "LGA"] * 50,
    }
    pq.write_table(
        pa.table({**rows, "distance": [2_000, 100] * 50, "carrier": ["EV", "UA"] * 50}), tmp_path / "f.parquet"
    )
    found = open_dataset(label(tmp_path / "f.parquet", tmp_path / "labels", weak()).uri).to_table()
    assert [set(found[name].to_pylist()) for name in ("split", "headwater_split", "headwater_headwater_split")] == [
        {"own"},
        {"too"},
        {"all"},
    ]


def test_folders_named_split_are_splits(folder, tmp_path):
    here = shutil.copytree(folder, tmp_path / "plain")
    collect_dataset(str(here), str(tmp_path / "collected"), workers=1)
    result = label(here, tmp_path / "labels")
    shutil.rmtree(here)
    (tmp_path / "labels").rename(tmp_path / "moved")
    moved = results.load(str(tmp_path / "moved"), "labels")
    whole(moved)
    assert {split: entry["rows"] for split, entry in result.body["splits"].items()} == {"train": 1_500, "eval": 700}
    assert list(result.body["splits"]) == ["train", "eval"]
    assert open_dataset(moved.folder, "eval").count_rows() == 700
    # Of files that are alike each row has an identifier of its own, and the one that collect gives.
    gained = {"label", "label_probability", "label_abstain"}
    found = [{name: value for name, value in row.items() if name not in gained} for row in rows_of(moved.folder)]
    assert len({row[ROW_ID] for row in found}) == 2_200
    collected = rows_of(tmp_path / "collected")
    # For collect the folders' key is a column, beside which its own splits have another name.
    own = [{name: value for name, value in row.items() if name != "headwater_split"} for row in collected]
    assert without_split(found) == without_split(own)


def test_what_comes_out_is_a_dataset_for_the_next_component(folder, tmp_path):
    result = label(folder, tmp_path / "labels")
    statistics = compute_statistics(result.folder, str(tmp_path / "statistics"), workers=1)
    from tensorflow_metadata.proto.v0 import statistics_pb2

    [found] = statistics_pb2.DatasetFeatureStatisticsList.FromString(
        statistics.read("Split-train/FeatureStats.pb")
    ).datasets
    names = {each.path.step[0] for each in found.features}
    assert found.num_examples == 1_500 and {"label", "carrier"} <= names and ROW_ID not in names


@pytest.mark.slow
def test_one_worker_and_two_write_the_same(folder, tmp_path):
    files = []
    for workers in (1, 2):
        result = label(folder, tmp_path / str(workers), workers=workers)
        base = pathlib.Path(result.folder)
        files.append({path.relative_to(base): path.read_bytes() for path in base.rglob("*") if path.is_file()})
    assert files[0] == files[1] and len(files[0]) > 15


@pytest.mark.slow
def test_the_fingerprint_is_that_of_the_files_wherever_they_lie(folder, tmp_path):
    here = shutil.copytree(folder, tmp_path / "elsewhere")
    one, other = label(folder, tmp_path / "a"), label(here, tmp_path / "b")
    assert one.fingerprint == other.fingerprint
    assert one.manifest["inputs"]["dataset"]["uri"] == str(folder)
    (here / "split=eval").rename(here / "split=test")
    assert label(here, tmp_path / "c").fingerprint != one.fingerprint
    (here / "split=train/part-0.parquet").unlink()
    assert label(here, tmp_path / "d").fingerprint != one.fingerprint


def expected(flights):
    """Whether a flight left late, None for one that never left."""
    return [None if each is None else "late" if each > 15 else "on_time" for each in flights["dep_delay"].to_pylist()]


def named(uri):
    table = open_dataset(str(uri)).to_table(columns=["carrier", "flight", "scheduled", "label"])
    return {tuple(row[name] for name in ("carrier", "flight", "scheduled")): row["label"] for row in table.to_pylist()}


def keys(flights):
    return list(zip(*(flights[name].to_pylist() for name in ("carrier", "flight", "scheduled"))))


def test_feedback_labels_plain_rows_by_columns_that_are_named(few_flights, flights, departures, tmp_path):
    result = label(few_flights, tmp_path / "labels", direct(), inputs={"departures": str(departures)}, as_of=GONE)
    whole(result)
    found = named(result.folder)
    assert len(found) == FLIGHTS and found == dict(zip(keys(flights), expected(flights)))
    assert result.body["labelled"]["methods"] == {"direct": FLIGHTS - flights["dep_delay"].null_count}
    with pytest.raises(HeadwaterError, match="steps.0: the dataset's key is _row_id, which other data does not have"):
        label(few_flights, tmp_path / "x", direct(on={}), inputs={"departures": str(departures)}, as_of=GONE)


def test_rows_that_are_too_young_are_carried_between_plain_files(flights, departures, tmp_path):
    """The second labels read rows of both files when all that they were made from is gone."""
    for name, start in (("a", 0), ("b", 1_000)):
        pq.write_table(flights.slice(start, 1_000), tmp_path / f"{name}.parquet")
    inputs = {"departures": str(departures)}
    middle = pc.max(flights["scheduled"].slice(0, 1_000)).as_py() + datetime.timedelta(hours=12)
    first = label(tmp_path / "a.parquet", tmp_path / "one", direct(), inputs=inputs, as_of=middle.isoformat())
    carried = first.body["accounts"]["carried"]
    assert 0 < carried < 1_000 and first.body["accounts"]["written"] == 1_000 - carried
    whole(first)
    steps = direct(carried_from=first.folder)
    second = label(tmp_path / "b.parquet", tmp_path / "two", steps, inputs=inputs, as_of=GONE)
    assert second.body["accounts"]["written"] == 1_000 + carried
    assert [base["uri"] for base in second.body["bases"]] == ["_base", "_base-1"]
    one = named(first.folder)
    with pytest.raises(HeadwaterError, match="output: .*is the folder of the input"):
        label(tmp_path / "b.parquet", tmp_path / "one", steps, inputs=inputs, as_of=GONE)
    for path in (tmp_path / "a.parquet", tmp_path / "b.parquet"):
        path.unlink()
    shutil.rmtree(tmp_path / "one")
    whole(second)
    two = named(second.folder)
    assert not set(one) & set(two)
    assert {**one, **two} == dict(zip(keys(flights), expected(flights)))


def test_rows_keep_the_identifiers_that_they_bring_along(few_flights, tmp_path):
    collect_dataset(str(few_flights), str(tmp_path / "data"), workers=1)
    for split in ("train", "eval"):
        shutil.copytree(tmp_path / "data" / f"split={split}", tmp_path / "plain" / f"split={split}")
    result = label(tmp_path / "plain", tmp_path / "labels")
    whole(result)
    known = rows_of(tmp_path / "data")
    found = rows_of(result.folder, ["split", *load_dataset(str(tmp_path / "data")).schema.names])
    assert [row[ROW_ID] for row in found] == [row[ROW_ID] for row in known] and found == [
        {name: row[name] for name in found[0]} for row in known
    ]


@pytest.mark.slow
def test_the_same_files_are_copied_once(few_flights, tmp_path):
    base = tmp_path / "labels/_base"
    first = label(few_flights, tmp_path / "labels")
    written = {path: path.stat().st_mtime_ns for path in base.rglob("*")}
    again = label(few_flights, tmp_path / "labels", weak(min_probability=0.9))
    assert {path: path.stat().st_mtime_ns for path in base.rglob("*")} == written
    assert again.fingerprint != first.fingerprint
    whole(again)
    # A shard is gone.
    [shard] = base.glob("split=all/*")
    content = shard.read_bytes()
    shard.unlink()
    whole(label(few_flights, tmp_path / "labels"))
    assert shard.read_bytes() == content
    # Of what lay here before nothing stays.
    lines = few_flights.read_text().splitlines(keepends=True)
    (tmp_path / "other").mkdir()
    for name in ("split=train", "split=eval"):
        (tmp_path / "other" / name).mkdir()
        (tmp_path / "other" / name / "few.csv").write_text("".join(lines[:1_000]))
    other = label(tmp_path / "other", tmp_path / "labels")
    whole(other)
    assert sorted(str(path.relative_to(base)) for path in base.rglob("*.parquet")) == [
        "_shards-eval.parquet",
        "_shards-train.parquet",
        "split=eval/part-00001.parquet",
        "split=train/part-00000.parquet",
    ]
    # A copy is a dataset of its own, which may be labelled again where it lies.
    whole(label(base, tmp_path / "labels"))


def test_what_is_wrong_is_told(few_flights, flights, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copy(few_flights, plain / "few.csv")
    pq.write_table(flights.append_column(ROW_ID, flights["tailnum"]), tmp_path / "text.parquet")
    ids = pa.array([None, *np.arange(1, FLIGHTS)], pa.int64())
    ids = pa.array([None if each is None else each.to_bytes(16, "big") for each in ids.to_pylist()], pa.binary(16))
    pq.write_table(flights.append_column(ROW_ID, ids), tmp_path / "none.parquet")
    pq.write_table(flights.append_column("label", flights["carrier"]), tmp_path / "label.parquet")
    (tmp_path / "ragged.csv").write_text("hour,distance,carrier,origin\n1,2,AA,EWR\n1,2,AA,LGA,4\n")
    (tmp_path / "empty.csv").write_text("hour,distance,carrier,origin\n")
    collect_dataset(str(few_flights), str(tmp_path / "data"), workers=1)
    label(plain / "few.csv", tmp_path / "labels")
    for message, dataset, output in (
        (
            "column '_row_id' is string, but Headwater reserves this name for a column of fixed_size_binary",
            "text.parquet",
            "out",
        ),
        ("1 rows have no _row_id, which labels refer to rows by", "none.parquet", "out"),
        ("the dataset already has a column 'label'", "label.parquet", "out"),
        ("row 3: ragged_row: .*plain input must have no such rows", "ragged.csv", "out"),
        ("there are columns but no rows", "empty.csv", "out"),
        ("there is no such file or folder", "nowhere.csv", "out"),
        (
            "output: .*is inside the input folder .*plain, so the next run would read the labels as data",
            "plain",
            "plain/out",
        ),
        ("output: .*plain is the folder of the input", "plain", "plain"),
        ("output: .*this result is of kind dataset, but labels is needed; give another folder", "plain", "data"),
        ("output: .*part-00000.parquet is an input of this run", "labels/_base/split=all", "labels"),
    ):
        with pytest.raises(HeadwaterError, match=message):
            label(tmp_path / dataset, tmp_path / output)
    # What was to be written over is as it was.
    assert open_dataset(str(tmp_path / "data")).count_rows() == FLIGHTS
    assert open_dataset(str(tmp_path / "labels")).count_rows() == FLIGHTS
    # Folders that readers pass over may lie among the data.
    for _ in range(2):
        assert label(plain, plain / "_labels").body["accounts"]["read"] == FLIGHTS


def test_plain_files_have_no_home(few_flights, tmp_path, capsys):
    with pytest.raises(
        HeadwaterError, match="data_root: plain files have no dataset name or span to store labels under"
    ):
        label(few_flights, tmp_path / "labels", data_root=str(tmp_path / "root"))
    # Before anything is read.
    assert capsys.readouterr() == ("", "") and list(tmp_path.iterdir()) == []
    with pytest.raises(HeadwaterError, match="there is no such file or folder"):
        label(tmp_path / "nowhere.csv", tmp_path / "labels", data_root=str(tmp_path / "root"))
    with pytest.raises(HeadwaterError, match="there is no column 'winds'"):
        label(few_flights, tmp_path / "labels", weak(functions=[{"name": str(n), "sql": "winds"} for n in range(3)]))
    assert list(tmp_path.iterdir()) == []


def test_functions_are_tried_out_on_an_even_sample_of_plain_files(few_flights, tmp_path):
    told = analyse(str(few_flights), steps=weak(), rows=500)
    assert told.startswith("500 rows") and "write functions for them next" in told
    assert analyse(str(few_flights), steps=weak()).startswith("2,000 rows")
    rows = 400_000
    pq.write_table(pa.table({"place": np.arange(rows)}), tmp_path / "long.parquet", row_group_size=rows)
    functions = [
        {"name": name, "sql": f"CASE WHEN place >= {start} THEN 'late' ELSE 'on_time' END"}
        for name, start in (("half", rows // 2), ("tenth", rows * 9 // 10), ("all", 0))
    ]
    functions.append({"name": "last", "sql": f"CASE WHEN place >= {rows * 3 // 4} THEN 'late' END"})
    told = analyse(str(tmp_path / "long.parquet"), steps=weak(functions=functions, model="majority"), rows=1_000)
    [line] = [line for line in told.splitlines() if line.startswith("last ")]
    assert told.startswith("1,000 rows") and line.split()[1] == "25.0"


def test_gold_by_key_is_refused_where_rows_have_no_key_of_their_own(few_flights, tmp_path):
    gold = tmp_path / "gold.csv"
    gold.write_text("flight,known\n1545,late\n")
    steps = weak(gold="known", gold_input="checked")
    for call in (analyse, lambda dataset, **more: label(dataset, tmp_path / "labels", **more)):
        with pytest.raises(HeadwaterError, match="steps.0.gold: the dataset's key is _row_id"):
            call(str(few_flights), steps=steps, inputs={"checked": str(gold)})


def test_the_command_line_takes_plain_files(few_flights, tmp_path, capsys):
    (tmp_path / "steps.yaml").write_text(yaml.safe_dump({"label": {"steps": weak()}}))
    command = ["label", str(few_flights), "--project", str(tmp_path / "steps.yaml")]
    assert main([*command, "--analyse", "--rows", "300"]) == 0
    assert "300 rows" in capsys.readouterr().out
    out = tmp_path / "out"
    assert main([*command, "--output", str(out), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "labelled    2,000 rows, late" in told and f"result      {out}\n" in told and "_page.html" in told
    # A page of rows without a name is named by where they lie.
    assert str(few_flights) in (out / "_page.html").read_text()
    assert open_dataset(str(out)).count_rows() == FLIGHTS
    assert main(["verify", str(out)]) == 0
    assert main([*command, "--output", str(out), "--data-root", str(tmp_path / "root")]) == FAILED
    assert "data_root: plain files have no dataset name" in capsys.readouterr().err


def test_an_analysis_is_text_and_tables_even_of_one_function(few_flights, tmp_path):
    for functions, model in (
        ([{"name": "windy<b>", "sql": "CASE WHEN dep_delay > 15 THEN 'late' END"}], {}),
        ([{"name": "windy<b>", "sql": "CASE WHEN dep_delay > 15 THEN 'late' END"}], {"model": "majority"}),
    ):
        steps = [{"method": "weak_supervision", "classes": ["late", "on_time"], "functions": functions, **model}]
        found = analyse(str(few_flights), steps=steps, rows=500)
        assert repr(found) == str(found) and found.startswith("500 rows")
        assert "windy&lt;b&gt;" in found._repr_html_()
        table = found.to_pandas()
        assert list(table["function"]) == ["windy<b>"] and 0 < table["coverage"][0] < 1
        assert table["accuracy"].isna().all() and list(table["votes"]) == [["late"]]
        assert {"column", "value", "rows", "share"} == set(found.to_pandas("uncovered").columns)
        assert len(found.to_pandas("disagreements")) == 0
    with pytest.raises(HeadwaterError, match="'pairs' is not one of functions, uncovered, disagreements"):
        found.to_pandas("pairs")
