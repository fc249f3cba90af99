"""Rows held against rules: each kind of rule against DuckDB's answer, and the two datasets that come of it."""

from __future__ import annotations

import ast
import json
import pathlib

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.collect import collect_dataset
from headwater.components.common import hashing, open_dataset, storage
from headwater.components.common.dataset import load_dataset, read_element
from headwater.components.common.dataset_index import shard_index
from headwater.components.common.errors import HeadwaterError
from headwater.components.label import label_dataset
from headwater.components.validate.rows import tracing
from headwater.components.validate.rows.quarantine import check_rows


def frame_of(seed: int, rows: int) -> pd.DataFrame:
    """Trips: keys that repeat, missing values and NaN everywhere, times that mostly rise."""
    chance = np.random.default_rng(seed)
    fare = np.where(chance.random(rows) < 0.1, np.nan, chance.normal(10, 8, rows))
    return pd.DataFrame(
        {
            "number": np.arange(rows),
            "id": pd.array(np.where(chance.random(rows) < 0.05, None, chance.integers(0, rows, rows)), "Int64"),
            "fare": fare,
            "zone": np.where(chance.random(rows) < 0.1, None, chance.choice(["a", "b", "c", "zz", ""], rows)),
            "car": chance.choice(["x", "y", None], rows),
            "at": np.round(np.arange(rows) + chance.normal(0, 2, rows)),
            "km": np.where(chance.random(rows) < 0.05, np.nan, np.arange(rows) + chance.normal(0, 1.5, rows)),
        }
    )


def table_of(frame: pd.DataFrame) -> pa.Table:
    """The frame as Arrow: missing stays missing, and a tenth of the missing numbers are NaN."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for name in ("fare", "km"):
        values = frame[name].to_numpy()
        missing = np.isnan(values) & (np.arange(len(values)) % 3 > 0)
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, mask=missing))
    return table.replace_schema_metadata(None)


def write(folder: pathlib.Path, table: pa.Table, shards: int, splits: tuple[str, ...] = ("train", "eval")) -> str:
    """A folder of splits, each of several files."""
    bounds = np.linspace(0, len(table), shards * len(splits) + 1).astype(int)
    for place, (start, stop) in enumerate(zip(bounds, bounds[1:])):
        path = folder / f"split={splits[place // shards]}" / f"part-{place % shards:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(start, stop - start), path)
    return str(folder)


def check(dataset: str, rules: list, **options):
    options = {"workers": 1, **options}
    return check_rows(dataset, config={"rules": rules, **options.pop("config", {})}, **options)


def broken_numbers(folder: str, rule: str) -> list[int]:
    """The `number`s of the quarantined rows that broke a rule."""
    table = open_dataset(folder).to_table()
    named = [rule in names for names in table["_rules"].to_pylist()]
    return sorted(table["number"].filter(pa.array(named, pa.bool_())).to_pylist())


def answer(table: pa.Table, query: str) -> list[int]:
    """DuckDB's list of numbers over `trips`."""
    with duckdb.connect() as connection:
        connection.register("trips", table)
        return sorted(row[0] for row in connection.execute(query).fetchall())


UNIQUE = """SELECT number FROM (SELECT *, row_number() OVER (PARTITION BY {0} ORDER BY number) AS place FROM trips
    WHERE {1}) WHERE place > 1"""
MONOTONE = """SELECT number FROM (SELECT *, lag(km) OVER (PARTITION BY {0} ORDER BY {1} number) AS before FROM trips
    WHERE km IS NOT NULL AND NOT isnan(km)) WHERE km {2} before"""

RULES = [
    ({"row": "fare >= 0"}, "SELECT number FROM trips WHERE (fare >= 0) IS FALSE"),
    (
        {"row": "zone <> 'zz' OR fare > 5 -- a remark"},
        "SELECT number FROM trips WHERE (zone <> 'zz' OR fare > 5) IS FALSE",
    ),
    ({"row": "1 < 2) AND (fare < 20"}, "SELECT number FROM trips WHERE (fare < 20) IS FALSE"),
    ({"unique": ["id"]}, UNIQUE.format("id", "id IS NOT NULL")),
    ({"unique": ["zone", "id"]}, UNIQUE.format("zone, id", "id IS NOT NULL AND zone IS NOT NULL")),
    ({"monotone": {"column": "km"}}, MONOTONE.format("1", "", "<")),
    ({"monotone": {"column": "km", "order": ["at"]}}, MONOTONE.format("1", '"at",', "<")),
    ({"monotone": {"column": "km", "group": ["car"], "strict": True}}, MONOTONE.format("car", "", "<=")),
    (
        {"monotone": {"column": "km", "order": ["zone", "at"], "group": ["car"]}},
        MONOTONE.format("car", 'zone, "at",', "<").replace("WHERE km IS", "WHERE zone IS NOT NULL AND km IS", 1),
    ),
]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("partition_rows", [1_000_000, 97])
@pytest.mark.parametrize("shards", [1, 7])
def test_every_kind_of_rule_finds_the_rows_that_duckdb_finds(tmp_path, monkeypatch, shards, partition_rows):
    monkeypatch.setattr(tracing, "PARTITION_ROWS", partition_rows)
    table = table_of(frame_of(shards, 1000))
    source = write(tmp_path / "in", table, shards)
    rules = [{"name": f"r{place}", **rule} for place, (rule, _) in enumerate(RULES)]
    report = check(source, rules, quarantine=str(tmp_path / "bad"))
    for place, (rule, query) in enumerate(RULES):
        expected = answer(table, query)
        assert expected, rule
        assert broken_numbers(str(tmp_path / "bad"), f"r{place}") == expected, rule
        by_split = {row["split"]: row["broken"] for row in report.results if row["rule"] == f"r{place}"}
        assert by_split == {"train": sum(n < 500 for n in expected), "eval": sum(n >= 500 for n in expected)}
    assert {row["rows"] for row in report.results} == {500}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("small", [1_000_000, 0])
@pytest.mark.parametrize("partition_rows", [1_000_000, 50])
def test_references_are_found_in_a_set_and_in_partitions(tmp_path, monkeypatch, small, partition_rows):
    monkeypatch.setattr(tracing, "SMALL_KEYS", small)
    monkeypatch.setattr(tracing, "PARTITION_ROWS", partition_rows)
    table = table_of(frame_of(5, 800))
    source = write(tmp_path / "in", table, 3)
    zones = pa.table({"code": ["a", "", "c", None, "a"], "n": pa.array([1, 2, 3, 4, 5], pa.int8())})
    ids = pa.table({"id": pa.array(np.arange(0, 800, 2), pa.int32()), "zone": ["a", "b"] * 200})
    other = write(tmp_path / "zones", zones, 2, ("all",))
    keys = write(tmp_path / "ids", ids, 4, ("train",))
    rules = [
        {"name": "zone", "references": {"columns": ["zone"], "dataset": other, "to": ["code"]}},
        {"name": "pair", "references": {"columns": ["id", "zone"], "dataset": keys}},
        {"name": "self", "references": {"columns": ["id"], "dataset": source, "to": ["number"]}},
    ]
    check(source, rules, quarantine=str(tmp_path / "bad"))
    assert broken_numbers(str(tmp_path / "bad"), "zone") == answer(
        table, "SELECT number FROM trips WHERE zone NOT IN ('a', '', 'c')"
    )
    pairs = set(zip(ids["id"].to_pylist(), ids["zone"].to_pylist()))
    expected = [
        row["number"]
        for row in table.to_pylist()
        if None not in (row["id"], row["zone"]) and (row["id"], row["zone"]) not in pairs
    ]
    assert 0 < len(expected) < 800
    assert broken_numbers(str(tmp_path / "bad"), "pair") == expected
    assert broken_numbers(str(tmp_path / "bad"), "self") == []


@pytest.mark.slow
def test_an_ordered_column_of_any_type_is_judged_the_same_in_one_partition_and_in_many(tmp_path, monkeypatch):
    chance = np.random.default_rng(3)
    whole = chance.integers(-(2**62), 2**62, 600)
    table = pa.table(
        {
            "number": np.arange(600),
            "value": chance.integers(0, 50, 600),
            "int": whole,
            "unsigned": whole.astype(np.uint64),
            "real": np.where(whole % 50 == 0, -0.0, whole / 7),
            "time": pa.array(whole // 10**6, pa.timestamp("us")),
            "day": pa.array(whole % 40_000 - 20_000, pa.int32()).cast(pa.date32()),
            "text": pa.array([f"a long common beginning {n % 90:03d}" if n % 3 else "é" * (n % 5) for n in range(600)]),
            "flag": pa.array(whole % 2 == 0),
            "decimal": pc.cast(pa.array(whole % 10_000, pa.int64()), pa.decimal128(21, 2)),
        }
    )
    source = write(tmp_path / "in", table, 5)
    names = [name for name in table.column_names if name not in ("number", "value")]
    rules = [{"name": name, "monotone": {"column": "value", "order": [name]}} for name in names]
    rules += [{"name": f"{name} itself", "monotone": {"column": name}} for name in names]
    found = []
    for rows in (1_000_000, 60):
        monkeypatch.setattr(tracing, "PARTITION_ROWS", rows)
        check(source, rules, quarantine=str(tmp_path / f"bad{rows}"))
        found.append({rule["name"]: broken_numbers(str(tmp_path / f"bad{rows}"), rule["name"]) for rule in rules})
    assert found[0] == found[1]
    for name in names:
        fell = (
            f'SELECT number FROM (SELECT *, lag(value) OVER (ORDER BY "{name}", number) b FROM trips) WHERE value < b'
        )
        itself = (
            f'SELECT number FROM (SELECT *, lag("{name}") OVER (ORDER BY number) AS b FROM trips) WHERE "{name}" < b'
        )
        assert found[0][name] == answer(table, fell), name
        assert found[0][f"{name} itself"] == answer(table, itself), name


def test_missing_keeps_a_row_and_what_cannot_be_computed_does_not(tmp_path):
    table = pa.table({"number": [0, 1, 2, 3, 4], "text": ["5", "x", None, "-1", ""], "real": [1.0, 2, 3, 4, np.nan]})
    source = write(tmp_path / "in", table, 1, ("all",))
    rules = [
        {"name": "spelled", "row": "CAST(text AS INTEGER) > 0"},
        {"name": "other", "row": "real < 4"},
        {"name": "zero", "row": "1 / (real - real) > 0"},
    ]
    check(source, rules, quarantine=str(tmp_path / "bad"))
    assert broken_numbers(str(tmp_path / "bad"), "spelled") == [1, 3, 4]
    # To DuckDB NaN is above all numbers.
    assert broken_numbers(str(tmp_path / "bad"), "other") == [3, 4]
    # A number by zero is missing; NaN by NaN is NaN, which is above zero.
    assert broken_numbers(str(tmp_path / "bad"), "zero") == []


def test_many_row_rules_are_told_apart(tmp_path):
    table = pa.table({"number": np.arange(300)})
    source = write(tmp_path / "in", table, 2)
    rules = [{"name": f"not {place}", "row": f"number <> {place}"} for place in range(130)]
    report = check(source, rules, quarantine=str(tmp_path / "bad"))
    bad = open_dataset(str(tmp_path / "bad")).to_table()
    assert dict(zip(bad["number"].to_pylist(), bad["_rules"].to_pylist())) == {n: [f"not {n}"] for n in range(130)}
    assert report.accounts["quarantined"] == 130


def test_the_two_datasets_hold_all_rows_and_their_accounts_add_up(tmp_path):
    table = table_of(frame_of(2, 900))
    source = write(tmp_path / "in", table, 4)
    rules = [
        {"name": "fare", "row": "fare >= 0"},
        {"name": "id", "unique": ["id"]},
        {"name": "zone", "row": "zone <> 'zz'", "severity": "warning"},
    ]
    report = check(source, rules, passed=str(tmp_path / "good"), quarantine=str(tmp_path / "bad"))
    good, bad = (open_dataset(str(tmp_path / name)).to_table() for name in ("good", "bad"))
    assert sorted(good["number"].to_pylist() + bad["number"].to_pylist()) == list(range(900))
    assert len(good) == report.accounts["passed"] and len(bad) == report.accounts["quarantined"]
    assert report.accounts["read"] == 900
    for role in ("passed", "quarantine"):
        result = getattr(report, role)
        accounts = result.body["accounts"]
        assert accounts["read"] == accounts["written"] + accounts["rejected"] + sum(accounts["filtered"].values())
        assert result.body["accepted"]
    columns = [*table.column_names]
    again = pa.concat_tables([good.select(columns), bad.select(columns)]).sort_by("number")
    assert again.cast(table.schema).to_pandas().equals(table.to_pandas())
    wrong = answer(table, "SELECT number FROM trips WHERE (fare >= 0) IS FALSE")
    wrong += answer(table, UNIQUE.format("id", "id IS NOT NULL"))
    assert sorted(bad["number"].to_pylist()) == sorted(set(wrong))
    # The warning is named where a row is bad for another reason, and makes none bad.
    both = {row["number"]: row["_rules"] for row in bad.select(["number", "_rules"]).to_pylist()}
    assert any(rules[-1:] == ["zone"] and len(rules) > 1 for rules in both.values())
    assert not any(rules == ["zone"] for rules in both.values())
    assert "zz" in good["zone"].to_pylist()
    for name in ("good", "bad"):
        loaded = load_dataset(str(tmp_path / name))
        assert loaded.splits == ["train", "eval"] and loaded.key == ["_row_id"]
        rows = [b for s in loaded.splits for e in loaded.elements(s) for b in read_element(e, loaded.schema)]
        assert sum(batch.num_rows for batch in rows) == len(good if name == "good" else bad)
        for split in loaded.splits:
            assert open_dataset(str(tmp_path / name), split).to_table().num_rows == loaded.rows(split)


def test_a_collected_dataset_keeps_its_key_types_splits_and_digests(few_flights, tmp_path):
    collected = collect_dataset(
        str(few_flights), str(tmp_path / "data"), name="flights", splits={"train": 3, "eval": 1}, workers=1
    )
    report = check(
        str(tmp_path / "data"),
        [{"name": "late", "row": "dep_delay < 60"}],
        passed=str(tmp_path / "good"),
        quarantine=str(tmp_path / "bad"),
    )
    source = open_dataset(str(tmp_path / "data")).to_table()
    late = source.filter(pc.fill_null(pc.greater_equal(source["dep_delay"], 60), False))
    bad = open_dataset(str(tmp_path / "bad")).to_table()
    assert sorted(bad["_row_id"].to_pylist()) == sorted(late["_row_id"].to_pylist()) and len(bad)
    assert load_dataset(str(tmp_path / "good")).schema == load_dataset(str(tmp_path / "data")).schema
    for split in ("train", "eval"):
        parts = [int(getattr(report, role).body["splits"][split]["digest"], 16) for role in ("passed", "quarantine")]
        assert hashing.add_digests(parts) == int(collected.body["splits"][split]["digest"], 16)
    assert report.passed.body["lineage"]["dataset"] == collected.reference()
    assert (report.passed.body["name"], report.passed.body["span"]) == ("flights", 1)
    first = [row for row in report.results if row["broken"]][0]["examples"][0]
    assert bytes.fromhex(first["key"]["_row_id"]) in bad["_row_id"].to_pylist()
    # What was quarantined can be checked again, and is then all that there is.
    twice = check(
        str(tmp_path / "bad"), [{"name": "late", "row": "dep_delay < 60"}], quarantine=str(tmp_path / "worse")
    )
    assert twice.accounts["quarantined"] == twice.accounts["read"] == len(bad)
    assert open_dataset(str(tmp_path / "worse")).to_table().column_names.count("_rules") == 1


def test_rows_of_plain_files_get_the_ids_that_collect_gives(few_flights, tmp_path):
    collect_dataset(str(few_flights), str(tmp_path / "data"), splits={"all": 1}, workers=1, analyse=False)
    check(str(few_flights), [{"name": "all", "row": "flight < 0"}], quarantine=str(tmp_path / "bad"))
    collected, bad = (open_dataset(str(tmp_path / name)).to_table() for name in ("data", "bad"))
    assert len(bad) == 2000
    assert dict(zip(bad["_row_id"].to_pylist(), bad["time_hour"].to_pylist())) == dict(
        zip(collected["_row_id"].to_pylist(), collected["time_hour"].to_pylist())
    )


@pytest.mark.slow
def test_the_same_bytes_with_one_and_two_workers(tmp_path):
    table = table_of(frame_of(4, 2000))
    source = write(tmp_path / "in", table, 5)
    zones = write(tmp_path / "zones", pa.table({"zone": ["a", "b"]}), 1, ("all",))
    rules = [
        {"name": "fare", "row": "fare >= 0"},
        {"name": "id", "unique": ["id"]},
        {"name": "zone", "references": {"columns": ["zone"], "dataset": zones}},
        {"name": "km", "monotone": {"column": "km", "order": ["at"], "group": ["car"]}},
    ]
    reports = [
        check(source, rules, passed=str(tmp_path / f"good{n}"), quarantine=str(tmp_path / f"bad{n}"), workers=n)
        for n in (1, 2)
    ]
    for role in ("good", "bad"):
        files = [
            {storage.relative(f.uri, str(tmp_path / f"{role}{n}")): pathlib.Path(f.uri).read_bytes() for f in found}
            for n in (1, 2)
            for found in [storage.list_files(str(tmp_path / f"{role}{n}"))]
        ]
        assert files[0] == files[1] and len(files[0]) > 5
    assert reports[0].results == reports[1].results and reports[0].findings == reports[1].findings


def test_what_an_earlier_check_left_goes_and_no_other_dataset_is_touched(tmp_path):
    table = table_of(frame_of(4, 300))
    source = write(tmp_path / "in", table, 3)
    bad, other = str(tmp_path / "bad"), str(tmp_path / "other")
    check(source, [{"name": "all", "row": "number < 0"}], quarantine=bad)
    check(source, [{"name": "few", "row": "number > 0"}], quarantine=bad)
    assert pq.ParquetDataset(f"{bad}/split=train").read()["number"].to_pylist() == [0]
    assert [
        shard["rows"]
        for shard in shard_index(
            check(source, [{"name": "few", "row": "number > 0"}], quarantine=bad).quarantine, "train"
        )
    ] == [1]
    check(source, [{"name": "few", "row": "number > 0"}], passed=other)
    for options, message in [
        ({"quarantine": other}, "already holds another dataset"),
        ({"passed": other, "quarantine": other}, "are both"),
        ({"passed": source}, "is a dataset that this run reads"),
    ]:
        with pytest.raises(HeadwaterError, match=message):
            check(source, [{"name": "few", "row": "number > 0"}], **options)
    assert open_dataset(other).to_table().num_rows == 299


def test_an_empty_split_and_a_dataset_of_which_nothing_passes(tmp_path):
    table = pa.table({"number": np.arange(10)})
    source = write(tmp_path / "in", table, 1, ("train",))
    (tmp_path / "in/split=eval").mkdir()
    pq.write_table(table.slice(0, 0), tmp_path / "in/split=eval/part-0.parquet")
    rules = [{"name": "none", "row": "number < 0"}, {"name": "once", "unique": ["number"]}]
    collected = str(tmp_path / "collected")
    check(source, [{"name": "any", "row": "number >= 0"}], passed=collected)
    report = check(source, rules, passed=str(tmp_path / "good"), quarantine=str(tmp_path / "bad"))
    assert report.accounts["quarantined"] == 10 and len(report.findings) == 1
    assert not report.passed.body["accepted"]
    with pytest.raises(HeadwaterError, match="every one of the 10 rows broke a rule"):
        load_dataset(str(tmp_path / "good"))
    clean = check(source, [{"name": "any", "row": "number >= 0"}], quarantine=str(tmp_path / "none"))
    assert clean.findings == [] and clean.quarantine.body["splits"]["train"]["rows"] == 0
    assert open_dataset(str(tmp_path / "none")).to_table().num_rows == 0
    # A dataset with an empty split: nothing is wrong in no rows.
    empty = check(str(tmp_path / "none"), [{"name": "any", "row": "number < 0"}], passed=str(tmp_path / "again"))
    assert [row["share"] for row in empty.results] == [0.0] * len(empty.results) and empty.findings == []
    assert load_dataset(str(tmp_path / "again")).rows("train") == 0


def test_a_finding_is_a_sentence_with_its_shard_and_tolerance_keeps_it_back(tmp_path):
    table = pa.table({"number": np.arange(2500), "fare": np.where(np.arange(2500) % 67 == 66, -1.0, 1.0)})
    source = write(tmp_path / "in", table.slice(60), 10, ("train",))
    rules = [
        {"name": "fare", "row": "fare >= 0"},
        {"name": "tolerant", "row": "fare  >=\n0", "tolerance": 0.02},
        {"name": "less tolerant", "row": "fare >= 0", "tolerance": 0.01, "severity": "warning"},
    ]
    report = check(source, rules)
    assert [finding["message"] for finding in report.findings] == [
        "rule 'fare': fare >= 0 is broken by 37 of 2,440 rows (1.52 %), first seen in split=train/part-000.parquet",
        "rule 'less tolerant': fare >= 0 is broken by 37 of 2,440 rows (1.52 %), above the tolerance of 1 %, "
        "first seen in split=train/part-000.parquet",
    ]
    assert [finding["severity"] for finding in report.findings] == ["error", "warning"]
    assert {"split", "feature", "kind", "severity", "message"} <= set(report.findings[0])
    examples = report.results[0]["examples"]
    assert examples[0] == {"shard": "split=train/part-000.parquet", "row": 7, "key": {}, "values": {"fare": -1.0}}
    assert len(examples) == 5 and json.loads(json.dumps(report.body)) == report.body


def test_examples_hide_the_private_paths_of_a_struct_alone(tmp_path):
    rows = [
        {"id": n, "person": {"colour": "red" if n % 9 else "grey", "at": [{"mail": f"ann{n}@example.org", "size": n}]}}
        for n in range(60)
    ]
    collect_dataset(pa.Table.from_pylist(rows), str(tmp_path / "data"), key=["id"], splits={"all": 1}, workers=1)
    rule = {"name": "colour", "row": "person.colour <> 'grey'"}
    [found] = check(str(tmp_path / "data"), [rule]).results
    shown = found["examples"][1]["values"]["person"]
    assert ast.literal_eval(shown) == {"colour": "grey", "at": [{"mail": "[private]", "size": 9}]}
    [found] = check(str(tmp_path / "data"), [rule], config={"private": ["person"]}).results
    assert found["examples"][1]["values"] == {"person": "[private]"}


def test_private_columns_and_private_keys_are_not_shown(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("mail,age,note\n" + "".join(f"p{n}@example.org,{n},secret-{n}\n" for n in range(30)))
    collect_dataset(
        str(path),
        str(tmp_path / "data"),
        key=["mail"],
        private={"age": {"action": "keep"}, "note": "redact"},
        workers=1,
    )
    rules = [
        {"name": "age", "row": "age < 10 OR mail = ''"},
        {"name": "mail", "references": {"columns": ["mail"], "dataset": str(path)}},
    ]
    report = check(
        str(tmp_path / "data"),
        rules,
        config={"private": ["age"]},
        passed=str(tmp_path / "good"),
        quarantine=str(tmp_path / "bad"),
    )
    text = json.dumps(report.body)
    assert "example.org" not in text and "secret" not in text
    example = next(row for row in report.results if row["broken"])["examples"][0]
    assert example["key"] == {"mail": "[private]"}
    assert example["values"] == {"mail": "[private]", "age": "[private]"}
    for role in ("passed", "quarantine"):
        assert set(getattr(report, role).body["private"]) == {"mail", "note", "age"}
        assert "example.org" not in json.dumps(dict(getattr(report, role).manifest))


def test_hostile_names_of_columns_rules_and_splits(tmp_path):
    names = ['a"b', "é ü", "select", "<b>", "a.b", "_rules2", "x'; DROP TABLE batch; --", ""]
    table = pa.table({name: np.arange(20) for name in names} | {"number": np.arange(20)})
    source = write(tmp_path / "in", table, 2, ("train", "été <i>"))
    rules = []
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        if name:
            rules.append({"name": f"row {name}", "row": f"{quoted} <> 3"})
        rules.append({"name": f"unique {name}", "unique": [name]})
        rules.append({"name": f"monotone {name}", "monotone": {"column": name, "group": [name], "order": [name]}})
    report = check(source, rules, passed=str(tmp_path / "good"), quarantine=str(tmp_path / "bad"))
    assert report.accounts["quarantined"] == 1
    bad = open_dataset(str(tmp_path / "bad")).to_table()
    assert bad["_rules"].to_pylist() == [[f"row {name}" for name in names if name]]
    assert bad.drop(["_row_id", "_rules", "split"]).column_names == table.column_names


def test_a_schema_and_rules_together_name_what_each_row_broke(tmp_path):
    schema = schema_pb2.Schema()
    zone = schema.feature.add(name="zone", type=schema_pb2.BYTES)
    zone.string_domain.value.extend(["a", "b"])
    zone.presence.min_fraction = 1
    fare = schema.feature.add(name="fare", type=schema_pb2.FLOAT)
    fare.float_domain.min = 0
    table = pa.table({"number": [0, 1, 2, 3], "zone": ["a", "zz", None, "b"], "fare": [1.0, -1, 2, None]})
    source = write(tmp_path / "in", table, 1, ("all",))
    report = check(source, [{"name": "two", "row": "number <> 1"}], schema=schema, quarantine=str(tmp_path / "bad"))
    bad = open_dataset(str(tmp_path / "bad")).to_table()
    assert dict(zip(bad["number"].to_pylist(), bad["_rules"].to_pylist())) == {
        1: ["two", "schema:zone:domain", "schema:fare:range"],
        2: ["schema:zone:missing"],
    }
    domain = next(finding for finding in report.findings if finding["rule"] == "schema:zone:domain")
    assert (domain["feature"], domain["examples"][0]["values"]) == ("zone", {"zone": "zz"})
    assert domain["message"] == (
        "rule 'schema:zone:domain': zone in its domain of 2 values is broken by 1 of 4 rows (25 %), first seen in "
        "split=all/part-000.parquet, such as 'zz'"
    )
    hidden = check(source, [], schema=schema, config={"private": ["zone"]})
    assert "zz" not in json.dumps(hidden.body)
    softer = check(source, [], schema=schema, config={"schema_severity": "warning"})
    assert softer.accounts["quarantined"] == 0 and {f["severity"] for f in softer.findings} == {"warning"}


def test_examples_of_labelled_rows_name_the_row_of_their_shard(tmp_path):
    chance = np.random.default_rng(4)
    rows, day, start = 200, 86_400_000_000, 1_767_225_600_000_000
    events = tmp_path / "events.parquet"
    pq.write_table(
        pa.table({"id": [0], "at": pa.array([start + 1], pa.timestamp("us", "UTC")), "kind": ["bad"]}), events
    )
    for span in (1, 2):
        time = start + (span - 1) * day + chance.integers(0, day, rows)
        table = pa.table(
            {
                "id": np.arange(rows) + rows * span,
                "served": pa.array(time, pa.timestamp("us", "UTC")),
                "x": chance.normal(size=rows),
            }
        )
        (tmp_path / f"in-{span}").mkdir()
        pq.write_table(table, tmp_path / f"in-{span}" / "served.parquet")
        data = collect_dataset(
            str(tmp_path / f"in-{span}"), str(tmp_path / f"data-{span}"), name="served", span=span, key=["id"],
            data_root=str(tmp_path / "root"), workers=1,
        )  # fmt: skip
        step = {
            "method": "direct",
            "classes": ["good", "bad"],
            "feedback": "events",
            "served": "served",
            "occurred": "at",
            "window": "12h",
            "outcome": "kind",
            "no_event": "good",
        }
        label_dataset(
            data.uri, str(tmp_path / f"labels-{span}"), steps=[step], inputs={"events": str(events)}, workers=1,
            as_of=f"2026-01-{span + 1:02d}T00:00:00Z",
        )  # fmt: skip
    # Of the span's own rows, and of those that it took over, which come last.
    rules = [{"name": "own", "row": "x > -1"}, {"name": "taken over", "row": f"id >= {2 * rows}"}]
    report = check(str(tmp_path / "labels-2"), [*rules, {"name": "once", "unique": ["x"]}])
    examples = [example for result in report.results for example in result["examples"]]
    assert {example["shard"].partition("/")[0] for example in examples} == {"served", "split=train", "split=eval"}
    for example in examples:
        own = "" if example["shard"].startswith("served/span=1/version=1/data/") else "served/span=2/version=1/data/"
        shard = pq.read_table(tmp_path / "root" / (own + example["shard"]))
        assert shard["id"][example["row"] - 1].as_py() == example["key"]["id"]


def test_files_of_a_pattern_are_told_apart(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table({"x": [1, -1]}), tmp_path / name / "part.parquet")
    report = check(str(tmp_path / "*" / "part.parquet"), [{"name": "x", "row": "x > 0"}])
    assert [each["shard"] for each in report.results[0]["examples"]] == ["a/part.parquet", "b/part.parquet"]
    report = check(str(tmp_path / "a" / "part.parquet"), [{"name": "x", "row": "x > 0"}])
    assert [each["shard"] for each in report.results[0]["examples"]] == ["part.parquet"]


def test_moments_beyond_the_calendar_are_shown_by_their_number(tmp_path):
    moments = pa.array([2**55]).cast(pa.timestamp("ms"))
    days = pa.array([2**30], pa.int32()).cast(pa.date32())
    inside = pa.StructArray.from_arrays([moments], ["moment"])
    pq.write_table(pa.table({"n": [1], "days": days, "moment": moments, "inside": inside}), tmp_path / "far.parquet")
    rule = {"name": "n", "row": "n > 1 AND days IS NULL AND moment IS NULL AND inside IS NULL"}
    [result] = check(str(tmp_path / "far.parquet"), [rule]).results
    assert result["examples"][0]["values"] == {"n": 1, "days": 2**30, "moment": 2**55, "inside": None}


def test_a_table_in_memory_does_as_well(tmp_path):
    table = pa.table({"number": [1, 2, 3]})
    rules = {"rules": [{"name": "few", "row": "number < 3"}]}
    for given in (table, table.to_pandas()):
        report = check_rows(given, config=rules, quarantine=str(tmp_path / "bad"), workers=1)
        assert report.accounts["quarantined"] == 1
        assert report.quarantine.body["lineage"]["dataset"]["uri"].startswith("a table in memory")
