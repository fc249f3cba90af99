from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.components.common import hashing

_VALUES = [
    (pa.bool_(), [True, False]),
    (pa.int8(), [1, 2]),
    (pa.uint64(), [2**64 - 1, 1]),
    (pa.float16(), [np.float16(1.5), np.float16(2)]),
    (pa.float64(), [1.5, float("nan")]),
    (pa.string(), ["a", ""]),
    (pa.large_string(), ["a", "b" * 100]),
    (pa.binary(), [b"\0", b"\0\0"]),
    (pa.binary(3), [b"abc", b"abd"]),
    (pa.decimal128(9, 2), [decimal.Decimal("1.25"), decimal.Decimal("-3")]),
    (pa.date32(), [1, 2]),
    (pa.timestamp("ns", "UTC"), [1, 2]),
    (pa.time32("s"), [1, 2]),
    (pa.duration("us"), [1, 2]),
    (pa.list_(pa.int64()), [[1, 2], [2, 1]]),
    (pa.list_(pa.int64()), [[], [0]]),
    (pa.large_list(pa.string()), [["ab"], ["a", "b"]]),
    (pa.list_(pa.int64(), 2), [[1, 2], [2, 1]]),
    (pa.struct([("x", pa.int64()), ("y", pa.string())]), [{"x": 1, "y": None}, {"x": None, "y": "1"}]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)], [("a", 2)]]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", "b"]),
]


@pytest.mark.parametrize(
    ("kind", "pair"), _VALUES, ids=lambda value: str(value) if isinstance(value, pa.DataType) else ""
)
def test_every_type_tells_values_and_missing_apart_wherever_they_stand(kind, pair):
    first, second = pair
    array = pa.array([first, None, second, first], pa.string() if pa.types.is_dictionary(kind) else kind)
    if pa.types.is_dictionary(kind):
        array = array.dictionary_encode()
    hashes = hashing.hash_values(array)
    assert hashes[0] == hashes[3]
    assert len({*hashes.tolist()}) == 3
    assert (hashing.hash_values(array.slice(1, 3)) == hashes[1:]).all()


def test_numbers_hash_by_value_whatever_their_type():
    hashes = {
        int(hashing.hash_values(pa.array([5], kind))[0])
        for kind in (pa.int8(), pa.uint16(), pa.int64(), pa.float32(), pa.float64())
    }
    assert len(hashes) == 1
    assert len({*hashing.hash_values(pa.array([0.0, -0.0])).tolist()}) == 1
    assert len({*hashing.hash_values(pa.array([float("nan"), -float("nan")])).tolist()}) == 1


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=30), st.integers(0, 10))
def test_text_hashes_alike_in_any_company(texts, repeat):
    alone = [int(hashing.hash_values(pa.array([text]))[0]) for text in texts]
    assert hashing.hash_values(pa.array(texts)).tolist() == alone
    many = pa.array(texts * (hashing._MANY // len(texts) + 1 + repeat))
    assert hashing.hash_values(many)[: len(texts)].tolist() == alone
    assert len(set(alone)) == len(set(texts))


def test_hashes_never_change():
    """A change here moves rows between splits and breaks every stored digest."""
    columns = [pa.array([1, None]), pa.array(["a longer text", "b"]), pa.array([0.5, float("nan")])]
    assert [f"{value:016x}" for value in hashing.hash_rows(columns)] == EXPECTED_ROWS
    assert f"{hashing.digest(hashing.hash_rows(columns)):032x}" == EXPECTED_DIGEST
    assert [value.as_py().hex() for value in hashing.row_ids("ab" * 32, np.array([1, 2]))] == EXPECTED_IDS


EXPECTED_ROWS = ["d5e93104f40325ee", "e4e0b64e6b9ded1d"]
EXPECTED_DIGEST = "656c538cd95ffd2dbac9e7535fa1130b"
EXPECTED_IDS = ["2738711e081f67057fb7df43cbbddbaa", "1469770795ab1ebd7841b8e911158cbf"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.randoms(), st.integers(0, 50))
def test_digests_add_up_in_any_order_and_partition(values, random, cut):
    whole = hashing.digest(np.array(values, np.uint64))
    random.shuffle(values)
    parts = [np.array(values[:cut], np.uint64), np.array(values[cut:], np.uint64)]
    assert hashing.add_digests([hashing.digest(part) for part in parts]) == whole


def test_a_digest_counts_rows_that_are_twice_there():
    one = np.array([7], np.uint64)
    assert hashing.digest(one) != hashing.digest(np.array([7, 7], np.uint64))


def test_row_ids_are_unique_and_depend_on_the_source():
    positions = np.arange(100_000)
    first = hashing.row_ids("ab" * 32, positions)
    second = hashing.row_ids("ac" * 32, positions)
    assert len(set(first.to_pylist()) | set(second.to_pylist())) == 200_000


def test_shares_are_uniform():
    shares = hashing.shares(hashing.hash_values(pa.array(np.arange(200_000))))
    counts, _ = np.histogram(shares, bins=20, range=(0, 1))
    # Chi-square with 19 degrees of freedom: 43.8 is passed by one in a thousand, and the hash is fixed.
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 43.8
