"""Connections to the stores: one filesystem of pyarrow for each, and the stores' own clients for what it does not offer.

Endpoints and credentials come from the environment, by the names that everybody uses (`AWS_*`,
`GOOGLE_APPLICATION_CREDENTIALS`, `STORAGE_EMULATOR_HOST`), from the usual files, or from the machine's identity.
Whether there are any is found out before the first call, since the stores' libraries look for them for half a minute.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.retries import StoreError

if TYPE_CHECKING:
    from pyarrow import fs

_CONNECT_SECONDS, _ANSWER_SECONDS = 5, 30
_CREDENTIAL_SECONDS = 2
# What pyarrow tries by itself; beyond it `patience` decides.
_OWN_RETRY_SECONDS = 5
_METADATA = "169.254.169.254"
_REMOTE = ("gs", "s3", "minio")


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


@functools.cache
def filesystem(kind: str) -> fs.FileSystem:
    """The filesystem of a kind of store: "" for local paths, "gs", "s3" or "minio".

    Raises:
      StoreError: there are no credentials.
      HeadwaterError: there is no endpoint where one is needed.
    """
    from pyarrow import fs

    if not kind:
        return fs.LocalFileSystem()
    if kind == "gs":
        limit = datetime.timedelta(seconds=_OWN_RETRY_SECONDS)
        endpoint = os.environ.get("STORAGE_EMULATOR_HOST")
        if not endpoint:
            _check_gs()
            return fs.GcsFileSystem(retry_time_limit=limit)
        parsed = urllib.parse.urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
        return fs.GcsFileSystem(
            anonymous=True, scheme=parsed.scheme, endpoint_override=parsed.netloc, retry_time_limit=limit
        )
    options: dict[str, object] = {"connect_timeout": _CONNECT_SECONDS, "request_timeout": _ANSWER_SECONDS}
    endpoint = _s3_endpoint(kind)
    if endpoint:
        parsed = urllib.parse.urlsplit(endpoint)
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        options |= {"endpoint_override": parsed.netloc, "scheme": parsed.scheme, "region": region}
    _check_s3()
    return fs.S3FileSystem(**options)


@functools.cache
def gs_client():
    """Google's own client."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project="emulator", credentials=AnonymousCredentials())
    _check_gs()
    return storage.Client()


@functools.cache
def s3_client(kind: str):
    """Amazon's own client, for "s3" or "minio"."""
    import boto3.session
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT_SECONDS, read_timeout=_ANSWER_SECONDS, retries={"mode": "standard", "max_attempts": 2}
    )
    endpoint = _s3_endpoint(kind)
    _check_s3()
    # Its default session would keep the first credentials that it saw.
    return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)


def forget() -> None:
    """Closes the connections: the next call looks at the environment anew."""
    for made in (filesystem, gs_client, s3_client):
        made.cache_clear()


def credentials(kind: str) -> str:
    """Where the credentials of a kind of store come from, in words and without any of them."""
    if kind == "gs":
        named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        return f"the credentials in {named} (GOOGLE_APPLICATION_CREDENTIALS)" if named else "the default credentials"
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return "the key in the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return "the web identity in AWS_WEB_IDENTITY_TOKEN_FILE"
    return f"the profile {os.environ.get('AWS_PROFILE') or 'default'!r} of the AWS configuration, or the machine's role"


def _s3_endpoint(kind: str) -> str | None:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if kind == "minio" and not endpoint:
        raise HeadwaterError("minio:// needs the server's address in AWS_ENDPOINT_URL, for example http://minio:9000")
    return endpoint


def _check_s3() -> None:
    if os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY"):
        return
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        found = botocore.session.get_session().get_credentials()
        reason = "" if found else "nothing was found"
    except BotoCoreError as error:
        reason = str(error)
    if reason:
        raise StoreError(
            f"s3: there are no credentials ({reason}); tried the variables AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, "
            "AWS_WEB_IDENTITY_TOKEN_FILE, the profile in ~/.aws, and the role of this container or machine"
        )


def _check_gs() -> None:
    """Asks for one token, so that unusable credentials are reported at once."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    usual = os.path.join(folder, "application_default_credentials.json")
    path = named or (usual if os.path.exists(usual) else "")
    if path:
        _check_gs_file(path)
        return
    host = os.environ.get("GCE_METADATA_HOST") or _METADATA
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    try:
        request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
        # Never through a proxy: the address means this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_CREDENTIAL_SECONDS):
            return
    except (OSError, ValueError):
        raise StoreError(
            "gs: there are no credentials; tried the file in GOOGLE_APPLICATION_CREDENTIALS (not set), "
            f"{usual} (not there), and the machine's identity (no answer from {host})"
        ) from None


def _check_gs_file(path: str) -> None:
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    tried = f"gs: the credentials in {path} cannot be used"
    try:
        with open(path, encoding="utf-8") as stream:
            json.load(stream)
        found, _ = google.auth.load_credentials_from_file(
            path, scopes=["https://www.googleapis.com/auth/devstorage.read_write"]
        )
    except (OSError, ValueError, GoogleAuthError) as error:
        raise StoreError(f"{tried}: {getattr(error, 'strerror', None) or 'it is not a credentials file'}") from None
    ask = Request()
    try:
        found.refresh(lambda *given, **named: ask(*given, **{**named, "timeout": _CREDENTIAL_SECONDS}))
    except GoogleAuthError as error:
        reason = "no answer" if "Connection" in str(error) or "timed out" in str(error) else str(error.args[0])[:200]
        raise StoreError(
            f"{tried}: {getattr(found, '_token_uri', None) or 'the token server'} says: {reason}"
        ) from None
