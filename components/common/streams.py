"""Streams of files at stores: reads that are tried again where a store fails, and writes whose errors name the file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, TypeVar

from headwater.components.common import retries
from headwater.components.common.errors import HeadwaterError
from headwater.components.common.retries import StoreError
from headwater.components.common.stores import scheme, store_of

Answer = TypeVar("Answer")


def read_object(uri: str, call: Callable[[], Answer]) -> Answer:
    try:
        return steadily(uri, "read", call)
    except FileNotFoundError:
        raise HeadwaterError(f"{uri}: there is no such file") from None


def steadily(uri: str, verb: str, call: Callable[[], Answer]) -> Answer:
    store = store_of(uri)
    if not store.on_disk:
        return retries.steadily(uri, verb, call, store, scheme(uri))
    try:
        return call()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HeadwaterError(f"{uri}: cannot be {verb}: {reason_of(error)}") from None


class SteadyFile(io.RawIOBase):
    """A file at a store, read by ranges; what is read is read again where the store fails or its answer is cut short."""

    def __init__(self, uri: str):
        self._uri, self._place = uri, 0
        self._store = store_of(uri)
        self._size = read_object(uri, lambda: self._store.size(uri))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def size(self) -> int:
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._place)
        size = left if size is None or size < 0 else min(size, left)
        if not size:
            return b""
        content = read_object(self._uri, lambda: self._read(self._place, self._place + size))
        self._place += size
        return content

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _read(self, start: int, stop: int) -> bytes:
        content = self._store.get(self._uri, start, stop)
        if len(content) != stop - start:
            raise OSError(f"the answer was cut short: {len(content):,} of {stop - start:,} bytes")
        return content


class TellingOutput(io.RawIOBase):
    """A stream that is written, whose errors name it."""

    def __init__(self, uri: str, stream: Any):
        self._uri, self._stream = uri, stream

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._tell(lambda: self._stream.write(content))
        return len(content)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._tell(self._stream.close)

    def _tell(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except OSError as error:
            raise StoreError(f"{self._uri}: cannot be written: {reason_of(error)}") from None


def reason_of(error: OSError) -> str:
    return error.strerror or str(error).splitlines()[0]
