"""A kernel of ours together with the names that a runtime's profile can be joined by."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernel import Kernel

__all__ = ["Described"]


@dataclass(frozen=True, slots=True)
class Described:
    """A predicted kernel and what its operations are called in the source model.

    ``results`` are the names of the values that its operations produce, those that stay inside it too; ``nodes`` the
    source's names of its operations; ``operands`` the names of the values that it reads from outside, constants left
    out. Runtimes name what they execute after one of these.
    """

    kernel: Kernel
    results: tuple[str, ...]
    nodes: tuple[str, ...]
    operands: tuple[str, ...] = ()
