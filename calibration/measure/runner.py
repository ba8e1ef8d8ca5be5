"""What a campaign asks of a runtime: run a model, and say how long each of its nodes took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import CalibrationError
from .executed import Executed

if TYPE_CHECKING:
    from onnx import ModelProto

    from .torch_program import Network

__all__ = ["Runner", "UnsteadyError"]


class UnsteadyError(CalibrationError):
    """Every block of runs was disturbed by other processes or a change of speed: worth another try later."""


class Runner(Protocol):
    """A runtime on this machine, with a fixed number of threads."""

    @property
    def runtime(self) -> str:
        """Its name among targets: ``onnxruntime-cpu``, ``pytorch-eager``."""
        ...

    @property
    def on_processor(self) -> bool:
        """Whether the thread that asks for a run computes itself, rather than wait for an accelerator."""
        ...

    def execute(
        self,
        model: ModelProto | Path | Network,
        allowed: float,
        *,
        end_to_end: bool = True,
        fewest: int = 9,
        pause: Callable[[], bool] = lambda: True,
    ) -> Executed:
        """Run a model ``fewest`` times and until its time is known well, or until ``allowed`` seconds are gone.

        ``pause`` is called before the first block of runs and after each, for a reference to be timed; it returns
        whether the block counts. Where ``end_to_end`` is false, only nodes are wanted, and the times of whole runs may
        be those of runs with a profiler.

        Raises:
            UnsteadyError: no block counts.
            CalibrationError: the runtime cannot load or run the model; onnxruntime runs no :class:`Network`.
        """
        ...
