"""The development loop of weak supervision: functions on a sample, in seconds, and what to write next."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common.dataset import OWN_PREFIX, Dataset, load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pages import percent, visible
from headwater.components.common.tables_in_memory import Tabular, as_uri
from headwater.components.common.user_code import named
from headwater.components.label.attribution import Coded
from headwater.components.label.classes import OUTSIDE
from headwater.components.label.gold import ByKey, outside
from headwater.components.label.methods import METHODS, Context
from headwater.components.label.reuse import keyed, read
from headwater.components.label.settings import check_steps
from headwater.components.label.weak import analysis, tally
from headwater.components.label.weak.trust import LEAST_SOURCES

if TYPE_CHECKING:
    import pandas

_METHOD = "weak_supervision"
_MOST_VALUES = 50
_MOST_LINES = 8
_LONGEST = 60


def analyse(
    dataset: Tabular, *, steps: Sequence[Mapping[str, Any]], inputs: Mapping[str, Tabular] = {}, rows: int = 20_000
) -> Analysis:
    """Runs the labelling functions on a sample, and says how they do and where the next one is needed.

    Args:
      dataset: path or URI of a dataset, or of plain files; or a table of pandas, polars or Arrow.
      steps: as `label_dataset` takes them; the first one of weak supervision is analysed.
      inputs: further data by the names that the steps use.
      rows: the size of the sample, which is taken evenly from all rows.

    Returns:
      A few tables, and the same as text: the functions, the slices of the data with most rows that no function votes on,
      and the pairs of functions that disagree most.

    Raises:
      HeadwaterError: as `label_dataset` raises it, or no step has functions.
    """
    if rows < 1:
        raise HeadwaterError(f"rows: must be at least 1; given: {rows}")
    step = next((each for each in check_steps([_few(each) for each in named(steps)]) if each.method == _METHOD), None)
    if step is None:
        raise HeadwaterError(f"steps: no step has the method {_METHOD}, whose labelling functions would be analysed")
    opened = keyed(load_dataset(as_uri(dataset)))
    context = Context(opened, {name: _input(name, given) for name, given in inputs.items()}, truth=step.hidden)
    prepared = METHODS[_METHOD].prepare(step, context)
    batch = _sample(opened, rows)
    votes, gold, keys, failed = METHODS[_METHOD].votes_of(prepared, batch)
    wrong = int((gold == OUTSIDE).sum())
    if prepared.given:
        gold, wrong = _given_gold(prepared.given, batch)
    if wrong:
        raise outside(f"{step.where}.gold", step.settings.gold, wrong, step.classes)
    counted = tally.tally(votes, gold, keys, len(step.classes), len(votes))
    fitted = METHODS[_METHOD].fit_model(step.where, step.settings, step.classes, counted)
    report = analysis.describe(step.settings.functions, step.classes, counted, fitted, failed)
    private = frozenset(opened.result.body.get("private") or {})
    uncovered = _uncovered(batch, votes, private)
    worst = _disagreeing(report)
    analysed = Analysis("\n".join(_lines(report, uncovered, worst)))
    analysed.tables = _tables(report, uncovered, worst)
    return analysed


def _few(step: Any) -> Any:
    """A step as it is; by majority where its functions are too few for another model, as they are when one begins."""
    if not isinstance(step, Mapping) or step.get("method") != _METHOD or step.get("gold"):
        return step
    functions = step.get("functions")
    few = isinstance(functions, list) and 0 < len(functions) < LEAST_SOURCES
    return {**step, "model": "majority"} if few and step.get("model", "auto") == "auto" else step


class Analysis(str):
    """What `analyse` found: text that prints well.

    Attributes:
      tables: rows by name: `functions`, `uncovered` and `disagreements`, each a list of mappings.
    """

    tables: Mapping[str, list[dict[str, Any]]]

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self)}</pre>"

    def to_pandas(self, table: str = "functions") -> pandas.DataFrame:
        """One of the tables.

        Args:
          table: `functions`, `uncovered` or `disagreements`.

        Raises:
          HeadwaterError: there is no such table.
        """
        import pandas as pd

        if table not in self.tables:
            raise HeadwaterError(f"table: {table!r} is not one of {', '.join(self.tables)}")
        return pd.DataFrame(self.tables[table])


def _tables(
    report: Mapping[str, Any], uncovered: list[tuple[int, float, str, str]], worst: list[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    return {
        "functions": [
            {
                "function": each["name"],
                **{name: each[name] for name in ("coverage", "overlap", "conflict", "failed")},
                "accuracy": each["accuracy"][0] if each["accuracy"] else None,
                "low": each["accuracy"][1] if each["accuracy"] else None,
                "high": each["accuracy"][2] if each["accuracy"] else None,
                "prior": each["prior"],
                "gold_accuracy": each["gold"]["accuracy"][0] if each["gold"] else None,
                "gold_rows": each["gold"]["rows"] if each["gold"] else 0,
                "votes": list(each["votes"]),
            }
            for each in report["functions"]
        ],
        "uncovered": [
            {"column": column, "value": value, "rows": count, "share": share}
            for count, share, column, value in uncovered
        ],
        "disagreements": [
            {"functions": list(pair["functions"]), "conflict": pair["conflict"], "overlap": pair["overlap"]}
            for pair in worst
        ],
    }


def _input(name: str, given: Tabular) -> Dataset:
    try:
        return load_dataset(as_uri(given), may_be_empty=True)
    except HeadwaterError as error:
        raise HeadwaterError(f"inputs.{name}: {error}") from None


def _given_gold(given: ByKey, batch: pa.RecordBatch) -> tuple[np.ndarray, int]:
    """The classes that an input tells of a batch's rows; and on how many of its own rows that have a key it tells
    none."""
    wrong = 0

    def code(rows: pa.RecordBatch) -> Coded:
        nonlocal wrong
        coded = given.other.code(rows)
        known = np.ones(rows.num_rows, bool)
        for name in given.on.other:
            known &= pc.is_valid(rows.column(rows.schema.get_field_index(name))).to_numpy(zero_copy_only=False)
        wrong += int((known & (coded.codes == OUTSIDE)).sum())
        return coded

    gold = given._replace(other=given.other._replace(code=code)).among(batch)
    return gold, wrong


def _sample(opened: Dataset, rows: int) -> pa.RecordBatch:
    total = sum(opened.rows(split) for split in opened.splits)
    wanted = np.arange(min(rows, total)) * total // max(1, min(rows, total))
    parts, start = [], 0
    for element in (each for split in opened.splits for each in opened.elements(split)):
        stop = start + element.rows
        if np.searchsorted(wanted, start) < np.searchsorted(wanted, stop):
            for batch in read(element, opened.schema):
                first, last = np.searchsorted(wanted, [start, start + batch.num_rows])
                parts.append(batch.take(pa.array(wanted[first:last] - start)))
                start += batch.num_rows
        start = stop
    table = pa.Table.from_batches(parts, schema=opened.schema).combine_chunks()
    batches = table.to_batches()
    return (
        batches[0] if batches else pa.RecordBatch.from_pydict({name: [] for name in opened.schema.names}, opened.schema)
    )


def _disagreeing(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    worst = sorted(report["pairs"], key=lambda pair: (-pair["conflict"], pair["functions"]))[:_MOST_LINES]
    return [pair for pair in worst if pair["conflict"]]


def _lines(
    report: Mapping[str, Any], uncovered: list[tuple[int, float, str, str]], worst: list[Mapping[str, Any]]
) -> Iterator[str]:
    rows = max(1, report["rows"])
    yield (
        f"{report['rows']:,} rows, {percent(report['covered'] / rows)} covered, on "
        f"{percent(report['contested'] / rows)} "
        "functions disagree"
    )
    yield ""
    yield f"{'function':30}{'coverage':>10}{'overlap':>10}{'conflict':>10}{'accuracy':>10}{'95 % interval':>18}{'of it prior':>13}{'gold':>16}  votes for"
    for each in report["functions"]:
        accuracy = percent(each["accuracy"][0]) if each["accuracy"] else "not known"
        _, low, high = each["accuracy"] or (0, 0, 0)
        interval = f"{percent(low)}–{percent(high)}" if each["accuracy"] else "–"
        prior = percent(each["prior"]) if each["accuracy"] else "–"
        gold = f"{percent(each['gold']['accuracy'][0])} of {each['gold']['rows']:,}" if each["gold"] else "–"
        failed = f"; failed on {each['failed']:,} rows" if each["failed"] else ""
        yield (
            f"{visible(each['name'], 29):30}{percent(each['coverage']):>10}{percent(each['overlap']):>10}"
            f"{percent(each['conflict']):>10}{accuracy:>10}{interval:>18}{prior:>13}{gold:>16}  {', '.join(each['votes']) or 'nothing'}{failed}"
        )
    if report["warnings"]:
        yield ""
        yield from report["warnings"]
    missing = report["model"]["unidentified"]
    if missing:
        yield ""
        yield f"write functions for these classes next, which overlap with the others: {', '.join(missing)}"
    for group in report["copies"]:
        yield f"copies of each other, counted as one: {', '.join(group)}"
    if uncovered:
        yield ""
        yield "no function votes on these rows; write functions for them next:"
        yield from (
            f"  {count:>8,} rows  {visible(column, _LONGEST)} = {visible(value, _LONGEST)} ({percent(share)} of them)"
            for count, share, column, value in uncovered
        )
    if worst:
        yield ""
        yield "the pairs that disagree most:"
        yield from (
            f"  {percent(pair['conflict']):>8} of rows  {' and '.join(pair['functions'])}, which share "
            f"{percent(pair['overlap'])}"
            for pair in worst
        )


def _uncovered(batch: pa.RecordBatch, votes: np.ndarray, private: frozenset[str]) -> list[tuple[int, float, str, str]]:
    """Slices by one column's value with most uncovered rows: their number, their share of the slice, column and
    value."""
    silent = (votes < 0).all(1)
    patterns = []
    for field, column in zip(batch.schema, batch.columns):
        plain = pa.types.is_string(field.type) or pa.types.is_integer(field.type) or pa.types.is_boolean(field.type)
        if not plain or field.name in private or field.name.startswith(OWN_PREFIX):
            continue
        coded = pc.dictionary_encode(column, null_encoding="encode")
        values = coded.dictionary.to_pylist()
        if not 1 < len(values) <= _MOST_VALUES:
            continue
        codes = coded.indices.to_numpy(zero_copy_only=False)
        sizes = np.bincount(codes, minlength=len(values))
        uncovered = np.bincount(codes[silent], minlength=len(values))
        patterns += [
            (int(count), float(count / size), field.name, "missing" if value is None else str(value))
            for value, size, count in zip(values, sizes, uncovered)
            if count
        ]
    return sorted(patterns, key=lambda each: (-each[0], each[2], each[3]))[:_MOST_LINES]
