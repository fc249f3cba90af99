"""pandas is imported when somebody needs it, and pyarrow does with it what it does otherwise."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np, pyarrow as pa
from headwater.components.common import pandas_later
{before}
with pandas_later.put_off({wanted}):
    pa.array(np.arange(3)), pa.array([1, None]), pa.array(np.array(["2020-01-01"], "datetime64[s]"))
    pa.table({{"a": [1, None]}}), pa.array([1.5]).to_numpy(), pa.scalar(1).as_py()
    print(sys.modules.get("pandas") is not None, file=sys.stderr)
    {within}
import pandas as pd
for given in (
    pd.Series([1.0, float("nan")]), pd.Categorical(["x", None]), pd.Index([1, 2]), pd.array([1, None], "Int64"),
    pd.Series(pd.to_datetime(["2020-01-01"]).tz_localize("UTC")), pd.Series([None, "a"]), np.array([1.0, float("nan")]),
    pd.DatetimeIndex(["2020-01-01"], tz="CET"),
):
    made = pa.array(given)
    print(made.type, made.null_count, made.to_pylist())
for given in ([pd.NaT, pd.Timestamp(1)], [pd.NA, 1], [pd.NaT, pd.Timedelta(1)]):
    print(pa.array(given, from_pandas=True).null_count)
frame = pd.DataFrame({{"a": [1, 2], "b": pd.Categorical(["x", "y"])}}, index=[3, 4])
for table in (pa.table(frame), pa.Table.from_pandas(frame), pa.RecordBatch.from_pandas(frame)):
    print(table.schema.to_string(), table.to_pandas().equals(frame))
print(pa.array([1, None]).to_pandas().dtype, pa.array(["a"]).dictionary_encode().to_pandas().dtype)
"""
# 1 ns past 1970, which pandas alone can tell.
FINE = 'print(repr(pa.scalar(1, pa.timestamp("ns")).as_py()), repr(pa.scalar(1, pa.duration("ns")).as_py()))'


def run(wanted: bool, within: str = "", before: str = "") -> tuple[str, str]:
    program = PROGRAM.format(before=before, within=within, wanted=wanted)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.strip()


@pytest.mark.parametrize("within", ["", FINE])
def test_pyarrow_knows_what_pandas_makes_once_it_is_imported(within):
    told, imported = run(True, within)
    assert imported == "False"
    assert (told, "True") == run(False, within)


def test_where_pandas_is_imported_nothing_changes():
    told, imported = run(True, FINE, "import pandas")
    assert (told, imported) == run(False, FINE, "import pandas") and imported == "True"


WORKS = """
from headwater.components.common import pandas_later
from headwater.components.common.pool import Pool

for preload in (["pyarrow", pandas_later.__name__], ["pyarrow"]):
    pool = Pool(1, preload)
    print(pool.submit(eval, "len(__import__('pyarrow').array([1])), __import__('sys').modules.get('pandas') is None").result())
    pool.close()
made = "__import__('pyarrow').array(__import__('pandas').Series([1.0, float('nan')])).null_count"
pool = Pool(1, ["pyarrow"])
print(pool.submit(eval, made).result())
pool.close()
"""


def test_workers_that_run_users_code_have_pandas_and_those_of_collect_do_without():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", WORKS], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["(1, True)", "(1, False)", "1"], done.stderr


COLLECTS = """
import sys
from headwater.components.collect import collect_dataset
from headwater.components.common import local_beam
{claim}
result = collect_dataset({source!r}, {output!r}, filters=[{{"name": "some", "keep": "a > 3"}}])
print(result.body["accounts"]["written"], "pandas" in sys.modules, "duckdb" in sys.modules)
import pandas
"""


@pytest.mark.parametrize(("claim", "imported"), [("local_beam.claim_process()", False), ("pass", True)])
def test_a_task_of_collect_imports_no_pandas(tmp_path, claim, imported):
    (tmp_path / "a.csv").write_text("a,b\n" + "".join(f"{number},x{number}\n" for number in range(100)))
    program = COLLECTS.format(claim=claim, source=str(tmp_path / "a.csv"), output=str(tmp_path / "out"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == [f"96 {imported} True"], done.stderr
