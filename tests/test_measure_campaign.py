"""Campaigns: budgets, order, resuming, refusing, interrupts and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import pytest
from measuring import SETTING, Speed, Toy, ToyRunner, campaign

from graphs.calibration.errors import CalibrationError
from graphs.calibration.measure import samples_writer
from graphs.calibration.measure.campaign import Event, Summary, UserModel
from graphs.calibration.measure.executed import Executed
from graphs.calibration.measure.reference import Reading
from graphs.calibration.measure.samples_file import read_samples


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


def test_worth_counts_for_its_time(tmp_path: Path) -> None:
    runner = ToyRunner()
    worth = {"cheap": 1.0, "dear": 3.0, "good": 9.0, "worthless": 0.0}
    campaign(tmp_path / "s.jsonl", runner, priority=lambda one: worth[one.name]).run(
        [Toy("worthless"), Toy("dear", 4.0), Toy("cheap"), Toy("good", 2.0)]
    )
    assert runner.ran == ["good", "cheap", "dear", "worthless"]


def test_costs_are_learnt_from_what_was_seen(tmp_path: Path) -> None:
    running = campaign(tmp_path / "s.jsonl", ToyRunner())
    running.run([Toy(f"t{i}", 0.5) for i in range(6)])
    assert running.cost(Toy("next", 0.5)) == pytest.approx(2.0)
    assert running.cost(Toy("other", 1.0, group="stream")) == pytest.approx(4.0)


class Networks(ToyRunner):
    """Runs files of networks as toys of their names."""

    def execute(self, model: onnx.ModelProto | Path, allowed: float, **options: Any) -> Executed:
        toy = Toy(model.stem).build() if isinstance(model, Path) else model
        return super().execute(toy, allowed, **options)


def test_networks_are_visited_again_minutes_later(tmp_path: Path) -> None:
    path, runner = tmp_path / "s.jsonl", Networks()
    nets = [UserModel(Path(f"{name}.onnx"), seconds=2.0) for name in "ab"]
    first = campaign(path, runner, 1000.0)
    first.run([*nets, *(Toy(f"t{i}", 2.0) for i in range(600))])
    first.writer.close()
    visits = [i * 2.0 for i, name in enumerate(runner.ran) if name == "a"]
    assert len(visits) == 3 and visits[0] == 0.0
    assert [later - sooner for sooner, later in pairwise(visits)] == pytest.approx([300.0, 300.0], abs=8.0)
    found = read_samples(path)
    assert [sample.model for sample in found.samples if sample.model in "ab"] == ["a", "a", "b", "b"] * 3
    assert {"a", "a (visit 2)", "b (visit 3)"} <= {name for name, _ in found.done}
    again = Networks()
    second = campaign(path, again, 2000.0)
    second.run(nets)
    second.writer.close()
    assert again.ran == ["a", "b"], "a fourth time each, and at once"


def test_visits_of_a_network_that_comes_late_are_spread_over_what_is_left(tmp_path: Path) -> None:
    runner = Networks()
    toys = [Toy(f"t{i}", 2.0) for i in range(500)]
    worth = {"a": 0.5, **{toy.name: 1.0 for toy in toys[:350]}}
    running = campaign(tmp_path / "s.jsonl", runner, 1000.0, priority=lambda one: worth.get(one.name, 0.1))
    running.run([UserModel(Path("a.onnx"), seconds=2.0), *toys])
    visits = [i * 2.0 for i, name in enumerate(runner.ran) if name == "a"]
    assert visits == pytest.approx([700.0, 800.0, 900.0], abs=8.0)


def test_no_network_is_visited_again_before_all_were_measured(tmp_path: Path) -> None:
    runner = Networks()
    worth = {"b": 0.1, "a": 2.0}
    running = campaign(tmp_path / "s.jsonl", runner, 1000.0, priority=lambda one: worth.get(one.name, 1.0))
    running.run(
        [UserModel(Path(f"{name}.onnx"), seconds=2.0) for name in "ab"] + [Toy(f"t{i}", 2.0) for i in range(350)]
    )
    assert runner.ran.index("a") == 0 and runner.ran[1:].index("a") > runner.ran.index("b") - 2


def test_a_network_that_cannot_be_measured_is_not_visited_again_and_a_short_budget_has_one_visit(
    tmp_path: Path,
) -> None:
    runner = Networks()
    runner.unsteady["a"] = 99
    summary = campaign(tmp_path / "s.jsonl", runner, 1000.0).run([UserModel(Path("a.onnx")), Toy("t")])
    assert runner.ran.count("a") == 3 and summary.left == 0 and dict(summary.refused) == {"a": "disturbed"}
    short = Networks()
    campaign(tmp_path / "q.jsonl", short, 120.0).run(
        [UserModel(Path("a.onnx"), seconds=0.5), *(Toy(f"t{i}") for i in range(90))]
    )
    assert short.ran.count("a") == 1


@pytest.mark.parametrize(("budget", "share"), [(30.0, 1.0), (1e6, 3.0), (120.0, 1.5)])
def test_a_benchmark_takes_longer_than_expected_only_where_the_budget_is_enough_for_all(
    tmp_path: Path, budget: float, share: float
) -> None:
    runner = ToyRunner()
    campaign(tmp_path / "s.jsonl", runner, budget).run([Toy(f"t{i}", 2.0) for i in range(40)])
    assert runner.allowed[0] == pytest.approx(2.0 * share, rel=0.01)


def test_what_was_unsteady_is_recorded_and_tried_again_later(tmp_path: Path) -> None:
    runner = ToyRunner()
    runner.unsteady = {"a": 1, "b": 99}
    running = campaign(tmp_path / "s.jsonl", runner, priority=lambda one: {"a": 9.0, "b": 8.0}.get(one.name, 1.0))
    summary = running.run([Toy("a"), Toy("b"), *(Toy(f"t{i}") for i in range(8))])
    assert runner.ran[0] == "a" and runner.ran.count("a") == 2 and runner.ran.index("a", 1) > 3
    assert runner.ran.count("b") == 3 and dict(summary.refused) == {"b": "disturbed"}
    found = read_samples(tmp_path / "s.jsonl")
    assert [row.benchmark for row in found.refused].count("a") == 1 and ("a", SETTING) in found.done


def test_a_slow_spell_is_waited_for(tmp_path: Path) -> None:
    """The machine is slow for the twenty readings after the baseline; nothing is refused for it."""
    running = campaign(tmp_path / "s.jsonl", runner := ToyRunner())
    speed, reads = running.reference, []
    assert isinstance(speed, Speed)

    def read() -> Reading:
        reads.append(1)
        runner.now += 0.1
        slow = 1.5 if 9 < len(reads) < 30 else 1.0
        return Reading(float(len(reads)), 2e-4 * slow, 1e-3)

    speed.read = read  # type: ignore[method-assign]  # the machine of this test
    summary = running.run([Toy("a"), Toy("b")])
    assert summary.measured == 2 and not summary.refused and len(reads) > 30


def test_a_better_machine_that_turns_up_while_waiting_is_the_new_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cores were apart when the baseline was read and the first was measured, and share a cache from then on."""
    monkeypatch.setattr("graphs.calibration.measure.campaign.sleep", lambda seconds: None)
    running = campaign(tmp_path / "s.jsonl", runner := ToyRunner(), budget=1e3)
    speed, reads = running.reference, []
    assert isinstance(speed, Speed)

    def read() -> Reading:
        reads.append(1)
        runner.now += 0.1
        return Reading(float(len(reads)), 2e-4, 1e-3, 6.0 if len(reads) < 13 else 1.5)

    speed.read = read  # type: ignore[method-assign]  # the machine of this test
    summary = running.run([Toy("a"), Toy("b"), Toy("c")])
    found = read_samples(tmp_path / "s.jsonl")
    assert summary.measured == 3 and not summary.refused and len(found.done) == 3
    assert found.baseline is not None and found.baseline.handover == 1.5
    assert runner.ran[0] in runner.ran[1:], "what was measured with cores apart was measured again"


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
        import measuring as t
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


def test_a_model_file_is_measurable() -> None:
    one = UserModel(Path("nets/resnet.onnx"))
    assert (one.name, one.group, one.build()) == ("resnet", "models", Path("nets/resnet.onnx"))
