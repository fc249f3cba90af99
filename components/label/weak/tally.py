"""What a label model is fitted from: a small state of votes that merges, the same on a laptop and a cluster.

A vote is the number of a class, or -1 where a function abstains. The state holds how often each outcome of one function
meets each outcome of another (all counts of functions and pairs follow from it), and the rows' patterns: while they
are few, every distinct pattern with its count; beyond that a bottom-k sample of the rows (Cohen and Kaplan, "Summarizing
data using bottom-k sketches", PODC 2007), which is uniform and merges. Rows with a gold class are sampled apart.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from headwater.components.label.classes import disagree
from headwater.components.label.patterns import distinct

MOST_PATTERNS = 50_000
"""Beyond so many distinct patterns of votes there is a sample."""

# What is made of a chunk stays in a core's cache.
_CHUNK_CELLS = 500_000
_LEAST_ROWS = 2_000
_LOOK_ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class Tally:
    """Votes on rows.

    Attributes:
      classes: how many classes there are.
      rows: how many rows were voted on.
      pairs: int64, [functions × (classes + 1)] squared: rows where one function's outcome is that and the other's is
        this; outcome 0 is to abstain, c + 1 the class c.
      conflicts: int64, one a function: rows where it votes and another function votes otherwise.
      overlaps: int64, one a function: rows where it votes and another does too.
      contested: rows on which two functions disagree.
      covered: rows on which a function votes.
      patterns: int8, [n, functions + 1]: distinct votes, the gold class (-1 for none) last; empty where there were too
        many.
      counts: int64, rows of each pattern.
      hashes: uint64, ascending: of the rows in the sample.
      votes: int8, [k, functions]: of those rows.
      gold_hashes, gold_votes, gold: the same of the rows with a gold class, and that class.
      size: k, the most rows in either sample.
    """

    classes: int
    rows: int
    pairs: np.ndarray
    conflicts: np.ndarray
    overlaps: np.ndarray
    contested: int
    covered: int
    patterns: np.ndarray
    counts: np.ndarray
    hashes: np.ndarray
    votes: np.ndarray
    gold_hashes: np.ndarray
    gold_votes: np.ndarray
    gold: np.ndarray
    size: int

    @property
    def functions(self) -> int:
        """How many functions voted."""
        return self.votes.shape[1]

    @property
    def is_exact(self) -> bool:
        """Whether `patterns` holds all rows."""
        return len(self.counts) > 0 or not self.rows


def tally(
    votes: np.ndarray, gold: np.ndarray, hashes: np.ndarray, classes: int, size: int, total: int | None = None
) -> Tally:
    """Counts votes.

    Args:
      votes: int8, [rows, functions].
      gold: int8, one a row; -1 where it is not known.
      hashes: uint64, one a row, of its key: what the sample is drawn by.
      classes: how many there are.
      size: the most rows that a sample keeps.
      total: how many rows are tallied in all, if these are a part of them; of a part the sample keeps little more than
        its share, since all hashes are alike.
    """
    functions = votes.shape[1]
    voted = np.zeros((functions * classes,) * 2, np.int64)
    conflicts, overlaps = np.zeros(functions, np.int64), np.zeros(functions, np.int64)
    contested = covered = 0
    few, of = distinct(np.column_stack([votes, gold]))
    every = np.bincount(of, minlength=len(few))
    # Where votes hardly repeat, rows are counted as they are, which spares their weights.
    repeat = 2 * len(few) < len(votes)
    rows, weights = (few[:, :-1], every) if repeat else (votes, np.ones(len(votes), np.int64))
    # What counts of so many rows are exact in.
    exact = np.float32 if len(votes) < 1 << 24 else np.float64
    for part in chunks(len(rows), functions * classes):
        # One row a function: few and long rows are what numpy is quick with.
        turned = np.ascontiguousarray(rows[part].T)
        heavy = weights[part].astype(exact)
        ones = one_hot(turned, classes)
        voted += ((ones * heavy if repeat else ones) @ ones.T).astype(np.int64)
        is_cast = turned >= 0
        cast = is_cast.sum(0, dtype=np.int16)
        split = disagree(turned)
        # On a contested row every vote has one against it.
        conflicts += ((is_cast & split) @ heavy).astype(np.int64)
        overlaps += ((is_cast & (cast > 1)) @ heavy).astype(np.int64)
        contested += int(heavy[split].sum())
        covered += int(heavy[cast > 0].sum())
    pairs = with_abstentions(voted, len(votes), classes)
    patterns, counts = _patterns(few, of, every)
    known = gold >= 0
    chosen = _lowest(hashes, min(size, _share(size, len(votes), total or len(votes))))
    golden = np.flatnonzero(known)[_lowest(hashes[known], size)]
    return Tally(
        classes,
        len(votes),
        pairs,
        conflicts,
        overlaps,
        contested,
        covered,
        patterns,
        counts,
        hashes[chosen],
        votes[chosen],
        hashes[golden],
        votes[golden],
        gold[golden],
        size,
    )


def merge(*parts: Tally) -> Tally:
    """The tally of all tallies' rows, which are not the same rows; at least one."""
    first = parts[0]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    def added(name: str) -> Any:
        return sum(getattr(part, name) for part in parts)

    patterns, counts = first.patterns[:0], first.counts[:0]
    if all(part.is_exact for part in parts):
        patterns, counts = _distinct(joined("patterns"), joined("counts"))
    hashes, gold_hashes = joined("hashes"), joined("gold_hashes")
    chosen, golden = _lowest(hashes, first.size), _lowest(gold_hashes, first.size)
    return Tally(
        first.classes,
        added("rows"),
        added("pairs"),
        added("conflicts"),
        added("overlaps"),
        added("contested"),
        added("covered"),
        patterns,
        counts,
        hashes[chosen],
        joined("votes")[chosen],
        gold_hashes[golden],
        joined("gold_votes")[golden],
        joined("gold")[golden],
        first.size,
    )


def rows_of(tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, gold classes and weights of all rows that the tally holds."""
    if tally.is_exact:
        return tally.patterns[:, :-1], tally.patterns[:, -1], tally.counts.astype(np.float64)
    return sample_of(tally)


def sample_of(tally: Tally) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, gold classes and weights of both samples, in the order of the rows' hashes."""
    gold = np.full(len(tally.hashes), -1, np.int8)
    places = np.searchsorted(tally.hashes, tally.gold_hashes)
    inside = places < len(tally.hashes)
    inside[inside] = tally.hashes[places[inside]] == tally.gold_hashes[inside]
    gold[places[inside]] = tally.gold[inside]
    return (
        np.concatenate([tally.votes, tally.gold_votes[~inside]]),
        np.concatenate([gold, tally.gold[~inside]]),
        np.ones(len(gold) + int((~inside).sum())),
    )


def together(votes: np.ndarray, gold: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows as `rows_of` gives them, those that are alike as one of their weight: what is fitted from them is the same."""
    few, of = distinct(np.column_stack([votes, gold]))
    return few[:, :-1], few[:, -1], np.bincount(of, weights, minlength=len(few))


def encode(votes: Tally) -> bytes:
    """A tally as bytes: numpy's archive of plain arrays."""
    sink = io.BytesIO()
    np.savez(sink, **dataclasses.asdict(votes))
    return sink.getvalue()


def decode(content: bytes) -> Tally:
    """The tally that `encode` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        stored_fields = {field.name: stored[field.name] for field in dataclasses.fields(Tally)}
    fields: dict[str, Any] = {name: int(value) if value.ndim == 0 else value for name, value in stored_fields.items()}
    return Tally(**fields)


def chunks(rows: int, cells: int) -> Iterator[slice]:
    """Parts of rows that are worked on at a time, where each row makes so many cells, and a part cells squared."""
    step = max(64, min(cells, _LEAST_ROWS), _CHUNK_CELLS // max(1, cells))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def one_hot(turned: np.ndarray, classes: int) -> np.ndarray:
    """float32, [functions × classes, rows]: 1 where a function votes that class.

    Args:
      turned: votes, int8, [functions, rows].
      classes: how many there are.
    """
    flags = turned[:, None, :] == np.arange(classes, dtype=np.int8)[None, :, None]
    return flags.reshape(-1, turned.shape[1]).astype(np.float32)


def with_abstentions(voted: np.ndarray, rows: float, classes: int) -> np.ndarray:
    """How often outcomes meet, to abstain among them, from how often votes meet: what is left of each is abstention.

    Args:
      voted: [functions × classes] squared: rows where one function votes this and the other that.
      rows: how many there are.
      classes: how many there are.

    Returns:
      [functions × (classes + 1)] squared; of each function's outcomes 0 is to abstain.
    """
    functions, width = len(voted) // classes, classes + 1
    counts = np.zeros((functions, width, functions, width), voted.dtype)
    counts[:, 1:, :, 1:] = voted.reshape(functions, classes, functions, classes)
    alone = np.diag(voted).reshape(functions, classes)
    counts[:, 1:, :, 0] = alone[:, :, None] - counts[:, 1:, :, 1:].sum(3)
    counts[:, 0, :, 1:] = alone[None] - counts[:, 1:, :, 1:].sum(1)
    counts[:, 0, :, 0] = rows - alone.sum(1)[:, None] - counts[:, 0, :, 1:].sum(2)
    return counts.reshape(functions * width, -1)


def _patterns(few: np.ndarray, of: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of votes and gold class with their counts; nothing when there are too many, or as it looks."""
    looked = of[:_LOOK_ROWS]
    if len(of) > MOST_PATTERNS and int(looked.max()) + 1 > len(looked) // 2:
        return few[:0], np.zeros(0, np.int64)
    return _distinct(few, counts)


def _distinct(rows: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows in a fixed order with their counts; nothing when there are more than `MOST_PATTERNS`."""
    _, first, inverse = np.unique(_packed(rows), return_index=True, return_inverse=True)
    if len(first) > MOST_PATTERNS:
        return rows[:0], np.zeros(0, np.int64)
    return rows[first], np.bincount(inverse.ravel(), counts, minlength=len(first)).astype(np.int64)


def _packed(rows: np.ndarray) -> np.ndarray:
    """Each row as one value."""
    return np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1]))).ravel()


def _share(size: int, rows: int, total: int) -> int:
    """More rows than the sample of all takes of a part, but for chance of one in a billion."""
    expected = size * rows / max(1, total)
    return int(expected + 6 * expected**0.5 + 30)


def _lowest(hashes: np.ndarray, size: int) -> np.ndarray:
    """Places of the lowest hashes, ascending."""
    if len(hashes) > size:
        places = np.argpartition(hashes, size)[:size]
        return places[np.argsort(hashes[places], kind="stable")]
    return np.argsort(hashes, kind="stable")
