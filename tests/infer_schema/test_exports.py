"""A schema in other words, by reading and refusing real data with each."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import os
import subprocess

import duckdb
import jsonschema
import numpy as np
import postgres
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.infer_schema.exports import to_arrow, to_json_schema, to_sql

HOSTILE = "a\"b`c'd; DROP TABLE x --"


@pytest.fixture(scope="module")
def agreed(tmp_path_factory):
    """A table, its schema and how it was converted."""
    folder = tmp_path_factory.mktemp("exports")
    chance, rows = np.random.default_rng(1), 400
    day = datetime.date(2020, 1, 1)
    at = datetime.datetime(2020, 1, 1, 12, 30)
    table = pa.table(
        {
            "age": chance.integers(18, 80, rows),
            "fare": chance.gamma(3, 4, rows),
            "kind": chance.choice(["book", "film", "it's"], rows),
            "gaps": pa.array(chance.normal(size=rows), mask=chance.random(rows) < 0.2),
            "flag": chance.random(rows) < 0.5,
            "day": pa.array([day + datetime.timedelta(int(n)) for n in chance.integers(0, 90, rows)]),
            "at": pa.array([at + datetime.timedelta(minutes=int(n)) for n in range(rows)], pa.timestamp("us")),
            "moment": pa.array([at] * rows, pa.timestamp("us", "UTC")),
            "time": pa.array([datetime.time(n % 24, 5) for n in range(rows)]),
            "price": pa.array([decimal.Decimal(n) / 100 for n in range(rows)], pa.decimal128(12, 2)),
            "tags": pa.array([["a", "b", "c"][: n % 4] for n in range(rows)]),
            HOSTILE: chance.choice(["x", HOSTILE], rows),
        }
    )
    pq.write_table(table, folder / "t.parquet")
    statistics = compute_statistics(str(folder / "t.parquet"), str(folder / "statistics"), workers=1)
    curation = {"features": {"age": {"min": 18, "max": 80}}}
    result = derive_schema(statistics.folder, str(folder / "schema"), infer="tfdv", curation=curation)
    schema = text_format.Parse(result.read("schema.pbtxt").decode(), schema_pb2.Schema())
    return table, schema, statistics.body["conversions"]


def test_arrow_has_the_types_that_the_data_had(agreed, tmp_path):
    table, schema, conversions = agreed
    found = to_arrow(schema, conversions)
    for field in table.schema:
        own = found.field(field.name)
        assert own.type == field.type and own.nullable == bool(table[field.name].null_count)
    cast = table.select(found.names).cast(found)
    pq.write_table(cast, tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet", schema=found).num_rows == table.num_rows
    # Without conversions a date is a number.
    assert to_arrow(schema).field("day").type == pa.int64()


def test_json_schema_accepts_rows_and_refuses_bad_ones(agreed):
    table, schema, conversions = agreed
    found = to_json_schema(schema, conversions)
    jsonschema.Draft202012Validator.check_schema(found)
    validator = jsonschema.Draft202012Validator(found, format_checker=jsonschema.FormatChecker())

    def as_json(row):
        return json.loads(
            json.dumps(row, default=lambda v: float(v) if isinstance(v, decimal.Decimal) else v.isoformat())
        )

    rows = [as_json(row) for row in table.to_pylist()]
    assert all(validator.is_valid(row) for row in rows)
    bad = [
        {"age": 17}, {"age": 81}, {"age": 20.5}, {"kind": "game"}, {"kind": None}, {"flag": 1}, {"day": "soon"},
        {"tags": "a"}, {"tags": [1]}, {"other": 1}, {HOSTILE: "y"},
    ]  # fmt: skip
    for change in bad:
        assert not validator.is_valid({**rows[1], **change}), change
    assert not validator.is_valid({name: value for name, value in rows[1].items() if name != "age"})
    assert validator.is_valid({**rows[1], "gaps": None})


def insert(connection, table, row, mark="?"):
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in row)
    connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({", ".join([mark] * len(row))})', list(row.values()))


BAD = [{"age": 17}, {"age": None}, {"kind": "game"}, {HOSTILE: "y"}, {"day": "soon"}]


def test_duckdb_makes_the_table_and_refuses_bad_rows(agreed):
    table, schema, conversions = agreed
    connection = duckdb.connect()
    connection.execute(to_sql(schema, "trips; --", conversions=conversions))
    rows = table.to_pylist()
    for row in rows[:50]:
        insert(connection, "trips; --", row)
    assert connection.execute('SELECT count(*), min("day"), max("price") FROM "trips; --"').fetchone() == (
        50,
        min(row["day"] for row in rows[:50]),
        max(row["price"] for row in rows[:50]),
    )
    for change in BAD:
        with pytest.raises(duckdb.Error):
            insert(connection, "trips; --", {**rows[1], **change})


@pytest.mark.skipif(postgres.binaries() is None, reason="no PostgreSQL on this machine")
def test_postgres_makes_the_table_and_refuses_bad_rows(agreed, tmp_path):
    table, schema, conversions = agreed
    rows = table.to_pylist()

    def psql(script):
        command = [str(postgres.binaries() / "psql"), "-v", "ON_ERROR_STOP=1", "-qAt", "-c", script]
        return subprocess.run(command, env={**os.environ, **server}, capture_output=True, text=True)

    def copy(rows):
        with open(tmp_path / "rows.csv", "w", newline="") as stream:
            for row in rows:
                line = ["{%s}" % ",".join(v) if isinstance(v, list) else "" if v is None else v for v in row.values()]
                csv.writer(stream).writerow(line)
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in rows[0])
        return psql(f"\\copy \"trips; --\" ({names}) FROM '{tmp_path}/rows.csv' CSV")

    with postgres.server() as server:
        made = psql(to_sql(schema, "trips; --", dialect="postgres", conversions=conversions))
        assert made.returncode == 0, made.stderr
        done = copy(rows[:50])
        assert done.returncode == 0, done.stderr
        assert (
            psql('SELECT count(*), min(day) FROM "trips; --"').stdout.strip()
            == f"50|{min(r['day'] for r in rows[:50])}"
        )
        for change in BAD:
            assert copy([{**rows[1], **change}]).returncode != 0, change


def test_bigquery_has_its_own_words(agreed):
    _, schema, conversions = agreed
    text = to_sql(schema, "trips", dialect="bigquery", conversions=conversions)
    assert "CREATE TABLE `trips`" in text and "`tags` ARRAY<STRING>" in text and "CHECK" not in text
    assert "`moment` TIMESTAMP NOT NULL" in text and "`at` DATETIME NOT NULL" in text and "\\`c" in text


def test_what_cannot_be_told():
    schema = schema_pb2.Schema()
    with pytest.raises(HeadwaterError, match="no feature"):
        to_sql(schema, "t")
    one = schema.feature.add(name="s", type=schema_pb2.STRUCT)
    one.value_count.max = 1
    one.struct_domain.feature.add(name="x", type=schema_pb2.INT).value_count.max = 1
    with pytest.raises(HeadwaterError, match="'s' holds structs"):
        to_sql(schema, "t")
    with pytest.raises(HeadwaterError, match="dialect: 'oracle' is not one of"):
        to_sql(schema, "t", dialect="oracle")
    assert to_arrow(schema).field("s").type == pa.struct([("x", pa.int64())])
    assert to_json_schema(schema)["properties"]["s"]["anyOf"][0]["properties"]["x"]["anyOf"][0] == {"type": "integer"}
