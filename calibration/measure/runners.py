"""The runner that measures a target's runtime on this machine, pinned to the cores that the target's mode has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ...targets import Target
from ...targets.machine import read_machine
from ..errors import CalibrationError
from .pinning import pinned
from .reference import Reference, RuntimeReference
from .runner import Runner

__all__ = ["RUNTIMES", "runner_for", "threads_of"]

RUNTIMES = ("onnxruntime-cpu", "pytorch-eager")
"""Runtimes that can be measured, as targets call them."""

_SINGLE = "1-thread"


def threads_of(target: Target) -> int:
    """Return how many threads a target's mode has here: one, or as many as there are cores to use."""
    return 1 if target.mode == _SINGLE else read_machine().cores


@contextmanager
def runner_for(target: Target, dims: Mapping[str, int] | None = None) -> Iterator[tuple[Runner, Reference]]:
    """Yield what measures ``target`` on this machine, and its reference kernel; the process is pinned meanwhile.

    A target of a GPU is measured on the CUDA device. ``dims`` are the extents of models' symbolic dimensions.

    Raises:
        CalibrationError: the runtime is not there, or none that can be measured.
    """
    runtime = target.runtime.name
    if runtime not in RUNTIMES:
        raise CalibrationError(
            f"{target.spec}: {runtime} cannot be measured from here", help=f"these can: {', '.join(RUNTIMES)}"
        )
    threads = threads_of(target)
    device = "cuda" if target.device.device_class == "gpu" else "cpu"
    with pinned(threads):
        yield _runner(runtime, threads, device, dims), RuntimeReference(threads)


def _runner(runtime: str, threads: int, device: str, dims: Mapping[str, int] | None) -> Runner:
    if runtime == "pytorch-eager":
        from .pytorch import PyTorch

        return PyTorch(threads, device, dims)
    from .onnxruntime import OnnxRuntime

    return OnnxRuntime(threads, device, dims)
