"""Runs what is not written for hostile input in a process of its own: if that dies of it, this one goes on without."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

__all__ = ["isolated"]


def isolated(work: Callable[[], bytes], seconds: int, more_bytes: int) -> bytes | None:
    """Return what ``work`` returns, run in a copy of this process; ``None`` if it raised, died, or asked too much.

    ``seconds`` are of CPU time, ``more_bytes`` what it may take beyond what this process has.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            _limit(seconds, more_bytes)
            with os.fdopen(writing, "wb") as file:
                file.write(work())
            os._exit(0)
        finally:  # whatever happened, nothing of this process's own goes on in its copy
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        content = file.read()
    _, status = os.waitpid(child, 0)
    return content if status == 0 else None


def _limit(seconds: int, more_bytes: int) -> None:
    """Bound time and memory, and keep quiet: a crash is no news to the user."""
    gc.disable()
    faulthandler.disable()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    taken = 0
    with contextlib.suppress(OSError):  # only Linux tells
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_CPU, seconds)
    if taken:
        _lower(resource.RLIMIT_AS, taken + more_bytes)


def _lower(limit: int, value: int) -> None:
    soft, hard = resource.getrlimit(limit)
    unlimited = resource.RLIM_INFINITY
    value = value if soft == unlimited else min(value, soft)
    resource.setrlimit(limit, (value, hard if hard == unlimited else max(value, hard)))
