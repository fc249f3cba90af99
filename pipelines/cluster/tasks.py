"""The section `platform` of a project on the tasks of a pipeline, by kfp and kfp-kubernetes."""

from __future__ import annotations

from typing import Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.platform import Platform, Task, task_settings
from headwater.components.common.runs import RUN
from headwater.components.common.times import seconds

SCRATCH = "/tmp"
"""Where each task has its emptyDir; nothing else is written."""

_RUN_LABEL = "metadata.labels['pipeline/runid']"


def configure(task: Any, name: str, platform: Platform, own_image: bool = False) -> Any:
    """Gives a task what the platform says.

    Args:
      task: kfp's task, of a pipeline that is being built.
      name: one of `platform.COMPONENTS`.
      platform: the project's section.
      own_image: whether the task's image is somebody else's, which only its own setting replaces.

    Returns:
      The task.

    Raises:
      HeadwaterError: kfp-kubernetes is not installed.
    """
    kubernetes = _kubernetes()
    settings = task_settings(platform, name)
    task.set_container_image(_image(task.container_spec.image, name, platform, settings, own_image))
    _limit(task, settings)
    for variable, value in settings.env.items():
        task.set_env_variable(variable, value)
    kubernetes.use_field_path_as_env(task, RUN, _RUN_LABEL)
    kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=settings.scratch)
    if settings.timeout:
        kubernetes.set_timeout(task, int(seconds(settings.timeout)))
    for secret, keys in settings.secrets.items():
        kubernetes.use_secret_as_env(task, secret, dict(keys))
    for secret, folder in settings.secret_files.items():
        kubernetes.use_secret_as_volume(task, secret, folder)
    if settings.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(settings.image_pull_secrets))
    if settings.image_pull_policy:
        kubernetes.set_image_pull_policy(task, settings.image_pull_policy)
    for each in settings.tolerations or ():
        kubernetes.add_toleration(task, each.key, each.operator, each.value, each.effect, each.seconds)
    for key, value in settings.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for key, value in settings.labels.items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in settings.annotations.items():
        kubernetes.add_pod_annotation(task, key, value)
    return task


def _kubernetes() -> Any:
    try:
        from kfp import kubernetes
    except ImportError:
        raise HeadwaterError(
            "kfp-kubernetes is not installed, and the section platform needs it; take a lock of images/locks"
        ) from None
    return kubernetes


def _image(image: str, name: str, platform: Platform, settings: Task, own_image: bool) -> str:
    if own_image:
        own = platform.components.get(name, Task()).image
        return own or image
    if settings.image:
        return settings.image
    return f"{platform.registry}/{image.rpartition('/')[2]}" if platform.registry else image


def _limit(task: Any, settings: Task) -> None:
    resources, retries = settings.resources, settings.retries
    task.set_cpu_limit(resources.cpu).set_cpu_request(resources.cpu_request)
    task.set_memory_limit(resources.memory).set_memory_request(resources.memory_request)
    if retries.count:
        task.set_retry(
            retries.count,
            backoff_duration=f"{int(seconds(retries.backoff or '0s'))}s",
            backoff_factor=float(retries.factor or 1),
            backoff_max_duration=f"{int(seconds(retries.max_backoff or '1h'))}s",
        )
