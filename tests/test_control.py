"""Control flow: what bodies cost, times their trips, against the same network written out and against a runtime."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Run
from onnx import ModelProto, NodeProto, helper
from tiny_models import BOOL, I64, body, floats, model, value, weight

import graphs
from graphs.frontends.onnx import load_onnx
from graphs.ir import Op, SequenceType, TensorType
from graphs.passes.bodies import Bodies, launches
from graphs.passes.calibrate import described, is_free
from graphs.passes.cost import Cost
from graphs.passes.coverage_reporting import coverage_report
from graphs.passes.lower import Work
from graphs.passes.memory import memory_plan
from graphs.passes.report import Report
from graphs.targets import load_target
from graphs.tools.emit import emit
from graphs.tools.emit.view import View

CPU = "intel-core-i7-12700k:onnxruntime-cpu"
ROWS, WIDTH = 8, 64
PRODUCT = ROWS * WIDTH * WIDTH
node = helper.make_node


def step(state: str, result: str, prefix: str = "") -> list[NodeProto]:
    """Two products with a Relu between them: what one trip does."""
    return [
        node("MatMul", [state, "W"], [f"{prefix}m"], name=f"{prefix}first"),
        node("Relu", [f"{prefix}m"], [f"{prefix}r"], name=f"{prefix}relu"),
        node("MatMul", [f"{prefix}r", "V"], [result], name=f"{prefix}second"),
    ]


def weights() -> list[onnx.TensorProto]:
    return [weight("W", floats(WIDTH, WIDTH)), weight("V", floats(WIDTH, WIDTH))]


def counted(trips: int | None = 10, nodes: Sequence[NodeProto] | None = None, again: str = "go") -> ModelProto:
    """A loop over ``step``; without ``trips`` their number is an input."""
    inputs = [value("i", [], I64), value("keep", [], BOOL), value("h", [ROWS, WIDTH])]
    steps = [*(nodes or step("h", "next")), node("Identity", ["keep"], ["go"])]
    inner = body("step", steps, inputs, again, "next")
    known = [weight("M", np.array(trips))] if trips is not None else []
    entries = [value("x", [ROWS, WIDTH])] + ([] if known else [value("M", [], I64)])
    return model([node("Loop", ["M", "", "x"], ["y"], name="loop", body=inner)], entries, ["y"], [*weights(), *known])


def written_out(trips: int) -> ModelProto:
    names = ["x", *(f"h{i}" for i in range(1, trips)), "y"]
    nodes = [one for i in range(trips) for one in step(names[i], names[i + 1], f"t{i}_")]
    return model(nodes, [value("x", [ROWS, WIDTH])], ["y"], weights())


def report(proto: ModelProto, target: str = CPU) -> Report:
    return graphs.run("fuse,lower,memory,cost,coverage", load_onnx(proto), target=target)


def control(found: Report) -> Op:
    (op,) = (op for op in found.graph.body if Bodies in op.facts)
    return op


# -- loops ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [CPU, "jetson-orin-agx", "nvidia-h100-sxm:pytorch-eager"])
def test_a_loop_costs_what_the_same_trips_written_out_cost(target: str) -> None:
    looped, flat = report(counted(7), target), report(written_out(7), target)
    loop = control(looped)
    work = loop.facts[Work]
    assert looped.total.macs == flat.total.macs == 7 * 2 * PRODUCT
    assert (work.flops, work.bytes) == (flat.total.flops, flat.total.bytes)
    assert looped.total.weight_bytes == flat.total.weight_bytes == 2 * WIDTH * WIDTH * 4
    cost = loop.facts[Cost]
    assert cost.beside is not None
    assert cost.seconds - cost.beside.seconds == pytest.approx(flat.total.seconds)
    assert cost.dispatch_seconds == pytest.approx((1 + 7 * _kernels(flat) // 7) * _dispatch(target))


def _kernels(found: Report) -> int:
    return len(found.kernels)


def _dispatch(target: str) -> float:
    return load_target(target).runtime.dispatch_seconds


def test_nested_loops_multiply() -> None:
    entries = [value("j", [], I64), value("k", [], BOOL), value("s", [ROWS, WIDTH])]
    again = [*step("s", "inner_next"), node("Identity", ["k"], ["inner_go"])]
    inner = body("inner", again, entries, "inner_go", "inner_next")
    nodes = [node("Loop", ["M", "", "h"], ["next"], name="inside", body=inner)]
    found = report(counted(5, nodes))
    assert found.total.macs == 25 * 2 * PRODUCT
    assert Counter(launch.times for launch in launches(found.graph)) == {1: 1, 5: 2, 25: 4}
    assert found.total.exact


def test_trips_that_nobody_knows_leave_the_total_a_lower_bound() -> None:
    found = report(counted(None))
    assert found.total.macs == 0 and not found.total.exact
    (unknown,) = found.total.unknown
    assert unknown.reason == "the number of trips of 'loop' is known only when it runs"


def test_a_loop_that_may_stop_early_is_counted_at_its_most() -> None:
    stops = [
        *step("h", "next"),
        node("ReduceMax", ["next"], ["top"], keepdims=0),
        node("Less", ["top", "W0"], ["done"]),
    ]
    proto = counted(6, stops, again="done")
    proto.graph.initializer.append(weight("W0", np.float32(3)))
    found = report(proto)
    assert found.total.macs == 6 * 2 * PRODUCT
    (runs,) = graphs.ir.runs_of(control(found))
    assert runs.at_most and runs.times == 6


@pytest.mark.parametrize(("trips", "start"), [(0, None), (-3, None), (9, False)])
def test_a_loop_that_never_starts_does_nothing(trips: int, start: bool | None) -> None:
    proto = counted(trips)
    if start is not None:
        proto.graph.node[0].input[1] = "start"
        proto.graph.initializer.append(weight("start", np.array(start)))
    found = report(proto)
    assert found.total.macs == 0 and found.total.exact


def test_exporters_endless_trip_count_is_no_trip_count() -> None:
    assert not report(counted(2**63 - 1)).total.exact


def test_what_trips_leave_behind_is_stacked_and_copied() -> None:
    nodes = [*step("h", "next"), node("ReduceSum", ["next"], ["sums"], keepdims=0)]
    proto = counted(9, nodes)
    loop = proto.graph.node[0]
    loop.output.append("all")
    loop.attribute[0].g.output.append(onnx.ValueInfoProto(name="sums"))
    proto.graph.output.append(onnx.ValueInfoProto(name="all"))
    op = control(report(proto))
    assert op.results[1].type == TensorType(graphs.ir.DType.F32, (9,))
    assert op.facts[Work].writes == (0, 9 * 4)


# -- branches ---------------------------------------------------------------------------------------------------------


def choice(condition: bool | None = None) -> ModelProto:
    """A branch of one product, or one of two with a weight of its own. The file has the other branch first."""
    one = body("one", [node("MatMul", ["x", "W"], ["a"], name="cheap")], [], "a")
    two = helper.make_graph(step("x", "b"), "two", [], [onnx.ValueInfoProto(name="b")], weights()[1:])
    known = [] if condition is None else [weight("c", np.array(condition))]
    entries = [value("x", [ROWS, WIDTH])] + ([] if known else [value("c", [], BOOL)])
    choose = node("If", ["c"], ["y"], name="choose", then_branch=one, else_branch=two)
    return model([choose], entries, ["y"], [*weights()[:1], *known])


def test_the_dearer_branch_is_taken_and_both_are_reported() -> None:
    found = report(choice())
    fact = control(found).facts[Bodies]
    assert fact.times == (0, 1)
    assert fact.macs == (PRODUCT, 2 * PRODUCT) and fact.seconds[0] < fact.seconds[1]
    assert found.total.macs == 2 * PRODUCT and found.total.exact
    assert found.total.weight_bytes == 2 * WIDTH * WIDTH * 4


@pytest.mark.parametrize(("condition", "products"), [(True, 1), (False, 2)])
def test_a_constant_condition_picks_its_branch(condition: bool, products: int) -> None:
    found = report(choice(condition))
    assert control(found).facts[Bodies].times == (int(condition), int(not condition))
    assert found.total.macs == products * PRODUCT


def test_which_branch_is_dearer_depends_on_the_target() -> None:
    """Much arithmetic in one kernel against little in many: launches decide where they are dear."""
    one = body("one", [node("MatMul", ["x", "W"], ["a"])], [], "a")
    names = ["x", *(f"t{i}" for i in range(20)), "b"]
    many = [node("Softmax", [names[i]], [names[i + 1]]) for i in range(21)]
    two = body("two", many, [], "b")
    choose = node("If", ["c"], ["y"], name="choose", then_branch=one, else_branch=two)
    entries = [value("x", [ROWS, 1024]), value("c", [], BOOL)]
    proto = model([choose], entries, ["y"], [weight("W", floats(1024, 1024))])
    graph = load_onnx(proto)
    lowered = graphs.run("lower", graph, target="jetson-orin-agx")
    costed = graphs.run("fuse,lower,cost", graph, target="jetson-orin-agx")
    assert control(lowered).facts[Bodies].times == (1, 0)
    assert control(costed).facts[Bodies].times == (0, 1)
    assert costed.total.macs == 0 and costed.total.flops == control(costed).facts[Work].flops > 0


def test_what_is_unknown_in_either_branch_stays_unknown() -> None:
    proto = choice()
    cheaper = next(item.g for item in proto.graph.node[0].attribute if item.name == "then_branch")
    cheaper.node[0].op_type, cheaper.node[0].domain = "Rotary", "com.example"
    assert [unknown.operator for unknown in report(proto).total.unknown] == ["com.example.Rotary"]


# -- scans, maps, sequences -------------------------------------------------------------------------------------------


def test_the_batched_scan_of_opset_8_runs_for_each_sequence_and_slice() -> None:
    steps = [
        node("MatMul", ["row", "W"], ["m"]),
        node("Add", ["m", "s"], ["next"]),
        node("Identity", ["next"], ["out"]),
    ]
    inner = body("step", steps, [value("s", [1, 16]), value("row", [1, 16])], "next", "out")
    scan = node("Scan", ["", "s0", "rows"], ["last", "all"], name="scan", body=inner, num_scan_inputs=1)
    entries = [value("s0", [3, 1, 16]), value("rows", [3, 7, 1, 16])]
    found = report(model([scan], entries, ["last", "all"], [weight("W", floats(16, 16))], opset=8))
    op = control(found)
    assert [value.type.dims for value in op.results if isinstance(value.type, TensorType)] == [
        (3, 1, 16),
        (3, 7, 1, 16),
    ]
    assert found.total.macs == 3 * 7 * 16 * 16 and found.total.exact


def test_a_map_runs_once_for_each_element() -> None:
    inner = body("each", [node("MatMul", ["e", "W"], ["p"])], [value("e", [ROWS, WIDTH])], "p")
    nodes = [
        node("SequenceConstruct", ["x", "x"], ["two"]),
        node("SequenceInsert", ["two", "x"], ["three"]),
        node("SequenceMap", ["three"], ["mapped"], name="map", body=inner),
    ]
    found = report(model(nodes, [value("x", [ROWS, WIDTH])], ["mapped"], weights()[:1]))
    assert found.total.macs == 3 * PRODUCT and found.total.exact
    assert control(found).results[0].type == SequenceType(TensorType(graphs.ir.DType.F32, (ROWS, WIDTH)))


def test_an_element_has_the_type_of_what_was_put_there() -> None:
    nodes = [
        node("SequenceEmpty", [], ["none"]),
        node("SequenceInsert", ["none", "x"], ["one"]),
        node("SequenceInsert", ["one", "z", "first"], ["two"]),
        node("SequenceAt", ["two", "first"], ["y"]),
        node("ConcatFromSequence", ["two"], ["all"], axis=0),
        node("SplitToSequence", ["all", "size"], ["parts"], axis=0),
        node("SequenceAt", ["parts", "last"], ["rest"]),
    ]
    known = [weight("first", np.array(0)), weight("last", np.array(-1)), weight("size", np.array(4))]
    entries = [value("x", [2, 5]), value("z", [7, 5])]
    graph = graphs.run("shape", load_onnx(model(nodes, entries, ["y", "all", "rest"], known))).graph
    dims = [output.operands[0].type.dims for output in graph.outputs]  # type: ignore[union-attr]  # tensors all
    assert dims == [(7, 5), (9, 5), (1, 5)]


# -- memory -----------------------------------------------------------------------------------------------------------


def test_a_body_has_activations_of_its_own() -> None:
    """While a loop runs there are its operand, its result, the state that the last trip left, and what a trip makes."""
    one = ROWS * WIDTH * 4
    graph = report(counted(7)).graph
    assert memory_plan(graph).peak_bytes == 4 * one
    single = report(counted(1)).graph
    assert memory_plan(single).peak_bytes == 2 * one + one


# -- what a runtime launches ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: counted(6), choice])
def test_launches_are_those_that_onnxruntime_counts(make: object, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    proto = make()  # type: ignore[operator]  # one of the two above
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = {"x": floats(ROWS, WIDTH), "c": np.array(False)}
    session.run(None, {entry.name: given[entry.name] for entry in session.get_inputs()})
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = Counter(event["args"]["op_name"] for event in events if event["name"].endswith("_kernel_time"))
    found = report(proto)
    target = load_target(CPU)
    counts: Counter[str] = Counter()
    for launch in launches(found.graph):
        if not is_free(launch.op, target):
            counts[launch.op.name.rpartition(".")[2]] += launch.times
    views = Counter({name: ran[name] for name in ("Identity", "Cast") if ran[name]})
    assert sum((ran - views).values()) == sum(counts.values())
    assert sum(one.kernel.launches for one in described(found.graph, target)) == sum(counts.values())


# -- reports ----------------------------------------------------------------------------------------------------------


def test_the_table_has_the_kernels_of_bodies_below_their_operation(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "loop.onnx"
    onnx.save(counted(6), path)
    done = run(f"--target={CPU}", path)
    assert done.code == 0
    rows = [line for line in done.out.splitlines() if "MatMul" in line or "Loop  " in line]
    assert [line.split()[:2] for line in rows[:2]] == [["loop", "Loop"], ["first", "MatMul"]]
    assert rows[1].startswith("    first") and " 6 " in rows[1]
    assert "loop: 6 × 65.5 kMAC, " in done.out and "the trip count is a constant" in done.out
    assert "393 kMAC" in done.out  # 6 trips, once


def test_both_branches_are_in_the_note_and_in_the_json() -> None:
    found = report(choice())
    (one, two) = json.loads(str(emit("json", [found], View())))["bodies"]
    assert (one["name"], one["counted"], two["name"], two["counted"]) == ("then_branch", False, "else_branch", True)
    assert (one["macs"], two["macs"]) == (PRODUCT, 2 * PRODUCT)
    assert [kernel["macs"] for kernel in two["kernels"]] == [PRODUCT, 0, PRODUCT]
    assert 0 < one["seconds"] < two["seconds"]
    table = str(emit("table", [found], View(width=150)))
    assert "choose: else_branch 65.5 kMAC" in table and "the dearer branch; then_branch 32.8 kMAC" in table


def test_figures_of_bodies_add_up_to_their_operation() -> None:
    entries = [value("j", [], I64), value("k", [], BOOL), value("s", [ROWS, WIDTH])]
    again = [*step("s", "inner_next"), node("Identity", ["k"], ["inner_go"])]
    inner = body("inner", again, entries, "inner_go", "inner_next")
    nodes = [node("Relu", ["h"], ["p"], name="before"), node("Loop", ["M", "", "p"], ["next"], name="in", body=inner)]
    found = report(counted(3, nodes))
    outer, deep = found.bodies
    assert (outer.of, outer.depth, deep.of, deep.depth) == (0, 1, outer.kernels[1].index, 2)
    assert [kernel.launches for kernel in deep.kernels] == [9, 9, 9]
    assert sum(kernel.macs for kernel in deep.kernels) == outer.kernels[1].macs == found.kernels[0].macs
    assert sum(kernel.bytes for kernel in outer.kernels) == found.kernels[0].bytes
    own = found.graph.body[0].facts[Cost].beside
    assert own is not None
    assert sum(kernel.seconds or 0.0 for kernel in outer.kernels) + own.seconds == pytest.approx(found.total.seconds)


def test_what_is_unknown_in_a_body_is_named() -> None:
    strange = [node("MatMul", ["h", "W"], ["m"]), node("Rotary", ["m"], ["next"], name="rot", domain="com.example")]
    proto = counted(4, strange)
    proto.graph.node[0].attribute[0].g.value_info.append(value("next", [ROWS, WIDTH]))
    (unknown,) = report(proto).total.unknown
    assert (unknown.name, unknown.operator) == ("rot", "com.example.Rotary")


def test_a_control_operation_and_the_kernels_in_it_are_explained(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "choice.onnx"
    onnx.save(choice(), path)
    both = run(f"--target={CPU}", "--explain=choose", path).out
    assert "then_branch not counted: 32,768 MAC, 20,480 B" in both
    assert "else_branch 1 × 65,536 MAC" in both and "the branch that takes longest" in both
    assert "in a body that is not counted" in run(f"--target={CPU}", "--explain=cheap", path).out
    onnx.save(counted(6), path)
    assert "6 in an inference" in run(f"--target={CPU}", "--explain=second", path).out


# -- trips that nobody knows ------------------------------------------------------------------------------------------

TRIPS = 'trips of "loop"'


def symbolic(proto: ModelProto, **dims: int) -> Report:
    return graphs.run("fuse,lower,memory", load_onnx(proto), target=CPU, dims=dims)


def test_unknown_trips_are_a_symbol_where_no_figure_must_be_a_number() -> None:
    found = symbolic(counted(None))
    assert found.total.exact
    assert str(found.total.macs) == f"{2 * PRODUCT}*'{TRIPS}'"
    assert found.total.macs.substitute({TRIPS: 7}) == symbolic(counted(7)).total.macs  # type: ignore[attr-defined]
    assert found.bodies[0].times == TRIPS


def test_bound_trips_are_trips(tmp_path: Path, run: Run) -> None:
    bound = graphs.run("fuse,lower,memory,cost", load_onnx(counted(None)), target=CPU, dims={TRIPS: 7})
    known = report(counted(7))
    assert bound.total.exact
    for name in ("macs", "flops", "bytes", "seconds", "weight_bytes"):
        assert getattr(bound.total, name) == getattr(known.total, name)
    path = tmp_path / "loop.onnx"
    onnx.save(counted(None), path)
    assert "459 kMAC" in run("-q", f"--target={CPU}", "--dim", f"{TRIPS}=7", path).out
    assert f"--dim '{TRIPS}=N'" in run(f"--target={CPU}", path).out
    wrong = run("-q", f"--target={CPU}", "--dim", "trips=7", path)
    assert wrong.code == 1 and TRIPS in wrong.err


def test_trips_may_be_an_open_dimension() -> None:
    steps = [node("MatMul", ["row", "W"], ["m"]), node("Add", ["m", "s"], ["next"])]
    inner = body("step", steps, [value("s", [1, 16]), value("row", [1, 16])], "next", "m")
    scan = node("Scan", ["s0", "rows"], ["last", "all"], name="scan", body=inner, num_scan_inputs=1)
    entries = [value("s0", [1, 16]), value("rows", ["seq", 1, 16])]
    proto = model([scan], entries, ["last", "all"], [weight("W", floats(16, 16))])
    opened = symbolic(proto)
    assert str(opened.total.macs) == "256*seq"
    assert symbolic(proto, seq=5).total.macs == 5 * 256
    assert "256·seq" in str(emit("table", [opened], View(width=150)))


def test_coverage_accounts_for_the_kernels_of_bodies() -> None:
    """As many FLOPs and seconds as the same trips written out, and what the loop itself does."""
    looped, flat = report(counted(7)), report(written_out(7))
    assert sum(row.flops for row in looped.coverage) == flat.total.flops
    assert sum(row.seconds for row in looped.coverage) == pytest.approx(looped.total.seconds)
    made, other = coverage_report(looped), coverage_report(flat)
    assert made.summary.flops == other.summary.flops == flat.total.flops
    assert made.summary.seconds == pytest.approx(looped.total.seconds)
    assert {kernel.name for kernel in made.kernels} == {"loop", "first", "relu", "second"}
