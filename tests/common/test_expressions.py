"""Users' expressions: one value a row, the same in any batch, and no way out of the connection."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import check_expression, evaluate

ROWS = pa.RecordBatch.from_arrays(
    [pa.array([1, 2, None, 4]), pa.array(["5", "x", None, "-3"]), pa.array([0.5, None, 2.0, -1.0])], ["a", "text", "b"]
)


def value(expression, batch=ROWS):
    check_expression("derived.x", expression, batch.schema.names)
    return evaluate("derived.x", expression, batch)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + 1", [2, 3, None, 5]),
        ("coalesce(b, a)", [0.5, 2.0, 2.0, -1.0]),
        ("CASE WHEN a > 1 THEN 'many' ELSE 'few' END", ["few", "many", "few", "many"]),
        ("nullif(a, 2)", [1, None, None, 4]),
        ("try_cast(text AS INTEGER)", [5, None, None, -3]),
        ("list_sum(list_transform([1, 2], lambda x: x * a))", [3, 6, None, 12]),
        ("text LIKE 'x%' -- a remark", [False, True, None, False]),
        ("A BETWEEN 1 AND 2", [True, True, None, False]),
        ("strftime(date '2013-07-01', '%Y')", ["2013"] * 4),
    ],
)
def test_a_scalar_expression_gives_a_value_for_each_row(expression, expected):
    values, failed = value(expression)
    assert values.to_pylist() == expected
    assert not failed.any()


@pytest.mark.parametrize("rows", [1, 7, 65_536])
@pytest.mark.parametrize("expression", ["a * 3 % 7", "upper(text) || a", "round(b / 3, 4)", "hash(text) % 10"])
def test_batches_of_any_size_give_the_same(rows, expression):
    big = pa.RecordBatch.from_arrays(
        [
            pa.array(range(20_000)),
            pa.array([f"t{i % 13}" for i in range(20_000)]),
            pa.array([i / 7 for i in range(20_000)]),
        ],
        ["a", "text", "b"],
    )
    # DuckDB works on 2,048 rows at once.
    some = big.slice(0, {1: 50, 7: 2_100}.get(rows, len(big)))
    parts = [value(expression, some.slice(start, rows))[0] for start in range(0, some.num_rows, rows)]
    assert pa.concat_arrays(parts).equals(value(expression, some)[0])


def test_rows_that_cannot_be_computed_are_told_apart_from_missing_ones():
    values, failed = value("CAST(text AS INTEGER)")
    assert values.to_pylist() == [5, None, None, -3]
    assert failed.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("(SELECT 1)", "a subquery"),
        ("exists(SELECT 1)", "a subquery"),
        ("sum(a)", "aggregate"),
        ("row_number() OVER ()", "a window function"),
        ("unnest([1, 2])", "several rows"),
        ("random()", r"random\(\) is not allowed"),
        ("now()", r"now\(\) is not allowed"),
        ("uuid()", r"uuid\(\) is not allowed"),
        ("current_date", "no column 'current_date'"),
        ("current_user", "no column 'current_user'"),
        ("getenv('HOME')", r"getenv\(\) is not allowed"),
        ("current_setting('memory_limit')", "not allowed"),
        ("read_text('/etc/passwd')", "not allowed"),
        ("read_csv('https://example.com/x.csv')", "not allowed"),
        ("query('SELECT 1')", "not allowed"),
        ("*", "a star"),
        ("a) FROM read_text('/etc/passwd') --", "not a single scalar SQL expression|no column|cannot"),
        ("1); ATTACH '/tmp/x.db' AS x; SELECT (1", "not a single scalar SQL expression"),
        ("a FROM 'file.csv'", "not a single scalar SQL expression"),
        ("a) FROM batch UNION SELECT (2", "not a single scalar SQL expression"),
        ("a AS b", "not a single scalar SQL expression"),
        ("nothing + 1", "no column 'nothing'; the columns are a, text, b"),
        ("", "not a single scalar SQL expression"),
    ],
)
def test_what_reaches_further_than_the_row_is_refused_by_name(expression, reason):
    with pytest.raises(HeadwaterError, match=reason):
        value(expression)


@pytest.mark.parametrize(
    "expression", ["read_text('/etc/passwd')", "getenv('HOME')", "(SELECT content FROM read_text('/etc/passwd'))"]
)
def test_the_connection_itself_reaches_nothing_even_unchecked(expression):
    with pytest.raises(HeadwaterError):
        evaluate("derived.x", expression, ROWS)


def test_types_that_do_not_go_together_are_told_without_values():
    with pytest.raises(HeadwaterError, match="derived.x: the expression .* cannot be computed") as caught:
        value("a + [1]")
    assert "-3" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("CASE WHEN \"Amount\" > 1 THEN 'kind' END", ["amount"]),
        ("batch.kind || 'amount'", ["kind"]),
        ("list_sum(list_transform([1, 2], x -> x + amount))", ["amount"]),
        ("1", []),
    ],
)
def test_the_columns_that_an_expression_reads_are_told(expression, read):
    assert check_expression("here", expression, ["kind", "amount", "other"]) == read


def test_a_type_that_sql_does_not_know_is_told_and_stands_in_nobodys_way():
    wide = pa.array([Decimal(1), None], pa.decimal256(50, 2))
    batch = pa.RecordBatch.from_arrays([wide, pa.array([1, 2])], ["wide", "a"])
    assert value("a + 1", batch)[0].to_pylist() == [2, 3]
    with pytest.raises(HeadwaterError, match=r"cannot read column 'wide', which is decimal256\(50, 2\)"):
        value("wide + 1", batch)


@pytest.mark.parametrize("expression", ["A + 1", '"a" > 0', 'b + "A"', "CASE WHEN a IS NULL THEN 1 END"])
def test_names_that_differ_by_case_alone_are_refused_where_they_are_read(expression):
    with pytest.raises(
        HeadwaterError, match=r"^filters\.big: '[aA]' may mean 'a' or 'A', because SQL ignores the case of names"
    ):
        check_expression("filters.big", expression, ["a", "A", "b"])
    assert check_expression("filters.big", "b > 1", ["a", "A", "b"]) == ["b"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("repeat(text, 2)", ["55", "xx", None, "-3-3"]),
        ("range(3)", [[0, 1, 2]] * 4),
        ("lpad(text, 3, '0')", ["005", "00x", None, "0-3"]),
        ("format('{:>4}', text)", ["   5", "   x", None, "  -3"]),
        ("age(timestamp '2020-01-02', timestamp '2020-01-01') IS NULL", [False] * 4),
    ],
)
def test_functions_that_grow_are_allowed_with_a_size(expression, expected):
    assert value(expression)[0].to_pylist() == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("lpad('x', 2000000000, 'y')", "multiply to 2,000,000,000"),
        ("format('{:>1000000000}', text)", "multiply to 1,000,000,000"),
        ("printf('%1000000000d', a)", "multiply to"),
        ("repeat(repeat(repeat('x', 1000), 1000), 1000)", "multiply to 1,000,000,000"),
        ("list_transform(range(100000), lambda x: range(100000))", "multiply to"),
        ("repeat(text, a)", "needs a constant number as its size"),
        ("range(a)", "needs a constant number as its size"),
        ("rpad(text, -2000000000, 'y')", "multiply to"),
        ("rpad(text, CAST(2000000000 AS INTEGER), 'y')", "multiply to"),
        ("format(text, a)", "needs a constant text"),
        ("format('{:>{}}', text, a)", "may not take a width from a value"),
        ("printf('%*d', a, 3)", "may not take a width from a value"),
        ("list_reduce(['a'], lambda x, y: x || x)", "may grow without bound"),
        ("list_resize([a], 2000000000)", "multiply to"),
        ("bitstring('01', 2000000000)", "multiply to"),
        ("to_base(1, 2, 2000000000)", "multiply to"),
        ("bar(a, 0, 10, 2000000000)", "multiply to"),
    ],
)
def test_values_without_bound_are_refused_before_any_row(expression, reason):
    with pytest.raises(HeadwaterError, match=reason):
        check_expression("derived.x", expression, ROWS.schema.names)


@pytest.mark.slow
def test_columns_that_double_each_time_are_stopped():
    batch = pa.RecordBatch.from_arrays([pa.array(["x" * 2**20])], ["d"])
    with pytest.raises(HeadwaterError, match="its values take more than the 1 GB of memory"):
        for _ in range(12):
            values, _ = evaluate("derived.d", "d || d", batch)
            batch = pa.RecordBatch.from_arrays([values], ["d"])


@pytest.mark.parametrize(
    "expression",
    [
        "age(timestamp '2020-01-01')",
        "current_localtime()",
        "current_localtimestamp()",
        "pg_my_temp_schema()",
        "has_table_privilege('t', 'x')",
        "get_current_time()",
    ],
)
def test_the_clock_and_the_session_are_refused_in_every_form(expression):
    with pytest.raises(HeadwaterError, match="is not allowed"):
        check_expression("derived.x", expression, ROWS.schema.names)


def test_every_function_that_is_allowed_gives_the_same_twice_and_in_another_session():
    """All functions of DuckDB without arguments, and those of times with one: what reads the clock or the session differs."""
    import duckdb

    from headwater.components.common.expressions import _functions

    allowed = sorted(name for name, reason in _functions().items() if not reason and name.isidentifier())
    answers = []
    for zone in ("UTC", "Pacific/Apia"):
        with duckdb.connect() as connection:
            connection.execute(f"SET TimeZone = '{zone}'; CREATE SCHEMA other; SET schema = 'other'")
            told = []
            for name in allowed:
                for call in (f"{name}()", f"{name}(TIMESTAMP '2020-01-01 10:00:00')", f"{name}(DATE '2020-01-01')"):
                    try:
                        check_expression("x", call, [])
                        told.append((call, repr(connection.execute(f"SELECT {call}").fetchone())))
                    except (duckdb.Error, HeadwaterError):
                        pass
            answers.append(told)
    assert len(answers[0]) > 50
    assert [each for each in zip(*answers) if each[0] != each[1]] == []


def test_a_name_is_that_of_no_other_column():
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], ["a", "A", "A_1"])
    assert value('"A_1"', batch)[0].to_pylist() == [3]
    accents = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], ["É", "é"])
    assert value('"É" * 10', accents)[0].to_pylist() == [10] and value('"é" * 10', accents)[0].to_pylist() == [20]
    with pytest.raises(HeadwaterError, match="the lambda's parameter 'A' has the name of the column 'a'"):
        value("list_transform([1], lambda A: a)")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("a.age()", "write age"),
        ("a.repeat(2000000000)", "write repeat"),
        ("vector_type(a)", "is not allowed"),
        ("json_serialize_plan('SELECT 1')", "is not allowed"),
        ("list_aggregate([a], 'reservoir_quantile', 0.5)", "depends on chance"),
        ("repeat(repeat(repeat(repeat(repeat(repeat('x', 60), 60), 60), 60), 60), 60)", "multiply to"),
        (
            "replace(replace(replace('x', 'x', '"
            + "x" * 200
            + "'), 'x', '"
            + "x" * 200
            + "'), 'x', '"
            + "x" * 200
            + "')",
            "multiply to",
        ),
    ],
)
def test_other_ways_to_write_what_is_refused(expression, reason):
    with pytest.raises(HeadwaterError, match=reason):
        check_expression("derived.x", expression, ROWS.schema.names)
