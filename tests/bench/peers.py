"""Whole processes beside those of other tools, on the same files by turns: what somebody waits for from start to written files.

    python tests/bench/peers.py [--rows 2500000] [--runs 3] [--only statistics,parquet] [--peers DuckDB,polars,…] [--folder F]

Each task is run on a fifth of `--rows` and on `--rows`; a peer that takes half a minute for the fifth is left out of the
rest. What our environment cannot hold gets one of its own under `--folder`, made by uv.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

_HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(_HERE)]

from benches import Row, Timed, environment, main
from generator import write_csv, write_parquet

_PATIENCE = 30.0


@dataclasses.dataclass(frozen=True)
class Peer:
    """A tool: Python that takes the path of the data and a path for results, and what it needs."""

    name: str
    script: str
    requirements: tuple[str, ...] = ()
    """Of an environment of its own, pinned, so that a number can be had again; none: it is in ours."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Variables. What a tool would tell its makers over the network is off."""
    program: str = ""
    """What must be on the machine."""


_POLARS = ("polars==1.35.2",)
_SPARK = ("pyspark==3.5.6", "setuptools==80.9.0")
_PANDAS = ("pandas==2.3.3", "numpy==2.3.5", "pyarrow==26.0.1")

STATISTICS = (
    Peer(
        "Headwater",
        """
import sys
from headwater.components.generate_statistics import compute_statistics
compute_statistics(sys.argv[1], sys.argv[2])
""",
    ),
    Peer(
        "DuckDB SUMMARIZE",
        """
import sys
import duckdb
duckdb.sql(f"COPY (SELECT * FROM (SUMMARIZE FROM '{sys.argv[1]}')) TO '{sys.argv[2]}.csv'")
""",
    ),
    Peer(
        "polars describe, approx_n_unique",
        """
import sys
import polars as pl
rows = pl.scan_parquet(sys.argv[1])
rows.describe().write_csv(sys.argv[2] + ".csv")
rows.select(pl.all().approx_n_unique()).collect().write_csv(sys.argv[2] + ".distinct.csv")
""",
        _POLARS,
    ),
    Peer(
        "pandas describe",
        """
import sys
import pandas as pd
pd.read_parquet(sys.argv[1]).describe(include="all").to_csv(sys.argv[2] + ".csv")
""",
        _PANDAS,
    ),
    Peer(
        "whylogs",
        """
import sys
import pandas as pd
import whylogs
whylogs.log(pd.read_parquet(sys.argv[1])).view().write(sys.argv[2] + ".bin")
""",
        ("whylogs==1.6.4", *_PANDAS),
        {"WHYLOGS_NO_ANALYTICS": "True"},
    ),
    Peer(
        "TFDV GenerateStatistics",
        # TFDV reads no Parquet by itself. By the name DirectRunner Beam would look for another engine first.
        """
import sys
import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
from apache_beam.options.pipeline_options import PipelineOptions
from tfx_bsl.arrow import array_util

def read(group):
    for batch in pq.ParquetFile(sys.argv[1]).read_row_group(group).to_batches():
        columns = [array_util.ToSingletonListArray(column) for column in batch.columns]
        yield pa.RecordBatch.from_arrays(columns, batch.schema.names)

with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
    (
        pipeline
        | beam.Create(range(pq.ParquetFile(sys.argv[1]).num_row_groups))
        | beam.Reshuffle()
        | beam.FlatMap(read).with_output_types(pa.RecordBatch)
        | tfdv.GenerateStatistics()
        | tfdv.WriteStatisticsToBinaryFile(sys.argv[2] + ".pb")
    )
""",
    ),
    Peer(
        "ydata-profiling, minimal",
        """
import sys
import pandas as pd
from ydata_profiling import ProfileReport
ProfileReport(pd.read_parquet(sys.argv[1]), minimal=True, progress_bar=False).to_file(sys.argv[2] + ".html")
""",
        ("ydata-profiling==4.18.4", "setuptools==80.9.0", *_PANDAS),
        {"YDATA_PROFILING_NO_ANALYTICS": "True"},
    ),
    Peer(
        "Spark summary",
        """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[*]").config("spark.driver.memory", "8g").getOrCreate()
spark.read.parquet(sys.argv[1]).summary().coalesce(1).write.csv(sys.argv[2])
spark.stop()
""",
        _SPARK,
        program="java",
    ),
    Peer(
        "Deequ's column profiles on Spark",
        """
import sys
import pydeequ
from pydeequ.profiles import ColumnProfilerRunner
from pyspark.sql import SparkSession
spark = (
    SparkSession.builder.master("local[*]")
    .config("spark.driver.memory", "8g")
    .config("spark.jars.packages", pydeequ.deequ_maven_coord)
    .config("spark.jars.excludes", pydeequ.f2j_maven_coord)
    .getOrCreate()
)
found = ColumnProfilerRunner(spark).onData(spark.read.parquet(sys.argv[1])).run()
with open(sys.argv[2] + ".txt", "w") as file:
    print(*found.profiles.items(), sep="\\n", file=file)
spark.sparkContext._gateway.shutdown_callback_server()
spark.stop()
""",
        ("pydeequ==1.7.0", *_SPARK, *_PANDAS),
        {"SPARK_VERSION": "3.5"},
        "java",
    ),
)

PARQUET = (
    Peer(
        "Headwater",
        """
import sys
from headwater.components.collect import collect_dataset
collect_dataset(sys.argv[1], sys.argv[2])
""",
    ),
    Peer(
        "DuckDB COPY",
        """
import sys
import duckdb
duckdb.sql(f"COPY (FROM read_csv('{sys.argv[1]}')) TO '{sys.argv[2]}.parquet' (FORMAT parquet)")
""",
    ),
    Peer(
        "polars scan_csv, sink_parquet",
        """
import sys
import polars as pl
pl.scan_csv(sys.argv[1], try_parse_dates=True).sink_parquet(sys.argv[2] + ".parquet")
""",
        _POLARS,
    ),
    Peer(
        "pandas read_csv, to_parquet",
        """
import sys
import pandas as pd
pd.read_csv(sys.argv[1]).to_parquet(sys.argv[2] + ".parquet")
""",
        _PANDAS,
    ),
)


def bench_statistics(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Statistics of each column of a Parquet file."""
    yield from _beside("statistics", STATISTICS, write_parquet, "parquet", folder, options)


def bench_parquet(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """A CSV file to Parquet, which collect does besides its other work."""
    yield from _beside("CSV to Parquet", PARQUET, write_csv, "csv", folder, options)


def _beside(task, tools, write, ending, folder, options) -> Iterator[Row]:
    ours, *peers = tools
    chosen = [each for each in peers if not options.peers or each.name.split()[0] in options.peers.split(",")]
    for rows in (options.rows // 5, options.rows):
        source = write(folder / f"{rows}.{ending}", rows)
        for peer in list(chosen):
            label = f"{task}, {rows:,} rows; {peer.name}"
            if reason := _install(peer, folder):
                chosen.remove(peer)
                yield Row(f"{label}: left out, {reason}")
                continue
            timed = Timed([], [])
            for _ in range(options.runs):
                for tool, seconds in ((peer, timed.peer), (ours, timed.ours)):
                    seconds.append(_seconds(tool, source, folder))
                if timed.peer[-1] == float("inf") or timed.peer[-1] > _PATIENCE:
                    break
            one, other = statistics.median(timed.ours), statistics.median(timed.peer)
            if other == float("inf"):
                chosen.remove(peer)
                yield Row(f"{label}: left out, it did not run here")
                continue
            if other > _PATIENCE:
                chosen.remove(peer)
            yield Row(label, f"{one:.2f} s", f"{other:.2f} s", f"{one / other:.2f}", "", timed)


def _seconds(tool: Peer, source: pathlib.Path, folder: pathlib.Path) -> float:
    """How long its process takes; infinite if it fails, and what it says of that is printed."""
    results = folder / "out"
    for old in folder.glob("out*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    variables = {**os.environ, "PYTHONWARNINGS": "ignore", **tool.environment}
    command = [str(_python(tool, folder)), "-c", tool.script, str(source), str(results)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=folder)
    seconds = time.perf_counter() - started
    if done.returncode:
        print(f"{tool.name}: {done.stderr.strip()[-1000:]}", file=sys.stderr)
        return float("inf")
    return seconds


def _python(tool: Peer, folder: pathlib.Path) -> pathlib.Path:
    return folder / "peers" / tool.requirements[0] / "bin/python" if tool.requirements else pathlib.Path(sys.executable)


def _install(tool: Peer, folder: pathlib.Path) -> str:
    """Makes a tool's environment unless it is there; why it could not, or nothing."""
    if tool.program and not shutil.which(tool.program):
        return f"there is no {tool.program}"
    return environment(_python(tool, folder).parents[1], tool.requirements) if tool.requirements else ""


BENCHES = {"statistics": bench_statistics, "parquet": bench_parquet}

if __name__ == "__main__":
    sys.exit(main([], BENCHES, peers=""))
