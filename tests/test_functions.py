"""Local functions are seen through: attributes, defaults, overloads, nesting, opsets; and never without end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TensorProto, helper
from tiny_models import value

import graphs
from graphs.frontends.onnx import load_onnx
from graphs.frontends.onnx_functions import MOST_NODES, inlined
from graphs.frontends.registry import FrontendError
from graphs.ir import DType, Graph, TensorType
from graphs.passes.lower import Work

node = helper.make_node


def function(
    name: str, nodes: Sequence[NodeProto], takes: Sequence[str] = ("a",), gives: Sequence[str] = ("b",),
    opset: int = 17, overload: str = "", **more: object,
) -> FunctionProto:  # fmt: skip
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    made = helper.make_function("local", name, takes, gives, nodes, imports, **more)
    made.overload = overload
    return made


def call(name: str, takes: Sequence[str], gives: Sequence[str], label: str = "", overload: str = "", **more: object):  # type: ignore[no-untyped-def]  # a node
    made = node(name, takes, gives, name=label, domain="local", **more)
    made.overload = overload
    return made


def model(nodes: Sequence[NodeProto], functions: Sequence[FunctionProto], opset: int = 17) -> ModelProto:
    graph = helper.make_graph(nodes, "g", [value("x", [2, 3, 4])], [onnx.ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=imports, ir_version=10)


def referring(made: NodeProto, attribute: str, to: str, type: int = AttributeProto.INT) -> NodeProto:
    entry = made.attribute.add()
    entry.name, entry.ref_attr_name, entry.type = attribute, to, type
    return made


def typed(proto: ModelProto) -> Graph:
    return graphs.run("lower", load_onnx(proto)).graph


def result(graph: Graph) -> object:
    made = graph.outputs[0].operands[0]
    return made.type if made else None


FLATTENED = function("Flat", [referring(node("Flatten", ["a"], ["b"], name="inner"), "axis", "at")], attributes=["at"])
DEFAULTED = function(
    "Flat",
    [referring(node("Flatten", ["a"], ["b"], name="inner"), "axis", "at")],
    attribute_protos=[helper.make_attribute("at", 2)],
)


@pytest.mark.parametrize(
    ("made", "given", "dims"),
    [
        (FLATTENED, {"at": 2}, (6, 4)),
        (FLATTENED, {"at": 0}, (1, 24)),
        (FLATTENED, {}, (2, 12)),  # Flatten's own default is 1
        (DEFAULTED, {}, (6, 4)),
        (DEFAULTED, {"at": 3}, (24, 1)),
    ],
)
def test_attributes_are_the_calls_or_the_functions_defaults(
    made: FunctionProto, given: dict[str, int], dims: tuple[int, ...]
) -> None:
    graph = typed(model([call("Flat", ["x"], ["y"], "call", **given)], [made]))
    assert result(graph) == TensorType(DType.F32, dims)
    assert [op.label for op in graph.body] == ["call/inner"]


def test_overloads_are_told_apart() -> None:
    functions = [
        function("F", [node("Relu", ["a"], ["b"])]),
        function("F", [node("Neg", ["a"], ["b"])], overload="other"),
    ]
    nodes = [call("F", ["x"], ["t"], "one"), call("F", ["t"], ["y"], "two", overload="other")]
    assert [op.base_name for op in typed(model(nodes, functions)).body] == ["Relu", "Neg"]


def _nested() -> ModelProto:
    """A function in the branch of another one, on values of both."""
    result = helper.make_tensor_value_info("q", TensorProto.FLOAT, None)
    branch = helper.make_graph([call("Inner", ["t", "a"], ["q"], "deep")], "then", [], [result])
    other = helper.make_graph([node("Abs", ["t"], ["q"])], "else", [], [result])
    outer = function(
        "Outer",
        [
            node("Constant", [], ["one"], value=helper.make_tensor("v", TensorProto.FLOAT, [], [1.0])),
            node("Add", ["a", "one"], ["t"]),
            node("ReduceMax", ["t"], ["top"], keepdims=0),
            node("Greater", ["top", "one"], ["c"]),
            node("If", ["c"], ["b"], then_branch=branch, else_branch=other),
        ],
    )
    inner = function("Inner", [node("Mul", ["u", "v"], ["w"]), node("Tanh", ["w"], ["b"])], ("u", "v"))
    calls = [call("Outer", ["x"], ["p"], "first"), call("Outer", ["p"], ["r"], "second")]
    return model([*calls, node("Sub", ["r", "p"], ["y"])], [outer, inner])


def test_nested_calls_compute_what_they_did() -> None:
    proto = _nested()
    flat = inlined(proto, "model")
    assert not flat.functions and len({one.name for one in flat.graph.node if one.name}) == sum(
        1 for one in flat.graph.node if one.name
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    onnxruntime = pytest.importorskip("onnxruntime")
    sessions = [onnxruntime.InferenceSession(each.SerializeToString()) for each in (proto, flat)]
    (expected, found) = (session.run(None, {"x": x})[0] for session in sessions)
    np.testing.assert_array_equal(found, expected)
    assert result(typed(proto)) == TensorType(DType.F32, (2, 3, 4))


def test_operands_may_be_handed_on_and_left_out() -> None:
    made = function("F", [node("Clip", ["a", "low"], ["b"], name="clip")], ("a", "low"), ("b", "a"))
    graph = typed(model([call("F", ["x"], ["p", "same"], "call"), node("Sub", ["p", "same"], ["y"])], [made]))
    assert [op.base_name for op in graph.body] == ["Clip", "Identity", "Sub"]
    assert [value.name for value in graph.body[0].inputs] == ["x"]
    assert result(graph) == TensorType(DType.F32, (2, 3, 4))


@pytest.mark.parametrize(("own", "dims"), [(11, (2, 4)), (13, (2, 4))])
def test_a_function_has_its_own_opset(own: int, dims: tuple[int, ...]) -> None:
    """Squeeze had its axes as an attribute up to opset 12; Softmax then flattened from axis 1 on."""
    cut = node("ReduceSum", ["a"], ["s"], axes=[1]) if own < 13 else node("ReduceSum", ["a", "n"], ["s"])
    one = [] if own < 13 else [node("Constant", [], ["n"], value_ints=[1])]
    squeeze = node("Squeeze", ["s"], ["q"], axes=[1]) if own < 13 else node("Squeeze", ["s", "n"], ["q"])
    made = function("F", [*one, cut, squeeze, node("Softmax", ["q"], ["b"], name="soft")], opset=own)
    graph = typed(model([call("F", ["x"], ["y"], "call")], [made], opset=17))
    assert result(graph) == TensorType(DType.F32, dims)
    soft = next(op for op in graph.body if op.base_name == "Softmax")
    assert soft.attributes.get("axis", -1) == (1 if own < 13 else -1)
    assert all(op.facts[Work].unknown == () for op in graph.body)


def test_functions_that_call_themselves_are_refused() -> None:
    functions = [function("F", [call("G", ["a"], ["b"])]), function("G", [call("F", ["a"], ["b"])])]
    with pytest.raises(FrontendError, match="local functions call themselves: "):
        load_onnx(model([call("F", ["x"], ["y"])], functions))


@pytest.mark.parametrize("levels", [20, 60])
def test_functions_that_double_with_every_level_are_refused_at_once(levels: int) -> None:
    functions = [function("F0", [node("Relu", ["a"], ["b"])])]
    for i in range(1, levels):
        twice = [call(f"F{i - 1}", ["a"], ["t"]), call(f"F{i - 1}", ["t"], ["b"])]
        functions.append(function(f"F{i}", twice))
    proto = model([call(f"F{levels - 1}", ["x"], ["y"])], functions)
    with pytest.raises(FrontendError, match=f"expand to {2 ** (levels - 1):,} nodes; {MOST_NODES:,} are read"):
        load_onnx(proto)


def test_functions_that_call_one_another_too_deep_are_refused() -> None:
    functions = [function("F0", [node("Relu", ["a"], ["b"])])]
    functions += [function(f"F{i}", [call(f"F{i - 1}", ["a"], ["b"])]) for i in range(1, 200)]
    with pytest.raises(FrontendError, match="call one another 200 deep; 64 are read"):
        load_onnx(model([call("F199", ["x"], ["y"])], functions))


def test_a_function_that_is_only_called_by_itself_is_refused_even_if_unused() -> None:
    functions = [function("F", [call("F", ["a"], ["b"])])]
    with pytest.raises(FrontendError, match="call themselves"):
        load_onnx(model([node("Relu", ["x"], ["y"])], functions))
