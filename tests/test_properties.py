"""What holds for every network and target: fusion loses no work, passes settle, time falls as hardware gets better."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, find, given, settings
from hypothesis import strategies as st
from random_graphs import networks

import graphs
from graphs.ir import CONSTANT, OUTPUT, DType, Graph, Kind, Op, TensorType, kind_of, print_graph
from graphs.passes.base import Context
from graphs.passes.cost import Cost, critical_path
from graphs.passes.fuse import kernel_ops
from graphs.passes.lower import Work
from graphs.passes.manager import PassManager
from graphs.passes.memory import MemoryPlan, plan_memory
from graphs.targets import Target, load_target

TOY = Path(__file__).parent / "passes"
MODELS = sorted((Path(__file__).parents[1] / "examples" / "models").glob("*.onnx"))
TARGETS = (
    "intel-core-i7-12700k:onnxruntime-cpu",
    "intel-core-i7-12700k:pytorch-eager",
    "nvidia-h100-sxm:tensorrt",
    "nucleo-l4r5zi:tflite-micro",
)
FEW = ("lstm_lm", "mobilenet_v2", "resnet18_eager", "t5_small_encoder")
"""One model of each family; the rest take seconds, and are slow tests."""

EACH_MODEL = [pytest.param(p, id=p.stem, marks=[] if p.stem in FEW else [pytest.mark.slow]) for p in MODELS]
COMMON = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
targets = st.sampled_from(TARGETS).map(cache(load_target))


def after(pipeline: str, graph: Graph, target: Target, precision: DType | None = None) -> Graph:
    """A copy of ``graph`` on which the pipeline ran, verified after every pass."""
    copy = graph.clone()
    PassManager.parse(pipeline).run(copy, Context(target, precision))
    return copy


def total(graph: Graph, figure: str) -> int:
    return sum(getattr(op.facts[Work], figure) for op in graph.body)


def bytes_without_transposes(graph: Graph) -> int:
    return sum(op.facts[Work].bytes for op in graph.body if op.base_name != "Transpose")


def names_of_outputs(graph: Graph) -> list[tuple[str, str]]:
    return [(value.name, str(value.type)) for op in graph.outputs for value in op.inputs]


# -- fusion -----------------------------------------------------------------------------------------------------------


@COMMON
@given(networks(), targets)
def test_fusion_conserves_multiply_accumulates(graph: Graph, target: Target) -> None:
    assert total(after("fuse,lower", graph, target), "macs") == total(after("lower", graph, target), "macs")


@COMMON
@given(networks(), targets)
def test_fusion_conserves_work_and_never_raises_traffic(graph: Graph, target: Target) -> None:
    """Equal operations merge before kernels form, so their work may fall; kernels do all that is left.

    Transposes on their own are left out: runtimes count their dimensions when they move them, not their bytes.
    """
    fused, plain = after("fuse,lower", graph, target), after("lower", graph, target)
    assert total(fused, "flops") <= total(plain, "flops")
    assert bytes_without_transposes(fused) <= bytes_without_transposes(plain)
    for kernel in fused.body:
        inner = [op.facts[Work] for op in kernel_ops(kernel)]
        assert kernel.facts[Work].flops == sum(work.flops for work in inner)
        assert kernel.facts[Work].bytes <= sum(work.bytes for work in inner)


@COMMON
@given(networks(), targets)
def test_fusion_keeps_what_the_graph_takes_and_returns(graph: Graph, target: Target) -> None:
    fused = after("fuse", graph, target)
    assert [(op.result.name, op.result.type) for op in fused.inputs] == [
        (op.result.name, op.result.type) for op in graph.inputs
    ]
    before, now = names_of_outputs(graph), names_of_outputs(fused)
    assert [type_ for _, type_ in now] == [type_ for _, type_ in before]
    # a name may change only where the value itself went: an operation that was dropped, merged or cancelled
    made = {value.name for value in fused.values()}
    assert all(new == old or old not in made for (old, _), (new, _) in zip(before, now, strict=True))


@COMMON
@given(networks(), targets)
def test_every_operation_is_in_one_kernel_with_its_origin(graph: Graph, target: Target) -> None:
    fused = after("fuse{rules=target}", graph, target)
    inner = [op for kernel in fused.body for op in kernel_ops(kernel)]
    assert len(inner) == len({id(op) for op in inner})
    known = {origin.name for op in graph.body for origin in op.loc.origins}
    assert all(origin.name in known for op in fused.body for origin in op.loc.origins)
    heavy = [op for op in graph.body if kind_of(op) is Kind.CONTRACTION]
    assert sum(kind_of(op) is Kind.CONTRACTION for op in inner) == len(heavy)


@pytest.mark.parametrize("spec", TARGETS)
@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_fusion_of_models_conserves_work(model: Path, spec: str) -> None:
    graph, target = graphs.load(model), load_target(spec)
    fused, plain = after("fuse,lower", graph, target), after("lower", graph, target)
    assert total(fused, "macs") == total(plain, "macs")
    assert total(fused, "flops") <= total(plain, "flops") and total(fused, "bytes") <= total(plain, "bytes")


# -- passes -----------------------------------------------------------------------------------------------------------


@COMMON
@given(networks(), targets)
def test_a_pass_run_twice_changes_nothing_the_second_time(graph: Graph, target: Target) -> None:
    _settles(graph, target)


@pytest.mark.parametrize("spec", [TARGETS[0], TARGETS[2]])
@pytest.mark.parametrize("model", EACH_MODEL)
def test_a_pass_run_twice_on_a_model_changes_nothing_the_second_time(model: Path, spec: str) -> None:
    _settles(graphs.load(model), load_target(spec))


def _settles(graph: Graph, target: Target) -> None:
    graph, context = graph.clone(), Context(target, DType.F16 if "fp16" in target.runtime.precisions else None)
    for step in PassManager.parse("bind,shape,precision,fuse,lower,memory,cost,coverage").passes:
        step.run(graph, context)
        once = print_graph(graph)
        step.run(graph, context)
        assert print_graph(graph) == once, step.name


@COMMON
@given(networks())
def test_half_precision_halves_traffic(graph: Graph) -> None:
    target = load_target(TARGETS[2])
    full, half = after("lower", graph, target), after("lower", graph, target, DType.F16)
    assert total(half, "bytes") * 2 == total(full, "bytes")
    assert total(half, "macs") == total(full, "macs")
    peaks = [plan_memory(graph, True, True, 1).peak_bytes for graph in (full, half)]
    assert peaks[0] == 2 * peaks[1]


# -- time -------------------------------------------------------------------------------------------------------------


@cache
def toy(
    gigabytes: float = 100, gigahertz: float = 1, share: float = 0.5, micros: float = 1, launch: str = ""
) -> Target:
    """The target of ``tests/passes/toy.yaml`` with other numbers."""
    with tempfile.TemporaryDirectory() as folder:
        device, runtime = ((TOY / name).read_text() for name in ("toy.yaml", "toy-runtime.yaml"))
        device = device.replace("100 GB/s", f"{gigabytes} GB/s").replace("1.0 GHz", f"{gigahertz} GHz")
        shares = f"[{share / 2}, {share}, {share * 2}]"
        runtime = runtime.replace("[0.25, 0.5, 1.0]", shares)
        runtime = runtime.replace("{value: 1 us, source: here}", launch or f"{{value: {micros} us, source: here}}")
        (Path(folder) / "toy.yaml").write_text(device)
        (Path(folder) / "toy-runtime.yaml").write_text(runtime)
        return load_target(Path(folder) / "toy.yaml")


def seconds(graph: Graph, target: Target) -> list[float]:
    return [op.facts[Cost].seconds for op in after("fuse,lower,cost", graph, target).body]


def test_the_range_of_dispatch_is_in_the_interval() -> None:
    """A kernel of nothing but its launch has no interval but the launch's."""
    graph = graphs.parse(TINIEST)
    plain, ranging = toy(), toy(launch="{value: 1 us, range: [0.5 us, 3 us], source: here}")
    alone, varying = (after("fuse,lower,cost", graph, target).body[0].facts[Cost] for target in (plain, ranging))
    assert varying.seconds == alone.seconds
    assert varying.low == pytest.approx(alone.low - 0.5e-6) and varying.high == pytest.approx(alone.high + 2e-6)


TINIEST = """\
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1xf32>
  %y = "onnx.Relu"(%x) : (tensor<1xf32>) -> tensor<1xf32>
  "graphs.output"(%y) : (tensor<1xf32>) -> ()
}) {sym_name = "tiniest", opset = {ai.onnx = 17}} : () -> ()
"""


@COMMON
@given(
    networks(),
    st.sampled_from(
        [{"gigabytes": 50}, {"gigahertz": 0.25}, {"share": 0.125}, {"micros": 7}, {"gigabytes": 1, "gigahertz": 0.01}]
    ),
)
def test_time_does_not_rise_with_bandwidth_clock_or_efficiency(graph: Graph, worse: dict[str, float]) -> None:
    slow, fast = seconds(graph, toy(**worse)), seconds(graph, toy())
    assert all(a >= b for a, b in zip(slow, fast, strict=True))
    assert sum(slow) > sum(fast) or "micros" not in worse


@pytest.mark.parametrize(
    ("worse", "bound"),
    [({"gigabytes": 0.001}, "dram"), ({"gigahertz": 1e-6}, "compute"), ({"micros": 1e6}, "dispatch")],
)
def test_what_is_slowest_binds(worse: dict[str, float], bound: str) -> None:
    """The properties above would hold of a cost that looks at none of these numbers."""
    model = graphs.load(next(path for path in MODELS if path.stem == "squeezenet1_1"))
    fused = after("fuse,lower,cost", model, toy(**worse))
    convolutions = [op for op in fused.body if op.facts[Work].macs]
    assert {op.facts[Cost].bound for op in convolutions} == {bound}
    assert sum(seconds(model, toy(**worse))) > 10 * sum(seconds(model, toy()))


@COMMON
@given(networks(), targets)
def test_intervals_hold_their_point_and_the_path_is_no_longer_than_the_sum(graph: Graph, target: Target) -> None:
    report = graphs.run("fuse,lower,memory,cost", graph, target=target)
    assume(report.kernels)  # a network of no-ops has no time
    for kernel in report.kernels:
        assert kernel.seconds_low <= kernel.seconds <= kernel.seconds_high
    figures = report.total
    assert figures.seconds_low <= figures.seconds <= figures.seconds_high
    assert figures.critical_path_seconds <= figures.serial_seconds * (1 + 1e-9)
    assert critical_path(report.graph) >= max((k.seconds for k in report.kernels), default=0) * (1 - 1e-9)
    assert figures.arena_bytes >= figures.peak_activation_bytes


# -- memory -----------------------------------------------------------------------------------------------------------


def check_plan(graph: Graph, plan: MemoryPlan, alignment: int) -> None:
    """No two buffers in use at one step overlap, and the arena holds them all."""
    used = [storage for storage in plan.storages if storage.bytes]
    assert plan.arena_bytes is not None and plan.arena_bytes >= plan.peak_bytes
    for position, mine in enumerate(used):
        assert mine.offset % alignment == 0 and 0 <= mine.offset <= plan.arena_bytes - mine.bytes
        for other in used[position + 1 :]:
            apart = mine.last < other.first or other.last < mine.first
            assert apart or mine.offset + mine.bytes <= other.offset or other.offset + other.bytes <= mine.offset
    assert plan.peak_bytes == max(plan.live_bytes.values())
    assert sum(len(storage.values) for storage in plan.storages) == sum(len(op.results) for op in plan.live_bytes)


def check_reads(graph: Graph, plan: MemoryPlan) -> None:
    """Run the plan: whatever an operation or an output reads is what its maker wrote, not what came over it later."""
    storage_of = {value: id(storage) for storage in plan.storages for value in storage.values}
    holds: dict[int, object] = {}
    content = {value: value for value in graph.values()}
    for op in sorted(graph.ops, key=lambda op: op.name == OUTPUT):
        for value in op.inputs:
            kept = value.op.name == CONSTANT or not value.bytes or holds[storage_of[value]] is content[value]
            assert kept, f"{op.label} reads {value.name}, which has been written over"
        for value in op.results if op.name != CONSTANT else ():
            source = op.operand(0)
            if source is not None and _is_view(op) and storage_of.get(source) == storage_of[value]:
                content[value] = content[source]
            holds[storage_of[value]] = content[value]


def _is_view(op: Op) -> bool:
    return all(kind_of(inner) is Kind.VIEW for inner in kernel_ops(op))


@COMMON
@given(networks(), targets, st.booleans(), st.booleans(), st.sampled_from([1, 64]))
def test_buffers_in_use_do_not_overlap(
    graph: Graph, target: Target, views: bool, in_place: bool, alignment: int
) -> None:
    fused = after("fuse", graph, target)
    plan = plan_memory(fused, views, in_place, alignment)
    check_plan(fused, plan, alignment)
    check_reads(fused, plan)


def test_the_check_of_plans_notices_an_overlap() -> None:
    model = graphs.load(next(path for path in MODELS if path.stem == "squeezenet1_1"))
    plan = plan_memory(model, True, True, 64)
    check_plan(model, plan, 64)
    placed = [storage for storage in plan.storages if storage.bytes and storage.offset == 0]
    neighbour = next(
        s for s in plan.storages if s.offset > 0 and s.first <= placed[0].last and s.last >= placed[0].first
    )
    neighbour.offset = 0
    with pytest.raises(AssertionError):
        check_plan(model, plan, 64)
    with pytest.raises(AssertionError):
        check_plan(model, replace(plan, arena_bytes=plan.peak_bytes - 1), 64)


@pytest.mark.parametrize("spec", [TARGETS[0], TARGETS[2]])
@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_plans_of_models_hold(model: Path, spec: str) -> None:
    fused = after("fuse", graphs.load(model), load_target(spec))
    plan = plan_memory(fused, True, True, 64)
    check_plan(fused, plan, 64)
    check_reads(fused, plan)


def test_networks_are_what_rules_are_written_for() -> None:
    """Random networks on which nothing fuses would prove nothing."""
    quick = settings(max_examples=500, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
    for spec in (TARGETS[0], TARGETS[2], TARGETS[3]):
        fuses = partial(_fuses, load_target(spec))
        assert all(isinstance(value.type, TensorType) for value in find(networks(), fuses, settings=quick).values())


def _fuses(target: Target, graph: Graph) -> bool:
    return any(op.regions for op in after("fuse", graph, target).body)
