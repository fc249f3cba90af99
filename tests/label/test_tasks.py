"""Rows as tasks for people: which rows, what they show, and what they never show."""

from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trips import collect_trips

from headwater.components.collect import collect_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked
from headwater.components.label.human.settings import Tasks
from headwater.components.label.human.tasks import write_tasks

CLASSES = ["fine", "<late> & more"]
ROWS = 60


@pytest.fixture(scope="module")
def trips(tmp_path_factory):
    """Sixty trips, of which every third has a gold answer, and a column of addresses, which collect finds to be private."""
    return collect_trips(
        tmp_path_factory.mktemp("trips"),
        ROWS,
        said=lambda n: f'=HYPERLINK("{n}")<b>&',
        photo=lambda n: f"https://example.org/{n}.png",
        amount=lambda n: -n / 7,
        known=lambda n: "fine" if n % 3 == 0 else None,
        mail=lambda n: f"person{n}@example.org",
        **{"$odd name": lambda n: None if n % 2 else f"odd {n}"},
    )


def ask(trips, tmp_path, chosen=None, **more):
    settings = checked(Tasks, {"classes": CLASSES, **more})
    return write_tasks(trips, chosen, str(tmp_path / "tasks"), settings)


def records(tmp_path, name="tasks.jsonl"):
    return [json.loads(line) for line in (tmp_path / "tasks" / name).read_text().splitlines()]


def test_chosen_rows_keep_their_order_whatever_shards_they_lie_in(trips, tmp_path):
    chosen = pa.table({"id": pa.array([41, 3, 58, 3], pa.int32()), "_score": [4.0, 3, 2, 1], "_reason": ["a"] * 4})
    summary = ask(trips, tmp_path, chosen, format="jsonl")
    assert [each["id"] for each in records(tmp_path)] == ["41", "3", "58"]
    assert (summary["rows"], summary["gold"], summary["votes"]) == (3, 0, 3)
    assert json.loads((tmp_path / "tasks/batch.json").read_text()) == summary
    assert ask(trips, tmp_path, chosen.to_pandas(), format="jsonl") == summary
    with pytest.raises(HeadwaterError, match="chosen: must be a path or URI, or a table of pandas, polars or Arrow"):
        ask(trips, tmp_path, [41, 3])


def test_without_chosen_rows_a_sample_by_the_seed_is_asked_about(trips, tmp_path):
    asked = []
    for seed in (1, 1, 2):
        ask(trips, tmp_path, format="jsonl", rows=10, seed=seed)
        asked.append([each["_row"] for each in records(tmp_path)])
    assert asked[0] == asked[1] != asked[2]
    assert len(set(asked[0])) == 10


def test_gold_questions_are_mixed_in_and_look_like_the_others(trips, tmp_path):
    summary = ask(trips, tmp_path, format="jsonl", rows=12, gold="known", gold_share=0.25)
    assert (summary["rows"], summary["gold"], summary["tasks"]) == (12, 4, 16)
    tasks = records(tmp_path)
    golden = [int(each["id"]) % 3 == 0 for each in tasks]
    assert sum(golden) == 4 and golden != sorted(golden)
    assert len({frozenset(each) for each in tasks}) == 1 and "known" not in tasks[0]


def test_tasks_carry_the_name_of_their_project(trips, tmp_path):
    default = ask(trips, tmp_path, format="jsonl", rows=2)["project"]
    assert records(tmp_path)[0]["_project"] == default
    assert ask(trips, tmp_path, rows=2, classes=["fine", "lost"])["project"] != default
    assert ask(trips, tmp_path, rows=2, project="mine")["project"] == "mine"


def test_private_and_hidden_columns_are_never_written(trips, tmp_path):
    for form in ("label_studio", "csv", "jsonl"):
        summary = ask(trips, tmp_path, format=form, rows=5, hidden=["amount"])
        assert summary["hidden"] == ["mail"]
        for path in (tmp_path / "tasks").iterdir():
            text = path.read_text()
            assert "amount" not in text and "@example.org" not in text and '"mail"' not in text.replace('["mail"]', "")
    with pytest.raises(HeadwaterError, match="columns: 'mail' is private"):
        ask(trips, tmp_path, columns={"mail": "text"})


def test_no_cell_of_csv_is_taken_for_a_formula(trips, tmp_path):
    ask(trips, tmp_path, format="csv", rows=3, overlap=2)
    rows = list(csv.reader(io.StringIO((tmp_path / "tasks/tasks.csv").read_text())))
    assert len(rows) == 1 + 3 * 2 and rows[1] == rows[4]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "@", "+", "\t"))]
    said = rows[0].index("said")
    assert rows[1][said].startswith("'=HYPERLINK")


def test_label_studio_gets_views_choices_and_overlap(trips, tmp_path):
    views = {"said": "text", "photo": "image", "amount": "table", "$odd name": "table"}
    ask(trips, tmp_path, rows=3, overlap=3, columns=views, question="Late? <b>")
    config = ElementTree.fromstring((tmp_path / "tasks/label_config.xml").read_text())
    project = json.loads((tmp_path / "tasks/project.json").read_text())
    assert project["maximum_annotations"] == 3
    assert project["label_config"] == (tmp_path / "tasks/label_config.xml").read_text()
    assert [each.get("value") for each in config.iter("Choice")] == CLASSES
    [task, *_] = json.loads((tmp_path / "tasks/tasks.json").read_text())
    data = task["data"]
    shown = {each.tag: data[each.get("value")[1:]] for each in config if each.tag in ("Text", "Image", "Table")}
    assert shown["Image"].startswith("https://example.org/") and shown["Text"].startswith("=HYPERLINK")
    assert set(shown["Table"]) == {"amount", "$odd name"}
    assert data["question"] == "Late? <b>"


def test_the_budget_bounds_rows_and_gold(trips, tmp_path):
    summary = ask(trips, tmp_path, rows=40, overlap=2, cost=0.5, budget=20, gold="known", gold_share=0.25)
    assert (summary["rows"], summary["gold"], summary["cost"]) == (15, 5, 20)
    assert summary["not_asked"] == 25
    with pytest.raises(HeadwaterError, match="budget: 3 pays for no row, because 2 answers at 2 cost 4"):
        ask(trips, tmp_path, overlap=2, cost=2, budget=3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"budget": 0}, "budget: input should be greater than 0"),
        ({"budget": 3}, "cost: must be above 0"),
        ({"gold_share": 0.1}, "gold: must name the column"),
        ({"format": "cvat"}, "format: must be one of label_studio, csv, jsonl"),
        ({"columns": {"nothing": "text"}}, "columns: there is no column 'nothing'"),
        ({"columns": {"amount": "image"}}, "columns: 'amount' is double, but an image must be text"),
        ({"columns": {"known": "text"}, "gold": "known"}, "columns: 'known' is hidden or holds the gold"),
        ({"hidden": ["nothing"]}, "hidden: there is no column"),
        ({"gold": "nothing", "gold_share": 0.1}, "gold: there is no column 'nothing'"),
        ({"classes": ["a", "a"]}, "classes: a class is given twice"),
    ],
)
def test_what_cannot_be_asked_is_refused(trips, tmp_path, given, expected):
    with pytest.raises(HeadwaterError, match=expected):
        ask(trips, tmp_path, **given)
    assert not (tmp_path / "tasks").exists()


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (pa.table({"id": [3, 9_999]}), "chosen: 1 of 2 keys"),
        (pa.table({"other": [3]}), "chosen: has no column 'id'"),
        (pa.table({"id": ["x"]}), "chosen: its key is of another type"),
        (pa.table({"id": pa.array([], pa.int64())}), "chosen: there are no rows"),
    ],
)
def test_chosen_rows_must_be_the_datasets(trips, tmp_path, chosen, expected):
    with pytest.raises(HeadwaterError, match=expected):
        ask(trips, tmp_path, chosen)


def test_plain_files_are_asked_about_by_the_row_ids_that_label_gives(tmp_path):
    pq.write_table(pa.table({"said": list("abcdef")}), tmp_path / "plain.parquet")
    summary = ask(str(tmp_path / "plain.parquet"), tmp_path, format="jsonl", rows=4)
    assert summary["project"].startswith("rows-") and len({each["_row"] for each in records(tmp_path)}) == 4


def test_a_private_key_would_travel_with_every_task(tmp_path):
    pq.write_table(
        pa.table({"mail": [f"p{n}@example.org" for n in range(30)], "said": ["x"] * 30}), tmp_path / "m.parquet"
    )
    collect_dataset(str(tmp_path / "m.parquet"), str(tmp_path / "data"), key=["mail"], workers=1)
    with pytest.raises(HeadwaterError, match="the key 'mail' is private"):
        ask(str(tmp_path / "data"), tmp_path)
