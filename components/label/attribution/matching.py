"""Which event is whose: events of feedback against the predictions that they follow, by key and by time.

An event belongs to the latest prediction of its key at or before it ("last touch"), or to every one whose window it
falls into; a window holds both its ends. Predictions of one key at one instant share their events, so that a row that was
logged twice gets one label twice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from headwater.components.common import machine
from headwater.components.common.keys import KEY

PREDICTION = np.dtype([*KEY.descr, ("time", "<i8"), ("element", "<u4"), ("row", "<u4")])
"""A prediction: its key, when it was served (microseconds), and where it stands."""

EVENT = np.dtype([*KEY.descr, ("time", "<i8"), ("code", "i1")])
"""An event: its key, when it happened, and the number of the class that it tells."""

FATES = ("used", "repeated", "conflicting", "late", "early", "orphan", "carried")
"""What becomes of an event: it gives its prediction the label; it says the same as the one that does, or otherwise; it
came after the window; before the first prediction of its key, or before all; there is no prediction of its key; or it
waits, for its prediction to mature, for its time to come, or, no older than a window, for its prediction."""

USED, REPEATED, CONFLICTING, LATE, EARLY, ORPHAN, CARRIED = range(len(FATES))

NOTHING, DISPUTED = -1, -2
"""Codes of predictions: no event; or several that contradict each other, where that leaves a row without a label."""

Keep = Literal["first", "last", "abstain"]
Attribution = Literal["last", "every"]


class Rules(NamedTuple):
    """By what rules events are matched.

    Attributes:
      window: microseconds after a prediction in which feedback counts.
      as_of: microseconds since 1970: until when feedback is known. What matures later waits.
      conflict: which of several events of one prediction counts; "abstain" where they contradict each other.
      attribution: whether an event belongs to the last prediction before it, or to every one in whose window it is.
      earliest: when the first of all predictions was served.
    """

    window: int
    as_of: int
    conflict: Keep
    attribution: Attribution
    earliest: int


class Matched(NamedTuple):
    """What was found.

    Attributes:
      codes: int8, one a prediction: the number of its class, `NOTHING` or `DISPUTED`; of matured ones alone.
      fates: int8, one an event: an index of `FATES`.
      delays: int64, of the first event after each prediction (those at one instant count once), before the next one
        of the key: microseconds from the one to the other, whether in the window or not.
      seen: int64, how long each of those predictions had been watched by `as_of`.
    """

    codes: np.ndarray
    fates: np.ndarray
    delays: np.ndarray
    seen: np.ndarray


def match(predictions: np.ndarray, events: np.ndarray, rules: Rules) -> Matched:
    """Matches all predictions and events of some keys.

    Args:
      predictions: `PREDICTION`s, in any order.
      events: `EVENT`s, in any order, which does not count.
      rules: how.
    """
    order, key, time, kind = _in_order(predictions, events)
    new = np.ones(len(order), bool)
    new[1:] = (key[1:] != key[:-1]) | (time[1:] != time[:-1]) | (kind[1:] != kind[:-1])
    is_event = kind >= 0
    # A slot is an instant at which a key was predicted, once or several times.
    new_event, new_slot = new & is_event, new & ~is_event
    slots_so_far = np.cumsum(new_slot)
    event_at, slot_at = np.flatnonzero(new_event), np.flatnonzero(new_slot)
    before = np.cumsum(new_event)[slot_at]
    after = np.append(before[1:], len(event_at))
    happened, code = time[event_at], kind[event_at]
    served = time[slot_at]
    # The slot that each event follows, if it is of its key; none is the last of these, and of no key.
    follows = slots_so_far[event_at] - 1
    follows[np.append(key[slot_at], -1)[follows] != key[event_at]] = NOTHING
    follows_one = follows >= 0
    within = follows_one & (happened - np.append(served, 0)[follows] <= rules.window)

    matured = served <= rules.as_of - rules.window
    counted = np.concatenate([[0], np.cumsum(within)])
    if rules.attribution == "last":
        stop = before + counted[after] - counted[before]
    else:
        stop = _window_ends(key[slot_at], served + rules.window, key[event_at], happened)
    codes, deciding = _decide(code, before, stop, rules.conflict)

    fate = np.full(len(event_at), LATE, np.int8)
    attributed = follows[within]
    decided = np.where(codes[attributed] == code[within], REPEATED, CONFLICTING).astype(np.int8)
    fate[within] = decided
    fate[deciding[matured & (codes >= 0)]] = USED
    waiting = np.zeros(len(fate), bool)
    waiting[within] = ~matured[attributed]
    nobodys = np.flatnonzero(~follows_one)
    if len(nobodys):
        known = np.zeros(key[-1] + 1, bool)
        known[key[slot_at]] = True
        own = happened[nobodys]
        fate[nobodys] = np.where(known[key[event_at[nobodys]]] | (own < rules.earliest), EARLY, ORPHAN)
        waiting[nobodys] = own >= rules.as_of - rules.window
    fate[waiting | (happened > rules.as_of)] = CARRIED
    fates = np.full(len(events), REPEATED, np.int8)
    fates[order[event_at] - len(predictions)] = fate

    outcome = np.empty(len(predictions), np.int8)
    outcome[order[~is_event]] = np.where(matured, codes, NOTHING).astype(np.int8)[slots_so_far[~is_event] - 1]
    answered = np.flatnonzero(before < after)
    answered = answered[follows[before[answered]] == answered]
    first = happened[before[answered]]
    answered, first = answered[first <= rules.as_of], first[first <= rules.as_of]
    return Matched(outcome, fates, first - served[answered], rules.as_of - served[answered])


def _in_order(predictions: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, ...]:
    """Predictions and events by key, time, predictions first, and class.

    Returns:
      Which one each is, predictions numbered before events; and of each the number of its key, rising, its time, and its
      kind: -1 for a prediction, the class of an event.
    """
    columns = {name: np.concatenate([predictions[name], events[name]]) for name in ("first", "second", "time")}
    time = columns["time"]
    kind = columns["kind"] = np.concatenate([np.full(len(predictions), -1, np.int8), events["code"]])
    order = np.argsort(columns["first"])
    first = columns["first"][order]
    same = first[1:] == first[:-1]
    if columns["second"].any():
        second = columns["second"][order]
        if (same & (second[1:] != second[:-1])).any():
            # Two keys that share their first hash; hardly ever.
            order = order_of(columns, "first", "second", "time", "kind")
            first, second = columns["first"][order], columns["second"][order]
            same = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
            return order, _numbered(same, len(order)), time[order], kind[order]
    keys = _numbered(same, len(order))
    together = _together(keys, time[order], kind[order])
    if together is None:
        order = order_of(columns, "first", "time", "kind")
    else:
        order = order[np.argsort(together, kind="stable")]
    return order, keys, time[order], kind[order]


def _numbered(same: np.ndarray, length: int) -> np.ndarray:
    """The number of each key, from 1, by which of them are the same as the one before."""
    return np.cumsum(np.concatenate([[True], ~same])[:length])


def _together(keys: np.ndarray, time: np.ndarray, kind: np.ndarray) -> np.ndarray | None:
    """Numbers in the order of key, time and kind, int64, by which numpy sorts in a third of the time; None where they are
    too large for it."""
    if not len(keys):
        return keys
    least, kinds = int(time.min()), int(kind.max()) + 2
    times = int(time.max()) - least + 1
    if (int(keys[-1]) + 1) * times * kinds >= 1 << 63:
        return None
    return (keys * times + (time - least)) * kinds + (kind + 1)


def order_of(columns: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
    """The order of rows by some columns, int64; DuckDB sorts by several three times as fast as numpy's `lexsort`."""
    rows = pa.table({**columns, "row": np.arange(len(columns[names[0]]))})
    if not rows.num_rows:
        return np.empty(0, np.int64)
    connection = _connection()
    connection.register("given", rows)
    try:
        ordered = connection.execute(f"SELECT row FROM given ORDER BY {', '.join(names)}").fetch_arrow_table()
    finally:
        connection.unregister("given")
    return ordered["row"].to_numpy()


@functools.lru_cache(maxsize=1)
def _connection() -> Any:
    import duckdb

    # One thread: the pool's processes already use every core.
    return duckdb.connect(config={"threads": 1, "memory_limit": machine.duckdb_limit()})


def _window_ends(slot_key: np.ndarray, end: np.ndarray, key: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The number of events, in the order of key and time, that are not behind the end of each slot's window."""
    keys, times = np.concatenate([key, slot_key]), np.concatenate([time, end])
    ends = np.concatenate([np.zeros(len(key), np.int8), np.ones(len(slot_key), np.int8)])
    order = np.lexsort((ends, times, keys))
    is_end = order >= len(key)
    window_ends = np.empty(len(slot_key), np.int64)
    window_ends[order[is_end] - len(key)] = np.cumsum(~is_end)[is_end]
    return window_ends


def _decide(code: np.ndarray, start: np.ndarray, stop: np.ndarray, conflict: Keep) -> tuple[np.ndarray, np.ndarray]:
    """The class of each slot, whose events are `start` to `stop`, and the event that gives it."""
    some = stop > start
    deciding = np.where(some, stop - 1 if conflict == "last" else start, 0)
    codes = (
        np.where(some, code[deciding], NOTHING).astype(np.int8) if len(code) else np.full(len(start), NOTHING, np.int8)
    )
    if conflict == "abstain" and len(code):
        changes = np.concatenate([[0], np.cumsum(code[1:] != code[:-1])])
        codes[some & (changes[np.maximum(stop - 1, 0)] != changes[np.minimum(start, len(code) - 1)])] = DISPUTED
    return codes, deciding
