"""Personal data inside a struct hides where it is, and nothing beside it."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.collect.privacy import detect
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema


def judged(values, kind=None):
    column = pa.array(values, kind)
    counts = detect.scan(column)
    found = detect.judge("person", column.type, counts, len(column) - column.null_count)
    return {each["kind"] for each in found}, detect.private_paths("person", column.type, counts, found)


MAILS = [f"ann{n}@example.org" for n in range(60)]


def test_paths_of_structs_and_of_lists_of_them():
    rows = [{"mail": mail, "colour": "red", "home": {"zip": n, "city": "Oslo"}} for n, mail in enumerate(MAILS)]
    assert judged(rows) == ({"email"}, ["mail"])
    deep = [{"contacts": [{"mail": mail, "kind": "work"}], "size": 3} for mail in MAILS]
    assert judged(deep) == ({"email"}, ["contacts.mail"])
    both = [{"mail": mail, "first_name": "Ann", "size": 3} for mail in MAILS]
    kinds, paths = judged(both)
    assert kinds == {"email", "name"} and sorted(paths) == ["first_name", "mail"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([{"all": [("mail", mail)], "size": 1} for mail in MAILS],
         pa.struct([("all", pa.map_(pa.string(), pa.string())), ("size", pa.int64())])),
        ([{"a.b": mail, "a": {"b": 1}} for mail in MAILS], None),
        (MAILS, None),
        ([[mail] for mail in MAILS], None),
    ],
    ids=["map", "dots", "text", "list"],
)  # fmt: skip
def test_without_a_certain_path_the_whole_column_is_private(values, kind):
    assert judged(values, kind) == ({"email"}, [])


def test_places_are_a_pair():
    rows = [{"latitude": 48.1234567 + n / 1e5, "longitude": 11.7654321, "size": 3} for n in range(60)]
    kinds, paths = judged(rows)
    assert kinds == {"coordinates"} and paths in (["latitude", "longitude"], [])


def test_statistics_hide_the_path_alone(tmp_path):
    rows = [{"id": n, "person": {"mail": mail, "colour": ("red", "blue")[n % 2]}} for n, mail in enumerate(MAILS * 2)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    data = collect_dataset(str(tmp_path / "a.parquet"), str(tmp_path / "data"), workers=1, splits={"all": 1.0})
    assert data.body["private"]["person"]["paths"] == ["mail"]
    assert "mail: hidden in statistics" in (tmp_path / "data" / data.body["page"]).read_text()
    found = compute_statistics(data.folder, str(tmp_path / "statistics"), workers=1)
    content = found.read("Split-all/FeatureStats.pb") + found.read("page.html") + found.read("Split-all/State.arrow")
    assert b"example.org" not in content and b"blue" in content
    assert found.body["private"]["person"].startswith("only mail: values in 256 buckets")
    assert found.read("page.html").decode().count("private: ") == 1
    whole = compute_statistics(data.folder, str(tmp_path / "whole"), workers=1, config={"private": ["person"]})
    assert b"blue" not in whole.read("Split-all/FeatureStats.pb")
    assert found.body["private_paths"] == {"person": ["mail"]} and not whole.body["private_paths"]
    # What is private in part is not proposed to be private as a whole.
    for measured, proposed in ((found, []), (whole, ["private"])):
        base = derive_schema(measured.folder, measured.folder + "-base").folder
        schema = derive_schema(measured.folder, measured.folder + "-schema", mode="propose", base_schema=base)
        told = json.loads(schema.read("suggestions.json"))
        assert [each["what"] for each in told if each["feature"] == "person"] == proposed
    shown = compute_statistics(data.folder, str(tmp_path / "shown"), workers=1, config={"public": ["person"]})
    assert b"example.org" in shown.read("Split-all/FeatureStats.pb")
