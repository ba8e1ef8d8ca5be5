"""A kernel at another batch: what a network's graph at batch 1 says of the same network at batch 16."""

from __future__ import annotations

from dataclasses import replace

from ...ir.primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Scan,
    Softmax,
    Unknown,
    Window,
)
from ..kernel import Kernel

__all__ = ["with_batch"]

_GROWS: dict[type, tuple[str, ...]] = {
    Conv: ("batch",),
    Elementwise: ("elements",),
    Reduction: ("elements", "results"),
    Softmax: ("rows",),
    Normalization: ("groups",),
    Copy: ("elements",),
    Gather: ("rows",),
    Window: ("results",),
    Scan: ("elements",),
    Unknown: (),
}
"""The sizes of each primitive that grow with the batch; those of a GEMM depend on what it multiplies."""


def with_batch(kernel: Kernel, batch: int) -> Kernel:
    """Return ``kernel``, which is of batch 1, at ``batch``: activations grow with it, weights do not."""
    if batch == 1:
        return kernel
    return replace(
        kernel,
        primitives=tuple(_scaled(primitive, batch) for primitive in kernel.primitives),
        read_bytes=kernel.read_bytes * batch,
        write_bytes=kernel.write_bytes * batch,
    )


def _scaled(primitive: Primitive, batch: int) -> Primitive:
    if isinstance(primitive, Gemm):
        if primitive.weight and primitive.batch == 1:
            return replace(primitive, m=primitive.m * batch)
        return replace(primitive, batch=primitive.batch * batch)
    grown = {name: getattr(primitive, name) * batch for name in _GROWS[type(primitive)]}
    return replace(primitive, **grown) if grown else primitive
