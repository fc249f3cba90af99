"""Rows as part of the verdict: rules, the schema's demands, quarantine, and labels."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from browser import CHROMIUM, Browser

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.maintenance import find_garbage, list_datasets, trace, verify
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import accept_span, derive_schema
from headwater.components.validate import check_statistics, enforce


def trips(seed, rows=3000):
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": np.arange(rows) + seed * 1_000_000,
            "fare": np.round(chance.gamma(3, 4, rows), 2),
            "miles": np.round(chance.gamma(2, 2, rows), 2),
            "payment": chance.choice(["card", "cash"], rows),
            "email": [f"p{n}@example.org" for n in range(rows)],
        }
    )
    frame["tipped"] = (chance.random(rows) < np.where(frame["payment"] == "card", 0.7, 0.2)).astype(int)
    return frame


class Chain:
    def __init__(self, folder):
        self.folder, self.span = folder, 0

    def run(self, frame, **settings):
        self.span += 1
        at = self.folder / str(self.span)
        at.mkdir()
        frame.to_csv(at / "t.csv", index=False)
        self.dataset = collect_dataset(
            str(at / "t.csv"),
            str(at / "data"),
            key=["id"],
            data_root=str(self.folder / "root"),
            name="trips",
            workers=1,
        )
        statistics = compute_statistics(self.dataset.folder, str(at / "statistics"), workers=1)
        # TFDV's own domains, which tolerate no other value.
        self.schema = derive_schema(statistics.folder, str(at / "schema"), infer="tfdv")
        self.at = at
        return check_statistics(statistics.folder, self.schema.folder, str(at / "verdict"), workers=1, **settings)

    def accept(self):
        accept_span(str(self.folder / "root"), "trips", reason="as agreed")


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


RULES = {
    "rows": {
        "rules": [
            {"name": "fare", "row": "fare >= 0"},
            {"name": "one ride", "unique": ["id"]},
            {"name": "long", "row": "miles < 12", "severity": "warning", "tolerance": 0.5},
        ]
    }
}


def test_a_guess_puts_no_row_aside(chain):
    chain.run(trips(1))
    frame = trips(2)
    frame.loc[20:22, "payment"] = "bitcoin"
    verdict = chain.run(frame, config={"rows": {}}, quarantine=str(chain.folder / "quarantine"))
    assert verdict.body["rows"]["accounts"]["quarantined"] == 0 and verdict.body["blessed"]
    [found] = [f for f in verdict.body["findings"] if f["kind"] == "RULE_BROKEN"]
    assert found["severity"] == "warning" and "acknowledged" not in found
    # What is asked for holds for a guess as well.
    asked = chain.run(frame.sample(frac=1, random_state=1), config={"rows": {"schema_severity": "error"}})
    assert asked.body["rows"]["accounts"]["quarantined"] == 3 and not asked.body["blessed"]


def test_bad_rows_go_to_quarantine_and_the_rest_is_passed_on(chain):
    chain.run(trips(1))
    chain.accept()
    frame = trips(2)
    frame.loc[5:14, "fare"] = -1.0
    frame.loc[20:22, "payment"] = "bitcoin <b>"
    folders = {name: str(chain.folder / name) for name in ("passed", "quarantine")}
    verdict = chain.run(frame, config=RULES, **folders)
    accounts = verdict.body["rows"]["accounts"]
    assert (accounts["read"], accounts["passed"], accounts["quarantined"]) == (3000, 2987, 13)
    bad, good = (open_dataset(folders[name]).to_table().to_pandas() for name in ("quarantine", "passed"))
    assert sorted([*bad["id"], *good["id"]]) == frame["id"].tolist() and len(bad) == 13
    assert set(bad[bad["fare"] < 0]["_rules"].map(tuple)) == {("fare",)}
    assert set(bad[bad["fare"] >= 0]["_rules"].map(tuple)) == {("schema:payment:domain",)}
    found = [f for f in verdict.body["findings"] if f["kind"] == "RULE_BROKEN"]
    assert not verdict.body["blessed"] and {f["severity"] for f in found} == {"error"}
    assert any("fare >= 0" in f["message"] and "first seen in split=" in f["message"] for f in found)
    with pytest.raises(HeadwaterError, match="fare"):
        enforce(verdict.folder)
    page = verdict.read("page.html").decode()
    assert "3,000 rows read, 2,987 passed, 13 quarantined" in page and "bitcoin &lt;b&gt;" in page
    assert "@example.org" not in page and "@example.org" not in str(verdict.manifest)
    # Without rules no row is read, and no dataset is written.
    none = {name: str(chain.folder / f"no {name}") for name in folders}
    plain = chain.run(trips(3), **none)
    assert "rows" not in plain.body and plain.body["blessed"] and not list(chain.folder.glob("no *"))


def test_under_a_data_root_what_passed_and_what_is_quarantined_lie_beside_the_verdict(chain):
    frame = trips(1)
    frame.loc[5:14, "fare"] = -1.0
    folders = {name: str(chain.folder / name) for name in ("passed", "quarantine")}
    verdict = chain.run(frame, config=RULES, **folders)
    version = chain.folder / "root/trips/span=1/version=1"
    for name, rows in (("passed", 2990), ("quarantine", 10)):
        assert verdict.body["rows"][name]["uri"] == str(version / name)
        assert [file.name for file in (chain.folder / name).iterdir()] == ["_manifest.json"]
        # By the manifest alone, as a task of Kubeflow gets it, and by any reader of Parquet.
        assert open_dataset(folders[name]).count_rows() == open_dataset(str(version / name)).count_rows() == rows
        assert pq.read_table(version / name).num_rows == rows
    page = (version / "reports/index.html").read_text()
    # The rows are not for use as long as the verdict stands.
    assert "open_dataset" not in page and "2,990 rows, break no rule" in page
    assert (version / "reports" / re.search(r'href="([^"]+/passed/)"', page)[1]).is_dir()
    # Another attempt adopts what is there, and a lost shard is not missed.
    [shard] = (version / "quarantine").glob("split=train/*.parquet")
    written = shard.stat().st_mtime_ns
    again = {name: f"{folder} again" for name, folder in folders.items()}
    at = {name: str(chain.at / name) for name in ("statistics", "schema")}
    same = check_statistics(**at, output=str(chain.folder / "same"), config=RULES, workers=1, **again)
    assert same.body == verdict.body and shard.stat().st_mtime_ns == written
    assert open_dataset(again["passed"]).count_rows() == 2990
    root = str(chain.folder / "root")
    assert verify(root).problems == [] and list(find_garbage(root, min_age=0)) == []
    assert [each["kinds"][-3:] for each in list_datasets(root)][0] == ["passed", "quarantine", "anomalies"]
    assert [node.step for node in trace(str(version / "passed"))] == ["validate", "collect"]
    assert [node.step for node in trace(str(version))][:1] == ["validate"]


def test_rules_are_checked_and_rows_found_before_work(chain, tmp_path):
    with pytest.raises(HeadwaterError, match="rows.rules.0: a rule must have exactly one"):
        chain.run(trips(1), config={"rows": {"rules": [{"name": "x"}]}})
    with pytest.raises(
        HeadwaterError, match="config.rows.rules.0.sverity: there is no such setting; did you mean 'severity'"
    ):
        chain.run(trips(2), config={"rows": {"rules": [{"name": "x", "row": "fare > 0", "sverity": 1}]}})
    with pytest.raises(HeadwaterError, match="'fair'"):
        chain.run(trips(3), config={"rows": {"rules": [{"name": "x", "row": "fair > 0"}]}})
    with pytest.raises(HeadwaterError, match="nowhere"):
        chain.run(trips(4), config=RULES, dataset=str(tmp_path / "nowhere"))


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")
def test_the_page_opens_without_a_network(chain):
    chain.run(trips(1))
    chain.accept()
    frame = trips(2)
    frame["fare"] *= 1.5
    frame.loc[20:400, "payment"] = "<script>alert(1)</script>{{ 7 * 7 }}"
    verdict = chain.run(frame, config=RULES)
    with Browser() as browser:
        browser.open(verdict.locate("page.html"))
        text = browser.run("document.body.innerText")
        assert text.index("Rejected") < text.index("Findings") < text.index("All changes")
        assert "<script>alert(1)</script>{{ 7 * 7 }}" in text
        # Both distributions of what moved lie over each other.
        drawn = "[...document.querySelectorAll('figure svg.chart')].map(s => [...s.querySelectorAll('path[class^=s]')].map(p => p.getBBox().height > 0))"
        assert [True, True] in browser.run(drawn)
        assert "Distributions of fare" in browser.run(
            "[...document.querySelectorAll('svg')].map(s => s.ariaLabel).join()"
        )
        assert browser.requests == [f"file://{verdict.locate('page.html')}"] and not browser.complaints


def test_what_the_label_says_is_compared(chain):
    settings = {"concept": {"label": "tipped"}}
    chain.run(trips(1, 20_000))
    same = chain.run(trips(2, 20_000), config=settings)
    assert not [f for f in same.body["findings"] if f["kind"] in ("CONCEPT_DRIFT", "LABEL_DRIFT")]
    frame = trips(3, 20_000)
    cash = frame["payment"] == "cash"
    frame["tipped"] = np.where(cash, np.random.default_rng(9).random(20_000) < 0.7, frame["tipped"]).astype(int)
    changed = chain.run(frame, config=settings)
    kinds = {(f["feature"], f["kind"]) for f in changed.body["findings"]}
    assert ("payment", "CONCEPT_DRIFT") in kinds and ("payment", "DRIFT") not in kinds
    assert changed.body["concept"]["label"] == "tipped" and "concept" not in chain.run(trips(4)).body


def test_training_and_serving_rows_are_compared_by_key(chain, tmp_path):
    frame = trips(1)
    serving = frame.copy()
    serving.loc[::10, "fare"] += 1
    serving.to_csv(tmp_path / "serving.csv", index=False)
    verdict = chain.run(frame, config={"feature_skew": {"serving": str(tmp_path / "serving.csv")}})
    [found] = [f for f in verdict.body["findings"] if f["kind"] == "FEATURE_SKEW"]
    assert found["feature"] == "fare" and "300 of 3,000 joined rows (10 %), by 1 at most" in found["message"]
    assert verdict.body["feature_skew"]["rows"]["joined"] == 3000
    assert "feature_skew" not in chain.run(trips(2)).body
