"""The main pipeline on this machine, through kfp's local runner, summarised in a few lines."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import pathlib
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.findings import percent
from headwater.components.common.progress import TERMINAL
from headwater.components.common.project import marked, platform
from headwater.components.common.results import Result
from headwater.components.validate.enforcement import ways_on
from headwater.components.validate.judging import fail_on
from headwater.pipelines.arguments import shown
from headwater.pipelines.closing import acknowledgement_lines, finding_lines, findings_of_run, page_of, parts_of
from headwater.pipelines.docker_tasks import docker_tasks
from headwater.pipelines.warm_tasks import warm_tasks, warm_up

# The task that leaves each kind of result, in the pipeline's order; its output bears the kind's name.
_TASKS = {
    "dataset": "collect",
    "labels": "label",
    "statistics": "generate-statistics",
    "schema": "infer-schema",
    "passed": "validate",
    "quarantine": "validate",
    "anomalies": "validate",
}
_OURS = re.compile(r"\s*((?:collect|read|label|generate-statistics|infer-schema|validate)\b.*|error: .*)")
_LAST_LINES = 40


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      passed: whether the gate let the data pass.
      summary: what happened, in a few lines that a person can read.
      results: what each stage left, by kind: dataset, labels if there are any, statistics, schema, with rules for rows
        passed and quarantine, anomalies.
    """

    passed: bool
    summary: str
    results: Mapping[str, Result]


def run_locally(
    project: Mapping[str, Any], verbose: bool = False, target: TextIO | None = None, docker: bool = False
) -> Outcome:
    """Runs the main pipeline through kfp's local runner.

    Args:
      project: all settings, as `main.headwater_pipeline` takes them; `sources` and `platform.data_root` are paths or URIs.
      verbose: whether to show every line that the tasks print, and not only progress.
      target: where those lines go; by default to stderr.
      docker: whether each task runs in a container of its image, which has `platform.data_root` and nothing else of this
        machine, instead of in a process.

    Returns:
      What came of it; also when the data was refused or the gate failed.

    Raises:
      HeadwaterError: the pipeline could not do its work.
    """
    given = platform(project)
    if not given.data_root:
        raise HeadwaterError("platform.data_root: a local run needs one, to find earlier runs")
    own = {
        **project,
        "platform": {**given.model_dump(exclude_unset=True), "data_root": storage.normalise(given.data_root)},
    }
    level = fail_on(own)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*non-Python base image.*")
    if not docker:
        warm_up(given.beam_pipeline_args)
    with tempfile.TemporaryDirectory(prefix="headwater-") as root, _terminal():
        relay = _Relay(target or sys.stderr, verbose)
        with docker_tasks(root, own["platform"]["data_root"]) if docker else warm_tasks() as runner:
            passed = _run_pipeline(marked(own), root, relay, runner)
        by_kind = dict(_collected(root))
        if not passed and "anomalies" not in by_kind and not _refused(by_kind):
            raise HeadwaterError(_without_scratch(relay.reason(), root))
        return Outcome(passed, summarise(by_kind, passed, level), by_kind)


def summarise(by_kind: Mapping[str, Result], passed: bool, fail_on: str) -> str:
    """What a run did, in a few lines."""
    lines = [""]
    dataset = by_kind["dataset"].body
    accounts = dataset["accounts"]
    names = [os.path.basename(source["uri"]) for source in dataset["lineage"]["sources"]]
    source = names[0] if len(names) == 1 else f"{len(names)} files, {names[0]} … {names[-1]}"
    splits = ", ".join(f"{split} {entry['rows']:,}" for split, entry in dataset["splits"].items())
    lines.append(
        f"collected   {accounts['read']:,} rows from {source} as {dataset['name']}, span {dataset['span']}: {splits}"
    )
    if accounts["rejected"]:
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in dataset["rejected"]["reasons"].items())
        lines.append(
            f"rejected    {accounts['rejected']:,} rows: {reasons}; see "
            f"{storage.join(by_kind['dataset'].uri, '_rejected')}"
        )
    else:
        lines.append("rejected    none")
    filtered = {rule: count for rule, count in accounts["filtered"].items() if count}
    if filtered:
        lines.append("filtered    " + ", ".join(f"{count:,} × {rule}" for rule, count in filtered.items()))
    if not dataset["accepted"]:
        lines.append(f"refused     {dataset['refusal']}")
    if "labels" in by_kind:
        labels = by_kind["labels"].body["labelled"]
        rows = by_kind["labels"].body["accounts"]["written"]
        classes = ", ".join(f"{name} {count:,}" for name, count in labels["classes"].items())
        lines.append(f"labelled    {rows - labels['abstained']:,} of {rows:,} rows: {classes}")
        lines += _label_lines(by_kind["labels"].body)
    if "statistics" in by_kind:
        body = by_kind["statistics"].body
        features = max(split["features"] for split in body["splits"].values())
        lines.append(
            f"statistics  {features} features of {sum(split['rows'] for split in body['splits'].values()):,} rows "
            f"in {len(body['splits'])} splits"
        )
    if "anomalies" in by_kind:
        lines += _verdict_lines(by_kind["anomalies"])
    lines += [f"{heading:11} {text}" for heading, text in parts_of(by_kind)]
    told = finding_lines(findings_of_run(by_kind))
    lines += [f"{'' if place else 'findings':12}{line}" for place, line in enumerate(told)]
    if "anomalies" in by_kind:
        lines.append(f"gate        {'passed' if passed else 'FAILED'} (fail on: {fail_on})")
        lines += [f"{'to ' + what:12}{command}" for what, command in ways_on(by_kind["anomalies"]).items()]
    pages = [page_of(result) for result in by_kind.values() if result.home and result.page]
    home = by_kind.get("anomalies", by_kind["dataset"]).home
    if home:
        pages.insert(0, home.report("index"))
    if pages:
        lines.append(f"pages       {pages[0]}")
        lines += [f"            {page}" for page in pages[1:]]
    return "\n".join(map(shown, lines))


def _label_lines(body: Mapping[str, Any]) -> list[str]:
    lines = []
    carried, taken_over = body["accounts"]["carried"], body["carried"]["taken_over"]
    if carried or taken_over:
        lines.append(f"            {carried:,} wait for the next span; {taken_over:,} waited from the earlier one")
    truth = body["truth"]
    if truth and truth["labelled"]:
        lines.append(
            f"            right on {percent(truth['accuracy'])} of the {truth['labelled']:,} whose class is known"
        )
    if not body["accepted"]:
        lines.append(f"refused     {body['refusal']}")
    return lines


def _verdict_lines(anomalies: Result) -> list[str]:
    body = anomalies.body
    lines = [f"validation  {body['verdict']}"]
    if body["baseline"]:
        lines.append(f"            compared with {body['baseline']['uri']}")
    return [*lines, *(f"            {line}" for line in acknowledgement_lines(anomalies))]


def _run_pipeline(project: Mapping[str, Any], root: str, relay: _Relay, runner: Any) -> bool:
    from kfp import local

    from headwater.pipelines.main import headwater_pipeline

    local.init(runner=runner, pipeline_root=root, raise_on_error=True)
    try:
        with contextlib.redirect_stdout(relay):
            headwater_pipeline(project=dict(project))
        return True
    except RuntimeError:
        # kfp's words for a failed task; the task's own are in its log and its results.
        return False


def _collected(root: str) -> Iterator[tuple[str, Result]]:
    for kind, task in _TASKS.items():
        for manifest in pathlib.Path(root).glob(f"*/{task}/{kind}/{results.MANIFEST}"):
            # A dataset that is not labelled passes through label as it is.
            result = results.load(str(manifest.parent), kind, "dataset")
            if result.role == kind:
                yield kind, result


def _refused(by_kind: Mapping[str, Result]) -> bool:
    return any(not by_kind[kind].body["accepted"] for kind in ("dataset", "labels") if kind in by_kind)


def _without_scratch(text: str, root: str) -> str:
    """A message with the names of artifacts in place of their paths below `root`, which is gone when it is read."""
    return re.sub(rf"{re.escape(root)}(?:/[^/\s:,;'\"]+)*/?", lambda path: path[0].rstrip("/").rpartition("/")[2], text)


@contextlib.contextmanager
def _terminal() -> Iterator[None]:
    """Lets tasks, whose output is piped, draw their progress on the user's terminal."""
    if not sys.stderr.isatty():
        yield
        return
    os.environ[TERMINAL] = os.ttyname(sys.stderr.fileno())
    try:
        yield
    finally:
        del os.environ[TERMINAL]


class _Relay(io.TextIOBase):
    """Passes on the lines of our own that tasks print, and remembers the rest for when one fails."""

    def __init__(self, target: Any, verbose: bool):
        self._target, self._verbose = target, verbose
        self._partial = ""
        self._lines: list[str] = []

    def write(self, text: str) -> int:
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._lines = [*self._lines[-_LAST_LINES:], line]
            ours = _OURS.match(line)
            if self._verbose:
                self._target.write(line + "\n")
            elif ours and not ours[1].startswith("error: "):
                self._target.write(ours[1] + "\n")
        self._target.flush()
        return len(text)

    def reason(self) -> str:
        """The last error that a task printed, or its last lines when it printed none."""
        for line in reversed(self._lines):
            ours = _OURS.match(line)
            if ours and ours[1].startswith("error: "):
                return ours[1].removeprefix("error: ")
        return "a task ended without an error message; the last lines it printed:\n" + "\n".join(self._lines)
