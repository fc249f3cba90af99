"""What a process may use of its machine, from cgroups of both versions, as they lie on disk and as the kernel has them."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

from headwater.components.common import machine

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
NONE_OF_V1 = "9223372036854771712"


def tree(root, groups, **files):
    """Files of `/proc/self/cgroup` and `/sys/fs/cgroup` under a folder; `/` is written `__` in their names."""
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / (name if name.startswith("proc") else "sys/fs/cgroup/" + name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    "text, cores",
    [
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("max 100000", ALLOWED),
        ("", ALLOWED),
        ("x y", ALLOWED),
    ]
    + [("150000 100000", min(2, ALLOWED)), ("6400000 100000", ALLOWED), ("100000 0", ALLOWED)],
)
def test_a_quota_of_version_2_gives_the_cores(tmp_path, text, cores):
    assert machine.cores(tree(tmp_path, "0::/", **{"cpu.max": text})) == cores


@pytest.mark.parametrize("mounted", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize("quota, cores", [("100000", 1), ("50000", 1), ("-1", ALLOWED), ("6400000", ALLOWED)])
def test_a_quota_of_version_1_gives_the_cores(tmp_path, mounted, quota, cores):
    files = {f"{mounted}/cpu.cfs_quota_us": quota, f"{mounted}/cpu.cfs_period_us": "100000"}
    assert machine.cores(tree(tmp_path, "4:cpu,cpuacct:/docker/0a1b\n0::/", **files)) == cores


def test_every_group_above_limits_what_is_in_it(tmp_path):
    inner, outer = str(2 << 30), str(1 << 30)
    files = {"pods/one/memory.max": inner, "pods/memory.max": outer, "memory.max": "max", "pods/other/memory.max": "5"}
    root = tree(tmp_path, "0::/pods/one", **files)
    assert machine.memory(root) == 1 << 30
    (root / "sys/fs/cgroup/pods/cpu.max").write_text("100000 100000")
    (root / "sys/fs/cgroup/pods/one/cpu.max").write_text("max 100000")
    assert machine.cores(root) == 1


@pytest.mark.parametrize("groups", ["0::/", "0::/../../other", "0::/kubepods/of/the/node", "", "nothing of the kind"])
def test_where_a_container_sees_its_own_group_at_the_top_the_path_does_not_matter(tmp_path, groups):
    assert machine.memory(tree(tmp_path, groups, **{"memory.max": str(300 << 20)})) == 300 << 20


def test_memory_of_version_1_and_no_limit(tmp_path):
    whole = machine.memory(tmp_path / "nowhere")
    assert whole == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    root = tree(tmp_path, "5:memory:/a", **{"memory/a/memory.limit_in_bytes": str(700 << 20)})
    assert machine.memory(root) == 700 << 20
    (root / "sys/fs/cgroup/memory/a/memory.limit_in_bytes").write_text(NONE_OF_V1)
    assert machine.memory(root) == whole


@pytest.mark.parametrize("mebibytes, processes", [(100, 1), (768, 1), (1024, min(2, ALLOWED)), (1 << 16, ALLOWED)])
def test_as_many_processes_as_memory_suffices_for(tmp_path, mebibytes, processes):
    assert machine.processes(tree(tmp_path, "0::/", **{"memory.max": str(mebibytes << 20)})) == processes


def test_duckdb_gets_a_part_of_the_memory(tmp_path):
    import duckdb

    told = {}
    for mebibytes in (64, 1024, 1 << 20):
        root = tree(tmp_path, "0::/", **{"memory.max": str(mebibytes << 20), "cpu.max": "100000 100000"})
        with duckdb.connect(config={"memory_limit": machine.duckdb_limit(root)}) as connection:
            told[mebibytes] = connection.execute("SELECT current_setting('memory_limit')").fetchone()[0]
    assert told == {64: "64.0 MiB", 1024: "256.0 MiB", 1 << 20: "953.0 MiB"}


def test_amounts_are_as_kubernetes_writes_them():
    assert [machine.readable(amount) for amount in (2 << 30, 1536 << 20, 300 << 20)] == ["2Gi", "1.5Gi", "300Mi"]


@pytest.fixture
def group():
    """A real cgroup of version 1 or 2 with one core's quota and 1 GiB; its files that take a process."""
    made = []
    v1 = {"cpu": {"cpu.cfs_quota_us": "100000"}, "memory": {"memory.limit_in_bytes": str(1 << 30)}}
    top = pathlib.Path("/sys/fs/cgroup")
    try:
        places = v1 if (top / "memory").is_dir() else {"": {"cpu.max": "100000 100000", "memory.max": str(1 << 30)}}
        for controller, limits in places.items():
            folder = top / controller / f"headwater-test-{os.getpid()}"
            folder.mkdir()
            made.append(folder)
            for name, text in limits.items():
                (folder / name).write_text(text)
    except OSError as error:
        for folder in made:
            folder.rmdir()
        pytest.skip(f"no cgroup can be made here: {error}")
    yield [folder / "cgroup.procs" for folder in made]
    for folder in made:
        folder.rmdir()


def test_in_a_real_cgroup_threads_and_processes_follow(group):
    program = textwrap.dedent(
        """
        import os, sys
        for name in sys.argv[1:]:
            with open(name, "w") as file:
                file.write(str(os.getpid()))
        import headwater.components.common
        import pyarrow
        import threadpoolctl, numpy
        from headwater.components.common import expressions, machine, pool
        blas = {each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"}
        limit = expressions._connection().execute("SELECT current_setting('memory_limit')").fetchone()[0]
        print(machine.cores(), machine.memory() >> 20, machine.processes(), pyarrow.cpu_count(), blas, limit)
        """
    )
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program, *group], capture_output=True, text=True, env=clean, check=False
    )
    threads = "{1}" if (os.cpu_count() or 1) > 1 else done.stdout.split()[4]
    assert (done.stdout.strip(), done.returncode) == (f"1 1024 1 1 {threads} 256.0 MiB", 0), done.stderr
