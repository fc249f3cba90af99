"""What earlier labellings of the same span made of the same label: how a round of answers changed it, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.components.common import results
from headwater.components.common.results import Home
from headwater.components.label.methods import Step


def earlier(home: Home | None, step: Step) -> list[dict[str, Any]]:
    """The labellings before this one.

    Args:
      home: the place of the new labels; without one nothing is known.
      step: the first one, whose label and classes count.

    Returns:
      Of each, the first first: its version and URI, and what `summary` tells.
    """
    if home is None:
        return []
    found = []
    for other in reversed(list(results.committed(home.data_root, home.name, "labels", lambda span: span == home.span))):
        if other.version >= home.version:
            continue
        body = results.load(other.folder("labels"), "labels").body
        if (body["label"], tuple(body["classes"])) == (step.label, step.classes):
            found.append({"version": other.version, "uri": other.folder("labels"), **summary(body)})
    return found


def summary(body: Mapping[str, Any]) -> dict[str, Any]:
    """A labelling in a line: `methods`, rows `labelled` and `abstained`, the `cost` of people's votes, and where the truth is
    known `accuracy` and `log_loss`, else None.

    Args:
      body: of the labels' manifest.
    """
    truth = body.get("truth") or {}
    return {
        "methods": [step["method"] for step in body["steps"]],
        "labelled": sum(body["labelled"]["classes"].values()),
        "abstained": body["labelled"]["abstained"],
        "cost": sum(step.get("cost") or 0 for step in body["steps"]),
        "accuracy": truth.get("accuracy"),
        "log_loss": truth.get("log_loss"),
    }
