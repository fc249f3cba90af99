"""Feature skew by key against a plain join, over random rows and several partition sizes."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.validate.feature_skew import measure as feature_skew
from headwater.components.validate.feature_skew import measure_feature_skew


def write(folder, name, table):
    table = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=100)
    return str(folder / f"{name}.parquet")


def compare(folder, training, serving, **config):
    uris = [write(folder, name, table) for name, table in (("training", training), ("serving", serving))]
    return measure_feature_skew(uris[0], config={"serving": uris[1], "key": ["id"], **config}, workers=1)


def frames(seed, rows=1500):
    chance = np.random.default_rng(seed)
    ids = chance.choice(rows * 2, rows, replace=False)
    training = pd.DataFrame(
        {
            "id": ids,
            "fare": np.where(chance.random(rows) < 0.1, np.nan, chance.normal(size=rows)),
            "count": chance.integers(0, 5, rows),
            "kind": np.where(chance.random(rows) < 0.1, None, chance.choice(["a", "b", ""], rows)),
        }
    )
    serving = training.sample(frac=0.7, random_state=seed, ignore_index=True)
    serving.loc[::7, "fare"] += 0.5
    serving.loc[::11, "count"] = 9
    serving.loc[::13, "kind"] = None
    new = pd.DataFrame({"id": np.arange(rows * 2, rows * 2 + 40), "fare": 0.0, "count": 1, "kind": "a"})
    serving = pd.concat([serving, new, serving.iloc[:5]], ignore_index=True)
    training = pd.concat([training, training.iloc[-3:]], ignore_index=True)
    return training, serving


@pytest.mark.sweep(5)
@pytest.mark.parametrize("partition", [50, 100_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_are_those_of_a_plain_join(tmp_path, seed, partition, monkeypatch):
    monkeypatch.setattr(feature_skew, "PARTITION_ROWS", partition)
    training, serving = frames(seed)
    found = compare(tmp_path, training, serving)
    twice = {
        side: set(frame["id"][frame["id"].duplicated(keep=False)]) for side, frame in (("t", training), ("s", serving))
    }
    out = twice["t"] | twice["s"]
    one, other = (frame[~frame["id"].isin(out)] for frame in (training, serving))
    joined = one.merge(other, on="id", suffixes=("_t", "_s"))
    rows = found["rows"]
    assert rows["joined"] == len(joined)
    for side, own, frame in (("training", one, training), ("serving", other, serving)):
        assert rows[side] == {
            "rows": len(frame),
            "only": len(own) - len(joined),
            "left_out": int(frame["id"].isin(out).sum()),
        }
    for name in ("fare", "count", "kind"):
        a, b = joined[f"{name}_t"], joined[f"{name}_s"]
        missing = a.isna() != b.isna()
        differs = missing | (a.notna() & b.notna() & (a != b))
        assert (
            found["columns"][name]["differing"] == differs.sum() and found["columns"][name]["missing"] == missing.sum()
        )
        assert found["columns"][name]["share"] == differs.sum() / len(joined)
    gaps = (joined["fare_t"] - joined["fare_s"]).abs()
    assert found["columns"]["fare"]["max"] == pytest.approx(gaps.max())
    assert found["columns"]["fare"]["mean"] == pytest.approx(gaps.sum() / gaps.notna().sum())
    assert {f["feature"] for f in found["findings"]} == {"fare", "count", "kind"}


def test_two_workers_find_the_same(tmp_path):
    training, serving = frames(4)
    uris = [write(tmp_path, name, table) for name, table in (("t", training), ("s", serving))]
    config = {"serving": uris[1], "key": ["id"]}
    assert measure_feature_skew(uris[0], config=config, workers=2) == measure_feature_skew(
        uris[0], config=config, workers=1
    )


def test_values_are_compared_by_what_they_mean(tmp_path):
    day = datetime.date(2024, 1, 1)
    training = pa.table(
        {
            "id": [1, 2, 3, 4],
            "n": pa.array([1, 2, None, 4], pa.int32()),
            "x": [math.nan, 1.0, math.inf, 0.1],
            "d": [day] * 4,
            "l": pa.array([[1, 2], [], None, [3]]),
            "t": pa.array(["a", "é", "", None], pa.large_string()),
            "b": [True, False, None, True],
        }
    )
    serving = pa.table(
        {
            "id": pa.array([1, 2, 3, 4], pa.float64()),
            "n": [1.0, 2.5, None, 4.0],
            "x": [math.nan, 1.0, -math.inf, 0.1 + 1e-12],
            "d": pa.array([day, day, day, day + datetime.timedelta(1)], pa.date64()),
            "l": pa.array([[1, 2], [], [], [4]]),
            "t": pa.array(["a", "é", None, None]).dictionary_encode(),
            "b": [True, True, None, True],
        }
    )
    found = compare(tmp_path, training, serving)["columns"]
    assert {name: told["differing"] for name, told in found.items()} == {"n": 1, "x": 2, "d": 1, "l": 2, "t": 1, "b": 1}
    assert found["n"]["examples"] == [{"key": {"id": 2.0}, "training": 2.0, "serving": 2.5}]
    near = compare(tmp_path, training, serving, tolerance={"x": {"absolute": 1e-9}, "n": {"relative": 0.5}})["columns"]
    assert near["x"]["differing"] == 1 and near["n"]["differing"] == 0


def test_settings_change_what_is_found(tmp_path):
    training, serving = frames(5)
    found = compare(tmp_path, training, serving, columns=["count"], max_share=0.5, examples=2)
    assert (
        list(found["columns"]) == ["count"]
        and found["findings"] == []
        and len(found["columns"]["count"]["examples"]) == 2
    )


def test_private_values_and_keys_are_not_shown(tmp_path):
    rows = 60
    frame = pd.DataFrame({"email": [f"a{n}@example.org" for n in range(rows)], "card": [f"c{n}" for n in range(rows)]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = collect_dataset(str(tmp_path / "t.csv"), str(tmp_path / "data"), key=["email"], workers=1)
    assert "email" in dataset.body["private"]
    frame["card"] = "other"
    found = measure_feature_skew(dataset.folder, config={"serving": write(tmp_path, "s", frame)}, workers=1)
    assert found["rows"]["joined"] == rows and found["columns"]["card"]["differing"] == rows
    assert found["columns"]["card"]["examples"][0]["key"] == {"email": "(private)"} and "@example" not in str(found)


def test_keys_that_never_meet_are_a_finding(tmp_path):
    one, other = pd.DataFrame({"id": [1, 2], "x": [1, 2]}), pd.DataFrame({"id": [3, None], "x": [1, 2]})
    found = compare(tmp_path, one, other)
    assert [f["kind"] for f in found["findings"]] == ["COMPARISON_IMPOSSIBLE"]
    assert found["rows"]["serving"] == {"rows": 2, "only": 1, "left_out": 1}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"key": ["idd"]}, "feature_skew.key: training data has no column 'idd'; did you mean 'id'"),
        ({"columns": ["y"]}, "feature_skew.columns: training data has no column 'y'"),
        (
            {"columns": ["kind"], "tolerance": {"kind": {"absolute": 1.0}}},
            "feature_skew.tolerance.kind: the column must hold numbers; it holds string",
        ),
        ({"tolerance": {"x": {"absolute": -1.0}}}, "feature_skew.tolerance.x.absolute"),
        ({"tolerance": {"id": {}}}, "'id' is not compared"),
        ({"max_share": 2.0}, "feature_skew.max_share"),
        ({"kye": ["id"]}, "feature_skew.kye: there is no such setting; did you mean 'key'"),
        ({"key": []}, "name the columns that identify a row; _row_id comes from"),
        ({"columns": ["clash"]}, "'clash' is int64 in training and string in serving"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, config, message):
    training = pd.DataFrame({"id": [1], "x": [1.0], "kind": ["a"], "clash": [1]})
    with pytest.raises(HeadwaterError, match=message):
        compare(tmp_path, training, training.assign(clash="a"), **config)


@pytest.mark.parametrize("kinds", [("int64", "float64"), ("int64", "uint64"), ("uint64", "int64")])
def test_long_keys_of_two_types_do_not_fall_together(tmp_path, kinds):
    training = pa.table({"id": pa.array([2**53 + 1, 5], kinds[0]), "x": [1.0, 2.0]})
    serving = pa.table({"id": pa.array([2**53, 5], kinds[1]), "x": [9.0, 2.0]})
    found = compare(tmp_path, training, serving)
    assert found["rows"]["joined"] == 1 and found["columns"]["x"]["differing"] == 0


def test_tables_in_memory_do_as_well(tmp_path):
    training, serving = frames(4, 200)
    by_uri = compare(tmp_path, training, serving)
    config = {"serving": pa.Table.from_pandas(serving, preserve_index=False), "key": ["id"]}
    assert measure_feature_skew(training, config=config, workers=1)["rows"] == by_uri["rows"]
    with pytest.raises(HeadwaterError, match="training: must be a path or URI, or a table"):
        measure_feature_skew(3, config=config)
