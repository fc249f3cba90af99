"""No process of ours ends in an abort, however early it stops."""

from __future__ import annotations

import collections
import concurrent.futures
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# As in a notebook that stops right after it has read something.
READ_AND_STOP = """
import sys
import headwater.components.common
import pyarrow as pa, pyarrow.parquet as pq
pq.read_table(pa.BufferReader(open(sys.argv[1], "rb").read()))
sys.exit(2)
"""


def ends(times: int, *arguments: object) -> collections.Counter:
    """Exit codes and last lines of so many runs, two at a time."""

    def run(_: int) -> tuple[int, str]:
        done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
        return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return collections.Counter(pool.map(run, range(times)))


def test_a_process_that_stops_after_reading_does_not_abort(tmp_path):
    # Without care about a third of these end with "terminate called without an active exception".
    pq.write_table(pa.table({name: list(range(100)) for name in "abcdefghi"}), tmp_path / "t.parquet")
    assert ends(6, "-c", READ_AND_STOP, tmp_path / "t.parquet") == {(2, ""): 6}


@pytest.mark.slow
def test_fifty_wrong_settings_are_fifty_errors(tmp_path):
    from headwater.components.collect import collect_dataset

    (tmp_path / "a.csv").write_text("a,b\n" + "".join(f"{n},{n % 3}\n" for n in range(2000)))
    collect_dataset(str(tmp_path / "a.csv"), str(tmp_path / "data"), workers=1)
    (tmp_path / "c.yaml").write_text("statistics: {weight_feature: nope}\n")
    arguments = ["generate-statistics", tmp_path / "data", "--output", tmp_path / "s", "--project", tmp_path / "c.yaml"]
    [(code, line)] = ends(50, "-m", "headwater.pipelines.cli", *arguments)
    assert code == 2 and "weight_feature: there is no column 'nope'" in line
