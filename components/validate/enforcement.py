"""The gate: reads a verdict, and fails where the data must not go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.components.common import findings, results
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.validate.actions import accept_command, review_command

_MOST = 20


def enforce(anomalies: str, *, fail_on: str = "error") -> str:
    """Lets data pass or stops it.

    Args:
      anomalies: path or URI of a result of validate.
      fail_on: the least severity that stops it: `error`, `warning`, or `none`.

    Returns:
      The verdict, when the data may go on.

    Raises:
      HeadwaterError: it may not; the message holds the findings. Or `fail_on` is none of `findings.LEVELS`.
    """
    if fail_on not in findings.LEVELS:
        raise HeadwaterError(f"fail_on: {fail_on!r} is not one of {', '.join(findings.LEVELS)}")
    verdict = results.load(anomalies, "anomalies")
    body = verdict.body
    failing = findings.stopping(fail_on)
    stopping = [finding for finding in body["findings"] if finding["severity"] in failing]
    if not stopping:
        return body["verdict"]
    lines = [f"{finding['severity']}: {where(finding)}: {finding['message']}" for finding in stopping[:_MOST]]
    if len(stopping) > _MOST:
        lines.append(f"… and {len(stopping) - _MOST} more")
    lines += [f"to {what}: {command}" for what, command in ways_on(verdict).items()]
    head = f"stopped by a warning, since fail_on is {fail_on}. " if body["blessed"] else ""
    raise HeadwaterError("\n  ".join([head + body["verdict"], *lines]))


def ways_on(anomalies: Result) -> dict[str, str]:
    """The commands that settle what was found, by what they do.

    Args:
      anomalies: a result of validate.

    Returns:
      Nothing where nothing was found and the schema is accepted, or where there is no `data_root` that could keep what is
      accepted.
    """
    home = anomalies.home
    if home is None:
        return {}
    if all(finding["severity"] == "info" for finding in anomalies.body["findings"]):
        # A guess is there to be accepted, also where nothing breaks it.
        return {"accept": accept_command(home)} if anomalies.body["schema"]["inferred"] else {}
    return {"accept": accept_command(home), "review": review_command(home)}


def where(finding: Mapping[str, Any]) -> str:
    """The place a finding is about, as in `train/carrier`."""
    return "/".join(part for part in (finding["split"], finding["feature"]) if part)
