from __future__ import annotations

import json

import pytest

from headwater.components.common import references, results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home


def save(output, home=None, settings=None, content=b"content", inputs=None, kind="statistics"):
    return results.save(
        kind,
        str(output),
        files={"Split-train/FeatureStats.pb": content},
        body={"n": 1},
        inputs=inputs or {},
        settings=settings or {},
        home=home,
        page="<p>",
    )


def home(tmp_path, span=1, version=1):
    return Home(str(tmp_path / "root"), "flights", span, version)


def test_what_is_saved_is_loaded_with_its_checksums(tmp_path):
    saved = save(tmp_path / "out")
    loaded = results.load(str(tmp_path / "out"), "statistics")
    assert loaded == saved
    assert loaded.read("Split-train/FeatureStats.pb") == b"content"
    assert loaded.files() == ["Split-train/FeatureStats.pb", "page.html"]
    assert loaded.uri == str(tmp_path / "out")


def test_a_result_has_its_place_under_data_root(tmp_path):
    saved = save(tmp_path / "out", home(tmp_path))
    assert saved.uri == str(tmp_path / "root/flights/span=1/version=1/statistics")
    assert results.load(saved.uri, "statistics").manifest == saved.manifest
    assert (tmp_path / "root/flights/span=1/version=1/reports/statistics.html").read_text() == "<p>"


def test_the_manifest_alone_is_passed_on_and_its_files_are_read_at_home(tmp_path):
    save(tmp_path / "out", home(tmp_path))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["_manifest.json"]
    loaded = results.load(str(tmp_path / "out"), "statistics")
    assert loaded.read("Split-train/FeatureStats.pb") == b"content" and loaded.read("page.html") == b"<p>"
    # What a task was given beside its manifest is nearer than its home.
    (tmp_path / "out/page.html").write_bytes(b"<p>")
    assert loaded.locate("page.html") == str(tmp_path / "out/page.html")
    assert loaded.locate("Split-train/FeatureStats.pb").startswith(str(tmp_path / "root"))


def test_a_file_that_a_result_has_not_is_named_beside_those_that_it_has(tmp_path):
    saved = save(tmp_path / "out")
    with pytest.raises(HeadwaterError, match="this statistics has no file x; it has Split-train/FeatureStats.pb, page"):
        saved.read("x")


def test_the_manifest_records_files_settings_and_inputs(tmp_path):
    first = save(tmp_path / "a", home(tmp_path))
    second = save(tmp_path / "b", settings={"x": [1]}, inputs={"statistics": first}, kind="schema")
    manifest = json.loads((tmp_path / "b/_manifest.json").read_text())
    assert manifest["files"]["page.html"] == {"bytes": 3, "sha256": storage.sha256(b"<p>")}
    assert (manifest["kind"], manifest["settings"], manifest["home"]) == ("schema", {"x": [1]}, None)
    assert manifest["inputs"] == {
        "statistics": {"uri": first.uri, "sha256": first.sha256, "fingerprint": first.fingerprint}
    }
    assert second.home is None and second.body == {"n": 1} and first.home == home(tmp_path)
    # Plain input has no manifest: what it was read from is recorded in its place.
    plain = results.Result("x", {"kind": "dataset", "fingerprint": "f", "body": {"lineage": {"sources": [7]}}}, "s")
    assert plain.reference() == {"uri": "x", "sha256": "s", "fingerprint": "f", "sources": [7]}


def test_a_fingerprint_is_of_kind_inputs_and_settings():
    one = results.fingerprint("schema", {"a": "1", "b": "2"}, {"x": 1})
    assert one == results.fingerprint("schema", {"b": "2", "a": "1"}, {"x": 1})
    others = [("anomalies", {"a": "1", "b": "2"}, {"x": 1}), ("schema", {"a": "2", "b": "1"}, {"x": 1})]
    others += [("schema", {"a": "1", "b": "2"}, {"x": 2}), ("schema", {}, {"x": 1})]
    assert len({one, *(results.fingerprint(*each) for each in others)}) == 5


def test_a_manifest_holds_numbers_only():
    assert results.encode({"x": 1.5}) == b'{\n "x": 1.5\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.encode({"x": float("nan")})


def test_a_second_attempt_learns_that_the_first_has_committed(tmp_path):
    place, manifest = home(tmp_path), results.encode({"format_version": "2.0", "kind": "schema", "fingerprint": "f"})
    assert results.commit(place, "schema", manifest)
    again = results.encode({"format_version": "2.0", "kind": "schema", "fingerprint": "f", "attempt": 2})
    assert not results.commit(place, "schema", again)
    for other in ("e", "g"):
        with pytest.raises(HeadwaterError, match="another run's schema was committed here"):
            results.commit(place, "schema", results.encode({"fingerprint": other}))
    assert storage.read_bytes(storage.join(place.folder("schema"), results.MANIFEST)) == manifest


def test_a_claim_takes_the_first_version_that_is_free(tmp_path):
    assert [results.claim(home(tmp_path), "schema", each).version for each in "aabba"] == [1, 1, 2, 2, 1]
    assert results.claim(home(tmp_path, version=2), "schema", "a").version == 3
    assert results.claim(home(tmp_path), "anomalies", "b").version == 1


def test_the_same_inputs_and_settings_adopt_what_is_there(tmp_path):
    first = save(tmp_path / "a", home(tmp_path), {"x": 1})
    manifest = tmp_path / "root/flights/span=1/version=1/statistics/_manifest.json"
    before = manifest.stat().st_mtime_ns
    again = save(tmp_path / "b", home(tmp_path), {"x": 1})
    assert again.uri == first.uri and again.sha256 == first.sha256
    assert manifest.stat().st_mtime_ns == before


def test_an_attempt_that_made_something_else_adopts_what_is_committed(tmp_path):
    first = save(tmp_path / "a", home(tmp_path), content=b"one")
    again = save(tmp_path / "b", home(tmp_path), content=b"two")
    assert again.sha256 == first.sha256 and again.read("Split-train/FeatureStats.pb") == b"one"
    assert results.load(first.uri, "statistics").read("Split-train/FeatureStats.pb") == b"one"


def test_attempts_that_made_different_files_at_once_share_no_folder(tmp_path):
    """As if the first had written its files and not its manifest when the second one came."""
    first = save(tmp_path / "a", home(tmp_path), content=b"one")
    manifest = storage.join(first.uri, results.MANIFEST)
    content = storage.read_bytes(manifest)
    storage.delete(manifest)
    second = save(tmp_path / "b", home(tmp_path), content=b"two")
    assert results.commit(first.home, "statistics", content)
    for each, expected in ((first, b"one"), (second, b"two")):
        assert results.load(each.uri, "statistics").read("Split-train/FeatureStats.pb") == expected
    assert (first.home.version, second.home.version) == (1, 2)
    # A third attempt takes the first of them.
    assert save(tmp_path / "c", home(tmp_path), content=b"three").sha256 == first.sha256


def test_other_settings_take_the_next_version_and_overwrite_nothing(tmp_path):
    first = save(tmp_path / "a", home(tmp_path), {"x": 1}, b"one")
    second = save(tmp_path / "b", home(tmp_path), {"x": 2}, b"two")
    assert second.home.version == 2
    assert results.load(first.uri, "statistics").read("Split-train/FeatureStats.pb") == b"one"
    assert results.load(second.uri, "statistics").read("Split-train/FeatureStats.pb") == b"two"


def test_a_place_that_was_given_away_while_a_run_went_on_is_an_error(tmp_path):
    """As when `headwater gc` removed the claim of a run that took longer than its --min-age."""
    first = save(tmp_path / "one", home(tmp_path))
    other = results.encode({**first.manifest, "fingerprint": "another"})
    assert results.commit(first.home, "statistics", results.encode(first.manifest))
    with pytest.raises(HeadwaterError, match="another run's statistics was committed here.*run it again"):
        results.commit(first.home, "statistics", other)


def test_an_attempt_that_died_before_its_manifest_is_taken_up(tmp_path):
    first = save(tmp_path / "a", home(tmp_path), {"x": 1})
    storage.delete(storage.join(first.uri, results.MANIFEST))
    with pytest.raises(HeadwaterError, match="no statistics is here"):
        results.load(first.uri, "statistics")
    assert save(tmp_path / "b", home(tmp_path), {"x": 1}).uri == first.uri


@pytest.mark.parametrize(
    ("reference", "span"), [("latest", 4), ("previous", 2), ("auto", 2), ("span:1", 1), ("span:4", 4)]
)
def test_references_resolve_to_a_span(tmp_path, reference, span):
    for number in (1, 2, 4):
        save(tmp_path / f"out{number}", home(tmp_path, number))
    found = references.find(reference, "statistics", home(tmp_path, 3))
    assert found.home.span == span


def test_latest_is_never_the_asking_spans_own(tmp_path):
    save(tmp_path / "out", home(tmp_path, 3))
    with pytest.raises(HeadwaterError, match="'latest' does not exist"):
        references.find("latest", "statistics", home(tmp_path, 3))


def test_a_reference_takes_the_highest_version_of_its_span(tmp_path):
    save(tmp_path / "a", home(tmp_path), {"x": 1})
    save(tmp_path / "b", home(tmp_path), {"x": 2})
    assert references.find("previous", "statistics", home(tmp_path, 2)).home.version == 2


def test_a_uri_is_a_reference_too(tmp_path):
    saved = save(tmp_path / "out")
    assert references.find(str(tmp_path / "out"), "statistics", None) == saved


@pytest.mark.parametrize("reference", ["latest", "previous", "span:7"])
def test_a_reference_to_what_does_not_exist_is_an_error(tmp_path, reference):
    with pytest.raises(
        HeadwaterError, match=f"'{reference}' does not exist: there is no such statistics of dataset 'flights'"
    ):
        references.find(reference, "statistics", home(tmp_path))


def test_auto_and_none_are_nothing_where_there_is_nothing(tmp_path):
    assert references.find("auto", "statistics", home(tmp_path)) is None
    assert references.find("auto", "statistics", None) is None
    save(tmp_path / "out", home(tmp_path, 1))
    assert references.find("none", "statistics", home(tmp_path, 2)) is None


def test_a_reference_needs_a_data_root(tmp_path):
    with pytest.raises(HeadwaterError, match="no data_root is set"):
        references.find("latest", "statistics", None)


def test_a_span_must_be_a_number(tmp_path):
    with pytest.raises(HeadwaterError, match="span:3"):
        references.find("span:x", "statistics", home(tmp_path))


def test_an_altered_file_is_refused(tmp_path):
    saved = save(tmp_path / "out")
    (tmp_path / "out/Split-train/FeatureStats.pb").write_bytes(b"c0ntent")
    with pytest.raises(HeadwaterError, match="FeatureStats.pb: the file was altered"):
        saved.read("Split-train/FeatureStats.pb")


def test_only_committed_results_are_listed_the_latest_first(tmp_path):
    for span, version in ((10, 1), (9, 1), (2, 10), (2, 9)):
        place = home(tmp_path, span, version)
        storage.write_bytes(storage.join(place.folder("schema"), results.MANIFEST), b"{}")
    storage.write_bytes(str(tmp_path / "root/flights/span=3/version=1/statistics/_manifest.json"), b"{}")
    storage.write_bytes(str(tmp_path / "root/flights/span=4/version=1/schema/_claim.json"), b"{}")
    storage.write_bytes(str(tmp_path / "root/flights/span=x/version=1/schema/_manifest.json"), b"{}")
    storage.write_bytes(str(tmp_path / "root/flights/spans=5/version=1/schema/_manifest.json"), b"{}")
    found = results.committed(str(tmp_path / "root"), "flights", "schema")
    assert [(each.span, each.version) for each in found] == [(10, 1), (9, 1), (2, 10), (2, 9)]


@pytest.mark.parametrize("reference", ["previous", "latest", "auto", "span:41"])
def test_the_earlier_spans_that_nobody_asks_for_cost_no_request(tmp_path, monkeypatch, reference):
    for span in range(60):
        save(tmp_path / "out", home(tmp_path, span), kind="schema")
    looked = []
    exists = storage.exists
    monkeypatch.setattr(storage, "exists", lambda uri: looked.append(uri) or exists(uri))
    found = references.find(reference, "schema", home(tmp_path, 60))
    assert found.home.span == (41 if reference == "span:41" else 59)
    spans = {part for uri in looked for part in uri.split("/") if part.startswith("span=")}
    assert spans == {f"span={found.home.span}"}


def test_the_latest_versions_of_the_spans_before_are_told_in_their_order(tmp_path):
    for span, version in ((1, 1), (2, 1), (2, 2), (4, 1), (7, 3), (8, 1)):
        storage.write_bytes(storage.join(home(tmp_path, span, version).folder("schema"), results.MANIFEST), b"{}")
    found = results.before(home(tmp_path, 8), "schema", 3)
    assert [(each.span, each.version) for each in found] == [(2, 2), (4, 1), (7, 3)]


def test_a_manifest_is_brought_and_a_page_copied(tmp_path):
    saved = save(tmp_path / "a", home(tmp_path))
    brought = results.bring(saved, str(tmp_path / "b"))
    assert (brought.sha256, brought.uri) == (saved.sha256, saved.uri)
    results.copy_page(brought, str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text() == "<p>"
    (tmp_path / "data").mkdir()
    (tmp_path / "data/own.html").write_text("<i>")
    named = results.Result(str(tmp_path / "data"), {"kind": "dataset", "body": {"page": "own.html"}}, "")
    results.copy_page(named, str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text() == "<i>"
    results.copy_page(results.Result("x", {"kind": "dataset", "body": {}}, ""), str(tmp_path / "page.html"))
    assert "This dataset has no page of its own" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": "1.0"}, "format_version 1.0 is not readable; this Headwater reads 2.x; run the step"),
        ({"kind": "schema"}, "this result is of kind schema, but statistics is needed"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path, change, message):
    save(tmp_path / "out")
    path = tmp_path / "out/_manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(HeadwaterError, match=message):
        results.load(str(tmp_path / "out"), "statistics")


def test_a_later_minor_format_is_read(tmp_path):
    save(tmp_path / "out")
    path = tmp_path / "out/_manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": "2.9"}))
    results.load(str(tmp_path / "out"), "statistics")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "7"])
def test_what_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "_manifest.json").write_text(content)
    with pytest.raises(HeadwaterError, match="_manifest.json: not a"):
        results.load(str(tmp_path), "statistics")


@pytest.mark.parametrize("name", ["a", "7", "Flights_2013.v-1"])
def test_letters_digits_and_some_marks_name_a_dataset(name):
    results.check_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "..", "_x", "a b", "-x"])
def test_a_name_is_one_path_segment(name):
    with pytest.raises(HeadwaterError, match="cannot name a dataset"):
        results.check_name(name)
