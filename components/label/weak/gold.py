"""Gold classes: of a column of the rows themselves, or of other data with the same key."""

from __future__ import annotations

import dataclasses
from typing import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing
from headwater.components.common.dataset import ROW_ID, Dataset, read_element
from headwater.components.common.errors import HeadwaterError


@dataclasses.dataclass(frozen=True)
class Gold:
    """Gold classes by key.

    Attributes:
      hashes: uint64, ascending: of the keys.
      codes: int8, the number of each one's class.
    """

    hashes: np.ndarray
    codes: np.ndarray

    def of(self, hashes: np.ndarray) -> np.ndarray:
        """The class of each key, int8; -1 where there is none."""
        found = np.full(len(hashes), -1, np.int8)
        if len(self.hashes):
            places = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
            known = self.hashes[places] == hashes
            found[known] = self.codes[places[known]]
        return found


def numbers(values: pa.Array, classes: Sequence[str]) -> tuple[np.ndarray, int]:
    """The classes' numbers, int8, -1 where the value is missing or no class; and how many are no class."""
    texts = values if pa.types.is_string(values.type) else values.cast(pa.string())
    codes = pc.fill_null(pc.index_in(texts, value_set=pa.array(list(classes))), -1)
    found = codes.to_numpy(zero_copy_only=False).astype(np.int8)
    return found, int(((found < 0) & ~texts.is_null().to_numpy(zero_copy_only=False)).sum())


def read_gold(where: str, data: Dataset, column: str, dataset: Dataset, classes: Sequence[str]) -> Gold:
    """The gold classes of further data; it is held in memory, at 9 bytes a row.

    Args:
      where: the setting's name, for errors.
      data: has the dataset's key, and the column.
      column: holds the class; rows without one are passed over.
      dataset: what is labelled.
      classes: names of the classes.

    Raises:
      HeadwaterError: a column is missing, a value is no class, or a key has two classes.
    """
    key = list(dataset.key)
    if key == [ROW_ID]:
        raise HeadwaterError(
            f"{where}: the dataset's key is {ROW_ID}, which other data does not know; collect it with a key of its own"
        )
    for name in (*key, column):
        if name not in data.schema.names:
            raise HeadwaterError(
                f"{where}: there is no column {name!r}; the columns are {', '.join(data.schema.names)}"
            )
    schema = pa.schema([data.schema.field(name) for name in (*key, column)])
    hashes, codes, outside = [], [], 0
    for split in data.splits:
        for element in data.elements(split):
            for batch in read_element(element, schema):
                own, wrong = numbers(batch.column(len(key)), classes)
                outside += wrong
                hashes.append(hashing.hash_rows(batch.columns[: len(key)])[own >= 0])
                codes.append(own[own >= 0])
    if outside:
        raise HeadwaterError(
            f"{where}: column {column!r} holds what is no class on {outside:,} rows; the classes are {', '.join(classes)}"
        )
    every = np.concatenate(hashes) if hashes else np.zeros(0, np.uint64)
    classes_of = np.concatenate(codes) if codes else np.zeros(0, np.int8)
    order = np.argsort(every, kind="stable")
    every, classes_of = every[order], classes_of[order]
    same = every[1:] == every[:-1]
    twice = int((same & (classes_of[1:] != classes_of[:-1])).sum())
    if twice:
        raise HeadwaterError(f"{where}: {twice:,} keys have two classes; gold has one for each")
    first = np.concatenate([[True], ~same]) if len(every) else np.zeros(0, bool)
    return Gold(every[first], classes_of[first])
