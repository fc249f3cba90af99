"""The elements of a graph on a pool of processes: runs of neighbours, merged where they were worked on.

What a run gave comes back merged as far as the tree allows, and what came back is merged by the pool as soon as all that
belongs together is there. So this process merges nothing itself, and holds few results, however many elements there are.

It knows nothing of Beam, so that worker processes need not import it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from headwater.components.common import machine, timings
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.items import may_abort, name_of
from headwater.components.common.merge_tree import Merge, Node, Tree
from headwater.components.common.pool import FAILED, Pool, attempt, run_alone
from headwater.components.common.progress import Progress

Work = Callable[[Any], bytes]
Results = dict[Node, bytes]


class Job(NamedTuple):
    """What is to be done.

    Attributes:
      label, items, sizes, work, merge, preload: as `beam.map_merge` takes them.
      processes: as `Pool` takes them.
      total: of the items, where they are not here.
    """

    label: str
    items: Sequence[Any]
    sizes: Sequence[int]
    work: Work
    merge: Merge
    processes: int
    preload: tuple[str, ...] = ()
    total: int = 0

    @property
    def tree(self) -> Tree:
        """The tree over the items."""
        return Tree(self.total or len(self.items))

    def runs(self) -> Iterator[tuple[int, int]]:
        """The items in runs."""
        return self.tree.runs(self.processes)


def processes_for(items: Sequence[Any], workers: int, local: bool = True) -> int:
    """How many processes a pool has for items, as `Pool` takes it.

    Args:
      items: what is worked on.
      workers: as `beam.map_merge` takes it.
      local: whether this process's pool has all of them.
    """
    processes = workers or machine.processes()
    if local:
        processes = min(processes, len(items))
    # One process more is worth it for what could end this one, as some damaged files do.
    alone = workers == 1 or (processes == 1 and not any(may_abort(item) for item in items))
    return 0 if alone else processes


class _Task(NamedTuple):
    """What the pool was given: a run of elements, or the results that a node is merged from."""

    pool: Pool
    node: Node
    items: Sequence[Any]
    contents: Sequence[bytes]
    size: int


class Scheduler:
    """Works on elements, in the order in which they are given, and merges what they give along the tree.

    Results are those of `pool.attempt`. Where one is a failure, no element after it is begun, and it is all that is left.

    Args:
      job: what is to be done.
      notes: is given what is noted.
      told: is called with the size of what is done.
    """

    def __init__(self, job: Job, notes: timings.Pass | None = None, told: Callable[[int], None] | None = None):
        self._job, self._tree = job, job.tree
        self._pool = Pool(job.processes, job.preload)
        self._tasks: dict[concurrent.futures.Future, _Task] = {}
        self._notes = notes or timings.Pass(job.label, 0, job.processes, 0.0)
        self._told = told or (lambda size: None)
        self._begun = 0
        self._beginning: concurrent.futures.Future | None = None
        self.reset()

    def reset(self) -> None:
        """Forgets what was done: other elements come."""
        self._nodes: Results = {}
        self._failed: Node | None = None

    def begin(self) -> None:
        """Gives a pool as many of the job's runs as it has use for; in a thread, as processes that start are waited for."""
        if self._job.processes:
            starter = concurrent.futures.ThreadPoolExecutor(1)
            self._beginning = starter.submit(self._begin)
            starter.shutdown(wait=False)

    def _begin(self) -> None:
        for start, stop in self._job.runs():
            if self._is_full():
                return
            self._add_run(start, stop)
            self._begun = stop

    def _have_begun(self) -> None:
        if self._beginning:
            beginning, self._beginning = self._beginning, None
            beginning.result()

    def add_own(self, start: int, stop: int) -> None:
        """Adds a run of the job's own items, unless it was begun with."""
        self._have_begun()
        if start >= self._begun:
            self._add_run(start, stop)

    def _add_run(self, start: int, stop: int) -> None:
        self.add(start, self._job.items[start:stop], sum(self._job.sizes[start:stop]))

    def add(self, start: int, items: Sequence[Any], size: int = 0) -> None:
        """Starts a run, once fewer tasks wait than the pool has use for.

        Args:
          start: the number of its first element.
          items: its elements.
          size: of them altogether.
        """
        while self._is_full():
            self._take()
        if self._failed is None or start < self._tree.leaves(self._failed)[0]:
            self._submit(_Task(self._pool, (0, start), items, (), size))

    def finish(self) -> Results:
        """Waits for all of it.

        Returns:
          The nodes that have no parent yet, as some of its other children were never here.
        """
        self._have_begun()
        while self._tasks:
            self._take()
        return self._nodes if self._failed is None else {self._failed: self._nodes[self._failed]}

    def close(self) -> None:
        """Ends the processes."""
        with contextlib.suppress(Exception):
            # What is wrong was told where it was waited for, or something else was earlier.
            self._have_begun()
        self._pool.close()

    def _is_full(self) -> bool:
        return len(self._tasks) >= 2 * max(self._job.processes, 1)

    def _submit(self, task: _Task) -> None:
        if task.items:
            future = task.pool.submit(work_on, self._job.work, self._job.merge, self._tree, task.node[1], task.items)
        else:
            future = task.pool.submit(merge_one, self._job.merge, task.node, task.contents)
        self._tasks[future] = task

    def _take(self) -> None:
        done, _ = concurrent.futures.wait(self._tasks, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            task = self._tasks.pop(future)
            try:
                nodes, note = future.result()
                self._notes.notes.append(note)
            except BrokenProcessPool:
                nodes = self._again(task)
            self._told(task.size)
            for node, content in nodes.items():
                self._put(node, content)

    def _again(self, task: _Task) -> Results:
        """Does a task whose process died, or another's beside it: one by one the culprit shows."""
        component = self._job.label.partition(":")[0]
        if task.pool is self._pool:
            self._pool.close()
            self._pool = Pool(self._job.processes, self._job.preload)
        if not task.items:
            return {
                task.node: run_alone(self._job.merge, task.contents, "a merge of results", component, self._job.preload)
            }
        nodes: Results = {}
        for number, item in enumerate(task.items, task.node[1]):
            nodes[0, number] = run_alone(self._job.work, item, name_of(item), component, self._job.preload)
            if nodes[0, number][:1] == FAILED:
                break
        return nodes

    def _put(self, node: Node, content: bytes) -> None:
        """Keeps a result, and has it merged where all that belongs with it is there."""
        self._nodes[node] = content
        held = len(self._nodes) + sum(len(task.contents) for task in self._tasks.values())
        self._notes.held = max(self._notes.held, held)
        if content[:1] == FAILED:
            first = self._tree.leaves(node)[0]
            if self._failed is None or first < self._tree.leaves(self._failed)[0]:
                self._failed = node
        elif self._failed is None and (parent := ready(self._tree, node, self._nodes)):
            contents = [self._nodes.pop(child) for child in self._tree.children(parent)]
            self._submit(_Task(self._pool, parent, (), [each[1:] for each in contents], 0))


@contextlib.contextmanager
def begun(job: Job, unit: str) -> Iterator[Scheduler]:
    """What works on a job in a pool of this process, which has begun with it.

    Args:
      job: what is to be done.
      unit: of its sizes.
    """
    with (
        Progress(job.label, sum(job.sizes), unit) as progress,
        timings.graph(job.label, len(job.items), job.processes) as notes,
        contextlib.closing(Scheduler(job, notes, progress.advance)) as here,
    ):
        here.begin()
        yield here


def run_here(
    label: str,
    items: Sequence[Any],
    work: Work,
    merge: Merge,
    *,
    sizes: Sequence[int],
    unit: str,
    workers: int = 0,
    preload: Sequence[str] = (),
    **_: Any,
) -> bytes:
    """As `beam.map_merge`, for what is no work over rows: few and small things that Beam need not be imported for.

    Raises:
      HeadwaterError: as `beam.map_merge`.
    """
    job = Job(label, items, sizes, work, merge, processes_for(items, workers), tuple(preload))
    with begun(job, unit) as here:
        for start, stop in job.runs():
            here.add_own(start, stop)
        return opened(next(iter(here.finish().values())))


def opened(result: bytes) -> bytes:
    """What a result holds.

    Raises:
      HeadwaterError: it is a failure.
    """
    if result[:1] == FAILED:
        raise HeadwaterError(result[1:].decode())
    return result[1:]


def ready(tree: Tree, node: Node, nodes: Mapping[Node, bytes]) -> Node | None:
    """The parent of a node, where all of its children are there."""
    if node == tree.root:
        return None
    parent = tree.parent(node)
    return parent if all(child in nodes for child in tree.children(parent)) else None


def work_on(work: Work, merge: Merge, tree: Tree, start: int, items: Sequence[Any]) -> tuple[Results, timings.Note]:
    """Works on neighbouring elements, and merges what they give as far as it goes. Runs in a worker.

    Args:
      work, merge, tree: as `Scheduler` takes them.
      start: the number of the first of the items.
      items: the elements.

    Returns:
      The nodes that are left: results as `attempt` gives them. After a failure there are no more.
    """
    stretch, merging, merges = timings.Stretch("work"), 0.0, 0
    nodes: Results = {}
    for number, item in enumerate(items, start):
        node: Node = (0, number)
        nodes[node] = attempt(work, item)
        while nodes[node][:1] != FAILED and (parent := ready(tree, node, nodes)):
            since = time.monotonic()
            contents = [nodes.pop(child)[1:] for child in tree.children(parent)]
            nodes[parent], node = attempt(merge, contents), parent
            merging, merges = merging + time.monotonic() - since, merges + 1
        if nodes[node][:1] == FAILED:
            break
    size = sum(map(len, nodes.values()))
    return nodes, stretch.end(elements=len(items), merges=merges, merging=merging, returned=size)


def merge_one(merge: Merge, node: Node, contents: Sequence[bytes]) -> tuple[Results, timings.Note]:
    """Merges results that came back, none of them a failure. Runs in a worker."""
    stretch, since = timings.Stretch("merge"), time.monotonic()
    merged = attempt(merge, contents)
    return {node: merged}, stretch.end(merges=1, merging=time.monotonic() - since, returned=len(merged))


def join(tree: Tree, merge: Merge, parts: Mapping[Node, bytes]) -> Results:
    """As much of several nodes as goes together, merged here; the first failure alone where there is one."""
    failed = [node for node in parts if parts[node][:1] == FAILED]
    if failed:
        first = min(failed, key=tree.leaves)
        return {first: parts[first]}

    def merged(contents: list[bytes]) -> bytes:
        failure = next((content for content in contents if content[:1] == FAILED), None)
        return failure or attempt(merge, [content[1:] for content in contents])

    return tree.joined(parts, merged)
