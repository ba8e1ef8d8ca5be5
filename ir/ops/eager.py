"""What an eager framework makes of a file's operators: views of strides, and biases added by kernels of their own."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Op
from ..primitives import Elementwise, Primitive
from ..registry import Kind, OpDef, add, define
from ..types import Type
from .reading import elements, tensor, view

__all__ = ["BIAS", "STRIDED"]

STRIDED = "graphs.strided"
"""A view of what another operator would copy: it moves nothing, and says how its operand is to be read."""

BIAS = "graphs.bias"
"""A bias for each channel, added to the result of a convolution."""


def _as_they_are(op: Op) -> tuple[Type, ...]:
    return tuple(value.type for value in op.results)


add(OpDef(STRIDED, Kind.VIEW, view, _as_they_are, doc="A view of its operand's memory.", aliases=True))


def _as_the_operand(op: Op) -> tuple[Type, ...]:
    return (tensor(op, 0),)


@define(BIAS, kind=Kind.ELEMENTWISE, infer=_as_the_operand)
def bias(op: Op) -> Iterable[Primitive]:
    """An addition for each element."""
    return (Elementwise("add", elements(op), tensor(op, 0).dtype),)
