"""Prism, Beam's portable engine: built once with Go, and kept outside the repository."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

_PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_VERSION = "v2.77.0"
_CACHE = pathlib.Path.home() / ".cache/headwater-engines"


def prism_binary() -> pathlib.Path:
    """The binary, built unless it is there; skips the test where it cannot be."""
    binary = _CACHE / f"prism-{_VERSION}"
    if binary.exists():
        return binary
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if go is None:
        pytest.skip("there is no go to build Prism with: https://go.dev/dl")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
        # Modules and objects, a gigabyte, go with the folder; without the flag they could not be removed. Without C it runs
        # in any image.
        places = {"GOBIN": folder, "GOPATH": f"{folder}/path", "GOCACHE": f"{folder}/cache", "GOFLAGS": "-modcacherw"}
        environment = {**os.environ, **places, "CGO_ENABLED": "0"}
        done = subprocess.run([go, "install", f"{_PRISM}@{_VERSION}"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        os.replace(f"{folder}/prism", binary)
    return binary
