"""Generated schemas: every Arrow type is measured, as TFDV measures the converted rows, and parts merge to the whole."""

from __future__ import annotations

import datetime
import decimal
import math

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow_data_validation.statistics import stats_impl, stats_options

from headwater.components.generate_statistics.measure.conversion import rule, to_lists
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.report.protos import to_statistics
from headwater.components.generate_statistics.state import state, state_file

_MOMENTS = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1))
_WORDS = st.sampled_from(["", "a", "b", "é", "<script>", "{{ x }}", "long" * 300])
_FLOATS = st.floats(allow_nan=True, allow_infinity=False, width=16)


def _whole(bits, signed=True):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return st.integers(low, high)


_SCALARS = [
    (pa.bool_(), st.booleans()),
    *[(getattr(pa, f"int{bits}")(), _whole(bits)) for bits in (8, 16, 32, 64)],
    *[(getattr(pa, f"uint{bits}")(), _whole(bits, False)) for bits in (8, 16, 32, 64)],
    (pa.float16(), _FLOATS.map(np.float16)),
    (pa.float32(), _FLOATS),
    (pa.float64(), st.floats(-1e150, 1e150)),
    (pa.decimal128(9, 2), st.decimals(-9999, 9999, places=2)),
    (pa.decimal256(40, 3), st.integers(-(10**6), 10**6).map(lambda n: decimal.Decimal(n).scaleb(-3))),
    (pa.string(), _WORDS),
    (pa.large_string(), _WORDS),
    (pa.binary(), st.binary(max_size=4)),
    (pa.large_binary(), st.binary(max_size=4)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.dictionary(pa.int8(), pa.string()), _WORDS),
    (pa.date32(), _MOMENTS.map(lambda moment: moment.date())),
    (pa.date64(), _MOMENTS.map(lambda moment: moment.date())),
    *[(pa.timestamp(unit), _MOMENTS) for unit in ("s", "ms", "us", "ns")],
    (pa.timestamp("us", "Asia/Tokyo"), _MOMENTS),
    (pa.time32("ms"), _MOMENTS.map(lambda moment: moment.time().replace(microsecond=0))),
    (pa.time64("us"), _MOMENTS.map(lambda moment: moment.time())),
    (pa.duration("us"), st.timedeltas(-datetime.timedelta(days=999), datetime.timedelta(days=999))),
]


def _or_missing(values):
    return st.one_of(st.none(), values)


@st.composite
def _kinds(draw, depth=0):
    """A type, and a strategy of its values, missing ones among them."""
    shape = draw(
        st.sampled_from(["scalar"] * 4 + (["list", "large", "fixed", "struct", "map", "null"] if depth < 3 else []))
    )
    if shape == "scalar":
        kind, values = draw(st.sampled_from(_SCALARS))
        # A dictionary within a list or struct cannot be made of Python values.
        if depth and pa.types.is_dictionary(kind):
            kind = kind.value_type
        return kind, _or_missing(values)
    if shape == "null":
        return pa.null(), st.none()
    inner, values = draw(_kinds(depth + 1))
    if shape == "list":
        return pa.list_(inner), _or_missing(st.lists(values, max_size=3))
    if shape == "large":
        return pa.large_list(inner), _or_missing(st.lists(values, max_size=3))
    if shape == "fixed":
        return pa.list_(inner, 2), _or_missing(st.lists(values, min_size=2, max_size=2))
    if shape == "map":
        return pa.map_(pa.string(), inner), _or_missing(
            st.lists(st.tuples(st.sampled_from("kl"), values), max_size=2, unique_by=lambda pair: pair[0])
        )
    other, others = draw(_kinds(depth + 1))
    kind = pa.struct([("a", inner), ("b", other)])
    return kind, _or_missing(st.fixed_dictionaries({"a": values, "b": others}))


@st.composite
def _batches(draw):
    columns = draw(st.lists(_kinds(), min_size=1, max_size=3))
    rows = draw(st.integers(0, 9))
    arrays = [pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind) for kind, values in columns]
    return pa.RecordBatch.from_arrays(arrays, [f"c{place}" for place in range(len(columns))])


def _common(feature):
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _same(ours, theirs):
    """Equal but for quantiles, which the two tell with other errors."""
    assert ours.num_examples == theirs.num_examples
    mine, other = ({tuple(f.path.step): f for f in each.features} for each in (ours, theirs))
    assert set(mine) == set(other)
    for path, b in other.items():
        a = mine[path]
        assert (a.type, a.WhichOneof("stats")) == (b.type, b.WhichOneof("stats")), path
        x, y = _common(a), _common(b)
        for field in ("num_missing", "num_non_missing", "min_num_values", "max_num_values", "tot_num_values"):
            assert getattr(x, field) == getattr(y, field), (path, field)
        assert math.isclose(x.avg_num_values, y.avg_num_values, rel_tol=1e-6)
        # TFDV takes an element without a type for a list of its own.
        if x.tot_num_values:
            assert list(x.presence_and_valency_stats) == list(y.presence_and_valency_stats), path
        for field in ("mean", "std_dev"):
            m, n = getattr(a.num_stats, field), getattr(b.num_stats, field)
            scale = max(abs(b.num_stats.min), abs(b.num_stats.max))
            assert math.isclose(m, n, rel_tol=1e-12, abs_tol=1e-7 * scale if field == "std_dev" else 1e-12 * scale), (
                path
            )
        for field in ("min", "max", "num_zeros"):
            assert getattr(a.num_stats, field) == getattr(b.num_stats, field), (path, field)
        assert [h.num_nan for h in a.num_stats.histograms] == [h.num_nan for h in b.num_stats.histograms]
        for field in ("unique", "invalid_utf8_count"):
            assert getattr(a.string_stats, field) == getattr(b.string_stats, field), (path, field)
        assert math.isclose(a.string_stats.avg_length, b.string_stats.avg_length, rel_tol=1e-6)
        assert list(a.string_stats.top_values) == list(b.string_stats.top_values), path
        assert a.string_stats.rank_histogram == b.string_stats.rank_histogram, path


def _measured(batch):
    return measure(batch, Plan(schema=batch.schema))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(batch=_batches(), cuts=st.lists(st.integers(0, 9), max_size=2))
def test_any_schema_is_measured_as_tfdv_measures_it(batch, cuts):
    whole = to_statistics(_measured(batch), "s").datasets[0]
    assert {feature.path.step[0] for feature in whole.features} == set(batch.schema.names)
    for feature in whole.features:
        if len(feature.path.step) == 1:
            said = [custom.str for custom in feature.custom_stats if custom.name == "headwater.conversion"]
            text = rule(batch.schema.field(feature.path.step[0]).type)
            assert said == ([text] if text else [])
    if batch.num_rows:
        options = stats_options.StatsOptions(num_top_values=20)
        theirs = stats_impl.generate_statistics_in_memory(to_lists(batch), options).datasets[0]
        _same(whole, theirs)
    edges = [0, *sorted(min(cut, batch.num_rows) for cut in cuts), batch.num_rows]
    parts = [_measured(batch.slice(a, b - a)) for a, b in zip(edges, edges[1:])]
    stored = [state_file.decode(state_file.encode(part)) for part in parts]
    _same(to_statistics(state.merge(stored), "s").datasets[0], whole)
