"""The project: all settings of a pipeline as one mapping, of which each component takes its sections.

Each component's settings have `from_project`, which gives the arguments of its function. So a pipeline has one parameter,
and a component that is used alone takes the same mapping with its own sections only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.settings import checked, meant, whole_numbers

if TYPE_CHECKING:
    from headwater.components.common.platform import Platform

SECTIONS = ("name", "sources", "collect", "label", "statistics", "schema", "validate", "alerts", "platform")
"""What a project may hold, in the order in which it is written."""

_EXECUTABLE = "python3"
_MARKED = "python\ue0003"


def name_of(project: Mapping[str, Any]) -> str:
    """The name of the dataset."""
    return project.get("name") or "data"


def section(project: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section of the project, empty where it is left out.

    Raises:
      HeadwaterError: the project or the section is not a mapping, or the project has a key that no section has.
    """
    if not isinstance(project, Mapping):
        raise HeadwaterError("project: must be a mapping of sections, as in {collect: {key: [id]}}")
    for key in project:
        if key not in SECTIONS:
            raise HeadwaterError(f"{key}: there is no such section{meant(str(key), SECTIONS, 'sections')}")
    given = project.get(name)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise HeadwaterError(f"{name}: must be a mapping of settings")
    return whole_numbers(unmarked(given))


def listed(project: Mapping[str, Any], name: str) -> list[Any]:
    """A section that is a list.

    Raises:
      HeadwaterError: it is something else.
    """
    section(project, "platform")
    given = project.get(name)
    if given is None:
        return []
    if isinstance(given, str) or not isinstance(given, (list, tuple)):
        raise HeadwaterError(f"{name}: must be a list")
    return whole_numbers(unmarked(list(given)))


def platform(project: Mapping[str, Any]) -> Platform:
    """Where and how the work is done.

    Raises:
      HeadwaterError: names the key that is wrong.
    """
    # Kubernetes' models, which take longer to make than all that a gate does.
    from headwater.components.common.platform import Platform, check_tasks

    settings = checked(Platform, section(project, "platform"), "platform")
    check_tasks(settings)
    return settings


def beam_options(project: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments `beam_pipeline_args` and `workers` of every component's function."""
    settings = platform(project)
    return {"beam_pipeline_args": settings.beam_pipeline_args, "workers": settings.workers}


def marked(value: Any) -> Any:
    """Settings that kfp's local runner leaves alone: it replaces the text "python3" wherever it stands. `section` takes
    the marks out."""
    return _replaced(value, _EXECUTABLE, _MARKED)


def unmarked(value: Any) -> Any:
    """What `marked` was given."""
    return _replaced(value, _MARKED, _EXECUTABLE)


def _replaced(value: Any, text: str, by: str) -> Any:
    if isinstance(value, str):
        return value.replace(text, by)
    if isinstance(value, Mapping):
        return {_replaced(key, text, by): _replaced(part, text, by) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(part, text, by) for part in value]
    return value
