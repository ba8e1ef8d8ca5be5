"""Saved PyTorch programs are read without PyTorch; what is no such file is refused, and nothing in it ever runs."""

from __future__ import annotations

import io
import json
import pickle
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_pt2 import archive, convolutional, node, program, symbolic, tensor

import graphs
from graphs.frontends import FrontendError
from graphs.ir import Dense, DType, Symbol, TensorType

EAGER = "intel-core-i7-12700k:pytorch-eager"


def written(content: bytes, folder: Path) -> Path:
    path = folder / "net.pt2"
    path.write_bytes(content)
    return path


def loaded(content: bytes, folder: Path) -> graphs.Graph:
    graph = graphs.load(written(content, folder))
    assert graphs.parse(str(graph)) == graph
    return graph


def test_a_saved_program_is_read(tmp_path: Path) -> None:
    graph = loaded(archive(convolutional()), tmp_path)
    assert [op.name for op in graph.body] == ["aten.conv2d", "aten.relu", "aten.flatten", "aten.linear"]
    assert [op.loc.module for op in graph.body] == ["conv", "act", "", "fc"]
    assert graph.attributes["producer"] == "pytorch 2.13.0"
    assert graph.attributes["modules"] == {"act": "ModuleAct", "conv": "ModuleConv", "fc": "ModuleFc"}
    report = graphs.run("lower,memory,cost", graph, target=EAGER)
    assert report.total.macs == 8 * 64 * 27 + 5 * 512
    assert report.total.weight_bytes == (8 * 27 + 5 * 512) * 4


def test_no_torch_is_imported(tmp_path: Path, apart: Any) -> None:
    outcome = apart("--emit=json", f"--target={EAGER}", str(written(archive(convolutional()), tmp_path)))
    assert outcome.code == 0, outcome.err
    code = (
        "import sys, graphs; graphs.load(sys.argv[1]); assert not any(n.split('.')[0] == 'torch' for n in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "net.pt2")], check=True)


def test_open_dimensions_and_small_constants(tmp_path: Path) -> None:
    graph = loaded(symbolic(), tmp_path)
    assert graph.inputs[0].result.type == TensorType(DType.F32, (Symbol("s27"), 4))
    cat, add = graph.body
    assert cat.result.type == TensorType(DType.F32, (2 * Symbol("s27"), 4))
    table = add.operands[1]
    assert table is not None and table.constant == Dense.of(DType.I64, (4,), (1, 2, 3, 4))


def test_a_constant_without_bytes_is_a_type(tmp_path: Path) -> None:
    """As programs saved on the meta device have them."""
    values = {"c_table": tensor(4, dtype=5), "x": tensor(2, 4), "add": tensor(2, 4)}
    nodes = [node("aten.add.Tensor", "add", self="x", other="c_table")]
    document = program(values, nodes, ["add"], constants={"c_table": "table"})
    graph = loaded(archive(document, {"table": (tensor(4, dtype=5), b"")}), tmp_path)
    table = graph.body[0].operands[1]
    assert table is not None and table.is_constant and table.constant is None


# -- refusals ---------------------------------------------------------------------------------------------------------


class Bomb:
    """Says that it ran, if it is ever unpickled."""

    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('it ran')",))


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    document = convolutional()
    change(document["graph_module"])
    return archive(document)


def _negative(module: dict[str, Any]) -> None:
    module["graph"]["tensor_values"]["x"]["sizes"][0] = {"as_int": -4}


def _huge(module: dict[str, Any]) -> None:
    module["graph"]["tensor_values"]["x"]["sizes"][0] = {"as_int": 10**100}


def _dangling(module: dict[str, Any]) -> None:
    module["graph"]["nodes"][0]["inputs"][0]["arg"] = {"as_tensor": {"name": "ghost"}}


def _untyped(module: dict[str, Any]) -> None:
    del module["graph"]["tensor_values"]["conv2d"]


def _deep(levels: int) -> bytes:
    inner = json.dumps(convolutional()["graph_module"]["graph"])
    nest = '{"inputs":[],"outputs":[],"tensor_values":{},"nodes":[{"target":"torch.ops.higher_order.cond","outputs":[],'
    opened = nest + '"inputs":[{"name":"","arg":{"as_graph":{"name":"g","graph":'
    document = opened * levels + inner + "}}}]}]}" * levels
    return archive(f'{{"graph_module":{{"graph":{document},"signature":{{"input_specs":[],"output_specs":[]}}}}}}')


BAD: dict[str, tuple[bytes, str]] = {
    "pickle": (pickle.dumps(Bomb()), "a Python pickle, which runs code"),
    "pickled weights": (zipped(net__data_pkl=b"").replace(b"data_pkl", b"data.pkl"), "pickled weights or modules"),
    "other archive": (zipped(readme=b"hello"), "a zip archive without models/model.json"),
    "no JSON": (archive("{'graph_module'"), "is no JSON"),
    "JSON without end": (archive("[" * 100_000), "nested too deeply"),
    "a list": (archive("[1, 2]"), "is no object"),
    "empty": (archive("{}"), "graph_module is no object"),
    "negative extent": (changed(_negative), "'x' has a negative extent"),
    "huge extent": (changed(_huge), "'x' has an extent of more than"),
    "dangling": (changed(_dangling), "call 'conv2d' reads 'ghost', which nothing makes"),
    "untyped": (changed(_untyped), "no type is stated for 'conv2d'"),
    "nested": (_deep(60), "nested too deeply"),
    "bomb": (zipped(net__models__model_json=b" " * (1 << 28)).replace(b"model_json", b"model.json"), "larger than"),
    "cut": (archive(convolutional())[:-30], "not a readable archive"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_hold_no_program(case: str, tmp_path: Path) -> None:
    content, says = BAD[case]
    path = written(content, tmp_path)
    with pytest.raises(FrontendError, match=says) as caught:
        graphs.load(path)
    assert caught.value.help or str(path) in str(caught.value)


def test_a_constant_whose_path_leaves_the_archive_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 32)
    with zipfile.ZipFile(io.BytesIO(symbolic())) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    config = "net/data/constants/model_constants_config.json"
    entries[config] = entries[config].replace(b'"tensor_0"', b'"../../../../secret"')
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, held in entries.items():
            file.writestr(name, held)
    graph = loaded(buffer.getvalue(), tmp_path)
    table = graph.body[1].operands[1]
    assert table is not None and table.is_constant and table.constant is None


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Bytes, numbers or words of a program, or bytes of its archive, changed at random."""
    if generator.random() < 0.3:
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 4)):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        return bytes(damaged[: generator.choice([len(damaged), generator.randrange(len(damaged))])])
    document = json.loads(json.dumps(convolutional()))
    for _ in range(generator.randint(1, 3)):
        _mutate(document, generator)
    return archive(document)


def _mutate(value: Any, generator: random.Random) -> None:
    """Walk to a random place and put something else there."""
    other = [None, -1, 0, 1 << 70, 1e400, "", "x", "conv2d", [], {}, [[]], {"as_int": -1}, {"as_graph": {}}, True]
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = generator.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and generator.random() < 0.9:
            value = value[key]
            continue
        if generator.random() < 0.3:
            del value[key]
        else:
            value[key] = generator.choice(other)
        return


def fuzz(count: int, seed: int, folder: Path) -> int:
    """Load so many damaged files; returns how many were refused. Anything but a graph or a refusal is an error."""
    generator, refused = random.Random(seed), 0
    sources = [archive(convolutional()), symbolic()]
    for number in range(count):
        path = written(mutated(sources[number % 2], generator), folder)
        try:
            graph = graphs.load(path)
            assert graphs.parse(str(graph)) == graph
            if number % 20 == 0:
                graphs.run("lower,memory,cost", graph, target=EAGER)
        except graphs.GraphsError:
            refused += 1
    return refused


def test_damaged_programs_are_refused_or_read(tmp_path: Path) -> None:
    assert fuzz(200, 5, tmp_path) > 60


@pytest.mark.slow
def test_many_damaged_programs_are_refused_or_read(tmp_path: Path) -> None:
    assert fuzz(1_800, 6, tmp_path) > 540


def test_an_expression_that_is_none_is_an_open_dimension(tmp_path: Path) -> None:
    odd = {"as_expr": {"expr_str": "__import__('os').system('true')", "hint": None}}
    values = {"x": tensor(odd, 4), "relu": tensor(odd, 4)}
    graph = loaded(archive(program(values, [node("aten.relu.default", "relu", self="x")], ["relu"])), tmp_path)
    assert graph.inputs[0].result.type == TensorType(DType.F32, (Symbol("?"), 4))
