"""Unchanged data raises no alarm at any size, few rows get a verdict, and no threshold is silently void."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headwater.components.collect import collect_dataset
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
import false_alarms  # noqa: E402

SIZES = (5, 10, 20, 40, 60, 80, 100, 128)
SIMULATIONS = 12


def test_unchanged_data_raises_no_alarm_at_any_pair_of_small_sizes():
    found = sum(false_alarms.simulate((seed, 10, SIZES)) for seed in range(SIMULATIONS))
    # At one alarm in a hundred pairs no pair of sizes has so many, but for one run in a million.
    most = int(stats.binom.isf(1e-6 / len(SIZES) ** 2, SIMULATIONS, 0.01))
    assert found.max() <= most, found
    # Over all pairs, which share samples: below the bar of one in twenty.
    assert found.sum() <= 0.05 * SIMULATIONS * len(SIZES) ** 2, found


def test_what_changed_much_is_found_among_few_rows():
    found = sum(false_alarms.planted((seed, 100)) for seed in range(12))
    by_name = dict(zip(false_alarms._PLANTED, found.tolist()))
    assert by_name["mean by 1 sd"] >= 10


def day(folder, number, table, **options):
    path = folder / f"day{number}.csv"
    table.to_csv(path, index=False)
    root = str(folder / "root")
    out = str(folder / f"data{number}")
    collect_dataset(str(path), out, data_root=root, span=number, workers=1, analyse=False, **options)
    return compute_statistics(out, str(folder / f"statistics{number}"), workers=1)


def verdict(folder, number, measured, schema, **options):
    return check_statistics(measured.folder, schema.folder, str(folder / f"anomalies{number}"), **options).body


@pytest.mark.sweep(3)
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 16, 40])
def test_few_rows_have_a_verdict(tmp_path, rows):
    chance = np.random.default_rng(rows)
    days = [
        pd.DataFrame({"id": range(rows * n, rows * n + rows), "x": chance.normal(size=rows), "kind": ["a"] * rows})
        for n in (1, 2)
    ]
    first, second = [
        day(tmp_path, number, table, splits={"train": 0.8, "eval": 0.2} if rows > 5 else {"all": 1.0})
        for number, table in enumerate(days, 1)
    ]
    schema = derive_schema(first.folder, str(tmp_path / "schema"))
    body = verdict(tmp_path, 2, second, schema)
    assert body["blessed"]
    told = {split: each for each in body["findings"] if each["kind"] == "TOO_FEW_ROWS" for split in each["splits"]}
    few = {name for name, split in second.body["splits"].items() if 0 < split["rows"] < 10}
    assert few <= set(told) | {each["split"] for each in body["findings"] if each["kind"] == "EMPTY_SPLIT"}
    for each in told.values():
        assert each["severity"] == "info" and each["message"].startswith("too few rows to compare: ")
    assert [each for each in body["findings"] if each["severity"] == "error"] == []


def test_a_threshold_that_tfdv_does_not_measure_is_told_and_the_test_goes_on(tmp_path):
    # A base schema of another team, which no curation of ours has checked.
    frames = [
        pd.DataFrame({"id": range(n, n + 400), "code": np.arange(400) % 3 + shift}) for n, shift in ((0, 1), (400, 7))
    ]
    first, second = [day(tmp_path, number, frame) for number, frame in enumerate(frames, 1)]
    text = derive_schema(first.folder, str(tmp_path / "made")).read("schema.pbtxt").decode()
    place = text.index('name: "code"')
    given = tmp_path / "given.pbtxt"
    given.write_text(text[:place] + "drift_comparator { infinity_norm { threshold: 0.01 } }\n  " + text[place:])
    schema = derive_schema(second.folder, str(tmp_path / "schema"), base_schema=str(given), mode="frozen")
    body = verdict(tmp_path, 2, second, schema)
    about = [(each["kind"], each["message"]) for each in body["findings"] if each["feature"] == "code"]
    assert any(kind == "COMPARISON_IMPOSSIBLE" and "L-infinity" in message for kind, message in about), about
    assert any(kind == "DRIFT" for kind, _ in about), about
