"""The two worlds of dependencies give the same: the main pipeline on the sample in the images, and in this environment."""

from __future__ import annotations

import json
import math
import os
import re

import pyarrow.parquet as pq
import pytest
from google.protobuf import json_format, text_format
from pods import Pipeline, here, image, in_a_pod
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from headwater.components.common import results
from headwater.pipelines import sample
from headwater.pipelines.local import run_locally

MONTHS = (1, 7)
KINDS = {
    "collect": "dataset",
    "label": "labels",
    "generate-statistics": "statistics",
    "infer-schema": "schema",
    "validate": "anomalies",
}
"""What each task leaves."""

MAY_DIFFER = {
    r".*(bytes|sha256)": "pyarrow's versions write Parquet and Arrow files differently; the rows' digests are equal",
    r".*(page|index|path)(\[\d+\])?": "files are named after the attempt that wrote them",
    r".*fingerprint": "it has the digests of the files that were read",
    r"\.created.*": "when the run was",
}
"""What may differ in a manifest, by a pattern of its key, and why."""

NEARLY = 1e-12
"""Numpy's and Arrow's versions add in different orders: relative difference of numbers that are sums."""


def differences(one, other, key=""):
    """Where two values are not the same."""
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        return [found for name in one for found in differences(one[name], other[name], f"{key}.{name}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found for place in range(len(one)) for found in differences(one[place], other[place], f"{key}[{place}]")
        ]
    if isinstance(one, float) and isinstance(other, float):
        same = math.isclose(one, other, rel_tol=NEARLY, abs_tol=NEARLY)
    else:
        same = one == other
    return [] if same or any(re.fullmatch(pattern, key) for pattern in MAY_DIFFER) else [(key, one, other)]


def projects(place):
    """The sample's projects by month; all that they read and write lies within a folder."""
    files = place / "_sample"
    files.mkdir(parents=True)
    months, weather, landings = sample.write_months(files), sample.write_weather(files), sample.write_landings(files)
    for month in MONTHS:
        project = sample.project(weather)
        project["collect"]["span"] = month
        project["label"].update(inputs={"landings": str(landings[month])}, as_of=sample._ENDS[month])
        yield month, project | {"sources": [str(months[month])], "platform": {"data_root": str(place), "workers": 2}}


def by_task(place, run):
    """The results' URIs by month and task, of the compiled tasks in the order of their graph."""
    found = {}
    for month, project in projects(place):
        done = Pipeline(place / f"_run-{month}", project, run).to_its_end()
        assert {task: each.code for task, each in done.done.items()} == dict.fromkeys(done.tasks(), 0), done.done
        found[month] = {task: uri for (task, key), uri in done.parameters.items() if key == "uri"}
    return found


def by_docker_runner(place):
    """The same, by kfp's own runner of containers."""
    pytest.importorskip("docker", reason="kfp's DockerRunner needs the package docker, which make test-pods installs")
    found = {}
    for month, project in projects(place):
        outcome = run_locally(project, docker=True)
        assert outcome.passed, outcome.summary
        found[month] = {task: outcome.results[kind].uri for task, kind in KINDS.items()}
        print(outcome.summary)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    image("headwater-core"), image("headwater-tfdv")
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture(scope="module")
def ours(folder):
    return by_task(folder / "here", here)


@pytest.fixture(scope="module", params=["pods", "docker_runner"])
def worlds(request, folder, ours):
    """The folders and results of both: in the images, as pods or by kfp's DockerRunner, and here."""
    place = folder / request.param
    theirs = by_task(place, in_a_pod) if request.param == "pods" else by_docker_runner(place)
    return (place, theirs), (folder / "here", ours)


def pairs(worlds, task):
    """The results of a task in both worlds, a month at a time."""
    for month in MONTHS:
        yield tuple(results.load(found[month][task], KINDS[task]) for _, found in worlds)


@pytest.mark.parametrize("task", KINDS)
def test_manifests_say_the_same(worlds, task):
    """Row digests, accounts, classes, measures, findings and verdicts among them."""
    for month in pairs(worlds, task):
        texts = [json.dumps(each.body).replace(str(place), "") for each, (place, _) in zip(month, worlds)]
        assert differences(*map(json.loads, texts)) == []


@pytest.mark.parametrize("task", ["collect", "label"])
def test_rows_are_the_same(worlds, task):
    """The shards' own digests: independent of the order of rows and of how a file is written."""
    for month in pairs(worlds, task):
        digests = [
            pq.read_table(each.locate(split["index"]))["digest"].to_pylist()
            for each in month
            for split in each.body["splits"].values()
        ]
        half = len(digests) // 2
        assert digests[:half] == digests[half:] and all(map(all, digests)) and half


def binary(content, message):
    """As `text_format.Parse` is called."""
    message.ParseFromString(content)


def messages(result, pattern, make, parse):
    """The messages of the files that match, as plain values."""
    found = {}
    for name in filter(re.compile(pattern).fullmatch, result.manifest["files"]):
        message = make()
        with open(os.path.join(result.folder, name), "rb") as file:
            parse(file.read(), message)
        found[name] = json_format.MessageToDict(message)
    return found


@pytest.mark.parametrize(
    ("task", "pattern", "make", "parse"),
    [
        ("infer-schema", r"schema\.pbtxt", schema_pb2.Schema, text_format.Parse),
        ("generate-statistics", r".*/FeatureStats\.pb", statistics_pb2.DatasetFeatureStatisticsList, binary),
        ("validate", r".*/SchemaDiff\.pb", anomalies_pb2.Anomalies, binary),
    ],
)
def test_protos_are_the_same(worlds, task, pattern, make, parse):
    for one, other in pairs(worlds, task):
        found = [messages(each, pattern, make, parse) for each in (one, other)]
        assert found[0] and differences(*found) == []
