"""The pass ``calibrate``, and what ``cost`` and the totals make of the evidence that it finds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from math import exp, sqrt
from pathlib import Path
from typing import Any

import pytest
from fake_evidence import fake, predicted
from hypothesis import given
from hypothesis import strategies as st

import graphs
import graphs.passes.calibrate
from graphs.calibration.kernel import Kernel
from graphs.calibration.lookup import Match
from graphs.calibration.prediction import NORMAL_95, Prediction, Quality
from graphs.calibration.roofline import Roofline
from graphs.calibration.sample import Setting
from graphs.calibration.store import SHIPPED, path_of
from graphs.ir import DType, Graph, parse, print_graph
from graphs.ir.primitives import Conv
from graphs.passes.base import Context, PassError
from graphs.passes.calibrate import Calibrate, Calibration, kernel_of
from graphs.passes.cost import Cost
from graphs.passes.intervals import correlated_sum
from graphs.passes.manager import PassManager, parse_passes, resolve
from graphs.passes.options import call_of
from graphs.passes.report import EvidenceSource, Report
from graphs.passes.totals import costed_kernels
from graphs.targets import load_target

HERE = Path(__file__).parent
TOY = str(HERE / "passes" / "toy.yaml")
MODELS = HERE.parent / "examples" / "models"
Run = Callable[..., Any]

# A product of 2 GFLOP (1 ms at the toy's peak), an activation of 8 MB (80 us), a view, and what nobody can count.
TEXT = """\
"graphs.graph"() ({
  %axes = "graphs.constant"() {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %x = "graphs.input"() : () -> tensor<1000x1000xf32>
  %w = "graphs.constant"() : () -> tensor<1000x1000xf32>
  %m = "onnx.MatMul"(%x, %w) : (tensor<1000x1000xf32>, tensor<1000x1000xf32>) -> tensor<1000x1000xf32>
  %e = "onnx.Exp"(%m) : (tensor<1000x1000xf32>) -> tensor<1000x1000xf32>
  %u = "onnx.Unsqueeze"(%e, %axes) : (tensor<1000x1000xf32>, tensor<1xi64>) -> tensor<1x1000x1000xf32>
  %r = "com.acme.Rotary"(%x) : (tensor<1000x1000xf32>) -> tensor<1000x1000xf32>
  "graphs.output"(%u) : (tensor<1x1000x1000xf32>) -> ()
  "graphs.output"(%r) : (tensor<1000x1000xf32>) -> ()
}) {sym_name = "sample"} : () -> ()
"""
PRODUCT, EXP, VIEW, STRANGE = "onnx.MatMul", "onnx.Exp", "onnx.Unsqueeze", "com.acme.Rotary"
PEAK_SECONDS = {PRODUCT: 1e-3, EXP: 8e-5}
DISPATCH = 1e-6


def graph_of_text() -> Graph:
    return parse(TEXT)


def report_of(pipeline: str = "lower,cost", graph: Graph | None = None) -> Report:
    return graphs.run(pipeline, graph or graph_of_text(), target=TOY)


def facts(report: Report, fact: Any) -> dict[str, Any]:
    return {op.name: op.facts.get(fact) for op in report.graph.body}


def by_pattern(**rules: Prediction) -> Callable[[Kernel], Prediction]:
    return lambda kernel: rules.get(kernel.pattern, predicted(1.0, Quality.MISSING))


# -- without evidence --------------------------------------------------------------------------------------------------


def test_without_evidence_nothing_is_attached_and_all_is_theoretical() -> None:
    report = report_of()
    assert set(facts(report, Calibration).values()) == {None}
    assert {kernel.confidence for kernel in report.kernels} == {"THEORETICAL"} == {report.total.confidence}
    assert {kernel.quality for kernel in report.kernels} == {None} and report.diagnostics == ()
    assert report.evidence is not None and report.evidence.layer == "first principles"
    product = facts(report, Cost)[PRODUCT]
    assert product.seconds == DISPATCH + 2e-3 and product.efficiency == 0.5
    assert product.std == pytest.approx((product.high - product.low) / (2 * NORMAL_95))


def test_without_evidence_nothing_that_evidence_needs_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "sample.mlir"
    path.write_text(print_graph(graph_of_text()))
    code = (
        "import sys\nfrom graphs.tools.opt import main\n"
        f"try: main(['-q', '--target={TOY}', {str(path)!r}])\nexcept SystemExit as stop: assert not stop.code\n"
        "print([name for name in sys.modules if name.startswith('scipy') or name.startswith('graphs.calibration')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert "scipy" not in loaded and "lookup" not in loaded and "estimator" not in loaded and "roofline" in loaded


# -- with evidence -----------------------------------------------------------------------------------------------------

QUALITIES = [
    (Quality.EXACT, "CALIBRATED", "measured"),
    (Quality.SIZE_INTERPOLATED, "CALIBRATED", "interpolated"),
    (Quality.SIZE_EXTRAPOLATED, "INTERPOLATED", "extrapolated"),
    (Quality.OP_APPROXIMATED, "INTERPOLATED", "proxy"),
    (Quality.MISSING, "THEORETICAL", "first principles"),
]


@pytest.mark.parametrize(("quality", "confidence", "word"), QUALITIES)
def test_a_quality_decides_what_a_figure_may_be_called(
    quality: Quality, confidence: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, by_pattern(MatMul=predicted(1.25e-3, quality), Exp=predicted(1e-4)))
    report = report_of()
    product = next(kernel for kernel in report.kernels if kernel.pattern == "MatMul")
    assert (product.confidence, product.evidence, product.quality) == (confidence, word, quality)
    measured = quality is not Quality.MISSING
    assert product.seconds == (1.25e-3 if measured else DISPATCH + 2e-3)
    assert word in {row.evidence for row in report.coverage if row.flops >= 2 * 10**9}


SECONDS = [10.0, 2e-3, 1.25e-3, 1e-3 + DISPATCH, 5e-4, 2e-6, 1e-9]


@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize("name", [PRODUCT, EXP])
def test_the_terms_add_up_to_the_time_that_was_predicted(
    name: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(monkeypatch, by_pattern(MatMul=predicted(seconds), Exp=predicted(seconds)))
    cost = facts(report_of(), Cost)[name]
    assert cost.seconds == seconds
    assert cost.dispatch_seconds + max(cost.compute_seconds, cost.memory_seconds) == pytest.approx(seconds)
    assert cost.efficiency == pytest.approx(PEAK_SECONDS[name] / (seconds - cost.dispatch_seconds))
    assert cost.dispatch_seconds <= DISPATCH
    if seconds >= PEAK_SECONDS[name] + DISPATCH:
        assert cost.dispatch_seconds == DISPATCH and cost.efficiency <= 1 + 1e-12


def test_the_interval_is_that_of_the_log_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, by_pattern(MatMul=predicted(2e-3, std=0.25)))
    cost = facts(report_of(), Cost)[PRODUCT]
    assert (cost.low, cost.high) == pytest.approx((2e-3 * exp(-0.25 * NORMAL_95), 2e-3 * exp(0.25 * NORMAL_95)))
    assert cost.std == pytest.approx(2e-3 * exp(0.25**2 / 2) * sqrt(exp(0.25**2) - 1))
    assert cost.efficiency_std == pytest.approx(cost.efficiency * 0.25 * 2e-3 / (2e-3 - DISPATCH))


def test_views_and_what_cannot_be_counted_are_not_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = fake(monkeypatch, lambda kernel: predicted(1e-3))
    report = report_of()
    found = facts(report, Calibration)
    assert [len(asked) for asked in estimator.asked] == [2] and found[VIEW] is None and found[STRANGE] is None
    strange = next(kernel for kernel in report.kernels if kernel.unknown)
    assert strange.confidence == "THEORETICAL" and strange.bound == "unknown"
    assert {row.evidence for row in report.coverage if row.seconds} == {"interpolated", "UNKNOWN"}


def test_a_network_is_predicted_in_one_call_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = fake(monkeypatch, lambda kernel: predicted(1e-3))
    report = graphs.run("fuse,lower,cost", graphs.load(MODELS / "bert_base.onnx"), target="intel-core-i7-12700k")
    (asked,) = estimator.asked
    costed = [one.kernel for one in costed_kernels(report.graph) if one.kernel is not None]
    assert list(asked) == costed and len(asked) > 100
    assert report.total.confidence == "CALIBRATED"


def test_what_was_measured_as_a_whole_was_measured_with_all_that_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graphs.load(MODELS / "squeezenet1_1.onnx")

    def matches(quality: Quality) -> tuple[Any, ...]:
        fake(monkeypatch, lambda kernel: predicted(1e-3, quality, entry="conv_c=3"),
             lambda primitive: Match(Quality.OP_APPROXIMATED, "curve matmul", 0.25, 0.01, "matmul"))  # fmt: skip
        report = graphs.run("fuse,lower,cost", graph, target="intel-core-i7-12700k:onnxruntime-cpu")
        kernel = next(op for op in report.graph.body if len(op.facts[Calibration].matches) == 2)
        return tuple(kernel.facts[Calibration].matches)

    exact = matches(Quality.EXACT)
    assert [match.quality for match in exact] == [Quality.EXACT] * 2
    assert {match.entry for match in exact} == {"conv_c=3"} and exact[0].operation_type != exact[1].operation_type
    between = matches(Quality.SIZE_INTERPOLATED)
    assert {(match.quality, match.proxy, match.efficiency) for match in between} == {
        (Quality.OP_APPROXIMATED, "matmul", 0.25)
    }


# -- the pass among others ---------------------------------------------------------------------------------------------


def test_cost_brings_calibrate_along_and_new_work_makes_it_run_again() -> None:
    def names(text: str) -> list[str]:
        return [step.name for step in resolve(parse_passes(text))]

    assert names("lower,cost") == ["bind", "shape", "precision", "lower", "calibrate", "cost"]
    assert names("lower,cost,lower,cost")[4:] == ["calibrate", "cost", "lower", "calibrate", "cost"]
    (step,) = parse_passes("calibrate{evidence=none}")
    assert isinstance(step, Calibrate) and str(call_of(step)) == "calibrate{evidence=none}"


def test_facts_are_printed_and_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda kernel: predicted(1e-3), lambda primitive: Match(Quality.EXACT, "gemm_m=1", 0.5, 0.1))
    graph = report_of().graph
    again = parse(print_graph(graph))
    assert again == graph and "graphs.calibration = {" in print_graph(graph)
    assert any(op.facts.get(Calibration) for op in again.body)


def test_evidence_that_is_gone_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        fake(patched, lambda kernel: predicted(1e-3))
        graph = report_of().graph
        assert any(op.facts.get(Calibration) for op in graph.body)
    report = report_of("calibrate{evidence=none},cost", graph)
    assert set(facts(report, Calibration).values()) == {None}
    assert facts(report, Cost)[PRODUCT].seconds == DISPATCH + 2e-3


def test_what_stands_in_is_said_and_strict_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = EvidenceSource("shipped", "x.json", fallbacks=("evidence of toy@slow stands in",))
    fake(monkeypatch, lambda kernel: predicted(1e-3), source=source)
    graph = parse(TEXT_KNOWN)
    assert ["stands in" in note.message for note in report_of(graph=graph).diagnostics] == [True]
    with pytest.raises(PassError, match="stands in"):
        graphs.run("lower,cost", graph, target=TOY, strict=True)


TEXT_KNOWN = """\
"graphs.graph"() ({
  %x = "graphs.input"() : () -> tensor<1000x1000xf32>
  %e = "onnx.Exp"(%x) : (tensor<1000x1000xf32>) -> tensor<1000x1000xf32>
  "graphs.output"(%e) : (tensor<1000x1000xf32>) -> ()
}) {sym_name = "known"} : () -> ()
"""


def test_several_models_read_the_evidence_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda kernel: predicted(1e-3))
    asked: list[Any] = []
    found = graphs.passes.calibrate.find_evidence
    monkeypatch.setattr("graphs.passes.calibrate.find_evidence", lambda *given: asked.append(given) or found(*given))
    model = tmp_path / "known.mlir"
    model.write_text(TEXT_KNOWN)
    assert run(f"--target={TOY}", "-q", model, model).out.count("CALIBRATED") == 2
    assert len(asked) == 1


# -- totals ------------------------------------------------------------------------------------------------------------


def test_the_total_asks_the_estimator_how_errors_hang_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def half_width(*curves: str) -> float:
        one, other = (predicted(1e-3, std=0.1, curve=curve) for curve in curves)
        fake(monkeypatch, by_pattern(MatMul=one, Exp=other))
        total = report_of().total
        assert total.seconds is not None and total.seconds_low is not None and total.seconds_high is not None
        return total.seconds_high - total.seconds_low

    assert half_width("one", "two") < half_width("one", "one")


def test_a_total_is_no_surer_than_a_tenth_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tanh = '  %y = "onnx.Tanh"(%x) : (tensor<1000x1000xf32>) -> tensor<1000x1000xf32>\n'
    graph = parse(TEXT_KNOWN.replace("  %e = ", f"{tanh}  %e = ").replace('"onnx.Exp"(%x)', '"onnx.Exp"(%y)'))

    def confidence(seconds: float, quality: Quality) -> str:
        fake(monkeypatch, by_pattern(Exp=predicted(1e-2), Tanh=predicted(seconds, quality)))
        return report_of(graph=graph).total.confidence

    assert confidence(1e-3, Quality.SIZE_EXTRAPOLATED) == "CALIBRATED"
    assert confidence(2e-3, Quality.SIZE_EXTRAPOLATED) == "INTERPOLATED"
    assert confidence(0.0, Quality.MISSING) == "CALIBRATED"


rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(1e-9, 1), st.floats(0, 1), st.floats(1, 10)), min_size=1, max_size=12
)


@given(rows)
def test_an_interval_lies_between_independence_and_full_correlation(
    drawn: list[tuple[str, float, float, float]],
) -> None:
    parts = [(name, seconds, seconds * low, seconds * high) for name, seconds, low, high in drawn]
    found = correlated_sum(parts)
    independent = correlated_sum((str(i), *row[1:]) for i, row in enumerate(parts))
    together = correlated_sum(("all", *row[1:]) for row in parts)
    assert together.low - 1e-12 <= found.low <= independent.low + 1e-12
    assert independent.high - 1e-12 <= found.high <= together.high + 1e-12
    assert found.seconds == independent.seconds == together.seconds


# -- the correction, through the whole pipeline ------------------------------------------------------------------------

DEVICE = """\
schema: 1
name: like-i7
title: a device whose default efficiency is 20 %
class: npu
runtimes: [./runtime.yaml]
sources:
  here: {title: Round numbers, url: "https://example.com/i7", date: 2025-01}
units:
  all: {runs: all, clock: 1.0 GHz, per_cycle: {fp32: 360 mac}, source: here}
memories:
  dram: {size: 64 GiB, bandwidth: 75 GB/s, source: here}
"""
RUNTIME = """\
schema: 1
name: runtime
device_classes: [npu]
sources:
  here: {title: Round numbers, url: "https://example.com/i7", date: 2025-01}
dispatch: {npu: {value: 0.1 us, source: here}}
precisions: [fp32]
views: free
efficiency:
  npu:
    source: here
    default: {compute: [0.1, 0.2, 1.0], memory: [0.5, 1.0, 1.0]}
"""


def curve(name: str, points: list[tuple[float, float]]) -> dict[str, Any]:
    shown = [
        {
            "flops": size, "efficiency_mean": value, "efficiency_std": 0.01, "efficiency_min": value - 0.01,
            "efficiency_max": value + 0.01, "ci_lower": value - 0.01, "ci_upper": value + 0.01, "num_observations": 10,
            "source": "measured", "source_subgraphs": [], "source_models": [],
        }
        for size, value in points
    ]  # fmt: skip
    fitted = {"curve_type": "piecewise_linear", "breakpoints": [list(point) for point in points], "r_squared": 1.0,
              "residual_std": 0.01, "max_residual": 0.01}  # fmt: skip
    return {"operation_type": name, "description": name, "data_points": shown, "fitted_curve": fitted,
            "min_flops": points[0][0], "max_flops": points[-1][0], "calibration_models": [], "notes": ""}  # fmt: skip


def evidence() -> dict[str, Any]:
    """Matrix products of an i7-12700K as published, and its bandwidth."""
    sizes = ((512, 0.560), (1024, 0.708), (2048, 0.730), (4096, 0.791))
    return {
        "schema_version": "1.0", "hardware_id": "like-i7", "hardware_name": "like an i7", "device_type": "cpu",
        "precision": "FP32", "calibration_date": "2025-11-28T10:00:00", "calibration_tool_version": "1",
        "curves": {"matmul": curve("matmul", [(2.0 * n**3, share) for n, share in sizes])},
        "bandwidth_curves": {"stream_copy": curve("stream_copy", [(1e6, 51.6 / 75), (1e10, 51.6 / 75)])},
        "validation": None, "notes": "",
    }  # fmt: skip


@pytest.fixture
def like_i7(tmp_path: Path) -> Callable[..., Report]:
    (tmp_path / "device.yaml").write_text(DEVICE)
    (tmp_path / "runtime.yaml").write_text(RUNTIME)
    (tmp_path / "evidence.json").write_text(json.dumps(evidence()))

    def run(text: str, how: str = "evidence.json") -> Report:
        wanted = how if how == "none" else str(tmp_path / how)
        return graphs.run(f'calibrate{{evidence="{wanted}"}},cost', parse(text), target=tmp_path / "device.yaml")

    return run


def test_a_product_of_2048_takes_0_27_of_the_time_that_20_percent_would(like_i7: Callable[..., Report]) -> None:
    text = TEXT_KNOWN.replace('"onnx.Exp"(%x) : (tensor<1000x1000xf32>)',
                              '"onnx.MatMul"(%x, %w) : (tensor<1000x1000xf32>, tensor<1000x1000xf32>)')  # fmt: skip
    weight = '  %w = "graphs.constant"() : () -> tensor<1000x1000xf32>\n'
    text = text.replace("  %e =", f"{weight}  %e =").replace("1000", "2048")
    before, after = like_i7(text, "none"), like_i7(text)
    (old,), (new,) = before.kernels, after.kernels
    assert old.compute_seconds is not None and new.compute_seconds is not None
    assert round(new.compute_seconds / old.compute_seconds, 2) == 0.27
    assert new.evidence in ("measured", "interpolated") and new.efficiency == pytest.approx(0.73, abs=0.002)
    assert after.evidence is not None and after.evidence.file.endswith("evidence.json")


def test_a_memory_bound_kernel_takes_75_over_51_6_of_the_time(like_i7: Callable[..., Report]) -> None:
    text = TEXT_KNOWN.replace('"onnx.Exp"(%x)', '"onnx.Transpose"(%x) {perm = [1, 0]}').replace("1000", "4000")
    before, after = like_i7(text, "none"), like_i7(text)
    (old,), (new,) = before.kernels, after.kernels
    assert old.bound == new.bound == "dram" and old.seconds and new.seconds
    assert new.seconds / old.seconds == pytest.approx(75 / 51.6, rel=0.002)
    assert new.evidence == "proxy"


# -- evidence that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text[: len(text) // 2], "evidence.json"),
        (lambda text: text.replace('"1.0"', '"7.0"', 1), "7.0"),
        (lambda text: text.replace("0.73", "NaN", 1), "NaN"),
        (lambda text: text.replace("0.73", "-0.73"), "efficiency_mean"),
        (lambda text: "", "evidence.json"),
    ],
    ids=["torn", "version", "nan", "negative", "empty"],
)
def test_damaged_evidence_is_an_error_and_never_a_figure(
    spoil: Callable[[str], str], says: str, run: Run, tmp_path: Path
) -> None:
    path, model = tmp_path / "evidence.json", tmp_path / "known.mlir"
    path.write_text(spoil(json.dumps(evidence())))
    model.write_text(TEXT_KNOWN)
    done = run(f"--target={TOY}", f"--evidence={path}", model)
    assert done.code == 1 and done.out == ""
    assert done.err.startswith("error: ") and str(path) in done.err and says in done.err


def test_evidence_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "known.mlir"
    model.write_text(TEXT_KNOWN)
    done = run(f"--target={TOY}", f"--evidence={tmp_path / 'none.json'}", model)
    assert done.code == 1 and "none.json" in done.err and "error: " in done.err


def test_no_pass_that_could_use_evidence_is_an_error(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "known.mlir"
    model.write_text(TEXT_KNOWN)
    done = run("--passes=shape", "--evidence=none", model)
    assert done.code == 1 and "--evidence" in done.err


def test_times_of_another_device_are_refused(run: Run, tmp_path: Path) -> None:
    path, model = path_of(RYZEN, SHIPPED).with_suffix(".json.gz"), tmp_path / "known.mlir"
    model.write_text(TEXT_KNOWN)
    done = run("--target=intel-core-i7-12700k:pytorch-eager", f"--evidence={path}", model)
    assert done.code == 1 and done.out == ""
    assert "has times of amd-ryzen-9-8945hs:pytorch-eager in fp32, which say nothing of intel-core" in done.err
    assert run("--target=amd-ryzen-9-8945hs:pytorch-eager", f"--evidence={path}", model).code == 0


RYZEN = Setting("amd-ryzen-9-8945hs", "pytorch-eager", "", "fp32")


def test_shares_of_another_device_s_peaks_are_used_only_as_asked_and_with_a_warning(run: Run, tmp_path: Path) -> None:
    path, model = tmp_path / "evidence.json", tmp_path / "known.mlir"
    setting = {"device": "else", "runtime": "r", "mode": "", "precision": "fp32"}
    path.write_text(json.dumps(evidence() | {"schema_version": "1.1", "setting": setting}))
    model.write_text(TEXT_KNOWN)
    done = run(f"--target={TOY}", f"--evidence={path}", model)
    assert done.code == 0 and "else:r in fp32" in done.err and "proxy" in done.out
    assert run(f"--target={TOY}", f"--evidence={path}", "--strict", model).code == 1
    assert run(f"--target={TOY}", "--evidence=none", "-q", model).out.count("THEORETICAL") == 1


# -- the roofline that all stands on -----------------------------------------------------------------------------------


def test_bounds_are_those_of_the_file() -> None:
    graph, target = graph_of_text(), load_target(TOY)
    PassManager(parse_passes("lower")).run(graph, Context(target))
    roofline = Roofline.of(target)
    found = {op.name: roofline.bounds(kernel_of(op, graph)) for op in graph.body}
    product = found[PRODUCT]
    assert (product.compute_seconds, product.memory_seconds) == pytest.approx((1e-3, 12e6 / 100e9))
    assert (product.peak, product.bandwidth, product.levels) == (2e12, pytest.approx(100e9), ("dram",))
    assert product.seconds == DISPATCH + 1e-3 and product.default_seconds == DISPATCH + 2e-3
    assert found[STRANGE].unknown and found[STRANGE].compute_seconds == 0


def test_emulated_precisions_have_efficiencies_of_their_own() -> None:
    """The i7 has no half precision: eager PyTorch emulates it, onnxruntime casts to fp32 and loses nothing."""
    shape = {
        "batch": 1,
        "in_channels": 64,
        "out_channels": 64,
        "in_size": (56, 56),
        "out_size": (56, 56),
        "kernel": (3, 3),
    }
    seconds = {
        (runtime, dtype): Roofline.of(load_target(f"intel-core-i7-12700k:{runtime}"))
        .bounds(Kernel("Conv", (Conv(**shape, dtype=dtype),), 36_864, 401_408, 401_408))
        .default_compute_seconds
        for runtime in ("pytorch-eager", "onnxruntime-cpu")
        for dtype in (DType.F32, DType.F16)
    }
    assert seconds["pytorch-eager", DType.F16] > 50 * seconds["pytorch-eager", DType.F32]
    assert seconds["onnxruntime-cpu", DType.F16] == seconds["onnxruntime-cpu", DType.F32]


@given(st.floats(1e-12, 1e3))
def test_efficiency_and_dispatch_account_for_any_time(seconds: float) -> None:
    bounds = Roofline.of(load_target(TOY)).bounds(Kernel("Exp", (), 0, 4_000_000, 4_000_000))
    efficiency = bounds.efficiency_at(seconds)
    assert efficiency is not None
    assert bounds.dispatch_at(seconds) + bounds.work_seconds / efficiency == pytest.approx(seconds)
