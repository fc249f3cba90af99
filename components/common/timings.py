"""Where the time of a run goes: what this process did, and when its workers were busy.

Nothing is kept unless somebody asks by `recorded`. Workers always note what they do, which costs a few clock readings an
element; the clock is the machine's, so that the notes of all processes can be put side by side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Note(NamedTuple):
    """What one process did in one stretch.

    Attributes:
      process: its number.
      kind: "work" on elements or "merge".
      began, ended: on the machine's monotonic clock, in seconds.
      cpu: seconds of processor time, of all its threads.
      elements: how many were worked on.
      merges: how many merges were done.
      merging: the seconds of `work` that were merges.
      parts: seconds within it by what they were spent on, as `spent` names it.
      returned: bytes that went back to the process that asked.
    """

    process: int
    kind: str
    began: float
    ended: float
    cpu: float = 0.0
    elements: int = 0
    merges: int = 0
    merging: float = 0.0
    parts: tuple[tuple[str, float], ...] = ()
    returned: int = 0


@dataclasses.dataclass
class Pass:
    """One graph over the elements of something.

    Attributes:
      label: what it was.
      elements, processes: how many there were.
      began, ended: on the machine's clock.
      notes: what was done, as it was heard of.
      held: the most results that waited for a merge at once in the process that asked.
    """

    label: str
    elements: int
    processes: int
    began: float
    ended: float = 0.0
    notes: list[Note] = dataclasses.field(default_factory=list)
    held: int = 0


@dataclasses.dataclass
class Record:
    """What was recorded of a run.

    Attributes:
      began, ended: on the machine's clock.
      cpu: this process's own processor time in seconds.
      passes: in their order.
      spans: stretches of this process's own work, by name: when each began and ended.
    """

    began: float
    ended: float = 0.0
    cpu: float = 0.0
    passes: list[Pass] = dataclasses.field(default_factory=list)
    spans: list[tuple[str, float, float]] = dataclasses.field(default_factory=list)


class Summary(NamedTuple):
    """What a record says of where the time went, in seconds.

    Attributes:
      wall: of the whole run.
      busy: of all workers together, on elements and merges.
      cpu: the processor time of that.
      own: the processor time of this process.
      alone: while no worker was busy: this process works, and nothing beside it.
      last: while a single worker was busy with a merge, which the tree leaves to one.
      uneven: while a single worker was busy with elements, and others had none.
      idle: what workers waited for altogether, from the first note of a pass to its last.
    """

    wall: float
    busy: float
    cpu: float
    own: float
    alone: float
    last: float
    uneven: float
    idle: float

    @property
    def serial(self) -> float:
        """The share of all work that more processes would not shorten (Amdahl's)."""
        return (self.alone + self.last) / (self.busy + self.alone)


_record: Record | None = None
_spent: dict[str, float] = {}


@contextlib.contextmanager
def recorded() -> Iterator[Record]:
    """Records what happens within it."""
    global _record
    earlier, _record = _record, Record(time.monotonic())
    own, used = _record, time.process_time()
    try:
        yield own
    finally:
        own.ended, own.cpu = time.monotonic(), time.process_time() - used
        _record = earlier


@contextlib.contextmanager
def span(name: str) -> Iterator[None]:
    """Notes a stretch of this process's own work."""
    began = time.monotonic()
    try:
        yield
    finally:
        if _record:
            _record.spans.append((name, began, time.monotonic()))


@contextlib.contextmanager
def graph(label: str, elements: int, processes: int) -> Iterator[Pass]:
    """A pass, and that it is the one that goes on."""
    own = Pass(label, elements, processes, time.monotonic())
    try:
        yield own
    finally:
        own.ended = time.monotonic()
        if _record:
            _record.passes.append(own)


@contextlib.contextmanager
def spent(what: str) -> Iterator[None]:
    """Adds the time within it to what the element that is worked on notes of `what`."""
    began = time.monotonic()
    try:
        yield
    finally:
        _spent[what] = _spent.get(what, 0.0) + time.monotonic() - began


def drawn(what: str, items: Iterator[Item]) -> Iterator[Item]:
    """The items, none of which is None; the time that they are waited for is `spent` on `what`."""
    while True:
        with spent(what):
            item = next(items, None)
        if item is None:
            return
        yield item
        del item


def parts() -> tuple[tuple[str, float], ...]:
    """What was `spent` since the last call."""
    told = tuple(_spent.items())
    _spent.clear()
    return told


class Stretch:
    """A stretch of this process's work, which begins now.

    Args:
      kind: as of `Note`.
    """

    def __init__(self, kind: str):
        self._kind, self._began, self._used = kind, time.monotonic(), time.process_time()
        parts()

    def end(self, **told: float) -> Note:
        """The note of it, with what else is told of it."""
        cpu = time.process_time() - self._used
        own = os.getpid(), self._kind, self._began, time.monotonic(), cpu
        return Note(*own, parts=parts(), **told)  # type: ignore[arg-type]


def summary(record: Record) -> Summary:
    """What a record says of where the time went."""
    notes = [each for own in record.passes for each in own.notes]
    edges = sorted(
        [(each.began, 1, each.kind == "merge") for each in notes]
        + [(each.ended, -1, each.kind == "merge") for each in notes]
    )
    alone = last = uneven = 0.0
    now, working, merging = record.began, 0, 0
    for moment, step, merge in [*edges, (record.ended, 0, False)]:
        if working == 0:
            alone += moment - now
        elif working == 1 and merging:
            last += moment - now
        elif working == 1:
            uneven += moment - now
        now, working, merging = moment, working + step, merging + step * merge
    busy = sum(each.ended - each.began for each in notes)
    idle = 0.0
    for own in record.passes:
        if own.notes:
            length = max(each.ended for each in own.notes) - min(each.began for each in own.notes)
            idle += length * max(1, own.processes) - sum(each.ended - each.began for each in own.notes)
    # One process alone is never uneven: there is nobody else.
    single = all(own.processes <= 1 for own in record.passes)
    cpu = sum(each.cpu for each in notes)
    wall = record.ended - record.began
    return Summary(wall, busy, cpu, record.cpu, alone, last, 0.0 if single else uneven, idle)
