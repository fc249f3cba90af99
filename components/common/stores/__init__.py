"""The stores of files, by the schemes of their URIs. A new store is a module here, and its line in `_ALL`."""

from __future__ import annotations

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.stores import (
    gs,
    local,
    s3,
)
from headwater.components.common.stores.base import Store

_ALL: tuple[Store, ...] = (
    local.STORE,
    gs.STORE,
    s3.STORE,
)

STORES: dict[str, Store] = {scheme: store for store in _ALL for scheme in store.schemes}
"""By the schemes of their URIs; that of a local path is the empty string."""


def scheme(uri: str) -> str:
    """The scheme of a URI: a key of `STORES`.

    Raises:
      HeadwaterError: there is no store of this scheme.
    """
    head, mark, _ = uri.partition("://")
    # file:// is another way to write a path.
    name = head if mark and head != "file" else ""
    if name not in STORES:
        *others, last = (f"{each}://" for each in STORES if each)
        raise HeadwaterError(
            f"{uri}: the scheme {head}:// is not supported; use a local path, {', '.join(others)} or {last}"
        )
    return name


def store_of(uri: str) -> Store:
    """The store of a URI.

    Raises:
      HeadwaterError: there is none of this scheme.
    """
    return STORES[scheme(uri)]


def forget() -> None:
    """Closes all connections: the next call looks at the environment anew."""
    for store in _ALL:
        store.forget()
