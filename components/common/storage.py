"""Files by URI: local paths, `gs://`, `s3://` and `minio://` behind one small set of functions.

Reading, writing and listing go through `pyarrow.fs`, so that credentials, endpoints and retries behave the
same in the driver and in Beam's workers. Creating a file only when it is absent needs each store's own
conditional write, which pyarrow does not offer. Endpoints and credentials come from the environment
(`AWS_*`, `GOOGLE_APPLICATION_CREDENTIALS`, `STORAGE_EMULATOR_HOST`), never from a parameter.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import shutil
import tempfile
import urllib.parse
import uuid
from typing import TYPE_CHECKING, NamedTuple

from headwater.components.common.errors import HeadwaterError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

_REMOTE = ("gs", "s3", "minio")


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
    """The pyarrow filesystem of `uri` and the path of `uri` on it."""
    kind = scheme(uri)
    if not kind:
        return _filesystem(""), _local(uri)
    return _filesystem(kind), uri.partition("://")[2]


def read_bytes(uri: str) -> bytes:
    """The whole content of a file.

    Raises:
      HeadwaterError: there is no such file, or it cannot be read.
    """
    with open_input(uri) as stream:
        return stream.read()


def open_input(uri: str):
    """A random-access pyarrow file, open for reading.

    Raises:
      HeadwaterError: there is no such file, or it cannot be read.
    """
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
    try:
        if not scheme(uri):
            path = _local(uri)
            temporary = _write_beside(path, content)
            os.replace(temporary, path)
            return
        store, path = filesystem(uri)
        with store.open_output_stream(path) as stream:
            stream.write(content)
    except OSError as error:
        raise HeadwaterError(f"{uri}: cannot be written: {_reason(error)}") from None


def open_output(uri: str):
    """A stream that writes a file from its start, its folders made; for scratch, as a reader may see a part.

    Raises:
      HeadwaterError: it cannot be written.
    """
    store, path = filesystem(uri)
    try:
        if not scheme(uri):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        return store.open_output_stream(path)
    except OSError as error:
        raise HeadwaterError(f"{uri}: cannot be written: {_reason(error)}") from None


def delete_folder(uri: str) -> None:
    """Removes a folder and all files below it, if it is there."""
    for file in list_files(uri):
        delete(file.uri)
    if not scheme(uri):
        shutil.rmtree(_local(uri), ignore_errors=True)


def create(uri: str, content: bytes) -> bool:
    """Writes a file only if there is none of that name, in one atomic step.

    Returns:
      Whether this call created it; False when it was there already.
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
            return False
        finally:
            os.unlink(temporary)
    bucket, _, name = uri.partition("://")[2].partition("/")
    if kind == "gs":
        return _create_gs(bucket, name, content)
    return _create_s3(bucket, name, content)


def exists(uri: str) -> bool:
    """Whether a file of that name is there."""
    from pyarrow import fs

    store, path = filesystem(uri)
    return store.get_file_info([path])[0].type == fs.FileType.File


def list_files(folder: str) -> list[FileInfo]:
    """All files below a folder, sorted by URI; none when there is no such folder."""
    from pyarrow import fs

    store, path = filesystem(folder)
    found = store.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    prefix = folder.rstrip("/")
    files = [
        FileInfo(join(prefix, info.path[len(path.rstrip("/")) :]), info.size)
        for info in found
        if info.type == fs.FileType.File
    ]
    return sorted(files)


def list_folders(folder: str) -> list[str]:
    """The names of the folders directly below a folder, sorted."""
    from pyarrow import fs

    if scheme(folder) == "gs":
        return _list_folders_gs(folder)
    store, path = filesystem(folder)
    found = store.get_file_info(fs.FileSelector(path, recursive=False, allow_not_found=True))
    return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)


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
    store, path = filesystem(uri)
    info = store.get_file_info([path])[0]
    if info.type == fs.FileType.File:
        return [FileInfo(uri, info.size)]
    if info.type == fs.FileType.Directory:
        return [file for file in list_files(uri) if not _hidden(relative(file.uri, uri))]
    if not any(mark in uri for mark in "*?["):
        raise HeadwaterError(f"{uri}: there is no such file or folder")
    fixed = []
    for part in uri.split("/"):
        if any(mark in part for mark in "*?["):
            break
        fixed.append(part)
    base = "/".join(fixed) or "/"
    pattern = relative(uri, base).split("/")
    matched = [file for file in list_files(base) if _matches(relative(file.uri, base).split("/"), pattern)]
    if not matched:
        raise HeadwaterError(f"{uri}: no file matches this pattern")
    return matched


def delete(uri: str) -> None:
    """Removes a file if it is there."""
    store, path = filesystem(uri)
    if exists(uri):
        store.delete_file(path)


def sha256(content: bytes | pa.Buffer) -> str:
    """The SHA-256 of `content`, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def attempt_id() -> str:
    """A name that no other attempt of any step has."""
    return uuid.uuid4().hex[:12]


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
    handle, temporary = tempfile.mkstemp(prefix="_writing-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


@functools.lru_cache(maxsize=None)
def _filesystem(kind: str) -> fs.FileSystem:
    from pyarrow import fs

    if not kind:
        return fs.LocalFileSystem()
    if kind == "gs":
        endpoint = os.environ.get("STORAGE_EMULATOR_HOST")
        if not endpoint:
            return fs.GcsFileSystem()
        parsed = urllib.parse.urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        return fs.GcsFileSystem(anonymous=True, scheme=parsed.scheme, endpoint_override=parsed.netloc)
    endpoint = _s3_endpoint(kind)
    if not endpoint:
        return fs.S3FileSystem()
    parsed = urllib.parse.urlsplit(endpoint)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return fs.S3FileSystem(endpoint_override=parsed.netloc, scheme=parsed.scheme, region=region)


def _s3_endpoint(kind: str) -> str | None:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if kind == "minio" and not endpoint:
        raise HeadwaterError("minio:// needs the server's address in AWS_ENDPOINT_URL, for example http://minio:9000")
    return endpoint


def _gs_client():
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project="emulator", credentials=AnonymousCredentials())
    return storage.Client()


def _list_folders_gs(folder: str) -> list[str]:
    # pyarrow sees a folder at gs:// only where somebody made an empty object for it.
    bucket, _, path = folder.partition("://")[2].partition("/")
    prefix = path.rstrip("/") + "/" if path else ""
    listing = _gs_client().list_blobs(bucket, prefix=prefix, delimiter="/")
    for _ in listing.pages:
        pass
    return sorted(found[len(prefix) :].rstrip("/") for found in listing.prefixes)


def _create_gs(bucket: str, name: str, content: bytes) -> bool:
    from google.api_core.exceptions import PreconditionFailed

    try:
        _gs_client().bucket(bucket).blob(name).upload_from_string(content, if_generation_match=0)
        return True
    except PreconditionFailed:
        return False


def _create_s3(bucket: str, name: str, content: bytes) -> bool:
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client("s3", endpoint_url=_s3_endpoint("s3"))
    try:
        client.put_object(Bucket=bucket, Key=name, Body=content, IfNoneMatch="*")
        return True
    except ClientError as error:
        # 409: another conditional write of the same key won while this one was under way.
        if error.response.get("Error", {}).get("Code") in (
            "PreconditionFailed",
            "ConditionalRequestConflict",
            "412",
            "409",
        ):
            return False
        raise
