"""k-anonymity: exact against counting by hand, and sampled with an error that is as large as it says."""

from __future__ import annotations

import collections
import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.components.collect.privacy import anonymity
from headwater.components.collect.privacy.anonymity import (
    group_state,
    in_small_groups,
    measure,
    merge_states,
    small_groups,
)
from headwater.components.common.errors import HeadwaterError

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", None, ""]), st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=80
)


def columns(rows):
    return [pa.array([row[0] for row in rows], pa.string()), pa.array([row[1] for row in rows], pa.int64())]


def table(seed, rows, zips=3000):
    chance = np.random.default_rng(seed)
    return [
        pa.array(chance.zipf(1.3, rows) % zips),
        pa.array(chance.integers(0, 90, rows)),
        pa.array(np.array(["f", "m"])[chance.integers(0, 2, rows)]),
    ]


def by_hand(data):
    return collections.Counter(zip(*(column.to_pylist() for column in data)))


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(1, 6), st.lists(st.integers(0, 80), max_size=4))
def test_groups_are_those_that_counting_finds_however_the_rows_are_cut(rows, k, cuts):
    counted = collections.Counter(rows)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    states = [group_state(columns(rows[low:high])) for low, high in itertools.pairwise(edges)]
    state = merge_states(states)
    assert state == merge_states(states[::-1]) == merge_states([merge_states(states[:1]), merge_states(states[1:])])
    found = measure(state, k)
    below = [size for size in counted.values() if size < k]
    assert (found["k"], found["groups"], found["rows"]) == (min(counted.values()), len(counted), len(rows))
    assert (found["groups_below"], found["rows_below"], found["exact"]) == (len(below), sum(below), True)
    assert sum(entry["rows"] for entry in found["sizes"]) == len(rows)
    for entry in found["sizes"]:
        assert entry["groups"] == sum(entry["from"] <= size <= entry["to"] for size in counted.values())
    flags = in_small_groups(columns(rows), small_groups(state, k))
    assert flags.tolist() == [counted[row] < k for row in rows]


def test_groups_do_not_depend_on_how_a_column_is_stored():
    rows = [("a", 1), ("b", None), (None, 2), ("a", 1)] * 30
    text, number = columns(rows)
    state = group_state([text, number])
    assert group_state([text.dictionary_encode(), number.cast(pa.int8())]) == state
    assert group_state([number, text]) != state


def test_leaving_out_small_groups_makes_a_table_anonymous():
    data = table(1, 20_000)
    state = group_state(data)
    assert measure(state, 5)["k"] < 5
    kept = pa.array(~in_small_groups(data, small_groups(state, 5)))
    left = [column.filter(kept) for column in data]
    assert measure(group_state(left), 5)["k"] >= 5
    assert len(left[0]) == sum(size for size in by_hand(data).values() if size >= 5)


def test_no_rows_make_no_groups():
    state = group_state([pa.array([], pa.string())])
    found = measure(merge_states([state, state]), 3)
    assert (found["k"], found["groups"], found["rows"], found["sizes"]) == (0, 0, 0, [])
    assert in_small_groups([pa.array(["a"])], small_groups(state, 3)).tolist() == [False]
    assert merge_states([]) == state


def test_above_the_limit_a_state_is_a_sample_that_no_order_of_merging_changes():
    states = [group_state(table(seed, 4000)) for seed in range(6)]
    whole = merge_states(states)
    groups = measure(whole, 3)["groups"]
    for limit in (groups // 20, groups // 3, groups - 1):
        sampled = merge_states(states, limit)
        assert not measure(sampled, 3)["exact"] and len(sampled) < 16 * limit + 100
        assert merge_states(states[::-1], limit) == sampled
        halves = [merge_states(states[:2], limit), merge_states(states[2:], limit)]
        assert merge_states(halves, limit) == sampled
        assert merge_states([whole], limit) == sampled
    assert merge_states(states, groups) == whole


def test_estimates_of_a_sample_lie_within_their_errors():
    errors = collections.defaultdict(list)
    for seed in range(40):
        data = table(seed, 20_000)
        counted = by_hand(data)
        small = [size for size in counted.values() if size < 3]
        true = {"groups": len(counted), "groups_below": len(small), "rows_below": sum(small)}
        # Another seed salts the hashes, so that the samples are independent.
        found = measure(merge_states([group_state([*data, pa.array([seed] * 20_000)])], 800), 3)
        assert found["rows"] == 20_000 and found["k"] >= min(counted.values())
        for name, value in true.items():
            errors[name].append((found[name] - value) / found["standard_errors"][name])
    for name, scores in errors.items():
        assert abs(np.mean(scores)) < 4 / math.sqrt(40), name
        assert 0.6 < np.std(scores) < 1.5, name
        assert max(map(abs, scores)) < 5, name


def test_a_sample_names_no_small_groups():
    sampled = merge_states([group_state(table(1, 4000))], 100)
    with pytest.raises(HeadwaterError, match="generalise the columns or declare fewer"):
        small_groups(sampled, 3)


def test_states_that_are_not_ours_are_refused():
    state = group_state([pa.array(["a", "b"])])
    for wrong in (b"", b"HWk1", b"xxxx" + state[4:], state[:-1], state + b"\0"):
        with pytest.raises(HeadwaterError, match="measure it again"):
            measure(wrong, 3)
    with pytest.raises(HeadwaterError, match="k: must be 1 or more; given: 0"):
        measure(state, 0)


def test_a_full_state_takes_sixteen_bytes_a_group():
    state = group_state([pa.array(np.arange(50_000))])
    assert len(state) == 50_000 * 16 + 28
    assert anonymity.MAX_GROUPS * 16 == 16_000_000
