"""One POST, tried again while the receiver asks for it, within a time limit."""

from __future__ import annotations

import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping

from headwater.components.common.errors import HeadwaterError

_AGAIN = (429, 500, 502, 503, 504)
_FIRST_WAIT = 0.2


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry what is secret to somebody else."""

    def redirect_request(self, *_: object) -> None:
        return None


# Proxies are those of the environment; a redirect is an error.
_OPENER = urllib.request.build_opener(_NoRedirect)


def post(url: str, body: bytes, headers: Callable[[], Mapping[str, str]], timeout: float) -> None:
    """Posts JSON.

    Args:
      url: http or https.
      body: at most a few hundred KB.
      headers: made anew for every attempt, beside the content's type.
      timeout: seconds for all attempts together.

    Raises:
      HeadwaterError: it was not taken; the message holds no address.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise HeadwaterError("the address is neither http nor https")
    until, wait = time.monotonic() + timeout, _FIRST_WAIT
    while True:
        request = urllib.request.Request(
            url, body, {"Content-Type": "application/json", "User-Agent": "headwater", **headers()}, method="POST"
        )
        reason, asked = "", None
        try:
            with _OPENER.open(request, timeout=max(0.1, until - time.monotonic())) as answer:
                answer.read(1)
                return
        except urllib.error.HTTPError as error:
            reason = f"the receiver answered {error.code}"
            if error.code not in _AGAIN:
                raise HeadwaterError(reason) from None
            asked = error.headers.get("Retry-After", "")
        except (OSError, ValueError) as error:
            # An address may stand in the error's text, and a token in the address.
            reason = f"the receiver cannot be reached ({type(getattr(error, 'reason', error)).__name__})"
        pause = float(asked) if asked and asked.isdigit() else wait
        if time.monotonic() + pause >= until:
            raise HeadwaterError(reason)
        time.sleep(pause)
        wait *= 2
