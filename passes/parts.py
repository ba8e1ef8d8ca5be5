"""A kernel's primitives, each with the operation that it belongs to and the bytes that it moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..calibration.kernel import Kernel
from ..calibration.lookup import moved_bytes
from ..ir import Op
from ..ir.primitives import Primitive
from .fuse import kernel_ops, main_op
from .lower import Work

__all__ = ["Part", "parts_of"]


@dataclass(frozen=True, slots=True)
class Part:
    """One primitive of a kernel, and the bytes that it reads and writes, whether they leave the kernel or not."""

    op: Op
    primitive: Primitive
    bytes: int


def parts_of(op: Op, kernel: Kernel) -> Iterator[Part]:
    """Return the primitives of ``op``, a lowered top-level operation that calibration sees as ``kernel``.

    An operation's bytes are its only primitive's; where it has several, each is given those that its sizes imply.
    """
    if kernel.primitives != op.facts[Work].primitives:  # it was described by other work than it was lowered to
        yield from (Part(main_op(op), primitive, moved_bytes(primitive)) for primitive in kernel.primitives)
        return
    for inner in kernel_ops(op):
        work = inner.facts[Work]
        for primitive in work.primitives:
            yield Part(inner, primitive, work.bytes if len(work.primitives) == 1 else moved_bytes(primitive))
