"""The commands for a cluster: compile the pipeline of a project, submit it to Kubeflow once or by a schedule, look at runs."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from headwater.components.common import storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.project import platform
from headwater.components.common.version import VERSION
from headwater.pipelines.arguments import add_command, add_project, need_sources, project_of
from headwater.pipelines.closing import DONE, Closing, close, findings_of, progress
from headwater.pipelines.project.loading import Project

if TYPE_CHECKING:
    from headwater.pipelines.cluster.api import Kubeflow
    from headwater.pipelines.cluster.following import End


def add_commands(commands: Any) -> None:
    """Adds the commands."""
    command = add_command(commands, "compile", _compile, "compile the pipeline of a project for a cluster")
    command.add_argument("-o", "--output", default="pipeline.yaml", metavar="FILE", help="file (default: %(default)s)")
    _add_fanout(command)
    add_project(command)

    submit = add_command(
        commands, "submit", _submit, "run the pipeline of a project on Kubeflow, once or by a schedule"
    )
    _add_server(submit)
    submit.add_argument(
        "--schedule", default="", metavar="CRON", help='start a recurring run, as in "0 6 * * *" for every day at six'
    )
    submit.add_argument("--no-wait", action="store_true", help="end when the run has started")
    _add_fanout(submit)
    add_project(submit)

    runs = add_command(commands, "runs", _runs, "list the runs of a project on Kubeflow, or follow one")
    runs.add_argument("run", nargs="?", default="", metavar="RUN", help="id of a run to follow until it ends")
    runs.add_argument("--most", type=int, default=20, metavar="N", help="how many are listed (default: %(default)s)")
    _add_server(runs)
    add_project(runs)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="", metavar="URL", help="address of Kubeflow Pipelines (default: KF_PIPELINES_ENDPOINT)"
    )
    parser.add_argument(
        "--namespace", default="", metavar="NAME", help="namespace of your profile, where Kubeflow has several users"
    )
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="SECONDS", help="how often to look at a run (default: %(default)s)"
    )


def _add_fanout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fanout",
        action="store_true",
        help="spread collect, label, generate-statistics and rules for rows over pods, as platform.fanout says",
    )


def _spread(options: argparse.Namespace) -> Project:
    """The project, spread over pods where that is asked for."""
    project = project_of(options)
    if options.fanout and not (project.settings.get("platform") or {}).get("fanout"):
        project.settings["platform"] = {**(project.settings.get("platform") or {}), "fanout": {}}
    return project


def _compile(options: argparse.Namespace) -> int:
    project = _spread(options)
    text = _compiled(project, options.quiet)
    storage.write_bytes(storage.normalise(options.output), text.encode())
    done = [("compiled", options.output), ("next", "headwater submit, or upload it in the Kubeflow UI")]
    return close(options, Closing(done, options.output))


def _compiled(project: Project, quiet: bool) -> str:
    from headwater.pipelines.cluster.building import compile_project
    from headwater.pipelines.cluster.checking import check_for_cluster, notes

    with project.errors():
        check_for_cluster(project.settings)
        if not quiet:
            for note in notes(project.settings):
                print(f"note: {note}", file=sys.stderr)
        return compile_project(project.settings)


def _submit(options: argparse.Namespace) -> int:
    from headwater.pipelines.cluster.api import Kubeflow
    from headwater.pipelines.cluster.building import pipeline_name
    from headwater.pipelines.cluster.schedules import parse_schedule

    cron = parse_schedule(options.schedule) if options.schedule else ""
    project = _spread(options)
    need_sources(project)
    text = _compiled(project, options.quiet)
    with progress(options):
        server = Kubeflow(options.host, options.namespace)
        name = pipeline_name(project.settings)
        pipeline, version, told = _uploaded(server, name, text)
        experiment = server.experiment(name) or _made(
            lambda: server.create_experiment(name), lambda: server.experiment(name)
        )
    account = platform(project.settings).service_account
    done = [("pipeline", f"{name}, version {told}")]
    more = {"pipeline": pipeline, "version": version, "experiment": experiment}
    if cron:
        return _schedule(options, server, (name, experiment, pipeline, version, account, cron), done, more)
    title = f"{name} {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M}"
    run = server.start(title, experiment, pipeline, version, account)
    done += [("run", f"{title}, {run}"), ("", server.link("runs", run))]
    more |= {"run": run, "url": server.link("runs", run)}
    if options.no_wait:
        return close(options, Closing([*done, ("next", f"headwater runs {run}")], more={**more, "state": None}))
    return _follow(options, server, run, project, done, more)


def _uploaded(server: Kubeflow, name: str, text: str) -> tuple[str, str, str]:
    """The ids of the pipeline and of the version that has this content, and words on it; uploads what is not there."""
    pipeline = server.pipeline(name) or _made(
        lambda: server.create_pipeline(name, f"Headwater's pipeline of {name.removeprefix('headwater-')}"),
        lambda: server.pipeline(name),
    )
    label = f"{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    version = server.version(pipeline, label)
    if version:
        return pipeline, version, f"{label}, which was there"
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        version = _made(lambda: server.upload(pipeline, label, file.name), lambda: server.version(pipeline, label))
    return pipeline, version, label


def _made(make: Callable[[], str], find: Callable[[], str]) -> str:
    """What is made; or found, where somebody was faster."""
    from headwater.pipelines.cluster.api import Exists

    try:
        return make()
    except Exists as error:
        existing = find()
        if not existing:
            raise HeadwaterError(f"{error}, but it is not listed: another namespace may have it") from None
        return existing


def _schedule(
    options: argparse.Namespace,
    server: Kubeflow,
    what: tuple[str, str, str, str, str | None, str],
    done: list[tuple[str, str]],
    more: Mapping[str, Any],
) -> int:
    """Creates a recurring run in place of those of the same name."""
    name, experiment, _, version, _, cron = what
    earlier = server.schedules(experiment, name)
    same = [each for each in earlier if _is(each, version, cron)]
    key = same[0].recurring_run_id if same else server.schedule(*what)
    for each in earlier:
        if each.recurring_run_id != key:
            server.unschedule(each.recurring_run_id)
    told = "as it was" if same else f"in place of {len(earlier)} earlier" if earlier else "created"
    url = server.link("recurringrun", key)
    done = [*done, ("recurring", f"{cron} (seconds first; UTC, unless the cluster says otherwise), {told}"), ("", url)]
    return close(options, Closing(done, more={**more, "recurring_run": key, "schedule": cron, "url": url}))


def _is(recurring: Any, version: str, cron: str) -> bool:
    reference, trigger = recurring.pipeline_version_reference, recurring.trigger
    return (
        recurring.status == "ENABLED"
        and bool(reference and trigger and trigger.cron_schedule)
        and reference.pipeline_version_id == version
        and trigger.cron_schedule.cron == cron
    )


def _runs(options: argparse.Namespace) -> int:
    from headwater.pipelines.cluster.api import Kubeflow
    from headwater.pipelines.cluster.building import pipeline_name

    project = project_of(options)
    server = Kubeflow(options.host, options.namespace)
    if options.run:
        done, more = [("run", options.run), ("", server.link("runs", options.run))], {"run": options.run}
        return _follow(options, server, options.run, project, done, {**more, "url": server.link("runs", options.run)})
    name = pipeline_name(project.settings)
    experiment = server.experiment(name)
    runs = server.runs(experiment, options.most) if experiment else []
    listed = [
        {
            "run": each.run_id,
            "name": each.display_name,
            "state": each.state,
            "created": each.created_at and each.created_at.isoformat(),
            "url": server.link("runs", each.run_id),
        }
        for each in runs
    ]
    if options.json:
        return close(options, Closing([], more={"runs": listed}))
    for each in listed:
        print(f"{each['state'] or 'UNKNOWN':10}  {str(each['created'])[:16]}  {each['run']}  {each['name']}")
    if not listed:
        print(f"there is no run of {name} yet: headwater submit")
    return DONE


def _follow(
    options: argparse.Namespace,
    server: Kubeflow,
    run: str,
    project: Project,
    done: list[tuple[str, str]],
    more: Mapping[str, Any],
) -> int:
    from headwater.pipelines.cluster.building import tasks_of
    from headwater.pipelines.cluster.following import conclude, follow

    names = tasks_of(project.settings)
    try:
        with progress(options):
            ended = follow(server, run, names, options.every)
    except KeyboardInterrupt:
        print(f"the run goes on: headwater runs {run}", file=sys.stderr)
        raise
    end = conclude(ended, project.settings, names)
    findings, note = _findings(end)
    told = [("verdict", end.verdict), *(("note", each) for each in (end.note, note) if each)]
    pages = [entry["page"] for entry in reversed(list(end.left.values()))]
    told += [("" if place else "pages", page) for place, page in enumerate(pages)]
    anomalies = end.left.get("anomalies", {})
    more = {**more, "state": end.state, "verdict": end.verdict, "tasks": end.tasks, "results": dict(end.left)}
    return close(options, Closing([*done, *told], anomalies.get("uri", ""), "", findings, "", end.code, more))


def _findings(end: End) -> tuple[list[dict[str, Any]], str]:
    """The findings of a run's verdict, or why they cannot be read from here."""
    from headwater.components.common.results import load

    if "anomalies" not in end.left:
        return [], ""
    try:
        return findings_of(load(end.left["anomalies"]["uri"], "anomalies")), ""
    except HeadwaterError as error:
        return [], f"the findings cannot be read from here: {error}"
