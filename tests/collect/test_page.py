"""The dataset's page: what it says, and that hostile values stay text and nothing is fetched."""

from __future__ import annotations

import pathlib
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset, rules
from headwater.components.collect.rules import Outcome


def page_of(tmp_path, text, **settings):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    result = collect_dataset(str(path), str(tmp_path / "out"), workers=1, **settings)
    return (tmp_path / "out" / result.body["page"]).read_text(encoding="utf-8")


def test_accounts_findings_and_columns_are_told(tmp_path):
    lines = "".join(f"{i},{'red' if i % 3 else 'blue'},{i % 50 or ''},7\n" for i in range(400))
    page = page_of(
        tmp_path,
        "id,colour,n,same\n" + lines,
        key=["id"],
        filters=[{"name": "not_tiny", "keep": "id >= 10"}],
        units={"n": {"from": "mi", "to": "km"}},
        missing={"n": [5]},
        model_outputs={"n": {"model": "ranker", "version": "7"}},
    )
    text = re.sub(r"<[^>]+>", " ", page)
    text = re.sub(r"\s+", " ", text)
    for expected in (
        "400 records read, 390 rows written in 4 columns; key: id",
        "filtered by not_tiny 10",
        "has one value in all 390 rows",
        "sentinels made missing",
        "double, km",
        "output of ranker, version 7",
        "red",
    ):
        assert expected in text, expected


@pytest.mark.parametrize("analyse", [True, False])
def test_a_rule_may_add_to_the_analysis_whether_or_not_rows_were_sampled(tmp_path, monkeypatch, analyse):
    def width(evidence):
        return Outcome([], {"width": len(evidence.schema)})

    monkeypatch.setattr(rules, "RULES", (*rules.RULES, width))
    page = page_of(tmp_path, "a,b\n" + "1,2\n" * 50, analyse=analyse)
    assert ("come from a sample of 50 rows" in page) == analyse


def test_hostile_names_and_values_stay_text_and_nothing_is_fetched(tmp_path):
    evil = "<script>alert(1)</script>"
    page = page_of(tmp_path, f'"<b>{evil}",x\n' + f'"{evil}{{{{7*7}}}}",1\n' * 200)
    # One of ours, in base.html.
    assert page.count("<script") == 1 and "<b>" not in page
    assert "{{7*7}}" in page and "&lt;script&gt;" in page
    assert not re.search(r'(?:src|href|url\()\s*=?\s*["\']?(?:https?:)?//', page)


@pytest.mark.sweep(5)
@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**53 + 1] * 60),
        pa.array([-(2**63)] * 60),
        pa.array([2**53, 2**53 + 2] * 30),
        pa.array([2**64 - 1] * 60, pa.uint64()),
        pa.array([1.7976931348623157e308] * 60),
        pa.array([1.7e308, -1.7e308] * 30),
        pa.array([0.0, 5e-324] * 30),
        pa.array([2**55] * 60).cast(pa.timestamp("s")),
        pa.array([-(2**55)] * 60).cast(pa.timestamp("s", "UTC")),
        pa.array([2**30] * 60, pa.int32()).cast(pa.date32()),
        pa.array([2**62] * 60).cast(pa.duration("s")),
        pa.StructArray.from_arrays([pa.array([2**55] * 60).cast(pa.timestamp("s"))], ["at"]),
    ],
)
def test_values_at_the_ends_of_their_type_have_a_page(tmp_path, values):
    try:
        pq.write_table(pa.table({"id": range(60), "x": values}), tmp_path / "t.parquet")
    except pa.ArrowInvalid as error:
        # pyarrow 10 wraps such seconds when it writes milliseconds; later ones refuse.
        pytest.skip(f"this pyarrow writes no such file: {error}")
    result = collect_dataset(str(tmp_path / "t.parquet"), str(tmp_path / "out"), workers=1)
    page = (tmp_path / "out" / result.body["page"]).read_text(encoding="utf-8")
    assert "60" in page and "nan" not in page.lower()
    if pa.types.is_date(values.type):
        assert str(2**30) in page


@pytest.mark.parametrize(("text", "words"), [("n\n1\n2\n", "not validated yet"), ("n\n1\nx\n2\n", "Refused: ")])
def test_until_validation_the_overview_says_what_was_collected(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    root = str(tmp_path / "root")
    result = collect_dataset(
        str(tmp_path / "t.csv"), str(tmp_path / "out"), data_root=root, types={"n": "int64"}, workers=1
    )
    page = pathlib.Path(result.home.report("index"))
    assert words in page.read_text() and 'href="dataset.html"' in page.read_text()
    # What is there, such as validation's own, stays when the same data is collected again.
    page.write_text("mine")
    collect_dataset(str(tmp_path / "t.csv"), str(tmp_path / "again"), data_root=root, types={"n": "int64"}, workers=1)
    assert page.read_text() == "mine" and "../reports/index.html" in (page.parent / "dataset.html").read_text()
