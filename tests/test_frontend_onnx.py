"""ONNX files of every age and shape load, verify and come through text, and have the types that ONNX gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from tiny_models import BOOL, F32, I64, NEWEST, body, branch, floats, model, small_network, value, weight

import graphs
from graphs.frontends import FrontendError
from graphs.frontends.onnx import load_onnx
from graphs.ir import CONSTANT, Symbol
from graphs.passes.lower import Work

OPSETS = (7, 9, 11, 13, 17, 21, NEWEST)


def loaded(proto: ModelProto, folder: Path) -> graphs.Graph:
    """Load from a file, prove the graph sound, and take it through text."""
    path = folder / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    graph = graphs.load(path)
    graphs.verify(graph)
    assert graphs.parse(str(graph)) == graph
    return graph


def inferred(graph: graphs.Graph, **dims: int) -> graphs.Graph:
    """After ``bind`` and ``shape``, proved sound and taken through text again."""
    found = graphs.run("shape", graph, target="intel-core-i7-12700k", dims=dims).graph
    assert graphs.parse(str(found)) == found
    return found


def shape_of(graph: graphs.Graph, name: str) -> tuple[int | Symbol, ...]:
    type = graph.value(name).type
    assert isinstance(type, graphs.TensorType) and type.shape is not None, f"{name}: {type}"
    return type.shape


# -- opsets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(opset: int, tmp_path: Path) -> None:
    graph = loaded(small_network(opset), tmp_path)
    assert graph.attributes["opset"] == {"ai.onnx": opset, "com.example": 1}
    types = inferred(graph)
    shapes = {name: shape_of(types, name) for name in ("c", "b", "r", "p", "q", "s", "d", "mask", "y")}
    image = (1, 8, 10, 10)
    assert shapes == {
        **dict.fromkeys("cbr", image),
        "p": (1, 8, 1, 1),
        "q": (1, 8),
        **dict.fromkeys(("s", "d", "mask", "y"), (1, 4)),
    }
    mask = types.value("mask").type
    assert isinstance(mask, graphs.TensorType)
    assert mask.dtype is (graphs.DType.BOOL if opset >= 10 else graphs.DType.F32)
    report = graphs.run("fuse,lower,cost,coverage", graph, target="intel-core-i7-12700k")
    assert report.total.macs == 8 * 100 * 27
    assert report.total.exact


@pytest.mark.parametrize("opset", OPSETS)
def test_softmax_axis_follows_the_opset(opset: int) -> None:
    proto = model([helper.make_node("Softmax", ["x"], ["y"])], [value("x", [2, 3, 4])], ["y"], opset=opset)
    (softmax,) = load_onnx(proto).body
    assert softmax.attributes.get("axis", -1) == (1 if opset < 13 else -1)


@pytest.mark.parametrize(
    ("nodes", "weights", "dims"),
    [
        ([("Add", ["x", "b"], {"broadcast": 1, "axis": 1})], [("b", (3,))], (2, 3, 4, 5)),
        ([("Mul", ["x", "b"], {"broadcast": 1, "axis": -2})], [("b", (4, 5))], (2, 3, 4, 5)),
        ([("Gemm", ["m", "w", "c"], {"broadcast": 1})], [("m", (2, 6)), ("w", (6, 7)), ("c", (7,))], (2, 7)),
        ([("Reshape", ["x"], {"shape": [2, -1]})], [], (2, 60)),
        ([("Pad", ["x"], {"paddings": [0, 0, 1, 1, 0, 0, 1, 1]})], [], (2, 3, 6, 7)),
        ([("Upsample", ["x"], {"height_scale": 2.0, "width_scale": 3.0})], [], (2, 3, 8, 15)),
        ([("Concat", ["x", "x"], {})], [], (2, 6, 4, 5)),
        ([("Cast", ["x"], {"to": "INT32"})], [], (2, 3, 4, 5)),
        ([("Dropout", ["x"], {"is_test": 1})], [], (2, 3, 4, 5)),
        ([("LpPool", ["x"], {"kernel_shape": [2, 2], "p": 2.0})], [], (2, 3, 3, 4)),
    ],
)
def test_opsets_before_7_are_read_as_what_they_mean_in_7(
    nodes: list[tuple[str, list[str], dict[str, object]]], weights: list[tuple[str, tuple[int, ...]]], dims: Any
) -> None:
    (name, operands, attributes), *_ = nodes
    node = helper.make_node(name, operands, ["y"], consumed_inputs=[0], **attributes)
    opset = 6 if name in ("Add", "Mul", "Gemm", "Dropout") else 1
    known = [weight(label, floats(*shape)) for label, shape in weights]
    graph = graphs.run("lower", load_onnx(model([node], [value("x", [2, 3, 4, 5])], ["y"], known, opset))).graph
    assert graph.outputs[0].operands[0].type.dims == dims  # type: ignore[union-attr]  # a tensor
    assert all(op.facts[Work].unknown == () for op in graph.body)


def test_what_an_old_opset_had_and_none_has_now_is_refused() -> None:
    tile = helper.make_node("Tile", ["x", "n", "axis"], ["y"])
    known = [weight("n", np.array(2)), weight("axis", np.array(1))]
    with pytest.raises(FrontendError, match="Tile as opset 1 had it is not read") as caught:
        load_onnx(model([tile], [value("x", [2, 3])], ["y"], known, opset=1))
    assert "version_converter" in caught.value.help


# -- subgraphs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17, 21, NEWEST])
def test_if_captures_outer_values(opset: int, tmp_path: Path) -> None:
    choose = helper.make_node(
        "If",
        ["cond"],
        ["y"],
        name="choose",
        then_branch=branch("MatMul", ["h", "w"], "t"),
        else_branch=branch("MatMul", ["h", "v"], "e"),
    )
    nodes = [helper.make_node("Relu", ["x"], ["h"]), choose]
    weights = [weight("w", floats(64, 64)), weight("v", floats(64, 64))]
    graph = loaded(model(nodes, [value("cond", [], BOOL), value("x", [2, 64])], ["y"], weights, opset), tmp_path)
    op = next(op for op in graph.body if op.name == "onnx.If")
    assert {operand.name for operand in op.inputs} == {"cond", "h", "w", "v"}
    assert op.attributes["captures"] == 3
    for region in op.regions:
        assert [entry.result.name for entry in region.inputs] == [operand.name for operand in list(op.inputs)[1:]]
    assert shape_of(inferred(graph), "y") == (2, 64)
    assert graphs.run("lower", graph, target="intel-core-i7-12700k").total.macs == 2 * 64 * 64


def test_loop_with_a_known_trip_count(tmp_path: Path) -> None:
    step = body(
        "step",
        [
            helper.make_node("MatMul", ["state", "w"], ["next"]),
            helper.make_node("Identity", ["keep"], ["again"]),
            helper.make_node("ReduceSum", ["next"], ["sum"], keepdims=0),
        ],
        [value("i", [], I64), value("keep", [], BOOL), value("state", [2, 32])],
        "again",
        "next",
        "sum",
    )
    loop = helper.make_node("Loop", ["trips", "", "x"], ["last", "sums"], name="loop", body=step)
    weights = [weight("trips", np.array(5)), weight("w", floats(32, 32))]
    graph = loaded(model([loop], [value("x", [2, 32])], ["last", "sums"], weights), tmp_path)
    (op,) = (op for op in graph.body if op.name == "onnx.Loop")
    assert op.operands[1] is None
    types = inferred(graph)
    assert shape_of(types, "last") == (2, 32)
    assert graphs.run("lower", graph, target="intel-core-i7-12700k").total.macs == 5 * 2 * 32 * 32


def test_scan_captures_a_weight(tmp_path: Path) -> None:
    step = body(
        "step",
        [helper.make_node("MatMul", ["row", "w"], ["m"]), helper.make_node("Add", ["m", "state"], ["next"])],
        [value("state", [1, 16]), value("row", [1, 16])],
        "next",
        "m",
    )
    scan = helper.make_node("Scan", ["s0", "rows"], ["last", "all"], body=step, num_scan_inputs=1)
    inputs = [value("s0", [1, 16]), value("rows", [7, 1, 16])]
    graph = loaded(model([scan], inputs, ["last", "all"], [weight("w", floats(16, 16))]), tmp_path)
    types = inferred(graph)
    assert shape_of(types, "last") == (1, 16)
    assert shape_of(types, "all") == (7, 1, 16)
    assert graphs.run("lower", graph, target="intel-core-i7-12700k").total.macs == 7 * 16 * 16


def test_a_nested_subgraph_reads_from_two_levels_out(tmp_path: Path) -> None:
    inner = body("inner", [helper.make_node("Add", ["x", "a"], ["in"])], [], "in")
    other = body("other", [helper.make_node("Sub", ["x", "a"], ["out"])], [], "out")
    outer = body(
        "outer",
        [
            helper.make_node("Neg", ["x"], ["a"]),
            helper.make_node("If", ["second"], ["deep"], then_branch=inner, else_branch=other),
        ],
        [],
        "deep",
    )
    plain = body("plain", [helper.make_node("Abs", ["x"], ["flat"])], [], "flat")
    choose = helper.make_node("If", ["first"], ["y"], then_branch=outer, else_branch=plain)
    inputs = [value("first", [], BOOL), value("second", [], BOOL), value("x", [3, 5])]
    graph = loaded(model([choose], inputs, ["y"]), tmp_path)
    (op,) = graph.body
    assert {operand.name for operand in op.inputs} == {"first", "second", "x"}
    assert sum(member.name == "onnx.If" for member in graph.walk()) == 2
    assert shape_of(inferred(graph), "y") == (3, 5)


def test_a_subgraph_may_hand_an_outer_value_through(tmp_path: Path) -> None:
    passed, made = body("passed", [], [], "x"), body("made", [helper.make_node("Neg", ["x"], ["n"])], [], "n")
    choose = helper.make_node("If", ["c"], ["y"], then_branch=passed, else_branch=made)
    graph = loaded(model([choose], [value("c", [], BOOL), value("x", [4])], ["y"]), tmp_path)
    assert shape_of(inferred(graph), "y") == (4,)


# -- functions, constants, weights ------------------------------------------------------------------------------------


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17)]
    nodes = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Relu", ["m"], ["r"])]
    linear = helper.make_function("com.example", "Linear", ["a", "b"], ["r"], nodes, imports)
    twice = helper.make_function(
        "com.example",
        "Twice",
        ["a", "b"],
        ["s"],
        [
            helper.make_node("Linear", ["a", "b"], ["h"], domain="com.example"),
            helper.make_node("Linear", ["h", "b"], ["s"], domain="com.example"),
        ],
        [*imports, helper.make_opsetid("com.example", 1)],
    )
    call = helper.make_node("Twice", ["x", "w"], ["y"], domain="com.example")
    proto = model([call], [value("x", [2, 8])], ["y"], [weight("w", floats(8, 8))], functions=[linear, twice])
    graph = loaded(proto, tmp_path)
    assert [op.name for op in graph.body] == ["onnx.MatMul", "onnx.Relu"] * 2
    assert shape_of(inferred(graph), "y") == (2, 8)


def test_constant_in_every_spelling(tmp_path: Path) -> None:
    dense = numpy_helper.from_array(np.arange(6, dtype=np.int64).reshape(2, 3))
    sparse = helper.make_sparse_tensor(weight("", floats(2)), weight("", np.array([1, 5])), [8])
    spellings = {
        "tensor": ({"value": dense}, graphs.DType.I64, (2, 3)),
        "sparse": ({"sparse_value": sparse}, graphs.DType.F32, (8,)),
        "float": ({"value_float": 1.5}, graphs.DType.F32, ()),
        "floats": ({"value_floats": [1.0, 2.0]}, graphs.DType.F32, (2,)),
        "int": ({"value_int": 3}, graphs.DType.I64, ()),
        "ints": ({"value_ints": [3, 4, 5]}, graphs.DType.I64, (3,)),
        "string": ({"value_string": "a"}, graphs.DType.STRING, ()),
        "strings": ({"value_strings": ["a", "b"]}, graphs.DType.STRING, (2,)),
    }
    nodes = [helper.make_node("Constant", [], [name], **attributes) for name, (attributes, *_) in spellings.items()]
    graph = loaded(model(nodes, [], list(spellings)), tmp_path)
    for name, (_, dtype, shape) in spellings.items():
        assert graph.value(name).op.name == CONSTANT
        assert graph.value(name).type == graphs.TensorType(dtype, shape), name
    kept = graph.value("ints").constant
    assert kept is not None and kept.values == (3, 4, 5)


def test_a_sparse_initialiser_has_its_dense_shape(tmp_path: Path) -> None:
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", [4, 16])], ["y"])
    sparse = helper.make_sparse_tensor(weight("w", floats(3)), weight("w_at", np.array([0, 9, 40])), [16, 8])
    proto.graph.sparse_initializer.append(sparse)
    graph = loaded(proto, tmp_path)
    assert graph.value("w").type == graphs.TensorType(graphs.DType.F32, (16, 8))
    assert shape_of(inferred(graph), "y") == (4, 8)


def test_external_data_may_be_missing(tmp_path: Path) -> None:
    external = TensorProto(name="w", data_type=F32, dims=[1 << 20, 4096], data_location=TensorProto.EXTERNAL)
    external.external_data.add(key="location", value="nowhere.bin")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = loaded(model(nodes, [value("x", [1, 1 << 20])], ["y"], [external]), tmp_path)
    report = graphs.run("fuse,lower,cost", graph, target="intel-core-i7-12700k")
    assert report.total.weight_bytes == 16 << 30
    assert report.total.macs == 4096 << 20


def test_an_initialiser_that_is_an_input_too_is_a_weight(tmp_path: Path) -> None:
    inputs = [value("x", [2, 4]), value("w", [4, 4])]
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], inputs, ["y"], [weight("w", floats(4, 4))], 8)
    proto.ir_version = 3
    graph = loaded(proto, tmp_path)
    assert [entry.result.name for entry in graph.inputs] == ["x"]
    assert graph.value("w").is_constant


def test_symbolic_dimensions_are_bound_by_name(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    proto = model(nodes, [value("x", ["batch", None, 8])], ["y"], [weight("w", floats(8, 4))])
    graph = loaded(proto, tmp_path)
    assert shape_of(graph, "x") == (Symbol("batch"), Symbol("x.1"), 8)
    bound = inferred(graph, **{"batch": 3, "x.1": 5})
    assert shape_of(bound, "y") == (3, 5, 4)
    assert shape_of(inferred(graph), "y") == (Symbol("batch"), Symbol("x.1"), 4)
    with pytest.raises(graphs.PassError, match="no symbolic dimension 'bach'; did you mean \"batch\""):
        inferred(graph, bach=3)


def test_shape_arithmetic_on_symbols_is_folded_once_bound(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    weights = [weight("zero", np.array([0])), weight("rest", np.array([-1, 2]))]
    bound = inferred(loaded(model(nodes, [value("x", ["n", 6])], ["y"], weights), tmp_path), n=4)
    assert shape_of(bound, "y") == (4, 3, 2)
    assert [op.name for op in bound.body] == ["onnx.Reshape"]


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["h"], ["y"]), helper.make_node("Neg", ["x"], ["h"])]
    graph = loaded(model(nodes, [value("x", [2])], ["y"]), tmp_path)
    assert [op.name for op in graph.body] == ["onnx.Neg", "onnx.Relu"]


def test_huge_dimensions(tmp_path: Path) -> None:
    huge = 1 << 40
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    graph = loaded(model(nodes, [value("x", [huge, huge])], ["y"]), tmp_path)
    report = graphs.run("fuse,lower,memory,cost", graph, target="intel-core-i7-12700k")
    assert report.total.flops == huge * huge
    assert report.total.peak_activation_bytes == 2 * 4 * huge * huge


def test_a_negative_input_dimension_is_open(tmp_path: Path) -> None:
    """Some exporters write -1 for a dimension that they leave open."""
    graph = loaded(model([helper.make_node("Relu", ["x"], ["y"])], [value("x", [2, -1])], ["y"]), tmp_path)
    assert shape_of(graph, "x") == (2, Symbol("x.1"))
    assert shape_of(inferred(graph, **{"x.1": 6}), "y") == (2, 6)
