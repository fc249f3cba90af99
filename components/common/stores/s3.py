"""Amazon S3, s3://, and servers that speak its language: minio:// is s3:// with an endpoint.

Credentials and endpoints come from the environment, by the names that everybody uses (`AWS_*`), from the usual files, or
from the machine's role; whether there are any is found out before the first call, since Amazon's libraries look for them
for half a minute.

pyarrow's filesystem uploads in three requests, leaves markers for folders, and cannot write conditionally, so that single
objects go by Amazon's own client.
"""

from __future__ import annotations

import contextlib
import functools
import os
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.retries import StoreError
from headwater.components.common.stores.base import Dated, Page, Store, key_of, prefix_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

_CONNECT_SECONDS, _ANSWER_SECONDS = 5, 30


class _S3(Store):
    schemes = ("s3", "minio")
    libraries = ("botocore", "urllib3")

    def filesystem(self, scheme: str) -> fs.FileSystem:
        return _filesystem(scheme)

    def size(self, uri: str) -> int:
        with _missing(uri):
            return _client(uri).head_object(**_place(uri))["ContentLength"]

    def get(self, uri: str, start: int = 0, stop: int | None = None) -> bytes:
        part = {} if stop is None else {"Range": f"bytes={start}-{stop - 1}"}
        with _missing(uri):
            return _client(uri).get_object(**_place(uri), **part)["Body"].read()

    def put(self, uri: str, content: bytes | pa.Buffer) -> None:
        _client(uri).put_object(**_place(uri), Body=bytes(content))

    def create(self, uri: str, content: bytes) -> bool:
        from botocore.exceptions import ClientError

        try:
            _client(uri).put_object(**_place(uri), Body=content, IfNoneMatch="*")
            return True
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in ("PreconditionFailed", "412"):
                return False
            if code in ("ConditionalRequestConflict", "409"):
                # Another conditional write of this key is under way, and may come to nothing.
                raise OSError("another attempt writes it") from None
            raise

    def remove(self, uri: str) -> None:
        _client(uri).delete_object(**_place(uri))

    def page(self, folder: str, more: Any = None) -> Page:
        bucket, prefix = prefix_of(folder)
        after = {"ContinuationToken": more} if more else {}
        answer = _client(folder).list_objects_v2(Bucket=bucket, Prefix=prefix, **after)
        scheme = folder.partition("://")[0]
        files = [
            Dated(f"{scheme}://{bucket}/{each['Key']}", each["Size"], each["LastModified"].timestamp())
            for each in answer.get("Contents", ())
            # Others are markers of folders.
            if each["Key"][-1] != "/"
        ]
        return Page(files, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)

    def folders(self, folder: str) -> list[str]:
        bucket, prefix = prefix_of(folder)
        pages = _client(folder).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        prefixes = (each["Prefix"] for answer in pages for each in answer.get("CommonPrefixes", ()))
        return sorted(each[len(prefix) :].rstrip("/") for each in prefixes)

    def credentials(self, scheme: str) -> str:
        if os.environ.get("AWS_ACCESS_KEY_ID"):
            return "the key in the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        if os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
            return "the web identity in AWS_WEB_IDENTITY_TOKEN_FILE"
        profile = os.environ.get("AWS_PROFILE") or "default"
        return f"the profile {profile!r} of the AWS configuration, or the machine's role"

    def forget(self) -> None:
        _filesystem.cache_clear()
        _client_of.cache_clear()


STORE = _S3()


@functools.cache
def _filesystem(scheme: str) -> fs.FileSystem:
    from pyarrow import fs

    options: dict[str, object] = {"connect_timeout": _CONNECT_SECONDS, "request_timeout": _ANSWER_SECONDS}
    endpoint = _endpoint(scheme)
    if endpoint:
        parsed = urllib.parse.urlsplit(endpoint)
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        options |= {"endpoint_override": parsed.netloc, "scheme": parsed.scheme, "region": region}
    _check_credentials()
    return fs.S3FileSystem(**options)


def _client(uri: str):
    return _client_of(uri.partition("://")[0])


@functools.cache
def _client_of(scheme: str):
    import boto3.session
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_SECONDS, read_timeout=_ANSWER_SECONDS, retries={"mode": "standard", "max_attempts": 2}
    )
    endpoint = _endpoint(scheme)
    _check_credentials()
    # Its default session would keep the first credentials that it saw.
    return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)


def _place(uri: str) -> dict[str, str]:
    bucket, name = key_of(uri)
    return {"Bucket": bucket, "Key": name}


@contextlib.contextmanager
def _missing(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict) and answer.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
            raise FileNotFoundError(uri) from None
        raise


def _endpoint(scheme: str) -> str | None:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if scheme == "minio" and not endpoint:
        raise HeadwaterError("minio:// needs the server's address in AWS_ENDPOINT_URL, for example http://minio:9000")
    return endpoint


def _check_credentials() -> None:
    if os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"):
        return
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        credentials = botocore.session.get_session().get_credentials()
        reason = "" if credentials else "nothing was found"
    except BotoCoreError as error:
        reason = str(error)
    if reason:
        raise StoreError(
            f"s3: there are no credentials ({reason}); tried the variables AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_WEB_IDENTITY_TOKEN_FILE, the profile in ~/.aws, and the role of this container or machine"
        )
