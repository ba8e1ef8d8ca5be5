"""Networks that onnxruntime's own quantisers quantised: work, weights and kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from claims.models import BUNDLED
from claims.quantized import CLAIM, RUNTIME, agreement, is_integer, weight_shares
from quantise import FORMATS, quantise

import graphs
from graphs.calibration.kernel import Kernel
from graphs.calibration.measure.onnxruntime import OnnxRuntime
from graphs.calibration.measure.profile import join
from graphs.calibration.roofline import ComputeTerm, Roofline
from graphs.ir import DType
from graphs.ir.counts import substituted
from graphs.ir.primitives import Conv
from graphs.passes.arithmetic import why_floats
from graphs.passes.calibrate import described, kernel_of
from graphs.passes.explain import explain, find_kernel
from graphs.passes.report import KernelReport, Report
from graphs.targets import load_target
from graphs.tools.emit import emit
from graphs.tools.emit.view import View

Quantised = Callable[[str, str], Path]

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0", "squeezenet1_1", "bert_base")
"""The five that the claim is made of, in every format."""

QUICK = [*(("squeezenet1_1", how) for how in FORMATS), ("mobilenet_v2", "qdq")]
"""Of these, every kernel is predicted rightly."""


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Quantised:
    """A network quantised in a format, made once."""
    folder, made = tmp_path_factory.mktemp("quantised"), dict[tuple[str, str], Path]()

    def make(name: str, how: str) -> Path:
        if (name, how) not in made:
            made[name, how] = quantise(BUNDLED / f"{name}.onnx", how, folder / f"{name}.{how}.onnx")
        return made[name, how]

    return make


@pytest.mark.parametrize(("name", "how"), QUICK)
def test_macs_are_those_of_the_float_network(name: str, how: str, quantised: Quantised) -> None:
    before = graphs.run("fuse,lower", graphs.load(BUNDLED / f"{name}.onnx"), target=RUNTIME)
    after = graphs.run("fuse,lower", graphs.load(quantised(name, how)), target=RUNTIME)
    assert after.total.macs == before.total.macs > 0
    assert after.total.exact


@pytest.mark.parametrize("how", FORMATS)
def test_quantised_weights_take_a_quarter_of_the_bytes(how: str, quantised: Quantised) -> None:
    """Biases stay at 32 bits, and there are scales and zero points beside: the whole is a little over a quarter."""
    quarter, whole = weight_shares(BUNDLED / "squeezenet1_1.onnx", quantised("squeezenet1_1", how))
    assert quarter == 0.25
    assert 0.25 < whole < 0.2502  # this network has no biases


@pytest.mark.parametrize(("name", "how"), QUICK)
def test_kernels_are_those_of_the_optimised_graph(name: str, how: str, quantised: Quantised) -> None:
    found = agreement(quantised(name, how))
    assert found.predicted > 40
    assert (found.all_kernels, found.integer_kernels) == (1.0, 1.0)


def test_what_runs_in_floats_is_told_from_what_runs_on_integers(quantised: Quantised) -> None:
    """Without the rules that make integer kernels, shapes and kinds still agree in part; the operators do not."""
    path = quantised("squeezenet1_1", "qdq")
    report = graphs.run("fuse{rules=none}", graphs.load(path), target=RUNTIME)
    assert not any(kernel.pattern.startswith("QLinear") for kernel in report.kernels)
    patterns = [kernel.pattern for kernel in graphs.run("fuse", graphs.load(path), target=RUNTIME).kernels]
    assert patterns.count("QLinearConv") == 2 and patterns.count("QLinearConcat") == 8
    assert sum(is_integer(pattern) for pattern in patterns) < len(patterns)


DEVICE = "intel-core-i7-12700k:onnxruntime-cpu"


def test_precision_is_told_of_each_kernel_and_of_the_work(quantised: Quantised) -> None:
    """Defaults of the quantiser are signed: where two read a value it stays so, and x86-64 has no kernel for it."""
    report = graphs.run("fuse,lower,cost", graphs.load(quantised("squeezenet1_1", "qdq")), target=DEVICE)
    by_pattern = {kernel.pattern: kernel.arithmetic_precision for kernel in report.kernels}
    assert (by_pattern["QLinearConv"], by_pattern["Conv"], by_pattern["ReduceMean"]) == ("int8", "fp32", "fp32")
    split = {precision: sum(k.macs for k in report.kernels if k.arithmetic_precision == precision)
             for precision in ("int8", "fp32")}  # fmt: skip
    assert report.total.macs_by_precision == split
    assert sum(split.values()) == report.total.macs
    terms = {
        term.precision: term for kernel in report.kernels for term in _bounds(report, kernel) if term.primitive.macs
    }
    assert terms["int8"].peak == terms["int8"].unit.peaks["int8"].value > terms["fp32"].peak
    table = str(emit("table", [report], View()))
    assert "precision" in table and f"(fp32 {100 * split['fp32'] / report.total.macs:.0f} %, int8 " in table


def _bounds(report: Report, kernel: KernelReport) -> Sequence[ComputeTerm]:
    op = report.graph.value(kernel.results[0]).op
    return Roofline.of(load_target(DEVICE)).bounds(kernel_of(op, report.graph)).compute


def test_other_runtimes_run_convolutions_between_conversions_on_integers(quantised: Quantised) -> None:
    graph = quantised("squeezenet1_1", "qdq")
    for target in ("nvidia-h100-sxm:tensorrt", "nucleo-l4r5zi:tflite-micro"):
        report = graphs.run("fuse,lower,cost", graphs.load(graph), target=target)
        patterns = [kernel.pattern for kernel in report.kernels]
        assert patterns.count("Quantized_Conv") == 26 and "Conv" not in patterns
        assert report.total.macs_by_precision == {"int8": report.total.macs}
    eager = graphs.run("fuse,lower,cost", graphs.load(graph), target="intel-core-i7-12700k:pytorch-eager")
    assert eager.total.macs_by_precision == {"fp32": report.total.macs}


def test_signed_factors_are_slow_where_the_runtime_has_no_kernel_for_them() -> None:
    sizes: dict[str, Any] = {"batch": 1, "in_channels": 64, "out_channels": 64, "in_size": (28, 28)}
    sizes |= {"out_size": (28, 28), "kernel": (3, 3)}
    seconds = {}
    for target in (DEVICE, "nvidia-h100-sxm:tensorrt"):
        roofline = Roofline.of(load_target(target))
        for dtype in (DType.UI8, DType.I8):
            kernel = Kernel("Conv", (Conv(**sizes, dtype=dtype),), 36_864, 50_176, 50_176)
            seconds[target, dtype] = roofline.bounds(kernel).default_compute_seconds
    assert seconds[DEVICE, DType.I8] > 20 * seconds[DEVICE, DType.UI8]
    h100 = "nvidia-h100-sxm:tensorrt"
    assert seconds[h100, DType.I8] == seconds[h100, DType.UI8]


def test_executed_integer_kernels_join_the_predicted_ones(quantised: Quantised) -> None:
    """By name, though the runtime renames what it replaces, and each of them with one kernel of ours."""
    path = quantised("squeezenet1_1", "qdq")
    graph = graphs.run("fuse,lower", graphs.load(path), target=RUNTIME).graph
    joined = join(OnnxRuntime(1).execute(path, 0.3, fewest=3), described(graph, load_target(RUNTIME)), "quantised")
    assert joined.matched_share > 0.9 and not joined.unexecuted
    assert {len(sample.kernels) for sample in joined.samples} == {1}
    assert {"QLinearConv", "QLinearConcat", "DequantizeLinear"} <= {s.kernels[0].pattern for s in joined.samples}


def test_the_reason_for_floats_is_explained(quantised: Quantised) -> None:
    graph = graphs.run("fuse,lower,cost", graphs.load(quantised("squeezenet1_1", "qdq")), target=DEVICE).graph
    steps = {step.topic: step for step in explain(find_kernel(graph, "node_Conv_8"), load_target(DEVICE)).steps}
    assert steps["arithmetic"].formula == "in fp32: no QLinearConv, which wants same_type(x, q); x is ui8, q is i8"
    assert steps["arithmetic"].source.startswith("runtimes/onnxruntime-cpu.yaml:")
    mean = find_kernel(graph, "node_mean").op
    assert "no rule of the runtime" in why_floats(mean, graph)[0]
    integer = find_kernel(graph, "node_Conv_7").op
    assert why_floats(integer, graph) == ("", "")


def test_the_split_by_precision_holds_for_open_dimensions(quantised: Quantised, tmp_path: Path) -> None:
    model = onnx.load(quantised("squeezenet1_1", "qdq"))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]
    path = tmp_path / "open.onnx"
    onnx.save(model, path)
    left_open = graphs.run("fuse,lower", graphs.load(path), target=DEVICE)
    whole = graphs.run("fuse,lower", graphs.load(quantised("squeezenet1_1", "qdq")), target=DEVICE).total
    bound = {name: substituted(macs, {"batch": 1}) for name, macs in left_open.total.macs_by_precision.items()}
    assert bound == whole.macs_by_precision and len(bound) == 2
    assert "fp32" in str(emit("table", [left_open], View(wide=True)))


def test_a_float_network_says_nothing_of_precision() -> None:
    report = graphs.run("fuse,lower,cost", graphs.load(BUNDLED / "squeezenet1_1.onnx"), target=DEVICE)
    assert set(report.total.macs_by_precision) == {"fp32"}
    assert "precision" not in str(emit("table", [report], View()))
    assert "precision" in str(emit("table", [report], View(wide=True)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_claim_holds(name: str) -> None:
    row = CLAIM.check(BUNDLED / f"{name}.onnx")
    assert not row.faults
    assert min(float(figure) for index, figure in enumerate(row.figures) if index % 3 < 2) > 0.97
