"""A project file's text: found, read with its lines, and amended with its comments kept."""

from __future__ import annotations

import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import parse_config
from headwater.pipelines.project import NAME, amend, append, find

TEXT = """\
# The orders of the shop.
name: orders
collect:
  key: [id]        # the order's number
  types:
    zip: string    # leading zeros count
validate:
  drift: {min_effect: 0.1}
  acknowledged:
  - feature: age   # discussed on Monday
    until: 2026-12-31

# Where it runs.
platform:
  workers: 2
"""


def test_it_is_found_in_the_working_folder_or_beside_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("x\n1\n")
    assert find([str(data / "a.csv")]) == ""
    (data / NAME).write_text("name: beside\n")
    for source in (data / "a.csv", data / "*.csv", data, "data/a.csv", data / "{YYYY}-{MM}.csv"):
        assert find([str(source)]).endswith(f"data/{NAME}")
    (tmp_path / NAME).write_text("name: here\n")
    assert find([str(data / "a.csv")]) == NAME
    assert find([str(data / "a.csv")], "none") == ""
    assert find([], str(data / NAME)) == str(data / NAME)
    with pytest.raises(HeadwaterError, match="--project: other.yaml: there is no such file; `headwater init`"):
        find([], "other.yaml")


def test_two_different_files_beside_the_data_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_text("")
    with pytest.raises(HeadwaterError, match=r"several project files beside the data, a/headwater.yaml and b/head"):
        find(["a/x.csv", "b/x.csv"])


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("validate", "drift", "min_effect"), 0.2, "  drift: {min_effect: 0.2}\n"),
        (("validate", "drift", "season"), 7, "  drift: {min_effect: 0.1, season: 7}\n"),
        (("validate", "baseline"), "none", "  baseline: none\n"),
        (("collect", "types", "phone"), "string", "    phone: string\n"),
        (("collect", "types", "zip"), "int64", "    zip: int64    # leading zeros count\n"),
        (("collect", "key"), ["id", "at"], "  key: [id, at]        # the order's number\n"),
        (("platform", "data_root"), "s3://lake", "  data_root: s3://lake\n"),
        (("schema", "features", "age", "max"), 120, "schema:\n  features:\n    age:\n      max: 120\n"),
        (("name",), "two words: and a colon", "name: 'two words: and a colon'\n"),
        (("validate", "acknowledged", 0, "until"), "2027-01-31", "    until: '2027-01-31'\n"),
    ],
)
def test_amending_changes_one_setting_and_keeps_every_comment(tmp_path, path, value, line):
    file = tmp_path / NAME
    file.write_text(TEXT)
    amend(str(file), path, value)
    text = file.read_text()
    assert line in text
    assert [each for each in TEXT.splitlines() if "#" in each and each.split("#")[1] not in text] == []
    found = parse_config(NAME, text)
    for part in path:
        found = found[part]
    assert found == value


def test_appending_adds_entries_in_order(tmp_path):
    file = tmp_path / NAME
    file.write_text(TEXT)
    for feature in ("zip", "fare"):
        append(str(file), ("validate", "acknowledged"), {"feature": feature, "reason": "known"})
    append(str(file), ("alerts",), {"to": "slack"})
    append(str(file), ("collect", "key"), "at")
    found = parse_config(NAME, file.read_text())
    assert [each["feature"] for each in found["validate"]["acknowledged"]] == ["age", "zip", "fare"]
    assert found["alerts"] == [{"to": "slack"}] and found["collect"]["key"] == ["id", "at"]
    assert "# discussed on Monday" in file.read_text() and "# Where it runs." in file.read_text()


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "validate:\n", "validate: {}\n", "name: x", "validate: # later\n"]
)
def test_a_file_that_is_not_there_or_empty_is_begun(tmp_path, text):
    file = tmp_path / NAME
    if text:
        file.write_text(text)
    append(str(file), ("validate", "acknowledged"), {"feature": "a"})
    found = parse_config(NAME, file.read_text())
    assert found["validate"] == {"acknowledged": [{"feature": "a"}]}


def test_what_cannot_be_amended_is_left_alone(tmp_path):
    file = tmp_path / NAME
    file.write_text("validate: all\n")
    with pytest.raises(HeadwaterError, match=r"validate: must be a mapping to hold 'acknowledged'"):
        append(str(file), ("validate", "acknowledged"), {"feature": "a"})
    file.write_text("a: &one {x: 1}\nb: *one\n")
    with pytest.raises(HeadwaterError, match=r"b\.x cannot be set without rewriting the file; set it by hand to 2"):
        amend(str(file), ("b", "x"), 2)
    assert file.read_text() == "a: &one {x: 1}\nb: *one\n"


def test_a_key_that_is_given_twice_is_refused_with_both_lines():
    with pytest.raises(HeadwaterError, match="f.yaml, line 3: the key 'name' is given twice; line 1 has it too"):
        parse_config("f.yaml", "name: a\ncollect: {}\nname: b\n")


def test_dates_and_words_stay_text():
    text = "a: 2026-01-31\nb: on\nc: no\nd: true\ne: 1970-01-01 00:00:00\n"
    assert parse_config("f.yaml", text) == {
        "a": "2026-01-31", "b": "on", "c": "no", "d": True, "e": "1970-01-01 00:00:00",
    }  # fmt: skip
