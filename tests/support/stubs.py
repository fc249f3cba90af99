"""A compiled pipeline whose tasks do nothing but say that they ran: for its control flow, in any version of kfp."""

from __future__ import annotations

import ast
import re
from typing import Any

import yaml

_SAYS = """
import json, os
with open({journal!r}, "a", encoding="utf-8") as file:
    file.write({name!r} + "\\n")
for artifact in [{artifacts}]:
    os.makedirs(os.path.dirname(artifact.path), exist_ok=True)
    with open(artifact.path, "w", encoding="utf-8") as file:
        file.write("")
if {fails!r}:
    raise SystemExit("error: " + {name!r})
return ({values})
"""


_VALUES: dict[str, Any] = {"str": "s3://lake/it", "bool": True, "int": 0}


def stubbed(text: str, journal: str, outputs: dict[str, Any], failing: tuple[str, ...] = ()) -> str:
    """The pipeline with stubs.

    Args:
      text: the YAML, as kfp compiled it.
      journal: path of the file that gets the name of each task that ran, a line each.
      outputs: the values of output parameters, by name; others have one of their type.
      failing: the functions that fail.

    Returns:
      The YAML of the pipeline alone: a local runner knows no platform.
    """
    pipeline = next(iter(yaml.safe_load_all(text)))
    for executor in pipeline["deploymentSpec"]["executors"].values():
        command = executor["container"]["command"]
        tree = ast.parse(command[-1])
        [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        made = [each.arg for each in function.args.args if "Output[" in ast.unparse(each.annotation)]
        named = re.findall(r"(\w+)=(\w+)", ast.unparse(function.returns)) if function.returns else []
        body = _SAYS.format(
            journal=journal,
            name=function.name,
            artifacts=", ".join(made),
            fails=function.name in failing,
            values="".join(f"{outputs.get(name, _VALUES[kind])!r}, " for name, kind in named) or "None",
        )
        function.body = ast.parse("def f():\n" + "".join(f"    {line}\n" for line in body.splitlines())).body[0].body
        command[-1] = ast.unparse(tree)
    for dag in (pipeline["root"], *pipeline["components"].values()):
        for task in dag.get("dag", {}).get("tasks", {}).values():
            # Waiting between attempts is no control flow.
            task.pop("retryPolicy", None)
    return yaml.safe_dump(pipeline, sort_keys=False)
