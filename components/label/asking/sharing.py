"""Fitted models on their way to the workers: left in a scratch file, and loaded once by each process.

In Beam's graph they would be compressed and read again for every step of every bundle, and in a pool for every element. The
SHA-256 of the file travels with the work, so that a worker loads what this run's driver has left, and nothing else.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cloudpickle

from headwater.components.common import results, storage
from headwater.components.label.asking.estimators import Model

_FILE = "models"


class Models(NamedTuple):
    """What rows are scored by.

    Attributes:
      model: None where nothing can be learnt yet.
      committee: empty where no strategy needs one.
    """

    model: Model | None
    committee: tuple[Model, ...]


class Left(NamedTuple):
    """Where models were left.

    Attributes:
      uri: of the file.
      sha256: of its content.
    """

    uri: str
    sha256: str


def leave(folder: str, models: Models) -> Left:
    """Writes models for `fetch`.

    Args:
      folder: URI of a scratch folder of this run that the workers reach.
      models: any; estimators may be of classes that a notebook defines.
    """
    content, uri = cloudpickle.dumps(models), storage.join(folder, _FILE)
    storage.write_bytes(uri, content)
    return Left(uri, storage.sha256(content))


@functools.lru_cache(maxsize=1)
def fetch(left: Left) -> Models:
    """The models, once a process.

    Raises:
      HeadwaterError: the file is missing or was altered.
    """
    content = storage.read_bytes(left.uri)
    results.check(left.uri, content, left.sha256)
    return cloudpickle.loads(content)
