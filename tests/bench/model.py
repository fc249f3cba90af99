"""What a run costs in time and money at any size, from constants that were measured on small runs.

    python tests/bench/model.py                 the tables, from the constants in model.json
    python tests/bench/model.py --measure       measures the constants anew, writes them there, and the tables in images/OPERATING.md
    python tests/bench/model.py --check [--big] holds predictions against fresh runs, and says how far off they are
    python tests/bench/model.py --set cores=64 --set parallelism=500 …    the tables with other settings

A run's CPU seconds are a sum: the start of its processes, what each column costs whatever the rows, each cell by the kind of
its values, each element of a graph (its state made and merged), and each file. Constants are fitted to CPU seconds, least of
several runs, since other work on a machine only adds to them.

The start is no sum by the clock: the driver imports and plans while Beam is imported, a server of workers preloads what they
need, and the workers start. How long that takes on two cores and more is a constant of its own, `clock`, fitted to seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import pathlib
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import benches
import sizing

CONSTANTS = pathlib.Path(__file__).with_suffix(".json")
PAGE = pathlib.Path(__file__).parents[2] / "images/OPERATING.md"
"""Where the table of whole runs and that of limits stand."""

KINDS = {"float": 8, "integer": 4, "category": 4, "text": 2}
"""How many columns of each kind the table has that everything is measured on (`generator.py`)."""

PREFIXES = {"float": "float_", "integer": "int_", "category": "category_", "text": ("id", "text")}
"""How the names of a kind's columns begin."""

WAYS = ("collect csv", "collect parquet", "generate-statistics", "label", "validate rows", "infer-schema", "validate")
"""What is modelled: components, by how they are used."""

OF_COLUMNS = ("infer-schema", "validate")
"""These read no rows: their cost is that of columns."""

_COMPONENTS = {"collect csv": "collect", "collect parquet": "collect", "validate rows": "validate"}
# What a project's section says, for `fanning.rounds`.
_PROJECTS: dict[str, dict[str, Any]] = {
    "label": {"label": {"steps": [{"method": "weak_supervision"}]}},
    "validate rows": {"validate": {"rows": {"rules": [{"name": "small", "row": "int_small < 10"}]}}},
}


class Shape(NamedTuple):
    """A table: rows, and columns of kinds in the proportions of `KINDS`."""

    rows: float
    columns: int = 18

    def cells(self, kind: str) -> float:
        """How many values of a kind it has."""
        return self.rows * self.columns * KINDS[kind] / sum(KINDS.values())

    @property
    def all_cells(self) -> float:
        """How many values it has."""
        return self.rows * self.columns


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is assumed beside what was measured. `--set NAME=VALUE` changes one.

    Prices are list prices in US dollars, of Google Cloud's us-central1, rounded, without discounts.

    Attributes:
      cores: of the one machine.
      busy: the share of the cores' time that work gets while all are busy.
      rows_of_a_part: `platform.fanout.rows`.
      parallelism: pods that run at once.
      pod_cores: of each.
      pod_start: seconds until a pod's first line: scheduling, and an image that the node has.
      workers: Dataflow's most workers.
      worker_cores: of each.
      worker_memory: GB of each.
      job_start: seconds until Dataflow's workers work, and until the job has ended after them.
      core_hour: of a machine or pod with 4 GB a core: e2-standard, https://cloud.google.com/compute/vm-instance-pricing
      dataflow_core_hour, dataflow_memory_hour, dataflow_shuffle: a core, a GB, a GB shuffled, of batch jobs:
        https://cloud.google.com/dataflow/pricing
      storage_month: a GB of standard storage a month: https://cloud.google.com/storage/pricing-examples
      writes, reads: of 1,000 requests that write or list, and that read: the same page.
      latency: seconds of a request to the store, while which a core waits.
      streams: requests that a core has under way at once.
    """

    cores: float = 16
    busy: float = 0.9
    rows_of_a_part: float = 10_000_000
    parallelism: float = 100
    pod_cores: float = 2
    pod_start: float = 20
    workers: float = 100
    worker_cores: float = 2
    worker_memory: float = 8
    job_start: float = 240
    core_hour: float = 0.0335
    dataflow_core_hour: float = 0.056
    dataflow_memory_hour: float = 0.003557
    dataflow_shuffle: float = 0.011
    storage_month: float = 0.020
    writes: float = 0.005
    reads: float = 0.0004
    latency: float = 0.05
    streams: float = 1


class Cost(NamedTuple):
    """What a run takes.

    Attributes:
      seconds: until it has ended.
      core_seconds: of processors that are paid for, busy or not.
      dollars: of processors and requests; of Dataflow also of memory and shuffles.
    """

    seconds: float
    core_seconds: float
    dollars: float


# The model.


def cpu(way: str, shape: Shape, constants: Mapping[str, Any], files: int = 1) -> dict[str, float]:
    """CPU seconds of a run on one machine, by what they are for; their sum is the run's."""
    own = constants["seconds"][way]
    parts = {
        "start": own["start"],
        "columns": own["column"] * shape.columns,
        "cells": sum(own["cell"][kind] * shape.cells(kind) for kind in KINDS),
        "elements": own["element"] * elements(way, shape, constants),
        "files": own["file"] * (files - 1),
    }
    return {name: seconds for name, seconds in parts.items() if seconds or name == "start"}


def elements(way: str, shape: Shape, constants: Mapping[str, Any]) -> int:
    """How many elements the graph of a run has."""
    graph = constants["graph"]
    if way in OF_COLUMNS:
        return 0
    if way == "generate-statistics":
        size = min(max(shape.all_cells / graph["elements"], graph["least cells"]), graph["most cells"])
        return math.ceil(shape.all_cells / size)
    if way == "collect csv":
        return math.ceil(size_of(shape, "csv", constants) / graph["bytes of a range"])
    return math.ceil(shape.rows / graph["rows of a range"])


def shards(shape: Shape, constants: Mapping[str, Any]) -> int:
    """How many shards collect writes, of two splits."""
    return 2 * elements("collect csv", shape, constants)


def size_of(shape: Shape, name: str, constants: Mapping[str, Any]) -> float:
    """Bytes of a table, as `csv` or `parquet`."""
    return sum(constants["bytes"][name][kind] * shape.cells(kind) for kind in KINDS)


def requests(way: str, shape: Shape, constants: Mapping[str, Any]) -> tuple[float, float]:
    """How many requests a run makes to a store: those that read, and those that write or list."""
    own = constants["requests"].get(_COMPONENTS.get(way, way), {"reads": 0, "writes": 0})
    count = elements("collect csv", shape, constants)
    return own["reads"] * count, own["writes"] * count


def merges(count: float, constants: Mapping[str, Any]) -> float:
    """How many nodes are merged one after the other on the way from an element to the result, however many do it."""
    group = constants["graph"]["merged at once"]
    return group * math.ceil(math.log(max(count, 2), group))


def rounds(way: str) -> int:
    """How many rounds of parts `headwater compile --fanout` gives."""
    from headwater.pipelines.cluster import fanning

    component = _COMPONENTS.get(way, way)
    return 0 if way in OF_COLUMNS else fanning.rounds(component, _PROJECTS.get(way, {}))


def begun(way: str, constants: Mapping[str, Any], cores: float) -> float:
    """Seconds by the clock that the start of a run takes, whose processes start side by side as far as cores go."""
    own = constants["seconds"][way]
    return max(own["clock"], own["start"] / cores)


def one_machine(way: str, shape: Shape, constants: Mapping[str, Any], settings: Settings) -> Cost:
    """A run on one machine whose cores share the cells."""
    parts = cpu(way, shape, constants)
    waiting = sum(requests(way, shape, constants)) * settings.latency / settings.streams
    spread = parts.get("cells", 0) + parts.get("elements", 0) + waiting
    last = constants["seconds"][way]["element"] * merges(elements(way, shape, constants), constants) * (spread > 0)
    begin = begun(way, constants, settings.cores)
    seconds = begin + parts.get("columns", 0) + spread / (settings.cores * settings.busy) + last
    return _cost(way, shape, constants, settings, seconds, seconds * settings.cores)


def fanned(way: str, shape: Shape, constants: Mapping[str, Any], settings: Settings) -> Cost:
    """A run as pods of Kubeflow: for each round a task that plans and parts, and at the end the component's own task."""
    own, parts = constants["seconds"][way], cpu(way, shape, constants)
    count = max(1, math.ceil(shape.rows / settings.rows_of_a_part))
    waves = math.ceil(count / settings.parallelism)
    waiting = sum(requests(way, shape, constants)) * settings.latency / settings.streams
    # Each task reads the index of all shards, or what the scan left.
    index = constants["seconds of a shard in an index"] * shards(shape, constants)
    work = (parts.get("cells", 0) + parts.get("elements", 0) + waiting) / count
    # Its passes share a component's work; the start is every task's.
    number = rounds(way) if count > 1 else 0
    begin = settings.pod_start + begun(way, constants, settings.pod_cores) + index
    of_part = begin + (work / max(number, 1)) / (settings.pod_cores * settings.busy)
    final = begin + parts.get("columns", 0) + own["element"] * (count + merges(count, constants)) * (number > 0)
    if not number:
        final += work * count / (settings.pod_cores * settings.busy)
    seconds = number * (begin + waves * of_part) + final
    pods = number * (begin + count * of_part) + final
    return _cost(way, shape, constants, settings, seconds, pods * settings.pod_cores)


def dataflow(way: str, shape: Shape, constants: Mapping[str, Any], settings: Settings) -> Cost:
    """A run whose graphs are Dataflow's; what needs no graph runs as a pod does."""
    if way in OF_COLUMNS:
        return fanned(way, shape, constants, settings)
    own, parts = constants["seconds"][way], cpu(way, shape, constants)
    count = elements(way, shape, constants)
    workers = min(settings.workers, math.ceil(count / settings.worker_cores))
    waiting = sum(requests(way, shape, constants)) * settings.latency / settings.streams
    spread = parts.get("cells", 0) + parts.get("elements", 0) + waiting
    graphs = max(rounds(way), 1)
    working = spread / (workers * settings.worker_cores * settings.busy)
    driver = begun(way, constants, settings.pod_cores) + parts.get("columns", 0)
    driver += own["element"] * merges(count, constants)
    seconds = driver + graphs * settings.job_start + working
    paid = workers * (working + graphs * settings.job_start / 2)
    shuffled = constants["bytes of a state"] * count * 2 / 1e9 if way == "generate-statistics" else 0.0
    per_hour = (
        settings.worker_cores * settings.dataflow_core_hour + settings.worker_memory * settings.dataflow_memory_hour
    )
    machine = _cost(way, shape, constants, settings, seconds, seconds * settings.pod_cores)
    dollars = machine.dollars + paid / 3600 * per_hour + shuffled * settings.dataflow_shuffle
    return Cost(seconds, machine.core_seconds + paid * settings.worker_cores, dollars)


def _cost(way, shape, constants, settings, seconds, core_seconds) -> Cost:
    reads, writes = requests(way, shape, constants)
    asked = reads / 1000 * settings.reads + writes / 1000 * settings.writes
    return Cost(seconds, core_seconds, core_seconds / 3600 * settings.core_hour + asked)


ENGINES = {"one machine": one_machine, "fan-out": fanned, "Dataflow": dataflow}
SIZES = [*(Shape(10.0**power) for power in range(6, 13)), Shape(1e9, 2000)]


def table(constants: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """The table of costs by component, in Markdown."""
    yield "| rows × columns | " + " | ".join(WAYS) + " |"
    yield "| --- " * (len(WAYS) + 1) + "|"
    for engine, run in ENGINES.items():
        yield f"| **{engine}** |" + " |" * len(WAYS)
        for shape in SIZES:
            costs = [run(way, shape, constants, settings) for way in WAYS]
            cells = " | ".join(f"{duration(each.seconds)}, {money(each.dollars)}" for each in costs)
            yield f"| {power(shape)} | {cells} |"


def totals(constants: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """The table of whole runs from CSV to the verdict, in Markdown: time and money by engine, and what is stored."""
    told = {
        "one machine": f"one machine, {settings.cores:g} cores",
        "fan-out": f"fan-out, at most {settings.parallelism:g} pods of {settings.pod_cores:g} cores",
        "Dataflow": f"Dataflow, at most {settings.workers:g} workers of {settings.worker_cores:g} cores",
    }
    yield "| rows × columns | CSV | " + " | ".join(told[engine] for engine in ENGINES) + " | Parquet stored, a month |"
    yield "| --- " * (len(ENGINES) + 3) + "|"
    for shape in SIZES:
        cells = []
        for run in ENGINES.values():
            costs = [run(way, shape, constants, settings) for way in WAYS if way != "collect parquet"]
            cells.append(
                f"{duration(sum(each.seconds for each in costs))}, {money(sum(each.dollars for each in costs))}"
            )
        stored = money(size_of(shape, "parquet", constants) / 1e9 * settings.storage_month)
        yield f"| {power(shape)} | {volume(size_of(shape, 'csv', constants))} | {' | '.join(cells)} | {stored} |"


def written(page: str, constants: Mapping[str, Any]) -> str:
    """A page with both tables, between its marks."""
    import limits

    for name, lines in (("model", totals(constants, Settings())), ("limits", limits.limiting(constants))):
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = page.partition(begin)
        page = before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.partition(end)[2]
    return page


def volume(size: float) -> str:
    for length, name in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB")):
        if size >= length:
            return f"{size / length:,.1f} {name}"
    return f"{size / 1e6:,.0f} MB"


def power(shape: Shape) -> str:
    return f"10^{round(math.log10(shape.rows))} × {shape.columns:,}"


def duration(seconds: float) -> str:
    for length, name in ((86_400 * 3, "d"), (7_200, "h"), (120, "min")):
        if seconds >= length:
            return f"{seconds / {'d': 86_400, 'h': 3_600, 'min': 60}[name]:,.0f} {name}"
    return f"{seconds:.0f} s"


def money(dollars: float) -> str:
    return "< $0.01" if dollars < 0.01 else f"${dollars:.2f}" if dollars < 10 else f"${dollars:,.0f}"


# Measuring.

RULES = "name: sizes\nvalidate: {rows: {rules: [{name: small, row: 'int_small < 10'}, {name: words, row: 'length(text) > 5'}]}}\n"
COMMANDS = {
    "collect csv": ["collect", "{source}.csv", "--output", "csv"],
    "collect parquet": ["collect", "{source}.parquet", "--output", "data"],
    "generate-statistics": ["generate-statistics", "data", "--output", "statistics"],
    "label": ["label", "data", "--project", "label.yaml", "--output", "labels"],
    "infer-schema": ["infer-schema", "statistics", "--output", "schema"],
    "validate": ["validate", "statistics", "schema", "--output", "anomalies"],
    "validate rows": ["validate", "statistics", "schema", "--project", "rules.yaml", "--output", "ruled"],
}
"""What runs, in this order in one folder: each uses what the ones before left."""


def work(way: str, source: str, folder: str, least_cells: str = "") -> dict:
    """Runs one way over a source, in this process."""
    from headwater.components.generate_statistics import compute
    from headwater.pipelines import cli

    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    command = [part.format(source=source) for part in COMMANDS[way]]
    shutil.rmtree(command[-1], ignore_errors=True)
    for name, text in (("label.yaml", f"name: sizes{sizing.WEAK}"), ("rules.yaml", RULES)):
        pathlib.Path(name).write_text(text)
    if least_cells:
        compute.LEAST_CELLS, compute.ELEMENTS = int(least_cells), 1 << 30
    return {"code": cli.main([*command, "--quiet"])}


MEASURES = (work,)


def least(runs: int, way: str, source: pathlib.Path, folder: pathlib.Path, *more: Any) -> tuple[float, float]:
    """The least CPU seconds and seconds of some runs, whole processes."""
    found = []
    for _ in range(runs):
        begun = time.perf_counter()
        used = benches.run("work", way, source.with_suffix(""), folder, *more)["cpu"]
        found.append((used, time.perf_counter() - begun))
    return min(used for used, _ in found), min(seconds for _, seconds in found)


def prepared(folder: pathlib.Path, rows: int, kind: str = "", columns: int = 0) -> pathlib.Path:
    """The table as a Parquet file: of all its columns, of those of one kind, or of many columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from generator import write_parquet, write_wide

    if columns:
        return write_wide(folder / f"wide-{columns}-{rows}.parquet", rows, columns)
    whole = write_parquet(folder / f"{rows}.parquet", rows)
    path = folder / f"{kind}-{rows}.parquet"
    if kind and not path.exists():
        file = pq.ParquetFile(whole)
        names = [name for name in file.schema_arrow.names if name.startswith(PREFIXES[kind])]
        with pq.ParquetWriter(path, pa.schema([file.schema_arrow.field(name) for name in names])) as writer:
            for batch in file.iter_batches(100_000, columns=names):
                writer.write_batch(batch)
    return path if kind else whole


def as_csv(path: pathlib.Path) -> pathlib.Path:
    """A Parquet file's rows as CSV beside it."""
    import duckdb

    text = path.with_suffix(".csv")
    if not text.exists():
        duckdb.sql(f"COPY (FROM '{path}') TO '{text}' (HEADER)")
    return text


def check(folder: pathlib.Path, constants: Mapping[str, Any], rows: Sequence[int], runs: int) -> int:
    """Prints predictions beside fresh runs; how many are further off than the bar."""
    off = 0
    for count in rows:
        path = prepared(folder, count)
        as_csv(path)
        for way in COMMANDS:
            parts = cpu(way, Shape(count), constants)
            predicted = sum(parts.values())
            used, seconds = least(runs, way, path, folder / "model" / str(count))
            spread = parts.get("cells", 0) + parts.get("elements", 0)
            begin = begun(way, constants, benches.THREADS)
            wall = begin + parts.get("columns", 0) + spread / benches.THREADS
            share = predicted / used - 1
            off += abs(share) > BAR
            told = f"{count:>12,} {way:20} CPU {predicted:8.1f} s, run {used:8.1f} s: {share:+.0%}"
            print(f"{told}   wall {wall:7.1f} s, run {seconds:7.1f} s: {wall / seconds - 1:+.0%}", flush=True)
    return off


BAR = 0.20
"""How far a prediction may be off."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="*", help="measure the constants, and write them")
    parser.add_argument("--check", action="store_true", help="hold predictions against fresh runs")
    parser.add_argument("--big", action="store_true", help="with --check: also 25 million rows")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement; the least counts")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the model")
    parser.add_argument("--folder", default=str(pathlib.Path.home() / ".cache/headwater-bench"))
    options = parser.parse_args()
    folder = pathlib.Path(options.folder)
    if options.measure:
        name, *arguments = options.measure
        print(json.dumps({function.__name__: function for function in MEASURES}[name](*arguments)))
        return 0
    if options.measure is not None:
        import model_fit

        found = {"about": about(), **model_fit.constants(folder, options.runs)}
        CONSTANTS.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(written(PAGE.read_text(), found))
    constants = json.loads(CONSTANTS.read_text())
    changed = {name: float(value) for name, _, value in (each.partition("=") for each in options.set)}
    settings = dataclasses.replace(Settings(), **changed)
    if options.check:
        return check(folder, constants, [100_000, 1_000_000, 2_500_000, *[25_000_000] * options.big], options.runs) > 0
    print(*totals(constants, settings), "", *table(constants, settings), sep="\n")
    return 0


def about() -> dict[str, Any]:
    """The machine and the versions that constants are of."""
    import duckdb
    import pyarrow

    return {
        "date": datetime.date.today().isoformat(),
        "cores": benches.THREADS,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "pyarrow": pyarrow.__version__,
        "duckdb": duckdb.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())
