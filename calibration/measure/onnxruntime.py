"""Runs ONNX models through onnxruntime: the time of whole runs, and of each node that it executes.

Two sessions of a model run in turns. One has no profiler, so that its times are those of an application. The other
profiles, and saves the graph that it executes: onnxruntime fuses, so its nodes are not the model's.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import CalibrationError
from .executed import Executed, ExecutedNode, spread
from .reference import NO_DENORMALS, STOP_SPINNING
from .runner import UnsteadyError
from .statistics import precise_enough, statistics
from .torch_program import Network
from .weights import made_up_inputs, runnable

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["OnnxRuntime", "executed_nodes", "read_events"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_SERIAL_LAUNCH = "CUDA_LAUNCH_BLOCKING"
_PROFILED_EVENTS = 900_000
"""onnxruntime's profiler drops what comes after a million events."""
_EVENTS_BESIDE_NODES = 4
_MOST = 400
_LEAST_SECONDS = 0.04
_BLOCK_SECONDS, _LONGEST_BLOCK = 0.1, 10
_KERNEL = "_kernel_time"
_CHAINS, _CHAIN_RUNS = (20, 220), 60
_LEAST_LEFT = 0.1


@dataclass(frozen=True)
class OnnxRuntime:
    """onnxruntime on this machine with ``threads`` threads.

    ``device`` is ``cpu`` or ``cuda``. On ``cuda`` launches wait for the kernels they launch (CUDA_LAUNCH_BLOCKING),
    since the profile would have the launches' times otherwise; whole runs are timed like that too. ``dims`` are the
    extents of symbolic dimensions, ``"*"`` those of all others.
    """

    threads: int
    device: str = "cpu"
    dims: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.device not in _PROVIDERS:
            raise CalibrationError(f"onnxruntime: no device '{self.device}'; there are {', '.join(_PROVIDERS)}")
        provider, present = _PROVIDERS[self.device], _runtime().get_available_providers()
        if provider not in present:
            raise CalibrationError(
                f"onnxruntime: this installation has no {provider}, only {', '.join(present)}",
                help="pip install onnxruntime-gpu" if self.device == "cuda" else "pip install onnxruntime",
            )
        if self.device == "cuda":
            os.environ.setdefault(_SERIAL_LAUNCH, "1")

    @property
    def runtime(self) -> str:
        """Its name among targets."""
        return f"onnxruntime-{self.device}"

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
            CalibrationError: onnxruntime cannot load or run it.
        """
        if isinstance(model, Network):
            raise CalibrationError(f"{model.name}: onnxruntime runs ONNX models",
                                   help="measure it with --runtime=pytorch, or export it to ONNX")  # fmt: skip
        inputs = made_up_inputs(model, self.dims)
        with runnable(model) as loadable, tempfile.TemporaryDirectory(prefix="profile-") as folder:
            with _failures_named():
                profiling, optimised = self._profiling_session(loadable, Path(folder))
                plain = self._session(loadable, self._options()) if end_to_end else None
                most = max(1, min(_MOST, _PROFILED_EVENTS // (len(optimised) + _EVENTS_BESIDE_NODES)))
                trial = _Trial(profiling, plain, inputs, (min(fewest, most), most), pause)
                trial.run(perf_counter() + allowed)
                profile = profiling.end_profiling()
            del profiling, plain
            events = read_events(Path(profile))
        nodes = executed_nodes(events, optimised, trial.kept)
        nodes = tuple(_unprofiled(node, self.profiler_seconds) for node in nodes)
        return Executed(nodes, tuple(trial.end_to_end or trial.profiled))

    @cached_property
    def profiler_seconds(self) -> float:
        """What the profiler adds to each node's time: it makes up an event's text before it looks at the clock.

        Measured once, on a chain of nodes of one element: what a profile says of a node, less what a node takes without
        a profiler. The latter is the slope of whole runs over the chain's length.
        """
        with _failures_named(), tempfile.TemporaryDirectory(prefix="profile-") as folder:
            times = []
            for length in _CHAINS:
                session, inputs = self._session(_chain(length), self._options()), _chain_inputs()
                times.append(statistics(_timed(session, inputs) for _ in range(_CHAIN_RUNS)).median)
            session, optimised = self._profiling_session(_chain(_CHAINS[-1]), Path(folder))
            for _ in range(_CHAIN_RUNS):
                session.run(None, inputs)
            nodes = executed_nodes(read_events(Path(session.end_profiling())), optimised)
        each = (times[1] - times[0]) / (_CHAINS[1] - _CHAINS[0])
        profiled = sorted(node.statistics.median for node in nodes)[len(nodes) // 2]
        return max(0.0, profiled - max(0.0, each))

    def _options(self) -> Any:
        options = _runtime().SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        for entry in (NO_DENORMALS, STOP_SPINNING):
            options.add_session_config_entry(entry, "1")
        return options

    def _session(self, loadable: str | bytes, options: Any) -> Any:
        providers = list(dict.fromkeys((_PROVIDERS[self.device], _PROVIDERS["cpu"])))
        return _runtime().InferenceSession(loadable, options, providers=providers)

    def _profiling_session(self, loadable: str | bytes, folder: Path) -> tuple[Any, list[ExecutedNode]]:
        import onnx

        options, optimised = self._options(), folder / "optimised.onnx"
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        options.optimized_model_filepath = str(optimised)
        for key, value in (("file_name", "optimised.bin"), ("min_size_in_bytes", "1024")):
            options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
        session = self._session(loadable, options)
        graph = onnx.load(optimised, load_external_data=False).graph
        for file in folder.glob("optimised.*"):
            file.unlink()
        constants = {tensor.name for tensor in graph.initializer}
        return session, [
            ExecutedNode(
                node.op_type,
                node.name,
                tuple(name for name in node.input if name and name not in constants),
                tuple(filter(None, node.output)),
                (),
            )
            for node in graph.node
        ]


class _Trial:
    """Runs both sessions in turns, block by block, and keeps the times of the runs that count."""

    def __init__(
        self, profiling: Any, plain: Any, inputs: Mapping[str, Any], runs: tuple[int, int], pause: Callable[[], bool]
    ) -> None:
        self.profiling, self.plain, self.inputs, self.pause = profiling, plain, inputs, pause
        self.fewest, self.most = runs
        self.end_to_end: list[float] = []
        self.profiled: list[float] = []
        self.kept: list[int] = []
        self._profiled_runs = 0

    def run(self, deadline: float) -> None:
        """Time blocks of runs until it is enough, the deadline has passed, or no more are allowed.

        Raises:
            UnsteadyError: no block counts.
        """
        once = self._warm_up()
        block = max(1, min(_LONGEST_BLOCK, int(_BLOCK_SECONDS / once)))
        began = perf_counter()
        self.pause()
        while True:
            marks = len(self.end_to_end), len(self.profiled)
            self._block(block, once)
            if not self.pause():
                del self.end_to_end[marks[0] :], self.profiled[marks[1] :], self.kept[marks[1] :]
            now = perf_counter()
            spent = self._profiled_runs + block + 1 > self.most
            if now >= deadline or spent or (now - began >= _LEAST_SECONDS and self._enough()):
                break
        if not self.kept:
            raise UnsteadyError(f"other processes, or changes of speed, spoilt every run within {now - began:.1f} s")

    def _enough(self) -> bool:
        times = (self.profiled,) if self.plain is None else (self.end_to_end, self.profiled)
        return all(len(taken) >= self.fewest and precise_enough(statistics(taken)) for taken in times)

    def _warm_up(self) -> float:
        """Run each session until its second run, since the first one allocates; return what a run takes."""
        for _ in range(2):
            once = self._profiled()
            if self.plain is not None:
                _timed(self.plain, self.inputs)
        return once

    def _block(self, length: int, once: float) -> None:
        """Time ``length`` runs of each session; an untimed one first where that can fill the caches."""
        settle = once < _BLOCK_SECONDS / 2
        if self.plain is not None:
            if settle:
                _timed(self.plain, self.inputs)
            self.end_to_end.extend(_timed(self.plain, self.inputs) for _ in range(length))
        if settle:
            self._profiled()
        for _ in range(length):
            self.kept.append(self._profiled_runs)
            self.profiled.append(self._profiled())

    def _profiled(self) -> float:
        self._profiled_runs += 1
        return _timed(self.profiling, self.inputs)


def _unprofiled(node: ExecutedNode, overhead: float) -> ExecutedNode:
    """A node without the profiler's share of its time; what is left is at least a tenth: nothing takes no time."""
    seconds = tuple(max(time - overhead, _LEAST_LEFT * time) for time in node.seconds)
    return ExecutedNode(node.op_type, node.name, node.inputs, node.outputs, seconds)


def _chain(length: int) -> bytes:
    """A model of ``length`` additions of one element, one after another."""
    from onnx import TensorProto, helper

    shape = [1, 1, 1, 1]
    values = ["x", *(f"y{i}" for i in range(1, length)), "y"]
    graph = helper.make_graph(
        [helper.make_node("Add", [a, "z"], [b], f"add{i}") for i, (a, b) in enumerate(pairwise(values))],
        "chain",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "z")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return model


def _chain_inputs() -> Mapping[str, Any]:
    import numpy as np

    return {name: np.ones((1, 1, 1, 1), np.float32) for name in ("x", "z")}


def _timed(session: Any, inputs: Mapping[str, Any]) -> float:
    start = perf_counter()
    session.run(None, inputs)
    return perf_counter() - start


def read_events(path: Path) -> list[Mapping[str, Any]]:
    """Return the events of a profile that onnxruntime wrote.

    Raises:
        CalibrationError: the file cannot be read, or is no such profile.
    """
    try:
        events = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CalibrationError(f"{path}: cannot read the profile: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CalibrationError(
            f"{path}: not a complete onnxruntime profile: {error}", help="was the disk full, or the run broken off?"
        ) from error
    if not isinstance(events, list) or not all(isinstance(event, dict) and "name" in event for event in events):
        raise CalibrationError(f"{path}: not an onnxruntime profile: expected a list of events with names")
    return events


def executed_nodes(
    events: Sequence[Mapping[str, Any]],
    optimised: Sequence[ExecutedNode],
    kept: Collection[int] | None = None,
) -> tuple[ExecutedNode, ...]:
    """Return the executed nodes with their times from a profile's events.

    ``optimised`` are the nodes of the executed graph, in their order; where it is empty (only the profile is at hand)
    the nodes are those of the events, without data flow, those inside bodies of control flow left out. ``kept`` are the
    numbers of the runs that count, all but the first by default, unless there is only one.

    Raises:
        CalibrationError: an event has no duration, or the nodes were not run equally often.
    """
    runs: dict[str, list[int]] = {}
    types: dict[str, str] = {}
    for event in events:
        if event.get("cat") != "Node" or not str(event["name"]).endswith(_KERNEL):
            continue
        name = str(event["name"]).removesuffix(_KERNEL)
        runs.setdefault(name, []).append(_microseconds(event, name))
        types[name] = _operator(event)
    nodes = optimised or [ExecutedNode(types[name], name, (), (), ()) for name in runs]
    times = _runs_of(nodes, runs)
    count = max((len(taken) for _, taken in times), default=0)
    if count == 0:
        raise CalibrationError("the profile has no time of any node", help="profile with session.run between")
    chosen = [i for i in (kept if kept is not None else range(min(1, count - 1), count)) if i < count]
    if not optimised:  # what ran more or less often than once a run is inside the body of some control flow
        times = [(node, taken) for node, taken in times if len(taken) == count] if _agree(times, count) else times
    for node, taken in times:
        if len(taken) != count:
            raise CalibrationError(
                f'profile: node "{node.name}" ran {len(taken)} times, others {count}', help="is the profile cut off?"
            )
    return tuple(
        ExecutedNode(node.op_type, node.name, node.inputs, node.outputs, spread([taken[i] for i in chosen]))
        for node, taken in times
    )


def _runs_of(nodes: Sequence[ExecutedNode], runs: Mapping[str, list[int]]) -> list[tuple[ExecutedNode, list[int]]]:
    """Each node's durations, in the order of the runs; nodes of one name share them out in their order."""
    alike: dict[str, int] = {}
    for node in nodes:
        alike[node.name] = alike.get(node.name, 0) + 1
    seen: dict[str, int] = {}
    found = []
    for node in nodes:
        if node.name in runs:
            place = seen[node.name] = seen.get(node.name, -1) + 1
            found.append((node, runs[node.name][place :: alike[node.name]]))
    return found


def _agree(times: Sequence[tuple[ExecutedNode, list[int]]], count: int) -> bool:
    return sum(len(taken) == count for _, taken in times) > len(times) / 2


def _microseconds(event: Mapping[str, Any], name: str) -> int:
    duration = event.get("dur")
    if isinstance(duration, bool) or not isinstance(duration, int) or duration < 0:
        raise CalibrationError(f'profile: node "{name}" has no duration in whole microseconds, but {duration!r}')
    return duration


def _operator(event: Mapping[str, Any]) -> str:
    arguments = event.get("args")
    return str(arguments.get("op_name", "")) if isinstance(arguments, Mapping) else ""


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise CalibrationError(f"onnxruntime is not there: {error}", help="pip install onnxruntime") from error
    return onnxruntime


@contextmanager
def _failures_named() -> Iterator[None]:
    """Whatever onnxruntime raises, as an error of ours: its exceptions share no base but Exception."""
    try:
        yield
    except (CalibrationError, MemoryError, OSError):
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        raise CalibrationError(f"onnxruntime: {message or type(error).__name__}") from error
