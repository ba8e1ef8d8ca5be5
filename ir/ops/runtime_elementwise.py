"""Elementwise operators that onnxruntime's own optimiser makes (``com.microsoft``)."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Op
from ..primitives import Elementwise, Primitive
from ..registry import Kind, Lowering, OpDef, add, define
from ..types import DType, Type
from .elementwise import broadcast_types, elementwise, elementwise_lowering
from .reading import elements, number, ranked, ratio, same_type, size, tensor, typed, view, with_shape

__all__ = ["clamped_swiglu_ops"]


@define("com.microsoft.BiasGelu", kind=Kind.ELEMENTWISE, infer=broadcast_types)
def bias_gelu(op: Op) -> Iterable[Primitive]:
    """Add, Gelu."""
    return elementwise(op, "bias_gelu", 6)


@define("com.microsoft.FastGelu", kind=Kind.ELEMENTWISE, infer=broadcast_types)
def fast_gelu(op: Op) -> Iterable[Primitive]:
    """Gelu by tanh, after an optional bias."""
    return elementwise(op, "fast_gelu", 9 + (op.operand(1) is not None))


@define("com.microsoft.Gelu", kind=Kind.ELEMENTWISE, infer=same_type)
def contrib_gelu(op: Op) -> Iterable[Primitive]:
    """Gelu by erf."""
    return elementwise(op, "gelu", 5)


@define("com.microsoft.QuickGelu", kind=Kind.ELEMENTWISE, infer=same_type)
def quick_gelu(op: Op) -> Iterable[Primitive]:
    """x·sigmoid(alpha·x)."""
    return elementwise(op, "quick_gelu", 5)


# Operations per element: bias and Gelu of one half, times the other; a complex product's four products and two sums,
# over two elements; sigmoid and two products; a gate's product and a sum; softplus of a sum, scaled; Gelu of an integer
# scaled in and out.
for _name, _per_element in (
    ("BiasSplitGelu", 7),
    ("ComplexMul", 3),
    ("ComplexMulConj", 3),
    ("ScaledSiLU", 5),
    ("GatedAdd", 2),
    ("LinearAttentionGate", 5),
    ("QOrderedGelu", 7),
):
    _doc = f"{_per_element} operations per element."
    _lower = elementwise_lowering(_name.lower(), _per_element)
    _infer = None if _name == "BiasSplitGelu" else same_type
    add(OpDef(f"com.microsoft.{_name}", Kind.ELEMENTWISE, _lower, _infer, None, _doc))


@define("com.microsoft.BiasAdd", kind=Kind.ELEMENTWISE, infer=same_type)
def bias_add(op: Op) -> Iterable[Primitive]:
    """A bias and a residual added."""
    return elementwise(op, "add", 1 + (op.operand(2) is not None))


@define("com.microsoft.BiasDropout", "com.microsoft.BitmaskBiasDropout", kind=Kind.ELEMENTWISE)
def bias_dropout(op: Op) -> Lowering:
    """A bias and an optional residual added; at inference nothing is dropped and the mask not written."""
    added = Elementwise("add", elements(op), tensor(op, 0).dtype, 1 + (op.operand(2) is not None))
    return Lowering((added,), writes=dict.fromkeys(range(1, len(op.results)), 0))


@define("com.microsoft.MulInteger", kind=Kind.ELEMENTWISE)
def mul_integer(op: Op) -> Iterable[Primitive]:
    """Both zero points subtracted, then a product."""
    return (Elementwise("mul", elements(op), DType.I32, 3),)


@define("com.microsoft.BitmaskDropout", kind=Kind.VIEW, infer=same_type)
def bitmask_dropout(op: Op) -> Lowering:
    """Hands its operand on: at inference nothing is dropped."""
    return view(op)


@define("com.microsoft.GemmaRotaryEmbedding", kind=Kind.ELEMENTWISE)
def gemma_rotary_embedding(op: Op) -> Iterable[Primitive]:
    """Sine and cosine of the angles; for query and key two products and a sum for each element."""
    turned = elements(op, 0) + elements(op, 1)
    angles = Elementwise("sin_cos", size(op, 0), tensor(op, 0).dtype, 2)
    return (angles, Elementwise("rotary", turned, tensor(op, 1).dtype, 3))


def clamped_swiglu_ops(op: Op) -> int:
    """Operations for each result of a SwiGLU (com.microsoft.SwiGLU-1).

    Sigmoid and two products; one for each of ``activation_alpha`` and ``activation_beta`` that changes something, three
    for the bounds where there is a ``limit``.
    """
    scaled, shifted = number(op, "activation_alpha", 1.0) != 1.0, number(op, "activation_beta", 0.0) != 0.0
    return 5 + scaled + shifted + (3 if number(op, "limit", 0.0) > 0 else 0)


def _gated_types(op: Op) -> tuple[Type, ...] | None:
    """The gate's type; without operand 1 the gate holds both halves side by side."""
    gate = ranked(op, 0)
    if gate is None or op.operand(1) is not None:
        given = typed(op, 0)
        return None if given is None else (given,)
    return with_shape(op, (*gate[1][:-1], ratio(gate[1][-1:], (2,))))


@define("com.microsoft.SwiGLU", kind=Kind.ELEMENTWISE, infer=_gated_types)
def clamped_swiglu(op: Op) -> Iterable[Primitive]:
    """swish(gate)·up, bounded: five operations per element of the result, up to ten with bounds, alpha and beta."""
    return elementwise(op, "swiglu", clamped_swiglu_ops(op))
