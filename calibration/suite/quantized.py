"""Grids of eight-bit operators: products and convolutions of unsigned activations with signed weights."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from onnx import TensorProto

from .builder import Builder, Tensor
from .draws import Draw
from .sizes import TOKENS

__all__ = ["GRIDS"]


def _quantization(b: Builder, signed: bool = False) -> tuple[Tensor, Tensor]:
    """A scale and a zero point."""
    zero = b.constant(np.asarray(0 if signed else 64), TensorProto.INT8 if signed else TensorProto.UINT8)
    return b.constant(np.asarray(0.02, np.float32), TensorProto.FLOAT), zero


def convolutions(b: Builder, draw: Draw) -> None:
    """Full, pointwise, strided, grouped and depthwise convolutions."""
    for kernel, stride, kind in ((3, 1, ""), (1, 1, ""), (3, 2, ""), (3, 1, "depthwise"), (5, 1, "depthwise")):
        side = draw.one((7, 14, 28, 40, 56))
        channels = min(draw.width(8, 512), 600_000 // side**2)
        x = b.input(1, channels, side, side, element=TensorProto.UINT8)
        groups = channels if kind else 1
        out = channels if kind else min(draw.width(8, 512), max(8, 400_000_000 // (channels * (kernel * side) ** 2)))
        weight = b.weight(out, channels // groups, kernel, kernel)
        half = (kernel - 1) // 2
        shape = (1, out, (side + 2 * half - kernel) // stride + 1, (side + 2 * half - kernel) // stride + 1)
        y = b.op(
            "QLinearConv",
            *(x, *_quantization(b), weight, *_quantization(b, signed=True), *_quantization(b)),
            shape=shape,
            element=TensorProto.UINT8,
            flops=2 * prod(shape) * prod(weight.shape[1:]),
            group=groups,
            pads=[half] * 4,
            strides=[stride] * 2,
            dilations=[1, 1],
            kernel_shape=[kernel] * 2,
        )
        b.output(y)


def products(b: Builder, draw: Draw) -> None:
    """Products with weights, into 32 bits and into eight."""
    for i in range(4):
        rows, k = draw.one(TOKENS), draw.width(32, 3072)
        n = max(16, min(draw.width(32, 3072), 600_000_000 // (rows * k)))
        x, weight = b.input(1, rows, k, element=TensorProto.UINT8), b.weight(k, n)
        flops = 2 * rows * k * n
        if i % 2:
            factors = x, *_quantization(b), weight, *_quantization(b, signed=True), *_quantization(b)
            b.output(b.op("QLinearMatMul", *factors, shape=(1, rows, n), flops=flops))
        else:
            y = b.op("MatMulInteger", x, weight, shape=(1, rows, n), element=TensorProto.INT32, flops=flops)
            b.output(y)


def conversions(b: Builder, draw: Draw) -> None:
    """Into eight bits and back."""
    for _ in range(2):
        shape = 1, draw.one(TOKENS), draw.width(32, 1024)
        x = b.input(*shape, element=TensorProto.FLOAT)
        b.output(b.op("QuantizeLinear", x, *_quantization(b), shape=shape, element=TensorProto.UINT8))
        y = b.input(*shape, element=TensorProto.UINT8)
        b.output(b.op("DequantizeLinear", y, *_quantization(b), shape=shape, element=TensorProto.FLOAT))


def others(b: Builder, draw: Draw) -> None:
    """What runs on eight bits as it is: pooling, activation, layout."""
    side, channels = draw.one((14, 28, 56)), draw.width(16, 256)
    x = b.input(1, channels, side, side)
    b.output(b.op("Transpose", x, shape=(1, side, side, channels), flops=0, perm=(0, 2, 3, 1)), b.op("Relu", x))
    b.output(b.op("Concat", x, b.input(1, 16, side, side), shape=(1, channels + 16, side, side), flops=0, axis=1))
    shape = (1, channels, side // 2, side // 2)
    b.output(b.op("MaxPool", x, shape=shape, flops=4 * prod(shape), kernel_shape=[2, 2], strides=[2, 2]))


GRIDS: dict[str, Callable[[Builder, Draw], None]] = {
    "quantized_convolutions": convolutions,
    "quantized_products": products,
    "quantized_conversions": conversions,
    "quantized_others": others,
}
"""Every sort of eight-bit operators by name."""
