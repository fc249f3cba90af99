"""What of the Beam graph needs Beam: its options, its steps, and a run of it. Importing this imports Beam.

`beam.map_merge` is the way in; it imports this when there is work, as `local_beam` says.
"""

from __future__ import annotations

# ruff: noqa: E402 – the filter below stands before the imports that it is for.
import collections
import functools
import itertools
import logging
import re
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

# Google's libraries announce ends of support on every import; no user of a data pipeline can act on it.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")

# Beam tells on every import what is not installed that nothing here needs, such as MongoDB's client.
logging.disable(logging.WARNING)
import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

logging.disable(logging.NOTSET)

from headwater.components.common import storage, user_code
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.items import name_of
from headwater.components.common.merge_tree import GROUP
from headwater.components.common.pool import FAILED, Begun, Pool, attempt, run_alone
from headwater.components.common.progress import Progress

LOCAL = "FnApiRunner"
"""The runner that works in this process."""

_LOCAL_RUNNERS = ("", "DirectRunner", "BundleBasedDirectRunner", "FnApiRunner", "PrismRunner", "SwitchingDirectRunner")


def _if_interactive(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments) if "apache_beam.runners.interactive.interactive_environment" in sys.modules else None


# In a notebook Beam has each pipeline load scripts from another host and warn of packages that draw collections; unless
# Interactive Beam was imported, nobody has asked for that.
for _name in ("alter_label_if_ipython", "is_in_ipython"):
    if hasattr(beam.pipeline, _name):
        setattr(beam.pipeline, _name, functools.partial(_if_interactive, getattr(beam.pipeline, _name)))

# Beam logs what a step raises with its traceback, and then raises it; a helpful sentence is printed once.
logging.getLogger("apache_beam.runners.common").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], HeadwaterError))
)

_ENDED = re.compile(r"Pipeline \S+ failed in state ")
_BEAMS_REMARK = re.compile(r" \[while running '[^']*'\]")

# A run's progress, items and pool, for the DoFns that happen to live in the driver's process. Beam would pickle and compress the
# items several times over on their way to them.
_progress: dict[str, Progress] = {}
_items: dict[str, Sequence[Any]] = {}
_begun: dict[str, Begun] = {}


def pipeline_options(beam_pipeline_args: Sequence[str]) -> PipelineOptions:
    """Beam's options, with the local runner named so that nothing is downloaded or started.

    `DirectRunner` would first try to fetch and start Prism; here it means Beam's in-process runner.

    Raises:
      HeadwaterError: a runner or a mode that is known to lose data or to open ports without authentication.
    """
    options = PipelineOptions(list(beam_pipeline_args))
    standard = options.view_as(StandardOptions)
    runner = standard.runner or ""
    if runner.rpartition(".")[2] == "DaskRunner":
        raise HeadwaterError(
            "beam_pipeline_args: DaskRunner loses data silently and is not supported; use DirectRunner or a portable "
            "runner"
        )
    if runner.rpartition(".")[2] in _LOCAL_RUNNERS:
        mode = options.view_as(DirectOptions).direct_running_mode
        if mode == "multi_processing":
            raise HeadwaterError(
                "beam_pipeline_args: direct_running_mode=multi_processing opens ports without authentication; leave "
                "it out; all cores are used anyway"
            )
        standard.runner = LOCAL
    return options


def is_local(options: PipelineOptions) -> bool:
    """Whether the graph runs in this process."""
    return options.view_as(StandardOptions).runner == LOCAL


def temp_location(options: PipelineOptions) -> str:
    """Beam's `--temp_location`; empty where there is none and this process can do without.

    Raises:
      HeadwaterError: the workers run elsewhere.
    """
    location = options.view_as(GoogleCloudOptions).temp_location or ""
    if not location and not is_local(options):
        raise HeadwaterError(
            f"beam_pipeline_args: the workers of {options.view_as(StandardOptions).runner} run on other machines; set "
            "data_root, or Beam's --temp_location, to storage that they can reach"
        )
    return location


def run(
    options: PipelineOptions,
    label: str,
    items: Sequence[Any],
    sizes: Sequence[int],
    work: Callable[[Any], bytes],
    merge: Callable[[list[bytes]], bytes],
    processes: int,
    preload: Sequence[str],
    progress: Progress,
    target: str,
    begun: Begun | None = None,
) -> None:
    """Runs the graph, and writes its result.

    Args:
      options: what `pipeline_options` gives.
      label, items, sizes, work, merge, preload: as `beam.map_merge` takes them.
      processes: of each Beam worker; 0 for none beside its own.
      progress: is told of each element that is done where this process does it.
      target: URI of the result, which is `WORKED` or `FAILED` and what `attempt` gives.
      begun: the pool of this process, and the items that it has begun with, where the graph runs in it.
    """
    run = uuid.uuid4().hex
    _progress[run] = progress
    local = is_local(options)
    if local:
        _items[run] = items
    if begun:
        _begun[run] = begun
    carried = itertools.repeat(None) if local else items
    try:
        with beam.Pipeline(options=options) as pipeline:
            # In this process a pool spreads the items; other runners spread what is shuffled.
            elements = beam.Create(list(zip(range(len(items)), carried, sizes)), reshuffle=not local)
            results = (
                pipeline
                | f"{label}/Elements" >> elements
                | f"{label}/Work" >> beam.ParDo(_Work(work, processes, tuple(preload), run, label.partition(":")[0]))
            )
            width, level = len(items), 0
            while width > 1:
                results = (
                    results
                    | f"{label}/Group{level}" >> beam.Map(_to_group)
                    | f"{label}/Shuffle{level}" >> beam.GroupByKey()
                    | f"{label}/Merge{level}" >> beam.Map(functools.partial(_merge_group, merge))
                )
                width, level = -(-width // GROUP), level + 1
            if not level:
                results = results | f"{label}/Merge" >> beam.Map(functools.partial(_merge_alone, merge))
            _ = results | f"{label}/Result" >> beam.Map(functools.partial(_write_result, target))
    except HeadwaterError as error:
        error.args = (_BEAMS_REMARK.sub("", str(error)),)
        raise
    except RuntimeError as error:
        # Wrong input is in results: this is the engine's, such as a worker that it lost, or our own bug with its traceback.
        if not _ENDED.match(str(error)) or "Traceback" in str(error):
            raise
        raise HeadwaterError(
            f"{label}: Beam's runner ended the job: {error}. Run it again: what was written by then does not count"
        ) from error
    finally:
        del _progress[run]
        _items.pop(run, None)
        _begun.pop(run, None)


class _Work(beam.DoFn):
    """Runs elements in a process pool, a bounded number at a time, results in the elements' order."""

    def __init__(self, work: Callable[[Any], bytes], processes: int, preload: tuple[str, ...], run: str, task: str):
        self._task = task
        self._work, self._processes, self._preload, self._run = work, processes, preload, run
        self._functions = user_code.packed()

    def setup(self) -> None:
        user_code.unpack(self._functions)
        self._begun = _begun.get(self._run)
        self._own = None if self._begun else Pool(self._processes, self._preload)

    def start_bundle(self) -> None:
        self._pending: collections.deque = collections.deque()

    def process(self, element: tuple[int, Any, int]) -> Iterator[tuple[int, bytes]]:
        index, item, size = element
        if self._run in _items:
            item = _items[self._run][index]
        while len(self._pending) >= 2 * max(self._processes, 1):
            yield self._next()
        future = self._begun.take(index) if self._begun else None
        pool = self._begun.pool if self._begun and future else self._pool
        self._pending.append((index, item, size, pool, future or pool.submit(attempt, self._work, item)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._pending:
            yield WindowedValue(self._next(), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def teardown(self) -> None:
        if self._own:
            self._own.close()

    @property
    def _pool(self) -> Pool:
        pool = self._own or (self._begun.pool if self._begun else None)
        assert pool is not None, "set up makes one unless one has begun"
        return pool

    def _next(self) -> tuple[int, bytes]:
        index, item, size, pool, future = self._pending.popleft()
        try:
            result = future.result()
        except BrokenProcessPool:
            # A process died, and all work in flight with it. One by one the culprit shows.
            if pool is self._pool:
                pool.close()
                self._own = Pool(self._processes, self._preload)
            result = run_alone(self._work, item, name_of(item), self._task, self._preload)
        if self._run in _progress:
            _progress[self._run].advance(size)
        return index, result


def _to_group(pair: tuple[int, bytes]) -> tuple[int, tuple[int, bytes]]:
    return pair[0] // GROUP, pair


def _merge_group(
    merge: Callable[[list[bytes]], bytes], group: tuple[int, Iterable[tuple[int, bytes]]]
) -> tuple[int, bytes]:
    results = [result for _, result in sorted(group[1])]
    for result in results:
        if result[:1] == FAILED:
            return group[0], result
    return group[0], attempt(merge, [result[1:] for result in results])


def _merge_alone(merge: Callable[[list[bytes]], bytes], pair: tuple[int, bytes]) -> tuple[int, bytes]:
    return _merge_group(merge, (pair[0], [pair]))


def _write_result(target: str, pair: tuple[int, bytes]) -> None:
    storage.write_bytes(target, pair[1])
