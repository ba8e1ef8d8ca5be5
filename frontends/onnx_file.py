"""Reads ONNX files without their weights: what a tensor above a threshold holds is skipped, never copied or parsed.

Protobuf's own parser has to copy every byte of a file, and refuses one of 2 GiB. A model's structure is a few kilobytes
among hundreds of megabytes, and in protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) every
field tells its length: the file is mapped into memory, and the pages that hold weights are not even touched.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["DamagedFileError", "read_structure"]

SMALL_FILE = 1 << 20
SMALL_MESSAGE = 1 << 16
"""Messages up to this many bytes are taken as they are: they may hold the constants that shape arithmetic needs."""

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_FIXED = {_I64: 8, _I32: 4}

# Field numbers of onnx.proto: which fields hold messages that may hold tensors.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
_TENSOR_VALUES = frozenset({4, 5, 6, 7, 9, 10, 11})  # float_data, …, raw_data, double_data, uint64_data
_DROPPED = bytes([0x6A, 19, 0x0A, 8]) + b"location" + bytes([0x12, 7]) + b"dropped" + bytes([0x70, 1])
"""``external_data: {key: "location" value: "dropped"}  data_location: EXTERNAL``."""


class DamagedFileError(ValueError):
    """The bytes are no protobuf message, or not all of one."""


def read_structure(path: Path) -> bytes:
    """Return a serialised ``ModelProto`` as in the file, its larger tensors declared external and empty.

    Raises:
        DamagedFileError: a field reaches beyond the message that it is in.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if path.stat().st_size <= SMALL_FILE:
            return file.read()
        return b"".join(_stripped(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)), "model"))


def _stripped(message: memoryview, kind: str) -> Iterator[bytes]:
    """The message's fields, those that are large messages themselves without what their tensors hold."""
    inner = _MESSAGES[kind]
    copied = 0
    for number, start, body, end in _fields(message):
        if number not in inner or end - body <= SMALL_MESSAGE:
            continue
        yield bytes(message[copied:start])
        copied = end
        part = message[body:end]
        content = b"".join(_stripped(part, inner[number]) if inner[number] != "tensor" else _without_values(part))
        yield _varint(number << 3 | _LEN) + _varint(len(content)) + content
    yield bytes(message[copied:])


def _without_values(tensor: memoryview) -> Iterator[bytes]:
    stored = False
    for number, start, _, end in _fields(tensor):
        if number in _TENSOR_VALUES:
            stored = True
        else:
            yield bytes(tensor[start:end])
    if stored:
        yield _DROPPED


def _fields(message: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """Each field's number, where it starts, where its content does, and where it ends."""
    at, size = 0, len(message)
    while at < size:
        start = at
        tag, at = _read_varint(message, at)
        wire = tag & 7
        if wire == _LEN:
            length, at = _read_varint(message, at)
            end = at + length
        elif wire == _VARINT:
            end = _read_varint(message, at)[1]
        elif wire in _FIXED:
            end = at + _FIXED[wire]
        else:
            raise DamagedFileError(f"wire type {wire} at byte {start}")
        if end > size:
            raise DamagedFileError(f"a field of {end - at:,} bytes where {size - at:,} are left")
        yield tag >> 3, start, at, end
        at = end


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if at >= len(message):
            raise DamagedFileError("it ends in the middle of a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise DamagedFileError("a number of more than ten bytes")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
