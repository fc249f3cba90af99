"""Rules on outliers: what they find among real workers, held against the formulas over all rows."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.rows import outliers
from headwater.components.validate.rows.quarantine import check_rows

ROWS = 5_000
PLANTED = [3, 1_200, 4_999]


def table_of(seed: int = 0) -> pa.Table:
    """A correlated pair, of which planted rows leave the relation and no column's own range; and a heavy column."""
    chance = np.random.default_rng(seed)
    distance = chance.normal(0, 1, ROWS)
    fare = distance + chance.normal(0, 0.1, ROWS)
    tip = chance.normal(10, 1, ROWS)
    tip[PLANTED] = [100, -100, 60]
    return pa.table({"id": np.arange(ROWS), "distance": distance, "fare": fare, "tip": tip})


def write(folder, table: pa.Table, shards: int = 3) -> str:
    folder.mkdir(parents=True)
    step = -(-table.num_rows // shards)
    for shard in range(shards):
        pq.write_table(table.slice(shard * step, step), folder / f"part-{shard}.parquet", row_group_size=700)
    return str(folder)


def found(dataset: str, folder, rule: dict, **options) -> tuple[list[int], object]:
    """The quarantined ids, and the report."""
    report = check_rows(
        dataset, config={"rules": [{"name": "far", "outliers": rule}]}, quarantine=str(folder), **options
    )
    files = [str(path) for path in folder.rglob("*.parquet") if not path.name.startswith("_")]
    return sorted(ds.dataset(files).to_table()["id"].to_pylist()) if files else [], report


@pytest.mark.parametrize("workers", [1, 2])
def test_planted_values_are_found_and_no_others(tmp_path, workers):
    dataset = write(tmp_path / "data", table_of())
    ids, report = found(dataset, tmp_path / "q", {"columns": ["tip", "fare"]}, workers=workers)
    assert ids == PLANTED
    (finding,) = report.findings
    assert "(tip, fare) within 8 robust standard deviations is broken by 3 of 5,000 rows" in finding["message"]
    assert [each["values"]["tip"] for each in finding["examples"]] == [100, -100, 60]


def test_beyond_and_columns_decide_what_is_far(tmp_path):
    table = table_of()
    tip = table["tip"].to_numpy()
    z = np.abs(tip - np.median(tip)) / (1.4826 * np.median(np.abs(tip - np.median(tip))))
    dataset = write(tmp_path / "data", table)
    assert found(dataset, tmp_path / "a", {"columns": ["tip"], "beyond": 3})[0] == np.flatnonzero(z > 3).tolist()
    assert found(dataset, tmp_path / "b", {"columns": ["tip"], "beyond": 120})[0] == []
    assert found(dataset, tmp_path / "c", {"columns": ["fare"]})[0] == []


def test_isolation_finds_rows_apart_that_no_column_shows(tmp_path):
    chance = np.random.default_rng(5)
    group = chance.choice([-4.0, 4.0], ROWS)
    x, y = group + chance.normal(0, 1, ROWS), group + chance.normal(0, 1, ROWS)
    x[PLANTED], y[PLANTED] = 30.0, -30.0
    dataset = write(tmp_path / "data", pa.table({"id": np.arange(ROWS), "x": x, "y": y}))
    rule = {"columns": ["x", "y"], "method": "isolation"}
    ids, _ = found(dataset, tmp_path / "a", rule)
    assert ids == PLANTED
    assert found(dataset, tmp_path / "b", rule, workers=2)[0] == ids
    assert found(dataset, tmp_path / "c", {**rule, "beyond": 0.99})[0] == []


@pytest.mark.slow
def test_a_seed_grows_another_forest(tmp_path):
    dataset = write(tmp_path / "data", table_of())
    rule = {"columns": ["tip", "fare", "distance"], "method": "isolation", "beyond": 0.6}
    runs = [found(dataset, tmp_path / str(seed), {**rule, "seed": seed})[0] for seed in range(4)]
    assert len({tuple(ids) for ids in runs}) > 1


def test_a_reference_says_what_is_usual(tmp_path):
    moved = table_of().set_column(3, "tip", pa.array(np.random.default_rng(9).normal(60, 1, ROWS)))
    dataset, usual = write(tmp_path / "now", moved), write(tmp_path / "then", table_of())
    assert found(dataset, tmp_path / "a", {"columns": ["tip"]})[0] == []
    ids, report = found(dataset, tmp_path / "b", {"columns": ["tip"], "reference": usual})
    assert len(ids) == ROWS
    assert report.quarantine.body["lineage"]["references.far"]["uri"] == usual


def test_a_sample_of_many_rows_tells_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(outliers, "SAMPLE_ROWS", 1_000)
    dataset = write(tmp_path / "data", table_of())
    assert found(dataset, tmp_path / "q", {"columns": ["tip"]}, workers=1)[0] == PLANTED


def test_holes_and_infinity_and_every_type_of_number(tmp_path):
    values = np.random.default_rng(1).normal(0, 1, 400)
    values[5], values[9] = math.inf, math.nan
    column = pa.array(values, mask=np.arange(400) == 7)
    whole = pa.array([1_000_000 if row == 11 else row % 7 for row in range(400)], pa.int64())
    table = pa.table({"id": np.arange(400), "x": column, "n": whole, "d": whole.cast(pa.decimal128(22, 2))})
    dataset = write(tmp_path / "data", table)
    assert found(dataset, tmp_path / "a", {"columns": ["x"]})[0] == [5]
    assert found(dataset, tmp_path / "b", {"columns": ["n"]})[0] == [11]
    assert found(dataset, tmp_path / "c", {"columns": ["d"]})[0] == [11]
    assert found(dataset, tmp_path / "d", {"columns": ["x", "n"], "method": "isolation"})[0] == [5, 11]


def test_with_too_few_rows_it_says_that_nothing_was_judged(tmp_path):
    dataset = write(tmp_path / "data", table_of().slice(0, 50), shards=1)
    ids, report = found(dataset, tmp_path / "q", {"columns": ["tip"]})
    (finding,) = report.findings
    assert ids == [] and finding["kind"] == "RULE_NOT_JUDGED" and finding["severity"] == "warning"
    assert "none of its columns has 100 numbers" in finding["message"]


def test_a_tolerance_lets_some_pass(tmp_path):
    dataset = write(tmp_path / "data", table_of())
    rule = {"name": "far", "severity": "warning", "tolerance": 0.001, "outliers": {"columns": ["tip"]}}
    assert not check_rows(dataset, config={"rules": [rule]}).findings
    (finding,) = check_rows(dataset, config={"rules": [{**rule, "tolerance": 0.0005}]}).findings
    assert finding["severity"] == "warning"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"columns": []}, "at least 1 item"),
        ({"columns": ["tip", "tip"]}, "must not name the same column twice"),
        ({"columns": ["tipp"]}, "there is no column 'tipp'; did you mean 'tip'"),
        ({"columns": ["word"]}, "column 'word' is string; outliers need columns of numbers"),
        ({"columns": ["tip"], "method": "guess"}, "robust_z"),
        ({"columns": ["tip"], "beyond": 0}, "greater than 0"),
        ({"columns": ["tip"], "beyond": math.nan}, "beyond"),
        ({"columns": ["tip"], "method": "isolation", "beyond": 1}, "are below 1"),
        ({"columns": ["tip"], "reference": "nowhere"}, r"outliers.reference: .*nowhere"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_its_key(tmp_path, rule, message):
    table = table_of().append_column("word", pa.array(["x"] * ROWS))
    dataset = write(tmp_path / "data", table)
    with pytest.raises(HeadwaterError, match=message):
        check_rows(dataset, config={"rules": [{"name": "far", "outliers": rule}]})
