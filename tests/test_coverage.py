"""The account of the coverage: what figures stand on, what puts a total at risk, what to measure next, what errs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fake_evidence import fake, predicted

import graphs
from graphs.calibration.errors import CalibrationError
from graphs.calibration.kernel import Kernel, entry, operation_type
from graphs.calibration.lookup import Match
from graphs.calibration.measure.environment import read_environment
from graphs.calibration.measure.samples_file import header_line, line, sample_line
from graphs.calibration.measure.statistics import statistics
from graphs.calibration.prediction import Prediction, Quality
from graphs.calibration.sample import Sample, Setting
from graphs.ir import Graph
from graphs.ir.errors import GraphsError
from graphs.ir.primitives import Elementwise, Gemm, Primitive
from graphs.passes.base import Context
from graphs.passes.calibrate import described
from graphs.passes.coverage_report import RiskLevel, Status
from graphs.passes.coverage_reporting import coverage_report
from graphs.passes.manager import PassManager
from graphs.passes.measured_errors import measured_errors
from graphs.passes.report import Report
from graphs.passes.totals import costed_kernels, sum_of
from graphs.targets import load_target
from graphs.tools.emit import emit
from graphs.tools.emit.view import View

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
MODELS = HERE.parent / "examples" / "models"
SQUEEZENET = MODELS / "squeezenet1_1.onnx"
TARGET = "intel-core-i7-12700k:onnxruntime-cpu"
SCHEMA = json.loads((HERE.parent / "docs" / "report.schema.json").read_text())
PIPELINE = "fuse,lower,cost,coverage"
Run = Callable[..., Any]

KERNELS = {
    "conv2d": predicted(2e-4, Quality.EXACT, 0.02, curve="conv2d", entry="conv_c=64"),
    "conv2d_pointwise": predicted(1e-4, Quality.SIZE_EXTRAPOLATED, 0.4, curve="conv2d_pointwise", entry="conv_c=16"),
    "pool": predicted(1e-4, Quality.OP_APPROXIMATED, 0.6, curve="stream_copy", entry=""),
}


def rule(kernel: Kernel) -> Prediction:
    return KERNELS.get(kernel.operation_type, predicted(1.0, Quality.MISSING))


def match(primitive: Primitive) -> Match:
    """Convolutions have entries, elementwise arithmetic a stand-in, all else nothing."""
    name = operation_type(primitive)
    if name.startswith("conv2d"):
        return Match(Quality.SIZE_INTERPOLATED, entry(primitive), 0.5, 0.05)
    if name == "elementwise":
        return Match(Quality.OP_APPROXIMATED, "curve stream_copy", 0.25, 0.1, "stream_copy")
    return Match(Quality.MISSING, proxy="stream_copy")


@pytest.fixture(scope="module")
def squeezenet() -> Graph:
    return graphs.load(SQUEEZENET)


@pytest.fixture
def report(squeezenet: Graph, monkeypatch: pytest.MonkeyPatch) -> Report:
    fake(monkeypatch, rule, match)
    return graphs.run(PIPELINE, squeezenet, target=TARGET)


def text_of(name: str, report: Report, view: View | None = None) -> str:
    made = emit(name, [report], view or View(width=120))
    assert isinstance(made, str)
    return made


# -- for programs ------------------------------------------------------------------------------------------------------

TOP = {"model", "hardware", "power_mode", "precision", "analysis_timestamp", "summary", "subgraphs", "gaps"}
SUMMARY = {"total_ops", "calibrated", "approximated", "missing", "total_flops", "calibrated_flops", "coverage_percent"}
SUBGRAPH = {"id", "pattern", "flops", "primitives"}
PRIMITIVE = {"name", "type", "flops", "bytes", "calibration_status", "calibration_entry", "measured_efficiency",
             "match_quality", "suggested_proxy"}  # fmt: skip
GAP = {"operation_type", "count", "total_bytes", "suggested_calibration"}


def test_json_has_the_keys_that_were_agreed_and_no_others(report: Report) -> None:
    made = json.loads(text_of("coverage-json", report))
    assert set(made) == TOP and set(made["summary"]) == SUMMARY
    assert {frozenset(row) for row in made["subgraphs"]} == {frozenset(SUBGRAPH)}
    assert {frozenset(part) for row in made["subgraphs"] for part in row["primitives"]} == {frozenset(PRIMITIVE)}
    assert {frozenset(gap) for gap in made["gaps"]} == {frozenset(GAP)}
    assert (made["model"], made["hardware"], made["power_mode"]) == ("squeezenet1_1", "intel-core-i7-12700k", "")
    assert made["precision"] == "fp32" and datetime.fromisoformat(made["analysis_timestamp"]).tzinfo is not None


def test_json_says_of_each_primitive_what_it_stands_on(report: Report) -> None:
    made = json.loads(text_of("coverage-json", report))
    parts = [part for row in made["subgraphs"] for part in row["primitives"]]
    exact = next(part for part in parts if part["type"] == "conv2d_pointwise")
    assert (exact["calibration_status"], exact["match_quality"]) == ("CALIBRATED", "SIZE_INTERPOLATED")
    assert exact["calibration_entry"].startswith("conv_c=64_o=16_") and exact["measured_efficiency"] == 0.5
    pool = next(part for part in parts if part["type"] == "pool")
    assert (pool["calibration_status"], pool["suggested_proxy"]) == ("MISSING", "stream_copy")
    assert pool["calibration_entry"] is None and pool["measured_efficiency"] is None
    assert all(part["bytes"] > 0 for part in parts)
    for row in made["subgraphs"]:
        assert row["flops"] == sum(part["flops"] for part in row["primitives"])


def test_json_adds_up(report: Report) -> None:
    made = json.loads(text_of("coverage-json", report))
    total, parts = made["summary"], [part for row in made["subgraphs"] for part in row["primitives"]]
    assert total["calibrated"] + total["approximated"] + total["missing"] == total["total_ops"] > 60
    assert total["total_flops"] == sum(part["flops"] for part in parts) == report.total.flops
    calibrated = sum(part["flops"] for part in parts if part["calibration_status"] == "CALIBRATED")
    assert total["calibrated_flops"] == calibrated
    assert total["coverage_percent"] == pytest.approx(100 * calibrated / report.total.flops)


@pytest.mark.parametrize("gap", [Gemm, Elementwise])
def test_an_operator_is_as_good_as_the_worst_of_its_primitives(gap: type, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda kernel: predicted(1e-3),
         lambda primitive: Match(Quality.MISSING if isinstance(primitive, gap) else Quality.EXACT))  # fmt: skip
    made = coverage_report(graphs.run(PIPELINE, graphs.load(MODELS / "lstm_lm.onnx"), target=TARGET))
    lstm = next(kernel for kernel in made.kernels if kernel.pattern == "LSTM")
    statuses = {part.status for part in lstm.primitives}
    assert statuses == {Status.CALIBRATED, Status.MISSING} and len({part.name for part in lstm.primitives}) == 1
    parts = [(kernel.name, part) for kernel in made.kernels for part in kernel.primitives]
    missing = {(kernel, part.name) for kernel, part in parts if part.status is Status.MISSING}
    assert made.summary.ops_by[Status.MISSING] == len(missing) >= 2
    assert made.summary.ops == len({(kernel, part.name) for kernel, part in parts})


def test_csv_has_a_line_for_each_primitive(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(text_of("coverage-csv", report))))
    made = json.loads(text_of("coverage-json", report))
    parts = [part for row in made["subgraphs"] for part in row["primitives"]]
    assert [row["name"] for row in rows] == [part["name"] for part in parts]
    assert [row["calibration_status"] for row in rows] == [part["calibration_status"] for part in parts]
    assert {row["subgraph_status"] for row in rows} == {"CALIBRATED", "APPROXIMATED", "MISSING"}


def test_the_report_carries_evidence_and_accuracy_by_its_schema(report: Report) -> None:
    made = json.loads(text_of("json", report, View(coverage=True)))
    jsonschema.validate(made, SCHEMA)
    assert made["evidence"]["file"] == "/somewhere/toy.json" and made["evidence"]["layer"] == "your own"
    assert {risk["level"] for risk in made["accuracy"]["risks"]} <= {"HIGH", "MEDIUM", "LOW"}
    kernel = next(row for row in made["kernels"] if row["evidence"] == "measured")
    assert kernel["entry"] == "conv_c=64" and kernel["neighbours"] == 3 and kernel["confidence"] == "CALIBRATED"
    assert kernel["seconds_low"] < kernel["seconds"] < kernel["seconds_high"] and kernel["seconds_std"] > 0
    assert json.loads(text_of("json", report))["accuracy"] is None


def test_several_models_are_an_array(report: Report) -> None:
    made = emit("coverage-json", [report, report], View())
    assert isinstance(made, str) and [row["model"] for row in json.loads(made)] == ["squeezenet1_1"] * 2


# -- risks and gaps ----------------------------------------------------------------------------------------------------


def test_gaps_are_ordered_by_what_they_would_take_off_the_interval(report: Report) -> None:
    made = coverage_report(report)
    assert made.gaps[0].operation_type == "conv2d_pointwise"
    assert {gap.operation_type for gap in made.gaps} == {"conv2d_pointwise", "pool", "layout", "reduction"}
    assert made.gaps == tuple(sorted(made.gaps, key=lambda gap: gap.half_width_without))
    assert report.context is not None and report.context.evidence is not None
    estimator = report.context.evidence.estimator
    costed = costed_kernels(report.graph)
    whole = sum_of(costed, estimator)
    for gap in made.gaps:
        others = zip(report.graph.body, costed, strict=True)
        kept = [one for op, one in others if _type(op, report) != gap.operation_type]
        assert gap.half_width_without == pytest.approx(sum_of(kept, estimator).half_width / whole.seconds)
        assert gap.half_width == pytest.approx(whole.half_width / whole.seconds)
        assert f"--only={gap.operation_type} " in gap.command and "--target=intel-core-i7-12700k" in gap.command


def _type(op: Any, report: Report) -> str:
    from graphs.passes.calibrate import kernel_of

    return kernel_of(op, report.graph).operation_type


def test_a_risk_is_what_an_interval_reaches_of_the_total(report: Report) -> None:
    risks = {risk.operation_type: risk for risk in coverage_report(report).risks}
    assert risks["conv2d"].level is RiskLevel.MEDIUM and "measured: ±4 %" in risks["conv2d"].reason
    assert risks["conv2d_pointwise"].level is RiskLevel.HIGH and "extrapolated" in risks["conv2d_pointwise"].reason
    assert "stands on stream_copy" in risks["pool"].reason
    assert risks["layout"].level is RiskLevel.LOW and "nothing measured" in risks["layout"].reason
    assert sum(risk.share for risk in risks.values()) == pytest.approx(1.0)


def test_the_account_of_a_precision_names_it(squeezenet: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, rule, match)
    report = graphs.run(PIPELINE, squeezenet, target="jetson-orin-agx@30W", precision="fp16")
    made = coverage_report(report)
    assert (made.device, made.mode, made.precision) == ("jetson-orin-agx", "30W", "fp16")
    assert made.gaps[0].command.endswith("--target=jetson-orin-agx@30W --precision=fp16")


# -- for people --------------------------------------------------------------------------------------------------------


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


VIEWS = {
    "coverage": View(width=120),
    "coverage_narrow": View(width=72),
    "coverage_colour": View(width=120, color=True, top=2),
    "coverage_graph": View(width=100, order="graph", top=3),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_account_is_as_it_was(name: str, report: Report) -> None:
    check_golden(name, text_of("coverage", report, VIEWS[name]))


@pytest.mark.parametrize("width", range(60, 181, 13))
def test_no_line_is_wider_than_asked(width: int, report: Report) -> None:
    lines = text_of("coverage", report, View(width=width)).splitlines()
    commands = [line for line in lines if "graphs-calibrate" in line or "--target" in line]
    assert max(len(line) for line in lines if line not in commands) <= width


@pytest.mark.parametrize("model", ["bert_base", "lstm_lm", "shufflenet_v2_x1_0"])
def test_every_kernel_is_in_the_account(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, rule, match)
    report = graphs.run(PIPELINE, graphs.load(MODELS / f"{model}.onnx"), target=TARGET)
    made = coverage_report(report)
    assert [kernel.flops for kernel in made.kernels] == [kernel.flops for kernel in report.kernels]
    text = text_of("coverage", report, View(wide=True, order="graph"))
    assert "more kernel" not in text
    assert {kernel.pattern for kernel in made.kernels} == set(
        re.findall(r"(?m)^  (\w+) .* (?:CALIBR|APPROX|MISSING)", text)
    )


def test_nothing_measured_at_all_asks_for_everything(squeezenet: Graph) -> None:
    report = graphs.run("fuse,lower,calibrate{evidence=none},cost,coverage", squeezenet, target=TARGET)
    text = text_of("coverage", report)
    assert "graphs-calibrate measure --target=intel-core-i7-12700k " in text and "calibrated 0 (0 %)" in text
    assert "CALIBRATED" not in text and coverage_report(report).summary.coverage_percent == 0


def test_the_account_stands_below_the_table_of_who_names_the_pass(run: Run) -> None:
    named = run(f"--passes={PIPELINE}", f"--target={TARGET}", SQUEEZENET).out
    assert named.index("latency") < named.index("Calibration coverage: squeezenet1_1")
    assert "Calibration coverage" not in run(f"--target={TARGET}", SQUEEZENET).out
    quiet = run(f"--passes={PIPELINE}", f"--target={TARGET}", "-q", SQUEEZENET).out
    assert quiet.count("\n") == 1


def test_formats_of_the_account_go_where_they_are_sent(run: Run, tmp_path: Path) -> None:
    paths = [tmp_path / f"x.coverage.{suffix}" for suffix in ("txt", "json", "csv")]
    done = run(f"--target={TARGET}", *(word for path in paths for word in ("-o", path)), SQUEEZENET)
    assert (done.code, done.out) == (0, "")
    assert paths[0].read_text().startswith("Calibration coverage") and set(json.loads(paths[1].read_text())) == TOP
    assert paths[2].read_text().startswith("model,hardware,")
    alone = run(f"--target={TARGET}", "--emit=coverage-json", SQUEEZENET)
    assert set(json.loads(alone.out)) == TOP
    other = tmp_path / "y.json"
    assert run(f"--target={TARGET}", "--emit=coverage-json", "-o", other, SQUEEZENET).code == 0
    assert set(json.loads(other.read_text())) == TOP


def test_without_costs_there_is_nothing_to_account_for(run: Run) -> None:
    done = run("--passes=fuse,lower", "--emit=coverage", SQUEEZENET)
    assert done.code == 1 and "nothing was predicted" in done.err and "--passes=fuse,lower,cost" in done.err


def test_the_table_says_what_figures_stand_on(report: Report) -> None:
    text = text_of("table", report, View(width=120, top=40))
    assert "evidence" in text.splitlines()[2] and " extrapolated\n" in text and " first principles\n" in text
    line = next(line for line in text.splitlines() if line.startswith("  evidence"))
    assert "measured " in line and "your own: toy.json, 2026-01-31" in text


def test_an_explanation_shows_the_efficiency_and_what_it_stands_on(report: Report) -> None:
    from graphs.tools.explanation import explanation

    assert report.context is not None
    text = " ".join(explanation(report, "node_Conv_7", report.context.target, View()).split())
    cost = next(kernel for kernel in report.kernels if kernel.evidence == "measured")
    assert cost.efficiency is not None
    assert f"× {cost.efficiency:.3g}) =" in text
    assert "of the roofline: exact, 3 samples near, the nearest conv_c=64 your own: /somewhere/toy.json" in text
    assert "= 200 µs" in text and "log-normal, its logarithm ± 0.02" in text


# -- beside measurements -----------------------------------------------------------------------------------------------


def profile(model: Path, path: Path, seconds: Callable[[str], float]) -> Path:
    """A profile as onnxruntime writes it: two runs, the first of which is warm-up."""
    graph, target = graphs.load(model), load_target(TARGET)
    PassManager.parse("fuse,lower").run(graph, Context(target))
    events: list[dict[str, Any]] = []
    for slow in (10, 1):
        for one in described(graph, target):
            duration = round(1e6 * slow * seconds(one.kernel.operation_type))
            operator = one.kernel.pattern.split("_")[0]
            events.append({"cat": "Node", "name": f"{one.nodes[0]}_kernel_time", "dur": duration,
                           "args": {"op_name": operator}})  # fmt: skip
        events.append({"cat": "Session", "name": "model_run", "dur": 10_000, "args": {}})
    path.write_text(json.dumps(events))
    return path


def test_measurements_say_what_errs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = {"pool": 400e-6, "conv2d": 200e-6}
    measured = profile(SQUEEZENET, tmp_path / "profile.json", lambda name: true.get(name, 100e-6))
    fake(monkeypatch, lambda kernel: predicted(200e-6 if kernel.operation_type == "conv2d" else 100e-6), match)
    arguments = (f"--passes={PIPELINE}", f"--target={TARGET}", f"--measured={measured}", SQUEEZENET)
    text = run(*arguments).out
    assert "profile.json: predicted" in text and "MaxPool" in text
    made = json.loads(run(*arguments, "--emit=json").out)
    jsonschema.validate(made, SCHEMA)
    errors = made["accuracy"]["measured"]
    pools = [row for row in errors["operators"] if row["pattern"] == "MaxPool"]
    assert [row["error"] for row in pools] == pytest.approx([-0.75] * 3, abs=0.01)
    assert sum(row["share_of_error"] for row in pools) == pytest.approx(1.0, abs=0.02)
    assert errors["unmatched_kernels"] == 0
    pattern = next(row for row in errors["patterns"] if row["pattern"] == "MaxPool")
    assert pattern["kernels"] == 3 and pattern["mean_error"] == pytest.approx(0.75, abs=0.01)
    assert errors["patterns"][0] == pattern
    assert set(json.loads(run(*arguments, "--emit=coverage-json").out)) == TOP | {"measured"}


def test_measurements_of_another_model_are_refused(run: Run, tmp_path: Path) -> None:
    measured = profile(MODELS / "lstm_lm.onnx", tmp_path / "profile.json", lambda name: 1e-4)
    done = run(f"--target={TARGET}", f"--measured={measured}", SQUEEZENET)
    assert done.code == 1 and "profile of squeezenet1_1" in done.err
    broken = tmp_path / "broken.json"
    broken.write_text("[{")
    assert "broken.json" in run(f"--target={TARGET}", f"--measured={broken}", SQUEEZENET).err
    two = run(f"--target={TARGET}", f"--measured={measured}", SQUEEZENET, SQUEEZENET)
    assert two.code == 2 and "--measured is of one model" in two.err
    early = run("--passes=fuse", f"--measured={measured}", SQUEEZENET)
    assert early.code == 1 and "nothing was predicted" in early.err


def test_a_report_without_a_context_has_no_account(report: Report) -> None:
    with pytest.raises(GraphsError, match="nothing was predicted"):
        coverage_report(replace(report, context=None))


def test_statuses_have_an_order_from_sure_to_unsure() -> None:
    assert [status.name for status in Status] == ["CALIBRATED", "APPROXIMATED", "MISSING"]


def test_a_file_of_samples_will_do_as_well(squeezenet: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, lambda kernel: predicted(3e-4), match)
    target = load_target(TARGET)
    report = graphs.run("fuse,lower,cost", squeezenet, target=target)
    setting = Setting("intel-core-i7-12700k", "onnxruntime-cpu", "", "fp32")
    one = statistics([2e-4] * 9)
    lines = [header_line(setting, read_environment("onnxruntime-cpu", 1))]
    lines += [sample_line(Sample((made.kernel,), one, "profile", "squeezenet1_1", made.nodes), "squeezenet", {})
              for made in described(report.graph, target)]  # fmt: skip
    path = tmp_path / "host.samples.jsonl"
    path.write_bytes(b"".join(lines) + line({"done": "squeezenet"}))
    assert report.context is not None
    errors = measured_errors(report.graph, report.context, path)
    assert len(errors.kernels) == len(report.kernels) and errors.unmatched == 0
    assert errors.predicted / errors.measured == pytest.approx(1.5)
    assert {round(row.error, 6) for row in errors.kernels} == {0.5}
    other = replace(report.context, precision=graphs.DType.F16)
    with pytest.raises(CalibrationError, match=r"holds no samples of intel-core-i7-12700k:onnxruntime-cpu in fp16"):
        measured_errors(report.graph, other, path)
