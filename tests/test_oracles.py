"""The oracles themselves: on networks with published totals, and on graphs small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from execution import Executed, executed_order, executed_shapes
from kernels import executed_kernels, f1
from liveness import arena_usage, constant_values, order_of_steps, peak_activation_memory
from macs import COUNTED, count_macs
from materialise import fan_in, is_complete, materialise, materialised, random_tensor
from onnx import TensorProto, helper
from onnxruntime import GraphOptimizationLevel

MODELS = Path(__file__).parents[1] / "examples" / "models"
Shape = tuple[int, ...]


def saved(
    folder: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, Shape],
    outputs: list[str],
    weights: dict[str, Shape] | None = None,
) -> Path:
    """A model file of float values; weights are random."""
    generator = np.random.default_rng(0)
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            onnx.numpy_helper.from_array(random_tensor(shape, np.dtype(np.float32), generator), name)
            for name, shape in (weights or {}).items()
        ],
    )
    path = folder / "by_hand.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


# -- multiply-accumulates ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "macs"), [("resnet50", 4_089_184_256), ("mobilenet_v2", 300_774_272)])
def test_macs_of_published_networks(name: str, macs: int) -> None:
    count = count_macs(MODELS / f"{name}.onnx")
    assert count.total == macs
    assert sum(count.per_op_type.values()) == macs
    assert set(count.per_op_type) == {"Conv", "Gemm"}


@pytest.mark.parametrize(
    ("op_type", "shapes", "attributes", "macs"),
    [
        ("Conv", [(2, 4, 5, 5), (6, 2, 3, 3), (6,)], {"group": 2}, 2 * 6 * 3 * 3 * (2 * 3 * 3)),
        ("Conv", [(1, 4, 10), (8, 4, 3)], {"strides": [2], "pads": [1, 1]}, 8 * 5 * (4 * 3)),
        ("ConvTranspose", [(1, 4, 5, 5), (4, 3, 2, 2)], {"group": 2, "strides": [2, 2]}, 4 * 25 * (3 * 4)),
        ("MatMul", [(3, 1, 5, 7), (2, 7, 11)], {}, 3 * 2 * 5 * 7 * 11),
        ("MatMul", [(7,), (7, 11)], {}, 7 * 11),
        ("Gemm", [(7, 5), (11, 7), (11,)], {"transA": 1, "transB": 1}, 5 * 7 * 11),
        ("LSTM", [(9, 2, 3), (1, 20, 3), (1, 20, 5)], {"hidden_size": 5}, 9 * 2 * 20 * (3 + 5)),
        (
            "GRU",
            [(9, 2, 3), (2, 15, 3), (2, 15, 5)],
            {"hidden_size": 5, "direction": "bidirectional"},
            2 * 9 * 2 * 15 * 8,
        ),
        ("Einsum", [(2, 3, 4), (2, 5, 4)], {"equation": "b i d, b j d -> b i j"}, 2 * 3 * 5 * 4),
        ("Einsum", [(6, 2, 3, 4), (6, 2, 4, 5)], {"equation": "...ik,...kj->...ij"}, 6 * 2 * 3 * 4 * 5),
        ("Einsum", [(3, 4)], {"equation": "ij->ji"}, 0),
    ],
)
def test_macs_by_hand(tmp_path: Path, op_type: str, shapes: list[Shape], attributes: dict[str, Any], macs: int) -> None:
    names = [f"i{index}" for index in range(len(shapes))]
    node = helper.make_node(op_type, names, ["y"], name="op", **attributes)
    path = saved(tmp_path, [node], dict(zip(names, shapes, strict=True)), ["y"])
    assert count_macs(path, executed_shapes(path)).per_node == {"op": macs}


def test_macs_of_an_ellipsis_that_broadcasts() -> None:
    """Not even onnx infers these shapes."""
    equation = {"equation": b"...ik,...kj->...ij"}
    assert COUNTED["Einsum"]([(6, 1, 3, 4), (2, 4, 5)], [(6, 2, 3, 5)], equation) == 6 * 2 * 3 * 4 * 5


def test_macs_want_a_shape_that_nobody_knows(tmp_path: Path) -> None:
    nodes = [helper.make_node("Custom", ["x"], ["a"], domain="acme"), helper.make_node("MatMul", ["a", "x"], ["y"])]
    path = saved(tmp_path, nodes, {"x": (4, 4)}, ["y"])
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("acme", 1))
    onnx.save(model, path)
    with pytest.raises(KeyError, match="'a'"):
        count_macs(path)


# -- liveness ---------------------------------------------------------------------------------------------------------

KILO = Executed("float32", (256,))
TWO_KILO = Executed("float32", (512,))


@pytest.fixture
def by_hand(tmp_path: Path) -> Path:
    """Four ops on 1 KiB: a branch that rejoins, and one op on weights alone."""
    nodes = [
        helper.make_node("Exp", ["x"], ["a"], name="exp"),
        helper.make_node("Concat", ["a", "a"], ["b"], name="concat", axis=0),
        helper.make_node("Neg", ["w"], ["c"], name="neg"),
        helper.make_node("Relu", ["b"], ["d"], name="relu"),
        helper.make_node("Add", ["d", "c"], ["y"], name="add"),
    ]
    return saved(tmp_path, nodes, {"x": (256,)}, ["y"], {"w": (512,)})


def test_liveness_by_hand(by_hand: Path) -> None:
    graph = onnx.load(by_hand).graph
    types = {"x": KILO, "a": KILO, "b": TWO_KILO, "d": TWO_KILO, "y": TWO_KILO}
    assert executed_shapes(by_hand) == {**types, "c": TWO_KILO}
    assert constant_values(graph) == {"w", "c"}
    # exp: x a = 2 KiB; concat: a b = 3 KiB; relu: b d = 4 KiB; add: d y = 4 KiB. The first of the two counts.
    peak = peak_activation_memory(graph, types)
    assert (peak.nbytes, peak.step, peak.node, peak.live) == (4096, 2, "relu", ("b", "d"))
    # In place, d lies in b: relu has 2 KiB, and add is the peak.
    peak = peak_activation_memory(graph, types, share="in_place")
    assert (peak.nbytes, peak.node, peak.live) == (4096, "add", ("b", "y"))


@pytest.mark.parametrize(("count_inputs", "nbytes"), [(True, 3072), (False, 2048)])
def test_liveness_of_inputs_and_views(tmp_path: Path, count_inputs: bool, nbytes: int) -> None:
    """x is read last by add: it lives through exp and reshape."""
    nodes = [
        helper.make_node("Exp", ["x"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["b"], name="reshape"),
        helper.make_node("Add", ["b", "x"], ["y"]),
    ]
    path = saved(tmp_path, nodes, {"x": (256,)}, ["y"])
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([256]), "shape"))
    types = dict.fromkeys("xaby", KILO)
    peak = peak_activation_memory(model.graph, types, count_inputs=count_inputs)
    assert (peak.nbytes, peak.node) == (nbytes, "reshape")
    shared = peak_activation_memory(model.graph, types, count_inputs=count_inputs, share="views")
    assert (shared.nbytes, shared.node) == (nbytes, "y"), "x, a, y at the end; a view costs nothing before"


def test_graph_outputs_live_to_the_end(tmp_path: Path) -> None:
    """Only because y is still there is the last op the peak: y b c."""
    chain = [("x", "y"), ("y", "a"), ("a", "b"), ("b", "c")]
    path = saved(tmp_path, [helper.make_node("Exp", [i], [o]) for i, o in chain], {"x": (256,)}, ["y", "c"])
    peak = peak_activation_memory(onnx.load(path).graph, dict.fromkeys("xyabc", KILO))
    assert (peak.nbytes, peak.step, peak.live) == (3072, 2, ("a", "b", "y"))


def test_steps_follow_a_run_but_never_overtake_what_they_read(by_hand: Path) -> None:
    graph = onnx.load(by_hand).graph
    assert [name for name in executed_order(by_hand) if name != "neg"] == ["exp", "concat", "relu", "add"]
    assert [node.name for node in order_of_steps(graph)] == ["exp", "concat", "relu", "add"]
    backwards = order_of_steps(graph, ["add", "relu", "concat", "exp"])
    assert [node.name for node in backwards] == ["exp", "concat", "relu", "add"]
    unnamed = order_of_steps(graph, ["exp", "relu_taken_apart", "concat", "add"])
    assert [node.name for node in unnamed] == ["exp", "concat", "relu", "add"]


@pytest.mark.parametrize(
    ("ops", "nbytes"),
    [
        ("Exp x a; Relu a b; Erf b y", 2048),  # b lies in a
        ("Exp x a; Relu a b; Tanh b c; Add a c y", 3072),  # b may not lie in a, which is read later; c lies in b
        ("Exp x a; Add a a b; Erf b y", 2048),
        ("Exp x a; Erf a b; Add a b c; Erf c y", 3072),  # an addition does not write over a or b
        ("Exp x a; Relu a y", 2048),  # nor does anything into a graph output
        ("Relu x a; Erf a y", 2048),  # nor over a graph input, which is not counted
    ],
)
def test_what_lies_in_place(tmp_path: Path, ops: str, nbytes: int) -> None:
    """Both accounts, on graphs that fit in a line: op, operands, result."""
    words = [op.split() for op in ops.split("; ")]
    path = saved(tmp_path, [helper.make_node(o, i, [r]) for o, *i, r in words], {"x": (256,)}, ["y"])
    types = executed_shapes(path)
    peak = peak_activation_memory(onnx.load(path).graph, types, count_inputs=False, share="in_place")
    assert peak.nbytes == nbytes
    assert arena_usage(path, GraphOptimizationLevel.ORT_DISABLE_ALL).requested == nbytes


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x1_0", "mobilenet_v2"])
def test_the_arena_agrees_with_brute_force_in_place(name: str) -> None:
    """To the byte: two accounts that share nothing but the model file."""
    path = MODELS / f"{name}.onnx"
    graph, types = onnx.load(path, load_external_data=False).graph, executed_shapes(path)
    steps = order_of_steps(graph, executed_order(path))
    peak = peak_activation_memory(graph, types, steps, count_inputs=False, share="in_place")
    assert arena_usage(path, GraphOptimizationLevel.ORT_DISABLE_ALL).requested == peak.nbytes


# -- kernels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicted", "actual", "score"),
    [
        ("", "", 1.0),
        ("a", "", 0.0),
        ("", "a", 0.0),
        ("aab", "aab", 1.0),
        ("aab", "ab", 2 * 2 / 5),  # one of two a is too many: precision 2/3, recall 1
        ("ac", "ab", 1 / 2),
        ("ab", "cd", 0.0),
    ],
)
def test_f1_of_multisets(predicted: str, actual: str, score: float) -> None:
    assert f1([(c, (1,)) for c in predicted], [(c, (1,)) for c in actual]) == pytest.approx(score)


def test_f1_wants_kind_and_shape() -> None:
    assert f1([("window", (1, 2))], [("window", (2, 1))]) == 0.0
    assert f1([("window", (1, 2))], [("layout", (1, 2))]) == 0.0
    assert f1([("layout", None)], [("layout", None)]) == 1.0


def test_kernels_have_logical_shapes(tmp_path: Path) -> None:
    """Channels are padded to a block where the layout is blocked; a linear layer runs as a matrix of two dimensions."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "m"], ["c"], name="matmul"),
        helper.make_node("Add", ["c", "bias"], ["y0"], name="add"),
        helper.make_node("Erf", ["y0"], ["y"], name="erf"),
    ]
    weights = {"w": (5, 3, 3, 3), "m": (6, 7), "bias": (7,)}
    path = saved(tmp_path, nodes, {"x": (1, 3, 8, 8)}, ["y"], weights)
    kernels = [kernel for kernel in executed_kernels(path) if not kernel.is_view]
    assert [kernel.key for kernel in kernels] == [
        ("contraction", (1, 5, 6, 6)),
        ("contraction", (1, 5, 6, 7)),
        ("elementwise", (1, 5, 6, 7)),
    ]
    assert kernels[0].attributes["activation"] == "Relu"
    assert kernels[1].executed_shape == (30, 7)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_made_up_weights_keep_a_network_in_range() -> None:
    generator = np.random.default_rng(0)
    vector = random_tensor((10_000,), np.dtype(np.float32), generator)
    assert 0.4 < vector.min() < vector.max() < 0.6, "a variance must be positive"
    matrix = random_tensor((400, 100), np.dtype(np.float32), generator)
    assert matrix.std() == pytest.approx(0.05, rel=0.02)
    assert matrix.dtype == vector.dtype == np.float32
    assert set(random_tensor((1000,), np.dtype(np.int64), generator)) == set(range(10))


def test_missing_weights_are_made_up_and_stored_ones_kept() -> None:
    path = MODELS / "squeezenet1_1.onnx"
    stored = {t.name: t for t in onnx.load(path, load_external_data=False).graph.initializer}
    assert not is_complete(path)
    made_up = materialise(path)
    assert not any(t.data_location == TensorProto.EXTERNAL for t in made_up.graph.initializer)
    for tensor in made_up.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        assert values.shape == tuple(stored[tensor.name].dims)
        if stored[tensor.name].data_location != TensorProto.EXTERNAL:
            assert tensor == stored[tensor.name]
        else:
            assert values.std() == pytest.approx(fan_in(values.shape) ** -0.5, rel=0.1)
    with materialised(path) as complete:
        assert is_complete(complete)
        from_file = onnx.load(complete)
    assert not complete.exists()
    assert [t.raw_data for t in from_file.graph.initializer] == [t.raw_data for t in made_up.graph.initializer]
