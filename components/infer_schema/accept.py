"""Agreeing to a proposed schema: the candidate becomes the schema, with who, when and why."""

from __future__ import annotations

import datetime
import getpass

from headwater.components.common import results, storage
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Result
from headwater.components.infer_schema.derive import CANDIDATE, SCHEMA, read_schema
from headwater.components.infer_schema.diff import compatibility, diff_schemas
from headwater.components.infer_schema.page import render_page


def accept_schema(proposal: str, *, reason: str, who: str = "", output: str = "") -> Result:
    """Makes a candidate the agreed schema.

    With a `data_root` it becomes the next version of the latest span's schema, which the next span's `auto` finds;
    without one it is written to `output`, to be named as `base_schema`.

    Args:
      proposal: path or URI of a result of infer-schema in mode `propose`.
      reason: why, for those who come later.
      who: who agrees; by default the user that runs this.
      output: folder for the result; by default beside the proposal's, named `accepted`.

    Returns:
      The agreed schema; its body's `history` tells every agreement so far. The same candidate accepted again gives the
      result that there is.

    Raises:
      HeadwaterError: it is no proposal, no reason is given, or another schema was agreed on since it was made.
    """
    if not reason.strip():
        raise HeadwaterError("reason: must not be empty; say why the schema is accepted, for later readers")
    made = results.load(proposal, "schema")
    if CANDIDATE not in made.files():
        raise HeadwaterError(f"{proposal}: this is not a proposal; run infer-schema in mode propose first")
    content = made.read(CANDIDATE)
    output = output or f"{made.folder.rstrip('/')}-accepted"
    current = _current(made, output)
    if current is not None and current.read(SCHEMA) == content:
        return current
    if current is not None and current.read(SCHEMA) != made.read(SCHEMA):
        raise HeadwaterError(
            f"{proposal}: another schema, {current.uri}, was accepted after this was proposed; make a new proposal "
            "from it"
        )
    before, after = read_schema(made.folder), read_schema(made.folder, CANDIDATE)
    changes = diff_schemas(before, after)
    entry = {
        "who": who.strip() or getpass.getuser(),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "why": reason.strip(),
        "before": storage.sha256(made.read(SCHEMA)),
        "after": storage.sha256(content),
        "changes": len(changes),
        "compatibility": compatibility(changes).name,
    }
    body = {
        "mode": "accepted",
        "inferred": False,
        "base": {"uri": storage.join(made.uri, CANDIDATE), "sha256": entry["after"]},
        "split": made.body["split"],
        "features": len(after.feature),
        "history": [*made.body.get("history", []), entry],
    }
    name = made.home.name if made.home else made.folder
    return results.save(
        "schema",
        output,
        files={SCHEMA: content},
        body=body,
        inputs={"proposal": made},
        # The candidate alone tells this result from others, so that two people who agree at once agree on one.
        settings={"mode": "accepted", "candidate": entry["after"]},
        # The latest span's, or what is agreed on would be passed over by spans that were there already.
        home=current.home if current is not None and current.home else made.home,
        page=render_page(
            {"name": name, "uri": made.uri, "span": made.home.span if made.home else None}, body, after, None, None
        ),
    )


def _current(made: Result, output: str) -> Result | None:
    """The schema that was agreed on since the proposal; None when there is none."""
    if made.home is None:
        there = storage.exists(storage.join(storage.normalise(output), results.MANIFEST))
        return results.load(output, "schema") if there else None
    latest = results.committed(made.home.data_root, made.home.name, "schema")[-1]
    return None if latest == made.home else results.load(latest.folder("schema"), "schema")
