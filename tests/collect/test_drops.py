"""Rows whose key stands before: the same as by a dictionary of all keys, and by few requests whatever the keys are."""

import numpy as np
import pyarrow as pa
import pytest
from counting_store import Counted

from headwater.components.collect.shape import duplicates
from headwater.components.common import stores
from headwater.components.common.sources.files import Element, SourceFile

FOLDER = "counted://lake/scratch"


@pytest.fixture
def store(monkeypatch):
    made = Counted()
    monkeypatch.setitem(stores.STORES, "counted", made)
    monkeypatch.setattr(duplicates, "_last", None)
    return made


def _search(keys, sizes):
    """The drops of ranges of such sizes that hold these keys, in order."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    elements = [Element(SourceFile(f"{n}.csv", "csv", 10), 0, 10, 2, int(size)) for n, size in enumerate(sizes)]
    own = {element.file.uri: keys[start:stop] for element, start, stop in zip(elements, starts, starts[1:])}

    def keys_of(element):
        values = own[element.file.uri]
        batch = pa.RecordBatch.from_arrays([pa.array(values)], ["key"])
        yield batch, np.arange(element.first_row, element.first_row + len(values))

    return duplicates.find_duplicates(elements, keys_of, FOLDER, workers=1), starts


@pytest.mark.parametrize("rows", [50, 1_000, 2_000_000])
@pytest.mark.parametrize("distinct", [1, 40, 3_000])
def test_all_but_the_first_of_each_key_are_dropped(store, monkeypatch, rows, distinct):
    monkeypatch.setattr(duplicates, "PARTITION_ROWS", rows)
    chance = np.random.default_rng(distinct)
    sizes = [*chance.integers(0, 40, 150), 500, 1]
    keys = chance.integers(0, distinct, sum(sizes)).tolist()
    drops, starts = _search(keys, sizes)
    seen, expected = set(), [[] for _ in sizes]
    for element, (start, stop) in enumerate(zip(starts, starts[1:])):
        for row, key in enumerate(keys[start:stop]):
            if key in seen:
                expected[element].append(row)
            seen.add(key)
    assert [drops.of(element).tolist() for element in range(len(sizes))] == expected
    # In any order.
    assert [drops.of(element).tolist() for element in (3, 149, 3, 151)] == [expected[n] for n in (3, 149, 3, 151)]


def test_one_key_that_most_rows_have_is_no_large_partition(store, monkeypatch):
    monkeypatch.setattr(duplicates, "PARTITION_ROWS", 1_000)
    sizes = [100] * 400
    drops, _ = _search([7] * 40_000, sizes)
    spilled = sum(len(content) for uri, content in store.content.items() if "/keys-0" in uri)
    assert spilled // duplicates._RECORD.itemsize == len(drops.starts) <= 70
    assert sum(len(drops.of(element)) for element in range(400)) == 39_999


def test_requests_grow_with_runs_not_with_ranges(store, monkeypatch):
    monkeypatch.setattr(duplicates, "PARTITION_ROWS", 1_000)
    asked = {}
    for ranges in (400, 1_600):
        store.content.clear()
        store.reset()
        drops, _ = _search(list(range(16_000)), [16_000 // ranges] * ranges)
        for element in range(ranges):
            assert not len(drops.of(element))
        asked[ranges] = sum(store.requests.values())
    assert asked[1_600] <= 1.2 * asked[400] < 3 * 70 * 16, asked
