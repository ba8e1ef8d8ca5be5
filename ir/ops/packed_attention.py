"""onnxruntime's attention over packed, paged and sparse sequences (``com.microsoft``).

How long each sequence is, and which keys a query meets, depends on data. Counted is what the operands' shapes allow at
most: every sequence as long as the longest, every page and every block in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..graph import Op
from ..primitives import Elementwise, Gemm, Primitive, Reduction, Scan, Softmax
from ..registry import Kind, Lowering, define
from ..types import DType, TensorType, Type
from .attention import ROTARY_OPS, Heads
from .reading import (
    constant_integers,
    dims,
    elements,
    integer,
    is_constant,
    ranked,
    ratio,
    same_type,
    smallest,
    tensor,
)

__all__: list[str] = []


def _packed_types(op: Op) -> tuple[Type, ...] | None:
    x, w = ranked(op, 0), ranked(op, 1)
    if x is None or w is None:
        return None
    sizes = op.attributes.get("qkv_hidden_sizes")
    value = sizes[2] if isinstance(sizes, tuple) and isinstance(sizes[2], int) else ratio((w[1][1],), (3,))
    return (TensorType(x[0], (*x[1][:-1], value)),)


@define("com.microsoft.PackedAttention", kind=Kind.CONTRACTION, infer=_packed_types)
def packed_attention(op: Op) -> Iterable[Primitive]:
    """The projections of all tokens, then attention in each sequence."""
    (tokens, width), packed, (batch, longest) = dims(op, 0), dims(op, 1)[1], dims(op, 3)
    heads, dtype = integer(op, "num_heads", 1), tensor(op, 0).dtype
    sizes = op.attributes.get("qkv_hidden_sizes")
    value = sizes[2] if isinstance(sizes, tuple) and isinstance(sizes[2], int) else packed // 3
    query = (packed - value) // 2
    inner = Heads(batch, heads, heads, longest, longest, query // heads, value // heads, dtype)
    projection = Gemm(tokens, packed, width, dtype, weight=is_constant(op, 1))
    return (projection, *inner.primitives(int(op.operand(5) is not None)))


def _unpacked_types(op: Op) -> tuple[Type, ...] | None:
    """A query of rank 4 holds key and value too: (tokens, heads, 3, size)."""
    q, v = ranked(op, 0), ranked(op, 2)
    if q is None:
        return None
    width = v[1][-1] if v else ratio((q[1][1], q[1][3]), ()) if len(q[1]) == 4 else q[1][-1]
    return (TensorType(q[0], (q[1][0], width)),)


@define("com.microsoft.PackedMultiHeadAttention", kind=Kind.CONTRACTION, infer=_unpacked_types)
def packed_multi_head_attention(op: Op) -> Iterable[Primitive]:
    """Attention in each sequence of packed tokens."""
    q, (batch, longest) = dims(op, 0), dims(op, 4)
    heads, dtype = integer(op, "num_heads", 1), tensor(op, 0).dtype
    query = q[3] if len(q) == 4 else q[-1] // heads
    value = dims(op, 2)[-1] // heads if op.operand(2) is not None else query
    masks = (op.operand(3) is not None) + (op.operand(6) is not None)
    return Heads(batch, heads, heads, longest, longest, query, value, dtype).primitives(masks)


def _paged_types(op: Op) -> tuple[Type, ...] | None:
    """Without a key operand the query holds key and value too; caches are handed on."""
    q = ranked(op, 0)
    heads, kv_heads = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1)
    if q is None:
        return None
    width = q[1][-1] if op.operand(1) is not None else ratio((q[1][-1], heads), (heads + 2 * kv_heads,))
    caches = [value.type for value in (op.operand(3), op.operand(4)) if value is not None]
    return (TensorType(q[0], (*q[1][:-1], width)), *caches)[: len(op.results)]


def _paged(op: Op, keys: int) -> Iterable[Primitive]:
    """Attention of packed tokens to ``keys`` positions each."""
    tokens, width = dims(op, 0)[0], prod(dims(op, 0)[1:])
    heads, kv_heads = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1)
    size = width // heads if op.operand(1) is not None else width // (heads + 2 * kv_heads)
    dtype = tensor(op, 0).dtype
    turned = tokens * size * (heads + kv_heads) if integer(op, "do_rotary", 0) else 0
    rotary = (Elementwise("rotary", turned, dtype, ROTARY_OPS),) if turned else ()
    return (*rotary, *Heads(1, heads, kv_heads, tokens, keys, size, size, dtype).primitives(1))


@define("com.microsoft.PagedAttention", kind=Kind.CONTRACTION, infer=_paged_types, caches=((3, 1), (4, 2)))
def paged_attention(op: Op) -> Iterable[Primitive]:
    """Each token attends all pages of its sequence."""
    return _paged(op, dims(op, 7)[1] * dims(op, 3)[1])


@define("com.microsoft.SparsePagedAttention", kind=Kind.CONTRACTION, infer=_paged_types, caches=((3, 1), (4, 2)))
def sparse_paged_attention(op: Op) -> Iterable[Primitive]:
    """Each token attends the entries that were selected for it, and a local window."""
    return _paged(op, dims(op, 9)[-1] + max(0, integer(op, "local_window_size", -1)))


@define("com.microsoft.DynamicSparseAttention", kind=Kind.CONTRACTION, infer=same_type, caches=((3, 1), (4, 2)))
def dynamic_sparse_attention(op: Op) -> Iterable[Primitive]:
    """Each token attends the entries that were selected for it, and a local window."""
    batch, tokens, width = dims(op, 0)
    heads, kv_heads, dtype = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1), tensor(op, 0).dtype
    size = width // heads if op.operand(1) is not None else width // (heads + 2 * kv_heads)
    keys = dims(op, 7)[-1] + max(0, integer(op, "local_window_size", -1))
    return Heads(batch, heads, kv_heads, tokens, keys, size, size, dtype).primitives(1)


@define("com.microsoft.SparseAttention", kind=Kind.CONTRACTION, infer=_paged_types, caches=((3, 1), (4, 2)))
def sparse_attention(op: Op) -> Iterable[Primitive]:
    """Blocks of scores, as many for each row of blocks as there are on average (com.microsoft.SparseAttention-1)."""
    batch, tokens, width = dims(op, 0)
    heads, kv_heads, dtype = integer(op, "num_heads", 1), integer(op, "kv_num_heads", 1), tensor(op, 0).dtype
    size = width // heads if op.operand(1) is not None else width // (heads + 2 * kv_heads)
    block, rows = integer(op, "sparse_block_size", 64), max(1, dims(op, 5)[-1] - 1)
    total = constant_integers(op.operand(7))
    most = total[0] if total else dims(op, 3)[2]
    keys = min(most, -(-dims(op, 6)[-1] // rows) * block)
    return Heads(batch, heads, kv_heads, tokens, keys, size, size, dtype).primitives(1)


def _decoder_types(op: Op) -> tuple[Type, ...] | None:
    q, k = ranked(op, 0), ranked(op, 1)
    if q is None or k is None:
        return None
    heads = integer(op, "num_heads", 1)
    cache = TensorType(q[0], (q[1][1], heads, k[1][0], ratio((q[1][2],), (heads,))))
    return (TensorType(*q), cache, cache)[: len(op.results)]


@define("com.microsoft.DecoderAttention", kind=Kind.CONTRACTION, infer=_decoder_types)
def decoder_attention(op: Op) -> Iterable[Primitive]:
    """Projections of query, key and value, then attention; operands are (sequence, batch, hidden)."""
    (tokens, batch, hidden), others = dims(op, 0), dims(op, 1)[0]
    heads, dtype = integer(op, "num_heads", 1), tensor(op, 0).dtype
    past = dims(op, 6)[2] if op.operand(6) is not None else 0
    size = hidden // heads
    yield Gemm(tokens * batch, hidden, hidden, dtype, weight=is_constant(op, 2))
    yield Gemm(others * batch, 2 * hidden, hidden, dtype, weight=is_constant(op, 3))
    yield from Heads(batch, heads, heads, tokens, past + others, size, size, dtype).primitives(1)


@define("com.microsoft.LongformerAttention", kind=Kind.CONTRACTION, infer=same_type)
def longformer_attention(op: Op) -> Iterable[Primitive]:
    """Projections for local and global attention; each token attends a window on either side of it.

    Which tokens attend globally depends on data: they are left out.
    """
    return _windowed(op, tensor(op, 0).dtype, 1, 4)


@define("com.microsoft.QOrderedLongformerAttention", kind=Kind.CONTRACTION, infer=same_type)
def q_ordered_longformer_attention(op: Op) -> Iterable[Primitive]:
    """LongformerAttention in 8-bit integers."""
    return _windowed(op, DType.I8, 2, 8)


def _windowed(op: Op, dtype: DType, weight: int, other: int) -> Iterable[Primitive]:
    batch, tokens, hidden = dims(op, 0)
    heads, keys = integer(op, "num_heads", 1), min(tokens, 2 * integer(op, "window", 1) + 1)
    for index in (weight, other):
        yield Gemm(batch * tokens, 3 * hidden, hidden, dtype, weight=is_constant(op, index))
    yield from Heads(batch, heads, heads, tokens, keys, hidden // heads, hidden // heads, dtype).primitives(1)


@define("com.microsoft.QOrderedAttention", kind=Kind.CONTRACTION, infer=same_type)
def q_ordered_attention(op: Op) -> Iterable[Primitive]:
    """Three projections and attention in 8-bit integers."""
    batch, tokens, width = dims(op, 0)
    heads, past = integer(op, "num_heads", 1), dims(op, 18)[3] if op.operand(18) is not None else 0
    sizes = [elements_of // width for elements_of in (prod(dims(op, index)) for index in (5, 6, 7))]
    for size, index in zip(sizes, (5, 6, 7), strict=True):
        yield Gemm(batch * tokens, size, width, DType.I8, weight=is_constant(op, index))
    inner = Heads(batch, heads, heads, tokens, past + tokens, sizes[0] // heads, sizes[2] // heads, DType.I8)
    yield from inner.primitives(int(op.operand(17) is not None))


# -- selecting what is attended ----------------------------------------------------------------------------------------


@define("com.microsoft.RelativePositionBias", kind=Kind.GATHER)
def relative_position_bias(op: Op) -> Iterable[Primitive]:
    """A bucket for each pair of positions by a logarithm of their distance, and its row of the table."""
    return (Elementwise("bucket", elements(op), tensor(op, 0).dtype, 6),)


@define("com.microsoft.GatedRelativePositionBias", kind=Kind.ELEMENTWISE)
def gated_relative_position_bias(op: Op) -> Iterable[Primitive]:
    """Two gates for each query and head by a small product, which scale the bias of each pair of positions."""
    weight, dtype = dims(op, 3), tensor(op, 0).dtype
    rows = prod(dims(op, 0)) // max(1, weight[0])
    yield Gemm(rows, weight[1], weight[0], dtype, weight=is_constant(op, 3))
    yield Reduction("sum", rows * weight[1], rows * 2, dtype)
    yield Elementwise("gate", rows * 2, dtype, 6)
    yield Elementwise("mul", elements(op), dtype)


@define("com.microsoft.SparseAttentionIndexer", "com.microsoft.PackedSparseAttentionIndexer", kind=Kind.CONTRACTION)
def sparse_attention_indexer(op: Op) -> Iterable[Primitive]:
    """Scores of each query with each block of keys so far, and the best of them."""
    query, past = dims(op, 0), dims(op, 7 if op.base_name.startswith("Sparse") else 12)
    dtype, blocks = tensor(op, 0).dtype, -(-past[-2] // max(1, integer(op, "compress_ratio", 1)))
    rows, size = prod(query[:-1]), query[-1]
    heads = max(1, size // max(1, past[-1]))
    chosen = max(1, integer(op, "index_topk", 1))
    yield Gemm(rows * heads, blocks, size // heads, dtype)
    yield Softmax(rows, blocks, dtype)
    yield Reduction("topk", rows * blocks, rows * chosen, dtype, chosen.bit_length())


def _merged_types(op: Op) -> tuple[Type, ...] | None:
    """Indices, how many of them, and a status, for each query (com.microsoft.PackedSparseAttentionIndexerMerge-1)."""
    rows = ranked(op, 2)
    if rows is None:
        return None
    shapes = ((rows[1][0], integer(op, "max_output_entries", 0)), rows[1], rows[1])
    return tuple(TensorType(rows[0], shape) for shape in shapes)


@define("com.microsoft.PackedSparseAttentionIndexerMerge", kind=Kind.SCAN, infer=_merged_types)
def sparse_attention_indexer_merge(op: Op) -> Lowering:
    """For each query a pass over the entries selected before, of which its row is read, and those that join them."""
    queries, before, entries = dims(op, 2)[0], dims(op, 0), integer(op, "max_output_entries", 0)
    joining = dims(op, 5)[-1] if op.operand(5) is not None else entries
    dtype = tensor(op, 0).dtype
    read = smallest(queries, before[0]) * before[-1] * dtype.bits // 8
    return Lowering((Scan("merge", queries * (before[-1] + joining), dtype),), {0: read})
