"""Rows that raters disagree on, as a list that the next batch of tasks can take."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.components.common.dataset import read_element
from headwater.components.common.dataset_index import decode_schema
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.common.keys import value_type
from headwater.components.common.results import Result
from headwater.components.label.methods import Item

_METHOD = "human"


def to_adjudicate(labels: Result) -> pa.Table:
    """The rows to ask about once more, as `write_tasks` takes them.

    Args:
      labels: what `label_dataset` gave, with a step of this method.

    Returns:
      The dataset's key, `_score` (how likely the label is wrong) and `_reason`, the most disputed first.

    Raises:
      HeadwaterError: no step of it is of this method.
    """
    lists = [step["adjudicate"] for step in labels.body["steps"] if step["method"] == _METHOD]
    if not lists:
        raise HeadwaterError(f"{labels.uri}: no step of these labels is of the method {_METHOD}")
    disputed = sorted((each for own in lists for each in own), key=lambda each: -each["score"])
    schema, key = decode_schema(labels.body["schema"]), labels.body["key"]
    columns = {
        name: _values([each["key"][place] for each in disputed], value_type(schema.field(name).type))
        for place, name in enumerate(key)
    }
    return pa.table(
        {
            **columns,
            "_score": pa.array([each["score"] for each in disputed], pa.float64()),
            "_reason": pa.array([each["reason"] for each in disputed], pa.string()),
        }
    )


def listed(
    disputed: Sequence[Sequence[Any]],
    items: Sequence[Item],
    schema: pa.Schema,
    key: Sequence[str],
    classes: Sequence[str],
    beam: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Disputed rows with their keys, for the manifest.

    Args:
      disputed: element, row, number of votes and posterior of each.
      items: all elements.
      schema: the dataset's columns.
      key: its key.
      classes: names of the classes.
      beam: options of `map_merge`.
    """
    from headwater.components.common.beam import map_merge

    wanted: dict[int, list[int]] = {}
    for element, row, *_ in disputed:
        wanted.setdefault(element, []).append(row)
    own = pa.schema([schema.field(name) for name in key])
    content = map_merge(
        "label: find disputed rows",
        [(items[number], rows) for number, rows in wanted.items()],
        functools.partial(_keys, own),
        b"\n".join,
        sizes=[items[number].element.rows for number in wanted],
        **beam,
    )
    keys: dict[tuple[int, int], list[Any]] = {}
    for line in content.splitlines():
        found = json.loads(line)
        keys.update({(found["element"], row): values for row, values in found["keys"]})
    return [
        {
            "key": keys[element, row],
            "score": 1 - max(posterior),
            "votes": votes,
            "reason": _reason(posterior, votes, classes),
        }
        for element, row, votes, posterior in disputed
    ]


def _reason(posterior: Sequence[float], votes: int, classes: Sequence[str]) -> str:
    first, second = np.argsort(-np.array(posterior), kind="stable")[:2]
    told = ", ".join(f"{classes[each]} {percent(posterior[each])}" for each in (first, second))
    return f"{votes} votes: {told}"


def _keys(schema: pa.Schema, work: tuple[Item, list[int]]) -> bytes:
    item, rows = work
    table = pa.Table.from_batches(list(read_element(item.element, schema)), schema).take(pa.array(sorted(rows)))
    columns = [[_plain(value) for value in table[name].to_pylist()] for name in schema.names]
    return json.dumps({"element": item.number, "keys": list(zip(sorted(rows), zip(*columns)))}).encode()


def _plain(value: Any) -> Any:
    """A value of a key as JSON."""
    return value.hex() if isinstance(value, bytes) else value if isinstance(value, (int, str)) else str(value)


def _values(plain: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind):
        return pa.array([bytes.fromhex(each) for each in plain], kind)
    if pa.types.is_integer(kind):
        return pa.array([int(each) for each in plain], kind)
    return pa.array([str(each) for each in plain], pa.string()).cast(kind)
