"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

TERMINAL = "HEADWATER_TERMINAL"
"""Environment variable that names the terminal to draw on, for a task whose own output is piped."""

QUIET = "HEADWATER_QUIET"
"""Environment variable that is set where neither a bar nor lines shall be shown."""

_BAR = 24
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_DRAWS = 0.1


class Progress:
    """Counts work done against a total, and shows it with its rate.

    Args:
      label: what is being done, as in "collect: write".
      total: how much there is, in `unit`s; 0 when it is not known.
      unit: "rows" or "bytes".
    """

    def __init__(self, label: str, total: int, unit: str = "rows"):
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._quiet = bool(os.environ.get(QUIET))
        self._terminal, self._owned = _open_terminal()
        self._shown = self._started = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def advance(self, amount: int) -> None:
        """Adds to what is done."""
        self._done += amount
        now = time.monotonic()
        if now - self._shown >= (_SECONDS_BETWEEN_DRAWS if self._terminal else _SECONDS_BETWEEN_LINES):
            self._shown = now
            self._show(now)

    def __exit__(self, kind: object, *_: object) -> None:
        if self._terminal:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()
        if kind is None and not self._quiet:
            seconds = time.monotonic() - self._started
            print(f"{self._label}: {self._amount(self._done)} in {seconds:.1f} s ({self._rate(seconds)})", flush=True)
        if self._terminal and self._owned:
            self._terminal.close()

    def _show(self, now: float) -> None:
        share = min(1.0, self._done / self._total) if self._total else 0.0
        text = f"{self._amount(self._done)} of {self._amount(self._total)} ({self._rate(now - self._started)})"
        if self._terminal:
            bar = "█" * round(share * _BAR) + "░" * (_BAR - round(share * _BAR))
            self._terminal.write(f"\r\x1b[K{self._label} {bar} {share:4.0%}  {text}")
            self._terminal.flush()
        elif not self._quiet:
            print(f"{self._label}: {share:.0%}, {text}", flush=True)

    def _amount(self, amount: float) -> str:
        if self._unit == "bytes":
            return f"{amount / 1e6:,.1f} MB"
        return f"{amount:,.0f} {self._unit}"

    def _rate(self, seconds: float) -> str:
        return f"{self._amount(self._done / max(seconds, 1e-3))}/s"


def _open_terminal() -> tuple[TextIO | None, bool]:
    if os.environ.get(QUIET):
        return None, False
    if sys.stderr.isatty():
        return sys.stderr, False
    name = os.environ.get(TERMINAL)
    if name:
        try:
            return open(name, "w", encoding="utf-8"), True
        except OSError:
            pass
    return None, False
