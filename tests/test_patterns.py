"""The language of fusion rules: what a pattern matches, what a condition says, and how wrong ones are refused."""

from __future__ import annotations

import re

import pytest

from graphs.ir import CONSTANT, INPUT, OUTPUT, Dense, DType, Graph, Op, TensorType, Value
from graphs.passes.base import Context, PassError
from graphs.passes.fuse import Fuse, _step
from graphs.passes.patterns import Bind, Const, Match, Node, PatternError, match_at, parse_pattern, root_names
from graphs.passes.predicates import Environment, parse_condition
from graphs.targets import RuleSource, list_runtimes, list_targets, load_target

F32 = TensorType(DType.F32, (1, 4, 8))


class Net:
    """A graph to match in: operators of the ``onnx`` dialect over values of one type."""

    def __init__(self) -> None:
        self.graph = Graph("net")

    def input(self, name: str = "x", type_: TensorType = F32) -> Value:
        return self.graph.add(INPUT, [], [(name, type_)]).result

    def constant(self, *values: float, shape: tuple[int, ...] = ()) -> Value:
        dense = Dense.of(DType.F32, shape, values)
        attributes = {"value": dense} if values else {}
        return self.graph.add(CONSTANT, [], [("c", dense.type)], attributes).result

    def op(self, name: str, *operands: Value | None, type_: TensorType = F32, **attributes: object) -> Value:
        full = name if "." in name else f"onnx.{name}"
        return self.graph.add(full, operands, [(name.lower(), type_)], attributes).result  # type: ignore[arg-type]

    def output(self, value: Value) -> Op:
        return self.graph.add(OUTPUT, [value])

    def matches(self, pattern: str, root: Value, taken: tuple[Op, ...] = ()) -> list[Match]:
        free = lambda op: op not in taken and op.name not in (INPUT, CONSTANT, OUTPUT)  # noqa: E731
        return list(match_at(self.graph, parse_pattern(pattern), root.op, free))


# -- reading ----------------------------------------------------------------------------------------------------------


def test_patterns_are_read() -> None:
    assert parse_pattern("Relu|Clip?(c=Conv(x, const, _), 0.5)") == Node(
        ("onnx.Relu", "onnx.Clip"),
        (Node(("onnx.Conv",), (Bind("x"), Const(), Bind("")), bind="c"), Const(0.5)),
        optional=True,
    )
    assert parse_pattern("com.acme.Rotary{a, -2e-3}") == Node(("com.acme.Rotary",), (Bind("a"), Const(-0.002)), False)
    assert parse_pattern("@elementwise") == Node(("@elementwise",))
    assert root_names(parse_pattern("Relu?(Add|Sum?{Conv, r})")) == {"onnx.Relu", "onnx.Add", "onnx.Sum", "onnx.Conv"}
    assert root_names(parse_pattern("Relu(Conv)")) == {"onnx.Relu"} and root_names(parse_pattern("x")) == frozenset()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an operator, a name or a number, found ''"),
        ("Relu(", "found ''"),
        ("Relu(x", "expected ',' before ''"),
        ("Relu(x}", "expected ',' before '}'"),
        ("Relu(x y)", "expected ',' before 'y'"),
        ("Relu(x))", "unexpected ')' after the end"),
        ("Relu Add", "unexpected 'Add' after the end"),
        ("Relu#", "unexpected '#'"),
        ("Relu?", "optional Relu needs an operand to stand for"),
        ("c=x", "c= must be followed by an operator"),
        ("c=", "found ''"),
        ("Relu|(x)", "expected an operator after '|', found '('"),
        ("Relu|", "expected an operator after '|', found ''"),
        ("@nothing", "no kind 'nothing'"),
    ],
)
def test_what_is_no_pattern_is_refused(text: str, message: str) -> None:
    with pytest.raises(PatternError, match=re.escape(message)) as caught:
        parse_pattern(text)
    assert repr(text) in str(caught.value)


# -- matching ---------------------------------------------------------------------------------------------------------


def test_operands_match_in_order_or_in_any() -> None:
    net = Net()
    x = net.input()
    left = net.op("Add", net.op("Relu", x), x)
    right = net.op("Add", x, net.op("Tanh", x))
    assert len(net.matches("Add(Relu, x)", left)) == 1 and net.matches("Add(x, Relu)", left) == []
    assert len(net.matches("Add{x, Relu}", left)) == 1 and net.matches("Add(Tanh, x)", right) == []
    assert [op.base_name for op in net.matches("Add{Tanh, x}", right)[0].ops] == ["Add", "Tanh"]


def test_a_name_written_twice_is_one_value() -> None:
    net = Net()
    x, y = net.input("x"), net.input("y")
    same, other = net.op("Mul", x, net.op("Sigmoid", x)), net.op("Mul", x, net.op("Sigmoid", y))
    assert net.matches("Mul{x, Sigmoid(x)}", same)[0].values == {"x": x}
    assert net.matches("Mul{x, Sigmoid(x)}", other) == []
    assert len(net.matches("Mul{x, Sigmoid(_)}", other)) == 1


def test_one_operation_read_twice_is_taken_once() -> None:
    net = Net()
    difference = net.op("Sub", net.input("x"), net.input("m"))
    root = net.op("Div", difference, net.op("Pow", difference, net.constant(2)))
    assert [op.base_name for op in net.matches("Div(d=Sub, Pow(d, 2))", root)[0].ops] == ["Div", "Sub", "Pow"]


def test_optional_operations_may_be_missing() -> None:
    net = Net()
    conv = net.op("Conv", net.input(), net.constant())
    relu = net.op("Relu", conv)
    pattern = "Relu?(Add?{k=Conv, a})"
    assert [op.base_name for op in net.matches(pattern, relu)[0].ops] == ["Relu", "Conv"]
    assert net.matches(pattern, conv) == [Match((conv.op,), {"k": conv})]


def test_what_is_read_from_outside_stays_out() -> None:
    net = Net()
    conv = net.op("Conv", net.input(), net.constant())
    relu = net.op("Relu", conv)
    assert len(net.matches("Relu(Conv)", relu)) == 1
    returned = net.output(conv)
    assert net.matches("Relu(Conv)", relu) == []
    net.graph.erase(returned)
    net.op("Tanh", conv)
    assert net.matches("Relu(Conv)", relu) == []


def test_what_another_kernel_has_is_not_free() -> None:
    net = Net()
    conv = net.op("Conv", net.input(), net.constant())
    relu = net.op("Relu", conv)
    assert net.matches("Relu(Conv)", relu, taken=(conv.op,)) == []


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [("0.5", 0.5, True), ("0.5", 0.503, True), ("0.5", 0.51, False), ("3", 3, True), ("-1", 1, False), ("0", 0, True)],
)
def test_numbers_are_constants_of_that_value(pattern: str, value: float, fits: bool) -> None:
    net = Net()
    root = net.op("Mul", net.input(), net.constant(value))
    assert bool(net.matches(f"Mul(x, {pattern})", root)) is fits
    assert net.matches("Mul(x, const)", root) and not net.matches(f"Mul({pattern}, _)", root)


def test_a_constant_whose_values_were_not_kept_has_no_number() -> None:
    net = Net()
    root = net.op("Mul", net.input(), net.constant())
    assert net.matches("Mul(x, const)", root) and not net.matches("Mul(x, 0.5)", root)


def test_kinds_match_any_operator_of_theirs() -> None:
    net = Net()
    root = net.op("Tanh", net.op("Conv", net.input(), net.constant()))
    assert len(net.matches("@elementwise(@contraction)", root)) == 1 and not net.matches("@view(@contraction)", root)


# -- conditions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a condition such as 'rank(x, 3)', got ''"),
        ("rank x", "got 'rank x'"),
        ("rnak(x, 3)", "no predicate 'rnak'"),
        ("rank(x, 3) or rank(x, 4)", "expected a condition"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, message: str) -> None:
    with pytest.raises(PatternError, match=re.escape(message)):
        parse_condition(text)


SHAPES = {
    "vector": (8,),
    "matrix": (4, 8),
    "cube": (1, 4, 8),
    "image": (1, 4, 5, 5),
    "gain": (4, 1, 1),
    "one": (1, 1, 1),
    "scalar": (),
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("rank(matrix, 2)", True),
        ("rank(matrix, 3, 4)", False),
        ("not rank(matrix, 3)", True),
        ("same_shape(cube, cube)", True),
        ("same_shape(cube, matrix)", False),
        ("scalar(one)", True),
        ("scalar(scalar)", True),
        ("scalar(vector)", False),
        ("bias_of(vector, cube)", True),
        ("bias_of(matrix, cube)", False),
        ("bias_of(vector, image)", False),
        ("per_channel(gain, image)", True),
        ("per_channel(scalar, image)", True),
        ("per_channel(vector, image)", False),
        ("constant(image)", False),
        ("constant(nobody)", True),
        ("not constant(nobody)", True),
        ("blocked(image)", True),
        ("blocked(cube)", False),
        ("shared(image)", True),
        ("shared(cube)", False),
    ],
)
def test_conditions_say_what_they_say(text: str, holds: bool) -> None:
    net = Net()
    values = {name: net.input(name, TensorType(DType.F32, shape)) for name, shape in SHAPES.items()}
    net.op("Relu", values["image"])
    net.op("Tanh", values["image"])
    net.op("Tanh", values["cube"])
    assert parse_condition(text).holds(Environment(net.graph, frozenset({values["image"]})), values) is holds


def test_transposes_are_told_apart() -> None:
    net = Net()
    for perm, gemm, last, first in [
        ((1, 0), True, False, False),
        ((0, 2, 3, 1), False, True, False),
        ((0, 3, 1, 2), False, False, True),
        ((0, 1, 3, 2), True, False, False),
        ((0, 2, 1), True, True, True),
    ]:
        values = {"t": net.op("Transpose", net.input(), perm=perm)}
        names = ("transposes_matrices", "moves_channels_last", "moves_channels_first")
        got = [parse_condition(f"{name}(t)").holds(Environment(net.graph), values) for name in names]
        assert got == [gemm, last, first], perm


# -- rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", [summary.name for summary in list_runtimes()])
def test_every_rule_that_ships_is_read(runtime: str) -> None:
    spec = next(f"{target.name}:{runtime}" for target in list_targets() if runtime in target.runtimes)
    rules = load_target(spec).runtime.rules
    assert rules
    for source in rules:
        _step(source)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"match": "Relu("}, "found ''"),
        ({"match": "Relu(Conv)", "where": "rnak(x, 3)"}, "no predicate 'rnak'"),
        ({"match": "Relu(Conv)", "kind": "conv"}, "no kind 'conv'"),
        ({"chain": {"producers": ["soup"], "consumers": ["elementwise"]}}, "no kind 'soup'"),
        ({"chain": {"producers": ["elementwise"]}}, "chain needs consumers"),
        ({"macth": "Relu(Conv)"}, "a rule has one step among match, chain"),
        ({"fold_constants": False}, "a rule has one step among"),
        ({"blocked_layout": {"size": 16}}, "blocked_layout needs block"),
        ({"blocked_layout": {"block": "wide"}}, "blocked_layout has whole numbers"),
        ({"blocked_layout": {"block": 16, "of_vectors": {"32": -8}}}, "blocked_layout has whole numbers"),
    ],
)
def test_a_rule_that_is_none_is_an_error_with_its_place(rule: dict[str, object], message: str) -> None:
    with pytest.raises(PassError, match=re.escape(message)) as caught:
        _step(RuleSource(rule, "mine.yaml:12"))
    assert str(caught.value).startswith("mine.yaml:12: fuse: ")


def test_rules_is_an_option_of_two_values() -> None:
    with pytest.raises(PassError, match="rules must be 'target' or 'none', not 'all'"):
        Fuse(rules="all").run(Graph(), Context(load_target("host")))
