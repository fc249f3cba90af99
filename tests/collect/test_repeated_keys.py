"""Whether the declared key tells rows apart."""

from __future__ import annotations

import types

import numpy as np
import pyarrow as pa

from headwater.components.collect import collect_dataset
from headwater.components.collect.settings import Settings
from headwater.components.collect.write import repeated_keys
from headwater.components.common import hashing

RANGES = [types.SimpleNamespace(file=types.SimpleNamespace(uri=f"folder/{name}.csv")) for name in "abc"]


def described(keys, share=1.0, parts=3):
    hashes = hashing.hash_rows([pa.array(keys)])
    kept = [
        repeated_keys.keep(hashes[places], places + 2, np.full(len(places), number), share)
        for number, places in enumerate(np.array_split(np.arange(len(keys)), parts))
    ]
    return repeated_keys.describe(pa.concat_tables(kept), RANGES, share)


def test_repeated_keys_are_counted_with_the_first_pair_in_the_order_of_the_sources():
    assert described([1, 2, 3, 4, 5, 6]) is None and repeated_keys.describe(None, RANGES, 1.0) is None
    found = described(["d", "c", "b", "b", "c", "d", "d"])
    assert found == {
        "rows": 4,
        "exact": True,
        "first": {"source": "folder/a.csv", "row": 4},
        "again": {"source": "folder/b.csv", "row": 5},
    }


def test_of_larger_data_the_count_is_a_least_one_that_never_invents():
    chance = np.random.default_rng(0)
    unique = chance.permutation(200_000)
    assert described(unique, 0.1) is None
    rows = np.concatenate([unique, unique[:20_000]])
    found = described(rows, 0.1)
    assert not found["exact"] and 1_500 < found["rows"] < 2_500
    # The same rows in other ranges: the same keys are looked at.
    assert described(rows, 0.1, parts=2)["rows"] == found["rows"]


def test_only_a_key_that_is_declared_and_kept_is_looked_at():
    assert repeated_keys.rate(Settings(key=["id"]), 1_000) == 1.0
    assert repeated_keys.rate(Settings(key=["id"]), 10 * repeated_keys.KEPT_ROWS) == 0.1
    assert repeated_keys.rate(Settings(), 1_000) == repeated_keys.rate(Settings(key=["id"], duplicates="drop"), 9) == 0


def test_collect_warns_over_files_and_splits_and_says_what_to_do(tmp_path):
    for name, ids in (("a", range(40)), ("b", range(38, 80))):
        lines = ["id,shop,x", *(f"{each},{each % 3},{each / 7}" for each in ids)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    result = collect_dataset(str(tmp_path / "*.csv"), str(tmp_path / "out"), key=["id", "shop"], workers=1)
    [found] = [each for each in result.body["findings"] if each["rule"] == "repeated_key"]
    assert found["severity"] == "warning" and found["action"].startswith("set collect.duplicates: drop")
    assert found["message"] == (
        "the columns id, shop are the key, which is not unique: 2 of 82 rows repeat it, such as row 2 of b.csv, after row "
        "40 of a.csv"
    )
