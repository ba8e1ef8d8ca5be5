"""What every frontend guarantees alike: content decides, graphs are sound, typed and placed, no weight is read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_models import small_network
from tiny_pt2 import archive, convolutional

import graphs
from graphs.frontends import FrontendError, frontends
from graphs.ir import CONSTANT, FOLD_LIMIT, INPUT, OUTPUT, TensorType


@dataclass(frozen=True)
class Door:
    """One frontend: a small network in its format, and the packages that making it takes."""

    content: Callable[[], bytes]
    needs: tuple[str, ...] = ()


def _text() -> bytes:
    from graphs.frontends.onnx import load_onnx

    return str(load_onnx(small_network(17))).encode()


def _tflite() -> bytes:
    from tiny_tflite import FLOAT32, Operator, Subgraph, Tensor, model

    tensors = [Tensor("x", (1, 4), FLOAT32), Tensor("y", (1, 4), FLOAT32)]
    return bytes(model(Subgraph(tensors, [Operator("RELU", [0], [1])], [0], [1])))


DOORS = {
    "text": Door(_text),
    "onnx": Door(lambda: small_network(17).SerializeToString()),
    "torch": Door(lambda: archive(convolutional())),
    "tflite": Door(_tflite, ("tflite", "flatbuffers")),
}
every_door = pytest.mark.parametrize("name", DOORS)


def graph_of(name: str, folder: Path, suffix: str = "") -> graphs.Graph:
    """The network, written under a suffix that says nothing or the wrong thing."""
    door = DOORS[name]
    missing = [package for package in door.needs if find_spec(package) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed")
    path = folder / f"model{suffix}"
    path.write_bytes(door.content())
    return graphs.load(path)


def test_every_frontend_has_a_door() -> None:
    assert {frontend.name for frontend in frontends()} == DOORS.keys()


@every_door
@pytest.mark.parametrize("suffix", ["", ".onnx", ".pt2", ".tflite", ".txt"])
def test_content_decides_and_not_the_suffix(name: str, suffix: str, tmp_path: Path) -> None:
    graph = graph_of(name, tmp_path, suffix)
    assert graph.body
    wanted = {"text": "onnx"}.get(name, name)
    assert graph.attributes["format"] == wanted


@every_door
def test_graphs_are_sound_and_come_through_text(name: str, tmp_path: Path) -> None:
    graph = graph_of(name, tmp_path)
    graphs.verify(graph)
    assert graphs.parse(str(graph)) == graph
    assert graph == graph_of(name, tmp_path)


@every_door
def test_every_operation_has_a_place_in_the_source(name: str, tmp_path: Path) -> None:
    graph = graph_of(name, tmp_path)
    assert all(op.loc.name for op in graph.ops if op.name not in (CONSTANT, INPUT, OUTPUT))
    indices = [op.loc.origins[0].index for op in graph.body if op.loc.origins[0].index is not None]
    assert indices == sorted(set(indices))


@every_door
def test_every_value_has_a_type_after_inference(name: str, tmp_path: Path) -> None:
    report = graphs.run("shape", graph_of(name, tmp_path), target="intel-core-i7-12700k")
    for value in report.graph.values():
        assert isinstance(value.type, TensorType) and value.type.static, value


@every_door
def test_no_weight_is_kept(name: str, tmp_path: Path) -> None:
    """Small integer constants keep their values, for shapes; nothing else does."""
    for op in graph_of(name, tmp_path).ops:
        constant = op.results[0].constant if op.name == CONSTANT else None
        if constant is not None:
            assert len(constant.values) <= FOLD_LIMIT
            assert constant.type.dtype.is_integer or len(constant.values) <= 64


@every_door
def test_every_truncation_is_refused_or_read(name: str, tmp_path: Path) -> None:
    graph_of(name, tmp_path)
    content = DOORS[name].content()
    path, refused = tmp_path / "cut", 0
    lengths = range(0, len(content), max(1, len(content) // 60))
    for length in lengths:
        path.write_bytes(content[:length])
        try:
            graphs.load(path)
        except graphs.GraphsError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 0.8 * len(lengths)


def test_what_nobody_recognises_names_the_formats(tmp_path: Path) -> None:
    path = tmp_path / "readme.md"
    path.write_text("# Nothing of the sort")
    with pytest.raises(FrontendError, match=r"not a model of a known format.*onnx.*tflite.*torch"):
        graphs.load(path)


PLUGIN = """
from pathlib import Path
from graphs import DType, Graph, TensorType
from graphs.frontends import Frontend
from graphs.ir import INPUT, OUTPUT, Location

def load(path: Path) -> Graph:
    graph = Graph(path.stem, {"format": "acme"})
    x = graph.add(INPUT, [], [("x", TensorType(DType.F32, (1, 4)))], loc=Location.of("x")).result
    y = graph.add("onnx.Relu", [x], [("y", x.type)], loc=Location.of("relu", index=0)).result
    graph.add(OUTPUT, [y], loc=Location.of("y"))
    return graph

ACME = Frontend("acme", lambda head: head.startswith(b"ACME"), load)
"""


def test_an_installed_package_adds_a_frontend_by_an_entry_point(tmp_path: Path) -> None:
    """One file, and one line of the package's metadata."""
    (tmp_path / "acme_frontend.py").write_text(PLUGIN)
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    points = "[graphs.frontends]\nacme = acme_frontend:ACME\nbroken = acme_missing\n"
    (info / "entry_points.txt").write_text(points)
    (tmp_path / "model.acme").write_bytes(b"ACME 1")
    code = "\n".join(
        (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r})",
            "import graphs; from graphs.frontends import load_entry_points",
            "print(load_entry_points())",
            "print([op.name for op in graphs.load(sys.argv[1]).body])",
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model.acme")], capture_output=True, text=True, check=True
    )
    problems, operators = done.stdout.splitlines()
    assert 'frontend "broken" (acme_missing) is not loaded: ModuleNotFoundError' in problems
    assert operators == "['onnx.Relu']"
