"""The roofline of a target: what a kernel takes at least, by peak rates, before anybody says how near it comes to them.

Compute: each primitive's FLOPs over the peak of the fastest unit that runs its kind at its precision. Memory: bytes at
the kernel's boundary over the bandwidth of the level that they come from. Activations come from the nearest level that
holds the kernel's working set; weights from the nearest that holds all weights of the network, since every inference
sweeps through all of them. Every term carries the target's default efficiency beside it, for where nothing is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..ir import DType, Kind
from ..ir.primitives import Primitive, Unknown, flops
from ..targets import SIGNED, ComputeUnit, Device, Efficiency, Memory, Target
from .kernel import Kernel

__all__ = ["Bounds", "ComputeTerm", "MemoryTerm", "Roofline", "level_for"]

_KIND_OF = {"gemm": Kind.CONTRACTION, "conv": Kind.CONTRACTION, "softmax": Kind.NORMALIZATION, "copy": Kind.LAYOUT}
"""The kind that a primitive's compute unit is chosen by, where it is not the one of the primitive's own name."""


@dataclass(frozen=True, slots=True)
class ComputeTerm:
    """One primitive on a compute unit: FLOPs over the unit's peak. ``efficiency`` is the target's default one."""

    primitive: Primitive
    unit: ComputeUnit
    precision: str
    efficiency: Efficiency

    @property
    def peak(self) -> float:
        """FLOP/s of the unit in the precision that it computes in."""
        return self.unit.peaks[self.precision].value

    @property
    def seconds(self) -> float:
        """Time at full efficiency."""
        return flops(self.primitive) / self.peak

    @property
    def default_seconds(self) -> float:
        """Time at the target's default efficiency."""
        return flops(self.primitive) / (self.peak * self.efficiency.compute)


@dataclass(frozen=True, slots=True)
class MemoryTerm:
    """One sort of traffic over a memory level: bytes over bandwidth. ``efficiency`` is the target's default one."""

    what: str
    bytes: int
    level: Memory
    efficiency: Efficiency

    @property
    def seconds(self) -> float:
        """Time at full efficiency."""
        return self.bytes / self.level.bandwidth

    @property
    def default_seconds(self) -> float:
        """Time at the target's default efficiency."""
        return self.bytes / (self.level.bandwidth * self.efficiency.memory)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds a kernel's time, term by term; seconds are those at full efficiency unless they say ``default``.

    ``work_class`` is the class of kernels whose default ``efficiency`` rules it; ``unknown`` says what could not be
    bounded, and the figures then leave it out. ``dispatch_span`` is what the target says that dispatch varies in.
    """

    compute: tuple[ComputeTerm, ...]
    memory: tuple[MemoryTerm, ...]
    dispatch_seconds: float
    work_class: str
    efficiency: Efficiency
    unknown: tuple[str, ...]
    dispatch_span: tuple[float, float]

    @property
    def compute_seconds(self) -> float:
        """All arithmetic at the units' peaks."""
        return sum((term.seconds for term in self.compute), 0.0)

    @property
    def memory_seconds(self) -> float:
        """All traffic at the levels' bandwidths."""
        return sum((term.seconds for term in self.memory), 0.0)

    @property
    def work_seconds(self) -> float:
        """What takes longer, the arithmetic or the traffic."""
        return max(self.compute_seconds, self.memory_seconds)

    @property
    def seconds(self) -> float:
        """Dispatch + max(compute, memory)."""
        return self.dispatch_seconds + self.work_seconds

    @property
    def default_compute_seconds(self) -> float:
        """All arithmetic at the target's default efficiencies."""
        return sum((term.default_seconds for term in self.compute), 0.0)

    @property
    def default_memory_seconds(self) -> float:
        """All traffic at the target's default efficiencies."""
        return sum((term.default_seconds for term in self.memory), 0.0)

    @property
    def default_seconds(self) -> float:
        """Dispatch + max(compute, memory), at the target's default efficiencies."""
        return self.dispatch_seconds + max(self.default_compute_seconds, self.default_memory_seconds)

    def dispatch_at(self, seconds: float) -> float:
        """Return the part of a measured or predicted time that is dispatch.

        That is what the target says, but in a kernel that is faster than its roofline no larger a share than there.
        """
        whole = self.seconds
        return min(self.dispatch_seconds, seconds * self.dispatch_seconds / whole) if whole else 0.0

    def efficiency_at(self, seconds: float) -> float | None:
        """Return the share of its roofline that a kernel reaches when it takes ``seconds``, dispatch aside.

        ``None`` for a kernel without work to speak of. Above 1 where the target's peaks are set too low.
        """
        working = seconds - self.dispatch_at(seconds)
        return self.work_seconds / working if working > 0 and self.work_seconds else None

    @property
    def peak(self) -> float | None:
        """FLOP/s that all arithmetic together could reach: the peak itself where one unit does all of it."""
        seconds = self.compute_seconds
        return sum(flops(term.primitive) for term in self.compute) / seconds if seconds else None

    @property
    def bandwidth(self) -> float | None:
        """Bytes per second that all traffic together could reach: the bandwidth itself where it is of one level."""
        seconds = self.memory_seconds
        return sum(term.bytes for term in self.memory) / seconds if seconds else None

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the memory levels that traffic comes from, weights' first."""
        return tuple(dict.fromkeys(term.level.name for term in self.memory))


@dataclass(frozen=True, slots=True)
class Roofline:
    """Bounds of kernels on one target; what it has looked up in the target's files it keeps."""

    target: Target
    _arithmetic: dict[tuple[str, str, DType], tuple[ComputeUnit, str, Efficiency] | None] = field(
        default_factory=dict, repr=False, compare=False
    )
    _efficiencies: dict[str, Efficiency] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, target: Target) -> Roofline:
        """Return the roofline of a target."""
        return cls(target)

    def bounds(self, kernel: Kernel) -> Bounds:
        """Return what bounds ``kernel``: a launch each of its ``launches``, its arithmetic, its traffic."""
        terms: list[ComputeTerm] = []
        unknown = [primitive.reason for primitive in kernel.primitives if isinstance(primitive, Unknown)]
        for primitive in kernel.primitives:
            if flops(primitive):
                term = self._term(primitive)
                if term is None:
                    name, precision = self.target.device.name, primitive.dtype.precision
                    unknown.append(f"{name} has no unit for {primitive.tag} in {precision}")
                else:
                    terms.append(term)
        heaviest = max(terms, key=lambda term: term.default_seconds, default=None)
        work_class = _work_class(kernel, heaviest)
        efficiency = heaviest.efficiency if heaviest is not None else self._efficiency(work_class)
        launch = self.target.runtime.dispatch
        return Bounds(
            tuple(terms),
            tuple(_memory_terms(kernel, self.target.device, efficiency)),
            kernel.launches * launch.value,
            work_class,
            efficiency,
            tuple(unknown),
            (kernel.launches * launch.low, kernel.launches * launch.high),
        )

    def precision_of(self, primitive: Primitive) -> str:
        """Return the precision that a primitive is computed in here; its own where no unit computes it."""
        term = self._term(primitive)
        return primitive.dtype.precision if term is None else term.precision

    def _term(self, primitive: Primitive) -> ComputeTerm | None:
        key = (primitive.tag, primitive.work_class, primitive.dtype)
        if key not in self._arithmetic:
            self._arithmetic[key] = self._look_up(*key)
        found = self._arithmetic[key]
        return None if found is None else ComputeTerm(primitive, *found)

    def _look_up(self, tag: str, work_class: str, dtype: DType) -> tuple[ComputeUnit, str, Efficiency] | None:
        kind = _KIND_OF.get(tag) or Kind(tag)
        runtime, device = self.target.runtime, self.target.device
        asked = runtime.arithmetic(work_class, dtype.precision)
        found = device.arithmetic(kind.value, asked)
        if found is None:
            return None
        unit, computed_in = found
        row = f"{computed_in}{SIGNED}" if dtype is DType.I8 else computed_in
        return unit, computed_in, runtime.efficiency(work_class, device, row, row if computed_in == asked else asked)

    def _efficiency(self, work_class: str) -> Efficiency:
        if work_class not in self._efficiencies:
            self._efficiencies[work_class] = self.target.runtime.efficiency(work_class, self.target.device)
        return self._efficiencies[work_class]


def _work_class(kernel: Kernel, heaviest: ComputeTerm | None) -> str:
    """The class whose efficiency rules the kernel: of the costliest primitive, else of the first one."""
    if heaviest is not None:
        return heaviest.primitive.work_class
    return kernel.primitives[0].work_class if kernel.primitives else "copy"


def _memory_terms(kernel: Kernel, device: Device, efficiency: Efficiency) -> Iterator[MemoryTerm]:
    activations = kernel.read_bytes + kernel.write_bytes
    if kernel.weight_bytes:
        swept = max(kernel.swept_bytes, kernel.weight_bytes)
        yield MemoryTerm("weights", kernel.weight_bytes, level_for(device, "weights", swept), efficiency)
    if activations:
        yield MemoryTerm("activations", activations, level_for(device, "activations", kernel.bytes), efficiency)


def level_for(device: Device, holds: str, size: int) -> Memory:
    """The nearest memory level that may hold this and is large enough; the farthest if none is."""
    levels = [level for level in device.memories if holds in level.holds]
    return next((level for level in levels if level.size is None or level.size >= size), levels[-1])
