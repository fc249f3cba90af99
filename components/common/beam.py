"""The one Beam graph: work on each element, merge the results in a fixed order, bring one result back.

An element is small (a file and its range), its result a mergeable state as bytes. The same graph runs on every
runner. Results are merged along a tree over the elements' order, never in the order of bundles, so that a
cluster, a laptop and one worker give the same bytes.
"""

from __future__ import annotations

# ruff: noqa: E402 – the filter below stands before the imports that it is for.
import collections
import contextlib
import functools
import logging
import re
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

# Google's libraries announce ends of support on every import; no user of a data pipeline can act on it.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")

# Beam tells on every import what is not installed that nothing here needs, such as MongoDB's client.
logging.disable(logging.WARNING)
import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

logging.disable(logging.NOTSET)

from headwater.components.common import machine, storage, user_code
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.pool import FAILED, Pool, attempt, run_alone
from headwater.components.common.progress import Progress
from headwater.components.common.retries import StoreError

Item = TypeVar("Item")

_FANOUT = 16
_LOCAL_RUNNERS = ("", "DirectRunner", "BundleBasedDirectRunner", "FnApiRunner", "PrismRunner", "SwitchingDirectRunner")

# Beam logs what a step raises with its traceback, and then raises it; a helpful sentence is printed once.
logging.getLogger("apache_beam.runners.common").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], HeadwaterError))
)
_BEAMS_REMARK = re.compile(r" \[while running '[^']*'\]")

# A run's progress, for the DoFns that happen to live in the driver's process.
_progress: dict[str, Progress] = {}


def map_merge(
    label: str,
    items: Sequence[Item],
    work: Callable[[Item], bytes],
    merge: Callable[[list[bytes]], bytes],
    *,
    sizes: Sequence[int],
    unit: str = "rows",
    beam_pipeline_args: Sequence[str] = (),
    workers: int = 0,
    scratch: str = "",
    preload: Sequence[str] = (),
) -> bytes:
    """Runs `work` on each item and merges the results, on any Beam runner.

    Args:
      label: what this is, for progress and step names.
      items: picklable elements, in the order that merging keeps.
      work: a module-level function, or a `functools.partial` of one; runs in a pool of processes.
      merge: merges the results of neighbouring items. Associative; also called with a single result, and with
        none when there are no items.
      sizes: each item's size in `unit`s.
      unit: "rows" or "bytes".
      beam_pipeline_args: Beam's command-line options. Without a runner, and with DirectRunner, the graph runs
        in this process.
      workers: processes per Beam worker; 0 means one per core, 1 means none beside Beam's own, which then ends with
        a file that ends its reader.
      scratch: URI of a folder that the driver and all workers reach; by default Beam's `--temp_location`, else a
        temporary folder, which serves the in-process runner.
      preload: modules that the pool's server imports once.

    Returns:
      The merged result.

    Raises:
      HeadwaterError: raised by `work` or `merge`, or an option that cannot be honoured.
    """
    options = pipeline_options(beam_pipeline_args)
    if not items:
        return merge([])
    local = options.view_as(StandardOptions).runner == "FnApiRunner"
    scratch = _scratch(options, scratch)
    processes = workers or machine.processes()
    if local:
        processes = min(processes, len(items))
    # One process more is worth it for what could end this one, as some damaged files do.
    if workers == 1 or (processes == 1 and not any(_may_abort(item) for item in items)):
        processes = 0
    run = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as temporary, Progress(label, sum(sizes), unit) as progress:
        _progress[run] = progress
        target = storage.join(scratch or temporary, f"_result-{run}")
        with _removed_at_the_end(storage.delete, target):
            try:
                with beam.Pipeline(options=options) as pipeline:
                    # In this process a pool spreads the items; other runners spread what is shuffled.
                    elements = beam.Create(list(zip(range(len(items)), items, sizes)), reshuffle=not local)
                    results = (
                        pipeline
                        | f"{label}/Elements" >> elements
                        | f"{label}/Work"
                        >> beam.ParDo(_Work(work, processes, tuple(preload), run, label.partition(":")[0]))
                    )
                    width, level = len(items), 0
                    while width > 1:
                        results = (
                            results
                            | f"{label}/Group{level}" >> beam.Map(_to_group)
                            | f"{label}/Shuffle{level}" >> beam.GroupByKey()
                            | f"{label}/Merge{level}" >> beam.Map(functools.partial(_merge_group, merge))
                        )
                        width, level = -(-width // _FANOUT), level + 1
                    if not level:
                        results = results | f"{label}/Merge" >> beam.Map(functools.partial(_merge_alone, merge))
                    _ = results | f"{label}/Result" >> beam.Map(functools.partial(_write_result, target))
            except HeadwaterError as error:
                error.args = (_BEAMS_REMARK.sub("", str(error)),)
                raise
            finally:
                del _progress[run]
            content = storage.read_bytes(target)
        if content[:1] == FAILED:
            raise HeadwaterError(content[1:].decode())
    return content[1:]


@contextlib.contextmanager
def scratch_folder(beam_pipeline_args: Sequence[str] = (), scratch: str = "") -> Iterator[str]:
    """URI of a folder that the driver and all workers reach, removed at the end.

    Args:
      beam_pipeline_args, scratch: as `map_merge` takes them.
    """
    options = pipeline_options(beam_pipeline_args)
    scratch = _scratch(options, scratch)
    if scratch:
        folder = storage.join(scratch, f"_scratch-{uuid.uuid4().hex}")
        with _removed_at_the_end(storage.delete_folder, folder):
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
        yield folder


@contextlib.contextmanager
def _removed_at_the_end(remove: Callable[[str], None], uri: str) -> Iterator[None]:
    """Tries to remove scratch. What stays is `headwater gc`'s, and no reason to fail or to hide why a run failed."""
    try:
        yield
    except StoreError:
        # It was waited for already.
        raise
    except BaseException:
        with contextlib.suppress(HeadwaterError):
            remove(uri)
        raise
    with contextlib.suppress(HeadwaterError):
        remove(uri)


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
        standard.runner = "FnApiRunner"
    return options


def _scratch(options: PipelineOptions, scratch: str) -> str:
    scratch = scratch or options.view_as(GoogleCloudOptions).temp_location or ""
    runner = options.view_as(StandardOptions).runner
    if runner != "FnApiRunner" and not scratch:
        raise HeadwaterError(
            f"beam_pipeline_args: the workers of {runner} run on other machines; set data_root, or Beam's "
            "--temp_location, to storage that they can reach"
        )
    return scratch


class _Work(beam.DoFn):
    """Runs elements in a process pool, a bounded number at a time, results in the elements' order."""

    def __init__(self, work: Callable[[Any], bytes], processes: int, preload: tuple[str, ...], run: str, task: str):
        self._task = task
        self._work, self._processes, self._preload, self._run = work, processes, preload, run
        self._functions = user_code.packed()

    def setup(self) -> None:
        user_code.unpack(self._functions)
        self._pool = Pool(self._processes, self._preload)

    def start_bundle(self) -> None:
        self._pending: collections.deque = collections.deque()

    def process(self, element: tuple[int, Any, int]) -> Iterator[tuple[int, bytes]]:
        index, item, size = element
        while len(self._pending) >= 2 * max(self._processes, 1):
            yield self._next()
        self._pending.append((index, item, size, self._pool.submit(attempt, self._work, item)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        while self._pending:
            yield WindowedValue(self._next(), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def teardown(self) -> None:
        self._pool.close()

    def _next(self) -> tuple[int, bytes]:
        index, item, size, future = self._pending.popleft()
        try:
            result = future.result()
        except BrokenProcessPool:
            # A process died, and all work in flight with it. One by one the culprit shows.
            self._pool.close()
            self._pool = Pool(self._processes, self._preload)
            result = run_alone(self._work, item, _name_of(item), self._task, self._preload)
        if self._run in _progress:
            _progress[self._run].advance(size)
        return index, result


def _name_of(item: Any) -> str:
    """The URI of the file that an item is about, for messages."""
    return next((file.uri for file in _files_of(item)), "a part of the work")


def _may_abort(item: Any) -> bool:
    from headwater.components.common.sources.formats import FORMATS

    formats = (FORMATS.get(getattr(file, "format", "")) for file in _files_of(item))
    return any(format.may_abort for format in formats if format)


def _files_of(item: Any) -> Iterator[Any]:
    """What has a `uri` in an item: a file or a shard, alone, in a tuple, or as a part of an element."""
    for part in item if type(item) is tuple else [item]:
        holders = [part, *(getattr(part, name, None) for name in ("file", "element", "plain"))]
        holders += [getattr(getattr(part, name, None), "file", None) for name in ("element", "plain")]
        yield from (holder for holder in holders if isinstance(getattr(holder, "uri", None), str))


def _to_group(pair: tuple[int, bytes]) -> tuple[int, tuple[int, bytes]]:
    return pair[0] // _FANOUT, pair


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
