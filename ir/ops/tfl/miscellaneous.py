"""Operators of TFLite that stand alone: random numbers, Fourier transforms, sparse weights."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from ...graph import Op
from ...primitives import Copy, Elementwise, Primitive, Reduction
from ...registry import Kind, Lowering, define
from ...types import DType, TensorType, Type
from ..generator import NORMAL_OPS, UNIFORM_OPS
from ..reading import constant_dims, constant_integers, dims, elements, largest, ranked, same_type, tensor, with_shape
from ..signal import transform_ops
from .stages import result_type

__all__: list[str] = []


def _shaped(op: Op) -> tuple[Type, ...] | None:
    shape, type_ = constant_dims(op.operand(0)), op.results[0].type
    known = shape is not None and isinstance(type_, TensorType)
    return (TensorType(type_.dtype, shape),) if known and isinstance(type_, TensorType) else None


@define("tfl.RANDOM_UNIFORM", kind=Kind.ELEMENTWISE, infer=_shaped)
def random_uniform(op: Op) -> Lowering:
    """A random number for each element."""
    return Lowering((Elementwise("random_uniform", elements(op), result_type(op).dtype, UNIFORM_OPS),), {0: 0})


@define("tfl.RANDOM_STANDARD_NORMAL", kind=Kind.ELEMENTWISE, infer=_shaped)
def random_standard_normal(op: Op) -> Lowering:
    """A normal random number for each element."""
    return Lowering((Elementwise("random_normal", elements(op), result_type(op).dtype, NORMAL_OPS),), {0: 0})


@define("tfl.STABLEHLO_RNG_BIT_GENERATOR", kind=Kind.ELEMENTWISE)
def rng_bit_generator(op: Op) -> Iterable[Primitive]:
    """A state moved on, and a random number for each element."""
    index = len(op.results) - 1
    return (Elementwise("random_bits", elements(op, index), result_type(op, index).dtype, UNIFORM_OPS),)


@define("tfl.MULTINOMIAL", kind=Kind.REDUCTION)
def multinomial(op: Op) -> Iterable[Primitive]:
    """Exponentiate and sum the scores of each row, then search the running sum once for each sample."""
    rows, classes = dims(op, 0)
    dtype = tensor(op, 0).dtype
    samples = Elementwise("search", elements(op), dtype, largest(1, classes.bit_length()))
    return (Reduction("sum", rows * classes, rows, dtype, 2), samples)


def _rfft_types(op: Op) -> tuple[Type, ...] | None:
    x, length = ranked(op, 0), constant_integers(op.operand(1))
    if x is None or length is None or len(length) != 2:
        return None
    return with_shape(op, (*x[1][:-2], length[0], length[1] // 2 + 1), DType.C64)


@define("tfl.RFFT2D", kind=Kind.SCAN, infer=_rfft_types)
def rfft2d(op: Op) -> Iterable[Primitive]:
    """Transforms of real numbers along the last two axes: half the work of complex ones."""
    rows, columns = constant_integers(op.operand(1)) or dims(op, 0)[-2:]
    points = prod(dims(op, 0)[:-2]) * rows * columns
    per_point = largest(1, (transform_ops(rows) + transform_ops(columns)) // 2)
    return (Elementwise("fft", points, tensor(op, 0).dtype, per_point),)


@define("tfl.DENSIFY", kind=Kind.LAYOUT, infer=same_type)
def densify(op: Op) -> Iterable[Primitive]:
    """Stored elements put among zeros."""
    return (Copy(elements(op), tensor(op, 0).dtype),)
