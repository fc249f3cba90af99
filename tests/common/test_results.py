from __future__ import annotations

import json

import pytest

from headwater.components.common import results, storage
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


def test_the_same_inputs_and_settings_adopt_what_is_there(tmp_path):
    first = save(tmp_path / "a", home(tmp_path), {"x": 1})
    manifest = tmp_path / "root/flights/span=1/version=1/statistics/_manifest.json"
    before = manifest.stat().st_mtime_ns
    again = save(tmp_path / "b", home(tmp_path), {"x": 1})
    assert again.uri == first.uri and again.sha256 == first.sha256
    assert manifest.stat().st_mtime_ns == before


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
    found = results.find(reference, "statistics", home(tmp_path, 3))
    assert found.home.span == span


def test_latest_is_never_the_asking_spans_own(tmp_path):
    save(tmp_path / "out", home(tmp_path, 3))
    with pytest.raises(HeadwaterError, match="'latest' does not exist"):
        results.find("latest", "statistics", home(tmp_path, 3))


def test_a_reference_takes_the_highest_version_of_its_span(tmp_path):
    save(tmp_path / "a", home(tmp_path), {"x": 1})
    save(tmp_path / "b", home(tmp_path), {"x": 2})
    assert results.find("previous", "statistics", home(tmp_path, 2)).home.version == 2


def test_a_uri_is_a_reference_too(tmp_path):
    saved = save(tmp_path / "out")
    assert results.find(str(tmp_path / "out"), "statistics", None) == saved


@pytest.mark.parametrize("reference", ["latest", "previous", "span:7"])
def test_a_reference_to_what_does_not_exist_is_an_error(tmp_path, reference):
    with pytest.raises(
        HeadwaterError, match=f"'{reference}' does not exist: there is no such statistics of dataset 'flights'"
    ):
        results.find(reference, "statistics", home(tmp_path))


def test_auto_and_none_are_nothing_where_there_is_nothing(tmp_path):
    assert results.find("auto", "statistics", home(tmp_path)) is None
    assert results.find("auto", "statistics", None) is None
    save(tmp_path / "out", home(tmp_path, 1))
    assert results.find("none", "statistics", home(tmp_path, 2)) is None


def test_a_reference_needs_a_data_root(tmp_path):
    with pytest.raises(HeadwaterError, match="no data_root is set"):
        results.find("latest", "statistics", None)


def test_a_span_must_be_a_number(tmp_path):
    with pytest.raises(HeadwaterError, match="span:3"):
        results.find("span:x", "statistics", home(tmp_path))


def test_an_altered_file_is_refused(tmp_path):
    saved = save(tmp_path / "out")
    (tmp_path / "out/Split-train/FeatureStats.pb").write_bytes(b"c0ntent")
    with pytest.raises(HeadwaterError, match="FeatureStats.pb: the file was altered"):
        saved.read("Split-train/FeatureStats.pb")


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


@pytest.mark.parametrize("name", ["", "a/b", "..", "_x", "a b", "-x"])
def test_a_name_is_one_path_segment(name):
    with pytest.raises(HeadwaterError, match="cannot name a dataset"):
        results.check_name(name)
