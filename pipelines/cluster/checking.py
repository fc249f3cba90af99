"""What can be known of a project before it is on a cluster: whether pods can read its data and get its secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headwater.components.common import stores
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.platform import Platform, task_settings
from headwater.components.common.project import platform
from headwater.pipelines.project import model

_HERE = ("alerts", "trainer")
"""Parts of keys whose paths are read where the pipeline is compiled, or written in the pod."""


def check_for_cluster(project: Mapping[str, Any]) -> None:
    """Refuses what no pod could do.

    Args:
      project: all settings, checked.

    Raises:
      HeadwaterError: begins with the key, and says what would be right.
    """
    settings = platform(project)
    if not settings.data_root:
        raise HeadwaterError(
            "platform.data_root: tasks on a cluster share no disk, so it is needed there; give a gs:// or s3:// URI"
        )
    for path, uri in model.places(project):
        if not stores.scheme(uri) and not set(_HERE) & set(map(str, path)):
            raise HeadwaterError(
                f"{'.'.join(map(str, path))}: {uri} lies on this machine, where no pod can read it; give a gs:// or "
                "s3:// URI"
            )
    for key, variable, task in _variables(project):
        own = task_settings(settings, task)
        filled = {name for keys in own.secrets.values() for name in keys.values()} | set(own.env)
        if variable not in filled:
            raise HeadwaterError(
                f"{key}: {task} needs the environment variable {variable}; name the secret that fills it, as in "
                f"platform.secrets: {{my-secret: {{key: {variable}}}}}"
            )


def notes(project: Mapping[str, Any]) -> list[str]:
    """What is worth knowing before the pipeline is on a cluster, though nothing is wrong."""
    settings = platform(project)
    lines = []
    if not settings.registry and not _has_images(settings):
        lines.append("the images have no registry: only nodes that hold them can start them; set platform.registry")
    return lines


def _has_images(settings: Platform) -> bool:
    return bool(settings.image) or all(
        name in settings.components and settings.components[name].image
        for name in ("collect", "label", "generate-statistics", "infer-schema", "validate", "gate", "report")
    )


def _variables(project: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The environment variables that settings name or need: the setting's key, the variable, and the task."""
    from headwater.components.collect.privacy.actions import KEY_VARIABLE, Hash, parse_actions

    private = (project.get("collect") or {}).get("private")
    if isinstance(private, Mapping) and any(isinstance(each, Hash) for each in parse_actions(private).values()):
        yield "collect.private", KEY_VARIABLE, "collect"
    for place, alert in enumerate(project.get("alerts") or ()):
        for key, name in alert.items():
            if str(key).endswith("_env") and name:
                for task in ("validate", "report"):
                    yield f"alerts.{place}.{key}", str(name), task
