"""The command `ask`: which rows people should label next, as tasks for them."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.pipelines.arguments import (
    add_beam,
    add_command,
    add_output,
    add_project,
    name_and_value,
    names,
    project_of,
)
from headwater.pipelines.closing import Closing, close, progress

_STRATEGIES = ("margin", "entropy", "clusters", "committee", "regions", "random", "mix")


def add_commands(commands: Any) -> None:
    """Adds the command."""
    ask = add_command(commands, "ask", _ask, "rows → the ones that people should label next, as tasks for them")
    ask.add_argument("dataset", help="a dataset's or its labels' folder, or plain files")
    add_output(ask)
    ask.add_argument("--strategy", dest="ask_strategy", choices=_STRATEGIES, help="how rows are chosen (default: mix)")
    ask.add_argument("--rows", dest="ask_rows", type=int, metavar="N", help="how many rows (default: 100)")
    ask.add_argument("--classes", dest="ask_classes", type=names, metavar="NAME,…", help="the answers to choose from")
    ask.add_argument("--answers", dest="ask_answers", metavar="COLUMN", help="column with the class of answered rows")
    ask.add_argument(
        "--answers-input", dest="ask_answers_input", metavar="NAME", help="the input that has it, beside the key"
    )
    ask.add_argument("--where", dest="ask_where", metavar="SQL", help="ask only about rows of which this is true")
    ask.add_argument("--budget", dest="ask_budget", type=int, metavar="N", help="most answers of all rounds together")
    ask.add_argument(
        "--estimator", dest="ask_estimator", metavar="MODULE:FUNCTION", help="what learns (default: a random forest)"
    )
    ask.add_argument(
        "--state", dest="ask_state", metavar="FOLDER", help="where the rounds are kept (default: under the data root)"
    )
    ask.add_argument(
        "--input", type=name_and_value, action="append", default=[], dest="inputs", metavar="NAME=URI",
        help="more data, under the name that the settings use",
    )  # fmt: skip
    add_project(ask)
    add_beam(ask)


def _show(dataset: str) -> None:
    """Links the page of the round from the overview of the run, where there is one already."""
    from headwater.components.common import results
    from headwater.components.validate.overview import refresh_overview

    with contextlib.suppress(HeadwaterError):
        home = results.load(dataset, "dataset", "labels").home
        if home is not None:
            refresh_overview(home)


def _ask(options: argparse.Namespace) -> int:
    from headwater.components.label import ask_rows
    from headwater.components.label.asking.stopping import sentence
    from headwater.components.label.settings import ask_from_project

    project = project_of(options)
    given = ask_from_project(project.settings)
    if given is None:
        raise HeadwaterError(
            "label.ask: the project has no such section; write it there, or name the classes, as in --classes yes,no"
        )
    with progress(options), project.errors():
        asked = ask_rows(options.dataset, options.output, **given)
        _show(options.dataset)
    report = asked.report
    done = []
    if asked.uri:
        shares = ", ".join(f"{name} {count:,}" for name, count in report["strategies"].items())
        done.append(("asked", f"round {report['round']}: {report['rows']:,} rows ({shares})"))
    else:
        done.append(("asked", "no rows"))
    done.append(("", f"{report['askable']:,} could be asked about; {report['answered']:,} are answered, "
                     f"{report['replied']:,} of the {report['asked']:,} asked about before"))  # fmt: skip
    if report.get("budget"):
        done.append(("budget", f"{report['votes']:,} of {report['budget']:,} answers asked for"))
    if report["gain"]:
        done.append(("gain", sentence(report["gain"], report["rows"])))
    done += [("note", note) for note in report["notes"]]
    if asked.uri:
        done.append(("tasks", ", ".join(f"{asked.uri}/{name}" for name in report["tasks"]["files"])))
    page = f"{asked.uri}/page.html" if asked.uri else ""
    return close(options, Closing(done, asked.uri, page, more={"asked": dict(report)}))
