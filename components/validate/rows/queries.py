"""Rules over one row held against plain Parquet files by a query a file: DuckDB reads them itself, on all cores.

It starts no process and needs no graph, and DuckDB reads a column faster than it takes one from Arrow. It is for reports:
what writes rows, or needs more than rules over one row, reads the rows. Its answer is that of `judging`. Where it has none,
as when a rule cannot be computed on some row, `judging` says which.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common import expressions, fanout, machine
from headwater.components.common.dataset import Dataset, open_plain_here
from headwater.components.common.distributions import one_array
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.progress import Progress
from headwater.components.common.sources.formats import parquet_duckdb
from headwater.components.common.sources.formats.parquet_plain import ROW_NUMBER
from headwater.components.validate.rows.judging import Item, Plan, examples_wanted, note
from headwater.components.validate.rows.rules import RowRules, check_columns

MOST_FILES = 100
"""Of more files, each with a query of its own, workers do several at once."""

# What a footer says of a column's values may be wrong, and knows nothing of NaN: every row is looked at, as by `judging`.
_SETTINGS = ("SET disabled_optimizers = 'statistics_propagation,filter_pushdown'",)


def suit(settings: RowRules, beam_pipeline_args: Sequence[str]) -> bool:
    """Whether rules are all over one row, and are judged in this process."""
    here = not beam_pipeline_args and fanout.current() is None
    return here and all(rule.row is not None for rule in settings.rules)


def open_plain(uri: str, settings: RowRules) -> tuple[Dataset, dict[str, list[str]]] | None:
    """Opens the dataset in this process.

    Returns:
      The dataset, and what `check_columns` says of it; None where DuckDB might read what the rules name otherwise than
      `judging`, or a rule does not fit.

    Raises:
      HeadwaterError: there is no dataset.
    """
    opened = open_plain_here(uri)
    if opened is None:
        return None
    files = {element.file.uri: element.file for split in opened.splits for element in opened.elements(split)}
    try:
        read_by = check_columns(settings, opened.schema)
    except HeadwaterError:
        # The way that reads the rows says so, if it does.
        return None
    named = {(name, opened.schema.field(name).type) for names in read_by.values() for name in names}
    alike = len(files) <= MOST_FILES and all(named.issubset(file.layout) for file in files.values())
    return (opened, read_by) if alike else None


def judge(plan: Plan, items: Sequence[Item], workers: int) -> bytes | None:
    """What `judging.judge` and `judging.merge` give of all elements.

    Args:
      plan: its `expressions` are all that there is to do.
      items: elements of what `open_plain` gave, those of a file side by side.
      workers: how many threads; 0 for one a core.

    Returns:
      The state; None where there is no answer.
    """
    import duckdb

    threads = workers or machine.cores()
    by_file = [list(group) for _, group in itertools.groupby(items, lambda item: item.element.file.uri)]
    settings = (*_SETTINGS, parquet_duckdb.allowing(own[0].element.file.uri for own in by_file))
    total: dict[str, Any] = {"splits": {}, "passed": [], "quarantine": []}
    rows = sum(item.element.rows for item in items)
    try:
        with expressions.connect(threads, settings) as connection, Progress("validate: rows", rows) as progress:
            for own in by_file:
                sums = total["splits"].setdefault(own[0].split, {"rows": 0, "bad": 0, "rules": {}})
                _add(connection, plan, own, sums)
                progress.advance(sum(item.element.rows for item in own))
    except (duckdb.Error, pa.ArrowException, _Otherwise):
        return None
    return json.dumps(total).encode()


class _Otherwise(Exception):
    """The file is not what its footer says."""


def _add(connection: Any, plan: Plan, items: Sequence[Item], sums: dict[str, Any]) -> None:
    """Adds what is found of one file."""
    path = parquet_duckdb.literal(items[0].element.file.uri)
    # Every expression stands in two pairs of brackets, as it was checked in one: none reaches beyond them.
    broken = [f"(({text}\n)) IS FALSE" for _, text in plan.expressions]
    errors = [f"b{place}" for place, (number, _) in enumerate(plan.expressions) if _is_error(plan, number)]
    counts = ", ".join(f"count_if(b{place})" for place in range(len(broken)))
    marks = ", ".join(f"{each} AS b{place}" for place, each in enumerate(broken))
    bad = f"count_if({' OR '.join(errors)})" if errors else "0"
    table = f"read_parquet(?, hive_partitioning = false, {ROW_NUMBER} = true) AS {expressions.TABLE}"
    query = f"SELECT count(*), {bad}, {counts} FROM (SELECT {marks} FROM {table})"
    rows, bad_rows, *found = connection.execute(query, [path]).fetchone()
    if rows != sum(item.element.rows for item in items):
        raise _Otherwise
    sums["rows"] += rows
    sums["bad"] += bad_rows
    for (number, _), own, count in zip(plan.expressions, broken, found):
        if not count:
            continue
        wanted = min(count, examples_wanted(sums["rules"], number))
        names = [name for name in plan.schema.names if name in (*plan.key, *plan.rules[number].columns)]
        quoted = ", ".join('"{}"'.format(name.replace('"', '""')) for name in (ROW_NUMBER, *names))
        query = f"SELECT {quoted} FROM {table} WHERE {own} LIMIT {wanted}"
        shown = connection.execute(query, [path]).fetch_arrow_table()
        if len(shown) != wanted:
            raise _Otherwise
        numbers = shown[ROW_NUMBER].to_numpy() + items[0].first_row
        batch = pa.RecordBatch.from_arrays([one_array(column) for column in shown.columns], schema=shown.schema)
        note(sums["rules"], plan, items[0], number, count, batch, np.arange(wanted), numbers)


def _is_error(plan: Plan, number: int) -> bool:
    return plan.rules[number].severity == "error"
