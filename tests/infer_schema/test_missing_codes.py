"""A value that stands for a missing one is no member of an inferred domain, and no anomaly of the data it came from."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from headwater.components.collect import collect_dataset
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics


def write(path, share, rows=600):
    """Rows of which a share has "?" for its workclass."""
    kinds = ["Private", "State-gov", "Local-gov"]
    every = round(1 / share)
    lines = [f"{n},{'?' if n % every == 0 else kinds[n % 3]}" for n in range(rows)]
    path.write_text("age,workclass\n" + "\n".join(lines) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def inferred(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codes")
    data = collect_dataset(write(folder / "a.csv", 0.1), str(folder / "data"), workers=1)
    statistics = compute_statistics(data.folder, str(folder / "statistics"), workers=1)
    return folder, statistics, derive_schema(statistics.folder, str(folder / "schema"))


def test_a_code_is_no_member_of_the_domain(inferred):
    folder, statistics, result = inferred
    assert statistics.body["dataset"]["about"]["missing_codes"] == {"workclass": ["?"]}
    schema = text_format.Parse(result.read("schema.pbtxt").decode(), schema_pb2.Schema())
    [feature] = [each for each in schema.feature if each.name == "workclass"]
    values = list(feature.string_domain.value) or [
        value for domain in schema.string_domain if domain.name == feature.domain for value in domain.value
    ]
    assert sorted(values) == ["Local-gov", "Private", "State-gov"]
    assert 0.6 <= feature.distribution_constraints.min_domain_mass <= 0.8
    verdict = check_statistics(statistics.folder, result.folder, str(folder / "same"))
    # What collect says of it is all.
    assert [each["kind"] for each in verdict.body["findings"]] == ["missing_code"]


def test_more_of_it_later_is_an_anomaly(inferred):
    folder, _, schema = inferred
    data = collect_dataset(write(folder / "b.csv", 0.5), str(folder / "later"), workers=1)
    statistics = compute_statistics(data.folder, str(folder / "later statistics"), workers=1)
    verdict = check_statistics(statistics.folder, schema.folder, str(folder / "verdict"))
    assert "workclass" in {each["feature"] for each in verdict.body["findings"]}
