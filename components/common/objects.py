"""Single objects at gs://, s3:// and minio://, by the stores' own clients: one request for each thing that is done.

pyarrow's filesystems ask for an object's size before each read, read to its end where a range is wanted (gs), upload in
three requests and leave markers for folders (s3), and cannot write conditionally. Nothing here is tried again, see
`patience`; an object that is not there is a FileNotFoundError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.components.common import stores

if TYPE_CHECKING:
    import pyarrow as pa

_KEYS_A_PAGE = 1_000


class Page(NamedTuple):
    """A part of a listing: (URI, bytes, seconds by the store's clock) of each object, and where the next part begins."""

    objects: list[tuple[str, int, float]]
    more: str


def size(uri: str) -> int:
    """Bytes of an object."""
    kind, bucket, name = _parts(uri)
    with _missing(uri):
        if kind == "gs":
            blob = stores.gs_client().bucket(bucket).blob(name)
            blob.reload(retry=None)
            return blob.size
        return stores.s3_client(kind).head_object(Bucket=bucket, Key=name)["ContentLength"]


def get(uri: str, start: int = 0, stop: int | None = None) -> bytes:
    """The bytes [start, stop) of an object, to its end by default; the range must lie in it."""
    kind, bucket, name = _parts(uri)
    part: dict[str, Any]
    with _missing(uri):
        if kind == "gs":
            blob = stores.gs_client().bucket(bucket).blob(name)
            part = {} if stop is None else {"start": start, "end": stop - 1, "checksum": None}
            return blob.download_as_bytes(raw_download=True, retry=None, **part)
        part = {} if stop is None else {"Range": f"bytes={start}-{stop - 1}"}
        return stores.s3_client(kind).get_object(Bucket=bucket, Key=name, **part)["Body"].read()


def put(uri: str, content: bytes | pa.Buffer) -> None:
    """Writes an object whole."""
    kind, bucket, name = _parts(uri)
    if kind == "gs":
        stores.gs_client().bucket(bucket).blob(name).upload_from_string(bytes(content), retry=None)
    else:
        stores.s3_client(kind).put_object(Bucket=bucket, Key=name, Body=bytes(content))


def create(uri: str, content: bytes) -> bool:
    """Writes an object only if there is none; whether it did."""
    kind, bucket, name = _parts(uri)
    if kind == "gs":
        from google.api_core.exceptions import PreconditionFailed

        blob = stores.gs_client().bucket(bucket).blob(name)
        try:
            blob.upload_from_string(content, if_generation_match=0, retry=None)
            return True
        except PreconditionFailed:
            return False
    from botocore.exceptions import ClientError

    try:
        stores.s3_client(kind).put_object(Bucket=bucket, Key=name, Body=content, IfNoneMatch="*")
        return True
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code in ("PreconditionFailed", "412"):
            return False
        if code in ("ConditionalRequestConflict", "409"):
            # Another conditional write of this key is under way, and may come to nothing.
            raise OSError("another attempt writes it") from None
        raise


def remove(uri: str) -> None:
    """Removes an object if it is there."""
    kind, bucket, name = _parts(uri)
    if kind == "gs":
        with contextlib.suppress(FileNotFoundError), _missing(uri):
            stores.gs_client().bucket(bucket).blob(name).delete(retry=None)
    else:
        stores.s3_client(kind).delete_object(Bucket=bucket, Key=name)


def page(folder: str, more: str = "") -> Page:
    """A part of the objects below a folder; markers of folders are left out."""
    kind, bucket, path = _parts(folder)
    prefix = f"{path}/" if path else ""
    if kind == "gs":
        listing = stores.gs_client().list_blobs(
            bucket, prefix=prefix, page_token=more or None, page_size=_KEYS_A_PAGE, retry=None
        )
        found = [(blob.name, blob.size, blob.updated) for blob in next(listing.pages, ())]
        token = listing.next_page_token or ""
    else:
        after = {"ContinuationToken": more} if more else {}
        answer = stores.s3_client(kind).list_objects_v2(Bucket=bucket, Prefix=prefix, **after)
        found = [(each["Key"], each["Size"], each["LastModified"]) for each in answer.get("Contents", ())]
        token = answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else ""
    named = ((f"{kind}://{bucket}/{name}", size, time.timestamp()) for name, size, time in found if name[-1] != "/")
    return Page(list(named), token)


def folders(folder: str) -> list[str]:
    """The names of the folders directly below a folder, sorted."""
    kind, bucket, path = _parts(folder)
    prefix = f"{path}/" if path else ""
    return sorted(each[len(prefix) :].rstrip("/") for each in _prefixes(kind, bucket, prefix))


def _prefixes(kind: str, bucket: str, prefix: str) -> Iterator[str]:
    if kind == "gs":
        listing = stores.gs_client().list_blobs(bucket, prefix=prefix, delimiter="/", retry=None)
        for _ in listing.pages:
            pass
        yield from listing.prefixes
        return
    pages = stores.s3_client(kind).get_paginator("list_objects_v2")
    for answer in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
        yield from (each["Prefix"] for each in answer.get("CommonPrefixes", ()))


def _parts(uri: str) -> tuple[str, str, str]:
    kind, _, rest = uri.partition("://")
    bucket, _, name = rest.partition("/")
    return kind, bucket, name.rstrip("/")


@contextlib.contextmanager
def _missing(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        answer = getattr(error, "response", None)
        code = answer.get("Error", {}).get("Code") if isinstance(answer, dict) else getattr(error, "code", None)
        if code in ("NoSuchKey", "404", 404):
            raise FileNotFoundError(uri) from None
        raise
