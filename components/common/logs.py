"""What a task prints as one JSON object a line, for clusters that collect logs so: `HEADWATER_LOG=json`."""

from __future__ import annotations

import datetime
import io
import json
import logging
import os
import sys
import threading
from typing import Any, TextIO

from headwater.components.common.errors import HeadwaterError

FORM = "HEADWATER_LOG"
"""Environment variable that names the form of logs: `text`, as by default, or `json`."""

_FORMS = ("", "text", "json")
_SEVERITIES = {"error": "ERROR", "warning": "WARNING"}


def set_form() -> None:
    """Gives this process's output the form that the environment names; it stays so until the process ends.

    Raises:
      HeadwaterError: there is no such form.
    """
    form = os.environ.get(FORM, "")
    if form not in _FORMS:
        raise HeadwaterError(f"{FORM}: must be text or json; given: {form!r}")
    if form != "json" or isinstance(sys.stdout, _Lines):
        return
    # Handlers that are there already write to the streams themselves.
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Formatter())
    sys.stdout, sys.stderr = _Lines(sys.stdout, "INFO"), _Lines(sys.stderr, "INFO")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _line(super().format(record), record.levelname)


class _Lines(io.TextIOBase):
    """A stream that writes each line as an object; a traceback is several, as its lines are."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, target: TextIO, severity: str):
        self._target, self._severity = target, severity
        self._partial, self._lock = "", threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._partial = (self._partial + text).split("\n")
            for line in filter(str.strip, lines):
                self._target.write(_line(line.rstrip("\r"), self._severity) + "\n")
        return len(text)

    def flush(self) -> None:
        self._target.flush()

    def fileno(self) -> int:
        return self._target.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    @property
    def buffer(self) -> Any:
        return self._target.buffer

    def reconfigure(self, **_: Any) -> None:
        """As text streams have it; lines are passed on when they are whole."""


def _line(text: str, severity: str) -> str:
    start, _, rest = text.partition(": ")
    given = _SEVERITIES.get(start.lower())
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    body = {"time": now, "severity": given or severity, "message": rest if given else text}
    return json.dumps(body, ensure_ascii=False)
