"""Faults of a store that pass by themselves, waited out; and the errors that remain, each in one sentence."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from headwater.components.common.errors import HeadwaterError

if TYPE_CHECKING:
    from headwater.components.common.stores.base import Store

Answer = TypeVar("Answer")

PATIENCE = 60.0
"""Seconds for which a call that fails is made again; `HEADWATER_STORE_RETRY_SECONDS` in the environment sets another."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 8.0

# Numbers of the AWS SDK's errors, for pyarrow versions that do not name them: refused, wrong, or not there.
_LASTING_CODES = frozenset([0, *range(2, 11), *range(14, 19), 20, 21, 22, 23, *range(128, 140)])
_REFUSED = re.compile(
    r"ACCESS_?DENIED|INVALID_?ACCESS_?KEY|SIGNATURE_?DOES_?NOT_?MATCH|INVALID_?CLIENT_?TOKEN|UNRECOGNIZED_?CLIENT"
    r"|EXPIRED_?TOKEN|TOKEN.{0,20}EXPIRED|MISSING_?AUTHENTICATION|INVALID_?TOKEN|PERMISSION_DENIED|UNAUTHENTICATED"
    # S3 answers HEAD without a body: 400 is what it says there of a token that has expired.
    r"|\b40[13]\b|\(400\) WHEN CALLING THE HEADOBJECT|FORBIDDEN|UNAUTHORIZED|NO_?CREDENTIALS|UNABLE TO LOCATE CREDENTIALS"
    r"|INVALID_GRANT",
    re.IGNORECASE,
)
_REFUSED_CODES = frozenset([3, 8, 15, 17, 21, 22, 23])
_LASTING = re.compile(
    r"NO_?SUCH_?(?:BUCKET|KEY)|NOT_FOUND|RESOURCE_NOT_FOUND|INVALID_ARGUMENT|FAILED_PRECONDITION|INVALID_?BUCKET_?NAME"
    r"|\b40[0456]\b|\b41[0-9]\b|VALIDATION|INVALID_?PARAMETER|BUCKET.{0,40}(?:NOT EXIST|NOT FOUND)",
    re.IGNORECASE,
)
_CODE = re.compile(r"AWS Error \[code (\d+)\]")


class StoreError(HeadwaterError):
    """A store refused a call, or went on failing."""


def steadily(uri: str, verb: str, call: Callable[[], Answer], store: Store, scheme: str) -> Answer:
    """Calls a store, again and again while what goes wrong may pass.

    Args:
      uri: what the call is about.
      verb: what is done to it, as in "read".
      call: may run any number of times.
      store: the store.
      scheme: of the URI.

    Raises:
      FileNotFoundError: as `call` raises it.
      StoreError: the store refused, or failed for `PATIENCE` seconds.
    """
    patience = float(os.environ.get("HEADWATER_STORE_RETRY_SECONDS") or PATIENCE)
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        try:
            return call()
        except (FileNotFoundError, HeadwaterError):
            raise
        except Exception as error:
            if not _is_answer(store, error):
                raise
            reason = _words(error)
            if is_refusal(reason) or store.refuses(error):
                by = store.credentials(scheme)
                raise StoreError(
                    f"{uri}: cannot be {verb}: the store refused it: {reason}{f'; tried {by}' if by else ''}"
                ) from None
            if _lasts(reason):
                raise StoreError(f"{uri}: cannot be {verb}: {reason}") from None
            waited = time.monotonic() - began
            if waited + pause > patience:
                raise StoreError(
                    f"{uri}: cannot be {verb}: the store went on failing for {waited:.0f} s: {reason}; run it again "
                    "when the store is back"
                ) from None
        time.sleep(pause * random.uniform(0.5, 1))
        pause = min(2 * pause, _LONGEST_PAUSE)


def is_refusal(reason: str) -> bool:
    """Whether an error's words say that the credentials do not do."""
    code = _CODE.search(reason)
    return bool(_REFUSED.search(reason)) or bool(code and int(code[1]) in _REFUSED_CODES)


def _lasts(reason: str) -> bool:
    code = _CODE.search(reason)
    return bool(_LASTING.search(reason)) or bool(code and int(code[1]) in _LASTING_CODES)


def _is_answer(store: Store, error: Exception) -> bool:
    """Whether pyarrow raised an error or the store's own library, which need not be imported for it."""
    if isinstance(error, OSError):
        return True
    return bool({kind.__module__.partition(".")[0] for kind in type(error).__mro__} & set(store.libraries))


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    # A store's answer may be a page, and a signed address in it is a secret.
    return re.sub(r"\?[^\s'\")]+", "?…", text.strip().splitlines()[0])[:500]
