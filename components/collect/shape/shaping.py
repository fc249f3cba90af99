"""Rows as read → rows as written: every rule of the settings applied to one batch, with an account of each row.

The order is fixed: missing values, formats, units, names; lookups; derived columns; filters; privacy; the columns kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.collect.privacy import actions, anonymity, transforms
from headwater.components.collect.settings import DUPLICATE_KEY, SMALL_GROUP, Settings
from headwater.components.collect.shape import consistency, lookups, splitting
from headwater.components.collect.shape.duplicates import Drops
from headwater.components.common import expressions
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources import Element, Misfit, Rejection, read_element, read_elements, reads_columns
from headwater.components.common.sources.formats.base import Rows

MISFIT = b"misfit"
"""The state of a range for which a guess did not hold."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is the same for all batches.

    Attributes:
      settings: the user's.
      source: the united schema of the sources.
      guessed: the columns whose types reading must check.
      places: by lookup, the URI of its staged table.
      drops: where the duplicates are listed.
      small_groups: hashes of the groups too small to be passed on, uint64, sorted.
    """

    settings: Settings
    source: pa.Schema
    guessed: frozenset[str] = frozenset()
    places: tuple[tuple[str, str], ...] = ()
    drops: Drops | None = None
    small_groups: np.ndarray | None = None

    @property
    def as_read(self) -> bool:
        """Whether no rule looks at values, so that text may be `ENCODED`."""
        own = self.settings
        rules = own.missing, own.formats, own.units, own.lookups, own.derived, own.filters, own.private
        return not any(rules)


@dataclasses.dataclass
class Account:
    """What happened to the rows of a range beside those that were kept."""

    rejections: list[Rejection] = dataclasses.field(default_factory=list)
    filtered: dict[str, int] = dataclasses.field(default_factory=dict)
    sentinels: dict[str, int] = dataclasses.field(default_factory=dict)
    unmatched: dict[str, int] = dataclasses.field(default_factory=dict)


ROW_BITS = 40
"""Where several ranges are read together, a row's place is its number in the source, and above these bits which range it is of."""


def read_shaped(
    shape: Shape, number: int, elements: Sequence[Element], account: Account
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """The shaped rows of neighbouring ranges that have a key, are no duplicates, and stand in groups large enough.

    Args:
      shape: what to do.
      number: the first range's place among all.
      elements: the ranges.
      account: added to; rows are told by their places.

    Yields:
      A batch, and the place of each of its rows, int64; of several ranges there is one batch.
    """
    settings = shape.settings
    drops = np.array([], np.int64)
    if shape.drops:
        drops = np.concatenate(
            [
                shape.drops.of(number + each) + element.first_row + (each << ROW_BITS)
                for each, element in enumerate(elements)
            ]
        )
    for batch, rows, rejections in _read(shape, elements):
        account.rejections += rejections
        batch, rows = apply(shape, batch, rows, account)
        for name in settings.key:
            missing = pc.is_null(_column(batch, name, "key")).to_numpy(zero_copy_only=False)
            if missing.any():
                account.rejections += [Rejection(int(row), name, "missing_key", None) for row in rows[missing]]
                batch, rows = batch.filter(pa.array(~missing)), rows[~missing]
        if len(drops):
            batch, rows = _filtered(batch, rows, np.isin(rows, drops), DUPLICATE_KEY, account)
        if shape.small_groups is not None and settings.anonymity is not None:
            columns = [_column(batch, name, "anonymity.columns") for name in settings.anonymity.columns]
            small = anonymity.in_small_groups(columns, shape.small_groups)
            batch, rows = _filtered(batch, rows, small, SMALL_GROUP, account)
        yield batch, rows


def _read(shape: Shape, elements: Sequence[Element]) -> Iterator[Rows]:
    if len(elements) == 1:
        yield from read_element(elements[0], shape.source, shape.guessed, encoded=shape.as_read)
        return
    batches, places, rejections = [], [], []
    for batch, of, rows, refused in read_elements(elements, shape.source, shape.guessed):
        batches.append(batch)
        places.append(rows + (of << ROW_BITS))
        rejections += [one._replace(row=one.row + (each << ROW_BITS)) for each, one in refused]
    if batches:
        table = pa.Table.from_batches(batches).combine_chunks()
        whole = table.to_batches()[0] if table.num_rows else batches[0]
        yield whole, np.concatenate(places), rejections


def read_keys(shape: Shape, element: Element) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """The keys of one range: batches of the key columns alone, rows without a key left out."""
    settings = shape.settings
    origin = {new: old for old, new in settings.rename.items()}
    # What neither depends on other columns nor loses rows to them can be read alone.
    alone = not (settings.lookups or settings.derived or settings.filters or settings.formats or settings.types)
    if alone and reads_columns(element):
        only = {origin.get(name, name) for name in settings.key}
        kept = dataclasses.replace(
            shape,
            source=pa.schema([field for field in shape.source if field.name in only]),
            settings=_only(settings, only),
        )
        batches = read_element(element, kept.source, (), only)
    else:
        kept, batches = shape, read_element(element, shape.source, shape.guessed)
    for batch, rows, _ in batches:
        batch, rows = apply(kept, batch, rows, Account())
        keys = pa.RecordBatch.from_arrays(
            [batch.column(batch.schema.get_field_index(name)) for name in settings.key], settings.key
        )
        present = np.ones(keys.num_rows, bool)
        for column in keys.columns:
            present &= pc.is_valid(column).to_numpy(zero_copy_only=False)
        yield keys.filter(pa.array(present)), rows[present]


def apply(shape: Shape, batch: pa.RecordBatch, rows: np.ndarray, account: Account) -> tuple[pa.RecordBatch, np.ndarray]:
    """Applies every rule to one batch.

    Returns:
      The rows that remain, and their numbers in the source.
    """
    settings = shape.settings
    batch = consistency.drop_sentinels(batch, settings.missing, account.sentinels)
    batch, rows, rejections = consistency.read_formats(batch, rows, settings.formats)
    account.rejections += rejections
    batch = consistency.convert_units(batch, settings.units)
    if settings.rename:
        batch = consistency.rename_columns(batch, settings.rename)
    for name, place in shape.places:
        batch = lookups.join(batch, name, settings.lookups[name], place, account.unmatched)
    for derived in settings.derived:
        values, failed = expressions.evaluate(f"derived.{derived.name}", derived.expression, batch)
        place = batch.schema.get_field_index(derived.name)
        batch = consistency.batch_with(batch, place if place >= 0 else batch.num_columns, derived.name, values)
        batch, rows = _without_failed(batch, rows, failed, derived.name, account)
    for rule in settings.filters:
        values, failed = expressions.evaluate(f"filters.{rule.name}", rule.keep, batch)
        keep = pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool)
        account.filtered[rule.name] = account.filtered.get(rule.name, 0) + int((~keep & ~failed).sum())
        batch, rows, failed = batch.filter(pa.array(keep | failed)), rows[keep | failed], failed[keep | failed]
        batch, rows = _without_failed(batch, rows, failed, None, account)
    batch = _protect(shape, batch)
    if settings.columns:
        batch = pa.RecordBatch.from_arrays(
            [_column(batch, name, "columns") for name in settings.columns], settings.columns
        )
    return batch, rows


def check_shape(shape: Shape) -> pa.Schema:
    """The schema of shaped rows, every rule tried on no rows.

    Raises:
      HeadwaterError: a rule does not go with the columns; names it.
    """
    settings = shape.settings
    names = [settings.rename.get(name, name) for name in shape.source.names]
    for _, place in shape.places:
        names += [field for field in lookups.added_columns(place) if field not in names]
    for derived in settings.derived:
        expressions.check_expression(f"derived.{derived.name}", derived.expression, names)
        for name in names:
            if name != derived.name and expressions.fold(name) == expressions.fold(derived.name):
                raise HeadwaterError(
                    f"derived.{derived.name}: there is a column {name!r}, and SQL ignores the case of names; give it "
                    "another name"
                )
        names.append(derived.name)
    for rule in settings.filters:
        expressions.check_expression(f"filters.{rule.name}", rule.keep, names)
    empty = pa.RecordBatch.from_arrays([pa.array([], kind) for kind in shape.source.types], list(shape.source.names))
    for rule in settings.filters:
        _check_filter(shape, rule, empty)
    batch, _ = apply(shape, empty, np.array([], np.int64), Account())
    for name, columns in (
        ("key", settings.key),
        ("event_time", [settings.event_time] * bool(settings.event_time)),
        ("label", [settings.label] * bool(settings.label)),
        ("groups", settings.groups),
        ("model_outputs", list(settings.model_outputs)),
        ("anonymity.columns", settings.anonymity.columns if settings.anonymity else []),
    ):
        for column in columns:
            _column(batch, column, name)
    for name in batch.schema.names:
        if name.startswith("_"):
            origin = {new: old for old, new in settings.rename.items()}.get(name, name)
            plain = name.lstrip("_") or "column"
            while plain in batch.schema.names:
                plain += "_"
            raise HeadwaterError(
                f"the column {name!r} begins with '_', which is reserved for Headwater's columns; rename it, as in "
                f"rename: {{{origin}: {plain}}}, or leave it out of columns"
            )
    if not batch.num_columns:
        raise HeadwaterError("columns: at least one column must be kept")
    if settings.event_time:
        kind = batch.schema.field(settings.event_time).type
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise HeadwaterError(f"event_time: {settings.event_time!r} is {kind}; it must hold dates or timestamps")
    return batch.schema


def check_splits(settings: Settings, schema: pa.Schema) -> None:
    """Refuses a rule of splits that does not go with the columns of shaped rows."""
    splitting.check_rule(settings.split, list(settings.splits), schema)


def group_state(shape: Shape, item: tuple[int, Element]) -> bytes:
    """The state of one range's groups of quasi-identifiers; `MISFIT` where a guess did not hold."""
    number, element = item
    wanted = shape.settings.anonymity
    assert wanted is not None
    try:
        states = [
            anonymity.group_state([_column(batch, name, "anonymity.columns") for name in wanted.columns])
            for batch, _ in read_shaped(shape, number, [element], Account())
        ]
    except Misfit:
        return MISFIT
    return anonymity.merge_states(states)


def merge_groups(states: list[bytes]) -> bytes:
    """States of groups as one; `MISFIT` when one is."""
    return MISFIT if MISFIT in states else anonymity.merge_states(states)


def _check_filter(shape: Shape, rule, empty: pa.RecordBatch) -> None:
    settings = shape.settings.model_copy(update={"filters": [], "private": {}, "anonymity": None, "columns": []})
    batch, _ = apply(
        dataclasses.replace(shape, settings=settings, small_groups=None), empty, np.array([], np.int64), Account()
    )
    values, _ = expressions.evaluate(f"filters.{rule.name}", rule.keep, batch)
    if not pa.types.is_boolean(values.type):
        raise HeadwaterError(
            f"filters.{rule.name}: {rule.keep!r} is of type {values.type}; a filter's expression must be true or false"
        )


def _filtered(
    batch: pa.RecordBatch, rows: np.ndarray, out: np.ndarray, rule: str, account: Account
) -> tuple[pa.RecordBatch, np.ndarray]:
    account.filtered[rule] = account.filtered.get(rule, 0) + int(out.sum())
    return (batch.filter(pa.array(~out)), rows[~out]) if out.any() else (batch, rows)


def _only(settings: Settings, names: set[str]) -> Settings:
    """The settings as far as they concern some source columns."""
    kept = {
        field: {name: value for name, value in getattr(settings, field).items() if name in names}
        for field in ("missing", "units", "rename")
    }
    renamed = {settings.rename.get(name, name) for name in names}
    private = {name: value for name, value in settings.private.items() if name in renamed}
    return settings.model_copy(update={**kept, "private": private, "columns": []})


def _protect(shape: Shape, batch: pa.RecordBatch) -> pa.RecordBatch:
    given = actions.parse_actions(shape.settings.private)
    if not given:
        return batch
    actions.check_actions(given, batch.schema)
    # Read where it is used: on a cluster the key would otherwise travel with the job's description.
    secret = actions.read_secret(given)
    columns, names = [], []
    for name, column in zip(batch.schema.names, batch.columns):
        action = given.get(name)
        if action is not None and action.action == "drop":
            continue
        columns.append(transforms.apply(action, column, secret) if action is not None else column)
        names.append(name)
    return pa.RecordBatch.from_arrays(columns, names)


def _without_failed(
    batch: pa.RecordBatch, rows: np.ndarray, failed: np.ndarray, name: str | None, account: Account
) -> tuple[pa.RecordBatch, np.ndarray]:
    if not failed.any():
        return batch, rows
    account.rejections += [
        Rejection(int(row), name, "expression: it cannot be computed for this row", None) for row in rows[failed]
    ]
    return batch.filter(pa.array(~failed)), rows[~failed]


def _column(batch: pa.RecordBatch, name: str, setting: str) -> pa.Array:
    place = batch.schema.get_field_index(name)
    if place < 0:
        raise HeadwaterError(f"{setting}: there is no column {name!r}; the columns are {', '.join(batch.schema.names)}")
    return batch.column(place)
