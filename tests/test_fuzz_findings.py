"""What fuzzing found, each as small as it gets: what once raised, hung, filled the memory or ended the process."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fuzz_seeds import made_up_models
from onnx import TensorProto, helper, numpy_helper

import graphs
from graphs.frontends import FrontendError, onnx_inference
from graphs.frontends.onnx import load_onnx
from graphs.ir import ParseError, VerificationError, parse
from graphs.ir.limits import MOST_ELEMENTS
from graphs.passes.base import Context, PassError
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.report import Report
from graphs.passes.reporting import build_report
from graphs.tools.emit import emit
from graphs.tools.emit.view import View
from graphs.tools.explanation import explanation
from graphs.tools.terminal import HARMFUL, Messages

TARGET = "intel-core-i7-12700k"
PIPELINE = "bind,shape,fuse,lower,memory,calibrate,cost,coverage"
ESCAPE = "\x1b[31mred\x1b]0;title\x07\u202egnp.exe\nerror: forged\ud800"
FORMATS = ("table", "json", "csv", "text", "dot", "coverage", "coverage-json", "coverage-csv")


def made(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[int | str] | None],
    weights: dict[str, Any] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    results = [onnx.ValueInfoProto(name=nodes[-1].output[0])]
    graph = helper.make_graph(nodes, "found", values, results, stored)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def analysed(graph: graphs.Graph, **dims: int) -> Report:
    context = Context(graphs.load_target(TARGET), dims=dims)
    PassManager(parse_passes(PIPELINE)).run(graph, context)
    return build_report(graph, context)


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_extents_whose_product_is_beyond_anything_are_refused() -> None:
    """3,000 extents of 2^40 have more elements than a float has range, and more digits than Python prints."""
    huge = made([helper.make_node("Relu", ["x"], ["y"])], {"x": [2**40] * 3000})
    with pytest.raises(VerificationError, match="nothing can be of the type of 'x'"):
        graphs.ir.verify(load_onnx(huge))


def test_what_is_counted_exactly_stays_so() -> None:
    report = analysed(load_onnx(made([helper.make_node("Relu", ["x"], ["y"])], {"x": [2**63 - 1, 2**63 - 1, 7]})))
    assert report.total.flops == 7 * (2**63 - 1) ** 2 < MOST_ELEMENTS
    assert emit("table", [report], View())


def test_binding_a_dimension_to_something_absurd_is_refused() -> None:
    graph = load_onnx(made([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n"] * 10}))
    with pytest.raises(PassError, match="no tensor has so many elements"):
        analysed(graph, n=2**62)


def test_work_beyond_any_machine_is_unknown() -> None:
    """Loops in loops, each of 2^62 trips."""
    outputs = [("on", TensorProto.BOOL, []), ("next", TensorProto.FLOAT, [4])]
    body: onnx.GraphProto | None = None
    for level in range(8):
        make = helper.make_node
        step = make("Loop", ["trips", "yes", "s"], ["next"], body=body) if body else make("Relu", ["s"], ["next"])
        inputs = [("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("s", TensorProto.FLOAT, [4])]
        body = helper.make_graph(
            [make("Identity", ["go"], ["on"]), step],
            f"body{level}",
            [helper.make_tensor_value_info(*info) for info in inputs],
            [helper.make_tensor_value_info(*info) for info in outputs],
        )
    node = helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)
    report = analysed(load_onnx(made([node], {"x": [4]}, {"trips": np.array(2**62), "yes": np.array(True)})))
    assert not report.total.exact
    for form in FORMATS:
        assert emit(form, [report], View())


@pytest.mark.parametrize(
    ("operator", "attributes", "operands"),
    [
        ("MaxPool", {"kernel_shape": [2**62, 2**62]}, ["x"]),
        ("MaxPool", {"kernel_shape": [0, 0], "strides": [0, 0]}, ["x"]),
        ("Conv", {"group": 0, "dilations": [-1, -1]}, ["x", "w"]),
        ("Conv", {"group": 2**62, "strides": [0, 0]}, ["x", "w"]),
        ("DepthToSpace", {"blocksize": 0}, ["x"]),
        ("Einsum", {"equation": "i" * 1_000_000}, ["x"]),
        ("Expand", {}, ["x", "huge"]),
        ("Tile", {}, ["x", "huge"]),
        ("Pad", {}, ["x", "pads"]),
        ("Range", {}, ["zero", "far", "one"]),
        ("ConstantOfShape", {}, ["huge"]),
        ("OneHot", {}, ["zero", "far", "pair"]),
        ("Resize", {"mode": "nearest"}, ["x", "", "", "huge"]),
        ("Slice", {}, ["x", "huge", "huge", "huge", "huge"]),
        ("Split", {"num_outputs": 2**40}, ["x"]),
        ("LSTM", {"hidden_size": 2**40}, ["sequence", "gates", "gates"]),
    ],
)
def test_absurd_numbers_are_refused_or_unknown(operator: str, attributes: dict[str, Any], operands: list[str]) -> None:
    weights = {
        "w": np.ones((4, 3, 3, 3), np.float32),
        "huge": np.array([2**40, 2**62, 1, 2**62]),
        "pads": np.array([2**62] * 8),
        "zero": np.array(0),
        "one": np.array(1),
        "far": np.array(2**62),
        "pair": np.array([0, 1]),
    }
    node = helper.make_node(operator, operands, ["y"], **attributes)
    shapes = {"x": [1, 3, 8, 8], "sequence": [4, 1, 3], "gates": [2**40, 16, 3]}
    try:
        report = analysed(load_onnx(made([node], shapes, weights)))
    except graphs.GraphsError as error:
        assert "defect" not in error.help
    else:
        for form in FORMATS:
            assert emit(form, [report], View())


def test_folding_never_makes_more_than_it_may_keep() -> None:
    """Three operands of 4,096 elements along an axis each broadcast to 68 billion."""
    ones = np.ones(4096, np.int64)
    weights = {"c": ones.reshape(-1, 1, 1) > 0, "a": ones.reshape(1, -1, 1), "b": ones.reshape(1, 1, -1)}
    report = analysed(load_onnx(made([helper.make_node("Where", ["c", "a", "b"], ["y"])], {}, weights)))
    assert report.total.flops in (0, 4096**3)


# -- what ended the process, or never ended ---------------------------------------------------------------------------


def test_what_onnx_does_not_survive_is_survived(tmp_path: Path) -> None:
    """onnx's inference reads types that are not there: what an unknown operator makes, or nothing at all."""
    make = helper.make_node
    nodes = [
        make("LabelEncoder", ["u"], ["y"], domain="ai.onnx.ml", keys_strings=["a"], values_int64s=[1]),
        make("RegexFullMatch", ["u"], ["y"], pattern="x"),
        make("RegexFullMatch", [""], ["y"], pattern="x"),
        make("Split", ["u"], ["y", "z"], num_outputs=5),
    ]
    paths = [tmp_path / f"{number}.onnx" for number in range(len(nodes))]
    for path, node in zip(paths, nodes, strict=True):
        model = made([make("Own", ["x"], ["u"], domain="own"), node], {"x": [4]}, opset=20)
        path.write_bytes(model.SerializeToString())
    program = "import sys; from graphs.tools.opt import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, f"--target={TARGET}", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert "node 'y' lacks an operand" in done.stderr and "4 models" not in done.stdout


def test_what_onnx_never_finishes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its inference of this equation goes on for ever, where the element type is none that there is."""
    monkeypatch.setattr(onnx_inference, "_allowance", lambda model: (1, 1 << 29))
    model = made([helper.make_node("Einsum", ["x"], ["y"], equation="-.")], {"x": []}, opset=28)
    model.graph.input[0].type.tensor_type.elem_type = 43
    assert "'-.' does not fit" in analysed(load_onnx(model)).total.unknown[0].reason


def test_shares_of_what_is_open_are_left_out() -> None:
    """Work in two precisions over open dimensions: neither is a share of the other that a number could say."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("DynamicQuantizeLinear", ["m"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "v"], ["y"]),
    ]
    weights = {"w": np.ones((4, 4), np.float32), "v": np.ones((4, 4), np.int8)}
    graph = load_onnx(made(nodes, {"x": ["n", 4]}, weights))
    context = Context(graphs.load_target(TARGET))
    PassManager(parse_passes("shape,fuse,lower,memory")).run(graph, context)
    assert "n" in str(emit("table", [build_report(graph, context)], View()))


def test_launches_that_are_open_are_written() -> None:
    """A scan over an open dimension launches its body's kernels that many times."""
    (scan,) = [model for model in made_up_models() if model.graph.node[0].op_type == "Scan"]
    graph, context = load_onnx(scan), Context(graphs.load_target(TARGET))
    PassManager(parse_passes("shape,fuse,lower,memory")).run(graph, context)
    record = json.loads(str(emit("json", [build_report(graph, context)], View())))
    assert {kernel["launches"] for body in record["bodies"] for kernel in body["kernels"]} == {"time"}


def test_a_recurrence_in_more_than_two_directions_is_unknown() -> None:
    """It once took a primitive for each of 2^40."""
    shapes = {"x": [4, 1, 3], "w": [2**40, 16, 3], "r": [2**40, 16, 4]}
    report = analysed(load_onnx(made([helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)], shapes)))
    assert "directions" in report.total.unknown[0].reason


# -- what raised ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [-1, 2**31, 2**63 - 1, -(2**63)])
def test_versions_that_are_none(version: int) -> None:
    with pytest.raises(FrontendError, match="is no version of the operators"):
        load_onnx(made([helper.make_node("Relu", ["x"], ["y"])], {"x": [4]}, opset=version))


def test_metadata_that_is_no_text() -> None:
    model = made([helper.make_node("Relu", ["x"], ["y"])], {"x": [4]})
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="@@")
    with pytest.raises(FrontendError, match="is no text"):
        load_onnx(onnx.ModelProto.FromString(model.SerializeToString().replace(b"@@", b"\xff\xfe")))


def test_a_constant_of_something_else() -> None:
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.add(name="value_int", type=onnx.AttributeProto.TYPE_PROTO).tp.tensor_type.elem_type = 1
    with pytest.raises(FrontendError, match="its value is no text, number or list of these"):
        load_onnx(made([node], {}))


@pytest.mark.parametrize("dims", [[], [0]])
def test_siblings_of_a_value_that_nothing_can_be_taken_from(dims: list[int]) -> None:
    nodes = [helper.make_node("Gather", ["x", "i"], [f"g{n}"], axis=0) for n in range(2)]
    model = made([*nodes, helper.make_node("Add", ["g0", "g1"], ["y"])], {"x": dims}, {"i": np.array(0)})
    assert analysed(load_onnx(model)).total.macs == 0


def test_an_elementwise_operation_with_a_graph_inside() -> None:
    inner = helper.make_graph([helper.make_node("Exp", ["x"], ["e"])], "b", [], [onnx.ValueInfoProto(name="e")])
    nodes = [helper.make_node("Exp", ["x"], ["x1"]), helper.make_node("Relu", ["x1"], ["y"], body=inner)]
    assert analysed(load_onnx(made(nodes, {"x": [64]}))).kernels


def test_an_empty_branch_keeps_its_types_in_the_text_form() -> None:
    branches = {
        name: helper.make_graph([], name, [], [onnx.ValueInfoProto(name="x")])
        for name in ("then_branch", "else_branch")
    }
    model = made([helper.make_node("If", ["c"], ["y"], **branches)], {"x": [4], "c": []})
    text = str(emit("text", [analysed(load_onnx(model))], View()))
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("{value = dense<[1, 1.0e999]> : tensor<2xi64>}", "is no number of type i64"),
        ("{captures = -1}", "captures must be a number"),
        ("{captures = 99}", "captures must be a number"),
    ],
)
def test_text_that_says_what_cannot_be(attributes: str, message: str) -> None:
    text = (
        f'"graphs.graph"() ({{ %c = "onnx.Own"() {attributes} : () -> tensor<2xi64> }}) {{sym_name = "g"}} : () -> ()'
    )
    with pytest.raises((ParseError, VerificationError), match=message):
        graphs.ir.verify(parse(text))


@pytest.mark.parametrize("region", ["", '({ "onnx.Own"() : () -> () })', '({ }) {graphs.regions = [{sym_name = "k"}]}'])
def test_a_kernel_without_what_makes_it_one(region: str) -> None:
    op = f'%c = "graphs.kernel"() {region} : () -> tensor<2xi64>'
    with pytest.raises((ParseError, VerificationError)):
        graphs.ir.verify(parse(f'"graphs.graph"() ({{ {op} }}) {{sym_name = "g"}} : () -> ()'))


def test_a_text_names_no_file_to_be_opened(tmp_path: Path) -> None:
    """Writing the annotated model opens the file that a graph came from: the one that was named to the tool."""
    secret = tmp_path / "secret.onnx"
    secret.write_bytes(made([helper.make_node("Relu", ["x"], ["y"])], {"x": [4]}).SerializeToString())
    path = tmp_path / "model.mlir"
    path.write_text(str(graphs.load(secret)))
    assert 'path = "' in path.read_text()
    with pytest.raises(graphs.GraphsError, match="only a model read from an ONNX file"):
        emit("onnx", [analysed(graphs.load(path))], View())


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile_report() -> Report:
    """Every name in the model drives a terminal, forges lines and starts formulas."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], name="=cmd|A0"),
        helper.make_node("Own", ["m"], ["y"], name="n", domain="own"),
    ]
    graph = load_onnx(made(nodes, {"x": ["n", 4]}, {"w": np.ones((4, 4), np.float32)}))
    graph.name = ESCAPE
    for op in graph.ops:
        for value in op.results:
            graph.rename(value, f"{value.name}{ESCAPE}")
        op.loc = graphs.ir.Location.of(f"{op.label}{ESCAPE}", f"layer.{ESCAPE}")
    return analysed(graph)


@pytest.mark.parametrize("form", FORMATS)
def test_no_name_drives_a_terminal(form: str, hostile_report: Report) -> None:
    for view in (View(coverage=True), View(by="module", wide=True), View(quiet=True)):
        text = str(emit(form, [hostile_report, hostile_report], view)).replace("\r\n", "\n")
        assert not HARMFUL.search(text)
        assert "\nerror: forged" not in text
        text.encode("utf-8")


def test_what_is_shown_of_hostile_names_is_still_in_form(hostile_report: Report) -> None:
    record = json.loads(str(emit("json", [hostile_report], View())))
    assert record["model"] == ESCAPE
    rows = list(csv.reader(io.StringIO(str(emit("csv", [hostile_report], View())))))
    assert {len(row) for row in rows} == {len(rows[0])} and len(rows) == 1 + len(hostile_report.kernels)
    assert parse(str(emit("text", [hostile_report], View()))) == hostile_report.graph


def test_explanations_and_messages_are_harmless(hostile_report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    text = explanation(hostile_report, hostile_report.kernels[0].name, graphs.load_target(TARGET), View())
    assert not HARMFUL.search(text) and "\nerror: forged" not in text
    Messages().error(f"no {ESCAPE}", ESCAPE * 1000)
    written = capsys.readouterr().err
    assert not HARMFUL.search(written) and len(written) < 10_000
