"""SIGKILL at every call of the store: before it, and after it is done but not known. What is there stays whole.

`HEADWATER_KILLS=all` tries every point; by default it is every 12th, a different one from step to step.
"""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from steps import KINDS, Steps, prepare

from headwater.components.common import stores

ALL = os.environ.get("HEADWATER_KILLS") == "all"
_EVERY = 1 if ALL else 12


@pytest.fixture(scope="module")
def remote(proxied, zygote, tmp_path_factory):
    uri, proxy = proxied
    steps = Steps(f"{uri}/kills", tmp_path_factory.mktemp("kills"))
    return steps, proxy, prepare(zygote, steps)


def check(steps: Steps, step: str, zygote, reference) -> None:
    """After a kill: no half result, and the next attempt gives what an undisturbed one gave."""
    if steps.is_committed(step):
        steps.check_whole(step)
    code, text = zygote.run(steps.argv(step), steps.folder / "log")
    assert code == 0, text
    steps.check_whole(step)
    assert steps.told(step) == reference[step]


def report(where: str, step: str, points: int) -> None:
    path = os.environ.get("HEADWATER_KILLS_TABLE")
    if path:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(f"| SIGKILL, {where} | {step} | {points} |\n")


@pytest.mark.parametrize(
    ("step", "when"),
    [
        pytest.param(step, when, marks=[] if number % 2 == late else pytest.mark.slow)
        for number, step in enumerate(KINDS)
        for late, when in enumerate(("before", "after"))
    ],
)
def test_a_kill_at_any_call_leaves_nothing_half(remote, zygote, step, when):
    steps, proxy, reference = remote
    point, points = 1 + list(KINDS).index(step) % _EVERY, 0
    while True:
        steps.clear(step)
        proxy.reset()
        killed = False

        def kill(call) -> None:
            nonlocal killed
            if call.number == point:
                killed = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pids[0], signal.SIGKILL)

        pids: list[int] = []
        setattr(proxy, when, lambda call: kill(call) if pids else None)
        start = {"argv": steps.argv(step), "log": str(steps.folder / "log"), "at": 0.0}
        pids += zygote.start([start])
        [code] = zygote.wait()
        proxy.reset()
        assert code == (-signal.SIGKILL if killed else 0)
        check(steps, step, zygote, reference)
        if not killed:
            break
        points += 1
        point += _EVERY
    assert points >= (8 if ALL else 1)
    report(stores.scheme(steps.root), f"{step}, {when}", points)


@pytest.fixture(scope="module")
def local(zygote, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    steps = Steps(str(folder / "root"), folder)
    return steps, prepare(zygote, steps)


@pytest.mark.parametrize("step", KINDS)
def test_a_kill_at_any_change_of_a_local_folder_leaves_nothing_half(local, zygote, step):
    steps, reference = local
    log = steps.folder / "log"
    steps.clear(step)
    code, text = zygote.run(steps.argv(step), log, root=steps.root, kill=0)
    assert code == 0, text
    changes = int((steps.folder / "log.changes").read_text())
    points = range(1 + list(KINDS).index(step) % _EVERY, changes + 1, _EVERY)
    for point in points:
        steps.clear(step)
        code, text = zygote.run(steps.argv(step), log, root=steps.root, kill=point)
        assert code == -signal.SIGKILL, text
        check(steps, step, zygote, reference)
    assert len(points) >= 1
    report("local", step, len(points))
