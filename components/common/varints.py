"""Whole numbers as Protobuf and Thrift's compact protocol write them: seven bits a byte, the lowest first."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """The bytes of a number from 0 on."""
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])
