"""Figures of accuracy against distributions whose truth is known, held-out trials, and the file of history."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import exp, inf, nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from graphs.calibration import history, trials
from graphs.calibration.errors import CalibrationError
from graphs.calibration.kernel import Kernel
from graphs.calibration.prediction import NORMAL_95, Prediction, Quality, Total
from graphs.calibration.sample import Sample, Statistics
from graphs.calibration.validation import (
    Accuracy,
    Compared,
    accuracy,
    bias_test,
    breakdown,
    by_group,
    interval_share,
    recommendations,
    spread_test,
)
from graphs.ir import DType
from graphs.ir.primitives import Gemm

REPEATS = 2000


def compared(error: float, std: float = 0.1, name: str = "m", split: int = 0) -> Compared:
    """A network of a second whose prediction is off by ``error``."""
    reach = exp(NORMAL_95 * std)
    predicted = 1.0 + error
    return Compared(name, predicted, predicted / reach, predicted * reach, 1.0, name, split=split)


# -- the tests against what they test ----------------------------------------------------------------------------------


def test_an_unbiased_predictor_is_called_biased_once_in_twenty() -> None:
    draws = np.random.default_rng(0).normal(0.0, 0.05, (REPEATS, 12))
    found = [bias_test(row) for row in draws]
    assert np.mean([one.significant for one in found]) == pytest.approx(0.05, abs=0.015)
    assert stats.kstest([one.p for one in found], "uniform").pvalue > 0.01
    assert np.mean([one.low <= 0.0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.015)


def test_a_biased_predictor_is_found_out() -> None:
    draws = np.random.default_rng(1).normal(0.05, 0.05, (REPEATS, 12))
    found = [bias_test(row) for row in draws]
    assert np.mean([one.significant for one in found]) > 0.85
    assert np.mean([one.mean for one in found]) == pytest.approx(0.05, abs=0.002)


def test_student_agrees_with_scipy() -> None:
    row = np.array([0.03, -0.01, 0.08, 0.02, 0.05])
    found, known = bias_test(row), stats.ttest_1samp(row, 0.0)
    assert (found.t, found.p) == pytest.approx((known.statistic, known.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval()))


@pytest.mark.parametrize(("errors", "p"), [([0.0, 0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], 0.0)])
def test_errors_without_spread_have_no_t(errors: list[float], p: float) -> None:
    assert bias_test(np.array(errors)).p == p


@pytest.mark.parametrize(("scale", "least", "most"), [(1.0, 0.03, 0.07), (2.0, 0.97, 1.0), (0.4, 0.97, 1.0)])
def test_chi_squared_finds_a_wrong_variance(scale: float, least: float, most: float) -> None:
    draws = np.random.default_rng(2).normal(0.0, scale, (REPEATS, 20)) ** 2
    found = [spread_test(row) for row in draws]
    assert least <= np.mean([one.significant for one in found]) <= most
    assert np.mean([one.ratio for one in found]) == pytest.approx(scale**2, rel=0.05)
    assert all(one.degrees == 20 for one in found)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (7, 10), (19, 20)])
def test_the_share_inside_has_the_exact_interval(hits: int, n: int) -> None:
    known = stats.binomtest(hits, n).proportion_ci(method="exact")
    found = interval_share([True] * hits + [False] * (n - hits))
    assert (found.share, found.low, found.high) == pytest.approx((hits / n, known.low, known.high))


def test_a_95_percent_interval_of_a_log_normal_holds_95_percent() -> None:
    truths = np.exp(np.random.default_rng(3).normal(0.0, 0.2, REPEATS))
    rows = [Compared(f"m{i}", 1.0, exp(-NORMAL_95 * 0.2), exp(NORMAL_95 * 0.2), t) for i, t in enumerate(truths)]
    found = accuracy(rows)
    assert found.inside.share == pytest.approx(0.95, abs=0.015)
    assert found.spread is not None and found.spread.ratio == pytest.approx(1.0, abs=0.1)


# -- figures -----------------------------------------------------------------------------------------------------------


def test_figures_of_a_few_by_hand() -> None:
    found = accuracy([compared(0.05, name="a"), compared(-0.10, name="b"), compared(0.3, name="c")])
    assert (found.n, found.mape, found.median, found.worst) == pytest.approx((3, 0.15, 0.10, 0.3))
    assert found.within == pytest.approx(2 / 3) and found.inside.share == pytest.approx(2 / 3)
    assert found.bias is not None and found.bias.mean == pytest.approx(0.25 / 3)


def test_a_network_held_out_often_counts_once_in_the_tests() -> None:
    once = accuracy([compared(0.04, name="a"), compared(0.06, name="b")])
    often = accuracy([compared(e, name=n, split=s) for s in range(20) for e, n in ((0.04, "a"), (0.06, "b"))])
    assert often.n == once.n == 2 and often.bias is not None and once.bias is not None
    assert often.bias.p == pytest.approx(once.bias.p)
    assert often.spread is not None and often.spread.degrees == 2
    assert often.inside == once.inside


def test_one_network_has_no_tests_and_none_no_figures() -> None:
    only = accuracy([compared(0.1)])
    assert only.bias is None and only.spread is None
    with pytest.raises(CalibrationError, match="nothing to compare"):
        accuracy([])


def test_an_interval_without_width_rules_out_every_error() -> None:
    point = Compared("a", 1.0, 1.0, 1.0, 1.2)
    assert point.deviation == inf and replace(point, measured=1.0).deviation == 0.0
    found = accuracy([point, replace(point, name="b")])
    assert found.spread is not None and found.spread.p == 0.0


@pytest.mark.parametrize("field", ["predicted", "low", "high", "measured"])
@pytest.mark.parametrize("time", [0.0, -1.0, nan, inf])
def test_what_is_no_time_is_refused(field: str, time: float) -> None:
    with pytest.raises(CalibrationError, match="above zero"):
        replace(compared(0.0), **{field: time})


def test_an_interval_beside_its_prediction_is_refused() -> None:
    with pytest.raises(CalibrationError, match="does not hold"):
        Compared("a", 1.0, 1.1, 1.2, 1.0)


def test_grades() -> None:
    found = breakdown(np.array([0.0, 0.1, 0.11, 0.2, 0.21, 0.5, 0.51, 9.0]))
    assert (found.excellent, found.good, found.fair, found.poor) == (2, 2, 2, 2)


@given(st.lists(st.tuples(st.floats(0.01, 100.0), st.floats(0.01, 100.0), st.sampled_from("abc")), min_size=1))
def test_groups_share_all_of_the_error(rows: list[tuple[float, float, str]]) -> None:
    groups = by_group([Compared(n, p, p, p, m) for p, m, n in rows], lambda one: one.name)
    assert sum(group.n for group in groups) == len(rows)
    assert sum(group.share for group in groups) == pytest.approx(1.0 if any(p != m for p, m, _ in rows) else 0.0)
    assert sorted((group.share for group in groups), reverse=True) == [group.share for group in groups]


def test_recommendations_name_what_is_wrong() -> None:
    good = accuracy([compared(e, 0.05, str(e)) for e in np.random.default_rng(4).normal(0.0, 0.05, 30)])
    assert recommendations(good, (), "host") == ()
    narrow: Accuracy = accuracy([compared(e, 0.01, str(e)) for e in np.random.default_rng(4).normal(0.06, 0.05, 30)])
    kernels = [replace(compared(0.5), operation_type="softmax"), replace(compared(0.01), operation_type="matmul")]
    says = " ".join(recommendations(narrow, by_group(kernels, lambda one: one.operation_type), "host@1-thread"))
    assert "too long" in says and "too narrow" in says
    assert "--target=host@1-thread --only=softmax" in says and "matmul" not in says


# -- trials ------------------------------------------------------------------------------------------------------------


def kernel(n: int) -> Kernel:
    return Kernel("MatMul", (Gemm(n, n, n, DType.F32, weight=True),), 4 * n * n, 4 * n * n, 4 * n * n)


def sample(seconds: float, n: int = 64, model: str = "", source: str = "microbenchmark", launches: int = 1) -> Sample:
    times = Statistics(9, seconds, seconds, 0.0, seconds, seconds, seconds, seconds)
    return Sample((kernel(n),) * launches, times, source, model, (f"{model}/{n}",))


class Known:
    """Predicts the mean time that samples of the same kernel had, and nothing else."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.times: dict[Kernel, list[float]] = {}
        for one in samples:
            if len(one.kernels) == 1:
                self.times.setdefault(one.kernels[0], []).append(one.seconds.median)

    def predict(self, kernels: Sequence[Kernel]) -> list[Prediction]:
        return [Prediction(float(np.mean(self.times[one])), 0.1, Quality.EXACT, "matmul") if one in self.times
                else Prediction(0.0, 0.0, Quality.MISSING, "") for one in kernels]  # fmt: skip

    def total(self, kernels: Sequence[Kernel]) -> Total:
        seconds = sum(one.seconds for one in self.predict(kernels))
        return Total(seconds, seconds / 1.2, seconds * 1.2)


def campaign() -> list[Sample]:
    """Three networks of kernels that take a millisecond, and one with a kernel nobody else has."""
    rows = [sample(1e-3, 64, name, "profile") for name in "abc"]
    rows += [sample(4e-3, 64, name, "network", launches=4) for name in "abc"]
    return [*rows, sample(7.0, 128, "d", "network"), sample(1e-6, 64, "a", "profile")]


def test_a_network_is_predicted_without_its_own_samples() -> None:
    seen: list[set[str]] = []

    def fit(samples: Sequence[Sample]) -> Known:
        seen.append({one.model for one in samples})
        return Known(samples)

    rows = campaign()
    found = trials.tried(rows, fit, trials.splits("abcd", "leave-one-model-out"))
    assert seen == [set("bcd"), set("acd"), set("abd"), set("abc")]
    assert [one.name for one in found.models] == ["a", "b", "c"] and found.missing == ("d",)
    assert all(abs(one.error) < 0.35 for one in found.models)
    assert found.models[0].predicted == pytest.approx(4e-3)
    assert {one.name for one in found.kernels} == {"a/64", "b/64", "c/64"}
    assert all(one.measured >= trials.LEAST_SECONDS for one in found.kernels)


def test_random_splits_hold_out_two_in_five_and_come_again() -> None:
    names = [f"m{i}" for i in range(10)]
    first = list(trials.splits(names, "held-out", 5, seed=1))
    assert first == list(trials.splits(list(reversed(names)), "held-out", 5, seed=1))
    assert [len(one) for one in first] == [4] * 5 and len(set(first)) > 1
    assert first != list(trials.splits(names, "held-out", 5, seed=2))


@pytest.mark.parametrize(("names", "method"), [(["a"], "held-out"), ([], "leave-one-model-out"), (["a", "b"], "luck")])
def test_splits_that_make_no_sense(names: list[str], method: str) -> None:
    with pytest.raises(CalibrationError):
        list(trials.splits(names, method))


def test_a_network_measured_in_parts_is_the_sum_of_them() -> None:
    rows = [sample(1e-3, 64, "a", "subgraph"), sample(1e-3, 64, "a", "subgraph"), sample(1e-3, 64, "b", "subgraph")]
    found = trials.tried(rows, Known, trials.splits("ab", "leave-one-model-out"))
    assert [(one.name, one.measured, one.predicted) for one in found.models] == [
        ("a", pytest.approx(2e-3), pytest.approx(2e-3)), ("b", pytest.approx(1e-3), pytest.approx(1e-3)),
    ]  # fmt: skip


def test_a_network_measured_twice_is_averaged_not_added() -> None:
    rows = [sample(1e-3), sample(1e-3, model="a", source="network"), sample(3e-3, model="a", source="network")]
    (found,) = (trials.compare_network(n, s, Known(rows[:1])) for n, s in trials.networks(rows).items())
    assert found is not None and found.measured == pytest.approx(2e-3) and found.predicted == pytest.approx(1e-3)


# -- history -----------------------------------------------------------------------------------------------------------

ENTRY = history.Entry("2026-01-02T03:04:05+00:00", "host", "onnxruntime-cpu", "1-thread", "fp32", "measured", 12, 0.05,
                      0.03, 0.9, -0.01, 0.95, "graphs 0.1.0", 0.11)  # fmt: skip


def test_history_comes_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history.jsonl"
    later, earlier = replace(ENTRY, date="2026-03-01"), replace(ENTRY, date="2026-01-01", kernel_mape=None)
    history.append(later, path)
    history.append(earlier, path)
    assert history.read(path) == ([earlier, later], [])
    assert history.read(tmp_path / "none.jsonl") == ([], [])


def test_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history.append(ENTRY, path)
    path.write_bytes(path.read_bytes() + b'{"date": "2026')
    history.append(ENTRY, path)
    entries, problems = history.read(path)
    assert entries == [ENTRY, ENTRY] and len(problems) == 1 and ":2: not an entry" in problems[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.pop("mape"), "mape is missing"),
        (lambda v: v.update(mape="5 %"), "mape: expected"),
        (lambda v: v.update(mape=nan), "mape: expected"),
        (lambda v: v.update(models=True), "models: expected"),
        (lambda v: v.update(more=1), "unknown key 'more'"),
    ],
)
def test_lines_of_another_sort_are_told(
    tmp_path: Path, change: Callable[[dict[str, object]], object], says: str
) -> None:
    path = tmp_path / "history.jsonl"
    history.append(ENTRY, path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values) + "\n[1]\n")
    entries, problems = history.read(path)
    assert entries == [] and says in problems[0] and "expected an object" in problems[1]


def test_history_on_a_full_disk_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="cannot be written"):
        history.append(ENTRY, Path("/dev/full"))


def test_the_file_of_history_lies_where_the_users_data_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert history.history_path() == tmp_path / "graphs" / "history.jsonl"
