"""`.json` files that are one array, or objects over several lines, written as JSON Lines without reading any value.

Only the bytes between values change, so that numbers keep their digits. The file streams through: strings, escapes
and depth are followed over whole chunks at once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np

from headwater.components.common.errors import HeadwaterError
from headwater.components.common.sources.files import unpacked_name

_MARK = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"
_HEAD_BYTES = 1 << 20


def may_be_document(uri: str) -> bool:
    """Whether a file's name ends in `.json`, packed or not."""
    return unpacked_name(uri).endswith(".json")


def is_document(head: bytes) -> bool:
    """Whether the beginning of a file is that of an array, or of an object over several lines."""
    head = head[:_HEAD_BYTES].removeprefix(_MARK).lstrip(_SPACE)
    if head.startswith(b"["):
        return True
    first, line_end, rest = head.partition(b"\n")
    first, rest = first.rstrip(_SPACE), rest.lstrip(_SPACE)
    if not head.startswith(b"{") or not line_end or not rest or _Splitter("", False).is_whole(first):
        return False
    # A first line that was cut short, and then other records: those are lines.
    return not rest.startswith(b"{") or first.endswith((b":", b"[", b","))


def as_lines(uri: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a `.json` file as JSON Lines.

    Args:
      uri: the file's name, for errors.
      chunks: its content in UTF-8.

    Raises:
      HeadwaterError: it is an array of something else than objects, has an empty place between two commas, a line
        end within a string, something after the array's end, or no end.
    """
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _HEAD_BYTES:
            break
    if not is_document(head):
        yield head
        yield from chunks
        return
    head = head.removeprefix(_MARK)
    splitter = _Splitter(uri, head.lstrip(_SPACE).startswith(b"["))
    for chunk in itertools.chain([head], chunks):
        yield splitter.split(chunk)
    splitter.finish()


def wrapped_in(line: bytes) -> str | None:
    """The key of an object under which a list of objects stands; None where there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    for name, value in record.items():
        if isinstance(value, list) and len(value) > 1 and all(isinstance(each, dict) for each in value):
            return name
    return None


class _Splitter:
    """Where the values of a document begin and end: what is carried from chunk to chunk."""

    def __init__(self, uri: str, array: bool):
        self._uri, self._array = uri, array
        self._inside = self._ended = False
        self._backslashes = self._depth = self._offset = 0
        # Of an array: whether the current place between two commas holds something, and how many commas there were.
        self._filled, self._commas, self._first = False, 0, b""
        self._begin = 0

    def is_whole(self, data: bytes) -> bool:
        """Whether the data ends outside of any value."""
        self.split(data)
        return not self._inside and self._depth <= 0

    def split(self, data: bytes) -> bytes:
        """The next chunk, each value in it on a line of its own."""
        content = np.frombuffer(data, np.uint8).copy()
        if not len(content):
            return b""
        inside = self._strings(content)
        outside = ~inside
        opens = outside & ((content == ord("{")) | (content == ord("[")))
        closes = outside & ((content == ord("}")) | (content == ord("]")))
        depth = self._depth + np.cumsum(opens.astype(np.int64) - closes)
        ends = (content == ord("\n")) | (content == ord("\r"))
        broken = np.flatnonzero(ends & inside)
        if len(broken) and self._uri:
            raise self._error(int(broken[0]), "a line ends inside a string; write it as \\n, or close the string")
        content[ends & outside] = ord(" ")
        filled = ~np.isin(content, np.frombuffer(_SPACE, np.uint8))
        if self._array:
            content = self._split_array(content, depth, opens, closes, outside, filled)
        else:
            whole = np.flatnonzero(closes & (depth <= 0)) + 1
            content = np.insert(content, whole, ord("\n"))
            if len(whole):
                self._begin = self._offset + int(whole[-1])
        self._depth = int(depth[-1])
        self._offset += len(data)
        return content.tobytes()

    def finish(self) -> None:
        """Refuses a document that ends within a value."""
        if self._inside or self._depth > 0 or (self._array and not self._ended):
            raise HeadwaterError(
                f"{self._uri}: the JSON ends inside the value that begins near byte {self._begin + 1:,}; it was cut "
                "short, or a bracket or quote was left open"
            )

    def _strings(self, content: np.ndarray) -> np.ndarray:
        """Which bytes stand in a string, its opening quote included and its closing one not."""
        quotes = np.flatnonzero(content == ord('"'))
        slashes = content == ord("\\")
        if self._backslashes or slashes.any():
            places = np.arange(len(content))
            plain = np.maximum.accumulate(np.where(slashes, -1, places))
            runs = places - plain
            runs[plain < 0] += self._backslashes
            before = np.where(quotes > 0, runs[quotes - 1], self._backslashes)
            quotes = quotes[before % 2 == 0]
            self._backslashes = int(runs[-1])
        turns = np.zeros(len(content), np.uint8)
        turns[quotes] = 1
        inside = (np.cumsum(turns, dtype=np.int64) + self._inside) % 2 == 1
        self._inside = bool(inside[-1])
        return inside

    def _split_array(
        self,
        content: np.ndarray,
        depth: np.ndarray,
        opens: np.ndarray,
        closes: np.ndarray,
        outside: np.ndarray,
        filled: np.ndarray,
    ) -> np.ndarray:
        commas = outside & (content == ord(",")) & (depth == 1)
        ends = closes & (depth == 0)
        starts = opens & (depth == 1) & (content == ord("["))
        first = np.flatnonzero(starts)[:1] if not self._first else np.array([], np.int64)
        edges = commas | ends
        edges[first] = True
        filled &= ~edges
        if not self._first:
            begun = np.flatnonzero(filled & (depth >= 1)) if len(first) or self._depth else np.array([], np.int64)
            if len(begun):
                self._first = content[begun[:1]].tobytes()
                if self._first != b"{":
                    what = {b"[": "lists", b'"': "texts"}.get(self._first, "single values")
                    raise HeadwaterError(
                        f"{self._uri}: this is a JSON array of {what}; it must be an array of objects with the "
                        "columns' names as keys"
                    )
        counts = np.cumsum(filled)
        marks = np.flatnonzero(commas | ends)
        if len(marks):
            held = np.diff(counts[marks], prepend=0)
            held[0] += self._filled
            for place in marks[held == 0][:1]:
                if not (ends[place] and not self._commas and not commas[:place].any()):
                    raise self._error(int(place), "there is nothing between two commas, or after the last one")
            after = filled[marks[-1] + 1 :]
            self._begin = self._offset + int(marks[-1]) + 1
        else:
            after = filled
        over = np.flatnonzero(ends)
        if self._ended or len(over):
            beyond = after if not len(over) else filled[over[0] + 1 :]
            if beyond.any() or len(over) > 1:
                raise self._error(int(over[0]) if len(over) else 0, "there is more text after the end of the array")
            self._ended = True
        self._filled = bool(after.any()) or (self._filled and not len(marks))
        self._commas += int(commas.sum())
        content[first] = ord(" ")
        content[commas | ends] = ord("\n")
        return content

    def _error(self, place: int, what: str) -> HeadwaterError:
        return HeadwaterError(f"{self._uri}: byte {self._offset + place + 1:,}: {what}")
