"""Runs networks operator by operator through eager PyTorch, and times each as eager runs it.

Every operator of an ONNX model is one call of a torch function, as a network written by hand would make it. One that
has no entry in the table is refused by name: a network with a part left out would be too fast. A captured network is
run call by call, as it was captured; its whole runs are those of the user's own module.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import CalibrationError
from .executed import Executed, ExecutedNode
from .runner import UnsteadyError
from .statistics import precise_enough, statistics
from .torch_onnx import loaded, onnx_program
from .torch_operators import tensor_of
from .torch_program import Network, Program, torch_of
from .weights import made_up_inputs, runnable

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["PyTorch"]

_DEVICES = ("cpu", "cuda")
_MOST = 400
_LEAST_SECONDS = 0.04
_BLOCK_SECONDS, _LONGEST_BLOCK = 0.1, 10


@dataclass(frozen=True)
class PyTorch:
    """Eager PyTorch on this machine with ``threads`` threads, on ``cpu`` or ``cuda``.

    On ``cuda`` a node's time is that between events in the stream before and after it: what the device takes, or waits
    for the launch. ``dims`` are the extents of symbolic dimensions, ``"*"`` those of all others. On ``cpu``, ``clock``
    tells seconds; that of a thread's own time leaves out what other processes take.
    """

    threads: int
    device: str = "cpu"
    dims: Mapping[str, int] | None = None
    clock: Callable[[], float] = perf_counter

    def __post_init__(self) -> None:
        torch = torch_of()
        if self.device not in _DEVICES:
            raise CalibrationError(f"pytorch: no device '{self.device}'; there are {', '.join(_DEVICES)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise CalibrationError("pytorch: this installation finds no CUDA device", help="measure with device cpu")
        torch.set_num_threads(self.threads)

    @property
    def runtime(self) -> str:
        """Its name among targets."""
        return "pytorch-eager"

    @property
    def on_processor(self) -> bool:
        """Whether the thread that asks for a run computes itself."""
        return self.device == "cpu"

    def execute(
        self,
        model: ModelProto | Path | Network,
        allowed: float,
        *,
        end_to_end: bool = True,
        fewest: int = 9,
        pause: Callable[[], bool] = lambda: True,
    ) -> Executed:
        """Run a model ``fewest`` times and until its median time is known to 3 %, or ``allowed`` seconds are gone.

        Raises:
            UnsteadyError: ``pause`` let no block count.
            CalibrationError: an operator has no counterpart in the table, or fails.
        """
        torch = torch_of()
        runs = self._runs(model)
        clock = _CudaClock(len(runs.program.steps)) if self.device == "cuda" else _HostClock(self.clock)
        collecting = gc.isenabled()
        gc.disable()
        try:
            with torch.inference_mode():
                nodes, whole = _trial(runs, clock, (allowed, fewest), end_to_end, pause)
        finally:
            if collecting:
                gc.enable()
        program = runs.program
        return Executed(
            tuple(
                ExecutedNode(step.op_type, step.name, program.reads(step), step.writes, tuple(seconds), step.view)
                for step, seconds in zip(program.steps, zip(*nodes, strict=True), strict=True)
            ),
            tuple(whole or [sum(run) for run in nodes]),
        )

    def _runs(self, model: ModelProto | Path | Network) -> _Runs:
        torch_of()
        dims = self.dims or {}
        if isinstance(model, Network):
            program, feeds = model.program(self.device, dims)
            return _Runs(program, feeds, model.whole(self.device))
        inputs = {name: tensor_of(value) for name, value in made_up_inputs(model, dims).items()}
        with runnable(model) as loadable:
            program = onnx_program(loaded(loadable), self.device)
        return _Runs(program, {name: value.to(self.device) for name, value in inputs.items()})


@dataclass(frozen=True)
class _Runs:
    """A network's two ways to run: call by call, and as a whole, which is ``own`` if its user has a way to do that."""

    program: Program
    feeds: Mapping[str, Any]
    own: Callable[[], Any] | None = None

    def whole(self) -> None:
        """Run it in one piece."""
        if self.own is not None:
            self.own()
        else:
            self.program.run(self.feeds)


def _trial(
    runs: _Runs,
    clock: _HostClock | _CudaClock,
    limits: tuple[float, int],
    end_to_end: bool,
    pause: Callable[[], bool],
) -> tuple[list[list[float]], list[float]]:
    """Time blocks of runs, whole and node by node in turns, until it is enough; ``limits`` are seconds and runs."""
    allowed, fewest = limits
    clock.nodes(runs)
    once = clock.whole(runs)
    block = max(1, min(_LONGEST_BLOCK, int(_BLOCK_SECONDS / once)))
    nodes: list[list[float]] = []
    whole: list[float] = []
    began = perf_counter()
    pause()
    while True:
        marks = len(nodes), len(whole)
        if once < _BLOCK_SECONDS / 2:
            clock.whole(runs)
        if end_to_end:
            whole += [clock.whole(runs) for _ in range(block)]
        nodes += [clock.nodes(runs) for _ in range(block)]
        if not pause():
            del nodes[marks[0] :], whole[marks[1] :]
        now = perf_counter()
        done = now - began >= _LEAST_SECONDS and _enough(
            [sum(run) for run in nodes], whole if end_to_end else None, fewest
        )
        if now - began >= allowed or len(nodes) >= _MOST or done:
            break
    if not nodes:
        raise UnsteadyError(f"other processes, or changes of speed, spoilt every run within {now - began:.1f} s")
    return nodes, whole


def _enough(nodes: Sequence[float], whole: Sequence[float] | None, fewest: int) -> bool:
    known = [nodes] if whole is None else [nodes, whole]
    return all(len(taken) >= fewest and precise_enough(statistics(taken)) for taken in known)


class _HostClock:
    """Times runs by a clock of the host's: torch's functions return when they are done."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def nodes(self, runs: _Runs) -> list[float]:
        """Seconds of each step of a run."""
        marks: list[float] = []
        runs.program.run(runs.feeds, lambda: marks.append(self._now()))
        return [after - before for before, after in pairwise(marks)]

    def whole(self, runs: _Runs) -> float:
        """Seconds of a run."""
        start = self._now()
        runs.whole()
        return self._now() - start


class _CudaClock:
    """Times runs by events in the device's stream: torch's functions return when the work is queued."""

    def __init__(self, steps: int) -> None:
        torch = torch_of()
        self._torch = torch
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]

    def nodes(self, runs: _Runs) -> list[float]:
        """Seconds of each step of a run."""
        events = iter(self._events)
        self._torch.cuda.synchronize()
        runs.program.run(runs.feeds, lambda: next(events).record())
        self._torch.cuda.synchronize()
        pairs = pairwise(self._events)
        return [max(before.elapsed_time(after) * 1e-3, 1e-9) for before, after in pairs]

    def whole(self, runs: _Runs) -> float:
        """Seconds of a run."""
        self._torch.cuda.synchronize()
        start = perf_counter()
        runs.whole()
        self._torch.cuda.synchronize()
        return perf_counter() - start
