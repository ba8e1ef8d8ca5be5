"""Keeps a measurement on as many cores as it has threads, so that nothing moves between timings."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import CalibrationError

__all__ = ["THREAD_VARIABLES", "cores_for", "on_processor", "pinned", "thread_variables"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What libraries read, when they are first imported, to know how many threads to start."""

_CPUS = Path("/sys/devices/system/cpu")


def cores_for(threads: int) -> tuple[int, ...]:
    """Return the processors that ``threads`` threads are to run on, one of each core, the last ones first.

    The first core is where most systems handle interrupts, so a single thread gets the last. Empty where the system
    does not let a process choose.

    Raises:
        CalibrationError: the process may not use as many cores.
    """
    if threads < 1:
        raise CalibrationError(f"{threads} threads: at least one is needed")
    if not hasattr(os, "sched_getaffinity"):
        return ()
    first_of_core: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0), reverse=True):
        first_of_core.setdefault(_siblings(cpu), cpu)
    usable = list(first_of_core.values())
    if threads > len(usable):
        raise CalibrationError(
            f"{threads} threads cannot be pinned to {len(usable)} usable cores ({_listed(usable)})",
            help="measure with fewer threads, or allow the process more cores (taskset, container settings)",
        )
    return tuple(sorted(usable[:threads]))


@contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """Restrict this process to ``threads`` cores meanwhile, threads that it starts too; yield the processors."""
    cores = cores_for(threads)
    before = os.sched_getaffinity(0) if cores else set()
    if cores:
        os.sched_setaffinity(0, cores)
    variables = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(thread_variables(threads))
    try:
        yield cores
    finally:
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if cores:
            os.sched_setaffinity(0, before)


@contextmanager
def on_processor(number: int) -> Iterator[None]:
    """Keep the calling thread alone on one processor meanwhile."""
    thread = threading.get_native_id()
    before = os.sched_getaffinity(thread)
    os.sched_setaffinity(thread, (number,))
    try:
        yield
    finally:
        os.sched_setaffinity(thread, before)


def thread_variables(threads: int) -> Mapping[str, str]:
    """Return the environment variables that make numerical libraries use ``threads`` threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def _siblings(cpu: int) -> str:
    """What hardware threads of one core have in common."""
    try:
        return (_CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return f"{sys.platform} {cpu}"


def _listed(cpus: list[int]) -> str:
    return ", ".join(str(cpu) for cpu in sorted(cpus)) or "none"
