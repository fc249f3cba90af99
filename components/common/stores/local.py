"""Files on this machine: paths, and file:// URIs."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headwater.components.common.stores.base import Dated, Page, Store

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

TEMPORARY = "_writing-"
"""Files that are being written have names that begin so."""


class Local(Store):
    """A folder of this machine."""

    schemes: tuple[str, ...] = ("",)
    on_disk = True

    def filesystem(self, scheme: str) -> fs.FileSystem:
        return _filesystem()

    def path(self, uri: str) -> str:
        return urllib.parse.unquote(uri[len("file://") :]) if uri.startswith("file://") else uri

    def size(self, uri: str) -> int:
        path = self.path(uri)
        if not os.path.isfile(path):
            raise FileNotFoundError(path)
        return os.path.getsize(path)

    def get(self, uri: str, start: int = 0, stop: int | None = None) -> bytes:
        with _filesystem().open_input_file(self.path(uri)) as stream:
            stream.seek(start)
            return stream.read(None if stop is None else stop - start)

    def put(self, uri: str, content: bytes | pa.Buffer) -> None:
        path = self.path(uri)
        os.replace(_write_beside(path, content), path)

    def copy(self, source: str, target: str) -> None:
        path = self.path(target)
        os.replace(_make_beside(path, lambda temporary: shutil.copyfile(self.path(source), temporary)), path)

    def create(self, uri: str, content: bytes) -> bool:
        path = self.path(uri)
        temporary = _write_beside(path, content)
        try:
            os.link(temporary, path)
            return True
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)

    def remove(self, uri: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path(uri))

    def page(self, folder: str, more: Any = None) -> Page:
        # A folder each time; what is still to be listed is a stack.
        pending: list[str] = more or [folder.rstrip("/") or "/"]
        here = pending.pop()
        files, below = [], []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path(here)) as entries:
            for entry in entries:
                uri = f"{here.rstrip('/')}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    below.append(uri)
                    continue
                # It may have been removed since.
                with contextlib.suppress(FileNotFoundError):
                    stat = entry.stat()
                    files.append(Dated(uri, stat.st_size, stat.st_mtime))
        pending += sorted(below, reverse=True)
        return Page(files, pending)

    def folders(self, folder: str) -> list[str]:
        try:
            return sorted(entry.name for entry in os.scandir(self.path(folder)) if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def make_folder(self, uri: str) -> None:
        os.makedirs(self.path(uri), exist_ok=True)

    def remove_folder(self, uri: str) -> None:
        shutil.rmtree(self.path(uri), ignore_errors=True)


STORE = Local()


@functools.cache
def _filesystem() -> fs.FileSystem:
    from pyarrow import fs

    return fs.LocalFileSystem()


def _write_beside(path: str, content: bytes | pa.Buffer) -> str:
    def write(temporary: str) -> None:
        with open(temporary, "wb") as stream:
            stream.write(content)

    return _make_beside(path, write)


def _make_beside(path: str, make: Callable[[str], object]) -> str:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    os.close(handle)
    try:
        make(temporary)
        os.chmod(temporary, 0o644)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary
