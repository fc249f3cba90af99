"""Google Cloud Storage, gs://.

Credentials come from `GOOGLE_APPLICATION_CREDENTIALS`, from gcloud's usual file or from the machine's identity; whether
there are any is found out before the first call, since Google's library looks for them for half a minute.
`STORAGE_EMULATOR_HOST` names an emulator, which needs none.

pyarrow's filesystem asks for an object's size before each read, reads to its end where a range is wanted, and cannot
write conditionally, so that single objects go by Google's own client.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import os
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.components.common.retries import StoreError
from headwater.components.common.stores.base import KEYS_A_PAGE, Dated, Page, Store, key_of, prefix_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

_CREDENTIAL_SECONDS = 2
# What pyarrow tries by itself; beyond it `retries` decides.
_OWN_RETRY_SECONDS = 5
_METADATA = "169.254.169.254"


class _GoogleCloud(Store):
    schemes = ("gs",)
    libraries = ("google", "requests", "urllib3")

    def filesystem(self, scheme: str) -> fs.FileSystem:
        return _filesystem()

    def size(self, uri: str) -> int:
        blob = _blob(uri)
        with _missing(uri):
            blob.reload(retry=None)
        return blob.size

    def get(self, uri: str, start: int = 0, stop: int | None = None) -> bytes:
        part: dict[str, Any] = {} if stop is None else {"start": start, "end": stop - 1, "checksum": None}
        with _missing(uri):
            return _blob(uri).download_as_bytes(raw_download=True, retry=None, **part)

    def put(self, uri: str, content: bytes | pa.Buffer) -> None:
        _blob(uri).upload_from_string(bytes(content), retry=None)

    def create(self, uri: str, content: bytes) -> bool:
        from google.api_core.exceptions import PreconditionFailed

        try:
            _blob(uri).upload_from_string(content, if_generation_match=0, retry=None)
            return True
        except PreconditionFailed:
            return False

    def remove(self, uri: str) -> None:
        with contextlib.suppress(FileNotFoundError), _missing(uri):
            _blob(uri).delete(retry=None)

    def page(self, folder: str, more: Any = None) -> Page:
        bucket, prefix = prefix_of(folder)
        listing = _client().list_blobs(bucket, prefix=prefix, page_token=more, page_size=KEYS_A_PAGE, retry=None)
        files = [
            Dated(f"gs://{bucket}/{blob.name}", blob.size, blob.updated.timestamp())
            for blob in next(listing.pages, ())
            # Others are markers of folders.
            if blob.name[-1] != "/"
        ]
        return Page(files, listing.next_page_token)

    def folders(self, folder: str) -> list[str]:
        bucket, prefix = prefix_of(folder)
        listing = _client().list_blobs(bucket, prefix=prefix, delimiter="/", retry=None)
        for _ in listing.pages:
            pass
        return sorted(each[len(prefix) :].rstrip("/") for each in listing.prefixes)

    def refuses(self, error: Exception) -> bool:
        """Whether Google's library gave up on the credentials themselves, rather than on the way to their server."""
        names = {kind.__name__ for kind in type(error).__mro__}
        return "GoogleAuthError" in names and "TransportError" not in names and not getattr(error, "retryable", False)

    def credentials(self, scheme: str) -> str:
        named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        return f"the credentials in {named} (GOOGLE_APPLICATION_CREDENTIALS)" if named else "the default credentials"

    def forget(self) -> None:
        _filesystem.cache_clear()
        _client.cache_clear()


STORE = _GoogleCloud()


@functools.cache
def _filesystem() -> fs.FileSystem:
    from pyarrow import fs

    limit = datetime.timedelta(seconds=_OWN_RETRY_SECONDS)
    endpoint = os.environ.get("STORAGE_EMULATOR_HOST")
    if not endpoint:
        _check_credentials()
        return fs.GcsFileSystem(retry_time_limit=limit)
    parsed = urllib.parse.urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    return fs.GcsFileSystem(
        anonymous=True, scheme=parsed.scheme, endpoint_override=parsed.netloc, retry_time_limit=limit
    )


@functools.cache
def _client():
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client(project="emulator", credentials=AnonymousCredentials())
    _check_credentials()
    return storage.Client()


def _blob(uri: str):
    bucket, name = key_of(uri)
    return _client().bucket(bucket).blob(name)


@contextlib.contextmanager
def _missing(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if getattr(error, "code", None) == 404:
            raise FileNotFoundError(uri) from None
        raise


def _check_credentials() -> None:
    """Asks for one token, so that unusable credentials are reported at once."""
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")
    usual = os.path.join(folder, "application_default_credentials.json")
    path = named or (usual if os.path.exists(usual) else "")
    if path:
        _check_file(path)
        return
    import urllib.error
    import urllib.request

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


def _check_file(path: str) -> None:
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    tried = f"gs: the credentials in {path} cannot be used"
    try:
        with open(path, encoding="utf-8") as stream:
            json.load(stream)
        credentials, _ = google.auth.load_credentials_from_file(
            path, scopes=["https://www.googleapis.com/auth/devstorage.read_write"]
        )
    except (OSError, ValueError, GoogleAuthError) as error:
        raise StoreError(f"{tried}: {getattr(error, 'strerror', None) or 'it is not a credentials file'}") from None
    ask = Request()
    try:
        credentials.refresh(lambda *given, **named: ask(*given, **{**named, "timeout": _CREDENTIAL_SECONDS}))
    except GoogleAuthError as error:
        reason = "no answer" if "Connection" in str(error) or "timed out" in str(error) else str(error.args[0])[:200]
        raise StoreError(
            f"{tried}: {getattr(credentials, '_token_uri', None) or 'the token server'} says: {reason}"
        ) from None
