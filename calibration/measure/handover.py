"""How far apart two cores are: what copying takes of data that the one wrote and the other reads.

Cores that share a cache hand data over through it; others ask each other across the chip. Which of both a virtual
machine's processors are may change from second to second, as its host moves them, and nothing in it tells.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from .pinning import on_processor

__all__ = ["Handover"]

_BYTES, _TIMES = 1 << 16, 16
_PATIENCE = 1.0
"""Seconds after which a writer that does not answer is given up."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Between two processors, by their numbers in the system."""

    writer: int
    reader: int

    @staticmethod
    def between_cores() -> Handover | None:
        """Return that between the first and the last processor that this process may use, if there are two."""
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return Handover(usable[0], usable[-1]) if len(usable) > 1 else None

    def read(self) -> float:
        """Return the time to copy what the writer wrote just before, over that of what the reader itself wrote.

        64 KiB, which every core's own cache holds; of several times each the lower quartile. 0 if it cannot be told,
        since one of both processors is not to be had any more.
        """
        import numpy as np

        source, target = np.ones(_BYTES // 8), np.ones(_BYTES // 8)
        asked, written = threading.Semaphore(0), threading.Semaphore(0)

        def write() -> None:
            with suppress(OSError), on_processor(self.writer):
                for _ in range(_TIMES):
                    asked.acquire()
                    source.fill(1.0)
                    written.release()

        def copied() -> float:
            start = perf_counter()
            np.copyto(target, source)
            return perf_counter() - start

        handed: list[float] = []
        own: list[float] = []
        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        with suppress(OSError), on_processor(self.reader):
            while len(handed) < _TIMES:
                asked.release()
                if not written.acquire(timeout=_PATIENCE):
                    break
                handed.append(copied())
                source.fill(1.0)
                own.append(copied())
        asked.release(_TIMES)  # whatever became of it, the writer comes to its end
        thread.join()
        return sorted(handed)[_TIMES // 4] / sorted(own)[_TIMES // 4] if len(own) == _TIMES else 0.0
