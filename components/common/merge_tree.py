"""The tree that the results of a graph's elements are merged along: sixteen neighbours at once, on every level.

Whoever merges, and however far, follows it: so a part of the elements is merged as far as the tree allows, and parts that were
merged apart become what one merge of all would give.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from headwater.components.common.items import Numbered

GROUP = 16
"""How many neighbours are merged at once."""

Merge = Callable[[list[bytes]], bytes]


class Tree(NamedTuple):
    """The tree over some elements. A node is its level, from 0 for the elements, and its number there.

    Attributes:
      items: how many elements there are.
    """

    items: int

    @property
    def root(self) -> tuple[int, int]:
        """The node that all are below; the parent of a single element."""
        level = 1
        while self._width(level) > 1:
            level += 1
        return level, 0

    def leaves(self, node: tuple[int, int]) -> tuple[int, int]:
        """The elements below a node: the first, and the one after the last."""
        level, number = node
        return number * GROUP**level, min((number + 1) * GROUP**level, self.items)

    def joined(self, nodes: Mapping[tuple[int, int], bytes], merge: Merge) -> dict[tuple[int, int], bytes]:
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
    nodes: dict[tuple[int, int], bytes] = {}
    for each in parts:
        nodes.update(unpack(each))
    return pack(tree.joined(nodes, merge))


def pack(nodes: Mapping[tuple[int, int], bytes]) -> bytes:
    """Nodes as bytes: a head in JSON after its length, and their contents."""
    head = json.dumps([[*node, len(content)] for node, content in sorted(nodes.items())]).encode()
    return b"".join([len(head).to_bytes(8, "big"), head, *(nodes[node] for node in sorted(nodes))])


def unpack(content: bytes) -> dict[tuple[int, int], bytes]:
    """The nodes that `pack` was given."""
    place = 8 + int.from_bytes(content[:8], "big")
    nodes = {}
    for level, number, length in json.loads(content[8:place]):
        nodes[level, number] = content[place : place + length]
        place += length
    return nodes
