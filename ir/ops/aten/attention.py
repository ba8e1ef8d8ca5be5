"""ATen's attention as one operator: what ``scaled_dot_product_attention`` and the kernels behind it compute."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from ...graph import Op
from ...primitives import Gemm, Primitive
from ...registry import Kind
from ..attention import Heads
from ..reading import dims, integer, tensor
from .reading import enter, flag, is_weight

__all__: list[str] = []


def _heads(op: Op) -> Heads:
    """Operands are (…, heads, sequence, size); with grouped queries key and value have fewer heads."""
    q, k, v = dims(op, 0), dims(op, 1), dims(op, 2)
    heads, kv_heads = (q[-3], k[-3]) if len(q) > 2 else (1, 1)
    return Heads(prod(q[:-3]), heads, kv_heads, q[-2], k[-2], q[-1], v[-1], tensor(op, 0).dtype)


def _attention(mask: int | None) -> Callable[[Op], tuple[Primitive, ...]]:
    def lower(op: Op) -> tuple[Primitive, ...]:
        masked = mask is not None and op.operand(mask) is not None
        return _heads(op).primitives(masked + flag(op, "is_causal"))

    return lower


_DOC = "Scores, scaling and masks, softmax, values; a causal mask saves no work here."
enter("scaled_dot_product_attention _scaled_dot_product_attention_math", Kind.CONTRACTION, _attention(3), _DOC)
enter(
    "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable",
    Kind.CONTRACTION,
    _attention(3),
    _DOC,
)


def _native_multi_head(op: Op) -> tuple[Primitive, ...]:
    """Query, key and value; a packed projection of all three, attention, and a projection of what comes out."""
    q, k = dims(op, 0), dims(op, 1)
    width, heads = integer(op, "embed_dim", q[-1]), integer(op, "num_head", 1)
    batch, dtype, size = q[0], tensor(op, 0).dtype, width // heads
    sizes = Heads(batch, heads, heads, q[1], k[1], size, size, dtype)
    projections = [
        Gemm(batch * rows, width, width, dtype, weight=is_weight(op, 3)) for rows in (q[1], k[1], k[1], q[1])
    ]
    return (*projections[:3], *sizes.primitives(int(op.operand(7) is not None)), projections[3])


enter("_native_multi_head_attention", Kind.CONTRACTION, _native_multi_head, "Projections and attention as one kernel.")
