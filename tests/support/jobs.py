"""Functions that tests hand to worker processes, which import them by this module's name."""

from __future__ import annotations

import os
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


def die(item):
    os._exit(9)


def abort_at(uri, file):
    if file.uri == uri:
        os.abort()
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
