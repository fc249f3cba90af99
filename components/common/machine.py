"""How much of its machine this process may use: the cgroup's limits, as a pod has them, and the affinity mask.

Libraries ask the node for its cores and its memory, which a pod has a part of.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
from collections.abc import Iterator

_ROOT = pathlib.Path("/")
_GROUPS = "sys/fs/cgroup"
_MIB = 1 << 20

# What a worker process takes beside what it shares with the server that it was forked from, and what the driver does.
_WORKER_BYTES = 256 * _MIB
_DRIVER_BYTES = 512 * _MIB
# What DuckDB gets of a worker's part, and the most that it ever needs.
_DUCKDB_SHARE = 0.5
_DUCKDB_BYTES = (64 * _MIB, 953 * _MIB)

# Threads of native libraries: numpy's and scipy's, and TensorFlow's.
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_fitted: set[str] = set()


def cores(root: pathlib.Path = _ROOT) -> int:
    """How many cores this process may use: those of its affinity mask, or fewer where a cgroup has a quota.

    Args:
      root: where `proc` and `sys` are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [*_quotas_of_v2(root), *_quotas_of_v1(root)]
    # Of one core and a half the half is used as well.
    return max(1, min([allowed, *map(math.ceil, quotas)]))


def memory(root: pathlib.Path = _ROOT) -> int | None:
    """How many bytes of memory this process may use, by its cgroup or as the machine has them; None for unknown.

    Args:
      root: where `proc` and `sys` are.
    """
    limits = [
        number
        for folder, name in ((_folders(root, "", ""), "memory.max"), (_v1(root, "memory"), "memory.limit_in_bytes"))
        for number in _numbers(folder, name)
    ]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=None)


def processes(root: pathlib.Path = _ROOT) -> int:
    """How many worker processes are worth it: one a core, fewer where memory does not suffice for so many."""
    limit = memory(root)
    return cores(root) if limit is None else max(1, min(cores(root), (limit - _DRIVER_BYTES) // _WORKER_BYTES))


def duckdb_limit(root: pathlib.Path = _ROOT) -> str:
    """DuckDB's `memory_limit` in one worker process."""
    least, most = _DUCKDB_BYTES
    limit = memory(root)
    part = most if limit is None else int(limit / (processes(root) + 1) * _DUCKDB_SHARE)
    return f"{max(least, min(most, part)) // 1024}KiB"


def readable(amount: int) -> str:
    """An amount of memory as Kubernetes writes it, as in `2Gi`."""
    return f"{amount / (1 << 30):.3g}Gi" if amount >= 1 << 30 else f"{amount / _MIB:.3g}Mi"


def fit_threads(root: pathlib.Path = _ROOT) -> None:
    """Makes Arrow's, BLAS's and TensorFlow's threads as many as the cores, where they are fewer than the machine's.

    What the environment sets already holds.
    """
    count = cores(root)
    if count >= (os.cpu_count() or 1):
        return
    missing = set(_THREADS).difference(os.environ)
    os.environ.update(dict.fromkeys(missing, str(count)))
    _fitted.update(missing)
    import pyarrow as pa

    if "OMP_NUM_THREADS" in missing:
        pa.set_cpu_count(count)


def is_given(name: str) -> bool:
    """Whether the user has set a variable of the environment, and not `fit_threads`."""
    return name in os.environ and name not in _fitted


def _quotas_of_v2(root: pathlib.Path) -> Iterator[float]:
    for folder in _folders(root, "", ""):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _quotas_of_v1(root: pathlib.Path) -> Iterator[float]:
    for folder in _v1(root, "cpu"):
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        # -1 is no quota.
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):
            yield int(quota) / int(period)


def _numbers(folders: Iterator[pathlib.Path], name: str) -> Iterator[int]:
    """The limits of a kind; version 1 writes none as a number larger than any memory."""
    for folder in folders:
        text = _read(folder / name)
        if text.isdigit() and 0 < int(text) < 1 << 60:
            yield int(text)


def _v1(root: pathlib.Path, controller: str) -> Iterator[pathlib.Path]:
    """The folders of a controller of version 1, which stands alone or beside another."""
    for mounted in (controller, "cpu,cpuacct", "cpuacct,cpu") if controller == "cpu" else (controller,):
        if (root / _GROUPS / mounted).is_dir():
            yield from _folders(root, controller, mounted)
            return


def _folders(root: pathlib.Path, controller: str, mounted: str) -> Iterator[pathlib.Path]:
    """The folders of this process's group and of those above it, each of which limits it.

    In a container the group's own is often mounted in place of the topmost, and its path leads nowhere.
    """
    top = root / _GROUPS / mounted
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controller in controllers.split(","):
            parts = pathlib.PurePosixPath(path).parts[1:]
            # Where the group is another namespace's, its path climbs.
            if ".." not in parts:
                yield from (top.joinpath(*parts[:depth]) for depth in range(len(parts), 0, -1))
    yield top


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
