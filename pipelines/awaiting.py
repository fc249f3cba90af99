"""The command `spans`: which spans the sources' paths tell, and how far each one is under the data root."""

from __future__ import annotations

import argparse
import datetime
from typing import Any

from headwater.components.collect import spans
from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import platform
from headwater.components.common.results import Home, Result
from headwater.pipelines.arguments import (
    DATA_ROOT,
    SOURCES,
    add_command,
    add_data_root,
    add_project,
    need_sources,
    project_of,
)
from headwater.pipelines.closing import DONE, print_json

NEW, NEWER, STARTED, REFUSED, REJECTED, PASSED = "new", "newer", "started", "refused", "rejected", "passed"
"""How far a span is: nothing is there; its paths have a newer version than what was collected; there is no verdict yet;
the dataset was not accepted; the verdict's two ends."""

WAITING = (NEW, NEWER, STARTED)
"""What a run has still to do."""


def add_commands(commands: Any) -> None:
    """Adds the command."""
    listed = add_command(commands, "spans", _spans, "list the spans that paths tell, and which of them wait for a run")
    listed.add_argument(
        "source", nargs="*", metavar="PATH_OR_URI", help=f"{SOURCES}, with {{SPAN}} or {{YYYY}}-{{MM}}-{{DD}}"
    )
    listed.add_argument("--waiting", action="store_true", help="list only those that no run has finished")
    add_data_root(listed, f"where results are stored (default: {DATA_ROOT})")
    add_project(listed)


def _spans(options: argparse.Namespace) -> int:
    project = project_of(options, options.source, DATA_ROOT)
    need_sources(project)
    with project.errors():
        found = list_spans(project.settings)
    if options.waiting:
        found = [each for each in found if each["state"] in WAITING]
    if options.json:
        print_json({"command": "spans", "exit_code": DONE, "spans": found})
        return DONE
    for each in found:
        when = f"  until {each['end']}" if each["end"] else ""
        print(f"{each['span']:>6}  {each['state']:8}  {len(each['files']):,} files{when}")
    return DONE


def list_spans(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The spans that a project's sources tell.

    Args:
      settings: of the project; `name`, `sources` and `platform.data_root` count.

    Returns:
      Of each span, rising: `span`; `version` of its files, the highest; `files`, their URIs; `end`, ISO 8601, where a date
      names it; `state`, one of the words above.

    Raises:
      HeadwaterError: no source tells spans, or its marks do not make one.
    """
    patterns = [each for each in settings.get("sources") or [] if isinstance(each, str) and spans.has_span(each)]
    if not patterns:
        raise HeadwaterError("sources: no path tells spans; write them with {SPAN} or {YYYY}-{MM}-{DD}")
    by_pattern = [{each.span: each for each in spans.find_spans(pattern, may_be_none=True)} for pattern in patterns]
    # A span that one source does not have yet cannot be collected.
    numbers = sorted(set.intersection(*map(set, by_pattern)))
    root, name = storage.normalise(platform(settings).data_root), settings.get("name", "data")
    found = []
    for number in numbers:
        parts = [each[number] for each in by_pattern]
        version = max(part.version for part in parts)
        end: datetime.datetime | None = spans.span_end(patterns[0], number)
        found.append(
            {
                "span": number,
                "version": version,
                "files": [uri for part in parts for uri in part.uris],
                "end": end.isoformat() if end else None,
                "state": _state(root, name, number, version),
            }
        )
    return found


def _state(root: str, name: str, span: int, version: int) -> str:
    numbers = results.numbered(storage.join(root, name, f"span={span}"), "version")
    homes = [Home(root, name, span, number) for number in reversed(numbers)]
    dataset = _latest(homes, "dataset")
    if dataset is None:
        return NEW
    collected = dict(dataset.body["lineage"].get("spans") or [])
    if collected.get(span, version) < version:
        return NEWER
    if not dataset.body["accepted"]:
        return REFUSED
    verdict = _latest(homes, "anomalies")
    if verdict is None:
        return STARTED
    return PASSED if verdict.body["blessed"] else REJECTED


def _latest(homes: list[Home], kind: str) -> Result | None:
    place = next(
        (each.folder(kind) for each in homes if storage.exists(storage.join(each.folder(kind), results.MANIFEST))), ""
    )
    return results.load(place, kind) if place else None
