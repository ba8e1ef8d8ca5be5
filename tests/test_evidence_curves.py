"""Curves fitted to observations, kernels predicted from curves, primitives matched to evidence."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from graphs.calibration.curve import Curve, DataPoint, FittedCurve
from graphs.calibration.curves import CurveEstimator, share_of
from graphs.calibration.errors import CalibrationError
from graphs.calibration.fitting import cross_validation_folds, fit_curves
from graphs.calibration.kernel import OPERATION_TYPES, Kernel, entry
from graphs.calibration.lookup import Evidence, match, moved_bytes, sizes_of
from graphs.calibration.observations import Observation, bin_of, data_points, observations_of, pooled_variance
from graphs.calibration.prediction import Confidence, Quality
from graphs.calibration.profile import Profile
from graphs.calibration.proxies import proxies_of, read_proxies
from graphs.calibration.roofline import Roofline
from graphs.calibration.sample import Sample, Setting, Statistics
from graphs.ir import DType
from graphs.ir.primitives import (
    Conv,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Normalization,
    Reduction,
    Scan,
    Softmax,
    Unknown,
    Window,
)

PEAK = 1e12
F32 = DType.F32

DEVICE = """
schema: 1
name: plain
class: cpu
runtimes: [./runtime.yaml]
units:
  all: {runs: all, clock: 1 GHz, per_cycle: {fp32: 1000 flop}}
memories:
  dram: {size: 64 GB, bandwidth: 75 GB/s}
"""
RUNTIME = """
schema: 1
name: runtime
device_classes: [cpu]
dispatch: {cpu: 0 us}
concurrency: serial
precisions: [fp32]
views: free
fuse: []
efficiency:
  cpu:
    default: {compute: [0.1, 0.2, 0.4], memory: [0.999, 1.0, 1.0]}
"""


@pytest.fixture
def roofline(tmp_path: Path) -> Roofline:
    from graphs.targets import load_target

    (tmp_path / "plain.yaml").write_text(DEVICE)
    (tmp_path / "runtime.yaml").write_text(RUNTIME)
    return Roofline.of(load_target(tmp_path / "plain.yaml"))


def observed(size: float, efficiency: float, model: str = "", std: float = 0.0, kind: str = "matmul") -> Observation:
    seconds = size / (efficiency * PEAK)
    return Observation(kind, size, seconds, std * seconds, 10, model, "MatMul")


def curve(name: str, *pairs: tuple[float, float], std: float = 0.0) -> Curve:
    points = tuple(DataPoint(x, y, std * y, y, y, y, y, 1, "measured") for x, y in pairs)
    return Curve(name, "", points, FittedCurve("piecewise_linear", pairs, 1.0, 0.0, 0.0), pairs[0][0], pairs[-1][0])


def profile(*curves: Curve, bandwidth: tuple[Curve, ...] = (), samples: tuple[Sample, ...] = ()) -> Profile:
    return Profile("plain", "plain", "cpu", "FP32", "2026-01-01", "test", {row.operation_type: row for row in curves},
                   {row.operation_type: row for row in bandwidth}, samples=samples,
                   setting=Setting("plain", "runtime", "", "fp32"))  # fmt: skip


def product(m: int, k: int, n: int) -> Kernel:
    return Kernel("MatMul", (Gemm(m, n, k, F32, weight=True),), 4 * k * n, 4 * m * k, 4 * m * n)


def add(elements: int) -> Kernel:
    return Kernel("Add", (Elementwise("Add", elements, F32),), 0, 8 * elements, 4 * elements)


def sample(kernel: Kernel, seconds: float, spread: float = 0.01) -> Sample:
    times = Statistics(9, seconds, seconds, spread * seconds, 0.9 * seconds, 1.1 * seconds, seconds, seconds)
    return Sample((kernel,), times, "microbenchmark")


# -- data points ------------------------------------------------------------------------------------------------------


def test_bins_are_half_decades() -> None:
    sizes = {1e6: (6, 0), 2.99e6: (6, 0), 3e6: (6, 1), 9.99e6: (6, 1), 1e7: (7, 0), 3e7: (7, 1), 500.0: (2, 1)}
    assert {size: bin_of(size) for size in sizes} == sizes


def test_variance_within_and_between_models_adds_up_to_all() -> None:
    groups = [[1.0, 2.0, 4.0], [10.0], [5.0, 7.0]]
    values = [value for group in groups for value in group]
    mean, within, between = pooled_variance(groups)
    assert mean == pytest.approx(sum(values) / 6)
    assert within + between == pytest.approx(sum((v - mean) ** 2 for v in values) / 5)
    assert within == pytest.approx(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2 + 1 + 1) / 5)
    assert pooled_variance([[3.0]]) == (3.0, 0.0, 0.0)


def test_models_that_differ_widen_the_interval_more_than_kernels_that_do() -> None:
    rows = [0.4, 0.42, 0.5, 0.52, 0.6, 0.62]
    alike = [observed(1e8, e, "abcabc"[i]) for i, e in enumerate(rows)]
    apart = [observed(1e8, e, "aabbcc"[i]) for i, e in enumerate(rows)]
    (mixed,), (split,) = data_points(alike, PEAK), data_points(apart, PEAK)
    assert mixed.efficiency_mean == pytest.approx(split.efficiency_mean) == pytest.approx(0.51)
    assert mixed.efficiency_std == pytest.approx(split.efficiency_std)
    assert split.ci_upper - split.ci_lower > 1.2 * (mixed.ci_upper - mixed.ci_lower)
    assert (split.num_observations, split.num_samples, split.source_models) == (6, 60, ("a", "b", "c"))


@pytest.mark.parametrize("bad", [(0.0, 1.0), (1e6, 0.0), (1e6, -1.0), (1e6, math.nan), (math.inf, 1.0)])
def test_an_observation_without_a_size_or_time_is_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(CalibrationError, match="above zero"):
        Observation("matmul", *bad)


def test_samples_become_observations_over_flops_and_bytes(roofline: Roofline) -> None:
    two = Sample((add(10), add(10)), sample(add(10), 1.0).seconds, "subgraph")
    compute, memory = observations_of([sample(product(999, 999, 999), 1.0), sample(add(1000), 1e-6), two], roofline)
    assert [(row.operation_type, row.size) for row in compute] == [("matmul", 2 * 999**3), ("elementwise", 1000)]
    assert [(row.operation_type, row.size) for row in memory] == [("elementwise", 12_000)]


# -- fits -------------------------------------------------------------------------------------------------------------


def truth(form: str, size: float) -> float:
    x = math.log10(size)
    if form == "log_linear":
        return 0.1 * (x - 5)
    if form == "sigmoid":
        return 0.05 + 0.7 / (1 + math.exp(-3 * (x - 8)))
    return 0.3 + 0.3 * (1 - abs((x - 6) % 2 - 1))


@pytest.mark.parametrize("form", ["piecewise_linear", "log_linear", "sigmoid"])
def test_cross_validation_finds_the_form_that_made_the_data(form: str) -> None:
    noise = random.Random(3)
    rows = []
    for model in "abc":
        for i in range(40):
            size = 10 ** (6 + 4 * i / 39)
            rows.append(observed(size, truth(form, size) * math.exp(noise.gauss(0, 0.02)), model, 0.01))
    made = fit_curves(rows, PEAK)["matmul"]
    assert made.fitted_curve.curve_type == form
    assert made.fitted_curve.r_squared > 0.9
    for x in (6.6, 7.5, 8.1, 9.4):
        assert made.efficiency(10**x) == pytest.approx(truth(form, 10**x), rel=0.06)
    assert 0 < made.fitted_curve.residual_std <= made.fitted_curve.max_residual
    noise.shuffle(rows)
    assert fit_curves(rows, PEAK)["matmul"] == made


def test_parameters_have_intervals_that_hold_the_truth() -> None:
    noise = random.Random(5)
    inside = []
    for _ in range(30):
        rows = [
            observed(1e6, 0.1 + noise.gauss(0, 0.01), "m", 0.1),
            observed(2e6, 0.13 + noise.gauss(0, 0.01), "m", 0.08),
        ]
        rows += [observed(10.0**x, 0.1 * (x - 5) + noise.gauss(0, 0.01), "m", 0.05) for x in (7, 8, 9)]
        fitted = fit_curves(rows, PEAK)["matmul"].fitted_curve
        if fitted.curve_type == "log_linear":
            slope = fitted.parameters[1]
            inside.append(slope.ci_lower <= 0.1 <= slope.ci_upper)
    assert len(inside) > 10
    assert sum(inside) / len(inside) > 0.8


def test_exact_timings_weigh_more() -> None:
    sure = [observed(1e6, 0.2, "", 0.001), observed(1e7, 0.3, "", 0.001), observed(1e8, 0.4, "", 0.001)]
    vague = [
        observed(1e6 * 1.001, 0.3, "", 0.3),
        observed(1e7 * 1.001, 0.4, "", 0.3),
        observed(1e8 * 1.001, 0.5, "", 0.3),
    ]
    plain = [replace(row, std=0.001 * row.seconds) for row in vague]
    weighted, equal = fit_curves([*sure, *vague], PEAK)["matmul"], fit_curves([*sure, *plain], PEAK)["matmul"]
    assert 0.3 <= weighted.efficiency(1e7) < equal.efficiency(1e7)


def test_models_are_held_out_whole_where_there_are_three() -> None:
    rows = [observed(1e6 + i, 0.5, "abc"[i % 3]) for i in range(9)]
    assert cross_validation_folds(rows) == ((0, 3, 6), (1, 4, 7), (2, 5, 8))
    assert cross_validation_folds(rows[:2]) == ((0,), (1,))
    assert cross_validation_folds(rows[:1]) == ()


def test_one_observation_is_a_level_curve() -> None:
    made = fit_curves([observed(1e6, 0.5)], PEAK)["matmul"]
    assert made.fitted_curve.breakpoints == ((1e6, pytest.approx(0.5)),)
    assert made.efficiency(1.0) == made.efficiency(1e12) == pytest.approx(0.5)


def test_a_curve_is_linear_in_log_flops_and_level_outside() -> None:
    made = curve("matmul", (1e6, 0.2), (1e8, 0.6))
    assert made.efficiency(1e7) == pytest.approx(0.4)
    assert (made.efficiency(1e3), made.efficiency(1e12)) == (0.2, 0.6)
    assert made.relative_std(1e7) == pytest.approx(0.0)
    assert made.relative_std(1e9) == pytest.approx(0.2 / 0.6)


# -- predictions ------------------------------------------------------------------------------------------------------


def test_a_measured_product_takes_0_27_of_the_time_at_the_default_efficiency(roofline: Roofline) -> None:
    shares = {512: 0.560, 1024: 0.708, 2048: 0.730, 4096: 0.791}
    evidence = profile(curve("matmul", *((2.0 * n**3, share) for n, share in shares.items())))
    estimator, kernel = CurveEstimator(evidence, roofline), product(2048, 2048, 2048)
    terms = estimator.terms(kernel)
    assert terms.compute_seconds / roofline.bounds(kernel).default_compute_seconds == pytest.approx(0.27, abs=0.005)
    (made,) = estimator.predict([kernel])
    assert made.seconds == pytest.approx(2 * 2048**3 / (PEAK * 0.73))
    assert (made.quality, made.curve) == (Quality.EXACT, "matmul")
    fitted = fit_curves([observed(2 * n**3, share) for n, share in shares.items()], PEAK)["matmul"]
    assert CurveEstimator(profile(fitted), roofline).terms(kernel).compute_seconds == pytest.approx(
        terms.compute_seconds, rel=0.02
    )


def test_measured_bandwidth_lengthens_a_memory_bound_kernel(roofline: Roofline) -> None:
    evidence = profile(bandwidth=(curve("generic", (1e9, 51.6 / 75)),))
    kernel = add(10**7)
    before, (after,) = roofline.bounds(kernel), CurveEstimator(evidence, roofline).predict([kernel])
    assert after.seconds / before.default_seconds == pytest.approx(75 / 51.6)
    assert after.quality is Quality.OP_APPROXIMATED


@pytest.mark.parametrize(
    ("size", "quality"),
    [(60, Quality.SIZE_EXTRAPOLATED), (200, Quality.SIZE_INTERPOLATED), (5000, Quality.SIZE_EXTRAPOLATED)],
)
def test_quality_says_whether_the_size_was_measured(size: int, quality: Quality, roofline: Roofline) -> None:
    evidence = profile(curve("matmul", (2e6, 0.3), (2e9, 0.8), std=0.05))
    (made,) = CurveEstimator(evidence, roofline).predict([product(size, size, size)])
    assert made.quality is quality
    assert (made.std > 0.0501) == (quality is Quality.SIZE_EXTRAPOLATED)


def test_stand_ins_go_before_the_generic_curve_and_are_less_certain() -> None:
    curves = {row.operation_type: row for row in (curve("matmul", (1e6, 0.5)), curve("generic", (1e6, 0.1)))}
    proxied, generic = share_of(curves, "conv2d", 1e6), share_of(curves, "gather", 1e6)
    assert proxied is not None and generic is not None
    assert (proxied.curve, proxied.efficiency, proxied.proxy.reason[:14]) == ("matmul", 0.5, "gemm by im2col")
    assert (generic.curve, generic.efficiency) == ("generic", 0.1)
    assert 0 < proxied.std < generic.std
    tiny = {**curves, "generic_tiny": curve("generic_tiny", (1e3, 0.01))}
    assert share_of(tiny, "gather", 500.0).curve == "generic_tiny"
    assert share_of(tiny, "gather", 1e6).curve == "generic"
    assert share_of({}, "gather", 1e6) is None


def test_weights_come_from_where_all_of_them_fit(roofline: Roofline) -> None:
    cached = curve("matmul", (1e6, 4.0), (1e8, 0.5))
    kernel = product(1, 500, 500)
    alone, swept = CurveEstimator(profile(bandwidth=(cached,)), roofline).predict(
        [kernel, replace(kernel, swept_bytes=10**8)]
    )
    assert swept.seconds / alone.seconds == pytest.approx(8.0, rel=0.01)


def test_no_kernel_takes_less_than_its_launch(roofline: Roofline, tmp_path: Path) -> None:
    from graphs.targets import load_target

    (tmp_path / "runtime.yaml").write_text(RUNTIME.replace("0 us", "5 us"))
    slow = Roofline.of(load_target(tmp_path / "plain.yaml"))
    estimator = CurveEstimator(profile(curve("matmul", (2e6, 0.3))), slow)
    small, large = estimator.predict([product(10, 10, 10), product(999, 999, 999)])
    assert small.seconds == pytest.approx(5e-6)
    assert large.seconds == pytest.approx(2 * 999**3 / (PEAK * 0.3))
    (unknown,) = estimator.predict([add(10**6)])
    assert unknown.seconds == pytest.approx(12e6 / 75e9 + 5e-6)


def test_a_term_that_was_measured_with_the_other_is_at_its_bound(roofline: Roofline) -> None:
    heavy = Kernel("Gelu", (Elementwise("Gelu", 10**6, F32, per_element=100),), 0, 4 * 10**6, 4 * 10**6)
    by_bytes = CurveEstimator(profile(bandwidth=(curve("elementwise", (8e6, 0.9)),)), roofline)
    assert by_bytes.terms(heavy).compute_seconds == pytest.approx(1e8 / PEAK)
    wide = product(1, 4000, 4000)
    own, proxied = (
        CurveEstimator(profile(curve(name, (3.2e7, 5.0))), roofline) for name in ("matmul", "matmul_activation")
    )
    assert own.terms(wide).memory_seconds == pytest.approx(roofline.bounds(wide).memory_seconds)
    assert own.predict([wide])[0].quality is Quality.OP_APPROXIMATED
    assert proxied.terms(wide).memory_seconds == pytest.approx(roofline.bounds(wide).default_memory_seconds)


def test_a_single_kernel_is_as_uncertain_as_its_neighbours_are_wrong_about_it() -> None:
    made = curve("matmul", (1e6, 0.2), (1e7, 0.5), (1e8, 0.6))
    assert made.relative_std(1e7) == pytest.approx(0.1 / 0.5)
    assert made.relative_std(1e6) == pytest.approx(0.1 / 0.5)


def test_what_nothing_speaks_for_is_missing_and_left_out_of_the_total(roofline: Roofline) -> None:
    estimator = CurveEstimator(profile(curve("matmul", (2e6, 0.3), std=0.1)), roofline)
    known, unknown = product(100, 100, 100), Kernel("Softmax", (Softmax(64, 1000, F32),), 0, 256_000, 256_000)
    first, second = estimator.predict([known, unknown])
    assert (first.quality, second.quality) == (Quality.EXACT, Quality.MISSING)
    assert second.seconds == pytest.approx(roofline.bounds(unknown).default_seconds)
    assert estimator.total([known, unknown]).seconds == pytest.approx(first.seconds)
    assert estimator.total([unknown]).seconds == 0.0


def test_errors_of_one_curve_add_and_those_of_two_do_not(roofline: Roofline) -> None:
    both = CurveEstimator(
        profile(curve("matmul", (2e6, 0.3), std=0.1), bandwidth=(curve("elementwise", (120_000, 0.5), std=0.1),)),
        roofline,
    )
    one, other = product(100, 100, 100), add(10_000)
    alike = both.total([one, one])
    count = round(both.predict([one])[0].seconds / both.predict([other])[0].seconds)
    mixed = both.total([one, *[other] * count])
    assert math.log(alike.high / alike.seconds) == pytest.approx(1.96 * math.sqrt(math.log1p(0.01)), rel=1e-3)
    assert math.log(mixed.high / mixed.seconds) == pytest.approx(
        math.log(alike.high / alike.seconds) / math.sqrt(2), rel=0.05
    )


# -- matching ---------------------------------------------------------------------------------------------------------


def evidence_of(roofline: Roofline, *samples: Sample, curves: tuple[Curve, ...] = ()) -> Evidence:
    return Evidence(profile(*curves, samples=samples), roofline)


def test_a_match_says_how_near_the_nearest_measurement_is(roofline: Roofline) -> None:
    measured = [product(m, k, 768) for m in (49, 197, 512) for k in (256, 3072)]
    known = evidence_of(roofline, *(sample(one, 2.5 * roofline.bounds(one).seconds, 0.04) for one in measured))
    exact = match(Gemm(197, 768, 256, F32, weight=True), known)
    assert (exact.quality, exact.entry, exact.confidence) == (
        Quality.EXACT,
        "gemm_m=197_k=256_n=768",
        Confidence.CALIBRATED,
    )
    assert (exact.efficiency, exact.std) == (pytest.approx(0.4), pytest.approx(0.016))
    near = match(Gemm(200, 768, 300, F32, weight=True), known)
    assert (near.quality, near.entry) == (Quality.SIZE_INTERPOLATED, "gemm_m=197_k=256_n=768")
    assert near.efficiency == pytest.approx(0.4)
    far = match(Gemm(200, 769, 300, F32, weight=True), known)
    assert (far.quality, far.confidence) == (Quality.SIZE_EXTRAPOLATED, Confidence.INTERPOLATED)
    proxied = match(Conv(1, 64, 64, (14, 14), (14, 14), (3, 3), F32), known)
    assert (proxied.quality, proxied.proxy) == (Quality.OP_APPROXIMATED, "matmul")
    assert proxied.std > near.std
    assert match(Gemm(197, 768, 256, DType.F16, weight=True), known).quality is Quality.MISSING
    half = Kernel("MatMul", (Gemm(8, 8, 8, DType.F16, weight=True),), 128, 128, 128)
    assert match(Gemm(8, 8, 8, F32, weight=True), evidence_of(roofline, sample(half, 1e-3))).quality is Quality.MISSING


def test_an_entry_s_efficiency_is_its_share_of_the_roofline(roofline: Roofline) -> None:
    known = evidence_of(roofline, sample(add(10**6), 12e6 / 75e9 * 1.25))
    assert match(Elementwise("Relu", 10**6, F32), known).efficiency == pytest.approx(0.8)


def test_what_is_missing_names_what_to_measure(roofline: Roofline) -> None:
    nothing = evidence_of(roofline)
    made = match(Softmax(10, 100, F32), nothing)
    assert (made.quality, made.proxy, made.efficiency) == (Quality.MISSING, "stream_copy", None)
    assert match(Unknown("no lowering"), nothing).reason == "no lowering"


def test_curves_speak_where_there_are_no_entries(roofline: Roofline) -> None:
    known = evidence_of(roofline, curves=(curve("matmul", (2e6, 0.5)),))
    assert match(Gemm(100, 100, 100, F32, weight=True), known).entry == "curve matmul"
    assert match(Gemm(100, 100, 100, F32, weight=True), known).quality is Quality.EXACT
    assert match(Conv(1, 8, 8, (8, 8), (8, 8), (3, 3), F32), known).quality is Quality.OP_APPROXIMATED
    assert match(Gemm(100, 100, 100, DType.F16, weight=True), known).quality is Quality.MISSING


def test_the_nearest_entries_are_those_nearest_in_every_size(roofline: Roofline) -> None:
    draw = random.Random(7)
    measured = [product(*(draw.randrange(1, 4000) for _ in range(3))) for _ in range(300)]
    known = evidence_of(roofline, *(sample(one, 1e-3) for one in measured))
    for _ in range(50):
        asked = Gemm(draw.randrange(1, 4000), draw.randrange(1, 4000), draw.randrange(1, 4000), F32, weight=True)
        nearest = min(measured, key=lambda one: math.dist(sizes_of(one.primitives[0]), sizes_of(asked)))
        assert match(asked, known).entry == entry(nearest.primitives[0])
        assert match(asked, known) is match(asked, known)


def test_every_operation_type_has_a_stand_in() -> None:
    for name in OPERATION_TYPES:
        assert proxies_of(name), name
        assert all(0 < row.confidence < 1 and row.reason and row.std > 0 for row in proxies_of(name))
    assert proxies_of("no such type") == ()
    attention = next(row for row in proxies_of("attention") if row.name == "matmul × 4 + softmax")
    assert attention.efficiency({"matmul": 0.5, "softmax": 0.1}) == pytest.approx(5 / (4 / 0.5 + 1 / 0.1))
    assert attention.efficiency({"matmul": 0.5}) is None


@pytest.mark.parametrize(
    "text",
    ["- a", "a: {use: b}", "a: [{use: b, confidence: 0.5}]", "a: [{use: b, confidence: 2.0, reason: c}]",
     "a: [{use: {b: 0}, confidence: 0.5, reason: c}]"],
)  # fmt: skip
def test_stand_ins_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(CalibrationError, match=r"proxies\.yaml:1"):
        read_proxies(text, "proxies.yaml")


@pytest.mark.parametrize(
    ("primitive", "elements"),
    [
        (Gemm(2, 3, 5, F32, batch=4), 4 * (10 + 15 + 6)),
        (Conv(2, 4, 8, (6, 6), (3, 3), (3, 3), F32, (2, 2), groups=2), 2 * (4 * 36 + 8 * 9) + 2 * 8 * 9),
        (Elementwise("Relu", 10, F32), 20),
        (Copy(10, F32), 20),
        (Scan("sum", 10, F32), 20),
        (Softmax(2, 5, F32), 20),
        (Normalization(2, 5, F32), 20),
        (Reduction("sum", 10, 2, F32), 12),
        (Window("max", 10, 4, F32), 50),
        (Gather(2, 5, F32), 20),
        (Unknown("?"), 0),
    ],
    ids=lambda value: getattr(value, "tag", ""),
)
def test_least_traffic_of_a_primitive(primitive: object, elements: int) -> None:
    assert moved_bytes(primitive) == elements * 4
    assert all(size >= 0 for size in sizes_of(primitive))
