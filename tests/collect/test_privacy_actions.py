"""Actions on columns with personal data: what becomes of the values, and that nothing of them or of the key shows."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import hmac
import ipaddress
import pickle
import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.components.collect.privacy.actions import (
    KEY_VARIABLE,
    Hash,
    Secret,
    check_actions,
    key_fingerprint,
    output_type,
    parse_actions,
    read_secret,
)
from headwater.components.collect.privacy.transforms import apply
from headwater.components.common.errors import HeadwaterError

SECRET = Secret(b"0123456789abcdef")
NOON = datetime.datetime(2013, 8, 15, 12, 34, 56, 789_000)
MINUTE = NOON.replace(second=0, microsecond=0)


def act(given, column, secret=SECRET):
    """The column after its action, checked to be of the type and length that were promised."""
    column = column if isinstance(column, pa.Array) else pa.array(column)
    actions = parse_actions({"c": given})
    check_actions(actions, pa.schema([("c", column.type)]))
    done = apply(actions["c"], column, secret)
    assert done.type == output_type(actions["c"], column.type) and len(done) == len(column)
    done.validate(full=True)
    return done.to_pylist()


def truncate(**how):
    return {"action": "truncate", **how}


def generalise(**how):
    return {"action": "generalise", **how}


def test_redact_leaves_nothing_of_the_value():
    assert act("redact", ["Anna", None, ""]) == ["[redacted]", None, "[redacted]"]
    assert act("redact", pa.array(["Anna", None]).dictionary_encode()) == ["[redacted]", None]
    assert act("redact", pa.array(["Anna"], pa.large_string())) == ["[redacted]"]
    for column in ([1, None], [1.5], [b"Anna"], [True], [["Anna"]], [{"name": "Anna"}], [NOON]):
        done = apply(parse_actions({"c": "redact"})["c"], pa.array(column))
        assert done.null_count == len(column) and b"Anna" not in b"".join(bytes(b) for b in done.buffers() if b)


def test_a_hash_is_the_first_half_of_hmac_sha_256():
    words = ["Anna", "Tom", None, "", "ünïcödé", "Anna"]
    expected = [
        None if word is None else hmac.new(b"0123456789abcdef", word.encode(), hashlib.sha256).hexdigest()[:32]
        for word in words
    ]
    assert act("hash", words) == expected
    assert act("hash", pa.array(words).dictionary_encode()) == expected
    assert act("hash", pa.array(words, pa.large_string()).slice(1)) == expected[1:]
    assert act("hash", words, Secret(b"another key of 16")) != expected
    assert act("hash", pa.array([], pa.string())) == [] and act("hash", [None]) == [None]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=5), st.sampled_from(["a", "b"])), max_size=60))
def test_hashes_are_equal_where_values_are(values):
    done = act("hash", pa.array(values, pa.string()))
    assert len(set(done)) == len(set(values))
    assert dict(zip(values, done)) == {value: one for value, one in zip(values, done)}
    assert [one is None for one in done] == [value is None for value in values]


def test_equal_numbers_and_times_hash_alike_in_any_type():
    for alike in (
        [["5"], [5], [5.0], pa.array([5], pa.uint8()), pa.array([5], pa.float32()), [decimal.Decimal("5.00")], [b"5"]],
        [["-0.1"], [-0.1], [decimal.Decimal("-0.10")]],
        [["0.0000001"], [1e-7]],
        [["100000000000000000000"], [1e20], [decimal.Decimal("1E+20")]],
        [["0"], [0], [-0.0]],
        [["2013-08-15"], [datetime.date(2013, 8, 15)]],
        [["2013-08-15 12:34:00"], *[pa.array([MINUTE], pa.timestamp(u)) for u in ("s", "ns")]],
        [["2013-08-15 12:34:56.789"], *[pa.array([NOON], pa.timestamp(u, "UTC")) for u in ("ms", "us", "ns")]],
        [["true"], [True]],
    ):  # fmt: skip
        assert len({act("hash", column)[0] for column in alike}) == 1, alike


def test_text_is_truncated_by_characters():
    assert act(truncate(characters=3), ["60601", "äöüß", "a", None]) == ["606", "äöü", "a", None]
    assert act(truncate(characters=2), pa.array(["60601", "60602"]).dictionary_encode()) == ["60", "60"]


def test_addresses_are_truncated_to_their_network():
    chance = random.Random(1)
    four = [str(ipaddress.IPv4Address(chance.getrandbits(32))) for _ in range(300)]
    six = [str(ipaddress.IPv6Address(chance.getrandbits(128) & (2**128 - 2**70))) for _ in range(300)]
    expected = [str(ipaddress.ip_network(f"{text}/24", strict=False)) for text in four]
    expected += [str(ipaddress.ip_network(f"{text}/48", strict=False)) for text in six]
    assert act(truncate(network=True), four + six) == expected
    assert act(truncate(network=True), ["1.2.3.400", "host", "1.2.3", None, "", "a:b", "fe80::1%eth0"]) == [
        None, None, None, None, None, None, "fe80::/48"
    ]  # fmt: skip


def test_numbers_are_truncated_to_decimals():
    assert act(truncate(decimals=1), [1.26, -0.29, None]) == [1.3, -0.3, None]
    assert act(truncate(decimals=0), [decimal.Decimal("1.60")]) == [decimal.Decimal("2.00")]
    assert act(truncate(decimals=2), pa.array([0.125], pa.float32())) == [pytest.approx(0.12)]


def test_times_are_truncated_to_a_unit():
    column = pa.array([NOON, None, NOON.replace(year=1913)], pa.timestamp("us"))
    assert act(truncate(unit="hour"), column)[:2] == [datetime.datetime(2013, 8, 15, 12), None]
    assert act(truncate(unit="month"), column)[2] == datetime.datetime(1913, 8, 1)
    assert act(truncate(unit="year"), pa.array([datetime.date(2013, 8, 15)])) == [datetime.date(2013, 1, 1)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=30),
    st.integers(1, 10**6),
)
def test_every_number_lies_in_its_bin(numbers, width):
    for number, label in zip(numbers, act(generalise(width=width), pa.array(numbers, pa.int64()))):
        assert (label is None) == (number is None)
        if label:
            low, high = map(int, label[1:-1].split(", "))
            assert low <= number < high and high - low == width and low % width == 0


def test_numbers_are_generalised_to_bins():
    assert act(generalise(width=10), [25, -1, None, 30]) == ["[20, 30)", "[-10, 0)", None, "[30, 40)"]
    assert act(generalise(width=0.5), [0.75, float("nan"), float("inf")]) == ["[0.5, 1)", None, None]
    assert act(generalise(width=1000), pa.array([25, 100], pa.int8())) == ["[0, 1000)"] * 2
    assert act(generalise(width=10), pa.array([2**64 - 1], pa.uint64())) == [
        "[18446744073709551610, 18446744073709551620)"
    ]
    assert act(generalise(edges=[18, 65]), [17, 18, 64, 65, None]) == ["< 18", "[18, 65)", "[18, 65)", ">= 65", None]
    assert act(generalise(edges=[0.5]), [0.4, 0.5, float("nan")]) == ["< 0.5", ">= 0.5", None]


def test_dates_and_categories_are_generalised():
    assert act(generalise(period="month"), [datetime.date(2013, 8, 15), None]) == ["2013-08", None]
    assert act(generalise(period="year"), pa.array([NOON], pa.timestamp("ns"))) == ["2013"]
    cities = {"Vienna": "Austria", "Graz": "Austria"}
    assert act(generalise(mapping=cities), ["Graz", "Rome", None]) == ["Austria", "other", None]
    assert act(generalise(mapping=cities, other="abroad"), pa.array(["Rome"]).dictionary_encode()) == ["abroad"]
    assert act(generalise(mapping={"1": "one"}), [1, 2, None]) == ["one", "other", None]


def test_a_dropped_column_is_empty_and_a_kept_one_untouched():
    assert act("drop", ["Anna"]) == [None]
    assert act("keep", [["Anna"], None]) == [["Anna"], None]


def test_the_result_does_not_depend_on_the_batch():
    chance = np.random.default_rng(4)
    column = pa.array(chance.integers(0, 50, 1000), mask=chance.random(1000) < 0.1)
    for given_ in ("hash", "redact", generalise(width=7), generalise(edges=[3, 30])):
        parts = [act(given_, column.slice(start, 7)) for start in range(0, 1000, 7)]
        assert act(given_, column) == [value for part in parts for value in part]


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            "shred",
            "private.c: there is no action 'shred'; the actions are redact, hash, truncate, generalise, drop, keep",
        ),
        (3, "private.c: must be the name of an action, or its settings with the key 'action'"),
        ({"characters": 3}, "private.c: must be the name of an action"),
        (truncate(), "private.c: needs exactly one of characters, network, decimals, unit"),
        (truncate(characters=3, decimals=1), "needs exactly one of"),
        (truncate(characters=0), "private.c.characters"),
        (truncate(characters="3"), "private.c.characters"),
        (truncate(length=3), "private.c.length: there is no such setting; the settings are action, characters"),
        (generalise(), "needs exactly one of width, edges, period, mapping"),
        (generalise(width=0), "private.c.width"),
        (generalise(width=float("inf")), "private.c.width"),
        (generalise(edges=[3, 3]), "private.c.edges: must ascend"),
        (generalise(edges=[]), "private.c.edges"),
        (generalise(width=1, other="x"), "'other' can only be given with 'mapping'"),
        (generalise(mapping={}), "private.c.mapping"),
        ({"action": "hash", "key": "0123456789abcdef"}, "private.c.key: there is no such setting"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, message):
    with pytest.raises(HeadwaterError) as error:
        parse_actions({"c": settings})
    assert message in str(error.value)


@pytest.mark.parametrize(
    "settings, type, message",
    [
        (
            truncate(characters=3),
            pa.int64(),
            "private.c: truncate with characters works on text, but the column is int64",
        ),
        (truncate(network=True), pa.binary(), "works on text"),
        (truncate(decimals=1), pa.int64(), "works on floats and decimals"),
        (truncate(unit="hour"), pa.date32(), "works on timestamps"),
        (truncate(unit="day"), pa.string(), "works on dates and timestamps"),
        (generalise(width=3), pa.string(), "works on numbers"),
        (generalise(period="year"), pa.int32(), "works on dates and timestamps"),
        (generalise(mapping={"a": "b"}), pa.float64(), "works on text, integers and booleans"),
        ("hash", pa.list_(pa.string()), "hash works on text, binary, numbers, dates and times"),
    ],
)
def test_an_action_on_a_column_of_the_wrong_type_is_refused(settings, type, message):
    with pytest.raises(HeadwaterError) as error:
        check_actions(parse_actions({"c": settings}), pa.schema([("c", type)]))
    assert message in str(error.value)


def test_an_action_on_a_column_that_is_not_there_is_refused():
    with pytest.raises(HeadwaterError, match="there is no column 'mail'; the columns are a, b"):
        check_actions(parse_actions({"mail": "redact"}), pa.schema([("a", pa.string()), ("b", pa.string())]))


def test_the_key_comes_from_the_environment_alone_and_must_be_long(monkeypatch):
    hashed = parse_actions({"mail": "hash", "zip": "redact"})
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_secret(parse_actions({"zip": "redact"})) is None
    with pytest.raises(HeadwaterError, match=f"private.mail: .* 16 bytes .*{KEY_VARIABLE}, which is not set"):
        read_secret(hashed)
    monkeypatch.setenv(KEY_VARIABLE, "fifteen bytes!!")
    with pytest.raises(HeadwaterError, match="is too short") as error:
        read_secret(hashed)
    assert "fifteen" not in str(error.value)
    monkeypatch.setenv(KEY_VARIABLE, "sixteen bytes!!!")
    assert bytes(read_secret(hashed)) == b"sixteen bytes!!!"
    with pytest.raises(HeadwaterError, match=KEY_VARIABLE):
        apply(Hash(), pa.array(["a"]), None)


def test_the_key_never_shows():
    key = "0123456789abcdef"
    for shown in (repr(SECRET), str(SECRET), f"{SECRET}", "%s" % SECRET, repr({"secret": SECRET}), repr(Hash())):
        assert key not in shown
    copy = pickle.loads(pickle.dumps(SECRET))
    assert copy == SECRET and key not in repr(copy)
    fingerprint = key_fingerprint(SECRET)
    assert len(fingerprint) == 16 and fingerprint == key_fingerprint(copy)
    assert fingerprint != key_fingerprint(Secret(b"0123456789abcdeg")) and key_fingerprint(None) == ""
    assert fingerprint not in act("hash", ["Anna"])[0]
    assert parse_actions({"c": "hash"})["c"].model_dump() == {"action": "hash"}
