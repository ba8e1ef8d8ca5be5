"""The account of a report's coverage: what each kernel's figure stands on, what is missing, and what to measure next.

Frozen records, built by :func:`graphs.passes.coverage.coverage_report`; units are SI.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..calibration.prediction import Quality

__all__ = [
    "CoverageReport", "Gap", "KernelCoverage", "KernelError", "MeasuredErrors", "PatternError", "PrimitiveCoverage",
    "Risk", "RiskLevel", "Status", "Summary", "status_of",
]  # fmt: skip


class Status(Enum):
    """Whether a figure stands on measurements of the same operation, on others in its stead, or on none."""

    CALIBRATED = "calibrated"
    APPROXIMATED = "approximated"
    MISSING = "missing"


_STATUS = {
    Quality.EXACT: Status.CALIBRATED,
    Quality.SIZE_INTERPOLATED: Status.CALIBRATED,
    Quality.SIZE_EXTRAPOLATED: Status.APPROXIMATED,
    Quality.OP_APPROXIMATED: Status.APPROXIMATED,
    Quality.MISSING: Status.MISSING,
}


def status_of(quality: Quality) -> Status:
    """Return the status that a match quality amounts to."""
    return _STATUS[quality]


@dataclass(frozen=True, slots=True)
class PrimitiveCoverage:
    """One primitive of a kernel: ``name`` is its operation's, ``proxy`` what stands or could stand in its stead."""

    name: str
    operation_type: str
    flops: int
    bytes: int
    quality: Quality
    entry: str
    efficiency: float | None
    efficiency_std: float | None
    proxy: str

    @property
    def status(self) -> Status:
        """What the quality amounts to."""
        return status_of(self.quality)


@dataclass(frozen=True, slots=True)
class KernelCoverage:
    """A kernel and its primitives. Efficiency and quality are those of the kernel as a whole."""

    name: str
    pattern: str
    operation_type: str
    flops: int
    bytes: int
    seconds: float
    quality: Quality
    entry: str
    efficiency: float | None
    primitives: tuple[PrimitiveCoverage, ...]

    @property
    def status(self) -> Status:
        """What the quality amounts to."""
        return status_of(self.quality)


@dataclass(frozen=True, slots=True)
class Summary:
    """Operators, FLOPs and predicted seconds, in all and by status.

    An operator counts by the worst of its primitives, FLOPs by the primitive that they belong to, seconds by kernel.
    """

    ops: int
    ops_by: dict[Status, int]
    flops: int
    flops_by: dict[Status, int]
    seconds: float
    seconds_by: dict[Status, float]

    @property
    def coverage_percent(self) -> float:
        """The share of FLOPs that is calibrated; of operators where nothing has FLOPs."""
        if self.flops:
            return 100 * self.flops_by[Status.CALIBRATED] / self.flops
        return 100 * self.ops_by[Status.CALIBRATED] / self.ops if self.ops else 0.0


class RiskLevel(Enum):
    """How much an operation type may spoil the total."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Risk:
    """An operation type: how many kernels, which share of the time, how wide its interval is as a share of its time."""

    level: RiskLevel
    operation_type: str
    kernels: int
    share: float
    half_width: float
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """An operation type that is not calibrated throughout, and what measuring it would do for the total.

    ``half_width`` is that of the total's interval as a share of it, now and with the type known perfectly;
    ``command`` would measure it.
    """

    operation_type: str
    kernels: int
    bytes: int
    half_width: float
    half_width_without: float
    command: str


@dataclass(frozen=True, slots=True)
class KernelError:
    """Kernels of one operator's name, or one kernel, predicted and measured, in seconds.

    ``share`` is its share of the sum of all absolute errors.
    """

    name: str
    pattern: str
    kernels: int
    predicted: float
    measured: float
    share: float

    @property
    def error(self) -> float:
        """Relative error: above zero where the prediction is too slow."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True, slots=True)
class PatternError:
    """All kernels of one fusion pattern: predicted and measured, and by how much single kernels err on average."""

    pattern: str
    kernels: int
    predicted: float
    measured: float
    mean_error: float
    share: float


@dataclass(frozen=True, slots=True)
class MeasuredErrors:
    """Predictions beside measurements of the same model: by what was measured together, worst first, and by pattern.

    ``unmatched`` is how many kernels no measurement was found for.
    """

    file: str
    kernels: tuple[KernelError, ...]
    patterns: tuple[PatternError, ...]
    predicted: float
    measured: float
    unmatched: int


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """All of the account; ``device``, ``mode`` and ``precision`` say for what, ``target`` is the target's own text.

    ``command`` would measure all that evidence for the target is made of.
    """

    device: str
    mode: str
    precision: str
    target: str
    kernels: tuple[KernelCoverage, ...]
    summary: Summary
    risks: tuple[Risk, ...]
    gaps: tuple[Gap, ...]
    command: str = ""
    measured: MeasuredErrors | None = None
