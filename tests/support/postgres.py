"""A real PostgreSQL server on loopback, for as long as a test session lasts."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator


def binaries() -> pathlib.Path | None:
    """The folder of the server's programs, if it is installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return pathlib.Path(there).parent if there else None


@contextlib.contextmanager
def server() -> Iterator[dict[str, str]]:
    """Starts a server; gives the `PG*` variables that reach it."""
    # It refuses to run as root.
    user = None
    if os.geteuid() == 0:
        user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
    folder = tempfile.mkdtemp(prefix="headwater-pg-")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = pathlib.Path(folder) / "secret"
    secret.write_text("a-secret-password\n")
    if user:
        for path in (folder, secret):
            shutil.chown(path, user)
    programs = binaries()
    run = {"user": user} if user else {}
    initialise = [
        programs / "initdb",
        "-D",
        f"{folder}/data",
        "-A",
        "scram-sha-256",
        "-U",
        "tester",
        f"--pwfile={secret}",
    ]
    subprocess.run(
        [*map(str, initialise), "-E", "UTF8", "--locale=C"], check=True, capture_output=True, cwd=folder, **run
    )
    started = subprocess.Popen(
        [str(programs / "postgres"), "-D", f"{folder}/data", "-p", str(port), "-k", folder]
        + ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        **run,
    )
    variables = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": "tester",
        "PGPASSWORD": "a-secret-password",
        "PGDATABASE": "postgres",
    }
    try:
        for _ in range(100):
            ready = subprocess.run([str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)])
            if ready.returncode == 0:
                break
            time.sleep(0.1)
        yield variables
    finally:
        # The fast shutdown: the smart one of SIGTERM waits for clients that are still connected.
        started.send_signal(signal.SIGINT)
        started.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
