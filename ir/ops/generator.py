"""Operators that draw random numbers."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Op
from ..onnx_types import dtype_of
from ..primitives import Elementwise, Primitive
from ..registry import Kind, Lowering, define
from ..types import DType, TensorType, Type
from .reading import elements, integers, typed

__all__: list[str] = []

# A counter-based generator (Philox) takes about ten integer operations for each number; a normal one adds a logarithm,
# a root, a cosine and two products (Box-Muller).
_UNIFORM_OPS = 10
_NORMAL_OPS = 15


def _dtype(op: Op) -> DType:
    type_ = op.results[0].type
    return type_.dtype if isinstance(type_, TensorType) else DType.F32


def _random_types(op: Op) -> tuple[Type, ...] | None:
    like, chosen = typed(op, 0), op.attributes.get("dtype")
    if isinstance(chosen, TensorType):
        dtype = chosen.dtype
    else:
        dtype = dtype_of(chosen) if isinstance(chosen, int) else like.dtype if like else DType.F32
    return (TensorType(dtype, like.shape if like else integers(op, "shape", ())),)


@define("onnx.RandomUniform", "onnx.RandomUniformLike", kind=Kind.ELEMENTWISE, infer=_random_types)
def uniform(op: Op) -> Lowering:
    """A random number for each element; an operand gives only its shape."""
    return Lowering(
        (Elementwise("random_uniform", elements(op), _dtype(op), _UNIFORM_OPS),), {0: 0} if op.operands else {}
    )


@define("onnx.RandomNormal", "onnx.RandomNormalLike", kind=Kind.ELEMENTWISE, infer=_random_types)
def normal(op: Op) -> Lowering:
    """A normal random number for each element; an operand gives only its shape."""
    return Lowering(
        (Elementwise("random_normal", elements(op), _dtype(op), _NORMAL_OPS),), {0: 0} if op.operands else {}
    )


@define("onnx.Bernoulli", kind=Kind.ELEMENTWISE, infer=_random_types)
def bernoulli(op: Op) -> Iterable[Primitive]:
    """A random number and a comparison for each element."""
    return (Elementwise("bernoulli", elements(op), _dtype(op), _UNIFORM_OPS + 1),)
