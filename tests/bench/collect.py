"""collect and its peers on the same input, in the same run: medians, and ratios to the bars that we set ourselves.

    python tests/bench/collect.py [--rows 2500000] [--big 25000000] [--runs 3] [--files 10000] [--only csv,parquet,…] [--folder F]

Each run is a process of its own; its imports are not counted, its workers' start is.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time

import benches
from benches import duckdb_query, ratio, run

# What is run in a process of its own.


def collect(source: str, output: str, settings: str = "{}") -> dict:
    """Seconds of collect."""
    from headwater.components.collect import collect_dataset
    from headwater.components.common import local_beam

    # As in a task, and in a command.
    local_beam.claim_process()

    shutil.rmtree(output, ignore_errors=True)
    started = time.perf_counter()
    collect_dataset(source, output, **json.loads(settings))
    return {"seconds": time.perf_counter() - started}


def memory(source: str, output: str) -> dict:
    """The highest memory of collect and its workers; looking at it takes time, so seconds are told beside."""
    with benches.Peak() as peak:
        found = collect(source, output)
    return {**found, "peak": peak.bytes}


def profile(source: str, output: str, settings: str = "{}") -> dict:
    """Where the time of collect goes."""
    from headwater.components.common import timings

    with timings.recorded() as record:
        collect(source, output, settings)
    return benches.where(record)


def duplicates(source: str, key: str) -> dict:
    """Seconds to find the rows whose key stands before."""
    import functools
    import tempfile

    from headwater.components.collect.settings import check_settings
    from headwater.components.collect.shape import shaping
    from headwater.components.collect.shape.duplicates import find_duplicates
    from headwater.components.common import sources

    scans = sources.scan_files(sources.discover([source]), "", sources.Reading())
    opened = sources.open_sources(scans)
    shape = shaping.Shape(check_settings(key=[key], duplicates="drop"), opened.schema)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        drops = find_duplicates(opened.elements, functools.partial(shaping.read_keys, shape), folder)
        seconds = time.perf_counter() - started
        dropped = sum(len(drops.of(number)) for number in range(len(opened.elements)))
    return {"seconds": seconds, "dropped": dropped}


def personal(source: str) -> dict:
    """The share of the time of writing a range that looking for personal data takes."""
    from headwater.components.collect.privacy import detect
    from headwater.components.collect.settings import check_settings
    from headwater.components.collect.shape import shaping
    from headwater.components.collect.write import shards
    from headwater.components.common import sources

    opened = sources.open_sources(sources.scan_files(sources.discover([source]), "", sources.Reading()))
    shape = shaping.Shape(check_settings(), opened.schema, opened.guessed)
    spent = [0.0]
    scan = detect.scan

    def timed(column):
        started = time.perf_counter()
        found = scan(column)
        spent[0] += time.perf_counter() - started
        return found

    detect.scan = timed
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        plan = shards.Plan(folder, "", shape, shaping.check_shape(shape), 0.01, 0.0)
        runs = shards.together(opened, len(opened.schema))
        shards.write_range(plan, runs[0])
        spent[0] = 0.0
        started = time.perf_counter()
        for run in runs[1:4] or runs:
            shards.write_range(plan, run)
        return {"share": spent[0] / (time.perf_counter() - started)}


def imports(statement: str) -> dict:
    started = time.perf_counter()
    exec(statement)
    return {"seconds": time.perf_counter() - started, "tensorflow": "tensorflow" in sys.modules}


MEASURES = (collect, profile, memory, duckdb_query, duplicates, personal, imports)


# The table's rows.


def bench_csv(folder, options):
    from generator import write_csv

    source = write_csv(folder / f"{options.rows}.csv", options.rows)
    yield from _against_copy(f"CSV, {options.rows:,} rows", source, f"read_csv('{source}')", folder, options)


def bench_parquet(folder, options):
    from generator import write_parquet

    source = write_parquet(folder / f"{options.rows}.parquet", options.rows)
    yield from _against_copy(f"Parquet, {options.rows:,} rows", source, f"'{source}'", folder, options)


def _against_copy(label, source, relation, folder, options):
    ours, whole, peer = [], [], []
    for _ in range(options.runs):
        peer.append(
            run("duckdb_query", f"COPY (FROM {relation}) TO '{folder}/peer.parquet' (FORMAT parquet)")["seconds"]
        )
        ours.append(run("collect", source, folder / "out", json.dumps({"analyse": False}))["seconds"])
        whole.append(run("collect", source, folder / "out")["seconds"])
    yield ratio(f"{label}: against DuckDB COPY", ours, peer, 1.5)
    yield ratio("  the same with the analysis of a sample", whole, peer, 2.0)


def bench_profile(folder, options):
    from generator import write_csv, write_parquet

    for write, name in ((write_csv, "CSV"), (write_parquet, "Parquet")):
        source = write(folder / f"{options.rows}.{name.lower()}", options.rows)
        for settings in ({"analyse": False}, {}):
            label = f"{name}, {options.rows:,} rows{'' if settings else ', analysis'}"
            yield from benches.profiled(label, run("profile", source, folder / "out", json.dumps(settings)), None)


def bench_duplicates(folder, options):
    from generator import write_parquet

    source = write_parquet(folder / f"{options.big}.parquet", options.big)
    ours, peer = [], []
    query = f"SELECT count(*) FROM (SELECT id, min(file_row_number) FROM read_parquet('{source}', file_row_number=true) GROUP BY id)"
    for _ in range(options.runs):
        peer.append(run("duckdb_query", query)["seconds"])
        ours.append(run("duplicates", source, "id")["seconds"])
    yield ratio(f"duplicates by id, {options.big:,} rows", ours, peer, 3.0)


def bench_lookup(folder, options):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from generator import write_parquet

    source = write_parquet(folder / f"{options.rows}.parquet", options.rows)
    small = folder / "lookup.parquet"
    keys = np.random.default_rng(1).permutation(options.rows)[:100_000]
    table = pa.table(
        {"id": [f"id-{key:012d}" for key in keys], "weight": keys / 7, "city": [f"c{key % 99}" for key in keys]}
    )
    pq.write_table(table, small)
    settings = {"analyse": False, "lookups": {"small": {"source": str(small), "on": {"id": "id"}}}}
    query = f"COPY (FROM '{source}' t LEFT JOIN '{small}' USING (id)) TO '{folder}/peer.parquet' (FORMAT parquet)"
    ours, peer = [], []
    for _ in range(options.runs):
        peer.append(run("duckdb_query", query)["seconds"])
        ours.append(run("collect", source, folder / "out", json.dumps(settings))["seconds"])
    yield ratio(f"lookup, {options.rows:,} × 100,000, written", ours, peer, 2.0)


def bench_memory(folder, options):
    from generator import write_csv

    peaks = {}
    for rows in (options.big // 50, options.big):
        source = write_csv(folder / f"{rows}.csv", rows)
        found = run("memory", source, folder / "out")
        peaks[rows] = found["peak"]
        yield (
            f"peak memory, CSV, {rows:,} rows",
            f"{found['peak'] / 2**20:,.0f} MiB",
            f"{found['seconds']:.0f} s",
            "",
            "1.5 GB",
        )
        shutil.rmtree(folder / "out")
    few, many = peaks.values()
    yield "  growth over 50 times the rows", "", "", f"{many / few:.2f}", "1.2"


def bench_formats(folder, options):
    from generator import write_avro, write_tfrecord

    rows = options.rows // 5
    for name, write in (("avro", write_avro), ("tfrecord", write_tfrecord)):
        source = write(folder / f"{rows}.{name}", rows)
        seconds = [
            run("collect", source, folder / "out", json.dumps({"analyse": False}))["seconds"]
            for _ in range(options.runs)
        ]
        rate = rows / statistics.median(seconds)
        yield f"{name}, {rows:,} rows, rows/s", f"{rate:,.0f}", "", "", "100,000"


def bench_files(folder, options):
    """CSV files of 200 rows: the processor time of each beyond a tenth of them."""
    import itertools

    from generator import write_csv

    found = {}
    for count in (options.files // 10, options.files):
        place = folder / f"files-{count}"
        if not place.exists():
            place.mkdir(parents=True)
            with write_csv(folder / f"{200 * count}.csv", 200 * count).open() as source:
                head = next(source)
                for number in range(count):
                    (place / f"{number:05d}.csv").write_text(head + "".join(itertools.islice(source, 200)))
        found[count] = statistics.median(run("collect", place, folder / "out")["cpu"] for _ in range(options.runs))
        yield f"{count:,} CSV files of 200 rows, CPU", f"{found[count]:.1f} s", "", "", ""
    few, many = found.values()
    further = (many - few) / (options.files - options.files // 10)
    yield "  of a further file", f"{1000 * further:.2f} ms", "", "", "2 ms"


def bench_personal(folder, options):
    from generator import write_csv, write_parquet

    for write, name in ((write_csv, "csv"), (write_parquet, "parquet")):
        source = write(folder / f"{options.rows}.{name}", options.rows)
        share = statistics.median(run("personal", source)["share"] for _ in range(options.runs))
        yield f"personal data scan, share of writing {name}", f"{share:.0%}", "", "", "25%"


def bench_imports(folder, options):
    ours, peer = [], []
    for _ in range(options.runs + 2):
        peer.append(run("imports", "import apache_beam")["seconds"])
        found = run("imports", "from headwater.components.collect import collect_dataset")
        assert not found["tensorflow"]
        ours.append(found["seconds"])
    yield ratio("import of collect_dataset / apache_beam", ours, peer, 3.0)


BENCHES = {
    "csv": bench_csv,
    "parquet": bench_parquet,
    "profile": bench_profile,
    "duplicates": bench_duplicates,
    "lookup": bench_lookup,
    "memory": bench_memory,
    "files": bench_files,
    "formats": bench_formats,
    "personal": bench_personal,
    "imports": bench_imports,
}


if __name__ == "__main__":
    sys.exit(benches.main(MEASURES, BENCHES, files=10_000))
