"""Reads ONNX files without their weights: what a tensor above a threshold holds is skipped, never copied or parsed.

Protobuf's own parser has to copy every byte of a file, and refuses one of 2 GiB. A model's structure is a few kilobytes
among hundreds of megabytes, and in protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) every
field tells its length: the file is mapped into memory, and the pages that hold weights are not even touched.

Nor does protobuf read messages that are nested more than 100 deep, which 34 graphs inside each other are. Deeper ones
are cut out, parsed on their own, and put back where they were.
"""

from __future__ import annotations

import mmap
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..ir.limits import MOST_NESTED, make_room

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["DamagedFileError", "NestingError", "read_model"]

SMALL_FILE = 1 << 20
SMALL_MESSAGE = 1 << 16
"""Messages up to this many bytes are taken as they are: they may hold the constants that shape arithmetic needs."""

_TOGETHER = 16
"""Graphs inside each other that are parsed in one go: three messages for each, of protobuf's hundred."""

_SHALLOW_MESSAGE = 64
"""Bytes in which no message is nested so deep that it matters."""

_GRAPH_NAME = 2

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5
_FIXED = {_I64: 8, _I32: 4}

# Field numbers of onnx.proto: which fields hold messages that may hold tensors.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "body", 10: "tensor", 11: "body"},
    "body": {1: "node", 5: "tensor"},
}
_TENSOR_VALUES = frozenset({4, 5, 6, 7, 9, 10, 11})  # float_data, …, raw_data, double_data, uint64_data
_DROPPED = bytes([0x6A, 19, 0x0A, 8]) + b"location" + bytes([0x12, 7]) + b"dropped" + bytes([0x70, 1])
"""``external_data: {key: "location" value: "dropped"}  data_location: EXTERNAL``."""


class DamagedFileError(ValueError):
    """The bytes are no protobuf message, or not all of one."""


class NestingError(ValueError):
    """There are more graphs inside each other than are read."""


@dataclass(slots=True)
class _Cut:
    """What to leave out of a message: deep bodies and, if ``values``, what tensors hold.

    Messages up to ``smallest`` bytes stay as they are. ``bodies`` has what was left out, by the names in their places.
    """

    smallest: int
    values: bool
    prefix: str = field(default_factory=lambda: f"graphs.body.{secrets.token_hex(16)}.")
    bodies: dict[str, memoryview] = field(default_factory=dict)

    def placeholder(self, body: memoryview) -> bytes:
        """Remember a body and return a graph that is nothing but a name, which no file can know."""
        name = f"{self.prefix}{len(self.bodies)}"
        self.bodies[name] = body
        return _field(_GRAPH_NAME, name.encode())


def read_model(path: Path) -> ModelProto:
    """Return the model in a file, its larger tensors declared external and empty.

    Raises:
        DamagedFileError: the bytes are no model.
        NestingError: its graphs are nested too deep.
        OSError: the file cannot be read.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    with path.open("rb") as file:
        large = path.stat().st_size > SMALL_FILE
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if large else file.read(SMALL_FILE))
    try:
        if large:
            return _parsed(whole, _Cut(SMALL_MESSAGE, values=True))
        model: ModelProto = ModelProto.FromString(whole.obj)
        return model
    except DecodeError:
        pass  # it may be nested too deep for protobuf
    try:
        return _parsed(whole, _Cut(_SHALLOW_MESSAGE, values=large))
    except DecodeError as error:
        raise DamagedFileError(str(error)) from None


def _parsed(whole: memoryview, cut: _Cut) -> ModelProto:
    """The model, its deeper bodies parsed on their own and put in their places."""
    from onnx import ModelProto

    model: ModelProto = ModelProto.FromString(b"".join(_stripped(whole, "model", cut, 0)))
    levels = [model.graph.node, *(function.node for function in model.functions)]
    depth = 0
    while levels:
        depth += 1
        if depth > MOST_NESTED:
            raise NestingError(f"graphs are nested more than {MOST_NESTED} deep")
        make_room(depth)
        bodies = [body for nodes in levels for body in _bodies(nodes)]
        for body in bodies:
            if body.name in cut.bodies:
                piece = cut.bodies.pop(body.name)
                body.Clear()
                body.MergeFromString(b"".join(_stripped(piece, "body", cut, 0)))
        levels = [body.node for body in bodies]
    return model


def _bodies(nodes: Iterable[NodeProto]) -> Iterator[GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _stripped(message: memoryview, kind: str, cut: _Cut, depth: int) -> Iterator[bytes]:
    """The message's fields, those that are large messages themselves without what is to be left out of them.

    ``depth`` counts the bodies around it that are parsed together with it.
    """
    inner = _MESSAGES[kind]
    copied = 0
    for number, start, body, end in _fields(message):
        if number not in inner or end - body <= cut.smallest:
            continue
        yield bytes(message[copied:start])
        copied = end
        yield _field(number, _reduced(message[body:end], inner[number], cut, depth))
    yield bytes(message[copied:])


def _reduced(message: memoryview, kind: str, cut: _Cut, depth: int) -> bytes:
    if kind == "tensor":
        return b"".join(_without_values(message)) if cut.values else bytes(message)
    if kind == "body":
        depth += 1
        if depth > _TOGETHER:
            return cut.placeholder(message)
    return b"".join(_stripped(message, kind, cut, depth))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LEN) + _varint(len(content)) + content


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
