"""BigQuery as a source, by its own client against a read service on loopback."""

from __future__ import annotations

import datetime
import decimal

import bigquery_stub
import pyarrow as pa
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError

TABLE = pa.table(
    {
        "id": pa.array(range(1000)),
        "name": pa.array([None if i % 7 == 0 else f"Zoë {i}" for i in range(1000)]),
        "price": pa.array([decimal.Decimal(i) / 4 for i in range(1000)], pa.decimal128(38, 9)),
        "at": pa.array([datetime.datetime(2013, 7, 1, tzinfo=datetime.UTC)] * 1000, pa.timestamp("us", "UTC")),
        "tags": pa.array([["a", "b"][: i % 3] for i in range(1000)], pa.list_(pa.string())),
        "ok": pa.array([i % 2 == 0 for i in range(1000)]),
    }
)


def collect(output, workers=1, **source):
    return collect_dataset([], str(output), databases=[{"bigquery": source}], workers=workers, analyse=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_table_is_read_by_its_streams(tmp_path, monkeypatch, workers):
    service = bigquery_stub.ReadService(TABLE)
    with bigquery_stub.serve(service) as host:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", host)
        found = collect(tmp_path / "out", workers, table="p.d.orders", streams=3)
    rows = sorted(
        open_dataset(found.folder).to_table(columns=TABLE.column_names).to_pylist(), key=lambda row: row["id"]
    )
    assert rows == TABLE.to_pylist()
    assert len(found.body["lineage"]["sources"]) == 3
    assert found.body["lineage"]["sources"][0]["uri"] == "bigquery://p.d.orders#0000"


def test_columns_and_a_restriction_reach_the_service(tmp_path, monkeypatch):
    service = bigquery_stub.ReadService(TABLE)
    with bigquery_stub.serve(service) as host:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", host)
        found = collect(
            tmp_path / "out", table="p.d.orders", columns=["id", "ok"], row_restriction="id < 5", project="payer"
        )
    assert [name for name in found.body["columns"] if not name.startswith("_")] == ["id", "ok"]
    [request] = service.requests
    assert request.read_session.read_options.row_restriction == "id < 5" and request.parent == "projects/payer"


def test_a_stream_that_breaks_is_resumed_where_it_broke(tmp_path, monkeypatch):
    service = bigquery_stub.ReadService(TABLE, break_once=True)
    with bigquery_stub.serve(service) as host:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", host)
        found = collect(tmp_path / "out", table="p.d.orders", streams=1)
    assert sorted(open_dataset(found.folder).to_table()["id"].to_pylist()) == list(range(1000))
    assert service.offsets == [0, 100]


def test_a_query_runs_first_and_its_result_is_read(tmp_path, monkeypatch):
    service = bigquery_stub.ReadService(TABLE)
    with (
        bigquery_stub.serve(service) as host,
        bigquery_stub.serve_queries("p", "anonymous", "orders") as (url, queries),
    ):
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", host)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        found = collect(tmp_path / "out", query="SELECT * FROM d.orders", project="p")
    assert queries == ["SELECT * FROM d.orders"]
    assert found.body["accounts"]["written"] == 1000
    assert service.requests[0].read_session.table == "projects/p/datasets/anonymous/tables/orders"


def test_a_table_that_is_not_there_is_told(tmp_path, monkeypatch):
    with bigquery_stub.serve(bigquery_stub.ReadService(TABLE)) as host:
        monkeypatch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", host)
        with pytest.raises(HeadwaterError, match="databases.bigquery: .*Not found: Table other"):
            collect(tmp_path / "out", table="p.d.other")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "needs either `table` or `query`"),
        ({"table": "p.d.t", "query": "SELECT 1"}, "not both"),
        ({"table": "orders"}, "must read project.dataset.table"),
        ({"query": "SELECT 1", "columns": ["a"]}, "can only be given with `table`"),
        ({"table": "p.d.t", "streams": 0}, "databases.bigquery.streams"),
        ({"table": "p.d.t", "key": "x"}, "databases.bigquery.key: there is no such setting"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused_before_any_work(tmp_path, source, message):
    with pytest.raises(HeadwaterError, match=message):
        collect(tmp_path / "out", **source)


def test_a_database_of_no_known_kind_is_told(tmp_path):
    with pytest.raises(HeadwaterError, match="databases: each must be one of postgres, bigquery"):
        collect_dataset([], str(tmp_path / "out"), databases=[{"oracle": {}}])
