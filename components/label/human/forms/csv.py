"""CSV: a row a task, with columns for rater and answer."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from headwater.components.label.human.forms.base import Batch, flat

# Those of full width as well, which some spreadsheets take for the others.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class _Csv:
    name = "csv"

    def write(self, batch: Batch) -> Mapping[str, bytes]:
        records = flat(batch)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if records:
            writer.writerow(_cell(name) for name in records[0])
            writer.writerows([_cell(value) for value in record.values()] for record in records)
        return {"tasks.csv": text.getvalue().encode()}


def _cell(value: Any) -> Any:
    """A value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


FORM = _Csv()
