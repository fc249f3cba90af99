"""PostgreSQL as a source, on a real server."""

from __future__ import annotations

import datetime
import decimal

import postgres
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.collect.databases import parse_source
from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError

pytestmark = pytest.mark.skipif(postgres.binaries() is None, reason="PostgreSQL's server is not installed here")

ROWS = """
CREATE TABLE orders AS SELECT
  i AS id, (i * 1.25)::numeric(12, 2) AS price, CASE WHEN i % 7 = 0 THEN NULL ELSE 'Zoë ' || i END AS name,
  i % 3 = 0 AS paid, timestamptz '2013-07-01 12:00+02' + i * interval '1 hour' AS at, date '2013-07-01' + i AS day,
  ARRAY[i, i + 1] AS pair, ('{"k": ' || i || '}')::jsonb AS more, i::float8 / 3 AS ratio, '\\x01ff'::bytea AS raw,
  CASE WHEN i % 5 = 0 THEN NULL ELSE i END AS part
FROM generate_series(1, 1000) AS i
"""


@pytest.fixture(scope="module")
def database():
    import adbc_driver_postgresql.dbapi as driver

    with postgres.server() as variables:
        uri = "postgresql://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**variables)
        with driver.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute(ROWS)
            connection.commit()
        yield variables, uri


@pytest.fixture(autouse=True)
def environment(database, monkeypatch):
    for name, value in database[0].items():
        monkeypatch.setenv(name, value)


def collect(output, workers=1, settings=None, **source):
    return collect_dataset(
        [], str(output), databases=[{"postgres": source}], workers=workers, analyse=False, **(settings or {})
    )


def test_every_type_comes_as_it_is(tmp_path):
    found = collect(tmp_path / "out", query="SELECT * FROM orders", settings={"key": ["id"]})
    assert found.body["accounts"] == {"read": 1000, "written": 1000, "rejected": 0, "filtered": {}}
    row = {row["id"]: row for row in open_dataset(found.folder).to_table().to_pylist()}[6]
    assert decimal.Decimal(row["price"]) == decimal.Decimal("7.50")
    assert row["name"] == "Zoë 6" and row["paid"] is True and row["pair"] == [6, 7] and row["raw"] == b"\x01\xff"
    assert row["at"] == datetime.datetime(2013, 7, 1, 16, tzinfo=datetime.UTC)
    assert row["day"] == datetime.date(2013, 7, 7) and row["more"] == '{"k": 6}' and row["ratio"] == 2.0


@pytest.mark.parametrize("column", ["id", "at", "day", "part", "name"])
def test_parts_hold_each_row_once(tmp_path, column):
    found = collect(tmp_path / "out", workers=2, query="SELECT * FROM orders", partition_column=column, partitions=5)
    assert sorted(open_dataset(found.folder).to_table()["id"].to_pylist()) == list(range(1, 1001))
    assert len(found.body["lineage"]["sources"]) == 5


def test_all_parts_see_one_moment(database, tmp_path):
    import adbc_driver_postgresql.dbapi as driver

    source = parse_source({"postgres": {"query": "SELECT id FROM orders", "partition_column": "id"}})
    with source.snapshot() as parts:
        with driver.connect(database[1]) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders (id) SELECT generate_series(2001, 2100)")
            connection.commit()
        rows = 0
        for part in parts:
            with part.read() as reader:
                rows += sum(batch.num_rows for batch in reader)
    with driver.connect(database[1]) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM orders WHERE id > 2000")
        connection.commit()
    assert rows == 1000


def test_the_same_rows_are_the_same_dataset(tmp_path):
    one, two = (collect(tmp_path / name, query="SELECT * FROM orders") for name in "ab")
    assert one.fingerprint == two.fingerprint
    assert {s: e["digest"] for s, e in one.body["splits"].items()} == {
        s: e["digest"] for s, e in two.body["splits"].items()
    }


def test_a_query_is_united_with_files_and_filtered(tmp_path):
    (tmp_path / "more.csv").write_text("id,name\n5000,x\n")
    found = collect_dataset(
        str(tmp_path / "more.csv"),
        str(tmp_path / "out"),
        databases=[{"postgres": {"query": "SELECT id, name FROM orders WHERE id <= 10"}}],
        filters=[{"name": "named", "keep": "name IS NOT NULL"}],
        workers=1,
        analyse=False,
    )
    assert found.body["accounts"] == {"read": 11, "written": 10, "rejected": 0, "filtered": {"named": 1}}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"query": "SELECT * FROM nothing"}, 'relation "nothing" does not exist'),
        ({"query": "DELETE FROM orders RETURNING id"}, "refused the query"),
        ({"query": "SELECT 1; DROP TABLE orders"}, "refused the query"),
        ({"query": "SELECT setval('x', 1)"}, "refused the query"),
        ({"query": "SELECT id FROM orders", "partition_column": "x"}, "the query has no column 'x'; it has id"),
        ({"query": "SELECT id FROM orders", "password": "x"}, "databases.postgres.password: there is no such setting"),
        ({}, "databases.postgres.query"),
    ],
)
def test_what_the_server_refuses_is_told(tmp_path, source, message):
    with pytest.raises(HeadwaterError, match=message):
        collect(tmp_path / "out", **source)


def test_wrong_credentials_and_an_absent_server_are_told_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "another-secret")
    with pytest.raises(HeadwaterError, match="cannot connect: .*password authentication failed") as wrong:
        collect(tmp_path / "out", query="SELECT 1")
    monkeypatch.setenv("HEADWATER_POSTGRES_URI", "postgresql://tester:another-secret@127.0.0.1:1/x")
    with pytest.raises(HeadwaterError, match="cannot connect: .*refused") as absent:
        collect(tmp_path / "out", query="SELECT 1")
    assert "another-secret" not in str(wrong.value) + str(absent.value)


def test_no_secret_stands_in_what_is_left(tmp_path):
    collect(tmp_path / "out", query="SELECT * FROM orders")
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert b"a-secret-password" not in path.read_bytes()
