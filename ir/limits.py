"""What nothing real exceeds: files come from anywhere, and numbers beyond these would stop arithmetic or the stack."""

from __future__ import annotations

import sys

from .types import OptionalType, SequenceType, TensorType, Type

__all__ = ["MOST_ELEMENTS", "MOST_NESTED", "MOST_WORK", "make_room", "possible"]

MOST_ELEMENTS = 2**200
"""Elements of a tensor: three extents of 2^63 and more, which Python's integers count exactly."""

MOST_WORK = 2**300
"""Operations or bytes of one operation: far above any network, and its square far below what a float holds."""

MOST_NESTED = 256
"""Graphs inside each other. Walking them takes some of the interpreter's stack for each."""

_USUAL_FRAMES, _FRAMES = 1000, 25


def make_room(nested: int) -> None:
    """Let the interpreter's stack hold a walk over ``nested`` graphs inside each other."""
    needed = _USUAL_FRAMES + _FRAMES * min(nested, MOST_NESTED)
    if sys.getrecursionlimit() < needed:
        sys.setrecursionlimit(needed)


def possible(type_: Type) -> bool:
    """Whether a value of this type can exist: no extent is negative, and a tensor can have that many elements.

    Open extents count as one, and so do extents of zero: what an operator makes of the others must be finite too.
    """
    while isinstance(type_, SequenceType | OptionalType):
        type_ = type_.element
    elements = 1
    for dim in (type_.shape if isinstance(type_, TensorType) else None) or ():
        if isinstance(dim, int):
            if dim < 0:
                return False
            elements *= dim or 1
    return elements <= MOST_ELEMENTS
