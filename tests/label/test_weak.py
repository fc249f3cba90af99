"""Weak supervision on data that is not as the examples are: other types, rare votes, many classes, no gold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from headwater.components.common.errors import HeadwaterError
from headwater.components.label import label_dataset
from headwater.components.label.classes import check_kind, numbers

ROWS = 600


def trips(**more) -> pa.Table:
    """Trips, late or not, of which three columns tell something."""
    chance = np.random.default_rng(3)
    late = chance.random(ROWS) < 0.4
    columns = {f"c{number}": chance.normal(size=ROWS) + 2 * late for number in range(3)}
    return pa.table({"id": np.arange(ROWS), "late": late, **columns, **more})


def functions() -> list[dict]:
    return [
        {"name": f"f{number}", "sql": f"CASE WHEN c{number} > 1.2 THEN 'late' WHEN c{number} < 0.8 THEN 'fine' END"}
        for number in range(3)
    ]


def step(**more) -> list[dict]:
    return [{"method": "weak_supervision", "classes": ["fine", "late"], "functions": functions(), **more}]


def label(tmp_path, table: pa.Table, given: list[dict], **more):
    path = tmp_path / "trips.parquet"
    pq.write_table(table, path)
    return label_dataset(str(path), str(tmp_path / "labels"), steps=given, workers=1, **more)


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.struct([("a", pa.string())]),
        pa.map_(pa.string(), pa.string()),
        pa.binary(),
        pa.binary(4),
        pa.dictionary(pa.int8(), pa.binary()),
    ],
)
def test_a_gold_column_that_names_no_class_is_told_before_the_work(tmp_path, kind):
    table = trips(gold=pa.nulls(ROWS, kind))
    with pytest.raises(
        HeadwaterError, match=r"steps\.0.*gold: column 'gold' is .*; give text, integers, booleans or a"
    ):
        label(tmp_path, table, step(gold="gold"))


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (pa.array(["b", None, "x", "a"], pa.large_string()), ("a", "b")),
        (pa.array(["b", None, "x", "a"]).dictionary_encode(), ("a", "b")),
        (pa.array(["b", None, "x", "a"], pa.large_string()).dictionary_encode(), ("a", "b")),
        (pa.array([1, None, 7, 0], pa.int8()), ("0", "1")),
        (pa.array([1, None, 7, 0], pa.uint64()), ("0", "1")),
        (pa.array([1, None, 7, 0], pa.float64()), ("0", "1")),
    ],
)
def test_classes_come_in_several_types(values, classes):
    check_kind("gold", "gold", values.type)
    assert numbers(values, classes).tolist() == [1, -1, -2, 0]


def test_booleans_and_nothing_are_classes_too():
    for values, expected in ((pa.array([True, None, False]), [1, -1, 0]), (pa.nulls(2), [-1, -1])):
        check_kind("gold", "gold", values.type)
        assert numbers(values, ("false", "true")).tolist() == expected
