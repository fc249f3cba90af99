"""The benches run, at sizes that show only that; what they leave in JSON and README, and what they warn of."""

import json
import pathlib
import subprocess
import sys

import pytest

_BENCH = pathlib.Path(__file__).parent / "bench"
sys.path.insert(0, str(_BENCH))

import benches  # noqa: E402
import run  # noqa: E402

_TINY = {
    "collect": ["--rows", "4000", "--big", "20000"],
    "generate_statistics": ["--rows", "4000", "--big", "20000", "--only", "duckdb,memory,slices,profile"],
    "peers": ["--rows", "4000", "--peers", "DuckDB"],
    "validate": ["--rows", "4000", "--only", "rules,skew"],
    "false_alarms": ["--simulations", "1", "--only", "power"],
    "start": ["--only", "processes"],
}


def _rows(*seconds):
    made = [benches.told("csv", benches.ratio(f"row {n}", ours, peer, 1.5)) for n, (ours, peer) in enumerate(seconds)]
    return {"collect": {"rows": made}}


def test_a_row_has_medians_and_quartiles():
    row = benches.told("csv", benches.ratio("CSV", [3.0, 1.0, 2.0, 5.0, 4.0], [2.0], 1.5))
    assert row["seconds"]["ours"] == {"median": 3.0, "quartiles": [2.0, 4.0], "runs": 5}
    assert row["seconds"]["peer"] == {"median": 2.0, "quartiles": [2.0, 2.0], "runs": 1}
    assert (row["bench"], row["what"], row["ratio"], row["bar"]) == ("csv", "CSV", "1.50", "≤ 1.5")


def test_ratios_are_compared_and_no_times():
    before = _rows(([2.0], [1.0]), ([2.0], [1.0]), ([2.0], [1.0]))
    after = _rows(([6.0], [3.0]), ([2.2], [1.0]), ([2.4], [1.0]), ([9.0], [1.0]))
    assert list(run.worse(before, after)) == ["collect: row 2: 2.40 of the peer's time, 2.00 before (+20%)"]


def test_a_row_that_is_better_the_larger_it_is_is_compared_by_its_times():
    before, after = (
        {"peers": {"rows": [benches.told("x", benches.faster("TFDV", ours, [10.0], 5))]}} for ours in ([1.0], [1.3])
    )
    assert len(list(run.worse(before, after))) == 1
    assert not list(run.worse(after, before))


def test_readme_has_the_tables_of_the_committed_figures():
    readme = run.README.read_text()
    assert run.with_tables(readme, json.loads(run.RESULTS.read_text())["full"]["peers"]) == readme


def test_a_table_says_what_was_left_out():
    rows = [benches.told("statistics", each) for each in (
        benches.ratio("statistics, 10 rows; A", [1.0], [2.0], None),
        benches.ratio("statistics, 10 rows; B", [1.2], [40.0], None),
        benches.ratio("statistics, 50 rows; A", [3.0], [4.0], None),
        benches.Row("statistics, 10 rows; C: left out, there is no java"),
    )]  # fmt: skip
    machine = {"cores": 2, "processor": "P", "memory": 8}
    lines = list(run.tables({"rows": rows, "machine": machine, "versions": {"Python": "3"}, "date": "2026-01-02"}))
    assert "| statistics | 10 rows | ours ÷ it | 50 rows | ours ÷ it |" in lines
    assert "| **Headwater** | 1.10 s (1.10–1.10) |  | 3.00 s (3.00–3.00) |  |" in lines
    assert "| A | 2.00 s (2.00–2.00) | 0.50 | 4.00 s (4.00–4.00) | 0.75 |" in lines
    assert "| B | 40.00 s (40.00–40.00) | 0.03 | — |  |" in lines
    assert "Left out: C (there is no java)." in lines


@pytest.mark.parametrize("suite", run.SUITES)
def test_suites_name_benches_that_there_are(suite):
    for name, arguments in run.SUITES[suite].items():
        told = subprocess.run([sys.executable, _BENCH / f"{name}.py", "--help"], capture_output=True, text=True)
        names = " ".join(told.stdout.split()).partition("comma between them, of ")[2].partition(" --")[0].split(", ")
        only = dict(zip(arguments[::2], arguments[1::2])).get("--only", "")
        assert told.returncode == 0 and "--json" in told.stdout
        assert set(filter(None, only.split(","))) <= set(names)


def test_the_full_suite_has_all_benches():
    others = {"benches", "generator", "limits", "model", "model_fit", "mutants", "run", "sizing", "weak_following"}
    assert {path.stem for path in _BENCH.glob("*.py")} - others == set(run.SUITES["full"])


@pytest.mark.slow
@pytest.mark.parametrize("name", _TINY)
def test_a_bench_runs(name, tmp_path):
    options = [*_TINY[name], "--runs", "1", "--folder", tmp_path, "--json", tmp_path / "rows.json"]
    command = [sys.executable, _BENCH / f"{name}.py", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows and {row["bench"] for row in rows} >= set(_names(_TINY[name]))


def _names(options):
    return options[options.index("--only") + 1].split(",") if "--only" in options else []
