"""Small TFLite files with one of everything: what is broken to see how the frontend takes it."""

from __future__ import annotations

import numpy as np
from tiny_tflite import (
    BOOL,
    INT4,
    INT8,
    INT32,
    RESOURCE,
    Operator,
    Signature,
    Subgraph,
    Tensor,
    constant,
    model,
)

__all__ = ["files"]


def files() -> tuple[bytes, ...]:
    """Serialised models."""
    return (_network(), _control_flow(), _sparse(), _state(), _recurrent())


def _network() -> bytes:
    tensors = [
        Tensor("serving_default_x:0", (1, 9, 9, 3), INT8, signature=(-1, 9, 9, 3), scale=[0.5], zero_point=[-3]),
        Tensor("layer/conv;layer/relu", (4, 3, 3, 3), INT8, bytes(108), scale=[0.5] * 4, zero_point=[0] * 4),
        Tensor("conv", (1, 5, 5, 4), INT8, signature=(-1, 5, 5, 4), scale=[1.0]),
        constant("shape", [-1, 100]),
        Tensor("flat", (1, 100), INT8, signature=(-1, 100), scale=[1.0]),
        Tensor("w", (10, 100), INT4, bytes(500), scale=[1.0]),
        Tensor("y", (1, 10), INT8, signature=(-1, 10), scale=[1.0]),
    ]
    conv = {"StrideH": 2, "StrideW": 2, "FusedActivationFunction": 1}
    ops = [
        Operator("CONV_2D", [0, 1, -1], [2], "Conv2DOptions", conv),
        Operator("RESHAPE", [2, 3], [4], "ReshapeOptions", {"NewShape": [-1, 100]}),
        Operator("FULLY_CONNECTED", [4, 5, -1], [6], "FullyConnectedOptions"),
    ]
    signature = Signature("serving_default", 0, {"x": 0})
    return model(Subgraph(tensors, ops, [0], [6]), signatures=[signature], metadata={"min_runtime_version": b"1.14.0"})


def _control_flow() -> bytes:
    scalar, x, truth = Tensor("i", (), INT32), Tensor("x", (4, 8)), Tensor("more", (), BOOL)
    main = [scalar, x, Tensor("i_out", (), INT32), Tensor("y", (4, 8)), constant("zero", 0), truth, Tensor("z", (4, 8))]
    steps = [
        Operator("WHILE", [4, 1], [2, 3], "WhileOptions", {"CondSubgraphIndex": 1, "BodySubgraphIndex": 2}),
        Operator("IF", [5, 3], [6], "IfOptions", {"ThenSubgraphIndex": 3, "ElseSubgraphIndex": 3}),
    ]
    body = [scalar, x, constant("one", 1), Tensor("next", (), INT32), Tensor("xx", (4, 8))]
    add = [Operator("ADD", [0, 2], [3], "AddOptions"), Operator("MUL", [1, 1], [4], "MulOptions")]
    return model(
        Subgraph(main, steps, [1, 5], [6]),
        Subgraph([scalar, x, constant("limit", 5), truth], [Operator("LESS", [0, 2], [3])], [0, 1], [3], "cond"),
        Subgraph(body, add, [0, 1], [3, 4], "body"),
        Subgraph([x, Tensor("y", (4, 8))], [Operator("RELU", [0], [1])], [0], [1], "branch"),
        signatures=[Signature("a", 0, {"x": 1}), Signature("b", 2, {"i": 0})],
    )


def _sparse() -> bytes:
    sparse = Tensor("w", (4, 3), data=bytes(20), sparsity={"traversal_order": [0, 1], "formats": [0, 1]})
    shape = constant("begin", [0, 0])
    shape.outside = True
    tensors = [Tensor("x", (2, 3)), sparse, Tensor("dense", (4, 3)), Tensor("y", (2, 4)), shape, Tensor("z", (1, 2))]
    tensors += [constant("end", [1, 2]), constant("strides", [1, 1])]
    ops = [
        Operator("DENSIFY", [1], [2]),
        Operator("FULLY_CONNECTED", [0, 2], [3], "FullyConnectedOptions"),
        Operator("STRIDED_SLICE", [3, 4, 6, 7], [5], "StridedSliceOptions", {"EndMask": 2}),
    ]
    return model(Subgraph(tensors, ops, [0], [5]))


def _state() -> bytes:
    tensors = [Tensor("x", (4,)), Tensor("handle", (), RESOURCE), Tensor("y", (4,)), Tensor("s", (4,), variable=True)]
    tensors += [Tensor("z", (4,)), Tensor("u", (4,))]
    ops = [
        Operator("VAR_HANDLE", [], [1], "VarHandleOptions", {"SharedName": "state", "Container": ""}),
        Operator("ASSIGN_VARIABLE", [1, 0], []),
        Operator("READ_VARIABLE", [1], [2]),
        Operator("Mine", [2, 3], [4], custom=b"\x01\x02\x03"),
        Operator(300, [4], [5]),
    ]
    return model(Subgraph(tensors, ops, [0], [5]))


def _recurrent() -> bytes:
    weights = [Tensor(f"w{n}", (4, 3 if n < 4 else 4), data=np.zeros((4, 3 if n < 4 else 4), "<f4")) for n in range(8)]
    biases = [Tensor(f"b{n}", (4,), data=bytes(16)) for n in range(4)]
    states = [Tensor("h", (2, 4), variable=True), Tensor("c", (2, 4), variable=True)]
    tensors = [Tensor("x", (5, 2, 3)), *weights, *biases, *states, Tensor("y", (5, 2, 4))]
    operands = [0, *range(1, 9), -1, -1, -1, *range(9, 13), -1, -1, 13, 14, -1, -1, -1, -1]
    options = {"FusedActivationFunction": 4, "TimeMajor": True}
    lstm = Operator("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, [15], "UnidirectionalSequenceLSTMOptions", options)
    return model(Subgraph(tensors, [lstm], [0], [15]))
