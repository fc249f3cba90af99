"""Prints what is in the image that it runs in as CycloneDX: Python's and Debian's packages, with versions and licences."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys


def components():
    """All packages, as CycloneDX has them."""
    for found in sorted(importlib.metadata.distributions(), key=lambda each: each.name.lower()):
        name = found.name.lower().replace("_", "-").replace(".", "-")
        licence = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
        yield _component(name, found.version, f"pkg:pypi/{name}@{found.version}", licence.split("\n")[0][:100])
    yield _component("python", platform.python_version(), f"pkg:generic/python@{platform.python_version()}", "PSF-2.0")
    form = "${Package} ${Version} ${Architecture}\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        name, version, architecture = line.split()
        yield _component(name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}", "")


def _component(name, version, purl, licence):
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if licence:
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def main():
    image, version = sys.argv[1:]
    system = platform.freedesktop_os_release()
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": image, "name": image, "version": version},
            "properties": [
                {"name": "os", "value": f"{system['ID']} {system.get('VERSION_ID', '')}".strip()},
                {"name": "architecture", "value": os.uname().machine},
            ],
        },
        "components": list(components()),
    }
    json.dump(body, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
