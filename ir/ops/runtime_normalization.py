"""onnxruntime's normalisations of quantised and branched tensors, and mixtures of streams (``com.microsoft``)."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ..graph import Op
from ..primitives import Elementwise, Gather, Gemm, Normalization, Primitive
from ..registry import Kind, Lowering, define
from ..types import DType, TensorType, Type
from .normalization import LAYER_OPS, RMS_OPS
from .reading import dims, elements, ranked, same_type, size, tensor, with_shape

__all__: list[str] = []


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
