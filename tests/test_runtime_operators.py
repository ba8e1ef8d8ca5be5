"""onnxruntime's own operators (``com.microsoft``): result types against what it computes, work against closed forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from graphs.frontends.onnx import load_onnx
from graphs.ir import Op, TensorType, definitions, infer_types, lowering
from graphs.ir.onnx_types import dtype_of, infer_with_onnx
from graphs.ir.primitives import Unknown

Operand = tuple[tuple[int, ...], str] | np.ndarray | None
"""A graph input's shape and element type, a constant's value, or an operand left out."""


@dataclass(frozen=True, slots=True)
class Row:
    op_type: str
    operands: Sequence[Operand]
    attributes: dict[str, Any] = field(default_factory=dict)
    results: int = 1
    macs: int = 0
    domain: str = "com.microsoft"


def f(*shape: int) -> Operand:
    return shape, "float32"


def scale() -> np.ndarray:
    return np.array(0.02, dtype="float32")


def zero(dtype: str = "uint8") -> np.ndarray:
    return np.array(1, dtype=dtype)


def u8(*shape: int) -> Operand:
    return shape, "uint8"


def s8(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype="int8")


B, S, T, H, D = 2, 5, 3, 4, 8
"""Batch, new positions, cached positions, heads, head size."""
E = H * D

PROJECTION = B * S * E * 3 * E
SCORES = 2 * B * H * S * D
"""MACs of scores and values for each key."""

ROWS = [
    Row("BiasGelu", [f(2, 3, 8), f(8)]),
    Row("FastGelu", [f(2, 3, 8), f(8)]),
    Row("FastGelu", [f(2, 3, 8)]),
    Row("QuickGelu", [f(2, 8)], {"alpha": 1.702}),
    Row("Gelu", [f(2, 8)]),
    Row("SkipLayerNormalization", [f(B, S, E), f(B, S, E), f(E), f(E), f(E)]),
    Row("SkipSimplifiedLayerNormalization", [f(B, S, E), f(B, S, E), f(E)]),
    Row("SimplifiedLayerNormalization", [f(B, S, E), f(E)], {"axis": -1}, domain=""),
    Row(
        "EmbedLayerNormalization",
        [
            np.zeros((B, S), "int32"),
            np.zeros((B, S), "int32"),
            *(f(20, E), f(10, E), f(2, E), f(E), f(E)),
        ],
        results=2,
    ),
    Row("FusedMatMul", [f(3, 5, 4), f(3, 6, 5)], {"transA": 1, "transB": 1, "alpha": 0.5}, macs=3 * 4 * 6 * 5),
    Row("FusedMatMul", [f(5, 2, 3, 4), f(2, 3, 4, 6)], {"transBatchA": 1}, macs=2 * 3 * 5 * 6 * 4),
    Row("FusedGemm", [f(3, 4), f(4, 5), f(5)], {"activation": "Relu"}, macs=60),
    Row("FusedConv", [f(1, 4, 8, 8), f(6, 2, 3, 3), f(6)], {"activation": "Relu", "group": 2}, macs=6 * 36 * 18),
    Row("FusedConv", [f(1, 4, 8, 8), f(6, 4, 3, 3), f(6), f(1, 6, 6, 6)], {"activation": "Relu"}, macs=6 * 36 * 36),
    Row("MatMulNBits", [f(2, 3, 32), np.zeros((16, 1, 16), "uint8"), np.ones(16, "float32")],
        {"K": 32, "N": 16, "bits": 4, "block_size": 32}, macs=6 * 32 * 16),
    Row("DynamicQuantizeMatMul", [f(2, 3, 8), s8(8, 4), scale()], macs=6 * 8 * 4),
    Row("MatMulIntegerToFloat", [u8(2, 3, 8), s8(8, 4), scale(), scale()], macs=6 * 8 * 4),
    Row("QGemm", [u8(3, 8), scale(), zero(), s8(8, 4), scale(), zero("int8"), None, scale(), zero()], macs=96),
    Row("QGemm", [u8(3, 8), scale(), zero(), s8(4, 8), scale(), zero("int8")], {"transB": 1}, macs=96),
    Row("QLinearConv", [u8(1, 4, 8, 8), scale(), zero(), s8(6, 4, 3, 3), scale(), zero("int8"), scale(), zero()],
        macs=6 * 36 * 36),
    Row("QLinearConv", [u8(1, 8, 8, 4), scale(), zero(), s8(6, 4, 3, 3), scale(), zero("int8"), scale(), zero()],
        {"channels_last": 1}, macs=6 * 36 * 36),
    Row("QLinearAdd", [u8(2, 3, 4), scale(), zero(), u8(4), scale(), zero(), scale(), zero()]),
    Row("QLinearMul", [u8(2, 3, 4), scale(), zero(), u8(2, 1, 1), scale(), zero(), scale(), zero()]),
    Row("QLinearSigmoid", [u8(2, 3), scale(), zero(), scale(), zero()]),
    Row("QLinearLeakyRelu", [u8(2, 3), scale(), zero(), scale(), zero()]),
    Row("QLinearSoftmax", [u8(2, 6), scale(), zero(), scale(), zero()], {"axis": -1, "opset": 13}),
    Row("QLinearConcat", [scale(), zero(), u8(2, 3), scale(), zero(), u8(2, 5), scale(), zero()], {"axis": 1}),
    Row("QLinearWhere", [np.ones((2, 1), "bool"), u8(2, 4), scale(), zero(), u8(4), scale(), zero(), scale(), zero()]),
    Row("QLinearAveragePool", [u8(1, 3, 8, 8), scale(), zero(), scale(), zero()],
        {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Row("QLinearAveragePool", [u8(1, 8, 8, 3), scale(), zero(), scale(), zero()],
        {"kernel_shape": [2, 2], "channels_last": 1}),
    Row("QLinearGlobalAveragePool", [u8(1, 3, 8, 8), scale(), zero(), scale(), zero()]),
    Row("QLinearGlobalAveragePool", [u8(1, 8, 8, 3), scale(), zero(), scale(), zero()], {"channels_last": 1}),
    Row("NhwcMaxPool", [u8(1, 8, 8, 3)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    Row("QuantizeLinear", [f(3, 4), scale(), zero("int8")]),
    Row("DequantizeLinear", [u8(3, 4), scale(), zero()]),
    Row("GatherND", [f(5, 4), np.zeros((3, 1), "int64")]),
    Row("Trilu", [f(4, 4)]),
    Row("Inverse", [f(2, 3, 3)]),
    Row("GridSample", [f(1, 3, 5, 5), f(1, 2, 4, 2)]),
    Row("Attention", [f(B, S, E), f(E, 3 * E), f(3 * E)], {"num_heads": H}, macs=PROJECTION + SCORES * S),
    Row("Attention", [f(B, S, E), f(E, 3 * E), f(3 * E), None, f(2, B, H, T, D)], {"num_heads": H}, results=2,
        macs=PROJECTION + SCORES * (S + T)),
    Row("QAttention", [u8(B, S, E), s8(E, 3 * E), f(3 * E), scale(), scale(), None, zero(), zero("int8")],
        {"num_heads": H}, macs=PROJECTION + SCORES * S),
    Row("MultiHeadAttention", [f(B, S, E), f(B, T, E), f(B, T, 2 * E)], {"num_heads": H},
        macs=B * H * S * T * D * 3),
    Row("MultiHeadAttention", [f(B, S, E), f(B, S, E), f(B, S, E), None, None, None, f(B, H, T, D), f(B, H, T, D)],
        {"num_heads": H}, results=3, macs=SCORES * (S + T)),
    Row("GroupQueryAttention",
        [f(B, 1, E), f(B, 1, E // 2), f(B, 1, E // 2), f(B, H // 2, T, D), f(B, H // 2, T, D),
         np.full(B, T, "int32"), np.array(T + 1, "int32")],
        {"num_heads": H, "kv_num_heads": H // 2}, results=3, macs=2 * B * H * D * (T + 1)),
    Row("GroupQueryAttention",
        [f(B, S, 2 * E), None, None, None, None, np.full(B, S - 1, "int32"), np.array(S, "int32")],
        {"num_heads": H, "kv_num_heads": H // 2}, results=3, macs=SCORES * S),
    Row("RotaryEmbedding", [f(B, H, S, D), np.zeros((B, S), "int64"), f(10, D // 2), f(10, D // 2)]),
    Row("DynamicQuantizeLSTM",
        [f(S, B, 6), s8(1, 6, 4 * D), s8(1, D, 4 * D), f(1, 8 * D), None, None, None, None,
         np.ones(1, "float32"), np.zeros(1, "int8"), np.ones(1, "float32"), np.zeros(1, "int8")],
        {"hidden_size": D}, results=3, macs=S * B * 4 * D * (6 + D)),
    Row("MoE", [f(7, 8), f(7, 4), f(4, 8, 16), f(4, 16), f(4, 16, 8), f(4, 8)], {"k": 2, "activation_type": "relu"},
        macs=7 * 2 * 2 * 8 * 16),
    Row("GatherBlockQuantized", [np.zeros((6, 16), "uint8"), np.zeros((2, 3), "int64"), np.ones((6, 1), "float32")],
        {"bits": 4, "block_size": 32, "gather_axis": 0, "quantize_axis": 1}),
    Row("UnfoldTensor", [f(2, 3, 9)], {"dim": 2, "size": 4, "step": 2}),
    Row("CropAndResize", [f(1, 3, 8, 8), f(5, 4), np.zeros(5, "int32"), np.array([4, 6], "int32")]),
    Row("MurmurHash3", [np.ones((2, 3), "int32")]),
    Row("NGramRepeatBlock", [np.ones((2, 6), "int64"), f(2, 10)], {"ngram_size": 3}),
    Row("QEmbedLayerNormalization",
        [np.zeros((B, S), "int32"), None, s8(20, E), s8(10, E), None, s8(E), s8(E), None,
         scale(), scale(), None, scale(), scale(), zero("int8"), zero("int8"), None, zero("int8"), zero("int8")],
        results=2),
    Row("WordConvEmbedding", [np.ones((3, 9), "int32"), f(5, 1, 4, 6), f(5), f(20, 6)],
        {"conv_window_size": 4, "embedding_size": 5, "char_embedding_size": 6}, macs=3 * 6 * 5 * 24),
    Row("AttnLSTM",
        [f(S, B, 6), f(1, 4 * D, 6 + 7), f(1, 4 * D, D), f(1, 8 * D), None, None, None, None,
         f(1, D, 9), f(1, 10, 9), f(1, 9), f(B, T, 10), None, f(1, 10 + D, 7)],
        {"hidden_size": D}, results=3,
        macs=S * B * 4 * D * (6 + 7 + D) + B * T * 9 * 10 + S * B * (9 * D + T * 10 + (10 + D) * 7)),
]  # fmt: skip


def _model(row: Row) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    names, inputs, weights, feeds = [], [], [], {}
    generator = np.random.default_rng(0)
    for index, operand in enumerate(row.operands):
        names.append("" if operand is None else f"x{index}")
        if isinstance(operand, np.ndarray):
            weights.append(onnx.numpy_helper.from_array(operand, names[-1]))
        elif operand is not None:
            shape, dtype = operand
            feeds[names[-1]] = (generator.random(shape) * 4).astype(dtype)
            element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            inputs.append(helper.make_tensor_value_info(names[-1], element, shape))
    outputs = [f"y{index}" for index in range(row.results)]
    node = helper.make_node(row.op_type, names, outputs, domain=row.domain, **row.attributes)
    infos = [onnx.ValueInfoProto(name=name) for name in outputs]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "one", inputs, infos, weights)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), feeds


def _run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def _typed(model: onnx.ModelProto) -> Op:
    (op,) = load_onnx(model).body
    types = infer_types(op) or infer_with_onnx(op) or ()
    for value, type_ in zip(op.results, types, strict=True):
        value.type = type_
    return op


def _id(row: Row) -> str:
    return f"{row.op_type}-{ROWS.index(row)}"


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_result_types_are_those_of_the_run(row: Row) -> None:
    model, feeds = _model(row)
    op = _typed(model)
    for value, array in zip(op.results, _run(model, feeds), strict=True):
        assert value.type == TensorType(dtype_of(helper.np_dtype_to_tensor_dtype(array.dtype)), array.shape)


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_work_is_the_closed_form(row: Row) -> None:
    lowered = lowering(_typed(_model(row)[0]))
    assert not [primitive for primitive in lowered.primitives if isinstance(primitive, Unknown)]
    assert lowered.primitives
    assert sum(primitive.macs for primitive in lowered.primitives) == row.macs


def test_every_operator_that_onnxruntime_knows_has_an_entry() -> None:
    """But those that it makes itself for devices whose layout has the channels last."""
    state = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    schemas = [schema for schema in state.get_all_operator_schema() if schema.domain.startswith("com.microsoft")]
    known = {f"{schema.domain}.{schema.name}" for schema in schemas}
    assert len(known) > 120
    assert known - definitions().keys() == set()


def test_a_mixture_reads_only_the_experts_in_use() -> None:
    experts, hidden, inner = 64, 8, 16
    row = Row(
        "MoE",
        [f(1, hidden), f(1, experts), f(experts, hidden, inner), None, f(experts, inner, hidden)],
        {"k": 2, "activation_type": "relu"},
    )
    reads = lowering(_typed(_model(row)[0])).reads
    assert reads == dict.fromkeys((2, 4), 2 * hidden * inner * 4)
    assert prod((experts, hidden, inner)) * 4 == 32 * reads[2]
