"""A row of calls of torch functions over named values, whatever it was made of: what the PyTorch runner times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ...ir import Graph
from ..errors import CalibrationError
from .torch_operators import Step as Run

__all__ = ["Network", "Program", "Step", "failures_named", "torch_of"]


@dataclass(frozen=True)
class Step:
    """A call: the operator and what its source calls it, the function, what it reads and what it makes.

    Operands that are left out, and results that nobody wants, have an empty name. A ``view`` computes nothing.
    """

    op_type: str
    name: str
    run: Run
    operands: tuple[str, ...]
    writes: tuple[str, ...]
    view: bool = False


class Program:
    """Steps in the order in which they run, and the values that are there before: weights and constants."""

    def __init__(self, constants: Mapping[str, Any], steps: Sequence[Step], outputs: Sequence[str]) -> None:
        self.constants, self.steps, self.outputs = constants, tuple(steps), frozenset(outputs)
        last = {name: index for index, step in enumerate(steps) for name in step.operands if name}
        self.drops = tuple(self._drops(step, index, last) for index, step in enumerate(steps))

    def _drops(self, step: Step, index: int, last: Mapping[str, int]) -> tuple[str, ...]:
        """What no later step reads."""
        drops = [name for name in self.reads(step) if last[name] == index and name not in self.outputs]
        unread = [name for name in step.writes if name and name not in last and name not in self.outputs]
        return (*drops, *unread)

    def reads(self, step: Step) -> tuple[str, ...]:
        """The values that a step reads of what was computed or fed."""
        return tuple(dict.fromkeys(name for name in step.operands if name and name not in self.constants))

    def run(self, feeds: Mapping[str, Any], mark: Callable[[], None] | None = None) -> dict[str, Any]:
        """Run all steps once and return the results; ``mark`` is called before the first and after each.

        Values live until their last reader has run.

        Raises:
            CalibrationError: torch refuses a step; the message names it.
        """
        values: dict[str, Any] = {"": None, **self.constants, **feeds}
        if mark is not None:
            mark()
        for step, drops in zip(self.steps, self.drops, strict=True):
            operands = [values[name] for name in step.operands]
            try:
                results = step.run(operands)
            except Exception as error:
                raise _failure(step.op_type, step.name, error) from error
            del operands
            values.update(zip(step.writes, results, strict=False))
            del results
            for name in drops:
                del values[name]
            if mark is not None:
                mark()
        return {name: values[name] for name in self.outputs}


class Network(ABC):
    """A network that is no ONNX model, and that PyTorch can run call by call."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What samples call it."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What messages call it: as its user named it."""

    @abstractmethod
    def graph(self) -> Graph:
        """Return its graph, made anew at each call."""

    @abstractmethod
    def program(self, device: str, dims: Mapping[str, int]) -> tuple[Program, Mapping[str, Any]]:
        """Return its calls, weights on ``device``, and what they are fed with; ``dims`` are open extents.

        Raises:
            CalibrationError: something in it cannot be called one by one.
        """

    @abstractmethod
    def whole(self, device: str) -> Callable[[], Any] | None:
        """Return what runs it as its user does; ``None`` where that is its program."""


@contextmanager
def failures_named(op_type: str, name: str) -> Iterator[None]:
    """Let whatever torch raises in a node be an error of ours that names it."""
    try:
        yield
    except Exception as error:
        raise _failure(op_type, name, error) from error


def _failure(op_type: str, name: str, error: Exception) -> Exception:
    if isinstance(error, CalibrationError | MemoryError):
        return error
    message = " ".join(str(error).split()) or type(error).__name__
    return CalibrationError(f'pytorch: {op_type} (node "{name}") failed: {message}')


def torch_of() -> Any:
    """Return PyTorch, all operators entered into the table. Raises :class:`CalibrationError` where it is missing."""
    try:
        import torch

        from . import torch_layout, torch_reductions, torch_windows  # noqa: F401  # they enter their operators into the table
    except ImportError as error:
        raise CalibrationError(f"PyTorch is not there: {error}", help="pip install torch") from error
    return torch
