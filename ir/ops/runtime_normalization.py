"""onnxruntime's normalisations of quantised and branched tensors, and mixtures of streams (``com.microsoft``)."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import TypeVar

from ..graph import Op
from ..primitives import Copy, Elementwise, Gather, Gemm, Normalization, Primitive, Reduction
from ..registry import Kind, Lowering, define
from ..types import Dim, DType, TensorType, Type
from .attention import ROTARY_OPS
from .elementwise import activation_ops
from .normalization import LAYER_OPS, RMS_OPS
from .reading import (
    dims,
    elements,
    integer,
    is_constant,
    ranked,
    ratio,
    same_type,
    size,
    smallest,
    tensor,
    typed,
    with_shape,
)

__all__: list[str] = []

D = TypeVar("D", bound=Dim)


@define("com.microsoft.QOrderedLayerNormalization", kind=Kind.NORMALIZATION, infer=same_type)
def q_ordered_layer_normalization(op: Op) -> Iterable[Primitive]:
    """Layer normalisation of 8-bit integers, scaled in and out."""
    shape = dims(op, 0)
    return (Normalization(prod(shape[:-1]), shape[-1], DType.I8, LAYER_OPS + 3),)


@define("com.microsoft.BranchwiseRMSNorm", kind=Kind.NORMALIZATION, infer=same_type)
def branchwise_rms_norm(op: Op) -> Iterable[Primitive]:
    """RMS normalisation of each branch for itself."""
    shape, branches = dims(op, 0), op.attributes.get("num_branches")
    width = shape[-1] // branches if isinstance(branches, int) and branches > 0 else shape[-1]
    return (Normalization(elements(op) // max(1, width), width, tensor(op, 0).dtype, RMS_OPS),)


def _embed_types(op: Op) -> tuple[Type, ...] | None:
    ids, table = ranked(op, 0), ranked(op, 2)
    if ids is None or table is None:
        return None
    return (TensorType(DType.F32, (*ids[1], table[1][-1])), TensorType(DType.I32, ids[1][:1]))[: len(op.results)]


@define("com.microsoft.QEmbedLayerNormalization", kind=Kind.NORMALIZATION, infer=_embed_types)
def q_embed_layer_normalization(op: Op) -> Lowering:
    """Rows of two or three tables of integers, dequantised and added, then layer normalisation."""
    rows, hidden = size(op, 0), dims(op, 2)[1]
    tables = [index for index in (2, 3, 4) if op.operand(index) is not None]
    return Lowering(
        (
            Gather(rows * len(tables), hidden, tensor(op, 2).dtype),
            Elementwise("dequantize", rows * hidden * len(tables), DType.F32, 3),
            Normalization(rows, hidden, DType.F32, LAYER_OPS),
        ),
        {index: min(rows * hidden, prod(dims(op, index))) * tensor(op, index).dtype.bits // 8 for index in tables},
    )


# -- several streams beside one another --------------------------------------------------------------------------------


def _reduced_types(op: Op) -> tuple[Type, ...] | None:
    """(…, branches, hidden) becomes (…, hidden); flattened, the branches are an attribute."""
    x, branches = ranked(op, 0), op.attributes.get("num_branches")
    if x is None:
        return None
    if isinstance(branches, int) and branches > 0:
        return with_shape(op, (*x[1][:-1], x[1][-1] // branches))
    return with_shape(op, (*x[1][:-2], x[1][-1]))


@define("com.microsoft.HyperConnectionPreMix", kind=Kind.ELEMENTWISE, infer=_reduced_types)
def hyper_connection_pre_mix(op: Op) -> Iterable[Primitive]:
    """A weighted sum of the streams."""
    return (Elementwise("mix", size(op, 0), tensor(op, 0).dtype, 2),)


@define("com.microsoft.HyperConnectionPostMix", kind=Kind.CONTRACTION, infer=same_type)
def hyper_connection_post_mix(op: Op) -> Iterable[Primitive]:
    """Streams mixed by a small matrix for each token, where there is one, and a branch's output added to each."""
    dtype, count = tensor(op, 0).dtype, elements(op)
    if op.operand(3) is not None:
        branches = dims(op, 3)[-1]
        tokens = size(op, 3) // max(1, branches**2)
        yield Gemm(branches, count // max(1, tokens * branches), branches, dtype, tokens)
    yield Elementwise("mix", count, dtype, 2)


def _low_rank_types(op: Op) -> tuple[Type, ...] | None:
    """The reduced stream, a gate for each stream, and the streams (com.microsoft.HyperConnectionLowRankMix-1)."""
    x, branches = typed(op, 0), integer(op, "num_branches", 0)
    if x is None or x.shape is None:
        return None
    widths = (ratio(x.shape[-1:], (branches,)), branches)
    return (*(TensorType(x.dtype, (*x.shape[:-1], width)) for width in widths), x)[: len(op.results)]


@define("com.microsoft.HyperConnectionLowRankMix", kind=Kind.CONTRACTION, infer=_low_rank_types)
def hyper_connection_low_rank_mix(op: Op) -> Iterable[Primitive]:
    """Streams normalised, gated by a network of low rank and summed; a gate for each stream for the next call.

    With operands 5 and 6 the previous block's output is added to each stream before.
    """
    shape, branches, dtype = dims(op, 0), integer(op, "num_branches", 0), tensor(op, 0).dtype
    tokens, width, rank = prod(shape[:-1]), shape[-1], dims(op, 2)[-1]
    if op.operand(5) is not None:
        yield Elementwise("mix", tokens * width, dtype, 2)
    elif len(op.results) > 2:
        yield Copy(tokens * width, dtype)
    sigmoid = activation_ops("sigmoid")
    yield Normalization(tokens * branches, width // branches, dtype, RMS_OPS)
    yield Gemm(tokens, rank, width, dtype, weight=is_constant(op, 2))
    yield Elementwise("scaledsilu", tokens * rank, dtype, sigmoid + 2)
    yield Gemm(tokens, width, rank, dtype, weight=is_constant(op, 3))
    yield Elementwise("gate", tokens * width, dtype, sigmoid + 1)
    yield Reduction("sum", tokens * width, elements(op), dtype)
    yield Elementwise("scale", elements(op), dtype)
    yield Gemm(tokens, branches, width, dtype, weight=is_constant(op, 4))
    yield Elementwise("gate", tokens * branches, dtype, sigmoid + 2)


# -- normalised and turned ---------------------------------------------------------------------------------------------


def _normalised_width(op: Op, stride: D) -> D | int:
    """A slice of the last axis, all of it unless told."""
    return integer(op, "input_width", 0) or stride


def _rms_rotary_types(op: Op) -> tuple[Type, ...] | None:
    """(batch, sequence, heads·width), and what was normalised in 32 bits (com.microsoft.RMSNormRotary-1)."""
    x = ranked(op, 0)
    if x is None or len(x[1]) != 4:
        return None
    batch, tokens, heads, stride = x[1]
    width = _normalised_width(op, stride)
    rows = (1, batch * tokens) if integer(op, "flatten_batch", 0) else (batch, tokens)
    turned = TensorType(DType.F16 if integer(op, "output_fp16", 0) else DType.BF16, (*rows, heads * width))
    return (turned, TensorType(DType.F32, (batch, tokens, heads, width)))[: len(op.results)]


@define("com.microsoft.RMSNormRotary", kind=Kind.NORMALIZATION, infer=_rms_rotary_types)
def rms_norm_rotary(op: Op) -> Lowering:
    """RMS normalisation of each head, or a slice of it, then rotary embedding of its first elements."""
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    rows, width = prod(shape[:-1]), _normalised_width(op, shape[-1])
    turned = Elementwise("rotary", rows * integer(op, "rotary_embedding_dim", width), dtype, ROTARY_OPS)
    reads = {0: rows * width * dtype.bits // 8}
    for index in (3, 4):
        used = shape[0] * shape[1] * dims(op, index)[-1] * tensor(op, index).dtype.bits // 8
        reads[index] = smallest(used, tensor(op, index).bytes or used)
    return Lowering((Normalization(rows, width, dtype, RMS_OPS), turned), reads)


# -- gates -------------------------------------------------------------------------------------------------------------


@define("com.microsoft.EngramGate", kind=Kind.NORMALIZATION)
def engram_gate(op: Op) -> Iterable[Primitive]:
    """Key and query normalised, their product summed to a gate for each stream, and the value scaled by it."""
    shape, dtype = dims(op, 0), tensor(op, 0).dtype
    rows, width = prod(shape[:-1]), shape[-1]
    yield Normalization(2 * rows, width, dtype, RMS_OPS)
    yield Gemm(1, 1, width, dtype, rows)
    yield Elementwise("gate", rows * width, dtype, 2)
    if op.operand(5) is not None:
        yield Normalization(rows, width, dtype, RMS_OPS)
