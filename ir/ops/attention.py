"""Attention as one operator, rotary embeddings and mixtures of experts: what transformers are fused to.

Every attention comes down to :class:`Heads`: the scores' product, a softmax, the values' product. A causal mask saves
no work here: it is counted as a mask, since whether a kernel skips the masked half is up to the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from ..graph import Op
from ..primitives import Copy, Elementwise, Gemm, Primitive, Reduction, Softmax
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, Shape, TensorType, Type
from .control import region_primitives
from .elementwise import activation_ops
from .reading import (
    UNKNOWN_DIM,
    constant_integers,
    dims,
    elements,
    integer,
    is_constant,
    number,
    ranked,
    ratio,
    result_dims,
    same_type,
    size,
    tensor,
    text,
    typed,
)

__all__ = ["Heads"]


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

    def primitives(self, masks: int = 0, softcap: bool = False, fresh: int = 0) -> tuple[Primitive, ...]:
        """Scores, scaling and ``masks`` added, softmax, values; ``fresh`` elements are put into the cache."""
        pairs = self.batch * self.heads
        scores = pairs * self.queries * self.keys
        cached = (Copy(fresh, self.dtype),) if fresh else ()
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
    total = (
        before + key[2] if isinstance(before, int) and isinstance(key[2], int) else key[2] if not past else UNKNOWN_DIM
    )
    width = value[3] if isinstance(value[3], int) else UNKNOWN_DIM
    result = (*query[:3], width) if len(q[1]) == 4 else (*q[1][:2], width * heads if isinstance(width, int) else width)
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
    changed = (primitive for region in op.regions for primitive in region_primitives(region))
    return (*_onnx_heads(op).primitives(), *changed)


@define("onnx.Attention", kind=Kind.CONTRACTION, infer=_attention_types)
def attention(op: Op) -> Iterable[Primitive]:
    """Attention with an optional mask, causal mask and cache (ONNX Attention-23)."""
    heads = _onnx_heads(op)
    masks = (op.operand(3) is not None) + integer(op, "is_causal", 0)
    fresh = size(op, 1) + size(op, 2) if len(op.results) > 1 and op.operand(4) is not None else 0
    return heads.primitives(masks, number(op, "softcap", 0.0) > 0, fresh)


@define("onnx.LinearAttention", "com.microsoft.LinearAttention", kind=Kind.RECURRENT)
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


_ROTARY_OPS = 3
"""x·cos + x'·sin: two products and a sum."""


def _rotary_width(op: Op) -> float:
    """The share of each head that is turned."""
    shape = dims(op, 0)
    heads = integer(op, "num_heads", 0)
    head_size = shape[-1] if len(shape) == 4 else shape[-1] // heads if heads else 2 * dims(op, 1)[-1]
    return (integer(op, "rotary_embedding_dim", 0) or head_size) / max(1, head_size)


@define(
    "onnx.RotaryEmbedding",
    "com.microsoft.RotaryEmbedding",
    "com.microsoft.MRotaryEmbedding",
    kind=Kind.ELEMENTWISE,
    infer=same_type,
)
def rotary_embedding(op: Op) -> Lowering:
    """Three operations for each element that is turned; of the tables only the rows in use are read."""
    turned, dtype = int(elements(op) * _rotary_width(op)), tensor(op, 0).dtype
    tables = (1, 2) if op.dialect == "onnx" else (2, 3)
    shape = dims(op, 0)
    positions = shape[0] * (shape[2] if len(shape) == 4 else shape[1])
    used = {index: positions * dims(op, index)[-1] * tensor(op, index).dtype.bits // 8 for index in tables}
    reads = {index: min(count, tensor(op, index).bytes or count) for index, count in used.items()}
    return Lowering((Elementwise("rotary", turned, dtype, _ROTARY_OPS),), reads)


# -- com.microsoft ----------------------------------------------------------------------------------------------------


def _quantized_attention_types(op: Op) -> tuple[Type, ...] | None:
    return _projected_types(op, 8, tensor(op, 3).dtype)


def _self_attention_types(op: Op) -> tuple[Type, ...] | None:
    return _projected_types(op, 4, tensor(op, 0).dtype)


def _projected_types(op: Op, cache_operand: int, dtype: DType) -> tuple[Type, ...] | None:
    """com.microsoft.Attention-1: operand 1 holds the weights of query, key and value side by side."""
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None or len(x[1]) != 3:
        return None
    sizes = op.attributes.get("qkv_hidden_sizes")
    value = sizes[2] if isinstance(sizes, tuple) and isinstance(sizes[2], int) else ratio((w[1][1],), (3,))
    past, heads = ranked(op, cache_operand), integer(op, "num_heads", 1)
    total: Dim = x[1][1]
    if past is not None:
        before = past[1][3]
        total = total + before if isinstance(total, int) and isinstance(before, int) else UNKNOWN_DIM
    cache = TensorType(dtype, (2, x[1][0], heads, total, ratio((value,), (heads,))))
    return (TensorType(dtype, (*x[1][:2], value)), cache)[: len(op.results)]


@define(
    "com.microsoft.Attention",
    "com.microsoft.DecoderMaskedSelfAttention",
    kind=Kind.CONTRACTION,
    infer=_self_attention_types,
)
def self_attention(op: Op) -> Iterable[Primitive]:
    """The projections to query, key and value as one product, then attention."""
    batch, tokens, width = dims(op, 0)
    heads, packed = integer(op, "num_heads", 1), dims(op, 1)[1]
    value = result_dims(op)[2]
    query = (packed - value) // 2
    past = dims(op, 4)[3] if op.operand(4) is not None else 0
    dtype = tensor(op, 0).dtype
    sizes = Heads(batch, heads, heads, tokens, past + tokens, query // heads, value // heads, dtype)
    masks = (op.operand(3) is not None) + (op.operand(5) is not None) + integer(op, "unidirectional", 0)
    projection = Gemm(batch * tokens, packed, width, dtype, weight=is_constant(op, 1))
    return (projection, *sizes.primitives(masks, fresh=batch * tokens * 2 * value if past else 0))


@define("com.microsoft.QAttention", kind=Kind.CONTRACTION, infer=_quantized_attention_types)
def quantized_attention(op: Op) -> Iterable[Primitive]:
    """Integer projections scaled to floats, then attention in floats."""
    batch, tokens, width = dims(op, 0)
    heads, packed = integer(op, "num_heads", 1), dims(op, 1)[1]
    hidden, dtype = packed // 3, tensor(op, 3).dtype
    past = dims(op, 8)[3] if op.operand(8) is not None else 0
    sizes = Heads(batch, heads, heads, tokens, past + tokens, hidden // heads, hidden // heads, dtype)
    masks = (op.operand(5) is not None) + integer(op, "unidirectional", 0)
    projection = Gemm(batch * tokens, packed, width, tensor(op, 0).dtype, weight=is_constant(op, 1))
    scaled = Elementwise("dequantize", batch * tokens * packed, dtype, 2)
    return (projection, scaled, *sizes.primitives(masks, fresh=batch * tokens * 2 * hidden if past else 0))


def _multi_head_types(op: Op) -> tuple[Type, ...] | None:
    q, v = ranked(op, 0), ranked(op, 2)
    k, past = ranked(op, 1), ranked(op, 6)
    if q is None or len(q[1]) not in (3, 5):
        return None
    heads = integer(op, "num_heads", 1)
    if len(q[1]) == 5:
        width = value = ratio((q[1][2], q[1][4]), ())
    else:
        width = q[1][2]
        value = width if v is None else v[1][2] if len(v[1]) == 3 else ratio((v[1][1], v[1][3]), ())
    keys: Dim = q[1][1] if k is None else k[1][2] if len(k[1]) == 4 else k[1][1]
    before: Dim = past[1][2] if past else 0
    if before != 0:
        keys = keys + before if isinstance(keys, int) and isinstance(before, int) else UNKNOWN_DIM
    caches = (TensorType(q[0], (q[1][0], heads, keys, ratio((side,), (heads,)))) for side in (width, value))
    scores = TensorType(q[0], (q[1][0], heads, q[1][1], keys))
    return (TensorType(q[0], (*q[1][:2], value)), *caches, scores)[: len(op.results)]


def _decoder_types(op: Op) -> tuple[Type, ...] | None:
    q, past = typed(op, 0), typed(op, 5)
    return None if q is None or (past is None and len(op.results) > 1) else (q, past or q, past or q)[: len(op.results)]


@define("com.microsoft.DecoderMaskedMultiHeadAttention", kind=Kind.CONTRACTION, infer=_decoder_types)
def decoder_masked_attention(op: Op) -> Iterable[Primitive]:
    """One token's attention over a cache (com.microsoft.DecoderMaskedMultiHeadAttention-1)."""
    q, heads, dtype = dims(op, 0), integer(op, "num_heads", 1), tensor(op, 0).dtype
    past = dims(op, 5)[2] if op.operand(5) is not None else 0
    width = result_dims(op)[2]
    keys = past + q[1] if past else dims(op, 1)[-2]
    masks = (op.operand(3) is not None) + (op.operand(4) is not None)
    sizes = Heads(q[0], heads, heads, q[1], keys, width // heads, width // heads, dtype)
    return sizes.primitives(masks, fresh=2 * q[0] * q[1] * width if past else 0)


@define("com.microsoft.MultiHeadAttention", kind=Kind.CONTRACTION, infer=_multi_head_types)
def multi_head_attention(op: Op) -> Iterable[Primitive]:
    """Attention of projected operands: apart, keys and values packed, or all three (MultiHeadAttention-1)."""
    q, heads, dtype = dims(op, 0), integer(op, "num_heads", 1), tensor(op, 0).dtype
    key = dims(op, 1) if op.operand(1) is not None else q
    width = q[2] * q[4] if len(q) == 5 else q[2]
    keys = key[2] if len(key) == 4 else key[1]
    past = dims(op, 6)[2] if op.operand(6) is not None else 0
    value = result_dims(op)[2]
    biased = (Elementwise("add", prod(q), dtype),) if op.operand(3) is not None else ()
    masks = (op.operand(4) is not None) + (op.operand(5) is not None) + integer(op, "unidirectional", 0)
    sizes = Heads(q[0], heads, heads, q[1], past + keys, width // heads, value // heads, dtype)
    return (*biased, *sizes.primitives(masks, fresh=q[0] * keys * (width + value) if past else 0))


def _group_query_types(op: Op) -> tuple[Type, ...] | None:
    """com.microsoft.GroupQueryAttention-1: without a key operand the query holds key and value too."""
    q, past, packed = ranked(op, 0), ranked(op, 3), op.operand(1) is None
    if q is None:
        return None
    heads, kv_heads = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1)
    width = q[1][2] if not packed else _unpacked(q[1], heads, kv_heads)
    result = TensorType(q[0], (*q[1][:2], width))
    if len(op.results) == 1:
        return (result,)
    head_size = ratio((width,), (heads,))
    before = past[1][2] if past else 0
    length: Dim = q[1][1] + before if isinstance(q[1][1], int) and isinstance(before, int) else UNKNOWN_DIM
    cache = TensorType(past[0] if past else q[0], (q[1][0], kv_heads, length, head_size))
    return (result, cache, cache)[: len(op.results)]


def _unpacked(query: Shape, heads: int, kv_heads: int) -> Dim:
    return query[2] * heads // (heads + 2 * kv_heads) if isinstance(query[2], int) else UNKNOWN_DIM


@define("com.microsoft.GroupQueryAttention", kind=Kind.CONTRACTION, infer=_group_query_types)
def group_query_attention(op: Op) -> Iterable[Primitive]:
    """Attention over a cache whose heads several query heads share; rotary embedding where ``do_rotary`` says so."""
    batch, tokens, _ = dims(op, 0)
    heads, kv_heads = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1)
    width, dtype = result_dims(op)[2], tensor(op, 0).dtype
    head_size = width // heads
    total = constant_integers(op.operand(6))
    cached = total[0] if total else result_dims(op, 1)[2] if len(op.results) > 1 else 0
    past = dims(op, 3)[2] if op.operand(3) is not None else 0
    fresh = batch * tokens * kv_heads * head_size * 2
    sizes = Heads(batch, heads, kv_heads, tokens, cached or past + tokens, head_size, head_size, dtype)
    turned = batch * tokens * (heads + kv_heads) * head_size
    rotary = (Elementwise("rotary", turned, dtype, _ROTARY_OPS),) if integer(op, "do_rotary", 0) else ()
    return (*rotary, *sizes.primitives(1, number(op, "softcap", 0.0) > 0, fresh))


# -- mixtures of experts -----------------------------------------------------------------------------------------------


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
