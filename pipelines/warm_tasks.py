"""Tasks of kfp's local runner in processes that have their imports already.

kfp starts an interpreter for each task, which imports Beam, Arrow and kfp anew: seconds for each, whatever the data. Here a
task is forked from the server that worker processes are forked from as well (`common/pool.py`), which has imported them
once while kfp compiled the pipeline. All else is kfp's: the component's source from the compiled pipeline, its executor, a
process for each task and its exit code.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from headwater.components.common import pool

PRELOAD = (
    "kfp.dsl.executor_main",
    "headwater.components.collect.ingest",
    "headwater.components.label.labelling",
    "headwater.components.generate_statistics.compute",
    "headwater.components.generate_statistics.measure.work",
    "headwater.components.infer_schema.derive",
    "headwater.components.validate.check",
)
"""What all tasks import between them."""

_EXECUTOR = "kfp.dsl.executor_main"


def warm_up(beam_pipeline_args: Sequence[str]) -> None:
    """Starts the server, so that it imports while this process goes on.

    Args:
      beam_pipeline_args: those that the tasks will have.
    """
    beam = "headwater.components.common.beam_graph" if beam_pipeline_args else "headwater.pipelines.beam_of_tasks"
    pool.warm_up((*PRELOAD, beam))


@contextlib.contextmanager
def warm_tasks() -> Iterator[Any]:
    """Within it kfp's `SubprocessRunner`, which it gives, takes tasks from the server, where they are as it makes them today."""
    from kfp import local
    from kfp.local import subprocess_task_handler as handler

    cold = handler.run_local_subprocess

    def run(full_command: Sequence[str], **options: Any) -> int:
        # Later releases give a task variables of its own, where it has any.
        task = None if any(options.values()) else _parse(full_command)
        return _run(*task) if task else cold(full_command=full_command, **options)

    handler.run_local_subprocess = run
    try:
        yield local.SubprocessRunner(use_venv=False)
    finally:
        handler.run_local_subprocess = cold


def _parse(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """A component's source and its executor's arguments: what follows a shell's program; None for another command."""
    if len(command) > 4 and command[0] == "sh" and _EXECUTOR in command[2] and command[4].startswith("--"):
        return command[3], list(command[4:])
    return None


def _run(source: str, arguments: list[str]) -> int:
    """Runs a task, prints what it prints, and gives its exit code."""
    receiver, sender = os.pipe()
    with open(receiver, encoding="utf-8", errors="replace") as lines:
        process = pool.start(_task, _Output(sender), os.getcwd(), source, arguments)
        os.close(sender)
        for line in lines:
            print(line, end="")
    # Between the logs of tasks, as kfp does.
    print("\n")
    process.join()
    return process.exitcode


class _Output:
    """The end of a pipe that a task writes to, on its way to the task's process."""

    def __init__(self, end: int):
        self._end = end

    def __reduce__(self) -> tuple[Any, tuple[Any]]:
        from multiprocessing.reduction import DupFd

        return _detach, (DupFd(self._end),)


def _detach(duplicate: Any) -> int:
    return duplicate.detach()


def _task(output: int, folder: str, source: str, arguments: list[str]) -> None:
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.close(output)
    os.chdir(folder)
    # Functions that settings name lie where the user works.
    if folder not in sys.path:
        sys.path.append(folder)
    from kfp.dsl.executor_main import executor_main

    with tempfile.TemporaryDirectory() as place:
        program = pathlib.Path(place, "ephemeral_component.py")
        program.write_text(source, encoding="utf-8")
        sys.argv = [_EXECUTOR, "--component_module_path", str(program), *arguments]
        executor_main()
