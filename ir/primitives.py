"""Primitives: the handful of computations that every operator is made of, and the only place where work is counted.

Each primitive states its multiply-accumulates (``macs``), its other arithmetic (``ops``) and the ``work_class`` under
which efficiencies are known (``gemm``, ``conv_depthwise``, …). FLOPs are 2·MACs + other arithmetic, in
:func:`flops` and nowhere else. Counting follows the textbook: no padding to a vector width, no Winograd, bias excluded
from MACs. An elementary function (exp, tanh, a division) counts as one operation.

Bytes are counted per operator, from its operands' and results' types (:class:`graphs.ir.registry.Lowering`), since what
a kernel must move depends on which values its neighbours keep on chip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from .types import DType

__all__ = [
    "Conv",
    "Copy",
    "Elementwise",
    "Gather",
    "Gemm",
    "Normalization",
    "Primitive",
    "Reduction",
    "Scan",
    "Softmax",
    "Unknown",
    "Window",
    "flops",
    "repeated",
]


class _Counted:
    """What a primitive counts unless it says otherwise: nothing, under its own name."""

    __slots__ = ()
    tag: ClassVar[str]

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return 0

    @property
    def ops(self) -> int:
        """Arithmetic operations that are no multiply-accumulates."""
        return 0

    @property
    def work_class(self) -> str:
        """The class of kernels under which efficiencies are known."""
        return self.tag


@dataclass(frozen=True, slots=True)
class Gemm(_Counted):
    """``batch`` products of an m×k by a k×n matrix; ``weight`` says that one factor is a constant.

    ``steps`` such products depend on one another (a recurrence): their work adds up and they cannot run side by side.
    """

    tag: ClassVar[str] = "gemm"
    m: int
    n: int
    k: int
    dtype: DType
    batch: int = 1
    weight: bool = False
    steps: int = 1

    @property
    def macs(self) -> int:
        return self.m * self.n * self.k * self.batch * self.steps

    @property
    def work_class(self) -> str:
        return "gemm" if self.steps == 1 else "recurrent"


@dataclass(frozen=True, slots=True)
class Conv(_Counted):
    """A convolution, ``transposed`` or not: sizes as in ONNX Conv-22, spatial sizes without the batch and channels."""

    tag: ClassVar[str] = "conv"
    batch: int
    in_channels: int
    out_channels: int
    in_size: tuple[int, ...]
    out_size: tuple[int, ...]
    kernel: tuple[int, ...]
    dtype: DType
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False

    @property
    def macs(self) -> int:
        if self.transposed:
            return (
                self.batch
                * self.in_channels
                * prod(self.in_size)
                * (self.out_channels // self.groups)
                * prod(self.kernel)
            )
        return (
            self.batch * self.out_channels * prod(self.out_size) * (self.in_channels // self.groups) * prod(self.kernel)
        )

    @property
    def work_class(self) -> str:
        if self.groups == 1:
            return "conv"
        return "conv_depthwise" if self.groups == self.in_channels else "conv_grouped"


@dataclass(frozen=True, slots=True)
class Elementwise(_Counted):
    """``function`` of each of ``elements`` results, ``per_element`` arithmetic operations each."""

    tag: ClassVar[str] = "elementwise"
    function: str
    elements: int
    dtype: DType
    per_element: int = 1

    @property
    def ops(self) -> int:
        return self.elements * self.per_element


@dataclass(frozen=True, slots=True)
class Reduction(_Counted):
    """``elements`` reduced to ``results`` by ``function``, ``per_element`` operations for each element.

    ``run`` is how many of the elements that make one result lie side by side; ``None`` where that was not counted.
    """

    tag: ClassVar[str] = "reduction"
    function: str
    elements: int
    results: int
    dtype: DType
    per_element: int = 1
    run: int | None = None

    @property
    def ops(self) -> int:
        return self.elements * self.per_element


@dataclass(frozen=True, slots=True)
class Softmax(_Counted):
    """Softmax over ``rows`` rows of ``columns``: maximum, subtract, exp, sum, divide.

    ``behind`` are the axes of more than one element that lie behind the one along which a row does; ``None`` for none.
    """

    tag: ClassVar[str] = "softmax"
    rows: int
    columns: int
    dtype: DType
    behind: int | None = None

    @property
    def ops(self) -> int:
        return 5 * self.rows * self.columns


@dataclass(frozen=True, slots=True)
class Normalization(_Counted):
    """``groups`` groups of ``size`` elements, each brought to its statistics: ``per_element`` operations.

    Layer, instance and group normalisation take 7 (mean; difference, square, sum; scale by the deviation; gain; bias),
    RMS normalisation 4, batch normalisation with known statistics 2.
    """

    tag: ClassVar[str] = "normalization"
    groups: int
    size: int
    dtype: DType
    per_element: int = 7

    @property
    def ops(self) -> int:
        return self.groups * self.size * self.per_element


@dataclass(frozen=True, slots=True)
class Copy(_Counted):
    """``elements`` moved without arithmetic: transpose, concat, slice, pad, broadcast.

    ``run`` is how many of them lie side by side before and after, on average; ``None`` where that was not counted.
    ``axes`` is over how many neighbouring axes, those that stay together counted once, a permutation reaches: 2 for the
    transpose of a matrix, whatever batch stands before it.
    """

    tag: ClassVar[str] = "copy"
    elements: int
    dtype: DType
    run: int | None = None
    axes: int | None = None


@dataclass(frozen=True, slots=True)
class Gather(_Counted):
    """``rows`` pieces of ``row_elements`` contiguous elements each, fetched or scattered by index."""

    tag: ClassVar[str] = "gather"
    rows: int
    row_elements: int
    dtype: DType


@dataclass(frozen=True, slots=True)
class Window(_Counted):
    """``results`` results, each made from a window of ``window`` elements: pooling, interpolation."""

    tag: ClassVar[str] = "window"
    function: str
    results: int
    window: int
    dtype: DType

    @property
    def ops(self) -> int:
        return self.results * self.window


@dataclass(frozen=True, slots=True)
class Scan(_Counted):
    """A pass over ``elements`` whose steps depend on one another: cumulative sums, sorting, suppression."""

    tag: ClassVar[str] = "scan"
    function: str
    elements: int
    dtype: DType
    per_element: int = 1

    @property
    def ops(self) -> int:
        return self.elements * self.per_element


@dataclass(frozen=True, slots=True)
class Unknown(_Counted):
    """Work that the tool cannot count, and why. It contributes no number, and every total that it touches says so."""

    tag: ClassVar[str] = "unknown"
    reason: str
    dtype: DType = DType.UNKNOWN


Primitive = Gemm | Conv | Elementwise | Reduction | Softmax | Normalization | Copy | Gather | Window | Scan | Unknown


def flops(primitive: Primitive) -> int:
    """Floating-point (or integer) operations of a primitive: two for each multiply-accumulate, one for each other."""
    return 2 * primitive.macs + primitive.ops


def repeated(primitive: Primitive, times: int) -> Primitive:
    """``times`` of a primitive, one after another where it tells them apart, as one primitive of as much work."""
    match primitive:
        case Gemm():
            return replace(primitive, steps=primitive.steps * times)
        case Conv():
            return replace(primitive, batch=primitive.batch * times)
        case Elementwise() | Copy() | Scan():
            return replace(primitive, elements=primitive.elements * times)
        case Reduction():
            return replace(primitive, elements=primitive.elements * times, results=primitive.results * times)
        case Softmax() | Gather():
            return replace(primitive, rows=primitive.rows * times)
        case Normalization():
            return replace(primitive, groups=primitive.groups * times)
        case Window():
            return replace(primitive, results=primitive.results * times)
        case Unknown():
            return primitive
