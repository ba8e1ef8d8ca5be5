"""What holds no ONNX model, or one that cannot be run, is refused with one clear error and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper
from tiny_models import BOOL, F32, I64, branch, model, small_network, value

import graphs
from graphs.frontends import FrontendError


def _write(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "bad.onnx"
        path.write_bytes(content)
        return path

    return make


def _whole() -> bytes:
    return small_network(17).SerializeToString()


def _folder(folder: Path) -> Path:
    return folder


BAD_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "truncated": (_write(_whole()[: len(_whole()) // 2]), "the protobuf is truncated or damaged"),
    "cut by a byte": (_write(_whole()[:-1]), "the protobuf is truncated or damaged"),
    "text": (_write(b"Hello, this is a readme\n"), "not a model of a known format"),
    "html": (_write(b"<!DOCTYPE html><html>"), "not a model of a known format"),
    "empty": (_write(b""), "the file is empty"),
    "folder": (_folder, "is a directory, not a model file"),
    "missing": (lambda folder: folder / "none.onnx", "No such file or directory"),
    "no graph": (_write(ModelProto(ir_version=8).SerializeToString()), "it has no graph"),
    "random": (_write(np.random.default_rng(7).bytes(4096)), "not a (model|readable)"),
}


@pytest.mark.parametrize(
    ("head", "what", "way_out"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer", "git lfs pull"),
        (b"\x1f\x8b\x08\x00", "compressed by gzip", "unpack it"),
        (b"GGUF\x03\0\0\0", "a GGUF file", "export the model"),
        (b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F32"}}', "a safetensors file", "export the model"),
        (b"<!DOCTYPE html><html>", "a web page", "did a download fail"),
    ],
)
def test_what_lies_in_a_models_place_is_told(tmp_path: Path, head: bytes, what: str, way_out: str) -> None:
    (tmp_path / "model.onnx").write_bytes(head)
    with pytest.raises(FrontendError, match=what) as caught:
        graphs.load(tmp_path / "model.onnx")
    assert way_out in str(caught.value.help)


@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_hold_no_model(case: str, tmp_path: Path) -> None:
    make, says = BAD_FILES[case]
    path = make(tmp_path)
    with pytest.raises(FrontendError, match=says) as caught:
        graphs.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_every_truncation_is_refused_or_read(step: int, tmp_path: Path) -> None:
    """Wherever a download stops, the outcome is a graph or one clear error, never another exception."""
    whole, path = _whole(), tmp_path / "cut.onnx"
    lengths = range(0, len(whole), step)
    refused = 0
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            graphs.load(path)
        except FrontendError:
            refused += 1
    assert refused > 0.95 * len(lengths)


@pytest.mark.parametrize("count", [80, pytest.param(400, marks=pytest.mark.slow)])
def test_damaged_bytes_never_raise_anything_else(count: int, tmp_path: Path) -> None:
    whole, path = bytearray(_whole()), tmp_path / "damaged.onnx"
    generator = np.random.default_rng(3)
    for _ in range(count):
        damaged = bytearray(whole)
        for position in generator.integers(0, len(whole), 3):
            damaged[position] = generator.integers(0, 256)
        path.write_bytes(damaged)
        try:
            graph = graphs.load(path)
        except graphs.GraphsError:
            continue
        assert graphs.parse(str(graph)) == graph


def _relu(source: str, result: str, name: str = "") -> NodeProto:
    return helper.make_node("Relu", [source], [result], name=name)


X = [value("x", [2])]
BROKEN_NAME = small_network(17).SerializeToString().replace(b"GlobalAveragePool", b"Global\xff\xfeeragePool")

BAD_MODELS: dict[str, tuple[ModelProto, str]] = {
    "name that is no text": (ModelProto.FromString(BROKEN_NAME), r"the name b'Global\\xff\\xfeeragePool' is no text"),
    "cycle": (model([_relu("b", "a", "one"), _relu("a", "b", "two")], X, ["b"]), "has a cycle through node 'one'"),
    "self-cycle": (model([_relu("a", "a", "one")], X, ["a"]), "has a cycle through node 'one'"),
    "dangling input": (model([_relu("ghost", "y", "one")], X, ["y"]), "node 'one' reads 'ghost', which nothing makes"),
    "dangling output": (model([_relu("x", "y")], X, ["z"]), "the graph's output reads 'z', which nothing makes"),
    "two nodes make it": (model([_relu("x", "y"), _relu("x", "y", "two")], X, ["y"]), "two nodes make 'y'.*'two'"),
    "a node makes an input": (model([_relu("x", "x", "one")], X, ["x"]), "two nodes make 'x'|has a cycle"),
    "two inputs of a name": (model([_relu("x", "y")], X * 2, ["y"]), "two inputs are called 'x'"),
    "negative weight": (
        model(
            [helper.make_node("Add", ["x", "w"], ["y"])],
            X,
            ["y"],
            [TensorProto(name="w", data_type=F32, dims=[-2])],
        ),
        r"weight 'w' has a negative dimension: \[-2\]",
    ),
    "weight too short": (
        model(
            [helper.make_node("Reshape", ["x", "s"], ["y"])],
            X,
            ["y"],
            [TensorProto(name="s", data_type=I64, dims=[4], raw_data=b"12345678")],
        ),
        "weight 's': its data do not fit its type and shape",
    ),
    "empty constant": (model([helper.make_node("Constant", [], ["y"])], [], ["y"]), "constant 'y' has no value"),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_models_that_cannot_be_run(case: str, tmp_path: Path) -> None:
    proto, says = BAD_MODELS[case]
    path = tmp_path / "bad.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(FrontendError, match=says) as caught:
        graphs.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_value_inside_a_body_is_named(tmp_path: Path) -> None:
    branches = {"then_branch": branch("Neg", ["ghost"], "t"), "else_branch": branch("Neg", ["x"], "e")}
    choose = helper.make_node("If", ["c"], ["y"], name="choose", **branches)
    path = tmp_path / "bad.onnx"
    path.write_bytes(model([choose], [value("c", [], BOOL), *X], ["y"]).SerializeToString())
    with pytest.raises(FrontendError, match="'ghost', which nothing makes"):
        graphs.load(path)
