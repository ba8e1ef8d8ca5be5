"""Types of values: element types, dimensions, tensors, sequences and optionals.

A dimension is an ``int``, a :class:`~graphs.ir.expression.Symbol` or an expression of those; a shape of ``None`` means
that not even the rank is known. Types are frozen and compare by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import TypeGuard

from .expression import Count, Expression, Symbol
from .expression_text import expression_text
from .quoting import quote

__all__ = ["DType", "Dim", "OptionalType", "SequenceType", "Shape", "Symbol", "TensorType", "Type", "UnknownType"]


class DType(Enum):
    """Element type. ``value`` is its MLIR spelling, ``bits`` its width in memory, ``precision`` the hardware's word."""

    F64 = ("f64", 64, "fp64")
    F32 = ("f32", 32, "fp32")
    F16 = ("f16", 16, "fp16")
    BF16 = ("bf16", 16, "bf16")
    F8E4M3FN = ("f8E4M3FN", 8, "fp8")
    F8E4M3FNUZ = ("f8E4M3FNUZ", 8, "fp8")
    F8E5M2 = ("f8E5M2", 8, "fp8")
    F8E5M2FNUZ = ("f8E5M2FNUZ", 8, "fp8")
    F8E8M0FNU = ("f8E8M0FNU", 8, "fp8")
    F6E2M3FN = ("f6E2M3FN", 6, "fp6")
    F6E3M2FN = ("f6E3M2FN", 6, "fp6")
    F4E2M1FN = ("f4E2M1FN", 4, "fp4")
    I64 = ("i64", 64, "int64")
    I32 = ("i32", 32, "int32")
    I16 = ("i16", 16, "int16")
    I8 = ("i8", 8, "int8")
    I4 = ("i4", 4, "int4")
    I2 = ("i2", 2, "int2")
    UI64 = ("ui64", 64, "int64")
    UI32 = ("ui32", 32, "int32")
    UI16 = ("ui16", 16, "int16")
    UI8 = ("ui8", 8, "int8")
    UI4 = ("ui4", 4, "int4")
    UI2 = ("ui2", 2, "int2")
    BOOL = ("i1", 8, "bool")
    C64 = ("complex<f32>", 64, "fp32")
    C128 = ("complex<f64>", 128, "fp64")
    STRING = ("!graphs.string", 0, "string")
    UNKNOWN = ("!graphs.unknown", 0, "unknown")

    def __init__(self, mlir: str, bits: int, precision: str) -> None:
        self.mlir = mlir
        self.bits = bits
        self.precision = precision

    @property
    def sized(self) -> bool:
        """Whether an element's width is known and fixed (strings and unknown types have none)."""
        return self.bits > 0

    @property
    def is_float(self) -> bool:
        """Whether this is a floating-point or complex type."""
        return self.precision.startswith("fp") or self is DType.BF16

    @property
    def is_integer(self) -> bool:
        """Whether this is an integer or boolean type: what shape arithmetic is done in."""
        return self.precision.startswith("int") or self is DType.BOOL


Dim = int | Expression
Shape = tuple[Dim, ...]


def _static(shape: Shape | None) -> bool:
    if shape is None:
        return False
    for dim in shape:  # noqa: SIM110  # twice as fast as all(), and asked hundreds of times per operation
        if not isinstance(dim, int):
            return False
    return True


def _known(shape: Shape | None) -> TypeGuard[tuple[Count, ...]]:
    if shape is None:
        return False
    for dim in shape:  # noqa: SIM110  # as above
        if not isinstance(dim, int) and not dim.known:
            return False
    return True


@dataclass(frozen=True, slots=True)
class TensorType:
    """A dense tensor: element type and shape."""

    dtype: DType
    shape: Shape | None

    @property
    def static(self) -> bool:
        """Whether every dimension is a number."""
        return _static(self.shape)

    @property
    def known(self) -> bool:
        """Whether every dimension is a number or an expression, and so all that is counted from them."""
        return _known(self.shape)

    @property
    def rank(self) -> int | None:
        """Number of dimensions, or ``None`` if unknown."""
        return None if self.shape is None else len(self.shape)

    @property
    def dims(self) -> tuple[Count, ...]:
        """The shape as numbers, or expressions that stand for them.

        Raises:
            ValueError: a dimension or the rank is unknown.
        """
        if not _known(self.shape):
            raise ValueError(f"the shape of {self} is not fully known")
        return self.shape

    @property
    def elements(self) -> Count | None:
        """Number of elements, or ``None`` where a dimension is unknown."""
        return prod(self.shape) if _known(self.shape) else None

    @property
    def bytes(self) -> Count | None:
        """Size in memory, sub-byte elements packed; ``None`` where it is not known."""
        elements = self.elements
        if elements is None or not self.dtype.sized:
            return None
        return (elements * self.dtype.bits + 7) // 8

    def __str__(self) -> str:
        if self.shape is None:
            return f"tensor<*x{self.dtype.mlir}>"
        dims = "".join(f"{dim}x" if isinstance(dim, int) else "?x" for dim in self.shape)
        symbols = ", ".join(_dim_text(dim) for dim in self.shape if isinstance(dim, Expression))
        return f"tensor<{dims}{self.dtype.mlir}{f', [{symbols}]' if symbols else ''}>"


def _dim_text(dim: Expression) -> str:
    """A plain symbol's name, or an attribute of our dialect that holds an expression."""
    if isinstance(dim, Symbol) and dim.lower == 1 and dim.upper is None:
        return quote(dim.name)
    return f"#graphs.dim<{quote(expression_text(dim, bounds=True))}>"


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A list of values of one type (ONNX sequences)."""

    element: Type

    def __str__(self) -> str:
        return f"!graphs.seq<{self.element}>"


@dataclass(frozen=True, slots=True)
class OptionalType:
    """A value that may be absent (ONNX optionals)."""

    element: Type

    def __str__(self) -> str:
        return f"!graphs.opt<{self.element}>"


@dataclass(frozen=True, slots=True)
class UnknownType:
    """Nothing is known of the value, not even that it is a tensor."""

    def __str__(self) -> str:
        return "!graphs.any"


Type = TensorType | SequenceType | OptionalType | UnknownType
