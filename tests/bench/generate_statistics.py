"""generate-statistics beside DuckDB and itself on the same input, in the same run: medians, and ratios to the bars.

    python tests/bench/generate_statistics.py [--rows 2500000] [--big 25000000] [--runs 3] [--only duckdb,memory,…]
        [--folder F]

Each run is a process of its own; its imports are not counted, its workers' start is. peers.py has whole processes beside
more peers.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import shutil
import statistics
import sys
import time

import benches
from benches import duckdb_query, ratio, run

_WIDE_ROWS, _WIDE_COLUMNS = 50_000, 2_000
_COLUMNS = 18
_SLICES = {"slices": [["category_300", "category_20"]], "max_slices": 1000}


# What is run in a process of its own.


def measure(source: str, output: str, config: str = "", workers: int = 0) -> dict:
    """Seconds of compute_statistics."""
    # Imported lazily; it is the parent's import all the same.
    importlib.import_module("headwater.components.generate_statistics.compute")
    from headwater.components.generate_statistics import compute_statistics

    shutil.rmtree(output, ignore_errors=True)
    settings = {"config": json.loads(config)} if config else {}
    started = time.perf_counter()
    compute_statistics(source, output, workers=workers, **settings)
    return {"seconds": time.perf_counter() - started}


def profile(source: str, output: str) -> dict:
    """Where the time of compute_statistics goes."""
    from headwater.components.common import timings

    importlib.import_module("headwater.components.generate_statistics.compute")
    with timings.recorded() as record:
        measure(source, output)
    return benches.where(record)


def memory(source: str, output: str) -> dict:
    """The highest memory of compute_statistics and its workers; looking at it takes time, so seconds are not told."""
    with benches.Peak() as peak:
        measure(source, output)
    return {"peak": peak.bytes}


def spread(source: str, output: str, workers: str) -> dict:
    """What grows with the number of workers, or does not, whatever the cores are."""
    from headwater.components.common import timings
    from headwater.components.common.merge_tree import Tree

    importlib.import_module("headwater.components.generate_statistics.compute")
    with benches.Peak() as peak, timings.recorded() as record:
        measure(source, output, workers=int(workers))
    (own,) = [each for each in benches.where(record)["passes"] if each["label"] == "generate-statistics"]
    # Each run goes to who is free first, as if all elements took the same time.
    done = [0] * int(workers)
    for start, stop in Tree(own["elements"]).runs(own["processes"]):
        done[done.index(min(done))] += stop - start
    full = own["elements"] / (len(done) * max(done))
    return {**own, "full": full, "driver": record.cpu - peak.cpu, "peak": peak.bytes}


MEASURES = (measure, profile, memory, spread, duckdb_query)


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
        yield from benches.profiled(f"{rows:,} rows", found, 0.03 if rows == options.big else None)


def bench_workers(folder, options):
    drivers = []
    for rows, workers in (*((options.rows, count) for count in (2, 4, 8, 16)), (options.big, 16)):
        found = run("spread", _parquet(folder, rows), folder / "out", workers)
        drivers.append(found["driver"])
        head = f"{rows:,} rows, {workers} workers: elements, rounds full"
        yield head, f"{found['elements']:,}", "", f"{found['full']:.0%}", "≥ 75%"
        yield "  merges by workers; results held at most", f"{found['merges']:,}", str(found["held"]), "", ""
        returned, peak = (f"{found[name] / 2**20:,.0f} MiB" for name in ("returned", "peak"))
        yield "  returned; memory of all", returned, peak, "", ""
        yield "  the driver's processor time; with 2", f"{drivers[-1]:.2f} s", f"{drivers[0]:.2f} s", "", ""


def bench_memory(folder, options):
    peaks = []
    for rows in (options.rows, options.big):
        peaks.append(run("memory", _parquet(folder, rows), folder / "out")["peak"])
        yield f"{rows:,} rows, peak memory", f"{peaks[-1] / 2**20:,.0f} MiB", "", "", "1.5 GB"
    few, many = peaks
    yield f"  memory over {options.big / options.rows:g} times the rows", "", "", f"{many / few:.2f}", "≤ 1.2"


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
    "workers": bench_workers,
    "memory": bench_memory,
    "wide": bench_wide,
    "slices": bench_slices,
    "page": bench_page,
}


def _parquet(folder: pathlib.Path, rows: int) -> pathlib.Path:
    from generator import write_parquet

    return write_parquet(folder / f"{rows}.parquet", rows)


if __name__ == "__main__":
    sys.exit(benches.main(MEASURES, BENCHES))
