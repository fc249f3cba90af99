"""generate-statistics and its peers on the same input, in the same run: medians, and ratios to the bars.

    python tests/bench/generate_statistics.py [--rows 2500000] [--big 25000000] [--runs 3] [--only duckdb,csv,…]
        [--folder F]

Each run is a process of its own; its imports are not counted, its workers' start is, but for the rows that say whole
process: there everything is counted. TFDV's peers have a fifth of `--rows`. What our environment cannot hold
(ydata-profiling, whylogs) gets one of its own under `--folder`, made by uv.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import common
from common import duckdb_query, faster, ratio, run

_WIDE_ROWS, _WIDE_COLUMNS = 50_000, 2_000
_COLUMNS = 18
_SLICES = {"slices": [["category_300", "category_20"]], "max_slices": 1000}

# Pinned, so that a number can be had again. What they would tell their makers over the network is off.
_YDATA = (
    ("ydata-profiling==4.18.4", "setuptools==80.9.0", "pandas==2.3.3", "numpy==2.3.5", "pyarrow==26.0.1"),
    {"YDATA_PROFILING_NO_ANALYTICS": "True"},
    """
import sys
import pandas as pd
from ydata_profiling import ProfileReport
ProfileReport(pd.read_parquet(sys.argv[1]), minimal=True, progress_bar=False).to_file(sys.argv[2] + ".html")
""",
)
_WHYLOGS = (
    ("whylogs==1.6.4", "pandas==2.3.3", "numpy==2.3.5", "pyarrow==26.0.1"),
    {"WHYLOGS_NO_ANALYTICS": "True"},
    """
import sys
import pandas as pd
import whylogs
whylogs.log(pd.read_parquet(sys.argv[1])).view().write(sys.argv[2] + ".bin")
""",
)
_OURS = """
import sys
from headwater.components.generate_statistics import compute_statistics
compute_statistics(sys.argv[1], sys.argv[2])
"""


# What is run in a process of its own.


def measure(source: str, output: str, config: str = "") -> dict:
    """Seconds of compute_statistics."""
    # Imported lazily; it is the parent's import all the same.
    importlib.import_module("headwater.components.generate_statistics.compute")
    from headwater.components.generate_statistics import compute_statistics

    shutil.rmtree(output, ignore_errors=True)
    settings = {"config": json.loads(config)} if config else {}
    started = time.perf_counter()
    compute_statistics(source, output, **settings)
    return {"seconds": time.perf_counter() - started}


def profile(source: str, output: str) -> dict:
    """Where the time of compute_statistics goes."""
    from headwater.components.common import timings

    with timings.recorded() as record:
        measure(source, output)
    return common.told(record)


def memory(source: str, output: str) -> dict:
    """The highest memory of compute_statistics and its workers; looking at it takes time, so seconds are not told."""
    with common.Peak() as peak:
        measure(source, output)
    return {"peak": peak.bytes}


def tfdv_csv(source: str) -> dict:
    """Seconds of TFDV on a CSV."""
    import tensorflow_data_validation as tfdv

    options = _in_process()
    started = time.perf_counter()
    tfdv.generate_statistics_from_csv(source, pipeline_options=options)
    return {"seconds": time.perf_counter() - started}


def tfdv_parquet(source: str, output: str) -> dict:
    """Seconds of TFDV's transform with its default options on row groups that are read in Beam."""
    import apache_beam as beam
    import pyarrow as pa
    import pyarrow.parquet as pq
    import tensorflow_data_validation as tfdv
    from tfx_bsl.arrow import array_util

    def read(group: int) -> Iterator[pa.RecordBatch]:
        for batch in pq.ParquetFile(source).read_row_group(group).to_batches():
            columns = [array_util.ToSingletonListArray(column) for column in batch.columns]
            yield pa.RecordBatch.from_arrays(columns, batch.schema.names)

    options = _in_process()
    started = time.perf_counter()
    with beam.Pipeline(options=options) as pipeline:
        (
            pipeline
            | beam.Create(range(pq.ParquetFile(source).num_row_groups))
            | beam.Reshuffle()
            | beam.FlatMap(read).with_output_types(pa.RecordBatch)
            | tfdv.GenerateStatistics()
            | tfdv.WriteStatisticsToBinaryFile(output)
        )
    return {"seconds": time.perf_counter() - started}


def _in_process() -> Any:
    # By the name DirectRunner Beam would look for another engine first.
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(["--runner=FnApiRunner"])


MEASURES = (measure, profile, memory, tfdv_csv, tfdv_parquet, duckdb_query)


# The table's rows.


def bench_duckdb(folder, options):
    medians = []
    for rows, bar in ((options.rows, 0.8), (options.big, 0.7)):
        source = _parquet(folder, rows)
        ours, peer = [], []
        for _ in range(options.runs):
            peer.append(run("duckdb_query", f"SUMMARIZE FROM '{source}'")["seconds"])
            ours.append(run("measure", source, folder / "out")["seconds"])
        yield ratio(f"{rows:,} rows, DuckDB SUMMARIZE", ours, peer, bar)
        medians.append(statistics.median(ours))
    few, many = medians
    share = options.big / options.rows
    yield f"  time over {share:g} times the rows", "", "", f"{many / few:.2f}", f"≤ {share:.1f}"


def bench_profile(folder, options):
    for rows in (options.rows, options.big):
        found = run("profile", _parquet(folder, rows), folder / "out")
        yield from common.profiled(f"{rows:,} rows", found, 0.03 if rows == options.big else None)


def bench_csv(folder, options):
    from generator import write_csv

    rows = options.rows // 5
    text, source = write_csv(folder / f"{rows}.csv", rows), _parquet(folder, rows)
    ours, peer = [], []
    for _ in range(options.runs):
        peer.append(run("tfdv_csv", text)["seconds"])
        ours.append(run("measure", source, folder / "out")["seconds"])
    yield faster(f"{rows:,} rows, TFDV on CSV", ours, peer, 50)


def bench_transform(folder, options):
    rows = options.rows // 5
    source = _parquet(folder, rows)
    ours, peer = [], []
    for _ in range(options.runs):
        peer.append(run("tfdv_parquet", source, folder / "peer.pb")["seconds"])
        ours.append(run("measure", source, folder / "out")["seconds"])
    yield faster(f"{rows:,} rows, TFDV GenerateStatistics", ours, peer, 12)


def bench_ydata(folder, options):
    yield _whole_process("ydata-profiling minimal", _YDATA, folder, options)


def bench_whylogs(folder, options):
    yield _whole_process("whylogs", _WHYLOGS, folder, options)


def bench_memory(folder, options):
    peaks = []
    for rows in (options.big // 50, options.big):
        peaks.append(run("memory", _parquet(folder, rows), folder / "out")["peak"])
        yield f"{rows:,} rows, peak memory", f"{peaks[-1] / 2**20:,.0f} MiB", "", "", "1.5 GB"
    few, many = peaks
    yield "  memory over 50 times the rows", "", "", f"{many / few:.2f}", "≤ 1.2"


def bench_wide(folder, options):
    from generator import write_wide

    wide = write_wide(folder / f"wide-{_WIDE_COLUMNS}-{_WIDE_ROWS}.parquet", _WIDE_ROWS, _WIDE_COLUMNS)
    narrow = _parquet(folder, options.rows)
    ours, other = [], []
    for _ in range(options.runs):
        other.append(run("measure", narrow, folder / "out")["seconds"])
        ours.append(run("measure", wide, folder / "out")["seconds"])
    cells = _WIDE_ROWS * _WIDE_COLUMNS, options.rows * _COLUMNS
    one, two = (statistics.median(found) / count * 1e9 for found, count in zip((ours, other), cells))
    label = f"{_WIDE_COLUMNS:,} columns × {_WIDE_ROWS:,}, a cell; peer: {_COLUMNS} columns"
    yield label, f"{one:.0f} ns", f"{two:.0f} ns", f"{one / two:.2f}", "≤ 2.0"


def bench_slices(folder, options):
    source = _parquet(folder, options.rows)
    ours, other = [], []
    for _ in range(options.runs):
        other.append(run("measure", source, folder / "out")["seconds"])
        ours.append(run("measure", source, folder / "out", json.dumps(_SLICES))["seconds"])
    yield ratio(f"{options.rows:,} rows, {_SLICES['max_slices']:,} slices; peer: none", ours, other, 3.0)


def bench_page(folder, options):
    from generator import write_wide

    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "support"))
    from browser import CHROMIUM, Browser

    for columns, most in ((1000, 3_000_000), (100, 500_000)):
        run("measure", write_wide(folder / f"wide-{columns}-5000.parquet", 5000, columns), folder / "out")
        page = folder / "out" / "page.html"
        yield f"{columns:,} features, the page's bytes", f"{page.stat().st_size:,}", "", "", f"< {most:,}"
    if not CHROMIUM:
        yield "  opened in Chromium: left out, there is none", "", "", "", ""
        return
    run("measure", folder / "wide-1000-5000.parquet", folder / "out")
    seconds = []
    for _ in range(options.runs):
        with Browser() as browser:
            started = time.perf_counter()
            browser.open(folder / "out" / "page.html")
            # Two frames later it is drawn.
            browser.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            seconds.append(time.perf_counter() - started)
    yield "1,000 features, opened and drawn in Chromium", f"{statistics.median(seconds):.2f} s", "", "", "< 2 s"


BENCHES = {
    "duckdb": bench_duckdb,
    "profile": bench_profile,
    "csv": bench_csv,
    "transform": bench_transform,
    "ydata": bench_ydata,
    "whylogs": bench_whylogs,
    "memory": bench_memory,
    "wide": bench_wide,
    "slices": bench_slices,
    "page": bench_page,
}


def _parquet(folder: pathlib.Path, rows: int) -> pathlib.Path:
    from generator import write_parquet

    return write_parquet(folder / f"{rows}.parquet", rows)


def _whole_process(name: str, peer: tuple, folder: pathlib.Path, options: Any) -> common.Row:
    requirements, environment, script = peer
    rows = options.rows // 5
    source = _parquet(folder, rows)
    label = f"{rows:,} rows, whole process, {name}"
    python = folder / "peers" / requirements[0] / "bin" / "python"
    if reason := _install(python, requirements):
        return f"{label}: left out, {reason}", "", "", "", ""
    ours, other = [], []
    for _ in range(options.runs):
        started = time.perf_counter()
        common.finish([str(python), "-c", script, str(source), str(folder / "peer")], **environment)
        other.append(time.perf_counter() - started)
        shutil.rmtree(folder / "out", ignore_errors=True)
        started = time.perf_counter()
        common.finish([sys.executable, "-c", _OURS, str(source), str(folder / "out")])
        ours.append(time.perf_counter() - started)
    return faster(label, ours, other, 1)


def _install(python: pathlib.Path, requirements: tuple[str, ...]) -> str:
    """Makes a peer's environment unless it is there; why it could not, or nothing."""
    done = python.parents[1] / ".ready"
    if done.exists() and done.read_text() == str(requirements):
        return ""
    beside = pathlib.Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if not uv:
        return "there is no uv"
    place = str(python.parents[1])
    install = ["pip", "install", "-q", "--compile-bytecode", "--python", str(python), *requirements]
    for arguments in (["venv", "-q", "--clear", "--python", sys.executable, place], install):
        found = subprocess.run([uv, *arguments], capture_output=True, text=True)
        if found.returncode:
            return f"uv {arguments[0]}: {found.stderr.strip()[-300:]}"
    done.write_text(str(requirements))
    return ""


if __name__ == "__main__":
    sys.exit(common.main(MEASURES, BENCHES))
