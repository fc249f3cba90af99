"""Users' expressions: one scalar SQL expression over a record batch, in a DuckDB connection that reaches nothing else.

An expression may name columns and call functions whose result depends on their arguments alone. What depends on other
rows, on the clock, on chance or on the machine is refused by name before any work, because its answer would depend on
how rows fall into batches.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common import machine
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expression_limits import check_growth

_LOWER = str.maketrans({chr(letter): chr(letter + 32) for letter in range(ord("A"), ord("Z") + 1)})
_SETTINGS = (
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
# Functions that DuckDB calls consistent and that yet tell of the machine, not of their arguments.
_OF_THE_MACHINE = {
    "current_setting",
    "getvariable",
    "getenv",
    "version",
    "stats",
    "in_search_path",
    "map_to_pg_oid",
    "format_pg_type",
    "parse_duckdb_log_message",
    "vector_type",
    "json_serialize_plan",
}
# The clock, the session, the catalog and its privileges, which DuckDB calls consistent as well.
_OF_THE_SESSION = re.compile(r"(current_|session_|user$|pg_|has_\w+_privilege$|get_current_)")
_REFUSED = {
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
    "STAR": "a star",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a reference by position",
    "DEFAULT": "DEFAULT",
}
_RANDOM = "reservoir"
_NO_SCALAR = "it is not a scalar function"

TABLE = "batch"
"""What expressions may call the rows, as in `batch.fare`."""

PARSED_BEFORE = "SELECT ("
"""What stands before an expression where it is parsed."""


def check_expression(where: str, expression: str, columns: Sequence[str] | None) -> list[str]:
    """Refuses what is no single scalar expression over `columns`.

    Args:
      where: the setting's name, for errors.
      expression: SQL in DuckDB's dialect.
      columns: the names that it may use; None where they are not known.

    Returns:
      The columns that it reads, in the order of `columns`; none where those are not known.

    Raises:
      HeadwaterError: names the part that is not allowed, and why.
    """
    lambdas: set[str] = set()
    nodes = list(_walk(parse(where, expression)))
    for node in nodes:
        if node.get("class") == "LAMBDA":
            lambdas |= {name for part in _walk(node.get("lhs")) for name in part.get("column_names", ())}
    for name in sorted(lambdas):
        shadowed = [each for each in columns or () if fold(each) == fold(name)]
        if shadowed:
            raise HeadwaterError(
                f"{where}: the lambda's parameter {name!r} has the name of the column {shadowed[0]!r}; rename the "
                "parameter"
            )
    for node in nodes:
        _check_node(where, node, lambdas, columns)
    check_growth(where, nodes)
    read = {fold(_column_of(node)) for node in nodes if node.get("class") == "COLUMN_REF"}
    return [name for name in columns or () if fold(name) in read]


def fold(name: str) -> str:
    """A name as SQL compares names: ASCII letters in lower case."""
    return name.translate(_LOWER)


def evaluate(where: str, expression: str, batch: pa.RecordBatch) -> tuple[pa.Array, np.ndarray]:
    """An expression's value for each row.

    Args:
      where: the setting's name, for errors.
      expression: checked by `check_expression`.
      batch: the rows.

    Returns:
      The values, one a row; and whether the expression failed on that row (its value is then missing), bool.

    Raises:
      HeadwaterError: the expression fits no row: types do not go together, or a name is unknown.
    """
    import duckdb

    connection = _connection()
    left = _register(connection, batch)
    failed = np.zeros(batch.num_rows, bool)
    try:
        try:
            values = _select(connection, f"({expression}\n)")
        except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException):
            # Two queries: in one, DuckDB would compute what both share outside of TRY.
            values = _select(connection, f"TRY(({expression}\n))")
            # In a list, since what is never NULL by its form, as a CASE of literals, would not be computed to see whether it is.
            failed = _select(connection, f"TRY([({expression}\n)]) IS NULL").to_numpy(zero_copy_only=False)
    except duckdb.Error as error:
        # A message about a row may quote its values; one about the expression itself cannot.
        plain = isinstance(error, (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException))
        reason = str(error).splitlines()[0] if plain else type(error).__name__
        if isinstance(error, duckdb.OutOfMemoryException):
            reason = "its values take more than the 1 GB of memory that an expression may use for one batch of rows"
        if left and plain:
            reason += f"; expressions cannot read {' and '.join(left)}"
        raise HeadwaterError(f"{where}: the expression {expression!r} cannot be computed: {reason}") from None
    finally:
        connection.unregister(TABLE)
    return values, failed.astype(bool)


def evaluate_each(
    expressions: Sequence[tuple[str, str, str]], batch: pa.RecordBatch, short: Mapping[int, str] = {}
) -> list[tuple[pa.Array, np.ndarray]]:
    """Several expressions over one batch, in one query where none of them fails.

    Args:
      expressions: of each the setting's name, the expression, and SQL that is made of its value, with `{0}` where that
        stands.
      batch: the rows.
      short: by an expression's place, SQL that gives what is made of its value by itself, for the one query.

    Returns:
      As `evaluate` gives it, one for each.

    Raises:
      HeadwaterError: as `evaluate` raises it.
    """
    import duckdb

    connection = _connection()
    _register(connection, batch)
    given = [short.get(number, text) for number, (_, text, _) in enumerate(expressions)]
    inner = ", ".join(f"({text}\n) AS v{number}" for number, text in enumerate(given))
    made_of = ["{0}" if number in short else made for number, (_, _, made) in enumerate(expressions)]
    outer = ", ".join(f"{made.format(f'v{number}')} AS w{number}" for number, made in enumerate(made_of))
    try:
        table = connection.execute(f"SELECT {outer} FROM (SELECT {inner} FROM {TABLE})").fetch_arrow_table()
    except duckdb.Error:
        # One by one, to tell which, and on which rows.
        connection.unregister(TABLE)
        return [_made(where, text, made, batch) for where, text, made in expressions]
    connection.unregister(TABLE)
    return [(_whole(column), np.zeros(batch.num_rows, bool)) for column in table.columns]


def _made(where: str, expression: str, made: str, batch: pa.RecordBatch) -> tuple[pa.Array, np.ndarray]:
    # In two steps: DuckDB would compute what a value is used for twice outside of TRY.
    values, failed = evaluate(where, expression, batch)
    values_made, _ = evaluate(where, made.format("v"), pa.RecordBatch.from_arrays([values], names=["v"]))
    return values_made, failed


def _register(connection: Any, batch: pa.RecordBatch) -> list[str]:
    """Gives a batch to SQL without the columns that DuckDB has no type for, and says which they are."""
    # Names that SQL takes for one are refused where they are read; beside each other they would be renamed.
    names = [fold(name) for name in batch.schema.names]
    rows = pa.Table.from_batches([batch])
    for number in reversed([place for place, name in enumerate(names) if names.count(name) > 1]):
        rows = rows.remove_column(number)
    unread = _unread(rows.schema)
    left = [f"column {rows.schema[number].name!r}, which is {rows.schema[number].type}" for number in unread]
    for number in reversed(unread):
        rows = rows.remove_column(number)
    if not rows.num_columns:
        # DuckDB wants one at least.
        rows = pa.table({"": pa.nulls(batch.num_rows, pa.int8())})
    connection.register(TABLE, rows)
    return left


@functools.lru_cache(maxsize=64)
def _unread(schema: pa.Schema) -> list[int]:
    if _are_read(frozenset(schema.types)):
        return []
    return [number for number, kind in enumerate(schema.types) if not _are_read(frozenset([kind]))]


# Most columns are of these, which need not be asked for.
_READ = {pa.bool_(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.date32(), pa.timestamp("us")}


@functools.lru_cache(maxsize=256)
def _are_read(kinds: frozenset[pa.DataType]) -> bool:
    """Whether DuckDB has a type for each of some. Connecting takes longer than an expression, and few columns differ in type."""
    if kinds <= _READ:
        return True
    import duckdb

    schema = pa.schema([pa.field(str(number), kind) for number, kind in enumerate(kinds)])
    # A connection of its own, which a refusal may leave in an aborted transaction.
    with duckdb.connect() as connection:
        try:
            connection.register(TABLE, schema.empty_table())
        except duckdb.Error:
            return False
    return True


def _select(connection: Any, expression: str) -> pa.Array:
    column = connection.execute(f"SELECT {expression} AS value FROM {TABLE}").fetch_arrow_table()["value"]
    return _whole(column)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _check_node(where: str, node: dict[str, Any], lambdas: set[str], columns: Sequence[str] | None) -> None:
    kind = node.get("class")
    if kind in _REFUSED:
        raise HeadwaterError(
            f"{where}: {_REFUSED[kind]} is not allowed; its result would depend on other rows or tables"
        )
    if kind == "COLUMN_REF" and columns is not None:
        name = _column_of(node)
        alike = [each for each in columns if fold(each) == fold(name)]
        if len(alike) > 1:
            raise HeadwaterError(
                f"{where}: {name!r} may mean {' or '.join(map(repr, alike))}, because SQL ignores the case of names; "
                "rename one of them (collect's rename)"
            )
        if fold(name) not in {fold(each) for each in (*columns, *lambdas)}:
            near = difflib.get_close_matches(name, columns, 1, 0.65)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise HeadwaterError(f"{where}: there is no column {name!r}; the columns are {', '.join(columns)}{hint}")
    if kind == "FUNCTION":
        # DuckDB's parser itself writes main.list_value for a list; any other schema is a value before a dot.
        if node.get("schema") not in ("", "main") or node.get("catalog"):
            name = node["function_name"]
            raise HeadwaterError(f"{where}: write {name}(…) with all of its arguments, not {node['schema']}.{name}(…)")
        if any(_RANDOM in str(part.get("value", {}).get("value", "")) for part in node["children"] if _is_text(part)):
            raise HeadwaterError(f"{where}: samples are not allowed; their result depends on chance")
        _check_function(where, node["function_name"].lower(), len(node["children"]))


def _is_text(node: dict[str, Any]) -> bool:
    return node.get("class") == "CONSTANT" and isinstance(node.get("value", {}).get("value"), str)


def _column_of(node: dict[str, Any]) -> str:
    names = [name for name in node["column_names"] if name != TABLE] or node["column_names"]
    return names[0]


def _check_function(where: str, name: str, arguments: int) -> None:
    reason = _functions().get(name, "there is no such function")
    if name == "age" and arguments < 2:
        reason = "with one argument it reads the clock; give the time to compare with as the first of two"
    if reason:
        raise HeadwaterError(f"{where}: the function {name}() is not allowed: {reason}")


@functools.lru_cache(maxsize=1)
def _functions() -> dict[str, str]:
    """Every function by name, with the reason why it is refused, or an empty string."""
    rows = _connection().execute(
        "SELECT lower(function_name), function_type, stability, macro_definition FROM duckdb_functions()"
    )
    refusals: dict[str, str] = {}
    macros: dict[str, str] = {}
    for name, kind, stability, definition in rows.fetchall():
        if name in _OF_THE_MACHINE or _OF_THE_SESSION.match(name) or (kind == "scalar" and stability != "CONSISTENT"):
            refusals[name] = "its result depends on more than its arguments"
        elif kind == "scalar":
            # Some are table functions as well, which no scalar expression can call.
            refusals[name] = "" if refusals.get(name) in (None, _NO_SCALAR) else refusals[name]
        elif kind == "macro":
            macros[name] = definition
        elif kind == "aggregate":
            # A name may be both, as list functions are; the aggregate reading would win.
            refusals[name] = refusals.get(name) or "it is an aggregate, whose result would depend on other rows"
        else:
            refusals.setdefault(name, _NO_SCALAR)
    refusals["unnest"] = "it returns several rows for one"
    for name, definition in macros.items():
        if name not in refusals:
            refusals[name] = (
                "" if _is_pure(definition, refusals, macros) else "its result depends on more than its arguments"
            )
    return refusals


def _is_pure(definition: str, refusals: dict[str, str], macros: dict[str, str], depth: int = 0) -> bool:
    try:
        nodes = list(_walk(parse("macro", definition)))
    except HeadwaterError:
        return False
    for node in nodes:
        kind = node.get("class")
        if kind in _REFUSED:
            return False
        if kind == "COLUMN_REF" and any(
            name.startswith(("current_", "session_", "user")) for name in node["column_names"]
        ):
            return False
        if kind == "FUNCTION":
            name = node["function_name"].lower()
            if name in macros and name not in refusals:
                if depth > 5 or not _is_pure(macros[name], refusals, macros, depth + 1):
                    return False
            elif refusals.get(name, "unknown"):
                return False
    return True


def parse(where: str, expression: str) -> dict[str, Any]:
    """An expression as DuckDB's parser has it; what it calls `query_location` is of the text with `PARSED_BEFORE` before it.

    Raises:
      HeadwaterError: it is not one scalar SQL expression.
    """
    text = f"{PARSED_BEFORE}{expression}\n) AS value FROM {TABLE}"
    parsed = json.loads(_connection().execute("SELECT json_serialize_sql(?)", [text]).fetchone()[0])
    if parsed.get("error"):
        raise HeadwaterError(
            f"{where}: {expression!r} is not a single scalar SQL expression: "
            f"{parsed.get('error_message', 'it does not parse')}"
        )
    statements = parsed["statements"]
    node = statements[0]["node"]
    plain = len(statements) == 1 and node.get("type") == "SELECT_NODE" and len(node.get("select_list", ())) == 1
    plain = plain and node.get("from_table", {}).get("type") == "BASE_TABLE" and not node.get("where_clause")
    if not plain or node.get("group_expressions") or node.get("modifiers") or node.get("cte_map", {}).get("map"):
        raise HeadwaterError(f"{where}: {expression!r} is not a single scalar SQL expression")
    return node["select_list"][0]


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)


@functools.lru_cache(maxsize=1)
def _connection() -> Any:
    # One thread: rows keep their order, and the pool's processes already use every core.
    return connect(1)


def connect(threads: int, settings: Sequence[str] = ()) -> Any:
    """A connection that expressions may be computed in: it reaches nothing, and nothing of it can be set.

    Args:
      threads: how many it uses.
      settings: made before.
    """
    import duckdb

    connection = duckdb.connect(config={"threads": threads, "memory_limit": machine.duckdb_limit()})
    for setting in (*settings, *_SETTINGS):
        connection.execute(setting)
    return connection
