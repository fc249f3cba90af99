"""Two exercises that data validation is taught with, done with our components, and TFDV's own calls beside them.

The census (training, evaluation with anomalies, serving without a label) and diabetes patients (domains relaxed,
environments, skew of a diagnosis). The rows are made here, with the columns and the troubles of the originals.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from headwater.components.common.tfdv import tfdv
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics

COUNTRIES = ["United-States", "Mexico", "Philippines", "Germany", "Canada", "India"]


def census(seed, rows, foreign=0.1):
    chance = np.random.default_rng(seed)
    years = chance.integers(1, 17, rows)
    rich = chance.random(rows) < 1 / (1 + np.exp(4 - 0.3 * years))
    return pd.DataFrame(
        {
            "age": chance.integers(17, 91, rows),
            "workclass": chance.choice(
                ["Private", "Self-emp", "State-gov", "Federal-gov"], rows, p=[0.7, 0.15, 0.1, 0.05]
            ),
            "fnlwgt": chance.integers(12_000, 1_500_000, rows),
            "education-num": years,
            "occupation": chance.choice(["Sales", "Craft-repair", "Exec-managerial", "Prof-specialty"], rows),
            "race": chance.choice(["White", "Black", "Other"], rows, p=[0.85, 0.1, 0.05]),
            "hours-per-week": chance.integers(1, 100, rows),
            "native-country": chance.choice(COUNTRIES, rows, p=[1 - foreign, *[foreign / 5] * 5]),
            "label": np.where(rich, ">50K", "<=50K"),
        }
    )


def patients(seed, rows, diagnoses=0.2):
    chance = np.random.default_rng(seed)
    first = 1 - 2 * diagnoses
    return pd.DataFrame(
        {
            "age": chance.choice([f"[{n}-{n + 10})" for n in range(0, 100, 10)], rows),
            "time_in_hospital": chance.integers(1, 15, rows),
            "diag_1": chance.choice(["428", "414", "786"], rows, p=[first, diagnoses, diagnoses]),
            "payer_code": np.where(chance.random(rows) < 0.4, None, chance.choice(["MC", "HM", "BC"], rows)),
            "metformin": chance.choice(["No", "Steady", "Up", "Down"], rows, p=[0.7, 0.2, 0.05, 0.05]),
            "glimepiride": chance.choice(["No", "Steady"], rows, p=[0.9, 0.1]),
            "readmitted": chance.choice(["NO", ">30", "<30"], rows),
        }
    )


class Exercise:
    def __init__(self, folder):
        self.folder, self.number = folder, 0

    def _at(self):
        self.number += 1
        return str(self.folder / str(self.number))

    def statistics(self, frame):
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), f"{self._at()}.parquet")
        return compute_statistics(f"{self.folder}/{self.number}.parquet", self._at(), workers=1)

    def schema(self, statistics, **settings):
        return derive_schema(statistics.folder, self._at(), **settings)

    def check(self, statistics, schema, **settings):
        return check_statistics(statistics.folder, schema.folder, self._at(), **{"baseline": "none", **settings})


@pytest.fixture
def exercise(tmp_path):
    return Exercise(tmp_path)


def proto(statistics):
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(statistics.read("Split-all/FeatureStats.pb"))


def text(schema):
    return text_format.Parse(schema.read("schema.pbtxt").decode(), schema_pb2.Schema())


def assert_tfdvs_own(verdict, statistics, schema, **sides):
    """The anomalies are those that TFDV's calls give from its own statistics of the same rows."""
    theirs = tfdv.validate_statistics(statistics, schema, **sides)
    ours = anomalies_pb2.Anomalies.FromString(verdict.read("Split-all/SchemaDiff.pb"))
    assert {name: [(r.type, r.description) for r in info.reason] for name, info in ours.anomaly_info.items()} == {
        name: [(r.type, r.description) for r in info.reason] for name, info in theirs.anomaly_info.items()
    }


def kinds(verdict):
    return {(f["split"], f["feature"], f["kind"], f["severity"]) for f in verdict.body["findings"]}


def test_census_income(exercise):
    train, evaluation = census(1, 4000), census(2, 1500)
    # What the exercise adds to the evaluation rows.
    evaluation.loc[0, ["age", "race"]] = [46, "Unknown"]
    evaluation.loc[1, ["age", "workclass"]] = [0, "Freelance"]
    evaluation.loc[2, "age"] = 1000
    evaluation.loc[3, "occupation"] = "Plumber"
    measured, other = exercise.statistics(train), exercise.statistics(evaluation)
    base = exercise.schema(measured, infer="tfdv")
    inferred = tfdv.infer_schema(tfdv.generate_statistics_from_dataframe(train))
    for part in ("feature", "string_domain"):
        found, expected = ({each.name: each for each in getattr(side, part)} for side in (text(base), inferred))
        assert found == expected

    first = exercise.check(other, exercise.schema(other, base_schema=base.folder))
    theirs = tfdv.generate_statistics_from_dataframe(evaluation)
    assert_tfdvs_own(first, theirs, text(base))
    assert not first.body["blessed"] and {f[1] for f in kinds(first)} == {"race", "workclass", "occupation"}
    guessed = exercise.check(other, base)
    assert guessed.body["verdict"].endswith("the schema was inferred from other data, not accepted yet")
    assert exercise.check(measured, base).body["verdict"].endswith("inferred from this data, not accepted yet")

    # Curated: ages have limits, nine in ten workclasses must be known, races and occupations may be new.
    races, occupations = (sorted({*train[name], *evaluation[name]}) for name in ("race", "occupation"))
    curation = {
        "environments": ["TRAINING", "SERVING"],
        "features": {
            "age": {"min": 17, "max": 90},
            "workclass": {"min_domain_mass": 0.9},
            "race": {"domain": races},
            "occupation": {"domain": occupations},
            "label": {"not_in_environment": ["SERVING"]},
        },
    }
    curated = exercise.schema(measured, base_schema=base.folder, curation=curation)
    second = exercise.check(other, curated, environment="TRAINING")
    assert_tfdvs_own(second, theirs, text(curated), environment="TRAINING")
    assert {f[1:3] for f in kinds(second)} == {("age", "INT_TYPE_SMALL_INT"), ("age", "INT_TYPE_BIG_INT")}

    # The rows to blame are dropped, and the rest is blessed.
    clean = exercise.statistics(evaluation[evaluation["age"].between(17, 90)])
    assert exercise.check(clean, curated, environment="TRAINING").body["blessed"]

    # Serving data has no label: an anomaly where one is expected, and none in its environment.
    serving = census(3, 1500).drop(columns=["label"])
    served = exercise.statistics(serving)
    assert ("all", "label", "SCHEMA_MISSING_COLUMN", "error") in kinds(
        exercise.check(served, curated, environment="TRAINING")
    )
    assert exercise.check(served, curated, environment="SERVING").body["blessed"]


def test_census_skew_and_drift(exercise):
    """`native-country` in L-infinity: serving data from elsewhere, and a later span that moved."""
    train = census(1, 4000)
    measured = exercise.statistics(train)
    schema = exercise.schema(
        measured, curation={"features": {"native-country": {"skew_threshold": 0.01, "drift_threshold": 0.01}}}
    )
    serving, later = census(2, 4000, foreign=0.3), census(3, 4000, foreign=0.25)
    served, moved = exercise.statistics(serving), exercise.statistics(later)
    skewed = exercise.check(measured, schema, config={"serving": {"statistics": served.folder}})
    generate = tfdv.generate_statistics_from_dataframe
    assert_tfdvs_own(skewed, generate(train), text(schema), serving_statistics=generate(serving))
    [measure] = [m for m in skewed.body["measures"] if m["set_by"] == "schema"]
    assert measure["value"] == pytest.approx(0.2, abs=0.02) and measure["against"] == "SKEW"
    drifted = exercise.check(moved, schema, baseline=measured.folder)
    assert_tfdvs_own(drifted, generate(later), text(schema), previous_statistics=generate(train))
    assert ("all", "native-country", "DRIFT", "error") in kinds(drifted)
    # Our own test says the same, and nothing of the columns that did not move.
    moved_at_all = {c["feature"] for c in drifted.body["changes"] if c["alarm"]}
    assert moved_at_all == {"native-country"}


def test_hospital_diabetes(exercise):
    train, evaluation, serving = patients(1, 5000), patients(2, 1500), patients(3, 1500, diagnoses=0.3)
    evaluation.loc[:3, "glimepiride"] = "Up"
    evaluation.loc[:1, "metformin"] = "Paused"
    serving = serving.drop(columns=["readmitted"])
    measured, other, served = (exercise.statistics(frame) for frame in (train, evaluation, serving))
    base = exercise.schema(measured, infer="tfdv")
    first = exercise.check(other, exercise.schema(other, base_schema=base.folder))
    theirs = tfdv.generate_statistics_from_dataframe(evaluation)
    assert_tfdvs_own(first, theirs, text(base))
    assert {f[1] for f in kinds(first)} == {"glimepiride", "metformin"}

    # The medicines share one domain, and one in ten of metformin's values may be anything.
    doses = ["No", "Steady", "Up", "Down"]
    curation = {
        "environments": ["TRAINING", "SERVING"],
        "features": {
            "glimepiride": {"domain": doses},
            "metformin": {"domain": doses, "min_domain_mass": 0.9},
            "readmitted": {"not_in_environment": ["SERVING"]},
            "diag_1": {"skew_threshold": 0.03},
            "payer_code": {"drift_threshold": 0.03},
        },
    }
    curated = exercise.schema(measured, base_schema=base.folder, curation=curation)
    assert exercise.check(other, curated, environment="TRAINING").body["blessed"]
    assert exercise.check(served, curated, environment="SERVING").body["blessed"]

    config = {"serving": {"statistics": served.folder, "environment": "SERVING"}}
    verdict = exercise.check(measured, curated, environment="TRAINING", baseline=other.folder, config=config)
    generate = tfdv.generate_statistics_from_dataframe
    assert_tfdvs_own(
        verdict,
        generate(train),
        text(curated),
        environment="TRAINING",
        previous_statistics=theirs,
        serving_statistics=generate(serving),
    )
    [skew] = [m for m in verdict.body["measures"] if m["feature"] == "diag_1" and m["set_by"] == "schema"]
    assert skew["value"] > 0.03 and ("all", "diag_1", "SKEW", "error") in kinds(verdict)
    assert not any(f[1] == "payer_code" for f in kinds(verdict))
    # A label that serving need not have is not missing there.
    assert not any(f[1] == "readmitted" for f in kinds(verdict))
    elsewhere = exercise.check(measured, curated, environment="TRAINING", config={"serving": {"statistics": served}})
    assert ("all", "readmitted", "COMPARISON_IMPOSSIBLE", "warning") in kinds(elsewhere)
