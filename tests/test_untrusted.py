"""What a file may make the tool read, how much of it, and what becomes of foreign code that a file kills."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from fuzz_documents import KINDS, broken_document, outcome
from onnx import TensorProto, helper

import graphs
from graphs.frontends import FrontendError
from graphs.frontends.isolation import isolated

TARGET = "intel-core-i7-12700k"

# -- external data ----------------------------------------------------------------------------------------------------

WATCHED = """
import json, os, sys
opened = []
def watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "subprocess.Popen", "os.system", "os.exec", "socket.connect"):
        opened.append(str(arguments[0]))
import graphs.tools.opt, graphs.frontends.onnx, onnx
sys.addaudithook(watch)
try:
    graphs.tools.opt.main(sys.argv[1:])
except SystemExit as done:
    code = done.code
written = [path for path in opened if path.startswith(os.environ["WATCHED"]) or path in ("/etc/passwd", "/dev/zero")]
print(json.dumps({"code": code, "opened": sorted(set(written))}))
"""


def watched(folder: Path, *arguments: str) -> dict[str, object]:
    """Run the tool and say which files of the folder, or dangerous ones, Python opened."""
    environment = {**os.environ, "WATCHED": str(folder.parent)}
    command = [sys.executable, "-c", WATCHED, f"--target={TARGET}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def with_external_data(path: Path, places: list[str]) -> None:
    """A model that reads one small integer weight from each place: its values would be used if they were there."""
    nodes, stored, x = [], [], "x"
    for number, place in enumerate(places):
        tensor = TensorProto(
            name=f"w{number}", data_type=TensorProto.INT64, dims=[2], data_location=TensorProto.EXTERNAL
        )
        for key, value in (("location", place), ("offset", "0"), ("length", "16")):
            tensor.external_data.add(key=key, value=value)
        stored.append(tensor)
        nodes.append(helper.make_node("Reshape", [x, tensor.name], [f"y{number}"]))
        x = f"y{number}"
    graph = helper.make_graph(
        nodes, "outside", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [onnx.ValueInfoProto(name=x)], stored,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())


def test_external_data_is_never_opened(tmp_path: Path) -> None:
    """Not what is outside the model's folder, nor what is inside: links, pipes that block, devices without end."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(16))
    (folder / "inside.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.bin")
    places = ["inside.bin", "../outside.bin", "link.bin", "pipe.bin", "/etc/passwd", "/dev/zero", "", "absent.bin"]
    path = folder / "model.onnx"
    with_external_data(path, places)
    written = folder / "annotated.onnx"
    found = watched(tmp_path, str(path), "-o", str(written))
    assert found["code"] == 0 and set(found["opened"]) <= {str(path), str(folder)} | _beside(written, found)


def _beside(written: Path, found: dict[str, object]) -> set[str]:
    """The temporary files that the output is written to first."""
    opened = found["opened"]
    assert isinstance(opened, list)
    return {path for path in opened if Path(path).name.startswith(f".{written.name}")}


@pytest.mark.parametrize("place", ["pipe", "device", "folder"])
def test_a_model_that_is_no_plain_file_is_refused(place: str, tmp_path: Path) -> None:
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/zero"), "folder": tmp_path}[place]
    if place == "pipe":
        os.mkfifo(path)
    with pytest.raises(FrontendError, match=r"is no plain file|is a directory"):
        graphs.load(path)


# -- size -------------------------------------------------------------------------------------------------------------


def test_weights_of_three_gigabytes_inside_the_file_are_not_read(tmp_path: Path) -> None:
    """The file is a hole but for its ends: reading it whole would take memory for all of it, and seconds."""
    size = 3 << 30
    head = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 15, size >> 17]).SerializeToString()
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    rest = onnx.GraphProto(name="large", node=[node], output=[onnx.ValueInfoProto(name="y")])
    rest.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1 << 15]))
    frame = onnx.ModelProto(ir_version=9, opset_import=[helper.make_opsetid("", 18)]).SerializeToString()
    weight = head + b"\x4a" + _varint(size)
    graph = b"\x2a" + _varint(len(weight) + size) + weight
    after = rest.SerializeToString()
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(frame + b"\x3a" + _varint(len(graph) + size + len(after)) + graph)
        file.seek(size, os.SEEK_CUR)
        file.write(after)
    program = (
        "import resource, sys, graphs; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30));"
        f"report = graphs.run('fuse,lower', graphs.load(sys.argv[1]), target='{TARGET}');"
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'));"
        "print(report.total.weight_bytes, peak)"
    )
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    weight_bytes, resident = map(int, done.stdout.split())
    assert weight_bytes == size and resident * 1024 < 500_000_000


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


# -- foreign code -----------------------------------------------------------------------------------------------------


def _endless() -> bytes:
    while True:
        pass


def _raises() -> bytes:
    raise ValueError


def test_what_is_isolated_may_do_anything(capfd: pytest.CaptureFixture[str]) -> None:
    assert isolated(lambda: b"x" * 1_000_000, 5, 1 << 28) == b"x" * 1_000_000
    assert isolated(_raises, 5, 1 << 28) is None
    assert isolated(lambda: os.abort(), 5, 1 << 28) is None
    assert isolated(lambda: ctypes.string_at(0), 5, 1 << 28) is None
    assert isolated(lambda: np.ones(1 << 30, np.uint8).tobytes(), 5, 1 << 26) is None
    started = time.monotonic()
    assert isolated(_endless, 1, 1 << 28) is None and time.monotonic() - started < 30
    assert capfd.readouterr() == ("", "")


# -- documents that are no models -------------------------------------------------------------------------------------


def test_broken_documents_are_refused_or_read(tmp_path: Path) -> None:
    """Targets, evidence, samples, pipelines and reproducers, each damaged in twenty ways."""
    for seed in range(20 * len(KINDS)):
        kind, text = broken_document(seed)
        assert outcome(kind, text, tmp_path) in ("fine", "refused"), (seed, kind)


@pytest.mark.slow
def test_more_broken_documents_are_refused_or_read(tmp_path: Path) -> None:
    for seed in range(10_000, 12_000):
        kind, text = broken_document(seed)
        assert outcome(kind, text, tmp_path) in ("fine", "refused"), (seed, kind)
