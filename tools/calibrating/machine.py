"""This machine, ready to measure: a runner of the target's runtime, pinned to as many cores as the target has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...calibration.errors import CalibrationError
from ...calibration.measure.environment import Environment, read_environment
from ...calibration.measure.pinning import pinned
from ...calibration.measure.reference import Reference, RuntimeReference
from ...calibration.measure.runner import Runner
from ...calibration.suite import Caches
from ...targets import Target
from ...targets.machine import read_machine
from .settings import measured_runtime

__all__ = ["Bench", "bench", "caches_of", "cores_withheld", "largest_cache", "threads_of"]

_ONE_THREAD = "1-thread"
_GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Bench:
    """What measuring needs: something that runs models, something that tells the machine's speed, and where it is."""

    runner: Runner
    reference: Reference
    environment: Environment
    threads: int


def threads_of(target: Target) -> int:
    """Return how many threads a target's kernels run on: one in the mode ``1-thread``, else one for each core."""
    return 1 if target.mode == _ONE_THREAD or target.device.device_class == _GPU else read_machine().cores


def cores_withheld(target: Target) -> str:
    """Say that this process may not use all cores, where the target is all of them; else an empty text."""
    usable, there = read_machine().cores, os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    if target.mode == _ONE_THREAD or affinity >= there:
        return ""
    stands = "one core" if usable == 1 else f"{usable} cores"
    return f"this process may use {affinity} of {there} processors: {target.device.name} stands for {stands} now"


@contextmanager
def bench(target: Target) -> Iterator[Bench]:
    """Yield what measures a target; meanwhile this process stays on the target's cores.

    Raises:
        CalibrationError: the runtime is not installed or cannot be measured, or there are too few cores.
    """
    runtime, threads = measured_runtime(target), threads_of(target)
    with pinned(threads) as cores:
        runner = _runner(runtime, threads, "cuda" if target.device.device_class == _GPU else "cpu")
        environment = read_environment(target.runtime.name, threads, cores)
        yield Bench(runner, RuntimeReference(threads, largest_cache()), environment, threads)


def _runner(runtime: str, threads: int, device: str) -> Runner:
    if runtime == "onnxruntime":
        from ...calibration.measure.onnxruntime import OnnxRuntime

        return OnnxRuntime(threads, device, {"*": 1})
    try:
        from ...calibration.measure.pytorch import PyTorch
    except ImportError as error:
        raise CalibrationError(f"pytorch is not there: {error}", help="pip install torch") from error
    return PyTorch(threads, device, {"*": 1})


def caches_of(target: Target) -> Caches:
    """Return the caches that streams are sized by: all memories of the target but the last that hold data.

    Of a cache that a virtual machine shares, the target has a share; what no cache holds must exceed the whole of it.
    A device that tells none is taken for a common one.
    """
    sizes = {int(level.size) for level in target.device.memories[:-1] if level.size and level.size >= 1024}
    if sizes and target.device.device_class != _GPU:
        sizes.add(largest_cache())
    return Caches(tuple(sorted(sizes))) if sizes else Caches()


def largest_cache() -> int:
    """Return the bytes of this machine's largest cache, as the system tells them; 1 KiB where it does not."""
    return max((cache.size for cache in read_machine().caches), default=1024)
