"""Layers as PyTorch's exporter writes them: what is fused depends on the spelling.

Images are (batch, channels, height, width), sequences (batch, tokens, width).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np
from onnx import TensorProto

from .builder import Builder, Tensor

__all__ = [
    "activation", "batch_norm", "concat", "conv", "conv_transpose", "einsum", "embedding", "fully_connected",
    "global_mean", "group_norm", "instance_norm", "layer_norm", "linear", "matmul", "merge_last", "move", "pool",
    "recurrent", "reduce", "reshape", "resize", "rms_norm", "scaled", "slices", "softmax", "split",
]  # fmt: skip

_FIRST_OPSET_WITH_GELU = 20
_HARD_SIGMOID_SLOPE = 1 / 6
_NORM_FLOPS = 7
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def conv(
    b: Builder,
    x: Tensor,
    channels: int,
    kernel: int | Sequence[int] = 3,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    bias: bool = True,
    padding: int | Sequence[int] | None = None,
) -> Tensor:
    """A convolution in as many dimensions as ``x`` has beside batch and channels; padded to keep sizes by default."""
    dims = len(x.shape) - 2
    window = (kernel,) * dims if isinstance(kernel, int) else tuple(kernel)
    reach = [dilation * (size - 1) for size in window]
    if padding is None:
        pads = [size // 2 for size in reach]
    else:
        pads = [padding] * dims if isinstance(padding, int) else list(padding)
    sizes = [(n + 2 * p - r - 1) // stride + 1 for n, p, r in zip(x.shape[2:], pads, reach, strict=True)]
    products = x.shape[1] // groups * prod(window)
    # Half the fan-in, as an activation takes half of the variance away: without, deep chains fade.
    weight = b.weight(channels, x.shape[1] // groups, *window, fan_in=max(1, products // 2))
    operands = [x, weight, *([b.weight(channels)] if bias else [])]
    shape = (x.shape[0], channels, *sizes)
    return b.op(
        "Conv",
        *operands,
        shape=shape,
        flops=2 * prod(shape) * products,
        group=groups,
        pads=pads * 2,
        auto_pad="NOTSET",
        strides=[stride] * dims,
        dilations=[dilation] * dims,
        kernel_shape=window,
    )


def conv_transpose(
    b: Builder, x: Tensor, channels: int, kernel: int = 2, stride: int = 2, padding: int = 0, groups: int = 1
) -> Tensor:
    """A transposed convolution, as upsampling decoders use it."""
    dims = len(x.shape) - 2
    extra = (stride + 2 * padding - kernel) % stride
    sizes = [(n - 1) * stride - 2 * padding + kernel + extra for n in x.shape[2:]]
    shape = (x.shape[0], channels, *sizes)
    per_group = channels // groups
    weight = b.weight(x.shape[1], per_group, *(kernel,) * dims, fan_in=x.shape[1] * kernel**dims // stride**dims)
    return b.op(
        "ConvTranspose",
        *(x, weight, b.weight(channels)),
        shape=shape,
        flops=2 * prod(x.shape) * per_group * kernel**dims,
        group=groups,
        auto_pad="NOTSET",
        strides=[stride] * dims,
        pads=[padding] * 2 * dims,
        output_padding=[extra] * dims,
        dilations=[1] * dims,
        kernel_shape=[kernel] * dims,
    )


def activation(b: Builder, x: Tensor, kind: str) -> Tensor:
    """An activation by its name in PyTorch; those without an ONNX operator are written out."""
    if kind in _WRITTEN_OUT:
        return _WRITTEN_OUT[kind](b, x)
    operator, attributes = _OPERATORS[kind]
    return b.op(operator, x, **attributes)


_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.1}),
    "hard_swish": ("HardSwish", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": _HARD_SIGMOID_SLOPE, "beta": 0.5}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {"alpha": 1.0}),
    "softplus": ("Softplus", {}),
    "mish": ("Mish", {}),
    "erf": ("Erf", {}),
    "exp": ("Exp", {}),
}


def _relu6(b: Builder, x: Tensor) -> Tensor:
    return b.op("Clip", x, b.constant(0.0), b.constant(6.0), shape=x.shape)


def _prelu(b: Builder, x: Tensor) -> Tensor:
    return b.op("PRelu", x, b.weight(x.shape[1], *(1,) * (len(x.shape) - 2), fan_in=16), shape=x.shape)


def _silu(b: Builder, x: Tensor) -> Tensor:
    return b.op("Mul", x, b.op("Sigmoid", x))


def _quick_gelu(b: Builder, x: Tensor) -> Tensor:
    return b.op("Mul", x, b.op("Sigmoid", scaled(b, x, 1.702)))


def _gelu(b: Builder, x: Tensor) -> Tensor:
    if b.opset >= _FIRST_OPSET_WITH_GELU:
        return b.op("Gelu", x, approximate="none", flops=8 * prod(x.shape))
    curve = b.op("Erf", b.op("Div", x, b.constant(sqrt(2.0))), flops=8 * prod(x.shape))
    return b.op("Mul", b.constant(0.5), b.op("Mul", x, b.op("Add", curve, b.constant(1.0))))


def _gelu_tanh(b: Builder, x: Tensor) -> Tensor:
    half = scaled(b, x, 0.5)
    cube = scaled(b, b.op("Pow", x, b.constant(3.0)), 0.044715)
    inner = scaled(b, b.op("Add", x, cube), sqrt(2 / np.pi))
    return b.op("Mul", half, b.op("Add", b.op("Tanh", inner), b.constant(1.0)))


_WRITTEN_OUT = {
    "relu6": _relu6, "prelu": _prelu, "silu": _silu, "quick_gelu": _quick_gelu, "gelu": _gelu, "gelu_tanh": _gelu_tanh,
}  # fmt: skip


def scaled(b: Builder, x: Tensor, factor: float) -> Tensor:
    """Multiply by a number."""
    return b.op("Mul", x, b.constant(float(factor)))


def batch_norm(b: Builder, x: Tensor) -> Tensor:
    """A batch normalisation that no convolution precedes, so that none has taken it in."""
    statistics = [b.weight(x.shape[1]) for _ in range(4)]
    return b.op(
        "BatchNormalization", x, *statistics, shape=x.shape, flops=2 * prod(x.shape), epsilon=1e-5, momentum=0.9
    )


def layer_norm(b: Builder, x: Tensor) -> Tensor:
    """Layer normalisation over the last axis."""
    width = x.shape[-1]
    return b.op(
        "LayerNormalization",
        *(x, b.weight(width), b.weight(width)),
        shape=x.shape,
        flops=_NORM_FLOPS * prod(x.shape),
        axis=-1,
        epsilon=1e-5,
        stash_type=1,
    )


def rms_norm(b: Builder, x: Tensor) -> Tensor:
    """Root-mean-square normalisation, which the exporter writes out."""
    square = b.op("Pow", x, b.constant(2.0))
    mean = reduce(b, "ReduceMean", square, (-1,))
    inverse = b.op("Reciprocal", b.op("Sqrt", b.op("Add", mean, b.constant(1e-6))))
    return b.op("Mul", b.weight(x.shape[-1]), b.op("Mul", x, inverse))


def group_norm(b: Builder, x: Tensor, groups: int) -> Tensor:
    """Group normalisation as the exporter spells it: an instance normalisation of the groups, then scale and shift."""
    rows = reshape(b, x, 0, groups, -1)
    ones, zeros = b.constant(np.ones(groups, np.float32)), b.constant(np.zeros(groups, np.float32))
    normal = instance_norm(b, rows, ones, zeros)
    back = reshape(b, normal, *x.shape)
    per_channel = (x.shape[1], *(1,) * (len(x.shape) - 2))
    shifted = b.op("Mul", back, b.weight(*per_channel, fan_in=1))
    return b.op("Add", shifted, b.weight(*per_channel, fan_in=4))


def instance_norm(b: Builder, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Instance normalisation over everything behind the channels."""
    scale, shift = scale or b.weight(x.shape[1]), shift or b.weight(x.shape[1])
    return b.op(
        "InstanceNormalization", x, scale, shift, shape=x.shape, flops=_NORM_FLOPS * prod(x.shape), epsilon=1e-5
    )


def reshape(b: Builder, x: Tensor, *target: int) -> Tensor:
    """Reshape; 0 keeps an extent and -1 takes what is left."""
    extents = [x.shape[i] if size == 0 else size for i, size in enumerate(target)]
    if -1 in extents:
        extents[extents.index(-1)] = prod(x.shape) // -prod(extents)
    attributes: dict[str, Any] = {} if 0 in target else {"allowzero": 1}
    operand = b.constant(np.asarray(target, np.int64))
    return b.op("Reshape", x, operand, shape=extents, flops=0, **attributes)


def move(b: Builder, x: Tensor, *perm: int) -> Tensor:
    """Transpose."""
    return b.op("Transpose", x, shape=[x.shape[i] for i in perm], flops=0, perm=perm)


def merge_last(b: Builder, x: Tensor) -> Tensor:
    """Lay heads side by side again: (batch, heads, tokens, width) to (batch, tokens, heads × width)."""
    batch, heads, tokens, width = x.shape
    return reshape(b, move(b, x, 0, 2, 1, 3), batch, tokens, heads * width)


def softmax(b: Builder, x: Tensor, axis: int = -1) -> Tensor:
    """Softmax."""
    return b.op("Softmax", x, flops=5 * prod(x.shape), axis=axis)


def einsum(b: Builder, equation: str, left: Tensor, right: Tensor) -> Tensor:
    """A product of two tensors by labels that are all in ``equation``."""
    terms, result = equation.split("->")
    extents = {
        label: extent
        for term, x in zip(terms.split(","), (left, right), strict=True)
        for label, extent in zip(term, x.shape, strict=True)
    }
    shape = tuple(extents[label] for label in result)
    return b.op("Einsum", left, right, shape=shape, flops=2 * prod(extents.values()), equation=equation)


def linear(b: Builder, x: Tensor, width: int, bias: bool = True) -> Tensor:
    """A linear layer over the last axis of a tensor of three or more axes: a product and a sum."""
    k = x.shape[-1]
    shape = (*x.shape[:-1], width)
    product = b.op("MatMul", x, b.weight(k, width), shape=shape, flops=2 * prod(shape) * k)
    return b.op("Add", product, b.weight(width)) if bias else product


def fully_connected(b: Builder, x: Tensor, width: int, bias: bool = True, transposed: bool = True) -> Tensor:
    """A linear layer over a matrix: one ``Gemm``, whose weight PyTorch stores transposed."""
    rows, k = x.shape
    weight = b.weight(width, k, fan_in=k) if transposed else b.weight(k, width)
    operands = [x, weight, *([b.weight(width)] if bias else [])]
    return b.op(
        "Gemm",
        *operands,
        shape=(rows, width),
        flops=2 * rows * k * width,
        alpha=1.0,
        beta=1.0,
        transA=0,
        transB=int(transposed),
    )


def matmul(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """A product of two activations."""
    shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
    return b.op("MatMul", x, y, shape=shape, flops=2 * prod(shape) * x.shape[-1])


def pool(
    b: Builder, x: Tensor, kind: str = "MaxPool", kernel: int = 2, stride: int | None = None, padding: int = 0
) -> Tensor:
    """``MaxPool`` or ``AveragePool``; the stride is the window by default."""
    dims, stride = len(x.shape) - 2, stride or kernel
    sizes = [(n + 2 * padding - kernel) // stride + 1 for n in x.shape[2:]]
    own: dict[str, Any] = {"count_include_pad": 1}
    if kind == "MaxPool":
        own = {"storage_order": 0, "dilations": [1] * dims}
    shape = (*x.shape[:2], *sizes)
    return b.op(
        kind,
        x,
        shape=shape,
        flops=prod(shape) * kernel**dims,
        ceil_mode=0,
        pads=[padding] * 2 * dims,
        auto_pad="NOTSET",
        strides=[stride] * dims,
        kernel_shape=[kernel] * dims,
        **own,
    )


def reduce(b: Builder, kind: str, x: Tensor, axes: Sequence[int], keep: bool = True) -> Tensor:
    """A reduction over ``axes``."""
    reduced = {axis % len(x.shape) for axis in axes}
    extents = [1 if i in reduced else size for i, size in enumerate(x.shape) if keep or i not in reduced]
    operand = b.constant(np.asarray(axes, np.int64))
    return b.op(kind, x, operand, shape=extents, flops=prod(x.shape), noop_with_empty_axes=0, keepdims=int(keep))


def global_mean(b: Builder, x: Tensor, keep: bool = True) -> Tensor:
    """The mean over all positions of an image."""
    return reduce(b, "ReduceMean", x, tuple(range(-1, 1 - len(x.shape), -1)), keep)


_RESIZE_FLOPS = {"nearest": 1, "linear": 8, "cubic": 32}


def resize(b: Builder, x: Tensor, factor: float, mode: str = "nearest") -> Tensor:
    """Scale an image's sides by a factor: ``nearest`` by a whole one, or ``linear`` or ``cubic``."""
    shape = (*x.shape[:2], *(int(factor * size) for size in x.shape[2:]))
    if mode == "nearest":
        sizes = [None, b.constant([1.0, 1.0, *[float(factor)] * (len(shape) - 2)], TensorProto.FLOAT)]
    else:
        sizes = [None, None, b.constant(np.asarray(shape, np.int64))]
    return b.op(
        "Resize",
        *(x, *sizes),
        shape=shape,
        flops=prod(shape) * _RESIZE_FLOPS[mode],
        mode=mode,
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric" if mode == "nearest" else "half_pixel",
    )


def embedding(b: Builder, indices: Tensor, rows: int, width: int) -> Tensor:
    """Look rows of a table up."""
    table = b.weight(rows, width, fan_in=1)
    return b.op("Gather", table, indices, shape=(*indices.shape, width), flops=0, axis=0)


def split(b: Builder, x: Tensor, parts: int, axis: int) -> tuple[Tensor, ...]:
    """Split into equal parts."""
    axis %= len(x.shape)
    shape = (*x.shape[:axis], x.shape[axis] // parts, *x.shape[axis + 1 :])
    return b.ops("Split", [x], [shape] * parts, flops=0, axis=axis, num_outputs=parts)


def concat(b: Builder, *parts: Tensor, axis: int = 1) -> Tensor:
    """Concatenate."""
    axis %= len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return b.op("Concat", *parts, shape=shape, flops=0, axis=axis)


def slices(b: Builder, x: Tensor, begin: int, end: int, axis: int) -> Tensor:
    """Take a range along one axis."""
    axis %= len(x.shape)
    shape = (*x.shape[:axis], min(end, x.shape[axis]) - begin, *x.shape[axis + 1 :])
    ranges = [b.constant(np.asarray([value], np.int64)) for value in (begin, end, axis)]
    return b.op("Slice", x, *ranges, shape=shape, flops=0)


def recurrent(b: Builder, x: Tensor, kind: str, hidden: int, bidirectional: bool = False) -> Tensor:
    """An LSTM, GRU or RNN over (tokens, batch, width); returns (tokens, batch, directions × hidden)."""
    tokens, batch, width = x.shape
    directions, gates = 1 + bidirectional, _GATES[kind] * hidden
    weights = b.weight(directions, gates, width, fan_in=width), b.weight(directions, gates, hidden, fan_in=hidden)
    bias = b.weight(directions, 2 * gates, fan_in=gates)
    zeros = b.constant(np.zeros((directions, batch, hidden), np.float32))
    own: dict[str, Any] = {"LSTM": {"input_forget": 0}, "GRU": {"linear_before_reset": 1}, "RNN": {}}[kind]
    state = b.op(
        kind,
        *(x, *weights, bias, None, zeros, *([zeros] if kind == "LSTM" else [])),
        shape=(tokens, directions, batch, hidden),
        flops=2 * directions * tokens * batch * gates * (width + hidden),
        hidden_size=hidden,
        direction="bidirectional" if bidirectional else "forward",
        layout=0,
        **own,
    )
    return reshape(b, move(b, state, 0, 2, 1, 3), tokens, batch, directions * hidden)
