"""Files by URI, wherever they lie, behind one small set of functions.

`stores` has one module a store, which does what is done to single files; `streams` reads and writes by it, and `retries`
waits out what passes.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.stores import scheme, store_of
from headwater.components.common.stores.base import Dated
from headwater.components.common.streams import Answer, SteadyFile, TellingOutput, read_object, reason_of, steadily

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs


class FileInfo(NamedTuple):
    """A file at a store: its URI and its size in bytes."""

    uri: str
    size: int


def normalise(uri: str) -> str:
    """`uri` in the one form that is recorded: an absolute local path, or a URI without a trailing slash."""
    if not uri:
        raise HeadwaterError("an empty path was given where the path or URI of a file or folder is needed")
    if scheme(uri):
        return uri.rstrip("/")
    return os.path.abspath(os.path.expanduser(store_of(uri).path(uri)))


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
    store = store_of(uri)
    return store.filesystem(scheme(uri)), store.path(uri)


def read_bytes(uri: str) -> bytes:
    """The whole content of a file.

    Raises:
      HeadwaterError: there is no such file, or it cannot be read.
    """
    store = store_of(uri)
    return read_object(uri, lambda: store.get(uri))


def open_input(uri: str):
    """A random-access pyarrow file, open for reading.

    Raises:
      HeadwaterError: there is no such file, or it cannot be read; also of a file at a store while it is read.
    """
    import pyarrow as pa

    if not store_of(uri).on_disk:
        return pa.PythonFile(SteadyFile(uri), mode="r")
    store, path = filesystem(uri)
    return read_object(uri, lambda: store.open_input_file(path))


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
    store = store_of(uri)
    _written(uri, lambda: store.put(uri, content))


def open_output(uri: str):
    """A stream that writes a file from its start, its folders made; for scratch, as a reader may see a part.

    Raises:
      HeadwaterError: it cannot be written; also while it is.
    """
    import pyarrow as pa

    def begin():
        store_of(uri).make_folder(uri.rpartition("/")[0])
        store, path = filesystem(uri)
        return store.open_output_stream(path)

    return pa.PythonFile(TellingOutput(uri, _written(uri, begin)), mode="w")


def delete_folder(uri: str) -> None:
    """Removes a folder and all files below it, if it is there."""
    for file in list_files(uri):
        delete(file.uri)
    store_of(uri).remove_folder(uri)


def copy_folder(folder: str, target: str, last: str) -> None:
    """Copies a folder's files, one file at a time; those named `last` at the end, as what makes the rest exist."""
    for file in sorted(list_files(folder), key=lambda file: file.uri.rpartition("/")[2] == last):
        place = join(target, relative(file.uri, folder))
        store = store_of(place)
        if store.on_disk and store_of(file.uri) is store:
            _written(place, functools.partial(store.copy, file.uri, place))
        else:
            write_bytes(place, read_bytes(file.uri))


def create(uri: str, content: bytes) -> bool:
    """Writes a file only if there is none of that name, in one atomic step.

    Returns:
      Whether the file is there with this content: by this call, or by one that wrote just the same. False when there
      is another.
    """
    store = store_of(uri)
    if _written(uri, lambda: store.create(uri, content)):
        return True
    # It may be ours all the same: the answer to a call that was made again is lost, not its effect.
    return read_bytes(uri) == content


def exists(uri: str) -> bool:
    """Whether a file of that name is there."""
    store = store_of(uri)
    try:
        steadily(uri, "looked at", lambda: store.size(uri))
        return True
    except FileNotFoundError:
        return False


def list_files(folder: str) -> list[FileInfo]:
    """All files below a folder, sorted by URI; none when there is no such folder."""
    return sorted(FileInfo(file.uri, file.size) for file in walk(folder))


def walk(folder: str) -> Iterator[Dated]:
    """All files below a folder, page by page: the files of one folder follow each other, in no order that counts.

    Raises:
      HeadwaterError: it cannot be listed.
    """
    store, more = store_of(folder), None
    while True:
        page = steadily(folder, "listed", functools.partial(store.page, folder, more))
        yield from page.files
        more = page.more
        if not more:
            return


def list_folders(folder: str) -> list[str]:
    """The names of the folders directly below a folder, sorted."""
    store = store_of(folder)
    return steadily(folder, "listed", lambda: store.folders(folder))


def fixed_part(uri: str) -> str:
    """The folder that a glob looks below; what is no glob as it is."""
    fixed = []
    for part in normalise(uri).split("/"):
        if any(mark in part for mark in "*?["):
            break
        fixed.append(part)
    return "/".join(fixed) or "/"


def expand(uri: str, may_be_empty: bool = False) -> list[FileInfo]:
    """The files that a path, a folder or a glob names, sorted by URI.

    In a folder, files whose name or any folder on the way begins with `_` or `.` are passed over, as every
    Parquet reader does. `*` and `?` stay within one folder, `**` crosses folders.

    Args:
      uri: path or URI.
      may_be_empty: whether it is no error that a glob matches nothing.

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
    if not matched and not may_be_empty:
        raise HeadwaterError(f"{uri}: no file matches this pattern")
    return matched


def delete(uri: str) -> None:
    """Removes a file if it is there.

    Raises:
      HeadwaterError: it cannot be removed.
    """
    store = store_of(uri)
    steadily(uri, "removed", lambda: store.remove(uri))


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

    return steadily(uri, "looked at", look)


def _written(uri: str, call: Callable[[], Answer]) -> Answer:
    try:
        return steadily(uri, "written", call)
    except FileNotFoundError as error:
        # Of the folder, or the bucket.
        raise HeadwaterError(f"{uri}: cannot be written: {reason_of(error)}") from None


def _hidden(path: str) -> bool:
    return any(part.startswith(("_", ".")) for part in path.split("/"))


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[skip:], pattern[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
