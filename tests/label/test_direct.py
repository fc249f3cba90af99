"""direct: rows labelled by what happened after they were served, each once, when its window has passed."""

from __future__ import annotations

import datetime
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset, results, storage
from headwater.components.common.dataset import load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.maintenance import find_garbage, remove_garbage, verify
from headwater.components.common.maintenance.garbage import Retention
from headwater.components.generate_statistics import compute_statistics
from headwater.components.label import attribution, label_dataset, pass_on
from headwater.pipelines.cli import NOT_BLESSED, main

DAY = 86_400_000_000
START = 1_767_225_600_000_000
"""2026-01-01, in microseconds."""

ROWS = 1_200
SPANS = (1, 2, 3, 4)


def instants(values):
    return pa.array(values, pa.timestamp("us", "UTC"))


def as_of(span):
    """The end of a span."""
    return f"2026-01-{span + 1:02d}T00:00:00Z"


@pytest.fixture(scope="module")
def served():
    """Predictions of four days, and what came of some of them: views, and buys that take longer."""
    chance = np.random.default_rng(11)
    rows = ROWS * len(SPANS)
    span = np.repeat(SPANS, ROWS)
    time = START + (span - 1) * DAY + chance.integers(0, DAY, rows)
    predictions = pa.table(
        {"id": np.arange(rows), "served": instants(time), "x": chance.normal(size=rows), "span": span}
    )
    of = np.concatenate([chance.integers(0, rows, rows), chance.integers(0, rows, rows // 10)])
    kind = chance.choice(["buy", "return", "view"], len(of), p=[0.4, 0.1, 0.5])
    wait = chance.exponential(np.where(kind == "buy", 0.4, 0.1) * DAY, len(of)).astype(np.int64)
    # Some come twice, some are of nobody, some are older than what they are of.
    wait[:20] = -3_600_000_000
    again = chance.integers(0, len(of), 200)
    of, kind, wait = (np.concatenate([each, each[again]]) for each in (of, kind, wait))
    happened = time[of] + wait
    number = of.copy()
    number[100:140] += 1_000_000
    events = pa.table({"request": number, "at": instants(happened), "kind": kind})
    return predictions, events.take(pa.array(chance.permutation(len(of))))


def write(folder, name, table):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / name, row_group_size=400)
    return str(folder / name)


def of_span(table, span, column):
    day = pc.cast(table[column], pa.int64()).to_numpy()
    return table.filter(pa.array((day >= START + (span - 1) * DAY) & (day < START + span * DAY)))


def step(**more):
    return {
        "method": "direct",
        "classes": ["no", "buy", "return"],
        "feedback": "events",
        "served": "served",
        "occurred": "at",
        "window": "12h",
        "outcome": "CASE WHEN kind <> 'view' THEN kind END",
        "no_event": "no",
        "on": {"id": "request"},
        **more,
    }


def collect(folder, table, span, **more):
    source = write(folder, f"served-{span}.parquet", table)
    return collect_dataset(
        source, str(folder / f"data-{span}"), name="served", span=span, data_root=str(folder / "root"), workers=1,
        **{"key": ["id"], **more},
    )  # fmt: skip


def label(data, output, events, *, span=None, given=None, when=None, **more):
    uri = data if isinstance(data, str) else data.uri
    return label_dataset(
        uri, str(output), steps=given or [step()], inputs={"events": events}, workers=1,
        as_of=when if when is not None else as_of(span), **more,
    )  # fmt: skip


def told(result, *names):
    """By id what the labelled rows hold."""
    rows = open_dataset(result.folder).to_table(columns=["id", *names])
    return dict(zip(rows["id"].to_pylist(), zip(*(rows[name].to_pylist() for name in names))))


def expected(predictions, events, window, no_event="no"):
    """By id the last event that tells a class within the window, read plainly."""
    time = dict(zip(predictions["id"].to_pylist(), pc.cast(predictions["served"], pa.int64()).to_pylist()))
    last = {}
    for number, at, kind in zip(*(events[name].to_pylist() for name in ("request", "at", "kind"))):
        at = round(at.timestamp() * 1e6)
        if kind != "view" and number in time and 0 <= at - time[number] <= window:
            last[number] = max(
                last.get(number, (0, "")),
                (at, kind),
                key=lambda each: (each[0], step()["classes"].index(each[1]) if each[1] else 0),
            )
    return {number: last[number][1] if number in last else no_event for number in time}


@pytest.fixture(scope="module", params=["12h", pytest.param("30h", marks=pytest.mark.slow)])
def chain(request, served, tmp_path_factory):
    """Four spans labelled one after the other, each with the events of its own day alone."""
    predictions, events = served
    folder = tmp_path_factory.mktemp("chain")
    made = []
    for span in SPANS:
        data = collect(folder, of_span(predictions, span, "served"), span)
        own = write(folder, f"events-{span}.parquet", of_span(events, span, "at"))
        made.append(label(data, folder / f"labels-{span}", own, span=span, given=[step(window=request.param)]))
    return folder, request.param, made


def test_every_row_is_labelled_once_when_its_window_has_passed(served, chain):
    predictions, events = served
    _, window, made = chain
    length = {"12h": DAY // 2, "30h": DAY * 30 // 24}[window]
    truth = expected(predictions, events, length)
    time = dict(zip(predictions["id"].to_pylist(), pc.cast(predictions["served"], pa.int64()).to_pylist()))
    seen = {}
    for span, result in zip(SPANS, made):
        found = told(result, "label", "label_probability", "label_abstain") if result.body["accepted"] else {}
        assert not set(found) & set(seen)
        ripe = {number for number, at in time.items() if at + length <= START + span * DAY}
        assert set(found) == ripe - set(seen)
        assert {each[1:] for each in found.values()} == ({(1.0, False)} if found else set())
        seen.update(found)
    assert {number: each[0] for number, each in seen.items()} == {number: truth[number] for number in seen}
    assert {"no", "buy", "return"} == {each[0] for each in seen.values()}


def test_accounts_of_rows_and_events_add_up(served, chain):
    predictions, events = served
    _, window, made = chain
    waiting = before = 0
    for span, result in zip(SPANS, made):
        body = result.body
        accounts = body["accounts"]
        assert body["carried"]["taken_over"] == waiting
        assert accounts["read"] == ROWS + waiting == accounts["written"] + accounts["carried"]
        own = body["steps"][0]["events"]
        assert own["read"] == of_span(events, span, "at").num_rows + before
        assert own["read"] == sum(count for name, count in own.items() if name not in ("read", "failed"))
        waiting, before = accounts["carried"], own["carried"]
        assert verify(result.uri).problems == []
    assert own["orphan"] and own["late"] and own["repeated"] and own["no_class"] and own["carried"]
    if window == "30h":
        # The first span's rows are carried twice, so that the third reads three datasets.
        assert len(made[2].body["bases"]) == 3
        assert not made[0].body["accepted"] and "all 1,200 are carried" in made[0].body["refusal"]


@pytest.mark.slow
def test_all_events_each_time_give_the_same_labels(served, chain, tmp_path):
    """Feedback as a growing table: what was labelled before is not labelled again, and nothing changes."""
    predictions, events = served
    folder, window, made = chain
    every = write(tmp_path, "events.parquet", events)
    for span, known in zip(SPANS, made):
        data = collect(tmp_path, of_span(predictions, span, "served"), span)
        result = label(data, tmp_path / f"labels-{span}", every, span=span, given=[step(window=window)])
        if result.body["accepted"]:
            assert told(result, "label") == told(known, "label")
        # What happens later is not known yet.
        assert result.body["steps"][0]["events"]["carried"] > 0 or span == SPANS[-1]


@pytest.mark.slow
def test_one_table_at_once_and_in_any_number_of_partitions(served, tmp_path, monkeypatch):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    data = collect(tmp_path, predictions, 9)
    first = label(data, tmp_path / "a", whole, when="2026-01-10")
    assert {number: each[0] for number, each in told(first, "label").items()} == expected(predictions, events, DAY // 2)
    digests = {split: entry["digest"] for split, entry in first.body["splits"].items()}
    for rows, workers in ((500, 1), (97, 2)):
        monkeypatch.setattr(attribution, "PARTITION_ROWS", rows)
        again = label_dataset(
            data.uri, str(tmp_path / f"b{rows}"), steps=[step()], inputs={"events": whole}, as_of="2026-01-10",
            data_root=str(tmp_path / f"root{rows}"), workers=workers,
        )  # fmt: skip
        assert {split: entry["digest"] for split, entry in again.body["splits"].items()} == digests
        own, other = (each.body["steps"][0] for each in (first, again))
        assert own == other


def test_what_waits_is_the_same_whatever_the_partitions(served, tmp_path, monkeypatch):
    predictions, events = served
    data = collect(tmp_path, of_span(predictions, 1, "served"), 1)
    whole = write(tmp_path, "events.parquet", events)
    kept = []
    for rows in (1_000_000, 300):
        monkeypatch.setattr(attribution, "PARTITION_ROWS", rows)
        result = label(data, tmp_path / f"l{rows}", whole, span=1, data_root=str(tmp_path / f"root{rows}"))
        files = result.body["carried"]["events"]["events"]
        tables = [pq.read_table(storage.join(result.uri, file["path"])) for file in files]
        kept.append((len(files), sorted(map(str, pa.concat_tables(tables).to_pylist()))))
    assert kept[0][0] == 1 < kept[1][0] and kept[0][1] == kept[1][1]


def test_evidence_and_method_stand_in_the_label_table(chain):
    _, _, made = chain
    result = made[-1]
    files = [file.uri for file in storage.list_files(result.uri) if "/split=" in file.uri]
    table = pa.concat_tables([pq.ParquetFile(uri).read() for uri in files])
    assert result.body["sources"] == ["events"]
    votes = np.array(table["_evidence"].to_pylist())[:, 0]
    names = np.array(["no", "buy", "return", None], object)[votes]
    labels = np.array(table["label"].to_pylist())
    assert set(table["_method"].to_pylist()) == {"direct"} and (names[votes >= 0] == labels[votes >= 0]).all()
    assert (labels[votes < 0] == "no").all()
    assert set(table["_as_of"].to_pylist()) == {datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)}
    # Of some shards some rows are here: which ones, is told.
    assert "_row" in table.schema.names


def small(tmp_path, rows, events, *, key=("id",), types=None, **more):
    """A handful of rows, [id, hour], and events, [id, hour, kind]; served on 2026-01-01."""
    at = lambda hours: instants([None if hour is None else START + int(hour * 3_600_000_000) for hour in hours])
    table = pa.table({"id": [each[0] for each in rows], "served": at([each[1] for each in rows])})
    table = table.append_column("row", pa.array(np.arange(len(rows))))
    happened = pa.table(
        {"request": [each[0] for each in events], "at": at([each[1] for each in events]), "kind": [each[2] for each in events]},
        schema=pa.schema([("request", table["id"].type), ("at", pa.timestamp("us", "UTC")), ("kind", pa.string())]),
    )  # fmt: skip
    data = collect(tmp_path, table, 1, key=["row"], splits={"train": 1.0}, **more)
    return data, write(tmp_path, "events.parquet", happened)


def labels_of(result):
    table = open_dataset(result.folder).to_table(columns=["row", "label"]).sort_by("row")
    return table["label"].to_pylist()


def test_rules_for_events_of_one_prediction(tmp_path):
    rows = [(1, 0), (2, 0), (3, 0), (4, 0)]
    events = [
        (1, 1, "buy"), (1, 2, "return"), (2, 12, "buy"), (3, 12.001, "buy"), (4, 1, "buy"), (4, 1, "buy"), (4, 3, "buy"),
        (1, -1, "buy"), (9, 1, "buy"), (1, 1.5, "view"), (None, 1, "buy"), (2, None, "buy"),
    ]  # fmt: skip
    data, happened = small(tmp_path, rows, events)
    found = {}
    for conflict in ("last", "first", "abstain"):
        result = label(data, tmp_path / conflict, happened, when="2026-01-05", given=[step(conflict=conflict)])
        found[conflict] = labels_of(result), result.body["steps"][0]
    # Both ends belong to the window.
    assert found["last"][0] == ["return", "buy", "no", "buy"]
    assert found["first"][0] == ["buy", "buy", "no", "buy"]
    assert found["abstain"][0] == [None, "buy", "no", "buy"]
    ends = {name: found["last"][1]["events"][name] for name in found["last"][1]["events"]}
    assert ends == {
        "read": 12, "no_key": 1, "no_time": 1, "failed": 0, "no_class": 1, "outside": 0,
        "used": 3, "repeated": 2, "conflicting": 1, "late": 1, "early": 1, "orphan": 1, "carried": 0,
    }  # fmt: skip
    assert found["abstain"][1]["disputed"] == 1 and found["abstain"][1]["events"]["conflicting"] == 2
    assert found["last"][1]["silent"] == 1 and found["last"][1]["by_event"] == {"no": 0, "buy": 2, "return": 1}


def test_attribution_to_the_last_prediction_or_to_every_one(tmp_path):
    rows = [(7, 0), (7, 2), (7, 2), (7, 6)]
    data, happened = small(tmp_path, rows, [(7, 3, "buy"), (7, 7, "return")])
    last = label(data, tmp_path / "last", happened, when="2026-01-05")
    every = label(data, tmp_path / "every", happened, when="2026-01-05", given=[step(attribution="every")])
    # A row that was logged twice gets one label twice.
    assert labels_of(last) == ["no", "buy", "buy", "return"]
    assert labels_of(every) == ["return", "return", "return", "return"]


def test_without_silence_a_class_rows_without_events_abstain(tmp_path):
    data, happened = small(tmp_path, [(1, 0), (2, 0)], [(1, 1, "buy")])
    result = label(data, tmp_path / "l", happened, when="2026-01-05", given=[step(no_event="")])
    assert labels_of(result) == ["buy", None]
    messages = [each["message"] for each in result.body["findings"]]
    assert "no row whose window has passed got the class 'no'" in messages


def test_rows_that_no_event_can_be_of_abstain_and_are_told(tmp_path):
    data, happened = small(tmp_path, [(1, 0), (None, 0), (2, None), (3, 0)], [(1, 1, "buy")])
    result = label(data, tmp_path / "l", happened, when="2026-01-05")
    assert labels_of(result) == ["buy", None, None, "no"]
    messages = " ".join(each["message"] for each in result.body["findings"])
    assert "1 rows have no time in 'served' and abstain" in messages and "1 rows have no key" in messages


def test_an_outcome_that_fails_on_an_event_tells_none_and_is_counted(tmp_path):
    data, happened = small(tmp_path, [(1, 0), (2, 0)], [(1, 1, "buy"), (2, 1, "17")])
    outcome = "CASE WHEN CAST(kind AS INTEGER) > 3 THEN 'buy' END"
    result = label(data, tmp_path / "l", happened, when="2026-01-05", given=[step(outcome=outcome)])
    assert labels_of(result) == ["no", "buy"]
    assert result.body["steps"][0]["events"]["failed"] == 1
    assert any("could not be computed for 1 events" in each["message"] for each in result.body["findings"])


def test_times_are_compared_as_times_whatever_their_types(tmp_path):
    """Days beside nanoseconds without a zone, which is UTC; ids of another width."""
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int16()),
            "served": pa.array([datetime.date(2026, 1, 1)] * 2, pa.date32()),
            "row": [0, 1],
        }
    )
    data = collect(tmp_path, table, 1, key=["row"], splits={"train": 1.0})
    happened = pa.table(
        {
            "request": pa.array([1, 2], pa.int64()),
            "at": pa.array([START * 1000 + 12 * 3_600 * 10**9, START * 1000 + 13 * 3_600 * 10**9], pa.timestamp("ns")),
            "kind": ["buy", "buy"],
        }
    )
    pq.write_table(happened, tmp_path / "e.parquet", version="2.6")
    result = label(data, tmp_path / "l", str(tmp_path / "e.parquet"), when="2026-01-05")
    assert labels_of(result) == ["buy", "no"]


def test_a_column_that_came_later_is_missing_in_carried_rows(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    first = collect(tmp_path, of_span(predictions, 1, "served").drop(["x"]), 1)
    label(first, tmp_path / "l1", whole, span=1)
    second = collect(tmp_path, of_span(predictions, 2, "served"), 2)
    result = label(second, tmp_path / "l2", whole, span=2)
    found = told(result, "x", "span")
    assert {x is None for x, span in found.values() if span == 1} == {True}
    assert {x is None for x, span in found.values() if span == 2} == {False}
    statistics = compute_statistics(result.uri, str(tmp_path / "statistics"), workers=1)
    assert sum(entry["rows"] for entry in statistics.body["splits"].values()) == len(found)


def test_carried_rows_that_do_not_go_with_the_span_are_an_error(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    label(collect(tmp_path, of_span(predictions, 1, "served"), 1), tmp_path / "l1", whole, span=1)
    later = of_span(predictions, 2, "served")
    texts = later.set_column(2, "x", pc.cast(later["x"], pa.string()))
    with pytest.raises(HeadwaterError, match="steps.0.carried_from: column 'x' is double in .*span=1.*string here"):
        label(collect(tmp_path, texts, 2, types={"x": "string"}), tmp_path / "l2", whole, span=2)
    other = collect(tmp_path, later, 3, key=["id", "span"])
    with pytest.raises(HeadwaterError, match="carried_from: the key of .* is id, but id, span here"):
        label(other, tmp_path / "l3", whole, span=3)
    anew = label(other, tmp_path / "l3", whole, span=3, given=[step(carried_from="none")])
    assert anew.body["carried"]["taken_over"] == 0 and "carried" not in anew.manifest["inputs"]
    classes = ["no", "buy", "sold"]
    outcome = "CASE WHEN kind = 'buy' THEN 'buy' END"
    given = [
        step(classes=classes, outcome=outcome, carried_from=f"{anew.home.data_root}/served/span=1/version=1/labels")
    ]
    fourth = collect(tmp_path, later, 4)
    with pytest.raises(HeadwaterError, match="have the class 'return', but the classes now are no, buy, sold"):
        label(fourth, tmp_path / "l4", whole, span=4, given=given)
    with pytest.raises(HeadwaterError, match="carried_from: 'span:9' does not exist"):
        label(fourth, tmp_path / "l5", whole, span=4, given=[step(carried_from="span:9")])


def test_two_labellings_of_one_dataset_carry_apart(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    first, second = (collect(tmp_path, of_span(predictions, span, "served"), span) for span in (1, 2))
    waiting = label(first, tmp_path / "a1", whole, span=1)
    functions = [{"name": "x", "sql": "CASE WHEN x > 0 THEN 'buy' ELSE 'no' END"}]
    weak = {
        "method": "weak_supervision", "classes": ["no", "buy"], "label": "guess", "functions": functions, "model": "majority",
    }  # fmt: skip
    other = label_dataset(first.uri, str(tmp_path / "b1"), steps=[weak], workers=1)
    assert other.home.version > waiting.home.version and other.body["accounts"]["carried"] == 0
    again = label(second, tmp_path / "a2", whole, span=2)
    assert again.body["carried"]["taken_over"] == waiting.body["accounts"]["carried"]
    assert again.manifest["inputs"]["carried"]["uri"] == waiting.uri
    guessed = label_dataset(second.uri, str(tmp_path / "b2"), steps=[weak], workers=1)
    assert guessed.body["accounts"]["read"] == ROWS and guessed.body["accounts"]["written"] == ROWS


def test_a_span_whose_rows_later_labels_took_over_is_not_labelled_anew(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    data = {span: collect(tmp_path, of_span(predictions, span, "served"), span) for span in (1, 2, 3)}
    made = {span: label(data[span], tmp_path / f"l{span}", whole, span=span) for span in (1, 2, 3)}
    anew = [step(window="6h")]
    folder = storage.join(data[1].home.data_root, "served/span=1/version=2")
    with pytest.raises(HeadwaterError) as refused:
        label(data[1], tmp_path / "again", whole, span=1, given=anew)
    assert f"Remove {made[3].uri}, then {made[2].uri}, and label the spans again" in str(refused.value)
    assert not storage.list_files(folder)
    # What is there already is adopted, another label takes over nothing, and the last span is nobody's.
    assert label(data[1], tmp_path / "same", whole, span=1).uri == made[1].uri
    label(data[1], tmp_path / "other", whole, span=1, given=[step(label="other")])
    label(data[3], tmp_path / "last", whole, span=3, given=anew)
    for span in (3, 2):
        shutil.rmtree(made[span].uri)
    shutil.rmtree(tmp_path / "last")
    taken = list(results.committed(made[1].home.data_root, "served", "labels", lambda span: span == 3))
    for version in taken:
        shutil.rmtree(version.folder("labels"))
    again = {span: label(data[span], tmp_path / f"m{span}", whole, span=span, given=anew) for span in (1, 2, 3)}
    rows = [set(open_dataset(each.folder).to_table(columns=["id"])["id"].to_pylist()) for each in again.values()]
    assert again[2].body["carried"]["taken_over"] and not rows[0] & rows[1] and not rows[1] & rows[2]


def test_rows_that_wait_are_labelled_by_no_other_method(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    functions = [{"name": "x", "sql": "CASE WHEN x > 2 THEN 'return' WHEN x > 0 THEN 'buy' ELSE 'no' END"}]
    weak = {"method": "weak_supervision", "functions": functions, "model": "majority", "classes": step()["classes"]}
    results_ = []
    for span in (1, 2):
        data = collect(tmp_path, of_span(predictions, span, "served"), span)
        given = [step(no_event=""), weak]
        results_.append(label(data, tmp_path / f"l{span}", whole, span=span, given=given))
    first, second = results_
    assert first.body["accounts"]["carried"] > 100 and second.body["carried"]["taken_over"] > 100
    methods = second.body["labelled"]["methods"]
    assert methods["direct"] > 100 and methods["weak_supervision"] > 100
    assert sum(methods.values()) == second.body["accounts"]["written"]
    # Carried rows are read by functions as others are.
    rows = open_dataset(second.folder).to_table(columns=["span", "x", "label"]).to_pylist()
    assert {each["span"] for each in rows} == {1, 2}
    assert second.body["sources"] == ["events", "x"]


def test_without_a_data_root_what_waits_comes_along(served, tmp_path):
    predictions, events = served
    every = []
    for span in (1, 2):
        source = write(tmp_path, f"served-{span}.parquet", of_span(predictions, span, "served"))
        own = write(tmp_path, f"events-{span}.parquet", of_span(events, span, "at"))
        collect_dataset(source, str(tmp_path / f"data-{span}"), key=["id"], workers=1)
        given = [step(carried_from=str(tmp_path / "labels-1") if span == 2 else "auto")]
        every.append(label(str(tmp_path / f"data-{span}"), tmp_path / f"labels-{span}", own, span=span, given=given))
        (tmp_path / f"data-{span}").rename(tmp_path / f"gone-{span}")
    (tmp_path / "labels-1").rename(tmp_path / "gone")
    (tmp_path / "labels-2").rename(tmp_path / "moved")
    rows = open_dataset(str(tmp_path / "moved")).to_table(columns=["id", "label", "x"])
    truth = expected(predictions, events, DAY // 2)
    assert rows.num_rows == every[1].body["accounts"]["written"] > ROWS / 2
    assert all(truth[number] == name for number, name in zip(rows["id"].to_pylist(), rows["label"].to_pylist()))


def test_nothing_can_be_labelled_yet_and_the_next_step_says_why(served, tmp_path, capsys):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    data = collect(tmp_path, of_span(predictions, 1, "served"), 1)
    given = [step(window="3d")]
    result = label(data, tmp_path / "l1", whole, span=1, given=given)
    assert not result.body["accepted"] and result.body["accounts"]["carried"] == ROWS
    with pytest.raises(
        HeadwaterError, match="not accepted when it was labelled: no row can be labelled yet: all 1,200"
    ):
        compute_statistics(result.uri, str(tmp_path / "statistics"))
    import yaml

    (tmp_path / "steps.yaml").write_text(yaml.safe_dump({"label": {"steps": given}}))
    arguments = ["label", data.uri, "--project", str(tmp_path / "steps.yaml"), "--input", f"events={whole}"]
    code = main([*arguments, "--as-of", as_of(1), "--output", str(tmp_path / "cli")])
    printed = capsys.readouterr()
    assert code == NOT_BLESSED and "1,200 carried to the next span" in printed.out and "not accepted" in printed.err
    later = collect(tmp_path, of_span(predictions, 4, "served"), 4)
    after = label(later, tmp_path / "l4", whole, span=4, given=given)
    assert after.body["carried"]["taken_over"] == ROWS == after.body["accounts"]["written"]


def test_carried_files_are_checked_kept_and_let_go_with_their_span(chain, tmp_path):
    folder, window, made = chain
    root = made[0].home.data_root
    assert list(find_garbage(root, min_age=0)) == []
    copied = tmp_path / "labels"
    storage.copy_folder(made[1].uri, str(copied), last=results.MANIFEST)
    [events, *_] = made[1].body["carried"]["events"]["events"]
    named = {storage.relative(file.uri, made[1].uri) for file in storage.list_files(made[1].uri)}
    assert events["path"] in named and any(path.startswith("_carried/carried-") for path in named)
    place = f"{made[1].uri}/{events['path']}"
    content = storage.read_bytes(place)
    try:
        storage.write_bytes(place, content[:40] + bytes([content[40] ^ 1]) + content[41:])
        assert any(events["path"] in problem for problem in verify(made[1].uri).problems)
        later = load_dataset(made[2].manifest["inputs"]["dataset"]["uri"])
        with pytest.raises(HeadwaterError, match=re.escape(events["path"])):
            label(
                later.result,
                tmp_path / "x",
                f"{folder}/events-3.parquet",
                span=3,
                given=[step(window=window, conflict="first")],
            )
    finally:
        storage.write_bytes(place, content)


def test_retention_keeps_the_datasets_of_carried_rows(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    last = None
    for span in (1, 2, 3):
        data = collect(tmp_path, of_span(predictions, span, "served"), span)
        last = label(data, tmp_path / f"l{span}", whole, span=span)
    before = told(last, "label", "x")
    gone = list(remove_garbage(last.home.data_root, retention=Retention(keep_spans=1), min_age=0))
    assert any("/span=1/" in file.uri for file in gone) and not any(
        "/span=2/version=1/data" in file.uri for file in gone
    )
    assert told(last, "label", "x") == before


def test_a_span_that_paths_name_by_dates_tells_until_when_feedback_is_known(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    write(tmp_path, "served-2026-01-02.parquet", of_span(predictions, 2, "served"))
    data = collect_dataset(
        str(tmp_path / "served-{YYYY}-{MM}-{DD}.parquet"), str(tmp_path / "data"), key=["id"], workers=1, name="served",
        data_root=str(tmp_path / "root"),
    )  # fmt: skip
    result = label(data, tmp_path / "a", whole, when="")
    assert result.manifest["settings"]["as_of"] == "2026-01-03T00:00:00+00:00"
    given = label(data, tmp_path / "b", whole, span=2)
    assert given.sha256 == result.sha256


def test_the_truth_stands_beside_labels_and_no_method_sees_it(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    truth = expected(predictions, events, DAY // 2)
    named = predictions.append_column("truth", pa.array([truth[number] for number in predictions["id"].to_pylist()]))
    data = collect(tmp_path, named, 1)
    exact = label(data, tmp_path / "a", whole, when="2026-01-10", given=[step(truth="truth")])
    told_ = exact.body["truth"]
    assert told_["accuracy"] == 1.0 and told_["labelled"] == told_["rows"] == len(truth) and told_["log_loss"] == 0.0
    functions = [{"name": "x", "sql": "CASE WHEN x > 2 THEN 'return' WHEN x > 1 THEN 'buy' WHEN x < 0.5 THEN 'no' END"}]
    weak = {"method": "weak_supervision", "classes": step()["classes"], "label": "guess", "functions": functions,
            "model": "majority", "truth": "label", "truth_input": "exact"}  # fmt: skip
    beside = label_dataset(data.uri, str(tmp_path / "b"), steps=[weak], inputs={"exact": exact.uri}, workers=1)
    own = told(beside, "guess")
    met = {true: {name: 0 for name in (*step()["classes"], "")} for true in step()["classes"]}
    for number, true in truth.items():
        met[true][own[number][0] or ""] += 1
    assert beside.body["truth"]["confusion"] == met
    right = sum(met[name][name] for name in met)
    assert beside.body["truth"]["accuracy"] == pytest.approx(
        right / sum(each is not None for (each,) in own.values()), abs=1e-6
    )
    buys = beside.body["truth"]["classes"]["buy"]
    assert buys["recall"] == pytest.approx(met["buy"]["buy"] / sum(met["buy"].values()), abs=1e-6)
    assert buys["precision"] == pytest.approx(met["buy"]["buy"] / sum(met[name]["buy"] for name in met), abs=1e-6)
    seen = {**weak, "truth": "truth", "functions": [{"name": "t", "sql": "truth"}]}
    seen.pop("truth_input")
    for given, message in (
        (seen, "steps.0.truth: the function 't' also reads 'truth'"),
        ({**weak, "truth": "nothing"}, "steps.0.truth: there is no column 'nothing'"),
        ({**weak, "truth": ""}, "steps.0.truth: must name the column of the input 'exact'"),
        ({**weak, "truth_input": "other"}, "steps.0.truth_input: there is no input 'other'; the inputs are exact"),
        (
            {**weak, "truth": "span", "truth_input": ""},
            "steps.0.truth: column 'span' has a value that is not one of the classes on 4,800 rows",
        ),
    ):
        with pytest.raises(HeadwaterError, match=message):
            label_dataset(data.uri, str(tmp_path / "c"), steps=[given], inputs={"exact": exact.uri}, workers=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (step(window="0h"), "steps.0.window: '0h' leaves no time for feedback to arrive"),
        (step(window="soon"), "steps.0.window: 'soon' is not a duration; give a number and s, min, h, d or w"),
        (step(no_event="maybe"), "steps.0.no_event: 'maybe' is not one of the classes; they are no, buy, return"),
        (step(feedback="clicks"), "steps.0.feedback: there is no input 'clicks'; the inputs are events"),
        (step(occurred="kind"), "column 'kind' is string; it must be a date or a timestamp, so collect it with `formats`"),
        (step(served="x"), "column 'x' is double; it must be a date or a timestamp"),
        (step(occurred="when"), "has no column 'when'; its columns are request, at, kind"),
        (step(served="when"), "has no column 'when'; its columns are id, served"),
        (step(on={"id": "kind"}), "'id' of the dataset is int64, but 'kind' there is string; give both columns the same type"),
        (step(on={}), "has no column 'id'; its columns are request"),
        (step(outcome="sold"), "steps.0.outcome: there is no column 'sold'; the columns are request, at, kind"),
        (step(outcome="random()"), r"random\(\) is not allowed"),
        (step(outcome="kind + to_days(1)"), "steps.0.outcome: the expression .* cannot be computed"),
        (step(outcome="kind >"), "steps.0.outcome: 'kind >' is not a single scalar SQL expression"),
        (step(outcome="kind"), "steps.0.outcome: its value is not one of the classes for .* events of 'events'; the classes are no, buy"),
        (step(conflict="best"), "steps.0.conflict"),
        (step(speed=1), "steps.0.speed: there is no such setting; did you mean 'served'?"),
        (step(truth="id"), "steps.0: the step reads 'id', which the labels are to be evaluated against"),
        (step(carried_from="span:7"), "steps.0.carried_from: 'span:7' does not exist"),
    ],
)  # fmt: skip
def test_wrong_settings_are_one_clear_message(small_span, tmp_path, given, message):
    data, events = small_span
    with pytest.raises(HeadwaterError, match=message):
        label(data, tmp_path / "labels", events, span=1, given=[given])
    assert not (tmp_path / "labels" / results.MANIFEST).exists()


def test_what_only_several_settings_together_show(small_span, tmp_path):
    data, events = small_span
    with pytest.raises(HeadwaterError, match="as_of: direct labelling needs the time until which feedback is known"):
        label(data, tmp_path / "l", events, when="")
    with pytest.raises(HeadwaterError, match="steps.1: 'events' already votes in steps.0; give it another name"):
        label(data, tmp_path / "l", events, span=1, given=[step(), step()])
    with pytest.raises(
        HeadwaterError, match="steps.1.label: must be the same as in steps.0.*'label' there and 'other' here"
    ):
        label(data, tmp_path / "l", events, span=1, given=[step(), step(label="other")])
    far = write(
        tmp_path, "far.parquet", pa.table({"request": [-1, -2], "at": instants([START + DAY] * 2), "kind": ["buy"] * 2})
    )
    result = label(data, tmp_path / "l", far, when="2026-01-09")
    assert any("no event of 'events' matches a row: 2 have keys" in each["message"] for each in result.body["findings"])


@pytest.fixture(scope="module")
def small_span(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    predictions, events = served
    return collect(folder, of_span(predictions, 1, "served"), 1), write(folder, "events.parquet", events)


def test_a_key_of_rows_ids_needs_to_be_told_how_events_name_it(served, tmp_path):
    predictions, events = served
    data = collect(tmp_path, of_span(predictions, 1, "served"), 1, key=[])
    whole = write(tmp_path, "events.parquet", events)
    with pytest.raises(
        HeadwaterError, match="the dataset's key is _row_id, which other data does not have; name the columns"
    ):
        label(data, tmp_path / "a", whole, span=1, given=[step(on={})])
    result = label(data, tmp_path / "b", whole, when="2026-01-09")
    found = told(result, "label")
    truth = expected(of_span(predictions, 1, "served"), events, DAY // 2)
    assert {number: name for number, (name,) in found.items()} == truth


def test_a_window_that_is_too_short_is_told_with_the_one_that_would_do(served, tmp_path):
    predictions, events = served
    data = collect(tmp_path, predictions, 1)
    whole = write(tmp_path, "events.parquet", events)
    result = label(data, tmp_path / "a", whole, when="2026-01-15", given=[step(window="2h")])
    told_ = result.body["steps"][0]["delays"]
    waits = dict(zip(predictions["id"].to_pylist(), pc.cast(predictions["served"], pa.int64()).to_pylist()))
    first = {}
    for number, at, kind in zip(*(events[name].to_pylist() for name in ("request", "at", "kind"))):
        wait = at.timestamp() * 1e6 - waits.get(number, np.inf)
        if kind != "view" and wait >= 0:
            first[number] = min(first.get(number, np.inf), wait / 1e6)
    exact = np.quantile(list(first.values()), 0.95)
    assert told_["events"] == len(first) and exact * 0.95 <= told_["advised"] <= exact * 1.15
    assert told_["held"] == pytest.approx(np.mean(np.array(list(first.values())) <= 7_200), abs=0.05)
    assert any("the window of 2 h covers" in each["message"] for each in result.body["findings"])


def test_what_is_read_is_not_written_over(small_span, tmp_path):
    data, events = small_span
    before = storage.read_bytes(f"{data.folder}/{results.MANIFEST}")
    for given, output in ((data.folder, data.folder), (data.uri, data.uri), (data.uri, data.folder)):
        with pytest.raises(HeadwaterError, match="output: .*; give another folder"):
            label(given, output, events, span=1)
    with pytest.raises(HeadwaterError, match="output: .* is the folder of the input; give another folder"):
        pass_on(data.folder, data.folder)
    assert storage.read_bytes(f"{data.folder}/{results.MANIFEST}") == before
    collect_dataset(events, str(tmp_path / "other"), workers=1)
    with pytest.raises(
        HeadwaterError, match="this result is of kind dataset, but labels is needed; give another folder"
    ):
        label(data, tmp_path / "other", events, span=1)


def test_a_dataset_without_a_home_is_kept_below_labels_that_have_one(served, tmp_path):
    predictions, events = served
    source = write(tmp_path, "served.parquet", of_span(predictions, 1, "served"))
    whole = write(tmp_path, "events.parquet", events)
    collect_dataset(source, str(tmp_path / "data"), key=["id"], name="served", span=1, workers=1)
    result = label(str(tmp_path / "data"), tmp_path / "out", whole, span=1, data_root=str(tmp_path / "root"))
    (tmp_path / "data").rename(tmp_path / "gone")
    rows = open_dataset(str(tmp_path / "out")).to_table()
    assert rows.num_rows == result.body["accounts"]["written"] and rows["x"].null_count == 0
    assert list(find_garbage(str(tmp_path / "root"), min_age=0)) == [] and verify(result.uri).problems == []
    [shard, *_] = sorted((tmp_path / "root").rglob("_base/split=*/*.parquet"))
    content = shard.read_bytes()
    shard.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    assert any(str(shard) in problem for problem in verify(result.uri).problems)


def test_rows_are_not_taken_over_from_their_own_span(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    data = collect(tmp_path, of_span(predictions, 1, "served"), 1)
    first = label(data, tmp_path / "a", whole, span=1)
    for reference, message in (("span:1", "'span:1' does not exist"), (first.uri, "was made from this same dataset")):
        with pytest.raises(HeadwaterError, match=message):
            label(data, tmp_path / "b", whole, span=2, given=[step(carried_from=reference)])


def test_a_span_is_named_and_its_right_labels_are_found(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    first, second = (collect(tmp_path, of_span(predictions, span, "served"), span) for span in (1, 2))
    waiting = label(first, tmp_path / "a", whole, span=1)
    functions = [{"name": "x", "sql": "CASE WHEN x > 2 THEN 'return' WHEN x > 0 THEN 'buy' ELSE 'no' END"}]
    weak = {"method": "weak_supervision", "classes": step()["classes"], "functions": functions, "model": "majority"}
    label_dataset(first.uri, str(tmp_path / "b"), steps=[weak], workers=1)
    named = label(second, tmp_path / "c", whole, span=2, given=[step(carried_from="span:1")])
    assert named.body["carried"]["taken_over"] == waiting.body["accounts"]["carried"] > 0


def test_rows_that_nobody_takes_over_are_told(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    first, second = (collect(tmp_path, of_span(predictions, span, "served"), span) for span in (1, 2))
    waiting = label(first, tmp_path / "a", whole, span=1)
    # Another order of the classes is the same classes.
    turned = label(second, tmp_path / "b", whole, span=2, given=[step(classes=["return", "no", "buy"])])
    assert turned.body["carried"]["taken_over"] == waiting.body["accounts"]["carried"]
    given = [step(classes=["no", "buy"], outcome="CASE WHEN kind = 'buy' THEN 'buy' END")]
    other = label(second, tmp_path / "c", whole, span=2, given=given)
    assert other.body["carried"]["taken_over"] == 0
    messages = [each["message"] for each in other.body["findings"]]
    assert any(f"{waiting.body['accounts']['carried']:,} rows waiting in {waiting.uri}" in each for each in messages)


BIG = 2**53


@pytest.mark.sweep(4)
@pytest.mark.parametrize(
    ("own", "theirs", "matched"),
    [
        (pa.array([BIG, BIG + 1], pa.int64()), pa.array([BIG + 1], pa.int64()), [1]),
        (pa.array([BIG, BIG + 1], pa.int64()), pa.array([float(BIG)], pa.float64()), [0]),
        (pa.array([3, 4], pa.int8()), pa.array([4.0], pa.float32()), [1]),
        (pa.array([2**63 + 1, 5], pa.uint64()), pa.array([2**63 + 1], pa.uint64()), [0]),
        (pa.array(["a", "b"]).dictionary_encode(), pa.array(["b"], pa.large_string()), [1]),
        (pa.array([-1, 5], pa.int64()), pa.array([2**64 - 1], pa.uint64()), "int64, but 'request' there is uint64"),
        (
            pa.array([1, 2], pa.decimal128(20, 0)),
            pa.array([1], pa.int64()),
            "decimal128.*there is int64; give both columns the same type",
        ),
        (pa.array([1, 2], pa.decimal128(20, 2)), pa.array([1], pa.decimal128(20, 2)), [0]),
        (
            pa.array([1, 2]),
            pa.array(["1"]),
            "'id' of the dataset is int64, but 'request' there is string; give both columns the same type",
        ),
    ],
)
def test_keys_are_equal_when_no_digit_differs(tmp_path, own, theirs, matched):
    served = pa.table({"id": own, "served": instants([START] * len(own)), "row": np.arange(len(own))})
    happened = pa.table({"request": theirs, "at": instants([START + 1]), "kind": ["buy"]})
    data = collect(tmp_path, served, 1, key=["row"], splits={"train": 1.0}, analyse=False)
    events = write(tmp_path, "events.parquet", happened)
    if isinstance(matched, str):
        with pytest.raises(HeadwaterError, match=matched):
            label(data, tmp_path / "l", events, when="2026-01-05")
        return
    result = label(data, tmp_path / "l", events, when="2026-01-05")
    assert [number for number, name in enumerate(labels_of(result)) if name == "buy"] == matched


def test_events_that_wait_find_their_rows_when_the_keys_type_changed(tmp_path):
    """As pandas writes ids: double in one file, where one is missing, and int64 in the next."""
    rows = pa.table({"id": [1, 2], "served": instants([START, START]), "row": [0, 1]})
    data = collect(tmp_path, rows, 1, key=["row"], splits={"train": 1.0})
    first = write(
        tmp_path, "e1.parquet", pa.table({"request": [1.0, None], "at": instants([START + 1] * 2), "kind": ["buy"] * 2})
    )
    waiting = label(data, tmp_path / "a", first, when="2026-01-01T06:00:00Z")
    assert waiting.body["accounts"]["carried"] == 2
    later = pa.table({"id": [7], "served": instants([START + DAY]), "row": [5]})
    second = collect(tmp_path, later, 2, key=["row"], splits={"train": 1.0})
    none = write(tmp_path, "e2.parquet", pa.table({"request": [9], "at": instants([START + DAY]), "kind": ["buy"]}))
    result = label(second, tmp_path / "b", none, when="2026-01-05")
    assert labels_of(result) == ["buy", "no", "no"]
    given = [step(on={"row": "request"})]
    with pytest.raises(HeadwaterError, match="were matched by id, but are matched by row now; set carried_from: none"):
        label(second, tmp_path / "c", none, when="2026-01-06", given=given)


def test_one_old_event_does_not_make_the_window(tmp_path):
    chance = np.random.default_rng(2)
    rows = 2_000
    time = START + 300 * DAY + chance.integers(0, 20 * DAY, rows)
    time[0] = START
    wait = chance.exponential(DAY / 5, rows).astype(np.int64)
    wait[0] = 290 * DAY
    data = collect(tmp_path, pa.table({"id": np.arange(rows), "served": instants(time)}), 1, key=["id"])
    happened = pa.table({"request": np.arange(rows), "at": instants(time + wait), "kind": ["buy"] * rows})
    result = label(
        data, tmp_path / "a", write(tmp_path, "e.parquet", happened), when="2027-01-01", given=[step(window="2d")]
    )
    told_ = result.body["steps"][0]["delays"]
    assert told_["held"] > 0.99 and 0.4 * 86_400 < told_["advised"] < 0.8 * 86_400


def test_what_is_private_in_carried_rows_stays_so(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    named = predictions.append_column(
        "mail", pa.array([f"p{number}@example.org" for number in predictions["id"].to_pylist()])
    )
    first = collect(tmp_path, of_span(named, 1, "served"), 1)
    label(first, tmp_path / "a", whole, span=1)
    plain = of_span(predictions.append_column("mail", pa.array(["–"] * predictions.num_rows)), 2, "served")
    result = label(collect(tmp_path, plain, 2), tmp_path / "b", whole, span=2)
    assert result.body["private"]["mail"] == first.body["private"]["mail"]


def test_a_value_that_the_new_type_cannot_hold_is_told_before_anything_is_committed(tmp_path):
    rows = pa.table({"id": [1, 2], "served": instants([START] * 2), "big": [2**60 + 1, 3]})
    none = write(tmp_path, "e.parquet", pa.table({"request": [9], "at": instants([START]), "kind": ["buy"]}))
    label(collect(tmp_path, rows, 1), tmp_path / "a", none, when="2026-01-01T06:00:00Z")
    later = pa.table({"id": [3], "served": instants([START + DAY]), "big": [0.5]})
    data = collect(tmp_path, later, 2)
    with pytest.raises(HeadwaterError, match="a value does not fit the column's current type"):
        label(data, tmp_path / "b", none, when="2026-01-05")
    assert not storage.exists(f"{data.home.folder('labels')}/{results.MANIFEST}")
    unsigned = later.set_column(2, "big", pa.array([1], pa.int32()))
    narrow = collect(tmp_path / "n", rows.set_column(2, "big", pa.array([2**31, 3], pa.uint32())), 1)
    label(narrow, tmp_path / "c", none, when="2026-01-01T06:00:00Z")
    with pytest.raises(HeadwaterError, match="column 'big' is uint32 in .*, whose rows are waiting, but int32 here"):
        label(collect(tmp_path / "n", unsigned, 2), tmp_path / "d", none, when="2026-01-05")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_span_without_events_is_all_silence(small_span, tmp_path, kind):
    data, _ = small_span
    path = tmp_path / f"events.{kind}"
    if kind == "csv":
        path.write_text("request,at,kind\n")
    else:
        pq.write_table(
            pa.table({"request": pa.array([], pa.int64()), "at": instants([]), "kind": pa.array([], pa.string())}), path
        )
    result = label(data, tmp_path / "labels", str(path), when="2026-01-09")
    assert result.body["labelled"]["classes"] == {"no": ROWS, "buy": 0, "return": 0}


def test_a_folder_that_is_used_again_holds_nothing_of_before(served, tmp_path):
    predictions, events = served
    whole = write(tmp_path, "events.parquet", events)
    source = write(tmp_path, "served.parquet", of_span(predictions, 1, "served"))
    collect_dataset(source, str(tmp_path / "data"), key=["id"], workers=1)
    collect_dataset(source, str(tmp_path / "one"), key=["id"], splits={"train": 1.0}, workers=1)
    label(str(tmp_path / "data"), tmp_path / "labels", whole, span=1)
    result = label(str(tmp_path / "one"), tmp_path / "labels", whole, when="2026-01-09")
    assert pads.dataset(str(tmp_path / "labels"), format="parquet").count_rows() == ROWS
    assert open_dataset(result.folder).count_rows() == ROWS and not list((tmp_path / "labels" / "_carried").glob("*"))
