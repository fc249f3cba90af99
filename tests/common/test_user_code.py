"""Functions handed over in place of a name, and what is said of one that fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headwater.components.common import user_code
from headwater.components.common.errors import HeadwaterError

NOTEBOOK = """
import pandas as pd
from headwater.components.generate_statistics import compute_statistics
from headwater.components.label import analyse, label_dataset

LIMIT = 10.0

def dear(batch):
    return ["high" if amount > LIMIT else None for amount in batch["amount"].to_pylist()]

def cheap(batch):
    return ["low" if amount <= LIMIT else None for amount in batch["amount"].to_pylist()]

def total(batch):
    return {"amount": {"total": sum(batch["amount"].to_pylist())}}

if __name__ == "__main__":
    rows = pd.DataFrame({"id": range(3000), "amount": [number % 20 for number in range(3000)]})
    rows.to_parquet("a.parquet", row_group_size=1000)
    functions = [{"name": "dear", "python": dear}, {"name": "cheap", "python": cheap}]
    steps = [{"method": "weak_supervision", "classes": ["low", "high"], "model": "majority", "functions": functions}]
    labels = label_dataset("a.parquet", "labels", steps=steps, workers=2)
    print(labels.body["labelled"]["classes"])
    print(sorted(labels.manifest["settings"]["code"]))
    print(str(analyse("a.parquet", steps=steps)).splitlines()[0])
    config = {"custom_statistics": [{"function": total, "merge": "sum"}]}
    statistics = compute_statistics("a.parquet", "statistics", config=config, workers=2)
    print(statistics.manifest["settings"]["custom_statistics"][0]["function"].split("#")[0])
"""


def test_functions_of_a_notebook_reach_its_workers(tmp_path):
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    done = subprocess.run([sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    classes, code, sample, custom = [line for line in done.stdout.splitlines() if line[:1] in "{[3_"]
    assert classes == "{'low': 1650, 'high': 1350}"
    assert code.count("__main__:dear#") == 1 and code.count("__main__:cheap#") == 1
    assert sample.startswith("3,000 rows, 100")
    assert custom == "__main__:total"


def test_a_name_tells_the_code():
    def limit(most):
        return lambda batch: [value > most for value in batch]

    one, same, other = limit(1), limit(1), limit(2)
    assert user_code.named({"a": [one]})["a"] == user_code.named([same])
    assert user_code.named(one) != user_code.named(other)
    assert user_code.code_of(user_code.named(one)) != user_code.code_of(user_code.named(other))
    assert user_code.find_function("x", user_code.named(one)) in (one, same)
    assert user_code.named(subprocess.run) == "subprocess:run"
    given = {"a": 1, "b": ["c", None]}
    assert user_code.named(given) == given
    with pytest.raises(HeadwaterError, match="the module cannot be imported"):
        user_code.find_function("x", "__nowhere__:f#0123")


def failing(row):
    if row["kind"] == "mail":
        raise ValueError(f"{row['address']} of {row['kind']!r} is no {row['address'].partition('@')[0]!r} with 'key'")
    return row["key"]


def test_a_failure_says_message_and_line_but_no_value():
    row = {"address": "ann@example.org", "kind": "mail"}
    for each, expected in (
        (row, "ValueError: <address> of '<kind>' is no '…' with 'key' (test_user_code.py, line "),
        ({"address": "x", "kind": "other"}, "KeyError: 'key' (test_user_code.py, line "),
    ):
        with pytest.raises((ValueError, KeyError)) as caught:
            failing(each)
        assert user_code.failure(caught.value, failing, each).startswith(expected)
    assert user_code.failure(caught.value, failing, None).startswith("KeyError (test_user_code.py, line ")


def test_a_cell_is_called_so():
    names: dict = {}
    exec(compile("def inner(row):\n    return row['b']", "/tmp/ipykernel_4711/38271.py", "exec"), names)
    with pytest.raises(KeyError) as caught:
        names["inner"]({"a": 1})
    assert user_code.failure(caught.value, names["inner"], {"a": 1}) == "KeyError: 'b' (the cell, line 2)"
