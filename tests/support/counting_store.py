"""A store of objects in this process that counts what is asked of it: requests by kind, and bytes."""

from __future__ import annotations

import bisect
from collections import Counter

from headwater.components.common.stores.base import KEYS_A_PAGE, Dated, Page, Store


class Counted(Store):
    """Objects under `counted://`.

    Attributes:
      content: of each object, by URI.
      requests: how many there were: `size`, `get`, `put`, `create`, `remove`, `list`.
      got: bytes read, by URI.
    """

    schemes = ("counted",)

    def __init__(self):
        self.content: dict[str, bytes] = {}
        self.reset()

    def reset(self):
        self.requests: Counter[str] = Counter()
        self.got: Counter[str] = Counter()
        self._sorted: list[str] | None = None

    def lengthen(self, first, fingerprint, spans):
        """Copies a dataset's manifest and claim to so many spans, each as if of other content.

        Args:
          first: the URI of its span 1.
          fingerprint: of that.
          spans: how many there are then.
        """
        copied = {uri: content for uri, content in self.content.items() if uri.startswith(f"{first}/version=1/data/_")}
        for span in range(2, spans + 1):
            for uri, content in copied.items():
                own = content.replace(fingerprint.encode(), f"{span:064x}".encode())
                self.content[uri.replace("/span=1/", f"/span={span}/")] = own

    def size(self, uri):
        self.requests["size"] += 1
        return len(self._of(uri))

    def get(self, uri, start=0, stop=None):
        self.requests["get"] += 1
        content = self._of(uri)[start:stop]
        self.got[uri] += len(content)
        return content

    def put(self, uri, content):
        self.requests["put"] += 1
        self._sorted = None
        self.content[uri] = bytes(content)

    def create(self, uri, content):
        self.requests["create"] += 1
        if uri in self.content:
            return False
        self._sorted = None
        self.content[uri] = bytes(content)
        return True

    def remove(self, uri):
        self.requests["remove"] += 1
        self._sorted = None
        self.content.pop(uri, None)

    def page(self, folder, more=None):
        self.requests["list"] += 1
        names = self._names()
        place = more or bisect.bisect_left(names, f"{folder}/")
        part = [uri for uri in names[place : place + KEYS_A_PAGE] if uri.startswith(f"{folder}/")]
        full = len(part) == KEYS_A_PAGE
        return Page([Dated(uri, len(self.content[uri]), 0.0) for uri in part], place + KEYS_A_PAGE if full else None)

    def folders(self, folder):
        below = {uri[len(folder) + 1 :] for uri in self._names() if uri.startswith(f"{folder}/")}
        names = sorted({name.partition("/")[0] for name in below if "/" in name})
        # A store tells them a page at a time, too.
        self.requests["list"] += max(1, -(-len(names) // KEYS_A_PAGE))
        return names

    def _of(self, uri):
        if uri not in self.content:
            raise FileNotFoundError(uri)
        return self.content[uri]

    def _names(self):
        if self._sorted is None:
            self._sorted = sorted(self.content)
        return self._sorted
