"""Measuring: statistics, the machine's drift, the environment."""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from measuring import Speed

from graphs.calibration.errors import CalibrationError
from graphs.calibration.measure.environment import machine_id, read_environment
from graphs.calibration.measure.executed import spread
from graphs.calibration.measure.handover import Handover
from graphs.calibration.measure.pinning import cores_for, on_processor, pinned
from graphs.calibration.measure.presence import account, kept_waiting
from graphs.calibration.measure.reference import (
    Flicker,
    Monitor,
    Reading,
    RuntimeReference,
    baseline_of,
    drift,
    slowness,
)
from graphs.calibration.measure.statistics import half_width, precise_enough, repeat, statistics, total
from graphs.targets import load_target
from graphs.tools.calibrating.machine import caches_of

# -- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_are_numpys() -> None:
    times = np.random.default_rng(0).lognormal(-7, 0.3, 101)
    found = statistics(times.tolist())
    assert found.n == 101
    assert found.median == pytest.approx(float(np.median(times)))
    assert found.mean == pytest.approx(float(times.mean()))
    assert found.std == pytest.approx(float(times.std(ddof=1)))
    assert (found.minimum, found.maximum) == (times.min(), times.max())


@pytest.mark.parametrize("n", [6, 7, 9, 10, 20, 31, 60, 101, 400, 501, 1000])
def test_interval_of_median_is_the_binomial_one(n: int) -> None:
    """scipy's binomial says which order statistics bracket the median with at least 95 %."""
    found = statistics(float(i + 1) for i in range(n))
    below = int(found.ci_low) - 1  # values below the lower end
    assert int(found.ci_high) == n - below
    assert 1 - 2 * scipy.stats.binom.cdf(below, n, 0.5) >= 0.95
    if n <= 500:
        assert 1 - 2 * scipy.stats.binom.cdf(below + 1, n, 0.5) < 0.95


def test_interval_holds_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(1000):
        found = statistics(generator.lognormal(0, 0.5, 21).tolist())
        inside += found.ci_low <= 1.0 <= found.ci_high
    assert 0.94 <= inside / 1000 <= 0.99


def test_outliers_move_neither_median_nor_interval() -> None:
    clean = [1.0 + 0.001 * i for i in range(31)]
    spoilt = [*clean[:-3], 50.0, 60.0, 70.0]
    assert statistics(spoilt).median == statistics(clean).median
    assert half_width(statistics(spoilt)) == pytest.approx(half_width(statistics(clean)))
    assert precise_enough(statistics(spoilt), 0.03)


@pytest.mark.parametrize("bad", [0.0, -1e-3, math.nan, math.inf])
def test_times_that_cannot_be_are_refused(bad: float) -> None:
    with pytest.raises(CalibrationError, match="positive and finite"):
        statistics([1.0, bad, 1.0])


def test_repeat_stops_when_precise_or_out_of_time() -> None:
    clock = iter(np.arange(0.0, 1e4, 0.5).tolist())
    assert 7 <= len(repeat(lambda: 1.0, lambda: next(clock), 1e9)) < 12
    noisy = np.random.default_rng(2).uniform(0.5, 1.5, 5000).tolist()
    values, ticks = iter(noisy), iter(range(10000))
    assert len(repeat(lambda: next(values), lambda: float(next(ticks)), 50.0)) == 51
    known = repeat(lambda: next(values), lambda: 0.0, 1.0, most=4000)
    assert precise_enough(statistics(known)) and len(known) > 100
    assert len(repeat(lambda: 1.0, lambda: 5.0, 1.0)) == 1


def test_total_adds_medians_up() -> None:
    generator = np.random.default_rng(3)
    parts = [generator.lognormal(-9, 0.2, 25).tolist() for _ in range(4)]
    whole = total(parts)
    assert whole.median == pytest.approx(sum(statistics(part).median for part in parts))
    assert whole.mean == pytest.approx(sum(statistics(part).mean for part in parts))
    assert whole.minimum <= whole.ci_low <= whole.median <= whole.ci_high <= whole.maximum


def test_spread_undoes_truncation() -> None:
    true = np.random.default_rng(4).uniform(2e-6, 5e-6, 4001)
    seen = spread([int(time * 1e6) for time in true])
    assert min(seen) > 0 and min(spread([0, 0, 0])) > 0
    assert statistics(seen).median == pytest.approx(float(np.median(true)), abs=0.05e-6)


# -- drift -----------------------------------------------------------------------------------------------------------


def watched(speed: Speed) -> Monitor:
    monitor = Monitor.starting(speed, presence=False, seconds=0.0)
    monitor.begin()
    monitor.pause()
    return monitor


def test_steady_drift_is_divided_out() -> None:
    speed = Speed()
    monitor = watched(speed)
    speed.arithmetic = speed.memory = 1.04
    assert [monitor.pause() for _ in range(10)] == [True] * 10
    assert monitor.drift().refusal == "" and monitor.drift().factor == pytest.approx(1.04, abs=0.002)


def test_a_short_disturbance_drops_its_blocks_only() -> None:
    speed = Speed()
    monitor = watched(speed)
    counted = []
    for slow in (1.0, 1.5, 1.0, 1.0):
        speed.arithmetic = slow
        counted.append(monitor.pause())
    assert counted == [True, False, False, True]
    assert monitor.drift().factor == pytest.approx(1.0)


def test_a_lasting_change_becomes_the_level_and_under_too_large_a_one_nothing_counts() -> None:
    speed = Speed()
    monitor = watched(speed)
    speed.arithmetic = speed.memory = 1.15
    counted = [monitor.pause() for _ in range(20)]
    assert not any(counted[:5]) and all(counted[8:])
    assert monitor.drift().factor == pytest.approx(1.15, rel=0.01)
    speed.arithmetic = speed.memory = 1.5
    assert not any(monitor.pause() for _ in range(20))
    assert drift(monitor.baseline, [monitor.last]).refusal.startswith("the machine was off its baseline by +50.0%")


def test_of_a_machine_that_is_slow_most_of_the_time_the_other_moments_count() -> None:
    """Two of three readings at half the speed, three in a row: the level is that of the slow ones, which is no use."""
    speed = Speed()
    monitor = watched(speed)
    counted = []
    for i in range(60):
        speed.arithmetic = 1.0 if i % 6 < 2 else 2.0
        counted.append(monitor.pause())
    assert counted == [i % 6 == 1 or i == 0 for i in range(60)]
    assert monitor.drift().factor == pytest.approx(1.0) and not monitor.drift().refusal


def test_uneven_drift_and_no_steady_block_are_refused() -> None:
    baseline = Reading(0.0, 2e-4, 1e-3)
    assert "unevenly" in drift(baseline, [Reading(1.0, 2e-4, 1.1e-3)]).refusal
    assert "disturbed" in drift(baseline, []).refusal
    assert drift(baseline, [Reading(1.0, 2.06e-4, 1.03e-3)]).factor == pytest.approx(1.03)


def test_what_changes_slowly_is_no_flicker_and_is_corrected() -> None:
    """The speed wanders by 15 % over a minute, single readings are 4 % off."""
    random = np.random.default_rng(3)
    readings = [
        Reading(float(i), 2e-4 * math.exp(0.15 * math.sin(i / 12) + random.normal(0, 0.04)), 1e-3) for i in range(120)
    ]
    flicker = Flicker.of(readings[:41])
    assert flicker.gemm == pytest.approx(0.04, rel=0.35) and flicker.stream == 0.0
    off = [
        math.log(drift(Reading(0.0, 2e-4, 1e-3), readings[i - 2 : i + 3], flicker).factor) - 0.15 * math.sin(i / 12)
        for i in range(2, 118)
    ]
    assert np.std(off) < 0.03


def test_memory_that_always_flickers_spoils_nothing_and_corrects_little() -> None:
    """Strangers in the shared cache: single readings of memory are 6 % off, arithmetic and the networks are steady."""
    speed, off = Speed(), np.random.default_rng(5).normal(0, 0.06, 400)
    readings = iter(off)

    def read() -> Reading:
        speed.memory = math.exp(next(readings))
        return Speed.read(speed)

    reference = SimpleNamespace(read=read)
    monitor = Monitor.starting(reference, baseline_of([read() for _ in range(100)]), presence=False)
    factors, counted = [], []
    for _ in range(40):
        monitor.begin()
        counted += [monitor.pause() for _ in range(4)][1:]
        assert monitor.drift().refusal == ""
        factors.append(monitor.drift().factor)
    assert np.mean(counted) > 0.9
    assert max(abs(np.log(factors))) < 0.001
    speed.arithmetic = 1.5
    monitor.begin()
    assert not any(monitor.pause() for _ in range(4))


def test_few_uncertain_readings_are_drawn_to_no_drift() -> None:
    baseline, reading = Reading(0.0, 2e-4, 1e-3), Reading(1.0, 2.1e-4, 1.05e-3)
    assert drift(baseline, [reading]).factor == pytest.approx(1.05)
    uncertain = Flicker(0.05, 0.0)
    assert drift(baseline, [reading], uncertain).factor == pytest.approx(1.05**0.5)
    assert drift(baseline, [reading] * 100, uncertain).factor == pytest.approx(1.05, rel=1e-3)


def test_memory_alone_is_never_divided_by() -> None:
    baseline, slower = Reading(0.0, 2e-4, 1e-3), Reading(1.0, 2e-4, 1.07e-3)
    assert drift(baseline, [slower]).factor == 1.0 and not drift(baseline, [slower]).refusal
    much = Reading(1.0, 2e-4, 1.15e-3)
    assert not drift(baseline, [much], Flicker(0.0, 0.05)).refusal
    assert "memory by +15.0%" in drift(baseline, [much] * 100, Flicker(0.0, 0.05)).refusal


def test_arithmetic_that_turns_out_faster_for_good_is_the_new_baseline() -> None:
    speed = Speed()
    monitor = watched(speed)
    speed.memory = 0.8
    assert not any(monitor.faster() for _ in range(60) if monitor.pause())
    speed.arithmetic = 0.9
    assert not any(monitor.pause() and monitor.faster() for _ in range(20)), "a short spell is no new baseline"
    found = [monitor.pause() and monitor.faster() for _ in range(40)]
    assert any(found) and monitor.baseline.gemm == pytest.approx(1.8e-4)
    assert slowness(monitor.baseline, monitor.last) == 1.0


def test_blocks_in_which_a_worker_had_to_wait_do_not_count() -> None:
    """Three threads: this one, one that works with it, and one that draws."""
    wall, accounts = [0.0], [{1: (0.0, 0.0)}]
    monitor = Monitor(Speed(), Speed().read(), clocks=(lambda: wall[0],) * 2, threads=lambda: accounts[-1])
    monitor.begin()
    monitor.pause()
    wall[0], accounts[:] = 1.0, [{1: (1.0, 0.0), 2: (0.9, 0.01), 3: (0.01, 0.5)}]
    assert monitor.pause()
    wall[0], accounts[:] = 2.0, [{1: (2.0, 0.0), 2: (1.8, 0.11), 3: (0.02, 0.5)}]
    assert not monitor.pause()


def test_the_system_tells_how_long_threads_waited() -> None:
    before = account()
    sum(range(10**6))
    after = account()
    assert not before or after[threading.get_native_id()][0] > before[threading.get_native_id()][0]
    assert kept_waiting({}, {}, 1.0) == 0.0


def test_a_thread_that_ends_meanwhile_leaves_the_others_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.calibration.measure.presence._TASKS", tmp_path)
    for thread in ("7", "8", "9"):
        (tmp_path / thread).mkdir()
    for thread in ("7", "9"):
        (tmp_path / thread / "schedstat").write_text("2000000000 500000000 12\n")
    assert account() == {7: (2.0, 0.5), 9: (2.0, 0.5)}
    monkeypatch.setattr("graphs.calibration.measure.presence._TASKS", tmp_path / "nowhere")
    assert account() == {}


def test_what_no_cache_holds_exceeds_the_whole_of_a_shared_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphs.tools.calibrating.machine.largest_cache", lambda: 2 << 30)
    assert caches_of(load_target("host@1-thread")).sizes[-1] == 2 << 30


def test_blocks_without_the_processor_do_not_count() -> None:
    wall, own = [0.0], [0.0]
    monitor = Monitor(Speed(), Speed().read(), clocks=(lambda: wall[0], lambda: own[0]))
    monitor.begin()
    monitor.pause()
    wall[0], own[0] = 1.0, 0.99
    assert monitor.pause()
    wall[0], own[0] = 2.0, 1.9
    assert not monitor.pause()


def test_what_ran_while_the_cores_shared_no_cache_does_not_count() -> None:
    """A virtual machine's processors are moved apart by their host, and come together again."""
    speed = Speed()
    speed.handover = 1.6
    monitor = watched(speed)
    counted = []
    for handover in (1.5, 1.9, 5.9, 6.1, 1.4, 1.6):
        speed.handover = handover
        counted.append(monitor.pause())
    assert counted == [True, True, False, False, False, True]
    assert not monitor.drift().refusal and monitor.calm()
    speed.handover = 6.0
    assert not monitor.calm()
    refusal = drift(monitor.baseline, [monitor.last]).refusal
    assert refusal == "the cores had been moved: handing data over took 6.0 times a copy, not 1.6 times"
    assert not drift(replace(monitor.baseline, handover=0.0), [monitor.last]).refusal, "evidence without it"


def test_cores_that_come_nearer_for_good_are_the_new_baseline() -> None:
    speed = Speed()
    speed.handover = 6.0
    monitor = watched(speed)
    assert monitor.pause() and monitor.faster() is None
    speed.handover = 1.5
    assert not any(monitor.pause() for _ in range(20)) and monitor.faster() is None
    assert not any(monitor.pause() for _ in range(30))
    rebased = monitor.faster()
    assert rebased is not None and rebased.handover == 1.5 and monitor.pause()
    speed.handover = 6.0
    assert not any(monitor.pause() for _ in range(60)) and monitor.faster() is None, "further apart is no baseline"


def test_handing_over_is_read_between_two_processors_of_this_machine() -> None:
    before = os.sched_getaffinity(0)
    found = Handover.between_cores()
    assert (found is None) == (len(before) == 1)
    if found is not None:
        assert {found.writer, found.reader} <= before and found.writer != found.reader
        assert 0.1 < found.read() < 1000
        assert os.sched_getaffinity(0) == before
        assert RuntimeReference(2).read().handover > 0
        assert Handover(max(os.cpu_count() or 1, *before) + 1000, found.reader).read() == 0.0, "no such processor"
        assert Handover(found.writer, max(before) + 1000).read() == 0.0 and os.sched_getaffinity(0) == before
    with on_processor(min(before)):
        assert Handover.between_cores() is None and RuntimeReference(2).read().handover == 0.0


def test_baseline_wants_a_clock_that_runs() -> None:
    with pytest.raises(CalibrationError, match="clock is broken"):
        baseline_of([Reading(0.0, 0.0, 1.0)])
    with pytest.raises(CalibrationError, match="no reading"):
        baseline_of([])


def test_reference_reads_this_machine() -> None:
    reading = RuntimeReference(1).read()
    assert 0 < reading.gemm < 1 and 0 < reading.stream < 1
    assert abs(reading.at - time.time()) < 60


# -- environment and pinning -----------------------------------------------------------------------------------------


def test_machine_id_is_of_the_machine_not_of_the_process() -> None:
    before = machine_id("onnxruntime-cpu")
    with pinned(1) as cores:
        assert os.sched_getaffinity(0) == set(cores) and os.environ["OMP_NUM_THREADS"] == "1"
        assert machine_id("onnxruntime-cpu") == before
        found = read_environment("onnxruntime-cpu", 1, cores)
    assert (
        found.machine == before and found.affinity == cores and any(row.startswith("numpy ") for row in found.libraries)
    )
    assert machine_id("onnxruntime-cpu", version="99.0") != before
    assert machine_id("onnxruntime-cpu", version="1.2") == machine_id("onnxruntime-cpu", version="1.3")
    with pytest.raises(CalibrationError, match="cannot be pinned"):
        cores_for(100_000)
