"""Charts: one axis for all sides, bins that a few far values do not widen, ticks and words; ids that links can name."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from headwater.components.common import charts
from headwater.components.common.charts import Bin, Ticks
from headwater.components.common.histograms import BINS, FEW, Side, bins_of, codes_of, side_of
from headwater.components.common.pages import Unit, anchor

NOTHING = Ticks(math.nan, math.nan, math.nan)


def heights(path):
    return [float(y) for y in re.findall(r"V(\d+)", path)][:-1]


def test_a_few_far_values_do_not_press_the_others_together():
    values = np.append(np.linspace(0, 1, 2_400), [1e20, np.inf, np.nan])
    bins, [ticks] = bins_of([side_of(values)], Unit())
    assert len(bins) == BINS + 1 and bins[-1].high == ticks.high == 1e20
    assert all(0.03 < each.shares[0] < 0.07 for each in bins[:-1])
    assert sum(each.shares[0] for each in bins) == pytest.approx(1)


def test_few_numbers_have_a_bin_each_and_integers_share_bins_evenly():
    bins, _ = bins_of([side_of(np.array([7.0, 7, 1]))], Unit())
    assert [(each.name, each.shares[0]) for each in bins] == [("1", 1 / 3), ("7", 2 / 3)]
    days = np.tile(np.arange(1.0, 32), 10)
    assert len(np.unique(days)) > FEW
    bins, _ = bins_of([side_of(days)], Unit())
    # No comb: each bin but the last holds two days.
    assert {round(each.shares[0], 4) for each in bins[:-1]} == {round(2 / 31, 4)}


@pytest.mark.parametrize(
    "values",
    [
        [1.7e308, -1.7e308] * 30,
        [0.0, 5e-324] * 30,
        np.linspace(-1.7e308, 1.7e308, 99),
        np.arange(99) * 2.0**53,
        [5e-324],
    ],
)
def test_numbers_at_the_ends_of_their_type_are_drawn(values):
    bins, ticks = bins_of([side_of(np.asarray(values, float))], Unit())
    drawn = charts.steps("x", bins, ["all"], ticks)
    assert drawn["outlines"][0] and "nan" not in str(drawn) and "inf" not in str(drawn)
    assert sum(each.shares[0] for each in bins) == pytest.approx(1)


def test_sides_have_the_same_bins_and_one_scale():
    one, other = Side(np.arange(100.0), np.full(100, 3.0)), Side(np.arange(50.0), np.ones(50), nan=50.0)
    bins, ticks = bins_of([one, other], Unit())
    assert bins[-1].name == "NaN" and bins[-1].shares == (0, 0.5)
    drawn = charts.steps("x", bins, ["train", "eval"], ticks)
    # Each of the second side's bins holds as much of its values as the first side's.
    assert heights(drawn["outlines"][0])[0] == heights(drawn["outlines"][1])[0]
    assert drawn["rest"] == ["NaN: train 0 %, eval 50.0 %"]
    assert (drawn["low"], drawn["high"], drawn["middle"]) == ("0", "99", "median 49 → 24")
    assert drawn["bins"][0]["text"] == "0 to 5: train 5.0 %, eval 5.0 %"
    assert drawn["ends"] == "train min 0, median 49, max 99; eval min 0, median 24, max 49"
    nobody, _ = bins_of([Side(np.zeros(0), np.zeros(0))], Unit())
    assert nobody == [] and charts.steps("x", [], ["all"], [NOTHING]) is None


def test_open_ends_and_single_values_lie_where_they_belong():
    bins = [Bin("below 1", (0.1, 0.0), -math.inf, 1), Bin("1", (0.9, 0.5), 1, 1), Bin("above 1", (0, 0.5), 1, math.inf)]
    drawn = charts.steps("x", bins, ["a", "b"], [Ticks(-4, 1, 1), Ticks(1, 7, 9)], marked="above 1")
    assert (drawn["low"], drawn["high"]) == ("-4", "9") and [each["marked"] for each in drawn["bins"]] == [
        False,
        False,
        True,
    ]
    assert drawn["medians"] == [(0, 120.0), (1, 200.0)] and drawn["most"] == "90.0 %"


def test_categories_share_one_scale_and_the_rest_has_no_bar():
    bins = [Bin("a", (0.5, 0.25)), Bin("", (0.3, 0.2)), Bin("c", (0.2, 0.55))]
    drawn = charts.rows("x", bins, ["then", "now"], most_rows=2, marked="a")
    assert [(row["name"], row["marked"]) for row in drawn["rows"]] == [("a", True), ("(empty)", False)]
    assert drawn["rows"][0]["shares"] == [("50.0 %", 100.0), ("25.0 %", 50.0)]
    assert drawn["others"] == {"name": "1 more", "shares": ["20.0 %", "55.0 %"]}
    assert charts.rows("x", [], ["all"]) is None


def test_anchors_tell_names_apart_and_need_no_escape():
    names = ["a b", "a.b", "a-b", "a%20b", "a.20b", "ä", "a", "", "<b>", "\ud800"]
    found = [anchor("feature", name) for name in names]
    assert len(set(found)) == len(names) and all(re.fullmatch(r"[\w.-]+", each, re.ASCII) for each in found)
    assert anchor("feature", "dep_delay") == "feature-dep_delay"


def test_few_integers_are_shown_by_name_and_others_as_numbers():
    def side(*values):
        return side_of(np.array(values, float))

    shown = codes_of([side(60601, 60614, 60614), side(60601)])
    assert [(each.name, each.shares) for each in shown] == [("60601", (1 / 3, 1.0)), ("60614", (2 / 3, 0.0))]
    assert not codes_of([side(*range(9))]) and not codes_of([side(0.5, 1)])
    assert not codes_of([side()])


def test_medians_that_are_wider_than_the_chart_stand_below_it():
    bins = [Bin("all", (1.0, 1.0), 0, 1)]
    ticks = [Ticks(0, 0, 1), Ticks(0, 1, 1)]
    times = {0: "2026-01-01 10:00:00", 1: "2026-02-01 10:00:00"}
    drawn = charts.steps("at", bins, ["a", "b"], ticks, read=times.get)
    assert drawn["middle"] == "" and drawn["rest"] == ["median 2026-01-01 10:00:00 → 2026-02-01 10:00:00"]
