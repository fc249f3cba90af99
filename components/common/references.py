"""References to earlier results, as settings name them: `latest`, `previous`, `span:<n>`, or a URI."""

from __future__ import annotations

from collections.abc import Callable

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.results import Home, Result, committed, load

_REFERENCES = ("auto", "latest", "previous", "none")


def is_reference(text: str) -> bool:
    """Whether `find` looks for it among earlier runs, as for `latest` and `span:<n>`; it is a path or URI otherwise."""
    return text.strip() in _REFERENCES or text.strip().startswith("span:")


def find(reference: str, kind: str, home: Home | None) -> Result | None:
    """Resolves a reference to an earlier result.

    Args:
      reference: a path or URI of a result's folder; `latest` (the highest span but the one that asks), `previous` (the
        highest span below `home.span`), or `span:<n>`, each with the highest version there; `auto`, which is `previous`
        where there is one and nothing otherwise; `none`, which is nothing.
      kind: a key of `FOLDERS`.
      home: the span that asks; without one only a URI, `auto` and `none` can be resolved.

    Returns:
      The result, or None for `none`, and for `auto` when there is no earlier one.

    Raises:
      HeadwaterError: there is no such result.
    """
    reference = reference.strip()
    if reference == "none" or (reference == "auto" and home is None):
        return None
    if not is_reference(reference):
        return load(reference, kind)
    if home is None:
        raise HeadwaterError(f"{reference!r} refers to an earlier run under data_root, but no data_root is set")
    if reference.startswith("span:"):
        number = reference[len("span:") :]
        if not number.isdigit():
            raise HeadwaterError(f"{reference!r}: a span must be an integer, for example span:3")
        spans: Callable[[int], bool] = int(number).__eq__
    elif reference == "latest":
        spans = home.span.__ne__
    else:
        spans = home.span.__gt__
    found = next(committed(home.data_root, home.name, kind, spans), None)
    if found:
        return load(found.folder(kind), kind)
    if reference == "auto":
        return None
    raise HeadwaterError(
        f"{reference!r} does not exist: there is no such {kind} of dataset {home.name!r} under {home.data_root}"
    )
