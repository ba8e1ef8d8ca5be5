"""What share of a peak kernels reach before anything has been measured: priors with honest ranges, from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

__all__ = ["ANY_PRECISION", "DEFAULT_CLASS", "KERNEL_CLASSES", "Efficiency", "EfficiencyTable", "Share"]

DEFAULT_CLASS = "default"
SIGNED = "-signed"
"""Behind an integer precision: the row for signed integers, of a runtime that runs those by other kernels."""
ANY_PRECISION = "other"
KERNEL_CLASSES = (
    "gemm", "conv", "conv_depthwise", "conv_grouped", "elementwise", "reduction", "softmax", "normalization", "copy",
    "gather", "window", "recurrent", "attention", "scan", DEFAULT_CLASS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Share:
    """A fraction of a peak: what is typical, and the range that most kernels fall in."""

    low: float
    typical: float
    high: float


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The fractions of peak arithmetic and of peak bandwidth that a class of kernels reaches.

    `compute` and `memory` are the typical ones. `low` and `high` are factors on them that hold whichever of the
    two binds: a kernel predicted at `t` seconds takes between `t / high` and `t / low`.
    """

    kernel_class: str
    compute: float
    memory: float
    compute_share: Share
    memory_share: Share
    source: str | None
    where: str
    note: str = ""

    @property
    def low(self) -> float:
        """The worse of the two lower ends, as a factor on the typical fraction (at most 1)."""
        return min(share.low / share.typical for share in (self.compute_share, self.memory_share))

    @property
    def high(self) -> float:
        """The better of the two upper ends, as a factor on the typical fraction (at least 1)."""
        return max(share.high / share.typical for share in (self.compute_share, self.memory_share))


@dataclass(frozen=True, slots=True)
class EfficiencyTable:
    """Efficiencies by kernel class and, where arithmetic differs, by precision."""

    entries: Mapping[str, Mapping[str, Efficiency]]

    def find(self, kernel_class: str, precision: str | None = None) -> Efficiency | None:
        """The row for a class at a precision, else the class's row for other precisions, else None."""
        by_precision = self.entries.get(kernel_class)
        if by_precision is None:
            return None
        wanted = precision or ANY_PRECISION
        found = by_precision.get(wanted) or by_precision.get(wanted.removesuffix(SIGNED))
        return found or by_precision.get(ANY_PRECISION)

    def named(self, kernel_class: str, precision: str) -> Efficiency | None:
        """The row that a class has for just this precision, else None."""
        return self.entries.get(kernel_class, {}).get(precision)

    def rows(self) -> Iterator[tuple[str, Efficiency]]:
        """Every row, with its dotted path."""
        for kernel_class, by_precision in self.entries.items():
            for precision, row in by_precision.items():
                yield (kernel_class if precision == ANY_PRECISION else f"{kernel_class}.{precision}"), row
