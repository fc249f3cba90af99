"""The commands that look after a project file: init, check and project-schema."""

from __future__ import annotations

import argparse
from typing import Any

from headwater.pipelines.arguments import add_command
from headwater.pipelines.closing import DONE, print_json


def add_commands(commands: Any) -> None:
    """Adds the commands."""
    add_command(commands, "project-schema", _schema, "print the JSON Schema of headwater.yaml, for editors")


def _schema(options: argparse.Namespace) -> int:
    from headwater.pipelines.project.model import json_schema

    print_json(json_schema())
    return DONE
