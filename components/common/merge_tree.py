"""The tree that the results of a graph's elements are merged along: four neighbours at once, on every level.

Whoever merges, and however far, follows it: so a part of the elements is merged as far as the tree allows, and parts that were
merged apart become what one merge of all would give.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from headwater.components.common.items import Numbered

GROUP = 4
"""How many neighbours are merged at once. The fewer, the sooner a worker has merged what it did before any of it returns."""

_LONGEST_RUN = GROUP**2

Merge = Callable[[list[bytes]], bytes]
Node = tuple[int, int]
"""The level of a node, from 0 for the elements, and its number there."""


class Tree(NamedTuple):
    """The tree over some elements.

    Attributes:
      items: how many elements there are.
    """

    items: int

    @property
    def root(self) -> Node:
        """The node that all are below; the parent of a single element."""
        level = 1
        while self._width(level) > 1:
            level += 1
        return level, 0

    def leaves(self, node: Node) -> tuple[int, int]:
        """The elements below a node: the first, and the one after the last."""
        level, number = node
        return number * GROUP**level, min((number + 1) * GROUP**level, self.items)

    def parent(self, node: Node) -> Node:
        """The node that a node is merged into."""
        return node[0] + 1, node[1] // GROUP

    def children(self, node: Node) -> list[Node]:
        """The nodes that are merged into a node."""
        level, number = node[0] - 1, node[1]
        return [(level, each) for each in range(number * GROUP, min((number + 1) * GROUP, self._width(level)))]

    def runs(self, processes: int) -> Iterator[tuple[int, int]]:
        """The elements in runs that a process works on at once: the first, and the one after the last, of each.

        A run is all that is below a node, so that one result comes back. Runs get shorter towards the end, so that the
        processes end together. What is merged with what depends on neither.

        Args:
          processes: how many there are to share the elements; 0 for none beside this one, which goes element by element.
        """
        place = 0
        while place < self.items:
            most, size = (self.items - place) // (processes or self.items), 1
            while size * GROUP <= min(most, _LONGEST_RUN) and place % (size * GROUP) == 0:
                size *= GROUP
            yield place, place + size
            place += size

    def equal_runs(self, count: int) -> Iterator[tuple[int, int]]:
        """The elements in about `count` runs, likewise, but all of a length."""
        size = 1
        while size * GROUP * count <= self.items:
            size *= GROUP
        return ((place, min(place + size, self.items)) for place in range(0, self.items, size))

    def joined(self, nodes: Mapping[Node, bytes], merge: Merge) -> dict[Node, bytes]:
        """The nodes, with their parents in place of all children that are there."""
        joined = dict(nodes)
        for level in range(self.root[0]):
            width = self._width(level)
            for parent in sorted({number // GROUP for own, number in joined if own == level}):
                children = [(level, number) for number in range(parent * GROUP, min((parent + 1) * GROUP, width))]
                if all(child in joined for child in children):
                    joined[level + 1, parent] = merge([joined.pop(child) for child in children])
        return joined

    def _width(self, level: int) -> int:
        return -(-self.items // GROUP**level)


def leaf(work: Callable[[Any], bytes], numbered: Numbered) -> bytes:
    """The node of one element, as bytes."""
    return pack({(0, numbered.number): work(numbered.item)})


def merge_leaves(tree: Tree, merge: Merge, parts: list[bytes]) -> bytes:
    """The nodes of several packs as one pack, merged as far as they go."""
    nodes: dict[Node, bytes] = {}
    for each in parts:
        nodes.update(unpack(each))
    return pack(tree.joined(nodes, merge))


def pack(nodes: Mapping[Node, bytes]) -> bytes:
    """Nodes as bytes: a head in JSON after its length, and their contents."""
    head = json.dumps([[*node, len(content)] for node, content in sorted(nodes.items())]).encode()
    return b"".join([len(head).to_bytes(8, "big"), head, *(nodes[node] for node in sorted(nodes))])


def unpack(content: bytes) -> dict[Node, bytes]:
    """The nodes that `pack` was given."""
    place = 8 + int.from_bytes(content[:8], "big")
    nodes = {}
    for level, number, length in json.loads(content[8:place]):
        nodes[level, number] = content[place : place + length]
        place += length
    return nodes
