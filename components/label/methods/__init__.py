"""How rows get labels. A new method is a module here, and its line in `METHODS`.

A module has `Settings`, the pydantic model of its own keys of a step; `check(where, settings, classes)`, which raises a
HeadwaterError for what can be known to be wrong without the data; and `prepare(step, context)`, which gives a `Prepared`.
It may have a `TITLE`; `SUITS`, the
paces of the ground truth that it suits (`choosing.PACES`), if not all; `open_input(settings, name, uri)`, which opens an
input of a form of its own, or gives None; and `show(report, classes)`, what the template of its name makes a section of the page of; without
it the page lists the plain values of the labeller's report.

A method is prepared once, against the dataset's columns; fitted, which may read all rows on Beam and leave what each
element needs under a scratch folder; and then labels element by element, on any worker.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pydantic

from headwater.components.common.dataset import Dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.lazy import Modules

STRICT = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
"""How every method's `Settings` are configured."""


class Labels(NamedTuple):
    """What a method says of the rows of one element.

    Attributes:
      codes: int8, the number of the class; -1 to abstain.
      probabilities: float32, [rows, classes].
      evidence: int8, [rows, sources]: the class that each source votes for, or -1.
      carried: bool, one a row: whether it is too early to label it, whatever other methods say; None for no row.
    """

    codes: np.ndarray
    probabilities: np.ndarray
    evidence: np.ndarray
    carried: np.ndarray | None = None


class Item(NamedTuple):
    """An element of the dataset.

    Attributes:
      number: in the order of splits and elements.
      split: the split that it is of.
      element: what `read_element` reads.
    """

    number: int
    split: str
    element: Any


class Labeller(Protocol):
    """A fitted method; picklable, and the same on every worker.

    Attributes:
      columns: names of the dataset's columns that it reads to label.
      sources: names of what votes.
      report: what the manifest and the page say of it; JSON values only.
      waiting: by input, URIs of Parquet files that the next span's labelling is to be given as `Context.waiting`.
    """

    columns: Sequence[str]
    sources: Sequence[str]
    report: Mapping[str, Any]
    waiting: Mapping[str, Sequence[str]]

    def label(self, item: Item, rows: pa.Table) -> Labels:
        """The labels of an element's rows, which have `columns`."""


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What every labeller has; a method's own adds what its `label` needs."""

    columns: Sequence[str]
    sources: Sequence[str]
    report: Mapping[str, Any]
    waiting: Mapping[str, Sequence[str]]


class Prepared(Protocol):
    """A method whose settings go together with the dataset's columns.

    One that learns from the labels of the steps before it has `after`, which takes a `table.Earlier` and gives the
    `Prepared` that is fitted; of any other method those are not asked for.

    Attributes:
      sources: names of what votes.
      user_code: names of users' functions, as `user_code.find_function` takes them, that decide labels.
    """

    sources: Sequence[str]
    user_code: Sequence[str]

    def fit(self, items: Sequence[Item], scratch: str, beam: Mapping[str, Any]) -> Labeller:
        """Learns what the method needs to know of all rows.

        Args:
          items: all elements.
          scratch: URI of a folder that driver and workers reach, for this step alone.
          beam: options of `map_merge`.
        """


@dataclasses.dataclass(frozen=True)
class Step:
    """One method with its settings.

    Attributes:
      where: the key that it stands under, for errors.
      method: a key of `METHODS`.
      classes: names of the classes.
      label: the column that the dataset gains.
      truth, truth_input: the column that labels are compared with, and the input that has it, if it is not the dataset.
      carried_from: the labels whose carried rows are taken over.
      settings: an instance of the method's `Settings`.
    """

    where: str
    method: str
    classes: tuple[str, ...]
    label: str
    truth: str
    truth_input: str
    carried_from: str
    settings: Any

    @property
    def hidden(self) -> str:
        """The dataset's column that no method may see; empty for none."""
        return "" if self.truth_input else self.truth


@dataclasses.dataclass(frozen=True)
class Context:
    """What a method is prepared with.

    Attributes:
      dataset: the rows to label.
      inputs: further data by name, opened.
      as_of: the time that the labels are of; None for none.
      truth: a column of the dataset that labels are compared with, and that no method may see; empty for none.
      waiting: by input, URIs of what an earlier span's labelling left for this one.
    """

    dataset: Dataset
    inputs: Mapping[str, Dataset]
    as_of: datetime.datetime | None = None
    truth: str = ""
    waiting: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def input(self, where: str, name: str) -> Dataset:
        """Further data by its name.

        Raises:
          HeadwaterError: there is none of this name.
        """
        if name not in self.inputs:
            raise HeadwaterError(
                f"{where}: there is no input {name!r}; the inputs are {', '.join(self.inputs) or 'none'}"
            )
        return self.inputs[name]


def certain(codes: np.ndarray, classes: int) -> np.ndarray:
    """The probabilities of labels that are not in doubt: 1 of the class, or all alike where a row abstains."""
    # What a row that abstains looks up is the last.
    by_code = np.concatenate([np.eye(classes, dtype=np.float32), np.full((1, classes), 1 / classes, np.float32)])
    return by_code.take(np.maximum(codes, -1), axis=0, mode="wrap")


METHODS = Modules(
    {
        "direct": "headwater.components.label.methods.direct",
        "propagate": "headwater.components.label.methods.propagate",
        "human": "headwater.components.label.methods.human",
        "weak_supervision": "headwater.components.label.methods.weak_supervision",
    }
)
"""Every method by its name."""
