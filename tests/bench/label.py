"""label: the label model beside an oracle, plain EM, the majority and Snorkel; and the speed of functions; feedback beside DuckDB.

    python tests/bench/label.py [--rows N] [--runs 3] [--only model,snorkel,real,functions,direct] [--folder F]

Snorkel runs in an environment of its own, made in the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

_HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent / "support")]

from benches import Peak, Row, duckdb_query, environment, finish, main, ratio, run

_MODEL_ROWS = 1_000_000
_SEEDS = range(5)
_BARS = {"A": (0.002, 0.005), "B": (0.004, 0.012), "C": (0.002, 0.005)}
_SAMPLE = 100_000
_DIRECT_ROWS = 5_000_000
_MIB = 1 << 20

_REQUIREMENTS = ("snorkel==0.10.0", "numpy<2", "scipy<1.13")
_SNORKEL = str(_HERE.parent / "support/snorkel_model.py")


def bench_model(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Accuracy and log loss of ours, and of the oracle of the same data, over seeds."""
    for kind, (accuracy, loss) in _BARS.items():
        found = [run("measure_model", kind, seed) for seed in _SEEDS]
        for name in ("majority", "plain EM"):
            yield f"{kind}, {name}", *_told(found, name), "", ""
        behind = max(each["oracle"][0] - each["ours"][0] for each in found)
        worse = max(each["ours"][1] - each["oracle"][1] for each in found)
        label = f"{kind}, ours: accuracy; worst behind the oracle"
        yield label, _told(found, "ours")[0], _told(found, "oracle")[0], f"{behind:.4f}", f"≤ {accuracy}"
        label = f"{kind}, ours: log loss; worst above the oracle"
        yield label, _told(found, "ours")[1], _told(found, "oracle")[1], f"{worse:.4f}", f"≤ {loss}"


def measure_model(kind: str, seed: str) -> dict:
    """Accuracy and log loss by what labels, on votes of a kind."""
    from votes import PRIOR, generate, oracle

    from headwater.components.label.weak import fitting, model, tally

    truth, votes, tables = generate(kind, _MODEL_ROWS, int(seed))
    counted = tally.tally(votes, np.full(len(votes), -1, np.int8), _hashes(len(votes)), 3, _SAMPLE)
    posteriors = {
        "majority": model.majority(votes, PRIOR),
        "plain EM": fitting.fit(counted, pairs=False).predict(votes),
        "ours": fitting.fit(counted).predict(votes),
        "oracle": oracle(votes, tables),
    }
    return {
        name: [float((each.argmax(1) == truth).mean()), model.log_loss(each, truth)]
        for name, each in posteriors.items()
    }


def bench_snorkel(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Fit and prediction beside Snorkel's, on votes of kind A and C."""
    from votes import generate

    python = _snorkel(folder)
    with tempfile.TemporaryDirectory() as work:
        for kind in ("A", "C"):
            truth, votes, _ = generate(kind, _MODEL_ROWS, 0)
            np.save(f"{work}/votes.npy", votes)
            ours, theirs = [], []
            for _ in range(options.runs):
                ours.append(run("measure_fit", f"{work}/votes.npy"))
                told = finish([python, "-W", "ignore", _SNORKEL, f"{work}/votes.npy", f"{work}/posterior.npy", "3"])
                theirs.append(json.loads(told.splitlines()[-1])["seconds"])
            own = statistics.median(each["seconds"] for each in ours)
            other = statistics.median(theirs)
            yield (
                f"{kind}, fit and predict 1,000,000 rows",
                f"{own:.2f} s",
                f"{other:.2f} s",
                f"{other / own:.1f}",
                "≥ 5",
            )
            posterior = np.load(f"{work}/posterior.npy")
            right = float((posterior.argmax(1) == truth).mean())
            chance = np.maximum(posterior[np.arange(len(truth)), truth], 1e-9)
            yield f"{kind}, Snorkel's accuracy and log loss", "", f"{right:.3f}", f"{-np.log(chance).mean():.3f}", ""
            memory = statistics.median(each["bytes"] for each in ours)
            yield f"{kind}, memory over the votes", f"{memory / _MIB:.0f} MiB", "", "", "< 300"


def measure_fit(path: str) -> dict:
    """Seconds of tally, fit and prediction, and memory above what the votes take."""
    from headwater.components.label.weak import fitting, tally

    votes = np.load(path)
    hashes, gold = _hashes(len(votes)), np.full(len(votes), -1, np.int8)
    with Peak() as before:
        time.sleep(0.3)
    with Peak() as peak:
        begun = time.perf_counter()
        fitting.fit(tally.tally(votes, gold, hashes, 3, _SAMPLE)).predict(votes)
        seconds = time.perf_counter() - begun
        time.sleep(0.2)
    return {"seconds": seconds, "bytes": peak.bytes - before.bytes}


def bench_real(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Real votes: the sample's functions on flights, with 500 gold rows; on the others that have a vote, means of draws."""
    python = _snorkel(folder)
    with tempfile.TemporaryDirectory() as work:
        for month in (1, 7):
            draws = [run("measure_real", month, seed, f"{work}/votes.npy", f"{work}/truth.npy") for seed in _SEEDS]
            found = {name: np.mean([each[name] for each in draws], 0).tolist() for name in draws[0] if name != "cpu"}
            finish([python, "-W", "ignore", _SNORKEL, f"{work}/votes.npy", f"{work}/posterior.npy", "2"])
            truth, posterior = np.load(f"{work}/truth.npy"), np.load(f"{work}/posterior.npy")
            chance = np.maximum(posterior[np.arange(len(truth)), truth], 1e-9)
            found["Snorkel"] = [float((posterior.argmax(1) == truth).mean()), float(-np.log(chance).mean())]
            own = found.pop("ours")
            best = min((name for name in found if "no gold" not in name), key=lambda name: found[name][1])
            for name, (accuracy, loss) in found.items():
                yield f"flights of month {month}, {name}: accuracy, log loss", f"{accuracy:.3f}", f"{loss:.3f}", "", ""
            label = f"flights of month {month}, ours; {best}: log loss"
            yield label, f"{own[1]:.3f}", f"{found[best][1]:.3f}", f"{own[1] / found[best][1]:.3f}", "≤ 1.0"
            label = f"flights of month {month}, ours; majority: accuracy"
            yield label, f"{own[0]:.3f}", f"{found['majority'][0]:.3f}", "", "≥"


def measure_real(month: str, seed: str, votes_at: str, truth_at: str) -> dict:
    """Accuracy and log loss by what labels, for one draw of gold; leaves votes and truth for Snorkel."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    from headwater.components.label.weak import fitting, model, tally
    from headwater.components.label.weak.functions import Function, vote
    from headwater.pipelines.sample import FUNCTIONS, write_landings, write_months, write_weather

    with tempfile.TemporaryDirectory() as work:
        flights = csv.read_csv(write_months(pathlib.Path(work))[int(month)])
        landings = csv.read_csv(write_landings(pathlib.Path(work))[int(month)])
        weather = csv.read_csv(write_weather(pathlib.Path(work)))
    named = weather.select(["origin", "time_hour", "precip", "visib", "wind_speed"])
    named = named.rename_columns(["origin", "time_hour", "at_precip", "at_visib", "at_wind_speed"])
    flights = flights.join(landings, ["carrier", "flight", "time_hour"], join_type="inner")
    # Joins leave rows in an order of chance, and gold is drawn by place.
    order = [(name, "ascending") for name in ("time_hour", "carrier", "flight")]
    rows = flights.join(named, ["origin", "time_hour"]).sort_by(order).combine_chunks()
    functions = [Function.model_validate(each) for each in FUNCTIONS]
    votes, _ = vote("steps.0", functions, ["on_time", "late"], pa.RecordBatch.from_arrays(
        [rows[name].combine_chunks() for name in rows.column_names], names=rows.column_names
    ))  # fmt: skip
    truth = pc.greater_equal(rows["arr_delay"], 15).to_numpy().astype(np.int8)
    golden = np.random.default_rng(int(seed)).permutation(len(truth))[:500]
    gold = np.full(len(truth), -1, np.int8)
    gold[golden] = truth[golden]
    judged = (gold < 0) & (votes >= 0).any(1)
    np.save(votes_at, votes[judged])
    np.save(truth_at, truth[judged])
    found = {}
    for name, given, options in (
        ("ours", gold, {}),
        ("ours, no gold", np.full(len(gold), -1, np.int8), {}),
        ("majority", np.full(len(gold), -1, np.int8), {"kind": "majority"}),
        ("plain EM", np.full(len(gold), -1, np.int8), {"kind": "em", "pairs": False}),
        ("EM with gold", gold, {"kind": "em"}),
        ("naive Bayes", gold, {"kind": "naive_bayes"}),
    ):
        fitted = fitting.fit(tally.tally(votes, given, _hashes(len(votes)), 2, _SAMPLE), **options)
        posterior = fitted.predict(votes[judged])
        found[name] = [float((posterior.argmax(1) == truth[judged]).mean()), model.log_loss(posterior, truth[judged])]
    return found


def bench_functions(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """20 SQL functions over 1,000,000 rows, Beam and the writing of labels included."""
    import generator

    source = generator.write_parquet(folder / "1000000.parquet", 1_000_000)
    with tempfile.TemporaryDirectory() as work:
        finish([sys.executable, "-m", "headwater.pipelines.cli", "collect", str(source), "--output", f"{work}/data"])
        found = [run("measure_functions", f"{work}/data", f"{work}/out-{number}") for number in range(options.runs)]
    rates = {name: statistics.median(each["rows"] / each[name] for each in found) for name in ("votes", "whole")}
    yield "20 SQL functions, votes and tally", f"{rates['votes'] / 1000:,.0f} k/s", "", "", ""
    yield "  and labels, table and page", f"{rates['whole'] / 1000:,.0f} k/s", "", "", "≥ 400 k/s"
    # Where others use the machine as well, this is what can be compared.
    yield "  processor time", f"{statistics.median(each['cpu'] for each in found):.2f} s", "", "", ""


def measure_functions(dataset: str, output: str) -> dict:
    """Seconds of the pass that votes, and of the whole labelling."""
    from headwater.components.common import beam, local_beam
    from headwater.components.common.dataset import load_dataset
    from headwater.components.label import label_dataset

    schema = load_dataset(dataset).schema
    numbers = [field.name for field in schema if str(field.type) in ("double", "int64", "float")][:8]
    functions = []
    for number in range(20):
        column = f'"{numbers[number % len(numbers)]}"'
        other = f'"{numbers[(number * 3 + 1) % len(numbers)]}"'
        above, below = ("a", "b") if number % 2 else ("b", "a")
        functions.append(
            {
                "name": f"f{number}",
                "sql": f"CASE WHEN {column} > {0.1 * (number % 5)} AND {other} < 2 THEN '{above}' "
                f"WHEN {column} < {-0.1 * (number % 3)} THEN '{below}' END",
            }
        )
    steps = [{"method": "weak_supervision", "classes": ["a", "b"], "functions": functions}]
    seconds = {}
    plain = beam.map_merge

    def timed(*arguments, **options):
        begun = time.perf_counter()
        found = plain(*arguments, **options)
        seconds["votes"] = time.perf_counter() - begun
        return found

    # The method asks for it when it votes.
    beam.map_merge = timed
    # As a task and a command do.
    local_beam.claim_process()
    before, begun = time.process_time(), time.perf_counter()
    result = label_dataset(dataset, output, steps=steps)
    seconds["whole"] = time.perf_counter() - begun
    return {**seconds, "before": before, "rows": result.body["accounts"]["written"]}


_INTERVAL = """COPY (
SELECT p.id, p.served, any_value(p.score) AS score, coalesce(arg_max(e.kind, e.at), 'dismiss') AS label
FROM '{folder}/served-{rows}.parquet' p
LEFT JOIN '{folder}/events-{rows}.parquet' e ON p.id = e.id AND e.at >= p.served AND e.at <= p.served + INTERVAL 3 DAY
WHERE p.served + INTERVAL 3 DAY <= TIMESTAMPTZ '2026-01-29 00:00:00+00' GROUP BY p.id, p.served
) TO '{target}' (FORMAT parquet)"""
_ASOF = """COPY (
SELECT e.id, e.at, e.kind, p.served, p.score FROM '{folder}/events-{rows}.parquet' e
ASOF JOIN '{folder}/served-{rows}.parquet' p ON e.id = p.id AND e.at >= p.served
) TO '{target}' (FORMAT parquet)"""


def bench_direct(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[Row]:
    """Predictions and as many events: labels by feedback beside DuckDB's joins, and memory at two sizes."""
    memory = {}
    for rows in (_DIRECT_ROWS, 4 * _DIRECT_ROWS):
        _write_feedback(folder, rows)
        with tempfile.TemporaryDirectory() as work:
            collect = [
                sys.executable,
                "-m",
                "headwater.pipelines.cli",
                "collect",
                str(folder / f"served-{rows}.parquet"),
            ]
            finish([*collect, "--key", "id", "--output", f"{work}/data"])
            given = f"{work}/data", folder / f"events-{rows}.parquet"
            # Looking at memory takes time of its own.
            memory[rows] = run("measure_direct", *given, f"{work}/out", "memory")["bytes"]
            ours, theirs = [], {"interval": [], "ASOF": []}
            for number in range(options.runs if rows == _DIRECT_ROWS else 0):
                ours.append(run("measure_direct", *given, f"{work}/out-{number}", ""))
                for name, query in (("interval", _INTERVAL), ("ASOF", _ASOF)):
                    text = query.format(folder=folder, rows=rows, target=f"{work}/duckdb.parquet")
                    theirs[name].append(run("duckdb_query", text))
        if rows == _DIRECT_ROWS:
            for name, found in theirs.items():
                label = f"direct, 5 M × 5 M; DuckDB's {name} join"
                own = [each["whole"] for each in ours], [each["cpu"] for each in ours]
                yield ratio(label, own[0], [each["seconds"] for each in found], 2.0 if name == "interval" else None)
                yield ratio("  processor time", own[1], [each["cpu"] for each in found], None)
    small, large = memory.values()
    label = f"  peak memory at {_DIRECT_ROWS:,} and at four times as many"
    yield label, f"{small / _MIB:.0f} MiB", f"{large / _MIB:.0f} MiB", f"{large / small:.2f}", "flat"


def measure_direct(dataset: str, events: str, output: str, look: str) -> dict:
    """Seconds of the whole labelling; with "memory" its peak memory."""
    from headwater.components.common import local_beam
    from headwater.components.label import label_dataset

    step = {
        "method": "direct", "classes": ["dismiss", "click"], "feedback": "events", "served": "served", "occurred": "at",
        "window": "3d", "outcome": "kind", "no_event": "dismiss",
    }  # fmt: skip
    # As a task and a command do.
    local_beam.claim_process()
    with Peak() if look == "memory" else contextlib.nullcontext() as peak:
        before, begun = time.process_time(), time.perf_counter()
        result = label_dataset(dataset, output, steps=[step], inputs={"events": events}, as_of="2026-01-29")
        whole = time.perf_counter() - begun
    told = result.body["steps"][0]["events"]
    assert told["read"] == result.body["accounts"]["read"] and told["used"] > 0
    return {"whole": whole, "before": before, "bytes": peak.bytes if peak else 0}


def _write_feedback(folder: pathlib.Path, rows: int) -> None:
    """Predictions over 30 days, and events after a day on average, of predictions at random."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / f"events-{rows}.parquet").exists():
        return
    chance = np.random.default_rng(0)
    day = 86_400_000_000
    served = np.datetime64("2026-01-01", "us") + chance.integers(0, 30 * day, rows)
    of = chance.integers(0, rows, rows)
    at = served[of] + chance.exponential(day, rows).astype(np.int64)
    times = pa.timestamp("us", "UTC")
    kinds = np.array(["click", "dismiss"])[chance.integers(0, 2, rows)]
    made = {"id": np.arange(rows), "served": pa.array(served, times), "score": chance.random(rows)}
    pq.write_table(pa.table(made), folder / f"served-{rows}.parquet", row_group_size=250_000)
    events = pa.table({"id": of, "at": pa.array(at, times), "kind": kinds})
    pq.write_table(events, folder / f"events-{rows}.parquet", row_group_size=250_000)


def _snorkel(folder: pathlib.Path) -> str:
    """The interpreter of an environment with Snorkel."""
    if given := os.environ.get("HEADWATER_SNORKEL"):
        return given
    if reason := environment(folder / "snorkel", _REQUIREMENTS):
        sys.exit(f"Snorkel: {reason}")
    return str(folder / "snorkel/bin/python")


def _hashes(rows: int) -> np.ndarray:
    return np.random.default_rng(99).integers(0, 2**63, rows).astype(np.uint64)


def _told(found: list[dict], name: str) -> tuple[str, str]:
    return tuple(f"{statistics.median(each[name][place] for each in found):.3f}" for place in (0, 1))


BENCHES = {
    "model": bench_model,
    "snorkel": bench_snorkel,
    "real": bench_real,
    "functions": bench_functions,
    "direct": bench_direct,
}

if __name__ == "__main__":
    measures = [measure_model, measure_fit, measure_real, measure_functions, measure_direct, duckdb_query]
    sys.exit(main(measures, BENCHES))
