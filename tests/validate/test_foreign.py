"""validate on statistics and schemas that TFDV wrote, and TFX lays out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from google.protobuf import text_format

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics import compute_statistics
from headwater.components.validate import check_statistics
from headwater.pipelines.cli import main


def frame(seed: int, kinds: str = "abc", rows: int = 400) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    return pd.DataFrame({"amount": chance.normal(10, 1, rows), "kind": chance.choice(list(kinds), rows)})


@pytest.fixture(scope="module")
def day():
    """TFDV's statistics of two days; on the second there is a new kind."""
    return [tfdv.generate_statistics_from_dataframe(frame(seed, kinds)) for seed, kinds in ((1, "abc"), (2, "abcd"))]


@pytest.fixture(scope="module")
def schema(day, tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "schema.pbtxt"
    tfdv.write_schema_text(tfdv.infer_schema(day[0]), str(path))
    return path


def as_proto(statistics, folder):
    (folder / "FeatureStats.pb").write_bytes(statistics.SerializeToString())
    return folder / "FeatureStats.pb"


def as_record(statistics, folder):
    with tf.io.TFRecordWriter(str(folder / "stats.tfrecord")) as writer:
        writer.write(statistics.SerializeToString())
    return folder / "stats.tfrecord"


def as_text(statistics, folder):
    tfdv.write_stats_text(statistics, str(folder / "stats.pbtxt"))
    return folder / "stats.pbtxt"


def as_folder(statistics, folder):
    as_record(statistics, folder)
    return folder


@pytest.mark.parametrize("write", [as_proto, as_record, as_text, as_folder])
def test_every_form_that_tfdv_writes(day, schema, tmp_path, write):
    (tmp_path / "given").mkdir()
    result = check_statistics(str(write(day[1], tmp_path / "given")), str(schema), str(tmp_path / "out"))
    [found] = result.body["findings"]
    assert (found["split"], found["feature"], found["severity"]) == ("all", "kind", "error")
    assert result.read("Split-all/SchemaDiff.pb")
    assert "kind" in result.read("page.html").decode()
    [statistics] = result.manifest["inputs"]["statistics"]["sources"]
    assert statistics["rows"] == 400 and len(statistics["sha256"]) == 64


def test_what_tfdv_wrote_of_the_first_day_passes(day, schema, tmp_path):
    result = check_statistics(str(as_proto(day[0], tmp_path)), str(schema.parent), str(tmp_path / "out"))
    assert result.body["blessed"] and not result.body["findings"]
    assert "schema was given" in result.body["verdict"]


@pytest.fixture
def tfx(day, tmp_path):
    """As TFX's StatisticsGen lays out two runs."""
    for name, splits in (("1", (day[0], day[0])), ("2", (day[0], day[1]))):
        for split, statistics in zip(("train", "eval"), splits):
            folder = tmp_path / name / f"Split-{split}"
            folder.mkdir(parents=True)
            as_proto(statistics, folder)
    return tmp_path


def test_a_folder_of_tfx(tfx, schema):
    result = check_statistics(str(tfx / "2"), str(schema), str(tfx / "out"))
    assert [(found["split"], found["feature"]) for found in result.body["findings"]] == [("eval", "kind")]
    assert result.files() == ["Split-eval/SchemaDiff.pb", "Split-train/SchemaDiff.pb", "page.html"]


def test_a_baseline_is_compared_by_the_schemas_thresholds_alone(day, tfx, tmp_path):
    agreed = tfdv.infer_schema(day[0])
    tfdv.get_feature(agreed, "kind").drift_comparator.infinity_norm.threshold = 0.1
    agreed.string_domain[0].value.append("d")
    (tmp_path / "schema.pbtxt").write_text(text_format.MessageToString(agreed))
    given = (str(tfx / "2"), str(tmp_path / "schema.pbtxt"))
    result = check_statistics(*given, str(tmp_path / "out"), baseline=str(tfx / "1"))
    [found] = result.body["findings"]
    assert (found["split"], found["feature"], found["check"]) == ("eval", "kind", "drift")
    [drift] = [check for check in result.body["checks"] if check["name"] == "drift"]
    assert "no State.arrow of generate-statistics" in drift["skipped"] and drift["errors"] == 1
    measured = {(each["split"], each["feature"]): each["value"] for each in result.body["measures"]}
    assert measured["train", "kind"] == 0 and measured["eval", "kind"] > 0.1
    serving = {"serving": {"statistics": str(tfx / "1" / "Split-eval" / "FeatureStats.pb")}}
    result = check_statistics(*given, str(tmp_path / "served"), config=serving)
    [skew] = [check for check in result.body["checks"] if check["name"] == "skew"]
    assert "no State.arrow" in skew["skipped"]


def test_ours_against_tfdvs(day, schema, tmp_path):
    frame(2, "abcd").to_parquet(tmp_path / "a.parquet")
    compute_statistics(str(tmp_path / "a.parquet"), str(tmp_path / "statistics"), workers=1)
    (tmp_path / "tfdv").mkdir()
    before = as_proto(day[0], tmp_path / "tfdv")
    result = check_statistics(str(tmp_path / "statistics"), str(schema), str(tmp_path / "out"), baseline=str(before))
    assert [found["feature"] for found in result.body["findings"]] == ["kind"]
    assert result.body["baseline"]["uri"] == str(before)


def test_rows_are_judged_where_they_are_given(day, schema, tmp_path):
    statistics = str(as_proto(day[1], tmp_path))
    rules = {"rows": {"rules": [{"name": "dear", "row": "amount < 10"}]}}
    with pytest.raises(HeadwaterError, match="the statistics do not name their dataset; give it here"):
        check_statistics(statistics, str(schema), str(tmp_path / "out"), config=rules)
    result = check_statistics(
        statistics, str(schema), str(tmp_path / "out"), config=rules, dataset=frame(2, "abcd"), workers=1
    )
    assert any(found["check"] == "rows" and "dear" in found["message"] for found in result.body["findings"])
    assert result.manifest["settings"]["dataset"].startswith("a table in memory (SHA-256 ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pb", b"\xff\xff\xff", "not statistics: it is not a DatasetFeatureStatisticsList"),
        ("a.pb", b"", "these statistics hold no dataset"),
        ("none", None, "no statistics are here: neither _manifest.json"),
    ],
)
def test_what_is_no_statistics(tmp_path, schema, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(HeadwaterError, match=message):
        check_statistics(str(tmp_path / name), str(schema), str(tmp_path / "out"))


def test_a_damaged_record_and_slices_without_all_rows(day, schema, tmp_path):
    path = as_record(day[0], tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(HeadwaterError, match=r"stats\.tfrecord: not statistics"):
        check_statistics(str(path), str(schema), str(tmp_path / "out"))
    several = type(day[0])(datasets=[day[0].datasets[0], day[1].datasets[0]])
    for number, dataset in enumerate(several.datasets):
        dataset.name = f"kind_{number}"
    with pytest.raises(HeadwaterError, match="2 slices, none of 'All Examples'"):
        check_statistics(str(as_proto(several, tmp_path)), str(schema), str(tmp_path / "out"))


def test_a_schema_that_is_none(day, tmp_path):
    statistics = str(as_proto(day[0], tmp_path))
    (tmp_path / "schema.pbtxt").write_text("feature {\n name: 3\n}")
    with pytest.raises(HeadwaterError, match=r"schema\.pbtxt: not a schema: 2:"):
        check_statistics(statistics, str(tmp_path / "schema.pbtxt"), str(tmp_path / "out"))
    with pytest.raises(HeadwaterError, match="no schema is here"):
        check_statistics(statistics, str(tmp_path / "none"), str(tmp_path / "out"))


def test_on_the_command_line(day, schema, tmp_path, capsys):
    assert main(["validate", str(as_proto(day[1], tmp_path)), str(schema), "--output", str(tmp_path / "out")]) == 0
    assert "1 error" in capsys.readouterr().out
    assert main(["gate", str(tmp_path / "out")]) == 1
