"""Mixtures of experts: of many feed-forward networks each token goes through a few, which a router chooses."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..graph import Op
from ..primitives import Elementwise, Gemm, Primitive, Reduction, Softmax
from ..registry import Kind, Lowering, define
from ..types import DType
from .elementwise import activation_ops
from .reading import dims, integer, largest, same_type, size, smallest, tensor, text

__all__: list[str] = []

_DEQUANTIZE_OPS = 2
"""Subtract the zero point, multiply by the scale."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which operands hold the experts' two or three matrices, and up to which one operands are theirs."""

    matrices: tuple[int, int, int]
    last: int


_PLAIN, _PACKED = _Layout((2, 4, 6), 7), _Layout((2, 5, 8), 13)


@define("com.microsoft.MoE", "com.microsoft.QMoE", kind=Kind.CONTRACTION, infer=same_type)
def mixture_of_experts(op: Op) -> Lowering:
    """Each token goes through its ``k`` experts only; of the weights those of the experts in use are read.

    QMoE's operand 1 gives the router's scores as MoE's does; its weights are packed in a few bits, with scales and zero
    points, and expanded once for each expert in use.
    """
    layout = _PACKED if op.base_name == "QMoE" else _PLAIN
    x, (*_, experts) = dims(op, 0), dims(op, 1)
    hidden, chosen, dtype = x[-1], integer(op, "k", 1), tensor(op, 0).dtype
    tokens = prod(x[:-1])
    used = smallest(experts, tokens * chosen)
    widths = [_width(op, layout, place, experts * hidden) for place in range(3)]
    stored = [index for index in range(2, layout.last + 1) if op.operand(index) is not None]
    return Lowering(
        (
            Softmax(tokens, experts, dtype),
            Reduction("topk", tokens * experts, tokens * chosen, dtype, chosen.bit_length()),
            *_expanded(layout, used * hidden * sum(widths), dtype),
            *_products(op, tokens * chosen, hidden, widths, dtype),
            Elementwise("combine", tokens * chosen * hidden, dtype, 2),
        ),
        {index: (tensor(op, index).bytes or 0) * used // largest(1, experts) for index in stored},
    )


def _width(op: Op, layout: _Layout, place: int, rows: int) -> int:
    """How many columns one of an expert's matrices has beside its ``hidden`` ones; none where it is absent."""
    index = layout.matrices[place]
    if op.operand(index) is None:
        return 0
    bits = integer(op, "expert_weight_bits", 4) if layout is _PACKED else 0
    packing = 8 // (integer(op, f"fc{place + 1}_expert_weight_bits", 0) or bits) if bits else 1
    return size(op, index) * packing // largest(1, rows)


def _expanded(layout: _Layout, weights: int, dtype: DType) -> tuple[Primitive, ...]:
    return (Elementwise("dequantize", weights, dtype, _DEQUANTIZE_OPS),) if layout is _PACKED else ()


def _products(op: Op, rows: int, hidden: int, widths: list[int], dtype: DType) -> tuple[Primitive, ...]:
    """Up, gate where there is one (a matrix of its own, or half of the first), activation, down."""
    up, inner, gate = widths
    activation = text(op, "activation_type", "relu")
    per_element = activation_ops(activation) + (1 if gate else 0)
    products = [Gemm(rows, width, hidden, dtype, weight=True) for width in (up, gate) if width]
    activated = Elementwise(activation, rows * inner, dtype, max(1, per_element))
    return (*products, activated, Gemm(rows, hidden, inner, dtype, weight=True))
