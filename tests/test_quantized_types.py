"""Weights of few bits: their bytes, packed, in every type that ONNX has, and what is counted of their scales."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

import graphs
from graphs.frontends.onnx import load_onnx
from graphs.ir import DType, TensorType

K, N, BLOCK = 64, 32, 16
TARGET = "intel-core-i7-12700k:onnxruntime-cpu"
WIDTHS = {
    "INT2": 2, "UINT2": 2, "INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT8": 8, "UINT8": 8, "FLOAT8E4M3FN": 8,
    "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "INT16": 16, "UINT16": 16,
}  # fmt: skip


def tensor(name: str, element: int, *shape: int) -> onnx.TensorProto:
    """A weight whose numbers are elsewhere: only types are read."""
    made = TensorProto(name=name, data_type=element, dims=shape, data_location=TensorProto.EXTERNAL)
    made.external_data.add(key="location", value="absent.bin")
    return made


def model(element: str, block: int = 0) -> onnx.ModelProto:
    """x · dequantised weight, with one scale or one for each block of the sum."""
    scales = (K // block, N) if block else ()
    attributes = {"block_size": block, "axis": 0} if block else {}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"], name="dequantize", **attributes),
        helper.make_node("MatMul", ["x", "f"], ["y"], name="product"),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "weights",
        [info("x", TensorProto.FLOAT, [3, K])],
        [info("y", TensorProto.FLOAT, [3, N])],
        [tensor("w", getattr(TensorProto, element), K, N), tensor("s", TensorProto.FLOAT, *scales)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)


@pytest.mark.parametrize("block", [0, BLOCK])
@pytest.mark.parametrize("element", WIDTHS)
def test_weights_count_packed(element: str, block: int) -> None:
    scales = 4 * (K // block * N if block else 1)
    report = graphs.run("fuse{rules=none},lower,cost", load_onnx(model(element, block)), target=TARGET)
    dequantize, product = report.kernels
    assert report.total.weight_bytes == dequantize.weight_bytes == K * N * WIDTHS[element] // 8 + scales
    assert dequantize.bytes - dequantize.weight_bytes == K * N * 4
    assert (product.macs, product.arithmetic_precision) == (3 * K * N, "fp32")
    assert report.total.exact


@pytest.mark.parametrize("element", ["INT4", "UINT4", "INT8"])
def test_packed_products_multiply_integers_and_read_few_bytes(element: str) -> None:
    """accuracy_level 4, which onnxruntime gives them, quantises the other factor."""
    report = graphs.run("fuse,lower,cost", load_onnx(model(element, BLOCK)), target=TARGET)
    (kernel,) = report.kernels
    packed, scales = K * N * WIDTHS[element] // 8, 4 * K // BLOCK * N
    zeros = (N * -(-(K // BLOCK) * 4 // 8)) if element == "UINT4" else 0
    assert (kernel.pattern, kernel.arithmetic_precision) == ("MatMulNBits", "int8")
    assert (kernel.macs, kernel.weight_bytes) == (3 * K * N, packed + scales + zeros)
    assert report.total.macs_by_precision == {"int8": 3 * K * N}


def test_quantisation_takes_its_type_from_the_zero_point_or_the_attribute() -> None:
    info = helper.make_tensor_value_info
    for element, attributes, zero in (
        (DType.UI8, {}, None),
        (DType.I16, {"output_dtype": TensorProto.INT16}, None),
        (DType.F8E4M3FN, {}, TensorProto.FLOAT8E4M3FN),
        (DType.I4, {}, TensorProto.INT4),
        (DType.F4E2M1FN, {"output_dtype": TensorProto.FLOAT4E2M1, "block_size": BLOCK, "axis": 0}, None),
    ):
        names = ["x", "s", *(["z"] if zero else [])]
        node = helper.make_node("QuantizeLinear", names, ["y"], name="quantize", **attributes)
        scales = (K // BLOCK, N) if "block_size" in attributes else ()
        weights = [tensor("s", TensorProto.FLOAT, *scales), *([tensor("z", zero)] if zero else [])]
        graph = helper.make_graph([node], "q", [info("x", 1, [K, N])], [onnx.ValueInfoProto(name="y")], weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
        (op,) = graphs.run("shape", load_onnx(made)).graph.body
        assert op.result.type == TensorType(element, (K, N))


def test_mixed_precision_within_one_kernel_goes_by_its_products() -> None:
    """A recurrent layer with 8-bit weights multiplies integers; its gates are floats."""
    nodes = [
        helper.make_node(
            "DynamicQuantizeLSTM",
            ["x", "w", "r", "", "", "", "", "", "ws", "wz", "rs", "rz"],
            ["y"],
            domain="com.microsoft",
            hidden_size=N,
        )
    ]
    info = helper.make_tensor_value_info
    weights = [
        tensor("w", TensorProto.INT8, 1, K, 4 * N),
        tensor("r", TensorProto.INT8, 1, N, 4 * N),
        *(tensor(name, TensorProto.FLOAT, 1) for name in ("ws", "rs")),
        *(tensor(name, TensorProto.INT8, 1) for name in ("wz", "rz")),
    ]
    graph = helper.make_graph(nodes, "lstm", [info("x", 1, [5, 1, K])], [onnx.ValueInfoProto(name="y")], weights)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    report = graphs.run("lower,cost", load_onnx(helper.make_model(graph, opset_imports=opsets)), target=TARGET)
    (kernel,) = report.kernels
    assert (kernel.macs, kernel.arithmetic_precision) == (5 * 4 * N * (K + N), "int8")
    assert report.total.macs_by_precision == {"int8": kernel.macs}
