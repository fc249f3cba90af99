"""Weak supervision: many functions that are right more often than not vote, and a label model weighs them.

One pass over the rows runs the functions, leaves their votes as scratch and merges a small tally; the label model is
fitted from the tally, here and on a cluster alike; a second pass turns votes into labels.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Annotated, Any, Literal, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

from headwater.components.common import hashing, storage
from headwater.components.common.beam import map_merge
from headwater.components.common.dataset import read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.label.methods import Context, Item, Labels, Step
from headwater.components.label.weak import analysis, costs, model, tally
from headwater.components.label.weak.functions import ABSTAIN, Function, check_columns, check_functions, vote

LEAST_SOURCES = 3
"""Fewer sources than this tell nothing about each other without gold."""

_STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
_SHARE = 1e-6


class Settings(pydantic.BaseModel):
    """Weak supervision's settings.

    Attributes:
      functions: what votes.
      gold: a column that holds the class of some rows, and is missing on the others; none without one. It is no source:
        it stays fixed in the fit, and with 30 rows or more it chooses the model and its temperature.
      model: "auto", or one of "em" (the label model), "naive_bayes" (from gold alone) and "majority".
      balance: the share of each class, by its name, where it is known; estimated otherwise.
      copies: whether functions that copy each other are looked for.
      costs: what it costs to label a row of one class (outer key) as another (inner key), 1 where it is not said, and 0
        on the diagonal; the label is the one of the least expected cost.
      min_probability: a row whose label's probability is less abstains, in [0, 1].
      sample_rows: the most rows that the model is fitted from; all distinct votes are, while they are few.
    """

    model_config = _STRICT

    functions: Annotated[list[Function], pydantic.Field(min_length=1)]
    gold: str = ""
    model: Literal["auto", "em", "naive_bayes", "majority"] = "auto"
    balance: dict[str, float | int] | None = None
    copies: bool = True
    costs: dict[str, dict[str, float | int]] = {}
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
        if sorted(settings.balance) != sorted(classes):
            raise HeadwaterError(
                f"{where}.balance: gives the share of each class; the classes are {', '.join(classes)}"
            )
        if min(settings.balance.values()) <= 0 or abs(sum(settings.balance.values()) - 1) > _SHARE:
            raise HeadwaterError(f"{where}.balance: shares are above 0 and sum to 1; given: {settings.balance}")
    if settings.model == "naive_bayes" and not settings.gold:
        raise HeadwaterError(f"{where}.model: naive_bayes learns from gold alone, and no gold column is named")
    if len(settings.functions) < LEAST_SOURCES and not settings.gold and settings.model != "majority":
        raise HeadwaterError(
            f"{where}.functions: {len(settings.functions)} cannot tell how accurate each is; give at least "
            f"{LEAST_SOURCES}, or gold, or model: majority"
        )


def prepare(step: Step, context: Context) -> _Prepared:
    """Holds the settings against the dataset's columns.

    Raises:
      HeadwaterError: a column is not there, or an expression cannot be computed.
    """
    settings, schema = step.settings, context.dataset.schema
    if settings.gold and settings.gold not in schema.names:
        raise HeadwaterError(
            f"{step.where}.gold: there is no column {settings.gold!r}; the columns are {', '.join(schema.names)}"
        )
    # A Python function is not shown the truth.
    unseen = pa.schema([field for field in schema if field.name != settings.gold])
    read: dict[str, None] = {}
    for function, names in zip(settings.functions, check_columns(step.where, settings.functions, schema)):
        if function.way in ("python", "snorkel"):
            names = unseen.names
        if settings.gold in names:
            raise HeadwaterError(
                f"{step.where}.gold: the function {function.name!r} reads {settings.gold!r} too; what a function sees of "
                "the truth cannot tell how good it is"
            )
        read.update(dict.fromkeys(names))
        if function.way == "snorkel":
            print(f"label: {function.name} is a Snorkel function and runs row by row", flush=True)
    columns = [name for name in schema.names if name in read]
    return _Prepared(step, columns, tuple(context.dataset.key), schema)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    step: Step
    columns: list[str]
    key: tuple[str, ...]
    schema: pa.Schema

    def fit(self, items: Sequence[Item], scratch: str, beam: Mapping[str, Any]) -> _Labeller:
        settings, classes = self.step.settings, self.step.classes
        names = [function.name for function in settings.functions]
        content = map_merge(
            "label: vote",
            items,
            functools.partial(_vote, self, scratch),
            _merge,
            sizes=[item.element.rows for item in items],
            **beam,
        )
        counted, failed, unknown = _decode(content)
        where = self.step.where
        if unknown:
            raise HeadwaterError(
                f"{where}.gold: column {settings.gold!r} holds what is no class on {unknown:,} rows; the classes are "
                f"{', '.join(classes)}"
            )
        _check_usable(where, settings, classes, names, counted)
        balance = None
        if settings.balance is not None:
            balance = np.array([settings.balance[name] for name in classes], np.float64)
            balance /= balance.sum()
        fitted = model.fit(counted, kind=settings.model, balance=balance, pairs=settings.copies)
        if len(fitted.groups) < LEAST_SOURCES and fitted.kind == "em" and not len(counted.gold):
            joined = "; ".join(
                " and ".join(repr(names[number]) for number in group) for group in fitted.groups if len(group) > 1
            )
            raise HeadwaterError(
                f"{where}.functions: those that tell the same count as one ({joined}), which leaves {len(fitted.groups)} "
                f"sources; at least {LEAST_SOURCES} are needed, or gold, or model: majority"
            )
        report = analysis.describe(settings.functions, classes, counted, fitted, failed)
        return _Labeller(
            columns=(), sources=tuple(names), report=report, scratch=scratch, model=fitted,
            costs=costs.matrix(settings.costs, classes), least=float(settings.min_probability),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Labeller:
    columns: Sequence[str]
    sources: Sequence[str]
    report: Mapping[str, Any]
    scratch: str
    model: model.LabelModel
    costs: np.ndarray | None
    least: float

    def label(self, item: Item, rows: pa.Table) -> Labels:
        content = storage.read_bytes(_votes_at(self.scratch, item.number))
        votes = np.frombuffer(content, np.int8).reshape(-1, len(self.sources))
        posterior = self.model.predict(votes)
        codes = costs.decide(posterior, self.costs)
        chosen = posterior[np.arange(len(codes)), codes]
        codes[(votes < 0).all(1) | (chosen < self.least)] = ABSTAIN
        return Labels(codes, posterior, votes, np.ones(len(codes), bool))


def _vote(prepared: _Prepared, scratch: str, item: Item) -> bytes:
    settings, classes = prepared.step.settings, prepared.step.classes
    wanted = dict.fromkeys([*prepared.columns, *prepared.key, *([settings.gold] if settings.gold else [])])
    schema = pa.schema([prepared.schema.field(name) for name in wanted])
    found = []
    failed = np.zeros(len(settings.functions), np.int64)
    votes, gold, hashes, unknown = [], [], [], 0
    for batch in read_element(item.element, schema):
        seen = batch
        if settings.gold:
            kept = [name for name in schema.names if name != settings.gold]
            seen = pa.RecordBatch.from_arrays([batch.column(name) for name in kept], names=kept)
        own, wrong = vote(prepared.step.where, settings.functions, classes, seen)
        failed += wrong
        votes.append(own)
        hashes.append(hashing.hash_rows([batch.column(name) for name in prepared.key]))
        known, outside = gold_of(batch, settings.gold, classes)
        gold.append(known)
        unknown += outside
    width = len(settings.functions)
    together = np.concatenate(votes) if votes else np.zeros((0, width), np.int8)
    storage.write_bytes(_votes_at(scratch, item.number), together.tobytes())
    found = tally.tally(
        together,
        np.concatenate(gold) if gold else np.zeros(0, np.int8),
        np.concatenate(hashes) if hashes else np.zeros(0, np.uint64),
        len(classes),
        settings.sample_rows,
    )
    return _encode(found, failed, unknown)


def gold_of(batch: pa.RecordBatch, column: str, classes: Sequence[str]) -> tuple[np.ndarray, int]:
    """The gold classes' numbers, int8, -1 where there is none; and how many rows hold what is no class."""
    if not column:
        return np.full(batch.num_rows, -1, np.int8), 0
    values = batch.column(column)
    values = values.cast(pa.string()) if not pa.types.is_string(values.type) else values
    codes = pc.fill_null(pc.index_in(values, value_set=pa.array(list(classes))), -1)
    found = codes.to_numpy(zero_copy_only=False).astype(np.int8)
    return found, int(((found < 0) & ~values.is_null().to_numpy(zero_copy_only=False)).sum())


def _merge(parts: list[bytes]) -> bytes:
    found, failed, unknown = _decode(parts[0])
    for part in parts[1:]:
        other, more, outside = _decode(part)
        found, failed, unknown = tally.merge(found, other), failed + more, unknown + outside
    return _encode(found, failed, unknown)


def _encode(found: tally.Tally, failed: np.ndarray, unknown: int) -> bytes:
    head = json.dumps({"failed": failed.tolist(), "unknown": unknown}).encode()
    return len(head).to_bytes(8, "big") + head + tally.encode(found)


def _decode(content: bytes) -> tuple[tally.Tally, np.ndarray, int]:
    stop = 8 + int.from_bytes(content[:8], "big")
    head = json.loads(content[8:stop])
    return tally.decode(content[stop:]), np.array(head["failed"], np.int64), head["unknown"]


def _check_usable(
    where: str, settings: Settings, classes: Sequence[str], names: Sequence[str], counted: tally.Tally
) -> None:
    """Refuses votes that cannot identify the model."""
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
            f"{where}.functions: no two vote on the same row, so nothing tells how accurate each is; write functions that "
            "overlap, or give gold, or model: majority"
        )


def _votes_at(scratch: str, number: int) -> str:
    return storage.join(scratch, f"votes-{number:06d}")
