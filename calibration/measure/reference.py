"""A reference kernel, timed throughout a campaign, that tells how fast the machine is at the moment.

Clocks change, neighbours on a shared machine come and go. What was measured while the machine ran a few per cent slower
than at the campaign's baseline is divided by that; what was measured while its speed changed does not count.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, thread_time, time
from typing import TYPE_CHECKING, Protocol

from ..errors import CalibrationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BASELINE_SECONDS",
    "LARGEST_DRIFT",
    "LARGEST_MOVE",
    "LARGEST_SPLIT",
    "LEAST_PRESENCE",
    "NO_DENORMALS",
    "Drift",
    "Monitor",
    "Reading",
    "Reference",
    "RuntimeReference",
    "baseline_of",
    "drift",
    "slowness",
]

LARGEST_MOVE = 0.06
"""The most by which the reference may differ before and after a block of runs, and from its recent level, for the block
to count."""
LARGEST_DRIFT = 0.20
"""The most by which the machine may be slower or faster than at the baseline for its times to be corrected."""
LARGEST_SPLIT = 0.08
"""The most by which arithmetic and memory may differ in how much slower they are: no one factor would do."""

LEAST_PRESENCE = 0.97
"""The least share of a block that the measuring thread must have had its processor for, for the block to count."""

_RECENT = 11
BASELINE_SECONDS = 3.0
"""How long the reference is read for a baseline."""
_FEWEST_READINGS = 9
_QUICK_SHARE = 0.1
"""The baseline is what a tenth of the readings reach: a shared machine may be disturbed most of the time."""
NO_DENORMALS = "session.set_denormal_as_zero"
"""Inputs, and mostly weights, are made up: what decays to denormal numbers says nothing of the real model's values, and
would make a matrix product up to a hundred times slower. The first session of a process decides for all of them."""

_SIDE = 256
_STREAM_BYTES = 8 << 20
_GEMM_RUNS, _STREAM_RUNS = 12, 5


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds that the reference's matrix product and its copy took, at a time in seconds since 1970."""

    at: float
    gemm: float
    stream: float


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
    """A 256³ matrix product through onnxruntime, and a copy of 8 MiB, on as many threads as is measured with."""

    def __init__(self, threads: int, clock: Callable[[], float] = perf_counter) -> None:
        import numpy as np

        self._clock = clock
        self._matrix = np.random.default_rng(0).random((_SIDE, _SIDE), dtype=np.float32) + np.float32(0.5)
        self._source = np.ones(_STREAM_BYTES // 8)
        self._target = np.empty_like(self._source)
        self._session = _gemm_session(self._matrix, threads)
        self.read()

    def read(self) -> Reading:
        """Time both; of each the lower quartile of several runs, which an interruption or two cannot move."""
        import numpy as np

        gemm = self._timed(lambda: self._session.run(None, {"a": self._matrix}), _GEMM_RUNS)
        stream = self._timed(lambda: np.copyto(self._target, self._source), _STREAM_RUNS)
        return Reading(time(), gemm, stream)

    def _timed(self, run: Callable[[], object], runs: int) -> float:
        times = []
        for _ in range(runs):
            start = self._clock()
            run()
            times.append(self._clock() - start)
        return sorted(times)[len(times) // 4]


def baseline_of(readings: Sequence[Reading]) -> Reading:
    """Return the speed that a campaign's times refer to: what a tenth of several readings reach.

    Raises:
        CalibrationError: there is no reading, or one is no time.
    """
    if not readings:
        raise CalibrationError("no reading of the reference kernel to take a baseline from")
    place = int(_QUICK_SHARE * len(readings))
    found = Reading(
        readings[-1].at,
        sorted(reading.gemm for reading in readings)[place],
        sorted(reading.stream for reading in readings)[place],
    )
    if not all(math.isfinite(seconds) and seconds > 0 for seconds in (found.gemm, found.stream)):
        raise CalibrationError(
            f"the reference kernel took {found.gemm!r} s and {found.stream!r} s: the clock is broken"
        )
    return found


def drift(baseline: Reading, during: Sequence[Reading]) -> Drift:
    """Return the machine's slowness while something was measured, from the readings around the blocks that count.

    It is the geometric mean of both kernels', each the median of its readings. Refused where there is no such block,
    the machine was off the baseline by more than :data:`LARGEST_DRIFT`, or arithmetic and memory differ by more than
    :data:`LARGEST_SPLIT`.
    """
    if not during:
        return Drift(1.0, f"other processes, or changes of speed above {LARGEST_MOVE:.0%}, disturbed every run")
    gemm = _median([reading.gemm for reading in during]) / baseline.gemm
    stream = _median([reading.stream for reading in during]) / baseline.stream
    factor = math.sqrt(gemm * stream)
    if max(gemm / stream, stream / gemm) - 1 > LARGEST_SPLIT:
        apart = f"arithmetic by {gemm - 1:+.1%}, memory by {stream - 1:+.1%}"
        return Drift(factor, f"the machine slowed unevenly: {apart} (at most {LARGEST_SPLIT:.0%} apart)")
    if not 1 / (1 + LARGEST_DRIFT) <= factor <= 1 + LARGEST_DRIFT:
        return Drift(factor, f"the machine was off its baseline by {factor - 1:+.1%} (at most {LARGEST_DRIFT:.0%})")
    return Drift(factor)


def slowness(baseline: Reading, reading: Reading) -> float:
    """Return how much slower a reading is than the baseline: the geometric mean of both kernels'."""
    return math.sqrt(reading.gemm / baseline.gemm * reading.stream / baseline.stream)


class Monitor:
    """Reads the reference between blocks of runs, and tells which blocks the machine held still in.

    A block counts if the readings before and after it agree with each other, and with the median of the last ones, to
    :data:`LARGEST_MOVE`; what a short disturbance touched is dropped, and a lasting change becomes the new level. It
    does not count if other processes took the processor away. That is not asked where ``presence`` is false: for
    accelerators, for which the thread may wait asleep. ``clocks`` are those of the wall and of the thread's own time.
    """

    def __init__(
        self,
        reference: Reference,
        baseline: Reading,
        level: Sequence[Reading] = (),
        presence: bool = True,
        clocks: tuple[Callable[[], float], Callable[[], float]] = (perf_counter, thread_time),
    ) -> None:
        self.baseline = baseline
        self._presence, self._clocks = presence, clocks
        self._since = (0.0, 0.0)
        self.readings = 0
        self._reference = reference
        self._recent: deque[Reading] = deque([*level] or [baseline], maxlen=_RECENT)
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
        wall, own = (clock() - since for clock, since in zip(self._clocks, self._since, strict=True))
        present = not self._presence or own >= LEAST_PRESENCE * wall
        reading, last = self._reference.read(), self._last
        self.readings += 1
        self._recent.append(reading)
        level = self._level()
        counts = present and last is not None and _near(last, reading) and _near(reading, level) and _near(last, level)
        if counts and last is not None:
            self._counted += [last, reading]
        self._last = reading
        self._since = (self._clocks[0](), self._clocks[1]())
        return counts

    def calm(self) -> bool:
        """Read the reference; return whether times measured at this speed could be used.

        If so, and the last ones were of another speed, a spell is over: this reading is the new level.
        """
        reading = self._reference.read()
        calm = not drift(self.baseline, [reading]).refusal
        if calm and not _near(reading, self._level()):
            self._recent.clear()
        self._recent.append(reading)
        return calm

    def _level(self) -> Reading:
        """The median of the last readings."""
        gemm, stream = ([getattr(one, what) for one in self._recent] for what in ("gemm", "stream"))
        return Reading(self.last.at, _median(gemm), _median(stream))

    def faster(self) -> Reading | None:
        """Return the machine's present speed if that is above the baseline's for good: the new baseline."""
        if len(self._recent) < _RECENT:
            return None
        level = self._level()
        if slowness(self.baseline, level) * (1 + LARGEST_MOVE) < 1:
            self.baseline = level
            return level
        return None

    @property
    def last(self) -> Reading:
        """The latest reading."""
        return self._recent[-1]

    def drift(self) -> Drift:
        """Return the drift over the blocks that counted since :meth:`begin`."""
        return drift(self.baseline, self._counted)


def _near(one: Reading, other: Reading) -> bool:
    ratios = (one.gemm / other.gemm, one.stream / other.stream)
    return all(max(ratio, 1 / ratio) - 1 <= LARGEST_MOVE for ratio in ratios)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _gemm_session(matrix: NDArray[np.float32], threads: int) -> _Session:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    shape = [_SIDE, _SIDE]
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
    options.add_session_config_entry(NO_DENORMALS, "1")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session: _Session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session


class _Session(Protocol):
    def run(self, outputs: None, feeds: dict[str, object]) -> object: ...
