"""The parts of a state and how they merge, against plain Python over the same rows."""

from __future__ import annotations

import collections

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.components.common import distributions
from headwater.components.common.distributions import HASH_BINS
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.hashing import hash_values
from headwater.components.generate_statistics.measure import ordering
from headwater.components.generate_statistics.measure.features import FLOAT, INT
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.plan.slicing import Slicing, Spec
from headwater.components.generate_statistics.report.protos import to_statistics
from headwater.components.generate_statistics.state import counts, points, state, state_file
from headwater.components.generate_statistics.state.limits import Limits

L, N = state.L, state.N


def counted(rows):
    """A table of (key, value, count)."""
    keys, values, number = zip(*rows) if rows else ((), (), ())
    return counts.Counts(
        np.array(keys, np.int64),
        pa.array(values, pa.large_binary()),
        np.array(number, np.int64),
        np.array(number) / 2,
    )


def as_dict(table):
    return dict(zip(zip(table.keys.tolist(), table.values.to_pylist()), table.counts.tolist()))


ROWS = st.dictionaries(
    st.tuples(st.integers(0, 3), st.sampled_from([b"", b"a", b"b", b"c", b"d"])), st.integers(1, 9), max_size=12
).map(lambda rows: [(key, value, number) for (key, value), number in rows.items()])


@settings(deadline=None, max_examples=40)
@given(st.lists(ROWS, max_size=4))
def test_counts_join_to_the_sums_of_their_parts(parts):
    joined = counts.join([counted(rows) for rows in parts])
    expected = collections.Counter()
    for key, value, number in (row for rows in parts for row in rows):
        expected[key, value] += number
    assert as_dict(joined) == expected and len(joined.keys) == len(expected)
    assert (joined.weights == joined.counts / 2).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_parts_without_a_common_key_are_put_in_order(parts):
    apart = [counted([(4 * key + place, *row) for key, *row in rows]) for place, rows in enumerate(parts)]
    whole = counts.in_order([*reversed(apart), counts.EMPTY])
    assert (np.diff(whole.keys) >= 0).all() and (whole.weights == whole.counts / 2).all()
    assert as_dict(whole) == {key: number for part in apart for key, number in as_dict(part).items()}


@settings(deadline=None, max_examples=60)
@given(ROWS, st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_what_is_cut_off_is_what_misra_and_gries_say(rows, capacity):
    table = counts.join([counted(rows)])
    kept, removed, rests = counts.cut(table, np.array(capacity))
    expected, lost = {}, collections.Counter()
    for key, most in enumerate(capacity):
        own = {value: number for (other, value), number in as_dict(table).items() if other == key}
        off = sorted(own.values())[-most - 1] if len(own) > most else 0
        assert removed[key] == off
        for value, number in own.items():
            if number > off:
                expected[key, value] = number - off
            if off:
                place = int(hash_values(pa.array([value], pa.large_binary()))[0] % np.uint64(HASH_BINS))
                lost[key * HASH_BINS + place] += min(number, off)
    assert as_dict(kept) == expected
    assert dict(zip(rests.bins.tolist(), rests.counts.tolist())) == lost
    twice = counts.join_rests([rests, counts.NO_RESTS, rests])
    assert twice.bins.tolist() == sorted(lost) and (twice.counts == 2 * rests.counts).all()


@pytest.mark.parametrize("keys", [3, 100])
def test_the_least_hashes_of_each_key_are_kept_once(keys):
    """Of few keys the least are found first, of many all are sorted."""
    chance = np.random.default_rng(1)
    rows = {(int(key), b"%d" % chance.integers(0, 40)): 1 for key in chance.integers(0, keys, 30 * keys)}
    halves = [counts.join([counted([(*row, 1) for row in list(rows)[start::2]])]) for start in (0, 1)]
    halves = [counts.add_equal(half) for half in halves]
    chosen, least = np.arange(keys) % 3 > 0, np.arange(keys) % 4 + 3
    found = counts.join_hashes([counts.hashes_of(half, chosen, least) for half in [*halves, halves[0]]], least)
    for key in range(keys):
        own = hash_values(pa.array([value for other, value in rows if other == key], pa.large_binary()))
        expected = np.sort(own)[: least[key]] if chosen[key] else []
        assert found.hashes[found.keys == key].tolist() == list(expected)
    # One value of two keys is one of each.
    alike = counts.hashes_of(counted([(0, b"a", 1), (1, b"a", 1)]), np.ones(keys, bool), least)
    assert alike.keys.tolist() == [0, 1] and alike.hashes[0] == alike.hashes[1]
    assert counts.hashes_of(halves[0], np.zeros(keys, bool), least) is counts.NO_HASHES
    assert counts.join_hashes([counts.NO_HASHES] * 2, least) is counts.NO_HASHES


def test_distinct_values_are_estimated_within_their_error():
    every = np.sort(hash_values(pa.array(np.arange(100_000))))
    found, error = counts.distinct(every[:1024], 1024)
    assert error == pytest.approx(1 / np.sqrt(1022)) and abs(found / 100_000 - 1) < 3 * error
    assert counts.distinct(every[:7], 8) == (7, 0)
    # Of hashes at equal distances the greatest says exactly how many there are.
    assert counts.distinct(np.arange(1, 11, dtype=np.uint64) << np.uint64(50), 10)[0] == round(9 * 2**14 / 10)


def test_long_values_are_told_apart_by_their_hash_and_shown_as_one():
    values = [b"a" * 1024, b"a" * 1025, b"b" * 1025, b"\xff", "é".encode(), counts.LARGE]
    content, lost = counts.as_counted(pa.array(values, pa.binary()))
    assert content.to_pylist()[0] == values[0] and content.to_pylist()[3:] == values[3:]
    assert len(set(content.to_pylist())) == 6 and max(len(value) for value in content.to_pylist()[1:3]) < 30
    assert lost.tolist() == [False, False, False, True, False, False]
    assert [counts.shown(value) for value in content.to_pylist()] == [
        "a" * 1024, "__LARGE_BYTES__", "__LARGE_BYTES__", "__BYTES_VALUE__", "é", "__LARGE_BYTES__"
    ]  # fmt: skip


def pointed(keys, values, weights):
    order = np.lexsort((values, keys))
    part = points.Points(
        np.array(keys, np.int64)[order], np.array(values, float)[order], np.array(weights, float)[order]
    )
    return points.join([part, part._replace(weights=0 * part.weights)])


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), capacity=st.lists(st.integers(4, 40), min_size=3, max_size=3), whole=st.booleans())
def test_compressed_points_keep_their_weight_and_say_how_far_ranks_moved(seed, capacity, whole):
    chance = np.random.default_rng(seed)
    rows = int(chance.integers(1, 200))
    keys, values = chance.integers(0, 3, rows), np.round(chance.normal(size=rows), 1)
    table = pointed(keys, values, np.ones(rows) if whole else chance.random(rows) + 0.1)
    found, errors = points.compress(table, np.array(capacity))
    assert (np.lexsort((found.values, found.keys)) == np.arange(len(found.keys))).all()
    for key, most in enumerate(capacity):
        own, left = (Own(part.values[part.keys == key], part.weights[part.keys == key]) for part in (table, found))
        assert len(left.values) <= most and left.weights.sum() == pytest.approx(own.weights.sum())
        if len(own.values) <= most:
            assert errors[key] == 0 and left.values.tolist() == own.values.tolist()
            continue
        assert own.ranks_moved(left) <= errors[key] + 1e-9
        # A part holds its share and no more than half a value on either side.
        assert errors[key] <= own.weights.sum() / most / 2 + own.weights.max() + 1e-9
        alone = points.shrink(own.values, own.weights, most)
        assert len(alone[0]) <= most and own.ranks_moved(Own(*alone[:2])) <= alone[2] + 1e-9
        assert alone[2] <= own.weights.sum() / most / 2 + own.weights.max() + 1e-9


class Own(collections.namedtuple("Own", "values weights")):
    """Points of one key."""

    def ranks_moved(self, other):
        """By how much weight the rank of any value of one is off in the other."""
        below, up_to = (
            [
                np.array([side.weights[compare(side.values, value)].sum() for value in self.values])
                for side in (self, other)
            ]
            for compare in (np.less, np.less_equal)
        )
        # A kept value stands for some below it and some above.
        return max(np.maximum(below[1] - up_to[0], below[0] - up_to[1]).max(), 0.0)


def test_points_at_their_capacity_are_left_alone():
    table = pointed([0] * 8, range(8), [1] * 8)
    assert points.compress(table, np.array([8]))[0] is table
    assert points.shrink(table.values, table.weights, 8) == (table.values, table.weights, 0.0)
    found, errors = points.compress(table, np.array([4]))
    assert found.weights.tolist() == [2, 2, 2, 2] and errors.tolist() == [1]
    assert points.compress(points.EMPTY, np.array([4]))[1].tolist() == [0]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(-3, 9), st.integers(1, 5)), min_size=1, max_size=9), min_size=1, max_size=4
    ),
    st.integers(1, 12),
    st.sampled_from([1.0, 0.25, 1 / 3]),
)
def test_quantiles_are_those_of_the_rows(parts, count, weight):
    tables = [pointed([0] * len(rows), *zip(*rows)) for rows in parts]
    _, values, weights = (np.concatenate(columns) for columns in zip(*tables))
    size = np.array([len(table.keys) for table in tables])
    bounds, upto = points.quantiles(values, weights * weight, size, count, np.arange(1, count + 1))
    for rows, own, sums in zip(parts, bounds, upto):
        every = np.sort(np.repeat(*map(list, zip(*rows))))
        assert own.tolist() == [every[-(-len(every) * part // count) - 1] for part in range(1, count + 1)]
        assert sums.tolist() == pytest.approx([(every <= bound).sum() * weight for bound in own])
    some = points.quantiles(values, weights * weight, size, count, np.array([count]))
    assert [each.tolist() for each in some] == [bounds[:, -1:].tolist(), upto[:, -1:].tolist()]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, 1.0, -2.0, 7.0, 65_535.0, 65_536.0, 1e15]), min_size=1, max_size=30))
def test_values_are_spread_to_distinct_ones(values):
    expected = sorted(collections.Counter(values).items())
    for kind in (INT, FLOAT):
        found = points.spread(np.array(values), kind)
        assert list(zip(*(each.tolist() for each in found))) == expected
    many = points.spread(np.array(values * 20_000), INT)
    assert list(zip(*(each.tolist() for each in many))) == [(value, 20_000 * times) for value, times in expected]
    assert [len(each) for each in points.of_sorted(np.empty(0))] == [0, 0]


def test_weights_of_equal_values_add_up_and_none_leaves_no_point():
    keys, values = np.array([0, 0, 0, 1, 1]), np.array([1.0, 1.0, 2.0, 2.0, 3.0])
    assert [each.tolist() for each in points.tally(keys, values, None)] == [[0, 0, 1, 1], [1, 2, 2, 3], [2, 1, 1, 1]]
    weighed = points.tally(keys, values, np.array([0.5, 1.5, 0, 0, 4]))
    assert [each.tolist() for each in weighed] == [[0, 1], [1, 3], [2, 4]]
    parts = [points.tally(keys + shift, values, None) for shift in (2, 0)]
    assert points.in_order(parts).keys.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert points.in_order([]) is points.EMPTY


def test_slices_share_what_is_kept():
    """The first is of all rows; the fewer the others are, the more each of them keeps."""
    kept = {}
    for slices in (0, 1, 100, 5_000):
        limits = Limits(65_536, slices)
        places = np.array([0, 1, 2])
        kept[slices] = [limits.points(places), limits.exact(places), limits.sketched(places), limits.hashes(places)]
        assert all((each[1:] == each[1]).all() for each in kept[slices])
    assert [each[0] for each in kept[5_000]] == [each[0] for each in kept[0]] == [1024, 65_536, 8192, 16_384]
    assert [each[1] for each in kept[1]] == [1024, 65_536, 8192, 16_384]
    assert [each[1] for each in kept[100]] == [655, 655, 655, 655]
    assert [each[1] for each in kept[5_000]] == [64, 128, 128, 256]
    assert Limits(50, 5_000).exact(np.array([0, 1])).tolist() == [50, 50]


def test_many_features_share_what_is_kept():
    everything, several = np.array([0]), [1, 256, 1_000, 2_000, 100_000]
    limits = Limits(65_536)
    assert [limits.exact(everything, count)[0] for count in several] == [65_536, 65_536, 16_777, 8_388, 8_192]
    assert [limits.hashes(everything, count)[0] for count in several] == [16_384, 16_384, 4_194, 4_096, 4_096]
    assert {limits.sketched(everything, count)[0] for count in several} == {8_192}
    # Whoever asks for more gets more, and for less no more than that.
    assert [Limits(values).exact(everything, 2_000)[0] for values in (1 << 20, 50)] == [134_217, 50]


def test_one_of_many_features_is_counted_as_if_it_had_few():
    """Also where states of few features and of many merge, which keep different numbers of hashes."""
    rows = 9_000
    unique = pa.array([f"value-{row}" for row in range(rows)])
    constant = pa.array(["c"] * rows)
    alone = pa.RecordBatch.from_arrays([unique], ["u"])
    wide = pa.RecordBatch.from_arrays([unique, *[constant] * 1_999], ["u", *(f"c{place}" for place in range(1_999))])
    few, many = (measure(batch, Plan(batch.schema)) for batch in (alone, wide))
    assert len(few.counts.keys) == rows and not few.numbers[1][0, N["sketched"]]
    place = many.paths.index(("u",))
    assert many.numbers[1][many.numbers[0] == place, N["sketched"]] == 1
    assert many.numbers[1][many.numbers[0] == place, N["values"]] == rows
    # What of it could not be kept is all there by its hashes.
    assert len(many.counts.keys) == 1_999 and many.rests.counts.sum() == rows
    assert len(many.hashes.hashes) == 4_096
    for merged in (state.merge([many, few]), state.merge([few, many])):
        least, error = counts.distinct(merged.hashes.hashes, 4_096)
        assert len(merged.hashes.hashes) == 4_096 and abs(least - rows) < 4 * error * rows
        assert merged.rests.counts.sum() == 2 * rows
    told = to_statistics(many, "all").datasets[0].features[place].string_stats
    assert told.unique == least and told.common_stats.num_non_missing == rows


def test_tables_larger_than_what_is_joined_at_once_join_alike():
    """Keys with many values and with few, some in one part alone, parts out of order too."""
    chance = np.random.default_rng(8)
    parts, expected = [], collections.Counter()
    for own in range(3):
        rows = collections.Counter(
            zip(chance.integers(0, 40, 20_000).tolist(), chance.integers(0, 3_000, 20_000).tolist())
        )
        rows.update({(50 + own, value): 1 for value in range(30_000)})
        keys, values = (np.array(column) for column in zip(*sorted(rows)))
        number = np.array([rows[pair] for pair in sorted(rows)])
        texts = pa.array(values).cast(pa.string()).cast(pa.large_binary())
        parts.append(counts.Counts(keys, texts, number, number / 2))
        expected.update({(key, str(value).encode()): count for (key, value), count in rows.items()})
    joined = counts.join(parts)
    assert (np.diff(joined.keys) >= 0).all() and len(joined.keys) == len(expected)
    assert as_dict(joined) == expected and (joined.weights == joined.counts / 2).all()
    back = [counts.Counts(part.keys[::-1], part.values.take(pa.array(np.arange(len(part.keys))[::-1])), part.counts[::-1], part.weights[::-1]) for part in parts]  # fmt: skip
    assert as_dict(counts.join(back)) == expected


SCHEMA = pa.schema([("a", pa.float64()), ("b", pa.string()), ("c", pa.list_(pa.int64())), ("g", pa.string()), ("w", pa.float64())])  # fmt: skip


def table(rows, chance):
    return pa.RecordBatch.from_arrays(
        [
            pa.array([None if draw < 0.1 else draw for draw in chance.random(rows)]),
            pa.array(chance.choice(["x", "é", "zz"], rows)),
            pa.array([list(range(length)) for length in chance.integers(0, 4, rows)], pa.list_(pa.int64())),
            pa.array(chance.choice(["u", "v"], rows)),
            pa.array(chance.random(rows)),
        ],
        schema=SCHEMA,
    )


def measured(batch, values=("u", "v"), **plan):
    slicing = Slicing((Spec(("g",), tuple((value,) for value in values)),), label="g")
    plan = {"slicing": slicing, "pairs": (("a", "w"),), **plan}
    return measure(batch, Plan(batch.schema, weight="w", **plan))


def facts(found):
    """What a state says, by slice and path, whatever their order."""

    def of(keys, factor, *columns):
        own = keys // factor
        names = [(found.slices[key // len(found.paths)], found.paths[key % len(found.paths)]) for key in own.tolist()]
        return sorted(zip(names, (keys % factor).tolist(), *(column.tolist() for column in columns)))

    return {
        "examples": dict(zip(found.slices, found.examples.tolist())),
        "points": of(found.points.keys, state.ROLES, found.points.values, found.points.weights),
        "counts": of(found.counts.keys, 1, np.array(found.counts.values.to_pylist(), object), found.counts.counts),
        "levels": of(found.levels[0], state.ROLES, found.levels[1]),
        "numbers": of(found.numbers[0], 1, found.numbers[1]),
    }


def flat(value):
    if isinstance(value, dict):
        return [each for key in sorted(value) for each in [key, *flat(value[key])]]
    return [each for part in value for each in flat(part)] if isinstance(value, list | tuple) else [value]


def same(one, other):
    one, other = flat(one), flat(other)
    assert [each for each in one if not isinstance(each, float)] == [
        each for each in other if not isinstance(each, float)
    ]
    numbers = [np.array([each for each in side if isinstance(each, float)]) for side in (one, other)]
    np.testing.assert_allclose(*numbers, rtol=1e-9, atol=1e-12)


def test_states_of_other_slices_and_columns_merge_by_name():
    chance = np.random.default_rng(3)
    first, second = table(300, chance), table(200, chance)
    whole = measured(pa.Table.from_batches([first, second]).combine_chunks().to_batches()[0])
    same(facts(state.merge([measured(first), measured(second, ("v", "u"))])), facts(whole))
    same(facts(state.merge([measured(second, ("v", "u")), measured(first)])), facts(whole))
    # A slice and a column that one of them alone has come from there.
    fewer = pa.RecordBatch.from_arrays([second.column(place) for place in (1, 3, 4)], names=["b", "g", "w"])
    one, other = measured(first, ("u",)), measured(fewer, ("v",), pairs=())
    merged = state.merge([one, other])
    assert merged.slices == ["", "g_u", "g_v"] and merged.labels == ["g_u", "g_v"]
    assert merged.paths == [("a",), ("b",), ("c",), ("g",), ("w",)] and merged.rules == {**one.rules, **other.rules}
    own, alone = facts(merged), facts(one)
    assert own["examples"]["g_u"] == alone["examples"]["g_u"] and own["examples"][""][0] == 500
    for part in ("points", "counts", "levels", "numbers"):
        chosen = [[row for row in side[part] if row[0] in (("g_u", ("b",)), ("", ("a",)))] for side in (own, alone)]
        same(*chosen)


def test_moments_of_pairs_are_those_of_all_rows():
    chance = np.random.default_rng(4)
    batches = [table(rows, chance) for rows in (300, 1, 0, 50)]
    merged = state.merge([measured(batch) for batch in batches]).pairs["a", "w"]
    frame = pa.Table.from_batches(batches).to_pandas()[["a", "w"]].dropna()
    spread = np.cov(frame["a"], frame["w"]) * (len(frame) - 1)
    expected = [len(frame), frame["a"].mean(), frame["w"].mean(), spread[0, 0], spread[1, 1], spread[0, 1]]
    assert merged == pytest.approx(np.array(expected), rel=1e-10)


def test_users_statistics_merge_as_they_say():
    one, other = (
        [("sum", 1.0), ("min", 5.0), ("max", 2.0), ("sum", 3.0)],
        [("sum", 4.0), ("min", 2.0), ("max", 7.0)],
    )
    states = [measured(table(3, np.random.default_rng(5))) for _ in range(2)]
    for found, values in zip(states, (one, other)):
        found.custom = {("a", f"n{place}"): value for place, value in enumerate(values)}
    merged = state.merge(states).custom
    assert list(merged.values()) == [("sum", 5), ("min", 2), ("max", 7), ("sum", 3)]
    for found, values in zip(states, (other, one)):
        found.custom = {("a", f"n{place}"): value for place, value in enumerate(values)}
    assert state.merge(states).custom == merged


def test_the_setting_that_differs_is_named():
    batch = table(3, np.random.default_rng(6))
    with pytest.raises(HeadwaterError, match="states cannot be merged: k is 1 in one and None in another"):
        state.merge([measured(batch, settings={"j": 0, "k": 1}), measured(batch, settings={"j": 0})])
    with pytest.raises(HeadwaterError, match="max_exact_values is 7 in one and 8 in another"):
        state.merge([measured(batch, limits=Limits(7)), measured(batch, limits=Limits(8))])
    # How many slices there are may differ; what is kept is the less of both.
    several = [measured(batch, limits=Limits(700, slices)) for slices in (1, 500)]
    assert state.merge(several).limits == Limits(700, 500)


def test_whole_numbers_are_as_narrow_as_they_may_be():
    for most, kind in ((0, "uint8"), (255, "uint8"), (256, "uint16"), (65_536, "uint32"), (2**32, "int64")):
        assert str(state_file.narrow(np.array([0, most])).dtype) == kind
    assert state_file.narrow(np.empty(0, np.int64)).dtype == np.uint8


@pytest.mark.parametrize("weight", ["w", ""])
def test_states_of_the_earlier_format_are_read(weight):
    """Its numbers had 32 and 64 bits throughout, and weights were written where there were none."""
    batch = table(300, np.random.default_rng(9))
    own = measure(batch, Plan(batch.schema, weight=weight, limits=Limits(2)))
    content = state_file.encode(own)
    whole = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    streams = []
    for part in whole["content"].to_pylist():
        rows = pa.ipc.open_stream(part).read_all()
        for place, field in enumerate(rows.schema):
            if pa.types.is_integer(field.type) and field.name != "hash":
                kind = pa.int32() if field.name in ("slice", "path") else pa.int64()
                rows = rows.set_column(place, field.name, rows.column(place).cast(kind))
            if pa.types.is_null(field.type):
                assert field.name == "weight" and not weight
                rows = rows.set_column(place, field.name, pa.array(np.zeros(len(rows))))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        streams.append(sink.getvalue().to_pybytes())
    metadata = {**whole.schema.metadata, b"headwater.state": b"3"}
    before = pa.table({"name": whole["name"], "content": pa.array(streams, pa.large_binary())}, metadata=metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, before.schema) as writer:
        writer.write_table(before)
    assert state_file.encode(state_file.decode(sink.getvalue().to_pybytes())) == content
    one, other = (distributions.read(each) for each in (sink.getvalue().to_pybytes(), content))
    assert len(content) < len(sink.getvalue()) and one.keys() == other.keys()
    for path, feature in one.items():
        assert all(map(np.array_equal, vars(feature).values(), vars(other[path]).values())), path
        assert feature.counts.dtype == other[path].counts.dtype == feature.rest.dtype == np.int64


@pytest.mark.parametrize("weight", ["w", ""])
def test_what_is_cut_in_slices_stays_with_its_feature_beside_pairs(weight):
    """A pair of columns has a path of its own, before all others."""
    rows = 400
    chance = np.random.default_rng(10)
    columns = {
        "a": pa.array([f"{value}" for value in chance.integers(0, 300, rows)]),
        "b": pa.array([f"{value}" for value in chance.integers(0, 3, rows)]),
        "g": pa.array(chance.choice(["u", "v"], rows)),
        "w": pa.array(chance.random(rows)),
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    plan = {
        "weight": weight,
        "limits": Limits(20, 2),
        "slicing": Slicing((Spec(("g",), (("u",), ("v",))),), label="g"),
    }
    alone, beside = (measure(batch, Plan(batch.schema, pairs=pairs, **plan)) for pairs in ((), (("a", "b"),)))
    assert len(beside.paths) == len(alone.paths) + 1 and alone.rests.counts.sum()

    def told(found, keys, factor, *columns):
        names = [(int(key) // len(found.paths), found.paths[int(key) % len(found.paths)]) for key in keys // factor]
        rows = sorted(zip(names, (keys % factor).tolist(), *(column.tolist() for column in columns)))
        return [row for row in rows if row[0][1] in alone.paths]

    for part, factor in ((lambda found: found.hashes, 1), (lambda found: found.rests, HASH_BINS)):
        assert told(alone, part(alone)[0], factor, part(alone)[1]) == told(beside, part(beside)[0], factor, part(beside)[1])  # fmt: skip
    # Each slice's counts and what was cut off them are its rows.
    held = np.bincount(alone.counts.keys // len(alone.paths) * 2 + (alone.counts.keys % len(alone.paths) == 0), alone.counts.counts, 6)[1::2]  # fmt: skip
    lost = np.bincount(alone.rests.bins // HASH_BINS // len(alone.paths), alone.rests.counts, 3)
    assert (held + lost).tolist() == alone.examples[:, 0].tolist()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2**11, 2**11 + 1, 2**63, 2**64 - 1])))),
    st.sampled_from([np.uint64, np.float64, np.int64]),
    st.booleans(),
)
def test_keys_and_values_are_ordered_whether_they_come_in_runs_or_not(parts, kind, sorted_parts):
    """Hashes that differ in their last bits alone are told apart."""
    rows = [row for part in parts for row in (sorted(part) if sorted_parts else part)]
    keys = np.array([key for key, _ in rows], np.int64)
    values = np.array([value % 2**63 if kind is np.int64 else value for _, value in rows], kind)
    for repeated in (1, 70):
        own_keys, own = np.tile(keys, repeated), np.tile(values, repeated)
        order = ordering.by_key_and_value(own_keys, own)
        expected = np.lexsort((own, own_keys))
        assert sorted(order.tolist()) == list(range(len(own)))
        assert own_keys[order].tolist() == own_keys[expected].tolist()
        assert own[order].tolist() == own[expected].tolist()
