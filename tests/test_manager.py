"""Prerequisites, instrumentation, failures and their reproducers, and files written whole or not at all."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from graphs.ir import Graph, parse, print_graph
from graphs.ir.errors import GraphsError
from graphs.ir.files import write_atomically
from graphs.passes import plugins
from graphs.passes.base import Context, Pass, PassError
from graphs.passes.index import BUILTIN_PASSES, NAMED_PIPELINES
from graphs.passes.instrumentation import Instrumentation, Printing, Selection, Statistics, Timing, Verification
from graphs.passes.manager import PassManager, parse_passes, resolve
from graphs.passes.options import instantiate
from graphs.passes.pipeline import PassCall, PipelineError
from graphs.passes.reproducer import read_reproducer
from graphs.targets import load_target

TINY = """\
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x8xf32> loc("x")
  %y = "onnx.Relu"(%x) : (tensor<1x8xf32>) -> tensor<1x8xf32> loc("relu_1")
  "graphs.output"(%y) : (tensor<1x8xf32>) -> () loc("y")
}) {sym_name = "tiny"} : () -> ()
"""


def state_pass(
    title: str, requires: tuple[str, ...] = (), provides: tuple[str, ...] = (), invalidates: tuple[str, ...] = ()
) -> type[Pass]:
    """A pass that leaves its name in the graph's attributes, in the order run."""

    @dataclass(frozen=True)
    class Stateful(Pass):
        """Leave a trace."""

        name: ClassVar[str] = title

        def run(self, graph: Graph, context: Context) -> None:
            trace = graph.attributes.get("trace", "")
            graph.attributes["trace"] = f"{trace} {title}".strip()
            context.count(f"{title}: runs")

    Stateful.requires, Stateful.provides, Stateful.invalidates = requires, provides, invalidates
    return Stateful


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, type[Pass]]:
    """A small world of passes in place of the registered ones: a <- b <- c, and d, which takes b's state away."""
    world = {
        "a": state_pass("a", provides=("A",)),
        "b": state_pass("b", requires=("A",), provides=("B",)),
        "c": state_pass("c", requires=("B",), provides=("C",)),
        "d": state_pass("d", requires=("A",), provides=("D",), invalidates=("B", "C")),
    }
    monkeypatch.setattr(plugins, "_REGISTERED", world)
    return world


@pytest.fixture(scope="module")
def context() -> Context:
    return Context(load_target("jetson-orin-agx"))


# -- which passes there are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILTIN_PASSES)
def test_every_built_in_pass_is_where_the_index_says(name: str) -> None:
    cls = plugins.find_pass(name)
    assert issubclass(cls, Pass) and cls.name == name
    assert cls.__doc__ and cls.provides
    assert instantiate(cls, PassCall(name)) == cls()


@pytest.mark.parametrize("name", NAMED_PIPELINES)
def test_every_named_pipeline_resolves(name: str) -> None:
    assert resolve(parse_passes(name))


def test_an_unknown_pass_suggests_a_near_one() -> None:
    with pytest.raises(PipelineError) as caught:
        parse_passes("fues")
    assert str(caught.value) == 'no pass "fues"; did you mean "fuse"? (graphs-opt --list-passes)'


def test_a_named_pipeline_takes_no_options() -> None:
    with pytest.raises(PipelineError, match="takes no options"):
        parse_passes("default{x=1}")


# -- prerequisites -----------------------------------------------------------------------------------------------------


def order(text: str, states: tuple[str, ...] = ()) -> list[str]:
    return [step.name for step in resolve(parse_passes(text), states)]


@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize(
    ("asked", "run"),
    [("a", "a"), ("c", "a b c"), ("b,a", "a b a"), ("c,d", "a b c d"), ("d,c", "a d b c"), ("c,d,c", "a b c d b c"),
     ("a,b,c", "a b c"), ("c,c", "a b c c")],
)  # fmt: skip
def test_missing_prerequisites_come_before_the_pass_that_needs_them(asked: str, run: str) -> None:
    assert order(asked) == run.split()


@pytest.mark.usefixtures("passes")
def test_states_that_are_there_already_are_not_made_again() -> None:
    assert order("c", states=("B",)) == ["c"]


def test_passes_that_require_each_other_are_refused(passes: dict[str, type[Pass]]) -> None:
    passes["e"] = state_pass("e", requires=("F",), provides=("E",))
    passes["f"] = state_pass("f", requires=("E",), provides=("F",))
    with pytest.raises(PipelineError, match="e → f → e go in a circle"):
        order("e")


def test_prerequisites_that_undo_each_other_are_refused(passes: dict[str, type[Pass]]) -> None:
    passes["e"] = state_pass("e", provides=("E",), invalidates=("F",))
    passes["f"] = state_pass("f", provides=("F",), invalidates=("E",))
    passes["g"] = state_pass("g", requires=("E", "F"))
    with pytest.raises(PipelineError, match="circle"):
        order("g")


def test_a_state_that_nothing_provides_is_refused(passes: dict[str, type[Pass]]) -> None:
    passes["e"] = state_pass("e", requires=("gold",))
    with pytest.raises(PipelineError, match='pass "e" requires "gold", which no pass provides'):
        order("e")


# -- running -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("passes")
def test_passes_run_in_order_under_all_instrumentations(context: Context) -> None:
    written: list[str] = []
    timing, statistics = Timing(), Statistics()
    printing = Printing(written.append, Selection(frozenset({"a"})), Selection(every=True))
    manager = PassManager(parse_passes("c"), [printing, Verification(), statistics, timing])
    graph = parse(TINY)
    manager.run(graph, context)
    assert graph.attributes["trace"] == "a b c"
    assert [name for name, _ in timing.seconds] == ["a", "b", "c"]
    assert [step.counted for step in statistics.passes] == [{"a: runs": 1}, {"b: runs": 1}, {"c: runs": 1}]
    titles = [text.splitlines()[0].strip("/- ") for text in written]
    assert titles == ["IR before a", "IR after a", "IR after b", "IR after c"]
    assert parse(written[-1]) == graph


class Recorder(Instrumentation):
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def before_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        self.log.append(f"{self.name}+")

    def after_pass(self, step: Pass, graph: Graph, context: Context) -> None:
        self.log.append(f"{self.name}-")


@pytest.mark.usefixtures("passes")
def test_instrumentations_nest(context: Context) -> None:
    log: list[str] = []
    PassManager(parse_passes("a"), [Recorder("outer", log), Recorder("inner", log)]).run(parse(TINY), context)
    assert log == ["outer+", "inner+", "inner-", "outer-"]


# -- failing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crash(Pass):
    """Rename the graph, then fail in a way nobody foresaw."""

    name = "crash"
    requires = ("A",)
    depth: int = 1

    def run(self, graph: Graph, context: Context) -> None:
        graph.name = "changed"
        raise ZeroDivisionError("nobody foresaw this")


@dataclass(frozen=True)
class Refuse(Pass):
    """Refuse the input."""

    name = "refuse"

    def run(self, graph: Graph, context: Context) -> None:
        raise PassError("not this model", graph.body[0], help="take another")


@dataclass(frozen=True)
class Corrupt(Pass):
    """Leave an operand that no edge knows of."""

    name = "corrupt"

    def run(self, graph: Graph, context: Context) -> None:
        graph.body[0].operands = ()


def test_a_pass_that_fails_leaves_a_reproducer_that_fails_again(
    passes: dict[str, type[Pass]], context: Context, tmp_path: Path
) -> None:
    passes["crash"] = Crash
    manager = PassManager(parse_passes("crash{depth=2},a"), reproducers=tmp_path)
    with pytest.raises(GraphsError, match=r'pass "crash": ZeroDivisionError: nobody .*test_manager.py:\d+') as caught:
        manager.run(parse(TINY), context)
    (path,) = tmp_path.iterdir()
    assert f"--run-reproducer {path}" in caught.value.help
    reproducer, graph = read_reproducer(path)
    assert reproducer.pipeline == "crash{depth=2},a"
    assert reproducer.states == ("A",)
    assert reproducer.target == context.target.spec
    assert (graph.name, graph.attributes["trace"]) == ("tiny", "a")
    again = PassManager(parse_passes(reproducer.pipeline), states=reproducer.states, reproducers=tmp_path)
    assert [step.name for step in again.passes] == ["crash", "a"]
    with pytest.raises(GraphsError, match="nobody foresaw this"):
        again.run(graph, reproducer.context())


def test_a_pass_that_refuses_its_input_leaves_none(
    passes: dict[str, type[Pass]], context: Context, tmp_path: Path
) -> None:
    passes["refuse"] = Refuse
    with pytest.raises(PassError, match=r"not this model \(node 'relu_1'\)") as caught:
        PassManager(parse_passes("refuse"), reproducers=tmp_path).run(parse(TINY), context)
    assert caught.value.help == "take another"
    assert not list(tmp_path.iterdir())


def test_a_pass_that_corrupts_the_graph_is_caught_unless_not_verified(
    passes: dict[str, type[Pass]], context: Context, tmp_path: Path
) -> None:
    passes["corrupt"] = Corrupt
    with pytest.raises(GraphsError, match='pass "corrupt": left an invalid graph') as caught:
        PassManager(parse_passes("corrupt"), reproducers=tmp_path).run(parse(TINY), context)
    assert str(tmp_path) in caught.value.help
    PassManager(parse_passes("corrupt"), []).run(parse(TINY), context)


def test_the_reproducer_is_read_back_only_from_a_reproducer(tmp_path: Path) -> None:
    path = tmp_path / "not.mlir"
    for content, message in [
        (TINY, "no line starts with"),
        (f"// graphs-reproducer: []\n{TINY}", "expected a JSON object"),
        (f"// graphs-reproducer: {{\n{TINY}", "not a reproducer"),
        (f'// graphs-reproducer: {{"colour": 1}}\n{TINY}', 'unknown key "colour"'),
        ('// graphs-reproducer: {"pipeline": "a", "target": "host"}\n"graphs.graph', "2:1"),
    ]:
        path.write_text(content)
        with pytest.raises(GraphsError, match=message):
            read_reproducer(path)
    with pytest.raises(GraphsError, match="No such file"):
        read_reproducer(tmp_path / "none.mlir")


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o640)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, json.dumps({"µ": 1}))
    assert path.stat().st_mode & 0o777 == 0o640
    link = tmp_path / "link"
    link.symlink_to(path)
    write_atomically(link, b"through the link")
    assert link.is_symlink() and path.read_bytes() == b"through the link"
    write_atomically(Path("/dev/null"), "nowhere")


def test_the_tiny_graph_prints_as_written() -> None:
    assert print_graph(parse(TINY)) == TINY
