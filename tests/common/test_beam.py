from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest
from apache_beam.options.pipeline_options import StandardOptions
from jobs import abort_among, abort_at, bracket, die, die_once, double, fail_at, join, variable, where

from headwater.components.common import beam
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.items import Numbered, Run
from headwater.components.common.merge_tree import Tree, leaf, pack, unpack
from headwater.components.common.sources import Element, SourceFile
from headwater.components.generate_statistics.measure import work


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 300])
def test_results_are_merged_in_the_items_order(count):
    items = list(range(count))
    content = beam.map_merge("t", items, double, join, sizes=[1] * count, workers=1)
    assert content == b"".join(double(item) for item in items)


def test_the_tree_of_merging_depends_on_the_items_alone():
    results = {
        beam.map_merge("t", list(range(40)), double, bracket, sizes=[1] * 40, workers=workers) for workers in (1, 2, 3)
    }
    assert len(results) == 1


def test_work_runs_in_as_many_processes_as_asked():
    def processes(workers):
        content = beam.map_merge("t", list(range(20)), where, join, sizes=[1] * 20, workers=workers)
        return {int(part) for part in content.split(b";") if part}

    assert processes(1) == {os.getpid()}
    several = processes(2)
    assert os.getpid() not in several and len(several) <= 2


def test_the_users_error_comes_through_as_it_is():
    with pytest.raises(HeadwaterError) as error:
        beam.map_merge("t", list(range(40)), functools.partial(fail_at, 21), join, sizes=[1] * 40, workers=2)
    assert str(error.value) == "item 21 is bad"


@pytest.mark.parametrize(("workers", "count"), [(0, 2), (0, 7), (2, 2), (2, 7)])
def test_a_worker_that_dies_is_told(count, workers):
    with pytest.raises(HeadwaterError, match=r"the worker process that handled it died twice \(exit code 9\)"):
        beam.map_merge("t", list(range(count)), die, join, sizes=[1] * count, workers=workers)


def test_a_signal_and_the_file_are_named(tmp_path):
    files = [SourceFile(str(tmp_path / f"{number}.csv"), "csv", 1) for number in range(5)]
    with pytest.raises(HeadwaterError) as error:
        beam.map_merge("t", files, functools.partial(abort_at, files[3].uri), join, sizes=[1] * 5, workers=2)
    assert str(error.value).startswith(
        f"{files[3].uri}: the worker process that handled it died twice (signal SIGABRT)"
    )


@pytest.mark.parametrize("spread", [False, True], ids=["one task", "a part of a fan-out"])
@pytest.mark.parametrize("held", [None, "item", "parts"], ids=["alone", "collect", "statistics"])
def test_the_file_of_a_run_that_ends_its_reader_is_named(tmp_path, held, spread):
    files = [SourceFile(str(tmp_path / f"{number}.csv"), "csv", 1) for number in range(5)]
    run = Run(Element(file, 0, 1, 1, 1) for file in files)
    item = {None: run, "item": Numbered(7, run), "parts": work.Element("all", 0, run)}[held]
    own = functools.partial(abort_among, files[3].uri, held)
    item, own = (Numbered(2, item), functools.partial(leaf, own)) if spread else (item, own)
    with pytest.raises(HeadwaterError) as error:
        beam.map_merge("t", [item] * 2, own, join, sizes=[1] * 2, workers=2)
    assert str(error.value).startswith(f"{files[3].uri}: the worker process that handled it died twice")


def test_one_parquet_file_ends_no_process_but_its_own(tmp_path):
    files = [SourceFile(str(tmp_path / "t.parquet"), "parquet", 1)]
    with pytest.raises(HeadwaterError, match=f"{files[0].uri}: the worker process that handled it died twice"):
        beam.map_merge("t", files, functools.partial(abort_at, files[0].uri), join, sizes=[1])


def test_work_beside_one_that_died_once_is_done(tmp_path):
    # As when memory was short while two ran at once.
    work = functools.partial(die_once, str(tmp_path / "died"))
    assert beam.map_merge("t", list(range(9)), work, join, sizes=[1] * 9, workers=2) == b"".join(map(double, range(9)))


@pytest.mark.parametrize("runner", ["DirectRunner", "FnApiRunner", "BundleBasedDirectRunner"])
def test_local_runners_are_the_in_process_one(runner):
    assert beam.pipeline_options([f"--runner={runner}"]).view_as(StandardOptions).runner == "FnApiRunner"
    assert beam.map_merge("t", [1], double, join, sizes=[1], beam_pipeline_args=[f"--runner={runner}"]) == b"2;"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runner=DaskRunner"], "DaskRunner loses data"),
        (["--direct_running_mode=multi_processing"], "without authentication"),
    ],
)
def test_what_loses_data_or_opens_ports_is_refused(arguments, message):
    with pytest.raises(HeadwaterError, match=message):
        beam.map_merge("t", [1], double, join, sizes=[1], beam_pipeline_args=arguments)


def test_workers_elsewhere_need_a_place_that_they_reach():
    with pytest.raises(HeadwaterError, match="set data_root, or Beam's --temp_location"):
        beam.map_merge("t", [1], double, join, sizes=[1], beam_pipeline_args=["--runner=PortableRunner"])


def test_results_pass_through_beams_temp_location(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        beam.storage,
        "write_bytes",
        lambda uri, content, write=beam.storage.write_bytes: written.append(uri) or write(uri, content),
    )
    beam.map_merge("t", [1], double, join, sizes=[1], beam_pipeline_args=[f"--temp_location={tmp_path}"])
    assert [uri.rpartition("/")[0] for uri in written] == [str(tmp_path)]
    assert list(tmp_path.iterdir()) == []


def test_a_local_run_opens_no_connection_and_starts_no_foreign_binary(few_flights, tmp_path):
    # numpy.testing, which scipy imports, asks the system's lscpu what processor this is.
    script = f"""
import sys
seen = []
def watch(event, arguments):
    if event == "socket.connect" and not isinstance(arguments[1], (str, bytes)):
        seen.append((event, str(arguments[1])))
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "urllib.Request"):
        seen.append((event, str(arguments[0])))
sys.addaudithook(watch)
from headwater.components.collect import collect_dataset
collect_dataset({str(few_flights)!r}, {str(tmp_path / "out")!r}, workers=2, beam_pipeline_args=["--runner=DirectRunner"])
print("SEEN", [event for event in seen if "uname" not in event[1] and event[1] != "lscpu"])
"""
    # An environment without proxies or credentials: what would be reached for, would be reached for plainly.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert output.stdout.splitlines()[-1:] == ["SEEN []"], output.stdout + output.stderr


def test_an_unguarded_script_is_not_run_twice_by_its_workers(few_flights, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('STARTED')\n"
        "from headwater.components.common.beam import map_merge\n"
        "from headwater.components.common.storage import sha256\n"
        "map_merge('t', [b'a', b'b', b'c'], bytes.upper, b''.join, sizes=[1, 1, 1], workers=2)\n"
    )
    output = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    assert output.stdout.count("STARTED") == 1


def test_workers_have_the_environment_of_now(monkeypatch):
    for value in ("one", "two"):
        monkeypatch.setenv("HEADWATER_TEST_VALUE", value)
        assert beam.map_merge("t", [1, 2], variable, join, sizes=[1, 1], workers=2) == f"{value};{value};".encode()


@pytest.mark.parametrize("items", [1, 2, 15, 16, 17, 255, 256, 257, 300, 4097])
@pytest.mark.parametrize("parts", [1, 2, 7, 64])
def test_parts_that_are_merged_apart_become_what_one_merge_gives(items, parts):
    tree, leaves = Tree(items), {(0, number): b"%d" % number for number in range(items)}

    def merge(contents):
        return b"(" + b",".join(contents) + b")"

    whole = tree.joined(leaves, merge)
    assert list(whole) == [tree.root]
    bounds = sorted({0, items, *(items * part // parts for part in range(1, parts))})
    nodes = {}
    for start, stop in zip(bounds, bounds[1:]):
        own = unpack(pack(tree.joined({(0, number): leaves[0, number] for number in range(start, stop)}, merge)))
        covered = sorted(tree.leaves(node) for node in own)
        assert [start, *(end for _, end in covered)] == [*(begin for begin, _ in covered), stop]
        nodes = tree.joined({**nodes, **own}, merge)
    assert nodes == whole


def test_the_graph_merges_along_the_tree():
    found = beam.map_merge("t", list(range(300)), double, bracket, sizes=[1] * 300, workers=1)
    tree = Tree(300)
    assert found == tree.joined({(0, each): double(each) for each in range(300)}, bracket)[tree.root]
