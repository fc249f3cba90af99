"""Prints what packages require and do not have, or have in a version that does not do; as `pip check`, which is not there."""

import importlib.metadata
import re

from packaging.requirements import Requirement


def plain(name):
    """A name as it is compared."""
    return re.sub("[-_.]+", "-", name.lower())


have = {plain(each.name): each.version for each in importlib.metadata.distributions()}
for found in importlib.metadata.distributions():
    for text in found.requires or ():
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            version = have.get(plain(wanted.name))
            if version is None or not wanted.specifier.contains(version, prereleases=True):
                print(wanted.name)
