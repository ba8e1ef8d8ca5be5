"""Rules for quantised graphs, one operator at a time: the kernels predicted against those that onnxruntime makes.

Each case is one operator between conversions, in one choice of integer types; onnxruntime's optimised graph of the very
model is what is right. Its rules differ between processors: these are the ones of x86-64.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rule_models
from kernels import VIEWS, optimised_model
from onnx import TensorProto, helper

import graphs
from graphs.ir import Kind, kind_of
from graphs.passes.fuse import kernel_ops, main_op

pytestmark = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the rules are those of x86-64")

U8, S8, U16, S16 = TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16
SAME_KERNEL = {"FusedConv": "Conv", "FusedMatMul": "MatMul", "FusedGemm": "Gemm", "NhwcMaxPool": "MaxPool"}


class Model(rule_models.Model):
    """A model under construction, of quantised values."""

    def parameters(self, element: int, scale: float = 0.05, zero: int | None = None) -> tuple[str, str]:
        middle = {U8: 128, S8: 3, U16: 32768, S16: 3}[element] if zero is None else zero
        return self.constant(np.float32(scale)), self.constant(middle, element)

    def dequantized(self, *shape: int, element: int = U8, scale: float = 0.05) -> str:
        """A float input quantised and dequantised."""
        return self.requantized(self.input(*shape), element, scale)

    def requantized(self, value: str, element: int = U8, scale: float = 0.05, zero: int | None = None) -> str:
        parameters = self.parameters(element, scale, zero)
        return self.op("DequantizeLinear", self.op("QuantizeLinear", value, *parameters), *parameters)

    def weight(self, *shape: int, element: int = S8, channels: int = 0) -> str:
        """A constant of integers, dequantised, with one scale in all or one for each of ``channels`` of axis 0."""
        scale = self.constant(np.full(channels, 0.02, np.float32) if channels else np.float32(0.02))
        zero = self.constant(np.zeros(channels) if channels else 0, element)
        attributes = {"axis": 0} if channels else {}
        return self.op("DequantizeLinear", self.constant(np.ones(shape), element), scale, zero, **attributes)

    def bias(self, size: int) -> str:
        return self.op(
            "DequantizeLinear", self.constant(np.ones(size), TensorProto.INT32), self.constant(np.float32(0.001))
        )


def predicted(path: Path) -> Counter[str]:
    graph = graphs.run("fuse", graphs.load(path), target="host:onnxruntime-cpu").graph
    ops = [op for op in graph.body if not all(kind_of(inner) is Kind.VIEW for inner in kernel_ops(op))]
    names = (str(op.attributes.get("pattern", main_op(op).base_name)) for op in ops)
    return Counter(SAME_KERNEL.get(name, name) for name in names)


def executed(path: Path, folder: Path) -> Counter[str]:
    nodes = onnx.load(optimised_model(path, folder), load_external_data=False).graph.node
    left_out = VIEWS | {"ReorderInput", "ReorderOutput"}
    return Counter(SAME_KERNEL.get(n.op_type, n.op_type) for n in nodes if n.op_type not in left_out)


def conv(m: Model, x: int = U8, w: int = S8, y: int = U8, bias: str = "", relu: str = "", channels: int = 0) -> str:
    operands = [m.dequantized(1, 4, 8, 8, element=x), m.weight(6, 4, 3, 3, element=w, channels=channels)]
    if bias:
        operands.append(m.bias(6) if bias == "int32" else m.constant(np.ones(6, np.float32)))
    value = m.op("Conv", *operands)
    if relu:
        value = m.op("Relu", value)
    zero = None if relu != "cut off" else {U8: 0, S8: -128}[y]
    return m.requantized(value, y, zero=zero)


def matmul(m: Model, a: int = U8, b: int = S8, y: int | None = U8, both: bool = False) -> str:
    right = m.dequantized(1, 8, 4, element=b, scale=0.07) if both else m.weight(8, 4, element=b)
    value = m.op("MatMul", m.dequantized(1, 3, 8, element=a), right)
    return m.op("Exp", value) if y is None else m.requantized(value, y)


def gemm(m: Model, a: int = U8, b: int = S8, y: int | None = U8, c: str = "int32") -> str:
    operands = [m.dequantized(3, 8, element=a), m.weight(4, 8, element=b)]
    if c:
        operands.append(m.bias(4) if c == "int32" else m.constant(np.ones(4, np.float32)))
    value = m.op("Gemm", *operands, transB=1, beta=1.0)
    return m.op("Exp", value) if y is None else m.requantized(value, y)


def unary(op_type: str, element: int = U8, out: int | None = None, **attributes: Any) -> Callable[[Model], str]:
    def build(m: Model) -> str:
        return m.requantized(m.op(op_type, m.dequantized(1, 4, 8, 8, element=element), **attributes), out or element)

    return build


def binary(op_type: str, a: int = U8, b: int = U8, y: int = U8) -> Callable[[Model], str]:
    def build(m: Model) -> str:
        operands = m.dequantized(1, 4, 8, 8, element=a), m.dequantized(1, 4, 8, 8, element=b, scale=0.07)
        return m.requantized(m.op(op_type, *operands), y)

    return build


def mover(op_type: str, *operands: Sequence[int], element: int = U8, scale: float = 0.05, **attributes: Any) -> Any:
    def build(m: Model) -> str:
        constants = [m.constant(np.asarray(operand, np.int64)) for operand in operands]
        value = m.op(op_type, m.dequantized(1, 4, 8, 8, element=element), *constants, **attributes)
        return m.op("Exp", m.requantized(value, element, scale))

    return build


def concat(m: Model, second: int = U8, y: int = U8) -> str:
    parts = m.dequantized(1, 4, 8, 8), m.dequantized(1, 2, 8, 8, element=second, scale=0.07)
    return m.requantized(m.op("Concat", *parts, axis=1), y)


def split(m: Model) -> str:
    value = m.op("Split", m.dequantized(1, 4, 8, 8), results=2, axis=1, num_outputs=2)
    return m.op("Add", m.op("Exp", m.requantized(value)), m.op("Exp", m.requantized(f"{value}_1")))


def where(m: Model, constant: bool = False) -> str:
    a = m.constant(np.float32(0)) if constant else m.dequantized(1, 4, scale=0.07)
    return m.requantized(m.op("Where", m.input(1, 4, element=TensorProto.BOOL), a, m.dequantized(1, 4)))


def layer_normalization(m: Model) -> str:
    operands = m.dequantized(1, 3, 8), m.weight(8, element=U8), m.constant(np.ones(8, np.float32))
    return m.requantized(m.op("LayerNormalization", *operands))


def double(m: Model) -> str:
    """Converted twice, the second time to another scale."""
    twice = m.requantized(m.dequantized(1, 4, 8), scale=0.06)
    return m.requantized(m.op("Sigmoid", twice), scale=0.01)


def squeezed(m: Model) -> str:
    """A view between conversions to different scales, then a product."""
    x = m.requantized(m.op("GlobalAveragePool", m.dequantized(1, 8, 4, 4)))
    value = m.op("MatMul", m.requantized(m.op("Flatten", x), scale=0.04), m.weight(8, 4))
    return m.requantized(value)


def resize(m: Model, mode: str = "nearest") -> str:
    sizes = m.constant(np.array([1, 1, 2, 2], np.float32))
    return m.op("Exp", m.requantized(m.op("Resize", m.dequantized(1, 4, 8, 8), "", sizes, mode=mode)))


def shared(m: Model) -> str:
    """One dequantised value read by two convolutions."""
    x = m.dequantized(1, 4, 8, 8)
    first, second = (m.requantized(m.op("Conv", x, m.weight(6, 4, 1, 1)), scale=scale) for scale in (0.05, 0.06))
    return m.requantized(m.op("Add", first, second), scale=0.07)


def shared_signed(m: Model) -> str:
    """The same with signed values, which become unsigned only where one alone reads them."""
    x = m.dequantized(1, 4, 8, 8, element=S8)
    first, second = (m.requantized(m.op("Conv", x, m.weight(6, 4, 1, 1)), S8, scale) for scale in (0.05, 0.06))
    return m.requantized(m.op("Add", first, second), S8, 0.07)


def chain(m: Model) -> str:
    """Two convolutions and a residual sum: layouts meet."""
    first = m.requantized(m.op("Conv", m.dequantized(1, 4, 8, 8), m.weight(4, 4, 3, 3), pads=[1] * 4))
    second = m.requantized(m.op("Conv", first, m.weight(4, 4, 3, 3), pads=[1] * 4), scale=0.06)
    total = m.requantized(m.op("Add", second, first), scale=0.07)
    pooled = m.op("MaxPool", total, kernel_shape=[2, 2], strides=[2, 2])
    return m.op("Exp", m.requantized(pooled, scale=0.07))


def float_weight(m: Model, op_type: str = "Conv") -> str:
    """A convolution whose operand is quantised and whose weight is not."""
    operands = (
        m.dequantized(1, 4, 8, 8),
        m.constant(np.ones((4, 4, 3, 3), np.float32)),
        m.constant(np.ones(4, np.float32)),
    )
    return m.requantized(m.op(op_type, *operands))


def dynamic(m: Model, op_type: str = "MatMulInteger", shared: bool = False, bias: bool = True) -> str:
    x = m.input(1, 3, 8)
    m.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], ["xq", "xs", "xz"], name="dynamic"))
    results = []
    for index in range(1 + shared):
        weight, scale = m.constant(np.ones((8, 4)), S8), m.constant(np.float32(0.02 + index))
        sums = m.op("Cast", m.op(op_type, "xq", weight, "xz", m.constant(0, S8)), to=TensorProto.FLOAT)
        value = m.op("Mul", sums, m.op("Mul", "xs", scale))
        results.append(m.op("Add", value, m.constant(np.ones(4, np.float32))) if bias else value)
    return results[0] if len(results) == 1 else m.op("Sub", *results)


def dynamic_conv(m: Model) -> str:
    x, scale = m.input(1, 4, 8, 8), m.constant(np.float32(0.02))
    m.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], ["xq", "xs", "xz"], name="dynamic"))
    sums = m.op("Cast", m.op("ConvInteger", "xq", m.constant(np.ones((4, 4, 3, 3)), S8), "xz"), to=TensorProto.FLOAT)
    return m.op("Mul", sums, m.op("Mul", "xs", scale))


def packed(
    m: Model,
    element: int = TensorProto.INT4,
    block: int = 32,
    axis: int = 0,
    scales: Sequence[int] = (2, 32),
    zeros: bool = True,
    op_type: str = "MatMul",
    bias: bool = False,
) -> str:
    """A product of floats with a weight (64, 32) of a few bits."""
    parameters = [m.constant(np.full(scales, 0.02, np.float32))]
    parameters += [m.constant(np.zeros(scales), element)] * zeros
    attributes = {"block_size": block, "axis": axis} if block else {"axis": axis} if scales else {}
    weight = m.op("DequantizeLinear", m.constant(np.ones((64, 32)), element), *parameters, **attributes)
    return m.op(op_type, m.input(3, 64), weight, *([m.constant(np.ones(32, np.float32))] * bias))


def scaled(m: Model, op_type: str, scales: Sequence[int], **attributes: int) -> str:
    """A product of 8 bits with a weight (64, 32) that has many scales."""
    scale = m.constant(np.full(scales, 0.02, np.float32))
    weight = m.op("DequantizeLinear", m.constant(np.ones((64, 32)), S8), scale, **attributes)
    return m.requantized(m.op(op_type, m.dequantized(3, 64), weight))


def packed_twice(m: Model, scale: float, shared: bool = False) -> str:
    """Two products with packed weights, of two scales or one; ``shared``: of the same elements."""
    first = m.constant(np.ones((64, 32)), S8)
    second = first if shared else m.constant(np.full((64, 32), 2), S8)
    weights = (
        m.op("DequantizeLinear", data, m.constant(np.float32(value)))
        for data, value in ((first, 0.02), (second, scale))
    )
    return m.op("Sub", *(m.op("MatMul", m.input(3, 64), weight) for weight in weights))


CASES = {
    "int4": (packed, "MatMulNBits"),
    "uint4 without zeros": (lambda m: packed(m, TensorProto.UINT4, zeros=False), "MatMulNBits"),
    "int8 blocks": (lambda m: packed(m, S8), "MatMulNBits"),
    "int4 one scale": (lambda m: packed(m, block=0, scales=()), "MatMulNBits"),
    "int4 a scale a column": (lambda m: packed(m, block=0, axis=1, scales=(32,)), "MatMulNBits"),
    "int4 a scale a row": (lambda m: packed(m, block=0, scales=(64,)), "MatMul"),
    "int4 blocks of eight": (lambda m: packed(m, block=8, scales=(8, 32)), "MatMul"),
    "int4 blocks of columns": (lambda m: packed(m, axis=1, scales=(64, 1)), "MatMul"),
    "int4 gemm": (lambda m: packed(m, op_type="Gemm", bias=True), "MatMulNBits"),
    "int4 after conversion": (
        lambda m: m.requantized(m.op("MatMul", m.dequantized(3, 8), m.weight(8, 4, element=TensorProto.INT4))),
        "MatMul",
    ),
    "int8 twice": (lambda m: packed_twice(m, 0.03), "MatMulNBits"),
    "int8 of one scale twice": (lambda m: packed_twice(m, 0.02), "MatMul"),
    "int8 one weight twice": (lambda m: packed_twice(m, 0.03, shared=True), "MatMul"),
    "float8": (lambda m: packed(m, TensorProto.FLOAT8E4M3FN, block=0, scales=()), "MatMul"),
    "conv": (conv, "QLinearConv"),
    "conv signed": (lambda m: conv(m, x=S8, y=S8), "QLinearConv"),
    "conv signed to unsigned": (lambda m: conv(m, x=S8, y=U8), "QLinearConv"),
    "conv unsigned weight": (lambda m: conv(m, w=U8), "QLinearConv"),
    "conv bias": (lambda m: conv(m, bias="int32"), "QLinearConv"),
    "conv float bias": (lambda m: conv(m, bias="float"), "QLinearConv"),
    "conv per channel": (lambda m: conv(m, channels=6), "QLinearConv"),
    "conv relu cut off": (lambda m: conv(m, relu="cut off"), "QLinearConv"),
    "conv relu": (lambda m: conv(m, relu="seen"), "Conv"),
    "conv 16 bits": (lambda m: conv(m, x=U16, y=U16), "Conv"),
    "conv float weight": (float_weight, "QLinearConv"),
    "conv transposed": (lambda m: float_weight(m, "ConvTranspose"), "ConvTranspose"),
    "matmul": (matmul, "QLinearMatMul"),
    "matmul signed": (lambda m: matmul(m, a=S8, y=S8), "QLinearMatMul"),
    "matmul of two": (lambda m: matmul(m, b=U8, both=True), "QLinearMatMul"),
    "matmul to float": (lambda m: matmul(m, y=None), "MatMulIntegerToFloat"),
    "matmul 16 bits": (lambda m: matmul(m, a=U16, y=U16), "MatMulNBits"),
    "matmul 16 bits to float": (lambda m: matmul(m, a=S16, y=None), "MatMulNBits"),
    "matmul 16 bits to 8": (lambda m: matmul(m, a=U16, y=U8), "MatMul"),
    "matmul float to 16 bits": (lambda m: m.requantized(packed(m), S16), "MatMulNBits"),
    "matmul float to 8 bits": (lambda m: m.requantized(packed(m)), "MatMul"),
    "matmul other type": (lambda m: matmul(m, y=U16), "MatMul"),
    "matmul a scale a column": (lambda m: scaled(m, "MatMul", (32,)), "QLinearMatMul"),
    "matmul a scale a row": (lambda m: scaled(m, "MatMul", (64,), axis=0), "MatMul"),
    "matmul in blocks": (lambda m: scaled(m, "MatMul", (2, 32), axis=0, block_size=32), "MatMul"),
    "gemm in blocks": (lambda m: scaled(m, "Gemm", (2, 32), axis=0, block_size=32), "Gemm"),
    "gemm 16 bits": (
        lambda m: m.requantized(m.op("Gemm", m.dequantized(3, 8, element=U16), m.weight(8, 4)), U16),
        "MatMulNBits",
    ),
    "gemm": (gemm, "QGemm"),
    "gemm signed": (lambda m: gemm(m, a=S8, y=S8), "QGemm"),
    "gemm signed by unsigned": (lambda m: gemm(m, a=S8, b=U8, y=S8), "QGemm"),
    "gemm to float": (lambda m: gemm(m, y=None), "QGemm"),
    "gemm float bias": (lambda m: gemm(m, c="float"), "QGemm"),
    "gemm no bias": (lambda m: gemm(m, c=""), "QGemm"),
    "add": (binary("Add"), "QLinearAdd"),
    "add signed": (binary("Add", S8, S8, S8), "QLinearAdd"),
    "add of mixed types": (binary("Add", U8, U16, U8), "Add"),
    "mul": (binary("Mul"), "QLinearMul"),
    "sub": (binary("Sub"), "Sub"),
    "sigmoid": (unary("Sigmoid"), "QLinearSigmoid"),
    "sigmoid 16 bits": (unary("Sigmoid", U16), "Sigmoid"),
    "leaky relu": (unary("LeakyRelu", alpha=0.1), "QLinearLeakyRelu"),
    "softmax": (unary("Softmax", axis=-1), "QLinearSoftmax"),
    "tanh": (unary("Tanh"), "Tanh"),
    "average pool": (unary("AveragePool", kernel_shape=[2, 2]), "QLinearAveragePool"),
    "global average pool": (unary("GlobalAveragePool"), "QLinearGlobalAveragePool"),
    "reduce mean": (unary("ReduceMean"), "ReduceMean"),
    "max pool": (mover("MaxPool", kernel_shape=[2, 2]), "MaxPool"),
    "max pool to another scale": (mover("MaxPool", kernel_shape=[2, 2], scale=0.06), "MaxPool"),
    "transpose": (mover("Transpose", perm=[0, 2, 3, 1]), "Transpose"),
    "transpose 16 bits": (mover("Transpose", perm=[0, 2, 3, 1], element=U16), "Transpose"),
    "slice": (mover("Slice", [0], [2], [1]), "Slice"),
    "gather": (mover("Gather", [0, 2], axis=1), "Gather"),
    "tile": (mover("Tile", [1, 1, 2, 2]), "Tile"),
    "expand": (mover("Expand", [3, 4, 8, 8]), "Expand"),
    "depth to space": (mover("DepthToSpace", blocksize=2), "DepthToSpace"),
    "space to depth": (mover("SpaceToDepth", blocksize=2), "SpaceToDepth"),
    "reduce max": (mover("ReduceMax", [2, 3]), "ReduceMax"),
    "gather elements": (mover("GatherElements", np.zeros((1, 4, 8, 8)), axis=1), "GatherElements"),
    "pad": (mover("Pad", [0, 0, 1, 1, 0, 0, 1, 1]), "Pad"),
    "argmax": (lambda m: m.op("ArgMax", m.dequantized(1, 4, 8), axis=1), "ArgMax"),
    "hard sigmoid": (unary("HardSigmoid"), "HardSigmoid"),
    "gelu": (unary("Gelu"), "Gelu"),
    "layer normalisation": (layer_normalization, "LayerNormalization"),
    "double conversion": (double, "QLinearSigmoid"),
    "squeezed": (squeezed, "QLinearMatMul"),
    "resize": (resize, "Resize"),
    "resize linear": (lambda m: resize(m, "linear"), "Resize"),
    "concat": (concat, "QLinearConcat"),
    "concat of signs": (lambda m: concat(m, second=S8), "QLinearConcat"),
    "concat of widths": (lambda m: concat(m, second=U16), "Concat"),
    "split": (split, "Split"),
    "where": (where, "QLinearWhere"),
    "where of a constant": (lambda m: where(m, constant=True), "QLinearWhere"),
    "shared": (shared, "QLinearConv"),
    "shared signed": (shared_signed, "Conv"),
    "chain": (chain, "QLinearConv"),
    "dynamic": (dynamic, "DynamicQuantizeMatMul"),
    "dynamic without bias": (lambda m: dynamic(m, bias=False), "DynamicQuantizeMatMul"),
    "dynamic shared": (lambda m: dynamic(m, shared=True), "MatMulIntegerToFloat"),
    "dynamic conv": (dynamic_conv, "ConvInteger"),
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_are_those_that_onnxruntime_makes(case: str, tmp_path: Path) -> None:
    build, expected = CASES[case]
    model = Model()
    path = model.saved(tmp_path, build(model))
    kernels = predicted(path)
    assert kernels == executed(path, tmp_path)
    assert expected in kernels
