"""A kernel as calibration sees it: what it computes and moves, whatever it is called and wherever it comes from.

Measured kernels and kernels to be predicted are described alike, so that the one can stand as evidence for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from ..ir import DType
from ..ir.primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Primitive,
    Reduction,
    Scan,
    Softmax,
    Unknown,
    Window,
    flops,
)

__all__ = ["OPERATION_TYPES", "Kernel", "entry", "operation_type", "rank"]

OPERATION_TYPES = (
    "conv2d", "conv2d_pointwise", "conv2d_grouped", "conv2d_depthwise", "conv1d", "conv3d", "conv_transpose",
    "matmul", "matmul_activation", "attention", "recurrent", "softmax", "normalization", "elementwise", "reduction",
    "pool", "gather", "layout", "scan", "generic",
)  # fmt: skip
"""What :func:`operation_type` tells apart; others' evidence may have more (``conv2d_batchnorm``, ``mbconv``)."""

_OTHER_TYPES: dict[type, str] = {
    Softmax: "softmax",
    Normalization: "normalization",
    Elementwise: "elementwise",
    Reduction: "reduction",
    Window: "pool",
    Gather: "gather",
    Copy: "layout",
    Scan: "scan",
    Unknown: "generic",
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """What one kernel launch computes and moves.

    ``pattern`` joins its operators' names (``Conv_Relu``). ``primitives`` are those of all operations in it. Bytes are
    those that cross its boundary: of constants, of activations read, of results written. ``launches`` is more than one
    where a runtime launches the operations one by one and they were measured together. ``swept_bytes`` are all weights
    that one inference reads: what lies in a cache too small for them is gone before the kernel runs again.
    ``operator`` is the main operation's name, ``layout`` the one that its result is kept in (``blocked``; empty for the
    plain one), ``reordered_bytes`` those of activations that the runtime brings into another layout for it.
    """

    pattern: str
    primitives: tuple[Primitive, ...]
    weight_bytes: int
    read_bytes: int
    write_bytes: int
    launches: int = 1
    swept_bytes: int = 0
    operator: str = ""
    layout: str = ""
    reordered_bytes: int = 0

    def __hash__(self) -> int:
        """By what tells kernels apart but for few: they are looked up by the thousand, and primitives hash slowly."""
        return hash((self.pattern, self.weight_bytes, self.read_bytes, self.write_bytes, self.swept_bytes))

    @property
    def flops(self) -> int:
        """Floating-point (or integer) operations, two for each multiply-accumulate."""
        return sum(flops(primitive) for primitive in self.primitives)

    @property
    def bytes(self) -> int:
        """Bytes that cross the boundary, in and out."""
        return self.weight_bytes + self.read_bytes + self.write_bytes

    @property
    def main(self) -> Primitive | None:
        """The primitive that the kernel is named after: the one of most FLOPs, else the one that moves most."""
        if len(self.primitives) == 1:
            return self.primitives[0]
        return max(self.primitives, key=lambda primitive: (flops(primitive), _elements(primitive)), default=None)

    @property
    def operation_type(self) -> str:
        """One of :data:`OPERATION_TYPES`."""
        gemms = sum(isinstance(primitive, Gemm) for primitive in self.primitives)
        if gemms > 1 and any(isinstance(primitive, Softmax) for primitive in self.primitives):
            return "attention"
        return operation_type(self.main) if self.main is not None else "generic"

    @property
    def precision(self) -> str:
        """The precision of its main primitive, as targets spell it (``fp32``)."""
        return self.main.dtype.precision if self.main is not None else DType.UNKNOWN.precision


def operation_type(primitive: Primitive) -> str:
    """Return the operation type that a primitive alone is of."""
    if isinstance(primitive, Conv):
        return _conv_type(primitive)
    if isinstance(primitive, Gemm):
        if primitive.steps != 1:
            return "recurrent"
        return "matmul" if primitive.weight else "matmul_activation"
    return _OTHER_TYPES[type(primitive)]


def _conv_type(conv: Conv) -> str:
    if conv.transposed:
        return "conv_transpose"
    if len(conv.kernel) != 2:
        return "conv1d" if len(conv.kernel) == 1 else "conv3d"
    if conv.groups > 1:
        return "conv2d_depthwise" if conv.groups == conv.in_channels else "conv2d_grouped"
    return "conv2d_pointwise" if set(conv.kernel) == {1} else "conv2d"


def entry(primitive: Primitive) -> str:
    """Return the name under which a primitive's sizes stand in reports: ``gemm_m=197_k=768_n=2304``."""
    sizes: dict[str, int | str]
    extra: dict[str, int]
    if isinstance(primitive, Gemm):
        sizes = {"m": primitive.m, "k": primitive.k, "n": primitive.n}
        extra = {"batch": primitive.batch, "steps": primitive.steps}
    elif isinstance(primitive, Conv):
        sizes = {
            "c": primitive.in_channels, "o": primitive.out_channels, "y": _times(primitive.out_size),
            "w": _times(primitive.kernel),
        }  # fmt: skip
        extra = {"b": primitive.batch, "g": primitive.groups, "s": max(primitive.strides, default=1)}
    elif isinstance(primitive, Softmax):
        sizes, extra = {"rows": primitive.rows, "columns": primitive.columns}, {}
    elif isinstance(primitive, Normalization):
        sizes, extra = {"groups": primitive.groups, "size": primitive.size}, {}
    elif isinstance(primitive, Reduction):
        sizes, extra = {"elements": primitive.elements, "results": primitive.results}, {}
    elif isinstance(primitive, Window):
        sizes, extra = {"results": primitive.results, "window": primitive.window}, {}
    elif isinstance(primitive, Gather):
        sizes, extra = {"rows": primitive.rows, "elements": primitive.row_elements}, {}
    elif isinstance(primitive, Unknown):
        sizes, extra = {}, {}
    else:
        sizes, extra = {"elements": primitive.elements}, {}
    extra = {key: value for key, value in extra.items() if value != 1}
    return "_".join([primitive.tag, *(f"{key}={value}" for key, value in {**sizes, **extra}.items())])


@lru_cache(maxsize=65536)
def rank(kernel: Kernel) -> bytes:
    """Return a kernel's place in an order without meaning that is the same in every run: what chance would choose."""
    return blake2b(repr(kernel).encode(), digest_size=8).digest()


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _elements(primitive: Primitive) -> int:
    if isinstance(primitive, Gather):
        return primitive.rows * primitive.row_elements
    return int(getattr(primitive, "elements", 0))
