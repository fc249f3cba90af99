"""The commands that make and show schemas: infer-schema and schema."""

from __future__ import annotations

import argparse
from typing import Any

from headwater.pipelines.arguments import (
    add_base_schema,
    add_command,
    add_output,
    add_project,
    project_of,
)
from headwater.pipelines.closing import Closing, also_in, close, findings_of, page_of, print_json, progress


def add_commands(commands: Any) -> None:
    """Adds the commands to `commands`."""
    schema = add_command(commands, "infer-schema", _infer_schema, "statistics → a schema, or the agreed one unchanged")
    schema.add_argument("statistics", help="folder of generate-statistics, or TFDV's or TFX's statistics")
    add_output(schema)
    schema.add_argument(
        "--mode",
        choices=("auto", "infer", "frozen", "propose"),
        help="propose writes a widened candidate next to the agreed schema (default: frozen with a base, else infer)",
    )
    add_base_schema(schema)
    schema.add_argument(
        "--max-string-domain-size",
        type=int,
        metavar="N",
        help="most distinct values of text with a closed domain (default: 100)",
    )
    schema.add_argument(
        "--infer",
        choices=("headwater", "tfdv"),
        help="how to infer: with the domains that the data closes, or exactly as TFDV does (default: headwater)",
    )
    add_project(schema)

    agreed = commands.add_parser("schema", help="compare two schemas, or export one")
    parts = agreed.add_subparsers(title="commands", required=True, metavar="COMMAND")
    diff = add_command(parts, "diff", _diff, "what differs between two schemas, and whether they are compatible")
    diff.add_argument("before", help="schema.pbtxt, or a folder that has one")
    diff.add_argument("after", help="schema.pbtxt, or a folder that has one")
    show = add_command(parts, "show", _show, "export a schema for pyarrow, as JSON Schema, or as SQL")
    show.add_argument("schema", help="schema.pbtxt, or a folder that has one")
    show.add_argument("--as", dest="form", choices=["arrow", "json", "duckdb", "postgres", "bigquery"], default="arrow")
    show.add_argument("--table", default="data", help="name of the table in SQL (default: %(default)s)")
    show.add_argument("--statistics", default="", help="folder of generate-statistics, which keeps dates as dates")


def _infer_schema(options: argparse.Namespace) -> int:
    from headwater.components.infer_schema import derive_schema
    from headwater.components.infer_schema.curation import from_project

    project = project_of(options)
    with progress(options), project.errors():
        result = derive_schema(options.statistics, options.output, **from_project(project.settings))
    how = {"infer": "inferred from the data", "frozen": "the agreed one", "propose": "the agreed one, and a proposal"}
    mode = result.body["mode"]
    done = [("schema", how.get(mode, mode)), ("result", result.uri), *also_in(result, options.output)]
    more = {"mode": mode, "files": list(result.files())}
    return close(options, Closing(done, result.uri, page_of(result), findings_of(result), more=more))


def _diff(options: argparse.Namespace) -> int:
    from headwater.components.infer_schema import compatibility, diff_schemas, read_schema
    from headwater.components.infer_schema.diff import sentence

    changes = diff_schemas(read_schema(options.before), read_schema(options.after))
    if options.json:
        print_json(changes)
        return 0
    for change in changes:
        print(sentence(change))
    print(f"compatibility: {compatibility(changes).name}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from headwater.components.common import results
    from headwater.components.infer_schema import read_schema
    from headwater.components.infer_schema.exports import as_text

    conversions = results.load(options.statistics, "statistics").body["conversions"] if options.statistics else {}
    text = as_text(read_schema(options.schema), options.form, options.table, conversions)
    if options.json:
        print_json({"command": "schema show", "exit_code": 0, "form": options.form, "schema": text})
    else:
        print(text, end="")
    return 0
