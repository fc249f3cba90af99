"""The commands that run one component: collect, label, generate-statistics, merge-statistics, validate and gate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.pipelines.arguments import (
    SOURCES,
    Parser,
    add_baseline,
    add_beam,
    add_collect,
    add_command,
    add_data_root,
    add_fail_on,
    add_inputs,
    add_output,
    add_project,
    need_sources,
    project_of,
    shown,
)
from headwater.pipelines.closing import (
    DONE,
    NOT_BLESSED,
    Closing,
    acknowledgement_lines,
    also_in,
    as_json,
    close,
    findings_of,
    page_of,
    parts_of,
    progress,
)
from headwater.pipelines.project.checking import check_sources


def add_commands(commands: Any) -> None:
    """Adds the commands, but for gate."""
    collect = add_command(commands, "collect", _collect, "files → a dataset, every record accounted for")
    collect.add_argument("source", nargs="*", metavar="PATH_OR_URI", help=SOURCES)
    add_output(collect)
    add_data_root(collect, "durable home for the shards (default: the output folder)")
    add_collect(collect)
    add_project(collect)
    add_beam(collect)

    label = add_command(commands, "label", _label, "a dataset → its rows with labels, each with its origin")
    label.add_argument("dataset", help="a dataset's folder, or plain files")
    label.add_argument("--output", default="", metavar="FOLDER", help="folder to write the labels to")
    add_inputs(label)
    label.add_argument(
        "--data-root",
        dest="labels_root",
        default="",
        metavar="PATH_OR_URI",
        help="durable home for the labels (default: the dataset's own)",
    )
    label.add_argument(
        "--analyse", action="store_true", help="run the labelling functions on a sample and show which to write next"
    )
    label.add_argument(
        "--rows", type=int, default=20_000, metavar="N", help="size of the sample, in rows (default: %(default)s)"
    )
    add_project(label)
    add_beam(label)

    statistics = add_command(
        commands, "generate-statistics", _generate_statistics, "a dataset → TFDV's statistics of each split, and a page"
    )
    statistics.add_argument("dataset", help="a dataset's folder, or plain files")
    add_output(statistics)
    add_project(statistics)
    add_beam(statistics)

    merge = add_command(
        commands, "merge-statistics", _merge_statistics, "statistics of several spans → statistics of all their rows"
    )
    merge.add_argument("statistics", nargs="+", help="folders of generate-statistics")
    add_output(merge)


def add_verdict_commands(commands: Any) -> None:
    """Adds validate and gate."""
    validate = add_command(commands, "validate", _validate, "statistics and a schema → a verdict, anomalies and a page")
    assert isinstance(validate, Parser), "subparsers are of their parser's class"
    validate.ending = _list_checks
    validate.add_argument("statistics", help="folder of generate-statistics")
    validate.add_argument("schema", help="folder of infer-schema")
    add_output(validate)
    add_baseline(validate)
    validate.add_argument("--environment", help="schema environment to validate in")
    validate.add_argument("--dataset", default="", help="the rows (default: the dataset that the statistics name)")
    validate.add_argument(
        "--passed",
        default="",
        metavar="FOLDER",
        help="folder to write the rows to that break no rule; under a data root they lie there, and FOLDER gets the manifest",
    )
    validate.add_argument("--quarantine", default="", metavar="FOLDER", help="folder for the other rows, likewise")
    add_project(validate)
    add_beam(validate)

    gate = add_command(commands, "gate", _gate, "print the findings and exit 1 if the data must not be used")
    gate.add_argument("anomalies", help="folder of validate")
    add_fail_on(gate)
    add_project(gate)


def _collect(options: argparse.Namespace) -> int:
    from headwater.components.collect import collect_dataset
    from headwater.components.collect.settings import from_project

    project = project_of(options, options.source)
    need_sources(project)
    check_sources(project)
    with progress(options), project.errors():
        result = collect_dataset(output=options.output, **from_project(project.settings))
    accounts = result.body["accounts"]
    filtered = sum(accounts["filtered"].values())
    text = f"{accounts['read']:,} read, {accounts['written']:,} written, {accounts['rejected']:,} rejected"
    splits = {name: split["rows"] for name, split in result.body["splits"].items()}
    more = {"accounts": accounts, "splits": splits, "accepted": result.body["accepted"]}
    return _close(options, result, "collected", text + (f", {filtered:,} filtered" if filtered else ""), more)


def _label(options: argparse.Namespace) -> int:
    from headwater.components.label import analyse, ask_after, label_dataset
    from headwater.components.label.settings import from_project

    project = project_of(options)
    given = from_project(project.settings)
    if not given["steps"]:
        raise HeadwaterError(
            "label.steps: the project has no steps; write methods there, each with `method`, `classes` and the method's "
            "settings"
        )
    if options.analyse:
        with progress(options), project.errors():
            analysis = analyse(options.dataset, steps=given["steps"], inputs=given["inputs"], rows=options.rows)
        if options.json:
            return close(options, Closing([], more={"analysis": str(analysis)}))
        print(analysis)
        return DONE
    if not options.output:
        raise HeadwaterError("--output: a folder for the labels is required unless --analyse is given")
    with progress(options), project.errors():
        result = label_dataset(options.dataset, options.output, data_root=options.labels_root, **given)
        asked = ask_after(result, project.settings)
    labels, accounts = result.body["labelled"], result.body["accounts"]
    classes = ", ".join(f"{name} {count:,}" for name, count in labels["classes"].items())
    carried = f", {accounts['carried']:,} carried to the next span" if accounts["carried"] else ""
    text = f"{accounts['written']:,} rows, {classes}, {labels['abstained']:,} abstain{carried}"
    more = {"accounts": accounts, "labelled": labels, "accepted": result.body["accepted"]}
    lines = (
        [("asked", f"{asked.batch.num_rows:,} rows: {asked.uri or '; '.join(asked.report['notes'])}")] if asked else []
    )
    return _close(options, result, "labelled", text, more, lines)


def _generate_statistics(options: argparse.Namespace) -> int:
    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.generate_statistics.settings import from_project

    project = project_of(options)
    with progress(options), project.errors():
        result = compute_statistics(options.dataset, options.output, **from_project(project.settings))
    worst = [
        ("", f"{split}: where {each['slice']}: {each['rows']:,} rows cost {each['mean_cost']:.4g} each, others "
         f"{each['rest_cost']:.4g} (p = {each['p_value']:.2g})")
        for split, slices in result.body.get("worst_slices", {}).items()
        for each in slices
    ]  # fmt: skip
    return _close(options, result, "measured", _sizes(result), {"splits": result.body["splits"]}, worst)


def _merge_statistics(options: argparse.Namespace) -> int:
    from headwater.components.generate_statistics import merge_statistics

    with progress(options):
        result = merge_statistics(options.statistics, options.output)
    return _close(options, result, "merged", _sizes(result), {"splits": result.body["splits"]})


def _sizes(result: Result) -> str:
    splits = result.body["splits"]
    features = max(split["features"] for split in splits.values())
    sizes = ", ".join(f"{name} {split['rows']:,}" for name, split in splits.items())
    return f"{features} features of {sum(split['rows'] for split in splits.values()):,} rows: {sizes}"


def _validate(options: argparse.Namespace) -> int:
    from headwater.components.common.results import load
    from headwater.components.validate import check_statistics
    from headwater.components.validate.settings import from_project

    project = project_of(options)
    with progress(options), project.errors():
        result = check_statistics(
            options.statistics,
            options.schema,
            options.output,
            dataset=options.dataset,
            passed=options.passed,
            quarantine=options.quarantine,
            **from_project(project.settings),
        )
    baseline = result.body["baseline"]
    compared = [("", f"compared with {baseline['uri']}")] if baseline else []
    compared += [("", line) for line in acknowledgement_lines(result)]
    rows = result.body.get("rows", {})
    parts = {kind: load(rows[kind]["uri"], kind) for kind in ("passed", "quarantine") if rows.get(kind)}
    more = {
        "blessed": result.body["blessed"],
        "verdict": result.body["verdict"],
        "checks": result.body["checks"],
        "results": as_json(parts),
    }
    return _close(options, result, "validated", result.body["verdict"], more, [*compared, *parts_of(parts)])


def _gate(options: argparse.Namespace) -> int:
    from headwater.components.common.results import load
    from headwater.components.validate import enforce
    from headwater.components.validate.judging import fail_on

    level = fail_on(project_of(options).settings)
    result = load(options.anomalies, "anomalies")
    more = {"blessed": result.body["blessed"], "verdict": result.body["verdict"], "fail_on": level}
    try:
        enforce(options.anomalies, fail_on=level)
    except HeadwaterError as error:
        if not options.json:
            raise _Closed(shown(str(error))) from None
        refusal = result.body["verdict"]
        findings = findings_of(result)
        return close(options, Closing([], result.uri, page_of(result), findings, refusal, NOT_BLESSED, more))
    return _close(options, result, "passed", result.body["verdict"], more)


class _Closed(HeadwaterError):
    """The gate is closed."""

    code = NOT_BLESSED


def _close(
    options: argparse.Namespace,
    result: Result,
    heading: str,
    text: str,
    more: dict[str, Any],
    lines: Sequence[tuple[str, str]] = (),
) -> int:
    refusal = "" if result.body.get("accepted", True) else result.body["refusal"]
    done = [(heading, text), *lines, ("result", result.uri)]
    code = NOT_BLESSED if refusal else DONE
    done += also_in(result, getattr(options, "output", ""))
    return close(options, Closing(done, result.uri, page_of(result), findings_of(result), refusal, code, more))


def _list_checks() -> str:
    """The checks of validate, and the settings that each adds to its section."""
    from headwater.components.validate import checks

    width = max(len(check.name) for check in checks.CHECKS)
    lines = []
    for check in checks.CHECKS:
        settings = f" (settings: {', '.join(check.settings)})" if check.settings else ""
        lines.append(f"  {check.name:{width}}  {check.title}{settings}")
    return "\n".join(["checks:", *lines, ""])
