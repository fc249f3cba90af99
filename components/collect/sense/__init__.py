"""Feature sense: what a sample of a dataset's rows tells about its columns before anyone trains on them.

`duplicates` finds columns that say the same, `information` what tells the label, `coverage` whether the training
split covers the others, `groups` how declared groups are represented. All of it is estimated from the sample, apart
from constant and empty columns, which the profile tells exactly.
"""

from __future__ import annotations

from typing import Any, Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from headwater.components.collect.health.findings import finding
from headwater.components.collect.sense import coverage, duplicates, groups as representation, information
from headwater.components.collect.sense.columns import Column, read_column
from headwater.components.common.errors import HeadwaterError


def make_sense(
    sample: pa.Table,
    splits: Sequence[str] | pa.Array,
    *,
    train: str,
    label: str | None,
    groups: Sequence[str],
    private: Collection[str],
    profile: Mapping[str, Any],
) -> dict[str, Any]:
    """What the columns say, of the label, of one another, and in one split of the others.

    Columns whose names begin with `_` are left out.

    Args:
      sample: rows drawn uniformly from all splits.
      splits: the split of each row of the sample.
      train: the split that trains.
      label: the column to predict, if there is one.
      groups: columns whose values should all be represented.
      private: columns whose values may not be shown.
      profile: exact counts over all rows: `rows` and, by column, `missing` and `constant`.

    Returns:
      `findings`; `duplicates`, pairs of columns (see `duplicates.find_duplicates`); `label`, what tells it, None without
      one (`information.tell_label`); `coverage` by split (`coverage.find_holes`); `representation` by group column
      (`groups.represent`). All of it can be written as JSON.

    Raises:
      HeadwaterError: the label or a group column is not in the sample, or `splits` is of another length.
    """
    _check(sample, splits, label, groups)
    names = [name for name in sample.column_names if not name.startswith("_") or name == label]
    findings, empty = _constants(names, profile)
    columns = [read_column(name, sample[name]) for name in names if name not in empty]
    encoded = pa.array(splits, pa.string()).dictionary_encode() if not isinstance(splits, pa.Array) else None
    encoded = splits.cast(pa.string()).dictionary_encode() if encoded is None else encoded
    split_names, codes = encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False)
    rows = {name: np.flatnonzero(codes == place) for place, name in sorted(enumerate(split_names), key=lambda p: p[1])}

    varying = [column for column in columns if column.varies]
    copies, found = duplicates.find_duplicates(varying)
    findings += found
    told = None
    if label is not None:
        told, found = information.tell_label(_named(columns, label), [each for each in varying if each.name != label])
        findings += found
    holes, found = coverage.find_holes(varying, rows, train)
    findings += found
    shown, found = representation.represent(
        {name: sample[name] for name in groups}, rows, set(private), profile["rows"] or sample.num_rows
    )
    findings += found
    return {"findings": findings, "duplicates": copies, "label": told, "coverage": holes, "representation": shown}


def _check(sample: pa.Table, splits: Sequence[str] | pa.Array, label: str | None, groups: Sequence[str]) -> None:
    if len(splits) != sample.num_rows:
        raise HeadwaterError(f"the sample has {sample.num_rows:,} rows and {len(splits):,} names of splits; give one a row")
    for use, name in [("label", label), *(("groups", name) for name in groups)]:
        if name is not None and name not in sample.column_names:
            known = ", ".join(repr(other) for other in sample.column_names if not other.startswith("_"))
            raise HeadwaterError(f"{use}: {name!r} is no column of the dataset; its columns are {known}")


def _constants(names: Sequence[str], profile: Mapping[str, Any]) -> tuple[list[dict[str, Any]], set[str]]:
    findings, empty = [], set()
    rows = profile["rows"]
    for name in names:
        exact = profile["columns"].get(name)
        if not exact or not rows:
            continue
        if exact["missing"] == rows:
            empty.add(name)
            message = f"{name!r} is missing in all {rows:,} rows"
            findings.append(finding("all_missing", "warning", name, message, 1.0))
        elif exact["constant"] and rows > 1:
            message = f"{name!r} holds one and the same value in all {rows:,} rows, and can teach a model nothing"
            findings.append(finding("constant", "warning", name, message))
    return findings, empty


def _named(columns: Sequence[Column], name: str) -> Column | None:
    return next((column for column in columns if column.name == name), None)
