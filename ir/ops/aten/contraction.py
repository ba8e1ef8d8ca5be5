"""ATen's convolutions and matrix products. A bias or an addend is where the accumulator starts, as everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from ...graph import Op
from ...primitives import Conv, Elementwise, Gemm, Primitive
from ...registry import Kind
from ..contraction import matmul
from ..einsum import einsum
from ..reading import compute_dtype, dims, elements, integer, number, result_dims, tensor
from .reading import enter, flag, is_weight, spread

__all__ = ["convolution"]


# -- convolutions -----------------------------------------------------------------------------------------------------


def convolution(op: Op, spatial: int, transposed: bool) -> Conv:
    """The convolution of operands 0 and 1; an operand without a batch is one image."""
    x, w, y = dims(op, 0), dims(op, 1), result_dims(op)
    x, y = ((1, *x), (1, *y)) if len(x) == spatial + 1 else (x, y)
    return Conv(
        batch=x[0],
        in_channels=x[1],
        out_channels=y[1],
        in_size=x[2:],
        out_size=y[2:],
        kernel=w[2:],
        dtype=tensor(op, 0).dtype,
        strides=spread(op, "stride", spatial),
        dilations=spread(op, "dilation", spatial),
        groups=integer(op, "groups", 1),
        transposed=transposed,
    )


def _convolution(transposed: bool) -> Callable[[Op], tuple[Primitive, ...]]:
    return lambda op: (convolution(op, len(dims(op, 1)) - 2, transposed),)


def _general(op: Op) -> tuple[Primitive, ...]:
    return (convolution(op, len(dims(op, 1)) - 2, flag(op, "transposed")),)


enter(
    "conv1d conv2d conv3d mkldnn_convolution cudnn_convolution",
    Kind.CONTRACTION,
    _convolution(False),
    "One convolution.",
)
enter(
    "conv_transpose1d conv_transpose2d conv_transpose3d",
    Kind.CONTRACTION,
    _convolution(True),
    "One transposed convolution: every input element meets every weight of its group.",
)
enter("convolution _convolution", Kind.CONTRACTION, _general, "One convolution, transposed or not.")


def _backward(op: Op) -> tuple[Primitive, ...]:
    """Operands: the result's gradient, the data, the weights; each gradient that is wanted is as much work."""
    gradient, x, w = dims(op, 0), dims(op, 1), dims(op, 2)
    spatial = len(w) - 2
    forward = Conv(
        x[0], x[1], gradient[1], x[2:], gradient[2:], w[2:], tensor(op, 1).dtype,
        spread(op, "stride", spatial), spread(op, "dilation", spatial),
        integer(op, "groups", 1), flag(op, "transposed"),
    )  # fmt: skip
    mask = op.attributes.get("output_mask", (True, True, False))
    wanted = list(mask) if isinstance(mask, tuple) else [True, True, False]
    return (forward,) * sum(bool(entry) for entry in wanted[:2])


enter("convolution_backward", Kind.CONTRACTION, _backward, "As much work as the convolution for each gradient.")


# -- matrix products --------------------------------------------------------------------------------------------------


def _product(op: Op, left: int = 0, right: int = 1) -> Gemm:
    return matmul(dims(op, left), dims(op, right), tensor(op, left).dtype, is_weight(op, left, right))


def _linear(op: Op) -> tuple[Primitive, ...]:
    x, w = dims(op, 0), dims(op, 1)
    out = w[0] if len(w) > 1 else 1
    return (Gemm(prod(x[:-1]), out, x[-1], tensor(op, 0).dtype, weight=is_weight(op, 1)),)


enter("linear", Kind.CONTRACTION, _linear, "A product with transposed weights; the bias is where the sum starts.")
enter("mm matmul bmm mv dot vdot inner linalg_matmul", Kind.CONTRACTION, lambda op: (_product(op),), "Matrix products.")
enter(
    "bilinear",
    Kind.CONTRACTION,
    lambda op: _bilinear(op),
    "For each output a product with the first operand, then one with the second.",
)


def _bilinear(op: Op) -> tuple[Primitive, ...]:
    x, z, w = dims(op, 0), dims(op, 1), dims(op, 2)
    rows, dtype = prod(x[:-1]), tensor(op, 0).dtype
    return (Gemm(rows, w[0] * w[2], w[1], dtype, weight=is_weight(op, 2)), Gemm(1, w[0], z[-1], dtype, rows))


def _added(op: Op) -> tuple[Primitive, ...]:
    """``beta``·operand 0 + ``alpha``·(operand 1 · operand 2): scaling takes work where it is not by 1."""
    scaled = (number(op, "alpha", 1.0) != 1.0) + (number(op, "beta", 1.0) not in (0.0, 1.0))
    scaling = (Elementwise("scale", elements(op), compute_dtype(op), scaled),) if scaled else ()
    return (_product(op, 1, 2), *scaling)


enter("addmm baddbmm addbmm addmv", Kind.CONTRACTION, _added, "Matrix products added to the first operand.")


def _outer(op: Op) -> tuple[Primitive, ...]:
    return (Elementwise("mul", elements(op), compute_dtype(op)),)


enter("outer ger", Kind.ELEMENTWISE, _outer, "One product for each pair.")
enter("einsum", Kind.CONTRACTION, einsum, "A matrix product for each operand after the first; sums before it.")


def _chain(op: Op) -> tuple[Primitive, ...]:
    """In the order that takes the fewest products (torch.linalg.multi_dot)."""
    shapes = [dims(op, index) for index in range(len(op.operands))]
    sizes = [shapes[0][0] if len(shapes[0]) > 1 else 1, *(shape[0] for shape in shapes[1:])]
    sizes.append(shapes[-1][1] if len(shapes[-1]) > 1 else 1)
    return tuple(Gemm(m, n, k, tensor(op, 0).dtype) for m, n, k in _cheapest(sizes))


def _cheapest(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """The products of the cheapest order of a chain of matrices of these sizes (Cormen et al., section 15.2)."""
    count = len(sizes) - 1
    best: dict[tuple[int, int], tuple[int, list[tuple[int, int, int]]]] = {(i, i): (0, []) for i in range(count)}
    for length in range(1, count):
        for first in range(count - length):
            last = first + length
            best[first, last] = min(
                (
                    best[first, cut][0] + best[cut + 1, last][0] + sizes[first] * sizes[cut + 1] * sizes[last + 1],
                    [*best[first, cut][1], *best[cut + 1, last][1], (sizes[first], sizes[last + 1], sizes[cut + 1])],
                )
                for cut in range(first, last)
            )
    return best[0, count - 1][1]


enter("linalg_multi_dot chain_matmul", Kind.CONTRACTION, _chain, "Matrix products in the cheapest order.")
