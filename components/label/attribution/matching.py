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
    fates = np.full(len(events), REPEATED, np.int8)
    keys, rank = _in_order(predictions, events)
    is_event = rank >= len(predictions)
    event_at = np.flatnonzero(is_event)
    own = rank[event_at] - len(predictions)
    key, time, code = keys[event_at], events["time"][own], events["code"][own]
    new = np.ones(len(own), bool)
    new[1:] = (key[1:] != key[:-1]) | (time[1:] != time[:-1]) | (code[1:] != code[:-1])
    own, key, time, code, event_at = own[new], key[new], time[new], code[new], event_at[new]

    prediction_at = np.flatnonzero(~is_event)
    mine = rank[prediction_at]
    slots = _Slots(keys[prediction_at], predictions["time"][mine])
    slot_at = prediction_at[slots.first]
    before = _count_before(event_at, len(rank))[slot_at]
    # The slot that each event follows, if it is of its key.
    follows = _count_before(slot_at, len(rank))[event_at] - 1
    some = np.flatnonzero(follows >= 0)
    follows[some[slots.key[follows[some]] != key[some]]] = NOTHING
    within = follows >= 0
    within[within] = time[within] - slots.time[follows[within]] <= rules.window

    matured = slots.time <= rules.as_of - rules.window
    counted = np.concatenate([[0], np.cumsum(within)])
    stop = np.append(before[1:], len(own))
    if rules.attribution == "last":
        stop = before + counted[stop] - counted[before]
    else:
        stop = _window_ends(slots, key, time, rules.window)
    codes, deciding = _decide(code, before, stop, rules.conflict)

    fate = fates[own]
    attributed = follows[within]
    fate[within] = np.where(codes[attributed] == code[within], REPEATED, CONFLICTING)
    chosen = deciding[matured & (codes >= 0)]
    fate[chosen] = USED
    waiting = np.flatnonzero(within)[~matured[attributed]]
    apart = ~within
    fate[apart & (follows >= 0)] = LATE
    nobodys = apart & (follows < 0)
    known = np.zeros(keys[-1] + 1 if len(keys) else 1, bool)
    known[slots.key] = True
    fate[nobodys] = np.where(known[key] | (time < rules.earliest), EARLY, ORPHAN)[nobodys]
    fate[nobodys & (time >= rules.as_of - rules.window)] = CARRIED
    fate[waiting] = CARRIED
    fate[time > rules.as_of] = CARRIED
    fates[own] = fate

    outcome = np.full(len(predictions), NOTHING, np.int8)
    outcome[mine] = np.where(matured, codes, NOTHING)[slots.of]
    answered = (before < np.append(before[1:], len(own))) & (before < len(own))
    answered[answered] = follows[before[answered]] == np.flatnonzero(answered)
    first = before[answered]
    there = time[first] <= rules.as_of
    delays = (time[first] - slots.time[answered])[there]
    return Matched(outcome, fates, delays, (rules.as_of - slots.time[answered])[there])


def _count_before(places: np.ndarray, length: int) -> np.ndarray:
    """How many of some distinct places lie before each of `length` places, int64."""
    there = np.zeros(length + 1, np.int64)
    there[places + 1] = 1
    return np.cumsum(there, out=there)


class _Slots:
    """Instants at which a key was predicted.

    Attributes:
      key, time: of each slot.
      first: the first of its predictions.
      of: the slot of each prediction.
    """

    def __init__(self, key: np.ndarray, time: np.ndarray):
        new = np.ones(len(key), bool)
        new[1:] = (key[1:] != key[:-1]) | (time[1:] != time[:-1])
        self.first = np.flatnonzero(new)
        self.of = np.cumsum(new) - 1
        self.key, self.time = key[self.first], time[self.first]


def _in_order(predictions: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and events by key, time, predictions first, and class.

    Returns:
      The number of each one's key, rising; and which one it is, predictions numbered before events.
    """
    columns = {name: np.concatenate([predictions[name], events[name]]) for name in ("first", "second", "time")}
    columns["kind"] = np.concatenate([np.full(len(predictions), -1, np.int8), events["code"]])
    order = order_of(columns, "first", "time", "kind")
    first, second = columns["first"][order], columns["second"][order]
    same = first[1:] == first[:-1]
    if (same & (second[1:] != second[:-1])).any():
        # Two keys that share their first hash; hardly ever.
        order = order_of(columns, "first", "second", "time", "kind")
        first, second = columns["first"][order], columns["second"][order]
        same = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    return np.cumsum(np.concatenate([[True], ~same])[: len(order)]), order


def order_of(columns: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
    """The order of rows by some columns, int64; DuckDB sorts by several three times as fast as numpy."""
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


def _window_ends(slots: _Slots, key: np.ndarray, time: np.ndarray, window: int) -> np.ndarray:
    """The number of events, in the order of key and time, that are not behind each slot's window."""
    keys, times = np.concatenate([key, slots.key]), np.concatenate([time, slots.time + window])
    ends = np.concatenate([np.zeros(len(key), np.int8), np.ones(len(slots.key), np.int8)])
    order = np.lexsort((ends, times, keys))
    is_end = order >= len(key)
    window_ends = np.empty(len(slots.key), np.int64)
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
