"""What the tasks that plan and that do parts of a component do: they run it, and `fanout` says how far."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from headwater.components.common import fanout
from headwater.components.common.errors import HeadwaterError

Inputs = Mapping[str, str]


def plan(component: str, project: Mapping[str, Any], rows: int, **inputs: str) -> list[str]:
    """Plans the next pass of a component.

    Args:
      component: a key of `WORK`.
      project: the settings of a pipeline.
      rows: about how many rows a part has.
      **inputs: URIs of what the component reads: `dataset`, `statistics`, `schema`.

    Returns:
      The names of the parts to do; none where what is left is not worth spreading.

    Raises:
      HeadwaterError: there is no run or `data_root`, or what the component raises.
    """
    if rows < 1:
        raise HeadwaterError(f"rows: a part needs at least one row; given: {rows}")
    folder = _folder(component, project, inputs)
    with tempfile.TemporaryDirectory() as output:
        parts = fanout.plan(folder, lambda: WORK[component](project, inputs, output), rows)
    print(
        f"{component}: {len(parts)} parts" if parts else f"{component}: no part is worth a task of its own", flush=True
    )
    return parts


def part(component: str, project: Mapping[str, Any], name: str, **inputs: str) -> None:
    """Does a part of a component's work.

    Args:
      component, project, **inputs: as `plan` takes them.
      name: one of the parts that it gave.

    Raises:
      HeadwaterError: as `plan`; or there is no such part.
    """
    folder = _folder(component, project, inputs)
    with tempfile.TemporaryDirectory() as output:
        fanout.part(folder, lambda: WORK[component](project, inputs, output), name)


def _folder(component: str, project: Mapping[str, Any], inputs: Inputs) -> str:
    folder = fanout.folder_of(component, project, inputs.get("dataset", ""))
    if not folder:
        raise HeadwaterError(
            "platform.data_root: parts meet in storage that all tasks reach, and belong to a run on a cluster; there is no "
            "data_root, or no run"
        )
    return folder


def _collect(project: Mapping[str, Any], inputs: Inputs, output: str) -> None:
    from headwater.components.collect import collect_dataset
    from headwater.components.collect.settings import from_project

    collect_dataset(output=output, **from_project(project))


def _label(project: Mapping[str, Any], inputs: Inputs, output: str) -> None:
    from headwater.components.label import label_dataset
    from headwater.components.label.settings import from_project

    settings = from_project(project)
    if settings["steps"]:
        label_dataset(inputs["dataset"], output, **settings)


def _generate_statistics(project: Mapping[str, Any], inputs: Inputs, output: str) -> None:
    from headwater.components.generate_statistics import compute_statistics
    from headwater.components.generate_statistics.settings import from_project

    compute_statistics(inputs["dataset"], output, **from_project(project))


def _validate(project: Mapping[str, Any], inputs: Inputs, output: str) -> None:
    from headwater.components.validate import check_statistics
    from headwater.components.validate.settings import from_project

    check_statistics(
        inputs["statistics"],
        inputs["schema"],
        os.path.join(output, "anomalies"),
        dataset=inputs["dataset"],
        passed=os.path.join(output, "passed"),
        quarantine=os.path.join(output, "quarantine"),
        **from_project(project),
    )


WORK: dict[str, Callable[[Mapping[str, Any], Inputs, str], None]] = {
    "collect": _collect,
    "label": _label,
    "generate-statistics": _generate_statistics,
    "validate": _validate,
}
"""How a component is run, by its name."""
