"""validate: alarms on unchanged data, planted changes found, and cost; TFDV's comparators on the same data.

    python tests/bench/validate.py [--pairs 200] [--seeds 100] [--only false,power,concept,cost] [--folder F]

Prints tables as text. `--pairs` and `--seeds` say how often.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import statistics
import sys
import time
import warnings
from typing import Any, Callable, Iterator

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
    options = parser.parse_args()
    for name in options.only.split(","):
        for line in BENCHES[name](options):
            print(line, flush=True)
    return 0


def features(batch: pa.RecordBatch) -> tuple[dict, Any]:
    """Each column's distribution and TFDV's statistics, as generate-statistics leaves them."""
    from headwater.components.common import distributions
    from headwater.components.generate_statistics.measuring import Plan, measure
    from headwater.components.generate_statistics.protos import to_statistics
    from headwater.components.generate_statistics.state import encode

    state = measure(batch, Plan(schema=batch.schema))
    return distributions.read(encode(state)), to_statistics(state, "all")


def alarms(then: dict, now: dict) -> list[str]:
    """The features that raise an alarm, with the settings' defaults."""
    from headwater.components.validate import changes
    from headwater.components.validate.settings import Drift

    drift = Drift()
    found = changes.judge(
        changes.compare("all", then, now, "the earlier span"),
        max_false=drift.max_false,
        least_effect=drift.least_effect,
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
    from generator import _wide_batch
    from headwater.components.common.tfdv import tfdv  # noqa: F401  its import is not counted
    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.infer_schema import derive_schema
    from headwater.components.validate import check_statistics
    import pyarrow.parquet as pq

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


BENCHES = {"false": false_alarms, "power": power, "cost": cost}

if __name__ == "__main__":
    sys.exit(main())
