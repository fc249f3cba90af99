"""Rules over one row by a query a file: the report is that of reading the rows, whatever the files are."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.formats import parquet, parquet_plain
from headwater.components.validate.concept.measure import check_columns
from headwater.components.validate.concept.settings import Concept
from headwater.components.validate.feature_skew import measure_feature_skew
from headwater.components.validate.rows import queries
from headwater.components.validate.rows.quarantine import check_rows
from headwater.components.validate.rows.rules import check_row_rules

READ = {"beam_pipeline_args": ["--runner=DirectRunner"]}
"""With options of Beam's the rows are read."""

KINDS = {
    "int8": pa.int8(),
    "uint32": pa.uint32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "day": pa.date32(),
    "moment": pa.timestamp("us"),
}


def table_of(rows: int, seed: int = 0) -> pa.Table:
    """A column of each plain type, a tenth of it missing; among numbers NaN, infinity and the extremes."""
    chance = np.random.default_rng(seed)
    columns = {}
    for name, kind in KINDS.items():
        if pa.types.is_floating(kind):
            values = chance.choice([0.0, -1.5, np.nan, np.inf, -np.inf, 3e38, *chance.normal(0, 5, 20)], rows)
        elif pa.types.is_integer(kind):
            low, high = (np.iinfo(str(kind)).min, np.iinfo(str(kind)).max)
            values = chance.choice([low, high, 0, *range(1, 20)], rows)
        elif pa.types.is_boolean(kind):
            values = chance.random(rows) < 0.5
        elif pa.types.is_string(kind):
            values = chance.choice(["", "a", "Ünï", "x" * 300, "'", "\x00b"], rows).astype(object)
        elif pa.types.is_timestamp(kind):
            values = chance.choice([-(2**63) + 1, 0, 1_600_000_000_000_001, 2**63 - 1], rows)
        else:
            values = chance.choice([-800_000, 0, 20_000, 2_000_000], rows).astype(np.int32)
        columns[name] = pa.array(values, kind, mask=chance.random(rows) < 0.1, from_pandas=False)
    return pa.table(columns)


RULES = [
    "int8 > -100",
    "uint32 <> 7 OR uint32 IS NULL",
    "int64 BETWEEN 0 AND 9",
    "float32 < 1000000",
    "float64 < 3",
    "batch.float64 IS NOT NULL AND NOT isnan(float64)",
    "bool",
    "length(text) < 100",
    "text LIKE 'a%' OR text IS NULL",
    "day > DATE '1970-01-01'",
    "moment > TIMESTAMP '1970-01-01' AND isfinite(moment)",
    "moment - INTERVAL 1 DAY < TIMESTAMP '2020-01-01'",
    "CASE WHEN bool THEN int8 > 0 END",
    "int64 = int64",
]


def rules_of(*texts: str, private: tuple[str, ...] = ()) -> dict:
    return {
        "rules": [
            {"name": f"r{place}", "row": text, "severity": ("error", "warning")[place % 2], "tolerance": place % 3 / 4}
            for place, text in enumerate(texts)
        ],
        "private": list(private),
    }


def both(uri: pathlib.Path | str, config: dict) -> tuple[dict, dict]:
    """The report as it comes, and that of reading the rows."""
    return check_rows(str(uri), config=config).body, check_rows(str(uri), config=config, **READ).body


def is_queried(uri: pathlib.Path | str, config: dict) -> bool:
    return queries.open_plain(str(uri), check_row_rules(config)) is not None


def test_reports_are_equal_to_those_of_reading_the_rows(tmp_path):
    table = table_of(3000)
    for split, start, stop in (("train", 0, 1000), ("train", 1000, 2200), ("eval", 2200, 3000)):
        path = tmp_path / f"split={split}" / f'{start} it\'s "one".parquet'
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table.slice(start, stop - start), path, row_group_size=100)
    config = rules_of(*RULES, private=("text",))
    assert is_queried(tmp_path, config)
    ours, read = both(tmp_path, config)
    assert json.dumps(ours) == json.dumps(read)
    broken = {result["rule"]: result["broken"] for result in ours["results"] if result["split"] == "train"}
    assert sum(count > 5 for count in broken.values()) == len(RULES) - 1 and not broken[f"r{len(RULES) - 1}"]


def test_the_first_rows_are_shown_across_the_files_of_a_split(tmp_path):
    for place, values in enumerate(([1, -1, 2], [-2, -3], [-4, -5, -6])):
        pq.write_table(pa.table({"x": values}), tmp_path / f"{place}.parquet")
    ours, read = both(tmp_path, rules_of("x > 0", "x > 100"))
    assert ours == read
    shown = [(each["shard"], each["row"]) for each in ours["results"][0]["examples"]]
    assert shown == [("0.parquet", 2), ("1.parquet", 1), ("1.parquet", 2), ("2.parquet", 1), ("2.parquet", 2)]


def test_what_a_footer_says_of_values_is_not_believed(tmp_path):
    # Statistics leave NaN out, which is greater than all numbers.
    values = np.full(1000, 0.5)
    values[[3, 700]] = np.nan
    pq.write_table(pa.table({"x": values}), tmp_path / "x.parquet", row_group_size=100)
    ours, read = both(tmp_path / "x.parquet", rules_of("x < 1"))
    assert ours == read and ours["results"][0]["broken"] == 2
    assert [each["row"] for each in ours["results"][0]["examples"]] == [4, 701]


@pytest.mark.parametrize(
    "expression", ["CAST(text AS INT) > 0", "int8 + 100::TINYINT > 0", "text[1:2] = 'a' AND 1 / int64 > 0"]
)
def test_a_rule_that_cannot_be_computed_on_some_rows(tmp_path, expression):
    pq.write_table(table_of(500), tmp_path / "x.parquet")
    config = rules_of("bool", expression)
    assert is_queried(tmp_path / "x.parquet", config)
    ours, read = both(tmp_path / "x.parquet", config)
    assert ours == read


OTHERS = {
    "moment_utc": pa.array([datetime.datetime(2020, 1, 1), None], pa.timestamp("us", "UTC")),
    "moment_ms": pa.array([datetime.datetime(2020, 1, 1), None], pa.timestamp("ms")),
    "moment_ns": pa.array([1, None], pa.timestamp("ns")),
    "duration": pa.array([1, None], pa.duration("s")),
    "time": pa.array([1, None], pa.time64("us")),
    "date64": pa.array([86_400_000, None], pa.date64()),
    "decimal": pa.array([decimal.Decimal("1.5"), None]),
    "bytes": pa.array([b"a", None]),
    "large": pa.array(["a", None], pa.large_string()),
    "dictionary": pa.array(["a", None]).dictionary_encode(),
    "nothing": pa.nulls(2),
    "list": pa.array([[1], None]),
    "struct": pa.array([{"int64": 1}, None]),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_types(tmp_path, name):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({name: OTHERS[name], "int64": pa.array([1, None])}), path, version="2.6")
    # Beside a plain column it is not in the way; a rule on it reads the rows.
    for column in (name, "int64"):
        config = rules_of(f"{column} IS NOT NULL", f"typeof({column}) = ''")
        assert is_queried(path, config) == (column == "int64")
        ours, read = both(path, config)
        assert ours == read and ours["results"][0]["broken"] == (2 if column == "nothing" else 1)


def test_plain_columns_have_the_types_and_ranges_that_pyarrow_tells(tmp_path):
    files = {}
    for version in ("1.0", "2.6"):
        files[f"arrow-{version}"] = tmp_path / f"{version}.parquet"
        pq.write_table(table_of(100), files[f"arrow-{version}"], version=version, row_group_size=30)
    files["duckdb"] = tmp_path / "duckdb.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM '{files['arrow-2.6']}') TO '{files['duckdb']}'")
    for name, path in files.items():
        schema, groups, plain = parquet_plain.read_footer(str(path))
        footer = parquet.read_footer(str(path))
        assert schema.names == footer.schema.names, name
        assert all(footer.schema.field(each).type == kind == schema.field(each).type for each, kind in plain), name
        assert parquet._ranges(groups) == footer.ranges, name
        assert dict(plain) == {each: kind for each, kind in KINDS.items() if (name, each) != ("arrow-1.0", "uint32")}, (
            name
        )


def test_names_that_sql_takes_for_others(tmp_path):
    pq.write_table(pa.table({"x": [1, -1], "X": [1, -1]}), tmp_path / "case.parquet")
    pq.write_table(pa.table({"x": [1, -1], "File_Row_Number": [1, -1]}), tmp_path / "number.parquet")
    pq.write_table(pa.table({'a "b" c': [1, -1], "b0": [-1, 2]}), tmp_path / "quotes.parquet")
    pq.write_table(pa.table({"x": [1, -1]}), tmp_path / "x[1].parquet")
    pq.write_table(pa.table({"x": [1, 1]}), tmp_path / "x1.parquet")
    assert not is_queried(tmp_path / "case.parquet", rules_of("x > 0"))
    assert not is_queried(tmp_path / "number.parquet", rules_of("x > 0"))
    for name, expression in (
        ("number", "x > 0"),
        ("number", "file_row_number > 0"),
        ("quotes", '"a ""b"" c" > 0'),
        ("quotes", "b0 > 0"),
    ):
        ours, read = both(tmp_path / f"{name}.parquet", rules_of("1 > 2 OR " + expression))
        assert ours == read and ours["results"][0]["broken"] == 1
    ours, read = both(tmp_path / "x[[]1].parquet", rules_of("x > 0"))
    assert ours == read and ours["results"][0]["broken"] == 1


def test_columns_of_folders_and_files_that_differ(tmp_path):
    for country, values in (("nl", pa.array([1, -1])), ("be", pa.array([1.5, -1.5]))):
        path = tmp_path / "hive" / f"country={country}" / "x.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"x": values}), path)
        (tmp_path / "mixed").mkdir(exist_ok=True)
        pq.write_table(pa.table({"x": values}), tmp_path / "mixed" / f"{country}.parquet")
    assert not is_queried(tmp_path / "hive", rules_of("x > 0"))
    for folder, expression in (
        ("hive", "x > 0 AND country = 'nl'"),
        ("mixed", "x > -1.2"),
        ("mixed", "typeof(x) = 'DOUBLE'"),
    ):
        ours, read = both(tmp_path / folder, rules_of(expression))
        assert ours == read, folder


def failure(*arguments, **options) -> str:
    with pytest.raises(HeadwaterError) as caught:
        check_rows(*arguments, **options)
    return str(caught.value)


def test_what_is_wrong_is_said_as_by_reading_the_rows(tmp_path):
    good = table_of(300)
    pq.write_table(good, tmp_path / "good.parquet", compression="none", use_dictionary=False)
    content = (tmp_path / "good.parquet").read_bytes()
    (tmp_path / "short.parquet").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.parquet").write_bytes(b"")
    place = content.index(b"\x05\0\0\0" + "Ünï".encode()) + 4
    (tmp_path / "latin.parquet").write_bytes(content[:place] + b"\xff\xff" + content[place + 2 :])
    for rows, dictionary in ((300, True), (3, True), (3, False)):
        texts = pa.Array.from_buffers(
            pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"\xff\xff")]
        )
        mixed = pa.concat_arrays([pa.array(["a"] * rows), texts])
        pq.write_table(pa.table({"text": mixed}), tmp_path / f"{rows}{dictionary}.parquet", use_dictionary=dictionary)
    names = ["short", "empty", "latin", "300True", "3True", "3False", "missing"]
    for name in names:
        for expression in ("length(text) < 400", "nothing > 1", "text || 'a'"):
            config = rules_of(expression)
            told = failure(str(tmp_path / f"{name}.parquet"), config=config)
            assert told == failure(str(tmp_path / f"{name}.parquet"), config=config, **READ), name


def test_fewer_rows_than_the_footer_promises(tmp_path):
    # Another footer: its pages are those of 50 rows.
    for rows in (50, 60):
        pq.write_table(
            pa.table({"x": pa.array(np.arange(rows), pa.int32())}), tmp_path / f"{rows}.parquet", use_dictionary=False
        )
    few, many = ((tmp_path / f"{rows}.parquet").read_bytes() for rows in (50, 60))
    body = few[: len(few) - 8 - int.from_bytes(few[-8:-4], "little")]
    footer = many[len(many) - 8 - int.from_bytes(many[-8:-4], "little") :]
    (tmp_path / "x.parquet").write_bytes(body + footer)
    uri, config = str(tmp_path / "x.parquet"), rules_of("x >= 0")
    assert failure(uri, config=config) == failure(uri, config=config, **READ)


def test_no_process_is_started_and_beam_is_not_imported(tmp_path):
    pq.write_table(table_of(2000), tmp_path / "x.parquet", row_group_size=100)
    script = """
        import json, multiprocessing.forkserver, sys
        from headwater.components.validate import check_rows
        report = check_rows(sys.argv[1], config=json.loads(sys.argv[2]))
        assert all(result["broken"] for result in report.results[:-1])
        assert "apache_beam" not in sys.modules
        assert multiprocessing.forkserver._forkserver._forkserver_pid is None
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "x.parquet"), json.dumps(rules_of(*RULES))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert done.returncode == 0, done.stderr


def test_an_expression_reaches_no_other_file(tmp_path):
    for name in ("x", "other"):
        pq.write_table(pa.table({"x": [1]}), tmp_path / f"{name}.parquet")
    settings = f"SET allowed_paths = ['{tmp_path / 'x.parquet'}']"
    with queries.expressions.connect(1, [settings]) as connection:
        assert connection.execute("SELECT x FROM read_parquet(?)", [str(tmp_path / "x.parquet")]).fetchall() == [(1,)]
        for query in (
            f"FROM read_parquet('{tmp_path / 'other.parquet'}')",
            "SET allowed_paths = ['/etc']",
            "INSTALL json",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(query)


UNREAD = {
    "rows": lambda uri: check_rows(uri, config={"rules": [{"name": "one", "unique": ["key"]}]}),
    "feature skew": lambda uri: measure_feature_skew(uri, config={"serving": uri, "key": ["key"]}),
    "columns of concept": lambda uri: check_columns(uri, Concept(label="x")),
}


@pytest.mark.parametrize("what", UNREAD)
def test_plain_files_are_not_read_for_a_checksum_that_nobody_asks_for(tmp_path, capfd, what):
    pq.write_table(pa.table({"key": range(100), "x": range(100)}), tmp_path / "x.parquet")
    UNREAD[what](str(tmp_path / "x.parquet"))
    told = capfd.readouterr().out
    assert "read: open: 1 files" in told and "scan" not in told
