"""Mixtures of experts: of many feed-forward networks each token goes through a few, which a router chooses."""

from __future__ import annotations

from math import prod

from ..graph import Op
from ..primitives import Elementwise, Gemm, Reduction, Softmax
from ..registry import Kind, Lowering, define
from .elementwise import activation_ops
from .reading import dims, integer, same_type, size, tensor, text

__all__: list[str] = []


@define("com.microsoft.MoE", "com.microsoft.QMoE", kind=Kind.CONTRACTION, infer=same_type)
def mixture_of_experts(op: Op) -> Lowering:
    """Each token goes through its ``k`` experts only; of the weights those of the experts in use are read.

    QMoE's operand 1 gives the router's scores as MoE's does; its weights are packed and carry scales.
    """
    quantized = op.base_name == "QMoE"
    first, second, third = (2, 5, 8) if quantized else (2, 4, 6)
    x, router = dims(op, 0), dims(op, 1)
    hidden, experts, chosen = x[-1], router[-1], integer(op, "k", 1)
    routed = prod(x[:-1]) * chosen
    dtype, activation = tensor(op, 0).dtype, text(op, "activation_type", "relu")
    packing = 8 // integer(op, "expert_weight_bits", 4) if quantized else 1
    inner = size(op, second) * packing // max(1, experts * hidden)
    fan_out = size(op, first) * packing // max(1, experts * hidden)
    gated = (Gemm(routed, inner, hidden, dtype, weight=True),) if op.operand(third) is not None else ()
    weights = [index for index in (first, second, third) if op.operand(index) is not None]
    used = min(experts, routed)
    return Lowering(
        (
            Softmax(prod(router[:-1]), experts, dtype),
            Reduction("topk", prod(router), prod(router[:-1]) * chosen, dtype, chosen.bit_length()),
            Gemm(routed, fan_out, hidden, dtype, weight=True),
            *gated,
            Elementwise(activation, routed * inner, dtype, max(1, activation_ops(activation))),
            Gemm(routed, hidden, inner, dtype, weight=True),
            Elementwise("combine", routed * hidden, dtype, 2),
        ),
        {index: (tensor(op, index).bytes or 0) * used // max(1, experts) for index in weights},
    )
