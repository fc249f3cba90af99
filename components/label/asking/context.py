"""What a round of active learning reads: which columns, which rows are labelled, and what identifies it; checked before
any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common import results, storage
from headwater.components.common.dataset import Dataset, load_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.expressions import check_expression
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys
from headwater.components.common.labelled import WideShard, shown
from headwater.components.common.tables_in_memory import Tabular, as_uri
from headwater.components.common.user_code import code_of
from headwater.components.label import features
from headwater.components.label.asking import state
from headwater.components.label.asking.settings import Ask, sheet_of
from headwater.components.label.asking.state import State
from headwater.components.label.asking.survey import Known, Lens
from headwater.components.label.attribution.columns import match_columns
from headwater.components.label.classes import OUTSIDE, check_kind, numbers
from headwater.components.label.gold import outside
from headwater.components.label.reuse import read
from headwater.components.label.table import METHOD


class Context:
    """What does not change while a round is made."""

    def __init__(
        self, opened: Dataset, ask: Ask, classes: tuple[str, ...], hidden: Sequence[str], inputs: Mapping[str, Tabular],
        options: Mapping[str, Any],
    ):  # fmt: skip
        self.opened, self.ask, self.classes = opened, ask, classes
        body = opened.result.body
        self.from_labels = opened.result.kind == "labels"
        self.private = frozenset(body.get("private") or {})
        self.labels: tuple[str, ...] = shown(body["label"]) if self.from_labels else ()
        self.hidden = tuple(name for name in (*self.labels, *hidden, *self._column(ask)) if name in opened.schema.names)
        for split in ask.splits:
            if split not in opened.splits:
                raise HeadwaterError(
                    f"label.ask.splits: there is no split {split!r}; the splits are {', '.join(opened.splits)}"
                )
        sheet_of(ask, list(classes), self.hidden)
        unseen = {*self.private, *opened.key, *self.hidden}
        if ask.tasks.gold:
            unseen.add(ask.tasks.gold)
        self.features = features.features_of("label.ask.columns", opened.schema, ask.columns, unseen)
        read_by_where = check_expression("label.ask.where", ask.where, opened.schema.names) if ask.where else []
        column = ask.answers if not ask.answers_input else ""
        if column and column not in opened.schema.names:
            raise HeadwaterError(
                f"label.ask.answers: there is no column {column!r}; the columns are {', '.join(opened.schema.names)}"
            )
        if column:
            check_kind("label.ask.answers", column, opened.schema.field(column).type)
        self.from_labels = self.from_labels and not column
        self.column = str(body["label"]) if self.from_labels else column
        self.answers, self.types, given = self._answers(ask, inputs, options)
        wanted = dict.fromkeys(
            [
                *opened.key,
                *(each.name for each in self.features),
                *read_by_where,
                *([self.column] if self.column else []),
            ]
        )
        schema = pa.schema([opened.schema.field(name) for name in wanted])
        # Of plain files the key alone is in no file.
        self.schema = schema.append(pa.field(METHOD, pa.string())) if self.from_labels else schema
        self.items = [(split, self._element(each)) for split in opened.splits for each in opened.elements(split)]
        self.items = [item for item in self.items if item[1].rows]
        shaping = ask.model_dump(exclude={"budget", "cost", "least_gain", "state", "tasks"})
        code = {name: code_of(name) for name in (ask.estimator, *ask.committee) if name}
        self.identity = results.fingerprint(
            "ask",
            {"dataset": opened.result.fingerprint, **given},
            {"ask": shaping, "classes": list(classes), "hidden": list(hidden), "code": code},
        )

    def lens(self, current: State) -> Lens:
        """How elements are read, with what was asked up to now."""
        ask = self.ask
        return Lens(
            schema=self.schema,
            key=tuple(self.opened.key),
            types=self.types,
            features=self.features,
            classes=self.classes,
            column=self.column,
            from_labels=self.from_labels,
            answered_by=tuple(ask.answered_by),
            learn_from=tuple(ask.learn_from or ask.answered_by),
            answers=self.answers,
            asked=state.asked(current, self.opened.key, self.types),
            where=ask.where,
            splits=tuple(ask.splits),
            sample=ask.sample,
            most_labelled=ask.most_labelled,
            seed=ask.seed,
        )

    @staticmethod
    def _column(ask: Ask) -> tuple[str, ...]:
        return (ask.answers,) if ask.answers and not ask.answers_input else ()

    def _element(self, element: Any) -> Any:
        """An element of which the method of each label can be read as well."""
        if self.from_labels and isinstance(element, WideShard):
            return dataclasses.replace(element, names=(*element.names, METHOD))
        return element

    def _answers(
        self, ask: Ask, inputs: Mapping[str, Tabular], options: Mapping[str, Any]
    ) -> tuple[Known, tuple[pa.DataType | None, ...], dict[str, str]]:
        """The answers of an input by key, what keys are compared as, and what identifies the input."""
        nobody = state.known(np.zeros(0, KEY), np.zeros(0, np.int8))
        if not ask.answers_input:
            return nobody, (None,) * len(self.opened.key), {}
        where = "label.ask.answers"
        if ask.answers_input not in inputs:
            raise HeadwaterError(
                f"{where}_input: there is no input {ask.answers_input!r}; the inputs are {', '.join(inputs) or 'none'}"
            )
        try:
            data = load_dataset(as_uri(inputs[ask.answers_input]), may_be_empty=True, **options)
        except HeadwaterError as error:
            raise HeadwaterError(f"inputs.{ask.answers_input}: {error}") from None
        if ask.answers not in data.schema.names:
            raise HeadwaterError(
                f"{where}: there is no column {ask.answers!r}; the columns are {', '.join(data.schema.names)}"
            )
        on = match_columns(where, self.opened, data, {})
        schema = pa.schema([data.schema.field(name) for name in dict.fromkeys([*on.other, ask.answers])])
        keys, codes = [np.zeros(0, KEY)], [np.zeros(0, np.int8)]
        wrong = 0
        for element in (each for split in data.splits for each in data.elements(split) if each.rows):
            check_kind(where, ask.answers, data.schema.field(ask.answers).type)
            for batch in read(element, schema):
                found, own = _coded(batch, on.other, on.types, ask.answers, self.classes)
                wrong += int((own == OUTSIDE).sum())
                keys.append(found[own >= 0])
                codes.append(own[own >= 0])
        if wrong:
            raise outside(where, ask.answers, wrong, self.classes)
        every, numbered = np.concatenate(keys), np.concatenate(codes)
        known = state.known(every, numbered)
        disputed = int((known.of(every) != numbered).sum())
        if disputed:
            raise HeadwaterError(
                f"{where}: {disputed:,} answers differ from another one of the same row; let a step of label with method "
                "human weigh them, or give one answer a row"
            )
        return known, on.types, {"answers": data.result.fingerprint}


def classes_of(ask: Ask, classes: Sequence[str], opened: Dataset) -> tuple[str, ...]:
    """The names of the classes: the settings' own, those that are given, or those of labels.

    Raises:
      HeadwaterError: nothing names them.
    """
    known = ask.classes or list(classes) or list(opened.result.body.get("classes") or ())
    if not known:
        raise HeadwaterError("label.ask.classes: name the classes; no step of label names them")
    return tuple(known)


def folder_of(ask: Ask, opened: Dataset, label: str, data_root: str) -> str:
    """URI of the folder of the loop's state; empty where nothing is remembered.

    Args:
      ask: the settings.
      opened: the dataset.
      label: the label column that the answers are for.
      data_root: the home of a dataset of ours, where it lies elsewhere.
    """
    if ask.state:
        return storage.normalise(ask.state)
    home = opened.home
    if home is not None:
        root = storage.normalise(data_root) if data_root else home.data_root
        return storage.join(root, home.name, state.FOLDER, label)
    return ""


def _coded(
    batch: pa.RecordBatch, key: Sequence[str], types: Sequence[pa.DataType | None], column: str, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The keys of answers, of those that have one, and their classes."""
    columns = [decoded(batch.column(batch.schema.get_field_index(name))) for name in key]
    places, keys = hash_keys(
        [as_key(c if kind is None else c.cast(kind, safe=False)) for c, kind in zip(columns, types)]
    )
    return keys, numbers(batch.column(batch.schema.get_field_index(column)), classes)[places]
