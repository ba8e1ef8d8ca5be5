"""Graphs inside graphs inside graphs: as deep as a file may go, through everything that walks them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from nested import nested_model
from onnx import numpy_helper

import graphs
from graphs.frontends import FrontendError
from graphs.ir import Graph, parse, print_graph
from graphs.ir.lexer import ParseError
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.passes.report import Report
from graphs.passes.reporting import build_report
from graphs.tools.emit import emit
from graphs.tools.emit.view import View
from graphs.tools.explanation import explanation

LEVELS = 135
DEPTH = 202
"""Graphs inside each other in a model of so many levels."""
TARGET = "intel-core-i7-12700k"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("nested") / "nested.onnx"
    made.write_bytes(nested_model(LEVELS))
    return made


@pytest.fixture(scope="module")
def report(path: Path) -> Report:
    graph, context = graphs.load(path), Context(graphs.load_target(TARGET))
    passes = parse_passes("bind,shape,fuse,lower,memory,calibrate,cost,coverage")
    PassManager(passes, original=lambda: graphs.load(path)).run(graph, context)
    return build_report(graph, context)


def _depth(graph: Graph) -> int:
    """Counted without recursion and without the graph's own figure."""
    level, depth = [graph], 0
    while level := [region for outer in level for op in outer.ops for region in op.regions]:
        depth += 1
    return depth


def test_a_file_nested_deeper_than_protobuf_reads(path: Path) -> None:
    graph = graphs.load(path)
    assert _depth(graph) == graph.nested == DEPTH
    assert sum(op.name == "onnx.MatMul" for op in graph.walk()) == 1 + sum(level % 4 < 2 for level in range(LEVELS))


def test_the_text_form_and_copies(path: Path) -> None:
    graph = graphs.load(path)
    assert parse(print_graph(graph)) == graph == graph.clone()


def test_every_pass(report: Report) -> None:
    """Each loop runs its body twice, each scan four times; the choice inside each multiplies or does nothing."""

    def macs() -> Iterator[int]:
        times = 1
        for level in range(LEVELS):
            kind = level % 4
            times *= {2: 2, 3: 4}.get(kind, 1)
            yield times * 4**3 if kind < 2 else 0
        yield times * 4**3

    assert report.total.exact and report.total.macs == sum(macs())


@pytest.mark.parametrize("form", ["table", "json", "csv", "text", "dot", "coverage", "coverage-json", "coverage-csv"])
def test_every_format(form: str, report: Report) -> None:
    assert emit(form, [report], View(coverage=True))


def test_explanations(report: Report) -> None:
    target = graphs.load_target(TARGET)
    assert "work" in explanation(report, report.kernels[0].name, target, View())


def test_the_command_line(path: Path) -> None:
    """In a process of its own, whose stack nobody has made room on before."""
    program = "import sys; from graphs.tools.opt import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, f"--target={TARGET}", "--explain=*", "--print-ir-after-all", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr[-2000:]


def test_a_large_file_nested_deep(tmp_path: Path) -> None:
    """Its weights are skipped while it is taken apart."""
    weights = onnx.GraphProto(initializer=[numpy_helper.from_array(np.zeros(1 << 20, np.float32), "w")])
    path = tmp_path / "large.onnx"
    path.write_bytes(nested_model(LEVELS) + onnx.ModelProto(graph=weights).SerializeToString())
    graph = graphs.load(path)
    assert graph.nested == DEPTH and path.stat().st_size > 1 << 22


def test_what_is_nested_deeper_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deeper.onnx"
    for levels in (180, 2000):
        path.write_bytes(nested_model(levels))
        with pytest.raises(FrontendError, match="nested more than 256 deep"):
            graphs.load(path)


def test_text_nested_deeper_is_refused() -> None:
    opening = '"onnx.If"() ({' * 300
    with pytest.raises(ParseError, match="nested more than 257 deep"):
        parse(f'"graphs.graph"() ({{ {opening}')
    with pytest.raises(ParseError, match="nested more than 100 deep"):
        parse('"graphs.graph"() ({ "a"() {x = ' + "[" * 5000)
