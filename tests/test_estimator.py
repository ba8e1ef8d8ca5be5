"""The estimator: right on a machine made up for the purpose, and sure of what it can be sure of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from math import log
from typing import Any

import numpy as np
import pytest
from made_up_machine import (
    LAUNCH,
    PROFILER,
    elementwise,
    evidence,
    gemm,
    held_out,
    kernels,
    made,
    measurements,
    network,
    read,
    roofline,
    sample,
    true_seconds,
    whole,
    written,
)

from graphs.calibration.amounts import amounts
from graphs.calibration.curves import CurveEstimator
from graphs.calibration.estimator import RatesEstimator, estimator_for, fit, fitted
from graphs.calibration.features import features
from graphs.calibration.kernel import Kernel
from graphs.calibration.prediction import NORMAL_95, Estimator, Quality
from graphs.calibration.processor import Processor
from graphs.calibration.profile import parse_profile, print_profile
from graphs.calibration.rates import Rates
from graphs.calibration.residual import Residual, ResidualData, fit_residual
from graphs.ir import DType
from graphs.ir.primitives import Conv, Elementwise, Gemm, Scan, Unknown


@cache
def fit_and_progress() -> tuple[RatesEstimator, list[float]]:
    told: list[float] = []
    return fitted(measurements(), roofline(), told.append), told


def estimator() -> RatesEstimator:
    return fit_and_progress()[0]


def errors(estimator: Estimator, asked: Sequence[Kernel]) -> np.ndarray[Any, Any]:
    made = estimator.predict(asked)
    return np.array([log(each.seconds / true_seconds(kernel)) for each, kernel in zip(made, asked, strict=True)])


# -- accuracy ---------------------------------------------------------------------------------------------------------


def test_kernels_that_were_not_measured_are_predicted_by_their_shape() -> None:
    off = np.abs(errors(estimator(), held_out()))
    assert np.median(off) < 0.025
    assert np.quantile(off, 0.9) < 0.06


def test_rates_alone_miss_what_shapes_explain() -> None:
    """Shapes say something on this machine; were the process lost, accuracy would fall to that of the rates."""
    asked = held_out()
    rates = np.array([log(estimator().rates.seconds(kernel) / true_seconds(kernel)) for kernel in asked])
    assert np.median(np.abs(rates)) > 1.5 * np.median(np.abs(errors(estimator(), asked)))


def networks(count: int) -> list[list[Kernel]]:
    random = np.random.default_rng(3)
    return [network(random, list(kernels(random, 4)), 25) for _ in range(count)]


def test_networks_that_were_not_measured_are_predicted_with_an_honest_interval() -> None:
    asked = networks(60)
    totals = [estimator().total(parts) for parts in asked]
    truths = [whole(parts) for parts in asked]
    assert np.mean([abs(total.seconds / truth - 1) for total, truth in zip(totals, truths, strict=True)]) < 0.015
    held = np.mean([total.low <= truth <= total.high for total, truth in zip(totals, truths, strict=True)])
    assert 0.9 <= held <= 1.0
    assert np.median([total.high / total.seconds for total in totals]) < 1.06


def test_what_the_profiler_adds_is_taken_off() -> None:
    tiny = [kernel for kernel in held_out() if true_seconds(kernel) < 5 * LAUNCH]
    off = errors(estimator(), tiny)
    with_profiler = [log((true_seconds(kernel) + PROFILER) / true_seconds(kernel)) for kernel in tiny]
    assert abs(np.mean(off)) < 0.25 * np.mean(with_profiler)
    alone = [row for row in measurements() if row.source == "microbenchmark"]
    assert np.mean(errors(fitted(alone, roofline()), tiny)) > 0.75 * np.mean(with_profiler)


def test_groups_of_kernels_are_evidence_for_each_of_them() -> None:
    random = np.random.default_rng(4)
    drawn = list(kernels(random, 40))
    groups = [drawn[i : i + 2] for i in range(0, len(drawn), 2)]
    found = fitted([sample(group, whole(group), "subgraph") for group in groups], roofline())
    assert not found.residuals
    assert np.median(np.abs(errors(found, held_out()))) < 0.25
    assert {made.quality for made in found.predict(held_out())} == {Quality.OP_APPROXIMATED}


def test_whole_networks_alone_predict_networks() -> None:
    random = np.random.default_rng(5)
    pool = list(kernels(random, 40))
    measured_networks = [network(random, pool, 15) for _ in range(60)]
    rows = [sample(parts, whole(parts), "network", f"net{i}") for i, parts in enumerate(measured_networks)]
    found = fitted(rows, roofline())
    off = [abs(found.total(parts).seconds / whole(parts) - 1) for parts in networks(20)]
    assert np.mean(off) < 0.15


def test_disturbed_measurements_do_not_spoil_the_others() -> None:
    random = np.random.default_rng(6)
    disturbed = [
        replace(row, seconds=sample((), 6 * row.seconds.median).seconds) if random.uniform() < 0.04 else row
        for row in measurements()
        if row.source == "microbenchmark"
    ]
    networks = [row for row in measurements() if row.source != "microbenchmark"]
    off = np.abs(errors(fitted([*disturbed, *networks], roofline()), held_out()))
    assert np.median(off) < 0.035
    assert np.quantile(off, 0.9) < 0.15


def test_one_measurement_far_off_says_nothing_of_its_neighbours() -> None:
    shapes = [features(gemm(64, 64, round(2 ** (4 + i / 8))), Processor(1 << 20)) for i in range(40)]
    values = 0.1 * np.sin(np.arange(40) / 9)
    disturbed = values + (np.arange(40) == 20) * 1.2
    logs = np.array([-1.2, -3.0, 0.5, -2.0, *[1.5] * len(shapes[0].vector)])
    found = fit_residual(shapes, disturbed, np.full(40, 1e-4), logs)
    assert found.given.noise[20] > 1.0 and found.given.noise[[19, 21]].max() == 1e-4
    assert found.predict(found.points(shapes))[0] == pytest.approx(values, abs=0.04)


# -- how closely it matches --------------------------------------------------------------------------------------------


def quality(found: Estimator, kernel: Kernel) -> Quality:
    return found.predict([kernel])[0].quality


def test_each_degree_of_match_is_where_it_should_be() -> None:
    for found in (estimator(), read(json.loads(written()))):
        for row in measurements()[:200]:
            assert quality(found, row.kernels[0]) is Quality.EXACT
        assert quality(found, gemm(100, 300, 300)) is Quality.SIZE_INTERPOLATED
        assert quality(found, gemm(101, 300, 300)) is Quality.SIZE_INTERPOLATED
        assert quality(found, gemm(2_000, 300, 300)) is Quality.SIZE_EXTRAPOLATED
        assert quality(found, gemm(100, 300, 300, weight=False)) is Quality.OP_APPROXIMATED
        assert quality(found, made("CumSum", Scan("sum", 1000, DType.F32), 0, 1000, 1000)) is Quality.MISSING
        assert quality(found, made("Acme", Unknown("nobody knows"), 0, 1000, 1000)) is Quality.MISSING


def signal(channels: int, taps: int) -> Kernel:
    conv = Conv(1, channels, channels, (100,), (100,), (taps,), DType.F32, (1,), (1,))
    return made("Conv", conv, taps * channels**2, 100 * channels, 100 * channels)


def test_evidence_that_has_a_family_within_another_predicts_it_by_that() -> None:
    windows = [signal(width, 3) for width in range(16, 80, 4)]
    found = fitted([sample(kernel, 1e-11 * kernel.flops + 1e-6) for kernel in windows], roofline())
    assert list(found.residuals) == ["conv1d"]
    assert quality(found, windows[3]) is Quality.EXACT
    assert quality(found, signal(40, 1)) is Quality.SIZE_EXTRAPOLATED


def test_evidence_from_before_an_amount_was_counted_apart_knows_its_kernels() -> None:
    conv = Conv(1, 8, 8, (14, 14), (14, 14), (3, 3), DType.F32, (1, 1), (1, 1), groups=8)
    plain, processor = made("Conv", conv, 72, 1568, 1568), Processor(1 << 20)
    names = [name for name in amounts(plain, processor) if not name.endswith("columns")]
    assert "macs" in names and "columns" not in names
    assert Rates(processor, dict.fromkeys(names, 1e-9), {}).complete(plain)
    assert not Rates(processor, dict.fromkeys(names[1:], 1e-9), {}).complete(plain)


def test_a_function_that_nobody_measured_takes_what_others_of_its_kind_take_with_a_wide_interval() -> None:
    known = elementwise(1_000_000)
    (primitive,) = known.primitives
    assert isinstance(primitive, Elementwise)
    strange = replace(known, primitives=(replace(primitive, function="acme"),))
    for found in (estimator(), read(json.loads(written()))):
        usual, guessed = found.predict([known, strange])
        assert guessed.quality is Quality.OP_APPROXIMATED and usual.quality is not Quality.OP_APPROXIMATED
        assert guessed.seconds == pytest.approx(usual.seconds, rel=0.5) and guessed.std > 5 * usual.std
        total = found.total([strange, known])
        assert log(total.high / total.seconds) > NORMAL_95 * guessed.std * guessed.seconds / total.seconds * 0.9


def test_the_nearest_measurement_is_named_and_neighbours_are_counted() -> None:
    row = next(row for row in measurements() if row.kernels[0].operation_type == "matmul")
    (made,) = estimator().predict(row.kernels)
    product = row.kernels[0].primitives[0]
    assert isinstance(product, Gemm)
    assert made.entry == f"gemm_m={product.m}_k={product.k}_n={product.n}"
    assert made.curve == "matmul" and made.neighbours >= 1
    (far,) = estimator().predict([gemm(1, 3, 500_000)])
    assert far.neighbours == 0 and far.std > 2 * made.std


# -- totals -----------------------------------------------------------------------------------------------------------

STRANGER = made("CumSum", Scan("sum", 1000, DType.F32), 0, 1000, 1000)


def test_a_total_is_the_sum_of_what_is_known() -> None:
    asked = [*held_out(7, 8), *held_out(7, 2), gemm(64, 64, 64, weight=False), STRANGER]
    predicted = estimator().predict(asked)
    known = [made.seconds for made in predicted if made.quality is not Quality.MISSING]
    assert len(known) == len(asked) - 1
    assert estimator().total(asked).seconds == pytest.approx(sum(known), rel=1e-9)
    assert estimator().total([STRANGER]).seconds == estimator().total([]).high == 0.0


@pytest.mark.parametrize("seed", range(8, 14))
def test_a_total_is_no_surer_than_independent_errors_and_no_less_sure_than_common_ones(seed: int) -> None:
    asked = held_out(seed, 6)
    predicted = estimator().predict(asked)
    spreads = np.array([made.seconds * made.std for made in predicted])
    total, shared = estimator().total(asked), estimator().shared_std
    std = log(total.high / total.seconds) / NORMAL_95
    assert total.seconds / total.low == pytest.approx(total.high / total.seconds)
    assert std >= 0.999 * np.hypot(np.sqrt((spreads**2).sum()) / total.seconds, shared)
    assert std <= 1.001 * np.hypot(spreads.sum() / total.seconds, shared)


def test_the_variance_of_a_sum_counts_every_covariance() -> None:
    """Against the same written out: the prior of all pairs less what the samples explain of it."""
    random = np.random.default_rng(9)
    shapes = [
        features(kernel, Processor(1 << 20)) for kernel in (gemm(*random.integers(1, 2000, 3)) for _ in range(330))
    ]
    vectors = np.array([shape.vector for shape in shapes])
    logs = np.array([-1.0, -3.0, 0.5, -2.0, *[1.0] * vectors.shape[1]])
    data = ResidualData(vectors[:30], ("a",) * 30, random.standard_normal(30) / 9, np.full(30, 1e-4), logs)
    asked = [replace(shape, category="ab"[i % 2]) for i, shape in enumerate(shapes)]
    weights = random.uniform(0.5, 2.0, len(asked))

    def covariance(left: Any, right: Any, same: Any) -> Any:
        squared = (((left[:, None] - right[None]) / np.e) ** 2).sum(axis=2)
        distance = np.sqrt(5 * squared)
        matern = (1 + distance + 5 * squared / 3) * np.exp(-distance)
        across = 1 / (1 + np.exp(-0.5))
        return np.exp(-2) * matern * np.where(same, 1, across) + np.exp(-4) * same + 0.3**2

    first = np.array([shape.category == "a" for shape in asked])
    known = covariance(vectors[:30], vectors[:30], True) + np.diag(np.exp(-6) + data.noise + 1e-6)
    cross = covariance(vectors, vectors[:30], first[:, None])
    mean = cross @ np.linalg.solve(known, data.values - np.median(data.values)) + np.median(data.values)
    posterior = covariance(vectors, vectors, first[:, None] == first) - cross @ np.linalg.solve(known, cross.T)
    wanted = (weights * np.exp(mean)) @ posterior @ (weights * np.exp(mean))

    residual = Residual(data)
    found_mean, found = residual.combined(residual.points(asked), weights)
    assert found_mean == pytest.approx(mean, abs=1e-8)
    assert found == pytest.approx(wanted, rel=1e-6)
    assert residual.predict(residual.points(asked))[1] == pytest.approx(np.diag(posterior), abs=1e-7)


def test_sums_that_were_asked_for_before_are_the_same() -> None:
    """A report asks for the sums of some kernels, of all others, and of all."""
    found, asked = estimator(), held_out()
    wholes = [found.total(asked), found.total(asked[:7]), found.total([*asked, *asked[:7]]), found.total(asked)]
    assert wholes[0] == wholes[3] and wholes[2].seconds == pytest.approx(wholes[0].seconds + wholes[1].seconds)
    assert replace(found).total(asked[:7]) == wholes[1], "which remembers nothing yet"


def test_how_far_fitting_is_rises_to_the_end() -> None:
    told = fit_and_progress()[1]
    assert told == sorted(told) and told[0] == 0 and 0.5 < told[-1] < 1


# -- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_samples_make_the_same_estimator_in_whatever_order() -> None:
    random = np.random.default_rng(10)
    rows = measurements()
    shuffled = [rows[i] for i in random.permutation(len(rows))]
    assert json.dumps(fit(shuffled, roofline()), allow_nan=False) == written()


def test_an_estimator_comes_back_from_its_file_as_it_was() -> None:
    profile = evidence(json.loads(written()))
    back = estimator_for(parse_profile(print_profile(profile), "file"), roofline())
    asked = held_out()
    for one, other in zip(estimator().predict(asked), back.predict(asked), strict=True):
        assert other.seconds == pytest.approx(one.seconds, rel=1e-3)
        assert other.std == pytest.approx(one.std, rel=1e-2)
        assert (other.quality, other.entry, other.curve) == (one.quality, one.entry, one.curve)
    assert back.total(asked).high == pytest.approx(estimator().total(asked).high, rel=1e-3)


def test_evidence_without_an_estimator_is_read_by_its_curves() -> None:
    assert isinstance(read({}), CurveEstimator)
