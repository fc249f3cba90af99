"""Private data through the whole of collect: the raw value stands nowhere."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from headwater.components.collect import collect_dataset
from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError

KEY = "a-key-of-32-characters-for-tests"


def collect(source, output, **settings):
    return collect_dataset(str(source), str(output), workers=1, **settings)


@pytest.fixture()
def people(tmp_path):
    lines = [f"{i},person{i}@mail.example,+43 660 {i:07d},{20 + i % 50},{1000 + i % 3},{i * 1.5}" for i in range(200)]
    # Broken in every way that puts the raw value into an error or a rejection.
    lines[50] = "50,secret.fifty@mail.example,4111111111111111"
    lines[60] = "60,secret.sixty@mail.example,x,not a number,1000,1"
    lines[70] = "70,secret.seventy\udcff@mail.example,x,30,1000,1"
    path = tmp_path / "people.csv"
    text = "id,email,phone,age,zip,amount\n" + "\n".join(lines) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def everything(folder: pathlib.Path) -> str:
    """All that lies in a folder as text, Parquet decoded."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.append(path.read_bytes().decode("latin-1"))
            if path.suffix == ".parquet":
                found.append(json.dumps(pq.read_table(path, partitioning=None).to_pylist(), default=str))
    return "\n".join(found)


def test_the_raw_value_stands_nowhere(people, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HEADWATER_PRIVACY_KEY", KEY)
    result = collect(
        people,
        tmp_path / "out",
        types={"age": "int64", "zip": "string"},
        max_rejected_share=0.1,
        private={
            "email": "hash",
            "phone": "redact",
            "zip": {"action": "truncate", "characters": 2},
            "age": {"action": "generalise", "width": 10},
        },
    )
    assert result.body["accounts"] == {"read": 200, "written": 197, "rejected": 3, "filtered": {}}
    left = everything(tmp_path / "out") + "".join(capfd.readouterr())
    for raw in ("@mail.example", "secret", "4111111111111111", "+43 660", KEY):
        assert raw not in left, raw
    table = open_dataset(result.folder).to_table().to_pylist()
    assert {row["phone"] for row in table} == {"[redacted]"}
    assert len({row["email"] for row in table}) == 197 and all(len(row["email"]) == 32 for row in table)
    assert {row["age"] for row in table} <= {"[20, 30)", "[30, 40)", "[40, 50)", "[50, 60)", "[60, 70)"}
    assert set(result.body["private"]) == {"email", "phone", "zip", "age"}


def test_the_same_key_joins_and_another_key_is_another_dataset(people, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWATER_PRIVACY_KEY", KEY)
    options = {"private": {"email": "hash"}, "types": {"age": "string"}, "max_rejected_share": 0.1}
    one, two = (collect(people, tmp_path / name, **options) for name in ("a", "b"))
    assert one.fingerprint == two.fingerprint
    monkeypatch.setenv("HEADWATER_PRIVACY_KEY", KEY[::-1])
    other = collect(people, tmp_path / "c", **options)
    assert other.fingerprint != one.fingerprint

    def emails(result):
        return set(open_dataset(result.folder).to_table(columns=["email"])["email"].to_pylist())

    assert emails(one) == emails(two) and not emails(one) & emails(other)


def test_a_hash_without_a_key_is_refused_before_any_work(people, tmp_path, monkeypatch):
    monkeypatch.delenv("HEADWATER_PRIVACY_KEY", raising=False)
    with pytest.raises(HeadwaterError, match="HEADWATER_PRIVACY_KEY"):
        collect(tmp_path / "absent.csv", tmp_path / "out", private={"email": "hash"})


def test_personal_data_that_nobody_declared_is_a_finding_and_marked_private(people, tmp_path):
    result = collect(people, tmp_path / "out", max_rejected_share=0.1)
    found = {each["column"] for each in result.body["findings"] if each["rule"] == "personal_data"}
    assert {"email", "phone"} <= found and "amount" not in found
    assert result.body["private"]["email"]["kinds"] == ["email"]
    page = (tmp_path / "out" / result.body["page"]).read_text()
    assert "@mail.example" not in page
    kept = collect(people, tmp_path / "kept", max_rejected_share=0.1, private={"email": "keep", "phone": "drop"})
    assert not {each["column"] for each in kept.body["findings"] if each["rule"] == "personal_data"} & {
        "email",
        "phone",
    }
    assert "email" not in kept.body["private"] and "phone" not in kept.body["columns"]


def test_columns_with_one_kind_of_personal_data_are_one_finding_with_the_setting_to_paste(tmp_path):
    chance = np.random.default_rng(5)
    places = {
        f"{end}_{name}": 41.5 + chance.random(500)
        for end in ("pickup", "drop off")
        for name in ("latitude", "longitude")
    }
    pq.write_table(pa.table(places), tmp_path / "trips.parquet")

    def found(output, **settings):
        body = collect(tmp_path / "trips.parquet", tmp_path / output, **settings).body
        return [each for each in body["findings"] if each["rule"] == "personal_data"]

    [told] = found("a")
    assert told["columns"] == list(places) and "look like personal data (coordinates)" in told["message"]
    setting = re.search(r"private: (\{.*\})", told["action"])[1]
    assert yaml.safe_load(setting) == dict.fromkeys(places, "keep")
    assert found("b", private=yaml.safe_load(setting)) == []
    # One that is acknowledged is no part of what counts.
    known = {"kind": "personal_data", "feature": "pickup_latitude", "reason": "public", "until": "2999-01-01"}
    counts = found("c", acknowledged=[known])
    assert [(each["severity"], len(each["columns"])) for each in counts] == [("warning", 3), ("info", 1)]


def test_small_groups_are_counted_or_suppressed(tmp_path):
    ages = [30] * 10 + [40] * 6 + [50] * 2 + [60]
    pq.write_table(pa.table({"age": ages, "x": list(range(19))}), tmp_path / "t.parquet")
    anonymity = {"columns": ["age"], "k": 5}
    counted = collect(tmp_path / "t.parquet", tmp_path / "a", anonymity=anonymity)
    assert counted.body["anonymity"]["k"] == 1 and counted.body["anonymity"]["rows_below"] == 3
    assert [each["rule"] for each in counted.body["findings"] if each["rule"] == "k_anonymity"] == ["k_anonymity"]
    suppressed = collect(tmp_path / "t.parquet", tmp_path / "b", anonymity={**anonymity, "suppress": True})
    assert suppressed.body["accounts"] == {"read": 19, "written": 16, "rejected": 0, "filtered": {"small_group": 3}}


@pytest.mark.parametrize(
    ("private", "message"),
    [
        ({"nothing": "redact"}, "nothing"),
        ({"age": "burn"}, "private"),
        ({"email": {"action": "generalise", "width": 3}}, "email"),
    ],
)
def test_an_action_that_does_not_fit_is_told(people, tmp_path, private, message):
    with pytest.raises(HeadwaterError, match=message):
        collect(people, tmp_path / "out", max_rejected_share=0.1, private=private)
