"""The components in Elyra's catalogue: their definitions, and what a task of such a pipeline runs.

Elyra reads definitions in the format of KFP's first version alone, and gives a task nothing but text. So each component has a
definition of that format in this folder, whose command runs the very function of `component.yaml`: settings come as the text of a
project file, sources one a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import parse_config
from headwater.pipelines.project import ports

_HOW = {
    "Dict": " As text in YAML; or a file, the project file itself.",
    "List": " One a line.",
}


def components() -> dict[str, Any]:
    """The components of the catalogue; an exit handler, as `report` is, Elyra has not."""
    return {name: component for name, component in ports.components().items() if name != "report"}


def definitions() -> dict[str, str]:
    """What this folder has for the catalogue: YAML, by the name of its file."""
    import yaml

    return {
        f"{name.replace('-', '_')}.yaml": yaml.safe_dump(definition(name, each), sort_keys=False, width=120)
        for name, each in components().items()
    }


def definition(name: str, component: Any) -> dict[str, Any]:
    """A component's definition for the catalogue.

    Args:
      name: the component's name.
      component: the component.
    """
    spec, words = component.component_spec, ports.descriptions(component)
    inputs = [_described(key, each, words[key]) for key, each in (spec.inputs or {}).items()]
    outputs = [_described(key, each, words[key]) for key, each in (spec.outputs or {}).items()]
    # Elyra takes what is given as a path for a place where tasks can be joined.
    paths = [
        word
        for way, those in (("inputPath", spec.inputs), ("outputPath", spec.outputs))
        for key, each in (those or {}).items()
        if way == "outputPath" or "@" in _kind(each)
        for word in (f"--{key}", {way: key})
    ]
    return {
        "name": name,
        "description": " ".join(spec.description.split()),
        **({"inputs": inputs} if inputs else {}),
        **({"outputs": outputs} if outputs else {}),
        "implementation": {
            "container": {
                "image": spec.implementation.container.image,
                "command": ["python3", "-m", "headwater.pipelines.elyra", name],
                "args": ["--executor_input", "{{$}}", *paths],
            }
        },
    }


def _described(key: str, port: Any, description: str) -> dict[str, Any]:
    kind = _kind(port)
    optional = {"default": "", "optional": True} if getattr(port, "optional", False) else {}
    return {
        "name": key,
        "description": description + _HOW.get(kind, ""),
        "type": "String" if kind in _HOW else kind.partition("@")[0].removeprefix("system."),
        **optional,
    }


def _kind(port: Any) -> str:
    """The type of an input or output: `Dict`, `List`, or as KFP has it, as `String` or `system.Dataset@0.0.1`."""
    return str(port.type).removeprefix("typing.").partition("[")[0]


def from_text(component: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A task's parameters as the component's function takes them.

    Args:
      component: the component.
      parameters: those of the task, which are text.

    Raises:
      HeadwaterError: a text is not what the parameter needs.
    """
    inputs = component.component_spec.inputs
    return {name: _value(name, _kind(inputs[name]), given) for name, given in parameters.items()}


def _value(name: str, kind: str, given: Any) -> Any:
    if not isinstance(given, str) or kind not in _HOW:
        return given
    if kind == "List":
        return [line.strip() for line in given.splitlines() if line.strip()]
    parsed = parse_config(name, given)
    if not isinstance(parsed, dict):
        raise HeadwaterError(
            f"{name}: must be settings in YAML, as `name: orders`; given: {given[:60]!r}. "
            "To give a project file, choose 'File' for the property in Elyra, so that Elyra reads it"
        )
    return parsed


def main(words: Sequence[str]) -> None:
    """Runs a task.

    Args:
      words: the component's name, `--executor_input` and its JSON; whatever else the definition names is in that too.
    """
    from kfp.dsl.executor import Executor

    from headwater.components.common.errors import clear_errors

    component = components()[words[0]]
    task = json.loads(words[list(words).index("--executor_input") + 1])
    os.environ["_KFP_RUNTIME"] = "true"
    inputs = task.setdefault("inputs", {})
    with clear_errors():
        inputs["parameterValues"] = from_text(component, inputs.get("parameterValues", {}))
    Executor(executor_input=task, function_to_execute=component.python_func).execute()
