"""The commands that look after a `data_root`: ls, verify, lineage and gc."""

from __future__ import annotations

import argparse
import collections
import json
from typing import Any

from headwater.pipelines.arguments import add_command as add
from headwater.pipelines.closing import progress

NOT_WHOLE = 1
"""Exit code: something that was written is missing or altered."""

_SHOWN = 20
_UNITS = ("B", "KB", "MB", "GB", "TB")


def add_commands(commands: Any, data_root: str) -> None:
    """Adds the commands.

    Args:
      commands: where to.
      data_root: the default.
    """
    root = f"path or URI of the durable home (default: {data_root})"
    listed = add(
        commands, "ls", _ls, "list what is stored under a data_root: datasets, spans, versions, sizes and verdicts"
    )
    listed.add_argument("data_root", nargs="?", default=data_root, help=root)
    listed.add_argument("--name", default="", help="list only this dataset (default: all)")
    checked = add(commands, "verify", _verify, "check checksums, row counts and accounts; exit 1 if one is wrong")
    checked.add_argument("uri", nargs="?", default=data_root, help=f"a result's folder, or a data_root ({data_root})")
    traced = add(commands, "lineage", _lineage, "trace an output back to its sources, over all spans in between")
    traced.add_argument("uri", help="folder of a result, or of a version under a data_root")
    traced.add_argument("--format", choices=["text", "json", "openlineage"], default="text")
    traced.add_argument("--namespace", default="headwater", help="namespace for OpenLineage (default: %(default)s)")
    freed = add(commands, "gc", _gc, "list what dead attempts left behind and what has expired; --delete removes it")
    freed.add_argument("data_root", nargs="?", default=data_root, help=root)
    freed.add_argument("--delete", action="store_true", help="remove the files (default: only list them)")
    freed.add_argument(
        "--min-age", default="1d", metavar="AGE", help="keep everything younger than this (default: %(default)s)"
    )
    freed.add_argument("--keep-spans", type=int, metavar="N", help="keep the latest N spans of each dataset")
    freed.add_argument("--keep-versions", type=int, metavar="N", help="keep the latest N versions of each span")
    freed.add_argument(
        "--older-than", metavar="AGE", help="remove versions not written to for this long, for example 90d"
    )


def _ls(options: argparse.Namespace) -> int:
    from headwater.components.common.maintenance import list_datasets

    datasets = list_datasets(options.data_root, options.name)
    if options.json:
        print(json.dumps(datasets, indent=1))
        return 0
    lines = [("dataset", "span", "version", "rows", "size", "verdict", "committed")]
    for each in datasets:
        verdict = {None: "", True: "passed", False: "rejected"}[each["blessed"]]
        if each["accepted"] is False:
            verdict = "refused"
        rows = f"{sum(each['rows'].values()):,}" if each["rows"] else ""
        size = as_size(each["bytes"])
        lines.append(
            (each["name"], str(each["span"]), str(each["version"]), rows, size, verdict, ", ".join(each["kinds"]))
        )
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        cells = [
            text.rjust(width) if place in (1, 2, 3, 4) else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths))
        ]
        print("  ".join(cells).rstrip())
    return 0


def _verify(options: argparse.Namespace) -> int:
    import dataclasses

    from headwater.components.common.maintenance import verify

    with progress(options):
        verified = verify(options.uri)
    if options.json:
        print(json.dumps(dataclasses.asdict(verified), indent=1))
    else:
        for problem in verified.problems:
            print(problem)
        summary = (
            f"{verified.results:,} results, {verified.files:,} files, {as_size(verified.bytes)}, {verified.rows:,} rows"
        )
        print(f"{summary}: {f'{len(verified.problems):,} problems' if verified.problems else 'all whole'}")
    return NOT_WHOLE if verified.problems else 0


def _lineage(options: argparse.Namespace) -> int:
    from headwater.components.common.maintenance import lineage, trace

    nodes = trace(options.uri)
    if options.format == "text" and not options.json:
        print(lineage.as_text(nodes))
    else:
        summary = lineage.as_json(nodes)
        if options.format == "openlineage":
            summary = lineage.as_openlineage(nodes, options.namespace)
        print(json.dumps(summary, indent=1))
    return 0


def _gc(options: argparse.Namespace) -> int:
    from headwater.components.common.maintenance import find_garbage, garbage, remove_garbage
    from headwater.components.common.times import seconds

    retention = garbage.Retention(
        options.keep_spans,
        options.keep_versions,
        seconds(options.older_than) if options.older_than else None,
    )
    work = remove_garbage if options.delete else find_garbage
    files: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[str] = collections.Counter()
    for each in work(options.data_root, retention=retention, min_age=seconds(options.min_age)):
        if options.json:
            print(json.dumps(each._asdict()))
        elif sum(files.values()) < _SHOWN:
            print(f"{each.reason}: {each.uri} ({as_size(each.bytes)})")
        files[each.reason] += 1
        sizes[each.reason] += each.bytes
    if options.json:
        return 0
    if sum(files.values()) > _SHOWN:
        print(f"… and {sum(files.values()) - _SHOWN:,} more; --json lists all")
    for reason in sorted(files):
        print(f"{reason}: {files[reason]:,} files, {as_size(sizes[reason])}")
    if not files:
        print("there is nothing to remove")
    elif not options.delete:
        print("nothing was removed; --delete removes it")
    return 0


def as_size(size: float) -> str:
    """A number of bytes in words."""
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"
