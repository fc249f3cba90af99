"""The run's overview: verdict, next step, pages, and each feature over the spans."""

from __future__ import annotations

import pathlib
import re

import pytest
from spans import orders, save_statistics

from headwater.components.infer_schema import accept_span, derive_schema
from headwater.components.validate import check_statistics
from headwater.components.validate.history import Past
from headwater.components.validate.overview import _features


def run(folder, span, frame, **settings):
    statistics = save_statistics(folder, {"train": frame, "eval": orders(span + 50)}, span=span)
    schema = derive_schema(statistics.folder, str(folder / f"schema-{span}"))
    return check_statistics(statistics.folder, schema.folder, str(folder / f"verdict-{span}"), **settings)


@pytest.fixture(scope="module")
def spans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overview")
    bad = orders(2).assign(quantity=lambda frame: frame["quantity"].astype(str))
    bad["amount"] += 3
    first = run(folder, 1, orders(1))
    # Errors are what breaks a schema that somebody accepted.
    accept_span(str(folder / "root"), "orders", reason="as agreed")
    return [first, run(folder, 2, bad), run(folder, 3, orders(3))]


def overview(result):
    return pathlib.Path(result.home.report("index"))


def text_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)))


def test_the_first_run_says_what_to_do_next(spans):
    text = text_of(overview(spans[0]).read_text())
    assert "✓ Passed" in text and "nothing to compare with yet" in text and "This is the first span" in text
    assert "headwater accept --name orders --span 1 --data-root" in text and "open_dataset" in text
    assert "2,000 (train 1,000, eval 1,000)" in text


def test_a_rejected_run_leads_with_its_errors(spans):
    page = overview(spans[1]).read_text()
    text = text_of(page)
    assert not spans[1].body["blessed"] and "✗ Rejected" in text and "span 1" in text
    assert page.index("<h2>Next step") < page.index("<h2>Findings") < page.index("<h2>Pages")
    assert "headwater accept --name orders --span 2" in text and "open_dataset" not in text
    assert 'href="anomalies.html#feature-quantity"' in page and "alarm" in text
    # The history begins with the first span that was compared.
    assert re.search(r'<path class="alarm" d="M[^"]+"><title>span 2: effect', page)


def test_links_lead_to_pages_that_are_there(spans):
    for result in spans:
        for name in ("index", "anomalies"):
            path = pathlib.Path(result.home.report(name))
            page = path.read_text()
            links = [link for link in re.findall(r'href="([^"]+)"', page) if not link.startswith("#")]
            assert links or name == "anomalies"
            for link in links:
                file, _, fragment = link.partition("#")
                # Statistics and schemas of these tests have no page of their own but the schemas'.
                if "statistics.html" in file:
                    continue
                target = (path.parent / file).resolve()
                assert target.exists(), link
                assert not fragment or f'id="{fragment}"' in target.read_text(), link
    assert "span=1/version=1/reports/index.html" in overview(spans[2]).read_text()


def test_every_finding_of_a_page_has_an_id_of_its_own(spans):
    page = pathlib.Path(spans[1].home.report("anomalies")).read_text()
    found = re.findall(r'\bid="([^"]+)"', page)
    assert len(found) == len(set(found)) and len(re.findall(r'<article class="card', page)) == len(
        spans[1].body["findings"]
    )


def test_outside_of_a_data_root_there_is_no_overview(tmp_path):
    statistics = save_statistics(tmp_path, {"train": orders(1)})
    schema = derive_schema(statistics.folder, str(tmp_path / "schema"))
    result = check_statistics(statistics.folder, schema.folder, str(tmp_path / "verdict"))
    assert not list(tmp_path.rglob("index.html"))
    assert "<nav" not in result.read("page.html").decode()


def test_a_feature_over_the_spans_is_that_of_its_worst_split():
    past = [
        Past(
            1, True, {("train", "x"): 0.1, ("eval", "x"): 0.4}, frozenset([("train", "x")]), None, {("eval", "x"): 0.3}
        ),
        Past(2, True, {("train", "gone"): 0.1}, frozenset()),
    ]
    change = {"split": "train", "feature": "x", "against": "DRIFT", "effect": 0.2, "threshold": 0.1, "alarm": True}
    [found] = _features({"changes": [change], "findings": []}, past, 3)
    assert [each["alarm"] for each in found["points"]] == [True, True] and found["words"].startswith("x: effect 0.4")
    assert found["points"][0]["text"] == "span 1: effect 0.4000, threshold 0.3000, alarm"
    assert (found["first"], found["last"], found["address"]) == (1, 3, "anomalies.html")
