"""Worst slices against the same sums, tests and adjustment in pandas and scipy, and against planted faults."""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import scipy.stats
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked
from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics.measure.conversion import RULE, rules, to_lists
from headwater.components.generate_statistics.worst_slices import bins as worst_bins
from headwater.components.generate_statistics.worst_slices import costs as worst_state
from headwater.components.generate_statistics.worst_slices import options as worst_options
from headwater.components.generate_statistics.worst_slices import ranking as worst_slices
from headwater.components.generate_statistics.worst_slices.options import Options


def statistics(table):
    """TFDV's own statistics of a table, with the rules of conversion beside them."""
    (batch,) = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    dataset = stats_impl.generate_statistics_in_memory(to_lists(batch), tfdv.StatsOptions()).datasets[0]
    said = rules(table.schema)
    for feature in dataset.features:
        if text := said.get(feature.path.step[0]):
            feature.custom_stats.add(name=RULE, str=text)
    return dataset


def run(table, **settings):
    options = Options(**settings)
    worst_options.check(options, table.schema)
    bins = worst_bins.bins(statistics(table), options)
    state = worst_state.measure(table.to_batches(), bins, options)
    return worst_slices.rank(state, bins, options), worst_state.totals(state, bins)


def names(slices):
    return [each["slice"] for each in slices]


def people(rows=12000, seed=0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "country": pa.array(rng.choice(["US", "DE", "New York", ""], rows, p=[0.4, 0.3, 0.2, 0.1])),
            "device": pa.array(rng.choice(["phone", "desk", "tv"], rows), mask=rng.random(rows) < 0.1),
            "age": pa.array(rng.integers(18, 80, rows)),
            "children": pa.array(rng.integers(0, 4, rows), mask=rng.random(rows) < 0.05),
            "member": pa.array(rng.random(rows) < 0.5),
            "height": pa.array(np.where(rng.random(rows) < 0.05, np.nan, rng.normal(170, 10, rows))),
        }
    ), rng


def where(table, **values):
    found = np.ones(table.num_rows, bool)
    for name, value in values.items():
        found &= np.array([each == value for each in table[name].to_pylist()])
    return found


def with_column(table, name, values):
    return table.append_column(name, pa.array(values))


def masks_of(frame):
    """The bins of `people`, made again with pandas: masks by column and words."""
    found = {}
    for name in ("country", "device"):
        for value in frame[name].dropna().unique():
            quoted = value if value.isalnum() else json.dumps(value)
            found[name, f"{name} = {quoted}"] = (frame[name] == value).to_numpy()
    found["device", "device = (missing)"] = frame["device"].isna().to_numpy()
    for value in range(4):
        found["children", f"children = {value}"] = (frame["children"] == value).to_numpy()
    found["children", "children = (missing)"] = frame["children"].isna().to_numpy()
    for value in (False, True):
        found["member", f"member = {str(value).lower()}"] = (frame["member"] == value).to_numpy()
    return found


def worse(cost, inside, outside):
    if inside.sum() < 2 or outside.sum() < 2:
        return 1.0
    own = scipy.stats.ttest_ind(cost[inside], cost[outside], equal_var=False, alternative="greater").pvalue
    both = cost[inside | outside]
    error = np.sqrt(both.var(ddof=1) * (1 / inside.sum() + 1 / outside.sum()))
    return max(own, scipy.stats.t.sf((cost[inside].mean() - cost[outside].mean()) / error, len(both) - 2))


def brute_force(frame, cost, depth, min_rows, max_p):
    """What the docstring of `rank` says, one slice at a time."""
    known = np.isfinite(cost)
    frame, cost = frame[known].reset_index(drop=True), cost[known]
    singles = masks_of(frame)
    rows = []
    for (_, words), mask in singles.items():
        if mask.sum() >= min_rows:
            rows.append({"slice": words, "mask": mask, "p": worse(cost, mask, ~mask), "parents": ()})
    pairs = itertools.combinations(singles.items(), 2) if depth == 2 else ()
    for ((a, first), one), ((b, second), two) in pairs:
        mask = one & two
        if a != b and mask.sum() >= min_rows:
            p = max(worse(cost, mask, ~mask), worse(cost, mask, one & ~two), worse(cost, mask, two & ~one))
            rows.append({"slice": f"{first} and {second}", "mask": mask, "p": p, "parents": (one, two)})
    adjusted = scipy_adjusted([row["p"] for row in rows])
    excess = lambda mask: cost[mask].mean() - cost[~mask].mean()
    listed = []
    for row, p in zip(rows, adjusted):
        row |= {"p_value": p, "rows": row["mask"].sum(), "mean_cost": cost[row["mask"]].mean()}
        row |= {"rest_cost": cost[~row["mask"]].mean(), "excess_cost": row["rows"] * excess(row["mask"])}
        clear = all(
            row["mean_cost"] - cost[parent].mean() >= worst_slices.CLEARLY * max(excess(parent), 0)
            for parent in row["parents"]
        )
        if p <= max_p and clear and row["excess_cost"] > 0:
            listed.append(row)
    kept = []
    for row in listed:
        explained = False
        for other in listed:
            if not row["parents"] and any((row["mask"] == parent).all() for parent in other["parents"]):
                left, outside = row["mask"] & ~other["mask"], ~row["mask"]
                share = left.sum() * (cost[left].mean() - cost[outside].mean()) if left.any() else 0
                small = share < worst_slices.CLEARLY * row["rows"] * excess(row["mask"])
                explained |= small or worse(cost, left, outside) > max_p
        if not explained:
            kept.append(row)
    return sorted(kept, key=lambda row: -row["excess_cost"])


def scipy_adjusted(p):
    """Benjamini and Hochberg by their definition: the smallest level at which a hypothesis is rejected."""
    p = np.array(p)
    return [min(min(other * len(p) / (p <= other).sum() for other in p[p >= each]), 1.0) for each in p]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slices_are_those_of_a_brute_force_over_pandas_masks(seed, depth):
    table, rng = people(6000, seed)
    cost = rng.gamma(1, 1, table.num_rows)
    cost += 0.8 * where(table, country="US", device="phone") + 0.5 * where(table, children=2)
    cost[rng.random(len(cost)) < 0.05] = np.nan
    columns = ["country", "device", "children", "member"]
    slices, _ = run(with_column(table, "e", cost), errors="e", columns=columns, depth=depth, max_p=0.2, top=100)
    frame = table.to_pandas()
    expected = brute_force(frame, cost, depth, 100, 0.2)
    flipped = {frozenset(name.split(" and ")): name for name in names(slices)}
    assert [frozenset(row["slice"].split(" and ")) for row in expected] == list(flipped)
    assert len(slices) >= 2
    for ours, theirs in zip(slices, expected):
        assert ours["rows"] == theirs["rows"]
        assert ours["share"] == pytest.approx(theirs["rows"] / np.isfinite(cost).sum())
        for key in ("mean_cost", "rest_cost", "excess_cost"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-9)
        assert ours["p_value"] == pytest.approx(theirs["p_value"], rel=1e-6, abs=1e-300)
        spread = np.nanstd(cost, ddof=1)
        assert ours["effect"] == pytest.approx((theirs["mean_cost"] - theirs["rest_cost"]) / spread)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slice_comes_first(seed):
    table, rng = people(seed=seed)
    errors = rng.random(table.num_rows) < 0.1 + 0.2 * where(table, device="tv")
    slices, account = run(with_column(table, "wrong", errors), errors="wrong")
    assert slices[0]["slice"] == "device = tv"
    assert slices[0]["rows"] == where(table, device="tv").sum()
    assert account == {"rows": 12000, "without_cost": 0, "mean_cost": pytest.approx(errors.mean())}


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_conjunction_comes_first_and_its_parts_are_not_blamed(seed):
    table, rng = people(seed=seed)
    young = table["age"].to_numpy() < 22
    errors = rng.random(table.num_rows) < 0.1 + 0.5 * (where(table, country="US") & young)
    slices, _ = run(with_column(table, "wrong", errors), errors="wrong")
    assert slices[0]["slice"].startswith("country = US and age < 2") or "and country = US" in slices[0]["slice"]
    assert "country = US" not in names(slices)
    alone, _ = run(with_column(table, "wrong", errors), errors="wrong", depth=1)
    assert "country = US" in names(alone)


def test_a_slice_that_is_bad_throughout_is_told_once_and_not_with_every_other_column():
    table, rng = people(40000)
    errors = rng.random(table.num_rows) < 0.1 + 0.3 * where(table, country="US")
    slices, _ = run(with_column(table, "wrong", errors), errors="wrong")
    assert slices[0]["slice"] == "country = US"
    assert len(slices) <= 3


def test_a_conjunction_that_is_hardly_worse_than_its_parts_is_not_told_however_sure():
    table, rng = people(60000)
    bad = where(table, country="US")
    for more, told in ((0.04, False), (0.2, True)):
        errors = rng.random(table.num_rows) < 0.1 + bad * (0.3 + more * where(table, device="tv"))
        slices, _ = run(with_column(table, "wrong", errors), errors="wrong")
        assert ("country = US and device = tv" in names(slices)) == told
        assert slices[0]["slice"] == "country = US"


def test_noise_alone_has_hardly_ever_a_slice():
    found = 0
    for seed in range(40):
        table, rng = people(4000, seed)
        slices, _ = run(with_column(table, "e", rng.normal(size=table.num_rows)), errors="e")
        found += bool(slices)
    # 2 in 40 are expected at a false discovery rate of 5 %; more than 7 have a probability below 0.1 %.
    assert found <= 7


@pytest.mark.sweep(5)
@pytest.mark.parametrize("rows", [100, 400, 4000])
@pytest.mark.parametrize("cost", ["rare", "usual", "nearly always", "heavy"])
def test_noise_of_any_kind_has_hardly_ever_a_slice(rows, cost):
    found = 0
    for seed in range(40):
        table, rng = people(rows, seed)
        share = {"rare": 0.01, "usual": 0.3, "nearly always": 0.99}.get(cost)
        errors = rng.lognormal(0, 2, rows) if share is None else (rng.random(rows) < share).astype(float)
        found += bool(run(with_column(table, "e", errors), errors="e")[0])
    # As above: more than 7 of 40 have a probability below 0.1 % where 5 % are promised.
    assert found <= 7


def test_the_cost_matrix_settles_which_slice_is_worst():
    table, rng = people()
    label = rng.choice(["spam", "ham"], table.num_rows)
    prediction = label.copy()
    lost = where(table, country="US") & (label == "ham") & (rng.random(len(label)) < 0.2)
    let_in = where(table, country="DE") & (label == "spam") & (rng.random(len(label)) < 0.6)
    prediction[lost], prediction[let_in] = "spam", "ham"
    table = with_column(with_column(table, "y", label), "guess", prediction)
    plain, account = run(table, prediction="guess", label="y", columns=["country"])
    assert names(plain)[0] == "country = DE"
    assert account["mean_cost"] == pytest.approx((label != prediction).mean())
    weighed, account = run(table, prediction="guess", label="y", columns=["country"], costs={"ham": {"spam": 10}})
    assert names(weighed)[0] == "country = US"
    assert account["mean_cost"] == pytest.approx(np.where(lost, 10, let_in).mean())
    right, account = run(table, prediction="guess", label="y", costs={"ham": {"ham": 3, "spam": 0}, "spam": {"ham": 0}})
    assert account["mean_cost"] == pytest.approx(3 * ((label == "ham") & ~lost).mean())


@pytest.mark.parametrize(
    "label, prediction, costs",
    [
        (pa.array([1, 0, 1, None, 2]), pa.array([0.0, 0.0, 1.0, 1.0, float("nan")]), {1: {0: 7}}),
        (pa.array([True, False, True, None, True]), pa.array([False, False, True, True, None]), {True: {False: 7}}),
        (pa.array([True, False, True, None, True]), pa.array([0, 0, 1, 1, None]), {"1": {"false": 7}}),
        (pa.array(["b", "a", "b", None, "b"]), pa.array([b"a", b"a", b"b", b"b", None]), {"b": {"a": 7}}),
        (
            pa.array(["b", "a", "b", None, "b"]).dictionary_encode(),
            pa.array([["a"], ["a"], ["b"], ["b"], []]),
            {"b": {"a": 7}},
        ),
        (pa.array([1, 0, 1, None, 2], pa.uint8()), pa.array([0, 0, 1, 1, None], pa.decimal128(5, 1)), {1: {0: 7}}),
    ],
)
def test_classes_of_any_type_are_compared_and_named(label, prediction, costs):
    table = pa.table({"y": label, "guess": prediction})
    options = checked(Options, {"prediction": "guess", "label": "y", "costs": costs})
    state = worst_state.measure(table.to_batches(), worst_bins.Bins(), options)
    assert worst_state.totals(state, worst_bins.Bins()) == {"rows": 3, "without_cost": 2, "mean_cost": 7 / 3}
    assert worst_state.unseen_classes([state], options) == []


def test_classes_that_no_row_holds_are_told_and_a_matrix_of_none_is_refused():
    table = pa.table({"y": ["a", "b"], "guess": ["a", "a"]})
    bins = worst_bins.Bins()

    def unseen(costs, table=table):
        options = Options(prediction="guess", label="y", costs=costs)
        part = worst_state.measure(table.to_batches(), bins, options)
        return worst_state.unseen_classes([part, worst_state.measure([], bins, options)], options)

    assert unseen({"a": {"b": 2}}) == []
    assert unseen({"a": {"spam": 2, "B": 1}}) == ["B", "spam"]
    assert unseen({}) == []
    assert unseen({"spam": {}}, table.slice(0, 0)) == ["spam"]
    with pytest.raises(HeadwaterError, match="none of the classes 'ham', 'spam' occurs in column 'y' or 'guess'"):
        unseen({"spam": {"ham": 2}})


def test_merged_parts_are_the_whole_and_so_are_batches_of_any_size():
    table, rng = people(5000)
    table = with_column(table, "e", rng.gamma(2, 1, table.num_rows))
    options = Options(errors="e")
    bins = pickle.loads(pickle.dumps(worst_bins.bins(statistics(table), options)))
    whole = worst_state.measure(table.to_batches(), bins, options)
    assert whole == worst_state.measure(table.to_batches(), bins, options)
    slices = worst_slices.rank(whole, bins, options)
    for size in (7, 999):
        parts = [table.slice(start, size) for start in range(0, table.num_rows, size)]
        merged = worst_state.merge([worst_state.measure(part.to_batches(), bins, options) for part in parts])
        nested = worst_state.merge([worst_state.merge([merged]), worst_state.measure([], bins, options)])
        assert nested == merged
        found = worst_slices.rank(merged, bins, options)
        assert names(found) == names(slices)
        for ours, theirs in zip(found, slices):
            assert [*ours.values()][1:] == pytest.approx([*theirs.values()][1:], rel=1e-6)
        assert worst_state.totals(merged, bins)["rows"] == 5000
    with pytest.raises(HeadwaterError, match="different bins or costs"):
        worst_state.merge([whole, worst_state.measure([], worst_bins.Bins(), options)])
    with pytest.raises(HeadwaterError, match="measure it again"):
        worst_slices.rank(whole, worst_bins.Bins(), options)
    with pytest.raises(HeadwaterError, match="not an Arrow file"):
        worst_state.merge([b"state"])


def test_each_option_changes_the_outcome():
    table, rng = people(20000)
    errors = 0.1 + 0.25 * where(table, country="US") + 0.2 * where(table, device="tv", member=True)
    table = with_column(table, "e", (rng.random(table.num_rows) < errors).astype(float))
    slices, _ = run(table, errors="e")
    assert len(slices) >= 2
    assert run(table, errors="e", top=1)[0] == slices[:1]
    assert not any(" and " in name for name in names(run(table, errors="e", depth=1)[0]))
    assert "country = US" not in names(run(table, errors="e", columns=["device", "member"])[0])
    least = min(each["rows"] for each in slices)
    assert all(each["rows"] > least for each in run(table, errors="e", min_rows=least + 1)[0])
    weakest = max(each["p_value"] for each in slices)
    assert names(run(table, errors="e", max_p=weakest)[0]) == names(slices)
    assert len(run(table, errors="e", max_p=weakest * 0.999)[0]) < len(slices)


@pytest.mark.parametrize("value", [1.5, 1, True])
def test_a_column_of_one_number_and_missing_ones_can_be_sliced_by(value):
    there = np.arange(4000) % 3 == 0
    table = pa.table({"c": pa.array([value] * 4000, mask=~there), "e": pa.array(there & (np.arange(4000) % 2 > 0))})
    assert names(run(table, errors="e")[0]) == ["c = (any number)"]


def test_missing_and_nan_are_bins_and_infinite_costs_are_left_out():
    table, rng = people()
    unknown = np.isnan(table["height"].to_numpy())
    errors = rng.random(table.num_rows) < 0.1 + 0.4 * unknown + 0.3 * table["children"].is_null().to_numpy()
    costs = errors.astype(float)
    costs[:3] = np.nan, np.inf, -np.inf
    slices, account = run(with_column(table, "e", costs), errors="e", depth=1)
    assert sorted(names(slices)[:2]) == ["children = (missing)", "height = (NaN)"]
    by_name = {each["slice"]: each for each in slices}
    assert by_name["height = (NaN)"]["rows"] == unknown[3:].sum()
    assert (account["rows"], account["without_cost"]) == (11997, 3)


@pytest.mark.parametrize(
    "errors",
    [
        pa.nulls(500),
        pa.nulls(500, pa.float64()),
        pa.array([float("nan")] * 500),
        pa.array([0.1] * 500),
        pa.array([True] * 500),
        pa.array([1e300] * 500),
    ],
    ids=["null", "missing", "nan", "constant", "all wrong", "huge"],
)
def test_costs_that_say_nothing_have_no_slices(errors):
    table = pa.table({"a": ["x", "y"] * 250, "b": list(range(500)), "e": errors})
    slices, account = run(table, errors="e")
    assert slices == []
    assert account["rows"] + account["without_cost"] == 500


def test_no_rows_and_no_columns_have_no_slices():
    table = pa.table({"a": ["x", "y"], "e": [0.0, 1.0]})
    assert run(table.slice(0, 0), errors="e") == ([], {"rows": 0, "without_cost": 0, "mean_cost": None})
    assert run(table.select(["e"]), errors="e") == ([], {"rows": 2, "without_cost": 0, "mean_cost": 0.5})


def test_a_slice_without_spread_is_found_too():
    table = pa.table({"a": ["x"] * 200 + ["y"] * 800, "e": [1.1] * 200 + [0.1] * 800})
    slices, _ = run(table, errors="e")
    assert names(slices) == ["a = x"] and slices[0]["p_value"] < 1e-100
    assert slices[0]["mean_cost"] == pytest.approx(1.1)


def test_costs_far_from_zero_keep_their_digits():
    table, rng = people()
    costs = rng.normal(size=table.num_rows) + where(table, country="US")
    near, _ = run(with_column(table, "e", costs), errors="e")
    far, _ = run(with_column(table, "e", costs + 1e9), errors="e")
    assert names(far) == names(near)
    assert far[0]["p_value"] == pytest.approx(near[0]["p_value"], rel=1e-3)
    assert far[0]["mean_cost"] == pytest.approx(1e9 + near[0]["mean_cost"], rel=1e-12)


@pytest.mark.parametrize(
    "values, words",
    [
        (pa.array(["x", "two words"] * 500), 'v = "two words"'),
        (pa.array(["x", '"<b>\n'] * 500), 'v = "\\"<b>\\n"'),
        (pa.array(["x", "(other)"] * 500), 'v = "(other)"'),
        (pa.array([b"x", b"y"] * 500), "v = y"),
        (pa.array([b"x", b"\xff\xfe"] * 500), "v = (other)"),
        (pa.array(["x", "y"] * 500).dictionary_encode(), "v = y"),
        (pa.array([["x"], ["y"]] * 500), "v = y"),
        (pa.array([["x"], []] * 500), "v = (missing)"),
        (pa.array([False, True] * 500), "v = true"),
        (pa.array([3, 4] * 500, pa.uint8()), "v = 4"),
        (pa.array([0.5, 1.5] * 500), "v = 1.5"),
        (pa.array([0.1, 0.7] * 500, pa.float32()), "v = 0.7"),
        (pa.array([decimal.Decimal("0.5"), decimal.Decimal("1.5")] * 500), "v = 1.5"),
        (pa.array([datetime.date(2013, 1, 1), datetime.date(2013, 2, 1)] * 500), "v = 2013-02-01"),
        (pa.array([datetime.date(2013, 1, 1), datetime.date(2013, 1, 2)] * 500), "v = 2013-01-02"),
        (pa.array([0, 1356998400] * 500).cast(pa.timestamp("s", "UTC")), "v = 2013-01-01"),
        (pa.array([0, 1356998400500] * 500).cast(pa.timestamp("ms", "UTC")), "v = 2013-01-01T00:00:00.500000Z"),
        (pa.array([0, 3600] * 500, pa.int32()).cast(pa.time32("s")), "v = 01:00:00"),
        (pa.array([0, 90] * 500).cast(pa.duration("s")), "v = 90 s"),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_slices_are_told_in_the_words_of_their_columns(values, words):
    table = pa.table({"v": values, "e": [0.0, 1.0] * 500})
    assert names(run(table, errors="e")[0]) == [words]


def test_ranges_hold_exactly_the_rows_that_their_words_say():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(8000) < 0.4, 0.0, rng.normal(size=8000) * 1000)
    table = pa.table({"v": values, "n": np.floor(values), "e": rng.random(8000)})
    options = Options(errors="e")
    bins = worst_bins.bins(statistics(table), options)
    assert bins.columns[0].kind == "ranges" and 7 <= bins.columns[0].size - 2 <= 12
    for name in ("v", "n"):
        for edge in (-500.0, 0.0, 200.0):
            costs = (values if name == "v" else np.floor(values)) >= edge if edge else values == 0.0
            slices, _ = run(with_column(table.select([name]), "e", costs), errors="e", top=100)
            for each in slices:
                # `a ≤ v < b` is Python once the sign is.
                words = each["slice"].replace("≤", "<=").replace("≥", ">=").replace(" = ", " == ")
                held = sum(eval(words, {name: value}) for value in table[name].to_pylist())  # noqa: S307
                assert held == each["rows"], each["slice"]
    slices, _ = run(with_column(table.select(["v"]), "e", values == 0.0), errors="e")
    assert names(slices) == ["v = 0"]


@pytest.mark.parametrize("scale", [1e-9, 0.01, 1.0, 12345.0, 1e30])
def test_ranges_are_tenths_with_edges_that_can_be_read(scale):
    values = np.random.default_rng(0).lognormal(size=20000) * scale
    options = Options(errors="e")
    table = pa.table({"v": values, "e": np.ones(20000)})
    bins = worst_bins.bins(statistics(table), options)
    edges = bins.columns[0].edges
    assert np.histogram(values, [0, *edges, np.inf])[0] == pytest.approx([2000] * 10, rel=0.15)
    assert all(edge == float(f"{edge:.3g}") for edge in edges)


def test_values_beyond_the_most_frequent_are_one_slice():
    rng = np.random.default_rng(0)
    frequent = np.array([f"f{place % 10}" for place in range(4000)])
    seldom = np.array([f"s{place}" for place in range(1000)])
    table = pa.table({"v": np.concatenate([frequent, seldom]), "w": rng.choice(["a", "b"], 5000)})
    errors = np.concatenate([rng.random(4000) < 0.1, rng.random(1000) < 0.5])
    table = with_column(table, "e", errors)
    slices, _ = run(table, errors="e")
    assert (slices[0]["slice"], slices[0]["rows"]) == ("v = (other)", 1000)
    assert not any("(other) and" in name for name in names(slices))


def test_pairs_share_bins_of_the_rarer_of_many_values():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(40), np.where(np.arange(40) < 12, 700, 464)))
    table = pa.table({"v": [f"v{code:02}" for code in codes], "w": rng.choice(["a", "b", None], len(codes))})
    bad = (codes == 30) | (codes == 2) & where(table, w="a")
    slices, _ = run(with_column(table, "e", rng.random(len(codes)) < 0.05 + 0.6 * bad), errors="e", min_rows=50)
    assert set(names(slices)) == {"v = v30", "v = v02 and w = a"}
    by_name = {each["slice"]: each["rows"] for each in slices}
    assert by_name["v = v30"] == 464
    assert by_name["v = v02 and w = a"] == ((codes == 2) & where(table, w="a")).sum()


def test_integers_that_statistics_hold_as_categories_are_sliced_by_value():
    table = pa.table({"code": [7, 1000, -3, None] * 300, "e": [0, 1, 0, 0] * 300})
    dataset = statistics_pb2.DatasetFeatureStatistics(num_examples=1200)
    feature = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.INT)
    feature.path.step.append("code")
    feature.string_stats.common_stats.num_non_missing = 900
    feature.string_stats.common_stats.num_missing = 300
    feature.string_stats.common_stats.max_num_values = 1
    for value in ("7", "1000", "-3"):
        feature.string_stats.top_values.add(value=value, frequency=300)
    options = Options(errors="e")
    bins = worst_bins.bins(dataset, options)
    slices = worst_slices.rank(worst_state.measure(table.to_batches(), bins, options), bins, options)
    assert [(each["slice"], each["rows"]) for each in slices] == [("code = 1000", 300)]


def test_only_columns_that_can_be_sliced_by_are():
    rows = 400
    table = pa.table(
        {
            "_row_id": [str(row) for row in range(rows)],
            "id": [f"customer {row}" for row in range(rows)],
            "constant": ["same"] * rows,
            "empty": pa.nulls(rows),
            "tags": [["a", "b"], ["a"]] * (rows // 2),
            "nested": [{"inner": 1}, {"inner": 2}] * (rows // 2),
            "letter": ["a", "b"] * (rows // 2),
            "mail": ["a@b", "c@d"] * (rows // 2),
            "y": [0, 1] * (rows // 2),
            "guess": [0, 0] * (rows // 2),
        }
    )
    dataset = statistics(table)
    mail = next(feature for feature in dataset.features if feature.path.step[0] == "mail")
    mail.custom_stats.add(name="headwater.private", str="hashed")

    def columns(**settings):
        options = Options(prediction="guess", label="y", **settings)
        worst_options.check(options, table.schema)
        return [column.name for column in worst_bins.bins(dataset, options).columns]

    assert columns() == ["letter"]
    # Named, even what is private and the label are sliced by.
    assert columns(columns=["y", "mail", "letter"]) == ["y", "mail", "letter"]
    with pytest.raises(HeadwaterError, match="columns: 'tags' has rows with more than one value"):
        columns(columns=["tags"])
    with pytest.raises(HeadwaterError, match="columns: 'nested' holds lists or structs"):
        columns(columns=["nested"])
    with pytest.raises(HeadwaterError, match="there is no column '_row_id'; the columns are 'id'"):
        columns(columns=["_row_id"])


def test_private_values_are_told_as_the_statistics_hold_them():
    # Statistics and batches alike hold hashes; raw values are in neither.
    table = pa.table({"mail": ["h1f3", "9ab2"] * 300, "e": [0, 1] * 300})
    slices, _ = run(table, errors="e", columns=["mail"])
    assert names(slices) == ["mail = 9ab2"]


def test_columns_and_pairs_are_bounded_and_those_left_out_are_told():
    rng = np.random.default_rng(0)
    rows = 300
    numbers = {f"n{place:03}": rng.normal(size=rows) for place in range(190)}
    texts = {f"t{place:03}": rng.choice(["a", "b"], rows) for place in range(30)}
    table = pa.table({**numbers, **texts, "e": rng.random(rows)})
    bins = worst_bins.bins(statistics(table), Options(errors="e"))
    assert len(bins.columns) == worst_options.MOST_COLUMNS
    assert {column.name for column in bins.columns} | set(bins.left_out) == {*numbers, *texts}
    assert len(bins.left_out) == 20 and all(name in numbers for name in bins.left_out)
    paired = {bins.columns[place].name for pair in bins.pairs for place in pair}
    assert len(bins.pairs) == 496 and len(paired & set(texts)) == 16
    assert worst_bins.bins(statistics(table), Options(errors="e", depth=1)).pairs == ()
    assert len(pickle.dumps(bins)) < 100_000


@pytest.mark.parametrize(
    "settings, message",
    [
        ({}, "give errors .*or both prediction and label"),
        ({"prediction": "p"}, "give errors .*or both prediction and label"),
        ({"errors": "e", "label": "y"}, "either errors, or prediction and label, not both"),
        ({"prediction": "y", "label": "y"}, "must be different columns"),
        ({"errors": "e", "costs": {"a": {"b": 1}}}, "errors are already costs"),
        ({"errors": "e", "columns": ["a", "a"]}, "columns must not name 'a' twice"),
        ({"errors": "e", "columns": ["a"] * 201}, "columns: .*at most 200 items"),
        ({"errors": "e", "depth": 3}, "depth: "),
        ({"errors": "e", "min_rows": 1}, "min_rows: .*greater than or equal to 2"),
        ({"errors": "e", "top": 0}, "top: "),
        ({"errors": "e", "max_p": 0}, "max_p: .*greater than 0"),
        ({"errors": "e", "error": "e"}, "error: there is no such setting"),
        ({"prediction": "p", "label": "y", "costs": {"a": {"b": float("inf")}}}, r"costs\.a\.b: .*finite"),
        ({"prediction": "p", "label": "y", "costs": {"a": 3}}, r"costs\.a: .*dictionary"),
        ({"prediction": "p", "label": "y", "costs": [1]}, "costs: .*dictionary"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(HeadwaterError, match=message):
        checked(Options, settings, "worst_slices")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"errors": "x"}, "errors: there is no column 'x'; the columns are 'text', 'number'"),
        ({"errors": "text"}, "errors: column 'text' holds text; a cost must be a number or a boolean"),
        ({"errors": "day"}, "errors: column 'day' holds moments"),
        ({"errors": "nested"}, "errors: column 'nested' holds lists or structs"),
        ({"errors": "number", "columns": ["number"]}, "columns: 'number' holds the costs"),
        ({"errors": "lists"}, "'lists' has a row with more than one value"),
        ({"prediction": "nested", "label": "text"}, "prediction: column 'nested' holds lists or structs"),
        ({"prediction": "number", "label": "text"}, "label 'text' holds text and prediction 'number' numbers"),
        ({"prediction": "score", "label": "number"}, "prediction: the column holds numbers that cannot be classes"),
        (
            {"prediction": "number", "label": "flag", "costs": {"spam": {"1": 1}}},
            "costs: 'spam' cannot be a class of 'flag' and 'number', which hold bools and numbers",
        ),
    ],
)
def test_columns_that_cannot_serve_are_named(settings, message):
    table = pa.table(
        {
            "text": ["a", "b"],
            "number": [0, 1],
            "flag": [True, False],
            "score": [0.3, 0.7],
            "day": [datetime.date(2013, 1, 1)] * 2,
            "nested": [{"a": 1}, {"a": 2}],
            "lists": [[1, 2], [1]],
        }
    )
    with pytest.raises(HeadwaterError, match=message):
        worst_state.measure(table.to_batches(), worst_bins.Bins(), Options(**settings))


def test_delays_of_real_flights_are_worst_where_pandas_says(months):
    table = pa.csv.read_csv(months[1], convert_options=pa.csv.ConvertOptions(null_values=["", "NA"]))
    slices, account = run(table, errors="dep_delay", columns=["carrier", "origin", "hour"], depth=1, min_rows=200)
    frame = table.to_pandas()
    known = frame[frame["dep_delay"].notna()]
    assert account["without_cost"] == len(frame) - len(known) > 0
    carriers = known.groupby("carrier")["dep_delay"]
    rest = (known["dep_delay"].sum() - carriers.sum()) / (len(known) - carriers.size())
    excess = carriers.size() * (carriers.mean() - rest)
    worst = excess[carriers.size() >= 200].idxmax()
    ours = next(each for each in slices if each["slice"].startswith("carrier"))
    assert ours["slice"] == f"carrier = {worst}"
    assert ours["excess_cost"] == pytest.approx(excess[worst])
