"""How rows get labels: each method is a module with `Settings`, `check` and `prepare`, and one line in `METHODS`.

A method is prepared once, against the dataset's columns; fitted, which may read all rows on Beam and leave what each
element needs under a scratch folder; and then labels element by element, on any worker.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any, Mapping, NamedTuple, Protocol, Sequence

import numpy as np
import pyarrow as pa

from headwater.components.common.dataset import Dataset


class Labels(NamedTuple):
    """What a method says of the rows of one element.

    Attributes:
      codes: int8, the number of the class; -1 to abstain.
      probabilities: float32, [rows, classes].
      evidence: int8, [rows, sources]: the class that each source votes for, or -1.
    """

    codes: np.ndarray
    probabilities: np.ndarray
    evidence: np.ndarray


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
    """

    columns: Sequence[str]
    sources: Sequence[str]
    report: Mapping[str, Any]

    def label(self, item: Item, rows: pa.Table) -> Labels:
        """The labels of an element's rows, which have `columns`."""


class Prepared(Protocol):
    """A method whose settings go together with the dataset's columns."""

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
      settings: an instance of the method's `Settings`.
    """

    where: str
    method: str
    classes: tuple[str, ...]
    label: str
    settings: Any


@dataclasses.dataclass(frozen=True)
class Context:
    """What a method is prepared with.

    Attributes:
      dataset: the rows to label.
      inputs: further data by name, opened.
      options: `beam_pipeline_args` and `workers`.
    """

    dataset: Dataset
    inputs: Mapping[str, Dataset]
    options: Mapping[str, Any]


class _Methods(Mapping[str, Any]):
    """The modules of the methods, imported when they are asked for."""

    _names = {
        "weak_supervision": "headwater.components.label.methods.weak_supervision",
    }

    def __getitem__(self, name: str) -> Any:
        return importlib.import_module(self._names[name])

    def __iter__(self):
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


METHODS = _Methods()
"""Every method by its name."""
