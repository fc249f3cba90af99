"""The page in a real browser without a network, and what it says needs an eye."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import CHROMIUM, Browser
from tensorflow_metadata.proto.v0 import statistics_pb2

from headwater.components.collect import collect_dataset
from headwater.components.generate_statistics import compute_statistics, merge_statistics
from headwater.components.generate_statistics.measure.measuring import measure
from headwater.components.generate_statistics.plan.plan import Plan
from headwater.components.generate_statistics.report import page
from headwater.components.generate_statistics.report.attention import reasons
from headwater.components.generate_statistics.report.protos import to_statistics

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")

ROWS = 3000
HOSTILE = ["<script>alert(1)</script>", "{{ 7 * 7 }}", "</script><img src=x onerror=alert(2)>", "\u202eev\x00il"]


def frame(rows=ROWS, seed=3):
    chance = np.random.default_rng(seed)
    return pa.table(
        {
            "key": [f"k{number:05}" for number in range(rows)],
            "age": chance.integers(18, 80, rows),
            "country": chance.choice(["US", "DE", "FR"], rows, p=[0.5, 0.3, 0.2]),
            "words": chance.choice(np.array(HOSTILE, object), rows),
            "none": pa.nulls(rows, pa.float64()),
            "constant": np.full(rows, 7),
            "gaps": pa.array(chance.normal(size=rows), mask=chance.random(rows) < 0.3),
            "<b>bold</b>": chance.normal(size=rows),
        }
    )


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    pq.write_table(frame(), folder / "t.parquet")
    dataset = collect_dataset(str(folder / "t.parquet"), str(folder / "data"), splits={"train": 0.7, "eval": 0.3})
    return compute_statistics(dataset.folder, str(folder / "out"), config={"slices": [["country"]]}, workers=1)


@pytest.fixture(scope="module")
def chromium():
    with Browser() as browser:
        yield browser


@pytest.fixture
def opened(statistics, chromium):
    chromium.open(f"{statistics.folder}/page.html")
    yield chromium
    assert chromium.requests == [f"file://{statistics.folder}/page.html"] and not chromium.complaints


def names(browser):
    """The features that are shown, in order."""
    return browser.run(
        "[...document.querySelectorAll('#features > tbody')].filter(b => b.checkVisibility())"
        ".map(b => b.querySelector('code').textContent)"
    )


def write(folder, table):
    pq.write_table(table, folder / "t.parquet")
    return str(folder / "t.parquet")


@needs_chromium
def test_what_needs_an_eye_comes_first(opened):
    shown = names(opened)
    assert shown[0] == "none" and set(shown[1:3]) == {"constant", "gaps"} and shown[3] == "key"
    first = opened.run("document.querySelector('#features > tbody').innerText")
    assert "all values are missing" in first and "train" in first
    text = opened.run("document.body.innerText")
    assert "4 of 8 features need attention (listed first)" in text and re.search(r"\d\d % (to \d\d % )?missing", text)
    assert "nearly every value is different" in text


@needs_chromium
def test_values_stay_text(opened):
    opened.click("#all")
    text = opened.run("document.body.innerText")
    assert "<script>alert(1)</script>" in text and "{{ 7 * 7 }}" in text and "<b>bold</b>" in text
    assert "</script><img src=x onerror=alert(2)>" in text and "[U+202E]ev␀il" in text
    assert opened.run("document.querySelectorAll('img, code b').length") == 0
    # Ours of all pages and of this one, and the data of slices.
    assert opened.run("document.scripts.length") == 3


@needs_chromium
def test_splits_lie_over_each_other(opened, statistics):
    found = opened.run(
        "(() => { const body = [...document.querySelectorAll('#features > tbody')].find(b => b.innerText.startsWith('age'));"
        " return [...body.querySelectorAll('td svg g path[class^=s]')].map(p => [p.getAttribute('class'), p.getBBox().width]); })()"
    )
    assert [kind for kind, _ in found] == ["s0", "s1"] and all(width > 150 for _, width in found)
    styles = opened.run(
        "['.s0', '.s1'].map(c => { const s = getComputedStyle(document.querySelector('#features ' + c));"
        " return [s.fill, s.strokeDasharray]; })"
    )
    # Told apart without colour: one is filled, the other dashed.
    assert styles[0][0] != "none" and styles[0][1] == "none"
    assert styles[1][0] == "none" and styles[1][1] != "none"
    assert "train, filled; eval, dashed" in " ".join(
        opened.run("document.querySelector('.key').innerText").split()
    ).replace(" ;", ";")


@needs_chromium
def test_search_and_filter_by_keyboard(opened):
    opened.press("/")
    opened.type("co")
    assert names(opened) == ["constant", "country"]
    assert opened.run("document.querySelector('[role=status]').textContent") == "2 of 8 features"
    opened.type("u")
    assert names(opened) == ["country"]
    opened.press("ArrowDown")
    assert opened.run("document.activeElement.textContent") == "Values of country"
    assert not opened.run("document.activeElement.nextElementSibling.checkVisibility()")
    opened.press("Enter")
    assert opened.run("document.activeElement.nextElementSibling.checkVisibility()")
    assert "mean bytes" in opened.run("document.activeElement.nextElementSibling.innerText")
    opened.press("ArrowUp")
    opened.press("Escape")
    assert len(names(opened)) == 8
    opened.click("#eye")
    assert len(names(opened)) == 4
    opened.click("#eye")
    opened.run(
        "document.querySelector('#kind').value = 'text', document.querySelector('#kind').dispatchEvent(new Event('input'))"
    )
    assert set(names(opened)) == {"key", "country", "words"}


@needs_chromium
def test_sorting(opened):
    opened.click("th[data-by=n] button")
    assert names(opened)[-1] == "words"
    assert opened.run("document.querySelector('th[data-by=n]').getAttribute('aria-sort')") == "ascending"
    opened.click("th[data-by=n] button")
    assert names(opened)[0] == "words"
    assert opened.run("document.querySelector('th[data-by=n]').getAttribute('aria-sort')") == "descending"
    # By keyboard as well: the button has the focus.
    opened.run("document.querySelector('th[data-by=m] button').focus()")
    opened.press("Enter")
    assert names(opened)[:2] == ["none", "gaps"]
    assert opened.run("document.querySelector('th[data-by=n]').getAttribute('aria-sort')") is None
    opened.run(
        "document.querySelector('#order').value = 'i', document.querySelector('#order').dispatchEvent(new Event('change'))"
    )
    assert names(opened) == sorted(frame().column_names)


@needs_chromium
def test_slices_side_by_side(opened, statistics):
    proto = statistics_pb2.DatasetFeatureStatisticsList.FromString(statistics.read("Split-eval/FeatureStats.pb"))
    opened.run(
        "(() => { const set = (id, value) => { const e = document.getElementById(id); e.value = value;"
        " e.dispatchEvent(new Event('input')); }; set('slice-split', 'eval');"
        " set('slice-feature', [...document.getElementById('slice-feature').options].find(o => o.text === 'age').value); })()"
    )
    rows = opened.run("[...document.querySelectorAll('#slices tbody tr')].map(r => [...r.cells].map(c => c.innerText))")
    assert [row[0] for row in rows] == ["all rows", "country_US", "country_DE", "country_FR"]
    for row in rows:
        dataset = next(each for each in proto.datasets if each.name == row[0].replace("all rows", "All Examples"))
        age = next(each for each in dataset.features if each.path.step[0] == "age").num_stats
        assert row[1] == f"{dataset.num_examples:,}" and row[4:6] == [f"{age.min:.0f}", f"{age.median:.0f}"]
    assert opened.run("document.querySelectorAll('#slices tbody tr:nth-child(2) path').length") == 2
    opened.click("#slice-q")
    opened.type("_fr")
    shown = opened.run("[...document.querySelectorAll('#slices tbody tr')].map(r => r.cells[0].innerText)")
    assert shown == ["all rows", "country_FR"]


@needs_chromium
def test_a_screen_reader_finds_tables_and_charts(opened):
    opened.call("Accessibility.enable")
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    found = {}
    for node in nodes:
        if not node.get("ignored"):
            found.setdefault(node["role"].get("value"), set()).add(node.get("name", {}).get("value", ""))
    assert {"table", "row", "columnheader", "rowheader", "searchbox", "status", "heading"} <= set(found)
    assert "Distributions of age" in found["image"] | found.get("img", set())
    assert "Shares of the values of country" in found["table"]
    # What a chart shows is there in words.
    text = opened.run("document.querySelector('[id=feature-age] p.bins').textContent")
    assert re.match(r"18 to 22: train \d\.\d %, eval \d\.\d %; ", text)
    assert "Search" in found["searchbox"]


@needs_chromium
def test_dark_light_and_paper(statistics, chromium):
    def background():
        return chromium.run("getComputedStyle(document.body).backgroundColor")

    seen = []
    for theme in ("light", "dark"):
        chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        chromium.open(f"{statistics.folder}/page.html")
        seen.append(sum(int(part) for part in background().strip("rgb()").split(",")))
    assert seen[0] > 700 and seen[1] < 150
    assert chromium.run("document.getElementById('find').checkVisibility()")
    chromium.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert not chromium.run("document.getElementById('find').checkVisibility()")
    assert len(names(chromium)) == 8
    chromium.call("Emulation.setEmulatedMedia", media="", features=[])


@needs_chromium
def test_without_scripts_all_but_searching_works(statistics, chromium):
    chromium.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(f"{statistics.folder}/page.html")
        tree = chromium.call("Accessibility.getFullAXTree")["nodes"]
        told = {node.get("name", {}).get("value", "") for node in tree if not node.get("ignored")}
        assert "all values are missing" in told and "Quantiles of age" in told
        assert any("needs scripts" in name for name in told) and "Search" not in told
    finally:
        chromium.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.slow
def test_pages_of_wide_data_stay_small(tmp_path):
    chance = np.random.default_rng(1)
    for columns, most in ((100, 500_000), (1000, 3_000_000)):
        table = {}
        for number in range(columns):
            name, rows = f"a_column_whose_name_is_{number:04}", 400
            table[name] = (
                chance.normal(size=rows),
                chance.choice([f"some text value {word}" for word in range(30)], rows),
                chance.integers(0, 10**9, rows).astype("datetime64[s]"),
            )[number % 3]
        for split in ("train", "eval"):
            (tmp_path / f"{columns}/split={split}").mkdir(parents=True)
            pq.write_table(pa.table(table), tmp_path / f"{columns}/split={split}/t.parquet")
        result = compute_statistics(str(tmp_path / str(columns)), str(tmp_path / f"out{columns}"), workers=1)
        assert len(result.read("page.html")) < most


def test_slices_beyond_the_limit_are_said_to_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_SLICE_CELLS", 8)
    table = pa.table({"x": [number % 9 for number in range(90)] + [0], "y": range(91)})
    result = compute_statistics(write(tmp_path, table), str(tmp_path / "out"), config={"slices": [["x"]]}, workers=1)
    text = result.read("page.html").decode()
    assert "The 4 largest are on this page" in text and "x_0" in text and "x_8" not in text
    result = compute_statistics(
        write(tmp_path, table), str(tmp_path / "few"), config={"slices": [["x"]], "max_slices": 2}, workers=1
    )
    assert "7 more with 70 rows have no statistics of their own" in result.read("page.html").decode()


def test_dates_and_times_are_read_as_such(tmp_path):
    """A number beside a date in one struct is a number; a column whose name has a dot is found all the same."""
    day, at = datetime.date(2013, 1, 1), datetime.datetime(2013, 1, 1, 10)
    table = pa.table(
        {
            "s": pa.array([{"n": 15000, "day": day}, None, {"n": 16000, "day": None}]),
            "a.b": pa.array([day, None, day]),
            "flag": [True, False, None],
            "at": [at, at, at + datetime.timedelta(hours=36)],
            "wait": pa.array([90, 90, 90], pa.duration("s")),
        }
    )
    result = compute_statistics(write(tmp_path, table), str(tmp_path / "out"), workers=1)
    bodies = result.read("page.html").decode().split("<tbody ")[1:]
    rows = {body.split("<code>")[1].split("</code>")[0]: body for body in bodies}
    assert "15,000" in rows["s › n"] and "since 1970" not in rows["s › n"]
    assert "2013-01-01" in rows["s › day"] and "2013-01-01" in rows["a.b"] and "days since 1970-01-01" in rows["a.b"]
    # Missing of the two structs, not of the three rows.
    assert "50.0 %" in rows["s › day"] and "33.3 %" in rows["s"]
    assert "2013-01-01 10:00:00" in rows["at"] and "1357034400000000" not in rows["at"] and "16.97 h" in rows["at"]
    assert "90 s" in rows["wait"] and "zeros" not in rows["wait"] and "zeros" in rows["flag"]


def test_what_was_asked_for_is_on_the_page(tmp_path):
    chance = np.random.default_rng(2)
    table = pa.table(
        {
            "email": [f"a{number}@example.org" for number in range(500)],
            "a": chance.normal(size=500),
            "b": chance.normal(size=500),
            "weight": chance.random(500),
            "label": chance.choice(["yes", "no"], 500),
        }
    )
    config = {
        "sample_rate": 0.5, "seed": 4, "private": ["email"], "weight_feature": "weight", "label_feature": "label",
        "feature_pairs": [["a", "b"]],
    }  # fmt: skip
    first = compute_statistics(write(tmp_path, table), str(tmp_path / "a"), config=config, workers=1)
    text = first.read("page.html").decode()
    kept = first.body["sample"]["kept"]
    assert f"<dt>Sample</dt><dd>{kept} of 500 rows, drawn at a rate of 50.0 % with seed 4</dd>" in text
    assert "example.org" not in text and "bucket-" in text
    assert "<dt>Private columns</dt><dd>1, their values hidden</dd>" in text
    assert "all, weighted" in text and "<dt>Weight</dt>" in text and "correlation" in text and "lift" in text
    plain = compute_statistics(str(tmp_path / "t.parquet"), str(tmp_path / "b"), workers=1).read("page.html").decode()
    assert (
        "example.org" in plain and "weighted" not in plain and "correlation" not in plain and "<dt>Sample" not in plain
    )


def test_few_integers_are_shown_by_name(tmp_path):
    table = pa.table({"zip": [60601, 60614, 60614, 60601, 60614], "fare": [7.5, 8.25, 9.0, 1.0, 2.0]})
    result = compute_statistics(write(tmp_path, table), str(tmp_path / "out"), workers=1)
    body = result.read("page.html").decode().split('<tbody id="feature-zip"')[1].split("</details>")[0]
    assert (
        "2 distinct · 60614 60.0 %" in body
        and '<th scope="row">60601</th>' in body
        and "60,601" not in body.split("<details>")[0]
    )


def test_a_window_names_its_spans(tmp_path):
    results = []
    for span in (1, 2):
        (tmp_path / f"{span}.csv").write_text("x\n" + "".join(f"{number}\n" for number in range(span, span + 5)))
        dataset = collect_dataset(
            str(tmp_path / f"{span}.csv"), str(tmp_path / f"d{span}"), data_root=str(tmp_path / "root"), workers=1
        )
        results.append(compute_statistics(dataset.folder, str(tmp_path / f"s{span}"), workers=1).folder)
    merged = merge_statistics(results, str(tmp_path / "m"))
    assert "<dt>Spans</dt><dd>1, 2</dd>" in merged.read("page.html").decode()


def found(*columns, names=("train", "eval", "test")):
    """Reasons of one feature, a column a split."""
    features = {}
    for name, values in zip(names, columns):
        batch = pa.RecordBatch.from_arrays([values if isinstance(values, pa.Array) else pa.array(values)], ["x"])
        features[name] = to_statistics(measure(batch, Plan(schema=batch.schema)), name).datasets[0].features[0]
    return [reason.text for reason in reasons(features, moment=False)]


def test_reasons_of_one_split():
    chance = np.random.default_rng(0)
    normal = chance.normal(size=1000)
    assert found(normal) == [] and found(chance.integers(0, 9, 1000)) == []
    assert found(pa.nulls(5, pa.int64())) == ["all values are missing"]
    assert found(pa.array([[], []], pa.list_(pa.int64()))) == ["all lists are empty"]
    assert found([1, 1, 1]) == ["always one value"] and found(["a", "a"]) == ["always one value"]
    assert found(pa.array([1.0, 2.0, None, None, None])) == ["60 % missing"]
    assert found(pa.array(normal, mask=np.arange(1000) < 49)) == []
    assert found(pa.array(normal, mask=np.arange(1000) < 50)) == ["5 % missing"]
    assert found(np.where(np.arange(1000) < 900, 0, normal)) == ["90 % zeros"]
    assert found(np.where(np.arange(1000) < 30, np.nan, normal)) == ["3 % NaN"]
    assert found(np.full(9, np.nan)) == ["all values are NaN"]
    assert found(np.append(normal, np.inf)) == ["infinite values"]
    assert found(np.append(normal, 1e4)) == ["values far above the rest"]
    assert found(np.append(normal, -1e4)) == ["values far below the rest"]
    assert found([f"v{number}" for number in range(100)]) == ["nearly every value is different"]
    assert found(["a"] * 995 + ["b"] * 5) == ["nearly always one value"]
    assert found(pa.array([b"a", b"\xff", b"b", b"c"])) == ["25 % not UTF-8"]
    # The most urgent first.
    assert found(pa.array([None] * 600 + [0.0] * 399 + [1.0])) == ["60 % missing", "100 % zeros"]


def test_reasons_between_splits():
    chance = np.random.default_rng(1)
    one, other = chance.normal(size=4000), chance.normal(size=4000)
    assert found(one, other) == []
    assert found(one, other + 1)[0].startswith("eval differs from train by 0.3")
    # Ten rows tell nothing.
    assert found(one[:10], other[:10] + 1) == []
    words, others = chance.choice(["a", "b"], 4000), chance.choice(["a", "c"], 4000)
    assert found(words, words[::-1]) == [] and found(words, others)[0].startswith("eval differs from train by 0.")
    gaps = pa.array(other, mask=chance.random(4000) < 0.2)
    assert found(one, gaps, one) == ["21 % missing in eval", "missing more often in eval than in train"]
    assert found(gaps, one)[1] == "missing more often in train than in eval"
    # Splits that say the same say it once.
    assert found([1, 1], [1, 1], [1, 1]) == ["always one value"]
    # By the definition: the greatest distance of two distribution functions, to the tenths that deciles can tell.
    both = np.concatenate([one, other + 1])
    exact = max(abs((one <= point).mean() - (other + 1 <= point).mean()) for point in both)
    assert abs(float(found(one, other + 1)[0].split()[-1]) - exact) < 0.05
