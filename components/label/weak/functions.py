"""Labelling functions: SQL, forms for experts who write no code, Python over record batches, and Snorkel's own.

A form becomes SQL, so that all but Python runs as one query over a batch in the locked connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common.arrow_types import is_text
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import check_expression, evaluate, evaluate_each
from headwater.components.common.keys import is_number, value_type
from headwater.components.common.user_code import failure, find_function
from headwater.components.label.classes import ABSTAIN, OUTSIDE, AsText, ClassName, coded, numbers, quoted
from headwater.components.label.weak.literals import in_numbers

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
_Text = Annotated[str, pydantic.Field(min_length=1)]
# RE2's \W knows ASCII alone. A mark belongs to the letter before it.
_NO_LETTER = r"[^\p{L}\p{M}\p{N}_]"


class Keywords(pydantic.BaseModel):
    """Votes where a text holds any of the words.

    Attributes:
      column: a text column.
      words: whole words, or phrases.
      vote: the class.
      ignore_case: whether "Late" is "late".
    """

    model_config = _STRICT

    column: _Text
    words: Annotated[list[_Text], pydantic.Field(min_length=1)]
    vote: ClassName
    ignore_case: bool = True


class Regex(pydantic.BaseModel):
    """Votes where a text matches a pattern anywhere (RE2's syntax).

    Attributes:
      column: a text column.
      pattern: the regular expression.
      vote: the class.
    """

    model_config = _STRICT

    column: _Text
    pattern: _Text
    vote: ClassName


class Threshold(pydantic.BaseModel):
    """Votes where a number is above, or below, or both.

    Attributes:
      column: a numeric column.
      above: votes where the value is greater; none to leave out.
      below: votes where the value is less; none to leave out.
      vote: the class.
    """

    model_config = _STRICT

    column: _Text
    above: float | int | None = None
    below: float | int | None = None
    vote: ClassName


class Lookup(pydantic.BaseModel):
    """Votes by a column's value.

    Attributes:
      column: any column; its values are compared as text.
      values: the class by value; other values abstain.
    """

    model_config = _STRICT

    column: _Text
    values: Annotated[dict[AsText, ClassName], pydantic.Field(min_length=1)]


class Column(pydantic.BaseModel):
    """Votes what an earlier model says.

    Attributes:
      column: holds names of classes; missing abstains.
      confidence: a numeric column beside it; none to vote always.
      at_least: the least confidence to vote at.
    """

    model_config = _STRICT

    column: _Text
    confidence: str = ""
    at_least: float | int = 0.0


class Function(pydantic.BaseModel):
    """A labelling function: a name, and exactly one way to vote.

    Attributes:
      name: what it is called in evidence and reports.
      sql: an expression that gives a class, or NULL to abstain.
      keywords, regex, threshold, lookup, column: a way to vote without code; its settings follow.
      python: `package.module:function`; takes a record batch, gives a class or None for each row.
      snorkel: `package.module:object`, a Snorkel `LabelingFunction`, run row by row; its votes are numbers of classes.
    """

    model_config = _STRICT

    name: _Text
    sql: str | None = None
    keywords: Keywords | None = None
    regex: Regex | None = None
    threshold: Threshold | None = None
    lookup: Lookup | None = None
    column: Column | None = None
    python: str | None = None
    snorkel: str | None = None

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> Function:
        ways = [name for name in WAYS if getattr(self, name) is not None]
        if len(ways) != 1:
            given = ", ".join(ways) or "none"
            raise ValueError(f"a function must have exactly one of {', '.join(WAYS)}; {self.name!r} has {given}")
        return self

    @property
    def way(self) -> str:
        """How it votes: one of `WAYS`."""
        return next(name for name in WAYS if getattr(self, name) is not None)

    @property
    def code(self) -> str:
        """The name of its Python function or Snorkel object; empty for what votes otherwise."""
        return self.python or self.snorkel or ""


WAYS = ("sql", "keywords", "regex", "threshold", "lookup", "column", "python", "snorkel")


def check_functions(where: str, functions: Sequence[Function], classes: Sequence[str]) -> None:
    """What can be known without the data.

    Raises:
      HeadwaterError: a name stands twice, a form votes for no class or is wrong in itself, a Python name is not there.
    """
    names: set[str] = set()
    for number, function in enumerate(functions):
        key = f"{where}.functions.{number} ({function.name!r})"
        if function.name in names:
            raise HeadwaterError(f"{key}: another function already has this name")
        names.add(function.name)
        for vote in _votes_of(function):
            if vote not in classes:
                raise HeadwaterError(f"{key}: {vote!r} is not one of the classes; they are {', '.join(classes)}")
        if function.regex is not None:
            try:
                pc.match_substring_regex(pa.array([""]), function.regex.pattern)
            except pa.ArrowInvalid as error:
                raise HeadwaterError(f"{key}: regex.pattern: {str(error).splitlines()[0]}") from None
        if function.threshold is not None and function.threshold.above is None and function.threshold.below is None:
            raise HeadwaterError(f"{key}: threshold: must give `above` or `below`")
        if function.python is not None or function.snorkel is not None:
            find_function(key, function.code)


def check_columns(where: str, functions: Sequence[Function], schema: pa.Schema) -> list[list[str]]:
    """Holds the functions against the columns.

    Returns:
      The columns that each reads; of Python all, as nobody can tell.

    Raises:
      HeadwaterError: a column is missing or of another kind, an expression does not parse, is not allowed or cannot be
        computed.
    """
    columns = []
    for number, function in enumerate(functions):
        key = f"{where}.functions.{number} ({function.name!r})"
        if function.way in ("python", "snorkel"):
            columns.append(list(schema.names))
            continue
        for column, kind in _columns_of(function):
            if column not in schema.names:
                raise HeadwaterError(f"{key}: there is no column {column!r}; the columns are {', '.join(schema.names)}")
            given = schema.field(column).type
            own = value_type(given)
            # Of 256 bits DuckDB knows none.
            if kind == "number" and (not is_number(own) or pa.types.is_decimal256(own)):
                raise HeadwaterError(f"{key}: column {column!r} must hold numbers, but it is {given}")
            if kind == "text" and not is_text(own):
                raise HeadwaterError(f"{key}: column {column!r} must hold text, but it is {given}")
        read = check_expression(f"{key}: {function.way}", _sql(function), schema.names)
        # Types that do not go together are reported before the work.
        fields = [schema.field(name) for name in read]
        missing = pa.RecordBatch.from_arrays(
            [pa.nulls(1, field.type) for field in fields] or [pa.nulls(1)],
            schema=pa.schema(fields or [pa.field("_", pa.null())]),
        )
        evaluate(f"{key}: {function.way}", _sql(function), missing)
        columns.append(read)
    return columns


def vote(
    where: str, functions: Sequence[Function], classes: Sequence[str], batch: pa.RecordBatch
) -> tuple[np.ndarray, list[int]]:
    """What each function votes on each row.

    Args:
      where: the step's key, for errors.
      functions: checked.
      classes: names of the classes.
      batch: the rows.

    Returns:
      Votes, int8, [rows, functions], -1 to abstain; and how many rows each function failed on, where it abstains.

    Raises:
      HeadwaterError: a function votes for no class, fails altogether, or gives another number of rows.
    """
    votes = np.full((batch.num_rows, len(functions)), ABSTAIN, np.int8)
    failed = [0] * len(functions)
    queries = []
    for number, function in enumerate(functions):
        key = f"{where}.functions.{number} ({function.name!r})"
        if function.way in ("python", "snorkel"):
            votes[:, number] = _call(key, function, classes, batch)
        else:
            queries.append((number, key, _sql(function)))
    if queries and batch.num_rows:
        given = [(key, text, coded(classes)) for _, key, text in queries]
        numbered = {place: in_numbers(text, tuple(classes)) for place, (_, _, text) in enumerate(queries)}
        short = {place: text for place, text in numbered.items() if text is not None}
        for (number, key, _), (codes, wrong) in zip(queries, evaluate_each(given, batch, short)):
            own = codes.to_numpy()
            _check_votes(key, own, classes, "NULL")
            votes[:, number], failed[number] = own, int(wrong.sum())
    return votes, failed


def _check_votes(key: str, votes: np.ndarray, classes: Sequence[str], nothing: str) -> None:
    if (votes == OUTSIDE).any():
        row = int(np.argmax(votes == OUTSIDE))
        raise HeadwaterError(
            f"{key}: its vote is not one of the classes, first on row {row + 1:,} of a shard; the classes are "
            f"{', '.join(classes)}; {nothing} abstains"
        )


def _sql(function: Function) -> str:
    """The expression of a function that is SQL or a form."""
    if function.sql is not None:
        return function.sql
    if function.keywords is not None:
        keywords = function.keywords
        words = "|".join(re.escape(word) for word in keywords.words)
        pattern = f"(^|{_NO_LETTER})({words})({_NO_LETTER}|$)"
        options = "'i'" if keywords.ignore_case else "'c'"
        return (
            f"CASE WHEN regexp_matches({_column(keywords.column)}, {quoted(pattern)}, {options}) "
            f"THEN {quoted(keywords.vote)} END"
        )
    if function.regex is not None:
        regex = function.regex
        return (
            f"CASE WHEN regexp_matches({_column(regex.column)}, {quoted(regex.pattern)}) THEN {quoted(regex.vote)} END"
        )
    if function.threshold is not None:
        threshold = function.threshold
        column = _column(threshold.column)
        parts = [f"{column} > {threshold.above!r}"] if threshold.above is not None else []
        parts += [f"{column} < {threshold.below!r}"] if threshold.below is not None else []
        # DuckDB holds NaN to be greater than any number.
        return (
            f"CASE WHEN {' AND '.join(parts)} AND NOT isnan(CAST({column} AS DOUBLE)) THEN {quoted(threshold.vote)} END"
        )
    if function.lookup is not None:
        lookup = function.lookup
        column = _column(lookup.column)
        cases = " ".join(f"WHEN {quoted(value)} THEN {quoted(vote)}" for value, vote in lookup.values.items())
        # Integers with missing values come as floats from pandas.
        digits = f"regexp_replace(CAST({column} AS VARCHAR), '\\.0$', '')"
        whole = f"CASE WHEN typeof({column}) IN ('DOUBLE', 'FLOAT') THEN {digits} END"
        return f"CASE CAST({column} AS VARCHAR) {cases} ELSE CASE {whole} {cases} END END"
    given = function.column
    assert given is not None, "a function votes in one of these ways, or is Python"
    if not given.confidence:
        return _column(given.column)
    return f"CASE WHEN {_column(given.confidence)} >= {given.at_least!r} THEN {_column(given.column)} END"


def _call(key: str, function: Function, classes: Sequence[str], batch: pa.RecordBatch) -> np.ndarray:
    call = find_function(key, function.code)
    number, row = 0, None
    try:
        if function.snorkel is not None:
            given = []
            for number, row in enumerate(batch.to_pylist(), 1):  # noqa: B007 – told when one fails
                given.append(call(SimpleNamespace(**row)))
            row = None
            codes = np.asarray(given, np.int64)
            bad = (codes < ABSTAIN) | (codes >= len(classes))
            codes = np.where(bad, OUTSIDE, codes).astype(np.int8)
        else:
            given = call(batch)
            # As from pandas, so that NaN abstains.
            given = given if isinstance(given, (pa.Array, pa.ChunkedArray)) else pa.array(given, from_pandas=True)
            codes = numbers(given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given, classes)
    except HeadwaterError:
        raise
    except Exception as error:
        if function.snorkel is None:
            # The message of many rows may quote any of them.
            number, row, error = _first_failing(call, batch, error)
        where = f" on row {number:,} of a shard" if row is not None else ""
        raise HeadwaterError(f"{key}: failed with {failure(error, call, row)}{where}") from None
    if len(codes) != batch.num_rows:
        raise HeadwaterError(
            f"{key}: returned {len(codes):,} votes for {batch.num_rows:,} rows; it must return one per row"
        )
    _check_votes(key, codes, classes, "None")
    return codes


def _first_failing(
    function: Callable[[pa.RecordBatch], Any], batch: pa.RecordBatch, whole: Exception
) -> tuple[int, dict[str, Any] | None, Exception]:
    """The number and the values of the first row that a function fails on by itself, and its error there; no values where
    there is none."""

    def failed(start: int, rows: int) -> Exception | None:
        try:
            function(batch.slice(start, rows))
        except Exception as error:
            return error if type(error) is type(whole) else None
        return None

    least, most = 1, batch.num_rows
    while least < most:
        middle = (least + most) // 2
        least, most = (least, middle) if failed(0, middle) else (middle + 1, most)
    alone = failed(least - 1, 1) if batch.num_rows else None
    return (least, batch.slice(least - 1, 1).to_pylist()[0], alone) if alone else (0, None, whole)


def _votes_of(function: Function) -> list[str]:
    forms = (function.keywords, function.regex, function.threshold)
    votes = [form.vote for form in forms if form is not None]
    return votes + (list(function.lookup.values.values()) if function.lookup else [])


def _columns_of(function: Function) -> list[tuple[str, str]]:
    """Columns that a form names, with what they must be."""
    columns = [(form.column, "text") for form in (function.keywords, function.regex) if form is not None]
    if function.threshold:
        columns.append((function.threshold.column, "number"))
    if function.lookup:
        columns.append((function.lookup.column, ""))
    if function.column:
        columns.append((function.column.column, ""))
        columns += [(function.column.confidence, "number")] if function.column.confidence else []
    return columns


def _column(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
