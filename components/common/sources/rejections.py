"""Records that are not passed on, and why."""

from __future__ import annotations

from typing import NamedTuple

VALUE_BYTES = 256
"""The most of a rejected value that is kept, in bytes."""


class Rejection(NamedTuple):
    """A record that is not passed on, and why.

    Attributes:
      row: its number in the source, as the source's kind counts.
      column: the column at fault; None when it is the whole record.
      reason: a short name of the rule.
      value: at most `VALUE_BYTES` bytes of what was found.
    """

    row: int
    column: str | None
    reason: str
    value: str | None


def clip(text: str | bytes) -> str:
    """At most `VALUE_BYTES` bytes of a value, as text."""
    raw = text.encode() if isinstance(text, str) else text
    return raw[:VALUE_BYTES].decode("utf-8", "replace").replace("\0", "\N{SYMBOL FOR NULL}")
