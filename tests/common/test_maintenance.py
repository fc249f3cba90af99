"""Looking after a data_root: what is told, what can go and what must stay, over real results of real components."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import time

import pytest

from headwater.components.collect import collect_dataset
from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.maintenance import find_garbage, list_datasets, remove_garbage, trace, verify
from headwater.components.common.maintenance import lineage as lineages
from headwater.components.common.maintenance.garbage import DEAD, NOTE, RETENTION, SCRATCH, TEMPORARY, Retention
from headwater.components.common.times import seconds
from headwater.components.generate_statistics import compute_statistics
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics
from headwater.pipelines.cli import FAILED, main

LINES = ["id,amount,word", *(f"{n},{n % 13},w{n % 3}" for n in range(400))]
DAY = 86_400


def make(root: pathlib.Path, span: int, lines=LINES) -> None:
    """One span through all components."""
    source = root.parent / f"{root.name}-{span}.csv"
    source.write_text("\n".join([*lines, f"{1000 + span},1,w1"]) + "\n")
    out = root.parent / f"out-{root.name}-{span}"
    collect_dataset(str(source), str(out / "d"), data_root=str(root), name="rides", span=span, workers=1, key=["id"])
    compute_statistics(str(out / "d"), str(out / "s"), workers=1)
    derive_schema(str(out / "s"), str(out / "c"))
    check_statistics(str(out / "s"), str(out / "c"), str(out / "v"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("upkeep") / "root"
    for span in (1, 2, 3):
        make(root, span)
    shutil.copytree(root, root.parent / "kept")
    return root


@pytest.fixture
def root(made):
    # In its own place: manifests name it.
    shutil.rmtree(made)
    shutil.copytree(made.parent / "kept", made)
    return made


def age(path: pathlib.Path, seconds: float) -> None:
    for file in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if file.is_file():
            os.utime(file, (time.time() - seconds,) * 2)


def files(root: pathlib.Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def notes(root: pathlib.Path) -> list[pathlib.Path]:
    return list(root.glob("rides/_made/*"))


def garbage(root: pathlib.Path, **options) -> dict[str, str]:
    return {storage.relative(each.uri, str(root)): each.reason for each in find_garbage(str(root), **options)}


# ls


def test_every_version_is_told_with_its_size_rows_and_verdict(root, capsys):
    found = list_datasets(str(root))
    assert [(each["name"], each["span"], each["version"]) for each in found] == [
        ("rides", span, 1) for span in (1, 2, 3)
    ]
    dataset = results.load(str(root / "rides/span=2/version=1/data"), "dataset")
    assert found[1]["rows"] == {split: entry["rows"] for split, entry in dataset.body["splits"].items()}
    assert sum(found[1]["rows"].values()) == 401 and found[1]["blessed"] is True and found[1]["accepted"] is True
    named = sum(
        path.stat().st_size
        for path in (root / "rides/span=2/version=1").rglob("*")
        if path.is_file() and not path.name.startswith("_") and "reports" not in path.parts
    )
    assert found[1]["bytes"] == named
    assert main(["ls", str(root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and "401" in lines[2] and "passed" in lines[2] and "dataset, statistics" in lines[2]
    assert main(["ls", str(root), "--json", "--name", "rides"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["ls", str(root), "--name", "other"]) == FAILED
    assert "there is no dataset 'other' here" in capsys.readouterr().err


# verify


def test_what_was_written_is_whole(root, capsys):
    found = verify(str(root))
    assert found.problems == [] and found.results == 12 and found.rows == 3 * 401
    assert main(["verify", str(root / "rides/span=1/version=1/statistics")]) == 0
    assert "1 results" in capsys.readouterr().out


def _alter(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("glob", "do", "message"),
    [
        ("data/split=train/part-*", _alter, "the file was altered"),
        ("data/split=train/part-*", lambda path: path.unlink(), "no such file"),
        ("data/split=eval/part-*", lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes, .* were written"),
        ("data/_shards-train-*", _alter, "altered"),
        ("statistics/Split-train/State.arrow", _alter, "altered"),
        ("schema/schema.pbtxt", lambda path: path.unlink(), "no such file"),
        ("anomalies/_manifest.json", lambda path: path.write_text("{"), "does not parse as JSON"),
    ],
)
def test_whatever_is_wrong_is_told_by_its_file(root, capsys, glob, do, message):
    [path] = (root / "rides/span=2/version=1").glob(glob)
    do(path)
    assert main(["verify", str(root)]) == 1
    out = capsys.readouterr().out
    import re

    assert re.search(message, out) and path.name in out and "1 problems" in out


def test_accounts_that_do_not_add_up_are_told(root):
    path = root / "rides/span=1/version=1/data/_manifest.json"
    manifest = json.loads(path.read_text())
    manifest["body"]["accounts"]["read"] += 1
    manifest["body"]["splits"]["eval"]["rows"] += 2
    path.write_text(json.dumps(manifest))
    problems = verify(str(root)).problems
    assert len(problems) == 3
    assert any("the counts of rows do not add up: 402 read, 401 written" in problem for problem in problems)


def test_nothing_to_verify_is_an_error(tmp_path):
    with pytest.raises(HeadwaterError, match="there is no result here"):
        verify(str(tmp_path))


# gc


def test_nothing_goes_from_a_sound_root(root):
    age(root, 10 * DAY)
    before = files(root)
    assert garbage(root) == {}
    assert list(remove_garbage(str(root))) == [] and files(root) == before


def test_what_dead_attempts_left_goes_and_nothing_else(root):
    data = root / "rides/span=1/version=1/data"
    lost = [
        data / "split=train/part-00000-deadbeef0123.parquet",
        data / "_shards-train-deadbeef0123.parquet",
        data / "_rejected/part-00000-deadbeef0123.parquet",
        root / "rides/span=9/version=1/data/_claim.json",
        root / "rides/span=9/version=1/data/split=train/part-00000-x.parquet",
        root / "rides/span=2/version=1/statistics/_writing-abc",
        root / "_scratch/_scratch-1/part",
    ]
    mine = [root / "notes.txt", root / "rides/README.md", root / "other/span=x/version=1/data/file", data / "_alerts/1"]
    before = files(root)
    for path in [*lost, *mine]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    age(root, 2 * DAY)
    told = garbage(root)
    assert set(told) == {str(path.relative_to(root)) for path in lost}
    assert sorted(told.values()) == sorted([DEAD] * 5 + [TEMPORARY, SCRATCH])
    removed = list(remove_garbage(str(root)))
    assert len(removed) == len(lost)
    assert files(root) == before | {str(path.relative_to(root)) for path in mine}
    assert verify(str(root)).problems == []


def test_an_attempt_that_lives_is_left_alone(root):
    attempt = root / "rides/span=9/version=1/data"
    (attempt / "split=train").mkdir(parents=True)
    for name in ("_claim.json", "split=train/part-00000-x.parquet", "split=train/part-00001-x.parquet"):
        (attempt / name).write_text("x")
    age(root, 2 * DAY)
    # It wrote an hour ago; all else that it wrote is old.
    age(attempt / "split=train/part-00001-x.parquet", 3_600)
    assert garbage(root) == {}
    assert set(garbage(root, min_age=3_000).values()) == {DEAD}


def test_what_is_committed_between_listing_and_removal_stays(root):
    attempt = root / "rides/span=2/version=1/data"
    hidden = attempt / "_manifest.json"
    content = hidden.read_bytes()
    hidden.unlink()
    age(root, 2 * DAY)
    before = files(root)
    told = garbage(root)
    assert DEAD in told.values() and NOTE in told.values() and all("span=2" in name or "_made" in name for name in told)
    removed = remove_garbage(str(root))
    hidden.write_bytes(content)
    age(hidden, 2 * DAY)
    assert list(removed) == [] and files(root) == before | {str(hidden.relative_to(root))}


def test_retention_lets_go_of_whole_versions_manifests_first(root):
    age(root, 2 * DAY)
    found = list(find_garbage(str(root), retention=Retention(keep_spans=2)))
    assert [each.reason for each in found].count(NOTE) == 1 and found[-1].reason == NOTE
    assert {each.reason for each in found[:-1]} == {RETENTION} and all("span=1" in each.uri for each in found[:-1])
    names = [each.uri.rpartition("/")[2] for each in found]
    manifests = [place for place, name in enumerate(names) if name == "_manifest.json"]
    assert manifests == [0, 1, 2, 3]
    assert len(list(remove_garbage(str(root), retention=Retention(keep_spans=2)))) == len(found)
    assert [each["span"] for each in list_datasets(str(root))] == [2, 3]
    assert verify(str(root)).problems == []
    assert len(notes(root)) == 2


def test_notes_go_with_what_they_are_of(root):
    first, *_ = results.committed(str(root), "rides", "dataset", lambda span: span == 1)
    identity = results.load(first.folder("dataset"), "dataset").fingerprint
    mine = root / "rides/_made/mine.json"
    mine.write_text("{}")
    # Of a dead attempt; of a dataset that was removed by hand; and of one whose place another one has.
    (root / "rides/_made" / f"{'f' * 64}.json").write_text('{"span": 9, "version": 1}')
    (root / "rides/_made" / f"{'e' * 64}.json").write_text('{"span": 2, "version": 1}')
    shutil.rmtree(root / "rides/span=1")
    age(root, 2 * DAY)
    gone = {f"rides/_made/{name}.json": NOTE for name in (identity, "f" * 64, "e" * 64)}
    assert garbage(root) == gone
    assert {storage.relative(each.uri, str(root)) for each in remove_garbage(str(root))} == set(gone)
    assert len(notes(root)) == 3 and mine in notes(root) and results.made_of(str(root), "rides", identity) is None
    # What is noted anew is young, and its dataset may be on the way.
    results._note(first, identity)
    assert garbage(root) == {}


def test_each_retention_has_its_effect(root):
    shutil.copytree(root / "rides/span=3/version=1", root / "rides/span=3/version=2")
    age(root, 2 * DAY)
    age(root / "rides/span=1", 90 * DAY)
    gone = {
        "keep_spans": garbage(root, retention=Retention(keep_spans=1)),
        "keep_versions": garbage(root, retention=Retention(keep_versions=1)),
        "older_than": garbage(root, retention=Retention(older_than=30 * DAY)),
    }
    versions = {
        name: sorted({"/".join(path.split("/")[1:3]) for path, reason in paths.items() if reason == RETENTION})
        for name, paths in gone.items()
    }
    assert versions == {
        "keep_spans": ["span=1/version=1", "span=2/version=1"],
        "keep_versions": ["span=3/version=1"],
        "older_than": ["span=1/version=1"],
    }
    # Whatever lets it go: what is young stays.
    age(root, 60)
    assert garbage(root, retention=Retention(keep_spans=1)) == {}


def test_ages_are_by_the_stores_clock(root, monkeypatch):
    (root / "rides/span=1/version=1/data/split=train/part-x-dead.parquet").write_text("x")
    age(root, 0.5 * DAY)
    real = time.time
    for skew in (-3_600, 3_600, 30 * DAY):
        monkeypatch.setattr(time, "time", lambda: real() + skew)
        assert garbage(root) == {}
    assert len(garbage(root, min_age=0.4 * DAY)) == 1


def test_gc_tells_first_and_removes_when_told(root, capsys):
    (root / "rides/span=1/version=1/data/split=train/part-x-dead.parquet").write_text("x")
    age(root, 2 * DAY)
    before = files(root)
    assert main(["gc", str(root)]) == 0
    out = capsys.readouterr().out
    assert "dead attempt: 1 files, 1 B" in out and "nothing was removed" in out and files(root) == before
    assert main(["gc", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == DEAD
    assert main(["gc", str(root), "--delete", "--min-age", "36h"]) == 0
    assert len(before - files(root)) == 1
    assert main(["gc", str(root), "--delete"]) == 0
    assert "there is nothing to remove" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--min-age", "soon"], "'soon' is not a duration"),
        (["--min-age=-1d"], "is not a duration"),
        (["--keep-spans", "0"], "keep-spans: must be at least 1"),
        (["--older-than", "0d"], "older-than: must be more than 0"),
    ],
)
def test_wrong_settings_are_told(root, capsys, arguments, message):
    assert main(["gc", str(root), *arguments]) == FAILED
    assert message in capsys.readouterr().err


def test_ages_have_units():
    assert [seconds(text) for text in ("45s", "90m", "36h", "1.5d")] == [45, 5_400, 129_600, 129_600]


@pytest.mark.slow
def test_a_million_keys_are_listed_in_flat_memory(root, monkeypatch):
    age(root, 2 * DAY)
    alive = {"now": 0, "most": 0}

    class Counted(storage.Dated):
        def __new__(cls, *values):
            alive["now"] += 1
            alive["most"] = max(alive.values())
            return super().__new__(cls, *values)

        def __del__(self):
            alive["now"] -= 1

    real = list(storage.walk(str(root)))
    number = 500_000
    prefix = f"{root}/rides/span=1/version=1/data/split=train/part-"

    def many(folder):
        for each in real:
            yield Counted(*each)
        if folder == str(root):
            for place in range(number):
                yield Counted(f"{prefix}{place:07d}-dead.parquet", 1, real[0].modified)
        else:
            yield from walk(folder)

    walk = storage.walk
    monkeypatch.setattr(storage, "walk", many)
    # Each of both listings.
    assert sum(1 for _ in find_garbage(str(root))) == number
    assert alive["most"] < 100


# lineage


def test_a_verdict_is_followed_back_over_spans_to_its_sources(root, capsys):
    nodes = trace(str(root / "rides/span=3/version=1/anomalies"))
    assert nodes[0].kind == "anomalies" and not any(node.trouble for node in nodes)
    kinds = sorted((node.kind, node.span) for node in nodes)
    assert ("dataset", 3) in kinds and ("dataset", 2) in kinds and ("statistics", 2) in kinds
    dataset = next(node for node in nodes if node.kind == "dataset" and node.span == 2)
    assert dataset.sources[0]["rows"] == 401 and dataset.settings["key"] == ["id"] and dataset.version == 1
    assert dataset.sha256 == results.load(dataset.uri, "dataset").sha256
    assert main(["lineage", str(root / "rides/span=3/version=1")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("anomalies ") and "baseline: statistics" in out and "(above)" in out
    assert dataset.sources[0]["sha256"] in out and "key=['id']" in out


def test_lineage_as_json_and_as_openlineage(root, capsys):
    uri = str(root / "rides/span=2/version=1/schema")
    assert main(["lineage", uri, "--format", "json"]) == 0
    nodes = json.loads(capsys.readouterr().out)
    assert [node["step"] for node in nodes] == ["infer-schema", "generate-statistics", "collect"]
    assert nodes[0]["inputs"] == {"statistics": 1}
    assert main(["lineage", uri, "--format", "openlineage", "--namespace", "test"]) == 0
    events = json.loads(capsys.readouterr().out)
    assert [event["job"]["name"] for event in events] == [
        "headwater.collect",
        "headwater.generate-statistics",
        "headwater.infer-schema",
    ]
    # Each step reads what the one before it wrote.
    for before, after in zip(events, events[1:]):
        assert before["outputs"][0]["name"] == after["inputs"][0]["name"]
    for event in events:
        assert {"eventType", "eventTime", "producer", "schemaURL", "run", "job"} <= set(event)
        assert event["job"]["namespace"] == "test"
    assert events[0]["run"]["facets"]["headwater_parameters"]["parameters"]["key"] == ["id"]


def test_plain_files_are_told_as_what_they_are(tmp_path):
    for name, text in (("a", "id,x\n1,2\n2,3\n"), ("b", "id,x\n")):
        (tmp_path / f"{name}.csv").write_text(text)
    compute_statistics(str(tmp_path / "*.csv"), str(tmp_path / "statistics"), workers=1)
    nodes = trace(str(tmp_path / "statistics"))
    assert [(node.kind, node.step, node.trouble) for node in nodes] == [
        ("statistics", "generate-statistics", ""),
        ("dataset", "", ""),
    ]
    source, empty = nodes[1].sources
    assert empty["uri"].endswith("/b.csv") and empty["rows"] == 0
    assert source["uri"].endswith("/a.csv") and (source["rows"], source["bytes"]) == (2, 13)
    assert source["sha256"] in lineages.as_text(nodes) and "made by collect" not in lineages.as_text(nodes)
    [event] = lineages.as_openlineage(nodes)
    assert event["inputs"][0]["name"] == nodes[1].uri


def test_an_input_that_is_gone_or_another_is_told(root):
    verdict = str(root / "rides/span=3/version=1/anomalies")
    shutil.rmtree(root / "rides/span=2/version=1/statistics")
    troubles = [node.trouble for node in trace(verdict) if node.trouble]
    assert len(troubles) == 1 and "no statistics is here" in troubles[0]
    assert "cannot be followed" in lineages.as_text(trace(verdict))
    shutil.rmtree(root / "rides/span=3/version=1/schema")
    shutil.copytree(root / "rides/span=1/version=1/schema", root / "rides/span=3/version=1/schema")
    troubles = [node.trouble for node in trace(verdict) if node.trouble]
    assert any("not the one that was read" in trouble for trouble in troubles)
    assert len(lineages.as_openlineage(trace(verdict))) == len(trace(verdict)) - 2


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://bucket/a.csv", "s3://bucket/a.csv"),
        ("postgresql://me:hunter2@host:5432/db", "postgresql://host:5432/db"),
        ("https://h/x.csv?X-Amz-Signature=hunter2", "https://h/x.csv?…"),
        ("/data/a.csv", "/data/a.csv"),
    ],
)
def test_secrets_in_addresses_are_not_shown(uri, shown):
    assert lineages.without_secrets(uri) == shown


def test_there_must_be_a_result(tmp_path):
    with pytest.raises(HeadwaterError, match="there is no result here"):
        trace(str(tmp_path))
