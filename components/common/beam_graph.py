"""What of the Beam graph needs Beam: its options, its steps, and a run of it. Importing this imports Beam.

`beam.map_merge` is the way in; it imports this when there is work, as `local_beam` says.
"""

from __future__ import annotations

# ruff: noqa: E402 – the filter below stands before the imports that it is for.
import functools
import logging
import re
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from headwater.components.common.merge_tree import GROUP, Merge, Node, Tree
from headwater.components.common.scheduling import Job, Scheduler, join

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

# What works on the jobs whose driver is this process, for the DoFns that happen to live in it.
_here: dict[str, Scheduler] = {}
# The results of those jobs that are on their way.
_lying: dict[str, list[bytes]] = {}

# Where processes are elsewhere, so that nobody knows how many: elements come in about so many runs.
_RUNS = 256


class _Options(PipelineOptions):
    """Beam's options, each view of which is made once: Beam asks for sixty a graph, and would make a parser for each."""

    def view_as(self, cls: type) -> Any:
        views = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]

    def __getstate__(self) -> Any:
        return {name: value for name, value in super().__getstate__().items() if name != "_views"}


def pipeline_options(beam_pipeline_args: Sequence[str]) -> PipelineOptions:
    """Beam's options, with the local runner named so that nothing is downloaded or started.

    `DirectRunner` would first try to fetch and start Prism; here it means Beam's in-process runner.

    Raises:
      HeadwaterError: a runner or a mode that is known to lose data or to open ports without authentication.
    """
    options = _Options(list(beam_pipeline_args))
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


def run(options: PipelineOptions, job: Job, target: str, here: Scheduler | None) -> None:
    """Runs the graph, and writes its result.

    Args:
      options: what `pipeline_options` gives.
      job: what is to be done.
      target: URI of the result, which is `WORKED` or `FAILED` and what `attempt` gives.
      here: of this process, which has begun with the job; None where the workers are elsewhere.
    """
    run, label, tree = uuid.uuid4().hex, job.label, job.tree
    if here:
        _here[run] = here
    try:
        with beam.Pipeline(options=options) as pipeline:
            # In this process a pool spreads the items; other runners spread what is shuffled.
            elements = (
                pipeline
                | f"{label}/Impulse" >> beam.Impulse()
                | f"{label}/Elements" >> beam.ParDo(_Elements(_elements(job, here is not None)))
            )
            if not here:
                elements = elements | f"{label}/SpreadElements" >> beam.Reshuffle()
            work = _Work(job._replace(items=(), sizes=(), total=len(job.items)), run)
            results = elements | f"{label}/Work" >> beam.ParDo(work)
            # Here all is one bundle, and so one result already.
            for level in [tree.root[0]] if here else _levels(tree):
                results = (
                    results
                    | f"{label}/Group{level}" >> beam.ParDo(_ToGroup(level))
                    | f"{label}/Shuffle{level}" >> beam.GroupByKey()
                    | f"{label}/Merge{level}" >> beam.ParDo(_MergeGroup(tree, job.merge, run))
                )
            _ = results | f"{label}/Result" >> beam.ParDo(_WriteResult(target, run))
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
        _here.pop(run, None)
        _lying.pop(run, None)


def _elements(job: Job, here: bool) -> list[tuple[int, int, Sequence[Any]]]:
    """What Beam calls elements: runs of the job's, each with its bounds, and its items where they have to travel."""
    if here:
        # Beam would pickle and compress the items several times over.
        return [(start, stop, ()) for start, stop in job.runs()]
    return [(start, stop, job.items[start:stop]) for start, stop in job.tree.equal_runs(_RUNS)]


def _levels(tree: Tree) -> list[int]:
    """The levels at which results meet: each second one, and the last."""
    return [*range(2, tree.root[0], 2), tree.root[0]]


class _Step(beam.DoFn):
    """A step of the graph. Beam inspects every method that a step lists, eight times a graph: a quarter of what a small one costs."""

    def __dir__(self) -> list[str]:
        return [name for name in vars(type(self)) if not name.startswith("_")]


class _Elements(_Step):
    """Gives what Beam calls elements."""

    def __init__(self, elements: list[tuple[int, int, Sequence[Any]]]):
        self._elements = elements

    def process(self, start: bytes) -> Iterator[tuple[int, int, Sequence[Any]]]:
        yield from self._elements


class _Work(_Step):
    """Runs elements in a process pool, a bounded number at a time, and merges what meets in a bundle."""

    def __init__(self, job: Job, run: str):
        self._job, self._run = job, run
        self._functions = user_code.packed()

    def setup(self) -> None:
        user_code.unpack(self._functions)
        self._own = None if self._run in _here else Scheduler(self._job)

    def start_bundle(self) -> None:
        if self._own:
            self._own.reset()

    def process(self, element: tuple[int, int, Sequence[Any]]) -> Iterable[tuple[Node, bytes]]:
        start, stop, items = element
        if self._own:
            self._own.add(start, items)
        else:
            _here[self._run].add_own(start, stop)
        return ()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for node, content in (self._own or _here[self._run]).finish().items():
            result = node, _left(self._run, content)
            yield WindowedValue(result, GlobalWindow().max_timestamp(), [GlobalWindow()])

    def teardown(self) -> None:
        if self._own:
            self._own.close()


class _ToGroup(_Step):
    """Puts a result under the number of the node at a level that is above it, or below it."""

    def __init__(self, level: int):
        self._level = level

    def process(self, result: tuple[Node, bytes]) -> Iterator[tuple[int, tuple[Node, bytes]]]:
        (own, number), level = result[0], self._level
        yield (number // GROUP ** (level - own) if own <= level else number * GROUP ** (own - level)), result


class _MergeGroup(_Step):
    """Merges the results of a group as far as they go."""

    def __init__(self, tree: Tree, merge: Merge, run: str):
        self._tree, self._merge, self._run = tree, merge, run

    def process(self, group: tuple[int, Iterable[tuple[Node, bytes]]]) -> Iterator[tuple[Node, bytes]]:
        parts = {node: _taken(self._run, content) for node, content in group[1]}
        for node, content in join(self._tree, self._merge, parts).items():
            yield node, _left(self._run, content)


class _WriteResult(_Step):
    """Writes the one result that is left."""

    def __init__(self, target: str, run: str):
        self._target, self._run = target, run

    def process(self, result: tuple[Node, bytes]) -> Iterable[None]:
        storage.write_bytes(self._target, _taken(self._run, result[1]))
        # Beam warns of a step that gives nothing back.
        return ()


def _left(run: str, content: bytes) -> bytes:
    """What travels in a result's place: where its job's driver is this process, a number. Beam would copy it many times."""
    if run not in _here:
        return content
    left = _lying.setdefault(run, [])
    left.append(content)
    return str(len(left) - 1).encode()


def _taken(run: str, content: bytes) -> bytes:
    """The result that something travelled in the place of."""
    return _lying[run][int(content)] if run in _here else content
