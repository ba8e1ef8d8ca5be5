"""Mixtures of experts: of many feed-forward networks each token goes through a few, which a router chooses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

from ..graph import Op
from ..primitives import Elementwise, Gemm, Normalization, Primitive, Reduction, Softmax
from ..registry import Kind, Lowering, define
from ..types import DType, TensorType, Type
from .elementwise import activation_ops
from .reading import (
    dim_product,
    dims,
    integer,
    is_constant,
    largest,
    ranked,
    same_type,
    size,
    smallest,
    tensor,
    text,
)

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
    hidden, dtype = dims(op, 0)[-1], tensor(op, 0).dtype
    tokens, experts, chosen, used = _routed(op)
    widths = [_width(op, layout, place, experts * hidden) for place in range(3)]
    stored = [index for index in range(2, layout.last + 1) if op.operand(index) is not None]
    return Lowering(
        (
            Softmax(tokens, experts, dtype),
            _best(tokens * experts, tokens, chosen, dtype),
            *_expanded(layout is _PACKED, used * hidden * sum(widths), dtype),
            *_products(tokens * chosen, hidden, widths, dtype, *_activation(op, bool(widths[2]))),
            Elementwise("combine", tokens * chosen * hidden, dtype, 2),
        ),
        _read(op, stored, used, experts),
    )


def _routed(op: Op) -> tuple[int, int, int, int]:
    """Tokens, experts, how many of them each token goes through, and how many are in use at most."""
    tokens, experts, chosen = prod(dims(op, 0)[:-1]), dims(op, 1)[-1], integer(op, "k", 1)
    return tokens, experts, chosen, smallest(experts, tokens * chosen)


def _best(scores: int, rows: int, chosen: int, dtype: DType) -> Reduction:
    """The ``chosen`` best of each row's scores."""
    return Reduction("topk", scores, rows * chosen, dtype, chosen.bit_length())


def _read(op: Op, stored: Iterable[int], used: int, experts: int) -> dict[int, int]:
    """Of the experts' operands the bytes of those in use."""
    return {index: (tensor(op, index).bytes or 0) * used // largest(1, experts) for index in stored}


def _width(op: Op, layout: _Layout, place: int, rows: int) -> int:
    """How many columns one of an expert's matrices has beside its ``hidden`` ones; none where it is absent."""
    index = layout.matrices[place]
    if op.operand(index) is None:
        return 0
    bits = integer(op, "expert_weight_bits", 4) if layout is _PACKED else 0
    packing = 8 // (integer(op, f"fc{place + 1}_expert_weight_bits", 0) or bits) if bits else 1
    return size(op, index) * packing // largest(1, rows)


def _expanded(packed: bool, weights: int, dtype: DType) -> tuple[Primitive, ...]:
    return (Elementwise("dequantize", weights, dtype, _DEQUANTIZE_OPS),) if packed else ()


def _activation(op: Op, gated: bool) -> tuple[str, int]:
    """The activation's name and its operations for each element, the product with a gate among them."""
    name = text(op, "activation_type", "relu")
    return name, max(1, activation_ops(name) + (1 if gated else 0))


def _products(
    rows: int, hidden: int, widths: Sequence[int], dtype: DType, activation: str, per_element: int
) -> tuple[Primitive, ...]:
    """Up, gate where there is one (a matrix of its own, or half of the first), activation, down."""
    up, inner, gate = widths
    products = [Gemm(rows, width, hidden, dtype, weight=True) for width in (up, gate) if width]
    activated = Elementwise(activation, rows * inner, dtype, per_element)
    return (*products, activated, Gemm(rows, hidden, inner, dtype, weight=True))


@define("com.microsoft.MoEPacked", kind=Kind.CONTRACTION, infer=same_type)
def packed_mixture(op: Op) -> Lowering:
    """A mixture whose weights are rows of packed bytes; operand 5, where given, has the weights to mix by.

    The gate goes through a squared Relu, or with operand 3 through SwiGLU (com.microsoft.MoEPacked-1).
    """
    hidden, inner, dtype = dims(op, 0)[-1], dims(op, 2)[1], tensor(op, 0).dtype
    tokens, experts, chosen, used = _routed(op)
    gated = op.operand(3) is not None
    activation = ("swiglu", activation_ops("silu") + 1) if gated else ("relu2", activation_ops("relu2"))
    scores = tensor(op, 1).dtype
    routing: tuple[Primitive, ...] = (_best(tokens * experts, tokens, chosen, scores),)
    if op.operand(5) is None:
        routing = (Softmax(tokens, experts, scores), *routing)
    elif integer(op, "normalize_routing_weights", 1):
        routing = (*routing, Normalization(tokens, chosen, scores, _SHARE_OPS))
    return Lowering(
        (
            *routing,
            *_expanded(True, used * hidden * inner * (3 if gated else 2), dtype),
            *_products(tokens * chosen, hidden, (inner, inner, inner if gated else 0), dtype, *activation),
            Elementwise("combine", tokens * chosen * hidden, dtype, 2),
        ),
        _read(op, [index for index in (2, 3, 4) if op.operand(index) is not None], used, experts),
    )


_SHARE_OPS = 2
"""What is mixed by is brought to a sum of one: a sum, a product."""


def _router_types(op: Op) -> tuple[Type, ...] | None:
    """Routed scores in the operand's type, or scores and mixing values in 32 bits: one row for each token."""
    x, bias = ranked(op, 0), ranked(op, 1)
    if x is None or bias is None:
        return None
    shape = (dim_product(x[1][:-1]), bias[1][0])
    types = [TensorType(dtype, shape) for dtype in (x[0], DType.F32, DType.F32)]
    return tuple(types[: len(op.results)])


@define("com.microsoft.MoEGroupRouter", kind=Kind.REDUCTION, infer=_router_types)
def group_router(op: Op) -> Lowering:
    """Sigmoid scores and their biases; then the best groups of experts, by their best scores, and the best of these.

    Operand 2, where given, projects to the scores. With more than one result scores and mixing values are handed on as
    they are, and nothing is chosen (com.microsoft.MoEGroupRouter-1).
    """
    tokens, experts, dtype = prod(dims(op, 0)[:-1]), dims(op, 1)[0], tensor(op, 0).dtype
    work: list[Primitive] = []
    if op.operand(2) is not None:
        work.append(Gemm(tokens, experts, dims(op, 0)[-1], dtype, weight=is_constant(op, 2)))
    work.append(Elementwise("sigmoid", tokens * experts, dtype, activation_ops("sigmoid") + 1))
    if len(op.results) > 1:
        return Lowering(tuple(work), writes={0: 0})
    groups, kept, chosen = (integer(op, name, 1) for name in ("n_group", "topk_group", "top_k"))
    in_group = smallest(integer(op, "group_topk", 2), largest(1, experts // groups))
    if groups > 1:
        work.append(_best(tokens * experts, tokens * groups, in_group, dtype))
        work.append(Reduction("sum", tokens * groups * in_group, tokens * groups, dtype))
        work.append(_best(tokens * groups, tokens, kept, dtype))
    work.append(_best(tokens * experts * kept // groups, tokens, chosen, dtype))
    work.append(Elementwise("log", tokens * chosen, dtype, 2))
    return Lowering(tuple(work))
