"""Dimensions left open: binding afterwards gives what binding before gives, and runs give the shapes inferred."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import graphs
from graphs.frontends.onnx import load_onnx
from graphs.ir import Expression, Graph, OpenDimension, Symbol, TensorType, open_symbols, parse, print_graph, substitute
from graphs.passes.base import Context
from graphs.passes.fuse import pattern_of
from graphs.passes.lower import Work
from graphs.passes.manager import PassManager
from graphs.passes.memory import memory_plan
from graphs.targets import load_target
from graphs.tools.emit.json import record

MODELS = Path(graphs.__file__).parent / "examples" / "models"
TARGET = load_target("intel-core-i7-12700k")
F32, I64 = TensorProto.FLOAT, TensorProto.INT64
IMAGES = {0: "batch", 2: "height", 3: "width"}
TOKENS = {0: "batch", 1: "seq"}


def opened(name: str, axes: Mapping[int, str]) -> onnx.ModelProto:
    """A bundled model whose inputs' axes are open; what its file says of other shapes is dropped."""
    model = onnx.load(MODELS / f"{name}.onnx", load_external_data=False)
    for info in model.graph.input:
        for axis, dim_param in axes.items():
            info.type.tensor_type.shape.dim[axis].dim_param = dim_param
    del model.graph.value_info[:]
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    return model


def ran(graph: Graph, dims: Mapping[str, int], pipeline: str = "fuse,lower,memory") -> Graph:
    PassManager.parse(pipeline).run(graph, Context(TARGET, None, dims))
    return graph


def kernels(graph: Graph, dims: Mapping[str, int]) -> list[tuple[Any, ...]]:
    """Each kernel's pattern, MACs, FLOPs and bytes read and written."""
    works = [(op, substitute(op.facts[Work], dims)) for op in graph.body]
    return [(pattern_of(op), op.label, work.macs, work.flops, work.reads, work.writes) for op, work in works]


def assert_equal_when_bound(graph: Graph, dims: Mapping[str, int]) -> None:
    before, after = ran(graph.clone(), dims), ran(graph.clone(), {})
    assert kernels(after, dims) == kernels(before, {})
    assert substitute(memory_plan(after).peak_bytes, dims) == memory_plan(before).peak_bytes
    for op, twin in zip(after.ops, before.ops, strict=True):
        assert [substitute(v.type, dims) for v in op.results] == [v.type for v in twin.results]


def assert_networks_equal(name: str, axes: Mapping[int, str], batch: int, height: int, width: int) -> None:
    extents = {"batch": batch, "height": height // 32 * 32, "width": width // 32 * 32}
    assert_equal_when_bound(load_onnx(opened(name, axes)), {dim: extents[dim] for dim in axes.values()})


@settings(max_examples=2, deadline=None, derandomize=True)
@given(st.integers(2, 9), st.integers(64, 400), st.integers(64, 400))
def test_a_network_bound_afterwards_is_that_bound_before(batch: int, height: int, width: int) -> None:
    assert_networks_equal("squeezenet1_1", IMAGES, batch, height, width)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("resnet50", IMAGES), ("mobilenet_v2", IMAGES), ("unet_small", IMAGES), ("efficientnet_b0", {0: "batch"}),
        ("resnet18_eager", IMAGES), ("convnext_tiny", {0: "batch"}),
    ],
)  # fmt: skip
@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.integers(2, 9), st.integers(64, 400), st.integers(64, 400))
def test_networks_bound_afterwards_are_those_bound_before(
    name: str, axes: dict[int, str], batch: int, height: int, width: int
) -> None:
    assert_networks_equal(name, axes, batch, height, width)


_LEAST = {"samples": 3000, "height": 64, "width": 64}
_MOST = {"batch": 9, "samples": 20_000}


@st.composite
def bindings(draw: st.DrawFn, names: tuple[str, ...]) -> dict[str, int]:
    return {name: draw(st.integers(_LEAST.get(name, 2), _MOST.get(name, 300))) for name in names}


def assert_exported_equal(path: Path, examples: int) -> None:
    graph = load_onnx(path)
    names = dict.fromkeys(symbol.name for op in graph.inputs for symbol in open_symbols(op.result.type))

    @settings(max_examples=examples, deadline=None, derandomize=True)
    @given(bindings(tuple(names)))
    def holds(dims: dict[str, int]) -> None:
        assert_equal_when_bound(graph, dims)

    holds()


@pytest.mark.parametrize("name", ["lstm", "selected_tokens", "wav2vec2"])
def test_exported_networks_bound_afterwards_are_those_bound_before(name: str) -> None:
    assert_exported_equal(MODELS / "dynamic" / f"{name}.onnx", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [*(MODELS / "dynamic").glob("*.onnx"), *(MODELS.parent / "decoders").glob("*.onnx")],
    ids=lambda path: path.stem,
)
def test_every_exported_network_bound_afterwards_is_that_bound_before(path: Path) -> None:
    assert_exported_equal(path, 3)


# -- a transformer's block as exporters write it, run by onnxruntime ---------------------------------------------------


def constants(**values: Any) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.array(value), name) for name, value in values.items()]


def attention() -> onnx.ModelProto:
    """Heads split by computed shapes, a causal mask from ranges, expanded through Where and Equal, a cache."""
    n = helper.make_node
    nodes = [
        n("Shape", ["x"], ["sx"]),
        n("Gather", ["sx", "i0"], ["b"]), n("Gather", ["sx", "i1"], ["t"]),
        n("Unsqueeze", ["b", "ax0"], ["b1"]), n("Unsqueeze", ["t", "ax0"], ["t1"]),
        n("Concat", ["b1", "t1", "heads"], ["split"], axis=0),
        n("MatMul", ["x", "wq"], ["q0"]), n("Reshape", ["q0", "split"], ["q1"]),
        n("Transpose", ["q1"], ["q"], perm=[0, 2, 1, 3]),
        n("MatMul", ["x", "wq"], ["k0"]), n("Reshape", ["k0", "split"], ["k1"]),
        n("Transpose", ["k1"], ["k2"], perm=[0, 2, 1, 3]), n("Concat", ["past", "k2"], ["k"], axis=2),
        n("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]), n("MatMul", ["q", "kt"], ["scores"]),
        n("Shape", ["k"], ["sk"]), n("Gather", ["sk", "i2"], ["total"]), n("Sub", ["total", "t"], ["from"]),
        n("Range", ["from", "total", "i1"], ["rows"]), n("Range", ["i0", "total", "i1"], ["columns"]),
        n("Unsqueeze", ["rows", "ax1"], ["rows1"]), n("LessOrEqual", ["columns", "rows1"], ["seen"]),
        n("Unsqueeze", ["total", "ax0"], ["total1"]), n("Concat", ["b1", "one", "t1", "total1"], ["wide"], axis=0),
        n("Shape", ["wide"], ["rank"]), n("ConstantOfShape", ["rank"], ["ones"], value=constants(v=[1])[0]),
        n("Mul", ["ones", "minus"], ["negative"]), n("Equal", ["wide", "negative"], ["keeps"]),
        n("Where", ["keeps", "ones", "wide"], ["to"]), n("Expand", ["seen", "to"], ["mask"]),
        n("Where", ["mask", "scores", "low"], ["masked"]), n("Softmax", ["masked"], ["p"], axis=-1),
        n("MatMul", ["p", "k"], ["o"]), n("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]),
        n("Mul", ["heads0", "size"], ["width"]), n("Concat", ["b1", "t1", "width"], ["join"], axis=0),
        n("Reshape", ["o1", "join"], ["o2"]), n("MatMul", ["o2", "wo"], ["o3"]), n("Add", ["o3", "x"], ["y"]),
        n("Slice", ["y", "last", "end", "ax1v"], ["tail"]), n("Reshape", ["y", "flat"], ["tokens"]),
        n("Div", ["t", "i2"], ["half"]), n("Unsqueeze", ["half", "ax0"], ["half1"]),
        n("Slice", ["y", "zero", "half1", "ax1v"], ["head"]),
    ]  # fmt: skip
    weights = constants(
        i0=0, i1=1, i2=2, ax0=[0], ax1=[1], ax1v=[1], heads=[4, 16], heads0=[4], size=[16], one=[1], minus=[-1],
        last=[-1], end=[2**63 - 1], zero=[0], flat=[-1, 64], low=np.float32(-1e9),
        wq=np.ones((64, 64), "float32"), wo=np.ones((64, 64), "float32"),
    )  # fmt: skip
    inputs = [
        helper.make_tensor_value_info("x", F32, ["batch", "seq", 64]),
        helper.make_tensor_value_info("past", F32, ["batch", 4, "past length", 16]),
    ]
    outputs = [onnx.ValueInfoProto(name=name) for node in nodes for name in node.output]
    graph = helper.make_graph(nodes, "attention", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def executed(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, tuple[int, ...]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return {name: made.shape for name, made in zip(names, session.run(names, dict(inputs)), strict=True)}


@pytest.mark.parametrize(("batch", "seq", "past"), [(2, 7, 5), (3, 12, 4), (1, 1, 9)])
def test_expressions_are_the_shapes_that_run(batch: int, seq: int, past: int) -> None:
    model = attention()
    dims = {"batch": batch, "seq": seq, "past length": past}
    shapes = executed(
        model,
        {"x": np.ones((batch, seq, 64), "float32"), "past": np.ones((batch, 4, past, 16), "float32")},
    )
    graph = ran(load_onnx(model), {}, "shape")
    for name, shape in shapes.items():
        inferred = graph.value(name).type
        assert isinstance(inferred, TensorType) and inferred.known, f"{name}: {inferred}"
        assert substitute(inferred, dims).shape == shape, f"{name}: {inferred}"


def without_inner_outputs(model: onnx.ModelProto, *kept: str) -> onnx.ModelProto:
    outputs = [output for output in model.graph.output if output.name in kept]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.integers(2, 9), st.integers(2, 300), st.integers(2, 300))
def test_a_decoder_bound_afterwards_is_that_bound_before(batch: int, seq: int, past: int) -> None:
    model = without_inner_outputs(attention(), "y", "k", "head")
    assert_equal_when_bound(load_onnx(model), {"batch": batch, "seq": seq, "past length": past})


def test_json_can_be_evaluated() -> None:
    graph = load_onnx(without_inner_outputs(attention(), "y", "k"))
    dims = {"batch": 3, "seq": 20, "past length": 11}
    report = graphs.run("fuse,lower,memory", graph, target=TARGET)
    written = json.loads(json.dumps(record(report)))
    numbers = record(graphs.run("fuse,lower,memory", graph, target=TARGET, dims=dims))
    names = {dim["symbol"]: dims[dim["name"]] for dim in written["open_dimensions"]}
    assert names == {"batch": 3, "seq": 20, "past_length": 11}

    def value(count: int | str | None) -> Any:
        calls = {"__builtins__": {}, "max": max, "min": min, "bit_length": int.bit_length}
        return eval(count, calls, names) if isinstance(count, str) else count

    assert isinstance(written["total"]["macs"], str) and written["total"]["arena_bytes"] is None
    for key in ("macs", "flops", "bytes", "weight_bytes", "peak_activation_bytes", "kv_cache_bytes"):
        assert value(written["total"][key]) == numbers["total"][key], key
    for one, other in zip(written["kernels"], numbers["kernels"], strict=True):
        assert [value(dim) for dim in one["output_shape"]] == other["output_shape"]
        assert [value(one[key]) for key in ("macs", "flops", "bytes")] == [
            other[key] for key in ("macs", "flops", "bytes")
        ]


def test_open_graphs_are_text_and_can_be_bound_there() -> None:
    graph = ran(load_onnx(without_inner_outputs(attention(), "y", "k")), {})
    text = print_graph(graph)
    again = parse(text)
    assert again == graph and print_graph(again) == text
    assert "#graphs.dim<" in text and "#graphs.count<" in text
    dims = {"batch": 2, "seq": 8, "past length": 3}
    ran(again, dims, "bind")
    assert kernels(again, {}) == kernels(graph, dims)
    assert not any(open_symbols(value.type) for op in again.walk() for value in op.results)


# -- dimensions that depend on data ------------------------------------------------------------------------------------


def finding() -> onnx.ModelProto:
    n = helper.make_node
    nodes = [
        n("NonZero", ["x"], ["places"]), n("Transpose", ["places"], ["pairs"]),
        n("GatherND", ["x", "pairs"], ["found"]),
        n("Unique", ["found"], ["distinct", "", "", "counts"]),
        n("Compress", ["x", "chosen"], ["rows"], axis=0), n("MatMul", ["rows", "w"], ["made"]),
        n("NonMaxSuppression", ["boxes", "scores", "five", "half"], ["kept"]),
        n("ReduceSum", ["ids"], ["k"], keepdims=1), n("TopK", ["x", "k"], ["top", "at"], axis=1),
        n("Squeeze", ["k"], ["k0"]), n("Range", ["zero", "k0", "step"], ["counted"]),
    ]  # fmt: skip
    inputs = [
        helper.make_tensor_value_info("x", F32, ["n", 6]),
        helper.make_tensor_value_info("chosen", TensorProto.BOOL, ["n"]),
        helper.make_tensor_value_info("boxes", F32, [1, "boxes", 4]),
        helper.make_tensor_value_info("scores", F32, [1, 3, "boxes"]),
        helper.make_tensor_value_info("ids", I64, [2]),
    ]
    weights = constants(w=np.ones((6, 8), "float32"), five=[5], half=np.array([0.5], "float32"), zero=0, step=1)
    outputs = [onnx.ValueInfoProto(name=name) for node in nodes for name in node.output if name]
    graph = helper.make_graph(nodes, "finding", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_dimensions_that_depend_on_data_have_names_and_bounds() -> None:
    graph = ran(load_onnx(finding()), {}, "shape")
    bounds = {
        symbol.name: (symbol.lower, str(symbol.upper))
        for op in graph.ops for value in op.results for symbol in open_symbols(value.type) if symbol.lower == 0
    }  # fmt: skip
    assert bounds == {
        "places.1": (0, "6*n"),
        "distinct.0": (0, "places.1"),
        "rows.0": (0, "n"),
        "kept.0": (0, "3*min(5, boxes)"),
        "top.1": (0, "6"),
        "counted.0": (0, "None"),
    }
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.integers(0, 2, (5, 6)).astype("float32"), "chosen": np.array([1, 0, 1, 1, 0], bool),
        "boxes": rng.random((1, 7, 4), dtype="float32"), "scores": rng.random((1, 3, 7), dtype="float32"),
        "ids": np.array([1, 2]),
    }  # fmt: skip
    for name, shape in executed(finding(), inputs).items():
        inferred = substitute(graph.value(name).type, {"n": 5, "boxes": 7})
        for extent, dim in zip(shape, inferred.shape, strict=True):
            upper = dim.upper if isinstance(dim, Symbol) else dim
            upper = upper.upper if isinstance(upper, Symbol) else upper
            assert dim == extent or upper is None or extent <= upper, name


def test_numbers_take_the_upper_bound_and_say_so() -> None:
    context = Context(TARGET, None, {"n": 5, "boxes": 7})
    graph = load_onnx(finding())
    PassManager.parse("cost").run(graph, context)
    said = " ".join(diagnostic.message for diagnostic in context.diagnostics)
    assert "'places.1' taken at its upper bound of 30" in said and "'kept.0' taken at its upper bound of 15" in said
    made = graph.value("made").op.facts[Work]
    assert made.macs == 5 * 6 * 8
    assert graph.value("counted").op.facts[Work].unknown
    assert not any(open_symbols(value.type) for op in graph.walk() for value in op.results if value.type.known)


def test_totals_name_the_dimensions_that_they_depend_on() -> None:
    report = graphs.run("fuse,lower,memory", load_onnx(finding()), target=TARGET)
    found = {dim.name: dim for dim in report.open_dimensions}
    assert {name for name, dim in found.items() if not dim.depends_on_data} == {"n", "boxes"}
    assert str(found["rows.0"].upper) == "n" and found["rows.0"].depends_on_data
    assert report.total.macs.substitute({"rows.0": 2}) == 2 * 6 * 8


# -- names of dimensions, and limits -----------------------------------------------------------------------------------


def test_names_that_are_arithmetic_on_others_are_read_as_such() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["mask"], ["z"])]
    inputs = [
        helper.make_tensor_value_info("x", F32, ["past", "length"]),
        helper.make_tensor_value_info("mask", F32, ["past + length", "batch-size", "__import__('os')"]),
    ]
    outputs = [helper.make_tensor_value_info(name, F32, None) for name in ("y", "z")]
    graph = load_onnx(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs)))
    dims = graph.value("mask").type.shape
    assert dims == (Symbol("past") + Symbol("length"), Symbol("batch-size"), Symbol("__import__('os')"))
    bound = ran(graph, {"past": 3, "length": 4}, "bind,shape")
    assert bound.value("z").type.shape == (7, Symbol("batch-size"), Symbol("__import__('os')"))


def test_passes_that_need_numbers_bind_what_is_left_open() -> None:
    graph = load_onnx(opened("squeezenet1_1", {0: "batch"}))
    context = Context(TARGET)
    PassManager.parse("fuse,lower,memory").run(graph.clone(), context)
    assert context.diagnostics == [] and not context.numbers
    PassManager.parse("fuse,lower,cost").run(graph, context)
    assert [d.message for d in context.diagnostics] == ["batch bound to 1; bind with --dim NAME=VALUE"]
    assert str(PassManager.parse("bind{default=4},lower").pipeline) == "bind{default=4},shape,precision,lower"


def test_numeric_passes_refuse_expressions() -> None:
    graph = ran(load_onnx(opened("squeezenet1_1", {0: "batch"})), {})
    work = next(op.facts[Work] for op in graph.body if op.facts[Work].macs)
    assert isinstance(work.macs, Expression)
    with pytest.raises(OpenDimension):
        float(work.macs)


def test_branches_of_several_resolutions_meet_in_one_extent() -> None:
    """As in HRNet: maxima of roundings are the coarsest one, or they nest from stage to stage until nothing is left."""
    scale = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scale")
    weight = numpy_helper.from_array(np.ones((4, 4, 3, 3), np.float32), "w")
    halved = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [helper.make_node("Conv", [a, "w"], [b], **halved) for a, b in (("x", "half"), ("half", "quarter"))]
    fine = "quarter"
    for stage in range(4):
        coarse, up, met = f"coarse{stage}", f"up{stage}", f"met{stage}"
        nodes.append(helper.make_node("Conv", [fine, "w"], [coarse], **halved))
        nodes.append(helper.make_node("Resize", [coarse, "", "scale"], [up], mode="nearest"))
        nodes.append(helper.make_node("Add", [fine, up], [met]))
        fine = met
    info = helper.make_tensor_value_info("x", F32, [1, 4, "height", 32])
    proto = helper.make_graph(nodes, "stages", [info], [onnx.ValueInfoProto(name=fine)], [weight, scale])
    graph = ran(load_onnx(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)), {})
    (output,) = (each.operands[0] for each in graph.outputs)
    assert output is not None and isinstance(output.type, TensorType)
    assert [str(extent) for extent in output.type.dims] == ["1", "4", "2*((height + 7)//8)", "8"]
    assert str(memory_plan(graph).peak_bytes).count("max") <= 1


def test_hostile_shape_arithmetic_ends() -> None:
    """Numbers beside an extent that square themselves, powers of powers, sums that never simplify."""
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    for step in range(64):
        nodes.append(helper.make_node("Mul", [f"s{step}", f"s{step}"], [f"s{step + 1}"]))
        nodes.append(helper.make_node("Pow", [f"s{step}", "most"], [f"p{step}"]))
        nodes.append(helper.make_node("Max", [f"s{step}", f"p{step}"], [f"m{step}"]))
    nodes.append(helper.make_node("Expand", ["one", "s64"], ["y"]))
    inputs = [helper.make_tensor_value_info("x", F32, ["n", 3, "m"])]
    weights = constants(most=[2**62, 2**62, 2], one=np.ones((1, 1, 1), "float32"))
    outputs = [helper.make_tensor_value_info("y", F32, None)]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, weights))
    report = graphs.run("fuse,lower,memory", load_onnx(model), target=TARGET)
    assert not report.total.exact
