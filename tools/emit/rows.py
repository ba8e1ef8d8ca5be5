"""Kernels to the rows of a table: identical ones grouped, or summed by kind or pattern."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ...ir import Expression, typical
from ...passes.report import BodyReport, KernelReport, Report, intensity_of
from ..units import shape

__all__ = [
    "Row",
    "aggregated",
    "common_name",
    "kernel_rows",
    "labels",
    "name_template",
    "row_of",
    "with_bodies",
    "with_shares",
]

_DIGITS = re.compile(r"([0-9]+)")
_SEVERAL = "*"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. What can be added up is added up over its ``count`` kernels.

    ``control`` is the index of the kernel where it is a control operation, whose bodies have rows of their own below.
    """

    name: str
    pattern: str
    count: int
    output: str
    macs: int
    flops: int
    bytes: int
    seconds: float | None
    joules: float | None
    bound: str
    evidence: str
    exact: bool
    unit: str = ""
    memory: str = ""
    precision: str = ""
    depth: int = 0
    control: int | None = None
    share: float | None = None
    cumulative: float | None = None

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity in FLOP per byte."""
        return intensity_of(self.flops, self.bytes)

    @property
    def seconds_each(self) -> float | None:
        """Time of one kernel of the row."""
        return None if self.seconds is None else self.seconds / self.count

    @property
    def cost(self) -> tuple[float, float, float]:
        """What rows are compared by: time, then FLOPs, then bytes."""
        return (self.seconds or 0.0, typical(self.flops), typical(self.bytes))


def labels(kernels: Sequence[KernelReport]) -> list[str]:
    """What to call each kernel: its module path where that names just this one, else with the operation's own name."""
    taken = Counter(kernel.module for kernel in kernels)
    return [_label(kernel, taken[kernel.module] == 1) for kernel in kernels]


def _label(kernel: KernelReport, alone: bool) -> str:
    if not kernel.module:
        return kernel.name
    if alone:
        return kernel.module
    return kernel.name if kernel.name.startswith("/") else f"{kernel.module}/{kernel.name}"


def kernel_rows(report: Report, grouped: bool) -> list[Row]:
    """A row for each kernel in graph order; ``grouped`` puts identical ones of repeated blocks into one row."""
    return _rows(report.kernels, grouped, frozenset(body.of for body in report.bodies))


def with_bodies(rows: Sequence[Row], report: Report, grouped: bool) -> list[Row]:
    """The rows, and below each control operation those of its bodies' kernels that count, in the same order."""
    timed = any(kernel.seconds is not None for kernel in report.kernels)
    whole = sum((kernel.seconds or 0.0) if timed else kernel.flops for kernel in report.kernels)
    inside: dict[int, list[BodyReport]] = {}
    for body in report.bodies:
        if body.counted:
            inside.setdefault(body.of, []).append(body)
    found: list[Row] = []
    pending = list(reversed(rows))
    while pending:
        row = pending.pop()
        found.append(row)
        for body in () if row.control is None else reversed(inside.get(row.control, ())):
            below = _rows(body.kernels, grouped, frozenset(inside))
            below = sorted(below, key=lambda each: each.cost, reverse=True) if grouped else below
            pending.extend(_inside(each, row.depth + 1, timed, whole) for each in reversed(below))
    return found


def _inside(row: Row, depth: int, timed: bool, whole: float) -> Row:
    part = (row.seconds or 0.0) if timed else row.flops
    known = whole and not isinstance(whole, Expression) and not isinstance(part, Expression)
    return replace(row, depth=depth, share=part / whole if known else None)


def _rows(kernels: Sequence[KernelReport], grouped: bool, controls: frozenset[int]) -> list[Row]:
    named = list(zip(labels(kernels), kernels, strict=True))
    groups: dict[object, list[tuple[str, KernelReport]]] = {}
    for name, kernel in named:
        alone = not grouped or kernel.index in controls
        groups.setdefault(kernel.index if alone else _likeness(name, kernel), []).append((name, kernel))
    unzipped = (tuple(zip(*group, strict=True)) for group in groups.values())
    rows = [(row_of(common_name(names), kernels), kernels[0].index) for names, kernels in unzipped]
    return [replace(row, control=index) if index in controls else row for row, index in rows]


def _likeness(name: str, kernel: KernelReport) -> object:
    """Kernels of one row have this in common: the name but for its numbers, and all that the row shows."""
    template = name_template(name)
    work = (kernel.macs, kernel.flops, kernel.bytes, bool(kernel.unknown))
    return (
        template,
        kernel.pattern,
        kernel.output,
        kernel.dtype,
        work,
        kernel.bound,
        kernel.evidence,
        kernel.arithmetic_precision,
    )


def name_template(name: str) -> str:
    """The name with every number replaced by a star: what names of repeated blocks have in common."""
    return _DIGITS.sub(_SEVERAL, name)


def common_name(names: Sequence[str]) -> str:
    """``layer4.*.conv2`` of ``layer4.1.conv2`` and ``layer4.2.conv2``: numbers that differ become a star."""
    pieces = [_DIGITS.split(name) for name in names]
    return "".join(column[0] if len(set(column)) == 1 else _SEVERAL for column in zip(*pieces, strict=True))


def row_of(name: str, kernels: Sequence[KernelReport], depth: int = 0) -> Row:
    """Return kernels as one row."""
    return Row(
        name=name,
        pattern=_same(kernel.pattern for kernel in kernels),
        count=sum(kernel.launches for kernel in kernels),
        output=_same(shape(kernel.output) for kernel in kernels),
        macs=sum(kernel.macs for kernel in kernels),
        flops=sum(kernel.flops for kernel in kernels),
        bytes=sum(kernel.bytes for kernel in kernels),
        seconds=_sum(kernel.seconds for kernel in kernels),
        joules=_sum(kernel.joules for kernel in kernels),
        bound=_prevailing(kernels, lambda kernel: kernel.bound),
        evidence=_prevailing(kernels, lambda kernel: kernel.evidence),
        exact=not any(kernel.unknown for kernel in kernels),
        unit=_prevailing(kernels, lambda kernel: kernel.unit),
        memory=_prevailing(kernels, lambda kernel: kernel.memory),
        precision=_same(kernel.arithmetic_precision for kernel in kernels),
        depth=depth,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _same(words: Iterable[str]) -> str:
    """The one word that all share, else nothing."""
    distinct = dict.fromkeys(words)
    return next(iter(distinct)) if len(distinct) == 1 else ""


def _prevailing(kernels: Sequence[KernelReport], word: Callable[[KernelReport], str]) -> str:
    """The word on which most of the time stands."""
    weights: Counter[str] = Counter()
    for kernel in kernels:
        weights[word(kernel)] += kernel.seconds or 0.0  # type: ignore[assignment]  # a Counter of seconds
    return weights.most_common(1)[0][0] if weights else ""


def aggregated(report: Report, by: str) -> list[Row]:
    """A row for each kind or pattern."""
    groups: dict[str, list[KernelReport]] = {}
    for kernel in report.kernels:
        groups.setdefault(kernel.kind if by == "kind" else kernel.pattern, []).append(kernel)
    return [row_of(name, kernels) for name, kernels in groups.items()]


def with_shares(rows: Sequence[Row]) -> list[Row]:
    """The rows with their share of the whole and the running sum, by time, or by FLOPs where no time is known.

    Shares of what depends on open dimensions nobody knows.
    """
    if any(isinstance(row.flops, Expression) for row in rows):
        return list(rows)
    timed = any(row.seconds is not None for row in rows)
    weights = [(row.seconds or 0.0) if timed else float(row.flops) for row in rows]
    whole = sum(weight for weight, row in zip(weights, rows, strict=True) if row.depth == 0)
    shared: list[Row] = []
    running = 0.0
    for row, weight in zip(rows, weights, strict=True):
        share = weight / whole if whole else None
        running += (share or 0.0) if row.depth == 0 else 0.0
        shared.append(replace(row, share=share, cumulative=running if whole else None))
    return shared
