"""A check of a user's own: a function, handed over or named, whose findings count as all others do."""

from __future__ import annotations

import sys

import pytest
from spans import orders, save_statistics

from headwater.components.common.errors import HeadwaterError
from headwater.components.infer_schema import derive_schema
from headwater.components.validate import check_statistics
from headwater.components.validate.findings import finding

MODULE = """
from headwater.components.validate.findings import finding


def small(context, least):
    for split in context.splits:
        if context.rows_of(split) < least:
            message = f"{context.rows_of(split):,} rows, where {least:,} are needed"
            yield finding(split, "", "SMALL", "error", message, action="wait for more")
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    statistics = save_statistics(folder, {"train": orders(1)}, span=1)
    return statistics.folder, derive_schema(statistics.folder, str(folder / "schema")).folder


def check(inputs, output, function, **settings):
    config = {"custom": [{"function": function, "settings": settings}]}
    return check_statistics(*inputs, str(output), config=config)


def test_a_function_of_a_module_and_its_settings(inputs, tmp_path, monkeypatch):
    module = tmp_path / "own_checks.py"
    module.write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = check(inputs, tmp_path / "a", "own_checks:small", least=10**6)
    [found] = [each for each in broken.body["findings"] if each["check"] == "custom"]
    assert not broken.body["blessed"] and (found["kind"], found["split"]) == ("SMALL", "train")
    assert found["action"] == "wait for more" and "1,000,000 are needed" in broken.read("page.html").decode()
    [counted] = [each for each in broken.body["checks"] if each["name"] == "custom"]
    assert counted["errors"] == 1 and not counted["skipped"]
    assert check(inputs, tmp_path / "b", "own_checks:small", least=1).body["blessed"]
    # Other code is another check.
    module.write_text(MODULE.replace("SMALL", "TINY"))
    monkeypatch.delitem(sys.modules, "own_checks")
    again = check(inputs, tmp_path / "c", "own_checks:small", least=10**6)
    assert again.fingerprint != broken.fingerprint and again.body["findings"][0]["kind"] == "TINY"


def test_a_function_itself(inputs, tmp_path):
    def numbers_alone(context):
        [split] = context.splits
        texts = [
            each.path.step[0] for each in context.read(split).datasets[0].features if each.HasField("string_stats")
        ]
        return [finding(split, name, "TEXT", "warning", f"{name} is text") for name in texts]

    result = check(inputs, tmp_path / "out", numbers_alone)
    assert {each["kind"] for each in result.body["findings"]} >= {"TEXT"} and result.body["blessed"]
    unset = check_statistics(*inputs, str(tmp_path / "unset"))
    [skipped] = [each["skipped"] for each in unset.body["checks"] if each["name"] == "custom"]
    assert skipped == "no function: set validate.custom"
    assert check(inputs, tmp_path / "none", lambda context: None).body["blessed"]


def fails(context):
    raise KeyError("a value of somebody")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nowhere:small", r"config\.custom\.0\.function: nowhere:small: the module cannot be imported"),
        ("small", r"'small' is not the name of a function; write package\.module:function"),
        (fails, r"config\.custom\.0: .*fails failed with KeyError \(test_custom\.py, line \d+\)$"),
        (lambda context: ["bad"], r"must give findings, as .*finding makes them; it gave a str"),
        (
            lambda context: [finding("", "", "A", "grave", "b")],
            "severity 'grave'; it must be one of error, warning, info",
        ),
        (lambda context: [finding("test", "", "A", "error", "b")], "on the split 'test'; the splits are train"),
        (lambda context: [finding("", "", "A", "error", "b", value={1})], "a value that JSON cannot hold"),
    ],
)
def test_what_is_wrong_with_a_function(inputs, tmp_path, function, message):
    with pytest.raises(HeadwaterError, match=message):
        check(inputs, tmp_path / "out", function)


def test_settings_that_a_function_does_not_take(inputs, tmp_path):
    with pytest.raises(HeadwaterError, match="failed with TypeError"):
        check(inputs, tmp_path / "out", fails, most=3)
