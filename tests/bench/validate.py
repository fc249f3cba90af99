"""validate: alarms on unchanged data, planted changes found, and cost; TFDV's comparators on the same data.

    python tests/bench/validate.py [--rows 2500000] [--pairs 200] [--seeds 100] [--runs 3] [--only false,power,…] [--folder F]

`--pairs` and `--seeds` say how often.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import anomalies_pb2

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from benches import Peak, Row, duckdb_query, main, ratio, run
from generator import _batch, _wide_batch, write_parquet

SIZES = (
    (18, 1_000, 0.35),
    (18, 10_000, 0.25),
    (18, 100_000, 0.1),
    (18, 1_000_000, 0.05),
    (1000, 1_000, 0.2),
    (1000, 10_000, 0.05),
)
"""Columns, rows, and the share of the pairs that are of this size."""

CATEGORIES_L_INFINITY, NUMBERS_JENSEN_SHANNON = 0.01, 0.01
"""TFDV's comparators take these here: its guide sets 0.01 for both of its examples."""

ROWS = 100_000


def features(batch: pa.RecordBatch) -> tuple[dict, Any]:
    """Each column's distribution and TFDV's statistics, as generate-statistics leaves them."""
    from headwater.components.common import distributions
    from headwater.components.generate_statistics.measure.measuring import measure
    from headwater.components.generate_statistics.plan.plan import Plan
    from headwater.components.generate_statistics.report.protos import to_statistics
    from headwater.components.generate_statistics.state.state_file import encode

    state = measure(batch, Plan(schema=batch.schema))
    return distributions.read(encode(state)), to_statistics(state, "all")


def alarms(then: dict, now: dict, **settings: float) -> list[str]:
    """The features that raise an alarm, with the settings' defaults or others."""
    from headwater.components.validate import drift
    from headwater.components.validate.checks.drift import Drift

    chosen = Drift(**settings)
    found = drift.judge(
        drift.compare("all", then, now, "the earlier span"), max_p=chosen.max_p, min_effect=chosen.min_effect
    )
    return [each.feature for each in found if each.alarm]


def tfdv_alarms(then: Any, now: Any) -> int:
    """How many features TFDV's comparators name."""
    from headwater.components.common.tfdv import tfdv

    schema = tfdv.infer_schema(then, max_string_domain_size=0)
    kinds = {feature.path.step[0]: feature.WhichOneof("stats") for feature in then.datasets[0].features}
    for feature in schema.feature:
        if kinds[feature.name] == "num_stats":
            feature.drift_comparator.jensen_shannon_divergence.threshold = NUMBERS_JENSEN_SHANNON
        else:
            feature.drift_comparator.infinity_norm.threshold = CATEGORIES_L_INFINITY
    found = tfdv.validate_statistics(now, schema, previous_statistics=then)
    return sum(
        any("COMPARATOR" in anomalies_pb2.AnomalyInfo.Type.Name(reason.type) for reason in info.reason)
        for info in found.anomaly_info.values()
    )


def bench_false(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Pairs of samples of unchanged data: those with an alarm, and the features that raise one; the peer is TFDV."""
    sums = np.zeros(3)
    for columns, rows, share in SIZES:
        pairs = max(1, round(options.pairs * share))
        ours, theirs = [], []
        for pair in range(pairs):
            sides = []
            for side in range(2):
                # Rows of another place in the same stream: other chance, the same distributions.
                start = 10**9 * (2 * pair + side)
                make = _batch if columns == 18 else _wide_batch
                batch = make(start, rows, 7) if columns == 18 else make(start, rows, columns)
                sides.append(features(batch))
            ours.append(len(alarms(sides[0][0], sides[1][0])))
            theirs.append(tfdv_alarms(sides[0][1], sides[1][1]))
        some = [sum(each > 0 for each in found) for found in (ours, theirs)]
        sums += [pairs, *some]
        label = f"{pairs:,} unchanged pairs, {columns:,} × {rows:,} rows: with an alarm"
        yield Row(label, f"{some[0]}", f"{some[1]}")
        yield Row("  features with an alarm", f"{sum(ours)}", f"{sum(theirs)}")
    yield Row("all unchanged pairs: with an alarm", f"{sums[1] / sums[0]:.1%}", f"{sums[2] / sums[0]:.1%}", "", "≤ 5 %")


PLANTED: dict[str, tuple[str, Callable[[np.random.Generator, pa.Array], pa.Array]]] = {}


def _plant(title: str, column: str) -> Callable:
    def keep(change: Callable[[np.random.Generator, pa.Array], pa.Array]) -> Callable:
        PLANTED[title] = (column, change)
        return change

    return keep


@_plant("mean by 0.1 sd", "float_0")
def _mean_a_little(chance: np.random.Generator, column: pa.Array) -> pa.Array:
    return pa.array(column.to_numpy(zero_copy_only=False) + 0.1)


@_plant("mean by 0.3 sd", "float_0")
def _mean(chance: np.random.Generator, column: pa.Array) -> pa.Array:
    return pa.array(column.to_numpy(zero_copy_only=False) + 0.3)


@_plant("mean by 1 sd", "float_0")
def _mean_far(chance: np.random.Generator, column: pa.Array) -> pa.Array:
    return pa.array(column.to_numpy(zero_copy_only=False) + 1.0)


@_plant("one category in 300 doubled", "equal_300")
def _doubled(chance: np.random.Generator, column: pa.Array) -> pa.Array:
    values = column.to_numpy(zero_copy_only=False)
    return pa.array(np.where(chance.random(len(values)) < 1 / 300, "value-7", values).astype(object))


@_plant("5 % new missing", "float_0")
def _missing(chance: np.random.Generator, column: pa.Array) -> pa.Array:
    return pa.array(column.to_numpy(zero_copy_only=False), mask=chance.random(len(column)) < 0.05)


@_plant("unit change on 10 % of rows", "float_1")
def _unit(chance: np.random.Generator, column: pa.Array) -> pa.Array:
    values = column.to_numpy(zero_copy_only=False)
    return pa.array(np.where(chance.random(len(values)) < 0.1, values * 1000, values), from_pandas=True)


def bench_power(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Planted changes among 19 columns: how often they are found, and nothing else; by the test alone, and by default.

    By default a change that is beyond chance, and smaller than `min_effect`, is no alarm.
    """
    found = {title: [0, 0] for title in PLANTED}
    for seed in range(options.seeds):
        chance = np.random.default_rng(seed)
        batches = [_batch(10**9 * (2 * seed + side), ROWS, 7) for side in range(2)]
        tables = [
            pa.RecordBatch.from_arrays(
                [
                    *batch.columns,
                    pa.array(np.char.add("value-", chance.integers(0, 300, ROWS).astype(str)).astype(object)),
                ],
                [*batch.schema.names, "equal_300"],
            )
            for batch in batches
        ]
        then, now = (features(table)[0] for table in tables)
        for title, (column, change) in PLANTED.items():
            changed = change(chance, tables[1].column(tables[1].schema.get_field_index(column)))
            own = features(pa.RecordBatch.from_arrays([changed], [column]))[0]
            for way, settings in enumerate(({"min_effect": 0.0}, {})):
                found[title][way] += alarms(then, {**now, **own}, **settings) == [column]
    for title, (tested, default) in found.items():
        yield Row(f"{title}, {ROWS:,} rows: found in {options.seeds}", f"{tested}", "", "", "≥ 95 %")
        yield Row("  with min_effect as it is by default", f"{default}")


COSTS = ((1_000, 5_000, 1.0), (1_000, 20_000, 1.0), (10_000, 5_000, 12.0))
"""Features, rows, and the most seconds from statistics to verdict."""


def bench_cost(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Many features, from statistics to verdict: seconds, and beside them seconds of processors."""
    import pyarrow.parquet as pq

    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.infer_schema import derive_schema
    from headwater.components.validate import check_statistics

    for columns, rows, bar in COSTS:
        place = folder / "validate"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        measured = []
        for side in range(2):
            data = place / f"{side}.parquet"
            pq.write_table(pa.Table.from_batches([_wide_batch(10**9 * side, rows, columns)]), data)
            measured.append(compute_statistics(str(data), str(place / f"statistics-{side}")).folder)
        schema = derive_schema(measured[0], str(place / "schema")).folder
        seconds, cpu = [], []
        for number in range(options.runs + 1):
            started, used = time.perf_counter(), time.process_time()
            check_statistics(measured[1], schema, str(place / f"verdict-{number}"), baseline=measured[0])
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - used)
        # The first run loads code that later ones have.
        label = f"{columns:,} features of {rows:,} rows validated; CPU"
        one, other = (f"{statistics.median(each[1:]):.2f} s" for each in (seconds, cpu))
        yield Row(label, one, other, "", f"≤ {bar:.0f} s")


RULES = [
    *[f"float_{n} > -1000000 OR float_{n} IS NULL" for n in range(8)],
    *[f"int_small <> {n + 20}" for n in range(4)],
    *[f"int_year BETWEEN {1900 + n} AND 2100" for n in range(4)],
    *[f"length(category_{n}) < 40" for n in (20, 300)],
    "abs(int_wide) <= 1000000000",
    "text <> '' AND id LIKE 'id-%'",
]


def measure_rules(source: str) -> dict:
    """Seconds of 20 rules over rows."""
    # As of the peer, imports are not counted; the start of workers is.
    import headwater.components.common.beam_graph  # noqa: F401
    from headwater.components.validate import check_rows

    before, started = time.process_time(), time.perf_counter()
    check_rows(source, config={"rules": [{"name": f"r{n}", "row": rule} for n, rule in enumerate(RULES)]})
    return {"seconds": time.perf_counter() - started, "before": before}


def measure_skew(source: str) -> dict:
    """Seconds and memory of feature skew, a side against itself."""
    from headwater.components.validate import measure_feature_skew

    started = time.perf_counter()
    with Peak() as peak:
        measure_feature_skew(source, config={"serving": source, "key": ["id"]})
    return {"seconds": time.perf_counter() - started, "peak": peak.bytes}


def bench_rules(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """20 rules over rows, beside DuckDB."""
    source = write_parquet(folder / f"{options.rows}.parquet", options.rows)
    counts = ", ".join(f"count(*) FILTER (NOT ({rule}))" for rule in RULES)
    ours, peer = [], []
    for _ in range(options.runs):
        peer.append(run("duckdb_query", f"SELECT {counts} FROM '{source}'"))
        ours.append(run("measure_rules", source))
    for what, title, bar in (("seconds", "DuckDB", 1.5), ("cpu", "DuckDB, CPU", None)):
        sides = ([each[what] for each in side] for side in (ours, peer))
        yield ratio(f"20 rules, {options.rows:,} rows; {title}", *sides, bar)


def bench_skew(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Feature skew by key, and its memory as rows grow."""
    peaks = []
    for rows in (options.rows // 5, options.rows):
        found = run("measure_skew", write_parquet(folder / f"{rows}.parquet", rows))
        peaks.append(found["peak"])
        label = f"feature skew, {rows:,} rows × {rows:,}; memory"
        yield Row(label, f"{found['seconds']:.2f} s", f"{found['peak'] / 2**20:,.0f} MiB")
    yield Row("  memory over 5 times the rows", "", "", f"{peaks[1] / peaks[0]:.2f}", "flat")


BENCHES = {"false": bench_false, "power": bench_power, "cost": bench_cost, "rules": bench_rules, "skew": bench_skew}

if __name__ == "__main__":
    sys.exit(main([measure_rules, measure_skew, duckdb_query], BENCHES, pairs=200, seeds=100))
