"""Weak supervision: many functions that are right more often than not vote, and a label model weighs them.

One pass over the rows runs the functions, leaves their votes as scratch and merges a small tally; the label model is
fitted from the tally, here and on a cluster alike; a second pass turns votes into labels.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pydantic

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.partitions import PartitionResults
from headwater.components.label.attribution import codes_of
from headwater.components.label.classes import ABSTAIN, OUTSIDE, ClassName, check_balance, numbers
from headwater.components.label.gold import ByKey, check_named, of_step, outside
from headwater.components.label.methods import STRICT, Context, Fitted, Item, Labels, Step
from headwater.components.label.patterns import distinct
from headwater.components.label.weak import analysis, costs, fitting, model, tally
from headwater.components.label.weak.functions import Function, check_columns, check_functions, vote
from headwater.components.label.weak.trust import LEAST_SOURCES

SUITS = ("days", "hours")

_MOST_PAIRS = 20


class Settings(pydantic.BaseModel):
    """Weak supervision's settings.

    Attributes:
      functions: what votes.
      gold: a column that holds the class of some rows, and is missing on the others; none without one. It is no source:
        it stays fixed in the fit, and with 30 rows or more it says how far each model is followed.
      gold_input: the name of the input that has this column, beside the dataset's key; the dataset itself by default.
      model: "auto": the label model as far as votes bear it out and the majority for the rest, or with gold all models,
        each as far as gold bears it out; or one alone: "em" (the label model), "naive_bayes" (from gold) or "majority".
      balance: the share of each class, by its name, where it is known; estimated otherwise.
      copies: whether functions that copy each other are looked for.
      costs: what it costs to label a row of one class (outer key) as another (inner key), 1 where it is not said, and 0
        on the diagonal; the label is the one of the least expected cost.
      min_probability: a row whose label's probability is less abstains, in [0, 1].
      sample_rows: the most rows that the model is fitted from; all distinct votes are, while they are few. Many functions
        and classes lower it: functions × (classes + 1) × rows stays below 10 million, down to 1,000 rows, of which gold
        takes half at most while there are others.
    """

    model_config = STRICT

    functions: Annotated[list[Function], pydantic.Field(min_length=1)]
    gold: str = ""
    gold_input: str = ""
    model: Literal["auto", "em", "naive_bayes", "majority"] = "auto"
    balance: dict[ClassName, float | int] | None = None
    copies: bool = True
    costs: dict[ClassName, dict[ClassName, float | int]] = {}
    min_probability: Annotated[float | int, pydantic.Field(ge=0, le=1)] = 0.0
    sample_rows: Annotated[int, pydantic.Field(ge=1_000, le=10_000_000)] = 100_000


def check(where: str, settings: Settings, classes: Sequence[str]) -> None:
    """What can be known without the data.

    Raises:
      HeadwaterError: names the key.
    """
    check_functions(where, settings.functions, classes)
    costs.check(f"{where}.costs", settings.costs, classes)
    if settings.balance is not None:
        check_balance(f"{where}.balance", settings.balance, classes)
    check_named(where, settings.gold, settings.gold_input)
    if settings.model == "naive_bayes" and not settings.gold:
        raise HeadwaterError(f"{where}.model: naive_bayes learns only from gold labels, but no gold column is named")
    if len(settings.functions) < LEAST_SOURCES and not settings.gold and settings.model != "majority":
        raise HeadwaterError(
            f"{where}.functions: the accuracies of {len(settings.functions)} functions cannot be estimated from their "
            f"votes; give at least {LEAST_SOURCES} functions, or gold, or model: majority"
        )


def prepare(step: Step, context: Context) -> _Prepared:
    """Holds the settings against the dataset's columns.

    Raises:
      HeadwaterError: a column is not there or of another kind, or an expression cannot be computed.
    """
    settings, schema = step.settings, context.dataset.schema
    gold, given = of_step(step, context)
    # A Python function is not shown the truth.
    hidden = {name for name in (gold, context.truth) if name}
    unseen = [name for name in schema.names if name not in hidden]
    read: dict[str, None] = {}
    for function, names in zip(settings.functions, check_columns(step.where, settings.functions, schema)):
        if function.way in ("python", "snorkel"):
            names = unseen
        seen = next((name for name in names if name in hidden), None)
        if seen is not None:
            raise HeadwaterError(
                f"{step.where}.{'gold' if seen == gold else 'truth'}: the function {function.name!r} also reads "
                f"{seen!r}; data that a function reads cannot be used to evaluate it"
            )
        read.update(dict.fromkeys(names))
        if function.way == "snorkel":
            print(f"label: {function.name} is a Snorkel function and runs row by row", flush=True)
    columns = [name for name in schema.names if name in read]
    return _Prepared(step, columns, tuple(context.dataset.key), schema, gold, given)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    step: Step
    columns: list[str]
    key: tuple[str, ...]
    schema: pa.Schema
    gold: str
    given: ByKey | None

    @property
    def sources(self) -> tuple[str, ...]:
        """The functions' names."""
        return tuple(function.name for function in self.step.settings.functions)

    @property
    def user_code(self) -> tuple[str, ...]:
        """The functions that are users' own code."""
        named = (function.python or function.snorkel for function in self.step.settings.functions)
        return tuple(name for name in named if name)

    def fit(self, items: Sequence[Item], scratch: str, beam: Mapping[str, Any]) -> _Labeller:
        from headwater.components.common.beam import map_merge

        settings, classes = self.step.settings, self.step.classes
        names = self.sources
        known = self.given.find(items, self.schema, storage.join(scratch, "gold"), beam) if self.given else None
        total = sum(item.element.rows for item in items)
        content = map_merge(
            "label: vote",
            items,
            # What is known by key is found; its data need not go along.
            functools.partial(_vote, dataclasses.replace(self, given=None), scratch, known, total),
            _merge,
            sizes=[item.element.rows for item in items],
            **beam,
        )
        counted, failed, unknown = _decode(content)
        where = self.step.where
        if unknown:
            raise outside(f"{where}.gold", settings.gold, unknown, classes)
        _check_usable(where, settings, classes, names, counted)
        fitted = fit_model(where, settings, classes, counted)
        if len(fitted.groups) < LEAST_SOURCES and settings.model in ("auto", "em") and not len(counted.gold):
            joined = "; ".join(
                " and ".join(repr(names[number]) for number in group) for group in fitted.groups if len(group) > 1
            )
            raise HeadwaterError(
                f"{where}.functions: functions with identical votes count as one ({joined}), which leaves "
                f"{len(fitted.groups)} sources; at least {LEAST_SOURCES} are needed, or gold, or model: majority"
            )
        report = analysis.describe(settings.functions, classes, counted, fitted, failed)
        if self.given is not None and counted.rows and not report["gold"]:
            report["warnings"].append(f"no key of the input {settings.gold_input!r} occurs in the dataset")
        if self.gold and counted.rows and not len(counted.gold):
            report["warnings"].append(f"the column {self.gold!r} of gold is empty on every row")
        return _Labeller(
            columns=(), sources=names, report=report, waiting={}, scratch=scratch, model=fitted,
            costs=costs.matrix(settings.costs, classes), least=float(settings.min_probability),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Labeller(Fitted):
    scratch: str
    model: model.LabelModel
    costs: np.ndarray | None
    least: float

    def label(self, item: Item, rows: pa.Table) -> Labels:
        content = storage.read_bytes(_votes_at(self.scratch, item.number))
        votes = np.frombuffer(content, np.int8).reshape(-1, len(self.sources))
        few, of = distinct(votes)
        posterior = self.model.predict(few)
        codes = costs.decide(posterior, self.costs)
        chosen = posterior[np.arange(len(codes)), codes]
        codes[(few < 0).all(1) | (chosen < self.least)] = ABSTAIN
        return Labels(codes[of], posterior.take(of, axis=0), votes)


def _vote(prepared: _Prepared, scratch: str, known: PartitionResults | None, total: int, item: Item) -> bytes:
    settings, classes = prepared.step.settings, prepared.step.classes
    wanted = dict.fromkeys([*prepared.columns, *prepared.key, *([prepared.gold] if prepared.gold else [])])
    schema = pa.schema([prepared.schema.field(name) for name in wanted])
    batches = [votes_of(prepared, batch) for batch in read_element(item.element, schema)]
    votes = np.concatenate([np.zeros((0, len(settings.functions)), np.int8), *(each.votes for each in batches)])
    golden = np.concatenate([np.zeros(0, np.int8), *(each.gold for each in batches)])
    if known is not None:
        golden = codes_of(known, item.number, len(votes))
    hashes = np.concatenate([np.zeros(0, np.uint64), *(each.keys for each in batches)])
    storage.write_bytes(_votes_at(scratch, item.number), votes.tobytes())
    failed = (
        np.sum([each.failed for each in batches], 0, np.int64)
        if batches
        else np.zeros(len(settings.functions), np.int64)
    )
    counted = tally.tally(votes, np.maximum(golden, ABSTAIN), hashes, len(classes), settings.sample_rows, total)
    return _encode(counted, failed, int((golden == OUTSIDE).sum()))


def fit_model(where: str, settings: Settings, classes: Sequence[str], counted: tally.Tally) -> model.LabelModel:
    """Fits the model that the settings ask for.

    Raises:
      HeadwaterError: it learns from gold alone, and there is none.
    """
    _check_gold(where, settings, counted)
    balance = None
    if settings.balance is not None:
        balance = np.array([settings.balance[name] for name in classes], np.float64)
        balance /= balance.sum()
    return fitting.fit(counted, kind=settings.model, balance=balance, pairs=settings.copies)


class Votes(NamedTuple):
    """What is known of some rows.

    Attributes:
      votes: int8, [rows, functions].
      gold: int8: the class that the gold column tells, `ABSTAIN` or `OUTSIDE`.
      keys: uint64: hashes of the keys.
      failed: int64: of how many rows each function failed.
    """

    votes: np.ndarray
    gold: np.ndarray
    keys: np.ndarray
    failed: np.ndarray


def votes_of(prepared: _Prepared, batch: pa.RecordBatch) -> Votes:
    """What a batch's own columns tell of its rows."""
    settings, classes = prepared.step.settings, prepared.step.classes
    # Of a Python function's columns the truth is none.
    kept = [name for name in batch.schema.names if name in prepared.columns or name in prepared.key]
    seen = pa.RecordBatch.from_arrays([batch.column(name) for name in kept], names=kept)
    votes, failed = vote(prepared.step.where, settings.functions, classes, seen)
    keys = hashing.hash_rows([batch.column(name) for name in prepared.key])
    gold = np.full(batch.num_rows, ABSTAIN, np.int8)
    if prepared.gold:
        gold = numbers(batch.column(prepared.gold), classes)
    return Votes(votes, gold, keys, np.array(failed, np.int64))


def _merge(parts: list[bytes]) -> bytes:
    tallies, failed, unknown = zip(*map(_decode, parts))
    return _encode(tally.merge(*tallies), np.sum(failed, 0, np.int64), sum(unknown))


def _encode(votes: tally.Tally, failed: np.ndarray, unknown: int) -> bytes:
    head = json.dumps({"failed": failed.tolist(), "unknown": unknown}).encode()
    return len(head).to_bytes(8, "big") + head + tally.encode(votes)


def _decode(content: bytes) -> tuple[tally.Tally, np.ndarray, int]:
    stop = 8 + int.from_bytes(content[:8], "big")
    head = json.loads(content[8:stop])
    return tally.decode(content[stop:]), np.array(head["failed"], np.int64), head["unknown"]


def _check_usable(
    where: str, settings: Settings, classes: Sequence[str], names: Sequence[str], counted: tally.Tally
) -> None:
    """Refuses votes that cannot identify the model."""
    _check_gold(where, settings, counted)
    width = len(classes) + 1
    cast = np.diag(counted.pairs).reshape(len(names), width)[:, 1:]
    voting = [name for name, own in zip(names, cast) if own.sum()]
    has_gold = len(counted.gold) > 0
    if len(voting) < LEAST_SOURCES and not has_gold and settings.model != "majority":
        silent = ", ".join(repr(name) for name in names if name not in voting) or "none"
        raise HeadwaterError(
            f"{where}.functions: only {len(voting)} of {len(names)} vote on any row (silent: {silent}); at least "
            f"{LEAST_SOURCES} must, or give gold, or model: majority"
        )
    unvoted = [name for name, votes in zip(classes, cast.sum(0)) if not votes]
    if unvoted and not has_gold:
        raise HeadwaterError(f"{where}.functions: no function votes for the class {unvoted[0]!r} on any row")
    if not counted.overlaps.any() and not has_gold and settings.model != "majority":
        raise HeadwaterError(
            f"{where}.functions: no two functions vote on the same row, so their accuracies cannot be estimated; "
            "write functions that overlap, or give gold, or model: majority"
        )


def _check_gold(where: str, settings: Settings, counted: tally.Tally) -> None:
    if settings.model == "naive_bayes" and not len(counted.gold):
        raise HeadwaterError(
            f"{where}.model: naive_bayes learns only from gold labels, but {settings.gold!r} gives no row a class"
        )


def _votes_at(scratch: str, number: int) -> str:
    return storage.join(scratch, f"votes-{number:06d}")


def show(step: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    """A step's report with what `weak_supervision.html` shows of it."""
    pairs = sorted(step["pairs"], key=lambda pair: (-pair["conflict"], pair["functions"]))
    return {
        **step,
        "pairs": [pair for pair in pairs if pair["conflict"]][:_MOST_PAIRS],
        "pairs_have_gold": any(pair.get("gold") for pair in pairs),
        "functions": [
            {**each, "polarity": ", ".join(name for name in classes if name in each["votes"]) or "–"}
            for each in step["functions"]
        ],
    }
