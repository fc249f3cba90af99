"""How results look in a notebook, and tables in memory where a dataset is asked for."""

from __future__ import annotations

import html
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common.dataset import load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.tables_in_memory import as_uri, as_uris
from headwater.components.generate_statistics import compute_statistics, merge_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.label import label_dataset
from headwater.components.validate import check_statistics

STEPS = [
    {
        "method": "weak_supervision",
        "classes": ["low", "high"],
        "model": "majority",
        "functions": [
            {"name": "dear", "threshold": {"column": "amount", "above": 10, "vote": "high"}},
            {"name": "cheap", "threshold": {"column": "amount", "below": 10, "vote": "low"}},
        ],
    }
]


def orders(rows: int = 300) -> pd.DataFrame:
    chance = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "id": range(rows),
            "amount": chance.normal(10, 1, rows).round(3),
            "kind": chance.choice(["book", "film", "<b>&\"'"], rows),
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Each kind of result, of one table of pandas."""
    folder = tmp_path_factory.mktemp("made")
    dataset = collect_dataset(orders(), str(folder / "data"), key=["id"], workers=1)
    labels = label_dataset(dataset.uri, str(folder / "labels"), steps=STEPS, workers=1)
    statistics = compute_statistics(dataset.uri, str(folder / "statistics"), workers=1)
    schema = derive_schema(statistics.uri, str(folder / "schema"))
    anomalies = check_statistics(statistics.uri, schema.uri, str(folder / "anomalies"))
    return {each.kind: each for each in (dataset, labels, statistics, schema, anomalies)}


def test_a_result_is_taken_where_its_uri_is(made, tmp_path):
    dataset, statistics, schema = made["dataset"], made["statistics"], made["schema"]
    again = compute_statistics(dataset, str(tmp_path / "statistics"), workers=1)
    assert again.fingerprint == statistics.fingerprint
    assert (
        label_dataset(dataset, str(tmp_path / "labels"), steps=STEPS, workers=1).fingerprint
        == made["labels"].fingerprint
    )
    assert derive_schema(again, str(tmp_path / "schema")).fingerprint == schema.fingerprint
    assert derive_schema([again], str(tmp_path / "kept"), base_schema=schema).body["base"]["uri"].startswith(schema.uri)
    verdict = check_statistics(again, schema, str(tmp_path / "anomalies"), baseline=statistics)
    assert verdict.manifest["inputs"]["baseline"]["uri"] == statistics.uri
    assert merge_statistics([again], str(tmp_path / "merged")).body["splits"].keys() == again.body["splits"].keys()


def test_a_result_is_one_short_line(made):
    for kind, result in made.items():
        line = repr(result)
        assert line.startswith(f"<{kind.title()} ") and line.endswith(f"{result.uri}>") and len(line) < 300
    assert "300 rows, train " in repr(made["dataset"]) and "labels low " in repr(made["labels"])
    assert made["anomalies"].body["verdict"] in repr(made["anomalies"])


def test_the_page_is_in_a_frame_that_cannot_reach_out(made):
    for result in made.values():
        [frame] = re.findall(r"<iframe [^>]*></iframe>", result._repr_html_())
        # No same origin: scripts of the page see nothing of the notebook.
        assert ' sandbox="allow-scripts" ' in frame
        [page] = re.findall(r' srcdoc="([^"]*)"', frame)
        assert "<!doctype html>" in html.unescape(page).lower()


def test_show_says_where_the_page_is_outside_a_notebook(made, capsys):
    made["schema"].show()
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == repr(made["schema"])
    assert shown.splitlines()[1] == f"page    {made['schema'].uri}/page.html"


def test_tables(made):
    rows = made["dataset"].to_pandas()
    assert len(rows) == 300 and set(rows["split"]) == {"train", "eval"} and sorted(rows["id"]) == list(range(300))
    labels = made["labels"].to_pandas()
    assert len(labels) == 300 and set(labels["label"].dropna()) == {"low", "high"}
    statistics = made["statistics"].to_pandas().set_index(["split", "feature"])
    assert list(statistics.index.get_level_values("feature").unique()) == ["amount", "id", "kind"]
    train = rows[rows["split"] == "train"]
    assert statistics.loc[("train", "amount"), "mean"] == pytest.approx(train["amount"].mean())
    assert statistics.loc[("train", "kind"), "distinct"] == 3
    assert statistics.loc[("train", "kind"), "missing"] == 0
    schema = made["schema"].to_pandas().set_index("feature")
    assert schema.loc["amount", "type"] == "FLOAT" and schema.loc["kind", "required"]
    anomalies = made["anomalies"].to_pandas()
    assert len(anomalies) == len(made["anomalies"].body["findings"])
    assert {"severity", "split", "feature", "check", "kind", "message"} <= set(anomalies.columns)


def test_an_opened_dataset_looks_like_its_result(made):
    opened = load_dataset(made["dataset"].uri)
    assert repr(opened) == repr(made["dataset"]) and len(opened.to_pandas()) == 300


def test_pandas_comes_with_the_first_table_only():
    code = "import sys; from headwater.components.common.results import Result; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_table_in_memory_is_read_the_same_twice_and_named_so(made, tmp_path):
    [source] = made["dataset"].body["lineage"]["sources"]
    assert re.fullmatch(r"a table in memory \(SHA-256 [0-9a-f]{64}\)", source["uri"])
    again = collect_dataset(orders(), str(tmp_path / "again"), key=["id"], workers=1)
    assert again.fingerprint == made["dataset"].fingerprint
    other = collect_dataset(orders(299), str(tmp_path / "other"), key=["id"], workers=1)
    assert other.fingerprint != again.fingerprint


class Frame:
    """A polars frame, as far as it is read here: polars is no dependency."""

    def __init__(self, table):
        self.table = table

    def to_arrow(self):
        return self.table


Frame.__module__ = "polars.dataframe.frame"


def test_arrow_and_polars_too(tmp_path):
    table = pa.Table.from_pandas(orders(), preserve_index=False)
    as_is = [
        compute_statistics(each, str(tmp_path / f"{n}"), workers=1) for n, each in enumerate((table, Frame(table)))
    ]
    plain = compute_statistics(as_uri(orders()), str(tmp_path / "plain"), workers=1)
    assert {each.read("Split-all/FeatureStats.pb") for each in (*as_is, plain)} == {
        plain.read("Split-all/FeatureStats.pb")
    }
    assert as_is[0].body["dataset"]["uri"].startswith("a table in memory (SHA-256 ")
    assert as_uri(table.to_batches()[0]) == as_uri(table) == as_uri(Frame(table))
    assert as_uris([table, "a.csv"]) == [as_uri(table), "a.csv"]
    assert as_uris(table) == [as_uri(table)] and as_uris("a.csv") == ["a.csv"] and as_uris(()) == []


def test_an_index_with_a_name_is_a_column():
    first = pd.read_parquet(as_uri(orders().set_index("id")))
    assert list(first.columns) == ["id", "amount", "kind"]
    assert list(pd.read_parquet(as_uri(orders().sample(frac=1, random_state=1))).columns) == ["id", "amount", "kind"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "dataset: must be a path or URI, or a table of pandas, polars or Arrow; given: int"),
        (pd.DataFrame({"mixed": [1, "a"]}), "dataset: the table cannot be read: .*mixed"),
    ],
)
def test_what_is_no_table(given, message):
    with pytest.raises(HeadwaterError, match=message):
        as_uri(given)


def test_labels_of_a_table_with_another_table_beside_it(tmp_path):
    checked = pd.DataFrame({"id": [1, 2], "label": ["low", "high"]})
    steps = [{**STEPS[0], "gold": "label", "gold_input": "checked"}]
    data = collect_dataset(orders(), str(tmp_path / "data"), key=["id"], workers=1)
    labels = label_dataset(data.uri, str(tmp_path / "labels"), steps=steps, inputs={"checked": checked}, workers=1)
    assert labels.body["steps"][0]["gold"]["rows"] == 2
    plain = label_dataset(orders(), str(tmp_path / "plain"), steps=STEPS, workers=1)
    assert len(plain.to_pandas()) == 300
