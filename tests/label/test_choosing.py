"""Which steps are run, by how fast the ground truth changes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.label import label_dataset
from headwater.components.validate import check_statistics

CLASSES = ["no", "yes"]
DIRECT = {
    "method": "direct", "classes": CLASSES, "feedback": "events", "served": "served", "occurred": "at", "window": "1h",
    "outcome": "said",
}  # fmt: skip
WEAK = {
    "method": "weak_supervision",
    "classes": CLASSES,
    "model": "majority",
    "functions": [{"name": "x", "sql": "IF(x > 0, 'yes', 'no')"}],
}
LATER = np.datetime64("2026-01-02", "us")


def span_of(folder, number, wrong):
    """A span in which `wrong` of the truth is turned over."""
    chance = np.random.default_rng(number)
    x = chance.normal(size=4_000)
    truth = np.where((x > 0) ^ (chance.random(len(x)) < wrong), "yes", "no")
    served = pa.array(np.full(len(x), LATER - np.timedelta64(1, "D")))
    pq.write_table(
        pa.table({"id": np.arange(len(x)), "x": x, "truth": truth, "served": served}), folder / f"{number}.parquet"
    )
    return collect_dataset(
        str(folder / f"{number}.parquet"), str(folder / f"d{number}"), name="n", span=number, key=["id"], workers=1,
        data_root=str(folder / "root"), splits={"train": 1.0},
    )  # fmt: skip


def verdict_of(folder, number, wrong, days):
    dataset = span_of(folder, number, wrong)
    statistics = compute_statistics(dataset.folder, str(folder / f"s{number}"), workers=1)
    schema = derive_schema(statistics.folder, str(folder / f"c{number}"))
    config = {"concept": {"label": "truth", "columns": ["x"], "span_days": days}}
    return check_statistics(statistics.folder, schema.folder, str(folder / f"v{number}"), config=config, workers=1)


def labelled(folder, dataset, output, method, steps=(DIRECT, WEAK)):
    at = pa.array(np.full(2, LATER - np.timedelta64(23, "h")))
    pq.write_table(pa.table({"id": np.arange(2), "at": at, "said": ["yes", "no"]}), folder / "events.parquet")
    return label_dataset(
        dataset.uri, str(folder / output), steps=list(steps), inputs={"events": str(folder / "events.parquet")},
        as_of="2026-01-02", workers=1, method=method,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return folder, span_of(folder, 1, 0.0)


@pytest.mark.parametrize(
    ("days", "pace", "run"),
    [
        pytest.param(1, "hours", ["direct", "weak_supervision"], marks=pytest.mark.slow),
        pytest.param(10, "days", ["direct", "weak_supervision"], marks=pytest.mark.slow),
        (100, "weeks", ["direct"]),
    ],
)
def test_a_verdict_s_pace_chooses_the_steps(tmp_path, days, pace, run):
    verdict_of(tmp_path, 1, 0.0, days)
    verdict = verdict_of(tmp_path, 2, 0.2, days)
    third = span_of(tmp_path, 3, 0.2)
    result = labelled(tmp_path, third, "l3", "auto")
    chosen = result.body["chosen"]
    assert (chosen["pace"], chosen["run"], chosen["verdict"]) == (pace, run, verdict.uri)
    assert chosen["left_out"] == [name for name in ("direct", "weak_supervision") if name not in run]
    assert [step["method"] for step in result.body["steps"]] == run
    assert f"labels last {pace} (span 2: after about" in chosen["reason"]
    assert (
        f"labels last {pace} (span 2: after about" in storage.read_bytes(storage.join(result.uri, result.page)).decode()
    )


def test_without_a_verdict_all_steps_run_and_it_says_why(plain):
    folder, dataset = plain
    result = labelled(folder, dataset, "auto", "auto")
    assert [step["method"] for step in result.body["steps"]] == ["direct", "weak_supervision"]
    assert result.body["chosen"]["pace"] is None
    assert "no verdict of an earlier span tells how fast the ground truth changes" in result.body["chosen"]["reason"]


def test_a_pace_that_is_given(plain):
    folder, dataset = plain
    every, weeks = (labelled(folder, dataset, name, name) for name in ("all", "weeks"))
    assert every.body["chosen"] is None and len(every.body["steps"]) == 2
    assert weeks.body["chosen"]["reason"] == "labels last weeks (the project says so)"
    assert weeks.body["labelled"]["abstained"] == 3_998 and every.body["labelled"]["abstained"] == 0
    with pytest.raises(HeadwaterError, match="method: labels last weeks .*, for which direct .*suits, and no step has"):
        labelled(folder, dataset, "none", "weeks", [WEAK])
    with pytest.raises(
        HeadwaterError, match="method: must be one of all, auto, months, weeks, days, hours; given: 'slow'"
    ):
        labelled(folder, dataset, "none", "slow")
