"""Whether a process has the processors that it computes on to itself: how long its threads were ready but did not run.

Linux keeps account of it for each thread (``/proc/PID/task/TID/schedstat``, Documentation/scheduler/sched-stats.rst):
nanoseconds on a processor, nanoseconds on a run queue, time slices. Other systems do not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["Account", "account", "kept_waiting"]

Account = Mapping[int, tuple[float, float]]
"""Seconds that each thread of a process ran and waited to run, since it began."""

_TASKS = Path("/proc/self/task")
_WORKING = 0.1
"""The least share of a time that a thread must run for its waiting to matter: others draw progress bars."""


def account() -> Account:
    """Return the account of this process's threads; empty where the system keeps none."""
    found = {}
    for task in _TASKS.iterdir() if _TASKS.is_dir() else ():
        try:
            ran, waited, _ = (task / "schedstat").read_text(encoding="ascii").split()
        except (OSError, ValueError):  # it ended meanwhile, or this system keeps no such account
            continue
        found[int(task.name)] = int(ran) * 1e-9, int(waited) * 1e-9
    return found


def kept_waiting(before: Account, after: Account, seconds: float) -> float:
    """Return the longest that a thread that was at work between two accounts, ``seconds`` apart, was kept from it."""
    waits = [0.0]
    for thread, (ran, waited) in after.items():
        ran_before, waited_before = before.get(thread, (0.0, 0.0))
        if ran - ran_before >= _WORKING * seconds:
            waits.append(waited - waited_before)
    return max(waits)
