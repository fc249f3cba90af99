"""Every page of a run in a real browser: nothing off screen on a phone, no request, and links, filters and keys that work."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, Browser

from headwater.components.collect import collect_dataset
from headwater.components.common import storage
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.label import ask_rows, label_dataset
from headwater.components.validate import check_statistics
from headwater.pipelines.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")]

PAGES = ("index", "dataset", "labels", "ask", "statistics", "schema", "anomalies")
LONG = "a_column_with_a_name_that_is_longer_than_any_phone_is_wide_and_has_no_place_to_break_it"
# What is wider than the window, or reaches beyond it, with what it is; what is hidden from sight on purpose does not count.
OFF_SCREEN = """
[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('.vh, svg *, script'))
.filter(e => { const r = e.getBoundingClientRect(); return r.width && (r.right > innerWidth + 1 || r.left < -1); })
.map(e => `${e.tagName}.${e.className}: ${e.textContent.slice(0, 40)}`)
"""


def frame(seed, rows=2000):
    chance = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(rows) + seed * rows,
            "fare": np.append(chance.gamma(3, 4, rows - 1) * seed, 1e6),
            "payment": chance.choice(["card", "cash", "x" * 70] if seed > 1 else ["card", "cash"], rows),
            "zone": 7,
            "note": chance.choice(["none", "toll", "?"], rows, p=[0.6, 0.3, 0.1]),
            LONG: chance.normal(size=rows),
            "at": pd.Timestamp("2026-01-01") + pd.to_timedelta(chance.integers(0, 86_400, rows), "s"),
        }
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    steps = [
        {
            "method": "weak_supervision",
            "model": "majority",
            "classes": ["low", "high"],
            "functions": [
                {"name": "cheap", "sql": f"CASE WHEN fare < 9 THEN 'low' WHEN {LONG} > 1 THEN 'high' END"},
                {"name": "dear", "sql": "CASE WHEN fare > 12 THEN 'high' WHEN fare < 5 THEN 'low' END"},
                {"name": "cash", "sql": "CASE WHEN payment = 'cash' THEN 'low' ELSE 'high' END"},
            ],
        }
    ]
    for span in (1, 2):
        at = folder / str(span)
        at.mkdir()
        frame(span).to_csv(at / "t.csv", index=False)
        dataset = collect_dataset(
            str(at / "t.csv"), str(at / "data"), key=["id"], data_root=str(folder / "root"), name="trips", workers=1
        )
        labels = label_dataset(dataset.folder, str(at / "labels"), steps=steps, workers=1)
        ask = {"rows": 30, "budget": 100, "learn_from": ["weak_supervision"], "tasks": {"format": "csv"}}
        if span == 2:
            ask_rows(labels.folder, str(at / "tasks"), ask=ask, workers=1)
        statistics = compute_statistics(labels.folder, str(at / "statistics"), workers=1)
        mode = {"mode": "propose"} if span == 2 else {}
        schema = derive_schema(statistics.folder, str(at / "schema"), **mode)
        verdict = check_statistics(statistics.folder, schema.folder, str(at / "verdict"), workers=1)
        if span == 1:
            project = {"label": {"steps": steps, "ask": ask}, "platform": {"workers": 1}}
            (at / "headwater.yaml").write_text(json.dumps(project))
            command = ["ask", labels.folder, "--output", str(at / "tasks"), "--project", str(at / "headwater.yaml")]
            before = storage.read_bytes(verdict.home.report("index"))
            assert main([*command, "--quiet"]) == 0 and b"ask.html" not in before
    return {name: verdict.home.report(name) for name in PAGES}


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


def show(browser, path, width, theme="light"):
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    browser.open(path)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_off_screen_on_a_phone_and_nothing_is_asked_for(reports, browser, name):
    for theme in ("light", "dark"):
        show(browser, reports[name], 390, theme)
        browser.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert browser.run("document.documentElement.scrollWidth") <= 390
        assert browser.run(OFF_SCREEN) == []
        assert browser.requests == [f"file://{reports[name]}"] and not browser.complaints


def test_the_page_of_questions_is_linked_when_they_are_asked_after_the_verdict(reports, browser):
    browser.open(reports["index"].replace("span=2", "span=1"))
    links = browser.run("[...document.querySelectorAll('.cards a')].map(a => a.href)")
    assert [link.endswith("span=1/version=1/reports/ask.html") for link in links].count(True) == 1


def test_pages_lead_to_each_other(reports, browser):
    seen, left = set(), [reports["index"]]
    while left:
        page = left.pop()
        seen.add(page)
        browser.open(page)
        links = browser.run("[...document.querySelectorAll('a[href]')].map(a => a.href.split('#')[0])")
        left += {link.removeprefix("file://") for link in links} - seen - set(left)
    assert {name for name in PAGES if any(page.endswith(f"span=2/version=1/reports/{name}.html") for page in seen)} == {
        *PAGES
    }


def test_findings_are_filtered_linked_to_and_walked_through(reports, browser):
    show(browser, reports["anomalies"], 1400)
    shown = "[...document.querySelectorAll('.card')].filter(e => e.checkVisibility()).map(e => e.id)"
    every = browser.run(shown)
    assert len(every) > 1
    browser.press("/")
    browser.type("fare")
    few = browser.run(shown)
    assert 0 < len(few) < len(every) and all("fare" in each for each in few)
    browser.press("Escape")
    browser.run("document.querySelector('#q').blur()")
    browser.press("j")
    browser.press("j")
    browser.press("k")
    assert browser.run("document.activeElement.id") == every[0]
    browser.run(
        "(() => { const e = document.querySelector('#severity'); e.value = 'warning'; e.dispatchEvent(new Event('input')); })()"
    )
    kinds = browser.run(
        "[...document.querySelectorAll('.card')].filter(e => e.checkVisibility()).map(e => e.dataset.severity)"
    )
    assert set(kinds) == {"warning"}
    # A link into the page leads to its finding.
    browser.run("location.hash = 'feature-fare'")
    top = browser.run("document.getElementById('feature-fare').closest('.card').getBoundingClientRect().top")
    assert -50 < top < 900


def test_a_chart_shows_the_tested_bins_of_both_spans(reports, browser):
    show(browser, reports["anomalies"], 1400)
    found = browser.run(
        "(() => { const card = document.getElementById('feature-fare').closest('.card'), svg = card.querySelector('svg.chart');"
        " return [svg.querySelectorAll('.h').length, svg.querySelector('.h title').textContent, svg.ariaLabel,"
        " card.querySelector('p.bins').textContent]; })()"
    )
    count, first, label, words = found
    assert label == "Distributions of fare" and words.split("; ")[0] == first and count == len(words.split("; "))
    # Twenty quantiles of the baseline, so that one outlier of a million moves none of the others.
    assert count >= 20 and words.count("span 1 5.0 %") >= 15


def test_a_page_in_a_sandboxed_frame_works_and_hides_what_it_cannot_reach(reports, browser, tmp_path):
    source = json.dumps(open(reports["anomalies"], encoding="utf-8").read()).replace("</", "<\\/")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"<iframe sandbox='allow-scripts' width=1300 height=800></iframe><script>document.querySelector('iframe').srcdoc = {source}</script>"
    )
    browser.open(frame)
    assert browser.requests == [f"file://{frame}"] or all(r.startswith(("file://", "about:")) for r in browser.requests)
    assert not browser.complaints


def test_findings_of_the_data_are_cards_with_links_and_filters(reports, browser):
    show(browser, reports["dataset"], 1400)
    assert browser.run("document.querySelectorAll('#cards > .card').length") > 1
    browser.run(
        "const s = document.querySelector('#severity, #kind'); s.selectedIndex = 1; s.dispatchEvent(new Event('input'))"
    )
    assert browser.run("document.querySelector('#shown').textContent").endswith(" findings")
    addresses = browser.run(
        "[...document.querySelectorAll('td a[href^=\"#finding\"]')].map(a => a.getAttribute('href').slice(1))"
    )
    assert addresses and all(browser.run(f"!!document.getElementById({json.dumps(each)})") for each in addresses)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_has_one_strip_on_top(reports, browser, name):
    show(browser, reports[name], 1400)
    facts = browser.run("[...document.querySelectorAll('dl.strip dt')].map(e => e.textContent)")
    assert {"Rows", "Span", "Version", "Headwater"} <= {*facts} and len(facts) == len({*facts})
    assert browser.run("document.querySelectorAll('dl.strip').length") == 1


def test_a_command_is_copied_or_selected(reports, browser, tmp_path):
    show(browser, reports["index"], 1400)
    command = browser.run("document.querySelector('code.copy').textContent")
    assert "headwater" in command or "open_dataset" in command
    browser.click("button.copy")
    words = "new Promise(done => setTimeout(() => done(document.querySelector('button.copy').textContent), 100))"
    assert browser.run(words) in ("Copied", "Selected: press Ctrl+C")
    # As a clipboard that is refused, which a sandboxed frame has.
    browser.open(reports["index"])
    browser.run(
        "navigator.clipboard.writeText = () => Promise.reject(new Error()); document.execCommand = () => false; 0"
    )
    browser.click("button.copy")
    assert browser.run(words) == "Selected: press Ctrl+C" and browser.run("getSelection().toString()") == command
