"""The commands that look after a project file: init, check and project-schema."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from headwater.components.common import storage, stores
from headwater.components.common.errors import HeadwaterError
from headwater.pipelines import summaries
from headwater.pipelines.arguments import DATA_ROOT, SOURCES, add_command, add_project, load_of
from headwater.pipelines.closing import DONE, FAILED, Closing, close, print_json, progress
from headwater.pipelines.project import NAME


def add_commands(commands: Any) -> None:
    """Adds the commands."""
    init = add_command(commands, "init", _init, "look at your data and write a commented project file")
    init.add_argument("source", nargs="+", metavar="PATH_OR_URI", help=SOURCES)
    init.add_argument("--output", default=NAME, metavar="FILE", help="file to write (default: %(default)s)")
    init.add_argument("--name", default="", help="name of the dataset (default: the first file's)")
    init.add_argument("--force", action="store_true", help="replace the file if there is one")

    check = add_command(
        commands, "check", _check, "check settings, sources, credentials, columns and expressions without the work"
    )
    check.add_argument("source", nargs="*", metavar="PATH_OR_URI", help=SOURCES)
    add_project(check)
    summaries.add_summary(check)

    add_command(commands, "project-schema", _schema, "print the JSON Schema of headwater.yaml, for editors")


def _init(options: argparse.Namespace) -> int:
    import json

    from headwater.components.common.results import check_name
    from headwater.pipelines.project import drafting, looking, model

    if options.name:
        check_name(options.name)
    target = storage.normalise(options.output)
    if storage.exists(target) and not options.force:
        raise HeadwaterError(f"{options.output}: the file exists; --force replaces it")
    with progress(options):
        look = looking.look(options.source)
    looking.need_rows(look)
    look.name = options.name or look.name
    text = drafting.draft(_from(target, options.source), look)
    storage.write_bytes(target, text.encode())
    beside = storage.join(target.rpartition("/")[0], drafting.SCHEMA)
    storage.write_bytes(beside, (json.dumps(model.json_schema(), indent=1, ensure_ascii=False) + "\n").encode())
    kept = [name for name, _ in look.private]
    done = [
        ("looked at", f"{look.rows:,} rows" if look.whole else f"the first {look.rows:,} rows"),
        ("key", f"{', '.join(look.key)}: {look.key_evidence}" if look.key else "none: rows get a _row_id"),
        ("time", ", ".join(name for name, _ in look.time) or "none"),
        ("label", ", ".join(name for name, _ in look.labels) or "none"),
        ("private", ", ".join(kept) or "none"),
        ("missing", ", ".join(f"{name} {codes}" for name, codes, _ in look.missing) or "none"),
        ("written", options.output),
        ("next", "headwater check, then headwater run"),
    ]
    more = {
        "rows": look.rows,
        "whole": look.whole,
        "key": look.key,
        "time": [name for name, _ in look.time],
        "label": [name for name, _ in look.labels],
        "private": dict(look.private),
        "missing": {name: codes for name, codes, _ in look.missing},
        "types": {name: kind for name, kind, _ in look.types},
        "reading": {key: value for key, value, _ in look.reading},
    }
    return close(options, Closing(done, options.output, more=more))


def _from(target: str, sources: Sequence[str]) -> list[str]:
    """The sources as they are seen from the file's folder."""
    folder = target.rpartition("/")[0]
    if stores.scheme(target):
        return [source if stores.scheme(source) else storage.normalise(source) for source in sources]
    return [
        source if stores.scheme(source) or os.path.isabs(source) else os.path.relpath(os.path.abspath(source), folder)
        for source in sources
    ]


def _check(options: argparse.Namespace) -> int:
    with summaries.summarised_errors(options):
        return _check_project(options)


def _check_project(options: argparse.Namespace) -> int:
    from headwater.pipelines.project.checking import check_all

    project = load_of(options, options.source, DATA_ROOT)
    if not project.uri and not project.settings.get("sources") and not options.set:
        raise HeadwaterError(
            f"there is nothing to check: neither a project file ({NAME}; `headwater init` writes one) nor sources"
        )
    checked = list(check_all(project))
    problems = [each.problem for each in checked if each.problem]
    code = FAILED if problems else DONE
    summaries.append(options, summaries.of_check(checked))
    if options.json:
        more = {"project": project.uri or None, "checked": [each._asdict() for each in checked], "problems": problems}
        return close(options, Closing([], project.uri, code=code, more=more))
    for each in checked:
        print(
            f"{'error' if each.problem else 'ok':6} {each.problem or each.what}{f': {each.state}' if each.state else ''}"
        )
    if not project.settings.get("sources"):
        print("note   there are no sources yet: name some on the command line, or under `sources`")
    print(
        f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        if problems
        else "all well; `headwater run` does the work"
    )
    return code


def _schema(options: argparse.Namespace) -> int:
    from headwater.pipelines.project.model import json_schema

    print_json(json_schema())
    return DONE
