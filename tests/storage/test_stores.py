"""The same contract at real object stores.

Run by `make test-storage`, which installs the servers.
"""

from __future__ import annotations

import concurrent.futures

import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset, results, storage
from headwater.components.common.errors import HeadwaterError


def test_only_one_of_many_creates_an_object(store):
    uri = f"{store}/race/object"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: storage.create(uri, str(number).encode()), range(16)))
    assert won.count(True) == 1
    assert storage.read_bytes(uri) == str(won.index(True)).encode()


def test_objects_are_listed_and_matched_as_files_are(store):
    for name in ("a.csv", "deep/b.csv", "_hidden/c.csv"):
        storage.write_bytes(f"{store}/list/{name}", b"x")
    assert [file.uri for file in storage.expand(f"{store}/list")] == [f"{store}/list/a.csv", f"{store}/list/deep/b.csv"]
    assert [file.uri for file in storage.expand(f"{store}/list/*/b.csv")] == [f"{store}/list/deep/b.csv"]
    assert storage.list_folders(f"{store}/list") == ["_hidden", "deep"]
    assert storage.read_range(f"{store}/list/a.csv", 0, 10) == b"x"
    with pytest.raises(HeadwaterError, match="nowhere: there is no such file"):
        storage.read_bytes(f"{store}/nowhere")


def test_a_dataset_passes_by_reference(store, few_flights, tmp_path):
    storage.write_bytes(f"{store}/in/few.csv", few_flights.read_bytes())
    result = collect_dataset(f"{store}/in", str(tmp_path / "out"), data_root=f"{store}/root", name="flights")
    assert result.uri == f"{store}/root/flights/span=1/version=1/data"
    assert open_dataset(result.uri).count_rows() == open_dataset(str(tmp_path / "out")).count_rows() == 2000
    local = collect_dataset(str(few_flights), str(tmp_path / "local"))
    assert [e["digest"] for e in result.body["splits"].values()] == [e["digest"] for e in local.body["splits"].values()]
    again = collect_dataset(str(few_flights), str(tmp_path / "again"), data_root=f"{store}/root", name="flights")
    assert again.uri == result.uri
    assert len(list(results.committed(f"{store}/root", "flights", "dataset"))) == 1
