"""Input that is wrong in ways nobody wrote a case for, and input that would end onnx's own C++ with the process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from materialise import materialise
from onnx import TensorProto, helper, numpy_helper

import graphs
from graphs.frontends import FrontendError, onnx_file
from graphs.frontends.onnx import load_onnx

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "examples" / "models"
FUZZING = ROOT / "tests" / "oracles" / "fuzzing.py"


# -- damaged models ----------------------------------------------------------------------------------------------------


def fuzz(first: int, count: int, seconds: int) -> None:
    """In a process of its own: a crash of onnx's C++ is then a failure of the test and not the end of all tests."""
    command = [sys.executable, str(FUZZING), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr


def test_damaged_models_are_refused_or_analysed() -> None:
    fuzz(0, 60, seconds=120)


@pytest.mark.slow
def test_two_thousand_damaged_models_are_refused_or_analysed() -> None:
    """As many again of every kind: bytes, wire format, text and structure (benchmarks/fuzz.py tries 50,000)."""
    fuzz(1000, 2000, seconds=900)


# -- what onnx's inference does not survive ----------------------------------------------------------------------------


def sliced(nodes: Sequence[onnx.NodeProto], weights: Sequence[onnx.TensorProto], extent: int) -> onnx.ModelProto:
    """A model whose nodes make ``t`` of an image ``x``; of which a slice is then taken along its height."""
    bounds = [numpy_helper.from_array(np.array([value]), name) for name, value in (("s", 0), ("e", 5), ("a", 2))]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, extent, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [*nodes, helper.make_node("Slice", ["t", "s", "e", "a"], ["y"], name="slice")]
    graph = helper.make_graph(nodes, "sliced", [x], [y], [*weights, *bounds])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def survives(program: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("case", ["window", "stated", "weight", "split", "long vector"])
def test_what_ends_onnx_does_not_end_us(case: str, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.zeros((4, 3, 7, 7), np.float32), "w")
    models = {
        "window": sliced([helper.make_node("Conv", ["x", "w"], ["t"])], [weight], 3),
        "stated": sliced([helper.make_node("Relu", ["x"], ["t"])], [], -5),
        "weight": sliced(
            [helper.make_node("Add", ["x", "v"], ["t"])], [TensorProto(name="v", data_type=1, dims=[-5])], 3
        ),
        "split": sliced([helper.make_node("Split", ["x"], ["t", "u", "v"], axis=1, num_outputs=2)], [], 3),
        "long vector": sliced(
            [helper.make_node("Reshape", ["x", "m"], ["r"]), helper.make_node("Gather", ["r", "i"], ["t"])],
            [numpy_helper.from_array(np.array(v), n) for n, v in (("m", [-1]), ("i", [[[[0]]]]))],
            1 << 30,
        ),
    }
    path = tmp_path / "model.onnx"
    onnx.save(models[case], path)
    program = "import sys; from graphs.tools.opt import main; main(['--target=intel-core-i7-12700k', sys.argv[1]])"
    done = survives(program, path)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr and "defect" not in done.stderr


# -- nodes that their schema forbids -----------------------------------------------------------------------------------


def one_node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node(operator, inputs, outputs, name="it", **attributes)
    return helper.make_model(helper.make_graph([node], "one", [x], [y]), opset_imports=[helper.make_opsetid("", 18)])


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "message"),
    [
        ("Relu", [], ["y"], "lacks an operand; Relu takes at least 1"),
        ("Relu", [""], ["y"], "lacks an operand"),
        ("Relu", ["x", "x"], ["y"], "has 2 operands; Relu takes at most 1"),
        ("Add", ["x"], ["y"], "lacks an operand; Add takes at least 2"),
        ("Relu", ["x"], ["y", "z"], "has 2 results; Relu gives 1 to 1"),
        ("Concat", [], ["y"], "lacks an operand"),
    ],
)
def test_a_node_of_the_wrong_shape_is_refused(
    operator: str, inputs: list[str], outputs: list[str], message: str
) -> None:
    with pytest.raises(FrontendError, match=f"node 'it' {message}"):
        load_onnx(one_node(operator, inputs, outputs))


def test_a_node_may_leave_out_what_is_optional_and_an_unknown_one_anything() -> None:
    assert len(load_onnx(one_node("Clip", ["x", "", "x"], ["y"])).body) == 1
    assert len(load_onnx(one_node("Nonesuch", [], ["y"])).body) == 1


def test_a_name_that_is_no_text_is_refused() -> None:
    content = one_node("Relu", ["x"], ["y"]).SerializeToString()
    with pytest.raises(FrontendError, match="is no text"):
        load_onnx(onnx.ModelProto.FromString(content.replace(b"it", b"\xff\xfe")))


# -- reading without weights -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "shufflenet_v2_x1_0.onnx"
    onnx.save(materialise(MODELS / path.name), path)
    return path


def test_weights_are_skipped_and_nothing_else_is(with_weights: Path) -> None:
    whole = with_weights.read_bytes()
    assert onnx_file.read_model(with_weights).ByteSize() < len(whole) / 5
    expected, found = load_onnx(onnx.ModelProto.FromString(whole)), graphs.load(with_weights)
    found.name = expected.name
    del found.attributes["path"]
    assert found == expected


@pytest.mark.parametrize("limit", [0, 100, 10_000])
def test_structure_is_kept_at_any_threshold(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attributes' tensors and the bodies of control flow included."""
    monkeypatch.setattr(onnx_file, "SMALL_FILE", 0)
    monkeypatch.setattr(onnx_file, "SMALL_MESSAGE", limit)
    for path in MODELS.glob("*.onnx"):
        whole = onnx.load(path, load_external_data=False)
        found = onnx_file.read_model(path)
        for model in (whole, found):
            for tensor in model.graph.initializer:
                for values in ("raw_data", "external_data", "data_location", "int64_data", "float_data", "int32_data"):
                    tensor.ClearField(values)
        assert whole.graph.initializer == found.graph.initializer
        assert [(n.name, n.op_type, n.input) for n in whole.graph.node] == [
            (n.name, n.op_type, n.input) for n in found.graph.node
        ]


def test_a_large_file_that_is_cut_short_is_damaged(with_weights: Path, tmp_path: Path) -> None:
    content = with_weights.read_bytes()
    for length in (len(content) - 1, len(content) // 2, onnx_file.SMALL_FILE + 1):
        path = tmp_path / "cut.onnx"
        path.write_bytes(content[:length])
        with pytest.raises(FrontendError, match="truncated or damaged"):
            graphs.load(path)
