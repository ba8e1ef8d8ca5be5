"""Measuring: statistics, drift, files that survive a kill, campaigns, runners, and profiles joined to kernels."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import scipy.stats
from onnx import TensorProto, helper, numpy_helper

from graphs.calibration.errors import CalibrationError
from graphs.calibration.kernel import Kernel
from graphs.calibration.measure import samples_writer
from graphs.calibration.measure.campaign import Campaign, Event, ModelFile, Summary
from graphs.calibration.measure.described import Described
from graphs.calibration.measure.environment import Environment, machine_id, read_environment
from graphs.calibration.measure.executed import Executed, ExecutedNode, spread
from graphs.calibration.measure.onnxruntime import OnnxRuntime, executed_nodes, read_events
from graphs.calibration.measure.pinning import cores_for, pinned
from graphs.calibration.measure.profile import join
from graphs.calibration.measure.reference import Monitor, Reading, RuntimeReference, baseline_of, drift
from graphs.calibration.measure.runner import UnsteadyError
from graphs.calibration.measure.samples_file import parse_samples, read_samples
from graphs.calibration.measure.samples_writer import SamplesWriter
from graphs.calibration.measure.statistics import half_width, precise_enough, repeat, statistics, total
from graphs.calibration.measure.weights import made_up_inputs, runnable
from graphs.calibration.sample import Sample, Setting
from graphs.frontends.onnx import load_onnx
from graphs.ir import DType
from graphs.ir.primitives import Elementwise, Gemm
from graphs.passes.base import Context
from graphs.passes.calibrate import described
from graphs.passes.manager import PassManager, parse_passes
from graphs.targets import load_target

SETTING = Setting("host", "onnxruntime-cpu", "1-thread", "fp32")
ENVIRONMENT = Environment(
    "box-2c-0123456789",
    "a box",
    2,
    (1,),
    1,
    "",
    2.7e9,
    True,
    1 << 34,
    "Linux 6",
    "3.11",
    ("numpy 2",),
    0.1,
    "2026-11-21",
)


# -- statistics -------------------------------------------------------------------------------------------------------


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
    spoilt = clean[:-3] + [50.0, 60.0, 70.0]
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


# -- drift ------------------------------------------------------------------------------------------------------------


class Speed:
    """A machine whose slowness is set by hand, and its reference."""

    def __init__(self) -> None:
        self.arithmetic = self.memory = 1.0
        self.now = 0.0

    def read(self) -> Reading:
        self.now += 0.01
        return Reading(self.now, 2e-4 * self.arithmetic, 1e-3 * self.memory)


def watched(speed: Speed) -> Monitor:
    monitor = Monitor.starting(speed, presence=False)
    monitor.begin()
    monitor.pause()
    return monitor


def test_steady_drift_is_divided_out() -> None:
    speed = Speed()
    monitor = watched(speed)
    speed.arithmetic = speed.memory = 1.04
    assert [monitor.pause() for _ in range(10)] == [True] * 10
    assert monitor.drift().refusal == "" and monitor.drift().factor == pytest.approx(1.04)


def test_a_short_disturbance_drops_its_blocks_only() -> None:
    speed = Speed()
    monitor = watched(speed)
    counted = []
    for slow in (1.0, 1.5, 1.0, 1.0):
        speed.arithmetic = slow
        counted.append(monitor.pause())
    assert counted == [True, False, False, True]
    assert monitor.drift().factor == pytest.approx(1.0)


def test_a_lasting_change_becomes_the_level_and_too_large_a_one_is_refused() -> None:
    speed = Speed()
    monitor = watched(speed)
    speed.arithmetic = speed.memory = 1.5
    counted = [monitor.pause() for _ in range(20)]
    assert not any(counted[:5]) and all(counted[8:])
    assert "off its baseline by +50.0%" in monitor.drift().refusal


def test_uneven_drift_and_no_steady_block_are_refused() -> None:
    baseline = Reading(0.0, 2e-4, 1e-3)
    assert "unevenly" in drift(baseline, [Reading(1.0, 2e-4, 1.1e-3)]).refusal
    assert "disturbed" in drift(baseline, []).refusal
    assert drift(baseline, [Reading(1.0, 2.06e-4, 1.03e-3)]).factor == pytest.approx(1.03)


def test_blocks_without_the_processor_do_not_count() -> None:
    wall, own = [0.0], [0.0]
    monitor = Monitor(Speed(), Speed().read(), clocks=(lambda: wall[0], lambda: own[0]))
    monitor.begin()
    monitor.pause()
    wall[0], own[0] = 1.0, 0.99
    assert monitor.pause()
    wall[0], own[0] = 2.0, 1.9
    assert not monitor.pause()


def test_baseline_wants_a_clock_that_runs() -> None:
    with pytest.raises(CalibrationError, match="clock is broken"):
        baseline_of([Reading(0.0, 0.0, 1.0)])
    with pytest.raises(CalibrationError, match="no reading"):
        baseline_of([])


def test_reference_reads_this_machine() -> None:
    reading = RuntimeReference(1).read()
    assert 0 < reading.gemm < 1 and 0 < reading.stream < 1
    assert abs(reading.at - time.time()) < 60


# -- environment and pinning ------------------------------------------------------------------------------------------


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


# -- the file of samples ----------------------------------------------------------------------------------------------


def kernel(n: int = 64) -> Kernel:
    return Kernel("MatMul", (Gemm(1, n, n, n, DType.F32),), 4 * n * n, 4 * n * n, 4 * n * n)


def sample(seconds: float = 1e-3, n: int = 64) -> Sample:
    return Sample((kernel(n),), statistics([seconds] * 7), "microbenchmark", "gemm", ("node",), 1.01)


def written(path: Path, names: Sequence[str] = ("one", "two")) -> None:
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.reference(Reading(1.0, 2e-4, 1e-3), baseline=True)
        for name in names:
            writer.add(name, [sample(), sample(2e-3, 128)])
        writer.refuse("three", "out of memory")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written(tmp_path / "s.jsonl")
    other = replace(SETTING, precision="fp16")
    with SamplesWriter(tmp_path / "s.jsonl", SETTING, ENVIRONMENT) as writer:
        assert writer.has("one", SETTING) and not writer.has("one", other) and not writer.has("three", SETTING)
        writer.add("one", [sample(3e-3)], other)
    found = read_samples(tmp_path / "s.jsonl")
    assert (found.setting, found.environment) == (SETTING, ENVIRONMENT)
    assert found.samples == (sample(), sample(2e-3, 128)) * 2 and found.of(other) == (sample(3e-3),)
    assert found.settings == (SETTING, other)
    assert [(row.benchmark, row.reason) for row in found.refused] == [("three", "out of memory")]
    assert found.baseline == Reading(1.0, 2e-4, 1e-3)


def test_resumes_behind_a_last_benchmark_torn_at_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path, ("one",))
    whole = path.read_bytes()
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.add("two", [sample(), sample(2e-3)])
    full = path.read_bytes()
    for size in range(len(whole), len(full)):
        path.write_bytes(full[:size])
        with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
            assert writer.found is not None and not writer.has("two", SETTING) and writer.has("one", SETTING)
            assert path.read_bytes() == whole
        assert len(read_samples(path).samples) == 2
    path.write_bytes(full)
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        assert writer.has("two", SETTING)
    assert path.read_bytes() == full


def test_a_torn_header_is_begun_again_and_a_foreign_file_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path)
    header = path.read_bytes().split(b"\n")[0]
    for size in range(0, len(header), 7):
        path.write_bytes(header[:size])
        with SamplesWriter(path, SETTING, ENVIRONMENT):
            pass
        assert path.read_bytes().startswith(header + b"\n")
    for content in (b"precious", b"precious\nlines\n", b'{"format": "other"}\n', b"[1]\n", b"\x80\n"):
        path.write_bytes(content)
        with pytest.raises(CalibrationError):
            SamplesWriter(path, SETTING, ENVIRONMENT)
        assert path.read_bytes() == content


def test_files_of_another_machine_setting_or_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    written(path)
    before = path.read_bytes()
    with pytest.raises(CalibrationError, match="another machine.*box-2c.*this one is other"):
        SamplesWriter(path, SETTING, replace(ENVIRONMENT, machine="other"))
    with pytest.raises(CalibrationError, match="runtime 'onnxruntime-cpu', not 'pytorch-eager'"):
        SamplesWriter(path, replace(SETTING, runtime="pytorch-eager"), ENVIRONMENT)
    with (
        SamplesWriter(path, SETTING, ENVIRONMENT),
        pytest.raises(CalibrationError, match="another measurement is writing"),
    ):
        SamplesWriter(path, SETTING, ENVIRONMENT)
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(CalibrationError, match="version 2; this program reads version 1"):
        read_samples(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"median":0.001', b'"median":-0.001', "above zero"),
        (b'"median":0.001', b'"median":0', "above zero"),
        (b'"median":0.001', b'"median":NaN', "NaN"),
        (b'"median":0.001', b'"median":1e999', "finite"),
        (b'"weight_bytes":16384', b'"weight_bytes":-1', "weight_bytes"),
        (b'"drift":1.01', b'"drift":0', "drift"),
        (b'"source":"microbenchmark"', b'"source":"rumour"', "rumour"),
        (b'"kernels":[', b'"kernels":3,"nodes":[', "kernels|twice"),
        (b'{"sample"', b'{"sampled"', "expected one of the keys"),
        (b'{"sample"', b'["sample"', "JSON"),
        (b'"gemm":0.0002', b'"gemm":-1', "gemm"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    path = tmp_path / "s.jsonl"
    written(path)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(CalibrationError, match=message) as caught:
        read_samples(path)
    assert f"{path}:" in str(caught.value)


def test_times_that_cannot_be_are_not_written(tmp_path: Path) -> None:
    with SamplesWriter(tmp_path / "s.jsonl", SETTING, ENVIRONMENT) as writer:
        for bad in (0.0, -1.0, math.nan):
            wrong = replace(sample(), seconds=replace(sample().seconds, median=bad))
            with pytest.raises(CalibrationError):
                writer.add("bad", [wrong])
    assert not read_samples(tmp_path / "s.jsonl").rows


def test_a_full_disk_says_what_is_saved() -> None:
    with pytest.raises(CalibrationError, match=r"No space left.*0 samples of this run are saved"):
        SamplesWriter(Path("/dev/full"), SETTING, ENVIRONMENT)


def test_a_disk_that_fills_up_keeps_what_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.jsonl"
    with SamplesWriter(path, SETTING, ENVIRONMENT) as writer:
        writer.add("one", [sample(), sample()])
        before, write = path.read_bytes(), os.pwrite

        def fill(descriptor: int, rows: bytes, offset: int) -> int:
            if offset > len(before):
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(descriptor, rows[:40], offset)

        monkeypatch.setattr(samples_writer.os, "pwrite", fill)
        with pytest.raises(CalibrationError, match="No space left on device; 2 samples of this run are saved"):
            writer.add("two", [sample()])
    assert path.read_bytes() == before


# -- campaigns --------------------------------------------------------------------------------------------------------


class Toy:
    """A benchmark of a toy model."""

    def __init__(self, name: str, seconds: float = 1.0, group: str = "blas", fails: str = "") -> None:
        self.name, self.seconds, self.group, self.precision, self.fails = name, seconds, group, "fp32", fails

    def build(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.graph.name = self.name
        model.doc_string = self.fails
        return model


class ToyRunner:
    """A runner on a clock of its own: each model takes two seconds of it."""

    runtime, on_processor = "onnxruntime-cpu", False

    def __init__(self) -> None:
        self.now = 0.0
        self.ran: list[str] = []
        self.unsteady: dict[str, int] = {}

    def execute(
        self,
        model: onnx.ModelProto | Path,
        allowed: float,
        *,
        end_to_end: bool = True,
        fewest: int = 9,
        pause: Callable[[], bool] = lambda: True,
    ) -> Executed:
        assert isinstance(model, onnx.ModelProto)
        self.now += 2.0
        self.ran.append(model.graph.name)
        pause()
        assert pause()
        if model.doc_string:
            raise {"memory": MemoryError(), "stop": KeyboardInterrupt()}.get(
                model.doc_string, CalibrationError(model.doc_string)
            )
        if self.unsteady.get(model.graph.name, 0) > 0:
            self.unsteady[model.graph.name] -= 1
            raise UnsteadyError("disturbed")
        return Executed((ExecutedNode("MatMul", "node", (), ("y",), (1e-3,) * 9),), (1.1e-3,) * 9)


def campaign(path: Path, runner: ToyRunner, budget: float = 1e6, **options: object) -> Campaign:
    rows = [Described(kernel(), ("y",), ("node",))]
    writer = SamplesWriter(path, SETTING, ENVIRONMENT)
    return Campaign(runner, Speed(), lambda model: rows, writer, budget, clock=lambda: runner.now, **options)  # type: ignore[arg-type]  # options of several types


def test_a_campaign_measures_all_and_resumes(tmp_path: Path) -> None:
    path, events = tmp_path / "s.jsonl", list[Event]()
    first = campaign(path, ToyRunner(), progress=events.append)
    summary = first.run(
        [Toy("a"), Toy("b", group="networks"), Toy("c", fails="no such kernel"), Toy("d", fails="memory")]
    )
    first.writer.close()
    assert (summary.measured, summary.kept, summary.left, summary.stopped) == (2, 3, 0, False)
    assert dict(summary.refused) == {"c": "no such kernel", "d": "MemoryError"}
    assert [(event.done, event.total) for event in events] == [(i, 4) for i in range(1, 5)]
    assert events[0].line == "a  1 ms ± 0.0 %  n=9" and events[2].line == "c  no such kernel"
    found = read_samples(path)
    assert [len(found.samples), found.samples[0].source, found.samples[2].seconds.median] == [
        3,
        "microbenchmark",
        1.1e-3,
    ]
    again = ToyRunner()
    second = campaign(path, again)
    summary = second.run([Toy("a"), Toy("b", group="networks"), Toy("e")])
    second.writer.close()
    assert again.ran == ["e"] and (summary.measured, summary.skipped) == (1, 2)
    assert read_samples(path).baseline == found.baseline


def test_a_budget_goes_to_what_is_worth_most_for_its_time(tmp_path: Path) -> None:
    runner = ToyRunner()
    worth = {"cheap": 1.0, "dear": 3.0, "good": 9.0, "worthless": 0.0}
    chosen = campaign(tmp_path / "s.jsonl", runner, 5.0, priority=lambda one: worth[one.name])
    summary = chosen.run([Toy("worthless"), Toy("dear", 4.0), Toy("cheap"), Toy("good", 2.0)])
    assert runner.ran[:2] == ["good", "cheap"] and summary.left >= 1
    assert runner.now <= 5.0 + 2.0


def test_costs_are_learnt_from_what_was_seen(tmp_path: Path) -> None:
    running = campaign(tmp_path / "s.jsonl", ToyRunner())
    running.run([Toy(f"t{i}", 0.5) for i in range(6)])
    assert running.cost(Toy("next", 0.5)) == pytest.approx(2.0)
    assert running.cost(Toy("other", 1.0, group="stream")) == pytest.approx(4.0)


def test_what_was_unsteady_is_recorded_and_tried_again_later(tmp_path: Path) -> None:
    runner = ToyRunner()
    runner.unsteady = {"a": 1, "b": 99}
    running = campaign(tmp_path / "s.jsonl", runner, priority=lambda one: {"a": 9.0, "b": 8.0}.get(one.name, 1.0))
    summary = running.run([Toy("a"), Toy("b"), *(Toy(f"t{i}") for i in range(8))])
    assert runner.ran[0] == "a" and runner.ran.count("a") == 2 and runner.ran.index("a", 1) > 3
    assert runner.ran.count("b") == 3 and dict(summary.refused) == {"b": "disturbed"}
    found = read_samples(tmp_path / "s.jsonl")
    assert [row.benchmark for row in found.refused].count("a") == 1 and ("a", SETTING) in found.done


def test_an_interrupt_stops_with_a_summary(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    runner = ToyRunner()
    running = campaign(tmp_path / "s.jsonl", runner, priority=lambda one: -float(one.name))
    summary = running.run([Toy("1"), Toy("2", fails="stop"), Toy("3")])
    assert summary == Summary(1, 0, 1, (), 2, 4.0, True)
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_interrupt_while_writing_waits_for_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite

    def interrupted(descriptor: int, rows: bytes, offset: int) -> int:
        if b'"done"' in rows:
            os.kill(os.getpid(), signal.SIGINT)
        return write(descriptor, rows, offset)

    monkeypatch.setattr(samples_writer.os, "pwrite", interrupted)
    summary = campaign(tmp_path / "s.jsonl", ToyRunner()).run([Toy("1"), Toy("2")])
    assert summary.stopped and read_samples(tmp_path / "s.jsonl").done == {("1", SETTING)}


def test_two_benchmarks_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match='two benchmarks are called "a"'):
        campaign(tmp_path / "s.jsonl", ToyRunner()).run([Toy("a"), Toy("a")])


def test_kill_loses_one_benchmark_at_most(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    script = textwrap.dedent(f"""
        import sys, time
        sys.path[:0] = [{str(Path(__file__).parent)!r}]
        from pathlib import Path
        import test_measure as t
        class Slow(t.ToyRunner):
            def execute(self, model, allowed, **options):
                time.sleep(0.02)
                print(model.graph.name, flush=True)
                return super().execute(model, allowed, **options)
        t.campaign(Path({str(path)!r}), Slow()).run([t.Toy(str(i)) for i in range(1000)])
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    begun = [process.stdout.readline().strip() for _ in range(8)]
    process.kill()
    begun += process.stdout.read().split()
    process.wait()
    done = {name for name, _ in read_samples(path).done}
    assert set(begun[:-1]) <= done <= set(begun) and len(begun) >= 8
    runner = ToyRunner()
    campaign(path, runner).run([Toy(str(i)) for i in range(len(begun) + 1)])
    assert not set(runner.ran) & done and len(runner.ran) == len(begun) + 1 - len(done)


# -- runners ----------------------------------------------------------------------------------------------------------


def small_model() -> onnx.ModelProto:
    """A network with convolutions in the blocked layout, a residual, a matrix product with bias, and a softmax."""
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.standard_normal(shape, dtype=np.float32) / 8, name)

    rows = [
        ("Conv", ["x", "w1", "b1"], "c1", {"pads": [1] * 4}), ("Relu", ["c1"], "r1", {}),
        ("Conv", ["r1", "w2", "b1"], "c2", {"pads": [1] * 4}), ("Add", ["c2", "r1"], "s", {}),
        ("Relu", ["s"], "r2", {}), ("MaxPool", ["r2"], "p", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Transpose", ["p"], "t", {"perm": [0, 2, 3, 1]}), ("Reshape", ["t", "shape"], "v", {}),
        ("MatMul", ["v", "w3"], "m", {}), ("Add", ["m", "b3"], "a", {}), ("Softmax", ["a"], "y", {"axis": -1}),
    ]  # fmt: skip
    nodes = [helper.make_node(op, ins, [out], f"node_{out}", **attributes) for op, ins, out, attributes in rows]
    weights = [
        weight("w1", 32, 3, 3, 3),
        weight("b1", 32),
        weight("w2", 32, 32, 3, 3),
        weight("w3", 32, 48),
        weight("b3", 48),
    ]
    weights.append(numpy_helper.from_array(np.array([1, 256, 32], np.int64), "shape"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 256, 48])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def kernels_of(model: onnx.ModelProto, target: str = "host@1-thread") -> Sequence[Described]:
    graph, loaded = load_onnx(model), load_target(target)
    PassManager(parse_passes("fuse,lower")).run(graph, Context(loaded, None, {"*": 1}))
    return described(graph, loaded)


def test_executed_time_is_conserved_by_the_join() -> None:
    model = small_model()
    executed = OnnxRuntime(1).execute(model, 0.3)
    rows = kernels_of(model)
    joined = join(executed, rows, "small", 1.25)
    assert sum(one.seconds.median for one in joined.samples) == pytest.approx(executed.seconds / 1.25)
    assert joined.matched_share == 1.0 and not joined.unexecuted
    patterns = [tuple(one.pattern for one in sample.kernels) for sample in joined.samples]
    assert sorted(patterns) == sorted((row.kernel.pattern,) for row in rows)
    assert {"Conv_Relu", "MatMul_Add", "Softmax"} <= {name for (name,) in patterns}
    first = next(one for one in joined.samples if "node_c1" in one.nodes)
    assert first.nodes == ("node_c1", "node_r1") and first.drift == 1.25 and first.source == "profile"
    assert joined.end_to_end.kernels == tuple(row.kernel for row in rows)
    assert len(executed.end_to_end) >= 9 and joined.end_to_end.source == "network"


def test_blocks_that_do_not_count_are_left_out() -> None:
    asked = []

    def pause() -> bool:
        asked.append(1)
        return len(asked) % 2 == 0

    executed = OnnxRuntime(1).execute(small_model(), 0.2, pause=pause)
    assert len(executed.nodes[0].seconds) == len(executed.end_to_end) > 0 and len(asked) >= 3
    with pytest.raises(UnsteadyError):
        OnnxRuntime(1).execute(small_model(), 0.05, pause=lambda: False)


def test_the_profiler_s_own_time_is_known() -> None:
    assert 0.2e-6 < OnnxRuntime(1).profiler_seconds < 50e-6


def test_a_model_that_cannot_run_is_named() -> None:
    model = small_model()
    model.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(CalibrationError, match="onnxruntime: .*NoSuchOperator"):
        OnnxRuntime(1).execute(model, 0.1)
    with pytest.raises(CalibrationError, match="no device 'tpu'"):
        OnnxRuntime(1, "tpu")


def test_missing_weights_are_made_up_and_stay_where_they_belong(tmp_path: Path) -> None:
    model = small_model()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").rename(tmp_path / "gone.bin")
    with runnable(tmp_path / "m.onnx") as loadable:
        assert isinstance(loadable, str) and Path(loadable).parent != tmp_path
        loaded = onnx.load(loadable)
        weights = {one.name: numpy_helper.to_array(one) for one in loaded.graph.initializer}
    assert not Path(loadable).exists() and not (tmp_path / "w.bin").exists()
    assert weights["w2"].std() == pytest.approx(1 / math.sqrt(32 * 9), rel=0.1)
    assert np.all((weights["b1"] >= 0.5) & (weights["b1"] <= 0.55)) and np.abs(weights["w2"]).min() > 1e-6
    (tmp_path / "gone.bin").rename(tmp_path / "w.bin")
    with runnable(tmp_path / "m.onnx") as loadable:
        assert loadable == str(tmp_path / "m.onnx")
    assert made_up_inputs(model, {"batch": 3})["x"].shape == (3, 3, 32, 32)
    assert made_up_inputs(model)["x"].shape == (1, 3, 32, 32)


def test_profiles_that_are_broken_are_named(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    for content in ('[{"name": "a"', "{}", "[1]", "\x00"):
        path.write_text(content)
        with pytest.raises(CalibrationError, match=r"p\.json: not"):
            read_events(path)
    event = {"cat": "Node", "name": "n_kernel_time", "args": {"op_name": "Relu"}}
    with pytest.raises(CalibrationError, match="no duration"):
        executed_nodes([{**event, "dur": -1}], [])
    (found,) = executed_nodes([{**event, "dur": 9}, {**event, "dur": 3}], [])
    assert found.op_type == "Relu" and found.seconds == (3.5e-6,)


# -- joining ----------------------------------------------------------------------------------------------------------


def node(op_type: str, name: str, inputs: str, outputs: str, seconds: float) -> ExecutedNode:
    return ExecutedNode(op_type, name, tuple(inputs.split()), tuple(outputs.split()), (seconds,) * 7)


def row(pattern: str, operands: str, results: str, nodes: str) -> Described:
    work = (Elementwise(64, 1, DType.F32),)
    return Described(
        Kernel(pattern, work, 0, 256, 256), tuple(results.split()), tuple(nodes.split()), tuple(operands.split())
    )


def test_inserted_nodes_go_with_the_kernel_they_serve() -> None:
    executed = Executed(
        (
            node("ReorderInput", "ReorderInput_1", "x", "t0", 1e-6),
            node("Conv", "relu_nchwc", "t0", "t1", 8e-6),
            node("ReorderOutput", "ReorderOutput_2", "t1", "relu", 2e-6),
            node("Reshape", "gemm_input_reshape", "relu", "t2", 1e-7),
            node("Gemm", "node_mm/MatMulAddFusion", "t2", "t3", 5e-6),
            node("Reshape", "gemm_output_reshape", "t3", "y", 1e-7),
        ),
        (2e-5,) * 7,
    )
    joined = join(
        executed,
        [row("Conv_Relu", "x", "c relu", "node_c node_relu"), row("MatMul_Add", "relu", "m y", "node_mm node_y")],
        "m",
    )
    assert [one.seconds.median for one in joined.samples] == pytest.approx([11e-6, 5.2e-6])
    assert joined.matched_share == 1.0
    assert [(one.name, found.kernel.pattern) for one, found in joined.placed] == [
        ("ReorderInput_1", "Conv_Relu"), ("gemm_input_reshape", "MatMul_Add"),
    ]  # fmt: skip


def test_a_node_without_a_name_is_found_between_its_neighbours() -> None:
    executed = Executed(
        (
            node("Relu", "a", "x", "a", 1e-6),
            node("Transpose", "Transpose_token_5", "a", "t9", 7e-6),
            node("Softmax", "s", "t9", "s", 2e-6),
        ),
        (1e-5,) * 7,
    )
    rows = [row("Relu", "x", "a", "a"), row("Transpose", "a", "moved", "moved"), row("Softmax", "moved", "s", "s")]
    joined = join(executed, rows, "m")
    assert [one.seconds.median for one in joined.samples] == pytest.approx([1e-6, 7e-6, 2e-6])
    assert joined.matched_share == pytest.approx(0.3)


def test_kernels_that_ran_as_one_make_one_sample() -> None:
    """The addition ran inside the convolution that makes one operand and reads where the other one comes from."""
    executed = Executed(
        (
            node("Conv", "r_nchwc", "x", "t0", 1e-6),
            node("Conv", "c_nchwc", "t0 t0", "t1", 4e-6),
            node("Conv", "d_nchwc", "t1", "t2", 2e-6),
        ),
        (1e-5,) * 7,
    )
    rows = [
        row("Conv", "x", "r", "r"),
        row("Conv", "r", "c", "c"),
        row("Add", "c r", "s", "s"),
        row("Conv", "s", "d", "d"),
    ]
    joined = join(executed, rows, "m")
    assert [[one.pattern for one in found.kernels] for found in joined.samples] == [["Conv"], ["Conv", "Add"], ["Conv"]]
    assert [found.seconds.median for found in joined.samples] == pytest.approx([1e-6, 4e-6, 2e-6])
    assert joined.samples[1].nodes == ("c", "s")


def test_profiles_of_another_model_are_refused() -> None:
    executed = Executed((node("Relu", "z", "x", "zz", 1e-6),), (1e-5,))
    with pytest.raises(CalibrationError, match="none of its 1 nodes has a name"):
        join(executed, [row("Relu", "x", "a", "a")], "m")


# -- PyTorch ----------------------------------------------------------------------------------------------------------


def test_pytorch_runs_and_joins_the_small_model() -> None:
    pytest.importorskip("torch")
    from graphs.calibration.measure.pytorch import PyTorch

    model = small_model()
    executed = PyTorch(1).execute(model, 0.1)
    joined = join(executed, kernels_of(model, "host:pytorch-eager@1-thread"), "small")
    assert [one.op_type for one in executed.nodes] == [one.op_type for one in model.graph.node]
    assert sum(one.seconds.median for one in joined.samples) == pytest.approx(executed.seconds)
    assert joined.matched_share == 1.0


def test_pytorch_refuses_what_it_has_no_function_for() -> None:
    pytest.importorskip("torch")
    from graphs.calibration.measure.pytorch import PyTorch

    model = small_model()
    model.graph.node[3].op_type = "NonMaxSuppression"
    with pytest.raises(CalibrationError, match=r'no torch function for NonMaxSuppression \(node "node_s"\)'):
        PyTorch(1).execute(model, 0.1)


def test_a_model_file_is_measurable() -> None:
    one = ModelFile(Path("nets/resnet.onnx"))
    assert (one.name, one.group, one.build()) == ("resnet", "models", Path("nets/resnet.onnx"))


def test_done_needs_all_of_a_benchmark(tmp_path: Path) -> None:
    """Samples of a benchmark whose last line is missing can be read, but the benchmark is not complete."""
    path = tmp_path / "s.jsonl"
    written(path, ("one",))
    lines = path.read_bytes().splitlines(keepends=True)
    assert json.loads(lines[-2]) == {"done": "one"}
    torn = parse_samples(b"".join(lines[:-2]), "s")
    assert len(torn.content.samples) == 2 and not torn.content.done and torn.complete == len(lines[0]) + len(lines[1])
