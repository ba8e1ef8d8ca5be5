"""onnxruntime's operators of other devices: result types against its own inference, work against closed forms.

Nothing runs here. onnxruntime infers types before it looks for kernels, which it may lack on a CPU: it has nothing to
say against the types that we infer, and refuses a model with any other extent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from graphs.frontends.onnx import load_onnx
from graphs.ir import Lowering, Op, TensorType, infer_types, lowering
from graphs.ir.onnx_types import number_of
from graphs.ir.primitives import Copy, Unknown

F32, F16, BF16, U8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.UINT8
I32, I64 = TensorProto.INT32, TensorProto.INT64

Operand = tuple[int, tuple[int, ...]] | np.ndarray | None
"""A graph input's element type and shape, a constant's value, or an operand left out."""


@dataclass(frozen=True, slots=True)
class Row:
    op_type: str
    operands: Sequence[Operand]
    attributes: dict[str, Any] = field(default_factory=dict)
    results: tuple[bool, ...] = (True,)
    """For each result whether it is written."""
    macs: int = 0


N, K, R = 16, 64, 5
"""Columns, products to a sum, rank of an adapter."""

LORA: list[Operand] = [
    (F32, (2, 3, K)), (U8, (N, 2, 16)), (F32, (N, 2)), (U8, (R, 2, 32)), (F32, (R, 2)), (U8, (N, 1, 32)), (F32, (N, 1)),
]  # fmt: skip

BRANCHES, H = 3, 8
STREAMS = BRANCHES * H
MIX: list[Operand] = [
    (F16, (2, 7, STREAMS)), (F16, (STREAMS,)), (F16, (STREAMS, R)), (F16, (R, STREAMS)), (F16, (STREAMS, BRANCHES)),
]  # fmt: skip
MIX_MACS = 2 * 7 * STREAMS * (2 * R + BRANCHES)

EXPERTS, INNER, HIDDEN = 6, 4, 32
TABLES: list[Operand] = [(U8, (EXPERTS, INNER, 20)), (U8, (EXPERTS, INNER, 20)), (U8, (EXPERTS, HIDDEN, 10))]

HEADS, GROUPS, STATES, SIZE, SLOTS = 4, 2, 128, 64, 3
DI = HEADS * SIZE
CHANNELS = DI + 2 * GROUPS * STATES
MAMBA: list[Operand] = [
    (BF16, (5, DI + CHANNELS + HEADS)), (BF16, (SLOTS, CHANNELS, 3)), (F32, (SLOTS, HEADS, STATES, SIZE)),
    (BF16, (CHANNELS, 4)), (BF16, (CHANNELS,)), (F32, (HEADS,)), (F32, (HEADS,)), (F32, (HEADS,)), (F32, (DI,)),
    (I32, (1,)),
]  # fmt: skip

ROWS = [
    Row("SwiGLU", [(F32, (2, 3, 8)), (F32, (2, 3, 8))]),
    Row("SwiGLU", [(F16, (2, 3, 8))], {"limit": 7.0, "activation_alpha": 1.702, "activation_beta": 1.0}),
    Row("GatherPacked", [(U8, (50, 34)), (I64, (2, 7))], {"packed_type": 8, "K": 32}),
    Row("GatherPacked", [(U8, (50, 34)), (I64, (2, 7))], {"packed_type": 8, "K": 32, "output_dtype": F32}),
    Row("MatMulPacked", [(F16, (2, 3, K)), (U8, (N, 36))], {"packed_type": 2, "N": N, "K": K}, macs=6 * N * K),
    Row("MatMulPacked", [(BF16, (3, K)), (U8, (N, 36)), (F32, ())],
        {"packed_type": 40, "N": N, "K": K, "activation_type": "relu_squared"}, macs=3 * N * K),
    Row("MatMulNBitsQLoRA", LORA, {"N": N, "K": K}, macs=6 * (N * K + R * K + N * R)),
    Row("MatMulNBitsQLoRA", [*LORA[:3], (U8, (0, 2, 32)), *LORA[4:]], {"N": N, "K": K}, macs=6 * (N * K + N * R)),
    Row("MatMulNBitsQLoRA", [*LORA[:5], (U8, (N, 0, 32)), LORA[6]], {"N": N, "K": K, "accuracy_level": 4},
        macs=6 * N * K),
    Row("RouterGateUpProj", [(BF16, (2, 3, K)), (BF16, (K, 6 + 2 * N))], {"router_size": 6}, (True, True),
        macs=6 * K * (6 + 2 * N)),
    Row("HyperConnectionLowRankMix", MIX, {"num_branches": BRANCHES}, (True, True), macs=MIX_MACS),
    Row("HyperConnectionLowRankMix", MIX, {"num_branches": BRANCHES}, (True, True, True), macs=MIX_MACS),
    Row("HyperConnectionLowRankMix", [*MIX, (F16, (2, 7, H)), (F16, (2, 7, BRANCHES))], {"num_branches": BRANCHES},
        (True, True, True), macs=MIX_MACS),
    Row("RMSNormRotary", [(BF16, (2, 5, 3, 16)), (F32, (16,)), (I64, (1,)), (F32, (9, 4)), (F32, (9, 4))],
        {"rotary_embedding_dim": 8}, (True, True)),
    Row("RMSNormRotary", [(BF16, (2, 5, 3, 16)), (F32, (10,)), (I64, (2, 5)), (BF16, (9, 4)), (BF16, (9, 4))],
        {"rotary_embedding_dim": 8, "input_start": 4, "input_width": 10, "flatten_batch": 1, "output_fp16": 1},
        (True, True)),
    Row("MoEPacked", [(F16, (7, HIDDEN)), (F32, (7, EXPERTS)), *TABLES],
        {"k": 2, "gate_type": 2, "up_type": 2, "down_type": 2}, macs=7 * 2 * 3 * INNER * HIDDEN),
    Row("MoEPacked", [(F16, (1, 7, HIDDEN)), (F16, (7, EXPERTS)), TABLES[0], None, TABLES[2], (F16, (7, EXPERTS))],
        {"k": 2, "gate_type": 16, "down_type": 16, "activation_type": "relu2"}, macs=7 * 2 * 2 * INNER * HIDDEN),
    Row("MoEGroupRouter", [(F16, (2, 3, EXPERTS)), (F32, (EXPERTS,))], {"top_k": 2, "n_group": 3, "topk_group": 2}),
    Row("MoEGroupRouter", [(F16, (7, 256)), (F32, (EXPERTS,)), (F16, (EXPERTS, 256))], {"top_k": 2},
        (False, True, True), macs=7 * 256 * EXPERTS),
    Row("PackedSparseAttentionIndexerMerge",
        [(I32, (4, 9)), (I32, (4,)), (I32, (7,)), (I32, (7,)), (I32, (7,))],
        {"max_output_entries": 12, "policy_mode": "append_range"}, (True, True, True)),
    Row("PackedSparseAttentionIndexerMerge",
        [(I32, (4, 9)), (I32, (4,)), (I32, (7,)), None, None, (I32, (7, 5)), (I32, (7,))],
        {"max_output_entries": 12, "policy_mode": "append_indices"}, (True, True, True)),
    Row("SpeculativePrefixCommit",
        [(I64, (2, 8)), (I64, (2, 8)), (I32, (4,)), (I64, (2, 16)), (I64, (2, 2)), (I64, (2, 16)), (I64, (2, 2))],
        {}, (True, True, True)),
    Row("SpeculativePrefixCommit",
        [(I64, (8,)), (I64, (8,)), (I32, (4,)), (I64, (16,)), (I64, (2,)), (I64, (16,)), (I64, (2,))],
        {}, (True, True, True)),
    Row("Mamba2Verify", MAMBA, {"heads": HEADS, "n_groups": GROUPS}, (True, True, True),
        macs=5 * (4 * CHANNELS + 2 * DI * STATES)),
    Row("Mamba2Verify", MAMBA, {"heads": HEADS, "n_groups": GROUPS}, (True,) * 5,
        macs=5 * (4 * CHANNELS + 2 * DI * STATES)),
    Row("GatedDeltaNetStateReplay",
        [(F32, (4096,)), (F32, (4096,)), (F32, (5000,)), np.array([0, 0, 0, 40, 200, 4, 16, 8, 2, 10, 3])],
        macs=3 * 4 * 16 * 8),
    Row("ConvStateReplay", [(F16, (400,)), (F16, (300,)), (F16, (500,)), np.array([0, 0, 0, 2, 6, 3, 8, 2])]),
]  # fmt: skip


def _id(row: Row) -> str:
    return f"{row.op_type}-{ROWS.index(row)}"


def _model(row: Row, stated: Sequence[TensorType] = ()) -> onnx.ModelProto:
    names, inputs, weights = [], [], []
    for index, operand in enumerate(row.operands):
        names.append("" if operand is None else f"x{index}")
        if isinstance(operand, np.ndarray):
            weights.append(onnx.numpy_helper.from_array(operand, names[-1]))
        elif operand is not None:
            inputs.append(helper.make_tensor_value_info(names[-1], *operand))
    outputs = [f"y{index}" if written else "" for index, written in enumerate(row.results)]
    node = helper.make_node(row.op_type, names, outputs, "node", domain="com.microsoft", **row.attributes)
    infos = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    if stated:
        types = [(number_of(type_.dtype), type_.shape) for type_ in stated]
        infos = [helper.make_tensor_value_info(n, *t) for n, t in zip(outputs, types, strict=True) if n]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "one", inputs, infos, weights)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _verdict(model: onnx.ModelProto) -> str:
    """What onnxruntime says of a model whose types it checks strictly; nothing where it loads."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.strict_shape_type_inference", "1")
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own, which have no class in common
        return str(error)
    return ""


def _typed(row: Row) -> Op:
    (op,) = load_onnx(_model(row)).body
    types = infer_types(op)
    assert types is not None
    for value, type_ in zip(op.results, types, strict=True):
        value.type = type_
    return op


def _types(row: Row) -> list[TensorType]:
    return [value.type for value in _typed(row).results if isinstance(value.type, TensorType)]


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_types_are_those_that_onnxruntime_infers(row: Row) -> None:
    types = _types(row)
    verdict = _verdict(_model(row, types))
    assert not verdict or "NOT_IMPLEMENTED" in verdict
    for index, type_ in enumerate(types):
        for axis in range(len(type_.dims)) if row.results[index] else ():
            extents = list(type_.dims)
            extents[axis] += 1
            wrong = [*types[:index], TensorType(type_.dtype, tuple(extents)), *types[index + 1 :]]
            assert "differ. Inferred=" in _verdict(_model(row, wrong)), (index, axis)


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_work_is_the_closed_form(row: Row) -> None:
    lowered = lowering(_typed(row))
    assert not [primitive for primitive in lowered.primitives if isinstance(primitive, Unknown)], lowered
    assert sum(primitive.macs for primitive in lowered.primitives) == row.macs
    assert all(count >= 0 for count in (*lowered.reads.values(), *lowered.writes.values()))


def _row(op_type: str, index: int = 0) -> Row:
    return [row for row in ROWS if row.op_type == op_type][index]


def _lowered(op_type: str, index: int = 0) -> Lowering:
    return lowering(_typed(_row(op_type, index)))


def test_only_the_rows_in_use_are_read() -> None:
    assert _lowered("GatherPacked").reads == {0: 2 * 7 * 34}
    assert _lowered("RMSNormRotary").reads == {0: 2 * 5 * 3 * 16 * 2, 3: 9 * 4 * 4, 4: 9 * 4 * 4}
    assert _lowered("RMSNormRotary", 1).reads[0] == 2 * 5 * 3 * 10 * 2


def test_a_packed_mixture_reads_the_experts_in_use() -> None:
    row = _row("MoEPacked")
    one = Row(row.op_type, [(F16, (1, HIDDEN)), (F32, (1, EXPERTS)), *TABLES], row.attributes)
    assert lowering(_typed(one)).reads == {2: 2 * INNER * 20, 3: 2 * INNER * 20, 4: 2 * HIDDEN * 10}


def test_a_router_that_chooses_nothing_writes_two_of_its_results() -> None:
    assert _lowered("MoEGroupRouter", 1).writes == {0: 0}
    assert {primitive.tag for primitive in _lowered("MoEGroupRouter", 1).primitives} == {"gemm", "elementwise"}


def test_snapshots_are_read_once_and_written_for_each_token() -> None:
    one = {1: CHANNELS * 3 * 2, 2: HEADS * STATES * SIZE * 4}
    assert _lowered("Mamba2Verify").reads == one
    assert _lowered("Mamba2Verify").writes == {index: SLOTS * count for index, count in one.items()}


def test_a_replay_moves_what_its_constant_says() -> None:
    state = 4 * 16 * 8 * 4
    delta = _lowered("GatedDeltaNetStateReplay")
    assert (delta.reads, delta.writes) == ({0: state, 1: 3 * (4 + 2 * 8 + 4 * 16) * 4, 2: 0}, {0: state})
    history = _lowered("ConvStateReplay")
    assert (history.reads, history.writes) == ({0: 2 * 6 * 1 * 2, 1: 2 * 6 * 2 * 2, 2: 0}, {0: 2 * 6 * 3 * 2})


def test_a_replay_that_only_a_run_describes_is_bounded_or_unknown() -> None:
    history, delta = _row("ConvStateReplay"), _row("GatedDeltaNetStateReplay")
    moved = lowering(_typed(Row(history.op_type, [*history.operands[:3], (I64, (8,))])))
    assert moved.primitives == (Copy(500, _types(history)[0].dtype),)
    (unknown,) = lowering(_typed(Row(delta.op_type, [*delta.operands[:3], (I64, (11,))]))).primitives
    assert isinstance(unknown, Unknown)
    assert "known only when it runs" in unknown.reason
