"""Samples: what was measured, one row for each measurement, with its statistics and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from .kernel import Kernel
from .prediction import NORMAL_95

__all__ = ["Sample", "Setting", "Statistics"]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The distribution of ``n`` measured times, in seconds; ``ci_low`` to ``ci_high`` is the median's 95 % interval."""

    n: int
    median: float
    mean: float
    std: float
    minimum: float
    maximum: float
    ci_low: float
    ci_high: float

    @property
    def relative_error(self) -> float:
        """The median's standard error, as a share of it: what its 95 % interval comes from."""
        return (self.ci_high - self.ci_low) / (2 * NORMAL_95 * self.median)


@dataclass(frozen=True, slots=True)
class Setting:
    """What evidence is found by: a device, a runtime on it, a power mode (``""`` for the only one), a precision."""

    device: str
    runtime: str
    mode: str
    precision: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured time of one kernel, or of several that were measured together.

    A runtime's profile gives one kernel a sample; a campaign that timed whole subgraphs, or a whole network, several.
    ``model`` and ``nodes`` say whose they are. ``source`` is ``microbenchmark``, ``profile``, ``subgraph`` or
    ``network``. Seconds are those of a machine at its reference speed: ``drift`` is what the raw times were divided by.
    """

    kernels: tuple[Kernel, ...]
    seconds: Statistics
    source: str
    model: str = ""
    nodes: tuple[str, ...] = ()
    drift: float = 1.0
