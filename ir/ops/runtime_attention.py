"""onnxruntime's own attention operators (``com.microsoft``): with projections, many heads, grouped queries, a cache.

An operator that makes a new cache copies the old one; where past and present share a buffer (GroupQueryAttention is
made for it, others say so by an attribute) only the new entries are written.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..graph import Op
from ..primitives import Copy, Elementwise, Gemm, Normalization, Primitive
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, Shape, TensorType, Type
from .attention import ROTARY_OPS, Heads
from .normalization import RMS_OPS
from .reading import (
    constant_integers,
    dims,
    elements,
    integer,
    is_constant,
    largest,
    number,
    ranked,
    ratio,
    result_dims,
    smallest,
    tensor,
    typed,
)

__all__: list[str] = []


def _cached(op: Op, primitives: Iterable[Primitive], new: int, tokens: int, axis: int) -> Lowering:
    """An operation with a present: of ``new`` elements along ``axis`` only, where it shares a buffer with the past."""
    presents = range(1, min(3, len(op.results)))
    shared = integer(op, "past_present_share_buffer", 0) != 0
    copied = new if shared or not presents else sum(elements(op, index) for index in presents)
    writes = {index: _new_bytes(op, index, tokens, axis) for index in presents} if shared else {}
    return Lowering((Copy(copied, tensor(op, 0).dtype), *primitives), writes=writes)


def _new_bytes(op: Op, index: int, tokens: int, axis: int = 2) -> int:
    """Bytes of a present's new entries."""
    length = largest(1, result_dims(op, index)[axis])
    return (op.results[index].bytes or 0) * smallest(tokens, length) // length


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
        total = total + before
    cache = TensorType(dtype, (2, x[1][0], heads, total, ratio((value,), (heads,))))
    return (TensorType(dtype, (*x[1][:2], value)), cache)[: len(op.results)]


@define(
    "com.microsoft.Attention",
    "com.microsoft.DecoderMaskedSelfAttention",
    kind=Kind.CONTRACTION,
    infer=_self_attention_types,
    caches=((4, 1),),
)
def self_attention(op: Op) -> Iterable[Primitive] | Lowering:
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
    work = (projection, *sizes.primitives(masks))
    return _cached(op, work, batch * tokens * 2 * value, tokens, 3) if past else work


@define("com.microsoft.QAttention", kind=Kind.CONTRACTION, infer=_quantized_attention_types, caches=((8, 1),))
def quantized_attention(op: Op) -> Iterable[Primitive] | Lowering:
    """Integer projections scaled to floats, then attention in floats."""
    batch, tokens, width = dims(op, 0)
    heads, packed = integer(op, "num_heads", 1), dims(op, 1)[1]
    hidden, dtype = packed // 3, tensor(op, 3).dtype
    past = dims(op, 8)[3] if op.operand(8) is not None else 0
    sizes = Heads(batch, heads, heads, tokens, past + tokens, hidden // heads, hidden // heads, dtype)
    masks = (op.operand(5) is not None) + integer(op, "unidirectional", 0)
    projection = Gemm(batch * tokens, packed, width, tensor(op, 0).dtype, weight=is_constant(op, 1))
    scaled = Elementwise("dequantize", batch * tokens * packed, dtype, 2)
    work = (projection, scaled, *sizes.primitives(masks))
    return _cached(op, work, batch * tokens * 2 * hidden, tokens, 3) if past else work


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
        keys = keys + before
    caches = (TensorType(q[0], (q[1][0], heads, keys, ratio((side,), (heads,)))) for side in (width, value))
    scores = TensorType(q[0], (q[1][0], heads, q[1][1], keys))
    return (TensorType(q[0], (*q[1][:2], value)), *caches, scores)[: len(op.results)]


def _decoder_types(op: Op) -> tuple[Type, ...] | None:
    q, past = typed(op, 0), typed(op, 5)
    return None if q is None or (past is None and len(op.results) > 1) else (q, past or q, past or q)[: len(op.results)]


@define(
    "com.microsoft.DecoderMaskedMultiHeadAttention",
    kind=Kind.CONTRACTION,
    infer=_decoder_types,
    caches=((5, 1), (6, 2)),
)
def decoder_masked_attention(op: Op) -> Iterable[Primitive] | Lowering:
    """One token's attention over a cache (com.microsoft.DecoderMaskedMultiHeadAttention-1)."""
    q, heads, dtype = dims(op, 0), integer(op, "num_heads", 1), tensor(op, 0).dtype
    past = dims(op, 5)[2] if op.operand(5) is not None else 0
    width = result_dims(op)[2]
    keys = past + q[1] if past else dims(op, 1)[-2]
    masks = (op.operand(3) is not None) + (op.operand(4) is not None)
    sizes = Heads(q[0], heads, heads, q[1], keys, width // heads, width // heads, dtype)
    work = sizes.primitives(masks)
    return _cached(op, work, 2 * q[0] * q[1] * width, q[1], 2) if past else work


@define("com.microsoft.MultiHeadAttention", kind=Kind.CONTRACTION, infer=_multi_head_types, caches=((6, 1), (7, 2)))
def multi_head_attention(op: Op) -> Iterable[Primitive] | Lowering:
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
    work = (*biased, *sizes.primitives(masks))
    return _cached(op, work, q[0] * keys * (width + value), keys, 2) if past else work


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
    head_size = past[1][3] if past else ratio((width,), (heads,))
    before = past[1][2] if past else 0
    length: Dim = q[1][1] + before
    cache = TensorType(past[0] if past else q[0], (q[1][0], kv_heads, length, head_size))
    return (result, cache, cache)[: len(op.results)]


def _unpacked(query: Shape, heads: int, kv_heads: int) -> Dim:
    return query[2] * heads // (heads + 2 * kv_heads)


@define("com.microsoft.GroupQueryAttention", kind=Kind.CONTRACTION, infer=_group_query_types, caches=((3, 1), (4, 2)))
def group_query_attention(op: Op) -> Lowering:
    """Attention over a cache whose heads several query heads share; rotary embedding where ``do_rotary`` says so.

    Past and present share a buffer, as the operator is made for: the past is read, the new entries are written.
    """
    batch, tokens, _ = dims(op, 0)
    heads, kv_heads = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1)
    width, dtype = result_dims(op)[2], tensor(op, 0).dtype
    head_size = width // heads
    total = constant_integers(op.operand(6))
    past = dims(op, 3)[2] if op.operand(3) is not None else 0
    cached = total[0] if total else result_dims(op, 1)[2] if len(op.results) > 1 else past + tokens
    new = batch * tokens * kv_heads * head_size
    sizes = Heads(batch, heads, kv_heads, tokens, cached, head_size, head_size, dtype)
    masks = integer(op, "causal", 1) + (op.operand(10) is not None)
    attended = sizes.primitives(masks, number(op, "softcap", 0.0) > 0, 2 * new)
    reads = {index: _row_bytes(op, index, batch * tokens) for index in (7, 8) if op.operand(index) is not None}
    writes = {index: _new_bytes(op, index, tokens) for index in (1, 2) if index < len(op.results)}
    return Lowering((*_prepared(op, batch * tokens, head_size), *attended), reads, writes)


def _prepared(op: Op, positions: int, head_size: int) -> Iterable[Primitive]:
    """What happens to queries and keys before they meet: RMS norms of each head, rotary embedding."""
    heads = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1)
    dtype = tensor(op, 0).dtype
    for index, count in zip((14, 15), heads, strict=True):
        if op.operand(index) is not None:
            yield Normalization(positions * count, head_size, dtype, RMS_OPS)
    if integer(op, "do_rotary", 0):
        width = 2 * dims(op, 7)[-1] if op.operand(7) is not None else head_size
        yield Elementwise("rotary", positions * sum(heads) * smallest(width, head_size), dtype, ROTARY_OPS)


def _row_bytes(op: Op, index: int, rows: int) -> int:
    """Bytes of the rows of a table that are in use."""
    table = tensor(op, index)
    return smallest(rows * table.dims[-1] * table.dtype.bits // 8, table.bytes or 0)
