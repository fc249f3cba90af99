"""validate: alarms on unchanged data, planted changes found, and cost; TFDV's comparators on the same data.

    python tests/bench/validate.py [--pairs 200] [--seeds 100] [--only false,power,cost,rules,skew] [--folder F]

Prints tables as text. `--pairs` and `--seeds` say how often.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import anomalies_pb2

sys.path.insert(0, str(pathlib.Path(__file__).parent))

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


def main() -> int:
    """The command line."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default=",".join(BENCHES))
    parser.add_argument("--folder", default=str(pathlib.Path.home() / ".cache/headwater-bench"))
    parser.add_argument("--measure", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        from common import duckdb_query

        name, argument = options.measure
        measures = {each.__name__: each for each in (measure_rules, measure_skew, duckdb_query)}
        print(json.dumps(measures[name](argument)))
        return 0
    for name in options.only.split(","):
        for line in BENCHES[name](options):
            print(line, flush=True)
    return 0


def features(batch: pa.RecordBatch) -> tuple[dict, Any]:
    """Each column's distribution and TFDV's statistics, as generate-statistics leaves them."""
    from headwater.components.common import distributions
    from headwater.components.generate_statistics.measure.measuring import measure
    from headwater.components.generate_statistics.plan.plan import Plan
    from headwater.components.generate_statistics.report.protos import to_statistics
    from headwater.components.generate_statistics.state.state_file import encode

    state = measure(batch, Plan(schema=batch.schema))
    return distributions.read(encode(state)), to_statistics(state, "all")


def alarms(then: dict, now: dict) -> list[str]:
    """The features that raise an alarm, with the settings' defaults."""
    from headwater.components.validate import drift
    from headwater.components.validate.checks.drift import Drift

    settings = Drift()
    found = drift.judge(
        drift.compare("all", then, now, "the earlier span"),
        max_p=settings.max_p,
        min_effect=settings.min_effect,
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


def false_alarms(options: argparse.Namespace) -> Iterator[str]:
    """Pairs of samples of unchanged data."""
    from generator import _batch, _wide_batch

    yield f"{'unchanged data':32}{'pairs':>8}{'with an alarm':>15}{'features':>10}   {'TFDV: with an alarm':>20}{'features':>10}"
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
        yield (
            f"{f'{columns:,} columns × {rows:,} rows':32}{pairs:>8}{some[0]:>15}{sum(ours):>10}   {some[1]:>20}{sum(theirs):>10}"
        )
    yield f"{'all':32}{int(sums[0]):>8}{sums[1] / sums[0]:>14.1%}{'':>11}   {sums[2] / sums[0]:>20.1%}   bar ≤ 5 %"


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


def power(options: argparse.Namespace) -> Iterator[str]:
    """Planted changes among 19 columns."""
    from generator import _batch

    found = dict.fromkeys(PLANTED, 0)
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
            found[title] += alarms(then, {**now, **own}) == [column]
    yield f"{'planted, ' + f'{ROWS:,} rows, 19 columns':44}{'found, and nothing else':>26}   bar ≥ 95 %"
    for title, count in found.items():
        yield f"{title:44}{f'{count} of {options.seeds}':>26}"


def cost(options: argparse.Namespace) -> Iterator[str]:
    """1,000 features, from statistics to verdict."""
    import pyarrow.parquet as pq
    from generator import _wide_batch

    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.infer_schema import derive_schema
    from headwater.components.validate import check_statistics

    for rows in (5_000, 20_000):
        folder = pathlib.Path(options.folder) / "validate"
        shutil.rmtree(folder, ignore_errors=True)
        measured = []
        for side in range(2):
            place = folder / f"{side}.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_batches([_wide_batch(10**9 * side, rows, 1000)]), place)
            measured.append(compute_statistics(str(place), str(folder / f"statistics-{side}")).folder)
        schema = derive_schema(measured[0], str(folder / "schema")).folder
        seconds = []
        for run in range(options.runs + 1):
            started = time.perf_counter()
            check_statistics(measured[1], schema, str(folder / f"verdict-{run}"), baseline=measured[0])
            seconds.append(time.perf_counter() - started)
        # The first run loads code that later ones have.
        label = f"1,000 features of {rows:,} rows validated"
        yield f"{label:44}{statistics.median(seconds[1:]):>24.2f} s   bar ≤ 1 s"


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

    started = time.perf_counter()
    check_rows(source, config={"rules": [{"name": f"r{n}", "row": rule} for n, rule in enumerate(RULES)]})
    return {"seconds": time.perf_counter() - started}


def measure_skew(source: str) -> dict:
    """Seconds and memory of feature skew, a side against itself."""
    import common

    from headwater.components.validate import measure_feature_skew

    started = time.perf_counter()
    with common.Peak() as peak:
        measure_feature_skew(source, config={"serving": source, "key": ["id"]})
    return {"seconds": time.perf_counter() - started, "peak": peak.bytes}


def rules(options: argparse.Namespace) -> Iterator[str]:
    """20 rules over 2.5 M rows, beside DuckDB."""
    from common import run
    from generator import write_parquet

    source = write_parquet(pathlib.Path(options.folder) / "2500000.parquet", 2_500_000)
    counts = ", ".join(f"count(*) FILTER (NOT ({rule}))" for rule in RULES)
    ours, peer = [], []
    for _ in range(options.runs):
        peer.append(run("duckdb_query", f"SELECT {counts} FROM '{source}'")["seconds"])
        ours.append(run("measure_rules", source)["seconds"])
    one, other = statistics.median(ours), statistics.median(peer)
    yield f"{'20 rules, 2,500,000 rows; peer: DuckDB':44}{one:>9.2f} s {other:>6.2f} s {one / other:>6.2f}   bar ≤ 2"


def skew(options: argparse.Namespace) -> Iterator[str]:
    """Feature skew by key, and its memory as rows grow."""
    from common import run
    from generator import write_parquet

    peaks = []
    for rows in (500_000, 2_500_000):
        found = run("measure_skew", write_parquet(pathlib.Path(options.folder) / f"{rows}.parquet", rows))
        peaks.append(found["peak"])
        yield f"{f'feature skew, {rows:,} rows × {rows:,}':44}{found['seconds']:>9.2f} s {found['peak'] / 2**20:>9,.0f} MiB"
    yield f"{'  memory over 5 times the rows':44}{peaks[1] / peaks[0]:>11.2f}   bar: flat"


BENCHES = {"false": false_alarms, "power": power, "cost": cost, "rules": rules, "skew": skew}

if __name__ == "__main__":
    sys.exit(main())
