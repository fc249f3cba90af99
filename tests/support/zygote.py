"""A process that has imported everything and forks a child for each command line: a run starts in milliseconds.

It reads JSON lines from its standard input: `argv`, a command line of headwater; `env`, variables of the child; `log`,
where its output goes; `at`, when to start, in seconds of the clock; `root` and `kill`, for local folders: the child
kills itself before its `kill`-th change below `root`, or with 0 writes the number of its changes to `<log>.changes`.
It answers with the child's process id, and when it has ended with its exit code, as lines of JSON.
"""

from __future__ import annotations

import json
import multiprocessing.util
import os
import shutil
import signal
import sys
import threading
import time

_CHANGES = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir"}


def _preload() -> None:
    import apache_beam  # noqa: F401
    import boto3.session  # noqa: F401
    import duckdb  # noqa: F401
    import google.cloud.storage  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.dataset  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import tensorflow_data_validation  # noqa: F401

    from headwater.components import collect, generate_statistics, infer_schema, label, validate

    for module in (collect, label, generate_statistics, infer_schema, validate):
        for name in module.__all__:
            getattr(module, name)


def _count_changes(root: str, kill: int, log: str) -> None:
    changes = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal changes
        if event not in _CHANGES or not any(isinstance(each, str) and each.startswith(root) for each in arguments):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        changes += 1
        if changes == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if not kill:
            with open(f"{log}.changes", "w") as stream:
                stream.write(str(changes))

    sys.addaudithook(watch)


def _run(command: dict) -> None:
    os.setsid()
    os.environ.update(command.get("env", {}))
    stream = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    from headwater.pipelines.cli import main

    if "root" in command:
        _count_changes(command["root"], command["kill"], command["log"])
    time.sleep(max(0.0, command.get("at", 0.0) - time.time()))
    try:
        code = main(command["argv"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    shutil.rmtree(multiprocessing.util.get_temp_dir(), ignore_errors=True)
    os._exit(code)


def serve() -> None:
    _preload()
    assert threading.active_count() == 1, threading.enumerate()
    print(json.dumps({"ready": len(os.listdir("/proc/self/task"))}), flush=True)
    for line in sys.stdin:
        commands = json.loads(line)
        children = []
        for command in commands:
            child = os.fork()
            if not child:
                try:
                    _run(command)
                finally:
                    os._exit(71)
            children.append(child)
        print(json.dumps(children), flush=True)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    serve()
