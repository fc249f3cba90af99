"""Trips, a small dataset that people are asked about."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.components.collect import collect_dataset


def collect_trips(folder: pathlib.Path, rows: int, **columns: Callable[[int], Any]) -> str:
    """Collects trips by their number, `id`.

    Args:
      folder: below it the file and the dataset are written.
      rows: how many.
      **columns: what gives the value of a trip by its number.

    Returns:
      The dataset's URI.
    """
    table = {"id": list(range(rows)), **{name: [value(n) for n in range(rows)] for name, value in columns.items()}}
    pq.write_table(pa.table(table), folder / "trips.parquet")
    return collect_dataset(str(folder / "trips.parquet"), str(folder / "data"), key=["id"], workers=1).uri
