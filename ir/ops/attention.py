"""Attention as one operator, and rotary embeddings: what transformers are fused to.

Every attention comes down to :class:`Heads`: the scores' product, a softmax, the values' product. A causal mask or a
local window saves no work here: it is counted as a mask over all queries and keys, since whether a kernel skips what is
masked is up to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from ..graph import Op
from ..primitives import Copy, Elementwise, Gemm, Primitive, Softmax
from ..registry import Kind, Lowering, define, lowering
from ..types import Dim, DType, TensorType, Type
from .reading import (
    dims,
    elements,
    integer,
    number,
    ranked,
    ratio,
    same_type,
    smallest,
    tensor,
    text,
)

__all__ = ["ROTARY_OPS", "Heads"]


@dataclass(frozen=True, slots=True)
class Heads:
    """Sizes of one attention: ``queries`` positions attend ``keys`` positions in each of ``heads`` heads."""

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_size: int
    value_size: int
    dtype: DType

    def primitives(self, masks: int = 0, softcap: bool = False, copied: int = 0) -> tuple[Primitive, ...]:
        """Scores, scaling and ``masks`` added, softmax, values; ``copied`` elements are put into a cache."""
        pairs = self.batch * self.heads
        scores = pairs * self.queries * self.keys
        cached = (Copy(copied, self.dtype),) if copied else ()
        capped = (Elementwise("softcap", scores, self.dtype, 3),) if softcap else ()
        return (
            *cached,
            Gemm(self.queries, self.keys, self.head_size, self.dtype, pairs),
            Elementwise("scale_mask", scores, self.dtype, 1 + masks),
            *capped,
            Softmax(pairs * self.queries, self.keys, self.dtype),
            Gemm(self.queries, self.value_size, self.keys, self.dtype, pairs),
        )


# -- onnx -------------------------------------------------------------------------------------------------------------


def _onnx_heads(op: Op) -> Heads:
    """Operands are (batch, heads, sequence, size), or (batch, sequence, heads·size) with the heads as attributes."""
    q, k, v = dims(op, 0), dims(op, 1), dims(op, 2)
    past = dims(op, 4)[2] if op.operand(4) is not None else 0
    dtype = tensor(op, 0).dtype
    if len(q) == 4:
        return Heads(q[0], q[1], k[1], q[2], past + k[2], q[3], v[3], dtype)
    heads, kv_heads = integer(op, "q_num_heads", 1), integer(op, "kv_num_heads", 1)
    return Heads(q[0], heads, kv_heads, q[1], past + k[1], q[2] // heads, v[2] // kv_heads, dtype)


def _attention_types(op: Op) -> tuple[Type, ...] | None:
    """Result, present key and value, and the scores, laid out as query, key and value are."""
    q, k, v, past = (ranked(op, index) for index in (0, 1, 2, 4))
    if q is None or k is None or v is None or not len(q[1]) == len(k[1]) == len(v[1]) in (3, 4):
        return None
    heads, kv_heads = integer(op, "q_num_heads", 1), integer(op, "kv_num_heads", 1)
    if len(q[1]) == 4:
        query, key, value = q[1], k[1], v[1]
    else:
        query, key, value = (
            (shape[0], count, shape[1], ratio((shape[2],), (count,)))
            for shape, count in ((q[1], heads), (k[1], kv_heads), (v[1], kv_heads))
        )
    before: Dim = past[1][2] if past else 0
    total = before + key[2]
    result = (*query[:3], value[3]) if len(q[1]) == 4 else (*q[1][:2], value[3] * heads)
    return (
        TensorType(q[0], result),
        TensorType(k[0], (*key[:2], total, key[3])),
        TensorType(v[0], (*value[:2], total, value[3])),
        TensorType(q[0], (*query[:3], total)),
    )[: len(op.results)]


def _enter_flex(op: Op) -> tuple[tuple[Type | None, ...], ...]:
    """Every region takes scores, or probabilities, of one shape; then captures."""
    q, k = ranked(op, 0), ranked(op, 1)
    scores = TensorType(q[0], (*q[1][:3], k[1][2])) if q and k and len(q[1]) == len(k[1]) == 4 else None
    captured = op.operands[len(op.operands) - integer(op, "captures", 0) :]
    return ((scores, *(value.type if value else None for value in captured)),) * len(op.regions)


@define("ai.onnx.preview.FlexAttention", kind=Kind.CONTRACTION, infer=_attention_types, enter=_enter_flex)
def flex_attention(op: Op) -> Iterable[Primitive]:
    """Attention whose scores and probabilities go through the operation's regions."""
    changed = (lowering(inner).primitives for region in op.regions for inner in region.body)
    return (*_onnx_heads(op).primitives(), *chain.from_iterable(changed))


@define("onnx.Attention", kind=Kind.CONTRACTION, infer=_attention_types, caches=((4, 1), (5, 2)))
def attention(op: Op) -> Iterable[Primitive]:
    """Attention with an optional mask, causal mask and cache (ONNX Attention-23)."""
    heads = _onnx_heads(op)
    masks = (op.operand(3) is not None) + integer(op, "is_causal", 0)
    copied = elements(op, 1) + elements(op, 2) if len(op.results) > 2 and op.operand(4) is not None else 0
    return heads.primitives(masks, number(op, "softcap", 0.0) > 0, copied)


@define("onnx.LinearAttention", "com.microsoft.LinearAttention", kind=Kind.RECURRENT, caches=((3, 1),))
def linear_attention(op: Op) -> Iterable[Primitive]:
    """A state of size×size for each head: an outer product adds to it, a product reads it, for each token in turn.

    The delta rules read it once more; the gated ones scale it.
    """
    batch, tokens, width = dims(op, 0)
    heads, kv_heads = integer(op, "q_num_heads", 1), integer(op, "kv_num_heads", 1)
    key_size, value_size = width // heads, dims(op, 2)[2] // kv_heads
    dtype, rule = tensor(op, 0).dtype, text(op, "update_rule", "gated_delta")
    states = batch * kv_heads
    updates = 2 if "delta" in rule else 1
    yield Gemm(key_size, value_size, 1, dtype, states, steps=tokens)
    if updates == 2:
        yield Gemm(1, value_size, key_size, dtype, states, steps=tokens)
        yield Elementwise("delta", states * tokens * value_size, dtype, 2)
    if "gated" in rule:
        yield Elementwise("decay", states * tokens * key_size * value_size, dtype)
    yield Gemm(1, value_size, key_size, dtype, batch * heads, steps=tokens)


ROTARY_OPS = 3
"""x·cos + x'·sin: two products and a sum."""


def _turned(op: Op) -> int:
    """Elements that are turned: all, or a part of each head."""
    shape = dims(op, 0)
    heads = integer(op, "num_heads", 0)
    head_size = shape[-1] if len(shape) == 4 else shape[-1] // heads if heads else 2 * dims(op, 1)[-1]
    part = integer(op, "rotary_embedding_dim", 0)
    return elements(op) * part // head_size if part else elements(op)


@define(
    "onnx.RotaryEmbedding",
    "com.microsoft.RotaryEmbedding",
    "com.microsoft.MRotaryEmbedding",
    kind=Kind.ELEMENTWISE,
    infer=same_type,
)
def rotary_embedding(op: Op) -> Lowering:
    """Three operations for each element that is turned; of the tables only the rows in use are read."""
    turned, dtype = _turned(op), tensor(op, 0).dtype
    tables = (1, 2) if op.dialect == "onnx" else (2, 3)
    shape = dims(op, 0)
    positions = shape[0] * (shape[2] if len(shape) == 4 else shape[1])
    used = {index: positions * dims(op, index)[-1] * tensor(op, index).dtype.bits // 8 for index in tables}
    reads = {index: smallest(count, tensor(op, index).bytes or count) for index, count in used.items()}
    return Lowering((Elementwise("rotary", turned, dtype, ROTARY_OPS),), reads)
