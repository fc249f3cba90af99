"""Files by URI: local paths, `gs://`, `s3://` and `minio://` behind one small set of functions.

`objects` does what is done to single objects, `stores` makes the connections, `patience` waits out what passes. pyarrow's
filesystems are for what streams, and for those who read datasets.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import io
import os
import shutil
import tempfile
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from headwater.components.common import objects, patience, stores
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.patience import StoreError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

Found = TypeVar("Found")

_REMOTE = ("gs", "s3", "minio")


TEMPORARY = "_writing-"
"""Local files that are being written have names that begin so."""


class FileInfo(NamedTuple):
    """A file at a store: its URI and its size in bytes."""

    uri: str
    size: int


def scheme(uri: str) -> str:
    """The store of `uri`: `gs`, `s3`, `minio`, or the empty string for a local path.

    Raises:
      HeadwaterError: the scheme is none of these.
    """
    head, mark, _ = uri.partition("://")
    if not mark:
        return ""
    if head == "file":
        return ""
    if head not in _REMOTE:
        raise HeadwaterError(
            f"{uri}: the scheme {head}:// is not supported; use a local path, gs://, s3:// or minio://"
        )
    return head


def normalise(uri: str) -> str:
    """`uri` in the one form that is recorded: an absolute local path, or a URI without a trailing slash."""
    if not uri:
        raise HeadwaterError("an empty path was given where a file, a folder or a URI is needed")
    if scheme(uri):
        return uri.rstrip("/")
    return os.path.abspath(os.path.expanduser(_local(uri)))


def join(uri: str, *parts: str) -> str:
    """`uri` with `parts` below it."""
    return "/".join([uri.rstrip("/"), *[part.strip("/") for part in parts if part]])


def relative(uri: str, folder: str) -> str:
    """`uri` as seen from `folder`, which holds it."""
    return uri[len(folder.rstrip("/")) + 1 :]


def filesystem(uri: str) -> tuple[fs.FileSystem, str]:
    """The pyarrow filesystem of `uri` and the path of `uri` on it.

    Raises:
      HeadwaterError: there are no credentials for it.
    """
    kind = scheme(uri)
    if not kind:
        return stores.filesystem(""), _local(uri)
    return stores.filesystem(kind), uri.partition("://")[2]


def read_bytes(uri: str) -> bytes:
    """The whole content of a file.

    Raises:
      HeadwaterError: there is no such file, or it cannot be read.
    """
    if scheme(uri):
        return _read_object(uri, lambda: objects.get(uri))
    with open_input(uri) as stream:
        return stream.read()


def open_input(uri: str):
    """A random-access pyarrow file, open for reading.

    Raises:
      HeadwaterError: there is no such file, or it cannot be read; also of a file at a store while it is read.
    """
    import pyarrow as pa

    if scheme(uri):
        return pa.PythonFile(_SteadyFile(uri), mode="r")
    store, path = filesystem(uri)
    try:
        return store.open_input_file(path)
    except FileNotFoundError:
        raise HeadwaterError(f"{uri}: there is no such file") from None
    except OSError as error:
        raise HeadwaterError(f"{uri}: cannot be read: {_reason(error)}") from None


def read_range(uri: str, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of a file; fewer when the file ends before `stop`."""
    with open_input(uri) as stream:
        stream.seek(start)
        return stream.read(stop - start)


def write_bytes(uri: str, content: bytes | pa.Buffer) -> None:
    """Writes a file whole, its folders made: a reader sees the old content or the new, never a part.

    Raises:
      HeadwaterError: it cannot be written.
    """
    if not scheme(uri):
        path = _local(uri)
        try:
            temporary = _write_beside(path, content)
            os.replace(temporary, path)
        except OSError as error:
            raise HeadwaterError(f"{uri}: cannot be written: {_reason(error)}") from None
        return
    _steadily(uri, "written", lambda: objects.put(uri, content))


def open_output(uri: str):
    """A stream that writes a file from its start, its folders made; for scratch, as a reader may see a part.

    Raises:
      HeadwaterError: it cannot be written; also while it is.
    """
    import pyarrow as pa

    def begin():
        store, path = filesystem(uri)
        if not scheme(uri):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        return store.open_output_stream(path)

    return pa.PythonFile(_TellingOutput(uri, _steadily(uri, "written", begin)), mode="w")


def delete_folder(uri: str) -> None:
    """Removes a folder and all files below it, if it is there."""
    for file in list_files(uri):
        delete(file.uri)
    if not scheme(uri):
        shutil.rmtree(_local(uri), ignore_errors=True)


def copy_folder(folder: str, target: str, last: str) -> None:
    """Copies a folder's files, one file at a time; those named `last` at the end, as what makes the rest exist."""
    for file in sorted(list_files(folder), key=lambda file: file.uri.rpartition("/")[2] == last):
        write_bytes(join(target, relative(file.uri, folder)), read_bytes(file.uri))


def create(uri: str, content: bytes) -> bool:
    """Writes a file only if there is none of that name, in one atomic step.

    Returns:
      Whether the file is there with this content: by this call, or by one that wrote just the same. False when there
      is another.
    """
    kind = scheme(uri)
    if not kind:
        path = _local(uri)
        try:
            temporary = _write_beside(path, content)
        except OSError as error:
            raise HeadwaterError(f"{uri}: cannot be written: {_reason(error)}") from None
        try:
            os.link(temporary, path)
            return True
        except FileExistsError:
            pass
        except OSError as error:
            raise HeadwaterError(f"{uri}: cannot be written: {_reason(error)}") from None
        finally:
            os.unlink(temporary)
    elif _steadily(uri, "written", lambda: objects.create(uri, content)):
        return True
    # It may be ours all the same: the answer to a call that was made again is lost, not its effect.
    return read_bytes(uri) == content


def exists(uri: str) -> bool:
    """Whether a file of that name is there."""
    if not scheme(uri):
        return os.path.isfile(_local(uri))
    try:
        _steadily(uri, "looked at", lambda: objects.size(uri))
        return True
    except FileNotFoundError:
        return False


def list_files(folder: str) -> list[FileInfo]:
    """All files below a folder, sorted by URI; none when there is no such folder."""
    return sorted(FileInfo(file.uri, file.size) for file in walk(folder))


class Dated(NamedTuple):
    """A file at a store: its URI, its size in bytes, and when it was written, in seconds by the store's clock."""

    uri: str
    size: int
    modified: float


def walk(folder: str) -> Iterator[Dated]:
    """All files below a folder, page by page: the files of one folder follow each other, in no order that counts.

    Raises:
      HeadwaterError: it cannot be listed.
    """
    if not scheme(folder):
        yield from _walk_local(folder.rstrip("/") or "/")
        return
    more = ""
    while True:
        found = _steadily(folder, "listed", functools.partial(objects.page, folder, more))
        yield from map(Dated._make, found.objects)
        more = found.more
        if not more:
            return


def list_folders(folder: str) -> list[str]:
    """The names of the folders directly below a folder, sorted."""
    if scheme(folder):
        return _steadily(folder, "listed", lambda: objects.folders(folder))
    try:
        return sorted(entry.name for entry in os.scandir(_local(folder)) if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise HeadwaterError(f"{folder}: cannot be listed: {_reason(error)}") from None


def fixed_part(uri: str) -> str:
    """The folder that a glob looks below; what is no glob as it is."""
    fixed = []
    for part in normalise(uri).split("/"):
        if any(mark in part for mark in "*?["):
            break
        fixed.append(part)
    return "/".join(fixed) or "/"


def expand(uri: str) -> list[FileInfo]:
    """The files that a path, a folder or a glob names, sorted by URI.

    In a folder, files whose name or any folder on the way begins with `_` or `.` are passed over, as every
    Parquet reader does. `*` and `?` stay within one folder, `**` crosses folders.

    Raises:
      HeadwaterError: nothing is there.
    """
    from pyarrow import fs

    uri = normalise(uri)
    # A file whose name holds a bracket is a file, not a pattern.
    info = _info(uri)
    if info.type == fs.FileType.File:
        return [FileInfo(uri, info.size)]
    if info.type == fs.FileType.Directory:
        return [file for file in list_files(uri) if not _hidden(relative(file.uri, uri))]
    base = fixed_part(uri)
    if base == uri:
        raise HeadwaterError(f"{uri}: there is no such file or folder")
    pattern = relative(uri, base).split("/")
    matched = [file for file in list_files(base) if _matches(relative(file.uri, base).split("/"), pattern)]
    if not matched:
        raise HeadwaterError(f"{uri}: no file matches this pattern")
    return matched


def delete(uri: str) -> None:
    """Removes a file if it is there.

    Raises:
      HeadwaterError: it cannot be removed.
    """

    if scheme(uri):
        _steadily(uri, "removed", lambda: objects.remove(uri))
        return
    try:
        os.remove(_local(uri))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HeadwaterError(f"{uri}: cannot be removed: {_reason(error)}") from None


def sha256(content: bytes | pa.Buffer) -> str:
    """The SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def attempt_id() -> str:
    """A name that no other attempt of any step has."""
    return uuid.uuid4().hex[:12]


def _info(uri: str) -> fs.FileInfo:
    def look() -> fs.FileInfo:
        store, path = filesystem(uri)
        return store.get_file_info([path])[0]

    return _steadily(uri, "looked at", look)


def _read_object(uri: str, call: Callable[[], Found]) -> Found:
    try:
        return _steadily(uri, "read", call)
    except FileNotFoundError:
        raise HeadwaterError(f"{uri}: there is no such file") from None


def _steadily(uri: str, verb: str, call: Callable[[], Found]) -> Found:
    kind = scheme(uri)
    if kind:
        return patience.steadily(uri, verb, call, lambda: stores.credentials(kind))
    try:
        return call()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HeadwaterError(f"{uri}: cannot be {verb}: {_reason(error)}") from None


class _SteadyFile(io.RawIOBase):
    """A file at a store, read by ranges; what is read is read again where the store fails or its answer is cut short."""

    def __init__(self, uri: str):
        self._uri, self._place = uri, 0
        self._size = _read_object(uri, lambda: objects.size(uri))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def size(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._place)
        size = left if size is None or size < 0 else min(size, left)
        if not size:
            return b""
        content = _read_object(self._uri, lambda: self._read(self._place, self._place + size))
        self._place += size
        return content

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _read(self, start: int, stop: int) -> bytes:
        content = objects.get(self._uri, start, stop)
        if len(content) != stop - start:
            raise OSError(f"the answer was cut short: {len(content):,} of {stop - start:,} bytes")
        return content


class _TellingOutput(io.RawIOBase):
    """A stream that is written, whose errors name it."""

    def __init__(self, uri: str, stream: Any):
        self._uri, self._stream = uri, stream

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._tell(lambda: self._stream.write(content))
        return len(content)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._tell(self._stream.close)

    def _tell(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except OSError as error:
            raise StoreError(f"{self._uri}: cannot be written: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return error.strerror or str(error).splitlines()[0]


def _local(uri: str) -> str:
    return urllib.parse.unquote(uri[len("file://") :]) if uri.startswith("file://") else uri


def _hidden(path: str) -> bool:
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _write_beside(path: str, content: bytes | pa.Buffer) -> str:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _walk_local(folder: str) -> Iterator[Dated]:
    try:
        entries = os.scandir(_local(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise HeadwaterError(f"{folder}: cannot be listed: {_reason(error)}") from None
    below = []
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
                continue
            try:
                found = entry.stat()
            except FileNotFoundError:
                # Removed since.
                continue
            yield Dated(join(folder, entry.name), found.st_size, found.st_mtime)
    for name in sorted(below):
        yield from _walk_local(join(folder, name))
