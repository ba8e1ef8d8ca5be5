"""The annotated model: still the model, each node told what became of it, and a sidecar that says the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphs
from graphs.ir.errors import GraphsError
from graphs.tools.emit import companions, emit
from graphs.tools.emit.rows import labels
from graphs.tools.emit.view import View

HERE = Path(__file__).parent
MODELS = HERE.parent / "examples" / "models"
GOLDEN = HERE / "golden"
SCHEMA = json.loads((HERE.parent / "docs" / "report.schema.json").read_text())


def small_model(path: Path, external: bool = False) -> Path:
    """Conv, Relu, Reshape, MatMul, Reshape, and a constant sum that is folded."""
    weight = numpy_helper.from_array(np.full((8, 3, 3, 3), 0.5, np.float32), "w")
    matrix = numpy_helper.from_array(np.full((288, 4), 0.25, np.float32), "m")
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 288])
    flat = helper.make_tensor("flat", TensorProto.INT64, [1], [4])
    one = helper.make_tensor("one", TensorProto.INT64, [2], [0, 0])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Add", ["shape", "one"], ["s"], name="sum"),
        helper.make_node("Reshape", ["r", "s"], ["f"], name="reshape"),
        helper.make_node("MatMul", ["f", "m"], ["p"]),
        helper.make_node("Reshape", ["p", "flat"], ["y"], name="view"),
    ]
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [weight, matrix, shape, flat, one],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save_model(model, path, save_as_external_data=external, location="small.bin", size_threshold=100)
    return path


def annotate(source: Path, out: Path, view: View | None = None) -> onnx.ModelProto:
    report = graphs.run("default", graphs.load(source))
    shown = replace(view or View(), path=out)
    content = emit("onnx", [report], shown)
    assert isinstance(content, bytes)
    out.write_bytes(content)
    for path, text in companions("onnx", [report], shown).items():
        path.write_text(text)
    return onnx.load(out, load_external_data=False)


def notes_of(node: onnx.NodeProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in node.metadata_props}


def run_model(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 3, 8, 8), np.float32)})[0]


def test_an_annotated_model_is_still_the_model(tmp_path: Path) -> None:
    source = small_model(tmp_path / "small.onnx")
    model = annotate(source, tmp_path / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (run_model(tmp_path / "out.onnx") == run_model(source)).all()
    bare = onnx.load(source)
    for node in model.graph.node:
        del node.metadata_props[:]
    del model.metadata_props[:]
    assert model == bare


def test_every_node_says_which_kernel_it_is_in(tmp_path: Path) -> None:
    model = annotate(small_model(tmp_path / "small.onnx"), tmp_path / "out.onnx")
    report = graphs.run("default", graphs.load(tmp_path / "small.onnx"))
    notes = {node.name: notes_of(node) for node in model.graph.node}
    assert notes["conv"]["graphs.role"] == "main" and notes["relu"]["graphs.role"] == "fused"
    assert notes["conv"]["graphs.kernel"] == notes["relu"]["graphs.kernel"] == "conv"
    assert notes["conv"]["graphs.pattern"] == "Conv_Relu"
    assert notes["sum"] == {"graphs.kernel": "", "graphs.note": "no kernel: folded, merged or dropped before the run"}
    assert notes["view"] == {"graphs.kernel": "", "graphs.note": "no kernel: a view, which costs nothing"}
    mains = [note for note in notes.values() if note.get("graphs.role") == "main"]
    assert len(mains) == len(report.kernels)
    assert sum(float(note["graphs.seconds"]) for note in mains) == pytest.approx(report.total.serial_seconds)
    assert sum(int(note["graphs.macs"]) for note in mains) == report.total.macs
    assert {entry.key for entry in model.metadata_props} >= {"graphs.target", "graphs.seconds"}


@pytest.mark.parametrize("name", ["swin_t", "lstm_lm", "shufflenet_v2_x1_0"])
def test_annotations_add_up_to_the_total(name: str, tmp_path: Path) -> None:
    report = graphs.run("default", graphs.load(MODELS / f"{name}.onnx"))
    shown = View(path=tmp_path / "out.onnx")
    model = onnx.load_from_string(emit("onnx", [report], shown))
    mains = [note for node in model.graph.node if (note := notes_of(node)).get("graphs.role") == "main"]
    assert sum(float(note["graphs.seconds"]) for note in mains) == pytest.approx(report.total.serial_seconds)
    assert sum(int(note["graphs.bytes"]) for note in mains) == report.total.bytes
    assert {label for note in mains for label in note["graphs.kernel"].split(" + ")} == set(labels(report.kernels))


def test_the_sidecar_says_the_same(tmp_path: Path) -> None:
    model = annotate(small_model(tmp_path / "small.onnx"), tmp_path / "out.onnx")
    sidecar = json.loads((tmp_path / "out.onnx.graphs.json").read_text())
    for node in model.graph.node:
        note = {f"graphs.{key}": str(value) for key, value in sidecar["nodes"][node.name or node.output[0]].items()}
        assert note == notes_of(node)
        assert all(sidecar["outputs"][name] == sidecar["nodes"][node.name or name] for name in node.output)


def test_annotating_twice_leaves_one_set_of_notes(tmp_path: Path) -> None:
    once = annotate(small_model(tmp_path / "small.onnx"), tmp_path / "once.onnx")
    assert annotate(tmp_path / "once.onnx", tmp_path / "twice.onnx") == once


@pytest.mark.parametrize("below", [".", "models"])
def test_external_weights_are_found_from_the_output(tmp_path: Path, below: str) -> None:
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    source = small_model(folder / "small.onnx", external=True)
    warnings: list[str] = []
    annotate(source, tmp_path / "out.onnx", View(warn=warnings.append))
    onnx.checker.check_model(tmp_path / "out.onnx")
    assert (run_model(tmp_path / "out.onnx") == run_model(source)).all()
    assert not warnings


def test_external_weights_out_of_reach_are_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    warnings: list[str] = []
    source = small_model(tmp_path / "small.onnx", external=True)
    annotate(source, tmp_path / "elsewhere" / "out.onnx", View(warn=warnings.append))
    (warning,) = warnings
    assert "small.bin" in warning and str(tmp_path) in warning
    (tmp_path / "elsewhere" / "small.bin").write_bytes((tmp_path / "small.bin").read_bytes())
    assert run_model(tmp_path / "elsewhere" / "out.onnx").shape == (4,)


def test_local_functions_and_branches_are_annotated(tmp_path: Path) -> None:
    function = helper.make_function(
        "acme", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"], name="add")],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    out = [helper.make_tensor_value_info("t", TensorProto.FLOAT, [4])]
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node(op, ["d"], ["t"], name=op.lower())], name, [], out)
        for name, op in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = [
        helper.make_node("Twice", ["x"], ["d"], name="call", domain="acme"),
        helper.make_node("If", ["flag"], ["y"], name="if", **branches),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]),
        helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(nodes, "f", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("acme", 1)]
    onnx.save(helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=9), tmp_path / "f.onnx")
    model = annotate(tmp_path / "f.onnx", tmp_path / "out.onnx")
    onnx.checker.check_model(model, full_check=True)
    add, branch = model.graph.node
    assert notes_of(add)["graphs.kernel"]
    inner = branch.attribute[0].g.node[0]
    assert notes_of(inner) == {"graphs.kernel": notes_of(branch)["graphs.kernel"], "graphs.note": "inside if"}


def test_only_a_model_from_an_onnx_file_becomes_one(tmp_path: Path) -> None:
    report = graphs.run("default", graphs.Graph("handmade"))
    with pytest.raises(GraphsError, match="only a model read from an ONNX file"):
        emit("onnx", [report], View(path=tmp_path / "x.onnx"))
    with pytest.raises(GraphsError, match="one model, not 2"):
        emit("onnx", [report, report], View(path=tmp_path / "x.onnx"))
