"""People's votes: in whatever form they come, what is refused, and what is made of them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from raters import generate
from trips import collect_trips

from headwater.components.collect import collect_dataset
from headwater.components.common.dataset import open_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked
from headwater.components.label import label_dataset
from headwater.components.label.human.adjudicating import to_adjudicate
from headwater.components.label.human.settings import Tasks
from headwater.components.label.human.tasks import write_tasks

CLASSES = ["fine", "late"]
ROWS = 120
TRUTH = ["late" if number % 3 == 0 else "fine" for number in range(ROWS)]


@pytest.fixture(scope="module")
def trips(tmp_path_factory):
    return collect_trips(
        tmp_path_factory.mktemp("trips"),
        ROWS,
        said=lambda n: f"trip {n}",
        known=lambda n: TRUTH[n] if n % 10 == 0 else None,
        truth=lambda n: TRUTH[n],
    )


def votes(rows=range(100), raters=("ann", "bob", "eve"), wrong=lambda row, rater: False, **more) -> pa.Table:
    """A vote of each rater on each row, right unless it is said to be wrong."""
    pairs = [(row, rater) for row in rows for rater in raters]
    answers = [CLASSES[(CLASSES.index(TRUTH[row % ROWS]) + bool(wrong(row, rater))) % 2] for row, rater in pairs]
    columns = {"id": [row for row, _ in pairs], "rater": [rater for _, rater in pairs], "answer": answers}
    return pa.table({**columns, **{name: [value(*pair) for pair in pairs] for name, value in more.items()}})


def label(trips, tmp_path, given, inputs=None, **more):
    path = given
    if isinstance(given, pa.Table):
        path = str(tmp_path / "votes.parquet")
        pq.write_table(given, path)
    step = {"method": "human", "classes": CLASSES, "votes": "votes", **more}
    inputs = {"votes": str(path), **(inputs or {})}
    return label_dataset(trips, str(tmp_path / "labels"), steps=[step], inputs=inputs, workers=1)


def labels_of(result) -> dict:
    table = open_dataset(result.uri).to_table(columns=["id", "label", "label_probability"])
    return {row["id"]: (row["label"], row["label_probability"]) for row in table.to_pylist()}


def report_of(result) -> dict:
    return result.body["steps"][0]


def messages(result) -> str:
    return "\n".join(each["message"] for each in result.body["findings"])


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_rows_with_votes_get_the_class_that_raters_agree_on(trips, tmp_path, form):
    given = votes(seconds=lambda row, rater: 3.5, time=lambda row, rater: f"2026-01-0{1 + row % 9}T10:00:00")
    path = tmp_path / f"votes.{form}"
    if form == "csv":
        pacsv.write_csv(given, path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in given.to_pylist()))
    else:
        pq.write_table(given, path)
    result = label(trips, tmp_path, str(path), truth="truth")
    found = labels_of(result)
    assert all(found[row][0] == TRUTH[row] for row in range(100)) and found[110] == (None, None)
    report = report_of(result)
    assert (report["voted"], report["votes"], report["rater_count"]) == (100, 300, 3)
    assert report["agreement"]["alpha"] == 1 and report["raters"][0]["seconds"] == 3.5
    assert result.body["truth"]["accuracy"] == 1 and not result.body["findings"]


def exported(tasks, answers, **more) -> list[dict]:
    """Tasks with annotations as Label Studio exports them."""
    return [
        {
            "id": number,
            "data": task["data"],
            "annotations": [
                {
                    "id": 10 * number + place,
                    "completed_by": rater,
                    "was_cancelled": answer is None,
                    "lead_time": 2.5,
                    "created_at": f"2026-01-01T00:00:{place:02}.000000Z",
                    "prediction": {},
                    "result": [
                        {
                            "id": "n",
                            "type": "textarea",
                            "from_name": "note",
                            "to_name": "t",
                            "value": {"text": ["odd"]},
                        },
                        {"id": "a", "type": "choices", "from_name": "answer", "value": {"choices": [answer]}},
                    ]
                    if answer
                    else [],
                }
                for place, (rater, answer) in enumerate(answers(task["data"]).items())
            ],
            "drafts": [],
            "meta": {},
            "project": 7,
            **more,
        }
        for number, task in enumerate(tasks, 1)
    ]


def asked(trips, tmp_path, form="label_studio", **more):
    settings = checked(
        Tasks, {"classes": CLASSES, "format": form, "hidden": ["truth"], "gold": "known", "rows": 30, **more}
    )
    return write_tasks(trips, None, str(tmp_path / "tasks"), settings)


def test_label_studios_export_is_read_as_it_is(trips, tmp_path):
    summary = asked(trips, tmp_path, gold_share=0.2)
    tasks = json.loads((tmp_path / "tasks/tasks.json").read_text())

    def answers(data):
        right = TRUTH[int(data["_key"]["id"])]
        return {1: right, "a@example.org": right, 3: None}

    (tmp_path / "export.json").write_text(json.dumps(exported(tasks, answers), indent=1))
    result = label(trips, tmp_path, tmp_path / "export.json", gold="known", truth="truth")
    report = report_of(result)
    assert report["voted"] == summary["tasks"] and report["counts"]["cancelled"] == summary["tasks"]
    assert report["counts"]["gold"] == summary["gold"] > 0
    assert result.body["truth"]["accuracy"] == 1
    assert {each["name"][0] for each in report["raters"]} == {"1", "#"}
    page = (tmp_path / "labels" / result.body["page"]).read_text()
    assert "a@example.org" not in page and "a@example.org" not in json.dumps(result.body)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_tasks_come_back_as_they_went_out(trips, tmp_path, form):
    """Answers filled into the very file, a task left open."""
    asked(trips, tmp_path, form, overlap=2)
    path = tmp_path / f"tasks/tasks.{form}"
    if form == "csv":
        table = pacsv.read_csv(path).to_pylist()
    else:
        table = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(table[:-1]):
        row["rater"], row["answer"] = ("ann", "bob")[number // 30], TRUTH[int(row["id"])]
    back = tmp_path / f"back.{form}"
    if form == "csv":
        pacsv.write_csv(pa.Table.from_pylist(table), back)
    else:
        back.write_text("".join(json.dumps(row) + "\n" for row in table))
    report = report_of(label(trips, tmp_path, back, truth="truth"))
    assert (report["voted"], report["votes"], report["counts"]["unanswered"]) == (30, 59, 1)


def test_votes_of_another_project_are_refused(trips, tmp_path):
    asked(trips, tmp_path, "jsonl", classes=["fine", "late", "lost"])
    rows = [json.loads(line) for line in (tmp_path / "tasks/tasks.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({**row, "rater": "ann", "answer": "late"}) + "\n" for row in rows)
    (tmp_path / "votes.jsonl").write_text(text)
    with pytest.raises(HeadwaterError, match="votes.jsonl, row 1: is a vote of the project 'data-[0-9a-f]{8}', but"):
        label(trips, tmp_path, tmp_path / "votes.jsonl")
    label(trips, tmp_path, tmp_path / "votes.jsonl", project=rows[0]["_project"])


@pytest.mark.parametrize(
    ("given", "more", "expected"),
    [
        (votes([3, 500, 7, 501]), {}, "6 of 12 votes are for rows that the dataset does not have.*vote 4 of"),
        (votes([3]).rename_columns(["id", "who", "answer"]), {}, "no column 'rater' for the rater; name it by `rater`"),
        (votes([3]).rename_columns(["id", "rater", "said"]), {}, "no column 'answer' for the answer"),
        (votes([3]).rename_columns(["row", "rater", "answer"]), {}, "does not say which row a vote is for"),
        (votes([3]), {"seconds": "took"}, "no column 'took' for the seconds"),
        (votes([3], seconds=lambda *_: "fast"), {}, "'seconds' of .* is string; it must hold numbers"),
        (votes([3], time=lambda *_: "noon"), {}, "'time' has a value that cannot be read as a time"),
        (votes([3], time=lambda *_: 4), {}, "column 'time' is int64; it must hold dates or timestamps"),
        (votes([3, 4], _row=lambda row, _: "0" * 32 if row == 3 else "1E+31"), {}, "row 4: `_row` must be the 32 hexa"),
        (votes([3]).set_column(2, "answer", [["fine", "Late", "fine"]]), {}, "row 2: has an answer that is not one of"),
        (votes([3]), {"raters": {"ann": "chief"}}, "raters: the rater ann is of the kind 'chief'; the kinds are"),
        (votes([3]), {"kind": "chief"}, "kind: there is no kind 'chief'"),
        (
            votes([3]),
            {"kinds": {"generalist": {"trust": 0.5}}},
            "trust: 0.5 must be above chance, which is 0.5 with 2 classes",
        ),
        (votes([3]), {"aggregation": "mean"}, "aggregation: must be one of majority, dawid_skene"),
        (votes([3]), {"votes": "answers"}, "there is no input 'answers'"),
        (votes([3]), {"gold": "truth", "truth": "truth"}, "gold: 'truth' is also the truth"),
        (votes([3]), {"gold": "nothing"}, "gold: there is no column 'nothing'"),
        (votes([3]), {"gold": "said"}, "gold: column 'said' has a value that is not one of the classes"),
        (votes([3]), {"gold_input": "votes"}, "gold: must name the column of the input 'votes'"),
        (votes([3]), {"scale": "interval"}, "scale: interval needs classes that are numbers"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(trips, tmp_path, given, more, expected):
    with pytest.raises(HeadwaterError, match=expected):
        label(trips, tmp_path, given, **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[{"id": 1, "text": "x", "answer": "late", "annotator": 1}]',
            "task 1 has no `data` and `annotations`.*JSON-MIN",
        ),
        (
            '[{"data": {"id": 3}, "annotations": [{"result": "x"}]}]',
            "tasks 1 to 1 are not as Label Studio exports them",
        ),
        ('[{"data": {"id": 3}, "annotations": []}', "ends inside the value"),
    ],
)
def test_what_is_no_export_is_refused(trips, tmp_path, text, expected):
    (tmp_path / "export.json").write_text(text)
    with pytest.raises(HeadwaterError, match=expected):
        label(trips, tmp_path, tmp_path / "export.json")


def test_tasks_of_other_origin_find_their_rows_by_the_key_in_their_data(trips, tmp_path):
    tasks = [{"data": {"id": number, "text": "x"}} for number in (3, 4)]
    export = exported(tasks, lambda data: {1: TRUTH[data["id"]], 2: TRUTH[data["id"]]})
    (tmp_path / "export.json").write_text(json.dumps(export))
    found = labels_of(label(trips, tmp_path, tmp_path / "export.json"))
    assert (found[3][0], found[4][0]) == (TRUTH[3], TRUTH[4])
    tasks = [{"data": {"text": "x"}}]
    (tmp_path / "export.json").write_text(json.dumps(exported(tasks, lambda data: {1: "late"})))
    with pytest.raises(HeadwaterError, match="task 1: the vote does not say which row it is for; it needs _row or id"):
        label(trips, tmp_path, tmp_path / "export.json")


def test_votes_for_unknown_rows_may_be_skipped(trips, tmp_path):
    result = label(trips, tmp_path, votes([3, 500]), unknown_rows="skip")
    assert report_of(result)["voted"] == 1 and "3 votes are for rows that the dataset does not have" in messages(result)


def test_of_a_rater_who_votes_twice_on_a_row_the_last_vote_counts(trips, tmp_path):
    # As pandas reads columns of a sheet that nobody filled in.
    empty = votes([3], raters=("ann",)).append_column("time", pa.array([None], pa.float64()))
    assert labels_of(label(trips, tmp_path, empty.append_column("seconds", pa.array([None], pa.float64()))))[3][0]
    first = votes([3], raters=("ann",), time=lambda *_: "2026-01-02T00:00:00")
    late = votes([3], raters=("ann",), wrong=lambda *_: True, time=lambda *_: "2026-01-03T00:00:00")
    result = label(trips, tmp_path, pa.concat_tables([late, first]))
    assert labels_of(result)[3][0] != TRUTH[3]
    assert "1 votes were replaced by a later one of the same rater" in messages(result)
    assert "no row has two votes and there is no gold" in messages(result)
    assert 0.7 < labels_of(result)[3][1] < 0.9


def test_raters_and_their_kinds_come_from_settings_or_a_file(trips, tmp_path):
    """One expert against two users."""
    given = votes(range(60), wrong=lambda row, rater: rater != "ann" and row == 7)
    kinds = {"expert": {"trust": 0.999, "cost": 5}, "user": {"trust": 0.55, "cost": 0.5}}
    more = {"kinds": kinds, "kind": "user", "aggregation": "majority"}
    plain = label(trips, tmp_path / "a", given, **more) if (tmp_path / "a").mkdir() is None else None
    assert labels_of(plain)[7][0] != TRUTH[7] and report_of(plain)["cost"] == 180 * 0.5
    (tmp_path / "b").mkdir()
    told = label(trips, tmp_path / "b", given, raters={"ann": "expert"}, **more)
    assert labels_of(told)[7][0] == TRUTH[7] and report_of(told)["cost"] == 60 * 5 + 120 * 0.5
    (tmp_path / "c").mkdir()
    (tmp_path / "raters.csv").write_text("rater,kind\nann,expert\nbob,user\n")
    filed = label(trips, tmp_path / "c", given, {"who": str(tmp_path / "raters.csv")}, raters_input="who", **more)
    assert labels_of(filed) == labels_of(told)
    assert filed.body["sources"] == ["votes (expert)", "votes (user)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name,kind\nann,expert\n", "has no column 'rater'; a file of raters has `rater` and `kind`"),
        ("rater,trust\nann,0.9\n", "has no column 'kind'"),
        ("rater,kind\nann,chief\n", "the rater ann is of the kind 'chief'; the kinds are expert, generalist, user"),
        ("rater,kind\nann,expert\nann,user\n", "the rater ann is of two kinds, expert and user"),
    ],
)
def test_a_file_of_raters_with_wrong_fields_is_refused(trips, tmp_path, text, expected):
    (tmp_path / "raters.csv").write_text(text)
    with pytest.raises(HeadwaterError, match=expected):
        label(trips, tmp_path, votes([3]), {"who": str(tmp_path / "raters.csv")}, raters_input="who")


def test_gold_rows_keep_their_class_and_raters_are_judged_by_it(trips, tmp_path):
    wrong = votes(range(60), wrong=lambda row, rater: row % 10 == 0)
    result = label(trips, tmp_path, wrong, gold="known")
    found = labels_of(result)
    assert found[10] == (TRUTH[10], 1.0)
    assert report_of(result)["raters"][0]["gold"][0] == 0
    pq.write_table(pa.table({"id": [10, 20], "sure": [TRUTH[10], TRUTH[20]]}), tmp_path / "gold.parquet")
    other = label(trips, tmp_path, wrong, {"gold": str(tmp_path / "gold.parquet")}, gold="sure", gold_input="gold")
    assert labels_of(other)[10] == (TRUTH[10], 1.0) and labels_of(other)[30][0] != TRUTH[30]
    assert report_of(other)["counts"]["gold"] == 2


def test_too_few_votes_or_too_little_certainty_abstain(trips, tmp_path):
    given = pa.concat_tables(
        [votes([3]), votes([4], raters=("ann",)), votes([5], wrong=lambda _, rater: rater == "eve")]
    )
    found = labels_of(label(trips, tmp_path, given, min_votes=2, min_probability=0.9, aggregation="majority"))
    assert found[3][0] is None and found[4][0] is None
    found = labels_of(label(trips, tmp_path, given, min_votes=2, aggregation="majority"))
    assert found[3][0] == TRUTH[3] and found[4][0] is None and found[5][0] == TRUTH[5]


def test_disputed_rows_are_a_list_that_the_next_batch_takes(trips, tmp_path):
    given = votes(range(80), raters=("ann", "bob"), wrong=lambda row, rater: rater == "bob" and row in (7, 8, 9))
    result = label(trips, tmp_path, given, adjudicate=2)
    disputed = to_adjudicate(result)
    assert disputed.num_rows == 2 and set(disputed["id"].to_pylist()) < {7, 8, 9}
    assert "have a label that is less than 60 % sure" in messages(result)
    settings = checked(Tasks, {"classes": CLASSES, "format": "jsonl", "hidden": ["truth"]})
    assert write_tasks(trips, disputed, str(tmp_path / "again"), settings)["rows"] == 2
    assert "to ask about once more" in (tmp_path / "labels" / result.body["page"]).read_text()


def test_bots_and_the_careless_are_found(trips, tmp_path):
    chance = np.random.default_rng(1)
    people = ("ann", "bob", "cat", "dan", "eve")
    good = votes(range(ROWS), people, wrong=lambda *_: chance.random() < 0.1, seconds=lambda *_: 8.0)
    extra = {
        "constant": (lambda row: "fine", 8.0),
        "turns": (lambda row: CLASSES[row % 2], 8.0),
        "dice": (lambda row: CLASSES[chance.integers(2)], 8.0),
        "hasty": (lambda row: TRUTH[row], 0.5),
        "tired": (lambda row: TRUTH[row] if row < 60 or chance.random() < 0.5 else "late", 8.0),
    }
    odd = pa.table(
        {
            "id": [row for _ in extra for row in range(ROWS)],
            "rater": [name for name in extra for _ in range(ROWS)],
            "answer": [answer(row) for answer, _ in extra.values() for row in range(ROWS)],
            "seconds": [seconds for _, seconds in extra.values() for _ in range(ROWS)],
        }
    )
    given = pa.concat_tables([good, odd])
    times = pa.array(given["id"].to_numpy() * 1_000_000, pa.timestamp("us"))
    result = label(trips, tmp_path, given.append_column("time", times), truth="truth")
    problems = {each["name"]: each["problems"] for each in report_of(result)["raters"]}
    assert problems["constant"] == ["constant"] and problems["turns"] == ["alternating"]
    assert problems["dice"] == ["guessing"] and problems["hasty"] == ["too_fast"] and problems["tired"] == ["worse"]
    assert not any(problems[name] for name in people)
    assert result.body["truth"]["accuracy"] > 0.97
    for expected in (
        "give answers in turn",
        "are right no more often than by guessing",
        "1 of 10 raters answer in less",
    ):
        assert expected in messages(result)


def test_little_agreement_is_a_finding_by_its_scale(trips, tmp_path):
    chance = np.random.default_rng(2)
    given = votes(range(100), wrong=lambda *_: chance.random() < 0.5)
    result = label(trips, tmp_path, given)
    assert "raters agree little beyond chance (alpha" in messages(result)
    assert report_of(result)["agreement"]["scale"] == "nominal"
    ordinal = report_of(label(trips, tmp_path, given, scale="ordinal"))["agreement"]
    assert ordinal["scale"] == "ordinal"


def test_no_vote_at_all_is_a_finding(trips, tmp_path):
    (tmp_path / "votes.csv").write_text("id,rater,answer\n3,ann,\n")
    result = label(trips, tmp_path, tmp_path / "votes.csv")
    assert "no row has a vote; 1 votes were read" in messages(result)


def test_labels_are_the_same_by_any_number_of_partitions_and_samples(tmp_path, monkeypatch):
    from headwater.components.label.human import joining

    truth, given, *_ = generate(3_000, 20, 3, 3, 5)
    classes = ["a", "b", "c"]
    pq.write_table(pa.table({"id": np.arange(3_000)}), tmp_path / "rows.parquet")
    collect_dataset(str(tmp_path / "rows.parquet"), str(tmp_path / "data"), key=["id"], workers=1)
    names = [f"r{number}" for number in given.rater]
    table = {"id": given.item.astype("i8"), "rater": names, "answer": [classes[each] for each in given.answer]}
    pq.write_table(pa.table(table), tmp_path / "votes.parquet")
    found = []
    for number, (rows, sample) in enumerate(((500_000, 5_000_000), (700, 5_000_000), (700, 2_000))):
        monkeypatch.setattr(joining, "PARTITION_ROWS", rows)
        step = {"method": "human", "classes": classes, "votes": "v", "sample_votes": sample}
        inputs = {"v": str(tmp_path / "votes.parquet")}
        result = label_dataset(
            str(tmp_path / "data"), str(tmp_path / f"o{number}"), steps=[step], inputs=inputs, workers=1
        )
        found.append((labels_of(result), report_of(result)))
    (one, told), (many, _), (few, sampled) = found
    assert [label for label, _ in one.values()] == [label for label, _ in many.values()]
    assert told["judged_by"] == 9_000 > sampled["judged_by"]
    alike = np.mean([one[row][0] == few[row][0] for row in one])
    assert 0.9 < alike < 1


def test_votes_on_plain_files_find_their_rows_by_the_ids_that_tasks_carry(tmp_path):
    pq.write_table(pa.table({"said": [f"trip {n}" for n in range(6)]}), tmp_path / "plain.parquet")
    settings = checked(Tasks, {"classes": CLASSES, "format": "jsonl", "rows": 4})
    write_tasks(str(tmp_path / "plain.parquet"), None, str(tmp_path / "tasks"), settings)
    tasks = [json.loads(line) for line in (tmp_path / "tasks/tasks.jsonl").read_text().splitlines()]
    answers = {task["said"]: CLASSES[number % 2] for number, task in enumerate(tasks)}
    lines = [json.dumps({**task, "rater": "ann", "answer": answers[task["said"]]}) + "\n" for task in tasks]
    (tmp_path / "votes.jsonl").write_text("".join(lines))
    step = {"method": "human", "classes": CLASSES, "votes": "v"}
    inputs = {"v": str(tmp_path / "votes.jsonl")}
    result = label_dataset(
        str(tmp_path / "plain.parquet"), str(tmp_path / "labels"), steps=[step], inputs=inputs, workers=1
    )
    rows = open_dataset(result.uri).to_table(columns=["said", "label"]).to_pylist()
    assert {row["said"]: row["label"] for row in rows if row["label"]} == answers
    assert to_adjudicate(result).num_rows == 0
    with pytest.raises(HeadwaterError, match="does not say which row a vote is for; it needs _row; its columns are"):
        pq.write_table(votes([3]), tmp_path / "v.parquet")
        label_dataset(
            str(tmp_path / "plain.parquet"),
            str(tmp_path / "l"),
            steps=[step],
            inputs={"v": str(tmp_path / "v.parquet")},
        )


def test_a_row_keeps_the_label_of_an_earlier_step_and_people_fill_in(trips, tmp_path):
    """Experts first, then everybody: two inputs of votes, one step each."""
    pq.write_table(votes(range(10), ("ann",), wrong=lambda row, _: row == 7), tmp_path / "expert.parquet")
    pq.write_table(votes(range(40)), tmp_path / "crowd.parquet")
    steps = [
        {"method": "human", "classes": CLASSES, "votes": "expert", "kind": "expert"},
        {"method": "human", "votes": "crowd", "classes": CLASSES},
    ]
    inputs = {name: str(tmp_path / f"{name}.parquet") for name in ("expert", "crowd")}
    result = label_dataset(trips, str(tmp_path / "labels"), steps=steps, inputs=inputs, workers=1)
    found = labels_of(result)
    assert found[7][0] != TRUTH[7] and found[20][0] == TRUTH[20]
    assert len(result.body["sources"]) == 6


def test_columns_of_votes_may_have_other_names(trips, tmp_path):
    given = votes(range(30), seconds=lambda *_: 9.0, time=lambda *_: "2026-01-02", said=lambda row, _: TRUTH[row])
    given = given.rename_columns(["id", "who", "answer", "took", "at", "said"])
    given = given.set_column(2, "answer", [["late"] * 90])
    result = label(trips, tmp_path, given, rater="who", answer="said", seconds="took", time="at")
    assert all(labels_of(result)[row][0] == TRUTH[row] for row in range(30))
    assert {each["seconds"] for each in report_of(result)["raters"]} == {9.0}


def test_the_control_that_takes_the_answer_may_have_another_name(trips, tmp_path):
    tasks = [{"data": {"id": number}} for number in range(4)]
    export = exported(tasks, lambda data: {1: TRUTH[data["id"]]})
    for task in export:
        for given in task["annotations"]:
            given["result"].append({"type": "choices", "from_name": "sure", "value": {"choices": ["very"]}})
            given["result"][1]["from_name"] = "verdict"
    (tmp_path / "export.json").write_text(json.dumps(export))
    assert report_of(label(trips, tmp_path, tmp_path / "export.json", answer="verdict"))["voted"] == 4
    with pytest.raises(HeadwaterError, match="task 1: has an answer that is not one of the classes"):
        label(trips, tmp_path, tmp_path / "export.json", answer="sure")


def test_raters_are_weighed_or_counted(trips, tmp_path):
    """Three who answer anything outvote two who are right, until it is seen that they do."""
    chance = np.random.default_rng(4)
    people = ("ann", "bob", "cat", "dan", "eve")
    given = votes(range(ROWS), people, wrong=lambda row, rater: rater not in ("ann", "bob") and chance.random() < 0.5)
    right = {}
    for name in ("majority", "dawid_skene"):
        (tmp_path / name).mkdir()
        result = label(trips, tmp_path / name, given, truth="truth", aggregation=name)
        right[name] = result.body["truth"]["accuracy"]
    assert right["dawid_skene"] > 0.97 > 0.94 > right["majority"]
