"""Damage at the level of protobuf's wire format, without regard to what the fields mean.

A message is taken apart into fields as far as its bytes can be read that way; fields are then dropped, repeated, moved,
renumbered, nested into themselves or given extreme numbers, and everything around them stays well formed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["rewired"]

_EXTREMES = (0, 1, 2, 3, 127, 128, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 2)
_TEXTS = (
    b"", b"\x1b[31mred\x1b]0;title\x07", b"two\nlines\r\n", b"\xff\xfe", b"\x00", b"../../etc/passwd", b"/dev/zero",
    "\u202egnp.exe".encode(), b"a,b\"c'=1+1;%s{}", b"x" * 70_000, b"=cmd()", b"<b>&amp;</b>", b"\\", b"None", b"-1",
)  # fmt: skip
_DEEPEST = 60
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5


@dataclass(slots=True)
class _Field:
    """A field: a number, bytes of fixed width or of any length, or, where these read as a message, its fields."""

    number: int
    wire: int
    value: int | bytes = 0
    inner: list[_Field] | None = field(default=None)


def rewired(content: bytes, seed: int) -> bytes:
    """The message with one to three fields, at any depth, not what they were."""
    chance = random.Random(seed)
    message = _parsed(content, 0)
    if not message:
        return content
    for _ in range(chance.randrange(1, 4)):
        _change(message, chance)
    return b"".join(_encoded(message))


def _change(message: list[_Field], chance: random.Random) -> None:
    holders = [message, *_holders(message)]
    holder = chance.choice(holders)
    if not holder:
        return
    at = chance.randrange(len(holder))
    chosen = holder[at]
    match chance.randrange(9):
        case 0:
            del holder[at]
        case 1:
            holder[at:at] = [chosen] * chance.choice([1, 2, 50])
        case 2:
            chance.shuffle(holder)
        case 3:
            chosen.number = chance.randrange(1, 27)
        case 4:
            other = _copied(chance.choice(chance.choice([h for h in holders if h])))
            holder[at] = _Field(chosen.number, other.wire, other.value, other.inner)
        case 5:
            nested = chosen
            for _ in range(chance.choice([1, 5, 45, 150])):
                nested = _Field(chosen.number, _LEN, b"", [nested])
            holder[at] = nested
        case _:
            _set(chosen, chance)


def _set(chosen: _Field, chance: random.Random) -> None:
    """Give a field another value of its kind, or, now and then, of another kind."""
    if chance.random() < 0.1:
        chosen.wire, chosen.inner = chance.choice([_VARINT, _LEN, _I32, _I64]), None
        chosen.value = b"" if chosen.wire != _VARINT else 0
    if chosen.wire == _VARINT:
        chosen.value = chance.choice(_EXTREMES)
    elif chosen.wire in (_I64, _I32):
        chosen.value = chance.randbytes(8 if chosen.wire == _I64 else 4)
    elif chosen.inner is not None and chance.random() < 0.5:
        chosen.inner = []
    else:
        chosen.inner = None
        packed = b"".join(_varint(chance.choice(_EXTREMES)) for _ in range(chance.choice([1, 2, 4, 500])))
        chosen.value = chance.choice([*_TEXTS, packed, packed])


def _copied(item: _Field) -> _Field:
    inner = None if item.inner is None else [_copied(part) for part in item.inner]
    return _Field(item.number, item.wire, item.value, inner)


def _holders(message: list[_Field]) -> Iterator[list[_Field]]:
    for item in message:
        if item.inner is not None:
            yield item.inner
            yield from _holders(item.inner)


def _parsed(content: bytes, depth: int) -> list[_Field] | None:
    """The fields of a message, ``None`` where the bytes are none."""
    fields: list[_Field] = []
    at = 0
    while at < len(content):
        tag, at = _read_varint(content, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1000 or wire not in (_VARINT, _I64, _LEN, _I32):
            return None
        if wire == _VARINT:
            value, at = _read_varint(content, at)
            fields.append(_Field(number, wire, value))
            continue
        length = {_I64: 8, _I32: 4}.get(wire, 0)
        if wire == _LEN:
            length, at = _read_varint(content, at)
        piece, at = content[at : at + length], at + length
        if at > len(content):
            return None
        inner = _parsed(piece, depth + 1) if wire == _LEN and piece and depth < _DEEPEST else None
        fields.append(_Field(number, wire, piece, inner))
    return fields


def _encoded(message: list[_Field]) -> Iterator[bytes]:
    for item in message:
        yield _varint(item.number << 3 | item.wire)
        if item.wire == _VARINT:
            assert isinstance(item.value, int)
            yield _varint(item.value)
            continue
        content = item.value if item.inner is None else b"".join(_encoded(item.inner))
        assert isinstance(content, bytes)
        if item.wire == _LEN:
            yield _varint(len(content))
            yield content
        else:
            yield content.ljust(8 if item.wire == _I64 else 4, b"\0")


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content) and shift < 64:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    return 0, len(content) + 1


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
