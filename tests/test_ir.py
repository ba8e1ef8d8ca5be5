"""The graph and what hangs on it: mutators, order, copies, equality, the verifier, facts, locations, types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import networks

from graphs.ir import (
    CONSTANT,
    INPUT,
    OUTPUT,
    CycleError,
    Dense,
    DType,
    Fact,
    Graph,
    Location,
    Op,
    OptionalType,
    Origin,
    SequenceType,
    Symbol,
    TensorType,
    UnknownType,
    VerificationError,
    verify,
)
from graphs.ir.facts import FactMap, fact_type, fact_types
from graphs.passes.lower import Work
from graphs.passes.memory import Buffers

F32 = TensorType(DType.F32, (2, 3))


def chain(*names: str) -> Graph:
    """``x`` through the operators named, to one output."""
    graph = Graph("chain")
    value = graph.add(INPUT, [], [("x", F32)]).result
    for name in names:
        value = graph.add(f"onnx.{name}", [value], [(name.lower(), F32)], loc=Location.of(f"node_{name}")).result
    graph.add(OUTPUT, [value])
    return graph


def edges(graph: Graph) -> set[tuple[str, str, int]]:
    return {(a.label, b.label, key) for a, b, key in graph.nx.edges(keys=True)}


# -- mutators ---------------------------------------------------------------------------------------------------------


def test_one_operand_used_twice_is_two_edges() -> None:
    graph = Graph()
    x = graph.add(INPUT, [], [("x", F32)]).result
    square = graph.add("onnx.Mul", [x, x], [("y", F32)])
    assert edges(graph) == {("x", "y", 0), ("x", "y", 1)}
    assert graph.uses(x) == [(square, 0), (square, 1)] and graph.users(x.op) == [square]
    graph.set_operand(square, 0, None)
    assert square.operands == (None, x) and edges(graph) == {("x", "y", 1)}
    assert list(square.inputs) == [x] and square.operand(0) is None and square.operand(7) is None
    verify(graph)


def test_replace_moves_every_reader_and_erases() -> None:
    graph = chain("Relu", "Sigmoid", "Tanh")
    x, sigmoid, tanh = graph.value("x"), graph.value("sigmoid").op, graph.value("tanh").op
    graph.replace(sigmoid, [graph.value("relu")])
    assert tanh.operands == (graph.value("relu"),) and sigmoid not in graph and sigmoid.operands == ()
    with pytest.raises(KeyError):
        graph.value("sigmoid")
    graph.replace(graph.value("relu").op, [x])
    assert edges(graph) == {("x", "node_Tanh", 0), ("node_Tanh", OUTPUT, 0)}
    verify(graph)


def test_replace_wants_a_value_for_each_result() -> None:
    graph = chain("Relu")
    with pytest.raises(ValueError, match="1 results cannot be replaced by 0 values"):
        graph.replace(graph.value("relu").op, [])


def test_what_is_read_cannot_be_erased() -> None:
    graph = chain("Relu", "Tanh")
    with pytest.raises(ValueError, match="node_Relu cannot be erased: node_Tanh reads it"):
        graph.erase(graph.value("relu").op)
    verify(graph)


def test_values_of_another_graph_are_refused_and_leave_no_trace() -> None:
    graph, other = chain("Relu"), chain("Tanh")
    foreign, before = other.value("tanh"), graph.clone()
    with pytest.raises(ValueError, match="'tanh' is no value of graph 'chain'"):
        graph.add("onnx.Relu", [foreign])
    with pytest.raises(ValueError, match="'tanh' is no value"):
        graph.set_operand(graph.value("relu").op, 0, foreign)
    assert graph == before


@pytest.mark.parametrize("index", [-1, 1])
def test_an_operand_that_is_not_there_cannot_be_set(index: int) -> None:
    graph = chain("Relu")
    with pytest.raises(IndexError, match="node_Relu has 1 operands"):
        graph.set_operand(graph.value("relu").op, index, None)


def test_names_that_are_taken_get_a_suffix() -> None:
    graph = Graph()
    names = [graph.add(CONSTANT, [], [("w", F32)]).result.name for _ in range(3)]
    assert names == ["w", "w_1", "w_2"]
    graph.rename(graph.value("w_2"), "w_1")
    assert graph.value("w_1_1").name == "w_1_1"
    graph.erase(graph.value("w").op)
    assert graph.add(CONSTANT, [], [("w", F32)]).result.name == "w"


@settings(deadline=None)
@given(networks(), st.data())
def test_any_sequence_of_mutations_keeps_uses_and_edges_in_agreement(graph: Graph, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 12))):
        if not graph.ops:
            break
        op = data.draw(st.sampled_from(graph.ops))
        match data.draw(st.sampled_from(["add", "set", "replace", "erase"])):
            case "add" if op.results:
                graph.add("onnx.Add", [op.results[0], None, op.results[0]], [("x", op.results[0].type)], before=op)
            case "set" if op.operands and op.name != OUTPUT:
                graph.set_operand(op, data.draw(st.integers(0, len(op.operands) - 1)), None)
            case "replace" if op.operands and op.operands[0] and len(op.results) == 1:
                graph.replace(op, [op.operands[0]])
            case "erase" if not graph.users(op):
                graph.erase(op)
        verify(graph)
        reads = sorted((v.op.order, op.order, i) for op in graph.ops for i, v in enumerate(op.operands) if v)
        assert reads == sorted((a.order, b.order, key) for a, b, key in graph.nx.edges(keys=True))


# -- the networkx view ------------------------------------------------------------------------------------------------


def test_the_view_is_live() -> None:
    graph = chain("Relu")
    view = graph.nx
    count = len(view)
    added = graph.add("onnx.Tanh", [graph.value("relu")], [("t", F32)])
    assert len(view) == count + 1 and view.has_edge(graph.value("relu").op, added)
    assert view.edges[graph.value("relu").op, added, 0]["value"] is graph.value("relu")
    graph.erase(added)
    assert len(view) == count


@pytest.mark.parametrize(
    "change",
    [
        lambda view, a, b: view.add_node(a),
        lambda view, a, b: view.add_edge(a, b),
        lambda view, a, b: view.remove_node(a),
        lambda view, a, b: view.remove_edge(a, b),
        lambda view, a, b: view.add_edges_from([(a, b)]),
        lambda view, a, b: view.remove_nodes_from([a]),
        lambda view, a, b: view.clear(),
        lambda view, a, b: nx.relabel_nodes(view, {a: b}, copy=False),
    ],
)
def test_the_view_is_read_only(change: Callable[[Any, Op, Op], object]) -> None:
    graph = chain("Relu")
    before = edges(graph)
    with pytest.raises(nx.NetworkXError):
        change(graph.nx, graph.ops[0], graph.ops[1])
    assert edges(graph) == before and len(graph) == 3


def test_networkx_algorithms_run_on_a_model() -> None:
    graph = chain("Relu", "Tanh")
    add = graph.add("onnx.Add", [graph.value("relu"), graph.value("tanh")], [("sum", F32)])
    x = graph.value("x").op
    assert nx.is_directed_acyclic_graph(graph.nx)
    assert nx.dag_longest_path_length(graph.nx) == 3
    assert nx.ancestors(graph.nx, add) == {x, graph.value("relu").op, graph.value("tanh").op}
    assert nx.immediate_dominators(graph.nx, x)[add] is graph.value("relu").op
    assert set(nx.topological_sort(graph.nx)) == set(graph.ops)
    assert nx.number_weakly_connected_components(graph.nx) == 1
    assert len(nx.transitive_closure(graph.nx)) == len(graph.nx.copy()) == len(graph)


# -- order and caches -------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(networks(), st.randoms())
def test_the_order_is_topological_and_does_not_depend_on_names(graph: Graph, chance: Any) -> None:
    order = graph.ops
    position = {op: index for index, op in enumerate(order)}
    assert all(position[value.op] < position[op] for op in order for value in op.inputs)
    for value in list(graph.values()):
        graph.rename(value, f"r{chance.random()}")
    graph.revision += 1
    assert graph.ops == order


def test_before_places_an_operation_where_the_data_flow_leaves_a_choice() -> None:
    graph = chain("Relu", "Tanh")
    relu, tanh = graph.value("relu").op, graph.value("tanh").op
    first = graph.add(CONSTANT, [], [("c1", F32)], before=tanh)
    second = graph.add(CONSTANT, [], [("c2", F32)], before=tanh)
    nested = graph.add(CONSTANT, [], [("c3", F32)], before=first)
    deeper = graph.add(CONSTANT, [], [("c4", F32)], before=nested)
    assert graph.ops[1:6] == (relu, deeper, nested, first, second) and graph.ops[6] is tanh
    late = graph.add("onnx.Neg", [tanh.result], [("n", F32)], before=relu)
    assert graph.ops.index(late) > graph.ops.index(tanh)


def test_revision_keys_what_is_cached() -> None:
    graph, calls = chain("Relu"), []

    def count(graph: Graph) -> int:
        calls.append(graph.revision)
        return len(graph)

    assert [graph.cached(count), graph.cached(count)] == [3, 3] and len(calls) == 1
    changes: list[Callable[[], object]] = [
        lambda: graph.add(CONSTANT, [], [("w", F32)]),
        lambda: graph.set_operand(graph.value("relu").op, 0, None),
        lambda: graph.retype(graph.value("w"), UnknownType()),
        lambda: graph.erase(graph.value("w").op),
    ]
    for change in changes:
        revision = graph.revision
        change()
        assert graph.revision > revision
        graph.cached(count)
        assert calls[-1] == graph.revision


def test_a_cycle_is_named() -> None:
    graph = chain("Relu", "Tanh")
    graph.set_operand(graph.value("relu").op, 0, graph.value("tanh"))
    with pytest.raises(CycleError, match=r"a cycle through node_(Relu|Tanh)") as caught:
        _ = graph.ops
    assert {op.label for op in caught.value.ops} == {"node_Relu", "node_Tanh"}
    with pytest.raises(VerificationError, match="a cycle through"):
        verify(graph)


def test_walk_goes_into_regions_outer_first() -> None:
    graph, inner, innermost = chain("Relu"), Graph("body"), Graph("leaf")
    innermost.add("x.Leaf", [], [("leaf", F32)])
    inner.add("x.Inner", [], [("inner", F32)], regions=[innermost, Graph("empty")])
    graph.add("x.Outer", [], [("outer", F32)], regions=[inner])
    graph.add("x.After", [], [("after", F32)])
    names = [op.label for op in graph.walk()]
    assert names == ["x", "node_Relu", OUTPUT, "outer", "inner", "leaf", "after"]


# -- copies and equality ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(networks())
def test_a_clone_is_equal_and_shares_nothing_mutable(graph: Graph) -> None:
    body = Graph("body")
    body.add("x.Inner", [], [("i", F32)])
    graph.add("x.Outer", [], [("o", F32)], {"captures": 0}, regions=[body]).facts.add(Buffers(1))
    copy, text = graph.clone(), str(graph)
    assert copy == graph and str(copy) == text
    assert not set(copy.ops) & set(graph.ops) and copy.value("o").op.regions[0] is not body
    copy.value("o").op.regions[0].add("x.More")
    copy.value("o").op.facts.add(Buffers(2))
    copy.attributes["changed"] = 1
    for op in reversed(copy.ops):
        copy.erase(op)
    assert str(graph) == text
    assert graph.clone("renamed").name == "renamed"


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: setattr(graph, "name", "other"),
        lambda graph: graph.attributes.update(a=1),
        lambda graph: graph.rename(graph.value("relu"), "other"),
        lambda graph: graph.retype(graph.value("relu"), UnknownType()),
        lambda graph: setattr(graph.value("relu").op, "loc", Location.of("elsewhere")),
        lambda graph: setattr(graph.value("relu").op, "attributes", {"a": 1}),
        lambda graph: graph.value("relu").op.facts.add(Buffers(1)),
        lambda graph: setattr(graph.value("relu").op, "name", "onnx.Elu"),
        lambda graph: graph.set_operand(graph.value("tanh").op, 0, graph.value("x")),
        lambda graph: graph.set_operand(graph.value("tanh").op, 0, None),
        lambda graph: setattr(graph.value("relu").op, "regions", (Graph(),)),
        lambda graph: graph.add(CONSTANT, [], [("w", F32)]),
    ],
)
def test_whatever_is_printed_counts_for_equality(change: Callable[[Graph], object]) -> None:
    graph = chain("Relu", "Tanh")
    other = graph.clone()
    change(other)
    assert other != graph


def test_equality_is_of_structure_only_between_graphs() -> None:
    assert chain("Relu") == chain("Relu") and chain("Relu") != "chain"
    with pytest.raises(TypeError, match="unhashable"):
        hash(chain("Relu"))


# -- the verifier -----------------------------------------------------------------------------------------------------


def _break_edge(graph: Graph) -> None:
    graph._nx.remove_edge(graph.value("x").op, graph.value("relu").op, key=0)


def _extra_edge(graph: Graph) -> None:
    graph._nx.add_edge(graph.value("x").op, graph.value("relu").op, key=1, value=graph.value("x"))


def _wrong_edge_value(graph: Graph) -> None:
    graph._nx.edges[graph.value("x").op, graph.value("relu").op, 0]["value"] = graph.value("tanh")


def _foreign_operand(graph: Graph) -> None:
    relu = graph.value("relu").op
    graph._nx.remove_edge(graph.value("x").op, relu, key=0)
    other = chain("Neg").value("neg")
    relu.operands = (other,)
    graph._nx.add_edge(other.op, relu, key=0, value=other)
    graph._nx.remove_node(other.op)


def _stale_result(graph: Graph) -> None:
    graph.value("x").op.results = (graph.value("tanh"),)


def _two_of_one_name(graph: Graph) -> None:
    graph.value("tanh").name = "relu"


def _lost_name(graph: Graph) -> None:
    graph._values["relu"] = graph.value("tanh")


def _input_with_operand(graph: Graph) -> None:
    graph.add(INPUT, [graph.value("relu")], [("bad", F32)])


def _constant_without_result(graph: Graph) -> None:
    graph.add(CONSTANT)


def _output_of_two(graph: Graph) -> None:
    graph.add(OUTPUT, [graph.value("x"), graph.value("relu")])


def _captures_no_number(graph: Graph) -> None:
    graph.add("onnx.If", [graph.value("x")], [], {"captures": "all"}, regions=[Graph("then")])


def _region_without_inputs(graph: Graph) -> None:
    graph.add("onnx.If", [graph.value("x")], [], {"captures": 1}, regions=[Graph("then")], loc=Location.of("if"))


def _inside_a_region(graph: Graph) -> None:
    body = Graph("body")
    body.add(OUTPUT, [], loc=Location.of("inner"))
    graph.add("onnx.If", [], [], regions=[body])


@pytest.mark.parametrize(
    ("fault", "message", "label"),
    [
        (_break_edge, r"operands \[0\] but edges \[\]", "node_Relu"),
        (_extra_edge, "operand 1 and its edge disagree", "node_Relu"),
        (_wrong_edge_value, "operand 0 and its edge disagree", "node_Relu"),
        (_foreign_operand, r"operands \[0\] but edges \[\]", "node_Relu"),
        (_stale_result, "the name|no result of the operation it names", None),
        (_two_of_one_name, "the name 'relu' leads to another value", "node_Tanh"),
        (_lost_name, "the name 'relu' leads to another value", "node_Relu"),
        (_input_with_operand, "must have one result and no operand", "bad"),
        (_constant_without_result, "must have one result and no operand", CONSTANT),
        (_output_of_two, "must have one operand and no result", OUTPUT),
        (_captures_no_number, "captures must be a number", "onnx.If"),
        (_region_without_inputs, "region 'then' has 0 inputs, fewer than the 1 captured", "if"),
        (_inside_a_region, "must have one operand and no result", "inner"),
    ],
)
def test_each_broken_rule_is_an_error_that_names_the_operation(
    fault: Callable[[Graph], None], message: str, label: str | None
) -> None:
    graph = chain("Relu", "Tanh")
    verify(graph)
    fault(graph)
    graph.revision += 1
    with pytest.raises(VerificationError, match=message) as caught:
        verify(graph)
    assert caught.value.op is not None
    if label:
        assert caught.value.op.label == label and repr(label) in str(caught.value)


# -- facts, locations, types ------------------------------------------------------------------------------------------


def test_facts_are_typed_and_one_of_each() -> None:
    facts = FactMap()
    facts.add(Buffers(1))
    facts.add(Buffers(2, (0,)))
    facts.add(Work((), (), ()))
    assert facts[Buffers].live_bytes == 2 and len(facts) == 2 and Work in facts
    assert [fact.key for fact in facts] == ["memory", "work"]
    with pytest.raises(FrozenInstanceError):
        facts[Buffers].live_bytes = 3  # type: ignore[misc]
    facts.discard(Buffers)
    facts.discard(Buffers)
    assert facts.get(Buffers) is None
    with pytest.raises(KeyError, match="memory"):
        _ = facts[Buffers]


def test_a_fact_s_key_is_its_own() -> None:
    assert fact_type("memory") is Buffers and fact_types()["work"] is Work
    with pytest.raises(ValueError, match="fact key 'memory' is taken by Buffers"):

        @dataclass(frozen=True)
        class Again(Fact, key="memory"):
            pass


def test_facts_with_nan_are_equal_to_themselves() -> None:
    @dataclass(frozen=True)
    class Reading(Fact, key="test-reading"):
        value: float

    mine, theirs = FactMap(), FactMap()
    mine.add(Reading(float("nan")))
    theirs.add(Reading(float("nan")))
    assert mine == theirs
    theirs.add(Reading(0.0))
    assert mine != theirs


def test_locations_are_united_without_doubles() -> None:
    a, b = Location.of("a", "m.0", 3), Location.of("b")
    both = Location.union([a, b, a])
    assert both.origins == (Origin("a", "m.0", 3), Origin("b")) and both.name == "a" and str(both) == "a, b"
    assert Location().name == "" and str(Location()) == ""


@pytest.mark.parametrize(
    ("modules", "shared"),
    [
        ([], ""),
        (["", ""], ""),
        (["layer1.0.conv1"], "layer1.0.conv1"),
        (["layer1.0.conv1", "", "layer1.0.bn1"], "layer1.0"),
        (["layer1.0", "layer1.0.relu"], "layer1.0"),
        (["layer1.0", "layer1.01"], "layer1"),
        (["layer1", "head"], ""),
    ],
)
def test_a_location_s_module_is_what_its_origins_share(modules: list[str], shared: str) -> None:
    assert Location(tuple(Origin(f"n{i}", module) for i, module in enumerate(modules))).module == shared


@pytest.mark.parametrize(
    ("type_", "text", "size"),
    [
        (TensorType(DType.F32, (2, 3)), "tensor<2x3xf32>", 24),
        (TensorType(DType.F16, ()), "tensor<f16>", 2),
        (TensorType(DType.I4, (3,)), "tensor<3xi4>", 2),
        (TensorType(DType.BOOL, (3,)), "tensor<3xi1>", 3),
        (TensorType(DType.F32, (0, 3)), "tensor<0x3xf32>", 0),
        (TensorType(DType.F32, (Symbol("n"), 3)), 'tensor<?x3xf32, ["n"]>', 12 * Symbol("n")),
        (TensorType(DType.F32, (Symbol("?"), 3)), 'tensor<?x3xf32, ["?"]>', None),
        (TensorType(DType.F32, (Symbol("n") + 1,)), 'tensor<?xf32, [#graphs.dim<"n + 1">]>', 4 * Symbol("n") + 4),
        (TensorType(DType.F32, None), "tensor<*xf32>", None),
        (TensorType(DType.STRING, (3,)), "tensor<3x!graphs.string>", None),
    ],
)
def test_tensor_types_know_their_size(type_: TensorType, text: str, size: int | None) -> None:
    assert str(type_) == text and type_.bytes == size


def test_open_shapes_are_counted_and_unknown_ones_not() -> None:
    open_ = TensorType(DType.F32, (Symbol("n"), 3))
    assert not open_.static and open_.known and open_.rank == 2 and open_.elements == 3 * Symbol("n")
    open_ = TensorType(DType.F32, (Symbol("?"), 3))
    assert not open_.static and not open_.known and open_.rank == 2 and open_.elements is None
    assert TensorType(DType.F32, None).rank is None
    with pytest.raises(ValueError, match="not fully known"):
        _ = open_.dims
    assert str(SequenceType(OptionalType(UnknownType()))) == "!graphs.seq<!graphs.opt<!graphs.any>>"


def test_names_and_labels() -> None:
    graph = Graph()
    op = graph.add("com.microsoft.FusedMatMul", [], [("y", F32), ("z", F32)])
    assert (op.dialect, op.base_name, op.label) == ("com.microsoft", "FusedMatMul", "y")
    with pytest.raises(ValueError):
        _ = op.result
    constant = graph.add(CONSTANT, [], [("c", F32)], {"value": Dense.of(DType.I64, (1,), [3])}).result
    assert constant.is_constant and constant.constant is not None and constant.constant.values == (3,)
    assert op.results[0].constant is None and constant.bytes == 24
