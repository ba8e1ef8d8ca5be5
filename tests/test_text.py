"""The text form: what is printed parses back equal, what is no IR is refused by line and column, and MLIR reads it."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_graphs import any_graphs, attributes

import graphs
from graphs.ir import Dense, DType, Graph, ParseError, Symbol, TensorType, parse, parse_all, print_graph
from graphs.passes.base import Context
from graphs.passes.manager import PassManager
from graphs.targets import load_target

MODELS = sorted((Path(__file__).parents[1] / "examples" / "models").glob("*.onnx"))
QUICK = ("lstm_lm", "mobilenet_v2", "squeezenet1_1", "t5_small_encoder")
EVERY_MODEL = [pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.slow) for path in MODELS]
"""All models, those that take seconds marked slow."""
TARGETS = ("intel-core-i7-12700k", "nvidia-h100-sxm:tensorrt")

TEXT = """\
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1x?x4xf32, ["n"]> loc("x")
  %w = "graphs.constant"() {value = dense<[[1, 2]]> : tensor<1x2xi64>} : () -> tensor<1x2xi64>
  %a, %b = "onnx.Odd"(%x, %w) ({
    %c = "graphs.input"() : () -> tensor<*xf32>
    "graphs.output"(%c) : (tensor<*xf32>) -> ()
  }) {captures = 1, f = -1.5e-07, h = 0x7FF0000000000000 : f64, n = [true, "a\\0Ab", {k = #graphs.bytes<"00ff">}], \
operandSegmentSizes = [1, 0, 1], graphs.regions = [{sym_name = "body"}], graphs.memory = {live_bytes = 5, offsets = \
[0, -1]}} : (tensor<1x?x4xf32, ["n"]>, tensor<1x2xi64>) -> (!graphs.seq<tensor<2xi1>>, !graphs.opt<!graphs.any>) \
loc(fused[fused<"layer.0">["node"("op":7:0)], "other"])
  "graphs.output"(%b) : (!graphs.opt<!graphs.any>) -> ()
}) {sym_name = "all", opset = {ai.onnx = 17}} : () -> ()
"""
CALM = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

# -- there and back ---------------------------------------------------------------------------------------------------


def test_every_construct_is_read_and_printed_as_it_stood() -> None:
    graph = parse(TEXT)
    assert print_graph(graph) == TEXT
    odd = graph.value("a").op
    assert odd.operands[1] is None and odd.operands[2] is graph.value("w")
    assert [(origin.name, origin.module, origin.index) for origin in odd.loc.origins] == [
        ("node", "layer.0", 7),
        ("other", "", None),
    ]
    assert odd.attributes["h"] == float("inf") and odd.attributes["n"][1] == "a\nb"
    assert graph.value("x").type == TensorType(DType.F32, (1, Symbol("n"), 4))


@CALM
@given(any_graphs())
def test_what_is_printed_parses_back_equal(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse(text)
    assert again == graph
    assert print_graph(again) == text


@CALM
@given(any_graphs())
def test_a_difference_is_told(graph: Graph) -> None:
    """The round trip above proves nothing if graphs that differ compare equal."""
    other = graph.clone()
    assert other == graph
    other.add("x.More", [], [], {"more": 1})
    assert other != graph
    third = other.clone()
    third.erase(third.ops[-1])
    third.add("x.More", [], [], {"more": 1.0})
    assert third != other


@CALM
@given(attributes(), attributes())
def test_attributes_that_differ_print_differently(mine: object, theirs: object) -> None:
    def holder(value: object) -> Graph:
        graph = Graph("g")
        graph.add("x.Hold", [], [], {"value": value})  # type: ignore[dict-item]
        return graph

    assert (holder(mine) == holder(theirs)) == (print_graph(holder(mine)) == print_graph(holder(theirs)))


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (1 << 63, "9223372036854775808 : i128"),
        (1 << 127, "170141183460469231731687303715884105728 : i192"),
        (-(1 << 63), "-9223372036854775808"),
        (1e-5, "1.0e-05"),
        (float("-inf"), "0xFFF0000000000000 : f64"),
        ('a"\\\n', '"a\\"\\\\\\0A"'),
        ({"a b": 1, "": 2}, '{"a b" = 1, "" = 2}'),
        (Dense.of(DType.F32, (2,), (1, float("inf"))), "dense<[1.0, 0x7F800000]> : tensor<2xf32>"),
        (Dense.of(DType.I64, (2,), (True, 0)), "dense<[1, 0]> : tensor<2xi64>"),
        (Dense.of(DType.BOOL, (2,), (1, 0)), "dense<[true, false]> : tensor<2xi1>"),
        (Dense.of(DType.I64, (0, 3), ()), "dense<> : tensor<0x3xi64>"),
        (TensorType(DType.F32, (Symbol('"'),)), 'tensor<?xf32, ["\\""]>'),
    ],
)
def test_literals_are_mlir_s(value: object, printed: str) -> None:
    from graphs.ir import print_attribute

    assert print_attribute(value) == printed  # type: ignore[arg-type]


def test_a_name_of_an_enclosing_region_is_not_defined_again_inside() -> None:
    outer, inner = Graph("g"), Graph("body")
    type_ = TensorType(DType.F32, (1,))
    x = outer.add("graphs.input", [], [("x", type_)]).result
    inner.add("graphs.output", [inner.add("graphs.input", [], [("x", type_)]).result])
    outer.add("a.B", [x], [("y", type_)], {"captures": 1}, regions=[inner])
    text = print_graph(outer)
    assert "%x$1 = " in text and "graphs.names" not in text
    assert parse(text) == outer and parse(text).ops[1].regions[0].value("x").name == "x"


@pytest.mark.parametrize("key", ["cost", "sym_name", "operandSegmentSizes", "graphs.names", "graphs.cost"])
def test_a_model_s_own_attribute_survives_a_name_that_the_text_uses(key: str) -> None:
    graph = Graph("g", {key: 1})
    graph.add("com.acme.Odd", [], [("y", TensorType(DType.F32, ()))], {key: (1, 2)})
    assert parse(print_graph(graph)) == graph
    assert parse(print_graph(graph)).ops[0].attributes == {key: (1, 2)}


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda path: path.stem)
def test_models_go_there_and_back_after_every_pass(model: Path) -> None:
    graph = graphs.load(model)
    context = Context(load_target(TARGETS[0]))
    assert parse(print_graph(graph)) == graph
    for step in PassManager.parse("default").passes:
        step.run(graph, context)
        assert parse(print_graph(graph)) == graph, step.name


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message", "where"),
    [
        ("%b)", "%q)", "%q is not defined before it is used", (8, 19)),
        ("%a, %b", "%a, %a", "%a is defined twice", None),
        ("%w = ", "%x = ", "%x is defined twice", None),
        ("operandSegmentSizes", 'graphs.names = ["x", "b"], operandSegmentSizes', "two values are called 'x'", None),
        ("(%x, %w) (", "(%x) (", "operand types written", None),
        ("-> (!graphs.seq<tensor<2xi1>>, !graphs.opt<!graphs.any>)", "-> !graphs.any", "2 results but 1", None),
        ("[1, 0, 1]", "[1, 0, 0]", "operandSegmentSizes does not fit", None),
        ("[[1, 2]]", "[[1, 2, 3]]", "as many elements as its type", None),
        ("xf32, [", "xf33, [", "unknown element type 'f33'", (2, 46)),
        ("1x?x4xf32", "1x?x?xf32", "as many symbols as open dimensions", None),
        ('"x")', '"x', "unexpected character", None),
        ('"00ff"', '"0g"', "hexadecimal digits", None),
        ("0x7FF0000000000000 : f64", "0x7FF0 : f64", "is no number of type f64", None),
        ("0x7FF0000000000000 : f64", "0x7FF0", "needs a floating-point type", None),
        ("live_bytes = 5", 'live_bytes = "5"', "graphs.memory: expected int", None),
        ("live_bytes = 5, ", "", "graphs.memory: Buffers", None),
        ("{live_bytes = 5, offsets = [0, -1]}", "5", "graphs.memory is no dictionary", None),
        ('[{sym_name = "body"}]', "[]", "graphs.regions does not fit", None),
        ('sym_name = "all"', "other = 1", "a graph needs a sym_name", None),
        ("a\\0Ab", "a\\FFb", "not UTF-8", None),
        ("a\\0Ab", "a\\qb", "unexpected character", None),
        ("*xf32", "*x3xf32", "expected dimensions", None),
        ('"op":7:0', '"op":1.5:0', "expected an index", None),
        ("}) {sym", "}) {sym_name", None, None),
    ],
)
def test_what_is_no_ir_is_refused(old: str, new: str, message: str | None, where: tuple[int, int] | None) -> None:
    assert old in TEXT
    with pytest.raises(ParseError) as caught:
        parse(TEXT.replace(old, new))
    assert message is None or message in str(caught.value)
    assert str(caught.value).startswith(f"{caught.value.line}:{caught.value.column}: ")
    if where:
        assert (caught.value.line, caught.value.column) == where


def test_none_or_several_graphs_are_refused_where_one_is_wanted() -> None:
    assert len(parse_all(TEXT + TEXT)) == 2 and parse_all("// nothing\n") == []
    for text in ("", TEXT + TEXT):
        with pytest.raises(ParseError, match="expected one graph"):
            parse(text)


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("[", "]"), ("{a = ", "}"), ("!graphs.seq<", "!graphs.any>")],
)
def test_deep_nesting_is_an_error_of_ours(opening: str, closing: str) -> None:
    text = '"graphs.graph"() ({{}}) {{sym_name = "g", a = {}{}}} : () -> ()'
    with pytest.raises(ParseError, match="nested more than 100 deep"):
        parse(text.format(opening * 5000, closing * 5000))


def test_deep_regions_and_locations_are_errors_of_ours() -> None:
    with pytest.raises(ParseError, match="nested more than"):
        parse('"graphs.graph"() ({' + '"a"() ({' * 5000)
    with pytest.raises(ParseError, match="nested more than"):
        parse('"graphs.graph"() ({"a"() : () -> () loc(' + "fused[" * 5000)


def test_long_numbers_are_errors_of_ours() -> None:
    for digits in ("9" * 5000, f"dense<{'9' * 5000}> : tensor<i64>", f"tensor<{'9' * 5000}xf32>"):
        with pytest.raises(ParseError):
            parse(f'"graphs.graph"() ({{}}) {{sym_name = "g", a = {digits}}} : () -> ()')


def _mutated(text: str, seed: int) -> str:
    """A few characters, tokens or lines deleted, doubled, swapped or replaced."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.choice([1, 1, 2, 5, 20]))
        other = chance.randrange(len(text))
        piece = text[other : other + chance.choice([1, 1, 3, 10])]
        noise = chance.choice('0x%"\\<>[]{}():,=-?*#!.eE9\n\udc80é')
        text = text[:start] + chance.choice(["", text[start:end] * 2, piece, noise]) + text[end:]
    return text


@pytest.mark.parametrize("start", range(0, 3000, 500))
def test_mutated_text_parses_or_is_a_parse_error(start: int) -> None:
    """Never another exception; what parses prints and parses again."""
    for seed in range(start, start + 500):
        text = _mutated(TEXT, seed)
        try:
            graph = parse(text)
        except ParseError as error:
            assert 1 <= error.line <= text.count("\n") + 1 and error.column >= 1
            continue
        assert parse(print_graph(graph)) == graph, seed


@CALM
@given(any_graphs(), st.integers(0, 1 << 32))
def test_mutated_random_graphs_parse_or_are_parse_errors(graph: Graph, seed: int) -> None:
    with contextlib.suppress(ParseError):
        parse(_mutated(print_graph(graph), seed))


# -- other compilers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda path: path.stem)
def test_xdsl_reads_models_before_and_after_the_passes(model: Path) -> None:
    """Without locations: xDSL has no ``fused<metadata>`` ones, which MLIR has."""
    for text in _texts(model, locations=False):
        _read_with_xdsl(text)


def test_xdsl_refuses_what_is_no_mlir() -> None:
    with pytest.raises(Exception, match=r"dense<<"):
        _read_with_xdsl(TEXT.replace("dense<", "dense<<"))


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_mlir_opt_reads_models_before_and_after_the_passes(model: Path, tmp_path: Path) -> None:
    for text in _texts(model, locations=True):
        assert _mlir_opt(text, tmp_path) == ""


@pytest.mark.slow
def test_mlir_opt_reads_every_construct_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    assert _mlir_opt(TEXT, tmp_path) == ""
    assert "use of undeclared SSA value" in _mlir_opt(TEXT.replace("%b)", "%q)"), tmp_path)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(any_graphs())
def test_mlir_opt_reads_random_graphs(tmp_path: Path, graph: Graph) -> None:
    text = print_graph(graph)
    # MLIR has no name that is empty, and no NUL in one; it takes a string constant alone for packed bytes
    assume('"" =' not in text and "\\00" not in text and 'dense<"' not in text)
    assert _mlir_opt(text, tmp_path) == ""


def _texts(model: Path, locations: bool) -> list[str]:
    texts = [print_graph(graphs.load(model), locations)]
    for target in TARGETS:
        graph = graphs.load(model)
        PassManager.parse("default").run(graph, Context(load_target(target)))
        texts.append(print_graph(graph, locations))
    return texts


def _read_with_xdsl(text: str) -> None:
    from xdsl.context import Context as Registry
    from xdsl.dialects.builtin import Builtin
    from xdsl.parser import Parser

    registry = Registry(allow_unregistered=True)
    registry.load_dialect(Builtin)
    Parser(registry, text).parse_module().verify()


def _mlir_opt(text: str, folder: Path) -> str:
    """What a build of LLVM's own parser says to the text; ``iree-opt`` (pip install iree-base-compiler) is one."""
    command = shutil.which("mlir-opt") or shutil.which("iree-opt")
    if command is None:
        pytest.skip("no mlir-opt or iree-opt on the path")
    path = folder / "graph.mlir"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    done = subprocess.run(
        [command, "--allow-unregistered-dialect", "--mlir-print-op-generic", str(path), "-o", "/dev/null"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr
