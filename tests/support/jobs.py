"""Functions that tests hand to worker processes, which import them by this module's name."""

from __future__ import annotations

import os
import pathlib
import time

from headwater.components.common.errors import HeadwaterError


def double(item):
    return f"{item * 2};".encode()


def where(item):
    return f"{os.getpid()};".encode()


def variable(item):
    return f"{os.environ.get('HEADWATER_TEST_VALUE')};".encode()


def fail_at(bad, item):
    if item == bad:
        raise HeadwaterError(f"item {item} is bad")
    return double(item)


def fail_before(failed, bad, item):
    """As `fail_at`; what is far behind it waits for the file that says that it failed, however the system shares its cores."""
    if item == bad:
        pathlib.Path(failed).touch()
    deadline = time.monotonic() + 60
    while item > bad + 100 and not os.path.exists(failed) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.001)
    return fail_at(bad, item)


def die(item):
    os._exit(9)


def abort_at(uri, file):
    if file.uri == uri:
        os.abort()
    return b""


def abort_among(uri, held, item):
    """As `abort_at`, of the elements of a run, or of that which an item holds there."""
    for element in getattr(item, held) if held else item:
        abort_at(uri, element.file)
    return b""


def die_once(mark, item):
    if item == 4 and not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(9)
    return double(item)


def join(parts):
    return b"".join(parts)


def bracket(parts):
    return b"(" + b"".join(parts) + b")"


def slow_first(item):
    if item == 0:
        time.sleep(0.2)
    raise HeadwaterError(f"item {item} is bad")
