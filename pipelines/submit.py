"""The commands for a cluster: compile."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from headwater.components.common import storage
from headwater.pipelines.arguments import add_command, add_project, project_of
from headwater.pipelines.closing import Closing, close
from headwater.pipelines.project.loading import Project


def add_commands(commands: Any) -> None:
    """Adds the commands."""
    command = add_command(commands, "compile", _compile, "compile the pipeline of a project for a cluster")
    command.add_argument("-o", "--output", default="pipeline.yaml", metavar="FILE", help="file (default: %(default)s)")
    add_project(command)


def _compile(options: argparse.Namespace) -> int:
    project = project_of(options)
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
