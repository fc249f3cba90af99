"""The arguments that several commands share, and the settings of the project that flags stand for."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import DATA_ROOT as DATA_ROOT
from headwater.components.common.settings import meant
from headwater.pipelines.project.loading import Path, Project, load

SOURCES = "CSV, TSV, JSONL, Parquet, Avro or TFRecord files, folders or globs"

FLAGS: dict[str, Path] = {
    "name": ("name",),
    "span": ("collect", "span"),
    "splits": ("collect", "splits"),
    "key": ("collect", "key"),
    "types": ("collect", "types"),
    "delimiter": ("collect", "delimiter"),
    "max_rejected_share": ("collect", "max_rejected_share"),
    "inputs": ("label", "inputs"),
    "as_of": ("label", "as_of"),
    "ask_strategy": ("label", "ask", "strategy"),
    "ask_rows": ("label", "ask", "rows"),
    "ask_classes": ("label", "ask", "classes"),
    "ask_answers": ("label", "ask", "answers"),
    "ask_answers_input": ("label", "ask", "answers_input"),
    "ask_where": ("label", "ask", "where"),
    "ask_budget": ("label", "ask", "budget"),
    "ask_estimator": ("label", "ask", "estimator"),
    "ask_state": ("label", "ask", "state"),
    "mode": ("schema", "mode"),
    "base_schema": ("schema", "base_schema"),
    "max_string_domain_size": ("schema", "max_string_domain_size"),
    "infer": ("schema", "infer"),
    "baseline": ("validate", "baseline"),
    "environment": ("validate", "environment"),
    "fail_on": ("validate", "fail_on"),
    "data_root": ("platform", "data_root"),
    "workers": ("platform", "workers"),
    "beam": ("platform", "beam_pipeline_args"),
}
"""By a flag's name in the parsed options, the setting that it stands for; the flag goes before the project file."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line that suggests, and whose help may end with text that is made when asked for."""

    ending: Callable[[], str] | None = None

    def __init__(self, *args: Any, **named: Any):
        super().__init__(*args, **{**named, "allow_abbrev": False})

    def format_help(self) -> str:
        help_text = super().format_help()
        return f"{help_text}\n{self.ending()}" if self.ending else help_text

    def error(self, message: str) -> NoReturn:
        if "invalid choice: " in message:
            message = self._choice(message)
        ending = "" if message.endswith("?") else f"; see `{self.prog} --help`"
        self.exit(2, f"error: {message}{ending}\n")

    def _choice(self, message: str) -> str:
        where, _, rest = message.partition("invalid choice: ")
        wrong, _, known = rest.partition(" (choose from ")
        names = [name.strip(" '\"") for name in known.rstrip(")").split(",")]
        kind = "command" if "COMMAND" in where else "choice"
        prefix = "" if kind == "command" else where.removeprefix("argument ")
        return f"{prefix}there is no {kind} {wrong}{meant(wrong.strip(chr(39)), names, f'{kind}s')}"

    def options(self) -> list[str]:
        """The flags."""
        return [option for action in self._actions for option in action.option_strings]


def parse(parser: Parser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a command; ends the process when one is wrong."""
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        within = getattr(options, "parser", parser)
        flag = next((each for each in unknown if each.startswith("-")), "").partition("=")[0]
        if not flag:
            within.error(f"there are too many arguments: {' '.join(unknown)}")
        hint = meant(flag, within.options())
        within.error(f"there is no flag {flag}" + (hint.replace("'", "") if "did you mean" in hint else ""))
    return options


def add_command(commands: Any, name: str, function: Any, text: str) -> Parser:
    """Adds a command that calls `function`."""
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:])
    command.set_defaults(command=function, parser=command)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    return command


def add_project(parser: argparse.ArgumentParser) -> None:
    """Adds --project and --set."""
    group = parser.add_argument_group("settings")
    group.add_argument(
        "--project",
        default="",
        metavar="FILE",
        help="project file (default: headwater.yaml in the working folder or beside the data; none: no file)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one setting, the value in YAML, as in validate.drift.min_effect=0.05; may be repeated",
    )


def project_of(options: argparse.Namespace, sources: Sequence[str] = (), data_root: str = "") -> Project:
    """As `load_of`, and checked.

    Raises:
      HeadwaterError: names file, line and key, what is wrong and what would be right.
    """
    project = load_of(options, sources, data_root)
    project.check()
    return project


def load_of(options: argparse.Namespace, sources: Sequence[str] = (), data_root: str = "") -> Project:
    """The settings of a command: its project file, `--set` and its flags.

    Args:
      options: parsed.
      sources: the data that the command names.
      data_root: the durable home where no setting names another.

    Raises:
      HeadwaterError: the file is not there or does not parse.
    """
    given: list[tuple[Path, Any]] = []
    for flag, path in FLAGS.items():
        value = getattr(options, flag, None)
        if value is not None and value != []:
            given.append((path, dict(value) if flag in ("types", "inputs") else value))
    project = load(options.project, options.set, given, sources)
    platform = project.settings.get("platform") or {}
    if data_root and isinstance(platform, dict) and not platform.get("data_root"):
        project.settings["platform"] = {**platform, "data_root": data_root}
    return project


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds --output."""
    parser.add_argument(
        "--output",
        required=True,
        metavar="FOLDER",
        help="folder to write the result to; of data under a data root it is stored there as well",
    )


def add_data_root(parser: argparse.ArgumentParser, text: str) -> None:
    """Adds --data-root."""
    parser.add_argument("--data-root", metavar="PATH_OR_URI", help=text)


def add_collect(parser: argparse.ArgumentParser) -> None:
    """Adds collect's arguments."""
    group = parser.add_argument_group("the dataset")
    group.add_argument("--name", help="name of the dataset (default: data)")
    group.add_argument("--span", type=int, metavar="N", help="number of the span (default: the next one)")
    group.add_argument(
        "--splits",
        metavar="NAME=WEIGHT,…",
        help="splits and their weights; the first is the training split (default: train=0.8,eval=0.2)",
    )
    group.add_argument("--key", type=names, metavar="COLUMN,…", help="columns that identify a row")
    group.add_argument(
        "--type",
        type=name_and_value,
        action="append",
        default=[],
        dest="types",
        metavar="COLUMN=TYPE",
        help="declare a column's Arrow type, as in zip=string; the others are inferred",
    )
    group.add_argument("--delimiter", help="field separator of a CSV (default: detected)")
    group.add_argument(
        "--max-rejected-share",
        type=float,
        metavar="X",
        help="maximum share of rejected records with which the data is accepted (default: 0.01)",
    )


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Adds what labelling takes beside the rows."""
    parser.add_argument(
        "--input",
        type=name_and_value,
        action="append",
        default=[],
        dest="inputs",
        metavar="NAME=URI",
        help="more data for labelling, under the name that the steps use",
    )
    parser.add_argument(
        "--as-of",
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
    """Adds the agreed schema."""
    parser.add_argument(
        "--base-schema",
        metavar="REF",
        help="the agreed schema: a URI, latest, previous, span:N or none (default: the previous span's, if any)",
    )


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """Adds --baseline."""
    parser.add_argument(
        "--baseline",
        metavar="REF",
        help="statistics to measure drift from: a URI, latest, previous, span:N or none (default: the previous span's)",
    )


def add_fail_on(parser: argparse.ArgumentParser) -> None:
    """Adds --fail-on."""
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "none"),
        help="lowest severity of a finding that fails the gate (default: error)",
    )


def add_beam(parser: argparse.ArgumentParser) -> None:
    """Adds --workers and --beam."""
    parser.add_argument("--workers", type=int, metavar="N", help="number of processes (default: one per core)")
    parser.add_argument(
        "--beam",
        action="append",
        default=[],
        metavar="ARG",
        help="an option for Beam, as in --beam=--runner=FlinkRunner",
    )


def shown(text: str) -> str:
    """A text with its paths as seen from the working folder, and its commands without the data root that they take there
    by themselves."""
    text = text.replace(os.getcwd() + os.sep, "")
    return (
        re.sub(rf" --data-root {re.escape(_usual_root(os.getcwd()))}(?!\S)", "", text)
        if "--data-root" in text
        else text
    )


@functools.cache
def _usual_root(folder: str) -> str:
    """The data root that commands take in the working folder, as seen from there."""
    with contextlib.suppress(HeadwaterError):
        platform = load().settings.get("platform")
        if isinstance(platform, dict) and isinstance(platform.get("data_root"), str):
            return platform["data_root"].removeprefix(folder + os.sep) or DATA_ROOT
    return DATA_ROOT


def need_sources(project: Project) -> list[str]:
    """The sources, at least one.

    Raises:
      HeadwaterError: there are none.
    """
    sources = project.settings.get("sources") or []
    if not sources:
        raise HeadwaterError(
            "sources: name files, folders or URIs on the command line, or under `sources` in a project"
        )
    return sources


def name_and_value(text: str) -> tuple[str, str]:
    """A name and its value, as in `NAME=VALUE`."""
    name, mark, value = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE")
    return name, value


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name for name in text.split(",") if name]
