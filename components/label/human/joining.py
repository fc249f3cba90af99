"""Votes and the rows that they are for: joined at any size, a partition of keys at a time.

Both sides are spilled by key; a partition gives its votes by item, each rater's last of each item; and later, when it is
known how votes are put together, the classes of its rows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import partitions, storage
from headwater.components.common.dataset import read_element
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.keys import KEY, as_key, decoded, hash_keys
from headwater.components.common.partitions import PartitionResults, Spilled
from headwater.components.label.attribution import codes_of
from headwater.components.label.classes import ABSTAIN, OUTSIDE, numbers
from headwater.components.label.gold import outside
from headwater.components.label.human.aggregation import Fitted, Votes
from headwater.components.label.human.reading import COUNTS, VOTE, Source, records
from headwater.components.label.methods import Item

PARTITION_ROWS = 500_000
"""How many rows and votes a partition holds, on average."""

ROW = np.dtype([*KEY.descr, ("element", "<u4"), ("row", "<u4"), ("gold", "i1")])
"""A row of the dataset: its key, where it stands, and its class where gold tells it."""

ITEM_VOTE = np.dtype(
    [("item", "<u4"), ("rater", "<u8"), ("order", "<u8"), ("time", "<i8"), ("seconds", "<f4"), ("answer", "i1")]
)
"""A vote of a partition, by the number of its item there."""

_ROWS, _VOTES = "rows", "votes"


class Joined(NamedTuple):
    """Votes by partition.

    Attributes:
      folder: URI of the scratch folder that they lie in.
      sides: rows and votes, spilled.
      raters: their names by the hash of the name, in the order of names.
      items, votes: how many each partition has.
      counts: `COUNTS`, and `repeated`, `unknown`, `rows` of the dataset; of the items the `gold` ones, and those where
        what should be gold differs (`gold_differs`).
    """

    folder: str
    sides: tuple[Spilled, Spilled]
    raters: Mapping[int, str]
    items: Sequence[int]
    votes: Sequence[int]
    counts: Mapping[str, int]


class Gold(NamedTuple):
    """Where gold is.

    Attributes:
      column: the dataset's own; empty for none.
      known: what was found in another input; None for none.
    """

    column: str
    known: PartitionResults | None


def join(
    source: Source,
    items: Sequence[Item],
    schema: pa.Schema,
    gold: Gold,
    skip_unknown: bool,
    folder: str,
    beam: Mapping[str, Any],
) -> Joined:
    """Brings votes and rows together.

    Args:
      source: the votes.
      items: all elements of the dataset.
      schema: its columns.
      gold: where gold is.
      skip_unknown: whether votes for rows that the dataset does not have are passed over.
      folder: URI of a scratch folder for this alone.
      beam: options of `map_merge`.

    Raises:
      HeadwaterError: what `records` raises; or a vote is for no row.
    """
    from headwater.components.common.beam import map_merge

    work = [
        *((_ROWS, number, item) for number, item in enumerate(items)),
        *((_VOTES, number, None) for number in range(len(source.elements))),
    ]
    sizes = [item.element.rows for item in items] + [element.rows for element in source.elements]
    count = max(1, -(-sum(sizes) // PARTITION_ROWS))
    wanted = [name for name, _ in source.key] + ([gold.column] if gold.column else [])
    own = pa.schema([schema.field(name) for name in dict.fromkeys(wanted)])
    content = map_merge(
        "label: read votes",
        work,
        functools.partial(_spill, source, own, gold, folder, count),
        b"\n".join,
        sizes=sizes,
        **beam,
    )
    summary = [json.loads(line) for line in content.splitlines()]
    by_side = {_ROWS: summary[: len(items)], _VOTES: summary[len(items) :]}
    wrong = sum(each["outside"] for each in by_side[_ROWS])
    if wrong:
        raise outside(f"{source.where.rpartition('.')[0]}.gold", gold.column, wrong, source.classes)
    sides = (
        Spilled(folder, _ROWS, ROW, [each["bounds"] for each in by_side[_ROWS]]),
        Spilled(folder, _VOTES, VOTE, [each["bounds"] for each in by_side[_VOTES]]),
    )
    content = map_merge(
        "label: match votes",
        list(range(count)),
        functools.partial(_match, sides, folder),
        b"\n".join,
        sizes=[sum(side.rows(number) for side in sides) for number in range(count)],
        **beam,
    )
    matched = [json.loads(line) for line in content.splitlines()]
    counts = {name: sum(each["counts"][name] for each in by_side[_VOTES]) for name in COUNTS}
    counts.update(
        {name: sum(each[name] for each in matched) for name in ("repeated", "unknown", "gold", "gold_differs")}
    )
    counts["rows"] = sum(item.element.rows for item in items)
    if counts["unknown"] and not skip_unknown:
        first = min(each["first_unknown"] for each in matched if each["unknown"])
        element = source.elements[first >> 40]
        uri = getattr(element, "uri", None) or element.file.uri
        raise HeadwaterError(
            f"{source.where}: {counts['unknown']:,} of {counts['read']:,} votes are for rows that the dataset does not "
            f"have, the first of them vote {(first & (1 << 40) - 1) + 1:,} of {uri}; give the votes of this dataset, or "
            "set unknown_rows: skip"
        )
    names: dict[int, str] = {}
    for each in by_side[_VOTES]:
        names.update((int(key), name) for key, name in each["raters"].items())
    raters = dict(sorted(names.items(), key=lambda pair: (pair[1], pair[0])))
    return Joined(
        folder, sides, raters, [each["items"] for each in matched], [each["votes"] for each in matched],
        counts,
    )  # fmt: skip


def _spill(source: Source, schema: pa.Schema, gold: Gold, folder: str, count: int, work: tuple[str, int, Any]) -> bytes:
    side, number, item = work
    if side == _VOTES:
        counts, parts = dict.fromkeys(COUNTS, 0), [np.empty(0, VOTE)]
        raters: dict[int, str] = {}
        for made, names, own in records(source, number):
            counts = {name: counts[name] + own[name] for name in counts}
            _, first = np.unique(made["rater"], return_index=True)
            raters.update(zip(made["rater"][first].tolist(), names.take(pa.array(first)).to_pylist()))
            parts.append(made)
        bounds = partitions.spill(folder, side, number, parts, count)
        return json.dumps({"bounds": bounds, "counts": counts, "raters": raters}).encode()
    parts, start, wrong = [np.empty(0, ROW)], 0, 0
    known = codes_of(gold.known, item.number, item.element.rows) if gold.known is not None else None
    names = [name for name, _ in source.key]
    for batch in read_element(item.element, schema):
        columns = [as_key(decoded(batch.column(batch.schema.get_field_index(name)))) for name in names]
        rows, keys = hash_keys(columns)
        golden = np.full(batch.num_rows, ABSTAIN, np.int8)
        if known is not None:
            golden = known[start : start + batch.num_rows]
        elif gold.column:
            golden = numbers(batch.column(batch.schema.get_field_index(gold.column)), source.classes)
            wrong += int((golden == OUTSIDE).sum())
        made = np.empty(len(rows), ROW)
        made["first"], made["second"] = keys["first"], keys["second"]
        made["element"], made["row"], made["gold"] = number, rows + start, np.maximum(golden, ABSTAIN)[rows]
        parts.append(made)
        start += batch.num_rows
    return json.dumps({"bounds": partitions.spill(folder, side, number, parts, count), "outside": wrong}).encode()


def _match(sides: tuple[Spilled, Spilled], folder: str, partition: int) -> bytes:
    """Writes a partition's votes by item, its items' gold and which rows are of which item."""
    rows, votes = (side.read(partition) for side in sides)
    order = np.lexsort((rows["second"], rows["first"]))
    keys = rows[["first", "second"]][order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys["first"][1:] != keys["first"][:-1]) | (keys["second"][1:] != keys["second"][:-1])
    places = np.flatnonzero(new)
    number = np.cumsum(new) - 1
    unique = keys[places]
    at = np.searchsorted(unique["first"], votes["first"])
    found = np.zeros(len(votes), bool)
    inside = at < len(unique)
    found[inside] = (unique["first"][at[inside]] == votes["first"][inside]) & (
        unique["second"][at[inside]] == votes["second"][inside]
    )
    unknown = votes["order"][~found]
    votes, at = votes[found], at[found]
    marked, said = at[votes["gold"]], votes["answer"][votes["gold"]].astype(np.int64)
    # Of a rater who voted twice on an item the last vote counts.
    turned = np.lexsort((votes["order"], votes["time"], votes["rater"], at))
    votes, at = votes[turned], at[turned]
    last = np.ones(len(votes), bool)
    last[:-1] = (at[1:] != at[:-1]) | (votes["rater"][1:] != votes["rater"][:-1])
    repeated = int((~last).sum())
    votes, at = votes[last], at[last]
    voted, item = np.unique(at, return_inverse=True)
    made = np.empty(len(votes), ITEM_VOTE)
    for name in ("rater", "order", "time", "seconds", "answer"):
        made[name] = votes[name]
    made["item"] = item
    # Gold is a column's, or a vote that was marked as what is right; where they differ there is none.
    golden = rows["gold"][order].astype(np.int64)
    most, least = (np.full(len(places), fill, np.int64) for fill in (-1, 1 << 30))
    np.maximum.at(most, number, golden)
    np.minimum.at(least, number[golden >= 0], golden[golden >= 0])
    np.maximum.at(most, marked, said)
    np.minimum.at(least, marked, said)
    differs = (most >= 0) & (most != least)
    gold = np.where(differs, -1, most)[voted].astype(np.int8)
    counted = np.full(len(places), -1, np.int64)
    counted[voted] = np.arange(len(voted))
    of = np.empty(len(rows), np.int64)
    of[order] = counted[number]
    storage.write_bytes(_at(folder, "matched", partition), pa.py_buffer(made))
    storage.write_bytes(_at(folder, "matched-gold", partition), pa.py_buffer(gold))
    storage.write_bytes(_at(folder, "matched-of", partition), pa.py_buffer(of))
    return json.dumps(
        {
            "items": len(voted),
            "votes": len(made),
            "repeated": repeated,
            "unknown": len(unknown),
            "first_unknown": int(unknown.min()) if len(unknown) else 0,
            "gold": int((gold >= 0).sum()),
            "gold_differs": int(differs[voted].sum()),
        }
    ).encode()


class Sample(NamedTuple):
    """Votes in memory, of whole partitions: since those are of hashed keys, of any rows.

    Attributes:
      votes: by the numbers of raters in `Joined.raters`.
      gold: the class of each item, or -1.
      records: `ITEM_VOTE`s, with items as in `votes`.
    """

    votes: Votes
    gold: np.ndarray
    records: np.ndarray


def sample(joined: Joined, classes: int, most: int) -> Sample:
    """The votes of as many partitions as have `most` votes together, and at least one."""
    held, gold, items, total = [np.empty(0, ITEM_VOTE)], [np.empty(0, np.int8)], 0, 0
    for partition, votes in enumerate(joined.votes):
        if total and total + votes > most:
            break
        made, golden = _read(joined.folder, partition)
        made = made.copy()
        made["item"] += items
        held.append(made)
        gold.append(golden)
        items, total = items + len(golden), total + votes
    found = np.concatenate(held)
    return Sample(_votes(found, joined.raters, items, classes), np.concatenate(gold), found)


def _votes(found: np.ndarray, raters: Mapping[int, str], items: int, classes: int) -> Votes:
    hashes = np.fromiter(raters, np.uint64, len(raters))
    order = np.argsort(hashes)
    rater = order[np.searchsorted(hashes[order], found["rater"])] if len(found) else np.empty(0, np.int64)
    return Votes(found["item"].astype(np.int32), rater.astype(np.int32), found["answer"], items, len(raters), classes)


def _read(folder: str, partition: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.frombuffer(storage.read_bytes(_at(folder, "matched", partition)), ITEM_VOTE),
        np.frombuffer(storage.read_bytes(_at(folder, "matched-gold", partition)), np.int8),
    )


def _at(folder: str, what: str, partition: int) -> str:
    return storage.join(folder, f"{what}-{partition:06d}")


def result_kind(classes: int, kinds: int) -> np.dtype:
    """What is found of a row: how many votes it has, what each kind of raters says, and the probabilities."""
    return np.dtype(
        [
            ("element", "<u4"),
            ("row", "<u4"),
            ("votes", "<u4"),
            ("said", "i1", (kinds,)),
            ("posterior", "<f4", (classes,)),
        ]
    )


def label(
    joined: Joined, fitted: Fitted, kinds: np.ndarray, number: int, least: int, most: int, beam: Mapping[str, Any]
) -> tuple[PartitionResults, dict[str, Any]]:
    """The classes of all rows that have votes.

    Args:
      joined: the votes.
      fitted: how they are put together.
      kinds: the kind of each rater.
      number: of kinds.
      least: the fewest votes of a row that may be disputed.
      most: of how many rows the most disputed are wanted.
      beam: options of `map_merge`.

    Returns:
      What was found, of `result_kind`; and `voted` rows, `unsure` ones, rows by their number of votes (`overlap`), `disputed` rows as lists of element,
      row, number of votes and posterior, the most disputed first.
    """
    from headwater.components.common.beam import map_merge

    content = map_merge(
        "label: put votes together",
        list(range(len(joined.items))),
        functools.partial(_label, joined._replace(counts={}), fitted, kinds, number, (least, most)),
        b"\n".join,
        sizes=list(joined.votes),
        unit="votes",
        **beam,
    )
    found = [json.loads(line) for line in content.splitlines()]
    disputed = sorted((each for part in found for each in part["disputed"]), key=lambda each: (max(each[3]), each[:2]))
    told = {
        "voted": sum(each["voted"] for each in found),
        "unsure": sum(each["unsure"] for each in found),
        "overlap": np.sum([each["overlap"] for each in found], 0).tolist() if found else [],
        "disputed": disputed[:most],
    }
    kind = result_kind(len(fitted.prior), number)
    return PartitionResults(joined.folder, _ROWS, kind, [each["bounds"] for each in found]), told


UNSURE = 0.6
"""A label that is less probable is unsure."""

OVERLAPS = 11
"""Up to so many votes less one a row are told apart."""


def _label(
    joined: Joined, fitted: Fitted, kinds: np.ndarray, number: int, wanted: tuple[int, int], partition: int
) -> bytes:
    made, gold = _read(joined.folder, partition)
    votes = _votes(made, joined.raters, len(gold), len(fitted.prior))
    posterior = fitted.predict(votes, gold)
    count = np.bincount(votes.item, minlength=votes.items)
    rows = joined.sides[0].read(partition)
    of = np.frombuffer(storage.read_bytes(_at(joined.folder, "matched-of", partition)), np.int64)
    some = np.flatnonzero(of >= 0)
    item = of[some]
    found = np.empty(len(some), result_kind(votes.classes, number))
    found["element"], found["row"], found["votes"] = rows["element"][some], rows["row"][some], count[item]
    found["said"] = _said(votes, kinds, number)[item]
    found["posterior"] = posterior[item]
    bounds = partitions.give_back(joined.folder, _ROWS, partition, found, len(joined.sides[0].bounds))
    least, most = wanted
    sure = found["posterior"].max(1, initial=0)
    open_ = np.flatnonzero((found["votes"] >= least) & (sure < 1))
    worst = open_[np.argsort(sure[open_], kind="stable")[:most]]
    return json.dumps(
        {
            "bounds": bounds,
            "voted": len(found),
            "unsure": int(((found["votes"] >= least) & (sure < UNSURE)).sum()),
            "overlap": np.bincount(np.minimum(found["votes"], OVERLAPS - 1), minlength=OVERLAPS).tolist(),
            "disputed": [
                [*(int(found[name][at]) for name in ("element", "row", "votes")), found["posterior"][at].tolist()]
                for at in worst
            ],
        }
    ).encode()


def _said(votes: Votes, kinds: np.ndarray, number: int) -> np.ndarray:
    """The class that most raters of each kind say of each item, int8, [items, kinds]; -1 for none, or a tie."""
    cells = (votes.item.astype(np.int64) * number + kinds[votes.rater]) * votes.classes + votes.answer
    counts = np.bincount(cells, minlength=votes.items * number * votes.classes)
    counts = counts.reshape(votes.items, number, votes.classes)
    most = counts.max(2, initial=0)
    said = counts.argmax(2).astype(np.int8)
    said[(most == 0) | ((counts == most[:, :, None]).sum(2) > 1)] = ABSTAIN
    return said
