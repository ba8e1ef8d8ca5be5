"""A reference kernel, timed throughout a campaign, that tells how fast the machine is at the moment.

Clocks change, neighbours on a shared machine come and go. What was measured while the processor ran a few per cent
slower than at the campaign's baseline is divided by that: all that it does follows its clock. How far a kernel follows
main memory differs from kernel to kernel, so there is no dividing by that: what was measured while memory was much
slower, or while the machine's speed changed, does not count.

Readings flicker by themselves, most of all those of memory where strangers share it. How much they usually do is learnt
from the readings themselves: only what is beyond that is a change of speed, and few readings correct little.

A virtual machine's processors may be moved meanwhile to cores of the host that share a cache, or that do not: what one
thread wrote and another one reads then takes three times as long, arithmetic as long as ever. Whole networks on two
threads take up to half as long again, so only what was measured at the baseline's distance counts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from time import perf_counter, thread_time, time
from typing import TYPE_CHECKING, Protocol

from ..errors import CalibrationError
from .handover import Handover
from .presence import Account, account, kept_waiting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BASELINE_SECONDS",
    "LARGEST_DRIFT",
    "LARGEST_FLICKER",
    "LARGEST_HANDOVER",
    "LARGEST_MOVE",
    "LARGEST_SPLIT",
    "LEAST_PRESENCE",
    "NO_DENORMALS",
    "STOP_SPINNING",
    "Drift",
    "Flicker",
    "Monitor",
    "Reading",
    "Reference",
    "RuntimeReference",
    "baseline_of",
    "correctable",
    "drift",
    "level_of",
    "moved",
    "slowness",
]

LARGEST_MOVE = 0.06
"""The most by which the reference may differ before and after a block of runs, and from its recent level, for the block
to count."""
LARGEST_DRIFT = 0.20
"""The most by which the machine may be slower or faster than at the baseline for its times to be corrected."""
LARGEST_SPLIT = 0.08
"""The most by which memory may be slower than arithmetic is: no one factor would do."""
LARGEST_FLICKER = 0.25
"""The most that readings may differ by and pass for the usual."""
LARGEST_HANDOVER = 1.7
"""The most that handing data from one core to another may be slower or faster by than at the baseline. On Zen 4 copying
64 KiB that another core wrote takes 1.7 to 2.2 times as long as copying its own if both share a cache, 4.3 to 5.9 times
if they do not."""

LEAST_PRESENCE = 0.97
"""The least share of a block that the measuring thread must have had its processor for, for the block to count."""

_RECENT, _USUAL = 11, 41
"""How many readings tell the present speed, and how many what is usual."""
BASELINE_SECONDS = 3.0
"""How long the reference is read for a baseline."""
_FEWEST_READINGS = 9
_NORMAL_MAD = 1.4826
_SIGMAS = 3.0
_EXPECTED_DRIFT = 0.05
"""What drifts are like before anything was read, as a standard deviation: it draws uncertain readings to none."""
NO_DENORMALS = "session.set_denormal_as_zero"
"""Inputs, and mostly weights, are made up: what decays to denormal numbers says nothing of the real model's values, and
would make a matrix product up to a hundred times slower. The first session of a process decides for all of them."""
STOP_SPINNING = "session.force_spinning_stop"
"""Several sessions run in turns: threads of one that go on spinning after a run would take the next one's cores."""

_SIDE, _SIDE_STEP, _SHARED_WORK = 256, 16, 4
"""The product has 256³ multiply-accumulates on one thread. On several each has four times that, so that waking the
others takes no part in it to speak of."""
_CACHES, _LEAST_STREAM, _MOST_STREAM = 2, 8 << 20, 64 << 20
"""What is copied is twice the caches, within these bytes: a copy inside a shared cache tells of its other users."""
_GEMM_RUNS, _STREAM_RUNS = 12, 3


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds that the reference's matrix product and its copy took, at a time in seconds since 1970.

    ``handover`` is how many times as long copying takes of what another core just wrote; 0 where that was not read.
    """

    at: float
    gemm: float
    stream: float
    handover: float = 0.0


@dataclass(frozen=True, slots=True)
class Drift:
    """How much slower the machine was than at the baseline (1.05: by 5 %); ``refusal`` says why it cannot be used."""

    factor: float
    refusal: str = ""


class Reference(Protocol):
    """Anything that reads the machine's present speed."""

    def read(self) -> Reading:
        """Time the reference kernel."""
        ...


class RuntimeReference:
    """A matrix product through onnxruntime on as many threads as is measured with, and a copy from main memory.

    On several threads what one core hands to another as well. ``cache_bytes`` is the size of the machine's largest
    cache.
    """

    def __init__(self, threads: int, cache_bytes: int = 0, clock: Callable[[], float] = perf_counter) -> None:
        import numpy as np

        self._clock = clock
        side = _SIDE if threads == 1 else round(_SIDE * (_SHARED_WORK * threads) ** (1 / 3) / _SIDE_STEP) * _SIDE_STEP
        self._matrix = np.random.default_rng(0).random((side, side), dtype=np.float32) + np.float32(0.5)
        self._source = np.ones(min(max(_CACHES * cache_bytes, _LEAST_STREAM), _MOST_STREAM) // 8)
        self._target = np.empty_like(self._source)
        self._session = _gemm_session(self._matrix, threads)
        self._handover = Handover.between_cores() if threads > 1 else None
        self.read()

    def read(self) -> Reading:
        """Time both; of each the lower quartile of several runs, which an interruption or two cannot move."""
        import numpy as np

        gemm = self._timed(lambda: self._session.run(None, {"a": self._matrix}), _GEMM_RUNS)
        stream = self._timed(lambda: np.copyto(self._target, self._source), _STREAM_RUNS)
        return Reading(time(), gemm, stream, self._handover.read() if self._handover else 0.0)

    def _timed(self, run: Callable[[], object], runs: int) -> float:
        times = []
        for _ in range(runs):
            start = self._clock()
            run()
            times.append(self._clock() - start)
        return sorted(times)[len(times) // 4]


@dataclass(frozen=True, slots=True)
class Flicker:
    """How far single readings usually are from the machine's speed: standard deviations of their logarithms.

    They are those of the differences between one reading and the next: between readings that are far apart the speed
    itself has changed, which is no error of theirs.
    """

    gemm: float = 0.0
    stream: float = 0.0

    @staticmethod
    def of(readings: Sequence[Reading]) -> Flicker:
        """Return that of some readings in their order, whatever single ones of them were disturbed by."""
        return Flicker(_spread([one.gemm for one in readings]), _spread([one.stream for one in readings]))


_STEADY = Flicker()


def baseline_of(readings: Sequence[Reading]) -> Reading:
    """Return the speed that a campaign's times refer to: the median of several readings.

    Raises:
        CalibrationError: there is no reading, or one is no time.
    """
    if not readings:
        raise CalibrationError("no reading of the reference kernel to take a baseline from")
    found = level_of(readings)
    if not all(math.isfinite(seconds) and seconds > 0 for seconds in (found.gemm, found.stream)):
        raise CalibrationError(
            f"the reference kernel took {found.gemm!r} s and {found.stream!r} s: the clock is broken"
        )
    return found


def drift(baseline: Reading, during: Sequence[Reading], flicker: Flicker = _STEADY) -> Drift:
    """Return the machine's slowness while something was measured, from the readings around the blocks that count.

    It is arithmetic's, the median of its readings, drawn to one as far as that is uncertain: the posterior mean under a
    normal prior. Refused where there is no such block, the machine was off the baseline by more than
    :data:`LARGEST_DRIFT`, memory was slower by more than :data:`LARGEST_SPLIT` and twice its uncertainty, or the cores
    stood nearer to each other or further apart.
    """
    if not during:
        return Drift(1.0, f"other processes, or changes of speed above {LARGEST_MOVE:.0%}, disturbed every run")
    level, count = level_of(during), len(during)
    gemm, stream = level.gemm / baseline.gemm, level.stream / baseline.stream
    of_gemm, of_stream = flicker.gemm**2 / count, flicker.stream**2 / count
    factor = math.exp(math.log(gemm) / (1 + of_gemm / _EXPECTED_DRIFT**2))
    if math.log(stream / gemm) > math.log1p(LARGEST_SPLIT) + 2 * math.sqrt(of_gemm + of_stream):
        apart = f"arithmetic by {gemm - 1:+.1%}, memory by {stream - 1:+.1%}"
        return Drift(factor, f"the machine slowed unevenly: {apart} (at most {LARGEST_SPLIT:.0%} apart)")
    if moved(baseline, level):
        apart = f"handing data over took {level.handover:.1f} times a copy, not {baseline.handover:.1f} times"
        return Drift(factor, f"the cores had been moved: {apart}")
    if not 1 / (1 + LARGEST_DRIFT) <= factor <= 1 + LARGEST_DRIFT:
        return Drift(factor, f"the machine was off its baseline by {factor - 1:+.1%} (at most {LARGEST_DRIFT:.0%})")
    return Drift(factor)


def slowness(baseline: Reading, reading: Reading) -> float:
    """Return how much slower a reading's arithmetic is than the baseline's: what times are divided by."""
    return reading.gemm / baseline.gemm


def correctable(old: Reading, new: Reading) -> bool:
    """Return whether what was measured at an old baseline can be brought to a new one, of a better machine."""
    return slowness(new, old) <= 1 + LARGEST_DRIFT and not moved(new, old)


class Monitor:
    """Reads the reference between blocks of runs, and tells which blocks the machine held still in.

    A block counts if the readings before and after it agree with each other, and with the baseline or the median of the
    last ones, to :data:`LARGEST_MOVE` or as well as readings usually do. What a short disturbance touched is dropped; a
    lasting change becomes the new level, which is of use as long as it is near enough to the baseline. A block does not
    count if other processes took a processor away from a thread at work. That is not asked where ``presence`` is false:
    for accelerators, for which the thread may wait asleep. ``clocks`` are those of the wall and of the thread's own
    time, ``threads`` tells how long each of the process's had to wait.
    """

    def __init__(
        self,
        reference: Reference,
        baseline: Reading,
        level: Sequence[Reading] = (),
        presence: bool = True,
        clocks: tuple[Callable[[], float], Callable[[], float]] = (perf_counter, thread_time),
        threads: Callable[[], Account] = account,
    ) -> None:
        self.baseline = baseline
        self._presence, self._clocks, self._threads = presence, clocks, threads
        self._since = (0.0, 0.0)
        self._account: Account = {}
        self.readings = 0
        self._reference = reference
        self._usual: deque[Reading] = deque([*level] or [baseline], maxlen=_USUAL)
        self._recent: deque[Reading] = deque(self._usual, maxlen=_RECENT)
        self._last: Reading | None = None
        self._counted: list[Reading] = []

    @staticmethod
    def starting(
        reference: Reference,
        baseline: Reading | None = None,
        presence: bool = True,
        seconds: float = BASELINE_SECONDS,
    ) -> Monitor:
        """Return a monitor after a few readings; where no baseline is given, some ``seconds`` of them are it."""
        readings = [reference.read() for _ in range(_FEWEST_READINGS)]
        until = perf_counter() + (seconds if baseline is None else 0.0)
        while perf_counter() < until:
            readings.append(reference.read())
        return Monitor(reference, baseline or baseline_of(readings), readings, presence)

    def begin(self) -> None:
        """Start watching over a measurement."""
        self._last = None
        self._counted = []

    def pause(self) -> bool:
        """Read the reference; return whether the block since the last reading counts."""
        present = not self._presence or self._present()
        reading, last = self._read(), self._last
        self.readings += 1
        counts = present and last is not None and self._steady(last, reading) and self._usable([last, reading])
        if counts and last is not None:
            self._counted += [reading] if self._counted and self._counted[-1] is last else [last, reading]
        self._last = reading
        self._since = (self._clocks[0](), self._clocks[1]())
        self._account = self._threads()
        return counts

    def _present(self) -> bool:
        """Whether this thread, and all that worked with it, had their processors since the last reading."""
        wall, own = (clock() - since for clock, since in zip(self._clocks, self._since, strict=True))
        kept = kept_waiting(self._account, self._threads(), wall)
        return own >= LEAST_PRESENCE * wall and kept <= (1 - LEAST_PRESENCE) * wall

    def calm(self) -> bool:
        """Read the reference; return whether times measured at this speed could be used.

        If so, and the last ones were of another speed, a spell is over: this reading is the new level.
        """
        reading = self._reference.read()
        self._usual.append(reading)
        calm = self._usable([reading])
        if calm and not _near(reading, self._level(), self._tolerances()):
            self._recent.clear()
        self._recent.append(reading)
        return calm

    def _usable(self, readings: Sequence[Reading]) -> bool:
        """Whether times measured at this speed can be corrected."""
        off = slowness(self.baseline, level_of(readings))
        near = max(off, 1 / off) <= 1 + LARGEST_DRIFT and not any(moved(self.baseline, one) for one in readings)
        return near and not drift(self.baseline, readings, Flicker.of(self._usual)).refusal

    def _read(self) -> Reading:
        reading = self._reference.read()
        self._recent.append(reading)
        self._usual.append(reading)
        return reading

    def _steady(self, before: Reading, after: Reading) -> bool:
        """Whether two readings agree with each other, and with the present level or the baseline.

        A machine that is slow half of the time has no level that its better moments could agree with.
        """
        tolerances = self._tolerances()
        speeds = (self._level(), self.baseline)
        usual = any(_near(before, one, tolerances) and _near(after, one, tolerances) for one in speeds)
        return usual and _near(before, after, tolerances)

    def _tolerances(self) -> tuple[float, float]:
        """By how much readings of arithmetic and of memory may differ at one speed."""
        flicker = Flicker.of(self._usual)
        return _tolerance(flicker.gemm), _tolerance(flicker.stream)

    def _level(self) -> Reading:
        """The median of the last readings."""
        return level_of(self._recent)

    def faster(self) -> Reading | None:
        """Return the machine's usual state if that is above the baseline's by now, its arithmetic faster or its cores
        nearer to each other: the new baseline."""
        if len(self._usual) < _USUAL:
            return None
        level = level_of(self._usual)
        nearer = moved(self.baseline, level) and level.handover < self.baseline.handover
        if nearer or self.baseline.gemm / level.gemm > 1 + self._tolerances()[0]:
            self.baseline = level
            return level
        return None

    @property
    def last(self) -> Reading:
        """The latest reading."""
        return self._recent[-1]

    def drift(self) -> Drift:
        """Return the drift over the blocks that counted since :meth:`begin`."""
        return drift(self.baseline, self._counted, Flicker.of(self._usual))


def _near(one: Reading, other: Reading, tolerances: tuple[float, float]) -> bool:
    ratios = (one.gemm / other.gemm, one.stream / other.stream)
    return all(max(ratio, 1 / ratio) - 1 <= most for ratio, most in zip(ratios, tolerances, strict=True))


def _tolerance(flicker: float) -> float:
    return min(max(LARGEST_MOVE, _SIGMAS * flicker), LARGEST_FLICKER)


def level_of(readings: Sequence[Reading]) -> Reading:
    """Return the median of several readings, at the time of the last."""
    gemm, stream = median([one.gemm for one in readings]), median([one.stream for one in readings])
    handovers = [one.handover for one in readings if one.handover]
    return Reading(readings[-1].at, gemm, stream, median(handovers) if handovers else 0.0)


def moved(baseline: Reading, reading: Reading) -> bool:
    """Return whether cores stand nearer to each other than at the baseline, or further apart.

    Where one of both did not ask, they do not.
    """
    if not baseline.handover or not reading.handover:
        return False
    ratio = reading.handover / baseline.handover
    return max(ratio, 1 / ratio) > LARGEST_HANDOVER


def _spread(seconds: Sequence[float]) -> float:
    """Standard deviation of the logarithm of one, by the median absolute difference of one and the next."""
    if len(seconds) < 2:
        return 0.0
    return _NORMAL_MAD / math.sqrt(2) * median([abs(math.log(next_ / one)) for one, next_ in pairwise(seconds)])


def _gemm_session(matrix: NDArray[np.float32], threads: int) -> _Session:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    shape = list(matrix.shape)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "reference",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(matrix, "b")],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    for entry in (NO_DENORMALS, STOP_SPINNING):
        options.add_session_config_entry(entry, "1")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session: _Session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session


class _Session(Protocol):
    def run(self, outputs: None, feeds: dict[str, object]) -> object: ...
