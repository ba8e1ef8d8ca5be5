"""A campaign: benchmarks measured one after another within a budget, each result on the disk before the next begins."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Protocol

from ...ir.errors import GraphsError
from ..errors import CalibrationError
from ..sample import Sample, Setting, Statistics
from .described import Described
from .profile import Joined, join
from .reference import BASELINE_SECONDS, Monitor, Reference, correctable
from .runner import Runner, UnsteadyError
from .samples_writer import SamplesWriter
from .torch_program import Network

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Campaign", "Event", "Measurable", "Summary", "UserModel"]

MODELS = "models"
"""The group of models that a user names: their kernels are ``profile`` samples, the whole is a ``network`` sample."""

_LEAST_SHARE = 0.5
_ALLOWANCES, _LEAST_ALLOWED, _MOST_ALLOWED = (1.0, 3.0), 0.5, 20.0
"""How long a benchmark may take: so many times what is expected, as the budget allows, within some seconds."""
_TRIES, _WAIT = 3, 5
_PATIENCE, _DOZE = 0.3, 0.1
_VISIT_SECONDS, _LEAST_APART, _MOST_VISITS, _VISITS_SHARE = 300.0, 45.0, 4, 0.35
"""A network is measured once for every five minutes of the budget, up to four times, spread over what is left of it,
for a share of it at most, and again only when all networks were measured: how fast a shared machine runs one changes
over minutes, which runs in a row do not show. With second visits before all first ones, less was measured in a quarter
of an hour, and predictions were worse."""
_LEARNING = 0.3
_FACTORS = (0.05, 20.0)


class Measurable(Protocol):
    """What can be measured; :class:`~graphs.calibration.suite.benchmark.Benchmark` and :class:`UserModel` are."""

    @property
    def name(self) -> str:
        """Unique in a campaign, and stable: what has been measured is found by it."""
        ...

    @property
    def model(self) -> str:
        """The name that its samples carry: that of the network where it is measured several times."""
        ...

    @property
    def group(self) -> str:
        """What it is one of; how long estimates are off is learnt for each group."""
        ...

    @property
    def precision(self) -> str:
        """As targets spell it."""
        ...

    @property
    def seconds(self) -> float:
        """What measuring it takes, roughly."""
        ...

    def build(self) -> ModelProto | Path | Network:
        """Return the model."""
        ...


@dataclass(frozen=True, slots=True)
class UserModel:
    """A model that the user names, in a file or captured; ``seconds`` is what measuring it takes, roughly.

    It is measured several times, far apart; ``visit`` is the number of the time.
    """

    source: Path | Network
    precision: str = "fp32"
    seconds: float = 5.0
    group: str = MODELS
    visit: int = 1

    @property
    def name(self) -> str:
        """The network's name, and from the second visit on the visit's number."""
        return self.model if self.visit == 1 else f"{self.model} (visit {self.visit})"

    @property
    def model(self) -> str:
        """The network's name, or the file's without its ending."""
        return self.source.stem if isinstance(self.source, Path) else self.source.name

    def build(self) -> Path | Network:
        """Return the source."""
        return self.source


@dataclass(frozen=True, slots=True)
class Event:
    """How far a campaign is; ``last`` is the time of what was measured last, called ``current``."""

    done: int
    total: int
    share: float
    seconds_left: float
    drift: float
    kept: int
    refused: int
    current: str
    last: Statistics | None = None
    problem: str = ""

    @property
    def line(self) -> str:
        """``conv 3×3 s1 128→128 @28  1.92 ms ± 0.8 %  n=31``, or why there is no time."""
        if self.last is None:
            return f"{self.current}  {self.problem}".rstrip()
        half = (self.last.ci_high - self.last.ci_low) / 2 / self.last.median
        return f"{self.current}  {_duration(self.last.median)} ± {100 * half:.1f} %  n={self.last.n}"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a campaign came to; ``left`` are benchmarks that the budget was not enough for."""

    measured: int
    skipped: int
    kept: int
    refused: tuple[tuple[str, str], ...]
    left: int
    seconds: float
    stopped: bool


@dataclass
class Campaign:
    """Measures benchmarks with a runner and appends to a file of samples.

    ``describe`` tells the kernels that are predicted for a model. ``setting`` gives the precision of a benchmark its
    own setting. ``priority`` says what measuring one is worth; it is asked again as measurements come in, so it may
    look at what is known by then. ``whole`` adds the time of a model in one piece for those that it holds for.
    """

    runner: Runner
    reference: Reference
    describe: Callable[[ModelProto | Path | Network], Sequence[Described]]
    writer: SamplesWriter
    budget: float
    priority: Callable[[Measurable], float] = lambda benchmark: 1.0
    progress: Callable[[Event], None] = lambda event: None
    whole: Callable[[Measurable], bool] = lambda benchmark: benchmark.group in (MODELS, "networks")
    clock: Callable[[], float] = monotonic
    baseline_seconds: float = BASELINE_SECONDS
    _factors: dict[str, float] = field(default_factory=dict, init=False)
    _tries: dict[str, int] = field(default_factory=dict, init=False)
    _problems: dict[str, str] = field(default_factory=dict, init=False)
    _resting: dict[str, int] = field(default_factory=dict, init=False)
    _due: dict[str, float] = field(default_factory=dict, init=False)
    _revisited: float = field(default=0.0, init=False)
    _end: float = field(default=math.inf, init=False)
    _measured: int = field(default=0, init=False)
    _void: bool = field(default=False, init=False)
    _waited: float = field(default=0.0, init=False)

    def run(self, benchmarks: Sequence[Measurable]) -> Summary:
        """Measure until everything is, or the budget is gone, or the user interrupts; what is in the file is left out.

        Raises:
            CalibrationError: the samples cannot be written, or two benchmarks have one name.
        """
        names = [benchmark.name for benchmark in benchmarks]
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if twice is not None:
            raise CalibrationError(f'two benchmarks are called "{twice}"', help="names tell what has been measured")
        began, stopped = self.clock(), False
        self._end = began + self.budget
        benchmarks = [*benchmarks, *self._visits(benchmarks)]
        waiting = [one for one in benchmarks if not self.writer.has(one.name, self._setting(one))]
        skipped = len(benchmarks) - len(waiting)
        ahead = {one.name for one in waiting}
        for one in benchmarks:
            if one.name not in ahead:
                self._come_back(one, at_once=True)
        with _interruptible() as uninterrupted:
            self._guard = uninterrupted
            try:
                monitor = self._monitor()
                while (chosen := self._choose(waiting, began + self.budget - self.clock())) is not None:
                    left = began + self.budget - self.clock()
                    event = self._measure(chosen, monitor, self._allowed(chosen, waiting, left))
                    if chosen.name not in self._resting:
                        waiting.remove(chosen)
                        if chosen.name in self._problems:
                            waiting = [one for one in waiting if one.model != chosen.model]
                    if self._void:
                        waiting, skipped = self._all_again(benchmarks), 0
                    self._tell(event, waiting, skipped, began)
            except KeyboardInterrupt:
                stopped = True
        left = sum(one.name not in self._problems for one in waiting)
        return Summary(
            self._measured,
            skipped,
            self.writer.kept,
            tuple(self._problems.items()),
            left,
            self.clock() - began,
            stopped,
        )

    def _all_again(self, benchmarks: Sequence[Measurable]) -> list[Measurable]:
        """What is to be measured when all that was measured so far does not count (:func:`correctable`)."""
        self._void, self._measured = False, 0
        self._due = dict.fromkeys(self._due, math.inf)
        return [one for one in benchmarks if one.name not in self._problems or one.name in self._resting]

    @property
    def _visits_each(self) -> int:
        """How often each of the user's models is measured, at least once."""
        return max(1, min(_MOST_VISITS, int(self.budget / _VISIT_SECONDS)))

    def _visits(self, benchmarks: Sequence[Measurable]) -> Iterator[UserModel]:
        """The later visits of the user's models, as many as the budget has room for."""
        for visit in range(2, self._visits_each + 1):
            for one in benchmarks:
                if isinstance(one, UserModel):
                    self._due[replace(one, visit=visit).name] = math.inf
                    yield replace(one, visit=visit)

    def _come_back(self, measured: Measurable, at_once: bool = False) -> None:
        """Make the visit after one that was measured due, such that those to come are spread over the time left."""
        if not isinstance(measured, UserModel) or measured.visit >= self._visits_each:
            return
        now = self.clock()
        apart = (self._end - now) / (self._visits_each - measured.visit + 1)
        later = 0.0 if at_once else min(max(apart, _LEAST_APART), _VISIT_SECONDS)
        self._due[replace(measured, visit=measured.visit + 1).name] = now + later

    def _setting(self, benchmark: Measurable) -> Setting:
        own = self.writer.setting
        return Setting(own.device, own.runtime, own.mode, benchmark.precision)

    def _monitor(self) -> Monitor:
        """The machine's speed now, against the baseline of the file where it has one, so that its samples agree."""
        found = self.writer.found.baseline if self.writer.found is not None else None
        monitor = Monitor.starting(self.reference, found, self.runner.on_processor, self.baseline_seconds)
        if found is None:
            with self._guard():
                self.writer.reference(monitor.baseline, baseline=True)
        return monitor

    # -- one benchmark ------------------------------------------------------------------------------------------------

    def _allowed(self, benchmark: Measurable, waiting: Sequence[Measurable], left: float) -> float:
        """Seconds of runs: more than expected only so far as the budget has room for all, or one would take others'."""
        least, most = _ALLOWANCES
        share = min(max(left / sum(map(self.cost, waiting)), least), most)
        return min(max(share * self.cost(benchmark), _LEAST_ALLOWED), _MOST_ALLOWED, max(left, _LEAST_ALLOWED))

    def _measure(self, benchmark: Measurable, monitor: Monitor, allowed: float) -> Event:
        """Measure a benchmark and write what came of it; an unsteady one is left waiting, to be tried again later."""
        setting = self._setting(benchmark)
        self._wait_for_calm(monitor)
        began = self.clock()
        monitor.begin()
        self._resting.pop(benchmark.name, None)
        last, problem = None, ""
        try:
            samples, last = self._samples(benchmark, monitor, allowed)
        except UnsteadyError as error:
            problem = str(error)
            tries = self._tries[benchmark.name] = self._tries.get(benchmark.name, 0) + 1
            if tries < _TRIES:
                self._resting[benchmark.name] = _WAIT
        except (GraphsError, MemoryError, OSError) as error:
            problem = " ".join(str(error).split()) or type(error).__name__
        with self._guard():
            self.writer.reference(monitor.last)
            if problem:
                self._problems[benchmark.name] = problem
                self.writer.refuse(benchmark.name, problem, setting)
            else:
                self._problems.pop(benchmark.name, None)
                self.writer.add(benchmark.name, samples, setting)
                self._measured += 1
                now = self.clock()
                self._learn(benchmark, now - began)
                self._revisited += (now - began) * (benchmark.name in self._due)
                self._come_back(benchmark)
        self._rebase(monitor)  # behind the samples, which refer to the baseline so far
        return Event(0, 0, 0.0, 0.0, monitor.drift().factor, 0, 0, benchmark.name, last, problem)

    def _wait_for_calm(self, monitor: Monitor) -> None:
        """Let a slow spell of the machine pass, for a share of the budget in all: what it spoils is done again."""
        began = self.clock()
        while not monitor.calm() and self._waited + self.clock() - began < _PATIENCE * self.budget:
            self._rebase(monitor)
            sleep(_DOZE)
        self._waited += self.clock() - began

    def _rebase(self, monitor: Monitor) -> None:
        """Write a new baseline if the machine turned out better than at the one so far."""
        old, rebased = monitor.baseline, monitor.faster()
        if rebased is not None:
            self._void = self._void or not correctable(old, rebased)
            with self._guard():
                self.writer.reference(rebased, baseline=True)

    def _samples(self, benchmark: Measurable, monitor: Monitor, allowed: float) -> tuple[list[Sample], Statistics]:
        model, whole = benchmark.build(), self.whole(benchmark)
        executed = self.runner.execute(model, allowed, end_to_end=whole, pause=monitor.pause)
        drift = monitor.drift()
        if drift.refusal:
            raise UnsteadyError(drift.refusal)
        own = benchmark.group == MODELS
        described = self.describe(model)
        del model
        joined: Joined = join(
            executed, described, benchmark.model, drift.factor, "profile" if own else "microbenchmark"
        )
        if joined.matched_share < _LEAST_SHARE:
            raise CalibrationError(
                f"only {joined.matched_share:.0%} of the executed time belongs to kernels that were predicted"
            )
        if not whole:
            return list(joined.samples), joined.executed
        return [*joined.samples, joined.end_to_end], joined.end_to_end.seconds

    # -- the order ----------------------------------------------------------------------------------------------------

    def cost(self, benchmark: Measurable) -> float:
        """Seconds that measuring it is expected to take, going by what others of its group took."""
        return max(benchmark.seconds, 1e-3) * self._factors.get(benchmark.group, self._factors.get("", 1.0))

    def _learn(self, benchmark: Measurable, took: float) -> None:
        seen = min(max(took / max(benchmark.seconds, 1e-3), _FACTORS[0]), _FACTORS[1])
        for key in (benchmark.group, ""):
            old = self._factors.get(key)
            self._factors[key] = seen if old is None else old ** (1 - _LEARNING) * seen**_LEARNING

    def _choose(self, waiting: Sequence[Measurable], left: float) -> Measurable | None:
        """The benchmark that is worth most for its time, of those that the budget still has room for.

        Another visit of a network is made when it is due, and all networks have had their first. What was unsteady
        waits until a few others were measured. Both wait no longer than something else is left.
        """
        if left <= 0:
            return None
        fits = [one for one in waiting if self.cost(one) <= left]
        unvisited = any(isinstance(one, UserModel) and one.visit == 1 for one in fits)
        if not unvisited and self._revisited < _VISITS_SHARE * self.budget:
            due = [one for one in fits if self._due.get(one.name, math.inf) <= self.clock()]
            if due:
                return min(due, key=lambda one: self._due[one.name])
        first = [one for one in fits if one.name not in self._due] or fits
        ready = [one for one in first if one.name not in self._resting] or first
        for name in self._resting:
            self._resting[name] -= 1
        for name in [name for name, wait in self._resting.items() if wait <= 0]:
            ready += [one for one in first if one.name == name and one not in ready]
        return max(ready, key=self._worth, default=None)

    def _worth(self, benchmark: Measurable) -> float:
        worth = self.priority(benchmark)
        return worth / self.cost(benchmark) if math.isfinite(worth) else -math.inf

    def _tell(self, event: Event, waiting: Sequence[Measurable], skipped: int, began: float) -> None:
        spent = self.clock() - began
        ahead = sum(map(self.cost, waiting))
        seconds_left = max(0.0, min(self.budget - spent, ahead))
        names = {one.name for one in waiting}
        total = skipped + self._measured + sum(name not in names for name in self._problems) + len(waiting)
        self.progress(
            Event(
                total - len(waiting),
                total,
                spent / (spent + seconds_left) if spent + seconds_left else 1.0,
                seconds_left,
                event.drift,
                self.writer.kept,
                len(self._problems),
                event.current,
                event.last,
                event.problem,
            )
        )

    _guard: Callable[[], _Guard] = field(default=lambda: _Guard([False, False]), init=False)


class _Guard:
    """A context that an interrupt waits for the end of."""

    def __init__(self, state: list[bool]) -> None:
        self.state = state  # whether it is inside, and whether an interrupt came meanwhile

    def __enter__(self) -> None:
        self.state[0] = True

    def __exit__(self, *_: object) -> None:
        self.state[0] = False
        if self.state[1]:
            self.state[1] = False
            raise KeyboardInterrupt


@contextmanager
def _interruptible() -> Iterator[Callable[[], _Guard]]:
    """Yield a guard for what must not be interrupted half way; Ctrl-C and a polite kill elsewhere stop the campaign."""
    state = [False, False]

    def interrupt(number: int, frame: object) -> None:
        if state[0]:
            state[1] = True
        else:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: _Guard(state)
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: _Guard(state)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
