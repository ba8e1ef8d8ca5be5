"""Runs ONNX models operator by operator through eager PyTorch, and times each as eager runs it.

Every operator of the model is one call of a torch function, as a network written by hand would make it. One that has no
entry in the table is refused by name: a network with a part left out would be too fast.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import CalibrationError
from .executed import Executed, ExecutedNode
from .runner import UnsteadyError
from .statistics import precise_enough, statistics
from .torch_operators import FACTORIES, Step, TorchNode
from .weights import made_up_inputs, runnable

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["PyTorch"]

_DEVICES = ("cpu", "cuda")
_MOST = 400
_LEAST_SECONDS = 0.04
_BLOCK_SECONDS, _LONGEST_BLOCK = 0.1, 10
_FREE = ("Constant",)


@dataclass(frozen=True)
class PyTorch:
    """Eager PyTorch on this machine with ``threads`` threads, on ``cpu`` or ``cuda``.

    On ``cuda`` a node's time is that between events in the stream before and after it: what the device takes, or waits
    for the launch. ``dims`` are the extents of symbolic dimensions, ``"*"`` those of all others.
    """

    threads: int
    device: str = "cpu"
    dims: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        torch = _torch()
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
        model: ModelProto | Path,
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
        torch = _torch()
        inputs = {name: torch.from_numpy(value) for name, value in made_up_inputs(model, self.dims).items()}
        with runnable(model) as loadable:
            program = _Program(_loaded(loadable), self.device)
        feeds = {name: value.to(self.device) for name, value in inputs.items()}
        clock = _CudaClock(len(program.steps)) if self.device == "cuda" else _HostClock()
        collecting = gc.isenabled()
        gc.disable()
        try:
            with torch.inference_mode():
                nodes, whole = _trial(program, feeds, clock, (allowed, fewest), end_to_end, pause)
        finally:
            if collecting:
                gc.enable()
        return Executed(
            tuple(
                ExecutedNode(step.node.op_type, step.node.name, step.reads, step.writes, tuple(seconds))
                for step, seconds in zip(program.steps, zip(*nodes, strict=True), strict=True)
            ),
            tuple(whole or [sum(run) for run in nodes]),
        )


@dataclass(frozen=True)
class _Step:
    """A node that is run: what it reads of computed values and of all, what it makes, and what is not needed after."""

    node: TorchNode
    run: Step
    operands: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    drops: tuple[str, ...]


class _Program:
    """A model as steps of torch functions over named values."""

    def __init__(self, model: ModelProto, device: str) -> None:
        opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        self.constants = _constants(model, device)
        nodes = self._unfolded([node for node in model.graph.node if node.op_type not in _FREE], opset)
        last = {name: index for index, node in enumerate(nodes) for name in node.input if name}
        kept = {value.name for value in model.graph.output}
        self.steps = tuple(self._step(node, index, opset, last, kept) for index, node in enumerate(nodes))

    def _unfolded(self, nodes: Sequence[NodeProto], opset: int) -> list[NodeProto]:
        """Compute what reads only constants, once: an eager network has it ready among its weights. Return the rest."""
        left = []
        for proto in nodes:
            if not all(name in self.constants for name in proto.input if name):
                left.append(proto)
                continue
            step = self._step(proto, 0, opset, dict.fromkeys(proto.output, 0), set())
            with _failures_named(step.node):
                results = step.run([self.constants.get(name) for name in proto.input])
            self.constants.update((name, value) for name, value in zip(proto.output, results, strict=False) if name)
        return left

    def _step(self, proto: NodeProto, index: int, opset: int, last: Mapping[str, int], kept: set[str]) -> _Step:
        factory = FACTORIES.get(proto.op_type) if proto.domain in ("", "ai.onnx") else None
        name = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
        if factory is None:
            raise CalibrationError(
                f'pytorch: no torch function for {name} (node "{proto.name}")',
                help="add one to the table with @named (calibration/measure/torch_operators.py)",
            )
        constants = tuple(self.constants.get(operand) if operand else None for operand in proto.input)
        wanted = max((place + 1 for place, result in enumerate(proto.output) if result), default=0)
        node = TorchNode(proto.op_type, proto.name, _attributes(proto), constants, wanted, opset)
        computed = tuple(dict.fromkeys(operand for operand in proto.input if operand and operand not in self.constants))
        drops = tuple(operand for operand in computed if last[operand] == index and operand not in kept)
        unread = tuple(result for result in proto.output if result and result not in last and result not in kept)
        with _failures_named(node):
            return _Step(node, factory(node), tuple(proto.input), computed, tuple(proto.output), drops + unread)

    def run(self, feeds: Mapping[str, Any], mark: Callable[[], None] | None = None) -> None:
        """Run all steps once; values live until their last reader has run. ``mark`` is called before and after each."""
        values: dict[str, Any] = {"": None, **self.constants, **feeds}
        if mark is not None:
            mark()
        for step in self.steps:
            operands = [values[name] for name in step.operands]
            try:
                results = step.run(operands)
            except Exception as error:
                raise _failure(step.node, error) from error
            del operands
            values.update(zip(step.writes, results, strict=False))
            del results
            for name in step.drops:
                del values[name]
            if mark is not None:
                mark()


def _trial(
    program: _Program,
    feeds: Mapping[str, Any],
    clock: _HostClock | _CudaClock,
    limits: tuple[float, int],
    end_to_end: bool,
    pause: Callable[[], bool],
) -> tuple[list[list[float]], list[float]]:
    """Time blocks of runs, whole and node by node in turns, until it is enough; ``limits`` are seconds and runs."""
    allowed, fewest = limits
    clock.nodes(program, feeds)
    once = clock.whole(program, feeds)
    block = max(1, min(_LONGEST_BLOCK, int(_BLOCK_SECONDS / once)))
    nodes: list[list[float]] = []
    whole: list[float] = []
    began = perf_counter()
    pause()
    while True:
        marks = len(nodes), len(whole)
        if once < _BLOCK_SECONDS / 2:
            clock.whole(program, feeds)
        if end_to_end:
            whole += [clock.whole(program, feeds) for _ in range(block)]
        nodes += [clock.nodes(program, feeds) for _ in range(block)]
        if not pause():
            del nodes[marks[0] :], whole[marks[1] :]
        now = perf_counter()
        done = now - began >= _LEAST_SECONDS and _enough(
            [sum(run) for run in nodes], whole if end_to_end else None, fewest
        )
        if now - began >= allowed or len(nodes) >= _MOST or done:
            break
    if not nodes:
        raise UnsteadyError(f"other processes, or changes of speed, disturbed every run within {now - began:.1f} s")
    return nodes, whole


def _enough(nodes: Sequence[float], whole: Sequence[float] | None, fewest: int) -> bool:
    known = [nodes] if whole is None else [nodes, whole]
    return all(len(taken) >= fewest and precise_enough(statistics(taken)) for taken in known)


class _HostClock:
    """Times runs by the host's clock: torch's functions return when they are done."""

    def nodes(self, program: _Program, feeds: Mapping[str, Any]) -> list[float]:
        """Seconds of each step of a run."""
        marks: list[float] = []
        program.run(feeds, lambda: marks.append(perf_counter()))
        return [after - before for before, after in pairwise(marks)]

    def whole(self, program: _Program, feeds: Mapping[str, Any]) -> float:
        """Seconds of a run."""
        start = perf_counter()
        program.run(feeds)
        return perf_counter() - start


class _CudaClock:
    """Times runs by events in the device's stream: torch's functions return when the work is queued."""

    def __init__(self, steps: int) -> None:
        torch = _torch()
        self._torch = torch
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]

    def nodes(self, program: _Program, feeds: Mapping[str, Any]) -> list[float]:
        """Seconds of each step of a run."""
        events = iter(self._events)
        self._torch.cuda.synchronize()
        program.run(feeds, lambda: next(events).record())
        self._torch.cuda.synchronize()
        pairs = pairwise(self._events)
        return [max(before.elapsed_time(after) * 1e-3, 1e-9) for before, after in pairs]

    def whole(self, program: _Program, feeds: Mapping[str, Any]) -> float:
        """Seconds of a run."""
        self._torch.cuda.synchronize()
        start = perf_counter()
        program.run(feeds)
        self._torch.cuda.synchronize()
        return perf_counter() - start


# -- reading the model ------------------------------------------------------------------------------------------------


def _loaded(loadable: str | bytes) -> ModelProto:
    import onnx

    return onnx.load(loadable) if isinstance(loadable, str) else onnx.load_model_from_string(loadable)


def _constants(model: ModelProto, device: str) -> dict[str, Any]:
    """Initialisers and Constant nodes as tensors; the messages' own copies are let go one by one."""
    from onnx import numpy_helper

    found = {}
    for tensor in model.graph.initializer:
        found[tensor.name] = _tensor(numpy_helper.to_array(tensor), device)
        tensor.ClearField("raw_data")
    for node in model.graph.node:
        if node.op_type in _FREE:
            found[node.output[0]] = _tensor(_constant_value(node), device)
    return found


def _constant_value(node: NodeProto) -> Any:
    import numpy as np
    from onnx import numpy_helper

    values = _attributes(node)
    if "value" in values:
        return numpy_helper.to_array(values["value"])
    for key, dtype in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if key in values:
            return np.array(values[key], dtype)
    raise CalibrationError(f'pytorch: Constant "{node.name}" has no number', help="only tensors and numbers can be run")


def _tensor(values: Any, device: str) -> Any:
    import numpy as np

    torch = _torch()
    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.int16).copy()).view(torch.bfloat16).to(device)
    try:
        return torch.from_numpy(np.array(values)).to(device)
    except TypeError as error:
        raise CalibrationError(f"pytorch: no tensors of type {values.dtype}") from error


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx import helper

    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif not isinstance(value, str | int | float) and not hasattr(value, "DESCRIPTOR"):
            value = [entry.decode() if isinstance(entry, bytes) else entry for entry in value]
        found[attribute.name] = value
    return found


@contextmanager
def _failures_named(node: TorchNode) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _failure(node, error) from error


def _failure(node: TorchNode, error: Exception) -> Exception:
    """Whatever torch raises in a node, as an error of ours that names the node."""
    if isinstance(error, CalibrationError | MemoryError):
        return error
    message = " ".join(str(error).split()) or type(error).__name__
    return CalibrationError(f'pytorch: {node.op_type} (node "{node.name}") failed: {message}')


def _torch() -> Any:
    try:
        import torch

        from . import torch_layout, torch_reductions, torch_windows  # noqa: F401  # they enter their operators into the table
    except ImportError as error:
        raise CalibrationError(f"PyTorch is not there: {error}", help="pip install torch") from error
    return torch
