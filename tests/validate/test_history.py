"""What earlier spans teach, and what drift and skew are measured from."""

from __future__ import annotations

import numpy as np
import pytest
from spans import orders, save_statistics

from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics import merge_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics
from headwater.components.validate.baselines import find_baseline
from headwater.components.validate.history import Past, learn, read

KEY = ("train", "x")


def past(effects, first=1):
    return [Past(first + place, True, {KEY: effect}, frozenset()) for place, effect in enumerate(effects)]


def test_nothing_is_learnt_from_little():
    assert learn([], KEY, 9) is None and learn(past([0.1] * 7), KEY, 8) is None
    assert learn(past([0.1] * 8), ("eval", "x"), 9) is None
    assert learn(past([0.1] * 13), KEY, 14, season=7) is None and learn(past([0.1] * 14), KEY, 15, season=7) is not None


def test_a_threshold_is_the_level_and_its_spread():
    chance = np.random.default_rng(1)
    effects = 0.2 + 0.01 * chance.normal(size=40)
    effects[7] = 5.0  # One outlier moves nothing.
    found = learn(past(effects), KEY, 41)
    assert found == pytest.approx(0.2 + 4 * 0.01, abs=0.025)
    assert learn(past([0.1] * 10), KEY, 11) == pytest.approx(0.1)


def test_a_trend_goes_on():
    chance = np.random.default_rng(2)
    effects = 0.01 * np.arange(1, 31) + 0.001 * chance.normal(size=30)
    assert learn(past(effects), KEY, 31) == pytest.approx(0.31 + 4 * 0.001, abs=0.005)
    assert learn(past(effects), KEY, 50) == pytest.approx(0.50, abs=0.02)
    # Falling, it is never below nothing.
    assert learn(past(effects[::-1]), KEY, 60) >= 0


def test_a_season_is_known_by_its_phase():
    chance = np.random.default_rng(3)
    effects = [(0.5 if span % 7 == 0 else 0.05) + 0.002 * chance.normal() for span in range(1, 43)]
    sunday, monday = (learn(past(effects), KEY, span, season=7) for span in (49, 50))
    assert sunday == pytest.approx(0.5, abs=0.03) and monday == pytest.approx(0.05, abs=0.03)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve spans whose amount moves by as much each time, and then by more."""
    folder = tmp_path_factory.mktemp("history")
    for span in range(1, 13):
        run(folder, span, 0.5 * (span % 2))
    return folder


def run(folder, span, shift, **settings):
    frame = orders(span)
    frame["amount"] += shift
    statistics = save_statistics(folder, {"train": frame}, span=span)
    schema = derive_schema(statistics.folder, str(folder / f"schema-{span}-{len(settings)}"))
    return check_statistics(
        statistics.folder, schema.folder, str(folder / f"verdict-{span}-{len(settings)}"), **settings
    )


def test_thresholds_are_learnt_from_history(folder):
    known = read(results_home(folder, 13))
    assert [each.span for each in known] == list(range(1, 13))
    usual = run(folder, 13, 0.5)
    [change] = [each for each in usual.body["changes"] if each["feature"] == "amount"]
    # The same step as ever is significant, and no alarm any more.
    assert change["set_by"] == "learnt" and change["adjusted"] < 0.01 and not change["alarm"]
    early = [each.alarms for each in known[1:8]]
    assert all(("train", "amount") in alarms for alarms in early)
    unusual = run(folder, 14, 3.0)
    [finding] = [each for each in unusual.body["findings"] if each["kind"] == "DRIFT"]
    assert finding["feature"] == "amount" and "learned from earlier spans" in finding["message"]
    page = unusual.read("page.html").decode()
    assert "Over 14 spans" in page and "alarms" in page and page.count('class="trend"') == 4


def results_home(folder, span):
    from headwater.components.common.results import Home

    return Home(str(folder / "root"), "orders", span, 1)


def test_a_baseline_can_be_a_season_or_a_window(folder):
    home = results_home(folder, 10)
    season = find_baseline("season:7", home)
    assert season.reference()["uri"].endswith("span=3/version=1/statistics") and season.title == "the span 7 spans ago"
    window = find_baseline("window:4", home)
    assert [each.body["dataset"]["span"] for each in window.results] == [6, 7, 8, 9]
    assert window.rows("train") == 4000 and window.rows("test") is None and window.statistics("train") is None
    merged = merge_statistics([each.folder for each in window.results], str(folder / "merged"))
    assert merged.body["splits"]["train"]["rows"] == 4000
    summed, whole = window.features("train"), find_baseline(merged.folder, None).features("train")
    for path, feature in whole.items():
        other = summed[path]
        assert (other.rows, other.missing, other.values) == (feature.rows, feature.missing, feature.values)
        counts = [dict(zip(each.texts.to_pylist(), each.counts.tolist())) for each in (feature, other)]
        assert counts[0] == counts[1]
        if feature.numeric:
            assert (other.low, other.high) == (feature.low, feature.high)
            assert np.interp(0.5, np.cumsum(other.weights) / 4000, other.points) == pytest.approx(
                np.interp(0.5, np.cumsum(feature.weights) / 4000, feature.points), abs=0.01
            )
    assert find_baseline("window:4", results_home(folder, 1)) is None
    assert find_baseline("season:7", results_home(folder, 5)) is None
    for wrong in ("window:", "season:0", "window:x"):
        with pytest.raises(HeadwaterError, match="must be followed by a number of spans"):
            find_baseline(wrong, home)
    with pytest.raises(HeadwaterError, match="no data_root is set"):
        find_baseline("window:3", None)


def test_drift_is_measured_from_a_window(folder):
    verdict = run(folder, 11, 0.5, baseline="window:4")
    assert len(verdict.body["baseline"]["others"]) == 3
    [amount] = [each for each in verdict.body["changes"] if each["feature"] == "amount"]
    assert (
        0
        < amount["effect"]
        < [e for e in run(folder, 11, 0.5).body["changes"] if e["feature"] == "amount"][0]["effect"]
    )


def test_skew_is_measured_from_serving_data(tmp_path):
    training = save_statistics(tmp_path, {"train": orders(1), "eval": orders(2)}, span=1)
    frame = orders(3).drop(columns=["country"])
    frame.loc[::3, "kind"] = "book"
    serving = save_statistics(tmp_path, {"all": frame})
    curation = {"features": {"amount": {"min": 0.0}}}
    schema = derive_schema(training.folder, str(tmp_path / "schema"), curation=curation)
    config = {"serving": {"statistics": serving.folder}}
    result = check_statistics(training.folder, schema.folder, str(tmp_path / "out"), config=config)
    found = {(f["split"], f["feature"], f["kind"]) for f in result.body["findings"]}
    assert ("train", "kind", "SKEW") in found and ("serving", "country", "SCHEMA_MISSING_COLUMN") in found
    assert ("train", "country", "COMPARISON_IMPOSSIBLE") in found and not any(f[2] == "DRIFT" for f in found)
    assert {m["against"] for m in result.body["measures"]} == {"SKEW"}
    assert "serving" in result.manifest["inputs"] and "Serving data" in result.read("page.html").decode()
    plain = check_statistics(training.folder, schema.folder, str(tmp_path / "plain"))
    assert plain.body["findings"] == [] and plain.body["serving"] is None
    nothing = save_statistics(tmp_path, {"all": frame.iloc[:0]})
    empty = check_statistics(
        training.folder, schema.folder, str(tmp_path / "empty"), config={"serving": {"statistics": nothing.folder}}
    )
    assert ("serving", "EMPTY_SPLIT") in {(f["split"], f["kind"]) for f in empty.body["findings"]}
    with pytest.raises(HeadwaterError, match="config.serving.environment: the schema has no environment 'X'"):
        check_statistics(
            training.folder,
            schema.folder,
            str(tmp_path / "no"),
            config={"serving": {"statistics": serving.folder, "environment": "X"}},
        )
