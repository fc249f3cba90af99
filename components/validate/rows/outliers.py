"""Rows that lie far from the others, by rules that are learnt from a sample of rows before all are held against
them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import hashing, storage
from headwater.components.common.dataset import Dataset, read_element
from headwater.components.common.outliers import FAR, Scale, isolation, scale_of
from headwater.components.validate.rows.rules import ISOLATION, Outliers
from headwater.components.validate.rows.spills import counted

SAMPLE_ROWS = 65_536
"""About how many rows a rule is learnt from."""

FEWEST_ROWS = 100
"""With fewer rows nothing is learnt: what is far cannot be recognised."""

_PIECE = 65_536


@dataclasses.dataclass(frozen=True)
class Learnt:
    """What a rule took from its sample.

    Attributes:
      number: the rule's.
      asked: the rule.
      columns: the columns that have a spread, and their scales.
      sample: URI of the robust z of the sampled rows, from which each worker grows the same forest; empty for none.
    """

    number: int
    asked: Outliers
    columns: tuple[tuple[str, Scale], ...]
    sample: str = ""


def learn(
    rules: Sequence[tuple[int, Outliers, Dataset]], folder: str, **beam: object
) -> tuple[list[Learnt], dict[int, str]]:
    """Takes a sample of rows for each rule, and learns from it.

    Args:
      rules: number of the rule, itself, and the dataset that it is learnt from.
      folder: URI of a scratch folder that every worker reaches.
      **beam: options of `beam.map_merge`.

    Returns:
      What was learnt; and of the rules that nothing could be learnt for, by number, why.
    """
    learnt, unlearnt = [], {}
    for number, asked, source in rules:
        sample = _sampled(asked, source, beam)
        scales = {name: scale_of(values) for name, values in sample.items() if _is_enough(values)}
        columns = tuple((name, scale) for name, scale in scales.items() if scale.spread)
        if not columns:
            unlearnt[number] = (
                f"none of its columns has {FEWEST_ROWS} numbers, not all equal, in the rows to learn from; give a "
                "`reference` that does"
            )
            continue
        uri = ""
        if asked.method == ISOLATION:
            uri = storage.join(folder, f"outliers-{number:04d}")
            distances = np.stack([scale.distances(sample[name]) for name, scale in columns], axis=1)
            storage.write_bytes(uri, distances.tobytes())
        learnt.append(Learnt(number, asked, columns, uri))
    return learnt, unlearnt


def far_rows(rule: Learnt, batch: pa.RecordBatch) -> np.ndarray:
    """The rows of a batch that lie far from the others, int64, rising; missing and NaN lie nowhere."""
    rows = [
        start + _far(rule, piece)
        for start in range(0, batch.num_rows, _PIECE)
        for piece in (batch.slice(start, _PIECE),)
    ]
    return np.concatenate(rows) if rows else np.empty(0, np.int64)


def release() -> None:
    """Lets go of the forests that this process holds."""
    _forest.cache_clear()


def _far(rule: Learnt, batch: pa.RecordBatch) -> np.ndarray:
    distances = np.stack([scale.distances(_numbers(batch, name)) for name, scale in rule.columns], axis=1)
    with np.errstate(invalid="ignore"):
        farthest = np.abs(np.where(np.isnan(distances), 0, distances)).max(axis=1)
    if not rule.sample:
        return np.flatnonzero(farthest > rule.asked.limit)
    # The corners of an even cloud score high too: a row apart is far out in some column besides.
    candidates = np.flatnonzero(farthest > FAR)
    if not len(candidates):
        return candidates
    score = _forest(rule.sample, len(rule.columns), rule.asked.seed)
    return candidates[score(distances[candidates]) > rule.asked.limit]


@functools.lru_cache(maxsize=16)
def _forest(uri: str, columns: int, seed: int):
    return isolation(np.frombuffer(storage.read_bytes(uri)).reshape(-1, columns), seed)


def _is_enough(values: np.ndarray) -> bool:
    return np.isfinite(values).sum() >= FEWEST_ROWS


def _sampled(asked: Outliers, source: Dataset, beam: dict[str, Any]) -> dict[str, np.ndarray]:
    from headwater.components.common.beam import map_merge

    elements = [element for split in source.splits for element in source.elements(split)]
    total = sum(element.rows for element in elements)
    if not total:
        return {}
    content = map_merge(
        "validate: outliers",
        list(enumerate(elements)),
        functools.partial(_sample, pa.schema([source.schema.field(name) for name in asked.columns]), total),
        b"".join,
        sizes=[element.rows for element in elements],
        **beam,
    )
    table = np.frombuffer(content).reshape(-1, len(asked.columns))
    return {name: table[:, place] for place, name in enumerate(asked.columns)}


def _sample(schema: pa.Schema, total: int, item: tuple[int, Any]) -> bytes:
    """The values of the rows of an element whose place has a small hash."""
    number, element = item
    numbers = []
    for first, batch in counted(read_element(element, schema)):
        if total > SAMPLE_ROWS:
            places = np.arange(first, first + batch.num_rows, dtype=np.uint64) + np.uint64(number << 40)
            batch = batch.filter(pa.array(hashing.shares(hashing.mix(places)) < SAMPLE_ROWS / total))
        numbers.append(np.stack([_numbers(batch, name) for name in schema.names], axis=1).tobytes())
    return b"".join(numbers)


def _numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    column = batch.column(batch.schema.get_field_index(name))
    return pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
