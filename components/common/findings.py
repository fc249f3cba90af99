"""What findings of all components share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SEVERITIES = ("error", "warning", "info")
"""What a finding may be, the worst first."""

LEVELS = ("error", "warning", "none")
"""What a gate can fail on, from the gravest on; `none` lets everything pass."""


def stopping(fail_on: str) -> tuple[str, ...]:
    """The severities that stop data, where a gate fails on `fail_on`, one of `LEVELS`."""
    return LEVELS[: LEVELS.index(fail_on) + 1] if fail_on != "none" else ()


def places(finding: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a finding of validate is about, split by split, and all that has the same cause."""
    for each in (finding, *finding["members"]):
        for split in each["splits"] or [""]:
            yield {"kind": each["kind"], "feature": each["feature"], "split": split} | (
                {"rule": each["rule"]} if "rule" in each else {}
            )


def percent(share: float) -> str:
    """A share in a message, to three digits, such as `24.2 %`: neither something as 0 % nor less than all as 100 %."""
    percent = 100 * share
    return f"{percent:.3g} %" if percent < 99.95 or share == 1 else f"{percent:.6g} %"
