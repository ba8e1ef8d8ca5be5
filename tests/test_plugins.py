"""Passes and operators from outside the package: files and entry points."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.ir import parse
from graphs.ir.errors import GraphsError
from graphs.passes import plugins
from graphs.passes.base import Context
from graphs.passes.manager import PassManager, parse_passes
from graphs.targets import load_target

TINY = """\
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8xf32> loc("x")
  %y = "onnx.Relu"(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32> loc("relu_1")
  "graphs.output"(%y) : (tensor<1x8xf32>) -> () loc("y")
}) {sym_name = "tiny"} : () -> ()
"""


PLUGIN = '''
from dataclasses import dataclass
from graphs import Graph, Kind, Pass, define
from graphs.passes.base import Context

@define("com.test_manager.{name}", kind=Kind.OPAQUE)
def unknown(op):
    """Does {name}."""
    return []

@dataclass(frozen=True)
class Greet(Pass):
    """Greet."""
    name = "{name}"
    whom: str = "world"

    def run(self, graph: Graph, context: Context) -> None:
        graph.attributes["greeted"] = self.whom
'''


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_REGISTERED", {})
    monkeypatch.setattr(plugins, "_LOADED", [])


@pytest.mark.usefixtures("no_plugins")
def test_a_plugin_file_brings_passes_and_operators(tmp_path: Path) -> None:
    from graphs.ir import definition

    path = tmp_path / "my_passes.py"
    path.write_text(PLUGIN.format(name="greet"))
    plugins.load_plugin(path)
    graph = parse(TINY)
    PassManager(parse_passes("greet{whom=you}")).run(graph, Context(load_target("jetson-orin-agx")))
    assert graph.attributes["greeted"] == "you"
    entry = definition("com.test_manager.greet")
    assert entry is not None and entry.doc == "Does greet."
    with pytest.raises(GraphsError, match="registered already"):
        plugins.load_plugin(path)


@pytest.mark.usefixtures("no_plugins")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 / 0\n", r"bad.py:1: ZeroDivisionError: division by zero"),
        ("x = 1\ndef f(:\n", r"bad.py:2: SyntaxError"),
        ("from graphs import Pass\nclass P(Pass):\n    name = 'fuse'\n", 'pass "fuse" is registered already'),
        ("from graphs import Pass\nclass P(Pass):\n    name = 'p'\n    size: int = 3\n", "is no dataclass"),
    ],
)
def test_a_broken_plugin_says_where(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(content)
    with pytest.raises(GraphsError, match=message):
        plugins.load_plugin(path)


def test_a_missing_plugin_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GraphsError, match="no such file"):
        plugins.load_plugin(tmp_path / "none.py")


@pytest.mark.usefixtures("no_plugins")
def test_entry_points_are_loaded_once_and_a_broken_one_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_graphs.py").write_text(PLUGIN.format(name="acme"))
    info = tmp_path / "acme_graphs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-graphs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[graphs.plugins]\naaa = no_such_module\nacme = acme_graphs\n")
    monkeypatch.syspath_prepend(tmp_path)
    (problem,) = plugins.load_entry_points()
    assert "aaa" in problem and "ModuleNotFoundError" in problem
    assert plugins.find_pass("acme").__module__ == "acme_graphs"
    assert plugins.load_entry_points() == []
