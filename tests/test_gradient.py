"""Gradient: what it differentiates is found in the graph around it, and counted operation by operation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphs.frontends import onnx_gradients
from graphs.frontends.onnx import load_onnx
from graphs.ir import Graph, Op, parse, print_graph
from graphs.ir.primitives import Unknown
from graphs.passes.base import Context
from graphs.passes.lower import Work
from graphs.passes.manager import PassManager
from graphs.passes.memory import memory_plan
from graphs.targets import load_target

F32 = TensorProto.FLOAT
DOMAIN = "ai.onnx.preview.training"


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    xs: Sequence[str],
    y: str,
    points: Sequence[str] = (),
    zs: Sequence[str] = (),
    weights: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    """A graph with a Gradient of ``y`` by ``xs`` at its end, at the values themselves or other ``points``."""
    results = [f"d{name}" for name in xs]
    attributes = {"zs": list(zs)} if zs else {}
    names = list(points or (*xs, *zs))
    gradient = helper.make_node("Gradient", names, results, "gradient", domain=DOMAIN, xs=list(xs), y=y, **attributes)
    infos = [helper.make_tensor_value_info(name, F32, shape) for name, shape in inputs.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in (y, *results)]
    graph = helper.make_graph([*nodes, gradient], "trained", infos, outputs, list(weights))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def lowered(proto: onnx.ModelProto, pipeline: str = "lower") -> tuple[Graph, Op]:
    graph = load_onnx(proto)
    PassManager.parse(pipeline).run(graph, Context(load_target("intel-core-i7-12700k")))
    return graph, next(op for op in graph.body if op.base_name == "Gradient")


def work(proto: onnx.ModelProto) -> Work:
    return lowered(proto)[1].facts[Work]


NODE = helper.make_node
LAYERS = [
    NODE("MatMul", ["x", "a"], ["h"]),
    NODE("Tanh", ["h"], ["t"]),
    NODE("MatMul", ["t", "b"], ["y"]),
]
SIZES = {"x": (3, 5), "a": (5, 7), "b": (7, 2)}
FORWARD = 3 * 5 * 7 + 3 * 7 * 2


def test_types_are_those_of_what_is_differentiated_by() -> None:
    _, op = lowered(model(LAYERS, SIZES, ["a", "b"], "y", zs=["x"]))
    assert [value.type for value in op.results] == [op.operands[0].type, op.operands[1].type]  # type: ignore[union-attr]


def test_each_factor_that_is_differentiated_costs_one_product() -> None:
    assert work(model(LAYERS, SIZES, ["b"], "y", zs=["x", "a"])).macs == 3 * 7 * 2
    assert work(model(LAYERS, SIZES, ["a"], "y", zs=["x", "b"])).macs == 3 * 7 * 2 + 3 * 5 * 7
    assert work(model(LAYERS, SIZES, ["a", "b"], "y", zs=["x"])).macs == 2 * 3 * 7 * 2 + 3 * 5 * 7
    assert work(model(LAYERS, SIZES, ["x", "a", "b"], "y")).macs == 2 * FORWARD


def test_at_other_points_the_forward_pass_comes_first() -> None:
    points = [helper.make_tensor_value_info(f"{name}1", F32, shape) for name, shape in SIZES.items()]
    proto = model(LAYERS, SIZES, ["x", "a", "b"], "y", ["x1", "a1", "b1"])
    proto.graph.input.extend(points)
    assert work(proto).macs == 3 * FORWARD


def test_what_was_made_forward_is_read_again_and_lives_until_then() -> None:
    graph, op = lowered(model(LAYERS, SIZES, ["a", "b"], "y", zs=["x"]), "lower,memory")
    names = [value.name for value in op.inputs]
    assert names == ["a", "b", "x", "h", "t", "y"]
    read = dict(zip(names, op.facts[Work].reads, strict=True))
    # a's gradient needs x, b's needs t; tanh's its own operand and result; nothing needs a, and y only starts
    assert read == {"a": 0, "b": 7 * 2 * 4, "x": 3 * 5 * 4, "h": 3 * 7 * 4, "t": 3 * 7 * 4, "y": 0}
    assert memory_plan(graph).peak_bytes > 0


def test_only_what_depends_on_what_is_differentiated_by_counts() -> None:
    nodes = [NODE("MatMul", ["x", "c"], ["e"]), NODE("Relu", ["e"], ["r"]), NODE("Mul", ["r", "s"], ["y"])]
    weight = numpy_helper.from_array(np.ones((5, 7), np.float32), "c")
    found = work(model(nodes, {"x": (3, 5), "s": (3, 7)}, ["s"], "y", weights=[weight]))
    assert found.macs == 0
    assert [(part.tag, part.ops) for part in found.primitives] == [("elementwise", 21)]


def test_gradients_of_several_readers_are_added() -> None:
    nodes = [NODE("Add", ["a", "b"], ["c"]), NODE("Mul", ["c", "a"], ["d"])]
    found = work(model(nodes, {"a": (4,), "b": (4,)}, ["a", "b"], "d"))
    # Mul: two products; Add: nothing; a is read twice: one addition
    assert sum(part.ops for part in found.primitives) == 2 * 4 + 4


def test_what_was_broadcast_is_summed() -> None:
    found = work(model([NODE("Add", ["a", "b"], ["y"])], {"a": (6, 4), "b": (4,)}, ["a", "b"], "y"))
    assert [(part.tag, part.ops) for part in found.primitives] == [("reduction", 24)]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("group", [1, 2])
def test_a_convolution_goes_back_with_as_many_multiply_accumulates(transposed: bool, group: int) -> None:
    operator = "ConvTranspose" if transposed else "Conv"
    node = NODE(operator, ["x", "w", "b"], ["y"], group=group, strides=[2, 2], pads=[1, 1, 1, 1])
    channels = (4, 6 // group) if transposed else (6, 4 // group)
    sizes = {"x": (2, 4, 9, 9), "w": (*channels, 3, 3), "b": (6,)}
    proto = model([node], sizes, ["x", "w", "b"], "y")
    graph, op = lowered(proto)
    forward = next(each for each in graph.body if each.base_name == operator).facts[Work]
    assert op.facts[Work].macs == 2 * forward.macs
    assert [part.tag for part in op.facts[Work].primitives] == ["conv", "gemm", "reduction"]


@pytest.mark.slow
def test_multiply_accumulates_are_those_that_pytorch_runs_backwards() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    generator = torch.Generator().manual_seed(0)
    x = torch.rand((2, 3, 8, 8), generator=generator)
    w, v = torch.rand((4, 3, 3, 3), generator=generator), torch.rand((64, 5), generator=generator)
    w.requires_grad_(), v.requires_grad_()
    made = torch.nn.functional.conv2d(x, w, stride=2, padding=1).relu().flatten(1) @ v
    with FlopCounterMode(display=False) as counter:
        made.sum().backward()
    nodes = [
        NODE("Conv", ["x", "w"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        NODE("Relu", ["c"], ["r"]),
        NODE("Flatten", ["r"], ["f"]),
        NODE("MatMul", ["f", "v"], ["m"]),
        NODE("ReduceSum", ["m"], ["y"], keepdims=0),
    ]
    sizes = {"x": (2, 3, 8, 8), "w": (4, 3, 3, 3), "v": (64, 5)}
    assert 2 * work(model(nodes, sizes, ["w", "v"], "y", zs=["x"])).macs == counter.get_total_flops()


@pytest.mark.parametrize(
    ("node", "x", "others"),
    [
        (NODE("Softmax", ["x"], ["y"]), (3, 5), {}),
        (NODE("LayerNormalization", ["x", "s", "b"], ["y"]), (3, 5), {"s": (5,), "b": (5,)}),
        (NODE("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"]), (2, 5, 4), dict.fromkeys("sbmv", (5,))),
        (NODE("MaxPool", ["x"], ["y"], kernel_shape=[2, 2]), (1, 2, 8, 8), {}),
        (NODE("AveragePool", ["x"], ["y"], kernel_shape=[2, 2]), (1, 2, 8, 8), {}),
        (NODE("GlobalAveragePool", ["x"], ["y"]), (1, 2, 8, 8), {}),
        (NODE("Transpose", ["x"], ["y"], perm=[1, 0]), (3, 5), {}),
        (NODE("Concat", ["x", "z"], ["y"], axis=0), (3, 5), {"z": (2, 5)}),
        (NODE("ReduceMax", ["x"], ["y"]), (3, 5), {}),
        (NODE("ReduceMean", ["x"], ["y"]), (3, 5), {}),
        (NODE("Gelu", ["x"], ["y"]), (3, 5), {}),
        (NODE("Gemm", ["x", "w", "c"], ["y"]), (3, 5), {"w": (5, 7), "c": (7,)}),
    ],
    ids=lambda item: item.op_type if isinstance(item, onnx.NodeProto) else "",
)
def test_the_way_back_through_an_operator_is_counted(node: onnx.NodeProto, x: tuple[int, ...], others: dict) -> None:
    found = work(model([node], {"x": x, **others}, ["x"], "y", zs=list(others)))
    assert found.primitives
    assert not found.unknown


def test_a_view_goes_back_for_nothing() -> None:
    assert work(model([NODE("Flatten", ["x"], ["y"])], {"x": (2, 3, 4)}, ["x"], "y")).primitives == ()


def test_it_survives_text_and_fusion() -> None:
    graph, op = lowered(model(LAYERS, SIZES, ["a", "b"], "y", zs=["x"]), "fuse,lower")
    again = parse(print_graph(graph))
    twin = next(each for each in again.body if each.base_name == "Gradient")
    assert twin.facts[Work] == op.facts[Work]
    assert op.facts[Work].macs == 2 * 3 * 7 * 2 + 3 * 5 * 7


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (model(LAYERS, SIZES, ["a"], "nothing", zs=["x", "b"]), "is not in the graph around it"),
        (model(LAYERS, SIZES, ["q"], "y", ["a"]), "is not in the graph around it"),
        (model(LAYERS, SIZES, ["a", "a"], "y"), "is not in the graph around it"),
        (model([NODE("Det", ["x"], ["y"])], {"x": (3, 3)}, ["x"], "y"), "how onnx.Det"),
    ],
    ids=["no such value", "does not depend", "named twice", "no rule"],
)
def test_what_it_cannot_tell_is_unknown(proto: onnx.ModelProto, reason: str) -> None:
    del proto.graph.output[:]
    proto.graph.output.append(onnx.ValueInfoProto(name=proto.graph.node[-1].output[0]))
    (unknown,) = work(proto).unknown
    assert isinstance(unknown, Unknown)
    assert reason in unknown.reason


def test_derivatives_of_derivatives_are_unknown() -> None:
    proto = model(LAYERS, SIZES, ["a"], "y", zs=["x", "b"])
    second = NODE("Gradient", ["a"], ["dda"], "second", domain=DOMAIN, xs=["a"], y="da")
    proto.graph.node.append(second)
    proto.graph.output.append(onnx.ValueInfoProto(name="dda"))
    graph, first = lowered(proto)
    assert not first.facts[Work].unknown
    assert [op.label for op in graph.body if op.facts[Work].unknown] == ["second"]


def test_many_gradients_of_one_long_chain_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes that they differentiate are copied for each: no more than so many in all."""
    monkeypatch.setattr(onnx_gradients, "MOST_COPIED", 1000)
    chain = [NODE("Relu", ["x" if not i else f"v{i}"], [f"v{i + 1}"]) for i in range(100)]
    proto = model(chain, {"x": (4,)}, ["x"], "v100")
    proto.graph.node.extend(
        NODE("Gradient", ["x"], [f"g{i}"], f"more{i}", domain=DOMAIN, xs=["x"], y="v100") for i in range(40)
    )
    gradients = [op for op in load_onnx(proto).body if op.base_name == "Gradient"]
    assert [len(op.regions) for op in gradients] == [1] * 10 + [0] * 31
