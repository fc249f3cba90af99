"""Files of different tables are refused by name, and a table whose columns changed is not."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.components.collect import collect_dataset
from headwater.components.collect.shape.one_table import check_one_table
from headwater.components.common.errors import HeadwaterError

CUSTOMERS, ORDERS = ["id", "name", "city", "since"], ["id", "customer", "amount", "ordered", "currency"]


def check(*columns):
    check_one_table([(f"file{n}.csv", names) for n, names in enumerate(columns)])


@pytest.mark.parametrize(
    "columns",
    [
        [CUSTOMERS, CUSTOMERS],
        [CUSTOMERS, [*CUSTOMERS, "email", "phone", "born", "country", "tax", "vat"]],
        [ORDERS, ORDERS[:2]],
        [["ID", " Name", "city", "since"], CUSTOMERS],
        [[*"abcdefgh"], [*"abcdef", "x", "y"]],
        [CUSTOMERS, []],
        # Each like the one before: a table that changed over the years.
        [[*"abcdef"], [*"uvwxyz"], [*"cdefgh", *"uvw"], [*"uvwxyz", *"gh"], [*"abc", *"uvw"]],
    ],
)
def test_a_table_that_changed_is_one(columns):
    check(*columns)


def test_different_tables_are_told_with_their_columns():
    with pytest.raises(HeadwaterError) as told:
        check(CUSTOMERS, ORDERS, ORDERS)
    assert str(told.value) == (
        "sources: these files are 2 different tables, not one: file0.csv (id, name, city, since); file1.csv and 1 more "
        "(id, customer, amount, ordered, currency); collect each under a name of its own, or set union: true to have all "
        "rows in one table with the columns of all"
    )


def write(folder, kind):
    for name, columns in (("customers", CUSTOMERS), ("orders", ORDERS)):
        rows = [{column: n for column in columns} for n in range(30)]
        path = folder / f"{name}.{kind}"
        if kind == "csv":
            path.write_text(",".join(columns) + "\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows))
        elif kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_folder_of_two_tables_is_refused_unless_it_is_a_union(tmp_path, kind):
    folder = tmp_path / "shop"
    folder.mkdir()
    write(folder, kind)
    with pytest.raises(HeadwaterError, match=rf"2 different tables.*customers\.{kind}.*orders\.{kind}.*union: true"):
        collect_dataset(str(folder), str(tmp_path / "a"), workers=1)
    data = collect_dataset(str(folder), str(tmp_path / "b"), workers=1, union=True)
    assert data.body["accounts"]["written"] == 60 and set(CUSTOMERS + ORDERS) <= set(data.body["columns"])
