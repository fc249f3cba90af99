"""Rules of source health, each with a case where it speaks and cases where it must be silent."""

from __future__ import annotations

import datetime
import itertools

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats

from headwater.components.collect import collect_dataset, rules
from headwater.components.collect.rules import RULES, Evidence, Outcome, health
from headwater.components.collect.rules.findings import finding
from headwater.components.collect.rules.health import (
    _two_shares,
    advise_refresh,
    check_columns,
    check_freshness,
    check_models,
    check_sources,
    check_stuck,
    check_volume,
    theil_sen,
)
from headwater.components.collect.settings import check_settings
from headwater.components.common.significance import benjamini_hochberg

NOON = datetime.datetime(2013, 7, 1, 12, tzinfo=datetime.UTC)


def column(missing=0, run=1, constant=False):
    return {
        "type": "double",
        "missing": missing,
        "min": 0.0,
        "max": 1.0,
        "constant": constant,
        "longest_run": run,
        "newest": None,
    }


def profile(rows=1000, **columns):
    return {"rows": rows, "columns": columns}


@pytest.mark.parametrize(
    ("newest", "severities"),
    [
        ("2013-07-01T06:00:00Z", []),
        ("2013-06-29T00:00:00Z", ["error"]),
        ("2013-07-03T12:00:01Z", ["warning"]),
        (None, []),
    ],
)
def test_the_newest_event_may_be_neither_old_nor_to_come(newest, severities):
    found = check_freshness(newest, NOON, datetime.timedelta(hours=36))
    assert [each["severity"] for each in found] == severities


def weekly(weeks, growth=1.01, seed=3):
    chance = np.random.default_rng(seed)
    shape = [1.0, 1.05, 1.1, 1.0, 0.95, 0.6, 0.4]
    return [(day, int(10_000 * growth**day * shape[day % 7] * chance.normal(1, 0.02))) for day in range(7 * weeks)]


def test_a_quiet_sunday_is_no_finding_and_half_a_tuesday_is():
    history = weekly(11)
    for day in range(70, 77):
        assert check_volume(day, history[day][1], history[:day], 7, 0.5) == []
        [found] = check_volume(day, history[day][1] // 2, history[:day], 7, 0.5)
        assert found["rule"] == "volume" and "fewer than expected" in found["message"]
    assert check_volume(71, history[71][1] * 2, history[:71], 7, 0.5)[0]["message"].count("more than expected") == 1


@pytest.mark.parametrize(("rows", "told"), [(100, False), (149, False), (151, True), (60, True), (70, False)])
def test_with_few_spans_the_tolerance_counts(rows, told):
    assert bool(check_volume(2, rows, [(1, 100)], 0, 0.5)) == told


def test_unchanged_volume_is_never_a_finding():
    for seed in range(20):
        rows = np.random.default_rng(seed).poisson(5000, 30)
        history = list(enumerate(rows.tolist()))
        assert check_volume(30, int(np.random.default_rng(seed + 99).poisson(5000)), history, 0, 0.5) == []


def test_the_robust_line_is_the_median_of_all_slopes():
    x, y = np.arange(9.0), np.array([1, 3, 5, 7, 99, 11, 13, 15, 17.0])
    assert theil_sen(x, y) == (2.0, 1.0)
    slopes = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in itertools.combinations(range(9), 2)]
    assert theil_sen(x, y)[0] == np.median(slopes)


def test_missing_shares_are_compared_with_the_last_span():
    before = profile(5000, a=column(50), b=column(50), gone=column())
    now = profile(5000, a=column(60), b=column(600), new=column())
    found = {each["rule"]: each["column"] for each in check_columns(now, before)}
    assert found == {"missing_share": "b", "column_added": "new", "column_gone": "gone"}
    [fuller], [emptier] = (
        check_columns(*each)
        for each in ((profile(5000, b=column(m)), profile(5000, b=column(n))) for m, n in ((5, 600), (600, 5)))
    )
    assert "stopped filling" in emptier["action"] and "what fills it now" in fuller["action"]


def test_a_thousand_unchanged_columns_raise_no_alarm():
    for seed in range(10):
        chance = np.random.default_rng(seed)
        before, now = (
            profile(2000, **{f"c{i}": column(int(m)) for i, m in enumerate(chance.binomial(2000, 0.1, 1000))})
            for _ in "ab"
        )
        assert check_columns(now, before) == []


def test_false_discoveries_are_held_as_benjamini_and_hochberg_say():
    chances = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    # The example of their paper's method by hand: the largest k with p(k) <= k/m·q.
    largest = max(k for k, p in enumerate(sorted(chances), 1) if p <= k / 10 * 0.05)
    assert (benjamini_hochberg(chances) <= 0.05).sum() == largest == 2
    assert not len(benjamini_hochberg([]))


def test_a_stuck_sensor_is_told_and_constants_and_short_runs_are_not():
    found = check_stuck(
        profile(1000, stuck=column(run=300), constant=column(run=1000, constant=True), short=column(run=40))
    )
    assert [each["column"] for each in found] == ["stuck"]


def test_a_source_without_rows_is_told_when_others_have_some():
    sources = [{"uri": "in/a.csv", "rows": 5, "bytes": 1}, {"uri": "in/b.csv", "rows": 0, "bytes": 1}]
    [found] = check_sources(sources, [{"uri": "old/b.csv", "rows": 7, "bytes": 1}])
    assert found["message"] == "in/b.csv has no rows (it had 7 in the last span)"
    assert check_sources(sources[1:], []) == []


def test_another_version_of_a_model_is_told():
    now, was = {"s": {"model": "ranker", "version": "8"}}, {"s": {"model": "ranker", "version": "7"}}
    assert "errors of one model compound" in check_models(now, was)[0]["message"]
    assert check_models(now, now) == []
    assert [each["column"] for each in check_models({}, was)] == ["s"]


def span(number, newest, hours, fingerprint=None):
    end = NOON + datetime.timedelta(hours=newest)
    return {
        "span": number,
        "newest": end.isoformat(),
        "oldest": (end - datetime.timedelta(hours=hours)).isoformat(),
        "fingerprint": fingerprint or str(number),
    }


def test_the_interval_observed_and_the_one_advised():
    assert advise_refresh([span(i, 24 * i, 24) for i in range(5)]) == []
    [often] = advise_refresh([span(i, 24 * i, 6) for i in range(5)])
    assert (often["value"], often["limit"]) == (24.0, 6.0)
    [rare] = advise_refresh([span(i, 24 * (i // 3), 24) for i in range(9)])
    assert rare["limit"] > rare["value"] and "no newer events" in rare["message"]


def test_twenty_unchanged_spans_have_no_findings():
    settings = check_settings(max_age="2d", event_time="at")
    for seed in range(20):
        chance = np.random.default_rng(seed)
        spans = []
        for number in range(12):
            rows = int(chance.poisson(3000))
            columns = {f"c{i}": column(int(chance.binomial(rows, 0.05)), run=3) for i in range(40)}
            spans.append(
                {
                    "rows": rows,
                    "profile": profile(rows, **columns),
                    "sources": [],
                    "models": {},
                    **span(number, 24 * number, 24),
                }
            )
        as_of = NOON + datetime.timedelta(days=11, hours=3)
        evidence = Evidence({}, pa.schema([]), settings, spans[-1], as_of, history=spans[:-1])
        for rule in RULES:
            if rule.__module__ == health.__name__:
                assert rule(evidence).findings == []


def test_the_rules_speak_through_the_whole_of_collect(tmp_path):
    def run(number, rows, missing=0, version="1", stuck=0, **options):
        lines = [
            f"{i},{'' if i < missing else i / 7},{5 if i < stuck else i},2013-07-{number:02d}T{i % 24:02d}:00:00"
            for i in range(rows)
        ]
        path = tmp_path / f"{number}.csv"
        path.write_text("id,x,s,at\n" + "\n".join(lines) + "\n")
        found = collect_dataset(
            str(path),
            str(tmp_path / "out"),
            workers=1,
            data_root=str(tmp_path / "root"),
            event_time="at",
            model_outputs={"x": {"model": "m", "version": version}},
            analyse=False,
            **options,
        )
        return found, {each["rule"] for each in found.body["findings"]}

    first, rules = run(1, 1000, as_of="2013-07-02", max_age="36h")
    assert rules == set() and first.body["health"]["newest"] == "2013-07-01T23:00:00Z"
    assert run(2, 1000, as_of="2013-07-03", max_age="36h")[1] == set()
    assert run(3, 300, missing=100, version="2", stuck=200, as_of="2013-07-09", max_age="36h")[1] == {
        "volume",
        "missing_share",
        "model_version",
        "stuck",
        "stale",
    }


@pytest.mark.parametrize("spans", [5, 6, 8, 14, 21, 35])
@pytest.mark.parametrize("season", [0, 7])
def test_few_spans_of_plain_noise_raise_few_alarms(spans, season):
    alarms = 0
    for seed in range(100):
        chance = np.random.default_rng(seed)
        shape = [1.0, 1.05, 1.1, 1.0, 0.95, 0.6, 0.5] if season else [1.0] * 7
        rows = [int(10_000 * shape[day % 7] * chance.normal(1, 0.05)) for day in range(spans + 1)]
        alarms += bool(check_volume(spans, rows[-1], list(enumerate(rows[:-1])), season, 1.0))
    assert alarms <= 5


def test_no_rows_at_all_and_an_only_source_that_ran_dry_are_told():
    assert check_volume(3, 0, [(1, 100), (2, 100)], 0, 0.5)[0]["message"].startswith("there are no rows")
    assert len(check_sources([{"uri": "a.csv", "rows": 0, "bytes": 5}], [{"uri": "a.csv", "rows": 9, "bytes": 5}])) == 1


def test_a_time_that_stays_is_no_stuck_sensor_and_a_small_move_of_much_is_no_finding():
    stays = {**column(run=900), "type": "timestamp[us]"}
    assert check_stuck(profile(1000, at=stays)) == []
    assert check_columns(profile(90_000, a=column(47_000)), profile(90_000, a=column(45_000))) == []


@pytest.mark.parametrize("rows", [1, 2, 5, 20, 150, 1000, 40_000])
@pytest.mark.parametrize("earlier", [1, 3, 30, 2000, 100_000])
@pytest.mark.parametrize("share", [0.0, 0.004, 0.1, 0.5, 0.98, 1.0])
def test_chances_of_two_shares_decide_as_fishers_test_does(rows, earlier, share):
    rng = np.random.default_rng([rows, earlier, int(1000 * share)])
    for other in (share, min(1.0, share + 0.3)):
        missing, before = int(rng.binomial(rows, other)), int(rng.binomial(earlier, share))
        expected = scipy.stats.fisher_exact([[missing, rows - missing], [before, earlier - before]]).pvalue
        found = _two_shares(missing, rows, before, earlier)
        # With many rows an approximation serves, which draws the line where the test does.
        exact = found == pytest.approx(expected, rel=1e-6)
        assert exact or (found < 0.001) == (expected < 0.001) or 2e-4 < expected < 5e-3


@pytest.mark.parametrize("rows", [5, 20, 60, 400])
def test_shares_that_did_not_move_are_no_findings_at_any_size(rows):
    rng = np.random.default_rng(rows)
    alarms = 0
    for _ in range(200):
        profiles = [
            {"rows": size, "columns": {f"x{n}": {"missing": int(rng.binomial(size, 0.005))} for n in range(50)}}
            for size in (rows, 10_000)
        ]
        alarms += bool(check_columns(*profiles))
    # One in 1,000 is promised; more than 4 of 200 have a chance below 1 in 10,000 then.
    assert alarms <= 4


def test_a_rule_is_a_function_and_a_line(tmp_path, monkeypatch):
    def few_columns(evidence):
        return Outcome([finding("few_columns", "warning", None, f"only {len(evidence.schema)} columns")], {"width": 2})

    monkeypatch.setattr(rules, "RULES", (*rules.RULES, few_columns))
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(200)))
    result = collect_dataset(str(path), str(tmp_path / "out"), workers=1)
    assert ("few_columns", "only 2 columns") in {(each["rule"], each["message"]) for each in result.body["findings"]}
    assert result.body["analysis"]["width"] == 2
    assert "few_columns" in (tmp_path / "out" / "_page.html").read_text()
