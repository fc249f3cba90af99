"""What a worker does in the second pass over an element: scores every row that may be asked about, and keeps the best.

It knows nothing of Beam, so that worker processes need not import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.label.asking.choosing import best, region_of, worth_of
from headwater.components.label.asking.estimators import Model
from headwater.components.label.asking.strategies import Pool, Rows, Space
from headwater.components.label.asking.survey import HASH, Lens, decode, encode, look
from headwater.components.label.encoding import Encoder

_PART, _REGION, _WORTH, _VECTOR = "_part", "_region", "_worth", "_vector"
_CHUNK = 8_192


class Scorer(NamedTuple):
    """How rows are scored.

    Attributes:
      lens: how they are read.
      encoder: makes vectors of them.
      parts: names of strategies.
      model: None where nothing can be learnt yet.
      committee: empty where no strategy needs one.
      space: as strategies get it.
      most: how many rows are kept of each strategy, and of each region.
    """

    lens: Lens
    encoder: Encoder
    parts: tuple[str, ...]
    model: Model | None
    committee: tuple[Model, ...]
    space: Space
    most: int


def rows_of(scorer: Scorer, vectors: np.ndarray, hashes: np.ndarray) -> Rows:
    """Rows as strategies see them."""
    members = np.stack([member.predict(vectors) for member in scorer.committee]) if scorer.committee else None
    return Rows(vectors, hashes, scorer.model.predict(vectors) if scorer.model else None, members)


def score(scorer: Scorer, item: tuple[str, Any]) -> bytes:
    """The second pass over an element of a split."""
    tallies = _nothing(scorer)
    kept: list[pa.Table | None] = []
    for seen in look(scorer.lens, *item):
        free = np.flatnonzero(seen.free)
        for start in range(0, len(free), _CHUNK):
            places = free[start : start + _CHUNK]
            batch = seen.batch.take(pa.array(places))
            rows = rows_of(scorer, scorer.encoder.vectors(batch), seen.hashes[places])
            for number, name in enumerate(scorer.parts):
                worth = worth_of(name, rows, scorer.space)
                regions = region_of(name, rows, scorer.space)
                if regions is not None and scorer.space.centres is not None:
                    count = len(scorer.space.centres)
                    tallies[number][0] += np.bincount(regions, minlength=count)
                    tallies[number][1] += _whole(np.bincount(regions, worth, minlength=count))
                chosen = best(worth, rows.hashes, regions, scorer.most)
                kept.append(_table(scorer, number, batch, rows, worth, regions, chosen))
            kept = [_best(scorer, kept)]
    return _encode(tallies, _best(scorer, kept))


def merge(scorer: Scorer, parts: list[bytes]) -> bytes:
    """What several elements tell together."""
    found = [decode(part) for part in parts]
    tallies = _nothing(scorer)
    for given, _ in found:
        for total, own in zip(tallies, given):
            total[0] += np.array(own[0], np.int64)
            total[1] += np.array(own[1], np.int64)
    return _encode(tallies, _best(scorer, [table for _, tables in found for table in tables]))


def pools(scorer: Scorer, content: bytes) -> tuple[dict[str, Pool], pa.Table | None]:
    """The pool of each strategy, and the keys of all rows in them with their hashes."""
    tallies, (table,) = decode(content)
    if table is None:
        return {}, None
    made = {}
    of = table[_PART].to_numpy()
    worth, hashes, regions = (table[name].to_numpy() for name in (_WORTH, HASH, _REGION))
    vectors = table[_VECTOR].combine_chunks()
    flat = vectors.flatten() if isinstance(vectors, pa.Array) else pa.concat_arrays(vectors.chunks).flatten()
    matrix = flat.to_numpy(zero_copy_only=False).reshape(len(of), -1).astype(np.float32)
    for number, name in enumerate(scorer.parts):
        places = np.flatnonzero(of == number)
        # Of rows with one key the first stands for all.
        _, first = np.unique(hashes[places], return_index=True)
        places = places[np.sort(first)]
        places = places[np.lexsort((hashes[places], -worth[places]))]
        has_regions = bool(len(places)) and regions[places[0]] >= 0
        counts, sums = (
            (np.array(tallies[number][0]), np.array(tallies[number][1]) / _SCALE) if has_regions else (None, None)
        )
        rows = Rows(matrix[places], hashes[places])
        made[name] = Pool(rows, worth[places], regions[places] if has_regions else None, counts, sums)
    return made, table.select([HASH, *scorer.lens.key])


_SCALE = 1e9


def _whole(sums: np.ndarray) -> np.ndarray:
    """Sums as integers, whose order does not count."""
    return np.round(sums * _SCALE).astype(np.int64)


def _nothing(scorer: Scorer) -> list[list[np.ndarray]]:
    count = 0 if scorer.space.centres is None else len(scorer.space.centres)
    return [[np.zeros(count, np.int64), np.zeros(count, np.int64)] for _ in scorer.parts]


def _table(
    scorer: Scorer, number: int, batch: pa.RecordBatch, rows: Rows, worth: np.ndarray, regions: np.ndarray | None,
    chosen: np.ndarray,
) -> pa.Table:  # fmt: skip
    key = pa.Table.from_batches([batch]).select(list(scorer.lens.key)).take(pa.array(chosen))
    vectors = rows.vectors[chosen]
    columns = [
        pa.array(np.full(len(chosen), number, np.int8)),
        pa.array(np.full(len(chosen), -1) if regions is None else regions[chosen], pa.int32()),
        pa.array(worth[chosen]),
        pa.array(rows.hashes[chosen]),
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
    ]
    return pa.table([*columns, *key.columns], [_PART, _REGION, _WORTH, HASH, _VECTOR, *key.column_names])


def _best(scorer: Scorer, tables: Sequence[pa.Table | None]) -> pa.Table | None:
    tables = [table for table in tables if table is not None]
    if not tables:
        return None
    whole = pa.concat_tables(tables)
    part, region = whole[_PART].to_numpy(), whole[_REGION].to_numpy()
    worth, hashes = whole[_WORTH].to_numpy(), whole[HASH].to_numpy()
    kept = []
    for number in range(len(scorer.parts)):
        places = np.flatnonzero(part == number)
        own = region[places]
        regions = own if len(own) and own[0] >= 0 else None
        kept.append(places[best(worth[places], hashes[places], regions, scorer.most)])
    return whole.take(pa.array(np.concatenate(kept))).combine_chunks()


def _encode(tallies: Sequence[Sequence[np.ndarray]], table: pa.Table | None) -> bytes:
    return encode([[part.tolist() for part in own] for own in tallies], [table])
