"""A project run whole, and spread over parts as a pipeline on a cluster does it; and what of two such runs must be equal."""

from __future__ import annotations

import json
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow.parquet as pq

from headwater.components.common import fanout, results
from headwater.pipelines.cluster import parts

ORDER = ("collect", "label", "generate-statistics", "validate")
_ATTEMPT = re.compile(r"-[0-9a-f]{12}x?(?=\.)")


def run(
    project: Mapping[str, Any],
    rows: int = 0,
    order: Callable[[list[str]], Iterable[str]] = lambda names: names,
    do: Callable[..., None] = parts.part,
) -> dict[str, int]:
    """Runs collect, label, generate-statistics, infer-schema and validate.

    Args:
      project: with a `data_root`.
      rows: of a part; 0 for no parts.
      order: in which the parts of a pass are done.
      do: does a part, as `parts.part` does.

    Returns:
      How many parts each component had, over all its passes.
    """
    home = results.Home(project["platform"]["data_root"], project["name"], project["collect"]["span"], 1)
    uris = {kind: home.folder(kind) for kind in ("dataset", "labels", "statistics", "schema")}
    counts = dict.fromkeys(ORDER, 0)
    for component in ORDER:
        inputs = {
            "collect": {},
            "label": {"dataset": uris["dataset"]},
            "generate-statistics": {"dataset": uris["labels"]},
            "validate": {"dataset": uris["labels"], "statistics": uris["statistics"], "schema": uris["schema"]},
        }[component]
        while rows and (names := parts.plan(component, project, rows, **inputs)):
            counts[component] += len(names)
            for name in order(names):
                do(component, project, name, **inputs)
        with tempfile.TemporaryDirectory() as output, fanout.adopted(component, project, inputs.get("dataset", "")):
            parts.WORK[component](project, inputs, output)
        if component == "generate-statistics":
            _schema(uris, project)
    return counts


def content(root: str | os.PathLike[str]) -> dict[str, Any]:
    """What lies below a `data_root` and does not depend on where that is, by path without the names of attempts."""
    found: dict[str, Any] = {}
    for path in sorted(pathlib.Path(root).rglob("*")):
        name = _ATTEMPT.sub("", str(path.relative_to(root)))
        if path.suffix in (".pb", ".arrow", ".pbtxt") or (path.suffix == ".parquet" and not path.name.startswith("_")):
            found[name] = path.read_bytes()
        elif path.suffix == ".parquet":
            table = pq.read_table(path).to_pylist()
            found[name] = [_ATTEMPT.sub("", json.dumps(row, default=str)).replace(str(root), "") for row in table]
        elif path.name == results.MANIFEST:
            body = json.loads(path.read_text())["body"]
            found[name] = {key: body.get(key) for key in ("accounts", "labelled", "verdict", "steps", "accepted")}
    return found


def _schema(uris: Mapping[str, str], project: Mapping[str, Any]) -> None:
    from headwater.components.infer_schema import derive_schema
    from headwater.components.infer_schema.curation import from_project

    with tempfile.TemporaryDirectory() as output:
        derive_schema(uris["statistics"], output, **from_project(project))
