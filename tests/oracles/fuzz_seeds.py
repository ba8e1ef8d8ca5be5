"""What fuzzing starts from: small models that are right, of every operator and of real networks.

Three sources: pieces cut out of the bundled networks, made-up models of what those lack (control flow, quantisation,
contrib operators, functions), and the cases of onnx's own backend suite, their integer inputs as constants too.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

__all__ = ["backend_models", "light_models", "made_up_models", "pieces"]

MODELS = Path(__file__).parents[2] / "examples" / "models"
OPSET = 18
PIECES = 12
LONGEST_PIECE = 24
F32, I64, BOOL, I8, U8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8


@cache
def light_models() -> tuple[ModelProto, ...]:
    """Pieces of the bundled networks and the made-up models."""
    return (*made_up_models(), *(piece for path in sorted(MODELS.glob("*.onnx")) for piece in pieces(path)))


# -- pieces of real networks ------------------------------------------------------------------------------------------


def pieces(path: Path) -> Iterator[ModelProto]:
    """A few runs of consecutive nodes of a network, what they read from outside as inputs of the inferred types."""
    whole = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    chance = random.Random(path.name)
    nodes = whole.graph.node
    for number in range(PIECES):
        length = min(len(nodes), chance.randrange(2, LONGEST_PIECE))
        start = 0 if not number else chance.randrange(len(nodes) - length + 1)
        yield _piece(whole, nodes[start : start + length])


def _piece(whole: ModelProto, nodes: Sequence[NodeProto]) -> ModelProto:
    graph = whole.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    types = {info.name: info for info in (*graph.value_info, *graph.input, *graph.output)}
    made = {name for node in nodes for name in node.output}
    read = dict.fromkeys(name for node in nodes for name in node.input if name)
    outside = [name for name in read if name not in made]
    piece = GraphProto(name="piece", node=nodes, initializer=[weights[name] for name in outside if name in weights])
    piece.input.extend(types.get(name) or ValueInfoProto(name=name) for name in outside if name not in weights)
    piece.output.extend(types.get(name) or ValueInfoProto(name=name) for name in made if name and name not in read)
    return ModelProto(ir_version=8, opset_import=whole.opset_import, graph=piece)


# -- what the bundled networks lack -----------------------------------------------------------------------------------


def _info(name: str, dims: Sequence[int | str] | None, dtype: int = F32) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def _model(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[str],
    weights: dict[str, np.ndarray] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> ModelProto:
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "made_up", inputs, [ValueInfoProto(name=name) for name in outputs], stored)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=functions)


def _body(
    nodes: Sequence[NodeProto], outputs: Sequence[ValueInfoProto], inputs: Sequence[ValueInfoProto] = ()
) -> GraphProto:
    return helper.make_graph(nodes, "body", inputs, outputs)


def _branches() -> ModelProto:
    make = helper.make_node
    inner = make(
        "If", ["c"], ["v"],
        then_branch=_body([make("Relu", ["x"], ["r"])], [_info("r", None)]),
        else_branch=_body([make("MatMul", ["x", "w"], ["s"])], [_info("s", None)]),
    )  # fmt: skip
    outer = make(
        "If", ["c"], ["y"],
        then_branch=_body([inner, make("Neg", ["v"], ["n"])], [_info("n", None)]),
        else_branch=_body([make("Identity", ["x"], ["i"])], [_info("i", ["batch", 4])]),
    )  # fmt: skip
    return _model([outer], [_info("x", ["batch", 4]), _info("c", [], BOOL)], ["y"], {"w": np.ones((4, 4), np.float32)})


def _loop() -> ModelProto:
    make = helper.make_node
    body = _body(
        [make("Identity", ["go"], ["on"]), make("Add", ["state", "w"], ["next"]), make("Shape", ["next"], ["extent"])],
        [_info("on", [], BOOL), _info("next", None), _info("extent", None, I64)],
        [_info("i", [], I64), _info("go", [], BOOL), _info("state", None)],
    )
    weights = {"trips": np.array(5), "start": np.array(True), "w": np.ones(4, np.float32)}
    return _model(
        [make("Loop", ["trips", "start", "x"], ["y", "z"], body=body)], [_info("x", [2, 4])], ["y", "z"], weights
    )


def _scan() -> ModelProto:
    make = helper.make_node
    body = _body(
        [make("Add", ["state", "slice"], ["next"]), make("Exp", ["next"], ["out"])],
        [_info("next", [4]), _info("out", [4])],
        [_info("state", [4]), _info("slice", [4])],
    )
    node = make("Scan", ["s", "x"], ["y", "z"], body=body, num_scan_inputs=1, scan_input_axes=[0])
    return _model([node], [_info("s", [4]), _info("x", ["time", 4])], ["y", "z"])


def _sequences() -> ModelProto:
    make = helper.make_node
    nodes = [
        make("SplitToSequence", ["x"], ["s"], axis=0, keepdims=1),
        make("SequenceAt", ["s", "one"], ["e"]),
        make("SequenceInsert", ["s", "e"], ["t"]),
        make("ConcatFromSequence", ["t"], ["y"], axis=0),
        make("Optional", ["y"], ["o"]),
        make("OptionalGetElement", ["o"], ["z"]),
    ]
    return _model(nodes, [_info("x", [3, 4])], ["z"], {"one": np.array(1)})


def _shape_arithmetic() -> ModelProto:
    make = helper.make_node
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Gather", ["shape", "zero"], ["batch"], axis=0),
        make("Unsqueeze", ["batch", "zero1"], ["batch1"]),
        make("Concat", ["batch1", "minus1"], ["target"], axis=0),
        make("Reshape", ["x", "target"], ["flat"]),
        make("Range", ["zero", "end", "step"], ["range"]),
        make("ConstantOfShape", ["shape"], ["zeros"], value=helper.make_tensor("v", F32, [1], [2.0])),
        make("Expand", ["flat", "wide"], ["expanded"]),
        make("Tile", ["range", "repeats"], ["tiled"]),
        make("Slice", ["shape", "zero1", "two", "zero1"], ["front"]),
        make("Pad", ["x", "pads"], ["padded"]),
        make("Resize", ["x", "", "scales"], ["resized"], mode="nearest"),
        make("Einsum", ["x", "x"], ["gram"], equation="bchw,bchw->bc"),
        make("NonZero", ["flat"], ["where"]),
    ]
    weights = {
        "zero": np.array(0), "zero1": np.array([0]), "minus1": np.array([-1]), "end": np.array(7), "step": np.array(2),
        "wide": np.array([3, 1, 1]), "repeats": np.array([4]), "two": np.array([2]),
        "pads": np.array([0, 0, 1, 1, 0, 0, 2, 2]), "scales": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    outputs = ["zeros", "expanded", "tiled", "front", "padded", "resized", "gram", "where"]
    return _model(nodes, [_info("x", [2, 3, 8, 8])], outputs, weights)


def _quantised() -> ModelProto:
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make("DequantizeLinear", ["q", "s", "z"], ["d"]),
        make("DequantizeLinear", ["wq", "sw", "zw"], ["w"], axis=0),
        make("Conv", ["d", "w"], ["c"], pads=[1, 1, 1, 1]),
        make("Relu", ["c"], ["r"]),
        make("QuantizeLinear", ["r", "s", "z"], ["p"]),
        make("QLinearConv", ["p", "s", "z", "v", "s", "zi", "s", "z"], ["o"]),
        make("DynamicQuantizeLinear", ["r"], ["dq", "ds", "dz"]),
        make("ConvInteger", ["dq", "v"], ["ci"]),
        make("QLinearAdd", ["o", "s", "z", "o", "s", "z", "s", "z"], ["y"], domain="com.microsoft"),
    ]
    weights = {
        "s": np.float32(0.1), "z": np.uint8(128), "zi": np.int8(0), "wq": np.ones((4, 3, 3, 3), np.int8),
        "sw": np.ones(4, np.float32), "zw": np.zeros(4, np.int8), "v": np.ones((4, 4, 1, 1), np.int8),
    }  # fmt: skip
    return _model(nodes, [_info("x", [1, 3, 8, 8])], ["y", "ci"], weights)


def _contrib() -> ModelProto:
    def own(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> NodeProto:
        return helper.make_node(operator, inputs, outputs, domain="com.microsoft", **attributes)

    nodes = [
        own("SkipLayerNormalization", ["x", "x", "g", "g"], ["n"]),
        own("Attention", ["n", "wa", "ba"], ["a"], num_heads=2),
        own("MatMulNBits", ["a", "packed", "scales"], ["m"], K=32, N=32, bits=4, block_size=16),
        own("BiasGelu", ["m", "g"], ["b"]),
        own("FusedMatMul", ["b", "b"], ["f"], transB=1),
        own("GroupQueryAttention", ["x", "x", "x", "", "", "lens", "total"], ["q", "k", "v"], num_heads=2,
            kv_num_heads=1),
        own("RotaryEmbedding", ["x", "ids", "cos", "cos"], ["r"]),
        own("MoE", ["x", "router", "fc1", "", "fc2"], ["e"], k=2),
        own("NhwcMaxPool", ["image"], ["pool"], kernel_shape=[2, 2]),
    ]  # fmt: skip
    weights = {
        "g": np.ones(32, np.float32), "wa": np.ones((32, 96), np.float32), "ba": np.ones(96, np.float32),
        "packed": np.ones((32, 2, 8), np.uint8), "scales": np.ones(64, np.float32), "lens": np.array([3], np.int32),
        "total": np.array(4, np.int32), "ids": np.array([[0]]), "cos": np.ones((8, 8), np.float32),
        "router": np.ones((4, 4), np.float32), "fc1": np.ones((4, 32, 64), np.float32),
        "fc2": np.ones((4, 64, 32), np.float32),
    }  # fmt: skip
    return _model(
        nodes, [_info("x", [1, "seq", 32]), _info("image", [1, 8, 8, 4], U8)], ["f", "q", "r", "e", "pool"], weights
    )


def _function() -> ModelProto:
    make = helper.make_node
    inner = helper.make_function(
        "own", "Square", ["a"], ["b"], [make("Mul", ["a", "a"], ["b"])], [helper.make_opsetid("", OPSET)]
    )
    outer = helper.make_function(
        "own", "Twice", ["a"], ["c"],
        [make("Square", ["a"], ["b"], domain="own"), make("Square", ["b"], ["c"], domain="own")],
        [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)],
    )  # fmt: skip
    node = make("Twice", ["x"], ["y"], domain="own", name="twice")
    return _model([node], [_info("x", ["n", 4])], ["y"], functions=[inner, outer])


def _recurrent() -> ModelProto:
    make = helper.make_node
    nodes = [
        make("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=4, direction="bidirectional"),
        make("GRU", ["x", "wg", "rg"], ["z"], hidden_size=4),
    ]
    weights = {
        "w": np.ones((2, 16, 3), np.float32), "r": np.ones((2, 16, 4), np.float32), "b": np.ones((2, 32), np.float32),
        "wg": np.ones((1, 12, 3), np.float32), "rg": np.ones((1, 12, 4), np.float32),
    }  # fmt: skip
    return _model(nodes, [_info("x", ["t", 1, 3])], ["y", "z"], weights)


def _gradient() -> ModelProto:
    make = helper.make_node
    domain = "ai.onnx.preview.training"
    nodes = [
        make("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        make("Relu", ["c"], ["r"]),
        make("Flatten", ["r"], ["f"]),
        make("MatMul", ["f", "v"], ["m"]),
        make("ReduceSum", ["m"], ["y"], keepdims=0),
        make("Gradient", ["w", "v", "x"], ["dw", "dv"], domain=domain, xs=["w", "v"], zs=["x"], y="y"),
        make("Gradient", ["r", "u"], ["dr"], domain=domain, xs=["r"], zs=["v"], y="m"),
    ]
    inputs = [_info("x", [1, 2, 4, 4]), _info("w", [3, 2, 3, 3]), _info("v", [48, 5]), _info("u", [48, 5])]
    model = _model(nodes, inputs, ["y", "dw", "dv", "dr"])
    model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


@cache
def made_up_models() -> tuple[ModelProto, ...]:
    """One model for each of the things that the bundled networks do not do."""
    return (
        _branches(), _loop(), _scan(), _sequences(), _shape_arithmetic(), _quantised(), _contrib(), _function(),
        _recurrent(), _gradient(),
    )  # fmt: skip


# -- onnx's backend suite ---------------------------------------------------------------------------------------------


@cache
def backend_models() -> tuple[ModelProto, ...]:
    """The models of onnx's node cases, and each that has integer inputs again with those as constants."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for case in collect_testcases() if case.model is not None]
    models = [case.model for case in cases]
    return (*models, *(known for case in cases if (known := _with_constants(case.model, case.data_sets))))


def _with_constants(model: ModelProto, data_sets: Sequence[tuple[Sequence[object], object]]) -> ModelProto | None:
    """The model with its integer inputs as initialisers, ``None`` if it has none."""
    values = dict(zip((info.name for info in model.graph.input), data_sets[0][0] if data_sets else (), strict=False))
    known = {
        name: array
        for name, array in values.items()
        if isinstance(array, np.ndarray) and array.dtype.kind in "iub" and array.size <= 64
    }
    if not known:
        return None
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = [info for info in copy.graph.input if info.name not in known]
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    copy.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in known.items())
    return copy
