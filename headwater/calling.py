"""Runs a headwater command in a process of its own, as schedulers and queues need it: progress line by line, and its result.

Only Python's own library is imported here, so that what calls can live in another environment than Headwater: one with
Airflow or Celery, and with `pip install --no-deps headwater`.
"""

from __future__ import annotations

import collections
import ctypes
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

COMMAND = "HEADWATER_COMMAND"
"""The environment variable that names the `headwater` command, where it is not on PATH."""

DONE, NOT_BLESSED, FAILED = 0, 1, 2
"""Exit codes of the command that are results: it is done, the data must not go on; and the one for wrong settings or input."""

WRITERS = ("collect", "label", "generate-statistics", "infer-schema", "validate")
"""The components that write to an output folder."""

_GRACE = 15.0
_LINES = 50
_FINDINGS = 3
_KEPT = ("command", "exit_code", "uri", "page", "refusal", "verdict", "blessed", "passed", "accepted", "spans")
_DIE_WITH_PARENT = 1


class HeadwaterFailed(RuntimeError):
    """The work could not be done.

    Attributes:
      code: the exit code of the command: 2 for a wrong setting or input, which another attempt does not mend; otherwise it was
        ended from outside.
    """

    def __init__(self, message: str, code: int):
        # Both are arguments, so that it survives pickling.
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return self.args[0]


class NotBlessed(RuntimeError):
    """The data must not go on.

    Attributes:
      told: what the command said, as `small` leaves it.
    """

    def __init__(self, message: str, told: Mapping[str, Any]):
        super().__init__(message, told)
        self.told = told

    def __str__(self) -> str:
        return self.args[0]


def command_line(
    command: str,
    *given: str,
    sources: Sequence[str] = (),
    project: str = "",
    span: int | str | None = None,
    data_root: str = "",
    output: str = "",
    settings: Mapping[str, Any] | None = None,
    executable: str = "headwater",
) -> list[str]:
    """The words of a command, as a shell, a Docker or a Kubernetes operator take them.

    Args:
      command: a command's name, as `run`.
      given: what it works on, in its order.
      sources: paths or URIs of the data, in place of the project's.
      project: path or URI of the project file; none by default.
      span: the number of the span, or a template that becomes it; None to leave it to the project.
      data_root: the durable home of the results.
      output: the folder to write to.
      settings: further settings of the project by their keys, as `collect.key`; values are written as JSON.
      executable: the command itself.
    """
    words = [executable, command, *given, *sources, "--json"]
    more = dict(settings or {})
    if span is not None:
        more["collect.span"] = span
    if data_root:
        more["platform.data_root"] = data_root
    # Whatever lies in the folder where it works is not meant.
    words += ["--project", project or "none"]
    words += ["--output", output] if output else []
    for key, value in more.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def call(
    words: Sequence[str],
    *,
    folder: str | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Runs a command to its end. Whatever stops this call stops the command: an exception, or the death of this process.

    Args:
      words: as `command_line` gives them.
      folder: where it works; by default here.
      environment: variables beside those of this process.
      on_line: gets each line of progress.

    Returns:
      The JSON that the command prints, with `exit_code`, which is 0 or 1.

    Raises:
      HeadwaterFailed: there is no such command, or the work could not be done.
    """
    place = find(words[0])
    last: collections.deque[str] = collections.deque(maxlen=_LINES)
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            [place, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=folder,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                last.append(line.rstrip("\n"))
                if on_line and last[-1]:
                    on_line(last[-1])
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        out.seek(0)
        text = out.read()
    return _told(words[1], code, text, list(last))


def span_of(day: str) -> int:
    """The number of the span that a date names, as TFX counts: days since 1970-01-01.

    Args:
      day: a date or time of ISO 8601, as `2026-02-01`.

    Raises:
      ValueError: it is none.
    """
    return (datetime.date.fromisoformat(day[:10]) - datetime.date(1970, 1, 1)).days


def find(command: str) -> str:
    """The path of the `headwater` command: that of `COMMAND`, as it is named, beside this Python, or on PATH.

    Raises:
      HeadwaterFailed: there is none.
    """
    named = os.environ.get(COMMAND, "") if command == "headwater" else command
    beside = str(pathlib.Path(sys.executable).parent / "headwater") if not named else ""
    for candidate in filter(None, (named, beside, "headwater" if not named else "")):
        found = shutil.which(candidate)
        if found:
            return found
    raise HeadwaterFailed(
        f"there is no command {named or 'headwater'!r}; install Headwater into an environment of its own, and name its command "
        f"in {COMMAND}",
        FAILED,
    )


def small(told: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth keeping where results are small, as XCom or a result backend: URIs, the verdict, counts of findings by
    severity, and the gravest few as sentences."""
    kept = {name: told[name] for name in _KEPT if told.get(name) is not None}
    if "results" in told:
        kept["results"] = {kind: each["uri"] for kind, each in told["results"].items()}
    findings = told.get("findings") or []
    if findings:
        kept["findings"] = dict(collections.Counter(each["severity"] for each in findings))
        kept["gravest"] = [f"{each['feature'] or each['kind']}: {each['message']}" for each in findings[:_FINDINGS]]
    return kept


def blessed(told: Mapping[str, Any]) -> dict[str, Any]:
    """The small result of a command whose data may go on.

    Raises:
      NotBlessed: it may not.
    """
    kept = small(told)
    if told["exit_code"] == NOT_BLESSED:
        why = told.get("verdict") or told.get("refusal") or "the data must not go on"
        raise NotBlessed(" | ".join([why, *kept.get("gravest", [])]), kept)
    return kept


def _told(command: str, code: int, text: str, last: Sequence[str]) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if code in (DONE, NOT_BLESSED) and isinstance(told, dict):
        return {**told, "exit_code": code}
    if isinstance(told, dict) and told.get("error"):
        raise HeadwaterFailed(told["error"], code)
    if code < 0:
        raise HeadwaterFailed(f"headwater {command} was ended by {signal.Signals(-code).name}", code)
    said = next((line for line in reversed(last) if line.strip()), "it said nothing")
    raise HeadwaterFailed(f"headwater {command} ended with exit code {code}: {said.removeprefix('error: ')}", code)


def _end(process: subprocess.Popen[str]) -> None:
    """Asks the command to end, which it does within ten seconds; then ends it and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(_GRACE)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# Loaded here, since between fork and exec little is safe.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Lets the kernel end the command when whoever called it is killed, as by `kill -9`."""
    if _PRCTL is not None:
        _PRCTL(_DIE_WITH_PARENT, signal.SIGTERM, 0, 0, 0)
