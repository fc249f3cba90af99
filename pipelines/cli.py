"""The command line: the main pipeline on a user's own data, and each component alone."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from headwater.components.common import storage
from headwater.components.common.ending import ended_cleanly
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home, Result, find
from headwater.components.validate.actions import DATA_ROOT
from headwater.pipelines.accepting import add_commands as add_accepting_commands
from headwater.pipelines.arguments import (
    SOURCES,
    add_baseline,
    add_beam,
    add_collect,
    add_command,
    add_fail_on,
    add_inputs,
    add_output,
    add_references,
)
from headwater.pipelines.maintenance import add_commands as add_upkeep_commands
from headwater.pipelines.schemas import add_commands as add_schema_commands

NOT_BLESSED, FAILED = 1, 2
"""Exit codes: the data must not go on; the work could not be done."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
      0; `NOT_BLESSED` when the data must not go on, like a linter; `FAILED` for a wrong setting or input.
    """
    options = _parser().parse_args(arguments)
    try:
        with ended_cleanly():
            return options.command(options)
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Who read the output has seen enough, as `head` has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(options: argparse.Namespace) -> int:
    from headwater.components.collect.settings import with_config
    from headwater.components.common.settings import read_config
    from headwater.components.generate_statistics.settings import check_settings as check_statistics_settings
    from headwater.components.infer_schema.curation import read_curation
    from headwater.components.validate.settings import check_settings as check_validate_settings
    from headwater.pipelines.local import run_locally

    settings = _collect_settings(options)
    config = read_config(options.config) if options.config else {}
    _check_collect(with_config(settings, config))
    statistics_config = read_config(options.statistics_config) if options.statistics_config else {}
    check_statistics_settings(statistics_config)
    validate_config = read_config(options.validate_config) if options.validate_config else {}
    check_validate_settings(validate_config)
    curation = read_curation(options.curation) if options.curation else {}
    steps = _label_steps(options.label) if options.label else []
    if steps:
        from headwater.components.label.settings import check_as_of, check_steps

        check_steps(steps)
        check_as_of(options.as_of)
    _check_references(options)
    outcome = run_locally(
        {
            **settings,
            "splits": options.splits,
            "sources": options.source,
            "collect_config": config,
            "label_steps": steps,
            "label_inputs": dict(options.inputs),
            "label_as_of": options.as_of,
            "statistics_config": statistics_config,
            "validate_config": validate_config,
            "data_root": options.data_root,
            "base_schema": options.base_schema,
            "baseline": options.baseline,
            "curation": curation,
            "fail_on": options.fail_on,
            "beam_pipeline_args": options.beam,
            "workers": options.workers,
        },
        verbose=options.verbose,
    )
    print(outcome.summary)
    return 0 if outcome.passed else NOT_BLESSED


def _collect(options: argparse.Namespace) -> int:
    from headwater.components.collect import collect_dataset
    from headwater.components.collect.settings import with_config
    from headwater.components.common.settings import read_config

    config = read_config(options.config) if options.config else {}
    result = collect_dataset(
        options.source,
        options.output,
        data_root=options.data_root,
        beam_pipeline_args=options.beam,
        workers=options.workers,
        **with_config(_collect_settings(options), config),
    )
    accounts = result.body["accounts"]
    filtered = sum(accounts["filtered"].values())
    print(
        f"{result.uri}: {accounts['read']:,} read, {accounts['written']:,} written, {accounts['rejected']:,} rejected"
        + (f", {filtered:,} filtered" if filtered else "")
    )
    return _print_findings(result)


def _label(options: argparse.Namespace) -> int:
    from headwater.components.label import analyse, label_dataset

    steps = _label_steps(options.steps)
    inputs = dict(options.inputs)
    if options.analyse:
        print(analyse(options.dataset, steps=steps, inputs=inputs, rows=options.rows))
        return 0
    if not options.output:
        raise HeadwaterError("--output: a folder for the labels is required unless --analyse is given")
    result = label_dataset(
        options.dataset,
        options.output,
        steps=steps,
        inputs=inputs,
        as_of=options.as_of,
        data_root=options.data_root,
        beam_pipeline_args=options.beam,
        workers=options.workers,
    )
    labels = result.body["labelled"]
    classes = ", ".join(f"{name} {count:,}" for name, count in labels["classes"].items())
    accounts = result.body["accounts"]
    carried = f", {accounts['carried']:,} carried to the next span" if accounts["carried"] else ""
    print(f"{result.uri}: {accounts['written']:,} rows, {classes}, {labels['abstained']:,} abstain{carried}")
    return _print_findings(result)


def _print_findings(result: Result) -> int:
    """What collect or label found, and the exit code."""
    for found in result.body["findings"]:
        print(f"{found['severity']:7} {found['rule']}: {found['message']}")
    print(f"page    {result.locate(result.body['page'])}")
    if not result.body["accepted"]:
        print(f"not accepted: {result.body['refusal']}", file=sys.stderr)
        return NOT_BLESSED
    return 0


def _label_steps(uri: str) -> list[Any]:
    from headwater.components.common.settings import read_config

    found = read_config(uri)
    if isinstance(found, dict):
        found = found.get("steps", [found] if "method" in found else [])
    if not isinstance(found, list) or not found:
        raise HeadwaterError(f"{uri}: must be a list of steps, each with `method`, `classes` and the method's settings")
    return found


def _generate_statistics(options: argparse.Namespace) -> int:
    from headwater.components.common.settings import read_config
    from headwater.components.generate_statistics import compute_statistics

    config = read_config(options.config) if options.config else {}
    result = compute_statistics(
        options.dataset, options.output, config=config, beam_pipeline_args=options.beam, workers=options.workers
    )
    print(f"{result.uri}: {', '.join(result.files())}")
    for split, slices in result.body.get("worst_slices", {}).items():
        for each in slices:
            print(
                f"{split}: where {each['slice']}: {each['rows']:,} rows cost {each['mean_cost']:.4g} each, "
                f"others {each['rest_cost']:.4g} (p = {each['p_value']:.2g})"
            )
    return 0


def _merge_statistics(options: argparse.Namespace) -> int:
    from headwater.components.generate_statistics import merge_statistics

    result = merge_statistics(options.statistics, options.output)
    print(f"{result.uri}: {', '.join(result.files())}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    from headwater.components.common.settings import read_config
    from headwater.components.validate import check_statistics

    config = read_config(options.config) if options.config else {}
    result = check_statistics(
        options.statistics,
        options.schema,
        options.output,
        baseline=options.baseline,
        environment=options.environment,
        config=config,
        dataset=options.dataset,
        passed=options.passed,
        quarantine=options.quarantine,
        beam_pipeline_args=options.beam,
        workers=options.workers,
    )
    print(f"{result.uri}: {result.body['verdict']}")
    return 0


def _gate(options: argparse.Namespace) -> int:
    from headwater.components.validate import enforce

    try:
        print(enforce(options.anomalies, fail_on=options.fail_on))
    except HeadwaterError as error:
        print(f"error: {error}", file=sys.stderr)
        return NOT_BLESSED
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose help may end with text that is only made when it is asked for."""

    ending: Callable[[], str] | None = None

    def format_help(self) -> str:
        help_text = super().format_help()
        return f"{help_text}\n{self.ending()}" if self.ending else help_text


def _list_checks() -> str:
    """The checks of validate, and the settings that each adds to its config."""
    from headwater.components.validate import checks

    width = max(len(check.name) for check in checks.CHECKS)
    lines = []
    for check in checks.CHECKS:
        settings = f" (settings: {', '.join(check.settings)})" if check.settings else ""
        lines.append(f"  {check.name:{width}}  {check.title}{settings}")
    return "\n".join(["checks:", *lines, ""])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="headwater",
        description="Collects data, measures it, and stops bad data before it trains a model",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = add_command(commands, "run", _run, "run the main pipeline on your data, on this machine")
    run.add_argument("source", nargs="*", metavar="PATH_OR_URI", help=SOURCES)
    run.add_argument(
        "--data-root",
        default=DATA_ROOT,
        help="where results are stored and earlier runs are found (default: %(default)s)",
    )
    add_collect(run)
    run.add_argument("--label", metavar="FILE", help="YAML file of methods; the README of label lists them")
    add_inputs(run)
    run.add_argument(
        "--statistics-config",
        metavar="FILE",
        help="YAML file of settings; the README of generate-statistics lists them",
    )
    run.add_argument(
        "--validate-config", metavar="FILE", help="YAML file of settings; the README of validate lists them"
    )
    add_references(run)
    add_fail_on(run)
    add_beam(run)
    run.add_argument("--verbose", action="store_true", help="show everything that the tasks print")

    collect = add_command(commands, "collect", _collect, "files → a dataset, every record accounted for")
    collect.add_argument("source", nargs="*", metavar="PATH_OR_URI", help=SOURCES)
    add_output(collect)
    collect.add_argument("--data-root", default="", help="durable home for the shards (default: the output folder)")
    add_collect(collect)
    add_beam(collect)

    label = add_command(commands, "label", _label, "a dataset → its rows with labels, each with its origin")
    label.add_argument("dataset", help="a dataset's folder, or plain files")
    label.add_argument(
        "--steps", required=True, metavar="FILE", help="YAML file of methods; the README of label lists them"
    )
    label.add_argument("--output", default="", metavar="FOLDER", help="folder to write the labels to")
    add_inputs(label)
    label.add_argument("--data-root", default="", help="durable home for the labels (default: the dataset's own)")
    label.add_argument(
        "--analyse", action="store_true", help="run the labelling functions on a sample and show which to write next"
    )
    label.add_argument(
        "--rows", type=int, default=20_000, metavar="N", help="size of the sample, in rows (default: %(default)s)"
    )
    add_beam(label)

    statistics = add_command(
        commands, "generate-statistics", _generate_statistics, "a dataset → TFDV's statistics of each split, and a page"
    )
    statistics.add_argument("dataset", help="a dataset's folder, or plain files")
    add_output(statistics)
    statistics.add_argument(
        "--config", metavar="FILE", help="YAML file of settings; the README of generate-statistics lists them"
    )
    add_beam(statistics)

    merge = add_command(
        commands, "merge-statistics", _merge_statistics, "statistics of several spans → statistics of all their rows"
    )
    merge.add_argument("statistics", nargs="+", help="folders of generate-statistics")
    add_output(merge)

    add_schema_commands(commands)
    add_accepting_commands(commands)

    validate = add_command(commands, "validate", _validate, "statistics and a schema → a verdict, anomalies and a page")
    assert isinstance(validate, _Parser), "subparsers are of their parser's class"
    validate.ending = _list_checks
    validate.add_argument("statistics", help="folder of generate-statistics")
    validate.add_argument("schema", help="folder of infer-schema")
    add_output(validate)
    add_baseline(validate)
    validate.add_argument("--environment", default="", help="schema environment to validate in")
    validate.add_argument("--config", metavar="FILE", help="YAML file of settings; the README of validate lists them")
    validate.add_argument("--dataset", default="", help="the rows (default: the dataset that the statistics name)")
    validate.add_argument(
        "--passed", default="", metavar="FOLDER", help="folder to write the rows to that break no rule"
    )
    validate.add_argument("--quarantine", default="", metavar="FOLDER", help="folder to write the other rows to")
    add_beam(validate)

    gate = add_command(commands, "gate", _gate, "print the findings and exit 1 if the data must not be used")
    gate.add_argument("anomalies", help="folder of validate")
    add_fail_on(gate)

    add_upkeep_commands(add_command, commands, DATA_ROOT)
    return parser


def _collect_settings(options: argparse.Namespace) -> dict[str, Any]:
    from headwater.components.collect.settings import parse_splits

    return {
        "name": options.name,
        "span": options.span,
        "splits": parse_splits(options.splits),
        "key": options.key,
        "types": dict(options.types),
        "delimiter": options.delimiter,
        "max_rejected_share": options.max_rejected_share,
    }


def _check_collect(settings: dict[str, Any]) -> None:
    """Refuses settings before the pipeline starts, as collect itself would."""
    from headwater.components.collect.settings import check_settings

    check_settings(**{name: value for name, value in settings.items() if name != "databases"})
    if settings.get("databases"):
        from headwater.components.collect.databases import parse_source

        for database in settings["databases"]:
            parse_source(database)


def _check_references(options: argparse.Namespace) -> None:
    """Finds out now, and not after minutes of work, that a reference leads nowhere."""
    from headwater.components.validate.baselines import find_baseline

    span = options.span if options.span >= 0 else sys.maxsize
    home = Home(storage.normalise(options.data_root), options.name, span, 1)
    if options.baseline not in ("auto", "none"):
        find_baseline(options.baseline, home)
    if options.base_schema in ("latest", "previous") or options.base_schema.startswith("span:"):
        find(options.base_schema, "schema", home)


if __name__ == "__main__":
    sys.exit(main())
