"""The one Beam graph: work on each element, merge the results in a fixed order, bring one result back.

An element is small (a file and its range), its result a mergeable state as bytes. The same graph runs on every
runner. Results are merged along a tree over the elements' order, never in the order of bundles, so that a
cluster, a laptop and one worker give the same bytes.

Beam is imported when there is work, after what a component can refuse without it.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from headwater.components.common import fanout, local_beam, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.progress import Progress
from headwater.components.common.retries import StoreError
from headwater.components.common.scheduling import Job, begun, opened, processes_for

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

Item = TypeVar("Item")


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
    if not items:
        check_options(beam_pipeline_args)
        return merge([])
    run = functools.partial(
        _run, label, unit=unit, beam_pipeline_args=beam_pipeline_args, workers=workers, scratch=scratch, preload=preload
    )
    spread = fanout.current()
    if spread:
        return spread.run(label, items, sizes, unit, work, merge, run)
    return run(items, sizes, work, merge)


def _run(
    label: str,
    items: Sequence[Item],
    sizes: Sequence[int],
    work: Callable[[Item], bytes],
    merge: Callable[[list[bytes]], bytes],
    *,
    unit: str,
    beam_pipeline_args: Sequence[str],
    workers: int,
    scratch: str,
    preload: Sequence[str],
) -> bytes:
    """What `map_merge` does, here and now."""
    # Without options the workers are this process's, which is known without Beam.
    options = pipeline_options(beam_pipeline_args) if beam_pipeline_args else None
    local = options is None or local_beam.graph(beam_pipeline_args).is_local(options)
    scratch = scratch or _temp_location(beam_pipeline_args)
    processes = processes_for(items, workers, local)
    job = Job(label, items, sizes, work, merge, processes, tuple(preload))
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        target = storage.join(scratch or temporary, f"_result-{uuid.uuid4().hex}")
        stack.enter_context(_removed_at_the_end(storage.delete, target))
        # Workers here are busy while this process imports Beam and puts the graph together.
        here = stack.enter_context(begun(job, unit)) if local else None
        if not local:
            stack.enter_context(Progress(label, sum(sizes), unit))
        if options is None:
            options = pipeline_options(beam_pipeline_args)
        local_beam.graph(beam_pipeline_args).run(options, job, target, here)
        return opened(storage.read_bytes(target))


@contextlib.contextmanager
def scratch_folder(beam_pipeline_args: Sequence[str] = (), scratch: str = "") -> Iterator[str]:
    """URI of a folder that the driver and all workers reach, removed at the end.

    Args:
      beam_pipeline_args, scratch: as `map_merge` takes them.
    """
    spread = fanout.current()
    if spread:
        # It goes with the run's scratch: other tasks read it.
        yield spread.scratch()
        return
    scratch = scratch or _temp_location(beam_pipeline_args)
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
    """Beam's options, checked, with the local runner named so that nothing is downloaded or started.

    Raises:
      HeadwaterError: a runner or a mode that is known to lose data or to open ports without authentication.
    """
    return local_beam.graph(beam_pipeline_args).pipeline_options(beam_pipeline_args)


def check_options(beam_pipeline_args: Sequence[str]) -> None:
    """Refuses what `pipeline_options` does; imports Beam only where there is an option.

    Raises:
      HeadwaterError: as `pipeline_options`.
    """
    if beam_pipeline_args:
        pipeline_options(beam_pipeline_args)


def _temp_location(beam_pipeline_args: Sequence[str]) -> str:
    """Beam's `--temp_location`; empty where the workers are this machine's and there is none."""
    if not beam_pipeline_args:
        return ""
    graph = local_beam.graph(beam_pipeline_args)
    options = graph.pipeline_options(beam_pipeline_args)
    return graph.temp_location(options)
