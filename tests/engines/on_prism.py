"""Runs a command beside Prism and a worker pool, with Beam's options for them at its end.

    unshare --map-root-user --net --pid --fork --kill-child python on_prism.py PRISM FOLDER COMMAND…

Both listen on every interface, so this runs in a network of its own. It is the first process there: when it ends, the
kernel ends all others. FOLDER gets their logs and is the place that driver and workers share.
"""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
import time

_JOB_PORT, _POOL_PORT = 8073, 50000
_SECONDS_TO_START = 60


def main(prism: str, folder: str, *command: str) -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # The pool starts its workers by the name `python`.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    # They import what the command's graphs call from this folder.
    modules = os.pathsep.join([os.path.dirname(os.path.abspath(__file__)), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": modules.rstrip(os.pathsep)}
    servers = {
        "prism": [prism, f"-job_port={_JOB_PORT}", "-serve_http=false"],
        "pool": [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={_POOL_PORT}"],
    }
    for name, server in servers.items():
        with open(pathlib.Path(folder) / f"{name}.log", "wb") as log:
            subprocess.Popen(server, stdout=log, stderr=subprocess.STDOUT, env=environment)
    for port in (_JOB_PORT, _POOL_PORT):
        _wait(port)
    options = [
        "--runner=PortableRunner",
        f"--job_endpoint=localhost:{_JOB_PORT}",
        "--environment_type=EXTERNAL",
        f"--environment_config=localhost:{_POOL_PORT}",
        f"--temp_location={folder}",
    ]
    return subprocess.run([*command, *options], env=environment).returncode


def _wait(port: int) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        try:
            socket.create_connection(("localhost", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
