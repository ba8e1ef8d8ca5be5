"""How far a measurement is: two lines that change in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from ..units import duration
from .figures import signed

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from ...calibration.sample import Statistics

__all__ = ["Progress", "State", "at_its_pace"]

_PLAIN_SECONDS = 20.0
_BAR = 30
_REFRESHES = 4
_SOON = 1.0
"""Seconds before which nothing can be said of the pace, and nobody need be told."""


@dataclass(frozen=True, slots=True)
class State:
    """How far it is: the share done, seconds left, what was measured last, and how the machine's speed is."""

    share: float
    seconds_left: float
    current: str = ""
    last: Statistics | None = None
    drift: float = 1.0
    kept: int = 0
    refused: int = 0
    counts: str = ""

    @property
    def left(self) -> str:
        """``0:03:52 left``."""
        return f"{timedelta(seconds=max(round(self.seconds_left), 0))} left"

    @property
    def counted(self) -> str:
        """``drift −0.4 %   412 samples kept, 3 refused``, unless something else is counted."""
        return self.counts or f"drift {signed(self.drift - 1.0)}   {self.kept} samples kept, {self.refused} refused"

    @property
    def measured(self) -> str:
        """``1.92 ms ± 0.8 %  n=31``; nothing before the first measurement."""
        if self.last is None:
            return ""
        half = (self.last.ci_high - self.last.ci_low) / (2.0 * self.last.median)
        return f"{duration(self.last.median)} ± {100 * half:.1f} %  n={self.last.n}"


class Progress:
    """A context in which :meth:`show` says how far it is; nothing is shown to who asked for quiet."""

    def __init__(
        self,
        title: str,
        quiet: bool = False,
        stream: TextIO | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.title = title
        self._stream = stream if stream is not None else sys.stderr
        self._quiet = quiet
        self._clock = clock
        self._shown = clock() - _PLAIN_SECONDS
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if not self._quiet and self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream, highlight=False)
            self._live = Live(console=console, refresh_per_second=_REFRESHES, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, state: State) -> None:
        """Say how far it is, at once in a terminal, elsewhere if the last time is long enough ago."""
        if self._live is not None:
            self._live.update(_lines(self.title, state))
        elif not self._quiet and self._clock() - self._shown >= _PLAIN_SECONDS:
            self._shown = self._clock()
            now = f" · {state.current}" if state.current else ""
            self._stream.write(f"{self.title}: {state.share:.0%}, {state.left}, {state.counted}{now}\n")
            self._stream.flush()


def at_its_pace(progress: Progress, counts: str, clock: Callable[[], float] = monotonic) -> Callable[[float], None]:
    """Return what shows the share that is done, with the time left if the rest goes as fast."""
    began = clock()

    def show(share: float) -> None:
        took = clock() - began
        if share > 0 and took >= _SOON:
            progress.show(State(share, took * (1 - share) / share, counts=counts))

    return show


def _lines(title: str, state: State) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    def row() -> Table:
        made = Table.grid(padding=(0, 2), expand=True)
        made.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        return made

    first, second, both = row(), row(), Table.grid(expand=True)
    first.add_column(width=_BAR)
    first.add_column(justify="right", no_wrap=True)
    first.add_column(justify="right", no_wrap=True)
    first.add_row(title, ProgressBar(total=1.0, completed=min(state.share, 1.0)), f"{state.share:.0%}", state.left)
    second.add_column(justify="right", no_wrap=True)
    second.add_column(justify="right", no_wrap=True)
    second.add_row(state.current, state.measured, state.counted)
    both.add_row(first)
    both.add_row(second)
    return both
