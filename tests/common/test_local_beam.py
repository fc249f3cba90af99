"""Beam without what a process of our own has no use for, and with it everywhere else."""

import subprocess
import sys

import pytest

from headwater.components.common.local_beam import EXTRAS

PROGRAM = """
import sys
from headwater.components.common import beam, local_beam
{claim}
print(">", beam.map_merge("t", [b"a", b"b"], bytes.upper, b"".join, sizes=[1, 1], workers=1, beam_pipeline_args={arguments}))
found = [name for name in sys.modules if f"{{name}}.".startswith({names}) and hasattr(sys.modules[name], "__file__")]
print(">", *dict.fromkeys(name for name in found if name != "google.cloud"))
import google.cloud.storage, pandas
import pyarrow as pa
print(">", pa.table({{"a": [1, 2]}}).to_pandas().a.sum(), any("_Hidden" in type(each).__name__ for each in sys.meta_path))
"""


def run(claim: str, arguments: list[str]) -> list[str]:
    program = PROGRAM.format(claim=claim, arguments=arguments, names=tuple(f"{name}." for name in EXTRAS))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line[2:] for line in done.stdout.splitlines() if line.startswith(">")]


def test_a_process_of_our_own_imports_beam_without_its_extras_and_can_use_them_itself():
    assert run("local_beam.claim_process()", []) == ["b'AB'", "", "3 False"]


@pytest.mark.parametrize(
    ("claim", "arguments"), [("pass", []), ("local_beam.claim_process()", ["--runner=DirectRunner"])]
)
def test_elsewhere_and_with_options_beam_has_all_that_it_finds(claim, arguments):
    result, found, sound = run(claim, arguments)
    assert (result, sound) == ("b'AB'", "3 False")
    assert {"google.cloud.storage", "pandas", "boto3"} <= set(found.split())


def test_where_beam_needs_what_was_left_out_it_has_everything():
    result, found, sound = run("local_beam.EXTRAS += ('grpc',); local_beam.claim_process()", [])
    assert (result, sound) == ("b'AB'", "3 False") and "google.cloud.storage" in found.split()


def test_beam_has_no_warning_of_our_graph():
    program = PROGRAM.format(claim="local_beam.claim_process()", arguments=[], names=())
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert "b'AB'" in done.stdout and "apache_beam" not in done.stderr


def test_a_component_imports_no_beam_before_there_is_work():
    program = (
        "import sys, headwater.components.collect.ingest, headwater.components.label.labelling\n"
        "import headwater.components.generate_statistics.compute, headwater.components.validate.check\n"
        "print('apache_beam' in sys.modules, 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False False\n"


BEGINS = """
import os, subprocess, sys, time
from headwater.components.common import beam

def wait(event, arguments):
    until = time.monotonic() + 60
    while (event, arguments[:1]) == ("import", ("apache_beam",)) and not os.path.exists({last!r}):
        assert time.monotonic() < until, "no work was begun"
        time.sleep(0.05)

sys.addaudithook(wait)
items = [["touch", {first!r}], ["touch", {last!r}]]
print(beam.map_merge("t", items, subprocess.check_output, b"".join, sizes=[1, 1], workers=2))
"""


def test_work_begins_while_beam_is_imported(tmp_path):
    program = BEGINS.format(first=str(tmp_path / "first"), last=str(tmp_path / "last"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.stdout.endswith("b''\n"), done.stderr


ENDS = """
import atexit, gc
atexit.register(lambda: print("left unsearched:", gc.get_freeze_count() > 100_000))

class Told:
    def __del__(self):
        print("garbage was found")

told = Told()
told.itself = told
del told
gc.disable()
from headwater.components.common import beam
beam.map_merge("t", [b"a"], bytes.upper, b"".join, sizes=[1], workers=1)
"""


def test_a_process_that_imported_beam_ends_without_a_search_through_it_and_what_was_garbage_before_is_found():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ENDS], capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["garbage was found", "left unsearched: True"], done.stderr


EARLY = """
import sys, threading
from headwater.components.common import beam, local_beam
local_beam.begin_import(())
begun = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
print(beam.map_merge("t", [b"a", b"b"], bytes.upper, b"".join, sizes=[1, 1], workers=1))
[thread.join() for thread in begun]
local_beam.begin_import(())
print(len(begun), threading.active_count(), "apache_beam" in sys.modules)
"""


def test_beam_may_be_imported_while_something_else_is_waited_for():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", EARLY], capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["b'AB'", "1 1 True"], done.stderr
