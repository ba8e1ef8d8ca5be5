"""The ``tfl`` dialect against the schema: every builtin operator has an entry, and work is the textbook's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from graphs.ir import (
    CONSTANT,
    INPUT,
    Attribute,
    Dense,
    DType,
    Graph,
    Op,
    TensorType,
    definition,
    definitions,
    infer_types,
    lowering,
)
from graphs.ir.primitives import Unknown, flops

F32, I8, I32, I64, BOOL = DType.F32, DType.I8, DType.I32, DType.I64, DType.BOOL

Operand = tuple[DType, tuple[int, ...]] | Dense | None
"""An input's type, a small constant, or an operand left out."""


@dataclass(frozen=True, slots=True)
class Row:
    """An operation, the shape of its first result, and how much work it is."""

    name: str
    operands: Sequence[Operand]
    shape: tuple[int, ...]
    macs: int = 0
    ops: int = 0
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    dtype: DType = F32
    results: int = 1


def f(*shape: int) -> Operand:
    return F32, shape


def q(*shape: int) -> Operand:
    return I8, shape


def i(*values: int) -> Dense:
    return Dense.of(I32, (len(values),), values)


def scalar(value: int) -> Dense:
    return Dense.of(I32, (), (value,))


CONV = {"padding": "SAME", "stride_h": 2, "stride_w": 2, "fused_activation_function": "RELU6"}
SAME = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
VALID = {"padding": "VALID", "stride_h": 1, "stride_w": 1}
WIDE = {"new_axis_mask": 1, "ellipsis_mask": 2}
POOL = {"padding": "VALID", "stride_h": 2, "stride_w": 2, "filter_height": 2, "filter_width": 2}
HYBRID = 2 + 4
"""What a hybrid kernel does to each activation first: its range, then quantisation."""
REQUANTIZE = 4
LSTM = [f(5, 2, 3), *[f(4, 3)] * 4, *[f(4, 4)] * 4, *[None] * 3, *[f(4)] * 4, None, None, f(2, 4), f(2, 4)]
DOT = {
    "lhs_batching_dimensions": (0,), "rhs_batching_dimensions": (0,),
    "lhs_contracting_dimensions": (2,), "rhs_contracting_dimensions": (1,),
}  # fmt: skip
RNN = [f(5, 2, 3), f(4, 3), f(4, 4), f(4), f(2, 4)]
GATES = 8 + 3 * 3 + 2 + 4
"""Two projections and a bias added for each of four gates; three sigmoids, two hyperbolic tangents; four that join."""

ROWS = [
    Row("CONV_2D", [f(1, 9, 9, 3), f(8, 3, 3, 3), f(8)], (1, 5, 5, 8), 25 * 8 * 27, 2 * 200, CONV),
    Row("CONV_2D", [q(1, 9, 9, 3), q(8, 3, 3, 3), f(8)], (1, 5, 5, 8), 25 * 8 * 27, REQUANTIZE * 200, CONV, I8),
    Row("CONV_2D", [f(1, 9, 9, 3), q(8, 3, 3, 3), f(8)], (1, 5, 5, 8), 25 * 8 * 27, HYBRID * 243 + 4 * 200, CONV),
    Row("CONV_2D", [f(1, 9, 9, 4), f(8, 3, 3, 2), f(8)], (1, 7, 7, 8), 49 * 8 * 9 * 2, 0, VALID),
    Row("DEPTHWISE_CONV_2D", [f(1, 9, 9, 4), f(1, 3, 3, 8)], (1, 7, 7, 8), 49 * 8 * 9, 0, VALID),
    Row("TRANSPOSE_CONV", [i(1, 8, 8, 5), f(5, 3, 3, 4), f(1, 4, 4, 4)], (1, 8, 8, 5), 16 * 4 * 5 * 9, 0, SAME),
    Row("CONV_3D", [f(1, 5, 5, 5, 2), f(3, 3, 3, 2, 4)], (1, 3, 3, 3, 4), 27 * 4 * 27 * 2, 0, VALID | {"stride_d": 1}),
    Row("FULLY_CONNECTED", [f(2, 3, 4), f(5, 4), f(5)], (6, 5), 6 * 20),
    Row("FULLY_CONNECTED", [f(2, 3, 4), f(5, 4), f(5)], (2, 3, 5), 6 * 20, 0, {"keep_num_dims": True}),
    Row("BATCH_MATMUL", [f(2, 3, 4), f(2, 5, 4)], (2, 3, 5), 2 * 60, 0, {"adj_y": True}),
    Row("AVERAGE_POOL_2D", [q(1, 4, 4, 3)], (1, 2, 2, 3), 0, 12 * 4, POOL, I8),
    Row("ADD", [f(2, 3), f(3)], (2, 3), 0, 6),
    Row("ADD", [q(2, 3), q(3)], (2, 3), 0, 6 * (2 * 2 + 1 + REQUANTIZE), {}, I8),
    Row("ADD", [f(2, 3), f(3)], (2, 3), 0, 12, {"fused_activation_function": "RELU"}),
    Row("LOGISTIC", [q(2, 3)], (2, 3), 0, 6 * (2 + 3 + REQUANTIZE), {}, I8),
    Row("HARD_SWISH", [f(4)], (4,), 0, 20),
    Row("SELECT_V2", [(BOOL, (3,)), f(2, 3), f(2, 3)], (2, 3), 0, 6),
    Row("QUANTIZE", [f(4)], (4,), 0, 16, {}, I8),
    Row("DEQUANTIZE", [q(4)], (4,), 0, 8),
    Row("MEAN", [f(1, 4, 4, 3), i(1, 2)], (1, 3), 0, 48 + 3),
    Row("MEAN", [f(1, 4, 4, 3), i(1, 2)], (1, 1, 1, 3), 0, 48 + 3, {"keep_dims": True}),
    Row("ARG_MAX", [f(2, 5), scalar(1)], (2,), 0, 10, {}, I64),
    Row("SOFTMAX", [f(2, 5)], (2, 5), 0, 50),
    Row("CONCATENATION", [f(2, 3), f(2, 4)], (2, 7), 0, 0, {"axis": -1}),
    Row("TRANSPOSE", [f(2, 3, 4), i(2, 0, 1)], (4, 2, 3)),
    Row("PAD", [f(1, 4, 4, 3), i(0, 0, 1, 1, 2, 2, 0, 0)], (1, 6, 8, 3)),
    Row("SPLIT", [scalar(1), f(2, 6)], (2, 3), results=2),
    Row("SPLIT_V", [f(2, 6), i(2, -1), scalar(1)], (2, 2), results=2),
    Row("PACK", [f(2, 3)] * 4, (2, 4, 3), 0, 0, {"axis": 1}),
    Row("UNPACK", [f(2, 4, 3)], (2, 3), 0, 0, {"axis": 1}, results=4),
    Row("SLICE", [f(5, 6), i(1, 2), i(2, -1)], (2, 4)),
    Row("STRIDED_SLICE", [f(5, 6), i(0, 4), i(5, 0), i(2, -2)], (3, 2)),
    Row("STRIDED_SLICE", [f(5, 6, 7), i(2, 0), i(3, 4), i(1, 1)], (6, 7), 0, 0, {"shrink_axis_mask": 1, "end_mask": 2}),
    Row("STRIDED_SLICE", [f(5, 6), i(0, 0), i(0, 0), i(1, 1)], (1, 5, 6), 0, 0, WIDE),
    Row("RESHAPE", [f(2, 6), i(3, -1)], (3, 4)),
    Row("RESHAPE", [f(2, 6)], (3, 4), 0, 0, {"new_shape": (3, 4)}),
    Row("EXPAND_DIMS", [f(2, 6), scalar(-1)], (2, 6, 1)),
    Row("SQUEEZE", [f(2, 1, 6)], (2, 6), 0, 0, {"squeeze_dims": (1,)}),
    Row("SPACE_TO_DEPTH", [f(1, 4, 6, 3)], (1, 2, 3, 12), 0, 0, {"block_size": 2}),
    Row("DEPTH_TO_SPACE", [f(1, 2, 3, 12)], (1, 4, 6, 3), 0, 0, {"block_size": 2}),
    Row("SPACE_TO_BATCH_ND", [f(1, 5, 6, 3), i(2, 3), i(0, 1, 0, 0)], (6, 3, 2, 3)),
    Row("BATCH_TO_SPACE_ND", [f(6, 3, 2, 3), i(2, 3), i(0, 1, 0, 0)], (1, 5, 6, 3)),
    Row("RESIZE_BILINEAR", [f(1, 4, 4, 3), i(8, 8)], (1, 8, 8, 3), 0, 192 * 8),
    Row("GATHER", [f(5, 6), (I32, (2, 3))], (2, 3, 6), 0, 0, {"axis": 0, "batch_dims": 0}),
    Row("GATHER", [f(2, 5, 6), (I32, (2, 3))], (2, 3, 6), 0, 0, {"axis": 1, "batch_dims": 1}),
    Row("GATHER_ND", [f(5, 6, 7), (I32, (4, 2))], (4, 7)),
    Row("ONE_HOT", [(I32, (3,)), scalar(5), f(), f()], (3, 5), 0, 0, {"axis": -1}),
    Row("TILE", [f(2, 3), i(2, 2)], (4, 6)),
    Row("BROADCAST_TO", [f(3), i(2, 3)], (2, 3)),
    Row("FILL", [i(2, 3), f()], (2, 3)),
    Row("SHAPE", [f(2, 3)], (2,), dtype=I32),
    Row("UNIDIRECTIONAL_SEQUENCE_LSTM", LSTM, (5, 2, 4), 10 * 4 * (3 + 4) * 4, 40 * GATES, {"time_major": True}),
    Row("UNIDIRECTIONAL_SEQUENCE_RNN", RNN, (5, 2, 4), 10 * 4 * 7, 40 * 3, {"time_major": True}),
    Row("SVDF", [f(2, 3), f(8, 3), f(8, 10), f(4), f(2, 80)], (2, 4), 2 * 8 * 3 + 2 * 8 * 10, 16, {"rank": 2}),
    Row("TOPK_V2", [f(2, 8), scalar(3)], (2, 3), 0, 16 * 2, results=2),
    Row("STABLEHLO_DOT_GENERAL", [f(2, 3, 4), f(2, 4, 5)], (2, 3, 5), 120, 0, DOT),
]  # fmt: skip

TYPES_IN_THE_FILE = {"STABLEHLO_DOT_GENERAL"}
"""Operators whose result types only the file states."""


def operation(row: Row, typed: bool) -> Op:
    graph = Graph("one")
    operands = []
    for number, operand in enumerate(row.operands):
        if isinstance(operand, Dense):
            operands.append(graph.add(CONSTANT, [], [(f"c{number}", operand.type)], {"value": operand}).result)
        elif operand is None:
            operands.append(None)
        else:
            operands.append(graph.add(INPUT, [], [(f"x{number}", TensorType(*operand))]).result)
    shape = row.shape if typed else None
    results = [(f"y{number}", TensorType(row.dtype, shape)) for number in range(row.results)]
    return graph.add(f"tfl.{row.name}", operands, results, row.attributes)


every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_every_builtin_operator_has_an_entry() -> None:
    builtin = pytest.importorskip("tflite.BuiltinOperator").BuiltinOperator
    names = {f"tfl.{name}" for name, number in vars(builtin).items() if isinstance(number, int)}
    assert len(names) > 200
    assert names <= definitions().keys()
    extra = {name for name in definitions() if name.startswith("tfl.") and not name.startswith("tfl.custom.")}
    assert extra - names == {"tfl.UNINITIALIZED"}
    assert all(definition(name).doc for name in names)


@every_row
def test_work(row: Row) -> None:
    primitives = lowering(operation(row, typed=True)).primitives
    assert not [primitive for primitive in primitives if isinstance(primitive, Unknown)]
    assert sum(primitive.macs for primitive in primitives) == row.macs
    assert sum(flops(primitive) for primitive in primitives) - 2 * row.macs == row.ops


@every_row
def test_result_shapes_follow_from_the_operands(row: Row) -> None:
    types = infer_types(operation(row, typed=False))
    if row.name in TYPES_IN_THE_FILE:
        assert types is None
        return
    assert types is not None and len(types) == row.results
    assert isinstance(types[0], TensorType) and types[0].shape == row.shape
