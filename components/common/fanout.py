"""Passes over a dataset spread over tasks: each does a part of the elements, and the component merges what they did.

What `beam.map_merge` does is a pass: work on each element, and a merge in a fixed tree. A component runs several, one
after the other, and is otherwise a function of its inputs. So a task that does a part runs the very component up to the
pass that is its own, with what earlier passes gave read from scratch, does its elements, leaves what they gave, and ends
(`Paused`). A task that plans runs the component up to the first pass that is worth spreading, and says which parts it has.
The component's own task, last, finds all passes done and merges: along the same tree as on one machine, so that the bytes
are the same, whatever the number of parts.

    <data_root>/_scratch/fanout-<run, component and dataset>/
      pass-<n>/plan.json   the pass: what its elements are, and where each part begins and ends
      pass-<n>/part-<k>    what a part gave: the largest subtrees that lie in it, merged
      pass-<n>/merged      the pass's result
      folder-<n>/          what is scratch of the component itself, such as votes and spilled keys

A part that runs twice writes the same files with the same bytes; one that is done is adopted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.items import Numbered, name_of
from headwater.components.common.merge_tree import Merge, Tree, leaf, merge_leaves, unpack

BYTES_OF_A_ROW = 200
"""What a row counts in a pass over bytes."""

Graph = Callable[[Sequence[Any], Sequence[int], Callable[[Any], bytes], Merge], bytes]


class Paused(BaseException):
    """What this task had to do is done. No failure, so that nothing on the way tidies up after one.

    Attributes:
      parts: names of the parts that come next.
    """

    def __init__(self, parts: Sequence[str] = ()):
        super().__init__(*parts)
        self.parts = list(parts)


def plan(folder: str, component: Callable[[], object], rows: int) -> list[str]:
    """Runs a component up to the first pass that is worth spreading.

    Args:
      folder: URI of the run's scratch, as `folder_of` gives it.
      component: runs it whole.
      rows: about how many rows a part has.

    Returns:
      The names of the parts that are not done yet; none where the rest is not worth spreading.

    Raises:
      HeadwaterError: what the component raises, or its input changed since the first plan.
    """
    try:
        with _running(_Run(folder, rows=rows)):
            component()
    except Paused as paused:
        return paused.parts
    return []


def part(folder: str, component: Callable[[], object], name: str) -> None:
    """Does one part, unless it is done.

    Args:
      folder, component: as `plan` takes them.
      name: one of the names that `plan` gave.

    Raises:
      HeadwaterError: as `plan`; or there is no such part.
    """
    number, _, place = name.partition("-")
    if not (number.isdigit() and place.isdigit()):
        raise HeadwaterError(
            f"part: {name!r} does not name a part; names come from the task that plans, for example 0-3"
        )
    with contextlib.suppress(Paused), _running(_Run(folder, part=(int(number), int(place)))):
        component()


@contextlib.contextmanager
def adopted(component: str, project: Mapping[str, Any], dataset: str = "") -> Iterator[None]:
    """Within it a component adopts what the parts of its run did, and at its end their scratch goes.

    It does nothing where nothing was spread: outside of a run on a cluster, without a `data_root`, or without parts.

    Args:
      component, project, dataset: as `folder_of` takes them; of `dataset` its folder does as well.
    """
    folder = folder_of(component, project, dataset)
    if not folder or not storage.exists(_plan_of(folder, 0)):
        yield
        return
    with _running(_Run(folder)):
        yield
    with contextlib.suppress(HeadwaterError):
        storage.delete_folder(folder)


def folder_of(component: str, project: Mapping[str, Any], dataset: str = "") -> str:
    """The URI of a run's scratch for what a component does to a dataset; empty without a run or a `data_root`.

    Args:
      component: its name.
      project: the settings of a pipeline.
      dataset: the URI of what it reads, or a folder with its manifest; empty where it reads none.
    """
    from headwater.components.common.results import MANIFEST, load
    from headwater.components.common.runs import RUN

    run, root = os.environ.get(RUN, ""), (project.get("platform") or {}).get("data_root") or ""
    if not run or not root:
        return ""
    if dataset and storage.exists(storage.join(storage.normalise(dataset), MANIFEST)):
        dataset = load(dataset, "dataset", "labels", "statistics").uri
    key = hashlib.sha256(json.dumps([run, component, dataset]).encode()).hexdigest()
    return storage.join(storage.normalise(root), "_scratch", f"fanout-{key[:16]}")


def current() -> _Run | None:
    """The run that this process does a part of, if it does."""
    return _current


def hold() -> None:
    """Ends a task that plans or does a part, before its component would leave a result: that is its own task's."""
    if _current and not _current.whole:
        raise Paused


def attempt_id() -> str:
    """A name that no other attempt of any step has; all tasks of a run that is spread have the same."""
    return _current.name() if _current else storage.attempt_id()


def once(name: str, find: Callable[[], Any]) -> Any:
    """What `find` gives; in a run that is spread, what it gave the first task that asked.

    Args:
      name: of what is found.
      find: gives a value of JSON's.
    """
    if not _current:
        return find()
    uri = storage.join(_current.folder, f"{name}.json")
    if not storage.exists(uri):
        storage.create(uri, json.dumps(find()).encode())
    return json.loads(storage.read_bytes(uri))


class _Run:
    """One task of a run that is spread: one that plans (`rows`), that does a part (`part`), or the component's own."""

    def __init__(self, folder: str, rows: int = 0, part: tuple[int, int] | None = None):
        self.folder, self._rows, self._part = folder, rows, part
        self._passes = self._folders = self._names = 0

    @property
    def whole(self) -> bool:
        """Whether this is the component's own task."""
        return not self._rows and self._part is None

    def name(self) -> str:
        """A name, the same in each task when it is asked for in the same order."""
        self._names += 1
        return hashlib.sha256(f"{self.folder} {self._names}".encode()).hexdigest()[:12]

    def scratch(self) -> str:
        """URI of a folder, likewise."""
        self._folders += 1
        return storage.join(self.folder, f"folder-{self._folders}")

    def run(
        self,
        label: str,
        items: Sequence[Any],
        sizes: Sequence[int],
        unit: str,
        work: Callable[[Any], bytes],
        merge: Merge,
        graph: Graph,
    ) -> bytes:
        """Does what this task has to do of a pass.

        Args:
          label, items, sizes, unit, work, merge: as `beam.map_merge` takes them.
          graph: runs work on items, and merges.

        Returns:
          The pass's result, where the task goes on after it.
        """
        number = self._passes
        self._passes += 1
        place = _Pass(self.folder, number, tuple(self._bounds(sizes, unit)), _identity(label, items, sizes))
        place = place.agreed(label)
        known = place.result()
        if known is not None:
            return known
        run = functools.partial(self._do, place, items, sizes, work, merge, graph)
        if self._part:
            own, part = self._part
            if own != number or not place.has(part):
                raise HeadwaterError(
                    f"part: {own}-{part} does not belong to pass {number} ({label}), the first that is not merged; parts run "
                    "after the task that plans them"
                )
            if not place.done(part):
                run(part)
            raise Paused
        missing = [part for part in range(place.parts) if not place.done(part)]
        if missing and self._rows and place.parts > 1:
            raise Paused([f"{number}-{part}" for part in missing])
        for part in missing:
            run(part)
        return place.merge(merge)

    def _bounds(self, sizes: Sequence[int], unit: str) -> list[int]:
        """Where parts begin, and where the last one ends."""
        whole = self._rows * (BYTES_OF_A_ROW if unit == "bytes" else 1)
        ends = np.cumsum(sizes)
        parts = -(-int(ends[-1]) // whole) if whole else 1
        cuts = np.searchsorted(ends, np.arange(1, parts) * ends[-1] / parts)
        return sorted({0, *(int(cut) for cut in cuts), len(sizes)})

    def _do(
        self,
        place: _Pass,
        items: Sequence[Any],
        sizes: Sequence[int],
        work: Callable[[Any], bytes],
        merge: Merge,
        graph: Graph,
        part: int,
    ) -> None:
        start, stop = place.bounds[part], place.bounds[part + 1]
        numbered = [Numbered(number, items[number]) for number in range(start, stop)]
        tree = Tree(len(items))
        content = graph(
            numbered, sizes[start:stop], functools.partial(leaf, work), functools.partial(merge_leaves, tree, merge)
        )
        place.leave(part, content)


@dataclasses.dataclass(frozen=True)
class _Pass:
    """A pass as it lies in scratch."""

    folder: str
    number: int
    bounds: tuple[int, ...]
    identity: str

    @property
    def parts(self) -> int:
        return len(self.bounds) - 1

    def has(self, part: int) -> bool:
        return 0 <= part < self.parts

    def agreed(self, label: str) -> _Pass:
        """The pass as the first task planned it.

        Raises:
          HeadwaterError: that one had other elements.
        """
        uri = _plan_of(self.folder, self.number)
        own = {"pass": label, "identity": self.identity, "bounds": list(self.bounds)}
        if not storage.exists(uri) and storage.create(uri, (json.dumps(own) + "\n").encode()):
            return self
        told = json.loads(storage.read_bytes(uri))
        if told["identity"] != self.identity:
            raise HeadwaterError(
                f"{label}: the input is not what it was when this run began: its files or their sizes changed; run the "
                "pipeline again"
            )
        return dataclasses.replace(self, bounds=tuple(told["bounds"]))

    def result(self) -> bytes | None:
        return storage.read_bytes(self._at("merged")) if storage.exists(self._at("merged")) else None

    def done(self, part: int) -> bool:
        return storage.exists(self._part(part))

    def leave(self, part: int, content: bytes) -> None:
        storage.write_bytes(self._part(part), content)

    def merge(self, merge: Merge) -> bytes:
        """Merges the parts, each once."""
        tree = Tree(self.bounds[-1])
        nodes: dict[tuple[int, int], bytes] = {}
        for part in range(self.parts):
            own = unpack(storage.read_bytes(self._part(part)))
            covered = sorted(tree.leaves(node) for node in own)
            ends = [self.bounds[part], *(stop for _, stop in covered)]
            if ends[-1] != self.bounds[part + 1] or ends[:-1] != [start for start, _ in covered]:
                raise HeadwaterError(
                    f"{self._part(part)}: it does not hold the elements {self.bounds[part]} to {self.bounds[part + 1]} "
                    "once each; remove the file, and run the task again"
                )
            nodes = tree.joined({**nodes, **own}, merge)
        content = nodes[tree.root]
        storage.write_bytes(self._at("merged"), content)
        return content

    def _part(self, part: int) -> str:
        return self._at(f"part-{part:05d}")

    def _at(self, name: str) -> str:
        return storage.join(_place_of(self.folder, self.number), name)


def _identity(label: str, items: Sequence[Any], sizes: Sequence[int]) -> str:
    told = [label, [name_of(item) for item in items], [int(size) for size in sizes]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _place_of(folder: str, number: int) -> str:
    return storage.join(folder, f"pass-{number:02d}")


def _plan_of(folder: str, number: int) -> str:
    return storage.join(_place_of(folder, number), "plan.json")


_current: _Run | None = None


@contextlib.contextmanager
def _running(run: _Run) -> Iterator[None]:
    global _current
    assert _current is None, "a task does one thing"
    _current = run
    try:
        yield
    finally:
        _current = None
