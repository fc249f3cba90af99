"""The arguments that several commands share."""

from __future__ import annotations

import argparse
from typing import Any

SOURCES = "CSV, TSV, JSONL, Parquet, Avro or TFRecord files, folders or globs"


def add_command(commands: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    """Adds a command that calls `function`."""
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:])
    command.set_defaults(command=function)
    return command


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds --output."""
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder to write the result to")


def add_collect(parser: argparse.ArgumentParser) -> None:
    """Adds collect's arguments."""
    group = parser.add_argument_group("the dataset")
    group.add_argument("--name", default="data", help="name of the dataset (default: %(default)s)")
    group.add_argument("--span", type=int, default=-1, metavar="N", help="number of the span (default: the next one)")
    group.add_argument(
        "--splits",
        default="train=0.8,eval=0.2",
        metavar="NAME=WEIGHT,…",
        help="splits and their weights; the first is the training split (default: %(default)s)",
    )
    group.add_argument("--key", type=_names, default=[], metavar="COLUMN,…", help="columns that identify a row")
    group.add_argument(
        "--type",
        type=_pair,
        action="append",
        default=[],
        dest="types",
        metavar="COLUMN=TYPE",
        help="declare a column's Arrow type, as in zip=string; the others are inferred",
    )
    group.add_argument("--delimiter", default="", help="field separator of a CSV (default: detected)")
    group.add_argument(
        "--max-rejected-share",
        type=float,
        default=0.01,
        metavar="X",
        help="maximum share of rejected records with which the data is accepted (default: %(default)s)",
    )
    group.add_argument(
        "--config", metavar="FILE", help="YAML file with more settings; the README of collect lists them"
    )


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds what labelling takes beside the rows."""
    parser.add_argument(
        "--input",
        type=_pair,
        action="append",
        default=[],
        dest="inputs",
        metavar="NAME=URI",
        help="more data for labelling, under the name that the steps use",
    )
    parser.add_argument(
        "--as-of",
        default="",
        metavar="TIME",
        help=(
            "time until which feedback is known, in ISO 8601 (default: the end of the span, if its paths contain dates)"
        ),
    )


def add_references(parser: argparse.ArgumentParser) -> None:
    """Adds the agreed schema and the baseline."""
    add_base_schema(parser)
    add_baseline(parser)


def add_base_schema(parser: argparse.ArgumentParser) -> None:
    """Adds the agreed schema and its curation."""
    parser.add_argument(
        "--base-schema",
        default="auto",
        metavar="REF",
        help="the agreed schema: a URI, latest, previous, span:N or none (default: the previous span's, if any)",
    )
    parser.add_argument("--curation", metavar="FILE", help="YAML file with changes to the schema, by feature")


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """Adds --baseline."""
    parser.add_argument(
        "--baseline",
        default="auto",
        metavar="REF",
        help="statistics to measure drift from: a URI, latest, previous, span:N or none (default: the previous span's)",
    )


def add_fail_on(parser: argparse.ArgumentParser) -> None:
    """Adds --fail-on."""
    parser.add_argument(
        "--fail-on",
        default="error",
        choices=("error", "warning", "none"),
        help="lowest severity of a finding that fails the gate (default: %(default)s)",
    )


def add_beam(parser: argparse.ArgumentParser) -> None:
    """Adds --workers and --beam."""
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="number of processes (default: one per core)"
    )
    parser.add_argument(
        "--beam",
        action="append",
        default=[],
        metavar="ARG",
        help="an option for Beam, as in --beam=--runner=FlinkRunner",
    )


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name, value


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]
