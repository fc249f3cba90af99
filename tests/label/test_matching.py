"""Which event is whose: against a slow and plain reading of the rules, and DuckDB's ASOF join; delays against formulas."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.components.label import delays
from headwater.components.label.attribution.matching import EVENT, FATES, PREDICTION, Rules, match


def plain(predictions, events, rules):
    """Codes and fates, prediction by prediction and event by event."""
    key = lambda each: (int(each["first"]), int(each["second"]))
    place = lambda number: (key(events[number]), int(events[number]["time"]), int(events[number]["code"]))
    fates, distinct = {}, {}
    for number in range(len(events)):
        fates[number] = "repeated"
        distinct.setdefault(place(number), number)
    own = sorted(distinct.values(), key=place)
    slots = {}
    for number, each in enumerate(predictions):
        slots.setdefault((key(each), int(each["time"])), []).append(number)
    before = {
        number: max(
            (slot for slot in slots if slot[0] == place(number)[0] and slot[1] <= place(number)[1]), default=None
        )
        for number in own
    }
    codes, used, settled = np.full(len(predictions), -1), set(), {}
    for slot, rows in slots.items():
        inside = [
            number for number in own if slot[0] == place(number)[0] and 0 <= place(number)[1] - slot[1] <= rules.window
        ]
        if rules.attribution == "last":
            inside = [number for number in inside if before[number] == slot]
        told = [place(number)[2] for number in inside]
        chosen = (inside[-1] if rules.conflict == "last" else inside[0]) if inside else None
        code = place(chosen)[2] if inside else -1
        if rules.conflict == "abstain" and len(set(told)) > 1:
            code, chosen = -2, None
        settled[slot] = code
        if slot[1] + rules.window <= rules.as_of:
            codes[rows] = code
            used.add(chosen)
    keys = {slot[0] for slot in slots}
    for number in own:
        mine, time, code = place(number)
        slot = before[number]
        if time > rules.as_of:
            fate = "carried"
        elif slot and time - slot[1] <= rules.window:
            if slot[1] + rules.window > rules.as_of:
                fate = "carried"
            else:
                fate = "used" if number in used else "repeated" if settled[slot] == code else "conflicting"
        elif slot:
            fate = "late"
        elif time >= rules.as_of - rules.window:
            fate = "carried"
        else:
            fate = "early" if mine in keys or time < rules.earliest else "orphan"
        fates[number] = fate
    gaps = []
    for slot in slots:
        times = [place(number)[1] for number in own if before[number] == slot]
        if times and min(times) <= rules.as_of:
            gaps.append((min(times) - slot[1], rules.as_of - slot[1]))
    return codes.tolist(), [fates[number] for number in range(len(events))], sorted(gaps)


numbers = st.integers(0, 3)


@given(
    st.lists(st.tuples(numbers, st.integers(0, 1), st.integers(0, 14)), max_size=12),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 24), st.integers(0, 2)), max_size=16),
    st.integers(1, 8),
    st.integers(4, 26),
    st.sampled_from(["first", "last", "abstain"]),
    st.sampled_from(["last", "every"]),
)
@settings(max_examples=400, deadline=None)
def test_events_and_predictions_match_as_the_rules_say(rows, events, window, as_of, conflict, attribution):
    own = np.zeros(len(rows), PREDICTION)
    theirs = np.zeros(len(events), EVENT)
    for array, given_ in ((own, rows), (theirs, events)):
        for number, (first, second, time, *code) in enumerate(given_):
            array[number]["first"], array[number]["second"], array[number]["time"] = first, second, time
            if code:
                array[number]["code"] = code[0]
    earliest = min((time for _, _, time in rows), default=0)
    rules = Rules(window, as_of, conflict, attribution, earliest)
    found = match(own, theirs, rules)
    codes, fates, gaps = plain(own, theirs, rules)
    assert found.codes.tolist() == codes
    # Of events that are the same in everything, which one is used is all the same.
    same = lambda told: sorted(zip(events, told))
    assert same([FATES[fate] for fate in found.fates]) == same(fates)
    assert sorted(zip(found.delays.tolist(), found.seen.tolist())) == gaps
    # The order of events is nobody's business.
    turned = match(own, theirs[::-1], rules)
    assert turned.codes.tolist() == codes
    assert sorted(turned.fates.tolist()) == sorted(found.fates.tolist())


@pytest.mark.parametrize("attribution", ["last", "every"])
def test_the_same_as_duckdbs_joins(attribution):
    chance = np.random.default_rng(3)
    own, theirs = np.zeros(4_000, PREDICTION), np.zeros(6_000, EVENT)
    own["first"], theirs["first"] = chance.integers(0, 900, 4_000), chance.integers(0, 1_000, 6_000)
    # Times of their own, so that no join has a choice.
    times = chance.permutation(1_000_000)[:10_000]
    own["time"], theirs["time"] = times[:4_000], times[4_000:]
    theirs["code"] = chance.integers(0, 3, 6_000)
    rules = Rules(50_000, 900_000, "last", attribution, int(own["time"].min()))
    found = match(own, theirs, rules)
    p = pa.table({"n": np.arange(4_000), "k": own["first"], "t": own["time"]})
    e = pa.table({"k": theirs["first"], "t": theirs["time"], "c": theirs["code"]})
    joined = {
        "last": "SELECT p.n, e.t, e.c FROM e ASOF JOIN p ON e.k = p.k AND e.t >= p.t WHERE e.t - p.t <= 50000",
        "every": "SELECT p.n, e.t, e.c FROM e JOIN p ON e.k = p.k AND e.t BETWEEN p.t AND p.t + 50000",
    }[attribution]
    told = duckdb.sql(f"SELECT n, arg_max(c, t) FROM ({joined}) GROUP BY n").fetchall()
    expected = np.full(4_000, -1)
    for number, code in told:
        expected[number] = code
    expected[own["time"] > 850_000] = -1
    assert found.codes.tolist() == expected.tolist()
    assert (expected >= 0).sum() > 500 and e.num_rows == p.num_rows + 2_000


def test_delays_that_are_cut_off_are_weighed():
    """Exponential delays, predictions watched for 0 to 6 days: the truth is known, and a plain quantile is far off."""
    chance = np.random.default_rng(0)
    day = 86_400
    true, seen = chance.exponential(2 * day, 200_000), chance.uniform(0, 6 * day, 200_000)
    there = true <= seen
    counts = delays.count((true[there] * 1e6).astype(np.int64), (seen[there] * 1e6).astype(np.int64))
    told = delays.describe(counts, 3 * day)
    assert told["events"] == there.sum()
    whole = 1 - np.exp(-3)
    for share, seconds in told["quantiles"]:
        exact = -2 * day * np.log(1 - share * whole)
        assert exact * 0.98 <= seconds <= exact * 1.15
    assert told["held"] == pytest.approx((1 - np.exp(-1.5)) / whole, abs=0.03)
    assert np.quantile(true[there], 0.95) < 0.8 * told["advised"]


def test_delays_without_cutting_off_are_plain_shares():
    """Everything was watched for long: the estimate is the share of events within each bin."""
    gaps = np.repeat([2, 8, 64, 1_024], [40, 30, 20, 10]).astype(np.int64) * 1_000_000
    counts = delays.count(gaps, np.full(100, 10**12))
    told = delays.describe(counts, 64.0)
    assert told["quantiles"] == [[0.5, 8.0], [0.9, 64.0], [0.95, 1_024.0], [0.99, 1_024.0]]
    assert told["held"] == pytest.approx(0.9) and told["advised"] == 1_024.0
    assert delays.describe(delays.count(gaps[:29], np.full(29, 10**12)), 64.0)["advised"] is None
    halves = delays.count(gaps[:50], np.full(50, 10**12)) + delays.count(gaps[50:], np.full(50, 10**12))
    assert (halves == counts).all()
    assert delays.describe(np.zeros_like(counts), 1.0)["events"] == 0


def test_a_product_limit_by_hand():
    """Three bins. Delay 1 seen of rows watched 1 and 4; delay 2 of a row watched 2; delay 4 of two watched 4."""
    second = 1_000_000
    counts = delays.count(np.array([1, 1, 2, 4, 4]) * second, np.array([1, 4, 2, 4, 4]) * second)
    within = delays.distribution(counts)
    at = lambda seconds: within[int(round(np.log2(seconds) * 8))]
    # At 4, of three rows watched for 4 two have delay 4; at 2, of two that were watched for 2 with delay up to 2, one has 2.
    assert at(4) == pytest.approx(1.0) and at(2) == pytest.approx(1 / 3) and at(1) == pytest.approx(1 / 6)
