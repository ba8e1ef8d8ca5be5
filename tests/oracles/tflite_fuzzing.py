"""Runs the tool over broken TFLite files: flipped bytes, and offsets, lengths and fields as no converter writes them.

    python tests/oracles/tflite_fuzzing.py FIRST_SEED COUNT

As :mod:`fuzzing`, which says what a failure is; the files are small, so that most bytes are structure.
"""

from __future__ import annotations

import random
import struct
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tflite_seeds
from fuzzing import fuzz
from mutations import damaged

__all__ = ["broken_tflite"]

_OFFSETS = (0, 1, 2, 3, 4, 8, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFC, 0x10000, 0xFFFF)
_SHORTS = (0, 1, 2, 3, 4, 6, 8, 0x7FFF, 0x8000, 0xFFFF)


def broken_tflite(seed: int) -> bytes:
    """The file that belongs to a seed."""
    chance = random.Random(seed)
    content = chance.choice(_seeds())
    if seed % 5 == 0:
        return damaged(content, seed)
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        _edit(data, chance)
    return bytes(data)


@cache
def _seeds() -> tuple[bytes, ...]:
    return tflite_seeds.files()


def _edit(data: bytearray, chance: random.Random) -> None:
    """One field, offset, length or vtable entry changed."""
    match chance.randrange(4):
        case 0:
            at = 4 * chance.randrange(len(data) // 4)
            struct.pack_into("<I", data, at, chance.choice(_OFFSETS))
        case 1:
            at = 4 * chance.randrange(len(data) // 4)
            near = struct.unpack_from("<I", data, at)[0] + chance.choice((-8, -4, -1, 1, 4, 8, 64))
            struct.pack_into("<I", data, at, near & 0xFFFFFFFF)
        case 2:
            at = 2 * chance.randrange(len(data) // 2)
            struct.pack_into("<H", data, at, chance.choice(_SHORTS))
        case _:
            data[chance.randrange(len(data))] = chance.randrange(256)


if __name__ == "__main__":
    sys.exit(fuzz(int(sys.argv[1]), int(sys.argv[2]), broken_tflite))
