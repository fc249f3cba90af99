"""Tasks of kfp's local runner in containers of their images, by its `DockerRunner`: what is nearest to a cluster here."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from headwater.components.common.errors import HeadwaterError


@contextlib.contextmanager
def docker_tasks(*folders: str) -> Iterator[Any]:
    """Within it kfp's `DockerRunner` gives each container these folders too, under their own paths; it gives the runner.

    kfp itself mounts the folder of its artifacts alone: a cluster has a store.

    Args:
      folders: what tasks read and write. The images' user is not this one, so it may write there whoever owns them.

    Raises:
      HeadwaterError: there is no Docker to be had.
    """
    try:
        import docker

        docker.from_env().ping()
    except ImportError:
        raise HeadwaterError("to run tasks in containers kfp needs the package docker: pip install docker") from None
    except docker.errors.DockerException as error:
        raise HeadwaterError(f"no Docker daemon answers, and tasks were to run in containers: {error}") from None
    from kfp import local
    from kfp.local.docker_task_handler import DockerTaskHandler

    for folder in folders:
        for each in (pathlib.Path(folder), *pathlib.Path(folder).rglob("*")):
            # What earlier containers left belongs to their user already.
            with contextlib.suppress(PermissionError):
                each.chmod(0o777 if each.is_dir() else 0o666)
    own = DockerTaskHandler.get_volumes_to_mount

    def with_folders(self: Any, *given: Any) -> dict[str, Any]:
        volumes = {os.path.abspath(each): {"bind": os.path.abspath(each), "mode": "rw"} for each in folders}
        return own(self, *given) | volumes

    DockerTaskHandler.get_volumes_to_mount = with_folders
    try:
        yield local.DockerRunner()
    finally:
        DockerTaskHandler.get_volumes_to_mount = own
