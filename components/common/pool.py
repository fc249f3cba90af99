"""A pool of worker processes that uses every core of one machine, safe beside gRPC and TensorFlow threads."""

from __future__ import annotations

import concurrent.futures.process
import contextlib
import functools
import gc
import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import spawn
from typing import Any

from headwater.components.common import machine, user_code
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.items import halves_of, name_of

WORKED, FAILED = b"\0", b"\1"

# A process that is ended by a signal leaves semaphores, which the tracker removes; it need not tell the user.
_UNTOLD = {"PYTHONWARNINGS": "ignore:resource_tracker:UserWarning"}
_SERVER = "headwater.components.common.worker_server"

# Processes use every core already; numpy's threads, which wait busily, would take half of each.
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"

# Memory that is freed is kept for the next batch, which needs as much: the system would clear every page of it anew. The
# C library's settings, in bytes, and Arrow's memory by it: Arrow's own allocators give it back sooner.
_MEMORY = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


def warm_up(preload: Sequence[str], workers: int = 0) -> None:
    """Starts the server that pools fork from, so that it imports `preload` while this process goes on.

    Its imports take as much processor time as those of this process, so call it for work that needs a pool.

    Args:
      preload: as `Pool` takes it.
      workers: as `beam.map_merge` takes it; with 1 there is no pool, and nothing is started.
    """
    if (workers or machine.processes()) > 1:
        _start_server(preload)


class Pool:
    """Runs functions in processes forked from a clean server, never from this process and its threads.

    Args:
      workers: how many processes; 0 runs functions in this process.
      preload: names of the modules that the server imports once for all its processes. It is one server for the
        life of this process, so the first pool's list counts; later ones are imported where they are used.
    """

    def __init__(self, workers: int, preload: Sequence[str]):
        self._executor = None
        if workers:
            context = _start_server(preload)
            # The server keeps the environment that it was started in; credentials may have been set since.
            self._executor = concurrent.futures.ProcessPoolExecutor(
                workers,
                mp_context=context,
                initializer=_adopt,
                initargs=(_environment(), user_code.packed()),
            )

    def submit(self, function: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future:
        """Starts `function(*arguments)`; both must pickle."""
        if self._executor is None:
            future: concurrent.futures.Future = concurrent.futures.Future()
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)
            return future
        with _without_main():
            try:
                return self._executor.submit(function, *arguments)
            except (concurrent.futures.process.BrokenProcessPool, OSError) as error:
                # A process that dies while another starts breaks the pool's pipes before the pool says so.
                future = concurrent.futures.Future()
                future.set_exception(concurrent.futures.process.BrokenProcessPool(str(error)))
                return future

    def close(self) -> None:
        """Ends the processes; work not started is dropped."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)


def attempt(work: Callable[[Any], bytes], item: Any) -> bytes:
    """Runs `work(item)`. What is wrong with the user's data is a result: Beam would retry an exception and bury it.

    Returns:
      `WORKED` and the result, or `FAILED` and the message of a `HeadwaterError`.
    """
    # It stands here and not beside the graph, so that worker processes need not import Beam.
    try:
        return WORKED + work(item)
    except HeadwaterError as error:
        return FAILED + str(error).encode()


def run_alone(work: Callable[[Any], bytes], item: Any, name: str, task: str, preload: Sequence[str]) -> bytes:
    """Runs `attempt(work, item)` in a process of its own, after the process that ran it beside others has died.

    Args:
      work, item: as `attempt` takes them.
      name: of the item, for the message; a file's URI where it is one.
      task: the component that it is work of, as in "collect", for the message too.
      preload: as `Pool` takes it.

    Returns:
      What `attempt` gives; when this process dies as well a failure that names the item, or the part of it at fault.
    """
    context = _start_server(preload)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, _environment(), user_code.packed(), work, item))
    with _without_main():
        process.start()
    sender.close()
    try:
        return receiver.recv_bytes()
    except EOFError:
        process.join()
        for half in halves_of(item):
            told = run_alone(work, half, name_of(half), task, preload)
            if told[:1] == FAILED:
                return told
        return FAILED + _died(name, task, process.exitcode or 0).encode()
    finally:
        receiver.close()
        process.join()


def _died(name: str, task: str, code: int) -> str:
    if code == -signal.SIGKILL:
        limit = machine.memory()
        has = (
            f"the memory of {machine.readable(limit)} that {task} may use"
            if limit
            else f"the memory that {task} may use"
        )
        return (
            f"{name}: the worker process that handled it was killed twice (signal SIGKILL), as the system does when {has} "
            f"does not suffice; raise resources.memory of {task}, or set workers to 1"
        )
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return (
        f"{name}: the worker process that handled it died twice ({how}); the file may be damaged, or need more memory "
        "than there is"
    )


def start(function: Callable[..., None], *arguments: Any) -> Any:
    """Starts `function(*arguments)` in a process of its own, forked from the clean server with this one's environment.

    Args:
      function, arguments: they must pickle.

    Returns:
      The process, started, as `multiprocessing` describes it.
    """
    process = _start_server(()).Process(target=_call, args=(dict(os.environ), function, arguments))
    with _without_main():
        process.start()
    return process


def _call(environment: dict[str, str], function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    _adopt(environment)
    # One of its own: the folder of this process's server goes with that server.
    multiprocessing.current_process()._config.pop("tempdir", None)  # type: ignore[attr-defined]
    function(*arguments)


def _send(sender: Any, environment: dict[str, str], functions: bytes, work: Callable[[Any], bytes], item: Any) -> None:
    _adopt(environment, functions)
    sender.send_bytes(attempt(work, item))
    sender.close()


def _adopt(environment: dict[str, str], functions: bytes = b"") -> None:
    # What the server has imported is no garbage, neither while this process works nor when it ends.
    gc.freeze()
    gc.enable()
    user_code.unpack(functions)
    os.environ.clear()
    os.environ.update(environment)
    # It may be known from an earlier environment.
    tempfile.tempdir = None
    # A worker whose parent was killed would wait for work for ever, and its server with it.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _start_server(preload: Sequence[str]) -> Any:
    """The context of the server that processes fork from, which starts unless it runs."""
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_SERVER, *preload])
    earlier = dict(os.environ)
    # They are read when the server imports numpy, and when the tracker starts.
    os.environ.update({**_UNTOLD, **_environment()})
    try:
        with _without_main():
            forkserver.ensure_running()
    finally:
        for name in set(os.environ).difference(earlier):
            del os.environ[name]
        os.environ.update(earlier)
    return context


def _environment() -> dict[str, str]:
    """This process's environment as worker processes have it."""
    ours = {_BLAS_THREADS: "1", **_MEMORY}
    return {**os.environ, **{name: value for name, value in ours.items() if not machine.is_given(name)}}


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    # A new worker would import the main module again: a user's unguarded script would run twice, and kfp's
    # executor would cost every worker a second.
    _starting.without_main = True
    try:
        yield
    finally:
        _starting.without_main = False


class _Starting(threading.local):
    """Whether this thread starts a process of ours."""

    without_main = False


_starting = _Starting()


def _prepare(original: Callable[[str], dict[str, Any]], name: str) -> dict[str, Any]:
    """What a new process is told of this one; another's processes are told all of it."""
    told = original(name)
    if _starting.without_main:
        for key in ("init_main_from_name", "init_main_from_path"):
            told.pop(key, None)
    return told


spawn.get_preparation_data = functools.partial(_prepare, spawn.get_preparation_data)
