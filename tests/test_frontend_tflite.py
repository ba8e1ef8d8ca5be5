"""TFLite files as graphs: types, constants, quantisation, control flow, entry points; and the MLPerf Tiny networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tflite")

from tiny_tflite import (
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

import graphs
from graphs.frontends import FrontendError
from graphs.frontends.tflite import load_tflite
from graphs.ir import CONSTANT, UNKNOWN_DIM, DType, Graph, Kind, Symbol, TensorType, kind_of, parse

RESHAPE = 22
MODELS = Path(graphs.__file__).parent / "examples" / "models"


def loaded(folder: Path, content: bytes, entry: str | None = None) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(content)
    return load_tflite(path, entry) if entry else graphs.load(path)


def dense(folder: Path, *tensors: Tensor, **options: object) -> Graph:
    """One fully connected layer of these tensors."""
    wiring = {"inputs": [0], "outputs": [len(tensors) - 1]}
    operands = list(range(len(tensors) - 1))
    layer = Operator("FULLY_CONNECTED", operands, [len(tensors) - 1], "FullyConnectedOptions", options)
    return loaded(folder, model(Subgraph(tensors, [layer], **wiring)))


# -- MLPerf Tiny ------------------------------------------------------------------------------------------------------

# Published multiply-accumulates (MLPerf Tiny v0.5, cited in targets/runtimes/tflite-micro.yaml), and the exact count.
NETWORKS = {
    "kws_ref_model": (2.7e6, 2_656_768),
    "kws_ref_model_float32": (2.7e6, 2_656_768),
    "vww_96_int8": (7.5e6, 7_489_664),
    "pretrainedResnet_quant": (12.5e6, 12_501_632),
    "ad01_int8": (0.264e6, 264_192),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_published_macs(name: str) -> None:
    published, exact = NETWORKS[name]
    report = graphs.run("lower", graphs.load(MODELS / f"{name}.tflite"), target="nucleo-l4r5zi")
    assert report.total.macs == exact
    assert report.total.macs == pytest.approx(published, rel=0.02)
    assert report.total.exact


@pytest.mark.parametrize("name", NETWORKS)
def test_weight_bytes_are_those_of_the_files_buffers(name: str) -> None:
    """Counted independently: the buffers of the flatbuffer, but for the shapes that views are given."""
    from tflite.Model import Model

    file = Model.GetRootAs((MODELS / f"{name}.tflite").read_bytes(), 0)
    subgraph = file.Subgraphs(0)
    used: set[int] = set()
    for operator in (subgraph.Operators(i) for i in range(subgraph.OperatorsLength())):
        reshape = file.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() == RESHAPE
        used.update(subgraph.Tensors(i).Buffer() for i in operator.InputsAsNumpy()[: 1 if reshape else None])
    stored = sum(file.Buffers(i).DataLength() for i in used)
    report = graphs.run("lower", graphs.load(MODELS / f"{name}.tflite"), target="nucleo-l4r5zi")
    assert report.total.weight_bytes == stored


def test_every_operation_of_the_networks_has_a_location_and_a_layer() -> None:
    graph = graphs.load(MODELS / "kws_ref_model.tflite")
    assert [op.loc.origins[0].index for op in graph.body] == list(range(len(graph.body)))
    assert graph.body[0].name == "tfl.CONV_2D"
    assert graph.body[0].loc.module == "functional_1.conv2d"
    assert graph.body[1].loc.module == "functional_1.depthwise_conv2d"
    assert graph.attributes["format"] == "tflite"
    assert graph.attributes["min_runtime_version"] == "1.5.0"


def test_text_form_keeps_everything() -> None:
    graph = graphs.load(MODELS / "kws_ref_model.tflite")
    assert parse(str(graph)) == graph


def test_batch_is_open_and_can_be_bound() -> None:
    graph = graphs.load(MODELS / "vww_96_int8.tflite")
    assert graph.inputs[0].result.type == TensorType(DType.I8, (Symbol("input_1_int8.0"), 96, 96, 3))
    assert graph.attributes["extents"] == {"input_1_int8.0": 1}
    one, eight = (graphs.run("lower", graph, target="nucleo-l4r5zi", dims={"*": batch}) for batch in (1, 8))
    assert eight.total.macs == 8 * one.total.macs
    assert eight.total.exact


# -- types, constants, quantisation -----------------------------------------------------------------------------------


def test_result_types_come_from_the_file(tmp_path: Path) -> None:
    graph = dense(tmp_path, Tensor("x", (2, 3)), Tensor("w", (4, 3), data=np.zeros((4, 3), "<f4")), Tensor("y", (2, 4)))
    assert graph.value("y").type == TensorType(DType.F32, (2, 4))
    assert graph.value("w").op.name == CONSTANT


def test_open_extents_are_symbols_named_after_the_input(tmp_path: Path) -> None:
    x = Tensor("x", (7, 3), signature=(-1, 3))
    graph = dense(
        tmp_path, x, Tensor("w", (4, 3), data=np.zeros((4, 3), "<f4")), Tensor("y", (1, 4), signature=(-1, 4))
    )
    assert graph.value("x").type == TensorType(DType.F32, (Symbol("x.0"), 3))
    assert graph.value("y").type == TensorType(DType.F32, (UNKNOWN_DIM, 4))
    assert graphs.run("lower", graph, target="nucleo-l4r5zi").total.macs == 7 * 3 * 4, "as the file runs"
    report = graphs.run("lower", graph, target="nucleo-l4r5zi", dims={"x.0": 5})
    assert report.graph.value("y").type == TensorType(DType.F32, (5, 4))
    assert report.total.macs == 5 * 3 * 4


def test_quantisation_is_kept(tmp_path: Path) -> None:
    graph = dense(
        tmp_path,
        Tensor("x", (2, 3), INT8, scale=[0.5], zero_point=[-3]),
        Tensor("w", (2, 3), INT8, np.zeros((2, 3), "i1"), scale=[0.25, 0.125], zero_point=[0, 0]),
        Tensor("y", (2, 2), INT8, scale=[2.0], zero_point=[7]),
    )
    assert graph.value("x").op.attributes["quantization"] == {"scale": 0.5, "zero_point": -3}
    weight = graph.value("w").op.attributes["quantization"]
    assert weight["axis"] == 0 and weight["scale"].values == (0.25, 0.125) and "zero_point" not in weight
    assert graph.value("y").op.attributes["quantization"] == ({"scale": 2.0, "zero_point": 7},)
    assert "value" not in graph.value("w").op.attributes, "weights are types"


def test_four_bit_weights_are_packed(tmp_path: Path) -> None:
    w = Tensor("w", (4, 3), INT4, bytes(6), scale=[1.0])
    graph = dense(tmp_path, Tensor("x", (2, 3)), w, Tensor("y", (2, 4)))
    assert graph.value("w").bytes == 6


def test_buffers_behind_the_flatbuffer(tmp_path: Path) -> None:
    shape = constant("shape", [3, 2])
    shape.outside = True
    tensors = [Tensor("x", (2, 3)), shape, Tensor("y", (3, 2))]
    content = model(Subgraph(tensors, [Operator("RESHAPE", [0, 1], [2])], [0], [2]))
    assert loaded(tmp_path, content).value("shape").constant.values == (3, 2)
    with pytest.raises(FrontendError, match="beyond the end of the file"):
        loaded(tmp_path, content[:-1])


def test_unknown_rank_is_inferred(tmp_path: Path) -> None:
    """Files from before there was a flag for scalars leave the rank open."""
    tensors = [Tensor("x", (2, 3)), constant("axes", [0, 1]), Tensor("y", (), ranked=False)]
    graph = loaded(tmp_path, model(Subgraph(tensors, [Operator("SUM", [0, 1], [2], "ReducerOptions")], [0], [2])))
    assert graph.value("y").type == TensorType(DType.F32, None)
    assert graphs.run("lower", graph, target="host").graph.value("y").type == TensorType(DType.F32, ())


def test_sparse_weights_and_densify(tmp_path: Path) -> None:
    sparse = Tensor("w", (4, 3), data=bytes(20), sparsity={"traversal_order": [0, 1], "formats": [0, 1]})
    tensors = [Tensor("x", (2, 3)), sparse, Tensor("dense", (4, 3)), Tensor("y", (2, 4))]
    ops = [Operator("DENSIFY", [1], [2]), Operator("FULLY_CONNECTED", [0, 2], [3], "FullyConnectedOptions")]
    graph = loaded(tmp_path, model(Subgraph(tensors, ops, [0], [3])))
    assert graph.value("w").op.attributes["sparsity"]["formats"] == ("dense", "sparse_csr")
    assert graphs.run("lower", graph, target="host").total.macs == 24


def test_variables_and_unwritten_memory(tmp_path: Path) -> None:
    tensors = [
        Tensor("x", (2, 3)),
        Tensor("state", (2, 3), variable=True),
        Tensor("scratch", (4,)),
        Tensor("y", (2, 3)),
    ]
    graph = loaded(tmp_path, model(Subgraph(tensors, [Operator("EthosU", [0, 1, 2], [3])], [0], [3])))
    assert graph.value("state").op.attributes["variable"] is True
    assert graph.value("scratch").op.name == "tfl.UNINITIALIZED"
    assert graph.body[-1].name == "tfl.custom.EthosU"


# -- operators --------------------------------------------------------------------------------------------------------


def test_a_newer_operator_is_unknown_by_its_number(tmp_path: Path) -> None:
    graph = loaded(
        tmp_path, model(Subgraph([Tensor("x", (2,)), Tensor("y", (2,))], [Operator(300, [0], [1])], [0], [1]))
    )
    total = graphs.run("lower", graph, target="host").total
    assert [(op.operator, op.reason) for op in total.unknown] == [
        ("tfl.BUILTIN_300", "no lowering for 'tfl.BUILTIN_300'")
    ]


def test_options_are_attributes_by_their_names_in_the_schema(tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 4, 4, 2)), Tensor("y", (1, 2, 2, 2))]
    fields = {
        "Padding": 1,
        "StrideH": 2,
        "StrideW": 2,
        "FilterHeight": 2,
        "FilterWidth": 2,
        "FusedActivationFunction": 3,
    }
    pool = Operator("MAX_POOL_2D", [0], [1], "Pool2DOptions", fields)
    attributes = loaded(tmp_path, model(Subgraph(tensors, [pool], [0], [1]))).body[0].attributes
    assert attributes == {
        "padding": "VALID",
        "stride_h": 2,
        "stride_w": 2,
        "filter_height": 2,
        "filter_width": 2,
        "fused_activation_function": "RELU6",
    }


def test_detection_post_processing_by_name(tmp_path: Path) -> None:
    from flatbuffers import flexbuffers

    builder = flexbuffers.Builder()
    with builder.Map():
        builder.Int("max_detections", 10)
        builder.Int("max_classes_per_detection", 1)
        builder.Int("num_classes", 90)
        builder.Bool("use_regular_nms", False)
    tensors = [
        Tensor("boxes", (1, 1917, 4)),
        Tensor("scores", (1, 1917, 91)),
        Tensor("anchors", (1917, 4), data=bytes(1917 * 16)),
    ]
    tensors += [Tensor(name, (), ranked=False) for name in ("corners", "classes", "best", "number")]
    op = Operator("TFLite_Detection_PostProcess", [0, 1, 2], [3, 4, 5, 6], custom=bytes(builder.Finish()))
    graph = loaded(tmp_path, model(Subgraph(tensors, [op], [0, 1], [3, 4, 5, 6])))
    report = graphs.run("lower", graph, target="host")
    assert report.total.exact
    assert [value.type.shape for value in report.graph.body[0].results] == [(1, 10, 4), (1, 10), (1, 10), (1,)]


# -- subgraphs --------------------------------------------------------------------------------------------------------


def _counting(limit: int) -> bytes:
    """``while (i < limit) { i += 1; x = x @ w }`` in three subgraphs."""
    scalar = Tensor("i", (), INT32)
    main = [scalar, Tensor("x", (4, 8)), Tensor("i_out", (), INT32), Tensor("y", (4, 8)), constant("zero", 0)]
    loop = Operator("WHILE", [4, 1], [2, 3], "WhileOptions", {"CondSubgraphIndex": 1, "BodySubgraphIndex": 2})
    condition = [scalar, Tensor("x", (4, 8)), constant("limit", limit), Tensor("more", (), 6)]
    body = [scalar, Tensor("x", (4, 8)), constant("one", 1), Tensor("next", (), INT32)]
    body += [Tensor("w", (8, 8), data=bytes(256)), Tensor("xw", (4, 8))]
    step = [
        Operator("ADD", [0, 2], [3], "AddOptions"),
        Operator("FULLY_CONNECTED", [1, 4], [5], "FullyConnectedOptions"),
    ]
    return model(
        Subgraph(main, [loop], [1], [3]),
        Subgraph(condition, [Operator("LESS", [0, 2], [3])], [0, 1], [3], "cond"),
        Subgraph(body, step, [0, 1], [3, 5], "body"),
    )


def test_a_counted_loop_is_its_body_times_its_trips(tmp_path: Path) -> None:
    graph = loaded(tmp_path, _counting(5))
    (loop,) = graph.body
    assert [region.name for region in loop.regions] == ["cond", "body"]
    assert kind_of(loop) is Kind.CONTROL
    total = graphs.run("lower", graph, target="host").total
    assert total.macs == 5 * 4 * 8 * 8 and total.exact


def test_the_dearer_branch_counts(tmp_path: Path) -> None:
    main = [Tensor("c", (), 6), Tensor("x", (4, 8)), Tensor("y", (4, 8))]
    choice = Operator("IF", [0, 1], [2], "IfOptions", {"ThenSubgraphIndex": 1, "ElseSubgraphIndex": 2})
    x, weight = Tensor("x", (4, 8)), Tensor("w", (8, 8), data=bytes(256))
    product = Operator("FULLY_CONNECTED", [0, 1], [2], "FullyConnectedOptions")
    content = model(
        Subgraph(main, [choice], [0, 1], [2]),
        Subgraph([x, weight, Tensor("y", (4, 8))], [product], [0], [2], "then"),
        Subgraph([x, Tensor("y", (4, 8))], [Operator("RELU", [0], [1])], [0], [1], "else"),
    )
    graph = loaded(tmp_path, content)
    assert graph.body[0].attributes["captures"] == 1
    assert graphs.run("lower", graph, target="host").total.macs == 4 * 8 * 8


def test_entry_points_by_signature_or_subgraph(tmp_path: Path) -> None:
    one = Subgraph([Tensor("a", (2,)), Tensor("b", (2,))], [Operator("RELU", [0], [1])], [0], [1], "main")
    open_ = Tensor("c", (1, 2), signature=(-1, 2))
    two = Subgraph([open_, Tensor("d", (1, 2), signature=(-1, 2))], [Operator("TANH", [0], [1])], [0], [1], "other")
    content = model(one, two, signatures=[Signature("decode", 1, {"tokens": 0}), Signature("encode", 0, {"pixels": 0})])
    first = loaded(tmp_path, content)
    assert first.body[0].name == "tfl.TANH", "the first signature, not the first subgraph"
    assert first.attributes["signatures"] == ("decode", "encode")
    assert first.inputs[0].result.type == TensorType(DType.F32, (Symbol("tokens.0"), 2)), "by its name in the signature"
    assert loaded(tmp_path, content, "encode").body[0].name == "tfl.RELU"
    assert loaded(tmp_path, content, "main").body[0].name == "tfl.RELU"
    with pytest.raises(FrontendError, match="no signature or subgraph 'train'") as caught:
        loaded(tmp_path, content, "train")
    assert "decode, encode, main, other" in caught.value.help


def test_the_command_line_names_an_entry_point(tmp_path: Path, run: Callable[..., Any]) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(model(_relu(), _relu(operators=[Operator("TANH", [0], [1])], name="other")))
    chosen = run("--entry=other", "--emit=text", "--passes=shape", path)
    assert chosen.code == 0 and "tfl.TANH" in chosen.out
    refused = run("--entry=other", MODELS / "lstm_lm.onnx")
    assert refused.code == 1 and "has one entry point" in refused.err


def test_resource_variables(tmp_path: Path) -> None:
    tensors = [Tensor("x", (4,)), Tensor("handle", (), RESOURCE), Tensor("y", (4,))]
    ops = [
        Operator("VAR_HANDLE", [], [1], "VarHandleOptions", {"SharedName": "state"}),
        Operator("ASSIGN_VARIABLE", [1, 0], []),
        Operator("READ_VARIABLE", [1], [2]),
    ]
    graph = loaded(tmp_path, model(Subgraph(tensors, ops, [0], [2])))
    assert graph.body[0].attributes["shared_name"] == "state"
    assert graphs.run("fuse,lower,cost", graph, target="host").total.exact


# -- refusals ---------------------------------------------------------------------------------------------------------


def _relu(**changes: object) -> Subgraph:
    fields = {"tensors": [Tensor("x", (2,)), Tensor("y", (2,))], "operators": [Operator("RELU", [0], [1])]}
    return Subgraph(**{**fields, "inputs": [0], "outputs": [1], **changes})


def _while(condition: int, body: int) -> bytes:
    loop = Operator("WHILE", [0], [1], "WhileOptions", {"CondSubgraphIndex": condition, "BodySubgraphIndex": body})
    return model(_relu(operators=[loop]), _relu(operators=[loop]))


REFUSED = {
    "operand": (
        model(_relu(operators=[Operator("RELU", [9], [1])])),
        "an operand of operator 0 .* is tensor 9, of which",
    ),
    "result": (model(_relu(operators=[Operator("RELU", [0], [-1])])), "is left out by operator 0"),
    "made twice": (
        model(_relu(operators=[Operator("RELU", [0], [0])])),
        "makes tensor 0 .'x'., which is there already",
    ),
    "input": (model(_relu(inputs=[0, 0])), "cannot be one, or not twice"),
    "output": (model(_relu(outputs=[7])), "an output of subgraph 0 is tensor 7"),
    "subgraph": (_while(0, 12), "subgraph 12, of which there are 2|inside itself"),
    "recursion": (_while(1, 1), "inside itself"),
    "no subgraph": (model(), "it has no subgraph"),
    "extent": (model(_relu(tensors=[Tensor("x", (-2,)), Tensor("y", (2,))])), "negative dimension"),
    "constant": (
        model(_relu(tensors=[Tensor("x", (3,), INT32, bytes(8)), Tensor("y", (2,))], inputs=[])),
        "does not fit the 8 bytes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_cannot_be_run(case: str, tmp_path: Path) -> None:
    content, says = REFUSED[case]
    with pytest.raises(FrontendError, match=says) as caught:
        loaded(tmp_path, content)
    assert "model.tflite" in str(caught.value)


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphs.frontends.tflite.find_spec", lambda name: None)
    with pytest.raises(FrontendError, match="needs the tflite package") as caught:
        loaded(tmp_path, model(_relu()))
    assert "graphs-opt[tflite]" in caught.value.help
