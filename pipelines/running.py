"""The command `run`: the main pipeline on a user's own data, on this machine."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any

from headwater.pipelines import summaries
from headwater.pipelines.arguments import (
    DATA_ROOT,
    SOURCES,
    add_beam,
    add_collect,
    add_command,
    add_data_root,
    add_fail_on,
    add_inputs,
    add_project,
    add_references,
    need_sources,
    project_of,
    shown,
)
from headwater.pipelines.closing import DONE, NOT_BLESSED, Closing, as_json, close, findings_of_run, page_of
from headwater.pipelines.project.checking import check_references, check_sources


def add_commands(commands: Any) -> None:
    """Adds the command."""
    run = add_command(commands, "run", _run, "run the main pipeline on your data, on this machine")
    run.add_argument("source", nargs="*", metavar="PATH_OR_URI", help=SOURCES)
    add_data_root(run, f"where results are stored and earlier runs are found (default: {DATA_ROOT})")
    add_collect(run)
    add_inputs(run)
    add_references(run)
    add_fail_on(run)
    add_project(run)
    add_beam(run)
    summaries.add_summary(run)
    run.add_argument("--verbose", action="store_true", help="show everything that the tasks print")


def _run(options: argparse.Namespace) -> int:
    with summaries.summarised_errors(options):
        return _run_project(options)


def _run_project(options: argparse.Namespace) -> int:
    project = project_of(options, options.source, DATA_ROOT)
    need_sources(project)
    check_sources(project)
    check_references(project)
    # kfp takes seconds to import: only now that the settings are right.
    from headwater.pipelines.local import run_locally

    with contextlib.ExitStack() as stack:
        target: Any = sys.stderr
        if options.quiet:
            target = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(project.errors())
        if project.uri:
            print(f"settings of {shown(project.uri)}", file=target, flush=True)
        outcome = run_locally(project.settings, verbose=options.verbose, target=target)
    code = DONE if outcome.passed else NOT_BLESSED
    summaries.append(options, summaries.of_run(outcome.results, outcome.passed))
    if not options.json:
        print(outcome.summary)
        return code
    anomalies = outcome.results.get("anomalies")
    more = {
        "passed": outcome.passed,
        "blessed": anomalies.body["blessed"] if anomalies else None,
        "verdict": anomalies.body["verdict"] if anomalies else None,
        "results": as_json(outcome.results),
        "accounts": outcome.results["dataset"].body["accounts"],
    }
    made = [outcome.results[kind].body for kind in ("dataset", "labels") if kind in outcome.results]
    refusals = [body["refusal"] for body in made if body.get("refusal")]
    findings = findings_of_run(outcome.results)
    last = list(outcome.results.values())[-1]
    return close(options, Closing([], last.uri, page_of(last), findings, next(iter(refusals), ""), code, more))
