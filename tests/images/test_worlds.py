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


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """The results' URIs by world and month, and the folder of each world."""
    image("headwater-core"), image("headwater-tfdv")
    folder = tmp_path_factory.mktemp("worlds")
    files, weather, landings = sample.write_months(folder), sample.write_weather(folder), sample.write_landings(folder)
    found = {}
    for name, run in (("image", in_a_pod), ("here", here)):
        for month in files:
            project = sample.project(weather)
            project["collect"]["span"] = month
            project["label"].update(inputs={"landings": str(landings[month])}, as_of=sample._ENDS[month])
            project |= {"sources": [str(files[month])], "platform": {"data_root": str(folder / name), "workers": 2}}
            done = Pipeline(folder / f"{name}-{month}", project, run).to_its_end()
            assert {task: each.code for task, each in done.done.items()} == dict.fromkeys(done.tasks(), 0), done.done
            found[name, month] = {task: uri for (task, key), uri in done.parameters.items() if key == "uri"}
    return folder, found


def pairs(worlds, task, kind):
    """The results of a task in both worlds, a month at a time."""
    _, found = worlds
    for month in (1, 7):
        yield tuple(results.load(found[name, month][task], kind) for name in ("image", "here"))


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("collect", "dataset"),
        ("label", "labels"),
        ("generate-statistics", "statistics"),
        ("infer-schema", "schema"),
        ("validate", "anomalies"),
    ],
)
def test_manifests_say_the_same(worlds, task, kind):
    """Row digests, accounts, classes, measures, findings and verdicts among them."""
    folder, _ = worlds
    for one, other in pairs(worlds, task, kind):
        texts = [
            json.dumps(each.body).replace(f"{folder / name}", "") for each, name in ((one, "image"), (other, "here"))
        ]
        assert differences(*map(json.loads, texts)) == []


@pytest.mark.parametrize(("task", "kind"), [("collect", "dataset"), ("label", "labels")])
def test_rows_are_the_same(worlds, task, kind):
    """The shards' own digests: independent of the order of rows and of how a file is written."""
    for month in pairs(worlds, task, kind):
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
    ("task", "kind", "pattern", "make", "parse"),
    [
        ("infer-schema", "schema", r"schema\.pbtxt", schema_pb2.Schema, text_format.Parse),
        (
            *("generate-statistics", "statistics", r".*/FeatureStats\.pb", statistics_pb2.DatasetFeatureStatisticsList),
            binary,
        ),
        (
            *("validate", "anomalies", r".*/SchemaDiff\.pb", anomalies_pb2.Anomalies),
            binary,
        ),
    ],
)
def test_protos_are_the_same(worlds, task, kind, pattern, make, parse):
    for one, other in pairs(worlds, task, kind):
        found = [messages(each, pattern, make, parse) for each in (one, other)]
        assert found[0] and differences(*found) == []
