"""Real networks: what is claimed of every model, shown on the bundled ones and on those inside the onnx package.

``benchmarks/correctness.py`` shows the same of any folder of models.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from claims import roundtrip, unknown
from claims.arena import CLAIM as ARENA
from claims.arena import explained
from claims.claim import Claim, Row
from claims.kernels import CLAIM as KERNELS
from claims.kernels import agreement
from claims.macs import CLAIM as MACS
from claims.macs import counted_macs, independent_macs
from claims.memory import CLAIM as MEMORY
from claims.memory import brute_force_peak, in_order, planned_peak
from claims.models import BUNDLED, LIGHT, label, model_files
from claims.shapes import inferred_types, type_faults
from execution import Executed, executed_shapes
from liveness import ArenaUsage, order_of_steps

import graphs

MODELS = model_files([BUNDLED, LIGHT])
FEW = ("mobilenet_v2", "lstm_lm", "gpt2", "resnet18_eager", "light_squeezenet")
"""One of each family; the rest are slow tests."""

WEIGHTY = {"gpt2"}
"""Of those, what takes seconds to run with made-up weights, or to print and to parse after every pass."""


def each(light_work: frozenset[str] | None = None) -> pytest.MarkDecorator:
    """Parametrise over the models; those that are not light work are slow tests."""
    slow = [light_work is not None and path.stem not in light_work for path in MODELS]
    marked = [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] * s) for p, s in zip(MODELS, slow, strict=True)]
    return pytest.mark.parametrize("path", marked)


INEXACT = {
    "swin_t",
    "light_inception_v1",
    "light_inception_v2",
}
"""Networks in which some kernels are predicted wrongly; in all others, every one is right."""

RUNS_FAST = frozenset((*FEW, "squeezenet1_1", "shufflenet_v2_x1_0", "efficientnet_b0", "light_shufflenet")) - WEIGHTY


def holds(claim: Claim, path: Path) -> Row:
    row = claim.check(path)
    assert not row.faults, f"{row.model}: {'; '.join(row.faults[:10])}"
    return row


def test_the_models_are_there() -> None:
    assert len(model_files([BUNDLED])) == 13
    assert len(model_files([LIGHT])) == 9


@each()
def test_nothing_is_unknown(path: Path) -> None:
    operators, kernels, unknown_ops = holds(unknown.CLAIM, path).figures
    assert operators >= kernels > 0
    assert unknown_ops == 0


@each()
def test_macs_equal_an_independent_count(path: Path) -> None:
    assert holds(MACS, path).figures[1] > 0


@pytest.mark.parametrize(("name", "macs"), [("resnet50", 4_089_184_256), ("mobilenet_v2", 300_774_272)])
def test_macs_as_published(name: str, macs: int) -> None:
    path = BUNDLED / f"{name}.onnx"
    assert graphs.run("fuse,lower", graphs.load(path)).total.macs == macs
    assert sum(counted_macs(path).values()) == macs
    assert independent_macs(path).total == macs


@each(frozenset(FEW) - WEIGHTY)
def test_text_round_trip_around_every_pass(path: Path) -> None:
    trips, characters = holds(roundtrip.CLAIM, path).figures
    assert trips == 2 * 9  # bind, shape, precision, fuse, lower, memory, calibrate, cost, coverage
    assert characters > 1000


@each(RUNS_FAST)
def test_types_are_those_of_a_run(path: Path) -> None:
    executed = executed_shapes(path)
    assert type_faults(inferred_types(path), executed) == []
    assert len(executed) > 30


@each(RUNS_FAST)
def test_kernels_are_those_of_the_optimised_graph(path: Path) -> None:
    score = float(holds(KERNELS, path).figures[2])
    assert score >= (0.85 if path.stem in INEXACT else 0.999)


@pytest.mark.slow
def test_kernels_agree_on_average() -> None:
    scores = [agreement(path)[0] for path in MODELS]
    assert sum(scores) / len(scores) >= 0.95


@each(RUNS_FAST)
def test_peak_memory_equals_brute_force(path: Path) -> None:
    model, types = onnx.load(path, load_external_data=False), executed_shapes(path)
    expected, ordered = brute_force_peak(model, types)
    assert planned_peak(ordered) == expected


@each(frozenset({"squeezenet1_1", "resnet18_eager", "light_shufflenet"}))
def test_peak_memory_in_executed_order(path: Path) -> None:
    holds(MEMORY, path)


@each(frozenset({"resnet50", "t5_small_encoder", "lstm_lm", "light_densenet121"}))
def test_peak_memory_is_what_the_arena_reports(path: Path) -> None:
    """Equal on the first two; on the others the runtime copies a view and scales channels by a convolution."""
    holds(ARENA, path)


def test_a_difference_without_a_reason_is_found() -> None:
    assert explained(100, ["Conv"], ArenaUsage(109, 109, "Conv", True)) == ""
    assert explained(100, ["Conv"], ArenaUsage(120, 120, "MatMul", True)) is None
    assert explained(100, ["Conv"], ArenaUsage(120, 120, "Reshape", False)) is None
    assert "copy" in (explained(100, ["Conv"], ArenaUsage(120, 120, "Reshape", True)) or "")
    assert explained(100, ["Conv"], ArenaUsage(80, 80, "Reshape", True)) is None
    assert "Softmax" in (explained(100, ["Softmax"], ArenaUsage(80, 80, "MatMul", True)) or "")


# -- the checks themselves can fail -----------------------------------------------------------------------------------

SQUEEZENET = BUNDLED / "squeezenet1_1.onnx"


def test_a_wrong_type_is_found() -> None:
    graph = graphs.load(SQUEEZENET)
    first, *_ = (op for op in graph.body)
    value = first.results[0]
    right = Executed("float32", tuple(value.type.shape))
    assert type_faults({value.name: value.type}, {value.name: right}) == []
    for wrong in (Executed("float16", right.shape), Executed("float32", right.shape[:-1])):
        (fault,) = type_faults({value.name: value.type}, {value.name: wrong})
        assert value.name in fault
    assert type_faults({}, {value.name: right}) == [f"{value.name!r} is in no graph"]


def test_a_graph_that_text_cannot_carry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graphs.run("lower", graphs.load(SQUEEZENET)).graph
    assert roundtrip.difference(graph) == ""
    text = str(graph)
    for broken, says in (
        (text.replace("reads = [", "reads = [1, ", 1), "parses to another graph"),
        (text.replace('loc("', 'loc("x', 1), "parses to another graph"),
        (text[: len(text) // 2], "does not parse"),
    ):
        monkeypatch.setattr(type(graph), "__str__", lambda self, broken=broken: broken if self is graph else text)
        assert says in roundtrip.difference(graph)


def test_memory_depends_on_the_order(tmp_path: Path) -> None:
    """An order that keeps more alive is told apart, by the plan and by brute force alike."""
    make, node = onnx.helper, onnx.helper.make_node
    nodes = [
        node("Expand", ["x", "shape"], ["a"], name="a"),
        node("ReduceMax", ["a"], ["ra"], name="ra", keepdims=1),
        node("Expand", ["x", "shape"], ["b"], name="b"),
        node("ReduceMax", ["b"], ["rb"], name="rb", keepdims=1),
        node("Add", ["ra", "rb"], ["y"], name="y"),
    ]
    info = make.make_tensor_value_info
    graph = make.make_graph(
        nodes,
        "two",
        [info("x", 1, [1, 1])],
        [info("y", 1, [1, 1])],
        [make.make_tensor("shape", 7, [2], [1, 1000])],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)])
    types = {name: Executed("float32", (1, 1)) for name in ("x", "ra", "rb", "y")}
    types.update((name, Executed("float32", (1, 1000))) for name in ("a", "b"))
    peaks = set()
    for order in (["a", "ra", "b", "rb", "y"], ["a", "b", "ra", "rb", "y"]):
        expected, ordered = brute_force_peak(model, types, order)
        assert planned_peak(ordered) == expected
        assert [n.name for n in in_order(model, order_of_steps(graph, order)).graph.node] == order
        peaks.add(expected)
    assert peaks == {4000 + 8, 8000 + 4}


# -- where operations come from ---------------------------------------------------------------------------------------


def test_module_paths_of_an_eager_export() -> None:
    report = graphs.run("fuse,lower,cost", graphs.load(BUNDLED / "resnet18_eager.onnx"))
    convolutions = [kernel for kernel in report.kernels if kernel.pattern.startswith("Conv")]
    stages = [f"layer{stage}.{block}.conv{i}" for stage in range(1, 5) for block in (0, 1) for i in (1, 2)]
    shortcuts = [f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)]
    assert sorted(kernel.module for kernel in convolutions) == sorted(["conv1", *stages, *shortcuts])
    (classifier,) = (kernel for kernel in report.kernels if kernel.name == "node_linear" or "Gemm" in kernel.pattern)
    assert classifier.module == "fc"
    shapes = {kernel.module: kernel.output for kernel in convolutions}
    assert shapes["layer1.0.conv1"] == (1, 64, 56, 56)
    assert shapes["layer4.1.conv2"] == (1, 512, 7, 7)


def test_every_weight_is_read_in_its_module() -> None:
    """The exporter's scopes and, apart from them, the names of the weights say the same."""
    read = set[str]()
    for op in graphs.load(BUNDLED / "resnet18_eager.onnx").body:
        weights = [value.name for value in op.inputs if value.is_constant and value.name.endswith((".weight", ".bias"))]
        read.update(weights)
        assert {name.rpartition(".")[0] for name in weights} <= {op.loc.module}, op
    assert len(read) == 62


def test_labels_tell_folders_apart() -> None:
    assert label(BUNDLED / "resnet50.onnx") != label(LIGHT / "light_resnet50.onnx")
