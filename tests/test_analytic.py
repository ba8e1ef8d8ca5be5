"""The model of eager execution: it finds the machine that made the times, and says how far it can be trusted."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import log
from pathlib import Path

import numpy as np
import pytest
from calibrated import DEVICE, ROOT, Run, own_data_home, run_calibrate

from graphs.calibration.analytic import AnalyticEstimator, Campaign, Fitted, fit_campaigns, from_json, to_json
from graphs.calibration.analytic import Run as NetworkRun
from graphs.calibration.analytic.parameters import NAMES, prior
from graphs.calibration.errors import CalibrationError
from graphs.calibration.kernel import Kernel
from graphs.calibration.prediction import Quality
from graphs.calibration.profile import read_profile
from graphs.calibration.sample import Sample, Setting, Statistics
from graphs.calibration.store import path_of
from graphs.calibration.strict_json import Entry
from graphs.ir import DType
from graphs.ir.primitives import Conv, Elementwise, Gemm, Scan
from graphs.targets import load_target
from graphs.tools.calibrating.published import placed_by

__all__ = ["own_data_home", "run_calibrate"]

SETTINGS = {
    "cpu": Setting("some-cpu", "pytorch-eager", "", "fp32"),
    "gpu": Setting("some-gpu", "pytorch-eager", "30W", "fp32"),
}
PIECE = 3


def conv(channels: int, size: int, kernel: int) -> Kernel:
    made = Conv(1, channels, channels, (size, size), (size, size), (kernel, kernel), DType.F32)
    moved = 4 * channels * size * size
    return Kernel("Conv", (made,), 4 * channels * channels * kernel * kernel, moved, moved)


def relu(elements: int) -> Kernel:
    return Kernel("Relu", (Elementwise("relu", elements, DType.F32),), 0, 4 * elements, 4 * elements)


def linear(k: int, n: int) -> Kernel:
    return Kernel("Gemm", (Gemm(1, n, k, DType.F32, weight=True),), 4 * k * n, 4 * k, 4 * n)


def network(seed: int) -> list[Kernel]:
    draw = np.random.default_rng(seed)
    kernels: list[Kernel] = []
    for size in (56, 28, 14, 7):
        channels = int(draw.integers(2, 24)) * 16
        for kernel in draw.choice([1, 3], 4):
            kernels += [conv(channels, size, int(kernel)), relu(channels * size * size)]
    swept = sum(kernel.weight_bytes for kernel in kernels)
    return [replace(kernel, swept_bytes=swept) for kernel in [*kernels, linear(2048, 1000), linear(1000, 10)]]


def machine(device_class: str) -> AnalyticEstimator:
    """A machine that differs from what is expected of its class by a factor of 1.6 or so either way."""
    mean, spread = prior(device_class, "fp32")
    draw = np.random.default_rng(7)
    return AnalyticEstimator(
        device_class, mean + np.where(spread > 0.5, draw.choice([-0.5, 0.5], len(mean)), 0), PIECE, 0, 0, {}
    )


def timed(kernels: Sequence[Kernel], name: str, device_class: str) -> NetworkRun:
    seconds = machine(device_class).seconds(kernels)
    samples = []
    for start in range(0, len(kernels), PIECE):
        took = float(seconds[start : start + PIECE].sum())
        statistics = Statistics(20, took, took, 0.0, took, took, took, took)
        samples.append(Sample(tuple(kernels[start : start + PIECE]), statistics, "subgraph", name))
    return NetworkRun(name, tuple(samples))


@cache
def fitted(device_class: str) -> Fitted:
    runs = tuple(timed(network(seed), f"net{seed}", device_class) for seed in range(6))
    campaign = Campaign("c", SETTINGS[device_class], device_class, runs)
    return fit_campaigns([campaign])[campaign.key]


@pytest.mark.parametrize("device_class", ["cpu", "gpu"])
def test_networks_left_out_are_predicted_on_a_machine_of_this_sort(device_class: str) -> None:
    errors = [one.error for one in fitted(device_class).left_out.values()]
    assert len(errors) == 6 and np.mean(np.abs(errors)) < 0.04, errors
    assert fitted(device_class).estimator.shared_std < 0.1


@pytest.mark.parametrize("device_class", ["cpu", "gpu"])
def test_a_network_takes_what_its_kernels_take(device_class: str) -> None:
    estimator, kernels = fitted(device_class).estimator, network(99)
    total = estimator.total(kernels)
    assert total.seconds == pytest.approx(sum(one.seconds for one in estimator.predict(kernels)))
    assert total.low < total.seconds < total.high
    assert total.seconds == pytest.approx(machine(device_class).seconds(kernels).sum(), rel=0.08)


def test_what_was_measured_of_a_kind_is_told() -> None:
    estimator = fitted("cpu").estimator
    known, between, beyond = network(0)[0], conv(100, 21, 3), conv(4096, 56, 3)
    scan = Kernel("Cumsum", (Scan("cumsum", 1000, DType.F32),), 0, 4000, 4000)
    strange = replace(scan, primitives=(Gemm(8, 8, 8, DType.F32),))
    qualities = [one.quality for one in estimator.predict([known, between, beyond, strange])]
    assert qualities == [Quality.EXACT, Quality.SIZE_INTERPOLATED, Quality.SIZE_EXTRAPOLATED, Quality.MISSING]
    assert estimator.predict([known])[0].entry.startswith("conv_c=")
    assert estimator.total([known, strange]).seconds < sum(estimator.seconds([known, strange]))


def test_evidence_holds_the_estimator() -> None:
    estimator, kernels = fitted("gpu").estimator, network(3)
    again = from_json(Entry(json.loads(json.dumps(to_json(estimator))), "file", "estimator"))
    assert np.allclose(again.seconds(kernels), estimator.seconds(kernels), rtol=1e-3)
    assert again.kinds == estimator.kinds


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("device_class", "abacus", "one of cpu, gpu"),
        ("launches", 0, "above zero"),
        ("shared_std", -1, "from 0 to 10"),
        ("parameters", {}, "is missing"),
        ("parameters", {**dict.fromkeys(NAMES, 1.0), "far_byte": 0}, "from 1e-40"),
        ("kinds", {"conv2d": {"samples": 1, "least": [1], "most": [1, 2], "entries": []}}, "FLOPs and bytes"),
    ],
)
def test_an_estimator_that_cannot_be_is_refused(key: str, value: object, says: str) -> None:
    written = {**to_json(fitted("cpu").estimator), key: value}
    with pytest.raises(CalibrationError) as refused:
        from_json(Entry(written, "file", "estimator"))
    assert says in f"{refused.value} {refused.value.help}" and "estimator." in str(refused.value)


def test_nothing_to_fit_is_refused() -> None:
    with pytest.raises(CalibrationError, match="no runs"):
        fit_campaigns([Campaign("c", SETTINGS["cpu"], "cpu", ())])


# -- a table of subgraphs ---------------------------------------------------------------------------------------------

HEADER = (
    "hardware,runtime,precision,model,batch,date,subgraph_id,fusion_pattern,operation_type,flops,total_bytes,"
    "theoretical_peak_flops,latency_mean_ms,latency_std_ms,latency_min_ms,latency_max_ms,samples,node_names"
)
MODEL = ROOT / "examples" / "models" / "resnet18_eager.onnx"


def table(path: Path, hardware: str) -> None:
    """A campaign of one network, a row for each convolution with what follows it."""
    placed = placed_by({"resnet18_eager": MODEL}, load_target("intel-core-i7-12700k:pytorch-eager"))
    kernels = placed("resnet18_eager", "fp32")
    assert kernels is not None
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER.split(","))
        for number, one in enumerate(kernels):
            if one.operator in ("Conv", "BatchNormalization"):
                sizes = [one.kernel.flops, one.kernel.bytes, 1e12]
                ms = 1e3 * (1e-5 + one.kernel.flops / 2e11)
                which = [hardware, "pytorch-eager", "FP32", "resnet18_eager", 1, "2026-02-05", number, "x", "conv2d"]
                rows.writerow([*which, *sizes, ms, 0.01, ms, ms, 20, one.module.replace(".", "_")])


def test_a_table_becomes_evidence_that_predicts(run: Run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    table(rows, "i7_12700K")
    code, _, told = run("import", str(rows), "--models", str(MODEL))
    assert code == 0, told
    profile = read_profile(path_of(DEVICE))
    assert profile.estimator["method"] == "analytic" and profile.validation is None
    assert abs(log(profile.estimator["launches"])) < 0.1
