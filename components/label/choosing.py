"""Which steps are run: all, or those whose methods suit how fast the ground truth changes.

| the labels last | methods that suit |
| --- | --- |
| months | people, on a curated set |
| weeks | direct feedback, and people |
| days, or hours | direct feedback, and weak supervision |

How long they last is what validate's concept drift estimates from earlier spans (`validate.concept`). What a method suits
stands in its module, as `SUITS`; one without it suits every pace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from headwater.components.common import results
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home
from headwater.components.label.methods import METHODS, Step

PACES = ("months", "weeks", "days", "hours")
"""How long labels last, as verdicts say it."""

ALL, AUTO = "all", "auto"


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
      steps: those that are run, in their order.
      told: how the manifest and the page tell of it: `pace`, `run` and `left_out` (methods), `verdict` (its URI, or None)
        and `reason`, a sentence; None where every step is run because nothing else was asked.
    """

    steps: list[Step]
    told: dict[str, Any] | None


def choose(method: str, steps: Sequence[Step], home: Home | None) -> Choice:
    """The steps that suit.

    Args:
      method: `all`, `auto`, or one of `PACES`.
      steps: of the project.
      home: the span; its latest verdict before says the pace for `auto`.

    Raises:
      HeadwaterError: there is no such pace, or no step suits the one that was named.
    """
    if method not in (ALL, AUTO, *PACES):
        raise HeadwaterError(f"method: must be one of {', '.join((ALL, AUTO, *PACES))}; given: {method!r}")
    if method == ALL:
        return Choice(list(steps), None)
    pace, uri, why = (method, None, "the project says so") if method != AUTO else _observed(home)
    if pace is None:
        told: dict[str, Any] = {"pace": None, "verdict": None, "run": [each.method for each in steps], "left_out": []}
        return Choice(list(steps), {**told, "reason": f"all steps are run, because {why}"})
    chosen = [each for each in steps if pace in _suits(each.method)]
    # What spreads labels has none of its own to spread.
    if not any(hasattr(METHODS[each.method], "SUITS") for each in chosen):
        suitable = [name for name in METHODS if hasattr(METHODS[name], "SUITS") and pace in _suits(name)]
        needed = f"labels last {pace} ({why}), for which {' or '.join(suitable)} suits, and no step has such a method"
        if method != AUTO:
            raise HeadwaterError(f"method: {needed}")
        chosen = list(steps)
        reason = f"all steps are run: {needed}"
    else:
        reason = f"labels last {pace} ({why})"
    left_out = [each.method for each in steps if each not in chosen]
    told = {"pace": pace, "verdict": uri, "run": [each.method for each in chosen], "left_out": left_out}
    return Choice(chosen, {**told, "reason": reason})


def _suits(name: str) -> Sequence[str]:
    return getattr(METHODS[name], "SUITS", PACES)


def _observed(home: Home | None) -> tuple[str | None, str | None, str]:
    """The pace that the latest verdict before this span estimates, whose verdict it is, and in a sentence why."""
    if home is None:
        return None, None, "without a data_root no earlier verdict tells how fast the ground truth changes"
    for other in results.committed(home.data_root, home.name, "anomalies", lambda span: span < home.span):
        verdict = results.load(other.folder("anomalies"), "anomalies")
        advice: Mapping[str, Any] | None = (verdict.body.get("concept") or {}).get("labelling")
        if advice:
            return advice["speed"], verdict.uri, f"span {other.span}: {advice['reason']}"
    why = "no verdict of an earlier span tells how fast the ground truth changes (set validate.concept with span_days)"
    return None, None, why
