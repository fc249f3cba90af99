"""The state of a loop: which rows were asked about in which round, and how many answers that takes.

    <folder>/round-000001.json          what a round asked; created conditionally, so that a round is of one run alone
    <folder>/batch-<sha256>.parquet     its rows

What was answered is read from the answers themselves, each time.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys
from headwater.components.label.asking.survey import Known

FOLDER = "_asking"
"""Below a dataset's folder under a `data_root`, a folder a label column."""

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
      number: from 1.
      identity: what its batch was made of: a run with the same finds it again.
      rows: how many it asked about.
      votes: how many answers that takes.
      batch: the name of the file with its rows.
      sha256: of that file.
      report: what was said of it.
    """

    number: int
    identity: str
    rows: int
    votes: int
    batch: str
    sha256: str
    report: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class State:
    """All rounds of a loop up to now.

    Attributes:
      folder: URI of its folder; empty where nothing is remembered.
      rounds: in their order.
    """

    folder: str
    rounds: tuple[Round, ...] = ()

    @property
    def votes(self) -> int:
        """How many answers all rounds take."""
        return sum(each.votes for each in self.rounds)

    @property
    def rows(self) -> int:
        """How many rows they asked about."""
        return sum(each.rows for each in self.rounds)

    def of(self, identity: str) -> Round | None:
        """The round that a run with the same inputs and settings made."""
        return next((each for each in self.rounds if each.identity == identity), None)


def load(folder: str) -> State:
    """The state as it is now.

    Raises:
      HeadwaterError: a file is not what a round leaves.
    """
    if not folder:
        return State("")
    rounds: list[Round] = []
    # Rounds are created in turn, so that the first that is not there ends them.
    while storage.exists(uri := _round_at(folder, len(rounds) + 1)):
        try:
            given = json.loads(storage.read_bytes(uri))
            version = given.pop("format_version")
            if version != _VERSION:
                raise HeadwaterError(
                    f"{uri}: format_version {version} is not readable; this Headwater reads {_VERSION}"
                )
            rounds.append(Round(**given))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise HeadwaterError(
                f"{uri}: is not the record of a round; remove it, or give label.ask.state another folder"
            ) from None
    return State(folder, tuple(rounds))


def asked(state: State, key: Sequence[str], types: Sequence[pa.DataType | None]) -> Known:
    """The rows that were asked about, by their keys, each with the number of its round.

    Args:
      state: the loop's.
      key: the dataset's key.
      types: what its values are compared as.

    Raises:
      HeadwaterError: a batch is missing or altered, or of a dataset with another key.
    """
    keys, numbers = [np.zeros(0, KEY)], [np.zeros(0, np.int32)]
    for each in state.rounds:
        table = batch_of(state, each)
        if list(table.column_names[: len(key)]) != list(key):
            raise HeadwaterError(
                f"{state.folder}: round {each.number} asked about rows with the key "
                f"{', '.join(table.column_names[:-2])}, but the dataset's is {', '.join(key)}; give label.ask.state another "
                "folder"
            )
        places, found = hash_keys([_column(table, name, kind) for name, kind in zip(key, types)])
        keys.append(found)
        numbers.append(np.full(len(places), each.number, np.int32))
    return known(np.concatenate(keys), np.concatenate(numbers))


def known(keys: np.ndarray, codes: np.ndarray) -> Known:
    """Numbers by key, sorted; of a key that is there twice the first."""
    ordered, first = np.unique(keys, return_index=True)
    return Known(ordered, codes[first])


def batch_of(state: State, each: Round) -> pa.Table:
    """The rows of a round: the key, `_score` and `_reason`.

    Raises:
      HeadwaterError: the file is missing or was altered.
    """
    uri = storage.join(state.folder, each.batch)
    content = storage.read_bytes(uri)
    results.check(uri, content, each.sha256)
    return pq.read_table(pa.BufferReader(content))


def record(state: State, identity: str, batch: pa.Table, votes: int, report: Mapping[str, Any]) -> Round | None:
    """Takes the next round for a batch.

    Returns:
      The round; None where another run has taken it meanwhile.
    """
    content = encode(batch)
    sha256 = storage.sha256(content)
    made = Round(
        len(state.rounds) + 1, identity, batch.num_rows, votes, f"batch-{sha256[:32]}.parquet", sha256, dict(report)
    )
    if not state.folder:
        return made
    storage.write_bytes(storage.join(state.folder, made.batch), content)
    text = results.encode({"format_version": _VERSION, **dataclasses.asdict(made)})
    return made if storage.create(_round_at(state.folder, made.number), text) else None


def encode(batch: pa.Table) -> pa.Buffer:
    """A batch as Parquet, the same bytes for the same rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(batch, sink, version="2.6")
    return sink.getvalue()


def _round_at(folder: str, number: int) -> str:
    return storage.join(folder, f"round-{number:06d}.json")


def _column(table: pa.Table, name: str, kind: pa.DataType | None) -> pa.Array:
    column = table[name].combine_chunks()
    whole = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
    return as_key(whole if kind is None else decoded(whole).cast(kind, safe=False))
